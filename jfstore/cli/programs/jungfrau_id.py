"""``jungfrau_id``: print the Id of a run's Jungfrau, in the format of the old command."""

from __future__ import annotations

from collections.abc import Sequence

from jfstore._version import __version__
from jfstore.cli.options import Parser
from jfstore.cli.output import printable
from jfstore.cli.program import report_errors, run_program, warn_all
from jfstore.errors import Damaged
from jfstore.runs.dataset import ANY_JUNGFRAU

_EPILOG = """\
examples:
  jungfrau_id exp=xpptut15:run=430
  jungfrau_id exp=xpptut15:run=430 Jungfrau.0
  jungfrau_id exp=xpptut15:run=430 jungfrau1M | tail -1
"""


def get_parser() -> Parser:
    """Return the parser of ``jungfrau_id``."""
    parser = Parser(prog="jungfrau_id", description="Print the Id of a run's Jungfrau.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"jungfrau_id of jfstore {__version__}")
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="exp=EXP:run=RUN, or an .xtc file")
    text = "source, alias or a part of the source (default: %(default)s)"
    parser.add_argument("source", metavar="SOURCE", nargs="?", default=ANY_JUNGFRAU, help=text)
    return parser


def _run(argv: list[str]) -> int:
    from jfstore.runs.dataset import parse_dataset
    from jfstore.runs.run import match_jungfrau, read_run
    from jfstore.runs.tree import Tree

    parser = get_parser()
    args = parser.parse_all(argv)
    if args.dataset is None:
        parser.print_help()
        return 0
    dataset = parse_dataset(args.dataset)
    print("_" * 80)
    print(f'Finding Jungfrau Id in dataset "{args.dataset}" using name pattern {args.source}', flush=True)
    # Of several runs the first counts, as in psana.
    run = read_run(Tree.from_environment().find(dataset)[0])
    warn_all(run.notes)
    jungfrau = match_jungfrau(run, args.source)
    printed = printable(jungfrau.source.replace(":", "-"))
    print(f"Found source: {printed}, number of panels: {jungfrau.count}")
    if not jungfrau.panels:
        print("WARNING: numeric id is not available")
    print(f"Jungfrau id: {jungfrau.detector_id or printed}")
    return report_errors(list(map(Damaged, run.problems)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``jungfrau_id`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program("jungfrau_id", _run, argv)
