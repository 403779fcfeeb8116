"""A world to deploy in: the reference's gains in a real repository, its runs, constants for a calibration directory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import jfstore
from jfstore.cli.app import main
from jfstore.cli.programs import jungfrau_gain_constants
from jfstore.core.arrays import check_array
from jfstore.core.hashing import digest
from jfstore.core.instants import parse_instant
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.deploy import Deployed, Deployer
from jfstore.deployment.note import Deployment, PanelConstants
from jfstore.formats.text import format_text
from jfstore.repository import Entry, Repository
from tests.makers.telling import XTC

REFERENCE = XTC.parent
TREE = REFERENCE / "gains-tree/jungfrau"
SHAPE = (3, 16, 32)
RUN = "exp=xcsls3716:run=631"
BEGIN_STAMP = "20171205161400"
SOURCE = "XcsEndstation.0:Jungfrau.0"
PANELS = ("170505-149520170815-3d00b0", "170505-149520170815-3d00f7")
DETECTOR = "_".join(PANELS)
STAMP = "20171025000000"
PLACE = Path("Jungfrau::CalibV1") / SOURCE
LOCAL = f"xcsls3716-r0631_{SOURCE}_{DETECTOR}"
TYPES = ("pixel_gain", "pixel_offset")


def data_of(calibdir: Path | str, calib_type: str = "pixel_gain", name: str = "631-end.data") -> Path:
    """Return the path of a deployed file."""
    return Path(calibdir) / PLACE / calib_type / name


def make_world(root: Path) -> Repository:
    """Make a real repository ``root/real`` with the reference's gains, and return it."""
    repository = jfstore.init(str(root / "real"), "real", panel_shape=SHAPE)
    words = ["import", str(TREE), "-m", "legacy", "--repo", str(root / "real"), "--yes"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(words) == 0
    return repository


def command(words: Sequence[object], program: str = "jungfrau_gain_constants") -> tuple[int, str, str]:
    """Run a program in this process."""
    run = {"jungfrau_gain_constants": jungfrau_gain_constants.main, "jfstore": main}[program]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run([str(word) for word in words])
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def constants(seed: int, calib_type: str = "pixel_gain", panels: int = 2) -> np.ndarray:
    """Return float32 (gain, panel, row, column) with digits that a rounding loses."""
    random = np.random.default_rng([seed, TYPES.index(calib_type)])
    levels = np.array([41.5, -1.39, -0.11] if calib_type == "pixel_gain" else [0.01, 300, 50])
    noise = random.normal(1, 0.02, (3, panels, *SHAPE[1:]))
    return (levels[:, None, None, None] * noise).astype(np.float32)


def add_constants(repository: Repository, seed: int, stamp: str = STAMP, types: Sequence[str] = TYPES) -> None:
    """Add constants of both panels."""
    zone = repository.zone
    entries = []
    for number, panel in enumerate(PANELS):
        arrays = {
            name: check_array(np.ascontiguousarray(constants(seed, name)[:, number]), name, SHAPE, "made")
            for name in types
        }
        entries.append(Entry(panel, parse_instant(stamp, zone), arrays, "made for a test"))
    repository.add_entries(entries, f"seed {seed}")


def deployment(
    calibdir: Path, seed: int, run: int = 631, calib_type: str = "pixel_gain", fmt: str | None = None
) -> tuple[CalibFile, Deployment, np.ndarray, list[bytes]]:
    """Return file, note, array and text of made-up constants, as `deploy` takes them."""
    array = constants(seed, calib_type)
    file = CalibFile(calibdir, SOURCE, calib_type, run)
    note = Deployment(
        blake3="",
        size=0,
        source=SOURCE,
        type=calib_type,
        run=run,
        start=1512519240 * 10**9,
        valid_at=1512519240 * 10**9,
        panels=tuple(PanelConstants(panel, f"{panel}/{STAMP}/v{seed}", f"{seed:064x}") for panel in PANELS),
        fmt=fmt,
        origin={"repository": "id", "role": "real", "path": "/somewhere", "as_of": seed},
        replaced=None,
        time=seed,
        call=f"call {seed}",
        about={"user": "u", "host": "h", "program": "p", "dataset": RUN, "command": "c"},
    )
    pieces = format_text(array, [("SEED", str(seed))], fmt)
    note = replace(note, blake3=digest(*pieces), size=sum(map(len, pieces)))
    return file, note, array, pieces


def deploy_texts(
    texts: Sequence[tuple[CalibFile, Deployment, np.ndarray, list[bytes]]],
    *,
    replacing: bool = False,
    copy_of: str = "x",
) -> list[Deployed]:
    """Deploy texts, as `deployment` returns them; all of them or none."""
    with Deployer(replacing) as deployer:
        for text in texts:
            deployer.stage(*text, copy_of)
        return deployer.finish()
