"""Import of PSI's gain maps: which panel, which maps, what is skipped, and again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

import jfstore
from jfstore.errors import BadValue, NotFound
from jfstore.repository import Repository
from tests.makers.psi import gain_maps, write_gain_maps
from tests.makers.repositories import A, B, C, new_repository, tree

SHAPE = (3, 16, 32)
STAMP = "20180306000000"
ROUNDED = "pixel_gain was rounded from float64 to float32"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository in which two panels have names."""
    made = new_repository(tmp_path / "R", shape=SHAPE)
    made.name_panel(A, "M044", "the label")
    made.name_panel(B, "M68", "the label, not padded")
    return made


def maps_of(values: np.ndarray, *planes: int) -> bytes:
    return np.ascontiguousarray(values[list(planes)].astype("<f4")).tobytes()


@pytest.mark.parametrize(("count", "high"), [(3, None), (4, (3, 1, 2)), (6, (3, 4, 5))])
def test_maps_become_gains(repository: Repository, tmp_path: Path, count: int, high: tuple[int, ...] | None) -> None:
    maps = gain_maps(count)
    path = write_gain_maps(tmp_path / "gainMaps_M044_2018.bin", maps)
    added = repository.import_psi(path, "from PSI", time=STAMP, about={"report": "7"})
    (version,) = added.versions
    assert (version.panel, version.stamp, version.about) == (A, STAMP, {"report": "7", "module": "M044"})
    assert version.origin == {
        "kind": "psi",
        "version": path.name,
        "module": "M044",
        "maps": count,
        "size": path.stat().st_size,
        "blake3": blake3(path.read_bytes()).hexdigest(),
    }
    assert version.source == str(path)
    assert {array.converted_from for array in version.arrays} == {"<f8"}
    assert ROUNDED in added.notes
    assert any("has no pixel_offset" in note for note in added.notes)
    assert repository.get(A, "pixel_gain", STAMP).tobytes() == maps_of(maps, 0, 1, 2)
    if high:
        assert repository.get(A, "pixel_gain_hg0", STAMP).tobytes() == maps_of(maps, *high)
    else:
        with pytest.raises(NotFound):
            repository.get(A, "pixel_gain_hg0", STAMP)


@pytest.mark.parametrize("count", [4, 6])
def test_high_gains_that_repeat_the_normal_ones_are_left_out(
    repository: Repository, tmp_path: Path, count: int
) -> None:
    maps = gain_maps(count)
    maps[3:] = maps[: count - 3]
    added = repository.import_psi(write_gain_maps(tmp_path / "gainMaps_M044.bin", maps), "x", time=STAMP)
    assert list(added.versions[0].content) == ["pixel_gain"]
    assert [note for note in added.notes if note.startswith("gainMaps_M044.bin: HG0 repeats G0")]


def test_a_directory_is_one_commit_and_a_second_import_none(repository: Repository, tmp_path: Path) -> None:
    place = tmp_path / "maps"
    for number, module in enumerate(("M044", "M068", "M088")):
        write_gain_maps(place / f"gainMaps_{module}.bin", gain_maps(6, number))
    (place / "README").write_text("nothing")
    (place / "other.bin").write_bytes(b"nothing")
    (place / "gainMaps_M099.bin").mkdir()
    calls: list[tuple[int, int]] = []
    added = repository.import_psi(place, "from PSI", time=STAMP, progress=lambda *pair: calls.append(pair))
    assert [version.panel for version in added.versions] == [A, B]
    assert {version.seq for version in added.versions} == {3}
    skipped = dict(added.skipped)
    assert sorted(skipped) == ["gainMaps_M088.bin", "gainMaps_M099.bin", "other.bin"]
    assert "jfstore panel ID --name M088 -m MESSAGE" in skipped["gainMaps_M088.bin"]
    assert "gainMaps_M<number>*.bin" in skipped["other.bin"]
    assert calls == [(0, 2), (1, 2), (2, 2)]
    before = tree(tmp_path / "R")
    again = repository.import_psi(place, "from PSI", time=STAMP)
    assert (again.versions, len(again.unchanged), again.seq) == ((), 2, 3)
    assert tree(tmp_path / "R") == before


def test_a_corrected_version_stays(repository: Repository, tmp_path: Path) -> None:
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", gain_maps())
    repository.import_psi(path, "from PSI", time=STAMP)
    corrected = gain_maps(seed=1).astype("<f4")
    repository.add(A, STAMP, {"pixel_gain": corrected}, "corrected")
    assert not repository.import_psi(path, "from PSI", time=STAMP).versions
    assert repository.get(A, "pixel_gain", STAMP).tobytes() == corrected.tobytes()


def test_a_dry_run_stores_nothing(repository: Repository, tmp_path: Path) -> None:
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", gain_maps())
    before = tree(tmp_path / "R")
    assert len(repository.import_psi(path, "x", time=STAMP, dry_run=True).versions) == 1
    assert tree(tmp_path / "R") == before


