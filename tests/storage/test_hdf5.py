"""The HDF5 storage: the suite of every storage, and what plain HDF5 tools, modes and a damaged index show."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.fs import durable
from jfstore.repository.repository import Repository
from jfstore.repository.verify import verify
from jfstore.storage.hdf5 import Hdf5Storage
from tests.conftest import ROOT
from tests.makers.repositories import (
    LATER,
    SHAPE,
    STAMP,
    STORY,
    A,
    B,
    commit_path,
    constants,
    entry,
    flip,
    index_path,
    new_repository,
    put,
    reopened,
    seeds_of,
    story,
)
from tests.storage.suite import Reopen, StorageSuite


class TestHdf5Storage(StorageSuite):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        return lambda: Hdf5Storage(tmp_path / "repository")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return story(tmp_path / "R")


# -- what other tools see


def test_plain_h5py_sees_every_version_in_one_file(repository: Repository) -> None:
    with h5py.File(index_path(repository)) as file:
        assert file[f"{A}/{STAMP}/v0001/pixel_gain"].shape == SHAPE
        seen = {f"{p}/{s}/{v}" for p in file for s in file[p] for v in file[p][s]}
        assert seen == {f"{v.panel}/{v.stamp}/v{v.number:04d}" for v in repository.versions()}
        for version in repository.versions():
            group = file[f"{version.panel}/{version.stamp}/v{version.number:04d}"]
            assert set(group) == set(version.content)
            for name in group:
                assert group[name][()].tobytes() == repository.panel_array(version, name).tobytes()


def test_index_still_works_where_the_repository_is_moved(repository: Repository, tmp_path: Path) -> None:
    shutil.move(repository.storage.location, tmp_path / "elsewhere")
    with h5py.File(tmp_path / "elsewhere" / "jungfrau.h5") as file:
        assert np.array_equal(file[f"{A}/{STAMP}/v0002/pixel_gain"], constants(4))


def test_an_index_that_another_writer_saves_meanwhile_gives_no_later_links(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = reopened(repository)
    table = repository.log.table()
    read = Hdf5Storage._read_image

    def read_later(storage: Hdf5Storage) -> tuple[bytes, int] | None:
        if storage is repository.storage and not other.versions()[len(table) :]:
            other.add_entries([entry(B, LATER, seed=7)], "meanwhile")
        return read(storage)

    monkeypatch.setattr(Hdf5Storage, "_read_image", read_later)
    repository.storage.save_index(repository.identity, table, None)
    monkeypatch.undo()
    assert len(other.versions()) == len(table) + 1
    assert verify(reopened(repository)).problems == ()


def test_an_index_that_is_replaced_while_it_is_verified_is_looked_at_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Hdf5Storage._read_image
    seeds = iter(range(5, 8))

    def read_later(storage: Hdf5Storage) -> tuple[bytes, int] | None:
        if (seed := next(seeds, None)) is not None and storage is repository.storage:
            reopened(repository).add_entries([entry(B, LATER, seed=seed)], "meanwhile")
        return read(storage)

    monkeypatch.setattr(Hdf5Storage, "_read_image", read_later)
    assert verify(repository).problems == ()


@pytest.mark.skipif(not shutil.which("h5dump"), reason="h5dump (hdf5-tools) is not installed")
def test_h5dump_shows_every_array(repository: Repository) -> None:
    command = ["h5dump", "-H", str(index_path(repository))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files = {version.file.path for version in repository.versions()}
    # A payload that two versions share is written out once and then called a hard link.
    assert shown.count('DATASET "pixel_gain"') == shown.count('DATASET "pixel_offset"') == len(files)
    assert shown.count("EXTERNAL_LINK") == len(repository.versions())
    assert shown.count('HARDLINK "/"') == len(repository.versions()) - len(files)
    assert shown.count("( 3, 4, 8 ) /") == 2 * len(files)


@pytest.mark.parametrize("shape", [(3, 512, 1024), SHAPE, (3, 5, 7), (3, 1, 1), (1, 1, 1)])
def test_payload_is_contiguous_aligned_and_described(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    repository = new_repository(tmp_path / "R", shape=shape)
    (version,) = repository.add_entries([entry(A, seed=1, shape=shape)], "one").versions
    path = tmp_path / "R" / version.file.path
    raw = path.read_bytes()
    assert len(raw) == version.file.size
    with h5py.File(path) as file:
        assert set(file) == {"pixel_gain", "pixel_offset"}
        for name, dataset in file.items():
            assert (dataset.chunks, dataset.compression, dataset.is_virtual, dataset.external) == (None,) * 2 + (
                False,
                None,
            )
            assert (dataset.dtype.str, dataset.shape) == ("<f4", shape)
            offset = dataset.id.get_offset()
            assert offset % 4096 == 0
            assert offset == version.file.offsets[name]
            assert raw[offset : offset + dataset.nbytes] == constants(1, name, shape).tobytes()
            assert dataset.attrs["units"] == {"pixel_gain": b"ADU/keV", "pixel_offset": b"ADU"}[name]
            assert dataset.attrs["long_name"].lower().startswith(name[6:].encode())


STORE = """
import sys, pathlib
from jfstore.storage.hdf5 import Hdf5Storage
from tests.makers.repositories import constants
storage = Hdf5Storage(pathlib.Path(sys.argv[1]))
storage.prepare()
arrays = {name: constants(1, name) for name in sys.argv[3:]}
print(storage.store(sys.argv[2], "20180306000000", arrays).path)
"""


def run(script: str, *arguments: object, **environment: str) -> str:
    root = str(ROOT)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_payload_bytes_are_the_same_in_every_process(tmp_path: Path) -> None:
    one = tmp_path / "R" / run(STORE, tmp_path / "R", A, "pixel_gain", "pixel_offset", PYTHONHASHSEED="1", TZ="UTC")
    time.sleep(1.1)  # HDF5 keeps times in whole seconds, if it keeps any
    two = (
        tmp_path
        / "S"
        / run(STORE, tmp_path / "S", B, "pixel_offset", "pixel_gain", PYTHONHASHSEED="2", TZ="Asia/Tokyo")
    )
    assert one.read_bytes() == two.read_bytes()
    assert one.name == two.name


def test_same_content_is_one_file(repository: Repository, tmp_path: Path) -> None:
    files = {version.name: version.file.path for version in repository.versions()}
    assert len(files) == 5
    assert len(set(files.values())) == 4 == len(list((tmp_path / "R" / "panels").rglob("*.h5")))


def test_damaged_file_in_the_way_of_the_same_content(tmp_path: Path) -> None:
    storage = Hdf5Storage(tmp_path / "R")
    storage.prepare()
    file = storage.store(A, STAMP, {"pixel_gain": constants(1)})
    flip(tmp_path / "R" / file.path, 8 * file.offsets["pixel_gain"])
    with pytest.raises(jfstore.Damaged):
        storage.store(A, STAMP, {"pixel_gain": constants(1)})


def test_a_payload_that_cannot_be_read_now_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    storage = new_repository(tmp_path / "R").storage
    arrays = {"pixel_gain": constants(1, "pixel_gain")}
    stored = storage.store(A, STAMP, arrays)
    with monkeypatch.context() as patch:
        patch.setattr("os.pread", fail)
        with pytest.raises(OSError, match="Input/output error"):
            storage.store(A, STAMP, arrays)
    assert storage.store(A, STAMP, arrays) == stored


def test_file_that_is_there_already_is_synced_with_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Hdf5Storage(tmp_path / "R")
    storage.prepare()
    storage.store(A, STAMP, {"pixel_gain": constants(1)})
    synced = []

    class Recording(durable.System):
        def sync_directory(self, path: Path) -> None:
            synced.append(str(path.relative_to(tmp_path)))

    monkeypatch.setattr(durable, "system", Recording())
    storage.store(A, STAMP, {"pixel_gain": constants(1)})
    assert {f"R/panels/{A}", "R/panels", "R"} <= set(synced)


def test_payload_is_there_before_the_commit_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = new_repository(tmp_path / "R")
    linked = []

    class Recording(durable.System):
        def link(self, source: Path, target: Path) -> None:
            linked.append(target.parent.name)
            super().link(source, target)

    monkeypatch.setattr(durable, "system", Recording())
    repository.add_entries([entry(A), entry(B, seed=1)], "two")
    assert linked == [A, B, "log"]


def test_name_of_a_payload_is_its_hash(repository: Repository) -> None:
    for version in repository.versions():
        assert re.fullmatch(rf"panels/[^/]+/{STAMP}-{version.file.blake3[:12]}\.h5", version.file.path)


# -- rights

MODES = """
import os, sys, pathlib
os.umask(int(sys.argv[2], 8))
from tests.makers.repositories import new_repository, entry, A
root = pathlib.Path(sys.argv[1])
new_repository(root).add_entries([entry(A)], "one")
assert os.umask(0) == int(sys.argv[2], 8), "the umask was changed"
"""


@pytest.mark.parametrize("umask", ["000", "022", "077"])
@pytest.mark.parametrize("there", [True, False], ids=["directory there", "directory not there"])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: str, there: bool) -> None:
    root = tmp_path / "R"
    if there:
        root.mkdir(mode=0o750)
        root.chmod(0o2750)
    run(MODES, root, umask)
    modes = {str(p.relative_to(root)): stat.S_IMODE(p.stat().st_mode) for p in [root, *root.rglob("*")]}
    assert modes.pop(".") == (0o2750 if there else 0o2775)
    assert modes.pop(".lock") == 0o664
    for name, mode in modes.items():
        assert mode == (0o3775 if (root / name).is_dir() else 0o444), name
    assert {"log", "panels", f"panels/{A}", "jungfrau.h5", "repository.json", "log/0000000001.json"} < modes.keys()


def test_group_is_inherited(tmp_path: Path) -> None:
    others = [group for group in os.getgroups() if group != os.getegid()]
    group = 54321 if os.geteuid() == 0 else next(iter(others), None)
    if group is None:
        pytest.skip("this user is in one group only")
    root = tmp_path / "R"
    root.mkdir()
    os.chown(root, -1, group)
    root.chmod(0o2775)
    new_repository(root).add_entries([entry(A)], "one")
    assert {path.stat().st_gid for path in root.rglob("*")} == {group}


# -- the index, as in docs/design.md, "A repository on disk"


def footer_of(raw: bytes) -> dict[str, int]:
    tail = re.search(rb"[0-9a-f]{64} ([0-9]{10}) jfstore-index-2\n$", raw)
    assert tail
    footer: dict[str, int] = json.loads(raw[tail.start() - int(tail[1]) : tail.start()])
    return footer


def test_no_index_the_log_is_read(repository: Repository) -> None:
    index_path(repository).unlink()
    assert seeds_of(reopened(repository)) == STORY[4]


@pytest.mark.parametrize("part", ["image", "table", "footer", "tail"])
def test_index_with_a_wrong_hash_the_log_is_read(repository: Repository, part: str) -> None:
    raw = index_path(repository).read_bytes()
    start = footer_of(raw)["image"]
    places = {"image": start // 2, "table": start + 9, "footer": len(raw) - 200, "tail": len(raw) - 9}
    place = places[part]
    flip(index_path(repository), 8 * place)
    again = reopened(repository)
    assert (again.storage.load_index() is None) == (part != "image")
    assert seeds_of(again) == STORY[4]
    assert any("jungfrau.h5" in problem.message for problem in verify(again).problems)


@pytest.mark.parametrize("size", [0, 1, 90, 100, 1000, -1000, -1])
def test_index_cut_short_the_log_is_read(repository: Repository, size: int) -> None:
    put(index_path(repository), index_path(repository).read_bytes()[:size])
    assert seeds_of(reopened(repository)) == STORY[4]
    assert verify(reopened(repository)).problems


def test_next_add_mends_a_wrong_index(repository: Repository) -> None:
    for spoil in (lambda path: flip(path, 9000), lambda path: put(path, b"x" * 500), Path.unlink):
        spoil(index_path(repository))
        again = reopened(repository)
        again.add_entries([entry(B, LATER, seed=again.log.table().seq)], "next")
        assert verify(again).problems == ()


def test_index_of_another_repository_is_refused(repository: Repository, tmp_path: Path) -> None:
    other = story(tmp_path / "other")
    put(index_path(repository), index_path(other).read_bytes())
    with pytest.raises(jfstore.Damaged, match="another repository"):
        reopened(repository).get(A, "pixel_gain", LATER)
    with pytest.raises(jfstore.Damaged, match="another repository"):
        reopened(repository).add_entries([entry(B, LATER)], "next")


@pytest.mark.parametrize("as_of", [None, 4, 3])
def test_index_ahead_of_the_log_is_refused(repository: Repository, as_of: int | None) -> None:
    for seq in (3, 4):
        commit_path(repository, seq).unlink()
    with pytest.raises(jfstore.Busy):
        reopened(repository).get(A, "pixel_gain", LATER, as_of=as_of)
    with pytest.raises(jfstore.Busy):
        reopened(repository).add_entries([entry(B, LATER)], "next")


def test_index_of_a_forked_log_is_refused(repository: Repository, tmp_path: Path) -> None:
    root = Path(repository.storage.location)
    shutil.copytree(root, tmp_path / "fork")
    fork = jfstore.open(str(tmp_path / "fork"))
    fork.add_entries([entry(A, seed=7)], "in the fork")
    repository.add_entries([entry(A, seed=8)], "in the original")
    put(index_path(repository), index_path(fork).read_bytes())
    with pytest.raises(jfstore.Damaged, match="contradicts"):
        reopened(repository).get(A, "pixel_gain", LATER)


def test_older_index_put_back_does_no_harm(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R")
    olds = [index_path(repository).read_bytes()]
    for seed in range(1, 4):
        repository.add_entries([entry(A, seed=seed)], "more")
        olds.append(index_path(repository).read_bytes())
    for old in olds:
        put(index_path(repository), old)
        assert seeds_of(reopened(repository)) == {A: 3}
        assert verify(reopened(repository)).problems == ()
