"""A proxy in front of the server that does to requests and answers what networks and busy servers do."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("drop request", "drop answer", "delay", "late", "twice", "truncate", "500", "503", "429")
_KEPT = ("content-type", "etag", "last-modified", "accept-ranges", "x-amz-request-id")


class Proxy:
    """Counts requests, and does a fault to a `share` of them while there is one.

    ``drop answer``: the server does it, nobody hears. ``late``: nobody hears, and the server does it a second
    later. ``twice``: the server is asked twice, and the second answer is given.
    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self.server_port = port
        self.share = 0.0
        self.faults: tuple[str, ...] = FAULTS
        self.methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "DELETE")
        self.count: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._late: list[threading.Timer] = []

    def next_fault(self, method: str) -> str | None:
        with self._lock:
            self.count[method] += 1
            if method not in self.methods or self._random.random() >= self.share:
                return None
            fault = self._random.choice(self.faults)
            self.done[fault] += 1
            return fault

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in _KEPT}
            if method == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length", "0")
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def later(self, *request: object) -> None:
        timer = threading.Timer(1.0, self.ask, request)
        self._late.append(timer)
        timer.start()

    def settle(self) -> None:
        """Wait until what was late is done."""
        for timer in self._late:
            timer.join()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.next_fault(self.command)
            request = (self.command, self.path, dict(self.headers), body)
            if fault in ("drop request", "late"):
                if fault == "late":
                    proxy.later(*request)
                self.close_connection = True
                return
            if fault in ("500", "503", "429"):
                self.answer(int(fault), {}, b"<Error><Code>SlowDown</Code></Error>")
                return
            if fault == "delay":
                time.sleep(0.3)
            answer = proxy.ask(*request)
            if fault == "twice":
                answer = proxy.ask(*request)
            if fault == "drop answer":
                self.close_connection = True
                return
            self.answer(*answer, cut=fault == "truncate")

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_any

        def answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        def log_message(self, *_rest: object) -> None:
            return

    return Handler


@contextmanager
def proxied(port: int, seed: int = 0) -> Iterator[tuple[int, Proxy]]:
    """Run a proxy in front of the server at `port`; yield its port, and the proxy."""
    proxy = Proxy(port, seed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port, proxy
    finally:
        proxy.settle()
        server.shutdown()
        thread.join()
        server.server_close()
