"""What every storage must do: a class of tests against the contract `Storage`, and a Repository on top of it.

A storage is tested by a subclass whose fixture ``reopen`` returns a function; each call of it
returns a new Storage object on one and the same place, which is empty at first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from jfstore.core.hashing import digest
from jfstore.core.records import Array, Identity, StoredFile, Version
from jfstore.core.segment import LAYOUT, merge_segments
from jfstore.core.table import Table
from jfstore.errors import Damaged, Refused
from jfstore.repository import Repository, create, open_storage
from jfstore.repository.assemble import assemble
from jfstore.repository.commits import commit_name
from jfstore.repository.verify import verify
from jfstore.storage.base import Storage
from jfstore.storage.mapped import Slab
from tests.makers.repositories import EARLY, LATER, SHAPE, STAMP, A, B, C, constants, entry
from tests.makers.tables import change_columns, lie_about_numbers, lie_about_the_head

GAIN = constants(1)
OFFSET = constants(1, "pixel_offset")
KINDS = [
    *(("<u8", (3, 4, 8)), ("|u1", (3, 4, 8)), ("<f4", (4, 8)), ("|u1", (4, 8)), ("|u1", (5, 7))),
    *(("<u8", (3, 16, 32)), ("|u1", (64, 64)), ("<u8", (2, 64, 64))),
]
"""Dtypes and shapes of arrays; the slabs of the last ones fill whole pages."""
Reopen = Callable[[], Storage]


def described(name: str, values: np.ndarray) -> Array:
    return Array(name, values.dtype.str, values.shape, digest(values.tobytes()))


def integers(seed: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return whole numbers over the range of `dtype`."""
    most = 255 if dtype == "|u1" else 1 << 62 if dtype == "<u8" else 1 << 24
    values: np.ndarray = np.random.default_rng(seed).integers(0, most, shape).astype(dtype)
    return values


def version_of(storage: Storage, values: np.ndarray) -> Version:
    """Store `values` as the mask of a panel; return its version."""
    file = storage.store(A, STAMP, {"pixel_mask": values})
    return Version(A, STAMP, 0, 1, (described("pixel_mask", values),), file, 1)


def slab_of(slab: Slab) -> tuple[int, int, int]:
    return slab.fd, slab.size, slab.offset


def other_identity(repository: Repository) -> Identity:
    return replace(repository.identity, id="00000000-0000-4000-8000-000000000000")


