"""Judge whether new constants are those of their panel, by the pattern of its pixels.

The thresholds were set with one half of the seeds of a generator of panels and confirmed with another generator; see
docs/guard.md and ``tests/core/test_guard_table.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.guard import RULES, Named
from jfstore.core.pattern import ASIC, Floats, Pattern, correlate, correlate_asics, make_pattern

ALIKE = 0.5
"""Patterns that correlate at least so much are those of one panel."""

UNLIKE = 0.25
"""Patterns that correlate less are not those of one panel; in between nothing is found."""

MARGIN = 0.25
"""An ASIC or range that is another one of an earlier version correlates by so much better with it than with its own."""

SCALE_FACTOR = 5.0
"""A pattern may grow or shrink by this factor from version to version. Drifts are per cents."""

LEAST_RATIO, NEAR = 2.0, 0.3
"""Ranges are exchanged if their medians differed by a factor of 2, and each new one is within 30 % of the other's."""

DEAD_GAIN = 0.2
"""An ASIC whose median gain is less than this share of the median of all ASICs is dead."""

MANY_VALUES = 32
"""An ASIC with one value is dead if half of the ASICs have so many among 1024 pixels, so not if values are coarse."""

ROUNDED_SHARE = 0.999
"""Share of the sampled pixels that must be the rounded value of a stored version."""

DEMO_DEVIATIONS = 12.0
"""Correlation with the mark of the demo, in standard deviations of chance; the demo's have about 55, others up to 4."""

_DEMO_ROWS, _DEMO_COLUMNS = 32, 64

