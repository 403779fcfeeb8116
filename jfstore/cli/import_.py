"""``jfstore import``: take in a legacy gain tree or a DCS file, all in one commit."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from jfstore.cli._import_dcs import import_dcs
from jfstore.cli.options import Parser, add_write_options
from jfstore.cli.output import note, progress
from jfstore.cli.writing import emit_added, open_to_write
from jfstore.errors import BadValue, Failed

if TYPE_CHECKING:
    from pathlib import Path

    from jfstore.repository import Entry

SUMMARY = "Import a legacy gain tree or a DCS file, in one commit."
EPILOG = """\
A directory is a gain tree: every name <panel Id>-<stamp> (or <panel Id>: valid from the beginning) that is a directory
of g0_gain.npy ... g2_offset.npy, or a link to one in the same tree, becomes a version.
What is not understood is reported and skipped, the rest goes in; the exit code is then 1.
What a panel and stamp ever had is skipped, so that an import can be repeated.

A file jungfrau-<detector Id>.h5 is one of the Detector Calibration Store (dcs): each of its
versions of gains and offsets becomes one of each panel of the detector, with begin, number,
message, history and time of production kept in the commit; 0 is the year 1970. Each goes in
once, so that an import can be repeated. What cannot be stored is listed with the reason,
and with it what it replaced, and all of its calibration type if earlier constants would be
valid in its place; the exit code is then 1.

examples:
  jfstore import /reg/g/psdm/detector/gains/jungfrau -m "legacy gains" --repo test
  jfstore import jungfrau-171113-154920171025-3d00fb.h5 -m "from dcs" --repo test
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument(
        "tree", metavar="TREE|FILE.h5", help="directory of M044, M068, ... and of names that lead there, or a DCS file"
    )
    parser.add_argument(
        "--recover",
        action="store_true",
        help="of a DCS file also versions that lost their number, as Python 3 wrote them",
    )
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from pathlib import Path

    from jfstore.formats.gain_tree import read_gain_directory, scan_gain_tree
    from jfstore.repository import Entry
    from jfstore.repository.adding import missing_type_notes

    repository = open_to_write(args)
    if not os.path.exists(args.tree):
        raise BadValue(f"{args.tree}: no such file or directory")
    if os.path.isfile(args.tree):
        return import_dcs(args, repository)
    if args.recover:
        raise BadValue(f"--recover is for a DCS file, and {args.tree} is none")
    tree = scan_gain_tree(Path(args.tree), repository.zone)
    skipped = dict(tree.problems)

    with progress("import") as show:

        def entries() -> Iterator[Entry]:
            directory = None
            for done, name in enumerate(tree.names):
                show(done, len(tree.names))
                try:
                    # Names of one directory come side by side: it is read once.
                    if name.directory != directory:
                        arrays = read_gain_directory(name.directory, repository.identity.panel_shape)
                        directory = name.directory
                    yield Entry(name.panel, name.start, arrays, name.name)
                except (BadValue, Failed) as error:
                    skipped[name.name] = error.message
            show(len(tree.names), len(tree.names))

        added = repository.add_entries(entries(), args.message, request=args.request, once=True, dry_run=args.dry_run)
    if not tree.names:
        note(f"nothing in {args.tree} is a name <panel Id>-<stamp>{_hint(Path(args.tree))}")
    notes = (*tree.notes, *added.notes, *missing_type_notes(added.versions))
    added = replace(added, skipped=tuple(skipped.items()), targets=tuple(tree.targets), notes=notes)
    emit_added(args, repository, added)
    return 1 if skipped or not tree.names else 0


def _hint(tree: Path) -> str:
    if (tree / "g0_gain.npy").exists():
        return f"; this is one panel's constants: jfstore add PANEL -T STAMP -f {tree}"
    if (tree / "jungfrau").is_dir():
        return f"; did you mean {tree / 'jungfrau'}?"
    return ""
