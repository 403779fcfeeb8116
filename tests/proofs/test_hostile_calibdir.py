"""Hostile calibration directories: skipped or refused with jfstore's own errors, and nothing is written outside."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.makers.calibdirs import EXPERIMENT, SOURCES, START, P, Q, R, calibdir_of, make_array, write_file, write_runs
from tests.makers.hostile import Found, World, complaint, said
from tests.proofs.test_hostile_files import plant

TYPES = ("pixel_gain", "pixel_offset", "pedestals", "pixel_status", "pixel_mask")
NAMES = ("0-end.data", "2-3.data", "4-end.data", "5-5.data", "9999-end.data")
ODD = (
    *"10000-end.data 1-2-3.data x-end.data -m.data .data \u0663-end.data 00-end.data HISTORY geometry".split(),
    *("pedestals", "1-end.jfstore.json", "1-\udcff.data", "1-end\n.data", "1-\x1b[2J.data", f"{'0' * 60}1-end.data"),
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "world/a/b/psdm"))
    world = World(tmp_path).enter(monkeypatch)
    layouts = ([[P, Q]], [[P, Q]], [[Q, P]], [[P], [R]], [[P, Q]])
    write_runs(world.inside / "psdm", {n: (START + 60 * n, layout) for n, layout in enumerate(layouts, 1)})
    return world


def spoil_text(choose: random.Random, path: Path) -> None:
    """Change a text file such that it may not be one of constants any more."""
    data = bytearray(path.read_bytes())
    way = choose.randrange(6)
    if way == 0:
        del data[choose.randrange(len(data)) :]
    elif way == 1:
        for _ in range(choose.randrange(1, 9)):
            data[choose.randrange(len(data))] = choose.choice(b"\0\xff \n#-e.9nx")
    elif way == 2:
        words = [b"nan", b"inf", b"1e999", b"-1", b"9" * 400, b"0x10", b"1_0", b"\xd9\xa3"]
        data[data.rindex(b" ") :] = b" " + choose.choice(words) + b"\n"
    elif way == 3:
        sizes = [b"0", b"-3", b"99999999999", b"1" * 5000, b"3.0"]
        data = data.replace(b"DIM:0       3", b"DIM:0       " + choose.choice(sizes))
    elif way == 4:
        kinds = [b"object", b"|O", b"float16", b"uint64", b"complex64", b"M8[s]"]
        data = data.replace(b"float32", choose.choice(kinds))
    else:
        data = data[data.rindex(b"#") :] * choose.choice([1, 2, 50])
    path.write_bytes(bytes(data))


def make_calibdir(choose: random.Random, root: Path, victim: Path) -> None:
    """Make a calibration directory with things that do not belong there."""
    calibdir = calibdir_of(root)
    shutil.rmtree(calibdir, ignore_errors=True)
    for number in range(choose.randrange(1, 6)):
        panels = choose.choice([1, 2, 2, 2, 3])
        calib_type = choose.choice(TYPES)
        array = make_array(number, calib_type, panels)
        path = write_file(calibdir, choose.choice(SOURCES), calib_type, choose.choice(NAMES), array)
        if choose.random() < 0.4:
            spoil_text(choose, path)
    group = calibdir / "Jungfrau::CalibV1"
    for _ in range(choose.randrange(1, 4)):
        below = choose.choice(["", choose.choice(SOURCES), f"{choose.choice(SOURCES)}/{choose.choice(TYPES)}"])
        place = group / below / choose.choice([*ODD, *NAMES, *TYPES])
        if place.parent.is_dir() and not os.path.lexists(place):
            plant(choose, place, victim)


def some_calibdirs(world: World, count: int, seed: int) -> Found:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    victim = world.top / "world" / "victim"
    root = world.inside / "psdm"
    for _ in range(count):
        make_calibdir(choose, root, victim)
        before = {path: path.lstat().st_mtime_ns for path in sorted(calibdir_of(root).rglob("*"))}
        words = ["import", str(calibdir_of(root)), "--kind", "calibdir", "-e", EXPERIMENT, "-m", "hostile"]
        words += ["--repo", "test", *choose.choice([[], ["--json"], ["--dry-run"], ["-d", "Jungfrau.0"]])]
        if wrong := complaint(words):
            bad[wrong] += 1
            examples.setdefault(wrong, list(before))
        if before != {path: path.lstat().st_mtime_ns for path in sorted(calibdir_of(root).rglob("*"))}:
            bad["the directory was changed"] += 1
        if victim.read_text() != "not to be changed":
            bad["the victim was changed"] += 1
    return bad, examples


def test_some_calibdirs(world: World) -> None:
    bad, examples = some_calibdirs(world, 80, 1)
    assert not bad, said(bad, examples)


@pytest.mark.full
def test_much_hostile_calibdirs(world: World) -> None:
    bad, examples = some_calibdirs(world, 1000, 100_000)
    print(f"calibration directories: 1000 inputs, {sum(bad.values())} bad")
    assert not bad, said(bad, examples)
