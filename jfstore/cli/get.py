"""``jfstore get``: get the constants that are valid at a time or for a run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jfstore._version import __version__
from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.locking import add_lock, add_locked, check_lock, lock_report, replay_locked, write_lock
from jfstore.cli.options import (
    Once,
    Parser,
    add_as_of,
    add_detector,
    add_json,
    add_number,
    add_repo,
    add_time,
    add_types,
)
from jfstore.cli.output import emit_json, emit_rows, note, report_rows
from jfstore.cli.program import warn_all
from jfstore.cli.run_options import add_limits, add_run, format_segments, limits_of, panels_text, run_value, target_of
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue, Refused

if TYPE_CHECKING:
    from jfstore.core.arrays import CalibArray
    from jfstore.repository import Answer

_COLUMNS = ("type", "version", "valid_from", "valid_to", "commit", "blake3")
_KINDS = {"npy": "npy", "txt": "txt", "h5": "h5", "hdf5": "h5"}
_ENDINGS = ".npy, .txt or .h5"
EPILOG = """\
The array has the shape (gain, panel, row, column), panels in the order of the Id, and is bit for bit what was added.
If any panel has no valid constants, nothing is written. The report says which version of each panel and type is used,
from when to when it is valid, and the commit that the answer is as of. For a run, the panels and the start of the run
come from its XTC or XTC2 files (under SIT_PSDM_DATA). If its configuration says that the first gain range is the high
one, pixel_gain means pixel_gain_hg0, and so on. In LCLS-II segments of a detector may be absent: the array has the
panels that are there, in the order of the segments. With --full it has places for the others, too: zeros, for
pixel_status all bits set.

Pedestals, noise and status change by run: if they are more than a week old, or of another experiment, a warning says
so. --max-age and --same-experiment refuse them.

The name of a version, <panel Id>/<stamp>/v<number>, gets that version, whether it is valid or not. <panel Id>-<stamp>
gets for each type the last version at exactly that stamp.

The name of OUT tells what it is: .npy, .txt (psana's text, with all the digits that bring back every bit, or with
--format fewer), or .h5 (NeXus, which also holds where the arrays come from).

--lock writes a small file that pins the answer: the versions, their hashes, the commit, and the run. --locked with that
file returns the same bits at any later time, from the repository, from a mirror, or from a bundle (jfstore export),
whatever was added or withdrawn since; or it fails. It needs no XTC files.

examples:
  jfstore get 171113-154920171025-3d00fb -T 20180401000000
  jfstore get exp=xcsls3716:run=631 Jungfrau.0 -t pixel_gain -f gain.npy
  jfstore get -e xcsls3716 -r 631 -d Jungfrau.0
  jfstore get 171113-154920171025-3d00fb -T now -t pixel_gain -f gain.npy
  jfstore get exp=xcsls3716:run=631 -t pixel_gain -f gain.txt --format %.4f
  jfstore get 170505-149520170815-3d00b0_170505-149520170815-3d00f7 -T 20171205161400 -f both.h5
  jfstore get exp=xcsls3716:run=631 -f run631.h5 --lock run631.lock
  jfstore get --locked run631.lock -f again.h5
  jfstore get exp=mfx101332224:run=7 -t pedestals --max-age 2d -f pedestals.npy
  jfstore get exp=mfx101332224:run=7 --full -f all.h5
  jfstore get 171113-154920171025-3d00fb/20180306000000/v1 -t pixel_gain -f v1.npy
  jfstore get 171113-154920171025-3d00fb -T now -t pixel_gain -f - | python3 -c \\
      'import sys, io, numpy; print(numpy.load(io.BytesIO(sys.stdin.buffer.read())).mean())'
