"""Mirrors between any two storages, and what is restored from them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.core.records import StoredFile
from jfstore.errors import Damaged, NotFound, Refused
from jfstore.repository import Repository, catalogue
from jfstore.repository.commits import commit_name
from jfstore.repository.mirror import copy_commits, detach
from jfstore.repository.repair import repair
from jfstore.repository.verify import verify
from tests.makers import buckets
from tests.makers.buckets import Place
from tests.makers.repositories import (
    EARLY,
    LATER,
    STAMP,
    STORY,
    TYPES,
    A,
    B,
    C,
    D,
    entry,
    flip,
    reopened,
    seeds_of,
    story,
)
from tests.makers.spoiling import PLACE_KINDS, spoil_in_place

STORAGES = ("hdf5", "zarr", "s3")
NO_FILE = StoredFile("panels/x", 1, "0" * 64, {})


def place_of(kind: str, path: Path, request: pytest.FixtureRequest) -> Place:
    if kind != "s3":
        return Place(kind, str(path), {})
    port, url = request.getfixturevalue("port"), request.getfixturevalue("s3")
    return Place("zarr", f"{url}/{path.name}", buckets.environment_of(port), port)


PAIRS = [(a, b) for a in STORAGES for b in STORAGES]
FEW = [("hdf5", "hdf5"), ("hdf5", "s3"), ("s3", "hdf5"), ("zarr", "hdf5")]
NEAR = [("hdf5", "zarr"), ("zarr", "hdf5")]


def each_pair(few: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Let a test have each pair of storages, `few` of them in the ordinary tests."""
    pairs = [pytest.param(pair, marks=() if pair in few else pytest.mark.full) for pair in PAIRS]
    return pytest.mark.parametrize("places", pairs, ids=" to ".join, indirect=True)


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, Place]:
    one, other = request.param
    return place_of(one, tmp_path / "one", request), place_of(other, tmp_path / "other", request)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Repository, Repository]:
    """A repository and a mirror of it, both on directories."""
    source = story(tmp_path / "R")
    return source, mirrored(source, tmp_path / "M", "zarr")


def mirrored(source: Repository, place: Path | str, kind: str | None = None) -> Repository:
    return copy_commits(source, catalogue.mirror_storage(str(place), source, kind)).copy


def answers(repository: Repository) -> list[object]:
    """Return everything that a repository says, but where its files are."""
    said: list[object] = [repository.history(), [replace(version, file=NO_FILE) for version in repository.versions()]]
    for as_of in (None, 1, 3):
        for panel in (A, B, C, D):
            for name in TYPES:
                for when in (EARLY, LATER):
                    try:
                        said.append(repository.get(panel, name, when, as_of=as_of).tobytes())
                    except NotFound as error:
                        said.append(str(error).replace(repository.location, "HERE"))
    for seq in range(1, len(repository.history()) + 1):
        commit = repository.commit(seq)
        said.append(replace(commit, versions=tuple(replace(version, file=NO_FILE) for version in commit.versions)))
    return said


@each_pair(FEW)
def test_copy_gives_every_answer(places: tuple[Place, Place]) -> None:
    one, other = places
    source = story(one.url, one.storage)
    copy = mirrored(source, other.url, other.storage)
    again = reopened(copy)
    assert answers(again) == answers(source)
    assert (again.identity.id, again.identity.role, again.identity.hash) == (
        source.identity.id,
        source.identity.role,
        source.identity.hash,
    )
    assert again.identity.mirror_of == one.url
    assert verify(again).problems == verify(source).problems == ()
    for seq in range(1, 5):
        assert one.read(commit_name(seq)).splitlines()[:3] == other.read(commit_name(seq)).splitlines()[:3]
    if one.storage == other.storage:
        names = set(one.names())
        assert names == set(other.names())
        assert {name for name in names if one.read(name) != other.read(name)} <= {"repository.json", one.index}


