"""Check constants before they are stored: shape, dtype and every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import CalibType, calib_type
from jfstore.errors import BadValue

CalibArray = NDArray[Any]
"""Stored constants of any calibration type, little-endian."""

_FLOATS, _INTEGERS = (4, 8), (1, 2, 4, 8)
"""Sizes in bytes of the numbers that are converted."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An array that may be stored: C order, little-endian, the dtype of its type.

    ``converted_from`` is the dtype it was converted from, None if it came as it is stored.
    """

    array: CalibArray
    converted_from: str | None = None


def check_array(array: NDArray[Any], name: str, shape: tuple[int, ...], where: str | Sequence[str]) -> Checked:
    """Return `array` as it may be stored as calibration type `name`.

    Parameters
    ----------
    array : ndarray
        Any byte order and memory order. For a type of floats float32, or float64, which is rounded to it; for a type
        of integers integers or booleans, which are widened or narrowed if every value fits.
    name : str
        Calibration type.
    shape : tuple of int
        The shape that one panel's array of this type has.
    where : str or sequence of str
        What to call the array in an error; or its part of each gain range.

    Returns
    -------
    Checked
        The array, of the dtype of the type in C order, and what it was converted from.

    Raises
    ------
    BadValue
        If the shape or dtype is wrong, a value is not finite or does not fit, or a gain is zero.
    """
    meaning = calib_type(name)
    if array.shape != shape:
        raise BadValue(f"{_place(where)}: shape {array.shape} is not the shape {shape} of a panel's {name}")
    stored = _convert_integers(array, meaning, where) if meaning.is_integer else _convert_floats(array, meaning, where)
    came_as = array.dtype.newbyteorder("<").str
    return Checked(stored, None if came_as == meaning.dtype else came_as)


def can_convert(dtype: np.dtype[Any], name: str) -> bool:
    """Return whether `check_array` takes an array of this dtype as calibration type `name`."""
    if calib_type(name).is_integer:
        return dtype.kind in "iub" and dtype.itemsize in _INTEGERS
    return dtype.kind == "f" and dtype.itemsize in _FLOATS


def dtype_hint(name: str) -> str:
    """Return which dtypes `check_array` takes for a calibration type, for an error."""
    if calib_type(name).is_integer:
        return f"an integer, as {name} needs ({np.dtype(calib_type(name).dtype).name} is stored)"
    return "float32 (float64 is rounded to it)"


def describe_conversion(checked: Checked) -> str | None:
    """Return in words how the values of an array were converted; None if they were not."""
    if checked.converted_from is None:
        return None
    before, after = np.dtype(checked.converted_from), checked.array.dtype
    verb = "rounded" if after.kind == "f" else "widened" if before.itemsize < after.itemsize else "converted"
    return f"{verb} from {before.name} to {after.name}"


def _convert_floats(array: NDArray[Any], meaning: CalibType, where: str | Sequence[str]) -> CalibArray:
    _check_dtype(array, meaning, where)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        stored = np.ascontiguousarray(array, dtype=meaning.dtype)
    _refuse(~np.isfinite(stored), "not finite in float32", where, meaning.name)
    if meaning.divides:
        _refuse(stored == 0, "zero", where, meaning.name)
    return stored


def _convert_integers(array: NDArray[Any], meaning: CalibType, where: str | Sequence[str]) -> CalibArray:
    _check_dtype(array, meaning, where)
    limit = np.iinfo(meaning.dtype).max if meaning.largest is None else meaning.largest
    if array.dtype.kind == "i":
        _refuse(array < 0, "negative", where, meaning.name)
    if array.dtype.kind != "b" and np.iinfo(array.dtype).max > limit:
        _refuse(array > limit, f"larger than {limit}", where, meaning.name)
    return np.ascontiguousarray(array, dtype=meaning.dtype)


def _check_dtype(array: NDArray[Any], meaning: CalibType, where: str | Sequence[str]) -> None:
    if not can_convert(array.dtype, meaning.name):
        raise BadValue(f"{_place(where)}: dtype {array.dtype} is not {dtype_hint(meaning.name)}")


def _place(where: str | Sequence[str], gain: int = 0) -> str:
    return where if isinstance(where, str) else where[gain]


def _refuse(bad: NDArray[np.bool_], what: str, where: str | Sequence[str], name: str) -> None:
    count = int(np.count_nonzero(bad))
    if count:
        *gain, row, column = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        place = f"gain {gain[0]}, row {row}, column {column}" if gain else f"row {row}, column {column}"
        raise BadValue(
            f"{_place(where, *gain)}: {count} of {bad.size} values of {name} {'is' if count == 1 else 'are'} {what}, "
            f"the first at {place}"
        )
