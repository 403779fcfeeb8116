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

from jfstore.core.slabs import HUGE_PAGE, fills_huge_pages

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
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000
_HUGE_PAGES = 14
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


def _reserve(size: int, alignment: int) -> int:
    """Reserve `size` bytes of addresses from a multiple of `alignment`, which is returned."""
    spare = alignment - PAGE
    first = _map(None, size + spare, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, -1, 0)
    start = -(-first // alignment) * alignment
    for place, length in ((first, start - first), (start + size, first + spare - start)):
        if length:
            _libc.munmap(place, length)
    return start


def map_slabs(slabs: Sequence[Slab], writable: bool) -> NDArray[np.uint8]:
    """Return the bytes of `slabs`, one after the other, without copying them.

    If all slabs are multiples of 2 MiB, so is the address, and the kernel is asked for huge pages: touching 201 MB
    in page cache takes 1 ms with them, and 12 ms without.

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
    huge = all(fills_huge_pages(slab.size) for slab in slabs)
    start = _reserve(total, HUGE_PAGE if huge else PAGE)
    try:
        protection = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        flags = (mmap.MAP_PRIVATE if writable else mmap.MAP_SHARED) | _MAP_FIXED
        place = start
        for slab in slabs:
            _map(place, slab.size, protection, flags, slab.fd, slab.offset)
            place += slab.size
        if huge:
            # Before the first touch, which decides how the pages are read and mapped. Kernels without huge pages
            # refuse it, and map small pages.
            _libc.madvise(start, total, _HUGE_PAGES)
        region = (ctypes.c_ubyte * total).from_address(start)
        weakref.finalize(region, _libc.munmap, start, total).atexit = False
    except BaseException:
        _libc.munmap(start, total)
        raise
    view = memoryview(region)
    return np.frombuffer(view if writable else view.toreadonly(), np.uint8)
