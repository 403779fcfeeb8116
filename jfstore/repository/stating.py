"""Freeze answers, and state which panels runs had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jfstore.core.calib_types import CALIB_TYPES, calib_type
from jfstore.core.freezing import find_freeze, find_freezes
from jfstore.core.ids import detector_id, resolve_detector
from jfstore.core.instants import now, start_of_validity
from jfstore.core.records import Freeze, RunPanels
from jfstore.core.statements import name_runs
from jfstore.errors import BadValue, Refused
from jfstore.repository.finding import Time
from jfstore.repository.governing import Stated, commit_statement
from jfstore.repository.run_panels import find_run_panels
from jfstore.runs.dataset import parse_dataset

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository


def freeze(
    repository: ReadableRepository,
    time: Time,
    message: str,
    *,
    types: Sequence[str] | str | None = None,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """State that answers before a time do not change any more; see `Repository.freeze`."""
    start = start_of_validity(time, repository.zone, floor=time == "now")
    if start.ns > now():
        raise Refused(f"{start.stamp} is in the future: what is not measured yet cannot be frozen")
    asked = None if types is None else (types,) if isinstance(types, str) else tuple(dict.fromkeys(types))
    if asked is not None and not asked:
        raise BadValue("no calibration type is to be frozen", list(CALIB_TYPES))
    for name in asked or ():
        calib_type(name)
    table = repository.log.table()
    freezes = find_freezes(table.statements)
    present = {name: find_freeze(freezes, name) for name in asked or CALIB_TYPES}
    default = freezes.get(None)
    holds = all(frozen and frozen.start == start.ns for frozen in present.values())
    if asked is None:
        holds = holds and default is not None and default.start == start.ns
    thawed = {frozen for frozen in present.values() if frozen and frozen.start > start.ns}
    notes = tuple(
        f"answers from {start.stamp} to {frozen.stamp}, frozen by commit {frozen.seq}, "
        f"{table.summary(frozen.seq).user}, may change again"
        for frozen in sorted(thawed, key=lambda frozen: frozen.seq)
    )
    names, unchanged = ((), (start.stamp,)) if holds else ((start.stamp,), ())
    statement = Freeze(start.stamp, start.ns, asked)
    return commit_statement(repository, "freeze", statement, message, request, dry_run, names, unchanged, notes=notes)


def state_run_panels(
    repository: ReadableRepository,
    detector: str,
    runs: str,
    message: str,
    *,
    source: str | None = None,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """State which panels runs had; see `Repository.run_panels`."""
    table = repository.log.table()
    panels = resolve_detector(str(detector), table.panel_names)
    asked = parse_dataset(runs)
    if asked.file or asked.smalldata or asked.streams or asked.directory or len(asked.runs) != 1:
        raise BadValue(f"{runs!r} is not one range of runs of an experiment, such as exp=xcsls3716:run=600-640")
    if asked.experiment.isdecimal():
        raise BadValue(f"{runs!r} has the number of an experiment: its name is needed, such as exp=xcsls3716")
    if source is not None and not source.strip():
        raise BadValue("the source is empty")
    (first, last) = asked.runs[0]
    statement = RunPanels(detector_id(panels), asked.experiment, first, last, source)
    name = name_runs(statement)
    overlaps = [
        other
        for _, other in find_run_panels(table)
        if other.experiment == statement.experiment and other.first <= last and first <= other.last
    ]
    names, unchanged = ((), (name,)) if overlaps[-1:] == [statement] else ((name,), ())
    return commit_statement(repository, "run_panels", statement, message, request, dry_run, names, unchanged)
