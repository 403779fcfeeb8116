"""A repository shared by threads and processes: no answer is older than what was acknowledged before it was asked."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.table import Table
from jfstore.repository import finding, reading
from jfstore.repository.repository import Repository
from tests.makers.repositories import LATER, SHAPE, A, B, commit_path, constants, entry, new_repository, reopened

GAIN = "pixel_gain"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = new_repository(tmp_path / "R")
    made.add_entries([entry(A, seed=1)], "first")
    return made


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Let threads take turns after a few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_a_slow_thread_leaves_no_old_answer_behind(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan made of an old table must not be found with the new one."""
    begun, go_on = threading.Event(), threading.Event()
    make_plan: Callable[..., Any] = finding.make_plan

    def slowly(table: Table, *rest: Any) -> Any:
        plan = make_plan(table, *rest)
        if threading.current_thread().name == "slow":
            begun.set()
            assert go_on.wait(30)
        return plan

    monkeypatch.setattr(reading, "make_plan", slowly)
    slow = threading.Thread(target=lambda: repository.get(A, GAIN, LATER), name="slow")
    slow.start()
    assert begun.wait(30)
    reopened(repository).add_entries([entry(A, seed=2)], "second")
    new = constants(2).tobytes()
    assert repository.get(A, GAIN, LATER).tobytes() == new
    go_on.set()
    slow.join()
    assert repository.get(A, GAIN, LATER).tobytes() == new


def test_damage_is_never_forgotten_for_a_moment(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread reads a damaged log again, another one must not be served from before the damage."""
    repository.add_entries([entry(A, seed=2)], "second")
    path = commit_path(repository, 2)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"second", b"secund"))
    (Path(repository.location) / "jungfrau.h5").unlink()
    again = reopened(repository)
    load, inside, go_on = again.log._load, threading.Event(), threading.Event()

    def slowly() -> Any:
        state = load()
        if threading.current_thread().name == "slow":
            inside.set()
            assert go_on.wait(30)
        return state

    monkeypatch.setattr(again.log, "_load", slowly)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            again.get(A, GAIN, LATER)
        except jfstore.Damaged as error:
            failures.append(error)

    slow = threading.Thread(target=ask, name="slow")
    slow.start()
    assert inside.wait(30)
    ask()
    go_on.set()
    slow.join()
    assert len(failures) == 2


@pytest.mark.usefixtures("short_turns")
def test_racing_threads_never_get_an_older_answer(repository: Repository) -> None:
    """A writer adds; readers of one shared object see what was acknowledged before they asked, or newer."""
    acknowledged = [1]
    bytes_of = {constants(seed).tobytes(): seed for seed in range(1, 42)}
    stop = threading.Event()

    def write() -> None:
        writer = reopened(repository)
        for seed in range(2, 42):
            writer.add_entries([entry(A, seed=seed)], "next")
            acknowledged[0] = seed
        stop.set()

    def read(_: int) -> int:
        count = 0
        while not stop.is_set():
            before = acknowledged[0]
            assert bytes_of[repository.get(A, GAIN, LATER).tobytes()] >= before
            count += 1
        return count

    with ThreadPoolExecutor(5) as pool:
        reads = [pool.submit(read, number) for number in range(4)]
        pool.submit(write).result()
        assert sum(future.result() for future in reads) > 40


@pytest.mark.usefixtures("short_turns")
def test_threads_that_fill_the_plans_lose_none(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PLANS", 3)

    def read(number: int) -> bool:
        when = f"2019{number % 12 + 1:02d}01000000"
        return repository.get(A, GAIN, when).tobytes() == constants(1).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(200)))


def test_a_repository_and_its_answers_can_be_pickled_at_any_time(repository: Repository) -> None:
    answer = repository.find(A, None, LATER)
    assert answer[GAIN].tobytes() == constants(1).tobytes()
    again, same = pickle.loads(pickle.dumps((repository, answer)))
    assert again.get(A, GAIN, LATER).tobytes() == constants(1).tobytes()
    assert same == answer
    assert same[GAIN].tobytes() == constants(1).tobytes()
    assert len(pickle.dumps(answer)) < 10_000
    assert again.storage.verified is not repository.storage.verified


def test_answers_cannot_be_changed(repository: Repository) -> None:
    answer = repository.find(A, None, LATER)
    answer.selections.pop(GAIN)
    assert repository.get(A, GAIN, LATER).shape == (SHAPE[0], 1, *SHAPE[1:])
    with pytest.raises(AttributeError):
        answer.time = answer.time  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        answer[GAIN][0] = 0


def test_a_copy_is_private_memory(tmp_path: Path) -> None:
    """A mapped array dies with its file; a copy does not."""
    shape = (3, 32, 64)
    repository = new_repository(tmp_path / "large", shape=shape)
    repository.add_entries([entry(B, seed=5, shape=shape)], "large")
    array = repository.get(B, GAIN, LATER, copy=True, writable=True)
    (payload,) = (tmp_path / "large/panels").glob("*/*.h5")
    payload.chmod(0o644)
    payload.write_bytes(b"")
    assert np.array_equal(array[:, 0], constants(5, shape=shape))
    array[:] = 0


def test_wrong_types_are_our_errors(repository: Repository) -> None:
    wrong: list[Callable[[], object]] = [
        lambda: repository.get(5, GAIN, LATER),  # type: ignore[arg-type]
        lambda: repository.get(A, GAIN, 20180306),  # type: ignore[arg-type]
        lambda: repository.get(A, GAIN),
        lambda: repository.find(A, [], LATER),
        lambda: repository.add_entries([(A, LATER)], "why"),  # type: ignore[list-item]
        lambda: repository.add(A, LATER, np.zeros(SHAPE), "why"),  # type: ignore[arg-type]
        lambda: repository.add(A, LATER, {GAIN: [1, 2]}, "why"),
        lambda: repository.add(A, LATER, {GAIN: constants(1)}, 5),  # type: ignore[arg-type]
        lambda: repository.list([5]),  # type: ignore[list-item]
        lambda: repository.timeline(5, GAIN),  # type: ignore[arg-type]
        lambda: repository.version(5),  # type: ignore[arg-type]
        lambda: jfstore.PanelId("171113", 1, 2),  # type: ignore[arg-type]
    ]
    for call in wrong:
        with pytest.raises(jfstore.BadValue):
            call()


def test_records_print_in_one_line_and_make_a_data_frame(repository: Repository) -> None:
    pandas = pytest.importorskip("pandas")
    answer, listing = repository.find(A, None, LATER), repository.list()
    for value in (repository, answer, listing):
        assert "\n" not in repr(value)
        assert len(repr(value)) < 200
        assert value._repr_html_().startswith("<p>")
    assert repr(jfstore.PanelId(1511699, 23403815178277, 3997947)) == "PanelId('171113-154920171025-3d00fb')"
    assert list(pandas.DataFrame(answer.rows())["type"]) == ["pixel_gain", "pixel_offset"]
    assert list(pandas.DataFrame(listing)["panel"]) == [A]
    assert len(pandas.DataFrame(repository.history())) == 1


def test_an_answer_as_xarray_has_the_panels_as_coordinates(repository: Repository) -> None:
    pytest.importorskip("xarray")
    dataset = repository.find(A, None, LATER).xarray()
    assert dataset[GAIN].dims == ("gain", "panel", "row", "column")
    assert list(dataset.panel.values) == [A]
    assert dataset[GAIN].values.tobytes() == constants(1).tobytes()
