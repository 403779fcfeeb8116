"""Reads of more bytes than the system gives at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jfstore.fs import files
from jfstore.repository.verify import verify
from tests.makers.repositories import STORY, reopened, seeds_of, story


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_a_read_goes_on_until_all_bytes_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(files, "_AT_ONCE", at_once)
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with files.open_checked(path) as fd:
        assert files.read_at(fd, 10, 0) == b"0123456789"
        assert files.read_at(fd, 7, 2) == b"2345678"
        assert files.read_at(fd, 99, 4) == b"456789"
        assert files.read_at(fd, 5, 10) == b""


def test_a_repository_is_read_and_verified_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = story(tmp_path / "R")
    monkeypatch.setattr(files, "_AT_ONCE", 1000)
    assert verify(repository).problems == ()
    assert seeds_of(reopened(repository)) == STORY[4]
    assert os.path.getsize(tmp_path / "R/jungfrau.h5") > 1000
