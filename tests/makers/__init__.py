"""Makers of what the tests need: records of a log here, arrays and gain trees in the modules beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from jfstore.core.records import Array, Commit, StoredFile, Version
from jfstore.core.table import Table

PANELS = ("170505-149520170815-3d00b0", "170505-149520170815-3d00f7", "171113-154920171025-3d00fb")
BEGINNING = "0" * 14
BEGIN_OF_ALL = -(2**63)
SHAPE = (3, 16, 32)


def seal(text: str) -> str:
    """Return 64 hexadecimal digits that stand for the content `text`."""
    return blake3(text.encode()).hexdigest()


def begin_of(stamp: str) -> int:
    """Return the instant of `stamp`, read in UTC, in nanoseconds."""
    if stamp == BEGINNING:
        return BEGIN_OF_ALL
    return int(datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()) * 10**9


def make_version(
    panel: str = PANELS[0],
    stamp: str = "20180306000000",
    number: int = 1,
    content: Mapping[str, str] | None = None,
    seq: int = 1,
    **fields: Any,
) -> Version:
    """Return a version whose arrays, by calibration type, hold the contents named in `content`."""
    content = {"pixel_gain": "gain", "pixel_offset": "offset"} if content is None else dict(sorted(content.items()))
    arrays = tuple(Array(name, "<f4", SHAPE, seal(text)) for name, text in content.items())
    whole = seal(repr(content))
    offsets = {name: 4096 * (i + 1) for i, name in enumerate(content)}
    file = StoredFile(f"panels/{panel}/{stamp}-{whole[:12]}.h5", 16384, whole, offsets)
    fields = {"start": begin_of(stamp), "arrays": arrays, "file": file, **fields}
    return Version(panel=panel, stamp=stamp, number=number, seq=seq, **fields)


def make_commit(seq: int = 1, versions: Iterable[Version] = (), **fields: Any) -> Commit:
    """Return a commit; `versions` carry its seq already."""
    moment = begin_of("20180401000000") + seq * 10**9
    texts = {
        "prev": seal(f"commit {seq - 1}"),
        "user": "maintainer",
        "host": "psana101",
        "program": "jfstore 0.1",
        "message": f"message {seq}",
        "request": f"{seq:032x}",
        "op": "add",
        "hash": seal(f"commit {seq}"),
    }
    return Commit(**{"seq": seq, "time": moment, "clock": moment, "versions": tuple(versions), **texts, **fields})


def make_log(*commits: Iterable[tuple[str, str, Mapping[str, str]]]) -> list[Commit]:
    """Return a log: each commit is a list of (panel, stamp, content); numbers count up per panel and stamp."""
    numbers: dict[tuple[str, str], int] = {}
    log = []
    for seq, additions in enumerate(commits, start=1):
        versions = []
        for panel, stamp, content in additions:
            numbers[panel, stamp] = numbers.get((panel, stamp), 0) + 1
            versions.append(make_version(panel, stamp, numbers[panel, stamp], content, seq))
        log.append(make_commit(seq, versions))
    return log


def make_table(log: Iterable[Commit]) -> Table:
    """Return the table of a log."""
    return Table.empty().extend(list(log))
