"""``jfstore tag``: give a commit a name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jfstore.cli.options import Parser, add_as_of, add_write_options
from jfstore.cli.writing import open_to_write, state_confirmed

if TYPE_CHECKING:
    from jfstore.repository.governing import Stated

EPILOG = """\
A tag names a commit for ever: it is never moved, and never used again. --as-of NAME then asks what the repository would
have answered at that commit.

example:
  jfstore tag paper-2018 --repo real -m "the constants of the paper"
  jfstore get exp=xcsls3716:run=631 -t pixel_gain --as-of paper-2018 -f gain.npy
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="a letter, then letters, digits and . + = -")
    add_as_of(parser, "the commit to name (default: the last one)")
    add_write_options(parser, impact=False)


def run(args: argparse.Namespace) -> int:
    repository = open_to_write(args)

    def tag(dry_run: bool) -> Stated:
        return repository.tag(args.name, args.message, as_of=args.as_of, request=args.request, dry_run=dry_run)

    state_confirmed(args, repository, tag)
    return 0
