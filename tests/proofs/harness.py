"""The harness of the proofs: commands killed, traced and failing at a call, and what must hold afterwards."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.fs import durable
from tests.conftest import ROOT
from tests.proofs.simfs import (
    KINDS,
    REQUEST,
    SYSTEM_CALLS,
    Seen,
    assert_modes,
    assert_next_add_works,
    assert_sound,
    command,
    contents,
    opened,
    seen,
    start,
)

CHANGING = "openat,write,writev,pwrite64,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat"
CHANGING += ",mkdir,mkdirat,fchmod,chmod,fchmodat,symlink,symlinkat,ftruncate"


def serve() -> None:
    """Run the commands that come on standard input, each in a child; the helper process of `Helper`."""
    for module in pkgutil.walk_packages(jfstore.__path__, "jfstore."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    import_module("h5py")
    for line in sys.stdin:
        task = json.loads(line)
        # Opened before strace attaches, so that it never counts these calls as the command's.
        outputs = [os.open(task[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("out", "err")]
        started, start = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(start)
            _be_a_child(task, started, outputs)
        for descriptor in (started, *outputs):
            os.close(descriptor)
        tracer = _trace(pid, task["strace"], task["trace"]) if task["strace"] else None
        os.close(start)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if tracer:
            tracer.wait()
        print(status, flush=True)


def _be_a_child(task: dict[str, Any], started: int, outputs: Sequence[int]) -> None:
    code = 99
    try:
        for number, output in enumerate(outputs, start=1):
            os.dup2(output, number)
        if task["strace"]:
            ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1 % 2**64), 0, 0, 0)  # anybody may trace this one
        os.read(started, 1)
        if task["call"] is not None:
            durable.system = killer(task["call"], task["after"])
        code = import_module(f"jfstore.cli.{task['program']}").main(task["argv"])
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _trace(pid: int, options: Sequence[str], trace: str) -> subprocess.Popen[bytes]:
    tracer = subprocess.Popen(["strace", "-q", "-y", "-o", trace, *options, "-p", str(pid)], stderr=subprocess.DEVNULL)
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text() and tracer.poll() is None:
        time.sleep(0.001)
    return tracer


def killer(number: int, after: bool) -> durable.System:
    """Return a `System` that kills this process before or after its call `number`."""
    system, left = durable.System(), iter(range(1 << 30))

    def wrapped(do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            now = next(left) == number
            if now and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return do(*arguments)
            finally:
                if now:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in SYSTEM_CALLS:
        setattr(system, name, wrapped(getattr(system, name)))
    return system


class Helper:
    """A warm process whose children run commands. The process of the tests has threads, which a fork leaves behind."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self._files = {name: str(place / name) for name in ("out", "err", "trace")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.proofs.harness import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    def run(
        self,
        argv: Sequence[str],
        call: int | None = None,
        after: bool = False,
        strace: Sequence[str] = (),
        program: str = "app",
    ) -> tuple[int, str, str]:
        """Run a program, ``jfstore`` if no other, in a child: killed at a call of `durable.System`, or with options
        for strace."""
        task = {"argv": list(argv), "call": call, "after": after, "strace": list(strace), "program": program}
        task |= self._files
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(task), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        return status, Path(self._files["out"]).read_text(), Path(self._files["err"]).read_text()

    def traced(self) -> list[str]:
        """Return the system calls that strace saw in the last child."""
        return [line for line in Path(self._files["trace"]).read_text().splitlines() if "(" in line]

    def close(self) -> None:
        self._process.communicate()


@dataclass(frozen=True)
class Expected:
    """One kind of change as it is without a fault: what was there before, and what is there afterwards."""

    before: Seen
    after: Seen
    wanted: Counter[Any]
    calls: int


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `durable` write down the names of its calls."""
    names: list[str] = []
    system = durable.System()
    for name in SYSTEM_CALLS:
        do = getattr(system, name)
        setattr(system, name, _counting(name, do, names))
    monkeypatch.setattr(durable, "system", system)
    return names


def _counting(name: str, do: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        names.append(name)
        return do(*arguments)

    return call


def expected(stock: Path, kind: str, place: Path) -> Expected:
    """Let the change happen without a fault."""
    root = start(stock, kind, place)
    before = seen(root)
    with pytest.MonkeyPatch.context() as patch:
        names = count_calls(patch)
        code, _out, err = command(KINDS[kind].argv(stock, root, REQUEST))
    assert code == 0, err
    return Expected(before, seen(root), contents(root), len(names))


def check_after_kill(stock: Path, kind: str, root: Path, expect: Expected, acknowledged: bool) -> None:
    """Check what a writer that was stopped leaves behind, and go on from there."""
    found = seen(root)
    count = len(expect.before.hashes)
    assert found.hashes[:count] == expect.before.hashes, "an old commit is gone"
    for name, version in expect.before.versions.items():
        assert found.versions.get(name) == version, f"{name} is gone"
    for name, (_, arrays) in found.versions.items():
        assert arrays == expect.after.versions[name][1], f"{name} has other bits"
    states = [(len(state.hashes), state.versions.keys(), state.valid) for state in (expect.before, expect.after)]
    assert (len(found.hashes), found.versions.keys(), found.valid) in states, "a commit is half there"
    if acknowledged:
        assert len(found.hashes) == len(expect.after.hashes), "an acknowledged commit is gone"
    made = (root / "repository.json").exists()
    assert made or not acknowledged
    if made:
        assert_sound(root)
    if not (made and kind == "init"):
        code, _out, err = command(KINDS[kind].argv(stock, root, REQUEST))
        assert code == 0, err
    assert contents(root) == expect.wanted, "the retry did not add everything once"
    assert_next_add_works(root)
    assert jfstore.verify(opened(root)).problems == ()
    assert_modes(root)


def killed(stock: Path, helper: Helper, place: Path, kind: str, both: bool) -> tuple[int, list[str]]:
    """Kill before each call of `durable` and after the last, or before and after each; return points and violations."""
    expect = expected(stock, kind, place)
    assert expect.calls >= (1 if kind == "unchanged" else 15)
    # Nothing touches the disk between two calls: after one is before the next.
    points = [(call, False) for call in range(expect.calls)]
    points += [(call, True) for call in range(expect.calls) if both or call == expect.calls - 1]
    wrong = []
    for call, after in points:
        root = start(stock, kind, place)
        status, out, err = helper.run(KINDS[kind].argv(stock, root, REQUEST), call, after)
        try:
            assert (status, out) == (-9, ""), f"was not killed: {err}"
            check_after_kill(stock, kind, root, expect, acknowledged=False)
        except (AssertionError, jfstore.JfstoreError) as error:
            wrong.append(f"{kind}, {'after' if after else 'before'} call {call} of {expect.calls}: {error}")
    return len(points), wrong


def numbered(trace: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return each traced system call with its place among those of its name."""
    counts: Counter[str] = Counter()
    found = []
    for line in trace:
        name = line.split("(")[0]
        counts[name] += 1
        found.append((name, counts[name], line))
    return found


