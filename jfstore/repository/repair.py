"""Restore damaged and missing files of a repository, bit for bit, from a mirror."""

from __future__ import annotations

import os
from collections.abc import Callable

from jfstore.core.encoding import with_files
from jfstore.core.records import Commit, StoredFile, Version
from jfstore.errors import Damaged, JfstoreError, Refused
from jfstore.repository.catalogue import find_broken_storage, open_repository
from jfstore.repository.commits import IDENTITY_NAME, commit_name, read_commit
from jfstore.repository.log import Log
from jfstore.repository.mirror import address, are_copies, copy_version, identity_for, sound_commit
from jfstore.repository.repository import Repository


def repair(
    repository: Repository | str | os.PathLike[str],
    source: Repository | str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Restore every commit and file that is not as it was written, ``repository.json``, and the index.

    Parameters
    ----------
    repository : Repository, or its name, path or URL
        The damaged one. By name, path or URL, if its ``repository.json`` is damaged or missing.
    source : Repository, or its name, path or URL
        A mirror of it, or what it is a mirror of. Commits that it does not have are left as they are.
    progress : callable
        Called with the number of commits checked and their total.

    Returns
    -------
    tuple of str
        The names of what was restored.

    Raises
    ------
    Refused
        If they are not copies of one repository, or their logs part.
    Damaged
        If `source` is damaged as well where it is needed.
    """
    source = source if isinstance(source, Repository) else open_repository(source)
    restored: list[str] = []
    if not isinstance(repository, Repository):
        if broken := find_broken_storage(os.fspath(repository), source):
            # Of two copies one is the mirror of the other.
            mirror_of = address(source.storage) if source.identity.mirror_of is None else None
            broken.objects.replace(IDENTITY_NAME, [identity_for(source, broken, mirror_of)])
            restored.append(IDENTITY_NAME)
        repository = open_repository(repository)
    return (*restored, *_repair_contents(repository, source, progress))


def _repair_contents(repository: Repository, source: Repository, progress: Callable[[int, int], None]) -> list[str]:
    """Restore the commits, files and index of a repository that can be opened; return the names restored."""
    storage = repository.storage
    if address(storage) == address(source.storage):
        raise Refused(f"{storage.location} cannot be repaired from itself: name a copy of it")
    if not are_copies(repository.identity, source.identity):
        raise Refused(f"{source.storage.location} is not a copy of {storage.location}: it is {source.identity.id}")
    table = source.log.table()
    indexed = _index_files(repository)
    restored: list[str] = []
    files: dict[str, StoredFile] = {}
    for seq in range(1, table.seq + 1):
        progress(seq - 1, table.seq)
        commit, raw = sound_commit(source, table, seq)
        own = _own_files(repository, commit)
        known = own or indexed.get(seq)
        for number, version in enumerate(commit.stored):
            path = version.file.path
            if path not in files:
                file = known[number] if known else None
                files[path] = _restore(repository, source, version, file, restored)
        if own is None:
            data = with_files(raw, known or [files[version.file.path] for version in commit.stored])
            storage.objects.replace(commit_name(seq), [data])
            restored.append(commit_name(seq))
    progress(table.seq, table.seq)
    if restored or storage.check_index(repository.identity, Log(storage, repository.identity).table()):
        repository.rebuild_index()
    return restored


def _index_files(repository: Repository) -> dict[int, list[StoredFile]]:
    """Return the files of each commit as a sound index of this repository says them."""
    saved = repository.storage.load_index()
    found: dict[int, list[StoredFile]] = {}
    if saved and saved.repository == repository.identity.id:
        for version in saved.sound_versions() or ():
            if not version.closes:
                found.setdefault(version.seq, []).append(version.file)
    return found


def _own_files(repository: Repository, right: Commit) -> list[StoredFile] | None:
    """Return the files of a commit as it stands in the log, None if it is not what it was."""
    try:
        commit = read_commit(repository.storage, right.seq)
    except (JfstoreError, OSError):
        return None
    if commit.hash == right.hash:
        return [version.file for version in commit.stored]
    if commit.prev == right.prev:
        raise Refused(f"{repository.storage.location}: commit {right.seq} is another one than that of the mirror")
    return None


def _restore(
    repository: Repository, source: Repository, version: Version, file: StoredFile | None, restored: list[str]
) -> StoredFile:
    """Return where the arrays of a version are, once they are what they were."""
    storage = repository.storage
    if file and storage.check(file, version.arrays, quick=False) is None:
        return file
    made = copy_version(source, version, storage, mend=True, like=file or version.file)
    if file and made != file:
        raise Damaged(f"{storage.location}/{file.path} cannot be made again: it would be {made.path}")
    restored.append(made.path)
    return made
