"""``jfstore generate``: write the constants of a run to files, and what ``jfstore deploy`` shares with it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli.as_of import reading_variable
from jfstore.cli.locking import add_lock, add_locked, check_lock, refuse_question, write_lock
from jfstore.cli.options import (
    Once,
    Parser,
    add_as_of,
    add_json,
    add_repo,
    add_rights,
    add_time,
    add_types,
    choose,
    rights_of,
)
from jfstore.cli.output import emit, emit_json, note, progress, report_rows
from jfstore.cli.program import warn_all
from jfstore.cli.run_options import add_experiment, dataset_of, panels_text
from jfstore.cli.writing import check_can_ask, confirm
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.deployment.constants import Constants
    from jfstore.deployment.generate import Generated, Output
    from jfstore.deployment.ranges import RunPlan

EPILOG = """\
The command takes the constants that are valid at the start of the run, for every panel of its Jungfrau: those of
every calibration type that is valid then, or of -t. If a panel has none, it writes nothing. It writes two files of
each type to the working directory: an .npy file with the stored bits, and a text with all the digits that bring back
every bit. It replaces a file that holds other values with --force only. With -D it deploys what psana reads, too: see
jfstore deploy --help. --lock writes a small file that pins the constants and the run: --locked with that file writes
the same values at any later time, and needs no XTC files.

For a run whose first gain range is the high one, pixel_gain and so on mean the types of that one, such as
pixel_gain_hg0. Their files have the names of the normal types, because psana has no others.

The arrays of a run of LCLS-II have a place for every segment of the detector, as those of psana2: absent segments are
zeros. -U prints for such a run the commands of psana2 that add the arrays to its calibration database. jfstore does
not run them; they need psana2 and a Kerberos ticket. They follow psana2's source, and were never tried with the real
database.

examples:
  jfstore generate exp=xcsls3716:run=631
  jfstore generate -d exp=xcsls3716:run=631 -s Jungfrau.0 -D -U
  jfstore generate exp=xcsls3716:run=631 --lock run631.lock
  jfstore generate --locked run631.lock
  jfstore generate -e xcsls3716 -r 631 --repo test -c ./calib -D
  jfstore generate exp=mfx101332224:run=7 -t pedestals -t pixel_rms -t pixel_status -U
"""


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate` and `deploy`."""
    add = parser.add_argument
    add("dataset", metavar="DATASET", nargs="?", help="exp=EXP:run=RUN, or an .xtc file")
    add("source", metavar="SOURCE", nargs="?", help="which Jungfrau of the run: source, alias or a part of the source")
    text = "the same as DATASET; with -e and -r the same as SOURCE"
    add("-d", "--detector", metavar="DATASET|SOURCE", action=Once, help=text)
    add("-s", "--source", dest="source_option", metavar="SOURCE", action=Once, help="the same as SOURCE")
    add_experiment(parser)
    add_types(parser, "only this calibration type; may be repeated")
    add_time(parser, "another time than the start of the run")
    add_locked(parser, "DATASET")
    add_as_of(parser, "the constants that were valid after that commit, or at that time")
    add_repo(parser, "or the directory of a legacy gain tree; default: real")
    add("-R", dest="repo", metavar="NAME|PATH", default=argparse.SUPPRESS, help="the same as --repo")
    text = "deploy constants of a test repository to the experiment's own calibration directory without asking"
    add("--yes", action="store_true", help=text)
    add_output_options(parser, "--calibdir")
    add_json(parser)


def add_output_options(parser: argparse.ArgumentParser, calibdir: str) -> None:
    """Add the options that say where files go and how they are written; `calibdir` is the long form of ``-c``."""
    add = parser.add_argument
    text = "the calibration directory (default: that of the experiment)"
    add("-c", calibdir, dest="calibdir", metavar="CALIBDIR", action=Once, help=text)
    text = "format of floats in text, such as %%.4f as the old command has for gains (default: all the digits that "
    add("--format", metavar="FORMAT", help=f"{text}bring back every bit)")
    add("--replace", action="store_true", help="also replace deployed files that jfstore did not write")
    add_rights(parser)


def read_run(args: argparse.Namespace) -> tuple[str, str | None]:
    """Return the dataset and the source; BadValue if there is not one dataset, or more than one source."""
    dataset, sources = dataset_of(args), [args.source, args.source_option]
    datasets = [dataset, args.dataset]
    (sources if dataset or args.dataset else datasets).append(args.detector)
    found = choose("dataset", datasets)
    if found is None:
        raise BadValue("the dataset is missing: exp=EXP:run=RUN, or -e EXP -r RUN")
    return found, choose("source", sources)


def read_constants(args: argparse.Namespace, psana1: bool = False) -> Constants:
    """Return the constants that the options name; without -t, perhaps only those of types that psana1 reads."""
    from jfstore.deployment.constants import constants_of

    options: dict[str, Any] = {"types": args.types, "psana1": psana1, "repo": getattr(args, "repo", None)}
    if args.locked:
        refuse_question(args)
        return constants_of(locked=args.locked, **options)
    dataset, source = read_run(args)
    with reading_variable(args.as_of) as as_of:
        return constants_of(dataset, source=source, time=args.time, as_of=as_of, **options)


