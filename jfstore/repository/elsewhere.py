"""Find when the panels of an experiment were used in other experiments, whose constants a repository has, too."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from jfstore.core.changes import Change
from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.core.validity import FOREVER, timeline
from jfstore.errors import JfstoreError
from jfstore.repository.calibdir_plan import Point
from jfstore.runs.listing import list_runs
from jfstore.runs.run import Run

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository


class Elsewhere:
    """Other experiments than the one whose constants are imported.

    Parameters
    ----------
    repository : Repository
        Where the constants of the other experiments are.
    table : Table
        Its table before the import.
    experiment : str
        The experiment of the import.
    name_panel : callable
        Returns one and the same Id for all Ids that are declared the same panel.
    """

    def __init__(
        self, repository: ExchangingRepository, table: Table, experiment: str, name_panel: Callable[[str], str]
    ) -> None:
        self._table, self._experiment, self._name_panel = table, experiment, name_panel
        self._commit = cache(repository.commit)
        self._runs: dict[str, Sequence[Run]] = {}

    def find_returns(self, panel: str, name: str, line: Sequence[Point]) -> Callable[[Point, Point], bool]:
        """Return a function that says whether another experiment had the panel between two runs.

        Only experiments count of which a version or a close is valid between the first and the last run of `line`.
        """
        valid = timeline(self._table, panel, name)
        first, last = (valid.place(line[place].start) for place in (0, -1))
        versions = self._table.version_list(valid.rows[max(first, 0) : last + 1])
        experiments = [self._find_experiment(version) for version in versions]
        others = {name: None for name in experiments if name not in ("", self._experiment)}
        found = [v.start for v, experiment in zip(versions, experiments, strict=True) if experiment in others]
        found = sorted([*found, *(start for other in others for start in self._list_starts(other, panel))])
        return lambda before, point: bisect_right(found, before.start) < bisect_right(found, point.start)

    def describe(self, changes: Iterable[Change]) -> Iterator[str]:
        """Yield a note for each of the other experiments for whose runs the import changes what is valid."""
        places = [(self._name_panel(c.panel), c.start.ns, c.end.ns if c.end else FOREVER) for c in changes if c.before]
        for experiment in self._runs:
            for panel, start, end in places:
                if any(start <= one < end for one in self._list_starts(experiment, panel)):
                    yield f"the answers for runs of {experiment} change, too: import its constants again"
                    break

    def read_texts(self, version: Version) -> Version:
        """Return a version with what only its commit says."""
        commit = self._commit(version.seq)
        return next((other for other in commit.versions if other.name == version.name), version)

    def _find_experiment(self, version: Version) -> str:
        """Return the experiment that a version or a close comes from, empty if it does not say."""
        version = self.read_texts(version)
        return version.about.get("experiment") or str((version.origin or {}).get("experiment", ""))

    def _list_starts(self, experiment: str, panel: str) -> list[int]:
        """Return when the runs of another experiment with a panel started; none if that is not known."""
        if experiment not in self._runs:
            try:
                self._runs[experiment] = list_runs(experiment).runs
            except JfstoreError:
                self._runs[experiment] = ()
        return [run.start for run in self._runs[experiment] if run.start is not None and self._has_panel(run, panel)]

    def _has_panel(self, run: Run, panel: str) -> bool:
        return any(self._name_panel(str(one)) == panel for jungfrau in run.jungfraus for one in jungfrau.panels)
