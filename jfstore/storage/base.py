"""Define the interface of a storage; the log, the selection and the commands use nothing else."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

from jfstore.core.arrays import CalibArray
from jfstore.core.records import Array, Identity, StoredFile, Version
from jfstore.core.table import Table
from jfstore.errors import Damaged, Refused
from jfstore.storage.mapped import Slab
from jfstore.storage.objects import Objects
from jfstore.storage.segment_file import FileSegment

_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,5}}", re.ASCII)
_TEXT_LIMIT = 1 << 26
_LISTED = 4096
_LOOK_AHEAD = 32


def check_name(name: str) -> str:
    """Return `name` if it is a valid name in a storage; every name that is read or written passes here.

    Raises
    ------
    Damaged
        If it is absolute, has a part ``..``, or has characters other than letters, digits and ``_.-``.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise Damaged(f"{name!r} is not the name of a file in a repository")
    return name


Seen = tuple[Any, ...]
"""A verified array: its BLAKE3, and for each slab the offset and the file's device, inode, size, mtime and ctime."""


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """A saved index: the repository's Id, the hash of its last commit, the table, and the state of the log then.

    ``log_state`` is what `Storage.log_state` answered when no commit after ``table.seq`` existed. ``superseded`` are
    the names of segment files that are not used any more, with the time since when.
    """

    repository: str
    head: str
    log_state: str | None
    table: Table
    superseded: Mapping[str, int] = field(default_factory=dict)

    @property
    def segment_names(self) -> tuple[str, ...]:
        """The names of the segment files."""
        return tuple(segment.name for segment in self.table.segments if isinstance(segment, FileSegment))

    def is_of(self, table: Table) -> bool:
        """Return whether `table` is of the same log, at the commit of this index or a later one."""
        seq = self.table.seq
        return seq <= table.seq and self.head == (table.summary(seq).hash if seq else "")

    def sound_versions(self) -> list[Version] | None:
        """Return all versions and closes; None if a segment is damaged."""
        try:
            return self.table.version_list()
        except (OSError, ValueError, LookupError, Damaged):
            return None


