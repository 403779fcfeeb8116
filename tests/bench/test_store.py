"""``add`` against writing and syncing the bare bytes; finding and listing among many; start-up."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.repository import Repository
from tests.bench.conftest import milliseconds
from tests.conftest import ROOT
from tests.makers.many import PANELS, entry, repository_of

TINY = (3, 4, 8)


@pytest.fixture(params=[10, 1_000, 10_000, 100_000])
def many(request: pytest.FixtureRequest, measured: bool, tmp_path: Path) -> Repository:
    """A repository with so many versions, up to 10,000 a commit each; a tenth if nothing is measured."""
    count = request.param if measured else max(10, request.param // 1000)
    return repository_of(tmp_path / "R", count, TINY, a_commit=1 if count <= 10_000 else 1000)


@pytest.mark.parametrize("count", [10, 1_000, 10_000])
def test_add(count: int, measured: bool, compare: Callable[..., None], tmp_path: Path) -> None:
    repository = repository_of(tmp_path / "R", count if measured else 10, (3, 512, 1024))
    numbers = itertools.count(1)
    entries = {}

    def prepared() -> Any:
        number = next(numbers)
        entries[number] = entry(repository, PANELS[number % 32], "20240101000000", number)
        return number

    ready = [prepared() for _ in range(23 if measured else 4)]
    turns = {"bare": iter(ready), "add": iter(ready)}

    def bare() -> None:
        new = entries[next(turns["bare"])]
        fd = os.open(tmp_path / f"bare{next(numbers)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        for checked in new.arrays.values():
            os.write(fd, checked.array.reshape(-1).view(np.uint8).data)
        os.fsync(fd)
        os.close(fd)

    def add() -> None:
        assert repository.add_entries([entries[next(turns["add"])]], "bench").versions

    compare(
        f"add of one panel, {count:,} stored",
        {"write and fsync the bytes": bare, "add": add},
        {"add": "<= 1.5"},
        rounds=21,
    )


def test_find_and_list(many: Repository, measured: bool, record: Callable[..., None]) -> None:
    location = many.storage.location
    count = len(many.versions())

    def find() -> None:
        repository = jfstore.open(location)
        repository.find(PANELS[7], ["pixel_gain"], "20240101000000")

    def listed() -> None:
        assert len(jfstore.open(location).versions()) == count

    for name, work, goals in (("find one", find, (10, 60)), ("list all", listed, (50, 500))):
        times = sorted(milliseconds(work) for _ in range(11 if measured else 1))
        goal = f"<= {goals[count > 10_000]} ms"
        record(f"{count:,} versions, open included", name, times[len(times) // 2], None, goal)


def test_start_up(tmp_path: Path, measured: bool, record: Callable[..., None]) -> None:
    repository_of(tmp_path / "test", 10, TINY)
    environment = {**os.environ, "JFSTORE_TEST": str(tmp_path / "test"), "JFSTORE_REAL": str(tmp_path / "none")}
    for words, goal in (("--help", "<= 60 ms"), ("list", "<= 300 ms")):
        program = [sys.executable, str(ROOT / "bin/jfstore"), words]

        def run(program: list[str] = program) -> None:
            subprocess.run(program, env=environment, capture_output=True, check=True)

        times = sorted(milliseconds(run) for _ in range(15 if measured else 1))
        bare = sorted(
            milliseconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
            for _ in range(15 if measured else 1)
        )
        middle = len(times) // 2
        record(
            "start-up", f"jfstore {words} (ratio: to bare Python)", times[middle], times[middle] / bare[middle], goal
        )
