"""The command line of ``dcs``: what ends how, files of runs, directories and modes, what is written where."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.programs import jungfrau_gain_constants
from jfstore.dcs.read import open_dcs
from jfstore.repository.verify import verify
from tests.makers.dcs import NAME, SMALL, Store, array, make_dcs, original_answer, run
from tests.makers.telling import XTC

T = 1_500_000_000
RUN = ("-e", "xcsls3716", "-r", "631")
PAIR = "170505-149520170815-3d00b0_170505-149520170815-3d00f7"
BEGIN = 1_512_519_240
GOOD = "-t pixel_gain -f 2.npy"


@pytest.fixture
def sound(store: Store) -> Store:
    """A file with one version of pixel_gain at T, and constants beside it."""
    make_dcs(store.path, {"pixel_gain": {(float(T), math.inf): {1: array(1)}}})
    np.save("2.npy", array(2))
    Path("text.h5").write_text("no HDF5\n")
    Path("jungfrau-zero.h5").touch()
    Path("jungfrau-short.h5").write_bytes(SMALL.read_bytes()[:9000])
    return store


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("frobnicate H", 2, "'frobnicate' is not a command"),
        ("H", 2, "is not a command"),
        ("-i", 2, "the command is missing"),
        (f"add H -t pixel_gain -T {T}", 2, "-f NAME"),
        (f"add H -t pixel_gain -f no.npy -T {T}", 2, "no.npy: no such file"),
        (f"add H -t pixel_gain -f no.txt -T {T}", 2, "no.txt: no such file"),
        (f"add H -t geometry -f no.txt -T {T}", 2, "no.txt: no such file"),
        (f"add H -t pixel_gains -f 2.npy -T {T}", 2, "nearest: pixel_gain"),
        (f"add H -f 2.npy -T {T}", 2, "the calibration type is missing"),
        (f"add H {GOOD}", 2, "the time is missing"),
        (f"add H {GOOD} -T 2018-03-06", 2, "'2018-03-06' is not a time in Unix seconds"),
        (f"add H {GOOD} -T 1_0", 2, "is not a time"),
        (f"add H {GOOD} -T nan", 2, "a time from 1970 on"),
        (f"add H {GOOD} -T inf", 2, "a time from 1970 on"),
        (f"add H {GOOD} -T -5", 2, "a time from 1970 on"),
        (f"add H {GOOD} -T 20180306000000", 2, "is it a stamp?"),
        (f"add H {GOOD} -T {T} -T {T}", 2, "given twice"),
        (f"add H {GOOD} -T {T} -g 1-end", 2, "leave out -g"),
        (f"add foo.h5 {GOOD} -T {T}", 2, "is not named <detector type>-<detector Id>.h5"),
        (f"add jungfrau-.h5 {GOOD} -T {T}", 2, "is not named <detector type>-<detector Id>.h5"),
        (f"add nodir/jungfrau-x.h5 {GOOD} -T {T}", 1, "nodir does not exist"),
        (f"add text.h5 {GOOD} -T {T}", 4, "text.h5 is not an HDF5 file"),
        (f"add jungfrau-zero.h5 {GOOD} -T {T}", 4, "is not an HDF5 file"),
        (f"add H {GOOD} -T {T} -v 1", 5, "v0001 exists already; 2 is free"),
        (f"add H {GOOD} -T {T} -v 0", 2, "a version number is 1 or more"),
        (f"add H {GOOD} -T {T} -v -3", 2, "a version number is 1 or more"),
        (f"add H {GOOD} -T {T} -v x", 2, "'x' is not a version number"),
        (f"add H {GOOD} -T {T} -c calib", 2, "says which file is meant"),
        (f"add H {GOOD} -T {T} --filemode 999", 2, "is not a mode in octal digits"),
        (f"add H -t geometry -f 2.npy -T {T}", 2, "geometry is text, not an array"),
        (f"get jungfrau-none.h5 -t pixel_gain -T {T}", 3, "jungfrau-none.h5: no such file"),
        ("get H -t pixel_gain -T 1", 3, "the first range starts at 1500000000"),
        ("get H -t pixel_gain", 2, "the time is missing"),
        (f"get H -t pixel_gain -v 9 -T {T}", 3, "has no version 9; existing: 1"),
        (f"get H -t pixel_offset -T {T}", 3, "H has no pixel_offset; nearest: pixel_gain"),
        (f"get H -t bogus -T {T}", 2, "'bogus' is not a calibration type"),
        (f"get H -t pixel_gain -f nodir/o.npy -T {T}", 1, "nodir does not exist"),
        (f"get H -t pixel_gain -f H -T {T}", 2, "written as .npy or as text"),
        (f"get jungfrau-short.h5 -t pixel_gain -T {T}", 4, "truncated file"),
        (f"get H -t pixel_gain -T {T} -g {T}-end", 2, "leave out one"),
        ("get H -t pixel_gain -g 7-end", 3, f"has no range 7-end; existing: {T}-end"),
        ("print jungfrau-none.h5", 3, "no such file"),
        ("print text.h5", 4, "text.h5 is not an HDF5 file"),
        ("print", 2, "which file?"),
        ("print -e xcsls3716", 2, "-e and -r belong together"),
        (f"delversion H -t pixel_gain -v 9 -T {T}", 3, "has no version 9"),
        ("delversion H -t pixel_gain -v 1", 2, "the time is missing"),
        (f"delversion H -t pixel_offset -v 1 -T {T}", 3, "has no pixel_offset"),
        (f"delversion jungfrau-none.h5 -t pixel_gain -v 1 -T {T}", 3, "no such file"),
        ("delversion nodir/jungfrau-none.h5 -t pixel_gain -T 1", 3, "nodir does not exist"),
        ("delrange H -t pixel_gain", 2, "which range?"),
        ("delrange H -t pixel_gain -g 1-end", 3, "has no range 1-end"),
        (f"delrange H -t pixel_gain -g {T}-end -v 1", 2, "leave out -v"),
        ("delctype H -t pixel_offset", 3, "has no pixel_offset"),
        ("delctype H", 2, "the calibration type is missing"),
        ("delctype H -t pixel_gain -v 1", 2, "leave out -v"),
        (f"delctype H -t pixel_gain -T {T}", 2, "leave out -T"),
    ],
)
def test_what_fails_says_so_and_changes_nothing(sound: Store, words: str, code: int, says: str) -> None:
    before, names = sound.state(), sorted(os.listdir())
    argv = [NAME if word == "H" else word for word in words.split()]
    ended, out, err = run(sound._capsys, *argv)
    assert (ended, out, err.count("\n")) == (code, "", 1), err
    assert err.startswith("dcs: error: ")
    assert says.replace("H has", f"{NAME} has") in err
    assert sound.state() == before
    assert set(os.listdir()) - {".dcs-lock"} == set(names)


def test_no_argument_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, err, "examples:\n  dcs print" in out) == (0, "", True)


def test_options_may_stand_anywhere(sound: Store) -> None:
    code, _, err = run(sound._capsys, "add", "-t", "pixel_gain", NAME, "-T", T, "-f", "2.npy")
    assert code == 0, err
    code, _, err = run(sound._capsys, "-T", T, "get", "-t", "pixel_gain", NAME)
    assert code == 0, err


def test_twice_added_the_second_is_got(sound: Store) -> None:
    for seed in (5, 6):
        assert sound.add(seed)[0] == 0
    assert np.array_equal(sound.got(T), array(6))
    assert np.array_equal(original_answer(sound.path, "pixel_gain", float(T)), array(6))


def test_an_emptied_range_answers_nothing_and_names_the_older_version(sound: Store) -> None:
    sound.add(2, T + 100)
    assert sound.run("delversion", "-t", "pixel_gain", "-T", T + 100, "-m", "wrong")[0] == 0
    code, _, err = sound.run("get", "-t", "pixel_gain", "-T", T + 100)
    assert (code, f"nearest: pixel_gain/{T}-end/v0001" in err) == (3, True)
    assert np.array_equal(sound.got(T + 99), array(1))
    # Its number is not used again.
    code, _, err = sound.add(3, T + 100)
    assert (code, "/v0002" in err) == (0, True)


def test_a_range_by_its_name(sound: Store) -> None:
    sound.add(2, T + 100)
    assert sound.run("get", "-t", "pixel_gain", "-g", f"{T}-end", "-f", "o.npy")[0] == 0
    assert np.array_equal(np.load("o.npy"), array(1))
    assert sound.run("delversion", "-t", "pixel_gain", "-g", f"{T}-end")[0] == 0
    assert sound.run("get", "-t", "pixel_gain", "-g", f"{T}-end")[0] == 3


def test_deleted_space_is_given_back(sound: Store) -> None:
    size = sound.path.stat().st_size
    for seed in (2, 3):
        sound.add(seed)
    assert sound.path.stat().st_size > size + 2 * array(1).nbytes
    for _ in range(2):
        assert sound.run("delversion", "-t", "pixel_gain", "-T", T)[0] == 0
    # What is left is lines of history.
    assert sound.path.stat().st_size < size + 2000
    assert sound.run("delctype", "-t", "pixel_gain")[0] == 0
    assert sound.path.stat().st_size < 8000


@pytest.mark.parametrize(
    ("type_name", "made", "line"),
    [
        ("pixel_gain", array(1), "%.6f"),
        ("pedestals", array(1), "%.2f"),
        ("pixel_mask", array(1, dtype="u1"), None),
        ("common_mode", array(1, (16,), "i4"), None),
    ],
)
def test_text_of_arrays_goes_both_ways(store: Store, type_name: str, made: np.ndarray, line: str | None) -> None:
    np.save("made.npy", made)
    assert store.run("add", "-t", type_name, "-T", T, "-f", "made.npy")[0] == 0
    assert store.run("get", "-t", type_name, "-T", T, "-f", "o.txt")[0] == 0
    first = next(text for text in Path("o.txt").read_text().splitlines() if text and text[0] != "#")
    value = made.reshape(-1)[0]
    assert first.split()[0] == (line % value if line else str(value))
    assert store.run("add", "-t", type_name, "-T", T, "-f", "o.txt")[0] == 0
    found = store.got(T, type_name=type_name)
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (made.dtype, made.shape)
    assert np.allclose(found, made, atol=0.005)


@pytest.mark.parametrize(
    ("type_name", "shape", "says"),
    [
        ("common_mode", (8,), "but common_mode in"),
        ("pixel_mask", (3, 1, 4, 5), "are not those of pixel_gain"),
        ("pixel_mask", (3, 1, 4, 4), ""),
    ],
)
def test_a_shape_is_that_of_what_is_there(store: Store, type_name: str, shape: tuple[int, ...], says: str) -> None:
    there = {"common_mode": {(0.0, math.inf): {1: array(1, (16,))}}, "pixel_gain": {(0.0, math.inf): {1: array(1)}}}
    make_dcs(store.path, there)
    np.save("new.npy", array(2, shape))
    code, _, err = store.run("add", "-t", type_name, "-T", T, "-f", "new.npy")
    assert (code, says in err) == (2 if says else 0, True)


def test_a_link_stays_a_link_and_mode_and_group_stay(sound: Store) -> None:
    Path("real").mkdir()
    shutil.move(NAME, f"real/{NAME}")
    Path(NAME).symlink_to(f"real/{NAME}")
    os.chmod(f"real/{NAME}", 0o640)
    assert sound.add(2, T, "--filemode", "600")[0] == 0
    assert Path(NAME).is_symlink()
    assert stat.S_IMODE(os.stat(NAME).st_mode) == 0o640
    assert np.array_equal(sound.got(T), array(2))
    assert sorted(os.listdir("real")) == [".dcs-lock", NAME]


def test_a_new_file_has_its_mode_whatever_the_umask(store: Store) -> None:
    before = os.umask(0o077)
    try:
        store.add(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o664
    assert stat.S_IMODE(Path(".dcs-lock").stat().st_mode) == 0o664


@pytest.mark.parametrize("place", [NAME, "."])
def test_what_may_not_be_written_to_is_left(sound: Store, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != place and access(path, mode))
    before, names = sound.state(), sorted(os.listdir())
    code, _, err = sound.add(2)
    assert (code, f"{place} is not writable" in err) == (1, True)
    assert (sound.state(), sorted(os.listdir())) == (before, names)


# -- files of runs


@pytest.fixture
def calib(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A calibration directory, and the reference's tree of runs."""
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    Path("calib").mkdir()
    np.save("two.npy", array(1, (3, 2, 4, 4)))
    return Path("calib").resolve()


