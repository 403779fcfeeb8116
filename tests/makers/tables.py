"""Tables that no log led to, for indexes that lie."""

from __future__ import annotations

from collections.abc import Callable

from jfstore.core.segment import LAYOUT, Columns, MemorySegment, merge_segments
from jfstore.core.table import Table
from jfstore.repository import Repository
from jfstore.repository.commits import read_commit


def columns_of(table: Table) -> dict[str, Columns]:
    """Return copies of all columns of a table, as one segment has them."""
    merged = merge_segments(table.segments)
    return {name: merged.column(name).copy() for name in LAYOUT}


def change_columns(table: Table, change: Callable[[dict[str, Columns]], None]) -> Table:
    """Return a table whose columns `change` has changed."""
    merged, columns = merge_segments(table.segments), columns_of(table)
    change(columns)
    return Table((MemorySegment(merged.first, merged.last, merged.kinds, columns),))


def lie_about_numbers(columns: dict[str, Columns]) -> None:
    """Change the number of every version."""
    columns["versions"]["number"] += 1


def lie_about_the_head(columns: dict[str, Columns]) -> None:
    """Change the hash of the last commit."""
    columns["commits"]["hash"][-1] = bytes(32)


def table_until(repository: Repository, seq: int) -> Table:
    """Return the table as it was at commit `seq`."""
    return Table.empty().extend([read_commit(repository.storage, number) for number in range(1, seq + 1)])
