"""Read and write the index: the whole repository as one HDF5 file of links, with the table behind it.

HDF5 ignores what follows its end-of-file address, so the table lies there::

    <HDF5 file: /<panel Id>/<stamp>/v0001 -> external link to the payload>
    <columns of the table, one after the other>
    <footer: one line of JSON>
    <BLAKE3 of the footer> <its length, 10 digits> jfstore-index-1\\n

Readers find the table from the end and never give a byte to libhdf5, which may crash or hang on a
damaged file; a writer or `verify` does so only after the BLAKE3 of the HDF5 part was right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from jfstore.core.hashing import digest
from jfstore.core.records import DTYPES, Identity
from jfstore.core.table import LAYOUT, Table
from jfstore.errors import Damaged
from jfstore.fs.hdf5_image import hdf5_bytes
from jfstore.storage.base import SavedIndex, check_name

_TAIL = b"%b %010d jfstore-index-1\n"
_TAIL_SIZE = len(_TAIL % (b"0" * 64, 0))
_FOOTER_LIMIT = 1 << 16

NOT_SOUND = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, Damaged)
"""Errors of reading something that is not an index, or is cut off."""

Reader = Callable[[int, int], bytes]
"""Returns so many bytes from an offset of the index file."""


def link_path(panel: str, stamp: str, number: int) -> str:
    """Return the path in the index of a version."""
    return f"{panel}/{stamp}/v{number:04d}"


def _footer(read: Reader, size: int) -> dict[str, Any]:
    tail = read(size - _TAIL_SIZE, _TAIL_SIZE)
    seal, length = tail[:64], int(tail[65:75])
    if length > min(_FOOTER_LIMIT, size):
        raise ValueError("its footer is too long")
    line = read(size - _TAIL_SIZE - length, length)
    if tail != _TAIL % (digest(line).encode(), length) or digest(line).encode() != seal:
        raise ValueError("its footer does not match its hash")
    footer: dict[str, Any] = json.loads(line)
    return footer


def decode(read: Reader, size: int) -> SavedIndex:
    """Read an index file of `size` bytes.

    Raises
    ------
    ValueError
        If it is not an index, or a hash is wrong.
    """
    if size < _TAIL_SIZE:
        raise ValueError("it is too short")
    footer = _footer(read, size)
    start, length = footer["table"]
    data = read(start, length)
    if digest(data) != footer["table_blake3"]:
        raise ValueError("its table does not match its hash")
    columns, offset = {}, 0
    for name, rows in footer["rows"].items():
        columns[name] = np.frombuffer(data, LAYOUT[name], rows, offset)
        offset += rows * LAYOUT[name].itemsize
    kinds = tuple((name, dtype, tuple(shape)) for name, dtype, shape in footer["kinds"])
    table = Table(kinds=kinds, **columns)
    _check(table)
    return SavedIndex(footer["repository"], footer["log_state"], table)


def decode_checked(data: bytes) -> SavedIndex | None:
    """Decode the bytes of an index; return None if it is damaged."""

    def read(offset: int, length: int) -> bytes:
        part = data[offset : offset + length] if min(offset, length) >= 0 else b""
        if len(part) != length:
            raise ValueError("it is too short")
        return part

    try:
        return decode(read, len(data))
    except NOT_SOUND:
        return None


def _check(table: Table) -> None:
    """Raise ValueError if rows refer to rows that do not exist; a table with the right hash may still be hostile."""
    below = (
        (table.versions["panel"], len(table.panels)),
        (table.versions["file"], len(table.files)),
        (table.versions["seq"] - 1, table.seq),
        (table.arrays["file"], len(table.files)),
        (table.arrays["kind"], len(table.kinds)),
        (table.commits["text"] + table.commits["length"], len(table.text) + 1),
    )
    for column, limit in below:
        if len(column) and not (int(column.min()) >= 0 and int(column.max()) < limit):
            raise ValueError("its table refers to what is not in it")
    if len(table.arrays) and np.any(np.diff(table.arrays["file"].astype(np.int64)) < 0):
        raise ValueError("its table is not in order")
    if len(set(table.kinds)) != len(table.kinds):
        raise ValueError("its table has a kind of array twice")
    for name, dtype, shape in table.kinds:
        known = type(name) is str and dtype in DTYPES and len(shape) == 3
        if not known or not all(type(size) is int and 0 < size <= 1 << 16 for size in shape):
            raise ValueError("its table has arrays of an unknown kind")


def sound_image(read: Reader, size: int) -> bytes | None:
    """Return the HDF5 part of an index file, None if its hash is wrong."""
    footer = _footer(read, size)
    image = read(0, footer["image"])
    return image if digest(image) == footer["image_blake3"] else None


def encode(identity: Identity, table: Table, log_state: str | None, image: bytes) -> list[bytes]:
    """Return the bytes of an index file, in pieces, from its HDF5 part."""
    columns = table.columns()
    data = b"".join(column.tobytes() for column in columns.values())
    footer = {
        "repository": identity.id,
        "seq": table.seq,
        "head": table.head,
        "log_state": log_state,
        "kinds": [list(kind) for kind in table.kinds],
        "image": len(image),
        "image_blake3": digest(image),
        "table": [len(image), len(data)],
        "rows": {name: len(column) for name, column in columns.items()},
        "table_blake3": digest(data),
    }
    line = json.dumps(footer, separators=(",", ":")).encode()
    return [image, data, line, _TAIL % (digest(line).encode(), len(line))]


def missing(path: object) -> str:
    """Return the message that the index is missing."""
    return f"{path} is missing; jfstore verify --rebuild-index rebuilds it"


def differences(path: object, saved: SavedIndex | None, identity: Identity, table: Table) -> list[str]:
    """Return the differences between the table of a saved index (None: unreadable) and that of the log, as messages."""
    if saved is None:
        return [f"{path} is damaged: it does not match its hashes; jfstore verify --rebuild-index rebuilds it"]
    if saved.repository != identity.id:
        return [f"{path} belongs to another repository, {saved.repository}"]
    if not table.continues(saved.table):
        return [f"{path} is ahead of the log: it says that commit {saved.table.seq} is {saved.table.head[:12]}"]
    if saved.table.version_list() != table.version_list(range(len(saved.table.versions))):
        return [f"{path} differs from the log"]
    return []


def link_versions(image: bytes | None, table: Table, done: int) -> bytes:
    """Return `image` (an empty file if None) with a link for each version of `table` after the first `done`."""
    from h5py import h5p

    intermediate = h5p.create(h5p.LINK_CREATE)
    intermediate.set_create_intermediate_group(True)

    def fill(file: Any) -> None:
        for version in table.version_list(range(done, len(table.versions))):
            path = link_path(version.panel, version.stamp, version.number).encode()
            file.id.links.create_external(path, check_name(version.file.path).encode(), b"/", lcpl=intermediate)

    return hdf5_bytes(fill, image)


def links_of(image: bytes) -> dict[str, tuple[str, str]]:
    """Return every link of an index: path in the index, to (file, path in the file)."""
    import h5py
    from h5py import h5l

    found: dict[str, tuple[str, str]] = {}

    def visit(name: bytes, info: Any) -> None:
        if info.type == h5l.TYPE_EXTERNAL:
            target, inside = file.id.links.get_val(name)
            found[name.decode()] = (target.decode(), inside.decode())
        elif info.type != h5l.TYPE_HARD or name.count(b"/") > 1:
            found[name.decode()] = ("", "")

    with h5py.File(io.BytesIO(image), "r") as file:
        file.id.links.visit(visit, info=True)
    return found
