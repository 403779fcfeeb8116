"""Arrays of a detector of LCLS-II of which segments are absent."""

from __future__ import annotations

import numpy as np

from tests.makers import xtc2
from tests.makers.arrays import plausible_of

EXP = "mfxx00001"
RUN = f"exp={EXP}:run=7"
SHAPE = (3, 16, 32)
SEGMENTS = (0, 2, 5)
PANELS = [xtc2.panel(100 + segment) for segment in SEGMENTS]
DETECTOR = "_".join(PANELS)


def stack(name: str, seed: int = 0) -> np.ndarray:
    return np.stack([plausible_of(name, SHAPE, seed + number) for number in range(len(PANELS))], axis=-3)


def spread(array: np.ndarray, fill: int = 0) -> np.ndarray:
    """Return an array with the eight places that psana2's has."""
    full = np.full((*array.shape[:-3], 8, *array.shape[-2:]), fill, array.dtype)
    for number, segment in enumerate(SEGMENTS):
        full[..., segment, :, :] = array[..., number, :, :]
    return full
