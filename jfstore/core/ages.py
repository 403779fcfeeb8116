"""Parse and print spans of time, such as the age of pedestals."""

from __future__ import annotations

import re
from datetime import timedelta

from jfstore.core.instants import SECOND
from jfstore.errors import BadValue

_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_AGE = re.compile(r"([0-9]{1,6})([wdhms])", re.ASCII)


def parse_age(age: str | timedelta) -> int:
    """Return a span of time in nanoseconds.

    Raises
    ------
    BadValue
        If it is not a positive number of weeks, days, hours, minutes or seconds.

    Examples
    --------
    >>> parse_age("2d")
    172800000000000
    """
    if isinstance(age, timedelta):
        seconds = age.total_seconds()
        if seconds > 0:
            return int(seconds * SECOND)
    match = _AGE.fullmatch(age) if isinstance(age, str) else None
    if not match or not int(match[1]):
        raise BadValue(f"{age!r} is not an age: expected a number of w, d, h, m or s, such as 2d")
    return int(match[1]) * _UNITS[match[2]] * SECOND


def format_span(ns: int) -> str:
    """Return a span of time in the largest unit of which it has at least two."""
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if ns >= 2 * seconds * SECOND:
            return f"{ns // (seconds * SECOND)} {unit}"
    return f"{ns / SECOND:g} seconds"
