"""``jfstore history`` with filters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jfstore.cli.app import main
from tests.makers.repositories import STAMP, A, C, story


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    story(tmp_path / "R").withdraw(f"{A}/{STAMP}/v2", "wrong bias")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[int], str]:
    code = main(["history", *words, "--repo", "./R", "--json"])
    out, err = capsys.readouterr()
    return code, [commit["seq"] for commit in json.loads(out).get("commits", [])], err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("--panel 3d00fb -n 2", [3, 5]),
        (f"--panel {C} --panel {A}", [1, 2, 3, 5]),
        ("--op withdraw", [5]),
        ("--grep BIAS", [5]),
        ("--since 2018-01-01 --until 2018-12-31", []),
        ("-n 1", [5]),
        ("--user nobody-of-that-name", []),
        ("--as-of 3 -n 2", [2, 3]),
    ],
)
def test_filters(words: str, expected: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    code, found, err = run(capsys, *words.split())
    assert (code, found) == (0, expected)
    assert ("nothing matches" in err) == (not expected)


@pytest.mark.parametrize("words", ["-n 0", "-n x", "-n 1 -n 2", "--op delete", "--since yesterday", "--panel x"])
def test_bad_filters(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *words.split())[0] == 2
