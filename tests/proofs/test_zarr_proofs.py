"""The proofs of reliability for zarr on a directory, and writers that are killed at random, also in a bucket."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.fs import durable
from jfstore.repository.verify import verify
from jfstore.storage.zarr import ZarrStorage
from tests.makers.buckets import Place
from tests.makers.children import CHILDREN, in_place
from tests.makers.repositories import LATER, A, constants, entry, new_repository, reopened
from tests.proofs import harness, power
from tests.proofs.harness import Helper, expected
from tests.proofs.power import crashes, each_kind, each_pair, report, run, tell
from tests.proofs.simfs import KINDS, command, directory_in_memory, make_stock, start

SOME = ("init", "one type", "shared payload")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stock(tmp_path_factory.mktemp("zarr") / "stock", "zarr")


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    helper = Helper(tmp_path_factory.mktemp("helper") / "files")
    yield helper
    helper.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    with directory_in_memory(tmp_path) as directory:
        yield directory / "world"


# -- on a directory: killed, failing, losing power


def killed(stock: Path, helper: Helper, world: Path, kinds: list[str], both: bool) -> None:
    results = [harness.killed(stock, helper, world, kind, both) for kind in kinds]
    wrong = [line for _, lines in results for line in lines]
    print(f"\nzarr, killed at {sum(points for points, _ in results)} calls: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", SOME)
def test_killed_at_every_call(stock: Path, helper: Helper, world: Path, kind: str) -> None:
    killed(stock, helper, world, [kind], both=False)


@pytest.mark.full
def test_killed_before_and_after_every_call_of_every_kind(stock: Path, helper: Helper, world: Path) -> None:
    killed(stock, helper, world, list(KINDS), both=True)


def failing(stock: Path, world: Path, kind: str, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    expect = expected(stock, kind, world)
    wrong = []
    for call in range(0, expect.calls, step):
        code, for_ever = harness.CODES[call % len(harness.CODES)], call % 2 == 1
        root = start(stock, kind, world)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "system", harness.Failing(call, code, for_ever))
            result = command(KINDS[kind].argv(stock, root))
        if error := harness.violation(stock, kind, root, expect, result):
            wrong.append(f"{code} at call {call}{' and after' if for_ever else ''}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", SOME)
def test_some_calls_fail(stock: Path, world: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(stock, world, kind, monkeypatch, 3)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_fails(stock: Path, world: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(stock, world, kind, monkeypatch, 1)


def test_some_losses_of_power(stock: Path, world: Path) -> None:
    count, violations = run(each_kind(stock, world), 4, random.Random(1), most=9)
    assert not violations, report(count, violations)
    assert count >= 100


@pytest.mark.full
def test_many_losses_of_power(stock: Path, world: Path) -> None:
    count, violations = run(each_kind(stock, world), 60, random.Random(3), most=1000)
    more, others = run(each_pair(stock, world, range(0, 120, 5), (7, 31)), 4, random.Random(4), most=20)
    print(f"\nzarr, power loss: {count + more} states, {len(violations + others)} violations")
    assert not violations + others, report(count + more, violations + others)


MUTANTS: dict[str, dict[str, Any]] = {
    "no fsync of the file": {"file_sync": False},
    "no fsync of the directory": {"directory_sync": False},
    "no fsync on EEXIST of a directory": {"sync_of_existing": False},
    "no fsync on EEXIST of a file": {},
}


@pytest.mark.parametrize(
    "mutant", [pytest.param(name, marks=pytest.mark.full if "EEXIST" in name else ()) for name in MUTANTS]
)
def test_without_a_sync_the_proof_fails(stock: Path, world: Path, mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = ("the same payload", "a new panel directory")
    monkeypatch.setattr(power, "PAIRS", {name: power.PAIRS[name] for name in pairs})
    if not MUTANTS[mutant]:
        monkeypatch.setattr(ZarrStorage, "settle", lambda self, name: None)
        monkeypatch.setattr("jfstore.storage.directory.Directory.settle", lambda self, name: None)
    alone = tell(stock, world, "new panel", "new panel", **MUTANTS[mutant])
    assert alone
    calls = [operation[0] for operation in alone.operations]
    links = [number for number, call in enumerate(calls) if call == "link"]
    # The last object in the directory of an array: the second writer makes none in it that would be synced.
    steps = [links[-3] + 1, calls.index("make_directory") + 1] if "EEXIST" in mutant else []
    for story in (alone, *each_pair(stock, world, steps, **MUTANTS[mutant])):
        for step, tree in crashes(story, 8, random.Random(5)):
            if power.violation(story, step, tree):
                return
    pytest.fail("the proof is too weak: nothing was violated")


# -- anywhere: killed at random


def add_for_ever(url: str, first: int, said: Any) -> None:
    repository = jfstore.open(url)
    for seed in range(first, first + 1000):
        added = repository.add_entries([entry(A, seed=seed)], str(seed))
        said.send((added.seq, seed))


def kill_at_random(place: Place, times: int) -> None:
    repository = new_repository(place.url, storage=place.storage)
    chance = random.Random(7)
    acknowledged: dict[int, int] = {}
    for number in range(times):
        ours, theirs = CHILDREN.Pipe(duplex=False)
        arguments = (place.environment, add_for_ever, place.url, 1000 * (number + 1), theirs)
        child = CHILDREN.Process(target=in_place, args=arguments)
        child.start()
        theirs.close()
        assert ours.poll(30)
        time.sleep(chance.uniform(0, 0.3))
        child.kill()
        child.join()
        try:
            while True:
                seq, seed = ours.recv()
                acknowledged[seq] = seed
        except EOFError:
            pass
        again = reopened(repository)
        history = again.history()
        assert all(history[seq - 1].message == str(seed) for seq, seed in acknowledged.items()), "a commit is lost"
        assert len(history) <= len(acknowledged) + number + 1, "more than what was under way"
        last = again.versions()[-1]
        assert again.get(A, "pixel_gain", LATER).tobytes() == constants(int(history[-1].message)).tobytes()
        assert (last.seq, last.number) == (len(history), len(history)), "a number is missing"
    assert all(problem.file == "index" for problem in verify(again).problems)
    added = again.add_entries([entry(A, seed=1)], "the next")
    assert added.seq == len(history) + 1
    assert verify(reopened(again)).problems == ()
    print(f"\n{place.url}: killed {times} times, {len(acknowledged)} acknowledged, {len(history)} there, none lost")


def test_killed_at_random(place: Place) -> None:
    kill_at_random(place, 3)


@pytest.mark.full
def test_killed_fifty_times_at_random(place: Place) -> None:
    kill_at_random(place, 50)
