"""Panels that are joined, separated and named: answers, refusals, and the history of a panel."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.core.encoding import decode_commit, encode_commit
from jfstore.repository import Repository
from tests.makers.repositories import (
    EARLY,
    LATER,
    STAMP,
    A,
    B,
    C,
    constants,
    entry,
    new_repository,
    racing,
    reopened,
    seeds_of,
    story,
)

NEW = "171113-164920190301-3d00fb"
"""Panel A with new firmware."""
REQUEST = "0123456789abcdef" * 2
UPDATE = "20181001000000"


@pytest.fixture(params=["hdf5", "zarr"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return story(tmp_path / "R", request.param)


def seed_at(repository: Repository, panel: str, stamp: str, **options: Any) -> int:
    array = repository.get(panel, "pixel_gain", stamp, **options)
    return next(seed for seed in range(20) if constants(seed).tobytes() == array.tobytes())


# -- joining


def test_versions_under_both_ids_answer_for_both(repository: Repository) -> None:
    repository.add_entries([entry(NEW, UPDATE, seed=9)], "new firmware")
    planned = repository.join_panels(A, NEW, "the same module", dry_run=True)
    assert (planned.op, planned.seq, planned.names, planned.dry_run) == ("same_panel", 5, (A, NEW), True)
    assert {(c.panel, c.start.stamp, c.end and c.end.stamp, c.before, c.after) for c in planned.changes} == {
        (A, UPDATE, None, f"{A}/{STAMP}/v2", f"{NEW}/{UPDATE}/v1"),
        (NEW, STAMP, UPDATE, None, f"{A}/{STAMP}/v2"),
    }
    done = repository.join_panels(A, NEW, "the same module")
    assert (done.seq, done.changes) == (6, planned.changes)
    for panel in (A, NEW):
        assert seed_at(reopened(repository), panel, LATER) == 9
        assert seed_at(repository, panel, STAMP) == 4
    assert seed_at(repository, A, LATER, as_of=5) == 4
    assert repository.join_panels(NEW, A, "again").unchanged == (NEW, A)
    back = repository.separate_panels(NEW, A, "they are two modules")
    assert {(c.panel, c.before, c.after) for c in back.changes} == {
        (A, f"{NEW}/{UPDATE}/v1", f"{A}/{STAMP}/v2"),
        (NEW, f"{A}/{STAMP}/v2", None),
    }
    assert seed_at(repository, A, LATER) == 4
    assert repository.separate_panels(A, NEW, "again").unchanged == (A, NEW)
    assert [commit.op for commit in repository.history()][-2:] == ["same_panel", "not_same_panel"]
    assert jfstore.verify(reopened(repository)).problems == ()


def test_an_id_without_constants_gets_those_of_the_panel(repository: Repository) -> None:
    done = repository.join_panels(A, NEW, "new firmware")
    assert done.notes == (f"panel {NEW} has no constants of its own yet",)
    assert seed_at(repository, NEW, LATER) == 4


def test_different_constants_with_one_stamp_are_refused(repository: Repository) -> None:
    repository.add_entries([entry(NEW, STAMP, seed=9), entry(NEW, LATER, seed=8)], "new firmware")
    for dry_run in (True, False):
        with pytest.raises(jfstore.Refused) as caught:
            repository.join_panels(A, NEW, "the same module", dry_run=dry_run)
        assert f"withdraw one of {A}/{STAMP}/v2 and {NEW}/{STAMP}/v1 (pixel_gain, pixel_offset)" in str(caught.value)
    repository.withdraw(f"{NEW}/{STAMP}/v1", "measured with the old firmware")
    assert repository.join_panels(A, NEW, "the same module").seq == 7
    assert seed_at(repository, NEW, STAMP) == 4


def test_equal_constants_with_one_stamp_are_joined(repository: Repository) -> None:
    repository.add_entries([entry(NEW, STAMP, seed=4)], "new firmware")
    assert repository.join_panels(A, NEW, "the same module").changes == ()


def test_a_close_against_constants_with_one_stamp_is_refused(repository: Repository) -> None:
    repository.add_entries([entry(NEW, UPDATE, seed=9, types=["pixel_gain"])], "new firmware")
    (closed,) = repository.close(A, UPDATE, "new firmware").names
    with pytest.raises(jfstore.Refused, match=rf"one of {closed} and {NEW}/{UPDATE}/v1 \(pixel_gain\)"):
        repository.join_panels(A, NEW, "the same module")


def test_a_chain_of_ids_is_one_panel(repository: Repository) -> None:
    repository.join_panels(A, NEW, "first")
    repository.join_panels(NEW, "1-2-3", "second")
    assert seed_at(repository, "1-2-3", LATER) == 4
    with pytest.raises(jfstore.Refused, match=f"were joined through {NEW}"):
        repository.separate_panels(A, "1-2-3", "why")
    with pytest.raises(jfstore.Refused, match="differ at the same stamp"):
        repository.join_panels("1-2-3", B, "why")
    with pytest.raises(jfstore.BadValue, match="are the same Id"):
        repository.join_panels(A, A.upper(), "why")


def test_a_conflict_that_another_writer_made_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    racing(repository, monkeypatch, lambda r: r.add_entries([entry(NEW, STAMP, seed=9)], "faster"))
    with pytest.raises(jfstore.Refused, match="differ at the same stamp"):
        repository.join_panels(A, NEW, "slower")
    assert [commit.op for commit in reopened(repository).history()][4:] == ["add"]


def test_after_a_join_adds_at_an_equal_stamp_follow_the_order_in_which_they_were_added(repository: Repository) -> None:
    repository.join_panels(A, NEW, "new firmware")
    added = repository.add_entries([entry(NEW, STAMP, seed=9)], "measured again")
    assert [version.name for version in added.versions] == [f"{NEW}/{STAMP}/v1"]
    assert {(c.panel, c.after) for c in added.changes} == {(panel, f"{NEW}/{STAMP}/v1") for panel in (A, NEW)}
    assert seed_at(repository, A, STAMP) == 9
    same = repository.add_entries([entry(A, STAMP, seed=9)], "the same under the old Id")
    assert (same.versions, [name for _, name in same.unchanged]) == ((), [f"{NEW}/{STAMP}/v1"])
    again = repository.add_entries([entry(A, STAMP, seed=4)], "the old ones after all")
    assert [version.name for version in again.versions] == [f"{A}/{STAMP}/v3"]
    assert seed_at(reopened(repository), NEW, STAMP) == 4


def test_a_number_is_one_of_the_id_that_was_typed(repository: Repository) -> None:
    repository.join_panels(A, NEW, "new firmware")
    repository.add_entries([entry(NEW, STAMP, seed=9)], "measured again")
    assert [seed_at(repository, A, STAMP, number=number) for number in (1, 2)] == [1, 4]
    assert seed_at(repository, NEW, STAMP, number=1) == 9
    with pytest.raises(jfstore.NotFound, match="has no v2 at stamp 20180306000000"):
        repository.get(NEW, "pixel_gain", STAMP, number=2)
    repository.add_entries([entry(A, LATER, seed=8)], "later")
    with pytest.raises(jfstore.NotFound, match=f"that stamp has none, only {A} may have"):
        repository.get(NEW, "pixel_gain", LATER, number=1)


def test_promote_knows_what_another_id_of_the_panel_supersedes(repository: Repository, tmp_path: Path) -> None:
    target = new_repository(tmp_path / "T", "real")
    repository.join_panels(A, NEW, "new firmware")
    repository.add_entries([entry(NEW, STAMP, seed=9)], "measured again")
    with pytest.raises(jfstore.Refused, match=f"superseded by {NEW}/{STAMP}/v1"):
        target.promote(f"{A}/{STAMP}/v2", "why", source=repository)
    repository.withdraw(f"{NEW}/{STAMP}/v1", "wrong")
    assert target.promote(f"{A}/{STAMP}/v2", "why", source=repository).seq == 1


def test_a_closed_panel_is_closed_under_every_id(repository: Repository) -> None:
    repository.join_panels(A, NEW, "new firmware")
    done = repository.close(NEW, UPDATE, "broken")
    assert done.names == (f"{NEW}/{UPDATE}/v1",)
    with pytest.raises(jfstore.NotFound, match="closed"):
        repository.get(A, "pixel_gain", LATER)
    assert repository.close(A, UPDATE, "again").unchanged == (f"{A}/{UPDATE}",)


# -- names


@pytest.fixture
def named(repository: Repository) -> Repository:
    repository.name_panel(A, "M044", "the label")
    repository.name_panel(f"{A}_{B}", "jungfrau_000003", "the detector")
    return repository


def test_a_name_is_accepted_wherever_an_id_is(named: Repository) -> None:
    repository = reopened(named)
    assert seed_at(repository, "M044", LATER) == 4
    assert repository.find("jungfrau_000003", None, LATER).detector == f"{A}_{B}"
    assert repository.find(f"{C}_M044", None, LATER).detector == f"{C}_{A}"
    assert [explained.panel for explained in repository.explain("M044", "pixel_gain", LATER)] == [A]
    assert [version.panel for version in repository.list("M044")] == [A, A]
    assert {version.panel for version in repository.list(["jungfrau_000003", C])} == {A, B, C}
    assert repository.timeline("M044", "pixel_gain").panel == A
    assert repository.show(f"M044/{STAMP}/v1").version.panel == A
    arrays = {"pixel_gain": constants(7)}
    assert repository.add("M044", LATER, arrays, "by name").versions[0].name == f"{A}/{LATER}/v1"
    assert repository.withdraw(f"M044/{LATER}/v1", "by name").names == (f"{A}/{LATER}/v1",)
    assert repository.close("M044", LATER, "by name").names == (f"{A}/{LATER}/v2",)
    assert repository.join_panels("M044", NEW, "by name").names == (A, NEW)
    assert repository.name_panel("M044", "old", "another name").names == ("old",)
    assert repository.panel_history("old").ids == (A, NEW)


def test_a_version_is_promoted_by_name(named: Repository, tmp_path: Path) -> None:
    target = new_repository(tmp_path / "T", "real")
    added = target.promote(f"M044/{STAMP}/v2", "checked", source=named)
    assert [version.name for version in added.versions] == [f"{A}/{STAMP}/v1"]


def test_names_are_never_moved(named: Repository) -> None:
    assert named.name_panel(A, "M044", "again").unchanged == ("M044",)
    with pytest.raises(jfstore.Refused, match=f"M044 is the name of panel {A}: a name is never moved"):
        named.name_panel(B, "M044", "moved")
    with pytest.raises(jfstore.Refused, match="is the name of panel"):
        named.tag("M044", "why")
    named.tag("paper", "why")
    with pytest.raises(jfstore.Refused, match="tag paper is commit"):
        named.name_panel(B, "paper", "why")
    with pytest.raises(jfstore.BadValue, match="cannot be the name of a panel"):
        named.name_panel(B, "a_b", "why")
    with pytest.raises(jfstore.BadValue, match="cannot be the name of a detector: it is a time"):
        named.name_panel(f"{A}_{B}", "now", "why")


@pytest.mark.parametrize("faster", [lambda r: r.name_panel(B, "M7", "faster"), lambda r: r.tag("M7", "faster")])
def test_a_name_that_another_writer_took_is_refused(
    repository: Repository, faster: Callable[[Repository], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    racing(repository, monkeypatch, faster)
    with pytest.raises(jfstore.Refused, match="M7"):
        repository.name_panel(A, "M7", "slower")
    assert len(reopened(repository).history()) == 5


def test_a_tag_that_another_writer_took_is_refused(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    racing(repository, monkeypatch, lambda r: r.tag("paper", "faster", as_of=1))
    with pytest.raises(jfstore.Refused, match="tag paper is commit 1"):
        repository.tag("paper", "slower", as_of=2)


@pytest.mark.parametrize("name", ["a_b", "now", "1-2-3", "", "x\u202ey"])
def test_a_commit_with_an_odd_name_is_damage(named: Repository, name: str) -> None:
    commit = named.commit(5)
    raw = encode_commit(commit)[0].replace(b'"M044"', f'"{name}"'.encode())
    raw = reseal(raw)
    with pytest.raises(jfstore.Damaged, match="though its hash is right"):
        decode_commit(raw, "x")


def reseal(raw: bytes) -> bytes:
    """Return a commit that was changed, with the hash that it should have."""
    from jfstore.core.hashing import digest

    lines = raw.split(b"\n")
    lines[2] = b'"hash":"' + digest(lines[1][:-1]).encode() + b'",'
    return b"\n".join(lines)


@pytest.mark.parametrize(
    "state",
    [
        lambda r, **options: r.join_panels(A, NEW, "why", **options),
        lambda r, **options: r.separate_panels(A, NEW, "why", **options),
        lambda r, **options: r.name_panel(A, "M044", "why", **options),
        lambda r, **options: r.name_panel(f"{A}_{C}", "pair", "why", **options),
    ],
    ids=["join", "separate", "name", "name a detector"],
)
def test_a_statement_about_panels_is_made_once(repository: Repository, state: Callable[..., jfstore.Stated]) -> None:
    if state(repository, dry_run=True).op == "not_same_panel":
        repository.join_panels(NEW, A, "before")
    first = state(repository, request=REQUEST)
    repository.close(C, LATER, "in between")
    again = state(reopened(repository), request=REQUEST)
    assert (again.seq, again.names) == (first.seq, first.names)
    with pytest.raises(jfstore.Refused, match="was for another change"):
        repository.close(B, LATER, "why", request=REQUEST)
    with pytest.raises(jfstore.BadValue, match="needs a message"):
        repository.name_panel(B, "other", " ")
    assert pickle.loads(pickle.dumps(first)) == first


def test_a_mirror_has_the_names_and_takes_none(named: Repository, tmp_path: Path) -> None:
    copy = jfstore.mirror(named, tmp_path / "copy").copy
    assert seed_at(copy, "M044", LATER) == 4
    with pytest.raises(jfstore.Refused, match="is a mirror of"):
        copy.name_panel(B, "M045", "why")
    with pytest.raises(jfstore.Refused, match="is a mirror of"):
        copy.join_panels(A, NEW, "why")


# -- the history of a panel


def test_the_history_of_a_panel(named: Repository) -> None:
    named.join_panels(NEW, A, "new firmware")
    named.add_entries([entry(NEW, UPDATE, seed=9)], "new constants")
    named.close(C, LATER, "another panel")
    history = named.panel_history("M044")
    assert history.ids == (A, NEW)
    assert history.names == (("M044", A), ("jungfrau_000003", f"{A}_{B}"))
    assert [(commit.seq, commit.op, commit.versions) for commit in history.commits] == [
        (5, "name", ("M044", A)),
        (6, "name", ("jungfrau_000003", f"{A}_{B}")),
        (7, "same_panel", (NEW, A)),
    ]
    assert [version.name for version in history.versions] == [
        f"{A}/{STAMP}/v1",
        f"{A}/{STAMP}/v2",
        f"{NEW}/{UPDATE}/v1",
    ]
    assert history.sightings == ()
    assert named.panel_history(NEW).ids == (NEW, A)
    before = named.panel_history("M044", as_of=5)
    assert (before.ids, len(before.commits), len(before.versions)) == ((A,), 1, 2)
    assert pickle.loads(pickle.dumps(history)) == history


def test_a_panel_of_which_nothing_is_known(repository: Repository) -> None:
    with pytest.raises(jfstore.NotFound, match="no constants are stored, and no commit is about it; nearest"):
        repository.panel_history(NEW)
    repository.join_panels(NEW, "1-2-3", "both are new")
    assert repository.panel_history("1-2-3").versions == ()


def test_answers_of_other_panels_stay(named: Repository) -> None:
    named.join_panels(A, NEW, "new firmware")
    assert seeds_of(named) == {A: 4, B: 2, C: 3, "171113-154920171025-3d0038": 1}
    with pytest.raises(jfstore.NotFound):
        named.get("M044", "pixel_gain", EARLY)
