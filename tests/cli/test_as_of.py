"""``--as-of`` of every reading command, and ``JFSTORE_AS_OF``, which pins it for a whole job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.cli.programs.jungfrau_gain_constants import main as jungfrau_gain_constants
from tests.conftest import ROOT
from tests.makers.repositories import LATER, STAMP, A, B, C, constants, new_repository, story

NEW = f"{A}/{STAMP}/v2"
RUN = "exp=xcsls3716:run=631"


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jfstore.Repository:
    monkeypatch.chdir(tmp_path)
    made = story(tmp_path / "R")
    made.tag("paper", "the paper", as_of=2)
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str, repo: str = "./R") -> tuple[int, str, str]:
    code = main([*words, *(["--repo", repo] if repo else [])])
    out, err = capsys.readouterr()
    return code, out, err


def value_of(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    return json.loads(out)


READS: dict[str, tuple[str, ...]] = {
    "get": ("get", A, "-T", LATER, "-t", "pixel_gain"),
    "explain": ("explain", A, "-T", LATER, "-t", "pixel_gain"),
    "list": ("list", A),
    "history": ("history",),
    "show": ("show", f"{A}/{STAMP}/v1"),
    "export": ("export", A, "-f", "out.h5", "--force"),
}


def as_of_of(name: str, value: Any) -> int:
    part = value[0] if name == "explain" else value["repositories"][0] if name == "list" else value
    found: int = part["as_of"]
    return found


@pytest.mark.parametrize("name", READS)
def test_every_reading_command_takes_as_of_and_obeys_the_variable(
    name: str, repository: jfstore.Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = READS[name]
    assert as_of_of(name, value_of(capsys, *words)) == 5
    explicit = value_of(capsys, *words, "--as-of", "paper")
    assert as_of_of(name, explicit) == 2
    for text in ("paper", f"{repository.id}:2", f"{repository.id.upper()}:2"):
        monkeypatch.setenv("JFSTORE_AS_OF", text)
        assert value_of(capsys, *words) == explicit
        code, _, err = run(capsys, *words)
        assert (code, f"as of {text}, from JFSTORE_AS_OF\n" in err) == (0, True)
        assert "commit 2 of the test repository" in err
        # An explicit one wins.
        code, out, err = run(capsys, *words, "--as-of", "3", "--json")
        assert (as_of_of(name, json.loads(out)), "JFSTORE_AS_OF" in err) == (3, False)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("2", 2, "a number names a commit of one repository only"),
        ("papr", 2, "'papr' is not a time"),
        ("20180306000000", 2, "a date such as 2026-11-27"),
        ("00000000-0000-0000-0000-000000000000:2", 5, "is one of repository 00000000-0000-0000-0000-000000000000"),
        ("{id}:99", 2, "as of 99 is beyond the last commit, 5"),
    ],
)
@pytest.mark.parametrize("name", READS)
def test_a_variable_that_does_not_fit_stops_the_command(
    name: str,
    text: str,
    code: int,
    reason: str,
    repository: jfstore.Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JFSTORE_AS_OF", text.format(id=repository.id))
    found, out, err = run(capsys, *READS[name])
    assert (found, out) == (code, "")
    assert reason in err
    assert "JFSTORE_AS_OF" in err


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JFSTORE_AS_OF", "")
    assert value_of(capsys, *READS["get"])["as_of"] == 5


def test_the_library_does_not_read_the_variable(
    repository: jfstore.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JFSTORE_AS_OF", "paper")
    assert repository.find(A, None, LATER).as_of == 5
    assert repository.find(A, None, LATER, as_of=f"{repository.id}:2").as_of == 2
    with pytest.raises(jfstore.Refused, match="is one of repository"):
        repository.get(A, "pixel_gain", LATER, as_of="00000000-0000-0000-0000-000000000000:2")


def test_a_mirror_answers_as_of_the_same_commits(
    repository: jfstore.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jfstore.mirror(repository, tmp_path / "copy", storage="zarr")
    monkeypatch.setenv("JFSTORE_AS_OF", f"{repository.id}:2")
    code, out, _ = run(capsys, *READS["get"], "--json", repo="./copy")
    assert (code, json.loads(out)["selections"][0]["version"]) == (0, f"{A}/{STAMP}/v1")


def test_commands_that_commit_ignore_the_variable_and_say_so(
    repository: jfstore.Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JFSTORE_AS_OF", "paper")
    code, _, err = run(capsys, "withdraw", NEW, "-m", "why")
    assert (code, "warning: JFSTORE_AS_OF=paper is ignored" in err) == (0, True)
    assert run(capsys, "tag", "now-it-is", "-m", "why")[0] == 0
    assert repository.seq_of("now-it-is") == 6


def test_show_and_history_of_an_earlier_state(
    repository: jfstore.Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.withdraw(NEW, "why")
    assert value_of(capsys, "show", NEW)["withdrawn"] is True
    assert value_of(capsys, "show", NEW, "--as-of", "5")["withdrawn"] is False
    code, _, err = run(capsys, "show", NEW, "--as-of", "2")
    assert (code, "commit 3 added it" in err) == (3, True)
    assert [commit["seq"] for commit in value_of(capsys, "history", "--as-of", "2")["commits"]] == [1, 2]
    assert value_of(capsys, "history", "--as-of", "0")["commits"] == []


def test_a_list_of_two_repositories_as_of_a_tag_or_a_time(
    repository: jfstore.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = new_repository(tmp_path / "real", role="real")
    monkeypatch.setenv("JFSTORE_TEST", "R")
    monkeypatch.setenv("JFSTORE_REAL", "real")
    code, _, err = run(capsys, "list", "--as-of", "2", repo="")
    assert (code, "name it with --repo" in err) == (2, True)
    moment = repository.history()[1].time.iso
    code, out, err = run(capsys, "list", "--as-of", moment, "--json", repo="")
    assert code == 0
    assert {one["name"]: one["as_of"] for one in json.loads(out)["repositories"]} == {"test": 2, "real": 0}
    monkeypatch.setenv("JFSTORE_AS_OF", f"{real.id}:0")
    assert run(capsys, "list", repo="")[0] == 5
    assert run(capsys, "list", repo="real")[0] == 0


@pytest.fixture
def of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jfstore.Repository:
    """A real repository whose constants of the panels of `RUN` changed after a tag."""
    monkeypatch.setenv("SIT_PSDM_DATA", str(ROOT / "tests/data/reference/xtc"))
    made = new_repository(tmp_path / "real", role="real")
    for seed in (1, 2):
        arrays = {name: constants(seed, name)[:, None].repeat(2, axis=1) for name in ("pixel_gain", "pixel_offset")}
        made.add(f"{B}_{C}", "20171025000000", arrays, f"seed {seed}")
    made.tag("paper", "the paper", as_of=1)
    return made


def test_generate_deploy_and_audit_are_pinned_too(
    of_run: jfstore.Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {f"{B}/20171025000000/v1", f"{C}/20171025000000/v1"}
    deploy = ("deploy", RUN, "-c", "calib")
    code, out, _ = run(capsys, "generate", RUN, "--as-of", "1", "--json", repo="./real")
    value = json.loads(out)
    assert (code, value["origin"]["as_of"], {c["version"] for c in value["constants"]}) == (0, 1, first)
    monkeypatch.setenv("JFSTORE_AS_OF", "paper")
    for command in (("generate", RUN), deploy):
        code, out, err = run(capsys, *command, "--json", repo="./real")
        value = json.loads(out)
        assert (code, value["origin"]["as_of"], {c["version"] for c in value["constants"]}) == (0, 1, first)
        assert "as of paper, from JFSTORE_AS_OF" in err
    assert run(capsys, "audit", "calib", "-e", "xcsls3716", repo="./real")[0] == 0
    code, out, err = run(capsys, "runs", "xcsls3716", "--resolve", repo="./real")
    assert (code, "as of commit 1" in err) == (0, True)
    assert run(capsys, "runs", "xcsls3716", "--resolve", "--as-of", "0", repo="./real")[0] == 3
    monkeypatch.delenv("JFSTORE_AS_OF")
    assert run(capsys, "audit", "calib", "-e", "xcsls3716", repo="./real")[0] == 1
    assert run(capsys, "audit", "calib", "-e", "xcsls3716", "--as-of", "1", repo="./real")[0] == 0
    assert run(capsys, "deploy", RUN, "--undo", "--as-of", "1", "-c", "calib", repo="")[0] == 2
    assert run(capsys, "runs", "xcsls3716", "--as-of", "1", repo="")[0] == 2


def test_the_old_command_is_pinned_too(
    of_run: jfstore.Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JFSTORE_AS_OF", "paper")
    assert jungfrau_gain_constants(["-d", RUN, "-R", "./real"]) == 0
    out, err = capsys.readouterr()
    assert "commit 1 of the real repository" in out
    assert "as of paper, from JFSTORE_AS_OF" in err


def test_a_gain_tree_has_no_commits(
    of_run: jfstore.Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = str(ROOT / "tests/data/reference/gains-tree/jungfrau")
    monkeypatch.setenv("JFSTORE_AS_OF", "paper")
    code, out, err = run(capsys, "generate", RUN, repo=tree)
    assert (code, out) == (2, "")
    assert "is a gain tree, which has no commits" in err
    assert "JFSTORE_AS_OF" in err
