"""Hold the contents of consecutive commits as columns, sorted so that a look-up needs few of them."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.records import Commit, Version
from jfstore.core.statements import encode_statement

Columns = NDArray[Any]
Kind = tuple[str, str, tuple[int, ...]]
"""Calibration type, dtype and shape of an array; of a close the dtype and shape are empty."""

KINDS_LIMIT = 64
NO_FILE_ROW = 0xFFFFFFFF
"""The file of a close."""

_KEYS = np.dtype([("key", "<u8"), ("row", "<u4")])

LAYOUT: dict[str, np.dtype[Any]] = {
    "panels": np.dtype("S56"),
    "starts": np.dtype("<u4"),
    "versions": np.dtype(
        [
            ("panel", "<u4"),
            ("number", "<u4"),
            ("stamp", "<i8"),
            ("start", "<i8"),
            ("seq", "<i8"),
            ("place", "<u4"),
            ("file", "<u4"),
            ("kinds", "<u8"),
        ]
    ),
    "files": np.dtype([("path", "S96"), ("size", "<i8"), ("blake3", "V32"), ("array", "<u4"), ("arrays", "<u4")]),
    "arrays": np.dtype([("file", "<u4"), ("kind", "<u4"), ("offset", "<i8"), ("blake3", "V32")]),
    "contents": _KEYS,
    "commits": np.dtype([("time", "<i8"), ("hash", "V32"), ("request", "V16"), ("text", "<i8"), ("length", "<i8")]),
    "requests": _KEYS,
    "statements": np.dtype("<i8"),
    "text": np.dtype("u1"),
}
"""Name and dtype of each column set, in the order in which they are stored.

``panels`` are sorted; the versions of panel i are the rows ``starts[i]`` to ``starts[i + 1]`` of ``versions``, in the
order in which they were added (``place`` is the place in the commit). The arrays of a file are ``arrays`` rows of the
set of that name, from row ``array`` on.
``contents`` and ``requests`` lead from the first 8 bytes of the hash of an array, or of a request, to its row, sorted.
``statements`` are the commits that have one. Row i of ``commits`` is the commit ``first + i``.
"""


class Segment(ABC):
    """The commits ``first`` to ``last`` of one repository, in columns."""

    first: int
    last: int
    kinds: tuple[Kind, ...]

    @abstractmethod
    def count(self, name: str) -> int:
        """Return the number of rows of a column set."""

    @abstractmethod
    def column(self, name: str, start: int = 0, stop: int | None = None) -> Columns:
        """Return rows of a column set, all if not told otherwise."""

    @cached_property
    def panels(self) -> dict[str, tuple[int, int]]:
        """For each panel the range of its rows in ``versions``."""
        starts = self.column("starts").tolist()
        names = [name.decode("ascii", "replace") for name in self.column("panels").tolist()]
        return dict(zip(names, pairwise(starts), strict=False))

    def bits(self, calib_type: str) -> int:
        """Return the bits that ``kinds`` of a version has if it holds, or closes, a calibration type."""
        return sum(1 << bit for bit, kind in enumerate(self.kinds) if kind[0] == calib_type)

    def find_keys(self, name: str, wanted: bytes) -> list[int]:
        """Return the rows to which ``contents`` or ``requests`` leads from the first 8 bytes of `wanted`."""
        key, count = int.from_bytes(wanted[:8], "big"), self.count(name)
        # Hashes are spread evenly, so that their place can be guessed.
        guess, margin = key * count >> 64, 4 * math.isqrt(count) + 64
        while True:
            low, high = max(0, guess - margin), min(count, guess + margin)
            part = self.column(name, low, high)
            is_whole_left = low == 0 or int(part["key"][0]) < key
            if is_whole_left and (high == count or int(part["key"][-1]) > key):
                return [int(row) for row in part["row"][part["key"] == key]]
            margin *= 8

    def text(self, seq: int) -> Any:
        """Return what the segment says of a commit beside its columns; ValueError if that is not JSON."""
        _, _, _, start, length = self.column("commits", seq - self.first, seq - self.first + 1)[0].tolist()
        return json.loads(self.column("text", start, start + length).tobytes())


@dataclass(frozen=True, eq=False)
class MemorySegment(Segment):
    """A segment whose columns are in memory."""

    first: int
    last: int
    kinds: tuple[Kind, ...]
    columns: Mapping[str, Columns]

    def count(self, name: str) -> int:
        return len(self.columns[name])

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Columns:
        return self.columns[name][start:stop]


def kinds_of(version: Version) -> Iterator[Kind]:
    """Yield the kinds of a version's arrays, or of the types that a close closes."""
    for array in version.arrays:
        yield array.type, array.dtype, array.shape
    for name in version.closes:
        yield name, "", ()