def test_there_and_back_is_the_same_to_the_last_byte(
    tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    source = story(tmp_path / "R")
    bucket = place_of("s3", tmp_path / "M", request)
    for words in (("R", bucket.url), (bucket.url, "B", "--storage", "hdf5")):
        full = [str(tmp_path / word) if word in "RB" else word for word in words]
        assert main(["mirror", *full]) == 0
    back = jfstore.open(str(tmp_path / "B"))
    assert answers(back) == answers(source)
    for url in (source.storage.location, bucket.url, back.storage.location):
        assert main(["verify", "--repo", url]) == 0
    for path in (tmp_path / "R").rglob("*"):
        if path.is_file() and path.name not in ("repository.json", "jungfrau.h5", ".lock"):
            assert (tmp_path / "B" / path.relative_to(tmp_path / "R")).read_bytes() == path.read_bytes()


@each_pair(FEW)
def test_only_what_is_new_is_copied(places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = places
    source = story(one.url, one.storage)
    mirrored(source, other.url, other.storage)
    source.add_entries([entry(A, LATER, seed=6), entry(D, LATER, seed=2)], "one new, one known")
    target = catalogue.mirror_storage(other.url, source, None)
    stored = []
    store = type(target).store

    def observed(self: Any, *rest: Any) -> Any:
        stored.append(rest[0])
        return store(self, *rest)

    monkeypatch.setattr(type(target), "store", observed)
    done = copy_commits(source, target)
    assert (done.new, done.seq, stored) == (1, 5, [A])
    assert copy_commits(source, target).new == 0
    assert answers(reopened(done.copy)) == answers(source)


@pytest.mark.parametrize("calls", range(1, 30, 3))
def test_goes_on_where_it_was_stopped(tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = story(tmp_path / "R")
    target = catalogue.mirror_storage(str(tmp_path / "M"), source, "zarr")
    create, left = target.objects.create, iter(range(1 << 30))

    def failing(name: str, pieces: object, clock: int | None = None) -> None:
        if next(left) == calls:
            raise KeyboardInterrupt
        create(name, pieces)  # type: ignore[arg-type]

    monkeypatch.setattr(target.objects, "create", failing)
    with pytest.raises(KeyboardInterrupt):
        copy_commits(source, target)
    copy = mirrored(source, tmp_path / "M")
    assert answers(reopened(copy)) == answers(source)
    assert verify(copy).problems == ()


def test_nothing_is_added_to_a_mirror(pair: tuple[Repository, Repository], capfd: pytest.CaptureFixture[str]) -> None:
    source, copy = pair
    for dry_run in (True, False):
        with pytest.raises(Refused, match=f"mirror of {source.storage.location}") as caught:
            copy.add_entries([entry(B, LATER, seed=5)], "to the copy", dry_run=dry_run)
        assert caught.value.exit_code == 5
    words = [
        "promote",
        f"{A}/{STAMP}/v1",
        "--from",
        source.storage.location,
        "--repo",
        copy.storage.location,
        "-m",
        "x",
    ]
    assert main(words) == 5
    assert answers(reopened(copy)) == answers(source)


def test_mirror_that_has_gone_its_own_way_is_refused(pair: tuple[Repository, Repository]) -> None:
    source, copy = pair
    own = reopened(detach(copy))
    with pytest.raises(Refused, match="not a copy"):
        mirrored(source, copy.storage.location)
    own.add_entries([entry(B, LATER, seed=5)], "its own")
    assert seeds_of(own) == {**STORY[4], B: 5}
    assert verify(reopened(own)).problems == ()


def test_mirror_whose_last_commit_is_not_in_the_chain_is_refused(tmp_path: Path) -> None:
    source = story(tmp_path / "R")
    copy = mirrored(source, tmp_path / "M", "hdf5")
    # As if the source had been brought back from an old copy, and others added to it since.
    for name in (commit_name(4), "jungfrau.h5"):
        (tmp_path / "R" / name).unlink()
    source = reopened(source)
    source.add_entries([entry(C, LATER, seed=5)], "another story")
    before = answers(reopened(copy))
    with pytest.raises(Refused, match="is not in the log of"):
        mirrored(source, tmp_path / "M")
    assert answers(reopened(copy)) == before


def test_what_is_no_mirror_is_left_as_it_is(tmp_path: Path) -> None:
    source, other = story(tmp_path / "R"), story(tmp_path / "other")
    for target, says in ((other, "not a copy"), (source, "the same repository")):
        before = answers(target)
        with pytest.raises(Refused, match=says):
            mirrored(source, target.storage.location)
        assert answers(reopened(target)) == before
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "jungfrau.h5").write_bytes(b"x")
    with pytest.raises(Refused, match="in the way"):
        mirrored(source, tmp_path / "foreign")
    mirrored(source, tmp_path / "M", "zarr")
    with pytest.raises(Refused, match="zarr repository already"):
        mirrored(source, tmp_path / "M", "hdf5")


def test_names_are_of_one_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = story(tmp_path / "R")
    monkeypatch.setenv("JFSTORE_REAL", str(tmp_path / "real"))
    with pytest.raises(Refused, match="test repository"):
        mirrored(source, "real")
    assert not (tmp_path / "real").exists()


def test_detached_mirror_says_where_it_comes_from(
    pair: tuple[Repository, Repository], capfd: pytest.CaptureFixture[str]
) -> None:
    source, copy = pair
    assert main(["mirror", "--detach", copy.storage.location, "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    own = reopened(copy)
    assert own.identity.id == said["id"] != source.identity.id
    assert own.identity.detached_from == {
        "repository": source.identity.id,
        "seq": 4,
        "commit": source.log.table().head,
    }
    assert own.identity.mirror_of is None
    assert answers(own) == answers(source)
    assert verify(own).problems == ()
    with pytest.raises(Refused, match="not a mirror"):
        detach(own)
    further = mirrored(own, Path(own.storage.location).with_name("further"), "hdf5")
    assert reopened(further).identity.id == own.identity.id
    assert verify(reopened(further)).problems == ()


def test_damaged_source_is_not_copied(pair: tuple[Repository, Repository], tmp_path: Path) -> None:
    source, _ = pair
    path = Path(source.storage.location, source.versions()[1].file.path)
    spoil_in_place(
        Place("hdf5", source.storage.location, {}),
        str(path.relative_to(source.storage.location)),
        "cut",
        random.Random(1),
    )
    with pytest.raises(Damaged):
        mirrored(reopened(source), tmp_path / "other", "zarr")
    assert reopened(jfstore.open(str(tmp_path / "other"))).log.table().seq == 1


# -- repair


def restored(place: Place, kind: str, name: str, mend: Callable[[], int]) -> None:
    """Damage a file, restore it, and compare every byte."""
    before = {each: place.read(each) for each in place.names()}
    spoil_in_place(place, name, kind, random.Random(3))
    assert mend() == 0, f"{kind} {name}"
    after = {each: place.read(each) for each in place.names()}
    assert after.keys() == before.keys()
    # The index notes when the log was last seen.
    assert [each for each in before if before[each] != after[each] and each != place.index] == [], f"{kind} {name}"
    again = jfstore.open(place.url)
    assert verify(again).problems == ()
    assert seeds_of(again) == STORY[4]


@pytest.mark.parametrize("kind", PLACE_KINDS)
@each_pair(NEAR)
def test_every_file_is_restored_bit_for_bit(
    places: tuple[Place, Place], kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    one, other = places
    source = story(one.url, one.storage)
    mirrored(source, other.url, other.storage)
    names = one.names()
    # Of many files of a kind that are far away, some.
    for name in names[::3] if one.port or other.port else names:
        if name != one.index or kind != "swap":
            restored(one, kind, name, lambda: main(["verify", "--repo", one.url, "--repair-from", other.url]))


@each_pair([("hdf5", "s3"), ("s3", "hdf5")])
def test_file_of_each_kind_is_restored_from_afar(
    places: tuple[Place, Place], capfd: pytest.CaptureFixture[str]
) -> None:
    one, other = places
    source = story(one.url, one.storage)
    mirrored(source, other.url, other.storage)
    payload = next(name for name in one.names() if name.startswith("panels/"))
    for kind, name in (("delete", commit_name(4)), ("flip", payload), ("cut", "repository.json")):
        restored(one, kind, name, lambda: main(["verify", "--repo", one.url, "--repair-from", other.url]))


def test_everything_at_once_is_restored_without_an_index(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = story(tmp_path / "R")
    mirrored(source, tmp_path / "M", "zarr")
    place = Place("hdf5", str(tmp_path / "R"), {})
    before = {name: place.read(name) for name in place.names()}
    for name in before:
        place.delete(name)
    (tmp_path / "R" / "log" / "0000000003.json").write_bytes(before["log/0000000003.json"])
    assert main(["verify", "--repo", place.url, "--repair-from", str(tmp_path / "M")]) == 0
    after = {name: place.read(name) for name in place.names()}
    assert {name for name in before if before[name] != after.get(name)} <= {"jungfrau.h5"}
    assert verify(jfstore.open(place.url)).problems == ()


def test_a_repository_is_repaired_from_python(pair: tuple[Repository, Repository]) -> None:
    source, copy = pair
    place = Path(source.storage.location)
    place.joinpath("repository.json").unlink()
    flip(place / commit_name(2), 100)
    done: list[tuple[int, int]] = []
    restored = jfstore.repair(place, copy, progress=lambda number, total: done.append((number, total)))
    assert restored == ("repository.json", commit_name(2))
    assert done[-1] == (source.log.table().seq,) * 2
    assert jfstore.verify(place).problems == ()
    assert jfstore.repair(place, copy) == ()


def test_mirror_is_restored_from_its_source(pair: tuple[Repository, Repository]) -> None:
    source, copy = pair
    place = Place("zarr", copy.storage.location, {})
    for name in ("repository.json", commit_name(2), place.index):
        restored(
            place,
            "flip",
            name,
            lambda: main(["verify", "--repo", place.url, "--repair-from", str(source.storage.location)]),
        )
    assert reopened(copy).identity.mirror_of == source.storage.location


def test_what_is_no_copy_restores_nothing(pair: tuple[Repository, Repository], tmp_path: Path) -> None:
    source, copy = pair
    other = story(tmp_path / "other")
    with pytest.raises(Refused, match="not a copy"):
        repair(source, other)
    # A fork: the source was brought back from an old copy, and others added to it since.
    for name in (commit_name(4), "jungfrau.h5"):
        Path(source.storage.location, name).unlink()
    forked = reopened(source)
    forked.add_entries([entry(C, LATER, seed=5)], "another story")
    before = answers(reopened(forked))
    with pytest.raises(Refused, match="another one"):
        repair(reopened(forked), copy)
    assert answers(reopened(forked)) == before


def test_newer_repository_is_not_repaired_away(pair: tuple[Repository, Repository]) -> None:
    source, copy = pair
    path = Path(source.storage.location, "repository.json")
    path.unlink()
    path.write_bytes(b'{"format": 7, "anything": "else"}')
    assert main(["verify", "--repo", source.storage.location, "--repair-from", copy.storage.location]) == 5
    assert path.read_bytes() == b'{"format": 7, "anything": "else"}'


def test_real_repository_is_asked_about(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = jfstore.init(str(tmp_path / "R"), "real", panel_shape=(3, 4, 8))
    made.add_entries([entry(A)], "one")
    mirrored(made, tmp_path / "M", "zarr")
    repaired = ["verify", "--repo", str(tmp_path / "R"), "--repair-from", str(tmp_path / "M")]
    assert main(repaired) == main(["mirror", "--detach", str(tmp_path / "M")]) == 5
    assert main([*repaired, "--yes"]) == 0


@pytest.mark.parametrize(
    "words",
    [[], ["./R"], ["--detach", "./M", "./R"], ["./R", "./M", "--repo", "test"], ["./R", "./M", "--storage", "x"]],
)
def test_wrong_words(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", *words]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
