"""Configuration objects of a Jungfrau's run: Jungfrau ConfigV1 to V4, and AliasConfig (psana's data definition)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from jfstore.core.ids import PanelId
from jfstore.errors import Damaged
from jfstore.runs.source import Source
from jfstore.runs.xtc import Readable, XtcObject

ALIAS, JUNGFRAU = 69, 107

# Of each version the size of the payload, and how many panels it has room for.
_SIZES = {1: (36, 0), 2: (60, 0), 3: (252, 8), 4: (828, 32)}
_MODULES_AT = 60
_MODULE = struct.Struct("<3Q")  # serialNumber, moduleVersion, firmwareVersion: not the order in which they are printed
_ALIAS = struct.Struct("<2I31sx")
_MOST_ALIASES = 10_000


@dataclass(frozen=True, slots=True)
class JungfrauConfig:
    """What a Jungfrau's configuration object says of its panels.

    Attributes
    ----------
    version : int
        1 to 4, of psana's ``Jungfrau.ConfigV<version>``.
    count : int
        Number of panels.
    panels : tuple of PanelId
        Their Ids in order; empty for versions 1 and 2, which have none.
    """

    version: int
    count: int
    panels: tuple[PanelId, ...]


def read_jungfrau(file: Readable, found: XtcObject) -> JungfrauConfig:
    """Return what a Jungfrau's configuration object says.

    Raises
    ------
    Damaged
        If its size is not that of its version, or its number of panels is impossible.
    """
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
    return JungfrauConfig(found.version, count, tuple(PanelId(module, fw, serial) for serial, module, fw in modules))


def read_aliases(file: Readable, found: XtcObject) -> list[tuple[Source, str]]:
    """Return the sources of an AliasConfig with their names, in its order.

    Raises
    ------
    Damaged
        If it is shorter than its number of aliases needs, or that is over 10,000.
    """
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


class Aliases:
    """The aliases of sources; the first of a source and the first use of a name count, as for psana."""

    def __init__(self) -> None:
        self.of: dict[Source, str] = {}
        self._names: set[str] = set()

    def take(self, pairs: Iterable[tuple[Source, str]]) -> None:
        """Add what an AliasConfig says."""
        for source, name in pairs:
            if source not in self.of and name not in self._names:
                self.of[source] = name
                self._names.add(name)
