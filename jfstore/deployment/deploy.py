"""Deploying a file of constants into a calibration directory that running jobs read, and taking it back.

A reader finds the old or the new file, whole. What was there is kept beside it under a dated name, which psana
ignores. The order of what is done: the new file under a temporary name, synced and read back; the old one's second
name; the note; the file's own name; a line in ``HISTORY``. Stopped anywhere, the same call completes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.hashing import digest, digest_of_pieces
from jfstore.core.instants import now
from jfstore.deployment.calibdir import GROUP, HISTORY, CalibFile, preferred_to
from jfstore.deployment.note import Deployment, Kept, encode_note, read_note
from jfstore.errors import Damaged, Failed, JfstoreError, NotFound, Refused
from jfstore.formats.text import read_text
from jfstore.fs import durable, owner
from jfstore.fs.append import Appender, appending
from jfstore.fs.files import pieces_of
from jfstore.fs.rights import Rights

_DAY = 86400.0
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of a file: ``deployed``, ``unchanged``, ``would deploy``, ``restored`` or ``removed``.

    `kept` is the name under which what was there before is kept.
    """

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


def check(file: CalibFile, deployment: Deployment, array: NDArray[np.float32], replacing: bool) -> bool:
    """Raise what `deploy` would raise of what is there already, so that nothing is deployed if not all can be.

    Returns
    -------
    bool
        Whether `deploy` would leave the file alone, since the same values are there.

    Raises
    ------
    Refused
        If jfstore did not write the file that is there, and it may not be replaced; or if psana would take
        another file in its place.
    Failed
        If the calibration directory cannot be made where it is said to be.
    """
    if not file.calibdir.is_dir() and not file.calibdir.absolute().parent.is_dir():
        raise Failed(f"{file.calibdir.parent} is not there; make it first, or name another directory (-c)")
    if other := preferred_to(file):
        raise Refused(f"psana takes {other.path} in place of {file.name} for run {file.run}: move it away first")
    return _is_unchanged(file, _there(file), deployment, array, replacing)


@dataclass(frozen=True, slots=True)
class Text:
    """Something to deploy: the place, what the note will say (as `seal` returned it), the array, its text in pieces,
    and what ``HISTORY`` says that it is a copy of."""

    file: CalibFile
    deployment: Deployment
    array: NDArray[np.float32]
    pieces: Sequence[Any]
    copy_of: str


@dataclass(frozen=True, slots=True)
class _Staged:
    """A text on its way: the temporary file (None if what is there is left alone), and what it meets."""

    file: CalibFile
    deployment: Deployment
    copy_of: str
    there: _There
    history: Appender
    temporary: Path | None
    kept: Kept | None


class Deployer:
    """Gives texts the names of their files, unless files with the same values have them: all of them, or none.

    Use as a context manager: `stage` each text, then `finish`. Texts that were staged and not finished are removed.

    Parameters
    ----------
    replacing : bool
        Whether files that jfstore did not write may be replaced.
    rights : Rights
        Modes and group of new files and directories.
    """

    def __init__(self, replacing: bool = False, rights: Rights = Rights()) -> None:  # noqa: B008 - immutable
        self._replacing, self._rights = replacing, rights
        self._staged: list[_Staged] = []
        self._stack = ExitStack()

    def __enter__(self) -> Deployer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stage(self, text: Text) -> None:
        """Write a text under a temporary name; directories that are missing are made.

        Raises
        ------
        Refused
            If jfstore did not write a file that exists, and it may not be replaced.
        Damaged
            If what was written does not read back.
        Failed
            If the system cannot do it.
        """
        with _failing(text.file):
            self._staged.append(_stage(text, self._stack, self._replacing, self._rights))

    def finish(self) -> list[Deployed]:
        """Give the staged texts their names, and return what became of each file; raises as `stage`."""
        # What takes room comes first: gains without their offsets would be worse than neither.
        for staged in self._staged:
            with _failing(staged.file):
                if staged.kept:
                    durable.keep(staged.file.path, staged.file.directory / staged.kept.name)
                _note_of(staged, self._rights)
        for staged in self._staged:
            if staged.temporary:
                with _failing(staged.file):
                    durable.give_name(staged.temporary, staged.file.path)
        for staged in self._staged:
            with _failing(staged.file):
                _tell(staged)
        return [
            Deployed(each.file, "deployed" if each.temporary else "unchanged", each.kept.name if each.kept else None)
            for each in self._staged
        ]


def deploy_texts(
    texts: Iterable[Text],
    *,
    replacing: bool = False,
    rights: Rights = Rights(),  # noqa: B008 - immutable
) -> list[Deployed]:
    """Deploy texts as a `Deployer` does; they are taken one by one, so that only one needs to be in memory."""
    with Deployer(replacing, rights) as deployer:
        for text in texts:
            deployer.stage(text)
        return deployer.finish()


