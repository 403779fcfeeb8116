"""The table: what the log says, in columns, whole or grown piece by piece."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jfstore.core.records import Version
from jfstore.core.segment import LAYOUT, merge_segments
from jfstore.core.table import Table
from tests.makers import BEGINNING, PANELS, make_commit, make_log, make_table, make_version, seal

A, B, C = PANELS
GAIN, OFFSET = {"pixel_gain": "g"}, {"pixel_offset": "o"}
PAIR = {**GAIN, **OFFSET}
LOG = make_log(
    [(A, "20180101000000", PAIR), (B, "20180101000000", {**PAIR, "pixel_gain": "gb"})],
    [(A, BEGINNING, GAIN)],
    [(A, "20180101000000", {"pixel_offset": "o2"}), (C, "20190101000000", {"pixel_gain": "gc"})],
)
VERSIONS = [version for commit in LOG for version in commit.versions]


@pytest.fixture
def table() -> Table:
    return make_table(LOG)


def same_columns(one: Table, other: Table) -> None:
    assert one.seq == other.seq
    if not one.seq:
        return
    mine, others = merge_segments(one.segments), merge_segments(other.segments)
    assert (mine.first, mine.last, mine.kinds) == (others.first, others.last, others.kinds)
    for name in LAYOUT:
        assert mine.column(name).tobytes() == others.column(name).tobytes(), name
        assert mine.column(name).dtype == others.column(name).dtype == LAYOUT[name]


def test_the_empty_table_knows_nothing() -> None:
    empty = Table.empty()
    assert (empty.seq, empty.head, len(empty), empty.version_list()) == (0, "", 0, [])
    assert len(empty.rows(A)) == len(empty.rows(A, "pixel_gain")) == 0
    assert empty.find_request("0" * 32) is None
    assert empty.find_content({"pixel_gain": seal("g")}) is None


def test_every_version_of_the_log_comes_back_in_order(table: Table) -> None:
    assert table.version_list() == VERSIONS


def test_the_head_is_the_last_commit(table: Table) -> None:
    assert (table.seq, table.head) == (3, LOG[-1].hash)


@pytest.mark.parametrize(
    ("panel", "calib_type", "expected"),
    [
        (A, None, [0, 2, 3]),
        (A, "pixel_gain", [0, 2]),
        (A, "pixel_offset", [0, 3]),
        (B, None, [1]),
        (C, "pixel_offset", []),
        (C, "pixel_gain", [4]),
        (A, "pixel_status", []),
        ("1-2-3", None, []),
    ],
)
def test_rows_are_those_of_one_panel_and_type_oldest_first(
    table: Table, panel: str, calib_type: str | None, expected: list[int]
) -> None:
    assert table.version_list(table.rows(panel, calib_type)) == [VERSIONS[place] for place in expected]


def test_rows_can_be_asked_for_one_by_one(table: Table) -> None:
    rows = table.rows(A)
    assert table.version_list([rows[2], rows[0]]) == [VERSIONS[3], VERSIONS[0]]
    assert table.version_list([]) == []


def test_a_type_stored_in_two_shapes_is_one_type() -> None:
    small = make_version(A, content=GAIN)
    other = make_version(B, content={"pixel_gain": "h"})
    arrays = tuple(replace(array, shape=(3, 4, 8)) for array in other.arrays)
    large = replace(other, arrays=arrays)
    table = make_table([make_commit(1, [small, large])])
    assert table.version_list() == [small, large]
    assert table.version_list(table.rows(A, "pixel_gain")) == [small]
    assert table.version_list(table.rows(B, "pixel_gain")) == [large]


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_a_summary_says_what_the_commit_says(table: Table, seq: int) -> None:
    commit, said = LOG[seq - 1], table.summary(seq)
    assert (said.seq, said.time, said.user, said.host, said.op, said.message, said.hash) == (
        seq,
        commit.time,
        commit.user,
        commit.host,
        commit.op,
        commit.message,
        commit.hash,
    )


def test_there_is_no_summary_of_a_commit_that_is_not_there(table: Table) -> None:
    for seq in (-1, 0, 4):
        with pytest.raises(LookupError):
            table.summary(seq)


@pytest.mark.parametrize("message", ["", "récalibré µ", "two\nlines", '"quoted" \\ \u2028', "x" * 65536])
def test_every_message_comes_back(message: str) -> None:
    table = make_table([make_commit(1), make_commit(2, message=message), make_commit(3)])
    assert [table.summary(seq).message for seq in (1, 2, 3)] == ["message 1", message, "message 3"]


def test_a_request_is_found_in_the_commit_that_carries_it(table: Table) -> None:
    assert [table.find_request(commit.request) for commit in LOG] == [1, 2, 3]
    assert table.find_request("f" * 32) is None
    assert table.find_request(LOG[0].request[:30] + "00") is None


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_content_is_found_in_a_file_that_holds_exactly_it(table: Table, version: Version) -> None:
    found = table.find_content(version.content)
    holders = [other.file for other in VERSIONS if other.content == version.content]
    assert found in holders


@pytest.mark.parametrize(
    "content",
    [
        {"pixel_gain": seal("gc"), "pixel_offset": seal("o")},
        {"pixel_gain": seal("o")},
        {"pixel_offset": seal("o")},
        {"pixel_gain": seal("gb")},
        {"pixel_gain": seal("unknown")},
    ],
)
def test_content_that_no_file_holds_exactly_is_not_found(table: Table, content: dict[str, str]) -> None:
    assert table.find_content(content) is None


def test_versions_may_share_a_file() -> None:
    first = make_version(A, seq=1)
    again = make_version(B, seq=2, file=first.file)
    log = [make_commit(1, [first]), make_commit(2, [again])]
    for table in (make_table(log), make_table(log[:1]).extend(log[1:])):
        assert merge_segments(table.segments).count("files") == 1
        assert table.version_list() == [first, again]


def test_the_longest_names_are_kept_whole() -> None:
    longest = "-".join(["f" * 16] * 3)
    version = make_version(longest, number=10**9 - 1)
    assert make_table([make_commit(1, [version])]).version_list() == [version]


def test_growing_leaves_the_older_table_as_it_was(table: Table) -> None:
    table.extend([make_commit(4, [make_version(C, seq=4)])])
    same_columns(table, make_table(LOG))
    assert table.seq == 3


def test_nothing_added_is_the_same_table(table: Table) -> None:
    assert table.extend([]) is table


additions = st.tuples(
    st.sampled_from(PANELS),
    st.sampled_from([BEGINNING, "20180101000000", "20190101000000"]),
    st.dictionaries(st.sampled_from(["pixel_gain", "pixel_offset", "pedestals"]), st.sampled_from("xyz"), min_size=1),
)


@settings(deadline=None, database=None, max_examples=60)
@given(st.lists(st.lists(additions, max_size=3), max_size=6), st.data())
def test_a_table_grown_in_pieces_is_the_one_made_at_once(
    commits: list[list[tuple[str, str, dict[str, str]]]], data: st.DataObject
) -> None:
    log = make_log(*commits)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3)))
    table = Table.empty()
    for first, last in itertools.pairwise([0, *cuts, len(log)]):
        table = table.extend(log[first:last])
    same_columns(table, make_table(log))
    assert table.version_list() == [version for commit in log for version in commit.versions]


@pytest.mark.parametrize("pieces", [1, 3])
def test_arrays_are_found_by_their_hash(pieces: int) -> None:
    table = make_table(LOG)
    if pieces == 3:
        table = Table.empty()
        for commit in LOG:
            table = table.extend([commit])
    assert len(table.segments) == pieces
    names = [version.name for version in table.version_list(table.rows_with_array(seal("g")))]
    assert sorted(names) == sorted([f"{A}/20180101000000/v1", f"{A}/{BEGINNING}/v1"])
    assert [v.panel for v in table.version_list(table.rows_with_array(seal("gc")))] == [C]
    assert len(table.rows_with_array(seal("nobody's"))) == 0
    expected = {seal(text): seq for text, seq in (("g", 2), ("o", 1), ("gb", 1), ("o2", 3), ("gc", 3))}
    assert table.last_commits() == expected
    assert Table.empty().last_commits() == {}
