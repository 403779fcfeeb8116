"""Number the versions that are about to be added, and leave out those that would change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from jfstore.core.records import NO_FILE, Commit, Statement, Version
from jfstore.core.table import Table
from jfstore.core.validity import find_holder, find_joined_panels

Known = Callable[[Version, Sequence[Version]], str | None]
"""Returns the version that makes adding one needless, given those about to be added; None if there is none."""


def make_numberer(table: Table, seq: int) -> Callable[[Version], Version]:
    """Return a function that gives versions of commit `seq` the next numbers of their panels and stamps."""
    taken: dict[tuple[str, str], int] = {}

    def number(version: Version) -> Version:
        place = version.panel, version.stamp
        if place not in taken:
            taken[place] = max(table.take(table.rows_at(*place))["number"].tolist(), default=0)
        taken[place] += 1
        return replace(version, number=taken[place], seq=seq)

    return number


def number_closes(table: Table, seq: int, closes: Iterable[Version]) -> list[Version]:
    """Return closes as commit `seq` makes them."""
    return [
        Version(v.panel, v.stamp, v.start, v.number, (), NO_FILE, seq, origin=v.origin, closes=v.closes)
        for v in map(make_numberer(table, seq), closes)
    ]


def leave_out_closed(table: Table, close: Version) -> Version | None:
    """Return a close without the types that its panel and stamp ever had closed; None if no type remains."""
    panels = find_joined_panels(table, close.panel)
    versions = [version for panel in panels for version in table.version_list(table.rows_at(panel, close.stamp))]
    known = {name for version in versions for name in version.closes}
    types = tuple(name for name in close.closes if name not in known)
    return replace(close, closes=types) if types else None


def extend_table(
    table: Table, op: str, versions: tuple[Version, ...] = (), statement: Statement | None = None
) -> Table:
    """Return a table with one commit more, which is not in the log."""
    commit = Commit(table.seq + 1, "", 0, 0, "", "", "", "", "0" * 32, op, versions, statement, hash="0" * 64)
    return table.extend([commit])


def number_versions(
    pending: Sequence[Version], table: Table, seq: int, known: Known, unchanged: list[tuple[str, str]]
) -> Iterator[Version]:
    """Yield the new ones of `pending` with their numbers; append the others to `unchanged`."""
    new: list[Version] = []
    number = make_numberer(table, seq)
    for version in pending:
        same = known(version, new)
        if same:
            unchanged.append((version.source or f"{version.panel}/{version.stamp}", same))
            continue
        new.append(number(version))
        yield new[-1]


def content_rule(table: Table, once: bool) -> Known:
    """Return the rule that skips content that holds already; with `once`, also content that ever held."""
    return lambda version, new: find_holder(table, version.panel, version.stamp, version.content, once, new)


def origin_rule(table: Table, commit_of: Callable[[int], Commit], pending: Sequence[Version]) -> Known:
    """Return the rule that skips versions that came from the same origin before, whatever their content.

    Importing a file again must reproduce its order. A version is added again if an earlier version of the same
    panel, stamp and types is new in this import, or if it is the file's last version and a different version of
    the same detector's file holds now.
    """
    last = {_place_of(version): version for version in pending}
    stored: dict[tuple[str, str], list[Version]] = {}
    fresh: set[Any] = set()
    seen = 0

    def at(panel: str, stamp: str) -> list[Version]:
        """Return the versions of a panel and stamp, with their origins."""
        if (panel, stamp) not in stored:
            seqs = table.take(table.rows_at(panel, stamp))["seq"].tolist()
            added = [version for seq in dict.fromkeys(seqs) for version in commit(seq).versions]
            stored[panel, stamp] = sorted(
                (version for version in added if (version.panel, version.stamp) == (panel, stamp)),
                key=lambda version: version.number,
            )
        return stored[panel, stamp]

    commit = cache(commit_of)

    def find_equal(version: Version, new: Sequence[Version]) -> str | None:
        nonlocal seen
        fresh.update(map(_place_of, new[seen:]))
        seen = len(new)
        if _place_of(version) in fresh:
            return None
        same = [
            other
            for other in at(version.panel, version.stamp)
            if _place_of(other) == _place_of(version) and _origin_of(other) == _origin_of(version)
        ]
        if not same:
            return None
        holder = [o for o in at(version.panel, version.stamp) if version.content.keys() <= o.content.keys()][-1]
        is_last = last[_place_of(version)] is version
        # A version that was recovered on purpose stays, though the file alone would not have it.
        replaces = holder.content != version.content and not (holder.origin or {}).get("recovered")
        if is_last and replaces and _detector_of(holder) == _detector_of(version) is not None:
            return None
        return same[-1].name

    return find_equal


def _place_of(version: Version) -> tuple[Any, ...]:
    return version.panel, version.stamp, tuple(version.content)


def _detector_of(version: Version) -> Any:
    return (version.origin or {}).get("detector")


def _origin_of(version: Version) -> tuple[Any, ...]:
    """Return what identifies a version in the place that it came from."""
    origin = version.origin or {}
    return (*(origin.get(name) for name in ("repository", "version", "produced")), version.content)
