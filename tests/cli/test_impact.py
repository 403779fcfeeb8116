"""``--impact``: whom a write concerns, before it is made, and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.repository import Repository
from tests.cli.test_streams import on_terminal
from tests.makers.impact import FIRST, PANELS, SECOND, deployed_path, make_instrument
from tests.makers.repositories import constants, entry, new_repository

NEW = f"{PANELS[0]}/{SECOND}/v1"
LINES = """\
pixel_gain of {panel} would change from {second} on: {first}/v1 in place of {second}/v1
pixel_offset of {panel} would change from {second} on: {first}/v1 in place of {second}/v1
impact: 2 of 7 runs, 2 of 4 deployed files, 1 experiment in {root}: 2 become stale
"""


@pytest.fixture
def repository(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    repository = new_repository(tmp_path / "R")
    make_instrument(tree, repository)
    return repository


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([*map(str, words), "-m", "why", "--repo", "./R"])
    return (code, *capsys.readouterr())


def test_a_dry_run_says_whom_it_concerns(
    repository: Repository, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "withdraw", NEW, "--dry-run", "--impact")
    expected = LINES.format(panel=PANELS[0], first=FIRST, second=SECOND, root=tree)
    assert (code, err.startswith(expected)) == (0, True), err
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines[3:9]] == [
        f"pixel_{name} g{gain}" for name in ("gain", "offset") for gain in range(3)
    ]
    assert [line.split() for line in lines[9:11]] == [
        ["experiment", "runs", "first", "last", "files"],
        ["mfx00001", "2", "3", "4", "2"],
    ]
    assert lines[11] == "1 run with no panel Ids may be concerned, too: exp=mfx00003:run=1"
    assert lines[12].startswith("1 could not be read: ")
    assert lines[13].startswith("nothing was stored in the test repository")
    assert len(lines) == 14
    assert len(repository.history()) == 2


def test_sizes_are_printed_in_per_cent_and_adu(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("gain.npy", constants(0) * np.float32(1.008))
    np.save("offset.npy", constants(0, "pixel_offset") + np.float32(2))
    files = ("-t", "pixel_gain", "-f", "gain.npy", "-t", "pixel_offset", "-f", "offset.npy")
    code, _, err = run(capsys, "add", PANELS[0], "-T", "20180201000000", *files, "--impact", "--dry-run")
    assert code == 0
    assert "pixel_gain g0: median +0.8 %, 95 %: +0.8 to +0.8 %\n" in err
    assert "pixel_offset g2: median +2 ADU, 95 %: +2 to +2 ADU\n" in err


def test_json_has_every_run_and_file(repository: Repository, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads(run(capsys, "withdraw", NEW, "--dry-run", "--json")[1])
    assert "impact" not in before
    value = json.loads(run(capsys, "withdraw", NEW, "--json", "--impact", tree)[1])
    impact = value["impact"]
    assert value["seq"] == 3
    assert value["changes"] == before["changes"]
    assert impact["runs"][0] == {
        "dataset": "exp=mfx00001:run=3",
        "experiment": "mfx00001",
        "run": 3,
        "source": "MfxEndstation.0:Jungfrau.0",
        "begin": "2018-07-02T02:53:20.123456789Z",
        "panels": [PANELS[0]],
        "types": ["pixel_gain", "pixel_offset"],
    }
    assert impact["files"][0] == {
        "state": "becomes stale",
        "file": str(deployed_path(tree, 3)),
        "experiment": "mfx00001",
        "source": "MfxEndstation.0:Jungfrau.0",
        "type": "pixel_gain",
        "run": 3,
        "holds": [NEW, f"{PANELS[1]}/{SECOND}/v1"],
        "changes": before["changes"][:1],
        "known_by": "note",
        "repository": repository.id,
    }
    assert {key: type(impact[key]).__name__ for key in impact} == {
        "root": "str",
        "experiments": "list",
        "runs": "list",
        "files": "list",
        "sizes": "list",
        "pairs_not_compared": "int",
        "searched": "dict",
        "runs_without_panels": "list",
        "runs_without_start": "list",
        "undecided": "list",
        "problems": "list",
    }
    assert set(impact["sizes"][0]) == {"type", "gain", "pairs", "relative", "median", "low", "high", "different"}


def test_files_without_a_note_are_compared_if_that_is_asked_for(
    repository: Repository, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in tree.rglob("*.jfstore.json"):
        path.unlink()
    err = run(capsys, "withdraw", NEW, "--dry-run", "--impact")[2]
    assert "impact: 2 of 7 runs, 0 of 4 deployed files, 1 experiment in" in err
    assert "2 deployed files not decided: it has no note\n" in err
    assert "--compare" in err
    err = run(capsys, "withdraw", NEW, "--dry-run", "--impact", "--compare")[2]
    assert "2 become stale\n" in err
    assert "not decided" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--impact", "missing"], "'missing' is not a directory with instruments"),
        (["--compare"], "--compare needs --impact"),
    ],
)
def test_a_wrong_root_is_found_before_anything_is_written(
    words: list[str], message: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "withdraw", NEW, *words)
    assert (code, out, len(repository.history())) == (2, "", 2)
    assert message in err


def test_the_usual_root_that_is_missing_is_found_before_anything_is_written(
    repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "nowhere"))
    code, out, err = run(capsys, "withdraw", NEW, "--impact")
    assert (code, out, len(repository.history())) == (2, "", 2)
    assert "nowhere is not a directory" in err


def test_every_command_that_changes_answers_takes_it(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = new_repository(tmp_path / "other")
    other.add_entries([entry(PANELS[0], SECOND, 9)], "other")
    for words in (
        ["promote", NEW, "--from", "./other", "--dry-run"],
        ["withdraw", NEW],
        ["restore", NEW],
        ["close", PANELS[0], "-T", SECOND],
    ):
        code, _, err = run(capsys, *words, "--impact")
        assert (code, "impact: 2 of 7 runs" in err) == (0, True)
    code, _, err = run(capsys, "import", tmp_path, "--impact", "--dry-run")
    assert "impact: 0 of 7 runs" in err
    assert run(capsys, "tag", "paper", "--impact")[0] == 2


def test_the_question_comes_after_the_impact(tree: Path, tmp_path: Path, command_environment: dict[str, str]) -> None:
    real = new_repository(tmp_path / "real", role="real")
    make_instrument(tree, real)
    environment = {**command_environment, "SIT_PSDM_DATA": str(tree), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = ("withdraw", NEW, "-m", "why", "--repo", str(tmp_path / "real"), "--impact")
    code, written = on_terminal(environment, *words, answer=b"n\n", columns=200)
    assert code == 5
    text = written.decode()
    assert text.index("would change from") < text.index("2 become stale") < text.index("Write to the real repository")
    assert text.count("impact: 2 of 7 runs") == 1
    assert jfstore.open(str(tmp_path / "real")).version(NEW).number == 1
    assert len(real.history()) == 2
