"""Judge whether the levels of new constants are plausible: signs, magnitude, order of the gain ranges, constancy.

The rules here need the sketch of one array and nothing else, so they hold for panels of every shape. Rules that compare
pixels are in `jfstore.core.guard_pixels`. A rule returns its findings; one that is not accepted refuses a version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from jfstore.core.records import Array
from jfstore.core.sketch import QUANTILES, Sketch
from jfstore.errors import BadValue, nearest

FINDINGS: Mapping[str, str] = {
    "sign": "values of a gain range have the wrong sign",
    "magnitude": "values are a large factor away from what is usual, or from the panel's earlier versions",
    "ranges": "gain ranges are exchanged",
    "kind": "gains are given as offsets, or offsets as gains",
    "constant": "all values of a gain range are equal",
    "bad-pixels": "most pixels of a gain range are marked as bad",
    "dead-asic": "an ASIC has one value, or hardly any gain",
    "turned": "the panel is turned, flipped or transposed",
    "asics": "ASICs of the panel are exchanged",
    "other-panel": "the values are those of another panel",
    "rounded": "the values are those of a stored version, rounded",
    "demo": "the values were made by jfstore demo",
}
"""Every finding, and what it says."""

DEMO_FILE = ".jfstore-demo"
"""Name of a file in the directory of a demo; repositories beside it may hold the demo's constants."""

LEVEL_FACTOR = 10.0
"""Median gains may be this factor away from the usual ones.

Gains of the high gain mode are about 100 ADU/keV and up, 2.5 times the usual ones; the smallest planted fault of
magnitude is a factor 1000.
"""

OFFSET_LIMIT = 16384.0
"""Largest median of an offset in ADU: the detector's converter has 14 bits.

Honest offsets are 0 to some thousands. An offset of a few ADU that is 1000 times too large stays below and is found
with a history only.
"""

WRONG_SIGN = 0.05
"""Share of pixels that may have the wrong sign. Dead and hot pixels are some thousandths of a panel."""

ALIKE_FACTOR = 10.0
"""If the medians of all ranges are off by factors that agree within this one, the unit is wrong, not the kind."""

LEAST_PIXELS = 16
"""With fewer pixels in a gain range, equal values say nothing."""

PEDESTAL_LEAST = 100.0
"""Smallest median of pedestals in ADU. Those of a Jungfrau are 1000 to 16000; its noise is 1 to 30."""

NOISE_LIMIT = 500.0
"""Largest median of the noise in ADU."""

MOST_BAD = 0.75
"""Share of pixels that may be marked as bad: a dark of a detector that was off marks all of them."""

