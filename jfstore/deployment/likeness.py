"""How like the values of a text file are to constants that are stored: equal, rounded, or different."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jfstore.core.records import Version

DECIMALS = {"pixel_gain": 4, "pixel_offset": 1}
"""To how many decimals psana's old commands rounded, ``%.4f`` and ``%.1f``."""

_MOST_DECIMALS = 6
_NEARLY_ALL = 0.9
_SAMPLE = 10_000


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of so many values of `version` how many are `different`, neither equal nor rounded; and whether all are
    equal, or all are rounded."""

    version: Version
    total: int
    different: int
    is_equal: bool
    is_rounded: bool


def decimals_of(slabs: Sequence[NDArray[np.float64]], calib_type: str) -> int:
    """Return to how many decimals nearly all values of `slabs` are rounded, as a sample of them tells: as the old
    command did, or up to six."""
    values = np.concatenate([slab.reshape(-1)[:: max(1, slab.size // _SAMPLE)] for slab in slabs])
    least = DECIMALS[calib_type]
    for decimals in range(least, _MOST_DECIMALS + 1):
        if np.count_nonzero(_on_step(values, decimals)) >= _NEARLY_ALL * values.size:
            return decimals
    return least


def _on_step(values: NDArray[np.float64], decimals: int) -> NDArray[np.bool_]:
    steps = values * 10**decimals
    on_step: NDArray[np.bool_] = np.abs(steps - np.rint(steps)) <= 1e-9 * np.abs(steps) + 1e-9
    return on_step


def compare(version: Version, values: NDArray[np.float64], stored: NDArray[np.float32], decimals: int) -> Likeness:
    """Return how like `values`, as a text has them with so many decimals, are to `stored`, the array of `version`."""
    with np.errstate(over="ignore"):
        equal = values.astype(np.float32) == stored
    # A value may have been rounded from float64, of which the stored one is half a float32 away at most.
    slack = 0.5 * 10.0**-decimals * (1 + 1e-6) + 0.5 * np.spacing(np.abs(stored)).astype(np.float64)
    rounded = _on_step(values, decimals) & (np.abs(values - stored) <= slack)
    different = int(values.size - np.count_nonzero(equal | rounded))
    return Likeness(version, values.size, different, bool(equal.all()), bool(rounded.all()))
