"""The ``jfstore`` command: finds the subcommand, runs it, turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib import import_module

from jfstore._version import __version__
from jfstore.cli._parser import Parser, add_json, add_repo
from jfstore.cli._program import run_program
from jfstore.errors import BadValue, InDoubt

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


def _run(argv: list[str]) -> int:
    # The first word, if it is a command: its parser alone is made, which is quicker.
    command = argv[0] if argv and argv[0] in COMMANDS else None
    args, unknown = get_parser(command).parse_known_args(argv)
    if len(unknown) == 1 and not unknown[0].startswith("-") and getattr(args, "source", "") is None:
        # argparse gives up on an optional argument that comes after an option.
        args.source = unknown.pop()
    if unknown:
        hint = ""
        if not unknown[0].startswith("-"):
            several = "detector" in args
            hint = "; panels are joined by _" if several else f"; did you mean --repo {unknown[0]}?"
        raise BadValue(f"unrecognized: {' '.join(unknown)}{hint}; see jfstore {args.command} --help")
    args.argv = argv
    return int(args.run(args))


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``jfstore`` with `argv` and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.
    """
    return run_program("jfstore", _run, argv, _retry)
