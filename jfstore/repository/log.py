"""Read and extend the log: numbered commits chained by hash, from which the table is made."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from jfstore._version import __version__
from jfstore.core.encoding import decode_commit, encode_commit, read_hash
from jfstore.core.instants import SECOND, now
from jfstore.core.records import Commit, Identity, Statement, Version
from jfstore.core.segment import KINDS_LIMIT, kinds_of
from jfstore.core.table import Table
from jfstore.errors import Busy, Damaged, InDoubt, JfstoreError
from jfstore.fs import owner
from jfstore.fs.durable import NotSynced
from jfstore.repository.commits import (
    IDENTITY_NAME,
    commit_name,
    make_segment_again,
    missing_commit,
    read_commit,
    wait_for_commit,
)
from jfstore.storage.base import SavedIndex, Storage
from jfstore.storage.index import REMEDY
from jfstore.storage.objects import NoAnswer
from jfstore.storage.segment_file import FileSegment

GIVE_UP_AFTER = 60.0
INDEX_LAG = 32
"""The index is saved once so many commits are not in it, so that a commit costs the same however many there are."""
_ALWAYS_INDEXED = 256
"""While there are no more commits than this the index is small and saved with each."""
_COARSEST_TIME = 3.0
"""A change of a directory shows in its time if the time before was older than this, in seconds."""
_CLOCK_TOLERANCE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of the log. A state is never changed, only replaced, so that threads can share a log.

    Attributes
    ----------
    table : Table
        The commits up to the last one that can be read.
    certain : str or None
        `Storage.log_state` when no commit after the table existed.
    broken : tuple of (int, JfstoreError) or None
        The first commit that cannot be read, and why.
    indexed : int
        The last commit that the index has.
    since : float
        When `certain` was first seen, in seconds of the monotonic clock.
    is_quiet : bool
        Whether a look long after `since` found nothing new, so that a new commit shows in `Storage.log_state`.
    """

    table: Table
    certain: str | None = None
    broken: tuple[int, JfstoreError] | None = None
    indexed: int = 0
    since: float = 0.0
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """What `Log.append` did.

    Attributes
    ----------
    seq : int
        The commit, or the last one there is if nothing was committed.
    versions : tuple of Version
        The versions that it added.
    before, after : Table
        A table of the commits before it, and one that holds it.
    notes : tuple of str
        What the user should know.
    """

    seq: int
    versions: tuple[Version, ...]
    before: Table
    after: Table
    notes: tuple[str, ...] = ()


