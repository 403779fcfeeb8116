"""Return the constants of a run as psana2's detectors take them, in place of those of its calibration database.

psana2 gives each detector a dict of calibration type to (array, metadata), which it fetches from the database
(psana/pscalib/calib/MDBWebUtils.py of lcls2, ``calib_constants_all_types``). The metadata are those of a document
there (``docdic`` in MDBUtils.py); detectors print some of them, and calibrate with the arrays only
(detector/calibconstants.py and detector/UtilsJungfrau.py). This was read in the source, and never run with psana2.
"""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jfstore._version import __version__
from jfstore.core.arrays import CalibArray
from jfstore.core.instants import BEGINNING, SECOND
from jfstore.deployment.constants import Constants, Place, constants_of
from jfstore.fs import owner

if TYPE_CHECKING:
    from jfstore.core.lock import Lock
    from jfstore.repository.finding import Time

_DETECTOR_TYPE = "jungfrau"


def calibconst(
    dataset: str | None = None,
    *,
    types: Sequence[str] | str | None = None,
    source: str | None = None,
    time: Time | None = None,
    repo: Place | None = None,
    as_of: int | str | None = None,
    locked: Lock | str | os.PathLike[str] | None = None,
) -> dict[str, tuple[CalibArray, dict[str, Any]]]:
    """Return the constants of a run as psana2's detectors take them.

    Parameters
    ----------
    dataset, types, source, time, repo, as_of, locked
        As for `jfstore.generate`.

    Returns
    -------
    dict of str to (ndarray, dict)
        For each calibration type, as psana2 calls it, the array and its metadata. The shape is
        (3, segments, 512, 1024), of ``pixel_mask`` (segments, 512, 1024), with a place for each of the 1, 2, 8 or 32
        segments of the detector: absent ones are zero, in ``pixel_status`` all bits are set. Arrays may be read-only.
        The metadata are text and integers; ``extpars`` holds as JSON which version each panel's part is, and what a
        user should know.

    Raises
    ------
    JfstoreError
        As `jfstore.generate`.

    Notes
    -----
    There is no ``geometry`` and no ``common_mode``, which are not of panels.

    Examples
    --------
    >>> constants = jfstore.calibconst("exp=mfx101332224:run=7")  # doctest: +SKIP
    >>> pedestals, about = constants["pedestals"]  # doctest: +SKIP
    """
    options: dict[str, Any] = {"source": source, "time": time, "repo": repo, "as_of": as_of, "locked": locked}
    constants = constants_of(dataset, types=types, **options)
    return {name: (array, _make_metadata(constants, name, array)) for name, array in constants.arrays.items()}


def _make_metadata(constants: Constants, name: str, array: CalibArray) -> dict[str, Any]:
    """Return the metadata of an array under the keys of psana2's documents."""
    run, jungfrau = constants.run, constants.jungfrau
    long_name = f"{_DETECTOR_TYPE}_{jungfrau.detector_id}"
    start = constants.starts.get(name, constants.time.ns)
    seconds = 0 if start == BEGINNING else start // SECOND
    return {
        "experiment": run.experiment,
        "run": run.run,
        "run_end": run.run,
        "detector": long_name,
        "ctype": name,
        "dtype": "ndarray",
        "time_sec": seconds,
        "time_stamp": clock.strftime("%Y-%m-%dT%H:%M:%S+0000", clock.gmtime(seconds)),
        "version": f"jfstore {__version__}",
        "comment": constants.origin_text,
        "uid": owner.user(),
        "host": owner.host(),
        "cwd": os.getcwd(),
        "detname": jungfrau.source,
        "longname": long_name,
        "dettype": _DETECTOR_TYPE,
        "extpars": json.dumps(_make_extra(constants, name)),
        "data_type": "ndarray",
        "data_dtype": str(array.dtype),
        "data_size": str(array.size),
        "data_ndim": str(array.ndim),
        "data_shape": str(array.shape),
    }


def _make_extra(constants: Constants, name: str) -> dict[str, Any]:
    return {
        "content": "origin of the constants in jfstore",
        "stored_type": constants.find_stored_type(name),
        "origin": dict(constants.origin),
        "segments": list(constants.jungfrau.segments),
        "versions": [panel.version for panel in constants.panels[name]],
        "blake3": [panel.blake3 for panel in constants.panels[name]],
        "notes": list(constants.notes),
    }
