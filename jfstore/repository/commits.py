"""Read the commits of a log by number, also where a client of a network file system does not see them yet."""

from __future__ import annotations

import time
from contextlib import suppress

from jfstore.core.encoding import decode_commit
from jfstore.core.records import Commit
from jfstore.core.segment import MemorySegment, make_segment
from jfstore.errors import Busy, Damaged, JfstoreError
from jfstore.storage.base import Storage

IDENTITY_NAME = "repository.json"
VIEW_WAIT = 3.0
"""For how many seconds a commit is looked for that must exist."""


def commit_name(seq: int) -> str:
    """Return the name of commit `seq` in a storage."""
    return f"log/{seq:010d}.json"


def read_commit(storage: Storage, seq: int) -> Commit:
    """Return commit `seq`.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
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


def make_segment_again(storage: Storage, first: int, last: int) -> MemorySegment:
    """Return a segment that the index has lost, from its commits."""
    try:
        return make_segment([read_commit(storage, seq) for seq in range(first, last + 1)])
    except FileNotFoundError as error:
        raise Damaged(f"{error.filename} is missing") from None


def wait_for_commit(storage: Storage, seq: int) -> bool:
    """Wait for a commit that must exist, since a client of a network file system may not see it yet.

    The directory is listed for each look: that is what makes such a client ask its server again.
    """
    give_up = time.monotonic() + (VIEW_WAIT if storage.may_be_behind else 0)
    while True:
        if seq in storage.commits(seq - 1)[:1]:
            with suppress(OSError, JfstoreError):
                storage.read(commit_name(seq))
                return True
        if time.monotonic() > give_up:
            return False
        time.sleep(VIEW_WAIT / 10)


def missing_commit(storage: Storage, seq: int, but: str) -> JfstoreError:
    """Return the error that commit `seq` is missing: it may be damage, or only not seen from here yet."""
    where = f"{storage.location}/{commit_name(seq)}"
    if not storage.may_be_behind:
        return Damaged(f"{where} is missing, and {but}")
    return Busy(
        f"{where} is missing, and {but}: it is lost, or this machine's view of the file system is old; "
        "try again in a minute, then jfstore verify"
    )
