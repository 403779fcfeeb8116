"""Make entries from arrays in memory, .npy and text files, or a directory of gain files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import Checked, check_array, describe_conversion
from jfstore.core.calib_types import calib_type, high_g0_type, panel_shape_of
from jfstore.core.ids import PanelId, count_places
from jfstore.core.instants import Instant, parse_instant, stamp_at, start_of_validity
from jfstore.core.slabs import detector_shape, panel_of, slab_count
from jfstore.errors import BadValue, JfstoreError, Refused
from jfstore.formats.any_file import is_text
from jfstore.formats.gain_tree import read_gain_directory
from jfstore.formats.npy import read_npy
from jfstore.formats.text import read_text
from jfstore.repository.adding import Entry
from jfstore.repository.finding import Target
from jfstore.runs.listing import list_runs
from jfstore.runs.run import Run

Shape = tuple[int, int, int]
_EXACT = 1 << 53
"""Integers below this are floats without loss."""
Given = NDArray[Any] | str | os.PathLike[str] | float | Sequence[float]


def make_entries(
    panels: tuple[PanelId, ...],
    start: Instant,
    arrays: Mapping[str, Given] | str | os.PathLike[str],
    shape: Shape,
    provenance: str | None,
    segments: Sequence[int] = (),
) -> list[Entry]:
    """Return an entry for each panel.

    Parameters
    ----------
    panels : tuple of PanelId
        The panels, in the order of the panel axis of the arrays.
    start : Instant
        Start of validity.
    arrays : mapping, or path
        For each calibration type an array of shape (gain, panel, row, column), or (gain, row, column) of a single
        panel, the path of an .npy or text file, or a number, or one for each gain range, that fills every panel; or
        the directory of ``g0_gain.npy`` ... of a single panel.
    shape : tuple of int
        (gain, row, column) of a panel.
    provenance : str or None
        Where the arrays come from; the paths of the files if None.
    segments : sequence of int
        For a run of LCLS-II the segment number of each panel: the arrays may then also have a place for every segment
        of the detector, as those of psana2 have; places of absent segments are left out.

    Raises
    ------
    BadValue
        If an array or a file is not acceptable.
    """
    count = len(panels)
    if isinstance(arrays, (str, os.PathLike)):
        directory = Path(arrays)
        if count > 1:
            raise BadValue(f"{directory} is the directory of one panel, and the detector has {count}")
        if not directory.is_dir():
            raise BadValue(f"{directory}: no such directory")
        paths = [directory]
        by_panel = [dict(read_gain_directory(directory, shape))]
    elif isinstance(arrays, Mapping):
        if not arrays:
            raise BadValue("there are no arrays to add")
        paths = [Path(value) for value in arrays.values() if isinstance(value, (str, os.PathLike))]
        by_type = {name: _panel_arrays(value, name, shape, count, segments) for name, value in arrays.items()}
        by_panel = [{name: checked[i] for name, checked in by_type.items()} for i in range(count)]
    else:
        raise BadValue(f"arrays are given as {{type: array}}, not as {type(arrays).__name__}")
    filled = [f"{name}={text}" for name, text in describe_filled(arrays).items()]
    source = ", ".join([*map(os.path.abspath, paths), *filled]) or None if provenance is None else provenance
    return [Entry(str(panel), start, by_panel[i], source) for i, panel in enumerate(panels)]


def _panel_arrays(value: Given, name: str, shape: Shape, count: int, segments: Sequence[int]) -> list[Checked]:
    of_panel = panel_shape_of(name, shape)
    if (numbers := _fill_values(value)) is not None:
        return [_fill(numbers, name, of_panel)] * count
    whole = detector_shape(of_panel, count)
    shapes = [whole, of_panel] if count == 1 else [whole]
    if segments and (full := detector_shape(of_panel, count_places(segments))) not in shapes:
        shapes.append(full)
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        if path.is_dir():
            raise BadValue(f"{path} is a directory: it is given without a calibration type, or name a file in it")
        if not path.exists():
            raise BadValue(f"{path}: no such file or directory")
        array, where = _read_text(path, shapes, name) if is_text(path) else read_npy(path, shapes, name=name), str(path)
    else:
        array, where = np.asarray(value), name
        if array.shape not in shapes:
            raise BadValue(f"{name}: shape {array.shape}, expected {' or '.join(map(str, shapes))}")
    array = array.reshape(whole) if array.shape == of_panel else array
    if array.shape != whole:
        array = _take_segments(array, name, segments, where)
    return [
        check_array(panel_of(array, i), name, of_panel, f"{where}, panel {i}" if count > 1 else where)
        for i in range(count)
    ]


def _take_segments(array: NDArray[Any], name: str, segments: Sequence[int], where: str) -> NDArray[Any]:
    """Return the places of the segments that are there, of an array with a place for every segment.

    psana2 fills a panel without constants with zeros, so that zeros say nothing of a panel that is there.
    """
    if not calib_type(name).is_integer:
        for segment in segments:
            if not np.any(panel_of(array, segment)):
                raise BadValue(f"{where}: {name} of segment {segment}, which the run has, is zero everywhere")
    return array[..., list(segments), :, :]


def _read_text(path: Path, shapes: Sequence[tuple[int, ...]], name: str) -> NDArray[Any]:
    """Return the array of a text file of one of `shapes`; without a shape in its header, its rows follow each other."""
    text = read_text(path)
    array = text.array
    if calib_type(name).is_integer and array.dtype.kind == "f":
        array = _as_integers(text.values, calib_type(name).dtype)  # without a DTYPE, all numbers of a text are floats
    if not text.has_shape and array.shape[-1] == shapes[0][-1]:
        array = array.reshape(next((shape for shape in shapes if math.prod(shape) == array.size), array.shape))
    if array.shape not in shapes:
        raise BadValue(f"{path}: shape {array.shape}, expected {' or '.join(map(str, shapes))}")
    return array


def _as_integers(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return floats as integers of `dtype` if they fit, else of 64 bits; as they are if one is not an integer."""
    if not np.all(np.abs(values) < _EXACT) or not np.array_equal(np.rint(values), values):
        return values
    fits = values.min() >= 0 and values.max() <= np.iinfo(dtype).max
    return values.astype(dtype if fits else np.int64)


