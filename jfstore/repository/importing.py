"""Tell what a source of constants is, and import it with the method of the repository that reads that kind."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.adding import Added
    from jfstore.repository.exchanging import ExchangingRepository

PSANA2_PREFIX = "psana2:"
"""Starts the name of a detector in psana2's calibration database."""

_CALIBDIR_GROUP = "Jungfrau::CalibV1"
_PANEL_NAME = re.compile(r"[0-9a-fA-F]*-[0-9a-fA-F]*-[0-9a-fA-F]*", re.ASCII)
_TYPE_NAME = re.compile(r"pedestals|status_extra|pixel_[a-z]+", re.ASCII)
_GAIN_MAPS = re.compile(r"gainMaps_M[0-9]+.*\.bin", re.ASCII)
_SWISSFEL = re.compile(r"gains.*\.h5|.+\.res\.h5", re.ASCII)
_MOST_NAMES = 1000
"""Of a directory, this many names are looked at to tell its kind."""


@dataclass(frozen=True, slots=True)
class ImportKind:
    """A kind of source.

    Attributes
    ----------
    name : str
        What ``--kind`` calls it.
    title : str
        What it is, with its article.
    fits : callable
        Returns whether a path is of this kind, from names alone; None for the kind of all other files or directories.
    method : str or None
        The method of the repository that imports it; None if there is none.
    options : tuple of str
        Names of the parameters that the method has and not every one.
    may_be_empty : bool
        Whether it is usual that such a source has nothing to import.
    """

    name: str
    title: str
    fits: Callable[[str], bool] | None
    method: str | None
    options: tuple[str, ...] = ()
    may_be_empty: bool = False


def _has_calibdir_group(path: str) -> bool:
    return os.path.isdir(os.path.join(path, _CALIBDIR_GROUP))


def _has_panels(path: str) -> bool:
    """Return whether a directory, or ``jungfrau`` in it, has a panel's directory with one of a calibration type."""
    places = (path, os.path.join(path, "jungfrau"))
    panels = (os.path.join(place, name) for place in places for name in _list(place) if _PANEL_NAME.fullmatch(name))
    return any(_is_type_directory(panel, name) for panel in panels for name in _list(panel))


def _is_type_directory(panel: str, name: str) -> bool:
    return _TYPE_NAME.fullmatch(name) is not None and os.path.isdir(os.path.join(panel, name))


def _has_gain_maps(path: str) -> bool:
    """Return whether a file is called as the gain maps of a module, or a directory has such files."""
    names = _list(path) if os.path.isdir(path) else [os.path.basename(path)]
    return any(_GAIN_MAPS.fullmatch(name) for name in names)


def _is_swissfel_file(path: str) -> bool:
    return os.path.isfile(path) and _SWISSFEL.fullmatch(os.path.basename(path)) is not None


_RUNS = ("experiment", "source")
_TYPES = ("types",)
_SERVICE = ("url", "experiment", "types")
_MODULES = ("panels", "time")

KINDS = {
    kind.name: kind
    for kind in (
        ImportKind(
            "psana2",
            "a detector of psana2's database",
            lambda path: path.startswith(PSANA2_PREFIX),
            "import_psana2",
            _SERVICE,
        ),
        ImportKind("calibdir", "a calibration directory of psana", _has_calibdir_group, "import_calibdir", _RUNS),
        ImportKind("panels", "a panel repository of LCLS-II", _has_panels, "import_panel_repository", _TYPES),
        ImportKind("psi", "gain maps of PSI", _has_gain_maps, "import_psi", _MODULES),
        ImportKind("swissfel", "a file of SwissFEL", _is_swissfel_file, "import_swissfel", (*_MODULES, "contents")),
        ImportKind("gains", "a gain tree", None, "import_gains"),
        ImportKind("dcs", "a DCS file", None, "import_dcs", ("recover",), may_be_empty=True),
    )
}
"""Every kind of source by name, in the order in which they are tried; the last two are those of any other path."""


def identify_source(path: str | os.PathLike[str]) -> ImportKind:
    """Return what kind of source a path is; only names are looked at, not the contents of files.

    A directory that is of no other kind is a gain tree, and such a file is a DCS file.

    Raises
    ------
    BadValue
        If there is no such file or directory.
    """
    place = os.fspath(path)
    for kind in KINDS.values():
        if kind.fits and kind.fits(place):
            return kind
    if not os.path.exists(place):
        raise BadValue(f"{place}: no such file or directory")
    return KINDS["gains" if os.path.isdir(place) else "dcs"]


def find_kind(path: str | os.PathLike[str], name: str | None = None) -> ImportKind:
    """Return the kind of a source that can be imported.

    Parameters
    ----------
    path : path
        The source.
    name : str, optional
        Its kind, in place of what `identify_source` returns.

    Raises
    ------
    BadValue
        If there is no such kind or source, or it cannot be imported.
    """
    if name is not None and name not in KINDS:
        raise BadValue(f"{name!r} is not a kind of source: expected {', '.join(KINDS)}")
    kind = identify_source(path) if name is None else KINDS[name]
    if kind.method is None:
        place = os.fspath(path)
        raise BadValue(f"{place} is {kind.title}, which cannot be imported; if it is something else, say --kind")
    return kind


def check_options(kind: ImportKind, path: str | os.PathLike[str], options: Mapping[str, str]) -> None:
    """Raise BadValue unless sources of a kind take `options`: names of parameters, and how people write them."""
    for name, written in options.items():
        if name not in kind.options:
            takers = " or ".join(other.title for other in KINDS.values() if name in other.options)
            raise BadValue(f"{written} is for {takers}, and {os.fspath(path)} is {kind.title}")


def import_source(
    repository: ExchangingRepository,
    path: str | os.PathLike[str],
    message: str,
    *,
    kind: str | None = None,
    **options: Any,
) -> Added:
    """Import constants from a source of any kind.

    Parameters
    ----------
    path : path
        The source: a file or a directory, or a name that starts with ``psana2:``.
    message : str
        Why, for the log.
    kind : str, optional
        A name in `KINDS`; default the one that `identify_source` returns.
    **options
        Those of the method that imports this kind, such as `dry_run`.

    Raises
    ------
    BadValue
        As `find_kind`.
    JfstoreError
        As the method.
    """
    method = find_kind(path, kind).method
    assert method
    added: Added = getattr(repository, method)(path, message, **options)
    return added


def _list(directory: str) -> list[str]:
    """Return the first names in a directory; none if it cannot be read, which its import reports."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in islice(entries, _MOST_NAMES)]
    except (OSError, ValueError):
        return []
