"""Deploy files of constants into a calibration directory that running jobs read.

A reader finds the previous or the new file, whole. The previous file is kept beside it under a dated name, which psana
ignores. The order of steps: write the new file under a temporary name, sync it and read it back; give the previous
file its dated name; write the note; rename the new file; add a line to ``HISTORY``. If a deployment is stopped at any
point, the same call completes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jfstore.core.arrays import CalibArray
from jfstore.core.hashing import digest, digest_of_pieces
from jfstore.core.instants import now
from jfstore.deployment.calibdir import GROUP, HISTORY, CalibFile, find_preferred
from jfstore.deployment.note import Deployment, ReplacedFile, encode_note, read_note
from jfstore.errors import Damaged, Failed, JfstoreError, Refused
from jfstore.formats.text import read_text
from jfstore.fs import durable, owner
from jfstore.fs.append import Appender, appending
from jfstore.fs.files import pieces_of
from jfstore.fs.owner import Rights

_DAY = 86400.0
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """What happened to a file: ``deployed``, ``unchanged``, ``would deploy``, ``restored``, ``removed`` or ``would
    undo``; and the dated name of the file that it replaced."""

    file: CalibFile
    state: str
    replaced: str | None = None


@dataclass(frozen=True, slots=True)
class CurrentFile:
    """The present file under a name: its hash, None if there is no file, and the deployments in the note."""

    blake3: str | None
    deployments: tuple[Deployment, ...]

    @property
    def deployment(self) -> Deployment | None:
        """The deployment that wrote the file; None if jfstore did not, or somebody changed it since."""
        return next((deployment for deployment in self.deployments if deployment.blake3 == self.blake3), None)

    @property
    def history(self) -> tuple[Deployment, ...]:
        """The deployments, without newer ones that were stopped before they renamed their file."""
        return self.deployments[self.deployments.index(self.deployment) :] if self.deployment else self.deployments


@dataclass(frozen=True, slots=True)
class _Staged:
    """A staged text, without the text: its temporary file, None if the present file stays, and that file's new name."""

    file: CalibFile
    deployment: Deployment
    copy_of: str
    current: CurrentFile
    history: Appender
    temporary: Path | None
    replaced: ReplacedFile | None


def check(file: CalibFile, deployment: Deployment, array: CalibArray, replacing: bool) -> bool:
    """Check that `file` can be deployed, so that no file is deployed if one cannot be.

    Return whether the present file has the same values and stays. Refused if jfstore did not write it and it may not be
    replaced, or if psana would read another file; Failed if the parent of the calibration directory does not exist.
    """
    if not file.calibdir.is_dir() and not file.calibdir.absolute().parent.is_dir():
        raise Failed(f"{file.calibdir.parent} does not exist; make it first, or name another directory (-c)")
    if other := find_preferred(file):
        raise Refused(f"psana reads {other.path} in place of {file.name} for run {file.run}: move it away first")
    return _is_unchanged(file, read_current(file), deployment, array, replacing)


class Deployer:
    """Deploys texts of arrays, all of them or none; files that have the same values stay.

    Use as a context manager: `stage` each text, then `finish`. On leaving, staged texts that have no name are removed.
    Files that jfstore did not write are replaced only if `replacing`.
    """

    def __init__(self, replacing: bool = False, rights: Rights = Rights()) -> None:
        self._replacing, self._rights = replacing, rights
        self._staged: list[_Staged] = []
        self._stack = ExitStack()

    def __enter__(self) -> Deployer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stage(
        self, file: CalibFile, deployment: Deployment, array: CalibArray, pieces: Sequence[Any], copy_of: str
    ) -> None:
        """Write the text of `array`, which is in `pieces`, under a temporary name, and make missing directories.

        Refused if the present file may not be replaced, Damaged if the text does not read back. `deployment` lacks the
        hash and the size of the text. ``HISTORY`` says that the file is a copy of the file `copy_of`.
        """
        rights = self._rights
        deployment = replace(deployment, blake3=digest(*pieces), size=sum(map(len, pieces)))
        with convert_errors(file):
            history = self._stack.enter_context(lock_history(file, rights))
            current = read_current(file)
            temporary = replaced = None
            if not _is_unchanged(file, current, deployment, array, self._replacing):
                temporary = durable.stage(file.path, pieces, rights.file, rights.group, read_back=True)
                self._stack.callback(_remove, temporary)
                replaced = None if current.blake3 is None else ReplacedFile(make_dated_name(file), current.blake3)
            self._staged.append(_Staged(file, deployment, copy_of, current, history, temporary, replaced))

    def finish(self) -> list[Deployed]:
        """Give the staged texts their names, and return what happened to each file."""
        # Steps that need space come first: gains without their offsets would be worse than neither.
        for staged in self._staged:
            with convert_errors(staged.file):
                if staged.replaced:
                    durable.keep(staged.file.path, staged.file.directory / staged.replaced.name)
                _note(staged, self._rights)
        for staged in self._staged:
            if staged.temporary:
                with convert_errors(staged.file):
                    durable.give_name(staged.temporary, staged.file.path)
        for staged in self._staged:
            with convert_errors(staged.file):
                _log(staged)
        return [
            Deployed(s.file, "deployed" if s.temporary else "unchanged", s.replaced.name if s.replaced else None)
            for s in self._staged
        ]


