"""``jfstore deploy``: a run's constants where psana reads them, and the previous ones brought back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jfstore.cli._generate import generate
from jfstore.cli.generate import (
    COLUMNS,
    add_constants_options,
    add_run_options,
    report,
    request_of,
    run_of,
    value_of,
)
from jfstore.cli.options import Parser, rights_of
from jfstore.cli.output import emit, note
from jfstore.errors import BadValue, NotFound, nearest
from jfstore.runs.dataset import parse_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from jfstore.deployment.calibdir import CalibFile

SUMMARY = "Deploy the constants of a run to where psana reads them, or undo that."
EPILOG = """\
The constants that are valid when the run begins go to CALIBDIR/Jungfrau::CalibV1/<source>/<type>/<run>-end.data.
Running jobs find the old or the new file, whole; the old one is kept beside it under a dated name. A file with the
same values is left alone; one that jfstore did not write is replaced with --replace only. Beside each file
<run>-end.jfstore.json says which versions it holds, and HISTORY has a line.

--undo brings back what was there before the last deployment for the run; it needs no XTC files. With nothing
before it, the file is taken away. What is undone is kept under a dated name. Of the last 50 deployments for a
run the notes know what was before. Files with dated names may be removed when nobody will want them back.

examples:
  jfstore deploy exp=xcsls3716:run=631
  jfstore deploy exp=xcsls3716:run=631 Jungfrau.0 -c ./calib
  jfstore deploy exp=xcsls3716:run=631 --undo
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    add_run_options(parser)
    parser.add_argument("--undo", action="store_true", help="bring back what was there before the last deployment")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, say what would change, change nothing"
    )
    add_constants_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.undo:
        return _undo(args)
    done = generate(request_of(args, local=False, deploy=True, dry_run=args.dry_run))
    value = value_of(done)
    if not args.json:
        report(done)
    emit(args, value, value["files"], COLUMNS)
    return 0


def _undo(args: argparse.Namespace) -> int:
    from jfstore.deployment.deploy import undo

    given = [option for option in ("time", "repo", "format") if getattr(args, option, None) is not None]
    if given:
        raise BadValue(f"--undo brings back what was there: leave out --{given[0]}")
    files = _last_deployed(*_place(args))
    rows = []
    for file in files:
        if args.dry_run:
            rows.append({"state": "would undo", "type": file.type, "file": str(file.path), "kept": None})
            continue
        done = undo(file, replacing=args.replace, rights=rights_of(args))
        rows.append({"state": done.state, "type": file.type, "file": str(file.path), "kept": done.kept})
    emit(args, {"files": rows}, rows, COLUMNS)
    for row in [] if args.dry_run else rows:
        note(f"{row['file']} is {'what it was before' if row['state'] == 'restored' else 'gone, as it was before'}")
    return 0


def _place(args: argparse.Namespace) -> tuple[Path, int, str | None]:
    """Return calibration directory, run and pattern of the source, without a look at the run itself."""
    from pathlib import Path

    from jfstore.runs.tree import Tree

    text, pattern = run_of(args)
    dataset = parse_dataset(text)
    if dataset.file or len(dataset.runs) != 1 or dataset.runs[0][0] != dataset.runs[0][1]:
        raise BadValue(f"{text}: --undo is for one run, exp=EXP:run=RUN")
    if args.calibdir is not None:
        return Path(args.calibdir), dataset.runs[0][0], pattern
    return Tree.from_environment().calib_directory(dataset.experiment), dataset.runs[0][0], pattern


def _last_deployed(calibdir: Path, run: int, pattern: str | None) -> list[CalibFile]:
    """Return the files that the last deployment for a run brought, gains and offsets or one of them."""
    from jfstore.core.calib_types import CALIB_TYPES
    from jfstore.deployment.calibdir import CalibFile, sources
    from jfstore.deployment.note import read_note
    from jfstore.runs.run import is_part

    noted = {
        source: [
            (file, entries[0])
            for file in (CalibFile(calibdir, source, name, run) for name in CALIB_TYPES)
            if (entries := read_note(file))
        ]
        for source in sources(calibdir)
    }
    there = [source for source, entries in noted.items() if entries]
    fitting = [source for source in there if source == pattern]
    fitting = fitting or [source for source in there if pattern is None or is_part(pattern, source)]
    if not fitting:
        asked = f" of {pattern}" if pattern else ""
        near = nearest(pattern, sources(calibdir)) if pattern else sources(calibdir)
        raise NotFound(f"nothing{asked} was deployed by jfstore for run {run} in {calibdir}", near)
    if len(fitting) > 1:
        raise BadValue(f"several Jungfraus have something to undo, choose one: {', '.join(fitting)}")
    # One of the pair may have been left alone, for it was unchanged.
    _, newest = max(noted[fitting[0]], key=lambda pair: pair[1].time)
    return [file for file, entry in noted[fitting[0]] if entry.call == newest.call]
