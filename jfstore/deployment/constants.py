"""Choose the constants of a run: its panels and start from the XTC files, the arrays from a repository or gain tree."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.arrays import CalibArray, describe_conversion
from jfstore.core.calib_types import PAIRS, order_types, type_for_run
from jfstore.core.hashing import digest
from jfstore.core.ids import resolve_detector
from jfstore.core.instants import DEFAULT_ZONE, Instant, find_zone, instant_at, parse_instant
from jfstore.deployment.file_types import SpreadArrays, name_files, note_names, select_psana1_types
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
from jfstore.repository.asked_types import check_types, choose_types
from jfstore.repository.catalogue import open_repository, read_names
from jfstore.repository.finding import Target
from jfstore.repository.locking import replay
from jfstore.repository.remarks import find_early_ends
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
    """What is valid for a run; arrays and panels by calibration type, as psana calls it.

    The arrays have the shape (gain, panel, row, column) or (panel, row, column), of LCLS-II with a place for every
    segment of the detector.
    """

    run: Run
    jungfrau: Jungfrau
    time: Instant  # the start of the run, or another time that was asked for
    zone: ZoneInfo  # in which stamps are written
    arrays: Mapping[str, CalibArray]
    panels: Mapping[str, tuple[PanelConstants, ...]]
    origin: Mapping[str, Any]  # the repository or gain tree, as in `Deployment`
    notes: tuple[str, ...] = ()
    lock: Lock | None = None  # which pins them; None for a gain tree
    stored: Mapping[str, str] = field(default_factory=dict)  # the stored type by its name in files, if they differ
    starts: Mapping[str, int] = field(default_factory=dict)  # since when all panels have these constants of a type
    ends: Mapping[str, int] = field(default_factory=dict)  # when the first of the panels has others

    def find_stored_type(self, name: str) -> str:
        """Return the stored type that a file called `name` holds."""
        return self.stored.get(name, name)

    @property
    def origin_text(self) -> str:
        """The repository or gain tree, for people."""
        if "gains" in self.origin:
            return f"gain tree {self.origin['gains']}"
        return f"commit {self.origin['as_of']} of the {self.origin['role']} repository {self.origin['path']}"


def constants_of(
    dataset: str | None = None,
    *,
    types: Sequence[str] | str | None = None,
    psana1: bool = False,
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
    types : sequence of str, optional
        Calibration types; default every type that is valid then. For a run whose first gain range is the high one,
        the types of that one, such as ``pixel_gain_hg0``, stand for the normal ones.
    psana1 : bool
        Whether the default is only those types that psana1 reads.
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
    wanted = _Wanted(check_types(types), psana1)
    if locked is not None:
        if (dataset, source, time, as_of) != (None, None, None, None):
            raise BadValue("a lock says the run, its Jungfrau, the time and the commit: leave these out")
        return _replay(locked, repo, wanted)
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
        asked = Target(resolve_detector(detector), when, run, jungfrau, notes)
        return _read_repository(asked, repository, seq, wanted)
    assert tree
    if as_of is not None:
        raise BadValue(f"{tree} is a gain tree, which has no commits: as of {as_of} cannot be answered")
    return _read_tree(run, jungfrau, when, zone, tree, wanted, notes)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which types are wanted: `types`, or those that are valid, of which perhaps only those that psana1 reads."""

    types: tuple[str, ...] | None
    psana1: bool

    def narrow(self, valid: tuple[str, ...], label: str) -> tuple[str, ...]:
        """Return which of the valid types are wanted, if none are named."""
        return select_psana1_types(valid, label) if self.psana1 and self.types is None else valid


def _find_gain_tree(place: str | os.PathLike[str]) -> Path | None:
    """Return the directory of a gain tree, None if `place` is to be a repository."""
    path = Path(place)
    if not path.is_dir() or (path / "repository.json").exists() or str(place) in read_names():
        return None
    if not is_gain_tree(path):
        raise Refused(f"{place} is neither a repository nor a gain tree: no name in it is <panel Id>-<stamp>")
    return path


