"""``--about KEY=VALUE``: short texts of versions on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jfstore.cli.app import main
from tests.makers.repositories import STAMP, A, constants, new_repository


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new_repository(tmp_path / "R")
    np.save("gain.npy", constants(1))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words, "--repo", "./R"])
    out, err = capsys.readouterr()
    return code, out, err


ADD = ("add", A, "-T", STAMP, "-t", "pixel_gain", "-f", "gain.npy", "-m", "first")


def test_show_prints_the_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *ADD, "--about", "dark_run=689", "--about", "formula=a=b")[0] == 0
    code, out, _ = run(capsys, "show", f"{A}/{STAMP}/v1")
    assert code == 0
    assert "about.dark_run\t689\nabout.formula\ta=b\n" in out
    value = json.loads(run(capsys, "show", f"{A}/{STAMP}/v1", "--json")[1])
    assert value["about"] == {"dark_run": "689", "formula": "a=b"}


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["dark_run"], "is not KEY=VALUE"),
        (["=689"], "'' is not a key"),
        (["dark_run="], "expected one line of text"),
        (["a=1", "a=2"], "has a key twice"),
        (["a=\x1b[31m"], "expected one line of text"),
    ],
)
def test_wrong_texts(texts: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *ADD, *(word for text in texts for word in ("--about", text)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
