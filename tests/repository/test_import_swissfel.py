"""Import of SwissFEL's gains.h5 and pedestals: what becomes what, of which panel, what is refused, and again."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from blake3 import blake3

import jfstore
from jfstore.errors import BadValue, NotFound
from jfstore.repository import Repository
from tests.makers.psi import dark_planes, gain_maps, write_gains_h5, write_pedestals_h5
from tests.makers.repositories import A, B, C, D, new_repository, tree

SHAPE = (3, 16, 32)
STAMP = "20180306000000"
PAIR = f"{A}_{B}"
RES = "run_000631.JF07T02V01.res.h5"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository in which two panels have names."""
    made = new_repository(tmp_path / "R", shape=SHAPE)
    made.name_panel(A, "M044", "the label")
    made.name_panel(B, "M68", "the label, not padded")
    return made


def modules(count: int = 6, names: tuple[str, ...] = ("M044", "M068")) -> dict[str, np.ndarray]:
    return {name: gain_maps(count, seed) for seed, name in enumerate(names)}


def f4(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values.astype("<f4")).tobytes()


@pytest.mark.parametrize(("count", "high"), [(3, None), (4, (3, 1, 2)), (6, (3, 4, 5))])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4"])
def test_gains(repository: Repository, tmp_path: Path, count: int, high: tuple[int, ...] | None, dtype: str) -> None:
    made = modules(count)
    path = write_gains_h5(tmp_path / "gains.h5", made, dtype)
    added = repository.import_swissfel(path, "from SwissFEL", time=STAMP)
    assert [version.panel for version in added.versions] == [A, B]
    assert {version.seq for version in added.versions} == {3}
    assert not added.skipped
    assert added.versions[1].origin == {
        "kind": "swissfel",
        "version": "gains.h5/1",
        "contents": "gains",
        "module": "M068",
        "planes": count,
        "creator": "somebody",
        "date": "20201211 10:20:30",
        "size": path.stat().st_size,
        "blake3": blake3(path.read_bytes()).hexdigest(),
    }
    assert added.versions[1].about == {"module": "M068"}
    came_as = None if dtype == "<f4" else "<f8"
    assert {array.converted_from for version in added.versions for array in version.arrays} == {came_as}
    assert ("pixel_gain was rounded from float64 to float32" in added.notes) == (came_as is not None)
    for panel, maps in zip((A, B), made.values(), strict=True):
        assert repository.get(panel, "pixel_gain", STAMP).tobytes() == f4(maps[:3])
        if high:
            assert repository.get(panel, "pixel_gain_hg0", STAMP).tobytes() == f4(maps[list(high)])
    before = tree(tmp_path / "R")
    again = repository.import_swissfel(path, "from SwissFEL", time=STAMP)
    assert (again.versions, len(again.unchanged)) == ((), 2)
    assert tree(tmp_path / "R") == before


def test_modules_without_a_panel_are_skipped(repository: Repository, tmp_path: Path) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules(3, ("M044", "M088", "M090")))
    added = repository.import_swissfel(path, "x", time=STAMP, panels={"M090": C})
    assert [version.panel for version in added.versions] == [A, C]
    assert repository.get(C, "pixel_gain", STAMP).tobytes() == f4(gain_maps(3, 2))
    ((name, reason),) = added.skipped
    assert name == "module 1 (M088)"
    assert "jfstore panel ID --name M088 -m MESSAGE" in reason


def test_modules_that_share_a_panel_are_skipped(repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "gains.h5"
    write_gains_h5(path, modules(3, ("M044", "M068", "M44")))
    added = repository.import_swissfel(path, "x", time=STAMP)
    assert [version.panel for version in added.versions] == [B]
    assert [name for name, _ in added.skipped] == ["module 0 (M044)", "module 2 (M044)"]
    assert f"module 2 is of panel {A}, too" in added.skipped[0][1]


@pytest.mark.parametrize(
    ("panels", "text"),
    [
        (f"{B}_{A}", r"M044 is the name of panel 171113-\S+, not of 170505"),
        (A, "has 2 modules, and 1 panels are stated"),
        (f"{A}_{A}", "comes twice"),
        ({"M044": C}, "M044 is the name of panel"),
        ({"M045": C}, "has no module M045, for which a panel is stated; it has M044, M068"),
    ],
)
def test_implausible_panels_are_refused(
    repository: Repository, tmp_path: Path, panels: str | dict[str, str], text: str
) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules())
    with pytest.raises(BadValue, match=text):
        repository.import_swissfel(path, "x", time=STAMP, panels=panels)


