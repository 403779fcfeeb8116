"""``jfstore add``: add a version of a panel's constants, or of every panel of a detector."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import (
    Parser,
    about_of,
    add_about,
    add_accept,
    add_detector,
    add_time,
    add_types,
    add_write_options,
    as_option,
    replace_now,
)
from jfstore.cli.run_options import add_run, target_of
from jfstore.cli.writing import add_confirmed, open_to_write
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.adding import Added
    from jfstore.repository.entries import Given

EPILOG = """\
A panel's constants are a directory of g0_gain.npy ... g2_offset.npy, or .npy or text files of shape (gain, row,
column), one -f for each -t. A detector's files have the shape (gain, panel, row, column). Text is that of psana; its
header may lack the shape. All panels of a detector are added in one commit, and only those that changed get a new
version. float64 is rounded to float32. Other types, values that are not finite, and gains of zero are refused. --fill
makes an array of one number, or of one for each gain range, such as gains of 1 and offsets of 0 for a beam time without
a calibration. For a run, the panels come from its XTC files, and the constants are valid from the start of the run,
floored to the second.

A version can carry short texts: the dark run, a report, the conditions. jfstore show prints them, and jfstore list
--about filters by them.

The guard judges new constants first: signs and magnitude, the order of the gain ranges, and for panels of real size
whether they are those of this panel. If it finds something, nothing is stored, and the exit code is 5. --accept stores
the constants all the same, and the commit says so. docs/guard.md describes the findings.

examples:
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -f M044 -m "first" --repo test
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -t pixel_gain -f gain.npy \\
      -t pixel_offset -f offset.npy -m "new gains" --repo test
  jfstore add -e xcsls3716 -r 631 -t pixel_gain -f 631-end.data -m "as it was deployed" --repo test
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 --fill pixel_gain=41.5,-1.39,-0.11 \\
      --fill pixel_offset=0 -m "nominal" --repo test
  jfstore add -e xcsls3716 -r 631 -t pixel_gain -f gain.npy -m "from run 631" --repo test
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -f M044 -m "first" --repo test \\
      --about dark_run=689 --about report=https://example.org/report/7
"""


def add_options(parser: Parser) -> None:
    add_detector(parser, "PANEL", "panel Id, detector Id (panel Ids joined by _), or dataset exp=EXP:run=RUN")
    add_run(parser)
    add_time(parser, "start of validity")
    text = "the constants: a directory, or an .npy or text file for each -t"
    parser.add_argument("-f", "--file", dest="files", metavar="DIR|FILE", action="append", help=text)
    add_types(parser, "calibration type of the file that follows; may be repeated")
    text = "fill the array of a calibration type with a number, or with one for each gain range; may be repeated"
    parse: Any = as_option(_parse_fill)
    parser.add_argument("--fill", dest="fills", metavar="TYPE=V[,V,V]", type=parse, action="append", help=text)
    add_about(parser, "a short text that the version carries, such as dark_run=689; may be repeated")
    add_accept(parser)
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    repository = open_to_write(args)
    target, time, source = target_of(args)
    arrays, texts = _arrays(args), about_of(args)
    if time == "now":
        time = replace_now(args.argv)

    def add(dry_run: bool) -> Added:
        options: dict[str, Any] = {"source": source, "about": texts, "request": args.request, "dry_run": dry_run}
        options["accept"] = args.accept
        return repository.add(target, time, arrays, args.message, **options)

    add_confirmed(args, repository, add)
    return 0


def _parse_fill(text: str) -> tuple[str, tuple[float, ...]]:
    """Return the calibration type and the numbers of ``TYPE=V[,V,V]``."""
    from jfstore.core.calib_types import calib_type

    name, _, numbers = text.partition("=")
    try:
        return calib_type(name).name, tuple(map(float, numbers.split(",")))
    except BadValue:
        raise
    except ValueError:
        raise BadValue(f"{text!r} is not TYPE=V[,V,V], such as pixel_gain=1 or pixel_gain=41.5,-1.39,-0.11") from None


def _arrays(args: argparse.Namespace) -> str | dict[str, Given]:
    """Return the directory, or what each calibration type is: a file, or numbers that fill its array."""
    fills = args.fills or []
    if not (args.files or fills):
        raise BadValue("the constants are missing: -f DIR, -t TYPE -f FILE, or --fill TYPE=V")
    files = _files(args.types or [], args.files) if args.files else {}
    if isinstance(files, str):
        if fills:
            raise BadValue(f"{files} has every calibration type: --fill cannot be added to it")
        return files
    if not args.files and args.types:
        raise BadValue(f"-t {args.types[0]} has no file (-f)")
    names = [*files, *(name for name, _ in fills)]
    if len(set(names)) != len(names):
        raise BadValue("a calibration type comes twice")
    return {**files, **dict(fills)}


def _files(types: Sequence[str], files: Sequence[str]) -> str | dict[str, str]:
    """Return the directory, or the file of each calibration type."""
    for file in files:
        if not os.path.exists(file):
            raise BadValue(f"{file}: no such file or directory")
    if not types and len(files) == 1 and os.path.isdir(files[0]):
        return str(files[0])
    if not types and len(files) == 1:
        raise BadValue(f"{files[0]}: the calibration type is missing, such as -t pixel_gain -f {files[0]}")
    if len(types) != len(files):
        raise BadValue(f"-f was given {len(files)} times and -t {len(types)} times: each file needs its type")
    if len(set(types)) != len(types):
        raise BadValue("a calibration type (-t) comes twice")
    return dict(zip(types, files, strict=True))
