"""``dcs`` says when what it did is not what a user would take it for, and takes no value for another."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jfstore.dcs.edit import Addition, add_version, find_free_number, is_storable, merge_history
from jfstore.dcs.model import Blob, DcsContents, Notes
from jfstore.errors import BadValue
from tests.makers.dcs import Store, array, make_dcs, original_answer, run

ALWAYS = (0.0, math.inf)


@pytest.fixture
def three(store: Store) -> Store:
    """A file with the versions 1, 2, 3 of one range."""
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1), 2: array(2), 3: array(3)}}})
    return store


# -- what is added, and what is name_valid_version


@pytest.mark.parametrize(
    ("there", "default", "words", "wins", "added"),
    [
        ({ALWAYS: [1, 2, 3]}, 1, (0,), "0-end/v0001", "0-end/v0004"),
        ({ALWAYS: [1, 5]}, 0, (0, "-v", 3), "0-end/v0005", "0-end/v0003"),
        ({(100.0, 200.0): [1]}, 0, (100,), "100-200/v0001", "100-end/v0001"),
    ],
)
def test_what_is_not_answered_is_added_with_a_warning(
    store: Store, there: Any, default: int, words: Any, wins: str, added: str
) -> None:
    ranges = {span: {number: array(number) for number in numbers} for span, numbers in there.items()}
    make_dcs(store.path, {"pixel_gain": ranges}, default=default)
    code, _, err = store.add(9, *words)
    line = f"dcs: warning: at {words[0]} get returns pixel_gain/{wins}, not pixel_gain/{added}, which was added"
    assert (code, err.splitlines()[0], err.count("\n")) == (0, line, 2)
    assert not np.array_equal(store.got(words[0]), array(9))
    assert not np.array_equal(original_answer(store.path, "pixel_gain", float(words[0])), array(9))


@pytest.mark.parametrize(("there", "t"), [(ALWAYS, 0), (ALWAYS, 50), ((50.0, 300.0), 100), ((100.0, 200.0), 99)])
def test_what_is_answered_is_added_without_one(store: Store, there: tuple[float, float], t: int) -> None:
    make_dcs(store.path, {"pixel_gain": {there: {1: array(1)}}})
    code, _, err = store.add(9, t)
    assert (code, "warning" in err) == (0, False)
    assert np.array_equal(store.got(t), array(9))


# -- what is deleted without a number


@pytest.mark.parametrize("default", [0, 1, 2, 3])
def test_the_last_version_is_deleted_whichever_is_the_default(store: Store, default: int) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1), 2: array(2), 3: array(3)}}}, default=default)
    code, _, err = store.run("delversion", "-t", "pixel_gain", "-T", 5)
    assert (code, "deleted pixel_gain/0-end/v0003" in err) == (0, True)
    assert np.array_equal(store.got(5), array(default if default in (1, 2) else 2))


def test_a_version_with_a_problem_is_deleted_by_its_number_only(store: Store) -> None:
    make_dcs(store.path, {"pixel_gain": {ALWAYS: {1: array(1), 2: array(2), 3: array(3)}}}, unnumbered=[3])
    assert "v0002" in store.run("delversion", "-t", "pixel_gain", "-T", 5)[2]
    assert "v0003" in store.run("delversion", "-t", "pixel_gain", "-T", 5, "-v", 3)[2]
    assert np.array_equal(store.got(5), array(1))


# -- values


@pytest.mark.parametrize("option", ["-p", "-s", "-e", "-r", "-d", "--pred", "--exp"])
def test_an_empty_value_is_refused(three: Store, option: str) -> None:
    before = three.state()
    code, _, err = three.add(9, 0, option, "")
    assert (code, "the value is empty" in err, err.count("\n")) == (2, True, 1)
    assert three.state() == before


@pytest.mark.parametrize("what", [{"parameters": {"run": ""}}, {"predecessor": ""}, {"successor": ""}])
def test_an_empty_note_is_not_added(what: Any) -> None:
    blob = Blob("<f4", (2,), lambda: array(1, (2,)))
    with pytest.raises(BadValue, match="is empty"):
        add_version(DcsContents("x"), Addition("pixel_gain", 5.0, blob, **what), 1.6e9)


@pytest.mark.parametrize(
    "name",
    [
        "jungfrau-171113-154920171025-3d00fb",
        "jungfrau-171113-154920171025-3d00fb.h5x",
        "jungfrau-171113-154920171025-3d00fb.H5",
        "jungfrau-171113.h5.gz",
    ],
)
def test_a_new_file_ends_in_h5(store: Store, capsys: pytest.CaptureFixture[str], name: str) -> None:
    np.save("1.npy", array(1))
    code, _, err = run(capsys, "add", name, "-t", "pixel_gain", "-T", 5, "-f", "1.npy")
    assert (code, "is not named <detector type>-<detector Id>.h5" in err, err.count("\n")) == (2, True, 1)
    assert set(os.listdir()) <= {"1.npy", ".dcs-lock"}


def test_a_copy_under_another_name_is_changed_as_before(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    Path("copy").write_bytes(three.path.read_bytes())
    np.save("9.npy", array(9))
    assert run(capsys, "add", "copy", "-t", "pixel_gain", "-T", 0, "-f", "9.npy")[0] == 0


@pytest.mark.parametrize("option", ["-T", "--tsec"])
@pytest.mark.parametrize("t", ["-inf", "-Infinity", "-5", "-1e5", "-.5", "-nan", "inf", "nan"])
def test_any_number_is_a_time(three: Store, option: str, t: str) -> None:
    before = three.state()
    np.save("9.npy", array(9))
    code, _, err = three.run("add", option, t, "-t", "pixel_gain", "-f", "9.npy")
    assert (code, "a time from 1970 on is needed" in err, err.count("\n")) == (2, True, 1)
    assert three.state() == before
    code, _, err = three.run("get", option, t, "-t", "pixel_gain", "-f", "o.npy")
    if t in ("inf", "nan", "-nan"):
        assert code == 0, err
    else:
        assert (code, "the first range starts at 0" in err, err.count("\n")) == (3, True, 1)


def test_a_time_is_not_taken_from_what_follows_another_option(three: Store) -> None:
    assert "expected one argument" in three.run("get", "-t", "pixel_gain", "-T", "-i")[2]
    assert "expected one argument" in three.run("get", "-t", "pixel_gain", "-T", "-v", "2")[2]
    code, _, err = three.run("get", "-t", "pixel_gain", "-T", "-5", "-T", "-6")
    assert (code, "given twice" in err) == (2, True)


# -- numbers and lines of history


def test_the_next_number_is_above_all_that_were_ever_there() -> None:
    history = {"1.000000": "add version 2: x", "2.000000": "del version 7: y", "3.000000": "add ctype 9"}
    assert find_free_number([], Notes()) == 1
    assert find_free_number([3], Notes(history)) == 8
    assert find_free_number([11], Notes(history)) == 12
    assert find_free_number([-4], Notes()) == 1


def test_no_line_of_history_is_written_over_another() -> None:
    notes = Notes({"1.000000": "one", "x": "first"})
    both = merge_history(notes, {"1.000000": "two", "1.000001": "three", "0.500000": "zero", "x": "second"})
    assert both.history == {
        "0.500000": "zero",
        "1.000000": "one",
        "1.000001": "three",
        "1.000002": "two",
        "x": "first",
        "0.000000": "second",
    }
    assert merge_history(both, {"1.000000": "one", "x": "first"}) == both


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (2**63 - 1, True),
        (2**63, False),
        (-(2**63), True),
        (-(2**63) - 1, False),
        (1e300, True),
        (math.inf, False),
        (math.nan, False),
        ("x", True),
        ("", False),
        ("x\0", False),
        ("x" * 65536, True),
        ("x" * 65537, False),
        (None, False),
        ([], False),
    ],
)
def test_what_a_note_can_be(value: object, fits: bool) -> None:
    assert is_storable(value) is fits
