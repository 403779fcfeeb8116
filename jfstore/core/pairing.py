"""Find panel Ids that may be one physical panel, by the numbers in them and by names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jfstore.core.ids import find_module_number, parse_panel
from jfstore.core.records import SamePanel
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels

_MODULE_NAME = re.compile(r"M0*([1-9][0-9]{0,4})", re.ASCII)
_FIELDS = ("software", "firmware", "board")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two panel Ids that may be one panel, the later one first, and why; `is_weak` if only a name says so."""

    panel: str
    other: str
    reason: str
    is_weak: bool = False


def find_pairs(
    table: Table, ids: Iterable[str], names: Mapping[str, str], age: Callable[[str], int], as_of: int
) -> list[Pair]:
    """Return pairs of Ids with the same serial or module number that nobody has declared the same, or not the same.

    Parameters
    ----------
    table : Table
        The table of the repository.
    ids : iterable of str
        Panel Ids in normal form.
    names : mapping of str to str
        By name the Id that it stands for: M044 may be the module with number 44.
    age : callable
        Returns when an Id was first used, in nanoseconds, so that a pair has the later one first.
    as_of : int
        Only what commits up to this one say counts.
    """
    groups: dict[tuple[str, int], list[str]] = {}
    for panel in sorted(set(ids)):
        module = find_module_number(panel)
        key = ("serial", parse_panel(panel).serial) if module is None else ("module", module)
        if key[1]:
            groups.setdefault(key, []).append(panel)
    finder = _Finder(table, age, as_of)
    pairs = [pair for group in groups.values() if len(group) > 1 for pair in finder.pair_group(group)]
    for name, panel in names.items():
        match = _MODULE_NAME.fullmatch(name)
        group = groups.get(("module", int(match[1])), []) if match and "_" not in panel else []
        if group and find_module_number(panel) is None:
            pairs += finder.pair_with_name(name, panel, group)
    return pairs


class _Finder:
    """Pairs the Ids of one group."""

    def __init__(self, table: Table, age: Callable[[str], int], as_of: int) -> None:
        self._table, self._age, self._as_of = table, age, as_of
        said = {
            frozenset(statement.panels): op
            for seq, op, statement in table.statements
            if isinstance(statement, SamePanel) and seq <= as_of
        }
        self._separate = {pair for pair, op in said.items() if op == "not_same_panel"}

    def pair_group(self, group: Sequence[str]) -> list[Pair]:
        """Pair each panel with the one that was used before it and is not declared another panel."""
        panels = self._join(group)
        pairs = []
        for number, panel in enumerate(panels):
            for other in reversed(panels[:number]):
                if not self._are_separate(panel, other):
                    pairs.append(Pair(panel[0], other[-1], _describe(panel[0], other[-1])))
                    break
        return pairs

    def pair_with_name(self, name: str, panel: str, group: Sequence[str]) -> list[Pair]:
        """Pair a panel that is named after its module with the panel that was used first with this module number."""
        named = find_joined_panels(self._table, panel, self._as_of)
        first = self._join(group)[0]
        if {*named} & {*first} or self._are_separate(named, first):
            return []
        number = find_module_number(first[0])
        return [Pair(first[0], panel, f"module number {number}, and the name {name}", is_weak=True)]

    def _join(self, group: Sequence[str]) -> list[list[str]]:
        """Return the physical panels of a group, each with its Ids in the group, all ordered by their first use."""
        families: dict[frozenset[str], list[str]] = {}
        for panel in group:
            family = frozenset(find_joined_panels(self._table, panel, self._as_of))
            families.setdefault(family, []).append(panel)
        ordered = [sorted(family, key=self._order) for family in families.values()]
        return sorted(ordered, key=lambda family: self._order(family[0]))

    def _order(self, panel: str) -> tuple[int, str]:
        return self._age(panel), panel

    def _are_separate(self, one: Iterable[str], other: Iterable[str]) -> bool:
        families = [
            {name for panel in part for name in find_joined_panels(self._table, panel, self._as_of)}
            for part in (one, other)
        ]
        return any(frozenset((a, b)) in self._separate for a in families[0] for b in families[1])


def _describe(panel: str, other: str) -> str:
    """Return what two Ids have in common, and in what they differ."""
    mine, its = parse_panel(panel), parse_panel(other)
    module = find_module_number(panel)
    if module is None:
        common = f"serial number {mine.serial:x}"
        pairs = [("moduleVersion", mine.module, its.module), ("firmwareVersion", mine.firmware, its.firmware)]
        texts = [f"{name} {old:x} and {new:x}" for name, new, old in pairs if new != old]
    else:
        common = f"module number {module}"
        values = [(format_software(p.module), f"{p.firmware:x}", f"{p.serial >> 16:x}") for p in (mine, its)]
        texts = [f"{name} {old} and {new}" for name, new, old in zip(_FIELDS, *values, strict=True) if new != old]
    return f"{common}; {', '.join(texts)}"


def format_software(packed: int) -> str:
    """Return a software version as people write it, from the number with four fields of 16 bits in LCLS-II's Ids.

    Examples
    --------
    >>> format_software(0x8000000020000)
    '8.0.2'
    """
    fields = [packed >> shift & 0xFFFF for shift in (48, 32, 16, 0)]
    return ".".join(map(str, fields[:3] if not fields[3] else fields))
