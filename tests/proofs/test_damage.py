"""Damage of every kind to every stored file: found by verify, never returned by get, and the rest is served."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.repository.repository import Repository
from jfstore.repository.verify import verify
from tests.makers.children import in_children
from tests.makers.repositories import A, entry, new_repository, put
from tests.makers.tables import change_columns, lie_about_numbers
from tests.proofs.answers import AFTER, GAIN, LAST, Damage, complaints, make_commit

SHAPES = {"mapped": (3, 32, 32), "read": (3, 4, 8)}
PAGE = 4096


def make(root: Path, shape: tuple[int, int, int], commits: int = LAST) -> Repository:
    repository = new_repository(root, shape=shape)
    for number in range(1, commits + 1):
        make_commit(repository, number, shape)
    return repository


# -- the damages


def interesting(root: Path, name: str, repository: Repository) -> list[int]:
    """Return the byte offsets of a file at which its parts begin or end."""
    data = (root / name).read_bytes()
    places = {0, 1, 7, 8, len(data) // 2, len(data) - 1}
    if name.endswith(".json"):
        places |= {place for place, byte in enumerate(data) if byte in b'\n"'}
    else:
        places |= (
            set(range(0, len(data), PAGE)) | set(range(96)) | {place - 1 for place in range(PAGE, len(data), PAGE)}
        )
        places |= set(range(len(data) - 96, len(data)))
    for version in repository.versions():
        if version.file.path == name:
            for array in version.arrays:
                start = version.file.offsets[array.type]
                places |= {start, start + 4 * array.shape[0] * array.shape[1] * array.shape[2] - 1}
    return sorted(place for place in places if 0 <= place < len(data))


def damages(root: Path, count: int, choose: random.Random) -> list[Damage]:
    """Return at least `count` damages: each kind to each file, and bits flipped for the rest."""
    repository = jfstore.open(str(root))
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    chosen = []
    flips = []
    for name in names:
        size = (root / name).stat().st_size
        for kind in ("delete", "link", "swap", "empty", "lengthen", "lengthen in front"):
            chosen.append(Damage(kind, name))
        cuts = {1, size - 1, size // 2, size // PAGE * PAGE, choose.randrange(size)} - {0, size}
        chosen += [Damage("cut", name, place) for place in sorted(cuts)]
        data = (root / name).read_bytes()
        chosen += [Damage("zero", name, place) for place in range(0, size, PAGE) if any(data[place : place + PAGE])]
        places = interesting(root, name, repository)
        flips += [Damage("flip", name, 8 * place + choose.randrange(8)) for place in places]
    chosen += [Damage(kind, "jungfrau.h5") for kind in ("foreign", "ahead", "table", "lie", "older")]
    choose.shuffle(flips)
    flips = flips[: max(0, count - len(chosen)) * 2 // 3]
    while len(chosen) + len(flips) < count:
        name = choose.choice(names)
        flips.append(Damage("flip", name, choose.randrange(8 * (root / name).stat().st_size)))
    chosen += flips
    for number, damage in enumerate(chosen):
        # Of the damages to the log every other one hits a repository that has no index.
        hidden = damage.kind == "delete" and damage.file == f"log/{LAST:010d}.json"
        if damage.file.startswith("log/") and number % 2 and not hidden:
            chosen[number] = replace(damage, without_index=True)
    return chosen


def inflict(root: Path, damage: Damage, others: Path) -> set[str]:
    """Do the damage; return the names of the files that are not what they were."""
    path = root / damage.file
    data = path.read_bytes()
    hit = {damage.file}
    if damage.without_index:
        (root / "jungfrau.h5").unlink()
    if damage.kind == "flip":
        place, bit = divmod(damage.place, 8)
        put(path, data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
    elif damage.kind == "cut":
        put(path, data[: damage.place])
    elif damage.kind == "zero":
        put(
            path,
            data[: damage.place] + bytes(len(data[damage.place : damage.place + PAGE])) + data[damage.place + PAGE :],
        )
    elif damage.kind == "swap":
        siblings = [other for other in root.rglob(f"*{path.suffix}") if other != path and other.read_bytes() != data]
        sibling = sorted(siblings, key=lambda other: (other.parent != path.parent, str(other)))[0]
        put(path, sibling.read_bytes())
        put(sibling, data)
        hit.add(str(sibling.relative_to(root)))
    elif damage.kind == "link":
        moved = root.parent / "elsewhere"
        path.rename(moved)
        path.symlink_to(moved)
    elif damage.kind == "lie":
        repository = jfstore.open(str(root))
        lying = change_columns(repository.log.table(), lie_about_numbers)
        repository.storage.save_index(repository.identity, lying, "", afresh=True)
    else:
        contents: dict[str, Callable[[], bytes | None]] = {
            "delete": lambda: None,
            "empty": lambda: b"",
            "lengthen": lambda: data + b"\0",
            "lengthen in front": lambda: b"\n" + data,
            "foreign": (others / "foreign").read_bytes,
            "ahead": (others / "ahead").read_bytes,
            "older": (others / "older").read_bytes,
            "table": lambda: (
                data[: data.rindex(b'{"repository"') - 40] + bytes(40) + data[data.rindex(b'{"repository"') :]
            ),
        }
        content = contents[damage.kind]()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    return hit


# -- what must hold


def trial(damage: Damage, template: str, shape: tuple[int, int, int]) -> list[str]:
    """Do one damage to a copy of a repository; return what is wrong afterwards."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(shutil.copytree(Path(template) / "R", Path(place) / "R"))
        long_lived = jfstore.open(str(root))
        files = {}
        for version in long_lived.versions():
            files.update({(version.panel, name, version.seq): version.file.path for name in version.content})
        long_lived.get(A, GAIN, AFTER)
        hit = inflict(root, damage, Path(template))
        wrong = [f"long-lived: {text}" for text in complaints(long_lived, shape, hit, damage, files)]
        try:
            fresh = jfstore.open(str(root))
        except (jfstore.Busy, jfstore.Damaged, jfstore.Refused) as error:
            if "repository.json" not in hit or "repository.json" not in str(error):
                wrong.append(f"not opened: {error}")
        else:
            wrong += [f"fresh: {text}" for text in complaints(fresh, shape, hit, damage, files)]
            if damage.kind != "older":
                problems = verify(fresh).problems
                found = {name for name in hit for problem in problems if name in problem.file + problem.message}
                wrong += [f"verify does not name {name}: {problems}" for name in sorted(hit - found)]
    return wrong


