"""Files as PSI delivers them: gain maps of modules, and the gains and pedestals of SwissFEL detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

LEVELS = (41.5, -1.39, -0.11, 105.0, -1.38, -0.112)
"""Of the six maps: G0, G1, G2, HG0, HG1, HG2."""

DARK_LEVELS = (2400.0, 14800.0, 14300.0, 2900.0)
NOISE_LEVELS = (8.0, 2.5, 2.0, 12.0)


def gain_maps(count: int = 3, seed: int = 0, shape: tuple[int, int] = (16, 32)) -> np.ndarray:
    """Return float64 maps of one module, as a gain calibration makes them; the same `seed` gives the same maps."""
    random = np.random.default_rng([seed, 77])
    levels = np.array(LEVELS[:count])[:, np.newaxis, np.newaxis]
    made: np.ndarray = levels * random.normal(1.0, 0.01, (6, *shape))[:count]
    return made


def write_gain_maps(path: Path, maps: np.ndarray) -> Path:
    """Write maps as PSI does: nothing but the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(maps.astype("<f8").tobytes())
    return path


def write_gains_h5(path: Path, modules: Mapping[str, np.ndarray], dtype: str = "<f8") -> Path:
    """Write ``gains.h5`` of a SwissFEL detector: modules on top of each other, and the names of PSI's files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["gains"] = np.concatenate(list(modules.values()), axis=1).astype(dtype)
        attributes = file["gains"].attrs
        attributes["creator"] = "somebody"
        attributes["date"] = "20201211 10:20:30"
        attributes["original_filenames"] = " ".join(f"gainMaps_{name}.bin" for name in modules)
    return path


def dark_planes(
    count: int = 3, seed: int = 0, modules: int = 2, shape: tuple[int, int] = (16, 32)
) -> dict[str, np.ndarray]:
    """Return the pedestals, noise and mask of the modules of a SwissFEL detector on top of each other."""
    random = np.random.default_rng([seed, 78])
    whole = (4, modules * shape[0], shape[1])
    levels, noise = (np.array(values)[:, np.newaxis, np.newaxis] for values in (DARK_LEVELS, NOISE_LEVELS))
    mask = np.where(random.random(whole[1:]) < 0.02, 1 << random.integers(0, 8, whole[1:]), 0).astype("<i8")
    return {
        "gains": (levels + random.normal(0, 100, whole))[:count],
        "gainsRMS": (noise * random.uniform(0.8, 1.2, whole))[:count],
        "pixel_mask": mask,
    }


def write_pedestals_h5(path: Path, datasets: Mapping[str, np.ndarray]) -> Path:
    """Write a file ``*.res.h5`` of pedestals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path
