"""``jfstore mirror``: a copy of a repository, in any storage."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_json
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import confirm_real
from jfstore.errors import BadValue

SUMMARY = "Copy a repository, or bring a copy up to date."
EPILOG = """\
The copy has the identity, the role and the log of the source, commit by commit with the same hashes; only where the
arrays lie is its own. Run again, it copies what is new; stopped, it goes on where it was. Nothing can be
added to a mirror: --detach makes it a repository of its own, with a new id.

examples:
  jfstore mirror real s3://bucket/jungfrau
  jfstore mirror s3://bucket/jungfrau ./copy --storage hdf5
  jfstore mirror --detach ./copy
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("source", metavar="SRC", nargs="?", help="what is copied: a name, a path, or a URL")
    parser.add_argument("mirror", metavar="DST", nargs="?", help="where to: a name, a path, or a URL")
    parser.add_argument(
        "--storage", choices=("hdf5", "zarr"), help="how arrays lie in a new copy (default: hdf5, at a URL zarr)"
    )
    parser.add_argument("--detach", metavar="MIRROR", help="make a mirror a repository of its own")
    parser.add_argument(
        "--yes", action="store_true", help="do not ask before a mirror of a real repository is detached"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if hasattr(args, "repo"):
        raise BadValue("mirror takes no --repo: jfstore mirror SRC DST")
    if args.detach is not None:
        return _detach(args)
    if args.mirror is None:
        raise BadValue("from where, and where to? jfstore mirror SRC DST")
    from jfstore.repository.catalogue import mirror_storage, open_repository
    from jfstore.repository.mirror import mirror

    source = open_repository(args.source)
    target = mirror_storage(args.mirror, source, args.storage)
    with progress("mirror") as show:
        done = mirror(source, target, show)
    value = {
        "source": source.storage.location,
        "mirror": target.location,
        "id": done.copy.identity.id,
        "role": done.copy.identity.role,
        "storage": target.kind,
        "new_commits": done.new,
        "commits": done.seq,
    }
    emit(args, value, [value], list(value))
    if not args.json:
        note(f"{target.location} has {count(done.seq, 'commit')} of {source.storage.location}, {done.new} of them new")
    return 0


def _detach(args: argparse.Namespace) -> int:
    if args.source is not None:
        raise BadValue("--detach takes the mirror and nothing else")
    from jfstore.repository.catalogue import open_repository
    from jfstore.repository.mirror import detach

    copy = open_repository(args.detach)
    if copy.identity.role == "real" and not args.yes:
        confirm_real(copy.storage.location)
    own = detach(copy)
    assert own.identity.detached_from
    value = {
        "path": own.storage.location,
        "id": own.identity.id,
        "role": own.identity.role,
        "detached_from": own.identity.detached_from["repository"],
        "seq": own.identity.detached_from["seq"],
    }
    emit(args, value, [value], list(value))
    if not args.json:
        note(f"{own.storage.location} is a repository of its own now")
    return 0
