"""Export the timelines of panels to a gain tree, so that programs that read gain trees see what a repository holds.

A tree has a name ``<panel Id>-<stamp>`` for each start of validity, which links to a directory with everything that is
valid then. A directory never changes once it has its name: new constants get a new directory, and the link is replaced
at once. ``.jfstore.json`` in the tree records which names and directories are those of jfstore; no others are touched.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.hashing import digest
from jfstore.core.slabs import slab_indices
from jfstore.core.table import Table
from jfstore.core.tree_names import (
    TreeStart,
    find_closes,
    find_directory_names,
    find_families,
    list_withdrawn,
    make_tree_name,
    number_directory,
    panel_of_name,
    plan_names,
)
from jfstore.errors import Failed, JfstoreError, NotFound, Refused
from jfstore.formats.gain_tree import GainTree, name_gain_files, read_gain_directory, scan_gain_tree
from jfstore.formats.tree_record import LOCK, RECORD, TreeDirectory, encode_record, read_record
from jfstore.fs import durable
from jfstore.fs.append import appending
from jfstore.fs.output_file import npy_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jfstore.repository.reading import ReadableRepository

Progress = Callable[[int, int], None]

_DIRECTORY_MODE, _FILE_MODE, _SHARED_MODE = 0o2775, 0o444, 0o664
_DAY = 86400.0
_PATIENCE = 60.0
_NAMED = 5


@dataclass(frozen=True, slots=True)
class TreeName:
    """A name ``<panel Id>-<stamp>`` of an exported tree.

    Attributes
    ----------
    state : str
        ``new``, ``unchanged``, ``replaced`` (it led to another directory) or ``removed`` (nothing starts there now).
    name : str
        The name; ``<panel Id>`` if the constants are valid from the beginning.
    directory : str
        The directory that it leads to, or led to if it was removed.
    versions : tuple of (str, str)
        Calibration type, and the version whose array is in the directory.
    """

    state: str
    name: str
    directory: str
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExportedTree:
    """What an export to a gain tree did.

    Attributes
    ----------
    path : str
        The directory of the tree.
    names : tuple of TreeName
        The names of the exported panels.
    written : tuple of str
        The directories that were written.
    withdrawn : tuple of str
        Versions of the panels that are withdrawn, so that they are not in the tree.
    differences : tuple of str
        Where readers of the tree get another answer than the repository gives: a tree cannot say that nothing is
        valid, and may have names of others.
    as_of : int
        The commit that the tree is as of.
    """

    path: str
    names: tuple[TreeName, ...]
    written: tuple[str, ...]
    withdrawn: tuple[str, ...]
    differences: tuple[str, ...]
    as_of: int


def export_tree(
    repository: ReadableRepository,
    panels: Sequence[str] | str | None,
    path: str | os.PathLike[str],
    *,
    types: Sequence[str] | str | None = None,
    as_of: int | str | None = None,
    progress: Progress = lambda done, total: None,
) -> ExportedTree:
    """Export panels to a gain tree; see `Repository.export_tree`."""
    root = Path(path)
    seq = repository.seq_of(as_of)
    table = repository.log.table(seq)
    last = table.seq if seq is None else seq
    asked = _check_types(types)
    families = find_families(table, panels, last)
    wanted = [one for family in families for one in plan_names(table, family, asked, last)]
    if not wanted:
        raise NotFound(f"{repository.location} has no constants of {'any panel' if panels is None else panels}")
    if (root / "repository.json").exists():
        raise Refused(f"{root} is a repository; a gain tree is a directory of its own")
    differences = [text for family in families for text in _tell_closes(repository, table, family, asked, last)]
    withdrawn = [name for family in families for name in list_withdrawn(table, family, asked, last)]
    with _convert_errors(root):
        if not root.is_dir():
            durable.make_directory(root, _DIRECTORY_MODE)
        with appending(root / LOCK, _SHARED_MODE, timeout=_PATIENCE):
            _remove_leftovers(root)
            exporter = _Exporter(repository, root, table, families)
            names, written = exporter.run(wanted, progress)
    differences += exporter.foreign
    return ExportedTree(os.fspath(path), names, written, tuple(withdrawn), tuple(differences), last)


def _check_types(types: Sequence[str] | str | None) -> tuple[str, ...]:
    from jfstore.repository.asked_types import check_types

    return check_types(types) or tuple(CALIB_TYPES)


def _tell_closes(
    repository: ReadableRepository, table: Table, family: Sequence[str], types: Sequence[str], as_of: int
) -> Iterator[str]:
    """Yield a sentence about each close after which readers of the tree take what was valid before."""
    for close, names in find_closes(table, family, types, as_of):
        said = repository.summary(close.seq)
        yield (
            f"{close.name} closes {', '.join(names)} (commit {close.seq}, {said.user}: "
            f"{said.message.splitlines()[0]}): a gain tree cannot say so, its readers take what was valid before"
        )


class _Exporter:
    """Writes directories and links to one tree, whose lock the caller holds."""

    def __init__(
        self, repository: ReadableRepository, root: Path, table: Table, families: Iterable[Sequence[str]]
    ) -> None:
        self._repository, self._root = repository, root
        self._family = {panel: family for family in families for panel in family}
        self._names = find_directory_names(table)
        self._record = read_record(root)
        self.foreign: list[str] = []
        if self._record.repository not in ("", repository.id):
            raise Refused(
                f"{root} has what was exported from repository {self._record.repository}, and this one is "
                f"{repository.id}: export to a tree of its own"
            )
        self._tree: GainTree = scan_gain_tree(root, repository.zone)
        self._found = {(found.panel, found.start.stamp): found for found in self._tree.names}

    def run(self, wanted: Sequence[TreeStart], progress: Progress) -> tuple[tuple[TreeName, ...], tuple[str, ...]]:
        """Export `wanted`; return the names, and the directories that were written."""
        states = {one.name: self._judge(one) for one in wanted}
        self._refuse_conflicts([name for name, state in states.items() if state == "foreign"])
        targets: dict[str, str] = {}
        missing: dict[str, TreeStart] = {}
        for one in wanted:
            if states[one.name] == "equal":
                targets[one.name] = self._found[one.panel, one.stamp].directory.name
                continue
            directory = self._find_directory(one)
            if not self._is_whole(directory):
                missing.setdefault(directory, one)
            targets[one.name] = directory
            self._record.links.setdefault(one.name, [])
        stale = self._find_stale({one.name for one in wanted})
        self.foreign += self._tell_foreign({one.name for one in wanted}, stale)
        done = [self._describe(one, states[one.name], targets[one.name]) for one in wanted]
        done += [TreeName("removed", name, self._record.links[name][-1]) for name in stale]
        if any(name.state != "unchanged" for name in done) or missing:
            self._write(targets, missing, stale, progress)
        return tuple(done), tuple(missing)

    # -- what there is

    def _judge(self, one: TreeStart) -> str:
        """Return whether a name is missing, led to a directory of jfstore, is somebody else's, or that with equal
        arrays."""
        path, found = self._root / one.name, self._found.get((one.panel, one.stamp))
        if self._is_own(one.name):
            return "own"
        if found is None and not os.path.lexists(path):
            return "missing"
        if found is None:
            return "foreign"
        try:
            arrays = read_gain_directory(found.directory, self._repository.panel_shape)
        except JfstoreError:
            return "foreign"
        hashes = {name: digest(checked.array.reshape(-1).view("u1")) for name, checked in arrays.items()}
        return "equal" if hashes == one.hashes else "foreign"

    def _is_own(self, name: str) -> bool:
        """Return whether jfstore made the link `name`, and nobody replaced it."""
        with suppress(OSError):
            return os.readlink(self._root / name) in self._record.links.get(name, ())
        return False

    def _refuse_conflicts(self, names: Sequence[str]) -> None:
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise Refused(
                f"{self._root}: {', '.join(names[:_NAMED])}{more} exists, holds other constants, and was not written "
                "by jfstore: move it away first; nothing was exported"
            )

    def _find_stale(self, wanted: set[str]) -> list[str]:
        """Return the links of the exported panels that jfstore made at a start that there is no more."""
        return [
            name
            for name in self._record.links
            if name not in wanted and panel_of_name(name) in self._family and self._is_own(name)
        ]

    def _tell_foreign(self, wanted: set[str], stale: Sequence[str]) -> Iterator[str]:
        for (panel, stamp), found in self._found.items():
            if panel in self._family and make_tree_name(panel, stamp) not in wanted and found.name not in stale:
                yield f"{found.name}, which jfstore did not write, is in the tree, and nothing starts then"
        for name, reason in self._tree.problems.items():
            if panel_of_name(name) in self._family and name not in wanted:
                yield f"{name} is in the tree, and programs may take it for constants: {reason}"

    # -- directories

    def _find_directory(self, one: TreeStart) -> str:
        """Return the directory with the arrays of `one`: one that was exported, or a new name."""
        for name, directory in self._record.directories.items():
            is_equal = directory.panel in self._family[one.panel] and directory.content == one.hashes
            if is_equal and (self._is_whole(name) or not os.path.lexists(self._root / name)):
                return name
        base, number = self._names.get(one.panel, one.panel), 1
        while True:
            name = number_directory(base, number)
            if name not in self._record.directories and not os.path.lexists(self._root / name):
                break
            number += 1
        versions = {calib_type: version.name for calib_type, version in one.content.items()}
        self._record.directories[name] = TreeDirectory(one.panel, one.hashes, versions)
        return name

    def _is_whole(self, name: str) -> bool:
        """Return whether a directory that was exported has all its files."""
        if (self._root / name).is_symlink():
            return False
        gains = self._repository.panel_shape[0]
        types = self._record.directories[name].content
        files = [file for calib_type in types for file in name_gain_files(calib_type, gains)]
        return all((self._root / name / file).is_file() for file in files)

    def _describe(self, one: TreeStart, state: str, directory: str) -> TreeName:
        versions = tuple((calib_type, version.name) for calib_type, version in one.content.items())
        if state == "own":
            same = os.readlink(self._root / one.name) == directory and self._is_whole(directory)
            return TreeName("unchanged" if same else "replaced", one.name, directory, versions)
        return TreeName({"equal": "unchanged", "missing": "new"}[state], one.name, directory, versions)

    # -- writing

    def _write(
        self, targets: Mapping[str, str], missing: Mapping[str, TreeStart], stale: Sequence[str], progress: Progress
    ) -> None:
        """Write the record, the directories that are missing, and the links, in this order.

        If it is stopped at any point, the record knows what belongs to jfstore, and the same call completes it.
        """
        self._record.repository = self._repository.id
        for name, directory in targets.items():
            if name in self._record.links and self._record.links[name][-1:] != [directory]:
                self._record.links[name].append(directory)
        durable.overwrite(self._root / RECORD, [encode_record(self._record)], _SHARED_MODE)
        for done, (directory, one) in enumerate(missing.items()):
            progress(done, len(missing))
            self._write_directory(directory, one)
        progress(len(missing), len(missing))
        for name, directory in targets.items():
            if name in self._record.links:
                self._link(name, directory)
        for name in stale:
            durable.remove(self._root / name)
        durable.sync_directory(self._root)

    def _write_directory(self, name: str, one: TreeStart) -> None:
        """Write a directory under a temporary name, and rename it when all its files are on the disk."""
        temporary = self._make_temporary_path()
        durable.make_directory(temporary, _DIRECTORY_MODE)
        try:
            for calib_type, version in one.content.items():
                array = self._repository.panel_array(version, calib_type)
                files = name_gain_files(calib_type, self._repository.panel_shape[0])
                for file, index in zip(files, slab_indices(array.shape), strict=True):
                    durable.overwrite(temporary / file, npy_pieces(array[index]), _FILE_MODE, settle=False)
            durable.sync_directory(temporary)
            durable.give_name(temporary, self._root / name)
        except BaseException:
            with suppress(OSError):
                durable.remove_directory(temporary)
            raise

    def _link(self, name: str, directory: str) -> None:
        with suppress(OSError):
            if os.readlink(self._root / name) == directory:
                return
        if not self._is_own(name):
            durable.symlink(directory, self._root / name)  # fails if somebody else took the name meanwhile
            return
        temporary = self._make_temporary_path()
        durable.symlink(directory, temporary)
        durable.give_name(temporary, self._root / name, settle=False)

    def _make_temporary_path(self) -> Path:
        return self._root / f"{durable.TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"


def _remove_leftovers(root: Path) -> None:
    """Remove what an export that was killed left behind a day ago or earlier."""
    for path in root.glob(f"{durable.TEMPORARY}*"):
        with suppress(OSError):
            status = path.lstat()
            if time.time() - status.st_mtime > _DAY:
                (durable.remove_directory if stat.S_ISDIR(status.st_mode) else durable.remove)(path)


@contextmanager
def _convert_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Failed(f"{error.filename or root} does not exist") from None
    except OSError as error:
        raise Failed(f"{error.filename or root}: {error.strerror}") from None
