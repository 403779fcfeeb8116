"""Heads of LCLS-II runs that are cut, damaged or made to do harm, and mutants compared with a plain reader."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import jfstore
from jfstore.errors import Damaged, JfstoreError
from jfstore.runs.head2 import Head2, read_head2
from jfstore.runs.run import read_runs
from tests.conftest import ROOT
from tests.makers import xtc2 as made
from tests.makers.xtc2_plain import OddError, Plain, read_plain
from tests.makers.xtc_reading import Memory, Program, soon

REFERENCE = ROOT / "tests/data/reference/xtc2"
REFERENCE_RUN = REFERENCE / "mfx/mfxdaq23/xtc/mfxdaq23-r0010-s000-c000.xtc2"
EXP = "mfxx00001"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


SOUND = made.stream(made.configured({0: made.panel(1), 5: made.panel(2)}))


def head(data: bytes) -> Head2:
    with soon():
        return read_head2(Memory(data))


def ends_of(data: bytes) -> list[int]:
    """Return where each datagram ends."""
    ends, at = [], 0
    while at < len(data):
        at += 12 + struct.unpack_from("<I", data, at + 20)[0]
        ends.append(at)
    return ends


def test_every_cut_is_refused_or_after_configure() -> None:
    configure, begin = ends_of(SOUND)[:2]
    for size in range(len(SOUND)):
        if size < configure:
            with pytest.raises(Damaged, match=r"hostile\.xtc"):
                head(SOUND[:size])
            continue
        got = head(SOUND[:size])
        assert list(got.jungfraus["jungfrau"].segments) == [0, 5]
        assert (got.start is None) == (size < begin) == bool(got.problem)


def test_a_run_that_has_just_begun_has_ids_and_no_start(root: Path, program: Program) -> None:
    (path,) = made.write(root, EXP, 7, SOUND[: ends_of(SOUND)[0] + 10])
    detector = f"{made.panel(1)}_{made.panel(2)}"
    for words in (("jungfrau_id", f"exp={EXP}:run=7"), ("jfstore", "id", f"exp={EXP}:run=7")):
        code, out, err = program(*words)
        assert (code, detector in out) == (4, True)
        assert f"{path} is cut off" in err
        assert "the start of the run is not known" in err
    jfstore.init("R", "test")
    code, _, err = program("jfstore", "get", f"exp={EXP}:run=7", "--repo", "./R")
    assert (code, "-T TIME" in err) == (3, True)


def test_a_damaged_stream_hides_panels(root: Path) -> None:
    paths = made.write(root, EXP, 7, *(made.stream(made.configured({n: made.panel(n)})) for n in range(3)))
    paths[2].write_bytes(paths[2].read_bytes()[:500])
    with pytest.raises(Damaged, match="a stream is damaged, whose panels are not known"):
        jfstore.run(f"exp={EXP}:run=7")
    assert read_runs(f"exp={EXP}:run=7")[0].problems


NAMES_AT = 24  # the first Names of the first datagram


def changed(offset: int, data: bytes) -> bytes:
    return SOUND[:offset] + data + SOUND[offset + len(data) :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (changed(20, b"\xff\xff\xff\xff"), "has the extent"),
        (changed(20, b"\x00\x00\x00\x00"), "has the extent"),
        (changed(18, b"\x07\x00"), "has the type 7"),
        (changed(0, b"\xff\xff\xff\xff"), "ns in the second"),
        (changed(NAMES_AT + 8, b"\xff\xff\xff\x7f"), "has the extent"),
        (changed(NAMES_AT + 8, b"\x0b\x00\x00\x00"), "has the extent 11"),
        (changed(NAMES_AT + 12 + 516, b"x" * 256), "without an end"),
        (changed(NAMES_AT + 12 + 516, b"no panel\0"), "is not a panel Id"),
        (changed(NAMES_AT + 12 + 516, b"f" * 17 + b"-2-3\0"), "needs more than 64 bits"),
        (made.stream(made.configured({0: "1-2-3"}) + made.configured({0: "1-2-4"}, first=0x300)), "is another panel"),
        (changed(NAMES_AT + 12 + 1032, b"\xff\xff\xff\xff"), "are of segment 4294967295"),
        (changed(NAMES_AT + 12 + 1032, b"\x20\x00\x00\x00"), "are of segment 32"),
        (changed(NAMES_AT + 12 + 1036 + 516, b"\x63"), "a value of type 99"),
        (changed(NAMES_AT + 12 + 1036 + 520, b"\x09"), "rank 9"),
        (made.datagram(made.BEGIN_RUN, made.START) + SOUND, "starts with BeginRun, not with Configure"),
        (made.datagram(made.CONFIGURE, made.START, made.xtc(4, bytes(100))), "do not hold whole names"),
        (made.datagram(made.CONFIGURE, made.START, bytes(7)), "7 stray bytes"),
        (made.datagram(made.CONFIGURE, made.START, made.xtc(0, b"") * 100_001), "over 100000 objects"),
        (SOUND[: ends_of(SOUND)[0]] + made.datagram(made.DISABLE, made.START) * 1001, "no BeginRun among its first"),
    ],
)
def test_hostile_heads_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(Damaged, match=says):
        head(data)


LONG = 6.0
"""Seconds of the processor, which other work on the machine does not add to; faults of this kind took over ten."""


def many_values(count: int) -> bytes:
    """Return a stream with a configuration of 5,000 values, so often."""
    values: list[made.Value] = [(f"v{number}", made.U8, 0, b"\0") for number in range(5000)]
    names = made.names(0x100, "jungfrau", "jungfrau", made.panel(1), "config", 0, values)
    return made.stream(names + made.shapes_data(0x100, values) * count)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: many_values(3000), "over 50000 values"),
        (lambda: made.datagram(made.CONFIGURE, made.START, bytes(1 << 26)), "is larger than 67108864 bytes"),
        (lambda: made.stream(made.names(0x100, "epix", "epix", "1", "raw", 0, []) * 60_000), ""),
    ],
    ids=["values", "size", "names"],
)
def test_large_heads_take_no_time(data: Callable[[], bytes], says: str) -> None:
    file = Memory(data())
    begin = time.process_time()
    if says:
        with pytest.raises(Damaged, match=says):
            read_head2(file)
    else:
        assert read_head2(file).others == ("epix", "ts")
    took = time.process_time() - begin
    print(f"head of {file.size >> 20} MB: {1000 * took:.0f} ms")
    assert took < LONG


def test_a_tail_full_of_clocks_takes_no_time(root: Path) -> None:
    start = made.EPOCH + 0x42424242
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), start=start))
    with path.open("ab") as file:
        file.write(b"B" * (17 << 20))
    begin = time.process_time()
    assert jfstore.run(f"exp={EXP}:run=7").end is None
    took = time.process_time() - begin
    print(f"tail full of clocks: {1000 * took:.0f} ms")
    assert took < LONG


def test_parents_in_parents_do_not_recurse() -> None:
    deep = made.configured({0: made.panel(1)})
    for _ in range(20_000):
        deep = made.xtc(0, deep)
        if len(deep) > 1 << 18:
            break
    assert head(made.stream(deep)).jungfraus


@pytest.mark.parametrize("raw", [b"\x1b[2J", b"\x9b2J\xe2\x80\xae", b"a\tb\nc"])
def test_control_characters_do_not_come_out(raw: bytes, root: Path, program: Program) -> None:
    objects = made.configured({0: made.panel(1)}, raw.decode("latin-1")).replace(
        made.text(raw.decode("latin-1")), made.text(raw)
    )
    made.write(root, EXP, 7, made.stream(objects))
    for words in (("jungfrau_id", f"exp={EXP}:run=7"), ("jfstore", "id", f"exp={EXP}:run=7"), ("jfstore", "runs", EXP)):
        code, out, err = program(*words)
        assert code == 0
        assert all(char in "\n\t" or " " <= char <= "~" for char in out + err)


# -- mutants


def compare(data: bytes) -> str:
    """Compare what jfstore and the plain reader read; return what jfstore says."""
    expected: Plain | None
    try:
        expected = read_plain(data)
    except OddError:
        expected = None
    got, said = None, ""
    try:
        got = head(data)
    except JfstoreError as error:
        text, said = str(error), type(error).__name__
    if got is None:
        assert text.startswith("hostile.xtc")
        assert "\n" not in text
        assert expected is None, f"{text}; the bytes say {expected}"
        return said
    assert expected is not None, f"{got}; the bytes say nothing"
    panels = {name: {n: str(panel) for n, panel in one.segments.items()} for name, one in got.jungfraus.items()}
    assert panels == expected.panels
    for name, one in got.jungfraus.items():
        assert one.gain_modes == expected.gain_modes.get(name, set())
        assert one.high_g0 == expected.high_g0.get(name, set())
        assert one.scanned == expected.scanned.get(name, set())
    assert set(got.others) == expected.others
    assert (got.start, got.experiment, got.run) == (expected.start, expected.experiment, expected.run)
    assert bool(got.problem) >= expected.is_cut
    return "read"


@pytest.mark.parametrize("path", sorted(REFERENCE.rglob("*.xtc2")), ids=lambda path: path.name)
def test_a_plain_reader_agrees_on_the_reference(path: Path) -> None:
    assert compare(path.read_bytes()) == "read"


# What a scan changes, with an Id that the data do not have.
SCANNED = made.names(
    0x114, "jungfrau", "jungfrau", "1-2-3", "config", 0, [("user.gainMode:gainModeEnum", made.ENUM_VALUE, 0, b"")]
)


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Yield files that are changed in one to four places."""
    chance = random.Random(seed)
    seeds = [
        SOUND,
        made.stream(made.configured({n: made.panel(n) for n in range(4)}, repeats=2)),
        made.stream(made.configured({0: made.panel(1)}) + made.configured({1: made.panel(2)}, "second", first=0x300)),
        made.stream(made.configured({0: made.panel(1)}) + SCANNED),
        REFERENCE_RUN.read_bytes(),
    ]
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        heads = [at for at in (0, *ends_of(bytes(data))[:2]) if at + 24 <= len(data)]
        for _ in range(chance.randint(1, 4)):
            # Most bytes are parts of long texts: headers, numbers and the ends of texts are worth more.
            place = chance.choice(heads) + chance.choice([chance.randrange(24), 24 + chance.randrange(5000)])
            place = min(place, len(data) - 1)
            what = chance.randrange(6)
            if what == 0:
                data[place] = chance.randrange(256)
            elif what == 1:
                data[place] ^= 1 << chance.randrange(8)
            elif what == 2:
                data[place : place + 4] = struct.pack(
                    "<I", chance.choice([0, 1, 12, 24, 1 << 31, (1 << 32) - 1, len(data)])
                )
            elif what == 3:
                del data[place : place + chance.choice([1, 4, 12, 524])]
            elif what == 4:
                data[place:place] = bytes(chance.choice([1, 4, 12]))
            else:
                del data[chance.randrange(len(data)) :]
            if len(data) < 30:
                break
        yield bytes(data)


def fuzz(seed: int, count: int) -> dict[str, int]:
    """Compare so many mutants; return how often what was said."""
    counts: dict[str, int] = {}
    for number, data in enumerate(mutants(seed, count)):
        begin = time.process_time()
        try:
            said = compare(data)
        except AssertionError as error:
            error.add_note(f"this is mutant {number} of seed {seed}")
            raise
        assert time.process_time() - begin < 1
        counts[said] = counts.get(said, 0) + 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_some_mutants(seed: int) -> None:
    counts = fuzz(seed, 5000)
    assert min(counts.get("read", 0), counts.get("Damaged", 0)) > 500


@pytest.mark.full
def test_a_million_mutants() -> None:
    code = "import sys; from tests.runs.test_xtc2_hostile import fuzz; print(fuzz(int(sys.argv[1]), 500_000))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(100 + n)], env=environment, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    outputs = [child.communicate()[0] for child in children]
    print(*outputs)
    assert [child.returncode for child in children] == [0, 0]
