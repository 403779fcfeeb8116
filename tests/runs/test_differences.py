"""Where the old commands differ from those that came with psana: each paragraph of the man pages holds."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from jfstore.cli.programs import event_keys, find_detector_runs, jungfrau_id
from tests.conftest import ROOT
from tests.makers.xtc import (
    PAIR,
    PAIR_ID,
    Panel,
    alias_config,
    begin_run,
    configure,
    jungfrau,
    l1accept,
    phy_of,
    run_bytes,
    some_panels,
    write_run,
    xtc,
)

XTC = ROOT / "tests/data/reference/xtc"
PROGRAMS = {"jungfrau_id": jungfrau_id, "event_keys": event_keys, "find_detector_runs": find_detector_runs}
BEGIN = 1522800000
OTHER = some_panels(2, 50)
SHOWN: dict[tuple[str, str], str] = {}
"""The test of each program and heading."""

Capture = pytest.CaptureFixture[str]
Test = Callable[..., None]


def shows(program: str, heading: str) -> Callable[[Test], Test]:
    """Mark a test as the one of a paragraph; there is one for each."""

    def mark(test: Test) -> Test:
        assert (program, heading) not in SHOWN
        assert test.__name__.startswith("test_")
        SHOWN[program, heading] = test.__name__
        return test

    return mark


@pytest.fixture(autouse=True)
def tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of its own, which the test fills."""
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(capsys: Capture, command: str) -> tuple[int, str, str]:
    program, *words = shlex.split(command)
    return (PROGRAMS[program].main(words), *capsys.readouterr())


def reference(command: str) -> dict[str, Any]:
    """Return what the reference answered."""
    found: list[dict[str, Any]] = [
        answer
        for case in json.loads((XTC / "answers.json").read_text())
        for answer in case["runs"]
        if answer["command"] == command
    ]
    assert len(found) == 1
    return found[0]


def listing(command: str) -> str:
    """Return what the reference's find_detector_runs printed."""
    text = (XTC / "find_detector_runs.txt").read_text()
    return text.split(f"### {command}\n")[1].split("### ")[0]


def id_of(out: str) -> str:
    return out.splitlines()[-1].removeprefix("Jungfrau id: ")


def keys_of(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("EventKey(")]


def only_an_epix(number: int) -> bytes:
    """Return a stream of a run that has another detector and no Jungfrau."""
    epix = xtc(84, 2, 1, 20951, phy_of(22, 0, 35, 1), bytes(8))
    return configure(BEGIN - 3600, epix) + begin_run(BEGIN, number) + l1accept(BEGIN + 1)


