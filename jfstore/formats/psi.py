"""Read the gain maps of PSI: files ``gainMaps_M<number>*.bin``, nothing but values.

A file holds 3, 4 or 6 maps of one panel in little-endian float64, without a header: G0, G1, G2, then HG0 (the first
gain range of the high gain mode), then HG1 and HG2. Only its size tells how many. The sources are converters that read
such files: ``scripts/jungfrau_convert_gainmaps.py`` of paulscherrerinstitute/jungfrau_utils, and
``JFModuleGainCalibration.cpp`` of Jungfraujoch.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import Checked, check_array
from jfstore.core.hashing import digest
from jfstore.errors import BadValue
from jfstore.fs.files import open_checked, read_into, user_errors

GAIN_MAPS = (3, 4, 6)
"""How many maps a file may have."""

NORMAL = (0, 1, 2)
"""The planes of the three gain ranges."""

HIGH = {4: (3, 1, 2), 6: (3, 4, 5)}
"""By the number of maps the planes that are valid in the high gain mode; a lack is filled as PSI's converter does."""

_NAME = re.compile(r"gainMaps_M([0-9]{1,6})(?![0-9]).*\.bin", re.ASCII | re.DOTALL)
_LARGEST = 1e9
"""Gains in ADU/keV are smaller than this; pairs of float32, taken for float64, are not."""


@dataclass(frozen=True, slots=True)
class GainMaps:
    """The gains in a file of PSI.

    Attributes
    ----------
    arrays : dict of str to Checked
        ``pixel_gain``, and ``pixel_gain_hg0`` if the file has maps of the high gain mode, see `check_gains`; both
        (gain, row, column), in ADU/keV.
    maps : int
        How many maps the file has.
    size : int
        Its size in bytes.
    blake3 : str
        Its BLAKE3.
    """

    arrays: dict[str, Checked]
    maps: int
    size: int
    blake3: str


def parse_module_name(name: str) -> int | None:
    """Return the module number in the name of a file of gain maps; None if it has another name.

    Examples
    --------
    >>> parse_module_name("gainMaps_M044_2020-12-11.bin"), parse_module_name("M044.bin")
    (44, None)
    """
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def name_module(number: int) -> str:
    """Return how PSI writes a module number.

    Examples
    --------
    >>> name_module(44), name_module(1044)
    ('M044', 'M1044')
    """
    return f"M{number:03d}"


def read_gain_maps(path: Path, panel_shape: tuple[int, int, int], follow: bool = True) -> GainMaps:
    """Return the gains in a file of PSI.

    Parameters
    ----------
    path : Path
        The file.
    panel_shape : tuple of int
        (gain, row, column) of a panel; there are three gain ranges.
    follow : bool
        Whether `path` may be a symbolic link.

    Raises
    ------
    BadValue
        If it does not have the size of 3, 4 or 6 maps, or its values are not gains.
    Failed
        If it cannot be read.
    """
    require_three_ranges(panel_shape)
    rows, columns = panel_shape[1:]
    with user_errors(path), open_checked(path, follow) as fd:
        size = os.fstat(fd).st_size
        count, rest = divmod(size, rows * columns * 8)
        if rest or count not in GAIN_MAPS:
            sizes = ", ".join(str(maps * rows * columns * 8) for maps in GAIN_MAPS)
            raise BadValue(
                f"{path}: {size} bytes are not 3, 4 or 6 maps of {rows} x {columns} float64 values; expected {sizes}"
            )
        maps: NDArray[Any] = np.empty((count, rows, columns), "<f8")
        raw = maps.reshape(-1).view("u1")
        read_into(fd, raw.data, 0, str(path))
    with np.errstate(invalid="ignore"):
        if np.any(np.abs(maps) >= _LARGEST):
            raise BadValue(f"{path}: values of {_LARGEST:g} and more are not gains; they may be of another dtype")
    return GainMaps(check_gains(maps, panel_shape, str(path)), count, size, digest(raw))


def check_gains(maps: NDArray[Any], panel_shape: tuple[int, int, int], where: str) -> dict[str, Checked]:
    """Return the gains in 3, 4 or 6 maps (map, row, column), as they may be stored, by calibration type.

    If HG0 repeats G0, there are no gains of the high gain mode: PSI's converter fills their maps with copies if it has
    only three. They would be wrong by a factor of 2.5.

    Raises
    ------
    BadValue
        As `check_array`.
    """
    arrays = {"pixel_gain": maps[list(NORMAL)]}
    high = HIGH.get(len(maps))
    if high and not np.array_equal(maps[high[0]], maps[0]):
        arrays["pixel_gain_hg0"] = maps[list(high)]
    return {name: check_array(values, name, panel_shape, where) for name, values in arrays.items()}


def require_three_ranges(panel_shape: tuple[int, int, int]) -> None:
    """Raise BadValue if panels do not have three gain ranges."""
    if panel_shape[0] != len(NORMAL):
        raise BadValue(f"panels here have {panel_shape[0]} gain ranges, and files of PSI have 3")
