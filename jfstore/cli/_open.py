"""Opening the repository that a command was told: reads default to the real one, writes have no default."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from jfstore.errors import BadValue, Refused

if TYPE_CHECKING:
    from jfstore.repository.repository import Repository


def open_to_read(args: argparse.Namespace) -> Repository:
    """Return the repository of ``--repo``, the real one by default."""
    from jfstore.repository.catalogue import open_repository

    return open_repository(getattr(args, "repo", "real"))


def open_to_write(args: argparse.Namespace) -> Repository:
    """Return the repository of ``--repo``, which must be given; a real one is asked about.

    Raises
    ------
    BadValue
        If ``--repo`` was not given.
    Refused
        If the repository is real and nobody confirmed.
    """
    from jfstore.repository.catalogue import open_repository

    if not hasattr(args, "repo"):
        raise BadValue("which repository? writing has no default: --repo test, --repo real, or a path")
    repository = open_repository(args.repo)
    if repository.identity.role == "real" and not (args.yes or args.dry_run):
        confirm_real(repository.storage.location)
    return repository


def confirm_real(location: str) -> None:
    """Ask before a real repository is changed; Refused if nobody can be asked or the answer is not yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(f"{location} is a real repository: confirm with --yes")
    print(f"{location} is a real repository. Write to it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("not confirmed; nothing was written")
