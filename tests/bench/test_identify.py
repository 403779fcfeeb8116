"""Identifying a rounded copy among many versions, of which a few arrays are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.demo_data import constants
from jfstore.core.hashing import digest
from jfstore.core.instants import SECOND, parse_time, stamp_at
from jfstore.core.records import Version
from jfstore.core.sketch import Sketch
from jfstore.core.table import Table
from jfstore.fs import durable
from jfstore.repository import Repository
from tests.bench.conftest import milliseconds
from tests.makers.many import PANELS, Unsynced

STAMP = "20240101000000"


def other_sketch(model: Sketch, random: np.random.Generator) -> Sketch:
    """Return the sketch of an array that is like none other."""
    ranges = tuple((low * random.uniform(0.98, 1.02), high * random.uniform(0.98, 1.02)) for low, high in model.ranges)
    means = random.integers(0, 1 << 16, len(model.means) // 2).astype("<u2").tobytes()
    return replace(model, ranges=tuple((min(pair), max(pair)) for pair in ranges), means=means)


def repository_of(path: Path, count: int) -> Repository:
    """Return a repository with so many versions, each of two other arrays; most share the bytes of one."""
    repository = jfstore.init(str(path), "test")
    for seed in (1, 2):
        arrays = {f"pixel_{word}": constants(seed, word) for word in ("gain", "offset")}
        repository.add(PANELS[seed], STAMP, arrays, f"seed {seed}", accept="demo")
    model = repository.commit(1).versions[0]
    start, random = parse_time("20000102000000", repository.zone), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "system", Unsynced())
        patch.setattr(repository.log, "save_index", lambda seq=0: None)
        for number in range(count - 2):

            def versions_for(_table: Table, seq: int, number: int = number) -> list[Version]:
                moment = start + number // len(PANELS) * 3600 * SECOND
                arrays = []
                for array in model.arrays:
                    assert array.sketch is not None
                    blake3 = digest(f"{array.type} {number}".encode())
                    arrays.append(replace(array, blake3=blake3, sketch=other_sketch(array.sketch, random)))
                # A file of its own, which is the same on disk.
                name = f"{model.file.path[:-8]}{number:05x}.h5"
                os.link(path / model.file.path, path / name)
                file = replace(model.file, path=name, blake3=digest(f"{number}".encode()))
                stamp = stamp_at(moment, repository.zone)
                return [Version(PANELS[number % len(PANELS)], stamp, moment, 1, tuple(arrays), file, seq)]

            repository.log.append("add", f"version {number}", f"{number + 16:032x}", versions_for)
    repository.rebuild_index()
    return jfstore.open(str(path))


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_identify_a_rounded_copy(count: int, measured: bool, record: Callable[..., None], tmp_path: Path) -> None:
    count = count if measured else count // 200
    repository_of(tmp_path / "R", count)
    gain = constants(2, "gain")
    np.save(tmp_path / "rounded.npy", np.round(gain.astype("f8"), 4))
    np.save(tmp_path / "other.npy", constants(3, "gain"))
    commits = sorted((tmp_path / "R/log").glob("*.json"))

    def identify() -> None:
        found = jfstore.identify(tmp_path / "rounded.npy", repo=tmp_path / "R")
        assert found.arrays[0].panels[0].versions == (f"{PANELS[2]}/{STAMP}/v1",)
        assert str(found.arrays[0].panels[0].relation) == "rounded to %.4f"

    def find_nothing() -> None:
        assert not jfstore.identify(tmp_path / "other.npy", repo=tmp_path / "R").is_identified

    def read() -> int:
        return sum(len(path.read_bytes()) for path in commits)

    for name, work in (("rounded copy", identify), ("like nothing", find_nothing)):
        times = sorted(milliseconds(work) for _ in range(7 if measured else 1))
        bare = sorted(milliseconds(read) for _ in range(7 if measured else 1))
        middle = len(times) // 2
        what = f"identify among {count:,} versions (ratio: to reading the commits)"
        record(what, name, times[middle], times[middle] / bare[middle], "<= 2000 ms")
