"""``jfstore runs``: which runs have a Jungfrau, and whether there are constants for them."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jfstore.cli._open import open_to_read
from jfstore.cli._output import count, emit, note, progress
from jfstore.cli._parser import add_json, add_repo, add_types
from jfstore.cli._program import say_broken, warn_of
from jfstore.cli._runs import run_value
from jfstore.cli.id import COLUMNS, flat
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, JfstoreWarning, NotFound
from jfstore.runs.dataset import is_dataset

if TYPE_CHECKING:
    from jfstore.repository import Repository
    from jfstore.runs.run import Jungfrau, Run
    from jfstore.runs.tree import Experiment, RunFiles, Tree

_EPILOG = """\
A row for each run and Jungfrau; a run without one has a row without a source. The files are those under
SIT_PSDM_DATA (default /reg/d/psdm). What was read is kept in the user's cache directory, so
that a second time is quick. A file that is damaged is named on standard error; the exit
code is 4 then.

With --resolve the last column says whether every panel has constants at the begin of the run:
yes, or what is missing. The exit code is 3 if some have not.

examples:
  jfstore runs                              every instrument
  jfstore runs XCS
  jfstore runs xcsls3716 --resolve          is everything there for this experiment?
  jfstore runs MFX | awk -F'\\t' '$6 == "V3"'
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "runs",
        help="runs with their Jungfraus, and whether there are constants for them",
        description="List runs with their Jungfraus, and whether there are constants for them.",
        epilog=_EPILOG,
    )
    parser.add_argument("place", metavar="INSTRUMENT|EXPERIMENT", nargs="?", help="only these (default: all)")
    parser.add_argument("--resolve", action="store_true", help="also: does every panel have constants then?")
    add_types(parser, "with --resolve: constants of this calibration type; may be repeated (default: all)")
    add_repo(parser, "for --resolve; default: real")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.runs.run import Run
    from jfstore.runs.tree import Tree

    repository = open_to_read(args) if args.resolve else None
    tree = Tree.from_environment()
    broken: list[JfstoreError] = []
    values = []
    for label, found in _read(tree, args.place, broken):
        if isinstance(found, Run):
            broken += map(Damaged, found.problems)
            warn_of(found.notes)
            values += _values(found, repository, args.types)
        else:
            broken.append(found)
            values.append({"dataset": label, "error": str(found)})
    good = [value for value in values if "error" not in value]
    if not values:
        note("no runs")
    emit(args, values, [flat(value) for value in good], [*COLUMNS, *(["constants"] if repository else [])])
    if code := say_broken("jfstore", broken):
        return code
    missing = [value for value in good if value.get("constants", "yes") != "yes"]
    if missing:
        note(f"{count(len(missing), 'row')} without constants")
    return NotFound.exit_code if missing else 0


def _read(tree: Tree, place: str | None, broken: list[JfstoreError]) -> Iterator[tuple[str, Run | JfstoreError]]:
    """Yield the runs of `place`; directories that cannot be read are added to `broken`."""
    from jfstore.runs.run_cache import read_all

    there: list[tuple[Experiment, list[RunFiles]]] = []
    unfinished = 0
    if place is not None and not re.fullmatch(r"[A-Za-z0-9_]+", place, re.ASCII):
        hint = f"; see jfstore id {place}" if is_dataset(place) else ""
        raise BadValue(f"{place!r} is neither an instrument nor an experiment{hint}")
    experiments: list[Experiment] = []
    if place and (len(place) != 3 or place.isdecimal()):
        experiments.append(tree.experiment(place))
    else:
        for instrument in [place] if place else tree.instruments():
            try:
                experiments += tree.experiments(instrument)
            except Failed as error:
                if place:
                    raise
                broken.append(error)
    for experiment in experiments:
        try:
            there.append((experiment, tree.runs(experiment)))
            unfinished += tree.unfinished(experiment)
        except Failed as error:
            broken.append(error)
    total = sum(len(runs) for _, runs in there)
    done = 0
    with progress("reading runs") as bar:
        for experiment, runs in there:
            for files, found in read_all(experiment, runs):
                done += 1
                bar(done, total)
                yield files.label, found
    if unfinished:
        note(f"{count(unfinished, 'file')} still being written, not listed")


def _values(run: Run, repository: Repository | None, types: list[str] | None) -> list[dict[str, Any]]:
    from jfstore.core.instants import iso

    if not run.jungfraus:
        start = None if run.start is None else iso(run.start)
        return [{"experiment": run.experiment, "run": run.run, "begin": start, "file": run.file, "source": None}]
    return [
        {
            **run_value(run, jungfrau),
            **({"constants": _constants(run, jungfrau, repository, types)} if repository else {}),
        }
        for jungfrau in run.jungfraus
    ]


def _constants(run: Run, jungfrau: Jungfrau, repository: Repository, types: list[str] | None) -> str:
    """Return ``yes``, or what is missing."""
    from jfstore.core.instants import instant_at

    if not jungfrau.panels:
        return f"no panel Ids (ConfigV{jungfrau.version})"
    if run.start is None:
        return "no begin time"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JfstoreWarning)
        try:
            repository.find(jungfrau.detector_id, types, instant_at(run.start, repository.zone))
        except (NotFound, BadValue) as error:
            return error.message
    return "yes"
