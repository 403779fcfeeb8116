"""Hostile arguments in every position of every command: only jfstore's own errors, and nothing written elsewhere."""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.makers.deployed import RUN
from tests.makers.hostile import Found, World, complaint, said
from tests.makers.repositories import LATER, STAMP, A, B
from tests.makers.telling import XTC

GAIN = "pixel_gain"
LONG = "9" * 5000
PIECES = (
    "/",
    "..",
    "../",
    "\0",
    "\n",
    "\t",
    "\r\n",
    "\x1b[31m",
    "\uff12\uff10\uff11\uff18",
    "\u0663",
    "²",
    "\udcff",
    "-",
    "--",
    "_",
    "%s%n",
    "{0}",
    "'; true '",
    "$(true)",
    "\u202e",
    "é",
    "e\u0301",
    " ",
    "*",
    "~",
    "@",
    "v",
    "0x",
    "nan",
    "1e9",
    "9" * 30,
    LONG,
)
WHOLE = (
    "",
    "-",
    "--",
    "..",
    ".",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "../../..",
    "x" * 300,
    "x" * 5000,
    "a/" * 3000,
    "\0",
    "now",
    "@0",
    "@99999999999",
    "@-1",
    "00000000000000",
    "20180311023000",
    "20181104013000",
    "20180306",
    "2018030600000000",
    "\uff12\uff10\uff11\uff18\uff10\uff13\uff10\uff16\uff10\uff10\uff10\uff10\uff10\uff10",
    "2018-03-06T00:00:00",
    "2018-03-06T00:00:00+99:99",
    LONG,
    "-1",
    f"{A}_{A}",
    f"{A}/../{B}",
    "/".join([A, STAMP, "v0"]),
    f"{A}/{STAMP}/v{LONG}",
    "test",
    "real",
    "x://y",
    "\udcff.npy",
    "0" * 32,
    "f" * 32,
    "\uff11" * 32,
    "\udced\udca0\udc80",
    "_".join([A] * 2000),
    "0" * 10**5 + A,
    "nonexistent/x.npy",
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    return World(tmp_path).enter(monkeypatch)


def hostile(choose: random.Random, valid: str) -> str:
    if choose.random() < 0.45:
        return choose.choice(WHOLE)
    text = valid
    for _ in range(choose.randrange(1, 4)):
        place = choose.randrange(len(text) + 1)
        text = text[:place] + choose.choice(PIECES) + text[place + choose.randrange(3) :]
    return text


def commands() -> list[list[str]]:
    """Return every command with values in each position that takes one; the repository is the last."""
    why = ["-m", "why", "--request", "a" * 32]
    return [
        ["add", A, "-T", STAMP, "-t", GAIN, "-f", "gain.npy", *why, "--repo", "test"],
        ["add", "-d", A, "-T", STAMP, "-t", GAIN, "-f", "gain.npy", "--dry-run", *why, "--repo", "test"],
        ["add", A, "-T", STAMP, "-f", "gains/M044", "-m", "why", "--json", "--repo", "test"],
        ["get", A, "-T", LATER, "-t", GAIN, "--as-of", "3", "-v", "1", "--repo", "test"],
        ["get", f"{A}_{B}", "-T", LATER, "-t", GAIN, "-f", "-", "--repo", "test"],
        ["get", A, "-T", LATER, "--as-of", "2018-03-06T00:00:00Z", "--json", "--repo", "test"],
        ["get", A, "-T", LATER, "-t", GAIN, "-f", "o.npy", "--force", "--repo", "test"],
        ["get", A, "-T", LATER, "-f", "o.h5", "--repo", "test"],
        ["list", A, "-t", GAIN, "-T", LATER, "--repo", "test"],
        ["list", "-d", A, "--json", "--repo", "test"],
        ["show", f"{A}/{STAMP}/v1", "--repo", "test"],
        ["history", "--repo", "test"],
        ["import", "gains", *why, "--repo", "test"],
        ["promote", f"{B}/{STAMP}/v1", "--from", "S", *why, "--yes", "--repo", "test"],
        ["verify", "--quick", "--repo", "test"],
        ["deploy", RUN, "Jungfrau.0", "-T", LATER, "-c", "calib", "--repo", "test"],
        [
            "deploy",
            "-e",
            "xcsls3716",
            "-r",
            "631",
            "-d",
            "Jung",
            "-T",
            LATER,
            "-c",
            "calib",
            "--filemode",
            "664",
            "--dirmode",
            "2775",
            "--group",
            "root",
            "--format",
            "%.4f",
            "--replace",
            "--repo",
            "test",
            "--json",
        ],
        ["deploy", RUN, "-s", "Jungfrau.0", "-c", "calib", "--undo"],
        ["audit", "calib", "-e", "xcsls3716", "--repo", "test"],
        ["init", "./N", "--role", "test", "--shape", "3x4x8", "--zone", "UTC", "--detector", "jungfrau"],
    ]


def written(argv: list[str]) -> list[str]:
    """Return the place that the command was told to write, beside the repository."""
    if argv[0] == "init":
        return argv[1:2]
    flags = {"get": "-f", "deploy": "-c"}
    return [value for flag, value in pairwise(argv) if flag == flags.get(argv[0])]


def is_outside(world: World, place: str) -> bool:
    return "\0" in place or not os.path.realpath(place).startswith(f"{world.top}/")


def some_arguments(world: World, count: int, seed: int) -> Found:
    choose = random.Random(seed)
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    templates = commands()
    before = world.outside()
    for _ in range(count):
        argv = list(choose.choice(templates))
        places = [place for place in range(1, len(argv)) if not argv[place].startswith("-") or argv[place] == "-"]
        for place in choose.choices(places, k=choose.choice([1, 1, 1, 2])):
            argv[place] = hostile(choose, argv[place])
        # What it is told to write must be in the world that is looked at.
        if argv[0] in ("init", "deploy") and any(is_outside(world, place) for place in written(argv)):
            continue
        wrong = complaint(argv)
        after = world.outside()
        if after != before:
            told = [os.path.abspath(place) for place in written(argv) if "\0" not in place]
            changed = [name for name in after.keys() | before.keys() if after.get(name, 0) != before.get(name, 0)]
            if lost := [name for name in changed if not any(name == t or name.startswith(f"{t}/") for t in told)]:
                wrong = f"changed {os.path.relpath(lost[0], world.top)}"
            for name in sorted(after.keys() - before.keys(), reverse=True):
                Path(name).rmdir() if os.path.isdir(name) else os.unlink(name)
            after = world.outside()
            before = after
        if wrong:
            bad[wrong] += 1
            examples.setdefault(wrong, argv)
    return bad, examples


def test_some_arguments(world: World) -> None:
    bad, examples = some_arguments(world, 300, 1)
    assert not bad, said(bad, examples)


@pytest.mark.full
def test_much_hostile_arguments(world: World) -> None:
    bad, examples = some_arguments(world, 4500, 100_000)
    print(f"arguments: 4500 inputs, {sum(bad.values())} bad")
    assert not bad, said(bad, examples)


def test_as_of_a_number_of_very_many_digits(world: World) -> None:
    assert complaint(["get", A, "-T", LATER, "--as-of", LONG, "--repo", "test"]) is None


def odd_name_is_printed(way: list[str]) -> bool:
    return complaint(["init", "n\udcff", "--role", "test", "--shape", "3x4x8", *way]) is None


def test_name_that_is_no_utf8_is_printed_as_json(world: World) -> None:
    assert odd_name_is_printed(["--json"])


def test_name_that_is_no_utf8_is_printed_in_a_row(world: World) -> None:
    assert odd_name_is_printed([])
