"""``jfstore deploy``: a run's constants where psana reads them, and the previous ones brought back."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from jfstore.cli.generate import (
    COLUMNS,
    add_constants_options,
    add_run_options,
    confirm_test,
    output_of,
    read_constants,
    report,
    run_of,
    value_of,
)
from jfstore.cli.options import Parser, rights_of
from jfstore.cli.output import emit, note, progress
from jfstore.cli.program import warn_of
from jfstore.errors import BadValue

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
    from jfstore.deployment.generate import write_constants

    constants = read_constants(args)
    output = output_of(args, deploy=True, from_test=args.yes)
    if not args.yes and not args.dry_run:
        confirm_test(constants, output)
        output = replace(output, from_test=True)
    with progress("deploying") as show:
        done = write_constants(constants, output, dry_run=args.dry_run, progress=show)
    warn_of(done.notes)
    value = value_of(done)
    if not args.json:
        report(done)
    emit(args, value, value["files"], COLUMNS)
    return 0


def _undo(args: argparse.Namespace) -> int:
    from jfstore.deployment.undo import undo_deploy

    useless = [option for option in ("time", "repo", "format") if getattr(args, option, None) is not None]
    if useless:
        raise BadValue(f"--undo brings back what was there: leave out --{useless[0]}")
    dataset, source = run_of(args)
    options: dict[str, Any] = {"replace": args.replace, "dry_run": args.dry_run, "rights": rights_of(args)}
    rows = [
        {"state": done.state, "type": done.file.type, "file": str(done.file.path), "kept": done.replaced}
        for done in undo_deploy(dataset, source=source, calibdir=args.calibdir, **options)
    ]
    emit(args, {"files": rows}, rows, COLUMNS)
    for row in [] if args.dry_run else rows:
        note(f"{row['file']} is {'what it was before' if row['state'] == 'restored' else 'gone, as it was before'}")
    return 0
