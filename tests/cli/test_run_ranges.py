"""``jfstore runs --ranges``: the summary of experiments, runs and detectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jfstore
from jfstore.core.ids import PanelId
from jfstore.runs.records import LCLS2, Jungfrau, Run
from tests.makers.telling import tell
from tests.makers.xtc import PAIR, PAIR_ID, jungfrau, phy_of, run_bytes, some_panels, write_run

Capture = pytest.CaptureFixture[str]
MFX_0 = "MfxEndstation.0:Jungfrau.0"


def id_of(count: int, first: int) -> str:
    return "_".join(str(PanelId(*panel)) for panel in some_panels(count, first))


def table(capsys: Capture, *words: str) -> list[list[str]]:
    code, out, err = tell(capsys, "runs", *words, "--ranges")
    assert (code, err) == (0, "")
    header, *lines = [line.split("\t") for line in out.splitlines()]
    assert header == ["dataset", "runs", "source", "detector", "count"]
    return lines


def test_a_range_ends_where_the_panels_change(made: Path, capsys: Capture) -> None:
    for run in (1, 2, 5, 6, 7, 8):
        panels = PAIR if run not in (6, 7) else some_panels(1, 9)
        write_run(made, "MFX", "mfxlr1716", run, run_bytes(panels, 1500000000 + run, run))
    write_run(made, "MFX", "mfx05516", 16, run_bytes(PAIR, 1500000000, 16))
    assert table(capsys, "MFX") == [
        ["exp=mfx05516:run=16", "16", MFX_0, PAIR_ID, "1"],
        ["exp=mfxlr1716:run=5", "1-5", MFX_0, PAIR_ID, "3"],
        ["exp=mfxlr1716:run=7", "6-7", MFX_0, id_of(1, 9), "2"],
        ["exp=mfxlr1716:run=8", "8", MFX_0, PAIR_ID, "1"],
    ]


def test_configurations_without_ids_and_several_jungfraus(made: Path, capsys: Capture) -> None:
    second = phy_of(detector_number=1)
    for run in (1, 2, 3):
        version = 1 if run < 3 else 2
        others = [jungfrau(3, PAIR, second)] if run > 1 else []
        data = run_bytes(some_panels(1), 1500000000 + run, run, version=version, others=others)
        write_run(made, "MFX", "mfx00616", run, data)
    lines = table(capsys, "mfx00616")
    assert [(line[0], line[1], line[3], line[4]) for line in lines] == [
        ("exp=mfx00616:run=2", "1-2", "psana.Jungfrau.ConfigV1", "2"),
        ("exp=mfx00616:run=3", "3", "psana.Jungfrau.ConfigV2", "1"),
        ("exp=mfx00616:run=3", "2-3", PAIR_ID, "2"),
    ]
    assert len({line[2] for line in lines}) == 2


def test_json_has_the_numbers_and_panels(made: Path, capsys: Capture) -> None:
    for run in (3, 4):
        write_run(made, "XCS", "xcsls3716", run, run_bytes(PAIR, 1512519240 + run, run, alias="jungfrau1M"))
    (value,) = json.loads(tell(capsys, "runs", "xcsls3716", "--ranges", "--json")[1])
    assert (value["first"], value["last"], value["count"], value["daq"]) == (3, 4, 2, "LCLS-I")
    assert (value["panels"], value["detector"], value["alias"]) == (PAIR_ID.split("_"), PAIR_ID, "jungfrau1M")
    assert value["begin"].startswith("2017-12-06T00:14:03")


def test_a_damaged_run_is_reported_and_the_rest_is_listed(made: Path, capsys: Capture) -> None:
    for run in (1, 2, 3):
        write_run(made, "MFX", "mfxlr1716", run, b"" if run == 2 else run_bytes(PAIR, 1500000000 + run, run))
    code, out, err = tell(capsys, "runs", "MFX", "--ranges")
    assert (code, "is empty" in err) == (4, True)
    assert out.splitlines()[1].split("\t")[1::3] == ["1-3", "2"]


def test_runs_of_lcls2_are_split_where_a_segment_is_absent() -> None:
    ids = tuple(PanelId(0x8000000020000, 0x230920, 0x200040000 + number) for number in range(1, 4))

    def make(run: int, *segments: int) -> Run:
        panels = tuple(ids[segment] for segment in segments)
        found = Jungfrau("jungfrau", None, 0, len(panels), panels, segments)
        return Run("mfx101332224", run, 10**18 + run, "f.xtc2", (found,), (), daq=LCLS2)

    ranges = jfstore.run_ranges([make(5, 0, 1, 2), make(6, 0, 1, 2), make(7, 0, 2), make(8, 0, 1, 2)])
    assert [(one.dataset, one.runs, one.count) for one in ranges] == [
        ("exp=mfx101332224:run=6", "5-6", 2),
        ("exp=mfx101332224:run=7", "7", 1),
        ("exp=mfx101332224:run=8", "8", 1),
    ]
    assert ranges[1].detector == f"{ids[0]}_{ids[2]}"
    assert (ranges[0].start, ranges[0].daq, ranges[0].jungfrau.segments) == (10**18 + 5, LCLS2, (0, 1, 2))


def test_nothing_and_options_that_contradict(made: Path, capsys: Capture) -> None:
    (made / "XCS" / "xcs1" / "xtc").mkdir(parents=True)
    assert tell(capsys, "runs", "XCS", "--ranges") == (
        0,
        "dataset\truns\tsource\tdetector\tcount\n",
        "no runs with a Jungfrau\n",
    )
    for words, reason in (
        (("--ranges", "--resolve"), "leave out one"),
        (("--ranges", "-t", "pixel_gain"), "-t needs --resolve"),
        (("--panels", PAIR_ID, "exp=xcs1:run=1", "--ranges", "-m", "x"), "--ranges"),
    ):
        code, _, err = tell(capsys, "runs", *words)
        assert (code, reason in err) == (2, True), err
