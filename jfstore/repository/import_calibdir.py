"""Import a calibration directory of psana1: for each run of an experiment the constants that psana takes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore.core.calib_types import PAIRS, type_for_run
from jfstore.core.changes import changes_between
from jfstore.core.hashing import digest
from jfstore.core.ids import parse_panel
from jfstore.core.instants import Instant, instant_at
from jfstore.core.records import NO_FILE, Version
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels
from jfstore.errors import BadValue, Failed, JfstoreError, NotFound, Refused
from jfstore.formats.calibdir import (
    GROUP,
    FileConstants,
    RangeFile,
    SourceFiles,
    list_sources,
    read_constants,
    scan_source,
)
from jfstore.repository.adding import Added, Entry, check_request, require_about
from jfstore.repository.calibdir_plan import Choice, Point, find_changes, find_differences, make_timelines
from jfstore.repository.elsewhere import Elsewhere
from jfstore.repository.entries import start_of_run
from jfstore.repository.finding import Target
from jfstore.repository.governing import Stated, commit_statement
from jfstore.repository.numbering import extend_table, leave_out_closed, number_closes
from jfstore.repository.run_panels import find_run_panels
from jfstore.runs.listing import list_runs
from jfstore.runs.run import Run, is_part

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository

KIND = "calibdir"
"""The ``kind`` in the origin of versions and closes that come from a calibration directory."""

Place = str | os.PathLike[str]
Progress = Callable[[int, int], None]

_KEYS = ("experiment", "run", "source", "range")


def import_calibdir(
    repository: ExchangingRepository,
    path: Place,
    message: str,
    *,
    experiment: str | None = None,
    source: str | None = None,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import a calibration directory of psana1, so that the repository answers for each run as psana does.

    For each run of the experiment, its XTC files say the start and the panels, and the names of the files which one
    psana takes. Each panel gets a version where that changes, from the start of the run on, floored to the second.
    After a file ``N-M.data`` the file that psana takes again is added again. Where psana takes no file, or one that
    cannot be stored, the panel is closed, if a version from this directory would be valid there otherwise. Each version
    holds one calibration type, or gains and offsets of one range, and in ``about`` the experiment, the source, the
    range and its first run. One file, or one pair of gains and offsets, is in memory at a time.

    There are at most two commits, the additions and then the closes; a repetition makes what is missing. Content that
    a panel and stamp ever held is skipped, and so are closes that a panel and stamp ever had.

    If a panel was used in another experiment between two runs, and constants of that experiment are in the repository,
    what psana takes is added again at the second run. If the other experiment was imported first, a note asks for it to
    be imported again.

    Parameters
    ----------
    path : path
        The calibration directory, which has a directory ``Jungfrau::CalibV1``.
    experiment : str, optional
        Experiment of the runs; default the name of the directory above the calibration directory.
    source : str, optional
        Which Jungfraus: a source, or a part of one; default all that the directory has.
    message, about, accept, request, dry_run
        As for `Repository.add`.
    progress : callable
        Called with the number of files read and their total.

    Returns
    -------
    Added
        With the closes in ``stated``, and the files and runs that were skipped, each with the reason.

    Raises
    ------
    BadValue
        If it is not a calibration directory, has no such source, or the experiment is not clear.
    NotFound
        If the experiment has no runs.
    JfstoreError
        As for `Repository.add_entries`.
    """
    texts = require_about(about)
    if taken := [key for key in _KEYS if key in texts]:
        raise BadValue(f"{taken[0]}={texts[taken[0]]}: the calibration directory says that, so it cannot be given")
    calibdir = Path(path)
    sources = _find_sources(calibdir, source)
    runs, errors = _find_runs(calibdir, experiment)
    place = os.path.abspath(calibdir), sources, source is None
    importer = _Importer(repository, *place, runs, texts, check_request(request), dry_run)
    added = importer.run(message, accept, progress)
    problems = [pair for files in sources.values() for pair in files.problems.items()]
    return replace(added, skipped=(*added.skipped, *problems, *errors))


