"""Choose the versions of a detector's DCS file that become versions of its panels in a repository.

What a repository cannot represent (ranges that end, two starts in one second) is skipped with the reason. Everything
else that a file says about a version is kept in the version's origin, from which the file can be made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from jfstore.core.arrays import Checked, check_array
from jfstore.core.calib_types import CALIB_TYPES, NOT_OF_PANELS, panel_shape_of
from jfstore.core.ids import detector_id, resolve_detector
from jfstore.core.instants import SECOND, Instant, exact_stamp
from jfstore.core.slabs import detector_shape
from jfstore.dcs.edit import split_panels
from jfstore.dcs.model import (
    JUNGFRAU,
    LATEST,
    Blob,
    DcsContents,
    DcsRange,
    DcsType,
    DcsVersion,
    name_version,
)
from jfstore.errors import BadValue, NotFound

_MOMENT = 1e-5


@dataclass(frozen=True, slots=True)
class Importable:
    """One version of a file that can be imported: for every panel of the detector, valid from `start` on."""

    name: str
    type: str
    start: Instant
    blob: Blob
    origin: Mapping[str, Any]
    produced: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version of a file that an import would take if its array is acceptable; `message` is that of its addition."""

    type: str
    range: str
    start: float
    number: int
    produced: float | None
    message: str


def list_candidates(contents: DcsContents) -> list[Candidate]:
    """Return the versions of a file that an import would look at, without reading an array."""
    found = []
    for dcs_type in contents.types:
        is_stored = dcs_type.name in CALIB_TYPES and all(one.end in (math.inf, None) for one in dcs_type.ranges)
        for dcs_range in dcs_type.ranges if is_stored else ():
            if dcs_range.start is None or dcs_range.problem or not 0 <= dcs_range.start < LATEST:
                continue
            for version in dcs_range.usable:
                message = _find_message(dcs_range.notes.history, version.number)
                numbers = version.number, version.produced
                found.append(Candidate(dcs_type.name, dcs_range.key, dcs_range.start, *numbers, message))
    return found