@pytest.mark.parametrize("names", [None, "", "gainMaps_M044.bin", "gainMaps_M044.bin other.bin", 7])
def test_a_file_that_does_not_name_its_modules_needs_panels(
    repository: Repository, tmp_path: Path, names: str | int | None
) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules())
    with h5py.File(path, "r+") as file:
        del file["gains"].attrs["original_filenames"]
        if names is not None:
            file["gains"].attrs["original_filenames"] = names
    with pytest.raises(BadValue, match="does not name the modules of the detector: state its 2 panels"):
        repository.import_swissfel(path, "x", time=STAMP)
    (first, _) = repository.import_swissfel(path, "x", time=STAMP, panels=f"{C}_{D}").versions
    assert (first.panel, first.about) == (C, {})


def test_attributes_of_the_file_and_paths_count_too(repository: Repository, tmp_path: Path) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules())
    with h5py.File(path, "r+") as file:
        del file["gains"].attrs["original_filenames"]
        file.attrs["original_filenames"] = np.bytes_(b"/a/M1/gainMaps_M044.bin /b/gainMaps_M068_2018.bin")
    assert len(repository.import_swissfel(path, "x", time=STAMP).versions) == 2


def test_the_time_must_be_given(repository: Repository, tmp_path: Path) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules())
    with pytest.raises(BadValue, match="does not say from when on its constants are valid"):
        repository.import_swissfel(path, "x")


def test_a_bad_map_keeps_all_gains_of_its_module_out(repository: Repository, tmp_path: Path) -> None:
    made = modules()
    made["M044"][5, 1, 2] = 0.0
    added = repository.import_swissfel(write_gains_h5(tmp_path / "gains.h5", made), "x", time=STAMP)
    assert [version.panel for version in added.versions] == [B]
    ((name, reason),) = added.skipped
    assert name == "module 0, pixel_gain"
    assert "values of pixel_gain_hg0 is zero, the first at gain 2, row 1, column 2" in reason


def test_high_gains_that_repeat_the_normal_ones_are_left_out(repository: Repository, tmp_path: Path) -> None:
    made = modules()
    made["M068"][3:] = made["M068"][:3]  # as PSI's converter expands a file of three maps
    added = repository.import_swissfel(write_gains_h5(tmp_path / "gains.h5", made), "x", time=STAMP)
    assert [len(version.arrays) for version in added.versions] == [2, 1]
    assert not added.skipped
    assert [note for note in added.notes if note.startswith("module 1: HG0 repeats G0")]


# -- pedestals


@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
@pytest.mark.parametrize("count", [3, 4])
def test_pedestals(repository: Repository, tmp_path: Path, count: int, dtype: str) -> None:
    made = dark_planes(count)
    made = {name: values if name == "pixel_mask" else values.astype(dtype) for name, values in made.items()}
    path = write_pedestals_h5(tmp_path / RES, made)
    about = {"experiment": "p12345", "run": "631"}
    added = repository.import_swissfel(path, "darks", time=STAMP, panels=PAIR, about=about)
    assert [version.panel for version in added.versions] == [A, B]
    assert not added.skipped
    (version, _) = added.versions
    assert (version.about, (version.origin or {})["contents"]) == (about, "pedestals")
    for place, panel in enumerate((A, B)):
        rows = slice(16 * place, 16 * place + 16)
        normal, high = [0, 1, 2], [3, 1, 2]
        for calib_type, name in (("pedestals", "gains"), ("pixel_rms", "gainsRMS")):
            assert repository.get(panel, calib_type, STAMP).tobytes() == f4(made[name][normal, rows])
            if count == 4:
                assert repository.get(panel, f"{calib_type}_hg0", STAMP).tobytes() == f4(made[name][high, rows])
            else:
                with pytest.raises(NotFound):
                    repository.get(panel, f"{calib_type}_hg0", STAMP)
        mask = repository.get(panel, "pixel_mask", STAMP)
        assert mask.tobytes() == (made["pixel_mask"][rows] == 0).astype("|u1").tobytes()
        assert 0 < np.count_nonzero(mask == 0) < 40
    assert "pixel_mask was converted from int64 to uint8" in added.notes
    assert not repository.import_swissfel(path, "darks", time=STAMP, panels=PAIR, about=about).versions