def test_a_run_says_file_and_time(calib: Path, store: Store) -> None:
    words = (*RUN, "-d", "Jungfrau.0", "-t", "pixel_gain", "-c", calib)
    code, _, err = run(store._capsys, "add", *words, "-f", "two.npy", "-m", "for the run")
    file = calib / "jungfrau" / f"jungfrau-{PAIR}.h5"
    assert (code, f"added pixel_gain/{BEGIN}-end/v0001 to {file}" in err) == (0, True)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o2775
    with open_dcs(file) as contents:
        held = contents.types[0].ranges[0]
    # The begin of the run is 0.123456789 s later: floored, it covers the run.
    assert held.start == BEGIN
    assert held.notes.parameters == {"experiment": "xcsls3716", "run": "631", "source": "Jungfrau.0"}
    assert run(store._capsys, "get", *words)[0] == 0
    assert np.array_equal(np.load(f"jungfrau-{PAIR}-pixel_gain.npy"), np.load("two.npy"))
    assert "ctype    pixel_gain" in run(store._capsys, "print", *words)[1]
    assert run(store._capsys, "delctype", *words)[0] == 0


def test_a_time_counts_also_for_a_run(calib: Path, store: Store) -> None:
    words = (*RUN, "-t", "pixel_gain", "-c", calib, "-T", 5)
    _, _, err = run(store._capsys, "add", *words, "-f", "two.npy")
    assert "added pixel_gain/5-end/v0001" in err
    assert run(store._capsys, "get", *words)[0] == 0


