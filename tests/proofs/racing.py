"""Writers and readers of one repository, each for a process of its own."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

import jfstore
from jfstore.fs import durable
from jfstore.repository.repository import Repository
from tests.makers.repositories import LATER, A, constants, entry

GAIN = ("pixel_gain",)


def write(root: str, writer: int, adds: int, locks: bool, start: Any, results: Any) -> None:
    """Add `adds` versions of panel A, each with its own constants, whose seed is the message."""
    try:
        if not locks:
            durable.hold_lock = lambda path, timeout=10.0: nullcontext(False)  # type: ignore[assignment, return-value]
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
