"""Undo the last deployment for a run to psana1's generic repository."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jfstore.dcs import edit, model, write
from jfstore.dcs.model import DcsContents
from jfstore.dcs.read import open_dcs
from jfstore.deployment.generic import GenericDeployed, convert_errors, find_range, generic_directory, name_place
from jfstore.deployment.generic_note import GenericDeployment, read_generic_note, write_generic_note
from jfstore.errors import BadValue, NotFound, Refused
from jfstore.fs.owner import Rights
from jfstore.runs.dataset import parse_dataset
from jfstore.runs.run import is_part


def undo_generic(
    dataset: str,
    place: str | os.PathLike[str] | None = None,
    *,
    source: str | None = None,
    replace: bool = False,
    rights: Rights = Rights(),
    dry_run: bool = False,
) -> tuple[GenericDeployed, ...]:
    """Take back the last deployment for a run from the DCS files of a generic repository; XTC files are not needed.

    Parameters
    ----------
    dataset : str
        ``exp=EXP:run=RUN``.
    place : path, optional
        The generic repository; default psana1's own.
    source : str, optional
        Which Jungfrau: its source or a part of it.
    replace : bool
        Whether versions that were added to the range since stay, and this one is taken from before them.
    rights : Rights
        Modes and group of a new note.
    dry_run : bool
        Return what would be undone, but change nothing.

    Returns
    -------
    tuple of GenericDeployed
        The versions that were removed. A range without versions is removed, too, so that older constants answer.

    Raises
    ------
    NotFound
        If jfstore deployed nothing for the run, or it is gone.
    Refused
        If the range has a newer version.
    """
    parsed = parse_dataset(dataset)
    if parsed.file or len(parsed.runs) != 1 or parsed.runs[0][0] != parsed.runs[0][1]:
        raise BadValue(f"{dataset}: only the deployment for one run can be undone, exp=EXP:run=RUN")
    root = (generic_directory() if place is None else Path(place)) / model.JUNGFRAU
    path, last, others = _find_last(root, parsed.experiment, parsed.runs[0][0], source)

    def change(contents: DcsContents) -> DcsContents:
        for deployment in last:
            contents = _remove(contents, deployment, replace)
        return contents

    if dry_run:
        with open_dcs(path) as contents:
            change(contents)
    else:
        with convert_errors(path):
            write.change_dcs(path, change, rights=rights)
            write_generic_note(path, others, rights)
    state = "would undo" if dry_run else "removed"
    return tuple(GenericDeployed(state, one.type, str(path), name_place(one.range, one.number)) for one in last)


def _find_last(
    root: Path, experiment: str, run: int, pattern: str | None
) -> tuple[Path, list[GenericDeployment], list[GenericDeployment]]:
    """Return the DCS file of the last deployment for a run, its versions, and the other deployments of the file."""
    found: dict[str, tuple[str, Path, list[GenericDeployment]]] = {}
    for note in sorted(root.glob(f"{model.JUNGFRAU}-*.jfstore.json")):
        path = note.with_name(note.name.replace(".jfstore.json", ".h5"))
        deployments = read_generic_note(path)
        for one in deployments:
            is_meant = pattern is None or one.source == pattern or is_part(pattern, one.source)
            if (one.experiment, one.run) == (experiment, run) and is_meant:
                when = str(one.about.get("time", ""))
                found[one.source] = max(found.get(one.source, ("", path, [])), (when, path, deployments))
    if not found:
        of_source = f" of {pattern}" if pattern else ""
        raise NotFound(f"nothing{of_source} was deployed by jfstore for run {run} of {experiment} in {root}")
    if len(found) > 1:
        raise BadValue(f"several Jungfraus have something to undo, choose one: {', '.join(found)}")
    (chosen, (_, path, deployments)) = next(iter(found.items()))
    newest = next(one for one in deployments if (one.experiment, one.run, one.source) == (experiment, run, chosen))
    last = [one for one in deployments if one.call == newest.call]
    return path, last, [one for one in deployments if one.call != newest.call]


def _remove(contents: DcsContents, deployment: GenericDeployment, replacing: bool) -> DcsContents:
    """Return the contents without a version, and without its range and type if these have nothing left."""
    name, key, number, produced = deployment.place
    found = find_range(contents, name, key)
    version = next((one for one in found.versions if one.number == number), None) if found else None
    if found is None or version is None or version.produced != produced:
        return contents  # somebody else, or an undo that was stopped before its note, has removed it
    newer = [one.number for one in found.versions if one.number > number]
    if newer and not replacing:
        raise Refused(
            f"{contents.where}: {name}/{key} has a newer version, {model.name_version(newer[0])}, which stays valid; "
            "--replace removes this one all the same"
        )
    moment, message = time.time(), "jfstore undo"
    contents, _ = edit.delete_version(contents, name, found, number, message, moment)
    left = find_range(contents, name, key)
    if left is not None and not left.versions:
        contents = edit.delete_range(contents, name, key, message, moment)
    if not contents.find_type(name).ranges:
        contents = edit.delete_type(contents, name, message, moment)
    return contents
