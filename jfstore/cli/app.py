"""The ``jfstore`` command: find the command in the arguments, parse its options, run it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from jfstore._version import __version__
from jfstore.cli.options import Parser, add_json, add_repo
from jfstore.cli.program import run_program
from jfstore.errors import BadValue, InDoubt, nearest

COMMANDS = {
    "init": "init",
    "demo": "demo",
    "add": "add",
    "get": "get",
    "id": "id",
    "runs": "runs",
    "list": "list",
    "show": "show",
    "history": "history",
    "promote": "promote",
    "import": "import_",
    "export": "export",
    "generate": "generate",
    "deploy": "deploy",
    "audit": "audit",
    "verify": "verify",
    "mirror": "mirror",
    "cache": "cache",
}
"""Every command with its module."""

_HINTS = {
    **dict.fromkeys(
        ("delete", "remove", "rm", "undo", "revert", "withdraw"),
        "versions are never deleted; a corrected version added at the same stamp supersedes the wrong one",
    ),
    **dict.fromkeys(("compare", "diff"), "jfstore list shows the test and the real repository side by side"),
    **dict.fromkeys(("put", "push", "upload"), "jfstore add and jfstore promote write to a repository"),
    **dict.fromkeys(("log", "report", "stats", "status"), "jfstore history and jfstore list show what is stored"),
    **dict.fromkeys(("explain", "why"), "jfstore get --json says why other versions are not valid"),
    **dict.fromkeys(("check", "fsck"), "jfstore verify checks a repository, jfstore audit deployed files"),
    **dict.fromkeys(("plot", "view", "tag", "freeze", "close", "restore"), "there is nothing like it"),
}
"""Words that people try, and what to use instead: a command that is only spelled like them would be wrong."""

_EPILOG = """\
exit codes:
  0 done, 1 failed, 2 bad usage or value, 3 nothing valid found, 4 damaged,
  5 refused, 6 busy, 75 in doubt (repeat it as printed)

examples:
  jfstore demo
  jfstore list
  jfstore get 171113-154920171025-3d00fb -T 20180401000000 -t pixel_gain -f gain.npy
  jfstore get exp=xcsls3716:run=631 -t pixel_gain -f gain.npy
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -f M044 -m "first" --repo test

jfstore help COMMAND says more about a command.
"""


def _module(command: str) -> ModuleType:
    return import_module(f"jfstore.cli.{COMMANDS[command]}")


def get_parser() -> Parser:
    """Return the parser of ``jfstore`` with all commands, for the man page and ``--help``."""
    parser = Parser(
        prog="jfstore",
        description="Versioned store of Jungfrau detector calibration constants.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"jfstore {__version__}")
    add_repo(parser, "most commands that read: real")
    add_json(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        module = _module(command)
        summary = module.SUMMARY[0].lower() + module.SUMMARY[1:].rstrip(".")
        module.add_options(
            subparsers.add_parser(command, help=summary, description=module.SUMMARY, epilog=module.EPILOG)
        )
    return parser


def command_parser(command: str) -> Parser:
    """Return the parser of one command."""
    module = _module(command)
    parser = Parser(prog=f"jfstore {command}", description=module.SUMMARY, epilog=module.EPILOG)
    module.add_options(parser)
    return parser


def run_of(command: str) -> Callable[[argparse.Namespace], int]:
    """Return the function that runs a command with its parsed arguments."""
    run: Callable[[argparse.Namespace], int] = _module(command).run
    return run


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options before the command, and the command with everything after it."""
    place = 0
    while place < len(argv) and argv[place].startswith("-") and argv[place] != "-":
        place += 2 if argv[place] == "--repo" else 1
    return list(argv[:place]), list(argv[place:])


def _check_command(word: str) -> None:
    if word not in COMMANDS:
        hint = f"; {_HINTS[word]}" if word in _HINTS else ""
        near = [] if hint else nearest(word, [*COMMANDS, "help"])
        raise BadValue(f"{word!r} is not a command{hint}; see jfstore --help", near)


def _extra_hint(parser: Parser, args: argparse.Namespace, word: str) -> str:
    """Return what to do about a word too many."""
    if "detector" in args:
        return "; panels are joined by _"
    if "-" in word and "/" not in word:
        return f"; jfstore list {word} shows the versions of a panel"
    takes_repo = any(action.dest == "repo" for action in parser._actions)
    return f"; did you mean --repo {word}?" if takes_repo else "; the command takes no such argument"


def _print_help(words: Sequence[str]) -> int:
    """Print the help of the command that `words` names, of ``jfstore`` if none."""
    for word in words[:1]:
        _check_command(word)
        command_parser(word).print_help()
        return 0
    get_parser().print_help()
    return 0


def _run(argv: list[str]) -> int:
    if not argv:
        get_parser().print_help(sys.stderr)
        return BadValue.exit_code
    before, rest = _split(argv)
    if not rest or {"-h", "--help", "--version"} & {*before}:
        get_parser().parse_args(before)
        raise BadValue("the command is missing; see jfstore --help")
    command, *words = rest
    if command == "help":
        return _print_help(words)
    _check_command(command)
    parser = command_parser(command)
    # Options may stand between positional arguments, which subparsers do not allow.
    args, unknown = parser.parse_words([*words, *before])
    if unknown:
        hint = "" if unknown[0].startswith("-") else _extra_hint(parser, args, unknown[0])
        raise BadValue(f"unrecognized: {' '.join(unknown)}{hint}; see jfstore {command} --help")
    args.argv = argv
    return run_of(command)(args)


def _retry(argv: Sequence[str], error: InDoubt) -> str:
    words = list(argv)
    if "--request" not in words:
        words += ["--request", error.request]
    return shlex.join(["jfstore", *words])


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``jfstore`` with `argv` and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.
    """
    return run_program("jfstore", _run, argv, _retry)
