"""``jfstore deploy``: deploy the constants of a run to where psana reads them, or undo that."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from jfstore.cli.generate import (
    COLUMNS,
    add_run_options,
    confirm_runs,
    confirm_test,
    make_output,
    make_value,
    read_constants,
    read_plans,
    read_run,
    report,
)
from jfstore.cli.options import Parser, rights_of
from jfstore.cli.output import emit, note, progress
from jfstore.cli.program import warn_all
from jfstore.errors import BadValue

_GENERIC_COLUMNS = ("state", "type", "version", "path")
EPILOG = """\
The command deploys the constants that are valid at the start of the run, of -t or of every type that psana1 reads
(pixel_gain, pixel_offset, pedestals, pixel_rms, pixel_status, status_extra, pixel_mask), to
CALIBDIR/Jungfrau::CalibV1/<source>/<type>/<run>-end.data. Running jobs find the previous or the new file, whole; the
previous file is kept beside it under a dated name. A file with the same values stays as it is; a file that jfstore did
not write is replaced with --replace only. The note <run>-end.jfstore.json beside each file holds its versions, and
HISTORY gets a line. Constants of a test repository go to the experiment's own calibration directory only if you
confirm, or with --yes.

psana1 reads pixel_status as 16 bits: a status that needs more is refused. psana2 reads its calibration database and no
files: for a run of LCLS-II, see jfstore generate --help.

--until-next ends the range of each file before the first run that starts when other constants of the type are valid:
<run>-<last run>.data. psana takes, of the files that cover a run, the one that starts last. For the next run it would
go back to an older file that covers it, so the command refuses this, and names that file; it also refuses if no later
run is known. If no other file covers the next run, psana finds no file for it, and looks in its DCS files. Better
deploy both in one call, exp=EXP:run=1,12: run 12 gets its file first, and a run that a file of the call covers gets
none.

--undo brings back the file from before the last deployment for the run, or removes the file if there was none. It
needs no XTC files, and keeps the deployed file under a dated name. The notes record the previous file for the last 50
deployments of each run. You may remove files with dated names if nobody needs them any more.

--generic deploys to psana's generic repository, which holds for every experiment: the DCS file of the detector,
DIR/jungfrau/jungfrau-<detector Id>.h5, where DIR is -c or detector/calib under SIT_PSDM_DATA. psana takes from it what
the calibration directory of an experiment does not have. Each calibration type gets a version in the range that starts
with the run; the file keeps older versions, and --undo removes the last one that was deployed for the run.

--locked deploys what a lock file pins. Each note holds the lock of its file: jfstore get --locked
<run>-end.jfstore.json returns the array that was deployed.

examples:
  jfstore deploy exp=xcsls3716:run=631
  jfstore deploy --locked run631.lock
  jfstore deploy exp=xcsls3716:run=631 Jungfrau.0 -c ./calib
  jfstore deploy exp=xcsls3716:run=631 -t pedestals -t pixel_rms -t pixel_status
  jfstore deploy exp=xcsls3716:run=1,631 --until-next
  jfstore deploy exp=xcsls3716:run=631 --undo
  jfstore deploy exp=xcsls3716:run=631 --generic
