"""The head of one stream of a run: what was configured before the run began, and when it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jfstore.errors import Damaged
from jfstore.runs.config import ALIAS, JUNGFRAU, JungfrauConfig, read_aliases, read_jungfrau
from jfstore.runs.source import Source
from jfstore.runs.xtc import (
    BEGIN_CALIB_CYCLE,
    BEGIN_RUN,
    CONFIGURE,
    ENABLE,
    L1_ACCEPT,
    TRANSITIONS,
    Datagram,
    Readable,
    datagrams,
    objects,
)

# A run has begun when one of these comes; what is configured later is none of the head.
_AFTER = (BEGIN_CALIB_CYCLE, ENABLE, L1_ACCEPT)
_MOST_DATAGRAMS = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of one stream says.

    Attributes
    ----------
    jungfraus : mapping of Source to JungfrauConfig
        The Jungfraus that were configured.
    sources : tuple of Source
        All detectors that were configured, in the order in which psana lists them.
    aliases : tuple of (Source, str)
        Names of sources; the first of a source or a name counts.
    start : int or None
        Clock of BeginRun, nanoseconds since 1970 UTC; None if the stream has none.
    run : int
        Run number in BeginRun, 0 if it says none.
    notes : tuple of str
        What a user should know.
    """

    jungfraus: Mapping[Source, JungfrauConfig]
    sources: tuple[Source, ...]
    aliases: tuple[tuple[Source, str], ...]
    start: int | None
    run: int
    notes: tuple[str, ...]


@dataclass
class _Configured:
    jungfraus: dict[Source, JungfrauConfig] = field(default_factory=dict)
    sources: set[Source] = field(default_factory=set)
    aliases: list[tuple[Source, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_head(file: Readable) -> Head:
    """Return what the head of `file` says; no more than that is read.

    Raises
    ------
    Damaged
        If anything in the head is not as the format has it, or it begins with another transition than Configure.
    """
    if not file.size:
        raise Damaged(f"{file.name} is empty")
    configured: _Configured | None = None
    start, run = None, 0
    for count, datagram in enumerate(datagrams(file)):
        if count >= _MOST_DATAGRAMS:
            raise Damaged(f"{file.name} has no BeginRun among its first {_MOST_DATAGRAMS} datagrams")
        if datagram.transition == CONFIGURE:
            configured = _read_configure(file, datagram)
        elif datagram.transition in (BEGIN_RUN, *_AFTER):
            if configured is None:
                raise Damaged(f"{file.name} begins with {TRANSITIONS[datagram.transition]}, not with Configure")
            if datagram.transition == BEGIN_RUN:
                if not datagram.seconds:
                    raise Damaged(f"{file.name}: the BeginRun at offset {datagram.offset} has no time")
                start, run = datagram.clock, datagram.env
            break
    if configured is None:
        raise Damaged(f"{file.name} has no Configure")
    sources = sorted(configured.sources, key=lambda source: source.order)
    return Head(configured.jungfraus, tuple(sources), tuple(configured.aliases), start, run, tuple(configured.notes))


def _read_configure(file: Readable, datagram: Datagram) -> _Configured:
    configured = _Configured()
    for found in objects(file, datagram):
        if found.start == found.end:
            continue
        if found.source.is_detector:
            configured.sources.add(found.source)
        if found.compressed:
            continue  # psana ignores a configuration that is compressed
        if found.type == ALIAS:
            configured.aliases += read_aliases(file, found)
        if found.type == JUNGFRAU and found.source.is_jungfrau:
            config = read_jungfrau(file, found)
            is_new = found.source not in configured.jungfraus
            if configured.jungfraus.setdefault(found.source, config) != config:
                raise Damaged(f"{file.name} configures {found.source.name} twice, differently, at {found.offset}")
            if found.damage and is_new:
                configured.notes.append(
                    f"{file.name}: the DAQ marked the configuration of {found.source.name} as damaged "
                    f"(0x{found.damage:x})"
                )
    return configured
