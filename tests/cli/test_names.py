"""Names of panels and detectors, and ``<panel Id>-<stamp>``, are accepted wherever an Id or a version is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jfstore
from tests.makers.repositories import LATER, STAMP, A, B, C, entry, new_repository, reopened, story
from tests.makers.telling import tell

Capture = pytest.CaptureFixture[str]
VERSION = f"{B}/{STAMP}/v1"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository R with panel A called M044, B called M068, and both called pair; and an empty repository S."""
    monkeypatch.chdir(tmp_path)
    made = story(tmp_path / "R")
    made.name_panel(A, "M044", "label")
    made.name_panel(B, "M068", "label")
    made.name_panel(f"{A}_{B}", "pair", "both")
    new_repository(tmp_path / "S")
    return tmp_path


READING = [
    ("get", "{}", "-T", LATER),
    ("list", "{}"),
    ("history", "--panel", "{}"),
    ("explain", "{}", "-T", LATER),
    ("diff", "{}", "-T", STAMP, "-T", LATER),
    ("export", "--format", "bundle", "{}", "-T", LATER, "-f", "out.h5"),
    ("export", "{}", "-f", "out.h5"),
    ("export", "--format", "tree", "{}", "T"),
    ("panel", "{}"),
    ("panel", "{}", "--propose"),
]
WRITING = [
    ("add", "{}", "-T", LATER, "--fill", "pixel_gain=41.5,-1.4,-0.1", "-m", "x"),
    ("close", "{}", "-T", LATER, "-m", "x"),
    ("runs", "--panels", "{}", "exp=mfx00616:run=1", "-m", "x"),
    ("panel", "{}", "--same-as", "171113-1-3d00b0", "-m", "x", "--dry-run"),
    ("withdraw", "{}/" + STAMP + "/v1", "-m", "x"),
]


def words(pattern: tuple[str, ...], name: str) -> list[str]:
    return [*(word.replace("{}", name) for word in pattern), "--repo", "./R", "--json"]


@pytest.mark.parametrize("pattern", READING)
def test_a_name_reads_as_its_id(pattern: tuple[str, ...], capsys: Capture) -> None:
    outputs = []
    for name in ("M068", B):
        Path("out.h5").unlink(missing_ok=True)
        code, out, err = tell(capsys, *words(pattern, name))
        assert code == 0, err
        outputs.append(json.loads(out))
    if pattern[:3] == ("export", "--format", "tree"):
        assert [one["state"] for one in outputs[1].pop("names")] == ["unchanged"]
        assert [one["state"] for one in outputs[0].pop("names")] == ["new"]
        assert (outputs[0].pop("written"), outputs[1].pop("written")) == (["M068"], [])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("pattern", WRITING)
def test_a_name_writes_as_its_id(pattern: tuple[str, ...], capsys: Capture) -> None:
    code, out, err = tell(capsys, *words(pattern, "M068"))
    assert code == 0, err
    assert "M068" not in out


@pytest.mark.parametrize("pattern", READING[:4])
def test_a_name_of_a_detector_and_joined_names(pattern: tuple[str, ...], capsys: Capture) -> None:
    values = [tell(capsys, *words(pattern, name)) for name in ("pair", "M044_M068", f"{A}_{B}")]
    assert {code for code, _, _ in values} == {0}
    assert len({out for _, out, _ in values}) == 1


