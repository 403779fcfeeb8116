"""``jfstore import``: import a gain tree or a DCS file, in one commit."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Parser, add_write_options
from jfstore.cli.output import progress
from jfstore.cli.writing import add_confirmed, open_to_write
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.adding import Added

EPILOG = """\
A directory is a gain tree: every name <panel Id>-<stamp> (or <panel Id>: valid from the beginning) that is a directory
of g0_gain.npy ... g2_offset.npy, or a link to one in the same tree, becomes a version.
Names that are not understood are reported and skipped; the exit code is then 1.
Content that a panel and stamp ever held is skipped, so that an import can be repeated.

A file jungfrau-<detector Id>.h5 is a file of the Detector Calibration Store (dcs): each of its
versions of gains and offsets becomes a version of each panel of the detector. Start, number,
message, history and time of production are kept in the commit; a start of 0 is the year 1970.
Each version is imported once, so that an import can be repeated. What cannot be stored is
reported with the reason and skipped, and so are the versions that it replaced, and all of its
calibration type if earlier constants would be valid in its place; the exit code is then 1.

examples:
  jfstore import /reg/g/psdm/detector/gains/jungfrau -m "legacy gains" --repo test
  jfstore import jungfrau-171113-154920171025-3d00fb.h5 -m "from dcs" --repo test
"""


def add_options(parser: Parser) -> None:
    parser.add_argument(
        "path", metavar="TREE|FILE.h5", help="directory of M044, M068, ... and of names that lead there, or a DCS file"
    )
    parser.add_argument(
        "--recover",
        action="store_true",
        help="import also versions of a DCS file that lost their number, as Python 3 wrote them",
    )
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.exchange import import_dcs, import_gains  # imports numpy

    repository = open_to_write(args)
    is_file = os.path.isfile(args.path)
    if not os.path.exists(args.path):
        raise BadValue(f"{args.path}: no such file or directory")
    if args.recover and not is_file:
        raise BadValue(f"--recover is for a DCS file, and {args.path} is a directory")

    def add(dry_run: bool) -> Added:
        with progress("import") as show:
            options: dict[str, Any] = {"request": args.request, "dry_run": dry_run, "progress": show}
            if is_file:
                return import_dcs(repository, args.path, args.message, recover=args.recover, **options)
            return import_gains(repository, args.path, args.message, **options)

    added = add_confirmed(args, repository, add)
    understood = is_file or added.versions or added.unchanged
    return 1 if added.skipped or not understood else 0
