"""Filter commits and versions: by who made them, when, why and what for, by panels, times and texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jfstore.core.ids import KnownPanels, PanelId, match_panels
from jfstore.core.instants import BEGINNING, parse_instant, parse_time
from jfstore.core.records import STATEMENTS, Naming, RunPanels, SamePanel, Statement, Withdrawal
from jfstore.core.table import CommitSummary, Table
from jfstore.core.validity import FOREVER, find_joined_panels
from jfstore.errors import BadValue, Damaged, NotFound, nearest
from jfstore.repository.commits import commit_name

if TYPE_CHECKING:
    from jfstore.repository.browsing import BrowsableRepository
    from jfstore.repository.finding import Time

OPERATIONS = ("add", "close", *STATEMENTS)
Panels = Iterable[str | PanelId] | str | PanelId | None


@dataclass(frozen=True, slots=True)
class CommitFilter:
    """Which commits are wanted; made by `make_filter`. What is None restricts nothing; times are nanoseconds UTC."""

    user: str | None = None
    text: str | None = None
    op: str | None = None
    since: int | None = None
    until: int | None = None

    def accepts(self, commit: CommitSummary) -> bool:
        """Return whether a commit is wanted."""
        return (
            (self.user is None or commit.user == self.user)
            and (self.op is None or commit.op == self.op)
            and (self.since is None or commit.time >= self.since)
            and (self.until is None or commit.time <= self.until)
            and (self.text is None or self.text in commit.message.casefold())
        )


EVERY_COMMIT = CommitFilter()


def make_filter(
    zone: ZoneInfo,
    *,
    user: str | None = None,
    text: str | None = None,
    op: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
) -> CommitFilter:
    """Return a filter of commits.

    Parameters
    ----------
    zone : zoneinfo.ZoneInfo
        Zone in which stamps and dates are read.
    user : str, optional
        Who made the commit.
    text : str, optional
        Part of its message, in upper or lower case.
    op : str, optional
        Its operation, one of `OPERATIONS`.
    since, until : str, datetime or Instant, optional
        First and last time; of a date without a time its start and its end.

    Raises
    ------
    BadValue
        If there is no such operation, a time is not one, or the times are in the wrong order.
    """
    if op is not None and op not in OPERATIONS:
        raise BadValue(f"{op!r} is not an operation: {', '.join(OPERATIONS)}", nearest(str(op), OPERATIONS))
    first = None if since is None else _bound(since, zone, 0)
    last = None if until is None else _bound(until, zone, 1)
    if first is not None and last is not None and first > last:
        raise BadValue(f"nothing is since {since} and until {until}: the second time is before the first")
    return CommitFilter(user, None if text is None else text.casefold(), op, first, last)


def _bound(when: Time, zone: ZoneInfo, days: int) -> int:
    """Return an instant; of a date its start, or with `days` = 1 its end."""
    if isinstance(when, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", when, re.ASCII):
        try:
            return parse_time(f"{date.fromisoformat(when) + timedelta(days=days):%Y%m%d}000000", zone) - days
        except (ValueError, OverflowError) as error:
            raise BadValue(f"{when} is not a date: {error}") from None
    return parse_instant(when, zone).ns


def parse_span(time: Time | tuple[Time | None, Time | None] | None, zone: ZoneInfo) -> tuple[int, int] | None:
    """Return a time, or a range of two times, as a half-open interval in nanoseconds UTC; None means none."""
    if not isinstance(time, tuple):
        return None if time is None else (t := parse_instant(time, zone).ns, t + 1)
    start, end = time
    first = BEGINNING if start is None else parse_instant(start, zone).ns
    last = FOREVER if end is None else parse_instant(end, zone).ns
    if first >= last:
        raise BadValue(f"the range from {start} to {end} is empty: the second time is not after the first")
    return first, last


def read_texts(repository: BrowsableRepository, seqs: Iterable[int]) -> dict[str, Mapping[str, str]]:
    """Return by name the texts that the versions of some commits carry; those of versions without any are left out."""

    def read(seq: int) -> list[tuple[str, Mapping[str, str]]]:
        # Most commits have no texts: they need not be decoded.
        with suppress(OSError, Damaged):
            if b'"about"' not in repository.storage.read(commit_name(seq)):
                return []
        return [(version.name, version.about) for version in repository.commit(seq).versions if version.about]

    return {name: about for part in repository.storage.objects.each(read, set(seqs)) for name, about in part}


def find_panels(panels: Panels, known: KnownPanels) -> list[str] | None:
    """Return the panels that Ids, parts of Ids, or names fit, None for all; NotFound if none of them is known."""
    if panels is None:
        return None
    texts = [panels] if isinstance(panels, (str, PanelId)) else list(panels)
    if wrong := [text for text in texts if not isinstance(text, (str, PanelId))]:
        raise BadValue(f"a panel is an Id or a name, not {type(wrong[0]).__name__}")
    wanted = list(dict.fromkeys(panel for text in texts for panel in match_panels(str(text), known)))
    if wanted and not set(wanted) & known.keys():
        raise NotFound(f"panel {', '.join(wanted)}: no constants are stored", nearest(wanted[0], known))
    return wanted


def find_commits_of(table: Table, panels: Panels, as_of: int) -> set[int] | None:
    """Return the commits that are about one of `panels`, or an Id declared the same, None for all.

    They are those that added or closed something of it, withdrew or restored a version, or made a statement about it.
    """
    statements = [(seq, _panels_of(statement)) for seq, _, statement in table.statements if seq <= as_of]
    named_panels = [panel for _, named in statements for panel in named]
    wanted = find_panels(panels, KnownPanels([*table.panel_names, *named_panels], table.panel_names.names))
    if wanted is None:
        return None
    joined = {other for panel in wanted for other in find_joined_panels(table, panel, as_of)}
    found = {seq for panel in joined for seq in table.take(table.rows(panel))["seq"].tolist() if seq <= as_of}
    return found | {seq for seq, named in statements if joined & set(named)}


def _panels_of(statement: Statement) -> Sequence[str]:
    """Return the panels that a statement is about; none for tags and freezes."""
    match statement:
        case Withdrawal():
            return [name.partition("/")[0] for name in statement.versions]
        case SamePanel():
            return statement.panels
        case Naming():
            return statement.id.split("_")
        case RunPanels():
            return statement.detector.split("_")
        case _:
            return ()
