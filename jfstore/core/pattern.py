"""Extract the fixed pattern of a panel from a sample of its pixels, by which panels are told apart.

No two panels have the same pixels: gains differ by some per cent from pixel to pixel, and the differences last. What
panels or ASICs can have in common, such as levels, slopes and rows, is taken out first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.sketch import Sketch

ASIC = 256
"""Rows and columns of an ASIC."""

LEAST_PIXELS = 1 << 16
"""Panels with fewer pixels in a gain range are not compared: too few pixels are sampled in them."""

_PIXELS = 8192
"""Sampled pixels of a gain range. Patterns of different panels correlate by chance with a deviation of 0.011, those of
single ASICs, an eighth, with 0.031."""
_SAMPLED_ROWS = 16
_FEW = 4
"""A quick look takes every fourth of the sampled rows: the deviation of chance is 0.022."""
_BLOCKS = (8, 16)
_OUTLIER, _CLIP = 8.0, 4.0
"""Dead and hot pixels are clipped, first at 8 quartile distances, then at 4 robust deviations of the pattern."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Pixels that are sampled: the same in every ASIC, ASIC after ASIC.

    Attributes
    ----------
    rows, columns : ndarray of int
        Place of each sampled pixel.
    across : int
        Number of sampled pixels in a row of an ASIC; those of a row follow each other.
    blocks : ndarray of int
        Number of the block in which each pixel lies, of 8 x 16 over the panel.
    asics : tuple of int
        Number of ASICs over the rows and the columns; (1, 1) if the panel does not consist of whole ASICs.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    across: int
    blocks: NDArray[np.intp]
    asics: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Sample of one array, and the pattern in it.

    Attributes
    ----------
    values : ndarray
        The sampled values, float32 of shape (gain, pixel).
    units : ndarray
        What differs from pixel to pixel within a block, float32 of shape (gain, pixel), each range of length 1; zeros
        if a range has no pattern.
    spreads : tuple of float
        Robust deviation of the pattern of each range.
    asics : tuple of int
        Number of ASICs over the rows and the columns.
    """

    values: Floats
    units: Floats
    spreads: tuple[float, ...]
    asics: tuple[int, int]


def has_pattern(shape: tuple[int, ...]) -> bool:
    """Return whether arrays of this shape, (gain, row, column), are large enough to have a pattern."""
    return len(shape) == 3 and shape[1] * shape[2] >= LEAST_PIXELS


@lru_cache(maxsize=8)
def make_grid(rows: int, columns: int, few: bool = False) -> Grid:
    """Return the grid for a panel of `rows` and `columns`; with `few` every fourth of its rows."""
    is_whole = rows % ASIC == 0 and columns % ASIC == 0
    asics = (rows // ASIC, columns // ASIC) if is_whole else (1, 1)
    height, width = rows // asics[0], columns // asics[1]
    down = min(height, _SAMPLED_ROWS if is_whole else 2 * _SAMPLED_ROWS)
    across = min(width, max(_PIXELS // (asics[0] * asics[1] * down), 1))
    i, j = np.mgrid[: down : _FEW if few else 1, :across]
    # Each row has columns of its own, so that together they are many.
    row = i * height // down + 5 * i % max(height // down, 1)
    column = j * width // across + (3 * i + j) % max(width // across, 1)
    corners = np.indices(asics).reshape(2, -1).T * (height, width)
    all_rows = (corners[:, :1] + row.reshape(1, -1)).reshape(-1)
    all_columns = (corners[:, 1:] + column.reshape(1, -1)).reshape(-1)
    blocks = all_rows * _BLOCKS[0] // rows * _BLOCKS[1] + all_columns * _BLOCKS[1] // columns
    return Grid(all_rows, all_columns, across, blocks, asics)


def make_pattern(array: NDArray[Any], few: bool = False) -> Pattern:
    """Return the pattern of an array of shape (gain, row, column), which may be any view; with `few` for a quick look.

    Patterns can be compared if both are for a quick look, or neither.
    """
    grid = make_grid(*array.shape[1:], few)
    values = array[:, grid.rows, grid.columns].astype(np.float32, copy=False)
    units, spreads = np.zeros_like(values), []
    counts = np.maximum(np.bincount(grid.blocks), 1)
    for number, row in enumerate(values):
        spread, pattern = _take_out_levels(row, grid, counts)
        spreads.append(spread)
        length = float(np.sqrt(np.dot(pattern, pattern)))
        if spread > 0 and length > 0:
            units[number] = pattern / length
    return Pattern(values, units, tuple(spreads), grid.asics)


def _take_out_levels(values: Floats, grid: Grid, counts: NDArray[np.intp]) -> tuple[float, Floats]:
    """Return the robust deviation of values from the means of their row and block, and these deviations, clipped."""
    low, middle, high = _quartiles(values)
    room = _OUTLIER * (high - low)
    clipped = np.clip(values, middle - room, middle + room)
    rows = clipped.reshape(-1, grid.across)
    clipped = (rows - rows.mean(axis=1, keepdims=True)).reshape(-1)
    means = np.bincount(grid.blocks, clipped, len(counts)) / counts
    pattern = clipped - means.astype(np.float32)[grid.blocks]
    spread = _quartiles(np.abs(pattern))[1] / 0.6745
    pattern = np.clip(pattern, -_CLIP * spread, _CLIP * spread)
    return spread, pattern - pattern.mean()


def _quartiles(values: Floats) -> tuple[float, float, float]:
    places = [len(values) // 4, len(values) // 2, len(values) * 3 // 4]
    low, middle, high = np.partition(values, places)[places].tolist()
    return low, middle, high


def correlate(one: Pattern, other: Pattern) -> NDArray[np.float32]:
    """Return the correlation of every range of `one` with every range of `other`, 0 for ranges without a pattern."""
    table: NDArray[np.float32] = one.units @ other.units.T
    return table


def correlate_asics(one: Pattern, other: Pattern) -> NDArray[np.float32]:
    """Return the correlation of every ASIC of `one` with every ASIC of `other`, the best of their ranges."""
    count = one.asics[0] * one.asics[1]
    parts = []
    for pattern in (one, other):
        units = pattern.units.reshape(len(pattern.units), count, -1)
        lengths = np.sqrt((units * units).sum(axis=2, keepdims=True))
        parts.append(np.divide(units, lengths, out=np.zeros_like(units), where=lengths > 0))
    table: NDArray[np.float32] = (parts[0] @ parts[1].transpose(0, 2, 1)).max(axis=0)
    return table


def compare_blocks(one: Sketch, other: Sketch) -> float:
    """Return how alike the block means of two sketches are, 1 if they differ by level and scale only.

    It is the best correlation of their ranges, of the means themselves or of their differences within the ASICs.
    """
    if one.blocks != other.blocks or len(one.ranges) != len(other.ranges):
        return 0.0
    best = 0.0
    for mine, others in zip(_block_units(one), _block_units(other), strict=True):
        best = max(best, *(float(np.dot(a, b)) for a, b in zip(mine, others, strict=True)))
    return best


def rank_alike(sketch: Sketch, others: Mapping[str, Sketch], count: int) -> list[str]:
    """Return the names of up to `count` of `others` whose block means are most like those of `sketch`, best first."""
    alike = {name: compare_blocks(sketch, other) for name, other in others.items()}
    return sorted(alike, key=lambda name: alike[name], reverse=True)[:count]


def _block_units(sketch: Sketch) -> list[list[NDArray[np.float64]]]:
    """Return for each range the block means, and their differences within ASICs, each as a vector of length 1."""
    found = []
    for means in sketch.block_means():
        vectors = [means]
        if sketch.blocks == _BLOCKS:
            parts = means.reshape(2, 4, 4, 4)
            vectors.append((parts - np.median(parts, axis=(1, 3), keepdims=True)).reshape(means.shape))
        found.append([_as_unit(vector.reshape(-1)) for vector in vectors])
    return found


def _as_unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = float(np.median(vector))
    spread = float(np.median(np.abs(vector - middle))) / 0.6745
    if not spread > 0:
        return np.zeros_like(vector)
    clipped = np.clip((vector - middle) / spread, -_CLIP, _CLIP)
    clipped -= clipped.mean()
    unit: NDArray[np.float64] = clipped / np.sqrt(np.dot(clipped, clipped))
    return unit
