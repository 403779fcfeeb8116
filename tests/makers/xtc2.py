"""Write XTC2 files of LCLS-II from the description of the format; it shares nothing with the reader of jfstore."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

EPOCH = 631_152_000
CONFIGURE, BEGIN_RUN, END_RUN, BEGIN_STEP, ENABLE, DISABLE, L1_ACCEPT = 2, 4, 5, 6, 8, 9, 12
U8, U16, U32, U64, CHAR, ENUM_VALUE, ENUM_WORD = 0, 1, 2, 3, 10, 11, 12
START = 1_743_192_000
"""2025-03-28 13:00 in Los Angeles."""

Value = tuple[str, int, int, bytes]
"""Name, type, length of an array (0 for a scalar) and bytes of a value."""

# Segment numbers by panel Id, in the order of the file.
Segments = Mapping[int, str]

GAIN_MODES = ("DYNAMIC", "FORCE_SWITCH_G1", "FORCE_SWITCH_G2", "FIX_G1", "FIX_G2")


def panel(module: int, *, firmware: int = 0x230920, software: int = 0x8000000020000, board: int = 0x2000) -> str:
    """Return the Id of a module as the DAQ makes it."""
    return f"{software:x}-{firmware:x}-{board << 16 | module:x}"


def xtc(kind: int, payload: bytes, source: int = 0, damage: int = 0, extent: int | None = None) -> bytes:
    """Return an object with its header; `extent` may lie."""
    size = 12 + len(payload) if extent is None else extent
    return struct.pack("<IHHI", source, damage, kind, size) + payload


def datagram(service: int, seconds: int, payload: bytes = b"", nanoseconds: int = 123456789) -> bytes:
    """Return a datagram at a Unix time."""
    return struct.pack("<III", nanoseconds, seconds - EPOCH, service << 24) + xtc(0, payload, 1)


def text(word: str | bytes, size: int = 256) -> bytes:
    """Return a text filled up with zeros."""
    raw = word.encode() if isinstance(word, str) else word
    return raw.ljust(size, b"\0")[:size]


def alg(name: str = "", version: int = 0) -> bytes:
    return text(name) + struct.pack("<I", version)


def names(
    source: int,
    detector: str,
    detector_type: str,
    detector_id: str,
    algorithm: str,
    segment: int,
    values: Sequence[Value],
    version: int = 512,
) -> bytes:
    """Return a Names object."""
    arrays = sum(1 for _, _, length, _ in values if length)
    body = struct.pack("<I", arrays) + text(detector_type) + text(detector) + text(detector_id)
    body += alg(algorithm, version) + struct.pack("<I", segment)
    body += b"".join(
        alg() + text(name) + struct.pack("<II", kind, 1 if length else 0) for name, kind, length, _ in values
    )
    return xtc(4, body, source)


def shapes_data(source: int, values: Sequence[Value]) -> bytes:
    """Return a ShapesData object."""
    shapes = b"".join(struct.pack("<5I", length, 0, 0, 0, 0) for _, _, length, _ in values if length)
    data = b"".join(raw for _, _, _, raw in values)
    return xtc(1, xtc(2, shapes) + xtc(3, data), source)


def modes(gain_mode: int | None, gain0: int | None) -> list[Value]:
    """Return the values of a configuration, among them how the amplifiers are set."""
    values: list[Value] = [
        ("firmwareVersion", U64, 0, struct.pack("<Q", 0x230920)),
        ("user.jungfrau_ip", CHAR, 10, b"10.0.0.15\0"),
    ]
    if gain_mode is not None:
        values.append(("user.gainMode:gainModeEnum", ENUM_VALUE, 0, struct.pack("<I", gain_mode)))
        values += [(f"{w}:gainModeEnum", ENUM_WORD, 0, struct.pack("<I", n)) for n, w in enumerate(GAIN_MODES)]
    if gain0 is not None:
        values.append(("user.gain0:gain0Enum", ENUM_VALUE, 0, struct.pack("<I", gain0)))
        values += [(f"{w}:gain0Enum", ENUM_WORD, 0, struct.pack("<I", n)) for n, w in enumerate(("normal", "high"))]
    return [*values, ("user.exposure_time_s", 9, 0, struct.pack("<d", 1e-5))]


RAW: list[Value] = [("raw", U16, 512, b""), ("frame_cnt", U64, 0, b"")]


def configured(
    segments: Segments,
    detector: str = "jungfrau",
    *,
    detector_type: str = "jungfrau",
    gain_mode: int | None = 0,
    gain0: int | None = 0,
    first: int = 0x100,
    repeats: int = 1,
) -> bytes:
    """Return the objects that configure the segments of a detector; a scan repeats them."""
    out = b""
    for number, (segment, name) in enumerate(segments.items()):
        source = first + 2 * number
        out += names(source, detector, detector_type, name, "raw", segment, RAW)
        values = modes(gain_mode, gain0)
        for repeat in range(repeats):
            at = source + 1 + (repeat << 12)
            out += names(at, detector, detector_type, name, "config", segment, values) + shapes_data(at, values)
    return out


def run_info(experiment: str, run: int) -> list[Value]:
    raw = experiment.encode() + b"\0"
    return [("expt", CHAR, len(raw), raw), ("runnum", U32, 0, struct.pack("<I", run))]


def stream(
    objects: bytes,
    experiment: str = "mfxx00001",
    run: int = 7,
    start: int = START,
    *,
    events: int = 2,
    length: int = 60,
    ends: bool = True,
) -> bytes:
    """Return the file of a stream whose Configure has `objects`; it lasts `length` seconds."""
    info = run_info(experiment, run)
    own = names(0xF00, "runinfo", "runinfo", "", "runinfo", 0, info)
    timing = names(0xF01, "ts", "timing", "", "raw", 0, [("firmwareVersion", U64, 0, b"")])
    parts = [
        datagram(CONFIGURE, start - 100, objects + timing + own),
        datagram(BEGIN_RUN, start, shapes_data(0xF00, info)),
        datagram(BEGIN_STEP, start + 1),
        datagram(ENABLE, start + 1),
        *(datagram(L1_ACCEPT, start + 2 + number, xtc(1, bytes(40), 0x100)) for number in range(events)),
        datagram(DISABLE, start + length - 1),
    ]
    return b"".join([*parts, *([datagram(END_RUN, start + length)] if ends else [])])


def path_of(root: Path, experiment: str, run: int, stream: int = 0, chunk: int = 0) -> Path:
    """Return the path of a file in a tree of runs."""
    return root / experiment[:3] / experiment / "xtc" / f"{experiment}-r{run:04d}-s{stream:03d}-c{chunk:03d}.xtc2"


def write(root: Path, experiment: str, run: int, *streams: bytes) -> list[Path]:
    """Write the streams of a run into a tree."""
    paths = [path_of(root, experiment, run, number) for number in range(len(streams))]
    for path, data in zip(paths, streams, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return paths
