"""``jfstore get``: files, reports, numbers, as-of; an answer is exact or there is none."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import h5py
import numpy as np
import pytest

from jfstore.cli.app import main
from jfstore.cli.programs import dcs
from jfstore.formats.text import read_text
from tests.makers.repositories import LATER, SHAPE, STAMP, A, B, C, D, constants, entry, story, tree


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the repository R in it."""
    story(tmp_path / "R")
    monkeypatch.chdir(tmp_path)
    return tmp_path


GAIN = ["-t", "pixel_gain", "--repo", "./R"]
PAIR = np.stack([constants(2), constants(3)], axis=1)


def test_npy_holds_the_detector_bit_for_bit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "get", f"{B}_{C}", "-T", LATER, *GAIN, "-f", "g.npy")
    assert code == 0
    assert [line.split("\t")[1] for line in out.splitlines()] == ["version", f"{B}/{STAMP}/v1", f"{C}/{STAMP}/v1"]
    assert err.startswith("wrote g.npy: pixel_gain (3, 2, 4, 8)\n")
    got = np.load("g.npy", allow_pickle=False)
    assert (got.dtype, got.shape, got.flags.c_contiguous) == (np.dtype("<f4"), (3, 2, 4, 8), True)
    assert got.tobytes() == PAIR.tobytes()


def test_panels_come_in_the_order_asked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "get", f"{C}_{B}", "-T", LATER, *GAIN, "-f", "g.npy")[0] == 0
    assert np.load("g.npy").tobytes() == PAIR[:, ::-1].tobytes()


def test_one_panel_has_a_panel_axis(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "get", "-d", B, "-T", LATER, *GAIN, "-f", "g.npy")[0] == 0
    assert np.load("g.npy").shape == (3, 1, 4, 8)


