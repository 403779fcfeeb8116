"""The zarr storage on a directory: the suite of every storage, and what zarr and xarray show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

import jfstore
from jfstore.core.records import StoredFile
from jfstore.repository import Repository
from jfstore.repository.verify import verify
from jfstore.storage.zarr import ZarrStorage
from tests.makers.repositories import (
    LATER,
    SHAPE,
    STAMP,
    A,
    B,
    constants,
    entry,
    first_constants,
    flip,
    put,
    reopened,
    seeds_of,
    story,
)
from tests.storage.suite import Reopen, ZarrSuite, described, integers


class TestZarrStorage(ZarrSuite):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        return lambda: ZarrStorage(tmp_path / "repository")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return story(tmp_path / "R", storage="zarr")


# -- what other programs see


def test_zarr_opens_every_version_by_its_path(repository: Repository) -> None:
    for version in repository.versions():
        group = zarr.open_group(Path(repository.storage.location, version.file.path), mode="r")
        assert sorted(group.array_keys()) == sorted(version.content)
        for name, array in group.arrays():
            assert (array.dtype.str, array.shape, array.chunks) == ("<f4", SHAPE, (1, *SHAPE[1:]))
            assert np.asarray(array[...]).tobytes() == repository.panel_array(version, name).tobytes()
            assert array.attrs["units"] == {"pixel_gain": "ADU/keV", "pixel_offset": "ADU"}[name]
            assert str(array.attrs["long_name"]).lower().startswith(name[6:])


def test_zarr_needs_no_consolidated_metadata(repository: Repository) -> None:
    (version, *_) = repository.versions()
    array = zarr.open_array(Path(repository.storage.location, version.file.path, "pixel_gain"), mode="r")
    assert np.asarray(array[...]).tobytes() == repository.panel_array(version, "pixel_gain").tobytes()


def test_xarray_reads_a_version(repository: Repository) -> None:
    xarray = pytest.importorskip("xarray")
    (version, *_) = repository.versions()
    with xarray.open_zarr(Path(repository.storage.location, version.file.path)) as data:
        assert data["pixel_gain"].dims == ("gain", "row", "column")
        assert data["pixel_gain"].values.tobytes() == repository.panel_array(version, "pixel_gain").tobytes()


def test_a_chunk_that_is_gone_is_no_number_to_other_programs(repository: Repository) -> None:
    (version, *_) = repository.versions()
    group = Path(repository.storage.location, version.file.path)
    (group / "pixel_gain" / "c.1.0.0").unlink()
    seen = np.asarray(zarr.open_array(group / "pixel_gain", mode="r")[...])
    assert np.isnan(seen[1]).all()
    assert not np.isnan(seen[::2]).any()


def test_other_programs_see_arrays_of_every_kind(tmp_path: Path) -> None:
    storage = ZarrStorage(tmp_path / "R")
    storage.prepare()
    values = {
        "pixel_gain": constants(1),
        "pixel_mask": integers(1, "|u1", (4, 8)),
        "pixel_status": integers(2, "<u8", SHAPE),
    }
    file = storage.store(A, STAMP, values)
    group = zarr.open_group(tmp_path / "R" / file.path, mode="r")
    for name, array in group.arrays():
        assert np.asarray(array[...]).tobytes() == values[name].tobytes()
        assert (array.dtype, array.shape) == (values[name].dtype, values[name].shape)
        assert array.metadata.to_dict()["dimension_names"] == ("gain", "row", "column")[-array.ndim :]
        assert np.isnan(array.fill_value) if name == "pixel_gain" else array.fill_value == 0
    chunks = {str(path.relative_to(tmp_path / "R" / file.path)) for path in (tmp_path / "R").rglob("c.*")}
    assert chunks == {
        "pixel_mask/c.0.0",
        *(f"{name}/c.{gain}.0.0" for name in ("pixel_gain", "pixel_status") for gain in range(3)),
    }


def test_objects_one_after_the_other_are_the_file_of_the_commit(repository: Repository) -> None:
    for version in repository.versions():
        group = Path(repository.storage.location, version.file.path)
        names = [
            name for t in sorted(version.content) for name in (f"{t}/zarr.json", *(f"{t}/c.{g}.0.0" for g in range(3)))
        ]
        data = b"".join((group / name).read_bytes() for name in [*names, "zarr.json"])
        assert len(data) == version.file.size
        for array in version.arrays:
            start = version.file.offsets[array.type]
            assert data[start : start + array.nbytes] == repository.panel_array(version, array.type).tobytes()
        assert {str(path.relative_to(group)) for path in group.rglob("*") if path.is_file()} == {*names, "zarr.json"}


def test_metadata_has_the_bytes_that_it_had_when_it_was_first_written(repository: Repository) -> None:
    arrays = {name: first_constants(1, name) for name in ("pixel_gain", "pixel_offset")}
    assert repository.storage.store(A, STAMP, arrays).blake3 == FIRST_WRITTEN


FIRST_WRITTEN = "a291291f2c52ec72986ad61e2d376f985328c2ae5ecd61efaebf883c82d9f8b0"


# -- damage


def test_every_object_of_a_version_counts(repository: Repository) -> None:
    (version, *_) = repository.versions()
    group = Path(repository.storage.location, version.file.path)
    for path in sorted(path for path in group.rglob("*") if path.is_file()):
        data, name = path.read_bytes(), str(path.relative_to(repository.storage.location))
        for spoil in (
            lambda p: flip(p, 77),
            Path.unlink,
            lambda p: put(p, b""),
            lambda p: put(p, p.read_bytes() + b"x"),
        ):
            spoil(path)
            quick = verify(reopened(repository), quick=True).problems
            assert len(quick) == (not path.exists() or path.stat().st_size != len(data)), "sizes are seen quickly"
            found = verify(reopened(repository)).problems
            assert [problem.file for problem in found] == [version.file.path]
            assert name.rpartition("/")[0] in found[0].message
            again = reopened(repository)
            if path.name == "zarr.json":
                assert again.panel_array(version, "pixel_gain").tobytes() == constants(1).tobytes()
            else:
                with pytest.raises(jfstore.Damaged, match=version.file.path):
                    again.panel_array(version, path.parent.name)
            put(path, data)
    assert verify(reopened(repository)).problems == ()


def test_chunks_that_are_swapped(repository: Repository) -> None:
    (version, *_) = repository.versions()
    one, other = (Path(repository.storage.location, version.file.path, "pixel_gain", f"c.{g}.0.0") for g in (0, 2))
    first, second = one.read_bytes(), other.read_bytes()
    put(one, second)
    put(other, first)
    assert [problem.file for problem in verify(reopened(repository)).problems] == [version.file.path]
    with pytest.raises(jfstore.Damaged):
        reopened(repository).panel_array(version, "pixel_gain")


def test_damaged_object_in_the_way_of_the_same_content(repository: Repository) -> None:
    storage = repository.storage
    file = storage.store(B, LATER, {"pixel_gain": constants(7)})
    flip(Path(storage.location, file.path, "pixel_gain", "c.0.0.0"), 9)
    with pytest.raises(jfstore.Damaged, match=r"c\.0\.0\.0"):
        storage.store(B, LATER, {"pixel_gain": constants(7)})


def test_version_that_was_half_written_is_finished_by_a_retry(repository: Repository) -> None:
    storage = repository.storage
    file = storage.store(B, LATER, {"pixel_gain": constants(7)})
    group = Path(storage.location, file.path)
    (group / "zarr.json").unlink()
    (group / "pixel_gain" / "c.2.0.0").unlink()
    assert storage.store(B, LATER, {"pixel_gain": constants(7)}) == file
    assert storage.check(file, [described("pixel_gain", constants(7))], quick=False) is None


def test_index_is_a_cache(repository: Repository) -> None:
    path = Path(repository.storage.location, "jungfrau.index")
    whole, before = path.read_bytes(), seeds_of(reopened(repository))
    ways: list[Callable[[], None]] = [
        lambda: flip(path, 900),
        path.unlink,
        lambda: put(path, b"x" * 500),
        lambda: put(path, whole[:-1]),
    ]
    for spoil in ways:
        spoil()
        again = reopened(repository)
        assert again.storage.load_index() is None
        assert seeds_of(again) == before
        assert any("jungfrau.index" in problem.message for problem in verify(again).problems)
        again.rebuild_index()
        assert path.read_bytes() == whole


def test_identity_says_zarr(repository: Repository) -> None:
    lines = Path(repository.storage.location, "repository.json").read_text().splitlines()
    assert json.loads(lines[4].rstrip(",")) == {"kind": "zarr"}
    assert isinstance(reopened(repository).storage, ZarrStorage)


def test_real_panels_are_mapped_and_not_copied(tmp_path: Path) -> None:
    shape = (3, 32, 32)
    repository = jfstore.init(str(tmp_path / "R"), "test", panel_shape=shape, storage="zarr")
    repository.add_entries([entry(A, seed=1, shape=shape), entry(B, seed=2, shape=shape)], "whole pages")
    array = repository.get(f"{A}_{B}", "pixel_gain", LATER)
    assert array.tobytes() == np.stack([constants(1, shape=shape), constants(2, shape=shape)], axis=1).tobytes()
    maps = Path("/proc/self/maps").read_text()
    assert maps.count(f"{STAMP}-") == 6


def test_hdf5_and_zarr_agree_on_all_that_is_storage_neutral(repository: Repository, tmp_path: Path) -> None:
    other = story(tmp_path / "H")
    file = StoredFile("panels/x", 1, "0" * 64, {})
    ours, theirs = ([replace(v, file=file) for v in r.versions()] for r in (repository, other))
    assert ours == theirs
