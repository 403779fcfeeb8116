"""Make locks of answers, and answer again what a lock pins: with the same bits, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jfstore.core.explaining import find_withdrawals
from jfstore.core.ids import parse_panel
from jfstore.core.instants import instant_at
from jfstore.core.lock import LOCK_LIMIT, Lock, LockedArray, LockedRun, decode_lock
from jfstore.core.records import Commit, Identity, Version
from jfstore.core.table import Table
from jfstore.core.validity import Selection
from jfstore.errors import Damaged, JfstoreError, NotFound, Refused
from jfstore.fs.files import open_checked, read_regular, user_errors
from jfstore.repository.answer import Answer
from jfstore.repository.commits import missing_commit, read_commit
from jfstore.repository.finding import note_mixed_versions

if TYPE_CHECKING:
    from jfstore.repository.bundle import Bundle
    from jfstore.repository.reading import ReadableRepository
    from jfstore.runs.run import Jungfrau, Run

_HDF5 = b"\x89HDF\r\n\x1a\n"


def make_lock(answer: Answer) -> Lock:
    """Return the lock of an answer; see `Answer.lock`."""
    if answer.locked is not None:
        return answer.locked
    from jfstore.repository.mirror import sound_commit
    from jfstore.repository.reading import ReadableRepository

    repository = answer.repository
    assert isinstance(repository, ReadableRepository)
    table = repository.log.table(answer.as_of)
    commits: dict[int, Commit] = {}

    def commit_of(seq: int) -> Commit:
        if seq not in commits:
            commits[seq] = sound_commit(repository, table, seq)[0]
        return commits[seq]

    arrays = []
    for name, selections in answer.by_type:
        for panel, chosen in zip(map(str, answer.panels), selections, strict=True):
            version = chosen.version
            commit = commit_of(version.seq)
            if version.core not in [stored.core for stored in commit.stored]:
                raise Damaged(f"{repository.location}: commit {version.seq} does not hold {version.name}")
            end = None if chosen.valid_to is None else chosen.valid_to.ns
            array = version.core.array(name)
            arrays.append(LockedArray(panel, version.name, version.start, end, version.seq, commit.hash, array))
    identity = repository.identity
    return Lock(
        repository=identity.id,
        identity=identity.hash,
        role=identity.role,
        seq=answer.as_of,
        commit=commit_of(answer.as_of).hash,
        panels=tuple(map(str, answer.panels)),
        time=answer.time.ns,
        arrays=tuple(arrays),
        run=lock_run(answer.run, answer.jungfrau, len(answer.panels)) if answer.run and answer.jungfrau else None,
    )


def lock_run(run: Run, jungfrau: Jungfrau, panels: int) -> LockedRun:
    """Return what a lock says of a run and one of its Jungfraus; in LCLS-I each panel of a Jungfrau is a segment."""
    return LockedRun(
        run.experiment,
        run.run,
        run.start,
        run.file,
        jungfrau.source,
        jungfrau.alias,
        jungfrau.version,
        jungfrau.segments or tuple(range(panels)),
        jungfrau.has_high_g0,
        jungfrau.gain_mode,
        run.end,
    )


def run_of_lock(lock: Lock) -> tuple[Run, Jungfrau] | tuple[None, None]:
    """Return the run of a lock and its Jungfrau, as the XTC files said when it was made."""
    if lock.run is None:
        return None, None
    from jfstore.runs.records import LCLS1, LCLS2, Jungfrau, Run  # slow to load, and not needed without a run

    said, panels = lock.run, tuple(map(parse_panel, lock.panels))
    segments = () if said.config else said.segments  # a configuration object of LCLS-I has a version
    jungfrau = Jungfrau(
        said.source, said.alias, said.config, len(panels), panels, segments, said.gain_mode, said.has_high_g0
    )
    daq = LCLS1 if said.config else LCLS2
    run = Run(said.experiment, said.run, said.start, said.file, (jungfrau,), (), source=said.source, daq=daq)
    run = replace(run, end=said.end)
    return run, jungfrau


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Return the lock in a file.

    Raises
    ------
    BadValue
        If the file does not exist or is not a lock file.
    Refused
        If a newer jfstore wrote it.
    Damaged
        If its fields are not those that were written.
    """
    with user_errors(Path(path)):
        text = read_regular(Path(path), LOCK_LIMIT, follow=True)
    return decode_lock(text, os.fspath(path))


