"""Withdraw, restore, close and tag: what is valid follows them, and every one is explained."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import jfstore
from jfstore.core.records import SamePanel
from jfstore.repository import Repository
from jfstore.repository.verify import verify
from tests.makers.repositories import LATER, STORY, A, B, C, constants, entry, reopened, seeds_of, story

STAMP = "20180306000000"
OLD, NEW = f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2"


@pytest.fixture(params=["hdf5", "zarr"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return story(tmp_path / "R", request.param)


def test_withdraw_says_what_changes_and_restore_undoes_it(repository: Repository) -> None:
    planned = repository.withdraw(NEW, "wrong bias", dry_run=True)
    assert (planned.seq, planned.dry_run, planned.names) == (4, True, (NEW,))
    assert {(c.panel, c.type, c.before, c.after, c.end) for c in planned.changes} == {
        (A, name, NEW, OLD, None) for name in ("pixel_gain", "pixel_offset")
    }
    assert seeds_of(reopened(repository)) == STORY[4]
    done = repository.withdraw([NEW], "wrong bias")
    assert (done.seq, done.names, done.changes) == (5, (NEW,), planned.changes)
    assert seeds_of(reopened(repository)) == {**STORY[4], A: 1}
    assert seeds_of(repository, 4) == STORY[4]
    again = repository.withdraw(NEW, "once more")
    assert (again.seq, again.names, again.unchanged, again.changes) == (5, (), (NEW,), ())
    back = repository.restore(NEW, "the bias was right")
    assert (back.seq, [(c.before, c.after) for c in back.changes]) == (6, [(OLD, NEW)] * 2)
    assert seeds_of(reopened(repository)) == STORY[4]
    assert [commit.op for commit in repository.history()][-2:] == ["withdraw", "restore"]
    assert verify(reopened(repository)).problems == ()


def test_a_withdrawn_content_can_be_added_again(repository: Repository) -> None:
    repository.withdraw(NEW, "wrong")
    added = repository.add_entries([entry(A, STAMP, seed=4)], "not wrong at all")
    assert [version.name for version in added.versions] == [f"{A}/{STAMP}/v3"]


def test_close_until_the_next_stamp(repository: Repository) -> None:
    done = repository.close(f"{A}_{B}", "20181001000000", "shipped for repair")
    assert done.names == (f"{A}/20181001000000/v1", f"{B}/20181001000000/v1")
    assert {(c.panel, c.before, c.after) for c in done.changes} == {(A, NEW, None), (B, f"{B}/{STAMP}/v1", None)}
    with pytest.raises(jfstore.NotFound, match="closed from 20181001000000"):
        repository.get(B, "pixel_gain", LATER)
    assert repository.close(A, "20181001000000", "again").unchanged == (f"{A}/20181001000000",)
    repository.withdraw(done.names, "it came back")
    assert seeds_of(reopened(repository)) == STORY[4]


def test_tags_name_commits_for_ever(repository: Repository) -> None:
    done = repository.tag("paper-2018", "the paper", as_of=2)
    assert (done.seq, done.names, done.changes) == (5, ("paper-2018",), ())
    array = repository.get(A, "pixel_gain", LATER, as_of="paper-2018")
    assert array.tobytes() == constants(1).tobytes()
    assert repository.tag("paper-2018", "again", as_of=2).unchanged == ("paper-2018",)
    with pytest.raises(jfstore.Refused, match="never moved"):
        repository.tag("paper-2018", "moved", as_of=3)


def test_a_tag_that_is_repeated_as_it_was_typed_is_unchanged(repository: Repository) -> None:
    last = repository.tag("paper-2018", "the paper").seq - 1
    repository.tag("another", "for the talk", as_of=last)
    assert repository.tag("paper-2018", "the paper").unchanged == ("paper-2018",)
    repository.withdraw(repository.versions()[0].name, "wrong bias")
    with pytest.raises(jfstore.Refused, match=f"tag paper-2018 is commit {last}"):
        repository.tag("paper-2018", "the paper")


@pytest.mark.parametrize("name", ["", "now", "1st", "a/b", "a b", "a..b", "a_b", "é", "-x", "x" * 200, 7])
def test_names_that_cannot_be_tags(repository: Repository, name: str) -> None:
    with pytest.raises(jfstore.BadValue, match="cannot be a tag"):
        repository.tag(name, "why")


REQUEST = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "state",
    [
        lambda r, **options: r.withdraw(NEW, "why", **options),
        lambda r, **options: r.close(C, LATER, "why", **options),
        lambda r, **options: r.tag("x", "why", **options),
    ],
    ids=["withdraw", "close", "tag"],
)
def test_a_statement_is_made_once(repository: Repository, state: Callable[..., jfstore.Stated]) -> None:
    first = state(repository, request=REQUEST)
    again = state(reopened(repository), request=REQUEST)
    assert (first.seq, again.seq, again.names) == (5, 5, first.names)
    with pytest.raises(jfstore.Refused, match="was for another change"):
        repository.restore(OLD, "why", request=REQUEST)
    with pytest.raises(jfstore.BadValue, match="needs a message"):
        repository.withdraw(OLD, " ")
    assert pickle.loads(pickle.dumps(first)) == first


def test_a_mirror_takes_no_statements(repository: Repository, tmp_path: Path) -> None:
    copy = jfstore.mirror(repository, tmp_path / "copy").copy
    with pytest.raises(jfstore.Refused, match="is a mirror of"):
        copy.withdraw(NEW, "why")


def test_what_is_withdrawn_is_not_promoted(repository: Repository, tmp_path: Path) -> None:
    target = jfstore.init(str(tmp_path / "T"), "real", panel_shape=repository.panel_shape)
    repository.withdraw(NEW, "why")
    with pytest.raises(jfstore.Refused, match="is withdrawn"):
        target.promote(NEW, "why", source=repository)


def test_what_a_withdrawn_version_superseded_is_promoted(repository: Repository, tmp_path: Path) -> None:
    target = jfstore.init(str(tmp_path / "T"), "real", panel_shape=repository.panel_shape)
    with pytest.raises(jfstore.Refused, match="is superseded"):
        target.promote(OLD, "checked", source=repository)
    repository.withdraw(NEW, "wrong bias")
    assert [version.panel for version in target.promote(OLD, "checked", source=repository).versions] == [A]


def test_every_candidate_is_explained(repository: Repository) -> None:
    repository.add_entries([entry(A, "20200101000000", seed=9)], "later")
    repository.add_entries([entry(A, "20170101000000", seed=8)], "earlier")
    repository.withdraw(NEW, "wrong bias")
    (why,) = repository.explain(A, "pixel_gain", LATER)
    assert (why.valid, why.end and why.end.stamp) == (OLD, "20200101000000")
    assert {c.name: c.reason for c in why.candidates} == {
        OLD: "",
        NEW: f"was withdrawn by commit 7, {repository.summary(7).user}: wrong bias",
        f"{A}/20200101000000/v1": "starts 365 days later",
        f"{A}/20170101000000/v1": f"is followed by {OLD}, from {STAMP} on",
    }
    (before,) = repository.explain(A, "pixel_gain", LATER, as_of=3)
    assert before.valid == NEW
    reasons = {c.name: c.reason for c in before.candidates}
    assert reasons[OLD] == f"was superseded by {NEW}, commit 3, {repository.summary(3).user}: second number"
    assert reasons[f"{A}/20200101000000/v1"] == "was added later, by commit 5"


def test_nothing_valid_is_explained_too(repository: Repository) -> None:
    repository.close(A, "20181001000000", "broken")
    (why,) = repository.explain(A, "pixel_gain", LATER)
    assert why.valid is None
    assert [(c.is_close, bool(c.reason)) for c in why.candidates] == [(True, False), (False, True), (False, True)]
    (never,) = repository.explain(A, "pixel_gain", "20100101000000")
    assert (never.valid, never.start) == (None, None)
    assert all("later" in c.reason for c in never.candidates)


def test_an_answer_before_two_ids_became_one_panel_is_explained_without_the_other(repository: Repository) -> None:
    repository.log.append("same_panel", "new firmware", REQUEST, statement=SamePanel((B, "1-2-3")))
    (why,) = repository.explain("1-2-3", "pixel_gain", LATER)
    assert why.valid == f"{B}/{STAMP}/v1"
    (before,) = repository.explain("1-2-3", "pixel_gain", LATER, as_of=4)
    assert (before.valid, before.candidates) == (None, ())


def test_an_addition_changes_the_answers_of_every_id_of_a_panel(repository: Repository) -> None:
    repository.log.append("same_panel", "new firmware", REQUEST, statement=SamePanel((B, "1-2-3")))
    added = repository.add_entries([entry(B, LATER, 7, ["pixel_gain"])], "once more")
    assert {(change.panel, change.start.stamp, change.after) for change in added.changes} == {
        (panel, LATER, f"{B}/{LATER}/v1") for panel in (B, "1-2-3")
    }
    assert {change.after_blake3 for change in added.changes} == {added.versions[0].content["pixel_gain"]}
