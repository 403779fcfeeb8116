"""Changes of a DCS file that are killed, fail, or come two at a time: the old or the new file, and nothing lost."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jfstore.cli.programs import dcs
from jfstore.dcs.read import open_dcs
from jfstore.fs import durable
from tests.makers.children import CHILDREN
from tests.makers.dcs import NAME, array, make_dcs, run
from tests.proofs.harness import CHANGING, CODES, Failing, Helper, changes_something, count_calls, numbered
from tests.proofs.simfs import directory_in_memory

Capture = pytest.CaptureFixture[str]
T = 1_500_000_000
WHERE = ("-t", "pixel_gain", "-T", str(T))


@dataclass(frozen=True)
class Kind:
    """A kind of change: the words, the numbers that are there before and afterwards, and if done once more."""

    words: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    again: tuple[int, ...]

    def argv(self, place: Path) -> list[str]:
        command, *rest = (word.format(place=place) for word in self.words)
        return [command, str(place / NAME), *WHERE, *rest]


KINDS = {
    "add": Kind(("add", "-f", "{place}/3.npy", "-m", "why"), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "first add": Kind(("add", "-f", "{place}/1.npy", "-m", "why"), (), (1,), (1, 2)),
    "delversion": Kind(("delversion", "-m", "why"), (1, 2, 3), (1, 2), (1,)),
}


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    helper = Helper(tmp_path_factory.mktemp("helper") / "files")
    yield helper
    helper.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with directory_in_memory(tmp_path) as directory:
        yield directory / "world"


def start(place: Path, kind: str) -> None:
    """Make the world of a kind anew."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    np.save(place / "1.npy", array(1))
    np.save(place / "3.npy", array(3))
    if numbers := KINDS[kind].before:
        make_dcs(place / NAME, {"pixel_gain": {(float(T), math.inf): {number: array(number) for number in numbers}}})


def numbers_in(place: Path) -> tuple[int, ...]:
    """Return the versions that are there; for plain HDF5, each must be whole and hold what was given."""
    if not (place / NAME).exists():
        return ()
    with h5py.File(place / NAME) as file:
        held = file[f"pixel_gain/{T}-end"]
        numbers = tuple(int(name[1:]) for name in held if name.startswith("v0"))
        for number in numbers:
            assert held[f"v{number:04d}/version"][0] == number
            found = held[f"v{number:04d}/data"][()]
            # What is added after the third is the third, or the first, once more.
            assert any(np.array_equal(found, array(seed)) for seed in {min(number, 3), 1, 3}), f"v{number} is wrong"
    return numbers


def check(place: Path, kind: str, done: bool | None, capsys: Capture) -> None:
    """Check what a change that was stopped left behind, and do it once more."""
    there, expect = numbers_in(place), KINDS[kind]
    assert there in (expect.before, expect.after)
    if done is not None:
        assert (there == expect.after) == done
    left = {name for name in os.listdir(place) if not name.startswith(durable.TEMPORARY)}
    assert left <= {"1.npy", "3.npy", ".dcs-lock", NAME}
    code, _, err = run(capsys, *expect.argv(place))
    assert code == 0, err
    assert len(numbers_in(place)) == len(expect.after if there == expect.before else expect.again)


def calls_of(place: Path, kind: str, capsys: Capture) -> int:
    start(place, kind)
    with pytest.MonkeyPatch.context() as patch:
        names = count_calls(patch)
        assert run(capsys, *KINDS[kind].argv(place))[0] == 0
    assert numbers_in(place) == KINDS[kind].after
    return len(names)


def killed(place: Path, kind: str, helper: Helper, capsys: Capture, step: int) -> tuple[int, list[str]]:
    """Kill before every `step`-th call of `durable`, and after the last; return points and violations."""
    count = calls_of(place, kind, capsys)
    assert count >= 12
    wrong = []
    points = [(call, False) for call in range(0, count, step)] + [(count - 1, True)]
    for call, after in points:
        start(place, kind)
        status, _, err = helper.run(KINDS[kind].argv(place), call, after, program="programs.dcs")
        try:
            assert status == -9, f"was not killed: {err}"
            check(place, kind, None, capsys)
        except AssertionError as error:
            wrong.append(f"{kind}, {'after' if after else 'before'} call {call} of {count}: {error}")
    return len(points), wrong


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_calls(place: Path, kind: str, helper: Helper, capsys: Capture) -> None:
    _points, wrong = killed(place, kind, helper, capsys, step=5)
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
def test_killed_at_every_call(place: Path, helper: Helper, capsys: Capture) -> None:
    results = [killed(place, kind, helper, capsys, step=1) for kind in KINDS]
    wrong = [line for _, lines in results for line in lines]
    with capsys.disabled():
        print(f"\ndcs killed at {sum(points for points, _ in results)} calls of durable: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
def test_killed_at_every_system_call(place: Path, helper: Helper, capsys: Capture) -> None:
    assert shutil.which("strace"), "the full set needs strace"
    points, wrong = 0, []
    for kind in KINDS:
        start(place, kind)
        argv = KINDS[kind].argv(place)
        status, _out, err = helper.run(argv, strace=["-e", f"trace={CHANGING}"], program="programs.dcs")
        assert status == 0, err
        for name, nth, line in numbered(helper.traced()):
            # What it says on its descriptor 2 is its acknowledgement.
            if not changes_something(line) or not (str(place) in line or line.startswith("write(2<")):
                continue
            points += 1
            start(place, kind)
            inject = ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={nth}"]
            status, _out, err = helper.run(argv, strace=inject, program="programs.dcs")
            try:
                assert status == -9, f"was not killed: {err}"
                check(place, kind, True if err else None, capsys)
            except AssertionError as error:
                wrong.append(f"{kind}, {line[:120]}: {error}")
    with capsys.disabled():
        print(f"\ndcs killed at {points} system calls of {len(KINDS)} kinds: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)
    assert points >= 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.full)])
