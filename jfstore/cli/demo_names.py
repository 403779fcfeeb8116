"""Name what the demo's runs of LCLS-II have: the experiment, the runs, and the panels with their Ids."""

from __future__ import annotations

EXPERIMENT = "mfx101332224"
COUNT = 32
_SOFTWARE, _FIRMWARE, _BOARD, _MODULE = 0x8000000020000, 0x230920, 0x2000, 0x2C
_NEW_FIRMWARE, CHANGED = 0x230921, 17
"""Segment whose firmware is new in the last run."""

RUNS = {5: 1743181200, 7: 1743184800, 8: 1743267600, 9: 1743271200, 20: 1743440400}
"""Start of each run in Unix seconds; 5 and 8 are dark runs, on two days at 10 o'clock in Los Angeles."""
LAST = max(RUNS)


def name_panels(run: int) -> list[str]:
    """Return the Ids of the panels of a run, in the order of the segments."""
    firmware = [_NEW_FIRMWARE if run == LAST and segment == CHANGED else _FIRMWARE for segment in range(COUNT)]
    return [
        f"{_SOFTWARE:x}-{version:x}-{_BOARD + segment << 16 | _MODULE + segment:x}"
        for segment, version in enumerate(firmware)
    ]
