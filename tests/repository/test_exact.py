"""Constants by name: any version, valid or not, and the last of a panel at exactly a stamp."""

from __future__ import annotations

from pathlib import Path

import pytest

import jfstore
from jfstore.core.records import SamePanel
from jfstore.repository import Repository
from tests.makers.operations import state
from tests.makers.repositories import LATER, STAMP, A, B, D, constants, entry, story

V1, V2 = f"{A}/{STAMP}/v1", f"{A}/{STAMP}/v2"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return story(tmp_path / "R")


@pytest.mark.parametrize(
    ("name", "seed"), [(V1, 1), (V2, 4), (f"{A}/{STAMP}/v0001", 1), (f"154920171025-3d00fb/{STAMP}/v1", 1)]
)
def test_any_version_by_its_name(repository: Repository, name: str, seed: int) -> None:
    answer = repository.find(name)
    assert answer.types == ("pixel_gain", "pixel_offset")
    assert (answer.detector, answer.time.stamp, answer.as_of) == (A, STAMP, 4)
    for calib_type in answer:
        assert answer[calib_type].tobytes() == constants(seed, calib_type).tobytes()
    assert repository.get(name, "pixel_gain").tobytes() == constants(seed).tobytes()
    assert repository.replay(answer.lock()).by_type == answer.by_type


def test_a_version_that_is_not_valid_is_said_to_be_so(repository: Repository) -> None:
    assert repository.find(V2).notes == ()
    assert repository.find(V1, "pixel_gain").notes == (
        f"{V1} is not the valid pixel_gain of its panel at {STAMP}: {V2} is",
    )
    assert repository.find(V1, "pixel_gain", as_of=2).notes == ()


def test_the_interval_ends_at_the_next_stamp(repository: Repository) -> None:
    repository.add_entries([entry(A, LATER, seed=6)], "later")
    for name in (V1, V2):
        (selection,) = repository.find(name, "pixel_gain").of("pixel_gain")
        assert (selection.valid_from.stamp, selection.valid_to and selection.valid_to.stamp) == (STAMP, LATER)


def test_a_withdrawn_version(repository: Repository) -> None:
    repository.withdraw(V2, "wrong bias")
    with pytest.raises(jfstore.NotFound, match=rf"{V2} was withdrawn by commit 5, .*: wrong bias; --withdrawn gets it"):
        repository.find(V2)
    answer = repository.find(V2, "pixel_gain", withdrawn=True)
    assert answer["pixel_gain"].tobytes() == constants(4).tobytes()
    assert answer.notes[0].endswith(": wrong bias")
    assert repository.get(V2, "pixel_gain", withdrawn=True).tobytes() == constants(4).tobytes()
    assert repository.find(V2, as_of=4).notes == ()
    replayed = repository.replay(answer.lock())
    assert replayed["pixel_gain"].tobytes() == constants(4).tobytes()
    assert "was withdrawn by commit 5" in replayed.notes[0]
    for target, time in ((A, LATER), (f"{A}-{STAMP}", None)):
        with pytest.raises(jfstore.BadValue, match="a withdrawn version is asked for by its name"):
            repository.find(target, None, time, withdrawn=True)


def test_the_last_one_at_exactly_a_stamp(repository: Repository) -> None:
    name = f"{A}-{STAMP}"
    assert [s.version.name for _, (s,) in repository.find(name).by_type] == [V2, V2]
    assert repository.get(f"154920171025-3d00fb-{STAMP}", "pixel_gain").tobytes() == constants(4).tobytes()
    assert repository.get(name, "pixel_gain", as_of=2).tobytes() == constants(1).tobytes()
    repository.add_entries([entry(A, seed=6, types=["pixel_gain"])], "gain only")
    answer = repository.find(name)
    assert [s.version.number for _, (s,) in answer.by_type] == [3, 2]
    assert "the constants come from different versions" in answer.notes[0]
    repository.withdraw(f"{A}/{STAMP}/v3", "wrong")
    assert [s.version.number for _, (s,) in repository.find(name).by_type] == [2, 2]
    with pytest.raises(jfstore.NotFound, match=f"panel {A}: no constants start at exactly {LATER}"):
        repository.find(f"{A}-{LATER}")
    with pytest.raises(jfstore.NotFound, match="no pixel_gain starts at exactly 20180306000001") as caught:
        repository.find(f"{A}-20180306000001", "pixel_gain")
    assert caught.value.nearest == (STAMP,)


def test_a_close_and_another_id_of_the_panel(repository: Repository) -> None:
    repository.close(A, LATER, "broken")
    with pytest.raises(jfstore.NotFound, match=rf"{A}/{LATER}/v1 closes pixel_gain and pixel_offset: it holds no"):
        repository.find(f"{A}/{LATER}/v1")
    with pytest.raises(jfstore.NotFound, match=rf"pixel_gain is closed from {LATER} on, by commit 5, .*: broken"):
        repository.find(f"{A}-{LATER}")
    state(repository, "same_panel", SamePanel((B, D)))
    answer = repository.find(f"{B}-{STAMP}", "pixel_gain")
    assert answer.of("pixel_gain")[0].version.name == f"{D}/{STAMP}/v1"
    assert answer.detector == B
    assert repository.find(f"{B}/{STAMP}/v1", "pixel_gain").of("pixel_gain")[0].version.name == f"{B}/{STAMP}/v1"


def test_names_of_nothing(repository: Repository) -> None:
    for target, options, error, message in (
        (f"{A}/{STAMP}/v9", {}, jfstore.NotFound, f"there is no version {A}/{STAMP}/v9 as of commit 4"),
        (V2, {"as_of": 2}, jfstore.NotFound, f"there is no version {V2} as of commit 2"),
        (V1, {"types": ["pedestal"]}, jfstore.BadValue, "is not a calibration type"),
        (V1, {"time": LATER}, jfstore.BadValue, "says the version and the time"),
        (V1, {"number": 1}, jfstore.BadValue, "says the version and the time"),
        (f"1-2-3-{STAMP}", {}, jfstore.NotFound, "panel 1-2-3: no constants start at exactly"),
        (f"{A}-20181399000000", {}, jfstore.BadValue, "is not a date and time"),
        (f"1-2-3/{STAMP}/v1", {}, jfstore.NotFound, "there is no version"),
    ):
        with pytest.raises(error, match=message):
            repository.find(target, **options)
    repository.add_entries([entry(B, LATER, seed=6, types=["pixel_gain"])], "gain only")
    with pytest.raises(jfstore.NotFound, match="holds no pixel_offset"):
        repository.find(f"{B}/{LATER}/v1", "pixel_offset")
