"""What servers send is bounded in bytes and time, comes from where it was asked for, and is whole."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from jfstore.errors import BadValue, Failed, NotFound
from jfstore.fs.web import AnswerTooLong, WebServer
from tests.makers.web import Handler, Served, free_port, make_certificate, serve

BODY = bytes(range(256)) * 40


@pytest.fixture
def served() -> Iterator[Served]:
    with serve(lambda handler: handler.give(BODY)) as running:
        yield running


def reader(served: Served, silence: float = 0.4, patience: float = 1.5) -> WebServer:
    return WebServer(served.base, silence=silence, patience=patience, pause=0.01)


def test_it_returns_what_is_there(served: Served) -> None:
    web = reader(served)
    assert web.get("a", "b c/d", limit=len(BODY), query={"query_string": '{"run": {"$lte": 66}}'}) == BODY
    assert served.asked == ["/ws/a/b%20c%2Fd?query_string=%7B%22run%22%3A+%7B%22%24lte%22%3A+66%7D%7D"]
    assert web.get(limit=len(BODY), size=len(BODY)) == BODY
    assert served.asked[1:] == ["/ws/"]
    assert b"".join(web.stream("x", limit=len(BODY))) == BODY
    assert len(served.connections) == 1  # which is kept


@pytest.mark.parametrize("base", ["ws", "ws/"])
def test_the_base_may_end_with_a_slash(served: Served, base: str) -> None:
    web = WebServer(f"http://localhost:{served.port}/{base}")
    assert web.get("x", limit=1 << 20) == BODY
    assert served.asked == ["/ws/x"]


def test_chunks_and_bodies_without_a_length(served: Served) -> None:
    def chunked(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"".join(b"%x\r\n%b\r\n" % (len(BODY), BODY) for _ in range(3)) + b"0\r\n\r\n")

    def unbounded(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)
        handler.close_connection = True

    web = reader(served)
    served.answer = chunked
    assert web.get("x", limit=len(BODY) * 3) == BODY * 3
    with pytest.raises(AnswerTooLong, match="it has more than the 30719 bytes"):
        web.get("x", limit=len(BODY) * 3 - 1)
    served.answer = unbounded
    assert web.get("x", limit=len(BODY)) == BODY
    with pytest.raises(Failed, match="it has 10240 bytes, expected 10241"):
        web.get("x", limit=1 << 20, size=len(BODY) + 1)
    assert b"".join(web.stream("x", limit=len(BODY))) == BODY


def test_a_part(served: Served) -> None:
    web = reader(served)
    served.answer = lambda handler: handler.give_part(BODY)
    assert web.get("x", limit=100, span=(17, 50)) == BODY[17:67]
    assert b"".join(web.stream("x", limit=100, span=(17, 50))) == BODY[17:67]
    served.answer = lambda handler: handler.give(BODY)
    with pytest.raises(Failed, match="does not return the part"):
        web.get("x", limit=1 << 20, span=(17, 50))
    served.answer = lambda handler: handler.give(BODY[:50], 206, Content_Range="bytes 0-49/10240")
    with pytest.raises(Failed, match="returns another part"):
        web.get("x", limit=1 << 20, span=(17, 50))
    served.answer = lambda handler: handler.give(b"", 416)
    with pytest.raises(Failed, match="does not return the part"):
        web.get("x", limit=1 << 20, span=(17, 50))


def test_too_much_is_not_taken(served: Served) -> None:
    web = reader(served)
    with pytest.raises(AnswerTooLong, match="it has 10240 bytes, more than the 10239"):
        web.get("x", limit=len(BODY) - 1)
    with pytest.raises(Failed, match="it has 10240 bytes, expected 5"):
        web.get("x", limit=1 << 20, size=5)
    with pytest.raises(AnswerTooLong):
        list(web.stream("x", limit=len(BODY) - 1))
    served.answer = lambda handler: handler.send_slowly(b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 10_000, 0.0)
    with pytest.raises(AnswerTooLong):
        web.get("x", limit=1 << 20)


def answer_busy(times: int, status: int = 503, **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        is_busy = len(handler.served.asked) <= times
        handler.give(b"<html>", status, **headers) if is_busy else handler.give(BODY)

    return answer


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(served: Served, status: int) -> None:
    served.answer = answer_busy(3, status, Retry_After="0")
    assert reader(served).get("x", limit=1 << 20) == BODY
    assert len(served.asked) == 4
    served.asked.clear()
    served.answer = answer_busy(9, status)
    with pytest.raises(Failed, match=f"/ws/x: the server answers {status} .*, 4 times"):
        reader(served).get("x", limit=1 << 20)
    assert len(served.asked) == 4


def test_it_does_not_wait_longer_than_it_has_patience(served: Served) -> None:
    served.answer = answer_busy(9, Retry_After="3600")
    start = time.monotonic()
    with pytest.raises(Failed, match=r"503 Service Unavailable, 1 time$"):
        reader(served).get("x", limit=1)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (404, NotFound, "the server has nothing there"),
        (403, Failed, "wants a login"),
        (401, Failed, "wants a login"),
        (400, Failed, "the server answers 400 Bad Request$"),
        (299, Failed, "the server answers 299$"),
        (204, Failed, "the server answers 204"),
        (206, Failed, "the server answers 206"),
    ],
)
def test_other_answers_are_errors_at_once(served: Served, status: int, kind: type[Exception], text: str) -> None:
    served.answer = lambda handler: handler.give(b"" if status == 204 else b"no", status)
    with pytest.raises(kind, match=text):
        reader(served).get("x", limit=1 << 20)
    assert len(served.asked) == 1


def test_a_broken_connection_is_opened_again(served: Served) -> None:
    def cut(handler: Handler) -> None:
        if len(handler.served.asked) > 2:
            handler.give(BODY)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:100])
        handler.close_connection = True

    served.answer = cut
    assert reader(served).get("x", limit=1 << 20) == BODY
    assert len(served.asked) == 3
    served.asked.clear()
    with pytest.raises(Failed, match="the connection broke, 10140 bytes before the end"):
        list(reader(served).stream("x", limit=1 << 20))


def test_a_connection_that_the_server_closed_meanwhile(served: Served) -> None:
    def close_after(handler: Handler) -> None:
        handler.give(BODY)
        handler.close_connection = True

    served.answer = close_after
    web = reader(served)
    for count in range(1, 4):
        assert web.get("x", limit=1 << 20) == BODY
        assert len(served.connections) == count
        time.sleep(0.02)


SLOW: dict[str, Callable[[Handler], None]] = {
    "no answer": lambda handler: handler.hang(),
    "drops in headers": lambda handler: handler.send_slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers without end": lambda handler: handler.send_slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02),
    "continue without end": lambda handler: handler.send_slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drops in the body": lambda handler: handler.send_slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x"),
    "drops in chunks": lambda handler: handler.send_slowly(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"
    ),
}


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_server_does_not_hold_it_up(served: Served, how: str) -> None:
    served.answer = SLOW[how]
    start = time.monotonic()
    with pytest.raises(Failed, match=r"the server does not answer in time|not one of a web server"):
        reader(served).get("x", limit=99_999)
    assert time.monotonic() - start < 20


def test_a_chunk_without_end_is_not_collected(served: Served) -> None:
    """http.client reads a chunk of size -1 to the end of the connection, into memory."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"
    served.answer = lambda handler: handler.send_slowly(head, b"x" * 100_000, 0.0)
    with pytest.raises(Failed, match="not one of a web server, 4 times"):
        reader(served, silence=5, patience=20).get("x", limit=99_999)


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no status": b"HTTP/1.1 abc\r\n\r\n",
    "a long line": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
    "a negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n",
    "a chunk of all": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * (4 << 20),
    "a huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\nx\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_no_answer(served: Served, what: str) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(GARBAGE[what])
        handler.close_connection = True

    served.answer = answer
    with pytest.raises(Failed, match=r"4 times|more than the"):
        reader(served).get("x", limit=1 << 20)


