"""Checks of constants before a file of the Detector Calibration Store takes them: wrong ones are worse than none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import check_array
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.ids import resolve_detector
from jfstore.dcs.model import GEOMETRY, PANEL_TYPES, TEXTS, Blob, DcsContents, type_named
from jfstore.dcs.write import blobs_of
from jfstore.errors import BadValue, JfstoreError

_JUNGFRAU = "jungfrau"
_GAINS = 3


def text_blob(text: str, where: str) -> Blob:
    """Return a text as it is stored; BadValue if it is empty or has a NUL, which could not be told from its end."""
    raw = text.encode("utf-8", "surrogateescape")
    if not raw.strip() or b"\0" in raw:
        raise BadValue(f"{where}: the text is empty or has a NUL")
    array = np.array([raw])
    return Blob(array.dtype.str, array.shape, lambda: array)


def array_blob(array: NDArray[Any], name: str, where: str) -> Blob:
    """Return an array as it is stored: its own dtype, but little-endian and in C order.

    Raises
    ------
    BadValue
        If it is none of real numbers, is empty, or has a value that is not finite.
    """
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise BadValue(f"{where}: dtype {array.dtype} is not one of real numbers")
    if not array.ndim or not array.size:
        raise BadValue(f"{where}: shape {array.shape} has no values")
    if type_named(name) == GEOMETRY:
        raise BadValue(f"{where}: {GEOMETRY} is text, not an array")
    count = int(np.count_nonzero(~np.isfinite(array)))
    if count:
        raise BadValue(f"{where}: {count} of {array.size} values of {name} {'is' if count == 1 else 'are'} not finite")
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return Blob(stored.dtype.str, stored.shape, lambda: stored)


def check_blob(contents: DcsContents, name: str, blob: Blob, where: str) -> None:
    """Check that constants fit to the detector and to what its file holds already.

    Raises
    ------
    BadValue
        If the shape is not that of the type, or gain and offset are not what those of a Jungfrau can be;
        or if all texts together would be more than the file may have.
    """
    if blob.is_text:
        there = sum(held.nbytes for held in blobs_of(contents) if held.is_text)
        if there + blob.nbytes > TEXTS:
            raise BadValue(f"{where}: with its {blob.nbytes} bytes all texts of {contents.where} are more than {TEXTS}")
        return
    count = _panels(contents)
    if name in CALIB_TYPES and count:
        for panel, part in enumerate(panel_parts(blob.load(), count, name, where)):
            check_array(part, name, part.shape, f"{where}, panel {panel}" if count > 1 else where)
    for other, shape in _shapes(contents):
        if other == name and shape != blob.shape:
            raise BadValue(f"{where}: shape {blob.shape}, but {name} in {contents.where} has {shape}")
        if other in PANEL_TYPES and name in PANEL_TYPES and shape[-2:] != blob.shape[-2:]:
            raise BadValue(f"{where}: rows and columns of {blob.shape} are not those of {other}, {shape}")


def panel_parts(array: NDArray[Any], count: int, name: str, where: str) -> Iterator[NDArray[Any]]:
    """Yield the part of each of `count` panels, (gain, row, column); BadValue if the shape has no such parts."""
    if array.ndim == _GAINS and count == 1:
        array = array[:, np.newaxis]
    if array.ndim != 4 or array.shape[:2] != (_GAINS, count):
        raise BadValue(
            f"{where}: shape {array.shape} of {name} is not ({_GAINS}, {count}, rows, columns), "
            f"as for a Jungfrau of {count} panel{'' if count == 1 else 's'}"
        )
    for panel in range(count):
        yield array[:, panel]


def _panels(contents: DcsContents) -> int:
    """Return how many panels the detector has; 0 if it is no Jungfrau whose Id says that."""
    if contents.detector_type != _JUNGFRAU:
        return 0
    try:
        return len(resolve_detector(contents.detector_id or ""))
    except JfstoreError:
        return 0


def _shapes(contents: DcsContents) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the calibration type and the shape of each array that is valid somewhere."""
    for held in contents.types:
        for ranges in held.ranges:
            version = ranges.valid
            if version and version.blob and not version.blob.is_text:
                yield held.name, version.blob.shape
