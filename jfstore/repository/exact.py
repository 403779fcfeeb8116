"""Find constants by name, whatever is valid: one version, or the last one of a panel at exactly a stamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jfstore.core.explaining import describe_commit, find_withdrawals
from jfstore.core.ids import PanelId, parse_version, resolve_panel, split_stamp, version_name
from jfstore.core.instants import Instant, instant_at, parse_instant
from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.core.validity import Selection, timeline
from jfstore.errors import BadValue, NotFound, nearest
from jfstore.repository.answer import Answer
from jfstore.repository.asked_types import check_types, find_types
from jfstore.repository.finding import note_mixed_versions

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a table: the zone of stamps, the types (None: those that there are), and the last commit."""

    table: Table
    zone: ZoneInfo
    types: Sequence[str] | None
    as_of: int


def answer_by_name(
    repository: ReadableRepository,
    target: str,
    types: Sequence[str] | str | None,
    seq: int | None,
    *,
    withdrawn: bool = False,
    others: Sequence[object] = (),
) -> Answer:
    """Return the constants that a name means as an answer for their start.

    Parameters
    ----------
    target : str
        ``<panel Id>/<stamp>/v<number>``, or ``<panel Id>-<stamp>``.
    types : sequence of str or None
        Calibration types; None for those that there are.
    seq : int or None
        Only what commits up to this one say counts.
    withdrawn : bool
        Whether a version that was withdrawn may be found by its name.
    others : sequence
        What else was asked for; all of it must be None.

    Raises
    ------
    NotFound
        If there is no such version, it is withdrawn or a close, or holds no such type.
    BadValue
        If the name is malformed, or more is asked for.
    """
    if any(other is not None for other in others):
        parts = split_stamp(target)
        hint = f"; for what is valid at a time, pass {parts[0]} -T {parts[1]}" if parts else ""
        raise BadValue(f"{target} says the version and the time: leave out the time, the source and the number{hint}")
    table = repository.log.table(seq)
    last = table.seq if seq is None else seq
    question = _Question(table, repository.zone, check_types(types), last)
    panel, start, found, notes = _find(question, target, withdrawn)
    by_type = tuple((name, (selection,)) for name, selection in found.items())
    return Answer((panel,), start, last, by_type, tuple(notes), repository=repository)


def _find(
    question: _Question, target: str, withdrawn: bool
) -> tuple[PanelId, Instant, dict[str, Selection], list[str]]:
    """Return the panel, the start of validity, the selection of each type, and notes."""
    if (parts := split_stamp(target)) is not None:
        if withdrawn:
            raise BadValue(
                f"a withdrawn version is asked for by its name <panel Id>/<stamp>/v<number>, not by {target}"
            )
        return _find_at_stamp(question, *parts)
    panel, stamp, number = parse_version(target, question.table.panel_names)
    version = _find_version(question, version_name(str(panel), stamp, number))
    notes = _check_withdrawn(question, version, withdrawn)
    selections = {name: _select(question, version, name) for name in question.types or version.content}
    notes += _note_other_holder(question, version, selections)
    return panel, version.valid_from, selections, notes


def _find_version(question: _Question, name: str) -> Version:
    table, panel = question.table, name.split("/")[0]
    versions = [v for v in table.version_list(table.rows(panel)) if v.seq <= question.as_of]
    found = next((version for version in versions if version.name == name), None)
    if found is None:
        near = nearest(name, (version.name for version in versions)) or nearest(panel, table.panel_names)
        raise NotFound(f"there is no version {name} as of commit {question.as_of}", near)
    if found.closes:
        raise NotFound(f"{name} closes {' and '.join(found.closes)}: it holds no constants")
    return found


def _check_withdrawn(question: _Question, version: Version, withdrawn: bool) -> list[str]:
    seq = find_withdrawals(question.table, question.as_of).get(version.name)
    if seq is None:
        return []
    text = f"{version.name} was withdrawn by {describe_commit(question.table, seq)}"
    if not withdrawn:
        raise NotFound(f"{text}; --withdrawn gets it all the same")
    return [text]


def _select(question: _Question, version: Version, name: str) -> Selection:
    """Return a version as the selection of a type, with the interval up to the next stamp."""
    version.array(name)  # NotFound if it holds none
    line = timeline(question.table, version.panel, name, question.as_of)
    later = line.starts[line.starts > version.start]
    end = instant_at(int(later[0]), question.zone) if len(later) else None
    return Selection(version, name, version.valid_from, end)


def _note_other_holder(question: _Question, version: Version, selections: dict[str, Selection]) -> list[str]:
    """Return a note for each type for which another version is valid at the version's start."""
    notes = []
    for name in selections:
        holder = timeline(question.table, version.panel, name, question.as_of).at(version.start)
        if holder is None or holder.name != version.name:
            what = "nothing" if holder is None else holder.name
            notes.append(f"{version.name} is not the valid {name} of its panel at {version.stamp}: {what} is")
    return notes


def _find_at_stamp(
    question: _Question, text: str, stamp: str
) -> tuple[PanelId, Instant, dict[str, Selection], list[str]]:
    """Return for each type the last candidate of a panel at exactly a stamp."""
    table = question.table
    panel = resolve_panel(text, table.panel_names)
    start = parse_instant(stamp, question.zone)
    found: dict[str, Selection] = {}
    known = find_types(table, str(panel), question.as_of)
    for name in question.types or sorted(known):
        line = timeline(table, str(panel), name, question.as_of)
        place = line.place(start.ns)
        if place < 0 or int(line.starts[place]) != start.ns:
            if question.types:
                stamps = [instant_at(int(ns), question.zone).stamp for ns in line.starts]
                raise NotFound(f"panel {panel}: no {name} starts at exactly {stamp}", nearest(stamp, stamps) or stamps)
            continue
        version = table.version_list(line.rows[[place]])[0]
        if version.closes:
            raise NotFound(f"panel {panel}: {name} is closed from {stamp} on, by {describe_commit(table, version.seq)}")
        found[name] = _select(question, version, name)
    if not found:
        near = nearest(str(panel), table.panel_names) if not known else ()
        raise NotFound(f"panel {panel}: no constants start at exactly {stamp}", near)
    return panel, start, found, list(note_mixed_versions({name: [one] for name, one in found.items()}))
