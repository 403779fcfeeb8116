"""Changing a file of the Detector Calibration Store safely.

The changed file is made whole beside the old one, synced, read back, and put in its place at once, under a lock.
Whoever is killed or fails before that leaves the old file as it was; readers see the old or the new one.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jfstore.core.hashing import digest
from jfstore.dcs.model import DcsContents
from jfstore.dcs.read import opened_dcs
from jfstore.dcs.write import blobs_of, file_pieces
from jfstore.errors import BadValue, Busy, Damaged, Failed, InDoubt, JfstoreWarning, NotFound, Refused
from jfstore.fs import durable
from jfstore.fs.rights import Rights

Show = Callable[[int, int], None]

_LOCK = ".dcs-lock"
_WAIT = 60.0


def named_contents(path: Path) -> DcsContents:
    """Return what a new file holds: only what its name says; BadValue if that is not ``<type>-<Id>.h5``."""
    detector_type, dash, detector_id = path.name.removesuffix(".h5").partition("-")
    if not (detector_type and dash and detector_id and path.suffix == ".h5") or not path.name.isprintable():
        raise BadValue(f"{path} is not named <detector type>-<detector Id>.h5, such as jungfrau-{_EXAMPLE}.h5")
    return DcsContents(where=str(path), detector_type=detector_type, detector_id=detector_id)


_EXAMPLE = "171113-154920171025-3d00fb"


def change_dcs(
    path: Path,
    edit: Callable[[DcsContents], DcsContents],
    *,
    create: bool = False,
    rights: Rights | None = None,
    show: Show = lambda done, total: None,
) -> None:
    """Change a file, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    edit : callable
        Returns the new contents, given the present ones; called again if others changed the file meanwhile.
    create : bool
        Whether a file that is not there is made.
    rights : Rights, optional
        Mode and group of a new file; one that is there keeps its own.
    show : callable, optional
        Called with the number of arrays written and their number.

    Raises
    ------
    NotFound
        If there is no such file.
    Damaged, Failed
        As of `opened_dcs`; and if what was read back is not what was written.
    Refused
        If the file holds something that would be lost.
    Busy
        If others are changing it for too long.
    InDoubt
        If it is changed, but may not survive a power failure.
    """
    if path.is_symlink():  # a link stays a link
        path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise (Failed if create else NotFound)(f"{path.parent} is not there")
    if not create and not path.exists():
        raise NotFound(f"{path}: no such file")
    # A file that may not be written to is not to be replaced, though its directory may be written to.
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            raise Failed(f"{place} may not be written to")
    lock = path.parent / _LOCK
    if not lock.exists():
        # Where that is not possible, there is no lock.
        with suppress(FileExistsError, Refused):
            durable.publish(lock, [], 0o664)
    with durable.locked(lock, _WAIT) as held:
        if held is False:
            raise Busy(f"{path}: others have been changing files there for {_WAIT:.0f} s")
        if held is None:
            warnings.warn(
                f"no lock to be had in {path.parent}: take care that nobody else changes {path.name}",
                JfstoreWarning,
                stacklevel=2,
            )
        until = time.monotonic() + _WAIT
        while not _changed(path, edit, create, rights or Rights(), show):
            # Somebody who knows nothing of the lock was faster.
            if time.monotonic() > until:
                raise Busy(f"{path}: others have been changing it for {_WAIT:.0f} s")


def write_dcs(file: str, contents: DcsContents, *, replace: bool, show: Show = lambda done, total: None) -> None:
    """Write `contents` to a new file, or in place of one.

    Raises
    ------
    Refused
        If there is one and it may not be replaced.
    Failed
        If the directory is not there.
    Damaged
        If what was read back is not what was written.
    InDoubt
        If it is written, but may not survive a power failure.
    """
    path = Path(file)
    if not path.parent.is_dir():
        raise Failed(f"{path.parent} is not there")
    stage = partial(_staged, path, contents, None, None, show)
    if replace:
        _replace(stage(), path)
    elif not _named(stage, path):
        raise Refused(f"{path} exists; --force replaces it")


def _changed(path: Path, edit: Callable[[DcsContents], DcsContents], create: bool, rights: Rights, show: Show) -> bool:
    """Change the file; return False if somebody else did meanwhile, and nothing was done."""
    before = _state(path)
    if before is None:
        if not create:
            raise NotFound(f"{path}: no such file")
        new = edit(named_contents(path))
        return _named(partial(_staged, path, new, rights.file, rights.group, show), path)
    with opened_dcs(path) as contents:
        if contents.foreign:
            raise Refused(f"{path} holds {contents.foreign[0]}, which would be lost: the store knows nothing of it")
        if contents.detector_name is None:
            named = named_contents(path)
            contents = replace(contents, detector_type=named.detector_type, detector_id=named.detector_id)
        status = os.stat(path)
        temporary = _staged(path, edit(contents), status.st_mode & 0o7777, status.st_gid, show)
    if _state(path) != before:
        durable.remove(temporary)
        return False
    _replace(temporary, path)
    return True


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _staged(path: Path, contents: DcsContents, mode: int | None, group: int | None, show: Show) -> Path:
    """Write `contents` under a temporary name beside `path`, synced and read back; return that name."""
    seals: list[str] = []
    temporary = durable.stage(path, _shown(contents, seals, show), mode, group)
    try:
        with opened_dcs(temporary) as written:
            # An array is what it was if its bytes are.
            same = replace(written, where=contents.where) == contents
            if not same or [digest(blob.load().reshape(-1).view("u1").data) for blob in blobs_of(written)] != seals:
                raise Damaged(f"{path}: what was read back is not what was written; nothing was changed")
    except BaseException:
        with suppress(OSError):
            durable.remove(temporary)
        raise
    return temporary


def _shown(contents: DcsContents, seals: list[str], show: Show) -> Iterator[Any]:
    total = sum(1 for _ in blobs_of(contents))
    for done, piece in enumerate(file_pieces(contents, seals)):
        # Before each array come the few bytes that describe it.
        show(min(done // 2, total), total)
        yield piece
    show(total, total)


def _named(stage: Callable[[], Path], path: Path) -> bool:
    """Give what is staged the name `path`; return False if something bears it already."""
    try:
        durable.give_free_name(stage(), path)
    except FileExistsError:
        return False
    except durable.NotSynced as error:
        raise _doubt(path) from error
    except Refused:
        # No hard links here (some shares): what nobody has yet may be renamed into place.
        if path.exists():
            return False
        _replace(stage(), path)
    return True


def _replace(temporary: Path, path: Path) -> None:
    durable.give_name(temporary, path, settle=False)
    try:
        durable.sync_directory(path.parent)
    except OSError as error:
        raise _doubt(path) from error


def _doubt(path: Path) -> InDoubt:
    return InDoubt(f"{path} is changed, but may not survive a power failure: look at it before you repeat this", "")
