"""The process in which libhdf5 reads a foreign file: it writes the arrays of the file to standard output.

libhdf5 can be made to crash, to hang and to open other files by what is in a file. Here it sees one file, with limits
on memory and time, and cannot open another: the process may not open files any more. No link and no dataset that leads
out of the file is followed. `read_hdf5` of `jfstore.formats.hdf5_arrays` starts it and reads the answer.

    python -m jfstore.formats.hdf5_child COLUMNS [NAME ...] < FILE

The answer is a line of JSON and the bytes, little-endian, for each dataset of numbers whose last axis has so many
columns; or a line that says which panel Ids the file names, or why it is refused.

With names, it is for the datasets with these names in the root group only. Floats are sent as float32, which halves
what is in memory, and booleans as uint8; `stored` names their dtype in the file. A line says why a dataset is left out,
and each short text among the attributes of the file and of these datasets has a line.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MEMORY = 1 << 30
SECONDS = 60
BYTES = 2 << 30
_OBJECTS, _DEPTH, _NAME, _PANELS, _PIECE = 10_000, 6, 200, 256, 64 << 20
_ATTRIBUTES, _TEXT = 100, 8000


class _Refusal(Exception):
    """Why the file is not read."""


def _limit() -> None:
    """Give up the right to open anything, and limit memory and time."""
    with open("/proc/self/statm", "rb") as file:
        loaded = int(file.read().split()[0]) * resource.getpagesize()
    for which, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, loaded + MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(which, (limit, limit))
    signal.alarm(2 * SECONDS)


def _walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path and the dataset of everything that hard links lead to, each object once."""
    from h5py import h5d, h5g, h5l, h5o

    seen, count = {h5o.get_info(root).addr}, 0
    groups = [(root, "")]
    while groups:
        group, path = groups.pop()
        for raw in sorted(group):
            count += 1
            if count > _OBJECTS:
                raise _Refusal(f"it has more than {_OBJECTS} objects")
            if len(raw) > _NAME or group.links.get_info(raw).type != h5l.TYPE_HARD:
                continue
            found = h5o.open(group, raw)
            address = h5o.get_info(found).addr
            if address in seen:
                continue
            seen.add(address)
            name = f"{path}/{raw.decode('utf-8', 'backslashreplace')}"
            if isinstance(found, h5g.GroupID) and name.count("/") < _DEPTH:
                groups.append((found, name))
            elif isinstance(found, h5d.DatasetID):
                yield name, found


def _is_inside(dataset: Any) -> bool:
    """Return whether all bytes of a dataset are in the file."""
    from h5py import h5d

    creation = dataset.get_create_plist()
    return not creation.get_external_count() and creation.get_layout() != h5d.VIRTUAL


def _answer(file: Any, columns: int) -> Iterator[bytes]:
    """Yield the pieces of the answer."""
    import h5py

    total = 0
    for name, identifier in _walk(file.id):
        dataset = h5py.Dataset(identifier)
        if not _is_inside(identifier):
            continue
        if name.endswith("/panel_id") and dataset.size and dataset.size <= _PANELS:
            panels = [str(text)[:_NAME] for text in dataset.asstr()[...].reshape(-1).tolist()]
            yield json.dumps({"panels": panels}).encode() + b"\n"
        if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8 or dataset.ndim < 2:
            continue
        if dataset.shape[-1] != columns or not dataset.size:
            continue
        dtype = dataset.dtype.newbyteorder("<")
        total += dataset.size * dtype.itemsize
        if total > BYTES:
            raise _Refusal(f"its arrays have more than {BYTES} bytes")
        yield from _send(name, dataset, dtype)


