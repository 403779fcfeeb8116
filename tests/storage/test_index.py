"""The index of a repository: what is hashed right but refers to what is not in it, is not believed."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import jfstore
from jfstore.core.hashing import digest
from jfstore.core.segment import LAYOUT, Columns, make_segment
from jfstore.core.table import Table
from jfstore.repository import log
from jfstore.repository.commits import read_commit
from jfstore.repository.verify import verify
from jfstore.storage import index, segment_file
from jfstore.storage.base import SavedIndex
from jfstore.storage.segment_file import FileSegment
from tests.makers.many import PANELS as PANELS_OF_MANY
from tests.makers.many import repository_of
from tests.makers.repositories import LATER, SHAPE, A, B, C, D, entry, new_repository, reopened, story
from tests.makers.tables import change_columns, columns_of

PANELS = [A, B, C, D]
Change = Callable[[dict[str, Columns]], None]


def set_last(name: str, field: str | None, limit: Callable[[dict[str, Columns]], int]) -> Change:
    """Return what sets the last value of a column to one that is just too large."""

    def change(columns: dict[str, Columns]) -> None:
        column = columns[name] if field is None else columns[name][field]
        column[-1] = limit(columns)

    return change


LIES: dict[str, Change] = {
    "a panel": set_last("versions", "panel", lambda c: len(c["panels"])),
    "a file": set_last("versions", "file", lambda c: len(c["files"])),
    "a commit": set_last("versions", "seq", lambda c: len(c["commits"]) + 1),
    "the file of an array": set_last("arrays", "file", lambda c: len(c["files"])),
    "the kind of an array": set_last("arrays", "kind", lambda _: 2),
    "the arrays of a file": set_last("files", "arrays", lambda c: len(c["arrays"]) + 1),
    "a text": set_last("commits", "length", lambda c: len(c["text"]) + 1),
    "the rows of a panel": set_last("starts", None, lambda c: len(c["versions"]) + 1),
    "a content": set_last("contents", "row", lambda c: len(c["arrays"])),
    "a request": set_last("requests", "row", lambda c: len(c["commits"])),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> jfstore.Repository:
    return story(tmp_path_factory.mktemp("index") / "R")


def come_back(repository: jfstore.Repository, table: Table) -> SavedIndex | None:
    storage = repository.storage
    index.save(storage.objects, storage.index_name, index.prepare(repository.identity, table, None, b""))
    return storage.load_index()


def test_index_as_written_is_read(repository: jfstore.Repository) -> None:
    table = repository.log.table()
    saved = come_back(repository, table)
    assert saved is not None
    assert saved.table.version_list() == table.version_list()


@pytest.mark.parametrize("what", LIES)
def test_index_that_refers_past_its_end_is_not_believed(repository: jfstore.Repository, what: str) -> None:
    assert come_back(repository, change_columns(repository.log.table(), LIES[what])) is None


def test_index_that_refers_to_commit_0_is_not_believed(repository: jfstore.Repository) -> None:
    def change(columns: dict[str, Columns]) -> None:
        columns["versions"]["seq"][0] = 0

    assert come_back(repository, change_columns(repository.log.table(), change)) is None


def test_index_whose_panels_are_out_of_order_is_not_believed(repository: jfstore.Repository) -> None:
    def change(columns: dict[str, Columns]) -> None:
        columns["starts"] = np.array(columns["starts"][::-1])

    assert len(set(columns_of(repository.log.table())["starts"].tolist())) > 1
    assert come_back(repository, change_columns(repository.log.table(), change)) is None


# -- segments in files of their own


@pytest.fixture
def spilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jfstore.Repository:
    """A repository whose index has several segment files."""
    monkeypatch.setattr(index, "SPILL", 2500)
    repository = story(tmp_path / "R")
    for seed in range(9, 40):
        repository.add_entries([entry(PANELS[seed % 4], f"{1990 + seed}0101000000", seed=seed)], f"seed {seed}")
    return repository


def segment_files(repository: jfstore.Repository) -> list[Path]:
    return sorted(Path(repository.location, "index").iterdir())


def test_segments_become_files_few_of_them_and_none_is_left_over(spilt: jfstore.Repository) -> None:
    saved = spilt.storage.load_index()
    assert saved is not None
    live = [segment.name for segment in saved.table.segments if isinstance(segment, FileSegment)]
    assert 1 <= len(live) <= 6
    there = {f"index/{path.name}" for path in segment_files(spilt)}
    assert there == {*live, *saved.superseded}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_KEPT_FOR", 0)
        spilt.add_entries([entry(A, "20600101000000", seed=50)], "an hour later")
    saved = spilt.storage.load_index()
    assert saved is not None
    assert {f"index/{path.name}" for path in segment_files(spilt)} == {*saved.segment_names}
    assert saved.table.version_list() == spilt.log.table().version_list()
    assert verify(reopened(spilt)).problems == ()


def test_what_an_index_names_is_there_for_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader opens the files that an index names after it has read it, and a slow writer may name them again."""
    monkeypatch.setattr(index, "SPILL", 2500)
    repository, before, replaced = new_repository(tmp_path / "R"), set[str](), 0
    for seed in range(25):
        repository.add_entries([entry(PANELS[seed % 4], f"{1990 + seed}0101000000", seed=seed)], f"seed {seed}")
        there = {f"index/{path.name}" for path in Path(repository.location).glob("index/*")}
        assert before <= there
        saved = repository.storage.load_index()
        assert saved is not None
        replaced += bool(before - {*saved.segment_names})
        before = {*saved.segment_names}
    assert replaced >= 2