def _note(staged: _Staged, rights: Rights) -> None:
    """Note the deployment, or that the present file holds what another place says, too."""
    new, current, file = staged.deployment, staged.current.deployment, staged.file
    if staged.temporary:
        last = next(iter(staged.current.deployments), None)
        if last and last.has_same_origin(new) and _make_mark(last).encode() not in staged.history.text():
            # The last deployment was stopped, but other files of its call may be in place: undo takes all of them.
            new = replace(new, call=last.call)
        write_note(file, [replace(new, replaced=staged.replaced), *staged.current.history], rights)
    elif current is not None and not current.has_same_origin(new):
        new = replace(new, blake3=current.blake3, size=current.size, replaced=current.replaced, call=current.call)
        write_note(file, [new, *staged.current.history[1:]], rights)


def _log(staged: _Staged) -> None:
    """Add the line to ``HISTORY``, also for a present file whose deployment was stopped before its line."""
    deployment = staged.deployment if staged.temporary else staged.current.deployment
    if deployment is None:
        return
    if staged.temporary or _make_mark(deployment).encode() not in staged.history.text():
        comment = f"{_make_mark(deployment)} {deployment.origin.get('path', '')}"
        staged.history.append(format_history_line(staged.file, staged.copy_of, comment))


def _make_mark(deployment: Deployment) -> str:
    """Return the start of the comment on a deployment in ``HISTORY``."""
    return f"jfstore {deployment.blake3[:12]}"


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        durable.remove(temporary)


@contextmanager
def lock_history(file: CalibFile, rights: Rights) -> Iterator[Appender]:
    """Hold the ``HISTORY`` of the file's directory, which is made if it does not exist."""
    directory = file.calibdir
    for part in ("", GROUP, file.source, file.type):
        directory = directory / part
        # A link to a directory may be in its place, and the modes of a directory in use are somebody's choice.
        is_link = directory.is_symlink() and directory.is_dir()
        if not is_link and (not directory.is_dir() or not os.listdir(directory)):
            durable.make_directory(directory, rights.directory, rights.group)
    for temporary in directory.glob(f"{durable.TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - temporary.lstat().st_mtime > _DAY:
                durable.remove(temporary)
    with appending(directory / HISTORY, rights.file, rights.group, timeout=_PATIENCE) as history:
        yield history


@contextmanager
def convert_errors(file: CalibFile) -> Iterator[None]:
    """Turn an OSError into Failed; an error that names no file is about `file`."""
    try:
        yield
    except OSError as error:
        raise Failed(f"{error.filename or file.path}: {error.strerror}") from None


def read_current(file: CalibFile) -> CurrentFile:
    """Return the present file and its note; a note that jfstore did not write counts as none."""
    blake3: str | None
    with convert_errors(file):
        try:
            blake3 = digest_of_pieces(pieces_of(file.path, follow=True))
        except FileNotFoundError:
            # A link to a missing file is something that jfstore did not write.
            blake3 = "" if file.path.is_symlink() else None
    try:
        return CurrentFile(blake3, tuple(read_note(file)))
    except Damaged:
        return CurrentFile(blake3, ())


def _is_unchanged(
    file: CalibFile, current: CurrentFile, deployment: Deployment, array: CalibArray, replacing: bool
) -> bool:
    """Return whether the present file has the same values; Refused if it has others and may not be replaced."""
    if current.blake3 is None:
        return False
    if current.deployment is not None:
        return current.deployment.has_same_values(deployment)
    if deployment.fmt is None and _has_values(file.path, array):
        return True
    if not replacing:
        reason = "was changed after jfstore deployed it" if current.deployments else "was not written by jfstore"
        raise Refused(f"{file.path} {reason}; --replace replaces it, and keeps it under a dated name")
    return False


def _has_values(path: Path, array: CalibArray) -> bool:
    try:
        found = read_text(path)
    except JfstoreError:
        return False
    return found.has_shape and found.array.shape == array.shape and found.array.tobytes() == array.tobytes()


def write_note(file: CalibFile, deployments: Sequence[Deployment], rights: Rights) -> None:
    """Write the note beside `file`, in place of the previous one."""
    durable.overwrite(file.note, [encode_note(file, deployments)], rights.file, group=rights.group)


def make_dated_name(file: CalibFile) -> str:
    """Return a name for a file that is replaced now."""
    seconds, rest = divmod(now(), 1_000_000_000)
    return f"{file.name}-{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def format_history_line(file: CalibFile, copy_of: str, comment: str) -> bytes:
    """Return a line of ``HISTORY`` in the form of psana's own deployments."""
    fields = {
        "file": file.name.ljust(14),
        "copy_of": copy_of,
        "ctype": file.type,
        "user": owner.user(),
        "host": owner.host(),
        "cptime": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "cwd": os.getcwd(),
        "cmt": comment,
    }
    text = " ".join(f"{name}:{value}" for name, value in fields.items())
    # A line break in a name would start another line.
    return "".join(c if c.isprintable() else "?" for c in text).rstrip().encode("utf-8", "backslashreplace") + b"\n"
