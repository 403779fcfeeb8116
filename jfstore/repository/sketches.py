"""Search all arrays of a repository for those that resemble an array, by the sketches in its commits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jfstore.core.encoding import decode_block_means
from jfstore.core.likeness import Guess, Means, rank_changed, rank_copies
from jfstore.core.records import Version
from jfstore.core.sketch import BlockMeans, stack_means
from jfstore.repository.commits import commit_name

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository

_BATCH = 1 << 14
"""Sketches are unpacked so many at a time: each takes 3 kB then."""


class StoredSketches:
    """The sketches of all different arrays of a repository.

    Attributes
    ----------
    without : list of str
        BLAKE3 of the arrays without a sketch, which release 0.1.0 added, the last added first.
    unreadable : int
        Number of commits that cannot be read.
    """

    def __init__(self, repository: ReadableRepository) -> None:
        self._table = repository.log.table()
        last = self._table.last_commits()
        self.unreadable = 0
        found: dict[str, BlockMeans] = {}
        storage = repository.storage

        def read(seq: int) -> list[tuple[str, BlockMeans | None]] | None:
            try:
                return list(decode_block_means(storage.read(commit_name(seq))))
            except (OSError, ValueError, KeyError, TypeError):
                return None

        for decoded in storage.objects.each(read, sorted(set(last.values()))):
            self.unreadable += decoded is None
            found.update((blake3, means) for blake3, means in decoded or () if means is not None)
        self.without = [blake3 for blake3 in sorted(last, key=last.__getitem__, reverse=True) if blake3 not in found]
        self._by_shape: dict[tuple[int, int, int], list[str]] = defaultdict(list)
        self._means = {blake3: means for blake3, means in found.items() if blake3 in last}
        for blake3, means in self._means.items():
            self._by_shape[means.shape].append(blake3)

    def __len__(self) -> int:
        """Return the number of arrays that have a sketch."""
        return len(self._means)

    def holders(self, blake3: str) -> list[Version]:
        """Return the versions that hold an array, the last one being the last that was added."""
        versions = self._table.version_list(self._table.rows_with_array(blake3))
        return sorted(versions, key=lambda version: version.seq)

    def search(self, asked: Sequence[Means], keep: int, thorough: bool) -> list[list[tuple[str, Guess]]]:
        """Return for each array the BLAKE3 of the stored arrays that it may be a copy of, best first.

        Parameters
        ----------
        asked : sequence of ndarray
            Block means of arrays, of shape (gain, row of blocks, column of blocks).
        keep : int
            How many to return for each.
        thorough : bool
            Whether rows and columns may be reversed, gain ranges exchanged, and values changed in places.
        """
        found: list[list[tuple[str, Guess]]] = [[] for _ in asked]
        for names, batch in self._batches():
            means, steps = stack_means(batch)
            for place, one in enumerate(asked):
                if one.shape[1:] != means.shape[2:] or len(one) not in (1, means.shape[1]):
                    continue
                guesses = rank_copies(one, means, keep, thorough)
                if thorough:
                    guesses += rank_changed(one, means, steps, 2)
                found[place] += [(names[guess.item], guess) for guess in guesses]
        return [_keep_best(guesses, keep + 2 * thorough) for guesses in found]

    def _batches(self) -> Iterator[tuple[list[str], list[BlockMeans]]]:
        for names in self._by_shape.values():
            for first in range(0, len(names), _BATCH):
                part = names[first : first + _BATCH]
                yield part, [self._means[name] for name in part]


def _keep_best(guesses: list[tuple[str, Guess]], keep: int) -> list[tuple[str, Guess]]:
    """Return the best guesses, each array once."""
    best: dict[str, Guess] = {}
    for blake3, guess in sorted(guesses, key=lambda pair: pair[1].misfit):
        best.setdefault(blake3, replace(guess, item=0))
    return list(best.items())[:keep]
