"""Every calibration type goes in and comes out with the same bits, and questions without types get what is valid."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.core.calib_types import CALIB_TYPES, order_types
from jfstore.repository import Repository
from tests.makers.arrays import darks, plausible_of
from tests.makers.repositories import SHAPE, new_repository
from tests.makers.repositories import A as FB
from tests.makers.xtc import PAIR, PAIR_ID, run_bytes, write_run

FULL = (3, 512, 1024)
STAMP, LATER = "20180306000000", "20180401000000"
EXP = "xpptut15"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R")


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_every_type_comes_out_as_it_went_in(storage: str, tmp_path: Path) -> None:
    repository = jfstore.init(tmp_path / "R", "test", panel_shape=SHAPE, storage=storage)
    arrays = {name: plausible_of(name, SHAPE) for name in CALIB_TYPES}
    repository.add(FB, STAMP, arrays, "all", accept="constant")
    again = jfstore.open(str(tmp_path / "R"))
    assert again.find(FB, None, LATER).types == order_types(set(CALIB_TYPES))
    for name, array in arrays.items():
        got = again.get(FB, name, LATER)
        assert got.dtype.str == CALIB_TYPES[name].dtype
        assert got.shape == (*array.shape[:-2], 1, *array.shape[-2:])
        assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["pedestals", "pixel_status", "pixel_mask"])
def test_arrays_of_real_size_are_mapped(name: str, tmp_path: Path) -> None:
    repository = jfstore.init(tmp_path / "R", "test")
    panels = f"{FB}_{FB.replace('3d00fb', '3d00fc')}"
    array = np.stack([plausible_of(name, FULL, seed) for seed in (1, 2)], axis=-3)
    repository.add(panels, STAMP, {name: array}, "large")
    got = repository.get(panels, name, LATER)
    assert got.tobytes() == array.tobytes()
    assert not got.flags.owndata
    assert got.flags.c_contiguous
    # The memory belongs to the stored files, whose names the kernel knows.
    assert any(str(tmp_path / "R/panels") in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_the_index_shows_every_type(repository: Repository, tmp_path: Path) -> None:
    made = darks(SHAPE)
    repository.add(FB, STAMP, {**made, "pixel_mask": plausible_of("pixel_mask", SHAPE)}, "a dark")
    with h5py.File(tmp_path / "R/jungfrau.h5", "r") as file:
        group = file[f"{FB}/{STAMP}/v0001"]
        assert {name: group[name][()].tobytes() for name in made} == {name: a.tobytes() for name, a in made.items()}
        assert group["pixel_mask"].shape == SHAPE[1:]
        assert group["pixel_status"].attrs["units"] == b"bits"


def test_a_set_of_a_detector_is_one_commit(repository: Repository) -> None:
    panels = PAIR_ID.split("_")
    made = [darks(SHAPE, seed) for seed in range(len(panels))]
    added = repository.add(PAIR_ID, STAMP, {n: np.stack([m[n] for m in made], axis=-3) for n in made[0]}, "dark 5")
    assert (added.seq, len(added.versions)) == (1, len(panels))
    assert repository.get(PAIR_ID, "pixel_status", LATER).shape == (3, 2, *SHAPE[1:])


# -- conversions


def test_conversions_are_said(repository: Repository) -> None:
    made = darks(SHAPE)
    given = {"pedestals": made["pedestals"].astype("f8"), "pixel_status": made["pixel_status"].astype("u2")}
    added = repository.add(FB, STAMP, given, "of LCLS-I")
    assert "pedestals was rounded from float64 to float32" in added.notes
    assert "pixel_status was widened from uint16 to uint64" in added.notes
    converted = {array.type: array.converted_from for array in repository.version(added.versions[0].name).arrays}
    assert converted == {"pedestals": "<f8", "pixel_status": "<u2"}
    assert repository.get(FB, "pixel_status", LATER).tobytes() == made["pixel_status"].tobytes()


@pytest.mark.parametrize("name", ["geometry", "common_mode"])
def test_types_of_a_detector_are_refused_with_the_reason(name: str, repository: Repository) -> None:
    with pytest.raises(jfstore.BadValue, match="not of a panel"):
        repository.add(FB, STAMP, {name: np.ones(16)}, "x")


# -- which types answer


def test_without_types_what_is_valid_answers(repository: Repository) -> None:
    repository.add(FB, STAMP, {name: plausible_of(name, SHAPE) for name in ("pixel_gain", "pixel_offset")}, "gains")
    repository.add(FB, LATER, darks(SHAPE), "a dark")
    assert repository.find(FB, None, STAMP).types == ("pixel_gain", "pixel_offset")
    assert set(repository.find(FB, None, LATER).types) == {"pixel_gain", "pixel_offset", *darks(SHAPE)}


def test_darks_alone_need_no_gains(repository: Repository) -> None:
    repository.add(FB, STAMP, darks(SHAPE), "a dark")
    assert set(repository.find(FB, None, LATER).types) == set(darks(SHAPE))


def test_a_gain_alone_is_no_answer(repository: Repository) -> None:
    repository.add(FB, STAMP, {"pixel_gain": plausible_of("pixel_gain", SHAPE)}, "gain")
    repository.add(FB, STAMP, darks(SHAPE), "a dark")
    with pytest.raises(jfstore.NotFound, match="pixel_offset"):
        repository.find(FB, None, LATER)


def test_a_closed_type_is_missed(repository: Repository) -> None:
    repository.add(FB, STAMP, darks(SHAPE), "a dark")
    repository.close(FB, LATER, "the detector was warm", types="pedestals")
    with pytest.raises(jfstore.NotFound, match="pedestals is closed"):
        repository.find(FB, None, LATER)
    assert repository.find(FB, ["pixel_rms"], LATER).types == ("pixel_rms",)


def test_every_panel_needs_what_one_has(repository: Repository) -> None:
    one, other = PAIR_ID.split("_")
    repository.add(one, STAMP, darks(SHAPE), "a dark")
    repository.add(other, STAMP, {"pixel_rms": darks(SHAPE, 1)["pixel_rms"]}, "noise")
    with pytest.raises(jfstore.NotFound, match=f"panel {other}: no pedestals"):
        repository.find(PAIR_ID, None, LATER)


# -- types that change by run


@pytest.fixture
def with_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository with the darks of a run of another experiment, ten days before a run of `EXP`."""
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    repository = new_repository(tmp_path / "R")
    write_run(tmp_path / "data", "XPP", EXP, 7, run_bytes(PAIR, 1523386800, 7))  # 2018-04-10 12:00 in Los Angeles
    made = [darks(SHAPE, seed) for seed in range(2)]
    arrays = {name: np.stack([one[name] for one in made], axis=-3) for name in made[0]}
    repository.add(PAIR_ID, "20180331120000", arrays, "dark", about={"experiment": "xpplr0001", "run": "5"})
    return repository


