"""Append lines to a text file that several programs share, such as ``HISTORY``: each line whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jfstore.errors import Busy, Damaged
from jfstore.fs import durable

_TRIES = 3


class Appender:
    """A shared text file, locked while it is open."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd, self._path = fd, path

    def text(self) -> bytes:
        """Return the contents of the file."""
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)

    def append(self, line: bytes) -> None:
        """Append a line, whole or not at all, and sync the file.

        Raises
        ------
        OSError
            If the disk is full, or other programs keep overwriting the end of the file.
        """
        for _ in range(_TRIES):
            size = os.fstat(self._fd).st_size
            # A line that another program left unfinished is not ours to go on with.
            whole = line if not size or os.pread(self._fd, 1, size - 1) == b"\n" else b"\n" + line
            count = durable.system.write(self._fd, [memoryview(whole)])
            if count != len(whole):
                durable.system.truncate(self._fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            durable.system.sync(self._fd)
            # Where locks do not work, two may have added at the same place.
            if line in os.pread(self._fd, os.fstat(self._fd).st_size - size, size):
                return
        raise OSError(errno.EAGAIN, "others overwrite what is added", str(self._path))


@contextmanager
def appending(path: Path, mode: int, group: int | None = None, timeout: float = 10.0) -> Iterator[Appender]:
    """Open a file to append lines, creating it if it does not exist, and hold a lock on it.

    Parameters
    ----------
    mode : int
        Permissions of a new file, whatever the umask.
    group : int, optional
        Number of the group of a new file.
    timeout : float
        Seconds to wait for the lock; where there are no locks, it goes on without.

    Raises
    ------
    Busy
        If others held the lock for so long.
    """
    fd = durable.system.open_to_append(path, mode)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(f"{path} is not a regular file")
        if not status.st_size and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != mode:
            durable.give_to_group(fd, group, path)
            durable.system.chmod(fd, mode)
        if durable.acquire(fd, timeout) is False:
            raise Busy(f"{path}: others have had it locked for {timeout:.0f} s; try again")
        yield Appender(fd, path)
    finally:
        os.close(fd)
