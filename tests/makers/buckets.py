"""A server that speaks S3 on this machine, for as long as the tests run, and buckets in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obstore.store import ObjectStore

KEY, SECRET = "AKIAFORTESTSONLY", "secret-that-must-be-nowhere"
BUCKET = "jfstore-tests"


def environment_of(port: int) -> dict[str, str]:
    """Return the environment in which the server at `port` of this machine is the object store."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull + "/none",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull + "/none",
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def request(port: int, path: str, method: str = "GET", data: bytes | None = None) -> bytes:
    """Ask the server directly, past everything that is tested."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", data=data, method=method)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return bytes(answer.read())


@contextmanager
def served() -> Iterator[int]:
    """Run a server with an empty bucket; yield its port."""
    port = free_port()
    program = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            with suppress(OSError):
                request(port, BUCKET, "PUT")
                break
            assert time.monotonic() < until
            assert server.poll() is None
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


class Place:
    """A place where a repository can be, of any storage, with its files in reach: what the tests damage."""

    def __init__(self, storage: str, url: str, environment: Mapping[str, str], port: int = 0) -> None:
        self.storage, self.url, self.environment, self.port = storage, url, environment, port

    @property
    def index(self) -> str:
        return "jungfrau.h5" if self.storage == "hdf5" else "jungfrau.index"

    def _bucket(self) -> ObjectStore:
        from obstore.store import S3Store

        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        config: Any = {
            "endpoint": self.environment["AWS_ENDPOINT_URL"],
            "access_key_id": KEY,
            "secret_access_key": SECRET,
        }
        return S3Store(bucket, prefix=prefix, client_options={"allow_http": True}, **config)

    def read(self, name: str) -> bytes:
        return bytes(self._bucket().get(name).bytes()) if self.port else Path(self.url, name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        """Put `data` in place of a file, whatever it was."""
        if self.port:
            self._bucket().put(name, data)
            return
        path = Path(self.url, name)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def delete(self, name: str) -> None:
        if self.port:
            self._bucket().delete(name)
        else:
            Path(self.url, name).unlink()

    def names(self) -> list[str]:
        """Return the name of every file, without locks."""
        if self.port:
            return sorted(meta["path"] for part in self._bucket().list() for meta in part)
        root = Path(self.url)
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".lock")
