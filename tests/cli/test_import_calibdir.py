"""``jfstore import`` of a calibration directory: rows, JSON, exit codes and options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jfstore.repository.repository import Repository
from tests.makers.calibdirs import (
    EXPERIMENT,
    SOURCES,
    START,
    P,
    Q,
    calibdir_of,
    id_of,
    make_array,
    write_file,
    write_runs,
)
from tests.makers.repositories import new_repository, tree
from tests.makers.telling import rows_of, tell

Capture = pytest.CaptureFixture[str]
CALIB = f"psdm/MFX/{EXPERIMENT}/calib"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Six runs, of which psana has pedestals for the first and from the fourth on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "psdm"))
    root = Path("psdm")
    write_runs(root, {run: (START + 3600 * run, [[P, Q]]) for run in range(1, 7)})
    write_file(calibdir_of(root), SOURCES[0], "pedestals", "1-2.data", make_array(1, "pedestals", 2))
    write_file(calibdir_of(root), SOURCES[0], "pedestals", "4-end.data", make_array(2, "pedestals", 2))
    return new_repository(tmp_path / "R")


def imported(capsys: Capture, *words: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = tell(capsys, "import", CALIB, "-m", "calib", "--repo", "./R", "--json", *words)
    return code, json.loads(out)


def test_additions_and_closes_are_printed(repository: Repository, capsys: Capture) -> None:
    code, out, err = tell(capsys, "import", CALIB, "-m", "calib", "--repo", "./R")
    assert code == 0
    rows = [(row["state"], row["version"].partition("/")[2], row["source"]) for row in rows_of(out)]
    first = f"{EXPERIMENT}/{SOURCES[0]}/pedestals/1-2.data"
    second = f"{EXPERIMENT}/{SOURCES[0]}/pedestals/4-end.data"
    stamps = ("20180403180000/v1", "20180403210000/v1", "20180403200000/v1")
    assert rows[:4] == [*[("added", stamps[0], first)] * 2, *[("added", stamps[1], second)] * 2]
    assert rows[4:] == [("closed", stamps[2], "")] * 2
    assert "commit 1, 2 in the test repository" in err


def test_json_has_the_closes(repository: Repository, capsys: Capture) -> None:
    code, value = imported(capsys)
    assert (code, value["seq"], len(value["added"]), value["skipped"]) == (0, 2, 4, [])
    assert value["stated"] == [
        {
            "operation": "close",
            "seq": 2,
            "names": [f"{id_of(panel)}/20180403200000/v1" for panel in (P, Q)],
            "unchanged": [],
        }
    ]
    code, again = imported(capsys)
    assert (code, again["added"], again.get("stated"), len(again["unchanged"])) == (0, [], None, 4)


def test_a_dry_run_stores_nothing(repository: Repository, capsys: Capture) -> None:
    before = tree(Path("R"))
    code, value = imported(capsys, "--dry-run")
    assert (code, value["dry_run"], len(value["added"]), len(value["stated"][0]["names"])) == (0, True, 4, 2)
    assert tree(Path("R")) == before


def test_what_is_skipped_is_a_row_and_exit_code_1(repository: Repository, capsys: Capture) -> None:
    (Path(CALIB) / f"Jungfrau::CalibV1/{SOURCES[0]}/pedestals/5-5.data").write_text("1 2 x\n")
    code, value = imported(capsys)
    assert code == 1
    assert [skipped["name"] for skipped in value["skipped"]] == [f"{SOURCES[0]}/pedestals/5-5.data"]
    assert "'x' is not a finite number" in value["skipped"][0]["reason"]


def test_options_choose_experiment_and_source(repository: Repository, capsys: Capture) -> None:
    Path(CALIB).rename("copy")
    words = ["import", "copy", "-m", "calib", "--repo", "./R"]
    code, _, err = tell(capsys, *words)
    assert (code, "copy does not say the experiment: -e EXP" in err) == (2, True)
    assert tell(capsys, *words, "-e", EXPERIMENT, "-d", "Jungfrau.0")[0] == 0
    code, _, err = tell(capsys, *words, "-e", EXPERIMENT, "-d", "Jungfrau.1")
    assert (code, f"nearest: {SOURCES[0]}" in err) == (2, True)
    code, _, err = tell(capsys, *words, "-e", EXPERIMENT, "--kind", "gains")
    assert (code, "a calibration directory of psana, and copy is a gain tree" in err) == (2, True)


def test_show_and_history_tell_where_a_version_came_from(repository: Repository, capsys: Capture) -> None:
    imported(capsys)
    code, out, _ = tell(capsys, "show", f"{id_of(P)}/20180403180000/v1", "--repo", "./R", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["about"] == {"experiment": EXPERIMENT, "run": "1", "source": SOURCES[0], "range": "1-2"}
    assert f"{SOURCES[0]}/pedestals/1-2.data" in shown["origin"]["files"]
    code, out, _ = tell(capsys, "list", "--about", f"experiment={EXPERIMENT}", "--repo", "./R", "--json")
    assert (code, len(json.loads(out)["versions"])) == (0, 4)
