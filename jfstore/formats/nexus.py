"""Format a detector's constants as one self-describing HDF5 file, which silx and h5web open on a picture.

The layout is NeXus: ``/entry`` (NXentry) has a group NXdata for each calibration type, whose ``data`` has the
axes gain, panel, row, column, or panel, row, column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jfstore._version import __version__
from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import calib_type
from jfstore.fs.hdf5_image import hdf5_bytes

_AXES = ("gain", "panel", "row", "column")


def format_nexus(arrays: Mapping[str, CalibArray], panels: Sequence[str], provenance: Mapping[str, Any]) -> bytes:
    """Return the bytes of the file.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Arrays of shape (gain, panel, row, column), or (panel, row, column), by calibration type; the first is the
        default picture.
    panels : sequence of str
        Panel Ids, in the order of the axis.
    provenance : mapping
        Where the arrays come from, kept as JSON text in ``/entry/provenance``.
    """

    def fill(file: Any) -> None:
        first = next(iter(arrays))
        file.attrs.update({"NX_class": "NXroot", "default": "entry", "creator": f"jfstore {__version__}"})
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": first})
        entry["provenance"] = json.dumps(provenance, indent=2)
        entry["detector_id"] = "_".join(panels)
        entry["panel_id"] = list(panels)
        for name, array in arrays.items():
            units, meaning = calib_type(name).units, calib_type(name).long_name
            group = entry.create_group(name)
            axes = _AXES[-array.ndim :]
            group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": list(axes)})
            group["title"] = f"{name} at {provenance['time']['stamp']}"
            data = group.create_dataset("data", data=array)
            data.attrs.update({"units": units, "long_name": f"{meaning} ({units})", "interpretation": "image"})
            for axis, count in zip(axes, array.shape, strict=True):
                group[axis] = np.arange(count, dtype=np.int32)

    return hdf5_bytes(fill)
