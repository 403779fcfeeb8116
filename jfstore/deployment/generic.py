"""Deploy constants to psana1's generic repository: the DCS file of a detector, which holds for all experiments.

psana1 reads ``<SIT_PSDM_DATA>/detector/calib/jungfrau/jungfrau-<detector Id>.h5`` for a calibration type that the
calibration directory of the experiment does not have (PSCalib/GenericCalibPars.py, DCFileName.py). It takes the range
that holds the time of the run. A deployment adds a version to the range that starts with the run. The file keeps the
former versions, so nothing is copied aside; a note beside it says what jfstore deployed.
"""

from __future__ import annotations

import os
import secrets
import shlex
import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jfstore._version import __version__
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.ids import PanelId
from jfstore.core.instants import SECOND, iso, now
from jfstore.core.lock import lock_value
from jfstore.dcs import edit, model, write
from jfstore.dcs.model import DcsContents, DcsRange, DcsVersion
from jfstore.dcs.read import open_dcs
from jfstore.deployment.constants import Constants, Place, constants_of
from jfstore.deployment.generic_note import GenericDeployment, read_generic_note, write_generic_note
from jfstore.errors import BadValue, Failed, Refused
from jfstore.fs import durable, owner
from jfstore.fs.owner import Rights
from jfstore.runs.tree import Tree

if TYPE_CHECKING:
    from jfstore.core.lock import Lock
    from jfstore.repository.finding import Time

_NAME_LIMIT = 255
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class GenericDeployed:
    """What happened to a calibration type in a DCS file.

    Attributes
    ----------
    state : str
        ``deployed``, ``unchanged``, ``would deploy``, ``removed`` or ``would undo``.
    type : str
        Calibration type.
    path : str
        The DCS file.
    version : str
        Range and version in it, such as ``1512519240-end/v0001``.
    """

    state: str
    type: str
    path: str
    version: str


def generic_directory() -> Path:
    """Return psana1's own generic repository."""
    return Tree.from_environment().root / "detector" / "calib"


def generic_file(panels: Sequence[PanelId], place: str | os.PathLike[str] | None = None) -> Path:
    """Return the DCS file of a detector in a generic repository; Refused if psana1 could not open such a name.

    psana1 writes nothing for a field of an Id that is 0.
    """
    root = generic_directory() if place is None else Path(place)
    fields = (
        "-".join(f"{number:x}" if number else "" for number in (panel.module, panel.firmware, panel.serial))
        for panel in panels
    )
    name = f"{model.JUNGFRAU}-{'_'.join(fields)}.h5"
    if len(name) > _NAME_LIMIT:
        raise Refused(
            f"the Id of {len(panels)} panels is too long for the name of a file, so psana1 has no generic constants of "
            "this detector: deploy to the calibration directory"
        )
    return root / model.JUNGFRAU / name


