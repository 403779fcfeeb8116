"""``event_keys``: print the keys of psana's stores for the events of a run, in the format of the old command."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jfstore._version import __version__
from jfstore.cli.options import Parser, as_option
from jfstore.cli.output import printable
from jfstore.cli.program import report_errors, run_program
from jfstore.errors import BadValue, Damaged, Refused

if TYPE_CHECKING:
    from jfstore.runs.dataset import Dataset
    from jfstore.runs.event_keys import Event
    from jfstore.runs.tree import RunFiles

_OF_EVENT, _OF_CONFIG, _OF_CALIB = 1, 2, 4
_EPILOG = """\
With -p, each line that contains the pattern is printed once; without -p, the lines of every event.

examples:
  event_keys -d exp=xpptut15:run=430 -m2 -p Jung
  event_keys -d exp=xpptut15:run=430 -n 1
"""


def _parse_count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadValue(f"{text!r} is not a number of events")
    return int(text)


def _parse_modes(text: str) -> int:
    if text not in {str(bits) for bits in range(8)}:
        raise BadValue(f"{text!r} is not a sum of 1 (event keys), 2 (configuration), 4 (calibration)")
    return int(text)


def get_parser() -> Parser:
    """Return the parser of ``event_keys``."""
    parser = Parser(prog="event_keys", description="Print the event keys of a run.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"event_keys of jfstore {__version__}")
    add = parser.add_argument
    add("-d", "--dataset", metavar="DATASET", help="exp=EXP:run=RUN, or an .xtc file")
    number = as_option(_parse_count)
    text = "the event to stop before (default: %(default)s)"
    add("-n", "--nevents", metavar="N", type=number, default=10, help=text)
    text = "number of events to skip at the start (default: %(default)s)"
    add("-s", "--skip", metavar="N", type=number, default=0, help=text)
    text = "keys: 1 event, 2 configuration, 4 calibration (files have none), or a sum (default: %(default)s)"
    add("-m", "--mode", metavar="BITS", type=as_option(_parse_modes), default=7, help=text)
    add("-f", "--file", metavar="FILE", help="also write the keys to this file, which must not exist")
    add("-v", "--quiet", action="store_true", help="do not print the keys")
    add("-p", "--pattern", metavar="TEXT", help="only lines that contain this text")
    return parser


def _run(argv: list[str]) -> int:
    from jfstore.fs.output_file import publish_file
    from jfstore.runs.dataset import parse_dataset
    from jfstore.runs.event_keys import read_events

    parser = get_parser()
    args = parser.parse_all(argv)
    if args.dataset is None:
        if argv:
            raise BadValue("the dataset is missing: -d exp=EXP:run=RUN; see event_keys --help")
        parser.print_help()
        return 0
    dataset = parse_dataset(args.dataset)
    if args.file and os.path.lexists(args.file):
        raise Refused(f"{args.file} exists")
    print("Command:", " ".join(["event_keys", *argv]))
    for name, value in (
        ("scan dataset", args.dataset),
        ("output file", args.file),
        ("first event", args.skip),
        ("last event", args.nevents),
        ("mode bits", args.mode),
        ("verbose", int(not args.quiet)),
        ("pattern to squeeze", args.pattern),
    ):
        print(f"{name:18}: {value}")
    sys.stdout.flush()
    start = time.monotonic()
    printer = _Printer(args.pattern, args.mode, args.quiet)
    problems: list[str] = []
    count = 0
    for run in _find_runs(dataset):
        for event in read_events(run, problems):
            if count >= args.nevents:
                break
            if count >= args.skip:
                printer.add(count, event)
            count += 1
    printer.end()
    print(f"Loop over {count} events of the dataset {args.dataset} consumes {time.monotonic() - start:.6f} sec.")
    if args.file:
        publish_file(args.file, ["".join(f"{line}\n" for line in printer.lines).encode()])
    return report_errors(list(map(Damaged, dict.fromkeys(problems))))


def _find_runs(dataset: Dataset) -> list[RunFiles]:
    from jfstore.runs.tree import Tree

    runs = Tree.from_environment().find(dataset)
    if newer := next((run for run in runs if run.is_xtc2), None):
        raise BadValue(f"{newer.label} is a run of LCLS-II: event_keys reads runs of LCLS-I only; see jfstore id")
    return runs


class _Printer:
    """Prints the keys of events, and keeps the lines for the file."""

    def __init__(self, pattern: str | None, mode: int, quiet: bool) -> None:
        self.lines: list[str] = []
        self._pattern, self._mode, self._quiet = pattern, mode, quiet
        self._seen: set[str] = set()

    def add(self, number: int, event: Event) -> None:
        wanted = (
            *(event.of_event if self._mode & _OF_EVENT else ()),
            *(event.of_config if self._mode & _OF_CONFIG else ()),
        )
        if self._pattern is None:
            self._put(["_" * 85, f"Event# {number:3d}", *wanted])
            return
        fresh = [line for line in dict.fromkeys(wanted) if self._pattern in line and line not in self._seen]
        self._seen.update(fresh)
        self._put(fresh)

    def end(self) -> None:
        if self._pattern is None:
            self._put(["_" * 85])

    def _put(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.lines.append(printable(line))
            if not self._quiet:
                print(self.lines[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``event_keys`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program("event_keys", _run, argv)
