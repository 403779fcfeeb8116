"""Define the interface to named objects in a directory or in a bucket, on which storages are built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class NoAnswer(OSError):
    """The server did not answer: the object may have been created, or may still appear."""


class Objects(ABC):
    """The objects of one repository. Names are relative and use ``/``; the caller has checked them.

    Errors of the system and of a server are raised as `OSError`, with one line in ``strerror``.
    """

    location: str
    """The path or URL, as messages show it."""

    may_be_behind = False
    """Whether names may be cached here, as clients of network file systems do."""

    at_once = 1
    """The number of objects to read or write at the same time."""

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield ``work(item)`` for each of `items`, in order, with `at_once` of them at a time."""
        items = list(items)
        if self.at_once == 1 or len(items) < 2:
            yield from map(work, items)
            return
        from concurrent.futures import ThreadPoolExecutor  # slow to load, and seldom needed

        with ThreadPoolExecutor(min(len(items), self.at_once)) as pool:
            yield from pool.map(work, items)

    @abstractmethod
    def prepare(self) -> None:
        """Create the directories; raise Refused if the file system cannot publish files."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Return whether an object of this name exists."""

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of an object; FileNotFoundError if it does not exist, Damaged if longer than `limit`."""

    @abstractmethod
    def read_into(self, name: str, buffer: memoryview) -> None:
        """Fill `buffer` with an object; Damaged if it is missing or has another size."""

    def content(self, name: str, size: int) -> Any:
        """Return the bytes of an object as a buffer; Damaged if it is missing or has another size."""
        data = bytearray(size)
        self.read_into(name, memoryview(data))
        return data

    @abstractmethod
    def descriptor(self, name: str, size: int) -> int | None:
        """Open an object for mapping; return None if objects cannot be mapped here.

        Returns
        -------
        int
            File descriptor, to be closed by the caller.

        Raises
        ------
        Damaged
            If the object is missing or has another size.
        """

    @abstractmethod
    def open_reader(self, name: str, limit: int) -> tuple[Callable[[int, int], bytes], int]:
        """Open an object to read parts of it; return what reads so many bytes from an offset, and the size.

        An object that was opened can be read after it was removed or replaced, unless it is in a bucket.

        Raises
        ------
        FileNotFoundError
            If it does not exist.
        Damaged
            If it is longer than `limit`.
        """

    def check_writable(self) -> None:
        """Raise OSError if this process has no right to write here."""
        return

    @abstractmethod
    def create(self, name: str, pieces: Sequence[Any], clock: int | None = None) -> None:
        """Create an object that does not exist yet from `pieces`, in order: whole and durable, or not at all.

        `clock` is as for `Storage.publish`; it is ignored where the storage has no clock of its own.

        Raises
        ------
        FileExistsError
            If the object exists.
        durable.NotSynced
            If the object was created but may not survive a power failure.
        NoAnswer
            If it is not known whether the object was created.
        """

    @abstractmethod
    def replace(self, name: str, pieces: Sequence[Any], settle: bool = True) -> None:
        """Create or replace an object; readers see either the old or the new bytes.

        Unless `settle`, a power failure may bring the old object back.
        """

    def refuses_a_second(self, name: str) -> bool:
        """Return whether creating the existing object `name` again is refused, as publishing needs."""
        return True

    def make_folders(self, name: str) -> None:
        """Create the folders above `name`, if the storage has folders."""
        return

    def settle(self, name: str) -> None:
        """Make sure that the existing object `name` survives a power failure."""
        return

    @abstractmethod
    def names(self, folder: str, after: str = "") -> list[str]:
        """Return the sorted names in a folder that come after `after`, relative to the folder.

        Raise Damaged if the folder is missing. The cost should not depend on the names up to `after`.
        """

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a folder, by its name relative to the folder."""

    def state(self, folder: str) -> str | None:
        """Return a text that changes whenever a name is added to or removed from a folder; None if not cheap."""
        return None

    def lock(self) -> AbstractContextManager[bool | None]:
        """Ask other writers to wait; nothing depends on the lock for correctness."""
        return nullcontext(None)

    def list_unfinished(self) -> list[str]:
        """Return the names of temporary files that writers have not finished."""
        return []

    def clean(self, older_than: float, useless: Sequence[str] = ()) -> list[str]:
        """Remove temporary files, and those in `useless`, older than `older_than` seconds; return their names."""
        return []

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object that was never acknowledged."""
