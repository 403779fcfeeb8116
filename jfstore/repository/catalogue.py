"""Find the repository that a name, a path or a URL means. Names are configured.

``test`` and ``real`` mean, in this order: the directories named by the environment variables
``JFSTORE_TEST`` and ``JFSTORE_REAL``; the user's ``config.toml``; the site's (see `jfstore.repository.configuration`);
the two of LCLS.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from jfstore.core.instants import DEFAULT_ZONE
from jfstore.core.records import ROLES
from jfstore.errors import BadValue, Damaged, Failed, Refused, nearest
from jfstore.repository.commits import IDENTITY_NAME
from jfstore.repository.configuration import CONFIG, read_configuration
from jfstore.repository.making import create, read_identity
from jfstore.repository.repository import Repository
from jfstore.storage.base import Storage
from jfstore.storage.hdf5 import Hdf5Storage

LCLS = {"test": "/reg/g/psdm/detector/calib/jungfrau", "real": "/reg/d/psdm/detector/calib/jungfrau"}
STORAGES = ("hdf5", "zarr")
_DETECTOR = re.compile(r"[a-z][a-z0-9_]{0,30}", re.ASCII)


def variable_of(name: str) -> str:
    """Return the environment variable that re-points `name`, ``JFSTORE_TEST`` for ``test``."""
    return f"JFSTORE_{name.upper()}"


def read_names() -> dict[str, str]:
    """Return every configured name with its path, as environment, user, site and LCLS give them.

    Raises
    ------
    Failed
        If a configuration file cannot be read or is not as it should be.
    """
    names = LCLS | dict(read_configuration().repositories)
    names.update({role: os.environ[variable_of(role)] for role in ROLES if os.environ.get(variable_of(role))})
    return names


def locate(place: str) -> tuple[str | None, Path | str]:
    """Return the name (None if `place` is a path or a URL) and the directory or URL that `place` means.

    Raises
    ------
    BadValue
        If `place` is neither a configured name nor looks like a path or a URL.
    """
    if not place:
        raise BadValue("the repository's name or path (--repo) is empty")
    if "://" in place:
        return None, _place(place)
    # A path is a path, whatever is configured and whether that can be read.
    names = {} if os.sep in place else read_names()
    if place in names:
        if not names[place]:
            raise Failed(f"the configured path of repository {place!r} is empty")
        return place, _place(names[place])
    if os.sep not in place and place not in (".", "..") and not os.path.lexists(place):
        near = nearest(place, names) or sorted(names)
        raise BadValue(f"{place!r} is neither a configured repository nor a directory that exists", near)
    return None, Path(os.path.expanduser(place))


def _place(text: str) -> Path | str:
    """Return the directory that a path or a ``file://`` URL names, or another URL as it is."""
    if text.endswith("://"):
        raise BadValue(f"{text} names no place: expected a URL such as s3://bucket/jungfrau")
    if not text.startswith("file://"):
        return text if "://" in text else Path(os.path.expanduser(text))
    path = text.removeprefix("file://")
    if not path.startswith("/"):
        raise BadValue(f"{text} names no path: file:// and an absolute path, file:///path")
    return Path(path)


def _check_directory(place: str, name: str | None, path: Path) -> None:
    if path.is_dir():
        return
    wrong = "is not a directory" if os.path.lexists(path) else "does not exist"
    if name is None:
        raise Failed(f"repository {place} {wrong}")
    hint = f"set {variable_of(name)}" if name in ROLES else f"see {platformdirs.user_config_dir('jfstore')}/{CONFIG}"
    raise Failed(f"repository {name!r} is {path}, which {wrong}; {hint}")


def open_repository(place: str | os.PathLike[str] = "real") -> Repository:
    """Return the repository that a name, a path or a URL means.

    Parameters
    ----------
    place : str or path
        ``test``, ``real``, another configured name, the path of a directory, or a URL.

    Raises
    ------
    Failed
        If its directory does not exist, or its server does not answer.
    Refused
        If the place is not a repository, its role is not that of its name, or a newer jfstore made it.
    BadValue
        If `place` is not a name.
    """
    if not isinstance(place, (str, os.PathLike)):
        raise BadValue(f"a repository is opened by its name, path or URL, not by {type(place).__name__}")
    name, path = locate(place) if isinstance(place, str) else (None, Path(place))
    try:
        if isinstance(path, Path):
            _check_directory(os.fspath(place), name, path)
        identity = read_identity(_storage_of(path, STORAGES[0] if isinstance(path, Path) else "zarr"))
    except OSError as error:
        raise Failed(f"{error.filename or path}: {error.strerror}") from None
    if name in ROLES and identity.role != name:
        raise Refused(f"repository {name!r} is {path}, but that is a {identity.role} repository")
    return Repository(_storage_of(path, identity.storage, identity.detector), identity)


