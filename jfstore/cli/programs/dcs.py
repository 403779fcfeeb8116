"""``dcs``: constants in files of the Detector Calibration Store, printed, got, added and deleted as ever."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jfstore._version import __version__
from jfstore.cli.options import Once, Parser, add_rights, rights_of
from jfstore.cli.output import note, printable, progress
from jfstore.cli.program import run_program, warn_of
from jfstore.errors import BadValue, nearest

if TYPE_CHECKING:
    from jfstore.cli.programs._dcs_files import Place
    from jfstore.dcs.model import DcsContents

_NEGATIVE = re.compile(r"-(?:[0-9.]|inf|nan)", re.ASCII | re.IGNORECASE)
COMMANDS = ("print", "get", "add", "delversion", "delrange", "delctype")
_EPILOG = """\
A command may be cut short: p, g, a, delv, delr, delc. Without FILE it is the file
<CDIR>/jungfrau/jungfrau-<detector Id>.h5 of a run, whose begin is the time unless -T is given.
With FILE, -e -r -d are noted with what is added. Of the ranges of validity that hold the
time the one that begins last is taken, then the shortest, and of its versions the highest
number; a range without versions answers nothing. What changes is a copy, which takes the
place of the file when it is complete.

examples:
  dcs print jungfrau-171113-154920171025-3d00fb.h5
  dcs get jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -T 1520294400 -f gain.npy
  dcs add jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -T 1520294400 -f gain.npy -m "why"
  dcs delversion jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -T 1520294400 -v 2
  dcs delrange jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -g 1520294400-end
  dcs get -e xcsls3716 -r 631 -d Jungfrau.0 -t pixel_gain
"""


def _command(text: str) -> str:
    meant = [name for name in COMMANDS if name.startswith(text)] if text else []
    if len(meant) != 1:
        near = meant or nearest(text, COMMANDS) or COMMANDS
        raise argparse.ArgumentTypeError(f"{text!r} is not a command; nearest: {', '.join(near)}")
    return meant[0]


def _type_name(text: str) -> str:
    from jfstore.dcs.model import type_named

    try:
        return type_named(text)
    except BadValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _filled(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the value is empty")
    return text


def _with_times(argv: Sequence[str]) -> list[str]:
    """Return `argv` with a time such as ``-inf`` joined to its ``-T``: alone it would be taken for an option."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] in ("-T", "--tsec") and "--" not in words and _NEGATIVE.match(word):
            words[-1] = f"-T{word}"
        else:
            words.append(word)
    return words


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version number, such as 2")
    return int(text)


def _seconds(text: str) -> float:
    from jfstore.dcs.model import LATEST

    try:
        seconds = float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        seconds = None
    if seconds is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in Unix seconds, such as 1520294400")
    if math.isfinite(seconds) and abs(seconds) >= LATEST:
        hint = "; is it a stamp? date -d '2018-03-06 00:00:00' +%s says the seconds" if len(text) == 14 else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in Unix seconds before the year 2262{hint}")
    return seconds


