"""Write a segment of the index as a file, and read from it as little as an answer needs.

A segment file holds the columns one after the other, and then the BLAKE3 of each block of 64 KiB of them. Its header is
in the index, with a BLAKE3 of those hashes: whoever has read the index believes no byte that is not what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jfstore.core.hashing import digest
from jfstore.core.records import DTYPES
from jfstore.core.segment import KINDS_LIMIT, LAYOUT, NO_FILE_ROW, Columns, Kind, MemorySegment, Segment

BLOCK = 1 << 16
_HASH = 32

Reader = Callable[[int, int], bytes]
"""Returns so many bytes from an offset of a segment; ValueError or OSError if it has fewer."""

Header = Mapping[str, Any]


def encode_segment(segment: Segment) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a segment, and its header."""
    data = b"".join(segment.column(name).tobytes() for name in LAYOUT)
    hashes = b"".join(bytes.fromhex(digest(data[at : at + BLOCK])) for at in range(0, len(data), BLOCK))
    header = {
        "first": segment.first,
        "last": segment.last,
        "kinds": [list(kind) for kind in segment.kinds],
        "rows": {name: segment.count(name) for name in LAYOUT},
        "blake3": digest(hashes),
    }
    return data + hashes, header


class FileSegment(Segment):
    """A segment in a file, of which blocks are read and checked as they are needed.

    Parameters
    ----------
    header : mapping
        What `encode_segment` returned.
    name : str
        The name of the file.
    read : callable
        Reads from the file.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the header is none.
    """

    def __init__(self, header: Header, name: str, read: Reader) -> None:
        self.header, self.name = header, name
        self.first, self.last, self.kinds, self._rows = _check_header(header)
        self._read = read
        self._places: dict[str, int] = {}
        self.data_size = 0
        for column, rows in self._rows.items():
            self._places[column] = self.data_size
            self.data_size += rows * LAYOUT[column].itemsize
        self._hashes: bytes | None = None
        self._blocks: dict[int, bytes] = {}
        self._replacement: MemorySegment | None = None
        self.make_again: Callable[[int, int], MemorySegment] | None = None
        """Makes the segment of these commits from the log, for one whose file is damaged."""

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.data_size + _HASH * self._block_count

    @property
    def _block_count(self) -> int:
        return -(-self.data_size // BLOCK)

    def count(self, name: str) -> int:
        return self._rows[name]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Columns:
        if self._replacement is None:
            try:
                return self._column(name, start, stop)
            except (OSError, ValueError):
                if self.make_again is None:
                    raise
                self._replacement = self.make_again(self.first, self.last)
        return self._replacement.column(name, start, stop)

    def _column(self, name: str, start: int, stop: int | None) -> Columns:
        dtype, (start, stop, _) = LAYOUT[name], slice(start, stop).indices(self._rows[name])
        low, high = (self._places[name] + row * dtype.itemsize for row in (start, max(start, stop)))
        return np.frombuffer(self._bytes(low, high), dtype)

    def _bytes(self, low: int, high: int) -> bytes:
        """Return bytes of the columns; ValueError if they are not what was written."""
        if low == high:
            return b""
        first, last = low // BLOCK, (high - 1) // BLOCK
        blocks = self._blocks  # never changed, only replaced: threads share a segment
        data = blocks.get(first) if first == last else None
        if data is None:
            data = self._read_blocks(first, last)
            if last - first < _KEPT:
                new = {first + at: data[at * BLOCK : (at + 1) * BLOCK] for at in range(last - first + 1)}
                self._blocks = {**(blocks if len(blocks) < _KEPT else {}), **new}
        return data[low - first * BLOCK : high - first * BLOCK]

    def _read_blocks(self, first: int, last: int) -> bytes:
        if self._hashes is None:
            hashes = self._read(self.data_size, _HASH * self._block_count)
            if digest(hashes) != self.header["blake3"]:
                raise ValueError("the hashes of a segment are not what was written")
            self._hashes = hashes
        start = first * BLOCK
        data = self._read(start, min((last + 1) * BLOCK, self.data_size) - start)
        for number in range(first, last + 1):
            block = data[(number - first) * BLOCK : (number - first + 1) * BLOCK]
            if bytes.fromhex(digest(block)) != self._hashes[number * _HASH : (number + 1) * _HASH]:
                raise ValueError(f"block {number} of a segment does not match its hash")
        return data


_KEPT = 256
"""How many blocks are kept in memory."""


def decode_segment(data: bytes, header: Header) -> MemorySegment:
    """Return a segment whose bytes are in memory.

    Raises
    ------
    ValueError, TypeError, KeyError
        If they are not a segment, or not what was written.
    """
    segment = FileSegment(header, "", lambda offset, length: data[offset : offset + length])
    if len(data) != segment.size:
        raise ValueError("a segment has another size")
    columns = {name: segment.column(name) for name in LAYOUT}
    _check_columns(segment, columns)
    return MemorySegment(segment.first, segment.last, segment.kinds, columns)


def _check_header(header: Header) -> tuple[int, int, tuple[Kind, ...], dict[str, int]]:
    first, last, rows = header["first"], header["last"], dict(header["rows"])
    if list(rows) != list(LAYOUT) or not all(
        type(n) is int and 0 <= n < 1 << 40 for n in (first, last, *rows.values())
    ):
        raise ValueError("the header of a segment has odd numbers")
    if not 0 < first <= last or rows["commits"] != last - first + 1 or rows["starts"] != rows["panels"] + 1:
        raise ValueError("the header of a segment does not fit together")
    kinds = tuple((name, dtype, tuple(shape)) for name, dtype, shape in header["kinds"])
    if len(set(kinds)) != len(kinds) or len(kinds) > KINDS_LIMIT:
        raise ValueError("a segment has a kind of array twice, or too many")
    for name, dtype, shape in kinds:
        sizes = all(type(size) is int and 0 < size <= 1 << 16 for size in shape)
        known = (dtype in DTYPES and len(shape) in (2, 3)) or (dtype, shape) == ("", ())
        if type(name) is not str or not known or not sizes:
            raise ValueError("a segment has arrays of an unknown kind")
    return first, last, kinds, rows


def _check_columns(segment: Segment, columns: Mapping[str, Columns]) -> None:
    """Raise ValueError if rows refer to rows that do not exist; a segment with the right hash may still be hostile."""
    versions, arrays, files, commits = (columns[name] for name in ("versions", "arrays", "files", "commits"))
    has_file = versions["file"][versions["file"] != NO_FILE_ROW]
    below = (
        (versions["panel"], len(columns["panels"])),
        (has_file, len(files)),
        (versions["seq"] - segment.first, len(commits)),
        (arrays["file"], len(files)),
        (arrays["kind"], len(segment.kinds)),
        (files["array"].astype(np.int64) + files["arrays"], len(arrays) + 1),
        (commits["text"], len(columns["text"]) + 1),
        (commits["length"], len(columns["text"]) + 1),
        (columns["starts"], len(versions) + 1),
        (columns["contents"]["row"], len(arrays)),
        (columns["requests"]["row"], len(commits)),
        (columns["statements"] - segment.first, len(commits)),
    )
    for column, limit in below:
        if len(column) and not (int(column.min()) >= 0 and int(column.max()) < limit):
            raise ValueError("a segment refers to what is not in it")
    if np.any(np.diff(columns["starts"].astype(np.int64)) < 0):
        raise ValueError("a segment is not in order")
