"""Check constants before they are stored: shape, dtype and every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import calib_type
from jfstore.errors import BadValue

CalibArray = NDArray[Any]
"""Stored constants of any calibration type, little-endian."""

Float32 = NDArray[np.float32]
"""Stored constants of a calibration type whose dtype is float32."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An array that may be stored: C order, little-endian, the dtype of its type.

    ``converted_from`` is the dtype it was rounded from, None if it came as it is stored.
    """

    array: NDArray[np.float32]
    converted_from: str | None = None


def check_array(array: NDArray[Any], name: str, shape: tuple[int, ...], where: str | Sequence[str]) -> Checked:
    """Return `array` as it may be stored as calibration type `name`.

    Parameters
    ----------
    array : ndarray
        Any byte order and memory order; float64 is rounded to float32.
    name : str
        Calibration type.
    shape : tuple of int
        The shape that one panel's array has.
    where : str or sequence of str
        What to call the array in an error; or its part of each gain range.

    Returns
    -------
    Checked
        The array, float32 in C order, and what it was rounded from.

    Raises
    ------
    BadValue
        If the shape or dtype is wrong, a value is not finite, or a gain is zero.
    """
    meaning = calib_type(name)
    if array.shape != shape:
        raise BadValue(f"{_place(where)}: shape {array.shape} is not the shape {shape} of a panel's {name}")
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise BadValue(f"{_place(where)}: dtype {array.dtype} is not float32 (float64 is rounded to it)")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        stored = np.ascontiguousarray(array, dtype=meaning.dtype)
    _refuse(~np.isfinite(stored), "not finite in float32", where, name)
    if meaning.divides:
        _refuse(stored == 0, "zero", where, name)
    return Checked(stored, array.dtype.newbyteorder("<").str if array.dtype.itemsize == 8 else None)


def _place(where: str | Sequence[str], gain: int = 0) -> str:
    return where if isinstance(where, str) else where[gain]


def _refuse(bad: NDArray[np.bool_], what: str, where: str | Sequence[str], name: str) -> None:
    count = int(np.count_nonzero(bad))
    if count:
        gain, row, column = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise BadValue(
            f"{_place(where, gain)}: {count} of {bad.size} values of {name} {'is' if count == 1 else 'are'} {what}, "
            f"the first at gain {gain}, row {row}, column {column}"
        )