def get_parser() -> Parser:
    """Return the parser of ``dcs``."""
    parser = Parser(
        prog="dcs",
        description="Print, get, add and delete constants in files of the Detector Calibration Store.",
        epilog=_EPILOG,
    )
    option = parser.add_argument
    option("--version", action="version", version=f"dcs of jfstore {__version__}")
    option("command", metavar="COMMAND", nargs="?", type=_command, help=", ".join(COMMANDS))
    option("file", metavar="FILE", nargs="?", help="<detector type>-<detector Id>.h5 (default: that of a run)")
    option(
        "-e", "--exp", dest="experiment", metavar="EXP", type=_filled, action=Once, help="experiment, with -r: a run"
    )
    option("-r", "--run", dest="run_number", metavar="RUN", type=_filled, action=Once, help="number of the run")
    option(
        "-d",
        "--src",
        dest="source",
        metavar="SOURCE",
        type=_filled,
        action=Once,
        help="which detector of the run: source, alias or a part of the source",
    )
    option(
        "-t",
        "--ctype",
        dest="type",
        metavar="TYPE",
        type=_type_name,
        action=Once,
        help="calibration type, such as pixel_gain or geometry",
    )
    option(
        "-c",
        "--cdir",
        dest="cdir",
        metavar="CDIR",
        action=Once,
        help="calibration directory (default: detector/calib under SIT_PSDM_DATA)",
    )
    option(
        "-v",
        "--vers",
        dest="number",
        metavar="N",
        type=_number,
        action=Once,
        help="version number (default: the valid one; for add the next, for delversion the last)",
    )
    option("-m", "--msg", dest="message", metavar="MESSAGE", action=Once, help="why, for the history")
    option(
        "-g", "--rng", dest="range", metavar="RANGE", action=Once, help="a range by its name, such as 1520294400-end"
    )
    option(
        "-p",
        "--pred",
        dest="predecessor",
        metavar="NAME",
        type=_filled,
        action=Once,
        help="predecessor of the detector",
    )
    option(
        "-s", "--succ", dest="successor", metavar="NAME", type=_filled, action=Once, help="successor of the detector"
    )
    option(
        "-f",
        "--cfname",
        dest="constants",
        metavar="NAME",
        action=Once,
        help="file of the constants: .npy, or text (get: default <detector>-<type>.npy)",
    )
    option("-i", "--verbos", dest="quiet", action="store_true", help="say nothing but what is wrong")
    option(
        "-T",
        "--tsec",
        dest="seconds",
        metavar="SECONDS",
        type=_seconds,
        action=Once,
        help="time in Unix seconds; for add the begin of validity",
    )
    add_rights(parser)
    return parser


def _run(argv: list[str]) -> int:
    from jfstore.cli.programs._dcs_files import place_of

    parser = get_parser()
    args = parser.parse_all(_with_times(argv))
    if args.command is None:
        if argv:
            raise BadValue(f"the command is missing: {', '.join(COMMANDS)}; see dcs --help")
        parser.print_help()
        return 0
    if args.command != "print" and args.type is None:
        raise BadValue("the calibration type is missing: -t TYPE, such as -t pixel_gain")
    place = place_of(args)
    told = {
        "print": _print,
        "get": _get,
        "add": _add,
        "delversion": _delete_version,
        "delrange": _delete_range,
        "delctype": _delete_type,
    }[args.command](args, place)
    if told and not args.quiet:
        note(told)
    return 0


def _print(args: argparse.Namespace, place: Place) -> str:
    from jfstore.cli.programs._dcs_print import lines_of
    from jfstore.dcs.read import opened_dcs

    with opened_dcs(place.path) as contents:
        _warn_of_foreign(contents)
        for line in lines_of(contents):
            print(printable(line))
    return ""


def _warn_of_foreign(contents: DcsContents) -> None:
    if contents.foreign:
        more = f" and {len(contents.foreign) - 1} more" if len(contents.foreign) > 1 else ""
        warn_of([f"{contents.where} holds {contents.foreign[0]}{more}, of which the store knows nothing"])


def _range_named(args: argparse.Namespace, place: Place) -> float | None:
    """Return the time that was asked for, None if the range was; BadValue if not exactly one."""
    if args.range is not None:
        if args.seconds is not None:
            raise BadValue("-T and -g both say which range: leave out one")
        return None
    seconds = place.seconds(args)
    if math.isnan(seconds):
        warn_of(["a time that is no number is taken as one after every begin"])
    return seconds


def _get(args: argparse.Namespace, place: Place) -> str:
    from jfstore.cli.programs._dcs_files import check_output, write_constants
    from jfstore.dcs.model import find_range, find_version, version_key
    from jfstore.dcs.read import opened_dcs

    seconds = _range_named(args, place)
    out = args.constants if args.constants is not None else f"{place.name}-{args.type}.npy"
    check_output(out, place.path)
    with opened_dcs(place.path) as contents:
        held = find_range(contents, args.type, seconds, args.range)
        version = find_version(contents, args.type, held, args.number)
        if version.problem:
            warn_of([f"{args.type}/{held.key}/{version_key(version.number)}: {version.problem}"])
        skipped = [other for other in held.versions if other.problem and other.number > version.number]
        if args.number is None:
            warn_of(
                f"{args.type}/{held.key}/{version_key(other.number)} is left out: {other.problem}" for other in skipped
            )
        assert version.blob is not None
        write_constants(out, version.blob, args.type)
    return f"wrote {out}: {args.type}/{held.key}/{version_key(version.number)} of {place.path}"


