"""Faults that the guard must find, planted in constants of a panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Plant = Callable[[Array, Array], Array]
"""Makes faulty values of a measurement, and of one of another panel."""


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes
    ----------
    plant : callable
        Makes faulty values.
    finding : str
        The finding that it must lead to.
    alone : tuple of str
        Calibration types in which it can be known without a history.
    past : tuple of str
        Calibration types in which it can be known with a history of the panel.
    """

    plant: Plant
    finding: str
    alone: tuple[str, ...] = ()
    past: tuple[str, ...] = ("pixel_gain", "pixel_offset")


GAIN, BOTH = ("pixel_gain",), ("pixel_gain", "pixel_offset")


def exchange_ranges(one: int, other: int) -> Plant:
    order = [0, 1, 2]
    order[one], order[other] = other, one
    return lambda values, _: values[order]


def exchange_asics(values: Array, _: Array) -> Array:
    out = values.copy()
    out[:, :256, :256], out[:, -256:, -256:] = values[:, -256:, -256:], values[:, :256, :256]
    return out


def reverse_asics(values: Array, _: Array) -> Array:
    """Put the ASICs of each row in the reverse order."""
    return np.concatenate(np.split(values, values.shape[2] // 256, axis=2)[::-1], axis=2)


def transpose_halves(values: Array, _: Array) -> Array:
    size = values.shape[1]
    return np.concatenate([part.transpose(0, 2, 1) for part in np.split(values, values.shape[2] // size, axis=2)], 2)


def transpose_asics(values: Array, _: Array) -> Array:
    out = values.copy()
    for row in range(0, values.shape[1], 256):
        for column in range(0, values.shape[2], 256):
            part = values[:, row : row + 256, column : column + 256]
            out[:, row : row + 256, column : column + 256] = part.transpose(0, 2, 1)
    return out


def kill_asic(value: float | None) -> Plant:
    """Return a fault: an ASIC with one value, or (None) with hardly any gain."""

    def plant(values: Array, _: Array) -> Array:
        out = values.copy()
        part = out[:, :256, 256:512]
        if value is None:
            part *= np.random.default_rng(1).normal(0, 0.02, part.shape).astype("f4")
        else:
            part[:] = value
        return out

    return plant


def round_to(form: str) -> Plant:
    def plant(values: Array, _: Array) -> Array:
        if form.endswith("f"):
            return np.round(values.astype("f8"), int(form[1])).astype("f4")
        size = 10.0 ** (int(form[1]) - 1 - np.floor(np.log10(np.abs(values.astype("f8")))))
        rounded: Array = (np.round(values * size) / size).astype("f4")
        return rounded

    return plant


FAULTS: Mapping[str, Fault] = {
    "another panel": Fault(lambda _, other: other, "other-panel"),
    "g0 and g1 exchanged": Fault(exchange_ranges(0, 1), "ranges", GAIN),
    "g0 and g2 exchanged": Fault(exchange_ranges(0, 2), "ranges", GAIN),
    "g1 and g2 exchanged": Fault(exchange_ranges(1, 2), "ranges", GAIN),
    "every sign": Fault(lambda values, _: -values, "sign", GAIN),
    "sign of g1 and g2": Fault(lambda v, _: v * np.array([1, -1, -1], "f4")[:, None, None], "sign", GAIN),
    "times 1000": Fault(lambda values, _: values * np.float32(1000), "magnitude", BOTH),
    "divided by 1000": Fault(lambda values, _: values / np.float32(1000), "magnitude", GAIN),
    "turned by 180 degrees": Fault(lambda values, _: values[:, ::-1, ::-1], "turned"),
    "rows flipped": Fault(lambda values, _: values[:, ::-1], "turned"),
    "columns flipped": Fault(lambda values, _: values[:, :, ::-1], "turned"),
    "memory transposed": Fault(lambda v, _: v.transpose(0, 2, 1).reshape(v.shape), "turned"),
    "halves transposed": Fault(transpose_halves, "turned"),
    "ASICs transposed": Fault(transpose_asics, "turned"),
    "two ASICs exchanged": Fault(exchange_asics, "asics"),
    "ASICs in reverse order": Fault(reverse_asics, "asics"),
    "ASIC with one value": Fault(kill_asic(1.0), "dead-asic", BOTH),
    "ASIC with hardly any gain": Fault(kill_asic(None), "dead-asic", GAIN, GAIN),
    "all equal": Fault(lambda v, _: np.ones_like(v) * v[:, :1, :1], "constant", BOTH),
    "zeros": Fault(lambda values, _: np.zeros_like(values), "constant", BOTH),
}
"""Faults of one array. Kinds, roundings and the demo's constants need more and are planted apart."""

ROUNDINGS = {".3f": "rounded to 3 decimals", ".4f": "rounded to 4 decimals", ".6g": "rounded to 6 digits"}
"""Forms of text in which a stored version is given again."""
