"""A run with constants of every calibration type, and files read as psana1 reads them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

import jfstore
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.repository import Repository
from tests.makers.arrays import plausible_of
from tests.makers.repositories import new_repository
from tests.makers.xtc import PAIR, PAIR_ID, begin_run, configure, jungfrau, jungfrau_config, run_bytes, write_run

SHAPE = (3, 16, 32)
EXP, SOURCE = "mfx00001", "MfxEndstation.0:Jungfrau.0"
PANELS = tuple(PAIR_ID.split("_"))
JUNE, DAY = 1530000000, 86400  # 2018-06-26 01:00 in Los Angeles
STAMP = "20180620000000"
HIGH_G0 = 5

PSANA_DTYPES = {
    "pixel_gain": "f4",
    "pixel_offset": "f4",
    "pedestals": "f4",
    "pixel_rms": "f4",
    "pixel_status": "u2",
    "status_extra": "u8",
    "pixel_mask": "u1",
}
"""The dtypes in which psana1 reads the types (PSCalib, src/GlobalUtils.py)."""
NORMAL = tuple(name for name in CALIB_TYPES if not name.endswith("_hg0"))
HIGH = tuple(name for name in CALIB_TYPES if name.endswith("_hg0"))


def arrays_of(types: tuple[str, ...], seed: int = 0) -> dict[str, Any]:
    """Return the arrays of both panels, other ones for every panel and seed."""
    return {
        name: np.stack([plausible_of(name, SHAPE, 10 * seed + n + (100 if name in HIGH else 0)) for n in (1, 2)], -3)
        for name in types
    }


def make_repository(path: Path, types: tuple[str, ...] = NORMAL) -> Repository:
    """Make a repository with constants of both panels."""
    repository = new_repository(path, "real", SHAPE)
    repository.add(PAIR_ID, STAMP, arrays_of(types), "made", accept="other-panel")
    return repository


def write_runs(root: Path, *days: int, first: int = 1) -> None:
    """Write runs that begin so many days after JUNE."""
    for run, day in enumerate(days, first):
        write_run(root, "MFX", EXP, run, run_bytes(PAIR, JUNE + day * DAY, run))


def write_high_run(root: Path, run: int) -> None:
    """Write a run whose first gain range is the high one."""
    config = jungfrau_config(3, PAIR)
    config = config[:16] + struct.pack("<H", HIGH_G0) + config[18:]
    data = configure(JUNE - 60, jungfrau(3, PAIR, payload=config)) + begin_run(JUNE, run)
    write_run(root, "MFX", EXP, run, data)


def deployed_file(calibdir: Path | str, calib_type: str, name: str = "1-end.data") -> Path:
    """Return the path of a deployed file."""
    return Path(calibdir) / "Jungfrau::CalibV1" / SOURCE / calib_type / name


def read_as_psana1(path: Path, calib_type: str) -> np.ndarray:
    """Return what psana1 reads from a file: numpy's loadtxt with the header's dtype and shape, as the type's dtype."""
    keys: dict[str, str] = {}
    sizes = []
    for line in path.read_text().splitlines():
        words = line.split(" ", 2)
        if line.startswith("#") and len(words) == 3:
            keys[words[1]] = words[2].strip()
            sizes += [int(words[2])] if words[1].startswith("DIM:") else []
    array: np.ndarray = np.loadtxt(path, dtype=keys.get("DTYPE", "float32"), comments="#")
    assert len(sizes) == int(keys["NDIM"])
    return array.reshape(sizes).astype(PSANA_DTYPES[calib_type])


def open_repository(path: Path) -> Repository:
    """Open a repository of this module as a new process would."""
    return jfstore.open(str(path))
