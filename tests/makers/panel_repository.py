"""Panel repositories of LCLS-II: text files by panel, calibration type and gain range, and merged files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.makers.arrays import plausible_of

IDS = tuple(f"8000000020000-230920-2{place:07x}" for place in range(4, 36))
"""Ids of 32 panels, as the detector server of LCLS-II gives them."""

DARK_TYPES = ("pedestals", "pixel_rms", "pixel_status", "pixel_max", "pixel_min")
FORMATS = {"pixel_status": "%d", "status_extra": "%d", "pixel_max": "%d", "pixel_min": "%d"}
"""How psana writes the values of integer types; those of the others have three decimals."""


@dataclass(frozen=True)
class Dark:
    """What the names of a dark run's files say."""

    stamp: str = "20250203095124"
    experiment: str = "mfx101332224"
    run: int = 7
    detector: str = "jungfrau_000001"

    def stem(self, segment: int | None = None) -> str:
        part = "" if segment is None else f"-s{segment:02d}"
        return f"{self.detector}{part}-{self.stamp}-{self.experiment}-r{self.run:04d}"


FIRST = Dark()
SECOND = Dark("20250204101112", run=31)


def as_text(array: np.ndarray, name: str) -> bytes:
    """Return rows of text as psana writes them with numpy.savetxt."""
    line = " ".join([FORMATS.get(name, "%.3f")] * array.shape[-1]) + "\n"
    return "".join([line % tuple(row) for row in array.reshape(-1, array.shape[-1]).tolist()]).encode()


def as_read(array: np.ndarray, name: str) -> np.ndarray:
    """Return what a reader gets from the text of an array."""
    if name in FORMATS:
        return array.astype("<u8")
    words = [f"{value:.3f}" for value in array.ravel().tolist()]
    return np.array([float(word) for word in words]).astype("<f4").reshape(array.shape)


def merged_text(array: np.ndarray, name: str, dtype: str = "float32") -> bytes:
    """Return an array as psana's save_txt writes it, with a header."""
    lines = ["", "# HOST        psana", "", f"# DTYPE       {dtype}", f"# NDIM        {array.ndim}"]
    lines += [f"# DIM:{axis}       {size}" for axis, size in enumerate(array.shape)]
    return "\n".join([*lines, "", ""]).encode() + as_text(array, name)


def constants_of(dark: Dark, panel: str, name: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Return one panel's constants of a dark run, others for each."""
    seed = int(dark.stamp) % 100_003 + 7 * int(panel.rpartition("-")[2], 16) % 1_000_003
    return plausible_of(name, shape, seed)


def panel_path(root: Path, panel: str, name: str, dark: Dark, segment: int, end: str) -> Path:
    """Return the path of a panel's file, which ends in ``-g0.data`` or ``.txt``; its directory exists then."""
    directory = root / "jungfrau" / panel / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{dark.stem(segment)}-{name}{end}"


def write_panel(root: Path, panel: str, name: str, array: np.ndarray, dark: Dark = FIRST, segment: int = 0) -> None:
    """Write one panel's array of a type, a file for each gain range."""
    for gain, values in enumerate(array):
        panel_path(root, panel, name, dark, segment, f"-g{gain}.data").write_bytes(as_text(values, name))


def write_merged_panel(
    root: Path, panel: str, name: str, array: np.ndarray, dark: Dark = FIRST, segment: int = 0
) -> Path:
    path = panel_path(root, panel, name, dark, segment, ".txt")
    path.write_bytes(merged_text(array[:, np.newaxis], name))
    return path


def write_merged_detector(
    root: Path, name: str, arrays: Mapping[int, np.ndarray], size: int, dark: Dark = FIRST
) -> Path:
    """Write the arrays of a detector of `size` panels by segment, with zeros for absent ones."""
    first = next(iter(arrays.values()))
    zeros = np.zeros_like(first)
    directory = root / "jungfrau" / "merge_tmp"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{dark.stem()}-{name}.txt"
    path.write_bytes(merged_text(np.stack([arrays.get(place, zeros) for place in range(size)], axis=1), name))
    return path


def make_panel_repository(
    root: Path,
    shape: tuple[int, int, int] = (3, 16, 32),
    panels: Mapping[int, str] = {0: IDS[0], 3: IDS[1]},
    darks: tuple[Dark, ...] = (FIRST, SECOND),
    types: tuple[str, ...] = DARK_TYPES,
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Write a panel repository; return by panel and stamp the arrays that its text has."""
    made: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for segment, panel in panels.items():
        for dark in darks:
            for name in types:
                array = constants_of(dark, panel, name, shape)
                write_panel(root, panel, name, array, dark, segment)
                made.setdefault((panel, dark.stamp), {})[name] = as_read(array, name)
    return made


def link_dark(root: Path, panel: str, name: str, dark: Dark, copy: Dark, segment: int = 0, hard: bool = False) -> None:
    """Let the names of another dark run lead to the files of one."""
    for gain in range(3):
        end = f"-g{gain}.data"
        target, place = (panel_path(root, panel, name, one, segment, end) for one in (dark, copy))
        os.link(target, place) if hard else place.symlink_to(target.name)
