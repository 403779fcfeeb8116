"""A writer of XTC from its description alone: objects, containers, datagrams, configurations, runs and trees of runs.

It shares nothing with the reader, and writes what is wrong as readily as what is right.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

UNKNOWN, RESET, MAP, UNMAP, CONFIGURE, UNCONFIGURE, BEGIN_RUN, END_RUN = range(8)
BEGIN_CALIB_CYCLE, END_CALIB_CYCLE, ENABLE, DISABLE, L1_ACCEPT = range(8, 13)
SEGMENT, EVENT = 2, 3
CONTAINER, EPICS, ALIAS, JUNGFRAU, ELEMENT = 1, 13, 69, 107, 108
INCOMPLETE = 1 << 15
COMPRESSED = 1 << 15  # of a version
MFX, DEVICE = 48, 43
SIZES = {1: 36, 2: 60, 3: 252, 4: 828}

Panel = tuple[int, int, int]
"""moduleVersion, firmwareVersion, serialNumber: the order in which they are printed."""

PAIR: tuple[Panel, ...] = ((0x171113, 0x154920171025, 0x3D00B0), (0x171113, 0x154920171025, 0x3D00F7))
PAIR_ID = "171113-154920171025-3d00b0_171113-154920171025-3d00f7"


def some_panels(count: int, first: int = 0) -> tuple[Panel, ...]:
    """Return `count` panels that differ in each of their numbers."""
    return tuple((0x171113 + n, 0x154920171025 - n, 0x3D0001 + (n << 16)) for n in range(first, first + count))


def phy_of(detector: int = MFX, detector_number: int = 0, device: int = DEVICE, device_number: int = 0) -> int:
    """Return the second word of a detector's source; of ``MfxEndstation.0:Jungfrau.0`` if nothing is said."""
    return detector << 24 | detector_number << 16 | device << 8 | device_number


def xtc(
    contains_type: int,
    version: int,
    level: int,
    process: int,
    phy: int,
    payload: bytes = b"",
    damage: int = 0,
    extent: int | None = None,
) -> bytes:
    """Return an object; its extent is right unless it is given."""
    size = 20 + len(payload) if extent is None else extent
    return struct.pack("<5I", damage, level << 24 | process, phy, version << 16 | contains_type, size) + payload


def container(
    *children: bytes,
    level: int = SEGMENT,
    process: int = 4321,
    phy: int = 0xAC150A0B,
    damage: int = 0,
    extent: int | None = None,
) -> bytes:
    """Return a container of `children`."""
    return xtc(CONTAINER, 1, level, process, phy, b"".join(children), damage, extent)


def nested(depth: int, *children: bytes) -> bytes:
    """Return `children` in `depth` containers, one in the other."""
    inner = b"".join(children)
    heads = [
        struct.pack("<5I", 0, SEGMENT << 24 | 7, 0, 1 << 16 | CONTAINER, 20 * level + len(inner))
        for level in range(depth, 0, -1)
    ]
    return b"".join(heads) + inner


def datagram(
    transition: int,
    seconds: int,
    nanoseconds: int = 0,
    top: bytes | None = None,
    env: int = 0,
    fiducials: int = 0x1000,
    sequence: int = 0,
) -> bytes:
    """Return a datagram with `top` as its top object, an empty container if that is not given."""
    words = (nanoseconds, seconds, sequence << 28 | transition << 24, fiducials, env)
    return struct.pack("<5I", *words) + (container(level=EVENT) if top is None else top)


def jungfrau_config(
    version: int, panels: Sequence[Panel], rows: int = 512, columns: int = 1024, count: int | None = None
) -> bytes:
    """Return the payload of a Jungfrau's configuration; it says `count`, the number of `panels` if not given."""
    said = len(panels) if count is None else count
    body = struct.pack("<4I2H2d", said, rows, columns, 200, 0, 1, 0.25, 1e-5)
    if version >= 2:
        body += struct.pack("<d8H", 8e-3, *range(1000, 1008))
    if version >= 3:
        slots = 8 if version == 3 else 32
        for module, firmware, serial in panels[:slots]:
            body += struct.pack("<3Q", serial, module, firmware)
        body += b"\xa5" * 24 * (slots - len(panels[:slots]))  # what a slot that is not used holds means nothing
    return body


