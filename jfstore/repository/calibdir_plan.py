"""Plan the import of a calibration directory: for each panel and type, what psana takes at the start of each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from jfstore.core.calib_types import type_for_run
from jfstore.core.instants import SECOND
from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.core.validity import timeline
from jfstore.errors import NotFound
from jfstore.formats.calibdir import RangeFile, SourceFiles, find_choice
from jfstore.repository.run_panels import RunStatements, fill_panels
from jfstore.runs.run import Jungfrau, Run

_NO_FILES = SourceFiles({}, {})
_NO_START = "no stream has a BeginRun, so its start is not known"


@dataclass(frozen=True, slots=True)
class Choice:
    """What psana takes for a panel in a run: the panel's place in a file, which must have `count` panels.

    ``type`` is the calibration type as it is stored: psana has no names for those of a high first gain range.
    """

    file: RangeFile
    place: int
    count: int
    type: str


@dataclass(frozen=True, slots=True)
class Point:
    """The start of a run in the timeline of a panel and a calibration type; psana takes `choice`, or nothing."""

    run: Run
    start: int  # of the run, nanoseconds UTC
    panel: str
    choice: Choice | None


Lines = Mapping[tuple[str, str], Sequence[Point]]
"""For each panel and calibration type its runs in order of time. A panel with several Ids is named by the first."""


@dataclass(frozen=True, slots=True)
class ImportTimelines:
    """The timelines of an import, and for each file or run that is of no use the reason."""

    lines: Lines
    skipped: tuple[tuple[str, str], ...]

    def count_panels(self) -> dict[RangeFile, dict[int, Run]]:
        """Return for each file that psana takes the numbers of panels that it must have, each with a run."""
        found: dict[RangeFile, dict[int, Run]] = {}
        for line in self.lines.values():
            for point in line:
                if point.choice:
                    found.setdefault(point.choice.file, {}).setdefault(point.choice.count, point.run)
        return found


def make_timelines(
    runs: Iterable[Run],
    sources: Mapping[str, SourceFiles],
    are_all: bool,
    stated: RunStatements,
    name_panel: Callable[[str], str],
) -> ImportTimelines:
    """Return what psana takes for each panel of some Jungfraus at the start of each run.

    Parameters
    ----------
    runs : iterable of Run
        All runs of the experiment.
    sources : mapping of str to SourceFiles
        The files of each Jungfrau, by its source.
    are_all : bool
        Whether another Jungfrau has no files; otherwise the others do not matter.
    stated : sequence
        What the log states about the panels of runs whose configurations have no Ids.
    name_panel : callable
        Returns one and the same Id for all Ids that are declared the same panel.
    """
    planner = _Planner(sources, are_all, stated, name_panel)
    for run in sorted(runs, key=lambda run: (run.start or 0, run.run)):
        planner.add_run(run)
    return ImportTimelines(planner.lines, (*planner.skipped.items(), *_join_runs(planner.skipped_runs)))


class _Planner:
    """Adds one run after the other, in order of time."""

    def __init__(
        self,
        sources: Mapping[str, SourceFiles],
        are_all: bool,
        stated: RunStatements,
        name_panel: Callable[[str], str],
    ) -> None:
        self._sources, self._are_all, self._stated, self._name_panel = sources, are_all, stated, name_panel
        self._types = sorted({name for source in sources.values() for name, files in source.files.items() if files})
        self.lines: dict[tuple[str, str], list[Point]] = {}
        self.skipped: dict[str, str] = {}
        self.skipped_runs: list[tuple[Run, str]] = []

    def add_run(self, run: Run) -> None:
        for bare in run.jungfraus:
            if bare.source in self._sources or self._are_all:
                reason = self._add_jungfrau(run, bare)
                if reason and bare.source in self._sources:
                    self.skipped_runs.append((run, reason))

    def _add_jungfrau(self, run: Run, bare: Jungfrau) -> str | None:
        """Add what psana takes for the panels of a Jungfrau; return the reason if that is not possible."""
        try:
            jungfrau, _ = fill_panels(run, bare, self._stated)
        except NotFound as error:
            return error.message.removeprefix(f"{run.label}: ")
        if run.start is None:
            return _NO_START
        if not jungfrau.panels:
            return _explain_missing_ids(jungfrau)
        for name in self._types:
            self._add_points(run, run.start, jungfrau, name)
        return None

    def _add_points(self, run: Run, start: int, jungfrau: Jungfrau, name: str) -> None:
        source = self._sources.get(jungfrau.source, _NO_FILES)
        if source.unknown is None or name in source.unknown:
            return
        file = self._find_file(source.files.get(name, ()), run.run)
        for place, panel in enumerate(map(str, jungfrau.panels)):
            stored = type_for_run(name, jungfrau.has_high_g0)
            choice = Choice(file, place, len(jungfrau.panels), stored) if file else None
            line = self.lines.setdefault((self._name_panel(panel), stored), [])
            point = Point(run, start, panel, choice)
            if line and line[-1].start // SECOND == start // SECOND:
                # A start of validity is in whole seconds, so both runs would get the same constants.
                if line[-1].choice != choice:
                    reason = f"{line[-1].run.label} started in the same second, with other constants of panel {panel}"
                    self.skipped_runs.append((run, reason))
                continue
            line.append(point)

    def _find_file(self, files: Sequence[RangeFile], run: int) -> RangeFile | None:
        """Return the file that psana takes for a run; None if there is none, or several of which it takes any."""
        found = find_choice(files, run)
        if len(found) > 1:
            names = " and ".join(file.name for file in found)
            reason = f"{names} have the same range, and psana takes the one that the directory lists last"
            self.skipped.update((file.label, reason) for file in found)
        return found[0] if len(found) == 1 else None


def _explain_missing_ids(jungfrau: Jungfrau) -> str:
    return (
        f"{jungfrau.source} has no panel Ids (psana.Jungfrau.ConfigV{jungfrau.version}); "
        "state them with jfstore runs --panels"
    )


def _join_runs(skipped: Iterable[tuple[Run, str]]) -> Iterator[tuple[str, str]]:
    """Yield names and reasons, of which consecutive runs with the same reason have one name."""
    for reason, group in groupby(dict.fromkeys(skipped), key=lambda pair: pair[1]):
        yield name_runs([run for run, _ in group]), reason


def name_runs(runs: Sequence[Run]) -> str:
    """Return the name of a run, or of the first and the last of several, such as ``exp=xpptut15:run=1-430``."""
    first, last = runs[0].label, runs[-1].run
    return first if len(runs) == 1 else f"{first}-{last}"


def find_changes(
    line: Sequence[Point],
    is_usable: Callable[[Choice], bool] = lambda choice: True,
    repeats: Callable[[Point, Point], bool] = lambda before, point: False,
) -> Iterator[tuple[Point, Choice | None]]:
    """Yield the points at which something else becomes valid, or nothing any more (None).

    Parameters
    ----------
    is_usable : callable
        Whether the constants of a choice can be stored; if not, nothing is valid in its place.
    repeats : callable
        Whether what is valid already must be added again, given the run before and the run.
    """
    state: Choice | None = None
    for number, point in enumerate(line):
        choice = point.choice if point.choice and is_usable(point.choice) else None
        if choice != state or (choice and number and repeats(line[number - 1], point)):
            yield point, choice
        state = choice


@dataclass(frozen=True, slots=True)
class Difference:
    """A run for which a repository does not have what psana takes.

    `expected` is the BLAKE3 of the array, None if psana takes nothing that can be stored; `holder` the version or the
    close that is valid instead, None if there is none.
    """

    point: Point
    type: str
    expected: str | None
    holder: Version | None


def find_differences(table: Table, lines: Lines, hash_of: Callable[[Choice], str | None]) -> Iterator[Difference]:
    """Yield the runs for which a repository does not have what psana takes.

    Parameters
    ----------
    hash_of : callable
        Returns the BLAKE3 of the array of a choice; None if it cannot be stored.
    """
    for (panel, name), line in lines.items():
        valid = timeline(table, panel, name)
        places = np.searchsorted(valid.starts, [point.start for point in line], side="right") - 1
        rows = np.where(places >= 0, np.append(valid.rows, -1)[places], -1).tolist()
        known = sorted({row for row in rows if row >= 0})
        versions = dict(zip(known, table.version_list(known), strict=True))
        for point, row in zip(line, rows, strict=True):
            expected, holder = hash_of(point.choice) if point.choice else None, versions.get(row)
            if (holder.content.get(name) if holder else None) != expected:
                yield Difference(point, name, expected, holder)
