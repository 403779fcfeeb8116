"""Define the records of a repository: its identity, versions, statements and commits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jfstore.core.ids import version_name
from jfstore.core.instants import Instant
from jfstore.core.sketch import Sketch
from jfstore.errors import NotFound

FORMAT = 1
ROLES = ("test", "real")
DTYPES = {"<f4": 4, "<u8": 8, "|u1": 1}
"""Size of a value in bytes, by the dtypes that can be stored."""


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a version: its type, dtype, shape and the BLAKE3 of its C-order bytes.

    ``shape`` is (gain, row, column) or (row, column). ``sketch`` is in the commit only, and None in those of 0.1.0.
    """

    type: str
    dtype: str
    shape: tuple[int, ...]
    blake3: str
    converted_from: str | None = None
    sketch: Sketch | None = field(default=None, compare=False)

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return DTYPES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Where the arrays of a version lie: name below the repository, size and BLAKE3 of the whole
    file, byte offset of each array by calibration type."""

    path: str
    size: int
    blake3: str
    offsets: Mapping[str, int]


NO_FILE = StoredFile("", 0, "", {})
"""The file of a close."""


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version: panel, start of validity (stamp, and int64 nanoseconds UTC), number.

    ``seq`` is the commit that added it, ``source`` the file or directory its arrays came from,
    ``origin`` the version of another repository that it was promoted from, ``about`` short texts by key. A version
    with ``closes`` is a close: from its start on nothing is valid for these types. It has a number, but no arrays
    and no file.
    """

    panel: str
    stamp: str
    start: int
    number: int
    arrays: tuple[Array, ...]
    file: StoredFile
    seq: int
    source: str | None = None
    origin: Mapping[str, Any] | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    closes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return version_name(self.panel, self.stamp, self.number)

    def array(self, calib_type: str) -> Array:
        """Return what is said of the array of `calib_type`; NotFound if the version holds none."""
        for array in self.arrays:
            if array.type == calib_type:
                return array
        raise NotFound(f"{self.name} holds no {calib_type}", [array.type for array in self.arrays])

    @property
    def valid_from(self) -> Instant:
        """The start of validity."""
        return Instant(self.start, self.stamp)

    @property
    def core(self) -> Version:
        """The version without what only its commit says: what the index must say of it, too."""
        arrays = tuple(replace(array, converted_from=None, sketch=None) for array in self.arrays)
        return replace(self, arrays=arrays, source=None, origin=None, about={})

    @property
    def content(self) -> dict[str, str]:
        """BLAKE3 of each array by calibration type: equal exactly if the constants are."""
        return {array.type: array.blake3 for array in self.arrays}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a version comes from: the file, directory or version that it was made of, and the texts that it carries."""

    source: str | None
    about: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Versions that stop being candidates, or start again; ``versions`` are their names."""

    versions: tuple[str, ...]
    origin: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SamePanel:
    """Two Ids that are one physical panel, or are not after all."""

    panels: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Naming:
    """A name for a panel Id or a detector Id."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class RunPanels:
    """The detector that the runs ``first`` to ``last`` of an experiment had, for a source or for all."""

    detector: str
    experiment: str
    first: int
    last: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for commit ``seq``."""

    name: str
    seq: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Answers for times before the start may not change, for ``types`` or (None) for all."""

    stamp: str
    start: int
    types: tuple[str, ...] | None = None


Statement = Withdrawal | SamePanel | Naming | RunPanels | Tag | Freeze

STATEMENTS: Mapping[str, type[Statement]] = {
    "withdraw": Withdrawal,
    "restore": Withdrawal,
    "same_panel": SamePanel,
    "not_same_panel": SamePanel,
    "name": Naming,
    "run_panels": RunPanels,
    "tag": Tag,
    "freeze": Freeze,
}
"""What a commit says, by its operation; the others, ``add`` and ``close``, have versions."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One numbered, immutable record of a change. Times are nanoseconds UTC: ``time`` never runs
    backwards from commit to commit, ``clock`` is what the writer's own clock said.

    ``op`` is ``add`` or ``close``, which have ``versions``, or one of `STATEMENTS`, which have a ``statement``.
    ``accepted`` names the findings that the user accepted.
    """

    seq: int
    prev: str
    time: int
    clock: int
    user: str
    host: str
    program: str
    message: str
    request: str
    op: str
    versions: tuple[Version, ...] = ()
    statement: Statement | None = None
    accepted: tuple[str, ...] = ()
    hash: str = ""

    @property
    def stored(self) -> tuple[Version, ...]:
        """The versions that have arrays, in order: all but closes."""
        return tuple(version for version in self.versions if not version.closes)


@dataclass(frozen=True, slots=True)
class Identity:
    """What ``repository.json`` says: who the repository is and how it reads stamps.

    ``mirror_of`` is where the repository is that this one is a copy of; ``detached_from`` the id of the one
    that it was a copy of, and the last commit that both have.
    """

    id: str
    role: str
    detector: str
    panel_shape: tuple[int, int, int]
    zone: str
    created: int
    storage: str = "hdf5"
    mirror_of: str | None = None
    detached_from: Mapping[str, Any] | None = None
    format: int = FORMAT
    hash: str = field(default="", compare=False)
