"""Read the structure of a foreign HDF5 file: which groups and datasets it holds, and where their bytes are.

DCS files have one simple layout: superblock version 0, groups as symbol tables, contiguous datasets, no attributes,
no filters. Exactly this layout is read here, and anything else is refused. libhdf5 never sees a foreign file:
a damaged or hostile one can make it crash, hang, or open other files. Each structure is read at most once and all
of them together are limited, so that time and memory are bounded. See docs/decisions/0006-foreign-hdf5.md.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jfstore.errors import Damaged
from jfstore.fs.files import read_into

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = (1 << 64) - 1
_METADATA, _OBJECTS, _DEPTH, _NAME, _TEXT, _BYTES, _RANK = 32 << 20, 100_000, 6, 320, 64 << 20, 1 << 30, 32
_SPACE, _TYPE, _LINK_INFO, _LINK, _EXTERNAL, _LAYOUT = 0x1, 0x3, 0x2, 0x6, 0x7, 0x8
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE, _ATTRIBUTE_INFO = 0xB, 0xC, 0x10, 0x11, 0x15
_SHARED, _UNIQUE = 2, (_SPACE, _TYPE, _LAYOUT, _SYMBOL_TABLE)

Tree: TypeAlias = Mapping[str, "Tree | Dataset"]
"""The members of a group by name."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: dtype and shape, and the offset of its bytes in the file; None if none were ever written."""

    dtype: str
    shape: tuple[int, ...]
    offset: int | None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_tree(fd: int, where: str, kind: str = "a DCS file", has_attributes: bool = False) -> Tree:
    """Return the groups and datasets of the HDF5 file `fd`; Damaged if it has another layout.

    `kind` says in errors what the file should be. With `has_attributes`, attributes are passed over, not read.
    """
    if os.pread(fd, len(_SIGNATURE), 0) != _SIGNATURE:
        raise Damaged(f"{where} is not an HDF5 file")
    try:
        return _Walk(fd, kind, has_attributes).tree()
    except _Unreadable as error:
        raise Damaged(f"{where} is not read: {error}") from None
    except (struct.error, ValueError, IndexError) as error:
        raise Damaged(f"{where} is damaged: {error}") from None


def read_array(fd: int, dataset: Dataset, where: str) -> NDArray[Any]:
    """Return the array of a dataset of the file `fd`; Damaged if the file ends before its bytes do."""
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        if dataset.offset is None:
            raise Damaged(f"{where} was never written")
        read_into(fd, array.reshape(-1).view("u1").data, dataset.offset, where)
    return array


class _Unreadable(Exception):
    """Why a file is not read."""


