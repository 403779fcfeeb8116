"""The generic repository of psana1: constants in the DCS file of a detector, with note, audit and undo."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.programs import dcs
from jfstore.core.ids import PanelId
from jfstore.core.slabs import panel_of
from jfstore.dcs.read import open_dcs
from jfstore.deployment.generic import generic_file
from jfstore.deployment.generic_note import note_of, read_generic_note
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, NotFound, Refused
from jfstore.fs import durable
from jfstore.repository.unimported import find_unimported
from tests.makers.dcs import original_answer
from tests.makers.deployed import (
    DETECTOR,
    PANELS,
    RUN,
    SHAPE,
    SOURCE,
    TYPES,
    add_constants,
    command,
    constants,
)
from tests.proofs.harness import Failing

FILE = Path(f"generic/jungfrau/jungfrau-{DETECTOR}.h5")
BEGIN = 1512519240
"""Start of the run in Unix seconds."""
RANGE = f"{BEGIN}-end"


@pytest.fixture
def here(deploying_here: Path) -> Path:
    (deploying_here / "generic").mkdir()
    return deploying_here


def told(*words: object) -> tuple[int, str, str]:
    return command(["deploy", RUN, "--generic", "-c", "generic", *words], "jfstore")


def states(**options: Any) -> dict[str, tuple[str, str]]:
    done = jfstore.deploy_generic(RUN, place="generic", **options)
    assert {one.path for one in done} == {str(FILE)}
    return {one.type: (one.state, one.version) for one in done}


def undone(**options: Any) -> dict[str, tuple[str, str]]:
    return {one.type: (one.state, one.version) for one in jfstore.undo_generic(RUN, "generic", **options)}


def answers(at: float = BEGIN + 5.0) -> dict[str, bytes]:
    """Return what the original program reads at a time."""
    found = {name: original_answer(FILE, name, at) for name in TYPES}
    return {name: value.tobytes() for name, value in found.items() if value is not None}


def add_foreign(seed: int, start: float, calib_type: str = "pixel_gain") -> None:
    array = constants(seed, calib_type)
    words = ["add", FILE, "-t", calib_type, "-T", start, "-f", "foreign.npy", "-i"]
    np.save("foreign.npy", array)
    assert dcs.main([str(word) for word in words]) == 0


def test_psana_reads_what_the_repository_says(here: Path) -> None:
    assert states(dry_run=True) == dict.fromkeys(TYPES, ("would deploy", f"{RANGE}/v0001"))
    assert not FILE.parent.exists()
    assert states() == dict.fromkeys(TYPES, ("deployed", f"{RANGE}/v0001"))
    valid = jfstore.open("real").find(RUN)
    assert answers() == {name: valid[name].tobytes() for name in TYPES}
    assert answers(BEGIN - 1) == {}
    with open_dcs(FILE) as contents:
        parameters = contents.types[0].ranges[0].notes.parameters
    assert (parameters["experiment"], parameters["run"], parameters["source"]) == ("xcsls3716", "631", SOURCE)


def test_a_repeated_deployment_changes_nothing(here: Path) -> None:
    states()
    before = FILE.read_bytes(), note_of(FILE).read_bytes(), FILE.stat().st_mtime_ns
    assert states() == dict.fromkeys(TYPES, ("unchanged", f"{RANGE}/v0001"))
    assert (FILE.read_bytes(), note_of(FILE).read_bytes(), FILE.stat().st_mtime_ns) == before


def test_new_constants_are_a_new_version_and_undo_takes_it_back(here: Path) -> None:
    states()
    first = answers()
    add_constants(jfstore.open("real"), 3, types=["pixel_gain"])
    assert states() == {"pixel_gain": ("deployed", f"{RANGE}/v0002"), "pixel_offset": ("unchanged", f"{RANGE}/v0001")}
    assert answers()["pixel_gain"] == constants(3).tobytes()
    assert undone(dry_run=True) == {"pixel_gain": ("would undo", f"{RANGE}/v0002")}
    assert undone() == {"pixel_gain": ("removed", f"{RANGE}/v0002")}
    assert answers() == first
    assert undone() == dict.fromkeys(TYPES, ("removed", f"{RANGE}/v0001"))
    assert answers() == {}
    assert not note_of(FILE).exists()
    with pytest.raises(NotFound, match="nothing was deployed"):
        undone()
    assert states()["pixel_gain"][0] == "deployed"


def test_undo_lets_an_older_range_answer_again(here: Path) -> None:
    FILE.parent.mkdir()
    add_foreign(5, BEGIN - 1000)
    before = answers()
    states()
    assert answers() != before
    undone()
    assert answers() == before


def test_what_others_wrote_is_superseded_only_if_asked(here: Path) -> None:
    FILE.parent.mkdir()
    add_foreign(5, BEGIN)
    before = FILE.read_bytes()
    for dry_run in (True, False):
        with pytest.raises(Refused, match=f"pixel_gain/{RANGE}/v0001 was not written by jfstore"):
            states(dry_run=dry_run)
    assert (FILE.read_bytes(), note_of(FILE).exists()) == (before, False)
    assert states(replace=True) == {
        "pixel_gain": ("deployed", f"{RANGE}/v0002"),
        "pixel_offset": ("deployed", f"{RANGE}/v0001"),
    }
    undone()
    assert answers() == {"pixel_gain": constants(5).tobytes()}


def test_undo_refuses_what_was_superseded_since(here: Path) -> None:
    states()
    add_foreign(5, BEGIN)
    with pytest.raises(Refused, match=f"pixel_gain/{RANGE} has a newer version, v0002"):
        undone()
    assert undone(replace=True)["pixel_gain"] == ("removed", f"{RANGE}/v0001")
    assert answers() == {"pixel_gain": constants(5).tobytes()}


def test_audit_tells_what_is_stale(here: Path) -> None:
    def found() -> dict[str, tuple[str, str]]:
        done = jfstore.audit_generic("generic", repo="real")
        return {one.type or "": (one.state, one.detail) for one in done.findings}

    with pytest.raises(NotFound, match="holds no file"):
        found()
    states()
    assert {state for state, _ in found().values()} == {"current"}
    (finding, _) = jfstore.audit_generic("generic", repo="real").findings
    assert finding.path == f"{FILE}: pixel_gain/{RANGE}/v0001"
    assert (finding.source, finding.run, len(finding.versions)) == (SOURCE, 631, 2)
    add_constants(jfstore.open("real"), 3, types=["pixel_gain"])
    state, detail = found()["pixel_gain"]
    assert (state, f"{PANELS[0]}/20171025000000/v2 is valid" in detail) == ("stale", True)
    assert found()["pixel_offset"][0] == "current"
    assert jfstore.audit_generic("generic", repo="real", as_of=1).counts == {"current": 2}
    states()
    assert {state for state, _ in found().values()} == {"current"}
    jfstore.open("real").close(DETECTOR, "20180101000000", "replaced")
    assert "and until 20180101000000" in found()["pixel_gain"][1]
    jfstore.open("real").close(DETECTOR, "20171025000000", "never")
    assert found()["pixel_gain"][0] == "stale"


def test_audit_of_files_of_others(here: Path) -> None:
    states()
    rounded = np.round(jfstore.open("real").get(RUN, "pixel_gain").astype("f8"), 4)
    np.save("rounded.npy", rounded)
    assert dcs.main(["add", str(FILE), "-t", "pixel_gain", "-T", str(BEGIN), "-f", "rounded.npy", "-i"]) == 0
    add_foreign(8, BEGIN + 1000, "pixel_offset")
    (FILE.parent / "jungfrau-1-2-3.h5").write_bytes(b"no HDF5")
    done = jfstore.audit_generic("generic", repo="real")
    assert [finding.state for finding in done.findings] == ["unreadable", "rounded copy", "current", "unknown"]
    code, out, err = command(["audit", "--generic", "generic", "--repo", "real"], "jfstore")
    assert (code, out.count("\n")) == (4, 5), err


def test_commands(here: Path) -> None:
    code, out, err = told("--json")
    assert (code, [one["state"] for one in json.loads(out)["files"]]) == (0, ["deployed"] * 2), err
    assert "for exp=xcsls3716:run=631 and later runs of every experiment, commit 1 of the real repository" in err
    (first, _) = read_generic_note(FILE)
    assert first.about["command"] == f"jfstore deploy {RUN} --generic -c generic --json"
    assert (first.versions[0], first.about["origin"]["as_of"]) == (f"{PANELS[0]}/20171025000000/v1", 1)
    code, out, err = command(["audit", "--generic", "generic"], "jfstore")
    assert (code, out.count("current")) == (0, 2), err
    code, out, err = told("--undo")
    assert (code, out.count("removed")) == (0, 2), err
    for words, reason in (
        (("--format", "%.4f"), "every bit"),
        (("--undo", "-T", "20180101000000"), "leave out --time"),
    ):
        code, _, err = told(*words)
        assert (code, reason in err) == (2, True), err
    for more, reason in ((("a", "b"), "one generic repository"), (("a", "-e", "x"), "of no experiment")):
        code, _, err = command(["audit", "--generic", *more], "jfstore")
        assert (code, reason in err) == (2, True), err
    assert command(["audit"], "jfstore")[0] == 2


def test_the_default_place_is_psanas(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels = [PanelId(1, 0, 0x3D00FB)]
    monkeypatch.setenv("SIT_PSDM_DATA", str(here / "data"))
    assert generic_file(panels) == here / "data/detector/calib/jungfrau/jungfrau-1--3d00fb.h5"
    with pytest.raises(Refused, match="too long for the name of a file"):
        generic_file([PanelId(0x171113, 0x154920171025, number) for number in range(0x3D0001, 0x3D0011)])


def test_constants_of_a_test_repository_need_consent_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = jfstore.init(str(here / "T"), "test", panel_shape=SHAPE)
    add_constants(test, 4)
    monkeypatch.setattr("jfstore.deployment.generic.generic_directory", lambda: here / "generic")
    with pytest.raises(Refused, match="is a test repository, and psana reads"):
        jfstore.deploy_generic(RUN, repo=test, place="generic")
    assert jfstore.deploy_generic(RUN, repo=test, place="generic", dry_run=True)[0].state == "would deploy"
    assert jfstore.deploy_generic(RUN, repo=test, place="generic", from_test=True)[0].state == "deployed"


def test_integers_have_the_dtype_of_psana1(here: Path) -> None:
    real = jfstore.open("real")
    status = (np.arange(3 * 2 * 16 * 32).reshape(3, 2, 16, 32) % 128).astype("<u8")
    status[status > 20] = 0
    real.add(DETECTOR, "20171201000000", {"pixel_status": status}, "dark", about={"experiment": "x", "run": "1"})
    assert states()["pixel_status"] == ("deployed", f"{RANGE}/v0001")
    answer = original_answer(FILE, "pixel_status", BEGIN + 1.0)
    assert (answer.dtype, answer.tobytes()) == (np.dtype("<u2"), status.astype("<u2").tobytes())
    assert jfstore.audit_generic("generic", repo="real").counts == {"current": 3}
    panel_of(status, 1)[0, 2, 3] = 1 << 20
    real.add(DETECTOR, "20171202000000", {"pixel_status": status}, "dark", about={"experiment": "x", "run": "2"})
    with pytest.raises(Refused, match=r"pixel_status: 1048576 at \(0, 1, 2, 3\) is more than psana1 reads, uint16"):
        states()


def test_a_file_in_the_directory_of_the_repository_is_known_to_it(here: Path) -> None:
    real = jfstore.open("real")
    (here / "place").mkdir()
    (here / "place" / "jungfrau").symlink_to(here / "real")
    jfstore.deploy_generic(RUN, place="place")
    assert (here / "real" / FILE.name).exists()
    assert find_unimported(real) == ()


def test_places_that_do_not_exist(here: Path) -> None:
    with pytest.raises(Failed, match="does not exist"):
        jfstore.deploy_generic(RUN, place="no/where")
    note = note_of(FILE)
    note.parent.mkdir()
    note.write_text('{"format": 1}')
    with pytest.raises(Damaged, match="is not a note of jfstore"):
        states()
    note.write_text('{"format": 2}')
    with pytest.raises(Refused, match="newer jfstore"):
        states()
    with pytest.raises(BadValue, match="only the deployment for one run"):
        jfstore.undo_generic("exp=xcsls3716:run=1-3", "generic")


def test_a_stopped_deployment_is_completed_and_can_be_undone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        with monkeypatch.context() as patch:
            patch.setattr(durable, "system", Failing(number, "EIO", True))
            with suppress(JfstoreError):
                states()
        assert {version for _, version in states().values()} == {f"{RANGE}/v0001"}
        assert len(answers()) == 2
        assert {state for state, _ in undone().values()} == {"removed"}
        assert answers() == {}
        for path in FILE.parent.iterdir():
            path.unlink()
