"""Files of unknown origin: npy, text, HDF5, the maps of PSI, and files that are hostile."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from jfstore.errors import BadValue
from jfstore.formats.any_file import read_any

SHAPE = (3, 16, 32)
GAIN = np.random.default_rng(1).normal(41.5, 1, SHAPE)


@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
@pytest.mark.parametrize("count", [3, 4, 6])
def test_maps_of_psi(dtype: str, count: int, tmp_path: Path) -> None:
    maps = np.resize(GAIN, (count, *SHAPE[1:])).astype(dtype)
    (tmp_path / "gainMaps_M044.bin").write_bytes(maps.tobytes())
    (found,) = read_any(tmp_path / "gainMaps_M044.bin", SHAPE)
    assert found.values.dtype == dtype
    assert np.array_equal(found.values, maps)


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for raw, text in (
        (b"\0" * 100, "its 100 bytes are neither"),
        (b"\0\0\xc0\x7f" * (3 * 16 * 32), "not constants of a panel"),
        (b"\x89HDF\r\n\x1a\n and no more", "libhdf5 cannot read it"),
        (b"\x93NUMPY\x01", "damaged"),
        (b"", "ends before any value"),
        (b"one two\n", "not a finite number"),
    ):
        path.write_bytes(raw)
        with pytest.raises(BadValue, match=text):
            read_any(path, SHAPE)
    with pytest.raises(BadValue, match="no such file"):
        read_any(tmp_path / "none", SHAPE)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadValue, match="not a regular file"):
        read_any(tmp_path / "fifo", SHAPE)


def test_a_text_names_the_panels_of_its_versions(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("# VERSION 1-2-3/20180306000000/v1\n# VERSION 1-2-4/20180306000000/v2\n1 2\n3 4\n")
    (found,) = read_any(tmp_path / "x.txt", SHAPE)
    assert found.panels == ("1-2-3", "1-2-4")
    assert found.values.tolist() == [[1, 2], [3, 4]]


def test_datasets_of_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["deep/er/gain"] = GAIN.astype(">f4")
        file.create_dataset("packed", data=GAIN[:, np.newaxis], compression="gzip", shuffle=True)
        file["entry/panel_id"] = ["1-2-3"]
        file["entry/columns"] = np.arange(32)
        file["entry/other"] = np.zeros((4, 31))
        file["entry/text"] = "nothing"
    found = read_any(path, SHAPE)
    assert [array.name for array in found] == ["/deep/er/gain", "/packed"]
    assert found[0].values.tolist() == GAIN.astype("f4").tolist()
    assert np.array_equal(found[1].values, GAIN[:, np.newaxis])
    assert found[0].panels == ("1-2-3",)
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(BadValue, match="no dataset has 32 columns"):
        read_any(path, SHAPE)


def test_hdf5_leads_to_no_other_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["gain"] = GAIN
    (tmp_path / "secret.bin").write_bytes(GAIN.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["own"] = GAIN
        file["external"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/gain")
        file["soft"] = h5py.SoftLink("/own")
        file["again"] = file["own"]
        raw = [(str(tmp_path / "secret.bin"), 0, GAIN.nbytes)]
        file.create_dataset("raw", SHAPE, "f8", external=raw)
        layout = h5py.VirtualLayout(SHAPE, "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "gain", SHAPE)
        file.create_virtual_dataset("virtual", layout)
        file["loop/loop"] = file["/"]
    assert [array.name for array in read_any(tmp_path / "x.h5", SHAPE)] == ["/again"]


def test_a_huge_dataset_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("zeros", (1 << 24, 32), "f8", chunks=(1 << 10, 32), compression="gzip")
    with pytest.raises(BadValue, match="more than 2147483648 bytes"):
        read_any(tmp_path / "x.h5", SHAPE)


def test_damaged_hdf5_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["gain"] = GAIN
    raw = path.read_bytes()
    random, messages = np.random.default_rng(1), []
    for _ in range(4):
        spoiled = bytearray(raw)
        for place in random.integers(8, 2000, 20).tolist():
            spoiled[place] ^= 0xFF
        path.write_bytes(bytes(spoiled))
        try:
            read_any(path, SHAPE)
        except BadValue as error:
            messages.append(str(error))
    assert not [message for message in messages if "\n" in message]


def test_a_process_that_dies_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["gain"] = GAIN
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -SEGV $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(BadValue, match=r"libhdf5 failed at this file \(signal 11\)"):
        read_any(tmp_path / "x.h5", SHAPE)
