"""Compare versions, answers and repositories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.demo_data import constants
from jfstore.core.guard import DEMO_FILE
from tests.makers.repositories import LATER, STAMP, A, B, C, new_repository
from tests.makers.repositories import constants as small

FULL = (3, 512, 1024)
DETECTOR = f"{A}_{B}"


def panel(seed: int, word: str = "gain") -> np.ndarray:
    return constants(seed, word)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> jfstore.Repository:
    """A detector of two full panels, and what was done to it later."""
    place = tmp_path_factory.mktemp("diff")
    (place / DEMO_FILE).touch()
    repository = new_repository(place / "R", shape=FULL)
    gain = np.stack([panel(1), panel(2)], axis=1)
    offset = np.stack([panel(1, "offset"), panel(2, "offset")], axis=1)
    repository.add(DETECTOR, STAMP, {"pixel_gain": gain, "pixel_offset": offset}, "first")
    repository.add(
        DETECTOR, LATER, {"pixel_gain": gain[:, ::-1], "pixel_offset": offset}, "exchanged", accept="other-panel"
    )
    changed = gain[:, 0].copy()
    changed[2] *= np.float32(1.02)
    changed[0, :256, 256:512] += np.float32(0.25)
    repository.add(A, STAMP, {"pixel_gain": changed, "pixel_offset": offset[:, 0]}, "changed")
    return repository


def test_two_versions(full: jfstore.Repository) -> None:
    found = full.diff(f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2")
    assert (found.first, found.second) == (f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2")
    assert (found.only_first, found.only_second, found.equal) == ((), (), 1)
    (pair,) = found.pairs
    first, second, third = pair.ranges
    assert (first.different, second.different) == (256 * 256, 0)
    assert third.relative_median == pytest.approx(0.02, rel=1e-4)
    assert first.worst is not None
    assert (first.worst.row, first.worst.column) == (0, 1)
    assert first.worst.mean == pytest.approx(0.25, rel=1e-4)
    assert str(pair.relation) == "multiplied by 1.02 in gain range 2, 65536 of 1572864 values differ"
    assert pair.original == pair.first
    assert not pair.is_exchanged
    assert found.is_different
    assert not full.diff(f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v1").is_different


def test_two_answers_with_exchanged_panels(full: jfstore.Repository) -> None:
    answers = [full.find(DETECTOR, time=time, as_of=2) for time in ("20180401000000", "20190401000000")]
    found = full.diff(*answers)
    assert found.first == f"{DETECTOR} at 20180401000000 as of commit 2"
    assert found.equal == 2
    assert [(pair.first, pair.second, pair.original) for pair in found.pairs] == [
        (f"{A}/{STAMP}/v1", f"{A}/{LATER}/v1", f"{B}/{STAMP}/v1"),
        (f"{B}/{STAMP}/v1", f"{B}/{LATER}/v1", f"{A}/{STAMP}/v1"),
    ]
    assert all(pair.is_exchanged and str(pair.relation) == "equal" for pair in found.pairs)


def test_exchanged_and_rounded_panels(full: jfstore.Repository, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=FULL)
    rounded = np.round(np.stack([panel(2), panel(1)], axis=1).astype("f8"), 3)
    repository.add(DETECTOR, STAMP, {"pixel_gain": rounded}, "exchanged", accept="demo")
    found = full.diff(full.find(DETECTOR, "pixel_gain", LATER, as_of=1), repository.find(DETECTOR, "pixel_gain", LATER))
    assert [(pair.original, str(pair.relation)) for pair in found.pairs] == [
        (f"{B}/{STAMP}/v1", "rounded to %.3f"),
        (f"{A}/{STAMP}/v1", "rounded to %.3f"),
    ]
    found = jfstore.diff(full, repository, as_of=(1, None), types="pixel_gain")
    names = {A: f"{B}/{STAMP}/v1", B: f"{A}/{STAMP}/v1"}
    assert {pair.second: pair.original for pair in found.pairs} == {f"{p}/{STAMP}/v1": names[p] for p in names}


def test_answers_of_different_detectors(full: jfstore.Repository) -> None:
    found = full.diff(*(full.find(detector, time=LATER) for detector in (A, B)))
    assert [only.version for only in found.only_first] == [f"{A}/{LATER}/v1"]
    assert [(only.version, only.types) for only in found.only_second] == [
        (f"{B}/{LATER}/v1", ("pixel_gain", "pixel_offset"))
    ]
    assert (found.pairs, found.equal) == ((), 0)


def test_two_repositories(tmp_path: Path) -> None:
    test, real = (new_repository(tmp_path / role, role) for role in ("test", "real"))
    for repository in (test, real):
        repository.add(A, STAMP, {"pixel_gain": small(1), "pixel_offset": small(1, "pixel_offset")}, "both")
    real.add(B, STAMP, {"pixel_gain": small(2)}, "real only")
    test.add(A, LATER, {"pixel_gain": small(3)}, "test only")
    test.add(A, STAMP, {"pixel_gain": small(4)}, "other")
    seen: list[tuple[int, int]] = []
    found = jfstore.diff(test, str(tmp_path / "real"), progress=lambda done, total: seen.append((done, total)))
    assert (found.first, found.second) == (test.location, real.location)
    assert [(only.version, only.types) for only in found.only_first] == [(f"{A}/{LATER}/v1", ("pixel_gain",))]
    assert [(only.version, only.types) for only in found.only_second] == [(f"{B}/{STAMP}/v1", ("pixel_gain",))]
    assert [(pair.first, pair.second) for pair in found.pairs] == [(f"{A}/{STAMP}/v2", f"{A}/{STAMP}/v1")]
    assert (found.pairs[0].relation, found.equal, seen) == (None, 1, [(0, 1), (1, 1)])
    assert not jfstore.diff(test, real, panels=A, types="pixel_offset").is_different
    assert len(jfstore.diff(test, test, as_of=(1, 3)).pairs) == 1
    test.withdraw([f"{A}/{STAMP}/v2", f"{A}/{LATER}/v1"], "wrong")
    assert jfstore.diff(test, real).pairs == ()
    with pytest.raises(jfstore.NotFound):
        jfstore.diff(test, real, panels=C)


def test_closes_are_compared(tmp_path: Path) -> None:
    test, real = (new_repository(tmp_path / role, role) for role in ("test", "real"))
    for repository in (test, real):
        repository.add(A, STAMP, {"pixel_gain": small(1)}, "both")
        repository.close(A, LATER, "broken")
    assert not jfstore.diff(test, real).is_different
    real.close(A, STAMP, "it was broken before")
    found = jfstore.diff(test, real)
    assert [only.version for only in found.only_first] == [f"{A}/{STAMP}/v1"]
    assert [only.version for only in found.only_second] == [f"{A}/{STAMP}/v2"]
    found = real.diff(f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2")
    assert [only.types for only in (*found.only_first, *found.only_second)] == [("pixel_gain",)] * 2


def test_panels_of_other_shapes_and_wrong_arguments(full: jfstore.Repository, tmp_path: Path) -> None:
    other = new_repository(tmp_path / "R")
    other.add(A, STAMP, {"pixel_gain": small(1)}, "small")
    (pair,) = jfstore.diff(full, other, panels=A, types="pixel_gain").pairs
    assert (pair.ranges, pair.relation) == ((), None)
    answer = full.find(A, time=LATER)
    with pytest.raises(jfstore.BadValue, match="an answer is compared with another answer"):
        full.diff(answer, f"{A}/{STAMP}/v1")
    with pytest.raises(jfstore.NotFound):
        full.diff(f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v9")
