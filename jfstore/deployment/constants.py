"""Choose the constants of a run: its panels and start from the XTC files, the arrays from a repository or gain tree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.arrays import CalibArray, describe_conversion
from jfstore.core.calib_types import PAIRS, order_types
from jfstore.core.hashing import digest
from jfstore.core.ids import resolve_detector
from jfstore.core.instants import DEFAULT_ZONE, Instant, find_zone, instant_at, parse_instant
from jfstore.deployment.note import PanelConstants
from jfstore.errors import BadValue, Busy, Damaged, NotFound, Refused
from jfstore.formats.gain_tree import (
    is_gain_tree,
    read_gain_directory,
    read_gain_shape,
    scan_gain_tree,
    select_names,
)
from jfstore.repository.answer import Answer
from jfstore.repository.catalogue import open_repository, read_names
from jfstore.repository.finding import Target
from jfstore.repository.locking import replay
from jfstore.repository.repository import Repository
from jfstore.repository.run_panels import fill_panels, find_run_panels
from jfstore.runs.listing import Progress, list_runs
from jfstore.runs.run import Jungfrau, Run, RunList, jungfrau_of

if TYPE_CHECKING:
    from jfstore.core.lock import Lock
    from jfstore.repository.finding import Time

Place = str | os.PathLike[str] | Repository
"""A repository, its name, path or URL, or the directory of a gain tree."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What is valid for a run; arrays and panels by calibration type."""

    run: Run
    jungfrau: Jungfrau
    time: Instant  # the start of the run, or another time that was asked for
    zone: ZoneInfo  # in which stamps are written
    arrays: Mapping[str, CalibArray]  # of shape (gain, panel, row, column)
    panels: Mapping[str, tuple[PanelConstants, ...]]
    origin: Mapping[str, Any]  # the repository or gain tree, as in `Deployment`
    notes: tuple[str, ...] = ()
    lock: Lock | None = None  # which pins them; None for a gain tree

    @property
    def origin_text(self) -> str:
        """The repository or gain tree, for people."""
        if "gains" in self.origin:
            return f"gain tree {self.origin['gains']}"
        return f"commit {self.origin['as_of']} of the {self.origin['role']} repository {self.origin['path']}"


def constants_of(
    dataset: str | None = None,
    *,
    source: str | None = None,
    time: Time | None = None,
    repo: Place | None = None,
    as_of: int | str | None = None,
    locked: Lock | str | os.PathLike[str] | None = None,
) -> Constants:
    """Return the constants that are valid for a run.

    Parameters
    ----------
    dataset : str, optional
        ``exp=EXP:run=RUN``, or the path of an XTC file.
    source : str, optional
        Which Jungfrau of the run: its source, alias or a part of the source.
    time : str, datetime or Instant, optional
        Another time than the start of the run.
    repo : Repository, str or path, optional
        The repository, or the directory of a gain tree; default the real repository.
    as_of : int or str, optional
        As the repository was then, as for `Repository.get`; a gain tree has no commits.
    locked : Lock or path, optional
        In place of a run, the lock of constants for a run, as for `jfstore.replay`; no XTC files are needed then.

    Raises
    ------
    NotFound
        If the run has no panel Ids, or a panel has no constants.
    BadValue
        If the run or its Jungfrau is not clear.
    JfstoreError
        As `jfstore.replay`, for a lock.
    """
    if locked is not None:
        if (dataset, source, time, as_of) != (None, None, None, None):
            raise BadValue("a lock says the run, its Jungfrau, the time and the commit: leave these out")
        return _replay(locked, repo)
    if dataset is None:
        raise BadValue("the dataset is missing: exp=EXP:run=RUN, or a lock")
    repo = "real" if repo is None else repo
    run, jungfrau = jungfrau_of(dataset, source)
    if not run.experiment or run.run < 0:
        raise BadValue(f"{run.label}: neither its name nor its place says experiment and run")
    tree = None if isinstance(repo, Repository) else _find_gain_tree(repo)
    repository = repo if isinstance(repo, Repository) else None if tree else open_repository(repo)
    seq = repository.seq_of(as_of) if repository else None
    stated = find_run_panels(repository.log.table(seq), seq) if repository else ()
    jungfrau, stated_notes = fill_panels(run, jungfrau, stated)
    detector = jungfrau.require_id(run.label)
    zone = repository.zone if repository else find_zone(DEFAULT_ZONE)
    when = instant_at(run.require_start(), zone) if time is None else parse_instant(time, zone)
    notes = (*run.notes, *run.problems, *stated_notes)
    if repository:
        return _read_repository(run, jungfrau, detector, when, repository, as_of, notes)
    assert tree
    if as_of is not None:
        raise BadValue(f"{tree} is a gain tree, which has no commits: as of {as_of} cannot be answered")
    return _read_tree(run, jungfrau, when, zone, tree, notes)


