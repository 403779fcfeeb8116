"""The faults of the original ``dcs``, by their numbers in the facts about it: ours has none of them."""

from __future__ import annotations

import math
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jfstore.dcs import hdf5
from jfstore.dcs.read import open_dcs
from jfstore.fs.files import read_into
from tests.makers.dcs import PY3, SMALL, Store, array, make_dcs, make_version, original_answer, scalar, structure

T = 1_500_000_000
ALWAYS = (0.0, math.inf)


def equal(one: Any, other: np.ndarray) -> bool:
    return isinstance(one, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)


def test_1_every_added_version_counts_for_ours_and_for_the_original(store: Store) -> None:
    for seed in (1, 2, 3):
        assert store.add(seed)[0] == 0
        assert equal(store.got(T), array(seed))
        assert equal(original_answer(store.path, "pixel_gain", float(T)), array(seed))
        assert equal(original_answer(store.path, "pixel_gain", float(T), 1), array(1))
    with h5py.File(store.path) as file:
        assert [int(file[f"pixel_gain/{T}-end/v000{n}/version"][0]) for n in (1, 2, 3)] == [1, 2, 3]


def test_1_what_python_3_lost_is_not_overwritten(store: Store) -> None:
    shutil.copy(PY3, store.path)
    kept = structure(store.path)
    shape = (3, 1, 16, 32)
    np.save("new.npy", array(9, shape))
    code, _, err = store.run("add", "-t", "pixel_gain", "-T", T, "-f", "new.npy")
    assert (code, "v0003" in err) == (0, True)
    assert equal(store.got(T), array(9, shape))
    assert equal(original_answer(store.path, "pixel_gain", float(T)), array(9, shape))
    assert kept.items() <= structure(store.path).items()


def test_1_the_original_can_go_on_with_what_we_wrote(store: Store) -> None:
    store.add(1)
    store.add(2)
    with h5py.File(store.path, "r+") as file:
        make_version(file[f"pixel_gain/{T}-end"], 3, array(3), 1.7e9)
        scalar(file[f"pixel_gain/{T}-end/_history"], "1700000000.000000", "add version 3: by the original")
    assert equal(store.got(T), array(3))
    assert store.add(4)[0] == 0
    assert equal(original_answer(store.path, "pixel_gain", float(T)), array(4))
    assert equal(original_answer(store.path, "pixel_gain", float(T), 3), array(3))


def test_2_a_text_leaves_the_arrays_readable(store: Store) -> None:
    make_dcs(store.path, {"geometry": {ALWAYS: {1: "where it is"}}, "pixel_gain": {ALWAYS: {1: array(1)}}})
    assert equal(store.got(5), array(1))
    assert store.run("get", "-t", "geometry", "-T", 5, "-f", "geo.txt")[0] == 0
    assert Path("geo.txt").read_text() == "where it is"


def test_3_a_number_that_is_there_is_refused(store: Store) -> None:
    store.add(1)
    before = store.state()
    code, _, err = store.add(2, T, "-v", 1)
    assert (code, "v0001 exists already; 2 is free" in err) == (5, True)
    assert store.state() == before


def test_4_what_is_noted_once_can_be_noted_anew(store: Store) -> None:
    start = time.time()
    store.add(1, T, "-p", "jungfrau-old", "-s", "jungfrau-new")
    store.add(2, T, "-p", "jungfrau-older")
    with open_dcs(store.path) as contents:
        assert (contents.predecessor, contents.successor) == ("jungfrau-older", "jungfrau-new")
        assert contents.created is not None
        assert start <= contents.created <= time.time()


def test_4_a_deleted_default_leaves_the_last(store: Store) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1), 2: array(2), 3: array(3)}}}, default=2)
    assert equal(store.got(5), array(2))
    assert store.run("delversion", "-t", "pixel_gain", "-T", 5, "-v", 2)[0] == 0
    assert equal(store.got(5), array(3))
    assert equal(original_answer(store.path, "pixel_gain", 5.0), array(3))


def test_5_begins_between_two_seconds_are_not_lost(store: Store) -> None:
    assert store.add(1, "100.7")[0] == 0
    before = store.state()
    code, _, err = store.add(2, "100.2")
    assert (code, "100-end starts at 100.7" in err) == (5, True)
    assert store.state() == before
    assert store.got("100.3") == 3
    assert store.add(3, "100.7")[0] == 0
    assert equal(store.got("100.7"), array(3))


def test_6_an_integer_begin_counts(store: Store) -> None:
    make_dcs(store.path, {"pixel_gain": {(100, math.inf): {1: array(1)}}})
    with h5py.File(store.path) as file:
        assert file["pixel_gain/100-end/begin"].dtype.kind == "i"
    assert equal(store.got(150), array(1))
    assert store.add(2, 100)[0] == 0
    assert equal(store.got(150), array(2))
    assert equal(original_answer(store.path, "pixel_gain", 150.0), array(2))


