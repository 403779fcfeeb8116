"""``jfstore generate``: a run's constants merged, written here and deployed where psana reads them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once, Parser, add_json, add_repo, add_rights, add_time, rights_of
from jfstore.cli.output import emit, emit_json, note, progress, report_rows
from jfstore.cli.program import warn_of
from jfstore.cli.run_options import add_experiment, dataset_of
from jfstore.cli.writing import check_can_ask, confirm
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.deployment.constants import Constants
    from jfstore.deployment.generate import Generated, Output

SUMMARY = "Write the constants of a run to files."
EPILOG = """\
The constants are those that are valid when the run begins, of every panel of its Jungfrau; if any panel has
none, nothing is written. Four files are written here, pixel_gain and pixel_offset as .npy and as text with every
digit that brings back each bit. With -D the text is deployed, too: see jfstore deploy --help.

examples:
  jfstore generate exp=xcsls3716:run=631
  jfstore generate -d exp=xcsls3716:run=631 -s Jungfrau.0 -D -U
  jfstore generate -e xcsls3716 -r 631 --repo test -c ./calib -D
"""


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what names a run and its Jungfrau, and the calibration directory."""
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="exp=EXP:run=RUN, or an .xtc file")
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", help="which Jungfrau of it: source, alias or a part of the source"
    )
    parser.add_argument(
        "-d",
        "--detector",
        metavar="DATASET|SOURCE",
        action=Once,
        help="the same as DATASET; with -e and -r the same as SOURCE",
    )
    parser.add_argument(
        "-s", "--source", dest="source_option", metavar="SOURCE", action=Once, help="the same as SOURCE"
    )
    add_experiment(parser)
    parser.add_argument(
        "-c",
        "--calibdir",
        metavar="CALIBDIR",
        action=Once,
        help="the calibration directory (default: that of the experiment)",
    )


def add_constants_options(parser: argparse.ArgumentParser) -> None:
    """Add from where the constants are, for which time, and how files are written."""
    add_time(parser, "another time than the begin of the run", required=False)
    add_repo(parser, "or the directory of a legacy gain tree; default: real")
    parser.add_argument("-R", dest="repo", metavar="NAME|PATH", default=argparse.SUPPRESS, help="the same as --repo")
    parser.add_argument(
        "--format",
        metavar="FORMAT",
        help="format of the values in text, such as %%.4f as the old "
        "command has for gains (default: all the digits that bring back every bit)",
    )
    parser.add_argument("--replace", action="store_true", help="also replace deployed files that jfstore did not write")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="do not ask before constants of a test repository go to the experiment's own calibration directory",
    )
    add_rights(parser)
    add_json(parser)


def run_of(args: argparse.Namespace) -> tuple[str, str | None]:
    """Return the dataset and the source that were given, one way or another; BadValue if not exactly once."""
    dataset, sources = dataset_of(args), [args.source, args.source_option]
    datasets = [dataset, args.dataset]
    (sources if dataset or args.dataset else datasets).append(args.detector)
    there = [text for text in datasets if text is not None]
    if len(there) != 1:
        raise BadValue(
            f"the dataset is given twice: {' and '.join(there)}"
            if there
            else "the dataset is missing: exp=EXP:run=RUN, or -e EXP -r RUN"
        )
    named = [text for text in sources if text is not None]
    if len(named) > 1:
        raise BadValue(f"the source is given twice: {' and '.join(named)}")
    return there[0], named[0] if named else None


def read_constants(args: argparse.Namespace) -> Constants:
    """Return the constants that were asked for."""
    from jfstore.deployment.constants import constants_of

    dataset, source = run_of(args)
    return constants_of(dataset, source=source, time=args.time, repo=getattr(args, "repo", "real"))


def output_of(args: argparse.Namespace, **more: Any) -> Output:
    """Return where files go and how they are written."""
    from jfstore.deployment.generate import Output

    return Output(
        calibdir=args.calibdir,
        replace_deployed=args.replace,
        fmt=args.format,
        rights=rights_of(args),
        command=("jfstore", *args.argv),
        **more,
    )


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    add_run_options(parser)
    parser.add_argument("-D", "--deploy", action="store_true", help="deploy the text files where psana reads them, too")
    parser.add_argument("--force", action="store_true", help="replace local files that hold other values")
    parser.add_argument(
        "-U", "--upload", action="store_true", help="print the commands that add the merged files to a repository"
    )
    add_constants_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.deployment.generate import upload_commands, write_constants

    constants = read_constants(args)
    output = output_of(args, directory=".", replace_local=args.force, deploy=args.deploy, from_test=args.yes)
    if args.deploy and not args.yes:
        confirm_test(constants, output)
        output = replace(output, from_test=True)
    with progress("writing") as show:
        done = write_constants(constants, output, progress=show)
    warn_of(done.notes)
    groups = upload_commands(constants, "jfstore generate") if args.upload else []
    value = value_of(done)
    if args.json:
        commands = [{"for": text, "command": words} for text, several in groups for words in several]
        emit_json({**value, **({"commands": commands} if args.upload else {})})
        return 0
    report(done)
    if args.upload:
        # What goes to a shell is all that goes to standard output.
        report_rows(value["files"], COLUMNS)
        for line in upload_lines(groups):
            print(line)
    else:
        emit(args, value, value["files"], COLUMNS)
    return 0


def confirm_test(constants: Constants, output: Output) -> None:
    """Ask before constants of a test repository go to the experiment's own calibration directory."""
    from jfstore.deployment.generate import write_constants

    planned = write_constants(constants, output, dry_run=True)
    if planned.needs_confirmation:
        why = f"{constants.origin['path']} is a test repository, and psana reads {planned.calibdir}"
        check_can_ask(why)
        report(planned)
        confirm(f"{why}. Deploy?")


def upload_lines(groups: Sequence[tuple[str, list[list[str]]]]) -> Iterator[str]:
    """Yield the lines of a shell script of those commands."""
    for text, commands in groups:
        yield f"# {text}:"
        yield from map(shlex.join, commands)


COLUMNS = ("state", "type", "file", "kept")


def value_of(done: Generated) -> dict[str, Any]:
    """Return what was done, as it is printed with ``--json``."""
    from jfstore.cli.run_options import run_value

    constants = done.constants
    written = [
        {"state": "written", "type": name, "file": file, "kept": None}
        for name in constants.arrays
        for file in done.written
        if file[:-4].endswith(name)
    ]
    deployed = [
        {"state": each.state, "type": each.file.type, "file": str(each.file.path), "kept": each.replaced}
        for each in done.deployed
    ]
    return {
        "run": run_value(constants.run, constants.jungfrau),
        "time": {"stamp": constants.time.stamp, "utc": constants.time.iso},
        "origin": dict(constants.origin),
        "constants": [
            {"type": name, "panel": panel.panel, "version": panel.version, "blake3": panel.blake3}
            for name, panels in constants.panels.items()
            for panel in panels
        ],
        "files": written + deployed,
    }


def report(done: Generated) -> None:
    """Say on standard error which constants they are."""
    value = value_of(done)
    report_rows([{**row, "blake3": row["blake3"][:12]} for row in value["constants"]], ("type", "version", "blake3"))
    run = value["run"]
    note(f"{run['dataset']} began at {run['begin']}; the panels are those of {run['source']} in {run['file']}")
    note(f"valid at {value['time']['stamp']} ({value['time']['utc']}), {done.constants.origin_text}")
