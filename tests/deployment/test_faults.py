"""Deployments that are killed or meet a failing disk at any call: the old or the new file, and a rerun completes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.note import Deployment, read_note
from jfstore.formats.text import read_text
from jfstore.fs import durable
from tests.conftest import ROOT
from tests.makers import deployed as world
from tests.makers.deployed import RUN, TYPES, command, data_of
from tests.makers.telling import XTC
from tests.proofs.harness import CHANGING, Failing, Helper, changes_something, count_calls, numbered
from tests.proofs.simfs import directory_in_memory

LINE = re.compile(r"file:\S+ +copy_of:\S+ ctype:\S+ user:\S+ host:\S+ cptime:[0-9T:-]+ cwd:\S+ cmt:jfstore .*")
SEEDS = (7, 8)
"""Of the constants in the repository at first, and then."""


@dataclass(frozen=True)
class Kind:
    """A kind of deployment: the words after which command, and which files are there before and afterwards."""

    words: tuple[str, ...]
    prepared: Callable[[Path], None]
    before: int | None
    after: int | None


def _nothing(root: Path) -> None:
    """Nothing was deployed yet."""


def _deploy(root: Path) -> None:
    code, _, err = command(["deploy", RUN, "-c", root / "calib", "--repo", root / "first"], "jfstore")
    assert code == 0, err


def _deploy_twice(root: Path) -> None:
    _deploy(root)
    code, _, err = command(["deploy", RUN, "-c", root / "calib", "--repo", root / "second"], "jfstore")
    assert code == 0, err


def _without_history(root: Path) -> None:
    _deploy(root)
    for name in TYPES:
        (data_of(root / "calib", name).parent / "HISTORY").unlink()


_SECOND = ("--repo", "{root}/second")
KINDS = {
    "first": Kind(("deploy", *_SECOND), _nothing, None, SEEDS[1]),
    "replacing": Kind(("deploy", *_SECOND), _deploy, SEEDS[0], SEEDS[1]),
    "unchanged": Kind(("deploy", "--repo", "{root}/first"), _without_history, SEEDS[0], SEEDS[0]),
    "undo": Kind(("deploy", "--undo"), _deploy_twice, SEEDS[1], SEEDS[0]),
    "undo the first": Kind(("deploy", "--undo"), _deploy, SEEDS[0], None),
}


def argv(kind: str, root: Path) -> list[str]:
    first, *rest = (word.format(root=root) for word in KINDS[kind].words)
    return [first, RUN, "-c", str(root / "calib"), *rest]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stock = tmp_path_factory.mktemp("deploy") / "stock"
    stock.mkdir()
    for name, seed in zip(("first", "second"), SEEDS, strict=True):
        repository = jfstore.init(str(stock / name), "real", panel_shape=world.SHAPE)
        world.add_constants(repository, seed)
    return stock


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIT_PSDM_DATA", str(XTC))
        helper = Helper(tmp_path_factory.mktemp("helper") / "files")
    yield helper
    helper.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    with directory_in_memory(tmp_path) as directory:
        yield directory / "world"


def start(stock: Path, kind: str, place: Path) -> Path:
    """Make the world of `kind` anew at `place`."""
    made = stock.parent / f"made {kind}"
    if not made.exists():
        shutil.copytree(stock, made)
        KINDS[kind].prepared(made)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(made, place)
    # Copies are no hard links; the names of what is kept are what counts.
    return place


def seed_of(path: Path, calib_type: str) -> int | None:
    """Return which constants a file holds, None if it is not there; whatever else it holds is wrong."""
    if not path.exists():
        return None
    found = read_text(path).array.tobytes()
    (seed,) = [seed for seed in SEEDS if world.constants(seed, calib_type).tobytes() == found]
    return seed


def lines_of(root: Path, calib_type: str) -> list[str]:
    history = data_of(root / "calib", calib_type).parent / "HISTORY"
    text = history.read_text() if history.exists() else ""
    assert not text or text.endswith("\n"), "a line of HISTORY is not whole"
    lines = text.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), f"a line of HISTORY is not whole: {lines}"
    return lines


def note_of(root: Path, calib_type: str) -> list[Deployment]:
    return read_note(CalibFile(root / "calib", world.SOURCE, calib_type, 631))


def is_undone(root: Path, kind: str) -> bool:
    """Whether all is undone, so that once more would undo the deployment before it."""
    counts = {len(note_of(root, name)) for name in TYPES}
    return counts == {0 if KINDS[kind].after is None else 1}


def check(root: Path, kind: str) -> None:
    """Check what a deployment that was stopped leaves behind, and that a rerun completes it."""
    expect = KINDS[kind]
    for name in TYPES:
        directory = data_of(root / "calib", name).parent
        assert seed_of(directory / "631-end.data", name) in (expect.before, expect.after)
        lines_of(root, name)
        if directory.exists():
            assert [p.name for p in directory.iterdir() if p.name.endswith(".data")] in ([], ["631-end.data"])
    if "undo" not in kind or not is_undone(root, kind):
        code, _, err = command(argv(kind, root), "jfstore")
        assert code == 0, err
    for name in TYPES:
        path = data_of(root / "calib", name)
        assert seed_of(path, name) == expect.after, "a rerun did not complete it"
        lines = lines_of(root, name)
        if "undo" not in kind:
            seal = note_of(root, name)[0].blake3
            assert sum(seal[:12] in line for line in lines) == 1, f"not one line of HISTORY: {lines}"
        else:
            assert sum("cmt:jfstore undo" in line for line in lines) == 1, f"not one line of HISTORY: {lines}"
    if expect.after is not None and "undo" not in kind:
        repository = argv(kind, root)[-1]
        code, _, err = command(["audit", root / "calib", "--repo", repository], "jfstore")
        assert code == 0, err


def violations(
    stock: Path, place: Path, kind: str, points: Sequence[object], stop: Callable[[Path, object], None]
) -> list[str]:
    wrong = []
    for point in points:
        root = start(stock, kind, place)
        try:
            stop(root, point)
            check(root, kind)
        except (AssertionError, ValueError, jfstore.JfstoreError) as error:
            wrong.append(f"{kind}, {point}: {error}")
    return wrong


def calls_of(stock: Path, place: Path, kind: str) -> list[str]:
    """Let the deployment happen without a fault; return the names of its calls of `durable`."""
    root = start(stock, kind, place)
    with pytest.MonkeyPatch.context() as patch:
        names = count_calls(patch)
        code, _, err = command(argv(kind, root), "jfstore")
    assert code == 0, err
    check(root, kind)
    return names


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_call(stock: Path, helper: Helper, place: Path, kind: str) -> None:
    calls = calls_of(stock, place, kind)

    def stop(root: Path, call: object) -> None:
        assert isinstance(call, int)
        status, _, err = helper.run(argv(kind, root), call, call == len(calls) - 1)
        assert status == -9, f"was not killed: {err}"

    assert len(calls) >= 8
    wrong = violations(stock, place, kind, range(len(calls)), stop)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
def test_every_call_fails(stock: Path, place: Path, kind: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(stock, place, kind)

    def stop(root: Path, point: Any) -> None:
        call, for_ever = point
        with monkeypatch.context() as patch:
            patch.setattr(durable, "system", Failing(call, code, for_ever))
            status, out, err = command(argv(kind, root), "jfstore")
        errors = [line for line in err.splitlines() if line.startswith("jfstore: error: ")]
        assert status in (0, 1), err
        assert len(errors) == (status == 1), err
        assert not errors or (str(root) in errors[0] and out == ""), err

    points = [(call, for_ever) for call in range(len(calls)) for for_ever in (False, True)]
    wrong = violations(stock, place, kind, points, stop)
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC"])
def test_at_every_system_call(
    stock: Path, helper: Helper, place: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shutil.which("strace"), "the full set needs strace"
    total, wrong = 0, []
    for kind in KINDS:
        root = start(stock, kind, place)
        status, _, err = helper.run(argv(kind, root), strace=["-e", f"trace={CHANGING}"])
        assert status == 0, err
        points = [
            (name, nth)
            for name, nth, line in numbered(helper.traced())
            if str(root / "calib") in line and changes_something(line)
        ]
        total += len(points)

        def stop(root: Path, point: Any, kind: str = kind) -> None:
            name, nth = point
            inject = ["-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={nth}"]
            status, _, err = helper.run(argv(kind, root), strace=inject)
            assert status in ((-9,) if "KILL" in fault else (0, 1)), err

        wrong += violations(stock, place, kind, points, stop)
    with capsys.disabled():
        print(f"\n{fault} at {total} system calls of {len(KINDS)} kinds of deployment: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)
    assert total >= 100


@pytest.mark.parametrize("times", [1, pytest.param(50, marks=pytest.mark.full)])
def test_eight_deployments_of_different_runs_at_once(
    stock: Path, place: Path, command_environment: dict[str, str], times: int
) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.makers.deployed import *\n"
        "for n in range(int(sys.argv[2])):\n"
        "    for name in TYPES:\n"
        "        deploy_texts([deployment(Path(sys.argv[1]), 1, 10 * n + int(sys.argv[3]), name)])\n"
    )
    root = start(stock, "first", place)
    words = [sys.executable, "-c", program, str(root / "calib"), str(times)]
    deployments = [subprocess.Popen([*words, str(run)], cwd=ROOT, env=command_environment) for run in range(8)]
    assert [each.wait() for each in deployments] == [0] * 8
    runs = [10 * n + run for n in range(times) for run in range(8)]
    for name in TYPES:
        for run in runs:
            found = read_text(data_of(root / "calib", name, f"{run}-end.data")).array
            assert found.tobytes() == world.constants(1, name).tobytes()
        lines = lines_of(root, name)
        assert sorted(int(line.split("-end")[0].removeprefix("file:")) for line in lines) == runs
        assert os.stat(data_of(root / "calib", name).parent).st_mode & 0o7777 == 0o2775
