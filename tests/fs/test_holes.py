"""Holes: which zeros become one, and that a file with holes has the bytes and the size, but not the blocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jfstore.fs import durable
from jfstore.fs.holes import BLOCK, Hole, cut_holes

MIB = 1 << 20


@pytest.mark.parametrize(
    ("data", "start", "lengths"),
    [
        (b"", 0, []),
        (b"x", 0, [1]),
        (bytes(BLOCK), 0, [-BLOCK]),
        (bytes(BLOCK), 1, [BLOCK]),
        (bytes(BLOCK - 1), 0, [BLOCK - 1]),
        (bytes(3 * BLOCK), 100, [BLOCK - 100, -2 * BLOCK, 100]),
        (b"x" * BLOCK + bytes(2 * BLOCK) + b"y", 0, [BLOCK, -2 * BLOCK, 1]),
        (b"x" + bytes(3 * BLOCK), 0, [BLOCK, -2 * BLOCK, 1]),
        (bytes(BLOCK) + b"x" + bytes(2 * BLOCK - 1) + bytes(5), 0, [-BLOCK, BLOCK, -BLOCK, 5]),
    ],
)
def test_whole_blocks_of_zeros_become_holes(data: bytes, start: int, lengths: list[int]) -> None:
    pieces = cut_holes(data, start)
    assert b"".join(pieces) == data
    found = [-len(piece) if isinstance(piece, Hole) else len(piece) for piece in pieces]
    assert [length for length in found if length] == lengths


@pytest.mark.parametrize("read_back", [False, True])
@pytest.mark.parametrize(
    "pieces",
    [
        [Hole(MIB), b"end"],
        [b"start", Hole(MIB)],
        [b"start", b"more", Hole(MIB), b"middle", Hole(3), Hole(MIB), b"end"],
        [Hole(MIB)],
    ],
)
def test_file_with_holes_has_the_bytes_and_not_the_blocks(tmp_path: Path, pieces: list[bytes], read_back: bool) -> None:
    durable.overwrite(tmp_path / "name", pieces, read_back=read_back)
    status = os.stat(tmp_path / "name")
    assert (tmp_path / "name").read_bytes() == b"".join(pieces)
    assert status.st_blocks * 512 <= 4 * BLOCK


def test_pieces_from_a_generator_may_be_holes(tmp_path: Path) -> None:
    durable.publish(tmp_path / "name", (piece for piece in (b"a", Hole(MIB), b"b")))  # type: ignore[arg-type]
    assert (tmp_path / "name").read_bytes() == b"a" + bytes(MIB) + b"b"
