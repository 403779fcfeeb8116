"""Hostile XTC, each case written on purpose: the right answer or one of jfstore's errors, soon, and little is read."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from jfstore.errors import Damaged, NotFound
from jfstore.runs.head import read_head
from jfstore.runs.xtc import read_datagrams, read_objects
from tests.makers import xtc as made
from tests.makers.xtc import PAIR, PAIR_ID
from tests.makers.xtc_reading import (
    BEGIN,
    DATASET,
    OTHER,
    TOP,
    Memory,
    Program,
    after,
    head,
    ids,
    read,
    refused,
    soon,
    with_word,
    write,
)

# -- what the maker makes is read


@pytest.mark.parametrize(("version", "count"), [(1, 1), (1, 2), (2, 1), (2, 32), (3, 1), (3, 8), (4, 1), (4, 32)])
def test_what_is_sound_is_read(version: int, count: int) -> None:
    panels = made.some_panels(count)
    payload = made.jungfrau_config(version, panels)
    assert len(payload) == made.SIZES[version]
    got = head(made.run_bytes(panels, BEGIN, 7, version=version, alias="jungfrau1M"))
    (config,) = got.jungfraus.values()
    assert (config.version, config.count) == (version, count)
    wanted = panels if version > 2 else ()
    assert [(one.module, one.firmware, one.serial) for one in config.panels] == list(wanted)
    assert (got.start, got.run) == (BEGIN * 10**9 + 123456789, 7)
    assert [name for _, name in got.aliases] == ["jungfrau1M"]


def test_many_runs_have_ids_of_their_own(tree: Path) -> None:
    assert made.many_runs(tree, 3, 4) == 12
    found = {
        read(f"exp=mfx{experiment:05d}:run={run}").jungfraus[0].detector_id
        for experiment in range(3)
        for run in range(1, 5)
    }
    assert len(found) == 12


# -- extents


@pytest.mark.parametrize("extent", [0, 1, 19, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_extent_of_a_datagram(extent: int) -> None:
    data = made.run_bytes(PAIR, BEGIN, 7)
    refused(with_word(data, 36, extent), "extent|cut off", 0)


@pytest.mark.parametrize("extent", [0, 1, 19, 273, 293, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_extent_of_an_object(extent: int) -> None:
    data = after(made.jungfrau(3, PAIR))
    assert ids(head(data)) == [PAIR_ID]
    refused(with_word(data, TOP + 16, extent), "extent", TOP)


@pytest.mark.parametrize("less", [1, 4, 19, 20, 251])
def test_extent_that_is_short_leaves_what_is_no_object(less: int) -> None:
    data = after(made.jungfrau(3, PAIR))
    refused(with_word(data, TOP + 16, 272 - less), "instead of 252")


def test_extent_past_its_parent_that_the_datagram_has_room_for() -> None:
    inner = made.jungfrau(3, PAIR)
    data = after(made.container(inner, extent=20 + len(inner) - 1), made.xtc(29, 1, 1, 0, 0, bytes(400)))
    refused(data, "extent 272 of 271 bytes", TOP + 20)


@pytest.mark.parametrize("count", [1, 4, 19])
def test_stray_bytes(count: int) -> None:
    refused(after(made.jungfrau(3, PAIR), bytes(count)), f"{count} stray bytes", TOP + 272)
    sound = made.configure(BEGIN, made.jungfrau(3, PAIR))
    refused(sound + bytes(count), "cut off", len(sound))


def test_empty_objects_at_the_end_of_containers_are_read() -> None:
    data = after(made.container(), made.container(made.container()), made.jungfrau(3, PAIR), made.container())
    assert ids(head(data)) == [PAIR_ID]


def test_every_cut_is_refused_or_after_the_head() -> None:
    data = made.run_bytes(PAIR, BEGIN, 7, alias="jungfrau1M")
    ends = [one.end for one in read_datagrams(Memory(data))]
    with soon(20):
        for size in range(len(data)):
            if size < ends[1] and size != ends[0]:
                refused(data[:size], "cut off|is empty")
                assert size < ends[0] or ids(head(data[:size])) == [PAIR_ID]
            else:
                got = head(data[:size])
                assert ids(got) == [PAIR_ID]
                assert (got.start is None) == (size == ends[0])


def test_a_cut_after_the_head_is_told_by_event_keys(tree: Path, program: Program) -> None:
    data = made.run_bytes(PAIR, BEGIN, 7)
    write(tree, data[:-3])
    assert read().jungfraus[0].detector_id == PAIR_ID
    code, out, err = program("event_keys", "-d", DATASET)
    assert code == 4
    assert "Loop over 2 events" in out
    assert re.search(r"s00-c00\.xtc is cut off: the datagram at offset \d+ needs 3 bytes more", err)


# -- much


def test_nested_containers() -> None:
    start = time.perf_counter()
    data = made.datagram(made.CONFIGURE, BEGIN, 0, made.nested(20_000, made.jungfrau(3, PAIR))) + made.begin_run(
        BEGIN, 7
    )
    assert ids(head(data)) == [PAIR_ID]
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("one", [made.container(), made.xtc(29, 1, 1, 0, 5, b"1234")], ids=["containers", "leaves"])
def test_too_many_objects(one: bytes) -> None:
    few = after(one * 90_000, made.jungfrau(3, PAIR))
    assert ids(head(few)) == [PAIR_ID]
    refused(after(one * 100_001), "over 100000 objects", 0)


def test_no_begin_run_among_very_many_datagrams() -> None:
    many = made.datagram(made.DISABLE, BEGIN) * 5000
    file = Memory(made.configure(BEGIN, made.jungfrau(3, PAIR)) + many)
    with pytest.raises(Damaged, match="no BeginRun"):
        read_head(file)
    assert file.count < 60_000


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by how much each read takes."""
    counts: list[int] = []
    pread = os.pread

    def counting(fd: int, count: int, offset: int) -> bytes:
        got = pread(fd, count, offset)
        counts.append(len(got))
        return got

    monkeypatch.setattr(os, "pread", counting)
    return counts


