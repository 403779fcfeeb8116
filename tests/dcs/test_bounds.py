"""DCS files with more, or other, than constants and notes can be: what is read of them is bounded, and not lost."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s

from jfstore.dcs import model, read
from jfstore.dcs.hdf5 import Dataset
from jfstore.dcs.model import name_range
from jfstore.dcs.read import open_dcs
from tests.makers.dcs import Store, array, make_dcs, scalar
from tests.makers.hostile_dcs import text

ALWAYS = (0.0, math.inf)
RANGE = "pixel_gain/0-end"


@pytest.fixture
def sound(store: Store) -> Store:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1)}}})
    return store


def reserve(group: h5py.Group, shape: tuple[int, ...], size: int) -> None:
    """Make constants that are texts of `size` bytes, to which space is given but nothing is written."""
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    h5d.create(group.id, b"data", text(size), h5s.create_simple(shape), dcpl=creation)


def version(file: h5py.File, number: int = 1) -> h5py.Group:
    group = file.create_group(f"geometry/0-end/v{number:04d}")
    scalar(group, "version", number)
    parent = group.parent
    if "begin" not in parent:
        scalar(parent, "begin", 0.0)
        scalar(parent, "end", "end")
    return group


def measured(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """Return what `work` returns, the seconds and the most memory that it took."""
    start = time.monotonic()
    tracemalloc.start()
    try:
        done = work()
        return done, time.monotonic() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_array_of_texts_is_not_read_and_not_lost(sound: Store) -> None:
    with h5py.File(sound.path, "r+") as file:
        reserve(version(file), (62 << 20,), 16)
    (code, out, err), seconds, memory = measured(lambda: sound.run("print"))
    assert (code, "geometry/0-end/v0001/data, which is not part of a DCS file" in err) == (0, True)
    assert "problem    it has no constants" in out
    assert seconds < 10
    assert memory < 32 << 20
    before = sound.path.stat().st_mtime_ns
    assert sound.add(2)[0] == 5
    assert sound.path.stat().st_mtime_ns == before


def test_a_blank_text_is_looked_at_in_pieces(sound: Store) -> None:
    with h5py.File(sound.path, "r+") as file:
        reserve(version(file), (1,), 60 << 20)
    (code, out, _), _, memory = measured(lambda: sound.run("print"))
    assert (code, "problem    it has no constants" in out) == (0, True)
    assert memory < 8 << 20


def test_texts_are_bounded_together(sound: Store) -> None:
    with h5py.File(sound.path, "r+") as file:
        for number in range(1, 30):
            reserve(version(file, number), (1,), 60 << 20)
    (code, _, err), seconds, _ = measured(lambda: sound.run("print"))
    assert (code, "bytes that all texts together may have" in err, err.count("\n")) == (4, True, 1)
    assert seconds < 10


def test_a_text_that_would_be_too_much_is_refused(store: Store, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "geo.txt").write_text("x" * 600)
    for module in (model, read):
        monkeypatch.setattr(module, "TEXTS", 1000)
    words = ("add", "-t", "geometry", "-T", 5, "-f", tmp_path / "geo.txt")
    assert store.run(*words)[0] == 0
    code, _, err = store.run(*words)
    assert (code, "are more than 1000" in err, err.count("\n")) == (2, True, 1)


def test_a_long_text_is_got_but_not_printed(store: Store, tmp_path: Any) -> None:
    long = "a line\n" * 300_000
    make_dcs(store.path, {"geometry": {ALWAYS: {1: long, 2: "short"}}})
    code, out, _ = store.run("print")
    assert (code, f"data of {len(long)} bytes, more than are printed" in out, "short" in out) == (0, True, True)
    assert len(out) < 10_000
    assert store.run("get", "-t", "geometry", "-T", 5, "-v", 1, "-f", tmp_path / "o.txt")[0] == 0
    assert (tmp_path / "o.txt").read_text() == long


@pytest.mark.parametrize(("kind", "count"), [("unwritten", 9_000), ("unwritten", 11_000), ("numbers", 11_000)])
def test_notes_are_bounded(sound: Store, kind: str, count: int) -> None:
    with h5py.File(sound.path, "r+") as file:
        notes = file.create_group("_parameters").id
        creation = h5p.create(h5p.DATASET_CREATE)
        creation.set_alloc_time(h5d.ALLOC_TIME_EARLY if kind == "numbers" else h5d.ALLOC_TIME_LATE)
        space = h5s.create_simple((1,))
        for number in range(count):
            h5d.create(notes, b"%d" % number, h5py.h5t.IEEE_F64LE, space, dcpl=creation)
    (code, _, err), seconds, _ = measured(lambda: sound.run("print"))
    assert (code, "more than the 10000 notes" in err) == (4 if count > 10_000 else 0, count > 10_000)
    assert seconds < 10


def test_many_notes_that_are_none_do_not_take_long(sound: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"_parameters": {str(number): Dataset("<f8", (1,), None) for number in range(60_000)}}
    monkeypatch.setattr(read, "_NOTES", 100_000)
    monkeypatch.setattr(read, "read_tree", lambda *_: tree)
    start = time.process_time()
    with open_dcs(sound.path) as contents:
        assert len(contents.foreign) == 60_000
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("place", "value", "dtype"),
    [
        ("_parameters/n", 2**64 - 1, "u8"),
        ("_parameters/n", 2**63, "u8"),
        (f"{RANGE}/versdef", 2**64 - 1, "u8"),
        (f"{RANGE}/versdef", 1e300, "f8"),
        (f"{RANGE}/versdef", 1.5, "f8"),
        (f"{RANGE}/v0001/version", 1e300, "f8"),
        (f"{RANGE}/v0001/version", 1.5, "f8"),
    ],
)
def test_a_number_that_cannot_be_kept_is_foreign(sound: Store, place: str, value: float, dtype: str) -> None:
    with h5py.File(sound.path, "r+") as file:
        if place in file:
            del file[place]
        file.create_dataset(place, (1,), dtype, data=value)
    assert sound.run("print")[0] == 0
    got = sound.got(5)
    assert got == 3 if place.endswith("/version") else np.array_equal(got, array(1))
    before = sound.state()
    for words in (("add", "-T", 5, "-f", "2.npy"), ("delversion", "-T", 5), ("delctype",)):
        np.save("2.npy", array(2))
        code, _, err = sound.run(*words, "-t", "pixel_gain")
        assert (code, f"holds {place}, which would be lost" in err, err.count("\n")) == (5, True, 1)
    assert sound.state() == before


@pytest.mark.parametrize(("value", "dtype"), [(2**63 - 1, "u8"), (-(2**63), "i8"), (1e300, "f8")])
def test_any_other_number_is_kept(sound: Store, value: float, dtype: str) -> None:
    with h5py.File(sound.path, "r+") as file:
        file.create_dataset("_parameters/n", (1,), dtype, data=value)
    assert sound.add(2, 0)[0] == 0
    with h5py.File(sound.path) as file:
        assert file["_parameters/n"][0] == value


def test_a_default_that_is_a_whole_float_counts(sound: Store) -> None:
    assert sound.add(2, 0)[0] == 0
    with h5py.File(sound.path, "r+") as file:
        del file[f"{RANGE}/versdef"]
        scalar(file[RANGE], "versdef", 1.0)
    assert np.array_equal(sound.got(5), array(1))


def test_an_empty_note_is_not_lost(sound: Store) -> None:
    with h5py.File(sound.path, "r+") as file:
        file.create_dataset("_parameters/n", (1,), "S3", data=b"\0\0\0")
    assert sound.run("print")[0] == 0
    code, _, err = sound.add(2, 0)
    assert (code, "holds _parameters/n, which would be lost" in err) == (5, True)


@pytest.mark.parametrize("missing", ["begin", "end"])
def test_a_range_that_lacks_an_end_is_never_valid(store: Store, missing: str) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1)}, (100.0, math.inf): {1: array(2)}}})
    key = name_range(100.0)
    with h5py.File(store.path, "r+") as file:
        del file[f"pixel_gain/{key}/{missing}"]
    assert np.array_equal(store.got(150), array(1))
    lines = store.run("print")[1].splitlines()
    assert [line.split() for line in lines if "never valid" in line] == [
        [missing, "None,", "so", "it", "is", "never", "valid"]
    ]
    # By its name it is still there.
    assert store.run("get", "-t", "pixel_gain", "-g", key, "-f", "o.npy")[0] == 0
    assert np.array_equal(np.load("o.npy"), array(2))
    before = store.state()
    code, _, err = store.add(3, 100)
    assert (code, f"its {missing} is missing: delete that range first" in err) == (5, True)
    assert store.state() == before
    # What is written anew has no more of it than before.
    assert store.add(3, 50)[0] == 0
    with h5py.File(store.path) as file:
        assert missing not in file[f"pixel_gain/{key}"]
    assert store.run("delrange", "-t", "pixel_gain", "-g", key)[0] == 0