def test_a_compressed_answer_is_refused(served: Served) -> None:
    served.answer = lambda handler: handler.give(b"\x1f\x8b", Content_Encoding="gzip")
    with pytest.raises(Failed, match="is compressed"):
        reader(served).get("x", limit=1 << 20)


def test_redirects_stay_on_the_server(served: Served) -> None:
    def answer(handler: Handler) -> None:
        if handler.path == "/ws/x":
            handler.give(b"", 301, Location="/elsewhere/x/")
        else:
            handler.give(BODY)

    served.answer = answer
    assert reader(served).get("x", limit=1 << 20) == BODY
    assert served.asked == ["/ws/x", "/elsewhere/x/"]


def redirect(handler: Handler, location: str) -> None:
    handler.give(b"", 302, Location=location)


def test_redirects_to_other_places_are_not_followed(served: Served) -> None:
    with serve(lambda handler: handler.give(BODY)) as other:
        for location in (
            f"{other.base}x",
            f"//127.0.0.1:{other.port}/x",
            f"https://127.0.0.1:{served.port}/x",
            "file:///etc/passwd",
            f"http://localhost:{served.port}/x",
            "http://127.0.0.1:port/",
            "http://[::1",
            f"http://user@127.0.0.2:{served.port}/x",
        ):
            served.answer = partial(redirect, location=location)
            with pytest.raises(Failed, match="redirects to another one"):
                reader(served).get("x", limit=1 << 20)
        assert other.asked == []
    served.answer = lambda handler: handler.give(b"", 307, Location="x")
    served.asked.clear()
    with pytest.raises(Failed, match="redirects again and again"):
        reader(served).get("x", limit=1 << 20)
    assert len(served.asked) == 4


