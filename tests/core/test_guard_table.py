"""The table of planted faults: how many of each kind the guard finds, and that it finds none in plausible constants.

The thresholds were set with `AsicPanel` and `WavePanel` and even seeds; the table is made with `ClusterPanel` and odd
seeds. The full set plants in 32 panels of real size and judges 10,000 plausible versions: ``pytest -m full -s``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from tests.makers.faults import FAULTS, ROUNDINGS
from tests.makers.guarded import Count, Table, count_false_alarms, make_panels, plant_all
from tests.makers.panels import AsicPanel, ClusterPanel, Panel, WavePanel

TYPES = ("pixel_gain", "pixel_offset")
REAL, HALF = (512, 1024), (256, 512)
HISTORIES = ("nothing", "others", "all")


def detectable(calib_type: str) -> Mapping[str, tuple[str, ...]]:
    """Return for every fault the histories with which it can be known."""
    found: dict[str, tuple[str, ...]] = {
        name: HISTORIES if calib_type in fault.alone else ("all",) for name, fault in FAULTS.items()
    }
    found |= dict.fromkeys(ROUNDINGS.values(), ("all",))
    found["gains as offsets, or offsets as gains"] = HISTORIES
    for name in ("another panel", "another panel, each with each"):
        found[name] = ("others", "all")
    return found


def check(table: Table, calib_type: str) -> Iterator[str]:
    """Yield the lines of the table; every fault that is detectable was found, and no other."""
    can_be_known = detectable(calib_type)
    yield f"{calib_type:40} {'nothing stored':>18} {'other panels':>18} {'and its own':>18}"
    for name in dict.fromkeys(name for name, _ in table):
        cells = []
        for history in HISTORIES:
            count: Count = table[name, history]
            expected = count.planted if history in can_be_known[name] else 0
            assert count.found == expected, (name, history, count)
            cells.append(f"{count.found} of {count.planted}" if expected else f"- ({count.noted} noted)")
        yield f"{name:40} " + " ".join(f"{cell:>18}" for cell in cells)


@pytest.mark.parametrize("calib_type", TYPES)
@pytest.mark.parametrize("kind", [AsicPanel, WavePanel, ClusterPanel])
def test_planted_faults_are_found(kind: type[Panel], calib_type: str) -> None:
    panels, stored = make_panels(kind, calib_type, range(1, 9, 2), HALF)
    print(*check(plant_all(panels, stored), calib_type), sep="\n")
    versions, alarms, notes = count_false_alarms(panels, stored, 3)
    assert (versions, alarms, notes) == (12, {}, 0)


@pytest.mark.full
@pytest.mark.parametrize("calib_type", TYPES)
def test_planted_faults_are_found_in_32_panels(calib_type: str) -> None:
    panels, stored = make_panels(ClusterPanel, calib_type, range(1, 65, 2), REAL)
    print("", *check(plant_all(panels, stored, exchange=True), calib_type), sep="\n")


@pytest.mark.full
def test_ten_thousand_plausible_versions_have_no_finding() -> None:
    total, alarms, notes = 0, Counter[str](), 0
    for kind in (ClusterPanel, AsicPanel, WavePanel):
        for calib_type in TYPES:
            for shape, sets, measurements in ((REAL, 1, 3), (HALF, 7, 8)):
                for first in range(1001, 1001 + 64 * sets, 64):
                    panels, stored = make_panels(kind, calib_type, range(first, first + 64, 2), shape)
                    versions, found, noted = count_false_alarms(panels, stored, measurements)
                    total, notes = total + versions, notes + noted
                    alarms.update(found)
    print(f"\n{total} plausible versions: {dict(alarms) or 'no'} findings, {notes} noted as unlike their past")
    assert total > 10_000
    assert (alarms, notes) == ({}, 0)
