"""What adding does before a commit is published: checks, arrays into files, numbers for versions."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from jfstore.core.arrays import Checked
from jfstore.core.calib_types import calib_type
from jfstore.core.hashing import digest
from jfstore.core.ids import parse_panel
from jfstore.core.instants import exact_stamp, iso, zone_named
from jfstore.core.records import Array, Commit, Identity, StoredFile, Version
from jfstore.core.table import Table
from jfstore.core.validity import holding
from jfstore.errors import BadValue
from jfstore.storage.base import Storage

_MESSAGE_LIMIT = 1 << 16
_REQUEST = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to add: the arrays of one panel, by calibration type, as `check_array` returned them, and
    their start of validity: the stamp, and the instant it names in nanoseconds UTC (``start``)."""

    panel: str
    stamp: str
    start: int
    arrays: Mapping[str, Checked]
    source: str | None = None
    origin: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What `Repository.add` did: the last commit, the versions added, and for each entry that was
    there already its source or name with the version that holds it."""

    seq: int
    versions: tuple[Version, ...]
    unchanged: tuple[tuple[str, str], ...]


def stored(
    storage: Storage, identity: Identity, entries: Iterable[Entry], table: Table, dry_run: bool
) -> Iterator[Version]:
    """Publish the arrays of `entries` that are not stored yet; yield versions that have no number yet.

    Entries are taken one by one, and their arrays let go.
    """
    zone = zone_named(identity.zone)
    files: dict[tuple[tuple[str, str], ...], StoredFile] = {}
    for entry in entries:
        _check_entry(entry, zone)
        arrays = []
        for name, checked in sorted(entry.arrays.items()):
            if checked.array.dtype.str != calib_type(name).dtype or not checked.array.flags.c_contiguous:
                raise BadValue(f"{name} of {entry.panel} was not made by check_array: dtype {checked.array.dtype}")
            if checked.array.shape != identity.panel_shape:
                raise BadValue(
                    f"{name} of {entry.panel} has shape {checked.array.shape}, "
                    f"panels of this repository have {identity.panel_shape}"
                )
            seal = digest(checked.array.reshape(-1).view("u1"))
            arrays.append(Array(name, checked.array.dtype.str, checked.array.shape, seal, checked.converted_from))
        key = tuple((array.type, array.blake3) for array in arrays)
        if key not in files:
            files[key] = _file_of(storage, entry, arrays, table, dry_run)
        yield Version(
            entry.panel, entry.stamp, entry.start, 0, tuple(arrays), files[key], 0, _clean(entry.source), entry.origin
        )


def _file_of(storage: Storage, entry: Entry, arrays: Sequence[Array], table: Table, dry_run: bool) -> StoredFile:
    known = table.find_content({array.type: array.blake3 for array in arrays})
    if known and (dry_run or storage.check(known, arrays, quick=False) is None):
        return known
    if dry_run:
        return StoredFile("", 0, "", {})
    return storage.store(entry.panel, entry.stamp, {name: c.array for name, c in entry.arrays.items()})


def _clean(source: str | None) -> str | None:
    """Return a name of a file as text that any commit may carry."""
    return None if source is None else source.encode("utf-8", "backslashreplace").decode()


def _check_entry(entry: Entry, zone: ZoneInfo) -> None:
    if not entry.arrays:
        raise BadValue(f"{entry.panel}: there are no arrays to add")
    if str(parse_panel(entry.panel)) != entry.panel:
        raise BadValue(f"{entry.panel!r} is not the normal form of a panel Id, {parse_panel(entry.panel)}")
    if exact_stamp(entry.start, zone) != entry.stamp:
        raise BadValue(f"stamp {entry.stamp!r} is not that of {iso(entry.start)}, {exact_stamp(entry.start, zone)}")


Known = Callable[[Version, Sequence[Version]], str | None]
"""Returns the version that makes adding one needless, given those about to be added; None if there is none."""


def numbered(
    pending: Sequence[Version], table: Table, seq: int, known: Known, unchanged: list[tuple[str, str]]
) -> Iterator[Version]:
    """Yield what is new of `pending` with its numbers; the others go to `unchanged`."""
    new: list[Version] = []
    for version in pending:
        same = known(version, new)
        if same:
            unchanged.append((version.source or f"{version.panel}/{version.stamp}", same))
            continue
        rows = table.rows(version.panel)
        numbers = table.versions["number"][rows[table.versions["stamp"][rows] == int(version.stamp)]].tolist()
        numbers += [other.number for other in new if (other.panel, other.stamp) == (version.panel, version.stamp)]
        new.append(replace(version, number=max(numbers, default=0) + 1, seq=seq))
        yield new[-1]


def known_content(table: Table, once: bool) -> Known:
    """Return the rule that content is not added again that holds; nor, with `once`, content that ever held."""
    return lambda version, new: holding(table, version.panel, version.stamp, version.content, once, new)


def known_origin(table: Table, commit_of: Callable[[int], Commit], pending: Sequence[Version]) -> Known:
    """Return the rule that what came from the same origin is not added again, whatever its content.

    What follows something new of its panel, stamp and types is added again, so that it still comes after that; and
    so is the last of `pending`, if what holds there now is something else of the same detector's file.
    """
    last = {_beside(version): version for version in pending}
    there: dict[tuple[str, str], list[Version]] = {}
    fresh: set[Any] = set()
    seen = 0

    def at(panel: str, stamp: str) -> list[Version]:
        """Return the versions of a panel and stamp, with their origins."""
        if (panel, stamp) not in there:
            rows = table.rows(panel)
            seqs = table.versions["seq"][rows[table.versions["stamp"][rows] == int(stamp)]].tolist()
            added = [version for seq in dict.fromkeys(seqs) for version in commit(seq).versions]
            there[panel, stamp] = sorted(
                (version for version in added if (version.panel, version.stamp) == (panel, stamp)),
                key=lambda version: version.number,
            )
        return there[panel, stamp]

    commit = cache(commit_of)

    def known(version: Version, new: Sequence[Version]) -> str | None:
        nonlocal seen
        fresh.update(map(_beside, new[seen:]))
        seen = len(new)
        if _beside(version) in fresh:
            return None
        same = [
            other
            for other in at(version.panel, version.stamp)
            if _beside(other) == _beside(version) and _came_from(other) == _came_from(version)
        ]
        if not same:
            return None
        holding = [o for o in at(version.panel, version.stamp) if version.content.keys() <= o.content.keys()][-1]
        is_last = last[_beside(version)] is version
        # What was recovered on purpose stays, though the file by itself would not have it.
        replaces = holding.content != version.content and not (holding.origin or {}).get("recovered")
        if is_last and replaces and _detector(holding) == _detector(version) is not None:
            return None
        return same[-1].name

    return known


def _beside(version: Version) -> tuple[Any, ...]:
    return version.panel, version.stamp, tuple(version.content)


def _detector(version: Version) -> Any:
    return (version.origin or {}).get("detector")


def _came_from(version: Version) -> tuple[Any, ...]:
    """Return what tells a version of another place from every other one of that place."""
    origin = version.origin or {}
    return (*(origin.get(name) for name in ("repository", "version", "produced")), version.content)


def checked_message(message: str) -> str:
    """Return `message` if a commit may carry it: not empty, clean text, of at most 64 KiB."""
    if not message.strip():
        raise BadValue("a commit needs a message that says why: -m MESSAGE")
    try:
        size = len(message.encode())
    except UnicodeEncodeError:
        raise BadValue("the message is not UTF-8") from None
    if size > _MESSAGE_LIMIT or "\0" in message:
        raise BadValue("the message has a NUL or more than 64 KiB")
    return message


def checked_request(request: str | None) -> str:
    """Return `request`, or a new random one if it is None."""
    if request is None:
        return secrets.token_hex(16)
    if not _REQUEST.fullmatch(request):
        raise BadValue(f"request {request!r} is not 32 hexadecimal digits")
    return request
