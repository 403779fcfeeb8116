"""``jfstore verify``: exit code, table and JSON for sound, damaged and untidy repositories."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.app import main
from tests.makers.repositories import STAMP, A, D, flip, put, story, tree

COMMIT = "log/0000000003.json"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story(tmp_path / "R")
    monkeypatch.chdir(tmp_path)


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, "verify", "--repo", "./R", "--json", *words)
    return code, json.loads(out)


def test_a_sound_repository(capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path("R"))
    code, out, err = run(capsys, "verify", "--repo", "./R")
    assert (code, out) == (0, "state\tfile\twhat\tversions\n")
    assert err == "R is sound (4 commits, 5 versions, 4 payloads)\n"
    assert tree(Path("R")) == before


def test_every_problem_is_listed_with_file_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    shared = json.loads(run(capsys, "show", f"{D}/{STAMP}/v1", "--repo", "./R", "--json")[1])["file"]
    flip(Path(shared), 8 * 4096)
    other = sorted(set(map(str, Path("R/panels").glob("*/*.h5"))) - {shared})[0]
    Path(other).unlink()
    code, value = verified(capsys)
    assert code == 4
    found = {problem["file"]: problem["versions"] for problem in value["problems"]}
    assert set(found) == {shared.removeprefix("R/"), other.removeprefix("R/")}
    assert found[shared.removeprefix("R/")] == [f"{A}/{STAMP}/v1", f"{D}/{STAMP}/v1"]


@pytest.mark.parametrize("damage", ["flip", "remove", "empty"])
def test_a_damaged_commit(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("R", COMMIT)
    if damage == "flip":
        flip(path, 1000)
    elif damage == "remove":
        path.unlink()
    else:
        put(path, b"")
    code, out, err = run(capsys, "verify", "--repo", "./R")
    assert code == (6 if damage == "remove" else 4), "what is missing may only not be seen yet"
    assert f"problem\t{COMMIT}\t" in out
    assert f"{A}/{STAMP}/v2" in out
    assert "1 problem" in err


def test_quick_sees_sizes_not_bits(capsys: pytest.CaptureFixture[str]) -> None:
    path = next(Path("R/panels").glob("*/*.h5"))
    flip(path, 8 * 4096)
    assert verified(capsys, "--quick")[0] == 0
    put(path, path.read_bytes()[:-1])
    assert verified(capsys, "--quick")[0] == 4


def test_leftovers_are_notes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("R/log/.tmp-1-2").write_bytes(b"half")
    Path("R/panels", A, f"{STAMP}-000000000000.h5").write_bytes(b"orphan")
    Path("R/foreign.txt").write_text("foreign files are ignored")
    code, value = verified(capsys)
    assert (code, value["problems"]) == (0, [])
    assert {note["file"] for note in value["notes"]} == {"log/.tmp-1-2", f"panels/{A}/{STAMP}-000000000000.h5"}


def test_clean_removes_old_temporary_files_only(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("old", "new"):
        Path(f"R/log/.tmp-{name}").write_bytes(b"half")
    orphan = Path("R/panels", A, f"{STAMP}-000000000000.h5")
    orphan.write_bytes(b"orphan")
    day_ago = time.time() - 90000
    for path in (Path("R/log/.tmp-old"), orphan):
        os.utime(path, (day_ago, day_ago))
    code, value = verified(capsys, "--clean")
    assert (code, value["removed"]) == (0, ["log/.tmp-old"])
    assert Path("R/log/.tmp-new").exists()
    assert orphan.exists()


@pytest.mark.parametrize("damage", ["remove", "flip"])
def test_the_index_is_made_anew_from_the_log(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("R/jungfrau.h5")
    if damage == "remove":
        path.unlink()
    else:
        flip(path, 8 * (path.stat().st_size // 2))
    code, value = verified(capsys)
    assert code == 4
    assert "--rebuild-index" in value["problems"][0]["what"]
    assert verified(capsys, "--rebuild-index")[0] == 0
    assert verified(capsys)[0] == 0


def test_a_damaged_version_is_not_served_and_the_others_are(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(run(capsys, "show", f"{D}/{STAMP}/v1", "--repo", "./R", "--json")[1])
    flip(Path(value["file"]), 8 * value["arrays"]["pixel_gain"]["offset"] + 3)
    words = ["-T", STAMP, "-t", "pixel_gain", "--repo", "./R", "-f"]
    assert run(capsys, "get", D, *words, "d.npy")[0] == 4
    assert not Path("d.npy").exists()
    assert run(capsys, "get", A, *words, "a.npy")[0] == 0