def test_7_a_file_that_is_written_anew_keeps_everything(store: Store) -> None:
    shutil.copy(SMALL, store.path)
    before = structure(store.path)
    np.save("new.npy", array(9, (3, 1, 16, 32)))
    assert store.run("add", "-t", "pixel_gain", "-T", T, "-f", "new.npy", "-m", "why")[0] == 0
    after = structure(store.path)
    assert before.items() <= after.items()
    new = {name.rpartition("/")[0] if "/_history/" in name else name for name in after.keys() - before.keys()}
    place = f"pixel_gain/{T}-end"
    assert new == {f"{place}/_history", *(f"{place}/v0004{part}" for part in ("", "/data", "/tsprod", "/version"))}
    with h5py.File(store.path) as file:
        # The layout of old: superblock 0, nothing in chunks.
        assert store.path.read_bytes()[8:12] == b"\0\0\0\0"
        assert file[f"{place}/v0004/data"].chunks is None


def test_8_one_array_costs_one_array(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.ones((3, 1, 512, 512), "f8")
    make_dcs(
        store.path,
        {"common_mode": {ALWAYS: {1: array(1, (8,))}}, "pixel_gain": {ALWAYS: dict.fromkeys((1, 2, 3), big)}},
    )
    monkeypatch.setattr(hdf5, "_METADATA", 100_000)
    sizes: list[int] = []

    def count(fd: int, buffer: memoryview, offset: int, where: str) -> None:
        sizes.append(len(buffer))
        read_into(fd, buffer, offset, where)

    monkeypatch.setattr(hdf5, "read_into", count)
    assert equal(store.got(5, type_name="common_mode"), array(1, (8,)))
    assert sum(sizes) < 1000


def write_unusable(kind: str) -> tuple[str, str]:
    """Write constants that cannot be stored; return calibration type and file."""
    arrays = {
        "text array": np.array(["a", "b"]),
        "0-d": np.array(1.0),
        "empty": np.empty(0, "f4"),
        "NaN": array(1) * np.nan,
        "infinite": array(1) + np.inf,
        "int64": array(1).astype("i8"),
        "complex": array(1).astype("c8"),
        "bool": array(1) > 5,
        "a zero": array(1) * 0,
        "wrong rows": array(1, (3, 1, 5, 4)),
        "flat": array(1, (48,)),
        "two panels": array(1, (3, 2, 4, 4)),
        "float16": array(1).astype("f2"),
    }
    if kind in arrays:
        np.save("bad.npy", arrays[kind])
        return "pixel_gain", "bad.npy"
    if kind == "object":
        np.save("bad.npy", np.array([{}]), allow_pickle=True)
        return "pixel_gain", "bad.npy"
    np.save("good.npy", array(1))
    texts = {
        "truncated": Path("good.npy").read_bytes()[:-8],
        "nothing": b"",
        "empty text": b"\n",
        "NUL": b"a\0b",
        "a word": b"1 2 x\n",
        "ragged": b"1 2 3\n1 2\n",
    }
    name = "bad.npy" if kind in ("truncated", "nothing") else "bad.txt"
    Path(name).write_bytes(texts[kind])
    return "geometry" if kind in ("empty text", "NUL") else "pixel_gain", name


KINDS = "text array|object|truncated|nothing|a word|ragged|empty text|NUL|0-d|empty|NaN|infinite|int64|complex|bool"
KINDS += "|a zero|wrong rows|flat|two panels|float16"


@pytest.mark.parametrize("kind", KINDS.split("|"))
def test_9_and_14_what_cannot_be_added_leaves_the_file_as_it_was(store: Store, kind: str) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1)}}})
    before = store.state()
    type_name, file = write_unusable(kind)
    code, out, err = store.run("add", "-t", type_name, "-T", T, "-f", file)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert store.state() == before
    assert set(os.listdir()) <= {".dcs-lock", "good.npy", str(store.path), file}


def test_9_texts_of_any_characters_are_kept(store: Store) -> None:
    Path("geo.txt").write_text("géométrie µ\nzwei\n")
    assert store.run("add", "-t", "geometry", "-T", T, "-f", "geo.txt", "-m", "récalibré µ\nagain")[0] == 0
    assert store.run("get", "-t", "geometry", "-T", T, "-f", "o.txt")[0] == 0
    assert Path("o.txt").read_text() == "géométrie µ\nzwei\n"
    assert "add version 1: récalibré µ\\nagain" in store.run("print")[1]
    raw = original_answer(store.path, "geometry", float(T))
    assert raw.tobytes().decode() == "géométrie µ\nzwei\n"


