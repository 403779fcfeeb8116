"""A web server on this machine that answers as a test says, also as no server should."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[["Handler"], None]


@dataclass
class Served:
    """A running server.

    Attributes
    ----------
    answer : callable
        What is done for each GET request; it may be replaced at any time.
    asked : list of str
        The paths that were asked for, in order.
    connections : list
        The address of each connection, in order.
    """

    answer: Answer
    port: int = 0
    scheme: str = "http"
    asked: list[str] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def base(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/ws/"


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests by what `served` says."""

    protocol_version = "HTTP/1.1"
    served: Served

    def setup(self) -> None:
        super().setup()
        self.served.connections.append(self.client_address)

    def do_GET(self) -> None:
        self.served.asked.append(self.path)
        with suppress(OSError):
            self.served.answer(self)

    def give(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Send a whole response; an underscore in the name of a header stands for a dash."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def give_part(self, body: bytes) -> None:
        """Send what the Range of the request asks for."""
        match = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", self.headers.get("Range", ""))
        if not match:
            self.give(body)
            return
        first, last = int(match[1]), int(match[2])
        self.give(body[first : last + 1], 206, Content_Range=f"bytes {first}-{last}/{len(body)}")

    def hang(self) -> None:
        """Send nothing more until the test is over."""
        self.served.is_over.wait(60)
        self.close_connection = True

    def send_slowly(self, head: bytes, piece: bytes, pause: float = 0.05) -> None:
        """Send `head`, and then a piece again and again, until the other side is gone."""
        self.wfile.write(head)
        while not self.served.is_over.is_set():
            self.wfile.write(piece)
            time.sleep(pause)
        self.close_connection = True

    def log_message(self, *_rest: object) -> None:
        return


@contextmanager
def serve(answer: Answer, certificate: Path | None = None) -> Iterator[Served]:
    """Run a server; with the path of a certificate and its key, over TLS."""
    served = Served(answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Handler,), {"served": served}))
    server.daemon_threads = True
    server.block_on_close = False
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        served.scheme = "https"
    served.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield served
    finally:
        served.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """Return a port at which nobody answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def make_certificate(path: Path, names: str = "IP:127.0.0.1") -> Path:
    """Write a certificate that signs itself, and its key, to one file."""
    import subprocess

    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    key, certificate = path.with_suffix(".key"), path.with_suffix(".crt")
    command += ["-days", "2", "-subj", "/CN=a test", "-addext", f"subjectAltName={names}"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    return path
