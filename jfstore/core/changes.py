"""Compare what is valid before and after a write: which answers change, from when to when, from what to what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from jfstore.core.ids import parse_version
from jfstore.core.instants import Instant, instant_at
from jfstore.core.records import Commit, SamePanel, Version, Withdrawal
from jfstore.core.table import Table
from jfstore.core.validity import FOREVER, Timeline, find_joined_panels, timeline


@dataclass(frozen=True, slots=True)
class Change:
    """One interval in which a write changes the answer for a panel and calibration type.

    Attributes
    ----------
    panel, type : str
        Panel Id and calibration type.
    start, end : Instant
        The half-open interval; ``end`` is None if it has no end.
    before, after : str or None
        Name of the version that is valid before and after the write, None for none.
    before_blake3, after_blake3 : str or None
        BLAKE3 of the array of that version.
    """

    panel: str
    type: str
    start: Instant
    end: Instant | None
    before: str | None
    after: str | None
    before_blake3: str | None = None
    after_blake3: str | None = None


def changes(before: Table, after: Table, versions: Sequence[Version], zone: ZoneInfo) -> tuple[Change, ...]:
    """Return how the answers of `before` change through `versions`, which were added to it.

    Parameters
    ----------
    before, after : Table
        The table without `versions`, and one that continues it and holds them.
    versions : sequence of Version
        The versions of one commit.
    zone : zoneinfo.ZoneInfo
        Zone in which stamps are written.

    Returns
    -------
    tuple of Change
        Only changes of content: an interval in which another version with equal content is valid is not one.
    """
    touched = dict.fromkeys(
        (panel, name, version.seq)
        for version in versions
        for panel in _find_family((before, None), (after, None), version.panel)
        for name in version.content
    )
    return tuple(
        change
        for panel, name, seq in touched
        for change in _differences(timeline(before, panel, name), timeline(after, panel, name, seq), zone)
    )


def changes_of(before: Table, after: Table, commit: Commit, zone: ZoneInfo) -> tuple[Change, ...]:
    """Return how the answers of `before` change through `commit`, whatever its operation; `after` holds it, too."""
    return _changes_of_commit((before, None), (after, None), commit, zone)


def changes_by(table: Table, commit: Commit, zone: ZoneInfo) -> tuple[Change, ...]:
    """Return how `commit`, which `table` holds, changed the answers."""
    return _changes_of_commit((table, commit.seq - 1), (table, commit.seq), commit, zone)


_Moment = tuple[Table, int | None]
"""A table, and the commit up to which it counts, None for all."""


def _changes_of_commit(before: _Moment, after: _Moment, commit: Commit, zone: ZoneInfo) -> tuple[Change, ...]:
    touched = dict.fromkeys(
        (panel, name)
        for first, types in _touch(before, after, commit)
        for panel in _find_family(before, after, first)
        for name in types
    )
    return _compare(before, after, touched, zone)


def changes_between(
    before: Table, after: Table, touched: Iterable[tuple[str, str]], zone: ZoneInfo
) -> tuple[Change, ...]:
    """Return how the answers for pairs of panel and calibration type change from one table to one that continues it."""
    return _compare((before, None), (after, None), touched, zone)


def _compare(before: _Moment, after: _Moment, touched: Iterable[tuple[str, str]], zone: ZoneInfo) -> tuple[Change, ...]:
    return tuple(
        change
        for panel, name in touched
        for change in _differences(
            timeline(before[0], panel, name, before[1]), timeline(after[0], panel, name, after[1]), zone
        )
    )


def _find_family(before: _Moment, after: _Moment, panel: str) -> list[str]:
    """Return the Ids whose answers follow `panel` before or after a write, itself first."""
    if not after[0].are_joined:
        return [panel]
    joined = [name for table, seq in (before, after) for name in find_joined_panels(table, panel, seq)]
    return list(dict.fromkeys(joined))


def _touch(before: _Moment, after: _Moment, commit: Commit) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the panels that a commit is about, and the calibration types for which answers may change."""
    for version in commit.versions:
        yield version.panel, (*version.content, *version.closes)
    table, statement = before[0], commit.statement
    if isinstance(statement, Withdrawal):
        for text in sorted(statement.versions):
            panel, stamp, _ = parse_version(text)
            versions = table.version_list(table.rows_at(str(panel), stamp))
            yield from ((v.panel, (*v.content, *v.closes)) for v in versions if v.name == text)
    if isinstance(statement, SamePanel):
        family = [name for panel in statement.panels for name in _find_family(before, after, panel)]
        rows = np.concatenate([table.rows(name) for name in dict.fromkeys(family)])
        types = sorted({name for v in table.version_list(rows) for name in (*v.content, *v.closes)})
        yield from ((panel, types) for panel in sorted(statement.panels))


def _differences(old: Timeline, new: Timeline, zone: ZoneInfo) -> Iterator[Change]:
    # The new table continues the old one, so that equal rows are equal versions: most intervals need no more.
    edges = np.array(sorted({*old.starts.tolist(), *new.starts.tolist()}), np.int64)
    old_rows, new_rows = _rows_valid_at(old, edges), _rows_valid_at(new, edges)
    ends = [*edges[1:].tolist(), FOREVER]
    last: Change | None = None
    for place in np.flatnonzero(old_rows != new_rows).tolist():
        was, now = (_version_of(line, rows[place]) for line, rows in ((old, old_rows), (new, new_rows)))
        if was is now or (was and now and was.content[old.type] == now.content[old.type]):
            continue
        end = None if ends[place] == FOREVER else instant_at(ends[place], zone)
        change = Change(
            old.panel,
            old.type,
            instant_at(int(edges[place]), zone),
            end,
            was.name if was else None,
            now.name if now else None,
            was.content[old.type] if was else None,
            now.content[old.type] if now else None,
        )
        if last and (last.end, last.before, last.after) == (change.start, change.before, change.after):
            change = replace(change, start=last.start)
        elif last:
            yield last
        last = change
    if last:
        yield last


def _rows_valid_at(line: Timeline, edges: NDArray[np.int64]) -> NDArray[np.intp]:
    places = np.searchsorted(line.starts, edges, side="right") - 1
    return np.where(places >= 0, np.append(line.rows, -1)[places], -1)


def _version_of(line: Timeline, row: int) -> Version | None:
    version = line.table.version_list([row])[0] if row >= 0 else None
    return None if version is None or version.closes else version