def replay_lock(
    repository: ReadableRepository, lock: Lock | str | os.PathLike[str], types: Sequence[str] | str | None = None
) -> Answer:
    """Return the answer that a lock pins; see `Repository.replay`."""
    lock = select_locked_types(lock if isinstance(lock, Lock) else read_lock(lock), types)
    check_identity(lock, repository.identity, repository.location)
    table, notes = _read_table(repository, lock.seq)
    if lock.seq > table.seq:
        raise NotFound(
            f"{repository.location} has {table.seq} commits, and the lock is as of commit {lock.seq}; "
            "is it a mirror that was not brought up to date?"
        )

    def read(seq: int) -> Commit:
        try:
            return read_commit(repository.storage, seq)
        except FileNotFoundError:
            raise missing_commit(repository.storage, seq, "the lock needs it") from None

    each = repository.storage.objects.each
    versions = check_versions(lock, lambda numbers: list(each(read, numbers)), repository.location)
    withdrawn = _note_withdrawn(lock, table)
    return make_answer(lock, versions, repository.zone, repository, (*notes, *withdrawn))


def select_locked_types(lock: Lock, types: Sequence[str] | str | None) -> Lock:
    """Return the lock of some types only, of all if None."""
    return lock if types is None else lock.select_types([types] if isinstance(types, str) else types)


def replay(
    lock: Lock | str | os.PathLike[str],
    repo: ReadableRepository | str | os.PathLike[str] | None = None,
    *,
    types: Sequence[str] | str | None = None,
) -> Answer:
    """Return the answer that a lock pins, from its repository, a mirror or a bundle; raises as `Repository.replay`.

    Parameters
    ----------
    lock : Lock or path
        What `Answer.lock` returned, a file with its text, or a bundle, which holds its lock.
    repo : Repository, or its name, path or URL, or the path of a bundle
        Where the arrays are; default the bundle if `lock` is one, else the real repository.
    types : sequence of str, optional
        Only these calibration types of the lock; default all.
    """
    from jfstore.repository.bundle import Bundle
    from jfstore.repository.catalogue import open_repository, read_names
    from jfstore.repository.reading import ReadableRepository

    if not isinstance(lock, Lock):
        bundle = Bundle(lock) if _is_hdf5(lock) else None
        if bundle and repo is None:
            return bundle.replay(types=types)
        lock = bundle.lock if bundle else read_lock(lock)
    if isinstance(repo, ReadableRepository):
        return repo.replay(lock, types)
    place = "real" if repo is None else repo
    if _is_hdf5(place) and place not in read_names():
        return Bundle(place).replay(lock, types)
    return open_repository(place).replay(lock, types)


