"""Commits of every operation."""

from __future__ import annotations

import secrets

from jfstore.core.instants import parse_instant
from jfstore.core.records import (
    NO_FILE,
    Freeze,
    Naming,
    RunPanels,
    SamePanel,
    Statement,
    Tag,
    Version,
    Withdrawal,
)
from jfstore.core.table import Table
from jfstore.repository import Repository
from jfstore.repository.log import Appended
from tests.makers.repositories import A, B

STAMP = "20180306000000"
EXAMPLES: dict[str, Statement] = {
    "withdraw": Withdrawal((f"{A}/{STAMP}/v2",), {"repository": "another", "seq": 7}),
    "restore": Withdrawal((f"{A}/{STAMP}/v2",)),
    "same_panel": SamePanel((A, B)),
    "not_same_panel": SamePanel((A, B)),
    "name": Naming(f"{A}_{B}", "jungfrau_000003"),
    "run_panels": RunPanels(f"{A}_{B}", "xcsls3716", 600, 640, "XcsEndstation.0:Jungfrau.0"),
    "tag": Tag("paper-2018", 3),
    "freeze": Freeze(STAMP, 1520323200_000000000, ("pixel_gain",)),
}


def state(repository: Repository, op: str, statement: Statement) -> Appended:
    return repository.log.append(op, f"{op} it", secrets.token_hex(16), statement=statement)


def close(repository: Repository, panel: str, stamp: str, *types: str) -> Appended:
    start = parse_instant(stamp, repository.zone)

    def versions_for(table: Table, seq: int) -> list[Version]:
        taken = table.take(table.rows(panel))
        number = 1 + max(taken["number"][taken["stamp"] == int(stamp)].tolist(), default=0)
        return [Version(panel, stamp, start.ns, number, (), NO_FILE, seq, closes=types)]

    return repository.log.append("close", "broken", secrets.token_hex(16), versions_for)
