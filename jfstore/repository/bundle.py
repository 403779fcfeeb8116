"""Write an answer to a bundle, one HDF5 file from which its lock is replayed without a repository, and read it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.encoding import decode_commit, decode_identity
from jfstore.core.explaining import find_withdrawals
from jfstore.core.hashing import digest
from jfstore.core.instants import find_zone
from jfstore.core.lock import LOCK_LIMIT, Lock, decode_lock
from jfstore.core.records import Commit, Identity, Withdrawal
from jfstore.core.slabs import detector_shape, panel_of, slab_buffers
from jfstore.dcs.hdf5 import Dataset, Tree, read_array, read_tree
from jfstore.errors import BadValue, Damaged, Refused
from jfstore.formats.bundle import BUNDLE_FORMAT, DATA, ENTRY, FORMAT, IDENTITY, LOCK, LOG, PANELS, make_bundle
from jfstore.fs.files import open_regular, user_errors
from jfstore.fs.output_file import publish_file
from jfstore.repository.answer import Answer
from jfstore.repository.commits import IDENTITY_NAME, commit_name
from jfstore.repository.locking import (
    check_identity,
    check_versions,
    make_answer,
    note_withdrawal,
    select_locked_types,
)

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository

_COMMIT_LIMIT = 1 << 26
_KIND = "a bundle"


@dataclass(frozen=True, slots=True)
class ExportedBundle:
    """What was written to a bundle: its path, the lock in it, and what the user should know."""

    path: str
    lock: Lock
    notes: tuple[str, ...]


def export_bundle(
    repository: ReadableRepository,
    answer: Answer | Lock | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    replace: bool = False,
) -> ExportedBundle:
    """Write an answer to a bundle; see `Repository.export_bundle`."""
    file = os.fspath(path)
    if os.path.lexists(file) and not replace:
        raise Refused(f"{file} exists; --force replaces it")
    found = repository.replay(answer.lock() if isinstance(answer, Answer) else answer)
    lock = found.lock()
    table = repository.log.table(lock.seq)
    withdrawn = find_withdrawals(table, table.seq)
    told = {withdrawn[locked.version] for locked in lock.arrays if locked.version in withdrawn}
    texts = {LOCK: lock.text.encode(), IDENTITY: repository.storage.read(IDENTITY_NAME)}
    texts |= {commit_name(seq): repository.storage.read(commit_name(seq)) for seq in sorted({*lock.commits, *told})}
    pieces = make_bundle({name: found[name] for name in found}, texts, lock.panels)
    publish_file(file, pieces, replace=replace, hint="; --force replaces it")
    return ExportedBundle(file, lock, found.notes)


class Bundle:
    """An open bundle: a file with an answer, from which its lock is replayed.

    Nothing but the lock proves a bundle: compare it with a lock file of your own, or with the repository.

    Parameters
    ----------
    path : path
        The file; its structure is read at once, the arrays when they are needed.

    Attributes
    ----------
    location : str
        The path.
    lock : Lock
        The lock in it.
    identity : Identity
        The repository that the answer is from.

    Raises
    ------
    BadValue
        If the file does not exist or is not a bundle.
    Refused
        If a newer jfstore wrote it.
    Damaged
        If it is not what was written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location = os.fspath(path)
        with self._open() as fd:
            tree = read_tree(fd, self.location, _KIND, has_attributes=True)
            self._check_format(fd, tree)
            self.lock = decode_lock(self._read_text(fd, tree, LOCK, LOCK_LIMIT), f"{self.location}: {LOCK}")
            raw = self._read_text(fd, tree, IDENTITY, LOCK_LIMIT)
            self.identity: Identity = decode_identity(raw, f"{self.location}: {IDENTITY}")
            self._commits = self._read_commits(fd, tree)
        self._data = self._find_arrays(tree)

    def __repr__(self) -> str:
        return f"<jfstore bundle {self.location}: {', '.join(self.lock.types)} of {self.label}>"

    @property
    def id(self) -> str:
        """The UUID of the repository that the answer is from."""
        return self.identity.id

    @property
    def role(self) -> str:
        """The role of that repository, ``test`` or ``real``."""
        return self.identity.role

    @property
    def panel_shape(self) -> tuple[int, int, int]:
        """(gain, row, column) of a panel."""
        return self.identity.panel_shape

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which stamps are written."""
        return find_zone(self.identity.zone)

    @property
    def label(self) -> str:
        """The bundle and its repository, for people."""
        return f"the {self.role} repository {self.id}, from {self.location}"

    def replay(self, lock: Lock | None = None, types: Sequence[str] | str | None = None) -> Answer:
        """Return the answer in the bundle, or the part of it that a lock pins.

        Parameters
        ----------
        lock : Lock, optional
            That of the bundle, perhaps with fewer types; default that of the bundle.
        types : sequence of str, optional
            Only these calibration types of the lock; default all.

        Raises
        ------
        Refused
            If the lock is another one than that of the bundle.
        Damaged
            If the commits or arrays in the bundle are not those of the lock.
        """
        lock = select_locked_types(self.lock if lock is None else lock, types)
        check_identity(lock, self.identity, self.location)
        if not {*lock.types} <= {*self.lock.types} or self.lock.select_types(lock.types) != lock:
            raise Refused(f"{self.location} is the bundle of another lock than this one")
        versions = check_versions(lock, lambda numbers: [self._commits[seq] for seq in numbers], self.location)
        return make_answer(lock, versions, self.zone, self, self._note_withdrawn(lock))

    def read(
        self, answer: Answer, type: str, *, verify: bool = True, writable: bool = False, copy: bool = False
    ) -> CalibArray:
        """Return the array of one calibration type, of shape (gain, panel, row, column); always verified, a copy."""
        with self._open() as fd:
            array = read_array(fd, self._data[type], self.location)
        for number, locked in enumerate(answer.lock().of(type)):
            if digest(*slab_buffers(panel_of(array, number))) != locked.array.blake3:
                raise Damaged(f"{self.location} is damaged: its {type} of {locked.panel} does not match its hash")
        array.flags.writeable = writable
        return array

    @contextmanager
    def _open(self) -> Iterator[int]:
        with user_errors(Path(self.location)):
            fd = open_regular(self.location, follow=True)
        try:
            yield fd
        finally:
            os.close(fd)

    def _check_format(self, fd: int, tree: Tree) -> None:
        number = tree.get(FORMAT)
        if not isinstance(number, Dataset) or (number.dtype, number.shape) != ("<i8", ()):
            raise BadValue(f"{self.location} is not a bundle of jfstore: it has no number {FORMAT}")
        found = int(read_array(fd, number, self.location))
        if found > BUNDLE_FORMAT:
            raise Refused(f"{self.location} was made by a newer jfstore (format {found})")
        if found != BUNDLE_FORMAT:
            self._fail(f"its format is {found}")
        if other := tree.keys() ^ {FORMAT, LOCK, IDENTITY, LOG, ENTRY}:
            self._fail(f"{min(other)} is missing, or is not part of a bundle")

    def _read_text(self, fd: int, tree: Tree, name: str, limit: int) -> bytes:
        dataset = tree.get(name)
        if not isinstance(dataset, Dataset) or not dataset.dtype.startswith("|S") or dataset.shape != ():
            self._fail(f"{name} is not a text")
        if dataset.nbytes > limit:
            self._fail(f"{name} has {dataset.nbytes} bytes, more than the {limit} that it may have")
        return bytes(read_array(fd, dataset, self.location)[()])

    def _read_commits(self, fd: int, tree: Tree) -> dict[int, Commit]:
        """Return the commits by number: those of the lock, and those that withdrew its versions."""
        log = tree[LOG]
        if isinstance(log, Dataset):
            self._fail(f"{LOG} is not a group")
        commits: dict[int, Commit] = {}
        for name in log:
            raw = self._read_text(fd, log, name, _COMMIT_LIMIT)
            commit = decode_commit(raw, f"{self.location}: {LOG}/{name}")
            if f"{LOG}/{name}" != commit_name(commit.seq):
                self._fail(f"{LOG}/{name} is commit {commit.seq}")
            commits[commit.seq] = commit
        for seq in sorted(self.lock.commits.keys() - commits.keys()):
            self._fail(f"{commit_name(seq)} is missing")
        for seq in commits.keys() - self.lock.commits.keys():
            if commits[seq].op != "withdraw":
                self._fail(f"{commit_name(seq)} is not part of the bundle")
        return commits

    def _find_arrays(self, tree: Tree) -> dict[str, Dataset]:
        """Return the dataset of each calibration type of the lock."""
        entry = tree[ENTRY]
        if isinstance(entry, Dataset) or entry.keys() != {PANELS, *self.lock.types}:
            self._fail(f"{ENTRY} does not hold the calibration types of the lock")
        found = {}
        for name in self.lock.types:
            group, array = entry[name], self.lock.of(name)[0].array
            data = None if isinstance(group, Dataset) else group.get(DATA)
            shape = detector_shape(array.shape, len(self.lock.panels))
            if not isinstance(data, Dataset) or (np.dtype(data.dtype), data.shape) != (np.dtype(array.dtype), shape):
                self._fail(f"{ENTRY}/{name}/{DATA} is not an array {array.dtype} of shape {shape}, as the lock says")
            found[name] = data
        return found

    def _note_withdrawn(self, lock: Lock) -> Iterator[str]:
        """Yield a note for each version that was withdrawn when the bundle was made."""
        for name in dict.fromkeys(locked.version for locked in lock.arrays):
            for commit in self._commits.values():
                said = commit.statement
                if commit.op == "withdraw" and isinstance(said, Withdrawal) and name in said.versions:
                    yield note_withdrawal(name, commit.seq, commit.user, commit.message)

    def _fail(self, what: str) -> NoReturn:
        raise Damaged(f"{self.location} is not a sound bundle: {what}")
