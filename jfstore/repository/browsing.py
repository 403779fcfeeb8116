"""Define the part of a repository that says what is stored: versions, commits, timelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jfstore.core.calib_types import calib_type
from jfstore.core.ids import PanelId, parse_panel, parse_version, resolve_panel, split_stamp, version_name
from jfstore.core.instants import find_zone
from jfstore.core.records import Commit, Identity, Version
from jfstore.core.table import CommitSummary
from jfstore.core.validity import Timeline, find_withdrawn, timeline
from jfstore.errors import BadValue, Damaged, NotFound, nearest
from jfstore.repository.answer import html_table
from jfstore.repository.commits import read_commit
from jfstore.repository.filtering import Panels, make_filter
from jfstore.repository.finding import Time, resolve_as_of
from jfstore.repository.listing import Listing, LoggedCommit, VersionDetail, list_commits, list_versions
from jfstore.repository.log import Log
from jfstore.storage.base import Storage

if TYPE_CHECKING:
    pass


class BrowsableRepository:
    """The part of a `Repository` that says what is stored.

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
        """Return one version by its name, with source and origin.

        Parameters
        ----------
        name : str
            ``<panel Id>/<stamp>/v<number>``; or ``<panel Id>-<stamp>``, if one version starts at exactly that stamp.

        Raises
        ------
        BadValue
            If `name` is not the name of a version, or fits several; these are named.
        NotFound
            If there is no such version; the nearest are named.
        """
        table = self.log.table()
        if (parts := split_stamp(str(name))) is not None:
            wanted = self._name_only_version(str(resolve_panel(parts[0], table.panel_names)), parts[1])
            panel = parse_panel(wanted.partition("/")[0])
        else:
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

    def _name_only_version(self, panel: str, stamp: str) -> str:
        """Return the name of the version or close of `panel` that starts at exactly `stamp`."""
        table = self.log.table()
        names = [version.name for version in table.version_list(table.rows_at(panel, stamp))]
        if len(names) > 1:
            gone = find_withdrawn(table)
            texts = [f"{name} (withdrawn)" if name in gone else name for name in names]
            raise BadValue(f"{panel}-{stamp} fits several versions, write one in full: {', '.join(texts)}")
        if not names:
            stamps = [version.stamp for version in table.version_list(table.rows(panel))]
            near = nearest(stamp, stamps) or stamps[-3:] or nearest(panel, table.panel_names)
            raise NotFound(f"panel {panel}: nothing starts at exactly {stamp} in {self.location}", near)
        return names[0]

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

    def list(
        self,
        panels: Panels = None,
        *,
        types: Sequence[str] | str | None = None,
        time: Time | tuple[Time | None, Time | None] | None = None,
        user: str | None = None,
        text: str | None = None,
        about: Mapping[str, str] | None = None,
        sources: bool = False,
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
        sources : bool
            Whether each record says where the version comes from, and the texts that it carries. This reads commits.
        as_of : int or str, optional
            As the repository was then, as for `get`.
        """
        options: dict[str, Any] = {"user": user, "text": text, "about": about, "sources": sources, "as_of": as_of}
        return list_versions(self, panels, types=types, time=time, **options)
