"""HDF5 files that nobody should read as a DCS file: each is a sound one with something in it that is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5p, h5s, h5t

from tests.makers.dcs import NAME, array, make_dcs

PLACE = "pixel_gain/0-end/v0001"
OUTSIDE = "outside.h5"
DEEP, WIDE = 2000, 100_100

Spoil = Callable[[h5py.File, Path], Any]


def target(file: h5py.File, shape: tuple[int, ...] = (3, 1, 4, 4), dtype: Any = "f4", **options: Any) -> h5py.Dataset:
    """Put another dataset in the place of the constants."""
    del file[f"{PLACE}/data"]
    return file.create_dataset(f"{PLACE}/data", shape, dtype, **options)


def low(file: h5py.File, creation: Any, shape: tuple[int, ...], kind: Any = h5t.IEEE_F32LE, space: Any = None) -> None:
    del file[f"{PLACE}/data"]
    h5d.create(file[PLACE].id, b"data", kind, space or h5s.create_simple(shape), dcpl=creation)


def creation(**settings: Any) -> Any:
    made = h5p.create(h5p.DATASET_CREATE)
    for name, values in settings.items():
        getattr(made, name)(*values)
    return made


def link(name: str, value: Any) -> Spoil:
    def spoil(file: h5py.File, _outside: Path) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return spoil


def external_link(name: str, absolute: bool = True, inside: str = "") -> Spoil:
    def spoil(file: h5py.File, outside: Path) -> None:
        link(name, h5py.ExternalLink(str(outside) if absolute else outside.name, inside or name))(file, outside)

    return spoil


def hard_link(name: str, to: str) -> Spoil:
    return lambda file, _outside: link(name, file[to])(file, _outside)


def deep(file: h5py.File, _outside: Path) -> None:
    group = file[PLACE].id
    for _ in range(DEEP):
        group = h5g.create(group, b"d")


def wide(file: h5py.File, _outside: Path) -> None:
    group = file.create_group("pixel_mask")
    group["x"] = 1
    for number in range(WIDE):
        group.id.link(b"/pixel_mask/x", b"%d" % number, h5g.LINK_HARD)


def external_storage(absolute: bool) -> Spoil:
    def spoil(file: h5py.File, outside: Path) -> None:
        target(file, (48,), "f4", external=[(str(outside) if absolute else outside.name, 0, 192)])

    return spoil


def virtual(file: h5py.File, outside: Path) -> None:
    layout = h5py.VirtualLayout((3, 1, 4, 4), "f4")
    layout[...] = h5py.VirtualSource(str(outside), f"{PLACE}/data", (3, 1, 4, 4))
    del file[f"{PLACE}/data"]
    file.create_virtual_dataset(f"{PLACE}/data", layout)


def gzip_bomb(file: h5py.File, _outside: Path) -> None:
    target(file, (1 << 24,), "f4", chunks=(1 << 20,), compression="gzip")[...] = 0


def attribute(name: str, value: Any) -> Spoil:
    return lambda file, _outside: file[name].attrs.__setitem__("a", value)


def many_attributes(file: h5py.File, _outside: Path) -> None:
    for number in range(200):
        file[PLACE].attrs[f"a{number}"] = np.zeros(8000)


def typed(dtype: Any, value: Any = None) -> Spoil:
    return lambda file, _outside: target(file, (1,), dtype, data=value)


def committed(file: h5py.File, _outside: Path) -> None:
    file["pixel_mask"] = np.dtype("f4")


def text(size: int) -> Any:
    kind = h5t.C_S1.copy()
    kind.set_size(size)
    return kind


def huge_note(file: h5py.File, _outside: Path) -> None:
    del file["detid"]
    file.create_dataset("detid", (1,), "S1000000", data=b"x" * 1_000_000)


def odd_bits() -> Any:
    kind = h5t.STD_I32LE.copy()
    kind.set_precision(17)
    return kind


def many_notes(file: h5py.File, _outside: Path) -> None:
    group = file.create_group("_history")
    for number in range(300):
        group.create_dataset(f"{number}.000000", (1,), "S65000", data=b"x" * 65_000)


def no_end(file: h5py.File, _outside: Path) -> None:
    del file["pixel_gain/0-end/end"]
    file["pixel_gain/0-end/end"] = np.zeros((2,), "f8")


def named(name: bytes) -> Spoil:
    return lambda file, _outside: h5g.create(file["pixel_gain"].id, name)


SPOILS: dict[str, Spoil] = {
    "external link to a type": external_link("pixel_gain"),
    "external link, relative": external_link("pixel_gain", absolute=False),
    "external link to a range": external_link("pixel_gain/0-end"),
    "external link to a version": external_link(PLACE),
    "external link to constants": external_link(f"{PLACE}/data"),
    "external link to a note": external_link("dettype"),
    "external link, unknown name": external_link("else", inside="/"),
    "external link to nothing": link("pixel_mask", h5py.ExternalLink("no-such-file.h5", "/")),
    "external link to a family": link("pixel_mask", h5py.ExternalLink("outside%d.h5", "/")),
    "soft link": link("pixel_mask", h5py.SoftLink("/pixel_gain")),
    "soft link to nothing": link(f"{PLACE}/data", h5py.SoftLink("/nowhere")),
    "soft link to itself": link("pixel_mask", h5py.SoftLink("/pixel_mask")),
    "cycle to the root": hard_link("pixel_gain/0-end/v0002", "/"),
    "cycle to itself": hard_link("pixel_gain/1-end", "pixel_gain"),
    "two names of one dataset": hard_link("pixel_gain/0-end/begin2", "pixel_gain/0-end/begin"),
    "deep": deep,
    "wide": wide,
    "external storage": external_storage(True),
    "external storage, relative": external_storage(False),
    "virtual dataset": virtual,
    "huge": lambda file, _outside: low(file, creation(), (1 << 40,)),
    "huge in two dimensions": lambda file, _outside: low(file, creation(), (1 << 30, 1 << 30)),
    "huge in chunks": lambda file, _outside: low(file, creation(set_chunk=[(1 << 20,)]), (1 << 40,)),
    "one huge chunk": lambda file, _outside: low(file, creation(set_chunk=[(1 << 29,)]), (1 << 29,)),
    "gzip bomb": gzip_bomb,
    "chunks": lambda file, _outside: target(file, chunks=(1, 1, 4, 4)),
    "checksum": lambda file, _outside: target(file, chunks=(1, 1, 4, 4), fletcher32=True),
    "shuffle": lambda file, _outside: target(file, chunks=(1, 1, 4, 4), shuffle=True),
    "plugin filter": lambda file, _outside: low(
        file, creation(set_chunk=[(48,)], set_filter=[32015, h5py.h5z.FLAG_OPTIONAL, (1, 2)]), (48,)
    ),
    "compact": lambda file, _outside: low(file, creation(set_layout=[h5d.COMPACT]), (48,)),
    "no space": lambda file, _outside: low(file, creation(), (), space=h5s.create(h5s.NULL)),
    "vlen": typed(h5py.vlen_dtype("f4")),
    "vlen text": typed(h5py.string_dtype(), "text"),
    "reference": typed(h5py.ref_dtype),
    "region reference": typed(h5py.regionref_dtype),
    "compound": typed([("a", "f4"), ("b", "i4")]),
    "complex": typed("c8"),
    "opaque": typed("V16"),
    "array type": typed(np.dtype(("f4", (3,)))),
    "enumeration": typed(h5py.enum_dtype({"a": 1, "b": 2}, "i4")),
    "long double": typed(np.longdouble),
    "odd bits": lambda file, _outside: low(file, creation(), (48,), odd_bits()),
    "named type": committed,
    "attribute of the root": attribute("/", 1),
    "attribute of a group": attribute("pixel_gain", 1),
    "attribute of a dataset": attribute(f"{PLACE}/data", 1),
    "big attribute": attribute("pixel_gain", np.zeros(8000)),
    "vlen attribute": attribute("pixel_gain", "text"),
    "many attributes": many_attributes,
    "huge text": lambda file, _outside: low(file, creation(), (1,), text(1 << 30)),
    "huge note": huge_note,
    "many big notes": many_notes,
    "an end that is no time": no_end,
    "name with a line break": named(b"a\nb"),
    "name that is no text": named(b"\xff\xfe"),
    "long name": named(b"x" * 5000),
}
"""What is done to a sound file, given it and the path of a file outside."""


def raw_files(sound: bytes) -> dict[str, bytes]:
    """Return what is no sound HDF5 file at all."""
    return {
        "nothing": b"",
        "text": b"not HDF5\n",
        "signature only": sound[:8],
        "half": sound[: len(sound) // 2],
        "superblock only": sound[:96],
        "user block": b"\0" * 512 + sound,
        "future superblock": sound[:8] + b"\x7f" + sound[9:],
        "zeros after the superblock": sound[:96] + b"\0" * (len(sound) - 96),
    }


def make_outside(directory: Path) -> Path:
    """Write the file that nobody may open, which holds what would be good constants."""
    path = directory / OUTSIDE
    make_dcs(directory / NAME, {"pixel_gain": {(0.0, float("inf")): {1: array(1)}}}).rename(path)
    return path


def make_hostile(directory: Path, kind: str, outside: Path) -> Path:
    """Write the file of a kind, of `SPOILS` or of `raw_files`, and return its path."""
    path = make_dcs(directory / NAME, {"pixel_gain": {(0.0, float("inf")): {1: array(1)}}})
    if kind in SPOILS:
        libver = ("latest", "latest") if kind in ("virtual dataset", "many attributes", "region reference") else None
        with h5py.File(path, "r+", libver=libver) as file:
            SPOILS[kind](file, outside)
    else:
        path.write_bytes(raw_files(path.read_bytes())[kind])
    os.chmod(path, 0o644)
    return path


KINDS = (*SPOILS, *raw_files(b""))