def _stage(text: Text, stack: ExitStack, replacing: bool, rights: Rights) -> _Staged:
    """Write a text under a temporary name, which is removed when `stack` is closed before it has its own."""
    history = stack.enter_context(_at_work(text.file, rights))
    there = _there(text.file)
    temporary = kept = None
    if not _is_unchanged(text.file, there, text.deployment, text.array, replacing):
        temporary = durable.stage(text.file.path, text.pieces, rights.file, rights.group, read_back=True)
        stack.callback(_remove, temporary)
        kept = None if there.blake3 is None else Kept(_dated(text.file), there.blake3)
    return _Staged(text.file, text.deployment, text.copy_of, there, history, temporary, kept)


def _note_of(staged: _Staged, rights: Rights) -> None:
    """Note what is deployed, or that what is there is what another place says, too."""
    new, ours = staged.deployment, staged.there.ours
    if staged.temporary:
        last = next(iter(staged.there.noted), None)
        if last and last.says_the_same(new) and _mark(last).encode() not in staged.history.text():
            # It was stopped, but the other files of that call may have come: undoing takes them back together.
            new = replace(new, call=last.call)
        _note(staged.file, [replace(new, replaced=staged.kept), *staged.there.history], rights)
    elif ours is not None and not ours.says_the_same(new):
        again = replace(new, blake3=ours.blake3, size=ours.size, replaced=ours.replaced, call=ours.call)
        _note(staged.file, [again, *staged.there.history[1:]], rights)


def _tell(staged: _Staged) -> None:
    """Add the line to ``HISTORY``, unless whoever deployed the file did; who was stopped before may not have."""
    deployment = staged.deployment if staged.temporary else staged.there.ours
    if deployment is None:
        return
    if staged.temporary or _mark(deployment).encode() not in staged.history.text():
        comment = f"{_mark(deployment)} {deployment.origin.get('path', '')}"
        staged.history.append(_line(staged.file, staged.copy_of, comment))


def _mark(deployment: Deployment) -> str:
    """Return how the comment in the line of ``HISTORY`` on a deployment begins."""
    return f"jfstore {deployment.blake3[:12]}"


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        durable.remove(temporary)


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
    with _failing(file), _at_work(file, rights) as history:
        there = _there(file)
        if not there.noted:
            raise NotFound(f"{file.path}: jfstore deployed nothing there that could be undone")
        last, *before = there.noted
        previous = file.directory / last.replaced.name if last.replaced else None
        kept = None
        # Of a deployment or an undoing that was stopped half-way, what was before is there already.
        if there.blake3 != (last.replaced and last.replaced.blake3):
            if there.blake3 not in (None, last.blake3) and not replacing:
                raise Refused(f"{file.path} was changed after it was deployed; --replace undoes it all the same")
            if previous and not previous.exists():
                raise NotFound(f"{previous} is gone, so it cannot be brought back")
            kept = _dated(file)
            if previous is None:
                durable.give_name(file.path, file.directory / kept)
            else:
                if there.blake3 is not None:
                    durable.keep(file.path, file.directory / kept)
                durable.give_name(previous, file.path)
        comment = f"jfstore undo {last.blake3[:12]}"
        if comment.encode() not in history.text():
            history.append(_line(file, previous.name if previous else "-", comment))
        # Last of all: as long as the note has the deployment, undoing it again completes this.
        if before:
            _note(file, before, rights)
        else:
            durable.remove(file.note)
        return Deployed(file, "restored" if previous else "removed", kept)


@contextmanager
def _at_work(file: CalibFile, rights: Rights) -> Iterator[Appender]:
    """Hold the ``HISTORY`` of the file's directory, which is made if it does not exist."""
    directory = file.calibdir
    for part in ("", GROUP, file.source, file.type):
        directory = directory / part
        # A link to a directory may be in its place.
        if not (directory.is_symlink() and directory.is_dir()):
            _make_directory(directory, rights)
    for left in directory.glob(f"{durable.TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > _DAY:
                durable.remove(left)
    with appending(directory / HISTORY, rights.file, rights.group, timeout=_PATIENCE) as history:
        yield history


@contextmanager
def _failing(file: CalibFile) -> Iterator[None]:
    """Turn an OSError into Failed; one that does not say which file it is about is about `file`."""
    try:
        yield
    except OSError as error:
        raise Failed(f"{error.filename or file.path}: {error.strerror}") from None


def _make_directory(directory: Path, rights: Rights) -> None:
    # What is there and in use already is somebody's choice.
    if not directory.is_dir() or not os.listdir(directory):
        durable.make_directory(directory, rights.directory, rights.group)


def _there(file: CalibFile) -> _There:
    blake3: str | None
    try:
        blake3 = digest_of_pieces(pieces_of(file.path, follow=True))
    except FileNotFoundError:
        # A link that leads nowhere is something that jfstore did not write.
        blake3 = "" if file.path.is_symlink() else None
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
        "user": owner.user(),
        "host": owner.host(),
        "cptime": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "cwd": os.getcwd(),
        "cmt": comment,
    }
    text = " ".join(f"{name}:{value}" for name, value in fields.items())
    # Line breaks in a name would begin a line.
    return "".join(c if c.isprintable() else "?" for c in text).rstrip().encode("utf-8", "backslashreplace") + b"\n"