def sparse(path: Path, size: int) -> None:
    try:
        os.truncate(path, size)
    except OSError:
        pytest.skip("no file of that size here")


@pytest.mark.parametrize("has_start", [True, False])
def test_a_file_of_100_gb(tree: Path, monkeypatch: pytest.MonkeyPatch, has_start: bool) -> None:
    data = made.configure(BEGIN, made.jungfrau(3, PAIR)) + (made.begin_run(BEGIN, 7) if has_start else b"")
    sparse(write(tree, data), 100 << 30)
    counts = counted(monkeypatch)
    start = time.perf_counter()
    if has_start:
        assert read().jungfraus[0].detector_id == PAIR_ID
    else:
        with pytest.raises(Damaged, match=rf"s00-c00\.xtc: a datagram at offset {len(data)} has the extent 0"):
            read()
    assert time.perf_counter() - start < 0.5
    assert counts
    assert sum(counts) < 1 << 20


def test_a_configure_of_200_mb_is_jumped_over(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hole, config, begin_run = 200 << 20, made.jungfrau(3, PAIR), made.begin_run(BEGIN, 7)
    waste = made.xtc(29, 1, 1, 0, 5, extent=20 + hole)
    top = made.container(waste, extent=40 + hole + len(config))
    path = write(tree, made.datagram(made.CONFIGURE, BEGIN, 0, top))
    where = path.stat().st_size + hole
    sparse(path, where)
    with path.open("ab") as file:
        file.write(config + begin_run)
    counts = counted(monkeypatch)
    run = read()
    assert run.jungfraus[0].detector_id == PAIR_ID
    assert run.start == BEGIN * 10**9 + 123456789
    assert sum(counts) < 1 << 20


def test_a_datagram_over_the_limit(tree: Path) -> None:
    path = write(tree, made.datagram(made.CONFIGURE, BEGIN, 0, made.container(extent=(1 << 28) + 1)))
    sparse(path, 1 << 30)
    with pytest.raises(Damaged, match=r"s00-c00\.xtc: a datagram at offset 0 has the extent 268435457"):
        read()


# -- configurations of a Jungfrau


@pytest.mark.parametrize(
    ("version", "counts"),
    [
        (1, (0, 33, 2**31, 2**32 - 1)),
        (2, (0, 33, 2**31, 2**32 - 1)),
        (3, (0, 9, 33, 2**31, 2**32 - 1)),
        (4, (0, 33, 2**31, 2**32 - 1)),
    ],
)
def test_impossible_number_of_panels(version: int, counts: tuple[int, ...]) -> None:
    for count in counts:
        refused(after(made.jungfrau(version, PAIR, count=count)), f"has {count} panels", TOP)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("change", [-828, -800, -24, -1, 1, 4, 24, 576])
def test_wrong_size_of_a_configuration(version: int, change: int) -> None:
    sound = made.jungfrau_config(version, PAIR)
    payload = sound[: max(len(sound) + change, 1)] + bytes(max(change, 0))
    wrong = made.jungfrau(version, PAIR, payload=payload)
    refused(after(wrong), f"{len(payload)} bytes instead of {len(sound)}", TOP)


@pytest.mark.parametrize("version", [0, 5, 6, 0x7FFF])
def test_unknown_version(version: int) -> None:
    payload = made.jungfrau_config(4, PAIR)
    refused(after(made.jungfrau(version, PAIR, payload=payload)), f"ConfigV{version} .* not know", TOP)


def test_empty_configuration_is_ignored() -> None:
    assert head(after(made.jungfrau(3, PAIR, payload=b""))).jungfraus == {}
    assert ids(head(after(made.jungfrau(3, PAIR, payload=b""), made.jungfrau(3, PAIR)))) == [PAIR_ID]


def test_compressed_configuration_is_ignored() -> None:
    packed = made.xtc(made.JUNGFRAU, made.COMPRESSED | 2, 1, 0, made.phy_of(), b"packed")
    assert head(after(packed)).jungfraus == {}
    assert ids(head(after(packed, made.jungfrau(3, PAIR)))) == [PAIR_ID]


def test_configuration_marked_as_damaged_is_used_and_noted() -> None:
    got = head(after(made.jungfrau(3, PAIR, damage=1 << 14)))
    assert ids(got) == [PAIR_ID]
    assert "damaged (0x4000)" in got.notes[0]


@pytest.mark.parametrize("depth", ["top", "inner"])
def test_what_is_in_an_incomplete_container_is_left_out(depth: str) -> None:
    config = made.jungfrau(3, PAIR)
    inner = made.container(config, damage=made.INCOMPLETE if depth == "inner" else 0)
    top = made.container(inner, damage=made.INCOMPLETE if depth == "top" else 0)
    got = head(made.datagram(made.CONFIGURE, BEGIN, 0, top) + made.begin_run(BEGIN, 7))
    assert (got.jungfraus, got.sources) == ({}, ())


def test_rubbish_in_an_incomplete_container_does_no_harm() -> None:
    data = after(made.container(b"\xff" * 77, damage=made.INCOMPLETE), made.jungfrau(3, PAIR))
    assert ids(head(data)) == [PAIR_ID]


def test_other_damage_of_a_container_is_no_reason_to_leave_it_out() -> None:
    damage = 0xFFFFFFFF ^ made.INCOMPLETE
    assert ids(head(after(made.container(made.jungfrau(3, PAIR), damage=damage)))) == [PAIR_ID]


def test_configured_twice() -> None:
    same = after(made.jungfrau(3, PAIR), made.container(made.jungfrau(3, PAIR)))
    assert ids(head(same)) == [PAIR_ID]
    refused(after(made.jungfrau(3, PAIR), made.jungfrau(3, OTHER)), "Jungfrau.0 twice, differently", TOP + 272)
    refused(after(made.jungfrau(3, PAIR), made.jungfrau(3, PAIR[:1])), "twice", TOP + 272)
    refused(after(made.jungfrau(3, PAIR), made.jungfrau(4, PAIR)), "twice", TOP + 272)


def test_panels_that_are_not_there_do_not_count() -> None:
    payload = bytearray(made.jungfrau_config(3, PAIR))
    payload[60 + 48 :] = b"\x77" * (252 - 108)
    assert ids(head(after(made.jungfrau(3, PAIR, payload=bytes(payload))))) == [PAIR_ID]


def test_numbers_of_64_bits() -> None:
    most = 2**64 - 1
    assert ids(head(after(made.jungfrau(3, [(most, most, most), (0, 0, 0)])))) == ["-".join(["f" * 16] * 3) + "_0-0-0"]


def test_detector_out_of_the_table(tree: Path, program: Program) -> None:
    write(tree, made.run_bytes(PAIR, BEGIN, 7, phy=made.phy_of(detector=200)))
    (jungfrau,) = read().jungfraus
    assert (jungfrau.source, jungfrau.detector_id) == ("-Invalid-.0:Jungfrau.0", PAIR_ID)
    code, out, _ = program("jungfrau_id", DATASET)
    assert code == 0
    assert out.endswith(f"Jungfrau id: {PAIR_ID}\n")
    code, out, _ = program("event_keys", "-d", DATASET, "-p", "Jung")
    assert code == 0
    assert "src='DetInfo(-Invalid-.0:Jungfrau.0)'" in out


@pytest.mark.parametrize("device", [0, 42, 44, 51, 54, 200, 255])
def test_other_devices_are_no_jungfrau(device: int) -> None:
    wrong = made.xtc(made.JUNGFRAU, 3, 1, 0, made.phy_of(device=device), b"not what it says")
    assert ids(head(after(wrong, made.jungfrau(3, PAIR)))) == [PAIR_ID]


@pytest.mark.parametrize("level", [0, 2, 3, 6, 7, 255])
def test_other_levels_are_no_detector(level: int) -> None:
    wrong = made.xtc(made.JUNGFRAU, 3, level, 0, made.phy_of(), made.jungfrau_config(3, OTHER))
    assert ids(head(after(wrong, made.jungfrau(3, PAIR)))) == [PAIR_ID]


# -- aliases


@pytest.mark.parametrize("count", [2, 10_001, 2**31 - 1, 2**32 - 1])
def test_more_aliases_than_there_are(count: int) -> None:
    aliases = made.alias_config([(1, made.phy_of(), "jungfrau1M")], count=count)
    refused(after(aliases, made.jungfrau(3, PAIR)), f"too few for {count} aliases", TOP)


@pytest.mark.parametrize("size", [1, 3])
def test_aliases_without_a_number(size: int) -> None:
    wrong = made.xtc(made.ALIAS, 1, 0, 0, 0, bytes(size))
    refused(after(wrong), f"AliasConfig .* {size} bytes", TOP)
    at_the_end = made.datagram(made.CONFIGURE, BEGIN, 0, made.container(wrong))
    refused(at_the_end, f"AliasConfig .* {size} bytes", TOP)


@pytest.mark.parametrize("less", [1, 3, 4, 5, 40])
def test_aliases_that_are_cut(less: int) -> None:
    payload = made.alias_config([(1, 5, "one"), (1, 6, "two")])[20:-less]
    aliases = made.xtc(made.ALIAS, 1, 0, 0, 0, payload)
    refused(after(aliases, made.jungfrau(3, PAIR)), f"has {84 - less} bytes, too few for 2", TOP)


def test_too_many_aliases() -> None:
    def many(count: int) -> bytes:
        return after(made.alias_config([(1, number, f"{number}") for number in range(count)]), made.jungfrau(3, PAIR))

    assert len(head(many(10_000)).aliases) == 10_000
    refused(many(10_001), "10001 aliases", TOP)


def test_the_compressed_bit_is_none_of_the_version() -> None:
    file = Memory(made.l1accept(BEGIN, made.xtc(made.ELEMENT, made.COMPRESSED | 2, 1, 0, 5, b"packed")))
    (found,) = read_objects(file, next(read_datagrams(file)))
    assert (found.version, found.compressed) == (2, True)


@pytest.mark.parametrize(
    ("raw", "pad", "name"),
    [
        (b"a" * 31, b"\0", "a" * 31),
        (b"a" * 31, b"b", "a" * 31),
        (b"jung\0frau", b"\0", "jung"),
        (b"\xff\xfejung\xc3\xbc", b"\0", r"\xff\xfejung\xc3\xbc"),
    ],
)
def test_odd_names(raw: bytes, pad: bytes, name: str) -> None:
    got = head(after(made.alias_config([(1, made.phy_of(), raw)], pad=pad), made.jungfrau(3, PAIR)))
    assert [text for _, text in got.aliases] == [name]
    assert ids(got) == [PAIR_ID]


def test_an_empty_name_is_none() -> None:
    assert head(after(made.alias_config([(1, made.phy_of(), b""), (1, 5, b"\0x")]))).aliases == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x1b[2J\x1b]0;x\x07jf",
        b"jf\r\n\tEventKey",
        b"\x00",
        b"\x7f\x08\x08jf",
        b"\x9b2J\x85\xe2\x80\xae",
        b"'\\x1b",
    ],
)
def test_control_characters_do_not_come_out(tree: Path, program: Program, raw: bytes) -> None:
    write(tree, made.run_bytes(PAIR, BEGIN, 7, alias=raw))
    for words in (
        ("event_keys", "-d", DATASET),
        ("event_keys", "-d", DATASET, "-p", "Jung"),
        ("jungfrau_id", DATASET),
        ("jfstore", "id", DATASET),
        ("jfstore", "id", DATASET, "--json"),
        ("jfstore", "id", DATASET, "no such"),
        ("jungfrau_id", DATASET, "no such"),
        ("jfstore", "runs", "MFX"),
        ("jfstore", "runs", "mfxx12345"),
    ):
        code, out, err = program(*words)
        assert code in (0, 2, 3), err
        assert not re.search(r"[^\n\t\x20-\x7e]", out + err), (words, out, err)
    code, out, _ = program("event_keys", "-d", DATASET, "-p", "Jung", "-m2")
    assert len([line for line in out.splitlines() if line.startswith("EventKey")]) == 2
    code, out, _ = program("jfstore", "id", DATASET)
    assert [len(line.split("\t")) for line in out.splitlines()] == [11, 11]
    code, out, _ = program("jfstore", "id", DATASET, "--json")
    assert json.loads(out)


