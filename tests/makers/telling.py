"""Running a command in this process, and the runs that it is told about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from jfstore.cli.app import main
from tests.makers.repositories import constants

XTC = Path(__file__).resolve().parent.parent / "data/reference/xtc"
BEGIN = "2018-04-04T00:00:00.123456789Z"
STAMP = "20180403170000"  # the same, floored, where the store is
COLUMNS = ["experiment", "run", "begin", "source", "alias", "config", "panels", "detector"]
LCLS2 = "8000000020000-230920-20004002c"
MFX = "mfxtest01"
GAIN = np.stack([constants(2), constants(3)], axis=1)

Told = tuple[int, str, str]


def tell(capsys: pytest.CaptureFixture[str], *words: object, program: Callable[[Sequence[str]], int] = main) -> Told:
    code = program([str(word) for word in words])
    return (code, *capsys.readouterr())


def rows_of(out: str) -> list[dict[str, str]]:
    header, *lines = [line.split("\t") for line in out.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]
