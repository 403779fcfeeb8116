"""Read from web servers with plain GET requests: all of jfstore does it here, but for buckets, which obstore reads.

A server may hang, send without end, send something else or send to another place. So every request has limits on bytes
and time, certificates are verified, and a redirect stays on its server. The limit on time covers everything that is
received, headers as well: http.client has none, and urllib3 has none for a body that arrives byte by byte.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from jfstore._version import __version__
from jfstore.core.urls import check_base_url, is_this_machine, place_of_url, shorten_url
from jfstore.errors import BadValue, Failed
from jfstore.fs.timed_socket import TimedSocket
from jfstore.fs.web_answers import Unavailable, check_headers, describe_failure, raise_for_status

T = TypeVar("T")

PATIENCE = 180.0
"""Seconds for a request, retries included, besides those for the bytes that it may return. psana2 waits as long."""

_SLOWEST = 1 << 20
"""Bytes that must arrive each second."""
_ATTEMPTS = 4
_LONGEST_WAIT = 30.0
_REDIRECTS = 3
_PIECE = 1 << 20
_HEADERS = 1 << 20
_REDIRECT = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)


class WrongLength(Failed):
    """The server has another number of bytes than is expected."""


class AnswerTooLong(WrongLength):
    """The server has more bytes than the caller takes: ask for less."""


class WebServer:
    """A server, and the URL below which things are read. Threads may share it; each has connections of its own.

    Parameters
    ----------
    base : str
        The URL: https, or http on this machine.
    insecure : bool
        Whether http to another machine is accepted, where anybody between may change what is read.
    silence : float
        Seconds without a byte after which the connection counts as broken.
    pause : float
        Seconds before the second attempt; each further one waits twice as long.
    patience : float
        See `PATIENCE`.

    Raises
    ------
    BadValue
        If the URL is not acceptable.
    """

    def __init__(
        self,
        base: str,
        *,
        insecure: bool = False,
        silence: float = 60.0,
        pause: float = 0.5,
        patience: float = PATIENCE,
    ) -> None:
        self._place = check_base_url(base, insecure)
        self.base = base if base.endswith("/") else f"{base}/"
        self._silence, self._pause, self._patience = silence, pause, patience
        self._local = threading.local()

    @property
    def is_protected(self) -> bool:
        """Whether nobody between can change what is read: by https, or because the server is this machine."""
        return self._place[0] == "https" or is_this_machine(self._place[1])

    def url(self, *names: str, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of something below the base, each of `names` one step of the path.

        Raises
        ------
        BadValue
            If a name is empty or leads upward.
        """
        for name in names:
            if name in ("", ".", ".."):
                raise BadValue(f"{self.base}: {name!r} is not a name that can be asked for")
        path = "/".join(quote(name, safe="") for name in names)
        return f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")

    def get(
        self,
        *names: str,
        limit: int,
        query: Mapping[str, str] | None = None,
        size: int | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytearray:
        """Return what the server has at a URL; the request is repeated if the connection breaks or the server is busy.

        Parameters
        ----------
        *names : str
            Steps of the path below the base; none for the base itself.
        limit : int
            Most bytes to accept.
        query : mapping of str to str, optional
            Parameters of the URL.
        size : int, optional
            How many bytes it must have.
        span : (int, int), optional
            Offset and length of the part to read, in place of all.

        Raises
        ------
        NotFound
            If the server says that there is no such thing.
        AnswerTooLong
            If it has more than `limit` bytes.
        WrongLength
            If it does not have `size` bytes.
        Failed
            If the server cannot be reached, is not who it says, or answers something else.
        """
        url, deadline = self.url(*names, query=query), self._deadline(limit)
        if span:
            size = span[1]
        return self._retry(url, deadline, lambda: self._read_whole(url, deadline, limit, size, span))

    def stream(
        self, *names: str, limit: int, query: Mapping[str, str] | None = None, span: tuple[int, int] | None = None
    ) -> Generator[bytes, None, None]:
        """Yield what the server has at a URL piece by piece. Only the request is repeated, not what was yielded.

        Parameters and errors are those of `get`; a connection that breaks is Failed.
        """
        url, deadline = self.url(*names, query=query), self._deadline(limit)
        connection, response = self._retry(url, deadline, lambda: self._open(url, deadline, limit, span))
        try:
            yield from _read_pieces(response, url, limit)
            if response.length:
                raise Failed(f"{shorten_url(url)}: the connection broke, {response.length} bytes before the end")
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{shorten_url(url)}: {describe_failure(error)}") from None
        finally:
            self._put_back(connection, response)

    # -- one request -------------------------------------------------------------------------------

    def _deadline(self, limit: int) -> float:
        return time.monotonic() + self._patience + limit / _SLOWEST

    def _retry(self, url: str, deadline: float, work: Callable[[], T]) -> T:
        """Return what `work` returns, which is tried again if it fails in a way that may pass."""
        wait = self._pause
        for attempt in range(1, _ATTEMPTS + 1):
            asked: float | None = None
            try:
                return work()
            except ssl.SSLCertVerificationError as error:
                raise Failed(
                    f"{shorten_url(url)}: the server's certificate is not valid: {error.verify_message}"
                ) from None
            except Unavailable as error:
                reason, asked = str(error), error.wait
            except (OSError, http.client.HTTPException) as error:
                reason = describe_failure(error)
            pause = min(_LONGEST_WAIT, asked if asked is not None else wait * random.uniform(0.7, 1.3))  # noqa: S311 - no secret
            if attempt == _ATTEMPTS or time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
            wait *= 2
        raise Failed(f"{shorten_url(url)}: {reason}, {attempt} time{'s' if attempt > 1 else ''}")

    def _read_whole(
        self, url: str, deadline: float, limit: int, size: int | None, span: tuple[int, int] | None
    ) -> bytearray:
        connection, response = self._open(url, deadline, limit, span)
        try:
            length = response.length
            if size is not None and length not in (None, size):
                raise WrongLength(f"{shorten_url(url)}: it has {length} bytes, expected {size}")
            if length is not None and length > limit:
                raise AnswerTooLong(
                    f"{shorten_url(url)}: it has {length} bytes, more than the {limit} that it may have"
                )
            data = _read_all(response, url, limit)
            if length is not None and len(data) < length:
                raise http.client.IncompleteRead(b"")
            if size is not None and len(data) != size:
                raise WrongLength(f"{shorten_url(url)}: it has {len(data)} bytes, expected {size}")
            return data
        finally:
            self._put_back(connection, response)

    def _open(
        self, url: str, deadline: float, limit: int, span: tuple[int, int] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request and follow redirects; return the response when its headers have arrived."""
        target = url
        for _ in range(_REDIRECTS + 1):
            connection, response = self._request(target, deadline, limit, span)
            if response.status == (HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK):
                try:
                    check_headers(response, url, span)
                except Failed:
                    connection.close()
                    raise
                return connection, response
            location = response.headers.get("Location", "")
            wait = response.headers.get("Retry-After", "")
            response.close()
            connection.close()
            if response.status not in _REDIRECT:
                raise_for_status(response.status, url, wait, span)
            target = self._check_redirect(url, target, location)
        raise Failed(f"{shorten_url(url)}: the server redirects again and again")

    def _request(
        self, url: str, deadline: float, limit: int, span: tuple[int, int] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts, most = urlsplit(url), _HEADERS + 2 * limit
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": f"jfstore/{__version__}", "Accept-Encoding": "identity"}
        if span:
            headers["Range"] = f"bytes={span[0]}-{span[0] + span[1] - 1}"
        if kept := self._take():
            # The server may have closed a connection that was not used for a while.
            try:
                return kept, self._send(kept, path, headers, deadline, most)
            except BaseException as error:
                kept.close()
                if not isinstance(error, ConnectionError):
                    raise
        connection = self._connect()
        try:
            return connection, self._send(connection, path, headers, deadline, most)
        except BaseException:
            connection.close()
            raise

    def _send(
        self, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str], deadline: float, most: int
    ) -> http.client.HTTPResponse:
        silence = self._silence  # not this object, or a kept connection would lead back to it

        def respond(sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
            timed: Any = TimedSocket(sock, silence, deadline, most)
            return http.client.HTTPResponse(timed, *args, **options)

        connection.response_class = respond  # type: ignore[assignment]  # it is only called
        if connection.sock is None:
            connection.timeout = min(self._silence, max(0.001, deadline - time.monotonic()))
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        scheme, host, port = self._place
        if scheme == "http":
            return http.client.HTTPConnection(host, port)
        return http.client.HTTPSConnection(host, port, context=ssl.create_default_context())

    def _check_redirect(self, url: str, asked: str, location: str) -> str:
        """Return the URL to which a server redirects from `asked`, if it is one of its own."""
        try:
            target = urljoin(asked, location)
            is_own = place_of_url(target) == self._place
        except ValueError:
            is_own = False
        if not is_own:
            place = shorten_url(location)
            raise Failed(f"{shorten_url(url)}: the server redirects to another one, {place}, which is not followed")
        return target

    # -- the connection that is kept ---------------------------------------------------------------

    def _take(self) -> http.client.HTTPConnection | None:
        kept, self._local.kept = getattr(self._local, "kept", None), None
        return kept.give() if kept else None

    def _put_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        """Keep a connection for the next request of this thread, if its response was read to the end; else close it."""
        is_whole = response.isclosed() and not response.will_close
        response.close()
        if is_whole and getattr(self._local, "kept", None) is None:
            self._local.kept = _Kept(connection)
        else:
            connection.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (self.base, self.is_protected, self._silence, self._pause, self._patience)

    def __repr__(self) -> str:
        return f"WebServer({self.base!r})"


def _remake(base: str, is_protected: bool, silence: float, pause: float, patience: float) -> WebServer:
    return WebServer(base, insecure=not is_protected, silence=silence, pause=pause, patience=patience)


class _Kept:
    """A connection that waits for the next request; closed when nobody is left to make one."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection: http.client.HTTPConnection | None = connection
        self._process = os.getpid()

    def give(self) -> http.client.HTTPConnection | None:
        """Return the connection; None in a forked process, because its parent may use it at the same time."""
        if self._process != os.getpid():
            return None
        connection, self._connection = self._connection, None
        return connection

    def __del__(self) -> None:
        if self._connection:
            self._connection.close()


def _read_all(response: http.client.HTTPResponse, url: str, limit: int) -> bytearray:
    if response.length is None:
        data = bytearray()
        for piece in _read_pieces(response, url, limit):
            data += piece
        return data
    data = bytearray(response.length)
    view, done = memoryview(data), 0
    while done < len(data) and (count := response.readinto(view[done : done + (16 * _PIECE)])):
        done += count
    view.release()
    response.read()  # so that the response counts as read to the end
    del data[done:]
    return data


def _read_piece(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_PIECE)
    except ValueError:  # from a chunk of negative size
        raise http.client.HTTPException from None


def _read_pieces(response: http.client.HTTPResponse, url: str, limit: int) -> Iterator[bytes]:
    total = 0
    while piece := _read_piece(response):
        total += len(piece)
        if total > limit:
            raise AnswerTooLong(f"{shorten_url(url)}: it has more than the {limit} bytes that it may have")
        yield piece
