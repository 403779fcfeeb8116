"""Every calibration type through everything that reads or writes constants: files, copies, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.core.calib_types import CALIB_TYPES, panel_shape_of
from jfstore.dcs.model import TYPES as DCS_TYPES
from jfstore.formats.gain_tree import name_gain_files
from jfstore.repository import Repository
from tests.makers.arrays import plausible_of
from tests.makers.repositories import A, B, new_repository

SHAPE = (3, 16, 32)
STAMP, LATER = "20180306000000", "20180401000000"
PAIR = f"{A}_{B}"

every_type = pytest.mark.parametrize("name", CALIB_TYPES)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return new_repository(tmp_path / "R", shape=SHAPE)


def detector_array(name: str) -> np.ndarray:
    """Return the array of two panels."""
    return np.stack([plausible_of(name, SHAPE, seed) for seed in (1, 2)], axis=-3)


@pytest.fixture
def stored(repository: Repository) -> Callable[[str], np.ndarray]:
    """Return a function that stores the array of two panels, and returns it."""

    def store(name: str) -> np.ndarray:
        array = detector_array(name)
        repository.add(PAIR, STAMP, {name: array}, "made")
        return array

    return store


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@every_type
def test_npy_in_and_out(name: str, repository: Repository) -> None:
    array = detector_array(name)
    np.save("in.npy", array)
    words = ["--repo", "./R", "-t", name, "-T", STAMP]
    assert main(["add", PAIR, *words, "-f", "in.npy", "-m", "x"]) == 0
    assert main(["get", PAIR, *words, "-f", "out.npy"]) == 0
    assert same_bits(np.load("out.npy"), array)


@every_type
def test_h5(name: str, stored: Callable[[str], np.ndarray]) -> None:
    array = stored(name)
    assert main(["get", PAIR, "--repo", "./R", "-t", name, "-T", LATER, "-f", "out.h5"]) == 0
    with h5py.File("out.h5") as file:
        group = file["entry"][name]
        assert same_bits(group["data"][()], array)
        axes = list(group.attrs["axes"])
        assert axes == ["gain", "panel", "row", "column"][-array.ndim :]
        assert [len(group[axis]) for axis in axes] == list(array.shape)


@every_type
def test_gain_tree(name: str, repository: Repository) -> None:
    array = plausible_of(name, SHAPE)
    directory = Path("gains") / f"{A}-{STAMP}"
    directory.mkdir(parents=True)
    for file, part in zip(name_gain_files(name, 3), array.reshape(-1, *SHAPE[1:]), strict=True):
        np.save(directory / file, part)
    assert repository.import_gains("gains", "x").versions
    assert not repository.import_gains("gains", "x").versions
    assert same_bits(repository.get(A, name, LATER), array[..., np.newaxis, :, :])


@pytest.mark.parametrize("name", [name for name in CALIB_TYPES if name in DCS_TYPES])
def test_dcs_file(name: str, repository: Repository, stored: Callable[[str], np.ndarray], tmp_path: Path) -> None:
    array = stored(name)
    repository.export_dcs(PAIR, f"jungfrau-{PAIR}.h5")
    other = new_repository(tmp_path / "other", shape=SHAPE)
    added = other.import_dcs(f"jungfrau-{PAIR}.h5", "x")
    assert (added.skipped, len(added.versions)) == ((), 2)
    assert not other.import_dcs(f"jungfrau-{PAIR}.h5", "x").versions
    assert same_bits(other.get(PAIR, name, LATER), array)


@every_type
def test_copies(name: str, repository: Repository, stored: Callable[[str], np.ndarray], tmp_path: Path) -> None:
    array = stored(name)
    real = new_repository(tmp_path / "real", "real", shape=SHAPE)
    real.promote(PAIR.split("_"), "checked", source=repository)
    jfstore.mirror(str(tmp_path / "R"), str(tmp_path / "copy"), storage="zarr")
    answer = repository.find(PAIR, [name], LATER)
    repository.export_bundle(answer, "bundle.h5")
    Path("answer.lock").write_text(answer.lock().text)
    for got in (
        real.get(PAIR, name, LATER),
        jfstore.open(str(tmp_path / "copy")).get(PAIR, name, LATER),
        jfstore.replay("bundle.h5")[name],
        repository.replay("answer.lock")[name],
    ):
        assert same_bits(got, array)


@every_type
def test_diff_and_identify(name: str, repository: Repository, stored: Callable[[str], np.ndarray]) -> None:
    array = stored(name)
    changed = array.copy()
    changed[..., 1, 3, 4] = 1 - changed[..., 1, 3, 4] if name == "pixel_mask" else changed[..., 1, 3, 4] + 1
    repository.add(PAIR, LATER, {name: changed}, "one pixel")
    difference = repository.diff(f"{B}/{STAMP}/v1", f"{B}/{LATER}/v1")
    (pair,) = difference.pairs
    assert [one.different for one in pair.ranges] == [1] * (1 if name == "pixel_mask" else 3)
    np.save("unknown.npy", array)
    assert f"{A}/{STAMP}/v1" in str(repository.identify("unknown.npy"))


@every_type
def test_xarray_and_rows(name: str, repository: Repository, stored: Callable[[str], np.ndarray]) -> None:
    array = stored(name)
    answer = repository.find(PAIR, [name], LATER)
    dataset = answer.xarray()
    assert dataset[name].dims == ("gain", "panel", "row", "column")[-array.ndim :]
    assert same_bits(dataset[name].to_numpy(), array)
    assert [row["type"] for row in answer.rows()] == [name, name]


@every_type
def test_fill(name: str, repository: Repository) -> None:
    repository.add(A, STAMP, {name: 1}, "one everywhere", accept="bad-pixels")
    got = repository.get(A, name, LATER)
    assert same_bits(got, np.ones((*panel_shape_of(name, SHAPE)[:-2], 1, *SHAPE[1:]), CALIB_TYPES[name].dtype))


@pytest.mark.parametrize("name", [one.name for one in CALIB_TYPES.values() if one.is_integer])
@pytest.mark.parametrize("value", [0.5, -1, float("nan"), 1e300])
def test_integers_are_filled_with_integers(name: str, value: float, repository: Repository) -> None:
    with pytest.raises(jfstore.BadValue, match=name):
        repository.add(A, STAMP, {name: value}, "x")
