"""Reading ``.npy`` files that may be anything: no pickles, no surprise in size, no silent tail."""

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

from jfstore.errors import BadValue
from jfstore.fs.files import given, opened, read_into

_HEADER_LIMIT = 1 << 14


def read_npy(path: Path, shapes: Collection[tuple[int, ...]], follow: bool = True) -> NDArray[Any]:
    """Return the array of an ``.npy`` file.

    Parameters
    ----------
    path : Path
        The file.
    shapes : collection of tuple of int
        The shapes that are acceptable; checked before any data are read.
    follow : bool
        Whether `path` may be a symbolic link.

    Returns
    -------
    ndarray
        float32 or float64, of either byte order and memory order.

    Raises
    ------
    BadValue
        If the file is missing, is no plain array of real numbers, has another shape, or is not
        exactly as long as its header promises.
    Failed
        If the file cannot be read.
    """
    with given(path), opened(path, follow) as fd:
        return _read(fd, path, shapes)


def read_any_npy(path: Path) -> NDArray[Any]:
    """Return the array of an ``.npy`` file of integers or floats, of whatever shape; errors as of `read_npy`."""
    with given(path), opened(path, follow=True) as fd:
        return _read(fd, path, None)


def npy_shape(path: Path, follow: bool = True) -> tuple[int, ...]:
    """Return the shape that the header of an ``.npy`` file says; errors as of `read_npy`."""
    with given(path), opened(path, follow) as fd:
        return _header(io.BytesIO(os.pread(fd, _HEADER_LIMIT, 0)), path)[0]


def _read(fd: int, path: Path, shapes: Collection[tuple[int, ...]] | None) -> NDArray[Any]:
    size = os.fstat(fd).st_size
    head = io.BytesIO(os.pread(fd, _HEADER_LIMIT, 0))
    shape, fortran, dtype = _header(head, path)
    if shapes is None and (dtype.kind not in "iuf" or not 0 < dtype.itemsize <= 8):
        raise BadValue(f"{path}: dtype {dtype} is not one of real numbers")
    if shapes is not None and (dtype.kind != "f" or dtype.itemsize not in (4, 8)):
        raise BadValue(f"{path}: dtype {dtype} is not float32 (float64 is rounded to it)")
    if shapes is not None and shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise BadValue(f"{path}: shape {shape}, expected {wanted}")
    promised = head.tell() + math.prod(shape) * dtype.itemsize
    if size != promised:
        raise BadValue(f"{path}: {size} bytes, but its header promises {promised}")
    data = np.empty(math.prod(shape), dtype)
    read_into(fd, data.view("u1").data, head.tell(), str(path))
    return data.reshape(shape[::-1]).T if fortran else data.reshape(shape)


def _header(head: io.BytesIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(head)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(head)
            if version == (2, 0):
                return np.lib.format.read_array_header_2_0(head)
    # numpy parses the header as Python text and lets out whatever that raises.
    except Exception as error:  # noqa: BLE001 - see above
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadValue(f"{path}: not an .npy file: {reason[:120]}") from None
    raise BadValue(f"{path}: .npy format {version[0]}.{version[1]} is not one of plain arrays")
