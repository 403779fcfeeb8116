"""Lay out the arrays of one version as an HDF5 file, byte for byte (docs/design.md, "Payloads").

HDF5 lays out the file once for each set of arrays, without data. The arrays are then written into their places.
Release 0.1.0 laid it out in another way, which `repair` needs to restore a payload of that release.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.hashing import digest
from jfstore.core.records import StoredFile
from jfstore.core.slabs import HUGE_PAGE, fills_huge_pages, slab_count
from jfstore.fs.hdf5_image import hdf5_bytes
from jfstore.fs.holes import cut_holes

_PAGE = 4096

_Kind = tuple[str, str, tuple[int, ...]]
"""Calibration type, dtype and shape of an array."""

_Kinds = tuple[_Kind, ...]
_Image = Callable[[_Kinds, list[int]], bytes]
"""Returns an HDF5 file with a dataset for each kind, and appends the byte offset of each dataset to the list."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes of a payload as buffers in order, their BLAKE3, and the byte offset of each array."""

    parts: list[Any]
    blake3: str
    offsets: dict[str, int]


def make_payload(arrays: Mapping[str, CalibArray], like: StoredFile | None = None) -> Payload:
    """Lay out the payload of one version.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        C-contiguous, little-endian arrays by calibration type; their order does not matter.
    like : StoredFile, optional
        A payload to make again: if release 0.1.0 made it, it is laid out as that release did.
    """
    payload = _fill(arrays, _image)
    if like and like.blake3 != payload.blake3 and (old := _fill(arrays, _image_of_0_1_0)).blake3 == like.blake3:
        return old
    return payload


def _fill(arrays: Mapping[str, CalibArray], image: _Image) -> Payload:
    names = sorted(arrays)
    gaps, places = _layout(tuple((name, arrays[name].dtype.str, arrays[name].shape) for name in names), image)
    offsets = dict(zip(names, places, strict=True))
    parts: list[Any] = [*gaps[0]]
    for name, gap in zip(sorted(names, key=offsets.__getitem__), gaps[1:], strict=True):
        parts += [arrays[name].reshape(-1).view("u1"), *gap]
    return Payload(parts, digest(*parts), offsets)


@lru_cache(maxsize=8)
def _layout(kinds: _Kinds, image: _Image) -> tuple[list[list[bytes]], list[int]]:
    """Return the bytes before, between and after the arrays of these kinds, and the byte offset of each array."""
    offsets: list[int] = []
    data = image(kinds, offsets)
    gaps, done = [], 0
    for offset, size in [*sorted(zip(offsets, map(_size, kinds), strict=True)), (len(data), 0)]:
        gaps.append(cut_holes(data[done:offset], done))
        done = offset + size
    return gaps, offsets


def _size(kind: _Kind) -> int:
    _, dtype, shape = kind
    return np.dtype(dtype).itemsize * math.prod(shape)


def _alignment(kind: _Kind) -> int:
    return HUGE_PAGE if fills_huge_pages(_size(kind) // slab_count(kind[2])) else _PAGE


def _image(kinds: _Kinds, offsets: list[int]) -> bytes:
    from h5py import h5d

    def fill(file: Any) -> None:
        file.attrs.update(_plot_attributes(kinds))
        for kind in kinds:
            # All metadata is allocated before the first array, so that no gaps lie between the arrays.
            _create_dataset(file, kind, h5d.ALLOC_TIME_LATE)
            file[kind[0]].attrs["interpretation"] = np.bytes_("image")
        file.flush()
        for name, _, shape in kinds:
            file[name][(0,) * len(shape)] = 0  # which allocates the array
            offsets.append(file[name].id.get_offset())

    # HDF5 aligns everything that is not smaller than the threshold. With a threshold of 1 it would align each block of
    # metadata too, with a gap of 2 MiB after it.
    image = hdf5_bytes(fill, alignment_threshold=min(map(_size, kinds)), alignment_interval=max(map(_alignment, kinds)))
    assert all(offset % _alignment(kind) == 0 for offset, kind in zip(offsets, kinds, strict=True))
    return image


def _image_of_0_1_0(kinds: _Kinds, offsets: list[int]) -> bytes:
    from h5py import h5d

    def fill(file: Any) -> None:
        for kind in kinds:
            _create_dataset(file, kind, h5d.ALLOC_TIME_EARLY)
        file.flush()
        offsets.extend(file[name].id.get_offset() for name, _, _ in kinds)

    return hdf5_bytes(fill, alignment_threshold=1, alignment_interval=_PAGE)


def _create_dataset(file: Any, kind: _Kind, allocation: int) -> None:
    """Create a contiguous dataset without data, with the unit and the meaning of its values."""
    from h5py import h5d, h5p, h5s, h5t

    name, dtype, shape = kind
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_layout(h5d.CONTIGUOUS)
    creation.set_alloc_time(allocation)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    type_id = h5t.py_create(np.dtype(dtype), logical=True)
    h5d.create(file.id, name.encode(), type_id, h5s.create_simple(shape), dcpl=creation)
    meaning = CALIB_TYPES.get(name)
    if meaning:
        file[name].attrs["units"] = np.bytes_(meaning.units)
        file[name].attrs["long_name"] = np.bytes_(meaning.long_name)


def _plot_attributes(kinds: _Kinds) -> dict[str, Any]:
    """Return the attributes of NXdata with which silx and h5web open the group of a version on a picture.

    NeXus wants auxiliary signals of the shape of the signal, and ``.`` for an axis without a dataset: silx refuses to
    plot a group with another shape, or with the name of an axis that does not exist.
    """
    (first, _, shape), *others = kinds
    attributes: dict[str, Any] = {
        "NX_class": np.bytes_("NXdata"),
        "signal": np.bytes_(first),
        "axes": np.array(["."] * len(shape), "S"),
    }
    auxiliary = [name for name, _, other in others if other == shape]
    if auxiliary:
        attributes["auxiliary_signals"] = np.array(auxiliary, "S")
    return attributes
