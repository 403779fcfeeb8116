"""Mirror a repository in another storage: the same log, commit by commit, with the arrays stored there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jfstore.core.arrays import CalibArray
from jfstore.core.encoding import decode_identity, with_files, with_storage
from jfstore.core.records import NO_FILE, Commit, Identity, StoredFile, Version
from jfstore.core.table import Table
from jfstore.errors import Damaged, Refused
from jfstore.repository.catalogue import mirror_storage, open_repository
from jfstore.repository.commits import IDENTITY_NAME, commit_name, read_commit
from jfstore.repository.making import open_storage, read_identity
from jfstore.repository.reading import ReadableRepository
from jfstore.repository.repository import Repository
from jfstore.storage.base import Storage

_SAVE_EVERY = 500


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What `mirror` did: the copy, the number of commits that were new to it, and its last commit."""

    copy: Repository
    new: int
    seq: int


def mirror(
    source: Repository | str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    storage: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Mirrored:
    """Copy a repository to another place, or bring the copy there up to date; it may be interrupted and repeated.

    Parameters
    ----------
    source : Repository, or its name, path or URL
        The repository to copy.
    target : str or path
        Name, path or URL of the copy.
    storage : str, optional
        ``hdf5`` or ``zarr``, for a new copy; default hdf5, at a URL zarr.
    progress : callable
        Called with the number of commits copied and their total.

    Raises
    ------
    Refused
        If `target` is the repository itself, holds another one, or is not a mirror.
    Damaged
        If what is to be copied, or what the copy has already, is not what was written.
    """
    source = source if isinstance(source, Repository) else open_repository(source)
    return copy_commits(source, mirror_storage(os.fspath(target), source, storage), progress)


def copy_commits(
    source: Repository, target: Storage, progress: Callable[[int, int], None] = lambda done, total: None
) -> Mirrored:
    """Copy every commit of `source` that `target` does not have yet, with its arrays.

    Raises
    ------
    Refused
        If `target` holds another repository, one that is not a mirror, or commits that are not in the chain of
        `source`.
    Damaged
        If what is to be copied, or what the copy has already, is not what was written.
    """
    if address(source.storage) == address(target):
        raise Refused(f"source and copy are the same repository, {target.location}")
    copy = _open_copy(source, target)
    table, have = source.log.table(), copy.log.table()
    if not table.continues(have):
        raise Refused(
            f"{target.location}: its last commit, {have.seq} ({have.head[:12]}), is not in the log of "
            f"{source.storage.location}"
        )
    there = dict(zip((v.file.path for v in table.version_list()), (v.file for v in have.version_list()), strict=False))
    there.pop(NO_FILE.path, None)
    for seq in range(have.seq + 1, table.seq + 1):
        progress(seq - 1, table.seq)
        commit, raw = sound_commit(source, table, seq)
        for version in commit.stored:
            if version.file.path not in there:
                there[version.file.path] = copy_version(source, version, target)
        _publish(target, seq, with_files(raw, [there[version.file.path] for version in commit.stored]))
        if seq % _SAVE_EVERY == 0:
            copy.log.save_index()
    progress(table.seq, table.seq)
    if table.seq > have.seq:
        copy.log.save_index()
    return Mirrored(copy, table.seq - have.seq, table.seq)


def _open_copy(source: Repository, target: Storage) -> Repository:
    """Return the copy in `target`, begun if there is nothing."""
    try:
        identity = read_identity(target)
    except Refused:
        if wrong := target.in_the_way():
            raise Refused(wrong) from None
        raw = identity_for(source, target, address(source.storage))
        target.prepare()
        target.publish(IDENTITY_NAME, raw)
        identity = decode_identity(raw, f"{target.location}/{IDENTITY_NAME}")
    if not are_copies(identity, source.identity):
        raise Refused(f"{target.location} is not a copy of {source.storage.location}: it is repository {identity.id}")
    if identity.mirror_of is None:
        raise Refused(f"{target.location} is not a mirror but an independent repository; nothing was changed")
    copy = Repository(target, identity)
    copy.log.make_sure()
    return copy


def address(storage: Storage) -> str:
    """Return where a storage is, from wherever one asks."""
    return storage.location if "://" in storage.location else os.path.abspath(storage.location)


def are_copies(one: Identity, other: Identity) -> bool:
    """Return whether two repositories are copies of one."""
    return (one.id, one.hash) == (other.id, other.hash)


def identity_for(source: Repository, target: Storage, mirror_of: str | None) -> bytes:
    """Return the bytes of ``repository.json`` of a copy of `source` in `target`, a mirror if `mirror_of` is given."""
    more: dict[str, Any] = {} if mirror_of is None else {"mirror_of": mirror_of}
    if source.identity.detached_from is not None:
        more |= {"id": source.identity.id, "detached_from": source.identity.detached_from}
    return with_storage(source.storage.read(IDENTITY_NAME), target.kind, **more)


def sound_commit(repository: ReadableRepository, table: Table, seq: int) -> tuple[Commit, bytes]:
    """Return commit `seq` and its bytes, if it is the one that `table` knows; else Damaged."""
    name = commit_name(seq)
    where = f"{repository.storage.location}/{name}"
    try:
        commit, raw = read_commit(repository.storage, seq), repository.storage.read(name)
    except FileNotFoundError:
        raise Damaged(f"{where} is missing") from None
    if commit.hash != table.summary(seq).hash:
        raise Damaged(f"{where} is not the commit that the index says")
    return commit, raw


def arrays_of(source: Repository, version: Version) -> dict[str, CalibArray]:
    """Return the arrays of a version by calibration type, verified."""
    return {array.type: source.panel_array(version, array.type) for array in version.arrays}


def copy_version(
    source: Repository, version: Version, target: Storage, mend: bool = False, like: StoredFile | None = None
) -> StoredFile:
    """Store the arrays of a version in `target`, under the name that adding it there gives; see `Storage.store`."""
    _, panel, name = version.file.path.split("/")[:3]
    arrays = {name: array.copy() for name, array in arrays_of(source, version).items()}
    return target.store(panel, name[:14], arrays, mend, like)


def _publish(target: Storage, seq: int, raw: bytes) -> None:
    try:
        target.publish(commit_name(seq), raw)
    except FileExistsError:
        if target.read(commit_name(seq)) != raw:
            raise Refused(f"{target.location}: something else has written commit {seq} meanwhile") from None
        target.settle(commit_name(seq))


def detach(copy: Repository) -> Repository:
    """Make a mirror a repository of its own, with a new id; where it comes from is in its ``repository.json``.

    Raises
    ------
    Refused
        If it is not a mirror.
    Damaged
        If its log cannot be read to its end.
    """
    storage, identity = copy.storage, copy.identity
    if identity.mirror_of is None:
        raise Refused(f"{storage.location} is not a mirror")
    table = copy.log.table()
    origin = {"repository": identity.id, "seq": table.seq, "commit": table.head}
    raw = with_storage(storage.read(IDENTITY_NAME), storage.kind, id=str(uuid.uuid4()), detached_from=origin)
    # The index says whose it is: without a sound one the log is read, whichever id there is.
    storage.objects.replace(storage.index_name, [b""])
    storage.objects.replace(IDENTITY_NAME, [raw])
    own = open_storage(storage)
    own.rebuild_index()
    return own
