"""Plan the names of a gain tree: one for each start of validity of a panel, and what is valid then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jfstore.core.calib_types import order_types
from jfstore.core.ids import resolve_detector
from jfstore.core.instants import BEGINNING_STAMP
from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.core.validity import Interval, find_joined_panels, find_withdrawn, timeline
from jfstore.errors import NotFound

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
"""Names of panels that name a directory: psana's old command fails if a name in the tree has three dashes."""


@dataclass(frozen=True, slots=True)
class TreeStart:
    """A name of the tree, and what its directory is to hold: by calibration type the version that is valid."""

    name: str
    panel: str
    stamp: str
    content: Mapping[str, Version]

    @property
    def hashes(self) -> dict[str, str]:
        return {name: version.content[name] for name, version in self.content.items()}


def find_families(table: Table, panels: Sequence[str] | str | None, as_of: int) -> list[list[str]]:
    """Return the Ids of each physical panel that is asked for; all panels if `panels` is None."""
    texts = [panels] if isinstance(panels, str) else panels
    if texts is None:
        asked = list(table.panel_names)
    else:
        asked = [str(panel) for text in texts for panel in resolve_detector(str(text), table.panel_names)]
    if unknown := [panel for panel in asked if not any(map(table.types_of, find_joined_panels(table, panel, as_of)))]:
        raise NotFound(f"panel {', '.join(unknown)}: no constants are stored")
    families: dict[frozenset[str], list[str]] = {}
    for panel in asked:
        family = find_joined_panels(table, panel, as_of)
        families.setdefault(frozenset(family), sorted(family))
    return list(families.values())


def _timelines(table: Table, panel: str, types: Iterable[str], as_of: int) -> dict[str, list[Interval]]:
    return {name: list(timeline(table, panel, name, as_of)) for name in types}


def plan_names(table: Table, family: Sequence[str], types: Sequence[str], as_of: int) -> list[TreeStart]:
    """Return the names of a physical panel under each of its Ids: one for each start at which something is valid."""
    by_start: dict[int, dict[str, Version]] = {}
    stamps: dict[int, str] = {}
    lines = _timelines(table, family[0], types, as_of)
    starts = sorted({interval.start for line in lines.values() for interval in line})
    for name, line in lines.items():
        stamps |= {interval.start: interval.version.stamp for interval in line}
        place = -1
        for start in starts:
            while place + 1 < len(line) and line[place + 1].start <= start:
                place += 1
            if place >= 0 and not line[place].version.closes:
                by_start.setdefault(start, {})[name] = line[place].version
    return [
        TreeStart(make_tree_name(panel, stamps[start]), panel, stamps[start], by_start[start])
        for panel in family
        for start in starts
        if start in by_start
    ]


def make_tree_name(panel: str, stamp: str) -> str:
    return panel if stamp == BEGINNING_STAMP else f"{panel}-{stamp}"


def find_closes(
    table: Table, family: Sequence[str], types: Sequence[str], as_of: int
) -> list[tuple[Version, tuple[str, ...]]]:
    """Return the closes before which something was valid, and for which calibration types."""
    closed: dict[str, tuple[Version, set[str]]] = {}
    for name, line in _timelines(table, family[0], types, as_of).items():
        was_valid = False
        for interval in line:
            if interval.version.closes and was_valid:
                closed.setdefault(interval.version.name, (interval.version, set()))[1].add(name)
            was_valid = was_valid or not interval.version.closes
    return [(close, order_types(names)) for close, names in closed.values()]


def list_withdrawn(table: Table, family: Sequence[str], types: Sequence[str], as_of: int) -> Iterator[str]:
    withdrawn = find_withdrawn(table, as_of)
    for panel in family:
        for version in table.version_list(table.rows(panel)):
            if version.name in withdrawn and version.seq <= as_of and {*version.content} & {*types}:
                yield version.name


def find_directory_names(table: Table) -> dict[str, str]:
    """Return the name of each panel that has one, under all its Ids; one such as M044 is preferred."""
    found: dict[str, str] = {}
    for name, panel in sorted(table.panel_names.names.items(), key=lambda pair: pair[0][0] != "M"):
        if "_" not in panel and _PLAIN_NAME.fullmatch(name):
            for other in find_joined_panels(table, panel):
                found.setdefault(other, name)
    return found


def number_directory(base: str, number: int) -> str:
    """Return the name of a panel's directory: M044, M044-2, ...; of a panel without a name <panel Id>.1, ..."""
    if "-" in base:  # a bare Id would be a name for the constants from the beginning
        return f"{base}.{number}"
    return base if number == 1 else f"{base}-{number}"


def panel_of_name(name: str) -> str:
    """Return the panel Id in a name of a tree."""
    return "-".join(name.split("-")[:3]).lower()
