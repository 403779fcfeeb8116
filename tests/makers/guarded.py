"""Judge constants as the guard does, without a repository: earlier versions and other panels are in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jfstore.core.guard import judge_levels
from jfstore.core.guard_pixels import Past, judge_pixels, may_be_alike
from jfstore.core.pattern import Pattern, make_pattern
from jfstore.core.records import Array
from jfstore.core.sketch import make_sketch
from tests.makers.faults import FAULTS, ROUNDINGS, round_to
from tests.makers.panels import Panel


@dataclass(frozen=True)
class Stored:
    """A version of a panel: its pattern, and the one for a quick look."""

    past: Past
    few: Pattern


def store(name: str, values: np.ndarray) -> Stored:
    """Return what the guard keeps of a version."""
    return Stored(Past(name, make_pattern(values)), make_pattern(values, few=True))


def judge(
    calib_type: str, values: np.ndarray, own: Sequence[Stored] = (), others: Sequence[Stored] = ()
) -> tuple[list[str], bool]:
    """Return the names of the findings, and whether the values are noted as unlike the panel's past."""
    values = np.ascontiguousarray(values, "<f4")
    found = judge_levels(Array(calib_type, "<f4", values.shape, "", None, make_sketch(values)))

    def find_others() -> Iterator[Past]:
        few = make_pattern(values, few=True)
        yield from (other.past for other in others if may_be_alike(few, other.few))

    more, unlike = judge_pixels(calib_type, values, make_pattern(values), [stored.past for stored in own], find_others)
    return list(dict.fromkeys(name for name, _ in [*found, *more])), unlike is not None and not found


def make_panels(
    kind: type[Panel], calib_type: str, seeds: Sequence[int], shape: tuple[int, int]
) -> tuple[list[Panel], list[Stored]]:
    """Return panels, and a stored version of each."""
    panels = [kind(seed, calib_type, shape) for seed in seeds]
    return panels, [store(f"{panel.seed}/v1", panel.measure(0)) for panel in panels]


@dataclass
class Count:
    """How many faults of a kind were planted, how many found, and how many only noted as unlike the panel's past."""

    planted: int = 0
    found: int = 0
    noted: int = 0


Table = dict[tuple[str, str], Count]
"""Counts by fault and by what is stored: ``nothing``, ``others`` (the other panels) or ``all``."""


def plant(
    table: Table, name: str, finding: str, calib_type: str, values: np.ndarray, own: Stored, others: Sequence[Stored]
) -> None:
    """Judge faulty values with each of three histories, and count."""
    for history, versions, panels in (("nothing", (), ()), ("others", (), others), ("all", (own,), others)):
        found, is_unlike = judge(calib_type, values, versions, panels)
        count = table.setdefault((name, history), Count())
        count.planted += 1
        count.found += finding in found
        count.noted += is_unlike


def plant_all(panels: Sequence[Panel], stored: Sequence[Stored], exchange: bool = False) -> Table:
    """Plant every fault in a measurement of each panel; with `exchange`, every panel in the place of each other."""
    table: Table = {}
    calib_type = panels[0].calib_type
    measured = [panel.measure(1) for panel in panels]
    for place, (panel, values) in enumerate(zip(panels, measured, strict=True)):
        others = [*stored[:place], *stored[place + 1 :]]
        for name, fault in FAULTS.items():
            if calib_type not in fault.past:
                continue
            faulty = fault.plant(values, measured[(place + 1) % len(panels)])
            plant(table, name, fault.finding, calib_type, faulty, stored[place], others)
        for form, name in ROUNDINGS.items():
            rounded = round_to(form)(panel.measure(0), values)
            plant(table, name, "rounded", calib_type, rounded, stored[place], others)
        kind = type(panel)(panel.seed, "pixel_offset" if calib_type == "pixel_gain" else "pixel_gain", panel.shape)
        plant(
            table, "gains as offsets, or offsets as gains", "kind", calib_type, kind.measure(1), stored[place], others
        )
        for number in range(len(panels)) if exchange else ():
            if number != place:
                name = "another panel, each with each"
                plant(table, name, "other-panel", calib_type, measured[number], stored[place], others)
    return table


def count_false_alarms(
    panels: Sequence[Panel], stored: Sequence[Stored], measurements: int
) -> tuple[int, dict[str, int], int]:
    """Judge plausible versions, each without a history and after the version before it.

    Returns
    -------
    tuple
        The number of versions, how often each finding was made, and how many were noted as unlike the panel's past.
    """
    versions, alarms, notes = 0, Counter[str](), 0
    for place, panel in enumerate(panels):
        others = [*stored[:place], *stored[place + 1 :]]
        own: list[Stored] = []
        for number in range(measurements):
            values = panel.measure(number)
            found, is_unlike = judge(panel.calib_type, values, own[-1:], others)
            versions, notes = versions + 1, notes + is_unlike
            alarms.update(found)
            own.append(store(f"v{number}", values))
    return versions, dict(alarms), notes
