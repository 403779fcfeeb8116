"""Mutated XTC: only jfstore's errors, never another Id than the bytes say, no mutant slow or large.

What a mutant says is decided by a second decoder, which is in this file and shares nothing with
jfstore's. A mutant is made of a seed and an index alone; a failure names both, and `mutant` makes it again.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from jfstore.errors import JfstoreError
from jfstore.runs.event_keys import read_events
from jfstore.runs.head import Head, read_aliases, read_head, read_jungfrau
from jfstore.runs.run import read_run
from jfstore.runs.tree import RunFiles, XtcFile
from jfstore.runs.xtc import CutOff, read_datagrams, read_objects
from tests.conftest import ROOT
from tests.makers import xtc as made
from tests.makers.xtc_reading import Memory

SLOWEST = 1.0
LARGEST = 100 << 20
WALKED, IN_FILES = 20, 200  # of so many mutants one is walked as a whole, or read through files

# -- the second decoder

Leaf = tuple[int, int, int, int, int, int]
"""Offset, end, damage, level, phy and TypeId word of an object that is no container."""


class Wrong(Exception):
    """The bytes are not what the format has."""


def word(data: bytes, offset: int) -> int:
    if offset < 0 or offset + 4 > len(data):
        raise Wrong
    return int.from_bytes(data[offset : offset + 4], "little")


def long_word(data: bytes, offset: int) -> int:
    return word(data, offset) | word(data, offset + 4) << 32


def leaves(data: bytes, offset: int, end: int) -> list[Leaf]:
    """Return what is in `data` from `offset` to `end`, in its order."""
    found = []
    open_ends = [end]  # of the containers about `offset`
    while open_ends:
        if offset == open_ends[-1]:
            open_ends.pop()
            continue
        if offset + 20 > open_ends[-1]:
            raise Wrong
        extent = word(data, offset + 16)
        if extent < 20 or offset + extent > open_ends[-1]:
            raise Wrong
        damage, contains = word(data, offset), word(data, offset + 12)
        if contains % 65536 == 1 and not damage & 0x8000:
            open_ends.append(offset + extent)
            offset += 20
            continue
        if contains % 65536 != 1:
            level, phy = word(data, offset + 4) >> 24, word(data, offset + 8)
            found.append((offset, offset + extent, damage, level, phy, contains))
        offset += extent
    return found


def parts(data: bytes, offset: int) -> tuple[int, int]:
    """Return transition and end of the datagram at `offset`."""
    extent = word(data, offset + 36)
    end = offset + 20 + extent
    if extent < 20 or extent > 256 * 1024 * 1024 or end > len(data) or word(data, offset) > 999_999_999:
        raise Wrong
    high = data[offset + 11]
    return (0 if high & 0x30 else high & 0x0F), end


def decoded(data: bytes) -> dict[str, Any]:
    """Return what the head of `data` says; Wrong if it says nothing that may be believed."""
    offset, says = 0, None
    start, run = None, 0
    for _ in range(1000):
        if offset == len(data):
            break
        transition, end = parts(data, offset)
        if transition == 4:
            says = configured(data, leaves(data, offset + 20, end))
        if transition in (6, 8, 10, 12):
            if says is None:
                raise Wrong
            if transition == 6:
                if not word(data, offset + 4):
                    raise Wrong
                start, run = word(data, offset + 4) * 10**9 + word(data, offset), word(data, offset + 16)
            break
        offset = end
    else:
        raise Wrong
    if says is None:
        raise Wrong
    return {**says, "begin": start, "run": run}


def configured(data: bytes, found: list[Leaf]) -> dict[str, Any]:
    jungfraus: dict[int, Any] = {}
    detectors, aliases = set(), []
    for offset, end, _, level, phy, contains in found:
        start = offset + 20
        if start == end:
            continue
        if level == 1:
            detectors.add(phy)
        if contains >> 31:
            continue
        kind, version = contains & 0xFFFF, contains >> 16
        if kind == 69:
            count = word(data[start:end], 0)
            if count > 10_000 or 4 + 40 * count > end - start:
                raise Wrong
            for at in range(start + 4, start + 4 + 40 * count, 40):
                text = bytes(data[at + 8 : at + 39])
                text = text[: text.index(0)] if 0 in text else text
                name = "".join(chr(byte) if byte < 128 else f"\\x{byte:02x}" for byte in text)
                if name:
                    aliases.append((data[at + 3], word(data, at + 4), name))
        if kind == 107 and level == 1 and data[offset + 9] == 43:
            if version not in (1, 2, 3, 4) or end - start != (36, 60, 252, 828)[version - 1]:
                raise Wrong
            count = word(data, start)
            if not 1 <= count <= (32, 32, 8, 32)[version - 1]:
                raise Wrong
            panels = [
                "-".join(f"{long_word(data, start + 60 + 24 * n + part):x}" for part in (8, 16, 0))
                for n in range(count if version > 2 else 0)
            ]
            # What is not compared below must not make two configurations different.
            if jungfraus.setdefault(phy, (version, count, panels)) != (version, count, panels):
                raise Wrong
    signed = {phy: phy - (1 << 32) if phy >= 1 << 31 else phy for phy in detectors}
    return {"jungfraus": jungfraus, "detectors": sorted(detectors, key=lambda phy: signed[phy]), "aliases": aliases}


def value_of(head: Head) -> dict[str, Any]:
    """Return what jfstore read, as `decoded` returns it."""
    return {
        "jungfraus": {
            source.phy: (config.version, config.count, [str(panel) for panel in config.panels])
            for source, config in head.jungfraus.items()
        },
        "detectors": [source.phy for source in head.sources],
        "aliases": [(source.level, source.phy, name) for source, name in head.aliases],
        "begin": head.start,
        "run": head.run,
    }


# -- the mutants


@dataclass(frozen=True)
class Base:
    """Bytes to mutate, and where the words are that decide how they are read."""

    data: bytes
    words: tuple[int, ...]


def deciding(data: bytes) -> tuple[int, ...]:
    """Return the offsets of header words, and of the first of payloads that are read."""
    words: list[int] = []
    offset = 0
    try:
        while offset < len(data):
            words += range(offset, offset + 40, 4)
            transition, end = parts(data, offset)
            for at, after, *_, contains in leaves(data, offset + 20, end):
                words += range(at, at + 20, 4)
                if transition == 4 and after > at + 20:
                    words += [at + 20] * (5 if contains & 0xFFFF in (69, 107) else 1)
            offset = end
    except Wrong:
        pass
    return tuple(at for at in words if at + 4 <= len(data)) or (0,)


@cache
def bases() -> tuple[Base, ...]:
    """Return all reference files, and made ones."""
    reference = ROOT / "tests/data/reference/xtc"
    files = [path.read_bytes() for path in sorted(reference.rglob("*.xtc*"))]
    assert len(files) > 40
    start, panels = 1522800000, made.some_panels
    cspad = made.xtc(29, 5, 1, 3, made.phy_of(device=10), bytes(64))
    both = made.jungfrau(4, panels(32), made.phy_of(device_number=1))
    # Long runs of all versions weigh as much as all the reference files do.
    own = [
        made.run_bytes(panels(1), start, 1, version=1),
        made.run_bytes(panels(2), start, 2, version=2, alias="jungfrau1M"),
        made.run_bytes(panels(8), start, 3, version=3, alias="jungfrau4M", others=[cspad]),
        made.run_bytes(panels(32), start, 4, version=4, alias="jungfrau16M"),
        made.run_bytes(panels(3), start, 5, version=4, others=[cspad, both]),
        made.datagram(made.MAP, start)
        + made.datagram(made.CONFIGURE, start, 5, made.nested(60, made.jungfrau(3, panels(4)), cspad))
        + made.begin_run(start, 6),
        made.run_bytes(panels(2), start, 7),  # streams of one run
        made.run_bytes(panels(2, 5), start, 0, phy=made.phy_of(device_number=2)),
        made.configure(start, cspad) + made.begin_run(start, 7),
    ]
    return tuple(Base(data, deciding(data)) for data in [*files, *own * 4] if data)


WORDS = (0, 1, 2, 8, 9, 19, 20, 21, 32, 33, 36, 60, 252, 828, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 28)
KINDS = (0x0001006B, 0x0002006B, 0x0003006B, 0x0004006B, 0x0005006B, 0x8003006B, 0x00010045, 0x00010001, 0x0001006C)


def mutate(choose: random.Random, data: bytearray, words: tuple[int, ...]) -> bytearray:
    """Return `data` with one thing changed."""
    size = len(data)
    way = choose.random()
    if size < 44 or way < 0.02:
        return data + choose.randbytes(choose.randrange(1, 60))
    if way < 0.17:
        data[choose.randrange(size)] ^= 1 << choose.randrange(8)
    elif way < 0.27:
        data[choose.randrange(size)] = choose.choice((0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)))
    elif way < 0.72:
        # A word, mostly one of a header, to something that is near a limit or to what it nearly was.
        at = choose.choice(words) if choose.random() < 0.8 else choose.randrange(size - 4)
        if choose.random() < 0.15:
            at += choose.randrange(-3, 4)
        at = min(max(at, 0), size - 4)
        before = int.from_bytes(data[at : at + 4], "little")
        kind = choose.randrange(5)
        if kind == 0:
            after = choose.choice(WORDS)
        elif kind == 1:
            after = before + choose.choice((-40, -20, -4, -1, 1, 4, 20, 24, 40))
        elif kind == 2:
            after = choose.choice((size, size - 20, size - at, size - at + 1, len(words), choose.randrange(2 * size)))
        elif kind == 3:
            after = choose.choice(KINDS)
        else:
            after = before ^ 1 << choose.randrange(32)
        data[at : at + 4] = (after & 0xFFFFFFFF).to_bytes(4, "little")
    elif way < 0.78:
        del data[choose.choice(words) if choose.random() < 0.5 else choose.randrange(size) :]
    elif way < 0.84:
        at = choose.choice((*words, choose.randrange(size)))
        data[at:at] = choose.choice((choose.randbytes(choose.randrange(1, 50)), bytes(choose.randrange(1, 50))))
    else:
        first = min(choose.choice(words) if choose.random() < 0.6 else choose.randrange(size), size)
        last = min(first + choose.choice((1, 4, 20, 40, 272, 292, choose.randrange(1, size))), size)
        if way < 0.89:
            del data[first:last]
        elif way < 0.95:
            data[last:last] = data[first:last]
        else:
            other = choose.choice(bases())
            start = choose.choice(other.words) if choose.random() < 0.7 else choose.randrange(len(other.data))
            if choose.random() < 0.5:
                data[first:] = other.data[start:]
            else:
                data[first:last] = other.data[start : start + last - first]
    return data


def mutant(seed: int, index: int) -> bytes:
    """Return the mutant that has these two numbers."""
    choose = random.Random(seed * 100_000_000 + index)
    base = choose.choice(bases())
    data = bytearray(base.data)
    for _ in range(choose.choice((1, 1, 1, 1, 2, 2, 3, 6))):
        data = mutate(choose, data, tuple(at for at in base.words if at <= len(data) - 4) or (0,))
    return bytes(data)


# -- what is tried


@dataclass
class Figures:
    """What many mutants have shown."""

    count: int = 0
    read: int = 0
    with_panels: int = 0
    changed: int = 0
    walked: int = 0
    in_files: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_index: int = -1
    growth: int = 0
    seconds: float = 0.0


def peak() -> int:
    """Return the most memory that this process has had since `reset_peak`, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) << 10
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def reset_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def try_head(data: bytes) -> tuple[str, dict[str, Any] | None]:
    """Return the kind of jfstore's error or "", and what it read."""
    try:
        head = read_head(Memory(data, "mutant.xtc"))
        if "cut off" not in head.problem:
            return "", value_of(head)
        raise CutOff(head.problem)  # the rest of the head is lost, though Configure was read
    except JfstoreError as error:
        kind, text = type(error).__name__, str(error)
    assert text.startswith("mutant.xtc")
    assert "\n" not in text
    return f"{kind}: {shape(text)}", None


