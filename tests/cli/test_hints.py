"""What the command line says about wrong words, so that its user finds the right ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from jfstore.cli.app import COMMANDS, main
from tests.makers.repositories import STAMP, A, new_repository, story


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    story(tmp_path / "test")
    new_repository(tmp_path / "real", "real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JFSTORE_TEST", str(tmp_path / "test"))
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("delete", 2, "versions are never deleted"),
        ("undo", 2, "versions are never deleted"),
        ("rm x", 2, "versions are never deleted"),
        ("compare", 2, "jfstore list"),
        ("stats", 2, "jfstore history"),
        ("why", 2, "jfstore explain"),
        ("check", 2, "jfstore verify"),
        ("promot", 2, "nearest: promote"),
        ("cache extra", 2, "unrecognized: extra; the command takes no such argument"),
        (f"history {A}", 2, f"jfstore list {A}"),
        ("verify test", 2, "did you mean --repo test?"),
        ("init ./X --role foo", 2, "--role: 'foo' is unknown; nearest: test, real"),
        (f"export {A} --format npy -f x.h5", 2, "--format: 'npy' is unknown"),
        ("mirror test ./M --storage foo", 2, "--storage: 'foo' is unknown"),
        (f"export {A} -f x.txt", 2, "its name ends in .h5"),
        ("mirror test test", 5, "source and copy are the same repository"),
        ("mirror test ./test", 5, "source and copy are the same repository"),
        ("verify --repair-from test --repo test", 5, "cannot be repaired from itself"),
        ("list --repo ./nosuch", 1, "repository ./nosuch does not exist"),
        ("list --repo s3://", 2, "s3:// names no place"),
        ("list --repo nosuch", 2, "neither a configured repository nor a directory that exists"),
        (f"promote {A}/{STAMP}/v9 --from test --repo real -m why --yes", 3, "/test; nearest: "),
        (f"get {A} --repo ./nosuch", 2, "the time is missing"),
        ("runs XCS --repo nosuch", 2, "--repo needs --resolve"),
        ("--repo test", 2, "the command is missing"),
        ("help delete", 2, "versions are never deleted"),
    ],
)
def test_one_line_that_helps(
    command: str, code: int, text: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert text in err


@pytest.mark.parametrize("word", ["delete", "remove", "rm", "undo", "compare", "stats", "plot"])
def test_a_word_that_means_something_else_is_not_taken_for_a_command(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    err = capsys.readouterr().err
    assert "nearest" not in err
    assert "deploy" not in err


def test_a_configuration_that_cannot_be_read_or_understood_says_why_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    path = here / "config" / "jfstore" / "config.toml"
    path.mkdir(parents=True)
    assert main(["list", "--repo", "other"]) == 1
    assert capsys.readouterr().err == f"jfstore: error: {path}: Is a directory\n"
    path.rmdir()
    path.write_text("other = 1\n")
    assert main(["list", "--repo", "other"]) == 1
    assert "expected one table [repositories] of names and paths, such as " in capsys.readouterr().err


def test_jfstore_alone_prints_its_help_as_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: jfstore ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_its_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", command]) == 0
    text = capsys.readouterr().out
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == text