def test_every_difference_has_its_test() -> None:
    headings = set()
    for program in PROGRAMS:
        page = (ROOT / f"man/{program}.inc").read_text()
        section = re.split(r"^\[.*\]$", page.split("[differences]\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
        found = re.findall(r"^\.B (.*)$", section, re.MULTILINE)
        assert len(found) == len(set(found)) == section.count(".TP\n") > 0
        headings |= {(program, heading) for heading in found}
    assert set(SHOWN) == headings
    assert all(name in globals() for name in SHOWN.values())
    assert len(set(SHOWN.values())) == len(SHOWN)


# ---- jungfrau_id


@shows("jungfrau_id", "standard output")
def test_id_is_on_standard_output(capsys: Capture) -> None:
    command = "jungfrau_id exp=xpptut15:run=430"
    there = reference(command)
    assert there["stdout"] == ""
    assert run(capsys, command) == (0, there["stderr"], "")


@shows("jungfrau_id", "several Jungfraus")
def test_pattern_of_several_jungfraus_is_an_error(own: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    first, second = phy_of(device_number=1), phy_of(device_number=2)
    others = [jungfrau(3, OTHER, second), alias_config([(1, second, "Jungfrau")])]
    write_run(own, "MFX", "mfxtest01", 1, run_bytes(phy=first, others=others))
    command = "jungfrau_id exp=mfxtest01:run=1"
    code, _, err = run(capsys, f"{command} Jung")
    assert code == 2
    assert err.endswith("MfxEndstation.0:Jungfrau.1, MfxEndstation.0:Jungfrau.2 (Jungfrau)\n")
    assert err.count("\n") == 1
    assert id_of(run(capsys, f"{command} MfxEndstation.0:Jungfrau.1")[1]) == PAIR_ID
    # An exact alias wins, though it is a part of both sources.
    assert run(capsys, command)[1].splitlines()[2] == "Found source: MfxEndstation.0-Jungfrau.2, number of panels: 2"
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    code, _, err = run(capsys, "jungfrau_id exp=xpptut15:run=440")
    assert code == 2
    assert "CxiDs1.0:Jungfrau.0 (jungfrau1M), CxiDs2.0:Jungfrau.0 (jungfrau05M)" in err
    there = reference("jungfrau_id exp=xpptut15:run=440")
    assert there["rc"] == 0
    assert "Found source: CxiDs1.0-Jungfrau.0," in there["stderr"]


@shows("jungfrau_id", "numbers")
def test_number_at_the_end_is_a_whole_one(own: Path, capsys: Capture) -> None:
    first, tenth = phy_of(device_number=1), phy_of(device_number=10)
    write_run(own, "MFX", "mfxtest01", 1, run_bytes(OTHER, phy=tenth, others=[jungfrau(3, PAIR, first)]))
    write_run(own, "MFX", "mfxtest01", 2, run_bytes(run=2, phy=tenth))
    code, out, err = run(capsys, "jungfrau_id exp=mfxtest01:run=1 Jungfrau.1")
    assert (code, id_of(out), err) == (0, PAIR_ID, "")
    code, out, err = run(capsys, "jungfrau_id exp=mfxtest01:run=2 Jungfrau.1")
    assert (code, err.count("\n")) == (3, 1)
    assert "Jungfrau id" not in out
    assert id_of(run(capsys, "jungfrau_id exp=mfxtest01:run=2 Jungfrau.10")[1]) == PAIR_ID


@shows("jungfrau_id", "other detectors")
@pytest.mark.parametrize("pattern", ["Epix", "epix_beamstop"])
def test_pattern_of_another_detector_is_an_error(pattern: str, capsys: Capture) -> None:
    command = f"jungfrau_id exp=xpptut15:run=430 {pattern}"
    code, out, err = run(capsys, command)
    assert code == 3
    assert f"'{pattern}' is XppEndstation.0:Epix100a.1, not a Jungfrau; it has MfxEndstation.0:Jungfrau.0" in err
    assert err.count("\n") == 1
    assert "Jungfrau id" not in out
    there = reference(command)
    assert (there["rc"], there["stderr"].splitlines()[-1]) == (0, "Jungfrau id: None")


@shows("jungfrau_id", "nothing found")
@pytest.mark.parametrize("what", ["exp=xpptut15:run=430 nosuch", "exp=mfxx99918:run=5", "exp=xpptut15:run=530"])
def test_nothing_found_is_one_line(what: str, capsys: Capture) -> None:
    code, _, err = run(capsys, f"jungfrau_id {what}")
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith("jungfrau_id: error: ")
    there = reference(f"jungfrau_id {what}")
    assert there["rc"] == 1
    assert "TRACEBACK" in there["stderr"] or "Error: " in there["stderr"]


@shows("jungfrau_id", "damaged files")
def test_damaged_file_is_named_with_the_offset(capsys: Capture) -> None:
    code, out, err = run(capsys, "jungfrau_id exp=xpptut15:run=501")
    name = "xpptut15-r0501-s00-c00.xtc"
    data = (XTC / "XPP/xpptut15/xtc" / name).read_bytes()
    offset = data.index((3 << 16 | 107).to_bytes(4, "little")) - 12  # the type is the fourth word of an object
    assert code == 4
    assert f"{name}: the Jungfrau ConfigV3 at offset {offset} has 100 bytes instead of 252\n" in err
    assert err.count("\n") == 1
    assert "Jungfrau id" not in out
    there = reference("jungfrau_id exp=xpptut15:run=501")
    assert (there["rc"], id_of(there["stderr"])) == (0, "171113-154920171025-3d00b0_171113--3d00f7")


@shows("jungfrau_id", "no arguments")
def test_no_arguments_print_the_help_only(own: Path, capsys: Capture) -> None:
    shutil.rmtree(own)
    code, out, err = run(capsys, "jungfrau_id")
    assert (code, err) == (0, "")
    assert out.startswith("usage: jungfrau_id ")
    assert "Finding" not in out
    assert run(capsys, "jungfrau_id exp=xpptut15:run=410")[0] == 1  # a run would be looked for, and the tree missed


@shows("jungfrau_id", "streams")
def test_all_streams_are_read(own: Path, capsys: Capture) -> None:
    write_run(own, "MFX", "mfxtest01", 1, only_an_epix(1))
    write_run(own, "MFX", "mfxtest01", 1, run_bytes(), stream=1)
    code, out, err = run(capsys, "jungfrau_id exp=mfxtest01:run=1")
    assert (code, id_of(out), err) == (0, PAIR_ID, "")
    low = write_run(own, "MFX", "mfxtest01", 2, run_bytes(run=2))
    high = write_run(own, "MFX", "mfxtest01", 2, run_bytes(OTHER, run=2), stream=1)
    code, out, err = run(capsys, "jungfrau_id exp=mfxtest01:run=2")
    assert (code, id_of(out)) == (0, PAIR_ID)
    disagree = f"{low} and {high} disagree on MfxEndstation.0:Jungfrau.0; the first counts"
    assert err == f"jungfrau_id: warning: {disagree}\n"


@shows("jungfrau_id", "zero")
@pytest.mark.parametrize(
    ("panel", "printed"),
    [((0, 0, 0), "0-0-0"), ((1, 0, 0xF), "1-0-f"), ((0x171100, 0x154920171020, 0), "171100-154920171020-0")],
)
def test_zero_is_printed(panel: Panel, printed: str, own: Path, capsys: Capture) -> None:
    write_run(own, "MFX", "mfxtest01", 1, run_bytes([panel]))
    code, out, err = run(capsys, "jungfrau_id exp=mfxtest01:run=1")
    assert (code, id_of(out), err) == (0, printed, "")


# ---- event_keys


@shows("event_keys", "damaged files")
@pytest.mark.parametrize("number", [492, 501])
def test_damaged_file_is_listed_and_said(number: int, capsys: Capture) -> None:
    command = f"event_keys -d exp=xpptut15:run={number} -m2 -p Jung"
    code, out, err = run(capsys, command)
    there = reference(command)
    assert (code, there["rc"]) == (4, 0)
    assert re.sub(r"[0-9.]+ sec", "T sec", out) == there["stdout"]
    assert err.startswith("event_keys: error: ")
    assert f"xpptut15-r{number:04d}-s00-c00.xtc" in err
    assert err.count("\n") == 1


@shows("event_keys", "nothing to read")
def test_no_such_run_is_one_line(capsys: Capture) -> None:
    command = "event_keys -d exp=xpptut15:run=530 -m2 -p Jung"  # has an unfinished file only
    for each in (command, "event_keys -d exp=xpptut15:run=999"):
        code, _, err = run(capsys, each)
        assert (code, err.count("\n")) == (3, 1)
        assert err.startswith("event_keys: error: no files of run ")
    there = reference(command)
    assert there["rc"] == 1
    assert "Error: " in there["stderr"]


@shows("event_keys", "several streams")
def test_configuration_of_all_streams_is_listed(own: Path, capsys: Capture) -> None:
    write_run(own, "MFX", "mfxtest01", 1, only_an_epix(1))
    write_run(own, "MFX", "mfxtest01", 1, run_bytes(phy=phy_of(device_number=7)), stream=1)
    code, out, err = run(capsys, "event_keys -d exp=mfxtest01:run=1 -m2 -p Jungfrau.7")
    source = "src='DetInfo(MfxEndstation.0:Jungfrau.7)'"
    assert (code, err) == (0, "")
    assert keys_of(out) == [f"EventKey(type=None, {source})", f"EventKey(type=psana.Jungfrau.ConfigV3, {source})"]
    lowest = run(capsys, "event_keys -d exp=mfxtest01:run=1:stream=0 -m2 -p Jungfrau.7")
    assert (lowest[0], keys_of(lowest[1])) == (0, [])


@shows("event_keys", "calibration")
def test_no_keys_of_calibration(capsys: Capture) -> None:
    assert keys_of(run(capsys, "event_keys -d exp=xpptut15:run=430 -m4")[1]) == []
    seven, three = (keys_of(run(capsys, f"event_keys -d exp=xpptut15:run=430 -m{mode}")[1]) for mode in (7, 3))
    assert seven == three != []


@shows("event_keys", "output file")
def test_output_file_must_not_exist(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "keys.txt"
    command = f"event_keys -d exp=xpptut15:run=430 -m2 -p Jung -f {file}"
    code, out, err = run(capsys, command)
    assert (code, err) == (0, "")
    assert file.read_text().splitlines() == keys_of(out) != []
    file.write_text("mine\n")
    code, out, err = run(capsys, command)
    assert (code, out) == (5, "")
    assert err == f"event_keys: error: {file} exists\n"
    assert file.read_text() == "mine\n"


# ---- find_detector_runs


@shows("find_detector_runs", "source of the answers")
def test_answers_are_those_of_the_files(own: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    files = [write_run(own, "MFX", "mfxtest01", number, run_bytes(run=number)) for number in (1, 2)]
    rows = [f"      run {number:4d}: MfxEndstation.0:Jungfrau.0" for number in (1, 2)]
    code, out, err = run(capsys, "find_detector_runs MFX")
    assert (code, err) == (0, "")
    assert out.splitlines()[-3:] == ["  mfxtest01: nruns    2", *rows]
    files[0].unlink()
    assert run(capsys, "find_detector_runs MFX")[1].splitlines()[-2:] == ["  mfxtest01: nruns    1", rows[1]]


@shows("find_detector_runs", "detectors")
def test_detectors_are_the_sources_of_the_configuration(capsys: Capture) -> None:
    def found(detector: str) -> set[str]:
        _, out, _ = run(capsys, f"find_detector_runs XPP {detector}")
        return {line.split(": ")[1] for line in out.splitlines() if line.startswith("      run ")}

    assert found("epix") == {"XppEndstation.0:Epix100a.1"}
    assert found("EVR") == {"NoDetector.0:Evr.0"}
    # What is in the events only, and an alias, are none.
    _, keys, _ = run(capsys, "event_keys -d exp=xpptut15:run=430")
    assert "src='BldInfo(GMD)'" in keys
    assert "alias='epix_beamstop'" in keys
    assert found("GMD") == found("epix_beamstop") == set()


@shows("find_detector_runs", "lower case")
def test_lower_case_instrument_works(capsys: Capture) -> None:
    code, out, err = run(capsys, "find_detector_runs mfx jungfrau")
    assert (code, err) == (0, "")
    assert "      run    8: MfxEndstation.0:Jungfrau.0\n" in out
    assert listing("find_detector_runs mfx jungfrau").endswith("TRACEBACK\n")


@shows("find_detector_runs", "damaged files")
def test_each_damaged_file_has_a_line(capsys: Capture) -> None:
    code, out, err = run(capsys, "find_detector_runs XPP")
    assert code == 4
    lines = sorted(
        re.findall(r"^find_detector_runs: error: .*/xpptut15-r0(\d+)-s00-c00\.xtc[ :].*$", err, re.MULTILINE)
    )
    assert lines == ["490", "491", "492", "496", "501"]
    assert err.count("\n") == len(lines)
    assert "      run  430: MfxEndstation.0:Jungfrau.0\n" in out


@shows("find_detector_runs", "no such instrument")
def test_no_such_instrument_is_an_error_after_the_usage(capsys: Capture) -> None:
    code, out, err = run(capsys, "find_detector_runs XXX jungfrau")
    assert (code, out) == (2, listing("find_detector_runs XXX jungfrau"))
    assert "Usage: find_detector_runs <INS> <DET>" in out
    assert err == "find_detector_runs: error: 'XXX' is not an instrument\n"
