"""Hold the contents of the log as a table of columns, small enough to load whole for every look-up.

It is derived from the log and from nothing else; the index of a repository is a saved table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.records import Array, Commit, StoredFile, Version
from jfstore.errors import Damaged, NotFound

Columns = NDArray[Any]

LAYOUT: dict[str, np.dtype[Any]] = {
    "versions": np.dtype(
        [
            ("panel", "<u4"),
            ("number", "<u4"),
            ("stamp", "<i8"),
            ("start", "<i8"),
            ("seq", "<i8"),
            ("file", "<u4"),
            ("kinds", "<u8"),
        ]
    ),
    "files": np.dtype([("path", "S96"), ("size", "<i8"), ("blake3", "S64")]),
    "arrays": np.dtype([("file", "<u4"), ("kind", "<u4"), ("offset", "<i8"), ("blake3", "S64")]),
    "commits": np.dtype([("time", "<i8"), ("hash", "S64"), ("request", "S32"), ("text", "<i8"), ("length", "<i8")]),
    "panels": np.dtype("S56"),
    "text": np.dtype("u1"),
}
"""Name and dtype of each column set, in the order in which they are hashed and stored."""

Kind = tuple[str, str, tuple[int, ...]]
"""Calibration type, dtype and shape of an array; a version's ``kinds`` has a bit for each that it holds."""

KINDS_LIMIT = 64


def _text(value: bytes) -> str:
    # An index that somebody made up may hold any bytes: they must not be believed, nor stop a reader.
    return value.decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """What `list` says of the commit that added a version; ``time`` in nanoseconds UTC."""

    seq: int
    time: int
    user: str
    host: str
    op: str
    message: str
    hash: str


