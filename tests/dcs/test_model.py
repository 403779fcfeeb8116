"""The rules of DCS files as pure functions, beside a plain dict; what is written is read as it was, by both readers."""

from __future__ import annotations

import math
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jfstore.dcs import write
from jfstore.dcs.edit import Addition, add_version, delete_range, delete_type, delete_version, make_text_blob
from jfstore.dcs.model import (
    Blob,
    DcsContents,
    DcsRange,
    DcsType,
    DcsVersion,
    Notes,
    find_range,
    find_version,
    name_range,
)
from jfstore.dcs.read import open_dcs
from jfstore.dcs.write import make_pieces, write_dcs
from jfstore.errors import BadValue, Damaged, NotFound, Refused
from tests.makers.dcs import NAME, SMALL, array, original_answer

EMPTY = DcsContents(NAME, "jungfrau", "171113-154920171025-3d00fb")
TYPES = ("pixel_gain", "pixel_offset", "pedestals")


def blob(seed: int, shape: tuple[int, ...] = (2,)) -> Blob:
    made = array(seed, shape)
    return Blob(made.dtype.str, made.shape, lambda: made)


def ranges(*spans: tuple[float, float], number: int = 1) -> DcsContents:
    """Return contents with a range for each span, whose constants are of its place as a seed."""
    held = [
        DcsRange(name_range(*span), span[0], span[1], versions=(DcsVersion(number, blob(seed), 1.0, number),))
        for seed, span in enumerate(spans)
    ]
    return replace(EMPTY, types=(DcsType("pixel_gain", tuple(held)),))


def answer(contents: DcsContents, t: float, type_name: str = "pixel_gain") -> Any:
    try:
        found = find_version(contents, type_name, find_range(contents, type_name, t))
    except NotFound:
        return None
    assert found.blob
    return found.blob.load()


# -- selection


@pytest.mark.parametrize(
    ("spans", "t", "seed"),
    [
        ([(0, math.inf), (100, math.inf)], 99.9, 0),
        ([(0, math.inf), (100, math.inf)], 100, 1),
        ([(0, math.inf), (100, 200)], 150, 1),
        ([(0, math.inf), (100, 200)], 200, 1),
        ([(0, math.inf), (100, 200)], 200.5, 0),
        ([(100, math.inf), (100, 200)], 150, 1),
        ([(100, math.inf), (100, 200), (100, 160)], 150, 2),
        ([(100, 200), (50, 300)], 250, 1),
        ([(0, math.inf), (100, math.inf)], math.nan, 1),
        ([(0, math.inf), (100, 200)], math.inf, 0),
    ],
)
def test_the_range_that_begins_last_wins_then_the_shortest(spans: Any, t: float, seed: int) -> None:
    assert np.array_equal(answer(ranges(*spans), t), array(seed, (2,)))


def test_nothing_is_valid_before_the_first_or_in_an_emptied_range() -> None:
    contents = ranges((100.0, math.inf), (200.0, math.inf))
    with pytest.raises(NotFound, match="the first range starts at 100"):
        find_range(contents, "pixel_gain", 99.0)
    held = find_range(contents, "pixel_gain", 250.0)
    contents, _ = delete_version(contents, "pixel_gain", held, None, "why", 5.0)
    with pytest.raises(NotFound) as caught:
        find_version(contents, "pixel_gain", find_range(contents, "pixel_gain", 250.0))
    assert caught.value.nearest == ("pixel_gain/100-end/v0001",)
    assert np.array_equal(answer(contents, 150.0), array(0, (2,)))


spans = st.lists(
    st.tuples(st.floats(0, 1000), st.one_of(st.just(math.inf), st.floats(0, 1000))), min_size=1, max_size=6, unique=True
)


@settings(max_examples=25, deadline=None)
@given(spans, st.lists(st.one_of(st.floats(-10, 1100), st.sampled_from([math.inf, -math.inf])), max_size=8))
def test_what_is_written_answers_as_the_original_would(spans: list[tuple[float, float]], times: list[float]) -> None:
    keys = {name_range(*span): span for span in spans}
    contents = ranges(*keys.values())
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / NAME
        path.write_bytes(b"".join(make_pieces(contents)))
        for t in [*times, *(start for start, _ in keys.values()), *(end for _, end in keys.values())]:
            ours, theirs = answer(contents, t), original_answer(path, "pixel_gain", t)
            assert (ours is None) == (theirs is None)
            assert ours is None or np.array_equal(ours, theirs)


