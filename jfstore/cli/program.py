"""Run a program: an error becomes one line and an exit code, and closed streams do no harm."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from jfstore.cli.output import emit_json, error_value, note
from jfstore.errors import BadValue, Failed, InDoubt, JfstoreError
from jfstore.fs.events import listen

_running = ["jfstore"]
"""The programs that run, for the messages of the last one."""


def warn_all(texts: Iterable[str]) -> None:
    """Print notes of the library as warnings of the program."""
    for text in texts:
        note(f"{_running[-1]}: warning: {text}")


def report_errors(errors: Sequence[JfstoreError]) -> int:
    """Print errors that did not keep the program from printing the rest; return the exit code, 0 without errors."""
    for error in errors:
        note(f"{_running[-1]}: error: {error}")
    return max((error.exit_code for error in errors), default=0)


def run_program(name: str, run: Callable[[list[str]], int], argv: Sequence[str] | None) -> int:
    """Run a program and return its exit code.

    Parameters
    ----------
    name : str
        The program's name, for messages.
    run : callable
        Takes the arguments, returns the exit code.
    argv : sequence of str or None
        The arguments; those of the process if None.
    """
    # Python sets a closed stream to None; its output must not go elsewhere.
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO())
    code = 0
    _running.append(name)
    try:
        code = _run_guarded(run, sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return code
    except OSError as error:
        # Standard output takes no more: let the last flush of the interpreter go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # the reader has enough (| head)
        if not code:
            note(f"{name}: error: standard output: {error.strerror}")
        return code or Failed.exit_code
    finally:
        _running.pop()


def _run_guarded(run: Callable[[list[str]], int], words: list[str]) -> int:
    try:
        with listen(lambda text: warn_all([text])):
            _check_words(words)
            return run(words)
    except JfstoreError as error:
        return _report(error, words)
    except MemoryError:
        return _report(Failed("out of memory"), words)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _report(Failed(f"{place}{error.strerror or error}"), words)
    except KeyboardInterrupt:
        note(f"{_running[-1]}: interrupted")
        return 128 + signal.SIGINT
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)


def _check_words(words: Sequence[str]) -> None:
    """Raise BadValue if the system could not have passed a word, or cannot use it as a name."""
    for word in words:
        try:
            if b"\0" in os.fsencode(word):
                raise BadValue("an argument holds a NUL character")
        except UnicodeEncodeError:
            raise BadValue("an argument is not text that the system could have passed") from None


def _report(error: JfstoreError, words: list[str]) -> int:
    if "--json" in words:
        emit_json(error_value(error))
    warn_all(getattr(error, "__notes__", ()))
    report_errors([error])
    if isinstance(error, InDoubt):
        import shlex

        request = [] if "--request" in words else ["--request", error.request]
        again = shlex.join([_running[-1], *words, *request])
        note(f"{_running[-1]}: repeat it, nothing is added twice: {again}")
    return error.exit_code
