"""``jfstore init``: make a repository."""

from __future__ import annotations

import argparse
import re

from jfstore.cli.options import Parser, add_json, as_option
from jfstore.cli.output import emit, note
from jfstore.errors import BadValue

EPILOG = """\
examples:
  jfstore init ./R --role test --shape 3x16x32
  jfstore init s3://bucket/jungfrau --role test --storage zarr
  JFSTORE_TEST=/data/jf-test jfstore init test
"""


def _parse_shape(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})", text, re.ASCII)
    if not match:
        raise BadValue(f"{text!r} is not gain x row x column, such as 3x512x1024")
    return int(match[1]), int(match[2]), int(match[3])


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    text = "a new directory, a place in a bucket, or the name test or real"
    add("place", metavar="DIR|URL|NAME", help=text)
    text = "test or real; not needed with the names test and real"
    add("--role", choices=("test", "real"), help=text)
    text = "gain x row x column of a panel (default: %(default)s)"
    add("--shape", type=as_option(_parse_shape), default="3x512x1024", metavar="GxRxC", help=text)
    text = "time zone in which stamps are written (default: %(default)s)"
    add("--zone", default="America/Los_Angeles", help=text)
    add("--detector", default="jungfrau", metavar="TYPE", help="detector type (default: %(default)s)")
    text = "how arrays are stored: HDF5 files, or zarr v3 groups (default: %(default)s)"
    add("--storage", choices=("hdf5", "zarr"), default="hdf5", help=text)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.catalogue import make_repository

    options = {"panel_shape": args.shape, "zone": args.zone, "detector": args.detector, "storage": args.storage}
    repository = make_repository(args.place, args.role, **options)
    identity = repository.identity
    value = {
        "path": repository.location,
        **{name: getattr(identity, name) for name in ("id", "role", "detector", "panel_shape", "zone", "storage")},
    }
    row = {**value, "panel_shape": "x".join(map(str, identity.panel_shape))}
    emit(args, value, [row], list(row))
    if not args.json:
        note(f"made a {identity.role} repository in {repository.location}")
    return 0
