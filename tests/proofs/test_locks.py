"""A lock made today is replayed from its repository, a zarr mirror, a bucket and a bundle with equal bytes; each of
the ways to tamper with the lock, or with what it pins, is an error in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.lock import LockedRun, decode_lock
from jfstore.core.sealing import parts, seal
from tests.core.test_lock import seal as seal_lock
from tests.makers.buckets import Place, environment_of
from tests.makers.repositories import LATER, STAMP, A, B, C, constants, entry, story
from tests.makers.telling import Told, tell

PAIR = f"{B}_{C}"
PLACES = ("hdf5", "zarr", "bucket", "bundle")


@dataclass
class Locked:
    """The text of a lock, and the repository, mirror or bundle that it is replayed from."""

    text: str
    place: Place
    capsys: pytest.CaptureFixture[str]

    def replay(self, text: str | None = None) -> Told:
        Path("x.lock").write_text(self.text if text is None else text)
        for path in Path().glob("*.npy"):
            path.unlink()
        for name in ("pixel_gain", "pixel_offset"):
            words = ["get", "--locked", "x.lock", "--repo", self.place.url, "-t", name, "-f", f"{name}.npy"]
            told = tell(self.capsys, *words)
            if told[0]:
                return told
        return told

    def check_fails(self, told: Told, message: str = "") -> None:
        code, out, err = told
        errors = [line for line in err.splitlines() if line.startswith("jfstore: error: ")]
        assert (code in (2, 3, 4, 5, 6), out, len(errors)) == (True, "", 1), told
        assert not message or message in errors[0]
        assert "Traceback" not in err


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository, and the text of a lock of it."""
    root = tmp_path_factory.mktemp("locks")
    repository = story(root / "R")
    text = repository.find(PAIR, None, LATER).lock().text
    jfstore.mirror(repository, root / "M", storage="zarr")
    repository.export_bundle(decode_lock(text, "x"), root / "b.h5")
    # What happens later reaches the repository and some of its copies.
    repository.add_entries([entry(B, seed=7), entry(C, seed=8)], "measured again")
    repository.close(C, LATER, "broken")
    jfstore.mirror(repository, root / "M")
    repository.withdraw(f"{B}/{STAMP}/v1", "wrong bias")
    return root, text


