"""``jfstore add``: add a version of a panel's constants, or of every panel of a detector."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jfstore.cli._added import emit_added
from jfstore.cli._open import open_to_write
from jfstore.cli._output import note
from jfstore.cli._parser import add_detector, add_time, add_types, add_write_options
from jfstore.cli._runs import add_run, target_of
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from pathlib import Path

    from jfstore.core.arrays import Checked
    from jfstore.repository import Repository

_EPILOG = """\
A panel's constants are a directory of g0_gain.npy ... g2_offset.npy, or .npy files of
shape (gain, row, column), one -f for each -t. A detector's .npy files have shape
(gain, panel, row, column); all its panels are one commit, and only those that changed
get a new version. float64 is rounded to float32; other types, values that are not finite
and gains of zero are refused. For a run, its XTC files say which panels they are, and the
constants are valid from its begin on, floored to the second.

examples:
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -f M044 -m "first" --repo test
  jfstore add 171113-154920171025-3d00fb -T 20180306000000 -t pixel_gain -f gain.npy \\
      -t pixel_offset -f offset.npy -m "new gains" --repo test
  jfstore add -e xcsls3716 -r 631 -t pixel_gain -f gain.npy -m "from run 631" --repo test
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "add",
        help="add a version of a panel's or a detector's constants",
        description="Add a version of constants, valid from a time on.",
        epilog=_EPILOG,
    )
    add_detector(parser, "PANEL", "panel Id, detector Id (panel Ids joined by _), or dataset exp=EXP:run=RUN")
    add_run(parser)
    add_time(parser, "start of validity", required=False)
    parser.add_argument(
        "-f",
        "--file",
        dest="files",
        metavar="DIR|FILE.npy",
        action="append",
        required=True,
        help="the constants: a directory, or a file for each -t",
    )
    add_types(parser, "calibration type of the file that follows; may be repeated")
    add_write_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.core.ids import resolve_detector
    from jfstore.core.instants import SECOND, exact_stamp, parse_time
    from jfstore.repository import Entry

    repository = open_to_write(args)
    target = target_of(args)
    panels = [str(panel) for panel in resolve_detector(target.detector, repository.log.table().panel_rows)]
    start = parse_time(target.time, repository.zone)
    if target.run or args.time == "now":
        start -= start % SECOND
    stamp = exact_stamp(start, repository.zone)
    arrays = _read(args, repository, len(panels))
    source = ", ".join(os.path.abspath(file) for file in args.files)
    if target.run:
        source += f", valid from {target.run.label}"
        note(f"{target.run.label} began at {stamp} ({target.run.file})")
    entries = [Entry(panel, stamp, start, arrays[i], source) for i, panel in enumerate(panels)]
    for name, checked in arrays[0].items():
        if checked.converted_from:
            note(f"{name} was rounded from float64 to float32")
    added = repository.add(entries, args.message, request=args.request, dry_run=args.dry_run)
    emit_added(args, repository, added)
    return 0


def _read(args: argparse.Namespace, repository: Repository, count: int) -> list[Mapping[str, Checked]]:
    """Return the checked arrays of each panel."""
    from pathlib import Path

    from jfstore.formats.gain_tree import read_gain_directory

    shape = repository.identity.panel_shape
    paths = [Path(file) for file in args.files]
    types = args.types or []
    if not types and len(paths) == 1 and paths[0].is_dir():
        if count > 1:
            raise BadValue(f"{paths[0]} is the directory of one panel, and the detector has {count}")
        return [read_gain_directory(paths[0], shape)]
    for path in paths:
        if not path.exists():
            raise BadValue(f"{path}: no such file or directory")
    if not types and len(paths) == 1:
        raise BadValue(f"{paths[0]}: of which calibration type? give it, such as -t pixel_gain -f {paths[0]}")
    if len(types) != len(paths):
        raise BadValue(f"-f was given {len(paths)} times and -t {len(types)} times: each file needs its type")
    if len(set(types)) != len(types):
        raise BadValue("a calibration type (-t) comes twice")
    by_type = {name: _read_type(path, name, shape, count) for name, path in zip(types, paths, strict=True)}
    return [{name: panels[i] for name, panels in by_type.items()} for i in range(count)]


def _read_type(path: Path, name: str, shape: tuple[int, int, int], count: int) -> list[Checked]:
    from jfstore.core.arrays import check_array
    from jfstore.formats.npy import read_npy

    if path.is_dir():
        raise BadValue(f"{path} is a directory: it is given without -t, or name a file in it")
    whole = (shape[0], count, *shape[1:])
    array = read_npy(path, [whole, shape] if count == 1 else [whole])
    array = array.reshape(whole)
    return [
        check_array(array[:, i], name, shape, f"{path}, panel {i}" if count > 1 else str(path)) for i in range(count)
    ]
