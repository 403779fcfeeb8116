"""Hostile DCS files: refused with one line, without opening another file, without much memory or time."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli import app as jfstore_main
from jfstore.cli.programs import dcs
from jfstore.dcs import hdf5child
from jfstore.dcs.read import opened_dcs
from jfstore.errors import Damaged, Failed, JfstoreError
from tests.conftest import ROOT
from tests.makers.dcs import NAME, SMALL, array
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
    # What to import may also be a directory: there it is the wrong thing rather than a damaged one.
    expected = 2 if command == "import" and kind in ("nothing", "text", "user block") else 4
    program, *words = COMMANDS[command]
    file, outside = Path(NAME).read_bytes(), (world / OUTSIDE).read_bytes()
    before = tree(world / "R")
    start = time.monotonic()
    code, out, err = tell(capsys, *words, program={"dcs": dcs.main, "jfstore": jfstore_main.main}[program])
    assert time.monotonic() - start < SECONDS
    assert (code, out, err.count("\n")) == (expected, "", 1), err
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
from jfstore.dcs import hdf5child
code = dcs.main(sys.argv[1:])
if hdf5child._reader:
    hdf5child._reader.close()
ours = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(max(*ours, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""Runs ``dcs`` and prints the most memory that it or a child of it took, in kB."""


def traced(place: Path) -> tuple[int, list[str], int, float]:
    """Run ``dcs get`` under strace; return exit code, the files that were opened, the most memory, and the time."""
    start = time.monotonic()
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o", place.parent / "trace",
         sys.executable, "-c", MEASURED, *COMMANDS["get"][1:]],
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
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


WORK = '{"tree": _walk(file.id)}'
LIMIT = "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))"


@pytest.fixture
def change_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Let files be read by a copy of the package in whose walk a text is another one."""
    package = tmp_path / "jfstore"
    shutil.copytree(ROOT / "jfstore", package, ignore=shutil.ignore_patterns("__pycache__"))
    walk = package / "dcs" / "hdf5walk.py"
    monkeypatch.setattr(hdf5child, "__file__", str(package / "dcs" / "hdf5child.py"))

    def change(old: str, new: str) -> None:
        text = walk.read_text()
        assert text.count(old) == 1
        walk.write_text(text.replace(old, new))
        forget()

    yield change
    forget()


def forget() -> None:
    """Let the next file be read by a new process."""
    if hdf5child._reader:
        hdf5child._reader.close()
    hdf5child._reader = None


def test_the_child_cannot_open_anything(change_walk: Callable[[str, str], None]) -> None:
    """Whatever libhdf5 could be made to do."""
    change_walk(WORK, '{"refused": io.FileIO("/dev/null").name}')
    with pytest.raises(Damaged, match="Too many open files"), opened_dcs(SMALL):
        pass
    change_walk(LIMIT, "pass")
    with pytest.raises(Damaged, match="/dev/null"), opened_dcs(SMALL):
        pass


# -- the child itself


@pytest.mark.parametrize(
    ("work", "error", "words"),
    [
        ("os.kill(os.getpid(), 11)", Damaged, "libhdf5 failed at it (signal 11)"),
        ("signal.alarm(1) + signal.pause()", Damaged, "it takes too long"),
        ("resource.setrlimit(resource.RLIMIT_CPU, (1, 2)) or [0 for _ in iter(int, 1)]", Damaged, "it takes too long"),
        ("os._exit(3)", Failed, "the process that reads it failed"),
        ("os.kill(os.getppid(), 9)", Failed, "the process that reads it failed"),
        ("bytearray(1 << 30)", Damaged, "MemoryError"),
        ('{"tree": {"a": ["<f4", [3], 99999999]}}', Damaged, "does not lie in the file"),
        ('{"tree": {"a": ["<f4", [3], -8]}}', Damaged, "does not lie in the file"),
        ('{"tree": {"a": ["O", [3], 0]}}', Damaged, "dtype"),
        ('{"tree": {"a": ["<f4", [-3], 0]}}', Damaged, "shape"),
        ('{"tree": {"a": ["<f4", [3.5], 0]}}', Damaged, "shape"),
        ('{"tree": {"a": ["<f4"]}}', Damaged, "damaged"),
        ('{"tree": {str(i): ["<f8", [9999], 0] for i in range(3)}}', Damaged, "more bytes than the file"),
        ('{"refused": "why"}', Damaged, "why"),
    ],
)
def test_whatever_the_child_does_is_one_error(
    work: str, error: type[JfstoreError], words: str, change_walk: Callable[[str, str], None]
) -> None:
    change_walk(WORK, work)
    start = time.monotonic()
    for _ in range(2):  # the next file is another child's
        with pytest.raises(error) as caught, opened_dcs(SMALL):
            pass
        assert words in caught.value.message
    assert time.monotonic() - start < 10


def test_there_are_only_so_many_objects(change_walk: Callable[[str, str], None]) -> None:
    change_walk("_OBJECTS = 100_000", "_OBJECTS = 50")
    with pytest.raises(Damaged, match="more than 50 objects"), opened_dcs(SMALL):
        pass


def test_a_file_that_changes_while_it_is_read_is_not_believed(place: Path) -> None:
    shutil.copy(SMALL, NAME)
    with opened_dcs(Path(NAME)) as contents:
        blob = contents.types[1].ranges[0].versions[0].blob
        assert blob
        blob.load()
        os.utime(NAME)
        with pytest.raises(Failed, match="changed while it was read"):
            blob.load()


def test_a_process_that_is_gone_is_started_anew() -> None:
    with opened_dcs(SMALL):
        pass
    assert hdf5child._reader
    hdf5child._reader._process.kill()
    hdf5child._reader._process.wait()
    with opened_dcs(SMALL) as contents:
        assert len(contents.types) == 3


def test_a_forked_process_has_one_of_its_own() -> None:
    with opened_dcs(SMALL):
        pass
    pid = os.fork()
    if not pid:
        with opened_dcs(SMALL) as contents:
            os._exit(len(contents.types))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    with opened_dcs(SMALL) as contents:
        assert len(contents.types) == 3


def test_the_process_ends_with_the_one_that_asks(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from jfstore.dcs import hdf5child\n"
        "from jfstore.dcs.read import opened_dcs\n"
        "with opened_dcs(Path(sys.argv[1])): pass\n"
        "print(hdf5child._reader._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, SMALL], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    until = time.monotonic() + 10
    while Path(f"/proc/{int(done.stdout)}").exists():
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.01)


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
