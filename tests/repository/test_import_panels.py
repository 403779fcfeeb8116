"""Panel repositories of LCLS-II: what becomes a version, what is skipped, and that an import can be repeated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jfstore.errors import BadValue, Failed
from jfstore.formats.text import TextHead, parse_head
from jfstore.repository import Repository
from jfstore.repository.adding import Added
from tests.makers.panel_repository import (
    DARK_TYPES,
    FIRST,
    IDS,
    SECOND,
    Dark,
    as_read,
    as_text,
    constants_of,
    link_dark,
    make_panel_repository,
    panel_path,
    write_merged_detector,
    write_merged_panel,
    write_panel,
)
from tests.makers.repositories import new_repository, other_notes

SHAPE = (3, 16, 32)
A, B = IDS[:2]
PEDESTALS = "pedestals"
Q = 2**53 + 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "constants"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R", shape=SHAPE)


def load(repository: Repository, panel: str, stamp: str, name: str) -> np.ndarray:
    return repository.get(panel, name, stamp)[:, 0]


def add(repository: Repository, root: Path, **options: object) -> Added:
    return repository.import_panel_repository(root, "darks", **options)  # type: ignore[arg-type]  # any option


def skipped(repository: Repository, root: Path) -> dict[str, str]:
    return dict(add(repository, root, dry_run=True).skipped)


def a_dark(root: Path, name: str = PEDESTALS, dark: Dark = FIRST, segment: int = 0, panel: str = A) -> np.ndarray:
    array = constants_of(dark, panel, name, SHAPE)
    write_panel(root, panel, name, array, dark, segment)
    return as_read(array, name)


# -- what becomes what


def test_a_panel_and_a_dark_run_become_a_version_of_all_types(repository: Repository, root: Path) -> None:
    made = make_panel_repository(root)
    added = add(repository, root)
    assert (added.skipped, other_notes(added), len(added.versions)) == ((), (), 4)
    for version in added.versions:
        segment = {A: "0", B: "3"}[version.panel]
        dark = FIRST if version.stamp == FIRST.stamp else SECOND
        assert version.about == {
            "experiment": "mfx101332224",
            "run": str(dark.run),
            "segment": segment,
            "detector": "jungfrau_000001",
        }
        assert set(version.content) == set(DARK_TYPES)
        assert version.origin
        assert version.origin["path"] == str(root)
        assert len(version.origin["files"]) == 15
    for (panel, stamp), arrays in made.items():
        for name, array in arrays.items():
            found = load(repository, panel, stamp, name)
            assert found.dtype == array.dtype
            assert found.tobytes() == array.tobytes()
    assert load(repository, A, "20250301000000", PEDESTALS).tobytes() == made[A, SECOND.stamp][PEDESTALS].tobytes()


@pytest.mark.parametrize("below", ["", "jungfrau", f"jungfrau/{B}"])
def test_the_root_may_be_the_repository_its_detector_or_one_panel(
    repository: Repository, root: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_panel_repository(root)
    monkeypatch.chdir(root / below)
    added = add(repository, Path())
    assert not added.skipped
    assert len(added.versions) == (2 if below.endswith(B) else 4)


def test_a_second_import_commits_nothing(repository: Repository, root: Path) -> None:
    make_panel_repository(root)
    write_merged_panel(root, B, "pixel_gain", constants_of(FIRST, B, "pixel_gain", SHAPE), FIRST, 3)
    first = add(repository, root)
    again = add(repository, root)
    assert (again.seq, again.versions, len(again.unchanged)) == (first.seq, (), 4)
    a_dark(root, dark=Dark("20250301000000", run=40))
    assert [version.stamp for version in add(repository, root).versions] == ["20250301000000"]


def test_a_dry_run_stores_nothing(repository: Repository, root: Path) -> None:
    make_panel_repository(root)
    assert len(add(repository, root, dry_run=True).versions) == 4
    assert repository.log.table().seq == 0 or len(add(repository, root).versions) == 4


def test_types_can_be_chosen(repository: Repository, root: Path) -> None:
    make_panel_repository(root)
    (root / "jungfrau" / A / PEDESTALS / f"{FIRST.stem(0)}-pedestals-g1.data").unlink()
    added = add(repository, root, types=["pixel_rms", "pixel_status"])
    assert {tuple(sorted(version.content)) for version in added.versions} == {("pixel_rms", "pixel_status")}
    assert not added.skipped
    with pytest.raises(BadValue, match="not a calibration type"):
        add(repository, root, types="rms")


def test_texts_of_the_caller_come_first(repository: Repository, root: Path) -> None:
    a_dark(root)
    about = add(repository, root, about={"report": "R7", "experiment": "xpp1"}).versions[0].about
    assert (about["report"], about["experiment"], about["run"]) == ("R7", "xpp1", "7")


def test_progress_counts_panels_and_runs(repository: Repository, root: Path) -> None:
    make_panel_repository(root)
    seen: list[tuple[int, int]] = []
    add(repository, root, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_large_integers_are_exact(repository: Repository, root: Path) -> None:
    array = np.full(SHAPE, Q, "<u8")
    array[1, 2, 3] = 2**64 - 1
    write_panel(root, A, "status_extra", array)
    add(repository, root)
    assert np.array_equal(load(repository, A, FIRST.stamp, "status_extra"), array)


@pytest.mark.parametrize("short", ["my-jungfrau-1", "jungfrau-s07-20240101000000-x-r0001", "j"])
def test_a_short_name_may_have_dashes(repository: Repository, root: Path, short: str) -> None:
    a_dark(root, dark=Dark(detector=short), segment=12)
    added = add(repository, root)
    assert not added.skipped
    assert (added.versions[0].stamp, added.versions[0].about["segment"]) == (FIRST.stamp, "12")
    assert added.versions[0].about["detector"] == short


def test_logs_and_plots_are_passed_over(repository: Repository, root: Path) -> None:
    make_panel_repository(root)
    (root / "jungfrau" / A / "plots").mkdir()
    for name in ("logs", "block_results"):
        (root / "jungfrau" / name).mkdir()
        (root / "jungfrau" / name / "x.txt").write_text("x")
    (root / "epix10ka").mkdir()
    (root / "jungfrau" / ".aliases_jungfrau.txt").write_text("x")
    assert not add(repository, root).skipped


@pytest.mark.parametrize("hard", [True, False])
def test_names_that_lead_to_the_same_texts_are_parsed_once(
    repository: Repository, root: Path, hard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, calls = a_dark(root, "pixel_gain"), []

    def count(raw: bytes, where: str) -> TextHead:
        calls.append(1)
        return parse_head(raw, where)

    monkeypatch.setattr("jfstore.formats.panel_texts.parse_head", count)
    copies = [Dark(f"202503{day:02d}000000", run=100 + day) for day in range(1, 29)]
    for copy in copies:
        link_dark(root, A, "pixel_gain", FIRST, copy, hard=hard)
    added = add(repository, root)
    assert (len(added.versions), len(calls)) == (29, 3)
    assert load(repository, A, copies[-1].stamp, "pixel_gain").tobytes() == array.tobytes()
    assert len({version.file.path for version in added.versions}) == 1


# -- merged files


def test_merged_files_of_panels_fill_in(repository: Repository, root: Path) -> None:
    array = constants_of(FIRST, A, PEDESTALS, SHAPE)
    write_merged_panel(root, A, PEDESTALS, array)
    status = a_dark(root, "pixel_status")
    added = add(repository, root)
    assert (added.skipped, len(added.versions)) == ((), 1)
    assert load(repository, A, FIRST.stamp, PEDESTALS).tobytes() == as_read(array, PEDESTALS).tobytes()
    assert load(repository, A, FIRST.stamp, "pixel_status").tobytes() == status.tobytes()


def test_merged_files_of_detectors_fill_in_panels_whose_segments_are_known(repository: Repository, root: Path) -> None:
    arrays = {segment: constants_of(FIRST, panel, PEDESTALS, SHAPE) for segment, panel in ((0, A), (5, B))}
    path = write_merged_detector(root, PEDESTALS, arrays, 8)
    path.with_suffix(".json").write_text("{}")
    assert "its panels are not known" in skipped(repository, root)[f"jungfrau/merge_tmp/{path.name}"]
    a_dark(root, "pixel_status", segment=0)
    assert "its panel is not known" in skipped(repository, root)[f"jungfrau/merge_tmp/{path.name} segment 5"]
    a_dark(root, "pixel_status", segment=5, panel=B)
    added = add(repository, root)
    assert (added.skipped, len(added.versions)) == ((), 2)
    for segment, panel in ((0, A), (5, B)):
        found = load(repository, panel, FIRST.stamp, PEDESTALS)
        assert found.tobytes() == as_read(arrays[segment], PEDESTALS).tobytes()


def test_merged_files_of_the_root_count_too(repository: Repository, root: Path) -> None:
    array = constants_of(FIRST, A, PEDESTALS, SHAPE)
    write_merged_detector(root, PEDESTALS, {0: array}, 1)
    os.rename(root / "jungfrau" / "merge_tmp", root / "merge_tmp")
    a_dark(root, "pixel_status")
    assert set(add(repository, root).versions[0].content) == {"pixel_status", PEDESTALS}


@pytest.mark.parametrize("segments", [{1: A}, {0: A, 1: B}])
def test_a_segment_that_the_merged_file_does_not_have_is_reported(
    repository: Repository, root: Path, segments: dict[int, str]
) -> None:
    write_merged_detector(root, PEDESTALS, {0: constants_of(FIRST, A, PEDESTALS, SHAPE)}, 1)
    for segment, panel in segments.items():
        a_dark(root, "pixel_status", segment=segment, panel=panel)
    assert any("the file has 1 panels" in reason for reason in skipped(repository, root).values())


def test_a_segment_of_two_panels_is_reported(repository: Repository, root: Path) -> None:
    write_merged_detector(root, PEDESTALS, {0: constants_of(FIRST, A, PEDESTALS, SHAPE)}, 1)
    for panel in (A, B):
        a_dark(root, "pixel_status", panel=panel)
    added = add(repository, root)
    assert "several panels" in str(added.skipped)
    assert {tuple(version.content) for version in added.versions} == {("pixel_status",)}


@pytest.mark.parametrize("gain", [0, 1, 2])
@pytest.mark.parametrize("merge", ["panel", "detector"])
def test_zeros_of_a_missing_file_are_never_imported(repository: Repository, root: Path, gain: int, merge: str) -> None:
    array = constants_of(FIRST, A, "pixel_gain", SHAPE)
    array[gain] = 0
    a_dark(root)
    if merge == "panel":
        write_merged_panel(root, A, "pixel_gain", array)
    else:
        write_merged_detector(root, "pixel_gain", {0: array}, 1)
    added = add(repository, root)
    assert f"gain range {gain} has only zeros" in str(added.skipped)
    assert set(added.versions[0].content) == {PEDESTALS}


@pytest.mark.parametrize("name", ["status_extra", PEDESTALS, "pixel_status"])
@pytest.mark.parametrize("merge", ["panel", "detector"])
def test_merged_files_that_agree_are_not_reported(repository: Repository, root: Path, name: str, merge: str) -> None:
    array = constants_of(FIRST, A, name, SHAPE)
    if name == "status_extra":
        array[0, 0, 0] = Q  # psana merges as float32
    write_panel(root, A, name, array)
    rounded = array.astype("<f4").astype(array.dtype)
    if merge == "panel":
        write_merged_panel(root, A, name, rounded)
    else:
        write_merged_detector(root, name, {0: rounded}, 1)
    assert not add(repository, root).skipped
    assert load(repository, A, FIRST.stamp, name).tobytes() == as_read(array, name).tobytes()


def test_merged_files_that_differ_are_reported_and_the_gain_ranges_win(repository: Repository, root: Path) -> None:
    array = a_dark(root)
    other = array.copy()
    other[2, 3, 4] += 1
    path = write_merged_panel(root, A, PEDESTALS, other)
    added = add(repository, root)
    assert "other values in gain range 2" in dict(added.skipped)[f"jungfrau/{A}/pedestals/{path.name}"]
    assert load(repository, A, FIRST.stamp, PEDESTALS).tobytes() == array.tobytes()


def test_a_malformed_merged_file_does_not_keep_the_gain_ranges_out(repository: Repository, root: Path) -> None:
    array = a_dark(root)
    path = write_merged_panel(root, A, PEDESTALS, array)
    path.write_bytes(path.read_bytes()[:-300])
    added = add(repository, root)
    assert len(added.skipped) == 1
    assert load(repository, A, FIRST.stamp, PEDESTALS).tobytes() == array.tobytes()


def test_a_merged_copy_of_an_earlier_run_adds_nothing(repository: Repository, root: Path) -> None:
    gain = constants_of(FIRST, A, "pixel_gain", SHAPE)
    write_panel(root, A, "pixel_gain", gain)
    a_dark(root, dark=SECOND)
    write_merged_panel(root, A, "pixel_gain", gain, SECOND)
    added = add(repository, root)
    assert (added.skipped, [set(version.content) for version in added.versions]) == ((), [{"pixel_gain"}, {PEDESTALS}])
    assert "1 merged arrays have the constants of earlier runs" in str(added.notes)
    gain[0, 0, 0] += 1
    write_merged_panel(root, A, "pixel_gain", gain, SECOND)
    assert set(add(repository, root).versions[0].content) == {"pixel_gain", PEDESTALS}


# -- what is skipped


@pytest.mark.parametrize("gain", [0, 1, 2])
def test_a_missing_gain_range_is_named(repository: Repository, root: Path, gain: int) -> None:
    a_dark(root)
    a_dark(root, "pixel_rms")
    panel_path(root, A, PEDESTALS, FIRST, 0, f"-g{gain}.data").unlink()
    added = add(repository, root)
    assert list(dict(added.skipped)) == [f"jungfrau/{A}/pedestals/{FIRST.stem(0)}-pedestals-g{gain}.data"]
    assert set(added.versions[0].content) == {"pixel_rms"}


def test_one_stamp_with_two_runs_is_reported(repository: Repository, root: Path) -> None:
    a_dark(root)
    a_dark(root, dark=Dark(run=8))
    a_dark(root, "pixel_rms", dark=Dark(run=8))
    added = add(repository, root)
    assert len(added.skipped) == 2
    assert all("the same panel and stamp" in reason for _, reason in added.skipped)
    assert [set(version.content) for version in added.versions] == [{"pixel_rms"}]


@pytest.mark.parametrize(
    "name",
    [
        f"{FIRST.stem(0)}-pedestals-g3.data",
        f"{FIRST.stem(0)}-pedestals-Normal.data",
        f"{FIRST.stem(0)}-pixel_rms-g0.data",
        f"{FIRST.stem()}-pedestals-g0.data",
        f"{FIRST.stem(0)}-pedestals-g0.data~",
        f"{FIRST.stem(0)}-pedestals-g0.data\n",
        "jungfrau-s0-20250203095124-x-r0001-pedestals-g0.data",
        "jungfrau-s00-2025020309512-x-r0001-pedestals-g0.data",
        "jungfrau-s00-20250203095124-\u00e9-r0001-pedestals-g0.data",
        "jungfrau-s00-20250203095124-x-r1-pedestals-g0.data",
        "jung frau-s00-20250203095124-x-r0001-pedestals-g0.data",
        "x\ny",
        os.fsdecode(b"\xff\xfe-s00-20250203095124-x-r0001-pedestals-g0.data"),
        ".nfs0001",
    ],
)
def test_a_name_that_is_not_understood_is_reported(repository: Repository, root: Path, name: str) -> None:
    array = a_dark(root)
    (root / "jungfrau" / A / PEDESTALS / name).write_bytes(as_text(array[0], PEDESTALS))
    added = add(repository, root)
    assert [label for label, _ in added.skipped] == [f"jungfrau/{A}/pedestals/{name}"]
    assert len(added.versions) == 1


@pytest.mark.parametrize("stamp", ["20250230000000", "19690101000000", "20250309023000", "00000000000001"])
def test_a_stamp_that_is_no_time_is_reported(repository: Repository, root: Path, stamp: str) -> None:
    a_dark(root)
    a_dark(root, dark=Dark(stamp))
    added = add(repository, root)
    assert (len(added.skipped), len(added.versions)) == (1, 1)


@pytest.mark.parametrize("name", ["plain", "geometry", "pixel_mask", "rms", "1-2-3"])
def test_directories_that_are_no_types_are_reported(repository: Repository, root: Path, name: str) -> None:
    a_dark(root)
    (root / "jungfrau" / A / name).mkdir()
    assert list(dict(add(repository, root).skipped)) == [f"jungfrau/{A}/{name}"]


@pytest.mark.parametrize("name", ["M044", "1-2", "1-2-3-4", "g-1-2", "1" * 17 + "-2-3", "--", "x\udcff"])
def test_directories_that_are_no_panels_are_reported(repository: Repository, root: Path, name: str) -> None:
    a_dark(root)
    (root / "jungfrau" / os.fsdecode(name.encode("utf-8", "surrogateescape"))).mkdir()
    assert len(add(repository, root).skipped) == 1


def test_spellings_of_a_panel_are_one(repository: Repository, root: Path) -> None:
    array = a_dark(root)
    write_panel(root, A.upper().replace("8000", "0008000", 1), "pixel_rms", constants_of(FIRST, A, "pixel_rms", SHAPE))
    added = add(repository, root)
    assert [set(version.content) for version in added.versions] == [{PEDESTALS, "pixel_rms"}]
    write_panel(root, A.upper().replace("8000", "0008000", 1), PEDESTALS, array)
    assert "is of the same panel" in str(add(repository, root).skipped)


def _link_out(path: Path) -> None:
    outside = path.parents[4] / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


def _become(change: Callable[[np.ndarray], np.ndarray | str]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        found = change(np.loadtxt(path))
        path.write_bytes(found.encode() if isinstance(found, str) else as_text(found, PEDESTALS))

    return spoil


def _replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


SPOILS: dict[str, Callable[[Path], None]] = {
    "link out": _link_out,
    "link to nothing": _replace_by(lambda path: path.symlink_to("none")),
    "loop": _replace_by(lambda path: path.symlink_to(path.name)),
    "device": _replace_by(lambda path: path.symlink_to("/dev/zero")),
    "fifo": _replace_by(os.mkfifo),
    "directory": _replace_by(os.mkdir),
    "empty": _become(lambda array: ""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 40),
    "large": lambda path: os.truncate(path, 1 << 40),
    "short": _become(lambda array: array[1:]),
    "wide": _become(lambda array: np.hstack([array, array])),
    "turned": _become(lambda array: array.reshape(-1, 16)),
    "nan": _become(lambda array: np.where(array == array[3, 4], np.nan, array)),
    "infinite": _become(lambda array: np.where(array == array[3, 4], 1e300, array)),
    "words": _become(lambda array: "__import__('os').abort() " * 32),
    "one row": _become(lambda array: " ".join(["1"] * 60000)),
    "binary": _become(lambda array: "\0\1\2" * 500),
    "header": _become(lambda array: "# DTYPE object\n# NDIM 1\n# DIM:0 99999999999\n1 2\n"),
}


@pytest.mark.parametrize("gain", [0, 2])
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_file_is_skipped_and_the_rest_goes_in(
    repository: Repository, root: Path, spoil: str, gain: int
) -> None:
    a_dark(root)
    a_dark(root, dark=SECOND)
    a_dark(root, "pixel_rms")
    SPOILS[spoil](panel_path(root, A, PEDESTALS, FIRST, 0, f"-g{gain}.data"))
    added = add(repository, root)
    assert len(added.skipped) == 1, added.skipped
    assert f"{FIRST.stem(0)}-pedestals" in added.skipped[0][0]
    assert [set(version.content) for version in added.versions] == [{"pixel_rms"}, {PEDESTALS}]


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("merge", ["panel", "detector"])
def test_a_spoilt_merged_file_is_skipped_and_the_rest_goes_in(
    repository: Repository, root: Path, spoil: str, merge: str
) -> None:
    a_dark(root, "pixel_rms")
    array = constants_of(FIRST, A, PEDESTALS, SHAPE)
    if merge == "panel":
        path = write_merged_panel(root, A, PEDESTALS, array)
    else:
        path = write_merged_detector(root, PEDESTALS, {0: array, 1: array}, 2)
    SPOILS[spoil](path)
    added = add(repository, root)
    assert added.skipped
    assert all(PEDESTALS in label for label, _ in added.skipped)
    assert [set(version.content) for version in added.versions] == [{"pixel_rms"}]


@pytest.mark.parametrize("place", ["jungfrau", f"jungfrau/{B}", f"jungfrau/{B}/pedestals", "jungfrau/merge_tmp"])
@pytest.mark.parametrize("kind", ["link out", "file", "fifo", "unreadable"])
def test_a_spoilt_directory_is_reported(
    repository: Repository, root: Path, place: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for panel in (A, B):
        a_dark(root, panel=panel, segment=int(panel == B))
    (root / "jungfrau" / "merge_tmp").mkdir()
    path, listdir = root / place, os.listdir
    if kind == "unreadable":
        # Root may read every directory.
        def forbid(directory: Path) -> list[str]:
            if Path(directory) == path:
                raise PermissionError(13, "Permission denied", str(directory))
            return listdir(directory)

        monkeypatch.setattr("jfstore.formats.panel_repository.os.listdir", forbid)
    else:
        shutil.move(path, root.parent / "elsewhere")
        make = {"link out": lambda: path.symlink_to(root.parent / "elsewhere"), "file": path.touch}
        make.get(kind, lambda: os.mkfifo(path))()
    added = add(repository, root)
    assert [label for label, _ in added.skipped] == [place]
    assert len(added.versions) == {"jungfrau": 0, "jungfrau/merge_tmp": 2}.get(place, 1)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_directory_is_a_bad_value(repository: Repository, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadValue, match="is not a directory"):
        add(repository, tmp_path / name)


def test_a_root_that_cannot_be_read_has_failed(
    repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(directory: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr("jfstore.formats.panel_repository.os.listdir", forbid)
    with pytest.raises(Failed, match="Permission denied"):
        add(repository, root)


def test_a_directory_without_panels_is_noted(repository: Repository, root: Path) -> None:
    make_panel_repository(root / "detector" / "calib2" / "constants")
    added = add(repository, root)
    assert not added.versions
    assert "did you mean" in added.notes[0]


def test_panels_of_another_size_are_skipped(repository: Repository, root: Path) -> None:
    make_panel_repository(root, (3, 16, 64), types=(PEDESTALS,))
    added = add(repository, root)
    assert (len(added.skipped), added.versions) == (4, ())
