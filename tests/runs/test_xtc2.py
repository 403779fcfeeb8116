"""Runs of LCLS-II: the reference's files, files of an independent writer, cut and damaged ones, and mutants."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.errors import Damaged, JfstoreError
from jfstore.runs.head2 import Head2, read_head2
from jfstore.runs.run import Run, read_runs
from tests.conftest import ROOT
from tests.makers import xtc2 as made
from tests.makers.xtc2_plain import OddError, Plain, read_plain
from tests.makers.xtc_reading import Memory, Program, soon

REFERENCE = ROOT / "tests/data/reference/xtc2"
CASES: list[dict[str, Any]] = json.loads((REFERENCE / "manifest.json").read_text())["cases"]
EXP = "mfxx00001"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def panels_of(run: Run) -> list[str]:
    (jungfrau,) = run.jungfraus
    return list(map(str, jungfrau.panels))


# -- what other software wrote


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["run"]))
def test_the_reference_is_read_as_its_manifest_says(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(REFERENCE))
    run = jfstore.run(f"exp={case['experiment']}:run={case['run']}")
    begin = case["begin_run"]
    assert (run.experiment, run.run, run.daq) == (case["experiment"], case["run"], "LCLS-II")
    assert run.start == begin["unix_seconds"] * 1_000_000_000 + begin["nanoseconds"]
    jungfrau = run.jungfrau
    assert jungfrau.source == case["detname"]
    assert dict(zip(map(str, jungfrau.segments), map(str, jungfrau.panels), strict=True)) == case["segments"]
    assert f"jungfrau_{run.detector_id}" == case["uniqueid"]
    assert jungfrau.places == case["nsegs_total"]
    assert (run.notes, run.problems) == ((), ())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["run"]))
def test_the_old_commands_know_such_runs(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(REFERENCE))
    code, out, _ = program("jungfrau_id", f"exp={case['experiment']}:run={case['run']}")
    printed = f"Found source: jungfrau, number of panels: {len(case['segments'])}"
    assert (code, printed in out) == (0, True)
    assert out.splitlines()[-1] == f"Jungfrau id: {case['uniqueid'].removeprefix('jungfrau_')}"
    code, out, _ = program("jfstore", "runs", "mfxdaq23", "--json")
    (value,) = [value for value in json.loads(out) if value["run"] == case["run"]]
    assert (code, value["segments"], value["daq"]) == (0, [int(n) for n in case["segments"]], "LCLS-II")


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["run"]))
def test_a_plain_reader_agrees_on_the_reference(case: dict[str, Any]) -> None:
    for name in case["files"]:
        compare((REFERENCE / name).read_bytes())


# -- files of another writer


def test_gaps_and_streams(root: Path) -> None:
    panels = {n: made.panel(100 + n) for n in (0, 1, 3, 9, 10, 17, 25, 31)}
    parts = [dict(list(panels.items())[n::3]) for n in range(3)]
    made.write(root, EXP, 7, *(made.stream(made.configured(part)) for part in parts))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert run.jungfrau.segments == tuple(panels)
    assert panels_of(run) == list(panels.values())
    assert (run.jungfrau.count, run.jungfrau.places) == (8, 32)
    assert (run.start, run.end) == (made.START * 10**9 + 123456789, (made.START + 60) * 10**9 + 123456789)


def test_32_panels_over_5_streams(root: Path) -> None:
    panels = {n: made.panel(n, board=0xB8CEF6000000 + n) for n in range(32)}
    made.write(root, EXP, 7, *(made.stream(made.configured({n: panels[n] for n in range(s, 32, 5)})) for s in range(5)))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert panels_of(run) == list(panels.values())
    assert panels_of(run)[31] == "8000000020000-230920-b8cef600001f001f"


@pytest.mark.parametrize("written", ["0-0-1", "0-230920-2000", "9000000000000-230921-3007f0217"])
def test_zeros_and_large_numbers_in_ids(written: str, root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: written})))
    assert panels_of(jfstore.run(f"exp={EXP}:run=7")) == [written]


def test_several_jungfraus_are_chosen_by_name(root: Path) -> None:
    objects = made.configured({0: made.panel(1)}, "jungfrau") + made.configured(
        {0: made.panel(2)}, "jf_vls", first=0x300
    )
    made.write(root, EXP, 7, made.stream(objects))
    with pytest.raises(jfstore.BadValue, match="choose one: jf_vls, jungfrau"):
        jfstore.run(f"exp={EXP}:run=7")
    assert jfstore.run(f"exp={EXP}:run=7", "jf_vls").detector_id == made.panel(2)
    assert jfstore.run(f"exp={EXP}:run=7", "jungfrau").detector_id == made.panel(1)


def test_a_detector_of_another_type_is_none(root: Path) -> None:
    objects = made.configured({0: "serial1234"}, "epix", detector_type="epix100")
    made.write(root, EXP, 7, made.stream(objects))
    with pytest.raises(jfstore.NotFound, match="has no Jungfrau"):
        jfstore.run(f"exp={EXP}:run=7")


def test_a_scan_repeats_its_configuration(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1), 1: made.panel(2)}, repeats=3)))
    assert panels_of(jfstore.run(f"exp={EXP}:run=7")) == [made.panel(1), made.panel(2)]


@pytest.mark.parametrize(
    ("gain_mode", "gain0", "mode", "is_high"),
    [
        (0, 0, "DYNAMIC", False),
        (3, 1, "FIX_G1", True),
        (4, None, "FIX_G2", None),
        (None, 1, None, True),
        (None, None, None, None),
        (0, 7, "DYNAMIC", None),
        (77, 0, None, False),
    ],
)
def test_how_the_amplifiers_are_set(
    gain_mode: int | None, gain0: int | None, mode: str | None, is_high: bool | None, root: Path
) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}, gain_mode=gain_mode, gain0=gain0)))
    jungfrau = jfstore.run(f"exp={EXP}:run=7").jungfrau
    assert (jungfrau.gain_mode, jungfrau.has_high_g0) == (mode, is_high)


def test_a_scan_changes_the_gain_mode_within_the_run(root: Path) -> None:
    """A run of the experiment mfx101332224 is so: a pedestal scan has Names of what its steps change, and no data."""
    scanned: list[made.Value] = [("user.gainMode:gainModeEnum", made.ENUM_VALUE, 0, b"")]
    objects = made.configured({0: made.panel(1)}) + made.names(
        0x114, "jungfrau", "jungfrau", made.panel(1), "config", 0, scanned
    )
    made.write(root, EXP, 7, made.stream(objects))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == (None, False)
    assert run.notes == ("user.gainMode of jungfrau changes within the run, which is a scan",)


@pytest.mark.parametrize("other", ["8000000020000-230920-200000018000000020000-230920-20000001", "", "serial1234"])
def test_the_id_of_the_data_counts(other: str, root: Path) -> None:
    """Until June 2025 the configurations of the DAQ had the Ids of all connections in one."""
    values = made.modes(0, 1)
    objects = made.names(0x10A, "jungfrau", "jungfrau", made.panel(1), "raw", 3, made.RAW)
    objects += made.names(0x100, "jungfrau", "jungfrau", other, "config", 3, values) + made.shapes_data(0x100, values)
    made.write(root, EXP, 7, made.stream(objects))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert (run.detector_id, run.jungfrau.segments) == (made.panel(1), (3,))
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == ("DYNAMIC", True)
    (note,) = run.notes
    assert note.endswith(f"segment 3 of jungfrau is configured as {other!r}; the Id of its data counts")


def test_segments_in_different_gain_modes_may_all_have_high_g0(root: Path) -> None:
    objects = made.configured({0: made.panel(1)}, gain_mode=0, gain0=1)
    objects += made.configured({1: made.panel(2)}, gain_mode=3, gain0=1, first=0x300)
    made.write(root, EXP, 7, made.stream(objects), made.stream(made.configured({2: made.panel(3)}, gain0=1)))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == (None, True)
    assert run.notes == ("the segments of jungfrau are set to different gain modes: DYNAMIC, FIX_G1",)


def test_streams_that_disagree(root: Path) -> None:
    one, other = made.panel(1), made.panel(2)
    first = made.stream(made.configured({0: one}))
    second = made.configured({0: other, 1: made.panel(3)}, gain_mode=3, gain0=1)
    made.write(root, EXP, 7, first, made.stream(second, start=made.START + 5))
    run = jfstore.run(f"exp={EXP}:run=7")
    assert panels_of(run) == [one, made.panel(3)]
    assert run.start == made.START * 10**9 + 123456789
    notes = "\n".join(run.notes)
    for text in (
        "disagree on segment 0 of jungfrau",
        "disagree on the start",
        "set to different gain modes",
        "differ in whether",
    ):
        assert text in notes
    assert (run.jungfrau.gain_mode, run.jungfrau.has_high_g0) == (None, None)


def test_one_panel_in_two_segments_is_damage(root: Path) -> None:
    made.write(root, EXP, 7, *(made.stream(made.configured({n: made.panel(1)})) for n in range(2)))
    with pytest.raises(Damaged, match="two segments of jungfrau are the same panel"):
        jfstore.run(f"exp={EXP}:run=7")


def test_another_run_or_experiment_inside_is_noted(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), "mfxother", 8))
    notes = "\n".join(jfstore.run(f"exp={EXP}:run=7").notes)
    assert "its BeginRun has the run number 8" in notes
    assert "its BeginRun has the experiment mfxother" in notes


def test_the_path_of_a_file(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    assert jfstore.run(str(path)).label == f"exp={EXP}:run=7"
    other = path.rename(root / "copy.xtc2")
    assert jfstore.run(str(other)).label == f"exp={EXP}:run=7"  # BeginRun says it


def test_small_data_is_asked_for(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    small = path.parent / "smalldata" / path.name.replace(".xtc2", ".smd.xtc2")
    small.parent.mkdir()
    small.write_bytes(made.stream(made.configured({0: made.panel(2)})))
    assert panels_of(jfstore.run(f"exp={EXP}:run=7")) == [made.panel(1)]
    assert panels_of(jfstore.run(f"exp={EXP}:run=7:smd")) == [made.panel(2)]


def test_listed_runs_come_from_the_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in (1, 2):
        made.write(root, EXP, number, made.stream(made.configured({3: made.panel(number)}), run=number))
    first = jfstore.runs(EXP)
    again = jfstore.runs(EXP)
    assert first == again
    assert [run.jungfraus[0].segments for run in again.runs] == [(3,), (3,)]
    assert list((tmp_path / "cache").rglob("*.json"))


def test_event_keys_says_that_it_reads_lcls1(root: Path, program: Program) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    code, out, err = program("event_keys", "-d", f"exp={EXP}:run=7")
    assert (code, "EventKey(" in out, "LCLS-I" in err) == (2, False, True)


# -- the end of a run


@pytest.mark.parametrize("events", [0, 1, 30])
def test_without_end_run_the_last_datagram_counts(events: int, root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), events=events, ends=False))
    assert jfstore.run(f"exp={EXP}:run=7").end == (made.START + 59) * 10**9 + 123456789


def test_the_last_chunk_has_the_end(root: Path) -> None:
    made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), ends=False))
    last = made.path_of(root, EXP, 7, 0, 1)
    last.write_bytes(made.datagram(made.L1_ACCEPT, made.START + 900, bytes(2_000_000)))
    assert jfstore.run(f"exp={EXP}:run=7").end == (made.START + 900) * 10**9 + 123456789
    last.write_bytes(last.read_bytes()[:-1])  # cut, or still being written
    assert jfstore.run(f"exp={EXP}:run=7").end is None


def test_random_bytes_at_the_end_are_no_end(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)})))
    sound = path.read_bytes()
    for seed in range(50):
        path.write_bytes(sound + random.Random(seed).randbytes(100_000))
        end = jfstore.run(f"exp={EXP}:run=7").end
        assert end is None or end >= made.START * 10**9


# -- cut and damaged files


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


def test_the_head_of_100_gb_takes_no_time(root: Path) -> None:
    (path,) = made.write(root, EXP, 7, made.stream(made.configured({0: made.panel(1)}), ends=False))
    with path.open("r+b") as file:
        file.truncate(100_000_000_000)
    begin = time.perf_counter()
    run = jfstore.run(f"exp={EXP}:run=7")
    took = time.perf_counter() - begin
    print(f"head and tail of 100 GB: {1000 * took:.1f} ms")
    assert panels_of(run) == [made.panel(1)]
    assert run.end is None
    assert took < 2


def test_reading_ids_does_not_load_numpy(root: Path) -> None:
    made.write(root, EXP, 7, SOUND)
    code = f"import sys, jfstore; jfstore.run('exp={EXP}:run=7'); sys.exit('numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


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


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Yield files that are changed in one to four places."""
    chance = random.Random(seed)
    seeds = [
        SOUND,
        made.stream(made.configured({n: made.panel(n) for n in range(4)}, repeats=2)),
        made.stream(made.configured({0: made.panel(1)}) + made.configured({1: made.panel(2)}, "second", first=0x300)),
        (REFERENCE / CASES[0]["files"][0]).read_bytes(),
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
        begin = time.perf_counter()
        try:
            said = compare(data)
        except AssertionError as error:
            error.add_note(f"this is mutant {number} of seed {seed}")
            raise
        assert time.perf_counter() - begin < 1
        counts[said] = counts.get(said, 0) + 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_some_mutants(seed: int) -> None:
    counts = fuzz(seed, 5000)
    assert min(counts.get("read", 0), counts.get("Damaged", 0)) > 500


@pytest.mark.full
def test_a_million_mutants() -> None:
    code = "import sys; from tests.runs.test_xtc2 import fuzz; print(fuzz(int(sys.argv[1]), 500_000))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(100 + n)], env=environment, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    outputs = [child.communicate()[0] for child in children]
    print(*outputs)
    assert [child.returncode for child in children] == [0, 0]
