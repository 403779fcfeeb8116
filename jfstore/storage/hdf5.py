"""Store a repository as HDF5: a directory with ``log/``, ``panels/`` and one index file of links.

A payload is the arrays of one version as one HDF5 file; `jfstore.storage.hdf5_payload` lays it out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jfstore.core.arrays import CalibArray
from jfstore.core.hashing import digest
from jfstore.core.records import Array, Identity, StoredFile
from jfstore.core.slabs import slab_buffers, slab_count, slab_size
from jfstore.core.table import Table
from jfstore.errors import Damaged
from jfstore.fs import files
from jfstore.storage import index
from jfstore.storage.base import SavedIndex, Storage, check_name
from jfstore.storage.directory import Directory
from jfstore.storage.hdf5_payload import make_payload
from jfstore.storage.mapped import Slab

_INDEX_LIMIT = 1 << 40
_LOOKS = 16
"""An index that is replaced while it is checked is looked at again so often."""


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

    def store(
        self,
        panel: str,
        stamp: str,
        arrays: Mapping[str, CalibArray],
        mend: bool = False,
        like: StoredFile | None = None,
    ) -> StoredFile:
        payload = make_payload(arrays, like)
        parts = payload.parts
        name = f"panels/{panel}/{stamp}-{payload.blake3[:12]}.h5"
        path = self._path(name)
        file = StoredFile(name, sum(map(len, parts)), payload.blake3, payload.offsets)
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
            if image and image[1] > table.seq:
                image = None  # another writer saved an index meanwhile, which has links for later commits
        try:
            links = index.link_versions(*image, table) if image else index.link_versions(None, 0, table)
        except (RuntimeError, ValueError, KeyError):
            # Somebody made up the links that the index has, or the table.
            raise Damaged(f"{self.location}/{self.index_name} is damaged: {index.REMEDY}") from None
        index.save(self.objects, self.index_name, index.prepare(identity, table, log_state, links, saved))

    def check_index(self, identity: Identity, table: Table) -> list[str]:
        path = self.root / self.index_name
        saved, wrong = index.check(self.objects, self.index_name, identity, table)
        image = self._read_image()
        for _ in range(_LOOKS):
            if saved is None or image is None or image[1] == saved.table.seq:
                break
            # A writer replaced the index between the two.
            saved, wrong = index.check(self.objects, self.index_name, identity, table)
            image = self._read_image()
        if wrong or saved is None:
            return wrong
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
