"""Options that name a run in place of a detector and a time, and how runs are printed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once, choose, detector_of
from jfstore.cli.program import warn_all
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.runs.run import Jungfrau, Run


COLUMNS = ("experiment", "run", "begin", "source", "alias", "config", "panels", "detector")
"""Columns of a table of runs."""

MORE_COLUMNS = ("end", "gain", "segments")
"""Further columns of a table of the Jungfraus of one run."""


FIRST_WITH_IDS = 3
"""The first version of a Jungfrau's configuration that has panel Ids."""


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add ``-e`` and ``-r``."""
    text = "experiment, with -r: take the time and the detector (-d: its source) from a run"
    parser.add_argument("-e", "--experiment", metavar="EXP", action=Once, help=text)
    parser.add_argument("-r", "--run", dest="run_number", metavar="RUN", action=Once, help="run number")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add SOURCE, ``-e`` and ``-r``, which name a run in place of a detector."""
    text = "which Jungfrau of the dataset: source, alias or a part of the source"
    parser.add_argument("source", metavar="SOURCE", nargs="?", help=text)
    add_experiment(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-age`` and ``--same-experiment``."""
    text = "refuse pedestals and other constants that change by run if they are older, such as 2d or 12h"
    parser.add_argument("--max-age", metavar="AGE", action=Once, help=text)
    text = "refuse such constants if they are not of the experiment of the run"
    parser.add_argument("--same-experiment", action="store_const", const=True, help=text)


def limits_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the limits as the parameters of `Repository.find`; what was not given is as the configuration says."""
    return {"max_age": args.max_age, "same_experiment": args.same_experiment}


def dataset_of(args: argparse.Namespace) -> str | None:
    """Return the dataset of ``-e`` and ``-r``; None if neither was given."""
    if args.experiment is None and args.run_number is None:
        return None
    if args.experiment is None or args.run_number is None:
        raise BadValue("-e and -r belong together: the experiment and the run number")
    if not re.fullmatch(r"[0-9]{1,9}", args.run_number, re.ASCII):
        raise BadValue(f"-r {args.run_number} is not a run number")
    return f"exp={args.experiment}:run={args.run_number}"


def target_of(args: argparse.Namespace, allows_names: bool = False) -> tuple[str, str | None, str | None]:
    """Return panel or detector Id and time, or a dataset and its source; BadValue if one is missing or superfluous.

    A panel Id with a stamp is both. With `allows_names`, it is returned as it is, and so is the name of a version.
    """
    from jfstore.core.ids import is_name, split_stamp
    from jfstore.runs.dataset import is_dataset

    dataset, source = dataset_of(args), args.detector_option
    if dataset is not None and args.detector is not None:
        raise BadValue(f"{args.detector} is superfluous: with -e and -r, the source is given with -d")
    if dataset is None and is_dataset(args.detector or ""):
        dataset, source = args.detector, choose("source", [args.source, source])
    if dataset is None:
        if args.source is not None:
            raise BadValue(f"{args.source} is superfluous: panels are joined by _, and a source follows a dataset")
        detector = detector_of(args)
        if args.time is None and not allows_names and (parts := split_stamp(detector)) is not None:
            return *parts, None
        if args.time is None and not (allows_names and is_name(detector)):
            raise BadValue("the time is missing: -T TIME, or a run (-e EXP -r RUN)")
        return detector, args.time, None
    if args.time is not None:
        raise BadValue(f"{dataset} has the time: leave out -T {args.time}, or give a detector Id")
    return dataset, None, source


def find_jungfrau(dataset: str, source: str | None) -> tuple[Run, Jungfrau]:
    """Read a run and the Jungfrau that `source` matches; print the run's notes and problems as warnings."""
    from jfstore.runs.run import jungfrau_of

    run, jungfrau = jungfrau_of(dataset, source)
    warn_all((*run.notes, *run.problems))
    return run, jungfrau


def run_value(run: Run, jungfrau: Jungfrau | None) -> dict[str, Any]:
    """Return a run and one of its Jungfraus as printed with ``--json``."""
    from jfstore.core.instants import iso

    value = {
        "dataset": run.label,
        "experiment": run.experiment or None,
        "run": run.run if run.run >= 0 else None,
        "begin": None if run.start is None else iso(run.start),
        "end": None if run.end is None else iso(run.end),
        "daq": run.daq,
        "file": run.file,
        "source": None,
    }
    if jungfrau is None:
        return value
    return {
        **value,
        "source": jungfrau.source,
        "alias": jungfrau.alias,
        "config_version": jungfrau.version or None,
        "gain_mode": jungfrau.gain_mode,
        "has_high_g0": jungfrau.has_high_g0,
        "count": jungfrau.count,
        "segments": list(jungfrau.segments) or None,
        "panels": [str(panel) for panel in jungfrau.panels],
        "detector": jungfrau.detector_id or None,
        "notes": list(run.notes),
        "problems": list(run.problems),
    }


def panels_text(value: dict[str, Any]) -> str:
    """Return for people where the panels come from, of a value that `run_value` returned, and when the run ended."""
    end = f"; the run ended at {value['end']}" if value["end"] else ""
    if (value["config_version"] or FIRST_WITH_IDS) < FIRST_WITH_IDS:
        return f"the panels of {value['source']} are those that the log of the repository states{end}"
    row = run_row(value)
    details = ", ".join(filter(None, [f"segments {row['segments']}" if row["segments"] else "", row["gain"]]))
    return f"the panels are those of {value['source']} in {value['file']}{f' ({details})' if details else ''}{end}"


def run_row(value: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a table for a value that `run_value` returned."""
    if not value["source"]:
        return value
    config = f"V{value['config_version']}" if value["config_version"] else ""
    gain = ", ".join(filter(None, [value["gain_mode"], "high g0" if value["has_high_g0"] else ""]))
    segments = format_segments(value["segments"] or [])
    return {**value, "config": config, "gain": gain, "panels": value["count"], "segments": segments}


def format_segments(segments: Sequence[int]) -> str:
    """Return numbers of segments as ranges, such as ``0-7,9``."""
    groups: list[list[int]] = []
    for segment in segments:
        if groups and segment == groups[-1][-1] + 1:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return ",".join(f"{one[0]}-{one[-1]}" if len(one) > 1 else str(one[0]) for one in groups)
