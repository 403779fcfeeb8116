"""Find the panels in an array of unknown origin, whatever the order and number of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FURTHER = (4, 6)
"""Files of gain maps have one or three further maps, of the high gain, after those of the three gain ranges."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The panels of an array.

    Attributes
    ----------
    panels : tuple of ndarray
        For each panel its maps, of shape (gain, row, column); gain is 1 if the array is of a single gain range.
    left_out : int
        Maps of each panel that follow those of the gain ranges and are left out.
    """

    panels: tuple[NDArray[Any], ...]
    left_out: int = 0


def find_panels(array: NDArray[Any], panel_shape: tuple[int, int, int]) -> Layout | None:
    """Return the panels of an array; None if its shape is not that of panels.

    Parameters
    ----------
    array : ndarray
        Of shape (gain, panel, row, column), (panel, gain, row, column), (gain, row, column), (panel, row, column),
        (row, column), or with the rows of all panels, or of all gain ranges and panels, one after the other.
    panel_shape : tuple of int
        (gain, row, column) of a panel.
    """
    gains, rows, columns = panel_shape
    if array.ndim < 2 or array.shape[-1] != columns or array.shape[-2] % rows or not array.size:
        return None
    whole = _as_four_axes(array, gains, rows, columns)
    if whole is None:
        return None
    left_out = 0
    if len(whole) in _FURTHER and gains < len(whole):
        left_out = len(whole) - gains
        whole = whole[:gains]
    if len(whole) not in (1, gains):
        return None
    return Layout(tuple(np.ascontiguousarray(whole[:, number]) for number in range(whole.shape[1])), left_out)


def _as_four_axes(array: NDArray[Any], gains: int, rows: int, columns: int) -> NDArray[Any] | None:
    """Return the array with the axes gain, panel, row, column."""
    if array.ndim == 4 and array.shape[2] == rows:
        is_panel_first = array.shape[1] == gains and array.shape[0] != gains
        return array.swapaxes(0, 1) if is_panel_first else array
    if array.ndim == 3 and array.shape[1] == rows and len(array) not in (gains, *_FURTHER):
        return array[np.newaxis]  # of a single gain range
    if array.ndim == 3:
        return array.reshape(len(array), -1, rows, columns)
    if array.ndim == 2:
        count = len(array) // rows
        return array.reshape(gains if count % gains == 0 else 1, -1, rows, columns)
    return None
