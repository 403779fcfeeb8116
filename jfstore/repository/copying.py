"""Find what of one repository is what of another, and number what is copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.core.validity import find_holder, is_closed_from

if TYPE_CHECKING:
    from jfstore.repository.repository import Repository


def is_closed(table: Table, close: Version, types: Sequence[str] | None = None) -> bool:
    """Return whether a close from the same start on holds for all types of `close`, or for `types`."""
    return all(is_closed_from(table, close.panel, name, close.start) for name in types or close.closes)


def origin_of(source: Repository, version: Version) -> Mapping[str, Any]:
    """Return what a copy of a version records as its origin: the first one, if it is a copy itself."""
    version = source.version(version.name)  # with what only its commit says
    return version.origin or {
        "repository": source.identity.id,
        "version": version.name,
        "seq": version.seq,
        "commit": source.summary(version.seq).hash,
    }


def _is_same_origin(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    keys = ("repository", "version")
    if one is None or not all(key in other for key in keys):
        return one == other
    return all(one.get(key) == other[key] for key in keys)


def find_counterparts(source: Repository, target: Repository, version: Version, is_state: bool) -> list[Version]:
    """Return the target's versions whose origin is a version of the source, else those with equal content.

    With `is_state`, content that the source holds through another version does not count: that one was copied.
    """
    table = target.log.table()
    rows = table.rows_at(version.panel, version.stamp)
    seqs = dict.fromkeys(table.take(rows)["seq"].tolist())
    added = chain.from_iterable(target.commit(seq).versions for seq in seqs)
    there = [other for other in added if (other.panel, other.stamp) == (version.panel, version.stamp)]
    if not there:
        return []
    origin = origin_of(source, version)
    if found := [other for other in there if _is_same_origin(other.origin, origin)]:
        return found
    here = source.log.table()
    if is_state and version.content and find_holder(here, version.panel, version.stamp, version.content, ever=False):
        return []
    return [
        other
        for other in there
        if (other.content, other.closes) == (version.content, version.closes)
        and (other.origin or {}).get("repository") != source.identity.id
    ]
