"""``jfstore add``: directories, files and detectors in; what it says, and when nothing is stored."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.formats.text import format_text
from jfstore.fs import durable
from jfstore.repository.repository import Repository
from tests.conftest import ROOT
from tests.makers.arrays import darks
from tests.makers.gains import make_gain_directory
from tests.makers.repositories import SHAPE, STAMP, A, B, C, constants, log_names, new_repository, reopened, tree


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return new_repository(tmp_path / "R")


def saved(name: str, array: np.ndarray) -> str:
    np.save(name, array, allow_pickle=False)
    return name


def gains(seed: int) -> np.ndarray:
    return constants(seed, "pixel_gain")


def offsets(seed: int) -> np.ndarray:
    return constants(seed, "pixel_offset")


def stored(repository: Repository, detector: str, calib_type: str) -> bytes:
    return reopened(repository).get(detector, calib_type, STAMP).tobytes()


COMMON = ["-T", STAMP, "-m", "why", "--repo", "./R"]


def test_a_directory_is_both_types_in_one_version(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_gain_directory(Path("M044"), SHAPE)
    code, out, err = run(capsys, "add", A, "-f", "M044", *COMMON)
    assert code == 0
    assert out.splitlines()[1].split("\t")[:3] == ["added", f"{A}/{STAMP}/v1", "pixel_gain,pixel_offset"]
    assert err == (
        f"pixel_gain of {A} changes from {STAMP} on: {STAMP}/v1 in place of nothing\n"
        f"pixel_offset of {A} changes from {STAMP} on: {STAMP}/v1 in place of nothing\n"
        "commit 1 in the test repository R\n"
    )
    for name, array in made.items():
        assert stored(repository, A, name) == array.tobytes()


@pytest.mark.parametrize("shape", [SHAPE, (3, 1, 4, 8)])
def test_files_in_pairs_of_type_and_file(
    shape: tuple[int, ...], repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [saved("g.npy", gains(1).reshape(shape)), saved("o.npy", offsets(1).reshape(shape))]
    assert (
        run(capsys, "add", A, "-t", "pixel_gain", "-f", files[0], "-t", "pixel_offset", "-f", files[1], *COMMON)[0] == 0
    )
    assert stored(repository, A, "pixel_gain") == gains(1).tobytes()
    assert stored(repository, A, "pixel_offset") == offsets(1).tobytes()


def test_the_order_of_the_pairs_does_not_matter(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    files = [saved("g.npy", gains(1)), saved("o.npy", offsets(1))]
    assert (
        run(capsys, "add", A, "-t", "pixel_offset", "-f", files[1], "-t", "pixel_gain", "-f", files[0], *COMMON)[0] == 0
    )
    assert stored(repository, A, "pixel_gain") == gains(1).tobytes()


def test_one_type_of_the_pair_warns(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "add", A, "-t", "pixel_gain", "-f", saved("g.npy", gains(1)), *COMMON)
    assert code == 0
    assert err.startswith(f"jfstore: warning: {A}/{STAMP}/v1 has no pixel_offset")


def test_a_detector_is_one_commit_and_only_changed_panels_get_a_version(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    first = saved("1.npy", np.stack([gains(1), gains(2)], axis=1))
    second = saved("2.npy", np.stack([gains(1), gains(3)], axis=1))
    for number, file in enumerate([first, second], start=1):
        assert run(capsys, "add", f"{B}_{C}", "-t", "pixel_gain", "-f", file, *COMMON)[0] == 0
        assert len(log_names(repository)) == number
    assert [version.name for version in reopened(repository).versions()] == [
        f"{B}/{STAMP}/v1",
        f"{C}/{STAMP}/v1",
        f"{C}/{STAMP}/v2",
    ]
    assert stored(repository, f"{C}_{B}", "pixel_gain") == np.stack([gains(3), gains(1)], axis=1).tobytes()


def test_content_that_holds_is_unchanged(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    make_gain_directory(Path("M044"), SHAPE)
    run(capsys, "add", A, "-f", "M044", *COMMON)
    before = tree(Path("R"))
    code, out, err = run(capsys, "add", A, "-f", "M044", *COMMON)
    assert (code, err) == (0, "nothing is new for the test repository R\n")
    assert out.splitlines()[1].startswith(f"unchanged\t{A}/{STAMP}/v1\t")
    assert tree(Path("R")) == before


def test_float64_is_rounded_said_and_recorded(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    array = gains(1).astype("<f8") * (1 + 1e-10)
    _, _, err = run(capsys, "add", A, "-t", "pixel_gain", "-f", saved("g.npy", array), *COMMON)
    assert "pixel_gain was rounded from float64 to float32" in err
    assert stored(repository, A, "pixel_gain") == array.astype("<f4").tobytes()
    value = json.loads(run(capsys, "show", f"{A}/{STAMP}/v1", "--repo", "./R", "--json")[1])
    assert value["arrays"]["pixel_gain"]["converted_from"] == "<f8"


@pytest.mark.parametrize(
    "form", [np.asfortranarray, lambda array: array.astype(">f4"), lambda array: np.asfortranarray(array.astype(">f4"))]
)
def test_byte_order_and_memory_order_are_normalised(
    form: object, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(form)
    assert run(capsys, "add", A, "-t", "pixel_gain", "-f", saved("g.npy", form(gains(1))), *COMMON)[0] == 0
    assert stored(repository, A, "pixel_gain") == gains(1).tobytes()


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_dry_run_stores_nothing(extra: list[str], repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    make_gain_directory(Path("M044"), SHAPE)
    before = tree(Path("R"))
    code, out, err = run(capsys, "add", A, "-f", "M044", *COMMON, "--dry-run", *extra)
    assert code == 0
    assert "would add" in out or json.loads(out)["dry_run"] is True
    assert "nothing was stored" in err
    assert tree(Path("R")) == before


def test_a_dry_run_finds_what_is_wrong(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "add", A, "-t", "pixel_gain", "-f", saved("g.npy", gains(1)[:2]), *COMMON, "--dry-run")
    assert (code, out) == (2, "")


def test_a_request_is_never_added_twice(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    request = ["--request", "0123456789abcdef" * 2]
    values = []
    for name in ("1.npy", "2.npy"):
        file = saved(name, gains(1))
        code, out, _ = run(capsys, "add", A, "-t", "pixel_gain", "-f", file, *COMMON, *request, "--json")
        values.append((code, json.loads(out)["seq"], [added["version"] for added in json.loads(out)["added"]]))
    assert values == [(0, 1, [f"{A}/{STAMP}/v1"])] * 2
    file = saved("other.npy", gains(2))
    assert run(capsys, "add", A, "-t", "pixel_gain", "-f", file, *COMMON, *request)[0] == 5
    assert log_names(repository) == ["0000000001.json"]


@pytest.mark.parametrize("time", ["20180306000000", "2018-03-06T00:00:00-08:00", "2018-03-06T08:00:00Z", "@1520323200"])
def test_every_form_of_a_time_is_the_same_stamp(
    time: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved("g.npy", gains(1))
    code, out, _ = run(capsys, "add", A, "-T", time, "-t", "pixel_gain", "-f", file, "-m", "x", "--repo", "./R")
    assert code == 0
    assert f"{A}/20180306000000/v1" in out


@pytest.mark.parametrize(
    "panel", ["154920171025-3d00fb", "0171113-154920171025-3D00FB", "0x171113-0x154920171025-0x3d00fb"]
)
def test_every_form_of_a_panel_id_is_the_same_panel(
    panel: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate([A, panel]):
        assert run(capsys, "add", name, "-t", "pixel_gain", "-f", saved("g.npy", gains(seed)), *COMMON)[0] == 0
    assert [version.name for version in reopened(repository).versions()] == [f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2"]


def test_a_real_repository_needs_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_repository(tmp_path / "real", "real")
    words = ["add", A, "-T", STAMP, "-t", "pixel_gain", "-f", saved(str(tmp_path / "g.npy"), gains(1))]
    words += ["-m", "x", "--repo", str(tmp_path / "real")]
    before = tree(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out, tree(tmp_path)) == (5, "", before)
    assert "--yes" in err
    assert run(capsys, *words, "--yes")[0] == 0
    assert jfstore.open(str(tmp_path / "real")).get(A, "pixel_gain", STAMP).tobytes() == gains(1).tobytes()


def test_message_and_source_are_kept(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    message = "tab\there, ünïcode — 日本 and\na second line"
    file = saved("g.npy", gains(1))
    assert run(capsys, "add", A, "-t", "pixel_gain", "-f", file, "-T", STAMP, "-m", message, "--repo", "./R")[0] == 0
    value = json.loads(run(capsys, "show", f"{A}/{STAMP}/v1", "--repo", "./R", "--json")[1])
    assert value["commit"]["message"] == message
    assert value["source"] == str(Path(file).absolute())


def test_a_command_in_doubt_is_printed_with_the_second_that_now_was(
    repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoDirectorySync(durable.System):
        def sync_directory(self, path: Path) -> None:
            if path.name == "log" and any(path.glob("*.json")):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync_directory(path)

    words = ["add", A, "-T", "now", "-t", "pixel_gain", "-f", saved("g.npy", gains(1)), "-m", "x y", "--repo", "./R"]
    with monkeypatch.context() as patch:
        patch.setattr(durable, "system", NoDirectorySync())
        code, _, err = run(capsys, *words)
    assert code == 75
    again = shlex.split(err.splitlines()[-1].partition("nothing is added twice: ")[2])
    assert again[:4] == ["jfstore", "add", A, "-T"]
    assert again[4].startswith("@")
    code, _, err = run(capsys, *again[1:])
    assert (code, len(repository.versions())) == (0, 1), err


def test_nothing_is_loaded_after_the_commit(repository: Repository) -> None:
    """A module that cannot be read must not turn a commit that was made into an error."""
    script = """