def test_the_first_of_two_equal_names_counts(tree: Path) -> None:
    second = made.phy_of(device_number=1)
    aliases = made.alias_config([(1, second, "same"), (1, made.phy_of(), "same"), (1, second, "other")])
    others = [aliases, made.jungfrau(3, OTHER, second)]
    write(tree, made.run_bytes(PAIR, BEGIN, 7, others=others))
    assert [(one.source[-1], one.alias) for one in read().jungfraus] == [("0", None), ("1", "same")]


# -- transitions


def test_begin_run_without_time() -> None:
    configure = made.configure(BEGIN, made.jungfrau(3, PAIR))
    refused(configure + made.begin_run(0, 7), "BeginRun .* no time", len(configure))


def test_begin_run_at_the_last_second_there_is(tree: Path, program: Program) -> None:
    write(tree, made.configure(1, made.jungfrau(3, PAIR)) + made.begin_run(2**32 - 1, 7, 999_999_999))
    code, out, _ = program("jfstore", "id", DATASET)
    assert code == 0
    assert "2106-02-07T06:28:15.999999999" in out


@pytest.mark.parametrize("nanoseconds", [1_000_000_000, 2**32 - 1])
def test_a_second_has_no_more_nanoseconds(nanoseconds: int) -> None:
    configure = made.configure(BEGIN, made.jungfrau(3, PAIR))
    refused(configure + made.begin_run(BEGIN, 7, nanoseconds), f"{nanoseconds} ns", len(configure))


