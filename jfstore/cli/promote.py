"""``jfstore promote``: copy versions, closes and withdrawals from one repository to another."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once, Parser, add_accept, add_write_options, as_option
from jfstore.cli.output import progress
from jfstore.cli.writing import open_to_write, promote_confirmed
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.promoted import Promoted

EPILOG = """\
The copies keep panel, stamp and content, and record which version of which repository they came from. They get the
next number in the target. If the target holds the same content at that stamp, nothing is added.

A panel, a detector, --tag and --new promote what the source says: versions and closes that are valid at some time, and
withdrawals of what was promoted before; --tag and --new also which panels are the same. --commit promotes a withdrawal
by withdrawing the version that came from the one it withdraws, else one with equal content. There is a commit for each
operation: panels are joined, then versions and closes are added, then versions are withdrawn. All of it is checked
before the first commit, and a repetition adds nothing twice. --dry-run shows all of it, and for which times answers
would change.

The guard judges the copies as jfstore add does. Findings that were accepted in the source are accepted here, too.

examples:
  jfstore promote 171113-154920171025-3d00fb/20180306000000/v1 --from test --repo real \\
      -m "checked with run 689"
  jfstore promote 171113-154920171025-3d00fb --from test --repo real -m "checked" --dry-run
  jfstore promote --new --from test --repo real -m "all that was checked" --dry-run
  jfstore promote --commit 12 --from test --repo real -m "the bias was wrong"
"""


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    text = "<panel Id>/<stamp>/v<number>, as jfstore list shows it; or all that is valid of a panel or detector"
    add("versions", metavar="VERSION|PANEL|DETECTOR", nargs="*", help=text)
    add("--from", dest="source", metavar="NAME|PATH", required=True, help="the repository to copy from")
    text = "what this commit of the source added, closed, withdrew, restored or stated of panels"
    add("--commit", metavar="SEQ", type=as_option(_parse_seq), action=Once, help=text)
    add("--tag", metavar="NAME", action=Once, help="all that the source said at this tag")
    add("--new", action="store_true", help="all that the source says and the target does not")
    text = "the statements in the source that this panel is the same as another one, or is not"
    add("--panel", metavar="PANEL", action=Once, help=text)
    text = "also copy versions that a higher number of the same stamp supersedes"
    add("--superseded", action="store_true", help=text)
    add_accept(parser)
    add_write_options(parser)


def _parse_seq(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadValue(f"{text!r} is not the number of a commit, such as 12")
    return int(text)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.catalogue import open_repository

    source = open_repository(args.source)
    target = open_to_write(args)
    selection: dict[str, Any] = {name: getattr(args, name) for name in ("commit", "tag", "new", "panel")}
    if not args.versions and not any(value is not None and value is not False for value in selection.values()):
        raise BadValue("what to promote is missing: VERSION, PANEL, --commit SEQ, --tag NAME, --new, or --panel PANEL")

    def promote(dry_run: bool) -> Promoted:
        options: dict[str, Any] = {"superseded": args.superseded, "request": args.request, "dry_run": dry_run}
        options["accept"] = args.accept
        with progress("promote") as show:
            return target.promote(args.versions, args.message, source=source, progress=show, **selection, **options)

    promote_confirmed(args, target, promote)
    return 0
