"""Panels of runs without Ids: what the log states of them is used, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.repository import Repository
from tests.makers.repositories import STAMP, A, B, C, constants, new_repository, reopened
from tests.makers.xtc import MFX, jungfrau, phy_of, run_bytes, some_panels, write_run

EXPERIMENT = "mfx00616"
RUN = f"exp={EXPERIMENT}:run=7"
START = 1522800000
GAIN = np.stack([constants(1), constants(2)], axis=1)
REQUEST = "0123456789abcdef" * 2


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Constants of A and B, and runs 7 and 8 of ConfigV1 and 9 of ConfigV3, of two panels each."""
    root = tmp_path / "psdm"
    monkeypatch.setenv("SIT_PSDM_DATA", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number, version in ((7, 1), (8, 2), (9, 3)):
        write_run(root, "MFX", EXPERIMENT, number, run_bytes(run=number, version=version, begin_seconds=START))
    made = new_repository(tmp_path / "R")
    made.add(f"{A}_{B}", STAMP, {"pixel_gain": GAIN, "pixel_offset": GAIN}, "both")
    return made


def test_a_run_without_ids_has_the_panels_that_are_stated(repository: Repository) -> None:
    with pytest.raises(jfstore.NotFound, match="has no panel Ids"):
        repository.get(RUN, "pixel_gain")
    done = repository.run_panels(f"{A}_{B}", f"exp={EXPERIMENT}:run=1-8", "from the logbook")
    assert (done.op, done.seq, done.names, done.changes) == ("run_panels", 2, (f"exp={EXPERIMENT}:run=1-8",), ())
    again = reopened(repository)
    assert again.get(RUN, "pixel_gain").tobytes() == GAIN.tobytes()
    answer = again.find(f"exp={EXPERIMENT}:run=8", "pixel_gain")
    assert answer.detector == f"{A}_{B}"
    assert f"commit 2 states that it had {A}_{B}" in answer.notes[0]
    assert [explained.panel for explained in again.explain(RUN, "pixel_gain")] == [A, B]
    added = again.add(RUN, None, {"pixel_gain": GAIN * 2}, "for the run")
    assert [version.panel for version in added.versions] == [A, B]
    assert any("commit 2 states" in note for note in added.notes)
    with pytest.raises(jfstore.NotFound, match="has no panel Ids"):
        again.get(RUN, "pixel_gain", as_of=1)


def test_ids_of_the_run_itself_count_more(repository: Repository) -> None:
    repository.run_panels(f"{A}_{B}", f"exp={EXPERIMENT}:run=9", "wrong")
    with pytest.raises(jfstore.NotFound, match="no constants are stored"):
        repository.get(f"exp={EXPERIMENT}:run=9", "pixel_gain")


def test_the_last_statement_about_a_run_counts(repository: Repository) -> None:
    runs = f"exp={EXPERIMENT}:run=1-8"
    repository.run_panels(f"{A}_{B}", runs, "first")
    repository.run_panels(f"{B}_{A}", RUN, "the other way round")
    assert repository.find(RUN, "pixel_gain").detector == f"{B}_{A}"
    assert repository.find(f"exp={EXPERIMENT}:run=8", "pixel_gain").detector == f"{A}_{B}"
    assert repository.find(RUN, "pixel_gain", as_of=2).detector == f"{A}_{B}"
    assert repository.run_panels(f"{B}_{A}", RUN, "again").unchanged == (RUN,)
    assert repository.run_panels(f"{A}_{B}", runs, "back").seq == 4


def test_a_statement_that_cannot_be_right_is_not_used(repository: Repository) -> None:
    repository.run_panels(A, RUN, "one panel")
    with pytest.raises(jfstore.NotFound, match="it has 2 panels, and commit 2 states 1"):
        repository.get(RUN, "pixel_gain")


def test_a_statement_about_a_source(repository: Repository, tmp_path: Path) -> None:
    second = jungfrau(1, some_panels(2), phy_of(MFX, device_number=1))
    data = run_bytes(run=7, version=1, begin_seconds=START, others=[second])
    write_run(tmp_path / "psdm", "MFX", EXPERIMENT, 7, data)
    repository.run_panels(f"{A}_{B}", RUN, "of which?")
    with pytest.raises(jfstore.NotFound, match="does not say which of the run's 2 it is about"):
        repository.get(RUN, "pixel_gain", source="Jungfrau.0")
    repository.run_panels(f"{A}_{B}", RUN, "of the second", source="Jungfrau.1")
    assert repository.find(RUN, "pixel_gain", source="Jungfrau.1").detector == f"{A}_{B}"
    with pytest.raises(jfstore.NotFound):
        repository.get(RUN, "pixel_gain", source="Jungfrau.0")


@pytest.mark.parametrize(
    "runs",
    [
        f"exp={EXPERIMENT}",
        f"exp={EXPERIMENT}:run=1,3",
        f"exp={EXPERIMENT}:run=3-1",
        f"exp={EXPERIMENT}:run=1:smd",
        f"exp={EXPERIMENT}:run=1:stream=0",
        "exp=616:run=1",
        "x.xtc",
        "",
    ],
)
def test_runs_that_are_not_one_range(repository: Repository, runs: str) -> None:
    with pytest.raises(jfstore.BadValue):
        repository.run_panels(f"{A}_{B}", runs, "why")


def test_a_statement_about_runs_is_made_once_and_copied(repository: Repository, tmp_path: Path) -> None:
    repository.name_panel(f"{A}_{B}", "mfx_2", "a name")
    first = repository.run_panels("mfx_2", RUN, "why", request=REQUEST)
    again = repository.run_panels("mfx_2", RUN, "why", request=REQUEST)
    assert (again.seq, again.names) == (first.seq, first.names)
    assert repository.run_panels("mfx_2", f"exp={EXPERIMENT}:run=3", "why", dry_run=True).dry_run
    copy = jfstore.mirror(repository, tmp_path / "copy").copy
    assert copy.find(RUN, "pixel_gain").detector == f"{A}_{B}"
    assert [commit.versions for commit in repository.history()][-1] == (RUN, f"{A}_{B}")


def test_generate_and_the_list_of_runs_use_it(repository: Repository, tmp_path: Path) -> None:
    repository.run_panels(f"{A}_{B}", f"exp={EXPERIMENT}:run=7", "from the logbook")
    done = jfstore.generate(RUN, repo=repository, directory=tmp_path)
    assert np.load(next(file for file in done.written if file.endswith("pixel_gain.npy"))).tobytes() == GAIN.tobytes()
    assert any("commit 2 states" in note for note in done.notes)
    coverage = jfstore.runs_with_constants(EXPERIMENT, repository)
    missing = [constants.missing for constants in coverage.constants]
    assert (missing[0], missing[1]) == (None, "no panel Ids (ConfigV2)")


def test_the_history_of_a_panel_has_its_runs(repository: Repository) -> None:
    repository.run_panels(f"{A}_{B}", f"exp={EXPERIMENT}:run=1-8", "from the logbook")
    runs = jfstore.runs(EXPERIMENT).runs
    history = repository.panel_history(B, runs=runs)
    (seen,) = history.sightings
    assert (seen.detector, seen.panel, seen.position, seen.runs) == (f"{A}_{B}", B, 1, (7, 8))
    assert seen.first
    assert seen.first.ns == START * 10**9 + 123456789
    assert [commit.op for commit in history.commits] == ["run_panels"]
    with pytest.raises(jfstore.NotFound):
        repository.panel_history(C, runs=runs)
