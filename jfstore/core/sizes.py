"""Measure by how much constants change: for each gain range the median and the range of 95 % of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import calib_type

SAMPLE_STRIDE = 63
"""Of larger arrays, every 63rd value is enough; 63 shares no factor with the columns of a panel."""
_ALL_UP_TO = 1 << 14


@dataclass(frozen=True, slots=True)
class ChangeSize:
    """By how much the values of one calibration type and gain range change.

    Attributes
    ----------
    type : str
        Calibration type.
    gain : int
        Gain range; 0 for a type without gain ranges.
    pairs : int
        Number of pairs of arrays, before and after, that were compared.
    is_relative : bool
        Whether the numbers are fractions of the values before (gains), or differences in the unit of the type.
    median, low, high : float or None
        Median of the changes, and their 2.5 % and 97.5 % quantiles; None for integers, and for gains if all are zero.
    different : float
        Fraction of the values that change.
    """

    type: str
    gain: int
    pairs: int
    is_relative: bool
    median: float | None
    low: float | None
    high: float | None
    different: float


def take_sample(array: NDArray[Any]) -> NDArray[Any]:
    """Return the values of an array at fixed places: all of a small one, every 63rd of a large one.

    Parameters
    ----------
    array : ndarray
        Of shape (gain, row, column) or (row, column).

    Returns
    -------
    ndarray
        A copy, of shape (gain, value).
    """
    gains = array.reshape(-1, array.shape[-2] * array.shape[-1])
    return gains[:, :: SAMPLE_STRIDE if gains.shape[1] > _ALL_UP_TO else 1].copy()


def measure_changes(name: str, pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[ChangeSize, ...]:
    """Return how much the values of a calibration type change, by gain range.

    Parameters
    ----------
    name : str
        Calibration type.
    pairs : sequence of (ndarray, ndarray)
        Samples of the arrays before and after, of shape (gain, value), as `take_sample` returns them.
    """
    is_relative = calib_type(name).divides
    found = []
    for gain in range(pairs[0][0].shape[0] if pairs else 0):
        before, after = (np.concatenate([pair[side][gain] for pair in pairs]) for side in (0, 1))
        different = float(np.mean(before != after))
        median = low = high = None
        if before.dtype.kind == "f":
            low, median, high = _quantiles(before.astype(np.float64), after.astype(np.float64), is_relative)
        found.append(ChangeSize(name, gain, len(pairs), is_relative, median, low, high, different))
    return tuple(found)


def _quantiles(
    before: NDArray[np.float64], after: NDArray[np.float64], is_relative: bool
) -> list[float] | tuple[None, None, None]:
    """Return the 2.5 %, 50 % and 97.5 % quantiles of the changes; nothing is relative to a zero."""
    if is_relative:
        before, after = before[before != 0], after[before != 0]
        changes = after / before - 1
    else:
        changes = after - before
    if not changes.size:
        return None, None, None
    quantiles: list[float] = np.quantile(changes, (0.025, 0.5, 0.975)).tolist()
    return quantiles
