"""Named objects at one place: what a storage is made of, in a directory or in a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class NoAnswer(OSError):
    """Whether the object was created is not known: no answer came. It may still appear."""


class Objects(ABC):
    """The objects of one repository; names are relative, with ``/``, and were checked by who calls.

    Errors of the system and of a server are raised as `OSError`, with one line in ``strerror``.
    """

    location: str
    """Where they are, for people."""

    at_once = 1
    """How many of them are best read or written at the same time."""

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
        """Make the place; Refused if it cannot publish."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Return whether anything bears the name."""

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of an object; FileNotFoundError if there is none, Damaged if it has more than `limit`."""

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
        """Open an object that can be mapped, None if objects of this place cannot be.

        Returns
        -------
        int
            File descriptor, to be closed by the caller.

        Raises
        ------
        Damaged
            If the object is missing or has another size.
        """

    def check_writable(self) -> None:
        """Raise OSError if this process obviously may not write here."""
        return

    @abstractmethod
    def create(self, name: str, pieces: Sequence[Any], clock: int | None = None) -> None:
        """Give `pieces` the name `name`, which nothing may bear yet: whole and durable, or not at all.

        `clock` is as for `Storage.publish`; a place that does not know its own time ignores it.

        Raises
        ------
        FileExistsError
            If something bears the name.
        durable.NotSynced
            If it was done but may not survive a power failure.
        NoAnswer
            If it is not known whether it was done.
        """

    @abstractmethod
    def replace(self, name: str, pieces: Sequence[Any], settle: bool = True) -> None:
        """Give `pieces` the name `name` in place of whatever bears it; readers see the old or the new object.

        Unless `settle`, a power failure may bring the old object back.
        """

    def refuses_a_second(self, name: str) -> bool:
        """Return whether creating `name` again, which exists, is refused, as publishing needs; it is not changed."""
        return True

    def make_folders(self, name: str) -> None:
        """Make the folders in which `name` will lie, where there are such things."""
        return

    def settle(self, name: str) -> None:
        """Make sure that `name`, which exists, survives a power failure."""
        return

    @abstractmethod
    def names(self, folder: str, after: str = "") -> list[str]:
        """Return the names of what lies in a folder, without the folder's, of those after `after` in their order.

        Damaged if the folder is missing. What it costs should not depend on those before.
        """

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of every object below a folder, by its name without the folder's; empty if there is none."""

    def state(self, folder: str) -> str | None:
        """Return a text that changes whenever a name in a folder appears or disappears; None if that is not cheap."""
        return None

    def lock(self) -> AbstractContextManager[bool | None]:
        """Ask other writers to wait for a moment; correctness never rests on it."""
        return nullcontext(None)

    def list_unfinished(self) -> list[str]:
        """Return the names of what writers have begun and not finished."""
        return []

    def clean(self, older_than: float) -> list[str]:
        """Remove what writers began so many seconds ago and did not finish; return the names."""
        return []

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object that was never acknowledged."""
