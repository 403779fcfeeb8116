"""Decide whether a commit may change the answers that it changes: those before a frozen stamp may not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from jfstore.core.changes import Change, changes_of
from jfstore.core.records import Commit, Freeze, Statement
from jfstore.core.table import Table
from jfstore.errors import Refused


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze that holds, and the commit that made it."""

    seq: int
    stamp: str
    start: int


Freezes = Mapping[str | None, Frozen]
"""The freeze that holds for each calibration type that has one of its own, and under None for all others."""


def find_freezes(statements: Iterable[tuple[int, str, Statement]]) -> Freezes:
    """Return the freezes that hold: for each type the last one that is for it; one without types is for all."""
    found: dict[str | None, Frozen] = {}
    for seq, _, statement in statements:
        if isinstance(statement, Freeze):
            frozen = Frozen(seq, statement.stamp, statement.start)
            if statement.types is None:
                found.clear()
            found.update(dict.fromkeys((None,) if statement.types is None else statement.types, frozen))
    return found


def find_freeze(freezes: Freezes, calib_type: str) -> Frozen | None:
    """Return the freeze that holds for a calibration type, None if there is none."""
    return freezes.get(calib_type, freezes.get(None))


def check_commit(table: Table, commit: Commit, zone: ZoneInfo) -> None:
    """Raise Refused if `commit`, which is to extend `table`, changes an answer that is frozen."""
    if find_freezes(table.statements):
        after = table.extend([replace(commit, hash=commit.hash or "0" * 64)])
        check_freezes(table, changes_of(table, after, commit, zone))


def check_freezes(table: Table, changes: Sequence[Change]) -> None:
    """Raise Refused if one of `changes`, to be made after the commits of `table`, changes an answer that is frozen.

    An answer is frozen for the times before the stamp of the freeze that holds for its calibration type.
    """
    freezes = find_freezes(table.statements)
    for change in changes:
        frozen = find_freeze(freezes, change.type)
        if frozen is None or change.start.ns >= frozen.start:
            continue
        until = f"until {change.end.stamp}" if change.end else "on"
        raise Refused(
            f"answers before {frozen.stamp} are frozen by commit {frozen.seq}, {table.summary(frozen.seq).user}: "
            f"{change.type} of {change.panel} would change from {change.start.stamp} {until}, "
            f"to {change.after or 'nothing'} in place of {change.before or 'nothing'}; "
            "jfstore freeze with an earlier stamp thaws"
        )
