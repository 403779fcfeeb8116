"""Hostile input through the command line: only jfstore's own errors, and nothing written where it was not told to."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import resource
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

import jfstore
from jfstore.cli.main import main
from tests.makers.gains import make_gain_tree
from tests.makers.repositories import LATER, SHAPE, STAMP, A, B, C, constants, entry, new_repository, story
from tests.test_damage import in_children

CODES = {0, 1, 2, 3, 4, 5, 6, 75}
GAIN = "pixel_gain"
LONG = "9" * 5000


def run(argv: list[str]) -> tuple[int, bytes, str]:
    """Run the command as a process would: bytes out, messages."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline="\n")
    with redirect_stdout(out), redirect_stderr(err):
        code = main(argv)
        sys.stdout.flush()
    err.flush()
    return code, out.buffer.getvalue(), err.buffer.getvalue().decode()  # type: ignore[attr-defined]


def complaint(argv: list[str]) -> str | None:
    """Return what is wrong with how a command ended, None if nothing is."""
    try:
        code, _, err = run(argv)
    except BaseException as error:
        trace = error.__traceback__
        place = ""
        while trace:
            name = trace.tb_frame.f_code.co_filename
            place = f"{Path(name).name}:{trace.tb_lineno}" if "jfstore" in Path(name).parts[-3:] else place
            trace = trace.tb_next
        return f"{type(error).__name__} at {place}: {str(error)[:24]!r}"
    if code not in CODES:
        return f"exit code {code}"
    errors = [line for line in err.splitlines() if line.startswith("jfstore: error: ")]
    # verify and an import that skips names say what they found as data.
    told = argv[0] in ("verify", "import") and code in (1, 4)
    if "Traceback" in err or (len(errors) != (code != 0) and not (told and not errors)):
        return f"exit code {code} with {err[:200]!r}"
    return None


def snapshot(place: Path) -> dict[str, Any]:
    """Return all names below `place`, and the bytes of what is a small regular file."""
    return {
        str(path): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(place.rglob("*"))
    }


def said(bad: Counter[str], examples: dict[str, Any]) -> str:
    return "\n".join(f"{count} x {text}\n    such as {str(examples[text])[:300]}" for text, count in bad.most_common())


