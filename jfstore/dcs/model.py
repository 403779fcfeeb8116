"""Records of the contents of a DCS file (Detector Calibration Store), and the rule which version is valid at a time.

A file ``<detector type>-<detector Id>.h5`` has calibration types, a type has ranges of validity, and a range has
numbered versions. Times are Unix seconds as floats; a range without an end is valid for ever. All records are
immutable: `dcs.read` makes them from a file, `dcs.edit` derives changed ones, `dcs.write` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jfstore.errors import BadValue, Damaged, NotFound, nearest

JUNGFRAU = "jungfrau"
GEOMETRY = "geometry"
"""The calibration type whose constants are text."""
TYPES = tuple(
    f"pedestals pixel_status pixel_rms pixel_gain pixel_mask pixel_bkgd common_mode {GEOMETRY} "
    "pixel_offset status_data status_extra".split()
)
"""The calibration types that these files can have."""
PANEL_TYPES = frozenset(TYPES) - {"common_mode", GEOMETRY, "status_data"}
"""Calibration types with a value for each pixel of each panel."""
TEXTS = 64 << 20
"""Limit for the bytes of all text constants of a file together."""
LATEST = 9_214_646_400
"""End of the year 2261 in Unix seconds; no constants start later."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Blob:
    """An array, or text as an array of one bytes object, that is loaded when it is needed."""

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

    def text(self) -> str:
        """Return the text."""
        return self.load().tobytes().rstrip(b"\0").decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Notes:
    """History and parameters of a group: texts by time (Unix seconds with six decimals), and values by name."""

    history: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DcsVersion:
    """One version; its number is that in the name of its group, and again in the dataset ``version`` there."""

    number: int
    blob: Blob | None  # None if constants were never written
    produced: float | None  # the time when it was added
    stored_number: int | None
    notes: Notes = Notes()

    @property
    def problem(self) -> str:
        """Why it is never valid by default; empty if it can be."""
        if self.blob is None:
            return "it has no constants, as after an add that failed"
        if self.stored_number is None:
            return f"its own number is missing, as after an add that failed; -v {self.number} selects it"
        if self.stored_number != self.number:
            return f"it records another number, {self.stored_number}; -v {self.number} selects it"
        return ""


@dataclass(frozen=True, slots=True)
class DcsRange:
    """A range of validity, both ends included; it is never valid if one end is missing (None)."""

    key: str
    start: float | None
    end: float | None = math.inf
    default: int = 0  # number of the version that is valid, 0 for the last one
    versions: tuple[DcsVersion, ...] = ()
    notes: Notes = Notes()

    @property
    def problem(self) -> str:
        """Why it is never valid; empty if it can be."""
        missing = [name for name, value in (("begin", self.start), ("end", self.end)) if value is None]
        return f"its {' and its '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""

    @property
    def usable(self) -> list[DcsVersion]:
        """The versions that have no problem."""
        return [version for version in self.versions if not version.problem]

    @property
    def valid_version(self) -> DcsVersion | None:
        """The version that is valid: the default if there is one, else the last usable one."""
        return self.choose(self.usable)

    def choose(self, versions: Sequence[DcsVersion]) -> DcsVersion | None:
        """Return the version that would be valid if the range had only `versions`; None without one."""
        default = [version for version in versions if version.number == self.default != 0]
        return find_last(default or versions)

    def contains(self, t: float) -> bool:
        """Return whether both ends are known and `t` is between them."""
        # NaN is neither before nor after anything: it is in every range.
        return self.start is not None and self.end is not None and not t < self.start and not t > self.end


@dataclass(frozen=True, slots=True)
class DcsType:
    """A calibration type with its ranges."""

    name: str
    ranges: tuple[DcsRange, ...] = ()
    notes: Notes = Notes()

    def select_range(self, t: float) -> DcsRange | None:
        """Return the range that is valid at `t`: of those that contain it the last to start, then the shortest."""
        found = [dcs_range for dcs_range in self.ranges if dcs_range.contains(t)]
        return max(found, key=lambda one: (one.start or 0.0, -(one.end or 0.0)), default=None)


