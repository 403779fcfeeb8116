"""Commits of every operation: they are written, read, mirrored, verified and restored, and answers follow them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import jfstore
from jfstore.core import encoding, statements
from jfstore.core.records import STATEMENTS, Freeze, RunPanels, SamePanel, Statement, Tag
from jfstore.repository import Repository
from tests.makers.operations import EXAMPLES, STAMP, close, state
from tests.makers.repositories import LATER, A, B, constants, entry, new_repository, reopened, story


def is_seed(repository: Repository, panel: str, seed: int, **asked: object) -> bool:
    array = repository.get(panel, "pixel_gain", LATER, **asked)  # type: ignore[arg-type]
    return array.tobytes() == constants(seed).tobytes()


@pytest.fixture(params=["hdf5", "zarr"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return story(tmp_path / "R", request.param)


def test_there_is_an_example_of_every_statement() -> None:
    assert EXAMPLES.keys() == STATEMENTS.keys()


@pytest.mark.parametrize("op", EXAMPLES)
def test_every_statement_comes_back_from_log_index_mirror_and_repair(
    repository: Repository, op: str, tmp_path: Path
) -> None:
    done = state(repository, op, EXAMPLES[op])
    close(repository, B, "20300101000000", "pixel_gain")
    again = reopened(repository)
    commit = again.commit(done.seq)
    assert (commit.op, commit.statement, commit.versions) == (op, EXAMPLES[op], ())
    assert again.log.table().statements == ((done.seq, op, EXAMPLES[op]),)
    assert [logged.op for logged in again.history()][-2:] == [op, "close"]
    again.rebuild_index()
    assert reopened(again).log.table().statements == ((done.seq, op, EXAMPLES[op]),)
    other = "zarr" if repository.storage.kind == "hdf5" else "hdf5"
    copy = jfstore.mirror(repository, tmp_path / "copy", storage=other).copy
    assert [commit.hash for commit in copy.history()] == [commit.hash for commit in again.history()]
    assert (jfstore.verify(again).problems, jfstore.verify(copy).problems) == ((), ())
    for seq in (done.seq, done.seq + 1):
        path = Path(repository.location, "log", f"{seq:010d}.json")
        before = path.read_bytes()
        path.unlink()
        jfstore.repair(reopened(repository), copy)
        assert path.read_bytes() == before
    assert jfstore.verify(reopened(repository)).problems == ()


def test_a_withdrawn_version_does_not_answer_until_it_is_restored(repository: Repository) -> None:
    assert is_seed(repository, A, 4)
    before = repository.log.table().seq
    state(repository, "withdraw", EXAMPLES["withdraw"])
    assert is_seed(reopened(repository), A, 1)
    assert is_seed(repository, A, 1)
    assert is_seed(repository, A, 4, as_of=before)
    state(repository, "restore", EXAMPLES["restore"])
    assert is_seed(reopened(repository), A, 4)
    assert is_seed(repository, A, 1, as_of=before + 1)


def test_after_a_close_nothing_is_valid_until_a_later_stamp(repository: Repository) -> None:
    seq = close(repository, A, "20181001000000", "pixel_gain").seq
    with pytest.raises(jfstore.NotFound, match=f"closed from 20181001000000 on, by commit {seq}"):
        repository.get(A, "pixel_gain", LATER)
    assert repository.get(A, "pixel_offset", LATER).shape[1] == 1
    assert is_seed(repository, A, 4, as_of=seq - 1)
    assert repository.get(A, "pixel_gain", "20180401000000").tobytes() == constants(4).tobytes()
    repository.add_entries([entry(A, "20181101000000", seed=7)], "measured again")
    assert is_seed(reopened(repository), A, 7)


def test_a_close_at_the_stamp_of_a_version_wins_if_it_was_made_last(repository: Repository) -> None:
    close(repository, A, STAMP, "pixel_gain")
    with pytest.raises(jfstore.NotFound, match="closed"):
        repository.get(A, "pixel_gain", LATER)
    added = repository.add_entries([entry(A, STAMP, seed=4)], "after all")
    assert [version.number for version in added.versions] == [4]
    assert is_seed(reopened(repository), A, 4)


def test_versions_of_the_same_panel_answer_under_every_id(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R")
    repository.add_entries([entry(A, "20170101000000", seed=1)], "old firmware")
    repository.add_entries([entry(B, "20180101000000", seed=2)], "new firmware")
    state(repository, "same_panel", SamePanel((A, B)))
    for panel in (A, B):
        assert is_seed(reopened(repository), panel, 2)
        early = repository.get(panel, "pixel_gain", "20170601000000")
        assert early.tobytes() == constants(1).tobytes()
    state(repository, "not_same_panel", SamePanel((B, A)))
    assert is_seed(reopened(repository), A, 1)
    with pytest.raises(jfstore.NotFound):
        repository.get(B, "pixel_gain", "20170601000000")


def test_what_0_1_0_cannot_read_has_an_operation_that_it_does_not_know(repository: Repository) -> None:
    raw = repository.storage.read("log/0000000001.json")
    assert b'"op":"add-2"' in raw, "it has sketches"
    assert repository.commit(1).op == "add"
    assert repository.history()[0].op == "add"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.update(versions=["nonsense"]),
        lambda body: body.update(versions=[]),
        lambda body: body.update(versions=7),
        lambda body: body.pop("versions"),
        lambda body: body.update(origin=7),
    ],
)
def test_an_odd_statement_is_damage(
    repository: Repository, spoil: Callable[[dict[str, object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:

    body = statements.encode_statement(EXAMPLES["withdraw"])
    spoil(body)
    done = state(repository, "withdraw", EXAMPLES["withdraw"])
    commit = replace(repository.commit(done.seq), hash="")
    monkeypatch.setattr(encoding, "encode_statement", lambda _: body)
    raw = encoding.encode_commit(commit)[0]
    with pytest.raises(jfstore.Damaged, match="though its hash is right"):
        encoding.decode_commit(raw, "x")


@pytest.mark.parametrize(
    ("op", "statement"),
    [
        ("run_panels", RunPanels(A, "xcsls3716", 0, 0)),
        ("freeze", Freeze("19691231160000", 0)),
        ("freeze", Freeze(STAMP, 1, ())),
        ("tag", Tag("empty", 0)),
    ],
)
def test_what_is_zero_or_empty_comes_back(op: str, statement: Statement) -> None:
    body = statements.encode_statement(statement)
    assert statements.decode_statement(op, json.loads(json.dumps(body))) == statement
