"""``jfstore demo``: the seed's world at full size, and a walk through it."""

from __future__ import annotations

import argparse
import os
import sys

from jfstore.cli.options import Parser, add_json
from jfstore.cli.output import emit_json

SUMMARY = "Make a complete example and walk through it."
EPILOG = """\
It makes a directory of about 220 MB with a legacy gain tree, XTC files of runs and a test and a real
repository, runs the commands of a day with them, and prints each before it runs. Run again, it walks through
what is there: nothing is added twice. The directory may be removed at any time.

examples:
  jfstore demo ~/jfstore-demo
  jfstore demo ~/jfstore-zarr --storage zarr
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", default="jfstore-demo", help="where (default: %(default)s)"
    )
    parser.add_argument(
        "--storage",
        choices=("hdf5", "zarr"),
        default="hdf5",
        help="how arrays lie in its repositories (default: %(default)s)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from pathlib import Path

    from jfstore.cli._demo_story import tell

    variables = tell(Path(args.directory), args.storage, sys.stderr if args.json else sys.stdout)
    if args.json:
        emit_json({"directory": os.path.abspath(args.directory), "environment": variables})
    return 0
