"""Parse and print times. An unclear time is refused, never guessed.

A *stamp* is the start of validity as people write it, ``YYYYMMDDHHMMSS``, wall-clock time in the zone of a
repository. Records hold the same instant beside it in int64 nanoseconds since 1970 UTC. The rules are those of
docs/design.md, "Times".
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from jfstore.errors import BadValue

SECOND = 1_000_000_000
BEGINNING = -(2**63)
"""Instant of constants that are valid from the beginning: it is before every other instant."""
BEGINNING_STAMP = "0" * 14
DEFAULT_ZONE = "America/Los_Angeles"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = int((datetime(2262, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * SECOND
_STAMP = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_UNIX = re.compile(r"@([0-9]{1,11})(?:\.([0-9]{1,9}))?", re.ASCII)
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?",
    re.ASCII,
)
_OUTSIDE = "is outside the years 1970 to 2261 (UTC)"
_FORMS = "a stamp YYYYMMDDHHMMSS, ISO 8601 with a zone (2018-03-06T00:00:00-08:00), Unix seconds as @1520323200, or now"


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """One instant, for records and for everything that takes a time.

    Attributes
    ----------
    ns : int
        Nanoseconds since 1970 UTC, or `BEGINNING`. Instants compare by this alone.
    stamp : str
        The wall-clock time in the repository's zone, to the second, as 14 digits.
    note : str or None
        What the user should know about how the time was read; None in most cases.
    """

    ns: int
    stamp: str = field(compare=False)
    note: str | None = field(default=None, compare=False, repr=False)

    @property
    def iso(self) -> str:
        """The instant as ISO 8601 in UTC."""
        return iso(self.ns)

    def __str__(self) -> str:
        return self.stamp


def find_zone(name: str) -> ZoneInfo:
    """Return the time zone called `name` in the IANA database; BadValue if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValue(f"{name!r} is not a time zone of the IANA database, such as {DEFAULT_ZONE}") from None


def check_zone(name: str) -> str:
    """Return `name` if it may become the zone of a new repository, where it must mean the same on every machine.

    Raises
    ------
    BadValue
        If it is not a zone of the IANA database, or a name that depends on the machine, such as ``localtime``.
    """
    find_zone(name)
    if name not in available_timezones() or name in ("localtime", "posixrules", "Factory"):
        raise BadValue(f"zone {name!r} does not mean the same on every machine: take one such as {DEFAULT_ZONE} or UTC")
    return name


def now() -> int:
    """Return the present instant in nanoseconds UTC."""
    return time.time_ns()