def test_a_merged_segment_is_the_one_that_the_log_makes(spilt: jfstore.Repository) -> None:
    saved = spilt.storage.load_index()
    assert saved is not None
    for segment in saved.table.segments:
        made = make_segment([read_commit(spilt.storage, seq) for seq in range(segment.first, segment.last + 1)])
        assert segment.kinds == made.kinds
        for name in LAYOUT:
            assert segment.column(name).tobytes() == made.column(name).tobytes(), name


def forged(data: bytes) -> bytes:
    """Return a segment file of one block with another byte in it, and the hash of that block."""
    assert len(data) < 1 << 16
    columns = data[:77] + bytes([data[77] ^ 1]) + data[78:-32]
    return columns + bytes.fromhex(digest(columns))


@pytest.mark.parametrize("way", ["lost", "cut off", "a flipped bit", "forged with its hashes", "of another repository"])
def test_a_damaged_segment_file_is_made_again_from_the_log(spilt: jfstore.Repository, way: str, tmp_path: Path) -> None:
    before = spilt.log.table().version_list()
    for path in segment_files(spilt):
        data = path.read_bytes()
        path.unlink()
        if way == "cut off":
            path.write_bytes(data[:-1])
        elif way == "a flipped bit":
            path.write_bytes(data[:77] + bytes([data[77] ^ 1]) + data[78:])
        elif way == "forged with its hashes":
            path.write_bytes(forged(data))
        elif way == "of another repository":
            path.write_bytes(bytes(len(data)))
    again = reopened(spilt)
    assert again.log.table().version_list() == before
    assert again.get(PANELS[0], "pixel_gain", "20300101000000").shape[1] == 1
    assert {problem.file for problem in verify(reopened(spilt)).problems} == {"index"}
    again.add_entries([entry(PANELS[0], "20500101000000", seed=99)], "one more")
    assert len(reopened(spilt).log.table()) == len(before) + 1


def test_a_look_up_reads_few_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_file, "BLOCK", 4096)
    monkeypatch.setattr(index, "SPILL", 100)
    repository_of(tmp_path / "R", 4000, SHAPE, a_commit=500)
    again = jfstore.open(str(tmp_path / "R"))
    again.find(PANELS_OF_MANY[3], "pixel_gain", "20000103000000")
    table = again.log.table()
    (segment,) = [segment for segment in table.segments if isinstance(segment, FileSegment)]
    assert segment.size > 45 * 4096
    assert 0 < len(segment._blocks) <= 8
    assert len(table.version_list()) == 4000


# -- how far the index may be behind


