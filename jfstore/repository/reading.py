"""Define the part of a repository that reads: find, get and explain constants that are valid, and compare them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from jfstore.core.ages import parse_age
from jfstore.core.arrays import CalibArray
from jfstore.core.explaining import Explanation, add_sources, explain
from jfstore.core.ids import PanelId, is_name
from jfstore.core.records import Identity, Version
from jfstore.core.slabs import panel_of
from jfstore.core.table import Table
from jfstore.core.validity import rejections
from jfstore.errors import BadValue
from jfstore.repository.answer import Answer
from jfstore.repository.asked_types import check_types, choose_types
from jfstore.repository.assemble import assemble
from jfstore.repository.browsing import BrowsableRepository
from jfstore.repository.commits import compare_with_commits, read_provenance
from jfstore.repository.exact import answer_by_name
from jfstore.repository.finding import Plan, Target, Time, make_plan, resolve_target
from jfstore.repository.remarks import Limits, make_limits, remark_on
from jfstore.repository.run_panels import find_run_panels
from jfstore.storage.base import Storage

if TYPE_CHECKING:
    from jfstore.core.lock import Lock
    from jfstore.repository.diffing import Difference
    from jfstore.repository.identifying import Identified

_PLANS = 256
_CHECKED = 1 << 16


class ReadableRepository(BrowsableRepository):
    """The part of a `Repository` that reads: it finds, gets, explains and compares constants."""

    def __init__(self, storage: Storage, identity: Identity) -> None:
        super().__init__(storage, identity)
        # One value, swapped whole: plans of one table are never looked up in those of another.
        self._checked: set[str] = set()
        self._plans: tuple[Table, dict[tuple[Any, ...], Plan]] = (Table.empty(), {})

    def get(
        self,
        target: str | PanelId,
        type: str,
        time: Time | None = None,
        *,
        source: str | None = None,
        as_of: int | str | None = None,
        number: int | None = None,
        withdrawn: bool = False,
        max_age: str | timedelta | None = None,
        same_experiment: bool | None = None,
        verify: bool = True,
        writable: bool = False,
        copy: bool = False,
    ) -> CalibArray:
        """Return a detector's array of one calibration type, valid at a time or for a run.

        Parameters
        ----------
        target : str or PanelId
            Panel Id, detector Id (panel Ids joined by ``_``), or a dataset such as ``exp=xcsls3716:run=631``,
            which says the panels and the time. Or the name of a version, whether it is valid or not,
            ``<panel Id>/<stamp>/v<number>``; or ``<panel Id>-<stamp>``, the last one at exactly that stamp.
        type : str
            Calibration type, such as ``pixel_gain``.
        time : str, datetime or Instant, optional
            A stamp in the repository's zone, ISO 8601 with a zone, ``@N``, ``now``, or an aware datetime.
        source : str, optional
            Which Jungfrau of the run: its source, alias or a part of the source.
        as_of : int or str, optional
            Answer as the repository would have after that commit (a number, ``<repository id>:<number>`` or a tag),
            or at that time or date.
        number : int, optional
            Take this version number of the valid stamp; for one panel only.
        withdrawn : bool
            Whether the name of a version may be that of one that was withdrawn.
        max_age : str or timedelta, optional
            For a type whose values change by run, such as pedestals, the greatest age at the time, such as ``"2d"``.
            Default as configured; an age above the usual one, a week for pedestals, is noted.
        same_experiment : bool, optional
            For such a type, whether the constants must be of the experiment of the run. Default as configured; another
            experiment is noted.
        verify : bool
            Whether the arrays are checked against their BLAKE3.
        writable : bool
            Whether the array may be written to; what is stored never changes.
        copy : bool
            Whether the array is private memory. A mapped array dies with its process if the file is truncated.

        Returns
        -------
        ndarray
            C-contiguous, of the dtype of `type`, bit for bit as added. Its shape is (gain, panel, row, column), or
            (panel, row, column) for a type without gain ranges. For panels whose gain ranges fill whole pages
            (real ones do) it maps the stored files: processes share the memory.

        Raises
        ------
        BadValue
            If an argument is not what it should be.
        NotFound
            If any panel has no valid constants; all such panels are named. If they are too old, or of another
            experiment.
        Damaged
            If stored bytes that are needed are not what was written.
        """
        options: dict[str, Any] = {"as_of": as_of, "number": number, "withdrawn": withdrawn}
        options |= {"max_age": max_age, "same_experiment": same_experiment}
        answer = self.find(target, [type], time, source=source, **options)
        return self.read(answer, type, verify=verify, writable=writable, copy=copy)

    def read(
        self, answer: Answer, type: str, *, verify: bool = True, writable: bool = False, copy: bool = False
    ) -> CalibArray:
        """Return the array of one calibration type of `answer`; shape, dtype and errors as for `get`.

        The arrays of a replayed answer are compared with their hashes in any case.
        """
        selections = answer.of(type)
        versions, stored = [selection.version for selection in selections], selections[0].type
        verify = verify or answer.locked is not None
        return assemble(self.storage, versions, stored, verify=verify, writable=writable, copy=copy)

    def find(
        self,
        target: str | PanelId,
        types: Sequence[str] | str | None = None,
        time: Time | None = None,
        *,
        source: str | None = None,
        as_of: int | str | None = None,
        number: int | None = None,
        withdrawn: bool = False,
        max_age: str | timedelta | None = None,
        same_experiment: bool | None = None,
    ) -> Answer:
        """Return which versions are valid for a detector, of `types` or of all; parameters and errors as for `get`."""
        names = check_types(types)
        if max_age is not None:
            parse_age(max_age)
        if number is not None and type(number) is not int:
            raise BadValue(f"a version number is an int, not {number!r}")
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        if isinstance(target, str) and is_name(target):
            more = (time, source, number)
            answer = answer_by_name(self, target, types, seq, withdrawn=withdrawn, others=more)
            self._check_versions(selection.version for _, chosen in answer.by_type for selection in chosen)
            return answer
        if withdrawn:
            raise BadValue("a withdrawn version is asked for by its name: <panel Id>/<stamp>/v<number>")
        stated = partial(find_run_panels, table, seq)
        asked = resolve_target(target, time, source, self.zone, table.panel_names, stated)
        limits = partial(make_limits, max_age, same_experiment)
        return self._find(table, asked, names, seq, number, limits)

    def find_target(
        self,
        asked: Target,
        types: Sequence[str] | None = None,
        seq: int | None = None,
        number: int | None = None,
        *,
        max_age: str | timedelta | None = None,
        same_experiment: bool | None = None,
    ) -> Answer:
        """Return which versions are valid for panels and a time that `resolve_target` found, as of commit `seq`."""
        limits = partial(make_limits, max_age, same_experiment)
        return self._find(self.log.table(seq), asked, check_types(types), seq, number, limits)

    def _find(
        self,
        table: Table,
        asked: Target,
        names: tuple[str, ...] | None,
        seq: int | None,
        number: int | None,
        limits: Callable[[], Limits],
    ) -> Answer:
        # One table for all of it: another look at the log could find another one, and costs a request in a bucket.
        key = (asked.panels, names, asked.time.ns, seq, number, asked.run is not None, asked.has_high_g0)
        plans = self._plans
        if plans[0] is not table:
            plans = self._plans = (table, {})
        plan = plans[1].get(key)
        if plan is None:
            plan = make_plan(table, asked, _choose(table, asked, names, seq), self.zone, seq, number, self.location)
            self._check_versions(selection.version for _, chosen in plan.by_type for selection in chosen)
            if len(plans[1]) >= _PLANS:
                plans[1].clear()
            plans[1][key] = plan
        remarks = remark_on(asked, plan.by_type, partial(read_provenance, self.storage), limits)
        notes = (*asked.notes, *plan.notes, *remarks)
        last = table.seq if seq is None else seq
        return Answer(asked.panels, asked.time, last, plan.by_type, notes, asked.run, asked.jungfrau, self)

    def replay(self, lock: Lock | str | os.PathLike[str], types: Sequence[str] | str | None = None) -> Answer:
        """Return the answer that a lock pins, with the same bits, whatever was added, closed or withdrawn since.

        Parameters
        ----------
        lock : Lock or path
            What `Answer.lock` returned, or a file with its text.
        types : sequence of str, optional
            Only these calibration types of the lock; default all.

        Returns
        -------
        Answer
            As `find` returned it. A note says who withdrew a version since, and why.

        Raises
        ------
        BadValue
            If the file is not a lock file.
        NotFound
            If this mirror does not have the commit of the lock yet.
        Damaged
            If the lock, a commit or a version is not what was written.
        Refused
            If the lock is of another repository, or a newer jfstore made it.
        """
        from jfstore.repository.locking import replay_lock

        return replay_lock(self, lock, types)

    def _check_versions(self, versions: Iterable[Version]) -> None:
        """Check versions that the index says against their commits, each once; Damaged if one differs."""
        fresh = {version.name: version for version in versions if version.name not in self._checked}
        compare_with_commits(self.storage, list(fresh.values()))
        if len(self._checked) >= _CHECKED:
            self._checked = set()
        self._checked.update(fresh)

    def rejections(self, answer: Answer) -> dict[str, tuple[tuple[tuple[Version, str], ...], ...]]:
        """Return, by calibration type, for each panel the versions that were not selected, with the reasons."""
        table = self.log.table(answer.as_of)
        return {
            name: tuple(
                tuple(rejections(table, selection, answer.time.ns, self.zone, answer.as_of)) for selection in selections
            )
            for name, selections in answer.by_type
        }

    def explain(
        self,
        target: str | PanelId,
        types: Sequence[str] | str | None = None,
        time: Time | None = None,
        *,
        source: str | None = None,
        as_of: int | str | None = None,
        sources: bool = False,
    ) -> tuple[Explanation, ...]:
        """Return for each panel and calibration type every candidate, and why it is valid or not.

        Parameters and errors are those of `find`; a panel without valid constants is explained, too. With `sources`,
        each candidate also says what it was made of, which reads the commits of all.
        """
        names = check_types(types)
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        stated = partial(find_run_panels, table, seq)
        asked = resolve_target(target, time, source, self.zone, table.panel_names, stated)
        last = table.seq if seq is None else seq
        found = [
            explain(table, panel, asked.time.ns, name, self.zone, last)
            for panel in map(str, asked.panels)
            for name in _choose(table, asked, names, seq)
        ]
        if not sources:
            return tuple(found)
        origins = read_provenance(self.storage, {(c.name, c.seq) for one in found for c in one.candidates})
        return tuple(add_sources(one, origins) for one in found)

    def panel_array(self, version: Version, type: str, *, verify: bool = True) -> CalibArray:
        """Return one array of one version, of its dtype and shape, read-only."""
        return panel_of(assemble(self.storage, [version], type, verify=verify), 0)

    def identify(self, path: str | os.PathLike[str], *, detector: str | None = None) -> Identified:
        """Identify a file: which versions it holds, exactly or changed; see `jfstore.identify`."""
        from jfstore.repository.identifying import Identifier

        return Identifier(self).identify(path, detector)

    def diff(
        self,
        first: str | Version | Answer,
        second: str | Version | Answer,
        *,
        types: Sequence[str] | str | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Difference:
        """Compare two versions, or two answers that `find` gave; `jfstore.diff` compares two repositories.

        Parameters
        ----------
        first, second : str, Version or Answer
            Names of versions, versions, or answers, which may be of other repositories.
        types : sequence of str, optional
            Only these calibration types.
        progress : callable
            Called with the number of arrays compared and their total.

        Returns
        -------
        Difference
            What only one has, and for the arrays of both how much each gain range differs, and whether the second is a
            rounded, multiplied, reversed or exchanged copy of the first.

        Raises
        ------
        NotFound
            If there is no such version.
        Damaged
            If an array is not what was written.
        """
        from jfstore.repository.diffing import diff_in_repository

        return diff_in_repository(self, first, second, types, progress)


def _choose(table: Table, asked: Target, types: Sequence[str] | None, seq: int | None) -> tuple[str, ...]:
    """Return the stored types of an answer."""
    panels, of_run = list(map(str, asked.panels)), asked.run is not None
    return choose_types(table, panels, asked.time.ns, types, seq, of_run=of_run, has_high_g0=asked.has_high_g0)
