"""List versions with their validity, and commits, as records for tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.instants import Instant, instant_at
from jfstore.core.records import Commit, Provenance, Version
from jfstore.core.statements import subjects_of
from jfstore.core.table import Table
from jfstore.core.validity import Timeline, find_joined_panels, find_withdrawn, timeline
from jfstore.repository.answer import html_table
from jfstore.repository.commits import read_provenance
from jfstore.repository.filtering import (
    EVERY_COMMIT,
    CommitFilter,
    Panels,
    find_commits_of,
    find_panels,
    make_filter,
    parse_span,
    read_texts,
)

if TYPE_CHECKING:
    from jfstore.repository.browsing import BrowsableRepository
    from jfstore.repository.finding import Time


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A stored version and when it is valid.

    Attributes
    ----------
    name, panel, number
        The version's name, its panel Id and its number.
    start : Instant
        Start of validity.
    types : tuple of str
        The calibration types that it holds and that were asked for.
    ends : tuple of Instant or None
        For each of `types` the next start of validity, None if there is none.
    current : tuple of str
        Those of `types` that no higher number of the same stamp has superseded.
    content : tuple of (str, str)
        BLAKE3 by calibration type, of all types that it holds.
    seq, user, time, message
        The commit that added it.
    is_close : bool
        Whether nothing is valid from its start on, for `types`.
    is_withdrawn : bool
        Whether it was withdrawn, so that it is not valid.
    about : mapping of str to str, or None
        The texts that it carries; None unless they were filtered by or asked for, since only commits have them.
    source : str or None
        The file, directory or version that it was made of; None unless it was asked for.
    """

    name: str
    panel: str
    number: int
    start: Instant
    types: tuple[str, ...]
    ends: tuple[Instant | None, ...]
    current: tuple[str, ...]
    content: tuple[tuple[str, str], ...]
    seq: int
    user: str
    time: Instant
    message: str
    is_close: bool = False
    is_withdrawn: bool = False
    about: Mapping[str, str] | None = None
    source: str | None = None


class Listing(tuple[ListedVersion, ...]):
    """Listed versions; a tuple that prints as a table in notebooks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<jfstore listing of {len(self)} versions>"

    def _repr_html_(self) -> str:
        def row(listed: ListedVersion) -> dict[str, Any]:
            ends = ", ".join(dict.fromkeys("-" if end is None else end.stamp for end in listed.ends))
            return {
                "version": listed.name,
                "valid to": ends,
                "types": ", ".join(listed.types),
                "user": listed.user,
                "time": listed.time.stamp,
                "message": listed.message,
            }

        return html_table(repr(self), map(row, self))


def list_versions(
    repository: BrowsableRepository,
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
    """Return what is stored; see `Repository.list`."""
    seq = repository.seq_of(as_of)
    table = repository.log.table(seq)
    wanted = find_panels(panels, table.panel_names)
    if wanted is not None:
        wanted = [name for panel in wanted for name in find_joined_panels(table, panel, seq)]
    names = (types,) if isinstance(types, str) else types
    span = parse_span(time, repository.zone)
    rows = None if wanted is None else [row for panel in sorted(set(wanted)) for row in table.rows(panel).tolist()]
    lister = _Lister(repository, table, seq, make_filter(repository.zone, user=user, text=text))
    found = [
        listed
        for version in table.version_list(rows)
        if version.seq <= (table.seq if seq is None else seq) and (listed := lister.describe(version, names, span))
    ]
    if about:
        texts = read_texts(repository, (listed.seq for listed in found))
        with_texts = (replace(listed, about=texts.get(listed.name, {})) for listed in found)
        found = [listed for listed in with_texts if about.items() <= (listed.about or {}).items()]
    if sources:
        origins = read_provenance(repository.storage, ((listed.name, listed.seq) for listed in found))
        known = [origins.get(listed.name, Provenance(None, {})) for listed in found]
        found = [replace(one, source=o.source, about=o.about) for one, o in zip(found, known, strict=True)]
    return Listing(found)


class _Lister:
    """Describes the versions of one table; each timeline and each commit is looked at once."""

    def __init__(self, repository: BrowsableRepository, table: Table, as_of: int | None, wanted: CommitFilter) -> None:
        self._wanted = wanted
        self._zone, self._table, self._as_of = repository.zone, table, as_of
        self._withdrawn = find_withdrawn(table, as_of)
        self._timelines: dict[tuple[str, str], tuple[Timeline, frozenset[str]]] = {}
        self._commits: dict[int, tuple[str, Instant, str] | None] = {}

    def describe(
        self, version: Version, types: Sequence[str] | None, span: tuple[int, int] | None
    ) -> ListedVersion | None:
        """Return a version's record; None if it is not wanted, holds none of `types`, or is not valid in `span`."""
        held = version.closes or tuple(version.content)
        names = tuple(name for name in held if types is None or name in types)
        commit = self._commit(version.seq) if names else None
        if commit is None:
            return None
        # Each type has its own validity: a later version may hold one of the pair only.
        ends: list[int | None] = []
        current: list[str] = []
        is_valid = span is None
        for name in names:
            line, valid = self._timeline(version.panel, name)
            end = line.end(line.place(version.start))
            ends.append(end)
            if version.name in valid:
                current.append(name)
                is_valid = is_valid or _meets(span, version.start, end)
        if not is_valid:
            return None
        user, time, message = commit
        return ListedVersion(
            name=version.name,
            panel=version.panel,
            number=version.number,
            start=Instant(version.start, version.stamp),
            types=names,
            ends=tuple(None if end is None else instant_at(end, self._zone) for end in ends),
            current=tuple(current),
            content=tuple(version.content.items()),
            seq=version.seq,
            user=user,
            time=time,
            message=message,
            is_close=bool(version.closes),
            is_withdrawn=version.name in self._withdrawn,
        )

    def _timeline(self, panel: str, name: str) -> tuple[Timeline, frozenset[str]]:
        key = panel, name
        if key not in self._timelines:
            line = timeline(self._table, panel, name, self._as_of)
            names = (version.name for version in self._table.version_list(line.rows))
            self._timelines[key] = line, frozenset(names)
        return self._timelines[key]

    def _commit(self, seq: int) -> tuple[str, Instant, str] | None:
        """Return user, time and message of a commit; None if it is not wanted."""
        if seq not in self._commits:
            summary = self._table.summary(seq)
            fields = summary.user, instant_at(summary.time, self._zone), summary.message
            self._commits[seq] = fields if self._wanted.accepts(summary) else None
        return self._commits[seq]


