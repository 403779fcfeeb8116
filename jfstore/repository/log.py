"""The log: numbered commits chained by hash, the truth of a repository; and the table that it says."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Sequence

from jfstore._version import __version__
from jfstore.core.instants import SECOND, now
from jfstore.core.records import Commit, Identity, Version, decode_commit, encode_commit, sealed_hash
from jfstore.core.table import Table
from jfstore.errors import Busy, Damaged, InDoubt, JfstoreError, JfstoreWarning
from jfstore.fs import owner
from jfstore.fs.durable import NotSynced
from jfstore.storage.base import Storage
from jfstore.storage.objects import NoAnswer

IDENTITY_NAME = "repository.json"
GIVE_UP_AFTER = 60.0
_CLOCK_TOLERANCE = 60 * SECOND


def commit_name(seq: int) -> str:
    """Return the name of commit `seq` in a storage."""
    return f"log/{seq:010d}.json"


def read_commit(storage: Storage, seq: int) -> Commit:
    """Return commit `seq`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    Damaged
        If its bytes are not what was written.
    Refused
        If a newer jfstore made it.
    """
    name = commit_name(seq)
    where = f"{storage.location}/{name}"
    commit = decode_commit(storage.read(name), where)
    if commit.seq != seq:
        raise Damaged(f"{where} is damaged: it is commit {commit.seq}")
    return commit


class Log:
    """The log of one repository, read as far as it goes.

    Parameters
    ----------
    storage : Storage
        Where it lies.
    identity : Identity
        Whose it is; the first commit is chained to its hash.
    """

    def __init__(self, storage: Storage, identity: Identity) -> None:
        self._storage = storage
        self._identity = identity
        self._table: Table | None = None
        self._certain: str | None = None
        self._broken: tuple[int, JfstoreError] | None = None
        # Up to this commit the log is known to survive a power failure; an index is saved only after that.
        self._settled = -1
        self._sure = False

    def table(self, as_of: int | None = None) -> Table:
        """Return the table of all commits, looking for new ones first.

        Raises
        ------
        Damaged, Refused
            If the commit `as_of`, or one before it, cannot be read and no index is past it.
            Commits after `as_of` may be unreadable, and may be missing from the table.
        """
        table = self._refresh()
        if self._broken and (as_of is None or as_of >= self._broken[0]):
            raise self._broken[1]
        return table

    def _refresh(self) -> Table:
        table = self._table
        if table is None or self._broken:
            self._broken, self._certain = None, None
            table = self._load()
        state = self._storage.log_state()
        if state is not None:
            # A look at the next commit is cheap here, and the time of a directory too coarse to show every change.
            table = self._read_tail(table)
        while not self._broken and (state is None or state != self._certain):
            # Something appeared or disappeared, or may have: make sure that no commit hides behind a gap.
            later = self._storage.commits(table.seq)
            before = table.seq
            if later:
                table = self._read_tail(table, later[-1])
            if not later or later[-1] <= table.seq:
                self._certain = state
                break
            if table.seq == before and not self._broken:
                missing = f"{self._storage.location}/{commit_name(before + 1)}"
                self._broken = (before + 1, Damaged(f"{missing} is missing, and commit {later[-1]} exists"))
        self._table = table
        return table

    def rebuild_index(self) -> None:
        """Make the index anew from the log alone; raises as `table` if the log is damaged."""
        fresh = Log(self._storage, self._identity)
        fresh._table = Table.empty()
        state = self._storage.log_state()
        table = fresh.table()
        fresh._settle(table)
        self._storage.save_index(self._identity, table, state, afresh=True)
        self._table = None

    def _load(self) -> Table:
        saved = self._storage.load_index()
        if saved is None:
            return Table.empty()
        remedy = "jfstore verify --rebuild-index makes it anew from the log"
        if saved.repository != self._identity.id:
            raise Damaged(f"the index of {self._storage.location} belongs to another repository; {remedy}")
        table = saved.table
        if table.seq:
            try:
                name = commit_name(table.seq)
                seal = sealed_hash(self._storage.read(name), f"{self._storage.location}/{name}")
                if seal != table.head:
                    seal = read_commit(self._storage, table.seq).hash
            except FileNotFoundError:
                last = (self._storage.commits() or [0])[-1]
                where = f"{self._storage.location}/{commit_name(table.seq)}"
                self._broken = (last + 1, Damaged(f"{where} is missing: the index is ahead of the log"))
            except Damaged as error:
                self._broken = (table.seq, error)
            else:
                if seal != table.head:
                    raise Damaged(f"the index of {self._storage.location} contradicts commit {table.seq}; {remedy}")
                self._certain, self._settled = saved.log_state, table.seq
        return table

    def _read_tail(self, table: Table, last: int | None = None) -> Table:
        """Return `table` with the commits after it, up to the first that is missing or broken, or to `last`."""
        commits: list[Commit] = []
        prev = table.head or self._identity.hash
        while not self._broken:
            seq = table.seq + len(commits) + 1
            if last is not None and seq > last:
                break
            try:
                commit = read_commit(self._storage, seq)
            except FileNotFoundError:
                break
            except JfstoreError as error:
                self._broken = (seq, error)
                break
            if commit.prev != prev:
                where = f"{self._storage.location}/{commit_name(seq)}"
                self._broken = (seq, Damaged(f"{where} does not follow commit {seq - 1}: the chain is broken"))
                break
            commits.append(commit)
            prev = commit.hash
        return table.extend(commits)

    def make_sure(self) -> None:
        """Raise Refused unless the storage tells writers apart, before the first thing is written to it."""
        if not self._sure:
            self._storage.make_sure(IDENTITY_NAME)
            self._sure = True

    def append(
        self, op: str, message: str, request: str, versions_for: Callable[[Table, int], Sequence[Version]]
    ) -> tuple[int, tuple[Version, ...]]:
        """Publish one commit.

        Parameters
        ----------
        op, message, request : str
            Fields of the commit.
        versions_for : callable
            Returns the versions to add, given the table as it is now and the seq they will have;
            none: nothing is committed. Called again whenever another writer was faster.

        Returns
        -------
        seq : int
            The commit, or the last one there is if nothing was committed.
        versions : tuple of Version
            What it added.

        Raises
        ------
        Busy
            If others were faster for 60 s.
        InDoubt
            If the commit is there but may not survive a power failure.
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
                    return done, tuple(table.version_list((table.versions["seq"] == done).nonzero()[0]))
                versions = tuple(versions_for(table, table.seq + 1))
                # What this commit, or "unchanged", rests on: who made it may not have synced it yet.
                self._settle(table)
                if not versions:
                    return table.seq, ()
                commit = self._next(table, op, message, request, versions)
                raw = encode_commit(commit)[0]
                decode_commit(raw, "the new commit")  # what could not be read again must never get in
                try:
                    self._storage.publish(commit_name(commit.seq), raw)
                except NotSynced as error:
                    raise self._doubt(commit.seq, request) from error
                except NoAnswer as error:
                    text = f"{self._storage.location}: {error.strerror}: commit {commit.seq} may be in the log, or not"
                    raise InDoubt(text, request) from error
                except FileExistsError:
                    if time.monotonic() > give_up:
                        raise Busy(f"{self._storage.location}: other writers were faster for 60 s; try again") from None
                    # Who has waited long tries again soon.
                    attempts += 1
                    time.sleep(random.uniform(0, 0.05 / attempts))  # noqa: S311 - no secret
                    continue
                # Commits only ever follow each other, so that ours hides nothing: no need to list the log.
                self._certain, self._settled = self._storage.log_state(), commit.seq
                self.save_index(commit.seq)
                return commit.seq, versions

    def _next(self, table: Table, op: str, message: str, request: str, versions: tuple[Version, ...]) -> Commit:
        clock = now()
        last = int(table.commits["time"][-1]) if table.seq else self._identity.created
        if last - clock > _CLOCK_TOLERANCE:
            warnings.warn(
                f"the clock of this machine is {(last - clock) // SECOND} s behind the last commit; its time is used",
                JfstoreWarning,
                stacklevel=4,
            )
        return Commit(
            seq=table.seq + 1,
            prev=table.head or self._identity.hash,
            time=max(clock, last),
            clock=clock,
            user=owner.user(),
            host=owner.host(),
            program=f"jfstore {__version__}",
            message=message,
            request=request,
            op=op,
            versions=versions,
        )

    def _settle(self, table: Table) -> None:
        if table.seq > self._settled:
            self._storage.settle(commit_name(table.seq))
            self._settled = table.seq

    def _doubt(self, seq: int, request: str) -> InDoubt:
        return InDoubt(
            f"{self._storage.location}: commit {seq} is in the log but may not survive a power failure", request
        )

    def save_index(self, seq: int = 0) -> None:
        """Save the index for the log as it is now; a failure is only a warning, readers have the log.

        If there are commits after `seq` already, that is left to who made them.
        """
        try:
            state = self._storage.log_state()
            table = self.table()
            if seq and table.seq > seq:
                return
            self._settle(table)
            self._storage.save_index(self._identity, table, state)
        except (OSError, JfstoreError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            warnings.warn(
                f"the commit is stored, but the index could not be renewed ({reason}); readers use the log",
                JfstoreWarning,
                stacklevel=3,
            )
