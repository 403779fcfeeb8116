"""Hostile DCS files: refused with one line, without opening another file, without much memory or time."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.cli import app as jfstore_main
from jfstore.cli.programs import dcs
from jfstore.dcs import hdf5
from jfstore.dcs.read import open_dcs
from jfstore.errors import Damaged, Failed
from tests.conftest import ROOT
from tests.makers.dcs import NAME, SMALL, array, make_dcs
from tests.makers.hostile_dcs import KINDS, OUTSIDE, make_hostile, make_outside
from tests.makers.repositories import new_repository, tree
from tests.makers.telling import tell

Capture = pytest.CaptureFixture[str]
COMMANDS = {
    "print": ("dcs", "print", NAME),
    "get": ("dcs", "get", NAME, "-t", "pixel_gain", "-T", "5", "-f", "got.npy"),
    "add": ("dcs", "add", NAME, "-t", "pixel_gain", "-T", "5", "-f", "new.npy"),
    "delctype": ("dcs", "delctype", NAME, "-t", "pixel_gain"),
    "import": ("jfstore", "import", NAME, "-m", "why", "--repo", "../R"),
}
MEMORY, SECONDS = 500 << 20, 15


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("hostile")
    make_outside(top)
    new_repository(top / "R", shape=(3, 4, 4))
    return top


@pytest.fixture
def place(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory beside the file that nobody may open and a repository R."""
    directory = world / "here"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    monkeypatch.chdir(directory)
    np.save("new.npy", array(2))
    return directory


def check(capsys: Capture, command: str, world: Path, kind: str) -> None:
    """Run a command on the file in the working directory, and check that nothing comes of it."""
    program, *words = COMMANDS[command]
    file, outside = Path(NAME).read_bytes(), (world / OUTSIDE).read_bytes()
    before = tree(world / "R")
    start = time.monotonic()
    code, out, err = tell(capsys, *words, program={"dcs": dcs.main, "jfstore": jfstore_main.main}[program])
    assert time.monotonic() - start < SECONDS
    assert (code, out, err.count("\n")) == (4, "", 1), err
    assert NAME in err
    if kind.startswith(("external link", "soft link")):
        assert "is a soft or external link" in err
    assert (Path(NAME).read_bytes(), (world / OUTSIDE).read_bytes()) == (file, outside)
    assert tree(world / "R") == before
    assert set(os.listdir()) <= {NAME, "new.npy", ".dcs-lock"}


@pytest.mark.parametrize("number", range(len(KINDS)), ids=lambda number: KINDS[number])
def test_it_is_refused(number: int, place: Path, world: Path, capsys: Capture) -> None:
    make_hostile(place, KINDS[number], world / OUTSIDE)
    check(capsys, list(COMMANDS)[number % len(COMMANDS)], world, KINDS[number])


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_by_every_command(kind: str, command: str, place: Path, world: Path, capsys: Capture) -> None:
    make_hostile(place, kind, world / OUTSIDE)
    check(capsys, command, world, kind)


MEASURED = """
import resource, sys
from jfstore.cli.programs import dcs
code = dcs.main(sys.argv[1:])
ours = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(max(*ours, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""Runs ``dcs`` and prints the most memory that it or a child of it took, in kB."""


def traced(place: Path) -> tuple[int, list[str], int, float]:
    """Run ``dcs get`` under strace; return exit code, the files that were opened, the most memory, and the time."""
    start = time.monotonic()
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=open,openat,openat2,creat",
            "-o",
            place.parent / "trace",
            sys.executable,
            "-c",
            MEASURED,
            *COMMANDS["get"][1:],
        ],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    taken = time.monotonic() - start
    return done.returncode, (place.parent / "trace").read_text().splitlines(), int(done.stdout) << 10, taken


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("external link to constants", "external storage") else pytest.mark.full)
        for kind in KINDS
    ],
)
def test_no_file_outside_is_opened(kind: str, place: Path, world: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    make_hostile(place, kind, world / OUTSIDE)
    code, opened, memory, taken = traced(place)
    assert code == 4
    assert taken < SECONDS
    assert 10 << 20 < memory < MEMORY
    assert any(NAME in line for line in opened), "the trace shows nothing"
    assert not [line for line in opened if "outside" in line or "no-such-file" in line]


def test_there_are_only_so_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_OBJECTS", 50)
    with pytest.raises(Damaged, match="more than 50 objects"), open_dcs(SMALL):
        pass


def test_the_structure_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_METADATA", 20_000)
    with pytest.raises(Damaged, match="more than 20000 bytes"), open_dcs(SMALL):
        pass


def test_another_layout_of_hdf5_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / NAME, "w", libver="latest") as file:
        file["pixel_gain"] = 1.0
    with pytest.raises(Damaged, match="superblock version 0"), open_dcs(tmp_path / NAME):
        pass


# -- structures that no HDF5 library writes

DATA = b"\x01\x04\x01\0\0\0\0\0"  # a dataspace of four dimensions, as the constants in `sound` have


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = make_dcs(tmp_path_factory.mktemp("sound") / NAME, {"pixel_gain": {(0.0, float("inf")): {1: array(1)}}})
    return path.read_bytes()


def put(raw: bytearray, offset: int, form: str, *values: int) -> None:
    struct.pack_into(form, raw, offset, *values)


def cyclic_tree(raw: bytearray) -> None:
    tree = raw.index(b"TREE")
    put(raw, tree + 32, "<Q", tree)


