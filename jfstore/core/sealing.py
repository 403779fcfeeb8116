"""The frame of the files that are sealed: JSON in six lines (docs/design.md, "A repository on disk")::

    {"commit":
    {...the storage-neutral fields, one line...},
    "hash":"<BLAKE3 of exactly the bytes of that line, without its comma>",
    "files":
    [...where this storage keeps the arrays, one line...],
    "files_hash":"<BLAKE3 of that line>"}

so that a hash is over the bytes as written, never over a re-serialisation, and a mirror on
another storage keeps ``hash`` while its ``files`` differ. ``repository.json`` is of the same frame.
"""

from __future__ import annotations

import json
from typing import Any

from jfstore.core.hashing import digest


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def seal(kind: str, body: Any, extra: str, extra_body: Any) -> tuple[bytes, str]:
    """Return the bytes of a file that says `body`, and `extra_body` beside it, and the hash of what it says."""
    first, second = _line(body), _line(extra_body)
    sealed = digest(first)
    return _frame(kind, first, sealed, extra, second), sealed


def replace_extra(raw: bytes, kind: str, extra: str, extra_body: Any) -> bytes:
    """Return the bytes of a file with another part beside what it says; that stays byte for byte, and its hash."""
    first, sealed, _ = parts(raw, kind, extra)
    return _frame(kind, first, sealed, extra, _line(extra_body))


def _frame(kind: str, first: bytes, seal: str, extra: str, second: bytes) -> bytes:
    return b'{"%b":\n%b,\n"hash":"%b",\n"%b":\n%b,\n"%b_hash":"%b"}\n' % (
        kind.encode(),
        first,
        seal.encode(),
        extra.encode(),
        second,
        extra.encode(),
        digest(second).encode(),
    )


def unseal(raw: bytes, kind: str, extra: str) -> tuple[Any, str, Any]:
    """Return what a file says, the hash of that, and the part beside it; ValueError as `parts`."""
    first, seal, second = parts(raw, kind, extra)
    try:
        return json.loads(first), seal, json.loads(second)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parts(raw: bytes, kind: str, extra: str) -> tuple[bytes, str, bytes]:
    """Return both lines of a sealed file and the hash of the first; ValueError if anything is not as sealed."""
    lines = raw.split(b"\n")
    if len(lines) != 7 or lines[6]:
        raise ValueError("it is not in the frame of its format")
    first, second = lines[1].removesuffix(b","), lines[4].removesuffix(b",")
    seal = digest(first)
    if _frame(kind, first, seal, extra, second) != raw:
        raise ValueError("its bytes do not match its hash")
    return first, seal, second
