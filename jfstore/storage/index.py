"""Read and write the index: the whole repository as one HDF5 file of links, with what a look-up needs behind it.

HDF5 ignores what follows its end-of-file address, so the newest segment lies there::

    <HDF5 file: /<panel Id>/<stamp>/v0001 -> external link to the payload>
    <the newest segment>
    <footer: one line of JSON>
    <BLAKE3 of the footer> <its length, 10 digits> jfstore-index-2\\n

Older segments are files of their own in ``index/``, named in the footer with their headers. Readers find the footer
from the end and never give a byte to libhdf5, which may crash or hang on a damaged file; a writer or `verify` does so
only after the BLAKE3 of the HDF5 part was right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jfstore.core.hashing import digest
from jfstore.core.instants import SECOND, now
from jfstore.core.records import Identity
from jfstore.core.segment import Segment, merge_segments
from jfstore.core.table import Table
from jfstore.errors import Damaged
from jfstore.fs.hdf5_image import hdf5_bytes
from jfstore.storage.base import SavedIndex, check_name
from jfstore.storage.objects import Objects
from jfstore.storage.segment_file import FileSegment, Reader, decode_segment, encode_segment

_TAIL = b"%b %010d jfstore-index-2\n"
REMEDY = "jfstore verify --rebuild-index rebuilds it from the log"
_EARLIER = b" jfstore-index-1\n"
_TAIL_SIZE = len(_TAIL % (b"0" * 64, 0))
_FOOTER_LIMIT = 1 << 20
_INLINE_LIMIT = 1 << 23
_INDEX_LIMIT = 1 << 40
_REMOTE_LIMIT = 1 << 25
SPILL = 1 << 18
"""A segment of more bytes than this becomes a file of its own."""

FOLDER = "index"
_KEPT_FOR = 3600 * SECOND
"""For how long a segment file is kept that no index uses any more."""

NOT_SOUND = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, Damaged)
"""Errors of reading something that is not an index, or is cut off."""


def link_path(panel: str, stamp: str, number: int) -> str:
    """Return the path in the index of a version."""
    return f"{panel}/{stamp}/v{number:04d}"


def _read_footer(read: Reader, size: int) -> dict[str, Any]:
    tail = read(size - _TAIL_SIZE, _TAIL_SIZE)
    seal, length = tail[:64], int(tail[65:75])
    if length > min(_FOOTER_LIMIT, size):
        raise ValueError("its footer is too long")
    line = read(size - _TAIL_SIZE - length, length)
    if tail != _TAIL % (digest(line).encode(), length) or digest(line).encode() != seal:
        raise ValueError("its footer does not match its hash")
    footer: dict[str, Any] = json.loads(line)
    numbers = footer["image"], footer["seq"]
    if not all(type(number) is int and 0 <= number < 1 << 50 for number in numbers):
        raise ValueError("its footer has odd numbers")
    for name, since in footer["superseded"].items():
        # What is named here is removed: nothing but segment files.
        if not check_name(name).startswith(f"{FOLDER}/") or type(since) is not int:
            raise ValueError("its footer names what is not a segment")
    return footer


def decode(read: Reader, size: int, open_segment: Callable[[str, int], Reader]) -> SavedIndex:
    """Read an index file of `size` bytes.

    Parameters
    ----------
    read : callable
        Reads from the file.
    size : int
        Size of the file.
    open_segment : callable
        Returns what reads from a segment's file, given its name and size.

    Raises
    ------
    ValueError, LookupError, TypeError
        If it is not an index, or a hash is wrong.
    """
    if size < _TAIL_SIZE:
        raise ValueError("it is too short")
    footer = _read_footer(read, size)
    segments: list[Segment] = []
    for name, header in footer["segments"]:
        segment = FileSegment(header, check_name(f"{FOLDER}/{name}"), lambda *_: b"")
        segment._read = open_segment(segment.name, segment.size)
        segments.append(segment)
    if header := footer["newest"]:
        start, length = footer["image"], FileSegment(header, "", read).size
        if length > _INLINE_LIMIT:
            raise ValueError("its newest segment is too long")
        segments.append(decode_segment(read(start, length), header))
    ends = [segment.last for segment in segments]
    if [segment.first for segment in segments] != [1, *(end + 1 for end in ends[:-1])][: len(ends)]:
        raise ValueError("its segments do not follow each other")
    table = Table(tuple(segments))
    return SavedIndex(footer["repository"], footer["head"], footer["log_state"], table, footer["superseded"])


def sound_image(read: Reader, size: int) -> tuple[bytes, int] | None:
    """Return the HDF5 part of an index file and the commit that it is of, None if its hash is wrong."""
    footer = _read_footer(read, size)
    image = read(0, footer["image"])
    return (image, footer["seq"]) if digest(image) == footer["image_blake3"] else None


@dataclass(frozen=True, slots=True)
class Saving:
    """What is to be written to save an index: new segment files, the index itself, and what is of no use any more."""

    files: tuple[tuple[str, bytes], ...]
    pieces: tuple[bytes, ...]
    useless: tuple[str, ...]


def prepare(
    identity: Identity, table: Table, log_state: str | None, image: bytes, saved: SavedIndex | None = None
) -> Saving:
    """Return what is to be written to save `table`.

    The segments in memory are merged to one; once that is large it becomes a file, merged with those before it that
    are not larger, so that there are few files and each version is written few times. A file that is superseded is
    kept for an hour: for readers that are about to open it, and for a slow writer whose index names it again.
    """
    time = now()
    kept = [segment for segment in table.segments if isinstance(segment, FileSegment)]
    memory = table.segments[len(kept) :]
    data, header, files = b"", None, tuple[tuple[str, bytes], ...]()
    if memory:
        fresh = memory[0] if len(memory) == 1 else merge_segments(memory)
        data, header = encode_segment(fresh)
        if len(data) > SPILL:
            kept, files = _spill(kept, fresh, data, header)
            data, header = b"", None
    names = [segment.name for segment in kept]
    superseded = {**saved.superseded, **dict.fromkeys(saved.segment_names, time)} if saved else {}
    ages = {name: time - since for name, since in superseded.items() if name not in names}
    footer = {
        "repository": identity.id,
        "seq": table.seq,
        "head": table.head,
        "log_state": log_state,
        "image": len(image),
        "image_blake3": digest(image),
        "segments": [[segment.name.partition("/")[2], segment.header] for segment in kept],
        "newest": header,
        "superseded": {name: superseded[name] for name, age in ages.items() if age < _KEPT_FOR},
    }
    line = json.dumps(footer, separators=(",", ":")).encode()
    pieces = (image, data, line, _TAIL % (digest(line).encode(), len(line)))
    return Saving(files, pieces, tuple(name for name, age in ages.items() if age >= _KEPT_FOR))


def _spill(
    kept: Sequence[FileSegment], fresh: Segment, data: bytes, header: dict[str, Any]
) -> tuple[list[FileSegment], tuple[tuple[str, bytes], ...]]:
    """Return the segment files with one more, which is still to be written, and its name and bytes."""
    kept = list(kept)
    while kept and kept[-1].size <= len(data):
        fresh = merge_segments([kept.pop(), fresh])
        data, header = encode_segment(fresh)
    name = f"{FOLDER}/{header['first']:010d}-{header['last']:010d}-{digest(data)[:12]}"
    return [*kept, FileSegment(header, name, lambda *_: b"")], ((name, data),)


def load(objects: Objects, index_name: str) -> SavedIndex | None:
    """Return the saved index of a repository; None if there is none, or it is damaged."""
    try:
        read, size = objects.open_reader(index_name, _INDEX_LIMIT if objects.at_once == 1 else _REMOTE_LIMIT)
        return decode(read, size, lambda name, size: _open_segment(objects, name, size))
    except NOT_SOUND:
        return None


def _open_segment(objects: Objects, name: str, size: int) -> Reader:
    """Return what reads a segment file; whatever is wrong with the file is found when it is read."""
    try:
        read, found = objects.open_reader(name, _INDEX_LIMIT)
        if found == size:
            return read
    except (OSError, Damaged):
        pass

    def fail(_offset: int, _length: int) -> bytes:
        raise ValueError(f"{name} is missing or has another size")

    return fail


def save(objects: Objects, index_name: str, saving: Saving) -> None:
    """Write what `prepare` returned: segment files first, then the index, in one step."""
    for name, data in saving.files:
        objects.make_folders(name)
        with suppress(FileExistsError):  # the same content
            objects.create(name, [data])
    # Its name need not survive a power failure: an older index does no harm.
    objects.replace(index_name, saving.pieces, settle=False)
    for name in saving.useless:
        with suppress(OSError):
            objects.remove(name)


def check(objects: Objects, index_name: str, identity: Identity, table: Table) -> tuple[SavedIndex | None, list[str]]:
    """Return the saved index, and the differences between it and the log, as messages."""
    path = f"{objects.location}/{index_name}"
    if not objects.exists(index_name):
        return None, [missing(path)]
    saved = load(objects, index_name)
    if saved is None and _is_earlier(objects, index_name):
        return None, []
    return saved, differences(path, saved, identity, table)


def _is_earlier(objects: Objects, index_name: str) -> bool:
    """Return whether an index is of 0.1.0, which readers pass over and the next commit replaces."""
    try:
        read, size = objects.open_reader(index_name, _REMOTE_LIMIT)
        return read(size - len(_EARLIER), len(_EARLIER)) == _EARLIER
    except NOT_SOUND:
        return False


def missing(path: object) -> str:
    """Return the message that the index is missing."""
    return f"{path} is missing; jfstore verify --rebuild-index rebuilds it"


def differences(path: object, saved: SavedIndex | None, identity: Identity, table: Table) -> list[str]:
    """Return the differences between the table of a saved index (None: unreadable) and that of the log, as messages."""
    known = saved.sound_versions() if saved else None
    if saved is None or known is None:
        return [f"{path} is damaged: it does not match its hashes; jfstore verify --rebuild-index rebuilds it"]
    if saved.repository != identity.id:
        return [f"{path} belongs to another repository, {saved.repository}"]
    if not saved.is_of(table):
        return [f"{path} is ahead of the log: it says that commit {saved.table.seq} is {saved.head[:12]}"]
    before = [version for version in table.version_list() if version.seq <= saved.table.seq]
    if known != before:
        return [f"{path} differs from the log"]
    return []


def link_versions(image: bytes | None, done: int, table: Table) -> bytes:
    """Return `image` (an empty file if None) with a link for each version of commits after `done`."""
    from h5py import h5p

    intermediate = h5p.create(h5p.LINK_CREATE)
    intermediate.set_create_intermediate_group(True)
    added = table.version_list(table.rows_after(done))

    def fill(file: Any) -> None:
        for version in added:
            if not version.closes:
                path = link_path(version.panel, version.stamp, version.number).encode()
                file.id.links.create_external(path, check_name(version.file.path).encode(), b"/", lcpl=intermediate)
        file.attrs["last_commit"] = table.seq

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
