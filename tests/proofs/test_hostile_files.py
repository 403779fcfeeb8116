"""Hostile .npy files and gain trees: refused with jfstore's own errors, and nothing is written outside."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.makers.gains import make_gain_tree
from tests.makers.hostile import Found, World, complaint, run, said
from tests.makers.repositories import SHAPE, STAMP, A, B, C, constants

GAIN = "pixel_gain"
LONG = "9" * 5000


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path).enter(monkeypatch)


# -- .npy files


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=array.dtype == object)
    return file.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    raw = text.encode("latin1") + b"\n"
    size = len(raw) if length is None else length
    return b"\x93NUMPY" + bytes(version) + size.to_bytes(2 if version[0] == 1 else 4, "little") + raw


def accepted(choose: random.Random) -> tuple[bytes, np.ndarray]:
    """Return a file that must be accepted, and what must be stored of it."""
    array = constants(choose.randrange(1000, 2000))
    order: Any = choose.choice("CF")
    array = np.asarray(array, choose.choice(["<f4", ">f4", "<f8", ">f8"]), order=order)
    return npy(array), array.astype("<f4")


def refused(choose: random.Random) -> bytes:
    """Return a file that must not be accepted."""
    array = constants(choose.randrange(1000, 2000))
    data = npy(array)
    place = tuple(choose.randrange(size) for size in SHAPE)
    shapes = [
        "(1099511627776,)",
        "(4294967296, 4294967296)",
        "(3, 4, -8)",
        "(3, 4, 8, 0)",
        "(3, 4)",
        "(3, 4.0, 8)",
        f"({LONG},)",
        "3",
        "()",
        "(" * 3000,
        "(3, 4, 8)" * 900,
        "None",
        "__import__('os').abort()",
    ]
    kinds = [
        "|O",
        "<f4, ",
        "<f2",
        "<i4",
        "<u8",
        "|V0",
        "|S0",
        "<U9",
        "<M8[s]",
        "<c8",
        "|b1",
        "<f16",
        "(2,)<f4",
        "\0",
        "",
    ]
    bomb = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {choose.choice(shapes)}, }}"
    kind = f"{{'descr': {choose.choice(kinds)!r}, 'fortran_order': False, 'shape': (3, 4, 8), }}"
    body = array.tobytes()
    way = choose.randrange(11)
    if way == 0:
        return npy(np.array([print, {"a": 1}, None], dtype=object))
    if way == 1:
        return data[: choose.randrange(len(data))]
    if way == 2:
        return data + bytes(choose.choice([1, 4, 384, 4096]))
    if way == 3:
        return header(choose.choice([bomb, kind]), (choose.choice([1, 2, 3]), 0)) + body
    if way == 4:
        array[place] = choose.choice([np.nan, np.inf, -np.inf, 0.0, -0.0])
        return npy(array)
    if way == 5:
        return npy(np.full(SHAPE, choose.choice([1e300, -1e39, 1e-60]), "<f8"))
    if way == 6:
        return npy(constants(1, shape=choose.choice([(3, 8, 4), (1, 4, 8), (2, 4, 8), (3, 4, 9), (96, 1, 1)])))
    if way == 7:
        return npy(constants(1).astype(choose.choice(["<i4", "<f2", "<c8", "|b1", "<u1", "<U5", "|S4", "<M8[s]"])))
    if way == 8:
        return data[:8] + choose.randbytes(2) + data[10:] if choose.random() < 0.5 else choose.randbytes(500)
    if way == 9:
        mess = bytearray(data)
        for _ in range(choose.randrange(1, 20)):
            mess[choose.randrange(6)] ^= choose.randrange(1, 256)
        return bytes(mess) if mess[:6] != data[:6] else b""
    return header(bomb, (2, 0), choose.choice([0, 1, 1 << 31, (1 << 32) - 1])) + body


def some_files(world: World, count: int, seed: int) -> Found:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    for number in range(count):
        taken = choose.random() < 0.2
        data, right = accepted(choose) if taken else (refused(choose), None)
        path = world.inside / "hostile.npy"
        path.write_bytes(data)
        stamp = f"20180306{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}"
        argv = ["add", B, "-T", stamp, "-t", GAIN, "-f", str(path), "-m", "hostile", "--repo", "test"]
        wrong = complaint(argv)
        if not wrong:
            code, _, err = run(["get", B, "-T", stamp, "-t", GAIN, "-f", "out.npy", "--force", "--repo", "test"])
            stored = np.load(world.inside / "out.npy")[:, 0] if code == 0 else np.zeros(1)
            if right is not None and stored.tobytes() != right.tobytes():
                wrong = f"accepted, and not stored bit for bit: {err}"
            if right is None and f"{B}/{stamp}/v1" in err:
                wrong = "accepted"
        if wrong:
            bad[wrong] += 1
            examples.setdefault(wrong, data[:200])
    return bad, examples


def test_some_files(world: World) -> None:
    bad, examples = some_files(world, 120, 1)
    assert not bad, said(bad, examples)


@pytest.mark.full
def test_much_hostile_files(world: World) -> None:
    bad, examples = some_files(world, 3000, 100_000)
    print(f"files: 3000 inputs, {sum(bad.values())} bad")
    assert not bad, said(bad, examples)


# -- gain trees


def plant(choose: random.Random, place: Path, victim: Path) -> None:
    """Put something at `place` that is no file or directory of a gain tree."""
    way = choose.randrange(12)
    if way == 0:
        os.mkfifo(place)
    elif way == 1:
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.open(place.parent, os.O_RDONLY)
            try:
                listening.bind(f"/proc/self/fd/{here}/{place.name}")
            finally:
                os.close(here)
    elif way == 2:
        targets = [
            "/dev/zero",
            "/dev/tty",
            "/proc/self/mem",
            "/",
            "..",
            ".",
            place.name,
            "../../a",
            str(victim),
            "M044/../..",
        ]
        place.symlink_to(choose.choice(targets))
    elif way == 3:
        texts = [
            "..",
            "../..",
            "/",
            "M044\0",
            "M044\nM044",
            "M044/../../..",
            "\udcff",
            "M" * 300,
            "M" * 255,
            "",
            "/dev/zero",
        ]
        place.write_bytes(choose.choice(texts).encode("utf-8", "surrogateescape"))
    elif way == 4 and os.getuid() == 0:
        os.mknod(place, 0o600 | 0o020000, os.makedev(1, 5))
    elif way < 8:
        place.write_bytes(refused(choose))
    elif way < 10:
        place.mkdir()
    else:
        os.link(victim, place)


def spoil_tree(choose: random.Random, tree: Path, victim: Path) -> None:
    names = [
        "0-0-0",
        "--1",
        f"{A}-20180230000000",
        f"{A}-99999999999999",
        f"{A}-2018030600000",
        f"{A}-\uff12\uff10\uff11\uff180306000000",
        "fffffffffffffffff-1-1",
        "a-b-c",
        "x\udcff",
        "x\ny",
        "x\x1b[2J",
        f"{B}-20190101000000",
        "M999",
        ".hidden",
        "-m",
        "g0_gain.npy",
        "\uff41-1-2",
        "1-2-3-4",
    ]
    for _ in range(choose.randrange(1, 4)):
        if choose.random() < 0.5:
            directory = choose.choice(["M044", "M068", "M088"])
            word = choose.choice(["gain", "offset"])
            place = tree / directory / f"g{choose.randrange(3)}_{word}.npy"
            place.unlink(missing_ok=True) if not place.is_dir() else place.rmdir()
        else:
            place = tree / os.fsdecode(choose.choice(names).encode("utf-8", "surrogateescape"))
        if not os.path.lexists(place):
            plant(choose, place, victim)


def some_trees(world: World, count: int, seed: int) -> Found:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    victim = world.top / "world" / "victim"
    for _ in range(count):
        tree = world.inside / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        make_gain_tree(tree, shape=SHAPE, as_text=choose.random() < 0.3)
        spoil_tree(choose, tree, victim)
        argv = ["import", str(tree), "-m", "hostile", "--repo", "test", *choose.choice([[], ["--json"]])]
        if choose.random() < 0.3:
            argv = [
                "add",
                C,
                "-T",
                STAMP,
                "-f",
                str(tree / choose.choice(["M044", "M068"])),
                "-m",
                "x",
                "--repo",
                "test",
            ]
        if wrong := complaint(argv):
            bad[wrong] += 1
            examples.setdefault(wrong, sorted(os.listdir(tree)))
        if victim.read_text() != "not to be changed":
            bad["the victim was changed"] += 1
    return bad, examples


def test_some_trees(world: World) -> None:
    bad, examples = some_trees(world, 60, 1)
    assert not bad, said(bad, examples)


@pytest.mark.full
def test_much_hostile_trees(world: World) -> None:
    bad, examples = some_trees(world, 1000, 100_000)
    print(f"trees: 1000 inputs, {sum(bad.values())} bad")
    assert not bad, said(bad, examples)
