"""Legacy gain trees: directories ``M044`` of ``g0_gain.npy`` ... ``g2_offset.npy``, and the names
``<panel Id>-<stamp>`` (or ``<panel Id>``: valid from the beginning) that assign them to panels.

A name is a directory, a symbolic link to one in the same tree, or, where a tree was copied without
its links (git, Windows shares), a small text file that holds the name the link pointed to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.arrays import Checked, check_array
from jfstore.core.calib_types import CALIB_TYPES, CalibType
from jfstore.core.ids import is_short_with_stamp, parse_panel
from jfstore.core.instants import BEGINNING_STAMP, parse_instant, parse_time, stamp_at
from jfstore.errors import BadValue, Damaged, Failed, NotFound
from jfstore.formats.npy import npy_shape, read_npy
from jfstore.fs.files import read_regular

_NAME = re.compile(r"([0-9a-fA-F]*-[0-9a-fA-F]*-[0-9a-fA-F]*)(?:-([0-9]{14}))?", re.ASCII)
_MEANT = re.compile(r"([0-9a-fA-F]*-[0-9a-fA-F]*-[0-9a-fA-F]*)(?:-[0-9]*)?", re.ASCII)
_NAME_LIMIT = 255
_SIDE_LIMIT = 1 << 16
GAINS = 3
"""Gain ranges of a panel."""


@dataclass(frozen=True, slots=True)
class GainName:
    """One understood name of a gain tree: which panel, from when, and the directory of its arrays."""

    name: str
    panel: str
    stamp: str
    start: int
    directory: Path


@dataclass(frozen=True, slots=True)
class GainTree:
    """What a gain tree holds: understood names (those of one directory side by side), the
    directories they lead to, and what is wrong with every other name."""

    names: tuple[GainName, ...]
    targets: tuple[str, ...]
    problems: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read_gain_directory(directory: Path, shape: tuple[int, int, int]) -> dict[str, Checked]:
    """Return the arrays of one directory by calibration type.

    Parameters
    ----------
    directory : Path
        Holds ``g<range>_gain.npy`` and ``g<range>_offset.npy``, each (row, column).
    shape : tuple of int
        (gain, row, column) of the panel.

    Raises
    ------
    BadValue
        If a file is missing or is not acceptable.
    """
    return {name: _stack(directory, calib_type, shape) for name, calib_type in CALIB_TYPES.items()}


def _stack(directory: Path, calib_type: CalibType, shape: tuple[int, int, int]) -> Checked:
    paths = [directory / f"g{gain}_{calib_type.legacy}.npy" for gain in range(shape[0])]
    arrays = [read_npy(path, [shape[1:]], follow=False) for path in paths]
    return check_array(np.stack(arrays), calib_type.name, shape, [str(path) for path in paths])


def is_gain_tree(root: Path) -> bool:
    """Whether any name in a directory is meant as that of a panel's constants; Failed if it cannot be read."""
    try:
        return any(_MEANT.fullmatch(name) for name in os.listdir(root))
    except OSError as error:
        raise Failed(f"{root}: {error.strerror}") from None


def gain_shape(directory: Path) -> tuple[int, int, int]:
    """Return (gain, row, column) of the panel whose arrays are in `directory`, as its first file says; BadValue
    if that is no array of rows and columns."""
    path = directory / f"g0_{next(iter(CALIB_TYPES.values())).legacy}.npy"
    shape = npy_shape(path, follow=False)
    if len(shape) != 2 or not all(0 < size <= _SIDE_LIMIT for size in shape):
        raise BadValue(f"{path}: shape {shape} is not that of the rows and columns of a panel")
    return GAINS, shape[0], shape[1]


