"""Runs of LCLS-II on the command line: absent segments, high first gain ranges, ends of runs."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.repository import Repository
from tests.makers import xtc2 as made
from tests.makers.absent_segments import DETECTOR, EXP, PANELS, RUN, SEGMENTS, SHAPE, spread, stack
from tests.makers.repositories import new_repository
from tests.makers.telling import rows_of, tell

STAMP = "20250328130000"

Capture = pytest.CaptureFixture[str]


def write_run(number: int, gain0: int | None = 0, length: int = 60, start: int = made.START) -> None:
    """Write a run with three panels of eight, in two streams."""
    parts = [dict(zip(SEGMENTS, PANELS, strict=True)), {}]
    parts[1][2] = parts[0].pop(2)
    streams = [made.stream(made.configured(p, gain0=gain0), EXP, number, start, length=length) for p in parts]
    made.write(Path("data"), EXP, number, *streams)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    write_run(7)
    return new_repository("./R", shape=SHAPE)


NAMES = ("pixel_gain", "pixel_offset", "pedestals", "pixel_status", "pixel_mask")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_added_by_run_comes_out_by_run(name: str, repository: Repository, capsys: Capture) -> None:
    np.save("in.npy", stack(name))
    assert main(["add", RUN, "-t", name, "-f", "in.npy", "--repo", "./R", "-m", "x"]) == 0
    assert main(["get", RUN, "-t", name, "-f", "out.npy", "--repo", "./R"]) == 0
    assert np.load("out.npy").tobytes() == stack(name).tobytes()
    assert repository.get(DETECTOR, name, STAMP).tobytes() == stack(name).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_full_arrays_go_both_ways(name: str, repository: Repository, capsys: Capture) -> None:
    fill = 2**64 - 1 if name == "pixel_status" else 0
    np.save("in.npy", spread(stack(name)))
    code, out, _ = tell(capsys, "add", RUN, "-t", name, "-f", "in.npy", "--repo", "./R", "-m", "x")
    assert (code, len(rows_of(out))) == (0, 3)
    code, _, err = tell(capsys, "get", RUN, "-t", name, "--full", "-f", "out.npy", "--repo", "./R")
    assert (code, "segments 1,3-4,6-7 are absent" in err) == (0, True)
    got = np.load("out.npy")
    assert (got.dtype, got.tobytes()) == (stack(name).dtype, spread(stack(name), fill).tobytes())
    assert repository.find(RUN, [name]).full_array(name).tobytes() == got.tobytes()


def test_a_full_h5_names_the_panel_of_each_place(repository: Repository, capsys: Capture) -> None:
    repository.add(RUN, None, {"pedestals": stack("pedestals")}, "dark")
    assert main(["get", RUN, "--full", "-f", "out.h5", "--repo", "./R"]) == 0
    with h5py.File("out.h5") as file:
        names = [one.decode() for one in file["entry/panel_id"]]
        assert names == [PANELS[0], "", PANELS[1], "", "", PANELS[2], "", ""]
        assert file["entry/pedestals/data"].shape == (3, 8, *SHAPE[1:])


def test_full_is_for_runs_of_lcls2(repository: Repository, capsys: Capture) -> None:
    repository.add(RUN, None, {"pedestals": stack("pedestals")}, "dark")
    code, _, err = tell(
        capsys, "get", DETECTOR, "-T", STAMP, "-t", "pedestals", "--full", "-f", "o.npy", "--repo", "./R"
    )
    assert (code, "LCLS-II" in err, Path("o.npy").exists()) == (2, True, False)


def test_zeros_of_a_panel_that_is_there_are_refused(repository: Repository, capsys: Capture) -> None:
    array = spread(stack("pedestals"))
    array[:, 2] = 0
    np.save("in.npy", array)
    code, _, err = tell(capsys, "add", RUN, "-t", "pedestals", "-f", "in.npy", "--repo", "./R", "-m", "x")
    assert (code, "segment 2, which the run has, is zero everywhere" in err) == (2, True)
    assert not list(repository.versions())


def test_an_array_of_another_size_is_refused(repository: Repository, capsys: Capture) -> None:
    np.save("in.npy", spread(stack("pedestals"))[:, :7])
    code, _, err = tell(capsys, "add", RUN, "-t", "pedestals", "-f", "in.npy", "--repo", "./R", "-m", "x")
    assert (code, "(3, 3, 16, 32) or (3, 8, 16, 32)" in err) == (2, True)


def test_the_report_says_segments_and_modes(repository: Repository, capsys: Capture) -> None:
    repository.add(RUN, None, {"pedestals": stack("pedestals")}, "dark")
    code, out, _ = tell(capsys, "get", RUN, "-t", "pedestals", "--repo", "./R", "--json")
    run = json.loads(out)["run"]
    assert (code, run["segments"], run["gain_mode"], run["has_high_g0"]) == (0, [0, 2, 5], "DYNAMIC", False)
    assert (run["daq"], run["end"]) == ("LCLS-II", "2025-03-28T20:01:00.123456789Z")


# -- the high first gain range


@pytest.fixture
def both(repository: Repository) -> Repository:
    """Return a repository with gains for both, and run 8, whose first gain range is the high one."""
    write_run(8, gain0=1)
    write_run(9, gain0=None)
    for suffix in ("", "_hg0"):
        arrays = {f"{name}{suffix}": stack(f"{name}{suffix}", len(suffix)) for name in ("pixel_gain", "pixel_offset")}
        repository.add(DETECTOR, "20250101000000", arrays, "gains", accept="other-panel")
    return repository


def test_the_configuration_chooses_the_type(both: Repository) -> None:
    normal, high = f"exp={EXP}:run=7", f"exp={EXP}:run=8"
    assert both.get(normal, "pixel_gain").tobytes() == stack("pixel_gain").tobytes()
    assert both.get(high, "pixel_gain").tobytes() == stack("pixel_gain_hg0", 4).tobytes()
    assert both.find(normal).types == ("pixel_gain", "pixel_offset")
    assert both.find(high).types == ("pixel_gain_hg0", "pixel_offset_hg0")
    assert both.find(high)["pixel_offset"].tobytes() == stack("pixel_offset_hg0", 4).tobytes()
    assert any("pixel_gain_hg0" in note for note in both.find(high).notes)


def test_an_explicit_type_is_that_type(both: Repository) -> None:
    assert both.get(f"exp={EXP}:run=7", "pixel_gain_hg0").tobytes() == stack("pixel_gain_hg0", 4).tobytes()


def test_a_missing_one_is_not_replaced_by_the_other(repository: Repository) -> None:
    write_run(8, gain0=1)
    arrays = {name: stack(name) for name in ("pixel_gain", "pixel_offset")}
    repository.add(DETECTOR, "20250101000000", arrays, "gains", accept="other-panel")
    with pytest.raises(jfstore.NotFound, match="pixel_gain_hg0"):
        repository.get(f"exp={EXP}:run=8", "pixel_gain")


def test_a_run_that_does_not_say_it_is_warned_of(both: Repository) -> None:
    answer = both.find(f"exp={EXP}:run=9")
    assert answer.types == ("pixel_gain", "pixel_offset")
    assert any("does not say whether its first gain range is the high one" in note for note in answer.notes)
    assert not any("does not say whether" in note for note in both.find(f"exp={EXP}:run=7").notes)


def test_a_lock_keeps_the_choice(both: Repository) -> None:
    answer = both.find(f"exp={EXP}:run=8")
    Path("run8.lock").write_text(answer.lock().text)
    again = both.replay("run8.lock")
    assert again["pixel_gain"].tobytes() == answer["pixel_gain"].tobytes()
    assert again.full_array("pixel_gain").tobytes() == answer.full_array("pixel_gain").tobytes()
    assert again.run is not None
    assert answer.run is not None
    assert (again.run.jungfraus, again.run.end, again.run.daq) == (answer.run.jungfraus, answer.run.end, "LCLS-II")


# -- the end of a run


def test_constants_that_end_before_the_run_are_warned_of(repository: Repository, capsys: Capture) -> None:
    write_run(8, length=7200)
    repository.add(DETECTOR, STAMP, {"pedestals": stack("pedestals")}, "dark")
    repository.add(DETECTOR, "20250328140000", {"pedestals": stack("pedestals", 9)}, "later dark")
    for number, warned in ((7, False), (8, True)):
        code, _, err = tell(capsys, "get", f"exp={EXP}:run={number}", "-t", "pedestals", "--repo", "./R")
        text = f"pedestals are valid until 20250328140000, and exp={EXP}:run={number} ends later"
        assert (code, text in err) == (0, warned)


def test_resolve_says_what_ends_before_a_run(repository: Repository, capsys: Capture) -> None:
    write_run(8, length=7200)
    write_run(9, start=made.START - 900_000)
    repository.add(DETECTOR, STAMP, {"pedestals": stack("pedestals")}, "dark")
    repository.add(DETECTOR, "20250328140000", {"pedestals": stack("pedestals", 9)}, "later dark")
    code, out, _ = tell(capsys, "runs", EXP, "--resolve", "-t", "pedestals", "--repo", "./R")
    cells = [row["constants"] for row in rows_of(out)]
    assert (code, cells[:2]) == (3, ["yes", "yes, until 20250328140000"])
    assert "no pedestals" in cells[2]


def test_resolve_needs_what_the_run_needs(repository: Repository, capsys: Capture) -> None:
    write_run(8, gain0=1)
    arrays = {name: stack(name) for name in ("pixel_gain", "pixel_offset")}
    repository.add(DETECTOR, "20250101000000", arrays, "gains", accept="other-panel")
    code, out, _ = tell(capsys, "runs", EXP, "--resolve", "-t", "pixel_gain", "--repo", "./R")
    normal, high = rows_of(out)
    assert (code, normal["constants"], "pixel_gain_hg0" in high["constants"]) == (3, "yes", True)


def test_the_report_says_segments_gain_mode_and_end(repository: Repository, capsys: Capture) -> None:
    repository.add(DETECTOR, "20250101000000", {"pedestals": stack("pedestals")}, "dark")
    err = tell(capsys, "get", RUN, "-t", "pedestals", "--repo", "./R")[2]
    (line,) = [line for line in err.splitlines() if " started at " in line]
    assert "; the panels are those of jungfrau in " in line
    assert line.endswith(" (segments 0,2,5, DYNAMIC); the run ended at 2025-03-28T20:01:00.123456789Z")
