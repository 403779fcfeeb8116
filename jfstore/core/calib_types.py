"""Calibration types: what each array means. The names are those of psana's PSCalib list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from jfstore.errors import BadValue, nearest

DAY = 86_400_000_000_000
"""A day in nanoseconds."""


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
        The word in the file names of gain trees, ``g<range>_<word>.npy``, or ``<word>.npy`` without gain ranges.
    by_run : bool
        True if the values change from run to run, so that those of another experiment or an old run are suspicious.
    usual_age : int or None
        Age in nanoseconds from which on an answer is warned of; None if it does not matter.
    psana1 : str or None
        The dtype that psana1 reads; None if psana1 does not read the type.
    text_format : str
        Format of values in psana's text files of panels, which rounds floats.
    bits : mapping of int to str
        Meaning of the bits that are set in a value, by the value of the bit.
    largest : int or None
        Largest value that makes sense; None for all of the dtype.
    normal : str
        For a type of the high first gain range (HG0) the type of the normal one; else empty.
    """

    name: str
    dtype: str
    units: str
    long_name: str
    axes: tuple[str, ...] = ("gain", "row", "column")
    default: tuple[float, ...] = (0.0, 0.0, 0.0)
    divides: bool = False
    legacy: str = ""
    by_run: bool = False
    usual_age: int | None = None
    psana1: str | None = None
    text_format: str = "%.3f"
    bits: Mapping[int, str] = field(default_factory=dict)
    largest: int | None = None
    normal: str = ""

    @property
    def is_integer(self) -> bool:
        """Whether the values are integers."""
        return not self.dtype.startswith("<f")


_STATUS_BITS = {
    1: "noise is high",
    2: "noise is low",
    4: "saturated",
    8: "cold",
    16: "average is high",
    32: "average is low",
    64: "bad gain switch",
}
"""As psana's dark processing sets them (psana/detector/UtilsCalib.py of lcls2)."""

_WEEK = 7 * DAY

_TYPES = (
    CalibType(
        "pixel_gain",
        "<f4",
        "ADU/keV",
        "Gain of each pixel and gain range",
        default=(41.5, -1.39, -0.11),
        divides=True,
        legacy="gain",
        psana1="<f4",
    ),
    CalibType("pixel_offset", "<f4", "ADU", "Offset of each pixel and gain range", legacy="offset", psana1="<f4"),
    CalibType(
        "pedestals",
        "<f4",
        "ADU",
        "Mean dark signal of each pixel and gain range",
        legacy="pedestals",
        by_run=True,
        usual_age=_WEEK,
        psana1="<f4",
    ),
    CalibType(
        "pixel_rms",
        "<f4",
        "ADU",
        "Noise (RMS of the dark signal) of each pixel and gain range",
        default=(1.0, 1.0, 1.0),
        legacy="rms",
        by_run=True,
        usual_age=_WEEK,
        psana1="<f4",
    ),
    CalibType(
        "pixel_status",
        "<u8",
        "bits",
        "Status of each pixel and gain range, 0 is good",
        legacy="status",
        by_run=True,
        usual_age=_WEEK,
        psana1="<u2",
        text_format="%d",
        bits=_STATUS_BITS,
    ),
    CalibType(
        "status_extra",
        "<u8",
        "bits",
        "Further status of each pixel and gain range, set by users, 0 is good",
        legacy="status_extra",
        psana1="<u8",
        text_format="%d",
    ),
    CalibType(
        "pixel_max",
        "<u8",
        "ADU",
        "Largest dark signal of each pixel and gain range",
        legacy="max",
        by_run=True,
        usual_age=_WEEK,
        text_format="%d",
    ),
    CalibType(
        "pixel_min",
        "<u8",
        "ADU",
        "Smallest dark signal of each pixel and gain range",
        legacy="min",
        by_run=True,
        usual_age=_WEEK,
        text_format="%d",
    ),
    CalibType(
        "pixel_mask",
        "|u1",
        "1",
        "Mask of pixels, 1 is good and 0 is bad",
        axes=("row", "column"),
        default=(1.0,),
        legacy="mask",
        psana1="|u1",
        text_format="%d",
        largest=1,
    ),
)
_OF_HIGH_G0 = ("pixel_gain", "pixel_offset", "pedestals", "pixel_rms", "pixel_status")
_SUFFIX = "_hg0"


def _of_high_g0(calib_type: CalibType) -> CalibType:
    return replace(
        calib_type,
        name=calib_type.name + _SUFFIX,
        long_name=f"{calib_type.long_name}, first gain range high",
        legacy=calib_type.legacy + _SUFFIX,
        psana1=None,
        normal=calib_type.name,
    )


CALIB_TYPES: dict[str, CalibType] = {
    calib_type.name: calib_type
    for calib_type in (*_TYPES, *(_of_high_g0(one) for one in _TYPES if one.name in _OF_HIGH_G0))
}
"""Every calibration type that can be stored, by name."""

PAIRS = (("pixel_gain", "pixel_offset"), ("pixel_gain_hg0", "pixel_offset_hg0"))
"""Types that belong together: a version of one without the other, or an answer from two versions, is worth a note."""

NOT_OF_PANELS: Mapping[str, str] = {
    "geometry": "it says where the panels of a detector are, and is not of a panel",
    "common_mode": "it is a parameter of a detector's common mode correction, and is not of a panel",
}
"""Types of psana that a store of panels does not have, and the reasons."""


def calib_type(name: str) -> CalibType:
    """Return the calibration type called `name`; BadValue with the nearest names if there is none."""
    try:
        return CALIB_TYPES[name]
    except KeyError:
        pass
    if name in NOT_OF_PANELS:
        raise BadValue(f"{name!r} is not stored: {NOT_OF_PANELS[name]}", list(CALIB_TYPES))
    if name[:1].isdigit():
        raise BadValue(f"{name!r} is not a calibration type (-t); a time is given with -T {name}")
    near = nearest(name, CALIB_TYPES) or list(CALIB_TYPES)
    raise BadValue(f"{name!r} is not a calibration type", near)


def panel_shape_of(name: str, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the shape of one panel's array of a calibration type.

    Parameters
    ----------
    name : str
        Calibration type.
    shape : tuple of int
        (gain, row, column) of the panels of a repository.

    Examples
    --------
    >>> panel_shape_of("pixel_mask", (3, 512, 1024))
    (512, 1024)
    """
    return shape if "gain" in calib_type(name).axes else shape[1:]


def high_g0_type(name: str) -> str | None:
    """Return the type that stands for `name` in runs whose first gain range is the high one; None if it is the same."""
    found = name + _SUFFIX
    return found if found in CALIB_TYPES else None


def type_for_run(name: str, has_high_g0: bool | None) -> str:
    """Return the type that a run needs in place of `name`, which may be one of the high first gain range or not.

    Examples
    --------
    >>> type_for_run("pixel_gain", True), type_for_run("pixel_gain_hg0", False), type_for_run("pixel_mask", True)
    ('pixel_gain_hg0', 'pixel_gain', 'pixel_mask')
    """
    normal = calib_type(name).normal or name
    return (high_g0_type(normal) or normal) if has_high_g0 else normal


def psana1_dtype(name: str) -> str | None:
    """Return the dtype in which psana1 reads a type, also one of the high first gain range; None if it does not."""
    meaning = calib_type(name)
    return CALIB_TYPES[meaning.normal or name].psana1


def order_types(names: set[str]) -> tuple[str, ...]:
    """Return calibration types in the order of the table."""
    return tuple(name for name in CALIB_TYPES if name in names)
