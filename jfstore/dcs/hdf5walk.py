"""Processes that say what foreign HDF5 files hold and where it lies: one that `hdf5child` runs, a child for each file.

libhdf5 can be made to hang, to crash and to read other files by what is in a file, so it sees foreign files
here only: under limits, without the right to open anything, and with every link and storage checked before it is
followed. What comes out is JSON; the bytes of the datasets are read by whoever asked, without libhdf5.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import socket
from pathlib import Path
from typing import Any

_MEMORY = 384 << 20
_SECONDS = 10
_WAIT = 15
_DEPTH = 6
_OBJECTS = 100_000
_NAME = 320
_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())
_TEXT = 64 << 20


class _Refusal(Exception):
    """Why the file is not one that is read."""


def _limit() -> None:
    # The libraries take what they take; the rest is for the file.
    loaded = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_AS: loaded + _MEMORY,
    }
    for which, limit in limits.items():
        resource.setrlimit(which, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))
    signal.alarm(_WAIT)
    # What is loaded now is all there will be: nothing can be opened from here on, whatever the file says.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


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
            address = h5o.get_info(thing).addr
            if address in seen:
                raise _Refusal(f"{where} has more than one name")
            seen.add(address)
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
    if creation.get_layout() != h5d.CONTIGUOUS:  # so neither in chunks nor filtered
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


def _answer(fd: int) -> dict[str, Any]:
    import h5py

    try:
        with h5py.File(io.FileIO(fd, closefd=False), "r") as file:
            return {"tree": _walk(file.id)}
    except _Refusal as refusal:
        return {"refused": str(refusal)}
    # libhdf5 says what is wrong with a file in whatever class h5py makes of it.
    except Exception as error:  # noqa: BLE001 - see above
        return {"refused": (str(error) or type(error).__name__).splitlines()[0][:200]}


def _be_a_child(file: int, answer: int) -> None:
    try:
        _limit()
        with socket.socket(fileno=answer) as asker:
            asker.sendall(json.dumps(_answer(file)).encode())
        os._exit(0)
    finally:
        os._exit(1)


def serve() -> None:
    """Read files, whose descriptors come on standard input, a socket, each with one for the answer."""
    import h5py  # once for all files
    from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t

    assert all((h5py, h5a, h5d, h5g, h5l, h5o, h5s, h5t))
    asker = socket.socket(fileno=0)
    while True:
        fds = socket.recv_fds(asker, 1, 2)[1]
        if len(fds) != 2:
            return  # nobody asks any more
        pid = os.fork()
        if not pid:
            asker.close()
            _be_a_child(*fds)
        for fd in fds:
            os.close(fd)
        asker.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    serve()
