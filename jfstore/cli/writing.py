"""Open the repository of a command, ask before a real one is changed, and print what was added."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from jfstore.cli.as_of import warn_of_variable
from jfstore.cli.changes import (
    change_values,
    check_impact_options,
    find_planned_impact,
    impact_value,
    print_changes,
    print_impact,
)
from jfstore.cli.output import emit, note, printable, report_rows
from jfstore.cli.program import warn_all
from jfstore.errors import BadValue, Refused

if TYPE_CHECKING:
    from jfstore.deployment.impact import Impact
    from jfstore.repository.adding import Added
    from jfstore.repository.governing import Stated
    from jfstore.repository.promoted import Promoted
    from jfstore.repository.repository import Repository


_Done = TypeVar("_Done", "Added", "Stated", "Promoted")

_COLUMNS = ("state", "version", "types", "source")
_STATEMENT_COLUMNS = ("state", "name")
_NO_CHANGES = ("tag", "freeze", "name", "run_panels")
"""Operations that never change an answer."""
_STATES = {
    "withdraw": ("withdraw", "withdrawn"),
    "restore": ("restore", "restored"),
    "close": ("close", "closed"),
    "tag": ("tag", "tagged"),
    "freeze": ("freeze", "frozen"),
    "same_panel": ("join", "joined"),
    "not_same_panel": ("separate", "separated"),
    "name": ("name", "named"),
    "run_panels": ("state", "stated"),
}
"""For each operation what a dry run would do, and what was done."""


def open_to_read(args: argparse.Namespace) -> Repository:
    """Return the repository of ``--repo``, the real one by default."""
    from jfstore.repository.catalogue import open_repository

    return open_repository(getattr(args, "repo", "real"))


def place_to_write(args: argparse.Namespace) -> str:
    """Return the value of ``--repo``, which must be given."""
    if not hasattr(args, "repo"):
        raise BadValue("the repository is missing, writing has no default: --repo test, --repo real, or a path")
    return str(args.repo)


def open_to_write(args: argparse.Namespace) -> Repository:
    """Return the repository of ``--repo``, which must be given."""
    from jfstore.repository.catalogue import open_repository

    repository = open_repository(place_to_write(args))
    warn_of_variable()
    return repository


def add_confirmed(args: argparse.Namespace, repository: Repository, add: Callable[[bool], Added]) -> Added:
    """Add to a repository, print what was added and return it; a real one is asked about, after the plan was shown.

    Parameters
    ----------
    add : callable
        Adds; its argument is whether to store nothing.
    """

    def show(planned: Added) -> bool:
        if planned.commits:
            report_rows(_rows_of(planned), _COLUMNS)
            print_changes(planned.changes, planned=True)
        return bool(planned.commits)

    planned, impact = _plan(args, repository, add, show)
    added = planned if planned and args.dry_run else add(args.dry_run)
    _emit_added(args, repository, added, impact)
    return added


def _plan(
    args: argparse.Namespace, repository: Repository, write: Callable[[bool], _Done], show: Callable[[_Done], bool]
) -> tuple[_Done | None, Impact | None]:
    """Plan a write if its impact is asked for or somebody must be asked; show the plan and ask in that case.

    Parameters
    ----------
    write : callable
        Writes; its argument is whether to store nothing.
    show : callable
        Shows a plan; returns whether there is anything to write.
    """
    asks = repository.role == "real" and not (args.yes or args.dry_run)
    wants_impact = check_impact_options(args)
    if asks:
        check_can_ask(f"{repository.location} is a real repository")
    if not (asks or wants_impact):
        return None, None
    planned = write(True)
    impact = find_planned_impact(args, repository, planned) if wants_impact else None
    if asks and show(planned):
        if impact:
            print_impact(args, impact, repository)
        confirm(f"Write to the real repository {repository.location}?")
    return planned, impact


def check_can_ask(why: str) -> None:
    """Raise Refused if nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(f"{why}: confirm with --yes")


def confirm(question: str) -> None:
    """Ask a question on the terminal; Refused if the answer is not yes."""
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed; nothing was written")


def confirm_real(args: argparse.Namespace, repository: Repository, location: str | None = None) -> None:
    """Ask before a real repository, or a copy of it at `location`, is changed, unless ``--yes`` was given."""
    if repository.role == "real" and not args.yes:
        where = f"{location or repository.location} is a real repository"
        check_can_ask(where)
        confirm(f"{where}. Write to it?")


def _emit_added(args: argparse.Namespace, repository: Repository, added: Added, impact: Impact | None) -> None:
    """Print what was added, or with ``--dry-run`` would be, how answers change, and whom that concerns."""
    if added.run and (start := added.run.start) is not None:
        from jfstore.core.instants import stamp_at

        note(f"{added.run.label} started at {stamp_at(start, repository.zone)} ({added.run.file})")
    warn_all(added.notes)
    emit(args, _value_of(repository, added, impact), _rows_of(added), _COLUMNS)
    if added.commits:
        print_changes(added.changes, planned=added.dry_run)
    if impact:
        print_impact(args, impact, repository)
    _note_commits(repository, added.commits, added.dry_run)