def _find_sources(calibdir: Path, source: str | None) -> dict[str, SourceFiles]:
    """Return the files of the sources that are asked for."""
    if not os.path.isdir(calibdir / GROUP):
        above = calibdir.name == GROUP and os.path.isdir(calibdir)
        hint = f"; did you mean {calibdir.parent}?" if above else ""
        raise BadValue(f"{calibdir} is not a calibration directory: it has no directory {GROUP}{hint}")
    names = list_sources(calibdir)
    fitting = names if source is None else [source] if source in names else [n for n in names if is_part(source, n)]
    if source is not None and not fitting:
        raise BadValue(f"{calibdir} has no source {source!r}", names)
    return {name: scan_source(calibdir, name) for name in fitting}


def _find_runs(calibdir: Path, experiment: str | None) -> tuple[list[Run], list[tuple[str, str]]]:
    """Return the runs of the experiment, and those that cannot be read, with the reason."""
    name = _name_experiment(calibdir) if experiment is None else experiment
    if len(name) == 3 and not name.isdecimal():
        raise BadValue(f"{name} is an instrument, not an experiment")
    try:
        listed = list_runs(name)
    except NotFound as error:
        hint = "" if experiment else "; -e names another experiment"
        raise NotFound(f"{error.message}{hint}", error.nearest) from None
    if not listed.runs:
        raise NotFound(f"experiment {name} has no runs")
    errors = [(run.label, problem) for run in listed.runs for problem in run.problems]
    return [run for run in listed.runs if run.file], errors


def _name_experiment(calibdir: Path) -> str:
    """Return the name of the directory above a calibration directory; BadValue if it cannot be an experiment."""
    absolute = Path(os.path.abspath(calibdir))
    name = absolute.parent.name
    if absolute.name != "calib" or not re.fullmatch(r"[A-Za-z0-9_]{4,}", name, re.ASCII):
        raise BadValue(f"{calibdir} does not say the experiment: -e EXP")
    return name


@dataclass(frozen=True, slots=True)
class _Start:
    """What becomes valid for a panel with a run: of some files, which are read together, the choices."""

    point: Point
    choices: tuple[Choice, ...]

    @property
    def files(self) -> tuple[RangeFile, ...]:
        return tuple(choice.file for choice in self.choices)


