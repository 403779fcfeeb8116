"""Freezes: writes that would change an answer before the stamp are refused, all others pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.freezing import find_freezes
from jfstore.core.instants import BEGINNING_STAMP, SECOND
from jfstore.core.records import Freeze
from jfstore.repository import Repository, stating
from tests.makers.gains import make_gain_directory
from tests.makers.repositories import (
    EARLY,
    LATER,
    SHAPE,
    STAMP,
    STORY,
    A,
    B,
    C,
    constants,
    entry,
    log_names,
    new_repository,
    racing,
    reopened,
    seeds_of,
    story,
)

FROZEN = "20181001000000"
NEW = "171113-164920190301-3d00fb"
OLD_VERSION, VERSION = f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2"
REQUEST = "0123456789abcdef" * 2

Write = Callable[..., Any]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = story(tmp_path / "R")
    made.freeze(FROZEN, "the runs until then are published")
    return made


def add(stamp: str, seed: int = 9, panel: str = A) -> Write:
    return lambda r, **options: r.add_entries([entry(panel, stamp, seed=seed)], "write", **options)


REFUSED: dict[str, Write] = {
    "add before what is stored": add(EARLY),
    "add at an equal stamp": add(STAMP),
    "add just before the stamp": add("20180930235959"),
    "add from the beginning": add(BEGINNING_STAMP),
    "add for a panel that has nothing": add(EARLY, panel=NEW),
    "add plain arrays": lambda r, **options: r.add(A, EARLY, {"pixel_gain": constants(9)}, "write", **options),
    "withdraw what answers": lambda r, **options: r.withdraw(VERSION, "write", **options),
    "close": lambda r, **options: r.close(A, "20180401000000", "write", **options),
    "join": lambda r, **options: r.join_panels(A, NEW, "write", **options),
}
PASSING: dict[str, Write] = {
    "add at the stamp": add(FROZEN),
    "add later": add(LATER),
    "add equal content": add("20180401000000", seed=4),
    "withdraw what answers nothing": lambda r, **options: r.withdraw(OLD_VERSION, "write", **options),
    "close at the stamp": lambda r, **options: r.close(A, FROZEN, "write", **options),
    "close before everything": lambda r, **options: r.close(A, EARLY, "write", **options),
    "join two new Ids": lambda r, **options: r.join_panels(NEW, "1-2-3", "write", **options),
    "tag": lambda r, **options: r.tag("paper", "write", **options),
    "name": lambda r, **options: r.name_panel(A, "M044", "write", **options),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_write_that_changes_a_frozen_answer_is_refused(repository: Repository, what: str) -> None:
    for options in ({"dry_run": True}, {}):
        with pytest.raises(jfstore.Refused) as caught:
            REFUSED[what](repository, **options)
        assert f"answers before {FROZEN} are frozen by commit 5, " in str(caught.value)
        assert " would change from " in str(caught.value)
    assert len(log_names(repository)) == 5
    assert seeds_of(reopened(repository)) == STORY[4]
    assert jfstore.verify(reopened(repository)).problems == ()


@pytest.mark.parametrize("what", PASSING)
def test_a_write_that_changes_no_frozen_answer_passes(repository: Repository, what: str) -> None:
    PASSING[what](repository, dry_run=True)
    assert PASSING[what](repository).seq == 6


def test_the_change_is_named(repository: Repository) -> None:
    with pytest.raises(jfstore.Refused) as caught:
        repository.withdraw(VERSION, "wrong bias")
    change = f"pixel_gain of {A} would change from {STAMP} on, to {OLD_VERSION} in place of {VERSION}"
    assert change in str(caught.value)


def test_restoring_and_separating_are_refused_too(tmp_path: Path) -> None:
    repository = story(tmp_path / "R")
    repository.withdraw(VERSION, "before")
    repository.join_panels(A, NEW, "before")
    repository.freeze(FROZEN, "published")
    with pytest.raises(jfstore.Refused, match=f"to {VERSION} in place of {OLD_VERSION}"):
        repository.restore(VERSION, "after")
    with pytest.raises(jfstore.Refused, match=f"pixel_gain of {NEW} would change .* to nothing in place of"):
        repository.separate_panels(A, NEW, "after")


def test_an_addition_under_another_id_of_the_panel_is_refused(tmp_path: Path) -> None:
    repository = story(tmp_path / "R")
    repository.join_panels(NEW, A, "new firmware")
    repository.freeze(FROZEN, "published")
    with pytest.raises(jfstore.Refused, match=f"would change from {STAMP} on"):
        repository.add_entries([entry(NEW, STAMP, seed=9)], "after")


def test_import_and_promote_are_refused_and_the_freeze_of_the_source_does_not_matter(
    repository: Repository, tmp_path: Path
) -> None:
    make_gain_directory(tmp_path / "tree" / "M044", SHAPE)
    (tmp_path / "tree" / f"{NEW}-{EARLY}").symlink_to("M044")
    with pytest.raises(jfstore.Refused, match="are frozen"):
        repository.import_gains(tmp_path / "tree", "write")
    target = new_repository(tmp_path / "T", "real")
    assert target.promote(VERSION, "the source is frozen", source=repository).seq == 1
    source = story(tmp_path / "S")
    source.add_entries([entry(A, STAMP, seed=8)], "again")
    with pytest.raises(jfstore.Refused, match="are frozen"):
        repository.promote(f"{A}/{STAMP}/v3", "write", source=source)


def test_an_earlier_stamp_thaws_and_says_what(repository: Repository) -> None:
    thawed = repository.freeze("20180401000000", "a mistake was found")
    (note,) = thawed.notes
    assert note.startswith(f"answers from 20180401000000 to {FROZEN}, frozen by commit 5, ")
    assert repository.close(A, "20180401000000", "after").seq == 7
    with pytest.raises(jfstore.Refused):
        repository.add_entries([entry(A, "20180331235959", seed=9)], "before")
    repository.freeze(BEGINNING_STAMP, "nothing is frozen any more")
    assert repository.add_entries([entry(A, BEGINNING_STAMP, seed=9)], "write").seq == 9
    assert [commit.op for commit in repository.history()][4:] == ["freeze", "freeze", "close", "freeze", "add"]


def test_of_each_type_the_last_freeze_holds(tmp_path: Path) -> None:
    repository = story(tmp_path / "R")

    def frozen() -> dict[str | None, str]:
        return {name: one.stamp for name, one in find_freezes(repository.log.table().statements).items()}

    repository.freeze(STAMP, "all")
    repository.freeze(FROZEN, "gains", types="pixel_gain")
    assert frozen() == {None: STAMP, "pixel_gain": FROZEN}
    repository.add_entries([entry(A, "20180401000000", seed=9, types=["pixel_offset"])], "offsets are not frozen")
    with pytest.raises(jfstore.Refused, match="pixel_gain of"):
        repository.add_entries([entry(A, "20180401000000", seed=9)], "gains are")
    assert repository.freeze(STAMP, "unchanged", types=["pixel_offset"]).unchanged == (STAMP,)
    assert repository.freeze(STAMP, "not unchanged").names == (STAMP,)
    assert frozen() == {None: STAMP}
    assert repository.freeze(STAMP, "unchanged").unchanged == (STAMP,)
    repository.freeze(EARLY, "offsets may change", types=["pixel_offset", "pixel_offset"])
    assert frozen() == {None: STAMP, "pixel_offset": EARLY}
    assert repository.commit(9).statement == Freeze(EARLY, 1483257600 * SECOND, ("pixel_offset",))


def test_times_that_cannot_be_frozen(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stating, "now", lambda: 1577865600 * SECOND)  # 2020-01-01 00:00:00 PST
    with pytest.raises(jfstore.Refused, match="20200101000001 is in the future"):
        repository.freeze("20200101000001", "why")
    with pytest.raises(jfstore.BadValue, match="pixel_gian"):
        repository.freeze(LATER, "why", types="pixel_gian")
    with pytest.raises(jfstore.BadValue, match="no calibration type"):
        repository.freeze(LATER, "why", types=[])
    with pytest.raises(jfstore.BadValue, match="is not a time"):
        repository.freeze("2018", "why")
    assert repository.freeze("20200101000000", "just now").seq == 6


def test_a_freeze_is_made_once(repository: Repository) -> None:
    first = repository.freeze(LATER, "why", request=REQUEST)
    repository.freeze(STAMP, "in between")
    again = repository.freeze(LATER, "why", request=REQUEST)
    assert (again.seq, again.names) == (first.seq, first.names) == (6, (LATER,))
    with pytest.raises(jfstore.Refused, match="was for another change"):
        repository.freeze(EARLY, "why", request=REQUEST)


def test_an_addition_that_was_made_before_a_freeze_can_be_repeated(tmp_path: Path) -> None:
    repository = story(tmp_path / "R")
    first = repository.add_entries([entry(A, EARLY, seed=9)], "why", request=REQUEST)
    repository.freeze(FROZEN, "published")
    assert repository.add_entries([entry(A, EARLY, seed=9)], "why", request=REQUEST).seq == first.seq


@pytest.mark.parametrize("what", REFUSED)
def test_a_freeze_that_another_writer_made_counts(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = story(tmp_path / "R")
    racing(repository, monkeypatch, lambda r: r.freeze(FROZEN, "faster"))
    with pytest.raises(jfstore.Refused, match="are frozen by commit 5"):
        REFUSED[what](repository)
    assert [commit.op for commit in reopened(repository).history()][4:] == ["freeze"]


def test_a_harmless_write_passes_beside_other_writers(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    racing(repository, monkeypatch, lambda r: r.add_entries([entry(C, LATER, seed=7)], "faster"))
    assert repository.add_entries([entry(A, LATER, seed=8)], "slower").seq == 7


def test_a_mirror_is_frozen_when_it_becomes_a_repository_of_its_own(repository: Repository, tmp_path: Path) -> None:
    copy = jfstore.mirror(repository, tmp_path / "copy").copy
    with pytest.raises(jfstore.Refused, match="is a mirror of"):
        copy.freeze(LATER, "why")
    assert find_freezes(copy.log.table().statements) == find_freezes(repository.log.table().statements)


def test_arrays_of_a_refused_addition_are_kept_by_nobody(repository: Repository) -> None:
    with pytest.raises(jfstore.Refused):
        repository.add(B, STAMP, {"pixel_gain": np.full(constants(1).shape, 2, "<f4")}, "write")
    assert repository.get(B, "pixel_gain", LATER).tobytes() == constants(2).tobytes()
