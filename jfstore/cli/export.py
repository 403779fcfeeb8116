"""``jfstore export``: export a detector's constants as a file for other programs, or an answer as a bundle."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.locking import add_locked, refuse_question
from jfstore.cli.options import Parser, add_as_of, add_detector, add_json, add_repo, add_time, add_types, detector_of
from jfstore.cli.output import count, emit_json, note, progress
from jfstore.cli.program import warn_all
from jfstore.cli.run_options import add_run, target_of
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository import Repository

FORMATS = ("dcs", "bundle")
EPILOG = """\
The format dcs is a file of the Detector Calibration Store. It has a range for each start of validity of the detector's
gains and offsets, and answers as the repository does. Versions that were imported from such a file get back their
number, message, history and time of production.

The format bundle is one HDF5 file with the constants that are valid at a time or for a run, their lock, and the commits
of their versions. jfstore get --locked OUT.h5 returns the same bits from it without a repository; other programs find
the arrays in /entry/<type>/data.

examples:
  jfstore export 171113-154920171025-3d00fb -f jungfrau-171113-154920171025-3d00fb.h5
  jfstore export --format bundle exp=xcsls3716:run=631 -f run631.h5
  jfstore export --format bundle --locked run631.lock -f run631.h5
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="dcs", help="format of the file (default: dcs)")
    add_detector(parser, "DETECTOR", "panel Id, or detector Id (panel Ids joined by _); for a bundle also a run")
    add_run(parser)
    add_time(parser, "for a bundle, the time for which the constants are wanted")
    add_types(parser, "for a bundle, only this calibration type; may be repeated")
    add_locked(parser, "DETECTOR and TIME")
    parser.add_argument("-f", "--file", metavar="OUT.h5", required=True, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT.h5 if it exists")
    add_as_of(parser, "what was valid after that commit, or at that time")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if not args.file.endswith((".h5", ".hdf5")):
        what = "a DCS file" if args.format == "dcs" else "a bundle"
        raise BadValue(f"-f {args.file}: {what} is an HDF5 file, and its name ends in .h5")
    if args.locked:
        refuse_question(args)
    repository = open_to_read(args)
    seq = (_export_dcs if args.format == "dcs" else _export_bundle)(args, repository)
    note(f"from commit {seq} of {repository.label}")
    return 0


def _export_dcs(args: argparse.Namespace, repository: Repository) -> int:
    from jfstore.repository.exchange import export_dcs  # imports numpy

    names = ("source", "experiment", "run_number", "time", "types", "locked")
    if useless := [name for name in names if getattr(args, name) is not None]:
        raise BadValue(f"a DCS file has the constants of all times: leave out {getattr(args, useless[0])}")
    detector = detector_of(args)
    as_of = resolve_as_of(args, repository, is_reported=True)
    with progress("export") as show:
        exported = export_dcs(repository, detector, args.file, as_of=as_of, replace=args.force, progress=show)
    if args.json:
        keys = ("type", "range", "number")
        versions = [dict(zip(keys, version, strict=True)) for version in exported.versions]
        value = {"file": args.file, "format": args.format, "detector": exported.detector, "as_of": exported.as_of}
        emit_json({**value, "versions": versions})
    note(f"wrote {args.file}: {count(len(exported.versions), 'version')} of jungfrau-{exported.detector}")
    return exported.as_of


def _export_bundle(args: argparse.Namespace, repository: Repository) -> int:
    if args.locked:
        answer = repository.replay(args.locked, args.types)
    else:
        target, time, source = target_of(args, allows_names=True)
        as_of = resolve_as_of(args, repository, is_reported=True)
        answer = repository.find(target, args.types, time, source=source, as_of=as_of)
        warn_all(answer.notes)
    exported = repository.export_bundle(answer, args.file, replace=args.force)
    warn_all(exported.notes if args.locked else [note for note in exported.notes if note not in answer.notes])
    lock = exported.lock
    if args.json:
        versions = [
            {"type": locked.array.type, "version": locked.version, "blake3": locked.array.blake3}
            for locked in lock.arrays
        ]
        value = {"file": args.file, "format": args.format, "detector": lock.detector, "versions": versions}
        emit_json({**value, "as_of": lock.seq, "lock": {"hash": lock.hash}})
    note(f"wrote {args.file}: {', '.join(lock.types)} of {count(len(lock.panels), 'panel')}")
    return lock.seq
