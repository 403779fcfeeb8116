"""Read the arrays of an HDF5 file of unknown origin, with libhdf5 in a process of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jfstore.errors import BadValue, Failed
from jfstore.fs.files import open_checked, user_errors

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LINE = 1 << 16
_BYTES = 2 << 30
_RANK = 8


@dataclass(slots=True)
class Hdf5Contents:
    """What was read of an HDF5 file.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Array of each dataset, by its path.
    stored : dict of str to str
        The dtype that the values have in the file, little-endian.
    left_out : dict of str to str
        Names of datasets that were asked for and are not arrays of panels, each with the reason.
    texts : dict of str to str
        Attributes that are short texts.
    panels : tuple of str
        Panel Ids that the file names.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    panels: tuple[str, ...] = ()


def read_hdf5(path: Path, columns: int) -> tuple[list[tuple[str, NDArray[Any]]], tuple[str, ...]]:
    """Return the datasets of numbers of a file whose last axis has so many columns, and the panel Ids that it names.

    Parameters
    ----------
    path : Path
        The file.
    columns : int
        Columns of a panel.

    Returns
    -------
    list of (str, ndarray)
        Path and array of each dataset, in order of the paths.
    tuple of str
        The panel Ids, as `jfstore get -f OUT.h5` writes them; empty if the file has none.

    Raises
    ------
    BadValue
        If libhdf5 cannot read the file, or takes too long or too much memory.
    """
    found = _read(path, columns, ())
    return sorted(found.arrays.items()), found.panels


def read_hdf5_datasets(path: Path, columns: int, names: Sequence[str]) -> Hdf5Contents:
    """Return the datasets with some names in the root group of a file, of numbers or booleans, and the attributes.

    Parameters
    ----------
    path : Path
        The file.
    columns : int
        Columns of a panel, which the last axis of each dataset must have.
    names : sequence of str
        Names of datasets.

    Returns
    -------
    Hdf5Contents
        Arrays by name, floats as float32 and booleans as uint8; `stored` has their dtypes in the file. Names that the
        file does not have are in neither `arrays` nor `left_out`.

    Raises
    ------
    BadValue
        As `read_hdf5`.
    """
    return _read(path, columns, names)


def _read(path: Path, columns: int, names: Sequence[str]) -> Hdf5Contents:
    with user_errors(path), open_checked(path, follow=True) as fd:
        package = str(Path(__file__).resolve().parents[2])
        environment = {
            "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)]),
            "PATH": os.environ.get("PATH", ""),
            "OPENBLAS_NUM_THREADS": "1",
            "HDF5_PLUGIN_PRELOAD": "::",  # no plugins
        }
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        with subprocess.Popen(  # noqa: S603 - the words are ours
            [sys.executable, "-P", "-m", "jfstore.formats.hdf5_child", str(columns), *names],
            stdin=fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        ) as child:
            assert child.stdout is not None
            try:
                found = _read_answer(child.stdout, path)
            except BaseException:
                child.kill()
                raise
        if child.returncode < 0:
            raise BadValue(f"{path}: libhdf5 failed at this file (signal {-child.returncode})")
        if child.returncode:
            raise Failed(f"{path}: the process that reads HDF5 files failed")
    return found


def _read_answer(stream: IO[bytes], path: Path) -> Hdf5Contents:
    """Read what `hdf5_child` writes, which a file may have spoiled."""
    found, total = Hdf5Contents(), 0
    while line := stream.readline(_LINE):
        try:
            head = json.loads(line)
            if "refused" in head:
                raise BadValue(f"{path}: {head['refused']}")
            if _read_note(head, found):
                continue
            dtype, shape = np.dtype(str(head["dtype"])), tuple(int(size) for size in head["shape"])
            size = math.prod(shape) * dtype.itemsize
            total += size
            if dtype.kind not in "fiu" or len(shape) > _RANK or not 0 < size <= total <= _BYTES:
                raise ValueError("not an array")
            data = bytearray(size)
            view, done = memoryview(data), 0
            while done < size and (count := stream.readinto(view[done:])):  # type: ignore[attr-defined]  # a buffered pipe
                done += count
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, BadValue):
                raise
            raise BadValue(f"{path}: libhdf5 failed at this file") from None
        if done < size:
            break  # the process ended early, and its exit code says so
        name = str(head["name"])
        found.arrays[name] = np.frombuffer(data, dtype).reshape(shape)
        found.stored[name] = str(head["stored"])
    return found


def _read_note(head: dict[str, Any], found: Hdf5Contents) -> bool:
    """Put what a line without an array says into `found`; return whether it is such a line."""
    if "panels" in head:
        found.panels = tuple(map(str, head["panels"]))
    elif "left_out" in head:
        found.left_out[str(head["name"])] = str(head["left_out"])
    elif "attribute" in head:
        found.texts[str(head["attribute"])] = str(head["text"])
    else:
        return False
    return True
