"""``get`` and ``add`` for a run, and Ids as LCLS-II writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.makers.repositories import SHAPE, constants, new_repository
from tests.makers.telling import BEGIN, GAIN, LCLS2, MFX, STAMP, XTC, Told, rows_of, tell
from tests.makers.xtc import (
    PAIR,
    PAIR_ID,
    configure,
    jungfrau,
    run_bytes,
    write_run,
)

# ---- add and get


def add(capsys: pytest.CaptureFixture[str], *words: object, file: str = "gain.npy") -> Told:
    return tell(capsys, "add", *words, "-t", "pixel_gain", "-f", file, "--repo", "./R", "-m", "x")


def get(capsys: pytest.CaptureFixture[str], *words: object) -> Told:
    return tell(capsys, "get", *words, "-t", "pixel_gain", "--repo", "./R")


@pytest.mark.parametrize(
    "words",
    [
        ["exp=xpptut15:run=430"],
        ["exp=xpptut15:run=430", "Jungfrau.0"],
        ["exp=xpptut15:run=430", "-d", "jungfrau1M"],
        ["-e", "xpptut15", "-r", "430"],
        ["-e", "xpptut15", "-r", "430", "-d", "MfxEndstation.0:Jungfrau.0"],
        [XTC / "XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc"],
    ],
)
def test_what_is_added_for_a_run_is_got_for_it(
    words: list[object], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = add(capsys, *words)
    assert (code, [row["version"] for row in rows_of(out)]) == (0, [f"{p}/{STAMP}/v1" for p in PAIR_ID.split("_")])
    assert all("xpptut15" in row["source"] and "430" in row["source"] for row in rows_of(out))
    assert get(capsys, *words, "-f", "run.npy")[0] == 0
    assert get(capsys, PAIR_ID, "-T", STAMP, "-f", "id.npy")[0] == 0
    assert Path("run.npy").read_bytes() == Path("id.npy").read_bytes()
    assert np.load("run.npy").tobytes() == GAIN.tobytes()


def test_both_reports_name_the_run_its_begin_and_its_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, file = "exp=xpptut15:run=430", str(XTC / "XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc")
    for _, _, err in (add(capsys, dataset), get(capsys, dataset)):
        (line,) = [line for line in err.splitlines() if " started at " in line]
        for fact in ("xpptut15", "430", STAMP, file):
            assert fact in line
    code, out, _ = get(capsys, dataset, "--json")
    value = json.loads(out)
    assert (code, value["detector"], value["time"]) == (0, PAIR_ID, {"stamp": STAMP, "utc": BEGIN})
    of_run = value["run"]
    assert (of_run["experiment"], of_run["run"], of_run["begin"], of_run["file"]) == ("xpptut15", 430, BEGIN, file)


FIRST_PASS, SECOND_PASS = 1541320200, 1541323800  # 01:30 before and after the clocks went back


def test_a_run_in_the_first_pass_of_an_hour_that_comes_twice(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR, FIRST_PASS))
    code, out, _ = add(capsys, f"exp={MFX}:run=1")
    assert (code, rows_of(out)[0]["version"].split("/")[1]) == (0, "20181104013000")
    code, out, _ = get(capsys, f"exp={MFX}:run=1", "--json")
    assert (code, json.loads(out)["time"]["utc"][:19]) == (0, "2018-11-04T08:30:00")


def test_a_run_in_the_second_pass_takes_the_stamp_of_the_first(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR, SECOND_PASS))
    write_run(made, "MFX", MFX, 2, run_bytes(PAIR, FIRST_PASS - 60))
    code, out, err = add(capsys, f"exp={MFX}:run=1")
    assert (code, rows_of(out)[0]["version"].split("/")[1]) == (0, "20181104013000")
    assert "second pass of an hour that comes twice" in err
    assert "20181104013000 means the first pass, 2018-11-04T08:30:00Z" in err
    code, out, _ = get(capsys, f"exp={MFX}:run=1", "--json")
    assert (code, json.loads(out)["time"]["utc"][:19]) == (0, "2018-11-04T09:30:00")
    assert get(capsys, f"exp={MFX}:run=2")[0] == 3


def test_no_other_run_gets_constants_by_an_hour_that_comes_twice(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR, SECOND_PASS))
    write_run(made, "MFX", MFX, 2, run_bytes(PAIR, FIRST_PASS + 600))
    code, out, err = add(capsys, f"exp={MFX}:run=1")
    assert (code, out, os.listdir("R/log")) == (5, "", [])
    assert f"exp={MFX}:run=2" in err


def test_constants_begin_with_the_second_of_the_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(capsys, "exp=xpptut15:run=430")[0] == 0
    assert get(capsys, PAIR_ID, "-T", "2018-04-04T00:00:00Z")[0] == 0
    assert get(capsys, PAIR_ID, "-T", "@1522799999.999999999")[0] == 3
    (selection, _) = json.loads(get(capsys, "exp=xpptut15:run=430", "--json")[1])["selections"]
    assert selection["valid_from"] == STAMP


def test_a_run_before_the_constants_has_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(capsys, "exp=xpptut15:run=430")[0] == 0
    code, _, err = get(capsys, "exp=mfx05516:run=16", "-f", "g.npy")  # the same panels, weeks before
    assert (code, Path("g.npy").exists()) == (3, False)
    assert STAMP in err


def test_added_for_a_run_twice_is_unchanged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(capsys, "exp=xpptut15:run=430")[0] == 0
    code, out, err = add(capsys, "-e", "xpptut15", "-r", "430")
    assert (code, {row["state"] for row in rows_of(out)}) == (0, {"unchanged"})
    assert "nothing is new" in err


@pytest.mark.parametrize(
    ("words", "expected", "said"),
    [
        ([], 2, "missing"),
        ([PAIR_ID], 2, "time is missing"),
        (["-d", "jungfrau1M"], 2, "time is missing"),
        (["-e", "xpptut15"], 2, "-e and -r"),
        (["-e", "xpptut15", "-T", STAMP, PAIR_ID], 2, "-e and -r"),
        (["exp=xpptut15:run=430", "-T", STAMP], 2, f"-T {STAMP}"),
        (["-e", "xpptut15", "-r", "430", "-T", "now"], 2, "-T now"),
        (["exp=xpptut15:run=430", "a", "-d", "b"], 2, "twice"),
        (["-e", "xpptut15", "-r", "430", PAIR_ID], 2, "is superfluous"),
        ([PAIR_ID, "Jungfrau.0", "-T", STAMP], 2, "Jungfrau.0"),
        (["exp=xpptut15:run=410,430"], 2, "2 runs"),
        (["exp=xpptut15:run=440"], 2, "CxiDs2.0:Jungfrau.0 (jungfrau05M)"),
        (["xpptut15:run=430"], 2, "exp=xpptut15:run=430"),
        (["exp=mfx00616:run=1"], 3, "ConfigV1"),
        (["exp=xpptut15:run=431"], 3, "nearest: 430"),
        (["exp=xpptut15:run=430", "Epix"], 3, "not a Jungfrau"),
        (["exp=xpptut15:run=492"], 4, "offset 256"),
    ],
)
@pytest.mark.parametrize("command", [add, get])
def test_what_is_no_run_of_constants(
    command: Callable[..., Told],
    words: list[str],
    expected: int,
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = command(capsys, *words)
    assert (code, out, err.count("\n")) == (expected, "", 1)
    assert said in err
    assert os.listdir("R/log") == []


def test_without_panel_ids_what_to_pass_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = get(capsys, "exp=mfx00616:run=1")
    assert (code, err.count("\n")) == (3, 1)
    assert "get DETECTOR_ID -T TIME" in err


def test_without_a_begin_the_time_is_asked_for(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, configure(1522800000, jungfrau(3, PAIR)))
    for command in (add, get):
        code, _, err = command(capsys, f"exp={MFX}:run=1")
        assert (code, err.count("\n")) == (3, 1)
        assert "no BeginRun" in err


# ---- Ids of LCLS-II


@pytest.mark.parametrize("text", [LCLS2, f"jungfrau_{LCLS2}", LCLS2.upper()])
def test_ids_of_lcls2_everywhere(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_repository(here / "Q", role="real", shape=SHAPE)
    code, out, _ = add(capsys, text, "-T", STAMP, file="one.npy")
    assert (code, rows_of(out)[0]["version"]) == (0, f"{LCLS2}/{STAMP}/v1")
    assert get(capsys, text, "-T", STAMP, "-f", "g.npy")[0] == 0
    assert np.load("g.npy").tobytes() == constants(5).tobytes()
    code, out, _ = tell(capsys, "list", text, "--repo", "./R")
    assert (code, [row["panel"] for row in rows_of(out)]) == (0, [LCLS2])
    version = f"{text}/{STAMP}/v1"
    code, out, _ = tell(capsys, "show", version, "--repo", "./R", "--json")
    assert (code, json.loads(out)["panel"]) == (0, LCLS2)
    code, out, _ = tell(capsys, "promote", version, "--from", "./R", "--repo", "./Q", "-m", "x", "--yes")
    assert (code, rows_of(out)[0]["version"]) == (0, f"{LCLS2}/{STAMP}/v1")


def test_the_prefix_before_a_detector_of_several(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(capsys, f"jungfrau_{PAIR_ID}", "-T", STAMP)[0] == 0
    assert get(capsys, PAIR_ID, "-T", STAMP, "-f", "g.npy")[0] == 0
    assert np.load("g.npy").tobytes() == GAIN.tobytes()
