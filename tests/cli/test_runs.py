"""Runs at the command line: ``id`` and ``runs``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.app import main
from jfstore.cli.programs import event_keys, find_detector_runs, jungfrau_id
from tests.makers.telling import BEGIN, COLUMNS, MFX, XTC, rows_of, tell
from tests.makers.xtc import (
    PAIR,
    PAIR_ID,
    alias_config,
    begin_run,
    configure,
    jungfrau,
    phy_of,
    run_bytes,
    some_panels,
    write_run,
)

# ---- id


def test_id_is_a_row_for_each_jungfrau(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = tell(capsys, "id", "exp=xpptut15:run=430")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split("\t") == [*COLUMNS, "end", "gain", "segments"]
    assert out.splitlines()[1].split("\t")[: len(COLUMNS)] == [
        "xpptut15",
        "430",
        BEGIN,
        "MfxEndstation.0:Jungfrau.0",
        "jungfrau1M",
        "V3",
        "2",
        PAIR_ID,
    ]
    code, out, _ = tell(capsys, "id", "exp=xpptut15:run=440")
    assert code == 0
    assert [row["source"] for row in rows_of(out)] == ["CxiDs1.0:Jungfrau.0", "CxiDs2.0:Jungfrau.0"]


@pytest.mark.parametrize(
    "words",
    [
        ["exp=xpptut15:run=440", "jungfrau05M"],
        ["exp=xpptut15:run=440", "-d", "CxiDs2"],
        ["-e", "xpptut15", "-r", "440", "-d", "CxiDs2.0:Jungfrau.0"],
        ["-e", "xpptut15", "-r", "0440", "-d", "jungfrau05M"],
    ],
)
def test_id_of_one_source(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = tell(capsys, "id", *words)
    assert code == 0
    assert [(row["source"], row["panels"]) for row in rows_of(out)] == [("CxiDs2.0:Jungfrau.0", "1")]


def test_id_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = tell(capsys, "id", "exp=xpptut15:run=430", "--json")
    assert (code, err) == (0, "")
    (value,) = json.loads(out)
    assert (value["experiment"], value["run"], value["begin"]) == ("xpptut15", 430, BEGIN)
    assert (value["source"], value["alias"]) == ("MfxEndstation.0:Jungfrau.0", "jungfrau1M")
    assert (value["config_version"], value["count"]) == (3, 2)
    assert (value["panels"], value["detector"]) == (PAIR_ID.split("_"), PAIR_ID)
    assert value["file"] == str(XTC / "XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc")


@pytest.mark.parametrize(
    ("words", "expected", "said"),
    [
        ([], 2, "dataset is missing"),
        (["-e", "xpptut15"], 2, "-e and -r belong together"),
        (["-r", "430"], 2, "-e and -r belong together"),
        (["-e", "xpptut15", "-r", "abc"], 2, "-r abc"),
        (["-e", "xpptut15", "-r", "1-3"], 2, "-r 1-3"),
        (["-e", "xpptut15", "-r", "430", "-r", "440"], 2, "given twice"),
        (["-e", "xpptut15", "-r", "430", "exp=xpptut15:run=430"], 2, "is superfluous"),
        (["exp=xpptut15:run=430", "a", "-d", "b"], 2, "given twice"),
        (["exp=xpptut15"], 2, "no run="),
        (["exp=xpptut15:run=abc"], 2, "run=abc"),
        (["xpptut15:run=430"], 2, "exp=xpptut15:run=430"),
        (["exp=xpptut15:run=440", "Jungfrau"], 2, "CxiDs1.0:Jungfrau.0 (jungfrau1M), CxiDs2.0:Jungfrau.0"),
        (["exp=xpptut15:run=431"], 3, "430"),
        (["exp=xpptut16:run=430"], 3, "xpptut15"),
        (["exp=xpptut15:run=530"], 3, "still being written"),
        (["exp=xpptut15:run=430", "Epix"], 3, "Epix100a.1, not a Jungfrau"),
        (["exp=xpptut15:run=430", "jungfrau"], 3, "MfxEndstation.0:Jungfrau.0 (jungfrau1M)"),
        (["exp=xpptut15:run=460:stream=7"], 3, "0, 1, 80"),
        (["exp=mfx00616:run=1"], 3, "no panel Ids"),
        (["nowhere.xtc"], 3, "nowhere.xtc"),
        (["exp=xpptut15:run=501"], 4, "offset 1284"),
        (["exp=xpptut15:run=491"], 4, "is empty"),
    ],
)
def test_what_id_cannot_answer(
    words: list[str], expected: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = tell(capsys, "id", *words)
    assert (code, err.count("\n")) == (expected, 1)
    assert err.startswith("jfstore: error: ")
    assert said in err


@pytest.mark.parametrize(
    ("dataset", "expected"), [("exp=xpptut15", 2), ("exp=xpptut15:run=431", 3), ("exp=xpptut15:run=501", 4)]
)
@pytest.mark.parametrize("command", ["id", "get"])
def test_failures_as_json(
    command: str, dataset: str, expected: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--repo", "./R"] if command == "get" else []
    code, out, err = tell(capsys, command, dataset, "--json", *words)
    error = json.loads(out)["error"]
    assert (code, error["code"]) == (expected, expected)
    assert error["message"] in err


def test_id_without_a_root_says_which_variable(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for root in (here / "nothing", here / "gain.npy"):
        monkeypatch.setenv("SIT_PSDM_DATA", str(root))
        for words in (["id", "exp=xpptut15:run=430"], ["runs"], ["runs", "XPP"]):
            code, out, err = tell(capsys, *words)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "SIT_PSDM_DATA" in err
            assert str(root) in err


def test_id_of_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.xtc").write_bytes(run_bytes(PAIR, run=77, alias="mine"))
    code, out, err = tell(capsys, "id", "a.xtc")
    assert (code, err) == (0, "")
    (row,) = rows_of(out)
    assert (row["experiment"], row["run"], row["alias"], row["detector"]) == ("", "77", "mine", PAIR_ID)


def test_id_of_several_runs(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (3, 1, 2):
        write_run(made, "MFX", MFX, number, run_bytes(some_panels(1, number), run=number))
    code, out, _ = tell(capsys, "id", f"exp={MFX}:run=1-3")
    assert code == 0
    assert [row["run"] for row in rows_of(out)] == ["1", "2", "3"]
    assert len({row["detector"] for row in rows_of(out)}) == 3


def test_id_serves_the_other_runs_where_one_is_broken(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        write_run(made, "MFX", MFX, number, run_bytes(run=number) if number != 2 else b"")
    code, out, err = tell(capsys, "id", f"exp={MFX}:run=1-3")
    assert (code, err.count("error: ")) == (4, 1)
    assert [row["run"] for row in rows_of(out)] == ["1", "3"]


def test_id_warns_of_streams_that_disagree_and_takes_the_lowest(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stream, panels in ((0, PAIR), (1, some_panels(2)), (80, PAIR)):
        write_run(made, "MFX", MFX, 1, run_bytes(panels), stream)
    code, out, err = tell(capsys, "id", f"exp={MFX}:run=1")
    assert (code, rows_of(out)[0]["detector"]) == (0, PAIR_ID)
    assert err.count("warning: ") == 1
    assert "s00-c00.xtc" in err
    assert "s01-c00.xtc" in err
    _, out, _ = tell(capsys, "id", f"exp={MFX}:run=1:stream=1")
    assert rows_of(out)[0]["panels"] == "2"
    assert rows_of(out)[0]["detector"] != PAIR_ID


def test_id_serves_the_other_streams_where_one_is_broken(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes()[:100])
    write_run(made, "MFX", MFX, 1, run_bytes(), 1)
    code, out, err = tell(capsys, "id", f"exp={MFX}:run=1")
    assert (code, rows_of(out)[0]["detector"]) == (4, PAIR_ID)
    assert err.count("\n") == 1
    assert "s00-c00.xtc" in err


# ---- sources


def two(made: Path, first: int, second: int) -> None:
    """Write a run with Jungfrau.`first`, which has the pair, and Jungfrau.`second`."""
    other = jungfrau(3, some_panels(1), phy_of(device_number=second))
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR, phy=phy_of(device_number=first), others=[other]))


@pytest.mark.parametrize(
    ("pattern", "panels"), [("MfxEndstation.0:Jungfrau.1", "2"), ("Jungfrau.10", "1"), (".10", "1")]
)
def test_a_source_that_begins_like_another(
    pattern: str, panels: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two(made, 1, 10)
    code, out, _ = tell(capsys, "id", f"exp={MFX}:run=1", pattern)
    assert (code, [row["panels"] for row in rows_of(out)]) == (0, [panels])


def test_an_alias_counts_before_a_part_of_a_source(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alias = alias_config([(1, phy_of(device_number=4), "Jungfrau")])
    other = jungfrau(3, some_panels(1), phy_of(device_number=4))
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR, others=[other, alias]))
    code, out, _ = tell(capsys, f"exp={MFX}:run=1", program=jungfrau_id.main)
    assert code == 0
    assert "Found source: MfxEndstation.0-Jungfrau.4, number of panels: 1" in out


def test_a_number_is_not_the_begin_of_another(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Jungfrau.1 is asked for, and only Jungfrau.10 is there.
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR, phy=phy_of(device_number=10)))
    assert tell(capsys, "id", f"exp={MFX}:run=1", "Jungfrau.1")[0] == 3


# ---- runs


def test_runs_of_an_instrument_and_of_an_experiment(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 2, run_bytes(run=2))
    write_run(made, "MFX", MFX, 10, run_bytes(some_panels(1), run=10, alias="mine"))
    write_run(made, "MFX", "mfxtest02", 1, configure(1522800000) + begin_run(1522800000, 1))
    write_run(made, "cxi", "cxitest01", 1, run_bytes())
    code, out, err = tell(capsys, "runs")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split("\t") == COLUMNS
    places = [(row["experiment"], row["run"], row["panels"]) for row in rows_of(out)]
    of_first = [(MFX, "2", "2"), (MFX, "10", "1")]
    assert places == [("cxitest01", "1", "2"), *of_first, ("mfxtest02", "1", "")]
    for place, expected in (("MFX", places[1:]), ("mfx", places[1:]), (MFX, of_first), ("CXI", places[:1])):
        code, out, _ = tell(capsys, "runs", place)
        assert (code, [(row["experiment"], row["run"], row["panels"]) for row in rows_of(out)]) == (0, expected)


def test_runs_that_are_still_written_are_counted(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 2, run_bytes(run=2)).with_suffix(".xtc.inprogress").touch()
    code, out, err = tell(capsys, "runs", MFX)
    assert (code, len(rows_of(out))) == (0, 1)
    assert "jfstore: warning: 1 file is still being written" in err


@pytest.mark.parametrize(("place", "said"), [("mfxtest02", MFX), ("MFY", "MFX"), ("mfytest01", MFX)])
def test_runs_of_what_is_not_there(place: str, said: str, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 2, run_bytes())
    code, out, err = tell(capsys, "runs", place)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert said in err.partition("nearest: ")[2]


def test_a_broken_file_is_named_and_the_rest_is_listed(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes()[:100])
    write_run(made, "MFX", MFX, 2, run_bytes(run=2))
    code, out, err = tell(capsys, "runs")
    assert (code, [row["run"] for row in rows_of(out)]) == (4, ["2"])
    assert (err.count("error: "), err.count(f"{MFX}-r0001-s00-c00.xtc")) == (1, 1)
    code, out, _ = tell(capsys, "runs", "--json")
    broken, good = json.loads(out)
    assert (code, good["run"], good["detector"]) == (4, 2, PAIR_ID)
    assert f"{MFX}-r0001-s00-c00.xtc" in broken["error"]


def test_a_file_beside_the_instruments_does_no_harm(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes())
    (made / "doc").touch()
    code, out, _ = tell(capsys, "runs")
    assert (code, len(rows_of(out))) == (0, 1)


def test_a_closed_instrument_does_not_hide_the_others(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes())
    write_run(made, "XPP", "xpptest01", 1, run_bytes())
    (made / "Doc").mkdir()
    listed = os.listdir

    def closed(path: Any = ".") -> list[str]:
        if str(path).endswith("/MFX"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", closed)
    code, out, err = tell(capsys, "runs")
    assert (code, [row["experiment"] for row in rows_of(out)]) == (1, ["xpptest01"])
    assert "MFX: Permission denied" in err


@pytest.fixture
def forbidden(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tree with two experiments, into the first of which one may not look."""
    write_run(made, "MFX", MFX, 1, run_bytes())
    write_run(made, "MFX", "mfxtest02", 2, run_bytes(run=2))
    closed = os.path.join(made, "MFX", MFX, "")
    real = os.stat

    def stat(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        if not isinstance(path, int) and os.fsdecode(path).startswith(closed):
            raise PermissionError(13, "Permission denied", os.fsdecode(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "stat", stat)
    return made


def test_an_experiment_that_is_closed_does_not_hide_the_others(
    forbidden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["MFX"]):
        code, out, err = tell(capsys, "runs", *words)
        assert code != 0
        assert [row["experiment"] for row in rows_of(out)] == ["mfxtest02"]
        assert f"{MFX}/xtc" in err


def test_find_detector_runs_goes_on_after_a_closed_experiment(
    forbidden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = tell(capsys, "MFX", program=find_detector_runs.main)
    assert code != 0
    assert "  mfxtest02: nruns    1\n      run    2: MfxEndstation.0:Jungfrau.0\n" in out
    assert f"{MFX}/xtc" in err


# ---- runs --resolve


def test_resolve_says_whether_every_panel_has_constants(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        write_run(made, "MFX", MFX, number, run_bytes(PAIR, 1522800000 + 86400 * number, number))
    add = ["add", f"exp={MFX}:run=2", "-t", "pixel_gain", "-f", "gain.npy", "--repo", "./R", "-m", "x"]
    assert tell(capsys, *add)[0] == 0
    resolve = ["--resolve", "-t", "pixel_gain", "--repo", "./R"]
    code, out, err = tell(capsys, "runs", MFX, *resolve)
    early, late = rows_of(out)
    assert list(early) == [*COLUMNS, "constants"]
    assert (code, late["constants"]) == (3, "yes")
    assert PAIR_ID.split("_")[0] in early["constants"]
    assert "1 row without constants" in err
    assert tell(capsys, "runs", MFX, "--resolve", "--repo", "./R")[0] == 3  # pixel_offset is missing
    values = json.loads(tell(capsys, "runs", MFX, *resolve, "--json")[1])
    assert [value["constants"] == "yes" for value in values] == [False, True]
    (made / "MFX" / MFX / "xtc" / f"{MFX}-r0001-s00-c00.xtc").unlink()
    code, out, err = tell(capsys, "runs", MFX, *resolve)
    assert (code, err, [row["constants"] for row in rows_of(out)]) == (0, "", ["yes"])


def test_resolve_of_what_can_have_none(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes(version=1))
    write_run(made, "MFX", MFX, 2, configure(1522800000, jungfrau(3, PAIR)))
    write_run(made, "MFX", MFX, 3, configure(1522800000) + begin_run(1522800000, 3))
    code, out, _ = tell(capsys, "runs", MFX, "--resolve", "--repo", "./R")
    assert code == 4  # the second run has just begun, or its file is cut
    assert [row["constants"] for row in rows_of(out)] == ["no panel Ids (ConfigV1)", "no start time", ""]


def test_resolve_survives_a_panel_that_comes_twice(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes(PAIR[:1] * 2))
    write_run(made, "MFX", MFX, 2, run_bytes(PAIR, run=2))
    code, out, _ = tell(capsys, "runs", MFX, "--resolve", "--repo", "./R")
    assert code == 3
    assert "twice" in rows_of(out)[0]["constants"]
    assert [row["run"] for row in rows_of(out)] == ["1", "2"]


def test_resolve_needs_a_repository_before_anything_is_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = tell(capsys, "runs", "MFX", "--resolve")
    assert (code, out) == (1, "")
    assert "JFSTORE_REAL" in err
    assert tell(capsys, "runs", "MFX", "--resolve", "--repo", "./nowhere")[:2] == (1, "")


@pytest.mark.parametrize("words", [["-t", "pixel_gain"], ["--repo", "./R"]])
def test_options_of_resolve_are_refused_without_it(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = tell(capsys, "runs", "XPP", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{words[0]} needs --resolve" in err


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["id", "gain.npy"], main),
        (["gain.npy"], jungfrau_id.main),
    ],
)
def test_a_file_that_is_not_xtc_is_called_that(
    words: list[str], program: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (Path("gain.npy").read_bytes(), b"just a line of text that is longer than a header\n"):
        Path("gain.npy").write_bytes(content)
        assert tell(capsys, *words, program=program)[0] == 2
        code, _, err = tell(capsys, *words, program=program)
        assert (code, err.count("\n")) == (2, 1)
        assert "error: gain.npy is not an XTC file (" in err


# ---- the reference's programs, where theirs is no answer to compare with


def test_jungfrau_id_of_several_runs_takes_the_first(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(made, "MFX", MFX, 1, run_bytes())
    write_run(made, "MFX", MFX, 2, b"")
    code, out, err = tell(capsys, f"exp={MFX}:run=1-2", program=jungfrau_id.main)
    assert (code, out.splitlines()[-1], err) == (0, f"Jungfrau id: {PAIR_ID}", "")


@pytest.mark.parametrize(
    "words",
    [
        ["-d", "exp=xpptut15"],
        ["-m2"],
        ["-d", "exp=xpptut15:run=430", "-n", "x"],
        ["-d", "exp=xpptut15:run=430", "-m", "8"],
        ["-d", "exp=xpptut15:run=430", "-s", "-1"],
        ["exp=xpptut15:run=430"],
    ],
)
def test_event_keys_refuses(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = tell(capsys, *words, program=event_keys.main)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_event_keys_writes_what_it_prints_and_replaces_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-d", "exp=xpptut15:run=430", "-m2", "-p", "Jung", "-f", "keys.txt"]
    code, out, _ = tell(capsys, *words, program=event_keys.main)
    lines = [line for line in out.splitlines() if line.startswith("EventKey(")]
    assert (code, Path("keys.txt").read_text().splitlines(), len(lines)) == (0, lines, 2)
    assert tell(capsys, *words, program=event_keys.main)[0] == 5
    assert len(Path("keys.txt").read_text().splitlines()) == 2
