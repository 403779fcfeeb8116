"""The ways in which a file goes bad."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.makers.buckets import Place
from tests.makers.repositories import flip, put


def some_bits(path: Path, count: int = 6) -> list[int]:
    """Return bits of a file anywhere, and the first and the last one."""
    size = 8 * path.stat().st_size
    chosen = random.Random(path.name).sample(range(size), count)
    return [0, *chosen, size - 1]


def flips(path: Path) -> list[Callable[[Path], None]]:
    return [partial(flip, bit=bit) for bit in some_bits(path)]


def cut(path: Path) -> None:
    put(path, path.read_bytes()[:-1])


def cut_to_nothing(path: Path) -> None:
    put(path, b"")


def extend(path: Path) -> None:
    put(path, path.read_bytes() + b"\0")


def extend_in_front(path: Path) -> None:
    put(path, b"\n" + path.read_bytes())


def delete(path: Path) -> None:
    path.unlink()


def swap(path: Path) -> None:
    siblings = [other for other in path.parent.iterdir() if other.is_file() and other != path and other.name != ".lock"]
    sibling = sorted(siblings or [other for other in path.parents[1].rglob("*.h5") if other.parent != path.parent])[0]
    one, other = path.read_bytes(), sibling.read_bytes()
    put(path, other)
    put(sibling, one)


def zeros(path: Path) -> None:
    put(path, bytes(path.stat().st_size))


def replace_by_link(path: Path) -> None:
    path.rename(path.parents[2] / "moved away")
    path.symlink_to(path.parents[2] / "moved away")


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


KINDS: list[Callable[[Path], None]] = [
    cut,
    cut_to_nothing,
    extend,
    extend_in_front,
    delete,
    zeros,
    replace_by_link,
    replace_by_directory,
    replace_by_fifo,
]


def ways(path: Path) -> list[Callable[[Path], None]]:
    return [*flips(path), *KINDS]


def spoil_in_place(place: Place, name: str, kind: str, choose: random.Random) -> set[str]:
    """Damage a file; return the names of those that are not what they were."""
    data = place.read(name)
    hit = {name}
    if kind == "flip":
        where = choose.randrange(len(data))
        place.put(name, data[:where] + bytes([data[where] ^ 1 << choose.randrange(8)]) + data[where + 1 :])
    elif kind == "swap":
        names = [other for other in place.names() if other != name and place.read(other) != data]
        sibling = min(names, key=lambda other: (other.split("/")[0] != name.split("/")[0], other[-6:] != name[-6:]))
        place.put(name, place.read(sibling))
        place.put(sibling, data)
        hit.add(sibling)
    elif kind == "delete":
        place.delete(name)
    else:
        place.put(name, {"cut": data[:-1], "empty": b"", "lengthen": data + b"\0"}[kind])
    return hit


PLACE_KINDS = ("flip", "swap", "delete", "cut", "empty", "lengthen")
