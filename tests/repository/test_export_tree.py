"""Export to a gain tree: what the tree answers is what the repository answers, and nothing of others is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.core.arrays import check_array
from jfstore.core.calib_types import panel_shape_of
from jfstore.core.instants import Instant, find_zone, parse_instant
from jfstore.deployment.constants import constants_of
from jfstore.errors import Damaged, JfstoreError, NotFound, Refused
from jfstore.formats.gain_tree import scan_gain_tree
from jfstore.formats.tree_record import RECORD
from jfstore.fs import durable
from jfstore.repository import Entry, Repository
from tests.makers.arrays import darks
from tests.makers.gains import make_gain_tree
from tests.makers.repositories import EARLY, LATER, SHAPE, STAMP, A, B, C, D, constants, entry, new_repository
from tests.makers.telling import tell
from tests.proofs.harness import Failing
from tests.proofs.simfs import SYSTEM_CALLS

TIMES = ("19800101000000", EARLY, "20170601000000", STAMP, "20180601000000", LATER, "20200101000000")
BEGINNING = Instant(-(2**63), "0" * 14)


def make_entry(panel: str, stamp: str | Instant, seed: int, **arrays: np.ndarray) -> Entry:
    start = stamp if isinstance(stamp, Instant) else parse_instant(stamp, find_zone("America/Los_Angeles"))
    checked = {
        name: check_array(array, name, panel_shape_of(name, SHAPE), "made for a test") for name, array in arrays.items()
    }
    return Entry(panel, start, checked or entry(panel, seed=seed).arrays)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with everything that a timeline can have, but closes."""
    monkeypatch.chdir(tmp_path)
    made = new_repository(tmp_path / "R")
    mask = (np.arange(32).reshape(4, 8) % 3 > 0).astype("u1")
    made.add_entries([make_entry(A, EARLY, 1), make_entry(B, BEGINNING, 2), make_entry(C, STAMP, 3)], "first")
    made.add_entries([make_entry(A, STAMP, 0, pixel_gain=constants(4))], "only gains")
    made.add_entries([make_entry(A, LATER, 0, **darks(SHAPE), pixel_mask=mask)], "a dark run")
    made.add_entries([make_entry(B, EARLY, 5)], "wrong")
    made.add_entries([make_entry(B, EARLY, 6)], "right")
    made.add_entries([make_entry(B, LATER, 7)], "of another panel")
    made.withdraw([f"{B}/{LATER}/v1"], "it is of another panel")
    made.join_panels(D, A, "new firmware")
    made.name_panel(A, "M044", "the label")
    return made


def answers(repository: Repository) -> dict[tuple[str, str], dict[str, bytes]]:
    """Return the bits of everything that is valid, for each panel at each time."""
    found = {}
    for panel in (A, B, C, D):
        for time in TIMES:
            try:
                answer = repository.find(panel, None, time)
            except NotFound:
                continue
            found[panel, time] = {name: answer[name].tobytes() for name in answer.types}
    return found


def links(root: Path) -> dict[str, str]:
    return {path.name: os.readlink(path) for path in root.iterdir() if path.is_symlink()}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def imported(root: Path, name: str = "S") -> Repository:
    made = new_repository(root.parent / name)
    added = made.import_gains(root, "round trip")
    assert not added.skipped
    return made


def test_import_of_the_tree_answers_alike_at_every_time(repository: Repository, tmp_path: Path) -> None:
    exported = repository.export_tree(None, "gains")
    assert links(tmp_path / "gains") == {
        f"{A}-{EARLY}": "M044",
        f"{A}-{STAMP}": "M044-2",
        f"{A}-{LATER}": "M044-3",
        f"{D}-{EARLY}": "M044",
        f"{D}-{STAMP}": "M044-2",
        f"{D}-{LATER}": "M044-3",
        B: f"{B}.1",
        f"{B}-{EARLY}": f"{B}.2",
        f"{C}-{STAMP}": f"{C}.1",
    }
    assert {name.state for name in exported.names} == {"new"}
    assert (exported.withdrawn, exported.differences) == ((f"{B}/{LATER}/v1",), ())
    assert len(exported.written) == 6
    mine, its = answers(repository), answers(imported(tmp_path / "gains"))
    assert its == mine
    assert len(mine[A, "20200101000000"]) == 8