def _meets(span: tuple[int, int] | None, start: int, end: int | None) -> bool:
    """Return whether the interval from `start` to `end` has a part of `span`."""
    return span is None or (start < span[1] and (end is None or span[0] < end))


@dataclass(frozen=True, slots=True)
class ComparedVersion:
    """Versions of one panel with the same start and content, by the name of the repository that has them."""

    panel: str
    start: Instant
    content: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, tuple[ListedVersion, ...]], ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The calibration types that they hold, or close."""
        first = next(versions[0] for _, versions in self.versions if versions)
        return first.types if first.is_close else tuple(name for name, _ in first.content)

    @property
    def current(self) -> dict[str, tuple[str, ...]]:
        """By repository, the calibration types that one of its versions is the newest of at that start."""
        return {
            name: tuple(sorted({one for version in versions for one in version.current}))
            for name, versions in self.versions
        }

    @property
    def is_different(self) -> bool:
        """Whether the repositories answer differently: what is current in one is not, or not stored, in another."""
        return len(set(self.current.values())) > 1


def compare_listings(listings: Mapping[str, Iterable[ListedVersion]]) -> tuple[ComparedVersion, ...]:
    """Return the versions of several repositories side by side, by panel and start; equal content is one row."""
    found: dict[tuple[Any, ...], dict[str, list[ListedVersion]]] = {}
    for name, listing in listings.items():
        for listed in listing:
            what = listed.types if listed.is_close else tuple(sorted(listed.content))
            key = listed.panel, listed.start.ns, listed.is_close, what
            found.setdefault(key, {}).setdefault(name, []).append(listed)

    def order(item: tuple[tuple[Any, ...], dict[str, list[ListedVersion]]]) -> tuple[Any, ...]:
        (panel, start, *_), by_name = item
        return panel, start, [[v.number for v in by_name[name]] for name in listings if name in by_name]

    return tuple(
        ComparedVersion(
            panel,
            next(iter(by_name.values()))[0].start,
            next(iter(by_name.values()))[0].content,
            tuple((name, tuple(by_name.get(name, ()))) for name in listings),
        )
        for (panel, *_), by_name in sorted(found.items(), key=order)
    )


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """A commit of the log and the names of what it is about: versions, and of other statements panels or a tag."""

    seq: int
    time: Instant
    op: str
    user: str
    host: str
    message: str
    hash: str
    versions: tuple[str, ...]


def list_commits(
    repository: BrowsableRepository,
    as_of: int | None = None,
    wanted: CommitFilter = EVERY_COMMIT,
    panels: Panels = None,
    last: int | None = None,
) -> Iterator[LoggedCommit]:
    """Yield commits, oldest first; see `Repository.history`."""
    table = repository.log.table(as_of)
    until = table.seq if as_of is None else as_of
    of_panels = find_commits_of(table, panels, until)
    seqs = range(1, until + 1) if of_panels is None else sorted(of_panels)
    # From the newest one on, so that the last few of many commits are found at once.
    found = (s for s in map(table.summary, reversed(seqs)) if wanted.accepts(s))
    summaries = list(islice(found, last))[::-1]
    names: dict[int, list[str]] = {}
    if summaries:
        rows = table.rows_after(summaries[0].seq - 1)
        columns = table.take(rows)
        rows = rows[np.lexsort((columns["place"], columns["seq"]))]
        for version in table.version_list(rows):
            names.setdefault(version.seq, []).append(version.name)
    for seq, _, statement in table.statements:
        names[seq] = list(subjects_of(statement))
    for s in summaries:
        yield describe_commit(table, repository.zone, s.seq, names.get(s.seq, ()))


def describe_commit(table: Table, zone: ZoneInfo, seq: int, names: Iterable[str]) -> LoggedCommit:
    """Return the record of a commit that is about `names`."""
    s = table.summary(seq)
    return LoggedCommit(seq, instant_at(s.time, zone), s.op, s.user, s.host, s.message, s.hash, tuple(names))


@dataclass(frozen=True, slots=True)
class VersionDetail:
    """Everything about one version: its record with source, origin and texts, its commit, where its file is, and
    whether it is withdrawn."""

    version: Version
    commit: Commit
    file: str
    is_withdrawn: bool = False
