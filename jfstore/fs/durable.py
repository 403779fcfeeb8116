"""The only door to the disk: every write, sync, link and replacement of the project goes through here.

A file is written under a temporary name in its own directory, synced, and only then given its
name, by ``link`` (which refuses to replace) or by ``rename`` (which replaces at once); the directory
is synced after that. Readers never see half a file, and after a power failure what was
acknowledged is there. A file whose sync failed is thrown away and never synced again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from jfstore.errors import Damaged, Refused
from jfstore.fs import events
from jfstore.fs.holes import Hole

TEMPORARY = ".tmp-"
"""How temporary names begin; what bears one was never acknowledged and may be removed."""

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.EOPNOTSUPP}
_BUFFERS_A_CALL = 512
_READ_AT_ONCE = 1 << 20


class NotSynced(OSError):
    """The file has its name, but its directory could not be synced."""


class System:
    """The system calls that change a file system; tests replace them to record calls or to let them fail."""

    def create(self, path: Path, mode: int) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    def write(self, fd: int, buffers: Sequence[memoryview]) -> int:
        return os.writev(fd, buffers)

    def skip(self, fd: int, count: int) -> None:
        os.ftruncate(fd, os.lseek(fd, count, os.SEEK_CUR))

    def chmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def remove_directory(self, path: Path) -> None:
        os.rmdir(path)

    def symlink(self, target: str, path: Path) -> None:
        os.symlink(target, path)

    def open_to_append(self, path: Path, mode: int) -> int:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def change_group(self, place: Path | int, group: int) -> None:
        os.chown(place, -1, group)

    def make_directory(self, path: Path) -> None:
        os.mkdir(path, 0o755)

    def chmod_directory(self, path: Path, mode: int) -> None:
        os.chmod(path, mode)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


system = System()


def stage(
    target: Path,
    pieces: Iterable[Any],
    mode: int | None,
    group: int | None = None,
    read_back: bool = False,
    sync: bool = True,
) -> Path:
    """Write and sync `pieces` under a temporary name beside `target`; return it. Parameters as for `overwrite`."""
    path = target.parent / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        fd = system.create(path, 0o666 if mode is None else 0o600)
    except OSError as error:
        error.filename = str(target)
        raise
    try:
        try:
            for call in _calls(pieces):
                if isinstance(call, Hole):
                    system.skip(fd, len(call))
                else:
                    _write_all(fd, call)
            give_to_group(fd, group, target)
            if mode is not None:
                system.chmod(fd, mode)
            if sync:
                system.sync(fd)
        finally:
            system.close(fd)
        if read_back:
            assert isinstance(pieces, Sequence)
            _compare(path, pieces, target)
    except BaseException as error:
        with suppress(OSError):
            system.remove(path)
        if isinstance(error, OSError):
            error.filename = str(target)
        raise
    return path


def _write_all(fd: int, buffers: list[memoryview]) -> None:
    while buffers:
        count = system.write(fd, buffers)
        while buffers and count >= len(buffers[0]):
            count -= len(buffers.pop(0))
        if count:
            buffers[0] = buffers[0][count:]


def _calls(pieces: Iterable[Any]) -> Iterator[list[memoryview] | Hole]:
    """Yield the buffers of each call: many together, or one by one if they come from a generator; holes alone."""
    if not isinstance(pieces, Sequence):
        for piece in pieces:
            yield [memoryview(piece).cast("B")] if len(piece) else []
        return
    for are_holes, run in groupby(pieces, lambda piece: isinstance(piece, Hole)):
        if are_holes:
            yield from run
            continue
        buffers = [memoryview(piece).cast("B") for piece in run if len(piece)]
        for first in range(0, len(buffers), _BUFFERS_A_CALL):
            yield buffers[first : first + _BUFFERS_A_CALL]


def give_to_group(place: Path | int, group: int | None, target: Path) -> None:
    """Change the group of a new file or directory; a failure is only reported, because it can be corrected later."""
    if group is not None:
        try:
            system.change_group(place, group)
        except OSError as error:
            events.report(f"{target} could not be given to its group: {error.strerror}")


def _compare(path: Path, pieces: Sequence[Any], target: Path) -> None:
    """Read a synced file again, past the page cache if the system allows it; raise Damaged if it differs."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for piece in pieces:
            view = memoryview(piece).cast("B")
            for start in range(0, len(view), _READ_AT_ONCE):
                part = view[start : start + _READ_AT_ONCE]
                if file.read(len(part)) != part:
                    raise Damaged(f"{target}: what was read back is not what was written; nothing was replaced")


def sync_directory(path: Path) -> None:
    """Sync a directory, so that its entries survive a power failure."""
    try:
        system.sync_directory(path)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            error.filename = str(path)
            raise


def publish(path: Path, pieces: Sequence[Any], mode: int | None = 0o444, sync: bool = True) -> None:
    """Create the file `path`, which must not exist yet, from `pieces`: whole or not at all.

    Parameters
    ----------
    path : Path
        The name; its directory must exist.
    pieces : sequence of buffers
        The contents, in order; C-contiguous. A `Hole` takes no space on the disk.
    mode : int or None
        Permissions; None leaves them to the user's umask.
    sync : bool
        False: it need not survive a power failure, after which it may be there with other bytes.

    Raises
    ------
    FileExistsError
        If something bears the name already.
    NotSynced
        If the name was given but its directory could not be synced.
    Refused
        If the file system has no hard links.
    """
    give_free_name(stage(path, pieces, mode, sync=sync), path, sync)


