"""The parser of the commands, and the options that several commands share."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from jfstore.cli.output import terminal_width
from jfstore.errors import BadValue, nearest

if TYPE_CHECKING:
    from jfstore.fs.owner import Rights


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Fill paragraphs of descriptions and epilogs, but leave tables and examples, whose lines are indented."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        import textwrap

        fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(part if "\n  " in part else fill(part) for part in paragraphs) + "\n"


def _format_for(width: int) -> Callable[..., argparse.HelpFormatter]:
    return partial(_Formatter, width=width, max_help_position=26)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `BadValue`, without abbreviations of options."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        # A fixed width, so that the man pages do not depend on the terminal that built them.
        kwargs.setdefault("formatter_class", _format_for(88))
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        # Where the message names the value, the name of the argument says no more.
        message = re.sub(r"^argument [^:]+: (?=')", "", message)
        raise BadValue(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        stream = sys.stdout if file is None else file
        if stream.isatty():
            self.formatter_class = _format_for(min(terminal_width(stream), 100))
        super().print_help(file)

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


def as_option(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return `parse` as argparse calls it: its BadValue becomes an error of the option."""

    def parse_option(text: str) -> Any:
        try:
            return parse(text)
        except BadValue as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_option


def _parse_type(text: str) -> str:
    from jfstore.core.calib_types import calib_type

    return calib_type(text).name


def _parse_number(text: str) -> int:
    match = re.fullmatch(r"v?0*([1-9][0-9]{0,8})", text, re.ASCII)
    if not match:
        hint = f"; a time is given with -T {text}" if re.fullmatch(r"[0-9]{9,}", text, re.ASCII) else ""
        raise BadValue(f"{text!r} is not a version number, such as 2{hint}")
    return int(match[1])


