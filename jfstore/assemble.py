"""From panels to a detector's array: (gain, panel, row, column), panels in the order of the Id."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jfstore.model import Array, StoredFile, Version
from jfstore.storage.base import Float32, Storage

_THREADS_FROM = 1 << 22


def assemble(storage: Storage, versions: Sequence[Version], calib_type: str, verify: bool = True) -> Float32:
    """Return the array of a detector.

    Parameters
    ----------
    storage : Storage
        Where the files lie.
    versions : sequence of Version
        The version of each panel; all hold `calib_type`, in one shape.
    calib_type : str
        Calibration type.
    verify : bool
        Whether each panel's array is checked against its BLAKE3.

    Returns
    -------
    ndarray
        C-contiguous float32 of shape (gain, panel, row, column).

    Raises
    ------
    Damaged
        If a file is missing or not what was stored.
    """
    parts = [(array_of(version, calib_type), version.file) for version in versions]
    gains, rows, columns = parts[0][0].shape
    out = np.empty((gains, len(parts), rows, columns), np.float32)

    def load(number: int, array: Array, file: StoredFile) -> None:
        storage.load(file, array, out[:, number], verify)

    if out.nbytes < _THREADS_FROM or len(parts) == 1:
        for number, (array, file) in enumerate(parts):
            load(number, array, file)
    else:
        with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
            list(pool.map(lambda item: load(item[0], *item[1]), enumerate(parts)))
    return out


def array_of(version: Version, calib_type: str) -> Array:
    """Return what `version` says of its array of `calib_type`."""
    return next(array for array in version.arrays if array.type == calib_type)
