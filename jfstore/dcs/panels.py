"""From a detector's file of the Detector Calibration Store to versions of its panels, and back.

What a repository cannot say (ranges that end, begins between two seconds) is left out with the reason, or kept beside
the version in its origin, from which the file can be made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.ids import detector_id, resolve_detector
from jfstore.core.instants import SECOND, exact_stamp
from jfstore.dcs.model import LATEST, PANEL_TYPES, Blob, DcsContents, DcsRange, DcsVersion, version_key
from jfstore.errors import BadValue, NotFound

JUNGFRAU = "jungfrau"
_MOMENT = 1e-5


@dataclass(frozen=True, slots=True)
class Hole:
    """A range of a type of which nothing can be stored: from `begin` on (Unix seconds) the file answers
    something that a repository would not."""

    name: str
    type: str
    start: float


@dataclass(frozen=True, slots=True)
class Taken:
    """One version of a file, as it goes into a repository: for every panel, valid from `stamp` on."""

    name: str
    type: str
    stamp: str
    start: int
    blob: Blob
    origin: Mapping[str, Any]


def detector_name(panels: Sequence[str]) -> str:
    """Return what a file of the detector of `panels` is called, without its ``.h5``."""
    return f"{JUNGFRAU}-{'_'.join(panels)}"


def panels_of(contents: DcsContents, file_name: str) -> tuple[str, ...]:
    """Return the panels of the detector of a file.

    Raises
    ------
    BadValue
        If it is no Jungfrau, its Id is none of panels, or it contradicts the name of the file.
    """
    said, named = contents.detector_name, file_name.removesuffix(".h5")
    if (contents.detector_type or named.partition("-")[0]) != JUNGFRAU:
        raise BadValue(f"{contents.where} is of a {contents.detector_type or named!r}, not of a {JUNGFRAU}")
    panels = tuple(map(str, resolve_detector((said or named).partition("-")[2])))
    try:
        other = detector_id(resolve_detector(named.removeprefix(f"{JUNGFRAU}-")))
    except (BadValue, NotFound):
        return panels  # a copy under a name of its own
    if other != "_".join(panels):
        raise BadValue(f"{contents.where} is of {said}, and its name says otherwise: which is right?")
    return panels


def taken_from(
    contents: DcsContents, panels: Sequence[str], zone: ZoneInfo, recover: bool
) -> tuple[list[Taken], list[Hole], list[tuple[str, str]]]:
    """Return the versions of a file that a repository can hold, the holes, and the names of all else with the reason.

    Versions are in the order of their production; but of a range the one that is valid comes last.

    Parameters
    ----------
    contents : DcsContents
        What the file holds.
    panels : sequence of str
        The panels of its detector.
    zone : zoneinfo.ZoneInfo
        That of the repository's stamps.
    recover : bool
        Whether versions that do not note their own number count, by that in the name of their group.
    """
    detector = detector_name(panels)
    taken: list[tuple[float, Taken]] = []
    holes: list[Hole] = []
    left_out = [(name, "the store of these files knows nothing of it") for name in contents.foreign]
    for held in contents.types:
        if held.name not in CALIB_TYPES:
            panel = "is not stored yet" if held.name in PANEL_TYPES else "is not of panels"
            left_out.append((held.name, f"this calibration type {panel}"))
            continue
        ending = [valid.key for valid in held.ranges if valid.end not in (math.inf, None)]
        if ending:
            left_out.append((held.name, f"{', '.join(ending)} ends, and what is valid here has no end"))
            continue
        # Of two that begin in one second the later wins from the next second on.
        winning = {
            math.floor(valid.start): valid for valid in sorted(held.ranges, key=_start) if valid.start is not None
        }
        for valid in held.ranges:
            if valid.start is not None and winning[math.floor(valid.start)] is not valid:
                left_out.append((f"{held.name}/{valid.key}", "another range begins in the same second, and wins"))
                continue
            _take(detector, held.name, valid, zone, recover, taken, holes, left_out)
    taken.sort(key=lambda pair: pair[0])
    return [item for _, item in taken], holes, left_out


def _start(held: DcsRange) -> float:
    return -math.inf if held.start is None else held.start


def without_stand_ins(taken: Sequence[Taken], holes: Sequence[Hole]) -> tuple[list[Taken], list[tuple[str, str]]]:
    """Return what of `taken` may go in, and the types that may not, with the reason: those in which something
    earlier would be valid in the place of a hole."""
    left_out = {}
    for hole in holes:
        earlier = [item for item in taken if item.type == hole.type and item.start < math.floor(hole.start) * SECOND]
        if earlier:
            first = earlier[0].name.rpartition("/")[0]
            left_out[hole.type] = (
                f"from {hole.name} on the file has nothing that can be stored, and {first} would stand in for it; "
                "if that is meant, take the range out of a copy of the file (dcs delrange)"
            )
    return [item for item in taken if item.type not in left_out], list(left_out.items())


def _take(
    detector: str,
    type_name: str,
    held: DcsRange,
    zone: ZoneInfo,
    recover: bool,
    taken: list[tuple[float, Taken]],
    holes: list[Hole],
    left_out: list[tuple[str, str]],
) -> None:
    place = f"{type_name}/{held.key}"
    whole = [version for version in held.versions if version.blob and (recover or not version.problem)]
    for version in held.versions:
        if version not in whole:
            hint = "" if recover or not version.blob else "; --recover takes it"
            problem = version.problem.partition("; ")[0]
            left_out.append((f"{place}/{version_key(version.number)}", f"{problem}{hint}"))
    if held.start is None or held.end is None:
        left_out.append((place, f"its {'begin' if held.start is None else 'end'} is missing"))
        return
    if not 0 <= held.start < LATEST:
        left_out.append((place, "its begin is outside the years 1970 to 2261"))
        return
    if not whole:
        left_out.append((place, "it holds no version"))
        holes.append(Hole(place, type_name, held.start))
        return
    start = math.floor(held.start) * SECOND  # what began between two seconds is covered
    try:
        stamp = exact_stamp(start, zone)
    except BadValue as error:
        left_out.append((place, error.message))
        holes.append(Hole(place, type_name, held.start))
        return
    last = held.chosen(whole)
    ordered = sorted(whole, key=lambda version: (version is last, version.produced or 0.0, version.number))
    latest = -math.inf
    for version, history in zip(ordered, _shares(held, ordered), strict=True):
        latest = max(latest, version.produced or 0.0)
        assert version.blob is not None
        name = f"{place}/{version_key(version.number)}"
        origin = {
            "version": f"{detector}.h5/{name}",
            "detector": detector,
            "type": type_name,
            "range": held.key,
            "begin": held.start,
            "number": version.number,
            "produced": version.produced,
            "message": _message(history, version.number),
            "history": {moment: _clean(text) for moment, text in history.items()},
            "parameters": {key: _clean(value) for key, value in held.notes.parameters.items()},
            "shape": list(version.blob.shape),
            **({"recovered": True} if version.problem else {}),
        }
        taken.append((latest, Taken(name, type_name, stamp, start, version.blob, origin)))


def _shares(held: DcsRange, ordered: Sequence[DcsVersion]) -> list[dict[str, str]]:
    """Return of the history of a range the part of each version: from its production until that of the next."""
    shares: list[dict[str, str]] = [{} for _ in ordered]
    for moment, text in sorted(held.notes.history.items()):
        try:
            at = float(moment)
        except ValueError:
            at = math.inf
        # The line is written in the microsecond of the version, or after it.
        before = [i for i, version in enumerate(ordered) if (version.produced or 0.0) <= at + _MOMENT]
        shares[max(before, key=lambda i: ordered[i].produced or 0.0, default=0)][moment] = text
    return shares


def _message(history: Mapping[str, str], number: int) -> str:
    texts = [text for text in history.values() if text.startswith(f"add version {number}: ")]
    return _clean(texts[-1].partition(": ")[2]) if texts else ""


def _clean(text: Any) -> Any:
    """Return a text as a commit can carry it."""
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text
