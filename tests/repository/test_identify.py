"""Identify files: of other programs, of jfstore, rounded, multiplied, in another order, and of nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.demo_data import constants
from jfstore.core.guard import DEMO_FILE
from jfstore.formats.text import format_text
from jfstore.repository.identifying import Identifier
from tests.makers.deployed import DETECTOR, PANELS, REFERENCE, RUN, SHAPE, STAMP, TREE, make_world
from tests.makers.repositories import flip, new_repository

A, B = PANELS
NEW = "171113-154920171025-3d00fb/20180306000000/v1"
LEVELS = np.array([41.5, -1.39, -0.11])[:, None, None]
MERGED = REFERENCE / "gains-tree/merged"
WORDS = {".npy": "equal", "gain.txt": "rounded to %.4f", "offset.txt": "rounded to %.1f"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> jfstore.Repository:
    """The reference's gains in a repository, as two commits that add a detector."""
    root = tmp_path_factory.mktemp("identify")
    make_world(root)
    return jfstore.open(root / "real")


@pytest.fixture(scope="module")
def identifier(world: jfstore.Repository) -> Identifier:
    return Identifier(world)


def words_of(found: jfstore.Identified) -> list[tuple[str | None, str, str]]:
    """Return type, version and relation of each panel of a file."""
    return [
        (panel.type, panel.versions[0] if panel.versions else "", str(panel.relation))
        for array in found.arrays
        for panel in array.panels
    ]


def gains(world: jfstore.Repository) -> np.ndarray:
    return np.array(world.get(DETECTOR, "pixel_gain", "20180101000000"))


@pytest.mark.parametrize("path", sorted(MERGED.iterdir()), ids=lambda path: path.name)
def test_merged_files_of_the_old_programs(path: Path, identifier: Identifier) -> None:
    found = identifier.identify(path)
    relation = next(words for end, words in WORDS.items() if path.name.endswith(end))
    calib_type = "pixel_gain" if "gain" in path.name else "pixel_offset"
    names = [f"{A}/{STAMP}/v1", f"{B}/{STAMP}/v1"]
    if "1panel" in path.name:
        names = [NEW.replace("20180306", "20190101") if "2019" in path.name else NEW]
    assert words_of(found) == [(calib_type, name, relation) for name in names]
    assert found.is_identified
    assert found.notes == ()


