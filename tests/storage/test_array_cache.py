"""What is kept on a machine of a repository in a bucket: mapped, got once, never believed, never needed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.fs import durable
from jfstore.fs.events import listen
from jfstore.repository import Repository
from jfstore.storage.array_cache import Cache, usual_cache
from tests.makers import buckets
from tests.makers.buckets import Place
from tests.makers.children import CHILDREN, in_place
from tests.makers.proxy import proxied
from tests.makers.repositories import LATER, A, B, C, constants, entry, new_repository, reopened
from tests.makers.spoiling import KINDS

SHAPES = {"mapped": (3, 32, 32), "read": (3, 4, 8)}
DETECTOR = f"{A}_{B}_{C}"
OPENING = 5
"""Requests of an opened repository: repository.json, index, last commit, those after it, the version's commit."""


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    return SHAPES[request.param]


@pytest.fixture
def repository(s3: str, shape: tuple[int, int, int]) -> Repository:
    made = new_repository(s3, shape=shape, storage="zarr")
    made.add_entries([entry(panel, seed=seed, shape=shape) for seed, panel in enumerate((A, B, C))], "a detector")
    return reopened(made)


def wanted(shape: tuple[int, int, int]) -> bytes:
    return np.stack([constants(seed, shape=shape) for seed in range(3)], axis=1).tobytes()


def files_of(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "kept" / "arrays").rglob("*") if path.is_file())


def requests_of(port: int, ask: Callable[[], Any]) -> int:
    with proxied(port) as (counting, proxy), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{counting}")
        ask()
        return sum(proxy.count.values())


def test_second_get_reads_no_chunk(
    repository: Repository, port: int, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    url = repository.storage.location
    for expected in (OPENING + 9, OPENING, OPENING):
        assert requests_of(port, lambda: jfstore.open(url).get(DETECTOR, "pixel_gain", LATER)) == expected
    array = repository.get(DETECTOR, "pixel_gain", LATER)
    assert array.tobytes() == wanted(shape)
    assert [path.stat().st_size for path in files_of(tmp_path)] == [4 * np.prod(shape)] * 3
    assert {path.stat().st_mode & 0o777 for path in files_of(tmp_path)} == {0o444}
    maps = Path("/proc/self/maps").read_text()
    assert maps.count(str(tmp_path / "kept")) == (9 if shape == SHAPES["mapped"] else 0)
    del array


def get(url: str, start: Any, answers: Any) -> None:
    repository = jfstore.open(url)
    start.wait()
    answers.put(repository.get(DETECTOR, "pixel_gain", LATER).tobytes())


def test_many_that_start_at_once_get_each_array_once(
    repository: Repository, port: int, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    count = 6
    with proxied(port) as (counting, proxy):
        environment = {**buckets.environment_of(counting), "JFSTORE_CACHE": str(tmp_path / "kept")}
        start, answers = CHILDREN.Barrier(count), CHILDREN.Queue()
        arguments = (environment, get, repository.storage.location, start, answers)
        children = [CHILDREN.Process(target=in_place, args=arguments) for _ in range(count)]
        for child in children:
            child.start()
        assert {answers.get(timeout=60) for _ in children} == {wanted(shape)}
        for child in children:
            child.join(60)
        assert sum(proxy.count.values()) == count * OPENING + 9


def zero(path: Path) -> None:
    """Replace the bytes of a file by zeros."""
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))


def test_copy_that_was_spoilt_is_got_again(repository: Repository, shape: tuple[int, int, int], tmp_path: Path) -> None:
    repository.get(DETECTOR, "pixel_gain", LATER)
    ways = [*KINDS[:5], zero, KINDS[8]]
    for way in ways:
        path = files_of(tmp_path)[1]
        before = path.read_bytes()
        way(path)
        assert reopened(repository).get(DETECTOR, "pixel_gain", LATER).tobytes() == wanted(shape), way
        assert path.read_bytes() == before, way
    assert len(files_of(tmp_path)) == 3


def test_object_that_is_damaged_is_neither_served_nor_kept(repository: Repository, port: int, tmp_path: Path) -> None:
    place = Place("zarr", repository.storage.location, buckets.environment_of(port), port)
    version = repository.versions()[1]
    name = f"{version.file.path}/pixel_gain/c.1.0.0"
    data = place.read(name)
    place.put(name, bytes([data[0] ^ 1]) + data[1:])
    for _ in range(2):
        with pytest.raises(jfstore.Damaged, match=version.file.path):
            repository.get(DETECTOR, "pixel_gain", LATER)
    repository.get(DETECTOR, "pixel_gain", LATER, verify=False)
    assert version.array("pixel_gain").blake3 not in {path.name for path in files_of(tmp_path)}
    place.delete(name)
    with pytest.raises(jfstore.Damaged, match=r"c\.1\.0\.0 is missing"):
        repository.get(DETECTOR, "pixel_gain", LATER)
    place.put(name, data)
    repository.get(DETECTOR, "pixel_gain", LATER)


