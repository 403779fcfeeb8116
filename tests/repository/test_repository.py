"""What is added to a repository, and promoted from one to another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore import BadValue
from jfstore.core.arrays import check_array
from jfstore.core.instants import SECOND, Instant, parse_time
from jfstore.repository.adding import Entry
from jfstore.repository.promoting import entry_of
from jfstore.repository.repository import Repository
from tests.makers.repositories import (
    EARLY,
    LATER,
    SHAPE,
    STAMP,
    A,
    B,
    C,
    D,
    constants,
    entry,
    log_names,
    new_repository,
    reopened,
    seeds_of,
    tree,
)

GAIN, OFFSET = ["pixel_gain"], ["pixel_offset"]


MARCH = 1520323200 * SECOND


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R")


def names(repository: Repository) -> list[str]:
    return [version.name for version in reopened(repository).versions()]


# -- add


def test_numbers_count_up_per_panel_and_stamp(repository: Repository) -> None:
    for panel, stamp, seed in [
        (A, STAMP, 1),
        (A, STAMP, 2),
        (A, EARLY, 1),
        (B, STAMP, 1),
        (A, STAMP, 3),
        (A, EARLY, 9),
    ]:
        repository.add_entries([entry(panel, stamp, seed)], "more")
    expected = [(A, STAMP, 1), (A, STAMP, 2), (A, EARLY, 1), (B, STAMP, 1), (A, STAMP, 3), (A, EARLY, 2)]
    assert names(repository) == [f"{panel}/{stamp}/v{number}" for panel, stamp, number in expected]


def test_several_versions_in_one_commit(repository: Repository) -> None:
    entries = [entry(A, seed=1), entry(A, seed=2), entry(A, EARLY, seed=2), entry(B, seed=1), entry(A, seed=2)]
    done = repository.add_entries(iter(entries), "all at once")
    assert done.seq == 1
    assert [v.name for v in done.versions] == [
        f"{A}/{STAMP}/v1",
        f"{A}/{STAMP}/v2",
        f"{A}/{EARLY}/v1",
        f"{B}/{STAMP}/v1",
    ]
    assert [name for _, name in done.unchanged] == [f"{A}/{STAMP}/v2"]
    assert list(done.versions) == list(repository.commit(1).versions)
    assert log_names(repository) == ["0000000001.json"]


def test_numbers_fill_arrays(repository: Repository) -> None:
    gains = constants(1)
    added = repository.add(A, STAMP, {"pixel_gain": gains, "pixel_offset": (1, 2.5, float(np.float32(3)))}, "offsets")
    assert added.notes == ("pixel_offset is filled with 1,2.5,3",)
    assert added.versions[0].source == "pixel_offset=1,2.5,3"
    offset = repository.get(A, "pixel_offset", STAMP)
    assert offset.dtype == np.float32
    assert [np.unique(part).tolist() for part in offset] == [[1.0], [2.5], [3.0]]
    repository.add(f"{B}_{C}", STAMP, {"pixel_gain": 1, "pixel_offset": [0.0]}, "nothing yet", provenance="agreed")
    assert repository.version(f"{C}/{STAMP}/v1").source == "agreed"
    assert np.all(repository.get(f"{B}_{C}", "pixel_gain", STAMP) == 1)
    wrong: list[Any] = [0, True, (), (1, 2), (1, None, 1), float("nan"), [[1, 2, 3]]]
    for value in wrong:
        with pytest.raises(BadValue):
            repository.add(D, STAMP, {"pixel_gain": value}, "wrong")


def test_add_of_what_holds_is_unchanged(repository: Repository) -> None:
    repository.add_entries([entry(A, seed=1)], "one")
    done = repository.add_entries([entry(A, seed=1, source="a file")], "again")
    assert (done.seq, done.versions, done.unchanged) == (1, (), (("a file", f"{A}/{STAMP}/v1"),))
    assert log_names(repository) == ["0000000001.json"]


def test_add_of_what_held_before_is_a_new_version(repository: Repository) -> None:
    for seed in (1, 2, 1):
        repository.add_entries([entry(A, seed=seed)], "back and forth")
    assert names(repository) == [f"{A}/{STAMP}/v{number}" for number in (1, 2, 3)]
    assert seeds_of(repository) == {A: 1}


def test_once_skips_what_the_stamp_ever_had(repository: Repository) -> None:
    for seed in (1, 2):
        repository.add_entries([entry(A, seed=seed)], "back and forth")
    done = repository.add_entries([entry(A, seed=1), entry(A, seed=3), entry(A, EARLY, seed=1)], "import", once=True)
    assert [name for _, name in done.unchanged] == [f"{A}/{STAMP}/v1"]
    assert [version.name for version in done.versions] == [f"{A}/{STAMP}/v3", f"{A}/{EARLY}/v1"]


def test_what_holds_is_looked_at_type_by_type(repository: Repository) -> None:
    repository.add_entries([entry(A, seed=1, types=GAIN)], "v1 holds the gain")
    repository.add_entries([entry(A, seed=1, types=OFFSET)], "v2 holds the offset")
    for types in (GAIN, OFFSET, GAIN + OFFSET):
        assert repository.add_entries([entry(A, seed=1, types=types)], "again").versions == ()
    repository.add_entries([entry(A, seed=2, types=OFFSET)], "v3 holds another offset")
    assert repository.add_entries([entry(A, seed=1, types=GAIN)], "again").versions == ()
    assert repository.add_entries([entry(A, seed=1, types=OFFSET)], "import", once=True).versions == ()
    assert len(repository.add_entries([entry(A, seed=1)], "the first offset").versions) == 1


def test_of_a_detector_only_the_changed_panels_get_a_version(repository: Repository) -> None:
    repository.add_entries([entry(A, seed=1), entry(B, seed=2), entry(C, seed=3)], "a detector")
    done = repository.add_entries([entry(A, seed=1), entry(B, seed=4), entry(C, seed=3)], "one of them changed")
    assert (done.seq, [version.name for version in done.versions]) == (2, [f"{B}/{STAMP}/v2"])
    assert [name for _, name in done.unchanged] == [f"{A}/{STAMP}/v1", f"{C}/{STAMP}/v1"]


def test_same_content_shares_one_file(repository: Repository) -> None:
    repository.add_entries([entry(A, seed=1), entry(B, seed=1)], "together")
    repository.add_entries([entry(C, EARLY, seed=1)], "later")
    repository.add_entries([entry(D, seed=1, types=GAIN)], "only a part of it")
    first, *others, part = repository.versions()
    assert {version.file.path for version in others} == {first.file.path}
    assert part.file.path != first.file.path


def test_damaged_file_is_not_shared(repository: Repository, tmp_path: Path) -> None:
    (version,) = repository.add_entries([entry(A, seed=1)], "one").versions
    path = tmp_path / "R" / version.file.path
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(version.file.offsets["pixel_gain"])
        file.write(b"\xff")
    repository.add_entries([entry(B, seed=1)], "the same, from outside")
    assert repository.get(B, "pixel_gain", LATER).tobytes() == constants(1).tobytes()


@pytest.mark.parametrize("what", ["new", "unchanged", "known content", "nothing"])
def test_dry_run_says_what_would_be_and_writes_nothing(repository: Repository, tmp_path: Path, what: str) -> None:
    repository.add_entries([entry(A, seed=1)], "one")
    entries = {
        "new": [entry(A, seed=2), entry(B, seed=3)],
        "unchanged": [entry(A, seed=1)],
        "known content": [entry(C, seed=1)],
        "nothing": [],
    }[what]
    before = tree(tmp_path)
    said = reopened(repository).add_entries(entries, "why", dry_run=True)
    assert tree(tmp_path) == before
    done = repository.add_entries(entries, "why")
    assert [version.name for version in said.versions] == [version.name for version in done.versions]
    assert said.unchanged == done.unchanged


def test_commit_holds_who_when_why_and_where_from(repository: Repository) -> None:
    before = datetime.now(UTC)
    message = "why\tµ\n“second line”"
    (added,) = repository.add_entries([entry(A, seed=1, source="M044")], message).versions
    commit = repository.commit(1)
    assert (commit.message, commit.op, commit.versions[0].source) == (message, "add", "M044")
    assert commit.user
    assert commit.host
    assert commit.program == f"jfstore {jfstore.__version__}"
    assert abs(commit.time / SECOND - before.timestamp()) < 60
    assert repository.version(added.name) == added
    (logged,) = repository.history()
    assert (logged.seq, logged.time.ns, logged.op, logged.versions) == (1, commit.time, "add", (added.name,))
    assert (logged.user, logged.host, logged.message, logged.hash) == (commit.user, commit.host, message, commit.hash)
    assert (repository.summary(1).message, repository.summary(1).hash) == (message, commit.hash)


def test_float64_is_recorded(repository: Repository) -> None:
    checked = check_array(constants(1).astype("f8"), "pixel_gain", SHAPE, "x")
    repository.add_entries([replace(entry(A), arrays={"pixel_gain": checked})], "rounded")
    assert repository.version(f"{A}/{STAMP}/v1").arrays[0].converted_from == "<f8"


@pytest.mark.parametrize("message", ["", " \n", "a\0b", "x" * 65537, "\ud800"])
def test_message_must_say_why(repository: Repository, tmp_path: Path, message: str) -> None:
    before = tree(tmp_path)
    with pytest.raises(BadValue):
        repository.add_entries([entry(A)], message)
    assert tree(tmp_path) == before


def test_array_of_another_shape_is_refused(repository: Repository) -> None:
    with pytest.raises(BadValue, match="shape"):
        repository.add_entries([entry(A, shape=(3, 4, 9))], "wrong")
    assert log_names(repository) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"arrays": {}},
        {"panel": "../../etc"},
        {"panel": A.upper()},
        {"start": Instant(MARCH, "2018030600000")},
        {"start": Instant(MARCH, "../../../../x")},
        {"start": Instant(0, STAMP)},
        {"source": "M\udcff"},
    ],
    ids=str,
)
def test_entry_that_contradicts_itself_is_refused_or_set_right(repository: Repository, wrong: dict[str, Any]) -> None:
    try:
        repository.add_entries([replace(entry(A, seed=1), **wrong)], "why")
    except BadValue:
        assert log_names(repository) == []
        return
    (version,) = reopened(repository).versions()
    assert (version.panel, version.stamp) == (A, STAMP)
    assert version.start == parse_time(STAMP, repository.zone)
    assert reopened(repository).version(version.name) == repository.version(version.name)


# -- promote


def test_promote_keeps_content_and_origin(repository: Repository, tmp_path: Path) -> None:
    real = new_repository(tmp_path / "real", "real")
    repository.add_entries([entry(B, seed=9)], "other")
    repository.add_entries([entry(A, seed=1, source="M044")], "test")
    version = repository.version(f"{A}/{STAMP}/v1")
    (promoted,) = real.add_entries([entry_of(repository, version)], "promote").versions
    origin = {
        "repository": repository.identity.id,
        "version": version.name,
        "seq": 2,
        "commit": repository.commit(2).hash,
    }
    stored = reopened(real).version(promoted.name)
    assert (stored.content, stored.stamp, stored.start) == (version.content, version.stamp, version.start)
    assert (stored.source, dict(stored.origin or {})) == ("M044", origin)
    assert stored.file.blake3 == version.file.blake3
    assert real.get(A, "pixel_gain", LATER).tobytes() == constants(1).tobytes()
    assert real.add_entries([entry_of(repository, version)], "again").versions == ()


@pytest.mark.parametrize("how", ["by name", "from the list", "found"])
def test_first_origin_is_kept_over_two_promotions(repository: Repository, tmp_path: Path, how: str) -> None:
    second, third = (new_repository(tmp_path / name, "real") for name in ("second", "third"))
    repository.add_entries([entry(A, seed=1, source="M044")], "test")
    second.add_entries([entry_of(repository, repository.version(f"{A}/{STAMP}/v1"))], "promote")
    version = {
        "by name": second.version(f"{A}/{STAMP}/v1"),
        "from the list": second.versions()[0],
        "found": second.find(A, GAIN, LATER).selections["pixel_gain"][0].version,
    }[how]
    third.add_entries([entry_of(second, version)], "promote")
    stored = third.version(f"{A}/{STAMP}/v1")
    assert stored.origin is not None
    assert (stored.origin["repository"], stored.source) == (repository.identity.id, "M044")


def test_entry_is_public() -> None:
    assert jfstore.Entry is Entry
