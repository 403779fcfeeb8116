"""A run's constants as files: those of the reference, whatever the arguments; all panels or nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

import jfstore
from tests.makers import deployed as world
from tests.makers.deployed import LOCAL, REFERENCE, RUN, TREE, TYPES, command, data_of
from tests.makers.gains import make_gain_directory
from tests.makers.xtc import jungfrau, phy_of, run_bytes, some_panels, write_run

MERGED = REFERENCE / "gains-tree/merged"


def files_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != "real")


def merged(name: str) -> np.ndarray:
    array: np.ndarray = np.load(MERGED / f"{name}.npy").astype(np.float32)
    return array


# -- the whole job


def test_four_files_here_and_two_where_psana_reads_them(deploying_here: Path) -> None:
    code, out, err = command(["-d", RUN, "-D", "-U", "-c", "calib"])
    assert (code, err) == (0, "")
    local = [f"{LOCAL}_{name}.{ending}" for name in TYPES for ending in ("npy", "txt")]
    assert files_in(deploying_here) == sorted(["calib", *local])
    repository = jfstore.open("real")
    for name in TYPES:
        array = repository.get(world.DETECTOR, name, world.BEGIN_STAMP)
        path = data_of("calib", name)
        assert [p.name for p in path.parent.iterdir() if p.name.endswith(".data")] == ["631-end.data"]
        rows = np.loadtxt(path).astype(np.float32)
        shape = [int(line.split()[2]) for line in path.read_text().splitlines() if line.startswith("# DIM:")]
        assert rows.reshape(shape).tobytes() == array.tobytes()
        assert np.load(f"{LOCAL}_{name}.npy").tobytes() == array.tobytes()
        assert Path(f"{LOCAL}_{name}.txt").read_bytes() == path.read_bytes()
        history = (path.parent / "HISTORY").read_text().splitlines()
        pattern = rf"file:631-end.data   copy_of:{re.escape(LOCAL)}_{name}.txt ctype:{name} user:\S+ host:\S+ "
        assert len(history) == 1
        assert re.match(pattern + r"cptime:[0-9-]{10}T[0-9:]{8} cwd:\S+ cmt:jfstore ", history[0])
    assert 'found source "XcsEndstation.0:Jungfrau.0" with number of panels: 2' in out


def test_the_printed_commands_of_jfstore_run_as_printed(
    deploying_here: Path, command_environment: dict[str, str]
) -> None:
    jfstore.init(str(deploying_here / "test"), "test", panel_shape=world.SHAPE)
    os.environ["JFSTORE_TEST"] = str(deploying_here / "test")
    try:
        _, out, _ = command(["-d", RUN, "-U"])
    finally:
        del os.environ["JFSTORE_TEST"]
    script = "\n".join(line for line in out.splitlines() if line.startswith("jfstore add "))
    assert script.count("\n") == 1
    assert script.count(f" -T {world.BEGIN_STAMP} ") == 2
    environment = {**command_environment, "JFSTORE_REAL": "real", "JFSTORE_TEST": "test"}
    subprocess.run(["bash", "-euc", script], env=environment, check=True, capture_output=True)
    for name in ("real", "test"):
        repository = jfstore.open(deploying_here / name)
        answer = repository.find(world.DETECTOR, TYPES, world.BEGIN_STAMP)
        assert {s.version.stamp for s in answer.selections["pixel_gain"]} == {world.BEGIN_STAMP}
        assert repository.read(answer, "pixel_gain").tobytes() == np.load(f"{LOCAL}_pixel_gain.npy").tobytes()


def test_the_printed_commands_of_dcs_name_real_and_test(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JFSTORE_TEST", "/a test $place")
    _, out, _ = command(["-d", RUN, "-U"])
    lines = [shlex.split(line) for line in out.splitlines() if line.startswith("dcs add ")]
    assert [line[2] for line in lines[::2]] == [
        f"/a test $place/jungfrau-{world.DETECTOR}.h5",
        f"{deploying_here}/real/jungfrau-{world.DETECTOR}.h5",
    ]
    for line in lines:
        options = dict(zip(line[3::2], line[4::2], strict=True))
        assert options.keys() == {"-t", "-f", "-T", "-m", "-e", "-r", "-d"}
        expected = ("1512519240", "xcsls3716", "631", world.SOURCE)
        assert (options["-T"], options["-e"], options["-r"], options["-d"]) == expected
        assert Path(options["-f"]).exists()


# -- the reference


def test_from_the_reference_gain_tree_the_arrays_are_the_merged_ones(deploying_here: Path) -> None:
    assert command(["-d", RUN, "-R", TREE])[0] == 0
    for name in TYPES:
        assert np.load(f"{LOCAL}_{name}.npy").tobytes() == merged(f"jf_2panels_{name}").tobytes()


@pytest.mark.parametrize(
    ("dataset", "detector", "when", "reference"),
    [
        ("exp=mfx11116:run=697", "171113-154920171025-3d00fb", "20180401000000", "jf_1panel"),
        ("exp=mfx11116:run=697", "171113-154920171025-3d00fb", "20190601000000", "jf_1panel-2019"),
        (
            "exp=xpptut15:run=430",
            "171113-154920171025-3d00b0_171113-154920171025-3d00f7",
            "20180401000000",
            "jf_2panels-undated",
        ),
        ("exp=mecls3216:run=226", world.DETECTOR, "20180401000000", "jf_2panels"),
    ],
)
@pytest.mark.parametrize("source", [TREE, "real"])
def test_all_merged_reference_arrays(
    deploying_here: Path, dataset: str, detector: str, when: str, reference: str, source: object
) -> None:
    """From the gain tree and from the repository it was imported into, as the reference merged it then."""
    code, _, err = command([dataset, "Jungfrau", when, "-R", source])
    assert code == 0, err
    for name in TYPES:
        (found,) = deploying_here.glob(f"*_{detector}_{name}.npy")
        assert np.load(found).tobytes() == merged(f"{reference}_{name}").tobytes()


def test_where_the_reference_answered_with_future_constants_there_is_none(deploying_here: Path) -> None:
    for source in (TREE, "real"):
        code, out, err = command(["-d", RUN, "-t", "20150101000000", "-R", source, "-D", "-c", "calib"])
        assert (code, out) == (3, "")
        assert all(panel in err for panel in world.PANELS)
        assert world.STAMP in err
        assert err.count("\n") == 1
    assert files_in(deploying_here) == []


def test_with_the_formats_of_the_original_the_rows_are_the_merged_text(deploying_here: Path) -> None:
    words = ["exp=mfx11116:run=697", "Jungfrau", "20180401000000", "-R", TREE]
    for name, fmt in (("pixel_gain", "%.4f"), ("pixel_offset", "%.1f")):
        assert command([*words, "--format", fmt])[0] == 0
        (found,) = deploying_here.glob(f"*_{name}.txt")
        ours, theirs = (path.read_text().partition("# DTYPE")[2] for path in (found, MERGED / f"jf_1panel_{name}.txt"))
        assert ours == theirs


# -- arguments


@pytest.mark.parametrize(
    "words",
    [
        [RUN],
        [RUN, "Jungfrau.0"],
        [RUN, "jungfrau1M"],
        ["-d", RUN, "-s", "Jungfrau.0", "-t", world.BEGIN_STAMP],
        [RUN, "Jung", world.BEGIN_STAMP],
        ["--dsname", RUN, "--source", "XcsEndstation.0:Jungfrau.0", "--tstamp", "2017-12-06T00:14:00Z"],
        ["-d", RUN, "-L", "DEBUG", "-P", "/ignored", "--dirmode", "2770", "--filemode", "0660", "--group", "root"],
    ],
)
def test_the_arguments_of_the_original(deploying_here: Path, words: list[str]) -> None:
    assert command(words)[0] == 0
    assert np.load(f"{LOCAL}_pixel_gain.npy").tobytes() == merged("jf_2panels_pixel_gain").tobytes()


@pytest.mark.parametrize(
    "words",
    [
        ["generate", RUN],
        ["generate", "-d", RUN, "-s", "Jungfrau.0"],
        ["generate", "-e", "xcsls3716", "-r", "631"],
        ["generate", "-e", "xcsls3716", "-r", "631", "-d", "Jungfrau.0"],
        ["generate", RUN, "Jungfrau.0", "-T", world.BEGIN_STAMP],
        ["generate", RUN, "-R", str(TREE)],
        ["generate", RUN, "--repo", "real"],
    ],
)
def test_the_same_as_a_command_of_jfstore(deploying_here: Path, words: list[str]) -> None:
    code, out, err = command(words, "jfstore")
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()] == ["state", *["written"] * 4]
    assert np.load(f"{LOCAL}_pixel_gain.npy").tobytes() == merged("jf_2panels_pixel_gain").tobytes()


def test_json_says_everything(deploying_here: Path) -> None:
    code, out, _ = command(["generate", RUN, "-D", "-U", "-c", "calib", "--json"], "jfstore")
    value = json.loads(out)
    assert code == 0
    assert [row["state"] for row in value["files"]] == ["written"] * 4 + ["deployed"] * 2
    assert value["constants"][0]["version"] == f"{world.PANELS[0]}/{world.STAMP}/v1"
    assert [words["command"][0] for words in value["commands"]] == ["jfstore", "dcs", "dcs"] * 2


def test_only_commands_go_to_standard_output_with_upload(deploying_here: Path) -> None:
    code, out, err = command(["generate", RUN, "-U"], "jfstore")
    assert code == 0
    assert all(line.startswith(("# ", "jfstore add ", "dcs add ")) for line in out.splitlines())
    assert "written" in err


def test_modes_are_as_asked_whatever_the_umask(deploying_here: Path) -> None:
    before = os.umask(0o077)
    try:
        words = ["-d", RUN, "-D", "-c", "calib", "--dirmode", "2750", "--filemode", "640"]
        assert command(words)[0] == 0
        assert command(["-d", RUN, "-D", "-c", "usual"])[0] == 0
    finally:
        os.umask(before)
    for root, modes in (("calib", (0o2750, 0o640)), ("usual", (0o2775, 0o664))):
        for path in [Path(root), *Path(root).rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == modes[path.is_file()], path
    assert stat.S_IMODE(Path(f"{LOCAL}_pixel_gain.txt").stat().st_mode) == 0o664


def test_little_is_said_when_asked(deploying_here: Path) -> None:
    assert command(["-d", RUN, "-L", "warning"]) == (0, "", "")


def test_no_arguments_print_the_help(deploying_here: Path) -> None:
    code, out, _ = command([])
    assert code == 0
    assert "examples:" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-d", "exp=xcsls3716:run=9"], 3, "no files of run 9"),
        (["-d", "exp=xcs11116:run=18"], 3, "has no panel Ids (psana.Jungfrau.ConfigV2)"),
        (["-d", "exp=mfx00616:run=8"], 3, "has no panel Ids (psana.Jungfrau.ConfigV1)"),
        (["-d", "exp=xpptut15:run=440"], 2, "fits several Jungfraus, choose one: "),
        (["-d", RUN, "-s", "Epix"], 3, "'Epix' is XppEndstation.0:Epix100a.1, not a Jungfrau"),
        (["-d", RUN, "-t", "2018"], 2, "it has 4 digits, a stamp has 14"),
        (["-d", RUN, "-R", "./nowhere"], 1, "./nowhere does not exist"),
        (["-d", RUN, "-R", "reall"], 2, "nearest: real"),
        (["-d", RUN, "-R", "."], 5, "neither a repository nor a gain tree"),
        (["-d", RUN, "-D", "-c", ""], 2, "is empty"),
        (["-d", RUN, "-D", "-c", "no/such/calib"], 1, "no/such does not exist"),
        (["-d", RUN, "--format", "%d"], 2, "'%d' is not a format of values"),
        (["-d", RUN, "--filemode", "436"], 2, "octal"),
        (["-d", RUN, "--group", "rooot"], 2, "nearest: root"),
        (["-d", RUN, "-L", "INFOO"], 2, "nearest: INFO"),
        ([RUN, "-d", "exp=xcsls3716:run=1"], 2, "the dataset is given twice"),
        (["-s", "Jungfrau"], 2, "the dataset is missing"),
        (["-d", "exp=xcsls3716:run=1-631"], 2, "names 2 runs"),
        (["-d", "nonsense"], 2, "not understood"),
    ],
)
def test_what_cannot_be_generated(deploying_here: Path, words: list[str], code: int, message: str) -> None:
    before = files_in(deploying_here)
    found, out, err = command(words)
    assert (found, out) == (code, "")
    assert err.startswith("jungfrau_gain_constants: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert files_in(deploying_here) == before


def test_one_panel_without_constants_and_nothing_is_written(
    deploying_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in ("real", str(TREE)):
        monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "psdm"))
        known = (0x170505, 0x149520170815, 0x3D00B0)
        data = run_bytes((known, *some_panels(2)), 1522800000, 7)
        write_run(deploying_here / "psdm", "MFX", "mfxtest01", 7, data)
        code, out, err = command(["-d", "exp=mfxtest01:run=7", "-D", "-c", "calib", "-R", source])
        assert (code, out) == (3, "")
        assert str(err).count("171113-154920171025-3d0001") == 1
        assert "170505" not in err
        assert files_in(deploying_here) == ["psdm"]


def test_several_jungfraus_are_told_apart_by_source(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "psdm"))
    pair = ((0x170505, 0x149520170815, 0x3D00B0), (0x170505, 0x149520170815, 0x3D00F7))
    other = jungfrau(3, pair[::-1], phy_of(device_number=1))
    write_run(deploying_here / "psdm", "MFX", "mfxtest01", 7, run_bytes(pair, 1522800000, 7, others=[other]))
    code, _, err = command(["-d", "exp=mfxtest01:run=7"])
    assert code == 2
    assert "MfxEndstation.0:Jungfrau.0, MfxEndstation.0:Jungfrau.1" in err
    assert command(["-d", "exp=mfxtest01:run=7", "-s", "Jungfrau.1"])[0] == 0
    assert (
        len(list(deploying_here.glob("mfxtest01-r0007_MfxEndstation.0:Jungfrau.1_*3d00f7_*3d00b0_pixel_gain.npy"))) == 1
    )


def test_without_an_option_the_experiments_own_directory(deploying_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "psdm"))
    pair = ((0x170505, 0x149520170815, 0x3D00B0), (0x170505, 0x149520170815, 0x3D00F7))
    write_run(deploying_here / "psdm", "XCS", "xcstest01", 12, run_bytes(pair, 1522800000, 12))
    assert command(["-d", "exp=xcstest01:run=12", "-D"])[0] == 0
    assert (
        deploying_here / "psdm/XCS/xcstest01/calib/Jungfrau::CalibV1/MfxEndstation.0:Jungfrau.0/pixel_gain/12-end.data"
    ).exists()
    write_run(deploying_here / "psdm", "XCS", "xcstest01", 12345, run_bytes(pair, 1522800000, 12345))
    code, _, err = command(["-d", "exp=xcstest01:run=12345", "-D"])
    assert code == 2
    assert "psana reads no constants of runs after 9999" in err


@pytest.mark.parametrize("count", [8, 32])
def test_an_id_too_long_for_a_file_name_is_shortened(
    deploying_here: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("SIT_PSDM_DATA", str(deploying_here / "psdm"))
    panels = some_panels(count)
    data = run_bytes(panels, 1522800000, 7, version=3 if count == 8 else 4)
    write_run(deploying_here / "psdm", "MFX", "mfxtest01", 7, data)
    make_gain_directory(deploying_here / "tree/M001", (3, 4, 8))
    for module, firmware, serial in panels:
        (deploying_here / f"tree/{module:x}-{firmware:x}-{serial:x}").symlink_to("M001")
    code, out, err = command(["-d", "exp=mfxtest01:run=7", "-R", "tree", "-U"])
    assert code == 0, err
    names = [path.name for path in deploying_here.glob("mfxtest01*")]
    assert len(names) == 4
    head = "mfxtest01-r0007_MfxEndstation.0:Jungfrau.0_171113-154920171025-3d0001-plus"
    assert all(re.fullmatch(rf"{head}{count - 1}-[0-9a-f]{{8}}_pixel_(gain|offset)\.(npy|txt)", name) for name in names)
    assert np.load(deploying_here / sorted(names)[0]).shape == (3, count, 4, 8)
    assert all(
        len(os.path.basename(shlex.split(line)[2])) <= 255 for line in out.splitlines() if line.startswith("dcs")
    )


def test_a_name_of_a_panel_that_is_not_understood_is_no_reason_to_take_an_older_one(deploying_here: Path) -> None:
    (deploying_here / "tree").mkdir()
    for path in TREE.iterdir():
        if path.is_dir():
            (deploying_here / "tree" / path.name).symlink_to(path.resolve())
    make_gain_directory(deploying_here / "tree/M001", world.SHAPE)
    for panel in world.PANELS:
        (deploying_here / f"tree/{panel}-{world.STAMP}").symlink_to("M001")
    assert command(["-d", RUN, "-R", "tree"])[0] == 0
    (deploying_here / f"tree/{world.PANELS[0]}-2017110100000").symlink_to("M001")
    code, _, err = command(["-d", RUN, "-R", "tree"])
    assert code == 2
    assert "2017110100000" in err


def test_what_comes_from_a_test_repository_is_deployed_with_a_warning(deploying_here: Path) -> None:
    jfstore.init(str(deploying_here / "R"), "test", panel_shape=world.SHAPE)
    words = ["import", TREE, "-m", "x", "--repo", "./R"]
    assert command(words, "jfstore")[0] == 0
    code, _, err = command(["-d", RUN, "-R", "./R", "-D", "-c", "calib"])
    assert code == 0
    assert "is a test repository" in err


def test_where_psana_takes_another_file_nothing_is_deployed(deploying_here: Path) -> None:
    for name in ("631-700.data", "0631-end.data"):
        path = data_of(Path(name) / "calib", name=name)
        path.parent.mkdir(parents=True)
        path.write_text("1\n")
        code, out, err = command(["-d", RUN, "-D", "-c", f"{name}/calib"])
        assert (code, out) == (5, "")
        assert f"{path} in place of 631-end.data for run 631" in err
        assert not data_of(Path(name) / "calib").exists()
    # One that begins before or later, or ends before, is no matter.
    for name in ("630-end.data", "632-700.data"):
        data_of("calib", name=name).parent.mkdir(parents=True, exist_ok=True)
        data_of("calib", name=name).write_text("1\n")
    assert command(["-d", RUN, "-D", "-c", "calib"])[0] == 0


def test_a_stamp_equal_to_the_time_is_valid_then(deploying_here: Path) -> None:
    for source in (TREE, "real"):
        assert command(["-d", RUN, "-t", world.STAMP, "-R", source])[0] == 0


def test_valid_from_the_beginning_is_a_time_like_any_other(deploying_here: Path) -> None:
    words = ["-d", "exp=xpptut15:run=430", "-R", TREE, "-t", "0" * 14, "-D", "-c", "calib"]
    assert command(words)[0] == 0
    assert "Unchanged calib" in command(words)[1]
    assert command(["deploy", "exp=xpptut15:run=430", "-c", "calib", "--undo"], "jfstore")[0] == 0


def test_hostile_names_harm_nothing(deploying_here: Path) -> None:
    (deploying_here / "canary").write_text("alive")
    for name in ("a b", "'", '"', "$(rm canary)", ";rm canary", "`rm canary`", "a\nb", "..;x", "-D", "*", "\\"):
        directory = deploying_here / "odd" / name
        directory.mkdir(parents=True)
        calibdir = directory / "calib"
        code, out, err = command(["-d", RUN, "-D", "-U", "-c", calibdir])
        assert (code, err) == (0, ""), name
        assert data_of(calibdir).exists()
        history = (data_of(calibdir).parent / "HISTORY").read_bytes()
        assert history.count(b"\n") == 1
        for line in out.splitlines():
            assert not line.startswith("rm ")
    assert (deploying_here / "canary").read_text() == "alive"
    for dataset in ("exp=../../etc:run=1", "exp=$(rm canary):run=1", "exp=a;b:run=1", "exp=a b:run=1"):
        assert command(["-d", dataset, "-D", "-c", "calib"])[0] == 2
    for source in ("../../x", "$(rm canary)", "; rm canary", "a'b\"c"):
        code, _, err = command(["-d", RUN, "-D", "-c", "calib", "-s", source])
        assert code == 3
        assert err.count("\n") == 1
    assert files_in(deploying_here) == sorted(
        ["canary", "odd", *(f"{LOCAL}_{n}.{e}" for n in TYPES for e in ("npy", "txt"))]
    )
