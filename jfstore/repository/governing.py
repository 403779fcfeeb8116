"""Withdraw and restore versions, close panels and name commits: what is stored stays, what is valid changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import calib_type
from jfstore.core.changes import Change, changes_by, changes_of
from jfstore.core.freezing import check_commit
from jfstore.core.ids import resolve_detector
from jfstore.core.instants import Instant, start_of_validity
from jfstore.core.names import check_is_free, check_name
from jfstore.core.records import (
    NO_FILE,
    Commit,
    Naming,
    SamePanel,
    Statement,
    Tag,
    Version,
    Withdrawal,
)
from jfstore.core.statements import subjects_of
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels, find_withdrawn, is_closed_from
from jfstore.errors import BadValue, NotFound, Refused
from jfstore.repository.adding import check_message, check_request, refuse_mirror
from jfstore.repository.finding import Time, find_tag
from jfstore.repository.numbering import number_closes

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository
    from jfstore.repository.repository import Repository

_Plan = Callable[[Table, int], Sequence[Version]]


@dataclass(frozen=True, slots=True)
class Stated:
    """What a method did that makes a statement about versions.

    Attributes
    ----------
    op : str
        ``withdraw``, ``restore``, ``close``, ``same_panel``, ``not_same_panel``, ``name``, ``run_panels``, ``tag`` or
        ``freeze``.
    seq : int
        The commit, or the last one there is if nothing was committed.
    names : tuple of str
        What the statement is about, with `dry_run` would be: names of versions, closes or tags, Ids of panels, the
        stamp of a freeze, or runs.
    unchanged : tuple of str
        Names for which it holds already.
    changes : tuple of Change
        For which intervals the answers change, from which version to which.
    notes : tuple of str
        What the user should know.
    dry_run : bool
        Whether nothing was committed.
    """

    op: str
    seq: int
    names: tuple[str, ...]
    unchanged: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False


def withdraw(
    repository: Repository,
    versions: Sequence[str] | str,
    message: str,
    *,
    restore: bool = False,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """Withdraw versions, or restore them; see `Repository.withdraw` and `Repository.restore`."""
    op = "restore" if restore else "withdraw"
    names = [versions] if isinstance(versions, str) else list(dict.fromkeys(versions))
    if not names:
        raise BadValue(f"there is no version to {op}")
    found = list({version.name: version for version in map(repository.version, names)}.values())
    table = repository.log.table()
    gone = find_withdrawn(table)
    todo = [version for version in found if (version.name in gone) == restore]
    unchanged = tuple(version.name for version in found if version not in todo)
    names_todo = tuple(version.name for version in todo)
    statement = Withdrawal(names_todo) if todo else None
    return commit_statement(repository, op, statement, message, request, dry_run, names_todo, unchanged)


def close(
    repository: Repository,
    target: str,
    time: Time,
    message: str,
    *,
    types: Sequence[str] | str | None = None,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """State that from a time on nothing is valid for a panel or a detector; see `Repository.close`."""
    table = repository.log.table()
    panels = tuple(map(str, resolve_detector(str(target), table.panel_names)))
    start = start_of_validity(time, repository.zone)
    asked = None if types is None else [types] if isinstance(types, str) else list(dict.fromkeys(types))
    for name in asked or ():
        calib_type(name)
    todo = {panel: _types_to_close(table, panel, start, asked) for panel in panels}
    if unknown := [panel for panel in panels if not len(_rows_of_panel(table, panel))]:
        raise NotFound(f"panel {', '.join(unknown)}: no constants are stored, so there is nothing to close")

    closes = [
        Version(panel, start.stamp, start.ns, 0, (), NO_FILE, 0, closes=names) for panel, names in todo.items() if names
    ]

    def plan(now: Table, seq: int) -> list[Version]:
        return number_closes(now, seq, closes)

    unchanged = tuple(f"{panel}/{start.stamp}" for panel, names in todo.items() if not names)
    names = tuple(version.name for version in plan(table, 0))
    return commit_statement(repository, "close", None, message, request, dry_run, names, unchanged, plan=plan)


def _types_to_close(table: Table, panel: str, start: Instant, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Return the types that a close at `start` would close: those asked for, or all that the panel has."""
    versions = table.version_list(_rows_of_panel(table, panel))
    has = sorted({name for version in versions for name in version.content})
    return tuple(name for name in (has if asked is None else asked) if not is_closed_from(table, panel, name, start.ns))


