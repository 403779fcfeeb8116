"""One suite for a repository in every storage: HDF5 and zarr on a directory, zarr in a bucket."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.core.encoding import encode_commit, read_hash
from jfstore.repository import Repository
from jfstore.repository.commits import commit_name, read_commit
from jfstore.repository.verify import verify
from tests.conftest import ROOT
from tests.makers.buckets import Place
from tests.makers.children import CHILDREN, in_place
from tests.makers.gains import make_gain_tree
from tests.makers.repositories import (
    EARLY,
    LATER,
    SHAPE,
    STAMP,
    STORY,
    A,
    B,
    C,
    D,
    constants,
    entry,
    new_repository,
    reopened,
    seeds_of,
    story,
)
from tests.makers.spoiling import PLACE_KINDS, spoil_in_place
from tests.makers.tables import table_until
from tests.proofs.answers import LAST, QUESTIONS, Damage, complaints, make_commit
from tests.proofs.racing import look, read, write

REQUEST = "0123456789abcdef" * 2


@pytest.fixture
def repository(place: Place) -> Repository:
    return story(place.url, place.storage)


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was got before a damage would still be served."""
    monkeypatch.setenv("JFSTORE_CACHE_SIZE", "0")


def group_of(name: str) -> str:
    """Return what a commit calls the file that an object belongs to."""
    return "/".join(name.split("/")[:3])


# -- which version is valid, as of when


def test_answers_as_of_every_commit(repository: Repository) -> None:
    for as_of in (None, 1, 2, 3, 4):
        assert seeds_of(reopened(repository), as_of) == STORY[as_of or 4]


def test_selection(place: Place) -> None:
    repository = new_repository(place.url, storage=place.storage)
    for number in range(1, LAST + 1):
        make_commit(repository, number)
    for each in (repository, reopened(repository)):
        assert list(complaints(each, SHAPE, set(), Damage("none", ""), {})) == []


def test_what_is_not_there_is_not_found(repository: Repository) -> None:
    with pytest.raises(jfstore.NotFound, match=STAMP):
        repository.get(A, "pixel_gain", EARLY)
    with pytest.raises(jfstore.NotFound) as caught:
        repository.get(f"{A}_{B}", "pixel_gain", EARLY)
    assert A in str(caught.value)
    assert B in str(caught.value)
    assert repository.get(A, "pixel_gain", LATER, number=1).tobytes() == constants(1).tobytes()
    with pytest.raises(jfstore.BadValue):
        repository.get(A, "pixel_gain", LATER, as_of=5)


def test_detector_is_assembled_in_its_order(repository: Repository) -> None:
    for detector, seeds in ((f"{A}_{B}_{C}", (4, 2, 3)), (f"{C}_{D}_{A}", (3, 1, 4))):
        array = reopened(repository).get(detector, "pixel_offset", LATER)
        assert array.tobytes() == np.stack([constants(s, "pixel_offset") for s in seeds], axis=1).tobytes()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 64, 16), (3, 5, 7)])
def test_panels_of_whole_pages_and_others(place: Place, shape: tuple[int, int, int]) -> None:
    repository = new_repository(place.url, shape=shape, storage=place.storage)
    repository.add_entries([entry(A, seed=1, shape=shape), entry(B, seed=2, shape=shape)], "two")
    for each in (repository, reopened(repository)):
        for _ in range(2):
            array = each.get(f"{A}_{B}", "pixel_gain", LATER)
            wanted = np.stack([constants(1, shape=shape), constants(2, shape=shape)], axis=1)
            assert array.tobytes() == wanted.tobytes()
            assert not array.flags.writeable
    writable = repository.get(A, "pixel_gain", LATER, writable=True)
    writable[...] = 0
    assert reopened(repository).get(A, "pixel_gain", LATER).all()


# -- the log


def test_same_content_is_stored_once_and_what_holds_is_not_added_again(repository: Repository) -> None:
    assert len({version.file.path for version in repository.versions()}) == 4
    done = repository.add_entries([entry(A, seed=4)], "again")
    assert (done.versions, [name for _, name in done.unchanged]) == ((), [f"{A}/{STAMP}/v2"])


def test_request_never_adds_twice(repository: Repository, place: Place) -> None:
    first = repository.add_entries([entry(A, seed=8)], "once", request=REQUEST)
    repository.add_entries([entry(A, seed=7)], "between")
    for again in (repository, reopened(repository)):
        assert again.add_entries([entry(A, seed=8)], "once", request=REQUEST).seq == first.seq
    assert len([name for name in place.names() if name.startswith("log/")]) == 6


def error_of_missing(repository: Repository) -> type[jfstore.JfstoreError]:
    """Return the error of a missing commit: in a directory it may only not be seen from this machine yet."""
    return jfstore.Busy if repository.storage.may_be_behind else jfstore.Damaged


