"""``jfstore id``: panel and detector Ids of a run."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli._output import emit, note
from jfstore.cli._parser import Once, add_json
from jfstore.cli._program import say_broken, warn_of
from jfstore.cli._runs import add_experiment, dataset_of, run_value
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, NotFound
from jfstore.runs.dataset import parse_dataset

COLUMNS = ("experiment", "run", "begin", "source", "alias", "config", "panels", "detector")
_EPILOG = """\
A row for each Jungfrau. A dataset is exp=EXP:run=RUN[:smd][:stream=S][:dir=DIR], whose files are
found under SIT_PSDM_DATA (default /reg/d/psdm), or the path of an .xtc file. The Ids are in
the configuration since ConfigV3; older runs have none.

examples:
  jfstore id exp=xpptut15:run=430
  jfstore id exp=xpptut15:run=430 Jungfrau.0 --json
  jfstore id -e xpptut15 -r 430 | cut -f8
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "id",
        help="panel and detector Ids of a run",
        description="Print the panel and detector Ids of a run's Jungfraus.",
        epilog=_EPILOG,
    )
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="exp=EXP:run=RUN, or an .xtc file")
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", help="only this Jungfrau: source, alias or a part of the source"
    )
    parser.add_argument(
        "-d", "--detector", dest="source_option", metavar="SOURCE", action=Once, help="the same as SOURCE"
    )
    add_experiment(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.runs.run import match_jungfrau, read_run
    from jfstore.runs.tree import Tree

    if args.experiment is not None and args.dataset is not None:
        raise BadValue(f"{args.dataset} is one too many: with -e and -r the source is given with -d")
    dataset = dataset_of(args) or args.dataset
    if dataset is None:
        raise BadValue("the dataset is missing: exp=EXP:run=RUN, or -e EXP -r RUN")
    patterns = [pattern for pattern in (args.source, args.source_option) if pattern is not None]
    if len(patterns) > 1:
        raise BadValue("the source is given twice")
    values: list[dict[str, Any]] = []
    broken: list[JfstoreError] = []
    for files in Tree.from_environment().find(parse_dataset(dataset)):
        try:
            each = read_run(files)
            values += [run_value(each, j) for j in ([match_jungfrau(each, *patterns)] if patterns else each.jungfraus)]
        except (Damaged, Failed) as error:
            broken.append(Damaged(str(error)))
            continue
        broken += map(Damaged, each.problems)
        warn_of(each.notes)
    if not values:
        raise broken[0] if broken else NotFound(f"{dataset} has no Jungfrau")
    emit(args, values, [flat(value) for value in values], COLUMNS)
    if code := say_broken("jfstore", broken):
        return code
    if not any(value["detector"] for value in values):
        versions = sorted({f"ConfigV{value['config_version']}" for value in values})
        note(f"jfstore: error: {dataset} has no panel Ids (psana.Jungfrau.{', '.join(versions)})")
        return NotFound.exit_code
    return 0


def flat(value: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table from `value`, as `run_value` makes it."""
    if not value["source"]:
        return value
    return {**value, "config": f"V{value['config_version']}", "panels": value["count"]}
