"""Repositories of released versions stay readable; ``python -m tests.repository.test_can_read_old`` adds them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.core.arrays import check_array
from jfstore.core.guard import FINDINGS
from jfstore.core.instants import parse_instant
from jfstore.repository import Entry
from tests.conftest import ROOT
from tests.makers.operations import EXAMPLES, close, state
from tests.makers.repositories import constants

DATA = ROOT / "tests/data/repositories"
OPERATIONS = ROOT / "tests/data/operations"
SHAPE = (3, 4, 8)
PANELS = ["171113-154920171025-3d00fb", "170505-149520170815-3d00b0"]
TYPES = ["pixel_gain", "pixel_offset"]
# Panel, stamp and what the arrays are made from, a list of them for each commit.
COMMITS = [
    [(0, "00000000000000", 1), (1, "20171025000000", 2)],
    [(0, "20180306000000", 3)],
    [(0, "20180306000000", 4), (1, "20180306000000", 3)],
]


def array(seed: int, name: str) -> np.ndarray:
    """Return the constants that `seed` means; by a formula, so that no program is asked."""
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return values / np.float32(7) + np.float32(seed + 100 * TYPES.index(name) + 0.5)


def make(path: Path, storage: str) -> None:
    """Write the repository."""
    repository = jfstore.init(str(path), "test", panel_shape=SHAPE, storage=storage)
    for number, entries in enumerate(COMMITS, 1):
        repository.add_entries(
            [
                Entry(
                    PANELS[panel],
                    parse_instant(stamp, repository.zone),
                    {name: check_array(array(seed, name), name, SHAPE, "made") for name in TYPES},
                )
                for panel, stamp, seed in entries
            ],
            f"commit {number}",
            accept=list(FINDINGS),  # values of a formula are not plausible
        )


def make_operations(path: Path, storage: str) -> None:
    """Write a repository with a commit of every operation."""
    make(path, storage)
    repository = jfstore.open(str(path))
    close(repository, PANELS[1], "20200101000000", "pixel_gain")
    for op, statement in EXAMPLES.items():
        state(repository, op, statement)


def content(path: Path) -> dict[str, bytes]:
    """Return the bytes of a payload: of a file, or of every file in a directory."""
    return {str(file.relative_to(path)): file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}


def remove(path: Path) -> None:
    """Remove a file or a directory."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.fixture(params=sorted(path.name for path in DATA.iterdir()))
def old(request: pytest.FixtureRequest) -> jfstore.Repository:
    return jfstore.open(str(DATA / request.param))


def test_everything_is_sound(old: jfstore.Repository) -> None:
    report = jfstore.verify(old)
    assert (report.problems, report.commits, report.versions) == ((), len(COMMITS), 5)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    ("panel", "when", "as_of", "seed"),
    [
        (0, "20000101000000", None, 1),
        (0, "20180306000000", None, 4),
        (0, "20180306000000", 2, 3),
        (0, "20180306000000", 1, 1),
        (1, "20171025000000", None, 2),
        (1, "20190101000000", None, 3),
    ],
)
def test_answers_are_what_they_were(
    old: jfstore.Repository, name: str, panel: int, when: str, as_of: int | None, seed: int
) -> None:
    got = old.get(PANELS[panel], name, when, as_of=as_of)
    assert got[:, 0].tobytes() == array(seed, name).tobytes()


def test_the_log_alone_says_the_same(old: jfstore.Repository, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(old.storage.location, copy)
    (copy / old.storage.index_name).unlink()
    assert jfstore.open(str(copy)).versions() == old.versions()


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_damaged_payload_is_made_again_bit_for_bit(old: jfstore.Repository, tmp_path: Path, storage: str) -> None:
    place = tmp_path / "copy"
    shutil.copytree(old.storage.location, place)
    jfstore.mirror(place, tmp_path / "mirror", storage=storage)
    names = {version.file.path for version in old.versions()}
    for name in names:
        remove(place / name)
    assert set(jfstore.repair(place, tmp_path / "mirror")) == names
    assert jfstore.open(str(place)).versions() == old.versions()
    for name in names:
        assert content(place / name) == content(Path(old.storage.location, name))
    assert jfstore.verify(place).problems == ()


def test_new_versions_beside_the_old(old: jfstore.Repository, tmp_path: Path) -> None:
    place = tmp_path / "copy"
    shutil.copytree(old.storage.location, place)
    repository = jfstore.open(str(place))
    repository.add(PANELS[0], "20190101000000", {name: constants(9, name, SHAPE) for name in TYPES}, "new")
    assert jfstore.verify(place).problems == ()
    for when, expected in (("20190101000000", constants(9, TYPES[0], SHAPE)), ("20180401000000", array(4, TYPES[0]))):
        assert repository.get(PANELS[0], TYPES[0], when)[:, 0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_every_operation_is_read(storage: str, tmp_path: Path) -> None:
    place = OPERATIONS / f"0.2.0-{storage}"
    repository = jfstore.open(str(place))
    assert jfstore.verify(repository).problems == ()
    said = [(op, statement) for _, op, statement in repository.log.table().statements]
    assert said == list(EXAMPLES.items())
    with pytest.raises(jfstore.NotFound, match="closed from 20200101000000"):
        repository.get(PANELS[1], "pixel_gain", "20210101000000")
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    (copy / repository.storage.index_name).unlink()
    again = jfstore.open(str(copy))
    assert again.log.table().statements == repository.log.table().statements
    assert again.log.table().version_list() == repository.log.table().version_list()


if __name__ == "__main__":
    release, kind = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jfstore.fs.owner.user", lambda: "maintainer")
        patch.setattr("socket.gethostname", lambda: "example")
        make(DATA / f"{release}-{kind}", kind)
        make_operations(OPERATIONS / f"{release}-{kind}", kind)
