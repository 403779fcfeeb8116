"""Read the text files of panel repositories, which `jfstore.formats.panel_repository` finds.

Each file is read once, however many names lead to it, as long as its array is among the last ones. Of a merged file,
only the part that is asked for is in memory: that of 32 panels has half a gigabyte for each calibration type.
"""

from __future__ import annotations

import math
import os
from array import array as compact
from collections import OrderedDict
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import Checked, check_array
from jfstore.core.calib_types import calib_type, panel_shape_of
from jfstore.core.hashing import digest
from jfstore.errors import BadValue, Failed
from jfstore.formats.panel_repository import TextSource, TypeSources
from jfstore.formats.text import TextHead, parse_head, parse_rows
from jfstore.fs.files import open_checked, read_at, read_regular, user_errors

_KEPT = 192 << 20
"""Arrays of at most this many bytes are kept for names that lead to the same files."""
_HEAD = 1 << 16
_DIGITS = 64
"""A value has at most this many characters, with its separator."""
_PANELS_LIMIT = 1024
_ZERO = b"0.-+eE \t\r\n"
"""The characters of lines that have only zeros."""

_Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Stack:
    """The array of a type, and the BLAKE3 of the text of each gain range if merged files are compared with it."""

    checked: Checked
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Merged:
    """Where the parts of a merged file are, each of one gain range and panel."""

    panels: int
    offsets: compact[int]  # of the first row of each part, and the end of the last
    lines: compact[int]  # how many lines come before each part


