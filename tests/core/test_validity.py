"""Which version is valid: a table of edge cases, an oracle in plain Python, and properties."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jfstore.core.changes import changes
from jfstore.core.instants import stamp_at
from jfstore.core.records import Commit
from jfstore.core.table import Table
from jfstore.core.validity import Selection, find_holder, rejections, select, timeline
from jfstore.errors import NotFound
from tests.makers import (
    BEGIN_OF_ALL,
    BEGINNING,
    PANELS,
    begin_of,
    make_commit,
    make_log,
    make_table,
    make_version,
    seal,
)

UTC = ZoneInfo("UTC")
P, Q, OTHER = PANELS
T0, T1, T1_NEXT, T2, T3 = "20170101000000", "20180101000000", "20180101000001", "20190101000000", "20200101000000"
NS_PER_SECOND = 10**9
PAIR, GAIN, OFFSET = ("pixel_gain", "pixel_offset"), ("pixel_gain",), ("pixel_offset",)
FIRST_T1, FIRST_T2, NOTHING = "the first starts at 20180101000000", "the first starts at 20190101000000", "no "

Addition = str | tuple[str, tuple[str, ...]]


class Case(NamedTuple):
    """`adds` is a stamp, or (stamp, types), per commit; `expected` is (stamp, number) or what the error says."""

    name: str
    adds: list[Addition]
    t: int
    expected: tuple[str, int] | str
    number: int | None = None
    as_of: int | None = None
    panel: str = P


def at(stamp: str, ns: int = 0) -> int:
    return begin_of(stamp) + ns


# The numbers are those of the table of edge cases in the notes on other conditions databases.
CASES = [
    Case("1 before the first: nothing, the first named", [T1, T2], at(T1, -1), FIRST_T1),
    Case("1 long before the first", [T1, T2], 0, FIRST_T1),
    Case("1 at the beginning of time", [T1, T2], BEGIN_OF_ALL, FIRST_T1),
    Case("1 before the first, though the later was stored first", [T2, T1], at(T1, -1), FIRST_T1),
    Case("2 exactly at the first", [T1, T2], at(T1), (T1, 1)),
    Case("3 between two stamps", [T1, T2], at(T1, 1), (T1, 1)),
    Case("3 nearer to the later of two stamps", [T1, T2], at(T2, -NS_PER_SECOND), (T1, 1)),
    Case("4 exactly at the second", [T1, T2], at(T2), (T2, 1)),
    Case("4 one nanosecond before the second", [T1, T2], at(T2, -1), (T1, 1)),
    Case("5 after the last", [T1, T2], at(T3), (T2, 1)),
    Case("6 the later stamp stored first", [T2, T1], at(T3), (T2, 1)),
    Case("6 the later stamp stored first, t between", [T2, T1], at(T1, 1), (T1, 1)),
    Case("6 an earlier stamp back-filled with two numbers", [T2, T1, T1], at(T3), (T2, 1)),
    Case("7 the highest number of a stamp", [T1, T2, T1], at(T1, 1), (T1, 2)),
    Case("7 the highest number is no number of the next stamp", [T1, T2, T1], at(T2), (T2, 1)),
    Case("8 a number that is asked for", [T1, T1, T2], at(T1, 1), (T1, 1), number=1),
    Case("8 the highest number asked for", [T1, T1, T2], at(T1, 1), (T1, 2), number=2),
    Case("9 a number that does not exist", [T1, T1], at(T1, 1), "has no v3 .*that stamp has v1, v2$", number=3),
    Case("9 number 0", [T1, T1], at(T1, 1), "no v0 ", number=0),
    Case("9 number -1", [T1, T1], at(T1, 1), "no v-1 ", number=-1),
    Case("9 a number of an earlier stamp only", [T1, T1, T2], at(T2), "has no v2 .*that stamp has v1$", number=2),
    Case("10 undated only, any time", [BEGINNING], at(T0), (BEGINNING, 1)),
    Case("10 undated only, the first second of 1970", [BEGINNING], 0, (BEGINNING, 1)),
    Case("10 undated only, at the beginning", [BEGINNING], BEGIN_OF_ALL, (BEGINNING, 1)),
    Case("11 undated and a stamp, before the stamp", [BEGINNING, T1], at(T1, -1), (BEGINNING, 1)),
    Case("12 undated and a stamp, from the stamp on", [BEGINNING, T1], at(T1), (T1, 1)),
    Case("12 undated stored after the stamp", [T1, BEGINNING], at(T2), (T1, 1)),
    Case("14 one version, in the future", [T2], at(T1), FIRST_T2),
    Case("18 as of a commit before the later stamp", [T1, T2], at(T3), (T1, 1), as_of=1),
    Case("18 as of a commit before the higher number", [T1, T1], at(T3), (T1, 1), as_of=1),
    Case("18 as of the commit itself", [T1, T1, T2], at(T3), (T1, 2), as_of=2),
    Case(
        "18 as of a commit, a number added later", [T1, T1], at(T3), "has no v2 .*that stamp has v1$", number=2, as_of=1
    ),
    Case("18 as of a commit, the first stamp known then", [T2, T1], at(T1, 1), FIRST_T2, as_of=1),
    Case("23 two stamps a second apart, in the first second", [T1, T1_NEXT], at(T1_NEXT, -1), (T1, 1)),
    Case("23 two stamps a second apart, in the second", [T1, T1_NEXT], at(T1_NEXT), (T1_NEXT, 1)),
    Case("25 a panel without constants", [T1], at(T2), f"panel {Q}: no constants are stored", panel=Q),
    Case("26 a panel of the same serial is another panel", [T1], at(T2), NOTHING, panel="171113-154920171025-3d00b0"),
    Case("31 as of before the first commit", [T1], at(T2), NOTHING, as_of=0),
    Case("a stamp that holds the other type only", [T1, (T2, OFFSET)], at(T3), (T1, 1)),
    Case("a higher number that holds the other type only", [T1, (T1, OFFSET)], at(T3), (T1, 1)),
    Case("that higher number asked for", [T1, (T1, OFFSET)], at(T3), "has no v2 .*that stamp has v1$", number=2),
    Case("only the other type before t", [(T1, OFFSET), T2], at(T1, 1), FIRST_T2),
    Case("only the other type at all", [(T1, OFFSET)], at(T3), f"panel {P}: no pixel_gain is stored"),
    Case("nothing at all", [], at(T3), f"panel {P}: no constants are stored"),
]


def table_of(adds: list[Addition]) -> Table:
    commits = []
    for seq, entry in enumerate(adds, start=1):
        stamp, types = (entry, PAIR) if isinstance(entry, str) else entry
        commits.append([(P, stamp, {name: f"{name} {seq}" for name in types})])
    return make_table(make_log(*commits))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_edge_case(case: Case) -> None:
    table = table_of(case.adds)
    ask = (table, case.panel, case.t, "pixel_gain", UTC, case.as_of, case.number)
    if isinstance(case.expected, str):
        with pytest.raises(NotFound, match=case.expected):
            select(*ask)
    else:
        found = select(*ask).version
        assert (found.panel, found.stamp, found.number) == (P, *case.expected)


def test_case_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_not_found_names_the_first_stamp_for_a_program_too() -> None:
    with pytest.raises(NotFound) as caught:
        select(table_of([T2, T1]), P, at(T0), "pixel_gain", UTC)
    assert caught.value.nearest == (T1,)


@pytest.mark.parametrize(
    ("t", "interval"),
    [(0, (BEGIN_OF_ALL, at(T1))), (at(T1), (at(T1), at(T3))), (at(T2), (at(T1), at(T3))), (at(T3), (at(T3), None))],
)
def test_validity_ends_where_the_next_stamp_of_the_type_begins(t: int, interval: tuple[int, int | None]) -> None:
    found = select(table_of([T3, BEGINNING, T1, (T2, OFFSET), T1]), P, t, "pixel_gain", UTC)
    assert bounds(found) == interval
    assert found.valid_from.stamp == stamp_at(found.valid_from.ns, UTC)


def test_validity_ends_at_no_stamp_that_was_not_known_then() -> None:
    assert select(table_of([T1, T2]), P, at(T1), "pixel_gain", UTC, as_of=1).valid_to is None


def test_every_rejected_candidate_has_its_reason() -> None:
    table = table_of([T0, T1, T1, (T1, OFFSET), T2, T1])
    found = rejections(table, select(table, P, at(T1), "pixel_gain", UTC, as_of=5), at(T1), UTC, 5)
    assert {(version.stamp, version.number): reason for version, reason in found} == {
        (T0, 1): f"superseded from {T1}",
        (T1, 1): "v2 of this stamp is newer",
        (T2, 1): "starts later",
        (T1, 4): "added later, by commit 6",
    }


def test_a_number_asked_for_is_the_reason_against_the_others() -> None:
    table = table_of([T1, T1])
    found = rejections(table, select(table, P, at(T1), "pixel_gain", UTC, number=1), at(T1), UTC, 2)
    assert [(version.number, reason) for version, reason in found] == [(2, "v1 of this stamp was asked for")]


def test_a_selection_carries_the_commit_and_the_content() -> None:
    found = select(table_of([T1, T2]), P, at(T2), "pixel_gain", UTC)
    assert found.version == make_version(P, T2, 1, {name: f"{name} 2" for name in PAIR}, 2)
    assert found.type == "pixel_gain"


# -- what holds at a stamp ---------------------------------------------------------------------------


def sealed(**content: str) -> dict[str, str]:
    return {f"pixel_{name}": seal(text) for name, text in content.items()}


def one_panel(*contents: dict[str, str], stamp: str = T1) -> Table:
    return make_table(make_log(*([(P, stamp, {f"pixel_{k}": v for k, v in content.items()})] for content in contents)))


@pytest.mark.parametrize(
    ("name", "history", "content", "now", "ever"),
    [
        ("27 the same again", [{"gain": "a", "offset": "b"}], {"gain": "a", "offset": "b"}, 1, 1),
        ("27 one type of a pair again", [{"gain": "a", "offset": "b"}], {"offset": "b"}, 1, 1),
        ("27 a pair in two versions", [{"gain": "a"}, {"offset": "b"}], {"gain": "a", "offset": "b"}, 1, 1),
        ("another gain", [{"gain": "a", "offset": "b"}], {"gain": "c", "offset": "b"}, None, None),
        ("another offset", [{"gain": "a", "offset": "b"}], {"gain": "a", "offset": "c"}, None, None),
        ("a type more", [{"gain": "a"}], {"gain": "a", "offset": "b"}, None, None),
        ("gain and offset exchanged", [{"gain": "a", "offset": "b"}], {"gain": "b", "offset": "a"}, None, None),
        ("back to an older one", [{"gain": "a"}, {"gain": "b"}], {"gain": "a"}, None, 1),
        ("the newest of two", [{"gain": "a"}, {"gain": "b"}], {"gain": "b"}, 2, 2),
        ("27 a part of an older one", [{"gain": "a", "offset": "b"}, {"gain": "c"}], {"gain": "a"}, None, 1),
        ("one came back already", [{"gain": "a"}, {"gain": "b"}, {"gain": "a"}], {"gain": "a"}, 3, 3),
        ("nothing stored", [], {"gain": "a"}, None, None),
    ],
)
def test_what_holds_at_a_stamp(
    name: str, history: list[dict[str, str]], content: dict[str, str], now: int | None, ever: int | None
) -> None:
    table = one_panel(*history)
    for expected, asked_ever in ((now, False), (ever, True)):
        found = find_holder(table, P, T1, sealed(**content), asked_ever)
        assert found == (expected and f"{P}/{T1}/v{expected}")


@pytest.mark.parametrize(("panel", "stamp"), [(P, T2), (P, BEGINNING), (Q, T1)])
@pytest.mark.parametrize("ever", [False, True])
def test_28_the_same_content_at_another_stamp_or_panel_is_new(panel: str, stamp: str, ever: bool) -> None:
    assert find_holder(one_panel({"gain": "a"}), panel, stamp, sealed(gain="a"), ever) is None


@pytest.mark.parametrize("ever", [False, True])
def test_what_is_about_to_be_added_counts(ever: bool) -> None:
    table = one_panel({"gain": "a"})
    new = [make_version(P, T1, 2, {"pixel_gain": "b"}, 2), make_version(Q, T1, 1, {"pixel_gain": "c"}, 2)]
    assert find_holder(table, P, T1, sealed(gain="b"), ever, new) == f"{P}/{T1}/v2"
    assert find_holder(table, P, T1, sealed(gain="c"), ever, new) is None
    assert find_holder(table, P, T1, sealed(gain="a"), ever, new) == (f"{P}/{T1}/v1" if ever else None)


# -- any history: an oracle, and properties --------------------------------------------------------------

STAMPS = (BEGINNING, T0, T1, T1_NEXT, T2, T3)
TYPES = ("pixel_gain", "pixel_offset", "pedestals")
addition = st.tuples(
    st.sampled_from(PANELS),
    st.sampled_from(STAMPS),
    st.dictionaries(st.sampled_from(TYPES), st.sampled_from("abc"), min_size=1),
)
logs = st.lists(st.lists(addition, max_size=4), max_size=8).map(lambda commits: make_log(*commits))
instants = st.builds(
    lambda stamp, ns: max(begin_of(stamp) + ns, BEGIN_OF_ALL), st.sampled_from(STAMPS), st.sampled_from([-1, 0, 1])
)
searching = settings(deadline=None, database=None, max_examples=50)
briefly = settings(deadline=None, database=None, max_examples=20)


def oracle(
    log: list[Commit], panel: str, t: int, calib_type: str, as_of: int | None = None, number: int | None = None
) -> tuple[str, int, int, int | None] | None:
    """docs/design.md, "Which version is valid", word by word.

    Return (stamp, number, valid_from, valid_to), or None for not found.
    """
    candidates = [
        version
        for commit in log
        if as_of is None or commit.seq <= as_of
        for version in commit.versions
        if version.panel == panel and calib_type in [array.type for array in version.arrays]
    ]
    starts = sorted(version.start for version in candidates)
    before = [start for start in starts if start <= t]
    if not before:
        return None
    numbers = [version.number for version in candidates if version.start == before[-1]]
    wanted = max(numbers) if number is None else number
    if wanted not in numbers:
        return None
    (winner,) = (v for v in candidates if v.start == before[-1] and v.number == wanted)
    return winner.stamp, wanted, before[-1], next((start for start in starts if start > before[-1]), None)


def bounds(selection: Selection) -> tuple[int, Any]:
    return selection.valid_from.ns, selection.valid_to and selection.valid_to.ns


def answer(
    table: Table, panel: str, t: int, calib_type: str, as_of: int | None = None, number: int | None = None
) -> Any:
    try:
        found = select(table, panel, t, calib_type, UTC, as_of, number)
    except NotFound:
        return None
    assert found.version.panel == panel
    return found.version.stamp, found.version.number, *bounds(found)


def everything(table: Table, times: list[int] | None = None, **ask: int | None) -> dict[tuple[str, int, str], Any]:
    times = [begin_of(stamp) for stamp in STAMPS] if times is None else times
    return {(p, t, name): answer(table, p, t, name, **ask) for p in PANELS for t in times for name in TYPES}


@searching
@given(logs, st.sampled_from(PANELS), instants, st.sampled_from(TYPES), st.data())
def test_select_answers_as_the_oracle(
    log: list[Commit], panel: str, t: int, calib_type: str, data: st.DataObject
) -> None:
    as_of = data.draw(st.none() | st.integers(0, len(log)))
    number = data.draw(st.none() | st.integers(0, 4))
    table = make_table(log)
    for ask in ((None, None), (as_of, None), (None, number), (as_of, number)):
        assert answer(table, panel, t, calib_type, *ask) == oracle(log, panel, t, calib_type, *ask)


@searching
@given(logs, st.sampled_from(PANELS), instants, st.sampled_from(TYPES))
def test_the_winner_and_the_rejected_are_all_the_candidates(
    log: list[Commit], panel: str, t: int, calib_type: str
) -> None:
    table = make_table(log)
    if answer(table, panel, t, calib_type) is None:
        return
    found = select(table, panel, t, calib_type, UTC)
    of_panel = [v for commit in log for v in commit.versions if v.panel == panel and calib_type in v.content]
    rejected = rejections(table, found, t, UTC, table.seq)
    assert sorted([found.version.name, *(v.name for v, _ in rejected)]) == sorted(v.name for v in of_panel)
    assert all(reason for _, reason in rejected)


@searching
@given(logs, st.sampled_from(PANELS), st.sampled_from(STAMPS), st.data())
def test_holding_answers_as_the_oracle(log: list[Commit], panel: str, stamp: str, data: st.DataObject) -> None:
    content = data.draw(st.dictionaries(st.sampled_from(TYPES), st.sampled_from("abcd").map(seal), min_size=1))
    there = [v for commit in log for v in commit.versions if (v.panel, v.stamp) == (panel, stamp)]
    held: dict[str, str] = {}
    was_held = False
    for version in there:
        held |= version.content
        was_held |= content.items() <= held.items()
    never = any(all(v.content.get(name) != text for v in there) for name, text in content.items())
    table = make_table(log)
    assert (find_holder(table, panel, stamp, content, ever=False) is not None) == (content.items() <= held.items())
    if was_held or never:  # parts that held at different times only: docs/design.md does not say
        assert (find_holder(table, panel, stamp, content, ever=True) is not None) == was_held


@briefly
@given(logs, st.data())
def test_p1_p2_an_answer_as_of_a_commit_never_changes(log: list[Commit], data: st.DataObject) -> None:
    seq = data.draw(st.integers(0, len(log)))
    assert everything(make_table(log), as_of=seq) == everything(make_table(log[:seq]))


@searching
@given(logs, instants, instants)
def test_p3_p6_starts_never_go_back_and_never_lie_in_the_future(log: list[Commit], one: int, other: int) -> None:
    table = make_table(log)
    early, late = sorted((one, other))
    for panel in PANELS:
        for calib_type in TYPES:
            first, second = (answer(table, panel, t, calib_type) for t in (early, late))
            if first:
                assert first[2] <= early
                assert second
                assert first[2] <= second[2] <= late


@briefly
@given(logs, addition)
def test_p4_a_new_stamp_changes_answers_up_to_the_next_one_only(
    log: list[Commit], new: tuple[str, str, dict[str, str]]
) -> None:
    panel, stamp, content = new
    number = 1 + sum((v.panel, v.stamp) == (panel, stamp) for commit in log for v in commit.versions)
    added = make_commit(len(log) + 1, [make_version(panel, stamp, number, content, len(log) + 1)])
    before, after = make_table(log), make_table([*log, added])
    times = [begin_of(s) + ns for s in STAMPS[1:] for ns in (-1, 0, 1)]
    for t in times:
        for calib_type in TYPES:
            old, now = answer(before, panel, t, calib_type), answer(after, panel, t, calib_type)
            if (old and old[:2]) != (now and now[:2]):
                assert calib_type in content
                assert now[:2] == (stamp, number)
                assert begin_of(stamp) <= t
                assert old is None or old[2] <= begin_of(stamp)


@briefly
@given(logs, st.randoms(use_true_random=False))
def test_p7_the_order_of_insertion_does_not_matter(log: list[Commit], random: Random) -> None:
    versions = [version for commit in log for version in commit.versions]
    random.shuffle(versions)
    shuffled = [make_commit(seq, [v]) for seq, v in enumerate(versions, start=1)]
    assert everything(make_table(shuffled)) == everything(make_table(log))


@briefly
@given(logs, st.sampled_from(PANELS))
def test_p8_other_panels_do_not_matter(log: list[Commit], panel: str) -> None:
    alone = [make_commit(c.seq, [v for v in c.versions if v.panel == panel]) for c in log]
    for t in map(begin_of, STAMPS):
        for calib_type in TYPES:
            assert answer(make_table(alone), panel, t, calib_type) == answer(make_table(log), panel, t, calib_type)


@searching
@given(logs, st.sampled_from(PANELS), st.sampled_from(TYPES), st.data())
def test_a_timeline_says_at_every_instant_what_select_says(
    log: list[Commit], panel: str, calib_type: str, data: st.DataObject
) -> None:
    as_of = data.draw(st.none() | st.integers(0, len(log)))
    table = make_table(log)
    line = timeline(table, panel, calib_type, as_of)
    intervals = list(line)
    assert [interval.start for interval in intervals] == sorted({interval.start for interval in intervals})
    assert all(before.end == after.start for before, after in pairwise(intervals))
    for t in [begin_of(stamp) + ns for stamp in STAMPS[1:] for ns in (-1, 0, 1)]:
        found = answer(table, panel, t, calib_type, as_of)
        inside = [interval for interval in intervals if interval.start <= t < interval.end]
        assert [(i.version.stamp, i.version.number) for i in inside] == ([found[:2]] if found else [])
        assert line.at(t) == (inside[0].version if inside else None)


@searching
@given(logs, st.lists(addition, min_size=1, max_size=4))
def test_changes_are_exactly_where_answers_differ(
    log: list[Commit], added: list[tuple[str, str, dict[str, str]]]
) -> None:
    *_, last = make_log(*[[(v.panel, v.stamp, v.content) for v in commit.versions] for commit in log], added)
    before, after = make_table(log), make_table([*log, last])
    found = changes(before, after, last.versions, UTC)
    for panel in PANELS:
        for calib_type in TYPES:
            mine = [change for change in found if (change.panel, change.type) == (panel, calib_type)]
            for t in [BEGIN_OF_ALL] + [begin_of(stamp) + ns for stamp in STAMPS[1:] for ns in (-1, 0, 1)]:
                old = timeline(before, panel, calib_type).at(t)
                new = timeline(after, panel, calib_type).at(t)
                inside = [c for c in mine if c.start.ns <= t and (c.end is None or t < c.end.ns)]
                differs = (old and old.content[calib_type]) != (new and new.content[calib_type])
                assert len(inside) == differs
                if inside:
                    assert (inside[0].before, inside[0].after) == (old and old.name, new and new.name)
