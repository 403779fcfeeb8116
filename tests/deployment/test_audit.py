"""Files of a calibration directory compared with a repository: each state, and the versions it names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.arrays import CalibArray, check_array
from jfstore.core.instants import parse_instant, parse_time, stamp_at
from jfstore.core.records import Version
from jfstore.deployment.calibdir import find_files
from jfstore.formats.text import format_text, read_text
from jfstore.repository import Entry, Repository
from jfstore.repository.promoting import entry_of
from jfstore.runs.run import read_runs
from jfstore.storage.bucket import Remote
from tests.makers import deployed as world
from tests.makers.deployed import DETECTOR, PANELS, REFERENCE, RUN, STAMP, TREE, TYPES, command, data_of
from tests.makers.repositories import flip
from tests.makers.xtc import jungfrau, phy_of, run_bytes, write_run

V1 = ",".join(f"{panel}/{STAMP}/v1" for panel in PANELS)


@pytest.fixture
def repository(deploying_here: Path) -> Repository:
    return jfstore.open("real")


def deploy(*words: object) -> None:
    code, _, err = command(["-d", RUN, "-D", "-c", "calib", *words])
    assert code == 0, err


def audit(*words: object) -> tuple[int, list[dict[str, str]], str]:
    code, out, err = command(["audit", *words], "jfstore")
    header, *lines = [line.split("\t") for line in out.splitlines()]
    return code, [dict(zip(header, line, strict=True)) for line in lines], err


def state_of(calib_type: str = "pixel_gain", *words: object) -> tuple[str, str, str]:
    _, rows, _ = audit("calib", *words)
    (row,) = [row for row in rows if f"/{calib_type}/" in row["file"]]
    return row["state"], row["versions"], row["detail"]


def put(array: np.ndarray, calib_type: str = "pixel_gain", fmt: str | None = None, name: str = "631-end.data") -> Path:
    """Put a file as the old command does: nothing beside it says what it is."""
    path = data_of("calib", calib_type, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    for note in path.parent.glob("*.json"):
        note.unlink()
    path.write_bytes(b"".join(format_text(array, [("TITLE", "old")], fmt)))
    return path


def gain(repository: Repository, when: str = world.BEGIN_STAMP, detector: str = DETECTOR) -> np.ndarray:
    return repository.get(detector, "pixel_gain", when, writable=True)


# -- the states, of what jfstore deployed


def test_a_fresh_deployment_is_current(deploying_here: Path) -> None:
    deploy()
    code, rows, err = audit("calib")
    assert (code, [(row["state"], row["versions"]) for row in rows]) == (0, [("current", V1)] * 2)
    assert "2 files: 2 current; compared with the real repository" in err
    assert f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)" in rows[0]["detail"]


def test_superseded_by_a_later_add_it_is_stale(deploying_here: Path, repository: Repository) -> None:
    deploy()
    world.add_constants(repository, 7, types=["pixel_gain"])
    code, rows, _ = audit("calib")
    assert (code, [row["state"] for row in rows]) == (1, ["stale", "current"])
    for panel in PANELS:
        assert f"{panel}/{STAMP}/v1 was replaced by {panel}/{STAMP}/v2 (commit 2, 20" in rows[0]["detail"]


def test_a_later_stamp_before_the_run_makes_it_stale_and_one_after_it_an_end(
    deploying_here: Path, repository: Repository
) -> None:
    deploy()
    world.add_constants(repository, 7, "20180101000000")
    assert state_of() == (
        "current",
        V1,
        f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z) and until 20180101000000",
    )
    world.add_constants(repository, 8, "20171201000000")
    state, _, detail = state_of()
    assert state == "stale"
    assert f"{PANELS[0]}/{STAMP}/v1 was replaced by {PANELS[0]}/20171201000000/v1 (commit 3, " in detail


def test_added_again_under_a_new_number_it_is_still_current(deploying_here: Path, repository: Repository) -> None:
    deploy()
    one = repository.version(f"{PANELS[0]}/{STAMP}/v1")
    world.add_constants(repository, 7)
    repository.add_entries([entry_of(repository, one)], "back to the first")
    deployed = state_of()
    assert deployed[0] == "stale"
    assert PANELS[0] not in deployed[2]


@pytest.mark.parametrize(("old", "new"), [(b"4", b"5"), (b".", b"0."), (b"1", b"2")])
def test_with_a_digit_changed_it_is_edited(deploying_here: Path, old: bytes, new: bytes) -> None:
    deploy()
    path = data_of("calib")
    head, _, body = path.read_bytes().rpartition(b"\n\n")
    path.write_bytes(head + b"\n\n" + body.replace(old, new, 1))
    state, versions, detail = state_of()
    assert (state, versions) == ("edited", V1)
    assert detail.startswith("1 of 3072 values differ; current: ")


def test_the_last_digit_of_a_value_changed_is_an_edit_too(deploying_here: Path) -> None:
    deploy()
    path = data_of("calib")
    lines = path.read_text().splitlines()
    values = lines[-1].split()
    number = next(i for i, value in enumerate(values) if len(value) > 8)
    values[number] = values[number][:-1] + str((int(values[number][-1]) + 3) % 10)
    path.write_text("\n".join([*lines[:-1], " ".join(values)]) + "\n")
    assert state_of()[0] == "edited"


def test_with_everything_changed_it_is_unknown(deploying_here: Path) -> None:
    deploy()
    data_of("calib").write_bytes(b"".join(format_text(world.constants(9))))
    lost = "changed after jfstore deployed it; its values of panel 0, 1 match no stored version"
    assert state_of() == ("unknown", "", lost)


def test_only_the_header_changed_is_no_harm(deploying_here: Path) -> None:
    deploy()
    path = data_of("calib")
    path.write_bytes(path.read_bytes().replace(b"# UID ", b"# Uid "))
    state, _, detail = state_of()
    assert state == "current"
    assert detail.startswith("only its header was changed; ")


@pytest.mark.parametrize("cut", [1, 10, 1000, 30000, 10**9])
def test_cut_off_it_is_unreadable(deploying_here: Path, cut: int) -> None:
    deploy()
    path = data_of("calib")
    raw = path.read_bytes()
    path.write_bytes(raw[: -cut - 1])
    code, rows, _ = audit("calib")
    assert code in (1, 4)
    # Without its last digit only, the text is whole, but not what it was.
    assert rows[0]["state"] == ("edited" if cut == 1 else "unreadable"), rows[0]
    assert cut == 1 or (code == 4 and rows[0]["detail"].startswith("line "))


@pytest.mark.parametrize("raw", [b"", b"hello\n", b"\0" * 5000, b"\x89HDF\r\n\x1a\n" + b"x" * 100, b"1 2\n3\n"])
def test_what_is_no_text_of_constants_is_unreadable(deploying_here: Path, raw: bytes) -> None:
    deploy()
    data_of("calib").write_bytes(raw)
    assert state_of()[0] == "unreadable"


def test_a_directory_in_its_place_is_unreadable(deploying_here: Path) -> None:
    data_of("calib").mkdir(parents=True)
    code, rows, _ = audit("calib")
    assert (code, rows[0]["state"]) == (4, "unreadable")


def test_written_with_the_formats_of_the_original_it_is_a_rounded_copy(
    deploying_here: Path, repository: Repository
) -> None:
    deploy("--format", "%.4f")
    assert state_of()[:2] == ("rounded copy", V1)
    assert state_of()[2].startswith("deployed with --format %.4f; current: ")
    world.add_constants(repository, 7)
    assert "; stale: " in state_of()[2]


# -- what was made before jfstore


@pytest.mark.parametrize(("name", "fmt"), [("pixel_gain", "%.4f"), ("pixel_offset", "%.1f")])
def test_rounded_as_the_old_command_does(deploying_here: Path, repository: Repository, name: str, fmt: str) -> None:
    put(repository.get(DETECTOR, name, world.BEGIN_STAMP), name, fmt)
    state, versions, detail = state_of(name)
    assert (state, versions) == ("rounded copy", V1)
    assert detail.startswith(f"unknown: {PANELS[0]}/{STAMP}/v1 is valid from {STAMP}; ")
    assert detail.endswith("the start of run 631 is not known (-e EXP)")
    assert state_of(name, "-e", "xcsls3716")[2] == f"current: valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)"


@pytest.mark.parametrize("name", TYPES)
def test_the_files_that_the_reference_merged(deploying_here: Path, name: str) -> None:
    """They were rounded from float64, which the repository keeps as float32."""
    path = data_of("calib", name)
    path.parent.mkdir(parents=True)
    path.write_bytes((REFERENCE / f"gains-tree/merged/jf_2panels_{name}.txt").read_bytes())
    assert state_of(name)[:2] == ("rounded copy", V1)


def test_one_value_beyond_the_rounding_is_an_edit(deploying_here: Path, repository: Repository) -> None:
    path = put(gain(repository), fmt="%.4f")
    text = path.read_text()
    head, _, body = text.rpartition("\n\n")
    first = body.split()[0]
    path.write_text(f"{head}\n\n{body.replace(first, f'{float(first) + 1e-4:.4f}', 1)}")
    state, versions, detail = state_of()
    assert (state, versions) == ("edited", V1)
    assert detail.startswith("1 of 3072 values differ; ")


def test_every_bit_of_it_is_known_by_its_hash(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository))
    when = f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)"
    assert state_of("pixel_gain", "-e", "xcsls3716") == ("current", V1, when)
    # It might be of the future, or of other panels.
    assert state_of()[:2] == ("unknown", V1)
    world.add_constants(repository, 7, "20180101000000")
    state, versions, detail = state_of()
    assert (state, versions) == ("unknown", V1)
    assert f"is valid from {STAMP} until 20180101000000" in detail
    world.add_constants(repository, 8)
    assert state_of()[0] == "stale"


def test_the_directory_above_calib_names_the_experiment(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository))
    (deploying_here / "xcsls3716").mkdir()
    (deploying_here / "calib").rename(deploying_here / "xcsls3716/calib")
    code, rows, _ = audit("xcsls3716/calib")
    assert (code, rows[0]["state"]) == (0, "current")
    assert rows[0]["detail"] == f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)"


def test_constants_of_the_future_are_not_current(deploying_here: Path, repository: Repository) -> None:
    """What the old command took where nothing was valid."""
    panel = "171113-154920171025-3d00fb"
    later = gain(repository, "20190601000000", panel)
    path = put(later)
    target = Path(str(path).replace("XcsEndstation.0:Jungfrau.0", "MfxEndstation.0:Jungfrau.1"))
    target.parent.mkdir(parents=True)
    path.rename(target.parent / "697-end.data")
    state, versions, detail = state_of("pixel_gain", "-e", "mfx11116")
    assert (state, versions) == ("stale", f"{panel}/20190101000000/v1")
    assert f"{panel}/20190101000000/v1 was deployed, but the valid version at 2018" in detail
    assert f" is {panel}/20180306000000/v1 (commit 1, " in detail


def test_panels_in_another_order_are_not_current(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository, detector="_".join(PANELS[::-1])))
    state, versions, _ = state_of("pixel_gain", "-e", "xcsls3716")
    assert (state, versions) == ("stale", ",".join(f"{panel}/{STAMP}/v1" for panel in PANELS[::-1]))


def test_another_number_of_panels_is_said(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository, detector=PANELS[0]))
    state, versions, detail = state_of("pixel_gain", "-e", "xcsls3716")
    assert (state, versions) == ("unknown", f"{PANELS[0]}/{STAMP}/v1")
    assert detail == "it has 1 panels, the detector of its run has 2"


def test_an_unrelated_file_is_unknown(deploying_here: Path) -> None:
    put(world.constants(9))
    assert state_of() == ("unknown", "", "its values of panel 0, 1 match no stored version")
    put(np.ones((3, 4, 5)))
    assert state_of() == ("unknown", "", "its shape is not that of panels of this repository")
    put(np.ones((2, 3, 16, 32)))
    assert state_of()[0] == "unknown"
    put(np.ones((3, 2, 16, 32)))
    assert state_of()[0] == "unknown"


def test_rows_without_metadata_are_recognised(deploying_here: Path, repository: Repository) -> None:
    path = put(gain(repository), fmt="%.4f")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("#")))
    assert not read_text(path).has_shape
    assert state_of()[:2] == ("rounded copy", V1)


def test_deployed_from_a_gain_tree_it_is_held_against_the_repository(
    deploying_here: Path, repository: Repository
) -> None:
    deploy("-R", TREE)
    state, versions, _ = state_of()
    assert (state, versions) == ("current", ",".join(f"{panel}-{STAMP}" for panel in PANELS))
    world.add_constants(repository, 7)
    state, _, detail = state_of()
    assert state == "stale"
    assert f"{PANELS[0]}/{STAMP}/v2" in detail


def test_what_the_repository_does_not_have_is_not_current(deploying_here: Path) -> None:
    deploy()
    jfstore.init("R", "test", panel_shape=world.SHAPE)
    code, rows, _ = audit("calib", "--repo", "./R")
    assert (code, [row["state"] for row in rows]) == (1, ["stale"] * 2)
    assert f"was deployed, but nothing is valid for panel {PANELS[0]}" in rows[0]["detail"]


def test_a_damaged_payload_does_not_stop_it(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository), fmt="%.4f")
    payload = next(Path(repository.storage.location, "panels", "171113-154920171025-3d00fb").glob("*.h5"))
    flip(payload, 8 * 5000)
    payload.unlink()
    assert state_of()[:2] == ("rounded copy", V1)


def test_what_cannot_be_compared_is_said(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository), fmt="%.4f")
    for payload in Path(repository.location, "panels", PANELS[0]).glob("*.h5"):
        payload.unlink()
    state, _, detail = state_of()
    assert state == "unknown"
    assert f"its values of panel 0 match no stored version; {PANELS[0]}/{STAMP}/v1 cannot be read" in detail


def test_a_spoiled_note_is_said(deploying_here: Path) -> None:
    deploy()
    data_of("calib", name="631-end.jfstore.json").write_text("{")
    assert state_of()[0] == "unknown"
    state, _, detail = state_of("pixel_gain", "-e", "xcsls3716")
    assert state == "current"
    assert "is not a note of jfstore" in detail


@pytest.mark.parametrize(("name", "fmt"), [("pixel_gain", "%.6f"), ("pixel_gain", "%.3f"), ("pixel_offset", "%.4f")])
def test_rounded_otherwise(deploying_here: Path, repository: Repository, name: str, fmt: str) -> None:
    put(repository.get(DETECTOR, name, world.BEGIN_STAMP), name, fmt)
    expected = ("unknown", "") if fmt == "%.3f" else ("rounded copy", V1)
    assert state_of(name)[:2] == expected


def test_of_versions_that_round_alike_the_valid_one_is_meant(deploying_here: Path, repository: Repository) -> None:
    array = gain(repository)
    alike = ((array + np.round(array.astype(float), 4)) / 2).astype(np.float32)
    start = parse_instant("20180101000000", repository.zone)
    entries = [
        Entry(panel, start, {"pixel_gain": check_array(alike[:, i], "pixel_gain", world.SHAPE, "x")})
        for i, panel in enumerate(PANELS)
    ]
    repository.add_entries(entries, "alike")
    put(array, fmt="%.4f")
    assert state_of("pixel_gain", "-e", "xcsls3716")[1] == V1


def test_half_of_the_values_make_no_likeness(deploying_here: Path, repository: Repository) -> None:
    array = gain(repository)
    array[:, :, ::2] = world.constants(9)[:, :, ::2]
    put(array)
    assert state_of()[:2] == ("unknown", "")


def test_the_same_values_in_another_shape_are_not_those_of_panels(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository).reshape(2, 3, 16, 32))
    assert state_of() == ("unknown", "", "its shape is not that of panels of this repository")


def test_a_higher_number_of_another_stamp_replaces_nothing(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository))
    for seed in (7, 8):
        world.add_constants(repository, seed, "20180101000000")
    assert state_of()[0] == "unknown"


# -- how much is read


def add_other_panels(repository: Repository, count: int) -> None:
    """Add constants of panels that no run has, newer than those of its panels."""
    entries = []
    for number in range(count):
        array = np.ascontiguousarray(world.constants(100 + number)[:, 0])
        panel, start = f"170505-149520170815-{0x400000 + number:06x}", parse_instant(STAMP, repository.zone)
        entries.append(Entry(panel, start, {"pixel_gain": check_array(array, "pixel_gain", world.SHAPE, "x")}))
    repository.add_entries(entries, "other panels")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the arrays that are read, in order."""
    names: list[str] = []
    real = Repository.panel_array

    def panel_array(self: Repository, version: Version, type: str, **options: bool) -> CalibArray:
        names.append(version.name)
        return real(self, version, type, **options)

    monkeypatch.setattr(Repository, "panel_array", panel_array)
    return names


