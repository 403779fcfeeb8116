"""``jfstore identify``: tell which version of which panel a file holds, exactly or changed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once, Parser, add_json, add_repo
from jfstore.cli.output import emit, error_value, note, progress
from jfstore.cli.writing import open_to_read
from jfstore.errors import JfstoreError, NotFound

if TYPE_CHECKING:
    from jfstore.core.comparing import Relation
    from jfstore.repository.identifying import Identified, IdentifiedArray, IdentifiedPanel

EPILOG = """\
A file may be .npy, a text of psana, HDF5 (as jfstore get -f OUT.h5 writes it, or any datasets of panels), or the plain
values of PSI's gain maps. The table has a row for each panel: the version whose values it holds, and what was done to
them: nothing ("equal"), rounded to a format, multiplied, sign turned, rows or columns reversed, gain ranges exchanged,
values changed in places. The column "also" names other versions with the same values. For several panels it says
whether they are in the order of the detector Id: of -d, of the Ids that the file names, or of the commit that added
them. The exit code is 3 if a panel is like nothing stored.

examples:
  jfstore identify 631-end.data
  jfstore identify gain.npy old/*.h5 --repo test
  jfstore identify both.npy -d 170505-149520170815-3d00b0_170505-149520170815-3d00f7
"""

_COLUMNS = ("file", "panel", "type", "version", "how", "also", "array")


def add_options(parser: Parser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="the file to identify")
    text = "detector Id that the files should hold, to check the order of the panels"
    parser.add_argument("-d", "--detector", metavar="DETECTOR", action=Once, help=text)
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.identifying import Identifier

    identifier = Identifier(open_to_read(args))
    values, rows, notes, code = [], list[dict[str, Any]](), list[str](), 0
    with progress("identifying") as show:
        for done, file in enumerate(args.files):
            show(done, len(args.files))
            try:
                found = identifier.identify(file, args.detector)
            except JfstoreError as error:
                if len(args.files) == 1:
                    raise
                values.append({"file": file, **error_value(error)})
                rows.append({"file": file, "how": error.message.removeprefix(f"{file}: ")})
                code = code or error.exit_code
                continue
            values.append(_value_of(found))
            rows += _rows_of(found)
            code = code or (0 if found.is_identified else NotFound.exit_code)
            notes += [f"{file}: {text}" for text in (*found.notes, *_order_notes(found))]
    for text in notes:
        note(text)
    emit(args, values, rows, _COLUMNS)
    return code


def _order_notes(found: Identified) -> Iterator[str]:
    for array in found.arrays:
        name = f"{array.name}: " if array.name else ""
        if array.order:
            yield f"{name}{array.order}"
        if array.left_out:
            yield f"{name}the last {array.left_out} maps, of the high gain, were not compared"


def _rows_of(found: Identified) -> Iterator[dict[str, Any]]:
    for array in found.arrays:
        row: dict[str, Any] = {"file": found.path, "array": array.name or "-"}
        if not array.panels:
            shape = "x".join(map(str, array.shape))
            yield {**row, "panel": "-", "type": "-", "version": "-", "how": f"shape {shape} is not that of panels"}
        for panel in array.panels:
            first = panel.versions[0] if panel.versions else "-"
            row |= {"panel": panel.number, "type": panel.type or "-", "version": first, "how": _describe(panel)}
            yield {**row, "also": list(panel.versions[1:]) or "-"}


def _describe(panel: IdentifiedPanel) -> str:
    if panel.relation is not None:
        return str(panel.relation)
    if panel.nearest:
        return f"not stored; resembles {panel.nearest}, which explains {100 * panel.explained:.0f} % of its variation"
    return "is like nothing that is stored"


def _value_of(found: Identified) -> dict[str, Any]:
    """Return what a file is as printed with ``--json``."""
    return {
        "file": found.path,
        "identified": found.is_identified,
        "arrays": [_array_value(array) for array in found.arrays],
        "notes": list(found.notes),
    }


def _array_value(array: IdentifiedArray) -> dict[str, Any]:
    return {
        "name": array.name or None,
        "shape": list(array.shape),
        "order": array.order or None,
        "maps_left_out": array.left_out,
        "panels": [
            {
                "panel": panel.number,
                "type": panel.type,
                "versions": list(panel.versions),
                "relation": relation_value(panel.relation),
                "nearest": panel.nearest,
                "explained": panel.explained,
            }
            for panel in array.panels
        ],
    }


def relation_value(relation: Relation | None) -> dict[str, Any] | None:
    """Return how an array follows from another one as printed with ``--json``."""
    if relation is None:
        return None
    return {
        "text": str(relation),
        "equal": relation.is_equal,
        "factors": list(relation.factors),
        "reversed": relation.flip or None,
        "gain_ranges": list(relation.ranges),
        "rounded": relation.rounded,
        "original_rounded": relation.original_rounded,
        "different": relation.different,
        "total": relation.total,
    }
