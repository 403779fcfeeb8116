"""``jfstore mirror``: copy a repository to any storage."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_json
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import confirm_real
from jfstore.errors import BadValue

EPILOG = """\
The copy has the identity, the role and the log of the source, commit by commit with the same hashes; only its storage
may differ. A second run copies what is new. A run that was stopped can be repeated; it continues where it stopped.
Nothing can be added to a mirror: --detach makes it an independent repository with a new id.

examples:
  jfstore mirror real s3://bucket/jungfrau
  jfstore mirror s3://bucket/jungfrau ./copy --storage hdf5
  jfstore mirror --detach ./copy
"""


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add("source", metavar="SRC", nargs="?", help="the repository to copy: a name, a path, or a URL")
    add("mirror", metavar="DST", nargs="?", help="the copy: a name, a path, or a URL")
    text = "how arrays are stored in a new copy (default: hdf5, at a URL zarr)"
    add("--storage", choices=("hdf5", "zarr"), help=text)
    add("--detach", metavar="MIRROR", help="make a mirror an independent repository")
    add("--yes", action="store_true", help="do not ask before a mirror of a real repository is detached")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if hasattr(args, "repo"):
        raise BadValue("mirror takes no --repo: jfstore mirror SRC DST")
    if args.detach is not None:
        return _detach(args)
    if args.mirror is None:
        raise BadValue("source and copy are missing: jfstore mirror SRC DST")
    from jfstore.repository.catalogue import open_repository
    from jfstore.repository.mirror import mirror

    source = open_repository(args.source)
    with progress("mirror") as show:
        done = mirror(source, args.mirror, storage=args.storage, progress=show)
    target = done.copy.storage
    value = {
        "source": source.location,
        "mirror": target.location,
        "id": done.copy.id,
        "role": done.copy.role,
        "storage": target.kind,
        "new_commits": done.new,
        "commits": done.seq,
    }
    emit(args, value, [value], list(value))
    if not args.json:
        note(f"{target.location} has {count(done.seq, 'commit')} of {source.location}, {done.new} of them new")
    return 0


def _detach(args: argparse.Namespace) -> int:
    if args.source is not None:
        raise BadValue("--detach takes the mirror and nothing else")
    from jfstore.repository.catalogue import open_repository
    from jfstore.repository.mirror import detach

    copy = open_repository(args.detach)
    confirm_real(args, copy)
    own = detach(copy)
    assert own.identity.detached_from
    value = {
        "path": own.location,
        "id": own.id,
        "role": own.role,
        "detached_from": own.identity.detached_from["repository"],
        "seq": own.identity.detached_from["seq"],
    }
    emit(args, value, [value], list(value))
    if not args.json:
        note(f"{own.location} is an independent repository now")
    return 0
