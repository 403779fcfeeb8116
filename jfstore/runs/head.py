"""Read the head of a run's stream: the configuration of its Jungfraus (ConfigV1 to V4), aliases, and start time."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jfstore.core.ids import PanelId
from jfstore.errors import Damaged
from jfstore.runs.begin import find_begin
from jfstore.runs.xtc import Datagram, Readable, Source, Transition, XtcObject, read_datagrams, read_objects

ALIAS, JUNGFRAU = 69, 107

# Version of the Jungfrau's configuration: size of the payload, number of panels that it has room for.
_SIZES = {1: (36, 0), 2: (60, 0), 3: (252, 8), 4: (828, 32)}
_MODULES_AT = 60
_MODULE = struct.Struct("<3Q")  # serialNumber, moduleVersion, firmwareVersion: not the order in which they are printed
_ALIAS = struct.Struct("<2I31sx")
_MOST_ALIASES = 10_000
GAIN_MODES = ("Normal", "FixedGain1", "FixedGain2", "ForcedGain1", "ForcedGain2", "HighGain0")
"""Gain modes of the configuration, in the order of their numbers (psana's Jungfrau.GainMode)."""
HIGH_GAIN_0 = GAIN_MODES.index("HighGain0")
# The run has started when one of these comes; the head does not have what is configured later.
_AFTER_START = ("BeginCalibCycle", "Enable", "L1Accept")


@dataclass(frozen=True, slots=True)
class JungfrauConfig:
    """The panels in a Jungfrau's configuration object."""

    version: int  # of psana's Jungfrau.ConfigV<version>
    count: int
    panels: tuple[PanelId, ...]  # empty for versions 1 and 2, which have no Ids
    gain_mode: int = 0  # see GAIN_MODES


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one stream."""

    jungfraus: Mapping[Source, JungfrauConfig]
    sources: tuple[Source, ...]  # all configured detectors, in psana's order
    aliases: tuple[tuple[Source, str], ...]  # in the order of the file; see Aliases
    start: int | None  # clock of BeginRun, nanoseconds since 1970 UTC
    run: int  # run number in BeginRun, 0 if it has none
    notes: tuple[str, ...]
    problem: str = ""  # why the start is not known, if the file ends after Configure


class Aliases:
    """Aliases of sources; as in psana, the first alias of a source and the first use of an alias count."""

    def __init__(self) -> None:
        self.of: dict[Source, str] = {}
        self._names: set[str] = set()

    def add(self, pairs: Iterable[tuple[Source, str]]) -> None:
        """Add the aliases of an AliasConfig."""
        for source, name in pairs:
            if source not in self.of and name not in self._names:
                self.of[source] = name
                self._names.add(name)


def read_head(file: Readable) -> Head:
    """Read the head of a stream and no more; Damaged if it violates the format or does not start with Configure."""
    if not file.size:
        raise Damaged(f"{file.name} is empty")
    configured, begin, problem = find_begin(file, read_datagrams(file), Transition, _AFTER_START, _read_configure)
    if configured is None:
        raise Damaged(f"{file.name} has no Configure")
    sources = tuple(sorted(configured.sources, key=lambda source: source.order))
    start, run = (None, 0) if begin is None else (begin.clock, begin.env)
    notes, aliases = tuple(configured.notes), tuple(configured.aliases)
    return Head(configured.jungfraus, sources, aliases, start, run, notes, problem)


@dataclass
class _Configured:
    jungfraus: dict[Source, JungfrauConfig] = field(default_factory=dict)
    sources: set[Source] = field(default_factory=set)
    aliases: list[tuple[Source, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _read_configure(file: Readable, datagram: Datagram) -> _Configured:
    configured = _Configured()
    for found in read_objects(file, datagram):
        if found.start == found.end:
            continue
        if found.source.is_detector:
            configured.sources.add(found.source)
        if found.compressed:
            continue  # psana ignores compressed configurations
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


def read_jungfrau(file: Readable, found: XtcObject) -> JungfrauConfig:
    """Read a Jungfrau's configuration object; Damaged if its version, size or number of panels is impossible."""
    where = f"{file.name}: the Jungfrau ConfigV{found.version} at offset {found.offset}"
    if found.version not in _SIZES:
        raise Damaged(f"{where} is of a version that this jfstore does not know")
    size, room = _SIZES[found.version]
    if found.end - found.start != size:
        raise Damaged(f"{where} has {found.end - found.start} bytes instead of {size}")
    payload = file.read(found.start, size)
    count = int.from_bytes(payload[:4], "little")
    if not 1 <= count <= (room or 32):
        raise Damaged(f"{where} has {count} panels instead of 1 to {room or 32}")
    modules = _MODULE.iter_unpack(payload[_MODULES_AT : _MODULES_AT + (count * _MODULE.size if room else 0)])
    panels = tuple(PanelId(module, fw, serial) for serial, module, fw in modules)
    return JungfrauConfig(found.version, count, panels, int.from_bytes(payload[16:18], "little"))


def read_aliases(file: Readable, found: XtcObject) -> list[tuple[Source, str]]:
    """Read the sources and names in an AliasConfig; Damaged if they do not fit in it, or are over 10,000."""
    where = f"{file.name}: the AliasConfig at offset {found.offset}"
    size = found.end - found.start
    count = int.from_bytes(file.read(found.start, 4), "little") if size >= 4 else 1
    if count > _MOST_ALIASES or 4 + count * _ALIAS.size > size:
        raise Damaged(f"{where} has {size} bytes, too few for {count} aliases")
    aliases = []
    for log, phy, text in _ALIAS.iter_unpack(file.read(found.start + 4, count * _ALIAS.size)):
        name = text.split(b"\0")[0].decode("ascii", "backslashreplace")
        if name:
            aliases.append((Source(log >> 24, phy), name))
    return aliases