def test_the_time_must_be_given(repository: Repository, tmp_path: Path) -> None:
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", gain_maps())
    with pytest.raises(BadValue, match=r"does not say from when on its constants are valid: give the time, or 0{14}"):
        repository.import_psi(path, "x")
    repository.import_psi(path, "x", time="00000000000000")
    assert repository.get(A, "pixel_gain", "19800101000000").shape == (3, 1, 16, 32)


def test_panels_are_stated(repository: Repository, tmp_path: Path) -> None:
    path = write_gain_maps(tmp_path / "gainMaps_M088.bin", gain_maps())
    assert [v.panel for v in repository.import_psi(path, "x", time=STAMP, panels=C).versions] == [C]
    any_name = write_gain_maps(tmp_path / "values.dat", gain_maps(seed=1))
    with pytest.raises(BadValue, match="its name does not say the module; state the panel"):
        repository.import_psi(any_name, "x", time=STAMP)
    (version,) = repository.import_psi(any_name, "x", time=STAMP, panels="M044").versions
    assert (version.panel, version.about) == (A, {})
    place = tmp_path / "maps"
    for number, module in enumerate(("M044", "M088")):
        write_gain_maps(place / f"gainMaps_{module}.bin", gain_maps(6, number + 5))
    for stated in ({"M88": C}, f"M088={C}"):
        added = repository.import_psi(place, "x", time=STAMP, panels=stated, dry_run=True)
        assert [version.panel for version in added.versions] == [A, C]


@pytest.mark.parametrize(
    ("panels", "text"),
    [
        (B, r"M044 is the name of panel 171113-\S+, not of 170505"),
        ({"M044": B}, "M044 is the name of panel"),
        ({"M045": B}, "has no module M045, for which a panel is stated; it has M044"),
        ({"x": B}, "'x' is not a module, such as M044"),
        ({"M044": A, "44": A}, "module M044 comes twice"),
        ("M044=", "expected MODULE=PANEL once for each module"),
        (f"M044={A},x", "expected MODULE=PANEL once for each module"),
        ({"M044": "nobody"}, "not a panel Id"),
    ],
)
def test_implausible_panels_are_refused(
    repository: Repository, tmp_path: Path, panels: str | dict[str, str], text: str
) -> None:
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", gain_maps())
    with pytest.raises(BadValue, match=text):
        repository.import_psi(path, "x", time=STAMP, panels=panels)


def test_one_panel_for_several_files_is_refused(repository: Repository, tmp_path: Path) -> None:
    for module in ("M044", "M088"):
        write_gain_maps(tmp_path / "maps" / f"gainMaps_{module}.bin", gain_maps())
    with pytest.raises(BadValue, match="has 2 files, and one panel is stated"):
        repository.import_psi(tmp_path / "maps", "x", time=STAMP, panels=A)


def test_two_files_of_one_panel_are_skipped(repository: Repository, tmp_path: Path) -> None:
    place = tmp_path / "maps"
    for seed, name in enumerate(("gainMaps_M044.bin", "gainMaps_M044_2020.bin", "gainMaps_M068.bin")):
        write_gain_maps(place / name, gain_maps(seed=seed))
    added = repository.import_psi(place, "x", time=STAMP)
    assert [version.panel for version in added.versions] == [B]
    assert "gainMaps_M044_2020.bin is of panel" in dict(added.skipped)["gainMaps_M044.bin"]
    assert len(added.skipped) == 2
    chosen = repository.import_psi(place / "gainMaps_M044_2020.bin", "x", time=STAMP)
    assert repository.get(A, "pixel_gain", STAMP).tobytes() == maps_of(gain_maps(seed=1), 0, 1, 2)
    assert len(chosen.versions) == 1


def test_names_of_different_panels_are_ambiguous(repository: Repository, tmp_path: Path) -> None:
    repository.name_panel(C, "M44", "another label")
    repository.name_panel(f"{A}_{B}", "M500", "a detector")
    write_gain_maps(tmp_path / "maps" / "gainMaps_M044.bin", gain_maps())
    write_gain_maps(tmp_path / "maps" / "gainMaps_M500.bin", gain_maps(seed=1))
    skipped = dict(repository.import_psi(tmp_path / "maps", "x", time=STAMP).skipped)
    assert "M044 and M44 are names of different panels" in skipped["gainMaps_M044.bin"]
    assert "no panel is named M500" in skipped["gainMaps_M500.bin"]


def test_two_ids_of_one_panel_are_not_different(repository: Repository, tmp_path: Path) -> None:
    repository.join_panels(A, C, "new firmware")
    repository.name_panel(C, "M44", "the label")
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", gain_maps())
    assert len(repository.import_psi(path, "x", time=STAMP, panels=C).versions) == 1
    assert not repository.import_psi(path, "x", time=STAMP).versions


# -- hostile files