class PanelTexts:
    """Reads text files of panels.

    Parameters
    ----------
    shape : tuple of int
        (gain, row, column) of a panel.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._limit = shape[1] * shape[2] * _DIGITS + _HEAD
        self._kept: OrderedDict[tuple[Any, ...], _Stack] = OrderedDict()
        self._merged: dict[_Identity, _Merged] = {}

    def read(self, name: str, sources: TypeSources) -> Checked:
        """Return the constants of a calibration type: the files of the gain ranges, or else the first merged file.

        Raises
        ------
        BadValue
            If a file is malformed, has another shape or values that cannot be stored; or if a gain range of a merged
            file has only zeros, which psana writes for a file that was missing.
        Failed
            If a file cannot be read.
        """
        return self._read_stack(name, sources).checked

    def find_differences(self, name: str, sources: TypeSources) -> Iterator[tuple[str, str]]:
        """Yield the name of each merged file that has other values than `read` returns, and the reason."""
        stack = self._read_stack(name, sources)
        first = "the files of the gain ranges have" if sources.gains else f"{sources.merged[0].label} has"
        for source in sources.merged if sources.gains else sources.merged[1:]:
            try:
                if (gain := self._find_difference(name, source, stack)) is not None:
                    yield source.label, f"{first} other values in gain range {gain}, and were imported"
            except (BadValue, Failed) as error:
                yield source.label, error.message

    def is_copy(self, name: str, sources: TypeSources, earlier: TypeSources) -> bool:
        """Return whether the first merged file has the constants of an earlier run, from which psana merged it."""
        return not any(self.find_differences(name, replace(earlier, merged=sources.merged[:1])))

    def _find_difference(self, name: str, source: TextSource, stack: _Stack) -> int | None:
        """Return the first gain range in which a merged file differs; None if it has equal values."""
        for gain, values in enumerate(stack.checked.array):
            raw, line = self._read_part(source, gain)
            # Equal text, which is usual, needs no parsing.
            if digest(raw) in stack.digests[gain : gain + 1]:
                continue
            found = self._parse(raw, name, source.path.name, line)
            # psana merges integers as float32.
            if not np.array_equal(found, values) and not np.array_equal(found, values.astype("f4").astype(found.dtype)):
                return gain
        return None

    def _read_stack(self, name: str, sources: TypeSources) -> _Stack:
        places = sources.gains or sources.merged[:1]
        key = (name, *((_identify(source.path), source.place) for source in places))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        read = self._read_gains if sources.gains else self._read_merged_file
        self._kept[key] = stack = read(name, sources)
        while sum(one.checked.array.nbytes for one in self._kept.values()) > _KEPT and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return stack

    def _read_gains(self, name: str, sources: TypeSources) -> _Stack:
        stack, digests = self._make_empty(name), []
        for gain, source in enumerate(sources.gains):
            with user_errors(source.path):
                raw = read_regular(source.path, self._limit)
            stack[gain] = self._parse(raw, name, source.path.name)
            if sources.merged:
                digests.append(digest(raw))
        where = [source.path.name for source in sources.gains]
        return _Stack(check_array(stack, name, panel_shape_of(name, self._shape), where), tuple(digests))

    def _read_merged_file(self, name: str, sources: TypeSources) -> _Stack:
        source = sources.merged[0]
        stack, digests = self._make_empty(name), []
        for gain in range(self._shape[0]):
            raw, line = self._read_part(source, gain)
            stack[gain] = self._parse(raw, name, source.path.name, line)
            if not stack[gain].any():
                raise BadValue(f"{source.label}: gain range {gain} has only zeros, which stand for a missing file")
            digests.append(digest(raw))
        checked = check_array(stack, name, panel_shape_of(name, self._shape), source.label)
        return _Stack(checked, tuple(digests))

    def _make_empty(self, name: str) -> NDArray[Any]:
        return np.empty(panel_shape_of(name, self._shape), calib_type(name).dtype)

    def _parse(self, raw: bytes, name: str, where: str, line: int | None = None) -> NDArray[Any]:
        """Return a gain range as it is stored, after its header or `line` lines; integers are exact."""
        dtype, start = np.dtype(calib_type(name).dtype).name, 0
        if line is None:
            head = parse_head(raw, where)
            line, start = head.lines, head.start
        rows = parse_rows(raw, dtype, where, line, start, narrow=True)
        if rows.size != math.prod(self._shape[1:]) or rows.shape[-1:] != self._shape[-1:]:
            raise BadValue(f"{where}: shape {rows.shape} is not (row, column) of a panel, {self._shape[1:]}")
        with np.errstate(over="ignore", under="ignore"):  # check_array refuses what is infinite
            return rows.reshape(self._shape[1:]).astype(dtype, copy=False)

    # -- parts of merged files

    def find_unknown(self, source: TextSource, known: Set[int]) -> list[int]:
        """Return the places of a merged file that have values other than zero and are not `known`."""
        places = set(range(self._index(source).panels)) - known
        return [place for place in sorted(places) if not self._is_zero(replace(source, place=place))]

    def _is_zero(self, source: TextSource) -> bool:
        parts = (self._read_part(source, gain)[0] for gain in range(self._shape[0]))
        return not any(part.translate(None, _ZERO) for part in parts)

    def _read_part(self, source: TextSource, gain: int) -> tuple[bytes, int]:
        """Return the text of one panel's gain range in a merged file, and how many lines come before it."""
        merged = self._index(source)
        assert source.place is not None
        if source.place >= merged.panels:
            raise BadValue(f"{source.label}: the file has {merged.panels} panels")
        part = gain * merged.panels + source.place
        start, end = merged.offsets[part], merged.offsets[part + 1]
        if end - start > self._limit:
            raise BadValue(f"{source.label}: gain range {gain} has {end - start} bytes, more than {self._limit}")
        with user_errors(source.path), open_checked(source.path) as fd:
            raw = read_at(fd, end - start, start)
        if len(raw) != end - start:
            raise BadValue(f"{source.label}: the file changes while it is read")
        return raw, merged.lines[part]

    def _index(self, source: TextSource) -> _Merged:
        key = _identify(source.path)
        if key not in self._merged:
            self._merged[key] = self._find_parts(source.path)
        return self._merged[key]

    def _find_parts(self, path: Path) -> _Merged:
        """Find where the parts of a merged file start, without keeping it."""
        where, (gains, rows, columns) = path.name, self._shape
        with user_errors(path), open_checked(path) as fd:
            head = parse_head(read_at(fd, _HEAD + columns * _DIGITS, 0), where)
            if len(head.shape) != 4 or (head.shape[0], *head.shape[2:]) != self._shape:
                raise BadValue(f"{where}: shape {head.shape} is not ({gains}, panels, {rows}, {columns})")
            # A sparse file may be as large as it likes.
            size, limit = os.fstat(fd).st_size, _HEAD + math.prod(head.shape) * _DIGITS
            if head.shape[1] > _PANELS_LIMIT or size > limit:
                raise BadValue(f"{where}: {size} bytes and {head.shape[1]} panels are more than a detector has")
            with open(fd, "rb", 1 << 20, closefd=False) as file:
                file.seek(head.start)
                offsets, lines, count = _find_starts(file, head, rows, columns * _DIGITS)
        expected = math.prod(head.shape[:3])
        if count != expected:
            last = f"{where}, line {lines[-1]}"
            raise BadValue(f"{last}: {count} rows until the end, but its header promises {expected}")
        return _Merged(head.shape[1], offsets, lines)


def _find_starts(file: BinaryIO, head: TextHead, rows: int, limit: int) -> tuple[compact[int], compact[int], int]:
    """Return where each part of `rows` rows starts and the last ends, the lines before that, and the number of rows.

    A line of more than `limit` bytes counts as two, which no parser of its part accepts. The last row does not count
    if it is shorter than the first.
    """
    offsets, lines, count = compact("q"), compact("q"), 0
    offset, number = head.start, head.lines
    first = last = b""
    while line := file.readline(limit):
        if line.strip() and not line.startswith(b"#"):
            if not count % rows:
                offsets.append(offset)
                lines.append(number)
            count += 1
            first, last = first or line, line
        offset += len(line)
        number += 1
    offsets.append(offset)
    lines.append(number)
    return offsets, lines, count - (len(last.split()) < len(first.split()))


def _identify(path: Path) -> _Identity:
    """Return what is the same for all names of one file."""
    with user_errors(path):
        found = os.stat(path, follow_symlinks=False)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
