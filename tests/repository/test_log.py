"""The log: chain, missing and broken commits, requests, clocks, races, commits in doubt."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.core.encoding import encode_commit
from jfstore.core.instants import SECOND, iso
from jfstore.fs import durable
from jfstore.repository import commits, log
from jfstore.repository.repository import Repository
from jfstore.repository.verify import verify
from jfstore.storage.hdf5 import Hdf5Storage
from tests.makers.repositories import (
    LATER,
    STORY,
    A,
    B,
    C,
    D,
    commit_path,
    constants,
    entry,
    flip,
    index_path,
    log_names,
    new_repository,
    put,
    racing,
    reopened,
    seeds_of,
    story,
)
from tests.makers.tables import table_until

REQUEST = "0123456789abcdef" * 2
OTHER_REQUEST = "f" * 32


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(story(tmp_path_factory.mktemp("log") / "R").storage.location)


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Repository:
    shutil.copytree(template, tmp_path / "R")
    return jfstore.open(str(tmp_path / "R"))


def numbers(repository: Repository) -> list[tuple[str, int]]:
    return [(version.panel, version.number) for version in reopened(repository).versions()]


# -- the chain


def test_commits_are_chained_from_repository_json_on(repository: Repository) -> None:
    commits = [repository.commit(seq) for seq in range(1, 5)]
    assert [commit.seq for commit in commits] == [1, 2, 3, 4]
    assert [commit.prev for commit in commits] == [repository.identity.hash, *(commit.hash for commit in commits[:-1])]
    assert [commit.message for commit in commits][:2] == ["first", "a detector"]
    assert len({commit.request for commit in commits}) == 4


def lose(path: Path) -> None:
    path.unlink()


def break_bytes(path: Path) -> None:
    flip(path, 8 * (path.stat().st_size // 2))


def unchain(path: Path) -> None:
    repository = jfstore.open(str(path.parents[1]))
    commit = commits.read_commit(repository.storage, int(path.stem))
    put(path, encode_commit(replace(commit, prev="0" * 64))[0])


def another_number(path: Path) -> None:
    repository = jfstore.open(str(path.parents[1]))
    commit = commits.read_commit(repository.storage, int(path.stem))
    put(path, encode_commit(replace(commit, seq=commit.seq + 1))[0])


def error_of(way: Callable[[Path], None]) -> type[jfstore.JfstoreError]:
    """Return the error of a reader: what is missing may only not be seen from this machine yet."""
    return jfstore.Busy if way is lose else jfstore.Damaged


WAYS = pytest.mark.parametrize("way", [lose, break_bytes, unchain, another_number])


@WAYS
@pytest.mark.parametrize("k", [1, 2, 3])
def test_commit_before_a_valid_index_is_not_needed_to_read(
    repository: Repository, k: int, way: Callable[[Path], None]
) -> None:
    way(commit_path(repository, k))
    for as_of in (None, 1, 2, 3, 4):
        assert seeds_of(reopened(repository), as_of) == STORY[as_of or 4]


@WAYS
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("index", ["none", "older"])
def test_commit_without_an_index_past_it_stops_reads_from_there_on(
    repository: Repository, k: int, way: Callable[[Path], None], index: str
) -> None:
    if index == "none":
        index_path(repository).unlink()
    else:
        repository.storage.save_index(repository.identity, table_until(repository, k - 1), "then", afresh=True)
    if k == 4 and way is lose:
        return  # nothing else knows of the last commit
    way(commit_path(repository, k))
    for as_of in (None, 1, 2, 3, 4):
        again = reopened(repository)
        if as_of is not None and as_of < k:
            assert seeds_of(again, as_of) == STORY[as_of]
            continue
        with pytest.raises(error_of(way), match=f"{k:010d}.json") as caught:
            again.get(A, "pixel_gain", LATER, as_of=as_of)
        assert caught.value.exit_code == (6 if way is lose else 4)
    for ask in (Repository.versions, Repository.history, lambda r: r.version(f"{A}/20180306000000/v1")):
        with pytest.raises(error_of(way)):
            ask(reopened(repository))


@WAYS
def test_last_commit_that_the_index_knows_stops_reads(repository: Repository, way: Callable[[Path], None]) -> None:
    way(commit_path(repository, 4))
    with pytest.raises(error_of(way)):
        reopened(repository).get(A, "pixel_gain", LATER)
    if way is not unchain:  # then it is the index that may be wrong, and it is the whole index
        assert seeds_of(reopened(repository), 3) == STORY[3]


@WAYS
@pytest.mark.parametrize("k", [1, 4])
def test_writers_refuse_a_broken_log(repository: Repository, k: int, way: Callable[[Path], None]) -> None:
    if k == 1:
        index_path(repository).unlink()
    way(commit_path(repository, k))
    before = log_names(repository)
    for dry_run in (True, False):
        with pytest.raises(error_of(way)):
            reopened(repository).add_entries([entry(B, LATER, seed=9)], "more", dry_run=dry_run)
    assert log_names(repository) == before


def test_open_repository_sees_a_commit_lost_in_front_of_others(tmp_path: Path) -> None:
    writer = new_repository(tmp_path / "R")
    writer.add_entries([entry(A, seed=1)], "one")
    reader = reopened(writer)
    assert seeds_of(reader) == {A: 1}
    writer.add_entries([entry(A, seed=2)], "two")
    writer.add_entries([entry(B, seed=3)], "three")
    commit_path(writer, 2).unlink()
    with pytest.raises(jfstore.Busy, match=r"0000000002\.json is missing"):
        reader.get(A, "pixel_gain", LATER)
    assert seeds_of(reader, 1) == {A: 1}


def test_open_repository_goes_on_once_the_commit_is_back(repository: Repository) -> None:
    index_path(repository).unlink()
    path = commit_path(repository, 2)
    data = path.read_bytes()
    path.unlink()
    reader = reopened(repository)
    with pytest.raises(jfstore.Busy):
        reader.get(A, "pixel_gain", LATER)
    put(path, data)
    assert seeds_of(reader) == STORY[4]


def test_as_of_a_time_before_the_damage_is_served(tmp_path: Path, set_clock: Callable[[int], None]) -> None:
    repository = new_repository(tmp_path / "R")
    start = repository.identity.created
    times = [start + i for i in range(4)]
    for seed, time in enumerate(times, start=1):
        set_clock(time)
        repository.add_entries([entry(A, seed=seed)], "more")
    index_path(repository).unlink()
    break_bytes(commit_path(repository, 4))
    array = reopened(repository).get(A, "pixel_gain", LATER, as_of=iso(times[1]))
    assert array.tobytes() == constants(2).tobytes()


def test_unknown_operation_stops_reader_and_writer(repository: Repository) -> None:
    last = repository.commit(4)
    future = replace(last, seq=5, prev=last.hash, op="later", request=REQUEST, versions=())
    repository.storage.publish(commits.commit_name(5), encode_commit(future)[0])
    for as_of in (None, 5):
        with pytest.raises(jfstore.Refused, match="newer jfstore") as caught:
            reopened(repository).get(A, "pixel_gain", LATER, as_of=as_of)
        assert caught.value.exit_code == 5
    assert seeds_of(reopened(repository), 4) == STORY[4]
    with pytest.raises(jfstore.Refused, match="newer jfstore"):
        repository.add_entries([entry(B, LATER)], "more")
    assert len(log_names(repository)) == 5


# -- requests


def test_retry_of_a_request_adds_nothing(repository: Repository) -> None:
    first = repository.add_entries([entry(A, seed=8), entry(B, seed=9)], "once", request=REQUEST)
    between = repository.add_entries([entry(A, seed=7)], "between")
    for again in (repository, reopened(repository)):
        done = again.add_entries([entry(A, seed=8), entry(B, seed=9)], "once", request=REQUEST)
        assert done.seq == first.seq == between.seq - 1
        assert [version.name for version in done.versions] == [version.name for version in first.versions]
    assert len(log_names(repository)) == 6


@pytest.mark.parametrize("request_id", ["", "x", "A" * 32, "0" * 31, "0" * 33, "\u0660" * 32])
def test_request_that_is_none(repository: Repository, request_id: str) -> None:
    with pytest.raises(jfstore.BadValue):
        repository.add_entries([entry(A, seed=8)], "once", request=request_id)


# -- clocks


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda ns: monkeypatch.setattr(log, "now", lambda: ns)


@pytest.mark.parametrize(("back", "noted"), [(0, False), (60, False), (61, True), (10**6, True)])
def test_time_never_runs_backwards(
    repository: Repository, set_clock: Callable[[int], None], back: int, noted: bool
) -> None:
    last = repository.commit(4).time
    set_clock(last - back * SECOND)
    added = repository.add_entries([entry(A, seed=8)], "later, or so")
    assert ["the clock of this machine" in note for note in added.notes] == [True] * noted
    commit = repository.commit(5)
    assert (commit.time, commit.clock) == (last, last - back * SECOND)


def test_clock_that_goes_forward_is_taken(repository: Repository, set_clock: Callable[[int], None]) -> None:
    last = repository.commit(4).time
    set_clock(last + 5)
    repository.add_entries([entry(A, seed=8)], "later")
    assert repository.commit(5).time == repository.commit(5).clock == last + 5


# -- races


def test_two_writers_at_the_same_number_are_both_kept(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    racing(repository, monkeypatch, *(lambda r, s=n: r.add_entries([entry(B, seed=s)], "faster") for n in (5, 6, 7)))
    done = repository.add_entries([entry(A, seed=8)], "slower")
    assert (done.seq, done.versions[0].seq) == (8, 8)
    assert numbers(repository)[5:] == [(B, 2), (B, 3), (B, 4), (A, 3)]
    assert verify(reopened(repository)).problems == ()


def test_the_loser_of_a_race_takes_the_next_version_number(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    racing(repository, monkeypatch, lambda r: r.add_entries([entry(A, seed=5)], "faster"))
    (version,) = repository.add_entries([entry(A, seed=8)], "slower").versions
    assert (version.seq, version.number) == (6, 4)


def test_the_loser_of_a_race_to_the_same_content_adds_nothing(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    racing(repository, monkeypatch, lambda r: r.add_entries([entry(A, seed=8)], "faster"))
    done = repository.add_entries([entry(A, seed=8)], "slower")
    assert (done.versions, [version for _, version in done.unchanged]) == ((), [f"{A}/20180306000000/v3"])
    assert len(log_names(repository)) == 5


def test_winner_with_our_request_was_ours(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    racing(repository, monkeypatch, lambda r: r.add_entries([entry(A, seed=8)], "once", request=REQUEST))
    done = repository.add_entries([entry(A, seed=8)], "once", request=REQUEST)
    assert (done.seq, [version.number for version in done.versions]) == (5, [3])
    assert len(log_names(repository)) == 5


def test_writer_that_always_loses_gives_up(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "GIVE_UP_AFTER", -1.0)
    racing(repository, monkeypatch, lambda r: r.add_entries([entry(A, seed=5)], "faster"))
    with pytest.raises(jfstore.Busy) as caught:
        repository.add_entries([entry(A, seed=8)], "slower")
    assert caught.value.exit_code == 6
    assert len(log_names(repository)) == 5


# -- in doubt, and the index


class Unsynced(durable.System):
    """The log's directory cannot be synced for the first `times` times."""

    def __init__(self, times: int) -> None:
        self.times, self.synced = times, 0

    def sync_directory(self, path: Path) -> None:
        if path.name == "log" and self.times > 0:
            self.times -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.synced += path.name == "log"
        super().sync_directory(path)


