"""List the runs of an instrument or an experiment; runs that were read before come from a cache.

The cache is in the user's cache directory and may be deleted at any time: a file for each experiment, a line
with the BLAKE3 of the rest, then JSON. A run is read again unless each file that would be opened is the same
file as before, with the same size and times of change.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import platformdirs

from jfstore._version import __version__
from jfstore.core.hashing import digest
from jfstore.core.ids import PanelId
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError
from jfstore.fs import durable
from jfstore.fs.files import read_regular
from jfstore.runs.dataset import is_dataset
from jfstore.runs.run import Jungfrau, Run, RunList, read_run
from jfstore.runs.tail import read_end
from jfstore.runs.tree import Experiment, RunFiles, Tree

# Another version of the program may read a run differently.
_FORMAT = f"3, jfstore {__version__}"
_LIMIT = 64 << 20

Progress = Callable[[int, int], None]

# Thousands of runs have the same panels.
_make_panel = lru_cache(maxsize=4096, typed=True)(PanelId)


def list_runs(
    place: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    ends: bool = False,
    progress: Progress = lambda done, total: None,
) -> RunList:
    """List the runs under ``SIT_PSDM_DATA``.

    Parameters
    ----------
    place : str, optional
        An instrument or an experiment; default all instruments.
    root : path, optional
        The directory of the instruments, in place of ``SIT_PSDM_DATA``.
    ends : bool
        Whether the end of each run with a Jungfrau is looked for, too, which takes longer.
    progress : callable
        Is called with the number of runs that were read, and the number of all.

    Raises
    ------
    BadValue, NotFound
        If `place` cannot be an instrument or an experiment, or does not exist.
    Failed
        If the root or the directory of the instrument cannot be read.
    """
    tree = Tree.from_environment(root)
    errors: list[JfstoreError] = []
    experiments: list[tuple[Experiment, list[RunFiles]]] = []
    unfinished = 0
    for experiment in _find_experiments(tree, place, errors):
        try:
            experiments.append((experiment, tree.runs(experiment)))
            unfinished += tree.count_unfinished(experiment)
        except Failed as error:
            errors.append(error)
    total = sum(len(files) for _, files in experiments)
    runs: list[Run] = []
    for experiment, files in experiments:
        for run, problems in read_all(experiment, files, ends=ends):
            runs.append(run)
            errors += problems
            progress(len(runs), total)
    notes = [note for run in runs for note in run.notes]
    if unfinished:
        notes.append(f"{unfinished} {'file is' if unfinished == 1 else 'files are'} still being written, not listed")
    return RunList(tuple(runs), tuple(errors), tuple(notes))


def _find_experiments(tree: Tree, place: str | None, errors: list[JfstoreError]) -> list[Experiment]:
    if place is not None and not re.fullmatch(r"[A-Za-z0-9_]+", place, re.ASCII):
        hint = f"; see jfstore id {place}" if is_dataset(place) else ""
        raise BadValue(f"{place!r} is neither an instrument nor an experiment{hint}")
    if place and (len(place) != 3 or place.isdecimal()):
        return [tree.experiment(place)]
    if place:
        return tree.experiments(place)
    experiments: list[Experiment] = []
    for instrument in tree.instruments():
        try:
            experiments += tree.experiments(instrument)
        except Failed as error:
            errors.append(error)
    return experiments


def read_all(
    experiment: Experiment, runs: Sequence[RunFiles], *, ends: bool = False
) -> Iterator[tuple[Run, list[JfstoreError]]]:
    """Yield all runs of an experiment with their errors, from the cache if they are in it; then update the cache.

    With `ends`, the end of each run with a Jungfrau is looked for; it is never cached, because a file may grow.
    """
    path = _cache_path(experiment)
    cached = _load(path)
    fresh: dict[str, Any] = {}
    for files in runs:
        key = str(files.run)
        try:
            identity = _identify(files)
            run = _decode(cached.get(key), identity)
            is_cached = run is not None
            run = run or read_run(files)
        except (JfstoreError, OSError) as error:
            if isinstance(error, OSError):
                error = Failed(f"{error.filename or files.label}: {error.strerror}")
            yield Run(files.experiment, files.run, None, "", (), (), problems=(str(error),)), [error]
            continue
        if not run.problems:
            fresh[key] = cached[key] if is_cached else {"files": identity, "run": run}
        if ends and run.jungfraus:
            run = replace(run, end=read_end(files, run))
        yield run, [Damaged(problem) for problem in run.problems]
    if fresh != cached:
        _save(path, fresh)


def _identify(files: RunFiles) -> list[list[Any]]:
    """Return what tells whether the files of a run that would be opened are the same as before."""
    identity = []
    for paths in files.streams().values():
        status = os.stat(paths[0])
        identity.append(
            [paths[0], status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        )
    return identity


def _decode(value: Any, identity: list[list[Any]]) -> Run | None:
    """Return the run in an entry of the cache; None if the entry is malformed or of other files."""
    try:
        if value["files"] != identity:
            return None
        run = value["run"]
        jungfraus = tuple(
            Jungfrau(
                **{
                    **fields,
                    "panels": tuple(_make_panel(**panel) for panel in fields["panels"]),
                    "segments": tuple(fields["segments"]),
                }
            )
            for fields in run["jungfraus"]
        )
        others = tuple((source, alias) for source, alias in run["others"])
        return Run(**{**run, "jungfraus": jungfraus, "others": others, "notes": tuple(run["notes"]), "problems": ()})
    except (KeyError, TypeError, ValueError):
        return None


def _cache_path(experiment: Experiment) -> Path:
    places = "\n".join(map(os.path.abspath, experiment.directories))
    return Path(platformdirs.user_cache_dir("jfstore")) / "runs" / f"{digest(os.fsencode(places))[:32]}.json"


def _load(path: Path) -> dict[str, Any]:
    try:
        checksum, _, body = read_regular(path, _LIMIT).partition(b"\n")
        if checksum.decode() != digest(body):
            return {}
        value = orjson.loads(body)
        return dict(value["runs"]) if value["format"] == _FORMAT else {}
    except (OSError, JfstoreError, KeyError, TypeError, ValueError):
        return {}  # a cache may be missing


def _save(path: Path, runs: dict[str, Any]) -> None:
    # No space, no right to write there, or a path that is not UTF-8: a cache may be missing.
    with suppress(OSError, JfstoreError, TypeError):
        body = orjson.dumps({"format": _FORMAT, "runs": runs})
        for directory in reversed([parent for parent in path.parents if not parent.exists()]):
            durable.make_directory(directory, 0o700)
        durable.overwrite(path, [digest(body).encode(), b"\n", body], mode=0o600, settle=False)
