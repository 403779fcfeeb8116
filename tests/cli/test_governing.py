"""``withdraw``, ``restore``, ``close``, ``tag`` and ``explain`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jfstore.cli.app import main
from tests.makers.repositories import LATER, A, B, constants, new_repository, story

STAMP = "20180306000000"
NEW = f"{A}/{STAMP}/v2"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    story(tmp_path / "R")


def run(capsys: pytest.CaptureFixture[str], *words: str, repo: str = "./R") -> tuple[int, str, str]:
    code = main([*words, "--repo", repo])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_mistake_is_explained_taken_back_and_brought_back(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (A, "-t", "pixel_gain", "-T", LATER)
    code, out, _ = run(capsys, "explain", *asked)
    assert (code, out.splitlines()[1].split("\t")[2:]) == (0, [f"{STAMP}/v2", "3", "is valid"])
    code, out, err = run(capsys, "withdraw", NEW, "-m", "wrong bias")
    assert (code, out) == (0, f"state\tname\nwithdrawn\t{NEW}\n")
    assert f"pixel_gain of {A} changes from {STAMP} on: {STAMP}/v1 in place of {STAMP}/v2" in err
    assert "commit 5 in the test repository" in err
    code, out, _ = run(capsys, "get", *asked, "--json")
    assert json.loads(out)["selections"][0]["version"] == f"{A}/{STAMP}/v1"
    assert json.loads(run(capsys, "get", *asked, "--json", "--as-of", "4")[1])["selections"][0]["version"] == NEW
    code, out, _ = run(capsys, "list", A)
    assert "(v2 withdrawn)" in out
    assert "withdrawn\tTrue" in run(capsys, "show", NEW)[1].replace("true", "True")
    assert run(capsys, "restore", NEW, "-m", "it was right")[0] == 0
    code, out, _ = run(capsys, "history")
    assert [line.split("\t")[2:6:3] for line in out.splitlines()[-2:]] == [["withdraw", NEW], ["restore", NEW]]


def test_a_closed_panel(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "close", A, "-T", "20181001000000", "-m", "broken", "--dry-run")
    assert code == 0
    assert "would change from 20181001000000 on: nothing in place of" in err
    assert "nothing was stored" in err
    assert run(capsys, "close", A, "-T", "20181001000000", "-m", "broken")[0] == 0
    code, _, err = run(capsys, "get", A, "-t", "pixel_gain", "-T", LATER)
    assert code == 3
    assert "is closed from 20181001000000 on, by commit 5, " in err
    assert err.endswith(": broken\n")
    code, out, _ = run(capsys, "explain", A, "-T", LATER, "-t", "pixel_gain")
    assert code == 3
    assert "closes the panel: nothing is valid" in out
    code, out, _ = run(capsys, "list", A)
    assert "v1 (closed)" in out
    assert run(capsys, "close", A, "-m", "when?")[0] == 2


def test_a_tag_is_an_as_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "tag", "paper", "-m", "the paper", "--as-of", "2")[0] == 0
    code, _, err = run(capsys, "get", A, "-t", "pixel_gain", "-T", LATER, "--as-of", "paper", "-f", "g.npy")
    assert (code, "as of commit 2" in err) == (0, True)
    assert run(capsys, "tag", "paper", "-m", "moved")[0] == 5
    assert run(capsys, "tag", "now", "-m", "why")[0] == 2


def test_a_real_repository_is_asked_about(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    real = new_repository(tmp_path / "real", role="real")
    real.add(A, STAMP, {"pixel_gain": constants(1)}, "one")
    name = f"{A}/{STAMP}/v1"
    code, _, err = run(capsys, "withdraw", name, "-m", "why", repo="./real")
    assert (code, "confirm with --yes" in err) == (5, True)
    assert run(capsys, "withdraw", name, "-m", "why", "--yes", repo="./real")[0] == 0


def test_panels_that_are_alike_share_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "explain", f"{A}_{B}", "-t", "pixel_gain", "-T", "20100101000000")
    assert code == 3
    assert len(out.splitlines()) == 4
    code, out, _ = run(capsys, "explain", f"{A}_{B}", "-T", "20100101000000", "--json")
    assert {row["panel"] for row in json.loads(out)} == {A, B}