def _find_gain_tree(place: str | os.PathLike[str]) -> Path | None:
    """Return the directory of a gain tree, None if `place` is to be a repository."""
    path = Path(place)
    if not path.is_dir() or (path / "repository.json").exists() or str(place) in read_names():
        return None
    if not is_gain_tree(path):
        raise Refused(f"{place} is neither a repository nor a gain tree: no name in it is <panel Id>-<stamp>")
    return path


def _read_repository(
    run: Run,
    jungfrau: Jungfrau,
    detector: str,
    when: Instant,
    repository: Repository,
    as_of: int | str | None,
    notes: tuple[str, ...],
) -> Constants:
    panels, seq = resolve_detector(detector), repository.seq_of(as_of)
    answer = repository.find_target(Target(panels, when, run, jungfrau), None, seq)
    try:
        lock = answer.lock()
    except (Damaged, Busy) as error:
        # The index has the versions, so they can be read all the same.
        lock = None
        notes = (*notes, f"the constants cannot be pinned by a lock: {error}")
    return _make_constants(answer, run, jungfrau, (*notes, *answer.notes), lock)


def _replay(locked: Lock | str | os.PathLike[str], repo: Place | None) -> Constants:
    """Return the constants that a lock pins."""
    answer = replay(locked, repo)
    run, jungfrau = answer.run, answer.jungfrau
    if run is None or jungfrau is None or not run.experiment or run.run < 0:
        raise BadValue("the lock is not of a run of an experiment, but of a detector at a time: jfstore get --locked")
    return _make_constants(answer, run, jungfrau, answer.notes, answer.lock())


def _make_constants(
    answer: Answer, run: Run, jungfrau: Jungfrau, notes: tuple[str, ...], lock: Lock | None
) -> Constants:
    repository = answer.repository
    assert repository is not None
    panels = {
        name: tuple(PanelConstants(s.version.panel, s.version.name, s.version.array(name).blake3) for s in selections)
        for name, selections in answer.by_type
    }
    origin = {
        "repository": repository.id,
        "role": repository.role,
        "path": repository.location,
        "as_of": answer.as_of,
    }
    arrays = {name: answer[name] for name in answer.types}
    return Constants(run, jungfrau, answer.time, repository.zone, arrays, panels, origin, notes, lock)


def _read_tree(
    run: Run, jungfrau: Jungfrau, when: Instant, zone: ZoneInfo, root: Path, notes: tuple[str, ...]
) -> Constants:
    tree = scan_gain_tree(root, zone)
    names = select_names(tree, [str(panel) for panel in jungfrau.panels], when.ns, zone)
    shape = read_gain_shape(names[0].directory)
    parts = [read_gain_directory(found.directory, shape) for found in names]
    wanted = order_types({*PAIRS[0]}.union(*parts))
    arrays: dict[str, CalibArray] = {}
    panels: dict[str, tuple[PanelConstants, ...]] = {}
    converted = []
    for name in wanted:
        if lacking := [found.name for found, part in zip(names, parts, strict=True) if name not in part]:
            raise NotFound(f"{root} has no {name} in {', '.join(lacking)}")
        checked = [part[name] for part in parts]
        arrays[name] = np.stack([one.array for one in checked], axis=-3)
        panels[name] = tuple(
            PanelConstants(found.panel, found.name, digest(one.array.reshape(-1).view("u1")))
            for found, one in zip(names, checked, strict=True)
        )
        for found, one in zip(names, checked, strict=True):
            if text := describe_conversion(one):
                converted.append(f"{name} of {found.name} was {text}")
    origin = {"gains": str(root.absolute())}
    return Constants(run, jungfrau, when, zone, arrays, panels, origin, (*notes, *converted))


@dataclass(frozen=True, slots=True)
class RunConstants:
    """Whether the panels of one Jungfrau have constants at the start of a run; `missing` is None, or the reason."""

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
    as_of: int | str | None = None,
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
    as_of : int or str, optional
        As the repository was then, as for `Repository.get`.
    progress : callable
        As for `jfstore.runs`.
    """
    seq = repository.seq_of(as_of)
    runs = list_runs(place, progress=progress)
    constants = [
        RunConstants(run, jungfrau, _find_missing(run, jungfrau, repository, types, seq))
        for run in runs.runs
        for jungfrau in run.jungfraus
    ]
    return Coverage(runs, tuple(constants))


def _find_missing(
    run: Run, jungfrau: Jungfrau, repository: Repository, types: Sequence[str] | None, as_of: int | None
) -> str | None:
    try:
        jungfrau, _ = fill_panels(run, jungfrau, find_run_panels(repository.log.table(as_of), as_of))
        if not jungfrau.panels:
            return f"no panel Ids (ConfigV{jungfrau.version})"
        if run.start is None:
            return "no start time"
        repository.find(jungfrau.detector_id, types, instant_at(run.start, repository.zone), as_of=as_of)
    except (NotFound, BadValue) as error:
        return error.message.partition("; jfstore explain ")[0]  # a table has no room for it
    return None
