"""The reader of docs/, which knows no jfstore, answers as jfstore does."""

from __future__ import annotations

import ast
import random
import runpy
from pathlib import Path

import pytest

import jfstore
from jfstore.core.instants import parse_time
from jfstore.repository import Repository
from tests.conftest import ROOT
from tests.makers.operations import EXAMPLES, close, state
from tests.makers.repositories import A, B, C, D, entry, new_repository, story

READER = ROOT / "docs/plain_reader.py"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with commits of every operation."""
    repository = story(tmp_path_factory.mktemp("reader") / "R")
    for seed, (panel, stamp) in enumerate([(A, "20170101000000"), (B, "20190101000000"), (D, "20160101000000")], 10):
        repository.add_entries([entry(panel, stamp, seed=seed)], f"seed {seed}")
    close(repository, C, "20180501000000", "pixel_gain")
    close(repository, C, "20190501000000", "pixel_gain", "pixel_offset")
    repository.add_entries([entry(C, "20190501000000", seed=20, types=["pixel_offset"])], "offset only")
    for op, statement in EXAMPLES.items():
        if op not in ("restore", "not_same_panel"):
            state(repository, op, statement)
    return repository


def test_it_needs_no_jfstore_and_is_short() -> None:
    text = READER.read_text()
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported == {"json", "sys", "pathlib", "h5py", "blake3"}
    assert len([line for line in text.splitlines() if line.strip()]) <= 80


def test_it_answers_as_jfstore_does(repository: Repository) -> None:
    reader = runpy.run_path(str(READER))
    root, chance, answered = Path(repository.location), random.Random(5), 0
    for _ in range(150):
        panel, name = chance.choice([A, B, C, D]), chance.choice(["pixel_gain", "pixel_offset"])
        stamp = f"20{chance.randint(15, 21)}{chance.randint(1, 12):02}01000000"
        found = reader["select"](root, panel, name, parse_time(stamp, repository.zone))
        try:
            expected = repository.get(panel, name, stamp)
        except jfstore.NotFound:
            assert found is None, (panel, name, stamp)
            continue
        assert reader["read_array"](root, *found, name).tobytes() == expected.tobytes(), (panel, name, stamp)
        answered += 1
    assert 30 < answered < 150


def test_it_finds_damage(repository: Repository, tmp_path: Path) -> None:
    reader = runpy.run_path(str(READER))
    other = new_repository(tmp_path / "R")
    other.add_entries([entry(A, seed=1)], "one")
    (version,) = other.versions()
    path = tmp_path / "R" / version.file.path
    data = bytearray(path.read_bytes())
    data[version.file.offsets["pixel_gain"]] ^= 1
    path.unlink()
    path.write_bytes(data)
    found = reader["select"](tmp_path / "R", A, "pixel_gain", version.start)
    with pytest.raises(ValueError, match="is damaged"):
        reader["read_array"](tmp_path / "R", *found, "pixel_gain")
    log = tmp_path / "R/log/0000000001.json"
    text = log.read_bytes()
    log.unlink()
    log.write_bytes(text.replace(b'"one"', b'"two"'))
    with pytest.raises(ValueError, match="is damaged"):
        reader["select"](tmp_path / "R", A, "pixel_gain", version.start)