@pytest.mark.parametrize("path", sorted(TREE.glob("M0*/*.npy")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_single_gain_ranges_of_the_tree(path: Path, identifier: Identifier) -> None:
    names = {"M044": NEW, "M068": f"{A}/{STAMP}/v1", "M088": f"{B}/{STAMP}/v1"}
    name = names.get(path.parent.name, NEW.replace("20180306", "20190101"))
    gain, word = path.stem[1], path.stem[3:]
    assert words_of(identifier.identify(path)) == [(f"pixel_{word}", name, f"gain range {gain}")]


@pytest.mark.parametrize("path", sorted((REFERENCE / "text").glob("pixel*")), ids=lambda path: path.name)
def test_constants_that_nobody_added(path: Path, identifier: Identifier) -> None:
    found = identifier.identify(path)
    assert not found.is_identified
    assert all(panel.versions == () and panel.relation is None for array in found.arrays for panel in array.panels)


@pytest.mark.parametrize("kind", ["text", "rounded", "h5", "payload", "index"])
def test_what_jfstore_writes(
    kind: str, world: jfstore.Repository, identifier: Identifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(REFERENCE / "xtc"))
    expected = [("pixel_gain", f"{panel}/{STAMP}/v1", "equal") for panel in PANELS]
    if kind in ("text", "rounded"):
        jfstore.generate(RUN, directory=tmp_path, repo=world, fmt="%.3f" if kind == "rounded" else None)
        path = next(tmp_path.glob("*pixel_gain*.txt"))
        words = "rounded to %.3f" if kind == "rounded" else "equal"
        expected = [(calib_type, name, words) for calib_type, name, _ in expected]
    elif kind == "h5":
        from jfstore.cli.app import main

        path = tmp_path / "x.h5"
        options = ["-T", "20180101000000", "-t", "pixel_gain", "-f", str(path), "--repo", world.location]
        assert main(["get", DETECTOR, *options]) == 0
    elif kind == "payload":
        path = Path(world.location, world.version(f"{A}/{STAMP}/v1").file.path)
        expected = [("pixel_gain", f"{A}/{STAMP}/v1", "equal"), ("pixel_offset", f"{A}/{STAMP}/v1", "equal")]
    else:
        with pytest.raises(jfstore.BadValue, match="no dataset has 32 columns"):
            identifier.identify(Path(world.location, "jungfrau.h5"))
        return
    assert words_of(identifier.identify(path)) == expected


def test_the_order_of_panels(world: jfstore.Repository, tmp_path: Path) -> None:
    path, array = tmp_path / "x.npy", gains(world)
    np.save(path, array[:, ::-1])
    found = jfstore.identify(path, repo=world, detector=DETECTOR)
    assert found.arrays[0].order == "panels 0 and 1 are exchanged, compared with the detector Id"
    assert [name for _, name, _ in words_of(found)] == [f"{B}/{STAMP}/v1", f"{A}/{STAMP}/v1"]
    assert jfstore.identify(path, repo=world, detector=f"{B}_{A}").arrays[0].order == ""
    np.save(path, array[:, :1])
    with pytest.raises(jfstore.BadValue, match="has 1 panels, and the detector Id 2"):
        jfstore.identify(path, repo=world, detector=DETECTOR)
    np.save(path, array[:, [0, 0]])
    order = jfstore.identify(path, repo=world, detector=DETECTOR).arrays[0].order
    assert order == "the panels are those at 0, 0 of the detector Id"
    other = f"{A}_171113-154920171025-3d00fb"
    assert jfstore.identify(path, repo=world, detector=other).arrays[0].order.startswith("the panels are those at 0, 0")
    np.save(path, array)
    order = jfstore.identify(path, repo=world, detector=other).arrays[0].order
    assert order == "panel 1 is not the one of the detector Id"


def test_the_order_is_that_of_the_commit_or_of_the_file(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=SHAPE)
    three = "_".join([*PANELS, "1-2-3"])
    array = (np.random.default_rng(1).normal(1, 0.02, (3, 3, *SHAPE[1:])) * LEVELS[..., None]).astype("f4")
    repository.add(three, STAMP, {"pixel_gain": array}, "three")
    path = tmp_path / "x.npy"
    np.save(path, array)
    assert repository.identify(path).arrays[0].order == ""
    np.save(path, array[:, [0, 2, 1]])
    order = "panels 1 and 2 are exchanged, compared with commit 1"
    assert repository.identify(path).arrays[0].order == order
    np.save(path, array[:, [1, 2, 0]])
    assert repository.identify(path).arrays[0].order == "the panels are those at 1, 2, 0 of commit 1"
    np.save(path, array[:, [0, 2, 1]])
    repository.add(three, "20190101000000", {"pixel_gain": array[:, [0, 2, 1]]}, "exchanged on purpose")
    found = repository.identify(path).arrays[0]
    assert (found.order, found.panels[0].versions[0]) == ("", f"{PANELS[0]}/20190101000000/v1")
    np.save(path, array)
    found = repository.identify(path).arrays[0]
    assert (found.order, found.panels[0].versions[0]) == ("", f"{PANELS[0]}/{STAMP}/v1")
    np.save(path, array[:, [1, 2, 0]])
    assert repository.identify(path).arrays[0].order == "panels 0 and 2 are exchanged, compared with commit 2"
    facts = [("VERSION", f"{panel}/{STAMP}/v1") for panel in (PANELS[1], PANELS[0], "1-2-3")]
    (tmp_path / "x.txt").write_bytes(b"".join(format_text(array, facts)))
    order = "panels 0 and 1 are exchanged, compared with the detector Id"
    assert repository.identify(tmp_path / "x.txt").arrays[0].order == order


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: np.round(a.astype("f8"), 3), "rounded to %.3f"),
        (lambda a: a * np.float32(1000), "multiplied by 1000"),
        (lambda a: a * np.array([1, -1, -1], "f4")[:, None, None], "sign turned in gain range 1, 2"),
        (lambda a: a[:, ::-1, ::-1], "turned by 180 degrees"),
        (lambda a: a[:, :, ::-1].astype("f8") / 1000, "multiplied by 0.001, columns reversed"),
        (lambda a: a[[0, 2, 1]], "gain ranges in the order 0, 2, 1"),
    ],
)
def test_a_changed_copy_of_a_full_panel(change: object, words: str, full: Identifier, tmp_path: Path) -> None:
    array = change(constants(2, "gain"))  # type: ignore[operator]  # a lambda
    np.save(tmp_path / "x.npy", array)
    found = full.identify(tmp_path / "x.npy")
    assert words_of(found) == [("pixel_gain", f"{B}/{STAMP}/v1", words)]


def test_a_multiplied_copy_is_that_of_the_version_with_one_factor(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=SHAPE)
    array = (np.random.default_rng(1).normal(1, 0.02, SHAPE) * LEVELS).astype("f4")
    other = array * np.array([1, 1, 1.02], "f4")[:, None, None]
    for values in (array, other):
        repository.add(A, STAMP, {"pixel_gain": values}, "one")
    np.save(tmp_path / "x.npy", array * np.float32(-3))
    assert words_of(repository.identify(tmp_path / "x.npy")) == [("pixel_gain", f"{A}/{STAMP}/v1", "multiplied by -3")]


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_every_storage(storage: str, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=SHAPE, storage=storage)
    array = (np.random.default_rng(1).normal(1, 0.02, SHAPE) * LEVELS).astype("f4")
    repository.add(A, STAMP, {"pixel_gain": array}, "one")
    np.save(tmp_path / "x.npy", np.round(array, 2))
    assert words_of(repository.identify(tmp_path / "x.npy")) == [("pixel_gain", f"{A}/{STAMP}/v1", "rounded to %.2f")]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Identifier:
    """A repository of two full panels."""
    place = tmp_path_factory.mktemp("full")
    (place / DEMO_FILE).touch()
    repository = new_repository(place / "R", shape=(3, 512, 1024))
    for seed, panel in enumerate(PANELS, 1):
        repository.add(panel, STAMP, {f"pixel_{word}": constants(seed, word) for word in ("gain", "offset")}, "full")
    return Identifier(repository)


