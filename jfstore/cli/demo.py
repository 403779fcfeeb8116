"""``jfstore demo``: the seed's world at full size, and a walk through it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from jfstore.cli._output import emit_json
from jfstore.cli._parser import add_json

_EPILOG = """\
It makes a directory of about 220 MB with a legacy gain tree, XTC files of runs and a test and a real
repository, runs the commands of a day with them, and prints each before it runs. Run again, it walks through
what is there: nothing is added twice. The directory may be removed at any time.

examples:
  jfstore demo ~/jfstore-demo
  jfstore demo ~/jfstore-zarr --storage zarr
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "demo",
        help="make a complete example and walk through it",
        description="Make a complete example and walk through it.",
        epilog=_EPILOG,
    )
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from pathlib import Path

    from jfstore.cli._demo_story import tell

    variables = tell(Path(args.directory), args.storage, sys.stderr if args.json else sys.stdout)
    if args.json:
        emit_json({"directory": os.path.abspath(args.directory), "environment": variables})
    return 0
