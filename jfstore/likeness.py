"""How like the values of a text file are to constants that are stored: equal, rounded, or different."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jfstore.model import Version

STEPS = {"pixel_gain": 1e-4, "pixel_offset": 1e-1}
"""To which step psana's old commands rounded, ``%.4f`` and ``%.1f``."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of so many values of `version` how many are `different`, neither equal nor rounded; and whether all are
    equal, or all are rounded."""

    version: Version
    total: int
    different: int
    is_equal: bool
    is_rounded: bool


def compare(
    version: Version, calib_type: str, values: NDArray[np.float64], stored: NDArray[np.float32]
) -> Likeness:  # fmt: skip
    """Return how like `values`, as a text has them, are to `stored`, the array of `version`."""
    with np.errstate(over="ignore"):
        equal = values.astype(np.float32) == stored
    step = STEPS[calib_type]
    # A value may have been rounded from float64, of which the stored one is half a float32 away at most.
    slack = 0.5 * step * (1 + 1e-6) + 0.5 * np.spacing(np.abs(stored)).astype(np.float64)
    steps = values / step
    on_step = np.abs(steps - np.rint(steps)) <= 1e-9 * np.abs(steps) + 1e-9
    rounded = on_step & (np.abs(values - stored) <= slack)
    different = int(values.size - np.count_nonzero(equal | rounded))
    return Likeness(version, values.size, different, bool(equal.all()), bool(rounded.all()))
