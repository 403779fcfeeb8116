"""Writers and readers at once, with the lock and without it: nothing is lost, no number twice, no reader misled."""

from __future__ import annotations

from pathlib import Path

import pytest

import jfstore
from jfstore.repository.verify import verify
from tests.makers.children import CHILDREN
from tests.makers.repositories import STAMP, new_repository
from tests.proofs.racing import look, read, write


def race(root: Path, writers: int, adds: int, readers: int, locks: bool) -> None:
    repository = new_repository(root)
    place = repository.storage.location
    start, stop = CHILDREN.Barrier(writers + readers), CHILDREN.Event()
    written, seen = CHILDREN.Queue(), CHILDREN.Queue()
    writing = [
        CHILDREN.Process(target=write, args=(place, writer, adds, locks, start, written)) for writer in range(writers)
    ]
    reading = [CHILDREN.Process(target=read, args=(place, reader, start, stop, seen)) for reader in range(readers)]
    for child in [*writing, *reading]:
        child.start()
    acknowledged, errors = [], []
    for _ in writing:
        done, error = written.get(timeout=900)
        acknowledged += done
        errors += [error] if error else []
    stop.set()
    looks = [seen.get(timeout=300) for _ in reading]
    for child in [*writing, *reading]:
        child.join(60)
    errors += [error for _, error in looks if error]
    assert not errors
    total = writers * adds
    print(
        f"{len(acknowledged)} of {total} adds acknowledged, lock {'on' if locks else 'a no-op'}; "
        f"{readers} readers looked {sum(count for count, _ in looks)} times"
    )
    assert all(count for count, _ in looks)
    assert sorted(seq for seq, _, _ in acknowledged) == list(range(1, total + 1))
    assert all(seq == number for seq, number, _ in acknowledged)
    for opened in (repository, jfstore.open(place)):
        assert look(opened, 0) == total
        assert [int(summary.message) for summary in opened.history()] == [seed for *_, seed in sorted(acknowledged)]
        assert {version.stamp for version in opened.versions()} == {STAMP}
    report = verify(repository)
    assert (report.problems, report.notes) == ((), ())
    assert (report.commits, report.versions, report.files) == (total, total, total)


@pytest.mark.parametrize("locks", [True, False], ids=["lock", "no lock"])
def test_race(tmp_path: Path, locks: bool) -> None:
    race(tmp_path / "R", writers=4, adds=8, readers=2, locks=locks)


@pytest.mark.full
@pytest.mark.parametrize("locks", [True, False], ids=["lock", "no lock"])
def test_race_of_sixteen_writers(tmp_path: Path, locks: bool) -> None:
    race(tmp_path / "R", writers=16, adds=50, readers=8, locks=locks)
