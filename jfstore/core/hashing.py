"""Compute BLAKE3 digests, on several threads for large arrays; safe in processes that fork."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from blake3 import blake3

_THREADS_FROM = 1 << 22


def cpu_count() -> int:
    """Return on how many processors this process may run; a job's share of a node is often one of many."""
    return len(os.sched_getaffinity(0))


def hasher(size: int) -> blake3:
    """Return a hasher for about `size` bytes.

    Its threads are its own: those that ``blake3.AUTO`` shares in the whole process are gone in a forked
    child, which then waits for them for ever.
    """
    return blake3(max_threads=cpu_count() if size >= _THREADS_FROM else 1)


def digest(*pieces: Any) -> str:
    """Return the BLAKE3 of buffers one after the other, as 64 hexadecimal digits."""
    total = hasher(sum(map(len, pieces)))
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def digest_of_pieces(pieces: Iterable[Any]) -> str:
    """Return the BLAKE3 of many buffers, which need not be in memory at once, as 64 hexadecimal digits."""
    total = hasher(_THREADS_FROM)
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()
