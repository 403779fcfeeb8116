"""``diff`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jfstore
from jfstore.cli.app import main
from tests.makers.repositories import LATER, STAMP, A, B, C, constants, new_repository, story

V1, V2 = f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    story(tmp_path / "R")
    other = new_repository(tmp_path / "other", role="real")
    turned = {"pixel_gain": -constants(4), "pixel_offset": constants(4, "pixel_offset")}
    other.add(A, STAMP, turned, "turned", accept="sign")
    monkeypatch.setenv("JFSTORE_TEST", str(tmp_path / "R"))
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "other"))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["diff", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_two_versions(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, V1, V2, "--repo", "test")
    header, *rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert header[:7] == ["panel", "type", "gain", "different", "median", "within_95", "copy"]
    assert [row[:4] for row in rows] == [
        [A, name, str(gain), "32"] for name in ("pixel_gain", "pixel_offset") for gain in range(3)
    ]
    assert rows[0][6] == "-"
    assert rows[0][9].count(".") == 1
    assert f"compared {V1} (first) with {V2} (second)" in err
    assert "2 arrays differ, 0 equal" in err
    assert run(capsys, V1, V2, "--repo", "test", "--exit-code")[0] == 1
    assert run(capsys, V1, V1, "--repo", "test", "--exit-code")[0] == 0


def test_two_repositories(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "test", "real", "-t", "pixel_gain")
    rows = [line.split("\t") for line in out.splitlines()[1:]]
    assert (code, len(rows)) == (0, 6)
    assert rows[0][:4] + rows[0][6:7] == [A, "pixel_gain", "0", "32", "sign turned"]
    assert {row[6] for row in rows[3:]} == {"only in the first"}
    assert rows[3][0] == B
    code, out, _ = run(capsys, "./R", "./other", "--json")
    value = json.loads(out)
    assert (value["different"], value["equal"], len(value["only_first"])) == (True, 1, 3)
    (pair,) = value["pairs"]
    assert pair["relation"]["factors"] == [-1, -1, -1]
    assert pair["ranges"][0]["worst_asic"].keys() == {"row", "column", "mean"}


def test_two_answers(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, A, "-T", LATER, "--as-of", "1..3", "--repo", "test", "-t", "pixel_gain")
    assert (code, len(out.splitlines())) == (0, 4)
    assert f"{A} at {LATER} as of commit 1 (first)" in err
    code, out, _ = run(capsys, A, "-T", STAMP, "-T", LATER, "--repo", "test")
    assert (code, len(out.splitlines())) == (0, 1)
    code, out, _ = run(capsys, A, "-T", LATER, "--as-of", "1..", "--repo", "test")
    assert (code, len(out.splitlines())) == (0, 7)
    assert run(capsys, A, "-T", "20100101000000", "-T", LATER, "--repo", "test")[0] == 3


def test_a_repository_and_itself(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--as-of", "1..2", "--repo", "test")
    assert code == 0
    assert [line.split("\t")[6] for line in out.splitlines()[1:]] == ["only in the second"] * 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "what is to be compared is missing"),
        ((V1, V2, V1), "is superfluous"),
        ((V1, "real"), "real is not a version, and the other name is one"),
        ((V1, V2, "-T", LATER), "a time (-T) is for"),
        ((V1, V2, "--as-of", "1..2"), "a version never changes"),
        (("test", "real", "--repo", "test"), "--repo test is superfluous"),
        ((A, "-T", LATER), "two answers are compared"),
        ((A, "-T", LATER, "-T", LATER, "-T", LATER), "-T was given 3 times"),
        ((A, "-T", LATER, "--as-of", "..3"), "the first commit is missing"),
        ((A,), "two answers are compared"),
    ],
)
def test_wrong_words(words: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1


def test_exchanged_panels_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    repository = jfstore.open("test")
    gains = repository.get(f"{B}_{C}", "pixel_gain", LATER)
    repository.add(f"{B}_{C}", LATER, {"pixel_gain": gains[:, ::-1]}, "exchanged")
    code, out, err = run(capsys, f"{B}_{C}", "-T", STAMP, "-T", LATER, "-t", "pixel_gain", "--repo", "test")
    rows = [line.split("\t") for line in out.splitlines()[1:]]
    assert (code, {row[6] for row in rows}) == (0, {"exchanged, equal"})
    assert [row[-1] for row in rows[::3]] == [f"{C}/{STAMP}/v1", f"{B}/{STAMP}/v1"]
    assert f"pixel_gain of {B}/{LATER}/v1 is that of {C}/{STAMP}/v1: equal" in err
