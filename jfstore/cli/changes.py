"""Print which answers a write changes, and whom that concerns: a few lines for people, everything in JSON."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli.output import count, note, progress, report_rows
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.core.changes import Change
    from jfstore.core.sizes import ChangeSize
    from jfstore.deployment.impact import Impact
    from jfstore.repository.adding import Added
    from jfstore.repository.governing import Stated
    from jfstore.repository.promoted import Promoted
    from jfstore.repository.repository import Repository

_MOST_LINES = 12
_MOST_PANELS = 3
_MOST_EXPERIMENTS = 12


def change_values(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return changes as the JSON form has them."""
    return [
        {
            "panel": change.panel,
            "type": change.type,
            "from": change.start.stamp,
            "until": change.end.stamp if change.end else None,
            "now": change.before,
            "then": change.after,
        }
        for change in changes
    ]


def print_changes(changes: Sequence[Change], *, planned: bool) -> None:
    """Print for which times answers change, or with `planned` would change, from what to what."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for change in changes:
        names = [name and name.removeprefix(f"{change.panel}/") for name in (change.before, change.after)]
        key = change.type, change.start.stamp, change.end and change.end.stamp, *names
        alike.setdefault(key, []).append(change.panel)
    verb = "would change" if planned else "changes"
    for (name, start, end, before, after), panels in list(alike.items())[:_MOST_LINES]:
        until = f"until {end}" if end else "on"
        answers = f"{after or 'nothing'} in place of {before or 'nothing'}"
        note(f"{name} of {name_panels(panels)} {verb} from {start} {until}: {answers}")
    if more := len(alike) - _MOST_LINES if len(alike) > _MOST_LINES else 0:
        note(f"and {count(more, 'more line')} of changes; --json lists all")
    if not changes:
        note(f"no answer {verb}")


def name_panels(panels: Sequence[str]) -> str:
    """Return the Ids of a few panels, or the first of many and how many more there are."""
    return ", ".join(panels) if len(panels) <= _MOST_PANELS else f"{panels[0]} and {len(panels) - 1} more panels"


def check_impact_options(args: argparse.Namespace) -> bool:
    """Return whether ``--impact`` was given; BadValue if ``--compare`` was given without it."""
    asked = getattr(args, "impact", None) is not None
    if getattr(args, "compare", False) and not asked:
        raise BadValue("--compare needs --impact")
    return asked


def find_planned_impact(args: argparse.Namespace, repository: Repository, planned: Added | Stated | Promoted) -> Impact:
    """Return whom a planned write concerns, as ``--impact`` and ``--compare`` ask."""
    from jfstore.deployment.impact import find_impact

    with progress("impact") as show:
        return find_impact(
            planned, None if args.impact is True else args.impact, repo=repository, compare=args.compare, progress=show
        )


def impact_value(impact: Impact) -> dict[str, Any]:
    """Return an impact as the JSON form has it."""
    return {
        "root": impact.root,
        "experiments": list(impact.experiments),
        "runs": [
            {
                "dataset": run.label,
                "experiment": run.experiment,
                "run": run.run,
                "source": run.source,
                "begin": run.start.iso,
                "panels": list(run.panels),
                "types": list(run.types),
            }
            for run in impact.runs
        ],
        "files": [
            {
                "state": file.state,
                "file": file.path,
                "experiment": file.experiment,
                "source": file.source,
                "type": file.type,
                "run": file.run,
                "holds": list(file.holds),
                "changes": change_values(file.changes),
                "known_by": "note" if file.is_noted else "values",
                "repository": file.repository,
            }
            for file in impact.files
        ],
        "sizes": [
            {
                "type": size.type,
                "gain": size.gain,
                "pairs": size.pairs,
                "relative": size.is_relative,
                "median": size.median,
                "low": size.low,
                "high": size.high,
                "different": size.different,
            }
            for size in impact.sizes
        ],
        "pairs_not_compared": impact.unmeasured,
        "searched": {"runs": impact.searched_runs, "files": impact.searched_files},
        "runs_without_panels": list(impact.without_panels),
        "runs_without_start": list(impact.without_start),
        "undecided": [{"file": path, "reason": reason} for path, reason in impact.undecided],
        "problems": list(impact.problems),
    }


def print_impact(args: argparse.Namespace, impact: Impact, repository: Repository) -> None:
    """Print whom a write concerns: counts, the sizes of the changes, and a row for each experiment."""
    from jfstore.deployment.affected import STATES

    states = [_count_files(len(found), state) for state in STATES if (found := impact.files_in(state))]
    files = f"{len(impact.files)} of {count(impact.searched_files, 'deployed file')}"
    where = f"{count(len(impact.experiments), 'experiment')} in {impact.root}"
    runs = f"{len({(run.experiment, run.run) for run in impact.runs})} of {count(impact.searched_runs, 'run')}"
    note(f"impact: {runs}, {files}, {where}{': ' if states else ''}{', '.join(states)}")
    for size in impact.sizes:
        note(_format_size(size))
    rows = list(_experiment_rows(impact))
    if rows:
        report_rows(rows[:_MOST_EXPERIMENTS], ("experiment", "runs", "first", "last", "files"))
    if len(rows) > _MOST_EXPERIMENTS:
        note(f"and {count(len(rows) - _MOST_EXPERIMENTS, 'more experiment')}; --json lists all")
    for text in _open_questions(impact, repository, args.compare):
        note(text)


def _count_files(number: int, state: str) -> str:
    """Return ``1 becomes stale``, ``2 become stale``."""
    return f"{number} {state if number == 1 else state.replace('s ', ' ', 1)}"


def _format_size(size: ChangeSize) -> str:
    """Return one line on how much a gain range changes."""
    from jfstore.core.calib_types import calib_type

    start = f"{size.type} g{size.gain}"
    if size.median is None or size.low is None or size.high is None:
        return f"{start}: {100 * size.different:.3g} % of the values change"
    factor, unit = (100, "%") if size.is_relative else (1, calib_type(size.type).units)
    median, low, high = (f"{factor * value:+.3g}" for value in (size.median, size.low, size.high))
    return f"{start}: median {median} {unit}, 95 %: {low} to {high} {unit}"


def _experiment_rows(impact: Impact) -> Iterator[dict[str, Any]]:
    files = Counter(file.experiment for file in impact.files)
    runs: dict[str, set[int]] = {}
    for run in impact.runs:
        runs.setdefault(run.experiment, set()).add(run.run)
    for experiment in impact.experiments:
        numbers = runs.get(experiment, set())
        ends = {"first": min(numbers), "last": max(numbers)} if numbers else {}
        yield {"experiment": experiment, "runs": len(numbers), **ends, "files": files[experiment]}


def _open_questions(impact: Impact, repository: Repository, compared: bool) -> Iterator[str]:
    """Yield what is not known, and what could not be read."""
    if others := sum(file.repository not in (None, repository.id) for file in impact.files):
        yield f"{count(others, 'file')} of these came from another repository"
    for labels, what in ((impact.without_panels, "no panel Ids"), (impact.without_start, "no start time")):
        if labels:
            yield f"{count(len(labels), 'run')} with {what} may be concerned, too: {labels[0]}{_and_more(labels)}"
    reasons = Counter(reason for _, reason in impact.undecided)
    for reason, number in reasons.most_common(3):
        yield f"{count(number, 'deployed file')} not decided: {reason}"
    if not compared and any("note" in reason or "changed" in reason for reason in reasons):
        yield "--compare reads files whose note does not help, and compares them with the repository"
    if len(reasons) > 3:
        yield f"and for {count(len(reasons) - 3, 'other reason')}; --json lists all"
    if impact.unmeasured:
        yield f"{count(impact.unmeasured, 'pair')} of arrays not compared for the sizes above"
    if impact.problems:
        yield f"{len(impact.problems)} could not be read: {impact.problems[0]}{_and_more(impact.problems)}"


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
