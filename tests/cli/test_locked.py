"""``get --lock`` and ``get --locked``: the same bits at any later time, or a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.makers.repositories import LATER, STAMP, B, C, constants, entry, reopened, story
from tests.makers.telling import rows_of, tell
from tests.makers.xtc import PAIR_ID

RUN = "exp=xpptut15:run=430"
PAIR = f"{B}_{C}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the repository R in it."""
    story(tmp_path / "R")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_lock_is_written_and_replayed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [PAIR, "-T", LATER, "--repo", "./R"]
    code, first, err = tell(capsys, "get", *words, "-f", "a.h5", "--lock", "a.lock")
    assert code == 0
    assert "wrote a.lock: the lock of 4 arrays as of commit 4" in err
    repository = story(place / "other")  # which is not asked
    repository = reopened(repository)
    assert tell(capsys, "add", B, "-T", STAMP, "-t", "pixel_gain", "-f", "new.npy", "--repo", "./R", "-m", "x")[0] == 2
    np.save("new.npy", constants(9)[:, None])
    assert tell(capsys, "add", B, "-T", STAMP, "-t", "pixel_gain", "-f", "new.npy", "--repo", "./R", "-m", "x")[0] == 0
    assert tell(capsys, "get", *words)[1] != first
    code, out, err = tell(capsys, "get", "--locked", "a.lock", "--repo", "./R", "-f", "b.h5")
    assert (code, out) == (0, first)
    assert "as of commit 4 of the test repository R\npinned by a.lock" in err
    assert "warning" not in err
    assert Path("b.h5").read_bytes() == Path("a.h5").read_bytes()


