"""Find runs by their datasets, and read their start times and Jungfraus from the heads of all their streams."""

from __future__ import annotations

from dataclasses import replace

from jfstore.errors import BadValue, Damaged, Failed, JfstoreError
from jfstore.runs.dataset import ANY_JUNGFRAU, parse_dataset
from jfstore.runs.records import LCLS2, Jungfrau, Run, RunList, is_part, match_jungfrau
from jfstore.runs.streams import read_run1
from jfstore.runs.streams2 import read_run2
from jfstore.runs.tail import read_end
from jfstore.runs.tree import RunFiles, Tree

__all__ = [
    "Jungfrau",
    "Run",
    "RunList",
    "find_run",
    "is_part",
    "jungfrau_of",
    "match_jungfrau",
    "read_dataset",
    "read_run",
    "read_runs",
]


def find_run(dataset: str, source: str | None = None) -> Run:
    """Read a run: its start time, and the panels of the Jungfrau that `source` matches.

    Parameters
    ----------
    dataset : str
        ``exp=EXP:run=RUN``, or the path of an XTC file.
    source : str, optional
        Source, alias or a part of the source; needed if the run has several Jungfraus.

    Raises
    ------
    BadValue
        If the dataset names several runs, or `source` matches several Jungfraus.
    NotFound
        If the run or the Jungfrau does not exist.
    Damaged
        If the lowest stream is damaged: it decides, and might differ from the other streams.

    Examples
    --------
    >>> jfstore.run("exp=xcsls3716:run=631").panels  # doctest: +SKIP
    """
    run, jungfrau = jungfrau_of(dataset, source)
    return replace(run, source=jungfrau.source)


def jungfrau_of(dataset: str, source: str | None) -> tuple[Run, Jungfrau]:
    """Return the run and the Jungfrau that `find_run` finds."""
    runs = Tree.from_environment().find(parse_dataset(dataset))
    if len(runs) > 1:
        raise BadValue(f"{dataset} names {len(runs)} runs: choose one")
    run = read_run(runs[0])
    run = replace(run, end=read_end(runs[0], run))
    if not run.is_lowest_sound and run.daq == LCLS2:
        raise Damaged(f"{dataset}: a stream is damaged, whose panels are not known: {run.problems[0]}")
    if not run.is_lowest_sound:
        raise Damaged(
            f"{dataset}: its lowest stream is damaged ({run.problems[0]}); "
            f"choose a sound one, as in {run.label}:stream=1"
        )
    return run, match_jungfrau(run, ANY_JUNGFRAU if source is None else source)


def read_runs(dataset: str) -> list[Run]:
    """Return the runs that a dataset names, at least one, in ascending order."""
    return [read_run(files) for files in Tree.from_environment().find(parse_dataset(dataset))]


def read_dataset(dataset: str, source: str | None = None) -> RunList:
    """Read the runs of a dataset, of which damaged ones are left out; `source` is as for `find_run`.

    Raises
    ------
    BadValue
        If the dataset is malformed, or `source` matches several Jungfraus of a run.
    NotFound
        If a run does not exist, or has no such Jungfrau.
    """
    runs: list[Run] = []
    errors: list[JfstoreError] = []
    for files in Tree.from_environment().find(parse_dataset(dataset)):
        try:
            run = read_run(files)
            run = replace(run, end=read_end(files, run))
            runs.append(run if source is None else replace(run, source=match_jungfrau(run, source).source))
        except (Damaged, Failed) as error:
            errors.append(Damaged(str(error)))
        else:
            errors += map(Damaged, run.problems)
    return RunList(tuple(runs), tuple(errors), tuple(note for run in runs for note in run.notes))


def read_run(files: RunFiles) -> Run:
    """Read the heads of a run's streams; if they disagree, the lowest stream decides, and `notes` says so.

    Damaged or Failed is raised if no stream can be read, and BadValue if two files have the name of the same chunk,
    or a file without the name of an XTC file is not one.
    """
    return read_run2(files) if files.is_xtc2 else read_run1(files)