def test_commit_in_doubt_is_settled_by_the_same_request(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Unsynced(times=2)
    monkeypatch.setattr(durable, "system", system)
    with pytest.raises(jfstore.InDoubt, match="commit 5") as caught:
        repository.add_entries([entry(A, seed=8)], "why")
    assert caught.value.exit_code == 75
    request = caught.value.request
    with pytest.raises(jfstore.InDoubt) as again:
        reopened(repository).add_entries([entry(A, seed=8)], "why", request=request)
    assert again.value.request == request
    assert system.synced == 0
    done = reopened(repository).add_entries([entry(A, seed=8)], "why", request=request)
    assert system.synced == 1
    assert (done.seq, [version.number for version in done.versions]) == (5, [3])
    assert len(log_names(repository)) == 5
    assert seeds_of(reopened(repository)) == {**STORY[4], A: 8}


@pytest.mark.parametrize(
    ("seed", "then"), [(0, []), (8, [("publish", commits.commit_name(5))])], ids=["unchanged", "new"]
)
def test_last_commit_of_another_writer_is_synced_before_anything_relies_on_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, seed: int, then: list[tuple[str, str]]
) -> None:
    done: list[tuple[str, str]] = []
    for call in ("settle", "publish"):
        real = getattr(Hdf5Storage, call)

        def noted(self: Hdf5Storage, name: str, *rest: Any, call: str = call, real: Any = real) -> Any:
            if name.startswith("log/"):
                done.append((call, name))
            return real(self, name, *rest)

        monkeypatch.setattr(Hdf5Storage, call, noted)
    index_path(repository).unlink()  # what an index holds was synced before the index was saved
    held = {0: STORY[4][A], 8: 8}[seed]
    reopened(repository).add_entries([entry(A, seed=held)], "why")
    assert done[: 1 + len(then)] == [("settle", commits.commit_name(4)), *then]


