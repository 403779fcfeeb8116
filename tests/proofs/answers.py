"""A repository of six commits, every question to it with the right answer, and answers compared after a damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jfstore
from jfstore.repository.repository import Repository
from tests.makers.repositories import EARLY, LATER, SHAPE, STAMP, A, B, C, D, constants, entry

GAIN, OFFSET = "pixel_gain", "pixel_offset"
AFTER = "20200101000000"
COMMITS: list[list[tuple[str, str, int, tuple[str, ...]]] | tuple[str, ...]] = [
    [(A, EARLY, 1, (GAIN, OFFSET))],
    [(B, STAMP, 2, (GAIN, OFFSET)), (C, STAMP, 3, (GAIN, OFFSET))],
    [(A, EARLY, 4, (GAIN, OFFSET))],
    [(D, STAMP, 1, (GAIN, OFFSET))],
    [(A, STAMP, 5, (GAIN,))],
    [(B, LATER, 6, (GAIN, OFFSET))],
    ("withdraw", f"{B}/{LATER}/v1"),
    ("close", C, LATER, GAIN),
    ("withdraw", f"{A}/{STAMP}/v1"),
    ("restore", f"{A}/{STAMP}/v1"),
]
"""What each commit adds: panel, stamp, seed of the constants, types; or what else it does.

Commit 4 shares the payload of commit 1.
"""
LAST = len(COMMITS)


def make_commit(repository: Repository, number: int, shape: tuple[int, int, int] = SHAPE) -> None:
    """Make commit `number` of `COMMITS`."""
    match COMMITS[number - 1]:
        case list(added):
            entries = [entry(panel, stamp, seed, types, shape) for panel, stamp, seed, types in added]
            repository.add_entries(entries, f"commit {number}")
        case ("close", panel, stamp, calib_type):
            repository.close(panel, stamp, f"commit {number}", types=calib_type)
        case (op, name):
            getattr(repository, op)(name, f"commit {number}")


@dataclass(frozen=True)
class Damage:
    """One damage: of what kind, to which file, where; `without_index`: the index is deleted as well."""

    kind: str
    file: str
    place: int = 0
    without_index: bool = False


@dataclass(frozen=True)
class Question:
    """What `get` is asked, the seed of the right answer (0: nothing is valid), and the commit that holds it."""

    panel: str
    type: str
    when: str
    as_of: int | None
    seed: int
    seq: int


def questions() -> list[Question]:
    found = []
    for as_of in (*range(1, LAST + 1), None):
        for panel in (A, B, C, D):
            for calib_type in (GAIN, OFFSET):
                for when in (STAMP, AFTER) if as_of in (None, LAST) else (AFTER,):
                    seq, seed = _holder(panel, calib_type, when, as_of or LAST)
                    found.append(Question(panel, calib_type, when, as_of, seed, seq))
    return found


def _holder(panel: str, calib_type: str, when: str, as_of: int) -> tuple[int, int]:
    """Return commit and seed of what is valid; the seed is 0 if nothing is."""
    held: dict[tuple[str, int], int] = {}
    gone: set[str] = set()
    for seq, commit in enumerate(COMMITS[:as_of], 1):
        if isinstance(commit, list):
            held |= {(stamp, seq): seed for who, stamp, seed, types in commit if who == panel and calib_type in types}
        elif commit[0] == "close":
            held |= {(commit[2], seq): 0} if commit[1] == panel and commit[3] == calib_type else {}
        else:
            (gone.add if commit[0] == "withdraw" else gone.discard)(commit[1])
    stamps = {stamp for stamp, _ in held if f"{panel}/{stamp}/v1" in gone}  # no other number of these is stored
    counting = {place: seed for place, seed in held.items() if place[0] <= when and place[0] not in stamps}
    (_, seq), seed = max(counting.items(), default=(("", 0), 0))
    return seq, seed


QUESTIONS = questions()


def touched(question: Question, hit: set[str], damage: Damage, files: dict[tuple[str, str, int], str]) -> bool:
    """Return whether the answer rests on a file that was damaged, so that it may be refused."""
    if files.get((question.panel, question.type, question.seq)) in hit or "repository.json" in hit:
        return True
    if damage.kind in ("foreign", "lie"):
        return True
    head = question.as_of or LAST
    commits = [int(Path(name).stem) for name in hit if name.startswith("log/")]
    if damage.kind == "ahead":
        return question.as_of is None
    if not commits:
        return False
    # An index past the commit vouches for what it said; of the last commit nothing else does.
    first = min(commits) if damage.without_index else LAST if LAST in commits else LAST + 1
    return head >= first


@cache
def right(seed: int, calib_type: str, shape: tuple[int, int, int]) -> bytes:
    return constants(seed, calib_type, shape).tobytes()


def complaints(
    repository: Repository,
    shape: tuple[int, int, int],
    hit: set[str],
    damage: Damage,
    files: dict[Any, str],
    questions: Sequence[Question] = QUESTIONS,
) -> Iterator[str]:
    """Ask `questions`; say which answers are wrong, or refused though nothing of theirs was damaged."""
    for question in questions:
        try:
            array = repository.get(question.panel, question.type, question.when, as_of=question.as_of)
        except jfstore.NotFound:
            answer = "nothing"
        except (jfstore.Busy, jfstore.Damaged, jfstore.Refused) as error:
            if not touched(question, hit, damage, files):
                yield f"{question} was refused: {error}"
            continue
        else:
            answer = "array"
        if not question.seed:
            if answer != "nothing":
                yield f"{question} was answered"
        elif answer == "nothing":
            yield f"{question} was not found"
        elif array[:, 0].tobytes() != right(question.seed, question.type, shape):
            yield f"{question} was answered with other constants"
