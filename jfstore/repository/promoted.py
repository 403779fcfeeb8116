"""Define the record of a promotion."""

from __future__ import annotations

from dataclasses import dataclass

from jfstore.core.changes import Change
from jfstore.core.records import Version
from jfstore.repository.adding import Added
from jfstore.repository.governing import Stated


@dataclass(frozen=True, slots=True)
class Promoted:
    """What `Repository.promote` did: one commit for each operation that was needed.

    Attributes
    ----------
    seq : int
        The last commit, or the last one there is if nothing was committed.
    added : Added
        The versions that were added, and those that the target has already.
    stated : tuple of Stated
        What was closed, withdrawn, restored, or stated of panels.
    changes : tuple of Change
        For which intervals the answers change by all of it, and from which version to which.
    notes : tuple of str
        What the user should know.
    dry_run : bool
        Whether nothing was stored.
    """

    seq: int
    added: Added
    stated: tuple[Stated, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    dry_run: bool

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions that were added, or with `dry_run` would be."""
        return self.added.versions

    @property
    def commits(self) -> tuple[int, ...]:
        """The commits that were made; with `dry_run` not empty if one would be."""
        seqs = {version.seq for version in self.versions} | {one.seq for one in self.stated if one.names}
        return tuple(sorted(seqs))

    @property
    def unchanged(self) -> tuple[tuple[str, str], ...]:
        """For each version that the target has already its source or name, and the version that holds it."""
        return self.added.unchanged
