"""A calibration directory of psana1 is imported such that a repository answers for each run as psana does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jfstore
from jfstore.core.instants import parse_instant
from jfstore.errors import BadValue, Failed, NotFound, Refused
from jfstore.repository import Repository
from jfstore.repository.adding import Added
from tests.makers.calibdirs import (
    EXPERIMENT,
    SOURCES,
    START,
    P,
    Q,
    R,
    calibdir_of,
    choose,
    id_of,
    make_array,
    write_file,
    write_runs,
)
from tests.makers.repositories import new_repository, reopened, tree
from tests.makers.xtc import Panel

TYPES = ("pixel_gain", "pixel_offset", "pedestals", "pixel_rms", "pixel_status", "status_extra", "pixel_mask")
ONE = {number: (START + 3600 * number, [[P, Q]]) for number in range(1, 9)}
"""Eight runs of two panels, one an hour."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "psdm"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "psdm"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R")


def put(root: Path, name: str, seed: int, calib_type: str = "pedestals", panels: int = 2, source: int = 0) -> Path:
    """Write a file of constants."""
    return write_file(calibdir_of(root), SOURCES[source], calib_type, name, make_array(seed, calib_type, panels))


def take(repository: Repository, panel: Panel, calib_type: str, seconds: int) -> bytes | None:
    """Return the bits that the repository answers with for a panel, None if it has none."""
    try:
        return repository.get(id_of(panel), calib_type, f"@{seconds}.123456789").tobytes()
    except NotFound:
        return None


def seeds(repository: Repository, panel: Panel, place: int, calib_type: str = "pedestals") -> list[int | None]:
    """Return for each run of `ONE` which seed made what the repository answers with."""
    made = {np.take(make_array(seed, calib_type, 2), place, 1).tobytes(): seed for seed in range(10)}
    answers = [take(repository, panel, calib_type, seconds) for seconds, _ in ONE.values()]
    return [None if answer is None else made[answer] for answer in answers]


def reason_of(added: Added, name: str) -> str:
    """Return why a name was skipped."""
    found = [reason for skipped, reason in added.skipped if skipped.endswith(name)]
    assert len(found) == 1, added.skipped
    return found[0]


