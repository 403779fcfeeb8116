"""Filters of the history: by panel, user, time, message, operation, and the last few."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.core.records import Naming, RunPanels, SamePanel
from jfstore.repository import Repository
from jfstore.repository.filtering import find_commits_of
from tests.makers.repositories import LATER, STAMP, A, B, C, D, story

NEW = f"{A}/{STAMP}/v2"
OTHER = "1-2-3"


@pytest.fixture(params=["hdf5", "zarr"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """Commits 1 to 4 of the story; 5 to 9 withdraw, restore, close, tag and join."""
    made = story(tmp_path / "R", request.param)
    made.withdraw(NEW, "Wrong BIAS")
    made.restore(NEW, "the bias was right")
    made.close(f"{A}_{B}", LATER, "shipped")
    made.tag("paper", "the paper")
    made.log.append("same_panel", "new firmware", secrets.token_hex(16), statement=SamePanel((D, OTHER)))
    return made


def seqs(found: tuple[Any, ...]) -> list[int]:
    return [commit.seq for commit in found]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"panel": A}, [1, 3, 5, 6, 7]),
        ({"panel": "3d00fb"}, [1, 3, 5, 6, 7]),
        ({"panel": A.upper()}, [1, 3, 5, 6, 7]),
        ({"panel": "3d00f"}, [1, 2, 3, 5, 6, 7]),
        ({"panel": f"{B}_{C}"}, [2, 7]),
        ({"panel": [C, D]}, [2, 4, 9]),
        ({"panel": OTHER}, [4, 9]),
        ({"panel": OTHER, "as_of": 8}, None),
        ({"panel": A, "as_of": 5}, [1, 3, 5]),
        ({"op": "add"}, [1, 2, 3, 4]),
        ({"op": "withdraw", "panel": B}, []),
        ({"op": "close", "panel": B}, [7]),
        ({"text": "bias"}, [5, 6]),
        ({"text": "ß"}, []),
        ({"user": "nobody-of-that-name"}, []),
        ({"last": 2}, [8, 9]),
        ({"last": 2, "op": "add"}, [3, 4]),
        ({"last": 99}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"last": 1, "panel": B}, [7]),
        ({"last": 1, "as_of": 4}, [4]),
        ({"as_of": 0}, []),
    ],
    ids=str,
)
def test_filters(filters: dict[str, Any], expected: list[int] | None, repository: Repository) -> None:
    if expected is None:
        with pytest.raises(jfstore.NotFound, match="no constants are stored"):
            repository.history(**filters)
        return
    found = repository.history(**filters)
    assert seqs(found) == expected
    whole = {commit.seq: commit for commit in repository.history()}
    assert list(found) == [whole[seq] for seq in expected]


def test_the_user_is_matched_whole(repository: Repository) -> None:
    user = repository.summary(1).user
    assert len(repository.history(user=user)) == 9
    assert repository.history(user=user[:-1]) == ()


def test_since_and_until_include_their_ends(repository: Repository) -> None:
    times = [commit.time for commit in repository.history()]
    assert seqs(repository.history(since=times[4], until=times[6])) == [5, 6, 7]
    assert seqs(repository.history(since=times[8])) == [9]
    day = f"{times[0].stamp[:4]}-{times[0].stamp[4:6]}-{times[0].stamp[6:8]}"
    assert 1 in seqs(repository.history(since=day))
    assert 1 in seqs(repository.history(since=day, until=day))
    assert repository.history(until="2018-03-06") == ()
    assert repository.history(since="2100-01-01") == ()


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda r: r.history(op="delete"), "is not an operation: add, close, withdraw"),
        (lambda r: r.history(op="withdrew"), "nearest: withdraw|is not an operation"),
        (lambda r: r.history(last=0), "from 1 on"),
        (lambda r: r.history(last=True), "from 1 on"),
        (lambda r: r.history(since="2018-02-30"), "is not a date"),
        (lambda r: r.history(since="20180306"), "did you mean"),
        (lambda r: r.history(since="2018-03-06", until="2018-03-05"), "the second time is before the first"),
        (lambda r: r.history(panel="nothing"), "is not a panel Id"),
    ],
)
def test_bad_filters(ask: Callable[[Repository], Any], reason: str, repository: Repository) -> None:
    with pytest.raises(jfstore.BadValue, match=reason):
        ask(repository)


def test_every_statement_counts_for_its_panels(repository: Repository) -> None:
    for op, statement in (("name", Naming(f"{B}_{C}", "x1")), ("run_panels", RunPanels(f"{C}_{D}", "xcsls3716", 1, 2))):
        repository.log.append(op, "why", secrets.token_hex(16), statement=statement)
    table = repository.log.table()
    assert find_commits_of(table, C, 11) == {2, 10, 11}
    assert find_commits_of(table, B, 10) == {2, 7, 10}
