"""Fixtures that several proofs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.makers import buckets
from tests.makers.buckets import Place

STORAGES = ("hdf5", "zarr", "s3")


@pytest.fixture(params=STORAGES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param != "s3":
        return Place(request.param, str(tmp_path / "R"), {})
    port = request.getfixturevalue("port")
    return Place("zarr", request.getfixturevalue("s3"), buckets.environment_of(port), port)
