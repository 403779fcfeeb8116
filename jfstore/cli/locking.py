"""Options that write a lock file, or take one in place of a detector and a time."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once
from jfstore.cli.output import note
from jfstore.errors import BadValue, Refused

if TYPE_CHECKING:
    from jfstore.core.lock import Lock
    from jfstore.repository import Answer

_QUESTION = {
    "detector": "",
    "dataset": "",
    "detector_option": "-d ",
    "source": "",
    "source_option": "-s ",
    "time": "-T ",
    "experiment": "-e ",
    "run_number": "-r ",
    "as_of": "--as-of ",
    "number": "-v ",
}
"""What asks for an answer, which a lock has already; and how the option is written."""


def add_locked(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--locked``; `what` says in place of what it is given."""
    text = f"the answer that this lock file pins, in place of {what}; or a bundle, which holds its lock"
    parser.add_argument("--locked", metavar="LOCK", action=Once, help=text)


def add_lock(parser: argparse.ArgumentParser) -> None:
    """Add ``--lock``."""
    text = "also write a lock file, with which --locked returns the same bits at any later time"
    parser.add_argument("--lock", metavar="LOCK", action=Once, help=text)


def refuse_question(args: argparse.Namespace) -> None:
    """Raise BadValue if there is a question beside ``--locked``."""
    for name, option in _QUESTION.items():
        if (value := getattr(args, name, None)) is not None:
            raise BadValue(f"--locked says the panels, the time and the versions: leave out {option}{value}")
    if getattr(args, "withdrawn", False):
        raise BadValue("--locked gets withdrawn versions, too: leave out --withdrawn")


def replay_locked(args: argparse.Namespace) -> Answer:
    """Return the answer that ``--locked`` pins, from the repository of ``--repo``; BadValue if more is asked for."""
    refuse_question(args)
    from jfstore.repository.locking import replay

    return replay(args.locked, getattr(args, "repo", None), types=getattr(args, "types", None))


def check_lock(args: argparse.Namespace) -> None:
    """Raise an error, before anything is written, if the file of ``--lock`` cannot be meant."""
    if args.lock is None:
        return
    if args.lock == "-" or args.lock.endswith("/") or args.lock == getattr(args, "file", None):
        raise BadValue(f"--lock {args.lock}: expected the name of a file for the lock")
    if os.path.lexists(args.lock) and not args.force:
        raise Refused(f"{args.lock} exists; --force replaces it")


def write_lock(args: argparse.Namespace, lock: Lock) -> None:
    """Write the file of ``--lock``."""
    from jfstore.fs.output_file import publish_file

    publish_file(args.lock, [lock.text.encode()], replace=args.force, hint="; --force replaces it")
    note(f"wrote {args.lock}: the lock of {len(lock.arrays)} arrays as of commit {lock.seq}")


def lock_report(args: argparse.Namespace, answer: Answer) -> dict[str, Any]:
    """Return what ``--json`` prints of a lock that is written or was read; an empty dict without one."""
    file = args.lock or args.locked
    return {"lock": {"file": file, "hash": answer.lock().hash}} if file else {}
