"""``jfstore export``: export a detector's constants as a file for other programs."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_detector, add_json, add_repo, detector_of
from jfstore.cli.output import count, emit_json, note, progress
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue

FORMATS = ("dcs",)
EPILOG = """\
The format dcs is a file of the Detector Calibration Store. It has a range for each start of validity of the detector's
gains and offsets, and answers as the repository does. Versions that were imported from such a file get back their
number, message, history and time of production.

example:
  jfstore export 171113-154920171025-3d00fb -f jungfrau-171113-154920171025-3d00fb.h5
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="dcs", help="format of the file (default: dcs)")
    add_detector(parser, "DETECTOR", "panel Id, or detector Id (panel Ids joined by _)")
    parser.add_argument("-f", "--file", metavar="OUT.h5", required=True, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT.h5 if it exists")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.exchange import export_dcs  # imports numpy

    repository = open_to_read(args)
    detector = detector_of(args)
    if not args.file.endswith((".h5", ".hdf5")):
        raise BadValue(f"-f {args.file}: a DCS file is an HDF5 file, and its name ends in .h5")
    with progress("export") as show:
        exported = export_dcs(repository, detector, args.file, replace=args.force, progress=show)
    if args.json:
        keys = ("type", "range", "number")
        versions = [dict(zip(keys, version, strict=True)) for version in exported.versions]
        emit_json({"file": args.file, "format": args.format, "detector": exported.detector, "versions": versions})
    note(f"wrote {args.file}: {count(len(exported.versions), 'version')} of jungfrau-{exported.detector}")
    note(f"from the {repository.role} repository {repository.location}")
    return 0
