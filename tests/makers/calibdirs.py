"""Calibration directories of psana1 with an experiment's runs, and the file that psana takes, by PSCalib's rules."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jfstore.formats.text import format_text
from tests.makers.arrays import constants, darks
from tests.makers.repositories import SHAPE
from tests.makers.xtc import Panel, jungfrau, phy_of, run_bytes, some_panels, write_run

EXPERIMENT = "mfxls0816"
SOURCES = ("MfxEndstation.0:Jungfrau.0", "MfxEndstation.0:Jungfrau.1")
P, Q, R = some_panels(3)
"""Panels."""

START = 1522800000
"""Start of the first run, Unix seconds; midday in spring, so that no hour comes twice."""


def id_of(panel: Panel) -> str:
    """Return the Id of a panel."""
    return "-".join(f"{part:x}" for part in panel)


def write_runs(
    root: Path,
    runs: Mapping[int, tuple[int, Sequence[Sequence[Panel]]]],
    experiment: str = EXPERIMENT,
    version: int = 3,
) -> None:
    """Write an experiment's runs: for each number the start, and the panels of each Jungfrau, in order of source."""
    for number, (seconds, (first, *others)) in runs.items():
        more = [jungfrau(version, panels, phy_of(device_number=n)) for n, panels in enumerate(others, 1)]
        write_run(root, "MFX", experiment, number, run_bytes(first, seconds, number, version, others=more))


def calibdir_of(root: Path, experiment: str = EXPERIMENT) -> Path:
    """Return the calibration directory of an experiment."""
    return root / "MFX" / experiment / "calib"


def make_array(seed: int, calib_type: str, panels: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return plausible constants of a detector, (gain, panel, row, column); a mask is (panel, row, column)."""
    arrays = []
    for n in range(panels):
        made = {**constants(shape, 100 * seed + n), **darks(shape, 100 * seed + n)}
        made["pixel_mask"] = (made["pixel_status"][0] == 0).astype("u1")
        made["status_extra"] = made["pixel_status"]
        arrays.append(made[calib_type])
    dtype = {"pixel_status": "<u2"}.get(calib_type, arrays[0].dtype.str)
    return np.stack(arrays, axis=arrays[0].ndim - 2).astype(dtype)


def write_file(
    calibdir: Path, source: str, calib_type: str, name: str, array: np.ndarray, fmt: str | None = None
) -> Path:
    """Write a file of constants as text, and return its path."""
    path = calibdir / "Jungfrau::CalibV1" / source / calib_type / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(format_text(array, [("EXPERIMENT", EXPERIMENT)], fmt)))
    return path


def choose(names: Sequence[str], run: int) -> str | None:
    """Return the name of the file that psana takes for a run, None if it takes none.

    This follows PSCalib's ``CalibFileFinder.py`` step by step.
    """
    found = []
    for name in names:
        stem, extension = os.path.splitext(name)
        fields = stem.split("-")
        if name == "HISTORY" or extension != ".data" or len(fields) != 2 or not fields[0].isdigit():
            continue
        first = int(fields[0])
        if first > 9999 or not (fields[1] == "end" or fields[1].isdigit()):
            continue
        last = 9999 if fields[1] == "end" else int(fields[1])
        if last <= 9999:
            found.append((first, -last, name))
    for first, minus_last, name in sorted(found, reverse=True):
        if first <= min(run, 9999) <= -minus_last:
            return name
    return None
