"""The program that measures how jfstore scales writes its table and plots."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.conftest import ROOT


def test_table_and_plots_are_written(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/scaling.py"), *"--quick --sizes 3,10 --out".split()]
    subprocess.run([*command, str(tmp_path / "scaling")], stderr=subprocess.DEVNULL, check=True)
    table = (tmp_path / "scaling.md").read_text()
    for row in (
        "get of 32 panels, mapped (ratio to memcpy)",
        "get of 8 panels, cold page cache, verified and touched (ratio to preadv)",
        "add of a full panel, 10 commits stored (ratio to write + fsync)",
        "open + find, 3 versions",
        "zarr: index, 3 versions",
    ):
        assert f"\n| {row} |" in table
    for name in ("add", "add-tiny", "find", "index"):
        assert f"(scaling-{name}.svg)" in table
        plot = ET.fromstring((tmp_path / f"scaling-{name}.svg").read_text())
        assert len(plot.findall("{http://www.w3.org/2000/svg}circle")) == 2
