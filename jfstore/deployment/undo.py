"""Undo the last deployment for a run."""

from __future__ import annotations

import os
from pathlib import Path

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.deployment.calibdir import CalibFile, sources
from jfstore.deployment.deploy import Deployed, undo
from jfstore.deployment.note import read_note
from jfstore.errors import BadValue, NotFound, nearest
from jfstore.fs.rights import Rights
from jfstore.runs.dataset import parse_dataset
from jfstore.runs.run import is_part
from jfstore.runs.tree import Tree


def undo_deploy(
    dataset: str,
    *,
    source: str | None = None,
    calibdir: str | os.PathLike[str] | None = None,
    replace: bool = False,
    dry_run: bool = False,
    rights: Rights = Rights(),  # noqa: B008 - immutable
) -> tuple[Deployed, ...]:
    """Bring back the files that were there before the last deployment for a run; XTC files are not needed.

    Parameters
    ----------
    dataset : str
        ``exp=EXP:run=RUN``.
    source : str, optional
        Which Jungfrau: its source or a part of it.
    calibdir : path, optional
        The calibration directory; default that of the experiment.
    replace : bool
        Whether files that were changed after they were deployed may be replaced.
    dry_run : bool
        Return what would be undone, but change nothing.
    rights : Rights
        Modes and group of new files.

    Returns
    -------
    tuple of Deployed
        Each file, ``restored``, ``removed`` or ``would undo``.

    Raises
    ------
    NotFound
        If jfstore deployed nothing for the run, or the file that was there before is gone.
    Refused
        If somebody has changed a file since.
    """
    parsed = parse_dataset(dataset)
    if parsed.file or len(parsed.runs) != 1 or parsed.runs[0][0] != parsed.runs[0][1]:
        raise BadValue(f"{dataset}: only the deployment for one run can be undone, exp=EXP:run=RUN")
    place = Tree.from_environment().calib_directory(parsed.experiment) if calibdir is None else Path(calibdir)
    files = _last_deployed(place, parsed.runs[0][0], source)
    if dry_run:
        return tuple(Deployed(file, "would undo") for file in files)
    return tuple(undo(file, replacing=replace, rights=rights) for file in files)


def _last_deployed(calibdir: Path, run: int, pattern: str | None) -> list[CalibFile]:
    """Return the files of the last deployment for a run: gains and offsets, or one of them."""
    noted = {
        source: [
            (file, entries[0])
            for file in (CalibFile(calibdir, source, name, run) for name in CALIB_TYPES)
            if (entries := read_note(file))
        ]
        for source in sources(calibdir)
    }
    deployed = [source for source, entries in noted.items() if entries]
    matches = [source for source in deployed if source == pattern]
    matches = matches or [source for source in deployed if pattern is None or is_part(pattern, source)]
    if not matches:
        asked = f" of {pattern}" if pattern else ""
        near = nearest(pattern, sources(calibdir)) if pattern else sources(calibdir)
        raise NotFound(f"nothing{asked} was deployed by jfstore for run {run} in {calibdir}", near)
    if len(matches) > 1:
        raise BadValue(f"several Jungfraus have something to undo, choose one: {', '.join(matches)}")
    # One of the pair may have been left alone, because it was unchanged.
    _, newest = max(noted[matches[0]], key=lambda pair: pair[1].time)
    return [file for file, entry in noted[matches[0]] if entry.call == newest.call]
