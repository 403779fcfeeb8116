"""Make the commands that add generated files to repositories, to files of the DCS, and to psana2's database."""

from __future__ import annotations

from pathlib import Path

from jfstore.core.ids import file_id
from jfstore.core.instants import SECOND, exact_stamp
from jfstore.dcs.model import TYPES as DCS_TYPES
from jfstore.deployment.constants import Constants
from jfstore.deployment.generate import NAME_LIMIT, make_local_name
from jfstore.errors import BadValue
from jfstore.repository.catalogue import locate
from jfstore.runs.records import LCLS2

Groups = list[tuple[str, list[list[str]]]]
"""For each group of commands its purpose and their words."""


def make_upload_commands(constants: Constants, program: str) -> Groups:
    """Return the commands that add the local files to the test and the real repository, and to what psana reads.

    Of LCLS-I these are the DCS files in the directories of the repositories, of LCLS-II psana2's calibration database.
    """
    is_lcls2 = constants.run.daq == LCLS2
    message = f"See command: {program} -d {constants.run.label} -U"
    groups: Groups = []
    # The commands that change a real repository come last.
    for role in ("test", "real"):
        groups.append((f"to the {role} repository", _make_adds(constants, role, message)))
        directory = locate(role)[1]
        if not is_lcls2 and isinstance(directory, Path):  # there are no DCS files in a bucket
            adds = _make_dcs_adds(constants, directory, message)
            groups.append((f"to the DCS file of the detector in the directory of the {role} repository", adds))
    if is_lcls2:
        groups.append(("to the calibration database of psana2", _make_cdb_adds(constants, message)))
    return groups


def _files_of(constants: Constants) -> dict[str, str]:
    return {name: f"{make_local_name(constants, name)}.npy" for name in constants.arrays}


def _make_adds(constants: Constants, role: str, message: str) -> list[list[str]]:
    stored = {constants.find_stored_type(name): file for name, file in _files_of(constants).items()}
    arrays = [word for name, file in stored.items() for word in ("-t", name, "-f", file)]
    run, jungfrau = constants.run, constants.jungfrau
    start = constants.time.ns - constants.time.ns % SECOND
    try:
        stamp = exact_stamp(start, constants.zone)
    except BadValue:
        stamp = f"@{start // SECOND}"
    what = [jungfrau.detector_id, "-T", stamp]
    if jungfrau.places != jungfrau.count:
        # Only the run says at which places of the arrays its panels are, and then it says the time, too.
        if run.start != constants.time.ns:
            return []
        what = [run.label, jungfrau.source]
    yes = ["--yes"] if role == "real" else []
    return [["jfstore", "add", *what, *arrays, "-m", message, "--repo", role, *yes]]


def _make_dcs_adds(constants: Constants, directory: Path, message: str) -> list[list[str]]:
    run, detector = constants.run, constants.jungfrau.detector_id
    store = directory / f"jungfrau-{file_id(detector, NAME_LIMIT - len('jungfrau-.h5'))}.h5"
    of_run = ["-e", run.experiment, "-r", str(run.run), "-d", constants.jungfrau.source]
    when = ["-T", str(constants.time.ns // SECOND), "-m", message]
    return [
        ["dcs", "add", str(store), "-t", name, "-f", file, *when, *of_run]
        for name, file in _files_of(constants).items()
        if name in DCS_TYPES
    ]


def _make_cdb_adds(constants: Constants, message: str) -> list[list[str]]:
    """Return a command of psana2 for each type; its ``-s`` is the start of validity in Unix seconds.

    The detector is named as psana2 calls it in the database, by its type and the Ids of its panels, and not by its name
    in the experiment (psana/pscalib/app/cdb.py and psana/dgrammanager.py of lcls2).
    """
    run, detector = constants.run, f"jungfrau_{constants.jungfrau.detector_id}"
    of_run = ["-e", run.experiment, "-d", detector]
    when = ["-r", str(run.run), "-s", str(constants.time.ns // SECOND)]
    return [
        ["cdb", "add", *of_run, "-c", name, *when, "-f", file, "-m", message]
        for name, file in _files_of(constants).items()
    ]
