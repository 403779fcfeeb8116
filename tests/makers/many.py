"""Repositories with many versions that share one payload, made quickly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.core.arrays import Checked
from jfstore.core.instants import SECOND, parse_instant, parse_time, stamp_at
from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.fs import durable
from jfstore.repository import Entry, Repository
from tests.makers.arrays import LEVELS

PANELS = [f"171113-154920171025-{number:x}" for number in range(32)]


class Unsynced(durable.System):
    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def constants(shape: tuple[int, int, int], seed: int) -> dict[str, Checked]:
    """Return the arrays of one panel."""
    random = np.random.default_rng(seed)
    return {
        name: Checked(
            np.resize(np.array(LEVELS[name], "<f4"), shape[0])[:, None, None]
            * (1 + np.float32(0.01) * random.standard_normal(shape, np.float32))
        )
        for name in ("pixel_gain", "pixel_offset")
    }


def entry(repository: Repository, panel: str, stamp: str, seed: int) -> Entry:
    """Return something to add."""
    arrays = constants(repository.identity.panel_shape, seed)
    return Entry(panel, parse_instant(stamp, repository.zone), arrays, f"seed {seed}")


def repository_of(path: Path, versions: int, shape: tuple[int, int, int], a_commit: int = 1) -> Repository:
    """Return a repository with so many versions, `a_commit` of them in each commit, on 32 panels."""
    repository = jfstore.init(str(path), "test", panel_shape=shape)
    repository.add_entries([entry(repository, PANELS[0], "20000101000000", 0)], "first")
    model = repository.log.table().version_list()[0]
    start = parse_time("20000102000000", repository.zone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "system", Unsynced())
        patch.setattr(repository.log, "save_index", lambda seq=0: None)
        for first in range(1, versions, a_commit):

            def versions_for(_table: Table, seq: int, first: int = first) -> list[Version]:
                found = []
                for number in range(first, min(first + a_commit, versions)):
                    moment = start + number // len(PANELS) * 3600 * SECOND
                    stamp = stamp_at(moment, repository.zone)
                    found.append(Version(PANELS[number % len(PANELS)], stamp, moment, 1, model.arrays, model.file, seq))
                return found

            repository.log.append("add", f"version {first}", f"{first:032x}", versions_for)
    repository.rebuild_index()
    return jfstore.open(str(path))
