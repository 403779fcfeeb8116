"""Huge pages: where a region of large slabs lies, what the kernel is asked for, and that no address is lost."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jfstore.core.slabs import HUGE_PAGE
from jfstore.storage import mapped as mapped_module
from jfstore.storage.mapped import PAGE, Slab, map_slabs
from tests.makers.repositories import LATER, A, B, entry, new_repository
from tests.storage.test_mapped import PAGES, SEEDS, expected, filled, mapped

HUGE_SHAPE = (3, 512, 1024)
"""A panel whose slabs are one huge page each."""


class Advice:
    """Records what the kernel is advised, and answers that it cannot."""

    def __init__(self, maps: Callable[[], int]) -> None:
        self.given: list[tuple[int, int, int, int]] = []
        self._maps = maps

    def __call__(self, address: int, size: int, advice: int) -> int:
        self.given.append((address, size, advice, self._maps()))
        return -1


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
@pytest.mark.parametrize("writable", [False, True])
def test_huge_slabs_lie_at_huge_addresses(
    tmp_path: Path, storage: str, writable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = new_repository(tmp_path / "R", shape=HUGE_SHAPE, storage=storage)
    repository.add_entries([entry(panel, seed=SEEDS[panel], shape=HUGE_SHAPE) for panel in (A, B)], "two panels")
    advice = Advice(lambda: mapped(tmp_path / "R"))
    monkeypatch.setattr(mapped_module._libc, "madvise", advice)
    array = repository.get(f"{A}_{B}", "pixel_gain", LATER, writable=writable)
    assert array.ctypes.data % HUGE_PAGE == 0
    # Asked once for all of it, when everything is mapped and nothing has been read.
    ((address, size, what, maps),) = advice.given
    assert (address, size, what) == (array.ctypes.data, array.nbytes, 14)
    assert maps > 0
    assert array.tobytes() == expected(A, B, shape=HUGE_SHAPE).tobytes()
    if writable:
        array[1, 0] = 7
        assert repository.get(A, "pixel_gain", LATER).tobytes() == expected(A, shape=HUGE_SHAPE).tobytes()
    del array
    gc.collect()
    assert mapped(tmp_path / "R") == 0


def test_small_slabs_ask_for_no_huge_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = filled(tmp_path / "R", PAGES)
    advice = Advice(lambda: 0)
    monkeypatch.setattr(mapped_module._libc, "madvise", advice)
    assert repository.get(A, "pixel_gain", LATER).tobytes() == expected(A).tobytes()
    assert advice.given == []


def reserved() -> int:
    """Return how many bytes of addresses this process may not touch."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ranges = [line[0].split("-") for line in lines if line[1] == "---p"]
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)


def test_no_address_beside_the_region_stays_reserved(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * HUGE_PAGE))
    before, regions = reserved(), []
    with path.open("rb") as file:
        slabs = [Slab(file.fileno(), HUGE_PAGE, HUGE_PAGE), Slab(file.fileno(), 0, HUGE_PAGE)]
        for _ in range(20):
            regions.append(map_slabs(slabs, writable=False))
            assert regions[-1].ctypes.data % HUGE_PAGE == 0
            assert reserved() == before
    data = path.read_bytes()
    assert all(region.tobytes() == data[HUGE_PAGE:] + data[:HUGE_PAGE] for region in regions)


@pytest.mark.parametrize("shift", [PAGE, HUGE_PAGE // 2, HUGE_PAGE - PAGE])
def test_region_is_aligned_wherever_the_kernel_reserves_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    reserve = mapped_module._map

    def reserve_elsewhere(address: int | None, size: int, protection: int, flags: int, fd: int, offset: int) -> int:
        if address is not None:
            return reserve(address, size, protection, flags, fd, offset)
        return -(-reserve(None, size + 2 * HUGE_PAGE, protection, flags, fd, offset) // HUGE_PAGE) * HUGE_PAGE + shift

    monkeypatch.setattr(mapped_module, "_map", reserve_elsewhere)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(HUGE_PAGE))
    with path.open("rb") as file:
        region = map_slabs([Slab(file.fileno(), 0, HUGE_PAGE)] * 2, writable=False)
    assert region.ctypes.data % HUGE_PAGE == 0
    assert region.tobytes() == 2 * path.read_bytes()
