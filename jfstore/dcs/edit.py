"""Check constants, and derive changed contents of a DCS file, as pure functions: old contents in, new contents out.

Each change adds a line to the history one level above what it changes. Version numbers that this history mentions
are not used again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import check_array
from jfstore.core.calib_types import CALIB_TYPES, PAIRS
from jfstore.core.ids import resolve_detector
from jfstore.core.slabs import panel_of
from jfstore.dcs import model
from jfstore.dcs.model import GEOMETRY, PANEL_TYPES, Blob, DcsContents, DcsRange, DcsType, DcsVersion, Notes
from jfstore.errors import BadValue, JfstoreError, Refused

_VERSION_LINE = re.compile(r"(?:add|del) version (-?[0-9]{1,9})(?:$|:)", re.ASCII)
_TEXT = 1 << 16
_GAINS = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Addition:
    """A version to add, and what is noted with it."""

    type: str
    start: float
    blob: Blob
    message: str = ""
    number: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    predecessor: str | None = None
    successor: str | None = None


# -- changes


def add_version(contents: DcsContents, new: Addition, now: float) -> tuple[DcsContents, DcsVersion]:
    """Return the contents with a version added at `now`, and that version; Refused if its number is in use."""
    for text in (new.message, *new.parameters.values(), new.predecessor, new.successor):
        _check_text(text)
    if "" in (*new.parameters.values(), new.predecessor, new.successor):
        raise BadValue("a parameter, a predecessor or a successor is empty, which a file cannot hold")
    dcs_type = _find("name", new.type, contents.types) or DcsType(new.type)
    key = model.name_range(new.start)
    dcs_range = _find("key", key, dcs_type.ranges)
    notes, type_notes = contents.notes, dcs_type.notes
    if dcs_type not in contents.types:
        notes = add_line(notes, f"add ctype {new.type}: ", now)
    if dcs_range is None:
        dcs_range = DcsRange(key, new.start, notes=Notes(parameters={"experiment": "unknown", "run": "0"}))
        run = {**dcs_range.notes.parameters, **new.parameters}
        type_notes = add_line(type_notes, f"add range {key}: exp={run['experiment']}:run={run['run']}", now)
    elif dcs_range.problem:
        raise Refused(
            f"{contents.where}: {new.type}/{key} is never valid, {dcs_range.problem}: delete that range first"
        )
    elif dcs_range.start != new.start:
        raise Refused(
            f"{contents.where}: {new.type}/{key} starts at {dcs_range.start}, and a file cannot have a second range "
            f"of that second: add at that time, or in another second"
        )
    number = _choose_number(contents.where, new, dcs_range)
    version = DcsVersion(number, new.blob, now, number)
    range_notes = add_line(dcs_range.notes, f"add version {number}: {new.message}", now)
    range_notes = replace(range_notes, parameters={**range_notes.parameters, **new.parameters})
    dcs_range = replace(dcs_range, versions=_put("number", version, dcs_range.versions), notes=range_notes)
    dcs_type = replace(dcs_type, ranges=_put("key", dcs_range, dcs_type.ranges), notes=type_notes)
    changed = replace(
        contents,
        types=_put("name", dcs_type, contents.types),
        notes=notes,
        created=now if contents.created is None else contents.created,
        predecessor=new.predecessor or contents.predecessor,
        successor=new.successor or contents.successor,
    )
    return changed, version


def delete_version(
    contents: DcsContents, type_name: str, dcs_range: DcsRange, number: int | None, message: str, now: float
) -> tuple[DcsContents, DcsVersion]:
    """Return the contents without a version of a range, and that version; NotFound if there is no such version.

    Without a number it is the last usable version, whichever is valid by default.
    """
    _check_text(message)
    known = model.find_last(dcs_range.usable) if number is None else _find("number", number, dcs_range.versions)
    deleted = known or model.find_version(contents, type_name, dcs_range, number)
    left = replace(
        dcs_range,
        versions=tuple(version for version in dcs_range.versions if version.number != deleted.number),
        default=0 if dcs_range.default == deleted.number else dcs_range.default,
        notes=add_line(dcs_range.notes, f"del version {deleted.number}: {message}", now),
    )
    dcs_type = contents.find_type(type_name)
    dcs_type = replace(dcs_type, ranges=_put("key", left, dcs_type.ranges))
    return replace(contents, types=_put("name", dcs_type, contents.types)), deleted


def delete_range(contents: DcsContents, type_name: str, key: str, message: str, now: float) -> DcsContents:
    """Return the contents without a range; NotFound if there is no such range."""
    _check_text(message)
    deleted = model.find_range(contents, type_name, None, key)
    dcs_type = contents.find_type(type_name)
    dcs_type = replace(
        dcs_type,
        ranges=tuple(one for one in dcs_type.ranges if one is not deleted),
        notes=add_line(dcs_type.notes, f"del range {key}: {message}", now),
    )
    return replace(contents, types=_put("name", dcs_type, contents.types))


def delete_type(contents: DcsContents, type_name: str, message: str, now: float) -> DcsContents:
    """Return the contents without a calibration type; NotFound if there is no such type."""
    _check_text(message)
    deleted = contents.find_type(type_name)
    notes = add_line(contents.notes, f"del ctype {type_name}: {message}", now)
    return replace(contents, types=tuple(one for one in contents.types if one is not deleted), notes=notes)


def _choose_number(where: str, new: Addition, dcs_range: DcsRange) -> int:
    existing = {version.number for version in dcs_range.versions}
    free = find_free_number(existing, dcs_range.notes)
    if new.number is None:
        return free
    if new.number < 1:
        raise BadValue(f"a version number is 1 or more, not {new.number}")
    if new.number in existing | _numbers_in(dcs_range.notes):
        what = "exists already" if new.number in existing else "was deleted, and numbers are not used again"
        raise Refused(f"{where}: {new.type}/{dcs_range.key}/{model.name_version(new.number)} {what}; {free} is free")
    return new.number


def find_free_number(existing: Iterable[int], notes: Notes) -> int:
    """Return a version number greater than all `existing` ones and all that a history mentions."""
    return max({0, *existing, *_numbers_in(notes)}) + 1


def _numbers_in(notes: Notes) -> set[int]:
    return {int(match[1]) for text in notes.history.values() if (match := _VERSION_LINE.match(text))}


# -- history


def add_line(notes: Notes, text: str, now: float) -> Notes:
    """Return `notes` with one more line of history, at the first free microsecond from `now` on."""
    micros = math.floor(now * 1e6)
    while (time := f"{micros // 10**6}.{micros % 10**6:06d}") in notes.history:
        micros += 1
    return replace(notes, history={**notes.history, time: text})


def merge_history(notes: Notes, history: Mapping[str, str]) -> Notes:
    """Return `notes` with the lines of another history; a line with the time of another one is put after that."""
    notes = replace(notes, history={**history, **notes.history})
    for time, text in history.items():
        if notes.history[time] != text:
            try:
                notes = add_line(notes, text, float(time))
            except (ValueError, OverflowError):  # not the name of a time
                notes = add_line(notes, text, 0.0)
    return notes


def is_storable(value: object) -> bool:
    """Return whether a file can hold `value` as a parameter or a line of history."""
    if isinstance(value, str):
        return not value.endswith("\0") and 0 < len(value.encode("utf-8", "surrogateescape")) <= _TEXT
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return isinstance(value, float) and math.isfinite(value)


def _check_text(text: str | None) -> None:
    if text is not None and ("\0" in text or len(text.encode("utf-8", "surrogateescape")) > _TEXT - 64):
        raise BadValue("a note has a NUL or more than 64 KiB")


# -- checks of constants: wrong constants are worse than none


def make_text_blob(text: str, where: str) -> Blob:
    """Return a text in its stored form; BadValue if it is empty or has a NUL, which would end it."""
    raw = text.encode("utf-8", "surrogateescape")
    if not raw.strip() or b"\0" in raw:
        raise BadValue(f"{where}: the text is empty or has a NUL")
    array = np.array([raw])
    return Blob(array.dtype.str, array.shape, lambda: array)


def make_array_blob(array: NDArray[Any], name: str, where: str) -> Blob:
    """Return an array in its stored form, little-endian and in C order; BadValue unless it is of finite numbers."""
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise BadValue(f"{where}: dtype {array.dtype} is not a type of real numbers")
    if not array.ndim or not array.size:
        raise BadValue(f"{where}: shape {array.shape} has no values")
    if model.check_type_name(name) == GEOMETRY:
        raise BadValue(f"{where}: {GEOMETRY} is text, not an array")
    count = int(np.count_nonzero(~np.isfinite(array)))
    if count:
        raise BadValue(f"{where}: {count} of {array.size} values of {name} {'is' if count == 1 else 'are'} not finite")
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return Blob(stored.dtype.str, stored.shape, lambda: stored)


def check_blob(contents: DcsContents, name: str, blob: Blob, where: str) -> None:
    """Raise BadValue unless constants fit the detector and the other constants of its file."""
    if blob.is_text:
        total = blob.nbytes + sum(other.nbytes for other in contents.blobs() if other.is_text)
        if total > model.TEXTS:
            raise BadValue(
                f"{where}: with its {blob.nbytes} bytes all texts of {contents.where} are more than {model.TEXTS}"
            )
        return
    count = _count_panels(contents)
    if name in PAIRS[0] and count:
        for panel, part in enumerate(split_panels(blob.load(), count, name, where)):
            check_array(part, name, part.shape, f"{where}, panel {panel}" if count > 1 else where)
    for other_name, shape in _valid_shapes(contents):
        if other_name == name and shape != blob.shape:
            raise BadValue(f"{where}: shape {blob.shape}, but {name} in {contents.where} has {shape}")
        if other_name in PANEL_TYPES and name in PANEL_TYPES and shape[-2:] != blob.shape[-2:]:
            raise BadValue(f"{where}: rows and columns of {blob.shape} are not those of {other_name}, {shape}")


def split_panels(array: NDArray[Any], count: int, name: str, where: str) -> Iterator[NDArray[Any]]:
    """Yield the array of each of `count` panels, without the panel axis; BadValue if the shape does not fit."""
    gains = (_GAINS,) if name not in CALIB_TYPES or "gain" in CALIB_TYPES[name].axes else ()
    if array.ndim == len(gains) + 2 and count == 1:
        array = array[..., np.newaxis, :, :]
    if array.ndim != len(gains) + 3 or array.shape[:-2] != (*gains, count):
        raise BadValue(
            f"{where}: shape {array.shape} of {name} is not ({', '.join(map(str, (*gains, count)))}, rows, columns), "
            f"as for a Jungfrau of {count} panel{'' if count == 1 else 's'}"
        )
    for panel in range(count):
        yield panel_of(array, panel)


def _count_panels(contents: DcsContents) -> int:
    """Return how many panels a Jungfrau has; 0 if the detector is another one or its Id does not say that."""
    if contents.detector_type != model.JUNGFRAU:
        return 0
    try:
        return len(resolve_detector(contents.detector_id or ""))
    except JfstoreError:
        return 0


def _valid_shapes(contents: DcsContents) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield calibration type and shape of each array that is valid at some time."""
    for dcs_type in contents.types:
        for dcs_range in dcs_type.ranges:
            version = dcs_range.valid_version
            if version and version.blob and not version.blob.is_text:
                yield dcs_type.name, version.blob.shape


def _find(attribute: str, value: object, things: Iterable[T]) -> T | None:
    return next((thing for thing in things if getattr(thing, attribute) == value), None)


def _put(attribute: str, new: T, things: Iterable[T]) -> tuple[T, ...]:
    """Return `things` with `new` in place of the one of the same name or number, sorted by it."""
    value = getattr(new, attribute)
    others = [thing for thing in things if getattr(thing, attribute) != value]
    return tuple(sorted([*others, new], key=lambda thing: getattr(thing, attribute)))
