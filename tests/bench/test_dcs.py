"""DCS files next to plain h5py: one of 50 versions got, one added to 50, all 50 taken in."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jfstore.dcs.edit import Addition, add_version, make_array_blob
from jfstore.dcs.model import find_range, find_version
from jfstore.dcs.read import open_dcs
from jfstore.dcs.write import change_dcs
from tests.conftest import ROOT
from tests.makers.dcs import NAME, array, make_dcs
from tests.makers.repositories import new_repository

COUNT = 50
T = 1.5e9
PANEL, TINY = (3, 512, 1024), (3, 4, 8)
_MEMORY = "import sys; from {module} import main; code = main(sys.argv[1:]); "
_MEMORY += (
    "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0]); sys.exit(code)"
)


@pytest.fixture
def shape(measured: bool) -> tuple[int, int, int]:
    """That of a panel: of a real one if times are wanted."""
    return PANEL if measured else TINY


@pytest.fixture
def full(tmp_path: Path, shape: tuple[int, int, int]) -> Path:
    """A file of 50 versions."""
    made = {number: array(number, (shape[0], 1, *shape[1:])) for number in range(1, COUNT + 1)}
    return make_dcs(tmp_path / NAME, {"pixel_gain": {(T, math.inf): made}})


def plain_read(path: Path, number: int) -> np.ndarray:
    with h5py.File(path) as file:
        array: np.ndarray = file[f"pixel_gain/{T:.0f}-end/v{number:04d}/data"][()]
        return array


def ours(contents: Any, number: int) -> np.ndarray:
    blob = find_version(contents, "pixel_gain", find_range(contents, "pixel_gain", T), number).blob
    assert blob
    return blob.load()


def test_get(full: Path, compare: Callable[..., None]) -> None:
    def whole() -> np.ndarray:
        with open_dcs(full) as contents:
            return ours(contents, 25)

    with open_dcs(full) as contents:
        assert np.array_equal(ours(contents, 25), plain_read(full, 25))
        works = {
            "plain h5py, open and read": lambda: plain_read(full, 25),
            "opened before": lambda: ours(contents, 25),
            "open included (a child process)": whole,
        }
        compare("DCS: one of 50 versions got", works, {})


def test_add(full: Path, tmp_path: Path, shape: tuple[int, int, int], compare: Callable[..., None]) -> None:
    new = array(99, (shape[0], 1, *shape[1:]))

    def bare() -> None:
        with open(tmp_path / "bare.h5", "wb") as raw:
            with h5py.File(raw.name, "w") as file:
                file["data"] = new
            os.fsync(raw.fileno())

    def copied() -> None:
        shutil.copyfile(full, tmp_path / "copy.h5")
        fd = os.open(tmp_path / "copy.h5", os.O_RDWR)
        os.fsync(fd)
        os.close(fd)

    def added() -> None:
        # Each round is one version more.
        addition = Addition("pixel_gain", T, make_array_blob(new, "pixel_gain", "new"), "bench")
        change_dcs(full, lambda contents: add_version(contents, addition, 1.7e9)[0])

    works = {"plain h5py write and sync of the one array": bare, "copy and sync of the file": copied, "add": added}
    compare("DCS: added to 50 versions", works, {}, rounds=7)


def memory_of(words: list[str], module: str) -> int:
    """Return the most memory of a command, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY.format(module=module), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return int(done.stdout.split()[-1]) << 10


def test_memory(full: Path, tmp_path: Path, shape: tuple[int, int, int], record: Callable[..., None]) -> None:
    new_repository(tmp_path / "R", shape=shape)
    np.save(tmp_path / "new.npy", array(99, (shape[0], 1, *shape[1:])))
    one = plain_read(full, 1).nbytes
    base = memory_of(["print", str(full)], "jfstore.cli.programs.dcs")  # what has loaded the libraries, and no array
    add = ["add", str(full), "-t", "pixel_gain", "-T", f"{T:.0f}", "-f", str(tmp_path / "new.npy")]
    for what, words, module in (
        ("dcs add", add, "jfstore.cli.programs.dcs"),
        ("import", ["import", str(full), "-m", "all", "--repo", str(tmp_path / "R")], "jfstore.cli.app"),
    ):
        used = memory_of(words, module) - base
        record("DCS: memory above print, of one array", f"{what}, 50 versions", used / 1e6, used / one, "a few arrays")
        # More libraries are loaded, too.
        assert used < 5 * one + (64 << 20)