def test_the_default_directory_is_where_psana_reads(calib: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*RUN, "-t", "pixel_gain", "-f", "two.npy")
    code, _, err = run(store._capsys, "add", *words)
    assert (code, f"{XTC}/detector/calib/jungfrau does not exist" in err) == (1, True)
    Path("psdm").mkdir()
    for name in XTC.iterdir():
        Path("psdm", name.name).symlink_to(name)
    Path("psdm/detector/calib").mkdir(parents=True)
    monkeypatch.setenv("SIT_PSDM_DATA", str(Path("psdm").resolve()))
    assert run(store._capsys, "add", *words)[0] == 0
    assert Path(f"psdm/detector/calib/jungfrau/jungfrau-{PAIR}.h5").exists()


def test_an_id_too_long_for_a_name_needs_a_file(calib: Path, store: Store) -> None:
    words = ("-e", "xpptut15", "-r", "632", "-t", "pixel_gain")
    code, _, err = run(store._capsys, "get", *words, "-c", calib)
    assert (code, "the Id of the 32 panels of" in err, "pass FILE" in err) == (2, True, True)
    np.save("many.npy", array(1, (3, 32, 4, 4)))
    assert run(store._capsys, "add", "jungfrau-many.h5", *words, "-f", "many.npy", "-T", 5)[0] == 0
    code, _, err = run(store._capsys, "get", "jungfrau-many.h5", *words)
    assert (code, "jungfrau-many-pixel_gain.npy" in err) == (0, True)


