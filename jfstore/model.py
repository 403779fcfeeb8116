"""The records of a repository, and their exact bytes in ``repository.json`` and ``log/*.json``.

Both files are JSON in a fixed frame of six lines (format 1, DESIGN "A repository on disk")::

    {"commit":
    {...the storage-neutral fields, one line...},
    "hash":"<BLAKE3 of exactly the bytes of that line, without its comma>",
    "files":
    [...where this storage keeps the arrays, one line...],
    "files_hash":"<BLAKE3 of that line>"}

so that a hash is over the bytes as written, never over a re-serialisation, and a mirror on
another storage keeps ``hash`` while its ``files`` differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from jfstore.errors import Damaged, Refused
from jfstore.ids import parse_panel, version_name
from jfstore.times import iso, parse_iso

FORMAT = 1
ROLES = ("test", "real")
OPERATIONS = ("add",)


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a version: its type, dtype, shape and the BLAKE3 of its C-order bytes."""

    type: str
    dtype: str
    shape: tuple[int, ...]
    blake3: str
    converted_from: str | None = None


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
    begin: int
    number: int
    arrays: tuple[Array, ...]
    file: StoredFile
    seq: int
    source: str | None = None
    origin: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return version_name(self.panel, self.stamp, self.number)

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
    """What ``repository.json`` says: who the repository is and how it reads stamps."""

    id: str
    role: str
    detector: str
    panel_shape: tuple[int, int, int]
    zone: str
    created: int
    storage: str = "hdf5"
    format: int = FORMAT
    hash: str = field(default="", compare=False)


def digest(data: Any) -> str:
    """Return the BLAKE3 of `data` (any buffer) as 64 hexadecimal digits."""
    return blake3(data, max_threads=blake3.AUTO).hexdigest()


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _seal(kind: str, body: Any, extra: str, extra_body: Any) -> tuple[bytes, str]:
    first, second = _line(body), _line(extra_body)
    seal = digest(first)
    frame = b'{"%b":\n%b,\n"hash":"%b",\n"%b":\n%b,\n"%b_hash":"%b"}\n' % (
        kind.encode(), first, seal.encode(), extra.encode(), second, extra.encode(), digest(second).encode(),
    )  # fmt: skip
    return frame, seal


def _unseal(raw: bytes, kind: str, extra: str) -> tuple[Any, str, Any]:
    lines = raw.split(b"\n")
    if len(lines) != 7 or lines[6]:
        raise ValueError("it is not in the frame of its format")
    first, second = lines[1].removesuffix(b","), lines[4].removesuffix(b",")
    seal = digest(first)
    frame = b'{"%b":\n%b,\n"hash":"%b",\n"%b":\n%b,\n"%b_hash":"%b"}\n' % (
        kind.encode(), first, seal.encode(), extra.encode(), second, extra.encode(), digest(second).encode(),
    )  # fmt: skip
    if frame != raw:
        raise ValueError("its bytes do not match its hash")
    return json.loads(first), seal, json.loads(second)


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
    return _seal("repository", body, "storage", {"kind": identity.storage})[0]


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
        body, seal, storage = _unseal(raw, "repository", "storage")
    except ValueError as error:
        if _format_of(raw) > FORMAT:
            raise Refused(f"{where} was made by a newer jfstore (format {_format_of(raw)})") from None
        raise Damaged(f"{where} is damaged: {error}") from None
    if body["format"] != FORMAT:
        raise Refused(f"{where} was made by a newer jfstore (format {body['format']}); this one reads {FORMAT}")
    rows, columns = body["panel_shape"][1:]
    return Identity(
        id=body["id"],
        role=body["role"],
        detector=body["detector"],
        panel_shape=(body["panel_shape"][0], rows, columns),
        zone=body["zone"],
        created=parse_iso(body["created"]),
        storage=storage["kind"],
        hash=seal,
    )


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
        "begin": version.begin,
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
    files = [
        {
            "path": version.file.path,
            "size": version.file.size,
            "blake3": version.file.blake3,
            "offsets": dict(version.file.offsets),
        }
        for version in commit.versions
    ]
    return _seal("commit", body, "files", files)


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
        body, seal, files = _unseal(raw, "commit", "files")
    except ValueError as error:
        raise Damaged(f"{where} is damaged: {error}") from None
    if body.get("op") not in OPERATIONS:
        raise Refused(f"{where} was made by a newer jfstore: it does not know the operation {body.get('op')!r}")
    try:
        versions = tuple(
            _version(body["seq"], entry, file) for entry, file in zip(body["versions"], files, strict=True)
        )
        return Commit(
            seq=body["seq"],
            prev=body["prev"],
            time=parse_iso(body["time"]),
            clock=parse_iso(body["clock"]),
            user=body["user"],
            host=body["host"],
            program=body["program"],
            message=body["message"],
            request=body["request"],
            op=body["op"],
            versions=versions,
            hash=seal,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{where} is damaged: {error!r} in a commit whose hash is right") from None


def _version(seq: int, body: dict[str, Any], file: dict[str, Any]) -> Version:
    arrays = tuple(
        Array(name, entry["dtype"], tuple(entry["shape"]), entry["blake3"], entry.get("converted_from"))
        for name, entry in body["arrays"].items()
    )
    return Version(
        panel=str(parse_panel(body["panel"])),
        stamp=body["stamp"],
        begin=body["begin"],
        number=body["number"],
        arrays=arrays,
        file=StoredFile(file["path"], file["size"], file["blake3"], dict(file["offsets"])),
        seq=seq,
        source=body.get("source"),
        origin=body.get("origin"),
    )
