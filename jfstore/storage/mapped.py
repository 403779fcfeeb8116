"""Map arrays without copying: pieces of files side by side in one region of memory.

Python's mmap cannot place a mapping inside another one, so the C library is called.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000
_FAILED = ctypes.c_void_p(-1).value
PAGE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Slab:
    """A piece of an open file: `size` bytes at `offset`, both multiples of the page size."""

    fd: int
    offset: int
    size: int


def _map(address: int | None, size: int, protection: int, flags: int, fd: int, offset: int) -> int:
    place = _libc.mmap(address, size, protection, flags, fd, offset)
    if place == _FAILED:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    assert isinstance(place, int)
    return place


def map_slabs(slabs: Sequence[Slab], writable: bool) -> NDArray[np.uint8]:
    """Return the bytes of `slabs`, one after the other, without copying them.

    Parameters
    ----------
    slabs : sequence of Slab
        Every byte of them must lie in its file: touching one that does not kills the process.
    writable : bool
        False: a read-only view of the files, shared with every process that maps them. True: changes are
        kept in private copies of the pages that are written to; the files never change.

    Returns
    -------
    ndarray
        uint8, one-dimensional; unmapped when nothing refers to it any more.

    Raises
    ------
    OSError
        If the system cannot map them.
    """
    total = sum(slab.size for slab in slabs)
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    start = _map(None, total, 0, anonymous, -1, 0)
    try:
        protection = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        flags = (mmap.MAP_PRIVATE if writable else mmap.MAP_SHARED) | _MAP_FIXED
        place = start
        for slab in slabs:
            _map(place, slab.size, protection, flags, slab.fd, slab.offset)
            place += slab.size
        region = (ctypes.c_ubyte * total).from_address(start)
        weakref.finalize(region, _libc.munmap, start, total).atexit = False
    except BaseException:
        _libc.munmap(start, total)
        raise
    view = memoryview(region)
    return np.frombuffer(view if writable else view.toreadonly(), np.uint8)
