"""An instrument with runs and deployed files, some of which a change of constants concerns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import jfstore
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import Deployment, PanelConstants, encode_note
from jfstore.repository import Repository
from tests.makers.repositories import entry, new_repository
from tests.makers.xtc import PAIR_ID, run_bytes, some_panels, write_run

PANELS = tuple(PAIR_ID.split("_"))
SOURCE = "MfxEndstation.0:Jungfrau.0"
FIRST, SECOND = "20180101000000", "20180601000000"
MARCH, MAY, JULY, SEPTEMBER = 1519900000, 1525200000, 1530500000, 1535800000
TYPES = ("pixel_gain", "pixel_offset")


def make_instrument(root: Path, repository: Repository) -> None:
    """Add constants of two panels, from January and from June on, and write runs of four experiments.

    mfx00001 has runs 1 to 4, in March, May, July and September, of which the first and the third are deployed, in two
    files each; mfx00002 has a run with other panels, mfx00003 one without panel Ids, mfx00004 a damaged one.
    """
    for seed, stamp in enumerate((FIRST, SECOND)):
        repository.add_entries([entry(panel, stamp, 10 * seed + n) for n, panel in enumerate(PANELS)], stamp)
    for run, seconds in enumerate((MARCH, MAY, JULY, SEPTEMBER), 1):
        write_run(root, "MFX", "mfx00001", run, run_bytes(begin_seconds=seconds, run=run))
    write_run(root, "MFX", "mfx00002", 1, run_bytes(some_panels(2), JULY))
    write_run(root, "MFX", "mfx00003", 1, run_bytes(begin_seconds=JULY, version=2))
    write_run(root, "MFX", "mfx00004", 1, b"not XTC")
    for run in (1, 3):
        jfstore.deploy(f"exp=mfx00001:run={run}", repo=repository, from_test=True)


def deployed_path(root: Path, run: int, calib_type: str = "pixel_gain") -> Path:
    """Return where a file of mfx00001 is deployed."""
    return root / "MFX/mfx00001/calib/Jungfrau::CalibV1" / SOURCE / calib_type / f"{run}-end.data"


def make_many(root: Path, place: Path, runs: int, files: int, count: int = 2) -> tuple[str, ...]:
    """Make a repository, and `runs` runs with the same panels in 20 experiments, half of them since SECOND.

    Return the Ids of the `count` panels.

    `files` files are deployed, each with a note; their text is short, because nobody reads it.
    """
    repository = new_repository(place)
    panels = some_panels(count)
    names = tuple("-".join(f"{part:x}" for part in panel) for panel in panels)
    for seed, stamp in enumerate((FIRST, SECOND)):
        repository.add_entries([entry(panel, stamp, 100 * seed + n) for n, panel in enumerate(names)], stamp)
    version = 4 if count > 8 else 3
    for number in range(runs):
        experiment, run = f"mfx{number % 20:05d}", number // 20 + 1
        start = (MARCH if number < runs // 2 else JULY) + number
        write_run(root, "MFX", experiment, run, run_bytes(panels, start, run, version, alias="jungfrau"))
        if number >= runs - files // 2:
            for name in TYPES:
                write_deployed(repository, names, root / f"MFX/{experiment}/calib", run, name, start)
    return names


def write_deployed(
    repository: Repository, panels: Sequence[str], calibdir: Path, run: int, calib_type: str, start: int
) -> None:
    """Write a short deployed file, and the note that jfstore writes."""
    file = CalibFile(calibdir, SOURCE, calib_type, run)
    os.makedirs(file.directory, exist_ok=True)
    file.path.write_bytes(b"short\n")
    versions = [repository.timeline(panel, calib_type).at(start * 10**9) for panel in panels]
    note = Deployment(
        blake3="0" * 64,
        size=6,
        source=SOURCE,
        type=calib_type,
        run=run,
        start=start * 10**9,
        valid_at=start * 10**9,
        panels=tuple(PanelConstants(v.panel, v.name, v.content[calib_type]) for v in versions if v),
        fmt=None,
        origin={"repository": repository.id, "role": "test", "path": repository.location, "as_of": 2},
        replaced=None,
        time=start * 10**9,
        call="call",
        about={"user": "u", "host": "h", "program": "p", "dataset": "d", "command": "c"},
    )
    file.note.write_bytes(encode_note(file, [note]))
