"""Sketches: quantiles and block means that a kilobyte holds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jfstore.core.sketch import QUANTILES, decode_sketch, encode_sketch, make_sketch


def panel(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    array: np.ndarray = random.standard_normal((3, 512, 1024)) + np.array([41.5, -1.39, -0.11])[:, None, None]
    return array.astype("<f4")


def test_a_sketch_of_a_panel_says_what_the_panel_is() -> None:
    array = panel(1)
    sketch = make_sketch(array)
    assert sketch.blocks == (8, 16)
    assert len(sketch.quantiles) == 3
    for gain, quantiles in zip(array.astype("f8"), sketch.quantiles, strict=True):
        assert quantiles[0] == pytest.approx(gain.min(), rel=1e-5)
        assert quantiles[-1] == pytest.approx(gain.max(), rel=1e-5)
        # A sample of 8,322 values: the median is within a few standard errors.
        assert np.allclose(quantiles[2:-2], np.quantile(gain, QUANTILES[2:-2]), atol=0.08)
    means = array.reshape(3, 8, 64, 16, 64).mean(axis=(2, 4), dtype="f8")
    assert np.allclose(sketch.block_means(), means, atol=2e-5)


def test_a_sketch_is_at_most_two_kilobytes_and_comes_back() -> None:
    sketch = make_sketch(panel(2))
    text = json.dumps(encode_sketch(sketch), separators=(",", ":"))
    assert len(text) <= 2048
    assert decode_sketch(json.loads(text)) == sketch


def test_of_integers_block_means_are_the_part_that_is_not_0() -> None:
    status = np.zeros((3, 512, 1024), "<u8")
    status[1, :64, :32] = 1 << 60
    sketch = make_sketch(status)
    expected = np.zeros((3, 8, 16))
    expected[1, 0, 0] = 0.5
    assert np.allclose(sketch.block_means(), expected, atol=1e-4)
    assert sketch.quantiles[1][-1] == pytest.approx(1 << 60, rel=1e-5)


def test_a_mask_has_one_row_of_quantiles() -> None:
    sketch = make_sketch(np.ones((512, 1024), "|u1"))
    assert sketch.quantiles == ((1.0,) * 9,)
    assert sketch.block_means().shape == (1, 8, 16)


@settings(deadline=None, max_examples=50)
@example(np.array([[[0.0, 1.1754944e-38]]], "<f4"))
@example(np.array([[[-3.4e38, 3.4e38]]], "<f4"))
@given(
    arrays.arrays(
        "<f4",
        st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 20)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_every_finite_array_has_a_sketch_that_json_can_hold(array: np.ndarray) -> None:
    sketch = make_sketch(array)
    assert decode_sketch(json.loads(json.dumps(encode_sketch(sketch), allow_nan=False))) == sketch


@pytest.mark.parametrize("change", [{"means": "AAAA"}, {"blocks": [8]}, {"quantiles": [[1.0]]}, {"ranges": []}])
def test_a_sketch_that_does_not_fit_together_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_sketch({**encode_sketch(make_sketch(panel(3))), **change})