class World:
    """A directory with a repository, files to give, and things that nobody may change."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.inside = top / "world" / "a" / "b"
        self.inside.mkdir(parents=True)
        (top / "world" / "victim").write_text("not to be changed")
        self.repository = self.inside / "R"
        story(self.repository)
        other = story(self.inside / "S")
        assert other.identity.role == "test"
        make_gain_tree(self.inside / "gains", shape=SHAPE)
        np.save(self.inside / "gain.npy", constants(7))

    def outside(self) -> dict[str, Any]:
        """Return everything but the repository."""
        return {name: what for name, what in snapshot(self.top).items() if not self.within(name)}

    def within(self, name: str) -> bool:
        return name.startswith(f"{self.repository}/")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.chdir(made.inside)
    monkeypatch.setenv("JFSTORE_TEST", str(made.repository))
    return made


# -- .npy files and gain trees


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=array.dtype == object)
    return file.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    raw = text.encode("latin1") + b"\n"
    size = len(raw) if length is None else length
    return b"\x93NUMPY" + bytes(version) + size.to_bytes(2 if version[0] == 1 else 4, "little") + raw


def accepted(choose: random.Random) -> tuple[bytes, np.ndarray]:
    """Return a file that must be accepted, and what must be stored of it."""
    array = constants(choose.randrange(1000, 2000))
    array = np.asarray(array, choose.choice(["<f4", ">f4", "<f8", ">f8"]), order=choose.choice("CF"))
    return npy(array), array.astype("<f4")


def refused(choose: random.Random) -> bytes:
    """Return a file that must not be accepted."""
    array = constants(choose.randrange(1000, 2000))
    data = npy(array)
    place = tuple(choose.randrange(size) for size in SHAPE)
    shapes = [
        "(1099511627776,)", "(4294967296, 4294967296)", "(3, 4, -8)", "(3, 4, 8, 0)", "(3, 4)", "(3, 4.0, 8)",
        f"({LONG},)", "3", "()", "(" * 3000, "(3, 4, 8)" * 900, "None", "__import__('os').abort()",
    ]  # fmt: skip
    kinds = [
        "|O", "<f4, ", "<f2", "<i4", "<u8", "|V0", "|S0", "<U9", "<M8[s]", "<c8", "|b1", "<f16", "(2,)<f4", "\0", "",
    ]  # fmt: skip
    bomb = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {choose.choice(shapes)}, }}"
    kind = f"{{'descr': {choose.choice(kinds)!r}, 'fortran_order': False, 'shape': (3, 4, 8), }}"
    body = array.tobytes()
    way = choose.randrange(11)
    if way == 0:
        return npy(np.array([print, {"a": 1}, None], dtype=object))
    if way == 1:
        return data[: choose.randrange(len(data))]
    if way == 2:
        return data + bytes(choose.choice([1, 4, 384, 4096]))
    if way == 3:
        return header(choose.choice([bomb, kind]), (choose.choice([1, 2, 3]), 0)) + body
    if way == 4:
        array[place] = choose.choice([np.nan, np.inf, -np.inf, 0.0, -0.0])
        return npy(array)
    if way == 5:
        return npy(np.full(SHAPE, choose.choice([1e300, -1e39, 1e-60]), "<f8"))
    if way == 6:
        return npy(constants(1, shape=choose.choice([(3, 8, 4), (1, 4, 8), (2, 4, 8), (3, 4, 9), (96, 1, 1)])))
    if way == 7:
        return npy(constants(1).astype(choose.choice(["<i4", "<f2", "<c8", "|b1", "<u1", "<U5", "|S4", "<M8[s]"])))
    if way == 8:
        return data[:8] + choose.randbytes(2) + data[10:] if choose.random() < 0.5 else choose.randbytes(500)
    if way == 9:
        mess = bytearray(data)
        for _ in range(choose.randrange(1, 20)):
            mess[choose.randrange(6)] ^= choose.randrange(1, 256)
        return bytes(mess) if mess[:6] != data[:6] else b""
    return header(bomb, (2, 0), choose.choice([0, 1, 1 << 31, (1 << 32) - 1])) + body


def some_files(world: World, count: int, seed: int) -> tuple[Counter[str], dict[str, Any]]:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    for number in range(count):
        taken = choose.random() < 0.2
        data, right = accepted(choose) if taken else (refused(choose), None)
        path = world.inside / "hostile.npy"
        path.write_bytes(data)
        stamp = f"20180306{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}"
        argv = ["add", B, "-T", stamp, "-t", GAIN, "-f", str(path), "-m", "hostile", "--repo", "test"]
        wrong = complaint(argv)
        if not wrong:
            code, _, err = run(["get", B, "-T", stamp, "-t", GAIN, "-f", "out.npy", "--force", "--repo", "test"])
            stored = np.load(world.inside / "out.npy")[:, 0] if code == 0 else np.zeros(1)
            if right is not None and stored.tobytes() != right.tobytes():
                wrong = f"accepted, and not stored bit for bit: {err}"
            if right is None and f"{B}/{stamp}/v1" in err:
                wrong = "accepted"
        if wrong:
            bad[wrong] += 1
            examples.setdefault(wrong, data[:200])
    return bad, examples


def plant(choose: random.Random, place: Path, victim: Path) -> None:
    """Put something at `place` that is no file or directory of a gain tree."""
    way = choose.randrange(12)
    if way == 0:
        os.mkfifo(place)
    elif way == 1:
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.open(place.parent, os.O_RDONLY)
            try:
                listening.bind(f"/proc/self/fd/{here}/{place.name}")
            finally:
                os.close(here)
    elif way == 2:
        targets = [
            "/dev/zero", "/dev/tty", "/proc/self/mem", "/", "..", ".", place.name, "../../a", str(victim),
            "M044/../..",
        ]  # fmt: skip
        place.symlink_to(choose.choice(targets))
    elif way == 3:
        texts = [
            "..", "../..", "/", "M044\0", "M044\nM044", "M044/../../..", "\udcff", "M" * 300, "M" * 255, "",
            "/dev/zero",
        ]  # fmt: skip
        place.write_bytes(choose.choice(texts).encode("utf-8", "surrogateescape"))
    elif way == 4 and os.getuid() == 0:
        os.mknod(place, 0o600 | 0o020000, os.makedev(1, 5))
    elif way < 8:
        place.write_bytes(refused(choose))
    elif way < 10:
        place.mkdir()
    else:
        os.link(victim, place)


def spoil_tree(choose: random.Random, tree: Path, victim: Path) -> None:
    names = [
        "0-0-0", "--1", f"{A}-20180230000000", f"{A}-99999999999999", f"{A}-2018030600000",
        f"{A}-\uff12\uff10\uff11\uff180306000000", "fffffffffffffffff-1-1", "a-b-c", "x\udcff", "x\ny", "x\x1b[2J",
        f"{B}-20190101000000", "M999", ".hidden", "-m", "g0_gain.npy", "\uff41-1-2", "1-2-3-4",
    ]  # fmt: skip
    for _ in range(choose.randrange(1, 4)):
        if choose.random() < 0.5:
            directory = choose.choice(["M044", "M068", "M088"])
            word = choose.choice(["gain", "offset"])
            place = tree / directory / f"g{choose.randrange(3)}_{word}.npy"
            place.unlink(missing_ok=True) if not place.is_dir() else place.rmdir()
        else:
            place = tree / os.fsdecode(choose.choice(names).encode("utf-8", "surrogateescape"))
        if not os.path.lexists(place):
            plant(choose, place, victim)


def some_trees(world: World, count: int, seed: int) -> tuple[Counter[str], dict[str, Any]]:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    victim = world.top / "world" / "victim"
    for _ in range(count):
        tree = world.inside / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        make_gain_tree(tree, shape=SHAPE, as_text=choose.random() < 0.3)
        spoil_tree(choose, tree, victim)
        argv = ["import", str(tree), "-m", "hostile", "--repo", "test", *choose.choice([[], ["--json"]])]
        if choose.random() < 0.3:
            argv = [
                "add", C, "-T", STAMP, "-f", str(tree / choose.choice(["M044", "M068"])), "-m", "x", "--repo",
                "test",
            ]  # fmt: skip
        if wrong := complaint(argv):
            bad[wrong] += 1
            examples.setdefault(wrong, sorted(os.listdir(tree)))
        if victim.read_text() != "not to be changed":
            bad["the victim was changed"] += 1
    return bad, examples


# -- arguments

PIECES = (
    "/", "..", "../", "\0", "\n", "\t", "\r\n", "\x1b[31m", "\uff12\uff10\uff11\uff18", "\u0663", "²", "\udcff", "-",
    "--", "_", "%s%n", "{0}", "'; true '", "$(true)", "\u202e", "é", "e\u0301", " ", "*", "~", "@", "v", "0x", "nan",
    "1e9", "9" * 30, LONG,
)  # fmt: skip
WHOLE = (
    "", "-", "--", "..", ".", "/dev/null", "/dev/zero", "/proc/self/mem", "../../..", "x" * 300, "x" * 5000,
    "a/" * 3000, "\0", "now", "@0", "@99999999999", "@-1", "00000000000000", "20180311023000", "20181104013000",
    "20180306", "2018030600000000",
    "\uff12\uff10\uff11\uff18\uff10\uff13\uff10\uff16\uff10\uff10\uff10\uff10\uff10\uff10", "2018-03-06T00:00:00",
    "2018-03-06T00:00:00+99:99", LONG, "-1", f"{A}_{A}", f"{A}/../{B}", "/".join([A, STAMP, "v0"]),
    f"{A}/{STAMP}/v{LONG}", "test", "real", "x://y", "\udcff.npy", "0" * 32, "f" * 32, "\uff11" * 32, "\ud800",
    "_".join([A] * 2000), "0" * 10**5 + A, "nonexistent/x.npy",
)  # fmt: skip


def hostile(choose: random.Random, valid: str) -> str:
    if choose.random() < 0.45:
        return choose.choice(WHOLE)
    text = valid
    for _ in range(choose.randrange(1, 4)):
        place = choose.randrange(len(text) + 1)
        text = text[:place] + choose.choice(PIECES) + text[place + choose.randrange(3) :]
    return text


def commands() -> list[list[str]]:
    """Return every command with values in each position that takes one; the repository is the last."""
    why = ["-m", "why", "--request", "a" * 32]
    return [
        ["add", A, "-T", STAMP, "-t", GAIN, "-f", "gain.npy", *why, "--repo", "test"],
        ["add", "-d", A, "-T", STAMP, "-t", GAIN, "-f", "gain.npy", "--dry-run", *why, "--repo", "test"],
        ["add", A, "-T", STAMP, "-f", "gains/M044", "-m", "why", "--json", "--repo", "test"],
        ["get", A, "-T", LATER, "-t", GAIN, "--as-of", "3", "-v", "1", "--repo", "test"],
        ["get", f"{A}_{B}", "-T", LATER, "-t", GAIN, "-f", "-", "--repo", "test"],
        ["get", A, "-T", LATER, "--as-of", "2018-03-06T00:00:00Z", "--json", "--repo", "test"],
        ["get", A, "-T", LATER, "-t", GAIN, "-f", "o.npy", "--force", "--repo", "test"],
        ["get", A, "-T", LATER, "-f", "o.h5", "--repo", "test"],
        ["list", A, "-t", GAIN, "-T", LATER, "--repo", "test"], ["list", "-d", A, "--json", "--repo", "test"],
        ["show", f"{A}/{STAMP}/v1", "--repo", "test"], ["history", "--repo", "test"],
        ["import", "gains", *why, "--repo", "test"],
        ["promote", f"{B}/{STAMP}/v1", "--from", "S", *why, "--yes", "--repo", "test"],
        ["verify", "--quick", "--repo", "test"],
        ["init", "./N", "--role", "test", "--shape", "3x4x8", "--zone", "UTC", "--detector", "jungfrau"],
    ]  # fmt: skip


def written(argv: list[str]) -> list[str]:
    """Return the place that the command was told to write, beside the repository."""
    if argv[0] == "init":
        return argv[1:2]
    return [value for flag, value in pairwise(argv) if argv[0] == "get" and flag == "-f"]


def some_arguments(world: World, count: int, seed: int) -> tuple[Counter[str], dict[str, Any]]:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    templates = commands()
    before = world.outside()
    for _ in range(count):
        argv = list(choose.choice(templates))
        places = [place for place in range(1, len(argv)) if not argv[place].startswith("-") or argv[place] == "-"]
        for place in choose.choices(places, k=choose.choice([1, 1, 1, 2])):
            argv[place] = hostile(choose, argv[place])
        if argv[0] == "init" and os.path.isabs(argv[1]):
            continue
        wrong = complaint(argv)
        after = world.outside()
        if after != before:
            told = [os.path.abspath(place) for place in written(argv) if "\0" not in place]
            changed = [name for name in after.keys() | before.keys() if after.get(name, 0) != before.get(name, 0)]
            if lost := [name for name in changed if not any(name == t or name.startswith(f"{t}/") for t in told)]:
                wrong = f"changed {os.path.relpath(lost[0], world.top)}"
            for name in sorted(after.keys() - before.keys(), reverse=True):
                Path(name).rmdir() if os.path.isdir(name) else os.unlink(name)
            after = world.outside()
            before = after
        if wrong:
            bad[wrong] += 1
            examples.setdefault(wrong, argv)
    return bad, examples


# -- what a colleague with bad intentions writes: every hash is right

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 1.5, 4096, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400,
    1e308, "", "x", "../../victim", "/dev/zero", "..", "log/0000000001.json",
    "\ud800".encode("utf-8", "surrogatepass").hex(), "\0", "é" * 200, "x" * 5000, "20180306000000", "99999999999999",
    "0" * 64, "<f8", "|O", "the beginning", "add", "now", [], {}, [1], [3, 4, 8], [3, 4, -8], [2**31, 2**31, 2**31],
    [3, 4, 8, 1], {"a": 1}, [[]], [None],
)  # fmt: skip


def digest(data: bytes) -> bytes:
    return blake3(data).hexdigest().encode()


def sealed(raw: bytes, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """Return a file of the repository with its two lines changed, and hashes that are right."""
    lines = raw.split(b"\n")
    first, second = change([json.loads(lines[1].removesuffix(b",")), json.loads(lines[4].removesuffix(b","))])
    dumped = [
        text if isinstance(text, bytes) else json.dumps(text, separators=(",", ":")).encode()
        for text in (first, second)
    ]
    lines[1], lines[4] = (text + b"," for text in dumped)
    lines[2] = b'"hash":"%b",' % digest(dumped[0])
    lines[5] = lines[5].split(b":")[0] + b':"%b"}' % digest(dumped[1])
    return b"\n".join(lines)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places_in(item, (*path, key))


def mutated(choose: random.Random, parts: list[Any]) -> list[Any]:
    """Return JSON with a value replaced, removed, doubled or nested deeply."""
    parts = copy.deepcopy(parts)
    way = choose.random()
    if way < 0.04:
        deep = choose.choice(
            [b"[" * 10**5, b"[" * 10**5 + b"]" * 10**5, b'{"a":' * 2000 + b"1" + b"}" * 2000, b"1", b'"x"']
        )
        parts[choose.randrange(len(parts))] = deep
        return parts
    *above, last = choose.choice(list(places_in(parts)))
    holder: Any = parts
    for key in above:
        holder = holder[key]
    if way < 0.15 and above:
        del holder[last]
    elif way < 0.2 and isinstance(holder, list) and above:
        holder.append(copy.deepcopy(holder[last]))
    else:
        value = choose.choice(VALUES)
        # Numbers near the right one reach further than wild ones.
        if isinstance(holder[last], int) and choose.random() < 0.5:
            value = holder[last] + choose.choice([1, -1, 4, 4096, -4096, 2**16, 2**20])
        holder[last] = value
    return parts


def mutated_index(choose: random.Random, raw: bytes) -> bytes:
    """Return an index whose footer or table was changed, and whose hashes are right."""
    length = int(raw[-27:-17])
    footer = json.loads(raw[-92 - length : -92])
    image, data = raw[: footer["image"]], bytearray(raw[footer["image"] : -92 - length])
    if choose.random() < 0.4:
        for _ in range(choose.randrange(1, 12)):
            data[choose.randrange(len(data))] = choose.choice([0, 1, 255, choose.randrange(256)])
        footer["table_blake3"] = digest(bytes(data)).decode()
    else:
        (footer,) = mutated(choose, [footer])
    line = footer if isinstance(footer, bytes) else json.dumps(footer, separators=(",", ":")).encode()
    return image + data + line + b"%b %010d jfstore-index-1\n" % (digest(line), len(line))


def resealed(number: int, template: str, top: str) -> list[str]:
    """Change one file of a repository, with hashes that are right; return what is wrong with how commands end."""
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    choose = random.Random(number)
    place = Path(top) / f"resealed-{number}"
    root = Path(shutil.copytree(template, place / "a" / "R"))
    (place / "victim").write_text("not to be changed")
    os.environ["JFSTORE_TEST"] = str(root)
    os.chdir(place)
    name = choose.choice(
        ["repository.json", "jfstore.h5", "log/0000000004.json", "log/0000000002.json", "log/0000000001.json"]
    )
    path = root / name.replace("jfstore.h5", "jungfrau.h5")
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(mutated_index(choose, raw) if path.suffix == ".h5" else sealed(raw, lambda p: mutated(choose, p)))
    if path.parent.name == "log" and choose.random() < 0.8:
        (root / "jungfrau.h5").unlink()
    wrong = []
    for argv in (
        ["get", "171113-154920171025-3d0038", "-T", LATER, "-t", GAIN],
        ["get", f"{B}_{A}", "-T", LATER, "-t", GAIN, "-f", "-"],
        ["list"],
        ["show", f"{A}/{STAMP}/v1"],
        ["history"],
        ["verify"],
        ["add", C, "-T", LATER, "-t", GAIN, "-f", str(Path(top) / "gain.npy"), "-m", "x"],
        ["verify", "--rebuild-index"],
        ["list", "--json"],
    ):
        if text := complaint([*argv, "--repo", "test"]):
            wrong.append(f"{name}: {argv[0]}: {text}")
    index = root / "jungfrau.h5"
    if index.exists() and path != index and b"victim" in index.read_bytes():
        wrong.append(f"{name}: the index leads out of the repository")
    os.chdir(top)
    if sorted(os.listdir(place)) != ["a", "victim"] or os.listdir(place / "a") != ["R"]:
        wrong.append(f"{name}: something was written outside")
    shutil.rmtree(place)
    return wrong


def some_resealed(world: World, count: int, seed: int) -> tuple[Counter[str], dict[str, Any]]:
    top = world.top / "resealed"
    top.mkdir()
    story(top / "R")
    np.save(top / "gain.npy", constants(8))
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    found = in_children(resealed, range(seed, seed + count), str(top / "R"), str(top))
    for number, wrong in found.items():
        for text in wrong:
            bad[text] += 1
            examples.setdefault(text, f"number {number}")
    return bad, examples


def offset_moved(offset: Any, template: str) -> list[str]:
    """Let a commit with right hashes say another offset of an array that is mapped; return what is wrong then."""
    root = Path(shutil.copytree(template, f"{template}-{offset}"))
    path = root / "log" / "0000000001.json"
    raw = path.read_bytes()
    path.unlink()

    def change(parts: list[Any]) -> list[Any]:
        parts[1][0]["offsets"][GAIN] = offset
        return parts

    path.write_bytes(sealed(raw, change))
    (root / "jungfrau.h5").unlink()
    wrong = []
    for argv in (["get", A, "-T", LATER, "-t", GAIN, "-f", "-"], ["verify"]):
        text = complaint([*argv, "--repo", str(root)])
        code = None if text else run([*argv, "--repo", str(root)])[0]
        if text or code != 4:
            wrong.append(f"{argv[0]}: {text or code}")
    return wrong


def test_offset_beyond_the_end_does_not_kill_the_process(tmp_path: Path) -> None:
    shape = (3, 32, 32)
    new_repository(tmp_path / "R", shape=shape).add([entry(A, seed=1, shape=shape)], "mapped")
    near = [0, 4097, *range(8192, 40960, 4096)]
    offsets = [*near, 2**20, 2**40, 2**62, 2**63 - 4096, 2**63, 2**64, -4096, -1, "4096", None, 4096.0]
    right = jfstore.open(str(tmp_path / "R")).versions()[0].file.offsets[GAIN]
    found = in_children(
        offset_moved, [str(o) if isinstance(o, list) else o for o in offsets if o != right], str(tmp_path / "R")
    )
    assert not found, "\n".join(f"{offset}: {wrong}" for offset, wrong in found.items())


FAMILIES = {"files": some_files, "trees": some_trees, "arguments": some_arguments, "resealed": some_resealed}


@pytest.mark.parametrize(("family", "count"), [("files", 120), ("trees", 60), ("arguments", 300), ("resealed", 60)])
def test_some_hostile_input(world: World, family: str, count: int) -> None:
    bad, examples = FAMILIES[family](world, count, 1)
    assert not bad, said(bad, examples)


@pytest.mark.full
@pytest.mark.parametrize(
    ("family", "count"), [("files", 3000), ("trees", 1000), ("arguments", 4500), ("resealed", 1500)]
)
def test_much_hostile_input(world: World, family: str, count: int) -> None:
    bad, examples = FAMILIES[family](world, count, 100_000)
    print(f"{family}: {count} inputs, {sum(bad.values())} bad")
    assert not bad, said(bad, examples)
