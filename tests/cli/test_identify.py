"""``identify`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jfstore.cli.app import main
from tests.makers.deployed import DETECTOR, PANELS, STAMP, make_world
from tests.makers.deployed import SHAPE as PANEL_SHAPE

A, B = (f"{panel}/{STAMP}/v1" for panel in PANELS)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = make_world(tmp_path).get(DETECTOR, "pixel_gain", "20180101000000")
    np.save("exchanged.npy", array[:, ::-1])
    np.save("rounded.npy", np.round(array.astype("f8"), 4))
    np.save("other.npy", np.random.default_rng(1).normal(41.5, 1, PANEL_SHAPE))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["identify", *words, "--repo", "./real"])
    out, err = capsys.readouterr()
    return code, out, err


def test_files_are_identified(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "exchanged.npy", "rounded.npy", "-d", DETECTOR)
    assert code == 0
    undated = "171113-154920171025-3d00"
    assert out.splitlines() == [
        "file\tpanel\ttype\tversion\thow\talso\tarray",
        f"exchanged.npy\t0\tpixel_gain\t{B}\tequal\t{undated}f7/00000000000000/v1\t-",
        f"exchanged.npy\t1\tpixel_gain\t{A}\tequal\t{undated}b0/00000000000000/v1\t-",
        f"rounded.npy\t0\tpixel_gain\t{A}\trounded to %.4f\t{undated}b0/00000000000000/v1\t-",
        f"rounded.npy\t1\tpixel_gain\t{B}\trounded to %.4f\t{undated}f7/00000000000000/v1\t-",
    ]
    assert err == "exchanged.npy: panels 0 and 1 are exchanged, compared with the detector Id\n"


def test_what_is_not_stored(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "other.npy")
    assert code == 3
    assert out.splitlines()[1] == "other.npy\t0\t-\t-\tis like nothing that is stored\t-\t-"
    np.save("odd.npy", np.zeros((2, 3)))
    code, out, _ = run(capsys, "odd.npy")
    assert code == 3
    assert out.splitlines()[1] == "odd.npy\t-\t-\t-\tshape 2x3 is not that of panels\t\t-"


def test_files_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "none.npy")
    assert (code, out, err) == (2, "", "jfstore: error: none.npy: no such file\n")
    code, out, _ = run(capsys, "none.npy", "rounded.npy")
    assert code == 2
    assert [line.split("\t")[0] for line in out.splitlines()[1:]] == ["none.npy", "rounded.npy", "rounded.npy"]
    code, out, _ = run(capsys, "none.npy", "rounded.npy", "--json")
    values = json.loads(out)
    assert (code, values[0]["error"]["kind"], values[1]["identified"]) == (2, "bad_value", True)


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "exchanged.npy", "--json")
    (value,) = json.loads(out)
    array = value["arrays"][0]
    assert (code, value["identified"], array["shape"], array["name"]) == (0, True, [3, 2, *PANEL_SHAPE[1:]], None)
    assert array["panels"][0]["versions"] == [B, "171113-154920171025-3d00f7/00000000000000/v1"]
    assert array["panels"][0]["relation"]["equal"] is True
