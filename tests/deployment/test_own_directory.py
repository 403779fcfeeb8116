"""Constants of a test repository do not reach an experiment's own calibration directory unasked; local files stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import jfstore
from tests.makers import deployed as world
from tests.makers.deployed import LOCAL, RUN, command
from tests.makers.telling import XTC


@pytest.fixture
def own(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiment's own calibration directory, which is not there yet; the test repository is like the real one."""
    shutil.copytree(XTC, "psdm")
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "psdm"))
    test = jfstore.init("./test", "test", panel_shape=world.SHAPE)
    world.add_constants(test, 3)
    monkeypatch.setenv("JFSTORE_TEST", str(deploying_here / "test"))
    return deploying_here / "psdm/XCS/xcsls3716/calib"


@pytest.mark.parametrize(
    "calibdir", [[], ["-c", "psdm/XCS/xcsls3716/calib"], ["-c", "psdm/XCS/xcsls3716/xtc/../calib"]]
)
def test_deploy_from_test_needs_yes(own: Path, calibdir: list[str]) -> None:
    words = ["deploy", RUN, "--repo", "test", *calibdir]
    code, _, err = command(words, "jfstore")
    assert code == 5
    assert "--yes" in err
    assert not own.exists()
    assert command([*words, "--dry-run"], "jfstore")[0] == 0
    assert not own.exists()
    assert command([*words, "--yes"], "jfstore")[0] == 0
    assert len(list(own.rglob("631-end.data"))) == 2


def test_deploy_elsewhere_or_from_real_needs_no_yes(own: Path) -> None:
    assert command(["deploy", RUN, "--repo", "test", "-c", "elsewhere"], "jfstore")[0] == 0
    assert command(["deploy", RUN], "jfstore")[0] == 0
    assert len(list(own.rglob("631-end.data"))) == 2


def test_the_old_command_refuses_and_names_the_new_one(own: Path) -> None:
    code, _, err = command(["-d", RUN, "-D", "-R", "test"])
    assert code == 5
    assert f"jfstore deploy {RUN} --yes" in err
    assert not own.exists()
    assert not list(Path().glob(f"{LOCAL}*"))


def test_python_needs_the_argument(own: Path) -> None:
    with pytest.raises(jfstore.Refused):
        jfstore.deploy(RUN, repo="test")
    assert jfstore.deploy(RUN, repo="test", from_test=True).needs_confirmation


def test_generate_leaves_files_with_other_values(own: Path) -> None:
    assert command(["generate", RUN], "jfstore")[0] == 0
    before = {path.name: path.read_bytes() for path in Path().glob(f"{LOCAL}*")}
    assert len(before) == 4
    code, _, err = command(["generate", RUN, "--repo", "test"], "jfstore")
    assert code == 5
    assert "--force" in err
    assert {path.name: path.read_bytes() for path in Path().glob(f"{LOCAL}*")} == before
    assert command(["generate", RUN], "jfstore")[0] == 0
    assert command(["generate", RUN, "--repo", "test", "--force"], "jfstore")[0] == 0
    array = jfstore.open("test").get(world.DETECTOR, "pixel_gain", world.BEGIN_STAMP)
    assert np.load(f"{LOCAL}_pixel_gain.npy").tobytes() == array.tobytes()


def test_generate_leaves_what_it_cannot_read(own: Path) -> None:
    Path(f"{LOCAL}_pixel_offset.txt").write_text("mine")
    assert command(["generate", RUN], "jfstore")[0] == 5
    assert [path.name for path in Path().glob(f"{LOCAL}*")] == [f"{LOCAL}_pixel_offset.txt"]
