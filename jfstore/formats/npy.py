"""Read ``.npy`` files of unknown origin: no pickles, no array larger than the file, no bytes after it."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import can_convert, dtype_hint
from jfstore.errors import BadValue
from jfstore.fs.files import open_checked, read_into, user_errors

_HEADER_LIMIT = 1 << 14
_MAGIC = b"\x93NUMPY"


def read_npy(
    path: Path, shapes: Collection[tuple[int, ...]] | None, follow: bool = True, name: str = "pixel_gain"
) -> NDArray[Any]:
    """Read the array of an ``.npy`` file.

    Parameters
    ----------
    path : Path
        The file.
    shapes : collection of tuple of int, or None
        The acceptable shapes, which are checked before any data are read. The array is then one that `check_array`
        converts, of either byte order and memory order. None accepts integers and floats of every shape.
    follow : bool
        Whether `path` may be a symbolic link.
    name : str
        Calibration type of the array, if `shapes` are given.

    Raises
    ------
    BadValue
        If the file is missing, is not a plain array of numbers, has another shape, or another length than its
        header says.
    Failed
        If the file cannot be read.
    """
    with user_errors(path), open_checked(path, follow) as fd:
        size = os.fstat(fd).st_size
        head = io.BytesIO(os.pread(fd, _HEADER_LIMIT, 0))
        shape, is_fortran, dtype = _parse_header(head, path)
        if shapes is None and (dtype.kind not in "iuf" or not 0 < dtype.itemsize <= 8):
            raise BadValue(f"{path}: dtype {dtype} is not one of real numbers")
        if shapes is not None and not can_convert(dtype, name):
            raise BadValue(f"{path}: dtype {dtype} is not {dtype_hint(name)}")
        if shapes is not None and shape not in shapes:
            raise BadValue(f"{path}: shape {shape}, expected {' or '.join(map(str, shapes))}")
        promised = head.tell() + math.prod(shape) * dtype.itemsize
        if size != promised:
            raise BadValue(f"{path}: {size} bytes, but its header promises {promised}")
        data = np.empty(math.prod(shape), dtype)
        read_into(fd, data.view("u1").data, head.tell(), str(path))
    return data.reshape(shape[::-1]).T if is_fortran else data.reshape(shape)


def read_npy_shape(path: Path, follow: bool = True) -> tuple[int, ...]:
    """Return the shape in the header of an ``.npy`` file."""
    with user_errors(path), open_checked(path, follow) as fd:
        return _parse_header(io.BytesIO(os.pread(fd, _HEADER_LIMIT, 0)), path)[0]


def _parse_header(head: io.BytesIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if not head.getvalue().startswith(_MAGIC):
        raise BadValue(f"{path}: not an .npy file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(head)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(head)
            if version == (2, 0):
                return np.lib.format.read_array_header_2_0(head)
    # numpy parses the header as Python text, and raises whatever that raises.
    except Exception:  # noqa: BLE001 - see above
        raise BadValue(f"{path}: the header of the .npy file is damaged") from None
    raise BadValue(f"{path}: .npy format {version[0]}.{version[1]} is not one of plain arrays")
