"""Is every stored byte sound? Everything in a repository against its log, all problems at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jfstore.errors import JfstoreError
from jfstore.model import Commit, Version
from jfstore.repository.log import commit_name, read_commit
from jfstore.repository.making import IDENTITY_NAME
from jfstore.repository.repository import Repository
from jfstore.table import Table


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written: what, in which file, and the versions it affects."""

    file: str
    message: str
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found: problems, and notes (file, text) on what is left over and does no harm."""

    commits: int
    versions: int
    files: int
    problems: tuple[Problem, ...]
    notes: tuple[tuple[str, str], ...]


def verify(
    repository: Repository, *, quick: bool = False, progress: Callable[[int, int], None] = lambda done, total: None
) -> Report:
    """Check every file of `repository` against its log.

    Parameters
    ----------
    quick : bool
        Do not read the arrays: sizes only.
    progress : callable
        Called with the number of payloads checked and their total.
    """
    storage = repository.storage
    numbers = storage.commits()
    commits, problems = _check_log(repository, numbers)
    sound = _unbroken(commits)
    files: dict[str, list[Version]] = {}
    for commit in commits.values():
        for version in commit.versions:
            files.setdefault(version.file.path, []).append(version)
    for done, versions in enumerate(files.values()):
        progress(done, len(files))
        first = versions[0]
        if wrong := storage.check(first.file, first.arrays, quick):
            problems.append(Problem(first.file.path, wrong, tuple(version.name for version in versions)))
    progress(len(files), len(files))
    table = Table.empty().extend(sound)
    if len(sound) == len(numbers):
        problems += [Problem("index", message) for message in storage.check_index(repository.identity, table)]
    temporary, other = storage.strays(set(files) | {commit_name(n) for n in numbers} | {IDENTITY_NAME})
    notes = [(name, "left by a writer that was stopped; --clean removes it after a day") for name in temporary]
    notes += [(name, "nothing in the log refers to it") for name in other]
    return Report(len(commits), sum(map(len, files.values())), len(files), tuple(problems), tuple(notes))


def _check_log(repository: Repository, numbers: list[int]) -> tuple[dict[int, Commit], list[Problem]]:
    """Return every commit that can be read, by number, and what is wrong with the others."""
    storage, problems = repository.storage, []
    commits: dict[int, Commit] = {}
    prev: str | None = repository.identity.hash
    affected = _index_knows(repository)
    last = max(numbers[-1:] + list(affected), default=0)
    for seq in range(1, last + 1):
        name = commit_name(seq)
        try:
            commit = read_commit(storage, seq)
        except FileNotFoundError:
            prev = None
            problems.append(Problem(name, f"{storage.location}/{name} is missing", affected.get(seq, ())))
            continue
        except JfstoreError as error:
            prev = None
            problems.append(Problem(name, error.message, affected.get(seq, ())))
            continue
        except OSError as error:
            prev = None
            problems.append(Problem(name, f"{storage.location}/{name}: {error.strerror}", affected.get(seq, ())))
            continue
        if prev not in (None, commit.prev):
            names = tuple(version.name for version in commit.versions)
            problems.append(Problem(name, f"{storage.location}/{name} does not follow commit {seq - 1}", names))
        commits[seq], prev = commit, commit.hash
    return commits, problems


def _index_knows(repository: Repository) -> dict[int, tuple[str, ...]]:
    """Return the versions of each commit as a sound index of this repository says them."""
    saved = repository.storage.load_index()
    if saved is None or saved.repository != repository.identity.id:
        return {}
    known: dict[int, tuple[str, ...]] = {}
    for version in saved.table.version_list():
        known[version.seq] = (*known.get(version.seq, ()), version.name)
    return known


def _unbroken(commits: dict[int, Commit]) -> list[Commit]:
    sound: list[Commit] = []
    while commit := commits.get(len(sound) + 1):
        sound.append(commit)
    return sound