def _value_of(repository: Repository, added: Added, impact: Impact | None) -> dict[str, Any]:
    """Return what was added as the JSON form has it."""
    return {
        "repository": {"id": repository.id, "path": repository.location},
        "seq": added.seq,
        "dry_run": added.dry_run,
        "added": [
            {"version": version.name, "content": version.content, "source": version.source}
            for version in added.versions
        ],
        "unchanged": [{"version": name, "source": source} for source, name in added.unchanged],
        "skipped": [{"name": name, "reason": reason} for name, reason in added.skipped],
        "targets": list(added.targets),
        "changes": change_values(added.changes),
        **({"stated": _values_of_statements(added.stated)} if added.stated else {}),
        **({"impact": impact_value(impact)} if impact else {}),
    }


def _values_of_statements(stated: Iterable[Stated]) -> list[dict[str, Any]]:
    """Return statements of an import or a promotion as the JSON form has them."""
    return [
        {"operation": one.op, "seq": one.seq, "names": list(one.names), "unchanged": list(one.unchanged)}
        for one in stated
    ]


def _rows_of(added: Added) -> list[dict[str, Any]]:
    state = "would add" if added.dry_run else "added"
    rows: list[dict[str, Any]] = [
        {
            "state": state,
            "version": version.name,
            "types": list(version.content),
            "source": version.origin["version"] if version.origin else version.source,
        }
        for version in added.versions
    ]
    rows += [{"state": "unchanged", "version": name, "source": source} for source, name in added.unchanged]
    rows += [{"state": "target", "source": name} for name in added.targets]
    for one in added.stated:
        stated = _rows_of_statement(replace(one, dry_run=added.dry_run))
        rows += [{"state": row["state"], "version": row["name"]} for row in stated]
    return rows + [{"state": "skipped", "source": f"{name}: {reason}"} for name, reason in added.skipped]


def state_confirmed(args: argparse.Namespace, repository: Repository, state: Callable[[bool], Stated]) -> None:
    """Make a statement and print it; a real repository is asked about, after the plan was shown.

    Parameters
    ----------
    state : callable
        Makes it; its argument is whether to commit nothing.
    """

    def show(planned: Stated) -> bool:
        if planned.names:
            report_rows(_rows_of_statement(planned), _STATEMENT_COLUMNS)
            _print_changes_of(planned, planned=True)
        return bool(planned.names)

    planned, impact = _plan(args, repository, state, show)
    stated = planned if planned and args.dry_run else state(args.dry_run)
    warn_all(stated.notes)
    value = {
        "repository": {"id": repository.id, "path": repository.location},
        "operation": stated.op,
        "seq": stated.seq,
        "dry_run": stated.dry_run,
        "names": list(stated.names),
        "unchanged": list(stated.unchanged),
        "changes": change_values(stated.changes),
        **({"impact": impact_value(impact)} if impact else {}),
    }
    emit(args, value, _rows_of_statement(stated), _STATEMENT_COLUMNS)
    _print_changes_of(stated, planned=stated.dry_run)
    if impact:
        print_impact(args, impact, repository)
    _note_commits(repository, [stated.seq] if stated.names else [], stated.dry_run)


def _print_changes_of(stated: Stated, *, planned: bool) -> None:
    """Print which answers a statement changes, if it is of a kind that can."""
    if stated.names and stated.op not in _NO_CHANGES:
        print_changes(stated.changes, planned=planned)


def promote_confirmed(args: argparse.Namespace, repository: Repository, promote: Callable[[bool], Promoted]) -> None:
    """Promote to a repository and print it; a real one is asked about, after the plan was shown.

    Parameters
    ----------
    promote : callable
        Promotes; its argument is whether to store nothing.
    """

    def show(planned: Promoted) -> bool:
        if planned.commits:
            report_rows(_rows_of_promotion(planned), _COLUMNS)
            print_changes(planned.changes, planned=True)
        return bool(planned.commits)

    planned, impact = _plan(args, repository, promote, show)
    promoted = planned if planned and args.dry_run else promote(args.dry_run)
    warn_all(promoted.notes)
    value = {**_value_of(repository, promoted.added, impact), "stated": _values_of_statements(promoted.stated)}
    emit(args, value, _rows_of_promotion(promoted), _COLUMNS)
    if promoted.commits:
        print_changes(promoted.changes, planned=promoted.dry_run)
    if impact:
        print_impact(args, impact, repository)
    _note_commits(repository, promoted.commits, promoted.dry_run)


def _note_commits(repository: Repository, seqs: Iterable[int], dry_run: bool) -> None:
    """Print which commits were made."""
    where = f"{repository.role} repository {repository.location}"
    if dry_run:
        note(f"nothing was stored in the {where} (--dry-run)")
    elif made := ", ".join(map(str, seqs)):
        note(f"commit {made} in the {where}")
    else:
        note(f"nothing is new for the {where}")


def _rows_of_promotion(promoted: Promoted) -> list[dict[str, Any]]:
    """Return the rows of a promotion: versions, then statements."""
    stated = [row for one in promoted.stated for row in _rows_of_statement(replace(one, dry_run=promoted.dry_run))]
    return _rows_of(promoted.added) + [{"state": row["state"], "version": row["name"]} for row in stated]


def _rows_of_statement(stated: Stated) -> list[dict[str, Any]]:
    verb, done = _STATES[stated.op]
    done = f"would {verb}" if stated.dry_run else done
    rows = [{"state": done, "name": name} for name in stated.names]
    return rows + [{"state": "unchanged", "name": name} for name in stated.unchanged]