def _is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of an HDF5 file."""
    try:
        with open_checked(os.fspath(path), follow=True) as fd:
            return os.pread(fd, len(_HDF5), 0) == _HDF5
    except (OSError, ValueError, JfstoreError):
        return False


def check_identity(lock: Lock, identity: Identity, where: str) -> None:
    """Raise Refused unless `identity` is that of the repository of a lock, of a mirror, or of a copy detached later."""
    origin = identity.detached_from or {}
    is_detached = origin.get("repository") == lock.repository and lock.seq <= origin.get("seq", -1)
    if identity.hash != lock.identity or (identity.id != lock.repository and not is_detached):
        raise Refused(
            f"{where} is the {identity.role} repository {identity.id}, and the lock is of the {lock.role} repository "
            f"{lock.repository}: name that one, or a mirror or a bundle of it, with --repo"
        )


def _read_table(repository: ReadableRepository, seq: int) -> tuple[Table, tuple[str, ...]]:
    """Return the table of all commits; if later ones than `seq` cannot be read, of those before, with a note."""
    try:
        return repository.log.table(), ()
    except JfstoreError as error:
        table = repository.log.table(seq)
        return table, (f"whether versions were withdrawn after commit {table.seq} is not known: {error}",)


def check_versions(
    lock: Lock, read_commits: Callable[[Sequence[int]], Iterable[Commit]], where: str
) -> dict[str, Version]:
    """Return the versions of a lock by name, as their commits say.

    Parameters
    ----------
    read_commits : callable
        Returns the commits with some numbers, in their order; each is what its own hash says.
    where : str
        The place, for errors.

    Raises
    ------
    Damaged
        If a commit is another one than the lock says, or a version is missing or has other arrays.
    """
    hashes = lock.commits
    found: dict[str, Version] = {}
    for seq, commit in zip(hashes, read_commits(list(hashes)), strict=True):
        if commit.seq != seq or commit.hash != hashes[seq]:
            raise Damaged(
                f"{where}: commit {seq} is not the one of the lock: its hash is {commit.hash[:12]}..., "
                f"and the lock says {hashes[seq][:12]}..."
            )
        found.update({version.name: version for version in commit.stored})
    for locked in lock.arrays:
        _check_array(locked, found.get(locked.version), where)
    return found


def _check_array(locked: LockedArray, version: Version | None, where: str) -> None:
    """Raise Damaged if a version is not that of the lock."""
    name = f"{locked.array.type} of {locked.version}"
    if version is None or version.seq != locked.seq:
        raise Damaged(f"{where}: commit {locked.seq} does not hold {locked.version}, as the lock says")
    held = next((array for array in version.arrays if array.type == locked.array.type), None)
    if held is None:
        raise Damaged(f"{where}: {locked.version} holds no {locked.array.type}, as the lock says")
    for what in ("dtype", "shape", "blake3"):
        if getattr(held, what) != getattr(locked.array, what):
            raise Damaged(
                f"{where}: the {what} of {name} is {getattr(held, what)}, "
                f"and the lock says {getattr(locked.array, what)}"
            )
    if version.start != locked.valid_from:
        raise Damaged(f"{where}: {locked.version} does not start at the time that the lock says")


def _note_withdrawn(lock: Lock, table: Table) -> list[str]:
    """Return a note for each version of a lock that is withdrawn: by whom, and why."""
    withdrawn = find_withdrawals(table, table.seq)
    names = dict.fromkeys(locked.version for locked in lock.arrays)
    found = [(name, table.summary(withdrawn[name])) for name in names if name in withdrawn]
    return [note_withdrawal(name, said.seq, said.user, said.message) for name, said in found]


def note_withdrawal(name: str, seq: int, user: str, message: str) -> str:
    """Return the note that a version of a lock was withdrawn, by whom and why."""
    return f"{name} was withdrawn by commit {seq}, {user}: {message.splitlines()[0]}; the lock still pins it"


def make_answer(
    lock: Lock,
    versions: dict[str, Version],
    zone: ZoneInfo,
    repository: ReadableRepository | Bundle,
    notes: Iterable[str],
) -> Answer:
    """Return the answer that a lock pins, of versions that were compared with it."""

    def select(locked: LockedArray) -> Selection:
        end = None if locked.valid_to is None else instant_at(locked.valid_to, zone)
        version = versions[locked.version].core
        return Selection(version, locked.array.type, version.valid_from, end)

    found = {name: tuple(map(select, lock.of(name))) for name in lock.types}
    run, jungfrau = run_of_lock(lock)
    return Answer(
        panels=tuple(map(parse_panel, lock.panels)),
        time=instant_at(lock.time, zone),
        as_of=lock.seq,
        by_type=tuple(found.items()),
        notes=(*notes, *note_mixed_versions(found)),
        run=run,
        jungfrau=jungfrau,
        repository=repository,
        locked=lock,
    )
