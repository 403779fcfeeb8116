"""The audit and the impact of every calibration type that psana1 reads: by notes, by values, and of the high range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.deployment.audit import Finding
from jfstore.repository import Repository
from tests.makers.deployed_types import (
    EXP,
    HIGH,
    NORMAL,
    PANELS,
    PSANA_DTYPES,
    SHAPE,
    SOURCE,
    arrays_of,
    deployed_file,
    make_repository,
    read_as_psana1,
    write_high_run,
    write_runs,
)

CALIB = Path("calib")
LATER = "20180625000000"
# As psana's commands write them (lcls-psana/Detector, src/UtilsJungfrauCalib.py), and the older ones of gains.
FORMATS = {
    "pixel_gain": "%.6f",
    "pixel_offset": "%.6f",
    "pedestals": "%.3f",
    "pixel_rms": "%.3f",
    "pixel_status": "%4i",
    "status_extra": "%4i",
    "pixel_mask": "%d",
}
every_type = pytest.mark.parametrize("name", PSANA_DTYPES)
floats = pytest.mark.parametrize("name", [name for name, dtype in PSANA_DTYPES.items() if dtype == "f4"])
integers = pytest.mark.parametrize("name", [name for name, dtype in PSANA_DTYPES.items() if dtype != "f4"])


@pytest.fixture
def repository(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    write_runs(tree, 0)
    return make_repository(tmp_path / "real")


def deploy(repository: Repository, run: int = 1) -> None:
    jfstore.deploy(f"exp={EXP}:run={run}", repo=repository, calibdir=CALIB)


def remove_notes() -> None:
    for path in CALIB.rglob("*.jfstore.json"):
        path.unlink()


def audit(repository: Repository) -> dict[str, Finding]:
    found = jfstore.audit(CALIB, experiment=EXP, repo=repository).findings
    return {str(finding.type): finding for finding in found}


def put(array: np.ndarray, name: str, fmt: str | None = None, dtype: str | None = None) -> Path:
    """Write a text as psana's NDArrIO does."""
    path = deployed_file(CALIB, name)
    path.parent.mkdir(parents=True)
    keys = [("DTYPE", dtype or array.dtype.name), ("NDIM", array.ndim)]
    keys += [(f"DIM:{axis}", size) for axis, size in enumerate(array.shape)]
    header = "\n".join(f"# {key:<11} {value}" for key, value in keys) + "\n"
    np.savetxt(path, array.reshape(-1, array.shape[-1]), fmt or FORMATS[name], header=header, comments="")
    return path


@pytest.mark.parametrize("noted", [True, False])
def test_what_was_deployed_is_current(noted: bool, repository: Repository) -> None:
    deploy(repository)
    if not noted:
        remove_notes()
    found = audit(repository)
    assert {name: finding.state for name, finding in found.items()} == dict.fromkeys(PSANA_DTYPES, "current")
    assert all(len(finding.versions) == 2 for finding in found.values())


@pytest.mark.parametrize("noted", [True, False])
def test_another_valid_version_makes_files_stale(noted: bool, repository: Repository) -> None:
    deploy(repository)
    if not noted:
        remove_notes()
    changed = {name: array[..., 0, :, :] for name, array in arrays_of(NORMAL, 5).items()}
    repository.add(PANELS[0], LATER, changed, "again", accept="other-panel")
    found = audit(repository)
    assert {finding.state for finding in found.values()} == {"stale"}
    assert all(f"was replaced by {PANELS[0]}/{LATER}/v1" in finding.detail for finding in found.values())


@floats
def test_values_in_a_format_of_psana_are_recognised(name: str, repository: Repository) -> None:
    put(arrays_of((name,))[name], name)
    finding = audit(repository)[name]
    assert (finding.state, finding.detail.startswith("current: ")) == ("rounded copy", True)
    deployed_file(CALIB, name).unlink()
    deployed_file(CALIB, name).parent.rmdir()
    put(arrays_of((name,), 3)[name], name)
    assert audit(repository)[name].state == "unknown"


@integers
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_integers_are_exact_whatever_the_header_says(name: str, dtype: str, repository: Repository) -> None:
    put(arrays_of((name,))[name], name, dtype=dtype)
    assert audit(repository)[name].state == "current"


@integers
def test_integers_without_a_header_are_recognised(name: str, repository: Repository) -> None:
    path = put(arrays_of((name,))[name], name)
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("#")))
    assert audit(repository)[name].state == "current"


@every_type
def test_a_changed_value_is_seen(name: str, repository: Repository) -> None:
    array = arrays_of((name,))[name]
    array[..., 1, 3, 4] = 1 - array[..., 1, 3, 4] if name == "pixel_mask" else array[..., 1, 3, 4] + 2
    put(array, name, "%.9g" if array.dtype.kind == "f" else None)
    finding = audit(repository)[name]
    ranges = 1 if name == "pixel_mask" else 3
    assert (finding.state, finding.detail.split(";")[0]) == ("edited", f"{ranges} of {array.size} values differ")


