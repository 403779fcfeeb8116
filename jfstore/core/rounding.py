"""Recognise to which format values were rounded, and whether they are the rounded values of an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

NEARLY_ALL = 0.9
MOST_DECIMALS = 6
_MOST_DIGITS = 7
_SAMPLE = 10_000
_STEP = 1e-9
"""How far from a whole number of steps a float64 may be, relative to their number."""


def find_rounded(values: Values, decimals: int) -> NDArray[np.bool_]:
    """Return which of `values`, read from a text, have at most so many decimals."""
    steps = values * 10**decimals
    rounded: NDArray[np.bool_] = np.abs(steps - np.rint(steps)) <= _STEP * np.abs(steps) + _STEP
    return rounded


def find_format(array: NDArray[Any]) -> str | None:
    """Return the format to which nearly all values of an array were rounded; None if they were not.

    Parameters
    ----------
    array : ndarray
        float64, or float32 of values that were rounded before they were converted; of at least one dimension.

    Returns
    -------
    str or None
        ``%.Nf`` with N of at most 6, or ``%.Ne`` with N of at most 6. Values that are all whole numbers have ``%.0f``.
    """
    sample = _sample(array)
    # A float32 is half a unit of its last place away from the decimal number that it was made from.
    slack = 2.0**-23 if array.dtype.itemsize == 4 else _STEP
    found = []
    for decimals in range(MOST_DECIMALS + 1):
        if _are_nearly_all_whole(sample * 10.0**decimals, slack):
            found.append(f"%.{decimals}f")
            break
    size = np.abs(sample[sample != 0])
    places = np.floor(np.log10(size))
    for digits in range(1, _MOST_DIGITS + 1):
        if _are_nearly_all_whole(size * 10.0 ** (digits - 1 - places), slack):
            found.append(f"%.{digits - 1}e")
            break
    # Values with few digits have few decimals, too, and the other way round: the format with the larger steps did it.
    return max(found, key=lambda fmt: float(np.mean(find_step(fmt, sample))), default=None)


def _sample(array: NDArray[Any]) -> Values:
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)].astype(np.float64)
    return sample[np.isfinite(sample)]


def _are_nearly_all_whole(steps: Values, slack: float) -> bool:
    # Where the precision of the dtype is coarser than a step, a value says nothing.
    margin = slack * np.abs(steps) + _STEP
    is_whole = (np.abs(steps - np.rint(steps)) <= margin) & (margin < 0.1)
    return bool(np.count_nonzero(is_whole) >= NEARLY_ALL * max(steps.size, 1))


def find_step(fmt: str | None, values: Values) -> Values | float:
    """Return the distance between neighbouring values of a format, for each of `values`; 0 without a format."""
    if fmt is None:
        return 0.0
    digits = int(fmt[2:-1])
    if fmt.endswith("f"):
        return float(10.0**-digits)
    with np.errstate(divide="ignore"):
        places = np.floor(np.log10(np.abs(values)))
    return np.where(values == 0, 0.0, 10.0 ** (np.where(values == 0, 0.0, places) - digits))
