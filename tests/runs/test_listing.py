"""Runs from Python: one, all of a place, those with constants; and the cache, which is never wrong or in the way."""

from __future__ import annotations

import os
import pickle
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

import jfstore
from jfstore.cli.programs import find_detector_runs
from jfstore.core.hashing import digest
from jfstore.core.instants import parse_iso
from jfstore.errors import BadValue, Damaged
from jfstore.runs.listing import list_runs
from jfstore.runs.run import read_run as really_read
from tests.makers.repositories import constants
from tests.makers.telling import BEGIN, MFX, rows_of, tell
from tests.makers.xtc import (
    PAIR,
    PAIR_ID,
    begin_run,
    configure,
    l1accept,
    run_bytes,
    some_panels,
    write_run,
)

# ---- jfstore.run, jfstore.runs, jfstore.runs_with_constants


def test_a_run_has_the_panels_of_its_jungfrau(here: Path) -> None:
    run = jfstore.run("exp=xpptut15:run=430")
    assert (run.detector_id, "_".join(map(str, run.panels)), run.run) == (PAIR_ID, PAIR_ID, 430)
    assert run.start == parse_iso(BEGIN)
    assert repr(run) == f"<Run exp=xpptut15:run=430, {BEGIN}: MfxEndstation.0:Jungfrau.0 (jungfrau1M)>"
    assert pickle.loads(pickle.dumps(run)) == run


def test_of_several_jungfraus_one_must_be_chosen(here: Path) -> None:
    dataset = "exp=xpptut15:run=440"
    with pytest.raises(BadValue, match="fits several Jungfraus"):
        jfstore.run(dataset)
    run = jfstore.run(dataset, "CxiDs2")
    assert (run.source, run.jungfrau.alias, len(run.panels)) == ("CxiDs2.0:Jungfrau.0", "jungfrau05M", 1)
    (listed,) = [run for run in jfstore.runs("xpptut15").runs if run.run == 440]
    with pytest.raises(BadValue, match="fits several Jungfraus"):
        _ = listed.panels


def test_a_run_without_ids_has_no_panels(here: Path) -> None:
    run = jfstore.run("exp=mfx00616:run=1")
    assert (run.panels, run.detector_id, run.jungfrau.count > 0) == ((), "", True)


