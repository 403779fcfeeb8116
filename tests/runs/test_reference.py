"""Every file, answer and listing of the reference software: what was written is read, what it prints is printed."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.app import main
from jfstore.cli.programs import event_keys, find_detector_runs, jungfrau_id
from jfstore.core.ids import PanelId
from jfstore.runs import listing
from jfstore.runs.run import Jungfrau, Run, read_run, read_runs
from jfstore.runs.tree import RunFiles
from tests.conftest import ROOT

XTC = ROOT / "tests/data/reference/xtc"
PROGRAMS = {"jungfrau_id": jungfrau_id, "event_keys": event_keys, "find_detector_runs": find_detector_runs}
Answer = dict[str, Any]
Case = dict[str, Any]

CASES: list[Case] = json.loads((XTC / "manifest.json").read_text())["cases"]
UNFINISHED = [case for case in CASES if case["case"] == "inprogress"]
BROKEN = [case for case in CASES if "expect" in case or case["configure"] is None]
GOOD = [case for case in CASES if case not in UNFINISHED + BROKEN]

ANSWERS: list[Answer] = [answer for case in json.loads((XTC / "answers.json").read_text()) for answer in case["runs"]]
IDS = [answer for answer in ANSWERS if answer["command"].startswith("jungfrau_id ")]
KEYS = [answer for answer in ANSWERS if answer["command"].startswith("event_keys ")]

# What the reference did with exit code 0 and we do otherwise: the heading in the man page, and our exit code.
DIFFERENT_IDS = {
    "jungfrau_id exp=xpptut15:run=430 Epix": ("other detectors", 3),
    "jungfrau_id exp=xpptut15:run=430 epix_beamstop": ("other detectors", 3),
    # It fits every source: there the first of them, here the one Jungfrau.
    "jungfrau_id exp=xpptut15:run=430 ''": ("other detectors", 0),
    "jungfrau_id exp=xpptut15:run=440": ("several Jungfraus", 2),
    "jungfrau_id exp=xpptut15:run=440 Jungfrau.0": ("several Jungfraus", 2),
    "jungfrau_id exp=xpptut15:run=501": ("damaged files", 4),
}
DIFFERENT_KEYS = {
    "event_keys -d exp=xpptut15:run=492 -m2 -p Jung": ("damaged files", 4),
    "event_keys -d exp=xpptut15:run=501 -m2 -p Jung": ("damaged files", 4),
}
# Its defaults, for which the reference prints its usage on standard output, too.
DEFAULTS = "jungfrau_id exp=xpptut15:run=410"
# Of this answer only the end was kept.
SHORTENED = "event_keys -d exp=xpptut15:run=460 -m3"


@pytest.fixture(autouse=True)
def tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    monkeypatch.setenv("SIT_DATA", str(XTC / "expname"))


def run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    program, *words = shlex.split(command)
    return (PROGRAMS[program].main(words), *capsys.readouterr())


def name_of(value: dict[str, Any]) -> str:
    return value["command"] if "command" in value else f"{value['case']}-{value['run']}"


def assert_one_error(program: str, err: str) -> None:
    assert err.startswith(f"{program}: error: ")
    assert (err.count("\n"), err[-1]) == (1, "\n")
    assert "Traceback" not in err


# ---- what was written into the files


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_run_is_what_was_written(case: Case, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not named:
        monkeypatch.delenv("SIT_DATA")
    (found,) = read_runs(case["dataset"] + (":smd" if case["case"] == "smalldata" else ""))
    start = case["begin_run"]
    assert (found.experiment, found.run) == (case["experiment"], case["run"] or start["env_run"])
    assert found.start == start["seconds"] * 1_000_000_000 + start["nanoseconds"]
    assert found.jungfraus == tuple(_jungfrau(written) for written in case["jungfrau"])
    assert [each.detector_id for each in found.jungfraus] == [each["detector_id"] or "" for each in case["jungfrau"]]
    ids = [[str(panel) for panel in each.panels] for each in found.jungfraus]
    assert ids == [[panel["id"] for panel in each["panels"] or []] for each in case["jungfrau"]]
    assert found.file == str(XTC / case["files"][0])
    assert (found.notes, found.problems) == ((), ())


def _jungfrau(written: dict[str, Any]) -> Jungfrau:
    panels = tuple(
        PanelId(panel["module_version"], panel["firmware_version"], panel["serial_number"])
        for panel in written["panels"] or []
    )
    words = "Normal FixedGain1 FixedGain2 ForcedGain1 ForcedGain2 HighGain0".split()
    modes = {"gain_mode": words[written["gain_mode"]], "has_high_g0": written["gain_mode"] == 5}
    places = written["source"], written["alias"], written["config_version"], written["n_panels"]
    return Jungfrau(*places, panels, **modes)


@pytest.mark.parametrize("case", [case for case in GOOD if len(case["jungfrau"]) == 1], ids=name_of)
def test_printed_id_is_what_was_written(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    (written,) = case["jungfrau"]
    code, out, err = run(f"jungfrau_id {case['dataset']}", capsys)
    assert (code, out.splitlines()[-1], err) == (0, f"Jungfrau id: {written['printed_id']}", "")


@pytest.mark.parametrize("case", BROKEN + UNFINISHED, ids=name_of)
def test_broken_file_is_one_line_that_names_it(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(f"jungfrau_id {case['dataset']}", capsys)
    assert code == (4 if case in BROKEN else 3)
    assert_one_error("jungfrau_id", err)
    assert Path(case["files"][0]).name in err
    assert "Jungfrau id:" not in out


# ---- what the commands answered


def test_answers_are_all_there() -> None:
    assert len(ANSWERS) == len(IDS) + len(KEYS) == 122
    assert [answer["command"] for answer in IDS if answer["stdout"]] == [DEFAULTS]
    whole = [answer for answer in KEYS if answer["stdout"].startswith("Command: ")]
    assert [answer["command"] for answer in KEYS if answer not in whole] == [SHORTENED]


@pytest.mark.parametrize(
    ("program", "different", "answers"),
    [("jungfrau_id", DIFFERENT_IDS, IDS), ("event_keys", DIFFERENT_KEYS, KEYS)],
    ids=["jungfrau_id", "event_keys"],
)
def test_every_difference_is_in_the_man_page_and_of_an_answer(
    program: str, different: dict[str, tuple[str, int]], answers: list[Answer]
) -> None:
    page = (ROOT / f"man/{program}.inc").read_text()
    assert {heading for heading, _ in different.values()} <= set(re.findall(r"^\.B (.*)$", page, re.MULTILINE))
    assert set(different) <= {answer["command"] for answer in answers if answer["rc"] == 0}


@pytest.mark.parametrize("answer", [answer for answer in IDS if answer["rc"] == 0], ids=name_of)
def test_jungfrau_id_answers_as_the_reference(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(answer["command"], capsys)
    if answer["command"] not in DIFFERENT_IDS:
        assert (code, out, err) == (0, answer["stderr"], "")  # there all through a logger, on standard error
        return
    _, expected = DIFFERENT_IDS[answer["command"]]
    assert code == expected
    assert out != answer["stderr"]
    assert out.splitlines()[:2] == answer["stderr"].splitlines()[:2]
    if expected:
        assert len(out.splitlines()) == 2
        assert_one_error("jungfrau_id", err)
    else:
        assert run("jungfrau_id exp=xpptut15:run=430", capsys)[1].splitlines()[2:] == out.splitlines()[2:]


@pytest.mark.parametrize("answer", [answer for answer in KEYS if answer["rc"] == 0], ids=name_of)
def test_event_keys_answers_as_the_reference(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(answer["command"], capsys)
    printed = re.sub(r"consumes [0-9]+\.[0-9]{6} sec\.", "consumes T sec.", out)
    if answer["command"] == SHORTENED:
        assert printed.endswith(answer["stdout"])
        # What was cut off are keys of the same kind, event by event.
        keys = {line for line in printed.splitlines() if line.startswith("EventKey(")}
        assert keys == {line for line in answer["stdout"].splitlines() if line.startswith("EventKey(")}
    else:
        assert printed == answer["stdout"]
    _, expected = DIFFERENT_KEYS.get(answer["command"], ("", 0))
    assert code == expected
    if expected:
        assert_one_error("event_keys", err)
        assert re.search(r"-r0(492|501)-s00-c00\.xtc.* at offset [0-9]+ ", err)
    else:
        assert err == ""


@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if answer["rc"]], ids=name_of)
def test_what_fails_in_the_reference_is_one_line(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(answer["command"], capsys)
    broken = any(f" {case['dataset']}" in answer["command"] for case in BROKEN)
    assert code == (4 if broken else 3)
    assert_one_error(answer["command"].split()[0], err)
    if answer in KEYS:
        assert out.startswith(answer["stdout"])
        assert "EventKey" not in out
    else:
        assert out.splitlines() == [
            line for line in answer["stderr"].splitlines() if line[:7] in ("_______", "Finding")
        ]


# ---- find_detector_runs


def listings() -> dict[str, str]:
    text = (XTC / "find_detector_runs.txt").read_text()
    return {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in text.split("### ")[1:]}


@pytest.mark.parametrize(
    "command",
    [
        "find_detector_runs MFX jungfrau",
        "find_detector_runs XCS jungfrau",
        "find_detector_runs MFX JUNGFRAU.1",
        "find_detector_runs",
    ],
)
def test_find_detector_runs_answers_as_the_reference(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, capsys) == (0, listings()[command], "")


def test_lower_case_instrument_lists_the_same_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("find_detector_runs mfx jungfrau", capsys)
    upper = listings()["find_detector_runs MFX jungfrau"].splitlines()
    lower = listings()["find_detector_runs mfx jungfrau"].splitlines()
    assert (code, err) == (0, "")
    assert lower[-1] == "TRACEBACK"
    assert out.splitlines() == lower[:-1] + [line for line in upper if line.startswith("  ")]


def test_unknown_instrument_gets_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("find_detector_runs XXX jungfrau", capsys)
    assert (code, out) == (2, listings()["find_detector_runs XXX jungfrau"])
    assert_one_error("find_detector_runs", err)


# ---- jfstore runs


def _rows(case: Case) -> list[list[str]]:
    start = datetime.fromtimestamp(case["begin_run"]["seconds"], UTC).strftime("%Y-%m-%dT%H:%M:%S")
    head = [case["experiment"], str(case["run"]), f"{start}.{case['begin_run']['nanoseconds']:09d}Z"]
    return [
        [
            *head,
            each["source"],
            each["alias"] or "",
            f"V{each['config_version']}",
            str(each["n_panels"]),
            each["detector_id"] or "",
        ]
        for each in case["jungfrau"]
    ] or [head + [""] * 5]


def test_runs_lists_the_good_and_names_the_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    read: list[str] = []

    def counted(files: RunFiles) -> Run:
        read.append(files.label)
        return read_run(files)

    monkeypatch.setattr(listing, "read_run", counted)
    assert main(["runs"]) == 4
    out, err = capsys.readouterr()
    table = [line.split("\t") for line in out.splitlines()]
    assert table[0] == ["experiment", "run", "begin", "source", "alias", "config", "panels", "detector"]
    assert sorted(table[1:]) == sorted(row for case in GOOD if case["case"] != "smalldata" for row in _rows(case))
    *errors, unfinished = sorted(err.splitlines(), key=lambda line: "error: " not in line)
    assert len(errors) == len(BROKEN)
    for case in BROKEN:
        assert sum(Path(case["files"][0]).name in line for line in errors) == 1
    assert unfinished == "jfstore: warning: 1 file is still being written, not listed"
    # The second time the good ones come from the cache.
    read.clear()
    assert main(["runs"]) == 4
    assert tuple(capsys.readouterr()) == (out, err)
    assert sorted(read) == sorted(case["dataset"] for case in BROKEN)
