"""Check the URLs of web servers before anything is asked of them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from jfstore.errors import BadValue

Place = tuple[str, str, int]
"""Scheme, host and port of a URL."""

_TEXT = 200


def check_base_url(base: str, insecure: bool = False) -> Place:
    """Return the place of the URL below which a server has things to read.

    Parameters
    ----------
    base : str
        The URL: https, or http on this machine.
    insecure : bool
        Whether http to another machine is accepted.

    Raises
    ------
    BadValue
        If it is not such a URL, or carries a password, a query or a fragment.
    """
    try:
        if re.search(r"[\x00-\x20\x7f-\uffff\\]", base):
            raise ValueError
        parts, place = urlsplit(base), place_of_url(base)
    except ValueError:
        raise BadValue(f"{base!r} is not a URL, such as https://example.org/calib_ws/") from None
    if place[0] not in ("https", "http") or not place[1] or parts.query or parts.fragment:
        raise BadValue(f"{base!r} is not the URL of a place on a web server, such as https://example.org/calib_ws/")
    if "@" in parts.netloc:
        raise BadValue("a URL must not have a user or password in it")
    if place[0] == "http" and not insecure and not is_this_machine(place[1]):
        raise BadValue(f"{base}: anybody between may change what is read over http; give an https URL")
    return place


def place_of_url(url: str) -> Place:
    """Return scheme, host and port of a URL; ValueError if its port is not a number.

    Examples
    --------
    >>> place_of_url("https://Example.org/x"), place_of_url("http://[::1]:80/")
    (('https', 'example.org', 443), ('http', '::1', 80))
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def is_this_machine(host: str) -> bool:
    """Return whether a host is this machine, so that nobody is between."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shorten_url(url: str) -> str:
    """Return a URL for a message: printable, and not long."""
    text = "".join(char if char.isprintable() else "?" for char in url)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."
