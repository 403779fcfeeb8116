"""Which runs have constants: the panels of their Jungfraus in a repository at the start of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jfstore.core.instants import instant_at
from jfstore.errors import BadValue, NotFound
from jfstore.repository import Repository
from jfstore.runs.listing import Progress, list_runs
from jfstore.runs.run import Jungfrau, Run, RunList


@dataclass(frozen=True, slots=True)
class RunConstants:
    """Whether the panels of one Jungfrau have constants at the start of a run; `missing` says why not, else None."""

    run: Run
    jungfrau: Jungfrau
    missing: str | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Runs, and for each of their Jungfraus, in the same order, whether it has constants."""

    runs: RunList
    constants: tuple[RunConstants, ...]


def runs_with_constants(
    place: str | None,
    repository: Repository,
    types: Sequence[str] | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Coverage:
    """List runs, and whether every panel of their Jungfraus has constants.

    Parameters
    ----------
    place : str or None
        An instrument or an experiment; None for all instruments.
    repository : Repository
        Where to look for constants.
    types : sequence of str, optional
        Calibration types that are needed; default all.
    progress : callable
        As for `jfstore.runs`.
    """
    runs = list_runs(place, progress=progress)
    constants = [
        RunConstants(run, jungfrau, _find_missing(run, jungfrau, repository, types))
        for run in runs.runs
        for jungfrau in run.jungfraus
    ]
    return Coverage(runs, tuple(constants))


def _find_missing(run: Run, jungfrau: Jungfrau, repository: Repository, types: Sequence[str] | None) -> str | None:
    if not jungfrau.panels:
        return f"no panel Ids (ConfigV{jungfrau.version})"
    if run.start is None:
        return "no start time"
    try:
        repository.find(jungfrau.detector_id, types, instant_at(run.start, repository.zone))
    except (NotFound, BadValue) as error:
        return error.message
    return None
