"""Made-up data for the demo: a gain tree with constants such as a Jungfrau has, and XTC files of runs.

Nothing in it was measured: gains near 41.5, -1.39 and -0.11 ADU/keV and offsets near 0.01, 300 and 50 ADU,
with a spread from ASIC to ASIC (2 x 4 of 256 x 256 pixels), slopes along columns, and noise from pixel to pixel.
A mark in it lets the guard refuse the demo's constants in other repositories.
The writer of XTC files shares nothing with the reader; the files have no events.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jfstore.core.guard_pixels import demo_mark
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
    mark = demo_mark(rows, columns).astype(np.float32)
    out = np.empty((3, rows, columns), np.float32)
    for gain, (level, spread) in enumerate(_LEVELS[word]):
        asics = random.normal(0, 0.5, (rows // _ASIC, columns // _ASIC)).astype(np.float32)
        slope = np.linspace(-0.2, 0.2, _ASIC, dtype=np.float32)
        field = np.kron(asics, np.ones((_ASIC, _ASIC), np.float32)) + np.tile(slope, columns // _ASIC)
        noise = random.standard_normal(SHAPE, np.float32).clip(-3, 3)
        out[gain] = level * (1 + spread * (field + 0.3 * noise + 0.1 * mark))
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
    """Write a gain tree: three directories and five links."""
    if not root.is_dir():
        durable.make_directory(root, 0o755)
    for name, seed in DIRECTORIES.items():
        write_directory(root / name, constants(seed, "gain"), constants(seed, "offset"))
    for name, target in LINKS.items():
        if not (root / name).is_symlink():
            durable.symlink(target, root / name)


def write_new_constants(directory: Path) -> None:
    """Write a second calibration of M044: its lowest gain range was measured again."""
    gain = constants(DIRECTORIES["M044"], "gain")
    gain[2] *= np.float32(1.02)
    write_directory(directory, gain, constants(DIRECTORIES["M044"], "offset"))


def write_new_gains(path: Path) -> None:
    """Write later gains of the panels that M068 and M088 hold, float32 (gain, panel, row, column)."""
    gains = [constants(DIRECTORIES[name], "gain") * np.float32(1.004) for name in ("M068", "M088")]
    file = io.BytesIO()
    np.save(file, np.stack(gains, axis=1), allow_pickle=False)
    durable.overwrite(path, [file.getbuffer()], mode=0o644)


_HALF = "170505-149520170815-3d00b0 170505-149520170815-3d00f7"
_LATER = "171113-154920171025-3d00b0 171113-154920171025-3d00f7"
_SINGLE = "171113-154920171025-3d00fb"
_DETECTORS = {"Xpp": 22, "Cxi": 24, "Xcs": 25, "Mec": 44, "Mfx": 48, "Det": 52}
_JUNGFRAU = 43

# Experiment, first and last run, start of the first in Unix seconds, number of the Jungfrau, ConfigV, panels.
RUNS = (
    ("mfx00616", 1, 8, 1490000000, 0, 1, ""),
    ("mfx05516", 16, 16, 1519000000, 0, 3, _LATER),
    ("mfxlr1716", 1, 295, 1519500000, 0, 3, _LATER),
    ("mfxlr5016", 194, 197, 1520000000, 0, 3, _LATER),
    ("mfxx20515", 1, 2, 1513500000, 0, 3, _HALF),
    ("mfx11116", 563, 697, 1520323200, 1, 3, _SINGLE),
    ("mfxls0816", 1, 193, 1521000000, 1, 3, _SINGLE),
    ("xcs11116", 4, 18, 1500000000, 0, 2, ""),
    ("xcsx22015", 503, 555, 1508950000, 0, 2, ""),
    ("xcsls3716", 1, 631, 1512519240, 0, 3, _HALF),
    ("xcslr6316", 4, 17, 1521500000, 1, 3, _SINGLE),
    ("cxi11216", 9, 54, 1485000000, 0, 1, ""),
    ("detdaq17", 3, 768, 1521600000, 0, 3, _SINGLE),
    ("xppls2416", 1, 247, 1521900000, 1, 3, _LATER),
    ("mecls3216", 2, 226, 1514000000, 0, 3, _HALF),
    ("xpptut15", 430, 430, 1522800000, 0, 3, _LATER),
)


def _object(kind: int, version: int, log: int, phy: int, payload: bytes) -> bytes:
    return struct.pack("<5I", 0, log, phy, version << 16 | kind, 20 + len(payload)) + payload


def _datagram(transition: int, seconds: int, env: int = 0, children: bytes = b"") -> bytes:
    clock = struct.pack("<5I", 123456789, seconds, transition << 24, 0x1000, env)
    return clock + _object(1, 1, 3 << 24 | 4321, 0xAC150A0B, children)


def _config(version: int, panels: list[str]) -> bytes:
    """Return the payload of a Jungfrau's configuration object."""
    body = struct.pack("<4I2H2d", len(panels) or 1, 512, 1024, 200, 0, 1, 0.0, 1e-5)
    if version > 1:
        body += struct.pack("<d8H", 8e-3, *range(8))
    if version > 2:
        for panel in panels:
            module, firmware, serial = (int(field, 16) for field in panel.split("-"))
            body += struct.pack("<3Q", serial, module, firmware)
        body += bytes(24 * (8 - len(panels)))
    return body


def _run(experiment: str, run: int, start: int, number: int, version: int, panels: list[str]) -> bytes:
    """Return the file of a run that starts at `start` (Unix seconds), with Jungfrau.`number`."""
    source = 1 << 24 | 20951, _DETECTORS[experiment[:3].title()] << 24 | _JUNGFRAU << 8 | number
    alias = struct.pack("<I2I31sx", 1, *source, b"jungfrau1M" if len(panels) == 2 else b"jungfrau512k")
    configured = _object(69, 1, 7670, 0, alias) + _object(107, version, *source, _config(version, panels))
    return b"".join(
        [
            _datagram(4, start - 3600, children=configured),
            _datagram(6, start, env=run),
            *(_datagram(transition, start + 1) for transition in (8, 10, 11, 9)),
            _datagram(7, start + 60),
        ]
    )


def write_runs(root: Path) -> None:
    """Write the files of `RUNS` under `root`, laid out as ``SIT_PSDM_DATA`` is."""
    for experiment, first, last, start, number, version, panels in RUNS:
        directory = root / experiment[:3].upper() / experiment / "xtc"
        for missing in reversed([path for path in (directory, *directory.parents) if not path.is_dir()]):
            durable.make_directory(missing, 0o755)
        for run in sorted({first, last}):
            file = _run(experiment, run, start + 600 * (run != first), number, version, panels.split())
            path = directory / f"{experiment}-r{run:04d}-s00-c00.xtc"
            durable.overwrite(path, [file], mode=0o644, settle=False)