def shape(text: str) -> str:
    """Return a message without its numbers and names."""
    words = ["#" if any(map(str.isdigit, one)) else one for one in text.removeprefix("mutant.xtc").strip(": ").split()]
    return " ".join(one if one.isascii() and ":Jungfrau" not in one else "NAME" for one in words)


def walk(data: bytes) -> None:
    """Read all objects of all datagrams, and what they say."""
    file = Memory(data, "mutant.xtc")
    offset = 0
    try:
        for datagram in read_datagrams(file):
            transition, end = parts(data, offset)
            assert (datagram.offset, datagram.end, datagram.transition) == (offset, end, transition)
            try:
                expected = leaves(data, offset + 20, end)
            except Wrong:
                expected = None
            try:
                found = list(read_objects(file, datagram))
                assert expected is not None
                got = [
                    (
                        one.offset,
                        one.end,
                        one.damage,
                        one.source.level,
                        one.source.phy,
                        (one.compressed << 31) + (one.version << 16) + one.type,
                    )
                    for one in found
                ]
                assert got == expected
                for one in found:
                    assert one.source.describe(one.process)
                    read = {69: read_aliases, 107: read_jungfrau}.get(one.type)
                    if read:
                        with suppress(JfstoreError):
                            read(file, one)
            except JfstoreError:
                assert expected is None
            offset = end
        assert offset == len(data)
    except JfstoreError:
        with pytest.raises(Wrong):
            parts(data, offset)


