"""What a file of the Detector Calibration Store holds, in the lines that ``dcs print`` has always printed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jfstore.dcs.model import DcsContents, DcsRange, DcsType, DcsVersion, Notes

_INDENT = "    "
_TEXT = 1 << 20


def lines_of(contents: DcsContents) -> Iterator[str]:
    """Yield the lines."""
    yield from _notes(1, "DCStore", contents.notes)
    yield from _fields(
        1,
        {
            "dettype    ": contents.detector_type,
            "detid      ": contents.detector_id,
            "detname    ": contents.detector_name,
            "tscfile    ": None if contents.created is None else f"{contents.created:.9f}: {_local(contents.created)}",
            "predecessor": contents.predecessor,
            "successor  ": contents.successor,
            "N types    ": len(contents.types),
            "types      ": [held.name for held in contents.types],
        },
    )
    for held in contents.types:
        yield from _type(held)


def _type(held: DcsType) -> Iterator[str]:
    yield from _notes(2, "DCType", held.notes)
    keys = [valid.key for valid in held.ranges]
    yield from _fields(2, {"ctype   ": held.name, "N ranges": len(keys), "ranges  ": keys})
    for valid in held.ranges:
        yield from _range(valid)


def _range(held: DcsRange) -> Iterator[str]:
    yield from _notes(3, "DCRange", held.notes)
    numbers = [version.number for version in held.versions]
    yield from _fields(
        3,
        {
            "begin    ": "None, so it is never valid" if held.start is None else f"{held.start} : {_local(held.start)}",
            "end      ": _end(held.end),
            "range    ": held.key,
            "versdef  ": held.valid.number if held.valid else 0,
            "N vers   ": len(numbers),
            "versions ": numbers,
        },
    )
    for version in held.versions:
        yield from _version(version)


def _end(end: float | None) -> str:
    if end is None:
        return "None, so it is never valid"
    return "end" if end == math.inf else f"{end} : {_local(end)}"


def _version(version: DcsVersion) -> Iterator[str]:
    yield from _notes(4, "DCVersion", version.notes)
    produced = version.produced
    yield from _fields(
        4,
        {
            "version   ": version.number,
            "tsprod    ": None if produced is None else f"{math.floor(produced)}: {_local(produced)}",
            **({"problem   ": version.problem} if version.problem else {}),
        },
    )
    blob = version.blob
    if blob is None:
        return
    if not blob.is_text:
        yield f"{_INDENT * 4} data.shape {blob.shape}  dtype {blob.dtype_name}"
        return
    if blob.nbytes > _TEXT:
        yield f"{_INDENT * 4} data of {blob.nbytes} bytes, more than are printed: get writes it"
        return
    yield f"{_INDENT * 4} data"
    for line in blob.text().split("\n"):
        yield f"{_INDENT * 4}     {line}"


def _fields(depth: int, fields: dict[str, object]) -> Iterator[str]:
    for name, value in fields.items():
        yield f"{_INDENT * depth} {name} {value}"


def _notes(depth: int, title: str, notes: Notes) -> Iterator[str]:
    indent = _INDENT * depth
    yield f"{indent} {title}"
    if notes.parameters:
        yield f"{indent} Parameters:"
        for name, value in notes.parameters.items():
            yield f"  {indent} par: {name:>20}  value: {value}"
    if notes.history:
        yield f"{indent} History:"
        for moment, text in sorted(notes.history.items(), key=lambda note: _seconds(note[0])):
            yield f"  {indent} {_local(_seconds(moment), fraction=False)} {text}"


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _local(seconds: float, fraction: bool = True) -> str:
    """Return a time as people write it, in the zone of this computer."""
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(math.floor(seconds)))
    except (ValueError, OverflowError, OSError):
        return f"{seconds}"
    return f"{text}{f'{seconds - math.floor(seconds):.6f}'.lstrip('0')}" if fraction else text
