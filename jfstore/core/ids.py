"""Parse, print and normalise the Ids of panels and detectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from jfstore.errors import BadValue, NotFound, nearest

_FIELD = re.compile(r"(?:0[xX])?([0-9a-fA-F]*)", re.ASCII)
_VERSION = re.compile(r"([^/]+)/([0-9]{14})/v0*([1-9][0-9]{0,8})", re.ASCII)
_SHORT_WITH_STAMP = re.compile(r"[^-]*-[^-]*-([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_NAME = re.compile(r"(?=.*[^0-9a-fA-FxX-])[A-Za-z][A-Za-z0-9.+-]*", re.ASCII)
_PREFIX = "jungfrau_"  # LCLS-II writes it before a detector Id
_PLACES = (1, 2, 8, 32)
LARGEST_SEGMENT = _PLACES[-1] - 1
"""The largest number of a segment of a Jungfrau."""

_FIELD_NAMES = ("moduleVersion", "firmwareVersion", "serialNumber")


@dataclass(frozen=True, order=True, slots=True, repr=False)
class PanelId:
    """Identity of one panel, as its configuration object reports it.

    Parameters
    ----------
    module, firmware, serial : int
        ``moduleVersion()``, ``firmwareVersion()`` and ``serialNumber()`` of psana's
        ``ModuleConfigV1``: unsigned integers of at most 64 bits.

    Raises
    ------
    BadValue
        If a number is negative or needs more than 64 bits.

    Examples
    --------
    >>> str(PanelId(1511699, 23403815178277, 3997947))
    '171113-154920171025-3d00fb'
    """

    module: int
    firmware: int
    serial: int

    def __post_init__(self) -> None:
        for name, value in zip(_FIELD_NAMES, (self.module, self.firmware, self.serial), strict=True):
            if type(value) is not int or not 0 <= value < 2**64:
                raise BadValue(f"{name} {value} of a panel Id is not an unsigned 64-bit number")

    def __repr__(self) -> str:
        return f"PanelId('{self}')"

    def __str__(self) -> str:
        return f"{self.module:x}-{self.firmware:x}-{self.serial:x}"


class KnownPanels(dict[str, None]):
    """The Ids of panels that are known, sorted, and the names that stand for Ids.

    Attributes
    ----------
    names : mapping of str to str
        By name the panel Id or detector Id that it stands for.
    """

    def __init__(self, panels: Iterable[str] = (), names: Mapping[str, str] | None = None) -> None:
        super().__init__(dict.fromkeys(sorted(panels)))
        self.names = dict(names or {})


def merge_panels(several: Iterable[KnownPanels]) -> KnownPanels:
    """Return the panels of several repositories; a name that differs stands for the panels of all."""
    panels: dict[str, None] = {}
    names: dict[str, dict[str, None]] = {}
    for known in several:
        panels.update(known)
        for name, stands_for in known.names.items():
            names.setdefault(name, {}).update(dict.fromkeys(stands_for.split("_")))
    return KnownPanels(panels, {name: "_".join(ids) for name, ids in names.items()})


def _names_in(known: Iterable[str]) -> Mapping[str, str]:
    return known.names if isinstance(known, KnownPanels) else {}


def _field(text: str, whole: str) -> int:
    match = _FIELD.fullmatch(text)
    if not match:
        raise BadValue(f"{whole!r} is not a panel Id: {text!r} is not a hexadecimal number")
    value = int(match[1] or "0", 16)
    if value >= 2**64:
        raise BadValue(f"{whole!r} is not a panel Id: {text!r} needs more than 64 bits")
    return value


def parse_panel(text: str) -> PanelId:
    """Return the panel that `text` names: three hexadecimal fields joined by dashes.

    Upper case, leading zeros and ``0x`` are normalised; an empty field, which the legacy
    tools print for a zero, is a zero. The prefix ``jungfrau_`` of LCLS-II is left out.

    Raises
    ------
    BadValue
        If `text` is not three such fields.

    Examples
    --------
    >>> str(parse_panel("0x171113-154920171025-003D00FB")), str(parse_panel("--3d00fb"))
    ('171113-154920171025-3d00fb', '0-0-3d00fb')
    """
    text = text.removeprefix(_PREFIX)
    fields = text.split("-")
    if len(fields) == 4 and re.fullmatch(r"[0-9]{14}", fields[3], re.ASCII):
        raise BadValue(f"{text!r} is not a panel Id but one with a stamp: pass {'-'.join(fields[:3])} -T {fields[3]}")
    if len(fields) != 3 or not text.strip("-"):
        raise BadValue(
            f"{text!r} is not a panel Id: expected <moduleVersion>-<firmwareVersion>-<serialNumber> "
            "in hexadecimal, such as 171113-154920171025-3d00fb"
        )
    return PanelId(*(_field(field, text) for field in fields))


def find_module_number(panel: str) -> int | None:
    """Return the module number in a panel Id in normal form; None if the Id has a plain serial number in its place.

    LCLS-II, and LCLS-I in its last years, write the board or its MAC address above the low 16 bits of the third field,
    and the module in these (psdaq/drp/JungfrauDetectorId.cc of lcls2). The board is found by its MAC address at one
    time and not at another, so only the module stays. Such an Id has a packed software version, which needs more than
    48 bits, or a third field of more than 32 bits.

    Examples
    --------
    >>> find_module_number("8000000020000-230920-20004002c"), find_module_number("171113-154920171025-3d00fb")
    (44, None)
    """
    module, _, serial = panel.split("-")
    return int(serial[-4:], 16) if len(module) > 12 or len(serial) > 8 else None


def has_same_serial(panel: str, other: str) -> bool:
    """Return whether two panel Ids in normal form have the same serial number, or the same module number.

    A number of 0 was not read from the detector, and says nothing.

    Examples
    --------
    >>> has_same_serial("170505-149520170815-3d00b0", "171113-154920171025-3d00b0")
    True
    >>> has_same_serial("8000000020000-230920-20004002c", "9000000000000-230921-ff002c")
    True
    """
    one, two = (name.rpartition("-")[2] for name in (panel, other))
    if one[-4:].zfill(4) != two[-4:].zfill(4):
        return False
    numbers = find_module_number(panel), find_module_number(other)
    if None in numbers:
        return numbers == (None, None) and one == two != "0"
    return numbers[0] == numbers[1] != 0


def is_short_with_stamp(text: str) -> bool:
    """Return whether `text` is a two-field panel Id with a stamp, which also reads as three fields of a panel Id."""
    match = _SHORT_WITH_STAMP.fullmatch(text)
    if not match:
        return False
    try:
        return 1970 <= datetime(*(int(part) for part in match.groups())).year < 2262  # type: ignore[arg-type]  # six ints
    except ValueError:
        return False


def split_stamp(text: str) -> tuple[str, str] | None:
    """Return panel and stamp of ``<panel>-<stamp>``, a short Id or a name too; None if `text` has another form.

    Examples
    --------
    >>> split_stamp("171113-154920171025-3d00fb-20180306000000"), split_stamp("171113-154920171025-3d00fb")
    (('171113-154920171025-3d00fb', '20180306000000'), None)
    """
    panel, _, stamp = text.removeprefix(_PREFIX).rpartition("-")
    is_panel = "_" not in panel and (panel.count("-") == 2 or _NAME.fullmatch(panel))
    is_whole = is_panel and re.fullmatch(r"[0-9]{14}", stamp, re.ASCII)
    return (panel, stamp) if is_whole or is_short_with_stamp(text.removeprefix(_PREFIX)) else None


def is_name(text: str) -> bool:
    """Return whether `text` has the form of a version's name, or of a panel Id with a stamp."""
    return _VERSION.fullmatch(text) is not None or split_stamp(text) is not None


