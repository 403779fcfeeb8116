"""Store objects in a bucket of an object store, given by its URL, through obstore.

An object is created by a conditional request (``If-None-Match: *``), which a store refuses if the name is taken. If
the request gets no response, the object is read back: commits contain a random request id and payload names contain a
content hash, so an object with exactly these bytes was written by this writer or is what it meant to write.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from jfstore.errors import BadValue, Damaged, Failed
from jfstore.storage.objects import NoAnswer, Objects

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

PACKAGE = "'obstore>=0.8,<0.13'"
"""What pip installs for the extra ``cloud``; the messages of other releases may mean something else."""

SCHEMES = ("s3", "gs", "az", "memory")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_URL = re.compile(r"[a-z0-9]+://[A-Za-z0-9_.-]*(/[A-Za-z0-9_.+=-]+)*/?", re.ASCII)
_CLIENT: Any = {"timeout": "60s", "connect_timeout": "2500ms"}
_RETRY: Any = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
_TRIES = 4
_WHOLE = 1 << 25
"""Objects of up to so many bytes are read whole."""
_GIVEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}

_memories: dict[str, ObjectStore] = {}
_used_by: set[int] = set()


class _Unsure(OSError):
    """A request failed, and the server may have done it; ``repeated``: obstore has repeated it already."""

    repeated = False


class Remote(Objects):
    """Objects below a URL, such as ``s3://bucket/prefix``; credentials are those of the standard chain.

    Raises
    ------
    BadValue
        If the scheme of the URL is not known, or the URL has more than a bucket and a path.
    """

    at_once = 64

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        if scheme not in SCHEMES:
            raise BadValue(
                f"{scheme}:// is not a place for a repository: {', '.join(f'{s}://' for s in SCHEMES)}, file://"
            )
        if not _URL.fullmatch(url) or ".." in url:
            # The wrong part may be a password, so the message does not repeat it.
            raise BadValue(
                f"a {scheme}:// URL is a bucket and a path, such as {scheme}://bucket/jungfrau, nothing else"
            )
        self.location = url.rstrip("/")
        self._store: ObjectStore | None = None

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (self.location,)

    def __repr__(self) -> str:
        return f"Remote({self.location!r})"

    # -- requests --------------------------------------------------------------------------------

    def _connect(self) -> ObjectStore:
        if _used_by - {os.getpid()}:
            raise Failed(f"{self.location} cannot be used in a forked process: start it with spawn or forkserver")
        if self._store is None:
            self._store = _open(self.location)
        _used_by.add(os.getpid())
        return self._store

    def _ask(self, name: str, work: Callable[[ObjectStore], T]) -> T:
        """Call `work` with the store; convert its errors to an OSError with one line that names the object."""
        from obstore import exceptions

        where = f"{self.location}/{name}"
        try:
            return work(self._connect())
        except exceptions.AlreadyExistsError:
            raise FileExistsError(errno.EEXIST, "exists", where) from None
        except (exceptions.BaseError, FileNotFoundError, PermissionError, NotImplementedError) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
                raise FileNotFoundError(errno.ENOENT, "is missing", where) from None
            reason, sure = _reason(text)
            if sure:
                raise OSError(errno.EIO, reason, where) from None
            unsure = _Unsure(errno.EIO, reason, where)
            unsure.repeated = bool(re.search(r"after [1-9][0-9]* retries", text))
            raise unsure from None

    def _get(self, name: str) -> tuple[int, Any]:
        """Return the size and the bytes of an object; retry if the connection breaks."""

        def get(store: ObjectStore) -> tuple[int, Any]:
            result = store.get(name)
            return result.meta["size"], memoryview(result.bytes())

        return self._again(name, get)

    def _again(self, name: str, work: Callable[[ObjectStore], T]) -> T:
        """Retry an idempotent request if the connection breaks."""
        for tried in range(_TRIES):
            try:
                return self._ask(name, work)
            except _Unsure as error:
                if error.repeated or tried == _TRIES - 1:
                    raise
                time.sleep(0.05 * 2**tried)
        raise AssertionError("unreachable")

    # -- the contract ----------------------------------------------------------------------------

    def prepare(self) -> None:
        return

    def exists(self, name: str) -> bool:
        try:
            self._again(name, lambda store: store.head(name))
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, limit: int) -> bytes:
        size, data = self._get(name)
        if size > limit:
            raise Damaged(f"{self.location}/{name} has {size} bytes, more than the {limit} that it may have")
        return bytes(data)

    def read_into(self, name: str, buffer: memoryview) -> None:
        buffer[:] = self.content(name, len(buffer))

    def content(self, name: str, size: int) -> Any:
        try:
            found, data = self._get(name)
        except FileNotFoundError:
            raise Damaged(f"{self.location}/{name} is missing") from None
        if found != size:
            raise Damaged(f"{self.location}/{name} has {found} bytes in place of {size}")
        return data

    def open_reader(self, name: str, limit: int) -> tuple[Callable[[int, int], bytes], int]:
        if limit > _WHOLE:
            size = int(self._again(name, lambda store: store.head(name))["size"])
            if size > limit:
                raise Damaged(f"{self.location}/{name} has {size} bytes, more than the {limit} that it may have")
            return lambda offset, length: self._part(name, offset, length), size
        data = self.read(name, limit)
        return lambda offset, length: data[offset : offset + length], len(data)

    def _part(self, name: str, offset: int, length: int) -> bytes:
        if not length:
            return b""
        return bytes(self._again(name, lambda store: store.get_range(name, start=offset, length=length)))

    def descriptor(self, name: str, size: int) -> None:
        return None

    def create(self, name: str, pieces: Sequence[Any], clock: int | None = None) -> None:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        for tried in range(_TRIES):
            try:
                self._put(name, data)
                return
            except FileExistsError as error:
                try:
                    there = self._content(name, len(data))
                except OSError:  # it may be ours
                    raise NoAnswer(errno.EIO, "no answer from the server", error.filename) from None
                if there == data:
                    return
                # A server that could not decide between two says the same, and there may be neither.
                if there is not None or tried == _TRIES - 1:
                    raise
                time.sleep(0.05 * 2**tried)
            except _Unsure as error:
                self._look(name, data, error)
                return

    def _look(self, name: str, data: Any, error: OSError) -> None:
        """Check whether `name` was created after all; raise NoAnswer if that is not known."""
        try:
            if self._content(name, len(data)) == data:
                return
        except OSError:
            pass
        raise NoAnswer(error.errno, error.strerror, error.filename) from None

    def _put(self, name: str, data: Any) -> None:
        self._ask(name, lambda store: store.put(name, data, mode="create", use_multipart=False))

    def _content(self, name: str, size: int) -> bytes | None:
        """Return the bytes of an object, None if it does not exist, no bytes if it is longer than `size`."""
        try:
            return self.read(name, size)
        except FileNotFoundError:
            return None
        except Damaged:
            return b""

    def replace(self, name: str, pieces: Sequence[Any], settle: bool = True) -> None:
        self._again(name, lambda store: store.put(name, b"".join(pieces), use_multipart=False))

    def refuses_a_second(self, name: str) -> bool:
        data = self._get(name)[1]
        try:
            # The bytes that are there already: a store that creates twice does no harm with them.
            self._again(name, lambda store: store.put(name, bytes(data), mode="create", use_multipart=False))
        except FileExistsError:
            return True
        return False

    def names(self, folder: str, after: str = "") -> list[str]:
        offset = f"{folder}/{after}" if after else None
        return sorted(name for name, _ in self._list(folder, offset))

    def sizes(self, folder: str) -> dict[str, int]:
        return dict(self._list(folder, None))

    def _list(self, folder: str, offset: str | None) -> list[tuple[str, int]]:
        def list_objects(store: ObjectStore) -> list[tuple[str, int]]:
            found = [meta for part in store.list(folder, offset=offset, chunk_size=1000) for meta in part]
            return [(meta["path"][len(folder) + 1 :], meta["size"]) for meta in found]

        return self._again(folder, list_objects)

    def remove(self, name: str) -> None:
        self._again(name, lambda store: store.delete(name))


def _open(url: str) -> ObjectStore:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import MemoryStore, S3Store, from_url
    except ImportError:
        raise Failed(f"{url}: buckets need a package that is not installed: pip install {PACKAGE}") from None

    scheme, bucket, path = url.partition("://")[0], urlsplit(url).netloc, urlsplit(url).path.strip("/")
    if scheme == "memory":
        return _memories.setdefault(url, MemoryStore())
    try:
        if scheme != "s3":
            return from_url(url, client_options=_CLIENT, retry_config=_RETRY)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
        plain = bool(endpoint and endpoint.lower().startswith("http:"))
        if plain and urlsplit(endpoint).hostname not in _LOOPBACK:
            raise Failed("AWS_ENDPOINT_URL must be https: only this very machine is spoken to without encryption")
        given: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        if provider := _from_files():
            given["credential_provider"] = provider
        options: Any = {**_CLIENT, "allow_http": plain}
        return S3Store(bucket, prefix=path or None, client_options=options, retry_config=_RETRY, **given)
    except (BaseError, ValueError) as error:
        raise Failed(f"{url}: {_reason(str(error))[0]}") from None


def _from_files() -> Any:
    """Return a provider that reads the AWS credential files, None if the environment has the credentials."""
    if any(os.environ.get(name) for name in _GIVEN):
        return None
    paths = [Path(os.path.expanduser(os.environ.get(name, usual))) for name, usual in _FILES.items()]
    if not any(path.is_file() for path in paths):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    except ImportError:
        raise Failed(f"credentials in {paths[0]} need boto3, which is not installed") from None
    except ValueError:
        return None


_NAMES = re.compile(r"https?://\S+|(?<=path )\S+|(?<=location )\S+")
_TOKEN = re.compile(r"https?://\S+/latest/(api/token|meta-data)")
_REASONS = {
    r"NoSuchBucket|bucket does not exist": "there is no such bucket",
    r"<Code>(InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken)": "the credentials are not accepted",
    r"status code: 40[13]|AccessDenied|Unauthenticated|Unauthorized": "access denied",
    # After the others: what obstore says of 401 has the word, too.
    r"MissingSecretAccessKey|Missing (SecretAccessKey|AccessKeyId)|[Cc]redential": "no credentials",
}


def _reason(text: str) -> tuple[str, bool]:
    """Return in a few words why a request failed, and whether it is sure that nothing was done."""
    text = text.partition("\n\nDebug source")[0]
    if _TOKEN.search(text):  # the machine was asked for credentials, as the last of the chain
        return "no credentials: see AWS_ACCESS_KEY_ID, AWS_PROFILE", True
    text = _NAMES.sub("", text)  # names of a user's may say anything
    for pattern, words in _REASONS.items():
        if re.search(pattern, text):
            return words, True
    if status := re.search(r"status code: (\d{3}) ?([A-Za-z ]*)", text):
        sure = status[1].startswith("4") and status[1] not in ("408", "429")
        return f"the server answered {status[1]} {status[2]}".strip(), sure
    if re.search(r"error sending request|[Tt]imed? ?out|[Cc]onnect|HTTP error|decoding response|body", text):
        return "no answer from the server", False
    return "the object store failed", False
