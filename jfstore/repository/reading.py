"""Read a repository: find and get constants that are valid, list what is stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import calib_type
from jfstore.core.explaining import Explanation, explain
from jfstore.core.ids import PanelId, is_name, parse_panel, parse_version, resolve_panel, version_name
from jfstore.core.instants import find_zone
from jfstore.core.records import Commit, Identity, Version
from jfstore.core.slabs import panel_of
from jfstore.core.table import CommitSummary, Table
from jfstore.core.validity import Timeline, find_withdrawn, rejections, timeline
from jfstore.errors import BadValue, Damaged, NotFound, nearest
from jfstore.repository.answer import Answer, html_table
from jfstore.repository.assemble import assemble
from jfstore.repository.commits import compare_with_commits, read_commit
from jfstore.repository.exact import answer_by_name
from jfstore.repository.filtering import Panels, make_filter
from jfstore.repository.finding import Plan, Time, check_types, make_plan, resolve_as_of, resolve_target
from jfstore.repository.listing import Listing, LoggedCommit, VersionDetail, list_commits, list_versions
from jfstore.repository.log import Log
from jfstore.repository.run_panels import find_run_panels
from jfstore.storage.base import Storage

if TYPE_CHECKING:
    from jfstore.core.lock import Lock
    from jfstore.repository.diffing import Difference
    from jfstore.repository.identifying import Identified

_PLANS = 256
_CHECKED = 1 << 16


class ReadableRepository:
    """The part of a `Repository` that reads.

    Attributes
    ----------
    identity : Identity
        Its id, role, panel shape (gain, row, column) and zone.
    storage : Storage
        Where its files are.
    zone : zoneinfo.ZoneInfo
        The zone in which stamps are read and written.
    """

    def __init__(self, storage: Storage, identity: Identity) -> None:
        self.storage = storage
        self.identity = identity
        self.zone = find_zone(identity.zone)
        self.log = Log(storage, identity)
        # One value, swapped whole: plans of one table are never looked up in those of another.
        self._checked: set[str] = set()
        self._plans: tuple[Table, dict[tuple[Any, ...], Plan]] = (Table.empty(), {})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.storage, self.identity)

    def __repr__(self) -> str:
        return f"<jfstore {self.role} repository {self.location}>"

    def _repr_html_(self) -> str:
        table = self.log.table()
        facts = {"id": self.id, "zone": self.identity.zone, "commits": table.seq, "versions": len(table)}
        return html_table(repr(self), [{**facts, "panels": len(table.panel_names)}])

    @property
    def id(self) -> str:
        """The repository's UUID."""
        return self.identity.id

    @property
    def role(self) -> str:
        """``test`` or ``real``."""
        return self.identity.role

    @property
    def detector(self) -> str:
        """The detector type, such as ``jungfrau``."""
        return self.identity.detector

    @property
    def panel_shape(self) -> tuple[int, int, int]:
        """(gain, row, column) of a panel."""
        return self.identity.panel_shape

    @property
    def location(self) -> str:
        """The directory or URL."""
        return self.storage.location

    @property
    def label(self) -> str:
        """The role and the location, for people."""
        return f"the {self.role} repository {self.location}"

    @property
    def panels(self) -> tuple[PanelId, ...]:
        """The panels that have versions."""
        return tuple(map(parse_panel, self.log.table().panel_names))

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
            If any panel has no valid constants; all such panels are named.
        Damaged
            If stored bytes that are needed are not what was written.
        """
        answer = self.find(target, [type], time, source=source, as_of=as_of, number=number, withdrawn=withdrawn)
        return self.read(answer, type, verify=verify, writable=writable, copy=copy)

    def read(
        self, answer: Answer, type: str, *, verify: bool = True, writable: bool = False, copy: bool = False
    ) -> CalibArray:
        """Return the array of one calibration type of `answer`; shape, dtype and errors as for `get`.

        The arrays of a replayed answer are compared with their hashes in any case.
        """
        versions = [selection.version for selection in answer.of(type)]
        verify = verify or answer.locked is not None
        return assemble(self.storage, versions, type, verify=verify, writable=writable, copy=copy)

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
    ) -> Answer:
        """Return which versions are valid for a detector, of `types` or of all; parameters and errors as for `get`."""
        names = check_types(types)
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
        key = (asked.panels, names, asked.time.ns, seq, number)
        plans = self._plans
        if plans[0] is not table:
            plans = self._plans = (table, {})
        plan = plans[1].get(key)
        if plan is None:
            plan = make_plan(table, asked, names, self.zone, seq, number)
            self._check_versions(selection.version for _, chosen in plan.by_type for selection in chosen)
            if len(plans[1]) >= _PLANS:
                plans[1].clear()
            plans[1][key] = plan
        notes = (*asked.notes, *plan.notes)
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
    ) -> tuple[Explanation, ...]:
        """Return for each panel and calibration type every candidate, and why it is valid or not.

        Parameters and errors are those of `find`; a panel without valid constants is explained, too.
        """
        names = check_types(types)
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        stated = partial(find_run_panels, table, seq)
        asked = resolve_target(target, time, source, self.zone, table.panel_names, stated)
        last = table.seq if seq is None else seq
        return tuple(
            explain(table, panel, asked.time.ns, name, self.zone, last)
            for panel in map(str, asked.panels)
            for name in names
        )

    def timeline(self, panel: str | PanelId, type: str, *, as_of: int | str | None = None) -> Timeline:
        """Return which version of a panel is valid when, for one calibration type; iterates over intervals."""
        calib_type(type)
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        return timeline(table, str(resolve_panel(str(panel), table.panel_names)), type, seq)

    def seq_of(self, as_of: int | str | None) -> int | None:
        """Return the seq that `as_of` means.

        Parameters
        ----------
        as_of : int, str or None
            A seq or its digits; ``<repository id>:<seq>``; a tag; a time or a date. Of None the result is None.

        Raises
        ------
        BadValue
            If it is none of these, or beyond the last commit.
        Refused
            If it names a commit of another repository.
        """
        return resolve_as_of(self.log, self.identity, as_of)

    def versions(self, as_of: int | str | None = None) -> Sequence[Version]:
        """Return every version, in the order in which they were added."""
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        return [version for version in table.version_list() if seq is None or version.seq <= seq]

    def summary(self, seq: int) -> CommitSummary:
        """Return who made commit `seq`, when and why."""
        return self.log.table(seq).summary(seq)

    def history(
        self,
        *,
        panel: Panels = None,
        user: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        text: str | None = None,
        last: int | None = None,
        op: str | None = None,
        as_of: int | str | None = None,
    ) -> tuple[LoggedCommit, ...]:
        """Return commits, oldest first, with the names of what each is about.

        Parameters
        ----------
        panel : panel or detector Ids, optional
            Only commits about these panels, or Ids that were declared the same: additions, closes, withdrawals and
            other statements. A part of an Id means all panels that it fits.
        user : str, optional
            Only commits of this user.
        since, until : str, datetime or Instant, optional
            Only commits made in this time; times as for `get`, or a date, which means its start or its end.
        text : str, optional
            Only commits that have this in their message, in upper or lower case.
        last : int, optional
            Only so many, the newest ones.
        op : str, optional
            Only commits of this operation, such as ``withdraw``.
        as_of : int or str, optional
            Only commits up to that one, as for `get`.

        Raises
        ------
        BadValue
            If an argument is not what it should be.
        NotFound
            If nothing is stored of any of the panels.
        """
        if last is not None and (type(last) is not int or last < 1):
            raise BadValue(f"the number of commits is an int from 1 on, not {last!r}")
        wanted = make_filter(self.zone, user=user, text=text, op=op, since=since, until=until)
        return tuple(list_commits(self, self.seq_of(as_of), wanted, panel, last))

    def commit(self, seq: int) -> Commit:
        """Return commit `seq` whole, read from the log; NotFound if it does not exist."""
        self.summary(seq)
        try:
            return read_commit(self.storage, seq)
        except FileNotFoundError:
            raise Damaged(f"{self.location}: commit {seq} is missing") from None

    def version(self, name: str) -> Version:
        """Return one version by its name ``<panel Id>/<stamp>/v<number>``, with source and origin.

        Raises
        ------
        BadValue
            If `name` is not the name of a version.
        NotFound
            If there is no such version; the nearest are named.
        """
        table = self.log.table()
        panel, stamp, number = parse_version(str(name), table.panel_names)
        wanted = version_name(str(panel), stamp, number)
        versions = table.version_list(table.rows(str(panel)))
        for version in versions:
            if version.name == wanted:
                for entry in self.commit(version.seq).versions:
                    if entry.name == wanted:
                        return entry
                raise Damaged(f"{self.location}: commit {version.seq} does not hold {wanted}, as the index says")
        near = nearest(wanted, (version.name for version in versions)) or nearest(str(panel), table.panel_names)
        raise NotFound(f"there is no version {wanted} in {self.location}", near)

    def show(self, name: str, *, as_of: int | str | None = None) -> VersionDetail:
        """Return everything about one version: its record, its commit and its file; errors as for `version`.

        Parameters
        ----------
        name : str
            Name ``<panel Id>/<stamp>/v<number>``.
        as_of : int or str, optional
            Whether it is withdrawn, and whether it exists, as of that commit; as for `get`.
        """
        seq = self.seq_of(as_of)
        version = self.version(name)
        if seq is not None and version.seq > seq:
            raise NotFound(f"there is no version {version.name} as of commit {seq}: commit {version.seq} added it")
        file = "" if version.closes else f"{self.location}/{version.file.path}"
        is_withdrawn = version.name in find_withdrawn(self.log.table(), seq)
        return VersionDetail(version, self.commit(version.seq), file, is_withdrawn)

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

    def list(
        self,
        panels: Panels = None,
        *,
        types: Sequence[str] | str | None = None,
        time: Time | tuple[Time | None, Time | None] | None = None,
        user: str | None = None,
        text: str | None = None,
        about: Mapping[str, str] | None = None,
        as_of: int | str | None = None,
    ) -> Listing:
        """Return what is stored and when it is valid, in the order in which it was added.

        Parameters
        ----------
        panels : panel or detector Ids, optional
            Only these panels. A part of an Id means all panels that it fits.
        types : sequence of str, optional
            Only versions that hold one of these calibration types.
        time : str, datetime or Instant, or a tuple of two, optional
            Only versions that are valid at this time, or at some time from the first to before the second; None in a
            tuple means the beginning or no end.
        user : str, optional
            Only what this user added.
        text : str, optional
            Only what was added with this in the message, in upper or lower case.
        about : mapping of str to str, optional
            Only versions that carry these texts. This reads the commits of all others, too.
        as_of : int or str, optional
            As the repository was then, as for `get`.
        """
        options: dict[str, Any] = {"user": user, "text": text, "about": about, "as_of": as_of}
        return list_versions(self, panels, types=types, time=time, **options)
