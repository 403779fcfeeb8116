"""Undo the last deployment for a run."""

from __future__ import annotations

import os
from pathlib import Path

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.deployment.calibdir import CalibFile, list_files_with_note, list_sources
from jfstore.deployment.deploy import (
    Deployed,
    convert_errors,
    format_history_line,
    lock_history,
    make_dated_name,
    read_current,
    write_note,
)
from jfstore.deployment.note import read_note
from jfstore.errors import BadValue, NotFound, Refused, nearest
from jfstore.fs import durable
from jfstore.fs.owner import Rights
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
    rights: Rights = Rights(),
) -> tuple[Deployed, ...]:
    """Bring back the files from before the last deployment for a run; XTC files are not needed.

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
        If jfstore deployed nothing for the run, or the previous file is gone.
    Refused
        If somebody has changed a file since.
    """
    parsed = parse_dataset(dataset)
    if parsed.file or len(parsed.runs) != 1 or parsed.runs[0][0] != parsed.runs[0][1]:
        raise BadValue(f"{dataset}: only the deployment for one run can be undone, exp=EXP:run=RUN")
    place = Tree.from_environment().calib_directory(parsed.experiment) if calibdir is None else Path(calibdir)
    files = _find_last_deployed(place, parsed.runs[0][0], source)
    if dry_run:
        return tuple(Deployed(file, "would undo") for file in files)
    return tuple(undo(file, replacing=replace, rights=rights) for file in files)


def _find_last_deployed(calibdir: Path, run: int, pattern: str | None) -> list[CalibFile]:
    """Return the files of the last deployment for a run, some of the types or all."""
    noted = {
        source: [
            (file, deployments[0])
            for name in CALIB_TYPES
            for file in list_files_with_note(calibdir, source, name, run)
            if (deployments := read_note(file))
        ]
        for source in list_sources(calibdir)
    }
    deployed = [source for source, files in noted.items() if files]
    matches = [source for source in deployed if source == pattern]
    matches = matches or [source for source in deployed if pattern is None or is_part(pattern, source)]
    if not matches:
        of_source = f" of {pattern}" if pattern else ""
        near = nearest(pattern, noted) if pattern else list(noted)
        raise NotFound(f"nothing{of_source} was deployed by jfstore for run {run} in {calibdir}", near)
    if len(matches) > 1:
        raise BadValue(f"several Jungfraus have something to undo, choose one: {', '.join(matches)}")
    # Some files may have been unchanged in the last call.
    _, newest = max(noted[matches[0]], key=lambda pair: pair[1].time)
    return [file for file, deployment in noted[matches[0]] if deployment.call == newest.call]


def undo(file: CalibFile, *, replacing: bool = False, rights: Rights = Rights()) -> Deployed:
    """Bring back the file from before the last deployment, and keep the deployed file beside it.

    NotFound if jfstore deployed nothing, or the previous file is gone; Refused if somebody has changed the file since.
    """
    if not file.note.exists():
        raise NotFound(f"{file.path}: jfstore deployed nothing there that could be undone")
    with convert_errors(file), lock_history(file, rights) as history:
        current = read_current(file)
        if not current.deployments:
            raise NotFound(f"{file.path}: jfstore deployed nothing there that could be undone")
        last, *before = current.deployments
        previous = file.directory / last.replaced.name if last.replaced else None
        backup = None
        # If a deployment or its undoing was stopped half-way, the previous file is in place already.
        if current.blake3 != (last.replaced and last.replaced.blake3):
            if current.blake3 not in (None, last.blake3) and not replacing:
                raise Refused(f"{file.path} was changed after it was deployed; --replace undoes it all the same")
            if previous and not previous.exists():
                raise NotFound(f"{previous} is gone, so it cannot be brought back")
            backup = make_dated_name(file)
            if previous is None:
                durable.give_name(file.path, file.directory / backup)
            else:
                if current.blake3 is not None:
                    durable.keep(file.path, file.directory / backup)
                durable.give_name(previous, file.path)
        comment = f"jfstore undo {last.blake3[:12]}"
        if comment.encode() not in history.text():
            history.append(format_history_line(file, previous.name if previous else "-", comment))
        # The note comes last: as long as it has the deployment, another undo completes this one.
        if before:
            write_note(file, before, rights)
        else:
            durable.remove(file.note)
        return Deployed(file, "restored" if previous else "removed", backup)
