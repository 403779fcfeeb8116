"""The guard with a repository behind it: panels of real size, their history, and other panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from jfstore.cli import demo_data
from jfstore.core.guard import DEMO_FILE
from jfstore.core.guard_pixels import judge_demo
from jfstore.core.records import Array, Version
from jfstore.repository import Repository
from jfstore.repository.guarding import Guard, Implausible
from tests.makers.faults import exchange_asics, round_to
from tests.makers.panels import AsicPanel
from tests.makers.repositories import LATER, STAMP, TYPES, A, B, C, new_repository, reopened

SHAPE = (256, 512)
SAME_SERIAL = "171113-164920190301-3d00fb"  # that of A, with new firmware
OTHER_SERIAL = "171113-154920171025-100fb"  # only the last 16 bits are those of A
Constants = Mapping[str, np.ndarray]


def measure(seed: int, number: int = 0, types: Sequence[str] = TYPES) -> Constants:
    """Return a measurement of a panel."""
    return {name: AsicPanel(seed, name, SHAPE).measure(number) for name in types}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with a version of three panels."""
    repository = new_repository(tmp_path / "R", shape=(3, *SHAPE))
    for seed, panel in enumerate((A, B, C), 1):
        assert repository.add(panel, STAMP, measure(seed), "first").notes == ()
    return repository


def findings_of(repository: Repository, panel: str, arrays: Constants, stamp: str = LATER) -> list[tuple[str, str]]:
    """Return type and name of each finding."""
    try:
        repository.add(panel, stamp, arrays, "guarded", dry_run=True)
    except Implausible as error:
        return [(found.type, found.name) for found in error.findings]
    return []


def test_a_new_measurement_is_accepted_without_a_note(repository: Repository) -> None:
    for number in (1, 2):
        assert repository.add(A, LATER, measure(1, number), "again").notes == ()
    # A panel that nobody knows yet is accepted, too.
    assert repository.add("1-2-3", LATER, measure(9), "new").notes == ()


def test_two_panels_of_a_detector_that_are_swapped(repository: Repository, tmp_path: Path) -> None:
    before = set((tmp_path / "R").rglob("*"))
    swapped = {name: np.stack([measure(3, 1)[name], measure(2, 1)[name]], axis=1) for name in measure(1)}
    with pytest.raises(Implausible) as caught:
        repository.add(f"{B}_{C}", LATER, swapped, "swapped")
    assert {(found.panel, found.name) for found in caught.value.findings} == {(B, "other-panel"), (C, "other-panel")}
    text = str(caught.value)
    assert "0.0" in text
    assert f" with {B}/{STAMP}/v1, 0." in text
    assert f" with {C}/{STAMP}/v1: exchanged?" in text
    assert set((tmp_path / "R").rglob("*")) == before
    repository.add(f"{B}_{C}", LATER, swapped, "they were swapped before", accept=["other-panel"])
    assert reopened(repository).commit(4).accepted == ("other-panel",)


def test_another_panel_without_an_own_history(repository: Repository) -> None:
    assert {name for _, name in findings_of(repository, "1-2-3", measure(1, 1))} == {"other-panel"}
    assert {name for _, name in findings_of(repository, "1-2-3", measure(1))} == {"other-panel"}


def test_one_array_for_two_panels_of_a_new_detector(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "N", shape=(3, *SHAPE))
    twice = {name: np.stack([array, array], axis=1) for name, array in measure(1).items()}
    assert {name for _, name in findings_of(repository, f"{B}_{C}", twice)} == {"other-panel"}


def test_another_serial_number_is_another_panel(repository: Repository) -> None:
    with pytest.raises(Implausible, match=f"other-panel .*{A}/{STAMP}/v1"):
        repository.add(OTHER_SERIAL, LATER, measure(1), "exchanged")


def test_module_numbers_of_lcls2_are_a_note(repository: Repository) -> None:
    one, two, other = "8000000020000-230920-20004002c", "9000000000000-230921-ff002c", "9000000000000-230921-ff002d"
    repository.add(one, STAMP, measure(7), "first")
    (note,) = repository.add(two, LATER, measure(7), "new server").notes
    assert note.endswith(f"jfstore panel {two} --same-as {one}")
    with pytest.raises(Implausible, match="other-panel"):
        repository.add(other, LATER, measure(7), "exchanged")


def test_the_same_serial_number_is_a_note(repository: Repository) -> None:
    added = repository.add(SAME_SERIAL, LATER, measure(1), "new firmware")
    (note,) = added.notes
    assert note.startswith(f"{SAME_SERIAL} has constants of {A}, which has the same serial number")
    assert note.endswith(f"jfstore panel {SAME_SERIAL} --same-as {A}")
    # Not equal: nothing to say, and nothing to refuse.
    assert repository.add(SAME_SERIAL, LATER, measure(1, 1), "measured").notes == ()


