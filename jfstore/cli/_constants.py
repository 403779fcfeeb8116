"""The constants of a run: the panels of its Jungfrau, when it began, what a repository or a gain tree has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from jfstore.cli.output import note
from jfstore.cli.program import warn_of
from jfstore.cli.run_options import read_jungfrau
from jfstore.errors import BadValue, Refused

if TYPE_CHECKING:
    from jfstore.core.arrays import Float32
    from jfstore.deployment.note import PanelConstants
    from jfstore.repository import Repository
    from jfstore.runs.run import Jungfrau, Run


@dataclass(frozen=True, slots=True)
class Constants:
    """What is valid for a run.

    Attributes
    ----------
    run, jungfrau
        The run and its Jungfrau.
    t : int
        For which instant, in nanoseconds UTC: the begin of the run unless another was asked for.
    zone : zoneinfo.ZoneInfo
        In which stamps are written.
    arrays : mapping of str to ndarray
        float32 of shape (gain, panel, row, column) by calibration type.
    panels : mapping of str to tuple of PanelConstants
        Where each panel's part comes from, by calibration type.
    origin : mapping
        The repository or gain tree, as `Deployment.origin` has it.
    """

    run: Run
    jungfrau: Jungfrau
    t: int
    zone: ZoneInfo
    arrays: Mapping[str, Float32]
    panels: Mapping[str, tuple[PanelConstants, ...]]
    origin: Mapping[str, Any]

    @property
    def origin_text(self) -> str:
        """The repository or gain tree, for people."""
        if "gains" in self.origin:
            return f"gain tree {self.origin['gains']}"
        return f"commit {self.origin['as_of']} of the {self.origin['role']} repository {self.origin['path']}"


def constants_of(dataset: str, source: str, when: str | None, place: str) -> Constants:
    """Return the constants that are valid for a run.

    Parameters
    ----------
    dataset, source : str
        As for `jungfrau_of`.
    when : str or None
        Another time than the begin of the run.
    place : str
        Name or path of a repository, or the directory of a gain tree.

    Raises
    ------
    NotFound
        If the run has no panel Ids, or a panel no constants.
    BadValue
        If the run or its Jungfrau is not clear.
    """
    run, jungfrau = read_jungfrau(dataset, source)
    if not run.experiment or run.run < 0:
        raise BadValue(f"{run.label}: neither its name nor its place says experiment and run")
    detector = jungfrau.require_id(run.label)
    when = run.start_text() if when is None else when
    tree = _gain_tree(place)
    if tree:
        return _from_tree(run, jungfrau, when, tree)
    from jfstore.repository.catalogue import open_repository

    return _from_repository(run, jungfrau, detector, when, open_repository(place))


def _gain_tree(place: str) -> Path | None:
    """Return the directory of a gain tree, None if `place` is to be a repository."""
    from jfstore.formats.gain_tree import is_gain_tree
    from jfstore.repository.catalogue import configured

    path = Path(place)
    if not path.is_dir() or (path / "repository.json").exists() or place in configured():
        return None
    if not is_gain_tree(path):
        raise Refused(f"{place} is neither a repository nor a gain tree: no name in it is <panel Id>-<stamp>")
    return path


def _from_repository(run: Run, jungfrau: Jungfrau, detector: str, when: str, repository: Repository) -> Constants:
    from jfstore.core.calib_types import CALIB_TYPES
    from jfstore.deployment.note import PanelConstants

    answer = repository.find(detector, list(CALIB_TYPES), when)
    warn_of(answer.notes)
    panels = {
        name: tuple(PanelConstants(s.version.panel, s.version.name, s.version.array(name).blake3) for s in selections)
        for name, selections in answer.selections.items()
    }
    identity = repository.identity
    origin = {
        "repository": identity.id,
        "role": identity.role,
        "path": repository.storage.location,
        "as_of": answer.as_of,
    }
    arrays = {name: repository.read(answer, name) for name in answer.selections}
    return Constants(run, jungfrau, answer.time.ns, repository.zone, arrays, panels, origin)


def _from_tree(run: Run, jungfrau: Jungfrau, when: str, root: Path) -> Constants:
    import numpy as np

    from jfstore.core.calib_types import CALIB_TYPES
    from jfstore.core.hashing import digest
    from jfstore.core.instants import DEFAULT_ZONE, parse_time, zone_named
    from jfstore.deployment.note import PanelConstants
    from jfstore.formats.gain_tree import read_gain_directory, read_gain_shape, scan_gain_tree, select_names

    zone = zone_named(DEFAULT_ZONE)
    t = parse_time(when, zone)
    tree = scan_gain_tree(root, zone)
    names = select_names(tree, [str(panel) for panel in jungfrau.panels], t, zone)
    shape = read_gain_shape(names[0].directory)
    arrays = {name: np.empty((shape[0], len(names), *shape[1:]), np.float32) for name in CALIB_TYPES}
    panels: dict[str, list[PanelConstants]] = {name: [] for name in CALIB_TYPES}
    for number, found in enumerate(names):
        for name, checked in read_gain_directory(found.directory, shape).items():
            arrays[name][:, number] = checked.array
            panels[name].append(PanelConstants(found.panel, found.name, digest(checked.array.reshape(-1).view("u1"))))
            if checked.converted_from:
                note(f"{name} of {found.name} was rounded from float64 to float32")
    parts = {name: tuple(found) for name, found in panels.items()}
    return Constants(run, jungfrau, t, zone, arrays, parts, {"gains": str(root.absolute())})
