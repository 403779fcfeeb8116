"""Benchmarks measure against something bare in the same run, round by round, and print the ratios.

Without ``--benchmark-enable`` each runs once, as an ordinary test.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

_RESULTS: list[tuple[str, str, float, float | None, str]] = []


def milliseconds(work: Callable[[], Any]) -> float:
    """Return how long `work` takes; what it returns is let go outside the measurement."""
    start = time.perf_counter()
    kept = work()
    taken = time.perf_counter() - start
    del kept
    return 1000 * taken


def copy_to_fresh_memory(array: np.ndarray) -> np.ndarray:
    """Return a copy of `array` in memory that the process did not have before."""
    fresh = np.empty_like(array)
    fresh[...] = array
    return fresh


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> bool:
    """Whether times are wanted."""
    return not request.config.getoption("benchmark_disable") or request.config.getoption("benchmark_enable")


@pytest.fixture
def compare(measured: bool, benchmark: Any) -> Callable[..., None]:
    """Measure several things in turn, round by round, and keep the medians of their ratios to the first."""

    def run(what: str, works: Mapping[str, Callable[[], Any]], goals: Mapping[str, str], rounds: int = 21) -> None:
        names = list(works)
        benchmark.pedantic(works[names[-1]], rounds=1)
        if not measured:
            for work in works.values():
                work()
            return
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, work in works.items():
                times[name].append(milliseconds(work))
        bare = times[names[0]]
        for name in names:
            ratio = statistics.median(a / b for a, b in zip(times[name], bare, strict=True))
            _RESULTS.append((what, name, statistics.median(times[name]), ratio, goals.get(name, "")))

    return run


@pytest.fixture
def record(measured: bool) -> Callable[[str, str, float, float | None, str], None]:
    """Keep a result that was measured otherwise."""

    def run(what: str, name: str, value: float, ratio: float | None, goal: str) -> None:
        if measured:
            _RESULTS.append((what, name, value, ratio, goal))

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _RESULTS:
        return
    terminalreporter.section("ratios (medians)")
    terminalreporter.line("| what | measured | ms | ratio | goal |")
    terminalreporter.line("|---|---|---|---|---|")
    for what, name, value, ratio, goal in _RESULTS:
        shown = "" if ratio is None else f"{ratio:.2f}"
        terminalreporter.line(f"| {what} | {name} | {value:.2f} | {shown} | {goal} |")
