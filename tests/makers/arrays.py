"""Constants as a calibration makes them: near the nominal values, different in every pixel."""

from __future__ import annotations

import numpy as np

GAINS = (41.5, -1.39, -0.11)
OFFSETS = (0.01, 300.0, 50.0)


def constants(shape: tuple[int, int, int] = (3, 16, 32), seed: int = 0, dtype: str = "<f4") -> dict[str, np.ndarray]:
    """Return ``pixel_gain`` and ``pixel_offset`` of one panel; the same `seed` gives the same arrays."""
    random = np.random.default_rng(seed)
    made = {}
    for name, nominal in (("pixel_gain", GAINS), ("pixel_offset", OFFSETS)):
        values = np.resize(np.array(nominal), shape[0])[:, np.newaxis, np.newaxis]
        made[name] = np.ascontiguousarray(values * random.normal(1.0, 0.01, shape), dtype=dtype)
    return made
