"""What the commands that add versions print."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli._output import emit, note
from jfstore.errors import JfstoreWarning

if TYPE_CHECKING:
    from jfstore.core.records import Version
    from jfstore.repository import Added, Repository


def _came_from(version: Version) -> str | None:
    return version.origin["version"] if version.origin else version.source


def emit_added(
    args: argparse.Namespace,
    repository: Repository,
    added: Added,
    skipped: Sequence[tuple[str, str]] = (),
    targets: Sequence[str] = (),
    changes: Sequence[Mapping[str, str | None]] = (),
    whole: bool = True,
) -> None:
    """Print what `Repository.add` did, and warn of versions that hold one type of the pair only.

    `skipped` are names that were not understood with the reason, `targets` the directories
    that understood names lead to, `changes` for which times answers change, `whole` whether a version is
    expected to hold both types.
    """
    from jfstore.core.calib_types import CALIB_TYPES

    state = "would add" if args.dry_run else "added"
    rows: list[dict[str, Any]] = [
        {"state": state, "version": version.name, "types": list(version.content), "source": _came_from(version)}
        for version in added.versions
    ]
    rows += [{"state": "unchanged", "version": name, "source": source} for source, name in added.unchanged]
    value = {
        "repository": {"id": repository.identity.id, "path": repository.storage.location},
        "seq": added.seq,
        "dry_run": args.dry_run,
        "added": [
            {"version": version.name, "content": version.content, "source": version.source}
            for version in added.versions
        ],
        "unchanged": [{"version": name, "source": source} for source, name in added.unchanged],
        "skipped": [{"name": name, "reason": reason} for name, reason in skipped],
        "targets": list(targets),
        "changes": list(changes),
    }
    rows += [{"state": "target", "source": name} for name in targets]
    rows += [{"state": "skipped", "source": f"{name}: {reason}"} for name, reason in skipped]
    emit(args, value, rows, ["state", "version", "types", "source"])
    for version in added.versions if whole else ():
        missing = sorted(CALIB_TYPES.keys() - version.content.keys())
        if missing:
            warnings.warn(
                f"{version.name} has no {', '.join(missing)}: that will come from another version",
                JfstoreWarning,
                stacklevel=2,
            )
    where = f"{repository.identity.role} repository {repository.storage.location}"
    if args.dry_run:
        note(f"nothing was stored in the {where} (--dry-run)")
    elif added.versions:
        note(f"commit {added.seq} in the {where}")
    else:
        note(f"nothing is new for the {where}")
