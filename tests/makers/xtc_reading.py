"""Reading XTC that a test made: from memory, from a tree, by the programs; each within a few seconds."""

from __future__ import annotations

import re
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jfstore.errors import Damaged
from jfstore.runs.head import Head, read_head
from jfstore.runs.run import Run, read_runs
from tests.makers import xtc as made

BEGIN = 1522800000
TOP = 40  # where the first object in a file's first datagram is
OTHER = made.some_panels(2, 50)
DATASET = "exp=mfxx12345:run=7"
Program = Callable[..., tuple[int, str, str]]


class Memory:
    """Bytes to be read as a file, which counts how many were."""

    def __init__(self, data: bytes, name: str = "hostile.xtc") -> None:
        self.name, self.size, self.count, self._data = name, len(data), 0, data

    def read(self, offset: int, count: int) -> bytes:
        assert offset >= 0
        assert 0 <= count <= self.size - offset
        self.count += count
        return self._data[offset : offset + count]


@contextmanager
def soon(seconds: float = 5.0) -> Iterator[None]:
    """Fail what hangs, also in a system call."""

    def stop(*_rest: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def head(data: bytes) -> Head:
    with soon():
        return read_head(Memory(data))


def ids(read: Head) -> list[str]:
    return ["_".join(map(str, config.panels)) for config in read.jungfraus.values()]


def refused(data: bytes, says: str, offset: int | None = None) -> None:
    """Check that the head of `data` is refused, with the name of the file, what is wrong and where."""
    try:
        text = head(data).problem  # if Configure was read
    except Damaged as error:
        text = str(error)
    assert text.startswith("hostile.xtc")
    assert re.search(says, text), text
    if offset is not None:
        assert re.search(rf"\bat (?:offset )?{offset}\b", text), text


def after(*pieces: bytes) -> bytes:
    """Return a Configure of `pieces`, which follow each other in its top container, and a BeginRun."""
    return made.datagram(made.CONFIGURE, BEGIN - 3600, 0, made.container(*pieces)) + made.begin_run(BEGIN, 7)


def with_word(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<I", value) + data[offset + 4 :]


def write(tree: Path, data: bytes, stream: int = 0, run: int = 7) -> Path:
    return made.write_run(tree, "MFX", "mfxx12345", run, data, stream)


def read(dataset: str = DATASET) -> Run:
    with soon():
        return read_runs(dataset)[0]
