"""``jfstore close``: state that from a time on nothing is valid for a panel or a detector."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jfstore.cli.options import Parser, add_time, add_types, add_write_options
from jfstore.cli.writing import open_to_write, state_confirmed
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.governing import Stated

EPILOG = """\
From the time to the next stamp nothing is valid: get fails, and names who closed the panel. A close has a number like a
version, so that jfstore withdraw takes it back. --dry-run shows for which times answers would change.

example:
  jfstore close 171113-154920171025-3d00fb -T 20190301000000 --repo real -m "the module was replaced"
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("target", metavar="PANEL|DETECTOR", help="panel or detector Id; PANEL-STAMP says the time, too")
    add_time(parser, "nothing is valid from this time on")
    add_types(parser, "only this calibration type; may be repeated (default: all that the panel has)")
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.core.ids import split_stamp

    target, time = args.target, args.time
    if time is None and (parts := split_stamp(target)) is not None:
        target, time = parts
    if time is None:
        raise BadValue("the time is missing: -T TIME, from which nothing is valid")
    repository = open_to_write(args)

    def close(dry_run: bool) -> Stated:
        return repository.close(target, time, args.message, types=args.types, request=args.request, dry_run=dry_run)

    state_confirmed(args, repository, close)
    return 0
