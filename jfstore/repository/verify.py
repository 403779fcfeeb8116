"""Check every file of a repository against its log, and report all problems at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from jfstore.core.records import Commit, Version
from jfstore.core.table import Table
from jfstore.errors import Busy, Damaged, JfstoreError
from jfstore.repository.catalogue import open_repository
from jfstore.repository.commits import IDENTITY_NAME, commit_name, read_commit
from jfstore.repository.making import read_identity
from jfstore.repository.repository import Repository
from jfstore.repository.unimported import find_unimported


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written: what, in which file, and the versions it affects.

    ``may_be_unseen`` is set for what is missing from the log: a client of a network file system may not see it yet.
    """

    file: str
    message: str
    versions: tuple[str, ...] = ()
    may_be_unseen: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found: problems, and notes (file, text) on leftover and DCS files, which do no harm."""

    commits: int
    versions: int
    files: int
    problems: tuple[Problem, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def exit_code(self) -> int:
        """0 if sound, that of Busy if commits are only missing, else that of Damaged."""
        if not self.problems:
            return 0
        return Busy.exit_code if all(problem.may_be_unseen for problem in self.problems) else Damaged.exit_code


def verify(
    repository: Repository | str | os.PathLike[str],
    *,
    quick: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Check every file of a repository against its log.

    Parameters
    ----------
    repository : Repository, or its name, path or URL
        The repository to check.
    quick : bool
        Do not read the arrays: sizes only.
    progress : callable
        Called with the number of payloads checked and their total.

    Returns
    -------
    Report
        Every problem, and notes on leftover files.
    """
    repository = repository if isinstance(repository, Repository) else open_repository(repository)
    storage = repository.storage
    problems = _check_identity(repository)
    try:
        numbers = storage.commits()
    except Damaged as error:
        numbers = []
        problems.append(Problem("log", error.message))
    indexed = _index_versions(repository)
    commits = _check_log(repository, numbers, indexed, problems)
    files: dict[str, list[Version]] = {}
    # What an index still serves is checked, too, where its commit cannot be read any more.
    for seq in sorted(indexed.keys() | commits.keys()):
        for version in commits[seq].versions if seq in commits else indexed[seq]:
            if not version.closes:
                files.setdefault(version.file.path, []).append(version)
    for done, versions in enumerate(files.values()):
        progress(done, len(files))
        if wrong := storage.check(versions[0].file, versions[0].arrays, quick):
            problems.append(Problem(versions[0].file.path, wrong, _names(versions)))
    progress(len(files), len(files))
    is_log_behind = any(problem.may_be_unseen for problem in problems)
    for problem in _check_index(repository, _unbroken(commits), len(numbers)):
        # If the log cannot be seen to its end, an index that is ahead of it may be right.
        problems.append(replace(problem, may_be_unseen=is_log_behind))
    temporary, other = storage.strays(set(files) | {commit_name(n) for n in numbers} | {IDENTITY_NAME})
    notes = [(name, "left by a writer that was stopped; --clean removes it after a day") for name in temporary]
    notes += [(name, "nothing in the log refers to it") for name in other]
    if not problems:  # else the log may not say what was imported
        notes += [(os.path.basename(file.path), str(file)) for file in find_unimported(repository)]
    return Report(len(commits), sum(map(len, files.values())), len(files), tuple(problems), tuple(notes))


def _missing(repository: Repository, seq: int, where: str, versions: tuple[str, ...] = ()) -> Problem:
    """Return the problem that a commit is missing."""
    may_be_unseen = repository.storage.may_be_behind
    hint = ", or not seen from this machine yet: try again in a minute" if may_be_unseen else ""
    return Problem(commit_name(seq), f"{where} is missing{hint}", versions, may_be_unseen)


def _names(versions: list[Version]) -> tuple[str, ...]:
    return tuple(version.name for version in versions)


def _check_identity(repository: Repository) -> list[Problem]:
    try:
        identity = read_identity(repository.storage)
    except JfstoreError as error:
        return [Problem(IDENTITY_NAME, error.message)]
    if (identity, identity.hash) != (repository.identity, repository.identity.hash):
        return [Problem(IDENTITY_NAME, f"{repository.storage.location}/{IDENTITY_NAME} is not what it was when opened")]
    return []


def _check_log(
    repository: Repository, numbers: list[int], indexed: dict[int, list[Version]], problems: list[Problem]
) -> dict[int, Commit]:
    """Return every commit that can be read, by number; what is wrong with the others goes to `problems`."""
    storage = repository.storage
    commits: dict[int, Commit] = {}
    prev: str | None = repository.identity.hash
    before = 0
    for seq in sorted({*numbers, *indexed}):
        where = f"{storage.location}/{commit_name(seq)}"
        affected = _names(indexed.get(seq, []))
        if seq > before + 1:
            gap = (
                commit_name(before + 1) if seq == before + 2 else f"{commit_name(before + 1)} to {commit_name(seq - 1)}"
            )
            problems.append(_missing(repository, before + 1, f"{storage.location}/{gap}"))
            prev = None
        before = seq
        try:
            commit = read_commit(storage, seq)
        except FileNotFoundError:
            problems.append(_missing(repository, seq, where, affected))
            prev = None
            continue
        except JfstoreError as error:
            message = error.message
        except OSError as error:
            message = f"{where}: {error.strerror}"
        else:
            if prev not in (None, commit.prev):
                message = f"{where} does not follow commit {seq - 1}: the chain is broken"
                problems.append(Problem(commit_name(seq), message, _names(list(commit.versions))))
            commits[seq], prev = commit, commit.hash
            continue
        prev = None
        problems.append(Problem(commit_name(seq), message, affected))
    return commits


def _index_versions(repository: Repository) -> dict[int, list[Version]]:
    """Return the versions of each commit as a sound index of this repository says them."""
    saved = repository.storage.load_index()
    if saved is None or saved.repository != repository.identity.id:
        return {}
    known: dict[int, list[Version]] = {seq: [] for seq in range(1, saved.table.seq + 1)}
    for version in saved.sound_versions() or ():
        known.setdefault(version.seq, []).append(version)
    return known


def _check_index(repository: Repository, sound: list[Commit], count: int) -> list[Problem]:
    """Check the index against the commits, if all of them could be read."""
    wrong: list[str] = []
    while len(sound) >= count:
        wrong = repository.storage.check_index(repository.identity, Table.empty().extend(sound))
        if not wrong:
            break
        # A writer may have committed meanwhile, and the index may know it already.
        try:
            sound.append(read_commit(repository.storage, len(sound) + 1))
        except (JfstoreError, OSError):
            break
    return [Problem("index", message) for message in wrong]


def _unbroken(commits: dict[int, Commit]) -> list[Commit]:
    sound: list[Commit] = []
    while commit := commits.get(len(sound) + 1):
        sound.append(commit)
    return sound
