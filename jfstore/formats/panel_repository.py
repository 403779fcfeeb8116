"""Find the constants in panel repositories of LCLS-II: directories of text files by panel and calibration type.

The layout is that of RepoManager in psana of lcls2. A panel's files are
``jungfrau/<panel Id>/<type>/<detector>-s<segment>-<stamp>-<experiment>-r<run>-<type>-g<gain>.data``, and the three
gain ranges in one ``...-<type>.txt``. Merged files of a whole detector are
``jungfrau/merge_tmp/<detector>-<stamp>-<experiment>-r<run>-<type>.txt``. The stamp is the start of the dark run, in
local time. A name is read from its end, so that the detector's short name may have dashes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from jfstore.core.calib_types import CALIB_TYPES, calib_type
from jfstore.core.ids import parse_panel
from jfstore.core.instants import Instant, parse_instant
from jfstore.errors import BadValue, Failed, JfstoreError

DETECTOR_TYPE = "jungfrau"
"""Name of the directory of all Jungfrau panels in a repository."""

_PANEL = re.compile(r"[0-9a-fA-F]*-[0-9a-fA-F]*-[0-9a-fA-F]*", re.ASCII)
_RUN = r"(?P<stamp>[0-9]{14})-(?P<experiment>[A-Za-z0-9_]{1,64})-r(?P<run>[0-9]{4,9})-(?P<type>[A-Za-z0-9_]+)"
_SHORT = r"(?P<detector>[A-Za-z0-9_.:+-]+)"
_OF_PANEL = re.compile(rf"{_SHORT}-s(?P<segment>[0-9]{{2,4}})-{_RUN}(?:-g(?P<gain>[0-9])\.data|\.txt)", re.ASCII)
_OF_DETECTOR = re.compile(rf"{_SHORT}-{_RUN}\.txt", re.ASCII)
_MERGED = "merge_tmp"
_PASSED_OVER = frozenset({"block_results", "constants", "logs", "plots"})
"""Directories of results and logs, which hold no constants of a panel."""


@dataclass(frozen=True, slots=True, order=True)
class DarkRun:
    """The run that constants come from, as the names of files tell it."""

    stamp: str
    experiment: str
    run: int
    detector: str  # the short name


@dataclass(frozen=True, slots=True)
class TextSource:
    """One text file, or the part of one that belongs to one panel.

    Attributes
    ----------
    label : str
        Its name below the root, for people.
    path : Path
        The file, without links.
    place : int or None
        Which panel of the file; None if the file has one gain range of one panel.
    """

    label: str
    path: Path
    place: int | None = None


@dataclass(frozen=True, slots=True)
class TypeSources:
    """Where the constants of one panel, run and calibration type are.

    `gains` are the files of the gain ranges, none or all, and `merged` are files of all gain ranges.
    """

    label: str
    gains: tuple[TextSource, ...]
    merged: tuple[TextSource, ...]


@dataclass(frozen=True, slots=True)
class PanelDark:
    """The constants of one panel from one run, by calibration type."""

    panel: str
    start: Instant
    run: DarkRun
    segment: int
    label: str
    types: Mapping[str, TypeSources]


@dataclass(frozen=True, slots=True)
class PanelRepository:
    """The contents of a panel repository."""

    darks: tuple[PanelDark, ...]  # ordered by panel and start
    merged: tuple[tuple[TextSource, frozenset[int]], ...]  # merged files of detectors, and the segments that are known
    problems: Mapping[str, str]  # what is wrong with each of the other names
    notes: tuple[str, ...] = ()


def scan_panel_repository(
    root: Path, zone: ZoneInfo, gains: int = 3, types: Collection[str] = tuple(CALIB_TYPES)
) -> PanelRepository:
    """Return what is in a panel repository; no file is opened.

    Parameters
    ----------
    root : Path
        The repository, its directory ``jungfrau``, or the directory of one panel.
    zone : ZoneInfo
        The time zone of the stamps.
    gains : int
        How many gain ranges a panel has.
    types : collection of str
        The calibration types that matter.

    Raises
    ------
    BadValue
        If `root` is not a directory.
    Failed
        If it cannot be read.
    """
    return _Scan(root, gains, types).find(zone)


@dataclass(slots=True)
class _Found:
    """The files of one panel, run and type: by gain range, and merged."""

    gains: dict[int, TextSource] = field(default_factory=dict)
    merged: list[TextSource] = field(default_factory=list)


class _Scan:
    """Looks through the directories of a panel repository."""

    def __init__(self, root: Path, gains: int, types: Collection[str]) -> None:
        self._root, self._gains, self._types = root, gains, types
        self._base = Path(os.path.realpath(root))
        self._problems: dict[str, str] = {}
        self._found: dict[tuple[str, DarkRun, int], dict[str, _Found]] = {}
        self._labels: dict[tuple[str, DarkRun, int], str] = {}
        self._panels: dict[DarkRun, dict[int, set[str]]] = {}
        self._of_detectors: list[tuple[DarkRun, str, TextSource]] = []

    def find(self, zone: ZoneInfo) -> PanelRepository:
        try:
            names = os.listdir(self._base)
        except (FileNotFoundError, NotADirectoryError):
            raise BadValue(f"{self._root} is not a directory") from None
        except OSError as error:
            raise Failed(f"{self._root}: {error.strerror}") from None
        place = self._base
        if DETECTOR_TYPE in names:
            if _MERGED in names:
                self._look_at_merged_files(place / _MERGED, _MERGED)
            place = self._base / DETECTOR_TYPE
        if place == self._base and _PANEL.fullmatch(place.name) and not any(map(_PANEL.fullmatch, names)):
            self._look_at_panel(place, "", place.name)
        else:
            self._look_at_detectors(place, "" if place == self._base else f"{DETECTOR_TYPE}/")
        self._assign_merged_files()
        darks = sorted(self._make_darks(zone), key=lambda dark: (dark.panel, dark.start, dark.run, dark.segment))
        notes = dict.fromkeys(dark.start.note for dark in darks if dark.start.note)
        merged = tuple((source, frozenset(self._panels.get(run, ()))) for run, _, source in self._of_detectors)
        return PanelRepository(tuple(darks), merged, dict(sorted(self._problems.items())), tuple(notes))

    # -- directories

    def _look_at_detectors(self, place: Path, prefix: str) -> None:
        for name, path in self._list(place, prefix.rstrip("/")):
            label = f"{prefix}{name}"
            if _PANEL.fullmatch(name):
                self._look_at_panel(path, f"{label}/", name)
            elif name == _MERGED:
                self._look_at_merged_files(path, label)
            elif name not in _PASSED_OVER and not name.startswith(".aliases_"):
                self._problems[label] = "not the directory of a panel: its name is not a panel Id"

    def _look_at_panel(self, place: Path, prefix: str, name: str) -> None:
        try:
            panel = str(parse_panel(name))
        except BadValue as error:
            self._problems[prefix.rstrip("/")] = error.message
            return
        for kind, path in self._list(place, prefix.rstrip("/")):
            label = f"{prefix}{kind}"
            if kind in _PASSED_OVER:
                continue
            try:
                if "gain" not in calib_type(kind).axes:
                    raise BadValue("a type without gain ranges, which these repositories do not have")
            except BadValue as error:
                self._problems[label] = error.message
                continue
            for file, target in self._list(path, label):
                self._look_at_file(panel, kind, f"{label}/{file}", target)

    def _look_at_file(self, panel: str, kind: str, label: str, path: Path) -> None:
        match = _OF_PANEL.fullmatch(os.path.basename(label))
        if not match:
            self._problems[label] = (
                "not <detector>-s<segment>-<stamp>-<experiment>-r<run>-<type>-g<gain range>.data, or -<type>.txt"
            )
            return
        run, segment = _run_of(match), int(match["segment"])
        self._panels.setdefault(run, {}).setdefault(segment, set()).add(panel)
        if kind not in self._types:
            return
        if match["type"] != kind:
            self._problems[label] = f"its name says {match['type']}, and its directory {kind}"
            return
        key = panel, run, segment
        self._labels.setdefault(key, f"{panel}/{label.rpartition('/')[2][: match.start('type') - 1]}")
        found = self._found.setdefault(key, {}).setdefault(kind, _Found())
        if match["gain"] is None:
            found.merged.append(TextSource(label, path, 0))
        elif (gain := int(match["gain"])) >= self._gains:
            self._problems[label] = f"a panel has the gain ranges 0 to {self._gains - 1}"
        elif gain in found.gains and found.gains[gain].path != path:
            self._problems[label] = f"{found.gains[gain].label} is of the same panel, run and gain range"
        else:
            found.gains[gain] = TextSource(label, path)

    def _look_at_merged_files(self, place: Path, label: str) -> None:
        """Find merged files of detectors in the directory for them."""
        for name, path in self._list(place, label):
            match = _OF_DETECTOR.fullmatch(name)
            if name.endswith(".json"):
                continue  # metadata of the file beside it
            if not match or _OF_PANEL.fullmatch(name):
                self._problems[f"{label}/{name}"] = "not <detector>-<stamp>-<experiment>-r<run>-<type>.txt"
                continue
            try:
                calib_type(match["type"])
            except BadValue as error:
                self._problems[f"{label}/{name}"] = error.message
                continue
            if match["type"] in self._types:
                self._of_detectors.append((_run_of(match), match["type"], TextSource(f"{label}/{name}", path)))

    def _list(self, directory: Path, label: str) -> Iterator[tuple[str, Path]]:
        """Yield the names in a directory, and where links lead; what leads out of the root is a problem."""
        try:
            target = self._resolve(directory)
            names = sorted(os.listdir(target))
        except JfstoreError as error:
            self._problems[label or "."] = error.message
            return
        except NotADirectoryError:
            self._problems[label or "."] = "not a directory"
            return
        except OSError as error:
            self._problems[label or "."] = error.strerror or str(error)
            return
        for name in names:
            path = target / name
            try:
                yield name, self._resolve(path) if path.is_symlink() else path
            except BadValue as error:
                self._problems[f"{label}/{name}" if label else name] = error.message

    def _resolve(self, path: Path) -> Path:
        target = Path(os.path.realpath(path))
        if target != self._base and self._base not in target.parents:
            raise BadValue(f"leads out of the repository, to {target}")
        return target

    # -- darks

    def _assign_merged_files(self) -> None:
        """Give each panel its part of the merged files of detectors, whose names do not say which panels they have."""
        for run, kind, source in self._of_detectors:
            segments = self._panels.get(run, {})
            if not segments:
                reason = (
                    "no panel's directory has a file of this detector, run and stamp, so that its panels are not known"
                )
                self._problems[source.label] = reason
            for segment, panels in segments.items():
                if len(panels) > 1:
                    reason = f"segment {segment} is of several panels, {' and '.join(sorted(panels))}"
                    self._problems[f"{source.label} segment {segment}"] = reason
                    continue
                key = next(iter(panels)), run, segment
                self._labels.setdefault(key, source.label)
                found = self._found.setdefault(key, {}).setdefault(kind, _Found())
                found.merged.append(TextSource(f"{source.label} segment {segment}", source.path, segment))

    def _make_darks(self, zone: ZoneInfo) -> Iterator[PanelDark]:
        self._reject_ambiguous()
        for (panel, run, segment), types in self._found.items():
            label = self._labels[panel, run, segment]
            complete = {
                kind: sources for kind, found in types.items() if (sources := self._complete(label, kind, found))
            }
            if not complete:
                continue
            try:
                start = parse_instant(run.stamp, zone)
            except BadValue as error:
                self._problems[label] = error.message
                continue
            yield PanelDark(panel, start, run, segment, label, complete)

    def _complete(self, label: str, kind: str, found: _Found) -> TypeSources | None:
        """Return the files of a type; None if one of them is missing."""
        missing = [f"g{gain}" for gain in range(self._gains) if gain not in found.gains]
        if found.gains and missing:
            file = next(iter(found.gains.values())).label
            for name in missing:
                self._problems.setdefault(
                    f"{file[: -len('g0.data')]}{name}.data", "no such file, and all gain ranges are needed"
                )
            return None
        if not found.gains and not found.merged:
            return None
        gains = tuple(source for _, source in sorted(found.gains.items()))
        return TypeSources(f"{label}-{kind}", gains, tuple(found.merged))

    def _reject_ambiguous(self) -> None:
        """Drop types that a panel has twice for one stamp: from two runs, segments or detectors."""
        keys: dict[tuple[str, str, str], list[tuple[str, DarkRun, int]]] = {}
        for key, types in self._found.items():
            for kind in types:
                keys.setdefault((key[0], key[1].stamp, kind), []).append(key)
        for (_, _, kind), several in keys.items():
            if len(several) < 2:
                continue
            for key in several:
                other = self._labels[next(one for one in several if one != key)]
                reason = f"{other} has the same panel and stamp, but another run, segment or detector"
                self._problems[f"{self._labels[key]}-{kind}"] = reason
                del self._found[key][kind]


def _run_of(match: re.Match[str]) -> DarkRun:
    return DarkRun(match["stamp"], match["experiment"], int(match["run"]), match["detector"])