def test_no_begin_run(tree: Path, program: Program) -> None:
    write(tree, made.configure(BEGIN, made.jungfrau(3, PAIR)))
    run = read()
    assert (run.start, run.run, run.jungfraus[0].detector_id) == (None, 7, PAIR_ID)
    with pytest.raises(NotFound, match="has no BeginRun"):
        run.require_start()
    code, out, err = program("jungfrau_id", DATASET)
    assert (code, f"Jungfrau id: {PAIR_ID}" in out) == (4, True)
    assert "ends after its Configure; the start of the run is not known" in err


def test_an_event_ends_the_head_as_begin_run_does() -> None:
    late = made.configure(BEGIN + 9, made.jungfrau(3, OTHER)) + made.begin_run(BEGIN, 7)
    got = head(made.configure(BEGIN, made.jungfrau(3, PAIR)) + made.l1accept(BEGIN + 1) + late)
    assert (ids(got), got.start) == ([PAIR_ID], None)


@pytest.mark.parametrize("before", [made.MAP, made.RESET, made.UNKNOWN, 15])
def test_map_and_the_like_may_come_first(before: int) -> None:
    data = made.datagram(before, BEGIN - 9) * 3 + made.run_bytes(PAIR, BEGIN, 7)
    assert ids(head(data)) == [PAIR_ID]


