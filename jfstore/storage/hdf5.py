"""Store a repository as HDF5: a directory with ``log/``, ``panels/`` and one index file of links.

A payload is the arrays of one version as one small HDF5 file (docs/design.md, "A repository on disk"): one
contiguous, uncompressed, page-aligned, little-endian dataset per calibration type. The file is laid out once by
HDF5 without data; the arrays are then written straight into their places.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.hashing import digest
from jfstore.core.records import Array, Identity, StoredFile
from jfstore.core.slabs import slab_buffers, slab_count, slab_size
from jfstore.core.table import Table
from jfstore.errors import Damaged
from jfstore.fs import files
from jfstore.fs.hdf5_image import hdf5_bytes
from jfstore.storage import index
from jfstore.storage.base import SavedIndex, Storage, check_name
from jfstore.storage.directory import Directory
from jfstore.storage.mapped import Slab

_PAGE = 4096
_INDEX_LIMIT = 1 << 40


class Hdf5Storage(Storage):
    """A repository in a directory of a file system with hard links.

    Parameters
    ----------
    root : Path
        The directory.
    index_name : str
        Name of the index in it, such as ``jungfrau.h5``.
    """

    kind = "hdf5"

    def __init__(self, root: Path, index_name: str = "jungfrau.h5") -> None:
        super().__init__(Directory(root), index_name)
        self.root = root

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    def store(self, panel: str, stamp: str, arrays: Mapping[str, CalibArray], mend: bool = False) -> StoredFile:
        parts, offsets = _payload_parts(arrays)
        whole = digest(*parts)
        name = f"panels/{panel}/{stamp}-{whole[:12]}.h5"
        path = self._path(name)
        file = StoredFile(name, sum(map(len, parts)), whole, offsets)
        self.objects.make_folders(name)
        try:
            self.objects.create(name, parts)
        except FileExistsError:
            wrong = self._find_wrong(file, (), quick=False)
            if wrong and mend:
                self.objects.replace(name, parts)
            elif wrong:
                raise Damaged(f"{path} is in the way of the same content: {wrong}") from None
            # Whoever published it may not have synced its directories yet.
            self.settle(name)
        return file

    def _open(self, file: StoredFile) -> int:
        fd = self.objects.descriptor(check_name(file.path), file.size)
        assert fd is not None
        return fd

    @contextmanager
    def _open_file(self, file: StoredFile) -> Iterator[int]:
        fd = self._open(file)
        try:
            yield fd
        finally:
            os.close(fd)

    def open_mapped(self, file: StoredFile, array: Array) -> list[Slab] | None:
        offset, size = self._offset(file, array), slab_size(array)
        fd = self._open(file)
        return [Slab(fd, offset + number * size, size) for number in range(slab_count(array.shape))]

    def _offset(self, file: StoredFile, array: Array) -> int:
        """Return the offset of `array`; it must end inside `file`: touching a mapped page past it kills the process."""
        offset = file.offsets[array.type]
        if not 0 <= offset <= file.size - array.nbytes:
            raise Damaged(f"the log is damaged: {array.type} does not lie in {self._path(file.path)}")
        return offset

    def load(self, file: StoredFile, array: Array, out: CalibArray) -> None:
        path = self._path(file.path)
        with self._open_file(file) as fd:
            offset = self._offset(file, array)
            for slab in slab_buffers(out):
                files.read_into(fd, slab, offset, str(path))
                offset += len(slab)

    def check(self, file: StoredFile, arrays: Sequence[Array], quick: bool) -> str | None:
        try:
            return self._find_wrong(file, arrays, quick)
        except OSError as error:
            return f"{self._path(file.path)} cannot be read: {error.strerror}"

    def _find_wrong(self, file: StoredFile, arrays: Sequence[Array], quick: bool) -> str | None:
        """Return as `check`, but raise OSError if the payload cannot be read."""
        try:
            with self._open_file(file) as fd:
                if quick:
                    return None
                data = files.read_at(fd, file.size, 0)
        except Damaged as error:
            return error.message
        if digest(data) != file.blake3:
            return f"{self._path(file.path)} is damaged: it does not match its hash"
        for array in arrays:
            start = file.offsets[array.type]
            if digest(memoryview(data)[start : start + array.nbytes]) != array.blake3:
                return f"{self._path(file.path)} does not hold the {array.type} that the log says"
        return None

    def load_index(self) -> SavedIndex | None:
        return index.load(self.objects, self.index_name)

    def _read_image(self) -> tuple[bytes, int] | None:
        """Return the HDF5 part of the saved index and the commit that it is of; None if it is damaged."""
        try:
            return index.sound_image(*self.objects.open_reader(self.index_name, _INDEX_LIMIT))
        except index.NOT_SOUND:
            return None

    def save_index(self, identity: Identity, table: Table, log_state: str | None, afresh: bool = False) -> None:
        saved = self.load_index()
        image: tuple[bytes, int] | None = None
        if saved and not afresh and saved.repository == identity.id and saved.is_of(table):
            image = self._read_image()
        links = index.link_versions(*image, table) if image else index.link_versions(None, 0, table)
        index.save(self.objects, self.index_name, index.prepare(identity, table, log_state, links, saved))

    def check_index(self, identity: Identity, table: Table) -> list[str]:
        path = self.root / self.index_name
        saved, wrong = index.check(self.objects, self.index_name, identity, table)
        if wrong or saved is None:
            return wrong
        image = self._read_image()
        if image is None:
            return index.differences(path, None, identity, table)
        stored = (version for version in saved.table.version_list() if not version.closes)
        expected = {index.link_path(v.panel, v.stamp, v.number): (v.file.path, "/") for v in stored}
        links = index.links_of(image[0])
        return [
            f"{path}: link {name} leads to {links.get(name)} in place of {expected.get(name)}"
            for name in sorted(expected.keys() | links.keys())
            if links.get(name) != expected.get(name)
        ]


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
    image = hdf5_bytes(fill, alignment_threshold=1, alignment_interval=_PAGE)
    assert all(offset % _PAGE == 0 for offset in offsets), "HDF5 did not align the arrays"
    return image, tuple(offsets)


def _payload_parts(arrays: Mapping[str, CalibArray]) -> tuple[list[Any], dict[str, int]]:
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
