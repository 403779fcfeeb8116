"""Read what the heads of both kinds of files have in common: Configure and BeginRun of a stream, for all streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Protocol, TypeVar

from jfstore.errors import Damaged, Failed
from jfstore.fs.files import open_checked
from jfstore.runs.tree import RunFiles
from jfstore.runs.xtc import CutOff, Readable, XtcBytes

_MOST_DATAGRAMS = 1000


class _Datagram(Protocol):
    @property
    def offset(self) -> int: ...

    @property
    def kind(self) -> int: ...

    @property
    def has_time(self) -> bool: ...


D = TypeVar("D", bound=_Datagram)
Configured = TypeVar("Configured")
H = TypeVar("H")


def find_begin(
    file: Readable,
    datagrams: Iterable[D],
    kinds: type[IntEnum],
    after: Iterable[str],
    read_configure: Callable[[Readable, D], Configured],
) -> tuple[Configured | None, D | None, str]:
    """Return the configuration and BeginRun of a stream, and why the latter is missing if the file ends before it.

    Parameters
    ----------
    file : Readable
        The file, for errors and for `read_configure`.
    datagrams : iterable
        Its datagrams; no more are taken than are needed.
    kinds : type of IntEnum
        What a datagram is for: it has Configure and BeginRun.
    after : iterable of str
        The kinds that show that the run has started: the head does not have what is configured later.
    read_configure : callable
        Reads the configuration in a datagram; that of the last Configure counts.

    Raises
    ------
    Damaged
        If the file does not start with Configure, or violates the format.
    """
    configured: Configured | None = None
    begin, last = kinds["BeginRun"], {kinds[name] for name in after}
    try:
        for count, datagram in enumerate(datagrams):
            if count >= _MOST_DATAGRAMS:
                raise Damaged(f"{file.name} has no BeginRun among its first {_MOST_DATAGRAMS} datagrams")
            if datagram.kind == kinds["Configure"]:
                configured = read_configure(file, datagram)
            elif datagram.kind == begin or datagram.kind in last:
                if configured is None:
                    raise Damaged(f"{file.name} starts with {kinds(datagram.kind).name}, not with Configure")
                if datagram.kind != begin:
                    return configured, None, ""
                if not datagram.has_time:
                    raise Damaged(f"{file.name}: the BeginRun at offset {datagram.offset} has no time")
                return configured, datagram, ""
    except CutOff as error:
        if configured is None:
            raise
        return configured, None, error.message
    return configured, None, f"{file.name} ends after its Configure"


def read_heads(
    files: RunFiles, read: Callable[[Readable], H]
) -> tuple[dict[int, tuple[str, H]], list[Damaged | Failed]]:
    """Return path and head of the first chunk of each stream, by stream, and why others cannot be read."""
    heads: dict[int, tuple[str, H]] = {}
    failures: list[Damaged | Failed] = []
    for stream, paths in files.streams().items():
        try:
            with open_checked(paths[0], follow=True) as fd:
                heads[stream] = paths[0], read(XtcBytes(fd, paths[0]))
        except OSError as error:
            failures.append(Failed(f"{paths[0]}: {error.strerror}"))
        except (Damaged, Failed) as error:
            failures.append(error)
    return heads, failures
