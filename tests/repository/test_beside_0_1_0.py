"""Release 0.1.0 beside this one: it reads nothing wrong of what this one writes, and what it wrote is used here."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.repository.verify import verify
from tests.conftest import ROOT
from tests.makers.repositories import LATER, SHAPE, A, B, constants, entry, new_repository

RELEASE = "5b99220"
STAMP = "20180306000000"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of 0.1.0."""
    found = subprocess.run(["git", "archive", RELEASE, "jfstore"], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("needs a git checkout with its history")
    place = tmp_path_factory.mktemp("0.1.0")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place


def old(release: Path, *words: object, code: int = 0) -> str:
    """Run 0.1.0; return what it prints, and its errors."""
    environment = {**os.environ, "PYTHONPATH": str(release)}
    command = [sys.executable, "-P", "-m", "jfstore", *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=release, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def gain(tmp_path: Path) -> Path:
    np.save(tmp_path / "gain.npy", constants(7))
    return tmp_path / "gain.npy"


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_it_says_that_a_newer_jfstore_made_it(release: Path, tmp_path: Path, gain: Path, storage: str) -> None:
    assert "0.1.0" in old(release, "--version")
    repository = new_repository(tmp_path / "R", storage=storage)
    repository.add_entries([entry(A, seed=1)], "one")
    before = sorted(path.name for path in (tmp_path / "R/log").iterdir())
    asked = ["-t", "pixel_gain", "-T", LATER, "--repo", tmp_path / "R"]
    for words in (
        ["list", "--repo", tmp_path / "R"],
        ["get", A, *asked],
        ["add", B, *asked, "-f", gain, "-m", "why"],
    ):
        assert "made by a newer jfstore" in old(release, *words, code=5)
    assert sorted(path.name for path in (tmp_path / "R/log").iterdir()) == before


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_what_it_wrote_is_read_added_to_and_verified(release: Path, tmp_path: Path, gain: Path, storage: str) -> None:
    place = tmp_path / "R"
    shape = "x".join(map(str, SHAPE))
    old(release, "init", place, "--role", "test", "--shape", shape, "--storage", storage)
    to = ["-t", "pixel_gain", "-f", gain, "-m", "why", "--repo", place]
    old(release, "add", A, "-T", STAMP, *to)
    old(release, "add", A, "-T", "20180401000000", *to)
    repository = jfstore.open(str(place))
    assert repository.get(A, "pixel_gain", LATER).tobytes() == constants(7).tobytes()
    assert verify(repository).problems == ()
    assert old(release, "list", "--repo", place).count(A) == 2
    repository.add_entries([entry(A, "20180501000000", seed=2)], "more")
    assert [version.number for version in jfstore.open(str(place)).versions()] == [1, 1, 1]
    assert jfstore.open(str(place)).get(A, "pixel_gain", LATER).tobytes() == constants(2).tobytes()
    assert verify(jfstore.open(str(place))).problems == ()
    assert "made by a newer jfstore" in old(release, "get", A, "-t", "pixel_gain", "-T", LATER, "--repo", place, code=5)
