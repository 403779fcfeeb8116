"""The ``jfstore`` command: find the command in the arguments, parse its options, run it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from jfstore._version import __version__
from jfstore.cli.options import Parser, add_json, add_repo
from jfstore.cli.program import run_program
from jfstore.errors import BadValue, nearest

COMMANDS = {
    "init": "Make a repository in a directory or a bucket.",
    "demo": "Make a complete example and walk through it.",
    "add": "Add a version of a panel's or a detector's constants, valid from a time on.",
    "get": "Get a detector's constants that are valid at a time or for a run.",
    "id": "Print the panel and detector Ids of a run.",
    "runs": "List runs with their Jungfraus, and whether constants are stored for them.",
    "list": "List stored versions, by default of the test and the real repository side by side.",
    "explain": "Explain why a version, or nothing, is valid at a time or for a run.",
    "diff": "Compare two versions, two answers, or two repositories.",
    "identify": "Tell which version of which panel a file holds, exactly or changed.",
    "show": "Show everything about one version.",
    "history": "List the commits of a repository, oldest first.",
    "promote": "Copy versions from one repository to another.",
    "withdraw": "Withdraw versions: they are not valid any more, but stay stored.",
    "restore": "Restore versions that were withdrawn.",
    "close": "State that from a time on nothing is valid for a panel or a detector.",
    "tag": "Give a commit a name, for --as-of.",
    "freeze": "State that answers before a time do not change any more.",
    "panel": "Show the history of a panel, propose or state that two Ids are one panel, or give a name.",
    "import": "Import a gain tree, a DCS file or a calibration directory of psana1.",
    "export": "Export constants as a DCS file or a gain tree, or an answer as a bundle.",
    "generate": "Write the constants of a run to files.",
    "deploy": "Deploy the constants of a run to where psana reads them, or undo that.",
    "audit": "Check whether deployed files still match a repository.",
    "verify": "Check every stored byte of a repository.",
    "mirror": "Copy a repository, or bring a copy up to date.",
    "cache": "Show or clear the arrays of buckets that are cached on this machine.",
}
"""Every command with its summary; the modules are not loaded for --help, which must be fast."""

_HINTS = {
    **dict.fromkeys(
        ("delete", "remove", "rm", "undo", "revert"),
        "versions are never deleted; jfstore withdraw takes one back, and one added at the same stamp supersedes it",
    ),
    "compare": "jfstore diff compares versions, answers and repositories; jfstore list shows two side by side",
    **dict.fromkeys(("put", "push", "upload"), "jfstore add and jfstore promote write to a repository"),
    **dict.fromkeys(("log", "report", "stats", "status"), "jfstore history and jfstore list show what is stored"),
    **dict.fromkeys(("lock", "protect"), "jfstore freeze keeps answers as they are"),
    **dict.fromkeys(("rename", "alias", "name"), "jfstore panel ID --name NAME gives a panel or a detector a name"),
    "why": "jfstore explain says why a version is valid, and others are not",
    **dict.fromkeys(("check", "fsck"), "jfstore verify checks a repository, jfstore audit deployed files"),
    **dict.fromkeys(("plot", "view"), "jfstore has no such command"),
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
    return import_module(f"jfstore.cli.{'import_' if command == 'import' else command}")


def get_parser(with_options: bool = True) -> Parser:
    """Return the parser of ``jfstore`` with all commands, for the man page; for ``--help`` without their options."""
    description = "Versioned store of Jungfrau detector calibration constants."
    parser = Parser(prog="jfstore", description=description, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"jfstore {__version__}")
    add_repo(parser, "most commands that read: real")
    add_json(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command, summary in COMMANDS.items():
        text = summary[0].lower() + summary[1:].rstrip(".")
        if with_options:
            module = _module(command)
            module.add_options(subparsers.add_parser(command, help=text, description=summary, epilog=module.EPILOG))
        else:
            subparsers.add_parser(command, help=text)
    return parser


def command_parser(command: str) -> Parser:
    """Return the parser of one command."""
    module = _module(command)
    parser = Parser(prog=f"jfstore {command}", description=COMMANDS[command], epilog=module.EPILOG)
    module.add_options(parser)
    return parser


def run_command(command: str, args: argparse.Namespace) -> int:
    """Run a command with its parsed arguments and return its exit code."""
    return int(_module(command).run(args))


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
    get_parser(with_options=False).print_help()
    return 0


def _run(argv: list[str]) -> int:
    if not argv:
        get_parser(with_options=False).print_help(sys.stderr)
        return BadValue.exit_code
    before, rest = _split(argv)
    if not rest or {"-h", "--help", "--version"} & {*before}:
        get_parser(with_options=False).parse_args(before)
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
    return run_command(command, args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``jfstore`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program("jfstore", _run, argv)