def _check_years(ns: int, text: str) -> int:
    if not 0 <= ns < _LAST:
        raise BadValue(f"time {text!r} {_OUTSIDE}")
    return ns


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _fraction(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0"))


def _wall_clock(text: str, zone: ZoneInfo) -> list[int]:
    """Return the instant of a stamp twice, or both instants of a stamp that comes twice, the earlier one first."""
    match = _STAMP.fullmatch(text)
    assert match
    if text == BEGINNING_STAMP:
        return [BEGINNING]
    try:
        wall = datetime(*(int(part) for part in match.groups()))  # type: ignore[arg-type]  # six ints, as datetime takes
    except ValueError as error:
        raise BadValue(f"stamp {text} is not a date and time: {error}") from None
    instants: list[int] = []
    try:
        for fold in (0, 1):
            instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if instant.astimezone(zone).replace(tzinfo=None) == wall:
                instants.append(_nanoseconds(instant))
    except OverflowError:
        raise BadValue(f"time {text!r} {_OUTSIDE}") from None
    if not instants:
        raise BadValue(f"stamp {text} does not exist in {zone.key}: the clocks skipped that hour; take one after it")
    return [_check_years(instant, text) for instant in instants]


def _hint(text: str) -> str:
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        if len(text) == 8:
            return f"did you mean {text}000000?"
        if 9 <= len(text) <= 11:
            hour = f"; YYYYMMDDHH is {text}0000" if len(text) == 10 else ""
            return f"Unix seconds are written @{text}{hour}"
        return f"it has {len(text)} digits, a stamp has 14 (YYYYMMDDHHMMSS)"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return f"did you mean {text.replace('-', '')}000000?"
    return f"expected {_FORMS}"


def parse_time(text: str, zone: ZoneInfo) -> int:
    """Return the instant that `text` names, in nanoseconds since 1970 UTC or `BEGINNING`.

    Parameters
    ----------
    text : str
        A 14-digit stamp in `zone` (``00000000000000``: the beginning), of which the first counts where it comes
        twice; ISO 8601 with a zone; Unix seconds as ``@N[.fraction]``; or ``now``.
    zone : zoneinfo.ZoneInfo
        The zone in which stamps are read.

    Raises
    ------
    BadValue
        For any other form, an impossible date, a wall-clock time that daylight saving skips, and instants outside
        the years 1970 to 2261.
    """
    if text == "now":
        return now()
    if _STAMP.fullmatch(text):
        return _wall_clock(text, zone)[0]
    if match := _UNIX.fullmatch(text):
        return _check_years(int(match[1]) * SECOND + _fraction(match[2]), text)
    if match := _ISO.fullmatch(text):
        date, clock, fraction, utc, sign, hours, minutes = match.groups()
        if not (utc or sign):
            raise BadValue(f"time {text!r} has no zone: add Z or an offset such as -08:00, or write a stamp")
        try:
            if int(minutes or 0) > 59:
                raise ValueError("the minutes of its offset must be in 0..59")
            offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
            moment = datetime.fromisoformat(f"{date}T{clock}").replace(
                tzinfo=timezone(-offset if sign == "-" else offset)
            )
            return _check_years(_nanoseconds(moment) + _fraction(fraction), text)
        except (ValueError, OverflowError) as error:
            if isinstance(error, BadValue):
                raise
            raise BadValue(f"time {text!r} is not a date and time: {error}") from None
    raise BadValue(f"{text!r} is not a time: {_hint(text)}")


def parse_instant(when: str | datetime | Instant, zone: ZoneInfo) -> Instant:
    """Return the instant that `when` means: text as in `parse_time`, an aware datetime, or an instant.

    Raises
    ------
    BadValue
        For a naive datetime, a number, or text that is not a time.
    """
    if isinstance(when, Instant):
        return instant_at(when.ns, zone)
    if isinstance(when, str):
        ns = parse_time(when, zone)
        twice = _STAMP.fullmatch(when) and len({*_wall_clock(when, zone)}) > 1
        note = f"stamp {when} comes twice in {zone.key}; taken as the first, {iso(ns)}" if twice else None
        return Instant(ns, stamp_at(ns, zone), note)
    if not isinstance(when, datetime):
        raise BadValue(f"a time is text or an aware datetime, not {type(when).__name__}; Unix seconds are '@N'")
    if when.tzinfo is None or when.utcoffset() is None:
        raise BadValue(f"datetime {when} has no zone")
    # A pandas.Timestamp is a datetime that has nanoseconds besides.
    return instant_at(_check_years(_nanoseconds(when) + int(getattr(when, "nanosecond", 0)), str(when)), zone)


def instant_at(ns: int, zone: ZoneInfo) -> Instant:
    """Return the instant `ns`, its stamp written in `zone`."""
    return Instant(ns, stamp_at(ns, zone))


def start_of_validity(when: str | datetime | Instant, zone: ZoneInfo, floor: bool = False) -> Instant:
    """Return the instant that `when` means if a stamp names it; with `floor`, without its fraction of a second.

    Raises
    ------
    BadValue
        As `parse_instant` and `exact_stamp`.
    """
    instant = parse_instant(when, zone)
    ns = instant.ns - instant.ns % SECOND if floor and instant.ns != BEGINNING else instant.ns
    return Instant(ns, exact_stamp(ns, zone), instant.note)


def stamp_at(ns: int, zone: ZoneInfo) -> str:
    """Return the wall-clock time in `zone` of instant `ns`, to the second, as 14 digits."""
    if ns == BEGINNING:
        return BEGINNING_STAMP
    return (_EPOCH + timedelta(seconds=ns // SECOND)).astimezone(zone).strftime("%Y%m%d%H%M%S")


def exact_stamp(ns: int, zone: ZoneInfo) -> str:
    """Return the stamp that names instant `ns`, for use as a start of validity.

    Raises
    ------
    BadValue
        If no stamp names it: it has a fraction of a second, or lies in the second pass of an
        hour that comes twice.
    """
    stamp = stamp_at(ns, zone)
    if ns == BEGINNING:
        return stamp
    if ns % SECOND:
        raise BadValue(f"a start of validity is in whole seconds, not {iso(ns)}; take {iso(ns - ns % SECOND)}")
    named = _wall_clock(stamp, zone)[0]
    if named != ns:
        raise BadValue(f"no stamp names {iso(ns)}: {stamp} comes twice in {zone.key} and means {iso(named)}")
    return stamp


def iso(ns: int) -> str:
    """Return instant `ns` as ISO 8601 in UTC, with a fraction where there is one.

    Examples
    --------
    >>> iso(1520323200_000000000), iso(BEGINNING)
    ('2018-03-06T08:00:00Z', 'the beginning')
    """
    if ns == BEGINNING:
        return "the beginning"
    text = (_EPOCH + timedelta(seconds=ns // SECOND)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ns % SECOND:09d}".rstrip("0") if ns % SECOND else ""
    return f"{text}{fraction}Z"


def iso_second(ns: int) -> str:
    """Return instant `ns` as `iso` does, floored to the second, for tables that people read."""
    return iso(ns if ns == BEGINNING else ns - ns % SECOND)


def parse_iso(text: str) -> int:
    """Return the instant of what `iso` printed."""
    return parse_time(text, ZoneInfo("UTC"))
