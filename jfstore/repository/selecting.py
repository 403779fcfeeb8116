"""Select what to promote from a repository: by names, panels, a commit, a tag, or everything that is new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jfstore.core.ids import KnownPanels, is_name, resolve_detector
from jfstore.core.records import SamePanel, Tag, Version, Withdrawal
from jfstore.core.table import Table
from jfstore.core.validity import find_current, find_joined_panels, find_withdrawn
from jfstore.errors import BadValue, NotFound, Refused, nearest
from jfstore.repository.finding import find_tag

if TYPE_CHECKING:
    from jfstore.repository.repository import Repository

Origin = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Selected:
    """What to promote; all of it as the source has it.

    Attributes
    ----------
    versions : tuple of Version
        Versions and closes, in the order in which they were added.
    withdrawn, restored : tuple of Version
        Versions that are withdrawn in the source, or were restored.
    origin : mapping or None
        Where the source says so: its id, and the commit, if it is one.
    panels : tuple of (str, SamePanel)
        Statements that two Ids are one panel, or are not, with their operations.
    is_state : bool
        Whether it is what the source says of panels or of all, of which the target may have any part.
    named : frozenset of str
        Names of the versions that the user named, or a commit.
    current : mapping of str to tuple of str
        For the versions that are not named and that nothing supersedes, the types for which that is so.
    """

    versions: tuple[Version, ...] = ()
    withdrawn: tuple[Version, ...] = ()
    restored: tuple[Version, ...] = ()
    origin: Origin | None = None
    panels: tuple[tuple[str, SamePanel], ...] = ()
    is_state: bool = False
    named: frozenset[str] = frozenset()
    current: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def select(
    source: Repository,
    names: Sequence[str],
    *,
    commit: int | None = None,
    tag: str | None = None,
    new: bool = False,
    panel: str | None = None,
    superseded: bool = False,
) -> Selected:
    """Return what is to be promoted; parameters and errors as for `Repository.promote`."""
    given = {"versions": bool(names), "commit": commit is not None, "tag": tag is not None, "new": new}
    given["panel"] = panel is not None
    if sum(given.values()) != 1:
        words = " and ".join(name for name, is_given in given.items() if is_given) or "nothing"
        raise BadValue(f"{words} selected: promote versions or panels, or one of commit, tag, new and panel")
    if commit is not None:
        return _select_commit(source, commit)
    if panel is not None:
        return _select_statements(source, panel)
    if not names:
        return _select_state(source, None, superseded, tag)
    versions = [name for name in names if "/" in name or is_name(name)]
    named = [source.version(name) for name in versions]
    _refuse_withdrawn(source, named)
    known = source.log.table().panel_names
    panels = {str(found) for name in names if name not in versions for found in resolve_detector(name, known)}
    if unknown := sorted(panels - known.keys()):
        near = nearest(unknown[0], known)
        raise NotFound(f"panel {', '.join(unknown)}: no constants are stored in {source.location}", near)
    state = _select_state(source, sorted(panels), superseded) if panels else Selected()
    named_too = frozenset(version.name for version in named)
    return replace(state, versions=_order([*named, *state.versions]), named=named_too)


def _order(versions: Iterable[Version]) -> tuple[Version, ...]:
    """Return versions, each once, in the order in which they were added: what wins in the source goes last."""
    unique = {version.name: version for version in versions}
    return tuple(sorted(unique.values(), key=lambda version: (version.seq, version.number)))


def _refuse_withdrawn(source: Repository, versions: Iterable[Version], since: str = "") -> None:
    gone = find_withdrawn(source.log.table())
    for version in versions:
        if version.name in gone:
            raise Refused(f"{version.name} is withdrawn in {source.location}{since}: jfstore restore brings it back")


def _select_commit(source: Repository, seq: int) -> Selected:
    """Return what one commit says."""
    if type(seq) is not int:
        raise BadValue(f"a commit is given by its number, an int, not {seq!r}")
    commit = source.commit(seq)
    said = commit.statement
    if said is None:
        _refuse_withdrawn(source, commit.versions)
        return Selected(_order(commit.versions), named=frozenset(version.name for version in commit.versions))
    if isinstance(said, SamePanel):
        return Selected(panels=((commit.op, said),))
    if not isinstance(said, Withdrawal):
        raise Refused(
            f"commit {seq} of {source.location} is of the operation {commit.op!r}, which is not promoted: "
            f"state it in the other repository"
        )
    versions = tuple(source.version(name) for name in said.versions)
    origin = {"repository": source.identity.id, "seq": seq, "commit": commit.hash}
    return (
        Selected(withdrawn=versions, origin=origin) if commit.op == "withdraw" else Selected((), (), versions, origin)
    )


def _select_statements(source: Repository, panel: str) -> Selected:
    """Return the statements that hold of a panel: with which Ids it is one panel, or is not after all."""
    table = source.log.table()
    said = _find_statements(table, table.seq)
    stated = (name for _, pair in said for name in pair.panels)
    known = KnownPanels([*table.panel_names, *stated], table.panel_names.names)
    wanted = {str(found) for found in resolve_detector(panel, known)}
    found = tuple((op, pair) for op, pair in said if wanted & {*pair.panels})
    if not found:
        raise NotFound(f"panel {panel}: {source.location} has no statement that it is another panel, or is not")
    return Selected(panels=found)


def _find_statements(table: Table, until: int) -> list[tuple[str, SamePanel]]:
    """Return the last statement about each pair of panels, in the order in which they were made."""
    last: dict[frozenset[str], tuple[str, SamePanel]] = {}
    for seq, op, statement in table.statements:
        if seq <= until and isinstance(statement, SamePanel):
            last.pop(pair := frozenset(statement.panels), None)
            last[pair] = op, statement
    return list(last.values())


def _select_state(
    source: Repository, panels: Sequence[str] | None, superseded: bool, tag: str | None = None
) -> Selected:
    """Return what the source says of some panels, or with the statements about panels of all, as of now or a tag."""
    table = source.log.table()
    until = table.seq if tag is None else _find_tag(source, table, tag)
    rows = None if panels is None else np.concatenate([table.rows(panel) for panel in panels])
    versions = [version for version in table.version_list(rows) if version.seq <= until]
    gone = find_withdrawn(table, until)
    valid = [version for version in versions if version.name not in gone]
    current = find_current(table, valid, until)
    if not superseded:
        valid = [version for version in valid if version.name in current]
    if tag is not None:
        _refuse_withdrawn(source, valid, f", since tag {tag}")
    return Selected(
        _order(valid),
        withdrawn=_order(version for version in versions if version.name in gone),
        origin={"repository": source.identity.id, "as_of": until},
        panels=tuple(_find_statements(table, until)) if panels is None else (),
        is_state=True,
        current=current,
    )


def _find_tag(source: Repository, table: Table, tag: str) -> int:
    seq = find_tag(table, tag)
    if seq is None:
        names = [statement.name for _, _, statement in table.statements if isinstance(statement, Tag)]
        raise NotFound(f"{source.location} has no tag {tag!r}", nearest(tag, names) or names[-3:])
    return seq


def group_of(table: Table, panel: str) -> str:
    """Return one name for all Ids that were declared the same panel."""
    return min(find_joined_panels(table, panel)) if table.are_joined else panel
