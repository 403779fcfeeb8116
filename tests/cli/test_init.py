"""``jfstore init``: what it makes, says and refuses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import jfstore
from jfstore.cli.app import main
from tests.conftest import ROOT
from tests.makers.repositories import entry, new_repository, tree


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def test_makes_a_repository_of_the_asked_role_shape_zone_and_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--role", "test", "--shape", "1x2x3", "--zone", "UTC", "--detector", "epix100a"]
    code, out, _ = run(capsys, "init", tmp_path / "R", *words, "--json")
    value = json.loads(out)
    assert code == 0
    assert (value["role"], value["panel_shape"], value["zone"], value["detector"]) == (
        "test",
        [1, 2, 3],
        "UTC",
        "epix100a",
    )
    assert (tmp_path / "R" / "epix100a.h5").is_file()
    assert value["id"] in (tmp_path / "R" / "repository.json").read_text()


def test_defaults_are_full_size_panels_and_the_zone_of_lcls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(run(capsys, "init", tmp_path / "R", "--role", "real", "--json")[1])
    assert (value["role"], value["panel_shape"], value["zone"]) == ("real", [3, 512, 1024], "America/Los_Angeles")


def test_two_repositories_have_two_identities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [json.loads(run(capsys, "init", tmp_path / name, "--role", "test", "--json")[1])["id"] for name in "RS"]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("role", ["test", "real"])
def test_a_configured_name_gives_place_and_role(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"JFSTORE_{role.upper()}", str(tmp_path / "here"))
    assert run(capsys, "init", role)[0] == 0
    assert jfstore.open(str(tmp_path / "here")).identity.role == role


def test_a_bare_word_is_a_directory_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "init", "R", "--role", "test")[0] == 0
    assert (tmp_path / "R" / "repository.json").is_file()


def test_a_directory_with_foreign_files_may_become_one_and_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jungfrau-171113-154920171025-3d00fb.h5").write_bytes(b"foreign")
    assert run(capsys, "init", tmp_path, "--role", "real")[0] == 0
    assert (tmp_path / "jungfrau-171113-154920171025-3d00fb.h5").read_bytes() == b"foreign"
    assert run(capsys, "verify", "--repo", tmp_path)[0] == 0


def test_a_repository_is_never_made_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "init", tmp_path / "R", "--role", "test")[0] == 0
    before = tree(tmp_path / "R" / "log"), (tmp_path / "R" / "repository.json").read_bytes()
    code, out, err = run(capsys, "init", tmp_path / "R", "--role", "real")
    assert (code, out) == (5, "")
    assert "is a repository already" in err
    assert before == (tree(tmp_path / "R" / "log"), (tmp_path / "R" / "repository.json").read_bytes())


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_rights_do_not_depend_on_the_umask(umask: int, tmp_path: Path, command_environment: dict[str, str]) -> None:
    words = [sys.executable, str(ROOT / "bin" / "jfstore"), "init", str(tmp_path / "R"), "--role", "test"]
    subprocess.run(words, env=command_environment, umask=umask, stdout=subprocess.DEVNULL, check=True)
    modes = {name: stat.S_IMODE(os.stat(tmp_path / "R" / name).st_mode) for name in (".", "log", "panels")}
    assert modes == {".": 0o2775, "log": 0o3775, "panels": 0o3775}
    assert stat.S_IMODE(os.stat(tmp_path / "R" / "repository.json").st_mode) == 0o444


def test_a_foreign_file_in_the_place_of_the_index_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "F"
    place.mkdir()
    (place / "jungfrau.h5").write_text("precious")
    assert main(["init", str(place), "--role", "test"]) == 5
    assert "in the way" in capsys.readouterr().err
    assert [path.name for path in place.iterdir()] == ["jungfrau.h5"]
    assert (place / "jungfrau.h5").read_text() == "precious"


def test_a_log_without_identity_is_not_made_another_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_repository(tmp_path / "R").add_entries([entry("1-2-3", "20180306000000", seed=1)], "one")
    (tmp_path / "R" / "repository.json").unlink()
    for words in (["init", str(tmp_path / "R"), "--role", "test"], ["history", "--repo", str(tmp_path / "R")]):
        assert main(words) == 5
        assert "from a copy" in capsys.readouterr().err
