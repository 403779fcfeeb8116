"""``jfstore export``: export constants as a DCS file or a gain tree for other programs, or an answer as a bundle."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.locking import add_locked, refuse_question
from jfstore.cli.options import (
    Once,
    Parser,
    add_as_of,
    add_detector,
    add_json,
    add_repo,
    add_time,
    add_types,
    detector_of,
)
from jfstore.cli.output import count, emit, emit_json, note, progress
from jfstore.cli.program import warn_all
from jfstore.cli.run_options import add_experiment, target_of
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository import Repository

FORMATS = ("dcs", "bundle", "tree")
_COLUMNS = ("state", "name", "directory", "versions")
EPILOG = """\
The format dcs is a file of the Detector Calibration Store. It has a range for each start of validity of the detector's
gains and offsets, and answers as the repository does. Versions that were imported from such a file get back their
number, message, history and time of production.

The format bundle is one HDF5 file with the constants that are valid at a time or for a run, their lock, and the commits
of their versions. jfstore get --locked OUT.h5 returns the same bits from it without a repository; other programs find
the arrays in /entry/<type>/data.

The format tree is a gain tree: a directory with a name <panel Id>-<stamp> for each start of validity of a panel, which
links to a directory of g0_gain.npy ... with everything that is valid then. The directories are called M044, M044-2, ...
if the panel has such a name, else <panel Id>.1, ... An export to the same DIR again writes what is new. It replaces or
removes its own links, never a directory, and nothing that others wrote. A gain tree cannot say that nothing is valid,
so closes are reported; the exit code is then 1. Without a panel all panels are exported. jfstore import of the tree
gives the same answers.

examples:
  jfstore export 171113-154920171025-3d00fb -f jungfrau-171113-154920171025-3d00fb.h5
  jfstore export --format bundle exp=xcsls3716:run=631 -f run631.h5
  jfstore export --format tree M044 M068 gains/jungfrau
  jfstore export --format tree gains/jungfrau -t pixel_gain -t pixel_offset
  jfstore export --format bundle --locked run631.lock -f run631.h5
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="dcs", help="what to write (default: dcs)")
    text = "panel Id, or detector Id (panel Ids joined by _); for a bundle also a run; for a tree panels, then DIR"
    add_detector(parser, "DETECTOR", text)
    text = "for a bundle, which Jungfrau of the run: source, alias or a part of the source; for a tree its directory"
    parser.add_argument("more", metavar="SOURCE|DIR", nargs="*", help=text)
    add_experiment(parser)
    add_time(parser, "for a bundle, the time for which the constants are wanted")
    add_types(parser, "for a bundle or a tree, only this calibration type; may be repeated")
    add_locked(parser, "DETECTOR and TIME")
    parser.add_argument("-f", "--file", metavar="OUT.h5|DIR", action=Once, help="the file to write; for a tree its DIR")
    parser.add_argument("--force", action="store_true", help="replace OUT.h5 if it exists")
    add_as_of(parser, "what was valid after that commit, or at that time")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if args.format == "tree":
        return _export_tree(args)
    if len(args.more) > 1:
        raise BadValue(f"{args.more[1]} is superfluous; panels are joined by _")
    args.source = args.more[0] if args.more else None
    if args.file is None:
        raise BadValue("the file to write is missing: -f OUT.h5")
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


def _export_tree(args: argparse.Namespace) -> int:
    useless = {"-T": args.time, "-e": args.experiment, "-r": args.run_number, "--locked": args.locked}
    useless["--force"] = args.force or None
    for option in [option for option, value in useless.items() if value is not None]:
        raise BadValue(f"a gain tree has the constants of all times, and nothing in it is replaced: leave out {option}")
    panels = [word for word in (args.detector_option, args.detector, *args.more) if word is not None]
    if args.file is not None:
        directory = args.file
    elif panels:
        directory = panels.pop()
    else:
        raise BadValue("the directory of the tree is missing: jfstore export --format tree [PANEL ...] DIR")
    repository = open_to_read(args)
    as_of = resolve_as_of(args, repository, is_reported=True)
    options: dict[str, Any] = {"types": args.types, "as_of": as_of}
    with progress("export") as show:
        exported = repository.export_tree(panels or None, directory, **options, progress=show)
    warn_all(exported.differences)
    rows = [{**asdict(name), "versions": list(dict.fromkeys(v for _, v in name.versions))} for name in exported.names]
    value = {
        "path": exported.path,
        "format": args.format,
        "as_of": exported.as_of,
        "names": [{**asdict(name), "versions": dict(name.versions)} for name in exported.names],
        "written": list(exported.written),
        "withdrawn": list(exported.withdrawn),
        "differences": list(exported.differences),
    }
    emit(args, value, rows, _COLUMNS)
    for name in exported.withdrawn:
        note(f"{name} is withdrawn, and not in the tree")
    plural = "directory" if len(exported.written) == 1 else "directories"
    note(f"wrote {len(exported.written)} new {plural} in {directory}")
    note(f"from commit {exported.as_of} of {repository.label}")
    return 1 if exported.differences else 0


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
