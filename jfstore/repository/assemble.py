"""Assemble panels to a detector's array: the panels lie before the rows, in the order of the Id."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.hashing import cpu_count, hasher
from jfstore.core.records import Array, StoredFile, Version
from jfstore.core.slabs import detector_shape, panel_of, slab_buffers, slab_size
from jfstore.errors import Damaged
from jfstore.storage.base import Seen, Storage
from jfstore.storage.mapped import PAGE, Slab, map_slabs

Part = tuple[Array, StoredFile]
_THREADS_FROM = 1 << 22
_SETTLED = 2_000_000_000
"""A file that changed so few nanoseconds ago could change again without its times showing it."""


def assemble(
    storage: Storage,
    versions: Sequence[Version],
    calib_type: str,
    *,
    verify: bool = True,
    writable: bool = False,
    copy: bool = False,
) -> CalibArray:
    """Return the array of a detector; where whole pages of the files can be mapped, nothing is copied.

    Parameters
    ----------
    storage : Storage
        Where the files lie.
    versions : sequence of Version
        The version of each panel; all hold `calib_type`, in one dtype and shape.
    calib_type : str
        Calibration type.
    verify : bool
        Whether each panel's array is checked against its BLAKE3; once in a process for as long as
        its file is unchanged.
    writable : bool
        Whether the array may be written to; the files never change.
    copy : bool
        Whether the array is private memory, read from the files, in place of a map of them.

    Returns
    -------
    ndarray
        C-contiguous, of the dtype of the type; shape (gain, panel, row, column), or (panel, row, column).

    Raises
    ------
    Damaged
        If a file is missing or not what was stored.
    """
    parts = [(version.array(calib_type), version.file) for version in versions]
    if len({(array.dtype, array.shape) for array, _ in parts}) > 1:
        raise Damaged(f"{storage.location}: the panels' arrays of {calib_type} differ in dtype or shape")
    try:
        return _assemble(storage, parts, verify, writable, copy)
    except Damaged:
        if not storage.forget([array for array, _ in parts]):
            raise
        return _assemble(storage, parts, verify, writable, copy)


def _assemble(storage: Storage, parts: Sequence[Part], verify: bool, writable: bool, copy: bool) -> CalibArray:
    dtype, shape = np.dtype(parts[0][0].dtype), detector_shape(parts[0][0].shape, len(parts))
    storage.fetch(parts)
    with ExitStack() as stack:
        places = None if copy else _open_mapped(storage, parts, stack)
        if places is None:
            fresh = np.empty(shape, dtype)
            _each(
                range(len(parts)),
                fresh.nbytes,
                lambda number: storage.load(parts[number][1], parts[number][0], panel_of(fresh, number)),
            )
            if verify:
                _verify(storage, fresh, parts, range(len(parts)))
            fresh.flags.writeable = writable
            return fresh
        out = map_slabs([slab for row in zip(*places, strict=True) for slab in row], writable)
        out = out.view(dtype).reshape(shape)
        if verify:
            # What this process compared before, in a file that is unchanged since, is the same memory.
            seen = [_observe(slabs, array) for slabs, (array, _) in zip(places, parts, strict=True)]
            _verify(storage, out, parts, [i for i, (what, _) in enumerate(seen) if what not in storage.verified])
            storage.verified.update(what for what, changed in seen if changed < time.time_ns() - _SETTLED)
        return out


def _open_mapped(storage: Storage, parts: Sequence[Part], stack: ExitStack) -> list[Sequence[Slab]] | None:
    """Return the slabs of each of `parts` in open files, None if they do not fill whole pages."""
    places: list[Sequence[Slab]] = []
    for array, file in parts:
        slabs = None if slab_size(array) % PAGE else storage.open_mapped(file, array)
        if slabs is None:
            return None
        for fd in {slab.fd for slab in slabs}:
            stack.callback(os.close, fd)
        if any(slab.offset % PAGE for slab in slabs):
            return None
        places.append(slabs)
    return places


def _observe(slabs: Sequence[Slab], array: Array) -> tuple[Seen, int]:
    """Return an array as it is seen, and when the last of its files changed."""
    status = {slab.fd: os.fstat(slab.fd) for slab in slabs}
    files = [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in status.values()]
    return (array.blake3, *(slab.offset for slab in slabs), *files), max(s.st_ctime_ns for s in status.values())


def _verify(storage: Storage, out: CalibArray, parts: Sequence[Part], panels: Sequence[int]) -> None:
    """Check `panels` of `out` against their BLAKE3; Damaged names the file of the first that differs."""
    # One panel is hashed by all threads together, of many each by a thread.
    size = parts[0][0].nbytes if len(panels) == 1 else 0

    def check(number: int) -> None:
        array, file = parts[number]
        total = hasher(size)
        for slab in slab_buffers(panel_of(out, number)):
            total.update(slab)
        if total.hexdigest() != array.blake3:
            raise Damaged(f"{storage.location}/{file.path} is damaged: its {array.type} does not match its hash")

    _each(panels, out.nbytes, check)


def _each(numbers: Sequence[int], size: int, work: Callable[[int], None]) -> None:
    """Call `work` for each of `numbers`, by several threads if there is much to do."""
    if size < _THREADS_FROM or len(numbers) < 2:
        for number in numbers:
            work(number)
        return
    from concurrent.futures import ThreadPoolExecutor  # slow to load, and seldom needed

    with ThreadPoolExecutor(min(len(numbers), cpu_count())) as pool:
        list(pool.map(work, numbers))
