"""Format the contents of a DCS file as the lines that ``dcs print`` prints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

import numpy as np

from jfstore.dcs.model import DcsContents, DcsRange, DcsVersion, Notes

_INDENT = "    "
_PRINTED = 1 << 20


def format_contents(contents: DcsContents) -> Iterator[str]:
    """Yield the lines that ``dcs print`` prints."""
    yield from _format_notes(1, "DCStore", contents.notes)
    created = contents.created
    fields = {
        "dettype    ": contents.detector_type,
        "detid      ": contents.detector_id,
        "detname    ": contents.detector_name,
        "tscfile    ": None if created is None else f"{created:.9f}: {_format_time(created)}",
        "predecessor": contents.predecessor,
        "successor  ": contents.successor,
        "N types    ": len(contents.types),
        "types      ": [dcs_type.name for dcs_type in contents.types],
    }
    yield from _format_fields(1, fields)
    for dcs_type in contents.types:
        yield from _format_notes(2, "DCType", dcs_type.notes)
        keys = [dcs_range.key for dcs_range in dcs_type.ranges]
        yield from _format_fields(2, {"ctype   ": dcs_type.name, "N ranges": len(keys), "ranges  ": keys})
        for dcs_range in dcs_type.ranges:
            yield from _format_range(dcs_range)


def _format_range(dcs_range: DcsRange) -> Iterator[str]:
    yield from _format_notes(3, "DCRange", dcs_range.notes)
    start, end = dcs_range.start, dcs_range.end
    never = "None, so it is never valid"
    numbers = [version.number for version in dcs_range.versions]
    fields = {
        "begin    ": never if start is None else f"{start} : {_format_time(start)}",
        "end      ": never if end is None else "end" if end == math.inf else f"{end} : {_format_time(end)}",
        "range    ": dcs_range.key,
        "versdef  ": dcs_range.valid_version.number if dcs_range.valid_version else 0,
        "N vers   ": len(numbers),
        "versions ": numbers,
    }
    yield from _format_fields(3, fields)
    for version in dcs_range.versions:
        yield from _format_version(version)


def _format_version(version: DcsVersion) -> Iterator[str]:
    yield from _format_notes(4, "DCVersion", version.notes)
    produced, blob = version.produced, version.blob
    fields = {
        "version   ": version.number,
        "tsprod    ": None if produced is None else f"{math.floor(produced)}: {_format_time(produced)}",
        **({"problem   ": version.problem} if version.problem else {}),
    }
    yield from _format_fields(4, fields)
    if blob is None:
        return
    if not blob.is_text:
        yield f"{_INDENT * 4} data.shape {blob.shape}  dtype {np.dtype(blob.dtype)}"
    elif blob.nbytes > _PRINTED:
        yield f"{_INDENT * 4} data of {blob.nbytes} bytes, more than are printed: get writes it"
    else:
        yield f"{_INDENT * 4} data"
        yield from (f"{_INDENT * 4}     {line}" for line in blob.text().split("\n"))


def _format_fields(depth: int, fields: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{_INDENT * depth} {name} {value}" for name, value in fields.items())


def _format_notes(depth: int, title: str, notes: Notes) -> Iterator[str]:
    indent = _INDENT * depth
    yield f"{indent} {title}"
    if notes.parameters:
        yield f"{indent} Parameters:"
        for name, value in notes.parameters.items():
            yield f"  {indent} par: {name:>20}  value: {value}"
    if notes.history:
        yield f"{indent} History:"
        for moment, text in sorted(notes.history.items(), key=lambda line: _parse_time(line[0])):
            yield f"  {indent} {_format_time(_parse_time(moment), fraction=False)} {text}"


def _parse_time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _format_time(seconds: float, fraction: bool = True) -> str:
    """Return a time in the zone of this computer."""
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(math.floor(seconds)))
    except (ValueError, OverflowError, OSError):
        return f"{seconds}"
    return f"{text}{f'{seconds - math.floor(seconds):.6f}'.lstrip('0')}" if fraction else text