class StorageSuite:
    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("a subclass gives it")

    @pytest.fixture
    def storage(self, reopen: Reopen) -> Storage:
        storage = reopen()
        storage.prepare()
        return storage

    @pytest.fixture
    def repository(self, reopen: Reopen) -> Repository:
        return create(reopen(), "test", panel_shape=SHAPE)

    # -- files by name

    def test_prepare_can_be_repeated(self, storage: Storage) -> None:
        storage.publish("log/0000000001.json", b"x")
        storage.prepare()
        assert storage.read("log/0000000001.json") == b"x"

    def test_read_of_what_is_not_there(self, storage: Storage) -> None:
        with pytest.raises(FileNotFoundError):
            storage.read("log/0000000001.json")

    @pytest.mark.parametrize("data", [b"", b"x", b"{}\n" * 100_000, bytes(range(256))])
    def test_published_bytes_are_read_by_everybody(self, storage: Storage, reopen: Reopen, data: bytes) -> None:
        storage.publish("repository.json", data)
        assert storage.read("repository.json") == data
        assert reopen().read("repository.json") == data

    def test_a_name_is_given_once(self, storage: Storage, reopen: Reopen) -> None:
        storage.publish("repository.json", b"first")
        with pytest.raises(FileExistsError):
            reopen().publish("repository.json", b"second")
        assert storage.read("repository.json") == b"first"

    def test_what_is_too_much_to_be_read_is_not_published(self, storage: Storage) -> None:
        data = bytes((1 << 26) + 1)
        try:
            storage.publish(commit_name(1), data)
        except Exception:
            assert storage.commits() == []
        else:
            assert storage.read(commit_name(1)) == data

    @pytest.mark.parametrize(
        "name",
        ["", "/etc/passwd", "..", "../x", "log/../x", "log//x", ".x", "log/.x", "log/x\n", "log/\0", "é", "a/" * 9],
    )
    def test_no_name_leads_out(self, storage: Storage, name: str) -> None:
        with pytest.raises(Damaged):
            storage.read(name)
        with pytest.raises(Damaged):
            storage.publish(name, b"x")
        with pytest.raises(Damaged):
            storage.settle(name)

    def test_settle_of_a_published_name(self, storage: Storage) -> None:
        storage.publish(commit_name(1), b"x")
        storage.settle(commit_name(1))

    # -- the log

    def test_commits_are_numbers_in_order(self, storage: Storage) -> None:
        assert storage.commits() == []
        for seq in (2, 10, 1):
            storage.publish(commit_name(seq), b"x")
        storage.publish("log/foreign.json", b"x")
        assert storage.commits() == [1, 2, 10]
        for after, later in ((1, [2, 10]), (2, [10]), (3, [10]), (10, []), (11, [])):
            assert storage.commits(after) == later

    def test_log_state_changes_with_the_log_only(self, storage: Storage, reopen: Reopen) -> None:
        before = storage.log_state()
        if before is None:
            return  # it is not cheap here, so that the log is listed
        assert reopen().log_state() == before
        storage.store(A, STAMP, {"pixel_gain": GAIN})
        assert storage.log_state() == before
        storage.publish(commit_name(1), b"x")
        assert storage.log_state() != before

    def test_lock_can_be_had_again_and_again(self, storage: Storage, reopen: Reopen) -> None:
        for each in (storage, reopen(), storage):
            with each.lock() as had:
                assert had in (True, False, None)

    # -- arrays

    def test_arrays_come_back_bit_for_bit(self, storage: Storage, reopen: Reopen) -> None:
        odd = OFFSET.copy()
        odd.reshape(-1)[:4] = [-0.0, np.float32(1e-45), np.finfo("f4").max, np.finfo("f4").min]
        file = storage.store(A, STAMP, {"pixel_gain": GAIN, "pixel_offset": odd})
        for name, values in (("pixel_gain", GAIN), ("pixel_offset", odd)):
            out = np.empty(SHAPE, "f4")
            reopen().load(file, described(name, values), out)
            assert out.tobytes() == values.tobytes()

    def test_arrays_are_read_into_a_place_between_others(self, storage: Storage) -> None:
        file = storage.store(A, STAMP, {"pixel_gain": GAIN})
        out = np.zeros((SHAPE[0], 3, *SHAPE[1:]), "f4")
        storage.load(file, described("pixel_gain", GAIN), out[:, 1])
        assert np.array_equal(out[:, 1], GAIN)
        assert not out[:, ::2].any()

    @pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 5, 7), (3, 16, 32), (2, 100, 100)])
    def test_panels_of_any_shape(self, storage: Storage, shape: tuple[int, int, int]) -> None:
        values = {name: constants(1, name, shape) for name in ("pixel_gain", "pixel_offset")}
        file = storage.store(A, STAMP, values)
        for name, array in values.items():
            out = np.empty(shape, "f4")
            storage.load(file, described(name, array), out)
            assert out.tobytes() == array.tobytes()

    @pytest.mark.parametrize(("dtype", "shape"), KINDS)
    def test_arrays_of_any_kind_come_back(
        self, storage: Storage, reopen: Reopen, dtype: str, shape: tuple[int, ...]
    ) -> None:
        values = {"pixel_gain": GAIN, "pixel_mask": integers(1, dtype, shape)}
        file = storage.store(A, STAMP, values)
        arrays = [described(name, array) for name, array in values.items()]
        assert storage.check(file, arrays, quick=False) is None
        assert storage.check(file, [arrays[0], described("pixel_mask", integers(2, dtype, shape))], quick=False)
        out = np.empty(shape, dtype)
        reopen().load(file, arrays[1], out)
        assert out.tobytes() == values["pixel_mask"].tobytes()

    @pytest.mark.parametrize("options", [{}, {"copy": True}, {"writable": True}, {"verify": False}])
    @pytest.mark.parametrize(("dtype", "shape"), KINDS)
    def test_panels_of_any_kind_are_assembled(
        self, storage: Storage, dtype: str, shape: tuple[int, ...], options: dict[str, bool]
    ) -> None:
        values = [integers(seed, dtype, shape) for seed in range(3)]
        versions = [version_of(storage, array) for array in values]
        array = assemble(storage, versions, "pixel_mask", **options)
        assert array.dtype == np.dtype(dtype)
        assert array.shape == (*shape[:-2], 3, *shape[-2:])
        assert array.tobytes() == np.stack(values, axis=-3).tobytes()
        assert (array.flags.c_contiguous, array.flags.writeable) == (True, options.get("writable", False))

    def test_panels_of_different_kinds_are_not_assembled(self, storage: Storage) -> None:
        versions = [version_of(storage, integers(1, dtype, (4, 8))) for dtype in ("|u1", "<u8")]
        with pytest.raises(Damaged, match="differ in dtype or shape"):
            assemble(storage, versions, "pixel_mask")

    def test_array_of_another_kind_is_verified(self, storage: Storage) -> None:
        version = version_of(storage, integers(1, "|u1", (64, 64)))
        wrong = replace(version, arrays=(described("pixel_mask", integers(2, "|u1", (64, 64))),))
        with pytest.raises(Damaged, match="pixel_mask does not match"):
            assemble(storage, [wrong], "pixel_mask")

    def test_short_reads_are_continued(self, storage: Storage, reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
        # The kernel returns at most 2 GiB from a read, and may return less.
        values = integers(1, "<u8", (3, 16, 32))
        version = version_of(storage, values)
        pread, preadv = os.pread, os.preadv
        monkeypatch.setattr("os.pread", lambda fd, size, offset: pread(fd, min(size, 1000), offset))
        monkeypatch.setattr("os.preadv", lambda fd, buffers, offset: preadv(fd, [buffers[0][:1000]], offset))
        for copy in (True, False):
            array = assemble(reopen(), [version], "pixel_mask", copy=copy)
            assert array.tobytes() == values.tobytes()
        assert reopen().check(version.file, version.arrays, quick=False) is None
        assert reopen().store(A, STAMP, {"pixel_mask": values}) == version.file

    def test_same_arrays_are_the_same_file(self, storage: Storage, reopen: Reopen) -> None:
        both = {"pixel_gain": GAIN, "pixel_offset": OFFSET}
        file = storage.store(A, STAMP, both)
        assert reopen().store(A, STAMP, both) == file
        assert storage.store(A, STAMP, dict(reversed(both.items()))) == file
        assert storage.strays({file.path}) == ([], [])

    def test_bytes_do_not_depend_on_panel_or_stamp(self, storage: Storage) -> None:
        one, other = (storage.store(panel, stamp, {"pixel_gain": GAIN}) for panel, stamp in ((A, STAMP), (B, EARLY)))
        assert (one.blake3, one.size, one.offsets) == (other.blake3, other.size, other.offsets)

    def test_other_types_are_another_file(self, storage: Storage) -> None:
        contents = [{"pixel_gain": GAIN}, {"pixel_offset": GAIN}, {"pixel_gain": GAIN, "pixel_offset": GAIN}]
        assert len({storage.store(A, STAMP, content).path for content in contents}) == 3

    def test_load_of_a_file_that_is_not_there(self, storage: Storage) -> None:
        file = replace(storage.store(A, STAMP, {"pixel_gain": GAIN}), path=f"panels/{A}/{STAMP}-000000000000.h5")
        with pytest.raises(Damaged):
            storage.load(file, described("pixel_gain", GAIN), np.empty(SHAPE, "f4"))
        assert storage.check(file, [described("pixel_gain", GAIN)], quick=True)

    def test_array_that_can_be_mapped_is_at_its_place(self, storage: Storage) -> None:
        file = storage.store(A, STAMP, {"pixel_gain": GAIN, "pixel_offset": OFFSET})
        for name, values in (("pixel_gain", GAIN), ("pixel_offset", OFFSET)):
            if opened := storage.open_mapped(file, described(name, values)):
                try:
                    assert b"".join(os.pread(*slab_of(slab)) for slab in opened) == values.tobytes()
                finally:
                    for fd in {slab.fd for slab in opened}:
                        os.close(fd)

    def test_what_has_another_size_is_not_read(self, storage: Storage) -> None:
        file, array = storage.store(A, STAMP, {"pixel_gain": GAIN}), described("pixel_gain", GAIN)
        for wrong in self.of_another_size(file):
            with pytest.raises(Damaged):
                storage.load(*wrong, np.empty(wrong[1].shape, "f4"))
            with pytest.raises(Damaged):
                assert storage.open_mapped(*wrong) is not None or storage.load(*wrong, np.empty(wrong[1].shape, "f4"))
        storage.load(file, array, np.empty(SHAPE, "f4"))

    def of_another_size(self, file: StoredFile) -> list[tuple[StoredFile, Array]]:
        """Return what a commit could say of a stored file that has another size."""
        array = described("pixel_gain", GAIN)
        return [(replace(file, size=file.size + more), array) for more in (-1, 1)]

    def test_get_verifies_unless_told_otherwise(self, repository: Repository) -> None:
        (version,) = repository.add_entries([entry(A, seed=1, types=["pixel_gain"])], "one").versions
        wrong = replace(version, arrays=(described("pixel_gain", constants(2)),))
        with pytest.raises(Damaged):
            repository.panel_array(wrong, "pixel_gain")
        assert repository.panel_array(wrong, "pixel_gain", verify=False).tobytes() == GAIN.tobytes()

    @pytest.mark.parametrize("quick", [True, False])
    def test_check(self, storage: Storage, quick: bool) -> None:
        file = storage.store(A, STAMP, {"pixel_gain": GAIN})
        assert storage.check(file, [described("pixel_gain", GAIN)], quick) is None
        gain = [described("pixel_gain", GAIN)]
        assert storage.check(replace(file, size=file.size + 1), gain, quick)
        assert bool(storage.check(replace(file, blake3="0" * 64), gain, quick)) is not quick
        assert bool(storage.check(file, [described("pixel_gain", OFFSET)], quick)) is not quick

    # -- the index

    def test_there_is_no_index_at_first(self, storage: Storage) -> None:
        assert storage.load_index() is None

    def test_index_comes_back(self, repository: Repository, reopen: Reopen) -> None:
        for step in ([entry(A, seed=1)], [entry(B, seed=2), entry(C, seed=1)], [entry(A, seed=3)]):
            repository.add_entries(step, "µm — why")
            table, saved = repository.log.table(), reopen().load_index()
            assert saved is not None
            assert (saved.repository, saved.log_state) == (repository.identity.id, repository.storage.log_state())
            one, other = (merge_segments(found.segments) for found in (saved.table, table))
            assert one.kinds == other.kinds
            for name in LAYOUT:
                assert one.column(name).tobytes() == other.column(name).tobytes(), name
            assert reopen().check_index(repository.identity, table) == []

    def test_index_made_afresh_is_the_same(self, repository: Repository) -> None:
        repository.add_entries([entry(A, seed=1)], "one")
        repository.add_entries([entry(B, seed=2)], "two")
        table, storage = repository.log.table(), repository.storage
        storage.save_index(repository.identity, table, storage.log_state(), afresh=True)
        saved = storage.load_index()
        assert saved is not None
        assert saved.table.version_list() == table.version_list()
        assert storage.check_index(repository.identity, table) == []

    def test_older_index_is_sound(self, repository: Repository) -> None:
        repository.add_entries([entry(A, seed=1)], "one")
        old, storage = repository.log.table(), repository.storage
        repository.add_entries([entry(B, seed=2)], "two")
        storage.save_index(repository.identity, old, "then")
        assert storage.check_index(repository.identity, repository.log.table()) == []

    def test_index_that_is_not_of_this_log(self, repository: Repository) -> None:
        storage, empty = repository.storage, Table.empty()
        repository.add_entries([entry(A, seed=1)], "one")
        table = repository.log.table()
        assert storage.check_index(repository.identity, empty), "ahead"
        assert storage.check_index(other_identity(repository), table), "another repository's"
        assert storage.check_index(repository.identity, change_columns(table, lie_about_the_head)), "another head"
        assert storage.check_index(repository.identity, change_columns(table, lie_about_numbers)), "other versions"

    # -- leftovers

    def test_strays_are_what_the_log_does_not_know(self, storage: Storage) -> None:
        assert storage.strays(set()) == ([], [])
        storage.publish(commit_name(1), b"x")
        file = storage.store(A, STAMP, {"pixel_gain": GAIN})
        assert storage.strays({commit_name(1), file.path}) == ([], [])
        assert storage.strays(set()) == ([], sorted([commit_name(1), file.path]))
        assert storage.clean(0) == []
        assert storage.read(commit_name(1)) == b"x"

    # -- a repository on top

    def test_repository_from_nothing(self, reopen: Reopen) -> None:
        with pytest.raises(Refused):
            open_storage(reopen())
        create(reopen(), "real", panel_shape=SHAPE, zone="UTC")
        identity = open_storage(reopen()).identity
        assert (identity.role, identity.panel_shape, identity.zone) == ("real", SHAPE, "UTC")
        with pytest.raises(Refused):
            create(reopen(), "test")
        assert open_storage(reopen()).identity == identity

    def test_repository_gives_what_was_added(self, repository: Repository, reopen: Reopen) -> None:
        reader = open_storage(reopen())
        assert reader.versions() == []
        repository.add_entries([entry(A, seed=1), entry(B, seed=2)], "two panels")
        repository.add_entries([entry(A, seed=3)], "a second number")
        for each in (reader, open_storage(reopen()), repository):
            array = each.get(f"{B}_{A}", "pixel_gain", LATER)
            assert array.tobytes() == np.stack([constants(2), constants(3)], axis=1).tobytes()
            array = each.get(A, "pixel_offset", LATER, as_of=1)
            assert array.tobytes() == constants(1, "pixel_offset").tobytes()

    def test_repository_is_sound(self, repository: Repository, reopen: Reopen) -> None:
        repository.add_entries([entry(A, seed=1), entry(B, seed=1)], "shared")
        repository.add_entries([entry(A, seed=2, types=["pixel_gain"])], "gain only")
        report = verify(open_storage(reopen()))
        assert (report.problems, report.notes) == ((), ())
        assert (report.commits, report.versions, report.files) == (2, 3, 2)

    def test_two_writers_take_turns(self, repository: Repository, reopen: Reopen) -> None:
        other = open_storage(reopen())
        for seed in range(4):
            writer = (repository, other)[seed % 2]
            (version,) = writer.add_entries([entry(A, seed=seed)], "turn").versions
            assert (version.seq, version.number) == (seed + 1, seed + 1)


class ZarrSuite(StorageSuite):
    def of_another_size(self, file: StoredFile) -> list[tuple[StoredFile, Array]]:
        # An object is as long as its array says.
        return [(file, replace(described("pixel_gain", GAIN), shape=shape)) for shape in ((3, 4, 7), (3, 4, 9))]
