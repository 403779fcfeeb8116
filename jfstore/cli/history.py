"""``jfstore history``: list the commits of a repository."""

from __future__ import annotations

import argparse
import re
from typing import Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Once, Parser, add_as_of, add_json, add_repo, as_option
from jfstore.cli.output import emit, note
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue

EPILOG = """\
The filters restrict the list to commits that fit all of them. A commit is about a panel if it added or closed
something of it, withdrew or restored one of its versions, or made another statement about it.

examples:
  jfstore history --repo test
  jfstore history --panel 3d00fb -n 5
  jfstore history --since 2026-11-01 --until 2026-11-30 --user anna --grep bias
  jfstore history --op withdraw
"""


_OF_VERSIONS = ("add", "close", "withdraw", "restore")


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    text = "only commits about this panel (a panel or detector Id, or a part of a panel Id); may be repeated"
    add("--panel", dest="panels", metavar="PANEL", action="append", help=text)
    add("--user", metavar="USER", action=Once, help="only commits of this user")
    text = "only commits from this time on: a date, a stamp, ISO 8601 with a zone, or @UNIX-SECONDS"
    add("--since", metavar="TIME", action=Once, help=text)
    add("--until", metavar="TIME", action=Once, help="only commits up to this time, or to the end of this date")
    add("--grep", dest="text", metavar="TEXT", action=Once, help="only commits with this text in their message")
    add("--op", metavar="OP", action=Once, help="only commits of this operation, such as add, withdraw or tag")
    text = "only the last N of the commits that the other options leave"
    add("-n", "--last", metavar="N", type=as_option(_parse_count), action=Once, help=text)
    add_as_of(parser, "only the commits up to that one, or up to that time")
    add_repo(parser)
    add_json(parser)


def _parse_count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text, re.ASCII):
        raise BadValue(f"{text!r} is not a number of commits, such as 5")
    return int(text)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from jfstore.core.instants import iso_second

    repository = open_to_read(args)
    commits: list[dict[str, Any]] = []
    rows = []
    as_of = resolve_as_of(args, repository)
    options = ("user", "since", "until", "text", "last", "op")
    filters: dict[str, Any] = {"panel": args.panels, **{name: getattr(args, name) for name in options}}
    for logged in repository.history(as_of=as_of, **filters):
        names = list(logged.versions)
        commits.append({**asdict(logged), "time": logged.time.iso, "versions": names})
        versions = f"{len(names)} versions" if len(names) > 1 and logged.op in _OF_VERSIONS else " ".join(names)
        rows.append({**commits[-1], "time": iso_second(logged.time.ns), "hash": logged.hash[:12], "versions": versions})
    if not commits:
        is_filtered = any(value is not None for value in filters.values())
        note("nothing matches" if is_filtered else "nothing is stored yet")
    value = {
        "repository": {"id": repository.id, "path": repository.location},
        "as_of": repository.log.table().seq if as_of is None else as_of,
        "commits": commits,
    }
    emit(args, value, rows, ["seq", "time", "op", "user", "host", "versions", "message", "hash"])
    return 0
