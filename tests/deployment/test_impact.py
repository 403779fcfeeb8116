"""Whom a write concerns: runs and deployed files in the intervals that change, and by how much."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import encode_note, read_note
from jfstore.repository import Repository
from tests.makers.impact import FIRST, JULY, PANELS, SECOND, SOURCE, deployed_path, make_instrument
from tests.makers.repositories import constants, new_repository, put

OLD, NEW = f"{PANELS[0]}/{FIRST}/v1", f"{PANELS[0]}/{SECOND}/v1"


@pytest.fixture
def repository(tree: Path, tmp_path: Path) -> Repository:
    repository = new_repository(tmp_path / "R")
    make_instrument(tree, repository)
    return repository


def test_a_withdrawal_concerns_the_runs_and_files_in_its_interval(repository: Repository, tree: Path) -> None:
    planned = repository.withdraw(NEW, "wrong bias", dry_run=True)
    impact = jfstore.impact(planned, repo=repository)
    assert [(run.label, run.source, run.panels) for run in impact.runs] == [
        (f"exp=mfx00001:run={run}", SOURCE, PANELS[:1]) for run in (3, 4)
    ]
    assert impact.runs[0].start.ns // 10**9 == JULY
    assert {run.types for run in impact.runs} == {("pixel_gain", "pixel_offset")}
    assert [(file.path, file.state, file.experiment, file.is_noted, file.repository) for file in impact.files] == [
        (str(deployed_path(tree, 3, name)), "becomes stale", "mfx00001", True, repository.id)
        for name in ("pixel_gain", "pixel_offset")
    ]
    for file in impact.files:
        assert file.holds == (NEW, f"{PANELS[1]}/{SECOND}/v1")
        assert [(change.before, change.after) for change in file.changes] == [(NEW, OLD)]
    assert (impact.experiments, impact.searched_runs, impact.searched_files) == (("mfx00001",), 7, 4)
    assert impact.without_panels == ("exp=mfx00003:run=1",)
    assert (impact.undecided, impact.without_start, impact.unmeasured) == ((), (), 0)
    assert len(impact.problems) == 1
    assert "mfx00004" in impact.problems[0]
    assert "2 of 7 runs" in repr(impact)


def test_sizes_are_those_of_the_stored_arrays(repository: Repository) -> None:
    impact = jfstore.impact(repository.withdraw(NEW, "wrong bias", dry_run=True), repo=repository)
    before, after = constants(10).astype(float), constants(0).astype(float)
    offsets = constants(0, "pixel_offset").astype(float) - constants(10, "pixel_offset").astype(float)
    expected = [*(after / before - 1), *offsets]
    assert [(size.type, size.gain, size.is_relative) for size in impact.sizes] == [
        *(("pixel_gain", gain, True) for gain in range(3)),
        *(("pixel_offset", gain, False) for gain in range(3)),
    ]
    for size, values in zip(impact.sizes, expected, strict=True):
        assert (size.low, size.median, size.high) == pytest.approx(np.percentile(values, [2.5, 50, 97.5]), rel=1e-6)
        assert (size.pairs, size.different) == (1, 1.0)


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_addition_is_measured_before_it_is_stored_and_after(repository: Repository, dry_run: bool) -> None:
    arrays = {"pixel_gain": constants(0) * np.float32(1.01)}
    added = repository.add(PANELS[0], "20180201000000", arrays, "one per cent", dry_run=dry_run)
    impact = jfstore.impact(added, repo=repository)
    assert [(run.run, run.types) for run in impact.runs] == [(1, ("pixel_gain",)), (2, ("pixel_gain",))]
    assert [(Path(file.path).name, file.type, file.state) for file in impact.files] == [
        ("1-end.data", "pixel_gain", "becomes stale")
    ]
    assert len(impact.sizes) == 3
    for size in impact.sizes:
        assert (size.low, size.median, size.high) == pytest.approx((0.01, 0.01, 0.01), abs=1e-6)
    earlier = repository.add(PANELS[0], "20170101000000", arrays, "earlier", dry_run=dry_run)
    assert jfstore.impact(earlier, repo=repository).runs == ()
    assert jfstore.impact(earlier, repo=repository).sizes == ()


def test_a_file_can_become_current_or_stay_stale(repository: Repository) -> None:
    repository.withdraw(NEW, "wrong bias")
    back = jfstore.impact(repository.restore(NEW, "it was right", dry_run=True), repo=repository)
    assert [(file.state, file.run) for file in back.files] == [("becomes current", 3)] * 2
    repository.add(PANELS[1], SECOND, {"pixel_gain": constants(77)}, "the other panel")
    back = jfstore.impact(repository.restore(NEW, "it was right", dry_run=True), repo=repository)
    assert [(file.state, file.type) for file in back.files] == [
        ("stays stale", "pixel_gain"),
        ("becomes current", "pixel_offset"),
    ]
    closed = jfstore.impact(repository.close(PANELS[1], SECOND, "broken", dry_run=True), repo=repository)
    assert [(file.state, file.changes[0].after) for file in closed.files] == [("stays stale", None)] * 2
    assert closed.sizes == ()


def test_files_without_a_note_are_counted_and_compared_if_that_is_asked_for(repository: Repository, tree: Path) -> None:
    for path in tree.rglob("*.jfstore.json"):
        path.unlink()
    planned = repository.withdraw(NEW, "wrong bias", dry_run=True)
    impact = jfstore.impact(planned, repo=repository)
    assert impact.files == ()
    assert impact.undecided == tuple(
        (str(deployed_path(tree, 3, name)), "it has no note") for name in ("pixel_gain", "pixel_offset")
    )
    impact = jfstore.impact(planned, repo=repository, compare=True)
    assert [(file.state, file.is_noted, file.holds[0]) for file in impact.files] == [("becomes stale", False, NEW)] * 2
    assert impact.undecided == ()
    put(deployed_path(tree, 3), b"nonsense")
    impact = jfstore.impact(planned, repo=repository, compare=True)
    assert [(path, why.split(":")[0]) for path, why in impact.undecided] == [
        (str(deployed_path(tree, 3)), "unreadable")
    ]


def test_a_file_that_was_changed_is_not_believed_to_hold_what_its_note_says(repository: Repository, tree: Path) -> None:
    path = deployed_path(tree, 3)
    put(path, path.read_bytes() + b"# edited\n")
    impact = jfstore.impact(repository.withdraw(NEW, "wrong bias", dry_run=True), repo=repository)
    assert impact.undecided == ((str(path), "it was changed after it was deployed"),)
    assert [file.type for file in impact.files] == ["pixel_offset"]
    put(path.parent / "3-end.jfstore.json", b"{}")
    impact = jfstore.impact(repository.withdraw(NEW, "wrong bias", dry_run=True), repo=repository)
    assert "is not a note of jfstore" in impact.undecided[0][1]


def test_without_xtc_files_the_note_says_the_run(repository: Repository, tree: Path) -> None:
    for path in tree.rglob("*.xtc"):
        path.unlink()
    (tree / "MFX/mfx00001/xtc").rmdir()
    planned = repository.withdraw(NEW, "wrong bias", dry_run=True)
    impact = jfstore.impact(planned, repo=repository)
    assert ([file.run for file in impact.files], impact.runs) == ([3, 3], ())
    for path in tree.rglob("*.jfstore.json"):
        path.unlink()
    assert {why for _, why in jfstore.impact(planned, repo=repository).undecided} == {
        "it has no note, and its run is not known"
    }


def test_a_root_that_is_missing_is_an_error_and_another_one_may_be_given(
    repository: Repository, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = repository.withdraw(NEW, "wrong bias", dry_run=True)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "missing"))
    with pytest.raises(jfstore.BadValue, match="missing is not a directory"):
        jfstore.impact(planned, repo=repository)
    assert len(jfstore.impact(planned, tree, repo=repository).runs) == 2
    assert len(jfstore.impact(planned.changes, tree, repo=repository).files) == 2


def test_a_damaged_array_is_not_measured(repository: Repository) -> None:
    path = Path(repository.storage.location, repository.version(NEW).file.path)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    put(path, bytes(data))
    impact = jfstore.impact(repository.withdraw(NEW, "wrong bias", dry_run=True), repo=repository)
    assert 1 <= impact.unmeasured <= 2
    assert len(impact.runs) == 2


def test_another_repository_s_file_is_told_apart(repository: Repository, tree: Path) -> None:
    file = CalibFile(tree / "MFX/mfx00001/calib", SOURCE, "pixel_gain", 3)
    body = json.loads(file.note.read_bytes())
    body["deployments"][0]["origin"]["repository"] = "another"
    file.note.write_text(json.dumps(body))
    assert encode_note(file, read_note(file))
    impact = jfstore.impact(repository.withdraw(NEW, "wrong bias", dry_run=True), repo=repository)
    assert {file.type: file.repository for file in impact.files} == {
        "pixel_gain": "another",
        "pixel_offset": repository.id,
    }
