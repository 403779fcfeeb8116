"""``get`` of 8 panels of a zarr repository, cold and kept, next to zarr reading the same arrays by known path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from obstore.store import S3Store
from zarr.storage import ObjectStore

import jfstore
from jfstore.repository import Repository, catalogue
from jfstore.repository.mirror import copy_commits
from tests.bench.conftest import copy_to_fresh_memory
from tests.bench.test_get import SHAPE, STAMP, WHEN, touched
from tests.makers import buckets
from tests.makers.many import PANELS, entry, repository_of
from tests.makers.proxy import proxied

URL = f"s3://{buckets.BUCKET}/bench"
DETECTOR = "_".join(PANELS[:8])


def made(url: str) -> Repository:
    repository = jfstore.init(url, "test", panel_shape=SHAPE, storage="zarr")
    repository.add_entries((entry(repository, panel, STAMP, seed) for seed, panel in enumerate(PANELS[:8])), "8 panels")
    return jfstore.open(url)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server with the repository, and where what is got from it is kept."""
    with buckets.served() as port, pytest.MonkeyPatch.context() as patch:
        for name, value in buckets.environment_of(port).items():
            patch.setenv(name, value)
        made(URL)
        yield port, tmp_path_factory.mktemp("kept")


@pytest.fixture
def bucket(server: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[int, Path]:
    for name, value in {**buckets.environment_of(server[0]), "JFSTORE_CACHE": str(server[1])}.items():
        monkeypatch.setenv(name, value)
    return server


def by_zarr(opened: Callable[[str], Any], paths: list[str]) -> np.ndarray:
    """Read the arrays as a program would that knows where they are."""
    out = np.empty((SHAPE[0], len(paths), *SHAPE[1:]), "f4")
    for number, path in enumerate(paths):
        out[:, number] = opened(path)["pixel_gain"][...]
    return out


def test_get_from_a_directory(compare: Callable[..., None], tmp_path: Path) -> None:
    repository = made(str(tmp_path / "R"))
    paths = [version.file.path for version in repository.versions()]
    source = repository.get(DETECTOR, "pixel_gain", WHEN).copy()

    def first_time() -> np.ndarray:
        repository.storage.verified.clear()
        return repository.get(DETECTOR, "pixel_gain", WHEN)

    def with_zarr() -> np.ndarray:
        return by_zarr(lambda path: zarr.open_group(tmp_path / "R" / path, mode="r"), paths)

    assert np.array_equal(with_zarr(), source)
    compare(
        "zarr on a directory, 8 panels",
        {
            "memcpy to fresh memory": lambda: copy_to_fresh_memory(source),
            "mapped": lambda: repository.get(DETECTOR, "pixel_gain", WHEN, verify=False),
            "every page touched": lambda: touched(repository.get(DETECTOR, "pixel_gain", WHEN, verify=False)),
            "verified, first time in a process": first_time,
            "opened anew, verified": lambda: jfstore.open(str(tmp_path / "R")).get(DETECTOR, "pixel_gain", WHEN),
            "zarr by known path": with_zarr,
        },
        {"mapped": "<= 0.1", "every page touched": "<= 0.3", "verified, first time in a process": "<= 1.0"},
    )


def test_get_from_a_bucket_cold(bucket: tuple[int, Path], compare: Callable[..., None]) -> None:
    kept = bucket[1]
    paths = [version.file.path for version in jfstore.open(URL).versions()]
    options: Any = {"allow_http": True}
    endpoint = os.environ["AWS_ENDPOINT_URL"]

    def with_zarr() -> np.ndarray:
        store = ObjectStore(S3Store(buckets.BUCKET, prefix="bench", endpoint=endpoint, client_options=options))
        return by_zarr(lambda path: zarr.open_group(store, path=path, mode="r"), paths)

    def cold() -> np.ndarray:
        shutil.rmtree(kept / "arrays", ignore_errors=True)
        return jfstore.open(URL).get(DETECTOR, "pixel_gain", WHEN)

    assert np.array_equal(with_zarr(), cold())
    compare(
        "zarr in a bucket, 8 panels, cold",
        {"zarr by known path": with_zarr, "opened, verified, kept": cold},
        {"opened, verified, kept": "<= 1.2"},
        rounds=11,
    )


def test_get_from_a_bucket_again(bucket: tuple[int, Path], compare: Callable[..., None]) -> None:
    repository = jfstore.open(URL)
    source = repository.get(DETECTOR, "pixel_gain", WHEN).copy()
    answer = repository.find(DETECTOR, ["pixel_gain"], WHEN)

    def first_time() -> np.ndarray:
        repository.storage.verified.clear()
        return repository.read(answer, "pixel_gain")

    compare(
        "zarr in a bucket, 8 panels, kept",
        {
            "memcpy to fresh memory": lambda: copy_to_fresh_memory(source),
            "mapped, version known": lambda: repository.read(answer, "pixel_gain", verify=False),
            "every page touched, version known": lambda: touched(repository.read(answer, "pixel_gain", verify=False)),
            "verified first time, version known": first_time,
            "mapped (a list of the log included)": lambda: repository.get(DETECTOR, "pixel_gain", WHEN, verify=False),
            "opened anew, verified": lambda: jfstore.open(URL).get(DETECTOR, "pixel_gain", WHEN),
        },
        {
            "mapped, version known": "<= 0.1",
            "every page touched, version known": "<= 0.3",
            "verified first time, version known": "<= 1.0",
        },
    )


@pytest.mark.parametrize("count", [10, 1_000, 10_000])
def test_round_trips(
    bucket: tuple[int, Path], count: int, measured: bool, record: Callable[..., None], tmp_path: Path
) -> None:
    place = f"{URL}-{count}"
    count = count if measured else 10
    source = repository_of(tmp_path / "R", count, (3, 4, 8))
    copy_commits(source, catalogue.mirror_storage(place, source, "zarr"))
    with proxied(bucket[0]) as (counting, proxy), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{counting}")
        patch.setenv("JFSTORE_CACHE_SIZE", "0")
        jfstore.open(place).get(PANELS[0], "pixel_gain", WHEN)
        trips = sum(proxy.count.values())
    record(f"{count:,} versions in a bucket", "requests of a cold get of 1 panel (3 chunks)", trips, None, "7")
    assert trips == 8
