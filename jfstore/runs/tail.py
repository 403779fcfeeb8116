"""Find the end of a run: the clock of EndRun, or of the last datagram, from the tail of the last file of a stream.

Datagrams have no links backwards. The last one of a file is recognised by a plausible header whose extent ends where
the file ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from jfstore.errors import Damaged, Failed
from jfstore.fs.files import open_checked
from jfstore.runs.records import Run
from jfstore.runs.tree import RunFiles
from jfstore.runs.xtc import XtcBytes
from jfstore.runs.xtc2 import EPOCH

_NEAR, _FAR = 1 << 16, 1 << 24
"""EndRun and what is around it are small; an event of a stream with eight panels has 8 MB."""
_LONGEST = 2 * 86400
"""Seconds that a run lasts at most, which is several shifts."""
_MOST_PLACES = 100_000
"""Where a header may be that are tried; a file can be made so that there are millions."""
_WORD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the header of a datagram has its size and its clock, which counts seconds from an epoch."""

    header: int
    extent_at: int
    before_extent: int  # bytes of the header that the extent does not count
    epoch: int


_XTC, _XTC2 = _Layout(40, 36, 20, 0), _Layout(24, 20, 12, EPOCH)


def read_end(files: RunFiles, run: Run) -> int | None:
    """Return the end of a run in nanoseconds since 1970 UTC; None if it is not found.

    It is that of the lowest stream with a last chunk that can be read.
    """
    if run.start is None or files.is_unfinished:
        return None
    for paths in files.streams().values():
        with suppress(OSError, Damaged, Failed), open_checked(paths[-1], follow=True) as fd:
            end = _find_clock(XtcBytes(fd, paths[-1]), _XTC2 if files.is_xtc2 else _XTC, run.start)
            if end is not None:
                return end
    return None


def _find_clock(file: XtcBytes, layout: _Layout, start: int) -> int | None:
    """Return the clock of the last datagram of a file, if that is found."""
    for size in (_NEAR, _FAR):
        size = min(size, file.size)
        tail = file.read(file.size - size, size)
        first = start // 1_000_000_000 - layout.epoch
        # The upper half of the seconds is the same for 18 hours, which finds headers quickly.
        halves = range(first >> 16, (first + _LONGEST >> 16) + 1)
        places = (place for half in halves for place in _find_all(tail, struct.pack("<H", half & 0xFFFF), 6))
        clocks = []
        for count, place in enumerate(places):
            if count >= _MOST_PLACES:
                return None
            if (clock := _read_clock(tail, place, layout, start)) is not None:
                clocks.append(clock)
        if clocks:
            return max(clocks)
        if size == file.size:
            break
    return None


def _find_all(tail: bytes, what: bytes, offset: int) -> Iterator[int]:
    """Yield where datagrams may start that have `what` at an offset."""
    at = tail.find(what, offset)
    while at >= 0:
        yield at - offset
        at = tail.find(what, at + 1)


def _read_clock(tail: bytes, place: int, layout: _Layout, start: int) -> int | None:
    """Return the clock of the datagram at `place` if it ends where the file ends, and was written during the run."""
    if place + layout.header > len(tail):
        return None
    (extent,) = _WORD.unpack_from(tail, place + layout.extent_at)
    if place + layout.before_extent + extent != len(tail):
        return None
    nanoseconds, seconds = struct.unpack_from("<2I", tail, place)
    clock: int = (seconds + layout.epoch) * 1_000_000_000 + nanoseconds
    is_plausible = nanoseconds < 1_000_000_000 and 0 <= clock - start <= _LONGEST * 1_000_000_000
    return clock if is_plausible else None