def test_what_only_a_history_shows(repository: Repository) -> None:
    new = measure(1, 1)
    gain, offset = new["pixel_gain"], new["pixel_offset"]
    assert findings_of(repository, A, {"pixel_gain": gain[:, ::-1, ::-1]}) == [("pixel_gain", "turned")]
    assert findings_of(repository, A, {"pixel_gain": exchange_asics(gain, gain)}) == [("pixel_gain", "asics")]
    assert findings_of(repository, A, {"pixel_offset": -offset}) == [("pixel_offset", "sign")]
    assert findings_of(repository, A, {"pixel_offset": offset / 1000}) == [("pixel_offset", "magnitude")]
    assert findings_of(repository, A, {"pixel_offset": offset[[0, 2, 1]]}) == [("pixel_offset", "ranges")]
    rounded = round_to(".3f")(measure(1)["pixel_gain"], gain)
    rounded[rounded == 0] = 0.001
    assert findings_of(repository, A, {"pixel_gain": rounded}) == [("pixel_gain", "rounded")]


def test_a_panel_unlike_its_past_is_a_note(repository: Repository) -> None:
    added = repository.add(A, LATER, measure(17, 0, ("pixel_gain",)), "repaired")
    assert [note for note in added.notes if f"pixel_gain of {A} is unlike its earlier versions (0.0" in note]


def test_the_last_versions_count(repository: Repository) -> None:
    """A new version that is like one of the last three is accepted; what was withdrawn does not count."""
    repository.add(A, LATER, measure(2, 1), "wrong", accept=["other-panel"])
    assert findings_of(repository, A, measure(1, 2)) == []
    assert findings_of(repository, A, measure(2, 2)) == []
    repository.withdraw(f"{A}/{LATER}/v1", "of another panel")
    assert {name for _, name in findings_of(repository, A, measure(2, 2))} == {"other-panel"}


def test_history_that_cannot_be_read_is_left_out(repository: Repository, tmp_path: Path) -> None:
    for path in (tmp_path / "R" / "panels" / A).iterdir():
        path.unlink()
    assert findings_of(repository, A, measure(1, 1)) == []


@pytest.mark.parametrize("word", ["gain", "offset"])
@pytest.mark.parametrize("seed", demo_data.DIRECTORIES.values())
def test_every_array_of_the_demo_has_its_mark(seed: int, word: str) -> None:
    assert [name for name, _ in judge_demo(demo_data.constants(seed, word))] == ["demo"]


def test_the_demo_stays_in_its_directory(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "R", shape=(3, 512, 1024))
    arrays = {f"pixel_{word}": demo_data.constants(44, word) for word in ("gain", "offset")}
    assert {name for _, name in findings_of(repository, A, arrays)} == {"demo"}
    text = {
        name: np.array([f"{x:.3f}" for x in array.flat], "f4").reshape(array.shape) for name, array in arrays.items()
    }
    assert ("pixel_gain", "demo") in findings_of(repository, A, text)
    (tmp_path / DEMO_FILE).touch()
    assert findings_of(repository, A, arrays) == []


def test_other_panels_are_looked_at_only_for_cause(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_array = Guard._read_array

    def count(guard: Guard, version: Version, array: Array) -> np.ndarray | None:
        read.append(version.name)
        return read_array(guard, version, array)

    monkeypatch.setattr(Guard, "_read_array", count)
    for number in range(1, 6):
        repository.add(A, f"202{number}0101000000", measure(1, number, ("pixel_gain",)), "again")
    # One array of the last version for each.
    assert read == [f"{A}/{STAMP}/v1", *(f"{A}/202{number}0101000000/v1" for number in range(1, 5))]
    read.clear()
    repository.add("1-2-3", LATER, measure(9, 0, ("pixel_gain",)), "new")
    assert sorted(name[:20] for name in read) == sorted(panel[:20] for panel in (A, B, C))


def test_a_bucket_is_asked_for_arrays_only_for_cause(s3: str) -> None:
    repository = new_repository(s3, shape=(3, *SHAPE), storage="zarr")
    for seed, panel in enumerate((A, B), 1):
        repository.add(panel, STAMP, measure(seed), "first")
    assert findings_of(repository, A, measure(1, 1)) == []
    assert {name for _, name in findings_of(repository, A, measure(2, 1))} == {"other-panel"}
    assert {name for _, name in findings_of(repository, "1-2-3", measure(2))} == {"other-panel"}
