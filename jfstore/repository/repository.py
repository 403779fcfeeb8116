"""A repository: find and get constants that are valid, list what is stored, add versions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jfstore.core.arrays import Float32
from jfstore.core.calib_types import calib_type
from jfstore.core.ids import PanelId, parse_panel, parse_version, version_name
from jfstore.core.instants import start_of_validity, zone_named
from jfstore.core.records import Commit, Identity, Version
from jfstore.core.table import CommitSummary, Table
from jfstore.core.validity import Timeline, rejections, timeline
from jfstore.errors import BadValue, Damaged, NotFound, nearest
from jfstore.repository.adding import Added, Entry, add_entries, missing_type_notes
from jfstore.repository.answer import Answer, html_table
from jfstore.repository.assemble import assemble
from jfstore.repository.finding import Plan, Time, check_types, make_plan, resolve_as_of, resolve_target
from jfstore.repository.listing import Listing, LoggedCommit, VersionDetail, list_commits, list_versions
from jfstore.repository.log import Log, read_commit
from jfstore.repository.promoting import promote
from jfstore.storage.base import Storage

if TYPE_CHECKING:
    from jfstore.repository.entries import Given

_PLANS = 256
Progress = Callable[[int, int], None]


class Repository:
    """An open repository; made by `jfstore.open` and `jfstore.init`.

    It may be shared by threads, used after a fork, and pickled.

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
        self.zone = zone_named(identity.zone)
        self.log = Log(storage, identity)
        # One value, swapped whole: plans of one table are never looked up in those of another.
        self._plans: tuple[Table, dict[tuple[Any, ...], Plan]] = (Table.empty(), {})

    def __reduce__(self) -> tuple[Any, ...]:
        return Repository, (self.storage, self.identity)

    def __repr__(self) -> str:
        return f"<jfstore {self.role} repository {self.location}>"

    def _repr_html_(self) -> str:
        table = self.log.table()
        facts = {"id": self.id, "zone": self.identity.zone, "commits": table.seq, "versions": len(table.versions)}
        return html_table(repr(self), [{**facts, "panels": len(table.panel_rows)}])

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
    def panels(self) -> tuple[PanelId, ...]:
        """The panels that have versions."""
        return tuple(map(parse_panel, self.log.table().panel_rows))

    # -- reading ---------------------------------------------------------------------------------

    def get(
        self,
        target: str | PanelId,
        type: str,
        time: Time | None = None,
        *,
        source: str | None = None,
        as_of: int | str | None = None,
        number: int | None = None,
        verify: bool = True,
        writable: bool = False,
        copy: bool = False,
    ) -> Float32:
        """Return a detector's array of one calibration type, valid at a time or for a run.

        Parameters
        ----------
        target : str or PanelId
            Panel Id, detector Id (panel Ids joined by ``_``), or a dataset such as ``exp=xcsls3716:run=631``,
            which says the panels and the time.
        type : str
            Calibration type, such as ``pixel_gain``.
        time : str, datetime or Instant, optional
            A stamp in the repository's zone, ISO 8601 with a zone, ``@N``, ``now``, or an aware datetime.
        source : str, optional
            Which Jungfrau of the run: its source, alias or a part of the source.
        as_of : int or str, optional
            Answer as the repository would have after that commit (int) or at that time or date (str).
        number : int, optional
            Take this version number of the valid stamp; for one panel only.
        verify : bool
            Whether the arrays are checked against their BLAKE3.
        writable : bool
            Whether the array may be written to; what is stored never changes.
        copy : bool
            Whether the array is private memory. A mapped array dies with its process if the file is truncated.

        Returns
        -------
        ndarray
            C-contiguous float32 of shape (gain, panel, row, column), bit for bit as added. For panels whose
            gain ranges fill whole pages (real ones do) it maps the stored files: processes share the memory.

        Raises
        ------
        BadValue
            If an argument is not what it should be.
        NotFound
            If any panel has no valid constants; all such panels are named.
        Damaged
            If stored bytes that are needed are not what was written.
        """
        answer = self.find(target, [type], time, source=source, as_of=as_of, number=number)
        return self.read(answer, type, verify=verify, writable=writable, copy=copy)

    def read(
        self, answer: Answer, type: str, *, verify: bool = True, writable: bool = False, copy: bool = False
    ) -> Float32:
        """Return the array of one calibration type of `answer`; shape, dtype and errors as for `get`."""
        versions = [selection.version for selection in answer.of(type)]
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
    ) -> Answer:
        """Return which versions are valid for a detector, of `types` or of all; parameters and errors as for `get`."""
        names = check_types(types)
        if number is not None and type(number) is not int:
            raise BadValue(f"a version number is an int, not {number!r}")
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        asked = resolve_target(target, time, source, self.zone, table.panel_rows)
        key = (asked.panels, names, asked.time.ns, seq, number)
        plans = self._plans
        if plans[0] is not table:
            plans = self._plans = (table, {})
        plan = plans[1].get(key)
        if plan is None:
            plan = make_plan(table, asked, names, self.zone, seq, number)
            if len(plans[1]) >= _PLANS:
                plans[1].clear()
            plans[1][key] = plan
        notes = (*asked.notes, *plan.notes)
        last = table.seq if seq is None else seq
        return Answer(asked.panels, asked.time, last, plan.by_type, notes, asked.run, asked.jungfrau, self)

    def rejected(self, answer: Answer) -> dict[str, tuple[tuple[tuple[Version, str], ...], ...]]:
        """Return, by calibration type, for each panel the versions that were not selected, with the reasons."""
        table = self.log.table(answer.as_of)
        return {
            name: tuple(
                tuple(rejections(table, selection, answer.time.ns, self.zone, answer.as_of)) for selection in selections
            )
            for name, selections in answer.by_type
        }

    def timeline(self, panel: str | PanelId, type: str, *, as_of: int | str | None = None) -> Timeline:
        """Return which version of a panel is valid when, for one calibration type; iterates over intervals."""
        calib_type(type)
        seq = self.seq_of(as_of)
        return timeline(self.log.table(seq), str(parse_panel(str(panel))), type, seq)

    def seq_of(self, as_of: int | str | None) -> int | None:
        """Return the seq that `as_of` means; an int or its digits is one, anything else a time or a date."""
        return resolve_as_of(self.log, self.zone, as_of)

    def versions(self, as_of: int | str | None = None) -> Sequence[Version]:
        """Return every version, in the order in which they were added."""
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        return table.version_list(None if seq is None else (table.versions["seq"] <= seq).nonzero()[0])

    def summary(self, seq: int) -> CommitSummary:
        """Return who made commit `seq`, when and why."""
        return self.log.table(seq).summary(seq)

    def history(self) -> tuple[LoggedCommit, ...]:
        """Return every commit, oldest first, with the names of the versions that it added."""
        return tuple(list_commits(self))

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
        panel, stamp, number = parse_version(str(name), table.panel_rows)
        wanted = version_name(str(panel), stamp, number)
        versions = table.version_list(table.rows(str(panel)))
        for version in versions:
            if version.name == wanted:
                for entry in self.commit(version.seq).versions:
                    if entry.name == wanted:
                        return entry
                raise Damaged(f"{self.location}: commit {version.seq} does not hold {wanted}, as the index says")
        near = nearest(wanted, (version.name for version in versions)) or nearest(str(panel), table.panel_rows)
        raise NotFound(f"there is no version {wanted} in {self.location}", near)

    def show(self, name: str) -> VersionDetail:
        """Return everything about one version: its record, its commit and its file; errors as for `version`."""
        version = self.version(name)
        return VersionDetail(version, self.commit(version.seq), f"{self.location}/{version.file.path}")

    def panel_array(self, version: Version, type: str, *, verify: bool = True) -> Float32:
        """Return one array of one version, float32 of shape (gain, row, column), read-only."""
        return assemble(self.storage, [version], type, verify=verify)[:, 0]

    # -- writing ---------------------------------------------------------------------------------

    def add(
        self,
        target: str | PanelId,
        time: Time | None,
        arrays: Mapping[str, Given] | str | os.PathLike[str],
        message: str,
        *,
        source: str | None = None,
        provenance: str | None = None,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Added:
        """Add a version of a panel's constants, or of every panel of a detector, in one commit.

        Parameters
        ----------
        target, time, source
            The panels and the start of validity, as for `get`; the time of a run is floored to the second.
        arrays : mapping of str to ndarray or path, or path
            For each calibration type an array of shape (gain, panel, row, column), or (gain, row, column) of a
            single panel, or an .npy file of one; or the directory of the gain files of a single panel. float64 is
            rounded to float32; values that are not finite and gains of zero are refused.
        message : str
            Why, for the log.
        provenance : str, optional
            Where the arrays come from, for the record; default the paths of the files.
        request : str, optional
            32 hexadecimal digits; a repetition with the same request never adds twice.
        dry_run : bool
            Check everything and return what would be added, but store nothing.

        Raises
        ------
        BadValue
            If an argument or an array is not acceptable.
        JfstoreError
            As `find` for a run, and as `add_entries`.
        """
        from jfstore.repository.entries import make_entries, rounding_notes

        asked = resolve_target(target, time, source, self.zone, self.log.table().panel_rows)
        start = start_of_validity(asked.time, self.zone, floor=asked.run is not None or time == "now")
        entries = make_entries(asked.panels, start, arrays, self.panel_shape, provenance)
        if asked.run:
            text = f"valid from {asked.run.label}"
            entries = [Entry(e.panel, start, e.arrays, f"{e.source}, {text}" if e.source else text) for e in entries]
        added = self.add_entries(entries, message, request=request, dry_run=dry_run)
        notes = (*asked.notes, *rounding_notes(entries), *missing_type_notes(added.versions), *added.notes)
        return replace(added, notes=notes, run=asked.run)

    def add_entries(
        self,
        entries: Iterable[Entry],
        message: str,
        *,
        request: str | None = None,
        once: bool = False,
        by_origin: bool = False,
        dry_run: bool = False,
    ) -> Added:
        """Add versions, all in one commit; nothing is committed if nothing is new.

        Parameters
        ----------
        entries : iterable of Entry
            What to add; taken one by one, so that the arrays of only one need to be in memory.
        message : str
            Why, for the log.
        request : str, optional
            32 hexadecimal digits; a repetition with the same request never adds twice.
        once : bool
            Skip also content that the panel and stamp ever held, not only what they hold now.
        by_origin : bool
            Skip instead what came from the same origin before, and add all else, also content that is stored.
        dry_run : bool
            Check everything and return what would be added, but store nothing.

        Raises
        ------
        BadValue
            If the message, the request or an entry is not acceptable.
        Refused
            If this is a mirror, or the place cannot publish.
        Damaged, Busy, InDoubt
            If the log cannot be read to its end; as `Log.append`.
        """
        return add_entries(self, entries, message, request=request, once=once, by_origin=by_origin, dry_run=dry_run)

    def promote(
        self,
        versions: Sequence[str] | str,
        message: str,
        *,
        source: Repository,
        superseded: bool = False,
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Copy versions from `source` to this repository, in one commit; panel, stamp, content and origin are kept.

        Parameters
        ----------
        versions : sequence of str
            Names ``<panel Id>/<stamp>/v<number>`` in `source`.
        source : Repository
            The repository to copy from.
        superseded : bool
            Also copy versions that a higher number of the same stamp has superseded there.
        message, request, dry_run
            As for `add`.
        progress : callable
            Called with the number of versions read and their total.

        Raises
        ------
        NotFound
            If there is no such version.
        Refused
            If the repositories are the same or differ in zone or shape, or a version is superseded.
        """
        names = [versions] if isinstance(versions, str) else versions
        options: dict[str, Any] = {"request": request, "dry_run": dry_run, "progress": progress}
        added = promote(source, self, names, message, superseded=superseded, **options)
        return replace(added, notes=(*added.notes, *missing_type_notes(added.versions)))

    def rebuild_index(self) -> None:
        """Rebuild the index from the log, whatever the present one says."""
        self.log.rebuild_index()

    def list(
        self,
        panels: Iterable[str | PanelId] | str | PanelId | None = None,
        *,
        types: Sequence[str] | str | None = None,
        time: Time | None = None,
        as_of: int | str | None = None,
    ) -> Listing:
        """Return what is stored and when it is valid, in the order in which it was added.

        Parameters
        ----------
        panels : panel or detector Ids, optional
            Only these panels.
        types : sequence of str, optional
            Only versions that hold one of these calibration types.
        time : str, datetime or Instant, optional
            Only versions that are valid at this time.
        as_of : int or str, optional
            As the repository was then, as for `get`.
        """
        return list_versions(self, panels, types=types, time=time, as_of=as_of)
