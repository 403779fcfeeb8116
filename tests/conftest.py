"""Fixtures that several test files share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from jfstore.cli import event_keys, jungfrau_id
from jfstore.cli import main as jfstore
from tests.makers.xtc_reading import Program, soon

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def command_environment() -> dict[str, str]:
    """Environment in which ``jfstore`` is this checkout's, run by this Python, with nothing configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JFSTORE_", "XDG_"))}
    path = os.pathsep.join([str(ROOT / "bin"), str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test depends on what the machine configures."""
    for name in ("JFSTORE_TEST", "JFSTORE_REAL", "SIT_PSDM_DATA", "SIT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path_factory.getbasetemp() / "no-site-config"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "tree"
    monkeypatch.setenv("SIT_PSDM_DATA", str(root))
    return root


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Program:
    """Run a program; what comes out is exit code, output and messages."""

    def run(name: str, *words: str) -> tuple[int, str, str]:
        main = {"jungfrau_id": jungfrau_id.main, "event_keys": event_keys.main, "jfstore": jfstore.main}[name]
        with soon():
            code = main(words)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run
