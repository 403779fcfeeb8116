"""Read psana1's calibration directories: which file holds for which runs, and the constants in it.

The constants of a run and later runs are in ``CALIBDIR/Jungfrau::CalibV1/<source>/<type>/<run>-end.data``, or up to a
last run in ``<run>-<last run>.data``. Of the files whose range holds a run, psana takes the one that starts last, and
of these the one that ends first. Only names that end in ``.data`` count; those with a run over 9999 do not, and later
runs get the constants of run 9999. The files are text, see `jfstore.formats.text`: psana1 reads nothing else there.

The rules are those of PSCalib's ``CalibFileFinder.py``, ``GenericCalibPars.py`` and ``NDArrIO.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import Checked, check_array
from jfstore.core.calib_types import calib_type, panel_shape_of
from jfstore.core.hashing import digest
from jfstore.errors import BadValue, Failed
from jfstore.formats.text import parse_text
from jfstore.fs.files import read_regular, user_errors

GROUP = "Jungfrau::CalibV1"
"""The directory of the Jungfraus in a calibration directory."""

LAST_RUN = 9999
"""psana reads no file whose name has a greater number."""

_NAME = re.compile(r"([0-9]+)-(end|[0-9]+)\.data", re.ASCII)
_NAME_LIMIT = 250
_NOT_READ = f"psana reads only <run>-end.data and <run>-<last run>.data, with runs up to {LAST_RUN}"
_HEADER_LIMIT = 1 << 20
_VALUE_LIMIT = 32
"""A value takes at most this many bytes of text, with its separator; float64 in full takes 25."""


@dataclass(frozen=True, slots=True)
class RangeFile:
    """A file of constants for one source and calibration type, and the runs that its name promises.

    Attributes
    ----------
    source, type, name : str
        Names of its directories, and its own.
    path : Path
        Where it is, links followed.
    first, last : int
        The first and the last run; `LAST_RUN` for ``end``.
    problem : str or None
        Why its constants are of no use, if that is known from its name already.
    """

    source: str
    type: str
    name: str
    path: Path
    first: int
    last: int
    problem: str | None = None

    @property
    def label(self) -> str:
        """``<source>/<type>/<name>``."""
        return f"{self.source}/{self.type}/{self.name}"

    @property
    def range(self) -> str:
        """The range as the name has it, such as ``631-end``."""
        return self.name.removesuffix(".data")


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files of one source by calibration type.

    `problems` has the reason for each name that is of no use. The directories of the types in `unknown`, of all types
    if it is None, cannot be read, so that nobody knows what psana would take.
    """

    files: Mapping[str, tuple[RangeFile, ...]]
    problems: Mapping[str, str]
    unknown: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class FileConstants:
    """The constants in a file: for each panel, in order, what may be stored; its size in bytes, and its BLAKE3."""

    panels: tuple[Checked, ...]
    size: int
    blake3: str


def parse_range(name: str) -> tuple[int, int | None] | None:
    """Return first and last run of a file's name, the last one None for ``end``; None if psana does not read it."""
    match = _NAME.fullmatch(name)
    if not match or len(name) > _NAME_LIMIT:
        return None
    first, last = int(match[1]), None if match[2] == "end" else int(match[2])
    return None if max(first, last or 0) > LAST_RUN else (first, last)


def find_choice(files: Sequence[RangeFile], run: int) -> tuple[RangeFile, ...]:
    """Return the file that psana takes for a run, none if there is none.

    There are several if their ranges are equal (``0631-end.data`` beside ``631-end.data``): psana takes the one that
    the directory happens to list last.
    """
    number = min(run, LAST_RUN)
    fitting = [file for file in files if file.first <= number <= file.last]
    best = max(((file.first, -file.last) for file in fitting), default=None)
    return tuple(file for file in fitting if (file.first, -file.last) == best)


def list_sources(calibdir: Path) -> list[str]:
    """Return the sources in a calibration directory; Failed if it cannot be read."""
    return [name for name in list_names(calibdir / GROUP) if (calibdir / GROUP / name).is_dir()]


