"""The sealed frames of ``repository.json`` and of commits: exact bytes, round trip, every flipped bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from jfstore.core.encoding import decode_commit, decode_identity, encode_commit, encode_identity
from jfstore.core.hashing import digest
from jfstore.core.records import Array, Commit, Identity, StoredFile
from jfstore.errors import Damaged, Refused
from tests.makers import make_commit, make_version, seal

Decode = Callable[[bytes, str], Commit | Identity]

IDENTITY = Identity(
    id="6f1c1d3e-0000-4000-8000-000000000001",
    role="test",
    detector="jungfrau",
    panel_shape=(3, 16, 32),
    zone="America/Los_Angeles",
    created=1520323200_000000001,
)
ORIGIN = {"repository": "6f1c", "version": "1-2-3/20180306000000/v1", "seq": 4, "commit": seal("origin")}
COMMIT = make_commit(
    2,
    [
        make_version(seq=2, source="/gains/M044", origin=ORIGIN),
        make_version(stamp="0" * 14, number=3, seq=2, content={"pixel_gain": "other"}),
    ],
    message='récalibré "µ"\nsecond line\ttab \u2028 \\n',
    time=1520323200_000000007,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)


def hexed(data: bytes) -> bytes:
    return blake3(data).hexdigest().encode()


def frame(kind: str, body: object, extra: str, extra_body: object) -> bytes:
    """The frame of docs/design.md, "The frame of JSON files", written independently: six lines, exact bytes."""
    first, second = (
        json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode() for part in (body, extra_body)
    )
    return b"".join(
        [
            b'{"' + kind.encode() + b'":\n' + first + b",\n",
            b'"hash":"' + hexed(first) + b'",\n',
            b'"' + extra.encode() + b'":\n' + second + b",\n",
            b'"' + extra.encode() + b'_hash":"' + hexed(second) + b'"}\n',
        ]
    )


def commit_parts(commit: Commit = COMMIT) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    whole = json.loads(encode_commit(commit)[0])
    return whole["commit"], whole["files"]


def identity_parts() -> tuple[dict[str, Any], dict[str, str]]:
    whole = json.loads(encode_identity(IDENTITY))
    return whole["repository"], whole["storage"]


def accepted(decode: Decode, raw: bytes) -> Commit | Identity | None:
    try:
        return decode(raw, "x")
    except (Damaged, Refused):
        return None


def test_the_digest_is_blake3() -> None:
    assert digest(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_an_identity_is_read_back() -> None:
    found = decode_identity(encode_identity(IDENTITY), "x")
    assert found == IDENTITY
    assert found.hash == blake3(encode_identity(IDENTITY).split(b"\n")[1][:-1]).hexdigest()


def test_a_commit_is_read_back() -> None:
    raw, sealed = encode_commit(COMMIT)
    assert decode_commit(raw, "x") == replace(COMMIT, hash=sealed)


def test_the_bytes_of_a_commit_are_those_of_format_1() -> None:
    body, files = commit_parts()
    raw, sealed = encode_commit(COMMIT)
    assert raw == frame("commit", body, "files", files)
    assert sealed.encode() == hexed(raw.split(b"\n")[1][:-1])
    assert list(body) == [
        "seq",
        "prev",
        "time",
        "clock",
        "user",
        "host",
        "program",
        "message",
        "request",
        "op",
        "versions",
    ]
    assert body["time"] == "2018-03-06T08:00:00.000000007Z"
    assert list(body["versions"][0]) == ["panel", "stamp", "begin", "number", "arrays", "source", "origin"]
    assert body["versions"][1]["begin"] == -(2**63)
    assert body["versions"][1]["arrays"] == {
        "pixel_gain": {"dtype": "<f4", "shape": [3, 16, 32], "blake3": seal("other")}
    }
    assert [list(file) for file in files] == [["path", "size", "blake3", "offsets"]] * 2


def test_the_bytes_of_an_identity_are_those_of_format_1() -> None:
    body, storage = identity_parts()
    assert encode_identity(IDENTITY) == frame("repository", body, "storage", storage)
    assert body == {
        "format": 1,
        "id": IDENTITY.id,
        "role": "test",
        "detector": "jungfrau",
        "panel_shape": [3, 16, 32],
        "zone": "America/Los_Angeles",
        "created": "2018-03-06T08:00:00.000000001Z",
    }
    assert storage == {"kind": "hdf5"}


def test_the_hash_does_not_depend_on_where_the_arrays_lie() -> None:
    elsewhere = StoredFile("zarr/1", 1, seal("other file"), {"pixel_gain": 0, "pixel_offset": 9})
    moved = replace(COMMIT, versions=tuple(replace(version, file=elsewhere) for version in COMMIT.versions))
    (raw, sealed), (moved_raw, moved_sealed) = encode_commit(COMMIT), encode_commit(moved)
    assert sealed == moved_sealed
    assert raw != moved_raw
    assert decode_commit(moved_raw, "x").versions[0].file == elsewhere


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 3},
        {"prev": seal("another")},
        {"time": COMMIT.time + 1},
        {"clock": COMMIT.clock + 1},
        {"user": "other"},
        {"host": "other"},
        {"program": "other"},
        {"message": "other"},
        {"request": "f" * 32},
        {"versions": COMMIT.versions[:1]},
        {"versions": COMMIT.versions[::-1]},
        {"versions": (replace(COMMIT.versions[0], number=2), COMMIT.versions[1])},
        {"versions": (replace(COMMIT.versions[0], start=0), COMMIT.versions[1])},
        {"versions": (replace(COMMIT.versions[0], origin=None), COMMIT.versions[1])},
        {"versions": (replace(COMMIT.versions[0], source="M045"), COMMIT.versions[1])},
        {"versions": (replace(COMMIT.versions[0], arrays=COMMIT.versions[0].arrays[:1]), COMMIT.versions[1])},
    ],
    ids=repr,
)
def test_the_hash_depends_on_every_other_field(change: dict[str, Any]) -> None:
    assert encode_commit(replace(COMMIT, **change))[1] != encode_commit(COMMIT)[1]


@pytest.mark.parametrize(
    ("decode", "raw"),
    [(decode_commit, encode_commit(COMMIT)[0]), (decode_identity, encode_identity(IDENTITY))],
    ids=["commit", "identity"],
)
class TestDamage:
    def test_no_flipped_bit_is_accepted(self, decode: Decode, raw: bytes) -> None:
        served = []
        for place in range(len(raw)):
            for bit in range(8):
                flipped = raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]
                if accepted(decode, flipped) is not None:
                    served.append((place, bit))
        assert not served

    def test_no_cut_or_lengthened_file_is_accepted(self, decode: Decode, raw: bytes) -> None:
        assert not [size for size in range(len(raw)) if accepted(decode, raw[:size]) is not None]
        for more in (b"\n", b" ", b"\0", raw):
            with pytest.raises(Damaged):
                decode(raw + more, "x")

    def test_no_exchanged_lines_are_accepted(self, decode: Decode, raw: bytes) -> None:
        lines = raw.splitlines(keepends=True)
        for i in range(len(lines)):
            for j in range(i):
                swapped = lines.copy()
                swapped[i], swapped[j] = swapped[j], swapped[i]
                assert accepted(decode, b"".join(swapped)) is None

    @pytest.mark.parametrize("other", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\0" * 4096, b"[" * 100_000])
    def test_nothing_else_is_accepted(self, decode: Decode, raw: bytes, other: bytes) -> None:
        with pytest.raises(Damaged, match=r"^log/x is damaged"):
            decode(other, "log/x")

    def test_the_other_kind_of_file_is_not_accepted(self, decode: Decode, raw: bytes) -> None:
        other = decode_identity if decode is decode_commit else decode_commit
        with pytest.raises(Damaged):
            other(raw, "x")

    def test_the_same_json_in_other_bytes_is_not_accepted(self, decode: Decode, raw: bytes) -> None:
        with pytest.raises(Damaged):
            decode(json.dumps(json.loads(raw)).encode(), "x")


@pytest.mark.parametrize("raw", [b'{"format": 2}', b'{"format": 2, "repository": {}}\n\n', b'{\n"format":\n3\n}\n'])
def test_a_newer_format_in_another_frame_is_refused_not_called_damaged(raw: bytes) -> None:
    with pytest.raises(Refused, match=r"newer jfstore \(format [23]\)"):
        decode_identity(raw, "x")


@pytest.mark.parametrize("fields", [{}, {"panel_shape": "unknown", "role": 7}])
def test_a_newer_format_in_the_same_frame_is_refused_before_anything_else_is_read(fields: dict[str, object]) -> None:
    body, storage = identity_parts()
    with pytest.raises(Refused, match="newer jfstore"):
        decode_identity(frame("repository", {**body, **fields, "format": 2}, "storage", storage), "x")


@pytest.mark.parametrize("op", ["later", "", "ADD", None, 1, ["add"]])
def test_an_unknown_operation_is_refused(op: object) -> None:
    body, files = commit_parts()
    with pytest.raises(Refused, match="newer jfstore"):
        decode_commit(frame("commit", {**body, "op": op}, "files", files), "x")


def test_an_unknown_operation_without_versions_is_refused() -> None:
    with pytest.raises(Refused, match="later"):
        decode_commit(frame("commit", {"seq": 2, "op": "later", "what": []}, "files", []), "x")


@pytest.mark.parametrize(
    "field", ["seq", "prev", "time", "clock", "user", "host", "program", "message", "request", "versions"]
)
def test_a_sealed_commit_that_lacks_a_field_is_damaged(field: str) -> None:
    body, files = commit_parts()
    del body[field]
    with pytest.raises(Damaged):
        decode_commit(frame("commit", body, "files", files), "x")


@pytest.mark.parametrize("field", ["panel", "stamp", "begin", "number", "arrays"])
def test_a_sealed_version_that_lacks_a_field_is_damaged(field: str) -> None:
    body, files = commit_parts()
    del body["versions"][0][field]
    with pytest.raises(Damaged):
        decode_commit(frame("commit", body, "files", files), "x")


@pytest.mark.parametrize("change", [{"time": "the beginning"}, {"time": 5}, {"versions": 7}, {"versions": [7, 7]}])
def test_a_sealed_commit_with_a_field_of_another_kind_is_damaged(change: dict[str, object]) -> None:
    body, files = commit_parts()
    with pytest.raises(Damaged):
        decode_commit(frame("commit", {**body, **change}, "files", files), "x")


@pytest.mark.parametrize("files", [[], {}, None, 7, [{}], [{}, {}], [7, 7]])
def test_a_sealed_commit_without_its_files_is_damaged(files: object) -> None:
    with pytest.raises(Damaged):
        decode_commit(frame("commit", commit_parts()[0], "files", files), "x")


@pytest.mark.parametrize("body", [[], 7, None, "commit"])
def test_a_sealed_body_that_is_no_object_is_damaged(body: object) -> None:
    for decode, kind, extra in ((decode_commit, "commit", "files"), (decode_identity, "repository", "storage")):
        with pytest.raises(Damaged):
            decode(frame(kind, body, extra, []), "x")


@pytest.mark.parametrize("field", ["format", "id", "role", "detector", "panel_shape", "zone", "created"])
def test_a_sealed_identity_that_lacks_a_field_is_damaged(field: str) -> None:
    body, storage = identity_parts()
    del body[field]
    with pytest.raises(Damaged):
        decode_identity(frame("repository", body, "storage", storage), "x")


@pytest.mark.parametrize("change", [{"panel_shape": 3}, {"panel_shape": [3]}, {"created": "never"}, {"created": 1}])
def test_a_sealed_identity_with_a_field_of_another_kind_is_damaged(change: dict[str, object]) -> None:
    body, storage = identity_parts()
    with pytest.raises(Damaged):
        decode_identity(frame("repository", {**body, **change}, "storage", storage), "x")


@settings(deadline=None, database=None)
@given(
    message=text,
    user=text,
    source=st.none() | text,
    seals=st.lists(hexes, min_size=1, max_size=3),
    rounded=st.booleans(),
)
def test_every_commit_is_read_back(
    message: str, user: str, source: str | None, seals: list[str], rounded: bool
) -> None:
    arrays = tuple(Array(f"type{i}", "<f4", (3, 2, 1), s, "<f8" if rounded else None) for i, s in enumerate(seals))
    file = StoredFile("panels/x.h5", 1 << 20, seal("file"), {array.type: 4096 for array in arrays})
    version = make_version(seq=5, source=source, arrays=arrays, file=file)
    commit = make_commit(5, [version], message=message, user=user)
    raw, sealed = encode_commit(commit)
    assert decode_commit(raw, "x") == replace(commit, hash=sealed)