@pytest.fixture(params=PLACES)
def locked(
    request: pytest.FixtureRequest,
    original: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Locked:
    """A place of each kind that holds what the lock pins, to be tampered with."""
    monkeypatch.chdir(tmp_path)
    root, text = original
    if request.param == "bucket":
        url, port = request.getfixturevalue("s3"), request.getfixturevalue("port")
        jfstore.mirror(str(root / "R"), url)
        return Locked(text, Place("zarr", url, environment_of(port), port), capsys)
    name = {"hdf5": "R", "zarr": "M", "bundle": "b.h5"}[request.param]
    copy = shutil.copy if request.param == "bundle" else shutil.copytree
    copy(root / name, tmp_path / name)
    return Locked(text, Place(request.param, str(tmp_path / name), {}), capsys)


def test_it_is_replayed_with_equal_bytes(locked: Locked) -> None:
    code, out, err = locked.replay()
    assert code == 0, err
    assert len(out.splitlines()) == 3
    for name in ("pixel_gain", "pixel_offset"):
        expected = np.stack([constants(2, name), constants(3, name)], axis=1)
        assert np.load(f"{name}.npy").tobytes() == expected.tobytes()
    # The mirror and the bundle were made before.
    told = f"warning: {B}/{STAMP}/v1 was withdrawn by commit 7, " in err and "wrong bias; the lock still pins it" in err
    assert told == (locked.place.storage == "hdf5" or locked.place.port > 0)


# -- a forged lock, whose hash is right


def set_all(**fields: object) -> Callable[[Any], None]:
    def forge(value: Any) -> None:
        for array in value["arrays"]:
            array.update(fields)

    return forge


def set_commits(value: Any, seq: int, digest: str) -> None:
    for array in value["arrays"]:
        array["commit"] = {"seq": seq, "hash": digest}


def rename(value: Any, old: str, new: str) -> None:
    text = json.dumps(value).replace(old, new)
    value.clear()
    value.update(json.loads(text))


def swap_versions(value: Any) -> None:
    one, other = value["arrays"][:2]
    for field in ("version", "blake3"):
        one[field], other[field] = other[field], one[field]
    one["blake3"], other["blake3"] = other["blake3"], one["blake3"]


FORGERIES: dict[str, Callable[[Any], object]] = {
    "repository id": lambda value: value["repository"].update(id="another"),
    "identity": lambda value: value["repository"].update(hash="a" * 64),
    "seq": lambda value: value["commit"].update(seq=3),
    "seq beyond the last": lambda value: value["commit"].update(seq=99),
    "hash of the commit": lambda value: value["commit"].update(hash="a" * 64),
    "hash of the versions' commit": lambda value: set_commits(value, 2, "a" * 64),
    "commit of the versions": lambda value: set_commits(value, 1, "a" * 64),
    "commit 0": lambda value: set_commits(value, 0, "a" * 64),
    "number": lambda value: rename(value, f"{B}/{STAMP}/v1", f"{B}/{STAMP}/v2"),
    "stamp": lambda value: rename(value, f"{B}/{STAMP}", f"{B}/20180307000000"),
    "panel of a version": lambda value: rename(value, f"{B}/{STAMP}", f"{A}/{STAMP}"),
    "a panel that is not stored": lambda value: rename(value, B, "1-2-3"),
    "versions swapped": swap_versions,
    "start": set_all(valid_from="2018-03-06T07:59:59Z"),
    "dtype": set_all(dtype="<u8"),
    "shape": set_all(shape=[3, 8, 4]),
    "shape without gains": set_all(shape=[12, 8]),
    "blake3": set_all(blake3="a" * 64),
    "type": lambda value: rename(value, "pixel_offset", "pedestals"),
    "types swapped": lambda value: [
        array.update(type="pixel_offset" if array["type"] == "pixel_gain" else "pixel_gain")
        for array in value["arrays"]
    ],
    "another array of the version": lambda value: value["arrays"][0].update(blake3=value["arrays"][2]["blake3"]),
    "an array less": lambda value: value["arrays"].pop(),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_lock_fails(name: str, locked: Locked) -> None:
    value = json.loads(locked.text)
    FORGERIES[name](value)
    assert value != json.loads(locked.text)
    locked.check_fails(locked.replay(seal_lock(value)))
    # Whoever does not make the hash again is noticed before anything is looked up.
    locked.check_fails(locked.replay(json.dumps(value)), "x.lock is damaged: its fields do not match its hash")


# -- a repository that was tampered with


@dataclass
class Target:
    """What the lock needs in a place: the payload of a panel, and where an array of it is."""

    place: Place
    files: list[str]
    other: list[str]


def target_of(place: Place) -> Target:
    names = place.names()
    return Target(
        place,
        [name for name in names if name.startswith(f"panels/{B}/") and is_first(place, name)],
        [name for name in names if name.startswith(f"panels/{C}/") and is_first(place, name)],
    )


def is_first(place: Place, name: str) -> bool:
    """Return whether a file belongs to a payload that commit 2 added, and holds arrays."""
    folder = "/".join(name.split("/")[:3])
    return folder.encode() in place.read("log/0000000002.json") and not name.endswith("zarr.json")


def flip(place: Place, name: str, offset: int) -> None:
    data = bytearray(place.read(name))
    data[offset] ^= 1
    place.put(name, bytes(data))


def flip_all(place: Place, names: list[str]) -> None:
    for name in names:
        flip(place, name, -5)


def change_commit(place: Place, seq: int, change: Callable[[Any], None]) -> None:
    """Change what a commit says, and make its hash again."""
    name = f"log/{seq:010d}.json"
    first, _, second = parts(place.read(name), "commit", "files")
    body = json.loads(first)
    change(body)
    place.put(name, seal("commit", body, "files", json.loads(second))[0])


def change_identity(place: Place, change: Callable[[Any], None]) -> None:
    first, _, second = parts(place.read("repository.json"), "repository", "storage")
    body = json.loads(first)
    change(body)
    place.put("repository.json", seal("repository", body, "storage", json.loads(second))[0])


def delete_all(target: Target) -> None:
    for name in target.files:
        target.place.delete(name)


def take_other_payload(target: Target) -> None:
    for name, other in zip(target.files, target.other, strict=True):
        target.place.put(name, target.place.read(other))


def swap_files(target: Target) -> None:
    """Exchange the payloads of both panels in the part of the commit that the hash of the commit does not cover."""
    name = "log/0000000002.json"
    first, _, second = parts(target.place.read(name), "commit", "files")
    files = json.loads(second)
    target.place.put(name, seal("commit", json.loads(first), "files", files[::-1])[0])


def change_hash(body: Any) -> None:
    body["versions"][0]["arrays"]["pixel_gain"]["blake3"] = "a" * 64


TAMPERINGS: dict[str, Callable[[Target], object]] = {
    "array changed": lambda target: flip_all(target.place, target.files),
    "array of the other panel changed": lambda target: flip_all(target.place, target.other),
    "payload removed": delete_all,
    "payload cut": lambda target: target.place.put(target.files[-1], target.place.read(target.files[-1])[:-8]),
    "payload empty": lambda target: target.place.put(target.files[0], b""),
    "payload of the other panel": take_other_payload,
    "payloads swapped in the commit": swap_files,
    "commit of the versions removed": lambda target: target.place.delete("log/0000000002.json"),
    "commit of the versions changed": lambda target: flip(target.place, "log/0000000002.json", 300),
    "commit with another message": lambda target: change_commit(
        target.place, 2, lambda body: body.update(message="another")
    ),
    "commit with another hash of an array": lambda target: change_commit(target.place, 2, change_hash),
    "last commit with another message": lambda target: change_commit(
        target.place, 4, lambda body: body.update(message="x")
    ),
    "last commit removed": lambda target: target.place.delete("log/0000000004.json"),
    "last commit changed": lambda target: flip(target.place, "log/0000000004.json", 300),
    "commits exchanged": lambda target: target.place.put(
        "log/0000000002.json", target.place.read("log/0000000003.json")
    ),
    "repository id": lambda target: change_identity(target.place, lambda body: body.update(id="another")),
    "zone": lambda target: change_identity(target.place, lambda body: body.update(zone="UTC")),
    "identity changed": lambda target: flip(target.place, "repository.json", 60),
    "identity removed": lambda target: target.place.delete("repository.json"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
@pytest.mark.parametrize("locked", ["hdf5", "zarr", "bucket"], indirect=True)
def test_a_repository_that_was_tampered_with_fails(name: str, locked: Locked) -> None:
    target = target_of(locked.place)
    assert target.files
    assert target.other
    TAMPERINGS[name](target)
    locked.check_fails(locked.replay())


def test_a_run_in_a_lock_cannot_be_changed(original: tuple[Path, str]) -> None:
    lock = decode_lock(original[1], "x")
    run = LockedRun("xpp", 1, lock.time, "file", "source", None, 3, (0, 1))
    value = json.loads(replace(lock, run=run).text)
    value["run"]["run"] = 2
    with pytest.raises(jfstore.Damaged, match="do not match its hash"):
        decode_lock(json.dumps(value), "x")
