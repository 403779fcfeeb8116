"""The layout of HDF5 payloads: alignment, holes, the layout of release 0.1.0, and pictures for viewers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.core.hashing import digest
from jfstore.core.records import StoredFile
from jfstore.core.slabs import HUGE_PAGE
from jfstore.storage.hdf5 import Hdf5Storage
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
    new_repository,
    put,
    reopened,
)
from tests.storage.suite import integers

REAL = (3, 512, 1024)
BLOCKS = 2 * 4 * 3 * 512 * 1024 + 8192
"""What a payload of gain and offset may take on the disk: the arrays, and two blocks."""


@pytest.fixture
def storage(tmp_path: Path) -> Hdf5Storage:
    storage = Hdf5Storage(tmp_path / "R")
    storage.prepare()
    return storage


def on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def real(seed: int) -> dict[str, np.ndarray]:
    return {name: constants(seed, name, REAL) for name in ("pixel_gain", "pixel_offset")}


def test_real_arrays_lie_at_huge_pages_and_gaps_take_no_space(storage: Hdf5Storage) -> None:
    file = storage.store(A, STAMP, real(1))
    path = storage.root / file.path
    data = path.read_bytes()
    assert file.offsets == {"pixel_gain": HUGE_PAGE, "pixel_offset": 4 * HUGE_PAGE}
    assert len(data) == file.size == 7 * HUGE_PAGE
    assert on_disk(path) <= BLOCKS
    assert digest(data) == file.blake3, "the zeros of the holes count"
    assert not any(data[4096:HUGE_PAGE])
    with h5py.File(path) as opened:
        for name, array in real(1).items():
            assert opened[name].id.get_offset() == file.offsets[name]
            assert opened[name][()].tobytes() == array.tobytes()


def test_other_arrays_beside_real_ones(storage: Hdf5Storage) -> None:
    arrays = {
        **real(1),
        "pixel_mask": integers(1, "|u1", REAL[1:]),
        "pixel_status": integers(2, "<u8", REAL),
        "pixel_rms": constants(1, shape=(3, 5, 7)),
    }
    file = storage.store(A, STAMP, arrays)
    for name in ("pixel_gain", "pixel_offset", "pixel_status"):
        assert file.offsets[name] % HUGE_PAGE == 0
    assert all(offset % 4096 == 0 for offset in file.offsets.values())
    path = storage.root / file.path
    assert on_disk(path) <= sum(array.nbytes for array in arrays.values()) + 16 * 4096
    with h5py.File(path) as opened:
        assert {name: opened[name][()].tobytes() for name in opened} == {
            name: array.tobytes() for name, array in arrays.items()
        }


def test_small_arrays_lie_at_pages(storage: Hdf5Storage) -> None:
    file = storage.store(A, STAMP, {"pixel_gain": constants(1), "pixel_mask": integers(1, "|u1", (4, 8))})
    assert all(offset % 4096 == 0 for offset in file.offsets.values())
    assert file.size < 10 * 4096


def test_payload_can_be_made_again_and_mended(storage: Hdf5Storage) -> None:
    file = storage.store(A, STAMP, real(1))
    path = storage.root / file.path
    whole = path.read_bytes()
    assert storage.store(A, STAMP, real(1)) == file
    # A byte in a hole counts as any other.
    flip(path, 8 * 100_000)
    with pytest.raises(jfstore.Damaged, match="does not match its hash"):
        storage.store(A, STAMP, real(1))
    assert storage.store(A, STAMP, real(1), mend=True) == file
    assert path.read_bytes() == whole
    assert on_disk(path) <= BLOCKS


def test_mirror_and_repair_keep_holes(tmp_path: Path) -> None:
    source = new_repository(tmp_path / "R", shape=REAL)
    (version,) = source.add_entries([entry(A, seed=1, shape=REAL)], "one").versions
    jfstore.mirror(source, tmp_path / "M")
    copy = jfstore.open(str(tmp_path / "M"))
    (copied,) = copy.versions()
    assert copied.file == version.file
    assert on_disk(tmp_path / "M" / copied.file.path) <= BLOCKS
    put(tmp_path / "R" / version.file.path, b"short")
    assert jfstore.repair(source, copy) == (version.file.path,)
    assert on_disk(tmp_path / "R" / version.file.path) <= BLOCKS
    assert jfstore.verify(reopened(source)).problems == ()
    assert reopened(source).get(A, "pixel_gain", LATER)[:, 0].tobytes() == constants(1, shape=REAL).tobytes()


def test_payload_of_the_first_release_is_made_again(storage: Hdf5Storage) -> None:
    arrays = {name: first_constants(1, name) for name in ("pixel_gain", "pixel_offset")}
    old = storage.store(A, STAMP, arrays, like=StoredFile("", 0, OF_0_1_0, {}))
    assert (old.blake3, old.size, old.offsets) == (OF_0_1_0, 20864, {"pixel_gain": 12288, "pixel_offset": 20480})
    new = storage.store(A, STAMP, arrays)
    assert new.blake3 != old.blake3
    assert storage.store(A, STAMP, arrays, like=new) == new
    assert storage.store(A, STAMP, arrays, like=StoredFile("", 0, "0" * 64, {})) == new


OF_0_1_0 = "957e537e089ec663b262127fc8376793622ef05bfbd3da07b16d983e9cb52c17"


# -- pictures


def test_viewers_find_a_picture(storage: Hdf5Storage) -> None:
    """NeXus: auxiliary signals have the shape of the signal, and ``.`` is an axis without a dataset."""
    arrays = {
        "pixel_gain": constants(1),
        "pixel_mask": integers(1, "|u1", SHAPE[1:]),
        "pixel_offset": constants(1, "pixel_offset"),
        "pixel_status": integers(2, "<u8", SHAPE),
    }
    file = storage.store(A, STAMP, arrays)
    with h5py.File(storage.root / file.path) as opened:
        assert dict(opened.attrs, axes=None, auxiliary_signals=None) == {
            "NX_class": b"NXdata",
            "signal": b"pixel_gain",
            "axes": None,
            "auxiliary_signals": None,
        }
        assert list(opened.attrs["axes"]) == [b"."] * 3
        assert list(opened.attrs["auxiliary_signals"]) == [b"pixel_offset", b"pixel_status"]
        assert {dataset.attrs["interpretation"] for dataset in opened.values()} == {b"image"}


def test_one_array_has_no_auxiliary_signals(storage: Hdf5Storage) -> None:
    file = storage.store(B, STAMP, {"pixel_mask": integers(1, "|u1", SHAPE[1:])})
    with h5py.File(storage.root / file.path) as opened:
        assert set(opened.attrs) == {"NX_class", "signal", "axes"}
        assert list(opened.attrs["axes"]) == [b"."] * 2