_Rounding = tuple[int, str, Callable[[NDArray[np.float64], int], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """An earlier version of a panel, or one of another panel.

    Attributes
    ----------
    name : str
        Name of the version.
    pattern : Pattern
        Its pattern.
    """

    name: str
    pattern: Pattern


# -- what one array shows


def judge_asics(calib_type: str, pattern: Pattern) -> list[Named]:
    """Return whether an ASIC is dead: it has one value, or hardly any gain."""
    count = pattern.asics[0] * pattern.asics[1]
    if count < 2:
        return []
    dead: dict[int, str] = {}
    for number, row in enumerate(pattern.values):
        parts = np.sort(row.reshape(count, -1), axis=1)
        edge = parts.shape[1] // 100
        kinds = (np.diff(parts, axis=1) > 0).sum(axis=1) + 1
        is_single = (parts[:, edge] == parts[:, -1 - edge]) & (np.median(kinds) >= MANY_VALUES)
        for asic in np.flatnonzero(is_single).tolist():
            dead.setdefault(asic, f"all of g{number} is {parts[asic, edge]:.6g}")
        if RULES[calib_type].levels:
            sizes = np.abs(parts[:, parts.shape[1] // 2])
            for asic in np.flatnonzero(sizes < DEAD_GAIN * np.median(sizes)).tolist():
                dead.setdefault(asic, f"the median of g{number} is {sizes[asic]:.3g}, elsewhere {np.median(sizes):.3g}")
    if not dead:
        return []
    text = "; ".join(f"{_place_of(asic, pattern.asics)}: {evidence}" for asic, evidence in dead.items())
    return [("dead-asic", text)]


def judge_demo(array: NDArray[Any]) -> list[Named]:
    """Return whether an array of shape (gain, row, column) was made by ``jfstore demo``."""
    rows, columns = min(_DEMO_ROWS, array.shape[1]), array.shape[2]
    width = min(columns, _DEMO_COLUMNS)
    used = columns - columns % width
    values = array[min(1, len(array) - 1), :rows, :used]
    low, middle, high = np.quantile(values[:, ::8], [0.02, 0.5, 0.98])
    values = np.ascontiguousarray(np.minimum(np.maximum(values, np.float32(low)), np.float32(high)))
    values -= np.float32(middle)
    # Levels of ASICs and slopes would hide the mark.
    parts = values.reshape(rows, -1, width)
    parts -= parts.mean(axis=2, keepdims=True)
    # Not by np.vdot, whose threads cost more than they save.
    length = float(np.sqrt((values * values).sum()))
    deviations = abs(float((values * demo_mark(rows, columns)[:, :used]).sum())) / length if length else 0.0
    return [("demo", "it has the mark of the demo's constants")] if deviations > DEMO_DEVIATIONS else []


@lru_cache(maxsize=4)
def demo_mark(rows: int, columns: int) -> NDArray[np.int8]:
    """Return the mark that the demo puts into its constants: 1 and -1 in an order that looks random.

    Fewer rows are the first ones of more rows.
    """
    place = np.arange(rows * columns, dtype=np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        place ^= place >> np.uint32(shift)
        place *= np.uint32(factor)
    mark: NDArray[np.int8] = ((place >> np.uint32(31)).astype(np.int8) * 2 - 1).reshape(rows, columns)
    return mark


# -- against earlier versions of the same panel


def may_be_alike(one: Pattern, other: Pattern) -> bool:
    """Return whether two patterns for a quick look are so much alike that a closer look is worth it."""
    return measure_likeness(one, other) >= UNLIKE


def measure_likeness(one: Pattern, other: Pattern) -> float:
    """Return the correlation of two patterns: that of the range in which they are most alike."""
    return max(0.0, float(correlate(one, other).diagonal().max()))


def judge_pixels(
    calib_type: str,
    array: NDArray[Any],
    pattern: Pattern,
    own: Iterable[Past],
    find_others: Callable[[], Iterable[Past]],
) -> tuple[list[Named], str | None]:
    """Return the findings that pixels show, and a note if an array is like no earlier version.

    Parameters
    ----------
    calib_type : str
        Calibration type.
    array : ndarray
        The new values, of shape (gain, row, column).
    pattern : Pattern
        Their pattern.
    own : iterable of Past
        Earlier versions of the panel, the last one first; those after one that is alike are not asked for.
    find_others : callable
        Returns versions of other panels that may be alike; called only if no earlier version of the panel is.
    """
    findings = [*judge_asics(calib_type, pattern), *judge_demo(array)]
    if not any(pattern.spreads):
        return findings, None
    best, likeness, last = None, -1.0, None
    for past in own:
        if not any(past.pattern.spreads):
            continue
        last = last or past
        value = measure_likeness(pattern, past.pattern)
        if value > likeness:
            best, likeness = past, value
        if value >= ALIKE:
            break
    if best is None or last is None:
        return findings + _judge_others(pattern, find_others(), None, 0.0), None
    found = judge_past(pattern, best)
    if likeness < ALIKE and not found:
        found = judge_turns(array, last) or _judge_others(pattern, find_others(), best, likeness)
        if not found and likeness < UNLIKE:
            return findings, f"{likeness:.2f} with {best.name}"
    return findings + found, None


def _judge_others(pattern: Pattern, others: Iterable[Past], own: Past | None, likeness: float) -> list[Named]:
    """Return whether an array is like the version of another panel."""
    alike = [(measure_likeness(pattern, other.pattern), other.name) for other in others]
    value, name = max(alike, default=(0.0, ""))
    if value < ALIKE:
        return []
    mine = "" if own is None else f"{likeness:.2f} with {own.name}, "
    return [("other-panel", f"{mine}{value:.2f} with {name}: exchanged?")]


def judge_past(pattern: Pattern, past: Past) -> list[Named]:
    """Return what is wrong with constants that are, at least in part, those of an earlier version of the panel."""
    table = correlate(pattern, past.pattern)
    return [
        *_judge_signs(table, past),
        *_judge_order(table, pattern, past),
        *_judge_scale(table, pattern, past),
        *_judge_asic_places(pattern, past),
        *_judge_rounding(pattern, past),
    ]


def _judge_signs(table: Floats, past: Past) -> Iterator[Named]:
    if turned := [number for number, value in enumerate(table.diagonal().tolist()) if value <= -ALIKE]:
        values = ", ".join(f"{table[number, number]:.2f} in g{number}" for number in turned)
        yield "sign", f"the pattern is that of {past.name} with the other sign: {values}"


def _judge_order(table: Floats, pattern: Pattern, past: Past) -> Iterator[Named]:
    medians, earlier = np.median(pattern.values, axis=1).tolist(), np.median(past.pattern.values, axis=1).tolist()
    for one in range(len(table)):
        for other in range(one):
            by_pattern = all(
                table[a, b] >= ALIKE and table[a, b] - table[a, a] >= MARGIN for a, b in ((one, other), (other, one))
            )
            small, large = sorted([abs(earlier[one]), abs(earlier[other])])
            by_median = (
                large > LEAST_RATIO * small
                and _is_near(medians[one], earlier[other])
                and _is_near(medians[other], earlier[one])
            )
            if by_pattern or by_median:
                yield "ranges", f"g{other} and g{one} seem to be g{one} and g{other} of {past.name}"


def _is_near(value: float, other: float) -> bool:
    return abs(value - other) <= NEAR * abs(other)


def _judge_scale(table: Floats, pattern: Pattern, past: Past) -> Iterator[Named]:
    for number, (new, old) in enumerate(zip(pattern.spreads, past.pattern.spreads, strict=True)):
        if abs(table[number, number]) >= ALIKE and not 1 / SCALE_FACTOR <= new / old <= SCALE_FACTOR:
            yield "magnitude", f"g{number} is about {new / old:.2g} times that of {past.name}"
            return


def _judge_asic_places(pattern: Pattern, past: Past) -> Iterator[Named]:
    if pattern.asics == (1, 1):
        return
    table = correlate_asics(pattern, past.pattern)
    moved = [
        f"{_place_of(asic, pattern.asics)} is {_place_of(best, pattern.asics)} of {past.name} ({row[best]:.2f})"
        for asic, row in enumerate(table)
        if row[best := int(row.argmax())] >= ALIKE and row[best] - row[asic] >= MARGIN
    ]
    if moved:
        yield "asics", "; ".join(moved)


def _place_of(asic: int, asics: tuple[int, int]) -> str:
    row, column = divmod(asic, asics[1])
    return f"the ASIC at row {row * ASIC}, column {column * ASIC}"


def _judge_rounding(pattern: Pattern, past: Past) -> Iterator[Named]:
    if np.array_equal(pattern.values, past.pattern.values):
        return
    old = past.pattern.values.astype(np.float64)
    for digits, what, round_to in _find_roundings(pattern):
        if _is_equal(round_to(old, digits), pattern.values) and not _is_equal(round_to(old, digits), old):
            yield "rounded", f"{past.name} rounded to {digits} {what}"
            return


def is_rounded(pattern: Pattern) -> bool:
    """Return whether the values have fewer digits than float32 holds, as those of a text may."""
    return any(True for _ in _find_roundings(pattern))


def _find_roundings(pattern: Pattern) -> Iterator[_Rounding]:
    places = np.linspace(0, pattern.values.shape[1] - 1, 256).astype(int)
    few = pattern.values[:, places].astype(np.float64)
    for rounding in _ROUNDINGS:
        if _is_equal(rounding[2](few, rounding[0]), few):
            yield rounding


def _round_decimals(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = np.round(values, digits)
    return rounded


def _round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    sizes = np.abs(values)
    exponents = np.floor(np.log10(sizes, out=np.zeros_like(sizes), where=sizes > 0))
    scale = 10.0 ** (digits - 1 - exponents)
    rounded: NDArray[np.float64] = np.round(values * scale) / scale
    return rounded


_ROUNDINGS: Sequence[_Rounding] = (
    *((digits, "decimals", _round_decimals) for digits in range(5)),
    *((digits, "digits", _round_significant) for digits in range(2, 7)),
)
"""How numbers are rounded when they are written as text: ``%.3f``, ``%.6g``, ``%.4e``."""


def _is_equal(rounded: NDArray[np.float64], values: NDArray[Any]) -> bool:
    """Return whether nearly all values of each range are equal as float32."""
    equal = rounded.astype(np.float32) == values.astype(np.float32)
    return bool(np.all(equal.mean(axis=1) >= ROUNDED_SHARE))


# -- turned, flipped and transposed


def _split(array: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return a view of shape (gain, row of parts, row, column of parts, column)."""
    gains, rows, columns = array.shape
    return array.reshape(gains, rows // height, height, columns // width, width)


def _transpose_parts(array: NDArray[Any], size: int) -> NDArray[Any]:
    return _split(array, size, size).transpose(0, 1, 4, 3, 2).reshape(array.shape)


TURNS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "turned by 180 degrees": lambda array: array[:, ::-1, ::-1],
    "flipped, the last row first": lambda array: array[:, ::-1],
    "flipped, the last column first": lambda array: array[:, :, ::-1],
    "transposed": lambda array: (
        array.transpose(0, 2, 1) if array.shape[1] == array.shape[2] else _transpose_parts(array, array.shape[1])
    ),
    "transposed ASIC by ASIC": lambda array: _transpose_parts(array, ASIC),
    "turned ASIC by ASIC": lambda array: _split(array, ASIC, ASIC)[:, :, ::-1, :, ::-1].reshape(array.shape),
    "in the memory order of its transpose": lambda array: array.reshape(
        len(array), array.shape[2], array.shape[1]
    ).transpose(0, 2, 1),
    "in the memory order of a transpose": lambda array: array.transpose(0, 2, 1).reshape(array.shape),
}
"""What happens to panels, and how it is undone."""


def judge_turns(array: NDArray[Any], past: Past) -> list[Named]:
    """Return whether an array of shape (gain, row, column) is like an earlier version that was turned."""
    found = []
    for what, undo in TURNS.items():
        if "ASIC" in what and past.pattern.asics == (1, 1):
            continue
        if array.shape[2] % array.shape[1] and what == "transposed":
            continue
        likeness = measure_likeness(make_pattern(undo(array)), past.pattern)
        if likeness >= ALIKE:
            found.append((likeness, what))
    if not found:
        return []
    likeness, what = max(found)
    return [("turned", f"{likeness:.2f} with {past.name} if it is {what}")]