def deploy_generic(
    dataset: str | None = None,
    *,
    source: str | None = None,
    time: Time | None = None,
    repo: Place | None = None,
    as_of: int | str | None = None,
    locked: Lock | str | os.PathLike[str] | None = None,
    place: str | os.PathLike[str] | None = None,
    replace: bool = False,
    from_test: bool = False,
    rights: Rights = Rights(),
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> tuple[GenericDeployed, ...]:
    """Deploy the constants of a run to the DCS file of its detector, for this and later runs of every experiment.

    Parameters
    ----------
    dataset, source, time, repo, as_of, locked
        As for `constants_of`.
    place : path, optional
        The generic repository, which has the directory ``jungfrau``; default psana1's own,
        ``$SIT_PSDM_DATA/detector/calib``.
    replace : bool
        Whether a range may get a version in place of one that jfstore did not write.
    from_test : bool
        Whether constants of a test repository may go to psana1's own generic repository.
    rights : Rights
        Modes and group of a new file.
    dry_run : bool
        Check everything and return what would be deployed, but change nothing.
    progress : callable
        Called with the number of arrays written and their total.

    Returns
    -------
    tuple of GenericDeployed
        What happened to each calibration type that psana1 reads. All of them are written at once.

    Raises
    ------
    BadValue
        If psana1 does not read the run, or none of its calibration types.
    Refused
        If `replace` or `from_test` would be needed, or an array does not fit the dtype that psana1 has.
    JfstoreError
        As `constants_of`, and as `jfstore.dcs.write.change_dcs`.
    """
    constants = constants_of(dataset, source=source, time=time, repo=repo, as_of=as_of, locked=locked)
    options: dict[str, Any] = {"from_test": from_test, "rights": rights, "dry_run": dry_run, "progress": progress}
    return write_generic(constants, place, replacing=replace, **options)


def write_generic(
    constants: Constants,
    place: str | os.PathLike[str] | None = None,
    *,
    replacing: bool = False,
    from_test: bool = False,
    rights: Rights = Rights(),
    command: Sequence[str] = ("python",),
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> tuple[GenericDeployed, ...]:
    """Deploy constants to the DCS file of their detector; see `deploy_generic`. The note holds the `command`."""
    path = generic_file(constants.jungfrau.panels, place)
    _check_run(constants, path, from_test or dry_run)
    arrays = {
        name: _convert(array, name)
        for name, array in constants.arrays.items()
        if name in model.TYPES and _is_read(name)
    }
    if not arrays:
        raise BadValue(f"psana1 reads none of {', '.join(constants.arrays)} from a DCS file")
    deployer = _Deployer(constants, path, arrays, replacing, command)
    if dry_run:
        deployer.plan()
        return deployer.describe("would deploy")
    directory = path.parent
    if not directory.is_dir():
        if not directory.parent.is_dir():
            raise Failed(f"{directory.parent} does not exist; make it first, or name another directory (-c)")
        with convert_errors(directory):
            durable.make_directory(directory, rights.directory, rights.group)
    deployer.plan()  # nothing is written if all is as it was
    with convert_errors(path):
        if deployer.added:
            write.change_dcs(path, deployer.change, create=True, rights=rights, progress=progress)
        deployer.note(rights)
    return deployer.describe("deployed")


@contextmanager
def convert_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into Failed; an error that names no file is about `path`."""
    try:
        yield
    except OSError as error:
        raise Failed(f"{error.filename or path}: {error.strerror}") from None


def _check_run(constants: Constants, path: Path, is_confirmed: bool) -> None:
    run, origin = constants.run, constants.origin
    if run.daq != "LCLS-I":
        raise BadValue(f"{run.label} is a run of {run.daq}, whose constants are in psana2's database, not in DCS files")
    is_own = os.path.realpath(path.parent.parent) == os.path.realpath(generic_directory())
    if origin.get("role") == "test" and is_own and not is_confirmed:
        raise Refused(
            f"{origin['path']} is a test repository, and psana reads {path.parent} for every experiment: "
            f"confirm with jfstore deploy {run.label} --generic --yes --repo {shlex.quote(origin['path'])}"
        )


def _is_read(name: str) -> bool:
    return CALIB_TYPES[name].psana1 is not None


def _convert(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array with the dtype that psana1 has; Refused, with the first pixel, if a value does not fit."""
    dtype = CALIB_TYPES[name].psana1
    assert dtype is not None
    if array.dtype.str == dtype:
        return array
    converted = array.astype(dtype)
    if np.any(bad := converted != array):
        place = ", ".join(str(int(index)) for index in np.unravel_index(int(np.argmax(bad)), bad.shape))
        value = array.reshape(-1)[int(np.argmax(bad))]
        raise Refused(f"{name}: {value} at ({place}) is more than psana1 reads, {np.dtype(dtype).name}")
    return converted


class _Deployer:
    """Adds the arrays of a run to a DCS file, each in the range that starts with the run."""

    def __init__(
        self,
        constants: Constants,
        path: Path,
        arrays: dict[str, NDArray[Any]],
        replacing: bool,
        command: Sequence[str],
    ) -> None:
        self._constants, self._path, self._arrays, self._replacing = constants, path, arrays, replacing
        start = constants.time.ns if constants.run.start is None else constants.run.start
        self._start = float(start // SECOND)
        self._known = {deployment.place for deployment in read_generic_note(path)}
        self._call, self._command = secrets.token_hex(8), command
        self.added: dict[str, DcsVersion] = {}
        self.unchanged: dict[str, DcsVersion] = {}

    def plan(self) -> None:
        """Find out what is to be added, without a change."""
        if self._path.exists():
            with open_dcs(self._path) as contents:
                self.change(contents)
        else:
            self.change(write.make_contents(self._path))

    def change(self, contents: DcsContents) -> DcsContents:
        """Return the contents with a version of each array that the file does not have yet; see `change_dcs`."""
        self.added, self.unchanged = {}, {}
        produced = clock.time()
        run = self._constants.run
        for name, array in self._arrays.items():
            valid = self._find_valid(contents, name)
            if valid is not None and _has_values(valid, array):
                self.unchanged[name] = valid
                continue
            if valid is not None and not self._is_own(name, valid) and not self._replacing:
                raise Refused(
                    f"{self._path}: {name}/{self._range}/{model.name_version(valid.number)} was not written by jfstore "
                    "and has other values; --replace adds a version after it"
                )
            blob = edit.make_array_blob(array, name, name)
            edit.check_blob(contents, name, blob, name)
            parameters = {"experiment": run.experiment, "run": str(run.run), "source": self._constants.jungfrau.source}
            addition = edit.Addition(name, self._start, blob, " ".join(self._names(name)), parameters=parameters)
            contents, self.added[name] = edit.add_version(contents, addition, produced)
        return contents

    @property
    def _range(self) -> str:
        return model.name_range(self._start)

    def _names(self, name: str) -> tuple[str, ...]:
        """Return for each panel the version of its array."""
        return tuple(panel.version for panel in self._constants.panels[name])

    def _find_valid(self, contents: DcsContents, name: str) -> DcsVersion | None:
        found = find_range(contents, name, self._range)
        return found.valid_version if found else None

    def _is_own(self, name: str, version: DcsVersion) -> bool:
        return (name, self._range, version.number, version.produced) in self._known

    def describe(self, done: str) -> tuple[GenericDeployed, ...]:
        """Return what happened to each calibration type; `done` to those that were added."""
        states = {**dict.fromkeys(self.unchanged, "unchanged"), **dict.fromkeys(self.added, done)}
        versions = {**self.unchanged, **self.added}
        return tuple(
            GenericDeployed(states[name], name, str(self._path), name_place(self._range, versions[name].number))
            for name in self._arrays
        )

    def note(self, rights: Rights) -> None:
        """Write the note, also on what a call that was stopped before its note has added."""
        run, lock = self._constants.run, self._constants.lock
        about = {
            "origin": dict(self._constants.origin),
            "dataset": run.label,
            "time": iso(now()),
            "user": owner.user(),
            "host": owner.host(),
            "program": f"jfstore {__version__}",
            "command": shlex.join(self._command),
        }
        new = []
        for name, version in {**self.added, **self.unchanged}.items():
            place = name, self._range, version.number, version.produced or 0.0
            if name in self.added or (place not in self._known and self._is_marked(name)):
                pinned = {} if lock is None else {"lock": lock_value(lock.select_types([name]))}
                of_run = (run.experiment, run.run, self._constants.jungfrau.source)
                new.append(GenericDeployment(*place, *of_run, self._names(name), self._call, {**about, **pinned}))
        if new:
            write_generic_note(self._path, [*new, *read_generic_note(self._path)], rights)

    def _is_marked(self, name: str) -> bool:
        """Return whether the file says of the valid version of the range that it is of the same versions."""
        with open_dcs(self._path) as contents:
            found = find_range(contents, name, self._range)
            valid = found.valid_version if found else None
            line = f"add version {valid.number if valid else 0}: {' '.join(self._names(name))}"
            return found is not None and line in found.notes.history.values()


def find_range(contents: DcsContents, name: str, key: str) -> DcsRange | None:
    """Return a range of a calibration type by its name, None if the file does not have it."""
    ranges = [one for one in contents.types if one.name == name]
    return next((one for dcs_type in ranges for one in dcs_type.ranges if one.key == key), None)


def _has_values(version: DcsVersion, array: NDArray[Any]) -> bool:
    blob = version.blob
    if blob is None or (np.dtype(blob.dtype), blob.shape) != (array.dtype, array.shape):
        return False
    return blob.load().tobytes() == array.tobytes()


def name_place(key: str, number: int) -> str:
    """Return the name of a version in a calibration type, such as ``1512519240-end/v0001``."""
    return f"{key}/{model.name_version(number)}"
