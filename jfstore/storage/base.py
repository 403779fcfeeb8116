"""What a storage promises. The log, the selection and the commands know nothing else of it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jfstore.errors import Damaged
from jfstore.model import Array, Identity, StoredFile
from jfstore.table import Table

Float32 = NDArray[np.float32]

_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,3}}", re.ASCII)


def checked_name(name: str) -> str:
    """Return `name` if it may name something in a storage; the one door for names, in and out.

    Raises
    ------
    Damaged
        If it is absolute, has a part ``..``, or has characters other than letters, digits and ``_.-``.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise Damaged(f"{name!r} is no name of a file in a repository")
    return name


Seen = tuple[str, int, int, int, int, int, int]
"""An array in a file as it was seen: BLAKE3, offset, and the file's device, inode, size, mtime and ctime."""


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """An index as it was read: the table, whose it is, and what it contained the log to be.

    ``log_state`` is what `Storage.log_state` answered when no commit after ``table.seq`` existed.
    """

    repository: str
    log_state: str
    table: Table


class Storage(ABC):
    """The files of one repository. Names are relative, with ``/``; see `checked_name`.

    Errors of the operating system are raised as `OSError`.
    """

    location: str
    """Where the storage is, for people."""

    def __init__(self) -> None:
        self.verified: set[Seen] = set()
        """Arrays that this process has compared with their hashes, in files that are unchanged since."""

    @abstractmethod
    def in_the_way(self) -> str | None:
        """Return what keeps a new repository from being made here and would be lost, None if nothing."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the places in which the files of a new repository will lie.

        Raises
        ------
        Refused
            If the place cannot publish, for example for want of hard links.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of `name`. FileNotFoundError if there is none, Damaged if it is no regular file."""

    @abstractmethod
    def publish(self, name: str, data: bytes) -> None:
        """Give `data` the name `name`, which nothing may bear yet: whole and durable, or not at all.

        Raises
        ------
        FileExistsError
            If something bears the name.
        durable.NotSynced
            If it was done but may not survive a power failure.
        """

    @abstractmethod
    def settle(self, name: str) -> None:
        """Make sure that `name`, which exists, survives a power failure."""

    @abstractmethod
    def commits(self) -> list[int]:
        """Return the numbers of all commits in the log, ascending."""

    @abstractmethod
    def log_state(self) -> str:
        """Return a text that changes whenever a file of the log appears or disappears; cheap."""

    @abstractmethod
    def lock(self) -> AbstractContextManager[bool | None]:
        """Ask other writers to wait for a moment; correctness never rests on it."""

    @abstractmethod
    def store(self, panel: str, stamp: str, arrays: Mapping[str, Float32]) -> StoredFile:
        """Publish the arrays of one version, by calibration type, each of shape (gain, row, column).

        The bytes depend on the arrays and their types only; a repetition finds its own file.

        Raises
        ------
        Damaged
            If the name is borne by other bytes.
        """

    @abstractmethod
    def load(self, file: StoredFile, array: Array, out: Float32) -> None:
        """Read one array into `out`, of shape (gain, row, column); rows and columns contiguous.

        Raises
        ------
        Damaged
            If the file is missing or has another size; the values are not checked.
        """

    @abstractmethod
    def open_mapped(self, file: StoredFile, array: Array) -> tuple[int, int] | None:
        """Open a file whose array can be mapped; None if arrays of this storage cannot be.

        Returns
        -------
        tuple of int
            File descriptor, to be closed by the caller, and byte offset of the array. The file is as
            long as it was stored, so that every byte may be touched.

        Raises
        ------
        Damaged
            If the file is missing or has another size.
        """

    @abstractmethod
    def check(self, file: StoredFile, arrays: Sequence[Array], quick: bool) -> str | None:
        """Return what is wrong with a stored file, None if nothing; `quick` does not read the arrays."""

    @abstractmethod
    def load_index(self) -> SavedIndex | None:
        """Return the saved index, None if there is none or its hashes are wrong."""

    @abstractmethod
    def save_index(self, identity: Identity, table: Table, log_state: str, afresh: bool = False) -> None:
        """Save the index, from the saved one if that is sound and older; `afresh`, from nothing."""

    @abstractmethod
    def check_index(self, identity: Identity, table: Table) -> list[str]:
        """Return what is wrong with the saved index, given the table that the log says."""

    @abstractmethod
    def strays(self, known: set[str]) -> tuple[list[str], list[str]]:
        """Return the names of temporary files, and of other files in the repository's places not in `known`."""

    @abstractmethod
    def clean(self, older_than: float) -> list[str]:
        """Remove temporary files older than so many seconds; return their names."""
