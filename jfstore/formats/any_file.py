"""Read the arrays of a file of unknown origin: npy, psana's text, HDF5, or the plain values of PSI's gain maps."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.errors import BadValue
from jfstore.formats.hdf5_arrays import SIGNATURE, read_hdf5
from jfstore.formats.npy import read_npy
from jfstore.formats.text import parse_text
from jfstore.fs.files import open_checked, read_into, read_regular, user_errors

_NPY = b"\x93NUMPY"
_TEXT_LIMIT = 2 << 30
_MAPS = (3, 4, 6)
"""PSI delivers the maps of the three gain ranges, and after them one or three of the high gain."""
_LARGEST = 1e9
"""Constants are smaller than this; pairs of float32, taken for float64, are not."""
_VERSION_LINE = re.compile(rb"^# VERSION +([^ /]+)/", re.MULTILINE)
_HEADER = 1 << 16
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class FileArray:
    """An array of a file.

    Attributes
    ----------
    name : str
        Path of the dataset in the file; empty if the file is one array.
    values : ndarray
        Integers or floats, as the file has them; float64 if it is a text.
    panels : tuple of str
        The panel Ids that the file names, in order; empty if it names none.
    """

    name: str
    values: NDArray[Any]
    panels: tuple[str, ...] = ()


def read_any(path: Path, panel_shape: tuple[int, int, int]) -> list[FileArray]:
    """Return the arrays of a file; the first bytes tell what it is, not its name.

    Parameters
    ----------
    path : Path
        The file.
    panel_shape : tuple of int
        (gain, row, column) of a panel.

    Raises
    ------
    BadValue
        If it is not a file of arrays.
    Failed
        If it cannot be read.
    """
    with user_errors(path), open_checked(path, follow=True) as fd:
        head = os.pread(fd, 4096, 0)
        size = os.fstat(fd).st_size
    if head.startswith(_NPY):
        return [FileArray("", read_npy(path, None))]
    if head.startswith(SIGNATURE):
        arrays, panels = read_hdf5(path, panel_shape[2])
        if not arrays:
            raise BadValue(f"{path}: no dataset has {panel_shape[2]} columns, as those of a panel have")
        return [FileArray(name, values, panels) for name, values in arrays]
    if _BINARY.search(head):
        return [FileArray("", _read_maps(path, size, panel_shape))]
    with user_errors(path):
        raw = read_regular(path, _TEXT_LIMIT, follow=True)
    named = tuple(match.decode("ascii", "replace") for match in _VERSION_LINE.findall(raw[:_HEADER]))
    return [FileArray("", parse_text(raw, str(path)).values, named)]


def is_text(path: Path) -> bool:
    """Return whether a file that the user named is to be read as text: by its first bytes, and no text ends in .npy."""
    if path.suffix.lower() == ".npy":
        return False
    with user_errors(path), open_checked(path, follow=True) as fd:
        head = os.pread(fd, 4096, 0)
    return not (head.startswith((_NPY, SIGNATURE)) or _BINARY.search(head))


def _read_maps(path: Path, size: int, panel_shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return the maps of a file that is nothing but their values, little-endian float64 or float32."""
    rows, columns = panel_shape[1:]
    fits = {dtype: size // (rows * columns * int(dtype[-1])) for dtype in ("<f8", "<f4")}
    fits = {
        dtype: count
        for dtype, count in fits.items()
        if count in _MAPS and count * rows * columns * int(dtype[-1]) == size
    }
    for dtype, count in fits.items():
        maps: NDArray[Any] = np.empty((count, rows, columns), dtype)
        with user_errors(path), open_checked(path, follow=True) as fd:
            read_into(fd, maps.reshape(-1).view("u1").data, 0, str(path))
        with np.errstate(invalid="ignore"):
            if np.all(np.abs(maps) < _LARGEST):
                return maps
    if fits:
        raise BadValue(f"{path}: its values are not constants of a panel")
    wanted = f"3, 4 or 6 maps of {rows} x {columns} values"
    raise BadValue(f"{path}: its {size} bytes are neither an .npy, HDF5 or text file, nor {wanted}")
