"""Decide which version is valid when (docs/design.md, "Which version is valid"): `timeline`, and `select` on it.

The greatest stamp at or before a time wins; of one stamp the version that was added last, which has the highest
number. Never a later one, never "the closest", never the newest insertion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from jfstore.core.instants import Instant, instant_at, iso, stamp_at
from jfstore.core.records import SamePanel, Statement, Version, Withdrawal
from jfstore.core.segment import NO_FILE_ROW
from jfstore.core.table import Table
from jfstore.errors import NotFound, nearest

FOREVER = 2**63
"""End of an interval that no later stamp closes, in nanoseconds; after every instant."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One half-open interval of a timeline, in nanoseconds UTC, and the version that is valid in it; a close: none."""

    start: int
    end: int
    version: Version


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Which version of a panel is valid when, for one calibration type, as of one commit.

    Attributes
    ----------
    panel, type : str
        Panel Id and calibration type.
    starts : ndarray
        Start of each interval in nanoseconds UTC, int64, ascending; each ends where the next one starts.
    rows : ndarray
        Row of the version that is valid in each interval, in `table`; where it is a close, nothing is valid.
    table : Table
        The table that it was made of.
    """

    panel: str
    type: str
    starts: NDArray[np.int64]
    rows: NDArray[np.intp]
    table: Table

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Interval]:
        starts = self.starts.tolist()
        return map(Interval, starts, [*starts[1:], FOREVER], self.table.version_list(self.rows))

    def place(self, t: int) -> int:
        """Return the number of the interval that holds instant `t`; -1 if nothing is valid at `t`."""
        return find_interval(self.starts, t)

    def end(self, place: int) -> int | None:
        """Return the end of interval `place` in nanoseconds UTC, None if it has none."""
        return int(self.starts[place + 1]) if place + 1 < len(self.starts) else None

    def at(self, t: int) -> Version | None:
        """Return the version that is valid at instant `t`, None if there is none."""
        place = self.place(t)
        version = self.table.version_list(self.rows[[place]])[0] if place >= 0 else None
        return None if version is None or version.closes else version


def find_interval(starts: Sequence[int] | NDArray[np.int64], t: int) -> int:
    """Return which interval holds instant `t`, of those from one of the ascending `starts` to the next; -1 if none."""
    return int(np.searchsorted(starts, t, side="right")) - 1


def timeline(table: Table, panel: str, calib_type: str, as_of: int | None = None) -> Timeline:
    """Return which version of `panel` is valid when, of those that hold `calib_type`.

    Parameters
    ----------
    table : Table
        The table of the repository.
    panel : str
        Panel Id in its normal form.
    calib_type : str
        Calibration type.
    as_of : int, optional
        Only what commits up to this seq say counts.
    """
    rows, columns = candidates(table, panel, calib_type, as_of)
    starts = columns["start"]
    if not np.all(starts[1:] > starts[:-1]):
        # Of one start the one that was added last wins; of one panel Id that is the highest number.
        latest = [columns["place"], columns["seq"]] if table.are_joined else [columns["number"]]
        order = np.lexsort([*latest, starts])
        rows, starts = rows[order], starts[order]
        last = np.append(starts[1:] != starts[:-1], True)
        rows, starts = rows[last], starts[last]
    return Timeline(panel, calib_type, starts, rows, table)


def candidates(
    table: Table, panel: str, calib_type: str | None, as_of: int | None
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the rows that can answer for `panel`, and their columns: versions and closes that are not withdrawn.

    They are those of every Id that was declared the same panel, in the order in which they were added to each.
    """
    until = table.seq if as_of is None else as_of
    said = _statements_until(table, until)
    rows = np.concatenate([table.rows(name, calib_type) for name in _same_panels(panel, said)])
    columns = table.take(rows)
    counts = columns["seq"] <= until
    if withdrawn := _withdrawn(said):
        names = [version.name for version in table.version_list(rows)]
        counts &= np.array([name not in withdrawn for name in names], bool)
    return (rows, columns) if np.all(counts) else (rows[counts], columns[counts])


def _statements_until(table: Table, as_of: int) -> list[tuple[str, Statement]]:
    """Return the statements of commits up to `as_of`, with their operations."""
    return [(op, statement) for seq, op, statement in table.statements if seq <= as_of]


def _same_panels(panel: str, said: Sequence[tuple[str, Statement]]) -> list[str]:
    """Return every Id that is declared the same panel as `panel`, itself first."""
    pairs: dict[frozenset[str], bool] = {}
    for op, statement in said:
        if isinstance(statement, SamePanel):
            pairs[frozenset(statement.panels)] = op == "same_panel"
    found = [panel]
    for name in found:
        joined = (pair for pair, holds in pairs.items() if holds and name in pair)
        found += [other for pair in joined for other in sorted(pair) if other not in found]
    return found


