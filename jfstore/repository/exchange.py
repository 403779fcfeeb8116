"""Import gain trees and DCS files into a repository, and export a detector's constants as a DCS file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import CALIB_TYPES, calib_type, panel_shape_of
from jfstore.core.ids import resolve_detector
from jfstore.core.instants import BEGINNING
from jfstore.core.records import Version
from jfstore.core.slabs import detector_shape
from jfstore.core.validity import timeline
from jfstore.dcs.edit import add_line, find_free_number, is_storable, merge_history
from jfstore.dcs.model import JUNGFRAU, Blob, DcsContents, DcsRange, DcsType, DcsVersion, Notes, name_range
from jfstore.dcs.model import TYPES as DCS_TYPES
from jfstore.dcs.panels import ImportPlan, name_detector
from jfstore.dcs.read import open_dcs
from jfstore.dcs.write import write_dcs
from jfstore.errors import BadValue, Failed, NotFound, Refused
from jfstore.formats.gain_tree import read_gain_directory, scan_gain_tree
from jfstore.repository.adding import Added, Entry, missing_type_notes, require_about

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository

Place = str | os.PathLike[str]
Progress = Callable[[int, int], None]
_GONE = "no longer in the file; the versions that were imported from it stay valid"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes
    ----------
    path : str
        The file.
    detector : str
        Detector Id.
    versions : tuple of (str, str, int)
        Calibration type, name of the range, and number of each version in the file.
    as_of : int
        The commit that the file is as of.
    """

    path: str
    detector: str
    versions: tuple[tuple[str, str, int], ...]
    as_of: int


def import_gains(
    repository: ExchangingRepository,
    path: Place,
    message: str,
    *,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import a gain tree in one commit.

    Every name ``<panel Id>-<stamp>`` in the directory becomes a version. Names that are not understood are skipped,
    and so is content that the panel and stamp ever held, so that an import can be repeated.

    Parameters
    ----------
    path : path
        Directory of names that lead to directories of ``g0_gain.npy`` ... ``g2_offset.npy``.
    message, about, accept, request, dry_run
        As for `Repository.add`.
    progress : callable
        Called with the number of names read and their total.

    Returns
    -------
    Added
        With the names that were skipped, and the directories that the others lead to.
    """
    texts = require_about(about)
    tree = scan_gain_tree(Path(path), repository.zone)
    skipped = dict(tree.problems)

    def entries() -> Iterator[Entry]:
        directory = None
        for done, name in enumerate(tree.names):
            progress(done, len(tree.names))
            try:
                # Names of one directory are adjacent, so that it is read once.
                if name.directory != directory:
                    arrays = read_gain_directory(name.directory, repository.panel_shape)
                    directory = name.directory
                yield Entry(name.panel, name.start, arrays, name.name, about=texts)
            except (BadValue, Failed) as error:
                skipped[name.name] = error.message
        progress(len(tree.names), len(tree.names))

    options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run}
    added = repository.add_entries(entries(), message, once=True, **options)
    notes = (*tree.notes, *added.notes, *missing_type_notes(added.versions))
    if not tree.names:
        notes += (f"nothing in {os.fspath(path)} is a name <panel Id>-<stamp>{_suggest(Path(path))}",)
    return replace(added, skipped=tuple(skipped.items()), targets=tree.targets, notes=notes)


def _suggest(tree: Path) -> str:
    if (tree / "g0_gain.npy").exists():
        return f"; this is one panel's constants: jfstore add PANEL -T STAMP -f {tree}"
    if (tree / "jungfrau").is_dir():
        return f"; did you mean {tree / 'jungfrau'}?"
    return ""


def import_dcs(
    repository: ExchangingRepository,
    path: Place,
    message: str,
    *,
    recover: bool = False,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import a DCS file in one commit: each of its versions becomes a version of each panel of its detector.

    Each version is imported once, so that an import can be repeated. What cannot be stored is skipped, and with it
    the versions that it replaced, and all of its calibration type if an earlier version would be valid in its place.

    Parameters
    ----------
    path : path
        File ``jungfrau-<detector Id>.h5``.
    message, about, accept, request, dry_run
        As for `Repository.add`.
    recover : bool
        Whether versions that lost their number, as Python 3 wrote them, are imported too.
    progress : callable
        Called with the number of versions read and their total.

    Returns
    -------
    Added
        With the names in the file that were skipped.

    Raises
    ------
    BadValue
        If it is not a file of a Jungfrau.
    JfstoreError
        As for `Repository.add_entries`; Damaged if the file does not have the layout of a DCS file.
    """
    path, texts = Path(path), require_about(about)
    options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run}
    with open_dcs(path) as contents:
        plan = ImportPlan(contents, path.name, repository.zone, repository.panel_shape, recover)
        source, total = os.path.abspath(path), len(plan.versions)

        def entries() -> Iterator[Entry]:
            for done, version in enumerate(plan.versions):
                progress(done, total)
                # No arrays if they are not acceptable; the plan notes the reason.
                for panel, array in zip(plan.panels, plan.load(version), strict=False):
                    place = f"{source}/{version.name}"
                    yield Entry(panel, version.start, {version.type: array}, place, version.origin, texts)
            progress(total, total)

        added = repository.add_entries(entries(), message, by_origin=True, **options)
        ranges = {f"{dcs_type.name}/{one.key}" for dcs_type in contents.types for one in dcs_type.ranges}
    skipped = (*plan.skipped, *((name, _GONE) for name in _find_gone(repository, plan.panels, ranges)))
    notes = () if total else (f"{path} has nothing that can be imported",)
    return replace(added, skipped=skipped, notes=(*added.notes, *notes))