def test_cache_that_cannot_be_used_is_reported(
    repository: Repository, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JFSTORE_CACHE", str(tmp_path / "file" / "kept"))
    again = reopened(repository)
    said: list[str] = []
    with listen(said.append):
        assert again.get(DETECTOR, "pixel_gain", LATER).tobytes() == wanted(shape)
    assert again.get(DETECTOR, "pixel_gain", LATER).tobytes() == wanted(shape)
    assert ["afar" in text for text in said] == [True]


def test_limit_is_kept(repository: Repository, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: Any) -> None:
    size = 4 * int(np.prod(shape))
    monkeypatch.setenv("JFSTORE_CACHE_SIZE", str(2 * size))
    again = reopened(repository)
    for panel, seed in ((A, 0), (B, 1), (A, 0), (C, 2)):
        assert again.get(panel, "pixel_gain", LATER).tobytes() == constants(seed, shape=shape).tobytes()
        for path in files_of(tmp_path):  # what was read now is the youngest
            os.utime(path, (time.time() - 100, time.time() - 100))
    assert len(files_of(tmp_path)) == 2
    # What is needed at once is kept at once, whatever the limit.
    assert again.get(DETECTOR, "pixel_gain", LATER).tobytes() == wanted(shape)
    monkeypatch.setenv("JFSTORE_CACHE_SIZE", "0")
    for path in files_of(tmp_path):
        path.unlink()
    assert reopened(repository).get(DETECTOR, "pixel_gain", LATER).tobytes() == wanted(shape)
    assert files_of(tmp_path) == []


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", 30)
    for number, key in enumerate(("aa", "bb", "cc", "dd")):
        cache.keep(key * 32, [b"0123456789"])
        os.utime(tmp_path / "kept" / "arrays" / key / (key * 32), (1000 + number, 1000 + number))
    left = tmp_path / "kept" / "arrays" / "ee" / ".tmp-1-x"
    left.parent.mkdir()
    left.write_bytes(b"left behind")
    os.utime(left, (1, 1))
    cache.shrink(["bb" * 32])
    assert [kept.path.name[:2] for kept in cache.list_files()] == ["bb", "cc", "dd"]
    assert cache.clear() == 30
    assert cache.list_files() == []


def test_command_shows_and_clears(
    repository: Repository, shape: tuple[int, int, int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    repository.get(DETECTOR, "pixel_gain", LATER)
    size = 12 * int(np.prod(shape))
    for words, arrays in (([], 3), (["--clear"], 0), ([], 0)):
        assert main(["cache", "--json", *words]) == 0
        said = json.loads(capfd.readouterr().out)
        assert said == {
            "path": str(tmp_path / "kept"),
            "arrays": arrays,
            "bytes": size * (arrays > 0),
            "limit": 20 << 30,
        }


@pytest.mark.parametrize(("text", "limit"), [("1000", 1000), ("2K", 2048), ("20G", 20 << 30), ("", 20 << 30)])
def test_sizes(text: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JFSTORE_CACHE_SIZE", text)
    cache = usual_cache()
    assert cache is not None
    assert cache.limit == limit


@pytest.mark.parametrize("text", ["x", "-1", "1.5G", "9" * 20, "1g", "\uff11"])
def test_what_is_no_size(text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JFSTORE_CACHE_SIZE", text)
    assert main(["cache"]) == 1
    assert "JFSTORE_CACHE_SIZE" in capfd.readouterr().err


def test_a_temporary_file_of_another_process_is_not_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", limit=1)
    cache.keep("aa" * 32, [b"x" * 100])
    (stored,) = (tmp_path / "kept/arrays").glob("*/*")
    fresh, old = (stored.parent / f"{durable.TEMPORARY}{name}" for name in ("of-another", "of-last-week"))
    fresh.write_bytes(b"y" * 100)
    old.write_bytes(b"z")
    os.utime(old, (0, 0))
    cache.shrink()
    assert list((tmp_path / "kept/arrays").glob("*/*")) == [fresh]
