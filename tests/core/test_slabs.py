"""Slabs: how arrays with and without gain ranges are divided."""

from __future__ import annotations

import numpy as np
import pytest

from jfstore.core.records import Array
from jfstore.core.slabs import (
    detector_shape,
    fills_huge_pages,
    panel_of,
    slab_buffers,
    slab_count,
    slab_indices,
    slab_size,
)


@pytest.mark.parametrize(
    ("shape", "dtype", "indices", "size", "detector"),
    [
        ((3, 4, 8), "<f4", [(0,), (1,), (2,)], 128, (3, 5, 4, 8)),
        ((1, 4, 8), "<u8", [(0,)], 256, (1, 5, 4, 8)),
        ((4, 8), "|u1", [()], 32, (5, 4, 8)),
    ],
)
def test_slabs(
    shape: tuple[int, ...], dtype: str, indices: list[tuple[int, ...]], size: int, detector: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    array = Array("pixel_status", dtype, shape, "0" * 64)
    assert slab_indices(shape) == indices
    assert (slab_count(shape), slab_size(array)) == (len(indices), size)
    assert b"".join(slab_buffers(values)) == values.tobytes()
    assert detector_shape(shape, 5) == detector
    whole = np.zeros(detector, dtype)
    panel_of(whole, 3)[...] = values
    assert panel_of(whole, 3).tobytes() == values.tobytes()
    assert b"".join(slab_buffers(panel_of(whole, 3))) == values.tobytes()
    assert not panel_of(whole, 2).any()


def test_real_slabs_fill_huge_pages() -> None:
    assert fills_huge_pages(4 * 512 * 1024)
    assert fills_huge_pages(8 * 512 * 1024)
    assert not fills_huge_pages(512 * 1024)
