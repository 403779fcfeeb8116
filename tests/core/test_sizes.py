"""By how much constants change: quantiles of relative changes of gains, and of differences of offsets."""

from __future__ import annotations

import numpy as np
import pytest

from jfstore.core.sizes import measure_changes, take_sample


def test_a_sample_is_all_of_a_small_array_and_every_63rd_value_of_a_large_one() -> None:
    small = np.arange(3 * 128 * 128, dtype="<f4").reshape(3, 128, 128)
    assert np.array_equal(take_sample(small), small.reshape(3, -1))
    large = np.arange(3 * 512 * 1024, dtype="<f4").reshape(3, 512, 1024)
    assert np.array_equal(take_sample(large), large.reshape(3, -1)[:, ::63])
    assert take_sample(large).base is None
    assert take_sample(small[0]).shape == (1, 128 * 128)
    assert len({*(take_sample(np.arange(512 * 1024).reshape(512, 1024))[0] % 1024).tolist()}) == 1024


def test_a_sample_says_nearly_what_the_whole_array_says() -> None:
    random = np.random.default_rng(1)
    before = random.normal(41.5, 1, (3, 512, 1024)).astype("<f4")
    after = (before * random.normal(1.008, 0.01, before.shape)).astype("<f4")
    changes = after.astype(float) / before - 1
    for size, values in zip(
        measure_changes("pixel_gain", [(take_sample(before), take_sample(after))]), changes, strict=True
    ):
        assert (size.low, size.median, size.high) == pytest.approx(np.percentile(values, [2.5, 50, 97.5]), abs=1e-3)


def test_gains_are_relative_and_offsets_are_differences_over_all_pairs() -> None:
    before, after = np.array([[-2, 4]], "<f4"), np.array([[-3, 4]], "<f4")
    (size,) = measure_changes("pixel_gain", [(before, after), (before, before)])
    assert (size.pairs, size.is_relative, size.median, size.different) == (2, True, 0.0, 0.25)
    assert size.high == pytest.approx(np.percentile([0.5, 0, 0, 0], 97.5))
    (size,) = measure_changes("pixel_offset", [(before, after)])
    assert (size.is_relative, size.median) == (False, -0.5)


@pytest.mark.filterwarnings("error")
def test_zeros_and_integers_do_no_harm() -> None:
    zero = np.zeros((1, 2), "<f4")
    (size,) = measure_changes("pixel_gain", [(zero, zero + 1)])
    assert (size.median, size.different) == (None, 1.0)
    most = np.full((1, 2), np.finfo("<f4").max)
    (size,) = measure_changes("pixel_offset", [(-most, most)])
    assert size.median == pytest.approx(2 * float(np.finfo("<f4").max))
    (size,) = measure_changes("pixel_offset", [(np.array([[1, 2]], "<u8"), np.array([[1, 3]], "<u8"))])
    assert (size.median, size.low, size.high, size.different) == (None, None, None, 0.5)
    assert measure_changes("pixel_gain", []) == ()
