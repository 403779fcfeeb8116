"""``get`` against a memcpy into fresh memory, plain h5py and numpy.load of the same bytes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.repository import Repository
from tests.bench.conftest import copy_to_fresh_memory
from tests.makers.many import PANELS, entry

SHAPE = (3, 512, 1024)
WHEN = "20190101000000"
STAMP = "20180306000000"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    path = tmp_path_factory.mktemp("bench") / "R"
    made = jfstore.init(str(path), "test", panel_shape=SHAPE)
    made.add_entries((entry(made, panel, STAMP, seed) for seed, panel in enumerate(PANELS)), "32 panels")
    return jfstore.open(str(path))


def touched(array: np.ndarray) -> int:
    """Read one byte of every page."""
    return int(array.reshape(-1).view(np.uint8)[::4096].max())


@pytest.mark.parametrize("count", [1, 8, 32])
def test_get(
    repository: Repository,
    compare: Callable[..., None],
    record: Callable[..., None],
    tmp_path: Path,
    count: int,
) -> None:
    panels = PANELS[:count]
    detector = "_".join(panels)
    expected = repository.get(detector, "pixel_gain", WHEN)
    np.save(tmp_path / "merged.npy", expected)
    source = expected.copy()
    index = Path(repository.storage.location) / "jungfrau.h5"

    def get(verify: bool) -> np.ndarray:
        return repository.get(detector, "pixel_gain", WHEN, verify=verify)

    def first_time() -> np.ndarray:
        repository.storage.verified.clear()
        return get(verify=True)

    def plain_h5py() -> np.ndarray:
        out = np.empty_like(source)
        with h5py.File(index, locking=False) as file:
            for number, panel in enumerate(panels):
                file[f"{panel}/{STAMP}/v0001/pixel_gain"].read_direct(out, np.s_[:], np.s_[:, number])
        return out

    assert np.array_equal(plain_h5py(), expected)
    compare(
        f"get, {count} panels",
        {
            "memcpy to fresh memory": lambda: copy_to_fresh_memory(source),
            "mapped": lambda: get(verify=False),
            "every page touched": lambda: touched(get(verify=False)),
            "verified, first time in a process": first_time,
            "verified": lambda: get(verify=True),
            "plain h5py": plain_h5py,
            "numpy.load of the merged array": lambda: np.load(tmp_path / "merged.npy"),
        },
        {
            "mapped": "<= 0.1",
            "every page touched": "<= 0.3",
            "verified": "<= 1.0",
            "verified, first time in a process": "<= 1.0",
        }
        if count > 1
        else {},
    )
    before = _own("FilePmdMapped")
    array = get(verify=False)
    touched(array)
    huge = _own("FilePmdMapped") - before
    record(
        f"get, {count} panels", "mapped by huge pages, MB / all", huge / 1024, 1024 * huge / array.nbytes, "1 on ext4"
    )


def _memory(pipe: Any, location: str, detector: str) -> None:
    repository = jfstore.open(location)
    small = repository.get(PANELS[0], "pixel_gain", WHEN)[0, 0, 0, 0]
    pipe.send(_own("Pss"))
    pipe.recv()
    array = repository.get(detector, "pixel_gain", WHEN)
    pipe.send(_own("Pss") + 0 * int(small + touched(array)))
    pipe.recv()


def _own(field: str, process: int | str | None = "self") -> int:
    """Return a field of the memory of a process, in kB; ``Pss`` divides shared memory among those that share it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def test_memory_of_eight_processes(repository: Repository, record: Callable[..., None]) -> None:
    context = multiprocessing.get_context("spawn")
    detector = "_".join(PANELS[:8])
    pipes, processes = [], []
    for _ in range(8):
        ours, theirs = context.Pipe()
        process = context.Process(target=_memory, args=(theirs, repository.storage.location, detector))
        process.start()
        pipes.append(ours)
        processes.append(process)
    before = sum(pipe.recv() for pipe in pipes)
    for pipe in pipes:
        pipe.send(None)
    # All have the array when the last says so; only then is what they share divided by eight.
    for pipe in pipes:
        pipe.recv()
    after = sum(_own("Pss", process.pid) for process in processes)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()
    one_copy = repository.get(detector, "pixel_gain", WHEN).nbytes / 1024
    record(
        "memory of 8 processes, 8 panels",
        "above baseline, MB / one copy",
        (after - before) / 1024,
        (after - before) / one_copy,
        "<= 1.1",
    )
    assert after - before < 2 * one_copy
