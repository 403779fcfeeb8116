"""Calibration directories, where psana reads constants: names and places, and the note beside a file.

Constants of a run and those after it lie in ``CALIBDIR/Jungfrau::CalibV1/<source>/<type>/<run>-end.data``, or
``<run>-<last run>.data``; of those that hold a run psana takes the one that begins last. Only names that end
in ``.data`` count. ``HISTORY`` beside them has a line for each deployment. jfstore notes in
``<run>-end.jfstore.json`` what it deployed under that name, the newest first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jfstore.calibtypes import CALIB_TYPES
from jfstore.errors import BadValue, Damaged, Failed
from jfstore.files import read_regular
from jfstore.times import iso, parse_iso

GROUP = "Jungfrau::CalibV1"
HISTORY = "HISTORY"
LAST_RUN = 9999
"""psana reads no file whose name has a greater number."""

_NAME = re.compile(r"([0-9]{1,9})-(end|[0-9]{1,9})\.data", re.ASCII)
_NOTE_FORMAT = 1
_NOTE_LIMIT = 16 << 20
_NOTED = 50
_ABOUT = ("user", "host", "program", "dataset", "command")


@dataclass(frozen=True, slots=True, order=True)
class CalibFile:
    """A file of constants in a calibration directory: of which source and calibration type, from which run on.

    `last` is the last run, None for ``end``; `written` its name where that is not the usual one (``0631-end.data``).
    """

    calibdir: Path
    source: str
    type: str
    run: int
    last: int | None = None
    written: str | None = None

    def __post_init__(self) -> None:
        if self.source in ("", ".", "..") or "/" in self.source or "\0" in self.source:
            raise BadValue(f"{self.source!r} is not a source, such as XcsEndstation.0:Jungfrau.0")
        if not 0 <= self.run <= LAST_RUN:
            raise BadValue(f"run {self.run}: psana reads no constants of runs after {LAST_RUN}")

    @property
    def name(self) -> str:
        return self.written or f"{self.run}-{'end' if self.last is None else self.last}.data"

    @property
    def directory(self) -> Path:
        return self.calibdir / GROUP / self.source / self.type

    @property
    def path(self) -> Path:
        return self.directory / self.name

    @property
    def note(self) -> Path:
        """Path of the note beside it."""
        return self.directory / f"{self.name.removesuffix('.data')}.jfstore.json"


@dataclass(frozen=True, slots=True)
class PanelConstants:
    """What a panel's part of a deployed array is: the version, or the name in a gain tree, and the BLAKE3 of
    the array's C-order bytes."""

    panel: str
    version: str
    blake3: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is known of a file that was deployed.

    Attributes
    ----------
    blake3, size
        Of the whole file.
    source, type, run
        As its path says.
    valid_at : int
        For which instant the constants were chosen, in nanoseconds UTC.
    panels : tuple of PanelConstants
        What was chosen, in the order of the detector Id.
    fmt : str or None
        Format of the values, None if every bit of them is there.
    origin : mapping
        ``repository`` (its id), ``role``, ``path`` and ``as_of``; or ``gains``, the path of a gain tree.
    replaced : str or None
        Name under which the file that was there before is kept.
    time : int
        When, in nanoseconds UTC.
    about : mapping
        ``user``, ``host``, ``program``, ``dataset`` and ``command``.
    """

    blake3: str
    size: int
    source: str
    type: str
    run: int
    valid_at: int
    panels: tuple[PanelConstants, ...]
    fmt: str | None
    origin: Mapping[str, Any]
    replaced: str | None
    time: int
    about: Mapping[str, Any]

    @property
    def detector(self) -> str:
        """The detector Id."""
        return "_".join(panel.panel for panel in self.panels)

    def says_the_same(self, other: Deployment) -> bool:
        """Whether both are of the same constants for the same instant, out of the same place."""
        return self._essence() == other._essence()

    def has_values_of(self, other: Deployment) -> bool:
        """Whether the values in both files are the same."""
        return (self.type, self.fmt, self._hashes()) == (other.type, other.fmt, other._hashes())

    def _hashes(self) -> list[str]:
        return [panel.blake3 for panel in self.panels]

    def _essence(self) -> tuple[Any, ...]:
        place = self.origin.get("repository", self.origin.get("gains"))
        return self.source, self.type, self.run, self.valid_at, self.panels, self.fmt, place


def encode_note(file: CalibFile, deployments: Iterable[Deployment]) -> bytes:
    """Return the bytes of the note beside `file`: of so many `deployments`, the newest first, as are worth keeping."""
    body = {"format": _NOTE_FORMAT, "file": file.name, "deployments": [_body(d) for d in deployments][:_NOTED]}
    return (json.dumps(body, indent=1, ensure_ascii=True) + "\n").encode()


def _body(deployment: Deployment) -> dict[str, Any]:
    return {
        "blake3": deployment.blake3,
        "size": deployment.size,
        "source": deployment.source,
        "type": deployment.type,
        "run": deployment.run,
        "detector": deployment.detector,
        "valid_at": iso(deployment.valid_at),
        "panels": [
            {"panel": panel.panel, "version": panel.version, "blake3": panel.blake3} for panel in deployment.panels
        ],
        "format": deployment.fmt,
        "origin": dict(deployment.origin),
        "replaced": deployment.replaced,
        "time": iso(deployment.time),
        **{name: deployment.about.get(name) for name in _ABOUT},
    }


def read_note(file: CalibFile) -> list[Deployment]:
    """Return what the note beside `file` says was deployed under its name, the newest first; nothing if there is none.

    Raises
    ------
    Damaged
        If the note is not one that jfstore wrote.
    Failed
        If it cannot be read.
    """
    try:
        body = json.loads(read_regular(file.note, _NOTE_LIMIT))
        if body["format"] != _NOTE_FORMAT:
            raise Damaged(f"{file.note} was made by a newer jfstore (format {body['format']})")
        return [_deployment(entry) for entry in body["deployments"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Failed(f"{file.note}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{file.note} is not a note of jfstore: {error!r}") from None


def _deployment(body: Any) -> Deployment:
    panels = tuple(PanelConstants(_text(p["panel"]), _text(p["version"]), _text(p["blake3"])) for p in body["panels"])
    if not panels or type(body["size"]) is not int or type(body["run"]) is not int:
        raise ValueError("a deployment without panels, size or run")
    if body["replaced"] is not None and "/" in _text(body["replaced"]):
        raise ValueError(f"a kept file {body['replaced']!r}")
    return Deployment(
        _text(body["blake3"]),
        body["size"],
        _text(body["source"]),
        _text(body["type"]),
        body["run"],
        parse_iso(body["valid_at"]),
        panels,
        None if body["format"] is None else _text(body["format"]),
        dict(body["origin"]),
        body["replaced"],
        parse_iso(body["time"]),
        {name: value for name, value in body.items() if name in _ABOUT},
    )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not text")
    return value


def sources(calibdir: Path) -> list[str]:
    """Return the sources that a calibration directory has constants of; errors as of `files`."""
    return [name for name in _listed(calibdir / GROUP) if (calibdir / GROUP / name).is_dir()]


def files(calibdir: Path) -> tuple[list[CalibFile], list[str]]:
    """Return the files of gains and offsets in a calibration directory, and names that psana does not read.

    Raises
    ------
    BadValue
        If there is no such directory.
    Failed
        If a directory cannot be read.
    """
    if not calibdir.is_dir():
        raise BadValue(f"{calibdir} is not a directory")
    found: list[CalibFile] = []
    ignored: list[str] = []
    for source in sources(calibdir):
        for calib_type in CALIB_TYPES:
            for name in _listed(calibdir / GROUP / source / calib_type):
                match = _NAME.fullmatch(name)
                last = None if not match or match[2] == "end" else int(match[2])
                if match and int(match[1]) <= LAST_RUN and (last or 0) <= LAST_RUN:
                    found.append(CalibFile(calibdir, source, calib_type, int(match[1]), last, name))
                elif name.endswith(".data"):
                    ignored.append(str(calibdir / GROUP / source / calib_type / name))
    return sorted(found, key=lambda file: (file.source, file.type, file.run, file.last or LAST_RUN)), ignored


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Failed(f"{directory}: {error.strerror}") from None
