"""``jfstore runs``: list runs with a Jungfrau, and whether a repository has constants for them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Once, Parser, add_as_of, add_types, add_write_options
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.program import report_errors, warn_all
from jfstore.cli.run_options import COLUMNS, run_row, run_value
from jfstore.cli.writing import open_to_read, open_to_write, state_confirmed
from jfstore.errors import BadValue, NotFound

if TYPE_CHECKING:
    from jfstore.deployment.constants import RunConstants
    from jfstore.repository.governing import Stated
    from jfstore.runs.run import RunList

_RANGE_COLUMNS = ("dataset", "runs", "source", "detector", "count")
EPILOG = """\
The table has a row for each run and Jungfrau; a run without a Jungfrau has a row without a source. The files are under
SIT_PSDM_DATA (default /reg/d/psdm). The command caches the runs that it read in the user's cache directory. It reports
damaged files on standard error; the exit code is then 4.

The configurations of some old runs have no panel Ids (V1 and V2). --panels states for a range of runs which panels they
had, in one commit; get, add, explain and generate then take them, and say so. The last statement about a run counts.

With --ranges, the table has a row for each range of runs of an experiment in which a Jungfrau has the same panels: its
last run as a dataset, the first and the last run, the source, the detector Id (or psana's name of a configuration that
has no Ids), and in how many runs of the range it is.

With --resolve, the last column is yes if every panel has constants at the start of the run,
and otherwise says what is missing. If the run ends after the first of them has ended to be valid, the
column says until when. The exit code is 3 if constants are missing.

examples:
  jfstore runs                              every instrument
  jfstore runs XCS
  jfstore runs XCS --ranges                 which detector which experiment had
  jfstore runs xcsls3716 --resolve          check that all constants of an experiment are stored
  jfstore runs MFX | awk -F'\\t' '$6 == "V3"'
  jfstore runs --panels M044 exp=mfx00616:run=1-40 --repo real -m "from the logbook"
"""


_YES = "yes"


def add_options(parser: Parser) -> None:
    text = "only these (default: all); with --panels a range of runs, exp=EXP:run=A-B"
    parser.add_argument("place", metavar="INSTRUMENT|EXPERIMENT|RUNS", nargs="?", help=text)
    parser.add_argument("--ranges", action="store_true", help="a row for each range of runs with the same panels")
    parser.add_argument("--resolve", action="store_true", help="also say whether every panel has constants")
    add_types(parser, "with --resolve: need this calibration type; may be repeated (default: all)")
    add_as_of(parser, "with --resolve: as the repository was after that commit, or at that time")
    text = "state that the runs had these panels (panel or detector Id)"
    parser.add_argument("--panels", metavar="DETECTOR", action=Once, help=text)
    text = "with --panels: only this Jungfrau of the runs: source, alias or a part of the source"
    parser.add_argument("-d", "--detector", dest="source", metavar="SOURCE", action=Once, help=text)
    add_write_options(parser, impact=False, is_message_required=False)


def run(args: argparse.Namespace) -> int:
    if args.panels is not None:
        return _state_panels(args)
    if args.message is not None or args.request is not None or args.dry_run or args.source is not None:
        raise BadValue(
            "there is nothing to commit: give --panels DETECTOR, or leave out -m, --request, --dry-run and -d"
        )
    if args.ranges and args.resolve:
        raise BadValue("--resolve says of each run whether it has constants, --ranges summarises runs: leave out one")
    found, cells = _find_runs(args)
    warn_all(found.notes)
    if args.ranges:
        return _print_ranges(args, found)
    values = _values(found, cells)
    if not values:
        note("no runs")
    rows = [run_row(value) for value in values if "error" not in value]
    emit(args, values, rows, [*COLUMNS, *(["constants"] if args.resolve else [])])
    if code := report_errors(found.errors):
        return code
    if missing := sum(not cell.startswith(_YES) for cell in cells):
        note(f"{count(missing, 'row')} without constants")
    return NotFound.exit_code if missing else 0


def _state_panels(args: argparse.Namespace) -> int:
    """State which panels runs had."""
    if args.place is None:
        raise BadValue("the runs are missing: exp=EXP:run=A-B")
    if args.message is None:
        raise BadValue("the message is missing: -m MESSAGE says why, for the log")
    if args.resolve or args.ranges or args.types:
        raise BadValue("--panels states which panels runs had; --resolve, --ranges and -t list runs")
    repository = open_to_write(args)

    def state(dry_run: bool) -> Stated:
        options: dict[str, Any] = {"source": args.source, "request": args.request, "dry_run": dry_run}
        return repository.run_panels(args.panels, args.place, args.message, **options)

    state_confirmed(args, repository, state)
    return 0


def _print_ranges(args: argparse.Namespace, found: RunList) -> int:
    """Print the ranges of runs in which each Jungfrau has the same panels."""
    from jfstore.core.instants import iso
    from jfstore.runs.ranges import find_ranges

    ranges = find_ranges(found.runs)
    values: list[dict[str, Any]] = [
        {
            "dataset": one.dataset,
            "experiment": one.experiment,
            "first": one.first,
            "last": one.last,
            "count": one.count,
            "begin": None if one.start is None else iso(one.start),
            "daq": one.daq,
            "source": one.jungfrau.source,
            "alias": one.jungfrau.alias,
            "config_version": one.jungfrau.version or None,
            "segments": list(one.jungfrau.segments) or None,
            "panels": [str(panel) for panel in one.jungfrau.panels],
            "detector": one.detector,
        }
        for one in ranges
    ]
    if not values:
        note("no runs with a Jungfrau")
    rows = [{**value, "runs": one.runs} for value, one in zip(values, ranges, strict=True)]
    emit(args, values, rows, _RANGE_COLUMNS)
    return report_errors(found.errors)


def _find_runs(args: argparse.Namespace) -> tuple[RunList, list[str]]:
    """Return the runs and, with --resolve, the constants of each Jungfrau as the table says them."""
    useless = {"-t": args.types, "--as-of": args.as_of, "--repo": getattr(args, "repo", None)}
    for option in [name for name, value in useless.items() if value is not None and not args.resolve]:
        raise BadValue(f"{option} needs --resolve")
    with progress("reading runs") as show:
        if args.resolve:
            from jfstore.deployment.constants import runs_with_constants

            repository = open_to_read(args)
            as_of = resolve_as_of(args, repository)
            coverage = runs_with_constants(args.place, repository, args.types, as_of=as_of, progress=show)
            return coverage.runs, [_format_constants(one) for one in coverage.constants]
        from jfstore.runs.listing import list_runs

        return list_runs(args.place, progress=show), []


def _values(found: RunList, cells: list[str]) -> list[dict[str, Any]]:
    """Return the rows of the JSON form."""
    values: list[dict[str, Any]] = []
    unused = iter(cells)
    for run in found.runs:
        if not run.file:
            values.append({"dataset": run.label, "error": run.problems[0]})
        elif not run.jungfraus:
            value = run_value(run, None)
            values.append({name: value[name] for name in ("experiment", "run", "begin", "file", "source")})
        for jungfrau in run.jungfraus:
            values.append({**run_value(run, jungfrau), **({"constants": next(unused)} if cells else {})})
    return values


def _format_constants(constants: RunConstants) -> str:
    if constants.missing:
        return constants.missing
    return f"{_YES}, until {constants.until}" if constants.until else _YES
