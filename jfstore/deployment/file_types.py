"""Decide under which names and in which dtypes constants go to files: psana knows fewer types than the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES, psana1_dtype
from jfstore.core.slabs import spread_segments
from jfstore.errors import BadValue, NotFound, Refused


def name_files(types: Iterable[str], has_high_g0: bool | None) -> dict[str, str]:
    """Return the stored types by the names that their files have.

    psana has no names of its own for constants of the high first gain range, so their files have those of the normal
    types.

    Parameters
    ----------
    types : iterable of str
        Stored calibration types.
    has_high_g0 : bool or None
        Whether the first gain range of the run is the high one; None if the run does not say.

    Raises
    ------
    BadValue
        If two types would have one name, or the run says that it needs the normal types.
    """
    named: dict[str, str] = {}
    for stored in types:
        name = CALIB_TYPES[stored].normal or stored
        if name in named:
            raise BadValue(f"{named[name]} and {stored} would be the same file: ask for one of them")
        if name != stored and has_high_g0 is False:
            raise BadValue(f"{stored} is of runs whose first gain range is the high one, and this run's is not: {name}")
        named[name] = stored
    return named


def note_names(named: Mapping[str, str]) -> Iterator[str]:
    """Yield a note if files have other names than the types that they hold."""
    others = {stored: name for name, stored in named.items() if stored != name}
    if others:
        texts = ", ".join(f"{stored} as {name}" for stored, name in others.items())
        yield f"psana has no names for constants of the high first gain range, so they are written as others: {texts}"


def select_psana1_types(types: Sequence[str], label: str) -> tuple[str, ...]:
    """Return the types that psana1 reads; NotFound, with the run's `label`, if it reads none of them."""
    found = tuple(name for name in types if psana1_dtype(name))
    if not found:
        raise NotFound(f"{label}: psana reads none of the types that are valid, {', '.join(types)}")
    return found


def convert_for_psana1(name: str, array: CalibArray, panels: Sequence[str]) -> CalibArray:
    """Return constants in the dtype in which psana1 reads them.

    Parameters
    ----------
    name : str
        Calibration type that psana1 reads.
    array : ndarray
        Of shape (gain, panel, row, column) or (panel, row, column).
    panels : sequence of str
        Panel Ids, for the error.

    Raises
    ------
    Refused
        If a value does not fit, such as a status above 65535.
    """
    dtype = np.dtype(str(psana1_dtype(name)))
    if array.dtype == dtype:
        return array
    largest = np.iinfo(dtype).max
    if array.max(initial=0) > largest:
        *gain, panel, row, column = (int(i) for i in np.unravel_index(int(np.argmax(array > largest)), array.shape))
        place = f"gain {gain[0]}, row {row}, column {column}" if gain else f"row {row}, column {column}"
        raise Refused(
            f"panel {panels[panel]}: {name} is {int(array[(*gain, panel, row, column)])} at {place}, "
            f"and psana reads {dtype.name}, up to {largest}; nothing was deployed"
        )
    return array.astype(dtype)


class SpreadArrays(Mapping[str, CalibArray]):
    """Arrays with a place for every segment of a detector; made when they are used, because each may have 800 MB."""

    def __init__(self, arrays: Mapping[str, CalibArray], stored: Mapping[str, str], segments: Sequence[int]) -> None:
        self._arrays, self._stored, self._segments = arrays, stored, segments

    def __getitem__(self, name: str) -> CalibArray:
        return spread_segments(self._arrays[name], self._stored[name], self._segments)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
