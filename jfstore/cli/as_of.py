"""As of which commit a command reads: ``--as-of``, or for a whole job the environment variable ``JFSTORE_AS_OF``.

Only the command line reads the variable. In Python, `as_of` is an argument.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jfstore.cli.output import note
from jfstore.cli.program import warn_all
from jfstore.errors import BadValue, JfstoreError

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository

VARIABLE = "JFSTORE_AS_OF"


def read_variable() -> str | None:
    """Return what ``JFSTORE_AS_OF`` says, None if it is not set; BadValue for a number without a repository."""
    text = os.environ.get(VARIABLE) or None
    if text and text.isascii() and text.isdigit():
        raise BadValue(
            f"{VARIABLE}={text}: a number names a commit of one repository only; write <repository id>:{text} "
            "(jfstore list --json prints the id), a tag, a date such as 2026-11-27, or a time with a zone"
        )
    return text


def resolve_as_of(args: argparse.Namespace, repository: ReadableRepository, *, is_reported: bool = False) -> int | None:
    """Return the commit that ``--as-of`` means, else ``JFSTORE_AS_OF``; None if neither is given.

    It is printed, unless it `is_reported` by the command itself.
    """
    with reading_variable(args.as_of) as as_of:
        seq = repository.seq_of(as_of)
    if seq is not None and not is_reported:
        note(f"as of commit {seq} of the {repository.role} repository {repository.location}")
    return seq


@contextmanager
def reading_variable(as_of: str | None) -> Iterator[str | None]:
    """Yield `as_of`, or if it is None what ``JFSTORE_AS_OF`` says, which is printed, also with an error."""
    text = read_variable() if as_of is None else None
    origin = f"as of {text}, from {VARIABLE}"
    try:
        yield as_of if text is None else text
    except JfstoreError as error:
        if text is not None:
            error.add_note(origin)
        raise
    if text is not None:
        note(origin)


def warn_of_variable() -> None:
    """Warn that a command which commits ignores ``JFSTORE_AS_OF``, if it is set."""
    if text := os.environ.get(VARIABLE):
        warn_all([f"{VARIABLE}={text} is ignored: the command writes to a repository"])
