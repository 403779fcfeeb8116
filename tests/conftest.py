"""Fixtures that several test files share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

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
