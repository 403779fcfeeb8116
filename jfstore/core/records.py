"""Define the records of a repository and encode them for ``repository.json`` and ``log/*.json``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jfstore.core.ids import parse_panel, version_name
from jfstore.core.instants import BEGINNING, Instant, find_zone, iso, parse_iso
from jfstore.core.sealing import parts, replace_extra, seal, unseal
from jfstore.errors import Damaged, NotFound, Refused

FORMAT = 1
ROLES = ("test", "real")
OPERATIONS = ("add",)
DTYPES = ("<f4",)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a version: its type, dtype, shape and the BLAKE3 of its C-order bytes."""

    type: str
    dtype: str
    shape: tuple[int, ...]
    blake3: str
    converted_from: str | None = None

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes; every dtype of `DTYPES` has four."""
        return 4 * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Where the arrays of a version lie: name below the repository, size and BLAKE3 of the whole
    file, byte offset of each array by calibration type."""

    path: str
    size: int
    blake3: str
    offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version: panel, start of validity (stamp, and int64 nanoseconds UTC), number.

    ``seq`` is the commit that added it, ``source`` the file or directory its arrays came from,
    ``origin`` the version of another repository that it was promoted from.
    """

    panel: str
    stamp: str
    start: int
    number: int
    arrays: tuple[Array, ...]
    file: StoredFile
    seq: int
    source: str | None = None
    origin: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return version_name(self.panel, self.stamp, self.number)

    def array(self, calib_type: str) -> Array:
        """Return what is said of the array of `calib_type`; NotFound if the version holds none."""
        for array in self.arrays:
            if array.type == calib_type:
                return array
        raise NotFound(f"{self.name} holds no {calib_type}", [array.type for array in self.arrays])

    @property
    def valid_from(self) -> Instant:
        """The start of validity."""
        return Instant(self.start, self.stamp)

    @property
    def content(self) -> dict[str, str]:
        """BLAKE3 of each array by calibration type: equal exactly if the constants are."""
        return {array.type: array.blake3 for array in self.arrays}


@dataclass(frozen=True, slots=True)
class Commit:
    """One numbered, immutable record of a change. Times are nanoseconds UTC: ``time`` never runs
    backwards from commit to commit, ``clock`` is what the writer's own clock said."""

    seq: int
    prev: str
    time: int
    clock: int
    user: str
    host: str
    program: str
    message: str
    request: str
    op: str
    versions: tuple[Version, ...]
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What ``repository.json`` says: who the repository is and how it reads stamps.

    ``mirror_of`` is where the repository is that this one is a copy of; ``detached_from`` the id of the one
    that it was a copy of, and the last commit that both have.
    """

    id: str
    role: str
    detector: str
    panel_shape: tuple[int, int, int]
    zone: str
    created: int
    storage: str = "hdf5"
    mirror_of: str | None = None
    detached_from: Mapping[str, Any] | None = None
    format: int = FORMAT
    hash: str = field(default="", compare=False)


def read_hash(raw: bytes, where: str) -> str:
    """Return the hash of the commit whose bytes are `raw`, without reading what it says.

    Raises
    ------
    Damaged
        If the bytes are not what was written.
    """
    try:
        return parts(raw, "commit", "files")[1]
    except ValueError as error:
        raise Damaged(f"{where} is damaged: {error}") from None


def encode_identity(identity: Identity) -> bytes:
    """Return the bytes of ``repository.json``."""
    body = {
        "format": identity.format,
        "id": identity.id,
        "role": identity.role,
        "detector": identity.detector,
        "panel_shape": list(identity.panel_shape),
        "zone": identity.zone,
        "created": iso(identity.created),
    }
    return seal("repository", body, "storage", {"kind": identity.storage})[0]


def with_storage(raw: bytes, kind: str, **more: Any) -> bytes:
    """Return the bytes of a ``repository.json`` for a copy in a storage of another kind, or in another state."""
    return replace_extra(raw, "repository", "storage", {"kind": kind, **more})


def decode_identity(raw: bytes, where: str) -> Identity:
    """Return the identity that the bytes of ``repository.json`` hold.

    Raises
    ------
    Refused
        If a newer jfstore made it.
    Damaged
        If the bytes are not what was written.
    """
    try:
        body, sealed, storage = unseal(raw, "repository", "storage")
    except ValueError as error:
        if _format_of(raw) > FORMAT:
            raise Refused(f"{where} was made by a newer jfstore (format {_format_of(raw)})") from None
        raise Damaged(f"{where} is damaged: {error}") from None
    with _damage_if_odd(where):
        if _field(body, "format", int) != FORMAT:
            raise Refused(f"{where} was made by a newer jfstore (format {body['format']}); this one reads {FORMAT}")
        if body["role"] not in ROLES:
            raise ValueError(f"its role is {body['role']!r}")
        find_zone(_field(body, "zone", str))
        return Identity(
            id=_field({**body, **storage}, "id", str),
            role=body["role"],
            detector=_field(body, "detector", str),
            panel_shape=_shape(body["panel_shape"]),
            zone=body["zone"],
            created=parse_iso(body["created"]),
            storage=_field(storage, "kind", str),
            mirror_of=_field(storage, "mirror_of", str) if "mirror_of" in storage else None,
            detached_from=_field(storage, "detached_from", dict) if "detached_from" in storage else None,
            hash=sealed,
        )


@contextmanager
def _damage_if_odd(where: str) -> Iterator[None]:
    """Turn what goes wrong with a body whose hash is right, but which no jfstore wrote, into Damaged."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Damaged(f"{where} is damaged, though its hash is right: {error!r}") from None


