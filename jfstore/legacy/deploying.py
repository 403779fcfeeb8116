"""Deploying a file of constants into a calibration directory that running jobs read, and taking it back.

A reader finds the old or the new file, whole. What was there is kept beside it under a dated name, which psana
ignores. The order of what is done: the new file under a temporary name, synced and read back; the old one's second
name; the note; the file's own name; a line in ``HISTORY``. Stopped anywhere, the same call completes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore import durable, login
from jfstore.errors import Damaged, Failed, JfstoreError, NotFound, Refused
from jfstore.files import pieces_of
from jfstore.hashing import digest, digest_of_pieces
from jfstore.legacy.calibdir import GROUP, HISTORY, CalibFile, Deployment, encode_note, read_note
from jfstore.legacy.textarray import read_text
from jfstore.rights import Rights
from jfstore.times import now

_DAY = 86400.0
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of a file: ``deployed``, ``unchanged``, ``restored`` or ``removed``; `kept` is the name under
    which what was there before is kept."""

    file: CalibFile
    state: str
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class _There:
    """What lies under the name of a file: its hash, and what the note says of it and of the name."""

    blake3: str | None
    noted: tuple[Deployment, ...]

    @property
    def ours(self) -> Deployment | None:
        """The deployment that wrote the file; None if jfstore did not, or somebody changed it since."""
        return next((deployment for deployment in self.noted if deployment.blake3 == self.blake3), None)

    @property
    def history(self) -> tuple[Deployment, ...]:
        """What was deployed there, without newer deployments that were stopped before they came."""
        return self.noted[self.noted.index(self.ours) :] if self.ours else self.noted


def seal(deployment: Deployment, pieces: Sequence[Any]) -> Deployment:
    """Return `deployment` with hash and size of the file that `pieces` are."""
    return replace(deployment, blake3=digest(*pieces), size=sum(map(len, pieces)))


def check(file: CalibFile, deployment: Deployment, array: NDArray[np.float32], replacing: bool) -> None:
    """Raise what `deploy` would raise of what is there already, so that nothing is deployed if not all can be.

    Raises
    ------
    Refused
        If jfstore did not write the file that is there, and it may not be replaced.
    Failed
        If the calibration directory cannot be made where it is said to be.
    """
    if not file.calibdir.is_dir() and not file.calibdir.absolute().parent.is_dir():
        raise Failed(f"{file.calibdir.parent} is not there; make it first, or name another directory (-c)")
    _is_unchanged(file, _there(file), deployment, array, replacing)


def deploy(
    file: CalibFile,
    deployment: Deployment,
    array: NDArray[np.float32],
    pieces: Sequence[Any],
    *,
    copy_of: str,
    replacing: bool = False,
    rights: Rights = Rights(),  # noqa: B008 - frozen
) -> Deployed:
    """Give `pieces` the name of `file`, unless a file with the same values has it already.

    Parameters
    ----------
    file : CalibFile
        The place; directories that are missing are made.
    deployment : Deployment
        What the note will say, as `seal` returned it.
    array : ndarray
        The constants that `pieces` are the text of.
    copy_of : str
        What ``HISTORY`` says it is a copy of.
    replacing : bool
        Whether a file that jfstore did not write may be replaced.

    Raises
    ------
    Refused
        If jfstore did not write the file that is there, and it may not be replaced.
    Damaged
        If what was written does not read back.
    Failed
        If the system cannot do it.
    """
    with _at_work(file, rights) as history:
        there = _there(file)
        line = _line(file, copy_of, f"jfstore {deployment.blake3[:12]} {deployment.origin.get('path', '')}")
        if _is_unchanged(file, there, deployment, array, replacing):
            if (ours := there.ours) is not None:
                if not ours.says_the_same(deployment):
                    again = replace(deployment, blake3=ours.blake3, size=ours.size, replaced=ours.replaced)
                    _note(file, [again, *there.history[1:]], rights)
                # Whoever deployed it may have been stopped before this.
                if f"cmt:jfstore {ours.blake3[:12]}".encode() not in history.text():
                    history.append(_line(file, copy_of, f"jfstore {ours.blake3[:12]} {ours.origin.get('path', '')}"))
            return Deployed(file, "unchanged")
        staged = durable.stage(file.path, pieces, rights.file, rights.group, read_back=True)
        kept = None if there.blake3 is None else _dated(file)
        try:
            if kept:
                durable.keep(file.path, file.directory / kept)
            _note(file, [replace(deployment, replaced=kept), *there.history], rights)
            durable.rename(staged, file.path)
        except BaseException:
            with suppress(OSError):
                durable.remove(staged)
            raise
        history.append(line)
        return Deployed(file, "deployed", kept)