def _rows_of_panel(table: Table, panel: str) -> NDArray[np.intp]:
    """Return the rows of all versions of a panel, under whatever Id."""
    return np.concatenate([table.rows(name) for name in find_joined_panels(table, panel)])


def tag(
    repository: Repository,
    name: str,
    message: str,
    *,
    as_of: int | str | None = None,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """Give a commit a name; see `Repository.tag`."""
    check_name(name, "tag")
    table = repository.log.table()
    if request and (done := table.find_request(check_request(request))):
        said = repository.commit(done).statement  # the last commit was another one then
        expected = said if isinstance(said, Tag) and said.name == name else Tag(name, 0)
        return _repeat(repository, done, "tag", expected, request)
    seq = repository.seq_of(as_of) or table.seq
    if not seq:
        raise NotFound(f"{repository.location} has no commit yet")
    known = find_tag(table, name)
    if known and as_of is None and _only_tags_since(table, known):
        seq = known  # the command is repeated as it was typed, and its own commit is the last one now
    check_is_free(statements_in(table), Tag(name, seq))
    names, unchanged = ((), (name,)) if known else ((name,), ())
    return commit_statement(repository, "tag", Tag(name, seq), message, request, dry_run, names, unchanged)


def _only_tags_since(table: Table, seq: int) -> bool:
    """Return whether every commit after `seq` is a tag."""
    tags = [at for at, _, statement in table.statements if isinstance(statement, Tag) and at > seq]
    return len(tags) == table.seq - seq


def statements_in(table: Table) -> list[Statement]:
    """Return the statements of a table, in order."""
    return [statement for _, _, statement in table.statements]


def commit_statement(
    repository: ReadableRepository,
    op: str,
    statement: Statement | None,
    message: str,
    request: str | None,
    dry_run: bool,
    names: tuple[str, ...],
    unchanged: tuple[str, ...] = (),
    *,
    plan: _Plan = lambda table, seq: (),
    check: Callable[[Table, Commit], None] = lambda table, commit: None,
    notes: tuple[str, ...] = (),
) -> Stated:
    """Commit a statement, or versions that close, and return what changes by it.

    Parameters
    ----------
    names, unchanged : tuple of str
        What the statement is about; nothing is committed if `names` is empty.
    plan : callable
        Returns the versions that close, given the table that they extend and their seq.
    check : callable
        Is called as `Log.append` calls it, also with `dry_run`.
    notes : tuple of str
        What the user should know.
    """
    check_message(message)
    request = check_request(request)
    refuse_mirror(repository)
    storage, log = repository.storage, repository.log
    before = log.table()
    if done := before.find_request(request):
        return _repeat(repository, done, op, statement, request)
    storage.check_writable()
    log.make_sure()
    if not names:
        return Stated(op, before.seq, (), unchanged, notes=notes, dry_run=dry_run)

    def check_all(table: Table, commit: Commit) -> None:
        check(table, commit)
        if isinstance(commit.statement, (Tag, Naming)):
            check_is_free(statements_in(table), commit.statement)
        check_commit(table, commit, repository.zone)

    if dry_run:
        versions = tuple(plan(before, before.seq + 1))
        commit = Commit(before.seq + 1, "", 0, 0, "", "", "", message, request, op, versions, statement, hash="0" * 64)
        check_all(before, commit)
        seq, after = before.seq, before.extend([commit])
    else:
        appended = log.append(op, message, request, plan, statement, check=check_all)
        seq, before, after, notes = appended.seq, appended.before, appended.after, (*notes, *appended.notes)
        names = tuple(version.name for version in appended.versions) or names
        commit = Commit(seq, "", 0, 0, "", "", "", message, request, op, appended.versions, statement)
    return Stated(op, seq, names, unchanged, changes_of(before, after, commit, repository.zone), notes, dry_run)


def _repeat(repository: ReadableRepository, seq: int, op: str, statement: Statement | None, request: str) -> Stated:
    """Return what commit `seq` said, made sure to survive; Refused if `request` was for something else."""
    commit = repository.commit(seq)
    if commit.op != op or (statement is not None and commit.statement != statement):
        raise Refused(f"request {request} was for another change, commit {seq}")
    repository.log.append(op, "repeated", request)
    said = commit.statement
    names = tuple(version.name for version in commit.versions)
    if said is not None:
        names = subjects_of(said)
        names = names if isinstance(said, (Withdrawal, SamePanel)) else names[:1]
    return Stated(op, seq, names, changes=changes_by(repository.log.table(), commit, repository.zone))
