"""The panels of arrays with axes in any order, and the formats of values."""

from __future__ import annotations

import numpy as np
import pytest

from jfstore.core.layout import find_panels
from jfstore.core.rounding import find_format

SHAPE = (3, 4, 8)
WHOLE = np.arange(3 * 2 * 4 * 8.0).reshape(3, 2, 4, 8)


@pytest.mark.parametrize(
    "array",
    [
        WHOLE,
        WHOLE.swapaxes(0, 1),
        WHOLE.reshape(3, 8, 8),
        WHOLE.reshape(24, 8),
        np.concatenate([WHOLE, WHOLE[:1]]),
        np.concatenate([WHOLE, WHOLE]).reshape(6, 8, 8),
    ],
    ids=["gain first", "panel first", "rows of panels", "rows of all", "with high gain", "stacked with high gain"],
)
def test_two_panels(array: np.ndarray) -> None:
    layout = find_panels(array, SHAPE)
    assert layout is not None
    assert [panel.tolist() for panel in layout.panels] == [WHOLE[:, 0].tolist(), WHOLE[:, 1].tolist()]
    assert layout.left_out == len(array) % 3 if array.ndim == 4 and len(array) > 3 else layout.left_out in (0, 3)


@pytest.mark.parametrize(
    ("shape", "panels", "gains"),
    [((3, 4, 8), 1, 3), ((12, 8), 1, 3), ((4, 8), 1, 1), ((2, 4, 8), 2, 1), ((4, 4, 8), 1, 3), ((1, 5, 4, 8), 5, 1)],
)
def test_other_shapes(shape: tuple[int, ...], panels: int, gains: int) -> None:
    layout = find_panels(np.zeros(shape), SHAPE)
    assert layout is not None
    assert [panel.shape for panel in layout.panels] == [(gains, 4, 8)] * panels


@pytest.mark.parametrize("shape", [(8,), (3, 4, 9), (3, 5, 8), (2, 2, 4, 8), (0, 4, 8), (3, 1, 1, 4, 8), ()])
def test_what_is_not_of_panels(shape: tuple[int, ...]) -> None:
    assert find_panels(np.zeros(shape), SHAPE) is None


VALUES = np.random.default_rng(1).normal(-1.39, 0.4, 4000)


@pytest.mark.parametrize("fmt", ["%.0f", "%.1f", "%.3f", "%.6f", "%.2e", "%.4e", "%.6e"])
def test_the_format_of_values_is_found(fmt: str) -> None:
    values = np.array([float(fmt % value) for value in VALUES])
    assert find_format(values) == fmt


def test_values_that_were_not_rounded_have_no_format() -> None:
    assert find_format(VALUES) is None
    assert find_format(VALUES.astype("f4")) is None
    assert find_format(VALUES.astype("f4").astype("f8")) is None
