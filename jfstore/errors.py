"""The errors of jfstore: one tree, by what a caller would do about them; each class carries its exit code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


class JfstoreError(Exception):
    """Root of all errors that jfstore raises on purpose; never raised itself.

    Parameters
    ----------
    message : str
        One line: what is wrong, where, and what would be right.
    nearest : sequence of str, optional
        Names that exist and are close to what was asked for.

    Attributes
    ----------
    exit_code : int
        What the command line exits with.
    kind : str
        Stable word for the class of the error, the ``kind`` of ``--json`` output.
    """

    exit_code = 1
    kind = "failed"

    def __init__(self, message: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.nearest = tuple(nearest)

    def __str__(self) -> str:
        said = re.split(r"[\s,;:()]+", self.message)
        unsaid = [name for name in self.nearest if name not in said]
        return f"{self.message}; nearest: {', '.join(unsaid)}" if unsaid else self.message


class Failed(JfstoreError):
    """Something outside jfstore failed (a file, a directory, the disk): mend it and try again."""


class BadValue(JfstoreError, ValueError):
    """An argument, or a file given as one, is not acceptable: correct it."""

    exit_code = 2
    kind = "bad_value"


class NotFound(JfstoreError, LookupError):
    """Nothing valid is stored for what was asked: ask for something else, or add it."""

    exit_code = 3
    kind = "not_found"


class Damaged(JfstoreError):
    """Stored bytes are not what was written: run ``jfstore verify``, restore from a copy."""

    exit_code = 4
    kind = "damaged"


class Refused(JfstoreError):
    """Not done, to protect something: confirm it, or choose another place."""

    exit_code = 5
    kind = "refused"


class Busy(JfstoreError):
    """Others were faster for too long: try again later."""

    exit_code = 6
    kind = "busy"


class InDoubt(JfstoreError):
    """Done, but perhaps not safe against a power failure: repeat it with the same request id.

    Attributes
    ----------
    request : str
        The request id to repeat it with; a repetition never adds twice.
    """

    exit_code = 75
    kind = "in_doubt"

    def __init__(self, message: str, request: str) -> None:
        super().__init__(message)
        self.request = request


def nearest(word: str, words: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `words` that are spelled most like `word`, best first."""
    import difflib  # slow to load, and seldom needed

    return difflib.get_close_matches(word, list(words), n=count, cutoff=0.5)