def test_a_run_that_is_not_there_and_panels_without_ids(calib: Path, store: Store) -> None:
    code, _, err = run(store._capsys, "get", "-e", "xcsls3716", "-r", "999", "-t", "pixel_gain", "-c", calib)
    assert (code, err.count("\n")) == (3, 1)
    code, _, err = run(store._capsys, "get", "-e", "mfx00616", "-r", "8", "-t", "pixel_gain", "-c", calib)
    assert (code, err.startswith("dcs: error: ")) == (3, True)


def test_beside_a_file_the_run_is_a_note_without_any_tree(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``jungfrau_gain_constants -U`` prints it."""
    monkeypatch.setenv("SIT_PSDM_DATA", "/no/such/tree")
    Path("repository").mkdir()
    file = f"repository/jungfrau-{PAIR}.h5"
    np.save("gain.npy", array(1, (3, 2, 4, 4)))
    code, _, err = run(
        store._capsys,
        "add",
        file,
        "-t",
        "pixel_gain",
        "-f",
        "gain.npy",
        "-T",
        "1512519240",
        "-m",
        "See command: jungfrau_gain_constants",
        *RUN,
        "-d",
        "XcsEndstation.0:Jungfrau.0",
    )
    assert code == 0, err
    with open_dcs(Path(file)) as contents:
        assert contents.types[0].ranges[0].notes.parameters["source"] == "XcsEndstation.0:Jungfrau.0"


def test_what_jungfrau_gain_constants_prints_can_be_run(
    deploying_here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (deploying_here / "test").mkdir()
    monkeypatch.setenv("JFSTORE_TEST", str(deploying_here / "test"))
    assert jungfrau_gain_constants.main(["exp=xcsls3716:run=631", "Jungfrau.0", "-U"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("dcs add ")]
    assert len(lines) == 4
    monkeypatch.setenv("SIT_PSDM_DATA", "/no/such/tree")
    for line in lines:
        code, _, err = run(capsys, *shlex.split(line)[1:])
        assert code == 0, err
    for role in ("test", "real"):
        with open_dcs(deploying_here / role / f"jungfrau-{PAIR}.h5") as contents:
            assert [held.name for held in contents.types] == ["pixel_gain", "pixel_offset"]
            assert contents.types[0].ranges[0].start == BEGIN
    repository = jfstore.open(str(deploying_here / "real"))
    assert verify(repository).problems == ()
    assert original_answer(deploying_here / "real" / f"jungfrau-{PAIR}.h5", "pixel_gain", 1.6e9).tobytes() == (
        repository.get(PAIR, "pixel_gain", f"@{BEGIN}").tobytes()
    )