def cyclic_header(raw: bytearray) -> None:
    """Let the header of the root, at 96, continue in itself."""
    put(raw, 112, "<HHI", 0x10, 16, 0)
    put(raw, 120, "<QQ", 112, 24)


def many_long_names(raw: bytearray) -> None:
    """Let a heap be megabytes without a NUL, and thousands of names start in it."""
    heap, tree, end = raw.index(b"HEAP"), raw.index(b"TREE"), len(raw)
    put(raw, heap + 8, "<Q", 4 << 20)
    put(raw, heap + 24, "<Q", end)
    raw += b"x" * (4 << 20)
    put(raw, tree + 32, "<Q", len(raw))
    raw += b"SNOD\x01\0" + struct.pack("<H", 65_535)
    raw += b"".join(struct.pack("<QQI20x", number, 96, 0) for number in range(65_535))


def huge_block(raw: bytearray) -> None:
    put(raw, 104, "<I", 0xFFFFFFFF)


def many_blocks(raw: bytearray) -> None:
    """Let a header continue in many blocks of 60 kB that lie in each other."""
    start = len(raw)
    block = b"".join(struct.pack("<HHIQQ", 0x10, 16, 0, start + 8 * number, 60_000) for number in range(2500))
    put(raw, 112, "<HHI", 0x10, 16, 0)
    put(raw, 120, "<QQ", start, len(block))
    raw += block + bytes(60_000)


def huge_rank(raw: bytearray) -> None:
    put(raw, raw.index(DATA) + 1, "<B", 255)


def huge_length(raw: bytearray) -> None:
    put(raw, raw.index(DATA) + 8, "<4Q", *[1 << 62] * 4)


def empty_but_huge(raw: bytearray) -> None:
    put(raw, raw.index(DATA) + 8, "<4Q", 0, 1 << 62, 1 << 62, 1 << 62)


def slash_in_a_name(raw: bytearray) -> None:
    raw[:] = raw.replace(b"pixel_gain\0", b"pixel/gain\0")


def two_of_one_name(raw: bytearray) -> None:
    raw[:] = raw.replace(b"detname\0", b"detid\0\0\0")


def shared_type(raw: bytearray) -> None:
    put(raw, raw.index(DATA) + 72 + 4, "<B", 3)


RAW = [
    (cyclic_tree, "is inside itself"),
    (cyclic_header, "is inside itself"),
    (many_long_names, "is not the name of anything"),
    (huge_block, "more than"),
    (many_blocks, "more than"),
    (huge_rank, "has no shape"),
    (huge_length, "more than the 1073741824"),
    (empty_but_huge, "more than the 1073741824"),
    (slash_in_a_name, "is not the name of anything"),
    (two_of_one_name, "is not the name of anything"),
    (shared_type, "is not one that the store writes"),
]


@pytest.mark.parametrize(("spoil", "words"), RAW, ids=lambda value: getattr(value, "__name__", "-"))
def test_impossible_structures_are_refused(
    spoil: Callable[[bytearray], None], words: str, sound: bytes, place: Path
) -> None:
    raw = bytearray(sound)
    spoil(raw)
    put(raw, 40, "<Q", len(raw))
    Path(NAME).write_bytes(raw)
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(Damaged) as caught, open_dcs(Path(NAME)):
            pass
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()
    assert words in caught.value.message
    assert time.monotonic() - start < SECONDS


def test_a_file_that_changes_while_it_is_read_is_not_believed(place: Path) -> None:
    shutil.copy(SMALL, NAME)
    with open_dcs(Path(NAME)) as contents:
        blob = contents.types[1].ranges[0].versions[0].blob
        assert blob
        blob.load()
        os.utime(NAME)
        with pytest.raises(Failed, match="changed while it was read"):
            blob.load()


def mutated(random_: random.Random, sound: bytes) -> bytes:
    """Return a file with a few bytes changed, most of them near others that are no zeros."""
    raw = bytearray(sound)
    for _ in range(random_.choice([1, 1, 2, 8])):
        place = random_.randrange(len(raw))
        while not any(raw[place : place + 8]):
            place = random_.randrange(len(raw))
        raw[place] = random_.choice([0, 1, 255, raw[place] ^ (1 << random_.randrange(8)), random_.randrange(256)])
    return bytes(raw)


@pytest.mark.parametrize("count", [15, pytest.param(2000, marks=pytest.mark.full)])
def test_mutants_are_answered_or_refused(count: int, place: Path, capsys: Capture) -> None:
    random_ = random.Random(count)
    # Without the arrays, in which a changed byte is nothing that could be seen.
    sound = SMALL.read_bytes()
    codes = []
    for _ in range(count):
        Path(NAME).write_bytes(mutated(random_, sound[:9000]) + sound[9000:])
        start = time.monotonic()
        code, _, err = tell(capsys, "print", NAME, program=dcs.main)
        assert time.monotonic() - start < SECONDS + 5
        assert "Traceback" not in err
        codes.append(code)
    assert set(codes) <= {0, 4}
    assert len(set(codes)) == 2, "nothing was ever wrong"


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
def test_what_is_no_file_is_not_read(kind: str, place: Path, capsys: Capture) -> None:
    path = Path(NAME)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for words in (("print", path), ("add", path, "-t", "pixel_gain", "-T", 5, "-f", "new.npy")):
        code, out, err = tell(capsys, *words, program=dcs.main)
        assert (code, out, "is not a regular file" in err) == (4, "", True)


def test_it_is_not_stored(world: Path) -> None:
    assert jfstore.open(str(world / "R")).versions() == []