class Log:
    """The log of one repository; may be shared by threads.

    Parameters
    ----------
    storage : Storage
        Where it is.
    identity : Identity
        The repository it belongs to; the first commit is chained to the identity's hash.
    """

    def __init__(self, storage: Storage, identity: Identity) -> None:
        self._storage = storage
        self._identity = identity
        self._state: _State | None = None
        # Up to this commit the log is known to survive a power failure; an index is saved only after that.
        self._settled = -1
        self._sure = False

    def table(self, as_of: int | None = None) -> Table:
        """Return the table of all commits, after a look for new ones.

        Raises
        ------
        Damaged, Refused
            If the commit `as_of`, or one before it, cannot be read and no index is past it. Commits after `as_of`
            may be unreadable, and may be missing from the table.
        """
        state = self._refresh()
        if state.broken and (as_of is None or as_of >= state.broken[0]):
            raise state.broken[1]
        return state.table

    def _refresh(self) -> _State:
        state = self._state
        if state is None or state.broken:
            state = self._load()
        log_state = self._storage.log_state()
        if log_state is not None:
            if state.is_quiet and log_state == state.certain:
                return state
            # A look at the next commit is cheap here, and the time of a directory too coarse to show every change.
            state = self._read_tail(state)
        while not state.broken and (log_state is None or log_state != state.certain):
            # Something appeared or disappeared, or may have: make sure that no commit hides behind a gap.
            before = state.table.seq
            later = self._storage.last_commit(before, thorough=not state.indexed)
            if later:
                state = self._read_tail(state, later)
            if not later or later <= state.table.seq:
                state = replace(state, certain=log_state, since=time.monotonic(), is_quiet=False)
                break
            if state.table.seq == before and not state.broken and not wait_for_commit(self._storage, before + 1):
                state = replace(
                    state, broken=(before + 1, missing_commit(self._storage, before + 1, f"commit {later} exists"))
                )
        if log_state is not None and log_state == state.certain and not state.is_quiet:
            state = replace(state, is_quiet=time.monotonic() > state.since + _COARSEST_TIME)
        self._state = state
        return state

    def rebuild_index(self) -> None:
        """Rebuild the index from the log alone; raises as `table` if the log is damaged."""
        fresh = Log(self._storage, self._identity)
        fresh._state = _State(Table.empty())
        log_state = self._storage.log_state()
        table = fresh.table()
        fresh._settle(table)
        self._storage.save_index(self._identity, table, log_state, afresh=True)
        self._state = None

    def _load(self) -> _State:
        saved = self._storage.load_index()
        if saved is None:
            return _State(Table.empty())
        if saved.repository != self._identity.id:
            raise Damaged(f"the index of {self._storage.location} belongs to another repository; {REMEDY}")
        table = saved.table
        for segment in table.segments:
            if isinstance(segment, FileSegment):
                segment.make_again = partial(make_segment_again, self._storage)
        if not table.seq:
            return _State(table, saved.log_state)
        return self._check_head(saved)

    def _check_head(self, saved: SavedIndex) -> _State:
        """Return the state that a saved index leads to, if the log has its last commit."""
        table = saved.table
        name = commit_name(table.seq)
        where = f"{self._storage.location}/{name}"
        try:
            found = read_hash(self._storage.read(name), where)
            if found != saved.head:
                found = read_commit(self._storage, table.seq).hash
        except FileNotFoundError:
            if wait_for_commit(self._storage, table.seq):
                return self._load()
            last = (self._storage.commits() or [0])[-1]
            return _State(table, None, (last + 1, missing_commit(self._storage, table.seq, "the index has it")))
        except Damaged as error:
            return _State(table, None, (table.seq, error))
        if found != saved.head:
            raise Damaged(f"the index of {self._storage.location} contradicts commit {table.seq}; {REMEDY}")
        self._settled = max(self._settled, table.seq)
        return _State(table, saved.log_state, indexed=table.seq, since=time.monotonic())

    def _read_tail(self, state: _State, last: int | None = None) -> _State:
        """Return `state` with the commits after it, up to the first missing or broken one, or to `last`."""
        if state.broken:
            return state
        table, broken = state.table, None
        commits: list[Commit] = []
        kinds = {kind for segment in table.segments for kind in segment.kinds}
        prev = table.head or self._identity.hash
        while last is None or table.seq + len(commits) < last:
            seq = table.seq + len(commits) + 1
            try:
                commit = read_commit(self._storage, seq)
            except FileNotFoundError:
                break
            except JfstoreError as error:
                broken = seq, error
                break
            if commit.prev != prev:
                where = f"{self._storage.location}/{commit_name(seq)}"
                broken = seq, Damaged(f"{where} does not follow commit {seq - 1}: the chain is broken")
                break
            kinds.update(kind for version in commit.versions for kind in kinds_of(version))
            if len(kinds) > KINDS_LIMIT:
                where = f"{self._storage.location}/{commit_name(seq)}"
                broken = seq, Damaged(f"{where} is damaged: the log has more than 64 kinds of arrays")
                break
            commits.append(commit)
            prev = commit.hash
        return replace(state, table=table.extend(commits), broken=broken)

    def make_sure(self) -> None:
        """Raise Refused unless the storage tells writers apart; called before anything is written to it."""
        if not self._sure:
            self._storage.make_sure(IDENTITY_NAME)
            self._sure = True

    def append(
        self,
        op: str,
        message: str,
        request: str,
        versions_for: Callable[[Table, int], Sequence[Version]] = lambda table, seq: (),
        statement: Statement | None = None,
        accepted: tuple[str, ...] = (),
        check: Callable[[Table, Commit], None] = lambda table, commit: None,
    ) -> Appended:
        """Publish one commit.

        Parameters
        ----------
        op, message, request : str
            Fields of the commit.
        versions_for : callable
            Returns the versions to add, given the table as it is now and the seq they will have; nothing is
            committed if it returns none. Called again whenever another writer took the number.
        statement : Statement, optional
            What the commit says, of an operation without versions.
        accepted : tuple of str
            Findings that the user accepted.
        check : callable
            Called with the table as it is now and the commit that is to extend it; what it raises stops the commit.
            Called again whenever another writer took the number.

        Raises
        ------
        Busy
            If other writers took every number for 60 s.
        InDoubt
            If the commit exists but may not survive a power failure.
        """
        give_up = time.monotonic() + GIVE_UP_AFTER
        attempts = 0
        with self._storage.lock():
            while True:
                table = self.table()
                if done := table.find_request(request):
                    try:
                        self._storage.settle(commit_name(done))
                    except OSError as error:
                        raise self._doubt(done, request) from error
                    return Appended(done, read_commit(self._storage, done).versions, table, table)
                versions = tuple(versions_for(table, table.seq + 1))
                # This commit, or the answer "unchanged", relies on commits that their writers may not have synced yet.
                self._settle(table)
                if not versions and statement is None:
                    return Appended(table.seq, (), table, table)
                commit = self._next_commit(table, op, message, request)
                commit = replace(commit, versions=versions, statement=statement, accepted=accepted)
                check(table, commit)
                try:
                    commit = self._publish(commit)
                except FileExistsError:
                    if time.monotonic() > give_up:
                        raise Busy(f"{self._storage.location}: other writers were faster for 60 s; try again") from None
                    # The longer a writer has waited, the sooner it tries again.
                    attempts += 1
                    time.sleep(random.uniform(0, 0.05 / attempts))  # noqa: S311 - no secret
                    continue
                indexed = self._state.indexed if self._state else 0
                after = table.extend([commit])
                self._state = _State(after, indexed=indexed)
                self._settled = commit.seq
                is_due = commit.seq <= _ALWAYS_INDEXED or commit.seq - indexed >= INDEX_LAG
                notes = (self._clock_note(table, commit), self.save_index(commit.seq) if is_due else None)
                return Appended(commit.seq, versions, table, after, tuple(note for note in notes if note))

    def _publish(self, commit: Commit) -> Commit:
        """Publish a commit; return it as readers will read it."""
        raw = encode_commit(commit)[0]
        commit = decode_commit(raw, "the new commit")  # what could not be read again must never get in
        try:
            self._storage.publish(commit_name(commit.seq), raw, commit.clock)
        except NotSynced as error:
            raise self._doubt(commit.seq, commit.request) from error
        except NoAnswer as error:
            text = f"{self._storage.location}: {error.strerror}: commit {commit.seq} may be in the log, or not"
            raise InDoubt(text, commit.request) from error
        return commit

    def _next_commit(self, table: Table, op: str, message: str, request: str) -> Commit:
        clock = now()
        return Commit(
            seq=table.seq + 1,
            prev=table.head or self._identity.hash,
            time=max(clock, self._last_time(table)),
            clock=clock,
            user=owner.user(),
            host=owner.host(),
            program=f"jfstore {__version__}",
            message=message,
            request=request,
            op=op,
        )

    def _last_time(self, table: Table) -> int:
        return self._identity.created if table.last_time is None else table.last_time

    def _clock_note(self, table: Table, commit: Commit) -> str | None:
        behind = self._last_time(table) - commit.clock
        if behind <= _CLOCK_TOLERANCE:
            return None
        return f"the clock of this machine is {behind // SECOND} s behind the last commit; that commit's time is used"

    def _settle(self, table: Table) -> None:
        if table.seq > self._settled:
            self._storage.settle(commit_name(table.seq))
            self._settled = table.seq

    def _doubt(self, seq: int, request: str) -> InDoubt:
        return InDoubt(
            f"{self._storage.location}: commit {seq} is in the log but may not survive a power failure", request
        )

    def save_index(self, seq: int = 0) -> str | None:
        """Save the index for the log as it is now; return a note if that failed, since readers have the log.

        If commits after `seq` exist already, their writers save it.
        """
        try:
            log_state = self._storage.log_state()
            # Another writer may have saved it meanwhile: the new index extends the present one.
            self._state = None
            state = self._refresh()
            if state.broken:
                raise state.broken[1]
            table = state.table
            if (seq and table.seq > seq) or (table.seq and state.indexed == table.seq):
                return None
            self._settle(table)
            self._storage.save_index(self._identity, table, log_state)
            # The next look loads what was saved, so that memory does not grow with the log.
            self._state = None
        except (OSError, JfstoreError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return f"the commit is stored, but the index could not be updated ({reason}); readers use the log"
        return None
