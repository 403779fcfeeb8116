"""Writers that lose power: what they are told, what the disk may then hold, and what must hold of it."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jfstore
from jfstore.cli.app import command_parser, run_command
from jfstore.fs import durable
from tests.makers.repositories import LATER, STAMP, A, D
from tests.proofs.simfs import (
    KINDS,
    OTHER_REQUEST,
    REQUEST,
    Disk,
    Recorder,
    Seen,
    Stopped,
    Tree,
    assert_next_add_works,
    assert_sound,
    contents,
    put_on_disk,
    seen,
    start,
)

PAIRS: dict[str, dict[str, Any]] = {
    "the same payload": {"first": "new panel", "second": "new panel"},
    "a new panel directory": {"first": "new panel", "second": "one type", "panel": (A, D)},
    "the same number": {"first": "second number", "second": "second number", "panel": ("-4-", "-5-")},
    "the same request": {"first": "second number", "second": "second number", "request": REQUEST},
    "a shared payload": {"first": "detector", "second": "new panel", "panel": (STAMP, LATER)},
    "both make the repository": {"first": "init", "second": "init"},
    "made by a stopped writer, no index": {"first": "init", "second": "first commit", "index": False},
}
"""Two writers: the second does everything, or is stopped on the way, before an operation of the first."""


@dataclass(frozen=True)
class Acknowledged:
    """What a writer was told: the last commit, and the versions that hold what it gave."""

    at: int
    seq: int = 0
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Story:
    """What happened in a directory: its operations, what was acknowledged, and how it ended."""

    name: str
    place: Path
    disk: Disk
    operations: list[tuple[Any, ...]]
    acknowledged: list[Acknowledged]
    end: Seen
    retries: list[tuple[str, ...]]
    wanted: Counter[Any]
    from_step: int = 0


@lru_cache
def _parsed(argv: tuple[str, ...]) -> Any:
    args = command_parser(argv[0]).parse_all(argv[1:])
    args.argv = list(argv)
    return args


def act(argv: tuple[str, ...], root: Path) -> tuple[int, frozenset[str]] | None:
    """Run a command; return what it acknowledges, None if it is refused for want or presence of a repository."""
    if argv[0] == "init" and (root / "repository.json").exists():
        return None
    args = _parsed(argv)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()):
        try:
            assert run_command(argv[0], args) == 0
        except jfstore.Refused:
            return None
        except jfstore.Failed as error:
            # The directory of the repository itself is not there yet.
            if root.exists() or "does not exist" not in str(error):
                raise
            return None
    value = json.loads(out.getvalue())
    names = frozenset(entry["version"] for entry in value.get("added", []) + value.get("unchanged", []))
    return value.get("seq", 0), names


def tell(
    stock: Path,
    place: Path,
    name: str,
    first: str,
    second: str | None = None,
    at: int = 0,
    stop: int = 1 << 30,
    panel: tuple[str, str] = ("", ""),
    request: str = OTHER_REQUEST,
    **recorder_options: bool,
) -> Story | None:
    """Let `first` happen, and `second` before its operation `at`; `second` is killed before its operation `stop`.

    Returns None if the first has fewer operations, or the second fewer than `stop`.
    """
    root = start(stock, first, place)
    disk, recorder = Disk(place), Recorder(**recorder_options)
    before = seen(root)
    told = [Acknowledged(0, len(before.hashes), frozenset(before.versions))] if before.hashes or first != "init" else []
    writers = [(*KINDS[first].argv(stock, root, REQUEST), "--json")]
    happened = {"begun": second is None, "stopped": False}
    if second:
        words = [word.replace(*panel) if panel[0] else word for word in KINDS[second].argv(stock, root, request)]
        writers.append((*words, "--json"))

    def write(argv: tuple[str, ...]) -> None:
        said = act(argv, root)
        if said:
            told.append(Acknowledged(len(recorder.operations), *said))

    def second_comes(number: int) -> None:
        if number == at and not happened["begun"]:
            happened["begun"] = True
            recorder.before = second_is_stopped
            try:
                write(writers[1])
            except Stopped:
                happened["stopped"] = True
            recorder.before = lambda number: None

    def second_is_stopped(number: int) -> None:
        if number - at >= stop:
            raise Stopped

    recorder.before = second_comes
    kept, durable.system = durable.system, recorder
    try:
        write(writers[0])
    finally:
        durable.system = kept
    if not happened["begun"] or (stop < 1 << 30 and not happened["stopped"]):
        return None
    end = seen(root)
    for argv in writers:
        act(argv, root)
    label = name if second is None else f"{name}, at {at}" + (f", stopped at {stop}" if happened["stopped"] else "")
    wanted = contents(root)
    return Story(label, place, disk, recorder.operations, told, end, writers, wanted, at if second else 0)


def crashes(story: Story, limit: int, chance: random.Random) -> Iterator[tuple[int, Tree]]:
    """Yield states in which a power failure may leave the disk, each with the step it comes after."""
    known = set()
    for step in range(len(story.operations) + 1):
        if step:
            story.disk.play(story.operations[step - 1])
        if step < story.from_step:
            continue
        told = sum(said.at <= step for said in story.acknowledged)
        for tree in story.disk.outcomes(limit, chance):
            key = (told, hash(frozenset(tree.items())))
            if key not in known:
                known.add(key)
                yield step, tree


def check(story: Story, step: int) -> None:
    """Check the state that is on the disk now."""
    root = story.place / "R"
    told = [said for said in story.acknowledged if said.at <= step]
    there = (root / "repository.json").exists()
    assert there or not told, "the repository is gone"
    found = seen(root)
    assert found.hashes == story.end.hashes[: len(found.hashes)], "a commit is another one"
    for said in told:
        assert len(found.hashes) >= said.seq, "an acknowledged commit is gone"
        assert said.names <= found.versions.keys(), "an acknowledged version is gone"
    for name, version in found.versions.items():
        assert version == story.end.versions[name], f"{name} has other bits"
    if there:
        assert_sound(root)
    for argv in story.retries:
        act(argv, root)
    assert contents(root) == story.wanted, "the retry did not add everything once"
    assert_next_add_works(root)


def violation(story: Story, step: int, tree: Tree) -> str | None:
    put_on_disk(tree, story.place)
    try:
        check(story, step)
    except (AssertionError, jfstore.JfstoreError, OSError) as error:
        last = story.operations[step - 1][:2] if step else "nothing"
        return f"{story.name}, after {step} operations, the last {last}: {str(error).splitlines()[0]}"
    return None


def each_kind(stock: Path, place: Path, **options: Any) -> Iterator[Story]:
    for kind in KINDS:
        story = tell(stock, place, kind, kind, **options)
        assert story
        yield story


def each_pair(
    stock: Path, place: Path, steps: Sequence[int], stops: Sequence[int] = (), **options: Any
) -> Iterator[Story]:
    for name, pair in PAIRS.items():
        for at in steps:
            for stop in (1 << 30, *stops):
                story = tell(stock, place, name, at=at, stop=stop, **{**pair, **options})
                if not story:
                    break
                yield story


def run(stories: Iterator[Story], limit: int, chance: random.Random, most: int = 1 << 30) -> tuple[int, list[str]]:
    """Check the states of `stories`, no more than `most` of each; return their number and the violations."""
    count, violations = 0, []
    for story in stories:
        states = list(crashes(story, limit, chance))
        for step, tree in states if len(states) <= most else chance.sample(states, most):
            count += 1
            if wrong := violation(story, step, tree):
                violations.append(wrong)
    return count, violations


def report(count: int, violations: list[str]) -> str:
    return f"{len(violations)} of {count} states are violations:\n" + "\n".join(violations[:20])
