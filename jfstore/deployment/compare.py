"""Recognise which stored versions the values of a text file are: equal, rounded, or changed in places."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES, panel_shape_of
from jfstore.core.hashing import digest
from jfstore.core.records import Version
from jfstore.core.rounding import MOST_DECIMALS, NEARLY_ALL, find_rounded
from jfstore.core.slabs import detector_shape, panel_of
from jfstore.errors import JfstoreError
from jfstore.formats.text import TextArray
from jfstore.repository import Repository

FAR_LIMIT = 64  # arrays of other panels than the run's that are downloaded to recognise the values of one panel
_DECIMALS = {"pixel_gain": 4, "pixel_offset": 1}
"""The fewest decimals of a type in texts: psana's old commands wrote gains with %.4f and offsets with %.1f, and later
ones %.6f; pedestals and noise have %.3f (Detector, UtilsJungfrauCalib.py)."""
_FEWEST_DECIMALS = 1
_SAMPLE = 61
_LARGE_SAMPLE = 10_000

Values = NDArray[Any]
"""Values of a text: float64, or of a type of integers those."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Result of comparing values of a text with a stored version: how many there are, how many match neither
    exactly nor after rounding, and whether all match exactly or all match after rounding."""

    version: Version
    total: int
    different: int
    is_equal: bool
    is_rounded: bool


class Recogniser:
    """Finds the versions of a repository that values resemble; `problems` says why a stored array may not be found."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._samples: dict[str, CalibArray | None] = {}  # by BLAKE3; None if the array cannot be read
        self.problems: set[str] = set()

    @cached_property
    def versions(self) -> dict[str, Version]:
        """Every version by its name."""
        return {version.name: version for version in self._repository.versions()}

    @cached_property
    def _contents(self) -> dict[str, dict[str, list[Version]]]:
        contents: dict[str, dict[str, list[Version]]] = {name: {} for name in CALIB_TYPES}
        for version in self.versions.values():
            for name, blake3 in version.content.items():
                contents.setdefault(name, {}).setdefault(blake3, []).append(version)
        return contents

    def split(self, text: TextArray, calib_type: str) -> list[Values] | None:
        """Return the values of each panel as (gain, row, column) or (row, column); None if they do not fit panels.

        They do not fit if the shape is another one, or if values of a type of integers are not integers.
        """
        values = read_values(text, calib_type)
        shape = panel_shape_of(calib_type, self._repository.panel_shape)
        count, rest = divmod(text.values.size, math.prod(shape))
        if values is None or rest or not count or values.shape[-1] != shape[-1]:
            return None
        # Without metadata the values are rows.
        whole = detector_shape(shape, count)
        if text.has_shape and values.shape not in (whole, *([shape] if count == 1 else [])):
            return None
        return [np.ascontiguousarray(panel_of(values.reshape(whole), number)) for number in range(count)]

    def recognise(
        self,
        calib_type: str,
        values: Values,
        decimals: int,
        valid: Version | None,
        panel: str | None,
        run: Sequence[str],
    ) -> Likeness | None:
        """Return the version that a panel's values equal or resemble most, None if there is none.

        Of several, the version `valid` is preferred, then those of `panel`, then those of the panels of the `run`,
        then newer ones.
        """

        def rank(version: Version) -> tuple[bool, bool, bool, int]:
            is_valid = valid is not None and version.name == valid.name
            return is_valid, version.panel == panel, version.panel in run, version.seq

        with np.errstate(over="ignore"):
            blake3 = digest(values.astype(CALIB_TYPES[calib_type].dtype).reshape(-1).view("u1"))
        if same := self._contents[calib_type].get(blake3):
            return Likeness(max(same, key=rank), values.size, 0, True, True)
        best: Likeness | None = None
        candidates = [max(same, key=rank) for same in self._contents[calib_type].values()]
        for version in self._limit(sorted(candidates, key=rank, reverse=True), run):
            like = self._compare(version, calib_type, values, decimals)
            if like and (best is None or like.different < best.different):
                best = like
            if best and best.is_rounded:
                break
        return best

    def _limit(self, candidates: Sequence[Version], run: Sequence[str]) -> Iterator[Version]:
        """Yield the versions of the run's panels, then others: of a bucket, which sends each array whole, only some."""
        yield from (version for version in candidates if version.panel in run)
        others = [version for version in candidates if version.panel not in run]
        if "://" not in self._repository.location or len(others) <= FAR_LIMIT:
            yield from others
            return
        yield from others[:FAR_LIMIT]
        self.problems.add(f"only {FAR_LIMIT} of {len(others)} further arrays were compared")

    def _compare(self, version: Version, calib_type: str, values: Values, decimals: int) -> Likeness | None:
        """Return how much `values` resemble the array of `version`, None if they do not, or it cannot be read."""
        blake3 = version.content[calib_type]
        places = np.linspace(0, values.size - 1, _SAMPLE).astype(int)
        stored: CalibArray | None = None
        # A few values tell most arrays apart. They are remembered, so that an audit reads an array like none once.
        if blake3 not in self._samples:
            stored = self._read(version, calib_type)
            self._samples[blake3] = None if stored is None else stored.reshape(-1)[places]
        sample = self._samples[blake3]
        if sample is None:
            self.problems.add(f"{version.name} cannot be read and was not compared")
            return None
        if compare(version, values.reshape(-1)[places], sample, decimals).different > _SAMPLE // 2:
            return None
        stored = self._read(version, calib_type) if stored is None else stored
        like = None if stored is None else compare(version, values, stored, decimals)
        return like if like and like.different <= (1 - NEARLY_ALL) * values.size else None

    def _read(self, version: Version, calib_type: str) -> CalibArray | None:
        try:
            return self._repository.panel_array(version, calib_type, verify=False)
        except JfstoreError:
            return None


