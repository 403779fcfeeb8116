"""``jfstore cache``: what is kept on this machine of repositories in buckets."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_json
from jfstore.cli.output import count, emit, note

SUMMARY = "Show or clear the arrays of buckets that are cached on this machine."
EPILOG = """\
Arrays that were got from a bucket are kept in files, which all processes of the machine share. What was not used
for longest goes first when there is more than JFSTORE_CACHE_SIZE (20G unless set; 0 keeps nothing). The directory
is JFSTORE_CACHE, or one in the user's cache directory, and may be removed at any time.

examples:
  jfstore cache
  jfstore cache --clear
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument("--clear", action="store_true", help="remove all of it")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.errors import Refused
    from jfstore.storage.array_cache import usual_cache

    cache = usual_cache()
    if cache is None:
        raise Refused("JFSTORE_CACHE_SIZE is 0: nothing is kept")
    if args.clear:
        note(f"removed {count(cache.clear(), 'byte')} from {cache.root}")
    kept = cache.kept()
    value = {
        "path": str(cache.root),
        "arrays": len(kept),
        "bytes": sum(each.size for each in kept),
        "limit": cache.limit,
    }
    emit(args, value, [value], list(value))
    return 0
