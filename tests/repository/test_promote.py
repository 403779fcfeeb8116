"""Promoting by name, panel, commit and tag, and all that is new: afterwards the target says what the source says."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.core.joining import check_can_join
from jfstore.core.records import SamePanel, Withdrawal
from jfstore.core.validity import timeline
from jfstore.fs.durable import NotSynced
from jfstore.repository import Repository
from jfstore.repository.verify import verify
from tests.makers.repositories import (
    EARLY,
    LATER,
    STAMP,
    STORY,
    TYPES,
    A,
    B,
    C,
    D,
    entry,
    new_repository,
    reopened,
    seeds_of,
    story,
)

OLD, NEW = f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2"
OTHER = "1-2-3"


@pytest.fixture(params=["hdf5", "zarr"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return story(tmp_path / "test", request.param)


@pytest.fixture
def target(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "real", "real")


def answers(repository: Repository, as_of: int | None = None) -> dict[tuple[str, str], list[tuple[int, str | None]]]:
    """Return by panel and type which content is valid from when on; intervals that are alike are one."""
    table = repository.log.table(as_of)
    found: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
    for panel in (A, B, C, D, OTHER):
        for name in TYPES:
            line: list[tuple[int, str | None]] = [(0, None)]
            for interval in timeline(table, panel, name, as_of):
                content = interval.version.content.get(name)
                if content != line[-1][1]:
                    line.append((interval.start, content))
            found[panel, name] = line
    return found


def promote(source: Repository, target: Repository, *names: str, **options: Any) -> jfstore.Promoted:
    """Promote, after a dry run that must promise the same."""
    planned = target.promote(names, "checked", source=source, dry_run=True, **options)
    before = target.log.table().seq
    assert planned.dry_run
    done = target.promote(names, "checked", source=source, **options)
    assert [version.name for version in planned.versions] == [version.name for version in done.versions]
    assert [(one.op, one.names) for one in planned.stated] == [(one.op, one.names) for one in done.stated]
    assert (planned.changes, planned.unchanged, planned.seq) == (done.changes, done.unchanged, before)
    return done


def is_empty(done: jfstore.Promoted) -> bool:
    return not done.versions and not any(one.names for one in done.stated) and not done.changes


def test_all_that_is_valid_of_a_panel_or_a_detector(source: Repository, target: Repository) -> None:
    done = promote(source, target, A)
    assert [version.name for version in done.versions] == [OLD]
    origin = done.versions[0].origin
    assert origin
    assert origin["version"] == NEW
    assert seeds_of(target) == {A: 4}
    done = promote(source, target, f"{B}_{C}", A)
    assert {version.panel for version in done.versions} == {B, C}
    assert done.unchanged == ((NEW, OLD),)
    assert seeds_of(target) == {A: 4, B: 2, C: 3}
    assert is_empty(promote(source, target, "3d00fb", "3d00b0_3d00f7"))


def test_superseded_versions_of_a_panel_go_along_if_that_is_said(source: Repository, target: Repository) -> None:
    done = promote(source, target, A, superseded=True)
    assert [version.content for version in done.versions] == [v.content for v in source.versions() if v.panel == A]
    assert seeds_of(target) == {A: 4}
    assert is_empty(promote(source, target, A, superseded=True))


def test_superseded_versions_that_come_later_do_not_win(source: Repository, target: Repository) -> None:
    promote(source, target, A)
    promote(source, target, A, superseded=True)
    assert seeds_of(target) == {A: 4}


def test_all_versions_of_a_commit(source: Repository, target: Repository) -> None:
    assert {version.panel for version in promote(source, target, commit=2).versions} == {B, C}
    with pytest.raises(jfstore.Refused, match="is superseded by"):
        target.promote([], "why", source=source, commit=1)
    assert len(promote(source, target, commit=1, superseded=True).versions) == 1
    source.withdraw(NEW, "wrong")
    with pytest.raises(jfstore.Refused, match="is withdrawn"):
        target.promote([], "why", source=source, commit=3)


def test_a_withdrawal_withdraws_the_version_that_came_from_it(source: Repository, target: Repository) -> None:
    target.add_entries([entry(A, seed=7)], "an own one first")
    promote(source, target, NEW)
    source.withdraw(NEW, "wrong bias")
    done = promote(source, target, commit=5)
    assert [(one.op, one.names) for one in done.stated] == [("withdraw", (NEW,))]
    assert seeds_of(target) == {A: 7}
    statement = target.commit(done.seq).statement
    assert isinstance(statement, Withdrawal)
    assert statement.origin == {"repository": source.id, "seq": 5, "commit": source.commit(5).hash}
    again = promote(source, target, commit=5)
    assert (again.stated[0].names, again.stated[0].unchanged, again.seq) == ((), (NEW,), done.seq)
    source.restore(NEW, "it was right")
    promote(source, target, commit=6)
    assert seeds_of(target) == {A: 4}
    assert verify(reopened(target)).problems == ()


def test_a_withdrawal_finds_equal_content_at_that_stamp(source: Repository, target: Repository) -> None:
    target.add_entries([entry(A, seed=4), entry(A, LATER, seed=4), entry(B, seed=4)], "added here, too")
    source.withdraw(NEW, "wrong bias")
    assert promote(source, target, commit=5).stated[0].names == (OLD,)


def test_a_withdrawal_without_a_version_to_withdraw_is_refused(source: Repository, target: Repository) -> None:
    target.add_entries([entry(A, seed=5), entry(A, EARLY, seed=4), entry(B, seed=4)], "other ones")
    source.withdraw(NEW, "wrong bias")
    with pytest.raises(jfstore.Refused, match=f"no version that came from {NEW}"):
        target.promote([], "why", source=source, commit=5)
    assert is_empty(target.promote([], "why", source=source, new=True)) is False
    assert seeds_of(target)[A] == 1


def test_a_copy_of_another_version_with_equal_content_is_not_withdrawn(source: Repository, target: Repository) -> None:
    source.withdraw(NEW, "wrong bias")
    source.add_entries([entry(A, seed=4)], "right after all")
    promote(source, target, f"{A}/{STAMP}/v3")
    with pytest.raises(jfstore.Refused, match="nothing to withdraw"):
        target.promote([], "why", source=source, commit=5)
    promote(source, target, new=True)
    assert seeds_of(target)[A] == 4


def test_a_close_takes_a_number_and_its_origin(source: Repository, target: Repository) -> None:
    promote(source, target, NEW, f"{B}/{STAMP}/v1")
    closed = source.close(f"{A}_{B}", LATER, "shipped").names
    done = promote(source, target, *closed)
    assert done.stated[0].names == (f"{A}/{LATER}/v1", f"{B}/{LATER}/v1")
    version = target.version(f"{A}/{LATER}/v1")
    assert (version.closes, version.origin and version.origin["version"]) == (TYPES, closed[0])
    assert answers(target)[A, "pixel_gain"] == answers(source)[A, "pixel_gain"]
    again = promote(source, target, *closed)
    assert (again.stated[0].names, len(again.stated[0].unchanged), again.seq) == ((), 2, done.seq)
    source.withdraw(closed, "it came back")
    promote(source, target, commit=6)
    assert answers(target)[A, "pixel_gain"] == answers(source)[A, "pixel_gain"]
    assert verify(reopened(target)).problems == ()


def test_a_close_that_is_superseded_is_refused(source: Repository, target: Repository) -> None:
    closed = source.close(A, LATER, "shipped").names[0]
    source.add_entries([entry(A, LATER, seed=9)], "it came back")
    with pytest.raises(jfstore.Refused, match="is superseded by"):
        target.promote(closed, "why", source=source)


def test_a_tag_reproduces_what_the_source_said(source: Repository, target: Repository) -> None:
    source.close(B, LATER, "shipped")
    source.add_entries([entry(C, LATER, seed=8)], "new")
    source.withdraw(f"{C}/{LATER}/v1", "wrong")
    source.log.append("same_panel", "firmware", secrets.token_hex(16), statement=SamePanel((D, OTHER)))
    source.tag("paper", "the paper")
    source.add_entries([entry(A, seed=5)], "after it")
    promote(source, target, f"{B}/{STAMP}/v1")
    done = promote(source, target, tag="paper")
    assert answers(target) == answers(source, 8)
    assert answers(target)[OTHER, "pixel_gain"] == answers(target)[D, "pixel_gain"] != [(0, None)]
    assert [one.op for one in done.stated] == ["same_panel", "close"]
    assert len(target.history()) == 4
    assert is_empty(promote(source, target, tag="paper"))
    source.withdraw(NEW, "wrong bias")
    with pytest.raises(jfstore.Refused, match=r"is withdrawn in .* since tag paper"):
        target.promote([], "why", source=source, tag="paper")
    with pytest.raises(jfstore.NotFound, match="has no tag 'papr'") as caught:
        target.promote([], "why", source=source, tag="papr")
    assert caught.value.nearest == ("paper",)


def test_all_that_is_new(source: Repository, target: Repository) -> None:
    promote(source, target, f"{B}/{STAMP}/v1")
    done = promote(source, target, new=True)
    assert {version.panel for version in done.versions} == {A, C, D}
    assert seeds_of(target) == STORY[4]
    assert is_empty(promote(source, target, new=True))
    source.withdraw(NEW, "wrong bias")
    assert [(one.op, one.names) for one in promote(source, target, new=True).stated] == [("withdraw", (OLD,))]
    assert seeds_of(target) == {**STORY[4], A: 1}


def test_types_that_come_from_different_versions_are_promoted_once(source: Repository, target: Repository) -> None:
    source.add_entries([entry(A, seed=6, types=["pixel_gain"])], "gains again")
    promote(source, target, new=True)
    assert answers(target) == answers(source)
    assert is_empty(promote(source, target, new=True))


def test_statements_about_a_panel(source: Repository, target: Repository) -> None:
    promote(source, target, D)
    with pytest.raises(jfstore.NotFound, match="has no statement"):
        target.promote([], "why", source=source, panel=D)
    source.log.append("same_panel", "firmware", secrets.token_hex(16), statement=SamePanel((D, OTHER)))
    done = promote(source, target, panel=OTHER)
    assert [(one.op, one.names) for one in done.stated] == [("same_panel", (D, OTHER))]
    assert {(change.panel, change.before, change.after) for change in done.changes} == {
        (OTHER, None, f"{D}/{STAMP}/v1")
    }
    assert is_empty(promote(source, target, panel=D))
    source.log.append("not_same_panel", "not", secrets.token_hex(16), statement=SamePanel((D, OTHER)))
    promote(source, target, commit=6)
    assert answers(target)[OTHER, "pixel_gain"] == [(0, None)]
    assert is_empty(promote(source, target, commit=6))


def test_panels_that_contradict_each_other_in_the_target_are_not_joined(source: Repository, target: Repository) -> None:
    target.add_entries([entry(D, seed=1), entry(OTHER, seed=2)], "different")
    source.log.append("same_panel", "firmware", secrets.token_hex(16), statement=SamePanel((D, OTHER)))
    with pytest.raises(jfstore.Refused, match="cannot be one panel"):
        target.promote([], "why", source=source, panel=D)


@pytest.mark.parametrize(
    ("ask", "error", "reason"),
    [
        (lambda t, s: t.promote([], "why", source=s), jfstore.BadValue, "nothing selected"),
        (lambda t, s: t.promote([NEW], "why", source=s, new=True), jfstore.BadValue, "versions and new selected"),
        (lambda t, s: t.promote([], "why", source=s, commit=1, tag="x"), jfstore.BadValue, "commit and tag selected"),
        (lambda t, s: t.promote([], "why", source=s, commit=99), jfstore.NotFound, "there is no commit 99"),
        (lambda t, s: t.promote([], "why", source=s, commit="1"), jfstore.BadValue, "by its number"),
        (lambda t, s: t.promote([], " ", source=s, new=True), jfstore.BadValue, "needs a message"),
        (lambda t, s: t.promote(["9-9-9"], "why", source=s), jfstore.NotFound, "no constants are stored"),
        (lambda t, s: t.promote(["nothing"], "why", source=s), jfstore.BadValue, "is not a panel Id"),
        (lambda t, s: t.promote([], "why", source=s, commit=5), jfstore.Refused, "'tag', which is not promoted"),
    ],
)
def test_what_cannot_be_selected(
    ask: Callable[[Repository, Repository], Any],
    error: type[Exception],
    reason: str,
    source: Repository,
    target: Repository,
) -> None:
    source.tag("x", "why")
    with pytest.raises(error, match=reason):
        ask(target, source)
    assert target.log.table().seq == 0


def test_an_interrupted_promotion_is_completed_by_its_request(
    source: Repository, target: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(source, target, NEW)
    source.withdraw(NEW, "wrong bias")
    source.close(B, LATER, "shipped")
    request = "0123456789abcdef" * 2
    publish, published = target.storage.publish, list[str]()

    def stop(name: str, *rest: Any) -> None:
        publish(name, *rest)
        if name.startswith("log/"):
            published.append(name)
            if len(published) == 2:
                raise NotSynced(5, "no power", name)

    monkeypatch.setattr(target.storage, "publish", stop)
    with pytest.raises(jfstore.InDoubt) as caught:
        target.promote([], "why", source=source, new=True, request=request)
    monkeypatch.undo()
    assert caught.value.request == request
    again = reopened(target)
    done = again.promote([], "why", source=source, new=True, request=request)
    assert again.log.table().seq == 4
    assert answers(again) == answers(source)
    assert {version.panel for version in done.versions} == {A, B, C, D}
    assert {one.op for one in done.stated} == {"close", "withdraw"}
    once_more = again.promote([], "why", source=source, new=True, request=request)
    assert (again.log.table().seq, once_more.seq) == (4, 4)


def change_at_random(repository: Repository, chance: random.Random, seed: int) -> None:
    """Make one change: add, close, withdraw or restore."""
    panel, stamp = chance.choice([A, B, C]), chance.choice([EARLY, STAMP, LATER])
    types = chance.choice([TYPES, TYPES, ("pixel_gain",), ("pixel_offset",)])
    names = [version.name for version in repository.versions()]
    kind = chance.choice(
        ["add", "add", "add", "close", "withdraw", "withdraw", "restore", "join", "separate"][: 9 if seed % 2 else 7]
    )
    with suppress(jfstore.NotFound):
        if kind == "add" or not names:
            repository.add_entries([entry(panel, stamp, seed=chance.randrange(4), types=types)], f"add {seed}")
        elif kind == "close":
            repository.close(panel, stamp, "close", types=chance.choice([None, types]))
        elif kind == "withdraw":
            repository.withdraw(chance.sample(names, min(2, len(names))), "withdraw")
        elif kind == "restore":
            repository.restore(chance.sample(names, min(3, len(names))), "restore")
        elif kind in ("join", "separate"):
            with suppress(jfstore.Refused):
                check_can_join(repository.log.table(), B, C)
                op = {"join": "same_panel", "separate": "not_same_panel"}[kind]
                repository.log.append(op, kind, secrets.token_hex(16), statement=SamePanel((B, C)))


@pytest.mark.parametrize("seed", range(12))
def test_after_any_history_the_target_says_what_the_source_says(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    source, target = new_repository(tmp_path / "test"), new_repository(tmp_path / "real", "real")
    for number in range(5):
        for _ in range(chance.randrange(1, 9)):
            change_at_random(source, chance, seed)
        promote(source, target, new=True, superseded=chance.random() < 0.2)
        assert answers(target) == answers(source), f"round {number}"
        assert is_empty(promote(source, target, new=True))
    assert verify(reopened(target)).problems == ()
    source.tag("end", "the end")
    fresh = new_repository(tmp_path / "fresh", "real")
    promote(source, fresh, tag="end")
    assert answers(fresh) == answers(source)
