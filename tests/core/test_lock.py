"""A lock and its text: what is written is read again, and nothing else is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

import jfstore
from jfstore.core.instants import BEGINNING
from jfstore.core.lock import Lock, LockedArray, LockedRun, _hash_body, decode_lock, lock_value
from jfstore.core.records import Array

A, B = "171113-154920171025-3d00fb", "170505-149520170815-3d00b0"
START = 1520323200_000000000
RUN = LockedRun("xcsls3716", 631, START + 123456789, "/runs/r0631.xtc", "Xcs.0:Jungfrau.0", None, 3, (0, 1))


def array(panel: str, calib_type: str, number: int = 1, seq: int = 1) -> LockedArray:
    described = Array(calib_type, "<f4", (3, 4, 8), f"{number:064x}")
    return LockedArray(panel, f"{panel}/20180306000000/v{number}", START, None, seq, f"{seq:064x}", described)


def lock(run: LockedRun | None = RUN) -> Lock:
    arrays = [array(panel, name) for name in ("pixel_gain", "pixel_offset") for panel in (A, B)]
    return Lock("an-id", "a" * 64, "test", 2, "b" * 64, (A, B), START + 123456789, tuple(arrays), run)


def seal(value: dict[str, Any]) -> str:
    """Return the text of a lock whose hash is right, whatever the fields are."""
    body = {name: field for name, field in value.items() if name != "hash"}
    return json.dumps({**body, "hash": _hash_body(body)})


@pytest.mark.parametrize("run", [None, RUN])
def test_the_text_is_read_again(run: LockedRun | None) -> None:
    made = lock(run)
    assert decode_lock(made.text, "x") == made
    assert decode_lock(made.text, "x").text == made.text
    assert json.loads(made.text) == lock_value(made)
    # Editors and git may change blanks and line ends.
    assert decode_lock(json.dumps(json.loads(made.text), indent=4).replace("\n", "\r\n"), "x") == made
    assert made.text.count("\n") < 20


def test_the_beginning_of_time() -> None:
    first = LockedArray(A, f"{A}/00000000000000/v1", BEGINNING, None, 1, "1" * 64, array(A, "pixel_gain").array)
    made = Lock("an-id", "a" * 64, "real", 1, "1" * 64, (A,), BEGINNING, (first,))
    assert decode_lock(made.text, "x") == made


def test_types_can_be_selected() -> None:
    made = lock().select_types(["pixel_offset"])
    assert made.types == ("pixel_offset",)
    assert decode_lock(made.text, "x") == made
    assert made.hash != lock().hash
    with pytest.raises(jfstore.BadValue, match="no 'pedestals'"):
        lock().select_types(["pedestals"])


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a JSON value that has no further values in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, field in inner:
        yield from places(field, (*place, key))
    if not isinstance(value, (dict, list)):
        yield place


def change(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new
    return changed


PLACES = [place for place in places(lock_value(lock())) if place != ("jfstore_lock",)]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_change_of_any_field_is_noticed(place: tuple[Any, ...]) -> None:
    for new in (None, 7, "7", "f" * 64, "2018-03-07T00:00:00Z"):
        changed = change(lock_value(lock()), place, new)
        if changed != lock_value(lock()):
            with pytest.raises(jfstore.Damaged, match="x is damaged: its fields do not match its hash"):
                decode_lock(json.dumps(changed), "x")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_odd_values_under_a_right_hash_are_an_error_of_jfstore(place: tuple[Any, ...]) -> None:
    odd: tuple[object, ...] = (True, 1.5, -1, [], {}, "", "\ud800", 10**30, "../x", "a" * 64)
    for new in odd:
        value = change(lock_value(lock()), place, new)
        message = ""
        try:
            read = decode_lock(seal(value), "x")
        except jfstore.JfstoreError as error:
            message = error.message
        if message:
            assert message.startswith("x ")
            assert "\n" not in message
        else:
            assert read != lock() or value == lock_value(lock()) or place == ("hash",)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("detector"),
        lambda value: value.pop("run"),
        lambda value: value.update(more=1),
        lambda value: value["repository"].update(more=1),
        lambda value: value["arrays"].clear(),
        lambda value: value["arrays"].pop(),
        lambda value: value["arrays"].append(value["arrays"][0]),
        lambda value: value["arrays"].reverse(),
        lambda value: value["arrays"][0].update(shape=[3, 4, 9]),
        lambda value: value["arrays"][0].update(shape=[3, 4, 1 << 20]),
        lambda value: value["arrays"][0].update(dtype="|O"),
        lambda value: value["arrays"][0].update(version=f"{A}/20180306000000/v01"),
        lambda value: value["arrays"][0].update(valid_from="2019-01-01T00:00:00Z"),
        lambda value: value["arrays"][0].update(valid_to="2018-03-06T08:00:00Z"),
        lambda value: value["arrays"][0]["commit"].update(seq=3),
        lambda value: value["arrays"][0]["commit"].update(hash="c" * 64),
        lambda value: value["arrays"][0]["commit"].update(seq=2),
        lambda value: value["run"].update(segments=[0]),
        lambda value: value["run"].update(segments=[0, -1]),
        lambda value: value["run"].update(segments=[1, 0]),
        lambda value: value["run"].update(segments=[1, 1]),
        lambda value: value.update(detector=A.upper()),
        lambda value: value.update(time="2017-01-01T00:00:00Z"),
        lambda value: value.update(time="the end"),
    ],
)
def test_a_forged_lock_that_no_answer_has(spoil: Any) -> None:
    value = lock_value(lock())
    spoil(value)
    with pytest.raises(jfstore.Damaged, match="x is damaged, though its hash is right"):
        decode_lock(seal(value), "x")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", "[" * 100_000, b"\xff\xfe", '{"jfstore_lock": true}', "9" * 9999]
)
def test_what_is_not_a_lock(text: str | bytes) -> None:
    with pytest.raises(jfstore.BadValue, match="x is not a lock file of jfstore"):
        decode_lock(text, "x")


def test_a_lock_of_a_newer_jfstore() -> None:
    with pytest.raises(jfstore.Refused, match="x was made by a newer jfstore"):
        decode_lock('{"jfstore_lock": 2}', "x")
