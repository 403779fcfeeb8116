"""Read the files of SwissFEL's Jungfraus: ``gains.h5``, and pedestals ``*.res.h5``.

Both have a dataset ``gains`` of shape (plane, row, column), with the modules of the detector on top of each other along
the rows: in ``gains.h5`` the gains G0, G1, G2, HG0 and perhaps HG1, HG2; in a file of pedestals the mean dark signals
of G0, G1, G2 and perhaps HG0. The source is what jungfrau_utils of PSI reads (``data_handler.py``,
``swissfel_helpers.py``) and its converter of gain maps writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import Checked, can_convert, check_array, dtype_hint
from jfstore.core.calib_types import panel_shape_of
from jfstore.core.hashing import digest_of_pieces
from jfstore.errors import BadValue
from jfstore.formats.hdf5_arrays import Hdf5Contents, read_hdf5_datasets
from jfstore.formats.psi import GAIN_MAPS, HIGH, NORMAL, check_gains, require_three_ranges
from jfstore.fs.files import pieces_of, user_errors

GAINS, PEDESTALS = "gains", "pedestals"
CONTENTS = (GAINS, PEDESTALS)
"""What such a file can hold."""

_MEANS, _NOISE, _MASK = "gains", "gainsRMS", "pixel_mask"
_NAMES_FIRST = "original_filenames"
_PLANES = {GAINS: GAIN_MAPS, PEDESTALS: (3, 4)}
_HIGH = HIGH[4]
"""The planes of pedestals of the high gain mode: HG0, and G1 and G2, which both modes share."""
_MODULE = re.compile(r"gainMaps_M([0-9]{1,6})(?![0-9])", re.ASCII)
_GAINS_NAME = re.compile(r"gains.*\.h5", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class SwissfelFile:
    """A file of gains or pedestals.

    Attributes
    ----------
    contents : str
        ``gains`` or ``pedestals``.
    modules : int
        The number of modules.
    numbers : tuple of int
        The number of each module, from the names of the gain maps; empty if the file does not say them.
    planes : int
        The number of planes in ``gains``.
    texts : mapping of str to str
        The attributes that are short texts.
    size : int
        Size of the file in bytes.
    blake3 : str
        Its BLAKE3.
    problems : mapping of str to str
        What of the file is not used for any module, the path of a dataset or a calibration type, with the reason.
    """

    contents: str
    modules: int
    numbers: tuple[int, ...]
    planes: int
    texts: Mapping[str, str]
    size: int
    blake3: str
    problems: Mapping[str, str]
    _arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    _stored: Mapping[str, str] = field(repr=False)
    _shape: tuple[int, int, int]
    _where: str

    def load(self, module: int) -> tuple[dict[str, Checked], dict[str, str]]:
        """Return what may be stored of a module by calibration type, and why other types may not.

        Of the gains either all or none may be stored.
        """
        rows = slice(module * self._shape[1], (module + 1) * self._shape[1])
        parts = {name: array[..., rows, :] for name, array in self._arrays.items()}
        where = f"{self._where}, module {module}"
        if self.contents == PEDESTALS:
            return self._load_darks(parts, where)
        try:
            gains = check_gains(parts[_MEANS], self._shape, where)
        except BadValue as error:
            return {}, {"pixel_gain": error.message}
        return {name: _state_origin(checked, self._stored[_MEANS]) for name, checked in gains.items()}, {}

    def _load_darks(self, parts: Mapping[str, NDArray[Any]], where: str) -> tuple[dict[str, Checked], dict[str, str]]:
        found: dict[str, Checked] = {}
        faults: dict[str, str] = {}
        for name, (dataset, planes) in self._arrange().items():
            values = parts[dataset][list(planes)] if planes else parts[dataset] == 0
            try:
                if dataset == _NOISE:
                    _refuse_means(parts, planes, where)
                checked = check_array(values, name, panel_shape_of(name, self._shape), f"{where}, {dataset}")
            except BadValue as error:
                faults[name] = error.message
            else:
                found[name] = _state_origin(checked, self._stored[dataset])
        return found, faults

    def _arrange(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return the dataset and its planes for each calibration type; a mask has no planes."""
        arranged: dict[str, tuple[str, tuple[int, ...]]] = {}
        for dataset, name in ((_MEANS, "pedestals"), (_NOISE, "pixel_rms")):
            if dataset in self._arrays:
                arranged[name] = dataset, NORMAL
                if self.planes > max(_HIGH) and f"{name}_hg0" not in self.problems:
                    arranged[f"{name}_hg0"] = dataset, _HIGH
        if _MASK in self._arrays:
            arranged["pixel_mask"] = _MASK, ()
        return arranged