def test_the_warning_names_who_withdrew_it_and_why(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(capsys, "get", PAIR, "-T", LATER, "--repo", "./R", "-f", "a.h5", "--lock", "a.lock")
    assert tell(capsys, "withdraw", f"{C}/{STAMP}/v1", "--repo", "./R", "-m", "wrong bias")[0] == 0
    code, _, err = tell(capsys, "get", "--locked", "a.lock", "--repo", "./R", "-f", "b.h5")
    assert (code, Path("b.h5").read_bytes()) == (0, Path("a.h5").read_bytes())
    assert f"jfstore: warning: {C}/{STAMP}/v1 was withdrawn by commit 5, " in err
    assert ": wrong bias; the lock still pins it\n" in err


def test_types_and_files_and_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(capsys, "get", PAIR, "-T", LATER, "--repo", "./R", "--lock", "a.lock")
    locked = ["--locked", "a.lock", "--repo", "./R"]
    expected = np.stack([constants(2, "pixel_offset"), constants(3, "pixel_offset")], axis=1)
    code, out, _ = tell(capsys, "get", *locked, "-t", "pixel_offset", "-f", "o.npy", "--json")
    value = json.loads(out)
    assert (code, np.load("o.npy").tobytes()) == (0, expected.tobytes())
    assert [row["type"] for row in value["selections"]] == ["pixel_offset"] * 2
    assert value["lock"]["file"] == "a.lock"
    assert (value["as_of"], value["detector"]) == (4, PAIR)
    code, out, err = tell(capsys, "get", *locked, "-f", "two.npy")
    assert (code, out) == (2, "")
    assert "holds one array, and the lock has pixel_gain, pixel_offset: choose with -t" in err
    assert not Path("two.npy").exists()
    # A lock of one type, made of the lock.
    assert tell(capsys, "get", *locked, "-t", "pixel_offset", "--lock", "o.lock")[0] == 0
    assert tell(capsys, "get", "--locked", "o.lock", "--repo", "./R", "-f", "p.npy")[0] == 0
    assert Path("p.npy").read_bytes() == Path("o.npy").read_bytes()
    code, out, _ = tell(capsys, "get", PAIR, "-T", LATER, "--repo", "./R", "--json", "--lock", "c.lock")
    assert json.loads(out)["lock"] == {"file": "c.lock", "hash": json.loads(Path("c.lock").read_text())["hash"]}
    assert Path("c.lock").read_bytes() == Path("a.lock").read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        [PAIR],
        ["-d", PAIR],
        ["-T", LATER],
        ["-e", "xpptut15", "-r", "430"],
        ["--as-of", "3"],
        ["-v", "1"],
    ],
)
def test_a_lock_and_a_question_are_too_much(words: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(capsys, "get", PAIR, "-T", LATER, "--repo", "./R", "--lock", "a.lock")
    code, out, err = tell(capsys, "get", *words, "--locked", "a.lock", "--repo", "./R")
    assert (code, out) == (2, "")
    assert f"leave out {' '.join(words[:2])}" in err


def test_an_existing_file_is_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["get", PAIR, "-T", LATER, "--repo", "./R", "--lock", "a.lock", "-f", "a.h5"]
    Path("a.lock").write_text("mine")
    code, _, err = tell(capsys, *words)
    assert (code, err) == (5, "jfstore: error: a.lock exists; --force replaces it\n")
    assert not Path("a.h5").exists()
    assert Path("a.lock").read_text() == "mine"
    assert tell(capsys, *words, "--force")[0] == 0
    for name in ("-", "d/", "a.h5"):
        assert tell(capsys, *words[:-3], name, "-f", "a.h5", "--force")[0] == 2


def test_files_that_are_no_locks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.lock").write_text("{}")
    tell(capsys, "get", PAIR, "-T", LATER, "--repo", "./R", "--lock", "a.lock")
    Path("bad.lock").write_text(Path("a.lock").read_text().replace(STAMP, "20180306000001"))
    for name, code, words in (
        ("x.lock", 2, "x.lock is not a lock file of jfstore"),
        ("none.lock", 2, "none.lock: no such file"),
        (".", 2, "not a regular file"),
        ("bad.lock", 4, "bad.lock is damaged: its fields do not match its hash"),
    ):
        found, out, err = tell(capsys, "get", "--locked", name, "--repo", "./R")
        assert (found, out, err.count("\n")) == (code, "", 1)
        assert words in err
    story(place / "other")
    code, _, err = tell(capsys, "get", "--locked", "a.lock", "--repo", "./other")
    assert (code, err.count("\n")) == (5, 1)
    assert "name that one, or a mirror or a bundle of it, with --repo" in err


def test_a_lock_of_a_run_needs_no_xtc_files(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import jfstore

    repository = jfstore.open("./R")
    repository.add_entries([entry(panel, seed=seed) for seed, panel in enumerate(PAIR_ID.split("_"), 2)], "x")
    code, first, err = tell(capsys, "get", RUN, "--repo", "./R", "-f", "a.h5", "--lock", "a.lock")
    assert code == 0, err
    value = json.loads(Path("a.lock").read_text())["run"]
    assert (value["experiment"], value["run"], value["segments"]) == ("xpptut15", 430, [0, 1])
    report = json.loads(tell(capsys, "get", RUN, "--repo", "./R", "--json")[1])
    monkeypatch.setenv("SIT_PSDM_DATA", str(here / "nowhere"))
    assert tell(capsys, "get", RUN, "--repo", "./R")[0] != 0
    code, out, again = tell(capsys, "get", "--locked", "a.lock", "--repo", "./R", "-f", "b.h5")
    assert (code, out) == (0, first)
    assert [line for line in again.splitlines() if "started at" in line] == [
        line for line in err.splitlines() if "started at" in line
    ]
    assert Path("b.h5").read_bytes() == Path("a.h5").read_bytes()
    replayed = json.loads(tell(capsys, "get", "--locked", "a.lock", "--repo", "./R", "--json")[1])
    assert replayed["run"] == report["run"]
    assert rows_of(out)[0]["version"].startswith(PAIR_ID.split("_")[0])


def test_a_bundle_is_enough(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [PAIR, "-T", LATER, "--repo", "./R"]
    code, first, _ = tell(capsys, "get", *words, "--lock", "a.lock", "-t", "pixel_gain", "-f", "a.npy")
    assert code == 0
    code, out, err = tell(capsys, "export", "--format", "bundle", *words, "-t", "pixel_gain", "-f", "b.h5")
    assert (code, out) == (0, "")
    assert err == "wrote b.h5: pixel_gain of 2 panels\nfrom commit 4 of the test repository R\n"
    locked = ["export", "--format", "bundle", "--locked", "a.lock", "--repo", "./R"]
    code, out, _ = tell(capsys, *locked, "-f", "c.h5", "--json")
    value = json.loads(out)
    assert (code, value["format"], value["as_of"], len(value["versions"])) == (0, "bundle", 4, 2)
    assert Path("b.h5").read_bytes() == Path("c.h5").read_bytes()
    assert tell(capsys, *locked, "-f", "c.h5")[0] == 5
    Path("R").rename("away")
    for number, words in enumerate(
        (["--locked", "b.h5"], ["--locked", "a.lock", "--repo", "b.h5"], ["--locked", "b.h5", "--repo", "./away"])
    ):
        code, out, err = tell(capsys, "get", *words, "-f", f"{number}.npy")
        assert (code, out) == (0, first)
        assert "as of commit 4 of the test repository " in err
        assert Path(f"{number}.npy").read_bytes() == Path("a.npy").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-f", "b.npy", PAIR, "-T", LATER], 2, "a bundle is an HDF5 file, and its name ends in .h5"),
        (["-f", "b.h5", PAIR], 2, "the time is missing"),
        (["-f", "b.h5", PAIR, "--locked", "x"], 2, f"leave out {PAIR}"),
        (["-f", "b.h5", "--locked", "x"], 2, "x: no such file"),
        (["-f", "b.h5", "--format", "dcs", PAIR, "-T", LATER], 2, f"leave out {LATER}"),
        (["-f", "b.h5", PAIR, "-T", "20150101000000"], 3, "no pixel_gain or pixel_offset is valid"),
        (["-f", "none/b.h5", PAIR, "-T", LATER], 1, "none does not exist"),
    ],
)
def test_bundles_that_cannot_be(
    words: list[str], code: int, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = tell(capsys, "export", "--format", "bundle", *words, "--repo", "./R")
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert sorted(path.name for path in place.iterdir()) == ["R"]