@pytest.mark.parametrize("dtype", ["?", "<i8", ">i4", "|u1", "|i1"])
def test_masks_of_any_dtype(repository: Repository, tmp_path: Path, dtype: str) -> None:
    made = dark_planes()
    mask = np.zeros((32, 32), dtype)
    mask[3, 4] = 1
    mask[20, 5] = np.array(-128 if np.dtype(dtype).kind == "i" else 1).astype(dtype)
    made["pixel_mask"] = mask
    path = write_pedestals_h5(tmp_path / RES, made)
    added = repository.import_swissfel(path, "x", time=STAMP, panels=PAIR)
    assert not added.skipped
    got = repository.get(PAIR, "pixel_mask", STAMP)
    assert np.argwhere(got == 0).tolist() == [[0, 3, 4], [1, 4, 5]]
    stored = {array.type: array.converted_from for array in added.versions[0].arrays}["pixel_mask"]
    assert stored == {"?": "|b1", ">i4": "<i4", "|u1": None}.get(dtype, dtype)


def test_pedestals_need_panels(repository: Repository, tmp_path: Path) -> None:
    path = write_pedestals_h5(tmp_path / RES, dark_planes())
    with pytest.raises(BadValue, match="has pedestals: state its 2 panels, in the order of the modules"):
        repository.import_swissfel(path, "x", time=STAMP)
    with pytest.raises(BadValue, match="has pedestals: state its 2 panels"):
        repository.import_swissfel(path, "x", time=STAMP, panels={"M044": A})


def test_noise_that_repeats_the_means_is_refused(repository: Repository, tmp_path: Path) -> None:
    made = dark_planes(4)
    made["gainsRMS"][1, :16] = made["gains"][1, :16]
    path = write_pedestals_h5(tmp_path / RES, made)
    added = repository.import_swissfel(path, "x", time=STAMP, panels=PAIR)
    types = [[array.type for array in version.arrays] for version in added.versions]
    assert types == [
        ["pedestals", "pedestals_hg0", "pixel_mask"],
        ["pedestals", "pedestals_hg0", "pixel_mask", "pixel_rms", "pixel_rms_hg0"],
    ]
    skipped = dict(added.skipped)
    assert sorted(skipped) == ["module 0, pixel_rms", "module 0, pixel_rms_hg0"]
    assert "plane 1 of /gainsRMS repeats that of /gains" in skipped["module 0, pixel_rms"]


def test_an_empty_high_plane_is_skipped(repository: Repository, tmp_path: Path) -> None:
    made = dark_planes(4)
    made["gains"][3] = made["gainsRMS"][3] = 0
    path = write_pedestals_h5(tmp_path / RES, made)
    added = repository.import_swissfel(path, "x", time=STAMP, panels=PAIR)
    assert [array.type for array in added.versions[0].arrays] == ["pedestals", "pixel_mask", "pixel_rms"]
    assert dict(added.skipped) == {
        "pedestals_hg0": "plane 3 of /gains is zero everywhere",
        "pixel_rms_hg0": "plane 3 of /gainsRMS is zero everywhere",
    }


# -- gains or pedestals


def test_names_tell_the_contents(repository: Repository, tmp_path: Path) -> None:
    gains, darks = modules(3), dark_planes()
    bare = {"gains": darks["gains"]}
    for name, datasets, text in (
        ("x.h5", bare, r"does not tell whether it has gains or pedestals \(neither its name nor its datasets do\)"),
        ("gains.h5", darks, r"\(its name of gains; the dataset gainsRMS, the dataset pixel_mask of pedestals\)"),
    ):
        path = write_pedestals_h5(tmp_path / name, datasets)
        with pytest.raises(BadValue, match=text):
            repository.import_swissfel(path, "x", time=STAMP, panels=PAIR)
        done = repository.import_swissfel(path, "x", time=STAMP, panels=PAIR, contents="pedestals", dry_run=True)
        assert "pedestals" in done.versions[0].content
    path = write_gains_h5(tmp_path / "x.res.h5", gains)
    with pytest.raises(BadValue, match=r"the attribute original_filenames of gains; its name of pedestals"):
        repository.import_swissfel(path, "x", time=STAMP)
    done = repository.import_swissfel(path, "x", time=STAMP, contents="gains", dry_run=True)
    assert "pixel_gain" in done.versions[0].content
    with pytest.raises(BadValue, match="contents 'both': expected gains or pedestals"):
        repository.import_swissfel(path, "x", time=STAMP, contents="both")


