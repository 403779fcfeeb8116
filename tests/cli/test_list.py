"""``jfstore list``, ``history`` and ``show``: what is stored, side by side, filtered, and one version whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.cli.app import main
from tests.makers.repositories import EARLY, LATER, SHAPE, STAMP, A, B, C, D, entry, new_repository, story


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def rows(text: str) -> list[dict[str, str]]:
    header, *lines = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test repository with the story, the real one with two of its versions."""
    story(tmp_path / "test")
    real = new_repository(tmp_path / "real", "real")
    real.add_entries([entry(A, seed=4), entry(B, seed=2)], "checked")
    monkeypatch.setenv("JFSTORE_TEST", str(tmp_path / "test"))
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_row_for_each_panel_stamp_and_content_side_by_side(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "panel\tvalid_from\tvalid_to\ttypes\ttest\treal\tuser\ttime\tmessage"
    assert [(row["panel"], row["test"], row["real"]) for row in rows(out)] == [
        (B, "v1", "v1"),
        (C, "v1", ""),
        (D, "v1", ""),
        (A, "(v1)", ""),
        (A, "v2", "v1"),
    ]


def test_validity_is_from_stamp_to_next_stamp(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jfstore.open("test").add_entries([entry(A, LATER, 5), entry(A, EARLY, 6)], "around")
    found = [(row["valid_from"], row["valid_to"]) for row in rows(run(capsys, "list", A, "--repo", "test")[1])]
    assert found == [(EARLY, STAMP), (STAMP, LATER), (STAMP, LATER), (LATER, "-")]


def test_one_repository_alone(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["list", "--repo", "real"], ["--repo", "real", "list"], ["list", "--repo", "./real"]):
        out = run(capsys, *words)[1]
        assert "test" not in out.splitlines()[0].split("\t")
        assert [(row["panel"], row["real"]) for row in rows(out)] == [(B, "v1"), (A, "v1")]


@pytest.mark.parametrize(
    "words", [[A], ["-d", A], ["154920171025-3d00fb", "--repo", "test"], [A.upper()], [f"{A}_{A[:-2]}ff"]]
)
def test_filter_by_panel(words: list[str], both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", *words)
    assert code == 0
    assert {row["panel"] for row in rows(out)} == {A}


def test_filter_by_a_short_panel_id_that_only_one_repository_knows(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "list", "149520170815-3d00f7")
    assert code == 0
    assert [(row["panel"], row["test"], row["real"]) for row in rows(out)] == [(C, "v1", "")]


def test_filter_by_type(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jfstore.open("test").add_entries([entry(A, LATER, 5, ["pixel_gain"])], "gain only")
    stamps = [row["valid_from"] for row in rows(run(capsys, "list", A, "-t", "pixel_offset")[1])]
    assert stamps == [STAMP, STAMP]
    assert len(rows(run(capsys, "list", A, "-t", "pixel_gain")[1])) == 3


@pytest.mark.parametrize(
    ("time", "numbers"), [("20180305235959", []), (STAMP, ["v2"]), ("20181231235959", ["v2"]), (LATER, ["v1"])]
)
def test_filter_by_time_is_what_is_valid_then(
    time: str, numbers: list[str], both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jfstore.open("test").add_entries([entry(A, LATER, 5)], "next")
    found = rows(run(capsys, "list", A, "-T", time, "--repo", "test")[1])
    assert [row["test"] for row in found] == numbers


@pytest.mark.parametrize("gone", ["TEST", "REAL"])
def test_a_missing_repository_is_a_warning(
    gone: str, both: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"JFSTORE_{gone}", str(both / "nowhere"))
    code, out, err = run(capsys, "list")
    assert code == 0
    assert err.startswith("jfstore: warning: ")
    assert f"JFSTORE_{gone}" in err
    assert err.count("\n") == 1
    assert len(rows(out)) >= 2


def test_both_missing_is_a_failure_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "list")
    assert (code, out) == (1, "")
    assert "repository 'test'" in err
    assert "repository 'real'" in err
    assert "jfstore demo" in err


def test_an_empty_repository_is_a_header_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_repository(tmp_path / "R")
    code, out, err = run(capsys, "list", "--repo", tmp_path / "R")
    assert (code, rows(out), err) == (0, [], "nothing is stored yet\n")


def test_history_is_every_commit_oldest_first(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "history", "--repo", "test")
    assert (code, err) == (0, "")
    assert [(row["seq"], row["op"], row["message"]) for row in rows(out)] == [
        ("1", "add", "first"),
        ("2", "add", "a detector"),
        ("3", "add", "second number"),
        ("4", "add", "the same constants for another panel"),
    ]


def test_history_json_names_every_version(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commits = json.loads(run(capsys, "history", "--repo", "test", "--json")[1])["commits"]
    assert [commit["versions"] for commit in commits] == [
        [f"{A}/{STAMP}/v1"],
        [f"{B}/{STAMP}/v1", f"{C}/{STAMP}/v1"],
        [f"{A}/{STAMP}/v2"],
        [f"{D}/{STAMP}/v1"],
    ]


def shown(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    code, out, _ = run(capsys, "show", name, "--repo", "test", "--json")
    assert code == 0
    value: dict[str, Any] = json.loads(out)
    return value


def test_show_is_everything_about_one_version(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = shown(capsys, f"{A}/{STAMP}/v1")
    assert (value["panel"], value["stamp"], value["number"]) == (A, STAMP, 1)
    assert value["valid_from"] == "2018-03-06T08:00:00Z"
    assert value["arrays"]["pixel_gain"]["shape"] == list(SHAPE)
    assert (value["commit"]["seq"], value["commit"]["message"]) == (1, "first")
    assert Path(value["file"]).stat().st_size == value["file_size"]


def test_versions_of_the_same_content_show_the_same_file(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, f"{A}/{STAMP}/v1")["file"] == shown(capsys, f"{D}/{STAMP}/v1")["file"]


@pytest.mark.parametrize("name", [f"{A}/{STAMP}/v0001", f"{A.upper()}/{STAMP}/v1", f"154920171025-3d00fb/{STAMP}/v1"])
def test_show_reads_other_forms_of_the_name(name: str, both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, name)["version"] == f"{A}/{STAMP}/v1"


def test_show_of_an_unknown_version_names_the_nearest(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", f"{A}/{STAMP}/v3", "--repo", "test")
    assert (code, out) == (3, "")
    assert f"{A}/{STAMP}/v2" in err


def test_each_type_of_the_pair_has_its_own_validity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = new_repository(tmp_path / "pair")
    repository.add_entries([entry(A, "20180306000000", seed=1)], "both")
    repository.add_entries([entry(A, "20190101000000", seed=2, types=["pixel_gain"])], "gain only")
    repository.add_entries([entry(A, "20180306000000", seed=3, types=["pixel_offset"])], "offset again")
    code, out, _ = run(capsys, "list", "--repo", tmp_path / "pair")
    found = [(row["valid_from"], row["valid_to"], row["types"], row["test"]) for row in rows(out)]
    assert (code, found) == (
        0,
        [
            ("20180306000000", "20190101000000,-", "pixel_gain,(pixel_offset)", "v1"),
            ("20180306000000", "-", "pixel_offset", "v2"),
            ("20190101000000", "-", "pixel_gain", "v1"),
        ],
    )
    shown = rows(run(capsys, "list", "--repo", tmp_path / "pair", "-T", "20200101000000")[1])
    assert [(row["valid_from"], row["test"]) for row in shown] == [("20180306000000", "v2"), ("20190101000000", "v1")]


@pytest.mark.parametrize(
    ("part", "panels"), [("3d00fb", {A}), ("3D00F", {A, C}), ("171113-15", {A, D}), ("d00", {A, B, C, D})]
)
def test_a_part_of_an_id_lists_all_panels_that_fit(
    part: str, panels: set[str], both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "list", part)
    assert (code, {row["panel"] for row in rows(out)}) == (0, panels)
    assert run(capsys, "list", "4711")[0] == 2


@pytest.mark.parametrize(
    ("span", "stamps"),
    [
        (f"{EARLY}..{STAMP}", [EARLY]),
        (f"{EARLY}..20180306000001", [EARLY, STAMP]),
        (f"{STAMP}..{LATER}", [STAMP]),
        (f"{LATER}..", [LATER]),
        (f"..{EARLY}", []),
        ("..", [EARLY, STAMP, LATER]),
    ],
)
def test_filter_by_a_range_of_times(
    span: str, stamps: list[str], both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jfstore.open("test").add_entries([entry(A, LATER, 5), entry(A, EARLY, 6)], "around")
    code, out, _ = run(capsys, "list", A, "-T", span, "--repo", "test")
    assert (code, [row["valid_from"] for row in rows(out)]) == (0, stamps)


def test_an_empty_range_is_refused(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "list", A, "-T", f"{LATER}..{STAMP}")
    assert (code, "the range from" in err) == (2, True)


def test_filter_by_user_message_and_texts(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = jfstore.open("test")
    arrays = {"pixel_gain": entry(A, LATER, 5).arrays["pixel_gain"].array}
    test.add(A, LATER, arrays, "from a dark run", about={"dark_run": "689", "report": "R7"})
    user = test.summary(1).user
    assert [row["test"] for row in rows(run(capsys, "list", "--grep", "SECOND")[1])] == ["v2"]
    assert len(rows(run(capsys, "list", "--user", user, "--repo", "test")[1])) == 6
    code, out, err = run(capsys, "list", "--user", "nobody-of-that-name")
    assert (code, rows(out), "nothing matches" in err) == (0, [], True)
    for texts, count in (({"dark_run=689"}, 1), ({"dark_run=689", "report=R7"}, 1), ({"dark_run=68"}, 0), ({"x=y"}, 0)):
        words = [word for text in texts for word in ("--about", text)]
        code, out, _ = run(capsys, "list", *words, "--json")
        found = json.loads(out)["versions"]
        assert (code, len(found)) == (0, count)
        for row in found:
            assert (row["in"]["test"]["about"], row["in"]["real"]) == ({"dark_run": "689", "report": "R7"}, None)
    assert run(capsys, "list", "--about", "dark_run")[0] == 2


def test_only_what_differs_in_what_is_valid(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def different() -> list[tuple[str, str, str, str]]:
        code, out, _ = run(capsys, "list", "--only-different")
        assert code == 0
        return [(row["panel"], row["valid_from"], row["test"], row["real"]) for row in rows(out)]

    # The first version of A is superseded in test and was never in real: both answer alike.
    assert different() == [(C, STAMP, "v1", ""), (D, STAMP, "v1", "")]
    test, real = jfstore.open("test"), jfstore.open("real")
    test.withdraw(f"{A}/{STAMP}/v2", "wrong")
    test.close(B, LATER, "shipped")
    assert different() == [
        (B, LATER, "v1 (closed)", ""),
        (C, STAMP, "v1", ""),
        (D, STAMP, "v1", ""),
        (A, STAMP, "v1", ""),
        (A, STAMP, "(v2 withdrawn)", "v1"),
    ]
    for panel, seed in ((C, 3), (D, 1)):
        real.add_entries([entry(panel, seed=seed)], "promoted")
    real.close(B, LATER, "shipped")
    real.withdraw(f"{A}/{STAMP}/v1", "wrong")
    real.add_entries([entry(A, seed=1)], "the first one")
    assert different() == []
    assert run(capsys, "list", "--only-different", "--repo", "test")[0] == 2


def test_only_what_differs_needs_both(
    both: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JFSTORE_REAL", str(both / "nowhere"))
    code, out, err = run(capsys, "list", "--only-different")
    assert (code, out, "needs both repositories" in err) == (1, "", True)


def test_of_equal_versions_the_one_that_is_valid_counts(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = jfstore.open("test")
    test.withdraw(f"{A}/{STAMP}/v2", "wrong")
    test.withdraw(f"{A}/{STAMP}/v1", "wrong, too")
    test.add_entries([entry(A, seed=1)], "was right")
    test.restore(f"{A}/{STAMP}/v1", "was right")
    test.withdraw(f"{A}/{STAMP}/v3", "twice the same")
    (row,) = [row for row in rows(run(capsys, "list", A, "--repo", "test")[1]) if "v3" in row["test"]]
    assert row["test"] == "v1,v3 withdrawn"
