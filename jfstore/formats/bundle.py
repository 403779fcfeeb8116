"""Lay out a bundle: one HDF5 file with the arrays of an answer, its lock, and the commits of its versions.

The layout is the old one of HDF5 (superblock version 0), which the reader of foreign files knows; viewers open it on a
picture. Equal contents give equal bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES

BUNDLE_FORMAT = 1
FORMAT, LOCK, IDENTITY, LOG, ENTRY, PANELS, DATA = (
    "jfstore_bundle",
    "lock.json",
    "repository.json",
    "log",
    "entry",
    "panel_id",
    "data",
)
"""Names in a bundle: in the root group, in ``entry``, and in the group of a calibration type."""


def make_bundle(arrays: Mapping[str, CalibArray], texts: Mapping[str, bytes], panels: Sequence[str]) -> list[Any]:
    """Return the bytes of a bundle as buffers in order.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The detector's array of each calibration type, C-contiguous; the first is the default picture.
    texts : mapping of str to bytes
        The texts by name, such as ``lock.json`` and ``log/0000000001.json``; none is empty.
    panels : sequence of str
        Panel Ids, in the order of the panel axis.
    """
    import h5py

    # A sparse file in memory: the room for the arrays takes no memory.
    memory = io.FileIO(os.memfd_create("bundle"), "r+")
    with memory:
        with h5py.File(memory, "w", libver=("earliest", "v108")) as file:
            _fill(file, arrays, texts, panels)
            file.flush()
            offsets = {name: file[f"{ENTRY}/{name}/{DATA}"].id.get_offset() for name in arrays}
            size = file.id.get_filesize()
        pieces: list[Any] = []
        done = 0
        for name in sorted(arrays, key=offsets.__getitem__):
            pieces += [os.pread(memory.fileno(), offsets[name] - done, done), arrays[name].reshape(-1).view("u1").data]
            done = offsets[name] + arrays[name].nbytes
        return [*pieces, os.pread(memory.fileno(), size - done, done).ljust(size - done, b"\0")]


def _fill(file: Any, arrays: Mapping[str, CalibArray], texts: Mapping[str, bytes], panels: Sequence[str]) -> None:
    """Put everything except the values of the arrays into `file`."""
    file.attrs.update({"NX_class": np.bytes_("NXroot"), "default": np.bytes_(ENTRY)})
    file.create_dataset(FORMAT, data=np.int64(BUNDLE_FORMAT))
    for name, text in texts.items():
        file.create_dataset(name, data=np.bytes_(text))
    entry = file.create_group(ENTRY)
    entry.attrs.update({"NX_class": np.bytes_("NXentry"), "default": np.bytes_(next(iter(arrays)))})
    entry.create_dataset(PANELS, data=np.array(panels, "S"))
    for name, array in arrays.items():
        group = entry.create_group(name)
        axes = np.array(["."] * array.ndim, "S")
        group.attrs.update({"NX_class": np.bytes_("NXdata"), "signal": np.bytes_(DATA), "axes": axes})
        data = _reserve_array(group, array)
        data.attrs["interpretation"] = np.bytes_("image")
        if meaning := CALIB_TYPES.get(name):
            data.attrs["units"] = np.bytes_(meaning.units)
            data.attrs["long_name"] = np.bytes_(f"{meaning.long_name} ({meaning.units})")


def _reserve_array(group: Any, array: CalibArray) -> Any:
    """Make a contiguous dataset with room for an array, to which nothing is written; return it."""
    from h5py import h5d, h5p, h5s, h5t

    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_layout(h5d.CONTIGUOUS)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    kind = h5t.py_create(array.dtype, logical=True)
    h5d.create(group.id, DATA.encode(), kind, h5s.create_simple(array.shape), dcpl=creation)
    return group[DATA]
