"""Times: text to nanoseconds UTC and back. Nothing is guessed; a time that is not clear is refused.

A *stamp* is the start of validity as people write it, ``YYYYMMDDHHMMSS``, wall-clock time in the
zone of a repository; stored beside it is the same instant in int64 nanoseconds since 1970 UTC.
"""

from __future__ import annotations

import re
import time
import warnings
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jfstore.errors import BadValue, JfstoreWarning

SECOND = 1_000_000_000
BEGINNING = -(2**63)
"""The instant of constants that are valid from the beginning, before every other."""
BEGINNING_STAMP = "0" * 14
DEFAULT_ZONE = "America/Los_Angeles"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = int((datetime(2262, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * SECOND
_STAMP = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_UNIX = re.compile(r"@([0-9]{1,11})(?:\.([0-9]{1,9}))?|([0-9]{9,11})", re.ASCII)
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?",
    re.ASCII,
)
_OUTSIDE = "is outside the years 1970 to 2261 (UTC)"
_FORMS = "a stamp YYYYMMDDHHMMSS, ISO 8601 with a zone (2018-03-06T00:00:00-08:00), Unix seconds as @1520323200, or now"


def zone_named(name: str) -> ZoneInfo:
    """Return the time zone called `name` in the IANA database; BadValue if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValue(f"{name!r} is not a time zone of the IANA database, such as {DEFAULT_ZONE}") from None


def now() -> int:
    """Return the present instant in nanoseconds UTC."""
    return time.time_ns()


def _checked(ns: int, text: str) -> int:
    if not 0 <= ns < _LAST:
        raise BadValue(f"time {text!r} {_OUTSIDE}")
    return ns


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _fraction(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0"))


def _wall_clock(text: str, zone: ZoneInfo) -> int:
    match = _STAMP.fullmatch(text)
    assert match
    if text == BEGINNING_STAMP:
        return BEGINNING
    try:
        wall = datetime(*(int(part) for part in match.groups()))  # type: ignore[arg-type]  # six ints, as datetime takes
    except ValueError as error:
        raise BadValue(f"stamp {text} is no date and time: {error}") from None
    instants = []
    try:
        for fold in (0, 1):
            instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if instant.astimezone(zone).replace(tzinfo=None) == wall:
                instants.append(_nanoseconds(instant))
    except OverflowError:
        raise BadValue(f"time {text!r} {_OUTSIDE}") from None
    if not instants:
        raise BadValue(f"stamp {text} does not exist in {zone.key}: the clocks skipped that hour; take one after it")
    if instants[0] != instants[-1]:
        first = iso(instants[0])
        warnings.warn(
            f"stamp {text} comes twice in {zone.key}; taken as the first, {first}", JfstoreWarning, stacklevel=4
        )
    return _checked(instants[0], text)


def _hint(text: str) -> str:
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        if len(text) == 8:
            return f"did you mean {text}000000?"
        return f"it has {len(text)} digits, a stamp has 14 (YYYYMMDDHHMMSS)"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return f"did you mean {text.replace('-', '')}000000?"
    return f"expected {_FORMS}"


def parse_time(text: str, zone: ZoneInfo) -> int:
    """Return the instant that `text` names.

    Parameters
    ----------
    text : str
        A 14-digit stamp in `zone` (``00000000000000``: the beginning); ISO 8601 with a zone;
        Unix seconds as ``@N[.fraction]`` or as 9 to 11 digits; or ``now``.
    zone : zoneinfo.ZoneInfo
        The zone in which stamps are read.

    Returns
    -------
    int
        Nanoseconds since 1970 UTC, or `BEGINNING`.

    Raises
    ------
    BadValue
        For any other form, an impossible date, a wall-clock time that daylight saving skips,
        and instants outside the years 1970 to 2261.

    Warns
    -----
    JfstoreWarning
        If a stamp comes twice when daylight saving ends; the first is taken.
    """
    if text == "now":
        return now()
    if _STAMP.fullmatch(text):
        return _wall_clock(text, zone)
    if match := _UNIX.fullmatch(text):
        return _checked(int(match[1] or match[3]) * SECOND + _fraction(match[2]), text)
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
            return _checked(_nanoseconds(moment) + _fraction(fraction), text)
        except (ValueError, OverflowError) as error:
            if isinstance(error, BadValue):
                raise
            raise BadValue(f"time {text!r} is no date and time: {error}") from None
    raise BadValue(f"{text!r} is not a time: {_hint(text)}")


def instant(when: str | datetime, zone: ZoneInfo) -> int:
    """Return the instant of `when`: text as in `parse_time`, or an aware datetime.

    Raises
    ------
    BadValue
        For a naive datetime, a number, or text that is no time.
    """
    if isinstance(when, str):
        return parse_time(when, zone)
    if not isinstance(when, datetime):
        raise BadValue(f"a time is text or an aware datetime, not {type(when).__name__}; Unix seconds are '@N'")
    if when.tzinfo is None or when.utcoffset() is None:
        raise BadValue(f"datetime {when} has no zone")
    return _checked(_nanoseconds(when), str(when))


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JfstoreWarning)
        named = _wall_clock(stamp, zone)
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
