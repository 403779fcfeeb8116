"""What a file of the Detector Calibration Store (DCS) holds, and which version of it is valid at a time.

A file ``<detector type>-<detector Id>.h5`` has calibration types, these have ranges of validity, and these have
numbered versions. Times are Unix seconds as floats; a range without an end is valid for ever. Everything here is
immutable; `dcs_read` makes it from a file, `dcs_edit` changes it, `dcs_write` makes a file of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jfstore.errors import BadValue, Damaged, NotFound, nearest

GEOMETRY = "geometry"
"""The calibration type that is text."""
TYPES = (
    "pedestals",
    "pixel_status",
    "pixel_rms",
    "pixel_gain",
    "pixel_mask",
    "pixel_bkgd",
    "common_mode",
    GEOMETRY,
    "pixel_offset",
    "status_data",
    "status_extra",
)
"""The names that calibration types have in these files."""
PANEL_TYPES = frozenset(
    {"pedestals", "pixel_status", "pixel_rms", "pixel_gain", "pixel_mask", "pixel_bkgd", "pixel_offset"}
)
"""Those whose arrays have a value for each pixel of each panel."""

TEXTS = 64 << 20
"""How many bytes all constants of a file that are text may have together."""

LATEST = 9_214_646_400
"""The end of the year 2261 in Unix seconds, after which no constants begin."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Blob:
    """An array, or text as an array of one bytes object: what it is, and how to get it."""

    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]] = field(repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_text(self) -> bool:
        """Whether it is text."""
        return self.dtype.startswith("|S")

    @property
    def dtype_name(self) -> str:
        """The dtype as numpy prints it, such as ``float32``."""
        return str(np.dtype(self.dtype))

    def text(self) -> str:
        """Return the text that it is."""
        return self.load().tobytes().rstrip(b"\0").decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Notes:
    """What is noted beside something: texts by time (Unix seconds with six decimals), and values by name."""

    history: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DcsVersion:
    """One version.

    Attributes
    ----------
    number : int
        Its number, as the name of its group says.
    blob : Blob or None
        Its constants; None if they were never written.
    produced : float or None
        When it was added.
    noted : int or None
        Its number once more, as it notes it itself.
    """

    number: int
    blob: Blob | None
    produced: float | None
    noted: int | None
    notes: Notes = Notes()

    @property
    def problem(self) -> str:
        """Why it is never valid by default; empty if nothing is wrong with it."""
        if self.blob is None:
            return "it has no constants, as after an add that failed"
        if self.noted is None:
            return f"it does not note its own number, as after an add that failed; -v {self.number} takes it"
        if self.noted != self.number:
            return f"it notes another number, {self.noted}; -v {self.number} takes it"
        return ""


@dataclass(frozen=True, slots=True)
class DcsRange:
    """A range of validity, with both its ends included; ``default`` is the version that is valid, 0 for the last.

    ``start`` or ``end`` is None if it is missing: such a range is never valid.
    """

    key: str
    start: float | None
    end: float | None = math.inf
    default: int = 0
    versions: tuple[DcsVersion, ...] = ()
    notes: Notes = Notes()

    @property
    def problem(self) -> str:
        """Why it is never valid; empty if nothing is wrong with it."""
        missing = [name for name, value in (("begin", self.start), ("end", self.end)) if value is None]
        return f"its {' and its '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""

    @property
    def whole(self) -> list[DcsVersion]:
        """The versions with which nothing is wrong."""
        return [version for version in self.versions if not version.problem]

    @property
    def valid(self) -> DcsVersion | None:
        """The version that is valid: the default if there is one, else the last."""
        return self.chosen(self.whole)

    def chosen(self, versions: Sequence[DcsVersion]) -> DcsVersion | None:
        """Return which of `versions` would be valid if these were all; None if there are none."""
        default = [version for version in versions if version.number == self.default != 0]
        return last_of(default or versions)

    def holds(self, t: float) -> bool:
        """Whether it has both its ends, and `t` is neither before nor after them."""
        # NaN is neither before nor after anything.
        return self.start is not None and self.end is not None and not t < self.start and not t > self.end


@dataclass(frozen=True, slots=True)
class DcsType:
    """A calibration type with its ranges."""

    name: str
    ranges: tuple[DcsRange, ...] = ()
    notes: Notes = Notes()

    def range_at(self, t: float) -> DcsRange | None:
        """Return the range that is valid at `t`: of those that hold it the one that begins last, then the shortest."""
        holding = [held for held in self.ranges if held.holds(t)]
        return max(holding, key=lambda held: (held.start or 0.0, -(held.end or 0.0)), default=None)


@dataclass(frozen=True, slots=True)
class DcsContents:
    """What a file holds; ``foreign`` names what is in it that the store never writes."""

    where: str
    detector_type: str | None = None
    detector_id: str | None = None
    created: float | None = None
    predecessor: str | None = None
    successor: str | None = None
    types: tuple[DcsType, ...] = ()
    notes: Notes = Notes()
    foreign: tuple[str, ...] = ()

    @property
    def detector_name(self) -> str | None:
        """Type and Id of the detector, as the file is called without its ``.h5``; None if they are not noted."""
        return f"{self.detector_type}-{self.detector_id}" if self.detector_type and self.detector_id else None

    def type(self, name: str) -> DcsType:
        """Return a calibration type; NotFound with those there are."""
        there = {held.name: held for held in self.types}
        if name not in there:
            raise NotFound(f"{self.where} has no {name}", nearest(name, there) or sorted(there))
        return there[name]


def range_key(start: float, end: float = math.inf) -> str:
    """Return the name of a range, ``<begin>-<end>`` in whole seconds, ``end`` for one without an end.

    Examples
    --------
    >>> range_key(1520294400.75), range_key(100.0, 200.5)
    ('1520294400-end', '100-201')
    """
    return f"{math.floor(start)}-{'end' if end == math.inf else math.ceil(end)}"


def version_key(number: int) -> str:
    """Return the name of a version, such as ``v0001``."""
    return f"v{number:04d}"


def last_of(versions: Iterable[DcsVersion]) -> DcsVersion | None:
    """Return the version with the highest number; None if there are none."""
    return max(versions, key=lambda version: version.number, default=None)


def type_named(name: str) -> str:
    """Return `name` if it is one of `TYPES`; BadValue with the nearest if not."""
    if name not in TYPES:
        raise BadValue(f"{name!r} is not a calibration type", nearest(name, TYPES) or TYPES)
    return name


def find_range(contents: DcsContents, type_name: str, t: float | None, key: str | None = None) -> DcsRange:
    """Return the range of a type that is valid at `t`, or that is called `key`.

    Raises
    ------
    NotFound
        If there is none; the message says what there is.
    """
    held = contents.type(type_name)
    if key is not None:
        return one_of(held.ranges, "key", key, f"{type_name} of {contents.where} has no range {key}")
    assert t is not None
    found = held.range_at(t)
    if found is None:
        first = min(
            (other.start for other in held.ranges if other.start is not None and not other.problem), default=-math.inf
        )
        hint = f": the first range begins at {first:.17g}" if t < first else ""
        raise NotFound(f"no {type_name} of {contents.where} is valid at {t:.17g}{hint}")
    return found


def find_version(contents: DcsContents, type_name: str, held: DcsRange, number: int | None = None) -> DcsVersion:
    """Return the version of a range that is valid, or the one with a number.

    Raises
    ------
    NotFound
        If there is none; the message names what could be meant instead.
    Damaged
        If the one that was asked for has no constants.
    """
    place = f"{contents.where}: {type_name}/{held.key}"
    if number is not None:
        version = one_of(held.versions, "number", number, f"{place} has no version {number}")
        if version.blob is None:
            raise Damaged(f"{place}/{version_key(number)}: {version.problem}")
        return version
    if held.valid is None:
        problems = [f"{version_key(version.number)}: {version.problem}" for version in held.versions]
        why = f"; {'; '.join(problems)}" if problems else ", and older ones do not stand in for it"
        raise NotFound(f"{place} holds no valid version{why}", _older(contents.type(type_name), held))
    return held.valid


def answered(contents: DcsContents, type_name: str, t: float) -> str:
    """Return the name of the version that is valid at `t`; empty if there is none."""
    held = contents.type(type_name).range_at(t)
    return f"{type_name}/{held.key}/{version_key(held.valid.number)}" if held and held.valid else ""


def _older(held: DcsType, than: DcsRange) -> Sequence[str]:
    """Return the version that was valid before a range, as text for a message; none if there is none."""
    older = [
        (other.start, f"{held.name}/{other.key}/{version_key(other.valid.number)}")
        for other in held.ranges
        if other.start is not None
        and than.start is not None
        and other.start < than.start
        and other.valid
        and not other.problem
    ]
    return [max(older)[1]] if older else []


def one_of(things: Sequence[T], attribute: str, value: object, missing: str) -> T:
    """Return the one whose `attribute` is `value`; NotFound, with what there is, if there is none."""
    for thing in things:
        if getattr(thing, attribute) == value:
            return thing
    there = ", ".join(str(getattr(thing, attribute)) for thing in things) or "nothing"
    raise NotFound(f"{missing}; there: {there}")
