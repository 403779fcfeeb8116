"""Store objects as files in a directory of a file system with hard links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from jfstore.errors import Damaged, Refused
from jfstore.fs import durable, files
from jfstore.storage.objects import Objects

_ROOT_MODE = 0o2775
_BELOW_MODE = 0o3775
_LOCK = ".lock"
_FOLDERS = ("log", "panels")
_CLOCK_LIMIT = 600 * 10**9
"""How far a writer's clock may be ahead of the file system's, in nanoseconds."""


class Directory(Objects):
    """Files below `root`, published as docs/design.md, "Publishing", says."""

    may_be_behind = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)

    def prepare(self) -> None:
        if self.root.is_dir():
            durable.adopt_directory(self.root, _ROOT_MODE)
        else:
            durable.make_directory(self.root, _ROOT_MODE)
        for name in _FOLDERS:
            durable.make_directory(self.root / name, _BELOW_MODE)
        with suppress(FileExistsError):
            durable.publish(self.root / _LOCK, [], mode=0o664)

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def read(self, name: str, limit: int) -> bytes:
        return files.read_regular(self.root / name, limit)

    def read_into(self, name: str, buffer: memoryview) -> None:
        fd = self.descriptor(name, len(buffer))
        try:
            files.read_into(fd, buffer, 0, f"{self.location}/{name}")
        finally:
            os.close(fd)

    def descriptor(self, name: str, size: int) -> int:
        path = f"{self.location}/{name}"
        try:
            fd = files.open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{path} is missing") from None
        found = os.fstat(fd).st_size
        if found != size:
            os.close(fd)
            raise Damaged(f"{path} has {found} bytes in place of {size}")
        return fd

    def open_reader(self, name: str, limit: int) -> tuple[files.Reader, int]:
        path = self.root / name
        reader = files.Reader(files.open_regular(path))
        if reader.size > limit:
            raise Damaged(f"{path} has {reader.size} bytes, more than the {limit} that it may have")
        return reader, reader.size

    def check_writable(self) -> None:
        for place in (self.root / "log", self.root / "panels"):
            if not os.access(place, os.W_OK | os.X_OK):
                code = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
                raise OSError(code, os.strerror(code), str(place))

    def create(self, name: str, pieces: Sequence[Any], clock: int | None = None) -> None:
        path = self.root / name
        try:
            self._create(path, pieces, clock)
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise
            # Somebody cleaned up, by a clock that is ahead, what was just staged.
            self._create(path, pieces, clock)

    def _create(self, path: Path, pieces: Sequence[Any], clock: int | None) -> None:
        temporary = durable.stage(path, pieces, 0o444)
        if clock is not None:
            ahead = clock - os.lstat(temporary).st_mtime_ns
            if ahead > _CLOCK_LIMIT:
                durable.remove(temporary)
                raise Refused(
                    f"the clock of this machine is {ahead // 10**9} s ahead of that of {self.location}: "
                    "the times of all later commits would be wrong; set the clock"
                )
        durable.give_free_name(temporary, path)

    def replace(self, name: str, pieces: Sequence[Any], settle: bool = True) -> None:
        durable.overwrite(self.root / name, pieces, settle=settle)

    def make_folders(self, name: str) -> None:
        for path in reversed(list((self.root / name).parents)):
            if len(path.parts) > len(self.root.parts) and path.name not in _FOLDERS:
                # What is in index/ is removed once it is of no use, also by colleagues.
                durable.make_directory(path, _ROOT_MODE if path.parent == self.root else _BELOW_MODE)

    def settle(self, name: str) -> None:
        path = self.root / name
        while path != self.root:
            path = path.parent
            durable.sync_directory(path)

    def names(self, folder: str, after: str = "") -> list[str]:
        try:
            names = os.listdir(self.root / folder)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{self.root}/{folder} is missing") from None
        return sorted(name for name in names if name > after) if after else sorted(names)

    def sizes(self, folder: str) -> dict[str, int]:
        root = self.root / folder
        found = {}
        for entry in self._below(root):
            if not entry.name.startswith(durable.TEMPORARY):
                with suppress(FileNotFoundError):  # a repair may be replacing it
                    status = entry.stat(follow_symlinks=False)
                    name = str(Path(entry.path).relative_to(root))
                    found[name] = status.st_size if stat.S_ISREG(status.st_mode) else -1
        return found

    def state(self, folder: str) -> str:
        try:
            status = os.stat(self.root / folder)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{self.root}/{folder} is missing") from None
        return f"{status.st_ino}-{status.st_mtime_ns}"

    def lock(self) -> AbstractContextManager[bool | None]:
        return durable.hold_lock(self.root / _LOCK)

    def _below(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """Yield everything below a folder that is not a folder itself, without following links."""
        if folder.is_symlink() or not folder.is_dir():
            return
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(durable.TEMPORARY):
                yield from self._below(Path(entry.path))
            else:
                yield entry

    def list_unfinished(self) -> list[str]:
        there = list(os.scandir(self.root)) if self.root.is_dir() else []
        for name in (*_FOLDERS, "index"):
            there += self._below(self.root / name)
        found = (entry.path for entry in there if entry.name.startswith(durable.TEMPORARY))
        return sorted(str(Path(path).relative_to(self.root)) for path in found)

    def clean(self, older_than: float, useless: Sequence[str] = ()) -> list[str]:
        removed: list[str] = []
        names = [*self.list_unfinished(), *useless]
        if not names:
            return removed
        # The age is by the file system's own clock: this machine's may be ahead.
        probe = durable.stage(self.root / "now", [], 0o444)
        now = os.lstat(probe).st_mtime
        durable.remove(probe)
        for name in names:
            with suppress(FileNotFoundError):  # its writer may just have finished
                status = os.lstat(self.root / name)
                if stat.S_ISREG(status.st_mode) and now - status.st_mtime > older_than:
                    durable.remove(self.root / name)
                    removed.append(name)
        return removed

    def remove(self, name: str) -> None:
        durable.remove(self.root / name)
