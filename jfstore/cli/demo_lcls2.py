"""Made-up data of LCLS-II for the demo: XTC2 files of runs with 32 panels, and the text files of two dark runs.

The writer of XTC2 files shares nothing with the reader; the files have no events. Each text is written once, and other
panels have links to it, so that the demo stays small.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jfstore.cli.demo_names import EXPERIMENT, RUNS, name_panels
from jfstore.fs import durable

SHAPE = (512, 1024)
DARKS = {5: "20250328100000", 8: "20250329100000"}
_STREAMS = 2
_DISTINCT = 2
"""Number of panels whose texts a dark run has; the others have links to them."""
_LEVELS = (2400, 14800, 14300)
_EPOCH = 631_152_000
_UINT64, _UINT32, _TEXT, _ENUM = 3, 2, 10, 11

Value = tuple[str, int, int, bytes]


def make_pedestals(run: int, segment: int) -> NDArray[np.float32]:
    """Return the pedestals of a panel that a dark run gives, float32 (gain, row, column), of eighths of an ADU."""
    random = np.random.default_rng([run, segment % _DISTINCT])
    levels = np.array(_LEVELS)[:, np.newaxis, np.newaxis]
    eighths = 8 * levels + random.integers(-800, 801, (len(_LEVELS), *SHAPE))
    return (eighths / 8).astype(np.float32)


def write_darks(root: Path) -> None:
    """Write the pedestals of the dark runs as the panel repository of LCLS-II has them."""
    for run, stamp in DARKS.items():
        for segment, panel in enumerate(name_panels(run)):
            directory = root / "jungfrau" / panel / "pedestals"
            for missing in reversed([path for path in (directory, *directory.parents) if not path.is_dir()]):
                durable.make_directory(missing, 0o755)
            for gain in range(len(_LEVELS)):
                path = directory / _name_text(run, stamp, segment, gain)
                if segment < _DISTINCT:
                    _write_text(path, make_pedestals(run, segment)[gain])
                elif not path.is_symlink():
                    first = segment % _DISTINCT
                    target = f"../../{name_panels(run)[first]}/pedestals/{_name_text(run, stamp, first, gain)}"
                    durable.symlink(target, path)


def _name_text(run: int, stamp: str, segment: int, gain: int) -> str:
    return f"jungfrau_000003-s{segment:02d}-{stamp}-{EXPERIMENT}-r{run:04d}-pedestals-g{gain}.data"


def _write_text(path: Path, array: NDArray[np.float32]) -> None:
    line = " ".join(["%.3f"] * array.shape[1]) + "\n"
    pieces = [(line % tuple(row)).encode() for row in array.tolist()]
    durable.overwrite(path, [b"".join(pieces)], mode=0o644, settle=False)


# -- runs


def _text(word: str) -> bytes:
    return word.encode().ljust(256, b"\0")


def _xtc(kind: int, payload: bytes, source: int = 0) -> bytes:
    return struct.pack("<IHHI", source, 0, kind, 12 + len(payload)) + payload


def _datagram(service: int, seconds: int, payload: bytes = b"") -> bytes:
    return struct.pack("<3I", 123456789, seconds - _EPOCH, service << 24) + _xtc(0, payload, 1)


def _names(
    source: int, detector: str, kind: str, panel: str, algorithm: str, segment: int, values: Sequence[Value]
) -> bytes:
    body = struct.pack("<I", sum(1 for value in values if value[2]))
    body += b"".join(map(_text, (kind, detector, panel, algorithm))) + struct.pack("<2I", 512, segment)
    for name, value_type, length, _ in values:
        body += bytes(260) + _text(name) + struct.pack("<2I", value_type, bool(length))
    return _xtc(4, body, source)


def _data(source: int, values: Sequence[Value]) -> bytes:
    shapes = b"".join(struct.pack("<5I", length, 0, 0, 0, 0) for _, _, length, _ in values if length)
    return _xtc(1, _xtc(2, shapes) + _xtc(3, b"".join(value[3] for value in values)), source)


def _make_stream(run: int, segments: Mapping[int, str]) -> bytes:
    """Return the file of a stream that has these segments."""
    zero = struct.pack("<I", 0)
    modes: list[Value] = [("user.gainMode:gainModeEnum", _ENUM, 0, zero), ("user.gain0:gain0Enum", _ENUM, 0, zero)]
    text = EXPERIMENT.encode() + b"\0"
    info: list[Value] = [("expt", _TEXT, len(text), text), ("runnum", _UINT32, 0, struct.pack("<I", run))]
    objects = _names(0xF00, "runinfo", "runinfo", "", "runinfo", 0, info)
    for segment, panel in segments.items():
        source = 0x100 + 2 * segment
        objects += _names(source, "jungfrau", "jungfrau", panel, "raw", segment, [("frame_cnt", _UINT64, 0, b"")])
        objects += _names(source + 1, "jungfrau", "jungfrau", panel, "config", segment, modes)
        objects += _data(source + 1, modes)
    start = RUNS[run]
    parts = [_datagram(2, start - 600, objects), _datagram(4, start, _data(0xF00, info))]
    return b"".join([*parts, *(_datagram(service, start + 1) for service in (6, 8, 9, 7)), _datagram(5, start + 300)])


def write_runs(root: Path) -> None:
    """Write the files of the runs under `root`, laid out as ``SIT_PSDM_DATA`` is."""
    directory = root / EXPERIMENT[:3].upper() / EXPERIMENT / "xtc"
    for missing in reversed([path for path in (directory, *directory.parents) if not path.is_dir()]):
        durable.make_directory(missing, 0o755)
    for run in RUNS:
        panels = dict(enumerate(name_panels(run)))
        for stream in range(_STREAMS):
            part = {segment: panel for segment, panel in panels.items() if segment % _STREAMS == stream}
            path = directory / f"{EXPERIMENT}-r{run:04d}-s{stream:03d}-c000.xtc2"
            durable.overwrite(path, [_make_stream(run, part)], mode=0o644, settle=False)
