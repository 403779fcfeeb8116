"""``jfstore history``: who changed what, when and why."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli._open import open_to_read
from jfstore.cli._output import emit, note
from jfstore.cli._parser import add_json, add_repo

_EPILOG = """\
example:
  jfstore history --repo test
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "history",
        help="who changed what, when and why",
        description="List the commits of a repository, oldest first.",
        epilog=_EPILOG,
    )
    add_repo(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.core.instants import iso, iso_second

    repository = open_to_read(args)
    summaries = repository.history()
    names: dict[int, list[str]] = {}
    for version in repository.versions(as_of=len(summaries)):
        names.setdefault(version.seq, []).append(version.name)
    commits: list[dict[str, Any]] = []
    rows = []
    for summary in summaries:
        commit = {
            "seq": summary.seq,
            "time": iso(summary.time),
            "op": summary.op,
            "user": summary.user,
            "host": summary.host,
            "message": summary.message,
            "hash": summary.hash,
            "versions": names.get(summary.seq, []),
        }
        commits.append(commit)
        short = {
            "time": iso_second(summary.time),
            "hash": summary.hash[:12],
            "versions": _short(names.get(summary.seq, [])),
        }
        rows.append({**commit, **short})
    if not commits:
        note("nothing is stored yet")
    value = {"repository": {"id": repository.identity.id, "path": repository.storage.location}, "commits": commits}
    emit(args, value, rows, ["seq", "time", "op", "user", "host", "versions", "message", "hash"])
    return 0


def _short(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} versions"