def _parse_about(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise BadValue(f"{text!r} is not KEY=VALUE, such as dark_run=689")
    return key, value


def _parse_time(text: str) -> str:
    if text.startswith("pixel_"):
        raise BadValue(f"{text!r} is not a time; a calibration type is given with -t {text}")
    return text


class Once(argparse.Action):
    """Store a value; an option that is given twice is an error."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if getattr(namespace, self.dest, None) is not None:
            raise argparse.ArgumentError(self, "was given twice")
        setattr(namespace, self.dest, values)


def choose(name: str, values: Iterable[str | None]) -> str | None:
    """Return the only value that is not None; BadValue if there are several."""
    found = [value for value in values if value is not None]
    if len(found) > 1:
        raise BadValue(f"the {name} is given twice: {' and '.join(found)}")
    return found[0] if found else None


def add_repo(parser: argparse.ArgumentParser, default: str = "default: real") -> None:
    """Add ``--repo``, which may stand before or after the command."""
    text = f"the repository: test, real, another configured name, a path, or a URL ({default})"
    parser.add_argument("--repo", metavar="NAME|PATH|URL", default=argparse.SUPPRESS, help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which may stand before or after the command."""
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, also for failures")


def _parse_root(text: str) -> str:
    if not os.path.isdir(text):
        raise BadValue(f"{text!r} is not a directory with instruments and experiments; --impact without one goes last")
    return text


def add_write_options(parser: argparse.ArgumentParser, impact: bool = True, is_message_required: bool = True) -> None:
    """Add the options of every command that makes a commit; with `impact` also those for the runs that it concerns.

    Without a message, if none is required, the command only reads.
    """
    needed = "required, there is no default for writing" if is_message_required else "required to write; default: real"
    add_repo(parser, needed)
    add = parser.add_argument
    add("-m", "--message", metavar="MESSAGE", action=Once, required=is_message_required, help="the reason, for the log")
    add("--dry-run", action="store_true", help="check everything, show what would change, store nothing")
    if impact:
        text = "also show which runs and deployed files that concerns, and by how much the values change (default: "
        root: dict[str, Any] = {"metavar": "ROOT", "type": as_option(_parse_root), "help": f"{text}SIT_PSDM_DATA)"}
        add("--impact", nargs="?", const=True, **root)
        text = "with --impact: compare files without a note of jfstore with the repository, which reads them"
        add("--compare", action="store_true", help=text)
    add("--yes", action="store_true", help="do not ask before writing to a real repository")
    text = "32 hexadecimal digits; a command repeated with the same ID never adds twice"
    add("--request", metavar="ID", help=text)
    add_json(parser)


def add_about(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--about``, which may be repeated."""
    options: dict[str, Any] = {"type": as_option(_parse_about), "action": "append", "help": text}
    parser.add_argument("--about", metavar="KEY=VALUE", **options)


def about_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the texts of ``--about`` by key; BadValue if a key is given twice."""
    texts = dict(args.about or [])
    if len(texts) < len(args.about or []):
        raise BadValue("--about has a key twice")
    return texts


def add_accept(parser: argparse.ArgumentParser) -> None:
    """Add ``--accept``, which may be repeated."""
    text = "store constants in which the guard finds FINDING, as its message names it; may be repeated"
    parser.add_argument("--accept", metavar="FINDING", action="append", default=[], help=text)


def add_types(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``-t``, which may be repeated."""
    options: dict[str, Any] = {"type": as_option(_parse_type), "action": "append", "help": text}
    parser.add_argument("-t", "--type", dest="types", metavar="TYPE", **options)


def add_time(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``-T``."""
    forms = "a stamp YYYYMMDDHHMMSS in the repository's zone, ISO 8601 with a zone, @UNIX-SECONDS, or now"
    options: dict[str, Any] = {"type": as_option(_parse_time), "action": Once, "help": f"{text}: {forms}"}
    parser.add_argument("-T", "--time", metavar="TIME", **options)


def replace_now(argv: list[str]) -> str:
    """Return the present second, and put it into `argv`: a command in doubt is printed to be repeated as it was."""
    second = f"@{int(time.time())}"
    for place, word in enumerate(argv):
        if word in ("-Tnow", "--time=now") or (word == "now" and argv[place - 1] in ("-T", "--time")):
            argv[place] = word.removesuffix("now") + second
    return second


def add_as_of(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--as-of``."""
    parser.add_argument("--as-of", metavar="SEQ|TAG|TIME", action=Once, help=text)


def add_number(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``-v``."""
    parser.add_argument("-v", "--number", metavar="N", type=as_option(_parse_number), action=Once, help=text)


def add_detector(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    """Add the detector as an argument, or as ``-d``."""
    parser.add_argument("detector", metavar=metavar, nargs="?", help=text)
    text = f"the same as {metavar}"
    parser.add_argument("-d", "--detector", dest="detector_option", metavar=metavar, action=Once, help=text)


def detector_of(args: argparse.Namespace) -> str:
    """Return the detector; BadValue if it is missing or given twice."""
    detector = choose("panel or detector Id", [args.detector, args.detector_option])
    if detector is None:
        raise BadValue("the panel or detector Id is missing")
    return detector


def _parse_mode(needed: int, text: str) -> int:
    from jfstore.fs.owner import parse_mode

    return parse_mode(text, needed)


def _parse_group(text: str) -> int:
    from jfstore.fs.owner import group_number

    return group_number(text)


def add_rights(parser: argparse.ArgumentParser) -> None:
    """Add ``--dirmode``, ``--filemode`` and ``--group``."""
    for name, what, needed, usual in (("--dirmode", "directories", 0o700, 2775), ("--filemode", "files", 0o600, 664)):
        text = f"octal mode of new {what}, whatever the umask (default: {usual})"
        parse = as_option(partial(_parse_mode, needed))
        parser.add_argument(name, metavar="MODE", action=Once, type=parse, help=text)
    text = "group of new files and directories (default: the group that their directory gives them)"
    parser.add_argument("--group", metavar="GROUP", action=Once, type=as_option(_parse_group), help=text)


def rights_of(args: argparse.Namespace) -> Rights:
    """Return the modes and the group of new files and directories."""
    from jfstore.fs.owner import Rights

    named = {"directory": args.dirmode, "file": args.filemode, "group": args.group}
    return Rights(**{name: value for name, value in named.items() if value is not None})
