"""Calibration types: what each array means. The names are those of psana's PSCalib list."""

from __future__ import annotations

from dataclasses import dataclass

from jfstore.errors import BadValue, nearest


@dataclass(frozen=True, slots=True)
class CalibType:
    """One calibration type.

    Attributes
    ----------
    name : str
        Name in psana's list of types, such as ``pixel_gain``.
    dtype : str
        Stored numpy dtype, little-endian.
    units : str
        Unit of the values.
    long_name : str
        What the values are, for plots.
    axes : tuple of str
        Meaning of the axes of one panel's array.
    default : tuple of float
        Value per gain range that stands for "no calibration".
    divides : bool
        True if analysis divides by the values, so that a zero is refused.
    legacy : str
        The word in the legacy file names ``g<range>_<word>.npy``.
    """

    name: str
    dtype: str
    units: str
    long_name: str
    axes: tuple[str, ...]
    default: tuple[float, ...]
    divides: bool
    legacy: str


_AXES = ("gain", "row", "column")

CALIB_TYPES: dict[str, CalibType] = {
    calib_type.name: calib_type
    for calib_type in (
        CalibType(
            "pixel_gain",
            "<f4",
            "ADU/keV",
            "Gain of each pixel and gain range",
            _AXES,
            (41.5, -1.39, -0.11),
            True,
            "gain",
        ),
        CalibType(
            "pixel_offset", "<f4", "ADU", "Offset of each pixel and gain range", _AXES, (0.0, 0.0, 0.0), False, "offset"
        ),
    )
}
"""Every calibration type that can be stored, by name."""


def calib_type(name: str) -> CalibType:
    """Return the calibration type called `name`; BadValue with the nearest names if there is none."""
    try:
        return CALIB_TYPES[name]
    except KeyError:
        pass
    if name[:1].isdigit():
        raise BadValue(f"{name!r} is not a calibration type (-t); a time is given with -T {name}")
    near = nearest(name, CALIB_TYPES) or list(CALIB_TYPES)
    raise BadValue(f"{name!r} is not a calibration type", near)
