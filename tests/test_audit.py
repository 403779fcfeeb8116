"""What lies in a calibration directory, held against a repository: each state, and the versions it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.legacy.textarray import read_text, text_pieces
from jfstore.repository import Repository
from tests.makers import deployed as world
from tests.makers.deployed import DETECTOR, PANELS, REFERENCE, RUN, STAMP, TREE, TYPES, command, data_of
from tests.makers.repositories import flip

V1 = ",".join(f"{panel}/{STAMP}/v1" for panel in PANELS)


@pytest.fixture
def repository(deploying_here: Path) -> Repository:
    return jfstore.open("real")


def deploy(*words: object) -> None:
    code, _, err = command(["-d", RUN, "-D", "-c", "calib", *words])
    assert code == 0, err


def audit(*words: object) -> tuple[int, list[dict[str, str]], str]:
    code, out, err = command(["audit", *words], "jfstore")
    header, *lines = [line.split("\t") for line in out.splitlines()]
    return code, [dict(zip(header, line, strict=True)) for line in lines], err


def state_of(calib_type: str = "pixel_gain", *words: object) -> tuple[str, str, str]:
    _, rows, _ = audit("calib", *words)
    (row,) = [row for row in rows if f"/{calib_type}/" in row["file"]]
    return row["state"], row["versions"], row["detail"]


def put(array: np.ndarray, calib_type: str = "pixel_gain", fmt: str | None = None, name: str = "631-end.data") -> Path:
    """Put a file as the old command does: nothing beside it says what it is."""
    path = data_of("calib", calib_type, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    for note in path.parent.glob("*.json"):
        note.unlink()
    path.write_bytes(b"".join(text_pieces(array, [("TITLE", "old")], fmt)))
    return path


def gain(repository: Repository, when: str = world.BEGIN_STAMP, detector: str = DETECTOR) -> np.ndarray:
    return repository.get(detector, "pixel_gain", when, writable=True)


# -- the states, of what jfstore deployed


def test_a_fresh_deployment_is_current(deploying_here: Path) -> None:
    deploy()
    code, rows, err = audit("calib")
    assert (code, [(row["state"], row["versions"]) for row in rows]) == (0, [("current", V1)] * 2)
    assert "2 files: 2 current, held against the real repository" in err
    assert f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)" in rows[0]["detail"]


def test_superseded_by_a_later_add_it_is_stale(deploying_here: Path, repository: Repository) -> None:
    deploy()
    world.add_constants(repository, 7, types=["pixel_gain"])
    code, rows, _ = audit("calib")
    assert (code, [row["state"] for row in rows]) == (1, ["stale", "current"])
    for panel in PANELS:
        assert f"{panel}/{STAMP}/v1 was replaced by {panel}/{STAMP}/v2 (commit 2, 20" in rows[0]["detail"]


def test_a_later_stamp_before_the_run_makes_it_stale_and_one_after_it_an_end(
    deploying_here: Path, repository: Repository
) -> None:
    deploy()
    world.add_constants(repository, 7, "20180101000000")
    assert state_of() == (
        "current",
        V1,
        f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z) and until 20180101000000",
    )
    world.add_constants(repository, 8, "20171201000000")
    state, _, detail = state_of()
    assert state == "stale"
    assert f"{PANELS[0]}/{STAMP}/v1 was replaced by {PANELS[0]}/20171201000000/v1 (commit 3, " in detail


def test_added_again_under_a_new_number_it_is_still_current(deploying_here: Path, repository: Repository) -> None:
    deploy()
    one = repository.version(f"{PANELS[0]}/{STAMP}/v1")
    world.add_constants(repository, 7)
    repository.add([repository.entry_of(one)], "back to the first")
    deployed = state_of()
    assert deployed[0] == "stale"
    assert PANELS[0] not in deployed[2]


@pytest.mark.parametrize(("old", "new"), [(b"4", b"5"), (b".", b"0."), (b"1", b"2")])
def test_with_a_digit_changed_it_is_edited(deploying_here: Path, old: bytes, new: bytes) -> None:
    deploy()
    path = data_of("calib")
    head, _, body = path.read_bytes().rpartition(b"\n\n")
    path.write_bytes(head + b"\n\n" + body.replace(old, new, 1))
    state, versions, detail = state_of()
    assert (state, versions) == ("edited", V1)
    assert detail.startswith("1 of 3072 values differ from them; current: ")


def test_the_last_digit_of_a_value_changed_is_an_edit_too(deploying_here: Path) -> None:
    deploy()
    path = data_of("calib")
    lines = path.read_text().splitlines()
    values = lines[-1].split()
    number = next(i for i, value in enumerate(values) if len(value) > 8)
    values[number] = values[number][:-1] + str((int(values[number][-1]) + 3) % 10)
    path.write_text("\n".join([*lines[:-1], " ".join(values)]) + "\n")
    assert state_of()[0] == "edited"


def test_with_everything_changed_it_is_edited(deploying_here: Path) -> None:
    deploy()
    data_of("calib").write_bytes(b"".join(text_pieces(world.constants(9))))
    assert state_of() == ("edited", "", "its values of panel 0, 1 are like nothing that is stored")


def test_only_the_header_changed_is_no_harm(deploying_here: Path) -> None:
    deploy()
    path = data_of("calib")
    path.write_bytes(path.read_bytes().replace(b"# UID ", b"# Uid "))
    state, _, detail = state_of()
    assert state == "current"
    assert detail.startswith("only its header was changed; ")


@pytest.mark.parametrize("cut", [1, 10, 1000, 30000, 10**9])
def test_cut_off_it_is_unreadable(deploying_here: Path, cut: int) -> None:
    deploy()
    path = data_of("calib")
    raw = path.read_bytes()
    path.write_bytes(raw[: -cut - 1])
    code, rows, _ = audit("calib")
    assert code in (1, 4)
    # Without its last digit only, the text is whole, but not what it was.
    assert rows[0]["state"] == ("edited" if cut == 1 else "unreadable"), rows[0]
    assert cut == 1 or (code == 4 and rows[0]["detail"].startswith("line "))


@pytest.mark.parametrize("raw", [b"", b"hello\n", b"\0" * 5000, b"\x89HDF\r\n\x1a\n" + b"x" * 100, b"1 2\n3\n"])
def test_what_is_no_text_of_constants_is_unreadable(deploying_here: Path, raw: bytes) -> None:
    deploy()
    data_of("calib").write_bytes(raw)
    assert state_of()[0] == "unreadable"


def test_a_directory_in_its_place_is_unreadable(deploying_here: Path) -> None:
    data_of("calib").mkdir(parents=True)
    code, rows, _ = audit("calib")
    assert (code, rows[0]["state"]) == (4, "unreadable")


def test_written_with_the_formats_of_the_original_it_is_a_rounded_copy(
    deploying_here: Path, repository: Repository
) -> None:
    deploy("--format", "%.4f")
    assert state_of()[:2] == ("rounded copy", V1)
    assert state_of()[2].startswith("deployed with --format %.4f; current: ")
    world.add_constants(repository, 7)
    assert "; stale: " in state_of()[2]


# -- what was made before jfstore


@pytest.mark.parametrize(("name", "fmt"), [("pixel_gain", "%.4f"), ("pixel_offset", "%.1f")])
def test_rounded_as_the_old_command_does(deploying_here: Path, repository: Repository, name: str, fmt: str) -> None:
    put(repository.get(DETECTOR, name, world.BEGIN_STAMP), name, fmt)
    state, versions, detail = state_of(name)
    assert (state, versions) == ("rounded copy", V1)
    assert detail.startswith("current: nothing replaces it; when run 631 began is not known (-e EXP)")
    assert state_of(name, "-e", "xcsls3716")[2] == f"current: valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)"


@pytest.mark.parametrize("name", TYPES)
def test_the_files_that_the_reference_merged(deploying_here: Path, name: str) -> None:
    """They were rounded from float64, which the repository keeps as float32."""
    path = data_of("calib", name)
    path.parent.mkdir(parents=True)
    path.write_bytes((REFERENCE / f"gains-tree/merged/jf_2panels_{name}.txt").read_bytes())
    assert state_of(name)[:2] == ("rounded copy", V1)


def test_one_value_beyond_the_rounding_is_an_edit(deploying_here: Path, repository: Repository) -> None:
    path = put(gain(repository), fmt="%.4f")
    text = path.read_text()
    head, _, body = text.rpartition("\n\n")
    first = body.split()[0]
    path.write_text(f"{head}\n\n{body.replace(first, f'{float(first) + 1e-4:.4f}', 1)}")
    state, versions, detail = state_of()
    assert (state, versions) == ("edited", V1)
    assert detail.startswith("1 of 3072 values differ from them; ")


def test_every_bit_of_it_is_known_by_its_hash(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository))
    assert state_of("pixel_gain", "-e", "xcsls3716") == (
        "current", V1, f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)"
    )  # fmt: skip
    assert state_of()[0] == "current"
    world.add_constants(repository, 7, "20180101000000")
    state, versions, detail = state_of()
    assert (state, versions) == ("unknown", V1)
    assert "is valid until 20180101000000" in detail
    world.add_constants(repository, 8)
    assert state_of()[0] == "stale"


def test_the_directory_above_calib_names_the_experiment(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository))
    (deploying_here / "xcsls3716").mkdir()
    (deploying_here / "calib").rename(deploying_here / "xcsls3716/calib")
    code, rows, _ = audit("xcsls3716/calib")
    assert (code, rows[0]["state"]) == (0, "current")
    assert rows[0]["detail"] == f"valid at {world.BEGIN_STAMP} (2017-12-06T00:14:00Z)"


def test_constants_of_the_future_are_not_current(deploying_here: Path, repository: Repository) -> None:
    """What the old command took where nothing was valid."""
    panel = "171113-154920171025-3d00fb"
    later = gain(repository, "20190601000000", panel)
    path = put(later)
    target = Path(str(path).replace("XcsEndstation.0:Jungfrau.0", "MfxEndstation.0:Jungfrau.1"))
    target.parent.mkdir(parents=True)
    path.rename(target.parent / "697-end.data")
    state, versions, detail = state_of("pixel_gain", "-e", "mfx11116")
    assert (state, versions) == ("stale", f"{panel}/20190101000000/v1")
    assert f"{panel}/20190101000000/v1 is there, but at 2018" in detail
    assert f"valid is {panel}/20180306000000/v1 (commit 1, " in detail


def test_panels_in_another_order_are_not_current(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository, detector="_".join(PANELS[::-1])))
    state, versions, _ = state_of("pixel_gain", "-e", "xcsls3716")
    assert (state, versions) == ("stale", ",".join(f"{panel}/{STAMP}/v1" for panel in PANELS[::-1]))


def test_another_number_of_panels_is_said(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository, detector=PANELS[0]))
    state, versions, detail = state_of("pixel_gain", "-e", "xcsls3716")
    assert (state, versions) == ("current", f"{PANELS[0]}/{STAMP}/v1")
    assert detail.endswith("it has 1 panels, its detector 2")


def test_an_unrelated_file_is_unknown(deploying_here: Path) -> None:
    put(world.constants(9))
    assert state_of() == ("unknown", "", "its values of panel 0, 1 are like nothing that is stored")
    put(np.ones((3, 4, 5)))
    assert state_of() == ("unknown", "", "its shape is not that of panels of this repository")
    put(np.ones((2, 3, 16, 32)))
    assert state_of()[0] == "unknown"
    put(np.ones((3, 2, 16, 32)))
    assert state_of()[0] == "unknown"


def test_rows_without_metadata_are_recognised(deploying_here: Path, repository: Repository) -> None:
    path = put(gain(repository), fmt="%.4f")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("#")))
    assert not read_text(path).has_shape
    assert state_of()[:2] == ("rounded copy", V1)


def test_deployed_from_a_gain_tree_it_is_held_against_the_repository(
    deploying_here: Path, repository: Repository
) -> None:
    deploy("-R", TREE)
    state, versions, _ = state_of()
    assert (state, versions) == ("current", ",".join(f"{panel}-{STAMP}" for panel in PANELS))
    world.add_constants(repository, 7)
    state, _, detail = state_of()
    assert state == "stale"
    assert f"{PANELS[0]}/{STAMP}/v2" in detail


def test_what_the_repository_does_not_have_is_not_current(deploying_here: Path) -> None:
    deploy()
    jfstore.init("R", "test", panel_shape=world.SHAPE)
    code, rows, _ = audit("calib", "--repo", "./R")
    assert (code, [row["state"] for row in rows]) == (1, ["stale"] * 2)
    assert f"nothing is valid for panel {PANELS[0]}" in rows[0]["detail"]


def test_a_damaged_payload_does_not_stop_it(deploying_here: Path, repository: Repository) -> None:
    put(gain(repository), fmt="%.4f")
    payload = next(Path(repository.storage.location, "panels", "171113-154920171025-3d00fb").glob("*.h5"))
    flip(payload, 8 * 5000)
    payload.unlink()
    assert state_of()[:2] == ("rounded copy", V1)


def test_a_spoiled_note_is_said(deploying_here: Path) -> None:
    deploy()
    data_of("calib", name="631-end.jfstore.json").write_text("{")
    state, _, detail = state_of()
    assert state == "current"
    assert "is not a note of jfstore" in detail


# -- the command


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda: None, 2, "calib is not a directory"),
        (lambda: Path("calib").write_text("x"), 2, "calib is not a directory"),
    ],
)
def test_what_is_no_calibration_directory(
    deploying_here: Path, make: Callable[[], object], code: int, message: str
) -> None:
    make()
    found, out, err = command(["audit", "calib"], "jfstore")
    assert (found, out) == (code, "")
    assert message in err


def test_nothing_is_no_error(deploying_here: Path) -> None:
    Path("calib").mkdir()
    code, rows, err = audit("calib")
    assert (code, rows) == (0, [])
    assert err.startswith("0 files, held against")


def test_several_directories_json_and_ignored_names(deploying_here: Path) -> None:
    deploy()
    Path("other").mkdir()
    data_of("calib", name="x.data").write_text("1\n")
    code, out, err = command(["audit", "calib", "other", "--json"], "jfstore")
    value = json.loads(out)
    assert code == 0
    assert [(row["state"], row["type"], row["run"]) for row in value["files"]] == [
        ("current", "pixel_gain", 631),
        ("current", "pixel_offset", 631),
    ]
    assert "x.data: psana does not read a file of that name" in err
