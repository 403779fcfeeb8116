"""A bundle: one HDF5 file with an answer, its lock and its commits; equal for equal answers, and checked when read."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.core.hashing import digest
from jfstore.core.sealing import parts, seal
from jfstore.formats.bundle import make_bundle
from jfstore.repository import Answer, Repository
from jfstore.repository.bundle import Bundle
from tests.conftest import ROOT
from tests.makers.repositories import LATER, STAMP, A, B, C, constants, entry, new_repository, story

PAIR = f"{B}_{C}"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return story(tmp_path / "R")


@pytest.fixture
def answer(repository: Repository) -> Answer:
    return repository.find(PAIR, None, LATER)


@pytest.fixture
def bundle(repository: Repository, answer: Answer, tmp_path: Path) -> Path:
    exported = repository.export_bundle(answer, tmp_path / "b.h5")
    assert (exported.lock, exported.notes) == (answer.lock(), ())
    return Path(exported.path)


def test_it_is_replayed_alone(repository: Repository, answer: Answer, bundle: Path) -> None:
    lock = answer.lock()
    os.rename(repository.location, f"{repository.location}-away")
    for replayed in (
        jfstore.replay(bundle),
        jfstore.replay(lock, bundle),
        pickle.loads(pickle.dumps(Bundle(bundle).replay())),
    ):
        assert replayed == answer
        assert replayed.lock() == lock
        for name in ("pixel_gain", "pixel_offset"):
            array = replayed[name]
            expected = np.stack([constants(2, name), constants(3, name)], axis=1)
            assert (array.dtype, array.shape, array.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
            assert array.flags.c_contiguous
            assert not array.flags.writeable
    assert repr(Bundle(bundle)).startswith(f"<jfstore bundle {bundle}: pixel_gain, pixel_offset of the test repository")


def test_its_lock_is_replayed_from_a_repository(repository: Repository, answer: Answer, bundle: Path) -> None:
    repository.add_entries([entry(B, seed=8)], "later")
    replayed = jfstore.replay(bundle, repository)
    assert replayed == answer
    assert replayed.repository is repository


def test_h5py_shows_arrays_commits_and_lock(repository: Repository, answer: Answer, bundle: Path) -> None:
    with h5py.File(bundle) as file:
        entry = file[file.attrs["default"]]
        picture = entry[entry.attrs["default"]]
        signal = picture[picture.attrs["signal"]]
        assert (signal.shape, signal.dtype, signal.attrs["units"]) == ((3, 2, 4, 8), "<f4", b"ADU/keV")
        assert len(picture.attrs["axes"]) == signal.ndim
        for name in answer:
            assert entry[name]["data"][()].tobytes() == answer[name].tobytes()
        assert file["lock.json"][()].decode() == answer.lock().text
        assert [name.decode() for name in entry["panel_id"]] == [B, C]
        root = Path(repository.location)
        for name in ("repository.json", "log/0000000002.json", "log/0000000004.json"):
            assert file[name][()] == (root / name).read_bytes()
        assert list(file["log"]) == ["0000000002.json", "0000000004.json"]


def test_equal_answers_make_equal_files(repository: Repository, bundle: Path, tmp_path: Path) -> None:
    program = "import sys, jfstore; r = jfstore.open(sys.argv[1]); r.export_bundle(r.find(*sys.argv[2:4]), sys.argv[4])"
    program = program.replace("*sys.argv[2:4]", "sys.argv[2], None, sys.argv[3]")
    words = [sys.executable, "-c", program, repository.location, PAIR, LATER, str(tmp_path / "again.h5")]
    subprocess.run(words, cwd=ROOT, check=True)
    assert (tmp_path / "again.h5").read_bytes() == bundle.read_bytes()


def test_the_full_size(tmp_path: Path) -> None:
    shape = (3, 512, 1024)
    repository = new_repository(tmp_path / "R", shape=shape)
    repository.add_entries([entry(A, seed=1, shape=shape), entry(B, seed=2, shape=shape)], "full size")
    answer = repository.find(f"{B}_{A}", "pixel_gain", LATER)
    repository.export_bundle(answer, tmp_path / "b.h5")
    assert jfstore.replay(tmp_path / "b.h5")["pixel_gain"].tobytes() == answer["pixel_gain"].tobytes()
    assert (tmp_path / "b.h5").stat().st_size < answer["pixel_gain"].nbytes + 100_000


def test_a_withdrawal_that_was_known_is_told(repository: Repository, answer: Answer, tmp_path: Path) -> None:
    lock = answer.lock()
    repository.withdraw(f"{C}/{STAMP}/v1", "wrong bias")
    exported = repository.export_bundle(lock, tmp_path / "b.h5")
    assert len(exported.notes) == 1
    replayed = jfstore.replay(lock, tmp_path / "b.h5")
    assert replayed.notes == exported.notes
    assert f"{C}/{STAMP}/v1 was withdrawn by commit 5, " in replayed.notes[0]
    assert replayed["pixel_gain"].tobytes() == answer["pixel_gain"].tobytes()


def test_one_type_of_it(answer: Answer, bundle: Path) -> None:
    replayed = jfstore.replay(bundle, types="pixel_offset")
    assert (replayed.types, replayed["pixel_offset"].tobytes()) == (("pixel_offset",), answer["pixel_offset"].tobytes())
    assert jfstore.replay(replayed.lock(), bundle) == replayed
    with pytest.raises(jfstore.BadValue, match="the lock has no 'pedestals'"):
        jfstore.replay(bundle, types=["pedestals"])


def test_the_lock_of_another_answer(repository: Repository, bundle: Path, tmp_path: Path) -> None:
    for other in (repository.find(B, None, LATER), repository.find(PAIR, None, LATER, as_of=3)):
        with pytest.raises(jfstore.Refused, match=r"b\.h5 is the bundle of another lock"):
            jfstore.replay(other.lock(), bundle)
    with pytest.raises(jfstore.Refused, match="name that one, or a mirror"):
        jfstore.replay(story(tmp_path / "other").find(PAIR, None, LATER).lock(), bundle)


def test_an_existing_file_is_kept(repository: Repository, answer: Answer, bundle: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(jfstore.Refused, match="exists; --force replaces it"):
        repository.export_bundle(answer, bundle)
    repository.export_bundle(repository.find(A, None, LATER), bundle, replace=True)
    assert bundle.read_bytes() != before
    assert jfstore.replay(bundle).detector == A


def test_files_that_are_no_bundles(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(jfstore.BadValue, match="no such file"):
        Bundle(tmp_path / "none.h5")
    (tmp_path / "x.h5").write_bytes(b"text")
    with pytest.raises(jfstore.Damaged, match="is not an HDF5 file"):
        Bundle(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w", libver=("earliest", "v108")) as file:
        file["data"] = 1
    with pytest.raises(jfstore.BadValue, match="is not a bundle of jfstore"):
        jfstore.replay(tmp_path / "y.h5")
    with h5py.File(tmp_path / "z.h5", "w", libver="latest"):
        pass
    with pytest.raises(jfstore.Damaged, match="does not have the layout of a bundle"):
        jfstore.replay(tmp_path / "z.h5")


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file.create_dataset(name, data=value)


def reseal(file: h5py.File) -> None:
    """Give commit 2 another message, and the hash that fits."""
    raw = file["log/0000000002.json"][()]
    first, _, second = parts(raw, "commit", "files")
    body = json.loads(first) | {"message": "another"}
    replace(file, "log/0000000002.json", np.bytes_(seal("commit", body, "files", json.loads(second))[0]))


def link_array(link: Any) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        file["entry/pixel_gain/other"] = file["entry/pixel_gain/data"][()]
        del file["entry/pixel_gain/data"]
        file["entry/pixel_gain/data"] = link

    return spoil


def make_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 2, 4, 8), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2, 4, 8))
    del file["entry/pixel_gain/data"]
    file["entry/pixel_gain"].create_virtual_dataset("data", layout)


def make_dataset(**options: Any) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        data = file["entry/pixel_gain/data"][()]
        del file["entry/pixel_gain/data"]
        file["entry/pixel_gain"].create_dataset("data", **({"data": data} | options))

    return spoil


def add_one(file: h5py.File) -> None:
    file["entry/pixel_offset/data"][0, 0, 0, 0] += 1


def swap_panels(file: h5py.File) -> None:
    file["entry/pixel_gain/data"][...] = file["entry/pixel_gain/data"][()][:, ::-1]


def change_byte(name: str, old: bytes, new: bytes) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        raw = file[name][()]
        assert old in raw
        replace(file, name, np.bytes_(raw.replace(old, new, 1)))

    return spoil


def remove(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


TAMPERINGS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "array value": (add_one, "its pixel_offset of .* does not match its hash"),
    "panels swapped": (swap_panels, "its pixel_gain of .* does not match its hash"),
    "soft link": (link_array(h5py.SoftLink("/entry/pixel_gain/other")), "soft or external link"),
    "external link": (link_array(h5py.ExternalLink("other.h5", "/x")), "soft or external link"),
    "virtual": (make_virtual, "not stored contiguously and without filters"),
    "compressed": (make_dataset(compression="gzip"), "not stored contiguously and without filters"),
    "chunked": (make_dataset(chunks=(1, 1, 4, 8)), "not stored contiguously and without filters"),
    "external bytes": (
        make_dataset(data=None, shape=(3, 2, 4, 8), dtype="<f4", external=[("other", 0, 768)]),
        "in another file",
    ),
    "shape": (make_dataset(data=np.ones((3, 2, 8, 4), "<f4")), "is not an array <f4 of shape"),
    "dtype": (make_dataset(data=np.ones((3, 2, 4, 8), ">f4")), "is not an array <f4 of shape"),
    "huge": (make_dataset(data=None, shape=(3, 2, 1 << 20, 1 << 20), dtype="<f4"), "more than the"),
    "array missing": (remove("entry/pixel_gain/data"), "is not an array <f4 of shape"),
    "type missing": (remove("entry/pixel_gain"), "does not hold the calibration types of the lock"),
    "entry missing": (remove("entry"), "entry is missing"),
    "more in it": (lambda file: file.create_group("more"), "more is missing, or is not part of a bundle"),
    "lock missing": (remove("lock.json"), "lock.json is missing"),
    "lock changed": (change_byte("lock.json", b"/v1", b"/v2"), "lock.json is damaged: its fields do not match"),
    "lock not a text": (lambda file: replace(file, "lock.json", 5), "lock.json is not a text"),
    "identity missing": (remove("repository.json"), "repository.json is missing"),
    "identity changed": (change_byte("repository.json", b'"test"', b'"real"'), "repository.json is damaged"),
    "commit missing": (remove("log/0000000002.json"), "log/0000000002.json is missing"),
    "last commit missing": (remove("log/0000000004.json"), "log/0000000004.json is missing"),
    "commit changed": (
        change_byte("log/0000000002.json", b"a detector", b"another"),
        "does not match its hash|damaged",
    ),
    "commit sealed again": (reseal, "commit 2 is not the one of the lock"),
    "commit moved": (
        lambda file: file.move("log/0000000002.json", "log/0000000003.json"),
        "0000000003.json is commit 2",
    ),
    "log is a dataset": (lambda file: replace(file, "log", 5), "log is not a group"),
    "newer": (lambda file: replace(file, "jfstore_bundle", np.int64(2)), "was made by a newer jfstore"),
    "older": (lambda file: replace(file, "jfstore_bundle", np.int64(0)), "its format is 0"),
    "format is a text": (lambda file: replace(file, "jfstore_bundle", np.bytes_("1")), "is not a bundle of jfstore"),
}


def read_all(bundle: Path) -> dict[str, bytes]:
    replayed = jfstore.replay(bundle)
    return {name: replayed[name].tobytes() for name in replayed}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_noticed(name: str, bundle: Path) -> None:
    spoil, message = TAMPERINGS[name]
    with h5py.File(bundle, "r+", libver=("earliest", "v110" if name == "virtual" else "v108")) as file:
        spoil(file)
    with pytest.raises(jfstore.JfstoreError, match=message) as caught:
        read_all(bundle)
    assert caught.value.exit_code != 0
    assert "\n" not in caught.value.message
    assert str(bundle) in caught.value.message


def test_a_consistent_forgery_fails_against_the_own_lock(answer: Answer, bundle: Path, tmp_path: Path) -> None:
    """Somebody changes constants, their commit and the lock, so that all hashes are right."""
    lock = answer.lock()
    opened = Bundle(bundle)
    false = {name: answer[name].copy() + np.float32(1) for name in answer}
    with h5py.File(bundle) as file:
        names = ("repository.json", "log/0000000002.json", "log/0000000004.json")
        texts = {name: bytes(file[name][()]) for name in names}
    first, _, second = parts(texts["log/0000000002.json"], "commit", "files")
    body = json.loads(first)
    for number, version in enumerate(body["versions"]):
        for name, described in version["arrays"].items():
            described["blake3"] = digest(np.ascontiguousarray(false[name][:, number]).reshape(-1).view("u1"))
    texts["log/0000000002.json"], sealed = seal("commit", body, "files", json.loads(second))
    arrays = tuple(
        dataclasses.replace(
            locked,
            commit=sealed,
            array=dataclasses.replace(
                locked.array, blake3=body["versions"][number % 2]["arrays"][locked.array.type]["blake3"]
            ),
        )
        for number, locked in enumerate(lock.arrays)
    )
    forged = dataclasses.replace(lock, arrays=arrays)
    pieces = make_bundle(false, {"lock.json": forged.text.encode(), **texts}, opened.lock.panels)
    (tmp_path / "f.h5").write_bytes(b"".join(map(bytes, pieces)))
    assert jfstore.replay(tmp_path / "f.h5")["pixel_gain"].tobytes() == false["pixel_gain"].tobytes()
    with pytest.raises(jfstore.Refused, match="is the bundle of another lock"):
        jfstore.replay(lock, tmp_path / "f.h5")
    with pytest.raises(jfstore.Damaged, match="commit 2 is not the one of the lock"):
        jfstore.replay(tmp_path / "f.h5", answer.repository.location)  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize("part", [0, 7, 100, 2000, -1])
def test_a_truncated_file(bundle: Path, part: int) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[:part] if part >= 0 else data[:-1])
    with pytest.raises(jfstore.JfstoreError):
        Bundle(bundle).replay()["pixel_offset"]


def test_random_damage_is_noticed_or_does_no_harm(bundle: Path, answer: Answer) -> None:
    data = bundle.read_bytes()
    expected = {name: answer[name].tobytes() for name in answer}
    random = np.random.default_rng(5)
    noticed = 0
    for _ in range(400):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 4)):
            damaged[place] ^= 1 << int(random.integers(8))
        bundle.write_bytes(damaged)
        try:
            replayed = Bundle(bundle).replay()
            found = {name: replayed[name].tobytes() for name in replayed}
        except jfstore.JfstoreError:
            noticed += 1
        else:
            assert found == expected
            assert replayed == answer
    assert noticed > 200
