"""What a colleague with bad intentions stores, every hash of it right: refused, or served as what it says."""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

import jfstore
from tests.makers.children import in_children
from tests.makers.hostile import Found, World, complaint, run, said, snapshot
from tests.makers.repositories import LATER, STAMP, A, B, C, constants, entry, new_repository, story

GAIN = "pixel_gain"
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    1.5,
    4096,
    2**31,
    2**32,
    2**40,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**400,
    1e308,
    "",
    "x",
    "../../victim",
    "/dev/zero",
    "..",
    "log/0000000001.json",
    "\ud800".encode("utf-8", "surrogatepass").hex(),
    "\0",
    "é" * 200,
    "x" * 5000,
    "20180306000000",
    "99999999999999",
    "0" * 64,
    "<f8",
    "|O",
    "the beginning",
    "add",
    "now",
    [],
    {},
    [1],
    [3, 4, 8],
    [3, 4, -8],
    [2**31, 2**31, 2**31],
    [3, 4, 8, 1],
    {"a": 1},
    [[]],
    [None],
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path).enter(monkeypatch)


def digest(data: bytes) -> bytes:
    return blake3(data).hexdigest().encode()


def sealed(raw: bytes, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """Return a file of the repository with its two lines changed, and hashes that are right."""
    lines = raw.split(b"\n")
    first, second = change([json.loads(lines[1].removesuffix(b",")), json.loads(lines[4].removesuffix(b","))])
    dumped = [
        text if isinstance(text, bytes) else json.dumps(text, separators=(",", ":")).encode()
        for text in (first, second)
    ]
    lines[1], lines[4] = (text + b"," for text in dumped)
    lines[2] = b'"hash":"%b",' % digest(dumped[0])
    lines[5] = lines[5].split(b":")[0] + b':"%b"}' % digest(dumped[1])
    return b"\n".join(lines)


def resealed_file(path: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(sealed(raw, change))


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places_in(item, (*path, key))


def mutated(choose: random.Random, parts: list[Any]) -> list[Any]:
    """Return JSON with a value replaced, removed, doubled or nested deeply."""
    parts = copy.deepcopy(parts)
    way = choose.random()
    if way < 0.04:
        deep = choose.choice(
            [b"[" * 10**5, b"[" * 10**5 + b"]" * 10**5, b'{"a":' * 2000 + b"1" + b"}" * 2000, b"1", b'"x"']
        )
        parts[choose.randrange(len(parts))] = deep
        return parts
    *above, last = choose.choice(list(places_in(parts)))
    holder: Any = parts
    for key in above:
        holder = holder[key]
    if way < 0.15 and above:
        del holder[last]
    elif way < 0.2 and isinstance(holder, list) and above:
        holder.append(copy.deepcopy(holder[last]))
    else:
        value = choose.choice(VALUES)
        # Numbers near the right one reach further than wild ones.
        if isinstance(holder[last], int) and choose.random() < 0.5:
            value = holder[last] + choose.choice([1, -1, 4, 4096, -4096, 2**16, 2**20])
        holder[last] = value
    return parts


def mutated_index(choose: random.Random, raw: bytes) -> bytes:
    """Return an index whose footer or table was changed, and whose hashes are right."""
    length = int(raw[-27:-17])
    footer = json.loads(raw[-92 - length : -92])
    image, data = raw[: footer["image"]], bytearray(raw[footer["image"] : -92 - length])
    if choose.random() < 0.4:
        for _ in range(choose.randrange(1, 12)):
            data[choose.randrange(len(data))] = choose.choice([0, 1, 255, choose.randrange(256)])
        footer["table_blake3"] = digest(bytes(data)).decode()
    else:
        (footer,) = mutated(choose, [footer])
    line = footer if isinstance(footer, bytes) else json.dumps(footer, separators=(",", ":")).encode()
    return image + data + line + b"%b %010d jfstore-index-2\n" % (digest(line), len(line))


def resealed(number: int, template: str, top: str) -> list[str]:
    """Change one file of a repository, with hashes that are right; return what is wrong with how commands end."""
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    choose = random.Random(number)
    place = Path(top) / f"resealed-{number}"
    root = Path(shutil.copytree(template, place / "a" / "R"))
    (place / "victim").write_text("not to be changed")
    os.environ["JFSTORE_TEST"] = str(root)
    os.chdir(place)
    name = choose.choice(
        ["repository.json", "jungfrau.h5", "log/0000000004.json", "log/0000000002.json", "log/0000000001.json"]
    )
    path = root / name
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(mutated_index(choose, raw) if path.suffix == ".h5" else sealed(raw, lambda p: mutated(choose, p)))
    if path.parent.name == "log" and choose.random() < 0.8:
        (root / "jungfrau.h5").unlink()
    wrong = []
    for argv in (
        ["get", "171113-154920171025-3d0038", "-T", LATER, "-t", GAIN],
        ["get", f"{B}_{A}", "-T", LATER, "-t", GAIN, "-f", "-"],
        ["list"],
        ["show", f"{A}/{STAMP}/v1"],
        ["history"],
        ["verify"],
        ["add", C, "-T", LATER, "-t", GAIN, "-f", str(Path(top) / "gain.npy"), "-m", "x"],
        ["verify", "--rebuild-index"],
        ["list", "--json"],
    ):
        if text := complaint([*argv, "--repo", "test"]):
            wrong.append(f"{name}: {argv[0]}: {text}")
    index = root / "jungfrau.h5"
    if index.exists() and path != index and b"victim" in index.read_bytes():
        wrong.append(f"{name}: the index leads out of the repository")
    os.chdir(top)
    if sorted(os.listdir(place)) != ["a", "victim"] or os.listdir(place / "a") != ["R"]:
        wrong.append(f"{name}: something was written outside")
    shutil.rmtree(place)
    return wrong


def some_resealed(world: World, count: int, seed: int) -> Found:
    top = world.top / "resealed"
    top.mkdir()
    story(top / "R")
    np.save(top / "gain.npy", constants(8))
    bad: Counter[str] = Counter()
    examples: dict[str, Any] = {}
    found = in_children(resealed, range(seed, seed + count), str(top / "R"), str(top))
    for number, wrong in found.items():
        for text in wrong:
            bad[text] += 1
            examples.setdefault(text, f"number {number}")
    return bad, examples


def test_some_resealed(world: World) -> None:
    bad, examples = some_resealed(world, 60, 1)
    assert not bad, said(bad, examples)


@pytest.mark.full
def test_much_hostile_resealed(world: World) -> None:
    bad, examples = some_resealed(world, 1500, 100_000)
    print(f"resealed: 1500 inputs, {sum(bad.values())} bad")
    assert not bad, said(bad, examples)


def offset_moved(offset: Any, template: str) -> list[str]:
    """Let a commit with right hashes say another offset of an array that is mapped; return what is wrong then."""
    root = Path(shutil.copytree(template, f"{template}-{offset}"))

    def change(parts: list[Any]) -> list[Any]:
        parts[1][0]["offsets"][GAIN] = offset
        return parts

    resealed_file(root / "log" / "0000000001.json", change)
    (root / "jungfrau.h5").unlink()
    wrong = []
    for argv in (["get", A, "-T", LATER, "-t", GAIN, "-f", "-"], ["verify"]):
        text = complaint([*argv, "--repo", str(root)])
        code = None if text else run([*argv, "--repo", str(root)])[0]
        if text or code != 4:
            wrong.append(f"{argv[0]}: {text or code}")
    return wrong


def test_offset_beyond_the_end_does_not_kill_the_process(tmp_path: Path) -> None:
    shape = (3, 32, 32)
    new_repository(tmp_path / "R", shape=shape).add_entries([entry(A, seed=1, shape=shape)], "mapped")
    near = [0, 4097, *range(8192, 40960, 4096)]
    offsets = [*near, 2**20, 2**40, 2**62, 2**63 - 4096, 2**63, 2**64, -4096, -1, "4096", None, 4096.0]
    right = jfstore.open(str(tmp_path / "R")).versions()[0].file.offsets[GAIN]
    found = in_children(
        offset_moved, [str(o) if isinstance(o, list) else o for o in offsets if o != right], str(tmp_path / "R")
    )
    assert not found, "\n".join(f"{offset}: {wrong}" for offset, wrong in found.items())


@pytest.mark.parametrize("name", ["../kept", "panels/../../kept", "./../kept", "panels/x/../../../kept", "absolute"])
@pytest.mark.parametrize("index", [True, False], ids=["index", "no index"])
def test_payload_outside_is_not_read_though_it_is_the_right_one(tmp_path: Path, name: str, index: bool) -> None:
    root = tmp_path / "R"
    (version,) = new_repository(root).add_entries([entry(A, seed=1)], "one").versions
    (root / version.file.path).rename(tmp_path / "kept")
    before = (tmp_path / "kept").read_bytes()
    (root / "panels" / "x").mkdir()

    def change(parts: list[Any]) -> list[Any]:
        parts[1][0]["path"] = str(tmp_path / "kept") if name == "absolute" else name
        return parts

    resealed_file(root / "log" / "0000000001.json", change)
    (root / "jungfrau.h5").unlink()
    if index:
        complaint(["verify", "--rebuild-index", "--repo", str(root)])
    for argv in (["get", A, "-T", LATER, "-t", GAIN, "-f", "-"], ["verify"]):
        argv += ["--repo", str(root)]
        assert complaint(argv) is None
        assert run(argv)[0] == 4, argv
    repository = jfstore.open(str(root))
    (note,) = repository.add_entries([entry(B, seed=1)], "the same content").notes
    assert "the index could not be updated" in note
    assert repository.get(B, GAIN, LATER).tobytes() == constants(1).tobytes()
    assert repository.version(f"{B}/{STAMP}/v1").file.path.startswith(f"panels/{B}/")
    assert (tmp_path / "kept").read_bytes() == before


@pytest.mark.parametrize("detector", ["../victim", "..", "/victim", "log/../../victim", "x/../../victim"])
def test_index_outside_is_not_written(tmp_path: Path, detector: str) -> None:
    root = tmp_path / "R"
    new_repository(root).add_entries([entry(A, seed=1)], "one")
    np.save(tmp_path / "gain.npy", constants(2))
    for name in ("victim", "victim.h5"):
        (tmp_path / name).write_text("not to be changed")
    before = snapshot(tmp_path)

    def change(parts: list[Any]) -> list[Any]:
        parts[0]["detector"] = detector
        return parts

    resealed_file(root / "repository.json", change)
    del before[str(root / "repository.json")]
    for argv in (
        ["verify", "--rebuild-index"],
        ["add", B, "-T", STAMP, "-t", GAIN, "-f", str(tmp_path / "gain.npy"), "-m", "x"],
    ):
        argv += ["--repo", str(root)]
        assert complaint(argv) is None
        assert run(argv)[0] in (4, 5), argv
    after = snapshot(tmp_path)
    del after[str(root / "repository.json")]
    assert after == before


NO_COMMITS = ["\uff10" * 9 + "\uff15.json", "\u0660" * 9 + "\u0665.json", "00000\uff10\uff10\uff10\uff10\uff15.json"]


@pytest.mark.parametrize("name", NO_COMMITS, ids=ascii)
def test_name_in_the_log_with_digits_of_another_script_is_no_commit(tmp_path: Path, name: str) -> None:
    repository = story(tmp_path / "R")
    (tmp_path / "R" / "log" / name).write_text("{}")
    assert jfstore.open(str(tmp_path / "R")).get(A, GAIN, LATER).tobytes() == constants(4).tobytes()
    assert repository.storage.commits() == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["../../victim", "panels/../../victim", "/victim"])
def test_no_link_of_the_index_leads_outside(tmp_path: Path, name: str) -> None:
    root = tmp_path / "R"
    story(root)

    def change(parts: list[Any]) -> list[Any]:
        parts[1][0]["path"] = name
        return parts

    resealed_file(root / "log" / "0000000004.json", change)
    (root / "jungfrau.h5").unlink()
    assert complaint(["verify", "--rebuild-index", "--repo", str(root)]) is None
    assert not (root / "jungfrau.h5").exists() or b"victim" not in (root / "jungfrau.h5").read_bytes()


def test_commit_that_differs_from_the_index_is_damage(tmp_path: Path) -> None:
    root = tmp_path / "R"
    story(root)

    def change(parts: list[Any]) -> list[Any]:
        parts[0]["versions"][0]["number"] = 2
        return parts

    resealed_file(root / "log" / "0000000001.json", change)
    assert complaint(["show", f"{A}/{STAMP}/v1", "--repo", str(root)]) is None


def with_kinds(change: Callable[[list[Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda footer: {**footer, "newest": {**footer["newest"], "kinds": change(footer["newest"]["kinds"])}}


FOOTERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "shape of a list": with_kinds(lambda kinds: [[*kinds[0][:2], [[3, 4, 8], 4, 8], *kinds[0][3:]], *kinds[1:]]),
    "shape of text": with_kinds(lambda kinds: [[*kinds[0][:2], [3, 4, ""], *kinds[0][3:]], *kinds[1:]]),
    "negative shape": with_kinds(lambda kinds: [[*kinds[0][:2], [3, -4, 8], *kinds[0][3:]], *kinds[1:]]),
    "a kind twice": with_kinds(lambda kinds: [*kinds, kinds[0]]),
    "nested": lambda footer: b'{"a":' * 2000 + b"1" + b"}" * 2000,
}


@pytest.mark.parametrize("change", FOOTERS.values(), ids=FOOTERS)
def test_index_with_an_odd_footer_is_as_if_there_were_none(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    root = tmp_path / "R"
    story(root)
    np.save(tmp_path / "gain.npy", constants(8))
    path = root / "jungfrau.h5"
    raw = path.read_bytes()
    path.unlink()
    length = int(raw[-27:-17])
    footer = change(json.loads(raw[-92 - length : -92]))
    line = footer if isinstance(footer, bytes) else json.dumps(footer, separators=(",", ":")).encode()
    path.write_bytes(raw[: -92 - length] + line + b"%b %010d jfstore-index-2\n" % (digest(line), len(line)))
    to = ["--repo", str(root)]
    for argv in (
        ["get", A, "-T", LATER, "-t", GAIN, "-f", "-"],
        ["get", A, "-T", LATER, "-t", "pixel_offset", "-f", "-"],
        ["list"],
        ["add", C, "-T", LATER, "-t", GAIN, "-f", str(tmp_path / "gain.npy"), "-m", "x"],
    ):
        assert complaint([*argv, *to]) is None, argv
    assert jfstore.open(str(root)).get(A, GAIN, LATER).tobytes() == constants(4).tobytes()