def through_files(data: bytes, place: Path, index: int) -> None:
    """Read the mutant as the first or the only stream of a run; a run and its events."""
    files = []
    for stream, content in ((0, data), (1, bases()[-1].data), (80, bases()[-2].data))[: 1 + index // IN_FILES % 3]:
        path = place / f"mfxx12345-r0007-s{stream:02d}-c00.xtc"
        path.write_bytes(content)
        files.append(XtcFile(stream, 0, str(path)))
    run_files = RunFiles("mfxx12345", 7, tuple(files))
    try:
        expected = decoded(data)
    except Wrong:
        expected = None
    try:
        run = read_run(run_files)
        assert len(run.problems) == (expected is None)
        if expected is not None:
            assert run.file == files[0].path
            mine = [(version, count, panels) for version, count, panels in expected["jungfraus"].values()]
            got = [(one.version, one.count, [str(panel) for panel in one.panels]) for one in run.jungfraus]
            assert all(one in got for one in mine)
    except JfstoreError:
        assert expected is None
        assert len(files) == 1
    problems: list[str] = []
    with suppress(JfstoreError):
        for event in read_events(run_files, problems):
            assert all("\n" not in line or "alias=" in line for line in (*event.of_event, *event.of_config))


def attempt(seed: int, index: int, place: Path, figures: Figures) -> None:
    """Try one mutant; AssertionError, or whatever jfstore raised that it must not, if it is not as it must be."""
    data = mutant(seed, index)
    start = time.perf_counter()
    refused, got = try_head(data)
    taken = time.perf_counter() - start
    try:
        expected = decoded(data)
    except Wrong:
        expected = None
    assert got == expected, f"jfstore read {got} ({refused}), the bytes say {expected}"
    if index % WALKED == 0:
        start = time.perf_counter()
        walk(data)
        taken = max(taken, time.perf_counter() - start)
        figures.walked += 1
    if index % IN_FILES == 0:
        start = time.perf_counter()
        through_files(data, place, index)
        taken = max(taken, time.perf_counter() - start)
        figures.in_files += 1
    if taken > SLOWEST:  # the machine may have been busy with something else
        start = time.perf_counter()
        try_head(data)
        if index % WALKED == 0:
            walk(data)
        if index % IN_FILES == 0:
            through_files(data, place, index)
        taken = min(taken, time.perf_counter() - start)
    assert taken <= SLOWEST, f"it took {taken:.3f} s"
    if taken > figures.slowest:
        figures.slowest, figures.slowest_index = taken, index
    figures.count += 1
    if got is None:
        figures.refused[refused] += 1
        return
    figures.read += 1
    panels = [panel for _, _, ids in got["jungfraus"].values() for panel in ids]
    figures.with_panels += bool(panels)
    figures.changed += not known_panels().issuperset(panels)


@cache
def known_panels() -> frozenset[str]:
    """Return the panels of the bases."""
    known: set[str] = set()
    for base in bases():
        try:
            for _, _, ids in decoded(base.data)["jungfraus"].values():
                known.update(ids)
        except Wrong:
            pass
    return frozenset(known)


def fuzz(seed: int, count: int, place: Path, first: int = 0) -> Figures:
    """Try `count` mutants of a seed."""
    figures = Figures()
    known_panels()
    reset_peak()
    before, start = peak(), time.perf_counter()
    for index in range(first, first + count):
        try:
            attempt(seed, index, place, figures)
        except Exception as error:
            error.add_note(f"this is mutant({seed}, {index})")
            raise
    figures.growth, figures.seconds = peak() - before, time.perf_counter() - start
    return figures


def worker(seed: int, count: int) -> None:
    """Try mutants in a process of their own, and print the figures."""
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(vars(fuzz(seed, count, Path(place)))))


