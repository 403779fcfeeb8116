"""``jfstore cache``: show or clear the arrays of buckets that are cached on this machine."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_json
from jfstore.cli.output import count, emit, note
from jfstore.errors import Refused

EPILOG = """\
Arrays that were read from a bucket are cached in files, which all processes of the machine share. When the cache
exceeds JFSTORE_CACHE_SIZE (default 20G; 0 disables the cache), the least recently used arrays are removed first.
The directory is JFSTORE_CACHE, or one in the user's cache directory. It may be removed at any time.

examples:
  jfstore cache
  jfstore cache --clear
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("--clear", action="store_true", help="remove all cached arrays")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.storage.array_cache import usual_cache

    cache = usual_cache()
    if cache is None:
        raise Refused("JFSTORE_CACHE_SIZE is 0: nothing is cached")
    if args.clear:
        note(f"removed {count(cache.clear(), 'byte')} from {cache.root}")
    sizes = [file.size for file in cache.list_files()]
    value = {"path": str(cache.root), "arrays": len(sizes), "bytes": sum(sizes), "limit": cache.limit}
    emit(args, value, [value], list(value))
    return 0
