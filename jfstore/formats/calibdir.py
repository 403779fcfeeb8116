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
from jfstore.core.calib_types import CALIB_TYPES, calib_type
from jfstore.core.hashing import digest
from jfstore.errors import BadValue, Failed
from jfstore.formats.text import parse_text
from jfstore.fs.files import read_regular, user_errors

GROUP = "Jungfrau::CalibV1"
"""The directory of the Jungfraus in a calibration directory."""

LAST_RUN = 9999
"""psana reads no file whose name has a greater number."""

_NAME = re.compile(r"([0-9]+)-(end|[0-9]+)\.data", re.ASCII)
_NUMBER_DIGITS = 250
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
    """

    source: str
    type: str
    name: str
    path: Path
    first: int
    last: int

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
    """The files of one source by calibration type, and for each name that is of no use the reason."""

    files: Mapping[str, tuple[RangeFile, ...]]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FileConstants:
    """The constants in a file: for each panel, in order, what may be stored; its size in bytes, and its BLAKE3."""

    panels: tuple[Checked, ...]
    size: int
    blake3: str


def parse_range(name: str) -> tuple[int, int | None] | None:
    """Return first and last run of a file's name, the last one None for ``end``; None if psana does not read it."""
    match = _NAME.fullmatch(name)
    if not match or len(name) > _NUMBER_DIGITS:
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

    def names_in(*parts: str) -> list[str]:
        place = calibdir / GROUP / Path(*parts)
        try:
            if os.path.isdir(place) and base not in _resolve(place).parents:
                raise Failed(f"leads out of the calibration directory, to {_resolve(place)}")
            return list_names(place)
        except Failed as error:
            problems["/".join(parts)] = error.message.removeprefix(f"{place}: ")
            return []

    for type_name in names_in(source):
        found: list[RangeFile] = []
        for name in names_in(source, type_name):
            if name.endswith(".data"):
                try:
                    found.append(_make_file(calibdir, base, source, type_name, name))
                except BadValue as error:
                    problems[f"{source}/{type_name}/{name}"] = error.message
        if type_name in CALIB_TYPES:
            files[type_name] = tuple(found)
        elif found:
            problems = {key: reason for key, reason in problems.items() if not key.startswith(f"{source}/{type_name}/")}
            problems[f"{source}/{type_name}"] = _refuse_type(type_name)
    return SourceFiles(files, problems)


def _make_file(calibdir: Path, base: Path, source: str, type_name: str, name: str) -> RangeFile:
    """Return a file by its name; BadValue if psana does not read it, or it is out of the calibration directory."""
    runs = parse_range(name)
    if runs is None:
        raise BadValue(f"psana reads only <run>-end.data and <run>-<last run>.data, with runs up to {LAST_RUN}")
    path = _resolve(calibdir / GROUP / source / type_name / name)
    if base not in path.parents:
        raise BadValue(f"leads out of the calibration directory, to {path}")
    return RangeFile(source, type_name, name, path, runs[0], LAST_RUN if runs[1] is None else runs[1])


def _refuse_type(name: str) -> str:
    try:
        calib_type(name)
    except BadValue as error:
        return error.message
    return "not a calibration type that can be stored"


def _resolve(path: Path) -> Path:
    """Return a path with links followed; of a loop of links, the path itself."""
    return Path(os.path.realpath(path))


def read_constants(file: RangeFile, shape: tuple[int, ...], most_panels: int) -> FileConstants:
    """Read the constants of a file, for each panel.

    Parameters
    ----------
    file : RangeFile
        The file.
    shape : tuple of int
        Of one panel's array: (gain, row, column), or (row, column).
    most_panels : int
        How many panels it may have; a file that is too large for that is not read.

    Raises
    ------
    BadValue
        If the file is missing, malformed or too large, or its array cannot be that of panels.
    Failed
        If it cannot be read.
    """
    where = str(file.path)
    size = int(np.prod(shape))
    with user_errors(file.path):
        raw = read_regular(file.path, _HEADER_LIMIT + _VALUE_LIMIT * size * most_panels)
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
    """Return an array as psana uses it; BadValue if psana would change values that are stored as integers."""
    target = np.dtype(calib_type(name).dtype)
    if target.kind == "f" and array.dtype.kind == "f":
        return array
    with np.errstate(invalid="ignore"):
        converted = array.astype(target)
    if target.kind != "f" and not np.array_equal(converted, array):
        place = int(np.argmax((converted != array).reshape(-1)))
        raise BadValue(f"{where}: {array.reshape(-1)[place]} is not a value of {name}, which psana reads as {target}")
    return converted
