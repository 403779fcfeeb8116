"""``jfstore show``: show everything about one version."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli.options import Parser, add_json, add_repo
from jfstore.cli.output import emit_fields
from jfstore.cli.writing import open_to_read

EPILOG = """\
example:
  jfstore show 171113-154920171025-3d00fb/20180306000000/v1
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("version", metavar="VERSION", help="<panel Id>/<stamp>/v<number>, as jfstore list shows it")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.core.instants import BEGINNING, iso
    from jfstore.core.validity import find_withdrawn

    repository = open_to_read(args)
    detail = repository.show(args.version)
    version, commit = detail.version, detail.commit
    arrays = {}
    for array in version.arrays:
        value = {name: getattr(array, name) for name in ("dtype", "shape", "blake3", "converted_from")}
        arrays[array.type] = {**value, "shape": list(array.shape), "offset": version.file.offsets[array.type]}
    columns = ("seq", "hash", "op", "time", "clock", "user", "host", "program", "request", "message")
    logged = {name: getattr(commit, name) for name in columns}
    value = {
        "version": version.name,
        "panel": version.panel,
        "stamp": version.stamp,
        "valid_from": None if version.start == BEGINNING else iso(version.start),
        "zone": repository.identity.zone,
        "number": version.number,
        "closes": list(version.closes),
        "withdrawn": version.name in find_withdrawn(repository.log.table()),
        "about": dict(version.about),
        "arrays": arrays,
        "file": detail.file,
        "file_size": version.file.size,
        "file_blake3": version.file.blake3,
        "source": version.source,
        "origin": version.origin,
        "commit": {**logged, "time": iso(commit.time), "clock": iso(commit.clock)},
        "repository": {"id": repository.id, "role": repository.role, "path": repository.location},
    }
    emit_fields(args, value, _flatten(value, ""))
    return 0


def _flatten(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for name, field in value.items() for pair in _flatten(field, f"{prefix}.{name}".lstrip("."))]
    return [(prefix, "x".join(map(str, value)) if prefix.endswith(".shape") else value)]
