"""Tell from the files of dark runs which first gain range they measured: the normal one, or the high one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from jfstore.core.calib_types import CALIB_TYPES, high_g0_type, type_for_run
from jfstore.errors import JfstoreError

T = TypeVar("T")


class DarkRuns:
    """Names the types of what dark runs measured, whose own files do not tell the first gain range.

    The configuration in a run's XTC files does. If these are not found, the normal types are taken, and a note says so.
    """

    def __init__(self) -> None:
        self._high: dict[tuple[str, int], dict[str, bool | None]] = {}
        self._unknown: dict[str, None] = {}
        self._of_high: dict[str, None] = {}

    def name_types(self, arrays: Mapping[str, T], experiment: str, run: int, panel: str) -> dict[str, T]:
        """Return arrays by the types under which they are stored; those that do not change by run keep theirs."""
        concerned = [name for name in arrays if CALIB_TYPES[name].by_run and high_g0_type(name)]
        if not concerned:
            return dict(arrays)
        label, is_high = f"exp={experiment}:run={run}", self._read(experiment, run).get(panel)
        if is_high is None:
            self._unknown[label] = None
        if is_high:
            self._of_high[label] = None
        return {type_for_run(name, is_high) if name in concerned else name: value for name, value in arrays.items()}

    def _read(self, experiment: str, run: int) -> Mapping[str, bool | None]:
        """Return for each panel of a run whether its first gain range is the high one; nothing if it is not found."""
        from jfstore.runs.run import read_runs  # slow to load, and not needed without darks

        if (experiment, run) not in self._high:
            found: dict[str, bool | None] = {}
            try:
                for one in read_runs(f"exp={experiment}:run={run}"):
                    for jungfrau in one.jungfraus:
                        found.update(dict.fromkeys(map(str, jungfrau.panels), jungfrau.has_high_g0))
            except JfstoreError:
                pass  # the files may be on tape
            self._high[experiment, run] = found
        return self._high[experiment, run]

    def make_notes(self) -> Iterator[str]:
        """Yield what the user should know of the runs."""
        if self._of_high:
            names = ", ".join(self._of_high)
            yield f"the first gain range of {names} is the high one: pedestals are stored as pedestals_hg0, and so on"
        if self._unknown:
            first, *more = self._unknown
            others = f" and {len(more)} more" if more else ""
            which = "whether the first gain range was the high one"
            yield f"the files of {first}{others} do not say {which}, so it is taken as the normal one"