def test_request_given_is_the_request_in_doubt(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "system", Unsynced(times=1))
    with pytest.raises(jfstore.InDoubt) as caught:
        repository.add_entries([entry(A, seed=8)], "why", request=OTHER_REQUEST)
    assert caught.value.request == OTHER_REQUEST


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_index_that_cannot_be_updated_is_only_noted(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class NoRename(durable.System):
        def rename(self, source: Path, target: Path) -> None:
            raise OSError(code, os.strerror(code))

    old = index_path(repository).read_bytes()
    monkeypatch.setattr(durable, "system", NoRename())
    (note,) = repository.add_entries([entry(D, seed=8)], "more").notes
    assert "the index could not be updated" in note
    assert index_path(repository).read_bytes() == old
    assert seeds_of(reopened(repository)) == {**STORY[4], D: 8}
    monkeypatch.undo()
    repository.add_entries([entry(C, seed=9)], "and more")
    assert verify(reopened(repository)).problems == ()
    saved = reopened(repository).storage.load_index()
    assert saved
    assert saved.table.seq == 6


def test_commit_is_done_even_if_a_newer_jfstore_writes_right_after_it(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = repository.storage.publish

    def followed(name: str, data: bytes, clock: int | None = None) -> None:
        publish(name, data)
        last = commits.read_commit(repository.storage, 5)
        future = replace(last, seq=6, prev=last.hash, op="later", request=OTHER_REQUEST, versions=())
        publish(commits.commit_name(6), encode_commit(future)[0])

    monkeypatch.setattr(repository.storage, "publish", followed)
    done = repository.add_entries([entry(A, seed=8)], "why")
    assert "made by a newer jfstore" in done.notes[0]
    assert done.seq == 5


# -- hostile and wrong writers


def test_a_log_with_more_kinds_of_arrays_than_a_table_holds_is_damaged(repository: Repository) -> None:
    last = repository.commit(4)
    version = last.versions[0]
    arrays = tuple(replace(version.arrays[0], type=f"type_{n}") for n in range(65))
    file = replace(version.file, offsets={array.type: 4096 for array in arrays})
    hostile = replace(
        last, seq=5, prev=last.hash, request=REQUEST, versions=(replace(version, arrays=arrays, file=file),)
    )
    commit_path(repository, 5).write_bytes(encode_commit(hostile)[0])
    with pytest.raises(jfstore.Damaged, match="64 kinds"):
        reopened(repository).get(A, "pixel_gain", LATER)
    assert reopened(repository).get(A, "pixel_gain", LATER, as_of=4).shape[1] == 1


def test_a_writer_whose_clock_is_ahead_of_the_file_system_is_refused(
    repository: Repository, set_clock: Callable[[int], None]
) -> None:
    import time

    set_clock(time.time_ns() + 900 * SECOND)
    with pytest.raises(jfstore.Refused, match=r"clock of this machine is (8\d\d|900) s ahead"):
        repository.add_entries([entry(A, seed=8)], "in the future")
    assert len(log_names(repository)) == 4
    assert not list((Path(repository.location) / "log").glob(".tmp-*"))
    set_clock(time.time_ns() + 300 * SECOND)
    assert repository.add_entries([entry(A, seed=8)], "soon").seq == 5


def test_a_dry_run_checks_the_right_to_write(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "panels")
    with pytest.raises(OSError, match="Permission denied"):
        repository.add_entries([entry(A, seed=8)], "why", dry_run=True)