@pytest.mark.parametrize("value", [1, 1e5])
def test_a_copy_that_was_changed_in_places(value: float, full: Identifier, tmp_path: Path) -> None:
    array = constants(2, "gain")
    array[:, :128, :128] = value
    np.save(tmp_path / "x.npy", array)
    assert words_of(full.identify(tmp_path / "x.npy")) == [
        ("pixel_gain", f"{B}/{STAMP}/v1", "49152 of 1572864 values differ")
    ]


def test_another_measurement_resembles_the_panel(full: Identifier, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    array = constants(2, "gain") * (1 + random.normal(0, 0.002, (3, 512, 1024)))
    np.save(tmp_path / "x.npy", array)
    (panel,) = full.identify(tmp_path / "x.npy").arrays[0].panels
    assert (panel.versions, panel.nearest) == ((), f"{B}/{STAMP}/v1")
    assert panel.explained > 0.9


def test_maps_of_psi_with_the_high_gain(full: Identifier, tmp_path: Path) -> None:
    gain = constants(1, "gain").astype("<f8")
    (tmp_path / "gainMaps_M044.bin").write_bytes(np.concatenate([gain, gain[:1] * 3]).tobytes())
    found = full.identify(tmp_path / "gainMaps_M044.bin")
    assert words_of(found) == [("pixel_gain", f"{A}/{STAMP}/v1", "equal")]
    assert found.arrays[0].left_out == 1


def test_constant_and_odd_values_are_like_nothing(full: Identifier, tmp_path: Path) -> None:
    for values, text in ((1.0, "all values are the same"), (np.nan, "not finite")):
        array = np.full((3, 512, 1024), values)
        np.save(tmp_path / "x.npy", array)
        found = full.identify(tmp_path / "x.npy")
        assert not found.is_identified
        assert text in found.notes[0]


def test_withdrawn_versions_are_named_last(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=SHAPE)
    array = np.random.default_rng(1).normal(1, 0.02, SHAPE) * LEVELS
    for panel in PANELS:
        repository.add(panel, STAMP, {"pixel_gain": array}, "the same")
    np.save(tmp_path / "x.npy", array)
    assert repository.identify(tmp_path / "x.npy").arrays[0].panels[0].versions == tuple(
        f"{panel}/{STAMP}/v1" for panel in (B, A)
    )
    repository.withdraw(f"{B}/{STAMP}/v1", "wrong")
    assert repository.identify(tmp_path / "x.npy").arrays[0].panels[0].versions == tuple(
        f"{panel}/{STAMP}/v1" for panel in (A, B)
    )


def test_versions_of_0_1_0_have_no_sketch(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE.parent / "repositories/0.1.0", tmp_path / "R")
    repository = jfstore.open(tmp_path / "R")
    version = next(version for version in repository.versions() if "pixel_gain" in version.content)
    array = repository.panel_array(version, "pixel_gain")
    np.save(tmp_path / "exact.npy", array)
    np.save(tmp_path / "rounded.npy", np.round(array.astype("f8"), 2))
    assert version.name in repository.identify(tmp_path / "exact.npy").arrays[0].panels[0].versions
    found = repository.identify(tmp_path / "rounded.npy")
    assert str(found.arrays[0].panels[0].relation) == "rounded to %.2f"
    assert "arrays have no sketch, as those of release 0.1.0" in found.notes[0]


def test_damaged_commits_and_files_are_noted(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=SHAPE)
    array = np.random.default_rng(1).normal(1, 0.02, SHAPE) * LEVELS
    repository.add(A, STAMP, {"pixel_gain": array}, "one")
    np.save(tmp_path / "x.npy", np.round(array, 3))
    payload = Path(repository.location, repository.version(f"{A}/{STAMP}/v1").file.path)
    raw = payload.read_bytes()
    payload.unlink()
    found = repository.identify(tmp_path / "x.npy")
    assert found.notes == (f"{A}/{STAMP}/v1 cannot be read and was not compared",)
    payload.write_bytes(raw)
    repository = jfstore.open(repository.location)
    repository.identify(tmp_path / "x.npy")
    path = tmp_path / "R/log/0000000001.json"
    commit = json.loads(path.read_text())
    assert commit["commit"]["seq"] == 1
    identifier = Identifier(repository)
    flip(path, 800)
    assert "1 commits cannot be read" in identifier.identify(tmp_path / "x.npy").notes[0]
