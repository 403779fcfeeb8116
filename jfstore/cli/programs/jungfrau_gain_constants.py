"""``jungfrau_gain_constants``: merge, write and deploy the gains and offsets of a run, as the old command did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jfstore._version import __version__
from jfstore.cli.as_of import reading_variable
from jfstore.cli.generate import add_output_options, format_commands, make_output
from jfstore.cli.options import Once, Parser, choose
from jfstore.cli.output import printable, progress
from jfstore.cli.program import run_program, warn_all
from jfstore.errors import BadValue
from jfstore.runs.dataset import ANY_JUNGFRAU

if TYPE_CHECKING:
    from jfstore.deployment.generate import Generated

_NAME = "jungfrau_gain_constants"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_EPILOG = """\
The command takes the constants that are valid at the start of the run, or at STAMP, for every panel of its Jungfrau.
If a panel has none, it writes nothing. It replaces its local files.

examples:
  jungfrau_gain_constants -d exp=xcsls3716:run=631
  jungfrau_gain_constants -d exp=xcsls3716:run=631 -s Jungfrau.0 -D -U
  jungfrau_gain_constants exp=xcsls3716:run=631 Jungfrau.0 20171205161400 -D -c ./calib
"""


def get_parser() -> Parser:
    """Return the parser of ``jungfrau_gain_constants``."""
    parser = Parser(
        prog=_NAME, description="Merge, write and deploy the gains and offsets of a run's Jungfrau.", epilog=_EPILOG
    )
    add = parser.add_argument
    add("--version", action="version", version=f"{_NAME} of jfstore {__version__}")
    add("dataset", metavar="DATASET", nargs="?", help="exp=EXP:run=RUN, or an .xtc file")
    add("source", metavar="SOURCE", nargs="?", help="source, alias or a part of the source (default: Jungfrau)")
    add("stamp", metavar="STAMP", nargs="?", help="another time than the start of the run: YYYYMMDDHHMMSS")
    add("-d", "--dsname", metavar="DATASET", action=Once, help="the same as DATASET")
    add("-s", "--source", dest="source_option", metavar="SOURCE", action=Once, help="the same as SOURCE")
    add("-t", "--tstamp", metavar="STAMP", action=Once, help="the same as STAMP")
    add("-D", "--deploy", action="store_true", help="deploy the files where psana reads them")
    add("-U", "--upload", action="store_true", help="show the commands that add the merged files to a repository")
    text = (
        "where the panels' constants are: test, real, the path of a repository, or the directory of a legacy gain tree"
    )
    add("-R", "--repdir", metavar="REPOSITORY|GAINS_DIR", default="real", help=f"{text} (default: %(default)s)")
    text = "what to print: INFO, or WARNING for little (default: %(default)s)"
    add("-L", "--loglev", metavar="LEVEL", default="INFO", type=str.upper, choices=_LEVELS, help=text)
    add("-P", "--lfpath", metavar="PATH", help="ignored, as it has long been")
    add_output_options(parser, "--clbdir")
    return parser


def _run(argv: list[str]) -> int:
    parser = get_parser()
    args = parser.parse_all(argv)
    args.argv = argv
    dataset = choose("dataset", dict.fromkeys((args.dataset, args.dsname)))
    if dataset is None:
        if argv:
            raise BadValue(f"the dataset is missing: -d exp=EXP:run=RUN; see {_NAME} --help")
        parser.print_help()
        return 0
    from jfstore.core.calib_types import PAIRS
    from jfstore.deployment.constants import constants_of
    from jfstore.deployment.generate import write_constants
    from jfstore.deployment.upload import make_upload_commands

    source = choose("source", dict.fromkeys((args.source, args.source_option))) or ANY_JUNGFRAU
    time = choose("time", dict.fromkeys((args.stamp, args.tstamp)))
    with reading_variable(None) as as_of:
        options: dict[str, Any] = {"source": source, "time": time, "repo": args.repdir, "as_of": as_of}
        constants = constants_of(dataset, types=PAIRS[0], **options)
    # This command has always replaced its local files, and scripts rely on it.
    output = make_output(args, _NAME, directory=".", replace_local=True, deploy=args.deploy)
    with progress("writing") as show:
        done = write_constants(constants, output, progress=show)
    warn_all(done.notes)
    if args.loglev in ("DEBUG", "INFO"):
        _print(_report(dataset, source, done))
    if args.upload:
        _print(format_commands(make_upload_commands(constants, _NAME)))
    return 0


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(line))


def _report(dataset: str, source: str, done: Generated) -> Iterable[str]:
    constants = done.constants
    jungfrau = constants.jungfrau
    yield "_" * 80
    yield "Generator of gain correction constants for Jungfrau"
    yield f'Dataset "{dataset}", name pattern "{source}"'
    yield f'      found source "{jungfrau.source}" with number of panels: {jungfrau.count}'
    yield f"Jungfrau id: {jungfrau.detector_id}"
    when = f"{constants.time} ({constants.time.iso})"
    yield f"Selected constants, valid at {when}, {constants.origin_text}:"
    names = {name: [panel.version for panel in panels] for name, panels in constants.panels.items()}
    for number, versions in enumerate(zip(*names.values(), strict=True)):
        for version in dict.fromkeys(versions):
            types = [name for name in names if names[name][number] == version]
            yield f"      {version}{'' if len(types) == len(names) else f' ({types[0]})'}"
    yield from (f"Save {name}" for name in done.written)
    if done.calibdir is None:
        yield "Add option -D to deploy calib files, with -c CALIBDIR"
    elif not done.deployed:
        yield f"Add option -D to deploy calib files under directory {done.calibdir}"
    for deployed in done.deployed:
        previous = f"; the previous file is now {deployed.replaced}" if deployed.replaced else ""
        yield f"{'Deploy' if deployed.state == 'deployed' else 'Unchanged'} {deployed.file.path}{previous}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``jungfrau_gain_constants`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program(_NAME, _run, argv)
