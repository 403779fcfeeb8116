"""Writers killed at every call that changes the disk: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import jfstore
from tests.proofs.harness import CHANGING, Helper, changes_something, check_after_kill, expected, killed, numbered
from tests.proofs.simfs import (
    KINDS,
    REQUEST,
    directory_in_memory,
    make_stock,
    start,
)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stock(tmp_path_factory.mktemp("kill") / "stock")


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    helper = Helper(tmp_path_factory.mktemp("helper") / "files")
    yield helper
    helper.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with directory_in_memory(tmp_path) as directory:
        yield directory / "world"


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_call(stock: Path, helper: Helper, place: Path, kind: str) -> None:
    _points, wrong = killed(stock, helper, place, kind, both=False)
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
def test_killed_before_and_after_every_call(
    stock: Path, helper: Helper, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [killed(stock, helper, place, kind, both=True) for kind in KINDS]
    wrong = [line for _, lines in results for line in lines]
    with capsys.disabled():
        print(f"\nkilled at {sum(points for points, _ in results)} calls of durable: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
def test_killed_at_every_system_call(
    stock: Path, helper: Helper, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shutil.which("strace"), "the full set needs strace"
    points, wrong = 0, []
    for kind in KINDS:
        expect = expected(stock, kind, place)
        root = start(stock, kind, place)
        argv = KINDS[kind].argv(stock, root, REQUEST)
        status, _out, err = helper.run(argv, strace=["-e", f"trace={CHANGING}"])
        assert status == 0, err
        for name, nth, line in numbered(helper.traced()):
            # What the command prints is its acknowledgement.
            if not changes_something(line) or not (str(place) in line or line.startswith("write(1<")):
                continue
            points += 1
            start(stock, kind, place)
            inject = ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={nth}"]
            status, out, err = helper.run(argv, strace=inject)
            try:
                # Once its output is written, the writer has acknowledged.
                assert status == -9, f"was not killed: {err}"
                check_after_kill(stock, kind, root, expect, acknowledged=bool(out))
            except (AssertionError, jfstore.JfstoreError) as error:
                wrong.append(f"{kind}, {line}: {error}")
    with capsys.disabled():
        print(f"\nkilled at {points} system calls of {len(KINDS)} kinds: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)
    assert points >= 300
