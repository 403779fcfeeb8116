"""Compare arrays: what is a copy of what, and how much they differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jfstore.cli.demo_data import constants
from jfstore.core.comparing import compare_ranges, find_relation

GAIN = constants(44, "gain")
OFFSET = constants(44, "offset")
SMALL = np.random.default_rng(1).uniform(1, 50, (3, 4, 8)).astype("<f4")


def as_text(array: np.ndarray, fmt: str) -> np.ndarray:
    """Return the float64 values that a text of this format holds."""
    return np.array([float(fmt % value) for value in array.reshape(-1).tolist()]).reshape(array.shape)


def with_factors(*factors: float) -> np.ndarray:
    array: np.ndarray = (GAIN * np.array(factors, "f4")[:, None, None]).astype("f4")
    return array


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GAIN, "equal"),
        (lambda: GAIN.astype(">f8"), "equal"),
        (lambda: as_text(GAIN, "%.4f"), "rounded to %.4f"),
        (lambda: as_text(GAIN, "%.3f").astype("f4"), "rounded to %.3f"),
        (lambda: as_text(GAIN, "%.1f"), "rounded to %.1f"),
        (lambda: as_text(GAIN, "%.5g"), "rounded to %.4e"),
        (lambda: as_text(GAIN, "%.6e").astype("f4"), "rounded to %.6e"),
        (lambda: as_text(GAIN, "%.9g"), "equal"),
        (lambda: GAIN * np.float32(1000), "multiplied by 1000"),
        (lambda: as_text(GAIN * 1000.0, "%.3f"), "multiplied by 1000, rounded to %.3f"),
        (lambda: GAIN.astype("f8") / 1000, "multiplied by 0.001"),
        (lambda: as_text(GAIN * np.pi, "%.3f"), "multiplied by 3.14159, rounded to %.3f"),
        (lambda: -GAIN, "sign turned"),
        (lambda: with_factors(1, -1, -1), "sign turned in gain range 1, 2"),
        (lambda: with_factors(1, 1, 1.02), "multiplied by 1.02 in gain range 2"),
        (lambda: GAIN[:, ::-1], "rows reversed"),
        (lambda: GAIN[:, :, ::-1], "columns reversed"),
        (lambda: -as_text(GAIN[:, ::-1, ::-1], "%.3f"), "sign turned, turned by 180 degrees, rounded to %.3f"),
        (lambda: GAIN[[1, 0, 2]], "gain ranges in the order 1, 0, 2"),
    ],
)
def test_a_copy_is_recognised(make: Callable[[], np.ndarray], words: str) -> None:
    relation = find_relation(make(), GAIN)
    assert relation is not None
    assert str(relation) == words
    assert relation.is_equal == (words == "equal")
    assert relation.different == 0


@pytest.mark.parametrize(
    ("fmt", "words"), [("%.1f", "rounded to %.1f"), ("%.3f", "rounded to %.3f"), ("%.5g", "rounded to %.4e")]
)
def test_offsets_are_recognised(fmt: str, words: str) -> None:
    assert str(find_relation(as_text(OFFSET, fmt), OFFSET)) == words


def test_the_original_may_be_the_rounded_one() -> None:
    relation = find_relation(GAIN, as_text(GAIN, "%.3f").astype("f4"))
    assert relation is not None
    assert (relation.rounded, relation.original_rounded) == (None, "%.3f")


def test_two_arrays_with_few_digits_are_not_copies_because_of_that() -> None:
    shift = np.random.default_rng(1).choice([-0.1, 0, 0.1], GAIN[:1].shape)
    one, other = (np.round(array, 1).astype("f4") for array in (GAIN[:1], GAIN[:1] + shift))
    assert find_relation(one, other) is None


def test_changed_values_are_counted() -> None:
    changed = GAIN.copy()
    changed[0, :256, :256] = 1
    relation = find_relation(changed, GAIN)
    assert relation is not None
    assert str(relation) == "65536 of 1572864 values differ"
    assert not relation.is_equal


@pytest.mark.parametrize(
    "other",
    [constants(68, "gain"), OFFSET, np.ones_like(GAIN), np.zeros_like(GAIN), 1 / GAIN],
    ids=["other panel", "offsets", "ones", "zeros", "reciprocal"],
)
def test_what_is_not_a_copy_is_not_called_one(other: np.ndarray) -> None:
    assert find_relation(other, GAIN) is None


def test_small_panels_and_arrays_without_gain_ranges_are_compared() -> None:
    assert str(find_relation(as_text(SMALL, "%.2f"), SMALL)) == "rounded to %.2f"
    assert str(find_relation(SMALL[:, ::-1], SMALL)) == "rows reversed"
    mask = np.random.default_rng(2).integers(0, 2, (16, 32)).astype("u1")
    assert str(find_relation(mask, mask.copy())) == "equal"
    assert find_relation(1 - mask, mask) is None


def test_ranges_are_compared_with_their_worst_asic() -> None:
    other = GAIN.copy()
    other[1] *= np.float32(1.01)
    other[2, 256:, 512:768] += np.float32(0.5)
    first, second, third = compare_ranges(GAIN, other, divides=True)
    assert (first.different, first.median, first.within_95, first.worst) == (0, 0, 0, None)
    assert second.different == second.total == 512 * 1024
    assert second.relative_median == pytest.approx(0.01, rel=1e-4)
    assert second.relative_within_95 == pytest.approx(0.01, rel=1e-4)
    difference = other[1].astype("f8") - GAIN[1]
    assert second.median == pytest.approx(np.median(difference))
    assert second.within_95 == pytest.approx(np.quantile(np.abs(difference), 0.95))
    assert third.different == 256 * 256
    assert third.worst is not None
    assert (third.worst.row, third.worst.column) == (1, 2)
    assert third.worst.mean == pytest.approx(0.5, rel=1e-4)
    assert compare_ranges(OFFSET, OFFSET, divides=False)[0].relative_median is None


def test_a_panel_that_cannot_be_divided_has_no_worst_asic() -> None:
    one = np.zeros((1, 3, 5), "f4")
    assert compare_ranges(one, one + np.float32(1), divides=True)[0].worst is None