@pytest.mark.parametrize("left", ["no data", "zeros"])
def test_9_what_a_failed_add_of_the_original_left_does_no_harm(store: Store, left: str) -> None:
    make_dcs(store.path, {"geometry": {ALWAYS: {1: "text"}}, "pixel_gain": {ALWAYS: {1: array(1)}}})
    with h5py.File(store.path, "r+") as file:
        make_version(file["geometry/0-end"], 2, None, 1.6e9)
        if left == "zeros":
            file["geometry/0-end/v0002"].create_dataset("data", shape=(1,), dtype="S20", data=b"\0" * 20)
    assert store.run("print")[0] == 0
    code, _, err = store.run("get", "-t", "geometry", "-T", 5, "-f", "o.txt")
    assert (code, Path("o.txt").read_text()) == (0, "text")
    assert "v0002 is skipped: it has no constants" in err
    assert store.run("get", "-t", "geometry", "-T", 5, "-v", 2, "-f", "o2.txt")[0] == 4
    assert not Path("o2.txt").exists()
    assert store.add(2, 0)[0] == 0
    assert equal(store.got(5), array(2))


def test_11_the_detector_keeps_its_name(store: Store) -> None:
    store.add(1)
    store.add(2)
    lines = store.run("print")[1].splitlines()
    name = store.path.stem
    assert {"     dettype     jungfrau", f"     detid       {name[9:]}", f"     detname     {name}"} <= set(lines)


def test_12_an_unknown_group_leaves_the_rest_readable_and_is_not_lost(store: Store) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1)}}})
    with h5py.File(store.path, "r+") as file:
        scalar(file.create_group("notes"), "text", "mine")
    assert equal(store.got(5), array(1))
    code, _, err = store.run("print")
    assert (code, "holds notes, which is not part of a DCS file" in err) == (0, True)
    before = store.state()
    code, _, err = store.add(2)
    assert (code, "holds notes, which would be lost" in err) == (5, True)
    assert store.state() == before


def test_13_what_is_deleted_cannot_be_deleted_again(store: Store) -> None:
    store.add(1)
    store.add(2)
    words = ("delversion", "-t", "pixel_gain", "-T", T, "-v", 1)
    assert store.run(*words)[0] == 0
    before = store.state()
    code, _, err = store.run(*words)
    assert (code, "has no version 1; existing: 2" in err) == (3, True)
    assert store.state() == before
    assert store.run("delrange", "-t", "pixel_gain", "-g", f"{T}-end")[0] == 0
    assert store.run("delrange", "-t", "pixel_gain", "-g", f"{T}-end")[0] == 3
    assert store.run("delctype", "-t", "pixel_gain")[0] == 0
    assert store.run("delctype", "-t", "pixel_gain")[0] == 3


def test_14_bytes_are_stored_in_one_order(store: Store) -> None:
    np.save("big.npy", np.asfortranarray(array(1).astype(">f8")))
    assert store.run("add", "-t", "pixel_gain", "-T", T, "-f", "big.npy")[0] == 0
    assert equal(store.got(T), array(1).astype("<f8"))


def test_15_the_run_is_noted_also_with_a_time(store: Store) -> None:
    store.add(1, T, "-e", "xcsls3716", "-r", "631", "-d", "XcsEndstation.0:Jungfrau.0")
    with open_dcs(store.path) as contents:
        held = contents.types[0]
    assert held.ranges[0].notes.parameters == {
        "experiment": "xcsls3716",
        "run": "631",
        "source": "XcsEndstation.0:Jungfrau.0",
    }
    assert list(held.notes.history.values()) == [f"add range {T}-end: exp=xcsls3716:run=631"]


def test_16_type_and_time_are_required(store: Store) -> None:
    store.add(1)
    before = store.state()
    for words in (("-T", T, "-f", "1.npy"), ("-t", "pixel_gain", "-f", "1.npy"), ("-t", "pixel_gain", "-T", T)):
        code, _, err = store.run("add", *words)
        assert (code, " missing: " in err) == (2, True)
    assert store.state() == before


def test_16_numbers_modes_and_silence_mean_what_they_say(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = store.add(1, T, "-v", "010", "--filemode", "640")
    assert (code, f"added pixel_gain/{T}-end/v0010" in err) == (0, True)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o640
    assert store.add(2, T, "-i")[2] == ""
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        store.got(T)
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("got.npy").stat().st_mode) == 0o640


@pytest.mark.parametrize("word", ["purge", "delete", "del", "undelversion", "delversions", "", "getter", "frobnicate"])
def test_17_only_commands_and_their_beginnings_are_understood(store: Store, word: str) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1)}}})
    before = store.state()
    code, out, err = store.run(word, "-t", "pixel_gain", "-T", T)
    assert (code, out, "is not a command; nearest: " in err) == (2, "", True)
    assert store.state() == before


@pytest.mark.parametrize("word", ["p", "pr", "print", "g", "get", "a", "add", "delv", "delr", "delrange", "delc"])
def test_17_beginnings_of_commands_are_understood(store: Store, word: str) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1)}}})
    code, _, err = store.run(word, "-t", "pixel_mask", "-T", T, "-f", "x.npy", "-g", "1-end")
    assert (code, "is not a command" in err) != (2, True)
