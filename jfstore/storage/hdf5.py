"""The HDF5 storage: a directory with ``log/``, ``panels/`` and one index file of links."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from jfstore import durable, files
from jfstore.errors import Damaged, Refused
from jfstore.hashing import digest
from jfstore.model import Array, Identity, StoredFile
from jfstore.storage import index, payload
from jfstore.storage.base import Float32, SavedIndex, Storage, checked_name
from jfstore.table import Table

_TEXT_LIMIT = 1 << 26
_ROOT_MODE = 0o2775
_BELOW_MODE = 0o3775
_LOCK = ".lock"


class Hdf5Storage(Storage):
    """A repository in a directory of a file system with hard links.

    Parameters
    ----------
    root : Path
        The directory.
    index_name : str
        Name of the index in it, such as ``jungfrau.h5``.
    """

    def __init__(self, root: Path, index_name: str = "jungfrau.h5") -> None:
        super().__init__()
        self.root = root
        self.location = str(root)
        self.index_name = checked_name(index_name)

    def _path(self, name: str) -> Path:
        return self.root / checked_name(name)

    def in_the_way(self) -> str | None:
        if (self.root / "log").is_dir() and self.commits():
            return f"{self.root} has the log of a repository, but no repository.json: restore that from a copy"
        if os.path.lexists(self.root / self.index_name):
            return f"{self.root / self.index_name} is in the way of the index: move it away, or name another place"
        return None

    def prepare(self) -> None:
        if self.root.is_dir():
            durable.adopt_directory(self.root, _ROOT_MODE)
        else:
            durable.make_directory(self.root, _ROOT_MODE)
        for name in ("log", "panels"):
            durable.make_directory(self.root / name, _BELOW_MODE)
        with suppress(FileExistsError):
            durable.publish(self.root / _LOCK, [], mode=0o664)

    def read(self, name: str) -> bytes:
        return files.read_regular(self._path(name), _TEXT_LIMIT)

    def publish(self, name: str, data: bytes) -> None:
        if len(data) > _TEXT_LIMIT:
            raise Refused(f"{name} would have {len(data)} bytes, more than can be read back: take fewer at a time")
        durable.publish(self._path(name), [data])

    def settle(self, name: str) -> None:
        path = self._path(name)
        while path != self.root:
            path = path.parent
            durable.sync_directory(path)

    def commits(self) -> list[int]:
        try:
            names = os.listdir(self.root / "log")
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{self.root}/log is missing") from None
        # There may be very many: no regular expression for each.
        texts = [name[:10] for name in names if len(name) == 15 and name.isascii() and name.endswith(".json")]
        return sorted(int(text) for text in texts if text.isdigit())

    def log_state(self) -> str:
        try:
            status = os.stat(self.root / "log")
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{self.root}/log is missing") from None
        return f"{status.st_ino}-{status.st_mtime_ns}"

    def lock(self) -> AbstractContextManager[bool | None]:
        return durable.locked(self.root / _LOCK)

    def store(self, panel: str, stamp: str, arrays: Mapping[str, Float32]) -> StoredFile:
        parts, offsets = payload.pieces(arrays)
        whole = digest(*parts)
        name = f"panels/{panel}/{stamp}-{whole[:12]}.h5"
        path = self._path(name)
        file = StoredFile(name, sum(map(len, parts)), whole, offsets)
        durable.make_directory(path.parent, _BELOW_MODE)
        try:
            durable.publish(path, parts)
        except FileExistsError:
            if wrong := self.check(file, (), quick=False):
                raise Damaged(f"{path} is in the way of the same content: {wrong}") from None
            # Whoever published it may not have synced its directories yet.
            self.settle(name)
        return file

    def _open(self, file: StoredFile) -> int:
        path = f"{self.location}/{checked_name(file.path)}"
        try:
            fd = files.open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{path} is missing") from None
        size = os.fstat(fd).st_size
        if size != file.size:
            os.close(fd)
            raise Damaged(f"{path} has {size} bytes in place of {file.size}")
        return fd

    @contextmanager
    def _opened(self, file: StoredFile) -> Iterator[int]:
        fd = self._open(file)
        try:
            yield fd
        finally:
            os.close(fd)

    def open_mapped(self, file: StoredFile, array: Array) -> tuple[int, int] | None:
        offset = self._offset(file, array)
        return self._open(file), offset

    def _offset(self, file: StoredFile, array: Array) -> int:
        """Return where `array` lies in `file`: whole, or touching a mapped page would kill the process."""
        offset = file.offsets[array.type]
        if not 0 <= offset <= file.size - array.nbytes:
            raise Damaged(f"the log is damaged: {array.type} does not lie in {self._path(file.path)}")
        return offset

    def load(self, file: StoredFile, array: Array, out: Float32) -> None:
        path = self._path(file.path)
        slabs = [out[gain].reshape(-1).view("u1").data for gain in range(array.shape[0])]
        with self._opened(file) as fd:
            offset = self._offset(file, array)
            for slab in slabs:
                files.read_into(fd, slab, offset, str(path))
                offset += len(slab)

    def check(self, file: StoredFile, arrays: Sequence[Array], quick: bool) -> str | None:
        try:
            with self._opened(file) as fd:
                if quick:
                    return None
                data = os.pread(fd, file.size, 0)
        except Damaged as error:
            return error.message
        except OSError as error:
            return f"{self._path(file.path)} cannot be read: {error.strerror}"
        if digest(data) != file.blake3:
            return f"{self._path(file.path)} is damaged: it does not match its hash"
        for array in arrays:
            start = file.offsets[array.type]
            if digest(memoryview(data)[start : start + array.nbytes]) != array.blake3:
                return f"{self._path(file.path)} does not hold the {array.type} that the log says"
        return None

    @contextmanager
    def _index(self) -> Iterator[tuple[index.Reader, int]]:
        path = self.root / self.index_name
        with files.opened(path) as fd:

            def read(offset: int, length: int) -> bytes:
                data = os.pread(fd, length, offset) if min(offset, length) >= 0 else b""
                if len(data) != length:
                    raise ValueError("it is too short")
                return data

            yield read, os.fstat(fd).st_size

    def load_index(self) -> SavedIndex | None:
        return self._read_index(with_image=False)[0]

    def _read_index(self, with_image: bool = True) -> tuple[SavedIndex | None, bytes | None]:
        """Return the saved index and its HDF5 part, of one and the same file; None for what is not sound."""
        saved, image = None, None
        try:
            with self._index() as (read, size):
                saved = index.decode(read, size)
                image = index.sound_image(read, size) if with_image else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, Damaged):
            pass
        return saved, image

    def save_index(self, identity: Identity, table: Table, log_state: str, afresh: bool = False) -> None:
        saved, image = (None, None) if afresh else self._read_index()
        if not (saved and saved.repository == identity.id and table.continues(saved.table)):
            image = None
        done = len(saved.table.versions) if saved and image else 0
        pieces = index.encode(identity, table, log_state, index.linked(image, table, done))
        # Its name need not survive a power failure: an older index does no harm.
        durable.overwrite(self.root / self.index_name, pieces, settle=False)

    def check_index(self, identity: Identity, table: Table) -> list[str]:
        path = self.root / self.index_name
        if not os.path.lexists(path):
            return [f"{path} is missing; jfstore verify --rebuild-index makes it anew"]
        saved, image = self._read_index()
        if not saved or not image:
            return [f"{path} is damaged: it does not match its hashes; jfstore verify --rebuild-index makes it anew"]
        if saved.repository != identity.id:
            return [f"{path} belongs to another repository, {saved.repository}"]
        if not table.continues(saved.table):
            return [f"{path} is ahead of the log: it says that commit {saved.table.seq} is {saved.table.head[:12]}"]
        known = table.version_list(range(len(saved.table.versions)))
        if saved.table.version_list() != known:
            return [f"{path} differs from the log"]
        expected = {index.link_path(v.panel, v.stamp, v.number): (v.file.path, "/") for v in known}
        links = index.links_of(image)
        return [
            f"{path}: link {name} leads to {links.get(name)} in place of {expected.get(name)}"
            for name in sorted(expected.keys() | links.keys())
            if links.get(name) != expected.get(name)
        ]

    def strays(self, known: set[str]) -> tuple[list[str], list[str]]:
        temporary, other = [], []
        places = (self.root, self.root / "log", self.root / "panels", *self._panel_directories())
        for folder in filter(Path.is_dir, places):
            for entry in os.scandir(folder):
                name = str(Path(entry.path).relative_to(self.root))
                if entry.name.startswith(durable.TEMPORARY):
                    temporary.append(name)
                # In the root anything may lie: foreign files are ignored there.
                elif folder != self.root and name not in known and not self._is_panel_directory(entry):
                    other.append(name)
        return sorted(temporary), sorted(other)

    def _is_panel_directory(self, entry: os.DirEntry[str]) -> bool:
        return Path(entry.path).parent == self.root / "panels" and entry.is_dir(follow_symlinks=False)

    def _panel_directories(self) -> list[Path]:
        panels = self.root / "panels"
        if not panels.is_dir():
            return []
        return [Path(entry.path) for entry in os.scandir(panels) if entry.is_dir(follow_symlinks=False)]

    def clean(self, older_than: float) -> list[str]:
        removed = []
        for name in self.strays(set())[0]:
            with suppress(FileNotFoundError):  # its writer may just be done with it
                status = os.lstat(self.root / name)
                if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > older_than:
                    durable.remove(self.root / name)
                    removed.append(name)
        return removed
