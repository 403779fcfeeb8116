"""Made-up constants for the demo: the seed's gain tree at full size, as a Jungfrau's look.

Nothing in it was measured: gains near 41.5, -1.39 and -0.11 ADU/keV and offsets near 0.01, 300 and
50 ADU, each with a spread from ASIC to ASIC (2 x 4 of 256 x 256 pixels), slopes along the
columns, and noise from pixel to pixel.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jfstore.fs import durable

SHAPE = (512, 1024)
_ASIC = 256
_LEVELS: Mapping[str, tuple[tuple[float, float], ...]] = {
    # Level and relative spread of each gain range.
    "gain": ((41.5, 0.01), (-1.39, 0.02), (-0.11, 0.03)),
    "offset": ((0.01, 0.3), (300.0, 0.1), (50.0, 0.2)),
}
DIRECTORIES = {"M044": 44, "M068": 68, "M088": 88}
LINKS = {
    "170505-149520170815-3d00b0-20171025000000": "M068",
    "170505-149520170815-3d00f7-20171025000000": "M088",
    "171113-154920171025-3d00b0": "M068",
    "171113-154920171025-3d00f7": "M088",
    "171113-154920171025-3d00fb-20180306000000": "M044",
}


def constants(seed: int, word: str) -> NDArray[np.float32]:
    """Return made-up constants of one panel, float32 (gain, row, column); `word` is gain or offset."""
    random = np.random.default_rng([seed, len(word)])
    rows, columns = SHAPE
    out = np.empty((3, rows, columns), np.float32)
    for gain, (level, spread) in enumerate(_LEVELS[word]):
        asics = random.normal(0, 0.5, (rows // _ASIC, columns // _ASIC)).astype(np.float32)
        slope = np.linspace(-0.2, 0.2, _ASIC, dtype=np.float32)
        field = np.kron(asics, np.ones((_ASIC, _ASIC), np.float32)) + np.tile(slope, columns // _ASIC)
        noise = random.standard_normal(SHAPE, np.float32).clip(-3, 3)
        out[gain] = level * (1 + spread * (field + 0.3 * noise))
    return out


def write_directory(directory: Path, gain: NDArray[np.float32], offset: NDArray[np.float32]) -> None:
    """Write ``g0_gain.npy`` ... ``g2_offset.npy``."""
    if not directory.is_dir():
        durable.make_directory(directory, 0o755)
    for word, array in (("gain", gain), ("offset", offset)):
        for number, part in enumerate(array):
            file = io.BytesIO()
            np.save(file, part, allow_pickle=False)
            durable.overwrite(directory / f"g{number}_{word}.npy", [file.getbuffer()], mode=0o644)


def write_tree(root: Path) -> None:
    """Write the seed's gain tree: three directories and five links."""
    if not root.is_dir():
        durable.make_directory(root, 0o755)
    for name, seed in DIRECTORIES.items():
        write_directory(root / name, constants(seed, "gain"), constants(seed, "offset"))
    for name, target in LINKS.items():
        if not (root / name).is_symlink():
            durable.symlink(target, root / name)


def write_new_constants(directory: Path) -> None:
    """Write a second calibration of panel M044: its lowest gain range was measured again."""
    gain = constants(DIRECTORIES["M044"], "gain")
    gain[2] *= np.float32(1.02)
    write_directory(directory, gain, constants(DIRECTORIES["M044"], "offset"))