@dataclass(frozen=True, slots=True)
class DcsContents:
    """The contents of a file; ``foreign`` names objects in it that the `dcs` program never writes."""

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
        """Detector type and Id, which is the file's name without ``.h5``; None if the file lacks one of them."""
        return f"{self.detector_type}-{self.detector_id}" if self.detector_type and self.detector_id else None

    def find_type(self, name: str) -> DcsType:
        """Return a calibration type; NotFound if the file does not have it."""
        types = {dcs_type.name: dcs_type for dcs_type in self.types}
        if name not in types:
            raise NotFound(f"{self.where} has no {name}", nearest(name, types) or sorted(types))
        return types[name]

    def blobs(self) -> Iterator[Blob]:
        """Yield the constants of all versions, in order."""
        for dcs_type in self.types:
            for dcs_range in dcs_type.ranges:
                for version in dcs_range.versions:
                    if version.blob is not None:
                        yield version.blob


def name_range(start: float, end: float = math.inf) -> str:
    """Return the name of a range, such as ``1520294400-end`` or ``100-201``, in whole seconds."""
    return f"{math.floor(start)}-{'end' if end == math.inf else math.ceil(end)}"


def name_version(number: int) -> str:
    """Return the name of a version, such as ``v0001``."""
    return f"v{number:04d}"


def find_last(versions: Iterable[DcsVersion]) -> DcsVersion | None:
    """Return the version with the highest number; None without one."""
    return max(versions, key=lambda version: version.number, default=None)


def check_type_name(name: str) -> str:
    """Return `name` if it is one of `TYPES`; raise BadValue otherwise."""
    if name not in TYPES:
        raise BadValue(f"{name!r} is not a calibration type", nearest(name, TYPES) or TYPES)
    return name


def find_range(contents: DcsContents, type_name: str, t: float | None, key: str | None = None) -> DcsRange:
    """Return the range of a type that is valid at `t`, or whose name is `key`; NotFound if there is none."""
    dcs_type = contents.find_type(type_name)
    if key is not None:
        return _find_by("key", key, dcs_type.ranges, f"{type_name} of {contents.where} has no range {key}")
    assert t is not None
    found = dcs_type.select_range(t)
    if found is None:
        starts = (one.start for one in dcs_type.ranges if one.start is not None and not one.problem)
        first = min(starts, default=-math.inf)
        hint = f": the first range starts at {first:.17g}" if t < first else ""
        raise NotFound(f"no {type_name} of {contents.where} is valid at {t:.17g}{hint}")
    return found


def find_version(contents: DcsContents, type_name: str, dcs_range: DcsRange, number: int | None = None) -> DcsVersion:
    """Return the version of a range that is valid, or the one with a number; Damaged if that has no constants."""
    place = f"{contents.where}: {type_name}/{dcs_range.key}"
    if number is not None:
        version = _find_by("number", number, dcs_range.versions, f"{place} has no version {number}")
        if version.blob is None:
            raise Damaged(f"{place}/{name_version(number)}: {version.problem}")
        return version
    if dcs_range.valid_version is None:
        problems = [f"{name_version(version.number)}: {version.problem}" for version in dcs_range.versions]
        why = f"; {'; '.join(problems)}" if problems else ", and older ones are not valid in its place"
        raise NotFound(f"{place} has no valid version{why}", _name_previous(contents.find_type(type_name), dcs_range))
    return dcs_range.valid_version


def name_valid_version(contents: DcsContents, type_name: str, t: float) -> str:
    """Return the name of the version that is valid at `t`; empty if there is none."""
    dcs_range = contents.find_type(type_name).select_range(t)
    version = dcs_range.valid_version if dcs_range else None
    return f"{type_name}/{dcs_range.key}/{name_version(version.number)}" if dcs_range and version else ""


def _name_previous(dcs_type: DcsType, dcs_range: DcsRange) -> Sequence[str]:
    """Return the name of the version that was valid before a range, in a list; an empty list if there is none."""
    end = -math.inf if dcs_range.start is None else dcs_range.start
    earlier = [
        (one.start, f"{dcs_type.name}/{one.key}/{name_version(one.valid_version.number)}")
        for one in dcs_type.ranges
        if one.start is not None and one.start < end and not one.problem and one.valid_version
    ]
    return [max(earlier)[1]] if earlier else []


def _find_by(attribute: str, value: object, things: Sequence[T], missing: str) -> T:
    for thing in things:
        if getattr(thing, attribute) == value:
            return thing
    existing = ", ".join(str(getattr(thing, attribute)) for thing in things) or "nothing"
    raise NotFound(f"{missing}; existing: {existing}")