@pytest.mark.parametrize("value", [-1.0, 0.5])
@integers
def test_values_that_are_no_such_integers(name: str, value: float, repository: Repository) -> None:
    array = arrays_of((name,))[name].astype("f4")
    array[..., 0, 0, 0] = value
    put(array, name, "%.1f")
    finding = audit(repository)[name]
    assert (finding.state, f"its values are not those of {name}" in finding.detail) == ("unknown", True)


def test_a_mask_has_no_gain_axis(repository: Repository) -> None:
    put(np.ones((3, 2, *SHAPE[1:]), "u1"), "pixel_mask")
    finding = audit(repository)["pixel_mask"]
    assert (finding.state, finding.detail) == ("unknown", "its shape is not that of panels of this repository")


# -- the high first gain range


@pytest.fixture
def high(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    write_high_run(tree, 1)
    write_runs(tree, 0, first=2)
    return make_repository(tmp_path / "real", NORMAL + HIGH)


@pytest.mark.parametrize("noted", [True, False])
def test_files_of_the_high_range_are_compared_with_it(noted: bool, high: Repository) -> None:
    deploy(high)
    if not noted:
        remove_notes()
    assert {finding.state for finding in audit(high).values()} == {"current"}
    later = {"pixel_gain_hg0": arrays_of(HIGH, 5)["pixel_gain_hg0"][:, 0]}
    high.add(PANELS[0], LATER, later, "again", accept="other-panel")
    found = audit(high)
    assert found["pixel_gain"].state == "stale"
    assert {found[name].state for name in found if name != "pixel_gain"} == {"current"}


def test_normal_constants_of_a_high_run_are_stale(high: Repository) -> None:
    normal = arrays_of(NORMAL)["pixel_gain"]
    put(normal, "pixel_gain", "%.9g")
    found = audit(high)["pixel_gain"]
    assert found.state == "unknown", "no version of pixel_gain_hg0 is like that"
    deploy_path = deployed_file(CALIB, "pixel_gain", "2-end.data")
    deployed_file(CALIB, "pixel_gain").rename(deploy_path)
    assert audit(high)["pixel_gain"].state == "current"


def test_without_xtc_files_the_note_says_the_type(high: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(high)
    monkeypatch.setenv("SIT_PSDM_DATA", "/nowhere")
    assert {finding.state for finding in audit(high).values()} == {"current"}
    path = deployed_file(CALIB, "pixel_gain")
    path.write_text(path.read_text().replace("# UID", "# WHO"))
    finding = audit(high)["pixel_gain"]
    assert (finding.state, "only its header was changed" in finding.detail) == ("current", True)
    assert np.array_equal(read_as_psana1(path, "pixel_gain"), arrays_of(HIGH)["pixel_gain_hg0"])


# -- impact


def test_the_impact_of_darks_and_masks(repository: Repository, tree: Path) -> None:
    jfstore.deploy(f"exp={EXP}:run=1", repo=repository)
    changed = {name: array[..., 0, :, :] for name, array in arrays_of(NORMAL, 5).items()}
    planned = repository.add(PANELS[0], LATER, changed, "again", accept="other-panel", dry_run=True)
    impact = jfstore.impact(planned, repo=repository)
    assert [run.types for run in impact.runs] == [tuple(sorted(NORMAL))]
    assert {file.type: file.state for file in impact.files} == dict.fromkeys(PSANA_DTYPES, "becomes stale")
    assert all(file.is_noted for file in impact.files)
    sizes = {(size.type, size.gain): size for size in impact.sizes}
    assert sizes["pixel_mask", 0].median is None
    assert sizes["pedestals", 2].median is not None
    notes = list(tree.rglob("*.jfstore.json"))
    assert len(notes) == len(PSANA_DTYPES)
    for note in notes:
        note.unlink()
    compared = jfstore.impact(planned, repo=repository, compare=True)
    assert {file.type: file.state for file in compared.files} == dict.fromkeys(PSANA_DTYPES, "becomes stale")
    assert not any(file.is_noted for file in compared.files)


def test_the_impact_on_runs_of_the_high_range(high: Repository, tree: Path) -> None:
    for run in (1, 2):
        jfstore.deploy(f"exp={EXP}:run={run}", repo=high)
    for name, run in (("pixel_gain_hg0", 1), ("pixel_gain", 2)):
        later = {name: arrays_of(NORMAL + HIGH, 5)[name][:, 0]}
        planned = high.add(PANELS[0], LATER, later, "again", accept="other-panel", dry_run=True)
        impact = jfstore.impact(planned, repo=high)
        assert [(one.run, one.types) for one in impact.runs] == [(run, (name,))]
        found = [(one.run, one.source, one.type, one.state) for one in impact.files]
        assert found == [(run, SOURCE, "pixel_gain", "becomes stale")]