def read_plans(args: argparse.Namespace) -> tuple[RunPlan, ...]:
    """Return what is to be deployed for each run, up to the next start of validity."""
    from jfstore.deployment.ranges import plan_runs

    options: dict[str, Any] = {"types": args.types, "repo": getattr(args, "repo", None)}
    if args.locked:
        refuse_question(args)
        return plan_runs(None, locked=args.locked, **options)
    dataset, source = read_run(args)
    with reading_variable(args.as_of) as as_of:
        return plan_runs(dataset, source=source, time=args.time, as_of=as_of, **options)


def make_output(args: argparse.Namespace, program: str, **more: Any) -> Output:
    """Return where files go and how they are written."""
    from jfstore.deployment.generate import Output

    options = {"calibdir": args.calibdir, "replace_deployed": args.replace, "fmt": args.format}
    return Output(**options, rights=rights_of(args), command=(program, *args.argv), **more)


def add_options(parser: Parser) -> None:
    add_run_options(parser)
    add = parser.add_argument
    add("-D", "--deploy", action="store_true", help="also deploy the text files to where psana reads them")
    add_lock(parser)
    add("--force", action="store_true", help="replace local files that hold other values, and LOCK")
    add("-U", "--upload", action="store_true", help="print the commands that add the merged files to a repository")


def run(args: argparse.Namespace) -> int:
    from jfstore.deployment.generate import write_constants
    from jfstore.deployment.upload import make_upload_commands

    check_lock(args)
    constants = read_constants(args)
    if args.lock and constants.lock is None:
        raise BadValue(f"--lock {args.lock}: {constants.origin_text} cannot be pinned by a lock")
    options = {"directory": ".", "replace_local": args.force, "deploy": args.deploy, "from_test": args.yes}
    output = make_output(args, "jfstore", **options)
    if args.deploy and not args.yes:
        output = confirm_test(constants, output)
    with progress("writing") as show:
        done = write_constants(constants, output, progress=show)
    warn_all(done.notes)
    if args.lock and constants.lock:
        write_lock(args, constants.lock)
    groups = make_upload_commands(constants, "jfstore generate") if args.upload else []
    value = make_value(done)
    if args.json:
        commands = [{"for": text, "command": words} for text, several in groups for words in several]
        emit_json({**value, **({"commands": commands} if args.upload else {})})
        return 0
    report(done)
    if args.upload:
        # Standard output holds nothing but the commands, for a shell.
        report_rows(value["files"], COLUMNS)
        for line in format_commands(groups):
            print(line)
    else:
        emit(args, value, value["files"], COLUMNS)
    return 0


def confirm_test(constants: Constants, output: Output) -> Output:
    """Ask before constants of a test repository go to the experiment's own directory; return `output` with consent."""
    from dataclasses import replace

    from jfstore.deployment.generate import write_constants

    planned = write_constants(constants, output, dry_run=True)
    if planned.needs_confirmation:
        confirm_runs([planned])
    return replace(output, from_test=True)


def confirm_runs(planned: Sequence[Generated]) -> bool:
    """Ask before constants of a test repository go to the experiment's own directory; return True with consent."""
    why = f"{planned[0].constants.origin['path']} is a test repository, and psana reads {planned[0].calibdir}"
    check_can_ask(why)
    for one in planned:
        report(one)
    confirm(f"{why}. Deploy?")
    return True


def format_commands(groups: Sequence[tuple[str, list[list[str]]]]) -> Iterator[str]:
    """Yield the lines of a shell script of those commands."""
    for text, commands in groups:
        yield f"# {text}:"
        yield from map(shlex.join, commands)


COLUMNS = ("state", "type", "file", "kept")


def make_value(done: Generated) -> dict[str, Any]:
    """Return the value that ``--json`` prints."""
    from jfstore.cli.run_options import run_value

    constants = done.constants
    written = [
        {"state": "written", "type": name, "file": file, "kept": None}
        for name in constants.arrays
        for file in done.written
        if file[:-4].endswith(name)
    ]
    deployed = [
        {"state": new.state, "type": new.file.type, "file": str(new.file.path), "kept": new.replaced}
        for new in done.deployed
    ]
    return {
        "run": run_value(constants.run, constants.jungfrau),
        "time": {"stamp": constants.time.stamp, "utc": constants.time.iso},
        "origin": dict(constants.origin),
        "constants": [
            {
                "type": constants.find_stored_type(name),
                "panel": panel.panel,
                "version": panel.version,
                "blake3": panel.blake3,
            }
            for name, panels in constants.panels.items()
            for panel in panels
        ],
        "files": written + deployed,
    }


def report(done: Generated) -> None:
    """Print the versions of the constants, and their run, on standard error."""
    value = make_value(done)
    report_rows([{**row, "blake3": row["blake3"][:12]} for row in value["constants"]], ("type", "version", "blake3"))
    run = value["run"]
    note(f"{run['dataset']} started at {run['begin']}; {panels_text(run)}")
    note(f"valid at {value['time']['stamp']} ({value['time']['utc']}), {done.constants.origin_text}")
