"""Find the runs and deployed files for whose times answers change.

A deployed file is known by the note beside it, or, if that is asked for, by comparing its values with the repository.
The panels and the start of its run come from the XTC files, else from the note, as for `jfstore.audit`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jfstore.core.calib_types import high_g0_type, type_for_run
from jfstore.core.changes import Change
from jfstore.core.ids import parse_version
from jfstore.core.instants import Instant, instant_at
from jfstore.core.records import Version
from jfstore.core.validity import Timeline, timeline
from jfstore.deployment.audit import Auditor, Expectation, find_stored_type
from jfstore.deployment.calibdir import CalibFile, find_files
from jfstore.deployment.note import Deployment, read_note
from jfstore.errors import JfstoreError
from jfstore.repository import Repository
from jfstore.runs.listing import Progress
from jfstore.runs.run import RunList
from jfstore.runs.tree import Tree

BECOMES_STALE, BECOMES_CURRENT, STAYS_STALE = STATES = ("becomes stale", "becomes current", "stays stale")


@dataclass(frozen=True, slots=True)
class AffectedRun:
    """A Jungfrau of a run whose constants change: which panels, of which calibration types."""

    label: str  # as in exp=xcsls3716:run=631
    experiment: str
    run: int
    source: str
    start: Instant
    panels: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AffectedFile:
    """A deployed file for whose run other constants become valid."""

    state: str  # one of STATES
    path: str
    experiment: str
    source: str
    type: str
    run: int
    changes: tuple[Change, ...]  # of its panels
    holds: tuple[str, ...]  # for each panel the version that the file holds
    is_noted: bool  # whether the note says so; else the values were compared
    repository: str | None  # id of the repository that it was deployed from, if that is known


class ChangeLines:
    """Changes by panel and calibration type, to find the one that holds an instant."""

    def __init__(self, changes: Iterable[Change]) -> None:
        lines: dict[tuple[str, str], list[Change]] = {}
        for change in changes:
            lines.setdefault((change.panel, change.type), []).append(change)
        self._lines = {key: sorted(line, key=lambda change: change.start.ns) for key, line in lines.items()}
        self.types = tuple(sorted({name for _, name in lines}))

    def find(self, panel: str, calib_type: str, t: int) -> Change | None:
        """Return the change of the answer for a panel, type and instant, None if it does not change."""
        line = self._lines.get((panel, calib_type))
        if not line:
            return None
        place = bisect_right(line, t, key=lambda change: change.start.ns) - 1
        if place < 0:
            return None
        end = line[place].end
        return line[place] if end is None or t < end.ns else None


class RunSearch:
    """The runs whose answers change, and panels and start of every run."""

    def __init__(self, listed: RunList, lines: ChangeLines, repository: Repository) -> None:
        self.affected: list[AffectedRun] = []
        self.without_panels: list[str] = []
        self.without_start: list[str] = []
        self.expected: dict[tuple[str, int, str], Expectation] = {}
        name_panel = cache(str)
        for run in listed.runs:
            for jungfrau in run.jungfraus:
                if not jungfrau.panels:
                    self.without_panels.append(run.label)
                elif run.start is None:
                    self.without_start.append(run.label)
                else:
                    panels, high = tuple(map(name_panel, jungfrau.panels)), jungfrau.has_high_g0
                    self.expected[run.experiment, run.run, jungfrau.source] = Expectation(panels, run.start, high)
                    types = [name for name in lines.types if name == type_for_run(name, high)]
                    found = [c for p in panels for name in types if (c := lines.find(p, name, run.start))]
                    if found:
                        changed = (tuple(dict.fromkeys(c.panel for c in found)), tuple(sorted({c.type for c in found})))
                        start = instant_at(run.start, repository.zone)
                        place = (run.label, run.experiment, run.run, jungfrau.source)
                        self.affected.append(AffectedRun(*place, start, *changed))


@dataclass(frozen=True, slots=True)
class _Held:
    """What a deployed file holds: for each panel a BLAKE3 and the name of a version."""

    hashes: Sequence[str]
    names: Sequence[str]
    is_noted: bool
    repository: str | None = None


@dataclass
class FileSearch:
    """The deployed files whose answers change."""

    lines: ChangeLines
    runs: RunSearch
    repository: Repository
    compare: bool
    affected: list[AffectedFile] = field(default_factory=list)
    undecided: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    searched: int = 0

    def __post_init__(self) -> None:
        self._table = self.repository.log.table()
        self._lines: dict[tuple[str, str], Timeline] = {}
        self._valid: dict[tuple[str, str, int], str | None] = {}
        self._expected: dict[Path, Expectation | None] = {}
        self._auditor = Auditor(self.repository, lambda file: self._expected[file.path])

    def search(self, tree: Tree, progress: Progress) -> None:
        """Search the calibration directories of all experiments."""
        directories, errors = tree.calib_directories()
        self.problems += map(str, errors)
        files: list[tuple[str, CalibFile]] = []
        for experiment, directory in directories:
            try:
                listing = find_files(directory)
            except (JfstoreError, OSError) as error:
                self.problems.append(f"{directory}: {getattr(error, 'strerror', None) or error}")
                continue
            self.problems += [f"{name}: {why}" for name, why in listing.problems]
            files += [(experiment, file) for file in listing.files]
        self.searched = len(files)
        for done, (experiment, file) in enumerate(files):
            progress(done, len(files))
            if {file.type, high_g0_type(file.type)} & {*self.lines.types}:
                self._judge(experiment, file)
        progress(len(files), len(files))

    def _judge(self, experiment: str, file: CalibFile) -> None:
        """Decide whether the valid constants of a file change, and whether it holds the old or the new ones."""
        expected = self.runs.expected.get((experiment, file.run, file.source))
        types = {file.type, high_g0_type(file.type) or file.type}
        if expected and not any(self._changes_of(name, expected) for name in types):
            return  # whatever the file holds
        deployment, why = _read_deployment(file)
        stored = find_stored_type(file.type, expected, deployment)
        if deployment and expected is None:
            t = deployment.valid_at if deployment.start is None else deployment.start
            expected = Expectation(tuple(panel.panel for panel in deployment.panels), t)
        held = None
        if deployment:
            hashes, names = ([getattr(panel, name) for panel in deployment.panels] for name in ("blake3", "version"))
            held = _Held(hashes, names, True, deployment.origin.get("repository"))
        elif expected is None:
            why += ", and its run is not known"
        elif self.compare:
            held, why = self._recognise(file, stored, expected)
        if held is None or expected is None:
            self.undecided.append((str(file.path), why))
        elif len(held.hashes) != len(expected.panels):
            self.undecided.append((str(file.path), "it has another number of panels than the detector of its run"))
        elif changes := self._changes_of(stored, expected):
            self._append(experiment, file, stored, expected, held, changes)

    def _changes_of(self, stored: str, expected: Expectation) -> dict[str, Change]:
        found = {panel: self.lines.find(panel, stored, expected.t) for panel in expected.panels}
        return {panel: change for panel, change in found.items() if change}

    def _append(
        self,
        experiment: str,
        file: CalibFile,
        stored: str,
        expected: Expectation,
        held: _Held,
        changes: Mapping[str, Change],
    ) -> None:
        was = is_then = True
        for panel, blake3 in zip(expected.panels, held.hashes, strict=True):
            if change := changes.get(panel):
                was, is_then = was and blake3 == change.before_blake3, is_then and blake3 == change.after_blake3
            else:
                is_valid = self._find_valid(panel, stored, expected.t) == blake3
                was, is_then = was and is_valid, is_then and is_valid
        state = BECOMES_STALE if was else BECOMES_CURRENT if is_then else STAYS_STALE
        what = (str(file.path), experiment, file.source, file.type, file.run)
        holds = tuple(held.names)
        changed = tuple(changes.values())
        self.affected.append(AffectedFile(state, *what, changed, holds, held.is_noted, held.repository))

    def _find_valid(self, panel: str, calib_type: str, t: int) -> str | None:
        """Return the BLAKE3 of the array that is valid, looked up once for each interval."""
        key = panel, calib_type
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = timeline(self._table, panel, calib_type)
        place = line.place(t)
        if (*key, place) not in self._valid:
            version = line.at(t)
            self._valid[*key, place] = version.content[calib_type] if version else None
        return self._valid[*key, place]

    def _recognise(self, file: CalibFile, stored: str, expected: Expectation) -> tuple[_Held | None, str]:
        """Return what a file without a note holds, by its values; None and the reason if that is not clear."""
        self._expected[file.path] = expected
        finding = self._auditor.examine(file)
        if finding.state in ("unknown", "unreadable", "edited"):
            return None, f"{finding.state}: {finding.detail}"
        versions = [find_version(self.repository, name) for name in finding.versions]
        hashes = [version.content[stored] for version in versions if version]
        return _Held(hashes, finding.versions, False), ""


def _read_deployment(file: CalibFile) -> tuple[Deployment | None, str]:
    """Return the deployment that made a file, as its note and size say; None and the reason if the note does not."""
    try:
        noted = [d for d in read_note(file) if (d.source, d.type, d.run) == (file.source, file.type, file.run)]
        size = os.stat(file.path).st_size
    except (JfstoreError, OSError) as error:
        return None, str(getattr(error, "strerror", None) or error)
    # The hash of the file would say it for certain, but to read all files takes hours; `audit` does.
    deployment = next((entry for entry in noted if entry.size == size), None)
    return deployment, "it was changed after it was deployed" if noted else "it has no note"


def find_version(repository: Repository, name: str) -> Version | None:
    """Return a stored version as the index says, None if it is not stored (yet)."""
    table = repository.log.table()
    panel, stamp, number = parse_version(name)
    versions = table.version_list(table.rows_at(str(panel), stamp))
    return next((version for version in versions if version.number == number), None)
