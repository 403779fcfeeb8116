"""``jfstore history``: list the commits of a repository."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Parser, add_as_of, add_json, add_repo
from jfstore.cli.output import emit, note
from jfstore.cli.writing import open_to_read

EPILOG = """\
example:
  jfstore history --repo test
"""


def add_options(parser: Parser) -> None:
    add_as_of(parser, "only the commits up to that one, or up to that time")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from jfstore.core.instants import iso_second

    repository = open_to_read(args)
    commits: list[dict[str, Any]] = []
    rows = []
    as_of = resolve_as_of(args, repository)
    for logged in repository.history(as_of=as_of):
        names = list(logged.versions)
        commits.append({**asdict(logged), "time": logged.time.iso, "versions": names})
        versions = names[0] if len(names) == 1 else f"{len(names)} versions"
        rows.append({**commits[-1], "time": iso_second(logged.time.ns), "hash": logged.hash[:12], "versions": versions})
    if not commits:
        note("nothing is stored yet")
    value = {
        "repository": {"id": repository.id, "path": repository.location},
        "as_of": repository.log.table().seq if as_of is None else as_of,
        "commits": commits,
    }
    emit(args, value, rows, ["seq", "time", "op", "user", "host", "versions", "message", "hash"])
    return 0
