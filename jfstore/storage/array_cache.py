"""Cache the arrays of a bucket on this machine, in files that never change and are named by their BLAKE3.

Each file starts with the array, so that all processes of the machine map one copy. Nothing depends on the cache:
if a file is missing or damaged, the bucket is read.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from jfstore.core.hashing import digest_of_pieces
from jfstore.errors import Damaged, Failed, JfstoreError
from jfstore.fs import durable, files

T = TypeVar("T")

USUAL_LIMIT = "20G"
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)", re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PATIENCE = 300.0
_STALE = 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the cache: its path, its size in bytes, and the time of its last use."""

    path: Path
    size: int
    used: float


class Cache:
    """Files below `root`, of at most `limit` bytes together.

    Attributes
    ----------
    trouble : str
        Why the cache cannot be used; empty if it can.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        self.trouble = ""

    def _path(self, key: str) -> Path:
        return self.root / "arrays" / key[:2] / key

    def descriptor(self, key: str, size: int) -> int | None:
        """Open the array with the BLAKE3 `key`, None if it is not cached; its bytes are not verified."""
        try:
            fd = files.open_regular(self._path(key))
        except (OSError, Damaged):
            return None
        if os.fstat(fd).st_size != size:
            os.close(fd)
            return None
        return fd

    @contextmanager
    def waiting_for(self, wanted: Mapping[str, tuple[int, T]]) -> Iterator[dict[str, T]]:
        """Yield the entries of `wanted` (by BLAKE3, with the size) that are not cached.

        Locks are held meanwhile, so that other processes wait for this download instead of repeating it.
        """
        with ExitStack() as stack:
            missing = self._missing(wanted)
            # In sorted order, so that two processes never wait for each other.
            for bucket in sorted({key[:2] for key in missing}):
                try:
                    stack.enter_context(durable.hold_lock(self._lock(bucket), _PATIENCE))
                except (OSError, JfstoreError) as error:
                    self.trouble = _reason(error)
            missing = self._missing(missing)
            yield {} if self.trouble else {key: thing for key, (_, thing) in missing.items()}

    def _missing(self, wanted: Mapping[str, tuple[int, T]]) -> dict[str, tuple[int, T]]:
        missing = {}
        for key, (size, thing) in wanted.items():
            fd = self.descriptor(key, size)
            if fd is None:
                missing[key] = (size, thing)
            else:
                os.close(fd)
        return missing

    def _lock(self, bucket: str) -> Path:
        path = self.root / "locks" / bucket
        if not path.exists():
            _make(path.parent)
            with suppress(FileExistsError):
                durable.publish(path, [], mode=0o600, sync=False)
        return path

    def keep(self, key: str, pieces: Sequence[Any]) -> None:
        """Store the array with the BLAKE3 `key`, whose bytes are `pieces`; a failure only sets `trouble`."""
        path = self._path(key)
        try:
            _make(path.parent)
            if os.path.lexists(path):  # of another size, or no file
                durable.remove(path)
            durable.publish(path, pieces, mode=0o444, sync=False)
        except FileExistsError:
            return
        except (OSError, JfstoreError) as error:
            self.trouble = _reason(error)

    def forget_damaged(self, key: str) -> bool:
        """Remove the array `key` if its bytes do not match; return whether it was removed."""
        path = self._path(key)
        try:
            if digest_of_pieces(files.pieces_of(path)) == key:
                return False
        except FileNotFoundError:
            return False
        except (OSError, Damaged):
            pass
        with suppress(OSError):
            durable.remove(path)
        return not os.path.lexists(path)

    def list_files(self) -> list[Kept]:
        """Return every file, the least recently used one first."""
        found = []
        for path in (self.root / "arrays").glob("*/*"):
            with suppress(OSError):  # another process may be removing it
                status = path.lstat()
                found.append(Kept(path, status.st_size, max(status.st_atime, status.st_mtime)))
        return sorted(found, key=lambda kept: kept.used)

    def shrink(self, needed: Sequence[str] = ()) -> None:
        """Remove the least recently used arrays, except `needed`, until the limit is met, and stale temporary files."""
        kept = self.list_files()
        size = sum(each.size for each in kept)
        for each in kept:
            # Another process may be writing a temporary file that is not old.
            if each.path.name.startswith(durable.TEMPORARY):
                unwanted = each.used < time.time() - _STALE
            else:
                unwanted = size > self.limit and each.path.name not in needed
            if unwanted:
                size -= self._remove(each)

    def clear(self) -> int:
        """Remove all files; return the number of bytes. Processes that have mapped a file keep their mapping."""
        return sum([self._remove(each) for each in self.list_files()])

    def _remove(self, kept: Kept) -> int:
        with suppress(OSError):
            durable.remove(kept.path)
            return kept.size
        return 0


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _make(directory: Path) -> None:
    """Create a directory and its parents, accessible to this user only."""
    if not directory.is_dir():
        _make(directory.parent)
        durable.make_directory(directory, 0o700)


def usual_cache() -> Cache | None:
    """Return the cache that the environment variables set, None if its limit is 0.

    Raises
    ------
    Failed
        If ``JFSTORE_CACHE_SIZE`` is not a size.
    """
    text = os.environ.get("JFSTORE_CACHE_SIZE") or USUAL_LIMIT
    match = _SIZE.fullmatch(text)
    if not match:
        raise Failed(f"JFSTORE_CACHE_SIZE is {text!r}, not a number of bytes such as {USUAL_LIMIT}")
    place = os.environ.get("JFSTORE_CACHE") or Path(platformdirs.user_cache_dir("jfstore"), "store")
    limit = int(match[1]) * _UNITS[match[2]]
    return Cache(Path(os.path.expanduser(place)).absolute(), limit) if limit else None
