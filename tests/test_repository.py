"""What is added to a repository, found in it, and promoted from one to another."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore import BadValue, NotFound
from jfstore.arrays import check_array
from jfstore.repository import log
from jfstore.repository.repository import Entry, Repository
from jfstore.times import SECOND, iso, parse_time
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
        repository.add([entry(panel, stamp, seed)], "more")
    expected = [(A, STAMP, 1), (A, STAMP, 2), (A, EARLY, 1), (B, STAMP, 1), (A, STAMP, 3), (A, EARLY, 2)]
    assert names(repository) == [f"{panel}/{stamp}/v{number}" for panel, stamp, number in expected]


def test_several_versions_in_one_commit(repository: Repository) -> None:
    entries = [entry(A, seed=1), entry(A, seed=2), entry(A, EARLY, seed=2), entry(B, seed=1), entry(A, seed=2)]
    done = repository.add(iter(entries), "all at once")
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


def test_add_of_what_holds_is_unchanged(repository: Repository) -> None:
    repository.add([entry(A, seed=1)], "one")
    done = repository.add([entry(A, seed=1, source="a file")], "again")
    assert (done.seq, done.versions, done.unchanged) == (1, (), (("a file", f"{A}/{STAMP}/v1"),))
    assert log_names(repository) == ["0000000001.json"]


def test_add_of_what_held_before_is_a_new_version(repository: Repository) -> None:
    for seed in (1, 2, 1):
        repository.add([entry(A, seed=seed)], "back and forth")
    assert names(repository) == [f"{A}/{STAMP}/v{number}" for number in (1, 2, 3)]
    assert seeds_of(repository) == {A: 1}


def test_once_skips_what_the_stamp_ever_had(repository: Repository) -> None:
    for seed in (1, 2):
        repository.add([entry(A, seed=seed)], "back and forth")
    done = repository.add([entry(A, seed=1), entry(A, seed=3), entry(A, EARLY, seed=1)], "import", once=True)
    assert [name for _, name in done.unchanged] == [f"{A}/{STAMP}/v1"]
    assert [version.name for version in done.versions] == [f"{A}/{STAMP}/v3", f"{A}/{EARLY}/v1"]


def test_what_holds_is_looked_at_type_by_type(repository: Repository) -> None:
    repository.add([entry(A, seed=1, types=GAIN)], "v1 holds the gain")
    repository.add([entry(A, seed=1, types=OFFSET)], "v2 holds the offset")
    for types in (GAIN, OFFSET, GAIN + OFFSET):
        assert repository.add([entry(A, seed=1, types=types)], "again").versions == ()
    repository.add([entry(A, seed=2, types=OFFSET)], "v3 holds another offset")
    assert repository.add([entry(A, seed=1, types=GAIN)], "again").versions == ()
    assert repository.add([entry(A, seed=1, types=OFFSET)], "import", once=True).versions == ()
    assert len(repository.add([entry(A, seed=1)], "the first offset").versions) == 1


def test_of_a_detector_only_the_changed_panels_get_a_version(repository: Repository) -> None:
    repository.add([entry(A, seed=1), entry(B, seed=2), entry(C, seed=3)], "a detector")
    done = repository.add([entry(A, seed=1), entry(B, seed=4), entry(C, seed=3)], "one of them changed")
    assert (done.seq, [version.name for version in done.versions]) == (2, [f"{B}/{STAMP}/v2"])
    assert [name for _, name in done.unchanged] == [f"{A}/{STAMP}/v1", f"{C}/{STAMP}/v1"]


def test_same_content_shares_one_file(repository: Repository) -> None:
    repository.add([entry(A, seed=1), entry(B, seed=1)], "together")
    repository.add([entry(C, EARLY, seed=1)], "later")
    repository.add([entry(D, seed=1, types=GAIN)], "only a part of it")
    first, *others, part = repository.versions()
    assert {version.file.path for version in others} == {first.file.path}
    assert part.file.path != first.file.path


def test_damaged_file_is_not_shared(repository: Repository, tmp_path: Path) -> None:
    (version,) = repository.add([entry(A, seed=1)], "one").versions
    path = tmp_path / "R" / version.file.path
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(version.file.offsets["pixel_gain"])
        file.write(b"\xff")
    repository.add([entry(B, seed=1)], "the same, from outside")
    assert repository.get(B, "pixel_gain", LATER).tobytes() == constants(1).tobytes()


@pytest.mark.parametrize("what", ["new", "unchanged", "known content", "nothing"])
def test_dry_run_says_what_would_be_and_writes_nothing(repository: Repository, tmp_path: Path, what: str) -> None:
    repository.add([entry(A, seed=1)], "one")
    entries = {
        "new": [entry(A, seed=2), entry(B, seed=3)],
        "unchanged": [entry(A, seed=1)],
        "known content": [entry(C, seed=1)],
        "nothing": [],
    }[what]
    before = tree(tmp_path)
    said = reopened(repository).add(entries, "why", dry_run=True)
    assert tree(tmp_path) == before
    done = repository.add(entries, "why")
    assert [version.name for version in said.versions] == [version.name for version in done.versions]
    assert said.unchanged == done.unchanged


def test_commit_holds_who_when_why_and_where_from(repository: Repository) -> None:
    before = datetime.now(UTC)
    message = "why\tµ\n“second line”"
    (added,) = repository.add([entry(A, seed=1, source="M044")], message).versions
    commit = repository.commit(1)
    assert (commit.message, commit.op, commit.versions[0].source) == (message, "add", "M044")
    assert commit.user
    assert commit.host
    assert commit.program == f"jfstore {jfstore.__version__}"
    assert abs(commit.time / SECOND - before.timestamp()) < 60
    assert repository.version(added.name) == added
    assert repository.history() == [repository.summary(1)]
    assert (repository.summary(1).message, repository.summary(1).hash) == (message, commit.hash)


def test_float64_is_recorded(repository: Repository) -> None:
    checked = check_array(constants(1).astype("f8"), "pixel_gain", SHAPE, "x")
    repository.add([replace(entry(A), arrays={"pixel_gain": checked})], "rounded")
    assert repository.version(f"{A}/{STAMP}/v1").arrays[0].converted_from == "<f8"


@pytest.mark.parametrize("message", ["", " \n", "a\0b", "x" * 65537, "\ud800"])
def test_message_must_say_why(repository: Repository, tmp_path: Path, message: str) -> None:
    before = tree(tmp_path)
    with pytest.raises(BadValue):
        repository.add([entry(A)], message)
    assert tree(tmp_path) == before


def test_array_of_another_shape_is_refused(repository: Repository) -> None:
    with pytest.raises(BadValue, match="shape"):
        repository.add([entry(A, shape=(3, 4, 9))], "wrong")
    assert log_names(repository) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"arrays": {}},
        {"panel": "../../etc"},
        {"panel": A.upper()},
        {"stamp": "2018030600000"},
        {"stamp": "../../../../x"},
        {"begin": 0},
        {"source": "M\udcff"},
    ],
    ids=str,
)
def test_entry_that_contradicts_itself_is_refused_or_set_right(
    repository: Repository, wrong: dict[str, object]
) -> None:
    try:
        repository.add([replace(entry(A, seed=1), **wrong)], "why")
    except BadValue:
        assert log_names(repository) == []
        return
    (version,) = reopened(repository).versions()
    assert (version.panel, version.stamp) == (A, STAMP)
    assert version.begin == parse_time(STAMP, repository.zone)
    assert reopened(repository).version(version.name) == repository.version(version.name)


# -- get and find


@pytest.mark.parametrize("order", [[A], [A, B, C], [C, A, B], [B, A]])
def test_get_assembles_panels_in_the_order_asked_for(repository: Repository, order: list[str]) -> None:
    seeds = {A: 1, B: 2, C: 3}
    repository.add([entry(panel, seed=seed) for panel, seed in seeds.items()], "a detector")
    for name in ("pixel_gain", "pixel_offset"):
        array = reopened(repository).get("_".join(order), name, STAMP)
        expected = np.stack([constants(seeds[panel], name) for panel in order], axis=1)
        assert (array.shape, array.dtype.str, array.flags.c_contiguous) == ((3, len(order), 4, 8), "<f4", True)
        assert array.tobytes() == expected.tobytes()


def test_get_of_real_size_is_bit_for_bit(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=(3, 512, 1024))
    shape = repository.identity.panel_shape
    repository.add([entry(panel, seed=seed, types=GAIN, shape=shape) for panel, seed in ((A, 1), (B, 2))], "real")
    expected = np.stack([constants(seed, shape=shape) for seed in (2, 1)], axis=1)
    for verify in (True, False):
        assert repository.get(f"{B}_{A}", "pixel_gain", STAMP, verify=verify).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [SHAPE, (3, 32, 32)], ids=["read", "mapped"])
def test_what_was_got_cannot_change_what_is_stored(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    repository = new_repository(tmp_path / "R", shape=shape)
    repository.add([entry(A, seed=1, shape=shape)], "one")
    array = repository.get(A, "pixel_gain", STAMP)
    with pytest.raises(ValueError, match="read-only"):
        array[:] = 0
    mine = repository.get(A, "pixel_gain", STAMP, writable=True)
    mine[:] = 0
    assert not mine.any()
    assert array.tobytes() == repository.get(A, "pixel_gain", STAMP).tobytes() == constants(1, shape=shape).tobytes()


@pytest.fixture
def three_stamps(repository: Repository) -> Repository:
    repository.add([entry(A, EARLY, seed=1)], "early")
    repository.add([entry(A, LATER, seed=2), entry(B, STAMP, seed=4)], "late")
    repository.add([entry(A, STAMP, seed=3)], "between")
    repository.add([entry(A, STAMP, seed=5)], "between again")
    return repository


def test_interval_and_the_reasons_of_the_rejected(three_stamps: Repository) -> None:
    (selection,) = three_stamps.find(A, GAIN, "20180401000000").selections["pixel_gain"]
    zone = three_stamps.zone
    assert selection.version.name == f"{A}/{STAMP}/v2"
    assert (selection.valid_from, selection.valid_to) == (parse_time(STAMP, zone), parse_time(LATER, zone))
    reasons = {version.name: reason for version, reason in selection.rejected}
    assert reasons.keys() == {f"{A}/{EARLY}/v1", f"{A}/{LATER}/v1", f"{A}/{STAMP}/v1"}
    assert f"superseded from {STAMP}" in reasons[f"{A}/{EARLY}/v1"]
    assert "starts later" in reasons[f"{A}/{LATER}/v1"]
    assert "newer" in reasons[f"{A}/{STAMP}/v1"]


def test_interval_as_of_an_earlier_commit(three_stamps: Repository) -> None:
    (selection,) = three_stamps.find(A, GAIN, "20180401000000", as_of=1).selections["pixel_gain"]
    assert (selection.version.name, selection.valid_to) == (f"{A}/{EARLY}/v1", None)
    assert all("added later" in reason for _, reason in selection.rejected)
    assert len(selection.rejected) == 3


@pytest.mark.parametrize(
    ("when", "seed"),
    [
        ("20170101000000", 1), ("20180305235959", 1), ("20180306000000", 5), ("2018-03-06T08:00:00Z", 5),
        ("2018-03-06T07:59:59.999999999Z", 1), ("@1520323200", 5), ("1520323199", 1), ("20181231235959", 5),
        ("20190101000000", 2), ("now", 2), (datetime(2018, 3, 6, 8, tzinfo=UTC), 5),
        (datetime(2018, 3, 6, 8, tzinfo=UTC) - timedelta(microseconds=1), 1),
    ],
)  # fmt: skip
def test_start_is_in_and_end_is_out(three_stamps: Repository, when: str | datetime, seed: int) -> None:
    assert three_stamps.get(A, "pixel_gain", when).tobytes() == constants(seed).tobytes()


@pytest.mark.parametrize(
    "when", ["20180306", "1520323200000", "2018-03-06", "", datetime(2018, 3, 6), 1520323200, None]
)
def test_time_that_is_not_clear_is_refused(three_stamps: Repository, when: object) -> None:
    with pytest.raises(BadValue):
        three_stamps.get(A, "pixel_gain", when)  # type: ignore[arg-type]


def test_valid_from_the_beginning(repository: Repository) -> None:
    repository.add([entry(A, "0" * 14, seed=1)], "undated")
    repository.add([entry(A, STAMP, seed=2)], "dated")
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
        repository.add([entry(A, seed=seed)], "more")
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


def test_mixed_pair_warns(repository: Repository) -> None:
    repository.add([entry(A, seed=1), entry(B, seed=1)], "pairs")
    repository.add([entry(A, seed=2, types=OFFSET)], "a new offset")
    for panel, mixed in ((A, True), (B, False)):
        with pytest.warns(jfstore.JfstoreWarning, match="different versions") if mixed else nullcontext():
            answer = repository.find(panel, GAIN + OFFSET, LATER)
        assert repository.read(answer, "pixel_gain").tobytes() == constants(1).tobytes()
    assert repository.get(A, "pixel_offset", LATER).tobytes() == constants(2, "pixel_offset").tobytes()


def test_type_asked_for_twice_is_one_array(repository: Repository) -> None:
    repository.add([entry(A, seed=1)], "one")
    answer = repository.find(A, GAIN + GAIN, LATER)
    assert repository.read(answer, "pixel_gain").shape == (3, 1, 4, 8)


def test_number_is_for_one_panel(three_stamps: Repository) -> None:
    assert three_stamps.get(A, "pixel_gain", STAMP, number=1).tobytes() == constants(3).tobytes()
    with pytest.raises(BadValue, match="one panel"):
        three_stamps.get(f"{A}_{B}", "pixel_gain", STAMP, number=1)
    with pytest.raises(NotFound, match="there: v1, v2"):
        three_stamps.get(A, "pixel_gain", STAMP, number=3)
    with pytest.raises(NotFound):
        three_stamps.get(A, "pixel_gain", STAMP, number=2, as_of=3)


def test_two_field_panel_id(repository: Repository) -> None:
    twin = f"999999-{A.split('-', 1)[1]}"
    repository.add([entry(A, seed=1), entry(B, seed=2)], "two")
    short = [panel.split("-", 1)[1] for panel in (A, B)]
    array = repository.get("_".join(short), "pixel_gain", LATER)
    assert array.tobytes() == repository.get(f"{A}_{B}", "pixel_gain", LATER).tobytes()
    assert repository.version(f"{short[0]}/{STAMP}/v0001").panel == A
    repository.add([entry(twin, seed=3)], "a twin")
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


# -- promote


def test_promote_keeps_content_and_origin(repository: Repository, tmp_path: Path) -> None:
    real = new_repository(tmp_path / "real", "real")
    repository.add([entry(B, seed=9)], "other")
    repository.add([entry(A, seed=1, source="M044")], "test")
    version = repository.version(f"{A}/{STAMP}/v1")
    (promoted,) = real.add([repository.entry_of(version)], "promote").versions
    origin = {
        "repository": repository.identity.id,
        "version": version.name,
        "seq": 2,
        "commit": repository.commit(2).hash,
    }
    stored = reopened(real).version(promoted.name)
    assert (stored.content, stored.stamp, stored.begin) == (version.content, version.stamp, version.begin)
    assert (stored.source, dict(stored.origin or {})) == ("M044", origin)
    assert stored.file.blake3 == version.file.blake3
    assert real.get(A, "pixel_gain", LATER).tobytes() == constants(1).tobytes()
    assert real.add([repository.entry_of(version)], "again").versions == ()


@pytest.mark.parametrize("how", ["by name", "from the list", "found"])
def test_first_origin_is_kept_over_two_promotions(repository: Repository, tmp_path: Path, how: str) -> None:
    second, third = (new_repository(tmp_path / name, "real") for name in ("second", "third"))
    repository.add([entry(A, seed=1, source="M044")], "test")
    second.add([repository.entry_of(repository.version(f"{A}/{STAMP}/v1"))], "promote")
    version = {
        "by name": second.version(f"{A}/{STAMP}/v1"),
        "from the list": second.versions()[0],
        "found": second.find(A, GAIN, LATER).selections["pixel_gain"][0].version,
    }[how]
    third.add([second.entry_of(version)], "promote")
    stored = third.version(f"{A}/{STAMP}/v1")
    assert stored.origin is not None
    assert (stored.origin["repository"], stored.source) == (repository.identity.id, "M044")


def test_entry_is_public() -> None:
    assert jfstore.Entry is Entry