def _field(body: Any, name: str, kind: type[T]) -> T:
    """Return a field of `body`; TypeError if it is of another kind."""
    value = body[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is {value!r}")
    return value


def _natural(body: Any, name: str, most: int = 2**62) -> int:
    value = _field(body, name, int)
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {value}")
    return value


def _hash(body: Any, name: str, digits: int = 64) -> str:
    value = _field(body, name, str)
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value, re.ASCII):
        raise ValueError(f"{name} is {value!r}")
    return value


def _shape(value: Any) -> tuple[int, int, int]:
    if type(value) is not list or len(value) != 3 or not all(type(n) is int and 0 < n <= 1 << 16 for n in value):
        raise ValueError(f"a shape is {value!r}")
    return value[0], value[1], value[2]


def _format_of(raw: bytes) -> int:
    """Format that a file of an unknown frame claims, 0 if it claims none."""
    try:
        claimed = json.loads(raw)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return claimed if isinstance(claimed, int) else 0


def _version_body(version: Version) -> dict[str, Any]:
    arrays = {}
    for array in version.arrays:
        arrays[array.type] = {"dtype": array.dtype, "shape": list(array.shape), "blake3": array.blake3}
        if array.converted_from:
            arrays[array.type]["converted_from"] = array.converted_from
    body: dict[str, Any] = {
        "panel": version.panel,
        "stamp": version.stamp,
        "begin": version.start,
        "number": version.number,
        "arrays": arrays,
    }
    if version.source is not None:
        body["source"] = version.source
    if version.origin is not None:
        body["origin"] = dict(version.origin)
    return body


def encode_commit(commit: Commit) -> tuple[bytes, str]:
    """Return the bytes of a commit's file, and its hash."""
    body = {
        "seq": commit.seq,
        "prev": commit.prev,
        "time": iso(commit.time),
        "clock": iso(commit.clock),
        "user": commit.user,
        "host": commit.host,
        "program": commit.program,
        "message": commit.message,
        "request": commit.request,
        "op": commit.op,
        "versions": [_version_body(version) for version in commit.versions],
    }
    return seal("commit", body, "files", _files([version.file for version in commit.versions]))


def with_files(raw: bytes, files: Sequence[StoredFile]) -> bytes:
    """Return the bytes of a commit for a storage that keeps the arrays of its versions in `files`."""
    return replace_extra(raw, "commit", "files", _files(files))


def _files(files: Sequence[StoredFile]) -> list[dict[str, Any]]:
    return [
        {"path": file.path, "size": file.size, "blake3": file.blake3, "offsets": dict(file.offsets)} for file in files
    ]


def decode_commit(raw: bytes, where: str) -> Commit:
    """Return the commit that the bytes of a file of the log hold.

    Raises
    ------
    Refused
        If it holds an operation that this program does not know.
    Damaged
        If the bytes are not what was written.
    """
    try:
        body, sealed, files = unseal(raw, "commit", "files")
    except ValueError as error:
        raise Damaged(f"{where} is damaged: {error}") from None
    with _damage_if_odd(where):
        if body["op"] not in OPERATIONS:
            raise Refused(f"{where} was made by a newer jfstore: it does not know the operation {body['op']!r}")
        seq = _natural(body, "seq")
        pairs = zip(_field(body, "versions", list), files, strict=True)
        return Commit(
            seq=seq,
            prev=_hash(body, "prev"),
            time=parse_iso(body["time"]),
            clock=parse_iso(body["clock"]),
            user=_field(body, "user", str),
            host=_field(body, "host", str),
            program=_field(body, "program", str),
            message=_field(body, "message", str),
            request=_hash(body, "request", 32),
            op=body["op"],
            versions=tuple(_version(seq, entry, file) for entry, file in pairs),
            hash=sealed,
        )


def _version(seq: int, body: dict[str, Any], file: dict[str, Any]) -> Version:
    panel, stamp = _field(body, "panel", str), _field(body, "stamp", str)
    if str(parse_panel(panel)) != panel or not re.fullmatch(r"[0-9]{14}", stamp, re.ASCII):
        raise ValueError(f"a version of {panel!r} at {stamp!r}")
    start = _field(body, "begin", int)
    if not BEGINNING <= start < 2**63:
        raise ValueError(f"begin is {start}")
    stored = StoredFile(
        _field(file, "path", str),
        _natural(file, "size"),
        _hash(file, "blake3"),
        {name: _natural(file["offsets"], name) for name in _field(file, "offsets", dict)},
    )
    arrays = tuple(_array(name, entry) for name, entry in _field(body, "arrays", dict).items())
    if not arrays or not {array.type for array in arrays} <= stored.offsets.keys():
        raise ValueError(f"{stored.path!r} does not have the arrays of the version")
    return Version(
        panel=panel,
        stamp=stamp,
        start=start,
        number=_natural(body, "number", 2**31),
        arrays=arrays,
        file=stored,
        seq=seq,
        source=body.get("source"),
        origin=body.get("origin"),
    )


def _array(name: str, body: dict[str, Any]) -> Array:
    dtype = _field(body, "dtype", str)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}")
    return Array(name, dtype, _shape(body["shape"]), _hash(body, "blake3"), body.get("converted_from"))
