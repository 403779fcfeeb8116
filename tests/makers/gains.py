"""Legacy gain trees: directories of ``g<range>_<word>.npy``, and the names that assign them to panels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.makers.arrays import constants

WORDS = {"pixel_gain": "gain", "pixel_offset": "offset"}
LINKS = {
    "170505-149520170815-3d00b0-20171025000000": "M068",
    "170505-149520170815-3d00f7-20171025000000": "M088",
    "171113-154920171025-3d00b0": "M068",
    "171113-154920171025-3d00f7": "M088",
    "171113-154920171025-3d00fb-20180306000000": "M044",
}
"""The names of the tree that the seed lists, and the directories they lead to."""


def make_gain_directory(
    path: Path, shape: tuple[int, int, int] = (3, 16, 32), seed: int = 0, dtype: str = "<f4"
) -> dict[str, np.ndarray]:
    """Write the constants of one panel below `path`, one file per gain range; return them as written."""
    path.mkdir(parents=True)
    made = constants(shape, seed, dtype)
    for name, array in made.items():
        for gain, values in enumerate(array):
            np.save(path / f"g{gain}_{WORDS[name]}.npy", values, allow_pickle=False)
    return made


def make_gain_tree(
    path: Path,
    links: Mapping[str, str] = LINKS,
    shape: tuple[int, int, int] = (3, 16, 32),
    seed: int = 0,
    dtype: str = "<f4",
    as_text: bool = False,
) -> dict[str, dict[str, np.ndarray]]:
    """Write a gain tree at `path`; return the constants of each directory.

    With `as_text` the names are small files that hold where they lead, as git writes links
    where it may not make them.
    """
    path.mkdir(parents=True, exist_ok=True)
    directories = sorted(set(links.values()))
    made = {
        name: make_gain_directory(path / name, shape, seed + place, dtype) for place, name in enumerate(directories)
    }
    for name, target in links.items():
        if as_text:
            (path / name).write_text(target)
        else:
            (path / name).symlink_to(target)
    return made
