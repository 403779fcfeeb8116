"""``generate --locked`` and ``deploy --locked``: the same values as before, without XTC files; notes hold the lock."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.core.lock import decode_lock
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import encode_note, read_note
from tests.makers.deployed import (
    BEGIN_STAMP,
    DETECTOR,
    LOCAL,
    PANELS,
    RUN,
    SOURCE,
    STAMP,
    TREE,
    TYPES,
    add_constants,
    command,
    data_of,
    deployment,
)


def values_of(directory: Path) -> dict[str, bytes]:
    """Return the local files that were written, texts without their headers, which hold dates."""
    found = {}
    for name in TYPES:
        path = directory / f"{LOCAL}_{name}"
        found[f"{name}.npy"] = Path(f"{path}.npy").read_bytes()
        found[f"{name}.txt"] = re.sub(rb"\A((#[^\n]*)?\n)+", b"", Path(f"{path}.txt").read_bytes())
    return found


@pytest.fixture
def lock(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of the run's constants, which were generated; then there are later ones, and no XTC files any more."""
    code, _, err = command(["generate", RUN, "--lock", "run.lock"], "jfstore")
    assert code == 0
    assert "wrote run.lock: the lock of 4 arrays as of commit 1" in err
    add_constants(jfstore.open("real"), 5)
    (deploying_here / "again").mkdir()
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "nowhere"))
    monkeypatch.chdir(deploying_here / "again")
    assert command(["generate", RUN], "jfstore")[0] != 0
    return deploying_here / "run.lock"


def test_generate_writes_the_same_values_without_xtc_files(lock: Path) -> None:
    code, out, err = command(["generate", "--locked", lock], "jfstore")
    assert (code, "warning" in err) == (0, False)
    assert values_of(Path()) == values_of(lock.parent)
    assert [line.split("\t")[0] for line in out.splitlines()[1:]] == ["written"] * 4
    assert f"{RUN} started at 2017-12-06T00:14:00.123456789Z; the panels are those of {SOURCE} in " in err
    headers = [
        [
            line
            for line in Path(place, f"{LOCAL}_pixel_gain.txt").read_text().splitlines()
            if line.startswith(("# TITLE", "# VALID_AT", "# VERSION", "# DETECTOR", "# ORIGIN"))
        ]
        for place in (".", lock.parent)
    ]
    assert headers[0] == headers[1]


def test_from_a_mirror_and_a_bundle(lock: Path) -> None:
    repository = jfstore.open("real")
    repository.export_bundle(str(lock), "../b.h5")
    jfstore.mirror(repository, "../M", storage="zarr")
    for words in (
        ["--locked", lock, "--repo", "../M"],
        ["--locked", "../b.h5"],
        ["--locked", lock, "--repo", "../b.h5"],
    ):
        assert command(["generate", *words, "--force"], "jfstore")[0] == 0
        assert values_of(Path()) == values_of(lock.parent)
        for path in Path().iterdir():
            path.unlink()


def test_deploy_takes_a_lock_and_its_note_holds_it(lock: Path) -> None:
    (lock.parent / "calib").mkdir()
    code, _, err = command(["deploy", "--locked", lock, "-c", "../calib"], "jfstore")
    assert code == 0, err
    whole = decode_lock(lock.read_text(), "x")
    for name in TYPES:
        path = data_of("../calib", name)
        assert np.loadtxt(path).astype("<f4").tobytes() == np.load(f"../{LOCAL}_{name}.npy").tobytes()
        (noted,) = read_note(CalibFile(Path("../calib"), SOURCE, name, 631))
        assert noted.lock is not None
        assert decode_lock(json.dumps(noted.lock), "x") == whole.select_types([name])
        note = path.with_name("631-end.jfstore.json")
        assert command(["get", "--locked", note, "-f", f"{name}.npy"], "jfstore")[0] == 0
        assert Path(f"{name}.npy").read_bytes() == Path(f"../{LOCAL}_{name}.npy").read_bytes()
    assert command(["deploy", "--locked", lock, "-c", "../calib"], "jfstore")[1].count("unchanged") == 2


