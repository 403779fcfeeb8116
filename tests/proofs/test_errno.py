"""A system call that fails, once or for ever: one clear line, the right exit code, nothing added twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jfstore.fs import durable
from tests.proofs.harness import CHANGING, CODES, Failing, Helper, changes_something, expected, numbered, violation
from tests.proofs.simfs import (
    KINDS,
    REQUEST,
    command,
    directory_in_memory,
    make_stock,
    start,
)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stock(tmp_path_factory.mktemp("errno") / "stock")


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
def test_every_call_fails(stock: Path, place: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every call one of the errors, in turn once and for ever; without --request, as people type it."""
    expect = expected(stock, kind, place)
    wrong = []
    for call in range(expect.calls):
        code, for_ever = CODES[call % len(CODES)], call % 2 == 1
        root = start(stock, kind, place)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "system", Failing(call, code, for_ever))
            result = command(KINDS[kind].argv(stock, root))
        if error := violation(stock, kind, root, expect, result):
            wrong.append(f"{code} at call {call}{' and after' if for_ever else ''}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", ["new panel", "detector"])
def test_every_call_fails_with_segments_in_files(
    stock: Path, place: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jfstore.storage.index.SPILL", 100)
    test_every_call_fails(stock, place, kind, monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("code", CODES)
def test_every_system_call_fails(
    stock: Path, helper: Helper, place: Path, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shutil.which("strace"), "the full set needs strace"
    points, wrong = 0, []
    for kind in KINDS:
        expect = expected(stock, kind, place)
        root = start(stock, kind, place)
        argv = KINDS[kind].argv(stock, root, REQUEST)
        status, _out, err = helper.run(argv, strace=["-e", f"trace={CHANGING}"])
        assert status == 0, err
        # What the command says on its descriptors 1 and 2 is no change to the repository.
        calls = [(name, number, line) for name, number, line in numbered(helper.traced()) if in_repository(line, root)]
        for name, number, line in calls:
            for when in (f"{number}", f"{number}+"):
                points += 1
                start(stock, kind, place)
                inject = f"inject={name}:error={code}:when={when}"
                result = helper.run(argv, strace=["-e", f"trace={name}", "-e", inject])
                failed = next((call for call in helper.traced() if "(INJECTED)" in call), "none")
                if str(root) not in failed:
                    # An edit of the checkout during the run does that: imports list its directories again.
                    wrong.append(f"{kind}, {when} of {line[:160]}: another call failed, {failed[:160]}")
                elif error := violation(stock, kind, root, expect, result):
                    wrong.append(f"{kind}, {when} of {line[:160]}: {error}")
    with capsys.disabled():
        print(f"\n{code} at {points} system calls of {len(KINDS)} kinds: {len(wrong)} violations")
    assert not wrong, "\n".join(wrong)
    assert points >= 500


def in_repository(line: str, root: Path) -> bool:
    """Say whether a traced call changes something in the repository."""
    return str(root) in line and changes_something(line) and not line.startswith(("write(1<", "write(2<"))
