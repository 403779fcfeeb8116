"""``jfstore export``: what a repository holds of a detector, as a file that other programs read."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Parser, add_detector, add_json, add_repo, detector_of
from jfstore.cli.output import count, emit_json, note, progress
from jfstore.cli.writing import open_to_read
from jfstore.errors import Refused

if TYPE_CHECKING:
    from jfstore.repository import Repository

FORMATS = ("dcs",)
SUMMARY = "Export a detector's constants as a DCS file."
EPILOG = """\
dcs: a file of the Detector Calibration Store with every begin of validity of the detector's gains
and offsets. What came from such a file keeps its number, message, history and time of
production; what a later version replaced here is the answer there, too.

example:
  jfstore export --format dcs 171113-154920171025-3d00fb -f jungfrau-171113-154920171025-3d00fb.h5
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument("--format", choices=FORMATS, required=True, help="format of the file")
    add_detector(parser, "DETECTOR", "panel Id, or detector Id (panel Ids joined by _)")
    parser.add_argument("-f", "--file", metavar="OUT", required=True, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.cli._export_dcs import dcs_contents
    from jfstore.dcs.store import write_dcs

    repository = open_to_read(args)
    detector = detector_of(args)
    if os.path.lexists(args.file) and not args.force:
        raise Refused(f"{args.file} exists; --force replaces it")
    contents = dcs_contents(repository, detector, args.file)
    with progress("export") as show:
        write_dcs(args.file, contents, replace=args.force, show=show)
    _report(args, repository, contents)
    return 0


def _report(args: argparse.Namespace, repository: Repository, contents: Any) -> None:
    versions = [
        {"type": held.name, "range": valid.key, "number": version.number}
        for held in contents.types
        for valid in held.ranges
        for version in valid.versions
    ]
    if args.json:
        emit_json({"file": args.file, "format": args.format, "detector": contents.detector_id, "versions": versions})
    note(f"wrote {args.file}: {count(len(versions), 'version')} of {contents.detector_name}")
    note(f"from the {repository.identity.role} repository {repository.storage.location}")