def list_names(directory: Path) -> list[str]:
    """Return the names in a directory, none if there is no such directory; Failed if it cannot be read."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Failed(f"{directory}: {error.strerror}") from None


def scan_source(calibdir: Path, source: str) -> SourceFiles:
    """Return the files of a source, and the names below its directory that are of no use.

    Names that do not end in ``.data``, such as ``HISTORY``, copies and notes, are passed over, as psana does.
    """
    base = Path(os.path.realpath(calibdir))
    files: dict[str, tuple[RangeFile, ...]] = {}
    problems: dict[str, str] = {}
    try:
        types = _list_within(base, calibdir / GROUP / source)
    except Failed as error:
        return SourceFiles({}, {source: error.message}, None)
    unknown = set()
    for name in types:
        place = calibdir / GROUP / source / name
        try:
            names = [entry for entry in _list_within(base, place) if entry.endswith(".data")]
        except Failed as error:
            unknown.add(name)
            problems[f"{source}/{name}"] = error.message
            continue
        found = [(entry, _make_file(place, base, source, name, entry)) for entry in names]
        if refusal := _refuse_type(name):
            problems.update({f"{source}/{name}": refusal} if any(file for _, file in found) else {})
            continue
        files[name] = tuple(file for _, file in found if file)
        problems.update((f"{source}/{name}/{entry}", _NOT_READ) for entry, file in found if not file)
    return SourceFiles(files, problems, frozenset(unknown))


def _list_within(base: Path, directory: Path) -> list[str]:
    """Return the names in a directory; Failed if it leads out of the directory `base`, or cannot be read."""
    if os.path.isdir(directory) and base not in _resolve(directory).parents:
        raise Failed(f"leads out of the calibration directory, to {_resolve(directory)}")
    return list_names(directory)


def _make_file(directory: Path, base: Path, source: str, type_name: str, name: str) -> RangeFile | None:
    """Return a file by its name; None if psana does not read it."""
    runs = parse_range(name)
    if runs is None:
        return None
    path = _resolve(directory / name)
    problem = None if base in path.parents else f"leads out of the calibration directory, to {path}"
    return RangeFile(source, type_name, name, path, runs[0], LAST_RUN if runs[1] is None else runs[1], problem)


def _refuse_type(name: str) -> str | None:
    """Return why files of a calibration type are of no use, None if they are."""
    try:
        return None if calib_type(name).psana1 else "psana1 does not read this calibration type"
    except BadValue as error:
        return error.message


def _resolve(path: Path) -> Path:
    """Return a path with links followed; of a loop of links, the path itself."""
    return Path(os.path.realpath(path))


def read_constants(file: RangeFile, panel_shape: tuple[int, int, int], most_panels: int) -> FileConstants:
    """Read the constants of a file, for each panel.

    Parameters
    ----------
    file : RangeFile
        The file.
    panel_shape : tuple of int
        (gain, row, column) of a panel.
    most_panels : int
        How many panels it may have; a file that is too large for that is not read.

    Raises
    ------
    BadValue
        If the file has a problem, is missing, malformed or too large, or its array cannot be that of panels.
    Failed
        If it cannot be read.
    """
    if file.problem:
        raise BadValue(file.problem)
    where, shape = str(file.path), panel_shape_of(file.type, panel_shape)
    size = int(np.prod(shape))
    with user_errors(file.path):
        raw = read_regular(file.path, _HEADER_LIMIT + _VALUE_LIMIT * size * most_panels)
    with np.errstate(over="ignore", under="ignore"):
        array = parse_text(raw, where).array
    blake3, length = digest(raw), len(raw)
    del raw
    axis = len(shape) - 2
    if array.shape == shape:
        array = np.expand_dims(array, axis)  # of a detector of one panel
    if array.ndim != len(shape) + 1 or (*array.shape[:axis], *array.shape[axis + 1 :]) != shape:
        expected = ", ".join(
            ["panels" if n == axis else str(s) for n, s in enumerate((*shape[:axis], 0, *shape[axis:]))]
        )
        raise BadValue(f"{where}: shape {array.shape} is not the shape ({expected}) of {file.type}")
    array = _convert(array, file.type, where)
    count = array.shape[axis]
    places = [f"{where}, panel {n}" if count > 1 else where for n in range(count)]
    checked = tuple(check_array(array.take(n, axis), file.type, shape, places[n]) for n in range(count))
    return FileConstants(checked, length, blake3)


def _convert(array: NDArray[Any], name: str, where: str) -> NDArray[Any]:
    """Return an array as psana1 uses it; BadValue if psana1 would change integers."""
    meaning = calib_type(name)
    if not meaning.is_integer:
        return array if array.dtype.kind == "f" else array.astype(meaning.dtype)
    with np.errstate(invalid="ignore"):
        converted = array.astype(meaning.psana1)
    if not np.array_equal(converted, array):
        value = array[converted != array][0]
        raise BadValue(f"{where}: {value} is not a value of {name}, which psana1 reads as {converted.dtype}")
    return converted
