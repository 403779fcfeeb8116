"""Decide whether two panel Ids can be declared one panel, and whether they are."""

from __future__ import annotations

from collections.abc import Iterator

from jfstore.core.records import SamePanel, Version
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels, timeline
from jfstore.errors import Refused

_NAMED = 3


def are_joined(table: Table, one: str, other: str) -> bool:
    """Return whether the last statement about these two Ids says that they are one panel."""
    ops = [
        op
        for _, op, statement in table.statements
        if isinstance(statement, SamePanel) and {*statement.panels} == {one, other}
    ]
    return ops[-1:] == ["same_panel"]


def check_can_join(table: Table, one: str, other: str) -> None:
    """Raise Refused if the two panels hold one type with one stamp, but not with the same content.

    Of the versions and closes with one stamp the one that holds counts: the last added that is not withdrawn. A close
    holds no content. After the join the last added of both would hold, and nobody decided that.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name, mine, its in _find_conflicts(table, one, other):
        found.setdefault((mine.name, its.name), []).append(name)
    if not found:
        return
    pairs = [f"{mine} and {its} ({', '.join(types)})" for (mine, its), types in found.items()]
    more = f", and {len(pairs) - _NAMED} more pairs" if len(pairs) > _NAMED else ""
    raise Refused(
        f"{one} and {other} differ at the same stamp, so they cannot be one panel: withdraw one of "
        f"{'; one of '.join(pairs[:_NAMED])}{more}"
    )


def _find_conflicts(table: Table, one: str, other: str) -> Iterator[tuple[str, Version, Version]]:
    """Yield each calibration type and the versions of both panels that hold it with one stamp and differ."""
    family = find_joined_panels(table, one)
    if other in family:
        return
    rows = [table.rows(name) for name in family]
    types = {name for part in rows for v in table.version_list(part) for name in (*v.content, *v.closes)}
    for name in sorted(types):
        mine, its = (timeline(table, panel, name) for panel in (one, other))
        places = {start: place for place, start in enumerate(its.starts.tolist())}
        for row, start in zip(mine.rows.tolist(), mine.starts.tolist(), strict=True):
            if start in places:
                first, second = table.version_list([row, its.rows[places[start]]])
                if first.content.get(name) != second.content.get(name):
                    yield name, first, second
