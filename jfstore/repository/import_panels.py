"""Import panel repositories of LCLS-II: text files by panel, calibration type and gain range."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore.core.arrays import Checked
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.errors import BadValue, Failed
from jfstore.formats.panel_repository import (
    DETECTOR_TYPE,
    PanelDark,
    PanelRepository,
    TypeSources,
    scan_panel_repository,
)
from jfstore.formats.panel_texts import PanelTexts
from jfstore.repository.adding import Added, Entry, missing_type_notes, require_about
from jfstore.repository.asked_types import check_types
from jfstore.repository.dark_runs import DarkRuns

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository

Place = str | os.PathLike[str]
Progress = Callable[[int, int], None]

KIND = "panels"
"""The ``kind`` in the origin of versions that come from a panel repository."""


def import_panel_repository(
    repository: ExchangingRepository,
    path: Place,
    message: str,
    *,
    types: Sequence[str] | str | None = None,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import a panel repository of LCLS-II in one commit.

    The constants of a panel from one dark run become a version with all their calibration types, which starts with the
    run. What cannot be stored is skipped, and so is content that the panel and stamp ever held, so that an import can
    be repeated. The files of the gain ranges come before merged files, which fill in what has no such files.

    Parameters
    ----------
    path : path
        The repository, its directory ``jungfrau``, or the directory of one panel.
    message, accept, request, dry_run
        As for `Repository.add`.
    types : sequence of str, optional
        The calibration types to import (default: all).
    about : mapping of str to str, optional
        Short texts by key that every version carries, besides the run's experiment and number, the segment and the
        short name of the detector.
    progress : callable
        Called with the number of panels and runs that are done, and their total.

    Returns
    -------
    Added
        With the names that were skipped.

    Raises
    ------
    BadValue
        If `path` is not a directory, or a type or text is not acceptable.
    JfstoreError
        As for `Repository.add_entries`; Failed if the directory cannot be read.
    """
    texts = require_about(about)
    names = check_types(types) or tuple(CALIB_TYPES)
    found = scan_panel_repository(Path(path), repository.zone, repository.panel_shape[0], names)
    reader = _Reader(repository.panel_shape, found, os.path.abspath(path), texts)
    options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run}
    added = repository.add_entries(reader.read(progress), message, once=True, **options)
    notes = (*found.notes, *added.notes, *missing_type_notes(added.versions))
    if not found.darks:
        notes += (f"nothing in {os.fspath(path)} is <panel Id>/<type>/<file> of a panel{_suggest(Path(path))}",)
    if reader.copies:
        notes += (f"{reader.copies} merged arrays have the constants of earlier runs, and add nothing",)
    notes += tuple(reader.dark_runs.make_notes())
    return replace(added, skipped=tuple(reader.skipped.items()), notes=notes)


def _suggest(root: Path) -> str:
    below = root / "detector" / "calib2" / "constants"
    return f"; did you mean {below}?" if (below / DETECTOR_TYPE).is_dir() else ""


class _Reader:
    """Reads the entries of an import one by one, and notes what cannot be stored."""

    def __init__(
        self, shape: tuple[int, int, int], found: PanelRepository, path: str, about: Mapping[str, str]
    ) -> None:
        self.skipped = dict(found.problems)
        self._found, self._path, self._about = found, path, about
        self._texts = PanelTexts(shape)
        self._panel, self._earlier = "", dict[str, TypeSources]()
        self.copies = 0
        self.dark_runs = DarkRuns()

    def read(self, progress: Progress) -> Iterator[Entry]:
        darks = self._found.darks
        # A thread parses the next texts while an entry is stored, which waits for the disk.
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(self._read_arrays, darks[0]) if darks else None
            for done, dark in enumerate(darks):
                progress(done, len(darks))
                assert following
                arrays = following.result()
                following = ahead.submit(self._read_arrays, darks[done + 1]) if dark is not darks[-1] else None
                if arrays:
                    yield self._make_entry(dark, arrays)
        self._look_at_unknown()
        progress(len(darks), len(darks))

    def _look_at_unknown(self) -> None:
        """Report the panels in merged files of detectors that no directory tells."""
        for source, known in self._found.merged:
            try:
                for place in self._texts.find_unknown(source, known) if known else ():
                    reason = "no panel's directory has a file of this segment and run, so that its panel is not known"
                    self.skipped[f"{source.label} segment {place}"] = reason
            except (BadValue, Failed) as error:
                self.skipped[source.label] = error.message

    def _read_arrays(self, dark: PanelDark) -> dict[str, Checked]:
        if dark.panel != self._panel:
            self._panel, self._earlier = dark.panel, {}
        arrays = {}
        for name, sources in dark.types.items():
            try:
                earlier = self._earlier.get(name)
                if earlier and not sources.gains and self._texts.is_copy(name, sources, earlier):
                    self.copies += 1
                    continue
                arrays[name] = self._texts.read(name, sources)
                self.skipped.update(self._texts.find_differences(name, sources))
            except (BadValue, Failed) as error:
                self.skipped[sources.label] = error.message
            else:
                if sources.gains:
                    self._earlier[name] = sources
        return arrays

    def _make_entry(self, dark: PanelDark, arrays: Mapping[str, Checked]) -> Entry:
        run = dark.run
        about = {
            "experiment": run.experiment,
            "run": str(run.run),
            "segment": str(dark.segment),
            "detector": run.detector,
        }
        sources = [dark.types[name] for name in arrays]
        origin = {
            "kind": KIND,
            "version": dark.label,
            "path": self._path,
            "files": [one.label for source in sources for one in source.gains or source.merged[:1]],
        }
        stored = self.dark_runs.name_types(arrays, run.experiment, run.run, dark.panel)
        return Entry(dark.panel, dark.start, stored, dark.label, origin, {**about, **self._about})
