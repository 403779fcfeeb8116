"""``deploy --until-next``: files end before the next start of validity, and psana never goes back to an older file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import read_note
from jfstore.fs import durable
from jfstore.repository import Repository
from tests.makers.deployed import command
from tests.makers.deployed_types import (
    DAY,
    EXP,
    HIGH,
    JUNE,
    NORMAL,
    PANELS,
    SOURCE,
    arrays_of,
    deployed_file,
    make_repository,
    read_as_psana1,
    write_high_run,
    write_runs,
)
from tests.makers.xtc import PAIR_ID, run_bytes, some_panels, write_run

CALIB = Path("calib")
DARKS = ("pedestals", "pixel_rms", "pixel_status")
RANGE = f"exp={EXP}:run=1-6"
SECOND, THIRD = "20180628000000", "20180630000000"  # before runs 3 and 5


@pytest.fixture
def repository(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository with darks of three times; runs begin on each of six days."""
    monkeypatch.chdir(tmp_path)
    write_runs(tree, 0, 1, 2, 3, 4, 5)
    repository = make_repository(tmp_path / "real")
    for seed, stamp in ((1, SECOND), (2, THIRD)):
        repository.add(PAIR_ID, stamp, arrays_of(DARKS, seed), "a dark", accept="other-panel")
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    return repository


def names(calib_type: str) -> list[str]:
    place = deployed_file(CALIB, calib_type).parent
    return sorted(path.name for path in place.glob("*.data")) if place.exists() else []


def taken_by_psana(calib_type: str, run: int) -> str | None:
    """Return the file that psana takes (PSCalib, src/CalibFileFinder.py)."""
    found = []
    for name in names(calib_type):
        first, _, last = name.removesuffix(".data").partition("-")
        end = 9999 if last == "end" else int(last)
        if int(first) <= run <= end:
            found.append((int(first), -end, name))
    return max(found)[2] if found else None


def deploy(*words: object) -> tuple[int, str, str]:
    return command(["deploy", *words, "-c", CALIB, "--until-next"], "jfstore")


def test_every_run_gets_what_is_valid(repository: Repository) -> None:
    code, out, err = deploy(RANGE)
    assert code == 0, err
    assert names("pedestals") == ["1-2.data", "3-4.data", "5-end.data"]
    assert names("pixel_gain") == ["1-end.data"], "nothing ends"
    for run in range(1, 7):
        for name in DARKS:
            file = taken_by_psana(name, run)
            assert file
            expected = repository.get(f"exp={EXP}:run={run}", name)
            assert np.array_equal(read_as_psana1(deployed_file(CALIB, name, file), name), expected)
    assert "valid for runs 3 to 4" in deployed_file(CALIB, "pedestals", "3-4.data").read_text()
    assert len(out.splitlines()) == 1 + 3 * 3 + 4
    again = deploy(RANGE)[1]
    assert again.count("unchanged") == 3 * 3 + 4
    found = jfstore.audit(CALIB, experiment=EXP, repo=repository)
    assert found.counts == {"current": 3 * 3 + 4}
    assert not found.notes


def test_the_report_of_several_runs(repository: Repository) -> None:
    value = json.loads(deploy(RANGE, "--json", "--dry-run", "-t", "pedestals")[1])
    assert [one["run"]["run"] for one in value["runs"]] == [1, 3, 5]
    assert [Path(row["file"]).name for row in value["files"]] == ["1-2.data", "3-4.data", "5-end.data"]
    assert {row["state"] for row in value["files"]} == {"would deploy"}
    assert not CALIB.exists()


def test_one_run_if_no_other_file_covers_the_next(repository: Repository) -> None:
    done = jfstore.deploy_until_next(f"exp={EXP}:run=3", types="pedestals", repo=repository, calibdir=CALIB)
    assert [one.deployed[0].file.name for one in done] == ["3-4.data"]
    assert taken_by_psana("pedestals", 5) is None
    assert [noted.run for noted in read_note(CalibFile(CALIB, SOURCE, "pedestals", 3, 4))] == [3]


