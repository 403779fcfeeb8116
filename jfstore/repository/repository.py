"""A repository: add versions of panel constants, find those that are valid, get a detector's array."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jfstore.core.arrays import Checked, Float32
from jfstore.core.calib_types import calib_type
from jfstore.core.ids import PanelId, parse_version, resolve_detector, version_name
from jfstore.core.instants import instant, now, zone_named
from jfstore.core.records import Commit, Identity, Version
from jfstore.core.table import CommitSummary, Table
from jfstore.core.validity import Selection, select
from jfstore.errors import BadValue, Damaged, JfstoreWarning, NotFound, Refused, nearest
from jfstore.repository.adding import (
    Added,
    Entry,
    checked_message,
    checked_request,
    known_content,
    known_origin,
    numbered,
    stored,
)
from jfstore.repository.assemble import assemble
from jfstore.repository.log import Log, read_commit
from jfstore.storage.base import Storage

_PLANS = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What is valid for a detector at ``t`` (nanoseconds UTC), as of commit ``as_of``: one selection per
    panel, in their order, for each calibration type."""

    panels: tuple[PanelId, ...]
    t: int
    as_of: int
    selections: Mapping[str, tuple[Selection, ...]]


class Repository:
    """One opened repository; made by `jfstore.open` and `jfstore.init`.

    Attributes
    ----------
    identity : Identity
        Its id, role, panel shape (gain, row, column) and zone.
    storage : Storage
        Where its files lie.
    zone : zoneinfo.ZoneInfo
        The zone in which stamps are read.
    """

    def __init__(self, storage: Storage, identity: Identity) -> None:
        self.storage = storage
        self.identity = identity
        self.zone = zone_named(identity.zone)
        self.log = Log(storage, identity)
        # Answers for the table as it is: a table is never changed, only replaced.
        self._plans_of: Table | None = None
        self._plans: dict[tuple[Any, ...], Answer] = {}

    def __repr__(self) -> str:
        return f"<jfstore {self.identity.role} repository {self.storage.location}>"

    # -- reading ---------------------------------------------------------------------------------

    def get(
        self,
        detector: str,
        type: str,
        when: str | datetime,
        *,
        as_of: int | str | None = None,
        number: int | None = None,
        verify: bool = True,
        writable: bool = False,
    ) -> Float32:
        """Return a detector's array of one calibration type, valid at a time.

        Parameters
        ----------
        detector : str
            Panel Id, or detector Id: panel Ids joined by ``_``.
        type : str
            Calibration type, such as ``pixel_gain``.
        when : str or datetime
            A stamp in the repository's zone, ISO 8601 with a zone, ``@N``, ``now``, or an aware datetime.
        as_of : int or str, optional
            Answer as the repository would have after that commit (int) or at that time (str).
        number : int, optional
            This version number of the valid stamp; for one panel only.
        verify : bool
            Whether the arrays are checked against their BLAKE3.
        writable : bool
            Whether the array may be written to; what is stored never changes.

        Returns
        -------
        ndarray
            C-contiguous float32 of shape (gain, panel, row, column), bit for bit as added. For panels whose
            size fills whole pages (real ones do) it is a map of the stored files, not a copy: all
            processes of a machine share it.

        Raises
        ------
        BadValue
            If an argument is not what it should be.
        NotFound
            If any panel has no valid constants; all such panels are named.
        Damaged
            If stored bytes that are needed are not what was written.
        """
        answer = self.find(detector, [type], when, as_of=as_of, number=number)
        return self.read(answer, type, verify=verify, writable=writable)

    def read(self, answer: Answer, type: str, *, verify: bool = True, writable: bool = False) -> Float32:
        """Return the array of one calibration type of `answer`; shape, dtype and errors as for `get`."""
        versions = [selection.version for selection in answer.selections[type]]
        return assemble(self.storage, versions, type, verify=verify, writable=writable)

    def find(
        self,
        detector: str,
        types: Sequence[str],
        when: str | datetime,
        *,
        as_of: int | str | None = None,
        number: int | None = None,
    ) -> Answer:
        """Return which versions are valid for a detector; parameters and errors as for `get`.

        Warns
        -----
        JfstoreWarning
            If two of `types` of a panel come from different versions.
        """
        types = (types,) if isinstance(types, str) else tuple(dict.fromkeys(types))
        for name in types:
            calib_type(name)
        if number is not None and type(number) is not int:
            raise BadValue(f"a version number is an int, not {number!r}")
        t = instant(when, self.zone)
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        if self._plans_of is not table:
            self._plans_of, self._plans = table, {}
        detector = str(detector)
        key = (detector, types, t, seq, number)
        if key not in self._plans:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            self._plans[key] = self._plan(table, *key)
        answer = self._plans[key]
        _warn_of_mixed(answer.selections)
        return answer

    def _plan(
        self, table: Table, detector: str, types: Sequence[str], t: int, seq: int | None, number: int | None
    ) -> Answer:
        panels = resolve_detector(detector, table.panel_rows)
        if number is not None and len(panels) > 1:
            raise BadValue("a version number (-v) is for one panel: numbers of different panels have nothing in common")
        # By what is wrong, the type left out: the pair is mostly missing together.
        missing: dict[str, list[str]] = {}
        near: tuple[str, ...] = ()
        found: dict[str, list[Selection]] = {name: [] for name in types}
        for panel in panels:
            for name in types:
                try:
                    found[name].append(select(table, str(panel), t, name, self.zone, seq, number))
                except NotFound as error:
                    missing.setdefault(error.message.replace(name, "{}", 1), []).append(name)
                    near = error.nearest
        if missing:
            lines = [line.replace("{}", " and ".join(names), 1) for line, names in missing.items()]
            raise NotFound("; ".join(lines), near if len(lines) == 1 else ())
        return Answer(panels, t, table.seq if seq is None else seq, {name: tuple(s) for name, s in found.items()})

    def seq_of(self, as_of: int | str | None) -> int | None:
        """Return the seq that `as_of` means: an int or its digits is one, anything else a time.

        Raises
        ------
        BadValue
            If it is beyond the last commit, or is no time.
        """
        if as_of is None:
            return None
        if not isinstance(as_of, (int, str)):
            raise BadValue(f"as of is a seq or text, not {type(as_of).__name__}")
        if isinstance(as_of, int) or re.fullmatch(r"[0-9]+", as_of, re.ASCII):
            seq = int(as_of) if isinstance(as_of, int) or len(as_of) < 19 else 10**18
            if seq < 0:
                raise BadValue(f"as of {seq}: commits are numbered from 1")
            # Damage beyond `seq` does not matter, so ask for no more than is needed.
            if seq > (last := self.log.table(seq).seq):
                hint = "; a time is written as ISO 8601 with a zone, or @ and Unix seconds" if seq > 10**8 else ""
                raise BadValue(f"as of {as_of} is beyond the last commit, {last}{hint}")
            return seq
        t = instant(as_of, self.zone)
        if t > now():
            raise BadValue(f"as of {as_of} is in the future: what the answer will be is not known yet")
        # Damage beyond the commit that is found does not matter.
        seq = int(self.log.table(0).commits["time"].searchsorted(t, side="right"))
        return min(seq, self.log.table(seq + 1).seq)

    def versions(self, as_of: int | str | None = None) -> list[Version]:
        """Return every version, in the order in which they were added."""
        seq = self.seq_of(as_of)
        table = self.log.table(seq)
        return table.version_list(None if seq is None else (table.versions["seq"] <= seq).nonzero()[0])

    def summary(self, seq: int) -> CommitSummary:
        """Return who made commit `seq`, when and why."""
        return self.log.table(seq).summary(seq)

    def history(self) -> list[CommitSummary]:
        """Return a summary of every commit, oldest first."""
        table = self.log.table()
        return [table.summary(seq) for seq in range(1, table.seq + 1)]

    def commit(self, seq: int) -> Commit:
        """Return commit `seq` whole, read from the log; NotFound if there never was one."""
        self.summary(seq)
        try:
            return read_commit(self.storage, seq)
        except FileNotFoundError:
            raise Damaged(f"{self.storage.location}: commit {seq} is missing") from None

    def version(self, name: str) -> Version:
        """Return one version by its name ``<panel Id>/<stamp>/v<number>``, with source and origin.

        Raises
        ------
        BadValue
            If `name` is no version's name.
        NotFound
            If there is no such version; the nearest are named.
        """
        table = self.log.table()
        panel, stamp, number = parse_version(name, table.panel_rows)
        wanted = version_name(str(panel), stamp, number)
        there = table.version_list(table.rows(str(panel)))
        for version in there:
            if version.name == wanted:
                for entry in self.commit(version.seq).versions:
                    if entry.name == wanted:
                        return entry
                raise Damaged(
                    f"{self.storage.location}: commit {version.seq} does not hold {wanted}, as the index says"
                )
        near = nearest(wanted, (version.name for version in there)) or nearest(str(panel), table.panel_rows)
        raise NotFound(f"there is no version {wanted}", near)

    def panel_array(self, version: Version, type: str, *, verify: bool = True) -> Float32:
        """Return one array of one version, float32 of shape (gain, row, column), read-only.

        Raises
        ------
        NotFound
            If the version does not hold `type`.
        Damaged
            If its file is missing or not what was stored.
        """
        return assemble(self.storage, [version], type, verify=verify)[:, 0]

    # -- writing ---------------------------------------------------------------------------------

    def add(
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
            What to add; taken one by one, so that no more than one need be in memory.
        message : str
            Why, for the log.
        request : str, optional
            32 hexadecimal digits; a repetition with the same request never adds twice.
        once : bool
            Skip also what the panel and stamp ever held, not only what they hold now.
        by_origin : bool
            Skip instead what came from the same origin before, and add all else, also content that is there.
        dry_run : bool
            Store nothing; say what would be added.

        Raises
        ------
        BadValue
            If the message or the request is not acceptable, or an array has another shape.
        Damaged
            If the log cannot be read to its end.
        Refused
            If this is a mirror, or the place cannot publish.
        Busy, InDoubt
            As `Log.append`.
        """
        checked_message(message)
        request = checked_request(request)
        if self.identity.mirror_of is not None:
            raise Refused(
                f"{self.storage.location} is a mirror of {self.identity.mirror_of}: add to that one, "
                "or make this one a repository of its own with jfstore mirror --detach"
            )
        table = self.log.table()
        if done := table.find_request(request):
            return self._repeated(done, entries, table, request)
        if not dry_run:
            self.log.make_sure()
        pending = list(stored(self.storage, self.identity, entries, table, dry_run))
        unchanged: list[tuple[str, str]] = []

        def versions_for(table: Table, seq: int) -> list[Version]:
            unchanged.clear()
            known = known_origin(table, self.commit, pending) if by_origin else known_content(table, once)
            return list(numbered(pending, table, seq, known, unchanged))

        if dry_run:
            return Added(table.seq, tuple(versions_for(table, table.seq + 1)), tuple(unchanged))
        seq, versions = self.log.append("add", message, request, versions_for)
        return Added(seq, versions, tuple(unchanged))

    def _repeated(self, seq: int, entries: Iterable[Entry], table: Table, request: str) -> Added:
        """Return what commit `seq` added, made sure to survive; Refused if `request` was for something else."""
        asked = [(v.panel, v.stamp, v.content) for v in stored(self.storage, self.identity, entries, table, True)]
        versions = table.version_list((table.versions["seq"] == seq).nonzero()[0])
        if not all((version.panel, version.stamp, version.content) in asked for version in versions):
            raise Refused(f"request {request} was for another change, commit {seq}")
        self.log.append("add", "repeated", request, lambda _table, _seq: ())
        return Added(seq, tuple(versions), ())

    def rebuild_index(self) -> None:
        """Make the index anew from the log, whatever the present one says."""
        self.log.rebuild_index()

    def entry_of(self, version: Version) -> Entry:
        """Return `version` as something to add to another repository: same content, origin kept."""
        version = self.version(version.name)  # with what only its commit says
        arrays = {
            array.type: Checked(self.panel_array(version, array.type).copy(), array.converted_from)
            for array in version.arrays
        }
        origin = version.origin or {
            "repository": self.identity.id,
            "version": version.name,
            "seq": version.seq,
            "commit": self.summary(version.seq).hash,
        }
        return Entry(version.panel, version.stamp, version.start, arrays, version.source, origin)


def _warn_of_mixed(found: Mapping[str, Sequence[Selection]]) -> None:
    for selections in zip(*found.values(), strict=True):
        if len({selection.version.name for selection in selections}) > 1:
            named = ", ".join(f"{selection.type} from {selection.version.name}" for selection in selections)
            warnings.warn(f"the constants come from different versions: {named}", JfstoreWarning, stacklevel=4)
