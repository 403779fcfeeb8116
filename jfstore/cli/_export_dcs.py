"""``jfstore export --format dcs``: what a repository holds of a detector, as a file of the store holds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jfstore.errors import NotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jfstore.core.records import Version
    from jfstore.dcs.model import Blob, DcsContents, DcsRange, DcsType, DcsVersion
    from jfstore.repository import Repository


def dcs_contents(repository: Repository, detector: str, where: str) -> DcsContents:
    """Return what a file of `detector` holds; its arrays are read when they are written.

    Raises
    ------
    NotFound
        If there never are constants of all its panels.
    """
    from jfstore.core.calib_types import CALIB_TYPES
    from jfstore.core.ids import resolve_detector
    from jfstore.dcs.edit import noted
    from jfstore.dcs.model import DcsContents, Notes
    from jfstore.dcs.panels import JUNGFRAU

    now = time.time()
    table = repository.log.table()
    panels = tuple(map(str, resolve_detector(detector, table.panel_rows)))
    exporter = _Exporter(repository, panels, now)
    types = [held for name in sorted(CALIB_TYPES) if (held := exporter.type(name)).ranges]
    if not types:
        raise NotFound(f"{repository.storage.location} has no constants that are valid for all panels of {detector}")
    notes = Notes()
    for held in types:
        notes = noted(notes, f"add ctype {held.name}: ", now)
    return DcsContents(
        where=where,
        detector_type=JUNGFRAU,
        detector_id="_".join(panels),
        created=now,
        types=tuple(types),
        notes=notes,
    )


class _Exporter:
    """Makes what a file holds of the versions of some panels."""

    def __init__(self, repository: Repository, panels: Sequence[str], now: float) -> None:
        self._repository, self._panels, self._now = repository, panels, now
        table = repository.log.table()
        rows = [row for panel in panels for row in table.rows(panel).tolist()]
        seqs = sorted(set(table.versions["seq"][rows].tolist()))
        # With their origins, which only the commits know.
        self._versions = [
            version for seq in seqs for version in repository.commit(seq).versions if version.panel in panels
        ]
        self._produced = {seq: repository.summary(seq).time / 1e9 for seq in seqs}

    def type(self, name: str) -> DcsType:
        """Return a calibration type with a range for each begin at which all panels have constants."""
        from jfstore.dcs.edit import noted
        from jfstore.dcs.model import DcsType, Notes

        held = [version for version in self._versions if name in version.content]
        ranges: dict[str, DcsRange] = {}
        for start in sorted({version.start for version in held}):
            made = self._range(name, start, [version for version in held if version.start == start])
            # What is valid from the beginning on is hidden by what is valid from 1970 on.
            if made:
                ranges[made.key] = made
        notes = Notes()
        for key in sorted(ranges):
            notes = noted(notes, f"add range {key}: exp=unknown:run=0", self._now)
        return DcsType(name, tuple(ranges[key] for key in sorted(ranges)), notes)

    def _range(self, name: str, start: int, there: Sequence[Version]) -> DcsRange | None:
        from jfstore.core.instants import BEGINNING
        from jfstore.dcs.edit import is_note, merged, next_number, noted
        from jfstore.dcs.model import DcsRange, Notes, range_key

        try:
            valid = self._valid(name, start)
        except NotFound:
            return None
        restored = self._restored(name, there)
        notes = Notes()
        parameters: dict[str, Any] = {"experiment": "unknown", "run": "0"}
        seconds = 0.0 if start == BEGINNING else start / 1e9
        versions = []
        for number in sorted(restored):
            origin = restored[number][0].origin or {}
            # What a file cannot hold, of a version that was imported when it was taken, is left out.
            told = {key: value for key, value in origin.get("parameters", {}).items() if is_note(value)}
            notes = merged(notes, {key: text for key, text in origin.get("history", {}).items() if is_note(text)})
            parameters |= told
            seconds = origin["begin"]
            load = partial(self._assembled, restored[number], name)
            versions.append(_version(number, _blob(load, origin["shape"]), origin["produced"]))
        notes = replace(notes, parameters=parameters)
        last = restored[max(restored)] if restored else ()
        if [version.array(name).blake3 for version in last] != [version.array(name).blake3 for version in valid]:
            number = next_number(restored, notes)
            produced = max(self._produced[version.seq] for version in valid)
            shape = valid[0].array(name).shape
            load = partial(self._assembled, valid, name)
            versions.append(_version(number, _blob(load, (shape[0], len(valid), *shape[1:])), produced))
            named = dict.fromkeys(version.name for version in valid)
            notes = noted(notes, f"add version {number}: {' '.join(named)}", produced)
        return DcsRange(range_key(seconds), seconds, versions=tuple(versions), notes=notes)

    def _valid(self, name: str, start: int) -> list[Version]:
        """Return the version of each panel that is valid at `begin`."""
        from jfstore.core.validity import select

        repository = self._repository
        table = repository.log.table()
        return [select(table, panel, start, name, repository.zone).version for panel in self._panels]

    def _restored(self, name: str, there: Sequence[Version]) -> dict[int, list[Version]]:
        """Return by number the versions of the panels that came from one version of a file of this detector."""
        from jfstore.dcs.panels import detector_name

        detector = detector_name(self._panels)
        found: dict[tuple[int, float | None], dict[str, Version]] = {}
        for version in there:
            origin = version.origin or {}
            if (origin.get("detector"), origin.get("type")) == (detector, name):
                found.setdefault((origin["number"], origin["produced"]), {})[version.panel] = version
        # Of a number that was used again the later one.
        return {
            number: [by_panel[panel] for panel in self._panels]
            for (number, _), by_panel in found.items()
            if len(by_panel) == len(self._panels)
        }

    def _assembled(self, versions: Sequence[Version], name: str) -> NDArray[Any]:
        import numpy as np

        return np.stack([self._repository.panel_array(version, name) for version in versions], axis=1)


def _blob(load: Callable[[], NDArray[Any]], shape: Sequence[int]) -> Blob:
    from jfstore.dcs.model import Blob

    return Blob("<f4", tuple(shape), lambda: load().reshape(shape))


def _version(number: int, blob: Blob, produced: float | None) -> DcsVersion:
    from jfstore.dcs.model import DcsVersion

    return DcsVersion(number, blob, produced, number)