"""


def add_options(parser: Parser) -> None:
    add_run_options(parser)
    text = "deploy to the DCS file of the detector, which holds for every experiment, below -c DIR"
    parser.add_argument("--generic", action="store_true", help=f"{text} (default: detector/calib under SIT_PSDM_DATA)")
    parser.add_argument("--undo", action="store_true", help="bring back the file from before the last deployment")
    text = "deploy each file only up to the last run before other constants become valid; also for several runs"
    parser.add_argument("--until-next", action="store_true", help=text)
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the changes, change nothing")


def run(args: argparse.Namespace) -> int:
    if args.undo:
        return _undo_generic(args) if args.generic else _undo(args)
    if args.generic:
        return _deploy_generic(args)
    if args.until_next:
        return _deploy_until_next(args)
    from jfstore.deployment.generate import write_constants

    constants = read_constants(args, psana1=True)
    output = make_output(args, "jfstore", deploy=True, from_test=args.yes)
    if not args.yes and not args.dry_run:
        output = confirm_test(constants, output)
    with progress("deploying") as show:
        done = write_constants(constants, output, dry_run=args.dry_run, progress=show)
    warn_all(done.notes)
    value = make_value(done)
    if not args.json:
        report(done)
    emit(args, value, value["files"], COLUMNS)
    return 0


def _deploy_until_next(args: argparse.Namespace) -> int:
    from jfstore.deployment.ranges import write_plans

    plans = read_plans(args)
    output = make_output(args, "jfstore", deploy=True, from_test=args.yes)
    ask = None if args.yes or args.dry_run else confirm_runs
    done = write_plans(plans, output, dry_run=args.dry_run, ask=ask)
    warn_all(dict.fromkeys(text for one in done for text in one.notes))
    values = [make_value(one) for one in done]
    files = [row for value in values for row in value["files"]]
    if not args.json:
        for one in done:
            report(one)
    value = values[0] if len(plans) == 1 else {"runs": values, "files": files}
    emit(args, value, files, COLUMNS)
    return 0


def _deploy_generic(args: argparse.Namespace) -> int:
    from jfstore.deployment.generic import write_generic

    if args.format is not None:
        raise BadValue("a DCS file holds every bit: leave out --format")
    constants = read_constants(args, psana1=True)
    options: dict[str, Any] = {"replacing": args.replace, "dry_run": args.dry_run, "rights": rights_of(args)}
    options |= {"from_test": args.yes, "command": ("jfstore", *args.argv)}
    with progress("deploying") as show:
        done = write_generic(constants, args.calibdir, progress=show, **options)
    warn_all(constants.notes)
    rows = [asdict(one) for one in done]
    value = {"origin": dict(constants.origin), "dataset": constants.run.label, "files": rows}
    emit(args, value, rows, _GENERIC_COLUMNS)
    note(f"for {constants.run.label} and later runs of every experiment, {constants.origin_text}")
    return 0


def _refuse_useless(args: argparse.Namespace) -> None:
    names = ("types", "time", "repo", "format", "as_of", "locked")
    useless = [option for option in names if getattr(args, option, None) is not None]
    useless += ["until_next"] if args.until_next else []
    if useless:
        option = "-t" if useless[0] == "types" else f"--{useless[0].replace('_', '-')}"
        raise BadValue(f"--undo brings back what was there before: leave out {option}")


def _undo_generic(args: argparse.Namespace) -> int:
    from jfstore.deployment.generic_undo import undo_generic

    _refuse_useless(args)
    dataset, source = read_run(args)
    options: dict[str, Any] = {"replace": args.replace, "dry_run": args.dry_run, "rights": rights_of(args)}
    rows = [asdict(one) for one in undo_generic(dataset, args.calibdir, source=source, **options)]
    emit(args, {"files": rows}, rows, _GENERIC_COLUMNS)
    return 0


def _undo(args: argparse.Namespace) -> int:
    from jfstore.deployment.undo import undo_deploy

    _refuse_useless(args)
    dataset, source = read_run(args)
    options: dict[str, Any] = {"replace": args.replace, "dry_run": args.dry_run, "rights": rights_of(args)}
    rows = [
        {"state": done.state, "type": done.file.type, "file": str(done.file.path), "kept": done.replaced}
        for done in undo_deploy(dataset, source=source, calibdir=args.calibdir, **options)
    ]
    emit(args, {"files": rows}, rows, COLUMNS)
    for row in [] if args.dry_run else rows:
        restored = row["state"] == "restored"
        note(f"{row['file']}: {'restored the previous file' if restored else 'removed, for there was no file before'}")
    return 0