def _find_gone(repository: ExchangingRepository, panels: Sequence[str], ranges: set[str]) -> list[str]:
    """Return the ranges that were imported from a file of the detector before and are not among `ranges`."""
    detector, gone = name_detector(panels), {}
    for version in _list_versions(repository, panels[:1]):
        origin = version.origin or {}
        name = f"{origin.get('type')}/{origin.get('range')}"
        if origin.get("detector") == detector and name not in ranges:
            gone[name] = True
    return list(gone)


def _list_versions(repository: ExchangingRepository, panels: Sequence[str], as_of: int | None = None) -> list[Version]:
    """Return the versions of some panels with their origins, which are only in the commits."""
    table = repository.log.table(as_of)
    rows = [row for panel in panels for row in table.rows(panel).tolist()]
    seqs = sorted(seq for seq in set(table.take(rows)["seq"].tolist()) if as_of is None or seq <= as_of)
    return [version for seq in seqs for version in repository.commit(seq).versions if version.panel in panels]


def export_dcs(
    repository: ExchangingRepository,
    detector: str,
    path: Place,
    *,
    as_of: int | str | None = None,
    replace: bool = False,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Export a detector's constants as a DCS file that answers as the repository does.

    The file has a range for each start at which all panels have constants. Versions that were imported from such a
    file get back their number, message, history and time of production.

    Parameters
    ----------
    detector : str
        Panel or detector Id.
    path : path
        The file to write, ``jungfrau-<detector Id>.h5``.
    as_of : int or str, optional
        What was valid then, as for `Repository.get`.
    replace : bool
        Whether an existing file is replaced.
    progress : callable
        Called with the number of arrays written and their total.

    Raises
    ------
    NotFound
        If the panels never have constants all at once.
    Refused
        If the file exists and is not to be replaced.
    Failed, InDoubt
        If the file cannot be written, or may not survive a power failure.
    """
    file = os.fspath(path)
    if os.path.lexists(file) and not replace:
        raise Refused(f"{file} exists; --force replaces it")
    seq = repository.seq_of(as_of)
    table = repository.log.table(seq)
    panels = tuple(map(str, resolve_detector(detector, table.panel_names)))
    exporter = _Exporter(repository, panels, table.seq if seq is None else seq)
    contents = exporter.build_contents(file)
    write_dcs(file, contents, replace=replace, progress=progress)
    versions = tuple(
        (dcs_type.name, dcs_range.key, version.number)
        for dcs_type in contents.types
        for dcs_range in dcs_type.ranges
        for version in dcs_range.versions
    )
    return Exported(file, "_".join(panels), versions, exporter.as_of)


class _Exporter:
    """Builds the contents of a file from the versions of some panels; arrays are read when they are written."""

    def __init__(self, repository: ExchangingRepository, panels: Sequence[str], as_of: int) -> None:
        self._repository, self._panels, self._now, self.as_of = repository, panels, time.time(), as_of
        self._table = repository.log.table(as_of)
        self._versions = _list_versions(repository, panels, as_of)

    def build_contents(self, where: str) -> DcsContents:
        """Return the contents of the file `where`; NotFound if the panels never have constants all at once."""
        names = sorted(name for name in CALIB_TYPES if name in DCS_TYPES)
        types = tuple(built for name in names if (built := self._build_type(name)).ranges)
        if not types:
            panels = "_".join(self._panels)
            raise NotFound(f"{self._repository.location} has no constants that are valid for all panels of {panels}")
        notes = Notes()
        for dcs_type in types:
            notes = add_line(notes, f"add ctype {dcs_type.name}: ", self._now)
        detector = "_".join(self._panels)
        return DcsContents(where, JUNGFRAU, detector, created=self._now, types=types, notes=notes)

    def _build_type(self, name: str) -> DcsType:
        """Return a calibration type, with a range for each start at which all panels have constants."""
        versions = [version for version in self._versions if name in version.content]
        lines = [timeline(self._table, panel, name, self.as_of) for panel in self._panels]
        ranges: dict[str, DcsRange] = {}
        for start in sorted({version.start for version in versions}):
            valid = [version for line in lines if (version := line.at(start))]
            if len(valid) == len(self._panels):
                built = self._build_range(name, start, [one for one in versions if one.start == start], valid)
                # A range from the beginning of time has the same name as one from 1970, which then replaces it.
                ranges[built.key] = built
        notes = Notes()
        for key in sorted(ranges):
            notes = add_line(notes, f"add range {key}: exp=unknown:run=0", self._now)
        return DcsType(name, tuple(ranges[key] for key in sorted(ranges)), notes)

    def _build_range(self, name: str, start: int, versions: Sequence[Version], valid: Sequence[Version]) -> DcsRange:
        """Return the range of one start: the versions that were imported, then what is valid, if that differs."""
        restored = self._group_by_number(name, versions)
        notes, parameters = Notes(), {"experiment": "unknown", "run": "0"}
        seconds = 0.0 if start == BEGINNING else start / 1e9
        built = []
        for number in sorted(restored):
            origin: Mapping[str, Any] = restored[number][0].origin or {}
            # An origin may hold values that a file cannot; these are left out.
            history, values = (
                {key: value for key, value in origin.get(what, {}).items() if is_storable(value)}
                for what in ("history", "parameters")
            )
            notes = merge_history(notes, history)
            parameters |= values
            seconds = origin["begin"]
            blob = self._make_blob(name, restored[number], origin["shape"])
            built.append(DcsVersion(number, blob, origin["produced"], number))
        notes = Notes(notes.history, parameters)
        last = restored[max(restored)] if restored else ()
        if [version.content[name] for version in last] != [version.content[name] for version in valid]:
            number = find_free_number(restored, notes)
            produced = max(self._repository.summary(version.seq).time / 1e9 for version in valid)
            shape = panel_shape_of(name, self._repository.panel_shape)
            blob = self._make_blob(name, valid, detector_shape(shape, len(valid)))
            built.append(DcsVersion(number, blob, produced, number))
            names = dict.fromkeys(version.name for version in valid)
            notes = add_line(notes, f"add version {number}: {' '.join(names)}", produced)
        return DcsRange(name_range(seconds), seconds, versions=tuple(built), notes=notes)

    def _group_by_number(self, name: str, versions: Sequence[Version]) -> dict[int, list[Version]]:
        """Return by number the versions of the panels that came from one version of a file of this detector."""
        detector = name_detector(self._panels)
        found: dict[tuple[int, float | None], dict[str, Version]] = {}
        for version in versions:
            origin = version.origin or {}
            if (origin.get("detector"), origin.get("type")) == (detector, name):
                found.setdefault((origin["number"], origin["produced"]), {})[version.panel] = version
        # If a number was used again, the later version gets it.
        return {
            number: [by_panel[panel] for panel in self._panels]
            for (number, _), by_panel in found.items()
            if len(by_panel) == len(self._panels)
        }

    def _make_blob(self, name: str, versions: Sequence[Version], shape: Sequence[int]) -> Blob:
        return Blob(calib_type(name).dtype, tuple(shape), partial(self._load, name, versions, tuple(shape)))

    def _load(self, name: str, versions: Sequence[Version], shape: tuple[int, ...]) -> NDArray[Any]:
        arrays = [self._repository.panel_array(version, name) for version in versions]
        return np.stack(arrays, axis=-3).reshape(shape)