# -- changes, beside a dict


class Changes(RuleBasedStateMachine):
    """Adds and deletes; the model has by type and begin the numbers with their seeds, and all numbers ever used."""

    def __init__(self) -> None:
        super().__init__()
        self.contents, self.now, self.seed = EMPTY, 1.6e9, 0
        self.there: dict[tuple[str, float], dict[int, int]] = {}
        self.used: dict[tuple[str, float], set[int]] = {}

    @rule(
        name=st.sampled_from(TYPES),
        start=st.sampled_from([0.0, 50.0, 100.5]),
        number=st.one_of(st.none(), st.integers(1, 6)),
    )
    def add(self, name: str, start: float, number: int | None) -> None:
        place, self.seed = (name, start), self.seed + 1
        new = Addition(name, start, blob(self.seed), "why", number)
        used = self.used.setdefault(place, set())
        if number in used:
            with pytest.raises(Refused):
                add_version(self.contents, new, self.now)
            return
        self.contents, version = add_version(self.contents, new, self.now)
        assert version.number == (number or max(used, default=0) + 1)
        used.add(version.number)
        self.there.setdefault(place, {})[version.number] = self.seed

    @precondition(lambda self: any(self.there.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from([place for place, versions in self.there.items() if versions]))
        number = data.draw(st.one_of(st.none(), st.sampled_from(sorted(self.there[place]))))
        held = find_range(self.contents, place[0], None, name_range(place[1]))
        self.contents, gone = delete_version(self.contents, place[0], held, number, "why", self.now)
        assert gone.number == (number or max(self.there[place]))
        del self.there[place][gone.number]

    @precondition(lambda self: bool(self.there))
    @rule(data=st.data(), whole=st.booleans())
    def delete_more(self, data: st.DataObject, whole: bool) -> None:
        name, start = data.draw(st.sampled_from(sorted(self.there)))
        if whole:
            self.contents = delete_type(self.contents, name, "why", self.now)
        else:
            self.contents = delete_range(self.contents, name, name_range(start), "why", self.now)
        for place in [place for place in self.there if place[0] == name and (whole or place[1] == start)]:
            del self.there[place], self.used[place]

    @invariant()
    def all_is_there(self) -> None:
        found = {
            (held.name, valid.start): {version.number: version.blob for version in valid.versions}
            for held in self.contents.types
            for valid in held.ranges
        }
        assert {place: set(versions) for place, versions in found.items()} == {
            place: set(versions) for place, versions in self.there.items()
        }
        for (name, start), versions in self.there.items():
            if versions:
                assert np.array_equal(answer(self.contents, start, name), array(versions[max(versions)], (2,)))


Changes.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestChanges = Changes.TestCase


def test_every_change_leaves_its_line_of_history() -> None:
    contents, version = add_version(EMPTY, Addition("pixel_gain", 5.0, blob(1), "one"), 1.6e9)
    contents, _ = add_version(contents, Addition("pixel_gain", 5.0, blob(2), "two"), 1.6e9)
    held = find_range(contents, "pixel_gain", 6.0)
    contents, _ = delete_version(contents, "pixel_gain", held, version.number, "three", 1.6e9)
    held = contents.find_type("pixel_gain").ranges[0]
    assert held.notes.history == {
        "1600000000.000000": "add version 1: one",
        "1600000000.000001": "add version 2: two",
        "1600000000.000002": "del version 1: three",
    }
    contents = delete_range(contents, "pixel_gain", "5-end", "four", 1.6e9)
    assert list(contents.find_type("pixel_gain").notes.history.values()) == [
        "add range 5-end: exp=unknown:run=0",
        "del range 5-end: four",
    ]
    contents = delete_type(contents, "pixel_gain", "five", 1.6e9)
    assert list(contents.notes.history.values()) == ["add ctype pixel_gain: ", "del ctype pixel_gain: five"]
    assert contents.types == ()


@pytest.mark.parametrize("text", ["a\0b", "x" * (1 << 16)])
def test_a_note_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        add_version(EMPTY, Addition("pixel_gain", 5.0, blob(1), text), 1.6e9)


# -- writing


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
notes = st.builds(
    Notes,
    st.dictionaries(st.integers(0, 10**9).map(lambda micros: f"{micros / 1e6:.6f}"), texts.filter(bool), max_size=3),
    st.dictionaries(
        st.sampled_from(["experiment", "run", "gain"]),
        st.one_of(texts.filter(bool), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)),
        max_size=3,
    ),
)
arrays = st.builds(
    array,
    st.integers(0, 99),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i4", "|u1", "<u2", ">i8", "|b1"]),
)
blobs = st.one_of(
    arrays.map(lambda made: Blob(made.dtype.str, made.shape, lambda: made)),
    texts.map(lambda text: make_text_blob(f"{text}x", "x")),
)
times = st.none() | st.floats(0, 2e9)
versions = st.builds(DcsVersion, st.integers(-3, 10001), st.none() | blobs, times, st.none() | st.integers(0, 9), notes)


