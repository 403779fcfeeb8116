"""Find the valid versions for a question: resolve the detector or run, the time and as-of, and select."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jfstore.core.calib_types import PAIRS
from jfstore.core.ids import PanelId, resolve_detector
from jfstore.core.instants import BEGINNING, Instant, find_zone, instant_at, now, parse_instant, parse_time
from jfstore.core.records import Identity, Tag
from jfstore.core.table import Table
from jfstore.core.validity import Selection, find_joined_panels, select, timeline
from jfstore.errors import BadValue, NotFound, Refused
from jfstore.repository.log import Log
from jfstore.repository.run_panels import RunStatements, fill_panels
from jfstore.runs.dataset import is_dataset

if TYPE_CHECKING:
    from jfstore.runs.run import Jungfrau, Run

Time = str | datetime | Instant
_COMMIT_OF_REPOSITORY = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}):([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """Panels and an instant, and the run and its Jungfrau that they come from, if they do."""

    panels: tuple[PanelId, ...]
    time: Instant
    run: Run | None = None
    jungfrau: Jungfrau | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_high_g0(self) -> bool | None:
        """Whether the first gain range of the run is the high one; None without a run, or if it does not say."""
        return None if self.jungfrau is None else self.jungfrau.has_high_g0


def resolve_target(
    target: str | PanelId,
    time: Time | None,
    source: str | None,
    zone: ZoneInfo,
    known: Iterable[str],
    stated: Callable[[], RunStatements] = tuple,
) -> Target:
    """Return the panels and the instant that are meant.

    Parameters
    ----------
    target : str or PanelId
        Panel or detector Id, or a dataset such as ``exp=xcsls3716:run=631``.
    time : str, datetime, Instant or None
        The time; None for a dataset, whose run says it.
    source : str or None
        Which Jungfrau of the run; None if it has one only.
    zone : zoneinfo.ZoneInfo
        Zone in which stamps are read.
    known : iterable of str
        Panel Ids among which a short one must be unique, and names.
    stated : callable
        Returns what the log states about the panels of runs whose configurations have no Ids; called for a run only.

    Raises
    ------
    BadValue
        If the target is not understood, or the time is missing or given twice.
    NotFound
        If the run does not exist, or has no such Jungfrau, no panel Ids or no start time.
    """
    if not isinstance(target, (str, PanelId)):
        raise BadValue(f"a detector is a panel Id, a detector Id or a dataset, not {type(target).__name__}")
    text = str(target)
    if not is_dataset(text):
        if source is not None:
            raise BadValue(f"{source!r} names a Jungfrau of a run, and {text} is not a dataset exp=EXP:run=RUN")
        if time is None:
            raise BadValue("the time is missing: give a time, or a run (exp=EXP:run=RUN) in place of the detector Id")
        instant = parse_instant(time, zone)
        return Target(resolve_detector(text, known), instant, notes=(instant.note,) if instant.note else ())
    if time is not None:
        raise BadValue(f"{text} says the time: leave out {time}, or give a detector Id")
    from jfstore.runs.run import jungfrau_of  # slow to load, and not needed for an Id

    run, bare = jungfrau_of(text, source)
    jungfrau, notes = fill_panels(run, bare, stated())
    panels = resolve_detector(jungfrau.require_id(run.label))
    start = instant_at(run.require_start(), zone)
    return Target(panels, start, run, jungfrau, (*run.notes, *run.problems, *notes))


@dataclass(frozen=True, slots=True)
class Plan:
    """The selections of an answer, which many answers can share."""

    by_type: tuple[tuple[str, tuple[Selection, ...]], ...]
    notes: tuple[str, ...]


def make_plan(
    table: Table,
    asked: Target,
    types: Sequence[str],
    zone: ZoneInfo,
    seq: int | None,
    number: int | None,
    place: str = "real",
) -> Plan:
    """Return the selections of every panel and type; NotFound names every panel that has none.

    It also names the command that explains it, for the repository at `place`.
    """
    if number is not None and len(asked.panels) > 1:
        raise BadValue("a version number (-v) is for one panel: numbers of different panels have nothing in common")
    failures: dict[str, dict[str, NotFound]] = {}
    found: dict[str, list[Selection]] = {name: [] for name in types}
    for panel in map(str, asked.panels):
        for name in types:
            try:
                found[name].append(select(table, panel, asked.time.ns, name, zone, seq, number))
            except NotFound as error:
                failures.setdefault(panel, {})[name] = error
    if failures:
        missing = _join_failures(failures, _suggest_explain(table, asked, failures, seq, place))
        for note in asked.notes:
            missing.add_note(note)
        failing = {name for by_type in failures.values() for name in by_type}
        if others := [name for name in types if name not in failing]:
            missing.add_note(f"{', '.join(others)} are valid for all panels: ask for these alone (-t)")
        raise missing
    by_type = tuple((name, tuple(selections)) for name, selections in found.items())
    return Plan(by_type, tuple(note_mixed_versions(found)))


def _suggest_explain(
    table: Table, asked: Target, failures: Mapping[str, Mapping[str, NotFound]], seq: int | None, place: str
) -> str:
    """Return which command says more, empty if the message says all: nothing is stored, or who closed the panel."""
    for panel, by_type in failures.items():
        for name in by_type:
            line = timeline(table, panel, name, seq)
            rows = [table.rows(other, name) for other in find_joined_panels(table, panel, seq)]
            if any(map(len, rows)) and line.place(asked.time.ns) < 0:
                when = asked.time.stamp if asked.time.ns == BEGINNING else asked.time.iso
                as_of = "" if seq is None else f" --as-of {seq}"
                return f"; jfstore explain {panel} -T {when} -t {name}{as_of} --repo {shlex.quote(place)} says why"
    return ""


def _join_failures(failures: Mapping[str, Mapping[str, NotFound]], hint: str) -> NotFound:
    """Return one error for all panels: panels that lack constants for the same reason are named together."""
    panels_by_reason: dict[str, list[str]] = {}
    near: tuple[str, ...] = ()
    for panel, by_type in failures.items():
        types_by_reason: dict[str, list[str]] = {}
        for name, error in by_type.items():
            reason = error.message.removeprefix(f"panel {panel}: ").replace(name, "{}", 1)
            types_by_reason.setdefault(reason, []).append(name)
            near = error.nearest
        for reason, names in types_by_reason.items():
            panels_by_reason.setdefault(reason.replace("{}", " or ".join(names), 1), []).append(panel)
    lines = [
        f"{'panel' if len(panels) == 1 else 'panels'} {', '.join(panels)}: {reason}"
        for reason, panels in panels_by_reason.items()
    ]
    return NotFound("; ".join(lines) + hint, near if len(lines) == 1 else ())


def note_mixed_versions(found: Mapping[str, Sequence[Selection]]) -> Iterator[str]:
    """Yield a note for each panel whose gains and offsets come from different versions."""
    pairs = [pair for pair in PAIRS if all(name in found for name in pair)]
    for selections in (chosen for pair in pairs for chosen in zip(*(found[name] for name in pair), strict=True)):
        if len({selection.version.name for selection in selections}) > 1:
            named = ", ".join(f"{selection.type} from {selection.version.name}" for selection in selections)
            yield f"the constants come from different versions: {named}"


def resolve_as_of(log: Log, identity: Identity, as_of: int | str | None) -> int | None:
    """Return the seq that `as_of` means; see `Repository.seq_of`."""
    if as_of is None:
        return None
    if not isinstance(as_of, (int, str)):
        raise BadValue(f"as of is a seq or text, not {type(as_of).__name__}")
    if isinstance(as_of, str) and (match := _COMMIT_OF_REPOSITORY.fullmatch(as_of)):
        if match[1].lower() != identity.id:
            raise Refused(f"commit {match[2]} is one of repository {match[1]}, and this one is {identity.id}")
        as_of = match[2]
    if isinstance(as_of, int) or re.fullmatch(r"[0-9]+", as_of, re.ASCII):
        seq = int(as_of) if isinstance(as_of, int) or len(as_of) < 19 else 10**18
        if seq < 0:
            raise BadValue(f"as of {seq}: commits are numbered from 1")
        # Damage beyond `seq` does not matter, so ask for no more than is needed.
        if seq > (last := log.table(seq).seq):
            hint = "; a time is written as ISO 8601 with a zone, or @ and Unix seconds" if seq > 10**8 else ""
            raise BadValue(f"as of {as_of} is beyond the last commit, {last}{hint}")
        return seq
    if (named := find_tag(log.table(0), as_of)) is not None:
        return named
    t = _as_of_time(as_of, find_zone(identity.zone))
    seq = log.table(0).seq_before(t)
    return min(seq, log.table(seq + 1).seq)


def find_tag(table: Table, name: str) -> int | None:
    """Return the commit that a tag names, None if there is no such tag."""
    tags = (statement for _, _, statement in table.statements if isinstance(statement, Tag))
    return next((statement.seq for statement in tags if statement.name == name), None)


def _as_of_time(as_of: str, zone: ZoneInfo) -> int:
    """Return the instant that `as_of` names; a date means its end in the repository's zone."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", as_of, re.ASCII):
        try:
            day = date.fromisoformat(as_of)
            end = parse_time(f"{day + timedelta(days=1):%Y%m%d}000000", zone) - 1
        except (ValueError, OverflowError) as error:
            raise BadValue(f"as of {as_of}: {error}") from None
        if parse_time(f"{day:%Y%m%d}000000", zone) <= now():
            return min(end, now())
    else:
        end = parse_time(as_of, zone)
    if end > now():
        raise BadValue(f"as of {as_of} is in the future: what the answer will be is not known yet")
    return end
