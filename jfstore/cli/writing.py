"""Open the repository of a command, and print what was added: reads default to the real one, writes have no default."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from jfstore.cli.output import emit, note
from jfstore.cli.program import warn_of
from jfstore.errors import BadValue, Refused

if TYPE_CHECKING:
    from jfstore.core.records import Version
    from jfstore.repository.adding import Added
    from jfstore.repository.repository import Repository


def open_to_read(args: argparse.Namespace) -> Repository:
    """Return the repository of ``--repo``, the real one by default."""
    from jfstore.repository.catalogue import open_repository

    return open_repository(getattr(args, "repo", "real"))


def open_to_write(args: argparse.Namespace) -> Repository:
    """Return the repository of ``--repo``, which must be given; a real one is asked about.

    Raises
    ------
    BadValue
        If ``--repo`` was not given.
    Refused
        If the repository is real and nobody confirmed.
    """
    from jfstore.repository.catalogue import open_repository

    if not hasattr(args, "repo"):
        raise BadValue("which repository? writing has no default: --repo test, --repo real, or a path")
    repository = open_repository(args.repo)
    if repository.identity.role == "real" and not (args.yes or args.dry_run):
        confirm_real(repository.storage.location)
    return repository


def confirm_real(location: str) -> None:
    """Ask before a real repository is changed; Refused if nobody can be asked or the answer is not yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(f"{location} is a real repository: confirm with --yes")
    print(f"{location} is a real repository. Write to it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed; nothing was written")


def _came_from(version: Version) -> str | None:
    return version.origin["version"] if version.origin else version.source


def emit_added(args: argparse.Namespace, repository: Repository, added: Added) -> None:
    """Print what was added, or with ``--dry-run`` would be, and how answers change."""
    warn_of(added.notes)
    state = "would add" if added.dry_run else "added"
    rows: list[dict[str, Any]] = [
        {"state": state, "version": version.name, "types": list(version.content), "source": _came_from(version)}
        for version in added.versions
    ]
    rows += [{"state": "unchanged", "version": name, "source": source} for source, name in added.unchanged]
    value = {
        "repository": {"id": repository.identity.id, "path": repository.storage.location},
        "seq": added.seq,
        "dry_run": added.dry_run,
        "added": [
            {"version": version.name, "content": version.content, "source": version.source}
            for version in added.versions
        ],
        "unchanged": [{"version": name, "source": source} for source, name in added.unchanged],
        "skipped": [{"name": name, "reason": reason} for name, reason in added.skipped],
        "targets": list(added.targets),
        "changes": [
            {
                "panel": change.panel,
                "type": change.type,
                "from": change.start.stamp,
                "until": change.end.stamp if change.end else None,
                "now": change.before,
                "then": change.after,
            }
            for change in added.changes
        ],
    }
    rows += [{"state": "target", "source": name} for name in added.targets]
    rows += [{"state": "skipped", "source": f"{name}: {reason}"} for name, reason in added.skipped]
    emit(args, value, rows, ["state", "version", "types", "source"])
    for change in added.changes if added.dry_run else ():
        until = f"until {change.end.stamp}" if change.end else "on"
        before = f"{change.before} is" if change.before else "nothing is"
        note(
            f"{change.type} of {change.panel} would change from {change.start.stamp} {until}; {before} valid there now"
        )
    where = f"{repository.identity.role} repository {repository.storage.location}"
    if added.dry_run:
        note(f"nothing was stored in the {where} (--dry-run)")
    elif added.versions:
        note(f"commit {added.seq} in the {where}")
    else:
        note(f"nothing is new for the {where}")
