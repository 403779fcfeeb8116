"""Write DCS files: whole or not at all, in the layout that the `dcs` program reads.

A changed file is written completely under a temporary name beside the old one, synced, read back, and then renamed
over it, under a lock. If that fails or is killed, the old file is unchanged; readers see the old or the new file.
HDF5 lays the file out in memory without the arrays; these are inserted one by one, so that only one is in memory.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jfstore.core.hashing import digest
from jfstore.dcs.model import Blob, DcsContents, DcsRange, Notes, name_version
from jfstore.dcs.read import open_dcs
from jfstore.errors import BadValue, Busy, Damaged, Failed, InDoubt, NotFound, Refused
from jfstore.fs import durable
from jfstore.fs.owner import Rights

Progress = Callable[[int, int], None]

_LOCK = ".dcs-lock"
_WAIT = 60.0
_EXAMPLE = "jungfrau-171113-154920171025-3d00fb.h5"


def make_contents(path: Path) -> DcsContents:
    """Return the contents of a new file, which its name gives; BadValue if that is not ``<type>-<Id>.h5``."""
    detector_type, dash, detector_id = path.name.removesuffix(".h5").partition("-")
    if not (detector_type and dash and detector_id and path.suffix == ".h5") or not path.name.isprintable():
        raise BadValue(f"{path} is not named <detector type>-<detector Id>.h5, such as {_EXAMPLE}")
    return DcsContents(where=str(path), detector_type=detector_type, detector_id=detector_id)


def change_dcs(
    path: Path,
    edit: Callable[[DcsContents], DcsContents],
    *,
    create: bool = False,
    rights: Rights | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[str, ...]:
    """Change a file, and return notes for the user.

    Parameters
    ----------
    edit : callable
        Returns the new contents, given the present ones; called again if another program changed the file meanwhile.
    create : bool
        Whether a new file is made if it does not exist.
    rights : Rights, optional
        Mode and group of a new file; an existing file keeps its own.
    progress : callable, optional
        Called with the number of arrays written and their total.

    Raises
    ------
    JfstoreError
        As for `open_dcs`. Refused if the file has foreign objects, which would be lost; Damaged if the new file does
        not read back as it was written; Busy if other programs keep changing the file; InDoubt if it is changed, but
        may not survive a power failure.
    """
    if path.is_symlink():  # the link stays, the file that it leads to is changed
        path = Path(os.path.realpath(path))
    _check_writable(path, create)
    lock = path.parent / _LOCK
    if not lock.exists():
        with suppress(FileExistsError, Refused):
            durable.publish(lock, [], 0o664)
    with durable.hold_lock(lock, _WAIT) as is_locked:
        if is_locked is False:
            raise Busy(f"{path}: other programs have been changing files in its directory for {_WAIT:.0f} s")
        until = time.monotonic() + _WAIT
        # A program that does not use the lock may change the file meanwhile: then the edit is repeated.
        while not _try_change(path, edit, create, rights or Rights(), progress):
            if time.monotonic() > until:
                raise Busy(f"{path}: other programs have been changing it for {_WAIT:.0f} s")
    return () if is_locked else (f"cannot lock {path.parent}: make sure that nobody else changes {path.name}",)


def _check_writable(path: Path, create: bool) -> None:
    if not path.parent.is_dir():
        raise (Failed if create else NotFound)(f"{path.parent} does not exist")
    if not create and not path.exists():
        raise NotFound(f"{path}: no such file")
    # A read-only file is not replaced, even if its directory can be written to.
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            raise Failed(f"{place} is not writable")


def write_dcs(
    file: str, contents: DcsContents, *, replace: bool, progress: Progress = lambda done, total: None
) -> None:
    """Write `contents` to a new file, or with `replace` over an existing one; errors as for `change_dcs`."""
    path = Path(file)
    if not path.parent.is_dir():
        raise Failed(f"{path.parent} does not exist")
    stage = partial(_stage, path, contents, None, None, progress)
    if replace:
        _replace(stage(), path)
    elif not _publish(stage, path):
        raise Refused(f"{path} exists; --force replaces it")


def _try_change(
    path: Path, edit: Callable[[DcsContents], DcsContents], create: bool, rights: Rights, progress: Progress
) -> bool:
    """Change the file; return False, with nothing done, if another program changed it meanwhile."""
    before = _get_state(path)
    if before is None:
        if not create:
            raise NotFound(f"{path}: no such file")
        new = edit(make_contents(path))
        return _publish(partial(_stage, path, new, rights.file, rights.group, progress), path)
    with open_dcs(path) as contents:
        if contents.foreign:
            raise Refused(f"{path} holds {contents.foreign[0]}, which would be lost: it is not part of a DCS file")
        if contents.detector_name is None:
            named = make_contents(path)
            contents = replace(contents, detector_type=named.detector_type, detector_id=named.detector_id)
        status = os.stat(path)
        temporary = _stage(path, edit(contents), status.st_mode & 0o7777, status.st_gid, progress)
    if _get_state(path) != before:
        durable.remove(temporary)
        return False
    _replace(temporary, path)
    return True


def _get_state(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _stage(path: Path, contents: DcsContents, mode: int | None, group: int | None, progress: Progress) -> Path:
    """Write `contents` under a temporary name beside `path`, sync it and read it back; return that name."""
    hashes: list[str] = []
    temporary = durable.stage(path, _count_pieces(contents, hashes, progress), mode, group)
    try:
        with open_dcs(temporary) as written:
            same = replace(written, where=contents.where) == contents
            if not same or [digest(blob.load().reshape(-1).view("u1").data) for blob in written.blobs()] != hashes:
                raise Damaged(f"{path}: the new file does not read back as it was written; nothing was changed")
    except BaseException:
        with suppress(OSError):
            durable.remove(temporary)
        raise
    return temporary


def _count_pieces(contents: DcsContents, hashes: list[str], progress: Progress) -> Iterator[Any]:
    total = sum(1 for _ in contents.blobs())
    for done, piece in enumerate(make_pieces(contents, hashes)):
        # Each array follows the few bytes that describe it.
        progress(min(done // 2, total), total)
        yield piece
    progress(total, total)


def _publish(stage: Callable[[], Path], path: Path) -> bool:
    """Give the staged file the name `path`; return False if a file of that name exists."""
    try:
        durable.give_free_name(stage(), path)
    except FileExistsError:
        return False
    except durable.NotSynced as error:
        raise _make_doubt(path) from error
    except Refused:
        # This file system has no hard links: a rename is all there is.
        if path.exists():
            return False
        _replace(stage(), path)
    return True


def _replace(temporary: Path, path: Path) -> None:
    durable.give_name(temporary, path, settle=False)
    try:
        durable.sync_directory(path.parent)
    except OSError as error:
        raise _make_doubt(path) from error


def _make_doubt(path: Path) -> InDoubt:
    return InDoubt(f"{path} is changed, but may not survive a power failure: look at it before you repeat this", "")


# -- the bytes of a file


def make_pieces(contents: DcsContents, hashes: list[str] | None = None) -> Iterator[Any]:
    """Yield the bytes of a file that holds `contents`, as buffers in order.

    Arrays are loaded one by one. `hashes`, if given, gets the BLAKE3 of each array in the order of `blobs`.
    """
    import h5py

    # A sparse file in memory: the room for the arrays takes no memory.
    memory = io.FileIO(os.memfd_create("dcs"), "r+")
    with memory:
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
                yield os.pread(memory.fileno(), offset - done, done)
                yield data
                done = offset + len(data)
        yield os.pread(memory.fileno(), size - done, done).ljust(size - done, b"\0")
    if hashes is not None:
        hashes.extend(found[index] for index in range(len(places)))


def _fill(file: Any, contents: DcsContents) -> list[tuple[int, Blob]]:
    """Put everything except the arrays into `file`; return the offset of each array."""
    _put_scalar(file, "dettype", contents.detector_type)
    _put_scalar(file, "detname", contents.detector_name)
    _put_scalar(file, "detid", contents.detector_id)
    _put_scalar(file, "tscfile", contents.created)
    _put_scalar(file, "predecessor", contents.predecessor)
    _put_scalar(file, "successor", contents.successor)
    _put_notes(file, contents.notes)
    datasets: list[tuple[Any, Blob]] = []
    for dcs_type in contents.types:
        group = file.create_group(dcs_type.name)
        _put_scalar(group, "ctype", dcs_type.name)
        _put_notes(group, dcs_type.notes)
        for dcs_range in dcs_type.ranges:
            datasets += _put_range(group.create_group(dcs_range.key), dcs_range)
    file.flush()
    return [(dataset.get_offset() or 0, blob) for dataset, blob in datasets]


def _put_range(group: Any, dcs_range: DcsRange) -> Iterator[tuple[Any, Blob]]:
    _put_scalar(group, "begin", dcs_range.start)
    _put_scalar(group, "end", "end" if dcs_range.end == math.inf else dcs_range.end)
    _put_scalar(group, "range", dcs_range.key)
    _put_scalar(group, "versdef", dcs_range.default)
    _put_notes(group, dcs_range.notes)
    for version in dcs_range.versions:
        inner = group.create_group(name_version(version.number))
        _put_scalar(inner, "version", version.stored_number)  # a version that was never valid stays so
        _put_scalar(inner, "tsprod", version.produced)
        _put_notes(inner, version.notes)
        if version.blob is not None:
            yield _reserve_array(inner, version.blob), version.blob


def _put_notes(group: Any, notes: Notes) -> None:
    for name, values in (("_history", notes.history), ("_parameters", notes.parameters)):
        if values:
            inner = group.create_group(name)
            for key, value in values.items():
                _put_scalar(inner, key, value)


def _put_scalar(group: Any, name: str, value: str | float | None) -> None:
    if value is None or value == "":  # HDF5 has no text of length zero
        return
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    dtype = f"S{len(raw)}" if isinstance(raw, bytes) else "<i8" if isinstance(raw, int) else "<f8"
    group.create_dataset(name, shape=(1,), dtype=dtype, data=raw)


def _reserve_array(group: Any, blob: Blob) -> Any:
    """Make a dataset with room for an array, to which nothing is written; return it."""
    from h5py import h5d, h5p, h5s, h5t

    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_layout(h5d.CONTIGUOUS)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    space = h5s.create_simple(blob.shape) if blob.shape else h5s.create(h5s.SCALAR)
    kind = h5t.py_create(np.dtype(blob.dtype), logical=True)
    return h5d.create(group.id, b"data", kind, space, dcpl=creation)