def test_a_call_that_fails_leaves_the_old_file_or_says_that_it_is_the_new(
    place: Path, kind: str, step: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    count = calls_of(place, kind, capsys)
    for call in range(0, count, step):
        for code in CODES if step == 1 else (CODES[call % len(CODES)],):
            start(place, kind)
            with monkeypatch.context() as patch:
                patch.setattr(durable, "system", Failing(call, code, call % 2 == 1))
                ended, out, err = run(capsys, *KINDS[kind].argv(place))
            errors = [line for line in err.splitlines() if line.startswith("dcs: error: ")]
            try:
                assert (ended in (0, 1, 75), out, len(errors)) == (True, "", int(ended != 0)), err
                check(place, kind, ended in (0, 75), capsys)
            except AssertionError as error:
                wrong.append(f"{kind}, {code} at call {call} of {count}: {error}")
    assert not wrong, "\n".join(wrong)


# -- two at a time


def add(place: str, seed: int, start: Any, ended: Any) -> None:
    start.wait()
    ended.put(dcs.main(["add", f"{place}/{NAME}", *WHERE, "-f", f"{place}/{seed}.npy", "-m", f"seed {seed}", "-i"]))


def race(place: Path, trials: int, new: bool) -> list[str]:
    """Let two add at once, time and again; return what was lost or damaged."""
    wrong = []
    for trial in range(trials):
        start(place, "first add" if new else "add")
        before = len(numbers_in(place))
        barrier, ended = CHILDREN.Barrier(2), CHILDREN.Queue()
        both = [CHILDREN.Process(target=add, args=(str(place), seed, barrier, ended)) for seed in (1, 3)]
        for child in both:
            child.start()
        codes = [ended.get(timeout=60) for _ in both]
        for child in both:
            child.join(60)
        with open_dcs(place / NAME) as contents:
            versions = contents.types[0].ranges[0].versions
            found = {version.blob.load().tobytes() for version in versions[before:] if version.blob}
        if codes != [0, 0] or len(versions) != before + 2 or found != {array(1).tobytes(), array(3).tobytes()}:
            wrong.append(f"trial {trial}: exit codes {codes}, {len(versions)} versions")
    return wrong


@pytest.mark.parametrize("new", [False, True], ids=["old file", "new file"])
@pytest.mark.parametrize("trials", [2, pytest.param(50, marks=pytest.mark.full)])
def test_two_adds_at_once_lose_nothing(
    trials: int, new: bool, place: Path, request: pytest.FixtureRequest, capsys: Capture
) -> None:
    wrong = race(place, trials, new)
    if trials > 2:
        with capsys.disabled():
            print(f"\n2 concurrent adds x {trials}: {len(wrong)} with a loss or damage")
    assert not wrong, "\n".join(wrong)


def test_a_file_that_changes_meanwhile_is_read_again(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the original, which knows nothing of our lock."""
    start(place, "add")
    stage: Callable[..., Path] = durable.stage

    def interrupted(*arguments: Any, **options: Any) -> Path:
        temporary = stage(*arguments, **options)
        if arguments[0].name == NAME:
            monkeypatch.setattr(durable, "stage", stage)
            monkeypatch.setattr("jfstore.dcs.write._LOCK", ".other-lock")
            assert run(capsys, "delversion", place / NAME, *WHERE, "-v", 1)[0] == 0
        return temporary

    monkeypatch.setattr(durable, "stage", interrupted)
    code, _, err = run(capsys, *KINDS["add"].argv(place))
    assert code == 0, err
    assert numbers_in(place) == (2, 3)


def test_the_lock_is_waited_for_and_no_lock_is_warned_of(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(place, "add")
    (place / ".dcs-lock").touch()
    monkeypatch.setattr("jfstore.dcs.write._WAIT", 0.1)
    with durable.hold_lock(place / ".dcs-lock") as had:
        assert had
        code, _, err = run(capsys, *KINDS["add"].argv(place))
    assert (code, "other programs have been changing files" in err) == (6, True)
    assert numbers_in(place) == (1, 2)
    (place / ".dcs-lock").unlink()
    (place / ".dcs-lock").symlink_to("nowhere")
    code, _, err = run(capsys, *KINDS["add"].argv(place))
    assert (code, "cannot lock" in err) == (0, True)
    assert numbers_in(place) == (1, 2, 3)
