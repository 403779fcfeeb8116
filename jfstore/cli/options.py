"""The parser of the commands: options that several share, values checked, errors of one line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from jfstore.errors import BadValue, nearest
from jfstore.fs.rights import Rights, group_number, parse_mode

# A fixed width, so that the man pages do not depend on the terminal that built them.
_FORMATTER = partial(argparse.RawDescriptionHelpFormatter, width=88, max_help_position=26)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `BadValue`, without abbreviations of options."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _FORMATTER)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        # Where the message names the value, the name of the argument says no more.
        message = re.sub(r"^argument [^:]+: (?=')", "", message)
        raise BadValue(f"{message}; see {self.prog} --help")

    def parse_words(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Return the parsed words and those that are not understood; options may stand between arguments."""
        before = words[: words.index("--")] if "--" in words else words
        if "-h" in before or "--help" in before:
            # While it takes intermixed words, argparse hides the arguments from the help.
            self.print_help()
            raise SystemExit(0)
        return self.parse_known_intermixed_args(words)

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the parsed words; BadValue if one is not understood."""
        args, unknown = self.parse_words(words)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return args

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            near = nearest(str(value), choices) or (choices if len(choices) < 4 else [])
            hint = f"; nearest: {', '.join(near)}" if near else ""
            name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
            raise argparse.ArgumentError(None, f"{name}: {value!r} is unknown{hint}")


def _type_name(text: str) -> str:
    from jfstore.core.calib_types import calib_type

    try:
        return calib_type(text).name
    except BadValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> int:
    match = re.fullmatch(r"v?0*([1-9][0-9]{0,8})", text, re.ASCII)
    if not match:
        hint = f"; a time is given with -T {text}" if re.fullmatch(r"[0-9]{9,}", text, re.ASCII) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not a version number, such as 2{hint}")
    return int(match[1])


def _time(text: str) -> str:
    if text.startswith("pixel_"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; a calibration type is given with -t {text}")
    return text


class Once(argparse.Action):
    """Stores a value; an option that is given twice is an error, not the last one's."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if getattr(namespace, self.dest, None) is not None:
            raise argparse.ArgumentError(self, "was given twice")
        setattr(namespace, self.dest, values)


def add_repo(parser: argparse.ArgumentParser, default: str = "default: real") -> None:
    """Add ``--repo``, which may stand before or after the command; `default` says what it is if not given."""
    parser.add_argument(
        "--repo",
        metavar="NAME|PATH|URL",
        default=argparse.SUPPRESS,
        help=f"the repository: test, real, another configured name, a path, or a URL ({default})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which may stand before or after the command."""
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, also for failures")


def add_write_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that makes a commit has: message, dry run, confirmation, request."""
    add_repo(parser, "must be given, there is no default for writing")
    parser.add_argument("-m", "--message", metavar="MESSAGE", action=Once, required=True, help="why; kept in the log")
    parser.add_argument("--dry-run", action="store_true", help="check everything, say what would change, store nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before writing to a real repository")
    parser.add_argument(
        "--request",
        metavar="ID",
        help="32 hexadecimal digits; a command repeated with the same ID never adds twice",
    )
    add_json(parser)


def add_types(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``-t``, which may be repeated."""
    parser.add_argument("-t", "--type", dest="types", metavar="TYPE", type=_type_name, action="append", help=text)


def add_time(parser: argparse.ArgumentParser, text: str, required: bool = True) -> None:
    """Add ``-T``."""
    forms = "a stamp YYYYMMDDHHMMSS in the repository's zone, ISO 8601 with a zone, @UNIX-SECONDS, or now"
    parser.add_argument(
        "-T", "--time", metavar="TIME", type=_time, action=Once, required=required, help=f"{text}: {forms}"
    )


def add_number(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``-v``."""
    parser.add_argument("-v", "--number", metavar="N", type=_number, action=Once, help=text)


def add_detector(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    """Add the detector as an argument, or as ``-d``."""
    parser.add_argument("detector", metavar=metavar, nargs="?", help=text)
    parser.add_argument(
        "-d", "--detector", dest="detector_option", metavar=metavar, action=Once, help=f"the same as {metavar}"
    )


def detector_of(args: argparse.Namespace) -> str:
    """Return the detector that was given, one way or the other; BadValue if not exactly once."""
    given = [value for value in (args.detector, args.detector_option) if value is not None]
    if len(given) != 1:
        raise BadValue("the panel or detector Id is " + ("given twice" if given else "missing"))
    return str(given[0])


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