def test_the_index_is_saved_with_every_commit_at_first_and_then_before_it_is_too_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_ALWAYS_INDEXED", 4)
    monkeypatch.setattr(log, "INDEX_LAG", 5)
    repository = new_repository(tmp_path / "R")
    found = []
    for seed in range(1, 20):
        repository.add_entries([entry(A, f"{1980 + seed}0101000000", seed=seed)], "more")
        saved = repository.storage.load_index()
        assert saved is not None
        found.append(seed - saved.table.seq)
        assert len(reopened(repository).log.table()) == seed
    assert found == [0, 0, 0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    with h5py.File(tmp_path / "R/jungfrau.h5") as file:
        assert file.attrs["last_commit"] == 19


def test_another_writer_s_index_is_behind_by_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process adds one commit: none of them has seen the others' lag grow."""
    monkeypatch.setattr(log, "_ALWAYS_INDEXED", 0)
    monkeypatch.setattr(log, "INDEX_LAG", 3)
    repository = new_repository(tmp_path / "R")
    for seed in range(1, 12):
        reopened(repository).add_entries([entry(A, f"{1980 + seed}0101000000", seed=seed)], "more")
        saved = repository.storage.load_index()
        assert seed - (saved.table.seq if saved else 0) < 3


# -- hostile


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_an_index_of_two_gigabytes_of_holes_is_not_read(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = story(tmp_path / "R", storage)
    os.truncate(Path(repository.location, repository.storage.index_name), 2 << 30)
    pread, read = os.pread, 0

    def counted(fd: int, length: int, offset: int) -> bytes:
        nonlocal read
        read += length
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert repository.storage.load_index() is None
    assert read < 1 << 20
    assert reopened(repository).get(A, "pixel_gain", LATER).shape[1] == 1


def test_an_index_cannot_give_out_another_version(repository: jfstore.Repository, tmp_path: Path) -> None:
    """Whoever may write to the root directory can replace the index: its answers are compared with the log."""
    place = tmp_path / "R"
    shutil.copytree(repository.location, place)

    def swap(columns: dict[str, Columns]) -> None:
        columns["versions"]["file"] = columns["versions"]["file"][::-1].copy()

    forged = jfstore.open(str(place))
    table = change_columns(forged.log.table(), swap)
    forged.storage.save_index(forged.identity, table, forged.storage.log_state(), afresh=True)
    with pytest.raises(jfstore.Damaged, match=r"the index of .* contradicts commit"):
        jfstore.open(str(place)).get(A, "pixel_gain", LATER)


def test_a_segment_of_a_writer_that_was_stopped_is_noted_and_cleaned(spilt: jfstore.Repository) -> None:
    before = {path.name for path in segment_files(spilt)}
    orphan = Path(spilt.location, "index", "0000000001-0000000002-0123456789ab")
    orphan.write_bytes(b"x")
    assert ("index/" + orphan.name, "nothing in the log refers to it") in verify(reopened(spilt)).notes
    assert spilt.storage.clean(86400) == []
    os.utime(orphan, (0, 0))
    assert spilt.storage.clean(86400) == [f"index/{orphan.name}"]
    assert {path.name for path in segment_files(spilt)} == before


@pytest.mark.parametrize("name", ["../outside", "repository.json", "log/0000000001.json", "index/../x", "index", ""])
def test_an_index_cannot_have_other_files_removed(repository: jfstore.Repository, tmp_path: Path, name: str) -> None:
    place = tmp_path / "R"
    shutil.copytree(repository.location, place)
    (tmp_path / "outside").write_bytes(b"x")
    path = place / "jungfrau.h5"
    raw = path.read_bytes()
    length = int(raw[-27:-17])
    footer = {**json.loads(raw[-92 - length : -92]), "superseded": {name: 0}}
    line = json.dumps(footer, separators=(",", ":")).encode()
    path.unlink()
    path.write_bytes(raw[: -92 - length] + line + b"%b %010d jfstore-index-2\n" % (digest(line).encode(), len(line)))
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    forged = jfstore.open(str(place))
    assert forged.storage.load_index() is None
    for seed in (7, 8):
        forged.add_entries([entry(A, LATER, seed=seed)], "more")
    assert before <= {file for file in tmp_path.rglob("*") if file.is_file()}


def test_a_repository_that_is_dropped_closes_its_files(spilt: jfstore.Repository) -> None:
    gc.disable()  # nothing may depend on when cycles are collected
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            again = reopened(spilt)
            again.get(A, "pixel_gain", "20600101000000")
            del again
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
