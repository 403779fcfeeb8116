"""Every command that commits says which answers change: in a plan, in its report, and when it is repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jfstore.cli.app import main
from tests.makers.repositories import LATER, STAMP, A, B, entry, new_repository, story

NEW = f"{A}/{STAMP}/v2"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    story(tmp_path / "R")

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words, "-m", "why", "--repo", "./R"])
        return (code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("words", [["withdraw", NEW], ["close", A, "-T", LATER], ["add", A, "-T", LATER, "-f", "M"]])
def test_plan_and_report_say_the_same(words: list[str], command: Command, tmp_path: Path) -> None:
    from tests.makers.gains import make_gain_directory
    from tests.makers.repositories import SHAPE

    make_gain_directory(tmp_path / "M", SHAPE)
    planned, done = command(*words, "--dry-run")[2], command(*words)[2]
    lines = [line for line in planned.splitlines() if "would change" in line]
    assert [line.split(" of ")[0] for line in lines] == ["pixel_gain", "pixel_offset"]
    assert [line.replace("would change", "changes") for line in lines] == done.splitlines()[:2]


def test_what_is_superseded_changes_nothing(command: Command) -> None:
    _, _, err = command("withdraw", f"{A}/{STAMP}/v1")
    assert err.startswith("no answer changes\ncommit 5 in ")
    assert "no answer" not in command("tag", "paper")[2]
    assert "no answer" not in command("withdraw", f"{A}/{STAMP}/v1")[2]


@pytest.mark.parametrize("words", [["withdraw", NEW], ["close", B, "-T", LATER]])
def test_a_repeated_request_says_what_changed(words: list[str], command: Command) -> None:
    request = ["--request", "5" * 32, "--json"]
    first, again = (json.loads(command(*words, *request)[1]) for _ in range(2))
    assert first["changes"] == again["changes"] != []
    assert first["seq"] == again["seq"]


def test_panels_that_change_alike_share_a_line_and_lines_are_few(tmp_path: Path, command: Command) -> None:
    new_repository(tmp_path / "many").add_entries(
        [entry(f"1-2-{panel:x}", f"20180306{stamp:06}", panel) for panel in range(1, 33) for stamp in range(10)], "x"
    )
    words = ["--from", "./many", "--dry-run"]
    names = [f"1-2-{panel:x}/20180306000000/v1" for panel in range(1, 33)]
    _, _, err = command("promote", *names, *words)
    lines = [line for line in err.splitlines() if "would change" in line]
    start = "1-2-1 and 31 more panels would change from 20180306000000 on: 20180306000000/v1 in place of nothing"
    assert lines == [f"{name} of {start}" for name in ("pixel_gain", "pixel_offset")]
    names = [f"1-2-1/20180306{stamp:06}/v1" for stamp in range(10)]
    _, _, err = command("promote", *names, *words)
    assert "and 8 more lines of changes; --json lists all\n" in err
    assert err.count("would change") == 12
    changes = json.loads(command("promote", *names, *words, "--json")[1])["changes"]
    assert len(changes) == 20
    assert changes[0] == {
        "panel": "1-2-1",
        "type": "pixel_gain",
        "from": "20180306000000",
        "until": "20180306000001",
        "now": None,
        "then": "1-2-1/20180306000000/v1",
    }
