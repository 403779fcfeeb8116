"""Fixtures that several test files share."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pluggy
import pytest
from hypothesis import settings

from jfstore.cli import app as jfstore
from jfstore.cli.programs import event_keys, jungfrau_id
from jfstore.repository import commits
from tests.makers import buckets
from tests.makers.dcs import Store
from tests.makers.deployed import make_world
from tests.makers.repositories import SHAPE, constants, new_repository
from tests.makers.telling import GAIN, XTC
from tests.makers.xtc_reading import Program, soon

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every run of CI, so that a change is judged by what it changed; everybody else tries new ones.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("JFSTORE_CI") == "1":
    settings.load_profile("ci")


@pytest.fixture
def command_environment() -> dict[str, str]:
    """Environment in which ``jfstore`` is this checkout's, run by this Python, with nothing configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JFSTORE_", "XDG_"))}
    path = os.pathsep.join([str(ROOT / "bin"), str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test depends on what the machine configures."""
    names = ["COLUMNS", "LINES", *(name for name in os.environ if name.startswith("AWS_"))]
    for name in (
        "JFSTORE_TEST",
        "JFSTORE_REAL",
        "JFSTORE_CACHE",
        "JFSTORE_CACHE_SIZE",
        "SIT_PSDM_DATA",
        "SIT_DATA",
        *names,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path_factory.getbasetemp() / "no-site-config"))


@pytest.fixture(autouse=True)
def views_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is behind on a network: what is missing need not be waited for."""
    monkeypatch.setattr(commits, "VIEW_WAIT", 0.0)


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    """Port of this machine at which a server speaks S3."""
    with buckets.served() as port:
        yield port


@pytest.fixture
def s3(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of an empty place in a bucket; what is got from there is kept in a cache of its own."""
    monkeypatch.setenv("JFSTORE_CACHE", str(tmp_path / "kept"))
    for name, value in buckets.environment_of(port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{buckets.BUCKET}/{uuid.uuid4()}"


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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an empty repository R and a cache of its own, and the reference's tree of runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    new_repository(tmp_path / "R", shape=SHAPE)
    np.save("gain.npy", GAIN)
    np.save("one.npy", constants(5)[:, np.newaxis])
    return tmp_path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Store:
    """A DCS file that is not there yet, in a working directory of its own."""
    (tmp_path / "dcs").mkdir()
    monkeypatch.chdir(tmp_path / "dcs")
    return Store(capsys)


@pytest.fixture
def deploying_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the real repository and the runs of the reference, to deploy from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    make_world(tmp_path)
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    return tmp_path


@pytest.fixture
def made(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a tree of runs that a test may fill."""
    root = here / "data"
    root.mkdir()
    monkeypatch.setenv("SIT_PSDM_DATA", str(root))
    return root


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """With JFSTORE_CI=1 everything that a test needs is installed: a test that skips has failed."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("JFSTORE_CI") == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and JFSTORE_CI is 1: {report.longrepr}"
