"""Sketch an array in a kilobyte, by quantiles and block means, to compare versions without reading their arrays."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_BLOCKS = (8, 16)
_STRIDE = 63
"""Of larger arrays, every 63rd value is enough for quantiles; 63 shares no factor with the columns of a panel."""
_ALL_UP_TO = 1 << 14
_STEPS = 65535


@dataclass(frozen=True, slots=True)
class Sketch:
    """Quantiles and block means of an array.

    Attributes
    ----------
    quantiles : tuple of tuple of float
        For each gain range the `QUANTILES` of its values in C order, of more than 16,384 values of every 63rd; the
        first and the last are the smallest and the largest of all.
    blocks : tuple of int
        Number of blocks over the rows and over the columns.
    ranges : tuple of tuple of float
        For each gain range the smallest and the largest block mean.
    means : bytes
        Block means, little-endian uint16 of shape (gain, row of blocks, column of blocks), 0 to 65535 over the range.
        Of integers the mean is the fraction of values that are not 0.
    """

    quantiles: tuple[tuple[float, ...], ...]
    blocks: tuple[int, int]
    ranges: tuple[tuple[float, float], ...]
    means: bytes

    def block_means(self) -> NDArray[np.float64]:
        """Return the block means, float64 of shape (gain, row of blocks, column of blocks)."""
        steps = np.frombuffer(self.means, "<u2").reshape(len(self.ranges), *self.blocks)
        low, high = np.array(self.ranges).T[:, :, None, None]
        means: NDArray[np.float64] = low + steps / _STEPS * (high - low)
        return means


def make_sketch(array: NDArray[Any]) -> Sketch:
    """Return the sketch of an array of shape (gain, row, column) or (row, column), of finite values."""
    gains = array.reshape(-1, *array.shape[-2:])
    quantiles, ranges, means = [], [], []
    found = find_block_means(array)
    for gain, blocks in zip(gains, found, strict=True):
        sample = np.sort(gain.reshape(-1)[:: _STRIDE if gain.size > _ALL_UP_TO else 1])
        inner = sample[[round(quantile * (sample.size - 1)) for quantile in QUANTILES[1:-1]]].tolist()
        quantiles.append(tuple(map(_short, (gain.min(), *inner, gain.max()))))
        low, high = _short(blocks.min()), _short(blocks.max())
        ranges.append((low, high))
        scale = _STEPS / (high - low) if high > low else 0.0
        means.append(np.clip(np.rint((blocks - low) * scale), 0, _STEPS).astype("<u2"))
    return Sketch(tuple(quantiles), (found.shape[1], found.shape[2]), tuple(ranges), np.array(means, "<u2").tobytes())


def find_block_means(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return the block means of an array as its sketch has them, but exactly.

    Parameters
    ----------
    array : ndarray
        Shape (gain, row, column) or (row, column), of finite values; of integers the fraction that is not 0 counts.

    Returns
    -------
    ndarray
        float64 of shape (gain, row of blocks, column of blocks).
    """
    gains = array.reshape(-1, *array.shape[-2:])
    rows, columns = (math.gcd(size, most) for size, most in zip(gains.shape[1:], _BLOCKS, strict=True))
    found = np.empty((len(gains), rows, columns), np.float64)
    for gain, blocks in zip(gains, found, strict=True):
        values = gain if gain.dtype.kind == "f" else (gain != 0).astype(np.float32)
        parts = values.reshape(rows, gain.shape[0] // rows, columns, -1)
        with np.errstate(over="ignore"):
            blocks[:] = parts.mean(axis=(1, 3))
        if not np.all(np.isfinite(blocks)):
            blocks[:] = parts.mean(axis=(1, 3), dtype=np.float64)
    return found


def _short(value: Any) -> float:
    """Return a number with six digits, which is plenty and short."""
    return float(f"{float(value):.6g}")


def encode_sketch(sketch: Sketch) -> dict[str, Any]:
    """Return a sketch as JSON has it."""
    return {
        "quantiles": [list(row) for row in sketch.quantiles],
        "blocks": list(sketch.blocks),
        "ranges": [list(row) for row in sketch.ranges],
        "means": base64.b64encode(sketch.means).decode(),
    }


def decode_sketch(body: Any) -> Sketch:
    """Return the sketch that JSON has; ValueError or TypeError if it is none."""
    rows, columns = body["blocks"]
    ranges = tuple((float(low), float(high)) for low, high in body["ranges"])
    quantiles = tuple(tuple(map(float, row)) for row in body["quantiles"])
    means = base64.b64decode(body["means"], validate=True)
    fits = len(means) == 2 * len(ranges) * rows * columns and len(quantiles) == len(ranges)
    if not fits or any(len(row) != len(QUANTILES) for row in quantiles):
        raise ValueError("a sketch does not fit together")
    return Sketch(quantiles, (rows, columns), ranges, means)


@dataclass(frozen=True, slots=True)
class BlockMeans:
    """The block means of a sketch as they are stored.

    Attributes
    ----------
    shape : tuple of int
        (gain, row of blocks, column of blocks).
    ranges : tuple of tuple of float
        For each gain range the smallest and the largest block mean.
    means : bytes
        As of `Sketch`.
    """

    shape: tuple[int, int, int]
    ranges: tuple[tuple[float, float], ...]
    means: bytes


def decode_means(body: Any) -> BlockMeans:
    """Return the block means of a sketch that JSON has; ValueError, TypeError or KeyError if it is none."""
    rows, columns = body["blocks"]
    ranges = tuple((low, high) for low, high in body["ranges"])
    means = binascii.a2b_base64(body["means"])
    if not rows * columns or len(means) != 2 * len(ranges) * rows * columns:
        raise ValueError("a sketch does not fit together")
    return BlockMeans((len(ranges), rows, columns), ranges, means)


def stack_means(found: Sequence[BlockMeans]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the block means of sketches of the same shape, and how exact they are.

    Returns
    -------
    means, steps : ndarray
        float64 of shape (sketch, gain, row of blocks, column of blocks), and the distance between neighbouring values
        that a mean may have, of shape (sketch, gain).
    """
    steps = np.frombuffer(b"".join(one.means for one in found), "<u2").reshape(len(found), *found[0].shape)
    ranges = np.array([one.ranges for one in found], np.float64)
    low, width = ranges[..., 0], (ranges[..., 1] - ranges[..., 0]) / _STEPS
    return low[:, :, None, None] + steps * width[:, :, None, None], width
