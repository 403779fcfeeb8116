"""Deployed files: replaced at once, what was there kept, foreign ones left alone, the previous ones brought back."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jfstore.deployment.calibdir import CalibFile, find_files
from jfstore.deployment.deploy import Deployed, check
from jfstore.deployment.note import ReplacedFile, encode_note, read_note
from jfstore.deployment.undo import undo
from jfstore.errors import BadValue, Damaged, Failed, NotFound, Refused
from jfstore.fs import durable
from tests.makers import deployed as world
from tests.makers.deployed import PLACE, RUN, command, data_of, deploy_texts, deployment
from tests.makers.repositories import tree as snapshot


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    return tmp_path / "calib"


def put(calib: Path, seed: int, run: int = 631, replacing: bool = False, fmt: str | None = None) -> Deployed:
    file, note, array, pieces = deployment(calib, seed, run, fmt=fmt)
    check(file, note, array, replacing)
    return deploy_texts([(file, note, array, pieces)], replacing=replacing, copy_of=f"local-{seed}.txt")[0]


def text(seed: int) -> bytes:
    return b"".join(deployment(Path("x"), seed)[3])


def names(calib: Path) -> list[str]:
    return sorted(path.name for path in data_of(calib).parent.iterdir())


def history(calib: Path) -> list[str]:
    return (data_of(calib).parent / "HISTORY").read_text().splitlines()


def seeds_noted(calib: Path) -> list[int]:
    return [entry.time for entry in read_note(CalibFile(calib, world.SOURCE, "pixel_gain", 631))]


# -- deploying


def test_the_same_values_are_left_alone(calib: Path) -> None:
    assert put(calib, 1).state == "deployed"
    before = data_of(calib).stat()
    assert put(calib, 1) == Deployed(CalibFile(calib, world.SOURCE, "pixel_gain", 631), "unchanged")
    assert data_of(calib).stat().st_mtime_ns == before.st_mtime_ns
    assert names(calib) == ["631-end.data", "631-end.jfstore.json", "HISTORY"]
    assert len(history(calib)) == 1


def test_what_is_replaced_is_kept_as_a_dated_hard_link(calib: Path) -> None:
    put(calib, 1)
    inode = data_of(calib).stat().st_ino
    done = put(calib, 2)
    assert done.replaced
    assert re.fullmatch(r"631-end\.data-[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z", done.replaced)
    assert data_of(calib, name=done.replaced).stat().st_ino == inode
    assert data_of(calib).read_bytes() == text(2)
    assert [line.split()[1] for line in history(calib)] == ["copy_of:local-1.txt", "copy_of:local-2.txt"]
    assert seeds_noted(calib) == [2, 1]
    # psana reads what ends in .data only.
    assert [name for name in names(calib) if os.path.splitext(name)[1] == ".data"] == ["631-end.data"]


def test_what_jfstore_did_not_write_is_not_replaced(calib: Path) -> None:
    data_of(calib).parent.mkdir(parents=True)
    data_of(calib).write_bytes(b"1 2 3\n")
    with pytest.raises(Refused, match="was not written by jfstore; --replace"):
        put(calib, 1)
    assert names(calib) == ["631-end.data"]
    done = put(calib, 1, replacing=True)
    assert done.replaced
    assert data_of(calib, name=done.replaced).read_bytes() == b"1 2 3\n"
    assert put(calib, 2).state == "deployed"


def test_what_was_changed_by_hand_is_not_replaced(calib: Path) -> None:
    put(calib, 1)
    with data_of(calib).open("a") as file:
        file.write("\n")
    with pytest.raises(Refused, match="was changed after jfstore deployed it"):
        put(calib, 2)
    assert put(calib, 1).state == "unchanged", "its values are the same"
    assert put(calib, 2, replacing=True).state == "deployed"


def test_a_foreign_file_with_the_same_values_is_left_alone(calib: Path) -> None:
    data_of(calib).parent.mkdir(parents=True)
    data_of(calib).write_bytes(text(1))
    assert put(calib, 1).state == "unchanged"
    assert names(calib) == ["631-end.data", "HISTORY"]
    assert history(calib) == []


def test_rounded_values_are_other_values(calib: Path) -> None:
    put(calib, 1, fmt="%.4f")
    assert put(calib, 1).state == "deployed"
    assert put(calib, 1, fmt="%.4f").state == "deployed"


def test_one_of_the_pair_that_cannot_be_replaced_stops_both(deploying_here: Path) -> None:
    offset = data_of("calib", "pixel_offset")
    offset.parent.mkdir(parents=True)
    offset.write_bytes(b"1 2 3\n")
    code, out, err = command(["-d", RUN, "-R", "./real", "-D", "-c", "calib"])
    assert (code, out) == (5, "")
    assert "was not written by jfstore" in err
    assert not data_of("calib").exists()
    assert sorted(path.name for path in deploying_here.iterdir()) == ["calib", "real"]
    assert command(["-d", RUN, "-R", "./real", "-D", "-c", "calib", "--replace"])[0] == 0


def test_directories_that_are_there_keep_their_modes(calib: Path) -> None:
    calib.mkdir(mode=0o700)
    (calib / "geometry").mkdir()
    elsewhere = calib.parent / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (calib / "Jungfrau::CalibV1").symlink_to(elsewhere)
    put(calib, 1)
    assert (calib.stat().st_mode & 0o777, elsewhere.stat().st_mode & 0o777) == (0o700, 0o755)
    assert (elsewhere / world.SOURCE / "pixel_gain/631-end.data").exists()


@pytest.mark.parametrize("source", ["", ".", "..", "a/b", "../x", "a\0b"])
def test_a_source_that_leads_elsewhere_is_none(source: str) -> None:
    with pytest.raises(BadValue, match="is not a source"):
        CalibFile(Path("calib"), source, "pixel_gain", 1)


def test_old_temporaries_are_swept_away(calib: Path) -> None:
    put(calib, 1)
    for name, age in ((".tmp-1-old", 2 * 86400), (".tmp-2-new", 60)):
        path = data_of(calib, name=name)
        path.write_bytes(b"left")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    put(calib, 2)
    assert [name for name in names(calib) if name.startswith(".tmp")] == [".tmp-2-new"]


def test_what_does_not_read_back_replaces_nothing(calib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(durable.System):
        def sync(self, fd: int) -> None:
            super().sync(fd)
            os.pwrite(fd, b"?", 700)

    put(calib, 1)
    before = {path.name: path.read_bytes() for path in data_of(calib).parent.iterdir()}
    monkeypatch.setattr(durable, "system", Losing())
    with pytest.raises(Damaged, match="what was read back is not what was written"):
        put(calib, 2)
    assert {path.name: path.read_bytes() for path in data_of(calib).parent.iterdir()} == before


def test_without_room_for_the_second_of_a_pair_the_first_stays_too(
    calib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deploy_pair(seed: int) -> None:
        deploy_texts([deployment(calib, seed, calib_type=name) for name in world.TYPES])

    class Full(durable.System):
        def write(self, fd: int, buffers: Sequence[memoryview]) -> int:
            if "pixel_offset/.tmp" in os.readlink(f"/proc/self/fd/{fd}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(fd, buffers)

    deploy_pair(1)
    before = snapshot(calib)
    monkeypatch.setattr(durable, "system", Full())
    with pytest.raises(Failed, match=r"pixel_offset/631-end\.data: No space left"):
        deploy_pair(2)
    after = snapshot(calib)
    assert {name: what[2] for name, what in after.items()} == {name: what[2] for name, what in before.items()}


def test_a_deployment_that_never_came_is_forgotten(calib: Path) -> None:
    put(calib, 1)
    file, never, *_ = deployment(calib, 2)

    def note_it() -> None:
        there = ReplacedFile("631-end.data-2026-11-24T00:00:00.000000Z", read_note(file)[0].blake3)
        file.note.write_bytes(encode_note(file, [replace(never, replaced=there), *read_note(file)]))

    note_it()
    put(calib, 3)
    assert seeds_noted(calib) == [3, 1]
    note_it()
    # Undoing it is done with it; what is there is what was there before.
    undo(file)
    assert data_of(calib).read_bytes() == text(3)
    assert seeds_noted(calib) == [3, 1]


def test_a_link_that_leads_nowhere_is_not_ours_to_replace(calib: Path) -> None:
    data_of(calib).parent.mkdir(parents=True)
    data_of(calib).symlink_to("elsewhere")
    with pytest.raises(Refused, match="was not written by jfstore"):
        put(calib, 1)
    kept = put(calib, 1, replacing=True).replaced
    assert kept
    assert os.readlink(data_of(calib, name=kept)) == "elsewhere"
    assert not data_of(calib).is_symlink()


def test_the_same_values_from_another_place_are_noted(calib: Path) -> None:
    put(calib, 1)
    file, note, array, pieces = deployment(calib, 1)
    elsewhere = replace(note, origin={"gains": "/tree"}, call="another")
    assert deploy_texts([(file, elsewhere, array, pieces)])[0].state == "unchanged"
    (noted,) = read_note(file)
    assert (noted.origin, noted.call) == ({"gains": "/tree"}, "call 1")
    put(calib, 2)
    file, note, array, pieces = deployment(calib, 2)
    deploy_texts([(file, replace(note, origin={"gains": "/tree"}), array, pieces)])
    assert [entry.time for entry in read_note(file)] == [2, 1]


# -- bringing back


def test_undoing_goes_back_step_by_step(calib: Path) -> None:
    file = CalibFile(calib, world.SOURCE, "pixel_gain", 631)
    for seed in (1, 2, 3):
        put(calib, seed)
    for seed in (2, 1):
        done = undo(file)
        assert done.state == "restored"
        assert data_of(calib).read_bytes() == text(seed)
        assert seeds_noted(calib)[0] == seed
        assert done.replaced
        assert data_of(calib, name=done.replaced).read_bytes() == text(seed + 1), "what was undone is kept"
    assert undo(file).state == "removed"
    assert not data_of(calib).exists()
    with pytest.raises(NotFound, match="deployed nothing there that could be undone"):
        undo(file)
    assert [line.split("cmt:jfstore ")[1].split()[0] for line in history(calib)][3:] == ["undo"] * 3
    assert put(calib, 3).state == "deployed"


def test_undoing_brings_a_foreign_file_back(calib: Path) -> None:
    data_of(calib).parent.mkdir(parents=True)
    data_of(calib).write_bytes(b"1 2 3\n")
    put(calib, 1, replacing=True)
    assert undo(CalibFile(calib, world.SOURCE, "pixel_gain", 631)).state == "restored"
    assert data_of(calib).read_bytes() == b"1 2 3\n"


def test_what_was_changed_by_hand_is_not_undone_without_a_word(calib: Path) -> None:
    file = CalibFile(calib, world.SOURCE, "pixel_gain", 631)
    put(calib, 1)
    put(calib, 2)
    data_of(calib).write_bytes(b"mine\n")
    with pytest.raises(Refused, match="was changed after it was deployed"):
        undo(file)
    assert data_of(calib).read_bytes() == b"mine\n"
    done = undo(file, replacing=True)
    assert done.replaced
    assert data_of(calib, name=done.replaced).read_bytes() == b"mine\n"
    assert data_of(calib).read_bytes() == text(1)


def test_what_was_changed_and_has_nothing_before_it_is_not_called_restored(calib: Path) -> None:
    put(calib, 1)
    kept = put(calib, 2).replaced
    assert kept
    data_of(calib, name=kept).unlink()
    with data_of(calib).open("a") as file:
        file.write("# mine\n")
    with pytest.raises(Refused, match="was changed after it was deployed"):
        undo(CalibFile(calib, world.SOURCE, "pixel_gain", 631))
    with pytest.raises(NotFound, match="is gone"):
        undo(CalibFile(calib, world.SOURCE, "pixel_gain", 631), replacing=True)
    assert seeds_noted(calib) == [2, 1]


def test_what_is_gone_cannot_be_brought_back(calib: Path) -> None:
    put(calib, 1)
    kept = put(calib, 2).replaced
    assert kept
    data_of(calib, name=kept).unlink()
    data_of(calib).write_bytes(text(2))
    with pytest.raises(NotFound, match="is gone, so it cannot be brought back"):
        undo(CalibFile(calib, world.SOURCE, "pixel_gain", 631))
    assert data_of(calib).read_bytes() == text(2)


def on(*words: object) -> tuple[int, str, str]:
    return command(words, "jfstore")


def states(out: str) -> list[tuple[str, str]]:
    rows = [line.split("\t") for line in out.splitlines()[1:]]
    return [(state, calib_type) for state, calib_type, *_ in rows]


def test_deploy_and_undo_by_run(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jfstore

    assert states(on("deploy", RUN, "-c", "calib")[1]) == [("deployed", name) for name in world.TYPES]
    first = {name: data_of("calib", name).read_bytes() for name in world.TYPES}
    world.add_constants(jfstore.open("real"), 7)
    on("deploy", RUN, "-c", "calib")
    world.add_constants(jfstore.open("real"), 8, types=["pixel_gain"])
    code, out, err = on("deploy", RUN, "-c", "calib")
    assert (code, states(out)) == (0, [("deployed", "pixel_gain"), ("unchanged", "pixel_offset")])
    assert "come from different versions" in err
    monkeypatch.setenv("SIT_PSDM_DATA", "/nowhere")
    # One of the pair came alone, so it goes alone.
    code, out, _ = on("deploy", RUN, "-c", "calib", "--undo")
    assert (code, states(out)) == (0, [("restored", "pixel_gain")])
    code, out, _ = on("deploy", RUN, "Jungfrau.0", "-c", "calib", "--undo")
    assert (code, states(out)) == (0, [("restored", name) for name in world.TYPES])
    assert {name: data_of("calib", name).read_bytes() for name in world.TYPES} == first
    code, out, err = on("deploy", "-e", "xcsls3716", "-r", "631", "-d", world.SOURCE, "-c", "calib", "--undo")
    assert (code, states(out)) == (0, [("removed", name) for name in world.TYPES])
    assert "631-end.data: removed, for there was no file before" in err
    code, _, err = on("deploy", RUN, "-c", "calib", "--undo")
    assert code == 3
    assert "nothing was deployed by jfstore for run 631" in err


def test_a_dry_run_says_what_would_change_and_changes_nothing(deploying_here: Path) -> None:
    code, out, err = on("deploy", RUN, "-c", "calib", "--dry-run")
    assert (code, states(out)) == (0, [("would deploy", name) for name in world.TYPES])
    assert f"{world.PANELS[0]}/{world.STAMP}/v1" in err
    assert not Path("calib").exists()
    on("deploy", RUN, "-c", "calib")
    before = snapshot(Path("calib"))
    assert states(on("deploy", RUN, "-c", "calib", "--dry-run")[1]) == [("unchanged", name) for name in world.TYPES]
    code, out, _ = on("deploy", RUN, "-c", "calib", "--undo", "--dry-run")
    assert (code, states(out)) == (0, [("would undo", name) for name in world.TYPES])
    assert snapshot(Path("calib")) == before
    data_of("calib").write_bytes(b"1\n")
    assert on("deploy", RUN, "-c", "calib", "--dry-run")[0] == 5


def test_undoing_takes_back_what_the_last_call_brought_and_nothing_else(deploying_here: Path) -> None:
    on("deploy", RUN, "-c", "calib")
    data_of("calib", "pixel_offset").unlink()
    code, out, _ = on("deploy", RUN, "-c", "calib")
    assert states(out) == [("unchanged", "pixel_gain"), ("deployed", "pixel_offset")]
    code, out, _ = on("deploy", RUN, "-c", "calib", "--undo")
    assert (code, states(out)) == (0, [("removed", "pixel_offset")])
    assert data_of("calib").exists()


def test_one_of_a_pair_that_was_stopped_goes_with_the_other(deploying_here: Path) -> None:
    import jfstore

    on("deploy", RUN, "-c", "calib")
    before = {name: data_of("calib", name).read_bytes() for name in world.TYPES}
    world.add_constants(jfstore.open("real"), 7)
    on("deploy", RUN, "-c", "calib")
    # As if it was stopped before the offsets got their name.
    kept = next(path for path in data_of("calib", "pixel_offset").parent.iterdir() if path.name.endswith("Z"))
    kept.rename(data_of("calib", "pixel_offset"))
    told = data_of("calib", "pixel_offset", "HISTORY")
    told.write_text("".join(told.read_text().splitlines(keepends=True)[:-1]))
    world.add_constants(jfstore.open("real"), 8, "20190101000000")
    code, out, _ = on("deploy", RUN, "-c", "calib")
    assert states(out) == [("unchanged", "pixel_gain"), ("deployed", "pixel_offset")]
    code, out, _ = on("deploy", RUN, "-c", "calib", "--undo")
    assert (code, states(out)) == (0, [("restored", name) for name in world.TYPES])
    assert {name: data_of("calib", name).read_bytes() for name in world.TYPES} == before


def test_an_exact_source_is_meant_before_a_part_of_another(deploying_here: Path) -> None:
    on("deploy", RUN, "-c", "calib")
    other = data_of("calib").parents[1]
    shutil.copytree(other, other.with_name(f"{world.SOURCE}x"))
    code, out, _ = on("deploy", RUN, world.SOURCE, "-c", "calib", "--undo")
    assert (code, states(out)) == (0, [("removed", name) for name in world.TYPES])
    assert not data_of("calib").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["exp=xcsls3716:run=630", "-c", "calib"], 3, "for run 630"),
        ([RUN, "Jungfrau.1", "-c", "calib"], 3, "nothing of Jungfrau.1 was deployed"),
        ([RUN, "-c", "elsewhere"], 3, "nothing was deployed"),
        ([RUN, "-c", "calib", "-T", "now"], 2, "leave out --time"),
        ([RUN, "-c", "calib", "--repo", "real"], 2, "leave out --repo"),
        (["exp=xcsls3716:run=1-631", "-c", "calib"], 2, "for one run can be undone"),
        (["-c", "calib"], 2, "the dataset is missing"),
        ([RUN, "x", "-s", "y", "-c", "calib"], 2, "the source is given twice"),
    ],
)
def test_what_cannot_be_undone(deploying_here: Path, words: list[str], code: int, message: str) -> None:
    on("deploy", RUN, "-c", "calib")
    found, out, err = on("deploy", *words, "--undo")
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert data_of("calib").exists()


# -- notes


def test_a_note_says_what_psana_reads(calib: Path) -> None:
    put(calib, 1)
    file, note, *_ = deployment(calib, 1)
    assert read_note(file) == [note]
    body = json.loads(file.note.read_text())
    assert (body["format"], body["file"]) == (1, "631-end.data")
    assert body["deployments"][0]["detector"] == world.DETECTOR
    assert not file.note.name.endswith(".data")


def test_a_note_keeps_the_newest_only(calib: Path) -> None:
    file, note, *_ = deployment(calib, 1)
    assert len(json.loads(encode_note(file, [note] * 60))["deployments"]) == 50


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: b"{",
        lambda raw: b"[]",
        lambda raw: b"null",
        lambda raw: raw[:-40],
        lambda raw: raw.replace(b'"format": 1', b'"format": "2"'),
        lambda raw: b"[" * 100000,
        lambda raw: raw.replace(b"T00:14:00Z", b"T99:14:00Z"),
        lambda raw: raw.replace(b'"panels"', b'"p"'),
        lambda raw: raw.replace(b'"size": ', b'"size": "1" , "x": '),
        lambda raw: raw.replace(b'"replaced": null', b'"replaced": {"name": "HISTORY", "blake3": ""}'),
        lambda raw: raw.replace(b'"replaced": null', b'"replaced": {"name": "../631-end.data-1Z", "blake3": ""}'),
        lambda raw: raw.replace(b'"origin": {', b'"origin": 3, "o": {'),
    ],
)
def test_a_spoiled_note_is_none(calib: Path, spoil: Callable[[bytes], bytes]) -> None:
    put(calib, 1)
    file = CalibFile(calib, world.SOURCE, "pixel_gain", 631)
    raw = file.note.read_bytes()
    file.note.write_bytes(spoil(raw))
    assert file.note.read_bytes() != raw
    with pytest.raises(Damaged):
        read_note(file)
    # Without it nobody knows who wrote the file.
    with pytest.raises(Refused, match="was not written by jfstore"):
        put(calib, 2)
    assert put(calib, 2, replacing=True).state == "deployed"


def test_a_note_of_a_newer_jfstore_is_left_alone(calib: Path) -> None:
    put(calib, 1)
    file = CalibFile(calib, world.SOURCE, "pixel_gain", 631)
    file.note.write_bytes(file.note.read_bytes().replace(b'"format": 1', b'"format": 2'))
    before = snapshot(calib)
    with pytest.raises(Refused, match="was made by a newer jfstore"):
        put(calib, 2, replacing=True)
    with pytest.raises(Refused, match="was made by a newer jfstore"):
        undo(file)
    assert {name: what[2] for name, what in snapshot(calib).items()} == {n: what[2] for n, what in before.items()}


def test_which_names_psana_reads(calib: Path) -> None:
    directory = calib / PLACE / "pixel_gain"
    directory.mkdir(parents=True)
    read = ["0-end.data", "7-9.data", "0631-end.data", "9999-end.data"]
    ignored = ["x.data", "1-2-3.data", "10000-end.data", "1-99999.data", "a-end.data"]
    for name in [*read, *ignored, "HISTORY", "0-end.data-2018-01-01T00:00:00", "0-end.txt"]:
        (directory / name).write_text("1\n")
    (calib / "Epix::CalibV1/x/pixel_gain").mkdir(parents=True)
    (calib / "Epix::CalibV1/x/pixel_gain/0-end.data").write_text("1\n")
    listing = find_files(calib)
    found, others = listing.files, listing.ignored
    assert listing.problems == ()
    assert [file.name for file in found] == ["0-end.data", "7-9.data", "0631-end.data", "9999-end.data"]
    assert sorted(Path(name).name for name in others) == sorted(ignored)


# -- a reader beside it


def test_a_reader_finds_the_old_or_the_new_file_whole(calib: Path) -> None:
    redeploy(calib, 40)


@pytest.mark.full
def test_a_reader_during_a_thousand_redeployments(calib: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reads = redeploy(calib, 1000)
    with capsys.disabled():
        print(f"\n{reads} reads during 1000 redeployments: none torn, none missing")


def redeploy(calib: Path, times: int) -> int:
    """Deploy two files in turn while a reader reads; return how often it did."""
    put(calib, 1)
    whole = {text(1), text(2)}
    wrong: list[str] = []
    reads, stop = 0, threading.Event()

    def read() -> None:
        nonlocal reads
        while not stop.is_set():
            try:
                if data_of(calib).read_bytes() not in whole:
                    wrong.append("torn")
            except FileNotFoundError:
                wrong.append("missing")
            reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(times):
            assert put(calib, 2 - number % 2).state == "deployed"
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert reads > times // 10
    assert len(history(calib)) == times + 1
    return reads


def test_numpy_reads_what_is_deployed(calib: Path) -> None:
    put(calib, 1)
    assert np.loadtxt(data_of(calib)).astype(np.float32).tobytes() == world.constants(1).tobytes()
