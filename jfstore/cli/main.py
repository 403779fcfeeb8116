"""The ``jfstore`` command: finds the subcommand, runs it, turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jfstore._version import __version__
from jfstore.cli._output import emit_json, error_value, note
from jfstore.cli._parser import Parser, add_json, add_repo
from jfstore.errors import BadValue, Failed, InDoubt, JfstoreError, JfstoreWarning

COMMANDS = {
    "init": "init",
    "demo": "demo",
    "add": "add",
    "get": "get",
    "list": "list",
    "show": "show",
    "history": "history",
    "promote": "promote",
    "import": "import_",
    "verify": "verify",
}
"""Every command with its module."""

_EPILOG = """\
exit codes:
  0 done, 1 failed, 2 bad usage or value, 3 nothing valid found, 4 damaged,
  5 refused, 6 busy, 75 in doubt (repeat it as printed)

examples:
  jfstore demo
  jfstore list
  jfstore get 171113-154920171025-3d00fb -T 20180401000000 -t pixel_gain -f gain.npy
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -f M044 -m "first" --repo test

jfstore COMMAND --help says more about a command.
"""


def get_parser(command: str | None = None) -> Parser:
    """Return the parser of ``jfstore``, of one command only if that is given; it needs neither numpy nor h5py."""
    parser = Parser(
        prog="jfstore",
        description="Versioned store of Jungfrau detector calibration constants.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"jfstore {__version__}")
    add_repo(parser, "most commands that read: real")
    add_json(parser, default=False)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for module in COMMANDS.values() if command is None else [COMMANDS[command]]:
        import_module(f"jfstore.cli.{module}").add_parser(subparsers)
    return parser


def _retry(argv: Sequence[str], error: InDoubt) -> str:
    words = list(argv)
    if "--request" not in words:
        words += ["--request", error.request]
    return shlex.join(["jfstore", *words])


def _report(error: JfstoreError, argv: Sequence[str]) -> int:
    if "--json" in argv:
        emit_json(error_value(error))
    note(f"jfstore: error: {error}")
    if isinstance(error, InDoubt):
        note(f"jfstore: repeat it, nothing is added twice: {_retry(argv, error)}")
    return error.exit_code


def _show_warning(message: Warning | str, *_rest: Any) -> None:
    note(f"jfstore: warning: {message}")


def _check_words(argv: Sequence[str]) -> None:
    for word in argv:
        try:
            if b"\0" in os.fsencode(word):
                raise BadValue("an argument holds a NUL character")
        except UnicodeEncodeError:
            raise BadValue("an argument is no text that the system could have passed") from None


def _run(argv: Sequence[str]) -> int:
    """Run a command; what it raises becomes one line and an exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", JfstoreWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes less than it is given
            _check_words(argv)
            # The first word, if it is a command: its parser alone is made, which is quicker.
            command = argv[0] if argv and argv[0] in COMMANDS else None
            args, unknown = get_parser(command).parse_known_args(argv)
            if unknown:
                hint = ""
                if not unknown[0].startswith("-"):
                    several = "detector" in args
                    hint = "; panels are joined by _" if several else f"; did you mean --repo {unknown[0]}?"
                raise BadValue(f"unrecognized: {' '.join(unknown)}{hint}; see jfstore {args.command} --help")
            return int(args.run(args))
    except JfstoreError as error:
        return _report(error, argv)
    except MemoryError:
        return _report(Failed("out of memory"), argv)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return _report(Failed(f"{error.strerror or error}{place}"), argv)
    except KeyboardInterrupt:
        note("jfstore: interrupted")
        return 128 + signal.SIGINT
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``jfstore`` with `argv` and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.
    """
    # A stream that was closed is None; what is meant for it must not go elsewhere.
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO())
    code = 0
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return code
    except OSError as error:
        # Standard output takes no more; let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # whoever reads has seen enough (| head)
        if not code:
            note(f"jfstore: error: standard output: {error.strerror}")
        return code or Failed.exit_code
