"""``jfstore show``: show everything about one version."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Parser, add_as_of, add_json, add_repo
from jfstore.cli.output import emit_fields
from jfstore.cli.writing import open_to_read

EPILOG = """\
example:
  jfstore show 171113-154920171025-3d00fb/20180306000000/v1
"""


def add_options(parser: Parser) -> None:
    text = "<panel Id>/<stamp>/v<number>, as jfstore list shows it, or <panel Id>-<stamp> if it has one version"
    parser.add_argument("version", metavar="VERSION", help=text)
    add_as_of(parser, "whether it is withdrawn, and whether it exists, as of that commit or time")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.core.instants import BEGINNING, iso
    from jfstore.core.validity import find_joined_panels

    repository = open_to_read(args)
    as_of = resolve_as_of(args, repository)
    detail = repository.show(args.version, as_of=as_of)
    version, commit, table = detail.version, detail.commit, repository.log.table(as_of)
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
        "panel_names": [name for name, named in table.panel_names.names.items() if named == version.panel],
        "same_panels": find_joined_panels(table, version.panel, as_of)[1:],
        "closes": list(version.closes),
        "withdrawn": detail.is_withdrawn,
        "as_of": table.seq if as_of is None else as_of,
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
