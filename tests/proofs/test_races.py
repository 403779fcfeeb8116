"""Writers and readers at once, with the lock and without it: nothing is lost, no number twice, no reader misled."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.fs import durable
from jfstore.repository.repository import Repository
from jfstore.repository.verify import verify
from tests.makers.children import CHILDREN
from tests.makers.repositories import LATER, STAMP, A, constants, entry, new_repository

GAIN = ("pixel_gain",)


def write(root: str, writer: int, adds: int, locks: bool, start: Any, results: Any) -> None:
    """Add `adds` versions of panel A, each with its own constants, whose seed is the message."""
    try:
        if not locks:
            durable.locked = lambda path, timeout=10.0: nullcontext(False)  # type: ignore[assignment]
        repository = jfstore.open(root)
        start.wait()
        acknowledged = []
        for number in range(adds):
            seed = 1 + writer * adds + number
            added = repository.add_entries([entry(A, seed=seed, types=GAIN)], str(seed))
            acknowledged.append((added.seq, added.versions[0].number, seed))
        results.put((acknowledged, None))
    except BaseException as error:
        results.put(([], f"writer {writer}: {error!r}"))


def read(root: str, reader: int, start: Any, stop: Any, results: Any) -> None:
    """Look at the repository until told to stop; what is not consistent is an error."""
    looks, last = 0, 0
    try:
        repository = jfstore.open(root)
        start.wait()
        while not stop.is_set():
            # Every other reader opens the repository anew for each look.
            if reader % 2:
                repository = jfstore.open(root)
            last = look(repository, last)
            looks += 1
        results.put((looks, None))
    except BaseException as error:
        results.put((looks, f"reader {reader} after commit {last}: {error!r}"))


def look(repository: Repository, last: int) -> int:
    """Check the state that is seen now, and the commits after `last`; return the last commit."""
    versions = repository.versions()
    count = len(versions)
    assert count >= last, f"{count} commits, and there were {last}"
    assert [version.number for version in versions] == list(range(1, count + 1)), "numbers have a gap"
    assert [version.seq for version in versions] == list(range(1, count + 1)), "commits have a gap"
    history = repository.history()[:count]
    prev = history[last - 1].hash if last else repository.identity.hash
    for summary in history[last:]:
        commit = repository.commit(summary.seq)
        assert (commit.prev, commit.hash) == (prev, summary.hash), "the chain is broken"
        prev = commit.hash
    for version in [*versions[last:], *random.sample(versions, min(count, 3))]:
        right = constants(int(history[version.seq - 1].message))
        assert repository.panel_array(version, "pixel_gain").tobytes() == right.tobytes(), f"{version.name} is wrong"
    for summary in history[-1:]:
        array = repository.get(A, "pixel_gain", LATER, as_of=summary.seq)
        assert array.tobytes() == constants(int(summary.message)).tobytes(), "what holds is not the last"
    return count


def race(root: Path, writers: int, adds: int, readers: int, locks: bool) -> None:
    repository = new_repository(root)
    place = repository.storage.location
    start, stop = CHILDREN.Barrier(writers + readers), CHILDREN.Event()
    written, seen = CHILDREN.Queue(), CHILDREN.Queue()
    writing = [
        CHILDREN.Process(target=write, args=(place, writer, adds, locks, start, written)) for writer in range(writers)
    ]
    reading = [CHILDREN.Process(target=read, args=(place, reader, start, stop, seen)) for reader in range(readers)]
    for child in [*writing, *reading]:
        child.start()
    acknowledged, errors = [], []
    for _ in writing:
        done, error = written.get(timeout=900)
        acknowledged += done
        errors += [error] if error else []
    stop.set()
    looks = [seen.get(timeout=300) for _ in reading]
    for child in [*writing, *reading]:
        child.join(60)
    errors += [error for _, error in looks if error]
    assert not errors
    total = writers * adds
    print(
        f"{len(acknowledged)} of {total} adds acknowledged, lock {'on' if locks else 'a no-op'}; "
        f"{readers} readers looked {sum(count for count, _ in looks)} times"
    )
    assert all(count for count, _ in looks)
    assert sorted(seq for seq, _, _ in acknowledged) == list(range(1, total + 1))
    assert all(seq == number for seq, number, _ in acknowledged)
    for opened in (repository, jfstore.open(place)):
        assert look(opened, 0) == total
        assert [int(summary.message) for summary in opened.history()] == [seed for *_, seed in sorted(acknowledged)]
        assert {version.stamp for version in opened.versions()} == {STAMP}
    report = verify(repository)
    assert (report.problems, report.notes) == ((), ())
    assert (report.commits, report.versions, report.files) == (total, total, total)


@pytest.mark.parametrize("locks", [True, False], ids=["lock", "no lock"])
def test_race(tmp_path: Path, locks: bool) -> None:
    race(tmp_path / "R", writers=4, adds=8, readers=2, locks=locks)


@pytest.mark.full
@pytest.mark.parametrize("locks", [True, False], ids=["lock", "no lock"])
def test_race_of_sixteen_writers(tmp_path: Path, locks: bool) -> None:
    race(tmp_path / "R", writers=16, adds=50, readers=8, locks=locks)