def _read_repository(asked: Target, repository: Repository, seq: int | None, wanted: _Wanted) -> Constants:
    run, jungfrau, types = asked.run, asked.jungfrau, wanted.types
    assert run
    assert jungfrau
    if types is None and wanted.psana1:
        panels = list(map(str, asked.panels))
        options: dict[str, Any] = {"of_run": True, "has_high_g0": jungfrau.has_high_g0}
        valid = choose_types(repository.log.table(seq), panels, asked.time.ns, None, seq, **options)
        types = wanted.narrow(valid, run.label)
    answer = repository.find_target(asked, types, seq)
    try:
        return _make_constants(answer, run, jungfrau, answer.types, answer.notes, answer.lock())
    except (Damaged, Busy) as error:
        # The index has the versions, so they can be read all the same.
        unpinned = f"the constants cannot be pinned by a lock: {error}"
    return _make_constants(answer, run, jungfrau, answer.types, (*answer.notes, unpinned), None)


def _replay(locked: Lock | str | os.PathLike[str], repo: Place | None, wanted: _Wanted) -> Constants:
    """Return the constants that a lock pins."""
    answer = replay(locked, repo)
    run, jungfrau = answer.run, answer.jungfrau
    if run is None or jungfrau is None or not run.experiment or run.run < 0:
        raise BadValue("the lock is not of a run of an experiment, but of a detector at a time: jfstore get --locked")
    types = answer.types if wanted.types is None else tuple(answer.of(name)[0].type for name in wanted.types)
    types = wanted.narrow(tuple(dict.fromkeys(types)), run.label)
    return _make_constants(answer, run, jungfrau, types, answer.notes, answer.lock())


def _make_constants(
    answer: Answer, run: Run, jungfrau: Jungfrau, types: Sequence[str], notes: tuple[str, ...], lock: Lock | None
) -> Constants:
    repository = answer.repository
    assert repository is not None
    named = name_files(types, jungfrau.has_high_g0)
    panels = {
        name: tuple(
            PanelConstants(s.version.panel, s.version.name, s.version.array(stored).blake3) for s in answer.of(stored)
        )
        for name, stored in named.items()
    }
    starts = {name: max(s.valid_from.ns for s in answer.of(stored)) for name, stored in named.items()}
    ends = {
        name: min(until)
        for name, stored in named.items()
        if (until := [s.valid_to.ns for s in answer.of(stored) if s.valid_to is not None])
    }
    origin = {
        "repository": repository.id,
        "role": repository.role,
        "path": repository.location,
        "as_of": answer.as_of,
    }
    arrays, spread = _spread({name: answer[stored] for name, stored in named.items()}, named, jungfrau)
    notes = (*notes, *note_names(named), *spread)
    pinned = None if lock is None else lock.select_types(list(types))
    return Constants(
        run, jungfrau, answer.time, repository.zone, arrays, panels, origin, notes, pinned, named, starts, ends
    )


def _spread(
    arrays: Mapping[str, CalibArray], named: Mapping[str, str], jungfrau: Jungfrau
) -> tuple[Mapping[str, CalibArray], tuple[str, ...]]:
    """Return the arrays with a place for every segment of the detector, and a note if segments are absent."""
    segments = jungfrau.segments
    if not segments or jungfrau.places == len(segments):
        return arrays, ()
    absent = [number for number in range(jungfrau.places) if number not in segments]
    places = f"{', '.join(map(str, absent[:8]))}{', ...' if len(absent) > 8 else ''} of {jungfrau.places}"
    note = (
        f"{jungfrau.source} lacks the segments {places}: their places in the arrays are zero, in pixel_status all bits"
    )
    return SpreadArrays(arrays, named, segments), (note,)


