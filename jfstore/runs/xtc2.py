"""Parse XTC2 files (LCLS-II): datagrams, the Names that describe data, and values. Every byte is treated as hostile.

A file is a sequence of datagrams. Each has a header of 24 bytes, whose last 12 are the header of its top object; the
extent of an object includes its own 12 bytes. All words are little-endian. Names say what the values of a detector's
segment are called; ShapesData with the number of a Names hold the values. The layout is that of ``xtcdata`` in lcls2
(``Dgram.hh``, ``Xtc.hh``, ``ShapesData.hh``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from jfstore.errors import Damaged
from jfstore.runs.xtc import CutOff, Readable

EPOCH = 631_152_000
"""Unix time of 1990-01-01, from which clocks count seconds."""

Service = IntEnum(
    "Service",
    "ClearReadout Reset Configure Unconfigure BeginRun EndRun BeginStep EndStep Enable Disable SlowUpdate "
    "L1AcceptEndOfBatch L1Accept",
    start=0,
)
"""What a datagram is for."""

DATAGRAM = struct.Struct("<4I2HI")
_OBJECT = struct.Struct("<I2HI")
_NAMES = struct.Struct("<I256s256s256s256s2I")  # numArrays, detType, detName, detId, alg, its version, segment
_NAME = struct.Struct("<260x256s2I")  # the alg of a value is never used; name, type, rank
_SHAPE = struct.Struct("<5I")
_PARENT, _SHAPES_DATA, _SHAPES, _DATA, _NAMES_TYPE = range(5)
_LARGEST_DATAGRAM = 1 << 30
_MOST_OBJECTS = 100_000
_MOST_VALUES = 5_000
_MOST_BYTES = 1 << 20
"""Of the values of one ShapesData that are read; a configuration has some kilobytes."""
_SIZES = (1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 1, 4, 4)
"""Sizes of the types of values, in the order of their numbers: unsigned, signed, float, text, and values of enums."""
_TEXT, _ENUM_VALUE, _ENUM_WORD = 10, 11, 12
_INTEGERS = {0: "<B", 1: "<H", 2: "<I", 3: "<Q", 4: "<b", 5: "<h", 6: "<i", 7: "<q", 11: "<I", 12: "<I"}


@dataclass(frozen=True, slots=True)
class Datagram2:
    """A datagram; only its header was read."""

    offset: int
    end: int
    clock: int  # nanoseconds since 1970 UTC; that of BeginRun is the start of the run
    service: int  # a Service

    @property
    def kind(self) -> int:
        """What it is for: `service`."""
        return self.service

    @property
    def has_time(self) -> bool:
        """Whether its clock was set."""
        return self.clock > 0


@dataclass(frozen=True, slots=True)
class Object2:
    """An object in a datagram that is not a Parent; its payload was not read."""

    offset: int
    end: int
    source: int  # which Names it is or belongs to
    type: int

    @property
    def start(self) -> int:
        """Where the payload begins."""
        return self.offset + _OBJECT.size


@dataclass(frozen=True, slots=True)
class Names:
    """What a Names object says of the values of one segment and algorithm."""

    detector: str
    type: str
    id: str
    algorithm: str
    version: int
    segment: int
    values: tuple[tuple[str, int, int], ...]  # name, type and rank of each


def read_datagrams2(file: Readable, offset: int = 0) -> Iterator[Datagram2]:
    """Yield the datagrams of a file; Damaged if one is cut off, or its extent or clock is impossible."""
    while offset < file.size:
        left = file.size - offset
        if left < DATAGRAM.size:
            raise CutOff(f"{file.name} is cut off: {left} bytes of a datagram's header at offset {offset}")
        nanoseconds, seconds, env, _, _, kind, extent = DATAGRAM.unpack(file.read(offset, DATAGRAM.size))
        end = offset + 12 + extent
        if not _OBJECT.size <= extent <= _LARGEST_DATAGRAM:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has the extent {extent}")
        if kind & 0xFFF != _PARENT:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has the type {kind & 0xFFF}")
        if end > file.size:
            raise CutOff(f"{file.name} is cut off: the datagram at offset {offset} needs {end - file.size} bytes more")
        if nanoseconds >= 1_000_000_000:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has a clock of {nanoseconds} ns in the second")
        clock = (seconds + EPOCH) * 1_000_000_000 + nanoseconds if seconds else 0
        yield Datagram2(offset, end, clock, env >> 24 & 15)
        offset = end


def read_objects2(file: Readable, datagram: Datagram2) -> Iterator[Object2]:
    """Yield the Names and ShapesData in a datagram, in the order of the file.

    Damaged is raised if an extent is not between 12 and the rest of its parent, or there are too many objects.
    """
    left = _MOST_OBJECTS
    stack = [(datagram.offset + DATAGRAM.size, datagram.end)]
    while stack:
        offset, end = stack.pop()
        if offset == end:
            continue
        source, kind, after = _read_object(file, offset, end)
        left -= 1
        if not left:
            raise Damaged(f"{file.name}: the datagram at offset {datagram.offset} has over {_MOST_OBJECTS} objects")
        stack.append((after, end))
        if kind == _PARENT:
            stack.append((offset + _OBJECT.size, after))
        elif kind in (_SHAPES_DATA, _NAMES_TYPE):
            yield Object2(offset, after, source, kind)


def _read_object(file: Readable, offset: int, end: int) -> tuple[int, int, int]:
    """Return source, type and end of the object at `offset`, which lies in a parent that ends at `end`."""
    if end - offset < _OBJECT.size:
        raise Damaged(f"{file.name}: {end - offset} stray bytes at offset {offset}")
    source, _, kind, extent = _OBJECT.unpack(file.read(offset, _OBJECT.size))
    if not _OBJECT.size <= extent <= end - offset:
        raise Damaged(f"{file.name}: an object at offset {offset} has the extent {extent} of {end - offset} bytes")
    return source, kind & 0xFFF, offset + extent


def is_names(found: Object2) -> bool:
    """Return whether an object is a Names."""
    return found.type == _NAMES_TYPE


def read_names(file: Readable, found: Object2) -> Names:
    """Read a Names object; Damaged if its size or a text in it is impossible."""
    where = f"{file.name}: the Names at offset {found.offset}"
    size = found.end - found.start - _NAMES.size
    if size < 0 or size % _NAME.size or size > _MOST_VALUES * _NAME.size:
        raise Damaged(f"{where} have {found.end - found.start} bytes, which do not hold whole names")
    _, kind, detector, detector_id, algorithm, version, segment = _NAMES.unpack(file.read(found.start, _NAMES.size))
    detector_text, type_text, id_text, algorithm_text = (
        _decode(text, where) for text in (detector, kind, detector_id, algorithm)
    )
    values = []
    for name, value_type, rank in _NAME.iter_unpack(file.read(found.start + _NAMES.size, size)):
        if value_type >= len(_SIZES) or rank > _SHAPE.size // 4:
            raise Damaged(f"{where} have a value of type {value_type} and rank {rank}")
        values.append((_decode(name, where), value_type, rank))
    return Names(detector_text, type_text, id_text, algorithm_text, version, segment, tuple(values))


def _decode(text: bytes, where: str) -> str:
    head, zero, _ = text.partition(b"\0")
    if not zero:
        raise Damaged(f"{where} have a text of {len(text)} bytes without an end")
    return head.decode("ascii", "backslashreplace")


def read_values(file: Readable, found: Object2, names: Names) -> Mapping[str, int | str]:
    """Read the integers, enums and texts of a ShapesData; Damaged if the sizes do not fit.

    The words of enums, such as ``DYNAMIC:gainModeEnum``, are among the values.
    """
    where = f"{file.name}: the ShapesData at offset {found.offset}"
    shapes, data = _find_parts(file, found, where)
    size = data.end - data.start
    ranks = [rank for _, _, rank in names.values if rank]
    if shapes is None or shapes.end - shapes.start < len(ranks) * _SHAPE.size:
        if ranks:
            raise Damaged(f"{where} lacks the shapes of {len(ranks)} arrays")
        raw = b""
    else:
        raw = file.read(shapes.start, len(ranks) * _SHAPE.size)
    sizes = iter(_SHAPE.iter_unpack(raw))
    payload = file.read(data.start, min(size, _MOST_BYTES))
    values: dict[str, int | str] = {}
    offset = 0
    for name, kind, rank in names.values:
        count = math.prod(next(sizes)[:rank]) if rank else 1
        end = offset + count * _SIZES[kind]
        if end > size:
            raise Damaged(f"{where} has {size} bytes of values, too few for {name!r}")
        if end > len(payload):
            break  # what is wanted comes before large arrays
        if kind == _TEXT and rank:
            values[name] = payload[offset:end].split(b"\0")[0].decode("ascii", "backslashreplace")
        elif not rank and kind in _INTEGERS:
            values[name] = struct.unpack_from(_INTEGERS[kind], payload, offset)[0]
        offset = end
    return values


def _find_parts(file: Readable, found: Object2, where: str) -> tuple[Object2 | None, Object2]:
    """Return the Shapes, if there are any, and the Data of a ShapesData."""
    parts: dict[int, Object2] = {}
    offset = found.start
    while offset < found.end:
        source, kind, end = _read_object(file, offset, found.end)
        if kind not in (_SHAPES, _DATA) or kind in parts:
            raise Damaged(f"{where} has an object of type {kind} at offset {offset}")
        parts[kind] = Object2(offset, end, source, kind)
        offset = end
    if _DATA not in parts:
        raise Damaged(f"{where} has no data")
    return parts.get(_SHAPES), parts[_DATA]


def find_enum_word(names: Names, values: Mapping[str, int | str], name: str) -> tuple[int | None, str | None]:
    """Return the number and the word of a value, which is an enum or a plain integer; None if there is none.

    The DAQ writes an enum as ``<name>:<enum>``, and each of its words as ``<word>:<enum>``.
    """
    for full, kind, rank in names.values:
        stem, _, enum = full.partition(":")
        number = values.get(full)
        if stem != name or rank or type(number) is not int:
            continue
        words = (
            other.partition(":")[0]
            for other, other_kind, _ in names.values
            if kind == _ENUM_VALUE
            and other_kind == _ENUM_WORD
            and other.partition(":")[2] == enum
            and values.get(other) == number
        )
        return number, next(words, None)
    return None, None
