"""Constants of runs of LCLS-II: files as large as psana2's arrays, commands for its database, what detectors take."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.formats.text import read_text
from jfstore.repository import Repository
from tests.makers import xtc2 as made
from tests.makers.absent_segments import DETECTOR, EXP, PANELS, RUN, SEGMENTS, SHAPE, spread, stack
from tests.makers.arrays import plausible_of
from tests.makers.deployed import command
from tests.makers.repositories import new_repository

STAMP = "20250328000000"
NORMAL = ("pixel_gain", "pixel_offset", "pedestals", "pixel_rms", "pixel_status", "status_extra", "pixel_mask")


def write_run(number: int, segments: tuple[int, ...] = SEGMENTS, gain0: int = 0) -> None:
    """Write a run in two streams, which have every second segment."""
    named = {segment: made.panel(100 + segment) for segment in segments}
    parts = [dict(list(named.items())[first::2]) for first in (0, 1)]
    streams = [made.stream(made.configured(part, gain0=gain0), EXP, number) for part in parts]
    made.write(Path("data"), EXP, number, *streams)


def filled(name: str) -> np.ndarray:
    return spread(stack(name), 2**64 - 1 if name == "pixel_status" else 0)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    monkeypatch.setenv("JFSTORE_TEST", str(tmp_path / "test"))
    write_run(7)
    repository = new_repository("./real", "real", SHAPE)
    repository.add(DETECTOR, STAMP, {name: stack(name) for name in NORMAL}, "made")
    return repository


def local(name: str, suffix: str = ".npy") -> Path:
    return Path(f"{EXP}-r0007_jungfrau_{DETECTOR}_{name}{suffix}")


# -- files


def test_files_are_as_large_as_the_arrays_of_psana2(repository: Repository) -> None:
    code, _, err = command(["generate", RUN], "jfstore")
    assert code == 0
    assert "warning: jungfrau lacks the segments 1, 3, 4, 6, 7 of 8" in err
    for name in NORMAL:
        array = np.load(local(name))
        assert (array.shape, array.tobytes()) == (filled(name).shape, filled(name).tobytes())
        assert "\n# SEGMENTS    0 2 5\n" in local(name, ".txt").read_text()
        assert read_text(local(name, ".txt")).array.tobytes() == filled(name).tobytes()


def test_a_complete_detector_has_no_places_of_zeros(repository: Repository) -> None:
    write_run(8, (0, 1))
    pair = {name: np.stack([plausible_of(name, SHAPE, n) for n in (0, 3)], -3) for name in ("pedestals", "pixel_rms")}
    repository.add(f"{PANELS[0]}_{made.panel(101)}", STAMP, pair, "a pair", accept="other-panel")
    done = jfstore.generate(f"exp={EXP}:run=8", types=list(pair))
    assert not done.notes
    assert done.constants.arrays["pedestals"].tobytes() == pair["pedestals"].tobytes()


def test_deploy_refuses_and_says_what_to_do(repository: Repository) -> None:
    for words in (["deploy", RUN, "-c", "calib"], ["generate", RUN, "-D", "-c", "calib"]):
        code, out, err = command(words, "jfstore")
        assert (code, out) == (5, "")
        assert f"psana2 reads its calibration database, not files: jfstore generate {RUN} -U" in err
    assert command(["-d", RUN, "-D", "-c", "calib"])[0] == 5
    assert not list(Path().glob(f"{EXP}-*"))
    assert not Path("calib").exists()


# -- commands for uploading


def commands_of(*words: str) -> list[list[str]]:
    code, out, _ = command(["generate", RUN, *words, "-U"], "jfstore")
    assert code == 0
    return [shlex.split(line) for line in out.splitlines() if not line.startswith("#")]


def test_the_commands_of_psana2_have_its_options(repository: Repository) -> None:
    cdb = [words for words in commands_of() if words[0] == "cdb"]
    assert len(cdb) == len(NORMAL)
    for words, name in zip(cdb, NORMAL, strict=True):
        options = dict(zip(words[2::2], words[3::2], strict=True))
        assert words[1] == "add"
        # The database knows a detector by its type and panels, not by the name that it has in the experiment.
        assert options.pop("-d") == f"jungfrau_{DETECTOR}"
        assert options.pop("-m").startswith("See command: jfstore generate")
        assert options == {"-e": EXP, "-c": name, "-r": "7", "-s": str(made.START), "-f": str(local(name))}
        assert Path(options["-f"]).exists()


def test_the_commands_of_jfstore_store_the_panels(repository: Repository) -> None:
    new_repository("./test", shape=SHAPE)
    adds = [words for words in commands_of() if words[0] == "jfstore"]
    assert [words[words.index("--repo") + 1] for words in adds] == ["test", "real"]
    assert not [words for words in commands_of() if words[0] == "dcs"]
    assert main([*adds[0][1:]]) == 0
    stored = jfstore.open("test")
    for name in NORMAL:
        assert stored.get(RUN, name).tobytes() == stack(name).tobytes()


def test_of_another_time_only_the_database_can_have_the_places(repository: Repository) -> None:
    words = commands_of("-T", "20250329000000")
    assert {one[0] for one in words} == {"cdb"}


def test_files_of_the_high_range(repository: Repository) -> None:
    write_run(9, gain0=1)
    high = {name: stack(name, 50) for name in ("pixel_gain_hg0", "pixel_offset_hg0", "pedestals_hg0")}
    repository.add(DETECTOR, STAMP, high, "high", accept="other-panel")
    found = jfstore.calibconst(f"exp={EXP}:run=9", types=["pixel_gain", "pixel_offset", "pedestals"])
    assert list(found) == ["pixel_gain", "pixel_offset", "pedestals"]
    assert found["pedestals"][0].tobytes() == spread(high["pedestals_hg0"]).tobytes()
    assert json.loads(found["pedestals"][1]["extpars"])["stored_type"] == "pedestals_hg0"


# -- what psana2's detectors take


class Detector:
    """Uses constants as psana2's detectors do (calibconstants.py, UtilsJungfrau.py and UtilsMask.py of lcls2)."""

    def __init__(self, constants: dict[str, tuple[np.ndarray, dict[str, Any]]], segments: tuple[int, ...]) -> None:
        self.constants, self.segments = constants, segments

    def array(self, name: str) -> np.ndarray | None:
        return self.constants.get(name, (None, None))[0]

    def describe(self) -> str:
        lines = [f"exp:{about['experiment']} run:{about['run']:04d}" for _, about in self.constants.values()]
        return "\n".join(lines)

    def mask(self) -> np.ndarray:
        """Return the mask of the whole detector: no status in any gain range, and the mask of pixels."""
        peds = self.array("pedestals")
        assert peds is not None
        good = np.ones(peds.shape, bool)
        for name in ("pixel_status", "status_extra"):
            if (status := self.array(name)) is not None:
                good &= (status.astype(np.uint64) & np.uint64(2**64 - 1)) == 0
        merged = good.all(axis=0)
        if (mask := self.array("pixel_mask")) is not None:
            merged = np.logical_and(merged, mask.astype(np.uint8))
        return np.asarray(merged, np.uint8)

    def calib(self, raw: np.ndarray) -> np.ndarray:
        """Return calibrated values of the segments in the data."""
        peds, gain, offset = (self.array(name) for name in ("pedestals", "pixel_gain", "pixel_offset"))
        assert peds is not None
        poff = peds if offset is None else peds + offset
        factor = np.ones_like(peds)
        if gain is not None:
            factor = np.divide(np.ones_like(peds), gain, out=np.zeros_like(peds), where=gain != 0)
        mask = self.mask()
        out = np.zeros(raw.shape, np.float32)
        for number, segment in enumerate(self.segments):
            bits = raw[number] >> 14
            value = (raw[number] & 0x3FFF).astype(np.float32)
            for code, gain_range in ((0, 0), (1, 1), (3, 2)):
                chosen = bits == code
                result = (value - poff[gain_range, segment]) * factor[gain_range, segment] * mask[segment]
                out[number][chosen] = result[chosen]
        return out


