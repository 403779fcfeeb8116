"""Summarise runs as ranges in which a Jungfrau has the same panels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from jfstore.runs.records import Jungfrau, Run


@dataclass(frozen=True, slots=True)
class RunRange:
    """Runs of an experiment in which a Jungfrau has the same panels, in the same order.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    first, last : int
        Number of the first and the last run. Runs between them may lack this Jungfrau, or may not exist.
    count : int
        Number of runs that have it.
    start : int or None
        Start of the first run, nanoseconds since 1970 UTC; None if it is not known.
    daq : str
        ``LCLS-I`` or ``LCLS-II``.
    jungfrau : Jungfrau
        The Jungfrau, as in the last run.
    """

    experiment: str
    first: int
    last: int
    count: int
    start: int | None
    daq: str
    jungfrau: Jungfrau

    @property
    def dataset(self) -> str:
        """The last run, as a dataset."""
        return f"exp={self.experiment}:run={self.last}"

    @property
    def runs(self) -> str:
        """The numbers of the first and the last run, such as ``1-295``."""
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)

    @property
    def detector(self) -> str:
        """The detector Id, or psana's name of a configuration object that has no panel Ids."""
        return self.jungfrau.detector_id or f"psana.Jungfrau.Config{self.jungfrau.config}"


def find_ranges(runs: Iterable[Run]) -> tuple[RunRange, ...]:
    """Return the ranges of runs in which each Jungfrau has the same panels.

    Parameters
    ----------
    runs : iterable of Run
        Runs in ascending order, of any number of experiments, such as ``jfstore.runs("XCS").runs``.

    Returns
    -------
    tuple of RunRange
        Experiments in the order of their runs, in each the ranges by source and first run. A range ends where the
        panels or the version of the configuration change.
    """
    ranges: dict[tuple[str, str], list[RunRange]] = {}
    experiments: dict[str, None] = {}
    for run in runs:
        experiments[run.experiment] = None
        for jungfrau in run.jungfraus:
            found = ranges.setdefault((run.experiment, jungfrau.source), [])
            if found and _identify(found[-1].jungfrau) == _identify(jungfrau):
                found[-1] = replace(found[-1], last=run.run, count=found[-1].count + 1, jungfrau=jungfrau)
            else:
                found.append(RunRange(run.experiment, run.run, run.run, 1, run.start, run.daq, jungfrau))
    return tuple(
        one
        for experiment in experiments
        for key in sorted(key for key in ranges if key[0] == experiment)
        for one in ranges[key]
    )


def _identify(jungfrau: Jungfrau) -> tuple[object, ...]:
    return jungfrau.panels, jungfrau.segments, jungfrau.version, jungfrau.count
