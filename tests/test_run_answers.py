"""Runs as the reference software has them: what was written into its files, and what its commands print of them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli import event_keys, find_detector_runs, jungfrau_id
from jfstore.cli.main import main
from jfstore.dataset import parse_dataset
from jfstore.runs.run import read_runs
from tests.conftest import ROOT

XTC = ROOT / "tests/data/reference/xtc"
CASES = json.loads((XTC / "manifest.json").read_text())["cases"]
ANSWERS = [run for case in json.loads((XTC / "answers.json").read_text()) for run in case["runs"]]
BROKEN = {"truncated-in-configure", "empty", "extent-zero", "dgram-extent-huge", "v3-short-payload"}
GOOD = [case for case in CASES if case["case"] not in BROKEN | {"inprogress"}]

# Answers with exit code 0 that differ, with the paragraph of the man page that says so, and what we exit with.
DIFFERENT = {
    "jungfrau_id exp=xpptut15:run=430 Epix": ("other detectors", 3),
    "jungfrau_id exp=xpptut15:run=430 epix_beamstop": ("other detectors", 3),
    "jungfrau_id exp=xpptut15:run=440": ("several Jungfraus", 2),
    "jungfrau_id exp=xpptut15:run=440 Jungfrau.0": ("several Jungfraus", 2),
    "jungfrau_id exp=xpptut15:run=501": ("damaged files", 4),
    "event_keys -d exp=xpptut15:run=492 -m2 -p Jung": ("damaged files", 4),
    "event_keys -d exp=xpptut15:run=501 -m2 -p Jung": ("damaged files", 4),
}
PROGRAMS = {"jungfrau_id": jungfrau_id, "event_keys": event_keys, "find_detector_runs": find_detector_runs}


@pytest.fixture(autouse=True)
def tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    monkeypatch.setenv("SIT_DATA", str(XTC / "expname"))


def run_words(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    program, *words = shlex.split(command.replace("(", "'('").replace(")", "')'"))
    return (PROGRAMS[program].main(words), *capsys.readouterr())


def dataset_of(case: dict[str, Any]) -> str:
    return case["dataset"] + (":smd" if case["case"] == "smalldata" else "")


@pytest.mark.parametrize("named", [True, False], ids=["named", "no database"])
@pytest.mark.parametrize("case", GOOD, ids=lambda case: f"{case['case']}-{case['run']}")
def test_a_run_is_what_was_written(case: dict[str, Any], named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not named:
        monkeypatch.delenv("SIT_DATA")
    (run,) = read_runs(parse_dataset(dataset_of(case)))
    begin = case["begin_run"]
    assert (run.experiment, run.run) == (case["experiment"], case["run"])
    assert run.begin == begin["seconds"] * 10**9 + begin["nanoseconds"]
    assert (run.notes, run.problems) == ((), ())
    assert run.file == str(XTC / case["files"][0])
    assert len(run.jungfraus) == len(case["jungfrau"])
    for found, written in zip(run.jungfraus, case["jungfrau"], strict=True):
        assert (found.source, found.alias) == (written["source"], written["alias"])
        assert (found.version, found.count) == (written["config_version"], written["n_panels"])
        assert (found.detector_id or None) == written["detector_id"]
        panels = [(p["module_version"], p["firmware_version"], p["serial_number"]) for p in written["panels"] or []]
        assert [(p.module, p.firmware, p.serial) for p in found.panels] == panels


@pytest.mark.parametrize("case", [case for case in CASES if case not in GOOD], ids=lambda case: case["case"])
def test_a_broken_file_is_one_line(case: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_words(f"jungfrau_id {case['dataset']}", capsys)
    assert code == (3 if case["case"] == "inprogress" else 4)
    assert err.startswith("jungfrau_id: error: ")
    assert err.count("\n") == 1
    assert Path(case["files"][0]).name in err
    assert "Jungfrau id" not in out


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a["command"].startswith("jungfrau_id") and not a["rc"]],
                         ids=lambda answer: answer["command"])  # fmt: skip
def test_jungfrau_id_prints_what_the_reference_prints(
    answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_words(answer["command"], capsys)
    if answer["command"] in DIFFERENT:
        heading, expected = DIFFERENT[answer["command"]]
        assert f".B {heading}\n" in (ROOT / "man/jungfrau_id.inc").read_text()
        assert (code, out) != (0, answer["stderr"])
        assert code == expected
        assert err.count("\n") == 1
    elif answer["command"].endswith(" ''"):
        # There the first detector of all; here the one Jungfrau of the run.
        assert (code, out.splitlines()[-1]) == (0, jungfrau_line("exp=xpptut15:run=430"))
    else:
        # There through a logger, on standard error.
        assert (code, out, err) == (0, answer["stderr"], "")


def jungfrau_line(dataset: str) -> str:
    (case,) = [case for case in CASES if dataset_of(case) == dataset and case["case"] != "smalldata"]
    return f"Jungfrau id: {case['jungfrau'][0]['detector_id']}"


def without_time(text: str) -> str:
    return re.sub(r"consumes [0-9.]+ sec", "consumes T sec", text)


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a["command"].startswith("event_keys") and not a["rc"]],
                         ids=lambda answer: answer["command"])  # fmt: skip
def test_event_keys_prints_what_the_reference_prints(
    answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_words(answer["command"], capsys)
    # Of a long answer only the end was kept.
    assert without_time(out).endswith(answer["stdout"])
    if answer["stdout"].startswith("Command"):
        assert without_time(out) == answer["stdout"]
    heading, expected = DIFFERENT.get(answer["command"], ("", 0))
    assert f".B {heading}\n" in (ROOT / "man/event_keys.inc").read_text() or not heading
    assert (code, bool(err)) == (expected, bool(expected))


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a["rc"]], ids=lambda answer: answer["command"])
def test_what_the_reference_fails_at_is_one_line(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_words(answer["command"], capsys)
    assert code in (3, 4)
    assert err.count("\n") == 1
    assert "error: " in err


def test_every_difference_is_one_of_an_answer() -> None:
    assert set(DIFFERENT) <= {answer["command"] for answer in ANSWERS if not answer["rc"]}


def sections() -> dict[str, str]:
    text = (XTC / "find_detector_runs.txt").read_text()
    found = re.findall(r"^### (find_detector_runs.*?)\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    return {command.strip(): body for command, body in found}


@pytest.mark.parametrize("command", [
    "find_detector_runs MFX jungfrau", "find_detector_runs XCS jungfrau", "find_detector_runs MFX JUNGFRAU.1",
    "find_detector_runs",
])  # fmt: skip
def test_find_detector_runs_prints_what_the_reference_prints(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_words(command, capsys) == (0, sections()[command], "")


def test_an_instrument_in_lower_case_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    _, upper, _ = run_words("find_detector_runs MFX jungfrau", capsys)
    code, lower, err = run_words("find_detector_runs mfx jungfrau", capsys)
    assert (code, err) == (0, "")
    assert [line for line in lower.splitlines() if line.startswith("  ")] == [
        line for line in upper.splitlines() if line.startswith("  ")
    ]


def test_an_instrument_that_is_none_gets_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_words("find_detector_runs XXX jungfrau", capsys)
    assert (code, out) == (2, sections()["find_detector_runs XXX jungfrau"])
    assert err.count("\n") == 1


def test_a_broken_file_is_named_by_find_detector_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_words("find_detector_runs XPP jungfrau", capsys)
    assert code == 4
    assert err.count("error: ") == len(BROKEN)
    assert "      run  430: MfxEndstation.0:Jungfrau.0\n" in out


def test_runs_lists_every_good_run_and_names_every_broken_file(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for _ in range(2):
        code = main(["runs"])
        out, err = capsys.readouterr()
        assert code == 4
        outputs.append((out, err))
    assert outputs[0] == outputs[1]
    rows = [line.split("\t") for line in outputs[0][0].splitlines()[1:]]
    listed = {(row[0], row[1], row[3], row[7]) for row in rows}
    for case in GOOD:
        for jungfrau in case["jungfrau"] or [{"source": "", "detector_id": ""}]:
            row = (case["experiment"], str(case["run"]), jungfrau["source"], jungfrau["detector_id"] or "")
            assert row in listed
    assert outputs[0][1].count("error: ") == len(BROKEN)
    for case in CASES:
        if case["case"] in BROKEN:
            assert Path(case["files"][0]).name in outputs[0][1]