@pytest.mark.parametrize("index", ["none", "older", "there"])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("way", ["lost", "broken"])
def test_commit_that_is_lost_or_broken(repository: Repository, place: Place, way: str, k: int, index: str) -> None:
    if index == "none":
        place.delete(place.index)
    elif index == "older":
        repository.storage.save_index(repository.identity, table_until(repository, k - 1), "then", afresh=True)
    if way == "lost":
        place.delete(commit_name(k))
    else:
        data = place.read(commit_name(k))
        place.put(commit_name(k), data[:100] + bytes([data[100] ^ 1]) + data[101:])
    error = error_of_missing(repository) if way == "lost" else jfstore.Damaged
    if index == "there" and k < 4:
        assert seeds_of(reopened(repository)) == STORY[4]
    elif (way, index, k) in {("lost", "none", 4), ("lost", "older", 4)}:
        assert seeds_of(reopened(repository)) == STORY[3]  # nothing else knows of it
    else:
        for as_of in (None, 4):
            with pytest.raises(error, match=f"{k:010d}.json"):
                reopened(repository).get(A, "pixel_gain", LATER, as_of=as_of)
        assert seeds_of(reopened(repository), k - 1) == STORY[k - 1]
        with pytest.raises(error):
            reopened(repository).add_entries([entry(B, LATER, seed=9)], "more")
    known = (way, index, k) not in {("lost", "none", 4), ("lost", "older", 4)}
    found = verify(reopened(repository)).problems
    assert any(commit_name(k) in problem.file for problem in found) == known


def test_open_repository_sees_a_commit_lost_in_front_of_others(place: Place) -> None:
    writer = new_repository(place.url, storage=place.storage)
    writer.add_entries([entry(A, seed=1)], "one")
    reader = reopened(writer)
    assert seeds_of(reader) == {A: 1}
    writer.add_entries([entry(A, seed=2)], "two")
    writer.add_entries([entry(B, seed=3)], "three")
    place.delete(commit_name(2))
    with pytest.raises(error_of_missing(reader), match=r"0000000002\.json is missing"):
        reader.get(A, "pixel_gain", LATER)
    assert seeds_of(reader, 1) == {A: 1}


def test_older_index_put_back_does_no_harm(place: Place) -> None:
    repository = new_repository(place.url, storage=place.storage)
    olds = [place.read(place.index)]
    for seed in range(1, 4):
        repository.add_entries([entry(A, seed=seed)], "more")
        olds.append(place.read(place.index))
    for old in olds:
        place.put(place.index, old)
        assert seeds_of(reopened(repository)) == {A: 3}
        assert verify(reopened(repository)).problems == ()


def test_index_that_lies_is_refused(repository: Repository, place: Place, tmp_path: Path) -> None:
    sound = place.read(place.index)
    other = story(tmp_path / "other", place.storage)
    place.put(place.index, Path(other.storage.location, place.index).read_bytes())
    with pytest.raises(jfstore.Damaged, match="another repository"):
        reopened(repository).get(A, "pixel_gain", LATER)
    repository.rebuild_index()
    assert seeds_of(reopened(repository)) == STORY[4]
    place.put(place.index, sound)
    last = place.read(commit_name(4))
    place.delete(commit_name(4))
    questions: list[Callable[[Repository], object]] = [
        lambda r: r.get(A, "pixel_gain", LATER),
        lambda r: r.add_entries([entry(B, LATER)], "next"),
    ]
    for ask in questions:
        with pytest.raises(error_of_missing(repository), match="the index has it"):
            ask(reopened(repository))
    place.put(commit_name(4), last)
    assert verify(reopened(repository)).problems == ()


def test_next_add_mends_a_wrong_index(repository: Repository, place: Place) -> None:
    spoilt: list[Callable[[], None]] = [
        lambda: place.put(place.index, b"x" * 500),
        lambda: place.put(place.index, place.read(place.index)[:-1]),
        lambda: place.delete(place.index),
    ]
    for spoil in spoilt:
        spoil()
        assert any(place.index in problem.message for problem in verify(reopened(repository)).problems)
        again = reopened(repository)
        again.add_entries([entry(B, LATER, seed=again.log.table().seq)], "next")
        assert verify(again).problems == ()


def test_unknown_operation_stops_reader_and_writer(repository: Repository) -> None:
    last = repository.commit(4)
    future = replace(last, seq=5, prev=last.hash, op="later", request=REQUEST, versions=())
    repository.storage.publish(commit_name(5), encode_commit(future)[0])
    with pytest.raises(jfstore.Refused, match="newer jfstore"):
        reopened(repository).get(A, "pixel_gain", LATER)
    with pytest.raises(jfstore.Refused, match="newer jfstore"):
        repository.add_entries([entry(B, LATER)], "more")
    assert seeds_of(reopened(repository), 4) == STORY[4]


