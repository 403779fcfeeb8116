"""``withdraw``, ``restore``, ``close``, ``tag`` and ``explain`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jfstore.cli.app import main
from jfstore.cli.explain import format_explanations
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
    assert (code, out.splitlines()[1].split("\t")[2:5]) == (0, [f"{STAMP}/v2", "3", "is valid"])
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


def test_an_error_names_the_command_that_explains_it(capsys: pytest.CaptureFixture[str]) -> None:
    early = "2010-01-01T00:00:00.5Z"
    code, _, err = run(capsys, "get", f"{A}_{B}", "-T", early, "--as-of", "3")
    assert (code, err.count("\n")) == (3, 1)
    words = err.partition("; jfstore explain ")[2].removesuffix(" says why\n").split()
    assert words == [A, "-T", early, "-t", "pixel_gain", "--as-of", "3", "--repo", "R"]
    assert main(["explain", *words]) == 3
    assert "later" in capsys.readouterr().out
    assert "explain" not in run(capsys, "get", "1-2-3", "-T", early)[2]
    run(capsys, "close", A, "-T", "20181001000000", "-m", "broken")
    assert "explain" not in run(capsys, "get", A, "-T", LATER)[2]
    run(capsys, "withdraw", f"{B}/{STAMP}/v1", "-m", "wrong")
    assert "jfstore explain" in run(capsys, "get", B, "-T", LATER)[2]


def test_an_explanation_of_32_panels_fits_a_terminal(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "many")
    panels = [f"171113-154920171025-3d{number:04x}" for number in range(32)]
    detector = "_".join(panels)
    for stamp, seed in ((STAMP, 1), (STAMP, 2), (LATER, 3)):
        arrays = {name: constants(seed, name)[:, None].repeat(32, axis=1) for name in ("pixel_gain", "pixel_offset")}
        repository.add(
            detector, stamp, arrays, "a message that is rather long, for it says why this was measured again"
        )
    repository.withdraw([f"{panel}/{LATER}/v1" for panel in panels], "wrong bias voltage")
    repository.add(panels[7], "20200101000000", {"pixel_gain": constants(4)}, "one of them alone")
    found = repository.explain(detector, None, LATER)
    assert len(found) == 64
    lines = format_explanations(found, 80)
    assert max(map(len, lines)) <= 80
    # 31 panels are alike for both types, and one of them for one.
    headings = [line for line in lines if not line.startswith(" ")]
    assert headings == [
        f"pixel_gain of {panels[0]} and 30 more",
        f"pixel_offset of {panels[0]} and 31 more",
        f"pixel_gain of {panels[7]}",
    ]
    assert len(lines) < 30
    text = " ".join(" ".join(lines).split())
    user = repository.summary(2).user
    assert f"20190101000000/v1 was withdrawn by commit 4, {user}: wrong bias voltage" in text
    assert f"by 20180306000000/v2, commit 2, {user}: a message that is rather long, for it says why this was" in text
    assert "20200101000000/v1 starts 365 days later" in text
    assert "20180306000000/v2 is valid until 20200101000000" in text
    assert max(map(len, format_explanations(found, 40))) <= 40
