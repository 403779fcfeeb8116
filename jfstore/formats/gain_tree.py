"""Read gain trees: directories ``M044`` with ``g0_gain.npy`` ... ``g2_offset.npy``, and names that link to them.

A name is ``<panel Id>-<stamp>``, or ``<panel Id>`` (valid from the beginning). It is a directory, a symbolic
link to one in the same tree, or, if the tree was copied without links (git, Windows shares), a small text file
with the target of the link.
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
from jfstore.core.calib_types import CALIB_TYPES, calib_type, panel_shape_of
from jfstore.core.ids import is_short_with_stamp, parse_panel
from jfstore.core.instants import BEGINNING_STAMP, Instant, parse_instant, stamp_at
from jfstore.core.validity import find_interval
from jfstore.errors import BadValue, Damaged, Failed, NotFound
from jfstore.formats.npy import read_npy, read_npy_shape
from jfstore.formats.tree_record import LOCK, RECORD
from jfstore.fs.durable import TEMPORARY
from jfstore.fs.files import read_regular

_NAME = re.compile(r"([0-9a-fA-F]*-[0-9a-fA-F]*-[0-9a-fA-F]*)(?:-([0-9]{14}))?", re.ASCII)
_MEANT = re.compile(r"([0-9a-fA-F]*-[0-9a-fA-F]*-[0-9a-fA-F]*)(?:-[0-9]*)?", re.ASCII)
_NAME_LIMIT = 255
_SIDE_LIMIT = 1 << 16
_GAINS = 3


@dataclass(frozen=True, slots=True)
class GainName:
    """A name of a gain tree: its panel, its start of validity, and the directory of the arrays."""

    name: str
    panel: str
    start: Instant
    directory: Path


@dataclass(frozen=True, slots=True)
class GainTree:
    """The contents of a gain tree."""

    names: tuple[GainName, ...]  # those that are understood, ordered by directory
    targets: tuple[str, ...]  # names of the directories to which they lead
    problems: Mapping[str, str]  # what is wrong with each of the other names
    notes: tuple[str, ...] = ()


def read_gain_directory(directory: Path, shape: tuple[int, int, int]) -> dict[str, Checked]:
    """Read ``g<range>_gain.npy``, ``g<range>_offset.npy`` and so on, each (row, column), by calibration type.

    A type without gain ranges is one file, such as ``mask.npy``. Types of which there is no file are left out.

    Parameters
    ----------
    directory : Path
        Their directory.
    shape : tuple of int
        (gain, row, column) of the panel.

    Raises
    ------
    BadValue
        If a file of a type is missing or not acceptable, or there is none at all.
    """
    files = {name: name_gain_files(name, shape[0]) for name in CALIB_TYPES}
    present = {name: paths for name, paths in files.items() if any(os.path.lexists(directory / path) for path in paths)}
    if not present:
        raise BadValue(f"{directory}: no file is {files['pixel_gain'][0]}, or one of another calibration type")
    return {
        name: _read_stack([directory / path for path in paths], name, panel_shape_of(name, shape))
        for name, paths in present.items()
    }


def name_gain_files(name: str, gains: int) -> tuple[str, ...]:
    """Return the names of the files of a calibration type in the directory of a panel's constants.

    Examples
    --------
    >>> name_gain_files("pixel_gain", 3), name_gain_files("pixel_mask", 3)
    (('g0_gain.npy', 'g1_gain.npy', 'g2_gain.npy'), ('mask.npy',))
    """
    meaning = calib_type(name)
    if "gain" not in meaning.axes:
        return (f"{meaning.legacy}.npy",)
    return tuple(f"g{gain}_{meaning.legacy}.npy" for gain in range(gains))


def _read_stack(paths: Sequence[Path], name: str, shape: tuple[int, ...]) -> Checked:
    arrays = [read_npy(path, [shape[-2:]], follow=False, name=name) for path in paths]
    return check_array(np.stack(arrays).reshape(shape), name, shape, [str(path) for path in paths])


def read_gain_shape(directory: Path) -> tuple[int, int, int]:
    """Return (gain, row, column) of the panel whose arrays are in `directory`, from its first file."""
    files = [directory / name_gain_files(name, _GAINS)[0] for name in CALIB_TYPES]
    path = next((path for path in files if os.path.lexists(path)), files[0])
    shape = read_npy_shape(path, follow=False)
    if len(shape) != 2 or not all(0 < size <= _SIDE_LIMIT for size in shape):
        raise BadValue(f"{path}: shape {shape} is not (row, column) of a panel")
    return _GAINS, shape[0], shape[1]


def is_gain_tree(root: Path) -> bool:
    """Return whether a directory has a name that looks like one of a panel's constants; Failed if it cannot be read."""
    try:
        return any(_MEANT.fullmatch(name) for name in os.listdir(root))
    except OSError as error:
        raise Failed(f"{root}: {error.strerror}") from None


