"""From panels to a detector's array: (gain, panel, row, column), panels in the order of the Id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from jfstore.errors import Damaged
from jfstore.hashing import hasher
from jfstore.mapping import PAGE, Slab, map_slabs
from jfstore.model import Array, StoredFile, Version
from jfstore.storage.base import Float32, Storage

Part = tuple[Array, StoredFile]
_THREADS_FROM = 1 << 22


def assemble(
    storage: Storage, versions: Sequence[Version], calib_type: str, *, verify: bool = True, writable: bool = False
) -> Float32:
    """Return the array of a detector; where whole pages of the files can be mapped, nothing is copied.

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
    writable : bool
        Whether the array may be written to; the files never change.

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
    out = _mapped(storage, parts, writable)
    if out is None:
        fresh = np.empty((gains, len(parts), rows, columns), np.float32)
        _each(parts, fresh.nbytes, lambda number, array, file: storage.load(file, array, fresh[:, number]))
        fresh.flags.writeable = writable
        out = fresh
    if verify:
        verify_panels(storage, out, parts)
    return out


def _mapped(storage: Storage, parts: Sequence[Part], writable: bool) -> Float32 | None:
    """Return the arrays of `parts` mapped side by side, None if they do not fill whole pages."""
    gains, rows, columns = parts[0][0].shape
    size = 4 * rows * columns
    if size % PAGE or any(file.offsets[array.type] % PAGE for array, file in parts):
        return None
    with ExitStack() as stack:
        places = []
        for array, file in parts:
            opened = storage.open_mapped(file, array)
            if opened is None:
                return None
            stack.callback(os.close, opened[0])
            places.append(opened)
        slabs = [Slab(fd, offset + gain * size, size) for gain in range(gains) for fd, offset in places]
        return map_slabs(slabs, writable).view(np.float32).reshape(gains, len(parts), rows, columns)


def verify_panels(storage: Storage, out: Float32, parts: Sequence[Part]) -> None:
    """Check each panel of `out` against its BLAKE3; Damaged names the file of the first that differs."""
    # One panel is hashed by all threads together, of many each by a thread.
    size = out.nbytes if len(parts) == 1 else 0

    def check(number: int, array: Array, file: StoredFile) -> None:
        total = hasher(size)
        for gain in range(out.shape[0]):
            total.update(out[gain, number].reshape(-1).view(np.uint8))
        if total.hexdigest() != array.blake3:
            raise Damaged(f"{storage.location}/{file.path} is damaged: its {array.type} does not match its hash")

    _each(parts, out.nbytes, check)


def _each(parts: Iterable[Part], size: int, work: Any) -> None:
    """Call `work` for each of `parts` with its number, by several threads if there is much to do."""
    items = list(enumerate(parts))
    if size < _THREADS_FROM or len(items) == 1:
        for number, part in items:
            work(number, *part)
        return
    with ThreadPoolExecutor(min(len(items), os.cpu_count() or 1)) as pool:
        list(pool.map(lambda item: work(item[0], *item[1]), items))


def array_of(version: Version, calib_type: str) -> Array:
    """Return what `version` says of its array of `calib_type`."""
    return next(array for array in version.arrays if array.type == calib_type)
