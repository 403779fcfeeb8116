"""Modes and group of what a command makes outside a repository: the options that the old commands have for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from jfstore.cli._parser import Once
from jfstore.errors import BadValue
from jfstore.fs.rights import Rights, group_number, parse_mode

_OWNER_OF_FILE, _OWNER_OF_DIRECTORY = 0o600, 0o700


def _mode(needed: int) -> Callable[[str], int]:
    def mode(text: str) -> int:
        try:
            return parse_mode(text, needed)
        except BadValue as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return mode


def _group(text: str) -> int:
    try:
        return group_number(text)
    except BadValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_rights(parser: argparse.ArgumentParser) -> None:
    """Add ``--dirmode``, ``--filemode`` and ``--group``."""
    parser.add_argument(
        "--dirmode",
        metavar="MODE",
        action=Once,
        type=_mode(_OWNER_OF_DIRECTORY),
        help="octal mode of new directories, whatever the umask (default: 2775)",
    )
    parser.add_argument(
        "--filemode",
        metavar="MODE",
        action=Once,
        type=_mode(_OWNER_OF_FILE),
        help="octal mode of new files, whatever the umask (default: 664)",
    )
    parser.add_argument(
        "--group",
        metavar="GROUP",
        action=Once,
        type=_group,
        help="group of new files and directories (default: as their directory says)",
    )


def rights_of(args: argparse.Namespace) -> Rights:
    """Return the rights that were asked for."""
    usual = Rights()
    return Rights(
        usual.directory if args.dirmode is None else args.dirmode,
        usual.file if args.filemode is None else args.filemode,
        args.group,
    )