def changes_something(line: str) -> bool:
    """Say whether a traced call changes a file, or opens one that is then changed or synced."""
    return not line.startswith("openat") or re.search(r"O_CREAT|O_WRONLY|O_RDWR|O_DIRECTORY", line) is not None


CODES = ("ENOSPC", "EIO", "EACCES", "EROFS", "ESTALE")
_RETRY = "jfstore: repeat it, nothing is added twice: jfstore "
_LINES = re.compile(
    r"jfstore: (warning|error): .+|commit \d+ in the .+|nothing is new for the .+|made a test repository in .+"
    r"|pixel_\w+ of .+ changes from .+|no answer changes|and \d+ more lines? of changes; --json lists all"
)


class Failing(durable.System):
    """Fails at its call `number`, or from that one on, as the kernel would."""

    def __init__(self, number: int, code: str, for_ever: bool) -> None:
        self._left, self._number, self._code, self._for_ever = iter(range(1 << 30)), number, code, for_ever
        for name in SYSTEM_CALLS:
            setattr(self, name, self._wrapped(name, getattr(super(), name)))

    def _wrapped(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            now = next(self._left)
            if now < self._number or (now > self._number and not self._for_ever):
                return do(*arguments)
            if name == "close":
                do(*arguments)  # a descriptor is gone, whatever close says
            code = getattr(errno, self._code)
            paths = [str(path) for path in arguments if isinstance(path, Path)]
            if len(paths) == 2:
                raise OSError(code, os.strerror(code), paths[0], None, paths[1])
            raise OSError(code, os.strerror(code), *paths)

        return call


def check_after_failure(stock: Path, kind: str, root: Path, expect: Expected, result: tuple[int, str, str]) -> None:
    """Check what a command said that met a failing disk, and what is there; then retry as it says."""
    code, out, err = result
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("jfstore: error: ")]
    retries = [line for line in lines if line.startswith(_RETRY)]
    assert "Traceback" not in err, err
    assert code in (0, 1, 75), f"exit code {code}: {err}"
    for line in lines:
        assert line in retries or _LINES.fullmatch(line), f"an unexpected line: {line}"
    assert len(errors) == (code != 0), f"not one line: {err}"
    assert len(retries) == (code == 75), f"exit code {code}: {err}"
    there = seen(root)
    same_as = {len(state.hashes): (state.versions.keys(), state.valid) for state in (expect.before, expect.after)}
    assert there.hashes[: len(expect.before.hashes)] == expect.before.hashes, "an old commit is gone"
    assert (there.versions.keys(), there.valid) == same_as[len(there.hashes)], "a commit is half there"
    for name, (_, arrays) in there.versions.items():
        assert arrays == expect.after.versions[name][1], f"{name} has other bits"
    made = (root / "repository.json").exists()
    if made:
        assert_sound(root)
    committed = len(there.hashes) > len(expect.before.hashes)
    if expect.after.hashes != expect.before.hashes:
        where = "there" if committed else "not there"
        assert committed == (code in (0, 75)), f"exit code {code}, and the commit is {where}: {err}"
    assert code != 1 or not out, out
    again = shlex.split(retries[0].removeprefix(_RETRY)) if retries else KINDS[kind].argv(stock, root, REQUEST)
    for _ in range(2):
        code, _out, err = command(again)
        # A repository that is there already is left as it is.
        assert code == (5 if made and kind == "init" else 0), err
        made = True
    assert contents(root) == expect.wanted, "the retry did not add everything once"
    assert_next_add_works(root)
    if errors:
        # The place is in the repository, or in the one that was promoted from.
        assert any(str(place) in errors[0] for place in (root.parent, stock)), f"it does not say where: {errors[0]}"


def violation(
    stock: Path, kind: str, root: Path, expect: Expected, result: tuple[int, str, str]
) -> AssertionError | jfstore.JfstoreError | None:
    try:
        check_after_failure(stock, kind, root, expect, result)
    except (AssertionError, jfstore.JfstoreError) as error:
        return error
    return None
