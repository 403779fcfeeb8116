"""Say what the answers of web servers mean, and what failed if none came."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from http import HTTPStatus

from jfstore.core.urls import shorten_url
from jfstore.errors import Failed, NotFound

_TRY_AGAIN = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class Unavailable(Exception):
    """The server asks to come again later."""

    def __init__(self, reason: str, wait: float | None) -> None:
        super().__init__(reason)
        self.wait = wait


def check_headers(response: http.client.HTTPResponse, url: str, span: tuple[int, int] | None) -> None:
    """Raise Failed if a response is compressed, or is another part (offset and length `span`) than was asked for."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Failed(f"{shorten_url(url)}: the answer is compressed, though that was not asked for")
    if span and not response.headers.get("Content-Range", "").startswith(f"bytes {span[0]}-{sum(span) - 1}/"):
        raise Failed(f"{shorten_url(url)}: the server returns another part than was asked for")


def raise_for_status(status: int, url: str, wait: str, span: tuple[int, int] | None) -> None:
    """Raise the error for a response that is not a success; `wait` is what its Retry-After says."""
    where = shorten_url(url)
    if status in _TRY_AGAIN:
        seconds = float(wait) if re.fullmatch(r"[0-9]{1,6}", wait, re.ASCII) else None
        raise Unavailable(f"the server answers {_name_status(status)}", seconds)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise NotFound(f"{where}: the server has nothing there ({status})")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise Failed(f"{where}: the server wants a login or does not let this machine read ({status})")
    if span and status in (HTTPStatus.OK, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        raise Failed(f"{where}: the server does not return the part that was asked for")
    raise Failed(f"{where}: the server answers {_name_status(status)}")


def _name_status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def describe_failure(error: Exception) -> str:
    """Return in words why there is no answer."""
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    if isinstance(error, socket.gaierror):
        return "there is no such server, or its name cannot be looked up"
    if isinstance(error, ConnectionRefusedError):
        return "no server answers there"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection: {error.reason or 'it broke'}"
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected | ConnectionError):
        return "the connection broke"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not one of a web server"
    return f"the connection failed: {getattr(error, 'strerror', None) or error}"