TIGHT_SPREAD = 0.5
"""Gains spread by some per cent; offsets with a 5 to 95 % spread below this share of their median can be gains."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something implausible in the constants of a panel.

    Attributes
    ----------
    name : str
        One of `FINDINGS`.
    panel, type : str
        Panel Id and calibration type.
    text : str
        The evidence.
    """

    name: str
    panel: str
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a calibration type.

    Attributes
    ----------
    levels : tuple of float
        Usual median of each gain range with its sign; empty if every value is usual.
    limit, least : float
        Largest absolute median, and smallest median.
    beyond : str
        What values whose medians are beyond these may be instead; empty if nothing is known.
    needs_every_range : bool
        Whether it is implausible that one gain range has a single value; otherwise all must have one.
    has_pattern : bool
        Whether the values differ from pixel to pixel in a way that lasts, so that panels can be told apart.
    bad : int or None
        For marks of pixels 1 if those that are not 0 are bad, 0 if those that are 0 are; None for other values.
    """

    levels: tuple[float, ...] = ()
    limit: float = math.inf
    least: float = -math.inf
    beyond: str = ""
    needs_every_range: bool = False
    has_pattern: bool = False
    bad: int | None = None


_OFFSETS = Rules(limit=OFFSET_LIMIT, has_pattern=True)
_PEDESTALS = Rules(limit=OFFSET_LIMIT, least=PEDESTAL_LEAST, beyond="the noise")
_NOISE = Rules(limit=NOISE_LIMIT, least=0.0, beyond="pedestals")
_STATUS = Rules(bad=1)

RULES: Mapping[str, Rules] = {
    "pixel_gain": Rules(levels=(41.5, -1.39, -0.11), needs_every_range=True, has_pattern=True),
    "pixel_offset": _OFFSETS,
    "pedestals": _PEDESTALS,
    "pixel_rms": _NOISE,
    "pixel_status": _STATUS,
    "pixel_mask": Rules(bad=0),
    "pixel_gain_hg0": Rules(levels=(105.0, -1.39, -0.11), needs_every_range=True, has_pattern=True),
    "pixel_offset_hg0": _OFFSETS,
    "pedestals_hg0": _PEDESTALS,
    "pixel_rms_hg0": _NOISE,
    "pixel_status_hg0": _STATUS,
}
"""The rules by calibration type; types without an entry are not judged."""

Named = tuple[str, str]
"""Name and text of a finding."""


def check_accepted(names: Sequence[str] | str) -> tuple[str, ...]:
    """Return the names of findings that a user accepts; BadValue if one does not exist."""
    given = (names,) if isinstance(names, str) else tuple(names)
    for name in given:
        if name not in FINDINGS:
            near = nearest(str(name), FINDINGS) or list(FINDINGS)
            raise BadValue(f"{name!r} is not a finding of the guard", near)
    return given


def judge_levels(array: Array) -> list[Named]:
    """Return the findings about signs, magnitude, order, kind and constancy of an array that has a sketch."""
    rules, sketch = RULES[array.type], array.sketch
    if sketch is None:
        return []
    is_enough = math.prod(array.shape[-2:]) >= LEAST_PIXELS
    if rules.bad is not None:
        return list(_judge_marks(sketch, rules.bad)) if is_enough else []
    constant = [number for number, row in enumerate(sketch.quantiles) if is_enough and row[1] == row[-2]]
    if len(constant) == len(sketch.quantiles):
        values = ", ".join(f"{row[4]:.6g}" for row in sketch.quantiles)
        # The levels of a filled array were typed by somebody: one finding is enough.
        return [("constant", f"all values of each range are equal: {values}")]
    found = []
    if constant and rules.needs_every_range:
        values = ", ".join(f"{sketch.quantiles[number][4]:.6g}" for number in constant)
        found.append(("constant", f"all values of {_join(constant)} are equal: {values}"))
    medians = [row[4] for row in sketch.quantiles]
    if len(rules.levels) == len(medians):
        return found + list(_judge_gains(rules.levels, sketch))
    if _look_like_gains(sketch):
        text = f"medians {_list(medians)} and their small spread are those of gains"
        return [*found, ("kind", text)]
    return found + list(_judge_limits(rules, medians))


def _judge_limits(rules: Rules, medians: Sequence[float]) -> Iterator[Named]:
    where = f"medians are {_list(medians)}"
    large = [number for number, median in enumerate(medians) if abs(median) > rules.limit]
    small = [number for number, median in enumerate(medians) if median < rules.least]
    if rules.beyond and len(large or small) == len(medians) and all(0 <= median <= OFFSET_LIMIT for median in medians):
        yield "kind", f"{where}: these look like {rules.beyond}"
    elif large:
        yield "magnitude", f"{where}: {_join(large)} is above {rules.limit:g} ADU"
    elif small:
        yield "magnitude", f"{where}: {_join(small)} is below {rules.least:g} ADU"


def _judge_marks(sketch: Sketch, bad: int) -> Iterator[Named]:
    """Yield which gain ranges have hardly any good pixel."""
    place = QUANTILES.index(1 - MOST_BAD if bad else MOST_BAD)
    if spoiled := [number for number, row in enumerate(sketch.quantiles) if (row[place] != 0) == bool(bad)]:
        yield "bad-pixels", f"more than {MOST_BAD:.0%} of the pixels of {_join(spoiled)} are marked as bad"


def _judge_gains(levels: Sequence[float], sketch: Sketch) -> Iterator[Named]:
    medians = [row[4] for row in sketch.quantiles]
    where = f"medians are {_list(medians)}, usual are about {_list(levels)}"
    if _fit(medians, levels):
        low, high = QUANTILES.index(WRONG_SIGN), QUANTILES.index(1 - WRONG_SIGN)
        rows = zip(sketch.quantiles, levels, strict=True)
        mixed = [number for number, (row, level) in enumerate(rows) if (row[low] if level > 0 else -row[high]) < 0]
        if mixed:
            yield "sign", f"the sign of more than {WRONG_SIGN:.0%} of {_join(mixed)} is wrong"
        return
    for order in permutations(range(len(levels))):
        if _fit([medians[i] for i in order], levels):
            places = ", ".join(f"g{order.index(place)}" for place in range(len(order)))
            yield "ranges", f"{where}: the ranges seem to be {places}"
            return
    yield from _judge_ratios(medians, levels, where)


def _judge_ratios(medians: Sequence[float], levels: Sequence[float], where: str) -> Iterator[Named]:
    """Yield what is wrong with medians that are no usual gains in any order."""
    ratios = [median / level for median, level in zip(medians, levels, strict=True)]
    wrong = [number for number, ratio in enumerate(ratios) if ratio <= 0]
    sizes = [abs(ratio) for ratio in ratios]
    if _fit([abs(median) for median in medians], [abs(level) for level in levels]):
        yield "sign", f"{where}: the sign of {_join(wrong)} is wrong"
    elif min(sizes) > 0 and max(sizes) / min(sizes) <= ALIKE_FACTOR and len(wrong) in (0, len(sizes)):
        yield "magnitude", f"{where}: a factor of about {math.exp(sum(map(math.log, sizes)) / len(sizes)):.2g}"
        if wrong:
            yield "sign", f"{where}: every sign is wrong"
    elif all(median > 0 for median in medians[1:]) and max(map(abs, medians)) <= OFFSET_LIMIT:
        yield "kind", f"{where}: these look like offsets"
    else:
        yield "magnitude", where
        if wrong:
            yield "sign", f"{where}: the sign of {_join(wrong)} is wrong"


def _fit(medians: Sequence[float], levels: Sequence[float]) -> bool:
    """Return whether medians have the signs, the sizes and the order of usual gains."""
    ratios = [median / level for median, level in zip(medians, levels, strict=True)]
    sizes = [abs(median) for median in medians]
    is_ordered = all(one > other for one, other in pairwise(sizes))
    return is_ordered and all(1 / LEVEL_FACTOR <= ratio <= LEVEL_FACTOR for ratio in ratios)


def _look_like_gains(sketch: Sketch) -> bool:
    levels = RULES["pixel_gain"].levels
    medians = [row[4] for row in sketch.quantiles]
    if len(medians) != len(levels) or not _fit(medians, levels):
        return False
    return all(abs(row[6] - row[2]) < TIGHT_SPREAD * abs(row[4]) for row in sketch.quantiles)


def _join(numbers: Sequence[int]) -> str:
    *first, last = [f"g{number}" for number in numbers]
    return f"{', '.join(first)} and {last}" if first else last


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
