"""The day of the demo in Python: it imports nothing but jfstore, and ends with the arrays of the command line."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.cli.demo_lcls2 import make_pedestals
from jfstore.cli.demo_names import COUNT
from tests.conftest import ROOT

SCRIPT = ROOT / "docs/library_demo.py"


def test_it_imports_only_jfstore_and_starts_no_process() -> None:
    tree = ast.parse(SCRIPT.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [ast.unparse(node) for node in imports] == ["import jfstore"]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called <= {"play", "print", "len", "sum"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not {name for name in used if name.startswith("_") or name in ("cli", "system", "popen", "run_path")}


def test_it_ends_with_the_arrays_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world = tmp_path / "world"
    assert main(["demo", str(world)]) == 0
    capfd.readouterr()
    monkeypatch.setenv("SIT_PSDM_DATA", str(world / "psdm"))

    def forbid(*_: object, **__: object) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr(subprocess, "Popen", forbid)
    spec = importlib.util.spec_from_file_location("library_demo", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    done: dict[str, Any] = module.play(str(world))
    for role in ("test", "real"):
        commanded, played = jfstore.open(world / role).list(), done[role].list()
        assert [(version.name, version.content) for version in played] == [
            (version.name, version.content) for version in commanded
        ]
    answer = jfstore.open(world / "real").find("exp=xcsls3716:run=631")
    assert {name: array.tobytes() for name, array in done["arrays"].items()} == {
        name: answer[name].tobytes() for name in answer.types
    }
    assert [finding.state for finding in done["audit"].findings] == ["current", "current"]
    assert [report.problems for report in done["reports"]] == [()] * 3
    assert done["mirrored"].copy.list() == done["real"].list()
    assert "subprocess" in sys.modules
    states = {name: array.tobytes() for name, array in done["states"].items()}
    right = done["arrays"]["pixel_gain"].tobytes()
    assert states["withdrawn"] == states["before"] == right
    assert states["mistaken"] == states["as of the mistake"] != right
    assert "exp=xcsls3716:run=631" in [run.label for run in done["impact"].runs]
    for run, dark in ((7, 5), (9, 8)):
        made = np.stack([make_pedestals(dark, segment) for segment in range(COUNT)], axis=1)
        assert done["pedestals"][run].shape == made.shape == (3, 32, 512, 1024)
        assert done["pedestals"][run].tobytes() == made.tobytes()
        assert np.load(world / f"pedestals-{run}.npy").tobytes() == made.tobytes()
    gains = jfstore.open(world / "test").get("exp=mfx101332224:run=20", "pixel_gain")
    assert gains.shape == (3, 32, 512, 1024)
    assert all(one.missing is None for one in jfstore.runs_with_constants("mfx101332224", done["test"]).constants)
    done["real"].restore(done["wrong"], "the stamp was right")
    assert done["real"].get("exp=xcsls3716:run=631", "pixel_gain").tobytes() == states["mistaken"]
    assert [commit.op for commit in done["real"].history(last=3)] == ["add", "withdraw", "restore"]
