"""Runs of LCLS-II: the reference's files, files of an independent writer, cut and damaged ones, and mutants."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.errors import Damaged
from jfstore.runs.run import Run
from tests.conftest import ROOT
from tests.makers import xtc2 as made
from tests.makers.xtc_reading import Program

REFERENCE = ROOT / "tests/data/reference/xtc2"
CASES: list[dict[str, Any]] = json.loads((REFERENCE / "manifest.json").read_text())["cases"]
EXP = "mfxx00001"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def panels_of(run: Run) -> list[str]:
    (jungfrau,) = run.jungfraus
    return list(map(str, jungfrau.panels))


# -- what other software wrote


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["run"]))
def test_the_reference_is_read_as_its_manifest_says(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(REFERENCE))
    run = jfstore.run(f"exp={case['experiment']}:run={case['run']}")
    begin = case["begin_run"]
    assert (run.experiment, run.run, run.daq) == (case["experiment"], case["run"], "LCLS-II")
    assert run.start == begin["unix_seconds"] * 1_000_000_000 + begin["nanoseconds"]
    jungfrau = run.jungfrau
    assert jungfrau.source == case["detname"]
    assert dict(zip(map(str, jungfrau.segments), map(str, jungfrau.panels), strict=True)) == case["segments"]
    assert f"jungfrau_{run.detector_id}" == case["uniqueid"]
    assert jungfrau.places == case["nsegs_total"]
    assert (run.notes, run.problems) == ((), ())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["run"]))
def test_the_old_commands_know_such_runs(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(REFERENCE))
    code, out, _ = program("jungfrau_id", f"exp={case['experiment']}:run={case['run']}")
    printed = f"Found source: jungfrau, number of panels: {len(case['segments'])}"
    assert (code, printed in out) == (0, True)
    assert out.splitlines()[-1] == f"Jungfrau id: {case['uniqueid'].removeprefix('jungfrau_')}"
    code, out, _ = program("jfstore", "runs", "mfxdaq23", "--json")
    (value,) = [value for value in json.loads(out) if value["run"] == case["run"]]
    assert (code, value["segments"], value["daq"]) == (0, [int(n) for n in case["segments"]], "LCLS-II")


# -- files of another writer


def test_gaps_and_streams(root: Path) -> None:
    panels = {n: made.panel(100 + n) for n in (0, 1, 3, 9, 10, 17, 25, 31)}
    parts = [dict(list(panels.items())[n::3]) for n in range(3)]
    made.write(root, EXP, 7, *(made.stream(made.configured(part)) for part in parts))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert run.jungfrau.segments == tuple(panels)
    assert panels_of(run) == list(panels.values())
    assert (run.jungfrau.count, run.jungfrau.places) == (8, 32)
    assert (run.start, run.end) == (made.START * 10**9 + 123456789, (made.START + 60) * 10**9 + 123456789)


def test_32_panels_over_5_streams(root: Path) -> None:
    panels = {n: made.panel(n, board=0xB8CEF6000000 + n) for n in range(32)}
    made.write(root, EXP, 7, *(made.stream(made.configured({n: panels[n] for n in range(s, 32, 5)})) for s in range(5)))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert panels_of(run) == list(panels.values())
    assert panels_of(run)[31] == "8000000020000-230920-b8cef600001f001f"


@pytest.mark.parametrize("written", ["0-0-1", "0-230920-2000", "9000000000000-230921-3007f0217"])
def test_zeros_and_large_numbers_in_ids(written: str, root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: written})))
    assert panels_of(jfstore.run(f"exp={EXP}:run=7")) == [written]


def test_several_jungfraus_are_chosen_by_name(root: Path) -> None:
    objects = made.configured({0: made.panel(1)}, "jungfrau") + made.configured(
        {0: made.panel(2)}, "jf_vls", first=0x300
    )
    made.write(root, EXP, 7, made.stream(objects))
    with pytest.raises(jfstore.BadValue, match="choose one: jf_vls, jungfrau"):
        jfstore.run(f"exp={EXP}:run=7")
    assert jfstore.run(f"exp={EXP}:run=7", "jf_vls").detector_id == made.panel(2)
    assert jfstore.run(f"exp={EXP}:run=7", "jungfrau").detector_id == made.panel(1)


def test_a_detector_of_another_type_is_none(root: Path) -> None:
    objects = made.configured({0: "serial1234"}, "epix", detector_type="epix100")
    made.write(root, EXP, 7, made.stream(objects))
    with pytest.raises(jfstore.NotFound, match="has no Jungfrau"):
        jfstore.run(f"exp={EXP}:run=7")


def test_a_scan_repeats_its_configuration(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1), 1: made.panel(2)}, repeats=3)))
    assert panels_of(jfstore.run(f"exp={EXP}:run=7")) == [made.panel(1), made.panel(2)]


@pytest.mark.parametrize(
    ("gain_mode", "gain0", "mode", "is_high"),
    [
        (0, 0, "DYNAMIC", False),
        (3, 1, "FIX_G1", True),
        (4, None, "FIX_G2", None),
        (None, 1, None, True),
        (None, None, None, None),
        (0, 7, "DYNAMIC", None),
        (77, 0, None, False),
    ],
)
def test_how_the_amplifiers_are_set(
    gain_mode: int | None, gain0: int | None, mode: str | None, is_high: bool | None, root: Path
) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}, gain_mode=gain_mode, gain0=gain0)))
    jungfrau = jfstore.run(f"exp={EXP}:run=7").jungfrau
    assert (jungfrau.gain_mode, jungfrau.has_high_g0) == (mode, is_high)


def test_a_scan_changes_the_gain_mode_within_the_run(root: Path) -> None:
    """A run of the experiment mfx101332224 is so: a pedestal scan has Names of what its steps change, and no data."""
    scanned: list[made.Value] = [("user.gainMode:gainModeEnum", made.ENUM_VALUE, 0, b"")]
    objects = made.configured({0: made.panel(1)}) + made.names(
        0x114, "jungfrau", "jungfrau", made.panel(1), "config", 0, scanned
    )
    made.write(root, EXP, 7, made.stream(objects))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == (None, False)
    assert run.notes == ("user.gainMode of jungfrau changes within the run, which is a scan",)


@pytest.mark.parametrize("other", ["8000000020000-230920-200000018000000020000-230920-20000001", "", "serial1234"])
def test_the_id_of_the_data_counts(other: str, root: Path) -> None:
    """Until June 2025 the configurations of the DAQ had the Ids of all connections in one."""
    values = made.modes(0, 1)
    objects = made.names(0x10A, "jungfrau", "jungfrau", made.panel(1), "raw", 3, made.RAW)
    objects += made.names(0x100, "jungfrau", "jungfrau", other, "config", 3, values) + made.shapes_data(0x100, values)
    made.write(root, EXP, 7, made.stream(objects))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert (run.detector_id, run.jungfrau.segments) == (made.panel(1), (3,))
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == ("DYNAMIC", True)
    (note,) = run.notes
    assert note.endswith(f"segment 3 of jungfrau is configured as {other!r}; the Id of its data counts")


def test_segments_in_different_gain_modes_may_all_have_high_g0(root: Path) -> None:
    objects = made.configured({0: made.panel(1)}, gain_mode=0, gain0=1)
    objects += made.configured({1: made.panel(2)}, gain_mode=3, gain0=1, first=0x300)
    made.write(root, EXP, 7, made.stream(objects), made.stream(made.configured({2: made.panel(3)}, gain0=1)))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == (None, True)
    assert run.notes == ("the segments of jungfrau are set to different gain modes: DYNAMIC, FIX_G1",)


def test_streams_that_disagree(root: Path) -> None:
    one, other = made.panel(1), made.panel(2)
    first = made.stream(made.configured({0: one}))
    second = made.configured({0: other, 1: made.panel(3)}, gain_mode=3, gain0=1)
    made.write(root, EXP, 7, first, made.stream(second, start=made.START + 5))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert panels_of(run) == [one, made.panel(3)]
    assert run.start == made.START * 10**9 + 123456789
    notes = "\n".join(run.notes)
    for text in (
        "disagree on segment 0 of jungfrau",
        "disagree on the start",
        "set to different gain modes",
        "differ in whether",
    ):
        assert text in notes
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == (None, None)


def test_one_panel_in_two_segments_is_damage(root: Path) -> None:
    made.write(root, EXP, 7, *(made.stream(made.configured({n: made.panel(1)})) for n in range(2)))
    with pytest.raises(Damaged, match="two segments of jungfrau are the same panel"):
        jfstore.run(f"exp={EXP}:run=7")


def test_another_run_or_experiment_inside_is_noted(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), "mfxother", 8))
    notes = "\n".join(jfstore.run(f"exp={EXP}:run=7").notes)
    assert "its BeginRun has the run number 8" in notes
    assert "its BeginRun has the experiment mfxother" in notes


def test_the_path_of_a_file(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    assert jfstore.run(str(path)).label == f"exp={EXP}:run=7"
    other = path.rename(root / "copy.xtc2")
    assert jfstore.run(str(other)).label == f"exp={EXP}:run=7"  # BeginRun says it


def test_the_path_of_a_file_that_is_still_written(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    unfinished = path.rename(f"{path}.inprogress")
    run = jfstore.run(str(unfinished))
    assert (run.label, panels_of(run), run.end) == (f"exp={EXP}:run=7", [made.panel(1)], None)
    with pytest.raises(jfstore.NotFound, match="is still being written"):
        jfstore.run(f"exp={EXP}:run=7")


def test_small_data_is_asked_for(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    small = path.parent / "smalldata" / path.name.replace(".xtc2", ".smd.xtc2")
    small.parent.mkdir()
    small.write_bytes(made.stream(made.configured({0: made.panel(2)})))
    assert panels_of(jfstore.run(f"exp={EXP}:run=7")) == [made.panel(1)]
    assert panels_of(jfstore.run(f"exp={EXP}:run=7:smd")) == [made.panel(2)]


@pytest.mark.parametrize("stream", [0, 1])
def test_a_run_of_both_kinds_is_refused(stream: int, root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    other = path.with_name(f"{EXP}-r0007-s{stream:02d}-c00.xtc")
    other.write_bytes(b"")
    with pytest.raises(jfstore.BadValue, match="has files of LCLS-I and of LCLS-II") as caught:
        jfstore.run(f"exp={EXP}:run=7")
    assert str(path) in str(caught.value)
    assert str(other) in str(caught.value)
    assert "of LCLS-I and of LCLS-II" in str(jfstore.runs(EXP).errors[0])


def test_listed_runs_come_from_the_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in (1, 2):
        made.write(root, EXP, number, made.stream(made.configured({3: made.panel(number)}), run=number))
    first = jfstore.runs(EXP)
    again = jfstore.runs(EXP)
    assert first == again
    assert [run.jungfraus[0].segments for run in again.runs] == [(3,), (3,)]
    assert list((tmp_path / "cache").rglob("*.json"))


def test_event_keys_says_that_it_reads_lcls1(root: Path, program: Program) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    code, out, err = program("event_keys", "-d", f"exp={EXP}:run=7")
    assert (code, "EventKey(" in out, "LCLS-I" in err) == (2, False, True)


# -- the end of a run


@pytest.mark.parametrize("events", [0, 1, 30])
def test_without_end_run_the_last_datagram_counts(events: int, root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), events=events, ends=False))
    assert jfstore.run(f"exp={EXP}:run=7").end == (made.START + 59) * 10**9 + 123456789


def test_the_last_chunk_has_the_end(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), ends=False))
    last = made.path_of(root, EXP, 7, 0, 1)
    last.write_bytes(made.datagram(made.L1_ACCEPT, made.START + 900, bytes(2_000_000)))
    assert jfstore.run(f"exp={EXP}:run=7").end == (made.START + 900) * 10**9 + 123456789
    last.write_bytes(last.read_bytes()[:-1])  # cut, or still being written
    assert jfstore.run(f"exp={EXP}:run=7").end is None


def test_a_run_that_is_still_written_has_no_end(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), ends=False))
    assert jfstore.run(f"exp={EXP}:run=7").end is not None
    assert jfstore.runs(EXP, ends=True).runs[0].end is not None
    unfinished = path.with_name(f"{EXP}-r0007-s000-c001.xtc2.inprogress")
    unfinished.write_bytes(b"")
    assert jfstore.run(f"exp={EXP}:run=7").end is None
    assert jfstore.runs(EXP, ends=True).runs[0].end is None
    unfinished.rename(path.with_name(f"{EXP}-r0008-s000-c000.xtc2.inprogress"))
    assert jfstore.run(f"exp={EXP}:run=7").end is not None
    assert jfstore.runs(EXP, ends=True).runs[0].end is not None


def test_random_bytes_at_the_end_are_no_end(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    sound = path.read_bytes()
    for seed in range(50):
        path.write_bytes(sound + random.Random(seed).randbytes(100_000))
        end = jfstore.run(f"exp={EXP}:run=7").end
        assert end is None or end >= made.START * 10**9


def test_the_head_of_100_gb_takes_no_time(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), ends=False))
    with path.open("r+b") as file:
        file.truncate(100_000_000_000)
    begin = time.process_time()
    run = jfstore.run(f"exp={EXP}:run=7")
    took = time.process_time() - begin
    print(f"head and tail of 100 GB: {1000 * took:.1f} ms")
    assert panels_of(run) == [made.panel(1)]
    assert run.end is None
    assert took < 6


def test_reading_ids_does_not_load_numpy(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    code = f"import sys, jfstore; jfstore.run('exp={EXP}:run=7'); sys.exit('numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
