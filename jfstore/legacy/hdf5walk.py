"""A process of its own that says what a foreign HDF5 file holds and where it lies; `hdf5tree` runs it.

libhdf5 can be made to hang, to crash and to read other files by what is in a file, so it sees foreign files
here only: under limits, without the right to open anything, and with every link and storage checked before it is
followed. What comes out is JSON; the bytes of the datasets are read by whoever asked, without libhdf5.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from typing import Any

_MEMORY = 448 << 20
_SECONDS = 10
_DEPTH = 6
_OBJECTS = 100_000
_NAME = 320
_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())
_TEXT = 64 << 20


class _Refusal(Exception):
    """Why the file is not one that is read."""


def _limit() -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CPU: _SECONDS,
        resource.RLIMIT_AS: _MEMORY,
    }
    for which, limit in limits.items():
        resource.setrlimit(which, (limit, limit))


def _walk(root: Any) -> dict[str, Any]:
    """Return the tree of groups, as mappings, and datasets, as lists of dtype, shape and offset."""
    from h5py import h5a, h5d, h5g, h5l, h5o

    tree: dict[str, Any] = {}
    seen = {h5o.get_info(root).addr}
    objects = 0
    todo = [(root, "", tree)]
    while todo:
        group, path, found = todo.pop()
        if h5a.get_num_attrs(group):
            raise _Refusal(f"{path or '/'} has attributes, and none are ever written there")
        objects += group.get_num_objs()
        if objects > _OBJECTS:
            raise _Refusal(f"it has more than {_OBJECTS} objects")
        if path.count("/") >= _DEPTH:
            raise _Refusal(f"{path} is nested too deeply")
        for raw in list(group):
            name = raw.decode("utf-8", "backslashreplace")
            where = f"{path}/{name}"
            if len(raw) > _NAME or not name.isprintable() or name.encode() != raw:
                raise _Refusal(f"{where[:80]!r} is not the name of anything")
            # One name at a time, and its kind before it is opened: no other link is ever followed.
            if group.links.get_info(raw).type != h5l.TYPE_HARD:
                raise _Refusal(f"{where} is a soft or external link")
            thing = h5o.open(group, raw)
            info = h5o.get_info(thing)
            if info.addr in seen or info.rc != 1:
                raise _Refusal(f"{where} has more than one name")
            seen.add(info.addr)
            if isinstance(thing, h5g.GroupID):
                found[name] = {}
                todo.append((thing, where, found[name]))
            elif isinstance(thing, h5d.DatasetID):
                if h5a.get_num_attrs(thing):
                    raise _Refusal(f"{where} has attributes, and none are ever written there")
                found[name] = _dataset(thing, where)
            else:
                raise _Refusal(f"{where} is neither a group nor a dataset")
    return tree


def _dataset(dataset: Any, where: str) -> list[Any]:
    import numpy as np
    from h5py import h5d, h5s, h5t

    creation = dataset.get_create_plist()
    if creation.get_external_count():
        raise _Refusal(f"the bytes of {where} are in another file")
    if creation.get_layout() != h5d.CONTIGUOUS or creation.get_nfilters():
        raise _Refusal(f"{where} is not stored in one piece as it is")
    kind = dataset.get_type()
    if isinstance(kind, h5t.TypeStringID):
        if kind.is_variable_str() or kind.get_size() > _TEXT:
            raise _Refusal(f"{where} is not text of a fixed length")
        dtype = f"|S{kind.get_size()}"
    elif isinstance(kind, (h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeEnumID)):
        dtype = kind.dtype.str
        # As numpy would have stored it: no odd bits, and no names for numbers but those of bool.
        plain = kind.equal(h5t.py_create(np.dtype(dtype), logical=True))
        if dtype[1:] not in _NUMBERS or not plain:
            raise _Refusal(f"{where} is of a type that constants do not have")
    else:
        raise _Refusal(f"{where} is of a type that constants do not have")
    space = dataset.get_space()
    if space.get_simple_extent_type() not in (h5s.SCALAR, h5s.SIMPLE):
        raise _Refusal(f"{where} has no shape")
    return [dtype, space.get_simple_extent_dims(), dataset.get_offset()]


def _answer() -> dict[str, Any]:
    import h5py

    # What is loaded now is all there will be: nothing can be opened from here on, whatever the file says.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    try:
        with h5py.File(io.FileIO(0, closefd=False), "r") as file:
            return {"tree": _walk(file.id)}
    except _Refusal as refusal:
        return {"refused": str(refusal)}
    # libhdf5 says what is wrong with a file in whatever class h5py makes of it.
    except Exception as error:  # noqa: BLE001 - see above
        return {"refused": (str(error) or type(error).__name__).splitlines()[0][:200]}


if __name__ == "__main__":
    _limit()
    sys.stdout.write(json.dumps(_answer()))
    sys.stdout.flush()