def read_swissfel(path: Path, panel_shape: tuple[int, int, int], contents: str | None = None) -> SwissfelFile:
    """Read a file of gains or pedestals.

    Parameters
    ----------
    path : Path
        The file.
    panel_shape : tuple of int
        (gain, row, column) of a panel; there are three gain ranges.
    contents : str, optional
        ``gains`` or ``pedestals``; by default the names of the file and of its datasets tell.

    Raises
    ------
    BadValue
        If it is not such a file, or it is not clear what it holds.
    Failed
        If it cannot be read.
    """
    require_three_ranges(panel_shape)
    if contents not in (None, *CONTENTS):
        raise BadValue(f"contents {contents!r}: expected {' or '.join(CONTENTS)}")
    found = read_hdf5_datasets(path, panel_shape[2], (_MEANS, _NOISE, _MASK))
    if _MEANS not in found.arrays:
        raise BadValue(f"{path}: /{_MEANS} is not usable: {found.left_out.get(_MEANS, 'there is no such dataset')}")
    means = found.arrays[_MEANS]
    contents = contents or _tell_contents(path, found)
    modules, rest = divmod(means.shape[-2], panel_shape[1])
    if means.ndim != 3 or rest or len(means) not in _PLANES[contents]:
        planes = " or ".join(map(str, _PLANES[contents]))
        raise BadValue(
            f"{path}: /{_MEANS} has shape {means.shape}; {contents} have {planes} planes, and {panel_shape[1]} rows "
            "for each module"
        )
    used = {_MEANS} if contents == GAINS else {_MEANS, _NOISE, _MASK}
    arrays, problems = _select(path, found, used)
    with user_errors(path):
        size, blake3 = os.stat(path).st_size, digest_of_pieces(pieces_of(path, follow=True))
    return SwissfelFile(
        contents,
        modules,
        _read_numbers(found.texts.get(_NAMES_FIRST, ""), modules) if contents == GAINS else (),
        len(means),
        found.texts,
        size,
        blake3,
        problems,
        arrays,
        found.stored,
        panel_shape,
        str(path),
    )


def _tell_contents(path: Path, found: Hdf5Contents) -> str:
    """Return whether a file has gains or pedestals; BadValue if its names do not agree, or do not say it."""
    datasets = {*found.arrays, *found.left_out}
    reasons = {
        GAINS: [
            *(["its name"] if _GAINS_NAME.fullmatch(path.name) else []),
            *([f"the attribute {_NAMES_FIRST}"] if _NAMES_FIRST in found.texts else []),
        ],
        PEDESTALS: [
            *(["its name"] if path.name.endswith(".res.h5") else []),
            *(f"the dataset {name}" for name in (_NOISE, _MASK) if name in datasets),
        ],
    }
    likely = [name for name in CONTENTS if reasons[name]]
    if len(likely) == 1:
        return likely[0]
    why = (
        "; ".join(f"{', '.join(reasons[name])} of {name}" for name in likely) or "neither its name nor its datasets do"
    )
    raise BadValue(f"{path} does not tell whether it has gains or pedestals ({why}): state contents")


def _select(path: Path, found: Hdf5Contents, used: set[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the datasets that can be used, and the reasons why others cannot."""
    means = found.arrays[_MEANS]
    problems = {f"/{name}": reason for name, reason in found.left_out.items() if name in used}
    arrays = {}
    for name in sorted(used & found.arrays.keys()):
        array, stored = found.arrays[name], np.dtype(found.stored[name])
        expected = means.shape[1:] if name == _MASK else means.shape
        calib_type = "pixel_mask" if name == _MASK else "pedestals"
        if array.shape != expected:
            problems[f"/{name}"] = f"its shape is {array.shape}, and that of /{_MEANS} is {means.shape}"
        elif not can_convert(stored, calib_type):
            problems[f"/{name}"] = f"dtype {stored} is not {dtype_hint(calib_type)}"
        else:
            arrays[name] = array
    if _MEANS not in arrays:
        raise BadValue(f"{path}: /{_MEANS}: {problems[f'/{_MEANS}']}")
    if _NOISE in used and len(means) > max(_HIGH):
        for name, calib_type in ((_MEANS, "pedestals_hg0"), (_NOISE, "pixel_rms_hg0")):
            if name in arrays and not np.any(arrays[name][_HIGH[0]]):
                problems[calib_type] = f"plane {_HIGH[0]} of /{name} is zero everywhere"
    return arrays, problems


def _refuse_means(parts: Mapping[str, NDArray[Any]], planes: Sequence[int], where: str) -> None:
    """Raise BadValue if a plane of the noise repeats the means, as a known writer of such files leaves it."""
    for plane in planes:
        if np.array_equal(parts[_NOISE][plane], parts[_MEANS][plane]):
            raise BadValue(f"{where}: plane {plane} of /{_NOISE} repeats that of /{_MEANS}, so it is not the noise")


def _read_numbers(text: str, modules: int) -> tuple[int, ...]:
    """Return the module numbers in the names of the gain maps; none if there is not one for each module."""
    matches = [_MODULE.search(name.rpartition("/")[2]) for name in text.split()]
    numbers = tuple(int(match[1]) for match in matches if match)
    return numbers if len(numbers) == len(matches) == modules else ()


def _state_origin(checked: Checked, stored: str) -> Checked:
    """Return an array with the dtype that its values had in the file."""
    return replace(checked, converted_from=None if checked.array.dtype.str == stored else stored)
