"""A payload: the arrays of one version as one small HDF5 file (docs/design.md, "A repository on disk").

One contiguous, uncompressed, page-aligned, little-endian dataset per calibration type. The file is
laid out once by HDF5 without data; the arrays are then written straight into their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.fs.hdf5_image import hdf5_bytes

PAGE = 4096


@lru_cache(maxsize=8)
def _layout(kinds: tuple[tuple[str, str, tuple[int, ...]], ...]) -> tuple[bytes, tuple[int, ...]]:
    """Return an HDF5 file with a dataset of zeros for each kind, and the byte offset of each dataset."""
    import h5py
    from h5py import h5d, h5p, h5s, h5t

    offsets: list[int] = []

    def fill(file: Any) -> None:
        datasets = []
        for name, dtype, shape in kinds:
            creation = h5p.create(h5p.DATASET_CREATE)
            creation.set_layout(h5d.CONTIGUOUS)
            creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            creation.set_fill_time(h5d.FILL_TIME_NEVER)
            creation.set_obj_track_times(False)
            type_id = h5t.py_create(np.dtype(dtype), logical=True)
            dataset = h5py.Dataset(h5d.create(file.id, name.encode(), type_id, h5s.create_simple(shape), dcpl=creation))
            meaning = CALIB_TYPES.get(name)
            if meaning:
                dataset.attrs["units"] = np.bytes_(meaning.units)
                dataset.attrs["long_name"] = np.bytes_(meaning.long_name)
            datasets.append(dataset)
        file.flush()
        offsets.extend(dataset.id.get_offset() for dataset in datasets)

    # Everything is aligned: a threshold would leave the arrays under it where they fall.
    image = hdf5_bytes(fill, alignment_threshold=1, alignment_interval=PAGE)
    assert all(offset % PAGE == 0 for offset in offsets), "HDF5 did not align the arrays"
    return image, tuple(offsets)


def pieces(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[Any], dict[str, int]]:
    """Return the bytes of a payload as buffers in order, and the byte offset of each array.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        C-contiguous, little-endian arrays by calibration type; their order does not matter.
    """
    names = sorted(arrays)
    image, offsets = _layout(tuple((name, arrays[name].dtype.str, arrays[name].shape) for name in names))
    parts: list[Any] = []
    done = 0
    for name, offset in sorted(zip(names, offsets, strict=True), key=lambda pair: pair[1]):
        data = arrays[name].reshape(-1).view("u1")
        parts += [memoryview(image)[done:offset], data]
        done = offset + len(data)
    parts.append(memoryview(image)[done:])
    return parts, dict(zip(names, offsets, strict=True))
