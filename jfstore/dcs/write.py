"""Making a file of the Detector Calibration Store, whole and in the layout that its own readers know.

HDF5 lays the file out in memory without the arrays, which are then put in their places one by one: however many
there are, one is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jfstore.core.hashing import digest
from jfstore.dcs.model import Blob, DcsContents, DcsRange, DcsType, DcsVersion, Notes, version_key

_PAGE = 4096


class SparseMemory:
    """A file in memory that keeps only the pages that were written; the others are zeros."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._place = self._end = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._end)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, data: Any) -> int:
        done, view = 0, memoryview(data).cast("B")
        while done < len(view):
            page, start = divmod(self._place + done, _PAGE)
            count = min(_PAGE - start, len(view) - done)
            self._pages.setdefault(page, bytearray(_PAGE))[start : start + count] = view[done : done + count]
            done += count
        self._place += done
        if done:
            self._end = max(self._end, self._place)
        return done

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self.read(len(view))
        return len(view)

    def read(self, size: int = -1) -> bytes:
        size = max(self._end - self._place, 0) if size < 0 else size
        first, start = divmod(self._place, _PAGE)
        last = (self._place + size + _PAGE - 1) // _PAGE
        zeros = bytes(_PAGE)
        pages = b"".join(self._pages.get(page, zeros) for page in range(first, last))
        self._place += size
        return pages[start : start + size]

    def truncate(self, size: int) -> None:
        self._end = size

    def flush(self) -> None:
        pass


def file_pieces(contents: DcsContents, seals: list[str] | None = None) -> Iterator[Any]:
    """Yield the bytes of a file that holds `contents`, as buffers in order.

    Parameters
    ----------
    contents : DcsContents
        What to write. Its arrays are loaded one by one, when their turn comes.
    seals : list of str, optional
        Gets the BLAKE3 of each array, in the order of `blobs_of`.
    """
    import h5py

    memory = SparseMemory()
    with h5py.File(memory, "w", libver=("earliest", "v108")) as file:
        places = _fill(file, contents)
        file.flush()
        size = file.id.get_filesize()
    done = 0
    found: dict[int, str] = {}
    for index, (offset, blob) in sorted(enumerate(places), key=lambda place: place[1][0]):
        array = np.ascontiguousarray(blob.load())
        data = array.reshape(-1).view("u1").data if array.size else memoryview(b"")
        found[index] = digest(data)
        if len(data):
            memory.seek(done)
            yield memory.read(offset - done)
            yield data
            done = offset + len(data)
    memory.seek(done)
    yield memory.read(size - done)
    if seals is not None:
        seals.extend(found[index] for index in range(len(places)))


def blobs_of(contents: DcsContents) -> Iterator[Blob]:
    """Yield the arrays of `contents`, in their order."""
    for held in contents.types:
        for valid in held.ranges:
            for version in valid.versions:
                if version.blob is not None:
                    yield version.blob


def _fill(file: Any, contents: DcsContents) -> list[tuple[int, Blob]]:
    """Put everything but the arrays into `file`; return the offset of each array."""
    _scalar(file, "dettype", contents.detector_type)
    _scalar(file, "detname", contents.detector_name)
    _scalar(file, "detid", contents.detector_id)
    _scalar(file, "tscfile", contents.created)
    _scalar(file, "predecessor", contents.predecessor)
    _scalar(file, "successor", contents.successor)
    _notes(file, contents.notes)
    datasets = [pair for held in contents.types for pair in _type(file.create_group(held.name), held)]
    file.flush()
    return [(dataset.get_offset() or 0, blob) for dataset, blob in datasets]


def _type(group: Any, held: DcsType) -> Iterator[tuple[Any, Blob]]:
    _scalar(group, "ctype", held.name)
    _notes(group, held.notes)
    for valid in held.ranges:
        yield from _range(group.create_group(valid.key), valid)


def _range(group: Any, held: DcsRange) -> Iterator[tuple[Any, Blob]]:
    _scalar(group, "begin", held.start)
    _scalar(group, "end", "end" if held.end == math.inf else held.end)
    _scalar(group, "range", held.key)
    _scalar(group, "versdef", held.default)
    _notes(group, held.notes)
    for version in held.versions:
        yield from _version(group.create_group(version_key(version.number)), version)


def _version(group: Any, version: DcsVersion) -> Iterator[tuple[Any, Blob]]:
    _scalar(group, "version", version.noted)  # one that was never valid does not become so by being copied
    _scalar(group, "tsprod", version.produced)
    _notes(group, version.notes)
    if version.blob is not None:
        yield _array(group, version.blob), version.blob


def _notes(group: Any, notes: Notes) -> None:
    for name, values in (("_history", notes.history), ("_parameters", notes.parameters)):
        if values:
            inner = group.create_group(name)
            for key, value in values.items():
                _scalar(inner, key, value)


def _scalar(group: Any, name: str, value: str | float | None) -> None:
    if value is None or value == "":  # HDF5 has no text without a character
        return
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    dtype = f"S{len(raw)}" if isinstance(raw, bytes) else "<i8" if isinstance(raw, int) else "<f8"
    group.create_dataset(name, shape=(1,), dtype=dtype, data=raw)


def _array(group: Any, blob: Blob) -> Any:
    """Make room for an array; return its dataset."""
    from h5py import h5d, h5p, h5s, h5t

    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_layout(h5d.CONTIGUOUS)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    space = h5s.create_simple(blob.shape) if blob.shape else h5s.create(h5s.SCALAR)
    kind = h5t.py_create(np.dtype(blob.dtype), logical=True)
    return h5d.create(group.id, b"data", kind, space, dcpl=creation)