def jungfrau(
    version: int,
    panels: Sequence[Panel],
    phy: int | None = None,
    damage: int = 0,
    count: int | None = None,
    payload: bytes | None = None,
) -> bytes:
    """Return a Jungfrau's configuration object."""
    inside = jungfrau_config(version, panels, count=count) if payload is None else payload
    return xtc(JUNGFRAU, version, 1, 20951, phy_of() if phy is None else phy, inside, damage)


def alias_config(
    aliases: Sequence[tuple[int, int, str | bytes]], count: int | None = None, pad: bytes = b"\0"
) -> bytes:
    """Return an AliasConfig object of (level, phy, name); `count` is what it says, their number if not given."""
    body = struct.pack("<I", len(aliases) if count is None else count)
    for level, phy, name in aliases:
        raw = name.encode() if isinstance(name, str) else name
        body += struct.pack("<2I31s", level << 24 | 7670, phy, raw) + pad
    return xtc(ALIAS, 1, 0, 7670, 0, body)


def configure(seconds: int, *objects: bytes, nanoseconds: int = 222333444) -> bytes:
    """Return a Configure of `objects`, in a segment's container each as the DAQ has them."""
    return datagram(CONFIGURE, seconds, nanoseconds, container(*map(container, objects), level=EVENT))


def begin_run(seconds: int, run: int, nanoseconds: int = 123456789) -> bytes:
    """Return a BeginRun."""
    return datagram(BEGIN_RUN, seconds, nanoseconds, env=run)


def l1accept(seconds: int, *objects: bytes, nanoseconds: int = 0, fiducials: int = 0x2000) -> bytes:
    """Return an event."""
    top = container(*map(container, objects), level=EVENT)
    return datagram(L1_ACCEPT, seconds, nanoseconds, top, fiducials=fiducials)


def run_bytes(
    panels: Sequence[Panel] = PAIR,
    begin_seconds: int = 1522800000,
    run: int = 1,
    version: int = 3,
    phy: int | None = None,
    alias: str | bytes | None = None,
    others: Sequence[bytes] = (),
    events: int = 3,
) -> bytes:
    """Return a whole stream: Configure an hour before, BeginRun, Enable and the events.

    `others` are objects that are configured after the Jungfrau's.
    """
    place = phy_of() if phy is None else phy
    objects = [jungfrau(version, panels, place), *others]
    if alias is not None:
        objects.insert(0, alias_config([(1, place, alias)]))
    pieces = [configure(begin_seconds - 3600, *objects), begin_run(begin_seconds, run)]
    pieces.append(datagram(ENABLE, begin_seconds + 1))
    for number in range(events):
        element = xtc(ELEMENT, 2, 1, 20951, place, struct.pack("<Q2I", number, 0, 0x2000 + 3 * number))
        pieces.append(l1accept(begin_seconds + 2 + number, element, fiducials=0x2000 + 3 * number))
    return b"".join(pieces)


def path_of(root: Path, instrument: str, experiment: str, run: int, stream: int = 0, chunk: int = 0) -> Path:
    """Return where a run's file belongs, whose directory is made."""
    directory = root / instrument / experiment / "xtc"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{experiment}-r{run:04d}-s{stream:02d}-c{chunk:02d}.xtc"


def write_run(
    root: Path, instrument: str, experiment: str, run: int, data: bytes, stream: int = 0, chunk: int = 0
) -> Path:
    """Write a file of a run at its place in the tree under `root`, and return its path."""
    path = path_of(root, instrument, experiment, run, stream, chunk)
    path.write_bytes(data)
    return path


def many_runs(root: Path, experiments: int, runs_each: int, instrument: str = "MFX") -> int:
    """Write a tree of runs, such as 2,000 of them for a measurement; return how many there are.

    Each has panels of its own, so that none can be taken for another.
    """
    for experiment in range(experiments):
        name = f"{instrument.lower()}{experiment:05d}"
        for run in range(1, runs_each + 1):
            panels = some_panels(2, 2 * (experiment * runs_each + run))
            data = run_bytes(panels, 1520000000 + 600 * run, run, alias="jungfrau1M")
            write_run(root, instrument, name, run, data)
    return experiments * runs_each