def test_an_older_file_that_psana_would_go_back_to_is_named(repository: Repository) -> None:
    assert command(["deploy", f"exp={EXP}:run=1", "-c", CALIB], "jfstore")[0] == 0
    before = sorted(CALIB.rglob("*"))
    code, out, err = deploy(f"exp={EXP}:run=3")
    assert (code, out) == (5, "")
    assert f"{deployed_file(CALIB, 'pedestals')}: deploy both runs in one call, exp={EXP}:run=3,5" in err
    assert sorted(CALIB.rglob("*")) == before
    assert deploy(f"exp={EXP}:run=3,5")[0] == 0
    assert [taken_by_psana("pedestals", run) for run in (2, 3, 4, 5)] == [
        "1-end.data",
        "3-4.data",
        "3-4.data",
        "5-end.data",
    ]


def test_the_file_of_the_same_run_for_later_runs_is_in_the_way(repository: Repository) -> None:
    assert command(["deploy", f"exp={EXP}:run=3", "-c", CALIB, "-t", "pedestals"], "jfstore")[0] == 0
    code, _, err = deploy(f"exp={EXP}:run=3", "-t", "pedestals")
    assert (code, "3-end.data: deploy both runs" in err) == (5, True)
    assert deploy(f"exp={EXP}:run=3,5", "-t", "pedestals")[0] == 0
    assert [taken_by_psana("pedestals", run) for run in (3, 4, 5)] == ["3-4.data", "3-4.data", "5-end.data"]


def test_without_a_later_run_the_last_run_is_not_known(repository: Repository) -> None:
    repository.add(PAIR_ID, "20180720000000", arrays_of(DARKS, 3), "later", accept="other-panel")
    code, _, err = deploy(f"exp={EXP}:run=6", "-t", "pedestals")
    assert code == 5
    assert "valid until 20180720000000, and there is no run that starts later" in err
    assert not CALIB.exists()
    assert command(["deploy", f"exp={EXP}:run=6", "-c", CALIB, "-t", "pedestals"], "jfstore")[0] == 0
    assert names("pedestals") == ["6-end.data"]


def test_a_run_whose_start_is_not_known_is_no_border(repository: Repository, tree: Path) -> None:
    write_run(tree, "MFX", EXP, 4, b"not XTC")
    code, _, err = deploy(f"exp={EXP}:run=3", "-t", "pedestals")
    assert (code, f"the start of exp={EXP}:run=4 is not known" in err) == (5, True)


def test_gaps_in_run_numbers_belong_to_the_runs_before(repository: Repository, tree: Path) -> None:
    for path in (tree / "MFX" / EXP / "xtc").glob("*-r0004-*"):
        path.unlink()
    assert deploy(f"exp={EXP}:run=3", "-t", "pedestals")[0] == 0
    assert names("pedestals") == ["3-4.data"]


def test_a_run_with_other_panels_gets_its_own_file(repository: Repository, tree: Path) -> None:
    panels = some_panels(2)
    detector = "_".join("-".join(f"{part:x}" for part in panel) for panel in panels)
    write_run(tree, "MFX", EXP, 2, run_bytes(panels, JUNE + DAY, 2))
    repository.add(detector, "20180620000000", arrays_of(NORMAL, 7), "others", accept="other-panel")
    assert deploy(f"exp={EXP}:run=1-3", "-t", "pixel_gain")[0] == 0
    assert names("pixel_gain") == ["1-end.data", "2-end.data", "3-end.data"]