def compare(version: Version, values: Values, stored: CalibArray, decimals: int) -> Likeness:
    """Compare `values`, which a text holds with so many decimals, with `stored`, the array of `version`."""
    if stored.dtype.kind != "f":
        equal = values == stored
        different = int(values.size - np.count_nonzero(equal))
        return Likeness(version, values.size, different, different == 0, different == 0)
    with np.errstate(over="ignore"):
        equal = values.astype(stored.dtype) == stored
    # A value may have been rounded from float64, of which the stored one is half a float32 away at most.
    slack = 0.5 * 10.0**-decimals * (1 + 1e-6) + 0.5 * np.spacing(np.abs(stored)).astype(np.float64)
    rounded = find_rounded(values, decimals) & (np.abs(values - stored) <= slack)
    different = int(values.size - np.count_nonzero(equal | rounded))
    return Likeness(version, values.size, different, bool(equal.all()), bool(rounded.all()))


def read_values(text: TextArray, calib_type: str) -> Values | None:
    """Return the values of a text for a calibration type: float64, or its integers; None if they are no such integers.

    Integers are taken exactly if the header says that the text has some. Other texts are read as psana does, which
    converts the values.
    """
    meaning = CALIB_TYPES[calib_type]
    if not meaning.is_integer:
        return text.values
    values = text.array if np.dtype(text.dtype).kind in "iu" else text.values
    limit = np.iinfo(meaning.dtype).max
    # What float64 cannot hold exactly is larger than every integer in a text that says it has floats.
    are_whole = values.dtype.kind != "f" or bool((np.rint(values) == values).all() and values.max() < 2**53)
    return values.astype(meaning.dtype) if are_whole and values.min() >= 0 and int(values.max()) <= limit else None


def find_decimals(parts: Sequence[Values], calib_type: str) -> int:
    """Return to how many decimals nearly all values of a sample are rounded: as by the old command, or up to six."""
    if CALIB_TYPES[calib_type].is_integer:
        return 0
    values = np.concatenate([part.reshape(-1)[:: max(1, part.size // _LARGE_SAMPLE)] for part in parts])
    least = _DECIMALS.get(CALIB_TYPES[calib_type].normal or calib_type, _FEWEST_DECIMALS)
    for decimals in range(least, MOST_DECIMALS + 1):
        if np.count_nonzero(find_rounded(values, decimals)) >= NEARLY_ALL * values.size:
            return decimals
    return least
