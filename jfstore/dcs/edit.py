"""Changes to what a file of the Detector Calibration Store holds, as pure functions: the old contents in, the new out.

Every change leaves a line in the history one level above what it changes. Numbers of versions are not
used again as far as that history shows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from jfstore.dcs.model import (
    Blob,
    DcsContents,
    DcsRange,
    DcsType,
    DcsVersion,
    Notes,
    find_range,
    find_version,
    last_of,
    range_key,
    version_key,
)
from jfstore.errors import BadValue, Refused

_NUMBERED = re.compile(r"(?:add|del) version (-?[0-9]{1,9})(?:$|:)", re.ASCII)
_TEXT = 1 << 16

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


def add_version(contents: DcsContents, new: Addition, now: float) -> tuple[DcsContents, DcsVersion]:
    """Return the contents with a version added at `now`, and that version.

    Raises
    ------
    Refused
        If the number is taken, or the range exists with another begin in the same second or lacks one end.
    BadValue
        If a text is none that a note can be.
    """
    for text in (new.message, *new.parameters.values(), new.predecessor, new.successor):
        _check_text(text)
    if "" in (*new.parameters.values(), new.predecessor, new.successor):
        raise BadValue("a parameter, a predecessor or a successor is empty, and no such note can be kept")
    held = _get(contents.types, "name", new.type) or DcsType(new.type)
    key = range_key(new.start)
    valid = _get(held.ranges, "key", key)
    notes, type_notes = contents.notes, held.notes
    if held not in contents.types:
        notes = noted(notes, f"add ctype {new.type}: ", now)
    if valid is None:
        valid = DcsRange(key, new.start, notes=Notes(parameters={"experiment": "unknown", "run": "0"}))
        told = dict(valid.notes.parameters) | dict(new.parameters)
        type_notes = noted(type_notes, f"add range {key}: exp={told['experiment']}:run={told['run']}", now)
    elif valid.problem:
        raise Refused(f"{contents.where}: {new.type}/{key} is never valid, {valid.problem}: delete that range first")
    elif valid.start != new.start:
        raise Refused(
            f"{contents.where}: {new.type}/{key} begins at {valid.start}, and the store can hold no second range "
            f"of that second: add at that time, or in another second"
        )
    number = _free_number(contents.where, new, valid)
    version = DcsVersion(number, new.blob, now, number)
    range_notes = noted(valid.notes, f"add version {number}: {new.message}", now)
    range_notes = replace(range_notes, parameters=dict(range_notes.parameters) | dict(new.parameters))
    valid = replace(valid, versions=_put(valid.versions, "number", version), notes=range_notes)
    held = replace(held, ranges=_put(held.ranges, "key", valid), notes=type_notes)
    changed = replace(
        contents,
        types=_put(contents.types, "name", held),
        notes=notes,
        created=now if contents.created is None else contents.created,
        predecessor=new.predecessor or contents.predecessor,
        successor=new.successor or contents.successor,
    )
    return changed, version


def delete_version(
    contents: DcsContents, type_name: str, held: DcsRange, number: int | None, message: str, now: float
) -> tuple[DcsContents, DcsVersion]:
    """Return the contents without a version of a range, and that version: the one with a number, or the last.

    The last is the whole one with the highest number, whichever is valid by default.

    Raises
    ------
    NotFound
        If there is no such version.
    """
    _check_text(message)
    known = last_of(held.whole) if number is None else _get(held.versions, "number", number)
    gone = known or find_version(contents, type_name, held, number)
    left = replace(
        held,
        versions=tuple(version for version in held.versions if version.number != gone.number),
        default=0 if held.default == gone.number else held.default,
        notes=noted(held.notes, f"del version {gone.number}: {message}", now),
    )
    owner = contents.type(type_name)
    owner = replace(owner, ranges=_put(owner.ranges, "key", left))
    return replace(contents, types=_put(contents.types, "name", owner)), gone


def delete_range(contents: DcsContents, type_name: str, key: str, message: str, now: float) -> DcsContents:
    """Return the contents without a range; NotFound if there is no such range."""
    _check_text(message)
    gone = find_range(contents, type_name, None, key)
    owner = contents.type(type_name)
    owner = replace(
        owner,
        ranges=tuple(held for held in owner.ranges if held is not gone),
        notes=noted(owner.notes, f"del range {key}: {message}", now),
    )
    return replace(contents, types=_put(contents.types, "name", owner))


def delete_type(contents: DcsContents, type_name: str, message: str, now: float) -> DcsContents:
    """Return the contents without a calibration type; NotFound if there is no such type."""
    _check_text(message)
    gone = contents.type(type_name)
    notes = noted(contents.notes, f"del ctype {type_name}: {message}", now)
    return replace(contents, types=tuple(held for held in contents.types if held is not gone), notes=notes)


def _free_number(where: str, new: Addition, held: DcsRange) -> int:
    there = {version.number for version in held.versions}
    free = next_number(there, held.notes)
    if new.number is None:
        return free
    if new.number < 1:
        raise BadValue(f"a version number is 1 or more, not {new.number}")
    if new.number in there | _numbers_in(held.notes):
        what = "is there already" if new.number in there else "was deleted, and numbers are not used again"
        raise Refused(f"{where}: {new.type}/{held.key}/{version_key(new.number)} {what}; {free} is free")
    return new.number


def _check_text(text: str | None) -> None:
    if text is not None and ("\0" in text or len(text.encode("utf-8", "surrogateescape")) > _TEXT - 64):
        raise BadValue("a note has a NUL or more than 64 KiB")


def next_number(there: Iterable[int], notes: Notes) -> int:
    """Return the number of the next version: above all that are there, and above all that a history tells of."""
    return max({0, *there, *_numbers_in(notes)}) + 1


def _numbers_in(notes: Notes) -> set[int]:
    return {int(match[1]) for text in notes.history.values() if (match := _NUMBERED.match(text))}


def noted(notes: Notes, text: str, now: float) -> Notes:
    """Return `notes` with a line of history more, at the first free microsecond from `now` on."""
    micros = math.floor(now * 1e6)
    while (time := f"{micros // 10**6}.{micros % 10**6:06d}") in notes.history:
        micros += 1
    return replace(notes, history=dict(notes.history) | {time: text})


def is_note(value: object) -> bool:
    """Whether a file can hold `value` as a note."""
    if isinstance(value, str):
        return not value.endswith("\0") and 0 < len(value.encode("utf-8", "surrogateescape")) <= _TEXT
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return isinstance(value, float) and math.isfinite(value)


def merged(notes: Notes, history: Mapping[str, str]) -> Notes:
    """Return `notes` with the lines of another history, too: of two of the same time the second comes after."""
    notes = replace(notes, history=dict(history) | dict(notes.history))
    for moment, text in history.items():
        if notes.history[moment] != text:
            try:
                notes = noted(notes, text, float(moment))
            except (ValueError, OverflowError):  # a name that is no time
                notes = noted(notes, text, 0.0)
    return notes


def _get(things: Iterable[T], attribute: str, value: object) -> T | None:
    return next((thing for thing in things if getattr(thing, attribute) == value), None)


def _put(things: Iterable[T], attribute: str, new: T) -> tuple[T, ...]:
    """Return `things` with `new` in place of the one of its name, in the order of their names."""
    value = getattr(new, attribute)
    kept = [thing for thing in things if getattr(thing, attribute) != value]
    return tuple(sorted([*kept, new], key=lambda thing: getattr(thing, attribute)))
