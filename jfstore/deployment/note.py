"""Read and write the note beside a deployed file: the deployments under its name, newest first; JSON, format 1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from jfstore.core.instants import BEGINNING, iso, parse_iso
from jfstore.deployment.calibdir import CalibFile
from jfstore.errors import Damaged, Failed, Refused
from jfstore.fs.files import read_regular

T = TypeVar("T", "PanelConstants", "ReplacedFile")

_FORMAT = 1
_SIZE_LIMIT = 16 << 20
_MOST_DEPLOYMENTS = 50
_ABOUT = ("user", "host", "program", "dataset", "command")


@dataclass(frozen=True, slots=True)
class PanelConstants:
    """Where a panel's part of an array comes from: a version, or a name in a gain tree; BLAKE3 of its C-order bytes."""

    panel: str
    version: str
    blake3: str


@dataclass(frozen=True, slots=True)
class ReplacedFile:
    """The file that a deployment replaced: the dated name that it has now, and the BLAKE3 of the whole file."""

    name: str
    blake3: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the note says of one deployment of a file; times are nanoseconds UTC."""

    blake3: str  # of the whole file
    size: int
    source: str  # with type and run: the parts of its path
    type: str
    run: int
    start: int | None  # of the run, if it is known
    valid_at: int  # the instant at which the constants are valid
    panels: tuple[PanelConstants, ...]  # in the order of the detector Id
    fmt: str | None  # of the values; None if the text keeps every bit
    origin: Mapping[str, Any]  # repository (its id), role, path and as_of; or gains, the path of a gain tree
    replaced: ReplacedFile | None
    time: int
    call: str  # random text that the files deployed together share
    about: Mapping[str, Any]  # user, host, program, dataset and command
    lock: Mapping[str, Any] | None = None  # of the constants, as JSON; None of a gain tree, and before 0.2.0
    stored_type: str | None = None  # the stored calibration type, if the file has the name of another one

    @property
    def detector(self) -> str:
        """The detector Id."""
        return "_".join(panel.panel for panel in self.panels)

    def has_same_origin(self, other: Deployment) -> bool:
        """Return whether both deployed the same constants, for the same instant, from the same place."""

        def essence(d: Deployment) -> tuple[Any, ...]:
            place = d.origin.get("repository", d.origin.get("gains"))
            return d.source, d.type, d.run, d.start, d.valid_at, d.panels, d.fmt, place

        return essence(self) == essence(other)

    def has_same_values(self, other: Deployment) -> bool:
        """Return whether the values in both files are the same."""
        hashes, others = ([panel.blake3 for panel in d.panels] for d in (self, other))
        return (self.type, self.fmt, hashes) == (other.type, other.fmt, others)


def encode_note(file: CalibFile, deployments: Iterable[Deployment]) -> bytes:
    """Return the bytes of the note beside `file`, which holds the first 50 of `deployments`, newest first."""
    bodies = [_encode(deployment) for deployment in deployments][:_MOST_DEPLOYMENTS]
    body = {"format": _FORMAT, "file": file.name, "deployments": bodies}
    return (json.dumps(body, indent=1, ensure_ascii=True) + "\n").encode()


def _encode(deployment: Deployment) -> dict[str, Any]:
    return {
        "blake3": deployment.blake3,
        "size": deployment.size,
        "source": deployment.source,
        "type": deployment.type,
        "run": deployment.run,
        "detector": deployment.detector,
        "begin": None if deployment.start is None else iso(deployment.start),
        "valid_at": iso(deployment.valid_at),
        "panels": [asdict(panel) for panel in deployment.panels],
        "format": deployment.fmt,
        "origin": dict(deployment.origin),
        "replaced": deployment.replaced and asdict(deployment.replaced),
        "time": iso(deployment.time),
        "call": deployment.call,
        **{name: deployment.about.get(name) for name in _ABOUT},
        **({} if deployment.stored_type is None else {"stored_type": deployment.stored_type}),
        **({} if deployment.lock is None else {"lock": dict(deployment.lock)}),
    }


def read_note(file: CalibFile) -> list[Deployment]:
    """Return the deployments in the note beside `file`, newest first; an empty list if there is no note.

    Damaged if jfstore did not write the note, Refused if a newer jfstore did, Failed if it cannot be read.
    """
    try:
        body = json.loads(read_regular(file.note, _SIZE_LIMIT))
        if type(body["format"]) is int and body["format"] > _FORMAT:
            raise Refused(f"{file.note} was made by a newer jfstore (format {body['format']})")
        if body["format"] != _FORMAT:
            raise ValueError(f"format {body['format']!r}")
        return [_decode(entry, file) for entry in body["deployments"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Failed(f"{file.note}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{file.note} is not a note of jfstore: {error!r}") from None


def _decode(body: Any, file: CalibFile) -> Deployment:
    panels = tuple(_decode_texts(PanelConstants, panel) for panel in body["panels"])
    if not panels or type(body["size"]) is not int or type(body["run"]) is not int:
        raise ValueError("a deployment without panels, size or run")
    replaced = body["replaced"] and _decode_texts(ReplacedFile, body["replaced"])
    if replaced and not re.fullmatch(rf"{re.escape(file.name)}-[0-9T:.-]+Z", replaced.name, re.ASCII):
        raise ValueError(f"{replaced.name!r} is not the dated name of a replaced file")
    return Deployment(
        blake3=_check_text(body["blake3"]),
        size=body["size"],
        source=_check_text(body["source"]),
        type=_check_text(body["type"]),
        run=body["run"],
        start=None if body["begin"] is None else _parse_instant(body["begin"]),
        valid_at=_parse_instant(body["valid_at"]),
        panels=panels,
        fmt=None if body["format"] is None else _check_text(body["format"]),
        origin=dict(body["origin"]),
        replaced=replaced,
        time=_parse_instant(body["time"]),
        call=_check_text(body["call"]),
        about={name: value for name, value in body.items() if name in _ABOUT},
        # It is decoded only if somebody wants to replay it: an audit reads very many notes.
        lock=None if body.get("lock") is None else dict(body["lock"]),
        stored_type=None if body.get("stored_type") is None else _check_text(body["stored_type"]),
    )


def _decode_texts(record: type[T], body: Any) -> T:
    return record(*(_check_text(body[field.name]) for field in fields(record)))


def _parse_instant(text: Any) -> int:
    return BEGINNING if text == iso(BEGINNING) else parse_iso(_check_text(text))


def _check_text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not text")
    return value