def _find_serial(text: str, known: Iterable[str]) -> str:
    """Return the known panel whose serialNumber `text` is; `text` if it is none; BadValue if several have it."""
    serial = text.lower().removeprefix("0x").lstrip("0")
    matches = sorted(name for name in known if name.rpartition("-")[2] == serial) if serial else []
    if len(matches) > 1:
        raise BadValue(f"{text} is the serialNumber of several panels, write one in full: {', '.join(matches)}")
    return matches[0] if matches else text


def match_panels(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the panels of a detector Id, or all of `known` that have `text` as a part of their Id.

    Raises as `resolve_detector` if `text` is neither.
    """
    part = text.lower()
    if part.count("-") < 2 and re.fullmatch(r"[0-9a-f-]*[0-9a-f][0-9a-f-]*", part):
        found = tuple(name for name in known if part in name)
        if found:
            return found
    return tuple(map(str, resolve_detector(text, known)))


def is_id(text: str) -> bool:
    """Return whether `text` is a panel Id of three fields, or of two."""
    fields = text.split("-")
    return len(fields) in (2, 3) and any(fields) and all(_FIELD.fullmatch(field) for field in fields)


def split_detector(text: str) -> list[str]:
    """Return the parts of a detector Id, without the prefix of LCLS-II."""
    return text.removeprefix(_PREFIX).split("_")


def resolve_panel(text: str, known: Iterable[str]) -> PanelId:
    """Return the panel that `text` names, where `text` may lack the moduleVersion, or be the serialNumber alone.

    Parameters
    ----------
    text : str
        A panel Id of three fields, of two (``154920171025-3d00fb``), or of one (``3d00fb``) if a known panel has it;
        or the name of a panel.
    known : iterable of str
        The panel Ids among which a short one must be unique; `KnownPanels` also have the names.

    Raises
    ------
    BadValue
        If `text` is not a panel Id, or if it fits several panels (they are listed).
    NotFound
        If a two-field Id fits no known panel.
    """
    names = _names_in(known)
    if text not in names:
        if "-" not in text and not text.startswith(_PREFIX):  # jungfrau_000003 is the name of a detector
            text = _find_serial(text, known)
        text = text.removeprefix(_PREFIX)
    if "_" in (named := names.get(text, "")):
        raise BadValue(f"{text} is the name of a detector of {named.count('_') + 1} panels, not of a panel")
    text = named or text
    fields = text.split("-")
    if is_short_with_stamp(text):
        raise BadValue(f"{text!r} is a short panel Id with a stamp: pass {'-'.join(fields[:2])} -T {fields[2]}")
    if len(fields) != 2 or not any(fields):
        try:
            return parse_panel(text)
        except BadValue as error:
            raise BadValue(error.message, nearest(text, names)) from None
    tail = tuple(_field(field, text) for field in fields)
    panels = [parse_panel(name) for name in known]
    matches = sorted(panel for panel in panels if (panel.firmware, panel.serial) == tail)
    if not matches:
        near = nearest(text, (str(panel) for panel in panels))
        raise NotFound(f"no panel here ends in {text}", near)
    if len(matches) > 1:
        raise BadValue(f"{text} fits several panels, write one in full: {', '.join(map(str, matches))}")
    return matches[0]


def resolve_detector(text: str, known: Iterable[str] = ()) -> tuple[PanelId, ...]:
    """Return the panels of a detector Id or of a detector's name, in their order; for each see `resolve_panel`.

    Raises
    ------
    BadValue
        If a part is not a panel Id or is ambiguous, or if a panel comes twice.
    NotFound
        If a short part fits no known panel.
    """
    names = _names_in(known)
    text = names.get(text, text)
    if all(part.count("-") == 2 and part not in names for part in split_detector(text)):
        return _resolve(text, ())  # which panels are known does not matter
    return _resolve.__wrapped__(text, known if isinstance(known, KnownPanels) else tuple(known))


@lru_cache(maxsize=64)
def _resolve(text: str, known: Iterable[str]) -> tuple[PanelId, ...]:
    prefix = _PREFIX if text.startswith(_PREFIX) else ""
    panels = tuple(resolve_panel(prefix + part, known) for part in split_detector(text))
    if len(set(panels)) < len(panels):
        twice = next(panel for i, panel in enumerate(panels) if panel in panels[:i])
        raise BadValue(f"panel {twice} comes twice in the detector Id {text}")
    return panels


def detector_id(panels: Iterable[PanelId]) -> str:
    """Return the detector Id of `panels`: their Ids joined by underscores."""
    return "_".join(map(str, panels))


def count_places(segments: Sequence[int]) -> int:
    """Return how many panels psana2's arrays of a Jungfrau with these segments have, absent ones included.

    The sizes of a Jungfrau are 1, 2, 8 and 32 panels (psana/detector/UtilsJungfrau.py of lcls2).

    Raises
    ------
    BadValue
        If a segment has a number above 31.

    Examples
    --------
    >>> count_places([0]), count_places([0, 5]), count_places([2, 9])
    (1, 8, 32)
    """
    if max(segments) > LARGEST_SEGMENT:
        raise BadValue(f"a Jungfrau has no segment {max(segments)}: the largest is {LARGEST_SEGMENT}")
    return next(size for size in _PLACES if max(segments) < size)


def file_id(detector: str, room: int) -> str:
    """Return a detector Id for use in a file name: as it is, or where it has more than `room` characters, its first
    panel, ``-plus`` and how many more, and eight digits of its BLAKE3.

    Examples
    --------
    >>> file_id("1-2-3_1-2-4_1-2-5", 200), file_id("1-2-3_1-2-4_1-2-5", 16)
    ('1-2-3_1-2-4_1-2-5', '1-2-3-plus2-793a9030')
    """
    if len(detector) <= room:
        return detector
    from blake3 import blake3  # slow to load, and seldom needed

    first, *others = detector.split("_")
    return f"{first}-plus{len(others)}-{blake3(detector.encode()).hexdigest()[:8]}"


def version_name(panel: str, stamp: str, number: int) -> str:
    """Return the name of a version as people write it: ``<panel Id>/<stamp>/v<number>``."""
    return f"{panel}/{stamp}/v{number}"


def parse_version(text: str, known: Iterable[str] = ()) -> tuple[PanelId, str, int]:
    """Return panel, stamp and number of a version's name; ``v0001`` is read as ``v1``.

    Raises
    ------
    BadValue
        If `text` is not ``<panel Id>/<stamp>/v<number>``.
    NotFound
        If a two-field panel Id fits no known panel.
    """
    match = _VERSION.fullmatch(text)
    if not match:
        raise BadValue(
            f"{text!r} is not a version: expected <panel Id>/<stamp>/v<number>, "
            "such as 171113-154920171025-3d00fb/20180306000000/v1"
        )
    return resolve_panel(match[1], known), match[2], int(match[3])
