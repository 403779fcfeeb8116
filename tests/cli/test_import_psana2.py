"""``jfstore import psana2:NAME``: constants come from the service, once, and what is skipped is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.app import main
from tests.makers.psana2 import EXPERIMENT, PANELS, SHORT, START, Database, detector_array, serve_database
from tests.makers.repositories import new_repository, reopened

SHAPE = (3, 16, 32)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    code = main(["import", *words, "-m", "from psana2", "--repo", "./R", "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_a_detector_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = new_repository(tmp_path / "R", shape=SHAPE)
    database = Database()
    for name in ("pedestals", "pixel_rms"):
        database.deploy(detector_array(name, SHAPE, [1, 2, 3]), ctype=name)
    with serve_database(database) as served:
        code, value, _ = run(capsys, f"psana2:{SHORT}", "-t", "pedestals", "--url", served.base)
        assert (code, len(value["added"]), value["skipped"]) == (0, 3, [])
        monkeypatch.setenv("LCLS_CALIB_HTTP", served.base)
        database.deploy(detector_array("pedestals", SHAPE, [1, 2, 3]), ctype="geometry")
        for words in ((f"psana2:{SHORT}", "-e", EXPERIMENT), (f"psana2:{EXPERIMENT}/{SHORT}",)):
            code, value, _ = run(capsys, *words)
            assert code == 1
            assert [one["reason"] for one in value["skipped"]] == [
                "it says where the panels of a detector are, and is not of a panel"
            ]
            assert len(value["added"]) in (0, 3)
        assert len(reopened(repository).versions()) == 6
        code, value, _ = run(capsys, "psana2:jungfrau_000001")
        assert (code, value["error"]["kind"], value["error"]["nearest"]) == (3, "not_found", [f"cdb_{SHORT}"])
        code, value, _ = run(capsys, "gains", "--url", served.base)
        assert code == 2
    code, value, _ = run(capsys, f"psana2:{SHORT}", "--url", "http://example.org:port/")
    assert code == 2
    got = reopened(repository).get("_".join(PANELS), "pixel_rms", f"@{START}")
    assert got.tobytes() == detector_array("pixel_rms", SHAPE, [1, 2, 3]).tobytes()