def spoil_sizes(maps: np.ndarray) -> dict[str, tuple[bytes, str]]:
    nan, zero, huge = maps.copy(), maps.copy(), maps.copy()
    nan[1, 2, 3], zero[2, 0, 5], huge[0, 0, 0] = np.nan, 0.0, 1e12
    whole = maps.tobytes()
    return {
        "empty": (b"", "0 bytes are not 3, 4 or 6 maps"),
        "short": (whole[:-1], "are not 3, 4 or 6 maps of 16 x 32 float64 values"),
        "long": (whole + b"\0", "are not 3, 4 or 6 maps"),
        "five": (gain_maps(6)[:5].tobytes(), "are not 3, 4 or 6 maps"),
        "float32": (maps.astype("<f4").tobytes(), "are not 3, 4 or 6 maps"),
        "six of float32": (gain_maps(6).astype("<f4").tobytes(), "they may be of another dtype"),
        "nan": (nan.tobytes(), "1 of 1536 values of pixel_gain is not finite in float32, the first at gain 1, row 2"),
        "zero": (zero.tobytes(), "1 of 1536 values of pixel_gain is zero, the first at gain 2, row 0, column 5"),
        "huge": (huge.tobytes(), "are not gains"),
        "inf": (np.full_like(maps, np.inf).tobytes(), "are not gains"),
    }


@pytest.mark.parametrize("name", spoil_sizes(gain_maps()))
def test_bad_files_are_skipped_and_the_others_imported(repository: Repository, tmp_path: Path, name: str) -> None:
    raw, text = spoil_sizes(gain_maps())[name]
    place = tmp_path / "maps"
    write_gain_maps(place / "gainMaps_M068.bin", gain_maps(seed=1))
    (place / "gainMaps_M044.bin").write_bytes(raw)
    added = repository.import_psi(place, "x", time=STAMP)
    assert [version.panel for version in added.versions] == [B]
    assert text in dict(added.skipped)["gainMaps_M044.bin"]


def test_a_sparse_file_of_a_terabyte_is_refused_at_once(repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "gainMaps_M044.bin"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    begun = time.monotonic()
    with pytest.raises(BadValue, match="1099511627776 bytes are not 3, 4 or 6 maps"):
        repository.import_psi(path, "x", time=STAMP)
    assert time.monotonic() - begun < 20  # reading it would take an hour


def test_links_and_fifos(repository: Repository, tmp_path: Path) -> None:
    place = tmp_path / "maps"
    outside = write_gain_maps(tmp_path / "outside.bin", gain_maps())
    write_gain_maps(place / "deep" / "kept.bin", gain_maps(seed=1))
    (place / "gainMaps_M044.bin").symlink_to(outside)
    (place / "gainMaps_M068.bin").symlink_to("deep/kept.bin")
    (place / "gainMaps_M088.bin").symlink_to("gainMaps_M088.bin")
    os.mkfifo(place / "gainMaps_M090.bin")
    repository.name_panel(C, "M090", "the label")
    added = repository.import_psi(place, "x", time=STAMP)
    assert [version.panel for version in added.versions] == [B]
    skipped = dict(added.skipped)
    assert "leads out of the directory" in skipped["gainMaps_M044.bin"]
    assert "is not a regular file" in skipped["gainMaps_M090.bin"]
    assert "gainMaps_M088.bin" in skipped
    (tmp_path / "gainMaps_M044.bin").symlink_to(outside)  # a link that the user names is followed
    assert len(repository.import_psi(tmp_path / "gainMaps_M044.bin", "x", time=STAMP).versions) == 1


def test_nothing_to_import(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(BadValue, match="has no file gainMaps_M<number>"):
        repository.import_psi(tmp_path / "none", "x", time=STAMP)
    with pytest.raises(BadValue, match="no such file"):
        repository.import_psi(tmp_path / "gainMaps_M044.bin", "x", time=STAMP)
    with pytest.raises(NotFound, match="jfstore panel ID --name M001"):
        repository.import_psi(write_gain_maps(tmp_path / "gainMaps_M1.bin", gain_maps()), "x", time=STAMP)
    with pytest.raises(BadValue, match="module=M1: the files say that"):
        repository.import_psi(tmp_path, "x", time=STAMP, about={"module": "M1"})


def test_the_guard_judges_gains(repository: Repository, tmp_path: Path) -> None:
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", gain_maps()[[1, 0, 2]])
    with pytest.raises(jfstore.Refused, match="ranges"):
        repository.import_psi(path, "x", time=STAMP)
    assert len(repository.import_psi(path, "x", time=STAMP, accept=["ranges"]).versions) == 1


def test_full_size(tmp_path: Path) -> None:
    made = new_repository(tmp_path / "R", shape=(3, 512, 1024))
    made.name_panel(A, "M044", "the label")
    maps = gain_maps(6, shape=(512, 1024))
    path = write_gain_maps(tmp_path / "gainMaps_M044.bin", maps)
    assert path.stat().st_size == 25_165_824
    made.import_psi(path, "x", time=STAMP)
    assert made.get(A, "pixel_gain", STAMP).tobytes() == maps_of(maps, 0, 1, 2)
    assert made.get(A, "pixel_gain_hg0", STAMP).tobytes() == maps_of(maps, 3, 4, 5)