def _send(name: str, dataset: Any, dtype: Any) -> Iterator[bytes]:
    """Yield the values of a dataset as a dtype, piece by piece, after the line that says what they are."""
    stored = dataset.dtype.newbyteorder("<").str
    head = {"name": name, "dtype": dtype.str, "shape": dataset.shape, "stored": stored}
    yield json.dumps(head).encode() + b"\n"
    each = max(1, _PIECE // (math.prod(dataset.shape[1:]) * dtype.itemsize))
    for first in range(0, len(dataset), each):
        yield dataset[first : first + each].astype(dtype).tobytes()


def _answer_datasets(file: Any, columns: int, names: list[str]) -> Iterator[bytes]:
    """Yield the pieces of the answer about the datasets with some names in the root group."""
    import numpy
    from h5py import h5l

    total, links = 0, file.id.links
    yield from _send_texts(file.attrs)
    for name in names:
        raw = name.encode()
        if not links.exists(raw):
            continue
        is_link = links.get_info(raw).type != h5l.TYPE_HARD
        dataset: Any = None if is_link else file[name]
        if reason := "it is a link" if is_link else _find_fault(dataset, columns):
            yield json.dumps({"name": name, "left_out": reason}).encode() + b"\n"
            continue
        dtype = numpy.dtype({"f": "<f4", "b": "|u1"}.get(dataset.dtype.kind, dataset.dtype.newbyteorder("<")))
        total += dataset.size * dtype.itemsize
        if total > BYTES:
            raise _Refusal(f"its arrays have more than {BYTES} bytes")
        yield from _send_texts(dataset.attrs)
        yield from _send(name, dataset, dtype)


def _find_fault(dataset: Any, columns: int) -> str:
    """Return why an object is not an array of panels; empty if it is."""
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        return "it is not a dataset"
    if not _is_inside(dataset.id):
        return "its values are in other files"
    if dataset.dtype.kind not in "fiub" or not 1 <= dataset.dtype.itemsize <= 8:
        return "its values are not numbers"
    if dataset.ndim < 2 or not dataset.size or dataset.shape[-1] != columns:
        return f"its shape is {str(dataset.shape)[:_NAME]}, and panels have {columns} columns"
    return ""


def _send_texts(attributes: Any) -> Iterator[bytes]:
    """Yield a line for each attribute that is a short text."""
    for name in list(attributes)[:_ATTRIBUTES]:
        try:
            value = attributes[name]
        except (OSError, TypeError, ValueError, UnicodeError):
            continue
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        if isinstance(value, str) and len(value) <= _TEXT and len(name) <= _NAME:
            yield json.dumps({"attribute": name, "text": str(value)}).encode() + b"\n"


def main() -> int:
    """Answer for the file that is the standard input."""
    import encodings.ascii
    import encodings.latin_1
    import io

    import h5py
    import numpy

    out = sys.stdout.buffer
    columns, names = int(sys.argv[1]), sys.argv[2:]
    with open(0, "rb", closefd=False) as source:
        # What is loaded on first use must be loaded before nothing can be opened.
        with h5py.File.in_memory() as warm:
            warm["panel_id"] = ["1-2-3"]
            warm["data"] = numpy.zeros((2, 2))
            warm["text"] = numpy.array([b"a"])
            warm.attrs["text"] = "text"
            warm["bool"] = numpy.zeros((2, 2), bool)
            list(_answer(warm, 2))
            list(_answer_datasets(warm, 2, ["data", "bool", "text", "none"]))
        with suppress(OSError):
            h5py.File(io.BytesIO(b"no HDF5"), "r")
        assert encodings.ascii
        assert encodings.latin_1
        _limit()
        try:
            with h5py.File(source, "r") as file:
                for piece in _answer_datasets(file, columns, names) if names else _answer(file, columns):
                    out.write(piece)
        except _Refusal as error:
            out.write(json.dumps({"refused": str(error)}).encode() + b"\n")
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            text = str(error).splitlines() or [type(error).__name__]
            out.write(json.dumps({"refused": f"libhdf5 cannot read it: {text[0][:_NAME]}"}).encode() + b"\n")
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
