"""Read files that may be hostile: regular files only, not through links, and not more than a limit."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jfstore.errors import BadValue, Damaged, Failed

_PIECE = 16 << 20
_AT_ONCE = 1 << 30


def open_regular(path: Path | str, follow: bool = False) -> int:
    """Open a regular file for reading; a FIFO, device, directory or (unless `follow`) link is refused.

    Returns
    -------
    int
        The file descriptor, to be closed by the caller.

    Raises
    ------
    OSError
        If the file cannot be opened.
    Damaged
        If it is not a regular file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise Damaged(f"{path} is a symbolic link, not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Damaged(f"{path} is not a regular file")
    return fd


@contextmanager
def open_checked(path: Path | str, follow: bool = False) -> Iterator[int]:
    """Open a file as `open_regular` does, and close it at the end of the context."""
    fd = open_regular(path, follow)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def user_errors(path: Path | str) -> Iterator[None]:
    """Convert errors of a file that the user named to BadValue, or to Failed if the system failed."""
    try:
        yield
    except Damaged as error:
        raise BadValue(error.message) from None
    except FileNotFoundError:
        raise BadValue(f"{path}: no such file") from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def read_regular(path: Path, limit: int, follow: bool = False) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes; see `open_checked`."""
    with open_checked(path, follow) as fd:
        size = os.fstat(fd).st_size
        if size > limit:
            raise Damaged(f"{path} has {size} bytes, more than the {limit} that it may have")
        pieces = []
        while piece := os.read(fd, size + 1):
            pieces.append(piece)
            size -= len(piece)
            if size < 0:
                raise Damaged(f"{path} grows while it is read")
        return b"".join(pieces)


def pieces_of(path: Path, follow: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a regular file piece by piece; see `open_checked`."""
    with open_checked(path, follow) as fd:
        while piece := os.read(fd, _PIECE):
            yield piece


class Reader:
    """Reads parts of an open file, which it closes when nothing refers to it any more.

    Parameters
    ----------
    fd : int
        The file's descriptor; the reader owns it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size
        weakref.finalize(self, os.close, fd)

    def __call__(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; ValueError if the file has fewer."""
        data = read_at(self._fd, length, offset) if min(offset, length) >= 0 else b""
        if len(data) != length:
            raise ValueError("it is too short")
        return data


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Return `length` bytes from `offset` of the file, fewer if it ends before that; the system gives 2 GiB at most."""
    data = os.pread(fd, min(length, _AT_ONCE), offset)
    if len(data) == length or not data:
        return data
    pieces = [data]
    while data and (length := length - len(data)):
        offset += len(data)
        data = os.pread(fd, min(length, _AT_ONCE), offset)
        pieces.append(data)
    return b"".join(pieces)


def read_into(fd: int, buffer: memoryview, offset: int, where: str) -> None:
    """Fill `buffer` from `offset` of the file; Damaged if the file ends before that."""
    done = 0
    while done < len(buffer):
        count = os.preadv(fd, [buffer[done:]], offset + done)
        if not count:
            raise Damaged(f"{where} is shorter than it was")
        done += count
