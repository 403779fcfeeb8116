"""``jfstore withdraw``: withdraw versions, which stay stored."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jfstore.cli.options import Parser, add_write_options
from jfstore.cli.writing import open_to_write, state_confirmed

if TYPE_CHECKING:
    from jfstore.repository.governing import Stated

EPILOG = """\
A version that is withdrawn is not valid any more: the next best one by the same rule answers, or nothing. Its bytes
and its number stay, jfstore restore brings it back, and with --as-of an earlier commit it answers as before. --dry-run
shows for which times answers would change, and --impact which runs and deployed files that concerns.

examples:
  jfstore withdraw 171113-154920171025-3d00fb/20180306000000/v2 --repo real -m "measured with the wrong bias"
  jfstore withdraw 171113-154920171025-3d00fb/20180306000000/v2 --repo real -m "wrong bias" --dry-run --impact
"""


def add_options(parser: Parser) -> None:
    text = "<panel Id>/<stamp>/v<number>, or <panel Id>-<stamp> if it has one version"
    parser.add_argument("versions", metavar="VERSION", nargs="+", help=text)
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    return state_versions(args, "withdraw")


def state_versions(args: argparse.Namespace, op: str) -> int:
    """Withdraw or restore the versions of a command."""
    repository = open_to_write(args)
    method = repository.withdraw if op == "withdraw" else repository.restore

    def state(dry_run: bool) -> Stated:
        return method(args.versions, args.message, request=args.request, dry_run=dry_run)

    state_confirmed(args, repository, state)
    return 0