def test_a_directory_holds_all_that_is_valid_from_several_versions(repository: Repository) -> None:
    exported = repository.export_tree("M044", "gains")
    by_name = {name.name: dict(name.versions) for name in exported.names}
    assert by_name[f"{A}-{STAMP}"] == {"pixel_gain": f"{A}/{STAMP}/v1", "pixel_offset": f"{A}/{EARLY}/v1"}
    assert sorted(os.listdir("gains/M044-2")) == [f"g{n}_{word}.npy" for n in range(3) for word in ("gain", "offset")]
    assert (np.load("gains/M044-3/mask.npy").shape, np.load("gains/M044-3/g2_status.npy").dtype) == ((4, 8), "<u8")


def test_a_repeated_export_changes_nothing_and_a_later_one_adds(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "gains"
    repository.export_tree(None, root)
    before, linked = contents(root), links(root)
    again = repository.export_tree(None, root)
    assert ({name.state for name in again.names}, again.written) == ({"unchanged"}, ())
    assert (contents(root), links(root)) == (before, linked)

    repository.add_entries([make_entry(A, STAMP, 8)], "measured again")
    repository.add_entries([make_entry(C, LATER, 3)], "as before")
    later = repository.export_tree(None, root)
    states = {name.name: name.state for name in later.names if name.state != "unchanged"}
    # From LATER on the gains are the new ones, too: the version there holds darks only.
    replaced = dict.fromkeys([f"{panel}-{stamp}" for panel in (A, D) for stamp in (STAMP, LATER)], "replaced")
    assert states == {**replaced, f"{C}-{LATER}": "new"}
    assert links(root)[f"{C}-{LATER}"] == f"{C}.1"
    assert set(later.written) == {"M044-4", "M044-5"}
    assert {name: data for name, data in contents(root).items() if name in before and name != RECORD} == {
        name: data for name, data in before.items() if name != RECORD
    }
    made = new_repository(tmp_path / "S")
    assert {name for name, _ in made.import_gains(root, "round trip").skipped} == {"M044-2", "M044-3"}
    assert answers(made) == answers(repository)


def test_a_withdrawn_version_leaves_the_tree(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "gains"
    repository.restore([f"{B}/{LATER}/v1"], "it was right")
    repository.export_tree(None, root)
    assert links(root)[f"{B}-{LATER}"] == f"{B}.3"
    repository.withdraw([f"{B}/{LATER}/v1"], "it was not")
    exported = repository.export_tree(None, root)
    assert [(name.state, name.name) for name in exported.names if name.state != "unchanged"] == [
        ("removed", f"{B}-{LATER}")
    ]
    assert f"{B}-{LATER}" not in links(root)
    assert (root / f"{B}.3" / "g0_gain.npy").exists()


def test_a_close_is_reported_and_the_exit_code_is_one(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.close(C, LATER, "the module was replaced")
    repository.close(A, LATER, "another bias", types="pixel_offset")
    exported = repository.export_tree([A, C], "gains")
    assert [text.split(" (")[0] for text in exported.differences] == [
        f"{A}/{LATER}/v2 closes pixel_offset",
        f"{C}/{LATER}/v1 closes pixel_gain, pixel_offset",
    ]
    assert f"{C}-{LATER}" not in links(tmp_path / "gains")
    assert "g0_offset.npy" not in os.listdir(tmp_path / "gains" / links(tmp_path / "gains")[f"{A}-{LATER}"])
    code, out, err = tell(capsys, "export", "--format", "tree", A, C, "gains", "--repo", "./R")
    assert (code, out.count("unchanged"), "a gain tree cannot say so" in err) == (1, 7, True)


def test_only_some_types_and_as_of(repository: Repository, tmp_path: Path) -> None:
    repository.export_tree(A, "one", types=["pixel_gain", "pixel_offset"])
    assert set(links(tmp_path / "one").values()) == {"M044", "M044-2"}
    exported = repository.export_tree(None, "first", as_of=1)
    assert (sorted(links(tmp_path / "first")), exported.as_of) == ([B, f"{C}-{STAMP}", f"{A}-{EARLY}"], 1)
    with pytest.raises(NotFound, match="no constants"):
        repository.export_tree(A, "none", types="pixel_rms", as_of=1)
    with pytest.raises(NotFound, match="no constants are stored"):
        repository.export_tree("1-2-3", "none")
    assert not (tmp_path / "none").exists()


def test_psana_reads_the_tree_as_the_repository(repository: Repository, tmp_path: Path) -> None:
    exported = repository.export_tree(C, "gains")
    tree = scan_gain_tree(tmp_path / "gains", repository.zone)
    assert (tree.problems, [found.name for found in tree.names]) == ({}, [exported.names[0].name])
    # psana's old command takes the first three fields for a panel, and the fourth for a number.
    repository.name_panel(C, "a-b-c-d", "dashes")
    repository.export_tree(None, "gains")
    fields = [name.split("-") for name in os.listdir("gains") if not name.startswith(".")]
    assert all(len(one) != 4 or one[3].isdigit() for one in fields)


def test_a_tree_that_was_imported_is_unchanged_by_its_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "gains"
    make_gain_tree(root, shape=SHAPE)
    before, linked = contents(root), links(root)
    made = new_repository(tmp_path / "R")
    made.import_gains(root, "as it was")
    exported = made.export_tree(None, root)
    assert {name.state for name in exported.names} == {"unchanged"}
    assert ({*contents(root)} - {".jfstore.lock"}, links(root)) == ({*before}, linked)

    made.add_entries([make_entry(A, LATER, 1)], "new")
    later = made.export_tree(None, root)
    assert [name.name for name in later.names if name.state == "new"] == [f"{A}-{LATER}"]
    assert links(root) == {**linked, f"{A}-{LATER}": f"{A}.1"}
    assert {name: contents(root)[name] for name in before} == before


def _link(root: Path) -> None:
    (root / "mine").mkdir()
    (root / f"{C}-{STAMP}").symlink_to("mine")


def _directory(root: Path) -> None:
    make_gain_tree(root / "other", {}, SHAPE)
    (root / f"{C}-{STAMP}").mkdir()


def _file(root: Path) -> None:
    (root / f"{C}-{STAMP}").write_text("mine")


def _other_spelling(root: Path) -> None:
    make_gain_tree(root, {f"{C.upper()}-{STAMP}": "M1"}, SHAPE, seed=9)


@pytest.mark.parametrize("occupy", [_link, _directory, _file, _other_spelling])
def test_what_others_wrote_is_never_replaced(repository: Repository, tmp_path: Path, occupy: object) -> None:
    root = tmp_path / "gains"
    if occupy is not _other_spelling:
        root.mkdir()
    occupy(root)  # type: ignore[operator]  # one of the functions above
    before = sorted(map(str, root.rglob("*")))
    with pytest.raises(Refused, match=f"{C}-{STAMP} exists, .* was not written by jfstore"):
        repository.export_tree(None, root)
    assert sorted(str(path) for path in root.rglob("*") if path.name != ".jfstore.lock") == before


def test_a_link_that_somebody_moved_is_not_moved_back(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "gains"
    repository.export_tree(None, root)
    (root / f"{C}-{STAMP}").unlink()
    (root / f"{C}-{STAMP}").symlink_to("M044")
    with pytest.raises(Refused, match=f"{C}-{STAMP} exists"):
        repository.export_tree(None, root)
    assert links(root)[f"{C}-{STAMP}"] == "M044"


def test_a_name_of_others_at_another_start_is_reported(repository: Repository, tmp_path: Path) -> None:
    make_gain_tree(tmp_path / "gains", {f"{C}-{LATER}": "M7", "1-2-3-20180101000000": "M7"}, SHAPE)
    (tmp_path / "gains" / f"{C}-2018030600000").symlink_to("M7")
    exported = repository.export_tree(C, "gains")
    assert [text.split()[0].rstrip(",") for text in exported.differences] == [f"{C}-{LATER}", f"{C}-2018030600000"]


def test_a_damaged_directory_gets_a_new_one(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "gains"
    repository.export_tree(C, root)
    (root / f"{C}.1" / "g1_gain.npy").unlink()
    exported = repository.export_tree(C, root)
    assert (exported.written, links(root)[f"{C}-{STAMP}"]) == ((f"{C}.2",), f"{C}.2")


def test_places_that_are_refused(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is a repository"):
        repository.export_tree(None, "R")
    repository.export_tree(None, "gains")
    other = new_repository(tmp_path / "other")
    other.add_entries([make_entry(C, STAMP, 3)], "first")
    with pytest.raises(Refused, match="exported from repository"):
        other.export_tree(None, "gains")
    with pytest.raises(jfstore.Failed, match="does not exist"):
        other.export_tree(None, "no/where")
    (tmp_path / "file").write_text("")
    with pytest.raises(JfstoreError, match="file"):
        other.export_tree(None, "file")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 1, "repository": 1, "directories": {}, "links": {}}',
        '{"format": 1, "repository": "", "directories": {}, "links": {"a": ["../b"]}}',
        '{"format": 1, "repository": "", "directories": {"a/b": {}}, "links": {}}',
    ],
)
def test_a_spoiled_record_is_damaged(text: str, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "gains").mkdir()
    (tmp_path / "gains" / RECORD).write_text(text)
    with pytest.raises(Damaged, match="is not a record of jfstore"):
        repository.export_tree(None, "gains")


def test_a_record_of_a_newer_jfstore_is_refused(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "gains").mkdir()
    (tmp_path / "gains" / RECORD).write_text(json.dumps({"format": 2}))
    with pytest.raises(Refused, match="newer jfstore"):
        repository.export_tree(None, "gains")


def _count_calls(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    class Counting(durable.System):
        calls = 0

    def wrap(name: str) -> None:
        do = getattr(durable.System(), name)

        def call(*arguments: object) -> object:
            Counting.calls += 1
            return do(*arguments)

        setattr(Counting, name, staticmethod(call))

    for name in SYSTEM_CALLS:
        wrap(name)
    monkeypatch.setattr(durable, "system", Counting())
    repository.export_tree(C, root)
    monkeypatch.undo()
    return Counting.calls


@pytest.mark.parametrize("for_ever", [False, True])
def test_any_failing_call_leaves_a_tree_that_the_next_export_completes(
    for_ever: bool, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> Iterator[tuple[int, Path]]:
        for number in range(_count_calls(repository, tmp_path / "counted", monkeypatch)):
            root = tmp_path / f"gains{number}"
            yield number, root

    repository = jfstore.open(str(tmp_path / "R"))
    for number, root in failing():
        monkeypatch.setattr(durable, "system", Failing(number, "EIO", for_ever))
        try:
            repository.export_tree(C, root)
        except JfstoreError as error:
            assert "Input/output" in error.message  # noqa: PT017 - some failures are survived
        monkeypatch.undo()
        tree = scan_gain_tree(root, repository.zone) if root.exists() else None
        for found in tree.names if tree else ():
            assert len(os.listdir(found.directory)) == 6, "a name leads to half a directory"
        repository.export_tree(C, root)
        assert links(root) == {f"{C}-{STAMP}": f"{C}.1"}
        made = new_repository(tmp_path / f"S{number}")
        made.import_gains(root, "round trip")
        assert answers(made)[C, STAMP] == answers(repository)[C, STAMP]


def test_a_run_gets_the_same_constants_from_the_tree(deploying_here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = jfstore.open("real")
    real.export_tree(None, "gains")
    run = "exp=xcsls3716:run=631"
    of_repository, of_tree = constants_of(run, repo=real), constants_of(run, repo="gains")
    assert {name: array.tobytes() for name, array in of_tree.arrays.items()} == {
        name: array.tobytes() for name, array in of_repository.arrays.items()
    }
