"""XTC: datagrams and the tree of objects in each (pdsdata), read piecewise; everything in it is hostile.

A file is a sequence of datagrams. Each has a header of 40 bytes, whose last 20 are the header of
its top object; an object's extent includes its own 20 bytes. All words are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from jfstore.errors import Damaged, Failed
from jfstore.runs.source import Source

CONFIGURE, BEGIN_RUN, BEGIN_CALIB_CYCLE, ENABLE, L1_ACCEPT = 4, 6, 8, 10, 12
TRANSITIONS = (
    "Unknown Reset Map Unmap Configure Unconfigure BeginRun EndRun BeginCalibCycle EndCalibCycle Enable Disable "
    "L1Accept"
).split()

_DATAGRAM = struct.Struct("<10I")
_OBJECT = struct.Struct("<5I")
_CONTAINER = 1
_INCOMPLETE = 1 << 15  # of the damage word: IncompleteContribution
_LARGEST_DATAGRAM = 1 << 28  # as psana's
_MOST_OBJECTS = 100_000
_BLOCK = 1 << 16


class Readable(Protocol):
    """Bytes that XTC is read from: a file, or in a test a piece of memory."""

    name: str
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, all of which lie below `size`."""
        ...


class XtcBytes:
    """An open file as `Readable`, read in blocks so that a file of any size costs little.

    Raises
    ------
    Damaged
        On reading, if the file ends before the size that it had.
    Failed
        On reading, if the system cannot.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.size = os.fstat(fd).st_size
        self._fd = fd
        self._start = 0
        self._block = b""

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`."""
        start = offset - self._start
        if start < 0 or start + count > len(self._block):
            try:
                self._block, self._start, start = os.pread(self._fd, max(count, _BLOCK), offset), offset, 0
            except OSError as error:
                raise Failed(f"{self.name}: {error.strerror}") from None
            if len(self._block) < count:
                raise Damaged(f"{self.name} is shorter than it was: it ends before offset {offset + count}")
        return self._block[start : start + count]


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram: offsets in the file, clock, and which transition it is.

    Attributes
    ----------
    offset, end : int
        Where it begins, and where the next one does, in bytes.
    seconds, nanoseconds : int
        Its clock, since 1970 UTC.
    transition : int
        The index in `TRANSITIONS`; 0 for what is no event of the DAQ's sequence.
    fiducials : int
        Counts of the machine's 360 Hz clock.
    env : int
        Environment word; of a BeginRun the run's number, in at least one stream.
    """

    offset: int
    end: int
    seconds: int
    nanoseconds: int
    transition: int
    fiducials: int
    env: int

    @property
    def clock(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return self.seconds * 1_000_000_000 + self.nanoseconds


@dataclass(frozen=True, slots=True)
class XtcObject:
    """An object in a datagram that is no container.

    Attributes
    ----------
    offset : int
        Where its header is in the file.
    start, end : int
        Where its payload is.
    damage : int
        Damage word; not 0 if the DAQ said that something is wrong with it.
    source : Source
        What it came from.
    process : int
        Process id of what wrote it.
    type, version : int
        Its TypeId, without the compressed bit.
    compressed : bool
        Whether the payload is compressed.
    """

    offset: int
    start: int
    end: int
    damage: int
    source: Source
    process: int
    type: int
    version: int
    compressed: bool


def datagrams(file: Readable, offset: int = 0) -> Iterator[Datagram]:
    """Yield the datagrams of `file`, reading nothing but their headers.

    Raises
    ------
    Damaged
        If one is cut off, or its extent is not between 20 and what remains; the message names file and offset.
    """
    while offset < file.size:
        left = file.size - offset
        if left < _DATAGRAM.size:
            raise Damaged(f"{file.name} is cut off: {left} bytes of a datagram's header at offset {offset}")
        nanoseconds, seconds, low, high, env, *_, extent = _DATAGRAM.unpack(file.read(offset, _DATAGRAM.size))
        if not _OBJECT.size <= extent <= _LARGEST_DATAGRAM:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has the extent {extent}")
        end = offset + 20 + extent
        if end > file.size:
            raise Damaged(f"{file.name} is cut off: the datagram at offset {offset} needs {end - file.size} bytes more")
        if nanoseconds >= 1_000_000_000:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has a clock of {nanoseconds} ns in the second")
        is_event = not low >> 28 & 3
        transition = low >> 24 & 15 if is_event else 0
        yield Datagram(offset, end, seconds, nanoseconds, transition, high & 0x1FFFF, env)
        offset = end


def objects(file: Readable, datagram: Datagram) -> Iterator[XtcObject]:
    """Yield the objects in `datagram` that are no containers, in their order in the file.

    What is in a container that the DAQ marked as incomplete is left out, as pdsdata and psana do.

    Raises
    ------
    Damaged
        If an extent is not between 20 and what remains of its container, or there are too many objects.
    """
    left = _MOST_OBJECTS
    stack = [(datagram.offset + 20, datagram.end)]
    while stack:
        offset, end = stack.pop()
        if offset == end:
            continue
        if end - offset < _OBJECT.size:
            raise Damaged(f"{file.name}: {end - offset} stray bytes at offset {offset}")
        damage, log, phy, contains, extent = _OBJECT.unpack(file.read(offset, _OBJECT.size))
        if not _OBJECT.size <= extent <= end - offset:
            raise Damaged(f"{file.name}: an object at offset {offset} has the extent {extent} of {end - offset} bytes")
        left -= 1
        if not left:
            raise Damaged(f"{file.name}: the datagram at offset {datagram.offset} has over {_MOST_OBJECTS} objects")
        start, after = offset + _OBJECT.size, offset + extent
        stack.append((after, end))
        if contains & 0xFFFF != _CONTAINER:
            source, version = Source(log >> 24, phy), contains >> 16 & 0x7FFF
            yield XtcObject(
                offset, start, after, damage, source, log & 0xFFFFFF, contains & 0xFFFF, version, bool(contains >> 31)
            )
        elif not damage & _INCOMPLETE:
            stack.append((start, after))
