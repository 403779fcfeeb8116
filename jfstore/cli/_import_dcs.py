"""``jfstore import FILE.h5``: a detector's file of the Detector Calibration Store becomes versions of its panels."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jfstore.cli.output import note, progress
from jfstore.cli.writing import emit_added
from jfstore.errors import BadValue
from jfstore.fs.files import given

if TYPE_CHECKING:
    from jfstore.core.arrays import Checked
    from jfstore.dcs.panels import Taken
    from jfstore.repository import Entry, Repository


def import_dcs(args: argparse.Namespace, repository: Repository) -> int:
    """Take in the file that `args` names, all in one commit; return the exit code, 1 if something was left out."""
    from jfstore.core.arrays import check_array
    from jfstore.core.instants import SECOND, Instant
    from jfstore.dcs.check import panel_parts
    from jfstore.dcs.hdf5 import is_hdf5
    from jfstore.dcs.panels import Hole, panels_of, taken_from, without_stand_ins
    from jfstore.dcs.read import opened_dcs
    from jfstore.repository import Entry

    path = Path(args.tree)
    with given(path):
        if not is_hdf5(path):
            raise BadValue(f"{path} is neither a directory nor an HDF5 file")
    source = os.path.abspath(path)
    with opened_dcs(path) as contents, progress("import") as show:
        panels = panels_of(contents, path.name)
        taken, holes, left_out = taken_from(contents, panels, repository.zone, args.recover)
        shape = repository.identity.panel_shape
        whole = (shape[0], len(panels), *shape[1:])

        def checked(item: Taken) -> list[Checked]:
            # Before it is loaded: what a foreign file says of its size is not to be believed.
            if item.blob.shape not in ([whole, shape] if len(panels) == 1 else [whole]):
                raise BadValue(f"{item.name}: shape {item.blob.shape}, expected {whole}")
            parts = panel_parts(item.blob.load(), len(panels), item.type, item.name)
            return [check_array(part, item.type, shape, item.name) for part in parts]

        # Of each range the last is the one that is valid: without it, those that it replaced would be.
        for (type_name, stamp), last in {(item.type, item.stamp): item for item in taken}.items():
            try:
                checked(last)
            except BadValue as error:
                others = [item for item in taken if (item.type, item.stamp) == (type_name, stamp)]
                left_out.append((last.name, error.message.removeprefix(f"{last.name}: ")))
                left_out.extend((item.name, f"what replaced it, {last.name}, is left out") for item in others[:-1])
                taken = [item for item in taken if item not in others]
                holes.append(Hole(last.name, type_name, last.start / SECOND))
        taken, standing_in = without_stand_ins(taken, holes)
        left_out += standing_in

        def entries() -> Iterator[Entry]:
            for done, item in enumerate(taken):
                show(done, len(taken))
                try:
                    arrays = checked(item)
                except BadValue as error:
                    left_out.append((item.name, error.message.removeprefix(f"{item.name}: ")))
                    continue
                for panel, array in zip(panels, arrays, strict=True):
                    yield Entry(
                        panel, Instant(item.start, item.stamp), {item.type: array}, f"{source}/{item.name}", item.origin
                    )
            show(len(taken), len(taken))

        added = repository.add_entries(
            entries(), args.message, request=args.request, by_origin=True, dry_run=args.dry_run
        )
        left_out += _gone(repository, panels, {f"{held.name}/{r.key}" for held in contents.types for r in held.ranges})
    if not taken:
        note(f"{path} holds nothing that can be taken")
    emit_added(args, repository, replace(added, skipped=tuple(left_out)))
    return 1 if left_out else 0


def _gone(repository: Repository, panels: Sequence[str], ranges: set[str]) -> list[tuple[str, str]]:
    """Return the ranges that came from the file of the detector before, and are in it no longer."""
    from jfstore.dcs.panels import detector_name

    gone = {}
    seqs = {version.seq for version in repository.versions() if version.panel == panels[0]}
    for seq in sorted(seqs):
        for version in repository.commit(seq).versions:
            origin = version.origin or {}
            name = f"{origin.get('type')}/{origin.get('range')}"
            if origin.get("detector") == detector_name(panels) and name not in ranges:
                gone[name] = "in the repository, and no longer in the file; what came from it stays valid"
    return list(gone.items())
