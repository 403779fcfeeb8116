"""Find DCS files that lie in a repository's directory and are not imported, so that the repository does not see them.

``dcs`` and psana keep the file of a detector in the directory that is the real repository, too. Only the tables of a
file are read, and only commits about the starts in it, so that `jfstore list` can afford it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore.core.ids import is_name, resolve_detector
from jfstore.core.instants import SECOND, exact_stamp
from jfstore.core.records import Version
from jfstore.dcs.panels import Candidate, identify_panels, list_candidates, name_detector
from jfstore.dcs.read import open_dcs
from jfstore.errors import BadValue, JfstoreError
from jfstore.storage.directory import Directory

if TYPE_CHECKING:
    from jfstore.repository.browsing import BrowsableRepository

_FILE = re.compile(r"jungfrau-.+\.h5", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UnimportedFile:
    """A DCS file in the directory of a repository, of which something is not imported.

    Attributes
    ----------
    path : str
        The file.
    missing : int
        Number of its versions that are not in the repository; 0 if it was not read.
    total : int
        Number of its versions that could be imported; 0 if it was not read.
    problem : str or None
        Why the file was not read.
    """

    path: str
    missing: int = 0
    total: int = 0
    problem: str | None = None

    def __str__(self) -> str:
        if self.problem:
            return f"a DCS file that cannot be compared with the repository: {self.problem}"
        return (
            f"a DCS file, {self.missing} of whose {self.total} versions the repository does not see: "
            f"jfstore import imports them, or says why not"
        )


def find_unimported(repository: BrowsableRepository, most: int | None = None) -> tuple[UnimportedFile, ...]:
    """Return the DCS files in the directory of a repository that are not imported as they are now.

    A version of a file counts as imported if the repository has a version of each panel with its origin: the
    detector, the calibration type, the range, the number and the time of production. It also does if the file says
    that versions of this repository were exported to it.

    Parameters
    ----------
    repository : BrowsableRepository
        The repository; one in a bucket has no such files.
    most : int, optional
        Read at most this number of files; the others are returned as not read.
    """
    if not isinstance(repository.storage.objects, Directory):
        return ()
    root = Path(repository.location)
    try:
        names = sorted(entry.name for entry in os.scandir(root) if _FILE.fullmatch(entry.name) and entry.is_file())
    except OSError:
        return ()  # what cannot be listed is the business of the commands that read the log
    comparer = _Comparer(repository)
    found = [
        comparer.compare(root / name)
        if most is None or number < most
        else UnimportedFile(str(root / name), problem=f"more than {most} such files, jfstore verify reads all")
        for number, name in enumerate(names)
    ]
    return tuple(file for file in found if file.missing or file.problem)


class _Comparer:
    """Compares the versions in DCS files with the versions in one repository."""

    def __init__(self, repository: BrowsableRepository) -> None:
        self._repository = repository
        self._table = repository.log.table()
        self._commit_versions = cache(lambda seq: repository.commit(seq).versions)
        self._versions_at = cache(self._list_versions_at)

    def compare(self, path: Path) -> UnimportedFile:
        """Return how many versions of a file are not imported."""
        try:
            with open_dcs(path) as contents:
                panels = identify_panels(contents, path.name)
                candidates = list_candidates(contents)
            missing = sum(not self._has(candidate, panels) for candidate in candidates)
        except JfstoreError as error:
            return UnimportedFile(str(path), problem=error.message)
        return UnimportedFile(str(path), missing, len(candidates))

    def _has(self, candidate: Candidate, panels: Sequence[str]) -> bool:
        try:
            stamp = exact_stamp(math.floor(candidate.start) * SECOND, self._repository.zone)
        except BadValue:
            return False
        wanted = {
            "detector": name_detector(panels),
            "type": candidate.type,
            "range": candidate.range,
            "number": candidate.number,
            "produced": candidate.produced,
        }
        is_imported = all(
            any(_holds(version.origin, wanted) for version in self._versions_at(panel, stamp)) for panel in panels
        )
        return is_imported or self._is_exported(candidate.message, panels)

    def _list_versions_at(self, panel: str, stamp: str) -> list[Version]:
        """Return the versions of a panel and stamp with their origins, which are only in the commits."""
        seqs = dict.fromkeys(self._table.take(self._table.rows_at(panel, stamp))["seq"].tolist())
        return [version for seq in seqs for version in self._commit_versions(seq) if version.panel == panel]

    def _is_exported(self, message: str, panels: Sequence[str]) -> bool:
        """Return whether a message consists of names of versions in the repository, of the panels in their order."""
        names = message.split()
        if len(names) != len(panels) or not all(map(is_name, names)):
            return False
        for name, panel in zip(names, panels, strict=True):
            of_panel, _, rest = name.partition("/")
            if str(resolve_detector(of_panel)[0]) != panel or not self._is_stored(panel, name, rest[:14]):
                return False
        return True

    def _is_stored(self, panel: str, name: str, stamp: str) -> bool:
        return any(version.name == name for version in self._table.version_list(self._table.rows_at(panel, stamp)))


def _holds(origin: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    return origin is not None and all(origin.get(key) == value for key, value in wanted.items())