def test_each_run_gets_what_psana_takes(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    for seed, name in enumerate(["0-end.data", "3-end.data", "5-6.data"]):
        put(root, name, seed)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert (added.skipped, added.stated, added.seq) == ((), (), 1)
    for panel, place in ((P, 0), (Q, 1)):
        assert seeds(repository, panel, place) == [0, 0, 1, 1, 2, 2, 1, 1]
    assert len(added.versions) == 8
    assert sorted({version.about["range"] for version in added.versions}) == ["0-end", "3-end", "5-6"]
    first = repository.version(f"{id_of(P)}/20180403180000/v1")
    assert first.about == {"experiment": EXPERIMENT, "run": "0", "source": SOURCES[0], "range": "0-end"}
    assert first.origin is not None
    assert first.origin["kind"] == "calibdir"
    assert first.origin["path"] == str(calibdir_of(root))
    assert first.source == str(calibdir_of(root) / f"Jungfrau::CalibV1/{SOURCES[0]}/pedestals/0-end.data")


def test_where_psana_takes_nothing_a_panel_is_closed(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "2-3.data", 1)
    put(root, "6-6.data", 2)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert seeds(repository, P, 0) == [None, 1, 1, None, None, 2, None, None]
    assert [one.op for one in added.stated] == ["close"]
    assert (added.seq, added.commits) == (2, (1, 2))
    assert len(added.stated[0].names) == 4
    assert [str(change.end) for change in added.changes if change.panel == id_of(P)] == [
        "20180403210000",
        "20180404000000",
    ]


def test_a_second_import_commits_nothing(root: Path, repository: Repository, tmp_path: Path) -> None:
    write_runs(root, ONE)
    for seed, name in enumerate(["0-2.data", "4-end.data", "5-6.data"]):
        put(root, name, seed)
    repository.import_calibdir(calibdir_of(root), "calib")
    before = tree(tmp_path / "R")
    again = reopened(repository).import_calibdir(calibdir_of(root), "calib")
    assert (again.versions, again.stated, again.skipped, again.changes, again.seq) == ((), (), (), (), 2)
    assert len(again.unchanged) == 8
    assert tree(tmp_path / "R") == before


def test_a_dry_run_says_what_the_import_does(root: Path, repository: Repository, tmp_path: Path) -> None:
    write_runs(root, ONE)
    put(root, "2-3.data", 1)
    before = tree(tmp_path / "R")
    planned = repository.import_calibdir(calibdir_of(root), "calib", dry_run=True)
    assert tree(tmp_path / "R") == before
    made = repository.import_calibdir(calibdir_of(root), "calib")
    assert [v.name for v in planned.versions] == [v.name for v in made.versions]
    assert planned.stated[0].names == made.stated[0].names
    assert (planned.changes, planned.skipped) == (made.changes, made.skipped)


def test_an_import_that_was_interrupted_is_completed(
    root: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(root, ONE)
    put(root, "2-3.data", 1)
    publish = repository.storage.publish

    def fail(name: str, data: bytes, clock: int | None = None) -> None:
        if name == "log/0000000002.json":
            raise Failed("no space")
        publish(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(repository.storage, "publish", fail)
        with pytest.raises(Failed, match="no space") as caught:
            repository.import_calibdir(calibdir_of(root), "calib", request="12" * 16)
    assert caught.value.__notes__ == ["commit 1 was made before; a repetition completes it"]
    for _ in range(2):
        added = reopened(repository).import_calibdir(calibdir_of(root), "calib", request="12" * 16)
        assert (len(added.versions), len(added.stated[0].names), added.seq) == (2, 2, 2)
    assert seeds(reopened(repository), P, 0) == [None, 1, 1, None, None, None, None, None]


def test_runs_beyond_9999_get_what_run_9999_gets(root: Path, repository: Repository) -> None:
    write_runs(root, {9998: (START, [[P, Q]]), 12000: (START + 100, [[P, Q]])})
    put(root, "0-9998.data", 1)
    put(root, "9999-end.data", 2)
    assert repository.import_calibdir(calibdir_of(root), "calib").skipped == ()
    answers = [take(repository, P, "pedestals", START + more) for more in (0, 100)]
    assert answers == [make_array(seed, "pedestals", 2)[:, 0].tobytes() for seed in (1, 2)]


def test_every_type_that_psana1_reads_keeps_its_bits(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    for name in TYPES:
        put(root, "1-end.data", 4, name)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert added.skipped == ()
    for name in TYPES:
        array = make_array(4, name, 2)
        for place, panel in enumerate((P, Q)):
            expected = np.take(array, place, array.ndim - 3)
            got = repository.get(id_of(panel), name, f"@{START + 7200}")
            assert np.array_equal(got.reshape(expected.shape), expected), name
    status = next(v for v in added.versions if "pixel_status" in v.content).array("pixel_status")
    assert (status.dtype, status.converted_from) == ("<u8", "<u2")
    pair = [v for v in added.versions if "pixel_gain" in v.content]
    assert [sorted(v.content) for v in pair] == [["pixel_gain", "pixel_offset"]] * 2


def test_panels_that_change_places_or_leave(root: Path, repository: Repository) -> None:
    runs = {
        1: (START, [[P, Q]]),
        2: (START + 100, [[Q, P]]),
        3: (START + 200, [[P, R]]),
        4: (START + 300, [[P, Q]]),
        5: (START + 400, [[P]]),
        6: (START + 500, [[P, Q]]),
    }
    write_runs(root, runs)
    put(root, "0-end.data", 1)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    array = make_array(1, "pedestals", 2)
    for seconds, ([*panels],) in [(s, j) for s, j in runs.values()]:
        for place, panel in enumerate(panels):
            expected = array[:, place].tobytes() if len(panels) == 2 else None
            assert take(repository, panel, "pedestals", seconds) == expected
    assert "it has 2 panels, and MfxEndstation.0:Jungfrau.0 of exp=mfxls0816:run=5 has 1" in reason_of(
        added, "0-end.data"
    )


def test_a_panel_that_moves_to_another_jungfrau(root: Path, repository: Repository) -> None:
    write_runs(root, {1: (START, [[P], [Q]]), 2: (START + 100, [[Q], [P]]), 3: (START + 200, [[Q], [R]])})
    put(root, "0-end.data", 1, panels=1)
    put(root, "0-1.data", 2, panels=1, source=1)
    repository.import_calibdir(calibdir_of(root), "calib")
    one, two = (make_array(seed, "pedestals", 1)[:, 0].tobytes() for seed in (1, 2))
    found = [[take(repository, panel, "pedestals", START + s) for s in (0, 100)] for panel in (P, Q)]
    assert found == [[one, None], [two, one]]


def test_a_source_can_be_chosen(root: Path, repository: Repository) -> None:
    write_runs(root, {1: (START, [[P], [Q]])})
    put(root, "0-end.data", 1, panels=1)
    put(root, "0-end.data", 2, panels=1, source=1)
    added = repository.import_calibdir(calibdir_of(root), "calib", source="Jungfrau.1")
    assert [version.panel for version in added.versions] == [id_of(Q)]
    with pytest.raises(BadValue, match=r"has no source 'Jungfrau.2'"):
        repository.import_calibdir(calibdir_of(root), "calib", source="Jungfrau.2")


def test_the_path_or_the_caller_says_the_experiment(root: Path, repository: Repository, tmp_path: Path) -> None:
    write_runs(root, ONE)
    put(root, "0-end.data", 1)
    shutil.copytree(calibdir_of(root), tmp_path / "copy")
    with pytest.raises(BadValue, match="does not say the experiment: -e EXP"):
        repository.import_calibdir(tmp_path / "copy", "calib")
    assert len(repository.import_calibdir(tmp_path / "copy", "calib", experiment=EXPERIMENT).versions) == 2
    with pytest.raises(NotFound, match="no experiment mfxls0817"):
        repository.import_calibdir(tmp_path / "copy", "calib", experiment="mfxls0817")
    with pytest.raises(BadValue, match="MFX is an instrument, not an experiment"):
        repository.import_calibdir(tmp_path / "copy", "calib", experiment="MFX")


def test_another_directory_is_refused(root: Path, repository: Repository, tmp_path: Path) -> None:
    put(root, "0-end.data", 1)
    with pytest.raises(BadValue, match=r"has no directory Jungfrau::CalibV1$"):
        repository.import_calibdir(tmp_path, "calib")
    group = calibdir_of(root) / "Jungfrau::CalibV1"
    with pytest.raises(BadValue, match=f"did you mean {calibdir_of(root)}"):
        repository.import_calibdir(group, "calib")


def test_texts_of_the_directory_cannot_be_given(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "0-end.data", 1)
    with pytest.raises(BadValue, match="run=7: the calibration directory says that"):
        repository.import_calibdir(calibdir_of(root), "calib", about={"run": "7"})
    added = repository.import_calibdir(calibdir_of(root), "calib", about={"report": "R7"})
    assert {version.about["report"] for version in added.versions} == {"R7"}


# -- what changed since


def test_a_file_that_was_deployed_later_is_added(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    repository.import_calibdir(calibdir_of(root), "calib")
    put(root, "3-4.data", 2)
    put(root, "1-end.data", 3)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert added.skipped == ()
    assert seeds(repository, P, 0) == [3, 3, 2, 2, 3, 3, 3, 3]


def test_a_file_that_is_gone_is_reported(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    path = put(root, "3-4.data", 2)
    repository.import_calibdir(calibdir_of(root), "calib")
    path.unlink()
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert added.versions == ()
    reason = reason_of(added, "3-4.data")
    assert "and psana takes MfxEndstation.0:Jungfrau.0/pedestals/1-end.data for exp=mfxls0816:run=3" in reason
    repository.withdraw([reason.split()[0], reason.split()[0].replace(id_of(P), id_of(Q))], "gone")
    assert repository.import_calibdir(calibdir_of(root), "calib").skipped == ()
    assert seeds(repository, P, 0) == [1] * 8


def test_a_correction_is_not_undone(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    put(root, "4-5.data", 2)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    stamps = sorted({version.stamp for version in added.versions})
    better = {"pedestals": make_array(7, "pedestals", 2)[:, 0]}
    repository.add(id_of(P), stamps[1], better, "better")
    repository.withdraw(f"{id_of(P)}/{stamps[2]}/v1", "wrong")
    again = repository.import_calibdir(calibdir_of(root), "calib")
    assert (again.versions, again.stated, again.skipped) == ((), (), ())
    assert [note for note in again.notes if "5 runs, the first exp=mfxls0816:run=4, have other constants" in note]
    assert seeds(repository, P, 0) == [1, 1, 1, 7, 7, 7, 7, 7]


def test_a_close_that_was_undone_stays_undone(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-3.data", 1)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    closes = added.stated[0].names
    repository.withdraw(closes[0], "valid all the same")
    stamp = closes[1].split("/")[1]
    panel = closes[1].split("/")[0]
    repository.add(panel, stamp, {"pedestals": make_array(5, "pedestals", 2)[:, 0]}, "there are constants")
    again = repository.import_calibdir(calibdir_of(root), "calib")
    assert (again.versions, again.stated) == ((), ())


def test_experiments_that_take_turns(root: Path, repository: Repository) -> None:
    """The panels go to another experiment between two runs, and psana takes each experiment's own constants."""
    other = "mfxls0916"
    turns = {EXPERIMENT: (1, 3, 5, 6), other: (2, 4, 7)}
    for seed, (experiment, hours) in enumerate(turns.items()):
        write_runs(root, {n: (START + 3600 * h, [[P, Q]]) for n, h in enumerate(hours, 1)}, experiment)
        write_file(
            calibdir_of(root, experiment), SOURCES[0], "pedestals", "1-end.data", make_array(seed, "pedestals", 2)
        )
    notes = [
        [note for note in repository.import_calibdir(calibdir_of(root, experiment), "calib").notes if "again" in note]
        for experiment in (EXPERIMENT, other, EXPERIMENT)
    ]
    assert notes == [[], [f"the answers for runs of {EXPERIMENT} change, too: import its constants again"], []]
    assert seeds(repository, Q, 1)[:7] == [0, 1, 0, 1, 0, 0, 1]
    for experiment in turns:
        again = repository.import_calibdir(calibdir_of(root, experiment), experiment)
        assert (again.versions, again.stated, again.skipped) == ((), (), ())
        assert not [note for note in again.notes if "other constants" in note]


# -- runs


def test_runs_without_ids_need_a_statement(root: Path, repository: Repository) -> None:
    write_runs(root, ONE, version=2)
    put(root, "1-end.data", 1)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert added.versions == ()
    assert [name for name, _ in added.skipped] == ["exp=mfxls0816:run=1-8"]
    assert "has no panel Ids (psana.Jungfrau.ConfigV2); state them with jfstore runs --panels" in added.skipped[0][1]
    repository.run_panels(f"{id_of(Q)}_{id_of(P)}", f"exp={EXPERIMENT}:run=3-8", "as the logbook says")
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert [name for name, _ in added.skipped] == ["exp=mfxls0816:run=1-2"]
    assert seeds(repository, Q, 0) == [None, None, 1, 1, 1, 1, 1, 1]


def test_damaged_runs_are_reported(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    path = next((root / "MFX" / EXPERIMENT / "xtc").glob("*-r0004-*"))
    path.write_bytes(b"not XTC")
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert [name for name, _ in added.skipped] == ["exp=mfxls0816:run=4"]
    assert len(added.versions) == 2


def test_runs_of_one_second_that_differ_are_reported(root: Path, repository: Repository) -> None:
    write_runs(root, {1: (START, [[P, Q]]), 2: (START, [[P, Q]]), 3: (START + 1, [[P, Q]])})
    put(root, "1-end.data", 1)
    put(root, "2-2.data", 2)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert "started in the same second" in reason_of(added, "run=2")
    assert seeds(repository, P, 0)[:1] == [1]


def test_a_run_in_the_second_pass_of_an_hour(root: Path, repository: Repository) -> None:
    autumn = 1541322000  # 2018-11-04 09:00 UTC, 01:00 in Los Angeles for the second time
    write_runs(root, {1: (autumn - 86400, [[P, Q]]), 2: (autumn + 600, [[P, Q]]), 3: (autumn + 9000, [[P, Q]])})
    put(root, "1-end.data", 1)
    put(root, "2-2.data", 2)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert [note for note in added.notes if "second pass" in note]
    array = make_array(2, "pedestals", 2)[:, 0].tobytes()
    assert take(repository, P, "pedestals", autumn + 600) == array
    assert take(repository, P, "pedestals", autumn + 9000) == make_array(1, "pedestals", 2)[:, 0].tobytes()


def test_files_for_no_run_are_noted(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    for name in ("1-end.data", "100-end.data", "9-3.data"):
        put(root, name, 1)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert added.skipped == ()
    assert [note for note in added.notes if "100-end.data and 1 more for no run of mfxls0816" in note]


def test_joined_ids_are_one_panel(root: Path, repository: Repository) -> None:
    write_runs(root, {1: (START, [[P]]), 2: (START + 100, [[Q]]), 3: (START + 200, [[Q]])})
    put(root, "0-end.data", 1, panels=1)
    put(root, "3-end.data", 2, panels=1)
    repository.join_panels(id_of(P), id_of(Q), "new firmware")
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert [(v.panel, v.about["range"]) for v in added.versions] == [(id_of(P), "0-end"), (id_of(Q), "3-end")]
    assert take(repository, Q, "pedestals", START + 100) == make_array(1, "pedestals", 1)[:, 0].tobytes()


# -- names and files that are of no use


def test_names_that_psana_does_not_read(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    directory = put(root, "1-end.data-2018-04-04T10:00:00", 2).parent
    (directory / "HISTORY").write_text("file:1-end.data")
    (directory / "1-end.jfstore.json").write_text("{}")
    for name in ("10000-end.data", "2-10000.data", "x-end.data", "1-2-3.data", "2 -end.data", "-1-end.data", "3.data"):
        put(root, name, 3)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert len(added.skipped) == 7
    assert {reason for _, reason in added.skipped} == {
        "psana reads only <run>-end.data and <run>-<last run>.data, with runs up to 9999"
    }
    assert seeds(repository, P, 0) == [1] * 8


def test_two_names_of_one_range_are_ambiguous(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    put(root, "3-5.data", 2)
    put(root, "03-5.data", 3)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert "have the same range" in reason_of(added, "/3-5.data")
    assert "have the same range" in reason_of(added, "/03-5.data")
    assert seeds(repository, P, 0) == [1, 1, None, None, None, 1, 1, 1]


def test_types_that_are_not_stored_are_reported(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    for name in ("geometry", "common_mode", "pixel_bkgd", "pixel_max", "empty"):
        directory = calibdir_of(root) / "Jungfrau::CalibV1" / SOURCES[0] / name
        directory.mkdir()
        if name != "empty":
            (directory / "0-end.data").write_text("1 2 3\n")
    added = repository.import_calibdir(calibdir_of(root), "calib")
    reasons = {name.split("/")[1]: reason for name, reason in added.skipped}
    assert sorted(reasons) == ["common_mode", "geometry", "pixel_bkgd", "pixel_max"]
    assert "is not of a panel" in reasons["geometry"]
    assert reasons["pixel_max"] == "psana1 does not read this calibration type"


def change(path: Path, old: bytes, new: bytes) -> None:
    """Replace the last occurrence of some bytes."""
    head, found, tail = path.read_bytes().rpartition(old)
    assert found
    path.write_bytes(head + new + tail)


def change_value(path: Path, value: bytes) -> None:
    """Replace the last value."""
    path.write_bytes(path.read_bytes().rstrip().rpartition(b" ")[0] + b" " + value + b"\n")


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def drop_header(path: Path) -> None:
    path.write_bytes(b"\n".join(line for line in path.read_bytes().split(b"\n") if line[:1] != b"#"))


def write_numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 2, 4, 8), "f4"))


def exchange_sizes(path: Path) -> None:
    change(path, b"DIM:2       4", b"DIM:2       8")
    change(path, b"DIM:3       8", b"DIM:3       4")


def write_three_panels(path: Path) -> None:
    write_file(path.parents[3], SOURCES[0], "pedestals", path.name, make_array(1, "pedestals", 3))


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link out": (lambda path: replace(path, lambda path: path.symlink_to("/etc/hostname")), "leads out"),
    "a link up": (lambda path: replace(path, lambda path: path.symlink_to("../../../../x")), "leads out"),
    "a dangling link": (lambda path: replace(path, lambda path: path.symlink_to("none.data")), "no such file"),
    "a loop of links": (lambda path: replace(path, lambda path: path.symlink_to(path.name)), "symbolic link"),
    "a FIFO": (lambda path: replace(path, os.mkfifo), "not a regular file"),
    "a directory": (lambda path: replace(path, Path.mkdir), "not a regular file"),
    "an empty file": (lambda path: path.write_bytes(b""), "the file ends before any value"),
    "a file of zeros": (lambda path: path.write_bytes(b"\0" * 4096), "not a finite number"),
    "a huge file": (lambda path: os.truncate(path, 1 << 40), "more than the"),
    "an array of numpy": (write_numpy, "line 1: "),
    "NaN": (lambda path: change_value(path, b"nan"), "'nan' is not a finite number"),
    "infinity": (lambda path: change_value(path, b"1e999"), "'1e999' is not a finite number"),
    "too large for float32": (lambda path: change_value(path, b"1e99"), "not finite in float32"),
    "a huge shape": (lambda path: change(path, b"DIM:0       3", b"DIM:0       999999999"), "promises"),
    "another shape": (exchange_sizes, "is not the shape (3, panels, 4, 8) of pedestals"),
    "a row too short": (lambda path: change_value(path, b""), "values, the lines before have 8"),
    "no header": (drop_header, "is not the shape"),
    "another dtype": (lambda path: change(path, b"float32", b"object_"), "not a type of numbers"),
    "three panels": (write_three_panels, "it has 3 panels"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_cannot_be_stored_is_reported_and_its_runs_have_nothing(
    kind: str, root: Path, repository: Repository
) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    spoil, reason = HOSTILE[kind]
    spoil(put(root, "3-5.data", 2))
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert reason in reason_of(added, "/3-5.data")
    assert seeds(repository, P, 0) == [1, 1, None, None, None, 1, 1, 1]


def test_directories_that_lead_out_are_reported(root: Path, repository: Repository, tmp_path: Path) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    away = put(root, "1-end.data", 2, "pixel_rms").parent
    shutil.move(away, tmp_path / "away")
    away.symlink_to(tmp_path / "away")
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert "leads out of the calibration directory" in reason_of(added, "pixel_rms")
    assert {name for version in added.versions for name in version.content} == {"pedestals"}


def test_links_within_the_directory_are_followed(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    path = put(root, "1-end.data", 1)
    (path.parent / "4-5.data").symlink_to("../pedestals/2-2.data")
    put(root, "2-2.data", 2)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert added.skipped == ()
    assert seeds(repository, P, 0) == [1, 2, 1, 2, 2, 1, 1, 1]


def test_integers_that_psana_would_change_are_refused(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    array = make_array(1, "pixel_status", 2).astype("<i4")
    array[1, 1, 2, 3] = 65536
    write_file(calibdir_of(root), SOURCES[0], "pixel_status", "1-end.data", array)
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert "65536 is not a value of pixel_status, which psana1 reads as uint16" in reason_of(added, "1-end.data")


def test_odd_bytes_in_names(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    path = put(root, "1-end.data", 1)
    group = os.fsencode(path.parent.parent.parent)
    os.makedirs(group + b"/Mfx\xff\n.0/pedestals")
    Path(os.fsdecode(group + b"/Mfx\xff\n.0/pedestals/1-end.data")).write_text("1 2\n")
    Path(os.fsdecode(os.fsencode(path.parent) + b"/1\xff-end.data")).write_text("1 2\n")
    added = repository.import_calibdir(calibdir_of(root), "calib")
    assert len(added.versions) == 2
    assert len(added.skipped) == 1


def test_a_freeze_refuses_the_import(root: Path, repository: Repository) -> None:
    write_runs(root, ONE)
    put(root, "1-end.data", 1)
    repository.freeze("20190101000000", "paper")
    with pytest.raises(Refused, match="frozen"):
        repository.import_calibdir(calibdir_of(root), "calib")
    assert repository.log.table().seq == 1


# -- any files and runs

LAYOUTS: Sequence[Sequence[Sequence[Panel]]] = (
    [[P, Q]],
    [[P, Q]],
    [[Q, P]],
    [[P, R]],
    [[R]],
    [[P], [Q]],
    [[Q, R], [P]],
)
files = st.tuples(
    st.sampled_from(["pixel_gain", "pixel_offset", "pedestals"]),
    st.integers(0, 1),
    st.integers(0, 9),
    st.one_of(st.none(), st.none(), st.integers(0, 12)),
    st.sampled_from([1, 2, 2, 2, 0]),
)
runs = st.dictionaries(
    st.integers(1, 11), st.tuples(st.integers(0, 10**6), st.sampled_from(LAYOUTS)), min_size=1, max_size=9
)


@settings(max_examples=60, deadline=None)
@given(runs, st.lists(files, max_size=7, unique_by=lambda file: file[:4]))
def test_any_directory_answers_as_psana_does(
    made_runs: dict[int, tuple[int, Sequence[Sequence[Panel]]]], made_files: list[tuple[str, int, int, int | None, int]]
) -> None:
    seconds = [second for second, _ in made_runs.values()]
    if len(set(seconds)) < len(seconds):
        return
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        root = Path(directory)
        patch.setenv("SIT_PSDM_DATA", directory)
        patch.setenv("XDG_CACHE_HOME", f"{directory}/cache")
        write_runs(root, {run: (START + second, layout) for run, (second, layout) in made_runs.items()})
        group = calibdir_of(root) / "Jungfrau::CalibV1"
        group.mkdir(parents=True)
        contents: dict[tuple[str, str, str], np.ndarray | None] = {}
        for seed, (calib_type, source, first, last, panels) in enumerate(made_files):
            name = f"{first}-{'end' if last is None else last}.data"
            array = make_array(seed, calib_type, panels or 2)
            path = write_file(calibdir_of(root), SOURCES[source], calib_type, name, array)
            if not panels:
                path.write_text("broken")
            contents[SOURCES[source], calib_type, name] = array if panels else None
        repository = new_repository(root / "R")
        for attempt in range(2):
            added = repository.import_calibdir(calibdir_of(root), "calib")
            assert not attempt or (added.versions, added.stated) == ((), ())
            check_answers(repository, made_runs, contents)
        assert not [name for name, reason in added.skipped if "withdraw" in reason]
        assert not [note for note in added.notes if "other constants" in note]


def check_answers(
    repository: Repository,
    made_runs: dict[int, tuple[int, Sequence[Sequence[Panel]]]],
    contents: dict[tuple[str, str, str], np.ndarray | None],
) -> None:
    """Compare the repository's answers with what psana takes, for each run, panel and type."""
    for run, (second, layout) in made_runs.items():
        for source, panels in zip(SOURCES, layout, strict=False):
            for calib_type in ("pixel_gain", "pixel_offset", "pedestals"):
                names = [name for place, kind, name in contents if (place, kind) == (source, calib_type)]
                chosen = choose(names, run)
                array = contents[source, calib_type, chosen] if chosen else None
                for place, panel in enumerate(panels):
                    fits = array is not None and array.shape[1] == len(panels)
                    expected = array[:, place].tobytes() if fits and array is not None else None
                    assert take(repository, panel, calib_type, START + second) == expected, (run, panel, calib_type)


# -- there and back


def test_what_was_deployed_comes_back(root: Path, repository: Repository, tmp_path: Path) -> None:
    write_runs(root, ONE)
    for seed, hour in enumerate((0, 3)):
        start = parse_instant(f"@{START + 3600 * hour}", repository.zone)
        for place, panel in enumerate((P, Q)):
            arrays = {name: make_array(seed, name, 2)[:, place] for name in ("pixel_gain", "pixel_offset")}
            repository.add(id_of(panel), start, arrays, "first")
    for run in (1, 3):
        jfstore.deploy(f"exp={EXPERIMENT}:run={run}", repo=repository, from_test=True)
    back = new_repository(tmp_path / "B")
    assert back.import_calibdir(calibdir_of(root), "back").skipped == ()
    for run in ONE:
        for name in ("pixel_gain", "pixel_offset"):
            one, other = (
                each.get(f"exp={EXPERIMENT}:run={run}", name, source=SOURCES[0]).tobytes()
                for each in (repository, back)
            )
            assert one == other
    assert back.find(f"exp={EXPERIMENT}:run=5", ["pixel_gain", "pixel_offset"]).notes == ()
