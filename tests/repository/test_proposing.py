"""Ids that may be one panel: by serial number, by module number, weakly by name; with the evidence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jfstore.core.ids import PanelId
from jfstore.repository import Repository
from jfstore.runs.run import Jungfrau, Run
from tests.makers.arrays import constants as plausible_constants
from tests.makers.repositories import EARLY, LATER, STAMP, A, B, C, entry, new_repository
from tests.makers.telling import tell

NEWER_A = "171113-164920190301-3d00fb"
FIRST, SECOND, THIRD = "8000000020000-230920-20004002c", "9000000000000-230921-3007f002c", "9000000000000-230921-ff002c"
OTHER = "9000000000000-230921-3007f0217"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    made = new_repository(tmp_path / "R")
    made.add_entries([entry(A, EARLY, seed=1), entry(B, seed=2), entry(C, seed=3)], "first")
    made.add_entries([entry(FIRST, seed=4), entry(OTHER, seed=5)], "of LCLS-II")
    return made


def pairs(repository: Repository, *asked: str, **options: object) -> list[tuple[str, str]]:
    found = repository.propose_panels(*asked, **options)  # type: ignore[arg-type]  # as_of or runs
    return [(one.panel.id, one.other.id) for one in found]


def make_run(number: int, *panels: str, start: int | None = 1_600_000_000 * 10**9) -> Run:
    ids = tuple(PanelId(*(int(field, 16) for field in panel.split("-"))) for panel in panels)
    jungfrau = Jungfrau("MfxEndstation.0:Jungfrau.0", None, 3, len(ids), ids)
    return Run("mfxx0001", number, start, "file.xtc", (jungfrau,), ())


def test_nothing_is_proposed_without_a_common_number(repository: Repository) -> None:
    assert pairs(repository) == []


def test_equal_serial_of_another_firmware(repository: Repository) -> None:
    repository.add_entries([entry(NEWER_A, LATER, seed=1)], "new firmware")
    (proposal,) = repository.propose_panels()
    assert (proposal.panel.id, proposal.other.id, proposal.is_weak) == (NEWER_A, A, False)
    assert proposal.reason == "serial number 3d00fb; firmwareVersion 154920171025 and 164920190301"
    assert [(one.type, one.is_equal) for one in proposal.constants] == [("pixel_gain", True), ("pixel_offset", True)]
    assert (proposal.other.versions, proposal.other.first) == ((f"{A}/{EARLY}/v1",), proposal.other.last)
    assert (proposal.panel.first and proposal.panel.first.stamp, proposal.conflict) == (LATER, None)
    assert repository.log.table().seq == 3, "nothing is joined"


def test_module_number_of_another_software_firmware_and_board(repository: Repository) -> None:
    repository.add_entries([entry(SECOND, LATER, seed=6)], "new server")
    (proposal,) = repository.propose_panels()
    assert (proposal.panel.id, proposal.other.id) == (SECOND, FIRST)
    assert proposal.reason == (
        "module number 44; software 8.0.2 and 9.0.0, firmware 230920 and 230921, board 20004 and 3007f"
    )
    assert [(one.is_equal, one.alike) for one in proposal.constants] == [(False, None)] * 2


def test_ids_of_runs_without_constants_are_chained_by_time(repository: Repository) -> None:
    runs = [make_run(7, OTHER, SECOND), make_run(8, THIRD, start=1_700_000_000 * 10**9), make_run(9, SECOND)]
    assert pairs(repository, runs=runs) == [(SECOND, FIRST), (THIRD, SECOND)]
    second, third = repository.propose_panels(runs=runs)
    assert [(seen.experiment, seen.runs) for seen in second.panel.sightings] == [("mfxx0001", (7,)), ("mfxx0001", (9,))]
    assert (second.panel.versions, second.panel.first, third.constants) == ((), None, ())
    assert pairs(repository, FIRST, runs=runs) == [(SECOND, FIRST)]
    assert pairs(repository, THIRD) == [(THIRD, FIRST)], "an Id that is asked about need not be known"
    repository.join_panels(SECOND, FIRST, "new server")
    assert pairs(repository, runs=runs) == [(THIRD, SECOND)]


def test_pairs_that_were_declared_are_left_out(repository: Repository) -> None:
    runs = [make_run(7, SECOND), make_run(8, THIRD, start=1_700_000_000 * 10**9)]
    repository.join_panels(FIRST, SECOND, "x")
    repository.separate_panels(FIRST, SECOND, "they are not")
    # The third one may be the first one, too.
    assert pairs(repository, runs=runs) == [(THIRD, SECOND)]
    repository.join_panels(THIRD, SECOND, "y")
    assert pairs(repository, runs=runs) == []
    assert pairs(repository, runs=runs, as_of=2) == [(SECOND, FIRST), (THIRD, SECOND)]


def test_a_conflict_is_told(repository: Repository) -> None:
    repository.add_entries([entry(NEWER_A, EARLY, seed=7)], "at the same stamp")
    (proposal,) = repository.propose_panels()
    assert proposal.conflict is not None
    assert "differ at the same stamp" in proposal.conflict


def test_withdrawn_versions_are_no_evidence(repository: Repository) -> None:
    repository.add_entries([entry(NEWER_A, EARLY, seed=7)], "at the same stamp")
    repository.withdraw([f"{NEWER_A}/{EARLY}/v1"], "wrong")
    (proposal,) = repository.propose_panels()
    assert (proposal.panel.versions, proposal.conflict) == ((), None)


def test_a_name_is_a_weak_reason(repository: Repository) -> None:
    repository.name_panel(A, "M044", "the label")
    (proposal,) = repository.propose_panels()
    assert (proposal.panel.id, proposal.other.id, proposal.is_weak) == (FIRST, A, True)
    assert proposal.reason == "module number 44, and the name M044"
    repository.join_panels(FIRST, A, "they are")
    assert pairs(repository) == []


@pytest.mark.parametrize(("one", "other"), [("1-2-0", "3-4-0"), ("8000000020000-1-10000", "8000000020000-2-20000")])
def test_a_number_that_was_not_read_says_nothing(one: str, other: str, repository: Repository) -> None:
    repository.add_entries([entry(one, seed=8), entry(other, seed=8)], "zeros")
    assert pairs(repository) == []


def test_likeness_of_panels_of_real_size(tmp_path: Path) -> None:
    shape = (3, 256, 256)
    made = new_repository(tmp_path / "L", shape=shape)
    first, again = (plausible_constants(shape, 1)["pixel_gain"] for _ in range(2))
    waves = np.sin(np.mgrid[:256, :256].sum(axis=0) / 30)[None].astype("f4")
    again *= np.float32(1.01)
    for panel, array in ((A, first * (1 + waves / 30)), (NEWER_A, again * (1 + waves / 30))):
        made.add(panel, STAMP, {"pixel_gain": array.astype("f4")}, "m")
    (proposal,) = made.propose_panels()
    assert proposal.constants[0].alike is not None
    assert proposal.constants[0].alike > 0.95


def test_command_prints_evidence_and_what_to_run(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.add_entries([entry(NEWER_A, LATER, seed=1)], "new firmware")
    code, out, err = tell(capsys, "panel", "--propose", "--repo", "./R")
    row = dict(zip(*(line.split("\t") for line in out.splitlines()), strict=True))
    assert (code, row["panel"], row["same_as"]) == (0, NEWER_A, A)
    assert (row["constants"], row["used"]) == (
        "pixel_gain equal, pixel_offset equal",
        f"1 version {LATER}; 1 version {EARLY}",
    )
    reason = "serial number 3d00fb; firmwareVersion 154920171025 and 164920190301"
    assert err.splitlines()[-1] == f"jfstore panel {NEWER_A} --same-as {A} -m '{reason}' --repo ./R"
    (value,) = json.loads(tell(capsys, "panel", A, "--propose", "--repo", "./R", "--json")[1])
    assert tell(capsys, *value["command"][1:])[0] == 0
    assert tell(capsys, "panel", "--propose", "--repo", "./R")[1:] == (
        "panel\tsame_as\treason\tconstants\tused\tconflict\n",
        "no Ids are proposed to be one panel\n",
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "the panel Id is missing"),
        ((A, "--propose", "--same-as", B, "-m", "x"), "states nothing"),
        (("--propose", "-m", "x"), "nothing to commit"),
        (("--propose", "--name", "M1", "-m", "x"), "states nothing"),
    ],
)
def test_options_that_contradict(
    words: tuple[str, ...], reason: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = tell(capsys, "panel", *words, "--repo", "./R")
    assert (code, reason in err) == (2, True), err
