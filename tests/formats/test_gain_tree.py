"""Legacy gain trees: the reference's answers, the ways to write a tree, and every kind of bad name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from jfstore.core.instants import parse_time
from jfstore.core.table import Table
from jfstore.core.validity import select
from jfstore.errors import BadValue, Failed, JfstoreError, NotFound
from jfstore.formats.gain_tree import GainTree, read_gain_directory, scan_gain_tree
from tests.conftest import ROOT
from tests.makers import BEGIN_OF_ALL, BEGINNING, make_commit, make_table, make_version
from tests.makers.gains import LINKS, WORDS, make_gain_directory, make_gain_tree

LA = ZoneInfo("America/Los_Angeles")
SHAPE = (3, 16, 32)
REFERENCE = ROOT / "tests/data/reference"
TREE = REFERENCE / "gains-tree" / "jungfrau"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text())["gains-tree"]
DIRECTORY_ANSWERS = [answer for answer in EXPECTED["find_panel_calib_dirs"] if len(answer["tstamp"] or "") == 14]
FB = "171113-154920171025-3d00fb"


def stamp_of(name: str) -> str:
    return name.split("-")[3] if name.count("-") == 3 else BEGINNING


def table_of(tree: GainTree) -> Table:
    versions = [
        make_version(name.panel, name.start.stamp, 1, {"pixel_gain": name.name}, start=name.start.ns)
        for name in tree.names
    ]
    return make_table([make_commit(1, versions)])


def assignments(tree: GainTree) -> dict[str, str]:
    return {found.name: found.directory.name for found in tree.names}


def scan(path: Path) -> GainTree:
    return scan_gain_tree(path, LA)


def problem(path: Path, name: str) -> str:
    """Return what is wrong with `name`, which must not keep the other names from being understood."""
    tree = scan(path)
    assert name not in assignments(tree)
    assert assignments(tree).items() >= LINKS.items()
    assert list(tree.problems) == [name]
    return tree.problems[name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_gain_tree(tmp_path / "jungfrau")
    return tmp_path / "jungfrau"


# -- the reference -----------------------------------------------------------------------------------


def test_the_names_of_the_reference_tree_lead_where_it_says() -> None:
    tree = scan(TREE)
    assert assignments(tree) == EXPECTED["links"]
    assert tree.targets == ("M044", "M068", "M088", "M090")
    assert tree.problems == {}


@pytest.mark.parametrize("answer", DIRECTORY_ANSWERS, ids=lambda answer: f"{answer['jfid']} {answer['tstamp']}")
def test_each_panel_is_answered_as_the_reference_does_unless_with_the_future(answer: dict[str, Any]) -> None:
    table = table_of(scan(TREE))
    for panel, name in zip(answer["jfid"].split("_"), answer["result"], strict=True):
        panel = "-".join(f"{int(field, 16):x}" for field in panel.split("-"))
        ask = (table, panel, parse_time(answer["tstamp"], LA), "pixel_gain", LA)
        if name is None:
            with pytest.raises(NotFound, match=f"panel {panel}: no constants"):
                select(*ask)
        elif stamp_of(name) > answer["tstamp"]:
            with pytest.raises(NotFound, match=f"the first starts at {stamp_of(name)}"):
                select(*ask)
        else:
            assert select(*ask).version.stamp == stamp_of(name)


def test_the_reference_has_answers_of_every_kind() -> None:
    kinds = {
        "none" if name is None else "future" if stamp_of(name) > answer["tstamp"] else "valid"
        for answer in DIRECTORY_ANSWERS
        for name in answer["result"]
    }
    assert kinds == {"none", "future", "valid"}


@pytest.mark.parametrize("merged", sorted(name for name in EXPECTED if name.startswith("jf_")))
def test_the_arrays_of_the_reference_come_out_rounded_to_float32(merged: str) -> None:
    reference = np.load(REFERENCE / "gains-tree" / "merged" / f"{merged}.npy")
    found = {name.name: name.directory for name in scan(TREE).names}
    name = "pixel_gain" if merged.endswith("pixel_gain") else "pixel_offset"
    for place, directory in enumerate(EXPECTED[merged]["dirs"]):
        checked = read_gain_directory(found[directory], SHAPE)[name]
        assert checked.array.dtype.str == "<f4"
        assert checked.array.tobytes() == reference[:, place].astype("<f4").tobytes()
    if reference.shape[1] == 1:
        assert checked.converted_from == (None if reference.dtype == np.float32 else "<f8")


# -- the ways to write a tree ------------------------------------------------------------------------


@pytest.mark.parametrize("as_text", [False, True])
def test_links_and_the_text_files_that_stand_for_them_are_read_alike(tmp_path: Path, as_text: bool) -> None:
    make_gain_tree(tmp_path, as_text=as_text)
    tree = scan(tmp_path)
    assert assignments(tree) == LINKS
    assert tree.targets == ("M044", "M068", "M088")
    assert tree.problems == {}


@pytest.mark.parametrize("text", ["M044\n", "./M044", "M044/"])
def test_a_text_file_may_end_its_line(path: Path, text: str) -> None:
    (path / f"{FB}-20200101000000").write_text(text)
    assert assignments(scan(path))[f"{FB}-20200101000000"] == "M044"


def test_names_carry_panel_stamp_and_instant(path: Path) -> None:
    found = {name.name: (name.panel, name.start.stamp, name.start.ns) for name in scan(path).names}
    assert found[f"{FB}-20180306000000"] == (FB, "20180306000000", 1520323200 * 10**9)
    assert found["171113-154920171025-3d00b0"] == ("171113-154920171025-3d00b0", BEGINNING, BEGIN_OF_ALL)


def test_names_of_one_directory_stand_side_by_side(path: Path) -> None:
    directories = [found.directory for found in scan(path).names]
    assert directories == sorted(directories)


def test_a_directory_may_bear_the_panel_itself(path: Path) -> None:
    make_gain_directory(path / f"{FB}-20200101000000")
    tree = scan(path)
    assert assignments(tree)[f"{FB}-20200101000000"] == f"{FB}-20200101000000"
    assert tree.problems == {}


def test_a_link_may_lead_to_a_link(path: Path) -> None:
    (path / f"{FB}-20200101000000").symlink_to(f"{FB}-20180306000000")
    assert assignments(scan(path))[f"{FB}-20200101000000"] == "M044"


def test_the_tree_may_be_reached_through_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    assert assignments(scan(tmp_path / "link")) == LINKS


def test_panels_are_normalised(path: Path) -> None:
    (path / "171113-154920171025-3D00FB-20200101000000").symlink_to("M044")
    (path / "--3d00aa").symlink_to("M044")
    assert {FB, "0-0-3d00aa"} <= {found.panel for found in scan(path).names}


def test_two_names_for_one_panel_stamp_and_directory_are_one(path: Path) -> None:
    (path / "171113-154920171025-3D00FB-20180306000000").symlink_to("M044")
    tree = scan(path)
    assert len(tree.names) == len(LINKS)
    assert tree.problems == {}


def test_an_hour_that_comes_twice_is_taken_with_a_note(path: Path) -> None:
    (path / f"{FB}-20181104010000").symlink_to("M044")
    tree = scan(path)
    assert "comes twice" in tree.notes[0]
    assert f"{FB}-20181104010000" in assignments(tree)


# -- bad names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        f"{FB}-2018030600000",
        f"{FB}-201803060000000",
        f"{FB}-20180306000000.bak",
        f"{FB}-20180306000000~",
        f"{FB}-20180306000000\n",
        f"{FB}-20180306000000-1",
        f"{FB}-\uff12\uff10\uff11\uff18\uff10\uff13\uff10\uff16\uff10\uff10\uff10\uff10\uff10\uff10",
        f"{FB}-20180230000000",
        f"{FB}-20180311023000",
        f"{FB}-19690101000000",
        f"{FB}-99991231235959",
        f"{FB}-00010101000000",
        f".{FB}-20180306000000",
        f"{FB}.bak",
        "154920171025-3d00fb-20180306000000",
        "171113-154920171025-3d00fg",
        "1" + "0" * 16 + "-0-1-20180306000000",
        "latest",
        "two\nlines",
        os.fsdecode(b"\xff\xfe"),
    ],
)
@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_name_that_is_not_understood_is_reported_and_the_rest_goes_in(path: Path, name: str, kind: str) -> None:
    if kind == "link":
        (path / name).symlink_to("M044")
    else:
        make_gain_directory(path / name, seed=9)
    assert problem(path, name)


@pytest.mark.parametrize(
    "target",
    [
        "M999",
        ".",
        "..",
        "../jungfrau",
        "../outside",
        "../jungfrau-more",
        "M044/../../outside",
        "/dev/null",
        "/",
        "M044/g0_gain.npy",
        "readable",
        "fifo",
        "out/M044",
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_what_leads_to_no_directory_of_the_tree_is_reported(
    path: Path, tmp_path: Path, target: str, as_text: bool
) -> None:
    make_gain_directory(tmp_path / "outside" / "M044")
    make_gain_directory(tmp_path / "jungfrau-more")
    (path / "out").symlink_to("../outside")
    (path / "readable").write_text("M044")
    os.mkfifo(path / "fifo")
    name = f"{FB}-20200101000000"
    if as_text:
        (path / name).write_text(target)
    else:
        (path / name).symlink_to(target)
    tree = scan(path)
    assert assignments(tree) == LINKS
    assert set(tree.problems) == {name, "out", "readable", "fifo"}
    assert "leads" in tree.problems[name]


def test_a_loop_of_links_is_reported(path: Path) -> None:
    (path / f"{FB}-20200101000000").symlink_to(f"{FB}-20200101000000")
    assert problem(path, f"{FB}-20200101000000")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"M044\nM068\n", b"M044\0", b"\xff\xfeM044", b"M044" + b" " * 300, bytes(4096)]
)
def test_a_file_that_stands_for_no_link_is_reported(path: Path, content: bytes) -> None:
    (path / f"{FB}-20200101000000").write_bytes(content)
    assert "a file, not a directory" in problem(path, f"{FB}-20200101000000")


@pytest.mark.parametrize("name", ["fifo", f"{FB}-20200101000000"])
def test_a_fifo_is_reported_without_waiting(path: Path, name: str) -> None:
    os.mkfifo(path / name)
    assert problem(path, name)


def test_a_directory_that_nothing_leads_to_is_reported(path: Path) -> None:
    make_gain_directory(path / "M100", seed=9)
    assert "no <panel Id>-<stamp> leads to" in problem(path, "M100")


def test_a_directory_is_no_target_because_one_below_another_has_its_name(path: Path) -> None:
    make_gain_directory(path / "sub", seed=9)
    make_gain_directory(path / "M044" / "sub")
    (path / f"{FB}-20200101000000").symlink_to("M044/sub")
    tree = scan(path)
    assert "sub" in tree.problems
    assert "sub" not in tree.targets


def test_two_names_for_one_panel_and_stamp_that_differ_are_reported(path: Path) -> None:
    twin = "171113-154920171025-3D00FB-20180306000000"
    (path / twin).symlink_to("M068")
    tree = scan(path)
    assert f"{FB}-20180306000000" in str(tree.problems)
    assert twin in str(tree.problems)
    assert assignments(tree).items() >= {n: d for n, d in LINKS.items() if not n.startswith(FB)}.items()
    assert len([found for found in tree.names if found.panel == FB]) <= 1


def test_a_name_that_may_not_be_read_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(place: Any, limit: int, follow: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    (path / f"{FB}-20200101000000").write_text("M044")
    monkeypatch.setattr("jfstore.formats.gain_tree.read_regular", forbid)
    assert "Permission denied" in problem(path, f"{FB}-20200101000000")


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_tree_that_is_no_directory_is_a_bad_value(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadValue, match="is not a directory"):
        scan(tmp_path / name)


def test_a_tree_that_may_not_be_read_has_failed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(place: Any) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr("jfstore.formats.gain_tree.os.scandir", forbid)
    with pytest.raises(Failed, match="Permission denied"):
        scan(path)


def test_an_empty_tree_holds_nothing(tmp_path: Path) -> None:
    tree = scan(tmp_path)
    assert (tree.names, tree.targets, dict(tree.problems)) == ((), (), {})


# -- the arrays of one directory -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("shape", [SHAPE, (1, 4, 8), (2, 8, 4)])
def test_the_files_of_a_directory_make_one_array_per_type(
    tmp_path: Path, dtype: str, shape: tuple[int, int, int]
) -> None:
    made = make_gain_directory(tmp_path / "M044", shape, seed=3, dtype=dtype)
    found = read_gain_directory(tmp_path / "M044", shape)
    assert list(found) == ["pixel_gain", "pixel_offset"]
    for name, array in made.items():
        assert found[name].array.tobytes() == array.astype("<f4").tobytes()
        assert found[name].array.shape == shape
        assert found[name].converted_from == ("<f8" if dtype.endswith("8") else None)


def test_one_rounded_file_is_recorded(tmp_path: Path) -> None:
    make_gain_directory(tmp_path / "M044")
    file = tmp_path / "M044" / "g2_gain.npy"
    np.save(file, np.load(file).astype("<f8"))
    found = read_gain_directory(tmp_path / "M044", SHAPE)
    assert (found["pixel_gain"].converted_from, found["pixel_offset"].converted_from) == ("<f8", None)


@pytest.mark.parametrize("file", [f"g{gain}_{word}.npy" for gain in range(3) for word in WORDS.values()])
@pytest.mark.parametrize("spoil", ["missing", "cut", "wide", "integers", "infinite", "link", "fifo", "directory"])
def test_each_of_the_six_files_must_be_good(tmp_path: Path, file: str, spoil: str) -> None:
    make_gain_directory(tmp_path / "M044")
    place = tmp_path / "M044" / file
    array = np.load(place)
    content = place.read_bytes()
    place.unlink()
    if spoil == "cut":
        place.write_bytes(content[:-1])
    elif spoil == "wide":
        np.save(place, np.hstack([array, array]))
    elif spoil == "integers":
        np.save(place, array.astype("<i4"))
    elif spoil == "infinite":
        np.save(place, np.where(array == array[3, 4], np.inf, array))
    elif spoil == "link":
        (tmp_path / "elsewhere.npy").write_bytes(content)
        place.symlink_to("../elsewhere.npy")
    elif spoil == "fifo":
        os.mkfifo(place)
    elif spoil == "directory":
        place.mkdir()
    with pytest.raises(BadValue, match=file):
        read_gain_directory(tmp_path / "M044", SHAPE)


@pytest.mark.parametrize("gain", [0, 1, 2])
def test_a_gain_of_zero_is_located_in_its_own_gain_range(tmp_path: Path, gain: int) -> None:
    make_gain_directory(tmp_path / "M044")
    file = tmp_path / "M044" / f"g{gain}_gain.npy"
    array = np.load(file)
    array[5, 9] = 0
    np.save(file, array)
    with pytest.raises(BadValue, match=r"zero.*row 5, column 9") as caught:
        read_gain_directory(tmp_path / "M044", SHAPE)
    assert not [other for other in {0, 1, 2} - {gain} if f"gain {other}" in caught.value.message]


def test_a_directory_of_another_shape_is_refused(tmp_path: Path) -> None:
    make_gain_directory(tmp_path / "M044")
    with pytest.raises(BadValue, match=r"shape \(16, 32\), expected \(512, 1024\)"):
        read_gain_directory(tmp_path / "M044", (3, 512, 1024))


def test_a_directory_that_vanished_is_an_error_of_jfstore(path: Path) -> None:
    directory = scan(path).names[0].directory
    shutil.rmtree(directory)
    with pytest.raises(JfstoreError):
        read_gain_directory(directory, SHAPE)