@st.composite
def some_contents(draw: st.DrawFn) -> DcsContents:
    types = []
    for name in sorted(draw(st.sets(st.sampled_from(TYPES)))):
        held = []
        for start in sorted(draw(st.sets(st.integers(0, 9)))):
            some = draw(st.lists(versions, max_size=3, unique_by=lambda version: version.number))
            some.sort(key=lambda version: version.number)
            end = draw(st.sampled_from([math.inf, 20.5]))
            exact = draw(st.sampled_from([None, start + 0.5]))
            held.append(DcsRange(name_range(start, end), exact, end, draw(st.integers(0, 3)), tuple(some), draw(notes)))
        held.sort(key=lambda one: one.key)
        types.append(DcsType(name, tuple(held), draw(notes)))
    return DcsContents(
        "x",
        "jungfrau",
        draw(st.none() | st.just("id")),
        draw(times),
        draw(st.none() | texts.filter(bool)),
        None,
        tuple(types),
        draw(notes),
    )


@settings(max_examples=8, deadline=None)
@given(some_contents())
def test_what_is_written_is_read_as_it_was(contents: DcsContents) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write_dcs(f"{directory}/{NAME}", contents, replace=False)  # which reads it back, and compares
        with open_dcs(Path(directory) / NAME) as found:
            assert replace(found, where="x") == contents


@pytest.mark.parametrize("wrong", ["a note", "an array"])
def test_what_is_not_read_back_as_written_replaces_nothing(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_pieces(contents: DcsContents, seals: list[str]) -> Iterator[Any]:
        if wrong == "a note":
            return make_pieces(replace(contents, predecessor="another"), seals)
        pieces = list(make_pieces(contents, seals))
        return iter([pieces[0], bytes(len(pieces[1])), *pieces[2:]])

    shutil.copy(SMALL, tmp_path / NAME)
    monkeypatch.setattr(write, "make_pieces", other_pieces)
    with pytest.raises(Damaged, match="does not read back as it was written"):
        write.change_dcs(tmp_path / NAME, lambda contents: contents)
    assert (tmp_path / NAME).read_bytes() == SMALL.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dcs-lock", NAME]


def test_the_same_contents_are_the_same_bytes() -> None:
    with open_dcs(SMALL) as contents:
        assert b"".join(make_pieces(contents)) == b"".join(make_pieces(contents))


def test_one_array_is_in_memory_at_a_time() -> None:
    size = 3 * 128 * 256 * 4
    shape = (3, 1, 128, 256)
    many = tuple(DcsVersion(n, Blob("<f4", shape, partial(np.full, shape, n, "<f4")), 1.0, n) for n in range(1, 51))
    contents = replace(EMPTY, types=(DcsType("pixel_gain", (DcsRange("0-end", 0.0, versions=many),)),))
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in make_pieces(contents))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 50 * size
    assert peak < 4 * size


def test_hdf5_lays_it_out_as_of_old(tmp_path: Path) -> None:
    with open_dcs(SMALL) as contents:
        (tmp_path / NAME).write_bytes(b"".join(make_pieces(contents)))
    old, new = (path.read_bytes() for path in (SMALL, tmp_path / NAME))
    # Signature, versions, sizes of offsets and lengths, ranks of the trees of groups: superblock 0.
    assert new[:24] == old[:24]
    assert b"OHDR" not in new
    assert new.count(b"SNOD") > 40
    with h5py.File(tmp_path / NAME) as file:
        assert file.id.get_create_plist().get_userblock() == 0
