"""Explain an answer: every candidate of a panel and calibration type, and the rule that turned it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.ages import format_span
from jfstore.core.instants import Instant, instant_at
from jfstore.core.records import Provenance, Version, Withdrawal
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels, timeline


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version or close that could have answered, and why it does not; the reason is empty for the one that does.

    ``source`` is the file, directory or version that it was made of; None for a close, or if its commit does not say.
    """

    name: str
    seq: int
    is_close: bool
    reason: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a version, or nothing, is valid for a panel and calibration type.

    Attributes
    ----------
    panel, type : str
        Panel Id and calibration type.
    valid : str or None
        Name of the version that is valid; None if nothing is.
    start, end : Instant or None
        When it, or a close, begins and ends to hold; None if nothing began before the time, or nothing ends it.
    candidates : tuple of Candidate
        Every version and close of the panel that holds the type, the last added first.
    as_of : int
        The commit that the answer is as of.
    """

    panel: str
    type: str
    valid: str | None
    start: Instant | None
    end: Instant | None
    candidates: tuple[Candidate, ...]
    as_of: int


def explain(table: Table, panel: str, t: int, calib_type: str, zone: ZoneInfo, as_of: int) -> Explanation:
    """Return why a version, or nothing, is valid for `panel` at `t`; parameters as for `select`."""
    line = timeline(table, panel, calib_type, as_of)
    place = line.place(t)
    holder = table.version_list(line.rows[[place]])[0] if place >= 0 else None
    end = line.end(place) if place + 1 < len(line) else None
    rows = np.concatenate([table.rows(name, calib_type) for name in find_joined_panels(table, panel, as_of)])
    taken_back = find_withdrawals(table, as_of)
    held = None if holder is None else holder.name
    candidates = []
    for version in sorted(table.version_list(rows), key=lambda version: (version.seq, version.number), reverse=True):
        name = version.name
        reason = "" if name == held else _reason(table, name, version, holder, t, as_of, taken_back)
        candidates.append(Candidate(name, version.seq, bool(version.closes), reason))
    return Explanation(
        panel=panel,
        type=calib_type,
        valid=None if holder is None or holder.closes else held,
        start=None if holder is None else instant_at(holder.start, zone),
        end=None if end is None else instant_at(end, zone),
        candidates=tuple(candidates),
        as_of=as_of,
    )


def add_sources(explained: Explanation, origins: Mapping[str, Provenance]) -> Explanation:
    """Return an explanation whose candidates say where they come from."""
    found = (
        replace(one, source=origins[one.name].source if one.name in origins else None) for one in explained.candidates
    )
    return replace(explained, candidates=tuple(found))


def find_withdrawals(table: Table, as_of: int) -> dict[str, int]:
    """Return the commit that withdrew each version that is withdrawn."""
    found: dict[str, int] = {}
    for seq, op, statement in table.statements:
        if seq <= as_of and isinstance(statement, Withdrawal):
            for name in statement.versions:
                found.pop(name, None)
                if op == "withdraw":
                    found[name] = seq
    return found


def _reason(
    table: Table, name: str, version: Version, holder: Version | None, t: int, as_of: int, taken_back: dict[str, int]
) -> str:
    if version.seq > as_of:
        return f"was added later, by commit {version.seq}"
    if name in taken_back:
        return f"was withdrawn by {describe_commit(table, taken_back[name])}"
    if version.start > t:
        return f"starts {format_span(version.start - t)} later"
    assert holder is not None  # something that starts in time and counts is in the timeline
    what = f"{'the close ' if holder.closes else ''}{holder.name}"
    if version.start < holder.start:
        return f"is followed by {what}, from {holder.stamp} on"
    return f"was superseded by {what}, {describe_commit(table, holder.seq)}"


def describe_commit(table: Table, seq: int) -> str:
    """Return the number of a commit, with who made it and why."""
    summary = table.summary(seq)
    return f"commit {seq}, {summary.user}: {summary.message.splitlines()[0]}"
