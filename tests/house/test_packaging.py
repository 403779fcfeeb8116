"""What is built from a checkout: a source archive and a wheel with the programs, man pages and type marker."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from jfstore import __version__
from tests.conftest import ROOT

PROGRAMS = ("jfstore", "jungfrau_id", "event_keys", "find_detector_runs", "jungfrau_gain_constants", "dcs")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a source archive, and of the wheel that is built from it."""
    place = tmp_path_factory.mktemp("dist")
    source = place / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = [name for name in listed.split("\0") if name and not name.startswith("tests/data")]
    if not names:
        pytest.skip("needs a git checkout")
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--outdir", place, source], check=True, capture_output=True)
    return place


def test_the_source_archive_has_all_that_a_build_needs(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "README.md", "bin/jfstore", "man/jfstore.inc"} <= names
    assert "tests/house/test_packaging.py" in names


def test_the_wheel_has_man_pages_and_the_type_marker(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "jfstore/py.typed" in names
    assert not [name for name in names if name.startswith("tests/")]
    for program in PROGRAMS:
        assert [name for name in names if name.endswith(f"share/man/man1/{program}.1")], program


def test_the_installed_programs_run(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    # After its own packages the environment sees those of this one: jfstore's dependencies.
    (packages,) = venv.glob("lib/python3*/site-packages")
    (packages / "other.pth").write_text(sysconfig.get_path("purelib"))
    words: list[str | Path] = [
        venv / "bin/python",
        "-m",
        "pip",
        "install",
        "-q",
        "--ignore-installed",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(words, check=True, capture_output=True)
    for program in PROGRAMS:
        done = subprocess.run([venv / "bin" / program, "--version"], capture_output=True, text=True, check=True)
        assert __version__ in done.stdout
        assert (venv / f"share/man/man1/{program}.1").is_file()
