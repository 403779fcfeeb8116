"""Views that are behind: a client that does not see a name yet waits for it, and never calls it damage."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import jfstore
from jfstore.fs import durable
from jfstore.repository import Repository, commits
from jfstore.repository.verify import verify
from jfstore.storage.directory import Directory
from tests.makers.repositories import LATER, STORY, A, B, constants, entry, reopened, seeds_of, story
from tests.makers.tables import table_until


class Behind:
    """Hides a commit for some time, as a client does that has cached that the name does not exist."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seq: int, seconds: float, is_listed: bool) -> None:
        self.until = time.monotonic() + seconds
        name, read, names = f"log/{seq:010d}.json", Directory.read, Directory.names

        def read_late(directory: Directory, asked: str, limit: int) -> bytes:
            if asked == name and time.monotonic() < self.until:
                raise FileNotFoundError(2, "No such file or directory", asked)
            return read(directory, asked, limit)

        def names_late(directory: Directory, folder: str, after: str = "") -> list[str]:
            found = names(directory, folder, after)
            is_hidden = not is_listed and time.monotonic() < self.until
            return [one for one in found if not (is_hidden and f"{folder}/{one}" == name)]

        monkeypatch.setattr(Directory, "read", read_late)
        monkeypatch.setattr(Directory, "names", names_late)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(commits, "VIEW_WAIT", 1.0)
    return story(tmp_path / "R")


@pytest.mark.parametrize("is_listed", [True, False])
def test_reader_and_writer_wait_for_a_commit_that_the_index_has(
    repository: Repository, is_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Behind(monkeypatch, 4, 0.3, is_listed)
    assert seeds_of(reopened(repository)) == STORY[4]
    Behind(monkeypatch, 4, 0.3, is_listed)
    assert reopened(repository).add_entries([entry(B, LATER, seed=9)], "more").seq == 5


def test_reader_waits_for_a_commit_in_front_of_others(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(repository.location, "jungfrau.h5").unlink()
    Behind(monkeypatch, 2, 0.3, is_listed=True)
    assert seeds_of(reopened(repository)) == STORY[4]


def test_a_view_that_stays_behind_is_busy_and_not_damaged(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    Behind(monkeypatch, 4, 60, is_listed=False)
    for ask in (
        lambda: reopened(repository).get(A, "pixel_gain", LATER),
        lambda: reopened(repository).add_entries([entry(B, LATER, seed=9)], "more"),
    ):
        with pytest.raises(jfstore.Busy, match="view of the file system is old; try again in a minute"):
            ask()
    report = verify(reopened(repository))
    assert report.exit_code == 6
    assert {problem.file for problem in report.problems} == {"log/0000000004.json", "index"}


def test_an_open_repository_sees_a_commit_after_a_long_quiet_time(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing changes in the log, the next name is not asked for: a client would remember that it is missing."""
    from jfstore.repository import log

    monkeypatch.setattr(log, "_COARSEST_TIME", 0.0)
    reader = reopened(repository)
    for _ in range(3):
        assert seeds_of(reader) == STORY[4]
    asked: list[str] = []
    read = Directory.read

    def observed(directory: Directory, name: str, limit: int) -> bytes:
        asked.append(name)
        return read(directory, name, limit)

    monkeypatch.setattr(Directory, "read", observed)
    reader.get(A, "pixel_gain", LATER)
    assert "log/0000000005.json" not in asked
    time.sleep(0.02)
    repository.add_entries([entry(A, seed=8)], "more")
    assert reader.get(A, "pixel_gain", LATER).tobytes() == constants(8).tobytes()


def test_a_writer_stages_again_what_a_cleaner_took_away(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = durable.System.link
    taken: list[Path] = []

    def late(system: durable.System, source: Path, target: Path) -> None:
        if target.parent.name == "log" and not taken:
            taken.append(source)
            source.unlink()
        link(system, source, target)

    monkeypatch.setattr(durable.System, "link", late)
    assert repository.add_entries([entry(B, LATER, seed=9)], "more").seq == 5
    assert len(taken) == 1
    assert verify(reopened(repository)).problems == ()


def test_clean_goes_by_the_clock_of_the_file_system(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(repository.location, "log", ".tmp-1-abc")
    path.write_bytes(b"")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3 * 86400)
    assert repository.storage.clean(86400) == []
    os.utime(path, (now() - 2 * 86400,) * 2)
    assert repository.storage.clean(86400) == ["log/.tmp-1-abc"]


def test_a_fifo_in_place_of_the_lock_does_not_stop_writers(repository: Repository) -> None:
    lock = Path(repository.location, ".lock")
    lock.unlink()
    os.mkfifo(lock, 0o444)
    assert repository.add_entries([entry(B, LATER, seed=9)], "more").seq == 5


@pytest.mark.parametrize("seq", [2, 3])
def test_a_gap_in_a_large_log_is_seen_without_a_list(
    repository: Repository, seq: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "VIEW_WAIT", 0.0)
    monkeypatch.setattr("jfstore.storage.base._LISTED", 0)
    table = table_until(repository, 1)
    repository.storage.save_index(repository.identity, table, "then", afresh=True)
    assert seeds_of(reopened(repository)) == STORY[4]
    listed: list[str] = []
    names = Directory.names

    def observed(directory: Directory, folder: str, after: str = "") -> list[str]:
        listed.append(folder)
        return names(directory, folder, after)

    monkeypatch.setattr(Directory, "names", observed)
    assert seeds_of(reopened(repository)) == STORY[4]
    assert "log" not in listed
    Path(repository.location, f"log/{seq:010d}.json").unlink()
    with pytest.raises(jfstore.Busy, match=f"{seq:010d}.json is missing, and commit 4 exists"):
        reopened(repository).get(A, "pixel_gain", LATER)