"""


def add_options(parser: Parser) -> None:
    add_detector(
        parser, "DETECTOR", "panel Id, detector Id (panel Ids joined by _), dataset exp=EXP:run=RUN, or version"
    )
    add_run(parser)
    add_time(parser, "the time for which the constants are wanted")
    text = "calibration type; may be repeated (default: all that are valid; an .npy or .txt file holds exactly one)"
    add_types(parser, text)
    add = parser.add_argument
    add("-f", "--file", metavar="OUT", help="OUT.npy, OUT.txt, OUT.h5, or - for npy on standard output")
    text = "format of the values in OUT.txt, such as %%.4f (default: all the digits that bring back every bit)"
    add("--format", metavar="FORMAT", action=Once, help=text)
    add_number(parser, "this version number of the valid stamp, for one panel (default: the highest)")
    add_as_of(parser, "answer as the repository would have after that commit, or at that time")
    add("--withdrawn", action="store_true", help="also get a version that was withdrawn, by its name")
    add_limits(parser)
    text = "for a run of LCLS-II, also write places for absent segments, so that the array is as large as psana2's"
    add("--full", action="store_true", help=text)
    add_lock(parser)
    add_locked(parser, "DETECTOR and TIME")
    add("--force", action="store_true", help="replace OUT and LOCK if they exist")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.core.ids import is_name

    _check_output(args)
    check_lock(args)
    answer = replay_locked(args) if args.locked else _find(args)
    repository = answer.repository
    assert repository is not None
    warn_all(answer.notes)
    value = report_value(answer, full=args.full)
    if args.file:
        _write(args, answer, value)
    if args.lock:
        write_lock(args, answer.lock())
    if args.json:
        emit_json({**report_value(answer, explain=not args.locked, full=args.full), **lock_report(args, answer)})
        return 0
    rows = [{**row, "valid_to": row["valid_to"] or "-"} for row in value["selections"]]
    # With -f - standard output is the array's.
    (report_rows if args.file == "-" else emit_rows)(rows, _COLUMNS)
    when = f"{answer.time.stamp} ({answer.time.iso})"
    if args.full and answer.full_panels.count(""):
        note(note_absent(answer))
    if run := value.get("run"):
        note(f"{run['dataset']} started at {when}; {panels_text(run)}")
    named = not args.locked and is_name(args.detector or args.detector_option or "")
    note(f"{'starts' if named else 'valid'} at {when}, as of commit {answer.as_of} of {repository.label}")
    if args.locked:
        note(f"pinned by {args.locked}")
    return 0


def note_absent(answer: Answer) -> str:
    """Return which segments are absent, and what an array with places for them has there."""
    absent = format_segments([place for place, panel in enumerate(answer.full_panels) if not panel])
    return f"segments {absent} are absent: zeros; pixel_mask 0; pixel_status all bits"


def _find(args: argparse.Namespace) -> Answer:
    target, time, source = target_of(args, allows_names=True)
    repository = open_to_read(args)
    as_of = resolve_as_of(args, repository, is_reported=True)
    options = {"as_of": as_of, "number": args.number, "withdrawn": args.withdrawn, **limits_of(args)}
    return repository.find(target, args.types, time, source=source, **options)


def _kind_of(file: str) -> str:
    """Return what a file is written as by its name: npy, txt or h5; BadValue if the name has another ending."""
    if file.endswith("/"):
        raise BadValue(f"-f {file} is a directory: expected a name that ends in {_ENDINGS}")
    kind = _KINDS.get("npy" if file == "-" else os.path.splitext(file)[1].lower().lstrip("."))
    if kind is None:
        raise BadValue(f"-f {file}: expected a name that ends in {_ENDINGS}, or - for standard output")
    return kind


def _check_output(args: argparse.Namespace) -> None:
    kind = None if args.file is None else _kind_of(args.file)
    if args.format is not None:
        if kind != "txt":
            raise BadValue(f"--format {args.format} is for text: -f OUT.txt")
        from jfstore.formats.text import FORMAT

        if not FORMAT.fullmatch(args.format):
            raise BadValue(f"--format {args.format}: expected a format such as %.4f")
    if kind is None:
        return
    if kind != "h5" and len(args.types or []) != 1 and not args.locked:
        raise BadValue(f"-f {args.file} holds one array: give exactly one -t (an .h5 file holds any)")
    if args.file == "-" and args.json:
        raise BadValue("-f - and --json both want standard output")
    if args.file == "-" and sys.stdout.isatty():
        raise BadValue("-f - would write an array to the terminal: redirect it")
    if args.file != "-" and os.path.lexists(args.file) and not args.force:
        raise Refused(f"{args.file} exists; --force replaces it")


def report_value(answer: Answer, explain: bool = False, full: bool = False) -> dict[str, Any]:
    """Return the report that ``--json`` prints; `explain` adds why other versions are not valid.

    With `full`, the shape is that with a place for every segment.
    """
    repository = answer.repository
    assert repository is not None
    rows = list(answer.rows())
    if explain:
        from jfstore.repository import Repository

        assert isinstance(repository, Repository)
        # This is slow if a panel has many versions.
        by_panel = zip(*repository.rejections(answer).values(), strict=True)
        for row, rejected in zip(rows, (versions for panel in by_panel for versions in panel), strict=True):
            row["rejected"] = [{"version": version.name, "reason": reason} for version, reason in rejected]
    gains, *shape = repository.panel_shape
    return {
        "repository": {"id": repository.id, "role": repository.role, "path": repository.location},
        "detector": answer.detector,
        **({"run": run_value(answer.run, answer.jungfrau)} if answer.run and answer.jungfrau else {}),
        "time": {"stamp": answer.time.stamp, "utc": answer.time.iso},
        "as_of": answer.as_of,
        "shape": [gains, answer.places if full else len(answer.panels), *shape],
        "selections": rows,
    }


def _write(args: argparse.Namespace, answer: Answer, value: dict[str, Any]) -> None:
    from jfstore.fs.output_file import npy_pieces, publish_file

    arrays = {name: answer.full_array(name) if args.full else answer[name] for name in answer.types}
    array = next(iter(arrays.values()))
    kind = _kind_of(args.file)
    if kind != "h5" and len(arrays) > 1:
        raise BadValue(f"-f {args.file} holds one array, and the lock has {', '.join(arrays)}: choose with -t")
    if kind == "h5":
        from jfstore.formats.nexus import format_nexus

        panels = answer.full_panels if args.full else tuple(map(str, answer.panels))
        pieces: Sequence[Any] = [format_nexus(arrays, panels, value)]
    elif kind == "txt":
        pieces = _format_text(answer, array, args.format)
    else:
        pieces = npy_pieces(array)
    if args.file == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    publish_file(args.file, pieces, replace=args.force, hint="; --force replaces it")
    note(f"wrote {args.file}: {', '.join(f'{name} {array.shape}' for name, array in arrays.items())}")


def _format_text(answer: Answer, array: CalibArray, fmt: str | None) -> list[bytes]:
    """Return the text of the only array of an answer; its header names the versions, as those of `generate` do."""
    from jfstore.formats.text import format_text

    name, repository = answer.types[0], answer.repository
    assert repository is not None
    if fmt is not None and array.dtype.kind != "f":
        raise BadValue(f"--format {fmt}: {name} has integers, which are written as they are")
    facts = [
        ("CALIB_TYPE", name),
        ("VALID_AT", answer.time.iso),
        ("ORIGIN", f"commit {answer.as_of} of {repository.label}"),
        *(("VERSION", selection.version.name) for selection in answer.of(name)),
        ("PROGRAM", f"jfstore {__version__}"),
        ("", ""),
    ]
    return format_text(array, facts, fmt)
