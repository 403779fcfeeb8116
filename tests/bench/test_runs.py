"""Reading one run against reading its bytes; a tree of 2,000 runs for the first and the second time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jfstore.runs.listing import read_all
from jfstore.runs.run import read_runs
from jfstore.runs.tree import Tree
from tests.bench.conftest import milliseconds
from tests.conftest import ROOT
from tests.makers.xtc import many_runs

XTC = ROOT / "tests/data/reference/xtc"


def test_one_run(compare: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    path = XTC / "XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc"

    def bare() -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def by_path() -> None:
        read_runs(str(path))

    def by_name() -> None:
        read_runs("exp=xpptut15:run=430")

    compare(
        "a run of 2.5 kB", {"open().read()": bare, "by its path": by_path, "by exp and run": by_name}, {}, rounds=201
    )


def test_a_run_of_100_gb(compare: Callable[..., None], tmp_path: Path) -> None:
    small, large = tmp_path / "small.xtc", tmp_path / "large.xtc"
    shutil.copyfile(XTC / "XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc", small)
    shutil.copyfile(small, large)
    with open(large, "r+b") as file:
        file.truncate(100 << 30)
    works = {name: lambda path=path: read_runs(str(path)) for name, path in (("2.5 kB", small), ("100 GB", large))}
    compare("id of a file of 100 GB", works, {"100 GB": "about 1"}, rounds=201)


def test_tree(measured: bool, record: Callable[..., None], tmp_path: Path) -> None:
    experiments, runs = (20, 100) if measured else (2, 3)
    many_runs(tmp_path, experiments, runs)
    tree = Tree(tmp_path)

    def bare() -> None:
        assert len([path.read_bytes() for path in tmp_path.rglob("*.xtc")]) == experiments * runs

    def listed() -> None:
        found = [each for experiment in tree.experiments("MFX") for each in read_all(experiment, tree.runs(experiment))]
        assert len(found) == experiments * runs
        assert not any(errors for _, errors in found)

    bytes_read = milliseconds(bare)
    first = milliseconds(listed)
    second = sorted(milliseconds(listed) for _ in range(5))[2]
    what = f"a tree of {experiments * runs:,} runs"
    record(what, "reading all bytes", bytes_read, 1.0, "")
    record(what, "first pass", first, first / bytes_read, "")
    record(what, "second pass", second, second / bytes_read, "")


def test_start_up(measured: bool, record: Callable[..., None]) -> None:
    path = XTC / "XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc"
    for program, words in (("jfstore", ["id"]), ("jungfrau_id", [])):
        command = [sys.executable, str(ROOT / "bin" / program), *words, str(path)]
        times = sorted(
            milliseconds(partial(subprocess.run, command, stdout=subprocess.DEVNULL, check=True))
            for _ in range(11 if measured else 1)
        )
        record("the whole process", " ".join([program, *words]), times[len(times) // 2], None, "")