def test_a_detector_of_psana2_calibrates_with_them(repository: Repository) -> None:
    constants = jfstore.calibconst(RUN)
    assert set(constants) == set(NORMAL)
    random = np.random.default_rng(7)
    raw = (random.integers(2000, 16000, (3, *SHAPE[1:])) | random.choice([0, 1, 3], (3, *SHAPE[1:])) << 14).astype("u2")
    detector = Detector(constants, SEGMENTS)
    assert detector.describe().count(f"exp:{EXP} run:0007") == len(NORMAL)
    made_of = {name: stack(name) for name in NORMAL}
    expected = np.zeros(raw.shape)
    for panel, row, column in np.ndindex(*raw.shape):
        g = {0: 0, 1: 1, 3: 2}[int(raw[panel, row, column]) >> 14]
        at = (g, panel, row, column)
        good = made_of["pixel_mask"][panel, row, column] and not any(
            made_of[name][:, panel, row, column].any() for name in ("pixel_status", "status_extra")
        )
        adc = np.float32(raw[panel, row, column] & 0x3FFF) - (made_of["pedestals"][at] + made_of["pixel_offset"][at])
        expected[panel, row, column] = adc / made_of["pixel_gain"][at] if good else 0.0
    got = detector.calib(raw)
    assert np.allclose(got, expected, rtol=1e-5, atol=1e-4)
    assert 0 < np.count_nonzero(got) < got.size
    # Absent segments are masked, whatever the data of another run has there.
    assert [int(plane.any()) for plane in detector.mask()] == [1, 0, 1, 0, 0, 1, 0, 0]


def test_metadata_are_those_of_a_document(repository: Repository) -> None:
    array, about = jfstore.calibconst(RUN, types="pedestals")["pedestals"]
    assert json.loads(json.dumps(about)) == about
    assert {key: about[key] for key in ("experiment", "run", "ctype", "detname", "dettype", "time_stamp")} == {
        "experiment": EXP,
        "run": 7,
        "ctype": "pedestals",
        "detname": "jungfrau",
        "dettype": "jungfrau",
        "time_stamp": "2025-03-28T07:00:00+0000",
    }
    assert about["longname"] == f"jungfrau_{DETECTOR}"
    assert (about["data_dtype"], about["data_shape"]) == ("float32", "(3, 8, 16, 32)")
    extra = json.loads(about["extpars"])
    assert extra["versions"] == [f"{panel}/{STAMP}/v1" for panel in PANELS]
    assert any("lacks the segments" in note for note in extra["notes"])
    assert array.dtype == np.float32


def test_constants_of_a_lock(repository: Repository) -> None:
    Path("run.lock").write_text(repository.find(RUN).lock().text)
    locked = jfstore.calibconst(locked="run.lock")
    for name, (array, _) in jfstore.calibconst(RUN).items():
        assert locked[name][0].tobytes() == array.tobytes()


def test_missing_constants_are_no_zeros(repository: Repository) -> None:
    repository.close(PANELS[1], STAMP, "broken", types="pedestals")
    with pytest.raises(jfstore.NotFound, match="pedestals"):
        jfstore.calibconst(RUN)
