"""``jfstore freeze``: state that answers before a time do not change any more."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jfstore.cli.options import Parser, add_time, add_types, add_write_options, replace_now
from jfstore.cli.writing import open_to_write, state_confirmed
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.governing import Stated

EPILOG = """\
From then on every command that would change what is valid at a time before the stamp is refused (exit code 5), also if
nothing was valid at that time: add, import, promote, withdraw, restore, close and panel. What changes no such answer
passes. Of each calibration type the last freeze holds, and one without -t is for all types. An earlier stamp thaws,
00000000000000 everything; the log says who did it. A freeze holds in its repository and in mirrors of it, and is not
promoted.

examples:
  jfstore freeze -T 20190101000000 --repo real -m "the runs of 2018 are published"
  jfstore freeze -T now -t pixel_gain --repo real -m "beam time is over"
"""


def add_options(parser: Parser) -> None:
    add_time(parser, "answers for times before this do not change any more")
    add_types(parser, "only this calibration type; may be repeated (default: all)")
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    if args.time is None:
        raise BadValue("the time is missing: -T TIME, before which answers are frozen")
    repository = open_to_write(args)
    time = replace_now(args.argv) if args.time == "now" else args.time

    def freeze(dry_run: bool) -> Stated:
        return repository.freeze(time, args.message, types=args.types, request=args.request, dry_run=dry_run)

    state_confirmed(args, repository, freeze)
    return 0
