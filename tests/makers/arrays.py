"""Constants as a calibration makes them: near the nominal values, different in every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GAINS = (41.5, -1.39, -0.11)
OFFSETS = (0.01, 300.0, 50.0)
LEVELS = {"pixel_gain": GAINS, "pixel_offset": OFFSETS}


def constants(shape: tuple[int, int, int] = (3, 16, 32), seed: int = 0, dtype: str = "<f4") -> dict[str, np.ndarray]:
    """Return ``pixel_gain`` and ``pixel_offset`` of one panel; the same `seed` gives the same arrays."""
    random = np.random.default_rng(seed)
    made = {}
    for name, nominal in LEVELS.items():
        values = np.resize(np.array(nominal), shape[0])[:, np.newaxis, np.newaxis]
        made[name] = np.ascontiguousarray(values * random.normal(1.0, 0.01, shape), dtype=dtype)
    return made


def darks(shape: tuple[int, int, int] = (3, 16, 32), seed: int = 0) -> dict[str, np.ndarray]:
    """Return what a dark run gives of one panel: pedestals, noise, status, and extremes; the same `seed` the same."""
    random = np.random.default_rng(seed)
    levels = np.array([2400.0, 14800.0, 14300.0])[: shape[0], np.newaxis, np.newaxis]
    noise = np.array([8.0, 2.5, 2.0])[: shape[0], np.newaxis, np.newaxis]
    pedestals = (levels + random.normal(0, 200, shape)).astype("<f4")
    spread = np.rint(4 * noise).astype("<u8")
    return {
        "pedestals": pedestals,
        "pixel_rms": (noise * random.uniform(0.8, 1.2, shape)).astype("<f4"),
        "pixel_status": np.where(random.random(shape) < 0.01, 1 << random.integers(0, 7, shape), 0).astype("<u8"),
        "pixel_max": np.rint(pedestals).astype("<u8") + spread,
        "pixel_min": np.rint(pedestals).astype("<u8") - spread,
    }


def plausible_of(name: str, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Return one panel's array of any calibration type, which the guard takes for one."""
    normal = name.removesuffix("_hg0")
    if normal == "pixel_mask":
        return (np.random.default_rng(seed).random(shape[1:]) >= 0.02).astype("|u1")
    if normal == "status_extra":
        return darks(shape, seed + 1)["pixel_status"]
    return {**constants(shape, seed), **darks(shape, seed)}[normal]


def plausible(random: np.random.Generator, calib_type: str, shape: Sequence[int]) -> np.ndarray:
    """Return float64 values without a zero that the guard takes for constants of `calib_type`.

    The shape is (gain, ..., row, column). The values differ by half of their level, so that few are alike.
    """
    levels = np.resize(np.array(LEVELS[calib_type]), shape[0])
    values: np.ndarray = levels.reshape(-1, *[1] * (len(shape) - 1)) * random.uniform(0.5, 1.5, shape)
    return values
