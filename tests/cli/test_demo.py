"""``jfstore demo``: a complete example that a newcomer can go on with by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jfstore.cli import demo_data as data
from jfstore.cli.app import main
from jfstore.core.guard import DEMO_FILE
from tests.conftest import ROOT


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def test_constants_look_as_those_of_a_jungfrau() -> None:
    gain, offset = data.constants(44, "gain"), data.constants(44, "offset")
    for array, levels in ((gain, (41.5, -1.39, -0.11)), (offset, (0.01, 300.0, 50.0))):
        assert (array.shape, array.dtype.str) == ((3, 512, 1024), "<f4")
        assert np.isfinite(array).all()
        for plane, level in zip(array, levels, strict=True):
            assert abs(np.median(plane) / level - 1) < 0.3
            assert plane.std() > 0
    assert (gain != 0).all()


def test_the_seed_decides_the_constants() -> None:
    assert data.constants(44, "gain").tobytes() == data.constants(44, "gain").tobytes()
    assert data.constants(44, "gain").tobytes() != data.constants(68, "gain").tobytes()


def test_the_gain_tree_imports_at_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "SHAPE", (256, 512))
    monkeypatch.chdir(tmp_path)
    data.write_tree(tmp_path / "gains")
    (tmp_path / DEMO_FILE).touch()
    assert run(capsys, "init", "./R", "--role", "test", "--shape", "3x256x512")[0] == 0
    code, out, _ = run(capsys, "import", "gains", "-m", "demo", "--repo", "./R")
    assert code == 0
    assert out.count("added\t") == len(data.LINKS)


def test_a_directory_that_is_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, out, err = run(capsys, "demo", tmp_path)
    assert (code, out) == (5, "")
    assert err.startswith("jfstore: error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.full
@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_the_story_runs_twice_and_its_commands_by_hand(
    tmp_path: Path, command_environment: dict[str, str], storage: str
) -> None:
    words = [sys.executable, str(ROOT / "bin" / "jfstore"), "demo", "dir with space", "--storage", storage]
    for _ in range(2):
        done = subprocess.run(
            words, cwd=tmp_path, env=command_environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    root = tmp_path / "dir with space"
    commands = re.findall(r"^\$ jfstore (\w+)", done.stdout, re.MULTILINE)
    assert {"import", "list", "get", "add", "promote", "verify"} <= set(commands)
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 800_000_000
    exports = "\n".join(line for line in done.stdout.splitlines() if line.startswith("export "))
    assert exports.count("export JFSTORE_") == 2
    by_hand = subprocess.run(
        ["bash", "-c", f"{exports}\njfstore list"],
        env=command_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert by_hand.stdout.splitlines()[0].startswith("panel\t")
    assert by_hand.stderr == ""
