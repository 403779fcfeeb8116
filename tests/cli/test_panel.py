"""``panel``, ``freeze`` and ``runs --panels`` on the command line, and names wherever an Id is expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.core.records import Freeze
from tests.makers.gains import make_gain_directory
from tests.makers.repositories import LATER, SHAPE, STAMP, A, B, constants, entry, new_repository, story
from tests.makers.telling import rows_of
from tests.makers.xtc import run_bytes, write_run

NEW = "171113-164920190301-3d00fb"
UPDATE = "20181001000000"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "psdm"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    story(tmp_path / "R").add_entries([entry(NEW, UPDATE, seed=9)], "new firmware")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str, repo: str = "./R") -> tuple[int, str, str]:
    code = main([*words, "--repo", repo])
    return (code, *capsys.readouterr())


def test_a_panel_with_new_firmware(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("panel", NEW, "--same-as", A, "-m", "the same module")
    code, out, err = run(capsys, *words, "--dry-run")
    assert (code, out) == (0, f"state\tname\nwould join\t{NEW}\nwould join\t{A}\n")
    assert f"pixel_gain of {A} would change from {UPDATE} on: {NEW}/{UPDATE}/v1 in place of {STAMP}/v2" in err
    assert "nothing was stored" in err
    code, out, err = run(capsys, *words)
    assert (code, out) == (0, f"state\tname\njoined\t{NEW}\njoined\t{A}\n")
    assert "commit 6 in the test repository" in err
    code, out, _ = run(capsys, "get", A, "-t", "pixel_gain", "-T", LATER)
    assert (code, rows_of(out)[0]["version"]) == (0, f"{NEW}/{UPDATE}/v1")
    code, out, _ = run(capsys, "list", A)
    assert [(row["panel"], row["test"], row["valid_to"]) for row in rows_of(out)] == [
        (A, "(v1)", UPDATE),
        (A, "v2", UPDATE),
        (NEW, "v1", "-"),
    ]
    code, out, _ = run(capsys, "history")
    assert [rows_of(out)[-1][name] for name in ("op", "versions")] == ["same_panel", f"{NEW} {A}"]
    code, out, _ = run(capsys, "show", f"{A}/{STAMP}/v2", "--json")
    assert (json.loads(out)["same_panels"], json.loads(out)["panel_names"]) == ([NEW], [])
    code, out, _ = run(capsys, "panel", A, "--not-same-as", NEW, "-m", "two modules", "--json")
    value = json.loads(out)
    assert (code, value["operation"], value["names"], len(value["changes"])) == (0, "not_same_panel", [A, NEW], 4)


def test_panels_that_differ_are_not_joined(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "panel", A, "--same-as", B, "-m", "wrong")
    assert code == 5
    assert f"withdraw one of {A}/{STAMP}/v2 and {B}/{STAMP}/v1 (pixel_gain, pixel_offset)" in err


def test_names_are_accepted_wherever_an_id_is(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert run(capsys, "panel", A, "--name", "M044", "-m", "the label")[:2] == (0, "state\tname\nnamed\tM044\n")
    assert run(capsys, "panel", f"{A}_{B}", "--name", "jungfrau_000003", "-m", "the detector")[0] == 0
    asked = ("-t", "pixel_gain", "-T", STAMP)
    assert rows_of(run(capsys, "get", "M044", *asked)[1])[0]["version"] == f"{A}/{STAMP}/v2"
    assert len(rows_of(run(capsys, "get", "-d", "jungfrau_000003", *asked)[1])) == 2
    assert run(capsys, "explain", "M044", *asked)[0] == 0
    assert run(capsys, "show", f"M044/{STAMP}/v1")[0] == 0
    assert {row["panel"] for row in rows_of(run(capsys, "list", "jungfrau_000003")[1])} == {A, B}
    assert run(capsys, "withdraw", f"M044/{STAMP}/v1", "-m", "by name")[0] == 0
    assert run(capsys, "close", "M044", "-T", LATER, "-m", "by name")[0] == 0
    make_gain_directory(here / "M", SHAPE)
    assert run(capsys, "add", "M044", "-T", "20190201000000", "-f", "M", "-m", "by name")[0] == 0
    new_repository(here / "T", role="test")
    assert run(capsys, "promote", f"M044/{STAMP}/v2", "--from", "./R", "-m", "by name", repo="./T")[0] == 0
    code, _, err = run(capsys, "get", "M045", *asked)
    assert (code, "nearest: M044" in err) == (2, True)
    code, _, err = run(capsys, "panel", B, "--name", "M044", "-m", "moved")
    assert (code, "is never moved" in err) == (5, True)
    code, _, err = run(capsys, "tag", "M044", "-m", "taken")
    assert (code, "M044 is the name of panel" in err) == (5, True)
    assert run(capsys, "panel", B, "--name", "fab", "-m", "a part of an Id")[0] == 2


def test_names_of_test_and_real_are_both_listed(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = new_repository(here / "real", "real")
    real.add(B, STAMP, {"pixel_gain": constants(2)}, "one")
    real.name_panel(B, "M068", "the label")
    monkeypatch.setenv("JFSTORE_TEST", str(here / "R"))
    monkeypatch.setenv("JFSTORE_REAL", str(here / "real"))
    assert main(["list", "M068"]) == 0
    assert {row["panel"] for row in rows_of(capsys.readouterr().out)} == {B}


def test_the_history_of_a_panel(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run(capsys, "panel", A, "--name", "M044", "-m", "the label")
    run(capsys, "panel", "M044", "--same-as", NEW, "-m", "new firmware")
    numbers = tuple(int(field, 16) for field in NEW.split("-"))
    for number in (3, 4, 7):
        data = run_bytes(panels=[numbers], run=number, begin_seconds=1522800000 + number)  # type: ignore[list-item]
        write_run(here / "psdm", "MFX", "mfxtest01", number, data)
    code, out, err = run(capsys, "panel", "M044", "--runs", "mfxtest01")
    assert code == 0, err
    assert [(row["what"], row["name"]) for row in rows_of(out)] == [
        ("Id", A),
        ("Id", NEW),
        ("name", f"M044 {A}"),
        ("same panel", f"{A} {NEW}"),
        ("version", f"{A}/{STAMP}/v1"),
        ("version", f"{A}/{STAMP}/v2"),
        ("version", f"{NEW}/{UPDATE}/v1"),
        ("runs", "exp=mfxtest01:run=3-4,7"),
    ]
    assert rows_of(out)[-1]["message"] == f"3 runs, place 0 of {NEW}"
    value = json.loads(run(capsys, "panel", NEW, "--json")[1])
    assert (value["panel"], value["ids"], value["names"]) == (NEW, [NEW, A], [{"name": "M044", "id": A}])
    assert [version["version"] for version in value["versions"]][-1] == f"{NEW}/{UPDATE}/v1"
    assert json.loads(run(capsys, "panel", A, "--json", "--as-of", "6")[1])["ids"] == [A]
    assert run(capsys, "panel", "1-2-3")[0] == 3
    assert run(capsys, "panel", f"{A}_{B}")[0] == 2


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--same-as", NEW, "--name", "M044", "-m", "x"], "give one of them"),
        (["--same-as", NEW], "-m MESSAGE"),
        (["-m", "x"], "nothing to commit"),
        (["--dry-run"], "nothing to commit"),
        (["--name", "M044", "-m", "x", "--runs", "MFX"], "show the history"),
        (["--same-as", A, "-m", "x"], "are the same Id"),
    ],
)
def test_words_that_do_not_fit(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "panel", A, *words)
    assert (code, hint in err) == (2, True), err


def test_writing_needs_a_repository_and_a_real_one_is_asked_about(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert main(["panel", A, "--name", "M044", "-m", "x"]) == 2
    assert "writing has no default" in capsys.readouterr().err
    new_repository(here / "real", role="real").add(A, STAMP, {"pixel_gain": constants(1)}, "one")
    for words in (("panel", A, "--name", "M044"), ("panel", A, "--same-as", NEW), ("freeze", "-T", LATER)):
        code, _, err = run(capsys, *words, "-m", "x", repo="./real")
        assert (code, "confirm with --yes" in err) == (5, True)
        assert run(capsys, *words, "-m", "x", "--yes", repo="./real")[0] == 0


# -- freeze


def test_frozen_answers_do_not_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "freeze", "-T", UPDATE, "-m", "published")[:2] == (0, f"state\tname\nfrozen\t{UPDATE}\n")
    words = ("withdraw", f"{A}/{STAMP}/v2", "-m", "wrong bias")
    for more in ((), ("--dry-run",)):
        code, _, err = run(capsys, *words, *more)
        assert code == 5
        assert f"answers before {UPDATE} are frozen by commit 6, " in err
    assert run(capsys, "withdraw", f"{A}/{STAMP}/v1", "-m", "answers nothing")[0] == 0
    code, _, err = run(capsys, "freeze", "-T", STAMP, "-t", "pixel_gain", "-m", "a mistake", "--dry-run")
    assert (code, f"answers from {STAMP} to {UPDATE}, frozen by commit 6" in err) == (0, True)
    assert run(capsys, *words)[0] == 5
    code, out, err = run(capsys, "freeze", "-T", STAMP, "-m", "a mistake", "--json")
    assert (code, json.loads(out)["operation"]) == (0, "freeze")
    assert run(capsys, *words)[0] == 0
    code, out, _ = run(capsys, "freeze", "-T", STAMP, "-m", "again")
    assert (code, out) == (0, f"state\tname\nunchanged\t{STAMP}\n")
    code, out, _ = run(capsys, "history")
    assert [row["versions"] for row in rows_of(out) if row["op"] == "freeze"] == [UPDATE, STAMP]


def test_times_of_a_freeze(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "freeze", "-T", "21000101000000", "-m", "x")
    assert (code, "is in the future" in err) == (5, True)
    assert run(capsys, "freeze", "-m", "x")[0] == 2
    assert run(capsys, "freeze", "-T", "now", "-t", "pixel_gain", "-m", "x")[0] == 0
    (seq, op, statement) = jfstore.open("./R").log.table().statements[0]
    assert (seq, op, isinstance(statement, Freeze) and statement.types) == (6, "freeze", ("pixel_gain",))


# -- panels of runs


def test_a_report_says_that_the_panels_are_stated(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    write_run(here / "psdm", "MFX", "mfxtest01", 7, run_bytes(run=7, version=2, begin_seconds=1522800000))
    words = ("runs", "--panels", f"{A}_{B}", "exp=mfxtest01:run=7", "-d", "Jungfrau.0", "-m", "x")
    assert run(capsys, *words, "--dry-run")[1] == "state\tname\nwould state\texp=mfxtest01:run=7\n"
    assert run(capsys, *words)[:2] == (0, "state\tname\nstated\texp=mfxtest01:run=7\n")
    assert rows_of(run(capsys, "history")[1])[-1]["versions"] == f"exp=mfxtest01:run=7 {A}_{B}"
    code, out, err = run(capsys, "get", "exp=mfxtest01:run=7", "-t", "pixel_gain")
    assert (code, [row["version"] for row in rows_of(out)]) == (0, [f"{A}/{STAMP}/v2", f"{B}/{STAMP}/v1"])
    assert f"has no panel Ids (psana.Jungfrau.ConfigV2); commit 6 states that it had {A}_{B}" in err
    assert "are those that the log of the repository states" in err
    code, out, _ = run(capsys, "runs", "mfxtest01", "--resolve")
    assert (code, rows_of(out)[0]["constants"]) == (0, "yes")
    assert main(["generate", "exp=mfxtest01:run=7", "--repo", "./R"]) == 0
    assert "are those that the log of the repository states" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--panels", A, "-m", "x"], "the runs are missing"),
        (["--panels", A, "exp=mfxtest01:run=7"], "-m MESSAGE"),
        (["--panels", A, "exp=mfxtest01:run=7,9", "-m", "x"], "is not one range of runs"),
        (["--panels", A, "exp=mfxtest01:run=7", "--resolve", "-m", "x"], "list runs"),
        (["-m", "x"], "nothing to commit: give --panels"),
    ],
)
def test_words_of_runs_that_do_not_fit(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "runs", *words)
    assert (code, hint in err) == (2, True), err