def _storage_of(path: Path | str, kind: str, detector: str = "jungfrau") -> Storage:
    if kind == "hdf5" and isinstance(path, Path):
        return Hdf5Storage(path, f"{detector}.h5")
    if kind == "zarr":
        return _zarr(path, f"{detector}.index")
    raise Refused(f"{path} was made by a newer jfstore: it does not know the storage {kind!r} there")


def _zarr(path: Path | str, index_name: str) -> Storage:
    from jfstore.storage.zarr import ZarrStorage

    if isinstance(path, Path):
        return ZarrStorage(path, index_name)
    from jfstore.storage.array_cache import usual_cache
    from jfstore.storage.bucket import Remote

    return ZarrStorage(Remote(path), index_name, usual_cache())


def make_repository(
    place: str | os.PathLike[str],
    role: str | None,
    *,
    panel_shape: tuple[int, int, int] = (3, 512, 1024),
    zone: str = DEFAULT_ZONE,
    detector: str = "jungfrau",
    storage: str = STORAGES[0],
) -> Repository:
    """Make a repository at a name, path or URL.

    Parameters
    ----------
    place : str or path
        A configured name, the path of a directory, whose parent must exist, or the URL of a place in a bucket.
    role : str or None
        ``test`` or ``real``; the names ``test`` and ``real`` say it already.
    panel_shape : tuple of int
        (gain, row, column) of a panel.
    zone : str
        Time zone of the IANA database in which stamps are written.
    detector : str
        Detector type; gives the index its name.
    storage : str
        How arrays lie in it: ``hdf5`` or ``zarr``.

    Raises
    ------
    Failed
        If the directory above does not exist.
    BadValue
        If no role is given, or another than the name's.
    Refused
        If there is one already, or the file system cannot hold one.
    """
    name, path = _new_place(place) if isinstance(place, str) else (None, Path(place))
    if name in ROLES:
        if role not in (None, name):
            raise BadValue(f"repository {name!r} cannot have the role {role!r}")
        role = name
    if role is None:
        raise BadValue("the role of the repository is missing: --role test or --role real")
    if not _DETECTOR.fullmatch(detector):
        raise BadValue(f"{detector!r} is not a detector type, such as jungfrau")
    made = _new_storage(path, storage, detector)
    return create(made, role, panel_shape=panel_shape, zone=zone, detector=detector)


def _new_place(place: str) -> tuple[str | None, Path | str]:
    """Return name and place as `locate` does, of something that need not be there: a word is a directory."""
    if place and os.sep not in place and place not in read_names():
        place = f".{os.sep}{place}"
    return locate(place)


def _new_storage(path: Path | str, kind: str, detector: str) -> Storage:
    """Return a storage at a place that may hold nothing yet."""
    if kind not in STORAGES:
        raise BadValue(f"{kind!r} is not a storage: {' or '.join(STORAGES)}")
    if not isinstance(path, Path):
        if kind != "zarr":
            raise BadValue(f"{path}: HDF5 files need a directory; at a URL the storage is zarr: --storage zarr")
    elif not path.parent.is_dir():
        raise Failed(f"{path.parent} does not exist; make it first")
    elif path.exists() and not path.is_dir():
        raise Refused(f"{path} exists and is not a directory")
    return _storage_of(path, kind, detector)


def mirror_storage(place: str, source: Repository, kind: str | None) -> Storage:
    """Return the storage of a mirror of `source` at a name, path or URL, whether it is there already or not.

    Parameters
    ----------
    place : str
        As for `make_repository`.
    source : Repository
        What is to be copied.
    kind : str or None
        ``hdf5`` or ``zarr``; that of the mirror which is there, if None, or what fits the place.

    Raises
    ------
    Refused
        If the mirror that is there is of another kind, or the place is named for another role.
    """
    name, path = _new_place(place) if isinstance(place, str) else (None, Path(place))
    if name in ROLES and name != source.identity.role:
        raise Refused(f"{name!r} cannot be a mirror of a {source.identity.role} repository")
    usual = kind or ("hdf5" if isinstance(path, Path) else "zarr")
    storage = _new_storage(path, usual, source.identity.detector)
    try:
        there = read_identity(storage).storage
    except (Refused, NotADirectoryError):
        return storage
    if kind not in (None, there):
        raise Refused(f"{storage.location} is a {there} repository already, not {kind}")
    return _storage_of(path, there, source.identity.detector)


def find_broken_storage(place: str, source: Repository) -> Storage | None:
    """Return the storage of a copy of `source` whose ``repository.json`` cannot be read, None if it can."""
    path = locate(place)[1]
    index = f"{source.identity.detector}.index"
    kind = "hdf5" if isinstance(path, Path) and not (path / index).exists() else "zarr"
    storage = _storage_of(path, kind, source.identity.detector)
    try:
        read_identity(storage)
    except Damaged:
        return storage
    except Refused:
        # A newer jfstore may have made it.
        return None if storage.objects.exists(IDENTITY_NAME) or not storage.commits() else storage
    return None