def test_a_run_of_the_high_range_gets_its_own_file(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(tree, -1)
    write_high_run(tree, 2)
    repository = make_repository(tmp_path / "real", NORMAL + HIGH)
    jfstore.deploy_until_next(f"exp={EXP}:run=1-2", types="pixel_gain", repo=repository, calibdir=CALIB)
    assert names("pixel_gain") == ["1-end.data", "2-end.data"]


@pytest.mark.parametrize("stop", range(2))
def test_if_it_is_stopped_no_run_has_wrong_constants(
    stop: int, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later run has its file before the file of the earlier one ends."""

    class Stopping(durable.System):
        names = 0

        def rename(self, source: Path, target: Path) -> None:
            if str(target).endswith(".data"):
                if self.names == stop:
                    raise KeyboardInterrupt
                self.names += 1
            super().rename(source, target)

    assert command(["deploy", f"exp={EXP}:run=1", "-c", CALIB, "-t", "pedestals"], "jfstore")[0] == 0
    monkeypatch.setattr(durable, "system", Stopping())
    with pytest.raises(KeyboardInterrupt):
        jfstore.deploy_until_next(f"exp={EXP}:run=3,5", types="pedestals", repo=repository, calibdir=CALIB)
    assert names("pedestals") == ["1-end.data", "5-end.data"][: 1 + stop]


def test_undo_takes_files_with_a_last_run(repository: Repository) -> None:
    assert deploy(f"exp={EXP}:run=3,5", "-t", "pedestals")[0] == 0
    repository.add(PAIR_ID, SECOND, arrays_of(DARKS, 9), "again", accept="other-panel")
    assert deploy(f"exp={EXP}:run=3", "-t", "pedestals")[0] == 5
    assert deploy(f"exp={EXP}:run=3,5", "-t", "pedestals")[0] == 0
    undo = ["deploy", f"exp={EXP}:run=3", "-c", CALIB, "--undo"]
    assert "restored" in command(undo, "jfstore")[1]
    first = arrays_of(DARKS, 1)["pedestals"]
    assert np.array_equal(read_as_psana1(deployed_file(CALIB, "pedestals", "3-4.data"), "pedestals"), first)
    assert "removed" in command(undo, "jfstore")[1]
    assert names("pedestals") == ["5-end.data"]
    assert command([*undo, "--until-next"], "jfstore")[0] == 2


def test_what_does_not_fit(repository: Repository) -> None:
    for words, message in (
        ([f"exp={EXP}:run=3", "-T", SECOND], "leave out the time"),
        ([f"exp={EXP}:run=3", "--repo", "gains"], "does not say until when"),
        ([f"exp={EXP}:run=3:dir=data"], "without dir="),
    ):
        for panel in PANELS:
            place = Path("gains") / f"{panel}-20180101000000"
            place.mkdir(parents=True, exist_ok=True)
            for gain in range(3):
                for kind in ("gain", "offset"):
                    np.save(place / f"g{gain}_{kind}.npy", np.full((16, 32), 1.5, "f4"))
        code, out, err = deploy(*words)
        assert (code, out) == (2, "")
        assert message in err
    code, _, err = command(["deploy", RANGE, "-c", CALIB], "jfstore")
    assert (code, "names 6 runs" in err) == (2, True)


def test_a_lock_says_until_when(repository: Repository) -> None:
    assert command(["generate", f"exp={EXP}:run=3", "--lock", "run.lock"], "jfstore")[0] == 0
    assert deploy("--locked", "run.lock", "-t", "pedestals")[0] == 0
    assert names("pedestals") == ["3-4.data"]


def test_a_test_repository_needs_consent(repository: Repository, tree: Path, tmp_path: Path) -> None:
    test = jfstore.init(str(tmp_path / "test"), "test", panel_shape=(3, 16, 32))
    for seed, stamp in ((1, "20180620000000"), (2, SECOND)):
        test.add(PAIR_ID, stamp, arrays_of(DARKS, seed), "a dark", accept="other-panel")
    words = ["deploy", f"exp={EXP}:run=1,3", "--repo", "./test", "--until-next"]
    assert command(words, "jfstore")[0] == 5
    own = tree / "MFX" / EXP / "calib"
    assert not own.exists()
    assert command([*words, "--yes"], "jfstore")[0] == 0
    assert sorted(path.name for path in deployed_file(own, "pedestals").parent.glob("*.data")) == [
        "1-2.data",
        "3-end.data",
    ]
