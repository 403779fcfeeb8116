"""Read the commits of a log by number, also where a client of a network file system does not see them yet."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from jfstore.core.encoding import decode_commit, decode_provenance, decode_versions
from jfstore.core.records import Commit, Provenance, Version
from jfstore.core.segment import MemorySegment, make_segment
from jfstore.errors import Busy, Damaged, JfstoreError
from jfstore.storage.base import Storage
from jfstore.storage.index import REMEDY

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


def compare_with_commits(storage: Storage, versions: Sequence[Version]) -> None:
    """Compare versions that the index says with their commits; Damaged if one differs.

    The index is in a directory that every member of the group may write to, the log is not. A commit that cannot be
    read any more is the business of `verify`: the index has its versions all the same.
    """

    def check(seq: int) -> None:
        name = commit_name(seq)
        asked = {version.name: version.core for version in versions if version.seq == seq}
        try:
            found = decode_versions(storage.read(name), f"{storage.location}/{name}", seq, asked)
        except (OSError, Damaged):
            return
        for version in asked.values():
            if version not in found:
                raise Damaged(f"the index of {storage.location} contradicts commit {seq} on {version.name}; {REMEDY}")

    list(storage.objects.each(check, {version.seq for version in versions}))


def read_provenance(storage: Storage, versions: Iterable[tuple[str, int]]) -> dict[str, Provenance]:
    """Return where versions come from, by their names; those of a commit that cannot be read are left out.

    Parameters
    ----------
    versions : iterable of (str, int)
        The name of each, and the commit that added it.
    """
    wanted: dict[int, set[str]] = {}
    for version, seq in versions:
        wanted.setdefault(seq, set()).add(version)

    def read(seq: int) -> dict[str, Provenance]:
        name = commit_name(seq)
        try:
            return decode_provenance(storage.read(name), f"{storage.location}/{name}", wanted[seq])
        except (OSError, Damaged):
            return {}

    return {name: found for part in storage.objects.each(read, wanted) for name, found in part.items()}


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
