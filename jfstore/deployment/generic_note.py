"""Read and write the note beside a DCS file that constants of runs were deployed to: JSON, format 1, newest first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jfstore.errors import Damaged, Failed, Refused
from jfstore.fs import durable
from jfstore.fs.files import read_regular
from jfstore.fs.owner import Rights

_FORMAT = 1
_SIZE_LIMIT = 64 << 20
_MOST = 500
_TEXTS = ("type", "range", "experiment", "source", "call")


@dataclass(frozen=True, slots=True)
class GenericDeployment:
    """One version that was deployed to a DCS file.

    Attributes
    ----------
    type, range, number
        Where it is in the file.
    produced : float
        Its time of production in the file, by which it is known again.
    experiment, run, source
        The run that it was deployed for.
    versions : tuple of str
        For each panel the version in the repository, or the name in a gain tree.
    call : str
        Random text that versions deployed together share.
    about : mapping
        Origin, lock, user, host, program, dataset, command and time.
    """

    type: str
    range: str
    number: int
    produced: float
    experiment: str
    run: int
    source: str
    versions: tuple[str, ...]
    call: str
    about: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, str, int, float]:
        """What tells the version in the file."""
        return self.type, self.range, self.number, self.produced


def note_of(path: Path) -> Path:
    """Return the path of the note beside a DCS file."""
    return path.with_name(f"{path.name.removesuffix('.h5')}.jfstore.json")


def read_generic_note(path: Path) -> list[GenericDeployment]:
    """Return the deployments in the note beside the DCS file `path`, newest first; none if there is no note.

    Damaged if jfstore did not write the note, Refused if a newer jfstore did, Failed if it cannot be read.
    """
    note = note_of(path)
    try:
        body = json.loads(read_regular(note, _SIZE_LIMIT))
        if type(body["format"]) is int and body["format"] > _FORMAT:
            raise Refused(f"{note} was made by a newer jfstore (format {body['format']})")
        if body["format"] != _FORMAT:
            raise ValueError(f"format {body['format']!r}")
        return [_decode(entry) for entry in body["deployments"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Failed(f"{note}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{note} is not a note of jfstore: {error!r}") from None


def write_generic_note(path: Path, deployments: Iterable[GenericDeployment], rights: Rights) -> None:
    """Write the note beside the DCS file `path`, with the first 500 of `deployments`; without any, remove it."""
    bodies = [asdict(deployment) for deployment in deployments][:_MOST]
    if bodies:
        text = json.dumps({"format": _FORMAT, "file": path.name, "deployments": bodies}, indent=1, ensure_ascii=True)
        durable.overwrite(note_of(path), [text.encode(), b"\n"], rights.file, group=rights.group)
    elif note_of(path).exists():
        durable.remove(note_of(path))


def _decode(body: Any) -> GenericDeployment:
    if not all(isinstance(body[name], str) for name in _TEXTS):
        raise ValueError("a name is not text")
    if type(body["number"]) is not int or type(body["run"]) is not int:
        raise ValueError("a number is not an integer")
    versions = tuple(body["versions"])
    if not all(isinstance(version, str) for version in versions):
        raise ValueError("a version is not text")
    fields = {name: body[name] for name in (*_TEXTS, "number", "run")}
    return GenericDeployment(
        **fields, produced=float(body["produced"]), versions=versions, about=dict(body.get("about", {}))
    )