# -- the tests


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for word, shape in SHAPES.items():
        place = tmp_path_factory.mktemp(word)
        for name in ("foreign", "ahead"):
            make(place / f"of {name}", shape)
        shutil.copytree(place / "of ahead", place / "R")
        further = jfstore.open(str(place / "of ahead"))
        further.add_entries([entry(A, AFTER, 9, shape=shape)], "one commit more")
        shutil.copy(place / "of foreign" / "jungfrau.h5", place / "foreign")
        shutil.copy(place / "of ahead" / "jungfrau.h5", place / "ahead")
        make(place / "of older", shape, commits=1)
        older = jfstore.open(str(place / "R"))
        older.storage.save_index(older.identity, _first_commits(older, 3), "", afresh=True)
        shutil.move(place / "R" / "jungfrau.h5", place / "older")
        older.rebuild_index()
        made[word] = place
    return made


def _first_commits(repository: Repository, count: int) -> Any:
    from jfstore.core.table import Table

    return Table.empty().extend([repository.commit(seq) for seq in range(1, count + 1)])


@pytest.mark.parametrize("word", SHAPES)
def test_every_answer_is_right_while_nothing_is_damaged(templates: dict[str, Path], word: str) -> None:
    repository = jfstore.open(str(templates[word] / "R"))
    nothing = Damage("none", "")
    assert list(complaints(repository, SHAPES[word], set(), nothing, {})) == []
    assert verify(repository).problems == ()


def tried(template: Path, word: str, chosen: list[Damage]) -> None:
    found = in_children(trial, chosen, str(template), SHAPES[word])
    kinds = Counter(damage.kind for damage in chosen)
    print(f"{word}: {len(chosen)} damages ({', '.join(f'{n} {kind}' for kind, n in kinds.items())}), {len(found)} bad")
    for damage, wrong in found.items():
        print(damage, *wrong[:4], sep="\n    ")
    assert not found, f"{len(found)} of {len(chosen)} damages"


def one_of_each(chosen: list[Damage]) -> list[Damage]:
    """Return of each kind of damage one to each kind of file, with the index and without it.

    Of a payload a bit of each page is flipped: some hold arrays, others only say where these are.
    """
    of_each: dict[tuple[str, str, int, bool], Damage] = {}
    for damage in chosen:
        place = "the last commit" if damage.file == f"log/{LAST:010d}.json" else damage.file.split("/")[0]
        page = damage.place // 8 // PAGE if (damage.kind, place) == ("flip", "panels") else 0
        of_each.setdefault((damage.kind, place, page, damage.without_index), damage)
    return list(of_each.values())


@pytest.mark.parametrize("word", SHAPES)
def test_some_damages(templates: dict[str, Path], word: str) -> None:
    chosen = damages(templates[word] / "R", 400, random.Random(1))
    random.Random(len(word)).shuffle(chosen)
    if word == "read":
        # How a panel is read makes no difference to the other files, which were damaged already.
        chosen = [damage for damage in chosen if damage.file.startswith(("log/", "panels/"))]
    tried(templates[word], word, one_of_each(chosen))


@pytest.mark.full
@pytest.mark.parametrize("word", SHAPES)
def test_all_damages(templates: dict[str, Path], word: str) -> None:
    chosen = damages(templates[word] / "R", 1200, random.Random(3))
    assert len(chosen) >= 1200
    tried(templates[word], word, chosen)
