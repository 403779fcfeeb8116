"""Store a repository as zarr: each version is a zarr v3 group of uncompressed arrays, one object for each chunk.

A version is a group, an array for each calibration type, a chunk for each slab. Chunks are not compressed:
float constants hardly shrink, and so they can be mapped, and their bytes in order are what the hash of an array is of.
A version's objects, one after the other as `_members` orders them, are to a commit one file: its size, its BLAKE3
and where in it each array begins are what ``files`` says (format 1). The metadata comes from zarr-python.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.hashing import digest
from jfstore.core.records import Array, Identity, StoredFile
from jfstore.core.slabs import slab_buffers, slab_count, slab_indices, slab_size
from jfstore.core.table import Table
from jfstore.errors import Damaged
from jfstore.fs import events, files
from jfstore.storage import index
from jfstore.storage.array_cache import Cache
from jfstore.storage.base import SavedIndex, Storage, check_name
from jfstore.storage.directory import Directory
from jfstore.storage.mapped import Slab
from jfstore.storage.objects import Objects

_DEPTH = 3  # panels/<panel Id>/<stamp>-<hash>
_METADATA = "zarr.json"
_DIMENSIONS = ("gain", "row", "column")

_Kind = tuple[str, str, tuple[int, ...]]
"""Calibration type, dtype and shape of an array."""


class ZarrStorage(Storage):
    """A repository of zarr groups.

    Parameters
    ----------
    objects : Objects or Path
        The objects, or the path of a directory.
    index_name : str
        Name of the index, such as ``jungfrau.index``.
    cache : Cache, optional
        Cache on this machine for the arrays of a remote storage.
    """

    kind = "zarr"

    def __init__(self, objects: Objects | Path, index_name: str = "jungfrau.index", cache: Cache | None = None) -> None:
        super().__init__(Directory(objects) if isinstance(objects, Path) else objects, index_name)
        self.cache = cache

    def _file_of(self, name: str) -> str:
        return "/".join(name.split("/")[:_DEPTH])

    # -- arrays ----------------------------------------------------------------------------------

    def store(
        self,
        panel: str,
        stamp: str,
        arrays: Mapping[str, CalibArray],
        mend: bool = False,
        like: StoredFile | None = None,
    ) -> StoredFile:
        parts, offsets = _parts(arrays)
        whole = digest(*parts.values())
        path = check_name(f"panels/{panel}/{stamp}-{whole[:12]}")
        file = StoredFile(path, sum(map(len, parts.values())), whole, offsets)
        for name in _folders(arrays):
            self.objects.make_folders(f"{path}/{name}")

        def create(name: str) -> bool:
            try:
                self.objects.create(f"{path}/{name}", [parts[name]])
            except FileExistsError:
                return False
            return True

        if not all(list(self.objects.each(create, parts))):
            for name, data in parts.items():
                wrong = self._wrong(f"{path}/{name}", len(data), digest(data))
                if wrong and mend:
                    self.objects.replace(f"{path}/{name}", [data])
                elif wrong:
                    raise Damaged(f"{self.location}/{path} is in the way of the same content: {wrong}") from None
                # Whoever published it may not have synced its directories yet.
                self.objects.settle(f"{path}/{name}")
        return file

    def _wrong(self, name: str, size: int, seal: str) -> str | None:
        """Return a message if an object is damaged, None if it is sound."""
        data = bytearray(size)
        try:
            self.objects.read_into(name, memoryview(data))
        except Damaged as error:
            return error.message
        return None if digest(data) == seal else f"{self.location}/{name} has other bytes"

    def fetch(self, parts: Sequence[tuple[Array, StoredFile]]) -> None:
        if self.cache is None:
            return
        wanted = {array.blake3: (array.nbytes, (array, file)) for array, file in parts}
        with self.cache.waiting_for(wanted) as missing:
            self._fetch(list(missing.values()), self.cache)
        if self.cache.trouble:
            text = f"arrays cannot be kept in {self.cache.root} ({self.cache.trouble}): every get reads them from afar"
            events.report(text)
            self.cache = None

    def _fetch(self, parts: Sequence[tuple[Array, StoredFile]], cache: Cache) -> None:
        """Read arrays, all their chunks in parallel, and cache those that match their hash."""
        if not parts:
            return
        wanted = [(name, slab_size(array)) for array, file in parts for name in self._chunks(file, array)]
        contents = self.objects.each(lambda pair: self.objects.content(*pair), wanted)
        for array, _ in parts:
            pieces = [next(contents) for _ in range(slab_count(array.shape))]
            if digest(*pieces) == array.blake3:
                cache.keep(array.blake3, pieces)
        cache.shrink([array.blake3 for array, _ in parts])

    def forget(self, arrays: Sequence[Array]) -> bool:
        forgotten = [self.cache.forget_damaged(array.blake3) for array in arrays] if self.cache else []
        return any(forgotten)

    def load(self, file: StoredFile, array: Array, out: CalibArray) -> None:
        names = self._chunks(file, array)
        slabs = slab_buffers(out)
        near = self._near(array)
        if near is None:
            list(self.objects.each(lambda pair: self.objects.read_into(*pair), zip(names, slabs, strict=True)))
            return
        try:
            for number, slab in enumerate(slabs):
                files.read_into(near, slab, number * len(slab), f"the copy of {file.path}")
        finally:
            os.close(near)

    def _near(self, array: Array) -> int | None:
        """Open the cached copy of an array, None if it is not cached."""
        return self.cache.descriptor(array.blake3, array.nbytes) if self.cache else None

    def _chunks(self, file: StoredFile, array: Array) -> list[str]:
        return [check_name(f"{file.path}/{name}") for name in _chunks(array.type, array.shape)]

    def open_mapped(self, file: StoredFile, array: Array) -> list[Slab] | None:
        size = slab_size(array)
        if (near := self._near(array)) is not None:
            return [Slab(near, number * size, size) for number in range(slab_count(array.shape))]
        slabs: list[Slab] = []
        try:
            for name in self._chunks(file, array):
                fd = self.objects.descriptor(name, size)
                if fd is None:
                    return None
                slabs.append(Slab(fd, 0, size))
        except BaseException:
            for slab in slabs:
                os.close(slab.fd)
            raise
        return slabs

    def check(self, file: StoredFile, arrays: Sequence[Array], quick: bool) -> str | None:
        where = f"{self.location}/{file.path}"
        try:
            members = _members(file, arrays)
            there = self.objects.sizes(check_name(file.path))
            for name, size in members.items():
                if name not in there:
                    return f"{where}/{name} is missing"
                if there[name] != size:
                    return f"{where}/{name} has {there[name]} bytes in place of {size}"
            if quick:
                return None
            contents = self.objects.each(
                lambda name: self.objects.content(f"{file.path}/{name}", members[name]), members
            )
            data = dict(zip(members, contents, strict=True))
        except Damaged as error:
            return error.message
        except OSError as error:
            return f"{where} cannot be read: {error.strerror}"
        for array in arrays:
            if digest(*(data[name] for name in _chunks(array.type, array.shape))) != array.blake3:
                return f"{where}/{array.type} is damaged: it does not match its hash"
        if digest(*data.values()) != file.blake3:
            usual = _metadata(tuple(sorted((array.type, array.dtype, array.shape) for array in arrays)))
            odd = [name for name, text in usual.items() if data[name] != text]
            return f"{where}/{' or '.join(odd)} is damaged: it does not match its hash"
        return None

    # -- the index -------------------------------------------------------------------------------

    def load_index(self) -> SavedIndex | None:
        return index.load(self.objects, self.index_name)

    def save_index(self, identity: Identity, table: Table, log_state: str | None, afresh: bool = False) -> None:
        saving = index.prepare(identity, table, log_state, b"", self.load_index())
        index.save(self.objects, self.index_name, saving)

    def check_index(self, identity: Identity, table: Table) -> list[str]:
        return index.check(self.objects, self.index_name, identity, table)[1]


def _chunks(calib_type: str, shape: Sequence[int]) -> list[str]:
    """Return the names of the chunks of an array, in order, below the group."""
    return [f"{calib_type}/{'.'.join(map(str, ('c', *index, 0, 0)))}" for index in slab_indices(shape)]


def _folders(calib_types: Iterable[str]) -> list[str]:
    """Return one object name in each folder of a group."""
    return [f"{name}/{_METADATA}" for name in sorted(calib_types)]


@lru_cache(maxsize=16)
def _metadata(kinds: tuple[_Kind, ...]) -> dict[str, bytes]:
    """Return the metadata objects of a group by name; the group's metadata includes that of its arrays.

    zarr-python makes them, in memory. The order of their keys is ours, so that the same arrays have the same bytes
    whichever release of zarr-python wrote them.
    """
    import zarr  # a quarter of a second, which only those who write zarr wait for
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    group = zarr.create_group(store=MemoryStore(objects))
    for name, dtype, shape in kinds:
        meaning = CALIB_TYPES.get(name)
        group.create_array(
            name,
            shape=shape,
            chunks=(*(1 for _ in shape[:-2]), *shape[-2:]),
            dtype=dtype,
            # Other programs put it in the place of a lost chunk. Nobody believes a NaN; integers have nothing like it.
            fill_value=float("nan") if np.dtype(dtype).kind == "f" else 0,
            filters=None,
            compressors=None,
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=_DIMENSIONS[-len(shape) :],
            attributes={"units": meaning.units, "long_name": meaning.long_name} if meaning else {},
        )
    with warnings.catch_warnings():
        # zarr-python warns that not every program reads consolidated metadata; the arrays have their own as well.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(group.store)
    return {name: _order_keys(bytes(data.to_bytes())) for name, data in objects.items()}


def _order_keys(text: bytes) -> bytes:
    """Return the text of a metadata object with its keys in the order of the first release."""

    def order(found: dict[str, Any]) -> dict[str, Any]:
        return {key: found[key] for key in ("zarr_format", "node_type") if key in found} | found

    return json.dumps(json.loads(text, object_hook=order), indent=2).encode()


def _parts(arrays: Mapping[str, CalibArray]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the objects of a group as buffers by name, in order, and where in their bytes each array begins.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        C-contiguous, little-endian arrays by calibration type; their order does not matter.
    """
    texts = _metadata(tuple((name, arrays[name].dtype.str, arrays[name].shape) for name in sorted(arrays)))
    found: dict[str, Any] = {}
    offsets = {}
    done = 0
    for name in sorted(arrays):
        found[f"{name}/{_METADATA}"] = texts[f"{name}/{_METADATA}"]
        done += len(texts[f"{name}/{_METADATA}"])
        offsets[name] = done
        found.update(zip(_chunks(name, arrays[name].shape), slab_buffers(arrays[name]), strict=True))
        done += arrays[name].nbytes
    return {**found, _METADATA: texts[_METADATA]}, offsets


def _members(file: StoredFile, arrays: Sequence[Array]) -> dict[str, int]:
    """Return the size of each object of a stored group by name, in order.

    Raises
    ------
    Damaged
        If the sizes and offsets in the commit contradict each other.
    """
    sizes = {}
    done = 0
    for array in sorted(arrays, key=lambda array: file.offsets[array.type]):
        sizes[f"{array.type}/{_METADATA}"] = file.offsets[array.type] - done
        for chunk in _chunks(array.type, array.shape):
            sizes[chunk] = slab_size(array)
        done = file.offsets[array.type] + array.nbytes
    sizes[_METADATA] = file.size - done
    if min(sizes.values()) <= 0 or sorted(file.offsets) != sorted(array.type for array in arrays):
        raise Damaged(f"the log is damaged: what it says of {file.path} does not fit together")
    return sizes