def test_dash_is_npy_on_standard_output_and_nothing_else(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["get", f"{B}_{C}", "-T", LATER, *GAIN, "-f", "-"]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out.startswith(b"\x93NUMPY")
    assert captured.out.endswith(PAIR.tobytes())
    assert b"valid at" in captured.err


@pytest.mark.parametrize("types", [[], ["-t", "pixel_offset"], ["-t", "pixel_offset", "-t", "pixel_gain"]])
def test_h5_holds_the_asked_types_and_describes_itself(
    types: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "get", f"{B}_{C}", "-T", LATER, *types, "--repo", "./R", "-f", "out.h5")[0] == 0
    wanted = types[1::2] or ["pixel_gain", "pixel_offset"]
    with h5py.File("out.h5") as file:
        entry = file[file.attrs["default"]]
        groups = [name for name, item in entry.items() if item.attrs.get("NX_class") == "NXdata"]
        assert (sorted(groups), entry.attrs["default"]) == (sorted(wanted), wanted[0])
        for name in wanted:
            signal = entry[name][entry[name].attrs["signal"]]
            assert list(entry[name].attrs["axes"]) == ["gain", "panel", "row", "column"]
            assert signal[()].tobytes() == np.stack([constants(2, name), constants(3, name)], axis=1).tobytes()


def test_h5_names_panels_units_and_provenance(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "get", f"{B}_{C}", "-T", LATER, "--repo", "./R", "-f", "out.h5")
    texts: list[str] = []

    def collect(name: str, item: h5py.HLObject) -> None:
        texts.extend([name, *(f"{key}={value}" for key, value in item.attrs.items())])
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "O":
            texts.append(str(item.asstr()[()]))

    with h5py.File("out.h5") as file:
        collect("/", file)
        file.visititems(collect)
    whole = "\n".join(texts)
    for fact in (B, C, f"{B}/{STAMP}/v1", "ADU/keV", "NXdata"):
        assert fact in whole


def test_without_a_file_only_the_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(here)
    code, out, err = run(capsys, "get", A, "-T", LATER, "--repo", "./R")
    assert (code, tree(here)) == (0, before)
    assert f"pixel_gain\t{A}/{STAMP}/v2\t{STAMP}\t-\t3\t" in out
    assert "as of commit 4 of the test repository R" in err


def test_json_report_names_versions_interval_hash_and_rejected(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(run(capsys, "get", A, "-T", LATER, *GAIN, "--json")[1])
    (selection,) = value["selections"]
    assert selection["version"] == f"{A}/{STAMP}/v2"
    assert (selection["valid_from"], selection["valid_to"], selection["commit"]) == (STAMP, None, 3)
    assert [rejected["version"] for rejected in selection["rejected"]] == [f"{A}/{STAMP}/v1"]
    assert (value["as_of"], value["shape"], value["detector"]) == (4, [3, 1, 4, 8], A)


@pytest.mark.parametrize("number", ["1", "v1", "v0001"])
def test_a_number_takes_that_version(number: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "get", A, "-T", LATER, *GAIN, "-v", number, "-f", "g.npy")[0] == 0
    assert np.load("g.npy").tobytes() == constants(1).tobytes()


def test_as_of_answers_as_before(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seq, seed in ((2, 1), (3, 4)):
        assert run(capsys, "get", A, "-T", LATER, *GAIN, "--as-of", seq, "-f", f"{seq}.npy")[0] == 0
        assert np.load(f"{seq}.npy").tobytes() == constants(seed).tobytes()


def test_as_of_a_time_prints_the_seq_it_means(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commits = json.loads(run(capsys, "history", "--repo", "./R", "--json")[1])["commits"]
    value = json.loads(run(capsys, "get", A, "-T", LATER, *GAIN, "--as-of", commits[1]["time"], "--json")[1])
    assert value["as_of"] == 2


def test_an_existing_file_is_kept_without_force(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("g.npy").write_bytes(b"mine")
    code, out, err = run(capsys, "get", A, "-T", LATER, *GAIN, "-f", "g.npy")
    assert (code, out, Path("g.npy").read_bytes()) == (5, "", b"mine")
    assert "--force" in err
    assert run(capsys, "get", A, "-T", LATER, *GAIN, "-f", "g.npy", "--force")[0] == 0
    assert np.load("g.npy").tobytes() == constants(4).tobytes()


def test_a_failed_get_keeps_the_file_also_with_force(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("g.npy").write_bytes(b"mine")
    assert run(capsys, "get", A, "-T", "20100101000000", *GAIN, "-f", "g.npy", "--force")[0] == 3
    assert Path("g.npy").read_bytes() == b"mine"
    assert sorted(os.listdir()) == ["R", "g.npy"]


def test_never_constants_from_the_future(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "get", A, "-T", "20180305235959", *GAIN)
    assert (code, out) == (3, "")
    assert f"the first starts at {STAMP}" in err


def test_all_panels_or_nothing_naming_every_missing_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = ["1-2-3", "4-5-6"]
    code, out, err = run(capsys, "get", "_".join([A, *missing, B]), "-T", LATER, *GAIN, "-f", "g.npy")
    assert (code, out) == (3, "")
    assert all(panel in err for panel in missing)
    assert not Path("g.npy").exists()


def test_mixed_versions_warn(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import jfstore

    jfstore.open("./R").add_entries([entry(D, STAMP, 7, ["pixel_gain"])], "gain only")
    code, _, err = run(capsys, "get", D, "-T", LATER, "--repo", "./R")
    assert code == 0
    assert err.startswith("jfstore: warning: the constants come from different versions: ")
    assert f"{D}/{STAMP}/v2" in err
    assert f"{D}/{STAMP}/v1" in err


def test_reads_default_to_the_real_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JFSTORE_REAL", str(here / "real-one"))
    monkeypatch.setenv("JFSTORE_TEST", str(here / "R"))
    assert run(capsys, "init", "real", "--shape", "x".join(map(str, SHAPE)))[0] == 0
    assert run(capsys, "get", A, "-T", LATER)[0] == 3
    assert run(capsys, "get", A, "-T", LATER, "--repo", "test")[0] == 0
    assert run(capsys, "--repo", "test", "get", A, "-T", LATER)[0] == 0


@pytest.mark.parametrize("program", ["get", "dcs"])
def test_a_link_stays_a_link_and_a_device_a_device(
    here: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    words = ["get", A, "-T", LATER, "-t", "pixel_gain", "--repo", "./R", "--force", "-f"]
    run = main
    if program == "dcs":
        np.save("a.npy", constants(1))
        dcs.main(["add", "jungfrau-1-2-3.h5", "-t", "pixel_gain", "-T", "5", "-f", "a.npy"])
        words, run = ["get", "jungfrau-1-2-3.h5", "-t", "pixel_gain", "-T", "5", "-f"], dcs.main
    Path("target.npy").write_bytes(b"old")
    Path("link.npy").symlink_to("target.npy")
    assert run([*words, "link.npy"]) == 0
    assert Path("link.npy").is_symlink()
    assert np.load("target.npy").size
    os.mkfifo("fifo.npy")
    assert run([*words, "fifo.npy"]) == 5
    assert "fifo.npy is not a regular file; it is left as it is" in capsys.readouterr().err
    assert stat.S_ISFIFO(os.lstat("fifo.npy").st_mode)


def test_a_version_by_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{A}/{STAMP}/v1"
    code, out, err = run(capsys, "get", name, *GAIN, "-f", "g.npy")
    assert (code, out.splitlines()[1].split("\t")[1]) == (0, name)
    assert np.load("g.npy").tobytes() == constants(1).tobytes()
    assert f"warning: {name} is not the valid pixel_gain of its panel at {STAMP}: {A}/{STAMP}/v2 is" in err
    assert f"starts at {STAMP} (2018-03-06T08:00:00Z), as of commit 4" in err
    code, out, err = run(capsys, "get", f"{A}-{STAMP}", *GAIN)
    assert (code, out.splitlines()[1].split("\t")[1]) == (0, f"{A}/{STAMP}/v2")
    assert "warning" not in err
    assert run(capsys, "withdraw", name, "-m", "wrong bias", "--repo", "./R")[0] == 0
    code, out, err = run(capsys, "get", name, *GAIN)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "wrong bias; --withdrawn gets it all the same" in err
    code, out, err = run(capsys, "get", name, *GAIN, "--withdrawn", "-f", "h.npy", "--lock", "h.lock")
    assert (code, Path("h.npy").read_bytes()) == (0, Path("g.npy").read_bytes())
    assert run(capsys, "get", "--locked", "h.lock", "--repo", "./R", "-f", "i.npy")[0] == 0
    assert Path("i.npy").read_bytes() == Path("g.npy").read_bytes()
    assert run(capsys, "get", name, "-T", LATER, *GAIN)[0] == 2
    assert run(capsys, "get", name, "more", *GAIN)[0] == 2
    assert run(capsys, "get", "--locked", "h.lock", "--withdrawn", "--repo", "./R")[0] == 2


def test_text_brings_back_every_bit_and_names_the_versions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "get", f"{B}_{C}", "-T", LATER, *GAIN, "-f", "g.txt")[0] == 0
    text = read_text(Path("g.txt"))
    assert (text.has_shape, text.array.shape, text.array.tobytes()) == (True, (3, 2, 4, 8), PAIR.tobytes())
    lines = Path("g.txt").read_text().splitlines()
    assert [line.split()[2] for line in lines if line.startswith("# VERSION")] == [f"{B}/{STAMP}/v1", f"{C}/{STAMP}/v1"]
    # What get wrote, add takes: nothing is new.
    words = ["-T", STAMP, "-t", "pixel_gain", "-f", "g.txt", "-m", "again", "--repo", "./R"]
    assert run(capsys, "add", f"{B}_{C}", *words)[1].count("unchanged") == 2


def test_text_has_the_digits_that_were_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "get", B, "-T", LATER, *GAIN, "-f", "g.txt", "--format", "%.2f")[0] == 0
    np.testing.assert_array_equal(read_text(Path("g.txt")).values, np.round(constants(2).astype("f8"), 2)[:, None])
