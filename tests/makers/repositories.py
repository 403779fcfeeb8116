"""Small repositories, entries for them, and ways to spoil their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.arrays import check_array
from jfstore.core.instants import DEFAULT_ZONE, find_zone, parse_instant
from jfstore.repository import Added, Entry, Repository
from tests.makers.arrays import plausible

SHAPE = (3, 4, 8)
TYPES = ("pixel_gain", "pixel_offset")
A = "171113-154920171025-3d00fb"
B = "170505-149520170815-3d00b0"
C = "170505-149520170815-3d00f7"
D = "171113-154920171025-3d0038"
EARLY = "20170101000000"
STAMP = "20180306000000"
LATER = "20190101000000"


def new_repository(
    path: Path | str, role: str = "test", shape: tuple[int, int, int] = SHAPE, storage: str = "hdf5"
) -> Repository:
    """Make a repository of small panels at `path`."""
    return jfstore.init(str(path), role, panel_shape=shape, storage=storage)


def reopened(repository: Repository) -> Repository:
    """Return the same repository as a new process would see it."""
    return jfstore.open(repository.storage.location)


def constants(seed: int, calib_type: str = "pixel_gain", shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return finite float32 values without a zero, other ones for every seed and type."""
    return plausible(np.random.default_rng([seed, TYPES.index(calib_type)]), calib_type, shape).astype("<f4")


def first_constants(seed: int, calib_type: str = "pixel_gain") -> np.ndarray:
    """Return the values that `constants` had when files of the first release were written; they are not plausible."""
    random = np.random.default_rng([seed, TYPES.index(calib_type)])
    array: np.ndarray = random.uniform(1, 50, SHAPE) * random.choice([-1, 1], SHAPE)
    return array.astype("<f4")


def entry(
    panel: str,
    stamp: str = STAMP,
    seed: int = 0,
    types: Iterable[str] = TYPES,
    shape: tuple[int, int, int] = SHAPE,
    source: str | None = None,
) -> Entry:
    """Return an entry that holds `constants` of `seed` for each of `types`."""
    arrays = {name: check_array(constants(seed, name, shape), name, shape, "made for a test") for name in types}
    return Entry(panel, parse_instant(stamp, find_zone(DEFAULT_ZONE)), arrays, source)


def story(path: Path | str, storage: str = "hdf5") -> Repository:
    """Make a repository of four commits: a panel, a detector of two, a second number, a shared payload."""
    repository = new_repository(path, storage=storage)
    repository.add_entries([entry(A, seed=1)], "first")
    repository.add_entries([entry(B, seed=2), entry(C, seed=3)], "a detector")
    repository.add_entries([entry(A, seed=4)], "second number")
    repository.add_entries([entry(D, seed=1)], "the same constants for another panel")
    return repository


STORY = {1: {A: 1}, 2: {A: 1, B: 2, C: 3}, 3: {A: 4, B: 2, C: 3}, 4: {A: 4, B: 2, C: 3, D: 1}}
"""For each commit of `story`: the seed of the constants that each panel has from then on."""


def seeds_of(repository: Repository, as_of: int | None = None) -> dict[str, int]:
    """Return the panels that have constants at `LATER`, with the seed that made exactly these bits."""
    found = {}
    for panel in (A, B, C, D):
        try:
            array = repository.get(panel, "pixel_gain", LATER, as_of=as_of)
        except jfstore.NotFound:
            continue
        seeds = [seed for seed in range(10) if constants(seed).tobytes() == array.tobytes()]
        assert seeds, f"{panel}: constants that nobody added"
        found[panel] = seeds[0]
    return found


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return everything below `root`: mode, time of change and bytes of each file and directory."""
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else None)
    return found


def put(path: Path, data: bytes) -> None:
    """Put `data` in place of the file `path`, whatever its mode."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    put(path, bytes(data))


def commit_path(repository: Repository, seq: int) -> Path:
    return Path(repository.storage.location, "log", f"{seq:010d}.json")


def index_path(repository: Repository) -> Path:
    return Path(repository.storage.location, "jungfrau.h5")


def log_names(repository: Repository) -> list[str]:
    return sorted(os.listdir(Path(repository.storage.location, "log")))


def racing(first: Repository, monkeypatch: pytest.MonkeyPatch, *others: Callable[[Repository], Any]) -> None:
    """Let each of `others` make its commit just before `first` publishes its own, one each time."""
    other = reopened(first)
    monkeypatch.setattr(other.storage, "lock", lambda: nullcontext(False))
    publish, waiting = first.storage.publish, list(others)

    def later(name: str, data: bytes, clock: int | None = None) -> None:
        if waiting:
            waiting.pop(0)(other)
        publish(name, data)

    monkeypatch.setattr(first.storage, "publish", later)


def other_notes(added: Added) -> tuple[str, ...]:
    """Return the notes on an import without the one that the files of dark runs were not found."""
    return tuple(note for note in added.notes if "do not say whether the first gain range" not in note)
