"""``jfstore export --format dcs``: what a repository answers at every begin is what the file answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.core.arrays import check_array
from jfstore.core.instants import SECOND, Instant, exact_stamp
from jfstore.dcs.read import open_dcs
from jfstore.errors import NotFound
from jfstore.repository import Entry
from tests.makers.dcs import (
    EXPECTED,
    NAME,
    PY3,
    SMALL,
    TWO,
    array,
    make_dcs,
    original_answer,
    run,
    seal,
    structure,
)
from tests.makers.repositories import new_repository
from tests.makers.telling import tell

Capture = pytest.CaptureFixture[str]
FB = "171113-154920171025-3d00fb"
B0, F7 = "170505-149520170815-3d00b0", "170505-149520170815-3d00f7"
PAIR = f"{B0}_{F7}"
PANEL_TYPES = ("pixel_gain", "pixel_offset")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    new_repository(tmp_path / "R", shape=(3, 16, 32))
    new_repository(tmp_path / "S", shape=(3, 4, 4))
    return tmp_path


def exported(capsys: Capture, detector: str, repository: str = "./R", *words: str) -> Path:
    out = Path(f"jungfrau-{detector}.h5")
    code, _, err = tell(capsys, "export", "--format", "dcs", detector, "-f", out, "--repo", repository, *words)
    assert code == 0, err
    return out


def add(capsys: Capture, detector: str, stamp: str, seed: int, type_name: str = "pixel_gain") -> None:
    count = len(detector.split("_"))
    np.save("new.npy", array(seed, (3, count, 4, 4)))
    words = ("add", detector, "-T", stamp, "-t", type_name, "-f", "new.npy", "-m", "why", "--repo", "./S")
    assert tell(capsys, *words)[0] == 0


def assert_alike(file: Path, detector: str, times: list[float], type_name: str = "pixel_gain") -> None:
    """Check that the original, reading the file, answers as the repository S."""
    repository = jfstore.open("./S")
    for t in times:
        try:
            wanted = repository.get(detector, type_name, f"@{t:.0f}")
        except NotFound:
            assert original_answer(file, type_name, t) is None
        else:
            assert np.array_equal(original_answer(file, type_name, t), wanted), t


@pytest.mark.parametrize(("file", "detector", "name"), [(TWO, PAIR, "two"), (SMALL, FB, "small")], ids=["two", "one"])
def test_what_was_imported_comes_back(file: Path, detector: str, name: str, capsys: Capture) -> None:
    tell(capsys, "import", file, "-m", "from dcs", "--repo", "./R")
    out = exported(capsys, detector)
    queries = [
        query
        for query in EXPECTED[name]["queries"]
        if query["ctype"] in PANEL_TYPES and not (query["result"] and query["result"]["kind"] == "exception")
    ]
    assert len(queries) > 50
    for query in queries:
        found = original_answer(out, query["ctype"], float(query["tsec_repr"]), query["version"])
        assert (found if found is None else seal(found)) == (query["result"] and query["result"]["sha256"]), query


@pytest.mark.parametrize("file", [TWO, SMALL], ids=["two", "one"])
def test_numbers_begins_history_and_times_come_back(file: Path, capsys: Capture) -> None:
    tell(capsys, "import", file, "-m", "from dcs", "--repo", "./R")
    out = exported(capsys, file.stem.partition("-")[2])
    with open_dcs(file) as old, open_dcs(out) as new:
        assert new.detector_name == old.detector_name
        for name in PANEL_TYPES:
            assert new.find_type(name).ranges == old.find_type(name).ranges


def test_the_layout_is_that_of_the_store(capsys: Capture) -> None:
    tell(capsys, "import", TWO, "-m", "from dcs", "--repo", "./R")
    old, new = structure(TWO), structure(exported(capsys, PAIR))
    there = {name for name in old if name.startswith(PANEL_TYPES) and not name.startswith("pixel_gain/_history")}
    assert {name for name in there if "/_history" not in name} <= new.keys()
    assert all(new[name] == old[name] for name in there & new.keys())


def test_recovered_versions_come_back_with_their_numbers(capsys: Capture) -> None:
    tell(capsys, "import", PY3, "-m", "from dcs", "--repo", "./R", "--recover")
    with open_dcs(exported(capsys, FB)) as contents:
        held = contents.find_type("pixel_gain").select_range(1.5e9)
        assert held is not None
        assert [version.number for version in held.versions] == [1, 2]
        assert not any(version.problem for version in held.versions)


def test_what_replaced_it_here_is_the_answer_there_too(capsys: Capture) -> None:
    for stamp, seed in (("@1500000000", 1), ("@1500000000", 2), ("@1600000000", 3), ("@1400000000", 4)):
        add(capsys, FB, stamp, seed)
    out = exported(capsys, FB, "./S")
    assert_alike(out, FB, [1.3e9, 1.4e9, 1.45e9, 1.5e9, 1.55e9, 1.6e9, 1.7e9])
    assert tell(capsys, "import", out, "-m", "back", "--repo", "./S")[0] == 0
    assert_alike(exported(capsys, FB, "./S", "--force"), FB, [1.3e9, 1.4e9, 1.45e9, 1.5e9, 1.55e9, 1.6e9, 1.7e9])


def test_an_added_version_follows_those_that_came_from_a_file(capsys: Capture) -> None:
    add(capsys, PAIR, "@1500000000", 1)
    first = exported(capsys, PAIR, "./S")
    tell(capsys, "import", first, "-m", "back", "--repo", "./S")
    add(capsys, B0, "@1500000000", 5)
    add(capsys, F7, "@1550000000", 6)
    out = exported(capsys, PAIR, "./S", "--force")
    assert_alike(out, PAIR, [1.4e9, 1.5e9, 1.54e9, 1.55e9, 1.6e9])
    with open_dcs(out) as contents:
        numbers = {held.key: [version.number for version in held.versions] for held in contents.types[0].ranges}
    assert numbers == {"1500000000-end": [1, 2], "1550000000-end": [1]}


def test_a_detector_answers_once_all_its_panels_do(capsys: Capture) -> None:
    add(capsys, B0, "@1400000000", 1)
    add(capsys, F7, "@1500000000", 2)
    add(capsys, B0, "00000000000000", 3, "pixel_offset")
    out = exported(capsys, PAIR, "./S")
    assert_alike(out, PAIR, [1.3e9, 1.4e9, 1.5e9, 1.6e9])
    with open_dcs(out) as contents:
        assert [held.name for held in contents.types] == ["pixel_gain"]


def test_undated_constants_begin_in_1970(capsys: Capture) -> None:
    add(capsys, FB, "00000000000000", 1)
    assert_alike(exported(capsys, FB, "./S"), FB, [0.0, 1.0, 1.6e9])
    add(capsys, FB, "@0", 2)
    assert_alike(exported(capsys, FB, "./S", "--force"), FB, [0.0, 1.0, 1.6e9])


def test_nothing_to_export_and_what_is_in_the_way(capsys: Capture) -> None:
    words = ("export", "--format", "dcs", "-f", "out.h5", "--repo", "./S")
    code, _, err = tell(capsys, *words, FB)
    assert (code, err.count("\n")) == (3, 1)
    assert not Path("out.h5").exists()
    add(capsys, FB, "@1500000000", 1)
    assert tell(capsys, *words, PAIR)[0] == 3
    Path("out.h5").write_text("mine")
    code, _, err = tell(capsys, *words, FB)
    assert (code, Path("out.h5").read_text(), "--force" in err) == (5, "mine", True)
    assert tell(capsys, *words, FB, "--force")[0] == 0
    code, _, err = tell(capsys, *words[:4], "nodir/out.h5", *words[5:], FB)
    assert (code, "nodir does not exist" in err) == (1, True)
    code, _, err = tell(capsys, "export", FB, "-f", "o.txt", "--repo", "./S")
    assert (code, "its name ends in .h5" in err, Path("o.txt").exists()) == (2, True, False)
    assert tell(capsys, "export", FB, "-f", "o.h5", "--repo", "./S")[0] == 0
    assert sorted(str(path) for path in Path().glob(".tmp*")) == []


def test_what_was_written_is_said_as_json(capsys: Capture) -> None:
    add(capsys, FB, "@1500000000", 1)
    code, out, _ = tell(capsys, "export", "--format", "dcs", FB, "-f", "o.h5", "--repo", "./S", "--json")
    value = json.loads(out)
    assert (code, value["detector"], value["file"]) == (0, FB, "o.h5")
    assert value["versions"] == [{"type": "pixel_gain", "range": "1500000000-end", "number": 1}]


def test_an_id_in_another_form_is_the_same_detector(capsys: Capture) -> None:
    """Where a number of the Id is zero, the files of old say nothing."""
    odd = "jungfrau--154920171025-003D00FB.h5"
    make_dcs(Path(odd), {"pixel_gain": {(0.0, math.inf): {2: array(1), 3: array(2)}}})
    for _ in range(2):
        tell(capsys, "import", odd, "-m", "from dcs", "--repo", "./S")
    assert len(jfstore.open("./S").versions()) == 2
    with open_dcs(exported(capsys, "0-154920171025-3d00fb", "./S")) as contents:
        assert [version.number for version in contents.types[0].ranges[0].versions] == [2, 3]


def test_a_number_that_was_deleted_is_not_given_to_another_version(capsys: Capture) -> None:
    file = make_dcs(Path(NAME), {"pixel_gain": {(1.5e9, math.inf): {1: array(1), 2: array(2)}}})
    assert run(capsys, "delversion", file, "-t", "pixel_gain", "-T", 1.5e9)[0] == 0
    tell(capsys, "import", file, "-m", "from dcs", "--repo", "./S")
    add(capsys, FB, "@1500000000", 3)
    with open_dcs(exported(capsys, FB, "./S", "--force")) as contents:
        held = contents.types[0].ranges[0]
    assert [version.number for version in held.versions] == [1, 3]
    assert "del version 2: " in held.notes.history.values()


def test_what_a_file_cannot_hold_of_an_older_import_is_left_out(capsys: Capture) -> None:
    """Which took integers beyond those that are written, and empty lines."""
    repository, made = jfstore.open("./S"), array(1, (3, 4, 4))
    origin = {
        "detector": f"jungfrau-{FB}",
        "type": "pixel_gain",
        "range": "1500000000-end",
        "begin": 1.5e9,
        "number": 2,
        "produced": 1.6e9,
        "message": "",
        "shape": [3, 1, 4, 4],
        "history": {"1600000000.000000": "add version 2: x", "1600000001.000000": ""},
        "parameters": {"huge": 2**64 - 1, "empty": "", "kept": 7, "run": "5"},
    }
    stamp = exact_stamp(1_500_000_000 * SECOND, repository.zone)
    checked = check_array(made, "pixel_gain", made.shape, "made")
    entry = Entry(FB, Instant(1_500_000_000 * SECOND, stamp), {"pixel_gain": checked}, "x.h5", origin)
    repository.add_entries([entry], "an older import", by_origin=True)
    out = exported(capsys, FB, "./S")
    with open_dcs(out) as contents:
        held = contents.types[0].ranges[0]
    assert held.notes.history == {"1600000000.000000": "add version 2: x"}
    assert held.notes.parameters == {"experiment": "unknown", "run": "5", "kept": 7}
    assert [version.number for version in held.versions] == [2]


def test_lines_of_history_of_the_same_time_are_all_exported(capsys: Capture) -> None:
    file = make_dcs(Path(NAME), {"pixel_gain": {(1.5e9, math.inf): {1: array(1)}}})
    for seed, number in ((1, 1), (2, 2)):
        make_dcs(file, {"pixel_gain": {(1.5e9, math.inf): {number: array(seed)}}})
        assert tell(capsys, "import", file, "-m", "from dcs", "--repo", "./S")[0] in (0, 1)
    with open_dcs(exported(capsys, FB, "./S", "--force")) as contents:
        held = contents.types[0].ranges[0]
    assert sorted(held.notes.history.values()) == ["add version 1: no 1", "add version 2: no 2"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "the directory of the tree is missing"),
        (("T", "-T", "20180306000000"), "leave out -T"),
        (("T", "--force"), "leave out --force"),
        (("T", "--locked", "x.lock"), "leave out --locked"),
        (("zz", "T"), "is not a panel Id"),
    ],
)
def test_tree_takes_panels_and_a_directory(words: tuple[str, ...], reason: str, capsys: Capture) -> None:
    code, _, err = tell(capsys, "export", "--format", "tree", *words, "--repo", "./S")
    assert (code, reason in err) == (2, True), err


def test_tree_as_table_and_json(capsys: Capture) -> None:
    add(capsys, FB, "20180306000000", 1)
    assert tell(capsys, "panel", FB, "--name", "M044", "-m", "label", "--repo", "./S")[0] == 0
    code, out, err = tell(capsys, "export", "--format", "tree", "M044", "T", "--repo", "./S")
    name = f"{FB}-20180306000000"
    assert (code, out.splitlines()[1]) == (0, f"new\t{name}\tM044\t{FB}/20180306000000/v1")
    assert err == "wrote 1 new directory in T\nfrom commit 2 of the test repository S\n"
    value = json.loads(tell(capsys, "export", "--format", "tree", "-f", "T", "--repo", "./S", "--json")[1])
    versions = {"pixel_gain": f"{FB}/20180306000000/v1"}
    assert value["names"] == [{"state": "unchanged", "name": name, "directory": "M044", "versions": versions}]
    assert (value["written"], value["differences"], value["as_of"]) == ([], [], 2)


def test_other_formats_need_one_file(capsys: Capture) -> None:
    assert "-f OUT.h5" in tell(capsys, "export", FB, "--repo", "./S")[2]
    assert "superfluous" in tell(capsys, "export", FB, "a", "b", "-f", "x.h5", "--repo", "./S")[2]