def give_free_name(temporary: Path, path: Path, sync: bool = True) -> None:
    """Rename a staged file to `path`, which must not exist yet; see `publish`."""
    try:
        try:
            system.link(temporary, path)
        except FileExistsError:
            # An NFS server whose answer was lost is asked again and finds its own link.
            if not os.path.lexists(temporary) or os.lstat(temporary).st_nlink != 2:
                raise
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise Refused(f"the file system of {path.parent} has no hard links, which publishing needs") from None
            raise
        try:
            if sync:
                sync_directory(path.parent)
        except OSError as error:
            raise NotSynced(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            system.remove(temporary)


def overwrite(
    path: Path,
    pieces: Sequence[Any],
    mode: int | None = 0o444,
    settle: bool = True,
    *,
    group: int | None = None,
    read_back: bool = False,
) -> None:
    """Create or replace the file `path`; readers see either the old or the new file.

    Unless `settle`, a power failure may bring the old file back. `group` is the number of the group that the
    file is given to. With `read_back` the file is read again before it gets its name: Damaged if it differs.
    """
    temporary = stage(path, pieces, mode, group, read_back)
    give_name(temporary, path, settle)


def give_name(source: Path, path: Path, settle: bool = True) -> None:
    """Rename a file to `path` in the same directory, replacing an existing file; see `overwrite`."""
    try:
        system.rename(source, path)
    except BaseException:
        if source.name.startswith(TEMPORARY):
            with suppress(OSError):
                system.remove(source)
        raise
    if settle:
        sync_directory(path.parent)


def keep(path: Path, kept: Path) -> None:
    """Give a file a second name in its directory, which must not exist yet; copy it if links are not allowed."""
    try:
        system.link(path, kept)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Another user's file that we may not write to, or no hard links here.
        overwrite(kept, [path.read_bytes()], os.stat(path).st_mode & 0o777)
    sync_directory(kept.parent)


def make_directory(path: Path, mode: int, group: int | None = None) -> bool:
    """Create a directory with exactly `mode`, whatever the umask, and sync its parent.

    `group` is the number of its group; without it, a parent with the set-group-ID bit passes its group on.

    Returns
    -------
    bool
        False if it existed.
    """
    try:
        system.make_directory(path)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise Damaged(f"{path} is in the place of a directory") from None
        _see_to_mode(path, mode)
        made = False
    else:
        give_to_group(path, group, path)
        system.chmod_directory(path, mode)
        made = True
    # Also when it was there: whoever made it may not have synced it yet.
    sync_directory(path.parent)
    return made


def adopt_directory(path: Path, mode: int) -> None:
    """Take a directory that is there already: sync its parent, and give it its mode if it is one whose maker
    was killed before it could: empty, ours, and as a new directory commonly is."""
    status = os.stat(path)
    if stat.S_IMODE(status.st_mode) & ~stat.S_ISGID == 0o755 and status.st_uid == os.geteuid() and not os.listdir(path):
        system.chmod_directory(path, mode)
    with suppress(PermissionError):  # a parent that we may not read is not ours to look after
        sync_directory(path.resolve().parent)


def _see_to_mode(path: Path, mode: int) -> None:
    """Give an empty directory of ours, whose maker was killed before it could, its mode; wait a moment for
    one that another writer has made but not yet opened to its group."""
    status = os.stat(path)
    if stat.S_IMODE(status.st_mode) != mode and status.st_uid == os.geteuid() and not os.listdir(path):
        system.chmod_directory(path, mode)
        return
    until = time.monotonic() + 1.0
    while not os.access(path, os.W_OK | os.X_OK) and os.stat(path).st_mode & 0o777 != mode & 0o777:
        if time.monotonic() > until:
            return
        time.sleep(0.01)


def symlink(target: str, path: Path) -> None:
    """Make a symbolic link; it is not synced."""
    system.symlink(target, path)


def remove(path: Path) -> None:
    """Remove a file that no acknowledged commit needs."""
    system.remove(path)


def remove_directory(path: Path) -> None:
    """Remove a directory that has no name yet, with the files in it."""
    for file in path.iterdir():
        system.remove(file)
    system.remove_directory(path)


@contextmanager
def hold_lock(path: Path, timeout: float = 10.0) -> Iterator[bool | None]:
    """Hold a lock on the permanent file `path`, to save other writers a retry; correctness does not depend on it.

    Yields
    ------
    bool or None
        False if other processes held it for `timeout` seconds, None if the file system has no locks.
    """
    fd = -1
    # Who may not write to it can lock it all the same, but on network file systems.
    for access in (os.O_RDWR, os.O_RDONLY):
        with suppress(OSError):
            # To open a FIFO that somebody put there must not wait for ever.
            fd = os.open(path, access | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            break
    try:
        yield acquire(fd, timeout) if fd >= 0 and stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        if fd >= 0:
            os.close(fd)


def acquire(fd: int, timeout: float) -> bool | None:
    """Lock an open file until it is closed; return as `hold_lock` yields."""
    until = time.monotonic() + timeout
    pause = 0.001
    while True:
        try:
            system.lock(fd)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        except OSError:  # no locks here, or not now
            return None
