"""Name and find files in calibration directories, where psana reads constants.

Which file psana takes for a run says `jfstore.formats.calibdir`. ``HISTORY`` has a line for each deployment, and
``<run>-end.jfstore.json`` is the note of jfstore on a file, see `jfstore.deployment.note`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.errors import BadValue, Failed
from jfstore.formats.calibdir import GROUP, LAST_RUN, list_names, list_sources, parse_range

__all__ = [
    "GROUP",
    "HISTORY",
    "LAST_RUN",
    "CalibFile",
    "CalibFiles",
    "find_covering",
    "find_files",
    "find_preferred",
    "list_files_with_note",
    "list_sources",
]

HISTORY = "HISTORY"
_NOTE = ".jfstore.json"


@dataclass(frozen=True, slots=True, order=True)
class CalibFile:
    """A file of constants in a calibration directory, for one source and calibration type, from run `run` on.

    `last` is the last run, None for ``end``; `written` is the name if it is not the usual one (``0631-end.data``).
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
        """The last run for which psana takes the file."""
        return LAST_RUN if self.last is None else self.last

    @property
    def directory(self) -> Path:
        return self.calibdir / GROUP / self.source / self.type

    @property
    def path(self) -> Path:
        return self.directory / self.name

    @property
    def note(self) -> Path:
        """Path of the note beside the file."""
        return self.directory / f"{self.name.removesuffix('.data')}{_NOTE}"


@dataclass(frozen=True, slots=True)
class CalibFiles:
    """The files of gains and offsets in a calibration directory, names that psana does not read, and directories
    that cannot be read, with the reason."""

    files: tuple[CalibFile, ...]
    ignored: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


def find_files(calibdir: Path) -> CalibFiles:
    """Return the files in a calibration directory; BadValue if there is no such directory."""
    if not calibdir.is_dir():
        raise BadValue(f"{calibdir} is not a directory")
    found: list[CalibFile] = []
    ignored: list[str] = []
    problems: list[tuple[str, str]] = []

    def names(directory: Path) -> list[str]:
        try:
            return list_names(directory)
        except Failed as error:
            problems.append((str(directory), error.message.removeprefix(f"{directory}: ")))
            return []

    for source in names(calibdir / GROUP):
        for calib_type in CALIB_TYPES:
            for name in names(calibdir / GROUP / source / calib_type):
                file = parse_name(calibdir, source, calib_type, name)
                if file:
                    found.append(file)
                elif name.endswith(".data"):
                    ignored.append(str(calibdir / GROUP / source / calib_type / name))
    found.sort(key=lambda file: (file.source, file.type, file.run, file.end))
    return CalibFiles(tuple(found), tuple(ignored), tuple(problems))


def parse_name(calibdir: Path, source: str, calib_type: str, name: str) -> CalibFile | None:
    """Return the file with that name, None if psana does not read it."""
    runs = parse_range(name)
    return None if runs is None else CalibFile(calibdir, source, calib_type, *runs, name)


def find_preferred(file: CalibFile) -> CalibFile | None:
    """Return the file that psana takes instead of `file` for its first run, None if psana takes `file`."""
    names = list_names(file.directory)
    others = [parse_name(file.calibdir, file.source, file.type, name) for name in names if name != file.name]
    shorter = [other for other in others if other and other.run == file.run <= other.end <= file.end]
    return min(shorter, key=lambda other: other.end, default=None)


def find_covering(file: CalibFile, run: int) -> CalibFile | None:
    """Return the file that psana takes for `run` if it does not take `file`, None if there is no other."""
    names = list_names(file.directory)
    others = [parse_name(file.calibdir, file.source, file.type, name) for name in names if name != file.name]
    covering = [other for other in others if other and other.run <= run <= other.end]
    return max(covering, key=lambda other: (other.run, -other.end), default=None)


def list_files_with_note(calibdir: Path, source: str, calib_type: str, run: int) -> list[CalibFile]:
    """Return the files for a run and later ones, up to any last run, that have a note."""
    directory = CalibFile(calibdir, source, calib_type, run).directory
    names = [f"{name.removesuffix(_NOTE)}.data" for name in list_names(directory) if name.endswith(_NOTE)]
    found = [(name, runs) for name in names if (runs := parse_range(name))]
    files = [(name, CalibFile(calibdir, source, calib_type, *runs)) for name, runs in found if runs[0] == run]
    return [file for name, file in files if file.name == name]
