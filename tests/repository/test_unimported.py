"""DCS files in the directory of a repository are named until they are imported as they are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.repository import Repository
from jfstore.repository.unimported import find_unimported
from tests.makers.dcs import NAME, PY3, SMALL, TWO, make_dcs, run
from tests.makers.repositories import new_repository
from tests.makers.telling import tell

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return new_repository(tmp_path / "R", shape=(3, 16, 32))


def put(source: Path, repository: Repository) -> Path:
    path = Path(repository.location, source.name)
    shutil.copyfile(source, path)
    return path


def missing(repository: Repository) -> dict[str, tuple[int, int]]:
    found = find_unimported(jfstore.open(repository.location))
    assert not any(file.problem for file in found), found
    return {os.path.basename(file.path): (file.missing, file.total) for file in found}


@pytest.mark.parametrize("source", [SMALL, TWO])
def test_a_file_is_named_until_it_is_imported(source: Path, repository: Repository) -> None:
    assert missing(repository) == {}
    path = put(source, repository)
    (before,) = missing(repository).values()
    assert before[0] == before[1] > 1
    repository.import_dcs(path, "from dcs")
    assert missing(repository) == {}
    os.utime(path)
    assert missing(repository) == {}


def test_a_file_that_changes_is_named_again(repository: Repository, capsys: Capture) -> None:
    path = put(SMALL, repository)
    repository.import_dcs(path, "from dcs")
    np.save("new.npy", repository.get(path.stem[9:], "pixel_gain", "20300101000000"))
    code, _, err = run(capsys, "add", path, "-t", "pixel_gain", "-T", 1_700_000_000, "-f", "new.npy", "-m", "new")
    assert code == 0
    note, report = err.splitlines()
    assert "a repository of jfstore, which does not see the file until it is imported: jfstore import" in note
    assert report.startswith("added pixel_gain/1700000000-end/v0001")
    assert run(capsys, "add", path, "-t", "pixel_gain", "-T", 1_700_000_000, "-f", "new.npy", "-i")[2] == ""
    total = missing(repository)[NAME][1]
    assert missing(repository) == {NAME: (2, total)}
    words = note.split("imported: jfstore ")[1].replace("MESSAGE", "again").split()
    assert tell(capsys, *words)[0] in (0, 1)
    assert missing(repository) == {}


def test_versions_that_no_import_takes_do_not_count(repository: Repository) -> None:
    put(PY3, repository)
    numbered = missing(repository)[NAME]
    repository.import_dcs(Path(repository.location, NAME), "without those that lost their numbers")
    assert numbered[0] > 0
    assert missing(repository) == {}
    made = new_repository(Path("S"), shape=(3, 4, 4))
    make_dcs(Path("S", NAME), {"geometry": {(0.0, 1.0): {1: "text"}}, "pedestals": {(5.0, 7.0): {1: np.ones(3)}}})
    assert missing(made) == {}


def test_a_file_that_was_exported_is_known(repository: Repository) -> None:
    repository.import_dcs(TWO, "from elsewhere")
    detector = TWO.stem[9:]
    gain = repository.get(detector, "pixel_gain", "20300101000000") * np.float32(1.5)
    repository.add(detector, "20310101000000", {"pixel_gain": gain}, "of this repository")
    repository.export_dcs(detector, Path(repository.location, TWO.name))
    assert missing(repository) == {}


def test_files_that_cannot_be_compared_are_named_with_the_reason(repository: Repository) -> None:
    root = Path(repository.location)
    (root / NAME).write_bytes(b"no HDF5")
    shutil.copyfile(SMALL, root / "jfungfrau.h5")
    shutil.copyfile(SMALL, root / "jungfrau-1-2-3.h5")
    (root / "jungfrau-1-2-4.h5").mkdir()
    (root / "jungfrau-1-2-5.h5").symlink_to("nowhere")
    os.mkfifo(root / "jungfrau-1-2-6.h5")
    found = {os.path.basename(file.path): str(file) for file in find_unimported(repository)}
    assert set(found) == {NAME, "jungfrau-1-2-3.h5"}
    assert "the Id in its name is 1-2-3" in found["jungfrau-1-2-3.h5"]
    assert {
        os.path.basename(file.path) for file in find_unimported(repository, 1) if "jfstore verify" in str(file)
    } == {NAME}


def test_list_and_verify_name_them(repository: Repository, capsys: Capture) -> None:
    path = put(SMALL, repository)
    code, out, err = tell(capsys, "list", "--repo", "./R")
    assert (code, f"R/{NAME}: a DCS file, " in err, "jfstore import imports them" in err) == (0, True, True)
    (value,) = json.loads(tell(capsys, "list", "--repo", "./R", "--json")[1])["repositories"]
    (file,) = value["not_imported"]
    assert (os.path.basename(file["path"]), file["missing"] > 0, file["problem"]) == (NAME, True, None)
    code, out, err = tell(capsys, "verify", "--repo", "./R")
    assert (code, f"note\t{NAME}\ta DCS file, " in out) == (0, True)
    repository.import_dcs(path, "from dcs")
    assert tell(capsys, "list", "--repo", "./R")[2] == ""
    assert NAME not in tell(capsys, "verify", "--repo", "./R")[1]
    assert json.loads(tell(capsys, "list", "--repo", "./R", "--json")[1])["repositories"][0]["not_imported"] == []


def test_dcs_says_nothing_elsewhere(repository: Repository, capsys: Capture) -> None:
    shutil.copyfile(SMALL, NAME)
    repository.import_dcs(NAME, "m")
    np.save("new.npy", repository.get(NAME[9:-3], "pixel_gain", "20300101000000"))
    assert run(capsys, "add", NAME, "-t", "pixel_gain", "-T", 1_700_000_000, "-f", "new.npy")[2].count("\n") == 1
