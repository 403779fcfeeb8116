"""Find whom a write concerns: the runs and deployed files in the intervals that it changes, and by how much."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from numpy.typing import NDArray

from jfstore.core.changes import Change
from jfstore.core.sizes import ChangeSize, measure_changes, take_sample
from jfstore.deployment.affected import (
    STATES,
    AffectedFile,
    AffectedRun,
    ChangeLines,
    FileSearch,
    RunSearch,
    find_version,
)
from jfstore.errors import BadValue, JfstoreError
from jfstore.repository import Repository
from jfstore.repository.adding import Added
from jfstore.repository.catalogue import open_repository
from jfstore.repository.governing import Stated
from jfstore.repository.promoted import Promoted
from jfstore.runs.listing import Progress, list_runs
from jfstore.runs.tree import Tree

_MOST_PAIRS = 1024
"""If there are more pairs of arrays, as in a large import, this many are compared."""


@dataclass(frozen=True, slots=True, repr=False)
class Impact:
    """Whom changes concern.

    Attributes
    ----------
    root : str
        The directory of the instruments.
    runs : tuple of AffectedRun
        The runs that start in an interval that changes, one for each Jungfrau.
    files : tuple of AffectedFile
        The deployed files for whose run the valid constants change.
    sizes : tuple of ChangeSize
        By how much, for each calibration type and gain range, over the panels that change from one version to another.
    unmeasured : int
        Pairs of versions whose arrays could not be compared.
    searched_runs, searched_files : int
        How many runs and deployed files there are.
    without_panels, without_start : tuple of str
        Runs whose Jungfrau has no panel Ids, and runs whose start is not known: they may be concerned.
    undecided : tuple of (str, str)
        Deployed files that may be concerned, and why that is not known.
    problems : tuple of str
        What could not be read.
    """

    root: str
    runs: tuple[AffectedRun, ...]
    files: tuple[AffectedFile, ...]
    sizes: tuple[ChangeSize, ...]
    unmeasured: int
    searched_runs: int
    searched_files: int
    without_panels: tuple[str, ...]
    without_start: tuple[str, ...]
    undecided: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments of the runs and files."""
        return tuple(sorted({run.experiment for run in self.runs} | {file.experiment for file in self.files}))

    def files_in(self, state: str) -> tuple[AffectedFile, ...]:
        """Return the files in one of `STATES`."""
        return tuple(file for file in self.files if file.state == state)

    def __repr__(self) -> str:
        files = ", ".join(f"{len(self.files_in(state))} {state}" for state in STATES)
        return f"<jfstore impact: {len(self.runs)} of {self.searched_runs} runs; files: {files}>"


def find_impact(
    changes: Added | Stated | Promoted | Sequence[Change],
    root: str | os.PathLike[str] | None = None,
    *,
    repo: str | os.PathLike[str] | Repository = "real",
    compare: bool = False,
    progress: Progress = lambda done, total: None,
) -> Impact:
    """Return whom changes concern: runs, deployed files, and by how much the values change.

    Parameters
    ----------
    changes : Added, Stated, Promoted or sequence of Change
        What a method of the repository returned, best with `dry_run`.
    root : path, optional
        The directory of the instruments; default ``SIT_PSDM_DATA``.
    repo : str or Repository
        Name or path of the repository that changes, or the repository.
    compare : bool
        Whether files without a usable note are compared with the repository, which reads them.
    progress : callable
        Called with the number of runs, files or pairs of arrays done, and their total.

    Raises
    ------
    BadValue
        If `root` is not a directory.

    Examples
    --------
    >>> planned = repo.withdraw(version, "wrong bias", dry_run=True)  # doctest: +SKIP
    >>> jfstore.impact(planned, repo=repo)  # doctest: +SKIP
    """
    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    if isinstance(changes, Promoted):
        changes = changes.added  # which has the changes of all commits
    found = changes.changes if isinstance(changes, (Added, Stated)) else tuple(changes)
    samples = changes.samples if isinstance(changes, Added) else {}
    tree = Tree.from_environment(root)
    if not tree.root.is_dir():
        raise BadValue(f"{tree.root} is not a directory with instruments and experiments")
    lines = ChangeLines(found)
    listed = list_runs(root=root, progress=progress)
    runs = RunSearch(listed, lines, repository)
    files = FileSearch(lines, runs, repository, compare)
    files.search(tree, progress)
    sizes, unmeasured = _measure(found, samples, repository, progress)
    return Impact(
        root=str(tree.root),
        runs=tuple(runs.affected),
        files=tuple(files.affected),
        sizes=sizes,
        unmeasured=unmeasured,
        searched_runs=len(listed.runs),
        searched_files=files.searched,
        without_panels=tuple(runs.without_panels),
        without_start=tuple(runs.without_start),
        undecided=tuple(files.undecided),
        problems=(*map(str, listed.errors), *files.problems),
    )


def _measure(
    changes: Sequence[Change],
    samples: Mapping[str, NDArray[Any]],
    repository: Repository,
    progress: Progress,
) -> tuple[tuple[ChangeSize, ...], int]:
    """Return by how much the arrays of panels change that have constants before and after; and how many do not say."""
    every = list(
        dict.fromkeys(
            (c.type, (c.before, c.before_blake3), (c.after, c.after_blake3)) for c in changes if c.before and c.after
        )
    )
    pairs = every[:: -(-len(every) // _MOST_PAIRS) or 1]

    @cache
    def read(calib_type: str, name: str, blake3: str) -> NDArray[Any] | None:
        if blake3 in samples:
            return samples[blake3]
        version = find_version(repository, name)
        if version is None or version.content.get(calib_type) != blake3:
            return None
        try:
            return take_sample(repository.panel_array(version, calib_type))
        except JfstoreError:
            return None

    found: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
    for done, (calib_type, before, after) in enumerate(pairs):
        progress(done, len(pairs))
        arrays = [read(calib_type, *side) for side in (before, after)]
        if arrays[0] is not None and arrays[1] is not None:
            found.setdefault(calib_type, []).append((arrays[0], arrays[1]))
    progress(len(pairs), len(pairs))
    sizes = [size for name in sorted(found) for size in measure_changes(name, found[name])]
    return tuple(sizes), len(every) - sum(map(len, found.values()))
