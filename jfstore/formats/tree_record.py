"""Read and write the record of what jfstore exported to a gain tree: ``.jfstore.json`` in the tree, JSON, format 1.

It says which directories and names of the tree are those of jfstore, and which versions of a repository they hold.
Everything else in the tree is somebody else's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jfstore.errors import Damaged, Failed, Refused
from jfstore.fs.files import read_regular

RECORD, LOCK = ".jfstore.json", ".jfstore.lock"
_FORMAT = 1
_SIZE_LIMIT = 256 << 20
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TreeDirectory:
    """A directory that jfstore wrote: by calibration type the BLAKE3 of the array, and the version that it is of."""

    panel: str
    content: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(slots=True)
class TreeRecord:
    """What jfstore exported to a tree from one repository.

    Attributes
    ----------
    repository : str
        Its id; empty if nothing was exported yet.
    directories : dict of str to TreeDirectory
        The directories by name. One that was stopped before it got its name does not exist.
    links : dict of str to list of str
        By name of a panel and start the directories that it has led to; the last one is the present one.
    """

    repository: str = ""
    directories: dict[str, TreeDirectory] = field(default_factory=dict)
    links: dict[str, list[str]] = field(default_factory=dict)


def read_record(root: Path) -> TreeRecord:
    """Return the record of a gain tree; an empty one if jfstore exported nothing to it.

    Raises
    ------
    Damaged
        If the file is not a record.
    Refused
        If a newer jfstore wrote it.
    Failed
        If it cannot be read.
    """
    path = root / RECORD
    try:
        body = json.loads(read_regular(path, _SIZE_LIMIT))
        if type(body["format"]) is int and body["format"] > _FORMAT:
            raise Refused(f"{path} was made by a newer jfstore (format {body['format']})")
        if body["format"] != _FORMAT:
            raise ValueError(f"format {body['format']!r}")
        directories = {_check_name(name): _decode(value) for name, value in body["directories"].items()}
        links = {_check_name(name): [_check_name(one) for one in names] for name, names in body["links"].items()}
        return TreeRecord(_check_text(body["repository"]), directories, links)
    except FileNotFoundError:
        return TreeRecord()
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path} is not a record of jfstore: {error!r}") from None


def encode_record(record: TreeRecord) -> bytes:
    """Return the bytes of a record."""
    directories = {
        name: {"panel": one.panel, "content": dict(one.content), "versions": dict(one.versions)}
        for name, one in record.directories.items()
    }
    body = {"format": _FORMAT, "repository": record.repository, "directories": directories, "links": record.links}
    return (json.dumps(body, indent=1, ensure_ascii=True) + "\n").encode()


def _decode(body: Any) -> TreeDirectory:
    content = {_check_text(name): _check_text(blake3) for name, blake3 in body["content"].items()}
    if not all(_HASH.fullmatch(blake3) for blake3 in content.values()):
        raise ValueError("a hash is not one")
    versions = {_check_text(name): _check_text(version) for name, version in body["versions"].items()}
    return TreeDirectory(_check_text(body["panel"]), content, versions)


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _check_name(value: Any) -> str:
    if not isinstance(value, str) or not value or value.startswith(".") or {"/", "\0"} & {*value}:
        raise ValueError(f"{value!r} is not a name in the tree")
    return value
