"""Every kind of damage to every kind of file: found by verify, never returned by get, the rest is served."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import jfstore
from jfstore.errors import Damaged, JfstoreError, Refused
from jfstore.repository.repository import Repository
from jfstore.repository.verify import Report, verify
from tests.makers.repositories import (
    LATER,
    STAMP,
    STORY,
    A,
    B,
    commit_path,
    constants,
    entry,
    flip,
    index_path,
    log_names,
    new_repository,
    put,
    reopened,
    seeds_of,
    story,
    tree,
)

PANELS = {A: 4, B: 2}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(story(tmp_path_factory.mktemp("verify") / "R").storage.location)


@pytest.fixture
def fresh(template: Path, tmp_path: Path) -> Callable[[], Path]:
    """Return a function that makes another copy of the repository each time."""
    counter = iter(range(10**6))

    def copy() -> Path:
        return Path(shutil.copytree(template, tmp_path / str(next(counter))))

    return copy


@pytest.fixture
def repository(fresh: Callable[[], Path]) -> Repository:
    return jfstore.open(str(fresh()))


def payloads(repository: Repository) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for version in repository.versions():
        found.setdefault(version.file.path, []).append(version.name)
    return found


# -- the ways in which a file goes bad


def some_bits(path: Path, count: int = 6) -> list[int]:
    """Return bits of a file anywhere, and the first and the last one."""
    size = 8 * path.stat().st_size
    chosen = random.Random(path.name).sample(range(size), count)
    return [0, *chosen, size - 1]


def flips(path: Path) -> list[Callable[[Path], None]]:
    return [lambda file, bit=bit: flip(file, bit) for bit in some_bits(path)]


def cut(path: Path) -> None:
    put(path, path.read_bytes()[:-1])


def cut_to_nothing(path: Path) -> None:
    put(path, b"")


def extend(path: Path) -> None:
    put(path, path.read_bytes() + b"\0")


def extend_in_front(path: Path) -> None:
    put(path, b"\n" + path.read_bytes())


def delete(path: Path) -> None:
    path.unlink()


def swap(path: Path) -> None:
    siblings = [other for other in path.parent.iterdir() if other.is_file() and other != path and other.name != ".lock"]
    sibling = sorted(siblings or [other for other in path.parents[1].rglob("*.h5") if other.parent != path.parent])[0]
    one, other = path.read_bytes(), sibling.read_bytes()
    put(path, other)
    put(sibling, one)


def zeros(path: Path) -> None:
    put(path, bytes(path.stat().st_size))


def replace_by_link(path: Path) -> None:
    path.rename(path.parents[2] / "moved away")
    path.symlink_to(path.parents[2] / "moved away")


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


KINDS: list[Callable[[Path], None]] = [
    cut, cut_to_nothing, extend, extend_in_front, delete, zeros, replace_by_link, replace_by_directory, replace_by_fifo
]  # fmt: skip


def ways(path: Path) -> list[Callable[[Path], None]]:
    return [*flips(path), *KINDS]


def found(report: Report, name: str) -> list[tuple[str, ...]]:
    """Return the versions affected of each problem that names the file."""
    return [problem.versions for problem in report.problems if name in problem.file or name in problem.message]


# -- sound


def test_sound_repository(repository: Repository) -> None:
    for quick in (True, False):
        report = verify(repository, quick=quick)
        assert (report.problems, report.notes) == ((), ())
        assert (report.commits, report.versions, report.files) == (4, 5, 4)


def test_verify_writes_nothing_and_says_how_far_it_is(repository: Repository) -> None:
    steps: list[tuple[int, int]] = []
    root = Path(repository.storage.location)
    before = tree(root)
    verify(repository, progress=lambda done, total: steps.append((done, total)))
    assert tree(root) == before
    assert steps == [(done, 4) for done in range(5)]


# -- payloads


@pytest.mark.parametrize("which", range(4))
def test_damaged_payload(template: Path, fresh: Callable[[], Path], which: int) -> None:
    name, versions = sorted(payloads(jfstore.open(str(template))).items())[which]
    for way in [*ways(template / name), swap]:
        root = fresh()
        way(root / name)
        again = jfstore.open(str(root))
        assert tuple(versions) in found(verify(again), name), way
        bad = {problem.file for problem in verify(again).problems}
        assert len(bad) == (2 if way is swap else 1)
        for version in again.versions():
            for kind in version.content:
                if version.file.path in bad:
                    check_refused_or_unhurt(again, version, kind, whole=way not in flips_of_other_places(name))
                else:
                    seed = {(A, 1): 1, (A, 2): 4}.get((version.panel, version.number)) or STORY[4][version.panel]
                    assert again.panel_array(version, kind).tobytes() == constants(seed, kind).tobytes()


def flips_of_other_places(name: str) -> tuple[()]:
    return ()


def check_refused_or_unhurt(repository: Repository, version: jfstore.repository, kind: str, whole: bool) -> None:
    try:
        array = repository.panel_array(version, kind)
    except Damaged:
        return
    seed = {(A, 1): 1, (A, 2): 4}.get((version.panel, version.number)) or STORY[4][version.panel]
    assert array.tobytes() == constants(seed, kind).tobytes()