def _read_tree(
    run: Run,
    jungfrau: Jungfrau,
    when: Instant,
    zone: ZoneInfo,
    root: Path,
    wanted: _Wanted,
    notes: tuple[str, ...],
) -> Constants:
    tree = scan_gain_tree(root, zone)
    names = select_names(tree, [str(panel) for panel in jungfrau.panels], when.ns, zone)
    shape = read_gain_shape(names[0].directory)
    parts = [read_gain_directory(found.directory, shape) for found in names]
    named = name_files(_choose_tree_types(parts, jungfrau, wanted, run.label), jungfrau.has_high_g0)
    arrays: dict[str, CalibArray] = {}
    panels: dict[str, tuple[PanelConstants, ...]] = {}
    converted = []
    for name, stored in named.items():
        if lacking := [found.name for found, part in zip(names, parts, strict=True) if stored not in part]:
            raise NotFound(f"{root} has no {stored} in {', '.join(lacking)}")
        checked = [part[stored] for part in parts]
        arrays[name] = np.stack([one.array for one in checked], axis=-3)
        panels[name] = tuple(
            PanelConstants(found.panel, found.name, digest(one.array.reshape(-1).view("u1")))
            for found, one in zip(names, checked, strict=True)
        )
        for found, one in zip(names, checked, strict=True):
            if text := describe_conversion(one):
                converted.append(f"{stored} of {found.name} was {text}")
    spread, remarks = _spread(arrays, named, jungfrau)
    notes = (*notes, *converted, *note_names(named), *remarks)
    origin = {"gains": str(root.absolute())}
    return Constants(run, jungfrau, when, zone, spread, panels, origin, notes, stored=named)


def _choose_tree_types(
    parts: Sequence[Mapping[str, Any]], jungfrau: Jungfrau, wanted: _Wanted, label: str
) -> tuple[str, ...]:
    """Return the types of a gain tree that are wanted for a run, from what the directory of each panel holds."""
    has_high_g0 = jungfrau.has_high_g0
    if wanted.types is not None:
        return tuple(dict.fromkeys(type_for_run(name, True) if has_high_g0 else name for name in wanted.types))
    found = {name for part in parts for name in part if name == type_for_run(name, has_high_g0)}
    return wanted.narrow(order_types({*PAIRS[bool(has_high_g0)], *found}), label)


@dataclass(frozen=True, slots=True)
class RunConstants:
    """Whether the panels of one Jungfrau have constants at the start of a run; `missing` is None, or the reason.

    ``until`` is the stamp at which the first of them ends to be valid, if the run ends later; else None.
    """

    run: Run
    jungfrau: Jungfrau
    missing: str | None
    until: str | None = None


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
        Calibration types that are needed; default those that are valid at the start of the run, at least gains and
        offsets.
    as_of : int or str, optional
        As the repository was then, as for `Repository.get`.
    progress : callable
        As for `jfstore.runs`.
    """
    seq = repository.seq_of(as_of)
    runs = list_runs(place, ends=True, progress=progress)
    constants = [
        RunConstants(run, jungfrau, *_find_missing(run, jungfrau, repository, types, seq))
        for run in runs.runs
        for jungfrau in run.jungfraus
    ]
    return Coverage(runs, tuple(constants))


def _find_missing(
    run: Run, jungfrau: Jungfrau, repository: Repository, types: Sequence[str] | None, as_of: int | None
) -> tuple[str | None, str | None]:
    """Return why constants are missing, and the stamp at which the first of them ends before the run does."""
    try:
        jungfrau, _ = fill_panels(run, jungfrau, find_run_panels(repository.log.table(as_of), as_of))
        if not jungfrau.panels:
            return f"no panel Ids (Config{jungfrau.config})", None
        if run.start is None:
            return "no start time", None
        asked = Target(resolve_detector(jungfrau.detector_id), instant_at(run.start, repository.zone), run, jungfrau)
        answer = repository.find_target(asked, types, as_of)
    except (NotFound, BadValue) as error:
        return error.message.partition("; jfstore explain ")[0], None  # a table has no room for it
    early = [] if run.end is None else list(find_early_ends(run.end, answer.by_type))
    return None, (early[0] if early else None)
