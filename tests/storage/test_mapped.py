"""Arrays that are not copied: the bits of the files, read-only or copied on write, unmapped at last, safe to fork."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.hashing import hasher
from jfstore.repository import assemble
from jfstore.repository.repository import Repository
from jfstore.storage.mapped import PAGE, Slab, map_slabs
from tests.makers.children import CHILDREN
from tests.makers.repositories import LATER, STAMP, A, B, C, constants, entry, new_repository, reopened

PAGES = (3, 32, 32)
"""A panel whose slabs are one page each, so that it is mapped."""
LARGE = (3, 64, 64)
"""A panel large enough for hashing by several threads."""
TINY = (3, 4, 8)
"""A panel whose slabs are no whole pages, so that it is read."""
SEEDS = {A: 1, B: 2, C: 3}


def filled(path: Path, shape: tuple[int, int, int]) -> Repository:
    repository = new_repository(path, shape=shape)
    repository.add_entries([entry(panel, seed=seed, shape=shape) for panel, seed in SEEDS.items()], "three panels")
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return filled(tmp_path / "R", PAGES)


def expected(*panels: str, shape: tuple[int, int, int] = PAGES, calib_type: str = "pixel_gain") -> np.ndarray:
    return np.stack([constants(SEEDS[panel], calib_type, shape) for panel in panels], axis=1)


def payload_of(repository: Repository, panel: str) -> Path:
    return Path(repository.storage.location, repository.version(f"{panel}/{STAMP}/v1").file.path)


def mapped(place: Path | str) -> int:
    """Return how many times a file, or one below a directory, is mapped into this process."""
    return sum(str(place) in line for line in Path("/proc/self/maps").read_text().splitlines())


# -- what is returned


@pytest.mark.parametrize("shape", [PAGES, LARGE, TINY])
@pytest.mark.parametrize("panels", [(A,), (B,), (A, B), (C, A, B), (B, A, C)])
@pytest.mark.parametrize("calib_type", ["pixel_gain", "pixel_offset"])
@pytest.mark.parametrize("writable", [False, True])
def test_bits_order_and_flags(
    tmp_path: Path, shape: tuple[int, int, int], panels: tuple[str, ...], calib_type: str, writable: bool
) -> None:
    repository = filled(tmp_path / "R", shape)
    array = repository.get("_".join(panels), calib_type, LATER, writable=writable)
    assert array.shape == (3, len(panels), *shape[1:])
    assert array.dtype == np.dtype("<f4")
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert array.flags.writeable == writable
    assert array.tobytes() == expected(*panels, shape=shape, calib_type=calib_type).tobytes()


def test_whole_pages_are_mapped_and_others_are_read(tmp_path: Path) -> None:
    for shape, count in ((PAGES, 9), (LARGE, 9), (TINY, 0)):
        repository = filled(tmp_path / str(shape), shape)
        array = repository.get(f"{A}_{B}_{C}", "pixel_gain", LATER)
        # Slabs that follow each other in memory and in the file may be shown as one.
        assert (mapped(repository.storage.location) > 0) == (count > 0)
        assert mapped(repository.storage.location) <= count
        assert array.ctypes.data % PAGE == 0 or count == 0


def test_mapped_and_read_are_equal(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = repository.get(f"{A}_{C}", "pixel_gain", LATER)
    monkeypatch.setattr("jfstore.repository.assemble.PAGE", PAGE * 2)
    read = repository.get(f"{A}_{C}", "pixel_gain", LATER)
    assert mapped(repository.storage.location)
    assert read.tobytes() == straight.tobytes()
    assert (read.shape, read.dtype, read.strides, read.flags.writeable) == (
        straight.shape,
        straight.dtype,
        straight.strides,
        straight.flags.writeable,
    )


# -- nobody changes what is stored


@pytest.mark.parametrize("shape", [PAGES, LARGE])
def test_read_only_stays_read_only(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    array = filled(tmp_path / "R", shape).get(f"{A}_{B}", "pixel_gain", LATER)
    views: list[np.ndarray] = [array, array[0], array[:, 1], array.T, array.view("u1"), array.reshape(-1)]
    for view in views:
        # Said first, as writing to such a page kills the process.
        assert not view.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
    assert array.tobytes() == expected(A, B, shape=shape).tobytes()


@pytest.mark.parametrize("shape", [PAGES, LARGE, TINY])
def test_writable_is_a_private_copy(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    repository = filled(tmp_path / "R", shape)
    files = [payload_of(repository, panel) for panel in (A, B)]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    mine = repository.get(f"{A}_{B}", "pixel_gain", LATER, writable=True)
    yours = repository.get(f"{A}_{B}", "pixel_gain", LATER)
    other = repository.get(f"{A}_{B}", "pixel_gain", LATER, writable=True)
    mine[:, 0] = 7
    mine[2, 1, -1, -1] = -1
    other[0] = 8
    right = expected(A, B, shape=shape)
    assert yours.tobytes() == right.tobytes()
    assert mine[0, 1].tobytes() == right[0, 1].tobytes()
    assert (mine[:, 0] == 7).all()
    assert mine[2, 1, -1, -1] == -1
    assert (other[0] == 8).all()
    assert other[1:].tobytes() == right[1:].tobytes()
    del mine, other
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before
    assert reopened(repository).get(f"{A}_{B}", "pixel_gain", LATER).tobytes() == right.tobytes()


# -- how long it lives


@pytest.mark.parametrize("writable", [False, True])
def test_region_is_unmapped_with_its_last_view(repository: Repository, writable: bool) -> None:
    path = repository.storage.location
    assert mapped(path) == 0
    array = repository.get(f"{A}_{B}", "pixel_gain", LATER, writable=writable)
    assert mapped(path)
    view = array[1:, :, ::2]
    del array
    gc.collect()
    assert mapped(path)
    assert view.tobytes() == expected(A, B)[1:, :, ::2].tobytes()
    again = view.reshape(-1)[3:]
    del view, again
    gc.collect()
    assert mapped(path) == 0


def test_descriptors_and_regions_do_not_pile_up(repository: Repository) -> None:
    repository.get(A, "pixel_gain", LATER)
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), mapped(repository.storage.location)
    for _ in range(200):
        repository.get(f"{A}_{B}_{C}", "pixel_gain", LATER)
    assert (len(os.listdir("/proc/self/fd")), mapped(repository.storage.location)) == before


def test_array_outlives_its_file_and_repository(repository: Repository) -> None:
    array = repository.get(A, "pixel_gain", LATER)
    path = payload_of(repository, A)
    path.rename(path.with_name("moved"))
    path.with_name("moved").unlink()
    del repository
    assert array.tobytes() == expected(A).tobytes()


def test_failed_mapping_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 32)
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="descriptor"):
            map_slabs([Slab(fd, 0, PAGE), Slab(-1, 0, PAGE)], writable=False)
        with pytest.raises(OSError, match="Invalid"):
            map_slabs([Slab(fd, 0, PAGE), Slab(fd, 1, PAGE)], writable=False)
        assert mapped(path) == 0
        both = map_slabs([Slab(fd, PAGE, PAGE), Slab(fd, 0, PAGE)], writable=False)
    finally:
        os.close(fd)
    assert both.tobytes() == path.read_bytes()[PAGE : 2 * PAGE] + path.read_bytes()[:PAGE]


# -- forks and files that shrink


def finishes(work: Callable[[], bool]) -> str:
    """Return how `work` ended in a forked child: done, wrong, hangs, or the signal that killed it."""
    pid = os.fork()
    if not pid:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {0: "done", 1: "wrong", 2: "an error"}.get(code) or signal.Signals(-code).name
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"


def test_child_sees_the_parents_arrays(repository: Repository) -> None:
    right = expected(A, B)
    shared = repository.get(f"{A}_{B}", "pixel_gain", LATER)
    mine = repository.get(f"{A}_{B}", "pixel_gain", LATER, writable=True)

    def work() -> bool:
        same = shared.tobytes() == right.tobytes() == mine.tobytes()
        mine[...] = 5
        return same and shared.tobytes() == right.tobytes()

    assert finishes(work) == "done"
    assert mine.tobytes() == right.tobytes()
    assert shared.tobytes() == right.tobytes()


@pytest.mark.parametrize("shape", [TINY, PAGES, LARGE])
@pytest.mark.parametrize("panels", [(A,), (A, B, C)])
def test_child_may_get_after_its_parent_did(
    tmp_path: Path, shape: tuple[int, int, int], panels: tuple[str, ...]
) -> None:
    """A pool of forked workers, each of which asks for itself, is how analysis jobs run."""
    repository = filled(tmp_path / "R", shape)
    right = expected(*panels, shape=shape).tobytes()
    assert repository.get("_".join(panels), "pixel_gain", LATER).tobytes() == right
    assert finishes(lambda: repository.get("_".join(panels), "pixel_gain", LATER).tobytes() == right) == "done"
    assert (
        finishes(lambda: bool(reopened(repository).add_entries([entry(A, seed=9, shape=shape)], "from a child").seq))
        == "done"
    )


def get_from_a_cut_file(root: str, size: int, verify: bool, channel: Any) -> None:
    repository = jfstore.open(root)
    before = repository.get(A, "pixel_gain", LATER).tobytes()
    path = payload_of(repository, A)
    path.chmod(0o644)
    os.truncate(path, size)
    try:
        array = repository.get(A, "pixel_gain", LATER, verify=verify)
        channel.send(array.tobytes() == before)
    except jfstore.Damaged as error:
        channel.send(str(error))
    others = repository.get(f"{B}_{C}", "pixel_gain", LATER, verify=verify)
    channel.send(others.tobytes() == expected(B, C).tobytes())


def recorded(work: Callable[[int], Any], calls: list[int]) -> Callable[[int], Any]:
    """Return `work` that writes down what it is called with."""

    def call(size: int) -> Any:
        calls.append(size)
        return work(size)

    return call


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("size", [0, 1, PAGE, 2 * PAGE, 3 * PAGE + 1])
def test_file_cut_after_opening_does_not_kill_the_process(repository: Repository, size: int, verify: bool) -> None:
    ours, theirs = CHILDREN.Pipe()
    child = CHILDREN.Process(target=get_from_a_cut_file, args=(repository.storage.location, size, verify, theirs))
    child.start()
    theirs.close()
    child.join(60)
    child.kill()
    assert child.exitcode == 0
    assert payload_of(repository, A).name in ours.recv()
    assert ours.recv() is True


def test_what_was_verified_is_not_read_again_until_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = filled(tmp_path / "R", PAGES)
    hashed: list[int] = []
    monkeypatch.setattr(assemble, "hasher", recorded(hasher, hashed))
    # As if the file were old: one that has just changed could change again within a tick of the clock.
    monkeypatch.setattr(assemble, "_SETTLED", -(10**18))
    expected = repository.get(A, "pixel_gain", "now").copy()
    assert np.array_equal(repository.get(A, "pixel_gain", "now"), expected)
    assert len(hashed) == 1
    repository.get(A, "pixel_offset", "now")
    assert len(hashed) == 2
    version = next(version for version in repository.versions() if version.panel == A)
    path = Path(repository.storage.location) / version.file.path
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(version.file.offsets["pixel_gain"] + 5)
        file.write(b"X")
    with pytest.raises(jfstore.Damaged, match="pixel_gain does not match"):
        repository.get(A, "pixel_gain", "now")


def test_what_was_verified_in_a_file_that_has_just_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock of a file system ticks every few milliseconds: a second change within a tick would not show.
    assert assemble._SETTLED >= 100_000_000
    repository = filled(tmp_path / "R", PAGES)
    hashed: list[int] = []
    monkeypatch.setattr(assemble, "hasher", recorded(hasher, hashed))
    monkeypatch.setattr(assemble, "_SETTLED", 10**12)  # so that a slow machine does not matter
    repository.get(A, "pixel_gain", "now")
    repository.get(A, "pixel_gain", "now")
    assert len(hashed) == 2
