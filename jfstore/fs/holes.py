"""Mark zeros that a file does not have to store: the writer skips them, and the file system keeps a hole."""

from __future__ import annotations

from itertools import groupby, pairwise

BLOCK = 4096
_ZEROS = bytes(BLOCK)


class Hole(bytes):
    """Zeros that become a hole in a new file. Readers and hashes see the zeros."""


def cut_holes(data: bytes, start: int = 0) -> list[bytes]:
    """Divide bytes that lie at offset `start` of a file into pieces, in order.

    Returns
    -------
    list of bytes
        A `Hole` for each run of blocks that hold zeros only; a block is 4096 bytes at a multiple of 4096.
    """
    bounds = [0, *range(BLOCK - start % BLOCK, len(data), BLOCK), len(data)]
    blocks = (data[first:last] for first, last in pairwise(bounds))
    return [
        Hole(b"".join(run)) if empty else b"".join(run) for empty, run in groupby(blocks, lambda block: block == _ZEROS)
    ]
