"""Check whether the DCS files of psana1's generic repository still hold what a repository says is valid."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import check_array
from jfstore.core.calib_types import CALIB_TYPES, PAIRS, panel_shape_of
from jfstore.core.hashing import digest
from jfstore.core.instants import SECOND, stamp_at
from jfstore.dcs import model
from jfstore.dcs.edit import split_panels
from jfstore.dcs.model import DcsContents, DcsRange, DcsVersion
from jfstore.dcs.panels import identify_panels
from jfstore.dcs.read import open_dcs
from jfstore.deployment.audit import Audit, Finding
from jfstore.deployment.compare import Recogniser, find_decimals
from jfstore.deployment.generic import generic_directory, name_place
from jfstore.deployment.generic_note import GenericDeployment, read_generic_note
from jfstore.errors import BadValue, JfstoreError, NotFound
from jfstore.repository import Repository
from jfstore.repository.catalogue import open_repository


def audit_generic(
    place: str | os.PathLike[str] | None = None,
    *,
    repo: str | os.PathLike[str] | Repository = "real",
    as_of: int | str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Check the DCS files of a generic repository: of each range the version that psana1 takes.

    Parameters
    ----------
    place : path, optional
        The generic repository, which has the directory ``jungfrau``; default psana1's own,
        ``$SIT_PSDM_DATA/detector/calib``.
    repo : str or Repository
        Name or path of the repository, or the repository.
    as_of : int or str, optional
        Compare with what was valid then, as for `Repository.get`.
    progress : callable
        Called with the number of files checked and their total.

    Returns
    -------
    Audit
        A finding is ``current`` if each panel's array is the one that is valid at the start of the range.

    Raises
    ------
    NotFound
        If there is no DCS file of a Jungfrau.
    """
    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    root = (generic_directory() if place is None else Path(place)) / model.JUNGFRAU
    paths = sorted(path for path in root.glob(f"{model.JUNGFRAU}-*.h5") if path.is_file())
    if not paths:
        raise NotFound(f"{root} holds no file {model.JUNGFRAU}-<detector Id>.h5")
    auditor = _GenericAuditor(repository, repository.seq_of(as_of))
    findings: list[Finding] = []
    for done, path in enumerate(paths):
        progress(done, len(paths))
        findings += auditor.examine(path)
    progress(len(paths), len(paths))
    return Audit(tuple(findings), repository, ())


class _GenericAuditor:
    """Compares DCS files with one repository."""

    def __init__(self, repository: Repository, as_of: int | None) -> None:
        self._repository, self._as_of = repository, as_of
        self._table = repository.log.table()
        self._recogniser = Recogniser(repository)

    def examine(self, path: Path) -> list[Finding]:
        """Return a finding for each range of a file that has a valid version."""
        try:
            notes = {one.place: one for one in read_generic_note(path)}
            with open_dcs(path) as contents:
                return list(self._examine_ranges(path, contents, identify_panels(contents, path.name), notes))
        except JfstoreError as error:
            return [Finding("unreadable", str(path), None, None, None, (), error.message)]

    def _examine_ranges(
        self,
        path: Path,
        contents: DcsContents,
        panels: Sequence[str],
        notes: dict[tuple[str, str, int, float], GenericDeployment],
    ) -> Iterator[Finding]:
        for dcs_type in contents.types:
            for dcs_range in dcs_type.ranges if dcs_type.name in CALIB_TYPES else ():
                version = dcs_range.valid_version
                if version is None or dcs_range.start is None or dcs_range.problem:
                    continue
                noted = notes.get((dcs_type.name, dcs_range.key, version.number, version.produced or 0.0))
                state, versions, detail = self._judge(dcs_type.name, dcs_range, version, panels)
                where = f"{path}: {dcs_type.name}/{name_place(dcs_range.key, version.number)}"
                source, run = (noted.source, noted.run) if noted else (None, None)
                yield Finding(state, where, source, dcs_type.name, run, versions, detail)

    def _judge(
        self, name: str, dcs_range: DcsRange, version: DcsVersion, panels: Sequence[str]
    ) -> tuple[str, tuple[str, ...], str]:
        """Return the state of a version, the versions that it holds, and the reasons."""
        assert version.blob is not None
        assert dcs_range.start is not None
        try:
            parts = list(split_panels(version.blob.load(), len(panels), name, "it"))
            shape = panel_shape_of(name, self._repository.panel_shape)
            hashes = [digest(check_array(part, name, shape, "it").array.reshape(-1).view("u1")) for part in parts]
        except BadValue as error:
            return "unknown", (), error.message
        t = math.floor(dcs_range.start) * SECOND
        names, reasons, ends = [], [], []
        for panel, blake3 in zip(panels, hashes, strict=True):
            line = self._repository.timeline(panel, name, as_of=self._as_of)
            valid, end = line.at(t), line.end(line.place(t))
            held = self._find_version(panel, blake3, valid.name if valid else None)
            names.append(held)
            if valid is None:
                reasons.append(f"nothing is valid for panel {panel}")
            elif valid.content[name] != blake3:
                reasons.append(f"{valid.name} is valid")
            elif end is not None:
                ends.append(end)
        when = stamp_at(t, self._repository.zone)
        if None in names:
            return self._judge_unlike(name, parts, panels, t)
        versions = tuple(held for held in names if held)
        if reasons:
            return "stale", versions, f"at {when} {'; '.join(reasons)}"
        until = f" and until {stamp_at(min(ends), self._repository.zone)}" if ends else ""
        return "current", versions, f"valid at {when}{until}"

    def _find_version(self, panel: str, blake3: str, valid: str | None) -> str | None:
        """Return the version that holds an array: the valid one, else one of the panel, else any; None if none does."""
        versions = self._table.version_list(self._table.rows_with_array(blake3))
        ranked = sorted(versions, key=lambda version: (version.name == valid, version.panel == panel, version.seq))
        return ranked[-1].name if ranked else None

    def _judge_unlike(
        self, name: str, parts: Sequence[NDArray[np.generic]], panels: Sequence[str], t: int
    ) -> tuple[str, tuple[str, ...], str]:
        """Judge arrays that are not stored: gains and offsets may be rounded, as those of psana's text are."""
        if name not in PAIRS[0]:
            return "unknown", (), "its values match no stored version"
        values = [part.astype(np.float64) for part in parts]
        decimals = find_decimals(values, name)
        valid = [self._repository.timeline(panel, name, as_of=self._as_of).at(t) for panel in panels]
        likes = [
            self._recogniser.recognise(name, part, decimals, version, panel, panels)
            for part, version, panel in zip(values, valid, panels, strict=True)
        ]
        found = [like for like in likes if like is not None]
        if len(found) < len(likes):
            return "unknown", (), "its values match no stored version"
        names = tuple(like.version.name for like in found)
        are_valid = all(v is not None and like.version.name == v.name for like, v in zip(found, valid, strict=True))
        detail = "of what is valid" if are_valid else "of what is not valid"
        if all(like.is_rounded or like.is_equal for like in found):
            return "rounded copy", names, detail
        different, total = sum(like.different for like in found), sum(like.total for like in found)
        return "edited", names, f"{different} of {total} values differ; {detail}"
