"""Running a program: what goes wrong becomes one line and an exit code, and closed streams do no harm."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from jfstore.cli.output import emit_json, error_value, note
from jfstore.errors import BadValue, Failed, InDoubt, JfstoreError
from jfstore.fs.events import listen


def _check_words(argv: Sequence[str]) -> None:
    """Raise BadValue if a word is none that the system could have passed, or that it could not use."""
    for word in argv:
        try:
            if b"\0" in os.fsencode(word):
                raise BadValue("an argument holds a NUL character")
        except UnicodeEncodeError:
            raise BadValue("an argument is no text that the system could have passed") from None


_running = ["jfstore"]
"""The program that runs, for its messages."""


def warn_of(texts: Iterable[str]) -> None:
    """Print what the user should know, with the program's name before it."""
    for text in texts:
        note(f"{_running[-1]}: warning: {text}")


def say_broken(name: str, errors: Sequence[JfstoreError]) -> int:
    """Say what program `name` found to be broken beside what it served, and return the exit code: 0 if nothing."""
    for error in errors:
        note(f"{name}: error: {error}")
    return max((error.exit_code for error in errors), default=0)


def run_program(
    name: str,
    run: Callable[[list[str]], int],
    argv: Sequence[str] | None,
    retry: Callable[[Sequence[str], InDoubt], str] | None = None,
) -> int:
    """Run a program and return its exit code.

    Parameters
    ----------
    name : str
        The program's, for messages.
    run : callable
        Takes the arguments, returns the exit code.
    argv : sequence of str or None
        The arguments; those of the process if None.
    retry : callable, optional
        Returns the command that repeats one whose outcome is in doubt.
    """
    # A stream that was closed is None; what is meant for it must not go elsewhere.
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO())
    words = sys.argv[1:] if argv is None else list(argv)
    code = 0
    _running.append(name)
    try:
        code = _guarded(name, run, words, retry)
        sys.stdout.flush()
        return code
    except OSError as error:
        # Standard output takes no more; let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # whoever reads has seen enough (| head)
        if not code:
            note(f"{name}: error: standard output: {error.strerror}")
        return code or Failed.exit_code
    finally:
        _running.pop()


def _as_jfstore_error(error: JfstoreError | MemoryError | OSError) -> JfstoreError:
    if isinstance(error, JfstoreError):
        return error
    if isinstance(error, MemoryError):
        return Failed("out of memory")
    place = f"{error.filename}: " if error.filename else ""
    return Failed(f"{place}{error.strerror or error}")


def _guarded(
    name: str,
    run: Callable[[list[str]], int],
    argv: list[str],
    retry: Callable[[Sequence[str], InDoubt], str] | None,
) -> int:
    def report(error: JfstoreError) -> int:
        if "--json" in argv:
            emit_json(error_value(error))
        for text in getattr(error, "__notes__", ()):
            note(f"{name}: warning: {text}")
        note(f"{name}: error: {error}")
        if isinstance(error, InDoubt) and retry:
            note(f"{name}: repeat it, nothing is added twice: {retry(argv, error)}")
        return error.exit_code

    try:
        with listen(lambda text: note(f"{name}: warning: {text}")):
            _check_words(argv)
            return run(argv)
    except BrokenPipeError:
        raise
    except (JfstoreError, MemoryError, OSError) as error:
        return report(_as_jfstore_error(error))
    except KeyboardInterrupt:
        note(f"{name}: interrupted")
        return 128 + signal.SIGINT
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
