"""Read from a connection so that every read ends in time, and no more is read than is acceptable."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any


class TimedSocket:
    """Gives `http.client` the file that it reads a response from.

    Parameters
    ----------
    sock : socket
        The connection.
    silence : float
        Seconds without a byte after which a read fails.
    deadline : float
        When every read fails, as `time.monotonic` counts.
    limit : int
        Most bytes to read.
    """

    def __init__(self, sock: socket.socket, silence: float, deadline: float, limit: int) -> None:
        self._raw = _TimedFile(sock, silence, deadline, limit)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return the file, whatever the mode."""
        return io.BufferedReader(self._raw)


class _TimedFile(io.RawIOBase):
    def __init__(self, sock: socket.socket, silence: float, deadline: float, limit: int) -> None:
        super().__init__()
        self._sock, self._silence, self._deadline, self._left = sock, silence, deadline, limit
        self._raw: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        self._sock.settimeout(min(self._silence, left))
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:  # http.client reads a chunk of size -1 to the end of all that comes
            raise http.client.HTTPException("it does not end")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
