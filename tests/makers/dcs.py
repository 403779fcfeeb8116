"""DCS files made with plain h5py as the original program lays them out, its faults included; its rules of selection,
told anew from the facts about it; and the reference's files with the answers that it gave."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jfstore.cli.programs import dcs
from tests.makers.arrays import plausible
from tests.makers.telling import Told, tell

DCS = Path(__file__).resolve().parent.parent / "data/reference/dcs"
SMALL = DCS / "intended-small/jungfrau-171113-154920171025-3d00fb.h5"
TWO = DCS / "intended-two/jungfrau-170505-149520170815-3d00b0_170505-149520170815-3d00f7.h5"
PY3 = DCS / "py3-small/jungfrau-171113-154920171025-3d00fb.h5"
FILES = {"small": SMALL, "two": TWO, "py3": PY3}
EXPECTED = {
    name: json.loads((DCS.parent / "expected.json").read_text())["files"][str(path.relative_to(DCS.parent))]
    for name, path in FILES.items()
}
NAME = "jungfrau-171113-154920171025-3d00fb.h5"
SHAPE = (3, 1, 4, 4)

Versions = Mapping[int, Any]
Ranges = Mapping[tuple[float, float], Versions]


def array(seed: int, shape: Sequence[int] = SHAPE, dtype: str = "<f4") -> np.ndarray:
    """Return an array without zeros, another one for every seed."""
    return plausible(np.random.default_rng(seed), "pixel_gain", shape).astype(dtype)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Told:
    """Run ``dcs``; return exit code, output and messages."""
    return tell(capsys, *words, program=dcs.main)


class Store:
    """A file in the working directory, and ``dcs`` for it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], name: str = NAME) -> None:
        self._capsys = capsys
        self.path = Path(name)

    def run(self, command: str, *words: object) -> Told:
        return run(self._capsys, command, self.path, *words)

    def add(self, seed: int, t: object = 1_500_000_000, *words: object, type_name: str = "pixel_gain") -> Told:
        """Add `array` of `seed`."""
        np.save(f"{seed}.npy", array(seed))
        return self.run("add", "-t", type_name, "-T", t, "-f", f"{seed}.npy", *words)

    def got(self, t: object, *words: object, type_name: str = "pixel_gain") -> np.ndarray | int:
        """Return what ``get`` writes, or its exit code if it fails."""
        code, _, _ = self.run("get", "-t", type_name, "-T", t, "-f", "got.npy", *words)
        return code or np.load("got.npy")

    def state(self) -> tuple[Any, ...]:
        """Return what tells whether the file was touched."""
        status = self.path.stat()
        return self.path.read_bytes(), status.st_ino, status.st_mtime_ns


def seal(value: Any) -> str:
    """Return the hash that the reference's answers have."""
    return hashlib.sha256(value.tobytes() if isinstance(value, np.ndarray) else value.encode()).hexdigest()


# -- writing as the original does


def scalar(group: h5py.Group, name: str, value: str | float | bytes) -> None:
    raw = value.encode() if isinstance(value, str) else value
    dtype = f"S{len(raw)}" if isinstance(raw, bytes) else "i8" if isinstance(raw, int) else "f8"
    group.create_dataset(name, shape=(1,), dtype=dtype, data=raw)


def key(start: float, end: float = math.inf) -> str:
    return f"{math.floor(start)}-{'end' if end == math.inf else math.ceil(end)}"


def make_dcs(path: Path, types: Mapping[str, Ranges], unnumbered: Iterable[int] = (), default: int = 0) -> Path:
    """Write a file: types, ranges by begin and end, versions by number; those of `unnumbered` lack theirs."""
    kind, _, identity = path.stem.partition("-")
    moment = iter(range(1_600_000_000, 1_700_000_000))
    with h5py.File(path, "w") as file:
        for name, text in (("dettype", kind), ("detid", identity), ("detname", path.stem)):
            scalar(file, name, text)
        scalar(file, "tscfile", 0.0)
        for type_name, ranges in types.items():
            group = file.create_group(type_name)
            scalar(group, "ctype", type_name)
            for (start, end), versions in ranges.items():
                inner = group.create_group(key(start, end))
                scalar(inner, "begin", start)
                scalar(inner, "end", "end" if end == math.inf else end)
                scalar(inner, "range", key(start, end))
                scalar(inner, "versdef", default)
                for number, value in versions.items():
                    produced = float(next(moment))
                    make_version(inner, number, value, produced, number not in unnumbered)
                    scalar(inner.require_group("_history"), f"{next(moment):.6f}", f"add version {number}: no {number}")
    return path


def make_version(group: h5py.Group, number: int, value: Any, produced: float, numbered: bool = True) -> None:
    inner = group.create_group(f"v{number:04d}")
    if numbered:
        scalar(inner, "version", number)
    scalar(inner, "tsprod", produced)
    if isinstance(value, str):
        scalar(inner, "data", value)
    elif value is not None:
        inner.create_dataset("data", data=value)


# -- reading as the original does


def original_answer(path: Path, type_name: str, t: float, number: int | None = None) -> Any:
    """Return what the original would answer, or fail as it would."""
    with h5py.File(path) as file:
        if type_name not in file:
            return None
        ranges = []
        for name in sorted(set(file[type_name]) - {"ctype", "_history", "_parameters"}):
            group = file[type_name][name]
            if group["begin"].dtype.kind == "f":
                end = group["end"][0]
                ranges.append((group["begin"][0], -math.inf if end == b"end" else -end, group))
        for start, end, group in sorted(ranges, key=lambda one: one[:2], reverse=True):
            if t < start or (end != -math.inf and t > -end):
                continue
            versions = {}
            for name in sorted(set(group)):
                if name.startswith("v0") and "version" in group[name]:
                    versions[int(group[name]["version"][0])] = group[name]["data"][()]
            default = int(group["versdef"][0])
            wanted = number if number is not None else default or (list(versions)[-1] if versions else 0)
            return versions.get(wanted)
    return None


def structure(path: Path) -> dict[str, Any]:
    """Return every object of a file: a group, or kind, shape and storage of a dataset, and its value if it is small."""
    found: dict[str, Any] = {}

    def see(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Group):
            found[name] = "group"
        else:
            small = thing[()].tobytes() if thing.size == 1 else hashlib.sha256(thing[()].tobytes()).hexdigest()
            storage = thing.id.get_create_plist().get_layout()
            found[name] = (thing.dtype.str, thing.shape, storage, len(thing.attrs), small)

    with h5py.File(path) as file:
        file.visititems(see)
        assert not file.attrs
    return found
