"""Compare two arrays: how much they differ in each gain range, and whether one is a copy of the other.

A copy may be rounded, multiplied, reversed along its rows or columns, have its gain ranges exchanged, and be changed in
places. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.likeness import Guess, flip_axes, rank_copies
from jfstore.core.rounding import NEARLY_ALL, find_format, find_step
from jfstore.core.sketch import find_block_means

_SAMPLE = 5000
_SAMPLE_SHARE = 0.75
_CERTAIN = 0.999
_COMMON = 0.002
_TINY = 6e-7
"""Relative precision of seven digits, of which a float32 has a little more."""
_FLOAT32 = "%.6e"
"""What values that differ in the last digit of a float32 were rounded to: they do not show it themselves."""
_ONE = 1e-6
_ALIKE = 0.9
"""A guess whose misfit is above this is not worth a comparison."""
ASIC_GRID = (2, 4)
"""ASICs of a panel along rows and columns; each of a Jungfrau has 256 x 256 pixels."""


@dataclass(frozen=True, slots=True)
class Relation:
    """How an array, a copy, follows from another one, its original.

    Attributes
    ----------
    factors : tuple of float
        What each gain range of the original is multiplied by; 1 if it is not.
    flip : str
        Which axes are reversed: empty, ``rows``, ``columns`` or ``both``.
    ranges : tuple of int
        Gain range of the original that each gain range of the copy comes from.
    rounded : str or None
        Format to which the values of the copy are rounded, such as ``%.4f``.
    original_rounded : str or None
        Format to which the values of the original are rounded, if those of the copy are not.
    different : int
        Values that follow from the original in no such way.
    total : int
        Values of the copy.
    gains : int
        Gain ranges of the original.
    """

    factors: tuple[float, ...]
    flip: str
    ranges: tuple[int, ...]
    rounded: str | None
    original_rounded: str | None
    different: int
    total: int
    gains: int = 1

    @property
    def is_equal(self) -> bool:
        """Whether every value is that of the original."""
        return str(self) == "equal"

    def __str__(self) -> str:
        """Return the relation in words, such as ``rounded to %.4f``; ``equal`` if nothing distinguishes the two."""
        words = [*self._describe_ranges(), *self._describe_factors()]
        if self.flip:
            words.append({"both": "turned by 180 degrees"}.get(self.flip, f"{self.flip} reversed"))
        if self.rounded:
            words.append(f"rounded to {self.rounded}")
        if self.original_rounded:
            words.append(f"not rounded, as the original is, to {self.original_rounded}")
        if self.different:
            words.append(f"{self.different} of {self.total} values differ")
        return ", ".join(words) or "equal"

    def _describe_ranges(self) -> list[str]:
        if len(self.ranges) < self.gains:
            return [f"gain range {self.ranges[0]}"]
        if self.ranges == tuple(range(len(self.ranges))):
            return []
        return [f"gain ranges in the order {', '.join(map(str, self.ranges))}"]

    def _describe_factors(self) -> list[str]:
        others = {number: factor for number, factor in enumerate(self.factors) if factor != 1}
        if not others:
            return []
        is_whole = len(others) == len(self.factors)
        places = "" if is_whole else f" in gain range {', '.join(map(str, others))}"
        texts = dict.fromkeys(f"{factor:g}" for factor in others.values())
        if [*texts] == ["-1"]:
            return [f"sign turned{places}"]
        if len(texts) == 1:
            return [f"multiplied by {next(iter(texts))}{places}"]
        return [f"multiplied by {', '.join(f'{factor:g}' for factor in self.factors)}"]


def find_relation(copy: NDArray[Any], original: NDArray[Any]) -> Relation | None:
    """Return how one array follows from another one of the same shape; None if it does not.

    Parameters
    ----------
    copy, original : ndarray
        Of shape (gain, row, column) or (row, column), of finite numbers.
    """
    one, other = (array.reshape(-1, *array.shape[-2:]) for array in (copy, original))
    identity = Guess(0.0, 0, "", tuple(range(len(one))))
    if relation := check_guess(one, other, identity):
        return relation
    means = [find_block_means(array) for array in (one, other)]
    for guess in rank_copies(means[0], means[1][np.newaxis], 1):
        if guess.misfit < _ALIKE and (guess.flip, guess.ranges) != (identity.flip, identity.ranges):
            return check_guess(one, other, guess)
    return None


def check_guess(copy: NDArray[Any], original: NDArray[Any], guess: Guess) -> Relation | None:
    """Return how an array follows from another one as `guess` says; None if it does not.

    Parameters
    ----------
    copy : ndarray
        Shape (gain, row, column), of the gain ranges of the original, or of one of them.
    original : ndarray
        Shape (gain, row, column).
    guess : Guess
        Which axes are reversed, and which gain ranges the copy has.
    """
    stored = [flip_axes(original[gain], guess.flip) for gain in guess.ranges]
    formats = find_format(copy), find_format(original)
    pairs = [_Pair(*arrays, *formats) for arrays in zip(copy, stored, strict=True)]
    lead = max(pairs, key=lambda pair: pair.sample_share)
    for pair in pairs:
        pair.prefer(lead.factor)
    total = sum(pair.size for pair in pairs)
    # A few values tell most arrays apart.
    if sum(pair.sample_share * pair.size for pair in pairs) < _SAMPLE_SHARE * total:
        return None
    different = sum(pair.count_different() for pair in pairs)
    if different > (1 - NEARLY_ALL) * total:
        return None
    rounded = original_rounded = None
    if any(pair.needs_rounding for pair in pairs):
        if not any(pair.is_finer_than_steps for pair in pairs):
            return None
        is_copy_rounded = any(pair.is_copy_coarser for pair in pairs)
        rounded, original_rounded = (formats[0] or _FLOAT32, None) if is_copy_rounded else (None, formats[1])
    factors = tuple(pair.factor for pair in pairs)
    return Relation(factors, guess.flip, guess.ranges, rounded, original_rounded, different, total, len(original))


class _Pair:
    """One gain range of a copy and of its original, and the factor between them."""

    def __init__(
        self, copy: NDArray[Any], original: NDArray[Any], copy_format: str | None, original_format: str | None
    ) -> None:
        self._formats = copy_format, original_format
        self._dtype = np.float32 if np.float32 in (copy.dtype, original.dtype) else np.float64
        self._values, self._stored = copy.reshape(-1), original.reshape(-1)
        self.size = self._values.size
        places = np.linspace(0, self.size - 1, min(_SAMPLE, self.size)).astype(int)
        self._sample = self._values[places].astype(np.float64), self._stored[places].astype(np.float64)
        self.factor, self.sample_share = self._find_factor()
        self.needs_rounding = False

    def _find_factor(self) -> tuple[float, float]:
        """Return what the original is multiplied by, and for which part of a sample that holds."""
        values, stored = self._sample
        best = 1.0, 0.0
        for factor in _guess_factors(values, stored):
            share = float(np.mean(self._is_like(values, stored, factor)))
            if share > best[1]:
                best = factor, share
            if share >= _CERTAIN:
                break
        return best

    def prefer(self, factor: float) -> None:
        """Take the factor of another gain range if it explains as much: both were then multiplied together."""
        if abs(self.factor) != 1 and (share := float(np.mean(self._is_like(*self._sample, factor)))) >= (
            self.sample_share - _COMMON
        ):
            self.factor, self.sample_share = factor, share

    def _steps(self, values: NDArray[np.float64], stored: NDArray[np.float64], factor: float) -> Any:
        """Return by how much a value may be off through rounding, twice."""
        copied, original = find_step(self._formats[0], values), abs(factor) * find_step(self._formats[1], stored)
        # Of two rounded arrays that were not multiplied, one was rounded from the other.
        return np.maximum(copied, original) if abs(factor) == 1 else copied + original

    def _is_like(
        self, values: NDArray[np.float64], stored: NDArray[np.float64], factor: float, with_steps: bool = True
    ) -> NDArray[np.bool_]:
        wanted = factor * stored
        with np.errstate(over="ignore"):
            equal: NDArray[np.bool_] = values.astype(self._dtype) == wanted.astype(self._dtype)
        margin = _TINY * np.abs(wanted)
        if with_steps:
            margin += 0.5 * (1 + _ONE) * self._steps(values, stored, factor)
        elif abs(factor) == 1:
            return equal
        is_like: NDArray[np.bool_] = equal | (np.abs(values - wanted) <= margin)
        return is_like

    def count_different(self) -> int:
        """Return how many values do not follow from the original, and find out whether rounding explains others."""
        values, stored = self._values.astype(np.float64), self._stored.astype(np.float64)
        like = int(np.count_nonzero(self._is_like(values, stored, self.factor)))
        without = int(np.count_nonzero(self._is_like(values, stored, self.factor, with_steps=False)))
        self.needs_rounding = like > without
        return self.size - like

    @property
    def is_finer_than_steps(self) -> bool:
        """Whether the values vary so much that a rounded copy tells what it is a copy of."""
        values, stored = self._sample
        return float(np.median(self._steps(values, stored, self.factor))) <= 2 * float(values.std())

    @property
    def is_copy_coarser(self) -> bool:
        """Whether the values of the copy are rounded more than those of the original."""
        values, stored = self._sample
        copied, original = find_step(self._formats[0], values), find_step(self._formats[1], stored)
        return float(np.median(copied)) >= abs(self.factor) * float(np.median(original))


def _guess_factors(values: NDArray[np.float64], stored: NDArray[np.float64]) -> Iterator[float]:
    """Yield what `stored` may be multiplied by to give `values`, the simplest first."""
    yield from (1.0, -1.0)
    used = np.abs(stored) > 1e-3 * np.abs(stored).max(initial=0.0)
    if not used.any():
        return
    ratio = float(np.median(values[used] / stored[used]))
    if math.isfinite(ratio) and ratio:
        fitted = float(values @ stored / (stored @ stored))
        yield from dict.fromkeys((*(float(f"{ratio:.{digits}g}") for digits in (1, 3, 6)), ratio, fitted))


@dataclass(frozen=True, slots=True)
class AsicDifference:
    """The ASIC in which two arrays differ most: its row and column among the ASICs, and its mean |difference|."""

    row: int
    column: int
    mean: float


@dataclass(frozen=True, slots=True)
class RangeDifference:
    """How much two arrays differ in one gain range; a difference is the second value less the first.

    Attributes
    ----------
    gain : int
        The gain range.
    total, different : int
        Number of values, and of those that are not equal.
    median : float
        Median of the differences.
    within_95 : float
        The |difference| that 95 % of the values do not exceed.
    relative_median, relative_within_95 : float or None
        The same of the relative differences, for a calibration type that divides, such as gains.
    worst : AsicDifference or None
        The ASIC that differs most; None if nothing differs, or the panel cannot be divided into ASICs.
    """

    gain: int
    total: int
    different: int
    median: float
    within_95: float
    relative_median: float | None
    relative_within_95: float | None
    worst: AsicDifference | None


def compare_ranges(one: NDArray[Any], other: NDArray[Any], divides: bool) -> tuple[RangeDifference, ...]:
    """Return how much two arrays of the same shape differ, for each gain range.

    Parameters
    ----------
    one, other : ndarray
        Shape (gain, row, column) or (row, column).
    divides : bool
        Whether relative differences mean something, as those of gains do.
    """
    before, after = (array.reshape(-1, *array.shape[-2:]) for array in (one, other))
    return tuple(_compare_range(gain, before[gain], after[gain], divides) for gain in range(len(before)))


def _compare_range(gain: int, one: NDArray[Any], other: NDArray[Any], divides: bool) -> RangeDifference:
    before = one.astype(np.float64)
    difference = other.astype(np.float64) - before
    different = int(np.count_nonzero(one != other))
    median, within = _summarize(difference)
    relative: tuple[float | None, float | None] = (None, None)
    if divides:
        # Of a type that divides no stored value is zero.
        relative = _summarize(np.divide(difference, before, out=np.zeros_like(before), where=before != 0))
    worst = _find_worst(difference) if different else None
    return RangeDifference(gain, one.size, different, median, within, *relative, worst)


def _summarize(difference: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.median(difference)), float(np.quantile(np.abs(difference), 0.95))


def _find_worst(difference: NDArray[np.float64]) -> AsicDifference | None:
    rows, columns = ASIC_GRID
    if difference.shape[0] % rows or difference.shape[1] % columns:
        return None
    parts = np.abs(difference).reshape(rows, difference.shape[0] // rows, columns, -1).mean(axis=(1, 3))
    row, column = divmod(int(parts.argmax()), columns)
    return AsicDifference(row, column, float(parts[row, column]))