def test_the_guard_finds_what_was_stated_wrongly(repository: Repository, tmp_path: Path) -> None:
    path = write_pedestals_h5(tmp_path / RES, dark_planes())
    with pytest.raises(jfstore.Refused):
        repository.import_swissfel(path, "x", time=STAMP, panels=PAIR, contents="gains")


# -- hostile files


def drop(name: str) -> Callable[[h5py.File, Path], None]:
    return lambda file, _: file.__delitem__(name)


def put(name: str, values: np.ndarray) -> Callable[[h5py.File, Path], None]:
    def spoil(file: h5py.File, _: Path) -> None:
        del file[name]
        file[name] = values

    return spoil


def link(name: str, target: str) -> Callable[[h5py.File, Path], None]:
    def spoil(file: h5py.File, place: Path) -> None:
        del file[name]
        file[name] = h5py.SoftLink("/other") if target == "soft" else h5py.ExternalLink(str(place / "o.h5"), "/gains")

    return spoil


def external(file: h5py.File, place: Path) -> None:
    del file["gains"]
    (place / "raw").write_bytes(bytes(3 * 32 * 32 * 8))
    file.create_dataset("gains", (3, 32, 32), "f8", external=[(str(place / "raw"), 0, 3 * 32 * 32 * 8)])


def bomb(file: h5py.File, _: Path) -> None:
    del file["gains"]
    file.create_dataset("gains", (3, 1 << 26, 32), "f8", chunks=(1, 1 << 10, 32), compression="gzip")