class _Walk:
    """A walk through all structures of one file."""

    def __init__(self, fd: int, kind: str, has_attributes: bool) -> None:
        self._kind, self._has_attributes = kind, has_attributes
        self._fd, self._size = fd, os.fstat(fd).st_size
        self._seen: set[int] = set()
        self._budget, self._objects, self._data = _METADATA, 0, 0

    def tree(self) -> Tree:
        """Return the members of the root group."""
        *versions, base, end, root = struct.unpack("<8x8B8xQ8xQ16xQ24x", self._read(0, 96))
        if (*versions, base) != (0, 0, 0, 0, 0, 8, 8, 0, 0):
            raise _Unreadable(
                f"it does not have the layout of {self._kind}, superblock version 0 with 8-byte addresses"
            )
        if end > self._size:
            raise _Unreadable(f"it is a truncated file, {self._size} bytes of {end}")
        tree: dict[str, Tree | Dataset] = {}
        groups = [("", self._messages(root, ""), tree)]
        while groups:
            path, messages, members = groups.pop()
            if path.count("/") >= _DEPTH:
                raise _Unreadable(f"{path} is nested too deeply")
            for name, address in self._links(path, messages):
                place = f"{path}/{name}"
                inner = self._messages(address, place)
                if _SYMBOL_TABLE in inner or _LINK_INFO in inner:
                    group: dict[str, Tree | Dataset] = {}
                    members[name] = group
                    groups.append((place, inner, group))
                else:
                    members[name] = self._dataset(inner, place)
        if self._data > self._size:
            raise _Unreadable("its datasets have more bytes than the file")
        return tree

    def _read(self, address: int, size: int, path: str = "") -> bytes:
        """Return the bytes of one structure; a second name for an object or a cycle is refused here."""
        if address in self._seen:
            raise _Unreadable(f"{path or '/'} has more than one name or is inside itself")
        self._seen.add(address)
        self._budget -= size
        if self._budget < 0:
            raise _Unreadable(f"its structure has more than {_METADATA} bytes")
        if address + size > self._size or len(data := os.pread(self._fd, size, address)) != size:
            raise _Unreadable(f"{path or 'its structure'} is not all in the file")
        return data

    def _messages(self, address: int, path: str) -> dict[int, bytes]:
        """Return the messages of an object header by type."""
        version, size = struct.unpack("<B7xI4x", self._read(address, 16, path))
        if version != 1:
            raise _Unreadable(f"{path or '/'} does not have an object header of version 1")
        messages: dict[int, bytes] = {}
        blocks = [(address + 16, size)]
        while blocks:
            block, position = self._read(*blocks.pop(), path), 0
            while position + 8 <= len(block):
                kind, length, flags = struct.unpack_from("<HHB", block, position)
                data = block[position + 8 : position + 8 + length]
                position += 8 + length
                if len(data) < length:
                    raise _Unreadable(f"the header of {path or '/'} is damaged")
                if kind == _CONTINUATION:
                    blocks.append(struct.unpack_from("<QQ", data))
                elif kind == _LINK and data[1] & 8 and data[2]:
                    raise _Unreadable(f"a member of {path or '/'} is a soft or external link")
                elif flags & _SHARED or (kind in messages and kind in _UNIQUE):
                    raise _Unreadable(f"the header of {path or '/'} is not one that the store writes")
                messages[kind] = data
        if not self._has_attributes and (_ATTRIBUTE in messages or _ATTRIBUTE_INFO in messages):
            raise _Unreadable(f"{path or '/'} has attributes, and none are ever written there")
        return messages

    def _links(self, path: str, messages: Mapping[int, bytes]) -> Iterator[tuple[str, int]]:
        """Yield the name and the object address of each member of a group, in order of names."""
        if _SYMBOL_TABLE not in messages:
            raise _Unreadable(f"{path or '/'} is not a group in the layout of {self._kind}, a symbol table")
        root, heap = struct.unpack("<QQ", messages[_SYMBOL_TABLE])
        signature, size, start = struct.unpack("<4s4xQ8xQ", self._read(heap, 32, path))
        if signature != b"HEAP":
            raise _Unreadable(f"the names of {path or '/'} are damaged")
        names = self._read(start, size, path) if size else b""
        found: dict[str, int] = {}
        nodes = [root]
        while nodes:
            node = nodes.pop()
            signature, kind, count = struct.unpack("<4sBxH", self._read(node, 8, path))
            if signature == b"TREE" and kind == 0:
                nodes += [child for _, child in struct.iter_unpack("<QQ", self._read(node + 24, 16 * count, path))]
                continue
            if signature != b"SNOD":
                raise _Unreadable(f"the index of {path or '/'} is damaged")
            self._objects += count
            if self._objects > _OBJECTS:
                raise _Unreadable(f"it has more than {_OBJECTS} objects")
            for offset, address, cache in struct.iter_unpack("<QQI20x", self._read(node + 8, 40 * count, path)):
                raw = names[offset : max(names.find(b"\0", offset, offset + _NAME + 1), 0)]
                name = raw.decode("utf-8", "backslashreplace")
                if not name or "/" in name or name in found or not name.isprintable() or name.encode() != raw:
                    raise _Unreadable(f"{f'{path}/{name}'[:80]!r} is not the name of anything")
                if cache == 2:
                    raise _Unreadable(f"{path}/{name} is a soft or external link")
                found[name] = address
        yield from sorted(found.items())

    def _dataset(self, messages: Mapping[int, bytes], path: str) -> Dataset:
        """Return a dataset as its header describes it."""
        if not messages.keys() >= {_SPACE, _TYPE, _LAYOUT}:
            raise _Unreadable(f"{path} is neither a group nor a dataset")
        if _EXTERNAL in messages:
            raise _Unreadable(f"the bytes of {path} are in another file")
        version, kind, offset, size = struct.unpack_from("<BBQQ", messages[_LAYOUT].ljust(18, b"\0"))
        if (version, kind) != (3, 1) or _FILTERS in messages:
            raise _Unreadable(f"{path} is not stored contiguously and without filters")
        message = messages[_TYPE]
        dtype = next((dtype for length in (12, 20, 38) if (dtype := _DTYPES.get(message[:length]))), "")
        if message[:1] == b"\x13" and 0 < (length := struct.unpack_from("<4xI", message)[0]) <= _TEXT:
            dtype = f"|S{length}"
        if not dtype:
            raise _Unreadable(f"{path} is of a type that constants do not have")
        version, rank = messages[_SPACE][:2]
        if version != 1 or rank > _RANK:
            raise _Unreadable(f"{path} has no shape that constants have")
        shape = struct.unpack_from(f"<{rank}Q", messages[_SPACE], 8)
        dataset = Dataset(dtype, shape, None if offset == _UNDEFINED else offset)
        # numpy refuses a shape that would be too large if a length were not zero.
        nbytes = math.prod(max(length, 1) for length in shape) * np.dtype(dtype).itemsize
        if nbytes > _BYTES:
            raise _Unreadable(f"{path} has {nbytes} bytes, more than the {_BYTES} that constants may have")
        if dataset.offset is not None:
            if size != dataset.nbytes or offset + size > self._size:
                raise _Unreadable(f"{path} does not lie in the file")
            self._data += size
        return dataset


def _number_types() -> Iterator[tuple[bytes, str]]:
    """Yield the datatype messages of the numbers that numpy knows, as HDF5 writes them, and their dtypes."""
    for order, big in (("<", 0), (">", 1)):
        for size in (1, 2, 4, 8):
            for kind, sign in (("u", 0), ("i", 8)):
                message = struct.pack("<BBxxIHH", 0x10, big | sign, size, 0, 8 * size)
                yield message, np.dtype(f"{order}{kind}{size}").str
        for size, exponent, bias in ((2, 5, 15), (4, 8, 127), (8, 11, 1023)):
            mantissa = 8 * size - 1 - exponent
            floats = (0x11, 0x20 | big, 8 * size - 1, size, 0, 8 * size, mantissa, exponent, 0, mantissa, bias)
            yield struct.pack("<BBBxIHHBBBBI", *floats), f"{order}f{size}"
    names = b"FALSE\0\0\0TRUE\0\0\0\0\0\1"  # how h5py stores bool
    yield struct.pack("<BHxI12s", 0x18, 2, 1, struct.pack("<BBxxIHH", 0x10, 8, 1, 0, 8)) + names, "|b1"


_DTYPES = dict(_number_types())
