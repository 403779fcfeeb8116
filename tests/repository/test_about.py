"""Short texts that versions carry: stored, read back, promoted, and refused if they are not short texts by key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.core.encoding import decode_commit, encode_commit
from jfstore.core.fields import check_about
from jfstore.repository import Repository
from jfstore.repository.verify import verify
from tests.makers.repositories import LATER, STAMP, A, B, C, commit_path, constants, new_repository, reopened

TEXTS = {"dark_run": "689", "report": "https://example.org/7", "conditions": "größer als 20 °C"}


@pytest.fixture(params=["hdf5", "zarr"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R", storage=request.param)


def test_a_version_carries_texts(repository: Repository, tmp_path: Path) -> None:
    repository.add(A, STAMP, {"pixel_gain": constants(1)}, "plain")
    (version,) = repository.add(A, LATER, {"pixel_gain": constants(2)}, "why", about=TEXTS).versions
    assert version.about == TEXTS
    again = reopened(repository)
    assert again.show(version.name).version.about == TEXTS
    assert again.show(f"{A}/{STAMP}/v1").version.about == {}
    assert json.loads(commit_path(repository, 2).read_bytes().splitlines()[1][:-1])["op"] == "add-2"
    assert again.commit(2).op == "add"
    assert verify(again).problems == ()
    target = jfstore.init(str(tmp_path / "T"), "real", panel_shape=repository.panel_shape)
    promoted = target.promote(version.name, "checked", source=repository).versions[0]
    assert reopened(target).version(promoted.name).about == TEXTS


def test_every_panel_of_a_detector_carries_them(repository: Repository) -> None:
    gain = constants(1)[:, None].repeat(2, axis=1)
    added = repository.add(f"{B}_{C}", STAMP, {"pixel_gain": gain}, "why", about={"dark_run": "7"})
    assert [dict(version.about) for version in added.versions] == [{"dark_run": "7"}] * 2


def test_texts_of_constants_that_are_stored_already_are_missed(repository: Repository) -> None:
    arrays = {"pixel_gain": constants(1)}
    repository.add(A, STAMP, arrays, "why", about={"dark_run": "7"})
    assert not any("recorded" in note for note in repository.add(A, STAMP, arrays, "y", about={"dark_run": "7"}).notes)
    again = repository.add(A, STAMP, arrays, "why", about={"dark_run": "8", "report": "R"})
    assert [note for note in again.notes if "recorded" in note] == [
        f"dark_run, report not recorded: {A}/{STAMP}/v1 has the same constants, and a version never changes"
    ]


def test_an_import_gives_them_to_every_version(repository: Repository, tmp_path: Path) -> None:
    import numpy as np

    for name in (f"{A}-{STAMP}", B):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(3):
            for word, seed in (("gain", 1), ("offset", 2)):
                np.save(tmp_path / "tree" / name / f"g{number}_{word}.npy", constants(seed)[number].astype("f8"))
    added = repository.import_gains(tmp_path / "tree", "legacy", about={"report": "R7"})
    assert [dict(version.about) for version in added.versions] == [{"report": "R7"}] * 2


BAD: list[Any] = [
    {"": "x"},
    {"1st": "x"},
    {"a b": "x"},
    {"a=b": "x"},
    {"é": "x"},
    {"k" * 65: "x"},
    {"key": ""},
    {"key": "two\nlines"},
    {"key": "\x1b[31m"},
    {"key": "\x9b31m"},
    {"key": "\ud800"},
    {"key": "é" * 513},
    {"key": 7},
    {7: "x"},
    {f"k{n}": "x" for n in range(65)},
    "key=value",
    7,
]


@pytest.mark.parametrize("about", BAD, ids=lambda about: ascii(about)[:20])
def test_what_is_not_short_texts_by_key_is_refused(repository: Repository, about: Any) -> None:
    with pytest.raises(jfstore.BadValue):
        repository.add(A, STAMP, {"pixel_gain": constants(1)}, "why", about=about)
    assert repository.log.table().seq == 0


@pytest.mark.parametrize("about", BAD, ids=lambda about: ascii(about)[:20])
def test_a_commit_that_has_them_all_the_same_is_damaged(repository: Repository, about: Any) -> None:
    repository.add(A, STAMP, {"pixel_gain": constants(1)}, "why", about=TEXTS)
    commit = repository.commit(1)
    odd = replace(commit, versions=(replace(commit.versions[0], about=about),))
    try:
        raw = encode_commit(odd)[0]
    except (TypeError, ValueError):
        return  # not even JSON
    with pytest.raises(jfstore.Damaged):
        decode_commit(raw, "it")


def test_the_largest_ones_fit() -> None:
    about = {f"k{n:063d}": "é" * 512 for n in range(64)}
    assert check_about(about) == about


def test_versions_are_listed_by_their_texts(repository: Repository) -> None:
    repository.add(A, STAMP, {"pixel_gain": constants(1)}, "plain")
    repository.add(A, LATER, {"pixel_gain": constants(2)}, 'an "about" in the message')
    repository.add(B, STAMP, {"pixel_gain": constants(3)}, "why", about=TEXTS)
    found = reopened(repository).list(about={"dark_run": "689"})
    assert [(listed.name, listed.about) for listed in found] == [(f"{B}/{STAMP}/v1", TEXTS)]
    assert repository.list(about={"dark_run": "690"}) == ()
    assert {listed.about for listed in repository.list()} == {None}
    assert repository.list(about={"dark_run": "689"}, as_of=2) == ()
