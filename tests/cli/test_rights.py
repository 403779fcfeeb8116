"""Modes, groups and who may do what: two colleagues of a group and a stranger, under every umask."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.core.instants import DEFAULT_ZONE, find_zone
from jfstore.repository.verify import verify
from tests.makers.children import CHILDREN, MODULES
from tests.makers.repositories import EARLY, LATER, STAMP, A, B, constants, entry, new_repository, tree

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become two users and a stranger")

UMASKS = [0o000, 0o002, 0o022, 0o077]
GROUP, OTHER_GROUP = 61001, 61002
# User, own group, further groups.
ONE = (61011, OTHER_GROUP, [GROUP])
TWO = (61012, OTHER_GROUP, [GROUP])
STRANGER: tuple[int, int, list[int]] = (61013, OTHER_GROUP, [])


def child(who: tuple[int, int, list[int]], umask: int, work: Callable[..., Any], arguments: Any, channel: Any) -> None:
    # What is loaded late must be loaded while everything may be read.
    for name in MODULES:
        import_module(name)
    find_zone(DEFAULT_ZONE), find_zone("UTC")
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CONFIG_DIRS"] = "/nonexistent"
    user, group, groups = who
    os.setgroups(groups)
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    os.umask(umask)
    try:
        channel.send((work(*arguments), None))
    except BaseException as error:
        channel.send((None, repr(error)))


def become(who: tuple[int, int, list[int]], work: Callable[..., Any], *arguments: Any, umask: int = 0o022) -> Any:
    """Return what `work` returns to the user `who`."""
    ours, theirs = CHILDREN.Pipe()
    process = CHILDREN.Process(target=child, args=(who, umask, work, arguments, theirs))
    process.start()
    theirs.close()
    result, error = ours.recv() if ours.poll(60) else (None, "no answer")
    process.join(10)
    assert error is None, error
    return result


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a directory as an administrator makes it: of the group, and the group's files stay the group's."""
    top = Path(tempfile.mkdtemp(prefix="jfstore-rights-"))
    top.chmod(0o755)
    directory = top / "shared"
    directory.mkdir()
    os.chown(directory, 0, GROUP)
    directory.chmod(0o2775)
    yield directory
    shutil.rmtree(top)


def make(root: str) -> None:
    new_repository(Path(root))


def add(root: str, panel: str, seed: int, stamp: str = STAMP) -> int:
    return jfstore.open(root).add_entries([entry(panel, stamp, seed)], f"seed {seed}").seq


def get(root: str, panel: str) -> bytes:
    return jfstore.open(root).get(panel, "pixel_gain", LATER).tobytes()


def tries(root: str, name: str, ways: list[str]) -> list[str]:
    """Return which of `ways` of doing away with a file succeed."""
    path = Path(root, name)
    own = path.parent / "own"
    own.touch()
    acts: dict[str, Callable[[], Any]] = {
        "write": lambda: path.open("r+b"),
        "chmod": lambda: path.chmod(0o666),
        "replace": lambda: own.replace(path),
        "move": lambda: path.rename(path.parent / "away"),
        "delete": path.unlink,
    }
    done = []
    for way in ways:
        try:
            acts[way]()
            done.append(way)
        except PermissionError:
            pass
    own.unlink(missing_ok=True)
    return done