# -- the tests


def test_both_decoders_agree_on_what_is_not_mutated() -> None:
    read = 0
    for base in bases():
        refused, got = try_head(base.data)
        try:
            assert got == decoded(base.data)
            read += 1
        except Wrong:
            assert refused
        walk(base.data)
    assert read > 60


def test_the_second_decoder_knows_the_reference() -> None:
    reference = ROOT / "tests/data/reference/xtc"
    compared = 0
    for case in json.loads((reference / "manifest.json").read_text())["cases"]:
        for name in case["files"][:1]:
            try:
                got = decoded((reference / name).read_bytes())["jungfraus"]
            except (Wrong, FileNotFoundError):
                continue
            for jungfrau in case.get("jungfrau") or ():
                panels = jungfrau.get("panels") or ()
                numbers = [("module_version", "firmware_version", "serial_number")] * len(panels)
                ids = ["-".join(f"{p[n]:x}" for n in names) for p, names in zip(panels, numbers, strict=True)]
                if jungfrau["phy"] in got and jungfrau["config_version"] > 2 and ids:
                    assert got[jungfrau["phy"]][2] == ids, case["case"]
                    compared += 1
    assert compared > 20


@pytest.mark.parametrize("seed", range(8))
def test_some_mutants(seed: int, tmp_path: Path) -> None:
    figures = fuzz(seed, 2500, tmp_path)
    assert figures.growth < LARGEST
    # A fuzz that is refused at once, or that changes nothing, would show nothing.
    assert figures.read > 500
    assert figures.with_panels > 300
    assert figures.changed > 50
    assert len(figures.refused) >= 8


@pytest.mark.full
def test_a_million_mutants() -> None:
    count, processes = 1_000_000, 2
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import worker; worker({100 + n}, {count // processes})"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(processes)
    ]
    ended = [(process.communicate(), process.returncode) for process in started]
    for (_, err), code in ended:
        assert code == 0, err
    results = [json.loads(out) for (out, _), _ in ended]
    refused = sum((Counter(result["refused"]) for result in results), Counter())
    total = {name: sum(result[name] for result in results) for name in ("count", "read", "with_panels", "changed")}
    total |= {name: sum(result[name] for result in results) for name in ("walked", "in_files")}
    print(f"\nmutants: {total}, seconds {[round(result['seconds']) for result in results]}")
    print(f"slowest {max(result['slowest'] for result in results):.4f} s")
    print(f"growth of memory {max(result['growth'] for result in results) / 2**20:.1f} MiB")
    for text, times in refused.most_common():
        print(f"{times:8d} {text}")
    assert total["count"] == count
    assert max(result["growth"] for result in results) < LARGEST
