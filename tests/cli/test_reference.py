"""The reference files through the commands: import, get against the merged arrays, the index without jfstore."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jfstore.cli.app import main
from tests.conftest import ROOT
from tests.makers.repositories import flip, tree

REFERENCE = ROOT / "tests" / "data" / "reference"
TREE = REFERENCE / "gains-tree" / "jungfrau"
MERGED = REFERENCE / "gains-tree" / "merged"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text())["gains-tree"]
ARRAYS = {name: value for name, value in EXPECTED.items() if name.startswith("jf_")}
LOOKUPS = [
    (lookup["jfid"], lookup["tstamp"], lookup["result"])
    for lookup in EXPECTED["find_panel_calib_dirs"]
    if lookup["tstamp"] and len(lookup["tstamp"]) == 14
]
"""Detector Id, stamp, and the directories that the reference tool takes, the closest later ones included."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "R"
    assert main(["init", str(path), "--role", "test", "--shape", "3x16x32"]) == 0
    assert main(["import", str(TREE), "-m", "legacy gains", "--repo", str(path)]) == 0
    return path


def get(out: Path, repository: Path, detector: str, time: str, calib_type: str) -> int:
    return main(["get", detector, "-T", time, "-t", calib_type, "-f", str(out), "--repo", str(repository)])


def start_of(directory: str) -> str:
    """Return the stamp of a name of the tree; a name without one is valid from the beginning."""
    fields = directory.split("-")
    return fields[3] if len(fields) == 4 else "0" * 14


def directory_array(name: str, word: str) -> np.ndarray:
    target = TREE / EXPECTED["links"][name]
    return np.stack([np.load(target / f"g{gain}_{word}.npy") for gain in range(3)])


def same_bits(got: np.ndarray, expected: np.ndarray) -> bool:
    rounded = expected.astype("<f4")
    return (got.shape, got.dtype) == (rounded.shape, np.dtype("<f4")) and got.tobytes() == rounded.tobytes()


def test_the_fixtures_cover_answers_from_the_past_and_from_the_future() -> None:
    assert {path.stem for path in MERGED.iterdir()} == set(ARRAYS)
    assert len(ARRAYS) == 8
    early = [lookup for lookup in LOOKUPS if any(start_of(name) > lookup[1] for name in lookup[2] if name)]
    assert len(early) >= 5
    assert len(LOOKUPS) - len(early) >= 10


def test_the_stamp_of_the_issue_gives_the_merged_array(reference: Path, tmp_path: Path) -> None:
    detector = "170505-149520170815-3d00b0_170505-149520170815-3d00f7"
    assert get(tmp_path / "g.npy", reference, detector, "20171205161400", "pixel_gain") == 0
    assert same_bits(np.load(tmp_path / "g.npy"), np.load(MERGED / "jf_2panels_pixel_gain.npy"))


@pytest.mark.parametrize("name", ARRAYS)
def test_every_merged_array_at_its_stamp(name: str, reference: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = ARRAYS[name]
    calib_type = name[name.index("pixel_") :]
    assert get(tmp_path / "out.npy", reference, asked["jfid"], asked["tstamp"], calib_type) == 0
    assert same_bits(np.load(tmp_path / "out.npy"), np.load(MERGED / f"{name}.npy"))


@pytest.mark.parametrize(("detector", "stamp", "directories"), LOOKUPS)
def test_every_stamp_of_the_reference(
    detector: str,
    stamp: str,
    directories: list[str | None],
    reference: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    late = [start_of(name) for name in directories if name and start_of(name) > stamp]
    for word in ("gain", "offset"):
        out = tmp_path / f"{word}.npy"
        capsys.readouterr()
        code = get(out, reference, detector, stamp, f"pixel_{word}")
        if not late and None not in directories:
            assert code == 0
            expected = np.stack([directory_array(name, word) for name in directories if name], axis=1)
            assert same_bits(np.load(out), expected)
            continue
        # The reference tool takes constants from the future, or goes on without a panel.
        error = capsys.readouterr().err
        assert code == 3
        assert not out.exists()
        assert not late or f"the first starts at {min(late)}" in error
        assert None not in directories or "999999-0-0" in error


def test_a_second_import_commits_nothing(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(reference)
    assert main(["import", str(TREE), "-m", "again", "--repo", str(reference), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["seq"], value["added"], len(value["unchanged"])) == (1, [], 6)
    assert tree(reference) == before


def test_the_import_is_one_commit_with_every_name_and_four_payloads(reference: Path) -> None:
    commits = [json.loads(path.read_text()) for path in sorted((reference / "log").iterdir())]
    assert len(commits) == 1
    text = json.dumps(commits[0])
    for name in EXPECTED["links"]:
        assert name in text
    assert len(list((reference / "panels").glob("*/*.h5"))) == 4


def test_the_index_shows_a_version_to_plain_h5py(reference: Path) -> None:
    with h5py.File(reference / "jungfrau.h5") as file:
        dataset = file["171113-154920171025-3d00fb/20180306000000/v0001/pixel_gain"]
        assert dataset.shape == (3, 16, 32)
        assert same_bits(dataset[()], directory_array("171113-154920171025-3d00fb-20180306000000", "gain"))


@pytest.mark.skipif(not shutil.which("h5dump"), reason="needs h5dump of hdf5-tools")
def test_h5dump_shows_the_arrays_of_every_version(reference: Path) -> None:
    command = ["h5dump", "-H", str(reference / "jungfrau.h5")]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert text.count('EXTERNAL_LINK "v0001"') == 6
    # Versions that share a file are shown once and referred to after that.
    for word in ("gain", "offset"):
        assert text.count(f'DATASET "pixel_{word}"') >= 4
    assert text.count("( 3, 16, 32 )") >= 8


def stored_files(repository: Path) -> list[Path]:
    return sorted(path for folder in ("log", "panels") for path in (repository / folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("which", range(5))
def test_a_flipped_bit_is_found_and_not_served(
    which: int, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "R"
    shutil.copytree(reference, copy)
    path = stored_files(copy)[which]
    flip(path, 8 * 12288 + 77 if path.suffix == ".h5" else 4000)
    assert main(["verify", "--repo", str(copy), "--json"]) == 4
    assert str(path.relative_to(copy)) in [
        problem["file"] for problem in json.loads(capsys.readouterr().out)["problems"]
    ]
    for name, asked in ARRAYS.items():
        code = get(tmp_path / f"{name}.npy", copy, asked["jfid"], asked["tstamp"], name[name.index("pixel_") :])
        if code == 0:
            assert same_bits(np.load(tmp_path / f"{name}.npy"), np.load(MERGED / f"{name}.npy"))
        else:
            assert code == 4
            assert not (tmp_path / f"{name}.npy").exists()
    assert len(list(tmp_path.glob("*.npy"))) < len(ARRAYS)
