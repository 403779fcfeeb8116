"""Simulated power loss at every step: what was acknowledged is there, nothing is half there, and one can go on."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jfstore.fs import durable
from jfstore.storage import hdf5_payload
from jfstore.storage.hdf5 import Hdf5Storage
from tests.proofs.power import PAIRS, crashes, each_kind, each_pair, report, run, tell, violation
from tests.proofs.simfs import (
    KINDS,
    Recorder,
    directory_in_memory,
    make_stock,
)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stock(tmp_path_factory.mktemp("power") / "stock")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with directory_in_memory(tmp_path) as directory:
        yield directory / "world"


def test_sample_of_every_kind(stock: Path, place: Path) -> None:
    count, violations = run(each_kind(stock, place), 16, random.Random(1), most=75)
    assert not violations, report(count, violations)
    assert count > 500


def test_sample_of_payloads_with_holes(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small panels have holes if huge pages are as small as their slabs.
    monkeypatch.setattr("jfstore.core.slabs.HUGE_PAGE", 128)
    monkeypatch.setattr("jfstore.storage.hdf5_payload.HUGE_PAGE", 1 << 15)
    hdf5_payload._layout.cache_clear()
    monkeypatch.setattr("tests.proofs.power.KINDS", {kind: KINDS[kind] for kind in ("new panel", "detector")})
    skipped: list[int] = []
    skip = Recorder.skip

    def count_and_skip(self: Recorder, fd: int, size: int) -> None:
        skipped.append(size)
        skip(self, fd, size)

    monkeypatch.setattr(Recorder, "skip", count_and_skip)
    try:
        stock = make_stock(tmp_path / "stock")
        count, violations = run(each_kind(stock, place), 16, random.Random(1), most=150)
    finally:
        hdf5_payload._layout.cache_clear()
    assert not violations, report(count, violations)
    assert count > 50
    assert skipped


def test_sample_of_segments_in_files(stock: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a large repository: each addition writes a segment file, merged with those before it, and an index.
    monkeypatch.setattr("jfstore.storage.index.SPILL", 100)
    count, violations = run(each_kind(stock, place), 16, random.Random(1), most=75)
    assert not violations, report(count, violations)
    assert count > 500


@pytest.mark.parametrize("pair", PAIRS)
def test_sample_of_two_writers(stock: Path, place: Path, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.proofs.power.PAIRS", {pair: PAIRS[pair]})
    count, violations = run(each_pair(stock, place, range(40)), 2, random.Random(2), most=4)
    more, stopped = run(each_pair(stock, place, range(1, 40, 6), (5, 12)), 2, random.Random(2), most=2)
    assert not violations + stopped, report(count + more, violations + stopped)
    assert count > 50


@pytest.mark.full
def test_every_kind(stock: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count, violations = run(each_kind(stock, place), 120, random.Random(3))
    with capsys.disabled():
        print(f"\npower loss, {len(KINDS)} kinds: {count} states, {len(violations)} violations")
    assert not violations, report(count, violations)
    assert count >= 1_000


@pytest.mark.full
def test_two_writers_at_every_operation(stock: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count, violations = run(each_pair(stock, place, range(60), range(1, 60)), 4, random.Random(4), most=12)
    with capsys.disabled():
        print(f"\npower loss, {len(PAIRS)} pairs of writers: {count} states, {len(violations)} violations")
    assert not violations, report(count, violations)
    assert count >= 20_000


# -- without any of these the proof must fail


def commit_before_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish payloads only after the commit that names them."""
    store, publish = Hdf5Storage.store, Hdf5Storage.publish
    waiting: list[Callable[[], Any]] = []

    def later(self: Hdf5Storage, panel: str, stamp: str, arrays: Any) -> Any:
        with tempfile.TemporaryDirectory() as elsewhere:
            (Path(elsewhere) / "panels").mkdir()
            kept, durable.system = durable.system, durable.System()
            file = store(Hdf5Storage(Path(elsewhere)), panel, stamp, arrays)
            durable.system = kept
        waiting.append(lambda: store(self, panel, stamp, arrays))
        return file

    def at_once(self: Hdf5Storage, name: str, data: bytes, clock: int | None = None) -> None:
        publish(self, name, data)
        while waiting and name.startswith("log/"):
            waiting.pop()()

    monkeypatch.setattr(Hdf5Storage, "store", later)
    monkeypatch.setattr(Hdf5Storage, "publish", at_once)


def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not sync the directories of what exists already."""
    monkeypatch.setattr(Hdf5Storage, "settle", lambda self, name: None)


MUTANTS: dict[str, tuple[dict[str, bool], Callable[[pytest.MonkeyPatch], None] | None]] = {
    "no fsync of the file": ({"file_sync": False}, None),
    "no fsync of the directory": ({"directory_sync": False}, None),
    "commit before its payload": ({}, commit_before_payload),
    "no fsync on EEXIST of a directory": ({"sync_of_existing": False}, None),
    "no fsync on EEXIST of a file": ({}, no_settling),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(stock: Path, place: Path, mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: Any
    options, change = MUTANTS[mutant]
    pairs = ("the same payload", "a new panel directory")
    monkeypatch.setattr("tests.proofs.power.PAIRS", {name: PAIRS[name] for name in pairs})
    if change:
        change(monkeypatch)
    alone = tell(stock, place, "new panel", "new panel", **options)
    assert alone
    calls = [operation[0] for operation in alone.operations]
    # What a second writer finds that the first has made and not yet synced.
    steps = [calls.index("make_directory") + 1, calls.index("link") + 1] if "EEXIST" in mutant else []
    for story in (alone, *each_pair(stock, place, steps, **options)):
        for step, tree in crashes(story, 8, random.Random(5)):
            if violation(story, step, tree):
                return
    pytest.fail("the proof is too weak: nothing was violated")
