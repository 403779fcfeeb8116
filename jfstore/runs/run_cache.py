"""Runs that were read before, kept in the user's cache directory; it may be deleted at any time.

A file for each experiment: a line with the BLAKE3 of what follows, then JSON. A run counts as read before if
every file that would be opened is the same one, with the same size and time of change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from jfstore._version import __version__
from jfstore.core.hashing import digest
from jfstore.core.ids import parse_panel
from jfstore.errors import Failed, JfstoreError
from jfstore.fs import durable
from jfstore.fs.files import read_regular
from jfstore.runs.run import Jungfrau, Run, read_run
from jfstore.runs.tree import Experiment, RunFiles

# What another version of the program read, it may have read otherwise.
_FORMAT = f"1, jfstore {__version__}"
_LIMIT = 64 << 20

Kept = dict[str, dict[str, Any]]


def read_all(experiment: Experiment, runs: Iterable[RunFiles]) -> Iterator[tuple[RunFiles, Run | JfstoreError]]:
    """Yield `runs`, all that an experiment has, each as it was read or with the error in its place.

    Those read before come from the cache, which is brought up to date in the end.
    """
    path = _path_of(experiment)
    kept = _load(path)
    fresh: Kept = {}
    for files in runs:
        key = str(files.run)
        try:
            identity = _identity(files)
            before = _remembered(kept.get(key), identity)
            run = before or read_run(files)
        except JfstoreError as error:
            yield files, error
            continue
        except OSError as error:
            yield files, Failed(f"{error.filename or files.label}: {error.strerror}")
            continue
        if not run.problems:
            fresh[key] = kept[key] if before else {"files": identity, "run": _value_of(run)}
        yield files, run
    if fresh != kept:
        _save(path, fresh)


def _remembered(value: Any, identity: list[list[Any]]) -> Run | None:
    """Return the run that the cache has; None if it has none, of other files, or in a form that is not ours."""
    try:
        return _run_of(value["run"]) if value["files"] == identity else None
    except (JfstoreError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _value_of(run: Run) -> dict[str, Any]:
    return {
        "experiment": run.experiment,
        "run": run.run,
        "begin": run.start,
        "file": run.file,
        "jungfraus": [
            [j.source, j.alias, j.version, j.count, [str(panel) for panel in j.panels]] for j in run.jungfraus
        ],
        "others": [list(other) for other in run.others],
        "notes": list(run.notes),
    }


def _run_of(value: dict[str, Any]) -> Run:
    return Run(
        value["experiment"],
        value["run"],
        value["begin"],
        value["file"],
        tuple(
            Jungfrau(source, alias, version, count, tuple(map(parse_panel, panels)))
            for source, alias, version, count, panels in value["jungfraus"]
        ),
        tuple((source, alias) for source, alias in value["others"]),
        tuple(value["notes"]),
    )


def _identity(files: RunFiles) -> list[list[Any]]:
    identity = []
    for paths in files.streams().values():
        status = os.stat(paths[0])
        identity.append(
            [paths[0], status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        )
    return identity


def _path_of(experiment: Experiment) -> Path:
    places = "\n".join(map(os.path.abspath, experiment.directories))
    return Path(platformdirs.user_cache_dir("jfstore")) / "runs" / f"{digest(os.fsencode(places))[:32]}.json"


def _load(path: Path) -> Kept:
    try:
        seal, _, body = read_regular(path, _LIMIT).partition(b"\n")
        if seal.decode() != digest(body):
            return {}
        value = json.loads(body)
        return dict(value["runs"]) if value["format"] == _FORMAT else {}
    except (OSError, JfstoreError, KeyError, TypeError, ValueError):
        return {}  # it is only a cache


def _save(path: Path, kept: Kept) -> None:
    body = json.dumps({"format": _FORMAT, "runs": kept}, separators=(",", ":")).encode()
    with suppress(OSError, JfstoreError):  # no room, or no right to write there: it is only a cache
        for directory in reversed([parent for parent in path.parents if not parent.exists()]):
            durable.make_directory(directory, 0o700)
        durable.overwrite(path, [digest(body).encode(), b"\n", body], mode=0o600, settle=False)
