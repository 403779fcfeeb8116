"""Calibration directories of psana1: psana's choice of a file, names, and what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jfstore.core.hashing import digest
from jfstore.errors import BadValue, Failed
from jfstore.formats.calibdir import LAST_RUN, RangeFile, find_choice, parse_range, read_constants, scan_source
from tests.makers.calibdirs import SOURCES, choose, make_array, write_file
from tests.makers.repositories import SHAPE

SOURCE = SOURCES[0]
numbers = st.one_of(st.integers(0, 12), st.integers(9990, 10010), st.integers(0, 10**6))
names = st.builds(
    lambda first, last, zeros: f"{'0' * zeros}{first}-{last}.data",
    numbers,
    st.one_of(st.just("end"), numbers.map(str)),
    st.sampled_from([0, 0, 0, 2]),
)
odd_names = st.sampled_from("HISTORY 1-end.data-2018 x-end.data 1-2-3.data 1_end.data 1-END.data".split())


def files_of(written: list[str]) -> list[RangeFile]:
    """Return the files with these names, as `scan_source` makes them."""
    ranges = [(name, parse_range(name)) for name in written]
    return [
        RangeFile(SOURCE, "pedestals", name, Path(name), runs[0], LAST_RUN if runs[1] is None else runs[1])
        for name, runs in ranges
        if runs
    ]


@settings(max_examples=400)
@given(st.lists(st.one_of(names, names, odd_names), max_size=9, unique=True), numbers)
@example(["0-end.data", "5-10.data", "5-7.data"], 6)
@example(["9999-end.data", "9998-9999.data"], 10_000)
@example(["0-9999.data", "0-end.data"], 3)
def test_the_choice_is_that_of_psana(written: list[str], run: int) -> None:
    found = find_choice(files_of(written), run)
    expected = choose(written, run)
    assert expected in [file.name for file in found] if found else expected is None
    assert len({(file.first, file.last) for file in found}) <= 1


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("631-end.data", (631, None)),
        ("0-0.data", (0, 0)),
        ("00000000000631-end.data", (631, None)),
        ("10-5.data", (10, 5)),
        ("9999-end.data", (9999, None)),
        ("10000-end.data", None),
        ("1-10000.data", None),
        ("1-end.data.bak", None),
        ("-1-end.data", None),
        ("1-.data", None),
        (f"{'0' * 300}1-end.data", None),
        ("1-end\n.data", None),
    ],
)
def test_names_say_ranges(name: str, runs: tuple[int, int | None] | None) -> None:
    assert parse_range(name) == runs


def test_files_are_read_by_panel(tmp_path: Path) -> None:
    array = make_array(1, "pixel_mask", 3)
    path = write_file(tmp_path, SOURCE, "pixel_mask", "1-end.data", array)
    (file,) = scan_source(tmp_path, SOURCE).files["pixel_mask"]
    found = read_constants(file, SHAPE, 3)
    assert np.array_equal(np.stack([checked.array for checked in found.panels]), array)
    assert (found.size, found.blake3) == (path.stat().st_size, digest(path.read_bytes()))
    assert (file.label, file.range) == (f"{SOURCE}/pixel_mask/1-end.data", "1-end")


def test_one_panel_needs_no_axis(tmp_path: Path) -> None:
    array = make_array(1, "pedestals", 1)[:, 0]
    write_file(tmp_path, SOURCE, "pedestals", "1-end.data", array)
    (file,) = scan_source(tmp_path, SOURCE).files["pedestals"]
    assert np.array_equal(read_constants(file, SHAPE, 1).panels[0].array, array)


def test_float64_is_rounded_and_said(tmp_path: Path) -> None:
    array = make_array(1, "pedestals", 1).astype("f8") + 1e-9
    write_file(tmp_path, SOURCE, "pedestals", "1-end.data", array)
    (file,) = scan_source(tmp_path, SOURCE).files["pedestals"]
    (panel,) = read_constants(file, SHAPE, 1).panels
    assert (panel.converted_from, np.array_equal(panel.array, array[:, 0].astype("f4"))) == ("<f8", True)


def test_integers_are_pedestals_too(tmp_path: Path) -> None:
    array = np.rint(make_array(1, "pedestals", 1)).astype("i4")
    write_file(tmp_path, SOURCE, "pedestals", "1-end.data", array)
    (file,) = scan_source(tmp_path, SOURCE).files["pedestals"]
    assert np.array_equal(read_constants(file, SHAPE, 1).panels[0].array, array[:, 0])


def test_status_written_as_floats_is_read_as_psana_does(tmp_path: Path) -> None:
    array = make_array(1, "pixel_status", 1).astype("f4")
    write_file(tmp_path, SOURCE, "pixel_status", "1-end.data", array, "%.1f")
    (file,) = scan_source(tmp_path, SOURCE).files["pixel_status"]
    assert np.array_equal(read_constants(file, SHAPE, 1).panels[0].array, array[:, 0])
    array[0, 0, 1, 1] = 0.5
    write_file(tmp_path, SOURCE, "pixel_status", "1-end.data", array)
    with pytest.raises(BadValue, match=r"0\.5 is not a value of pixel_status, which psana1 reads as uint16"):
        read_constants(file, SHAPE, 1)


def test_a_file_that_is_too_large_for_its_panels_is_not_read(tmp_path: Path) -> None:
    path = write_file(tmp_path, SOURCE, "pedestals", "1-end.data", make_array(1, "pedestals", 1))
    (file,) = scan_source(tmp_path, SOURCE).files["pedestals"]
    with path.open("ab") as end:
        end.write(b"#" * (1 << 20))
    read_constants(file, SHAPE, 1)
    with path.open("ab") as end:
        end.write(b"#" * 4096)
    with pytest.raises(BadValue, match="more than the"):
        read_constants(file, SHAPE, 1)


@pytest.mark.parametrize("closed", ["source", "type"])
def test_a_directory_that_may_not_be_read_is_reported(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, SOURCE, "pedestals", "1-end.data", make_array(1, "pedestals", 1))
    write_file(tmp_path, SOURCE, "pixel_rms", "1-end.data", make_array(1, "pixel_rms", 1))
    listdir, place = os.listdir, {"source": SOURCE, "type": "pedestals"}[closed]

    def forbid(directory: Any) -> list[str]:
        if Path(directory).name == place:
            raise PermissionError(13, "Permission denied", str(directory))
        return listdir(directory)

    monkeypatch.setattr(os, "listdir", forbid)
    found = scan_source(tmp_path, SOURCE)
    assert ["Permission denied" in reason for reason in found.problems.values()] == [True]
    assert found.unknown == (None if closed == "source" else {"pedestals"})
    assert list(found.files) == ([] if closed == "source" else ["pixel_rms"])


def test_a_file_that_may_not_be_read_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path, SOURCE, "pedestals", "1-end.data", make_array(1, "pedestals", 1))
    (file,) = scan_source(tmp_path, SOURCE).files["pedestals"]

    def forbid(place: Any, limit: int, follow: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr("jfstore.formats.calibdir.read_regular", forbid)
    with pytest.raises(Failed, match="Permission denied"):
        read_constants(file, SHAPE, 1)