def find_joined_panels(table: Table, panel: str, as_of: int | None = None) -> list[str]:
    """Return every Id that is declared the same panel as `panel`, itself first."""
    return _same_panels(panel, _statements_until(table, table.seq if as_of is None else as_of))


def find_withdrawn(table: Table, as_of: int | None = None) -> set[str]:
    """Return the names of the versions that are withdrawn."""
    return _withdrawn(_statements_until(table, table.seq if as_of is None else as_of))


def _withdrawn(said: Sequence[tuple[str, Statement]]) -> set[str]:
    """Return the names of the versions that are withdrawn."""
    names: set[str] = set()
    for op, statement in said:
        if isinstance(statement, Withdrawal):
            names = names | {*statement.versions} if op == "withdraw" else names - {*statement.versions}
    return names


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer for one panel and calibration type.

    Attributes
    ----------
    version : Version
        The version that is valid.
    type : str
        The calibration type that was asked for.
    valid_from, valid_to : Instant
        Half-open interval of validity; ``valid_to`` is None if no later stamp is stored.
    """

    version: Version
    type: str
    valid_from: Instant
    valid_to: Instant | None


def select(
    table: Table,
    panel: str,
    t: int,
    calib_type: str,
    zone: ZoneInfo,
    as_of: int | None = None,
    number: int | None = None,
) -> Selection:
    """Return the version of `panel` whose `calib_type` is valid at `t`.

    Parameters
    ----------
    table, panel, calib_type, as_of
        As for `timeline`.
    t : int
        Instant in nanoseconds UTC.
    zone : zoneinfo.ZoneInfo
        Zone in which stamps are written.
    number : int, optional
        Take this number of the winning stamp in place of the highest.

    Raises
    ------
    NotFound
        If nothing is valid; the message names the earliest stamp there is.
    """
    line = timeline(table, panel, calib_type, as_of)
    place = line.place(t)
    if place < 0:
        raise _nothing_valid(line, t, zone, as_of)
    row, start = line.rows[place], int(line.starts[place])
    if number is not None:
        row = _row_of_number(line, start, number, t, zone, as_of)
    end = line.end(place)
    version = table.version_list([row])[0]
    if version.closes:
        said = table.summary(version.seq)
        raise NotFound(
            f"panel {panel}: {calib_type} is closed from {version.stamp} on, by commit {said.seq}, "
            f"{said.user}: {said.message.splitlines()[0]}"
        )
    return Selection(
        version=version,
        type=calib_type,
        valid_from=instant_at(start, zone),
        valid_to=None if end is None else instant_at(end, zone),
    )


def _row_of_number(line: Timeline, start: int, number: int, t: int, zone: ZoneInfo, as_of: int | None) -> np.intp:
    rows = _rows_at(line.table, line.panel, start, line.type, as_of)
    rows = rows[line.table.take(rows)["file"] != NO_FILE_ROW]
    numbers = line.table.take(rows)["number"].tolist()
    if number not in numbers:
        stamp = stamp_at(start, zone)
        # Numbers count for each Id: under another Id of the panel they name other versions.
        others = find_joined_panels(line.table, line.panel, as_of)[1:]
        names = ", ".join(f"v{n}" for n in sorted(numbers)) or f"none, only {', '.join(others)} may have"
        raise NotFound(
            f"panel {line.panel}: {line.type} has no v{number} at stamp {stamp}, "
            f"which is valid at {stamp_at(t, zone)}; that stamp has {names}"
        )
    row: np.intp = rows[numbers.index(number)]
    return row


def _rows_at(
    table: Table, panel: str, start: int, calib_type: str | None = None, as_of: int | None = None
) -> NDArray[np.intp]:
    rows = table.rows(panel, calib_type)
    columns = table.take(rows)
    counts: NDArray[np.bool_] = (columns["start"] == start) & (
        columns["seq"] <= (table.seq if as_of is None else as_of)
    )
    return rows[counts]


def _nothing_valid(line: Timeline, t: int, zone: ZoneInfo, as_of: int | None) -> NotFound:
    panel, table = line.panel, line.table
    if len(line):
        first = stamp_at(int(line.starts[0]), zone)
        return NotFound(
            f"panel {panel}: no {line.type} is valid at {stamp_at(t, zone)} ({iso(t)}); the first starts at {first}",
            [first],
        )
    if panel not in table.panel_names:
        return NotFound(f"panel {panel}: no constants are stored", nearest(panel, table.panel_names))
    when = "" if as_of is None else f" as of commit {as_of}"
    return NotFound(f"panel {panel}: no {line.type} is stored{when}")


def rejections(table: Table, selection: Selection, t: int, zone: ZoneInfo, as_of: int) -> list[tuple[Version, str]]:
    """Return every other version of the panel that holds the type, with the reason why it was not selected.

    Parameters
    ----------
    table, t, zone, as_of
        Those that `selection` was made with.
    """
    rows = [
        table.rows(name, selection.type)
        for name in _same_panels(selection.version.panel, _statements_until(table, as_of))
    ]
    versions = [v for v in table.version_list(np.concatenate(rows)) if not v.closes]
    withdrawn = _withdrawn(_statements_until(table, as_of))
    start, number = selection.valid_from, selection.version.number
    found = []
    for version in versions:
        if version.name == selection.version.name:
            continue
        if version.seq > as_of:
            reason = f"added later, by commit {version.seq}"
        elif version.name in withdrawn:
            reason = "withdrawn"
        elif version.start > t:
            reason = "starts later"
        elif version.start < start.ns:
            reason = f"superseded from {start.stamp}"
        elif version.panel != selection.version.panel:
            reason = f"{selection.version.name} of this stamp was added later"
        else:
            reason = f"v{number} of this stamp {'is newer' if number > version.number else 'was asked for'}"
        found.append((version, reason))
    return found


def find_holder(
    table: Table, panel: str, stamp: str, content: Mapping[str, str], ever: bool, new: Sequence[Version] = ()
) -> str | None:
    """Return the version through which `panel`, under any of its Ids, holds `content` at `stamp`; None if it does not.

    Parameters
    ----------
    content : mapping of str to str
        BLAKE3 of each array by calibration type; all must be held.
    ever : bool
        Whether it is enough that one version once held them all; otherwise what holds now counts.
    new : sequence of Version
        Versions that are about to be added, to be counted too.
    """
    family = find_joined_panels(table, panel)
    versions = table.version_list(_in_order(table, [table.rows_at(name, stamp) for name in family]))
    versions += [v for v in new if v.panel in family and v.stamp == stamp]
    versions.reverse()
    if not ever:
        withdrawn = _withdrawn(_statements_until(table, table.seq))
        versions = [version for version in versions if version.name not in withdrawn]
    if ever:
        for version in versions:
            if content.items() <= version.content.items():
                return version.name
    holders = [next((v for v in versions if name in v.content or name in v.closes), None) for name in content]
    for holder, (name, blake3) in zip(holders, content.items(), strict=True):
        if holder is None or holder.content.get(name) != blake3:
            return None
    return holders[0].name if holders and holders[0] else None


def is_closed_from(table: Table, panel: str, calib_type: str, start: int) -> bool:
    """Return whether a close holds that begins at the instant `start`."""
    line = timeline(table, panel, calib_type)
    place = line.place(start)
    holder = table.version_list(line.rows[[place]])[0] if place >= 0 else None
    return holder is not None and bool(holder.closes) and holder.start == start


def find_current(table: Table, versions: Iterable[Version], as_of: int | None = None) -> dict[str, tuple[str, ...]]:
    """Return by name the versions and closes that nothing supersedes, of the panels and types of `versions`, with the
    types for which that is so."""
    found: dict[str, tuple[str, ...]] = {}
    pairs = {(version.panel, name) for version in versions for name in (*version.content, *version.closes)}
    for panel, calib_type in sorted(pairs):
        for version in table.version_list(timeline(table, panel, calib_type, as_of).rows):
            if calib_type not in found.get(version.name, ()):
                found[version.name] = (*found.get(version.name, ()), calib_type)
    return found


def find_superseding(table: Table, version: Version) -> list[Version]:
    """Return the versions and closes that hold in place of `version` at its start; none if it holds for any type."""
    found: dict[str, Version] = {}
    for name in (*version.content, *version.closes):
        line = timeline(table, version.panel, name)
        holder = table.version_list(line.rows[[line.place(version.start)]])[0]
        found[holder.name] = holder
    return [] if version.name in found else list(found.values())


def _in_order(table: Table, rows: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Return the rows of several panels in the order in which they were added."""
    if len(rows) == 1:
        return rows[0]
    joined = np.concatenate(rows)
    columns = table.take(joined)
    return joined[np.lexsort((columns["place"], columns["seq"]))]
