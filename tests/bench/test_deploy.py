"""Text of a 4M detector against numpy's, deploying it against the bare bytes, and the audit of what is deployed."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.demo_data import constants
from jfstore.core.arrays import check_array
from jfstore.core.instants import parse_instant, parse_time
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import Deployment, PanelConstants
from jfstore.formats.text import format_text, parse_text
from jfstore.repository import Entry, Repository
from tests.bench.conftest import milliseconds
from tests.conftest import ROOT
from tests.makers.deployed import deploy_texts
from tests.makers.xtc import some_panels

STAMP, SOURCE = "20180306000000", "MfxEndstation.0:Jungfrau.0"
FORMATS = {"pixel_gain": "%.4f", "pixel_offset": "%.1f"}


@pytest.fixture(scope="module")
def arrays(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """Constants of a detector of 8 panels; of small ones if nothing is measured."""
    measured = not request.config.getoption("benchmark_disable") or request.config.getoption("benchmark_enable")
    rows, columns = (512, 1024) if measured else (16, 32)
    words = {"pixel_gain": "gain", "pixel_offset": "offset"}
    return {
        name: np.stack([constants(seed, word)[:, :rows, :columns] for seed in range(8 if measured else 2)], axis=1)
        for name, word in words.items()
    }


def test_text(arrays: dict[str, np.ndarray], compare: Callable[..., None]) -> None:
    array = arrays["pixel_gain"]
    rows = array.reshape(-1, array.shape[-1])
    works = {
        "numpy.savetxt, %.9g": lambda: np.savetxt(io.BytesIO(), rows, "%.9g"),
        "numpy.savetxt, %.4f": lambda: np.savetxt(io.BytesIO(), rows, "%.4f"),
        "text of every bit": lambda: format_text(array),
    }
    compare(f"text of {array.shape}, written", works, {"text of every bit": "<= 0.33"}, rounds=5)


def test_text_is_read(arrays: dict[str, np.ndarray], compare: Callable[..., None]) -> None:
    raw = b"".join(format_text(arrays["pixel_gain"]))
    works = {"numpy.loadtxt": lambda: np.loadtxt(io.BytesIO(raw)), "read": lambda: parse_text(raw, "x")}
    compare(f"text of {arrays['pixel_gain'].shape}, read", works, {}, rounds=5)


def test_deploying(arrays: dict[str, np.ndarray], compare: Callable[..., None], tmp_path: Path) -> None:
    array, numbers = arrays["pixel_gain"], itertools.count(1)
    pieces = format_text(array)

    def bare() -> None:
        fd = os.open(tmp_path / f"bare{next(numbers)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.writev(fd, pieces[:1000])
        os.fsync(fd)
        os.close(fd)

    def ours() -> None:
        file, note, text = _deployment(tmp_path / "calib", "pixel_gain", array, None, next(numbers))
        deploy_texts([(file, note, array, text)])

    compare(f"deploying {array.shape}", {"write and fsync the text": bare, "text, deployed": ours}, {}, rounds=5)


def _deployment(
    calibdir: Path, name: str, array: np.ndarray, fmt: str | None, run: int
) -> tuple[CalibFile, Deployment, list[bytes]]:
    panels = tuple(PanelConstants(str(n), f"{n}/v1", "0" * 64) for n in range(array.shape[1]))
    text = format_text(array, (), fmt)
    note = Deployment("", 0, SOURCE, name, run, None, 0, panels, fmt, {"gains": "x"}, None, 0, "", {})
    return CalibFile(calibdir, SOURCE, name, run), note, text


@pytest.fixture
def repository(arrays: dict[str, np.ndarray], tmp_path: Path) -> Repository:
    shape = arrays["pixel_gain"][:, 0].shape
    repository = jfstore.init(str(tmp_path / "R"), "real", panel_shape=shape)
    for factor in (1.01, 1):
        entries = []
        for number, (module, firmware, serial) in enumerate(some_panels(arrays["pixel_gain"].shape[1])):
            parts = {
                name: check_array(np.ascontiguousarray(array[:, number] * np.float32(factor)), name, shape, "made")
                for name, array in arrays.items()
            }
            panel = f"{module:x}-{firmware:x}-{serial:x}"
            entries.append(Entry(panel, parse_instant(STAMP, repository.zone), parts))
        repository.add_entries(entries, "bench")
    return repository


@pytest.mark.parametrize(
    "kind", ["deployed by jfstore", "rounded by the old command", "every bit, no note, run not known"]
)
def test_audit(
    kind: str,
    arrays: dict[str, np.ndarray],
    repository: Repository,
    measured: bool,
    tmp_path: Path,
    record: Callable[..., None],
) -> None:
    for name, array in arrays.items():
        fmt = FORMATS[name] if kind.startswith("rounded") else None
        file, note, text = _deployment(tmp_path / "calib", name, array, fmt, 7)
        panels = tuple(f"{m:x}-{f:x}-{s:x}" for m, f, s in some_panels(array.shape[1]))
        selections = [repository.find(panel, [name], STAMP).selections[name][0].version for panel in panels]
        chosen = tuple(PanelConstants(v.panel, v.name, v.content[name]) for v in selections)
        known = replace(note, valid_at=parse_time(STAMP, repository.zone), panels=chosen, fmt=None)
        deploy_texts([(file, known, array, text)])
        if not kind.startswith("deployed"):
            file.note.unlink()
    program = [sys.executable, str(ROOT / "bin/jfstore"), "audit", str(tmp_path / "calib"), "--repo", f"{tmp_path}/R"]

    def audit() -> bytes:
        done = subprocess.run(program, capture_output=True, check=False)
        assert done.returncode == int(not kind.startswith("deployed")), (done.returncode, done.stdout, done.stderr)
        return done.stdout

    wanted = {"d": b"current", "r": b"rounded copy", "e": b"unknown"}[kind[0]]
    assert [line.split(b"\t")[0] for line in audit().splitlines()[1:]] == [wanted] * 2
    times = sorted(milliseconds(audit) for _ in range(5 if measured else 1))
    record(
        f"audit of a pair of {arrays['pixel_gain'].shape}, the whole process",
        kind,
        times[len(times) // 2],
        None,
        "<= 3000 ms",
    )
