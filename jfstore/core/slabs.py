"""Divide arrays into slabs: the rows and columns of one gain range, which lie together wherever an array is stored.

The last two axes of an array are row and column. An array with a gain axis before them has a slab for each gain
range, an array without one is a single slab. A detector's array has the panels before the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.ids import count_places
from jfstore.core.records import DTYPES, Array

_ALL_BITS = ("pixel_status", "pixel_status_hg0")

HUGE_PAGE = 2 << 20
"""Size of a huge page in bytes. The processor maps one in a single step if both file offset and address are aligned."""


def slab_count(shape: Sequence[int]) -> int:
    """Return the number of slabs of an array with this shape."""
    return math.prod(shape[:-2])


def slab_size(array: Array) -> int:
    """Return the size of each slab of a stored array in bytes."""
    return DTYPES[array.dtype] * math.prod(array.shape[-2:])


def slab_indices(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the index of each slab in an array of this shape, in the order in which the slabs are stored."""
    return list(np.ndindex(*shape[:-2]))


def slab_buffers(array: NDArray[Any]) -> list[memoryview]:
    """Return the bytes of each slab of `array`, without copying; rows and columns must be contiguous."""
    return [array[index].reshape(-1).view(np.uint8).data for index in slab_indices(array.shape)]


def detector_shape(shape: Sequence[int], panels: int) -> tuple[int, ...]:
    """Return the shape of a detector's array, from the number of panels and the shape of a panel's array."""
    return (*shape[:-2], panels, *shape[-2:])


def panel_of(array: NDArray[Any], number: int) -> NDArray[Any]:
    """Return the view of one panel in the array of a detector."""
    panel: NDArray[Any] = array[..., number, :, :]
    return panel


def fills_huge_pages(size: int) -> bool:
    """Return whether slabs of `size` bytes are a whole number of huge pages."""
    return size % HUGE_PAGE == 0


def spread_segments(array: NDArray[Any], name: str, segments: Sequence[int]) -> NDArray[Any]:
    """Return the array of a detector with a place for every segment; see `Answer.full_array`.

    Parameters
    ----------
    array : ndarray
        With a panel for each of `segments`, in their order.
    name : str
        Calibration type.
    segments : sequence of int
        Segment number of each panel.
    """
    places = count_places(segments)
    if places == len(segments):
        return array
    fill = np.iinfo(array.dtype).max if name in _ALL_BITS else 0
    full = np.full(detector_shape((*array.shape[:-3], *array.shape[-2:]), places), fill, array.dtype)
    full[..., list(segments), :, :] = array
    return full
