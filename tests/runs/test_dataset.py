"""Dataset specifications, and the files that they mean: both cases, both prefixes, streams, chunks, nearest names."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from jfstore.errors import BadValue, Failed, NotFound
from jfstore.runs.dataset import Dataset, is_dataset, is_within, parse_dataset
from jfstore.runs.tree import RunFiles, Tree
from tests.conftest import ROOT
from tests.makers.xtc import path_of, write_run

XTC = ROOT / "tests/data/reference/xtc"
MFX = "mfxtest01"


def touch(root: Path, *runs: int, instrument: str = "MFX", experiment: str = MFX, stream: int = 0) -> None:
    for run in runs:
        write_run(root, instrument, experiment, run, b"", stream)


def find(root: Path, text: str, **numbers: tuple[str, str]) -> list[RunFiles]:
    return Tree(root, numbers).find(parse_dataset(text))


def names(run: RunFiles) -> list[str]:
    return [os.path.basename(file.path) for file in run.files]


# ---- what a specification says


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exp=xpptut15:run=430", {"experiment": "xpptut15", "runs": ((430, 430),)}),
        ("run=430:exp=xpptut15", {"experiment": "xpptut15", "runs": ((430, 430),)}),
        ("exp=xpptut15:run=0430", {"experiment": "xpptut15", "runs": ((430, 430),)}),
        ("exp=xpptut15:run=1,3-5,9", {"experiment": "xpptut15", "runs": ((1, 1), (3, 5), (9, 9))}),
        ("exp=xpptut15:run=1:smd", {"experiment": "xpptut15", "runs": ((1, 1),), "smalldata": True}),
        ("exp=x:run=1:stream=0-3,80", {"experiment": "x", "runs": ((1, 1),), "streams": ((0, 3), (80, 80))}),
        ("exp=x:run=1:dir=some/where", {"experiment": "x", "runs": ((1, 1),), "directory": "some/where"}),
        ("exp=x:run=1:dir=/a=b", {"experiment": "x", "runs": ((1, 1),), "directory": "/a=b"}),
        ("exp=XPP/xpptut15:run=1", {"experiment": "xpptut15", "instrument": "XPP", "runs": ((1, 1),)}),
        ("exp=158:run=16", {"experiment": "158", "runs": ((16, 16),)}),
        ("some/where/a.xtc", {"file": "some/where/a.xtc"}),
        ("a.xtc", {"file": "a.xtc"}),
        ("./a", {"file": "./a"}),
    ],
)
def test_a_specification_says(text: str, expected: dict[str, Any]) -> None:
    nothing = asdict(Dataset(text))
    assert asdict(parse_dataset(text)) == {**nothing, **expected}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exp=xpptut15", "no run="),
        ("run=430", "no exp="),
        ("stream=1", "no exp="),
        ("exp=xpptut15:run=", "run needs a value"),
        ("exp=xpptut15:run", "run needs a value"),
        ("exp=:run=430", "exp needs a value"),
        ("exp=xpptut15:run=430:dir=", "dir needs a value"),
        ("exp=xpptut15:run=430:smd=1", "smd takes no value"),
        ("exp=xpptut15:run=abc", "run=abc"),
        ("exp=xpptut15:run=-1", "run=-1"),
        ("exp=xpptut15:run=1-2-3", "run=1-2-3"),
        ("exp=xpptut15:run=1,", "run=1,"),
        ("exp=xpptut15:run=1..3", "run=1..3"),
        ("exp=xpptut15:run=+1", "run=+1"),
        ("exp=xpptut15:run=\u0661", "run=\u0661"),
        ("exp=xpptut15:run=0x10", "run=0x10"),
        ("exp=xpptut15:run=9999999999", "run=9999999999"),
        ("exp=xpptut15:run=9-3", "9-3"),
        ("exp=xpptut15:run=1:stream=a", "stream=a"),
        ("exp=xpptut15:run=1:run=2", "run comes twice"),
        ("exp=xpptut15:run=1:smd:smd", "smd comes twice"),
        ("exp=xpptut15:run=1:live", "'live' is not understood"),
        ("exp=xpptut15:run=1:idx", "'idx' is not understood"),
        ("exp=../x:run=1", "'../x' is not the name"),
        ("exp=xpp/../x:run=1", "not the name"),
        ("exp=XPPP/xpptut15:run=1", "not the name"),
        ("exp=xpp tut:run=1", "not the name"),
        ("exp=xpptut15\n:run=1", "not the name"),
        ("xpptut15:run=430", "did you mean exp=xpptut15:run=430?"),
        ("xpptut15", "expected exp=<experiment>:run=<number>"),
        ("", "expected exp=<experiment>:run=<number>"),
    ],
)
def test_what_is_no_specification_is_refused_and_quoted(text: str, said: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_dataset(text)
    assert repr(text) in caught.value.message
    assert said in caught.value.message


def test_every_refusal_that_can_show_the_form() -> None:
    for text in ("exp=xpptut15", "run=1", "exp=:run=1", "what", "exp=xpptut15:run=1:live"):
        with pytest.raises(BadValue, match="exp=xpptut15:run=430"):
            parse_dataset(text)


def test_a_range_includes_both_its_ends() -> None:
    ranges = parse_dataset("exp=x:run=3-5,9").runs
    assert [number for number in range(12) if is_within(number, ranges)] == [3, 4, 5, 9]
    assert not is_within(1, ())


@pytest.mark.parametrize("text", ["exp=x:run=1", "x:run=1", "a.xtc", "/d/a.xtc"])
def test_these_are_meant_as_datasets(text: str) -> None:
    assert is_dataset(text)


@pytest.mark.parametrize("text", ["171113-154920171025-3d00fb", "jungfrau_1-2-3_4-5-6", "xpptut15", ""])
def test_these_are_not(text: str) -> None:
    assert not is_dataset(text)


# ---- which files are meant


@pytest.mark.parametrize("instrument", ["MFX", "mfx"])
@pytest.mark.parametrize("asked", [MFX, f"MFX/{MFX}", f"mfx/{MFX}"])
def test_both_cases_of_the_instrument(instrument: str, asked: str, tmp_path: Path) -> None:
    touch(tmp_path, 7, instrument=instrument)
    (run,) = find(tmp_path, f"exp={asked}:run=7")
    assert (run.experiment, run.run) == (MFX, 7)
    assert [file.path for file in run.files] == [str(path_of(tmp_path, instrument, MFX, 7))]


def test_runs_of_both_cases_are_one_experiment(tmp_path: Path) -> None:
    touch(tmp_path, 7)
    touch(tmp_path, 8, instrument="mfx")
    assert [run.run for run in find(tmp_path, f"exp={MFX}:run=1-9")] == [7, 8]


def test_one_case_as_a_link_to_the_other_is_the_same_run_once(tmp_path: Path) -> None:
    touch(tmp_path, 7)
    (tmp_path / "mfx").symlink_to("MFX")
    (run,) = find(tmp_path, f"exp={MFX}:run=7")
    assert run.streams() == {0: [str(path_of(tmp_path, "MFX", MFX, 7))]}
    assert [e.name for e in Tree(tmp_path).experiments("MFX")] == [MFX]


def test_the_same_chunk_twice_is_refused_and_both_are_named(tmp_path: Path) -> None:
    touch(tmp_path, 7)
    touch(tmp_path, 7, instrument="mfx")
    (run,) = find(tmp_path, f"exp={MFX}:run=7")
    with pytest.raises(BadValue, match="dir=") as caught:
        run.streams()
    for instrument in ("MFX", "mfx"):
        assert str(path_of(tmp_path, instrument, MFX, 7)) in caught.value.message


def test_dir_chooses_between_them(tmp_path: Path) -> None:
    touch(tmp_path, 7)
    touch(tmp_path, 7, instrument="mfx")
    place = path_of(tmp_path, "mfx", MFX, 7).parent
    (run,) = find(tmp_path, f"exp={MFX}:run=7:dir={place}")
    assert run.streams() == {0: [str(path_of(tmp_path, "mfx", MFX, 7))]}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_same_file_by_two_names_is_one_chunk(link: Any, tmp_path: Path) -> None:
    touch(tmp_path, 7)
    link(path_of(tmp_path, "MFX", MFX, 7), path_of(tmp_path, "mfx", MFX, 7))
    (run,) = find(tmp_path, f"exp={MFX}:run=7")
    assert [len(paths) for paths in run.streams().values()] == [1]


def test_dir_needs_no_experiment_under_the_root(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", 7)
    place = path_of(tmp_path / "elsewhere", "MFX", MFX, 7).parent
    (run,) = find(tmp_path / "nothing", f"exp={MFX}:run=7:dir={place}")
    assert names(run) == [f"{MFX}-r0007-s00-c00.xtc"]
    with pytest.raises(NotFound, match="nowhere"):
        find(tmp_path, f"exp={MFX}:run=7:dir={tmp_path}/nowhere")


def test_streams_and_chunks_are_in_order_and_of_this_run_only(tmp_path: Path) -> None:
    for stream, chunk in ((80, 0), (1, 0), (0, 1), (0, 0), (10, 0)):
        write_run(tmp_path, "MFX", MFX, 7, b"", stream, chunk)
    touch(tmp_path, 8, 70)
    (run,) = find(tmp_path, f"exp={MFX}:run=7")
    streams = {stream: [os.path.basename(path) for path in paths] for stream, paths in run.streams().items()}
    assert list(streams) == [0, 1, 10, 80]
    assert streams[0] == [f"{MFX}-r0007-s00-c00.xtc", f"{MFX}-r0007-s00-c01.xtc"]


@pytest.mark.parametrize(("asked", "there"), [("1", [1]), ("0-9", [0, 1]), ("80,1", [1, 80]), ("80-99", [80])])
def test_stream_chooses(asked: str, there: list[int], tmp_path: Path) -> None:
    for stream in (0, 1, 80):
        touch(tmp_path, 7, stream=stream)
    (run,) = find(tmp_path, f"exp={MFX}:run=7:stream={asked}")
    assert list(run.streams()) == there


def test_a_stream_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    for stream in (0, 80):
        touch(tmp_path, 7, stream=stream)
    with pytest.raises(NotFound) as caught:
        find(tmp_path, f"exp={MFX}:run=7:stream=5")
    assert caught.value.nearest == ("0", "80")


def test_small_data_are_other_files(tmp_path: Path) -> None:
    touch(tmp_path, 7, 8)
    place = path_of(tmp_path, "MFX", MFX, 7).parent / "smalldata"
    place.mkdir()
    small = place / f"{MFX}-r0007-s00-c00.smd.xtc"
    small.touch()
    (run,) = find(tmp_path, f"exp={MFX}:run=7:smd")
    assert [file.path for file in run.files] == [str(small)]
    assert names(find(tmp_path, f"exp={MFX}:run=7")[0]) == [f"{MFX}-r0007-s00-c00.xtc"]
    with pytest.raises(NotFound) as caught:
        find(tmp_path, f"exp={MFX}:run=8:smd")
    assert caught.value.nearest == ("7",)


def test_small_data_beside_one_of_two_directories(tmp_path: Path) -> None:
    touch(tmp_path, 7)
    touch(tmp_path, 8, instrument="mfx")
    place = path_of(tmp_path, "MFX", MFX, 7).parent / "smalldata"
    place.mkdir()
    (place / f"{MFX}-r0007-s00-c00.smd.xtc").touch()
    (run,) = find(tmp_path, f"exp={MFX}:run=7:smd")
    assert names(run) == [f"{MFX}-r0007-s00-c00.smd.xtc"]


@pytest.mark.parametrize(
    "name",
    [
        f"{MFX}-r0007-s00-c00.xtc.inprogress",
        f"{MFX}-r0007-s00-c00.xtc.bak",
        f"x{MFX}-r0007-s00-c00.xtc",
        f"{MFX}-r0007-s00.xtc",
        f"{MFX}-r0007-s00-c00.smd.xtc",
        "mfxother1-r0007-s00-c00.xtc",
        f"{MFX}-r7x-s00-c00.xtc",
    ],
)
def test_other_names_are_no_files_of_the_run(name: str, tmp_path: Path) -> None:
    touch(tmp_path, 6)
    (path_of(tmp_path, "MFX", MFX, 6).parent / name).touch()
    with pytest.raises(NotFound, match="run 7"):
        find(tmp_path, f"exp={MFX}:run=7")


@pytest.mark.parametrize("written", ["r7", "r07", "r0007", "r00007"])
def test_leading_zeros_of_a_run_mean_nothing(written: str, tmp_path: Path) -> None:
    touch(tmp_path, 6)
    name = f"{MFX}-{written}-s00-c00.xtc"
    (path_of(tmp_path, "MFX", MFX, 6).parent / name).touch()
    assert names(find(tmp_path, f"exp={MFX}:run=7")[0]) == [name]


# ---- the name database

KNOWN = {"xppe0158": ("158", "XPP"), "strange1": ("159", "XPP")}


@pytest.mark.parametrize("asked", ["158", "0158", "xppe0158", "XPP/xppe0158", "xpp/xppe0158", "XPP/158"])
def test_an_experiment_by_number_or_name(asked: str, tmp_path: Path) -> None:
    place = path_of(tmp_path, "XPP", "xppe0158", 16).parent
    (place / "e158-r0016-s00-c00.xtc").touch()
    (run,) = find(tmp_path, f"exp={asked}:run=16", **KNOWN)
    assert (run.experiment, names(run)) == ("xppe0158", ["e158-r0016-s00-c00.xtc"])


@pytest.mark.parametrize("numbers", [KNOWN, {}], ids=["known", "unknown"])
def test_both_prefixes_are_read(numbers: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    place = path_of(tmp_path, "XPP", "xppe0158", 16).parent
    (place / "e158-r0016-s00-c00.xtc").touch()
    (place / "xppe0158-r0017-s00-c00.xtc").touch()
    assert [run.run for run in find(tmp_path, "exp=xppe0158:run=16-17", **numbers)] == [16, 17]


def test_another_number_is_another_experiment(tmp_path: Path) -> None:
    place = path_of(tmp_path, "XPP", "xppe0158", 16).parent
    (place / "e159-r0016-s00-c00.xtc").touch()
    with pytest.raises(NotFound):
        find(tmp_path, "exp=158:run=16", **KNOWN)


def test_the_database_says_the_instrument(tmp_path: Path) -> None:
    touch(tmp_path, 3, instrument="XPP", experiment="strange1")
    assert find(tmp_path, "exp=159:run=3", **KNOWN) == find(tmp_path, "exp=strange1:run=3", **KNOWN)
    with pytest.raises(NotFound):
        find(tmp_path, "exp=strange1:run=3")


def test_a_number_that_no_experiment_has(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="number 160"):
        find(tmp_path, "exp=160:run=1", **KNOWN)


@pytest.mark.parametrize("data", [XTC / "expname", XTC], ids=["the directory itself", "the one above"])
def test_the_database_is_found_by_the_environment(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(XTC))
    monkeypatch.setenv("SIT_DATA", str(data))
    (run,) = Tree.from_environment().find(parse_dataset("exp=158:run=16"))
    assert names(run) == ["e158-r0016-s00-c00.xtc"]
    monkeypatch.delenv("SIT_DATA")
    with pytest.raises(NotFound, match="158"):
        Tree.from_environment().find(parse_dataset("exp=158:run=16"))


def test_odd_lines_of_the_database_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ExpNameDb").mkdir()
    (tmp_path / "ExpNameDb/experiment-db.dat").write_bytes(
        b"\n1 2\n158\tXPP  xppe0158 \n9 \xff\xfe b c\n# a comment here\n"
    )
    monkeypatch.setenv("SIT_DATA", str(tmp_path))
    assert Tree.from_environment().numbers["xppe0158"] == ("158", "XPP")


def test_the_root_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tree.from_environment().root == Path("/reg/d/psdm")
    monkeypatch.chdir(tmp_path)
    touch(Path("data"), 7)
    monkeypatch.setenv("SIT_PSDM_DATA", "data")
    assert names(Tree.from_environment().find(parse_dataset(f"exp={MFX}:run=7"))[0]) == [f"{MFX}-r0007-s00-c00.xtc"]


# ---- what is not there


def test_a_misspelt_experiment_names_the_nearest(tmp_path: Path) -> None:
    for name in ("mfxtest01", "mfxtest02", "mfxzzzzz9"):
        touch(tmp_path, 1, experiment=name)
    with pytest.raises(NotFound) as caught:
        find(tmp_path, "exp=mfxtest03:run=1")
    assert set(caught.value.nearest) == {"mfxtest01", "mfxtest02"}
    assert str(tmp_path / "MFX") in caught.value.message


def test_a_misspelt_instrument_names_the_nearest_of_all(tmp_path: Path) -> None:
    touch(tmp_path, 1)
    with pytest.raises(NotFound) as caught:
        find(tmp_path, "exp=mfytest01:run=1")
    assert caught.value.nearest == (MFX,)


def test_upper_case_names_the_nearest(tmp_path: Path) -> None:
    touch(tmp_path, 1)
    with pytest.raises(NotFound) as caught:
        find(tmp_path, f"exp={MFX.upper()}:run=1")
    assert caught.value.nearest == (MFX,)


def test_a_run_that_is_not_there_names_the_nearest_numbers(tmp_path: Path) -> None:
    touch(tmp_path, 1, 40, 44, 50, 900)
    with pytest.raises(NotFound, match="run 45") as caught:
        find(tmp_path, f"exp={MFX}:run=45")
    assert caught.value.nearest == ("40", "44", "50")


def test_of_a_list_every_part_must_be_there(tmp_path: Path) -> None:
    touch(tmp_path, 1, 2, 3)
    assert [run.run for run in find(tmp_path, f"exp={MFX}:run=3,1-2")] == [1, 2, 3]
    assert [run.run for run in find(tmp_path, f"exp={MFX}:run=2-9")] == [2, 3]
    with pytest.raises(NotFound, match="run 7"):
        find(tmp_path, f"exp={MFX}:run=1,7")
    with pytest.raises(NotFound, match="from 7 to 9"):
        find(tmp_path, f"exp={MFX}:run=1,7-9")


def test_a_run_that_is_still_written_says_so(tmp_path: Path) -> None:
    touch(tmp_path, 6)
    place = path_of(tmp_path, "MFX", MFX, 6).parent
    (place / f"{MFX}-r0007-s00-c00.xtc.inprogress").touch()
    with pytest.raises(NotFound, match=f"{MFX}-r0007-s00-c00.xtc.inprogress is still being written"):
        find(tmp_path, f"exp={MFX}:run=7")
    with pytest.raises(NotFound) as caught:
        find(tmp_path, f"exp={MFX}:run=70")
    assert "being written" not in caught.value.message


@pytest.mark.parametrize("kind", ["nothing", "a file"])
def test_a_root_that_is_no_directory_names_the_variable(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if kind == "a file":
        root.touch()
    with pytest.raises(Failed, match="SIT_PSDM_DATA") as caught:
        find(root, f"exp={MFX}:run=1")
    assert str(root) in caught.value.message


# ---- one file


def test_a_file_by_its_path(tmp_path: Path) -> None:
    touch(tmp_path, 7, stream=3)
    path = path_of(tmp_path, "MFX", MFX, 7, 3)
    (run,) = find(tmp_path / "nothing", str(path))
    assert (run.experiment, run.run, run.streams()) == (MFX, 7, {3: [str(path)]})


def test_a_file_whose_name_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "copy.xtc"
    path.touch()
    (run,) = find(tmp_path, str(path))
    assert (run.experiment, run.run, run.label) == ("", -1, str(path))


def test_a_file_named_by_number_is_of_the_experiment_above_it() -> None:
    (run,) = find(XTC, str(XTC / "XPP/xppe0158/xtc/e158-r0016-s00-c00.xtc"))
    assert (run.experiment, run.run) == ("xppe0158", 16)


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    touch(tmp_path, 7)
    path = path_of(tmp_path, "MFX", MFX, 7)
    with pytest.raises(NotFound) as caught:
        find(tmp_path, str(path).replace("r0007", "r0008"))
    assert caught.value.nearest == (path.name,)


# ---- all of them


def test_instruments_experiments_and_runs(tmp_path: Path) -> None:
    touch(tmp_path, 2, 10, 1)
    touch(tmp_path, 5, instrument="cxi", experiment="cxitest01")
    path_of(tmp_path, "MFX", MFX, 3).with_name(f"{MFX}-r0003-s00-c00.xtc.inprogress").touch()
    (tmp_path / "MFX/notes").mkdir()
    (tmp_path / "MFX/mfxnoxtc1").mkdir()
    tree = Tree(tmp_path)
    assert tree.instruments() == ["CXI", "MFX"]
    (experiment,) = tree.experiments("mfx")
    assert (experiment.instrument, experiment.name) == ("MFX", MFX)
    assert [run.run for run in tree.runs(experiment)] == [1, 2, 10]
    assert tree.count_unfinished(experiment) == 1
    assert tree.experiment(MFX) == experiment
    with pytest.raises(NotFound) as caught:
        tree.experiments("mfy")
    assert caught.value.nearest == ("MFX",)


def test_what_is_no_directory_is_no_instrument(tmp_path: Path) -> None:
    touch(tmp_path, 1)
    (tmp_path / "doc").touch()
    assert Tree(tmp_path).instruments() == ["MFX"]
