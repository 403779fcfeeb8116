"""Encode the records of a repository as ``repository.json`` and ``log/*.json``, and decode them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from typing import Any

from jfstore.core.fields import (
    check_about,
    check_panel,
    check_stamp,
    damage_if_odd,
    read_array_shape,
    read_field,
    read_hash_field,
    read_natural,
    read_shape,
    read_start,
    read_texts,
)
from jfstore.core.ids import version_name
from jfstore.core.instants import find_zone, iso, parse_iso
from jfstore.core.records import (
    DTYPES,
    FORMAT,
    NO_FILE,
    ROLES,
    STATEMENTS,
    Array,
    Commit,
    Identity,
    Provenance,
    StoredFile,
    Version,
)
from jfstore.core.sealing import parts, replace_extra, seal, unseal
from jfstore.core.sketch import BlockMeans, Sketch, decode_means, decode_sketch, encode_sketch
from jfstore.core.statements import decode_statement, encode_statement
from jfstore.errors import Damaged, Refused

_ADD, _ADD_2 = "add", "add-2"
"""How an addition is written: as 0.1.0 did, or with what 0.1.0 does not know, so that it says that it does not."""


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
    with damage_if_odd(where):
        if read_field(body, "format", int) != FORMAT:
            raise Refused(f"{where} was made by a newer jfstore (format {body['format']}); this one reads {FORMAT}")
        if body["role"] not in ROLES:
            raise ValueError(f"its role is {body['role']!r}")
        find_zone(read_field(body, "zone", str))
        return Identity(
            id=read_field({**body, **storage}, "id", str),
            role=body["role"],
            detector=read_field(body, "detector", str),
            panel_shape=read_shape(body["panel_shape"]),
            zone=body["zone"],
            created=parse_iso(body["created"]),
            storage=read_field(storage, "kind", str),
            mirror_of=read_field(storage, "mirror_of", str) if "mirror_of" in storage else None,
            detached_from=read_field(storage, "detached_from", dict) if "detached_from" in storage else None,
            hash=sealed,
        )


def _format_of(raw: bytes) -> int:
    """Format that a file of an unknown frame claims, 0 if it claims none."""
    try:
        claimed = json.loads(raw)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return claimed if isinstance(claimed, int) else 0


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
        "op": _ADD_2 if commit.op == _ADD and not _is_plain(commit) else commit.op,
    }
    if commit.statement is None:
        body["versions"] = [_version_body(version) for version in commit.versions]
    else:
        body |= encode_statement(commit.statement)
    if commit.accepted:
        body["accepted"] = list(commit.accepted)
    return seal("commit", body, "files", _files([version.file for version in commit.stored]))


def _is_plain(commit: Commit) -> bool:
    """Return whether 0.1.0 can read all that a commit says."""
    return not commit.accepted and all(
        not version.about
        and not version.closes
        and all(a.dtype == "<f4" and len(a.shape) == 3 and a.sketch is None for a in version.arrays)
        for version in commit.versions
    )


def _version_body(version: Version) -> dict[str, Any]:
    body: dict[str, Any] = {
        "panel": version.panel,
        "stamp": version.stamp,
        "begin": version.start,
        "number": version.number,
    }
    if version.closes:
        body["closes"] = list(version.closes)
    else:
        body["arrays"] = {array.type: _array_body(array) for array in version.arrays}
    if version.source is not None:
        body["source"] = version.source
    if version.origin is not None:
        body["origin"] = dict(version.origin)
    if version.about:
        body["about"] = dict(version.about)
    return body


def _array_body(array: Array) -> dict[str, Any]:
    body: dict[str, Any] = {"dtype": array.dtype, "shape": list(array.shape), "blake3": array.blake3}
    if array.converted_from:
        body["converted_from"] = array.converted_from
    if array.sketch:
        body["sketch"] = encode_sketch(array.sketch)
    return body


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
    body, sealed, files = _unseal_commit(raw, where)
    with damage_if_odd(where):
        op = _ADD if body["op"] == _ADD_2 else body["op"]
        if op not in (_ADD, "close", *STATEMENTS):
            raise Refused(f"{where} was made by a newer jfstore: it does not know the operation {op!r}")
        seq = read_natural(body, "seq")
        versions = () if op in STATEMENTS else _versions(seq, read_field(body, "versions", list), files)
        return Commit(
            seq=seq,
            prev=read_hash_field(body, "prev"),
            time=parse_iso(body["time"]),
            clock=parse_iso(body["clock"]),
            user=read_field(body, "user", str),
            host=read_field(body, "host", str),
            program=read_field(body, "program", str),
            message=read_field(body, "message", str),
            request=read_hash_field(body, "request", 32),
            op=op,
            versions=versions,
            statement=decode_statement(op, body) if op in STATEMENTS else None,
            accepted=read_texts(body, "accepted") if "accepted" in body else (),
            hash=sealed,
        )


def decode_versions(raw: bytes, where: str, seq: int, names: Container[str]) -> list[Version]:
    """Return the core of the versions of commit `seq` that have one of `names`, without decoding the others.

    Raises as `decode_commit` does.
    """
    body, _, files = _unseal_commit(raw, where)
    with damage_if_odd(where):
        if body["seq"] != seq:
            raise ValueError(f"it is commit {body['seq']}")
        left = iter(files)
        found = []
        for entry in body["versions"]:
            file = None if "closes" in entry else next(left)
            if version_name(entry["panel"], entry["stamp"], entry["number"]) in names:
                found.append(_version(seq, entry, file).core)
        return found


def decode_block_means(raw: bytes) -> Iterator[tuple[str, BlockMeans | None]]:
    """Yield the BLAKE3 of each array that a commit adds with its block means; None if it has no sketch.

    This takes a fifth of the time of `decode_commit`. ValueError, TypeError or KeyError if the bytes are not what was
    written.
    """
    import orjson  # slow to load, and seldom needed

    body = orjson.loads(parts(raw, "commit", "files")[0])
    for version in body.get("versions", ()):
        for array in version.get("arrays", {}).values():
            sketch = array.get("sketch")
            yield array["blake3"], None if sketch is None else decode_means(sketch)


def decode_provenance(raw: bytes, where: str, names: Container[str]) -> dict[str, Provenance]:
    """Return where the versions of a commit that are in `names` come from, and their texts, by their names.

    Raises as `decode_commit` does.
    """
    body = _unseal_commit(raw, where)[0]
    found = {}
    with damage_if_odd(where):
        for entry in body["versions"]:
            name = version_name(entry["panel"], entry["stamp"], entry["number"])
            if name in names:
                source, origin = entry.get("source"), entry.get("origin") or {}
                about = check_about(entry["about"]) if "about" in entry else {}
                found[name] = Provenance(source or origin.get("version"), about)
    return found


def decode_sketches(raw: bytes, where: str, names: Container[str], calib_type: str) -> dict[str, Sketch]:
    """Return the sketches of one calibration type, by the names of the versions of a commit that are in `names`.

    Raises as `decode_commit` does. Versions without a sketch are left out.
    """
    body = _unseal_commit(raw, where)[0]
    found = {}
    with damage_if_odd(where):
        for entry in body["versions"]:
            name = version_name(entry["panel"], entry["stamp"], entry["number"])
            sketch = entry.get("arrays", {}).get(calib_type, {}).get("sketch")
            if name in names and sketch is not None:
                found[name] = decode_sketch(sketch)
    return found


def _unseal_commit(raw: bytes, where: str) -> tuple[Any, str, Any]:
    """Return what a file of the log says, its hash, and its files; Damaged if the bytes are not what was written."""
    try:
        return unseal(raw, "commit", "files")
    except ValueError as error:
        raise Damaged(f"{where} is damaged: {error}") from None


def _versions(seq: int, entries: Sequence[Any], files: Sequence[Any]) -> tuple[Version, ...]:
    left = iter(files)
    versions = tuple(_version(seq, entry, None if "closes" in entry else next(left, None)) for entry in entries)
    if next(left, None) is not None:
        raise ValueError("it has more files than versions")
    return versions


def _version(seq: int, body: dict[str, Any], file: dict[str, Any] | None) -> Version:
    closes = read_texts(body, "closes") if "closes" in body else ()
    stored, arrays = NO_FILE, tuple[Array, ...]()
    if not closes:
        stored, arrays = _read_file(file), tuple(_array(n, a) for n, a in read_field(body, "arrays", dict).items())
        if not arrays or not {array.type for array in arrays} <= stored.offsets.keys():
            raise ValueError(f"{stored.path!r} does not have the arrays of the version")
    return Version(
        panel=check_panel(body["panel"]),
        stamp=check_stamp(read_field(body, "stamp", str)),
        start=read_start(body),
        number=read_natural(body, "number", 2**31),
        arrays=arrays,
        file=stored,
        seq=seq,
        source=body.get("source"),
        origin=body.get("origin"),
        about=check_about(body["about"]) if "about" in body else {},
        closes=closes,
    )


def _read_file(file: Any) -> StoredFile:
    return StoredFile(
        read_field(file, "path", str),
        read_natural(file, "size"),
        read_hash_field(file, "blake3"),
        {name: read_natural(file["offsets"], name) for name in read_field(file, "offsets", dict)},
    )


def _array(name: str, body: dict[str, Any]) -> Array:
    dtype = read_field(body, "dtype", str)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}")
    sketch = decode_sketch(body["sketch"]) if "sketch" in body else None
    shape = read_array_shape(body["shape"])
    return Array(name, dtype, shape, read_hash_field(body, "blake3"), body.get("converted_from"), sketch)