def undo(file: CalibFile, *, replacing: bool = False, rights: Rights = Rights()) -> Deployed:  # noqa: B008 - frozen
    """Bring back the file that was there before the last deployment; what was deployed is kept beside it.

    Raises
    ------
    NotFound
        If jfstore deployed nothing under that name, or the file that was there before is gone.
    Refused
        If somebody has changed the file since, and it may not be replaced.
    """
    if not file.note.exists():
        raise NotFound(f"{file.path}: jfstore deployed nothing there that could be undone")
    with _at_work(file, rights) as history:
        there = _there(file)
        if not there.noted:
            raise NotFound(f"{file.path}: jfstore deployed nothing there that could be undone")
        last, *before = there.noted
        previous = file.directory / last.replaced if last.replaced else None
        kept = None
        if not _is_undone(there.blake3, previous, file, last):
            if there.blake3 not in (None, last.blake3) and not replacing:
                raise Refused(f"{file.path} was changed after it was deployed; --replace undoes it all the same")
            if previous and not previous.exists():
                raise NotFound(f"{previous} is gone, so it cannot be brought back")
            kept = _dated(file)
            if previous is None:
                durable.rename(file.path, file.directory / kept)
            else:
                if there.blake3 is not None:
                    durable.keep(file.path, file.directory / kept)
                durable.rename(previous, file.path)
        comment = f"jfstore undo {last.blake3[:12]}"
        if comment.encode() not in history.text():
            history.append(_line(file, last.replaced or "-", comment))
        # Last of all: as long as the note has the deployment, undoing it again completes this.
        if before:
            _note(file, before, rights)
        else:
            durable.remove(file.note)
        return Deployed(file, "restored" if previous else "removed", kept)


def _is_undone(blake3: str | None, previous: Path | None, file: CalibFile, last: Deployment) -> bool:
    """Whether the file that was there before is there already: a deployment or an undoing was stopped half-way."""
    if previous is None or blake3 is None:
        return blake3 is None and previous is None
    return blake3 != last.blake3 and (not previous.exists() or previous.samefile(file.path))


@contextmanager
def _at_work(file: CalibFile, rights: Rights) -> Iterator[durable.Appender]:
    """Hold the ``HISTORY`` of the file's directory, which is made if it is not there; OSErrors become Failed."""
    try:
        directory = file.calibdir
        for part in ("", GROUP, file.source, file.type):
            directory = directory / part
            # A link to a directory may be there in its place.
            if not (directory.is_symlink() and directory.is_dir()):
                _make_directory(directory, rights)
        for left in directory.glob(f"{durable.TEMPORARY}*"):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > _DAY:
                    durable.remove(left)
        with durable.appending(directory / HISTORY, rights.file, rights.group, timeout=_PATIENCE) as history:
            yield history
    except OSError as error:
        raise Failed(f"{error.filename or file.path}: {error.strerror}") from None


def _make_directory(directory: Path, rights: Rights) -> None:
    # What is there and in use already is somebody's choice.
    if not directory.is_dir() or not os.listdir(directory):
        durable.make_directory(directory, rights.directory, rights.group)


def _there(file: CalibFile) -> _There:
    try:
        blake3 = digest_of_pieces(pieces_of(file.path, follow=True))
    except FileNotFoundError:
        blake3 = None
    except OSError as error:
        raise Failed(f"{file.path}: {error.strerror}") from None
    try:
        return _There(blake3, tuple(read_note(file)))
    except Damaged:
        return _There(blake3, ())


def _is_unchanged(
    file: CalibFile, there: _There, deployment: Deployment, array: NDArray[np.float32], replacing: bool
) -> bool:
    """Whether the file that is there has the same values; Refused if it has others and is not ours to replace."""
    if there.blake3 is None:
        return False
    if there.ours is not None:
        return there.ours.has_values_of(deployment)
    if deployment.fmt is None and _has_values(file.path, array):
        return True
    if not replacing:
        who = "was changed after jfstore deployed it" if there.noted else "was not written by jfstore"
        raise Refused(f"{file.path} {who}; --replace replaces it, and keeps it under a dated name")
    return False


def _has_values(path: Path, array: NDArray[np.float32]) -> bool:
    try:
        found = read_text(path)
    except JfstoreError:
        return False
    return found.has_shape and found.array.shape == array.shape and found.array.tobytes() == array.tobytes()


def _note(file: CalibFile, deployments: Sequence[Deployment], rights: Rights) -> None:
    durable.overwrite(file.note, [encode_note(file, deployments)], rights.file, group=rights.group)


def _dated(file: CalibFile) -> str:
    seconds, rest = divmod(now(), 1_000_000_000)
    return f"{file.name}-{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def _line(file: CalibFile, copy_of: str, comment: str) -> bytes:
    """Return a line of ``HISTORY`` in the form of psana's own deployments."""
    fields = {
        "file": file.name.ljust(14),
        "copy_of": copy_of,
        "ctype": file.type,
        "user": login.user(),
        "host": login.host(),
        "cptime": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "cwd": os.getcwd(),
        "cmt": comment,
    }
    text = " ".join(f"{name}:{value}" for name, value in fields.items())
    # Line breaks in a name would begin a line.
    return "".join(c if c.isprintable() else "?" for c in text).rstrip().encode("utf-8", "backslashreplace") + b"\n"