def valid_names(tree: GainTree, panels: Sequence[str], t: int, zone: ZoneInfo) -> list[GainName]:
    """Return the name of each of `panels` whose constants are valid at `t`: the greatest stamp at or before it.

    Raises
    ------
    NotFound
        If a panel has none; all such panels are named.
    BadValue
        If a name of a panel is not understood, for it might be the one that is valid.
    """
    found, missing = [], []
    for panel in panels:
        for name, reason in tree.problems.items():
            if _names_panel(name, panel):
                raise BadValue(f"{name}: {reason}; it might be what is valid for panel {panel}")
        names = sorted((name for name in tree.names if name.panel == panel), key=lambda name: name.start)
        valid = [name for name in names if name.start <= t]
        if valid:
            found.append(valid[-1])
        else:
            missing.append(f"{panel} ({f'the first starts at {names[0].stamp}' if names else 'it has none'})")
    if missing:
        raise NotFound(f"no constants valid at {stamp_at(t, zone)} of panel {', '.join(missing)}")
    return found


def _names_panel(name: str, panel: str) -> bool:
    """Whether `name` is that of a panel with nothing or with digits after it, so that it is meant as its constants."""
    match = _MEANT.fullmatch(name)
    try:
        return match is not None and str(parse_panel(match[1])) == panel
    except BadValue:
        return False


def scan_gain_tree(root: Path, zone: ZoneInfo) -> GainTree:
    """Return what the gain tree at `root` holds; stamps are read in `zone`.

    Raises
    ------
    BadValue
        If `root` is not a directory.
    Failed
        If it cannot be read.
    """
    names: list[GainName] = []
    problems: dict[str, str] = {}
    directories = set()
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        raise BadValue(f"{root} is not a directory") from None
    except OSError as error:
        raise Failed(f"{root}: {error.strerror}") from None
    for entry in entries:
        match = _NAME.fullmatch(entry.name)
        if not match:
            if entry.is_dir(follow_symlinks=False):
                directories.add(entry.name)
            else:
                problems[entry.name] = "not <panel Id>-<stamp> or <panel Id>, and not a directory"
            continue
        try:
            names.append(_understood(entry, match, root, zone))
        except (BadValue, Failed) as error:
            problems[entry.name] = error.message
        except OSError as error:
            problems[entry.name] = error.strerror or str(error)
    for found in names:
        others = [
            o for o in names if (o.panel, o.stamp) == (found.panel, found.stamp) and o.directory != found.directory
        ]
        if others:
            problems[found.name] = f"names the same panel and stamp as {others[0].name}, but another directory"
    # Two spellings of one panel that lead to one directory are one name.
    once = {(found.panel, found.stamp): found for found in reversed(names) if found.name not in problems}
    names = list(once.values())
    base = Path(os.path.realpath(root))
    targets = {found.directory.name for found in names if found.directory.parent == base} & directories
    for name in sorted(directories - targets):
        problems[name] = "a directory that no <panel Id>-<stamp> leads to"
    ordered = sorted(names, key=lambda found: (str(found.directory), found.panel, found.start))
    notes = tuple(note for found in ordered if (note := parse_instant(found.stamp, zone).note))
    return GainTree(tuple(ordered), tuple(sorted(targets)), dict(sorted(problems.items())), notes)


def _understood(entry: os.DirEntry[str], match: re.Match[str], root: Path, zone: ZoneInfo) -> GainName:
    if not match[2] and is_short_with_stamp(entry.name):
        raise BadValue("a short panel Id: which panel it means cannot be known here")
    panel = str(parse_panel(match[1]))
    stamp = match[2] or BEGINNING_STAMP
    start = parse_time(stamp, zone)
    target = entry.name
    if entry.is_file(follow_symlinks=False):
        target = _link_text(Path(entry.path))
    elif not entry.is_symlink() and not entry.is_dir(follow_symlinks=False):
        raise BadValue("neither a directory nor a link to one")
    base = Path(os.path.realpath(root))
    directory = Path(os.path.realpath(base / target))
    if base not in directory.parents:
        raise BadValue(f"leads out of the tree, to {directory}")
    if not directory.is_dir():
        raise BadValue(f"leads to {directory.name}, which is not a directory of the tree")
    return GainName(entry.name, panel, stamp, start, directory)


def _link_text(path: Path) -> str:
    """Return the name in a file that stands for a link, as git writes one where links are off."""
    try:
        text = read_regular(path, _NAME_LIMIT).decode().strip()
    except (Damaged, UnicodeDecodeError):
        text = ""
    if not text or "\n" in text or "\0" in text:
        raise BadValue("a file, not a directory or a link to one")
    return text
