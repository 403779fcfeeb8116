"""Every kind of damage to every kind of file: found by verify, never returned by get, the rest is served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import jfstore
from jfstore.core.records import Version
from jfstore.errors import Busy, Damaged, JfstoreError, Refused
from jfstore.repository.repository import Repository
from jfstore.repository.verify import Report, verify
from tests.makers.repositories import (
    LATER,
    STAMP,
    STORY,
    TYPES,
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
from tests.makers.spoiling import KINDS, cut, delete, extend, replace_by_link, some_bits, swap, ways
from tests.makers.tables import change_columns, lie_about_numbers, lie_about_the_head


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


def seed_of(version: Version) -> int:
    return 1 if (version.panel, version.number) == (A, 1) else STORY[4][version.panel]


# -- payloads


@pytest.mark.parametrize("which", range(4))
def test_damaged_payload(template: Path, fresh: Callable[[], Path], which: int) -> None:
    name, versions = sorted(payloads(jfstore.open(str(template))).items())[which]
    for way in [*ways(template / name), swap]:
        root = fresh()
        way(root / name)
        again = jfstore.open(str(root))
        report = verify(again)
        assert tuple(versions) in found(report, name), way
        bad = {problem.file for problem in report.problems}
        assert len(bad) == (2 if way is swap else 1), way
        for version in again.versions():
            for kind in version.content:
                try:
                    array = again.panel_array(version, kind)
                except Damaged:
                    assert version.file.path in bad, way
                else:
                    assert array.tobytes() == constants(seed_of(version), kind).tobytes(), way
                    assert version.file.path not in bad or way not in [*KINDS, swap], way


def test_damaged_payload_stops_the_reads_that_need_it_only(repository: Repository) -> None:
    last = repository.version(f"{A}/{STAMP}/v2")
    flip(Path(repository.storage.location, last.file.path), 8 * last.file.offsets["pixel_gain"] + 3)
    for detector in (A, f"{B}_{A}"):
        with pytest.raises(Damaged) as caught:
            repository.get(detector, "pixel_gain", LATER)
        assert last.file.path in str(caught.value)
        assert caught.value.exit_code == 4
    assert repository.get(A, "pixel_offset", LATER).tobytes() == constants(4, "pixel_offset").tobytes()
    assert repository.get(A, "pixel_gain", LATER, number=1).tobytes() == constants(1).tobytes()
    assert seeds_of(repository, 2) == STORY[2]


def test_every_bit_of_a_payload_counts(repository: Repository) -> None:
    (name, _), *_ = payloads(repository).items()
    path = Path(repository.storage.location, name)
    for bit in some_bits(path, 300):
        flip(path, bit)
        assert found(verify(repository), name)
        flip(path, bit)
    assert verify(repository).problems == ()


@pytest.mark.parametrize("way", [*KINDS, lambda path: flip(path, path.stat().st_size * 4)])
def test_damaged_payload_is_not_mapped(tmp_path: Path, way: Callable[[Path], None]) -> None:
    shape = (3, 32, 32)
    repository = new_repository(tmp_path / "R", shape=shape)
    one, _ = repository.add_entries(
        [entry(A, seed=1, types=TYPES[:1], shape=shape), entry(B, shape=shape)], "whole pages"
    ).versions
    way(tmp_path / "R" / one.file.path)
    for detector in (A, f"{B}_{A}"):
        with pytest.raises(Damaged):
            repository.get(detector, "pixel_gain", LATER)
    assert repository.get(B, "pixel_gain", LATER).tobytes() == constants(0, shape=shape).tobytes()
    assert [problem.file for problem in verify(repository).problems] == [one.file.path]


def test_quick_sees_sizes_only(repository: Repository) -> None:
    (one, _), (other, _), *_ = payloads(repository).items()
    cut(Path(repository.storage.location, one))
    flip(Path(repository.storage.location, other), 8 * 5000)
    assert [problem.file for problem in verify(repository, quick=True).problems] == [one]


# -- the log


@pytest.mark.parametrize("seq", [1, 2, 3, 4])
@pytest.mark.parametrize("index", [True, False], ids=["with index", "without index"])
def test_damaged_commit(template: Path, fresh: Callable[[], Path], seq: int, index: bool) -> None:
    added = tuple(v.name for v in jfstore.open(str(template)).commit(seq).versions)
    name = f"log/{seq:010d}.json"
    for way in ways(template / name):
        root = fresh()
        if not index:
            (root / "jungfrau.h5").unlink()
        way(root / name)
        again = jfstore.open(str(root))
        if way is delete and seq == 4 and not index:
            assert seeds_of(again) == STORY[3]  # nothing else knows of it
            continue
        affected = found(verify(again), name)
        assert affected, way
        assert not index or added in affected, way
        if index and seq < 4:
            assert seeds_of(again) == STORY[4], way
            continue
        with pytest.raises(Busy if way is delete else Damaged, match=name):
            again.get(A, "pixel_gain", LATER)
        assert seeds_of(reopened(again), seq - 1) == STORY.get(seq - 1, {}), way


@pytest.mark.parametrize("seq", [1, 2, 3, 4])
def test_commits_swapped(fresh: Callable[[], Path], seq: int) -> None:
    root = fresh()
    (root / "jungfrau.h5").unlink()
    swap(root / "log" / f"{seq:010d}.json")
    again = jfstore.open(str(root))
    assert len({problem.file for problem in verify(again).problems if problem.file.startswith("log/")}) == 2
    with pytest.raises(Damaged):
        again.get(A, "pixel_gain", LATER)


def test_chain_to_repository_json(repository: Repository, tmp_path: Path) -> None:
    other = new_repository(tmp_path / "other")
    other.add_entries([entry(A, seed=1)], "in another repository")
    put(commit_path(repository, 1), commit_path(other, 1).read_bytes())
    assert found(verify(repository), "log/0000000001.json")
    index_path(repository).unlink()
    with pytest.raises(Damaged):
        reopened(repository).get(A, "pixel_gain", LATER)


def test_commit_of_another_story_is_found(repository: Repository, fresh: Callable[[], Path]) -> None:
    other = jfstore.open(str(fresh()))
    for each, seed in ((repository, 5), (other, 6)):
        each.add_entries([entry(A, seed=seed)], "a fork")
        each.add_entries([entry(A, seed=7)], "and on")
    put(commit_path(repository, 5), commit_path(other, 5).read_bytes())
    assert verify(repository).problems
    index_path(repository).unlink()
    with pytest.raises(Damaged):
        reopened(repository).get(A, "pixel_gain", LATER)


# -- repository.json and the index


def test_damaged_identity(template: Path, fresh: Callable[[], Path]) -> None:
    for way in ways(template / "repository.json"):
        root = fresh()
        way(root / "repository.json")
        with pytest.raises((Damaged, Refused), match=r"repository\.json"):
            jfstore.open(str(root))


@pytest.mark.parametrize("way", [lambda path: flip(path, 300), delete, extend, replace_by_link])
def test_identity_damaged_under_an_open_repository_is_found(
    repository: Repository, way: Callable[[Path], None]
) -> None:
    way(Path(repository.storage.location, "repository.json"))
    assert found(verify(repository), "repository.json")


def test_damaged_index(template: Path, fresh: Callable[[], Path]) -> None:
    path = template / "jungfrau.h5"
    for way in [*(lambda file, bit=bit: flip(file, bit) for bit in some_bits(path, 60)), *KINDS]:
        root = fresh()
        way(root / "jungfrau.h5")
        again = jfstore.open(str(root))
        assert found(verify(again), "jungfrau.h5"), way
        assert seeds_of(again) == STORY[4], way


def foreign(repository: Repository, tmp_path: Path) -> None:
    put(index_path(repository), index_path(story(tmp_path / "other")).read_bytes())


def lying(repository: Repository, tmp_path: Path) -> None:
    lying = change_columns(repository.log.table(), lie_about_numbers)
    repository.storage.save_index(repository.identity, lying, "", afresh=True)


def forked(repository: Repository, tmp_path: Path) -> None:
    lying = change_columns(repository.log.table(), lie_about_the_head)
    repository.storage.save_index(repository.identity, lying, "", afresh=True)


def ahead(repository: Repository, tmp_path: Path) -> None:
    commit_path(repository, 4).unlink()


def spoilt(repository: Repository, tmp_path: Path) -> None:
    flip(index_path(repository), 9000)


def gone(repository: Repository, tmp_path: Path) -> None:
    index_path(repository).unlink()


@pytest.mark.parametrize("way", [foreign, lying, forked, ahead, spoilt, gone])
def test_index_is_made_anew_from_the_log(
    repository: Repository, tmp_path: Path, way: Callable[[Repository, Path], None]
) -> None:
    way(repository, tmp_path)
    again = reopened(repository)
    assert found(verify(again), "jungfrau.h5")
    again.rebuild_index()
    assert verify(reopened(repository)).problems == ()
    assert seeds_of(reopened(repository)) == seeds_of(again) == STORY[len(log_names(repository))]
    assert {version.number for version in again.versions()} == {1, 2}


def test_index_is_not_made_anew_from_a_broken_log(repository: Repository) -> None:
    before = index_path(repository).read_bytes()
    flip(commit_path(repository, 2), 999)
    with pytest.raises(Damaged):
        reopened(repository).rebuild_index()
    assert index_path(repository).read_bytes() == before


# -- several at once, and what is no damage


def test_all_problems_are_listed(repository: Repository) -> None:
    root = Path(repository.storage.location)
    names = [*payloads(repository), "log/0000000002.json", "log/0000000004.json"]
    for name in names:
        cut(root / name)
    assert {problem.file for problem in verify(repository).problems} >= set(names)


@pytest.mark.parametrize("place", ["log", "panels"])
def test_directory_that_is_gone_is_a_problem(repository: Repository, place: str) -> None:
    shutil.rmtree(Path(repository.storage.location, place))
    again = reopened(repository)
    assert {problem.file.split("/")[0] for problem in verify(again).problems} >= {place}
    with pytest.raises(JfstoreError):
        again.get(A, "pixel_gain", LATER)


def test_file_with_a_great_number_is_one_problem_and_quickly_said(repository: Repository) -> None:
    put(commit_path(repository, 2000), b"x")
    assert len(verify(repository).problems) < 10


def test_leftovers_are_notes(repository: Repository) -> None:
    root = Path(repository.storage.location)
    left = [".tmp-1-a", "log/.tmp-1-b", "panels/.tmp-1-c", f"panels/{A}/.tmp-1-d"]
    orphans = [f"panels/{A}/{STAMP}-000000000000.h5", "panels/x", "log/x"]
    for name in [*left, *orphans, "foreign.txt"]:
        (root / name).write_bytes(b"x")
    report = verify(repository)
    assert report.problems == ()
    assert sorted(name for name, _ in report.notes) == sorted([*left, *orphans])
    assert seeds_of(reopened(repository)) == STORY[4]


def test_clean_removes_old_temporary_files_only(repository: Repository) -> None:
    root = Path(repository.storage.location)
    before = {path for path in root.rglob("*") if path.is_file()}
    kept = [".tmp-young", "panels/x.h5", f"panels/{A}/x"]
    for name in [".tmp-old", "log/.tmp-old", f"panels/{A}/.tmp-old", *kept]:
        (root / name).write_bytes(b"x")
        if "old" in name:
            os.utime(root / name, (0, 0))
    (root / "log" / ".tmp-directory").mkdir()
    os.utime(root / "log" / ".tmp-directory", (0, 0))
    assert sorted(repository.storage.clean(86400)) == [".tmp-old", "log/.tmp-old", f"panels/{A}/.tmp-old"]
    assert {path for path in root.rglob("*") if path.is_file()} == before | {root / name for name in kept}
    assert verify(repository).problems == ()
