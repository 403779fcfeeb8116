"""``jfstore import``: a legacy tree goes in as one commit; what is not understood is said and skipped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.app import main
from jfstore.repository.repository import Repository
from tests.makers.gains import LINKS, make_gain_directory, make_gain_tree
from tests.makers.repositories import SHAPE, log_names, new_repository, reopened, tree

FB = "171113-154920171025-3d00fb"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def imported(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, "import", "gains", "-m", "legacy", "--repo", "./R", "--json", *words)
    return code, json.loads(out)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    make_gain_tree(Path("gains"), shape=SHAPE)
    return new_repository(tmp_path / "R")


@pytest.mark.parametrize("as_text", [False, True])
def test_every_name_is_a_version_of_one_commit(
    as_text: bool, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("gains")
    made = make_gain_tree(Path("gains"), shape=SHAPE, as_text=as_text)
    code, value = imported(capsys)
    assert (code, value["seq"], value["skipped"], value["targets"]) == (0, 1, [], ["M044", "M068", "M088"])
    assert {added["source"] for added in value["added"]} == set(LINKS)
    for name, target in LINKS.items():
        panel = "-".join(name.split("-")[:3])
        for calib_type, array in made[target].items():
            assert reopened(repository).get(panel, calib_type, "20200101000000").tobytes() == array.tobytes()


def test_two_names_of_one_directory_store_the_arrays_once(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(capsys)
    assert len(reopened(repository).versions()) == 5
    assert len(list(Path("R/panels").glob("*/*.h5"))) == 3


def test_a_name_without_a_stamp_is_valid_from_the_beginning(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(capsys)
    words = ["-T", "1970-01-01T00:00:00Z", "--repo", "./R", "--json"]
    code, out, _ = run(capsys, "get", "171113-154920171025-3d00b0", *words)
    assert code == 0
    assert {selection["valid_from"] for selection in json.loads(out)["selections"]} == {"0" * 14}


def test_again_changes_nothing(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    imported(capsys)
    before = tree(Path("R"))
    code, value = imported(capsys)
    assert (code, value["added"], len(value["unchanged"])) == (0, [], 5)
    assert tree(Path("R")) == before


def test_what_was_superseded_is_not_brought_back(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    imported(capsys)
    make_gain_directory(Path("new"), SHAPE, seed=99)
    words = ["add", FB, "-T", "20180306000000", "-f", "new", "-m", "better", "--repo", "./R"]
    assert run(capsys, *words)[0] == 0
    code, value = imported(capsys)
    assert (code, value["added"], log_names(repository)) == (0, [], ["0000000001.json", "0000000002.json"])


def test_a_grown_tree_adds_what_is_new(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    imported(capsys)
    Path(f"gains/{FB}-20190101000000").symlink_to("M068")
    code, value = imported(capsys)
    assert (code, value["seq"]) == (0, 2)
    assert [added["version"] for added in value["added"]] == [f"{FB}/20190101000000/v1"]


def spoiled(kind: str) -> str:
    """Put something that is not understood into the tree; return its name."""
    tree_ = Path("gains")
    names = {
        "not an Id": "x-y-z-2018030600000",
        "an old copy": f"{FB}-20180306000000.bak",
        "13 digits": f"{FB}-2018030600000",
        "impossible date": f"{FB}-20181306000000",
    }
    if kind in names:
        (tree_ / names[kind]).symlink_to("M044")
        return names[kind]
    if kind == "missing g-file":
        make_gain_directory(tree_ / "M099", SHAPE, seed=9)
        (tree_ / "M099" / "g1_offset.npy").unlink()
        (tree_ / f"{FB}-20200101000000").symlink_to("M099")
        return f"{FB}-20200101000000"
    if kind == "orphaned directory":
        make_gain_directory(tree_ / "M099", SHAPE)
        return "M099"
    (tree_ / f"{FB}-20200101000000").symlink_to({"dangling": "M100", "leaves the tree": ".."}[kind])
    return f"{FB}-20200101000000"


@pytest.mark.parametrize(
    "kind",
    [
        "not an Id",
        "an old copy",
        "13 digits",
        "impossible date",
        "missing g-file",
        "orphaned directory",
        "dangling",
        "leaves the tree",
    ],
)
def test_what_is_not_understood_is_reported_and_the_rest_goes_in(
    kind: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    name = spoiled(kind)
    code, value = imported(capsys)
    assert code == 1
    assert [skipped["name"] for skipped in value["skipped"]] == [name]
    assert value["skipped"][0]["reason"]
    assert {added["source"] for added in value["added"]} == set(LINKS)


def test_skipped_names_and_targets_are_rows(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    name = spoiled("dangling")
    code, out, _ = run(capsys, "import", "gains", "-m", "legacy", "--repo", "./R")
    assert code == 1
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["state", *["added"] * 5, *["target"] * 3, "skipped"]
    assert rows[-1][3].startswith(f"{name}: ")


def test_a_dry_run_stores_nothing(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path("R"))
    code, value = imported(capsys, "--dry-run")
    assert (code, value["dry_run"], len(value["added"])) == (0, True, 5)
    assert tree(Path("R")) == before


def test_the_tree_is_not_touched(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path("gains"))
    imported(capsys)
    assert tree(Path("gains")) == before