def test_nobody_answers() -> None:
    web = WebServer(f"http://127.0.0.1:{free_port()}/", pause=0.01)
    with pytest.raises(Failed, match="no server answers there, 4 times"):
        web.get("x", limit=1)
    web = WebServer("https://no-such-host.invalid/", pause=0.01)
    with pytest.raises(Failed, match="there is no such server"):
        web.get("x", limit=1)


@pytest.mark.parametrize(
    ("base", "text"),
    [
        ("http://example.org/", "over http; give an https URL"),
        ("http://127.0.0.1.example.org/", "over http"),
        ("ftp://example.org/", "not the URL of a place on a web server"),
        ("file:///etc/", "not the URL"),
        ("example.org", "not the URL"),
        ("https://", "not the URL"),
        ("", "not the URL"),
        ("https://example.org/?q=1", "not the URL"),
        ("https://example.org/#x", "not the URL"),
        ("https://me:secret@example.org/", "must not have a user or password"),
        ("https://example.org:port/", "not a URL"),
        ("https://exam\nple.org/", "not a URL"),
        ("https://example.org/a b", "not a URL"),
        ("https://example.org\\@evil.org/", "not a URL"),
    ],
)
def test_urls_that_are_not_taken(base: str, text: str) -> None:
    with pytest.raises(BadValue, match=text) as caught:
        WebServer(base)
    assert "secret" not in str(caught.value)
    assert WebServer("http://example.org/", insecure=True).is_protected is False
    assert WebServer("https://example.org/").is_protected


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_lead_upward_are_not_asked_for(name: str) -> None:
    with pytest.raises(BadValue, match="not a name that can be asked for"):
        WebServer("https://example.org/").url("a", name)


def test_threads_share_it_and_processes_get_their_own(served: Served) -> None:
    web = reader(served, silence=5, patience=30)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(bytes(web.get("x", limit=1 << 20)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BODY] * 8
    assert pickle.loads(pickle.dumps(web)).get("x", limit=1 << 20) == BODY
    assert web.get("x", limit=1 << 20) == BODY
    count = len(served.connections)
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        assert len(served.connections) == count + 1
        assert web.get("x", limit=1 << 20) == BODY
        assert len(served.connections) == count + 1
    else:
        os._exit(web.get("x", limit=1 << 20) != BODY)


def test_a_stream_and_a_request_do_not_meet(served: Served) -> None:
    web = reader(served)
    stream = web.stream("x", limit=1 << 20)
    first = next(stream)
    assert web.get("y", limit=1 << 20) == BODY
    assert first + b"".join(stream) == BODY
    abandoned = web.stream("x", limit=1 << 20)
    next(abandoned)
    abandoned.close()
    assert web.get("y", limit=1 << 20) == BODY


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = make_certificate(tmp_path / "good.pem")
    other = make_certificate(tmp_path / "other.pem", "DNS:other.example.org")
    with serve(lambda handler: handler.give(BODY), good) as served:
        with pytest.raises(Failed, match="certificate is not valid: self-signed"):
            WebServer(served.base).get("x", limit=1 << 20)
        assert served.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "good.crt"))
        web = WebServer(served.base)
        assert web.get("x", limit=1 << 20) == BODY
        assert b"".join(web.stream("x", limit=1 << 20)) == BODY
        assert web.is_protected
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.crt"))
    mismatch = pytest.raises(Failed, match=r"certificate is not valid: .*mismatch")
    with serve(lambda handler: handler.give(BODY), other) as served, mismatch:
        WebServer(served.base).get("x", limit=1 << 20)
    with serve(lambda handler: handler.give(BODY)) as plain:
        web = WebServer(plain.base.replace("http:", "https:"), pause=0.01)
        with pytest.raises(Failed, match="no secure connection"):
            web.get("x", limit=1 << 20)
