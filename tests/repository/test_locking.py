"""A lock is replayed: the same bits from the repository and its mirrors, whatever happened since, or an error."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

import jfstore
from jfstore.core.records import SamePanel
from jfstore.repository import Answer, Repository
from jfstore.repository.mirror import detach
from tests.makers.operations import EXAMPLES, state
from tests.makers.repositories import LATER, STAMP, A, B, C, commit_path, constants, entry, new_repository, story

PAIR = f"{B}_{C}"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return story(tmp_path / "R")


@pytest.fixture
def answer(repository: Repository) -> Answer:
    return repository.find(PAIR, None, LATER)


def check_same(replayed: Answer, answer: Answer) -> None:
    """Check that two answers are equal but for their notes, also bit by bit."""
    assert replayed.by_type == answer.by_type
    assert (replayed.panels, replayed.time, replayed.as_of) == (answer.panels, answer.time, answer.as_of)
    for name in answer:
        assert (replayed[name].dtype, replayed[name].shape) == (answer[name].dtype, answer[name].shape)
        assert replayed[name].tobytes() == answer[name].tobytes()


def test_a_lock_names_all_that_the_answer_consists_of(repository: Repository, answer: Answer) -> None:
    lock = answer.lock()
    assert (lock.repository, lock.identity, lock.role) == (repository.id, repository.identity.hash, "test")
    assert (lock.seq, lock.commit) == (4, repository.commit(4).hash)
    assert (lock.detector, lock.time, lock.run) == (PAIR, answer.time.ns, None)
    for name in answer:
        for locked, selection in zip(lock.of(name), answer.of(name), strict=True):
            version = selection.version
            assert (locked.panel, locked.version, locked.seq) == (version.panel, version.name, version.seq)
            assert locked.commit == repository.commit(version.seq).hash
            assert locked.array == version.array(name)
    assert answer.lock() == lock
    assert repository.find(PAIR, None, LATER).lock().text == lock.text


def test_a_replay_is_the_same_answer(repository: Repository, answer: Answer, tmp_path: Path) -> None:
    lock = answer.lock()
    (tmp_path / "a.lock").write_text(lock.text)
    for replayed in (
        repository.replay(lock),
        repository.replay(tmp_path / "a.lock"),
        jfstore.replay(lock, repository),
        jfstore.replay(str(tmp_path / "a.lock"), str(tmp_path / "R")),
        pickle.loads(pickle.dumps(repository.replay(lock))),
    ):
        check_same(replayed, answer)
        assert replayed.notes == ()
        assert replayed.lock() == lock


def test_one_type_of_a_lock(repository: Repository, answer: Answer) -> None:
    replayed = repository.replay(answer.lock(), "pixel_offset")
    assert replayed.types == ("pixel_offset",)
    assert replayed["pixel_offset"].tobytes() == answer["pixel_offset"].tobytes()
    assert replayed.lock().types == ("pixel_offset",)
    check_same(repository.replay(replayed.lock()), repository.find(PAIR, "pixel_offset", LATER))
    with pytest.raises(jfstore.BadValue, match="the lock has no 'pedestals'"):
        repository.replay(answer.lock(), ["pedestals"])


def test_what_happens_later_does_not_change_a_replay(repository: Repository, answer: Answer) -> None:
    lock = answer.lock()
    bits = {name: answer[name].tobytes() for name in answer}
    repository.add_entries([entry(B, seed=7), entry(C, LATER, seed=8)], "later ones")
    repository.close(C, LATER, "broken")
    state(repository, "same_panel", SamePanel((B, A)))
    state(repository, "freeze", EXAMPLES["freeze"])
    repository.withdraw(f"{C}/{STAMP}/v1", "wrong bias")
    repository.withdraw(f"{B}/{STAMP}/v1", "taken back by mistake")
    repository.restore(f"{B}/{STAMP}/v1", "it was right")
    replayed = repository.replay(lock)
    assert {name: replayed[name].tobytes() for name in replayed} == bits
    user = repository.summary(1).user
    commits = {commit.message: commit.seq for commit in repository.history()}
    assert replayed.notes == (
        f"{C}/{STAMP}/v1 was withdrawn by commit {commits['wrong bias']}, {user}: wrong bias; the lock still pins it",
    )


def test_an_answer_under_another_id_of_the_panel(repository: Repository) -> None:
    state(repository, "same_panel", SamePanel((B, A)))
    answer = repository.find(A, "pixel_gain", LATER)
    other = repository.find(B, "pixel_gain", LATER)
    assert answer.of("pixel_gain")[0].version == other.of("pixel_gain")[0].version
    locked = {panel: found.lock().arrays[0] for panel, found in ((A, answer), (B, other))}
    assert [one.panel for one in locked.values()] == [A, B]
    assert len({one.version for one in locked.values()}) == 1
    state(repository, "not_same_panel", SamePanel((B, A)))
    for found in (answer, other):
        replayed = repository.replay(found.lock())
        assert (replayed.panels, replayed["pixel_gain"].tobytes()) == (found.panels, constants(4).tobytes())


def test_a_number_that_is_not_the_valid_one(repository: Repository) -> None:
    answer = repository.find(A, "pixel_gain", LATER, number=1)
    check_same(repository.replay(answer.lock()), answer)
    assert answer["pixel_gain"].tobytes() == constants(1).tobytes()


def test_as_of_an_earlier_commit(repository: Repository) -> None:
    answer = repository.find(A, None, LATER, as_of=2)
    lock = answer.lock()
    assert (lock.seq, lock.commit) == (2, repository.commit(2).hash)
    check_same(repository.replay(lock), answer)


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_mirrors_replay_it(repository: Repository, answer: Answer, tmp_path: Path, storage: str) -> None:
    copy = jfstore.mirror(repository, tmp_path / "M", storage=storage).copy
    replayed = jfstore.replay(answer.lock(), tmp_path / "M")
    assert replayed.repository is not None
    assert replayed.repository.location == copy.location
    assert replayed.as_of == answer.as_of
    for name in answer:
        assert replayed[name].tobytes() == answer[name].tobytes()
    assert replayed.lock() == answer.lock() == copy.find(PAIR, None, LATER).lock()


def test_a_bucket_replays_it(repository: Repository, answer: Answer, s3: str) -> None:
    jfstore.mirror(repository, s3)
    replayed = jfstore.replay(answer.lock(), s3)
    for name in answer:
        assert replayed[name].tobytes() == answer[name].tobytes()
    assert jfstore.open(s3).find(PAIR, None, LATER).lock() == answer.lock()


def test_a_mirror_that_is_behind(repository: Repository, answer: Answer, tmp_path: Path) -> None:
    shutil.copytree(repository.location, tmp_path / "copy")
    repository.add_entries([entry(B, seed=7)], "not in the copy")
    lock = repository.find(PAIR, None, LATER).lock()
    with pytest.raises(jfstore.NotFound, match=r"has 4 commits, and the lock is as of commit 5; is it a mirror"):
        jfstore.replay(lock, tmp_path / "copy")
    check_same(jfstore.replay(answer.lock(), tmp_path / "copy"), answer)


def test_a_detached_copy_replays_what_was_locked_before(repository: Repository, answer: Answer, tmp_path: Path) -> None:
    jfstore.mirror(repository, tmp_path / "M")
    own = detach(jfstore.open(tmp_path / "M"))
    assert own.id != repository.id
    assert own.replay(answer.lock())["pixel_gain"].tobytes() == answer["pixel_gain"].tobytes()
    repository.add_entries([entry(B, seed=7)], "after it")
    own.add_entries([entry(B, seed=7)], "after it")
    with pytest.raises(jfstore.Refused, match="name that one, or a mirror"):
        own.replay(repository.find(PAIR, None, LATER).lock())


def test_another_repository_is_refused(answer: Answer, tmp_path: Path) -> None:
    other = story(tmp_path / "other")
    with pytest.raises(jfstore.Refused, match=rf"other is the test repository {other.id}, and the lock is of the test"):
        other.replay(answer.lock())


def test_a_log_that_was_written_again_is_noticed(repository: Repository, answer: Answer) -> None:
    """An admin restores a backup, and others add other commits under the same numbers."""
    lock = answer.lock()
    for seq in (3, 4):
        commit_path(repository, seq).unlink()
    Path(repository.location, "jungfrau.h5").unlink()
    again = jfstore.open(repository.location)
    for seed in (7, 8):
        again.add_entries([entry(A, seed=seed)], "another")
    with pytest.raises(jfstore.Damaged, match="commit 4 is not the one of the lock"):
        again.replay(lock)


def test_damage_after_the_lock_does_no_harm(repository: Repository, answer: Answer) -> None:
    repository.add_entries([entry(B, seed=7)], "later")
    lock = answer.lock()
    commit_path(repository, 5).chmod(0o644)
    commit_path(repository, 5).write_bytes(b"{}")
    Path(repository.location, "jungfrau.h5").unlink()
    replayed = jfstore.open(repository.location).replay(lock)
    check_same(replayed, answer)
    assert "whether versions were withdrawn after commit 4 is not known" in replayed.notes[0]


def test_an_index_cannot_make_a_wrong_lock(repository: Repository, tmp_path: Path) -> None:
    """The commits are read for a lock: one that is missing is an error, though the index would answer."""
    answer = repository.find(PAIR, None, LATER)
    commit_path(repository, 2).unlink()
    fresh = jfstore.open(repository.location).find(PAIR, None, LATER)
    assert fresh.by_type == answer.by_type
    with pytest.raises(jfstore.Damaged, match=r"0000000002.json is missing"):
        fresh.lock()


def test_the_arrays_of_a_replay_are_always_verified(repository: Repository, answer: Answer) -> None:
    lock = answer.lock()
    file = answer.of("pixel_gain")[0].version.file
    path = Path(repository.location, file.path)
    data = bytearray(path.read_bytes())
    data[file.offsets["pixel_gain"]] ^= 1
    path.unlink()
    path.write_bytes(data)
    fresh = jfstore.open(repository.location)
    assert fresh.read(fresh.find(PAIR, None, LATER), "pixel_gain", verify=False).tobytes() != b""
    with pytest.raises(jfstore.Damaged, match="does not match its hash"):
        fresh.read(fresh.replay(lock), "pixel_gain", verify=False)
    assert fresh.replay(lock)["pixel_offset"].tobytes() == answer["pixel_offset"].tobytes()


def test_what_is_no_lock_file(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(jfstore.BadValue, match="no such file"):
        repository.replay(tmp_path / "none.lock")
    with pytest.raises(jfstore.BadValue, match="not a regular file"):
        repository.replay(tmp_path)
    (tmp_path / "x").write_text(json.dumps({"format": 1}))
    with pytest.raises(jfstore.BadValue, match="has no field jfstore_lock"):
        jfstore.replay(tmp_path / "x", repository)


def test_other_shapes(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "real", "real", shape=(3, 512, 1024))
    repository.add_entries([entry(A, seed=1, shape=(3, 512, 1024))], "full size")
    answer = repository.find(A, None, LATER)
    replayed = repository.replay(answer.lock())
    check_same(replayed, answer)
    assert replayed["pixel_gain"].shape == (3, 1, 512, 1024)
