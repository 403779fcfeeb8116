"""``find_detector_runs``: list experiments and runs with a detector, in the format of the old command."""

from __future__ import annotations

from collections.abc import Sequence

from jfstore._version import __version__
from jfstore.cli.options import Parser
from jfstore.cli.output import printable, progress
from jfstore.cli.program import report_errors, run_program
from jfstore.errors import BadValue, Failed, JfstoreError

INSTRUMENTS = ("AMO", "SXR", "XPP", "XCS", "CXI", "MEC", "MFX", "DIA", "DET", "MOB")
_EPILOG = """\
The runs are those whose XTC files are under SIT_PSDM_DATA (default /reg/d/psdm).

examples:
  find_detector_runs MFX jungfrau
  find_detector_runs mfx Jungfrau.1
"""


def get_parser() -> Parser:
    """Return the parser of ``find_detector_runs``."""
    description = "List the experiments and runs that have a detector."
    parser = Parser(prog="find_detector_runs", description=description, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"find_detector_runs of jfstore {__version__}")
    parser.add_argument("instrument", metavar="INS", nargs="?", help=f"instrument: {', '.join(INSTRUMENTS)}")
    text = "a part of the detector's source, in upper or lower case (default: %(default)s)"
    parser.add_argument("detector", metavar="DET", nargs="?", default="jungfrau", help=text)
    return parser


def _run(argv: list[str]) -> int:
    from jfstore.runs.listing import read_all
    from jfstore.runs.tree import Tree

    args = get_parser().parse_all(argv)
    instrument = args.instrument
    print("_" * 80)
    print(f'List of experiments and runs containing detector "{args.detector}" in instrument {instrument}')
    if instrument is None or instrument.upper() not in INSTRUMENTS:
        print("Usage: find_detector_runs <INS> <DET>")
        print(f"       where <INS> instrument from the list {', '.join(INSTRUMENTS)}")
        print("             <DET> is like one of the list jungfrau, cspad., cspad2x2, opal, pnccd, etc...")
        if instrument is not None:
            raise BadValue(f"{instrument!r} is not an instrument")
        return 0
    print("_" * 80)
    print(f"{instrument}:\n")
    print(f'Test find detector runs containing "{args.detector}" in all experiments of {instrument}')
    print(f'experiments of "{instrument}":', flush=True)
    tree = Tree.from_environment()
    broken: list[JfstoreError] = []
    for experiment in tree.experiments(instrument):
        try:
            runs = tree.runs(experiment)
        except Failed as error:
            broken.append(error)
            continue
        print(f"  {experiment.name:9s}: nruns {len(runs):4d}")
        found: list[tuple[int, str]] = []
        with progress(experiment.name) as bar:
            for done, (run, errors) in enumerate(read_all(experiment, runs), 1):
                bar(done, len(runs))
                broken += errors
                sources = [*(jungfrau.source for jungfrau in run.jungfraus), *(source for source, _ in run.others)]
                found += [(run.run, source) for source in sources if args.detector.lower() in source.lower()]
        # The progress bar must be gone before anything is printed.
        for number, source in found:
            print(printable(f"      run {number:4d}: {source}"))
    return report_errors(broken)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``find_detector_runs`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program("find_detector_runs", _run, argv)
