"""Every calibration type as files: local ones with the stored bits, deployed ones as psana1 reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.lock import decode_lock
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import read_note
from jfstore.formats.text import read_text
from jfstore.repository import Repository
from tests.makers.deployed import command
from tests.makers.deployed_types import (
    EXP,
    HIGH,
    JUNE,
    NORMAL,
    PANELS,
    PSANA_DTYPES,
    SHAPE,
    SOURCE,
    STAMP,
    arrays_of,
    deployed_file,
    make_repository,
    read_as_psana1,
    write_high_run,
    write_runs,
)
from tests.makers.xtc import PAIR_ID, run_bytes, some_panels, write_run

RUN = f"exp={EXP}:run=1"


@pytest.fixture
def repository(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    write_runs(tree, 0)
    repository = make_repository(tmp_path / "real")
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    return repository


def local(name: str, suffix: str, run: int = 1) -> Path:
    return Path(f"{EXP}-r{run:04d}_{SOURCE}_{PAIR_ID}_{name}{suffix}")


# -- generate


def test_generate_writes_every_valid_type_with_its_bits(repository: Repository) -> None:
    assert command(["generate", RUN], "jfstore")[0] == 0
    for name, array in arrays_of(NORMAL).items():
        written = np.load(local(name, ".npy"))
        assert (written.dtype.str, written.shape) == (CALIB_TYPES[name].dtype, array.shape)
        assert written.tobytes() == array.tobytes()
        text = read_text(local(name, ".txt")).array
        assert (text.dtype, text.shape, text.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert f"# DATATYPE    {array.dtype.name}\n" in local(name, ".txt").read_text()
    assert len(list(Path().glob(f"{EXP}*"))) == 2 * len(NORMAL)


def test_generate_writes_the_types_that_are_asked_for(repository: Repository) -> None:
    words = ["generate", RUN, "-t", "pedestals", "-t", "pixel_mask", "--json"]
    code, out, _ = command(words, "jfstore")
    assert code == 0
    assert sorted({row["type"] for row in json.loads(out)["files"]}) == ["pedestals", "pixel_mask"]
    assert len(list(Path().glob(f"{EXP}*"))) == 4
    assert command([*words[:2], "-t", "geometry"], "jfstore")[0] == 2


def test_generate_again_leaves_equal_files(repository: Repository) -> None:
    for _ in range(2):
        assert command(["generate", RUN], "jfstore")[0] == 0
    changed = np.load(local("pixel_status", ".npy"))
    changed[0, 0, 0, 0] ^= 1
    np.save(local("pixel_status", ".npy"), changed)
    code, _, err = command(["generate", RUN], "jfstore")
    assert (code, "pixel_status.npy exists and holds other values" in err) == (5, True)


def test_a_panel_without_a_type_fails_the_run(repository: Repository, tree: Path) -> None:
    write_run(tree, "MFX", EXP, 2, run_bytes(some_panels(2), JUNE, 2))
    other = "-".join(f"{part:x}" for part in some_panels(2)[0])
    one = {name: array[..., 0, :, :] for name, array in arrays_of(("pedestals", "pixel_max"), 3).items()}
    darks = arrays_of(("pixel_rms",), 3)
    repository.add("_".join("-".join(f"{part:x}" for part in panel) for panel in some_panels(2)), STAMP, darks, "noise")
    repository.add(other, STAMP, one, "of one panel")
    code, _, err = command(["generate", f"exp={EXP}:run=2"], "jfstore")
    assert code == 3
    assert "pedestals or pixel_max" in err
    assert not list(Path().glob(f"{EXP}*"))


def test_a_gain_tree_gives_every_type(repository: Repository, tree: Path) -> None:
    for number, panel in enumerate(PANELS):
        directory = Path("gains") / f"{panel}-{STAMP}"
        directory.mkdir(parents=True)
        for name, array in arrays_of(NORMAL).items():
            part = array[..., number, :, :].reshape(-1, *SHAPE[1:])
            ends = [f"{CALIB_TYPES[name].legacy}.npy"] if len(part) == 1 else None
            for gain, plane in enumerate(part):
                np.save(directory / (ends[0] if ends else f"g{gain}_{CALIB_TYPES[name].legacy}.npy"), plane)
    assert command(["generate", RUN, "--repo", "gains"], "jfstore")[0] == 0
    for name, array in arrays_of(NORMAL).items():
        assert np.load(local(name, ".npy")).tobytes() == array.tobytes()
    code, out, _ = command(["deploy", RUN, "--repo", "gains", "-c", "calib", "--json"], "jfstore")
    assert code == 0
    assert [row["type"] for row in json.loads(out)["files"]] == list(PSANA_DTYPES)


def test_the_old_command_writes_gains_and_offsets_only(repository: Repository) -> None:
    code, out, _ = command(["-d", RUN, "-D", "-c", "calib", "-U"])
    assert code == 0
    assert len(list(Path().glob(f"{EXP}*"))) == 4
    assert sorted(path.name for path in deployed_file("calib", "x").parent.parent.iterdir()) == [
        "pixel_gain",
        "pixel_offset",
    ]
    assert "pedestals" not in out


# -- deploy


def test_psana1_reads_the_stored_values(repository: Repository) -> None:
    code, out, _ = command(["deploy", RUN, "-c", "calib", "--json"], "jfstore")
    assert code == 0
    assert [row["type"] for row in json.loads(out)["files"]] == list(PSANA_DTYPES)
    for name, dtype in PSANA_DTYPES.items():
        array = arrays_of((name,))[name]
        read = read_as_psana1(deployed_file("calib", name), name)
        assert (read.dtype, read.shape) == (np.dtype(dtype), array.shape)
        assert np.array_equal(read, array)
        if read.dtype.kind == "f":
            assert read.tobytes() == array.tobytes()
    assert "# DTYPE       uint16" in deployed_file("calib", "pixel_status").read_text()
    assert "# NDIM        3" in deployed_file("calib", "pixel_mask").read_text()
    assert not deployed_file("calib", "pixel_max").parent.exists()


def test_the_same_again_changes_nothing(repository: Repository) -> None:
    assert command(["deploy", RUN, "-c", "calib"], "jfstore")[0] == 0
    for name in PSANA_DTYPES:
        # Without its note a file is compared by its values.
        CalibFile(Path("calib"), SOURCE, name, 1).note.unlink()
    before = {path: path.read_bytes() for path in Path("calib").rglob("*.data")}
    out = command(["deploy", RUN, "-c", "calib"], "jfstore")[1]
    assert out.count("unchanged") == len(PSANA_DTYPES)
    assert {path: path.read_bytes() for path in Path("calib").rglob("*.data")} == before


@pytest.mark.parametrize("name", ["pixel_status", "pixel_mask", "status_extra"])
def test_one_other_integer_is_another_file(name: str, repository: Repository) -> None:
    assert command(["deploy", RUN, "-c", "calib", "-t", name], "jfstore")[0] == 0
    path = deployed_file("calib", name)
    CalibFile(Path("calib"), SOURCE, name, 1).note.unlink()
    head, _, body = path.read_text().rpartition("\n\n")
    path.write_text(f"{head}\n\n{1 - int(body[0])}{body[1:]}")
    code, _, err = command(["deploy", RUN, "-c", "calib"], "jfstore")
    assert (code, "was not written by jfstore" in err) == (5, True)


def test_integers_beyond_float64_are_compared_exactly(repository: Repository, tree: Path) -> None:
    array = arrays_of(("status_extra",))["status_extra"]
    array[1, 1, 2, 3] = 2**63 + 1
    repository.add(PAIR_ID, "20180621000000", {"status_extra": array}, "a high bit", accept="other-panel")
    assert command(["deploy", RUN, "-c", "calib", "-t", "status_extra"], "jfstore")[0] == 0
    path = deployed_file("calib", "status_extra")
    assert read_as_psana1(path, "status_extra").tobytes() == array.tobytes()
    CalibFile(Path("calib"), SOURCE, "status_extra", 1).note.unlink()
    path.write_text(path.read_text().replace(str(2**63 + 1), str(2**63 + 3)))
    code, _, err = command(["deploy", RUN, "-c", "calib", "-t", "status_extra"], "jfstore")
    assert (code, "was not written by jfstore" in err) == (5, True)


def test_a_status_that_needs_more_bits_is_refused(repository: Repository) -> None:
    array = arrays_of(("pixel_status",))["pixel_status"]
    array[2, 1, 7, 9] = 1 << 16
    repository.add(PAIR_ID, "20180621000000", {"pixel_status": array}, "17 bits", accept="other-panel")
    code, out, err = command(["deploy", RUN, "-c", "calib"], "jfstore")
    assert (code, out) == (5, "")
    assert f"panel {PANELS[1]}: pixel_status is 65536 at gain 2, row 7, column 9, and psana reads uint16" in err
    assert not Path("calib").exists()
    assert command(["generate", RUN, "-t", "pixel_status"], "jfstore")[0] == 0
    assert np.load(local("pixel_status", ".npy")).tobytes() == array.tobytes()


def test_types_that_psana1_does_not_read(repository: Repository) -> None:
    code, _, err = command(["deploy", RUN, "-c", "calib", "-t", "pixel_max"], "jfstore")
    assert (code, "psana does not read pixel_max: it reads pixel_gain, " in err) == (2, True)
    code, out, err = command(["generate", RUN, "-D", "-c", "calib"], "jfstore")
    assert code == 0
    assert out.count("\ndeployed\t") == len(PSANA_DTYPES)
    assert "pixel_max, pixel_min: written, not deployed" in err
    history = (deployed_file("calib", "pixel_status").parent / "HISTORY").read_text()
    assert "copy_of:- " in history, "the local text is uint64"
    assert "copy_of:mfx00001" in (deployed_file("calib", "pedestals").parent / "HISTORY").read_text()


def test_a_missing_type_that_psana1_does_not_read_is_no_matter(repository: Repository, tree: Path) -> None:
    write_run(tree, "MFX", EXP, 2, run_bytes(some_panels(2), JUNE, 2))
    panels = ["-".join(f"{part:x}" for part in panel) for panel in some_panels(2)]
    types = ("pedestals", "pixel_rms", "pixel_status")
    repository.add("_".join(panels), STAMP, arrays_of(types, 3), "darks")
    one = arrays_of(("pixel_max",), 3)["pixel_max"][:, 0]
    repository.add(panels[0], STAMP, {"pixel_max": one}, "of one panel")
    code, out, _ = command(["deploy", f"exp={EXP}:run=2", "-c", "calib"], "jfstore")
    assert code == 0
    assert out.count("deployed") == 3


def test_a_format_is_for_floats(repository: Repository) -> None:
    assert command(["deploy", RUN, "-c", "calib", "--format", "%.3f"], "jfstore")[0] == 0
    assert read_note(CalibFile(Path("calib"), SOURCE, "pedestals", 1))[0].fmt == "%.3f"
    assert read_note(CalibFile(Path("calib"), SOURCE, "pixel_status", 1))[0].fmt is None
    status = read_as_psana1(deployed_file("calib", "pixel_status"), "pixel_status")
    assert np.array_equal(status, arrays_of(("pixel_status",))["pixel_status"])
    peds = arrays_of(("pedestals",))["pedestals"]
    assert np.allclose(read_as_psana1(deployed_file("calib", "pedestals"), "pedestals"), peds, atol=1.1e-3, rtol=0)


def test_undo_brings_back_every_type(repository: Repository) -> None:
    assert command(["deploy", RUN, "-c", "calib"], "jfstore")[0] == 0
    out = command(["deploy", RUN, "-c", "calib", "--undo"], "jfstore")[1]
    assert out.count("removed") == len(PSANA_DTYPES)
    assert not list(Path("calib").rglob("*.data"))
    assert command(["deploy", RUN, "-c", "calib", "--undo", "-t", "pedestals"], "jfstore")[0] == 2


def test_a_lock_is_deployed_by_types(repository: Repository) -> None:
    assert command(["generate", RUN, "--lock", "run.lock"], "jfstore")[0] == 0
    assert command(["deploy", "--locked", "run.lock", "-c", "calib", "-t", "pedestals"], "jfstore")[0] == 0
    (noted,) = read_note(CalibFile(Path("calib"), SOURCE, "pedestals", 1))
    assert decode_lock(json.dumps(noted.lock), "x").types == ("pedestals",)
    code, out, _ = command(["deploy", "--locked", "run.lock", "-c", "calib"], "jfstore")
    assert (code, out.count("deployed"), out.count("unchanged")) == (0, len(PSANA_DTYPES) - 1, 1)


# -- runs whose first gain range is the high one


@pytest.fixture
def high(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    write_high_run(tree, 1)
    write_runs(tree, 0, first=2)
    repository = make_repository(tmp_path / "real", NORMAL + HIGH)
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    return repository


def test_files_of_the_high_range_have_the_names_that_psana_knows(high: Repository) -> None:
    code, out, err = command(["generate", RUN, "-D", "-c", "calib", "-U", "--json"], "jfstore")
    assert code == 0
    assert "pixel_gain_hg0 as pixel_gain" in err
    value = json.loads(out)
    assert {row["type"] for row in value["files"]} == set(NORMAL)
    assert {row["type"] for row in value["constants"]} == {*HIGH, *NORMAL} - {name[:-4] for name in HIGH}
    (add,) = [c["command"] for c in value["commands"] if c["command"][0] == "jfstore" and "test" in c["command"]]
    assert add[add.index("pixel_gain_hg0") + 2] == str(local("pixel_gain", ".npy"))
    stored = arrays_of(NORMAL + HIGH)
    for name in PSANA_DTYPES:
        expected = stored.get(f"{name}_hg0", stored[name])
        assert np.array_equal(read_as_psana1(deployed_file("calib", name), name), expected)
        (noted,) = read_note(CalibFile(Path("calib"), SOURCE, name, 1))
        assert (noted.type, noted.stored_type) == (name, f"{name}_hg0" if f"{name}_hg0" in stored else None)
        note = deployed_file("calib", name, "1-end.jfstore.json")
        array = jfstore.replay(note)[noted.stored_type or name]
        assert array.tobytes() == expected.tobytes()
    assert command(["deploy", RUN, "-c", "calib"], "jfstore")[1].count("unchanged") == len(PSANA_DTYPES)


@pytest.mark.parametrize("asked", ["pixel_gain", "pixel_gain_hg0"])
def test_the_type_of_a_high_run_may_be_asked_for_either_way(asked: str, high: Repository) -> None:
    assert command(["generate", RUN, "-t", asked], "jfstore")[0] == 0
    assert np.load(local("pixel_gain", ".npy")).tobytes() == arrays_of(HIGH)["pixel_gain_hg0"].tobytes()


def test_a_run_of_the_normal_range_has_no_files_of_the_high_one(high: Repository) -> None:
    assert command(["generate", f"exp={EXP}:run=2"], "jfstore")[0] == 0
    assert np.load(local("pixel_gain", ".npy", 2)).tobytes() == arrays_of(NORMAL)["pixel_gain"].tobytes()
    code, _, err = command(["generate", f"exp={EXP}:run=2", "-t", "pixel_gain_hg0"], "jfstore")
    assert (code, "this run's is not" in err) == (2, True)


def test_the_old_command_takes_the_high_range(high: Repository) -> None:
    assert command(["-d", RUN])[0] == 0
    assert np.load(local("pixel_gain", ".npy")).tobytes() == arrays_of(HIGH)["pixel_gain_hg0"].tobytes()
    assert len(list(Path().glob(f"{EXP}*"))) == 4


# -- which runs have constants


def test_resolve_needs_what_is_valid(repository: Repository, tree: Path) -> None:
    write_runs(tree, 0, 5)
    repository.close(PANELS[0], "20180628000000", "warm", types="pedestals")
    rows = command(["runs", EXP, "--resolve"], "jfstore")[1].splitlines()[1:]
    cells = [row.split("\t")[-1] for row in rows]
    assert cells[0] == "yes"
    assert "pedestals is closed" in cells[1]
    rows = command(["runs", EXP, "--resolve", "-t", "pixel_gain"], "jfstore")[1].splitlines()[1:]
    assert [row.split("\t")[-1] for row in rows] == ["yes", "yes"]


def test_resolve_takes_the_types_of_the_run(tree: Path, tmp_path: Path) -> None:
    write_high_run(tree, 1)
    write_runs(tree, 0, first=2)
    repository = make_repository(tmp_path / "real")
    repository.add(PANELS[0], STAMP, {"pixel_gain_hg0": arrays_of(HIGH)["pixel_gain_hg0"][:, 0]}, "one")
    found = [one.missing for one in jfstore.runs_with_constants(EXP, repository).constants]
    assert "pixel_offset_hg0" in str(found[0])
    assert found[1] is None