def test_runs_are_a_record(known: Path) -> None:
    write_run(known, "MFX", MFX, 3, b"")
    steps: list[tuple[int, int]] = []
    found = jfstore.runs("MFX", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [(run.run, bool(run.file), len(run.problems)) for run in found.runs] == [(1, 1, 0), (2, 1, 0), (3, 0, 1)]
    assert [type(error) for error in found.errors] == [Damaged]
    assert jfstore.runs(MFX).runs == found.runs


def test_the_package_of_runs_is_the_function_too(known: Path) -> None:
    assert cast(Any, import_module("jfstore.runs"))("MFX").runs == list_runs("MFX").runs == jfstore.runs("MFX").runs


def test_runs_with_constants(known: Path) -> None:
    repository = jfstore.open("./R")
    write_run(known, "MFX", MFX, 3, configure(1522800000) + begin_run(1522800000, 3))
    array = {"pixel_gain": constants(1, shape=repository.panel_shape)}
    repository.add(jfstore.run(f"exp={MFX}:run=2").detector_id, "00000000000000", array, "x")
    found = jfstore.runs_with_constants("MFX", repository, ["pixel_gain"])
    missing = {row.run.run: row.missing for row in found.constants}
    assert (list(missing), missing[2], len(found.runs.runs)) == ([1, 2], None, 3)
    assert str(found.constants[0].jungfrau.panels[0]) in (missing[1] or "")


# ---- the cache


@pytest.fixture
def known(made: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The tree with two runs that were listed once."""
    for number in (1, 2):
        write_run(made, "MFX", MFX, number, run_bytes(some_panels(1, number), run=number))
    assert tell(capsys, "runs", MFX)[0] == 0
    return made


def cached(here: Path) -> Path:
    (path,) = (here / "cache/jfstore/runs").iterdir()
    return path


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the number of each run that is read is appended."""
    numbers: list[int] = []

    def read_run(files: Any) -> Any:
        numbers.append(files.run)
        return really_read(files)

    monkeypatch.setattr("jfstore.runs.listing.read_run", read_run)
    return numbers


def test_a_second_pass_reads_no_run(
    known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tell(capsys, "runs", MFX)

    def read_run(files: Any) -> Any:
        raise AssertionError(files)

    monkeypatch.setattr("jfstore.runs.listing.read_run", read_run)
    assert tell(capsys, "runs", MFX) == first
    assert len(rows_of(first[1])) == 2
    assert "run    2: MfxEndstation.0:Jungfrau.0" in tell(capsys, "MFX", program=find_detector_runs.main)[1]


@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_that_was_rewritten_is_read_again(
    same_time: bool, known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = known / "MFX" / MFX / "xtc" / f"{MFX}-r0002-s00-c00.xtc"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(run_bytes(some_panels(1, 7), run=2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (not same_time) * 10**9))
    assert path.stat().st_size == before.st_size
    numbers = counted(monkeypatch)
    _, out, _ = tell(capsys, "runs", MFX)
    module, firmware, serial = some_panels(1, 7)[0]
    assert rows_of(out)[1]["detector"] == f"{module:x}-{firmware:x}-{serial:x}"
    assert numbers == [2]


def test_a_new_stream_is_noticed(
    known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(known, "MFX", MFX, 1, run_bytes(PAIR), 1)
    numbers = counted(monkeypatch)
    _, _, err = tell(capsys, "runs", MFX)
    assert numbers == [1]
    assert "disagree" in err


def test_ends_are_looked_for_if_they_are_wanted(known: Path) -> None:
    ends = [run.end for run in list_runs("MFX", ends=True).runs]
    assert ends == [jfstore.run(f"exp={MFX}:run={number}").end for number in (1, 2)]
    assert None not in ends
    assert [run.end for run in list_runs("MFX").runs] == [None, None]
    last = known / "MFX" / MFX / "xtc" / f"{MFX}-r0002-s00-c01.xtc"
    last.write_bytes(l1accept(1522800900))
    assert [run.end for run in list_runs("MFX", ends=True).runs] == [ends[0], 1522800900 * 10**9]


def test_a_run_that_is_gone_is_gone(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (known / "MFX" / MFX / "xtc" / f"{MFX}-r0001-s00-c00.xtc").unlink()
    assert [row["run"] for row in rows_of(tell(capsys, "runs", MFX)[1])] == ["2"]


def test_a_broken_run_is_said_every_time(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(known, "MFX", MFX, 3, run_bytes()[:100])
    first = tell(capsys, "runs", MFX)
    assert (first[0], tell(capsys, "runs", MFX)) == (4, first)


def test_a_broken_stream_is_said_every_time(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(known, "MFX", MFX, 1, run_bytes()[:100], 1)
    first = tell(capsys, "runs", MFX)
    assert (first[0], first[2].count("error: "), len(rows_of(first[1]))) == (4, 1, 2)
    assert tell(capsys, "runs", MFX) == first


def test_a_disagreement_is_said_every_time(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(known, "MFX", MFX, 1, run_bytes(PAIR), 1)
    first = tell(capsys, "runs", MFX)
    assert (first[0], first[2].count("warning: ")) == (0, 1)
    assert tell(capsys, "runs", MFX) == first


def sealed(text: str) -> bytes:
    return digest(text.encode()).encode() + b"\n" + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"{}",
        b"\xff" * 99,
        sealed("not json"),
        sealed('{"format": 0, "runs": {}}'),
    ],
    ids=repr,
)
def test_a_cache_that_is_none_is_ignored_and_made_anew(
    content: bytes, here: Path, known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tell(capsys, "runs", MFX)
    sound = cached(here).read_bytes()
    cached(here).write_bytes(content)
    numbers = counted(monkeypatch)
    assert tell(capsys, "runs", MFX) == expected
    assert (numbers, cached(here).read_bytes()) == ([1, 2], sound)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "runs": []}',
        '{"format": 1, "runs": {"1": 5, "2": []}}',
    ],
)
def test_a_sealed_cache_of_another_form_is_ignored(
    text: str, here: Path, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tell(capsys, "runs", MFX)
    cached(here).write_bytes(sealed(text))
    assert tell(capsys, "runs", MFX) == expected


def test_no_flipped_bit_of_the_cache_changes_an_answer(
    here: Path, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tell(capsys, "runs", MFX)
    sound = cached(here).read_bytes()
    for at in range(0, len(sound), 29):
        spoiled = bytearray(sound)
        spoiled[at] ^= 1 << at % 8
        cached(here).write_bytes(spoiled)
        assert tell(capsys, "runs", MFX) == expected
        cached(here).write_bytes(sound[:at])
        assert tell(capsys, "runs", MFX) == expected


@pytest.mark.parametrize("kind", ["a directory", "a link", "a FIFO"])
def test_a_cache_that_is_no_file_is_harmless(
    kind: str, here: Path, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tell(capsys, "runs", MFX)
    path = cached(here)
    path.unlink()
    if kind == "a directory":
        path.mkdir()
    elif kind == "a link":
        path.symlink_to(here / "nowhere")
    else:
        os.mkfifo(path)
    assert tell(capsys, "runs", MFX) == expected


@pytest.mark.parametrize("place", ["cache", "cache/jfstore", "cache/jfstore/runs"])
def test_a_place_of_the_cache_that_is_a_file_is_harmless(
    place: str, here: Path, known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tell(capsys, "runs", MFX)
    shutil.rmtree(here / place)
    (here / place).write_text("mine")
    assert tell(capsys, "runs", MFX) == expected
    assert (here / place).read_text() == "mine"


@pytest.mark.parametrize("number", [1, 13, 28, 30])  # EPERM, EACCES, ENOSPC, EROFS
def test_a_cache_that_cannot_be_written_is_harmless(
    number: int, here: Path, known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tell(capsys, "runs", MFX)
    cached(here).unlink()

    def overwrite(*_rest: Any, **_named: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("jfstore.fs.durable.overwrite", overwrite)
    assert tell(capsys, "runs", MFX) == expected
    assert list((here / "cache/jfstore/runs").iterdir()) == []


def test_the_cache_is_the_users_alone(here: Path, known: Path) -> None:
    assert cached(here).stat().st_mode & 0o077 == 0
    assert cached(here).parent.stat().st_mode & 0o077 == 0