def test_age_and_experiment_are_noted(with_run: Repository) -> None:
    notes = "\n".join(with_run.find(f"exp={EXP}:run=7", ["pedestals"]).notes)
    assert "pedestals of 2 panels" in notes
    assert "start at 20180331120000, 10 days before" in notes
    assert f"are of exp=xpplr0001:run=5, not of {EXP}" in notes


@pytest.mark.parametrize("age", ["2d", "239h", timedelta(days=9)])
def test_older_ones_are_no_answer_on_request(age: str | timedelta, with_run: Repository) -> None:
    with pytest.raises(jfstore.NotFound, match=r"10 days before: older than .* \(--max-age\)"):
        with_run.get(f"exp={EXP}:run=7", "pedestals", max_age=age)


@pytest.mark.parametrize("age", ["2 days", "2days", "0d", "-1d", "", "1.5h", timedelta(0)])
def test_an_age_that_is_none_is_refused_first(age: str | timedelta, repository: Repository) -> None:
    with pytest.raises(jfstore.BadValue, match="is not an age: expected a number of w, d, h, m or s, such as 2d"):
        repository.get(FB, "pixel_gain", LATER, max_age=age)


def test_an_age_that_will_do_is_not_noted(with_run: Repository) -> None:
    answer = with_run.find(f"exp={EXP}:run=7", ["pedestals"], max_age="2w")
    assert not any("before" in note for note in answer.notes)


def test_another_experiment_is_no_answer_on_request(with_run: Repository) -> None:
    with pytest.raises(jfstore.NotFound, match=r"of exp=xpplr0001:run=5, not of xpptut15 \(--same-experiment\)"):
        with_run.get(f"exp={EXP}:run=7", "pixel_rms", same_experiment=True)


def test_one_that_does_not_say_its_experiment_is_no_answer_then(with_run: Repository) -> None:
    made = [darks(SHAPE, seed) for seed in (7, 8)]
    arrays = {"pedestals": np.stack([one["pedestals"] for one in made], axis=-3)}
    with_run.add(PAIR_ID, "20180409120000", arrays, "by hand")
    assert not any("exp=" in note for note in with_run.find(f"exp={EXP}:run=7", ["pedestals"]).notes)
    with pytest.raises(jfstore.NotFound, match="do not say their experiment"):
        with_run.get(f"exp={EXP}:run=7", "pedestals", same_experiment=True)


def test_a_site_can_require_both(with_run: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site/jfstore").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    config = tmp_path / "site/jfstore/config.toml"
    config.write_text('[answers]\nmax_age = "2d"\n')
    with pytest.raises(jfstore.NotFound, match="older than 2 days"):
        with_run.get(f"exp={EXP}:run=7", "pedestals")
    config.write_text("[answers]\nsame_experiment = true\n")
    with pytest.raises(jfstore.NotFound, match="not of xpptut15"):
        with_run.get(f"exp={EXP}:run=7", "pedestals")
    assert with_run.get(f"exp={EXP}:run=7", "pedestals", same_experiment=False).shape == (3, 2, *SHAPE[1:])
    for text in ('[answers]\nmax_age = "2 days"\n', "[answers]\nsame_experiment = 1\n", "[answers]\nage = 1\n"):
        config.write_text(text)
        with pytest.raises(jfstore.JfstoreError, match=r"config\.toml"):
            with_run.get(f"exp={EXP}:run=7", "pedestals")


def test_gains_have_no_age(with_run: Repository) -> None:
    arrays = {name: plausible_of(name, SHAPE) for name in ("pixel_gain", "pixel_offset")}
    for panel in PAIR_ID.split("_"):
        with_run.add(panel, "20100101000000", arrays, "old", about={"experiment": "amo00000"}, accept="other-panel")
    answer = with_run.find(f"exp={EXP}:run=7", ["pixel_gain"], max_age="1s", same_experiment=True)
    assert not answer.notes