def make_segment(commits: Sequence[Commit]) -> MemorySegment:
    """Return the segment of consecutive commits, at least one."""
    names: dict[str, int] = {}
    kinds: dict[Kind, int] = {}
    paths: dict[str, int] = {}
    text = bytearray()
    rows: dict[str, list[Any]] = {name: [] for name in LAYOUT}
    for commit in commits:
        words: dict[str, Any] = {name: getattr(commit, name) for name in ("user", "host", "op", "message")}
        if commit.statement is not None:
            words["statement"] = encode_statement(commit.statement)
            rows["statements"].append(commit.seq)
        encoded = json.dumps(words, ensure_ascii=False).encode()
        request = bytes.fromhex(commit.request)
        rows["commits"].append((commit.time, bytes.fromhex(commit.hash), request, len(text), len(encoded)))
        text += encoded
        for place, version in enumerate(commit.versions):
            bits = 0
            for kind in kinds_of(version):
                bits |= 1 << kinds.setdefault(kind, len(kinds))
            panel, file = names.setdefault(version.panel, len(names)), NO_FILE_ROW
            if not version.closes:
                file = paths.setdefault(version.file.path, len(paths))
                _add_file(version, file, kinds, rows)
            start = (panel, version.number, int(version.stamp), version.start, commit.seq, place, file, bits)
            rows["versions"].append(start)
    rows["panels"] = [name.encode() for name in names]
    columns = {name: np.array(found, LAYOUT[name]) for name, found in rows.items()}
    columns["text"] = np.frombuffer(bytes(text), "u1")
    return _arrange(commits[0].seq, commits[-1].seq, tuple(kinds), columns)


def _add_file(version: Version, file: int, kinds: Mapping[Kind, int], rows: dict[str, list[Any]]) -> None:
    if file < len(rows["files"]):
        return
    rows["files"].append((version.file.path.encode(), version.file.size, bytes.fromhex(version.file.blake3), 0, 0))
    for array in version.arrays:
        kind, offset = kinds[array.type, array.dtype, array.shape], version.file.offsets[array.type]
        rows["arrays"].append((file, kind, offset, bytes.fromhex(array.blake3)))


def _arrange(first: int, last: int, kinds: tuple[Kind, ...], columns: dict[str, Columns]) -> MemorySegment:
    """Return a segment of columns whose versions are in the order in which they were added."""
    order = np.argsort(columns["panels"], kind="stable")
    ranks = np.empty(len(order), np.uint32)
    ranks[order] = np.arange(len(order))
    columns["panels"] = columns["panels"][order]
    versions = columns["versions"]
    if len(versions):
        versions["panel"] = ranks[versions["panel"]]
    columns["versions"] = versions = versions[np.argsort(versions["panel"], kind="stable")]
    columns["starts"] = np.searchsorted(versions["panel"], np.arange(len(order) + 1)).astype("<u4")
    owners, files = columns["arrays"]["file"], np.arange(len(columns["files"]))
    columns["files"]["array"] = np.searchsorted(owners, files)
    columns["files"]["arrays"] = np.searchsorted(owners, files, side="right") - columns["files"]["array"]
    columns["contents"] = _keys(columns["arrays"]["blake3"])
    columns["requests"] = _keys(columns["commits"]["request"])
    return MemorySegment(first, last, kinds, columns)


def _keys(values: Columns) -> Columns:
    """Return the first 8 bytes of each value, sorted, with its row."""
    data = np.ascontiguousarray(values).view("u1").reshape(len(values), values.dtype.itemsize)
    found = np.empty(len(values), _KEYS)
    found["key"] = np.ascontiguousarray(data[:, :8]).view(">u8").reshape(-1)
    found["row"] = np.arange(len(values))
    return found[np.argsort(found["key"], kind="stable")]


def merge_segments(segments: Sequence[Segment]) -> MemorySegment:
    """Return one segment of consecutive ones; the same as `make_segment` makes of their commits."""
    names: dict[bytes, int] = {}
    kinds: dict[Kind, int] = {}
    paths: dict[bytes, int] = {}
    parts: dict[str, list[Columns]] = {name: [] for name in LAYOUT}
    length = 0
    for segment in segments:
        own = {name: segment.column(name).copy() for name in LAYOUT}
        panels = np.array([names.setdefault(name, len(names)) for name in own["panels"].tolist()], "<u4")
        kind_map = [kinds.setdefault(kind, len(kinds)) for kind in segment.kinds]
        known = len(paths)
        files = np.array([paths.setdefault(path, len(paths)) for path in own["files"]["path"].tolist()], "<u4")
        versions, arrays = own["versions"], own["arrays"]
        versions = versions[np.lexsort((versions["place"], versions["seq"]))]
        versions["panel"] = panels[versions["panel"]]
        has_file = versions["file"] != NO_FILE_ROW
        versions["file"][has_file] = files[versions["file"][has_file]]
        versions["kinds"] = _move_bits(versions["kinds"], kind_map)
        is_new = files >= known
        arrays = arrays[is_new[arrays["file"]]]
        arrays["file"] = files[arrays["file"]]
        arrays["kind"] = np.array(kind_map, "<u4")[arrays["kind"]]
        own["commits"]["text"] += length
        length += len(own["text"])
        own |= {"versions": versions, "arrays": arrays, "files": own["files"][is_new]}
        for name, column in own.items():
            parts[name].append(column)
    columns = {name: np.concatenate(found) for name, found in parts.items()}
    # Each segment has its panels sorted: the order does not matter, as they are sorted again.
    columns["panels"] = np.array(list(names), LAYOUT["panels"])
    return _arrange(segments[0].first, segments[-1].last, tuple(kinds), columns)


def _move_bits(bits: Columns, places: Sequence[int]) -> Columns:
    """Return `bits` with bit i at `places[i]`."""
    if list(places) == list(range(len(places))):
        return bits
    moved = np.zeros_like(bits)
    for old, new in enumerate(places):
        moved |= ((bits >> np.uint64(old)) & np.uint64(1)) << np.uint64(new)
    return moved
