"""Answer from segments what a log says: which versions there are, and who made which commit.

A table is derived from the log and from nothing else. Its oldest segments may be in the index of the repository and are
read as far as they are needed; the others are in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.ids import KnownPanels
from jfstore.core.records import NO_FILE, Array, Commit, Naming, Statement, StoredFile, Version
from jfstore.core.segment import LAYOUT, NO_FILE_ROW, Columns, MemorySegment, Segment, make_segment, merge_segments
from jfstore.core.statements import decode_statement
from jfstore.errors import Damaged, NotFound

_MEMORY_SEGMENTS = 32
_MANY = 64
_ODD = (ValueError, KeyError, TypeError, RecursionError)


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


@dataclass(frozen=True, eq=False)
class Table:
    """What the commits 1 to ``seq`` of one repository say.

    Versions have row numbers, which mean something in this table and in those that extend it only.
    """

    segments: tuple[Segment, ...] = ()

    @classmethod
    def empty(cls) -> Table:
        return cls()

    @property
    def seq(self) -> int:
        """Number of the last commit, 0 if there is none."""
        return self.segments[-1].last if self.segments else 0

    @cached_property
    def head(self) -> str:
        """Hash of the last commit, empty if there is none."""
        return self._hash_at(self.seq)

    @property
    def last_time(self) -> int | None:
        """Time of the last commit in nanoseconds UTC, None if there is none."""
        return self._commit_row(self.seq)[0] if self.seq else None

    def __len__(self) -> int:
        """Return the number of versions."""
        return self._bases[-1]

    def continues(self, other: Table) -> bool:
        """Return whether `other` is the table of this log at an earlier commit, or at the same."""
        return other.seq <= self.seq and self._hash_at(other.seq) == other.head

    def _hash_at(self, seq: int) -> str:
        return str(self._commit_row(seq)[1].hex()) if seq else ""

    def _segment_of(self, seq: int) -> Segment:
        return self.segments[bisect_right(self.segments, seq, key=lambda segment: segment.first) - 1]

    def _commit_row(self, seq: int) -> Any:
        segment = self._segment_of(seq)
        return segment.column("commits", seq - segment.first, seq - segment.first + 1)[0].tolist()

    @cached_property
    def _bases(self) -> list[int]:
        """The first row of each segment, and the number of all rows."""
        return list(accumulate((segment.count("versions") for segment in self.segments), initial=0))

    @cached_property
    def panel_names(self) -> KnownPanels:
        """The panels that have versions, sorted, and the names that stand for Ids."""
        names: dict[str, str] = {}
        for _, _, statement in self.statements:
            if isinstance(statement, Naming):
                names.setdefault(statement.name, statement.id)  # a name is never moved
        return KnownPanels({name for segment in self.segments for name in segment.panels}, names)

    def rows(self, panel: str, calib_type: str | None = None) -> NDArray[np.intp]:
        """Return the rows of the versions of `panel`, in the order in which they were added.

        Only those that hold, or close, `calib_type`, if it is given.
        """
        found = [np.zeros(0, np.intp)]
        for base, segment in zip(self._bases, self.segments, strict=False):
            start, stop = segment.panels.get(panel, (0, 0))
            if start == stop:
                continue
            rows = np.arange(base + start, base + stop)
            if calib_type is not None:
                bits = np.uint64(segment.bits(calib_type))
                rows = rows[(segment.column("versions", start, stop)["kinds"] & bits) != 0]
            found.append(rows)
        return np.concatenate(found)

    def types_of(self, panel: str) -> set[str]:
        """Return the calibration types that any version of `panel` holds, or closes."""
        found: set[str] = set()
        for segment in self.segments:
            start, stop = segment.panels.get(panel, (0, 0))
            if start < stop:
                bits = int(np.bitwise_or.reduce(segment.column("versions", start, stop)["kinds"]))
                found.update(kind[0] for bit, kind in enumerate(segment.kinds) if bits >> bit & 1)
        return found

    def rows_at(self, panel: str, stamp: str) -> NDArray[np.intp]:
        """Return the rows of the versions of `panel` that start at `stamp`, in the order in which they were added."""
        rows = self.rows(panel)
        starts_there: NDArray[np.bool_] = self.take(rows)["stamp"] == int(stamp)
        return rows[starts_there]

    def last_rows(self, calib_type: str, limit: int, without: Container[str] = ()) -> NDArray[np.intp]:
        """Return the row of the last version that holds `calib_type`, of each of up to `limit` panels.

        Panels in newer segments come first. Panels in `without` are left out, and those whose last 16 versions in a
        segment do not hold the type are looked for in older segments.
        """
        found: dict[str, int] = {}
        for base, segment in zip(reversed(self._bases[:-1]), reversed(self.segments), strict=True):
            bits = np.uint64(segment.bits(calib_type))
            for panel, (start, stop) in segment.panels.items() if bits else ():
                if panel in found or panel in without:
                    continue
                first = max(start, stop - 16)
                columns = segment.column("versions", first, stop)
                holds = ((columns["kinds"] & bits) != 0) & (columns["file"] != NO_FILE_ROW)
                if np.any(holds):
                    found[panel] = base + first + int(np.flatnonzero(holds)[-1])
                if len(found) == limit:
                    return np.array(list(found.values()), np.intp)
        return np.array(list(found.values()), np.intp)

    def take(self, rows: Iterable[int] | NDArray[np.intp]) -> Columns:
        """Return `rows` as columns: ``number``, ``stamp``, ``start``, ``seq``, ``place``, and ``file``.

        ``file`` is `NO_FILE_ROW` for a close; ``panel``, ``file`` and ``kinds`` are those of the segment.
        """
        asked = np.asarray(rows, np.intp)
        parts = [self._rows_of(number, asked) for number in self._segment_numbers(asked)]
        if len(parts) == 1 and len(parts[0][0]) == len(asked):
            return parts[0][1]
        out = np.zeros(len(asked), LAYOUT["versions"])
        for places, columns in parts:
            out[places] = columns
        return out

    def _segment_numbers(self, rows: NDArray[np.intp]) -> list[int]:
        # Not np.unique, which loads numpy.ma: a full disk must not matter after a commit.
        counts = np.bincount(np.searchsorted(self._bases, rows, side="right") - 1)
        numbers: list[int] = np.flatnonzero(counts).tolist()
        return numbers

    def _rows_of(self, number: int, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Columns]:
        """Return which of `rows` are in segment `number`, and their columns."""
        base, end = self._bases[number : number + 2]
        places = np.flatnonzero((rows >= base) & (rows < end))
        inside = rows[places] - base
        low, high = int(inside.min()), int(inside.max()) + 1
        if high - low <= 4 * len(inside) + 64:
            return places, self.segments[number].column("versions", low, high)[inside - low]
        # Far apart: only what is asked for is read.
        single = [self.segments[number].column("versions", row, row + 1) for row in inside.tolist()]
        return places, np.concatenate(single)

    def version_list(self, rows: Iterable[int] | NDArray[np.intp] | None = None) -> list[Version]:
        """Return the versions of `rows` as records; all, in the order in which they were added, if not given.

        ``source``, ``origin``, ``about``, ``converted_from`` and ``sketch`` are in the commit only, see `Log.commit`.
        """
        asked = np.arange(len(self)) if rows is None else np.asarray(rows, np.intp)
        if rows is None:
            columns = self.take(asked)
            asked = asked[np.lexsort((columns["place"], columns["seq"]))]
        found: list[Version | None] = [None] * len(asked)
        for number in self._segment_numbers(asked):
            places, columns = self._rows_of(number, asked)
            for place, version in zip(places.tolist(), _versions(self.segments[number], columns), strict=True):
                found[place] = version
        return [version for version in found if version is not None]

    def rows_after(self, seq: int) -> NDArray[np.intp]:
        """Return the rows of the versions that commits after `seq` added."""
        found = [np.zeros(0, np.intp)]
        for base, segment in zip(self._bases, self.segments, strict=False):
            if segment.last > seq:
                found.append(base + np.flatnonzero(segment.column("versions")["seq"] > seq))
        return np.concatenate(found)

    def summary(self, seq: int) -> CommitSummary:
        """Return what is known of commit `seq` without reading it; NotFound if there is none."""
        if not 1 <= seq <= self.seq:
            raise NotFound(f"there is no commit {seq}; the last is {self.seq}")
        time, sealed = self._commit_row(seq)[:2]
        try:
            words = self._segment_of(seq).text(seq)
            user, host, op, message = (str(words[name]) for name in ("user", "host", "op", "message"))
        except _ODD:
            raise _odd_index(seq) from None
        return CommitSummary(seq, time, user, host, op, message, sealed.hex())

    @cached_property
    def statements(self) -> tuple[tuple[int, str, Statement], ...]:
        """The commits that have a statement: seq, operation and statement, in order."""
        found = []
        for segment in self.segments:
            for seq in segment.column("statements").tolist():
                try:
                    words = segment.text(seq)
                    found.append((seq, str(words["op"]), decode_statement(words["op"], words["statement"])))
                except _ODD:
                    raise _odd_index(seq) from None
        return tuple(found)

    @cached_property
    def are_joined(self) -> bool:
        """Whether any two panel Ids were declared one panel."""
        return any(op == "same_panel" for _, op, _ in self.statements)

    def seq_before(self, t: int) -> int:
        """Return the last commit whose time is not after `t`, 0 if there is none."""
        return bisect_right(range(1, self.seq + 1), t, key=lambda seq: self._commit_row(seq)[0])

    def find_request(self, request: str) -> int | None:
        """Return the seq of the commit that carries `request`, 32 hexadecimal digits; None if there is none."""
        wanted = bytes.fromhex(request)
        for segment in reversed(self.segments):
            for row in segment.find_keys("requests", wanted):
                if segment.column("commits", row, row + 1)[0].tolist()[2] == wanted:
                    return segment.first + row
        return None

    def find_content(self, content: Mapping[str, str]) -> StoredFile | None:
        """Return a stored file that holds exactly these arrays (BLAKE3 by type), None if there is none."""
        wanted = bytes.fromhex(next(iter(content.values())))
        for segment in self.segments:
            for row in segment.find_keys("contents", wanted):
                arrays, file = _file(segment, int(segment.column("arrays", row, row + 1)["file"][0]))
                if {array.type: array.blake3 for array in arrays} == content:
                    return file
        return None

    def rows_with_array(self, blake3: str) -> NDArray[np.intp]:
        """Return the rows of the versions that hold an array with this BLAKE3, of whatever type."""
        wanted = bytes.fromhex(blake3)
        found = [np.zeros(0, np.intp)]
        for base, segment in zip(self._bases, self.segments, strict=False):
            arrays = [segment.column("arrays", row, row + 1)[0] for row in segment.find_keys("contents", wanted)]
            files = [int(array["file"]) for array in arrays if array["blake3"].tobytes() == wanted]
            if files:
                # Every segment has the files of its own versions.
                found.append(base + np.flatnonzero(np.isin(segment.column("versions")["file"], files)))
        return np.concatenate(found)

    def last_commits(self) -> dict[str, int]:
        """Return for each stored array, by its BLAKE3, the last commit that added a version with it."""
        found: dict[str, int] = {}
        for segment in self.segments:
            versions, arrays = segment.column("versions"), segment.column("arrays")
            versions = versions[versions["file"] != NO_FILE_ROW]
            last = np.zeros(segment.count("files"), np.int64)
            np.maximum.at(last, versions["file"], versions["seq"])
            text = arrays["blake3"].tobytes().hex()
            names = (text[place : place + 64] for place in range(0, len(text), 64))
            found.update(zip(names, last[arrays["file"]].tolist(), strict=True))
        return found

    def extend(self, commits: Sequence[Commit]) -> Table:
        """Return the table with `commits`, which follow its last one, added."""
        if not commits:
            return self
        segments = (*self.segments, make_segment(commits))
        in_memory = [segment for segment in segments if isinstance(segment, MemorySegment)]
        if len(in_memory) > _MEMORY_SEGMENTS:
            segments = (*segments[: -len(in_memory)], merge_segments(in_memory))
        return Table(segments)


def _odd_index(seq: int) -> Damaged:
    return Damaged(f"the index is damaged: what it says of commit {seq} cannot be read")


def _versions(segment: Segment, columns: Columns) -> list[Version]:
    """Return rows of ``versions`` as records."""
    names: dict[int, str] = {}
    files: dict[int, tuple[tuple[Array, ...], StoredFile]] = {NO_FILE_ROW: ((), NO_FILE)}
    if len(columns) > _MANY:  # many small reads would cost more than one of everything
        segment = _whole(segment)
    found = []
    for panel, number, stamp, start, seq, _, file, bits in columns.tolist():
        if panel not in names:
            names[panel] = _text(segment.column("panels", panel, panel + 1).tolist()[0])
        if file not in files:
            files[file] = _file(segment, file)
        closes = _types_of_close(segment, bits) if file == NO_FILE_ROW else ()
        arrays, stored = files[file]
        version = Version(names[panel], f"{stamp:014d}", start, number, arrays, stored, seq, closes=closes)
        found.append(version)
    return found


def _whole(segment: Segment) -> MemorySegment:
    """Return a segment with what versions need in memory."""
    columns = {name: segment.column(name) for name in ("panels", "files", "arrays")}
    return MemorySegment(segment.first, segment.last, segment.kinds, columns)


def _types_of_close(segment: Segment, bits: int) -> tuple[str, ...]:
    return tuple(kind[0] for bit, kind in enumerate(segment.kinds) if bits >> bit & 1)


def _file(segment: Segment, row: int) -> tuple[tuple[Array, ...], StoredFile]:
    """Return the arrays of row `row` of ``files``, and the file."""
    path, size, sealed, first, count = segment.column("files", row, row + 1).tolist()[0]
    arrays, offsets = [], {}
    for _, kind, offset, blake3 in segment.column("arrays", first, first + count).tolist():
        name, dtype, shape = segment.kinds[kind]
        arrays.append(Array(name, dtype, shape, blake3.hex()))
        offsets[name] = offset
    return tuple(arrays), StoredFile(_text(path), size, sealed.hex(), offsets)
