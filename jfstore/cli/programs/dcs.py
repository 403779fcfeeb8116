"""``dcs``: print, get, add and delete constants in DCS files (Detector Calibration Store)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from jfstore._version import __version__
from jfstore.cli.options import Once, Parser, add_rights, as_option
from jfstore.cli.program import run_program
from jfstore.errors import BadValue, nearest

_NEGATIVE = re.compile(r"-(?:[0-9.]|inf|nan)", re.ASCII | re.IGNORECASE)
COMMANDS = ("print", "get", "add", "delversion", "delrange", "delctype")
_EPILOG = """\
Commands may be abbreviated: p, g, a, delv, delr, delc. Without FILE, the file is
<CDIR>/jungfrau/jungfrau-<detector Id>.h5 of a run, and the time is the start of the run
unless -T is given. With FILE, -e, -r and -d are noted with the constants that are added.
Of the ranges of validity that contain the time, the one that starts last wins, then the
shortest; of its versions, the one with the highest number. A range without versions hides
older ones. Changes are made in a copy, which replaces the file when it is complete.

examples:
  dcs print jungfrau-171113-154920171025-3d00fb.h5
  dcs get jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -T 1520294400 -f gain.npy
  dcs add jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -T 1520294400 -f gain.npy -m "why"
  dcs delversion jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -T 1520294400 -v 2
  dcs delrange jungfrau-171113-154920171025-3d00fb.h5 -t pixel_gain -g 1520294400-end
  dcs get -e xcsls3716 -r 631 -d Jungfrau.0 -t pixel_gain
"""


def _parse_command(text: str) -> str:
    meant = [name for name in COMMANDS if name.startswith(text)] if text else []
    if len(meant) != 1:
        near = meant or nearest(text, COMMANDS) or COMMANDS
        raise BadValue(f"{text!r} is not a command; nearest: {', '.join(near)}")
    return meant[0]


def _parse_type(text: str) -> str:
    from jfstore.dcs.model import check_type_name  # imports numpy

    return check_type_name(text)


def _parse_text(text: str) -> str:
    if not text:
        raise BadValue("the value is empty")
    return text


def _parse_number(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise BadValue(f"{text!r} is not a version number, such as 2")
    return int(text)


def _parse_seconds(text: str) -> float:
    from jfstore.dcs.model import LATEST

    try:
        seconds = float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        seconds = None
    if seconds is None:
        raise BadValue(f"{text!r} is not a time in Unix seconds, such as 1520294400")
    if math.isfinite(seconds) and abs(seconds) >= LATEST:
        hint = "; is it a stamp? date -d '2018-03-06 00:00:00' +%s says the seconds" if len(text) == 14 else ""
        raise BadValue(f"{text!r} is not a time in Unix seconds before the year 2262{hint}")
    return seconds


def _join_times(argv: Sequence[str]) -> list[str]:
    """Return `argv` with a time such as ``-inf`` joined to its ``-T``; argparse would take it for an option."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] in ("-T", "--tsec") and "--" not in words and _NEGATIVE.match(word):
            words[-1] = f"-T{word}"
        else:
            words.append(word)
    return words


_OPTIONS = (
    ("-e --exp", "experiment", "EXP", _parse_text, "experiment, with -r: a run"),
    ("-r --run", "run_number", "RUN", _parse_text, "number of the run"),
    ("-d --src", "source", "SOURCE", _parse_text, "detector of the run: source, alias or a part of the source"),
    ("-t --ctype", "type", "TYPE", _parse_type, "calibration type, such as pixel_gain or geometry"),
    ("-c --cdir", "cdir", "CDIR", str, "calibration directory (default: detector/calib under SIT_PSDM_DATA)"),
    ("-v --vers", "number", "N", _parse_number, "version number (default: valid one; add: next; delversion: last)"),
    ("-m --msg", "message", "MESSAGE", str, "reason, for the history"),
    ("-g --rng", "range", "RANGE", str, "name of a range, such as 1520294400-end"),
    ("-p --pred", "predecessor", "NAME", _parse_text, "predecessor of the detector"),
    ("-s --succ", "successor", "NAME", _parse_text, "successor of the detector"),
    ("-f --cfname", "constants", "NAME", str, "file of constants: .npy or text (get: default <detector>-<type>.npy)"),
    ("-T --tsec", "seconds", "SECONDS", _parse_seconds, "time in Unix seconds; for add the start of validity"),
)


def get_parser() -> Parser:
    """Return the parser of ``dcs``."""
    parser = Parser(
        prog="dcs",
        description="Print, get, add and delete constants in files of the Detector Calibration Store.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"dcs of jfstore {__version__}")
    add("command", metavar="COMMAND", nargs="?", type=as_option(_parse_command), help=", ".join(COMMANDS))
    add("file", metavar="FILE", nargs="?", help="<detector type>-<detector Id>.h5 (default: the file of a run)")
    for flags, name, metavar, parse, text in _OPTIONS:
        add(*flags.split(), dest=name, metavar=metavar, type=as_option(parse), action=Once, help=text)
    add("-i", "--verbos", dest="quiet", action="store_true", help="print only errors and warnings")
    add_rights(parser)
    return parser


def _run(argv: list[str]) -> int:
    parser = get_parser()
    args = parser.parse_all(_join_times(argv))
    if args.command is None:
        if argv:
            raise BadValue(f"the command is missing: {', '.join(COMMANDS)}; see dcs --help")
        parser.print_help()
        return 0
    if args.command != "print" and args.type is None:
        raise BadValue("the calibration type is missing: -t TYPE, such as -t pixel_gain")
    from jfstore.cli.programs._dcs_commands import run_command  # imports numpy

    return run_command(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``dcs`` with `argv` (those of the process if not given) and return its exit code."""
    return run_program("dcs", _run, argv)