import sys
from jfstore.cli.app import main
from jfstore.repository.log import Log
publish, loaded = Log._publish, set()

def observed(*arguments):
    commit = publish(*arguments)
    loaded.update(sys.modules)
    return commit

Log._publish = observed
code = main(sys.argv[1:])
print(code, *sorted(sys.modules.keys() - loaded) if loaded else "none was published")
"""
    words = ["add", A, "-t", "pixel_gain", "-f", saved("g.npy", gains(1)), *COMMON]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "0", done.stdout + done.stderr


def test_arrays_are_filled_with_numbers(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--fill", "pixel_gain=41.5,-1.39,-0.11", "--fill", "pixel_offset=0"]
    code, out, err = run(capsys, "add", f"{A}_{B}", *words, *COMMON)
    assert code == 0
    assert out.splitlines()[1].split("\t") == [
        *("added", f"{A}/{STAMP}/v1", "pixel_gain,pixel_offset", "pixel_gain=41.5,-1.39,-0.11, pixel_offset=0")
    ]
    assert "pixel_gain is filled with 41.5,-1.39,-0.11" in err
    assert "rounded" not in err
    gain = reopened(repository).get(f"{A}_{B}", "pixel_gain", STAMP)
    assert gain.shape == (3, 2, *SHAPE[1:])
    for number, value in enumerate((41.5, -1.39, -0.11)):
        assert np.all(gain[number] == np.float32(value))
    assert not reopened(repository).get(B, "pixel_offset", STAMP).any()


def test_one_type_may_be_a_file_and_the_other_filled(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-t", "pixel_gain", "-f", saved("gain.npy", gains(1)), "--fill", "pixel_offset=0"]
    assert run(capsys, "add", A, *words, *COMMON)[0] == 0
    assert stored(repository, A, "pixel_gain") == gains(1).tobytes()
    assert stored(repository, A, "pixel_offset") == bytes(gains(1).nbytes)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "the constants are missing: -f DIR"),
        (("--fill", "pixel_gain=0"), "96 of 96 values of pixel_gain are zero"),
        (("--fill", "pixel_gain=1,0,1"), "32 of 96 values of pixel_gain are zero, the first at gain 1"),
        (("--fill", "pixel_gain=nan"), "not finite in float32"),
        (("--fill", "pixel_gain=1e39"), "not finite in float32"),
        (("--fill", "pixel_gain=1,2"), "2 values to fill it with; give 1, or 3"),
        (("--fill", "pixel_gain"), "is not TYPE=V[,V,V]"),
        (("--fill", "pixel_gain=one"), "is not TYPE=V[,V,V]"),
        (("--fill", "gain=1"), "'gain' is not a calibration type"),
        (("--fill", "pixel_gain=1", "--fill", "pixel_gain=2"), "a calibration type comes twice"),
        (("--fill", "pixel_gain=1", "-t", "pixel_gain"), "-t pixel_gain has no file"),
        (("--fill", "pixel_gain=1", "-f", "M044"), "M044 has every calibration type"),
    ],
)
def test_wrong_fills(
    words: tuple[str, ...], text: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    make_gain_directory(Path("M044"), SHAPE)
    code, out, err = run(capsys, "add", A, *words, *COMMON)
    assert (code, out) == (2, "")
    assert text in err
    assert log_names(repository) == []


def written(name: str, array: np.ndarray) -> str:
    Path(name).write_bytes(b"".join(format_text(array)))
    return name


def bare(name: str, array: np.ndarray) -> str:
    """Write rows of values without a header, as numpy does."""
    np.savetxt(name, array.reshape(-1, array.shape[-1]), fmt="%.9g" if array.dtype.kind == "f" else "%d")
    return name


@pytest.mark.parametrize("write", [written, bare])
@pytest.mark.parametrize("shape", [SHAPE, (3, 1, 4, 8)])
def test_text_is_added_bit_for_bit(
    write: Callable[[str, np.ndarray], str],
    shape: tuple[int, ...],
    repository: Repository,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write("0631-end.data", gains(1).reshape(shape))
    assert run(capsys, "add", A, "-t", "pixel_gain", "-f", file, *COMMON)[0] == 0
    assert stored(repository, A, "pixel_gain") == gains(1).tobytes()


@pytest.mark.parametrize("write", [written, bare])
def test_text_of_a_detector_is_divided(
    write: Callable[[str, np.ndarray], str], repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = np.stack([gains(1), gains(2)], axis=1)
    assert run(capsys, "add", f"{B}_{C}", "-t", "pixel_gain", "-f", write("pair.txt", pair), *COMMON)[0] == 0
    assert stored(repository, C, "pixel_gain") == gains(2).tobytes()
    assert stored(repository, f"{B}_{C}", "pixel_gain") == pair.tobytes()


@pytest.mark.parametrize("write", [written, bare])
@pytest.mark.parametrize("calib_type", ["pixel_status", "pedestals", "pixel_mask"])
def test_text_of_every_kind_of_type(
    calib_type: str,
    write: Callable[[str, np.ndarray], str],
    repository: Repository,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = {**darks(SHAPE), "pixel_mask": (np.arange(32).reshape(4, 8) % 3 > 0).astype("u1")}[calib_type]
    code, _, err = run(capsys, "add", A, "-t", calib_type, "-f", write("c.txt", made), *COMMON)
    assert (code, "converted" in err) == (0, False)
    assert stored(repository, A, calib_type) == made.tobytes()


def test_text_of_psana1_status_is_widened_and_that_is_said(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    made = darks(SHAPE)["pixel_status"]
    file = written("status.data", made.astype("<u2"))
    code, _, err = run(capsys, "add", A, "-t", "pixel_status", "-f", file, *COMMON)
    assert (code, "pixel_status was widened from uint16 to uint64" in err) == (0, True)
    assert stored(repository, A, "pixel_status") == made.tobytes()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (gains(1)[:2], "shape (2, 4, 8), expected (3, 1, 4, 8) or (3, 4, 8)"),
        (gains(1).reshape(3, 8, 4), "shape (3, 8, 4)"),
    ],
)
def test_text_of_another_shape_is_refused(
    array: np.ndarray, reason: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "add", A, "-t", "pixel_gain", "-f", written("g.txt", array), *COMMON)
    assert (code, reason in err) == (2, True)


@pytest.mark.parametrize(
    ("values", "reason"),
    [("0.5", "dtype float64 is not an integer"), ("-1", "negative"), ("1e30", "dtype float64")],
)
def test_text_of_status_that_is_none_is_refused(
    values: str, reason: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.txt").write_text(f"{' '.join([values] * 8)}\n" * 12)
    code, _, err = run(capsys, "add", A, "-t", "pixel_status", "-f", "s.txt", *COMMON)
    assert (code, reason in err) == (2, True), err