WHOLE = dark_planes()
REFUSED: dict[str, tuple[Callable[[h5py.File, Path], None], str]] = {
    "no gains": (drop("gains"), "/gains is not usable: there is no such dataset"),
    "group": (lambda file, _: (drop("gains")(file, _), file.create_group("gains"))[0], "it is not a dataset"),
    "soft link": (link("gains", "soft"), "it is a link"),
    "external link": (link("gains", "external"), "it is a link"),
    "external values": (external, "its values are in other files"),
    "bomb": (bomb, "more than 2147483648 bytes"),
    "columns": (put("gains", np.ones((3, 32, 31))), r"its shape is \(3, 32, 31\), and panels have 32 columns"),
    "rows": (put("gains", np.ones((3, 33, 32))), r"/gains has shape \(3, 33, 32\); pedestals have 3 or 4 planes"),
    "planes": (put("gains", np.ones((6, 32, 32))), "pedestals have 3 or 4 planes"),
    "rank 2": (put("gains", np.ones((32, 32))), r"/gains has shape \(32, 32\)"),
    "rank 4": (put("gains", np.ones((1, 3, 32, 32))), r"/gains has shape \(1, 3, 32, 32\)"),
    "integers": (put("gains", np.ones((3, 32, 32), "<i4")), "dtype int32 is not float32"),
    "float16": (put("gains", np.ones((3, 32, 32), "<f2")), "dtype float16 is not float32"),
    "texts": (put("gains", np.full((3, 32, 32), b"a")), "its values are not numbers"),
    "complex": (put("gains", np.ones((3, 32, 32), complex)), "its values are not numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_gains_are_refused(repository: Repository, tmp_path: Path, name: str) -> None:
    spoil, text = REFUSED[name]
    path = write_pedestals_h5(tmp_path / RES, WHOLE)
    write_pedestals_h5(tmp_path / "o.h5", WHOLE)
    with h5py.File(path, "r+") as file:
        spoil(file, tmp_path)
    before = tree(tmp_path / "R")
    with pytest.raises(BadValue, match=text):
        repository.import_swissfel(path, "x", time=STAMP, panels=PAIR)
    assert tree(tmp_path / "R") == before


def with_nan(name: str) -> np.ndarray:
    values = WHOLE[name].copy()
    values[0, 0, 0] = np.nan
    return values


SKIPPED: dict[str, tuple[Callable[[h5py.File, Path], None], str, str]] = {
    "noise of another shape": (put("gainsRMS", np.ones((3, 16, 32))), "/gainsRMS", "its shape is (3, 16, 32)"),
    "noise as integers": (put("gainsRMS", np.ones((3, 32, 32), "<u2")), "/gainsRMS", "dtype uint16 is not float32"),
    "noise elsewhere": (link("gainsRMS", "external"), "/gainsRMS", "it is a link"),
    "mask of floats": (put("pixel_mask", np.zeros((32, 32))), "/pixel_mask", "dtype float64 is not an integer"),
    "mask of another shape": (put("pixel_mask", np.zeros((2, 16, 32), int)), "/pixel_mask", "its shape is (2, 16, 32)"),
    "nan in the noise": (put("gainsRMS", with_nan("gainsRMS")), "module 0, pixel_rms", "not finite in float32"),
    "nan in the means": (put("gains", with_nan("gains")), "module 0, pedestals", "not finite in float32"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_bad_parts_are_skipped_and_the_others_imported(repository: Repository, tmp_path: Path, name: str) -> None:
    spoil, what, text = SKIPPED[name]
    path = write_pedestals_h5(tmp_path / RES, WHOLE)
    write_pedestals_h5(tmp_path / "o.h5", WHOLE)
    with h5py.File(path, "r+") as file:
        spoil(file, tmp_path)
    added = repository.import_swissfel(path, "x", time=STAMP, panels=PAIR)
    ((skipped, reason),) = added.skipped
    assert (skipped, text in reason) == (what, True), reason
    assert len(added.versions) == 2


def test_hostile_texts(repository: Repository, tmp_path: Path) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules())
    with h5py.File(path, "r+") as file:
        file["gains"].attrs["creator"] = np.bytes_(b"\xff\xfe\x1b[2J" + b"x" * 1000)
        file["gains"].attrs["date"] = "y" * 20_000
        file.attrs["panels"] = "z"
        file.attrs["refused"] = np.zeros(3)
        file.attrs["empty"] = h5py.Empty("f4")
        file.attrs["reference"] = file["gains"].ref
    (version, _) = repository.import_swissfel(path, "x", time=STAMP).versions
    origin = version.origin or {}
    assert "date" not in origin
    assert len(origin["creator"]) < 300
    assert origin["creator"].isprintable()


def test_what_is_no_hdf5_file(repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "gains.h5"
    with pytest.raises(BadValue, match="no such file"):
        repository.import_swissfel(path, "x", time=STAMP)
    os.mkfifo(path)
    with pytest.raises(BadValue, match="not a regular file"):
        repository.import_swissfel(path, "x", time=STAMP)
    path.unlink()
    path.write_bytes(b"nothing")
    with pytest.raises(BadValue, match="libhdf5 cannot read it"):
        repository.import_swissfel(path, "x", time=STAMP)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadValue, match="not a regular file"):
        repository.import_swissfel(path, "x", time=STAMP)


def test_damaged_files_are_one_error_or_the_right_answer(repository: Repository, tmp_path: Path) -> None:
    path = write_gains_h5(tmp_path / "gains.h5", modules(3))
    raw = path.read_bytes()
    right = {f4(maps[:3]) for maps in modules(3).values()}
    random, messages = np.random.default_rng(4), list[str]()
    for _ in range(12):
        spoiled = bytearray(raw)
        for place in random.integers(8, 3000, 6).tolist():
            spoiled[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(spoiled))
        try:
            added = repository.import_swissfel(path, "x", time=STAMP, dry_run=True)
        except BadValue as error:
            messages.append(error.message)
        except jfstore.Refused as error:  # the guard found values that were flipped
            assert "pixel_gain" in error.message  # noqa: PT017 - other errors are right, too
        else:
            assert len(added.versions) + len(added.skipped) >= 1
    assert not [message for message in messages if "\n" in message]
    path.write_bytes(raw)
    repository.import_swissfel(path, "x", time=STAMP)
    assert {repository.get(panel, "pixel_gain", STAMP).tobytes() for panel in (A, B)} == right


def test_full_size(tmp_path: Path) -> None:
    made = new_repository(tmp_path / "R", shape=(3, 512, 1024))
    planes = dark_planes(4, shape=(512, 1024))
    path = write_pedestals_h5(tmp_path / RES, planes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made.import_swissfel(path, "x", time=STAMP, panels=PAIR)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    for place, panel in enumerate((A, B)):
        rows = slice(512 * place, 512 * place + 512)
        assert made.get(panel, "pedestals_hg0", STAMP).tobytes() == f4(planes["gains"][[3, 1, 2], rows])
        assert made.get(panel, "pixel_rms", STAMP).tobytes() == f4(planes["gainsRMS"][:3, rows])
