"""Calibration directories, where psana reads constants: names and places.

Constants of a run and those after it lie in ``CALIBDIR/Jungfrau::CalibV1/<source>/<type>/<run>-end.data``, or
``<run>-<last run>.data``; of those that hold a run psana takes the one that begins last, and of these the one that
ends first. Only names that end in ``.data`` count. ``HISTORY`` beside them has a line for each deployment, and
``<run>-end.jfstore.json`` is what jfstore notes of a file, see `notes`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.errors import BadValue, Failed

GROUP = "Jungfrau::CalibV1"
HISTORY = "HISTORY"
LAST_RUN = 9999
"""psana reads no file whose name has a greater number."""

_NAME = re.compile(r"([0-9]{1,9})-(end|[0-9]{1,9})\.data", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class CalibFile:
    """A file of constants in a calibration directory: of which source and calibration type, from which run on.

    `last` is the last run, None for ``end``; `written` its name where that is not the usual one (``0631-end.data``).
    """

    calibdir: Path
    source: str
    type: str
    run: int
    last: int | None = None
    written: str | None = None

    def __post_init__(self) -> None:
        if self.source in ("", ".", "..") or "/" in self.source or "\0" in self.source:
            raise BadValue(f"{self.source!r} is not a source, such as XcsEndstation.0:Jungfrau.0")
        if not 0 <= self.run <= LAST_RUN:
            raise BadValue(f"run {self.run}: psana reads no constants of runs after {LAST_RUN}")

    @property
    def name(self) -> str:
        return self.written or f"{self.run}-{'end' if self.last is None else self.last}.data"

    @property
    def end(self) -> int:
        """The last run that psana takes it for."""
        return LAST_RUN if self.last is None else self.last

    @property
    def directory(self) -> Path:
        return self.calibdir / GROUP / self.source / self.type

    @property
    def path(self) -> Path:
        return self.directory / self.name

    @property
    def note(self) -> Path:
        """Path of the note beside it."""
        return self.directory / f"{self.name.removesuffix('.data')}.jfstore.json"


def sources(calibdir: Path) -> list[str]:
    """Return the sources that a calibration directory has constants of; Failed if it cannot be read."""
    return [name for name in _listed(calibdir / GROUP) if (calibdir / GROUP / name).is_dir()]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a calibration directory has: its files of gains and offsets, names that psana does not read, and
    directories that cannot be read, with the reason."""

    files: tuple[CalibFile, ...]
    ignored: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


def files(calibdir: Path) -> Listing:
    """Return what a calibration directory has; BadValue if there is no such directory."""
    if not calibdir.is_dir():
        raise BadValue(f"{calibdir} is not a directory")
    found: list[CalibFile] = []
    ignored: list[str] = []
    problems: list[tuple[str, str]] = []

    def listed(directory: Path) -> list[str]:
        try:
            return _listed(directory)
        except Failed as error:
            problems.append((str(directory), error.message.removeprefix(f"{directory}: ")))
            return []

    for source in listed(calibdir / GROUP):
        for calib_type in CALIB_TYPES:
            for name in listed(calibdir / GROUP / source / calib_type):
                file = file_named(calibdir, source, calib_type, name)
                if file:
                    found.append(file)
                elif name.endswith(".data"):
                    ignored.append(str(calibdir / GROUP / source / calib_type / name))
    found.sort(key=lambda file: (file.source, file.type, file.run, file.end))
    return Listing(tuple(found), tuple(ignored), tuple(problems))


def file_named(calibdir: Path, source: str, calib_type: str, name: str) -> CalibFile | None:
    """Return the file of that name, None if psana does not read it."""
    match = _NAME.fullmatch(name)
    last = None if not match or match[2] == "end" else int(match[2])
    if not match or int(match[1]) > LAST_RUN or (last or 0) > LAST_RUN:
        return None
    return CalibFile(calibdir, source, calib_type, int(match[1]), last, name)


def preferred_to(file: CalibFile) -> CalibFile | None:
    """Return the file that psana takes in place of `file` for its first run, None if it takes `file`."""
    names = _listed(file.directory)
    others = [file_named(file.calibdir, file.source, file.type, name) for name in names if name != file.name]
    beside = [other for other in others if other and other.run == file.run <= other.end <= file.end]
    return min(beside, key=lambda other: other.end, default=None)


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Failed(f"{directory}: {error.strerror}") from None
