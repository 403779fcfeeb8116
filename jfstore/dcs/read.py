"""Read a DCS file, which may be damaged or hostile, into records; constants are loaded when they are needed."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jfstore.dcs.hdf5 import Dataset, Tree, read_array, read_tree
from jfstore.dcs.model import TEXTS, TYPES, Blob, DcsContents, DcsRange, DcsType, DcsVersion, Notes, name_version
from jfstore.errors import Damaged, Failed, NotFound
from jfstore.fs.files import open_checked

_RANGE = re.compile(r"-?[0-9]{1,309}-(?:end|-?[0-9]{1,309})", re.ASCII)
_VERSION = re.compile(r"v(-?[0-9]{1,9})", re.ASCII)
_HISTORY, _PARAMETERS = "_history", "_parameters"
_TEXT, _TEXTS, _NOTES = 1 << 16, 16 << 20, 10_000
_INT64 = 1 << 63
_PIECE = 1 << 20


@contextmanager
def open_dcs(path: Path) -> Iterator[DcsContents]:
    """Open a DCS file and yield its contents; arrays can be loaded until the context ends.

    Raises
    ------
    NotFound
        If the file does not exist.
    Damaged
        If it does not have the layout of a DCS file, or has more notes or texts than are read.
    Failed
        If it cannot be read, or changes while it is read.
    """
    try:
        with open_checked(path, follow=True) as fd:
            yield _Reader(fd, str(path)).read_contents()
    except FileNotFoundError as error:
        raise NotFound(f"{error.filename or path}: no such file") from None
    except PermissionError as error:
        raise Failed(f"{path}: {error.strerror}") from None


class _Reader:
    """Reader of one open file; remembers foreign objects, and how much was read of what is limited."""

    def __init__(self, fd: int, where: str) -> None:
        self._fd, self._where = fd, where
        self._foreign: list[str] = []
        self._text_bytes = self._note_count = self._constant_text_bytes = 0
        self._state = self._get_state()

    def _get_state(self) -> tuple[int, int]:
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns

    def _load(self, dataset: Dataset) -> NDArray[Any]:
        array = read_array(self._fd, dataset, self._where)
        if self._get_state() != self._state:
            raise Failed(f"{self._where} changed while it was read; try again")
        return array

    def read_contents(self) -> DcsContents:
        """Return the contents of the file."""
        root = read_tree(self._fd, self._where)
        texts = {name: self._text(root, name, name) for name in ("dettype", "detid", "predecessor", "successor")}
        types = []
        for name, member in root.items():
            if name in TYPES and not isinstance(member, Dataset):
                types.append(self._type(name, member))
            elif name not in (*texts, "detname", "tscfile", _HISTORY, _PARAMETERS):
                self._foreign.append(name)
        return DcsContents(
            where=self._where,
            detector_type=texts["dettype"],
            detector_id=texts["detid"],
            created=self._time(root, "tscfile", ""),
            predecessor=texts["predecessor"],
            successor=texts["successor"],
            types=tuple(types),
            notes=self._notes(root, ""),
            foreign=tuple(dict.fromkeys(self._foreign)),
        )

    def _type(self, name: str, group: Tree) -> DcsType:
        ranges = []
        for key, member in group.items():
            if _RANGE.fullmatch(key) and not isinstance(member, Dataset):
                ranges.append(self._range(key, member, f"{name}/{key}"))
            elif key not in ("ctype", _HISTORY, _PARAMETERS):
                self._foreign.append(f"{name}/{key}")
        return DcsType(name, tuple(ranges), self._notes(group, name))

    def _range(self, key: str, group: Tree, path: str) -> DcsRange:
        """Return a range; a default that is not an integer is foreign and counts as 0, the last version."""
        versions = []
        for name, member in group.items():
            match = _VERSION.fullmatch(name)
            if match and name_version(int(match[1])) == name and not isinstance(member, Dataset):
                versions.append(self._version(int(match[1]), member, f"{path}/{name}"))
            elif name not in ("begin", "end", "range", "versdef", _HISTORY, _PARAMETERS):
                self._foreign.append(f"{path}/{name}")
        end = None
        if "end" in group:
            end = math.inf if self._text(group, "end", f"{path}/end") == "end" else self._time(group, "end", path)
            if end is None:
                raise Damaged(f"{self._where}: {path}/end is not a time")
        return DcsRange(
            key,
            self._time(group, "begin", path),
            end,
            self._integer(group, "versdef", f"{path}/versdef") or 0,
            tuple(sorted(versions, key=lambda version: version.number)),
            self._notes(group, path),
        )

    def _version(self, number: int, group: Tree, path: str) -> DcsVersion:
        known = ("version", "tsprod", "data", _HISTORY, _PARAMETERS)
        self._foreign += [f"{path}/{name}" for name in group if name not in known]
        data, blob = group.get("data"), None
        if isinstance(data, Dataset) and self._has_constants(data, f"{path}/data"):
            blob = Blob(data.dtype, data.shape, partial(self._load, data))
        produced, stored_number = self._time(group, "tsprod", path), self._integer(group, "version", f"{path}/version")
        return DcsVersion(number, blob, produced, stored_number, self._notes(group, path))

    def _has_constants(self, data: Dataset, path: str) -> bool:
        """Return whether constants were written to `data`; a text must be one element with bytes other than zero."""
        if data.offset is None or not data.dtype.startswith("|S"):
            return data.offset is not None or not data.nbytes
        if data.shape not in ((1,), ()):
            self._foreign.append(path)
            return False
        self._constant_text_bytes += data.nbytes
        if self._constant_text_bytes > TEXTS:
            raise Damaged(f"{self._where} has more than the {TEXTS} bytes that all texts together may have")
        # In pieces: this is done for all texts, whichever is asked for.
        for start in range(0, data.nbytes, _PIECE):
            piece = Dataset("|u1", (min(_PIECE, data.nbytes - start),), data.offset + start)
            if read_array(self._fd, piece, self._where).any():
                return True
        return False

    def _notes(self, group: Tree, path: str) -> Notes:
        history: dict[str, str] = {}
        parameters: dict[str, str | int | float] = {}
        for kind in (_HISTORY, _PARAMETERS):
            notes = group.get(kind, {})
            if isinstance(notes, Dataset):
                self._foreign.append(f"{path}/{kind}".lstrip("/"))
                continue
            self._note_count += len(notes)
            if self._note_count > _NOTES:
                raise Damaged(f"{self._where} has more than the {_NOTES} notes that a file may have")
            for name in notes:
                where = f"{path}/{kind}/{name}".lstrip("/")
                text = self._text(notes, name, where)
                if text is not None and kind == _HISTORY:
                    history[name] = text
                elif text is not None:
                    parameters[name] = text
                elif kind == _PARAMETERS and (value := self._number(notes, name, where)) is not None:
                    parameters[name] = value
                else:
                    self._foreign.append(where)
        return Notes(history, parameters)

    # -- values: None if a value is missing or of another kind

    def _scalar(self, group: Tree, name: str, kinds: str) -> Dataset | None:
        dataset = group.get(name)
        if not isinstance(dataset, Dataset) or dataset.offset is None or dataset.shape not in ((1,), ()):
            return None
        return dataset if dataset.dtype[1] in kinds else None

    def _text(self, group: Tree, name: str, path: str) -> str | None:
        """Return a text; None also if it is empty."""
        dataset = self._scalar(group, name, "S")
        if dataset is None:
            return None
        if dataset.nbytes > _TEXT:
            raise Damaged(f"{self._where}: {path} has {dataset.nbytes} bytes, more than the {_TEXT} of a note")
        self._text_bytes += dataset.nbytes
        if self._text_bytes > _TEXTS:
            raise Damaged(f"{self._where} has more than the {_TEXTS} bytes that all notes together may have")
        raw = read_array(self._fd, dataset, self._where).tobytes()
        # Bytes that are not UTF-8 are written again as they are.
        return raw.rstrip(b"\0").decode("utf-8", "surrogateescape") or None

    def _number(self, group: Tree, name: str, path: str) -> int | float | None:
        """Return a finite number; an integer beyond int64 is foreign."""
        dataset = self._scalar(group, name, "iuf")
        if dataset is None:
            return None
        value = read_array(self._fd, dataset, f"{self._where}: {path}").reshape(-1)[0].item()
        if isinstance(value, int) and value >= _INT64:
            self._foreign.append(path)
            return None
        return value if math.isfinite(value) else None

    def _integer(self, group: Tree, name: str, path: str) -> int | None:
        """Return an integer; any other number is foreign, so that no change of the file loses it."""
        value = self._number(group, name, path)
        if isinstance(value, float) and not (value.is_integer() and abs(value) < _INT64):
            self._foreign.append(path)
            return None
        return None if value is None else int(value)

    def _time(self, group: Tree, name: str, path: str) -> float | None:
        value = self._number(group, name, f"{path}/{name}")
        return None if value is None else float(value)