@pytest.mark.parametrize(
    ("transition", "name"),
    [
        (made.BEGIN_RUN, "BeginRun"),
        (made.L1_ACCEPT, "L1Accept"),
        (made.ENABLE, "Enable"),
    ],
)
def test_a_run_does_not_begin_without_configure(transition: int, name: str) -> None:
    refused(made.datagram(transition, BEGIN) + made.run_bytes(PAIR, BEGIN, 7), f"starts with {name}, not")


def test_what_is_no_event_of_the_sequence_is_no_configure() -> None:
    wrong = made.datagram(made.CONFIGURE, BEGIN, 0, made.container(made.jungfrau(3, OTHER)), sequence=1)
    refused(wrong, "no Configure")
    assert ids(head(wrong + made.run_bytes(PAIR, BEGIN, 7))) == [PAIR_ID]


def test_a_second_configure_replaces_the_first() -> None:
    aliases = made.alias_config([(1, made.phy_of(), "old")])
    first = made.configure(BEGIN - 9, aliases, made.jungfrau(3, OTHER, damage=2), made.xtc(29, 1, 1, 0, 7, b"1234"))
    got = head(first + made.run_bytes(PAIR, BEGIN, 7))
    assert (ids(got), got.aliases, got.notes, len(got.sources)) == ([PAIR_ID], (), (), 1)
    gone = head(first + made.configure(BEGIN - 8) + made.begin_run(BEGIN, 7))
    assert gone.jungfraus == {}


def test_an_empty_file() -> None:
    refused(b"", "is empty")