def command(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(argv)
    return code, out.getvalue(), err.getvalue()


def wrong_rights(root: Path, users: set[int]) -> list[str]:
    """Return what in a repository has another mode, group or owner than it should."""
    wrong = []
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if path == root:
            right = 0o2775
        elif path.is_dir():
            right = 0o3775
        else:
            right = 0o664 if path.name == ".lock" else 0o444
        if mode != right or status.st_gid != GROUP or status.st_uid not in users:
            wrong.append(f"{path.relative_to(root)}: {mode:o}, not {right:o}, of {status.st_uid}:{status.st_gid}")
    return wrong


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.mark.parametrize("umask", UMASKS, ids=lambda umask: f"umask {umask:03o}")
def test_modes_groups_and_colleagues(shared: Path, umask: int) -> None:
    root = shared / "R"
    place = str(root)
    become(ONE, make, place, umask=umask)
    assert wrong_rights(root, {ONE[0]}) == []
    assert become(ONE, add, place, A, 1, umask=umask) == 1
    # The colleague adds to a panel of the other's, a panel of his own, and the other one to that.
    assert become(TWO, add, place, A, 2, umask=umask) == 2
    assert become(TWO, add, place, B, 3, umask=umask) == 3
    assert become(ONE, add, place, B, 4, EARLY, umask=umask) == 4
    assert wrong_rights(root, {ONE[0], TWO[0]}) == []
    assert {path.lstat().st_uid for path in root.rglob("*.json")} == {ONE[0], TWO[0]}
    for who in (ONE, TWO, STRANGER):
        assert become(who, get, place, A, umask=umask) == constants(2).tobytes()
        assert become(who, get, place, B, umask=umask) == constants(3).tobytes()
    report = verify(jfstore.open(place))
    assert (report.problems, report.notes) == ((), ())


def test_a_colleague_cannot_do_away_with_what_is_not_his(shared: Path) -> None:
    root = shared / "R"
    become(ONE, make, str(root))
    become(ONE, add, str(root), A, 1)
    before = tree(root / "log"), tree(root / "panels")
    ways = ["write", "chmod", "replace", "move", "delete"]
    for name in files_of(root):
        if "/" in name:
            assert become(TWO, tries, str(root), name, ways) == [], name
    left = tree(root / "log"), tree(root / "panels")
    assert [{name: what[2] for name, what in one.items()} for one in left] == [
        {name: what[2] for name, what in one.items()} for one in before
    ]
    for name in files_of(root):
        assert become(TWO, tries, str(root), name, ["write", "chmod"]) == [], name


def test_an_existing_directory_keeps_its_rights(shared: Path) -> None:
    root = shared / "R"
    root.mkdir()
    os.chown(root, ONE[0], GROUP)
    root.chmod(0o2770)
    become(ONE, make, str(root), umask=0o077)
    become(ONE, add, str(root), A, 1, umask=0o077)
    assert stat.S_IMODE(root.stat().st_mode) == 0o2770
    assert [line for line in wrong_rights(root, {ONE[0]}) if not line.startswith(".:")] == []
    assert become(TWO, add, str(root), A, 2, umask=0o077) == 2


@pytest.mark.parametrize("index", ["older", "missing", "damaged", "as it is"])
def test_reader_without_write_permission_is_served(shared: Path, index: str) -> None:
    root = shared / "R"
    become(ONE, make, str(root))
    become(ONE, add, str(root), A, 1)
    path = root / "jungfrau.h5"
    older = path.read_bytes()
    become(TWO, add, str(root), A, 2)
    become(ONE, add, str(root), B, 3)
    if index != "as it is":
        path.unlink()
    if index in ("older", "damaged"):
        path.write_bytes(older if index == "older" else older[:-1])
    before = tree(root)
    for who in (STRANGER, TWO):
        assert become(who, get, str(root), A) == constants(2).tobytes()
        assert become(who, get, str(root), B) == constants(3).tobytes()
        code, out, err = become(who, command, "list", "--repo", str(root))
        assert (code, err, len(out.splitlines())) == (0, "", 4)
    assert tree(root) == before


def test_a_stranger_is_refused_with_one_line(shared: Path) -> None:
    root = shared / "R"
    become(ONE, make, str(root))
    become(ONE, add, str(root), A, 1)
    source = shared / "gain.npy"
    np.save(source, constants(2))
    other = shared / "other"
    become(ONE, make, str(other))
    become(ONE, add, str(other), B, 5)
    before = tree(shared)
    to, why = ["--repo", str(root)], ["-m", "why"]
    for argv in (
        ["add", A, "-T", STAMP, "-t", "pixel_gain", "-f", str(source), *why, *to],
        ["add", B, "-T", STAMP, "-t", "pixel_gain", "-f", str(source), *why, *to],
        ["promote", f"{B}/{STAMP}/v1", "--from", str(other), *why, *to],
        ["verify", "--rebuild-index", *to],
        ["init", str(shared / "mine"), "--role", "test"],
    ):
        code, out, err = become(STRANGER, command, *argv)
        assert code in (1, 5), (argv, code)
        assert out == ""
        assert len(err.splitlines()) == 1, (argv, err)
        assert str(shared) in err, (argv, err)
        assert "ermission" in err, (argv, err)
    assert tree(shared) == before
    for argv in (["verify", *to], ["list", *to], ["get", A, "-T", LATER, *to], ["history", *to]):
        assert become(STRANGER, command, *argv)[0] == 0, argv
    assert tree(shared) == before


def test_what_a_stranger_may_not_read_is_said_with_one_line(shared: Path) -> None:
    root = shared / "R"
    become(ONE, make, str(root))
    become(ONE, add, str(root), A, 1)
    payload = next(path for path in (root / "panels").rglob("*.h5"))
    for path in (payload, root / "log" / "0000000001.json", root / "repository.json", root / "log", root):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(0o700 if path.is_dir() else 0o400)
        code, _, err = become(
            STRANGER, command, "get", A, "-T", LATER, "-t", "pixel_gain", "--repo", str(root), "-f", "-"
        )
        assert code in (1, 4, 5), path
        assert len(err.splitlines()) == 1, (path, err)
        assert str(path) in err, (path, err)
        path.chmod(mode)
