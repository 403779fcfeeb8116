"""What kind of source a path is, and which options its import takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.app import main
from jfstore.errors import BadValue
from jfstore.repository.importing import KINDS, check_options, find_kind, identify_source, import_source
from jfstore.repository.repository import Repository
from tests.makers.gains import LINKS, make_gain_tree
from tests.makers.repositories import SHAPE, new_repository

PANEL = "171113-154920171025-3d00fb"


def make(root: Path, *names: str) -> Path:
    """Make empty files, and the directories above them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("gains", [f"{PANEL}-20180306000000/g0_gain.npy", "M044/g0_gain.npy"]),
        ("gains", [f"{PANEL}/g0_gain.npy"]),
        ("gains", ["jungfrau/M044/g0_gain.npy"]),
        ("gains", [f"{PANEL}/pedestals"]),
        ("calibdir", ["Jungfrau::CalibV1/MfxEndstation.0:Jungfrau.0/pedestals/1-end.data"]),
        ("panels", ["8000000020000-230920-20004002c/pedestals/x.data", "merge_tmp/x.txt"]),
        ("panels", ["jungfrau/8000000020000-230920-20004002c/pixel_status/x.data", "jungfrau/logs/2026/x.txt"]),
        ("psi", ["gainMaps_M022.bin", "readme"]),
    ],
)
def test_a_directory_is_told_by_its_names(tmp_path: Path, kind: str, names: list[str]) -> None:
    assert identify_source(make(tmp_path, *names)).name == kind


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("psi", "gainMaps_M022.bin"),
        ("psi", "gainMaps_M022_2020-01-31.bin"),
        ("swissfel", "gains.h5"),
        ("swissfel", "run_000017.JF07T32V01.res.h5"),
        ("dcs", f"jungfrau-{PANEL}.h5"),
        ("dcs", "anything"),
    ],
)
def test_a_file_is_told_by_its_name(tmp_path: Path, kind: str, name: str) -> None:
    assert identify_source(make(tmp_path, name) / name).name == kind


def test_a_detector_of_psana2_needs_no_file() -> None:
    assert identify_source("psana2:jungfrau_000003").name == "psana2"


def test_an_empty_directory_is_a_gain_tree(tmp_path: Path) -> None:
    assert identify_source(tmp_path).name == "gains"


@pytest.mark.parametrize("path", ["nothing", "a\0b", ""])
def test_a_path_must_exist(path: str) -> None:
    with pytest.raises(BadValue, match="no such file or directory"):
        identify_source(path)


def test_an_unreadable_directory_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, f"{PANEL}/g0_gain.npy", "8000000020000-230920-20004002c/pedestals/x.data")
    scandir = os.scandir

    def forbid(directory: str) -> Any:
        if directory.endswith(PANEL):
            raise PermissionError(13, "Permission denied", directory)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", forbid)
    assert identify_source(tmp_path).name == "panels"


def test_names_and_options_are_those_of_the_methods() -> None:
    assert list(KINDS) == [kind.name for kind in KINDS.values()]
    for kind in KINDS.values():
        if kind.method:
            method = getattr(Repository, kind.method)
            assert {*kind.options, "dry_run", "progress", "about", "accept", "request"} <= {*method.__kwdefaults__}, (
                kind.name
            )


def test_a_kind_can_be_given(tmp_path: Path) -> None:
    make(tmp_path, "Jungfrau::CalibV1/x/y", "M044/g0_gain.npy")
    assert find_kind(tmp_path, "gains").method == "import_gains"
    with pytest.raises(BadValue, match="'tree' is not a kind of source: expected psana2, calibdir"):
        find_kind(tmp_path, "tree")


def test_an_option_of_another_kind_is_refused() -> None:
    with pytest.raises(BadValue, match="--recover is for a DCS file, and x is a gain tree"):
        check_options(KINDS["gains"], "x", {"recover": "--recover"})
    check_options(KINDS["dcs"], "x", {"recover": "--recover"})


def test_import_source_takes_every_kind(tmp_path: Path) -> None:
    make_gain_tree(tmp_path / "gains", shape=SHAPE)
    repository = new_repository(tmp_path / "R")
    assert len(import_source(repository, tmp_path / "gains", "legacy").versions) == len(LINKS)
    assert import_source(repository, tmp_path / "gains", "legacy", kind="gains").versions == ()


def test_the_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    listed = text.partition("if names do not tell: ")[2].partition("--")[0]
    assert [name for name in KINDS if name not in listed] == []
