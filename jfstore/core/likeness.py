"""Rank stored arrays by how much their sketches resemble an array, so that only a few of them need to be read.

An array may be a copy in which each gain range was multiplied by a number, the rows or columns were reversed, or gain
ranges were exchanged. Each block of a sketch keeps its place, or moves with the rows and columns, so that the block
means show such a copy as well as an exact one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Means = NDArray[np.float64]
"""Block means of shape (gain, row of blocks, column of blocks)."""

FLIPS = ("", "rows", "columns", "both")
_WORST = 1.5
_PLAIN = 1e-12
_PREFERENCE = 1e-6
_SCALE_PREFERENCE = 1e-2
_PRECISION = 2e-6
"""Block means are written with a smallest and a largest value of six digits."""
_EQUAL_BLOCKS = 0.3


@dataclass(frozen=True, slots=True)
class Guess:
    """A stored array that an array may be a copy of.

    Attributes
    ----------
    misfit : float
        Root mean square of what is not explained, in units of the array's variation: about 1 for unrelated arrays.
    item : int
        Number of the stored array.
    flip : str
        Which axes of the stored array are reversed in the copy, one of `FLIPS`.
    ranges : tuple of int
        Gain range of the stored array that each gain range of the copy comes from.
    """

    misfit: float
    item: int
    flip: str
    ranges: tuple[int, ...]


def flip_axes(array: NDArray[Any], flip: str) -> NDArray[Any]:
    """Return a view of an array whose rows, columns or both are reversed."""
    return array[..., :: -1 if flip in ("rows", "both") else 1, :: -1 if flip in ("columns", "both") else 1]


def rank_copies(means: Means, stored: NDArray[np.float64], keep: int, thorough: bool = True) -> list[Guess]:
    """Return the stored arrays that resemble an array most, best first.

    Parameters
    ----------
    means : ndarray
        Block means of the array; its gain ranges may be those of the stored arrays, or a single one.
    stored : ndarray
        Block means of stored arrays, of shape (item, gain, row of blocks, column of blocks).
    keep : int
        How many to return.
    thorough : bool
        Whether rows and columns may be reversed and gain ranges exchanged, which costs several times as much.
    """
    if not len(stored):
        return []
    count, gains = stored.shape[:2]
    known = stored.reshape(count, gains, -1)
    flips = FLIPS if thorough else FLIPS[:1]
    asked = np.array([flip_axes(means, flip).reshape(len(means), -1) for flip in flips])
    energy = np.einsum("igb,igb->ig", known, known)
    size = np.einsum("fqb,fqb->fq", asked, asked)
    variation = np.maximum(size - asked.shape[2] * asked.mean(axis=2) ** 2, _PLAIN * size)
    products = np.einsum("igb,fqb->igfq", known, asked, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = products / energy[:, :, None, None]
        misfit = np.sqrt(np.maximum(size - factors * products, 0) / variation)
        scale = np.abs(np.log(np.abs(factors)))
    cost = np.nan_to_num(np.minimum(misfit, _WORST), nan=_WORST)
    # A gain range that is the same everywhere, as after a coarse rounding, says nothing.
    cost[:, :, variation <= 2 * _PLAIN * size] = 1.0
    # Of arrays that differ by a factor only, the one that needs no factor is the better guess.
    cost += _SCALE_PREFERENCE * np.minimum(np.nan_to_num(scale, nan=1.0, posinf=1.0), 1.0)
    orders = list(_orders(len(means), gains))
    orders = orders if thorough or len(means) == 1 else orders[:1]
    totals = np.stack(
        [sum(cost[:, gain, :, place] for place, gain in enumerate(order)) / len(order) for order in orders], axis=2
    )
    # Of equal guesses the first flip and order, which change nothing, are the best.
    totals += _PREFERENCE * np.arange(len(flips))[None, :, None] + _PREFERENCE * np.arange(len(orders))
    flat = totals.reshape(count, -1)
    best = flat.argmin(axis=1)
    least = flat[np.arange(count), best]
    chosen = np.argsort(least, kind="stable")[:keep].tolist()
    guesses = []
    for item in chosen:
        flip, order = divmod(int(best[item]), len(orders))
        guesses.append(Guess(float(least[item]), item, flips[flip], orders[order]))
    return guesses


def _orders(asked: int, gains: int) -> Iterator[tuple[int, ...]]:
    """Yield which gain ranges of a stored array those of a copy may be."""
    if asked == gains and gains <= 3:
        yield from permutations(range(gains))
    elif asked == gains:
        yield tuple(range(gains))
    elif asked == 1:
        yield from ((gain,) for gain in range(gains))


def rank_changed(means: Means, stored: NDArray[np.float64], steps: NDArray[np.float64], keep: int) -> list[Guess]:
    """Return the stored arrays that have the most blocks in common with an array, best first: it may be a changed copy.

    Parameters
    ----------
    means, stored, keep
        As for `rank_copies`.
    steps : ndarray
        For each stored array and gain range how much a mean may differ; shape (item, gain).
    """
    guesses = []
    orders = list(_orders(len(means), stored.shape[1]))
    for order in orders if len(means) == 1 else orders[:1]:
        known = stored[:, list(order)]
        margin = steps[:, list(order), None, None] + _PRECISION * np.abs(means)
        share = (np.abs(known - means) <= margin).mean(axis=(1, 2, 3))
        for item in np.argsort(-share, kind="stable")[:keep].tolist():
            if share[item] >= _EQUAL_BLOCKS:
                guesses.append(Guess(1 - float(share[item]), item, "", order))
    return sorted(guesses, key=lambda guess: guess.misfit)[:keep]