def test_loser_of_a_race_takes_the_next_number(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    other, publish = reopened(repository), repository.storage.publish
    monkeypatch.setattr(other.storage, "lock", lambda: nullcontext(False))
    waiting = [5, 6, 8]

    def later(name: str, data: bytes, clock: int | None = None) -> None:
        if waiting:
            other.add_entries([entry(A, seed=waiting.pop(0))], "faster")
        publish(name, data)

    monkeypatch.setattr(repository.storage, "publish", later)
    assert repository.add_entries([entry(A, seed=9)], "slower").versions[0].name == f"{A}/{STAMP}/v6"
    assert verify(reopened(repository)).problems == ()


# -- damage


def make(place: Place) -> Repository:
    repository = new_repository(place.url, storage=place.storage)
    for number in range(1, LAST + 1):
        make_commit(repository, number)
    return reopened(repository)


def damaged(place: Place, chosen: list[tuple[str, str]], questions: list[Any]) -> None:
    repository = make(place)
    files = {(v.panel, kind, v.seq): v.file.path for v in repository.versions() for kind in v.content}
    choose = random.Random(5)
    for name, kind in chosen:
        before = {name: place.read(name) for name in place.names()}
        changed = spoil_in_place(place, name, kind, choose)
        hit = {group_of(name) for name in changed}
        try:
            again = reopened(repository)
        except (jfstore.Busy, jfstore.Damaged, jfstore.Refused):
            assert "repository.json" in hit
        else:
            wrong = list(
                complaints(again, SHAPE, hit, Damage(kind, name, without_index=place.index in hit), files, questions)
            )
            assert not wrong, f"{kind} {name}: {wrong}"
            found = " ".join(problem.file + problem.message for problem in verify(again).problems)
            assert all(each in found for each in hit), f"{kind} {name}: verify says {found}"
        for changed_name in changed:
            place.put(changed_name, before[changed_name])
    assert verify(reopened(repository)).problems == ()


def test_some_damages(place: Place, nothing_kept: None) -> None:
    names = [name for name in sorted(make_names(place)) if name != commit_name(LAST)]
    # The place is of one story only: a name of each kind of file, and each kind of damage.
    of_each = {re.sub(r"[0-9a-f-]{8,}|c[.][12]", "*", name): name for name in names}.values()
    chosen = [(name, PLACE_KINDS[number % len(PLACE_KINDS)]) for number, name in enumerate(of_each)]
    chosen += [(commit_name(LAST), "flip"), (names[-1], "delete")]
    # A trial takes its time in a bucket.
    damaged(place, chosen[::2] if place.port else chosen, QUESTIONS[-15::2] if place.port else QUESTIONS)


@pytest.mark.full
def test_all_damages(place: Place, nothing_kept: None) -> None:
    chosen = [(name, kind) for name in make_names(place) for kind in PLACE_KINDS]
    chosen.remove((place.index, "swap"))  # there is no other
    print(f"\n{place.url}: {len(chosen)} damages")
    damaged(place, chosen, QUESTIONS[-16:])


def make_names(place: Place) -> list[str]:
    """Return the names of the files that `make` makes."""
    elsewhere = Place(place.storage, f"{place.url}-names", place.environment, place.port)
    make(elsewhere)
    return elsewhere.names()


def test_leftovers_are_notes(repository: Repository, place: Place) -> None:
    left = [f"panels/{A}/{STAMP}-000000000000", "panels/x", "log/x", "foreign.txt"]
    for name in left:
        place.put(name, b"x")
    report = verify(repository)
    assert report.problems == ()
    assert sorted(name for name, _ in report.notes) == sorted(left[:-1])
    assert seeds_of(reopened(repository)) == STORY[4]


# -- hostile names


def test_commit_that_names_files_elsewhere_serves_nothing(repository: Repository, place: Place) -> None:
    last = read_commit(repository.storage, 4)
    (version,) = last.versions
    place.delete(place.index)
    for path in ("../../etc/passwd", "/etc/passwd", "panels/../x", "log/0000000001.json", "", "x" * 200):
        raw = encode_commit(replace(last, versions=(replace(version, file=replace(version.file, path=path)),)))[0]
        assert read_hash(raw, "") == last.hash
        place.put(commit_name(4), raw)
        again = reopened(repository)
        with pytest.raises(jfstore.Damaged):
            again.get(D, "pixel_gain", LATER)
        assert verify(again).problems
    assert seeds_of(reopened(repository), 3) == STORY[3]


def test_hostile_panels_are_no_names(repository: Repository, place: Place) -> None:
    before = place.names()
    for name in ("..", "../../x", "a/b", "\0", "", "x" * 300, "é", "%2e%2e", f"{A}/.."):
        with pytest.raises(jfstore.JfstoreError):
            repository.get(name, "pixel_gain", LATER)
        with pytest.raises(jfstore.JfstoreError):
            repository.add_entries([replace(entry(A), panel=name)], "hostile")
        with pytest.raises(jfstore.JfstoreError):
            repository.version(f"{name}/{STAMP}/v1")
    assert place.names() == before


# -- several at once


def race(place: Place, writers: int, adds: int, readers: int) -> None:
    repository = new_repository(place.url, storage=place.storage)
    start, stop = CHILDREN.Barrier(writers + readers), CHILDREN.Event()
    written, seen = CHILDREN.Queue(), CHILDREN.Queue()
    children = [
        CHILDREN.Process(
            target=in_place, args=(place.environment, write, place.url, writer, adds, True, start, written)
        )
        for writer in range(writers)
    ]
    children += [
        CHILDREN.Process(target=in_place, args=(place.environment, read, place.url, reader, start, stop, seen))
        for reader in range(readers)
    ]
    for child in children:
        child.start()
    acknowledged, errors = [], []
    for _ in range(writers):
        done, error = written.get(timeout=900)
        acknowledged += done
        errors += [error] if error else []
    stop.set()
    errors += [error for _, error in (seen.get(timeout=300) for _ in range(readers)) if error]
    for child in children:
        child.join(60)
    assert not errors
    total = writers * adds
    print(f"\n{place.url}: {len(acknowledged)} of {total} adds acknowledged")
    assert sorted(seq for seq, _, _ in acknowledged) == list(range(1, total + 1))
    assert all(seq == number for seq, number, _ in acknowledged)
    assert look(reopened(repository), 0) == total
    report = verify(reopened(repository))
    assert (report.problems, report.notes) == ((), ())
    assert (report.commits, report.versions, report.files) == (total, total, total)


def test_race(place: Place) -> None:
    race(place, writers=4, adds=4, readers=1)


@pytest.mark.full
def test_race_of_sixteen_writers(place: Place) -> None:
    race(place, writers=16, adds=20, readers=2)


# -- the commands


def test_commands_say_the_same_everywhere(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every output of a day, but for the place, the times and what names a file, is that of a HDF5 directory."""
    monkeypatch.chdir(tmp_path)
    tree = ROOT / "tests/data/reference/gains-tree/jungfrau"
    panel = "171113-154920171025-3d00fb"

    def day(url: str, storage: str) -> list[str]:
        said = []
        for words in (
            ["init", url, "--storage", storage, "--role", "test", "--shape", "3x16x32"],
            ["import", str(tree), "-m", "legacy gains", "--repo", url],
            ["import", str(tree), "-m", "again", "--repo", url],
            ["add", panel, "-T", "20180306000000", "-f", str(tree / "M090"), "-m", "second", "--repo", url],
            ["get", panel, "-T", "20180401000000", "--repo", url],
            ["get", panel, "-T", "20180401000000", "-t", "pixel_gain", "-f", "g.npy", "--force", "--repo", url],
            ["get", panel, "-T", "20150101000000", "--repo", url],
            ["get", panel, "-T", "20180401000000", "--as-of", "1", "--json", "--repo", url],
            ["list", "--repo", url],
            ["history", "--repo", url],
            ["show", f"{panel}/20180306000000/v2", "--repo", url],
            ["verify", "--repo", url],
            ["verify", "--quick", "--repo", url],
        ):
            code = main(words)
            out, err = capfd.readouterr()
            said.append(f"$ {words[0]}\n{out}{err}exit code {code}")
        return [neutral(text.replace(url, "<place>").replace(f"\t{storage}\n", "\t<storage>\n")) for text in said]

    def neutral(text: str) -> str:
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+", "<id>", text)
        # Random are the request, and with it the hashes of commits; files are of their storage.
        text = re.sub(
            r"((commit\.(hash|request))|file|file_size|file_blake3|arrays\.\w+\.offset)\t\S+", r"\1\t<own>", text
        )
        text = re.sub(r'"(hash|commit_hash|file|request)": "[^"]*"', r'"\1": "<own>"', text)
        return re.sub(r"\t[0-9a-f]{12}\n", "\t<own>\n", text) if text.startswith("$ history") else text

    wanted = day(str(tmp_path / "hdf5"), "hdf5")
    array = Path("g.npy").read_bytes()
    assert day(place.url + "-day", place.storage) == wanted
    assert Path("g.npy").read_bytes() == array


def test_gain_tree_that_is_made(place: Place, tmp_path: Path) -> None:
    make_gain_tree(tmp_path / "tree")
    new_repository(place.url, shape=(3, 16, 32), storage=place.storage)
    assert main(["import", str(tmp_path / "tree"), "-m", "legacy", "--repo", place.url]) == 0
    assert verify(jfstore.open(place.url)).problems == ()
