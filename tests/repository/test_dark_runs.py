"""What runs with a high first gain range measured is stored as such, wherever it comes from."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.formats.text import format_text
from jfstore.repository import Repository
from tests.makers import xtc2
from tests.makers.arrays import constants, darks
from tests.makers.calibdirs import EXPERIMENT, SOURCES, START, P, calibdir_of, id_of
from tests.makers.panel_repository import FIRST, IDS, SECOND, make_panel_repository
from tests.makers.psana2 import EXPERIMENT as DATABASE_EXPERIMENT
from tests.makers.psana2 import PANELS, SHORT, Database, detector_array, serve_database
from tests.makers.psana2 import START as DATABASE_START
from tests.makers.xtc import jungfrau_config, run_bytes, write_run

SHAPE = (3, 16, 32)
HIGH_GAIN_0 = 5


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return jfstore.init("R", "test", panel_shape=SHAPE)


def write_xtc2(experiment: str, run: int, panels: tuple[str, ...], gain0: int | None) -> None:
    objects = xtc2.configured(dict(enumerate(panels)), gain0=gain0)
    xtc2.write(Path("data"), experiment, run, xtc2.stream(objects, experiment, run))


def test_text_files_of_dark_runs(repository: Repository) -> None:
    made = make_panel_repository(Path("constants"), panels={0: IDS[0]})
    write_xtc2(FIRST.experiment, FIRST.run, IDS[:1], 1)
    write_xtc2(SECOND.experiment, SECOND.run, IDS[:1], 0)
    added = repository.import_panel_repository("constants", "darks")
    assert any(f"first gain range of exp={FIRST.experiment}:run={FIRST.run} is the high one" in n for n in added.notes)
    of_high, of_normal = (set(version.content) for version in added.versions)
    assert {"pedestals_hg0", "pixel_rms_hg0", "pixel_status_hg0", "pixel_max"} <= of_high
    assert {"pedestals", "pixel_rms", "pixel_status", "pixel_max"} <= of_normal
    got = repository.get(IDS[0], "pedestals_hg0", FIRST.stamp)
    assert got[:, 0].tobytes() == made[IDS[0], FIRST.stamp]["pedestals"].tobytes()
    assert not repository.import_panel_repository("constants", "again").versions


@pytest.mark.parametrize("is_there", [False, True])
def test_a_run_that_does_not_say_it_is_noted(is_there: bool, repository: Repository) -> None:
    make_panel_repository(Path("constants"), panels={0: IDS[0]}, darks=(FIRST,))
    if is_there:
        write_xtc2(FIRST.experiment, FIRST.run, IDS[:1], None)
    added = repository.import_panel_repository("constants", "darks")
    assert any("do not say whether the first gain range was the high one" in note for note in added.notes)
    assert "pedestals" in added.versions[0].content


def test_documents_of_psana2(repository: Repository) -> None:
    write_xtc2(DATABASE_EXPERIMENT, 5, PANELS, 1)
    database = Database()
    array = detector_array("pedestals", SHAPE, range(len(PANELS)))
    database.deploy(array, ctype="pedestals", run=5, run_orig=5)
    database.deploy(detector_array("pixel_gain", SHAPE, range(len(PANELS))), ctype="pixel_gain", run=5, run_orig=5)
    with serve_database(database) as served:
        added = repository.import_psana2(SHORT, "darks", url=served.base)
        assert not repository.import_psana2(SHORT, "again", url=served.base).versions
    assert {name for version in added.versions for name in version.content} == {"pedestals_hg0", "pixel_gain"}
    got = repository.get("_".join(PANELS), "pedestals_hg0", f"@{DATABASE_START}")
    assert got.tobytes() == array.tobytes()


def test_calibration_directories(repository: Repository) -> None:
    config = bytearray(jungfrau_config(3, [P]))
    struct.pack_into("<H", config, 16, HIGH_GAIN_0)
    plain = run_bytes([P], START, 1)
    for run, is_high in ((1, False), (2, True), (3, False)):
        data = run_bytes([P], START + 86400 * run, run)
        write_run(
            Path("data"),
            "MFX",
            EXPERIMENT,
            run,
            data.replace(jungfrau_config(3, [P]), bytes(config)) if is_high else data,
        )
    assert jungfrau_config(3, [P]) in plain
    normal, high = (constants(SHAPE, seed) for seed in (1, 2))
    for arrays, names in ((normal, ("1-1", "3-end")), (high, ("2-2",))):
        for name, array in arrays.items():
            directory = calibdir_of(Path("data")) / "Jungfrau::CalibV1" / SOURCES[0] / name
            directory.mkdir(parents=True, exist_ok=True)
            for one in names:
                (directory / f"{one}.data").write_bytes(b"".join(format_text(array[:, np.newaxis])))
    added = repository.import_calibdir(calibdir_of(Path("data")), "as psana takes them", accept="other-panel")
    assert not added.skipped
    for run, arrays in ((1, normal), (2, high), (3, normal)):
        answer = repository.find(f"exp={EXPERIMENT}:run={run}")
        assert answer["pixel_gain"][:, 0].tobytes() == arrays["pixel_gain"].tobytes()
        assert answer["pixel_offset"][:, 0].tobytes() == arrays["pixel_offset"].tobytes()
    assert set(repository.find(f"exp={EXPERIMENT}:run=2").types) == {"pixel_gain_hg0", "pixel_offset_hg0"}
    again = repository.import_calibdir(calibdir_of(Path("data")), "again")
    assert (again.versions, again.stated) == ((), ())
    assert id_of(P) == added.versions[0].panel


def test_normal_types_are_not_added_by_such_a_run(repository: Repository) -> None:
    write_xtc2("mfxx00001", 8, IDS[:1], 1)
    array = darks(SHAPE)["pedestals"][:, np.newaxis]
    with pytest.raises(jfstore.BadValue, match="add it as pedestals_hg0, or give the detector Id and a time"):
        repository.add("exp=mfxx00001:run=8", None, {"pedestals": array}, "x")
    repository.add("exp=mfxx00001:run=8", None, {"pedestals_hg0": array}, "x")
    assert repository.get("exp=mfxx00001:run=8", "pedestals").tobytes() == array.tobytes()
