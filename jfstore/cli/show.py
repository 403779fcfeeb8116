"""``jfstore show``: everything about one version."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli.options import Parser, add_json, add_repo
from jfstore.cli.output import emit_fields
from jfstore.cli.writing import open_to_read

SUMMARY = "Show everything about one version."
EPILOG = """\
example:
  jfstore show 171113-154920171025-3d00fb/20180306000000/v1
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument("version", metavar="VERSION", help="<panel Id>/<stamp>/v<number>, as jfstore list shows it")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.core.instants import BEGINNING, iso

    repository = open_to_read(args)
    version = repository.version(args.version)
    commit = repository.commit(version.seq)
    value = {
        "version": version.name,
        "panel": version.panel,
        "stamp": version.stamp,
        "valid_from": None if version.start == BEGINNING else iso(version.start),
        "zone": repository.identity.zone,
        "number": version.number,
        "arrays": {
            array.type: {
                "dtype": array.dtype,
                "shape": list(array.shape),
                "blake3": array.blake3,
                "converted_from": array.converted_from,
                "offset": version.file.offsets[array.type],
            }
            for array in version.arrays
        },
        "file": f"{repository.storage.location}/{version.file.path}",
        "file_size": version.file.size,
        "file_blake3": version.file.blake3,
        "source": version.source,
        "origin": version.origin,
        "commit": {
            "seq": commit.seq,
            "hash": commit.hash,
            "op": commit.op,
            "time": iso(commit.time),
            "clock": iso(commit.clock),
            "user": commit.user,
            "host": commit.host,
            "program": commit.program,
            "request": commit.request,
            "message": commit.message,
        },
        "repository": {
            "id": repository.identity.id,
            "role": repository.identity.role,
            "path": repository.storage.location,
        },
    }
    emit_fields(args, value, _flat(value, ""))
    return 0


def _flat(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for name, field in value.items() for pair in _flat(field, f"{prefix}.{name}" if prefix else name)]
    if prefix.endswith(".shape"):
        return [(prefix, "x".join(map(str, value)))]
    return [(prefix, value)]
