"""What is found in a repository: which version, of which panels, at a time, as of a commit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from jfstore import BadValue, NotFound
from jfstore.core.instants import iso, parse_instant
from jfstore.repository import log
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
    new_repository,
    reopened,
    seeds_of,
)

GAIN, OFFSET = ["pixel_gain"], ["pixel_offset"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R")


@pytest.mark.parametrize("order", [[A], [A, B, C], [C, A, B], [B, A]])
def test_get_assembles_panels_in_the_order_asked_for(repository: Repository, order: list[str]) -> None:
    seeds = {A: 1, B: 2, C: 3}
    repository.add_entries([entry(panel, seed=seed) for panel, seed in seeds.items()], "a detector")
    for name in ("pixel_gain", "pixel_offset"):
        array = reopened(repository).get("_".join(order), name, STAMP)
        expected = np.stack([constants(seeds[panel], name) for panel in order], axis=1)
        assert (array.shape, array.dtype.str, array.flags.c_contiguous) == ((3, len(order), 4, 8), "<f4", True)
        assert array.tobytes() == expected.tobytes()


def test_get_of_real_size_is_bit_for_bit(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=(3, 512, 1024))
    shape = repository.identity.panel_shape
    entries = [entry(panel, seed=seed, types=GAIN, shape=shape) for panel, seed in ((A, 1), (B, 2))]
    repository.add_entries(entries, "real")
    expected = np.stack([constants(seed, shape=shape) for seed in (2, 1)], axis=1)
    for verify in (True, False):
        assert repository.get(f"{B}_{A}", "pixel_gain", STAMP, verify=verify).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [SHAPE, (3, 32, 32)], ids=["read", "mapped"])
def test_what_was_got_cannot_change_what_is_stored(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    repository = new_repository(tmp_path / "R", shape=shape)
    repository.add_entries([entry(A, seed=1, shape=shape)], "one")
    array = repository.get(A, "pixel_gain", STAMP)
    with pytest.raises(ValueError, match="read-only"):
        array[:] = 0
    mine = repository.get(A, "pixel_gain", STAMP, writable=True)
    mine[:] = 0
    assert not mine.any()
    assert array.tobytes() == repository.get(A, "pixel_gain", STAMP).tobytes() == constants(1, shape=shape).tobytes()


@pytest.fixture
def three_stamps(repository: Repository) -> Repository:
    repository.add_entries([entry(A, EARLY, seed=1)], "early")
    repository.add_entries([entry(A, LATER, seed=2), entry(B, STAMP, seed=4)], "late")
    repository.add_entries([entry(A, STAMP, seed=3)], "between")
    repository.add_entries([entry(A, STAMP, seed=5)], "between again")
    return repository


def test_interval_and_the_reasons_of_the_rejected(three_stamps: Repository) -> None:
    answer = three_stamps.find(A, GAIN, "20180401000000")
    (selection,) = answer.selections["pixel_gain"]
    zone = three_stamps.zone
    assert selection.version.name == f"{A}/{STAMP}/v2"
    assert (selection.valid_from, selection.valid_to) == (parse_instant(STAMP, zone), parse_instant(LATER, zone))
    (rejected,) = three_stamps.rejections(answer)["pixel_gain"]
    reasons = {version.name: reason for version, reason in rejected}
    assert reasons.keys() == {f"{A}/{EARLY}/v1", f"{A}/{LATER}/v1", f"{A}/{STAMP}/v1"}
    assert f"superseded from {STAMP}" in reasons[f"{A}/{EARLY}/v1"]
    assert "starts later" in reasons[f"{A}/{LATER}/v1"]
    assert "newer" in reasons[f"{A}/{STAMP}/v1"]


def test_interval_as_of_an_earlier_commit(three_stamps: Repository) -> None:
    answer = three_stamps.find(A, GAIN, "20180401000000", as_of=1)
    (selection,) = answer.selections["pixel_gain"]
    (rejected,) = three_stamps.rejections(answer)["pixel_gain"]
    assert (selection.version.name, selection.valid_to) == (f"{A}/{EARLY}/v1", None)
    assert all("added later" in reason for _, reason in rejected)
    assert len(rejected) == 3


@pytest.mark.parametrize(
    ("when", "seed"),
    [
        ("20170101000000", 1),
        ("20180305235959", 1),
        ("20180306000000", 5),
        ("2018-03-06T08:00:00Z", 5),
        ("2018-03-06T07:59:59.999999999Z", 1),
        ("@1520323200", 5),
        ("@1520323199", 1),
        ("20181231235959", 5),
        ("20190101000000", 2),
        ("now", 2),
        (datetime(2018, 3, 6, 8, tzinfo=UTC), 5),
        (datetime(2018, 3, 6, 8, tzinfo=UTC) - timedelta(microseconds=1), 1),
    ],
)
def test_start_is_in_and_end_is_out(three_stamps: Repository, when: str | datetime, seed: int) -> None:
    assert three_stamps.get(A, "pixel_gain", when).tobytes() == constants(seed).tobytes()


@pytest.mark.parametrize(
    "when", ["20180306", "1520323200000", "1520323200", "2018-03-06", "", datetime(2018, 3, 6), 1520323200, None]
)
def test_time_that_is_not_clear_is_refused(three_stamps: Repository, when: object) -> None:
    with pytest.raises(BadValue):
        three_stamps.get(A, "pixel_gain", when)  # type: ignore[arg-type]


def test_valid_from_the_beginning(repository: Repository) -> None:
    repository.add_entries([entry(A, "0" * 14, seed=1)], "undated")
    repository.add_entries([entry(A, STAMP, seed=2)], "dated")
    for when, seed in (("0" * 14, 1), ("@0", 1), ("20180305235959", 1), (STAMP, 2)):
        assert repository.get(A, "pixel_gain", when).tobytes() == constants(seed).tobytes()


def test_as_of_a_seq(three_stamps: Repository) -> None:
    for as_of, seed in ((1, 1), (2, 2), ("3", 2), (4, 2), (None, 2)):
        array = three_stamps.get(A, "pixel_gain", LATER, as_of=as_of)
        assert array.tobytes() == constants(seed).tobytes()
    assert [three_stamps.find(A, GAIN, LATER, as_of=as_of).as_of for as_of in (1, "3", None)] == [1, 3, 4]
    assert [len(three_stamps.versions(as_of)) for as_of in (0, 1, 2, 3, 4, None)] == [0, 1, 3, 4, 5, 5]


def test_as_of_a_time_is_the_last_commit_until_then(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    start = repository.identity.created
    for seed, time in enumerate((start + 10, start + 20, start + 20, start + 30), start=1):
        monkeypatch.setattr(log, "now", lambda time=time: time)
        repository.add_entries([entry(A, seed=seed)], "more")
    for time, seq in ((9, 0), (10, 1), (19, 1), (20, 3), (29, 3), (30, 4), (31, 4)):
        assert repository.seq_of(iso(start + time)) == seq
    assert seeds_of(repository, repository.seq_of(iso(start + 20))) == {A: 3}


@pytest.mark.parametrize("as_of", [5, "5", -1, "20180306000000", "99991231235959", "2261-01-01T00:00:00Z", "yesterday"])
def test_as_of_what_is_not_there_yet(three_stamps: Repository, as_of: int | str) -> None:
    with pytest.raises(BadValue):
        three_stamps.get(A, "pixel_gain", LATER, as_of=as_of)


@pytest.mark.parametrize("seq", [0, -1, 5])
def test_commit_that_never_was_is_not_another(three_stamps: Repository, seq: int) -> None:
    for ask in (three_stamps.summary, three_stamps.commit):
        with pytest.raises((BadValue, NotFound)):
            ask(seq)


def test_every_panel_that_is_missing_is_named(three_stamps: Repository) -> None:
    with pytest.raises(NotFound) as caught:
        three_stamps.get(f"{C}_{A}_{D}_{B}", "pixel_gain", "20170601000000")
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert all(panel in message for panel in (B, C, D))
    assert A not in message
    assert STAMP in message, "the first stamp of what starts later"


def test_nothing_from_the_future(three_stamps: Repository) -> None:
    with pytest.raises(NotFound) as caught:
        three_stamps.get(A, "pixel_gain", "20161231235959")
    assert EARLY in str(caught.value)
    assert caught.value.nearest == (EARLY,)


def test_unknown_type_names_the_nearest(three_stamps: Repository) -> None:
    with pytest.raises(BadValue) as caught:
        three_stamps.get(A, "pixel_gian", LATER)
    assert "pixel_gain" in caught.value.nearest
    with pytest.raises(BadValue, match="-T"):
        three_stamps.get(A, STAMP, LATER)


def test_mixed_pair_is_noted(repository: Repository) -> None:
    repository.add_entries([entry(A, seed=1), entry(B, seed=1)], "pairs")
    repository.add_entries([entry(A, seed=2, types=OFFSET)], "a new offset")
    for panel, mixed in ((A, True), (B, False)):
        answer = repository.find(panel, GAIN + OFFSET, LATER)
        assert ["different versions" in note for note in answer.notes] == [True] * mixed
        assert repository.read(answer, "pixel_gain").tobytes() == constants(1).tobytes()
    assert repository.get(A, "pixel_offset", LATER).tobytes() == constants(2, "pixel_offset").tobytes()


def test_type_asked_for_twice_is_one_array(repository: Repository) -> None:
    repository.add_entries([entry(A, seed=1)], "one")
    answer = repository.find(A, GAIN + GAIN, LATER)
    assert repository.read(answer, "pixel_gain").shape == (3, 1, 4, 8)


def test_number_is_for_one_panel(three_stamps: Repository) -> None:
    assert three_stamps.get(A, "pixel_gain", STAMP, number=1).tobytes() == constants(3).tobytes()
    with pytest.raises(BadValue, match="one panel"):
        three_stamps.get(f"{A}_{B}", "pixel_gain", STAMP, number=1)
    with pytest.raises(NotFound, match="that stamp has v1, v2"):
        three_stamps.get(A, "pixel_gain", STAMP, number=3)
    with pytest.raises(NotFound):
        three_stamps.get(A, "pixel_gain", STAMP, number=2, as_of=3)


def test_two_field_panel_id(repository: Repository) -> None:
    twin = f"999999-{A.split('-', 1)[1]}"
    repository.add_entries([entry(A, seed=1), entry(B, seed=2)], "two")
    short = [panel.split("-", 1)[1] for panel in (A, B)]
    array = repository.get("_".join(short), "pixel_gain", LATER)
    assert array.tobytes() == repository.get(f"{A}_{B}", "pixel_gain", LATER).tobytes()
    assert repository.version(f"{short[0]}/{STAMP}/v0001").panel == A
    repository.add_entries([entry(twin, seed=3)], "a twin")
    with pytest.raises(BadValue) as caught:
        repository.get(short[0], "pixel_gain", LATER)
    assert A in str(caught.value)
    assert twin in str(caught.value)
    with pytest.raises(NotFound):
        repository.get("154920171025-abc", "pixel_gain", LATER)


def test_version_by_name(three_stamps: Repository) -> None:
    assert three_stamps.version(f"{A}/{STAMP}/v0002").number == 2
    with pytest.raises(NotFound) as caught:
        three_stamps.version(f"{A}/{STAMP}/v7")
    assert f"{A}/{STAMP}/v2" in caught.value.nearest
    with pytest.raises(BadValue):
        three_stamps.version(f"{A}/{STAMP}")
