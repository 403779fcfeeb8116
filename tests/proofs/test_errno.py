"""A system call that fails, once or for ever: one clear line, the right exit code, nothing added twice."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.fs import durable
from tests.proofs.simfs import (
    KINDS,
    REQUEST,
    SYSTEM_CALLS,
    assert_next_add_works,
    assert_sound,
    command,
    contents,
    directory_in_memory,
    make_stock,
    seen,
    start,
)
from tests.proofs.test_kill import CHANGING, Expected, Helper, changes_something, expected, numbered

CODES = ("ENOSPC", "EIO", "EACCES", "EROFS", "ESTALE")
_RETRY = "jfstore: repeat it, nothing is added twice: jfstore "
_LINES = re.compile(
    r"jfstore: (warning|error): .+|commit \d+ in the .+|nothing is new for the .+|made a test repository in .+"
)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stock(tmp_path_factory.mktemp("errno") / "stock")


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    helper = Helper(tmp_path_factory.mktemp("helper") / "files")
    yield helper
    helper.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with directory_in_memory(tmp_path) as directory:
        yield directory / "world"


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


def check(stock: Path, kind: str, root: Path, expect: Expected, result: tuple[int, str, str]) -> None:
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
    same_as = {len(state.hashes): state.versions.keys() for state in (expect.before, expect.after)}
    assert there.hashes[: len(expect.before.hashes)] == expect.before.hashes, "an old commit is gone"
    assert there.versions.keys() == same_as[len(there.hashes)], "a commit is half there"
    for name, (_, arrays) in there.versions.items():
        assert arrays == expect.after.versions[name][1], f"{name} has other bits"
    made = (root / "repository.json").exists()
    if made:
        assert_sound(root)
    committed = len(there.hashes) > len(expect.before.hashes)
    if expect.after.hashes != expect.before.hashes:
        assert committed == (code in (0, 75)), (
            f"exit code {code}, and the commit is {'' if committed else 'not '}there: {err}"
        )
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
        check(stock, kind, root, expect, result)
    except (AssertionError, jfstore.JfstoreError) as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_fails(stock: Path, place: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every call one of the errors, in turn once and for ever; without --request, as people type it."""
    expect = expected(stock, kind, place)
    wrong = []
    for call in range(expect.calls):
        code, for_ever = CODES[call % len(CODES)], call % 2 == 1
        root = start(stock, kind, place)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "system", Failing(call, code, for_ever))
            result = command(KINDS[kind].argv(stock, root))
        if error := violation(stock, kind, root, expect, result):
            wrong.append(f"{code} at call {call}{' and after' if for_ever else ''}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.parametrize("code", CODES)
def test_every_system_call_fails(
    stock: Path, helper: Helper, place: Path, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shutil.which("strace"), "the full set needs strace"
    points, wrong = 0, []
    for kind in KINDS:
        expect = expected(stock, kind, place)
        root = start(stock, kind, place)
        argv = KINDS[kind].argv(stock, root, REQUEST)
        status, _out, err = helper.run(argv, strace=["-e", f"trace={CHANGING}"])
        assert status == 0, err
        # What the command says on its descriptors 1 and 2 is no change to the repository.
        calls = [(name, number, line) for name, number, line in numbered(helper.traced()) if in_repository(line, root)]
        for name, number, line in calls:
            for when in (f"{number}", f"{number}+"):
                points += 1
                start(stock, kind, place)
                inject = f"inject={name}:error={code}:when={when}"
                result = helper.run(argv, strace=["-e", f"trace={name}", "-e", inject])
                if error := violation(stock, kind, root, expect, result):
                    wrong.append(f"{kind}, {when} of {line[:160]}: {error}")
    with capsys.disabled():
        print(f"\n{code} at {points} system calls of {len(KINDS)} kinds: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)
    assert points >= 500


def in_repository(line: str, root: Path) -> bool:
    """Say whether a traced call changes something in the repository."""
    return str(root) in line and changes_something(line) and not line.startswith(("write(1<", "write(2<"))