class _Importer:
    """Makes the commits of one import."""

    def __init__(
        self,
        repository: ExchangingRepository,
        path: str,
        sources: Mapping[str, SourceFiles],
        are_all: bool,
        runs: Sequence[Run],
        texts: Mapping[str, str],
        request: str,
        dry_run: bool,
    ) -> None:
        self._repository, self._path, self._texts = repository, path, texts
        self._request, self._dry_run = request, dry_run
        self._experiment = runs[0].experiment if runs else ""
        self._before = repository.log.table()
        planned = make_timelines(runs, sources, are_all, find_run_panels(self._before), cache(self._name_panel))
        self._lines, self._skipped = planned.lines, dict(planned.skipped)
        self._expected = planned.count_panels()
        every = (file for one in sources.values() for found in one.files.values() for file in found)
        self._unused = [file for file in every if file not in self._expected and file.label not in self._skipped]
        self._notes: dict[str, None] = {}
        self._counts: dict[RangeFile, int] = {}
        self._hashes: dict[tuple[RangeFile, int], str] = {}
        self._elsewhere = Elsewhere(repository, self._before, self._experiment, self._name_panel)

    def run(self, message: str, accept: Sequence[str] | str, progress: Progress) -> Added:
        """Make the additions, then the closes."""
        options: dict[str, Any] = {"accept": accept, "request": self._request, "dry_run": self._dry_run}
        added = self._repository.add_entries(self._make_entries(progress), message, once=True, **options)
        try:
            return self._collect(added, *self._close(message, added))
        except JfstoreError as error:
            if added.versions and not self._dry_run:
                error.add_note(f"commit {added.seq} was made before; a repetition completes it")
            raise

    def _name_panel(self, panel: str) -> str:
        return min(find_joined_panels(self._before, panel)) if self._before.are_joined else panel

    def _start_of(self, point: Point) -> Instant | None:
        """Return the start of validity of what is valid from a run on; None, with a note, if no stamp names it."""
        zone = self._repository.zone
        asked = Target((parse_panel(point.panel),), instant_at(point.start, zone), point.run)
        try:
            start, notes = start_of_run(asked, point.run, zone)
        except Refused as error:
            self._skipped[point.run.label] = error.message
            return None
        self._notes.update(dict.fromkeys(notes))
        return start

    # -- additions

    def _make_entries(self, progress: Progress) -> Iterator[Entry]:
        """Yield an entry for each panel and start, ordered such that each file is read once."""
        starts = sorted(self._find_starts(), key=lambda one: [file.label for file in one.files])
        cached: dict[RangeFile, FileConstants | None] = {}
        total = len({start.files for start in starts})
        done = -1
        for start in starts:
            if start.files != tuple(cached):
                progress(done := done + 1, total)
                cached = {file: cached[file] for file in start.files if file in cached}  # the others are freed
                cached = {file: cached[file] if file in cached else self._read(file) for file in start.files}
            yield from self._make_entry(start, cached)
        progress(total, total)

    def _find_starts(self) -> Iterator[_Start]:
        """Yield what becomes valid when; gains and offsets of one range together."""
        found: dict[tuple[str, int], dict[str, tuple[Point, Choice]]] = {}
        for (panel, name), line in self._lines.items():
            for point, choice in find_changes(line, repeats=self._elsewhere.find_returns(panel, name, line)):
                if choice:
                    found.setdefault((panel, point.start), {})[name] = point, choice
        for by_type in found.values():
            for one, other in PAIRS:
                if one in by_type and other in by_type and by_type[one][1].file.name == by_type[other][1].file.name:
                    (point, first), (_, second) = by_type.pop(one), by_type.pop(other)
                    yield _Start(point, (first, second))
            for point, choice in by_type.values():
                yield _Start(point, (choice,))

    def _read(self, file: RangeFile) -> FileConstants | None:
        """Return the constants in a file; None, with the reason, if they cannot be stored."""
        counts = self._expected[file]
        try:
            constants = read_constants(file, self._repository.panel_shape, max(counts))
        except (BadValue, Failed) as error:
            self._skipped[file.label] = error.message
            return None
        self._counts[file] = count = len(constants.panels)
        for expected, run in counts.items():
            if expected != count:
                self._skipped[file.label] = f"it has {count} panels, and {file.source} of {run.label} has {expected}"
        return constants

    def _make_entry(self, start: _Start, constants: Mapping[RangeFile, FileConstants | None]) -> Iterator[Entry]:
        """Yield the entry of a panel; none if nothing can be stored."""
        choices = [
            (choice, found) for choice in start.choices if (found := constants[choice.file]) and self._is_usable(choice)
        ]
        for choice, found in choices:
            self._hashes[choice.file, choice.place] = digest(found.panels[choice.place].array.reshape(-1).view("u1"))
        when = self._start_of(start.point) if choices else None
        if when is None:
            return
        file = choices[0][0].file
        values = (self._experiment, str(file.first), file.source, file.range)
        yield Entry(
            start.point.panel,
            when,
            {choice.type: found.panels[choice.place] for choice, found in choices},
            ", ".join(str(choice.file.path) for choice, _ in choices),
            self._make_origin(file, {choice.file: found for choice, found in choices}),
            {**self._texts, **dict(zip(_KEYS, values, strict=True))},
        )

    def _make_origin(self, file: RangeFile, files: Mapping[RangeFile, FileConstants]) -> dict[str, Any]:
        """Return what a commit records about where a version comes from."""
        return {
            "kind": KIND,
            "version": f"{self._experiment}/{file.label}",
            "path": self._path,
            "experiment": self._experiment,
            "files": {one.label: {"size": found.size, "blake3": found.blake3} for one, found in files.items()},
        }

    # -- closes

    def _is_usable(self, choice: Choice) -> bool:
        return self._counts.get(choice.file) == choice.count

    def _close(self, message: str, added: Added) -> tuple[Stated, tuple[Version, ...]]:
        """Close panels from the start of runs on for which psana has nothing that can be stored."""
        closes = self._find_closes()

        def plan(table: Table, seq: int) -> list[Version]:
            return number_closes(table, seq, filter(None, (leave_out_closed(table, close) for close in closes)))

        table = extend_table(self._before, "add", added.versions) if self._dry_run else self._repository.log.table()
        planned = tuple(plan(table, table.seq + 1))
        request = hashlib.sha256(f"{self._request} close".encode()).hexdigest()[:32]
        names = tuple(version.name for version in planned)
        rest = (None, message, request, self._dry_run, names)
        return commit_statement(self._repository, "close", *rest, plan=plan), planned

    def _find_closes(self) -> list[Version]:
        """Return a close for each panel and start, with all types that it closes."""
        places: dict[tuple[int, str], tuple[Instant, RangeFile, list[str]]] = {}
        for (_, name), line in self._lines.items():
            last: Choice | None = None
            for point, choice in find_changes(line, self._is_usable):
                if choice is None and last and (when := self._start_of(point)):
                    places.setdefault((when.ns, point.panel), (when, last.file, []))[2].append(name)
                last = choice
        return [
            Version(panel, when.stamp, when.ns, 0, (), NO_FILE, 0, origin=self._make_origin(file, {}), closes=(*names,))
            for (_, panel), (when, file, names) in sorted(places.items())
        ]

    # -- what was done

    def _collect(self, added: Added, closed: Stated, planned: tuple[Version, ...]) -> Added:
        seq = max(added.seq, closed.seq)
        if self._dry_run:
            after = extend_table(extend_table(self._before, "add", added.versions), "close", planned)
        else:
            after = self._before.extend([self._repository.commit(one) for one in range(self._before.seq + 1, seq + 1)])
        changed: tuple[Any, ...] = ()
        if added.versions or closed.names:
            pairs = {(panel, name) for key, name in self._lines for panel in find_joined_panels(after, key)}
            changed = tuple(changes_between(self._before, after, sorted(pairs), self._repository.zone))
        self._compare(after, added.versions)
        return replace(
            added,
            seq=seq,
            changes=changed,
            skipped=tuple(self._skipped.items()),
            notes=(
                *added.notes,
                *closed.notes,
                *self._notes,
                *self._describe_unused(),
                *self._elsewhere.describe(changed),
            ),
            stated=(closed,) if closed.names else (),
        )

    def _describe_unused(self) -> Iterator[str]:
        if self._unused:
            more = f" and {len(self._unused) - 1} more" if len(self._unused) > 1 else ""
            yield f"psana takes {self._unused[0].label}{more} for no run of {self._experiment}"

    def _compare(self, table: Table, added: Sequence[Version]) -> None:
        """Compare what is valid at each run with what psana takes, and report what differs."""
        fresh = {version.name: version for version in added}
        others: dict[int, str] = {}
        for found in find_differences(table, self._lines, self._hash_of):
            holder, point = found.holder, found.point
            if holder and holder.content and (label := self._find_label(fresh.get(holder.name, holder), found.type)):
                takes = point.choice.file.label if point.choice and found.expected else "nothing that can be stored"
                reason = f"{holder.name} came from it, and psana takes {takes} for {point.run.label}: withdraw it"
                self._skipped.setdefault(label, reason)
            elif found.expected:
                others[point.run.run] = point.run.label
        if others:
            self._notes[
                f"{len(others)} runs, the first {others[min(others)]}, have other constants here than psana takes, "
                "because of versions, closes or withdrawals from elsewhere: jfstore explain"
            ] = None

    def _hash_of(self, choice: Choice) -> str | None:
        return self._hashes.get((choice.file, choice.place)) if self._is_usable(choice) else None

    def _find_label(self, version: Version, name: str) -> str | None:
        """Return the file in this directory's import that a version comes from, None if it does not."""
        origin = (version if version.origin else self._elsewhere.read_texts(version)).origin or {}
        if origin.get("kind") != KIND or origin.get("experiment") != self._experiment:
            return None
        files = origin.get("files", ())
        return next((label for label in files if label.split("/")[1:2] == [type_for_run(name, False)]), None)
