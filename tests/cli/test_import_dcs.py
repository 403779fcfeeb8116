"""``jfstore import FILE.h5``: each version of a DCS file once, in an order that keeps its answers; what is left out."""

from __future__ import annotations

import json
import math
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from tests.makers.children import CHILDREN
from tests.makers.dcs import EXPECTED, NAME, PY3, SMALL, TWO, array, make_dcs, original_answer, seal
from tests.makers.repositories import new_repository, tree
from tests.makers.telling import tell

Capture = pytest.CaptureFixture[str]
FB = "171113-154920171025-3d00fb"
PAIR = "170505-149520170815-3d00b0_170505-149520170815-3d00f7"
BEGINS = (0, 1_500_000_000, 1_520_294_400)
ALWAYS = math.inf


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an empty repository R for panels of the reference and S for small ones."""
    monkeypatch.chdir(tmp_path)
    new_repository(tmp_path / "R", shape=(3, 16, 32))
    new_repository(tmp_path / "S", shape=(3, 4, 4))
    return tmp_path


def imported(capsys: Capture, file: Path, repository: str = "./S", *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = tell(capsys, "import", file, "-m", "from dcs", "--repo", repository, "--json", *words)
    assert "Traceback" not in err
    return code, json.loads(out)


def got(detector: str, type_name: str, t: float, repository: str = "./S") -> np.ndarray:
    return jfstore.open(repository).get(detector, type_name, f"@{int(t)}")


def origins(repository: str = "./S") -> list[dict[str, Any]]:
    """Return the origin of each version, in the order in which they were added."""
    opened = jfstore.open(repository)
    return [dict(opened.version(version.name).origin or {}) for version in opened.versions()]


# -- the reference


@pytest.mark.parametrize(("file", "detector", "name"), [(TWO, PAIR, "two"), (SMALL, FB, "small")], ids=["two", "one"])
def test_every_begin_answers_as_the_file_does(file: Path, detector: str, name: str, capsys: Capture) -> None:
    code, value = imported(capsys, file, "./R")
    assert (code, value["seq"], [entry["name"] for entry in value["skipped"]]) == (1, 1, ["geometry"])
    for start in BEGINS:
        for type_name in ("pixel_gain", "pixel_offset"):
            (wanted,) = [
                query["result"]["sha256"]
                for query in EXPECTED[name]["queries"]
                if (query["ctype"], query["tsec"], query["version"]) == (type_name, float(start), None)
                and type(query["tsec"]) is float
            ]
            assert seal(got(detector, type_name, start, "./R")) == wanted
            code, _, _ = tell(
                capsys, "get", detector, "-T", f"@{start}", "-t", type_name, "-f", "o.npy", "--force", "--repo", "./R"
            )
            assert (code, seal(np.load("o.npy"))) == (0, wanted)


def test_what_the_file_says_of_a_version_is_kept(capsys: Capture) -> None:
    imported(capsys, TWO, "./R")
    kept = [origin for origin in origins("./R") if origin["range"] == "1520294400-end" and origin["number"] == 2]
    assert len(kept) == 2
    for origin in kept:
        assert origin == {
            "version": f"jungfrau-{PAIR}.h5/pixel_gain/1520294400-end/v0002",
            "detector": f"jungfrau-{PAIR}",
            "type": "pixel_gain",
            "range": "1520294400-end",
            "begin": 1520294400.0,
            "number": 2,
            "produced": 1600000031.0,
            "message": "number 2 used again",
            "history": {"1600000032.000000": "add version 2: number 2 used again"},
            "parameters": {"experiment": "unknown", "run": "0"},
            "shape": [3, 2, 16, 32],
        }
    times = [origin["produced"] for origin in origins("./R")]
    assert times == sorted(times)


def test_begin_zero_is_1970_and_not_undated(capsys: Capture) -> None:
    imported(capsys, TWO, "./R")
    stamps = {version.stamp for version in jfstore.open("./R").versions()}
    assert stamps == {"19691231160000", "20170713194000", "20180305160000"}


def test_again_adds_nothing(capsys: Capture) -> None:
    _, first = imported(capsys, TWO, "./R")
    before = tree(Path("R"))
    shutil.copy(TWO, "elsewhere.h5")
    for file in (TWO, Path("elsewhere.h5")):
        _, value = imported(capsys, file, "./R")
        assert (value["added"], len(value["unchanged"])) == ([], len(first["added"]))
    assert tree(Path("R")) == before


def test_versions_without_a_number_are_left_out_unless_recovered(capsys: Capture) -> None:
    _, value = imported(capsys, PY3, "./R")
    place = "pixel_gain/1500000000-end/v0002"
    reasons = {entry["name"]: entry["reason"] for entry in value["skipped"]}
    assert reasons[place] == "its own number is missing, as after an add that failed; --recover imports it"
    answers = {op["data"]["sha256"]: op["msg"] for op in EXPECTED["py3"]["operations"] if "data" in op}
    assert answers[seal(got(FB, "pixel_gain", 1.5e9, "./R"))] == "first calibration"
    _, value = imported(capsys, PY3, "./R", "--recover")
    assert place not in [entry["name"] for entry in value["skipped"]]
    assert answers[seal(got(FB, "pixel_gain", 1.5e9, "./R"))] == "second: fixed g2"
    assert imported(capsys, PY3, "./R", "--recover")[1]["added"] == []
    assert imported(capsys, PY3, "./R")[1]["added"] == []


# -- order and repetition


def one_range(versions: dict[int, Any], **options: Any) -> Path:
    return make_dcs(Path(NAME), {"pixel_gain": {(1.5e9, ALWAYS): versions}}, **options)


def answers_alike(type_name: str = "pixel_gain", t: float = 1.5e9) -> bool:
    return np.array_equal(got(FB, type_name, t), original_answer(Path(NAME), type_name, t))


@pytest.mark.parametrize("seeds", ["ABA", "AA", "AAB", "ABAB", "ABBA"])
def test_content_that_comes_back_is_valid_again(seeds: str, capsys: Capture) -> None:
    """Number by number, as a file that grows and is imported after each add."""
    versions = {number: array(ord(letter)) for number, letter in enumerate(seeds, 1)}
    for count in range(1, len(seeds) + 1):
        Path(NAME).unlink(missing_ok=True)
        one_range({number: versions[number] for number in range(1, count + 1)})
        _, value = imported(capsys, Path(NAME))
        assert (len(value["added"]), answers_alike()) == (1, True)
    assert imported(capsys, Path(NAME))[1]["added"] == []
    assert [origin["number"] for origin in origins()] == list(versions)


@pytest.mark.parametrize("seeds", ["ABA", "AAB"])
def test_content_that_comes_back_is_valid_after_one_import(seeds: str, capsys: Capture) -> None:
    one_range({number: array(ord(letter)) for number, letter in enumerate(seeds, 1)})
    _, value = imported(capsys, Path(NAME))
    assert (len(value["added"]), answers_alike()) == (3, True)
    assert imported(capsys, Path(NAME))[1]["added"] == []


def test_the_highest_number_wins_whenever_it_was_made(capsys: Capture) -> None:
    one_range({3: array(3), 1: array(1), 2: array(2)})
    imported(capsys, Path(NAME))
    assert answers_alike()
    assert [origin["number"] for origin in origins()] == [1, 2, 3]


def test_the_default_of_a_range_wins(capsys: Capture) -> None:
    one_range({1: array(1), 2: array(2), 3: array(3)}, default=2)
    imported(capsys, Path(NAME))
    assert answers_alike()


def test_a_lower_number_that_came_later_does_not_win(capsys: Capture) -> None:
    one_range({1: array(1), 3: array(3)})
    imported(capsys, Path(NAME))
    Path(NAME).unlink()
    one_range({1: array(1), 3: array(3), 2: array(2)})
    _, value = imported(capsys, Path(NAME))
    assert (len(value["added"]), answers_alike()) == (2, True)
    assert imported(capsys, Path(NAME))[1]["added"] == []


def test_what_a_maintainer_added_is_not_replaced_by_a_repetition(capsys: Capture) -> None:
    one_range({1: array(1)})
    imported(capsys, Path(NAME))
    np.save("better.npy", array(9))
    words = ["add", FB, "-T", "@1500000000", "-t", "pixel_gain", "-f", "better.npy", "-m", "better", "--repo", "./S"]
    assert tell(capsys, *words)[0] == 0
    assert imported(capsys, Path(NAME))[1]["added"] == []
    assert np.array_equal(got(FB, "pixel_gain", 1.6e9), array(9))


def test_what_was_promoted_is_not_imported_again(capsys: Capture, here: Path) -> None:
    one_range({1: array(1)})
    imported(capsys, Path(NAME))
    new_repository(here / "real", "real", (3, 4, 4))
    name = jfstore.open("./S").versions()[0].name
    assert tell(capsys, "promote", name, "--from", "./S", "--repo", "./real", "-m", "checked", "--yes")[0] == 0
    assert imported(capsys, Path(NAME), "./real", "--yes")[1]["added"] == []


def work(file: str, repository: str, start: Any) -> None:
    start.wait()
    main(["import", file, "-m", "both", "--repo", repository])


def test_two_at_once_add_once(here: Path) -> None:
    start = CHILDREN.Barrier(2)
    both = [CHILDREN.Process(target=work, args=(str(TWO), str(here / "R"), start)) for _ in range(2)]
    for child in both:
        child.start()
    for child in both:
        child.join(60)
    assert len(jfstore.open("./R").versions()) == 18


# -- begins


def test_a_begin_between_two_seconds_is_floored_and_kept(capsys: Capture) -> None:
    make_dcs(Path(NAME), {"pixel_gain": {(1.5e9 + 0.75, ALWAYS): {1: array(1)}}})
    code, _ = imported(capsys, Path(NAME))
    assert code == 0
    assert np.array_equal(got(FB, "pixel_gain", 1.5e9), array(1))
    assert origins()[0]["begin"] == 1.5e9 + 0.75


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (-5.0, "outside the years 1970 to 2261"),
        (9_214_646_400.0, "outside the years 1970 to 2261"),
        (1e300, "outside the years 1970 to 2261"),
    ],
)
def test_a_begin_that_no_stamp_can_be_is_left_out(start: float, reason: str, capsys: Capture) -> None:
    make_dcs(Path(NAME), {"pixel_gain": {(start, ALWAYS): {1: array(1)}, (1.5e9, ALWAYS): {1: array(2)}}})
    code, value = imported(capsys, Path(NAME))
    assert (code, len(value["added"])) == (1, 1)
    (skipped,) = value["skipped"]
    assert reason in skipped["reason"]
    assert skipped["name"].startswith("pixel_gain/")


def test_a_type_with_a_range_that_ends_is_left_out_as_a_whole(capsys: Capture) -> None:
    ranges = {(1.5e9, ALWAYS): {1: array(1)}, (1.6e9, 1.7e9): {1: array(2)}}
    make_dcs(Path(NAME), {"pixel_gain": ranges, "pixel_offset": {(1.5e9, ALWAYS): {1: array(3)}}})
    code, value = imported(capsys, Path(NAME))
    assert (code, [entry["name"] for entry in value["skipped"]], len(value["added"])) == (1, ["pixel_gain"], 1)


# -- what is left out


def test_what_cannot_be_stored_is_left_out_with_the_reason(capsys: Capture) -> None:
    make_dcs(
        Path(NAME),
        {
            "geometry": {(0.0, ALWAYS): {1: "text"}},
            "common_mode": {(0.0, ALWAYS): {1: array(1, (16,))}},
            "pixel_bkgd": {(0.0, ALWAYS): {1: array(1)}},
            "pixel_gain": {
                (0.0, ALWAYS): {},
                (1.5e9, ALWAYS): {1: "not an array", 2: array(1, (3, 2, 4, 4)), 3: array(1) * 0},
                (1.6e9, ALWAYS): {1: array(1, (3, 1, 5, 4)), 2: array(2), 3: array(3).astype("i8"), 4: array(4)},
            },
            "pixel_offset": {
                (0.0, ALWAYS): {1: array(1, (3, 2, 4, 4))},
                (1.5e9, ALWAYS): {1: array(1) * np.nan},
                (1.6e9, ALWAYS): {1: array(5).astype("f8"), 2: array(6).astype(">f4"), 3: array(7, (3, 4, 4))},
            },
        },
    )
    code, value = imported(capsys, Path(NAME))
    assert code == 1
    reasons = {entry["name"]: entry["reason"] for entry in value["skipped"]}
    assert {name: next(word for word in WORDS if word in reason) for name, reason in reasons.items()} == {
        "geometry": "not of a panel",
        "common_mode": "not of a panel",
        "pixel_bkgd": "that is stored",
        "pixel_gain/0-end": "has no versions",
        "pixel_gain/1600000000-end/v0001": "expected (3, 1, 4, 4)",
        "pixel_gain/1600000000-end/v0003": "dtype",
        "pixel_gain/1500000000-end/v0001": "that replaced it",
        "pixel_gain/1500000000-end/v0002": "that replaced it",
        "pixel_gain/1500000000-end/v0003": "zero",
        "pixel_offset/0-end/v0001": "expected (3, 1, 4, 4)",
        "pixel_offset/1500000000-end/v0001": "not finite",
    }
    assert [origin["number"] for origin in origins()] == [2, 4, 1, 2, 3]
    assert np.array_equal(got(FB, "pixel_offset", 1.6e9), array(7, (3, 4, 4))[:, np.newaxis])


WORDS = (
    "that replaced it",
    "not of a panel",
    "that is stored",
    "has no versions",
    "expected (3, 1, 4, 4)",
    "dtype",
    "not finite",
    "zero",
)


@pytest.mark.parametrize(
    ("start", "versions"),
    [
        (1.6e9, {}),
        (1.6e9, {1: array(1) * 0}),
        (1.6e9, {1: array(1, (3, 2, 4, 4))}),
        (1.6e9, {1: array(2), 2: array(1) * 0}),
        (1_509_874_200.0, {1: array(2)}),  # an hour that comes twice: no stamp says the second
    ],
)
def test_nothing_earlier_stands_in_for_what_cannot_be_stored(
    start: float, versions: dict[int, np.ndarray], capsys: Capture
) -> None:
    make_dcs(
        Path(NAME),
        {
            "pixel_gain": {(0.0, ALWAYS): {1: array(5)}, (start, ALWAYS): versions},
            "pixel_offset": {(0.0, ALWAYS): {1: array(6)}},
        },
    )
    code, value = imported(capsys, Path(NAME))
    assert code == 1
    reasons = {entry["name"]: entry["reason"] for entry in value["skipped"]}
    assert "pixel_gain/0-end would be valid in its place" in reasons["pixel_gain"]
    with pytest.raises(jfstore.NotFound):
        got(FB, "pixel_gain", start)
    assert np.array_equal(got(FB, "pixel_offset", start), array(6))


def test_of_two_begins_in_one_second_the_later_counts(capsys: Capture) -> None:
    make_dcs(Path(NAME), {"pixel_gain": {(100.5, ALWAYS): {1: array(1), 2: array(2)}}})
    with h5py.File(NAME, "a") as file:
        file.copy("pixel_gain/100-end", file["pixel_gain"], "00100-end")
        del file["pixel_gain/00100-end/v0002"], file["pixel_gain/00100-end/begin"]
        file["pixel_gain/00100-end"].create_dataset("begin", data=np.array([100.25]))
    code, value = imported(capsys, Path(NAME))
    assert (code, [entry["name"] for entry in value["skipped"]]) == (1, ["pixel_gain/00100-end"])
    assert np.array_equal(got(FB, "pixel_gain", 101), array(2))


# -- a file that was changed meanwhile


@pytest.mark.parametrize("change", ["delete the last", "another default"])
def test_what_the_file_answers_now_is_valid_after_another_import(change: str, capsys: Capture) -> None:
    ranges = {(0.0, ALWAYS): {1: array(1), 2: array(2)}}
    make_dcs(Path(NAME), {"pixel_gain": ranges})
    imported(capsys, Path(NAME))
    if change == "another default":
        make_dcs(Path(NAME), {"pixel_gain": ranges}, default=1)
    else:
        with h5py.File(NAME, "a") as file:
            del file["pixel_gain/0-end/v0002"]
    for added in (1, 0):
        code, value = imported(capsys, Path(NAME))
        assert (code, len(value["added"])) == (0, added)
        assert np.array_equal(got(FB, "pixel_gain", 5), array(1))


def test_a_range_that_is_gone_from_the_file_is_said(capsys: Capture) -> None:
    make_dcs(Path(NAME), {"pixel_gain": {(0.0, ALWAYS): {1: array(1)}, (1.5e9, ALWAYS): {1: array(2)}}})
    assert imported(capsys, Path(NAME))[0] == 0
    with h5py.File(NAME, "a") as file:
        del file["pixel_gain/1500000000-end"]
    code, value = imported(capsys, Path(NAME))
    assert (code, value["added"]) == (1, [])
    (skipped,) = value["skipped"]
    assert skipped["name"] == "pixel_gain/1500000000-end"
    assert "no longer in the file" in skipped["reason"]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        (f"jungfrau-{PAIR}.h5", 2, "the Id in its name is"),
        ("backup.h5", 0, ""),
        ("jungfrau-old.h5", 0, ""),
    ],
)
def test_whose_constants_they_are_is_never_guessed(name: str, code: int, words: str, capsys: Capture) -> None:
    one_range({1: array(1)}).rename(name)
    found, _, err = tell(capsys, "import", name, "-m", "why", "--repo", "./S")
    assert (found, words in err) == (code, True)
    assert {version.panel for version in jfstore.open("./S").versions()} == ({FB} if code == 0 else set())


def test_another_detector_is_refused(capsys: Capture) -> None:
    make_dcs(Path("epix100a-3925999616.h5"), {"pixel_gain": {(0.0, ALWAYS): {1: array(1)}}})
    code, _, err = tell(capsys, "import", "epix100a-3925999616.h5", "-m", "why", "--repo", "./S")
    assert (code, "has constants of a 'epix100a', not of a jungfrau" in err) == (2, True)


def test_a_dry_run_stores_nothing(capsys: Capture) -> None:
    before = tree(Path("R"))
    _, value = imported(capsys, TWO, "./R", "--dry-run")
    assert (value["dry_run"], len(value["added"])) == (True, 18)
    assert tree(Path("R")) == before


def test_recover_is_for_files(capsys: Capture, here: Path) -> None:
    code, _, err = tell(capsys, "import", here, "-m", "why", "--repo", "./S", "--recover")
    assert (code, "--recover is for a DCS file" in err) == (2, True)


def test_memory_holds_a_few_arrays_however_many_there_are(capsys: Capture, here: Path) -> None:
    shape = (3, 128, 256)
    new_repository(here / "B", shape=shape)
    big = {number: array(number, (3, 1, *shape[1:])) for number in range(1, 31)}
    make_dcs(Path(NAME), {"pixel_gain": {(0.0, ALWAYS): big}})
    one = big[1].nbytes
    del big
    tracemalloc.start()
    try:
        code, value = imported(capsys, Path(NAME), "./B")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (code, len(value["added"])) == (0, 30)
    assert peak < 8 * one


def test_what_was_replaced_is_not_taken_for_what_replaced_it(capsys: Capture) -> None:
    one_range({1: array(1), 2: array(2), 3: array(3) * np.nan})
    code, value = imported(capsys, Path(NAME))
    assert (code, value["added"]) == (1, [])
    assert [entry["name"].rpartition("/")[2] for entry in value["skipped"]] == ["v0003", "v0001", "v0002"]
