"""How a version lies in zarr v3: a group, an array for each calibration type, a chunk for each gain range.

Chunks are not compressed: float constants hardly shrink, and so they can be mapped and are, in their
order, the very bytes that the hash of an array is of. The metadata is written here and not by a
library, so that the same arrays have the same bytes for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.records import Array, StoredFile
from jfstore.errors import Damaged

METADATA = "zarr.json"
_DTYPES = {"<f4": "float32"}
_DIMENSIONS = ("gain", "row", "column")

Kind = tuple[str, str, tuple[int, ...]]
"""Calibration type, dtype and shape of an array."""


def chunks(calib_type: str, shape: Sequence[int]) -> list[str]:
    """Return the names of the chunks of an array, in order, below the group."""
    return [f"{calib_type}/c.{gain}.0.0" for gain in range(shape[0])]


def folders(calib_types: Iterable[str]) -> list[str]:
    """Return one name in each folder of a group."""
    return [f"{name}/{METADATA}" for name in sorted(calib_types)]


def _array(name: str, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    meaning = CALIB_TYPES.get(name)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": _DTYPES[dtype],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *shape[1:]]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        # What other programs put in the place of a chunk that is gone: no value that could be believed.
        "fill_value": "NaN",
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {"units": meaning.units, "long_name": meaning.long_name} if meaning else {},
        "dimension_names": list(_DIMENSIONS),
        "storage_transformers": [],
    }


def metadata(kinds: Iterable[Kind]) -> dict[str, bytes]:
    """Return the metadata objects of a group, by name; the group's own knows that of its arrays."""
    arrays = {name: _array(name, dtype, shape) for name, dtype, shape in sorted(kinds)}
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
    }
    texts = {f"{name}/{METADATA}": array for name, array in arrays.items()} | {METADATA: group}
    return {name: json.dumps(text, indent=2).encode() for name, text in texts.items()}


def parts(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the objects of a group as buffers by name, in order, and where in their bytes each array begins.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        C-contiguous, little-endian arrays by calibration type; their order does not matter.
    """
    texts = metadata((name, array.dtype.str, array.shape) for name, array in arrays.items())
    found: dict[str, Any] = {}
    offsets = {}
    done = 0
    for name in sorted(arrays):
        found[f"{name}/{METADATA}"] = texts[f"{name}/{METADATA}"]
        done += len(texts[f"{name}/{METADATA}"])
        offsets[name] = done
        for chunk, values in zip(chunks(name, arrays[name].shape), arrays[name], strict=True):
            found[chunk] = values.reshape(-1).view("u1").data
        done += arrays[name].nbytes
    return {**found, METADATA: texts[METADATA]}, offsets


def members(file: StoredFile, arrays: Sequence[Array]) -> dict[str, int]:
    """Return the size of each object of a stored group by name, in order.

    Raises
    ------
    Damaged
        If what the commit says of them does not fit together.
    """
    sizes = {}
    done = 0
    for array in sorted(arrays, key=lambda array: file.offsets[array.type]):
        sizes[f"{array.type}/{METADATA}"] = file.offsets[array.type] - done
        for chunk in chunks(array.type, array.shape):
            sizes[chunk] = array.nbytes // array.shape[0]
        done = file.offsets[array.type] + array.nbytes
    sizes[METADATA] = file.size - done
    if min(sizes.values()) <= 0 or sorted(file.offsets) != sorted(array.type for array in arrays):
        raise Damaged(f"the log is damaged: what it says of {file.path} does not fit together")
    return sizes
