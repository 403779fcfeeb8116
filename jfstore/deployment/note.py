"""The note beside a deployed file: what jfstore deployed under that name, the newest first; JSON, format 1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jfstore.core.instants import BEGINNING, iso, parse_iso
from jfstore.deployment.calibdir import CalibFile
from jfstore.errors import Damaged, Failed, Refused
from jfstore.fs.files import read_regular

_FORMAT = 1
_LIMIT = 16 << 20
_NOTED = 50
_ABOUT = ("user", "host", "program", "dataset", "command")


@dataclass(frozen=True, slots=True)
class PanelConstants:
    """What a panel's part of a deployed array is: the version, or the name in a gain tree, and the BLAKE3 of
    the array's C-order bytes."""

    panel: str
    version: str
    blake3: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was replaced: the dated name it has now, and the BLAKE3 of the whole file."""

    name: str
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
    start : int or None
        When the run began, if that is known; nanoseconds UTC.
    valid_at : int
        For which instant the constants were chosen.
    panels : tuple of PanelConstants
        What was chosen, in the order of the detector Id.
    fmt : str or None
        Format of the values, None if every bit of them is there.
    origin : mapping
        ``repository`` (its id), ``role``, ``path`` and ``as_of``; or ``gains``, the path of a gain tree.
    replaced : Kept or None
        The file that was there before.
    time : int
        When, in nanoseconds UTC.
    call : str
        The same for all files that were deployed together, of no other ones.
    about : mapping
        ``user``, ``host``, ``program``, ``dataset`` and ``command``.
    """

    blake3: str
    size: int
    source: str
    type: str
    run: int
    start: int | None
    valid_at: int
    panels: tuple[PanelConstants, ...]
    fmt: str | None
    origin: Mapping[str, Any]
    replaced: Kept | None
    time: int
    call: str
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
        return self.source, self.type, self.run, self.start, self.valid_at, self.panels, self.fmt, place


def encode_note(file: CalibFile, deployments: Iterable[Deployment]) -> bytes:
    """Return the bytes of the note beside `file`: of so many `deployments`, the newest first, as are worth keeping."""
    body = {"format": _FORMAT, "file": file.name, "deployments": [_body(d) for d in deployments][:_NOTED]}
    return (json.dumps(body, indent=1, ensure_ascii=True) + "\n").encode()


def _body(deployment: Deployment) -> dict[str, Any]:
    kept = deployment.replaced
    return {
        "blake3": deployment.blake3,
        "size": deployment.size,
        "source": deployment.source,
        "type": deployment.type,
        "run": deployment.run,
        "detector": deployment.detector,
        "begin": None if deployment.start is None else iso(deployment.start),
        "valid_at": iso(deployment.valid_at),
        "panels": [
            {"panel": panel.panel, "version": panel.version, "blake3": panel.blake3} for panel in deployment.panels
        ],
        "format": deployment.fmt,
        "origin": dict(deployment.origin),
        "replaced": kept and {"name": kept.name, "blake3": kept.blake3},
        "time": iso(deployment.time),
        "call": deployment.call,
        **{name: deployment.about.get(name) for name in _ABOUT},
    }


def read_note(file: CalibFile) -> list[Deployment]:
    """Return what the note beside `file` says was deployed under its name, the newest first; nothing if there is none.

    Raises
    ------
    Damaged
        If the note is not one that jfstore wrote.
    Refused
        If a newer jfstore wrote it.
    Failed
        If it cannot be read.
    """
    try:
        body = json.loads(read_regular(file.note, _LIMIT))
        if type(body["format"]) is int and body["format"] > _FORMAT:
            raise Refused(f"{file.note} was made by a newer jfstore (format {body['format']})")
        if body["format"] != _FORMAT:
            raise ValueError(f"format {body['format']!r}")
        return [_deployment(entry, file) for entry in body["deployments"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Failed(f"{file.note}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{file.note} is not a note of jfstore: {error!r}") from None


def _deployment(body: Any, file: CalibFile) -> Deployment:
    panels = tuple(PanelConstants(_text(p["panel"]), _text(p["version"]), _text(p["blake3"])) for p in body["panels"])
    if not panels or type(body["size"]) is not int or type(body["run"]) is not int:
        raise ValueError("a deployment without panels, size or run")
    kept = body["replaced"] and Kept(_text(body["replaced"]["name"]), _text(body["replaced"]["blake3"]))
    if kept and not re.fullmatch(rf"{re.escape(file.name)}-[0-9T:.-]+Z", kept.name, re.ASCII):
        raise ValueError(f"a kept file {kept.name!r}")
    return Deployment(
        blake3=_text(body["blake3"]),
        size=body["size"],
        source=_text(body["source"]),
        type=_text(body["type"]),
        run=body["run"],
        start=None if body["begin"] is None else _instant(body["begin"]),
        valid_at=_instant(body["valid_at"]),
        panels=panels,
        fmt=None if body["format"] is None else _text(body["format"]),
        origin=dict(body["origin"]),
        replaced=kept,
        time=_instant(body["time"]),
        call=_text(body["call"]),
        about={name: value for name, value in body.items() if name in _ABOUT},
    )


def _instant(text: Any) -> int:
    return BEGINNING if text == iso(BEGINNING) else parse_iso(_text(text))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not text")
    return value
