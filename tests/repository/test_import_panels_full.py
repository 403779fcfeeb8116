"""The import of a panel repository at full size: its speed beside that of parsing alone, and its memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jfstore
from jfstore.formats.text import parse_text
from tests.conftest import ROOT
from tests.makers.panel_repository import DARK_TYPES, FIRST, FORMATS, IDS, Dark, link_dark, make_panel_repository

SHAPE = (3, 512, 1024)
MEMORY = 1 << 30
SPEED = 0.7
"""Of the speed of parsing the text alone."""
LINKED = 48
"""Further dark runs whose names lead to the texts of the first."""


def _parse_all(root: Path) -> tuple[float, int]:
    """Parse all text and throw it away; return the seconds and the bytes."""
    start, total = time.perf_counter(), 0
    for path in sorted(root.rglob("*.data")):
        raw = path.read_bytes()
        total += len(raw)
        parse_text(raw, path.name, "uint64" if path.parent.name in FORMATS else None)
    return time.perf_counter() - start, total


def _peak() -> int:
    """Return the most memory that this process has had, in bytes; getrusage would count that of its parent."""
    found = re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def measure(top: Path, panels: int) -> dict[str, float]:
    """Import a panel repository between two passes of parsing alone, then with linked dark runs; return the costs."""
    root = top / "repository"
    before, total = _parse_all(root)
    start = time.perf_counter()
    added = jfstore.init(str(top / "R"), "test", panel_shape=SHAPE).import_panel_repository(root, "dark runs")
    importing = time.perf_counter() - start
    assert (len(added.versions), added.skipped) == (2 * panels, ())
    after, _ = _parse_all(root)
    fresh = jfstore.init(str(top / "S"), "test", panel_shape=SHAPE)
    for segment, panel in enumerate(IDS[:panels]):
        for day in range(LINKED):
            copy = Dark(f"2025{3 + day // 24:02d}{1 + day % 24:02d}000000", run=100 + day)
            for name in DARK_TYPES:
                link_dark(root, panel, name, FIRST, copy, segment, hard=bool(day % 2))
    start = time.perf_counter()
    added = fresh.import_panel_repository(root, "dark runs")
    together = time.perf_counter() - start
    assert (len(added.versions), added.skipped) == (panels * (2 + LINKED), ())
    assert len({version.file.path for version in added.versions}) == 2 * panels
    return {
        "bytes": total,
        "parsing": (before + after) / 2,
        "importing": importing,
        "together": together,
        "memory": _peak(),
    }


@pytest.mark.full
@pytest.mark.parametrize("panels", [4, 32])
def test_an_import_is_as_fast_as_its_parser_and_needs_little_memory(tmp_path: Path, panels: int) -> None:
    make_panel_repository(tmp_path / "repository", SHAPE, dict(enumerate(IDS[:panels])))
    # A process of its own, whose memory is that of the import.
    code = "import json, sys, pathlib; from tests.repository.test_import_panels_full import measure"
    command = [sys.executable, "-c", f"{code}; print(json.dumps(measure(pathlib.Path(sys.argv[1]), {panels})))"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, env=environment, check=True)
    took = json.loads(done.stdout)
    speed = took["parsing"] / took["importing"]
    print(f"\n{panels} panels, 2 dark runs, {took['bytes'] / 1e9:.2f} GB of text: {speed:.2f} of the speed of parsing")
    print(f"(parsing {took['parsing']:.1f} s, importing {took['importing']:.1f} s); with {LINKED} linked dark runs")
    print(f"in one commit {took['together']:.1f} s; {took['memory'] / 1e6:.0f} MB of memory")
    assert took["memory"] < MEMORY
    assert speed >= SPEED
