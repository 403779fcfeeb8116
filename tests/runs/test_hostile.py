"""Hostile files of runs: streams that disagree or are damaged, what is no file, files that change, much of anything."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from jfstore.cli.programs import event_keys, jungfrau_id
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, NotFound
from jfstore.fs.files import open_checked
from jfstore.runs.event_keys import read_events
from jfstore.runs.head import read_head
from jfstore.runs.run import match_jungfrau, read_run
from jfstore.runs.tree import RunFiles, XtcFile
from jfstore.runs.xtc import XtcBytes, read_datagrams, read_objects
from tests.makers import xtc as made
from tests.makers.xtc import PAIR, PAIR_ID
from tests.makers.xtc_reading import (
    BEGIN,
    DATASET,
    OTHER,
    Program,
    after,
    read,
    soon,
    write,
)

# -- several streams


def test_streams_that_disagree(tree: Path, program: Program) -> None:
    write(tree, made.run_bytes(PAIR, BEGIN, 7))
    write(tree, made.run_bytes(OTHER, BEGIN + 1, 8), stream=1)
    run = read()
    assert (run.jungfraus[0].detector_id, run.start, run.run) == (PAIR_ID, BEGIN * 10**9 + 123456789, 7)
    assert any("disagree on MfxEndstation.0:Jungfrau.0; the first counts" in text for text in run.notes)
    assert any("disagree on the start" in text for text in run.notes)
    code, out, err = program("jungfrau_id", DATASET)
    assert code == 0
    assert out.endswith(f"Jungfrau id: {PAIR_ID}\n")
    assert err.count("jungfrau_id: warning: ") == 2


@pytest.mark.parametrize("damaged", [0, 1])
def test_one_damaged_stream_of_two(tree: Path, program: Program, damaged: int) -> None:
    sound = made.run_bytes(PAIR, BEGIN, 7)
    write(tree, sound, stream=1 - damaged)
    path = write(tree, sound[:100], stream=damaged)
    run = read()
    assert run.jungfraus[0].detector_id == PAIR_ID
    assert len(run.problems) == 1
    assert run.problems[0].startswith(f"{path} is cut off")
    for words in (("jungfrau_id", DATASET), ("jfstore", "id", DATASET)):
        code, out, err = program(*words)
        assert code == 4
        assert PAIR_ID in out
        assert f"error: {path} is cut off" in err
    code, out, err = program("event_keys", "-d", DATASET, "-p", "Jung")
    assert code == 4
    assert "EventKey(type=psana.Jungfrau.ConfigV3, src='DetInfo(MfxEndstation.0:Jungfrau.0)')" in out


@pytest.mark.parametrize("damaged", [0, 1])
def test_constants_are_not_taken_by_what_the_lowest_stream_does_not_say(
    tree: Path, program: Program, tmp_path: Path, damaged: int
) -> None:
    for stream in (0, 1):
        write(tree, made.run_bytes(PAIR, BEGIN, 7)[: 100 if stream == damaged else None], stream=stream)
    program("jfstore", "init", str(tmp_path / "R"), "--role", "test", "--shape", "3x2x4")
    words = ("--repo", str(tmp_path / "R"))
    code, _, err = program("jfstore", "get", DATASET, *words)
    # Nothing is stored: the detector was known if that is what is said.
    assert (code, PAIR_ID[:26] in err) == ((4, False) if damaged == 0 else (3, True))
    assert f"s0{damaged}-c00.xtc is cut off" in err
    assert program("jfstore", "get", f"{DATASET}:stream={1 - damaged}", *words)[0] == 3


def test_all_streams_damaged(tree: Path, program: Program) -> None:
    sound = made.run_bytes(PAIR, BEGIN, 7)
    for stream in range(3):
        write(tree, sound[: 100 + stream], stream)
    with pytest.raises(Damaged, match=r"s00-c00\.xtc is cut off"):
        read()
    assert program("jungfrau_id", DATASET)[0] == 4


def test_controls_do_not_say_when_a_run_begins_unless_alone(tree: Path) -> None:
    write(tree, made.run_bytes(PAIR, BEGIN, 7))
    write(tree, made.configure(1) + made.begin_run(5, 7), stream=80)
    run = read()
    assert (run.start, run.notes) == (BEGIN * 10**9 + 123456789, ())


# -- what is no regular file


def odd_one(place: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "fifo":
        os.mkfifo(place)
    elif what == "directory":
        place.mkdir()
    elif what == "dangling":
        place.symlink_to("not there")
    elif what == "loop":
        place.symlink_to(place.name)
    elif what == "device":
        place.symlink_to("/dev/zero")
    else:
        # root may read everything, so what refuses is made
        place.write_bytes(made.run_bytes(PAIR, BEGIN, 7))
        before = os.open

        def refusing(path: Any, *rest: int, **named: int) -> int:
            if str(path) == str(place):
                raise PermissionError(13, "Permission denied", str(place))
            return before(path, *rest, **named)

        monkeypatch.setattr(os, "open", refusing)


ODD = ["fifo", "directory", "dangling", "loop", "device", "unreadable"]


@pytest.mark.parametrize("what", ODD)
def test_no_regular_file(tree: Path, program: Program, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    place = made.path_of(tree, "MFX", "mfxx12345", 7)
    odd_one(place, what, monkeypatch)
    for dataset in (DATASET, str(place)):
        with pytest.raises((Damaged, Failed, NotFound), match=r"s00-c00\.xtc"):
            read(dataset)
        for words in (("jungfrau_id", dataset), ("event_keys", "-d", dataset), ("jfstore", "id", dataset)):
            code, _, err = program(*words)
            assert code in (1, 3, 4)
            assert err.count("error: ") == 1
            assert place.name in err


@pytest.mark.parametrize("what", ODD)
def test_no_regular_file_beside_one(tree: Path, program: Program, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    odd_one(made.path_of(tree, "MFX", "mfxx12345", 7), what, monkeypatch)
    write(tree, made.run_bytes(PAIR, BEGIN, 7), stream=1)
    run = read()
    assert run.jungfraus[0].detector_id == PAIR_ID
    assert len(run.problems) == 1
    assert program("jungfrau_id", DATASET)[0] == 4


# -- files that change


@pytest.mark.parametrize("left", [0, 39, 40, 200, 331])
def test_a_file_that_shrinks(tmp_path: Path, left: int) -> None:
    path = tmp_path / "shrinking.xtc"
    path.write_bytes(made.run_bytes(PAIR, BEGIN, 7))
    with open_checked(path) as fd:
        file = XtcBytes(fd, str(path))
        os.truncate(path, left)
        with soon(), pytest.raises(Damaged, match=r"shrinking\.xtc is shorter than it was"):
            read_head(file)


def test_a_file_that_shrinks_while_it_is_walked(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.xtc"
    path.write_bytes(made.run_bytes(PAIR, BEGIN, 7, others=[made.xtc(29, 1, 1, 0, 5, bytes(1 << 17))]))
    with open_checked(path) as fd:
        file = XtcBytes(fd, str(path))
        first, *_ = read_datagrams(file)
        os.truncate(path, 1 << 16)
        list(read_objects(file, first))  # all its headers are in what is there
        with soon(), pytest.raises(Damaged, match=r"shrinking\.xtc is shorter than it was"):
            read_head(file)


def test_a_size_that_was_never_true(tmp_path: Path) -> None:
    path = tmp_path / "stub.xtc"
    path.write_bytes(made.configure(BEGIN, made.jungfrau(3, PAIR)))
    with open_checked(path) as fd:
        file = XtcBytes(fd, str(path))
        file.size += 1000
        with pytest.raises(Damaged, match="shorter than it was"):
            read_head(file)


def test_a_disk_that_fails(tree: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree, made.run_bytes(PAIR, BEGIN, 7))

    def failing(*_rest: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(Failed, match=r"s00-c00\.xtc: Input/output error"):
        read()
    code, _, err = program("event_keys", "-d", DATASET)
    assert code == 4
    assert "Input/output error" in err


# -- events


def test_a_damaged_event_is_told_and_the_others_are_listed(tmp_path: Path) -> None:
    broken = made.datagram(made.L1_ACCEPT, BEGIN + 9, 0, made.container(made.xtc(29, 1, 1, 0, 5, extent=19)))
    path = tmp_path / "events.xtc"
    path.write_bytes(made.run_bytes(PAIR, BEGIN, 7) + broken + made.l1accept(BEGIN + 10))
    problems: list[str] = []
    with soon():
        found = list(read_events(RunFiles("", -1, (XtcFile(0, 0, str(path)),)), problems))
    assert len(found) == 5
    assert len(problems) == 1
    assert re.search(r"events\.xtc: an object at offset \d+ has the extent 19", problems[0])


def test_a_damaged_configuration_between_events_is_told_and_the_events_are_listed(tmp_path: Path) -> None:
    broken = made.datagram(made.BEGIN_CALIB_CYCLE, BEGIN + 9, 0, made.container(made.jungfrau(3, PAIR, count=9)))
    path = tmp_path / "events.xtc"
    path.write_bytes(made.run_bytes(PAIR, BEGIN, 7) + broken + made.l1accept(BEGIN + 10))
    problems: list[str] = []
    with soon():
        found = list(read_events(RunFiles("", -1, (XtcFile(0, 0, str(path)),)), problems))
    assert len(found) == 4
    assert len(problems) == 1
    assert "has 9 panels" in problems[0]


def test_only_errors_of_jfstore_come_from_any_byte_that_is_wrong(tmp_path: Path) -> None:
    data = made.run_bytes(PAIR, BEGIN, 7, alias="jungfrau1M", events=1)
    path = tmp_path / "byte.xtc"
    files = RunFiles("", -1, (XtcFile(0, 0, str(path)),))
    right = 0
    for offset in range(0, len(data), 3):
        for value in (0, 0xFF):
            path.write_bytes(data[:offset] + bytes([value]) + data[offset + 1 :])
            problems: list[str] = []
            try:
                right += [one.detector_id for one in read_run(files).jungfraus] == [PAIR_ID]
                list(read_events(files, problems))
            except JfstoreError as error:
                problems.append(str(error))
            assert all("byte.xtc" in text for text in problems)
    assert right > 100


# -- what took long, was not told or was taken for another


def slow(tree: Path, data: bytes, *words: str) -> None:
    """Run a program on a run of few bytes, which must not take long."""
    write(tree, data)
    assert len(data) < 3 << 20
    with soon(2):
        code = {"jungfrau_id": jungfrau_id.main, "event_keys": event_keys.main}[words[0]](words[1:])
    assert code == 0


@pytest.mark.parametrize("words", [("jungfrau_id", DATASET), ("event_keys", "-d", DATASET)], ids=["id", "keys"])
def test_many_aliases_take_no_longer_than_they_are_long(tree: Path, words: tuple[str, ...]) -> None:
    many = [made.alias_config([(1, n * 9000 + i, f"{n}.{i}") for i in range(9000)]) for n in range(6)]
    slow(tree, made.run_bytes(PAIR, BEGIN, 7, others=many), *words)


def test_many_calibration_cycles_take_no_longer_than_they_are_long(tree: Path) -> None:
    many = b"".join(made.xtc(29, 1, 1, 0, number, b"1234") for number in range(20_000))
    cycles = made.datagram(made.BEGIN_CALIB_CYCLE, BEGIN) * 1000
    data = after(many) + cycles + made.l1accept(BEGIN + 5)
    slow(tree, data, "event_keys", "-d", DATASET, "-p", "Jung")


def test_many_calibration_cycles_after_many_aliases(tree: Path) -> None:
    many = [made.alias_config([(1, n * 9000 + i, f"{n}.{i}") for i in range(9000)]) for n in range(6)]
    data = made.run_bytes(PAIR, BEGIN, 7, others=many, events=0)
    data += made.datagram(made.BEGIN_CALIB_CYCLE, BEGIN) * 1000 + made.l1accept(BEGIN + 5)
    slow(tree, data, "event_keys", "-d", DATASET, "-p", "Jung")


@pytest.mark.parametrize("words", [("jungfrau_id", DATASET), ("jfstore", "id", DATASET)], ids=["old", "new"])
def test_the_damaged_stream_is_told_if_it_is_the_one_with_the_jungfrau(
    tree: Path, program: Program, words: tuple[str, ...]
) -> None:
    path = write(tree, made.run_bytes(PAIR, BEGIN, 7)[:200])
    write(tree, made.configure(BEGIN) + made.begin_run(BEGIN, 7), stream=80)
    code, _, err = program(*words)
    assert f"{path} is cut off" in err
    assert code == 4


@pytest.mark.parametrize("what", ODD)
def test_event_keys_of_the_files_that_can_be_opened(
    tree: Path, program: Program, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    odd_one(made.path_of(tree, "MFX", "mfxx12345", 7), what, monkeypatch)
    write(tree, made.run_bytes(PAIR, BEGIN, 7), stream=1)
    _, out, err = program("event_keys", "-d", DATASET, "-p", "Jung")
    assert "EventKey(type=psana.Jungfrau.ConfigV3" in out
    assert "s00-c00.xtc" in err


def test_a_dangling_link_beside_the_same_chunk(tree: Path) -> None:
    write(tree, made.run_bytes(PAIR, BEGIN, 7))
    made.path_of(tree, "mfx", "mfxx12345", 7).symlink_to("not there")
    with pytest.raises(JfstoreError):
        read()


def test_two_sources_that_are_printed_alike(tree: Path) -> None:
    other = made.jungfrau(3, OTHER, made.phy_of(detector=201))
    write(tree, made.run_bytes(PAIR, BEGIN, 7, phy=made.phy_of(detector=200), others=[other]))
    with pytest.raises(BadValue):
        match_jungfrau(read(), "-Invalid-.0:Jungfrau.0")
