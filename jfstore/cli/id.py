"""``jfstore id``: print the panel and detector Ids of a run."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Once, Parser, add_json, choose
from jfstore.cli.output import emit, note
from jfstore.cli.program import report_errors, warn_all
from jfstore.cli.run_options import COLUMNS, MORE_COLUMNS, add_experiment, dataset_of, run_row, run_value
from jfstore.errors import BadValue, NotFound

EPILOG = """\
The table has a row for each Jungfrau. A dataset is exp=EXP:run=RUN[:smd][:stream=S][:dir=DIR],
whose files are under SIT_PSDM_DATA (default /reg/d/psdm or /sdf/data/lcls/ds), or the path of an
.xtc or .xtc2 file. In LCLS-I the configuration has panel Ids since ConfigV3; older runs have none. In
LCLS-II the column segments says which segments of the detector the panels are.

examples:
  jfstore id exp=xpptut15:run=430
  jfstore id exp=xpptut15:run=430 Jungfrau.0 --json
  jfstore id -e xpptut15 -r 430 | cut -f8
"""


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add("dataset", metavar="DATASET", nargs="?", help="exp=EXP:run=RUN, or an .xtc or .xtc2 file")
    add("source", metavar="SOURCE", nargs="?", help="only this Jungfrau: source, alias or a part of the source")
    add("-d", "--detector", dest="source_option", metavar="SOURCE", action=Once, help="the same as SOURCE")
    add_experiment(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.runs.run import read_dataset

    if args.experiment is not None and args.dataset is not None:
        raise BadValue(f"{args.dataset} is superfluous: with -e and -r, the source is given with -d")
    dataset = dataset_of(args) or args.dataset
    if dataset is None:
        raise BadValue("the dataset is missing: exp=EXP:run=RUN, or -e EXP -r RUN")
    found = read_dataset(dataset, choose("source", [args.source, args.source_option]))
    warn_all(found.notes)
    values = [run_value(run, j) for run in found.runs for j in ([run.jungfrau] if run.source else run.jungfraus)]
    if not values:
        raise found.errors[0] if found.errors else NotFound(f"{dataset} has no Jungfrau")
    emit(args, values, [run_row(value) for value in values], (*COLUMNS, *MORE_COLUMNS))
    if code := report_errors(found.errors):
        return code
    if not any(value["detector"] for value in values):
        versions = sorted({f"ConfigV{value['config_version']}" for value in values})
        note(f"jfstore: error: {dataset} has no panel Ids (psana.Jungfrau.{', '.join(versions)})")
        return NotFound.exit_code
    return 0
