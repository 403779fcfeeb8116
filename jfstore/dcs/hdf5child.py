"""The process that reads foreign HDF5 files for this one: `hdf5walk` says what it does, this runs and asks it.

It is started for the first file and serves until this process ends; each file is read by a child of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from jfstore.errors import Damaged, Failed

_ANSWER, _PIECE = 128 << 20, 1 << 18
_KEPT = ("LD_LIBRARY_PATH", "PATH")


class Reader:
    """One such process, and the socket to it."""

    def __init__(self) -> None:
        package = Path(__file__).resolve().parents[2]
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HDF5_PLUGIN_PRELOAD": "::",  # no plugins
        }
        program = [sys.executable, "-S", "-P", "-m", "jfstore.dcs.hdf5walk"]
        self._asker = os.getpid()
        self._socket, theirs = socket.socketpair()
        with theirs:
            # Ctrl-C is for us, and not for it.
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                program,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        atexit.register(self.close)

    def ask(self, fd: int) -> tuple[int, bytes]:
        """Return how the child for the file `fd` ended, as `subprocess` says it, and what it answered."""
        ours, theirs = socket.socketpair()
        out = bytearray()
        with ours:
            with theirs:
                socket.send_fds(self._socket, [b"?"], [fd, theirs.fileno()])
            while len(out) < _ANSWER and (piece := ours.recv(_PIECE)):
                out += piece
        return int(self._socket.recv(16) or 1), bytes(out)

    @property
    def serves(self) -> bool:
        """Whether this process may ask it, and it is still there."""
        return self._asker == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """Let it end: nobody asks any more."""
        atexit.unregister(self.close)
        self._socket.close()
        if self._asker == os.getpid():
            self._process.kill()
            self._process.wait()


_reader: Reader | None = None
_lock = threading.Lock()


def ask(fd: int, where: str) -> dict[str, Any]:
    """Return what a child says of the file `fd`.

    Raises
    ------
    Damaged
        If it dies of the file, or takes too long.
    Failed
        If it cannot be run.
    """
    try:
        status, out = _ask(fd)
    except OSError as error:
        raise Failed(f"{where}: the process that reads it failed: {error.strerror}") from None
    if status in (-signal.SIGALRM, -signal.SIGXCPU):
        raise Damaged(f"{where} is not read: it takes too long")
    if status < 0:
        raise Damaged(f"{where} is not read: libhdf5 failed at it (signal {-status})")
    if status:
        raise Failed(f"{where}: the process that reads it failed")
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


def _ask(fd: int) -> tuple[int, bytes]:
    global _reader
    with _lock:
        if _reader is None or not _reader.serves:  # a forked process needs one of its own
            _reader = Reader()
        try:
            return _reader.ask(fd)
        except BaseException:
            # Who knows what it would answer next.
            _reader.close()
            _reader = None
            raise
