"""The house stays as it is drawn: floors, sizes, and nothing of any machine in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = sorted((ROOT / "jfstore").rglob("*.py"))


def test_imports_go_downward() -> None:
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 420
    assert not text or text.startswith('"""')


def test_no_file_carries_a_path_of_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0")[:-1] or [str(path.relative_to(ROOT)) for path in SOURCES]
    pattern = re.compile(r"/(?:work|root|home)/[a-z]|/tmp/[a-z]+[0-9/]")
    for name in names:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".cfg", ".toml", ".inc", ".cff", ""} and path.is_file():
            hits = [line for line in path.read_text(errors="replace").splitlines() if pattern.search(line)]
            assert not [line for line in hits if "jfstore-demo" not in line and "pattern" not in line], name
