"""The index of a repository: what is hashed right but refers to what is not in it, is not believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.core.table import Table
from jfstore.storage import index
from tests.makers.repositories import story

LIMITS: dict[tuple[str, str], Callable[[Table], int]] = {
    ("versions", "panel"): lambda table: len(table.panels),
    ("versions", "file"): lambda table: len(table.files),
    ("versions", "seq"): lambda table: table.seq + 1,
    ("arrays", "file"): lambda table: len(table.files),
    ("arrays", "kind"): lambda table: len(table.kinds),
    ("commits", "length"): lambda table: len(table.text) + 1,
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> jfstore.Repository:
    return story(tmp_path_factory.mktemp("index") / "R")


def encoded(repository: jfstore.Repository, table: Table) -> bytes:
    return b"".join(index.encode(repository.identity, table, None, b""))


def changed(table: Table, name: str, field: str, row: int, value: int) -> Table:
    column = np.array(getattr(table, name))
    column[field][row] = value
    columns: Any = {name: column}
    return replace(table, **columns)


def test_index_as_written_is_read(repository: jfstore.Repository) -> None:
    table = repository.log.table()
    saved = index.decode_checked(encoded(repository, table))
    assert saved is not None
    assert saved.table.version_list() == table.version_list()


@pytest.mark.parametrize(("name", "field"), LIMITS)
def test_index_that_refers_past_its_end_is_not_believed(repository: jfstore.Repository, name: str, field: str) -> None:
    table = repository.log.table()
    assert (
        index.decode_checked(encoded(repository, changed(table, name, field, -1, LIMITS[name, field](table)))) is None
    )


def test_index_that_refers_to_commit_0_is_not_believed(repository: jfstore.Repository) -> None:
    assert index.decode_checked(encoded(repository, changed(repository.log.table(), "versions", "seq", 0, 0))) is None


def test_index_whose_arrays_are_out_of_order_is_not_believed(repository: jfstore.Repository) -> None:
    table = repository.log.table()
    assert len(set(table.arrays["file"])) > 1
    assert index.decode_checked(encoded(repository, replace(table, arrays=table.arrays[::-1].copy()))) is None