def test_a_withdrawn_version_is_deployed_with_a_warning(lock: Path) -> None:
    jfstore.open("real").withdraw(f"{PANELS[0]}/{STAMP}/v1", "wrong bias")
    code, _, err = command(["generate", "--locked", lock], "jfstore")
    assert code == 0
    assert f"warning: {PANELS[0]}/{STAMP}/v1 was withdrawn by commit 3, " in err
    assert "wrong bias" in err
    assert values_of(Path()) == values_of(lock.parent)


def test_the_same_in_python(lock: Path) -> None:
    done = jfstore.generate(locked=lock)
    assert values_of(Path()) == values_of(lock.parent)
    assert done.constants.lock == decode_lock(lock.read_text(), "x")
    assert jfstore.deploy(locked=done.constants.lock, calibdir="calib").deployed[0].state == "deployed"
    with pytest.raises(jfstore.BadValue, match="leave these out"):
        jfstore.generate(RUN, locked=lock)
    with pytest.raises(jfstore.BadValue, match="the dataset is missing"):
        jfstore.generate()


def test_locks_that_cannot_be(lock: Path) -> None:
    assert command(["get", DETECTOR, "-T", BEGIN_STAMP, "--lock", "d.lock"], "jfstore")[0] == 0
    for words, expected, message in (
        (["generate", "--locked", "d.lock"], 2, "the lock is not of a run of an experiment"),
        (["generate", RUN, "--locked", lock], 2, f"leave out {RUN}"),
        (["deploy", "--locked", lock, "--undo"], 2, "leave out --locked"),
        (["generate", "--locked", "none"], 2, "none: no such file"),
    ):
        code, out, err = command(words, "jfstore")
        assert (code, out, err.count("\n")) == (expected, "", 1)
        assert message in err


def test_a_gain_tree_has_no_lock(deploying_here: Path) -> None:
    code, _, err = command(["generate", RUN, "--repo", TREE, "--lock", "x.lock"], "jfstore")
    assert (code, "cannot be pinned by a lock" in err) == (2, True)
    assert not Path("x.lock").exists()
    assert command(["deploy", RUN, "--repo", TREE, "-c", "calib"], "jfstore")[0] == 0
    note = data_of("calib").with_name("631-end.jfstore.json")
    assert "lock" not in json.loads(note.read_text())["deployments"][0]
    code, _, err = command(["get", "--locked", note], "jfstore")
    assert (code, "notes a deployment without a lock" in err) == (2, True)


def test_notes_of_earlier_releases_are_read_and_kept(tmp_path: Path) -> None:
    (tmp_path / "calib").mkdir()
    file, old, _, _ = deployment(tmp_path / "calib", 1)
    file.directory.mkdir(parents=True)
    file.note.write_bytes(encode_note(file, [old]))
    assert "lock" not in json.loads(file.note.read_text())["deployments"][0]
    (read,) = read_note(file)
    assert (read.lock, read.source) == (None, SOURCE)
    value = json.loads(file.note.read_text())
    value["deployments"][0]["lock"] = 7
    file.note.write_text(json.dumps(value))
    with pytest.raises(jfstore.Damaged, match="is not a note of jfstore"):
        read_note(file)


def test_a_commit_that_is_missing_does_not_stop_a_deployment(deploying_here: Path) -> None:
    """The index has its versions; only the lock cannot be made."""
    add_constants(jfstore.open("real"), 5, "20190101000000")
    (deploying_here / "real/log/0000000001.json").unlink()
    code, _, err = command(["deploy", RUN, "-c", "calib"], "jfstore")
    assert code == 0
    assert "warning: the constants cannot be pinned by a lock: " in err
    (noted,) = read_note(CalibFile(deploying_here / "calib", SOURCE, "pixel_gain", 631))
    assert noted.lock is None
