"""Read the head of an XTC2 file in the plainest way, all of it in memory, to compare the reader of jfstore with."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

EPOCH = 631_152_000
SIZES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 1, 5: 2, 6: 4, 7: 8, 8: 4, 9: 8, 10: 1, 11: 4, 12: 4}
OWN = ("runinfo", "chunkinfo", "smdinfo", "transition", "enable")


class OddError(Exception):
    """The bytes are not those of a file."""


@dataclass
class Plain:
    """What a head says."""

    panels: dict[str, dict[int, str]] = field(default_factory=dict)
    gain_modes: dict[str, set[Any]] = field(default_factory=dict)
    high_g0: dict[str, set[Any]] = field(default_factory=dict)
    scanned: dict[str, set[str]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    start: int | None = None
    experiment: str = ""
    run: int = 0
    is_cut: bool = False


def check(condition: object) -> None:
    if not condition:
        raise OddError


def split(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return source, type and payload of the objects that fill `data`."""
    found = []
    while data:
        check(len(data) >= 12)
        source, _, kind, extent = struct.unpack("<IHHI", data[:12])
        check(12 <= extent <= len(data))
        found.append((source, kind & 0xFFF, data[12:extent]))
        data = data[extent:]
    return found


def walk(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the objects in `data` and in its parents, in order; what follows them is checked when it is reached."""
    while data:
        check(len(data) >= 12)
        source, _, kind, extent = struct.unpack("<IHHI", data[:12])
        check(12 <= extent <= len(data))
        if kind & 0xFFF == 0:
            yield from walk(data[12:extent])
        else:
            yield source, kind & 0xFFF, data[12:extent]
        data = data[extent:]


def flatten(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return the objects in `data` and in its parents, in order."""
    return list(walk(data))


def word(raw: bytes) -> str:
    check(0 in raw)
    return raw.split(b"\0")[0].decode("ascii", "backslashreplace")


def parse_names(payload: bytes) -> dict[str, Any]:
    check(len(payload) >= 1036 and (len(payload) - 1036) % 524 == 0 and len(payload) - 1036 <= 5000 * 524)
    values = []
    for at in range(1036, len(payload), 524):
        kind, rank = struct.unpack_from("<II", payload, at + 516)
        check(kind in SIZES and rank <= 5)
        values.append((word(payload[at + 260 : at + 516]), kind, rank))
    kind_of, name, panel_id, algorithm = (word(payload[at : at + 256]) for at in (4, 260, 516, 772))
    (segment,) = struct.unpack_from("<I", payload, 1032)
    return {"type": kind_of, "name": name, "id": panel_id, "alg": algorithm, "segment": segment, "values": values}


def parse_data(payload: bytes, names: dict[str, Any]) -> dict[str, Any]:
    parts: dict[int, bytes] = {}
    for _, kind, body in split(payload):
        check(kind in (2, 3) and kind not in parts)
        parts[kind] = body
    check(3 in parts)
    arrays = sum(1 for _, _, rank in names["values"] if rank)
    shapes = parts.get(2, b"")
    check(len(shapes) >= 20 * arrays)
    out: dict[str, Any] = {}
    at = shape_at = 0
    for name, kind, rank in names["values"]:
        count = 1
        if rank:
            for size in struct.unpack_from("<5I", shapes, shape_at)[:rank]:
                count *= size
            shape_at += 20
        end = at + count * SIZES[kind]
        check(end <= len(parts[3]))
        raw = parts[3][at:end]
        if kind == 10 and rank:
            out[name] = raw.split(b"\0")[0].decode("ascii", "backslashreplace")
        elif not rank and kind not in (8, 9, 10):
            out[name] = int.from_bytes(raw, "little", signed=kind in (4, 5, 6, 7))
        at = end
    return out


def normal(panel: str) -> str:
    fields = panel.removeprefix("jungfrau_").split("-")
    check(len(fields) == 3 and panel.removeprefix("jungfrau_").strip("-"))
    check(all(re.fullmatch(r"(0[xX])?[0-9a-fA-F]*", one, re.ASCII) for one in fields))
    numbers = [int(re.sub(r"^0[xX]", "", one) or "0", 16) for one in fields]
    check(all(number < 1 << 64 for number in numbers))
    return "-".join(f"{number:x}" for number in numbers)


def enum_of(names: dict[str, Any], values: dict[str, Any], wanted: str) -> tuple[Any, Any]:
    for full, kind, rank in names["values"]:
        stem, _, enum = full.partition(":")
        if stem == wanted and not rank and type(values.get(full)) is int:
            for other, other_kind, _ in names["values"]:
                if (
                    kind == 11
                    and other_kind == 12
                    and other.partition(":")[2] == enum
                    and values.get(other) == values[full]
                ):
                    return values[full], other.partition(":")[0]
            return values[full], None
    return None, None


WORDS = ("DYNAMIC", "FORCE_SWITCH_G1", "FORCE_SWITCH_G2", "FIX_G1", "FIX_G2", "FIX_G0")


def configure(payload: bytes, plain: Plain) -> dict[int, dict[str, Any]]:
    known: dict[int, dict[str, Any]] = {}
    check(24 + len(payload) <= 1 << 26)
    objects = flatten(payload)
    ids: list[tuple[str, int, bool, str]] = []
    for source, kind, body in objects:
        if kind != 4:
            continue
        names = known[source] = parse_names(body)
        if names["type"] == "jungfrau":
            check(names["segment"] <= 31)
            ids.append((names["name"], names["segment"], names["alg"] == "raw", names["id"]))
            if names["alg"] == "config" and not any(k == 1 and s == source for s, k, _ in objects):
                words = {full.split(":")[0] for full, _, _ in names["values"]}
                plain.scanned.setdefault(names["name"], set()).update(words & {"user.gainMode", "user.gain0"})
        elif names["type"] not in OWN:
            plain.others.add(names["name"])
    for name, segment, is_raw, written in ids:
        if is_raw or not any(one[:3] == (name, segment, True) for one in ids):
            segments = plain.panels.setdefault(name, {})
            check(segments.setdefault(segment, normal(written)) == normal(written))
    for source, kind, body in objects:
        names = known.get(source, {})
        if kind == 1 and names.get("type") == "jungfrau" and names["alg"] == "config":
            values = parse_data(body, names)
            number, mode = enum_of(names, values, "user.gainMode")
            high, _ = enum_of(names, values, "user.gain0")
            if number is not None and mode is None and 0 <= number < len(WORDS):
                mode = WORDS[number]
            if number is not None:
                plain.gain_modes.setdefault(names["name"], set()).add(mode)
            if high is not None:
                plain.high_g0.setdefault(names["name"], set()).add({0: False, 1: True}.get(high))
    return known


def read_plain(data: bytes) -> Plain:
    """Return what the head of a file says; OddError if it says nothing."""
    plain, known, at = Plain(), None, 0
    check(data)
    for _ in range(1001):
        if at == len(data):
            break
        if len(data) - at < 24:
            plain.is_cut = True
            break
        ns, seconds, env, _, _, kind, extent = struct.unpack_from("<4I2HI", data, at)
        check(12 <= extent <= 1 << 30 and kind & 0xFFF == 0)
        if at + 12 + extent > len(data):
            plain.is_cut = True
            break
        check(ns < 10**9)
        payload, service = data[at + 24 : at + 12 + extent], env >> 24 & 15
        at += 12 + extent
        if service == 2:
            plain = Plain()
            known = configure(payload, plain)
        elif service in (4, 6, 8, 11, 12):
            check(known is not None)
            if service == 4:
                check(seconds)
                plain.start = (seconds + EPOCH) * 10**9 + ns
                begin(payload, known or {}, plain)
            break
    else:
        raise OddError
    check(known is not None)
    return plain


def begin(payload: bytes, known: dict[int, dict[str, Any]], plain: Plain) -> None:
    for source, kind, body in walk(payload):
        names = known.get(source, {})
        if kind == 1 and names.get("type") == "runinfo":
            values = parse_data(body, names)
            experiment, run = values.get("expt", ""), values.get("runnum", 0)
            plain.experiment = experiment if isinstance(experiment, str) else ""
            plain.run = run if isinstance(run, int) and 0 < run < 1 << 30 else 0
            return
