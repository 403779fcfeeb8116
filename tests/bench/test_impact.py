"""A dry run with its impact on 2,000 runs and 500 deployed files, the whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.bench.conftest import milliseconds
from tests.conftest import ROOT
from tests.makers.impact import SECOND, make_many


@pytest.mark.parametrize("panels", [2, 32])
def test_impact(
    panels: int, measured: bool, record: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, files = (2000, 500) if measured else (40, 20)
    first_panel, *_ = make_many(tmp_path / "tree", tmp_path / "R", runs, files, panels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = [f"{first_panel}/{SECOND}/v1", "-m", "why", "--repo", str(tmp_path / "R"), "--dry-run", "--json"]
    command = [sys.executable, str(ROOT / "bin/jfstore"), "withdraw", *words]
    impact = ["--impact", str(tmp_path / "tree")]

    def run(*more: str) -> bytes:
        return subprocess.run([*command, *more], env=os.environ, capture_output=True, check=True).stdout

    found = json.loads(run(*impact))["impact"]
    assert (len(found["runs"]), len(found["files"])) == (runs // 2, files)
    assert {file["state"] for file in found["files"]} == {"becomes stale"}
    assert (found["searched"], found["undecided"]) == ({"runs": runs, "files": files}, [])
    (tmp_path / "cache").rename(tmp_path / "old")
    first = milliseconds(partial(run, *impact))
    rounds = 11 if measured else 1
    bare, second = (
        sorted(milliseconds(partial(run, *more)) for _ in range(rounds))[rounds // 2] for more in ([], impact)
    )
    what = f"withdraw --dry-run, {runs:,} runs and {files} deployed files of {panels} panels"
    record(what, "without --impact", bare, 1.0, "")
    record(what, "with --impact, first pass", first, first / bare, "")
    record(what, "with --impact, second pass", second, second / bare, "3,000 ms")