class ImportPlan:
    """The versions of a file that can be imported, and everything else with the reason why not.

    Attributes
    ----------
    panels : tuple of str
        The panels of the detector.
    versions : list of Importable
        In the order of their production, but of each range the version that is valid comes last.
    skipped : list of (str, str)
        Names in the file and reasons; `load` adds to it.
    """

    def __init__(
        self, contents: DcsContents, file_name: str, zone: ZoneInfo, shape: tuple[int, int, int], recover: bool
    ) -> None:
        """Plan the import of a file into a repository with stamps in `zone` and panels of `shape`.

        With `recover`, versions whose own number is missing count, with the number in the name of their group.
        """
        self.panels = identify_panels(contents, file_name)
        self.versions: list[Importable] = []
        self.skipped = [(name, "it is not part of a DCS file") for name in contents.foreign]
        self._zone, self._shape, self._recover = zone, shape, recover
        # Ranges of which nothing can be imported: name, calibration type, start.
        self._gaps: list[tuple[str, str, float]] = []
        for dcs_type in contents.types:
            self._add_type(dcs_type)
        self.versions.sort(key=lambda version: version.produced)
        self._skip_replaced()
        self._skip_stand_ins()

    def load(self, version: Importable) -> list[Checked]:
        """Return the array of each panel; an empty list, and the reason in `skipped`, if they are not acceptable."""
        try:
            return self._load(version)
        except BadValue as error:
            self._skip(version.name, error.message.removeprefix(f"{version.name}: "))
            return []

    def _load(self, version: Importable) -> list[Checked]:
        count = len(self.panels)
        shape = panel_shape_of(version.type, self._shape)
        expected = detector_shape(shape, count)
        # Checked before the array is loaded: a size that a foreign file claims may be anything.
        if version.blob.shape != expected and (count > 1 or version.blob.shape != shape):
            raise BadValue(f"{version.name}: shape {version.blob.shape}, expected {expected}")
        parts = split_panels(version.blob.load(), count, version.type, version.name)
        return [check_array(part, version.type, shape, version.name) for part in parts]

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append((name, reason))

    def _add_type(self, dcs_type: DcsType) -> None:
        if dcs_type.name not in CALIB_TYPES:
            reason = NOT_OF_PANELS.get(dcs_type.name, "it is not a calibration type of a panel that is stored")
            self._skip(dcs_type.name, reason)
            return
        ending = [one.key for one in dcs_type.ranges if one.end not in (math.inf, None)]
        if ending:
            self._skip(dcs_type.name, f"{', '.join(ending)} has an end, which a repository cannot represent")
            return
        # Of two ranges that start in one second the later one is valid from the next second on.
        starting = sorted((one.start, one.key) for one in dcs_type.ranges if one.start is not None)
        winners = {math.floor(start): key for start, key in starting}
        for dcs_range in dcs_type.ranges:
            if dcs_range.start is not None and winners[math.floor(dcs_range.start)] != dcs_range.key:
                self._skip(f"{dcs_type.name}/{dcs_range.key}", "another range of the same second takes precedence")
            else:
                self._add_range(dcs_type.name, dcs_range)

    def _add_range(self, type_name: str, dcs_range: DcsRange) -> None:
        place = f"{type_name}/{dcs_range.key}"
        usable = [version for version in dcs_range.versions if version.blob and (self._recover or not version.problem)]
        for version in dcs_range.versions:
            if version not in usable:
                hint = "" if self._recover or not version.blob else "; --recover imports it"
                self._skip(f"{place}/{name_version(version.number)}", version.problem.partition("; ")[0] + hint)
        start = self._start_of(place, type_name, dcs_range, bool(usable))
        if start is None:
            return
        last = dcs_range.choose(usable)
        ordered = sorted(usable, key=lambda version: (version is last, version.produced or 0.0, version.number))
        latest = -math.inf
        histories = _split_history(dcs_range.notes.history, [version.produced or 0.0 for version in ordered])
        for version, history in zip(ordered, histories, strict=True):
            latest = max(latest, version.produced or 0.0)
            assert version.blob is not None
            name = f"{place}/{name_version(version.number)}"
            origin = self._describe_origin(name, type_name, dcs_range, version, history)
            self.versions.append(Importable(name, type_name, start, version.blob, origin, latest))

    def _start_of(self, place: str, type_name: str, dcs_range: DcsRange, is_usable: bool) -> Instant | None:
        """Return the start of a range; None, and the reason in `skipped`, if the range cannot be imported."""
        if dcs_range.start is None or dcs_range.problem:
            self._skip(place, dcs_range.problem)
            return None
        if not 0 <= dcs_range.start < LATEST:
            self._skip(place, "its start is outside the years 1970 to 2261")
            return None
        start = math.floor(dcs_range.start) * SECOND  # early enough for a start between two seconds
        try:
            if not is_usable:
                raise BadValue("it has no versions")
            return Instant(start, exact_stamp(start, self._zone))
        except BadValue as error:
            self._gaps.append((place, type_name, dcs_range.start))
            self._skip(place, error.message)
            return None

    def _describe_origin(
        self, name: str, type_name: str, dcs_range: DcsRange, version: DcsVersion, history: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return what a commit records about the origin of a version."""
        detector = name_detector(self.panels)
        assert version.blob is not None
        return {
            "version": f"{detector}.h5/{name}",
            "detector": detector,
            "type": type_name,
            "range": dcs_range.key,
            "begin": dcs_range.start,
            "number": version.number,
            "produced": version.produced,
            "message": _find_message(history, version.number),
            "history": {moment: _clean(text) for moment, text in history.items()},
            "parameters": {key: _clean(value) for key, value in dcs_range.notes.parameters.items()},
            "shape": list(version.blob.shape),
            **({"recovered": True} if version.problem else {}),
        }

    def _skip_replaced(self) -> None:
        """Skip ranges whose last version is not acceptable: a version that it replaced would be valid instead."""
        for (type_name, start), last in {(one.type, one.start): one for one in self.versions}.items():
            if self.load(last):
                continue
            others = [one for one in self.versions if (one.type, one.start) == (type_name, start)]
            self.skipped += [
                (one.name, f"the version that replaced it, {last.name}, is skipped") for one in others[:-1]
            ]
            self.versions = [one for one in self.versions if one not in others]
            self._gaps.append((last.name, type_name, start.ns / SECOND))

    def _skip_stand_ins(self) -> None:
        """Skip each type in which an earlier version would be valid where the file has a gap."""
        reasons = {}
        for name, type_name, start in self._gaps:
            first = next(
                (v for v in self.versions if v.type == type_name and v.start.ns < math.floor(start) * SECOND), None
            )
            if first:
                reasons[type_name] = (
                    f"{name} cannot be stored, and {first.name.rpartition('/')[0]} would be valid in its place; "
                    "if that is intended, delete the range from a copy of the file (dcs delrange)"
                )
        self.versions = [version for version in self.versions if version.type not in reasons]
        self.skipped += reasons.items()


def name_detector(panels: Sequence[str]) -> str:
    """Return the name of the file of the detector with these panels, without ``.h5``."""
    return f"{JUNGFRAU}-{'_'.join(panels)}"


def identify_panels(contents: DcsContents, file_name: str) -> tuple[str, ...]:
    """Return the panels of a file's Jungfrau; BadValue if it is another detector, or not the one in the file's name."""
    recorded, stem = contents.detector_name, file_name.removesuffix(".h5")
    if (contents.detector_type or stem.partition("-")[0]) != JUNGFRAU:
        raise BadValue(f"{contents.where} has constants of a {contents.detector_type or stem!r}, not of a {JUNGFRAU}")
    panels = tuple(map(str, resolve_detector((recorded or stem).partition("-")[2])))
    try:
        other = detector_id(resolve_detector(stem.removeprefix(f"{JUNGFRAU}-")))
    except (BadValue, NotFound):
        return panels  # a copy under a name that is not an Id
    if other != "_".join(panels):
        raise BadValue(f"{contents.where} has constants of {recorded}, but the Id in its name is {other}")
    return panels


def _split_history(history: Mapping[str, str], produced: Sequence[float]) -> list[dict[str, str]]:
    """Return the part of a range's history that belongs to each version: from its production to the next one's."""
    parts: list[dict[str, str]] = [{} for _ in produced]
    for moment, text in sorted(history.items()):
        try:
            time = float(moment)
        except ValueError:
            time = math.inf
        # The line is written in the microsecond of the version, or after it.
        before = [i for i, at in enumerate(produced) if at <= time + _MOMENT]
        parts[max(before, key=produced.__getitem__, default=0)][moment] = text
    return parts


def _find_message(history: Mapping[str, str], number: int) -> str:
    texts = [text for text in history.values() if text.startswith(f"add version {number}: ")]
    return str(_clean(texts[-1].partition(": ")[2])) if texts else ""


def _clean(text: Any) -> Any:
    """Return a text in a form that a commit can carry."""
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text
