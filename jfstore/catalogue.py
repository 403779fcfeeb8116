"""The catalogue: which repository a name means. Names are configured; a path is always a path.

``test`` and ``real`` mean, in this order: the directories named by the environment variables
``JFSTORE_TEST`` and ``JFSTORE_REAL``; the user's ``config.toml``; the site's; the two of LCLS. A
configuration file has one table::

    [repositories]
    real = "/path/of/the/real/repository"
    other = "/path/of/another"
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from jfstore.errors import BadValue, Failed, Refused, nearest
from jfstore.model import ROLES
from jfstore.repository.making import create, read_identity
from jfstore.repository.repository import Repository
from jfstore.storage.base import Storage
from jfstore.storage.hdf5 import Hdf5Storage
from jfstore.times import DEFAULT_ZONE

LCLS = {"test": "/reg/g/psdm/detector/calib/jungfrau", "real": "/reg/d/psdm/detector/calib/jungfrau"}
STORAGES = ("hdf5", "zarr")
_CONFIG = "config.toml"
_DETECTOR = re.compile(r"[a-z][a-z0-9_]{0,30}", re.ASCII)


def variable_of(name: str) -> str:
    """Return the environment variable that re-points `name`, ``JFSTORE_TEST`` for ``test``."""
    return f"JFSTORE_{name.upper()}"


def configured() -> dict[str, str]:
    """Return every configured name with its path, as environment, user, site and LCLS give them.

    Raises
    ------
    Failed
        If a configuration file cannot be read or is not as it should be.
    """
    names = dict(LCLS)
    for directory in (platformdirs.site_config_dir("jfstore"), platformdirs.user_config_dir("jfstore")):
        names.update(_read_config(Path(directory) / _CONFIG))
    names.update({role: os.environ[variable_of(role)] for role in ROLES if os.environ.get(variable_of(role))})
    return names


def _read_config(path: Path) -> Mapping[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise Failed(f"{path}: {error}") from None
    import tomllib  # slow to load, and seldom needed

    try:
        config = tomllib.loads(text)
    except ValueError as error:
        raise Failed(f"{path}: {error}") from None
    names = config.pop("repositories", {})
    if config or not isinstance(names, dict) or not all(isinstance(path, str) for path in names.values()):
        raise Failed(f"{path}: expected one table [repositories] of names and paths")
    return names


def locate(place: str) -> tuple[str | None, Path]:
    """Return the name (None if `place` is a path) and the directory that `place` means.

    Raises
    ------
    BadValue
        If `place` is neither a configured name nor looks like a path, or is a URL.
    """
    if not place:
        raise BadValue("the repository's name or path (--repo) is empty")
    if "://" in place:
        raise BadValue(f"{place}: repositories at a URL are not supported by this version")
    # A path is a path, whatever is configured and whether that can be read.
    names = {} if os.sep in place else configured()
    if place in names:
        if not names[place]:
            raise Failed(f"the configured path of repository {place!r} is empty")
        return place, Path(names[place]).expanduser()
    if os.sep not in place and place not in (".", "..") and not os.path.lexists(place):
        near = nearest(place, names) or sorted(names)
        raise BadValue(f"{place!r} is not a configured repository (a path has a /)", near)
    return None, Path(place)


def _there(name: str | None, path: Path) -> Path:
    if path.is_dir():
        return path
    if name is None:
        raise Failed(f"{path} is not there or is not a directory")
    hint = f"set {variable_of(name)}" if name in ROLES else f"see {platformdirs.user_config_dir('jfstore')}/{_CONFIG}"
    raise Failed(f"repository {name!r} is {path}, which is not there; {hint}")


def open_repository(place: str | os.PathLike[str]) -> Repository:
    """Return the repository that a name or a path means.

    Parameters
    ----------
    place : str or path
        ``test``, ``real``, another configured name, or the path of a directory.

    Raises
    ------
    Failed
        If its directory is not there.
    Refused
        If the directory is no repository, its role is not that of its name, or a newer jfstore made it.
    BadValue
        If `place` is no name.
    """
    name, path = locate(place) if isinstance(place, str) else (None, Path(place))
    try:
        path = _there(name, path)
        identity = read_identity(Hdf5Storage(path))
    except OSError as error:
        raise Failed(f"{error.filename or path}: {error.strerror}") from None
    if name in ROLES and identity.role != name:
        raise Refused(f"repository {name!r} is {path}, but that is a {identity.role} repository")
    return Repository(_storage_of(path, identity.storage, identity.detector), identity)


def _storage_of(path: Path, kind: str, detector: str) -> Storage:
    if kind == "hdf5":
        return Hdf5Storage(path, f"{detector}.h5")
    if kind == "zarr":
        from jfstore.storage.zarr import ZarrStorage

        return ZarrStorage(path, f"{detector}.index")
    raise Refused(f"{path} was made by a newer jfstore: it does not know the storage {kind!r}")


def make_repository(
    place: str,
    role: str | None,
    *,
    panel_shape: tuple[int, int, int] = (3, 512, 1024),
    zone: str = DEFAULT_ZONE,
    detector: str = "jungfrau",
    storage: str = STORAGES[0],
) -> Repository:
    """Make a repository at a name or path.

    Parameters
    ----------
    place : str
        A configured name, or the path of a directory; its parent must exist.
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
        If the directory above is not there.
    BadValue
        If no role is given, or another than the name's.
    Refused
        If there is one already, or the file system cannot hold one.
    """
    if place and os.sep not in place and place not in configured():
        place = f".{os.sep}{place}"
    name, path = locate(place)
    if name in ROLES:
        if role not in (None, name):
            raise BadValue(f"repository {name!r} cannot have the role {role!r}")
        role = name
    if role is None:
        raise BadValue("the role of the repository is missing: --role test or --role real")
    if not _DETECTOR.fullmatch(detector):
        raise BadValue(f"{detector!r} is not a detector type, such as jungfrau")
    if not path.parent.is_dir():
        raise Failed(f"{path.parent} is not there; make it first")
    if path.exists() and not path.is_dir():
        raise Refused(f"{path} exists and is not a directory")
    if storage not in STORAGES:
        raise BadValue(f"{storage!r} is not a storage: {' or '.join(STORAGES)}")
    made = _storage_of(path, storage, detector)
    return create(made, role, panel_shape=panel_shape, zone=zone, detector=detector)