def _fill_values(value: Given) -> tuple[float, ...] | None:
    """Return the numbers that an array is to be filled with, None if `value` is something else."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    are_numbers = all(isinstance(one, (int, float, np.number)) and not isinstance(one, bool) for one in values)
    return tuple(map(float, values)) if values and are_numbers else None


def _fill(values: Sequence[float], name: str, shape: tuple[int, ...]) -> Checked:
    """Return an array whose gain ranges are filled with numbers; BadValue if there are not as many as ranges."""
    ranges = slab_count(shape)
    if len(values) not in (1, ranges):
        hint = f", or {ranges}, one for each gain range" if ranges > 1 else ""
        raise BadValue(f"{name}: {len(values)} values to fill it with; give 1{hint}")
    where, column = f"{name} filled with {_join(values)}", np.array(values, np.float64)
    if calib_type(name).is_integer:
        if not all(value.is_integer() and abs(value) < _EXACT for value in values):
            raise BadValue(f"{where}: its values are integers")
        column = column.astype(np.int64)
    array = np.empty((ranges, *shape[-2:]), column.dtype)
    array[...] = column[:, np.newaxis, np.newaxis]
    checked = check_array(array.reshape(shape), name, shape, where)
    return Checked(checked.array)  # numbers that a user typed have no dtype


def _join(values: Sequence[float]) -> str:
    return ",".join(f"{value:.9g}" for value in values)


def describe_filled(arrays: Mapping[str, Given] | str | os.PathLike[str]) -> dict[str, str]:
    """Return the calibration types of `arrays` that are filled with numbers, and these as text.

    Such arrays are constant on purpose: whatever checks for constant arrays should accept those of these types.
    """
    if not isinstance(arrays, Mapping):
        return {}
    values = {name: _fill_values(value) for name, value in arrays.items()}
    return {name: _join(numbers) for name, numbers in values.items() if numbers is not None}


def refuse_normal_types(asked: Target, arrays: Mapping[str, Given] | str | os.PathLike[str]) -> None:
    """Raise BadValue for types that a run does not use, because its first gain range is the high one.

    They would become valid with the run, for which they are wrong, if they are of that run, for all others.
    """
    if not asked.has_high_g0 or asked.run is None:
        return
    names = list(arrays) if isinstance(arrays, Mapping) else ["pixel_gain"]
    for name in names:
        if high := high_g0_type(name):
            raise BadValue(
                f"the first gain range of {asked.run.label} is the high one, so it needs {high}: "
                f"add it as {high}, or give the detector Id and a time for {name}"
            )


def rounding_notes(entries: list[Entry]) -> list[str]:
    """Return a note for each calibration type whose arrays were converted to the stored dtype."""
    found = {
        f"{name} was {text}": None
        for entry in entries
        for name, checked in entry.arrays.items()
        if (text := describe_conversion(checked))
    }
    return list(found)


def start_of_run(asked: Target, run: Run, zone: ZoneInfo) -> tuple[Instant, tuple[str, ...]]:
    """Return the start of validity of constants that hold from a run on, and what the user should know.

    It is the run's start, floored to the second. No stamp names an instant in the second pass of an hour that comes
    twice: the same wall-clock time of the first pass is taken, an hour earlier, if no other run of these panels began
    between the two.

    Raises
    ------
    Refused
        If another run would get these constants, too, or that cannot be told.
    """
    try:
        return start_of_validity(asked.time, zone, floor=True), ()
    except BadValue:
        stamp = stamp_at(asked.time.ns, zone)
    start = parse_instant(stamp, zone)
    where = f"{run.label} started in the second pass of an hour that comes twice in {zone.key}"
    try:
        listed = list_runs(run.experiment[:3].upper())
    except JfstoreError as error:
        raise Refused(f"{where}, and the runs before it are not known: {error}") from None
    if listed.errors:
        raise Refused(f"{where}, and not every run before it can be read: {listed.errors[0]}")
    panels = set(asked.panels)
    between = [
        other.label
        for other in listed.runs
        if other.start is not None
        and start.ns <= other.start < asked.time.ns
        and any(panels & {*jungfrau.panels} for jungfrau in other.jungfraus)
    ]
    if between:
        raise Refused(f"{where}; constants from {stamp} on would be those of {', '.join(between)}, too")
    return Instant(start.ns, stamp), (f"{where}: {stamp} means the first pass, {start.iso}",)