def _add(args: argparse.Namespace, place: Place) -> str:
    from jfstore.cli.programs._dcs_files import make_directory, read_constants
    from jfstore.dcs.check import check_blob
    from jfstore.dcs.edit import Addition, add_version
    from jfstore.dcs.model import answered, range_key, version_key

    if args.constants is None:
        raise BadValue("the file of the constants is missing: -f NAME")
    if args.range is not None:
        raise BadValue("a range of what is added begins with -T and has no end: leave out -g")
    start = place.start(args)
    blob = read_constants(args.constants, args.type)
    new = Addition(
        args.type,
        start,
        blob,
        args.message or "",
        args.number,
        place.parameters(args),
        args.predecessor,
        args.successor,
    )
    done: list[tuple[str, str]] = []

    def edit(contents: DcsContents) -> DcsContents:
        check_blob(contents, new.type, blob, args.constants)
        changed, version = add_version(contents, new, time.time())
        name = f"{new.type}/{range_key(start)}/{version_key(version.number)}"
        done.append((name, answered(changed, new.type, start)))
        return changed

    make_directory(args, place)
    _change(args, place, edit, create=True)
    added, wins = done[-1]
    if wins != added:
        warn_of([f"at {start:.17g} get answers {wins}, and not what was added, {added}"])
    return f"added {added} to {place.path}"


def _change(
    args: argparse.Namespace, place: Place, edit: Callable[[DcsContents], DcsContents], create: bool = False
) -> None:
    from jfstore.dcs.store import change_dcs

    with progress(args.command) as show:
        change_dcs(place.path, edit, create=create, rights=rights_of(args), show=show)


def _delete_version(args: argparse.Namespace, place: Place) -> str:
    from jfstore.dcs.edit import delete_version
    from jfstore.dcs.model import find_range, version_key

    seconds = _range_named(args, place)
    gone: list[str] = []

    def edit(contents: DcsContents) -> DcsContents:
        held = find_range(contents, args.type, seconds, args.range)
        changed, version = delete_version(contents, args.type, held, args.number, args.message or "", time.time())
        gone.append(f"{args.type}/{held.key}/{version_key(version.number)}")
        return changed

    _change(args, place, edit)
    return f"deleted {gone[-1]} from {place.path}"


def _delete_range(args: argparse.Namespace, place: Place) -> str:
    from jfstore.dcs.edit import delete_range

    if args.range is None:
        raise BadValue("which range? -g RANGE, such as -g 1520294400-end")
    _refuse(args, "number", "-v", "range")
    _change(
        args, place, lambda contents: delete_range(contents, args.type, args.range, args.message or "", time.time())
    )
    return f"deleted {args.type}/{args.range} from {place.path}"


def _delete_type(args: argparse.Namespace, place: Place) -> str:
    from jfstore.dcs.edit import delete_type

    for name, letter in (("number", "-v"), ("range", "-g"), ("seconds", "-T")):
        _refuse(args, name, letter, "calibration type")
    _change(args, place, lambda contents: delete_type(contents, args.type, args.message or "", time.time()))
    return f"deleted {args.type} from {place.path}"


def _refuse(args: argparse.Namespace, name: str, letter: str, what: str) -> None:
    """Refuse an option that would be understood as less than what is deleted."""
    if getattr(args, name) is not None:
        raise BadValue(f"{args.command} deletes a whole {what}: leave out {letter}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``dcs`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program("dcs", _run, argv)


if __name__ == "__main__":
    sys.exit(main())
