"""``jfstore promote``: the same content and stamps in the real repository, with where they came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jfstore
from jfstore.cli.app import main
from tests.makers.repositories import LATER, STAMP, A, B, C, D, constants, entry, new_repository, story, tree


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


@pytest.fixture(autouse=True)
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story(tmp_path / "test")
    new_repository(tmp_path / "real", "real")
    monkeypatch.setenv("JFSTORE_TEST", str(tmp_path / "test"))
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    monkeypatch.chdir(tmp_path)


TO_REAL = ["--from", "test", "--repo", "real", "-m", "checked"]


def test_content_and_stamp_stay_the_number_is_the_next_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    assert code == 0
    assert out.splitlines()[1].startswith(f"added\t{A}/{STAMP}/v1\t")
    assert err.startswith(f"pixel_gain of {A} changes from {STAMP} on: {STAMP}/v1 in place of nothing\n")
    assert err.splitlines()[-1].startswith("commit 1 in the real repository ")
    for name in ("pixel_gain", "pixel_offset"):
        assert jfstore.open("real").get(A, name, LATER).tobytes() == constants(4, name).tobytes()


def test_the_origin_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    value = json.loads(run(capsys, "show", f"{A}/{STAMP}/v1", "--json")[1])
    test = jfstore.open("test")
    expected = {"repository": test.identity.id, "version": f"{A}/{STAMP}/v2", "seq": 3, "commit": test.commit(3).hash}
    assert value["origin"] == expected


def test_several_versions_are_one_commit(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{A}/{STAMP}/v2", f"{B}/{STAMP}/v1", f"{C}/{STAMP}/v1", f"{B}/{STAMP}/v1"]
    code, out, _ = run(capsys, "promote", *names, *TO_REAL, "--yes", "--json")
    value = json.loads(out)
    assert (code, value["seq"], len(value["added"])) == (0, 1, 3)


def test_nothing_happens_if_it_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    before = tree(Path("real"))
    code, out, err = run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    assert (code, tree(Path("real"))) == (0, before)
    assert out.splitlines()[1].startswith(f"unchanged\t{A}/{STAMP}/v1\t")
    assert "nothing is new" in err


def test_an_unknown_version_among_others_promotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path())
    code, out, err = run(capsys, "promote", f"{A}/{STAMP}/v2", f"{B}/{STAMP}/v9", *TO_REAL, "--yes")
    assert (code, out, tree(Path())) == (3, "", before)
    assert f"{B}/{STAMP}/v1" in err


@pytest.mark.parametrize("later", [False, True])
def test_a_dry_run_shows_for_which_times_answers_would_change(later: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if later:
        jfstore.open("real").add_entries([entry(A, LATER, 9)], "later ones")
    before = tree(Path())
    code, out, err = run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--dry-run")
    assert (code, tree(Path())) == (0, before)
    assert f"would add\t{A}/{STAMP}/v1" in out
    assert f"pixel_gain of {A} would change from {STAMP}" in err
    assert (LATER in err) == later


def test_a_damaged_payload_is_not_promoted(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(run(capsys, "show", f"{A}/{STAMP}/v2", "--repo", "test", "--json")[1])
    path = Path(value["file"])
    data = bytearray(path.read_bytes())
    data[value["arrays"]["pixel_offset"]["offset"]] ^= 1
    path.unlink()
    path.write_bytes(data)
    before = tree(Path("real"))
    code, out, err = run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    assert (code, out, tree(Path("real"))) == (4, "", before)
    assert str(path) in err


def test_a_chain_of_promotions_keeps_the_first_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    new_repository(tmp_path / "copy")
    words = ["--from", "real", "--repo", "./copy", "-m", "back"]
    assert run(capsys, "promote", f"{A}/{STAMP}/v1", *words)[0] == 0
    value = json.loads(run(capsys, "show", f"{A}/{STAMP}/v1", "--repo", "./copy", "--json")[1])
    assert value["origin"]["version"] == f"{A}/{STAMP}/v2"


def test_what_is_superseded_is_promoted_only_when_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, real = new_repository(tmp_path / "t"), new_repository(tmp_path / "r", role="real")
    for seed in (1, 2):
        test.add_entries([entry("1-2-3", "20180306000000", seed=seed)], f"seed {seed}")
    first, second = (version.name for version in test.versions())
    common = ["--from", str(tmp_path / "t"), "--repo", str(tmp_path / "r"), "-m", "x", "--yes"]
    assert main(["promote", first, *common]) == 5
    assert f"superseded by {second}" in capsys.readouterr().err
    # In whatever order they are named, the one that is valid in the source is valid afterwards.
    assert main(["promote", second, first, *common]) == 0
    assert [version.content for version in real.versions()] == [version.content for version in test.versions()]
    assert main(["promote", first, *common, "--superseded"]) == 0
    assert real.versions()[-1].content == test.versions()[0].content


def test_dry_run_says_for_which_times_answers_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = new_repository(tmp_path / "t")
    new_repository(tmp_path / "r", role="real")
    for stamp in ("20180306000000", "20190101000000"):
        test.add_entries([entry("1-2-3", stamp, seed=int(stamp) % 97, types=["pixel_gain"])], stamp)
    names = [version.name for version in test.versions()]
    words = ["--from", str(tmp_path / "t"), "--repo", str(tmp_path / "r"), "-m", "x", "--dry-run", "--json"]
    assert main(["promote", *names, *words]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [(change["from"], change["until"], change["now"]) for change in changes] == [
        ("20180306000000", "20190101000000", None),
        ("20190101000000", None, None),
    ]


def test_all_that_is_new_is_one_commit_for_each_operation(capsys: pytest.CaptureFixture[str]) -> None:
    test = jfstore.open("test")
    run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    test.withdraw(f"{A}/{STAMP}/v2", "wrong bias")
    test.close(B, LATER, "shipped")
    before = tree(Path())
    code, out, err = run(capsys, "promote", "--new", *TO_REAL, "--dry-run")
    assert (code, tree(Path())) == (0, before)
    assert [line.split("\t")[:2] for line in out.splitlines()[1:]] == [
        ["would add", f"{A}/{STAMP}/v2"],
        ["would add", f"{B}/{STAMP}/v1"],
        ["would add", f"{C}/{STAMP}/v1"],
        ["would add", f"{D}/{STAMP}/v1"],
        ["would close", f"{B}/{LATER}/v1"],
        ["would withdraw", f"{A}/{STAMP}/v1"],
    ]
    assert f"pixel_gain of {B} would change from {STAMP} until {LATER}: {STAMP}/v1 in place of nothing" in err
    assert f"pixel_gain of {A} would change from {STAMP} on: {STAMP}/v2 in place of {STAMP}/v1" in err
    code, out, err = run(capsys, "promote", "--new", *TO_REAL, "--yes", "--json")
    value = json.loads(out)
    assert (code, value["seq"], [one["operation"] for one in value["stated"]]) == (0, 4, ["close", "withdraw"])
    assert value["stated"][0]["names"] == [f"{B}/{LATER}/v1"]
    assert "commit 2, 3, 4 in the real repository" in err
    code, out, err = run(capsys, "promote", "--new", *TO_REAL, "--yes")
    assert (code, "nothing is new" in err) == (0, True)


def test_a_commit_that_withdraws(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "promote", f"{A}/{STAMP}/v2", *TO_REAL, "--yes")
    jfstore.open("test").withdraw(f"{A}/{STAMP}/v2", "wrong bias")
    code, out, err = run(capsys, "promote", "--commit", "5", *TO_REAL)
    assert (code, "confirm with --yes" in err) == (5, True)
    code, out, _ = run(capsys, "promote", "--commit", "5", *TO_REAL, "--yes")
    assert (code, out.splitlines()[1].split("\t")[:2]) == (0, ["withdrawn", f"{A}/{STAMP}/v1"])
    code, out, _ = run(capsys, "promote", "--commit", "5", *TO_REAL, "--yes")
    assert (code, out.splitlines()[1].split("\t")[:2]) == (0, ["unchanged", f"{A}/{STAMP}/v1"])


def test_a_panel_or_a_tag(capsys: pytest.CaptureFixture[str]) -> None:
    jfstore.open("test").tag("ready", "checked", as_of=2)
    code, out, _ = run(capsys, "promote", "--tag", "ready", *TO_REAL, "--yes", "--json")
    assert (code, len(json.loads(out)["added"])) == (0, 3)
    code, out, _ = run(capsys, "promote", A, "3d0038", *TO_REAL, "--yes", "--json")
    assert (code, [one["version"] for one in json.loads(out)["added"]]) == (0, [f"{A}/{STAMP}/v2", f"{D}/{STAMP}/v1"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--new", "--tag", "x"], 2),
        ([A, "--new"], 2),
        (["--commit", "x"], 2),
        (["--commit", "99"], 3),
        (["--commit", "0"], 3),
        (["--tag", "nothing"], 3),
        (["--panel", A], 3),
        (["9-9-9"], 3),
    ],
)
def test_what_cannot_be_selected(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, out, err = run(capsys, "promote", *words, *TO_REAL, "--yes")
    assert (found, out, err.count("\n")) == (code, "", 1)