@dataclass(frozen=True)
class Table:
    """Columns for the commits 1 to ``seq`` of one repository.

    ``versions["panel"]`` and ``versions["file"]`` are row numbers of ``panels`` and ``files``,
    ``arrays["file"]`` of ``files`` (in ascending order); row i of ``commits`` is the commit i + 1.
    """

    versions: Columns
    files: Columns
    arrays: Columns
    commits: Columns
    panels: Columns
    text: Columns
    kinds: tuple[Kind, ...] = ()

    @classmethod
    def empty(cls) -> Table:
        columns: dict[str, Any] = {name: np.zeros(0, dtype) for name, dtype in LAYOUT.items()}
        return cls(**columns)

    @property
    def seq(self) -> int:
        """Number of the last commit, 0 if there is none."""
        return len(self.commits)

    @property
    def head(self) -> str:
        """Hash of the last commit, empty if there is none."""
        return _text(self.commits["hash"][-1]) if self.seq else ""

    def continues(self, other: Table) -> bool:
        """Return whether `other` is the table of this log at an earlier commit, or at the same."""
        return other.seq <= self.seq and bool(np.array_equal(other.commits["hash"][-1:], self._hash_at(other.seq)))

    def _hash_at(self, seq: int) -> Columns:
        return self.commits["hash"][max(seq - 1, 0) : seq]

    def columns(self) -> dict[str, Columns]:
        return {name: getattr(self, name) for name in LAYOUT}

    @cached_property
    def panel_rows(self) -> dict[str, int]:
        return {_text(name): row for row, name in enumerate(self.panels.tolist())}

    @cached_property
    def _by_panel(self) -> tuple[NDArray[np.intp], NDArray[Any]]:
        order = np.argsort(self.versions["panel"], kind="stable")
        return order, self.versions["panel"][order]

    def rows(self, panel: str, calib_type: str | None = None) -> NDArray[np.intp]:
        """Return the rows of ``versions`` of `panel`, oldest commit first; only those that hold
        `calib_type` if it is given."""
        number = self.panel_rows.get(panel)
        if number is None:
            return np.zeros(0, np.intp)
        order, sorted_panels = self._by_panel
        first, last = np.searchsorted(sorted_panels, [number, number + 1])
        rows: NDArray[np.intp] = order[first:last]
        if calib_type is None:
            return rows
        holds: NDArray[np.bool_] = (self.versions["kinds"][rows] & np.uint64(self._bits(calib_type))) != 0
        return rows[holds]

    def _bits(self, calib_type: str) -> int:
        return sum(1 << bit for bit, kind in enumerate(self.kinds) if kind[0] == calib_type)

    def types(self) -> list[str]:
        """Return the calibration types that any version holds."""
        return list(dict.fromkeys(kind[0] for kind in self.kinds))

    def file_arrays(self, row: int) -> tuple[tuple[Array, ...], StoredFile]:
        """Return the arrays of row `row` of ``files``, and the file."""
        first, last = np.searchsorted(self.arrays["file"], [row, row + 1])
        arrays, offsets = [], {}
        for _, kind, offset, blake3 in self.arrays[first:last].tolist():
            name, dtype, shape = self.kinds[kind]
            arrays.append(Array(name, dtype, shape, _text(blake3)))
            offsets[name] = offset
        path, size, blake3 = self.files[row].tolist()
        return tuple(arrays), StoredFile(_text(path), size, _text(blake3), offsets)

    def version_list(self, rows: Iterable[int] | None = None) -> list[Version]:
        """Return the versions of `rows` of ``versions`` (all if not given) as records.

        ``source``, ``origin`` and ``converted_from`` are in the commit only, see `Log.commit`.
        """
        columns = self.versions if rows is None else self.versions[np.asarray(rows, dtype=np.intp)]
        names = [_text(name) for name in self.panels.tolist()]
        files: dict[int, tuple[tuple[Array, ...], StoredFile]] = {}
        versions = []
        fields = (columns[name].tolist() for name in ("panel", "number", "stamp", "start", "seq", "file"))
        for panel, number, stamp, start, seq, file in zip(*fields, strict=True):
            if file not in files:
                files[file] = self.file_arrays(file)
            arrays, stored = files[file]
            versions.append(Version(names[panel], f"{stamp:014d}", start, number, arrays, stored, seq))
        return versions

    def summary(self, seq: int) -> CommitSummary:
        """Return what is known of commit `seq` without reading it; NotFound if there is none."""
        if not 1 <= seq <= self.seq:
            raise NotFound(f"there is no commit {seq}; the last is {self.seq}")
        time, seal, _, start, length = self.commits[seq - 1].tolist()
        try:
            words = json.loads(self.text[start : start + length].tobytes())
            user, host, op, message = (str(words[name]) for name in ("user", "host", "op", "message"))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damaged(f"the index is damaged: what it says of commit {seq} cannot be read") from None
        return CommitSummary(seq, time, user, host, op, message, _text(seal))

    def find_request(self, request: str) -> int | None:
        """Return the seq of the commit that carries `request`, None if there is none."""
        rows = np.flatnonzero(self.commits["request"] == request.encode())
        return int(rows[0]) + 1 if len(rows) else None

    def find_content(self, content: Mapping[str, str]) -> StoredFile | None:
        """Return a stored file that holds exactly these arrays (BLAKE3 by type), None if there is none."""
        for row in np.flatnonzero(self.arrays["blake3"] == next(iter(content.values())).encode()):
            arrays, file = self.file_arrays(int(self.arrays["file"][row]))
            if {array.type: array.blake3 for array in arrays} == content:
                return file
        return None

    def extend(self, commits: Sequence[Commit]) -> Table:
        """Return the table with `commits`, which follow its last one, added."""
        if not commits:
            return self
        panels = dict(self.panel_rows)
        kinds = {kind: bit for bit, kind in enumerate(self.kinds)}
        files: dict[str, int] = {}
        text = bytearray()
        new: dict[str, list[Any]] = {name: [] for name in LAYOUT}
        for commit in commits:
            words = {"user": commit.user, "host": commit.host, "op": commit.op, "message": commit.message}
            encoded = json.dumps(words, ensure_ascii=False).encode()
            new["commits"].append(
                (commit.time, commit.hash.encode(), commit.request.encode(), len(self.text) + len(text), len(encoded))
            )
            text += encoded
            for version in commit.versions:
                bits = 0
                for array in version.arrays:
                    bits |= 1 << kinds.setdefault((array.type, array.dtype, array.shape), len(kinds))
                panel = panels.setdefault(version.panel, len(panels))
                file = self._file_row(version, files, new, kinds)
                new["versions"].append(
                    (panel, version.number, int(version.stamp), version.start, commit.seq, file, bits)
                )
        new["panels"] = [name.encode() for name in list(panels)[len(self.panels) :]]
        grown = {
            name: np.concatenate([getattr(self, name), np.array(rows, LAYOUT[name])]) if rows else getattr(self, name)
            for name, rows in new.items()
        }
        grown["text"] = np.concatenate([self.text, np.frombuffer(bytes(text), "u1")])
        return replace(self, **grown, kinds=tuple(kinds))

    def _file_row(
        self, version: Version, files: dict[str, int], new: dict[str, list[Any]], kinds: Mapping[Kind, int]
    ) -> int:
        path = version.file.path
        if path not in files:
            known = np.flatnonzero(self.files["path"] == path.encode())
            if len(known):
                files[path] = int(known[0])
            else:
                files[path] = len(self.files) + len(new["files"])
                new["files"].append((path.encode(), version.file.size, version.file.blake3.encode()))
                for array in version.arrays:
                    kind = kinds[(array.type, array.dtype, array.shape)]
                    offset = version.file.offsets[array.type]
                    new["arrays"].append((files[path], kind, offset, array.blake3.encode()))
        return files[path]