@pytest.mark.parametrize("panel", ["M068", B, B.partition("-")[2]])
def test_a_stamp_names_the_only_version(panel: str, capsys: Capture) -> None:
    name = f"{panel}-{STAMP}"
    for command in ("show", "withdraw", "restore", "promote"):
        more = {"show": (), "promote": ("--from", "./R", "-m", "x")}.get(command, ("-m", "x"))
        repo = "./S" if command == "promote" else "./R"
        code, out, err = tell(capsys, command, name, *more, "--repo", repo, "--json")
        assert (code, VERSION in out) == (0, True), err
    code, out, err = tell(capsys, "diff", name, f"{C}/{STAMP}/v1", "--repo", "./R")
    assert (code, f"compared {VERSION}" in err) == (0, True), err
    assert [row["stamp"] for row in json.loads(tell(capsys, *words(("list", "{}"), name))[1])["versions"]] == [STAMP]
    code, out, err = tell(capsys, "explain", name, "--repo", "./R")
    assert (code, f"{STAMP}/v1" in out) == (0, True), err
    assert tell(capsys, "add", f"{panel}-{LATER}", "--fill", "pixel_gain=41,-1,-1", "-m", "x", "--repo", "./R")[0] == 0
    assert tell(capsys, "close", f"{panel}-20200101000000", "-m", "x", "--repo", "./R")[0] == 0
    stamps = {version.stamp for version in jfstore.open("./R").versions() if version.panel == B}
    assert stamps == {STAMP, LATER, "20200101000000"}


@pytest.mark.parametrize("command", ["show", "withdraw", "restore", "promote"])
def test_a_stamp_with_several_versions_lists_them(command: str, capsys: Capture) -> None:
    more = {"show": (), "promote": ("--from", "./R", "-m", "x")}.get(command, ("-m", "x"))
    repo = "./S" if command == "promote" else "./R"
    assert tell(capsys, "withdraw", f"{A}/{STAMP}/v1", "-m", "x", "--repo", "./R")[0] == 0
    code, _, err = tell(capsys, command, f"M044-{STAMP}", *more, "--repo", repo)
    text = f"{A}-{STAMP} fits several versions, write one in full: {A}/{STAMP}/v1 (withdrawn), {A}/{STAMP}/v2"
    assert (code, text in err) == (2, True), err


def test_a_stamp_without_versions_names_the_nearest(capsys: Capture) -> None:
    code, _, err = tell(capsys, "withdraw", "M068-20180306000001", "-m", "x", "--repo", "./R")
    assert (code, "nothing starts at exactly 20180306000001" in err, f"nearest: {STAMP}" in err) == (3, True, True)


def test_list_combines_stamps_and_panels(capsys: Capture) -> None:
    made = reopened(new_repository(Path("Q")))
    made.add_entries([entry(A, seed=1), entry(A, LATER, seed=2), entry(B, seed=3), entry(B, LATER, seed=4)], "m")

    def rows(*asked: str) -> list[tuple[str, str]]:
        value = json.loads(tell(capsys, "list", *asked, "--repo", "./Q", "--json")[1])
        return [(row["panel"], row["stamp"]) for row in value["versions"]]

    assert rows(f"{A}-{LATER}", B) == [(B, STAMP), (B, LATER), (A, LATER)]
    assert rows(f"{A}-{LATER}", f"{A}-{STAMP}") == [(A, STAMP), (A, LATER)]
    assert rows(f"{A}-{LATER}", A) == [(A, STAMP), (A, LATER)]
    assert rows(f"{A}-20170101000000") == []


def test_promote_panel_takes_a_name(capsys: Capture) -> None:
    assert tell(capsys, "panel", "M044", "--same-as", "M068", "-m", "x", "--dry-run", "--repo", "./R")[0] == 5
    assert tell(capsys, "panel", "M068", "--same-as", "171113-1-3d00b0", "-m", "x", "--repo", "./R")[0] == 0
    code, out, err = tell(capsys, "promote", "--panel", "M068", "--from", "./R", "--repo", "./S", "-m", "x")
    assert (code, "joined" in out) == (0, True), err


def test_a_repository_with_the_form_of_a_version_is_one(capsys: Capture) -> None:
    new_repository(Path(f"R-{STAMP}"))
    code, _, err = tell(capsys, "diff", "R", f"R-{STAMP}")
    assert (code, "4 versions only in the first" in err) == (0, True), err