def select_names(tree: GainTree, panels: Sequence[str], t: int, zone: ZoneInfo) -> list[GainName]:
    """Return the name of each panel whose constants are valid at `t`.

    Raises
    ------
    NotFound
        If a panel has none; the message has all such panels.
    BadValue
        If a name of a panel is not understood, because it might be the valid one.
    """
    found, missing = [], []
    for panel in panels:
        for name, reason in tree.problems.items():
            if _is_name_of(name, panel):
                raise BadValue(f"{name}: {reason}; it might be the valid one for panel {panel}")
        names = sorted((name for name in tree.names if name.panel == panel), key=lambda name: name.start)
        place = find_interval([name.start.ns for name in names], t)
        if place >= 0:
            found.append(names[place])
        else:
            missing.append(f"{panel} ({f'the first starts at {names[0].start}' if names else 'it has none'})")
    if missing:
        raise NotFound(f"no constants valid at {stamp_at(t, zone)} of panel {', '.join(missing)}")
    return found


def _is_name_of(name: str, panel: str) -> bool:
    """Return whether `name` is the panel's Id, perhaps with more digits, and so is meant as its constants."""
    match = _MEANT.fullmatch(name)
    try:
        return match is not None and str(parse_panel(match[1])) == panel
    except BadValue:
        return False


def scan_gain_tree(root: Path, zone: ZoneInfo) -> GainTree:
    """Return the names of the gain tree at `root`; stamps are read in `zone`. BadValue if it is not a directory."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        raise BadValue(f"{root} is not a directory") from None
    except OSError as error:
        raise Failed(f"{root}: {error.strerror}") from None
    names: list[GainName] = []
    problems: dict[str, str] = {}
    directories = set()
    for entry in entries:
        if entry.name in (RECORD, LOCK) or entry.name.startswith(TEMPORARY):
            continue  # those of an export
        match = _NAME.fullmatch(entry.name)
        if not match and entry.is_dir(follow_symlinks=False):
            directories.add(entry.name)
        elif not match:
            problems[entry.name] = "not <panel Id>-<stamp> or <panel Id>, and not a directory"
        else:
            try:
                names.append(_resolve(entry, match, root, zone))
            except (BadValue, Failed) as error:
                problems[entry.name] = error.message
            except OSError as error:
                problems[entry.name] = error.strerror or str(error)
    _reject_ambiguous(names, problems)
    # Two spellings of a panel that lead to one directory are one name.
    names = list({(found.panel, found.start): found for found in reversed(names)}.values())
    base = Path(os.path.realpath(root))
    targets = {found.directory.name for found in names if found.directory.parent == base} & directories
    problems.update(dict.fromkeys(directories - targets, "a directory that no <panel Id>-<stamp> leads to"))
    names.sort(key=lambda found: (str(found.directory), found.panel, found.start))
    notes = tuple(found.start.note for found in names if found.start.note)
    return GainTree(tuple(names), tuple(sorted(targets)), dict(sorted(problems.items())), notes)


def _reject_ambiguous(names: list[GainName], problems: dict[str, str]) -> None:
    """Move names of one panel and stamp that lead to different directories from `names` to `problems`."""
    for found in list(names):
        same = [other for other in names if (other.panel, other.start) == (found.panel, found.start)]
        others = [other for other in same if other.directory != found.directory]
        if others:
            problems[found.name] = f"names the same panel and stamp as {others[0].name}, but another directory"
    names[:] = [found for found in names if found.name not in problems]


def _resolve(entry: os.DirEntry[str], match: re.Match[str], root: Path, zone: ZoneInfo) -> GainName:
    if not match[2] and is_short_with_stamp(entry.name):
        raise BadValue("a short panel Id, which does not tell the panel")
    panel = str(parse_panel(match[1]))
    start = parse_instant(match[2] or BEGINNING_STAMP, zone)
    target = entry.name
    if entry.is_file(follow_symlinks=False):
        target = _read_link_text(Path(entry.path))
    elif not entry.is_symlink() and not entry.is_dir(follow_symlinks=False):
        raise BadValue("neither a directory nor a link to one")
    base = Path(os.path.realpath(root))
    directory = Path(os.path.realpath(base / target))
    if base not in directory.parents:
        raise BadValue(f"leads out of the tree, to {directory}")
    if not directory.is_dir():
        raise BadValue(f"leads to {directory.name}, which is not a directory of the tree")
    return GainName(entry.name, panel, start, directory)


def _read_link_text(path: Path) -> str:
    """Return the target in a text file that git wrote in place of a link."""
    try:
        text = read_regular(path, _NAME_LIMIT).decode().strip()
    except (Damaged, UnicodeDecodeError):
        text = ""
    if not text or "\n" in text or "\0" in text:
        raise BadValue("a file, not a directory or a link to one")
    return text
