"""``jfstore promote``: copy versions from one repository to another."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Parser, add_write_options
from jfstore.cli.output import progress
from jfstore.cli.writing import add_confirmed, open_to_write

if TYPE_CHECKING:
    from jfstore.repository.adding import Added

EPILOG = """\
The copies keep panel, stamp and content, and record which version of which repository they came from. They get the
next number in the target. If the target holds the same content at that stamp, nothing is added. --dry-run shows for
which times answers would change.

example:
  jfstore promote 171113-154920171025-3d00fb/20180306000000/v1 --from test --repo real \\
      -m "checked with run 689"
"""


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add("versions", metavar="VERSION", nargs="+", help="<panel Id>/<stamp>/v<number>, as jfstore list shows it")
    add("--from", dest="source", metavar="NAME|PATH", required=True, help="the repository to copy from")
    text = "also copy versions that a higher number of the same stamp supersedes"
    add("--superseded", action="store_true", help=text)
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.catalogue import open_repository

    source = open_repository(args.source)
    target = open_to_write(args)

    def promote(dry_run: bool) -> Added:
        options: dict[str, Any] = {"superseded": args.superseded, "request": args.request, "dry_run": dry_run}
        with progress("promote") as show:
            return target.promote(args.versions, args.message, source=source, progress=show, **options)

    add_confirmed(args, target, promote)
    return 0