def test_an_array_like_none_is_read_once(deploying_here: Path, repository: Repository, loaded: list[str]) -> None:
    add_other_panels(repository, 10)
    for run in ("631", "632"):
        put(world.constants(9), name=f"{run}-end.data")
    assert {row["state"] for row in audit("calib")[1]} == {"unknown"}
    contents = {version.content["pixel_gain"] for version in repository.versions()}
    assert len(loaded) == len(set(loaded)) == len(contents) >= 12


def test_the_panels_of_the_run_come_first(deploying_here: Path, repository: Repository, loaded: list[str]) -> None:
    add_other_panels(repository, 10)
    put(gain(repository), fmt="%.4f")
    assert state_of("pixel_gain", "-e", "xcsls3716")[:2] == ("rounded copy", V1)
    assert set(loaded) == set(V1.split(","))


def test_of_a_bucket_few_arrays_of_other_panels_are_downloaded(
    deploying_here: Path, repository: Repository, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jfstore.deployment.compare.FAR_LIMIT", 4)
    downloaded: list[str] = []
    real = Remote.content

    def content(self: Remote, name: str, size: int) -> Any:
        downloaded.append(name.rpartition("/pixel_gain/")[0])
        return real(self, name, size)

    monkeypatch.setattr(Remote, "content", content)
    far = jfstore.init(s3, "test", panel_shape=world.SHAPE, storage="zarr")
    world.add_constants(far, 7)
    add_other_panels(far, 10)
    put(world.constants(9))
    put(world.constants(9), name="226-end.data")
    done = jfstore.audit("calib", experiment="xcsls3716", repo=far)
    assert done.counts == {"unknown": 2}
    assert all(f.detail.endswith("; only 4 of 10 further arrays were compared") for f in done.findings[1:])
    arrays = {name for name in downloaded if name}
    assert len(arrays) == len(PANELS) + 4
    # Each of an array's gain ranges is one object; none is downloaded twice.
    assert len([name for name in downloaded if name]) == 3 * len(arrays)


# -- of which run it is


def test_a_copy_of_file_and_note_is_judged_for_its_own_run(deploying_here: Path, repository: Repository) -> None:
    """Runs 563 and 697 began on both sides of new constants."""
    single = "exp=mfx11116:run="
    zone = repository.zone
    array = check_array(np.ascontiguousarray(world.constants(3)[:, 0]), "pixel_gain", world.SHAPE, "x")
    start = {run: begin_of(f"{single}{run}") for run in (563, 697)}
    between = stamp_at((start[563] + start[697]) // 2, zone)
    assert start[563] < parse_time(between, zone) < start[697]
    repository.add_entries(
        [Entry("171113-154920171025-3d00fb", parse_instant(between, zone), {"pixel_gain": array})], "x"
    )
    command(["-d", f"{single}563", "-D", "-c", "calib"])
    directory = next(Path("calib").glob("*/*/pixel_gain"))
    for name in ("end.data", "end.jfstore.json"):
        shutil.copy(directory / f"563-{name}", directory / f"697-{name}")
    _, rows, _ = audit("calib", "-e", "mfx11116")
    assert [row["state"] for row in rows if "/pixel_gain/" in row["file"]] == ["current", "stale"]
    _, rows, _ = audit("calib")
    assert [row["state"] for row in rows if "/pixel_gain/" in row["file"]] == ["current", "unknown"]


def begin_of(dataset: str) -> int:
    (run,) = read_runs(dataset)
    return run.require_start()


def test_a_directory_copied_to_another_experiment_is_judged_for_that(deploying_here: Path) -> None:
    deploy()
    for path in Path("calib").rglob("631-end*"):
        path.rename(path.with_name(path.name.replace("631-", "226-")))
        note = path.with_name("226-end.jfstore.json")
        if note.exists():
            note.write_text(note.read_text().replace('"run": 631', '"run": 226').replace("631-end", "226-end"))
    Path("mecls3216").mkdir()
    Path("calib").rename("mecls3216/calib")
    source = Path("mecls3216/calib/Jungfrau::CalibV1") / world.SOURCE
    source.rename(source.with_name("MecTargetChamber.0:Jungfrau.0"))
    _, rows, _ = audit("mecls3216/calib")
    assert {row["state"] for row in rows} == {"current"}
    assert "2018" in rows[0]["detail"] or "2017-12-23" in rows[0]["detail"]


def test_the_name_of_the_experiment_is_found_from_within(
    deploying_here: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(gain(repository))
    Path("xcsls3716/scratch").mkdir(parents=True)
    Path("calib").rename("xcsls3716/calib")
    monkeypatch.chdir(deploying_here / "xcsls3716/scratch")
    assert [row["state"] for row in audit("../calib")[1]] == ["current"]


def test_deployed_for_another_time_it_is_judged_for_its_run(deploying_here: Path, repository: Repository) -> None:
    world.add_constants(repository, 7, "20171101000000")
    deploy("-t", "20171026000000")
    for words in ((), ("-e", "xcsls3716")):
        state, versions, detail = state_of("pixel_gain", *words)
        assert (state, versions) == ("stale", V1)
        assert "; deployed as valid at 20171026000000" in detail


def test_two_jungfraus_of_a_run_are_told_apart(
    deploying_here: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "psdm"))
    pair = ((0x170505, 0x149520170815, 0x3D00B0), (0x170505, 0x149520170815, 0x3D00F7))
    other = jungfrau(3, pair[::-1], phy_of(device_number=1))
    write_run(deploying_here / "psdm", "MFX", "mfxtest01", 7, run_bytes(pair, 1522800000, 7, others=[other]))
    for number in "01":
        code, _, err = command(["-d", "exp=mfxtest01:run=7", "-s", f"Jungfrau.{number}", "-D", "-c", "calib"])
        assert code == 0, err
    for note in Path("calib").rglob("*.json"):
        note.unlink()
    code, rows, _ = audit("calib", "-e", "mfxtest01")
    assert (code, {row["state"] for row in rows}) == (0, {"current"})


def test_what_was_there_before_a_deployment_that_never_came_is_not_edited(
    deploying_here: Path, repository: Repository
) -> None:
    path = put(world.constants(9))
    deploy("--replace")
    kept = next(found for found in path.parent.iterdir() if found.name.endswith("Z"))
    kept.rename(path)
    assert state_of()[0] == "unknown"


# -- the function


def test_python_audits(deploying_here: Path, repository: Repository) -> None:
    deploy()
    data_of("calib", name="x.data").write_text("1\n")
    counts: list[tuple[int, int]] = []
    done = jfstore.audit("calib", repo=repository, progress=lambda *count: counts.append(count))
    assert (done.counts, counts) == ({"current": 2}, [(0, 2), (1, 2), (2, 2)])
    assert repr(done) == "<jfstore audit of 2 files: 2 current>"
    assert done.notes == (f"{data_of('calib', name='x.data')}: psana does not read a file of that name",)
    first = done.findings[0]
    assert (first.path, first.versions) == (str(data_of("calib")), tuple(V1.split(",")))
    assert (first.source, first.type, first.run) == (world.SOURCE, "pixel_gain", 631)
    with pytest.raises(jfstore.NotFound, match="holds no deployed file"):
        jfstore.audit([deploying_here / "real"])


def test_a_run_is_read_anew_by_each_audit(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy()
    for note in Path("calib").rglob("*.json"):
        note.unlink()
    assert jfstore.audit("calib", experiment="xcsls3716").counts == {"current": 2}
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here))
    assert jfstore.audit("calib", experiment="xcsls3716").counts == {"unknown": 2}


# -- the command


def test_what_cannot_be_read_does_not_stop_the_rest(deploying_here: Path, command_environment: dict[str, str]) -> None:
    deploy()
    bad = data_of("closed/calib").parent
    bad.mkdir(parents=True)
    bad.chmod(0)
    listing = find_files(Path("closed/calib"))
    if not listing.problems:  # whoever may read everything cannot see it closed
        assert os.geteuid() == 0
        return
    code, rows, _ = audit("closed/calib", "calib")
    assert (code, [row["state"] for row in rows]) == (4, ["current", "current", "unreadable"])


def test_a_directory_that_cannot_be_listed_is_a_row(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy()
    real = os.listdir

    def listdir(path: Path) -> list[str]:
        if str(path).endswith("pixel_offset"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    code, rows, err = audit("calib", "calib/../calib")
    assert (code, [row["state"] for row in rows]) == (4, ["current", "unreadable"])
    assert rows[1]["file"].endswith("pixel_offset")
    assert rows[1]["detail"] == "Permission denied"
    assert err.startswith("2 files: 1 current, 1 unreadable; compared with")


def test_a_file_that_psana_does_not_take_is_said(deploying_here: Path) -> None:
    deploy()
    shutil.copy(data_of("calib"), data_of("calib", name="631-700.data"))
    _, _, err = audit("calib")
    assert "631-end.data: psana reads 631-700.data instead for run 631" in err


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda: None, 2, "calib is not a directory"),
        (lambda: Path("calib").write_text("x"), 2, "calib is not a directory"),
    ],
)
def test_what_is_no_calibration_directory(
    deploying_here: Path, make: Callable[[], object], code: int, message: str
) -> None:
    make()
    found, out, err = command(["audit", "calib"], "jfstore")
    assert (found, out) == (code, "")
    assert message in err


def test_no_files_at_all_exits_3(deploying_here: Path) -> None:
    """A directory that was misspelt must not pass as sound."""
    Path("calib").mkdir()
    code, out, err = command(["audit", "calib"], "jfstore")
    assert (code, out) == (3, "")
    assert "calib holds no deployed file of pixel_gain or pixel_offset" in err
    assert "Jungfrau::CalibV1/<source>/<type>/<run>-end.data" in err
    data_of("calib").parent.mkdir(parents=True)
    data_of("calib", name="x.data").write_text("1\n")
    assert command(["audit", "calib"], "jfstore")[0] == 3


def test_several_directories_json_and_ignored_names(deploying_here: Path) -> None:
    deploy()
    Path("other").mkdir()
    data_of("calib", name="x.data").write_text("1\n")
    code, out, err = command(["audit", "calib", "other", "--json"], "jfstore")
    value = json.loads(out)
    assert code == 0
    assert [(row["state"], row["type"], row["run"]) for row in value["files"]] == [
        ("current", "pixel_gain", 631),
        ("current", "pixel_offset", 631),
    ]
    assert "x.data: psana does not read a file of that name" in err
    assert "jfstore: warning: other holds no deployed file" in err