class Storage(ABC):
    """The files of one repository: texts by name, the log, arrays and the index. Names are relative, with
    ``/``; see `check_name`.

    Errors of the operating system, and of a server, are raised as `OSError`.

    Parameters
    ----------
    objects : Objects
        The objects that it consists of.
    index_name : str
        Name of the index.
    """

    kind: str
    """The name of the storage in ``repository.json``."""

    def __init__(self, objects: Objects, index_name: str) -> None:
        self.objects = objects
        self.index_name = check_name(index_name)
        self.verified: set[Seen] = set()
        """Arrays that this process has compared with their hashes; the files have not changed since."""

    def __getstate__(self) -> dict[str, Any]:
        # Device and inode numbers mean nothing in another machine's process.
        return {**self.__dict__, "verified": set()}

    @property
    def location(self) -> str:
        """The path or URL, as messages show it."""
        return self.objects.location

    @property
    def may_be_behind(self) -> bool:
        """Whether this machine may not see yet what another one has written."""
        return self.objects.may_be_behind

    # -- texts by name, and the log --------------------------------------------------------------

    def in_the_way(self) -> str | None:
        """Return why a new repository cannot be created here, None if it can."""
        with suppress(Damaged):  # there is no log
            if self.commits():
                return f"{self.location} has the log of a repository, but no repository.json: restore that from a copy"
        if self.objects.exists(self.index_name):
            index = f"{self.location}/{self.index_name}"
            return f"{index} is in the way of the index: move it away, or name another place"
        return None

    def prepare(self) -> None:
        """Create the directories of a new repository.

        Raises
        ------
        Refused
            If the file system cannot publish files, for example because it has no hard links.
        """
        self.objects.prepare()

    def make_sure(self, name: str) -> None:
        """Raise Refused unless creating the existing object `name` again is refused here."""
        if not self.objects.refuses_a_second(check_name(name)):
            raise Refused(f"{self.location} created {name} twice: it cannot tell writers apart, so nothing is written")

    def read(self, name: str) -> bytes:
        """Return the bytes of `name`; FileNotFoundError if it does not exist, Damaged if it is not a regular file."""
        return self.objects.read(check_name(name), _TEXT_LIMIT)

    def check_writable(self) -> None:
        """Raise OSError if this process has no right to write here; nothing is written to find out."""
        self.objects.check_writable()

    def publish(self, name: str, data: bytes, clock: int | None = None) -> None:
        """Create the file `name`, which must not exist yet, from `data`: whole and durable, or not at all.

        Parameters
        ----------
        clock : int, optional
            Time of the writer's clock in nanoseconds UTC. It must not be ahead of the storage's own, if that is known.

        Raises
        ------
        FileExistsError
            If the file exists.
        durable.NotSynced
            If the file was created but may not survive a power failure.
        objects.NoAnswer
            If it is not known whether the file was created.
        Refused
            If `clock` is more than 10 minutes ahead.
        """
        if len(data) > _TEXT_LIMIT:
            raise Refused(f"{name} would have {len(data)} bytes, more than can be read back: take fewer at a time")
        self.objects.create(check_name(name), [data], clock)

    def settle(self, name: str) -> None:
        """Make sure that the existing file `name` survives a power failure."""
        self.objects.settle(check_name(name))

    def commits(self, after: int = 0) -> list[int]:
        """Return the numbers of all commits in the log after `after`, ascending."""
        names = self.objects.names("log", f"{after:010d}.json" if after else "")
        # There may be very many: no regular expression for each.
        texts = [name[:10] for name in names if len(name) == 15 and name.isascii() and name.endswith(".json")]
        return [int(text) for text in texts if text.isdigit()]

    def last_commit(self, after: int, thorough: bool) -> int | None:
        """Return the last number of the log after `after`, None if there is none.

        Unless `thorough`, only the next 32 numbers of a large log are looked for, where a list would cost more.
        """
        if thorough or after < _LISTED or self.objects.state("log") is None:
            return max(self.commits(after), default=None)
        numbers = range(after + _LOOK_AHEAD, after, -1)
        return next((number for number in numbers if self.objects.exists(f"log/{number:010d}.json")), None)

    def log_state(self) -> str | None:
        """Return a text that changes whenever a file is added to or removed from the log; None if that is not cheap."""
        return self.objects.state("log")

    def lock(self) -> AbstractContextManager[bool | None]:
        """Ask other writers to wait; nothing depends on the lock for correctness."""
        return self.objects.lock()

    def strays(self, known: set[str]) -> tuple[list[str], list[str]]:
        """Return the names of temporary files, and of other files in the log and among the panels not in `known`."""
        there = {self._file_of(f"{place}/{name}") for place in ("log", "panels") for name in self.objects.sizes(place)}
        return self.objects.list_unfinished(), sorted((there - known) | {*self._useless_segments()})

    def _useless_segments(self) -> list[str]:
        """Return the names of segment files that no index will use: of a writer that was stopped while it saved."""
        saved = self.load_index()
        if saved is None:
            return []
        used = {*saved.segment_names, *saved.superseded}
        return [name for name in (f"index/{file}" for file in self.objects.sizes("index")) if name not in used]

    def _file_of(self, name: str) -> str:
        """Return the path of the `StoredFile` that an object would belong to."""
        return name

    def clean(self, older_than: float) -> list[str]:
        """Remove temporary and useless files older than `older_than` seconds; return their names."""
        return self.objects.clean(older_than, self._useless_segments())

    # -- arrays ----------------------------------------------------------------------------------

    @abstractmethod
    def store(
        self,
        panel: str,
        stamp: str,
        arrays: Mapping[str, CalibArray],
        mend: bool = False,
        like: StoredFile | None = None,
    ) -> StoredFile:
        """Publish the arrays of one version, by calibration type, each of shape (gain, row, column) or (row, column).

        The bytes depend on the arrays and their types only, so that repeating the call finds the same file. With
        `mend`, an existing file with other bytes is replaced. `like` is a file to make again, if its bytes may be those
        of an earlier release.

        Raises
        ------
        Damaged
            If the file exists with other bytes.
        """

    def fetch(self, parts: Sequence[tuple[Array, StoredFile]]) -> None:
        """Fetch the arrays that will be loaded or mapped next, in parallel, if the storage is remote."""
        return

    def forget(self, arrays: Sequence[Array]) -> bool:
        """Drop cached copies that fail verification; return whether any was dropped."""
        return False

    @abstractmethod
    def load(self, file: StoredFile, array: Array, out: CalibArray) -> None:
        """Read one array into `out`, of its dtype and shape; rows and columns contiguous.

        Raises
        ------
        Damaged
            If the file is missing or has another size; the values are not checked.
        """

    @abstractmethod
    def open_mapped(self, file: StoredFile, array: Array) -> list[Slab] | None:
        """Open the files in which an array can be mapped; None if arrays of this storage cannot be.

        Returns
        -------
        list of Slab
            Every slab in order, whose file descriptors are to be closed by the caller. The files
            are as long as they were stored, so that every byte may be touched.

        Raises
        ------
        Damaged
            If the file is missing or has another size.
        """

    @abstractmethod
    def check(self, file: StoredFile, arrays: Sequence[Array], quick: bool) -> str | None:
        """Return a message if a stored file is damaged, None if it is sound.

        Parameters
        ----------
        file, arrays : StoredFile, sequence of Array
            The file and all arrays in it.
        quick : bool
            Do not read the arrays.
        """

    # -- the index -------------------------------------------------------------------------------

    @abstractmethod
    def load_index(self) -> SavedIndex | None:
        """Return the saved index, None if there is none or its hashes are wrong."""

    @abstractmethod
    def save_index(self, identity: Identity, table: Table, log_state: str | None, afresh: bool = False) -> None:
        """Save the index: extend the saved one if it is sound and older; with `afresh` write a new one."""

    @abstractmethod
    def check_index(self, identity: Identity, table: Table) -> list[str]:
        """Return the differences between the saved index and the table of the log, as messages."""
