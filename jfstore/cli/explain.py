"""``jfstore explain``: explain why a version, or nothing, is valid at a time or for a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Parser, add_as_of, add_detector, add_json, add_repo, add_time, add_types
from jfstore.cli.output import emit, printable, terminal_width
from jfstore.cli.run_options import add_run, target_of
from jfstore.cli.writing import open_to_read
from jfstore.errors import NotFound

if TYPE_CHECKING:
    from jfstore.core.explaining import Candidate, Explanation

EPILOG = """\
The command prints a line for each version of each panel and type, the last added first: the one that is valid, and why
each other one is not. Panels whose versions are turned down for the same reasons share their lines. The exit code is 3
if nothing is valid for a panel.

examples:
  jfstore explain 171113-154920171025-3d00fb -T 20180401000000 -t pixel_gain
  jfstore explain exp=xcsls3716:run=631
  jfstore explain 171113-154920171025-3d00fb -T 20180401000000 --as-of 3
"""

_COLUMNS = ("panel", "type", "version", "commit", "why", "source")


def add_options(parser: Parser) -> None:
    add_detector(parser, "DETECTOR|RUN", "panel or detector Id, or a run such as exp=xcsls3716:run=631")
    add_time(parser, "the time to explain")
    add_types(parser, "only this calibration type; may be repeated")
    add_run(parser)
    add_as_of(parser, "explain what the repository would have answered after that commit, or at that time")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    target, time, source = target_of(args)
    repository = open_to_read(args)
    as_of = resolve_as_of(args, repository)
    found = repository.explain(target, args.types, time, source=source, as_of=as_of, sources=True)
    values = [
        {
            "panel": one.panel,
            "type": one.type,
            "as_of": one.as_of,
            "valid": one.valid,
            "valid_from": one.start.stamp if one.start else None,
            "valid_to": one.end.stamp if one.end else None,
            "candidates": [
                {
                    "version": c.name,
                    "commit": c.seq,
                    "closed": c.is_close,
                    "reason": c.reason or None,
                    "source": c.source,
                }
                for c in one.candidates
            ],
        }
        for one in found
    ]
    if sys.stdout.isatty() and not args.json:
        for line in format_explanations(found, terminal_width(sys.stdout)):
            print(line)
    else:
        emit(args, values, _rows(found), _COLUMNS)
    return 0 if all(one.valid for one in found) else NotFound.exit_code


def format_explanations(found: Sequence[Explanation], width: int) -> list[str]:
    """Return the lines of a text for people, none wider than `width`: a table would cut the reasons off."""
    import textwrap

    rows, lines = _rows(found), list[str]()
    indent = max((len(row["version"]) for row in rows), default=0) + 4
    for (panel, calib_type), group in groupby(rows, lambda row: (row["panel"], row["type"])):
        lines += textwrap.wrap(f"{calib_type} of {panel}", width)
        for row in group:
            first = f"  {printable(row['version'])}".ljust(indent)
            fill = textwrap.TextWrapper(width, initial_indent=first, subsequent_indent=" " * min(indent, width // 2))
            lines += fill.wrap(printable(row["why"]))
            if row["source"]:
                source = f"from {printable(row['source'])}"
                lines += textwrap.wrap(
                    source, width, initial_indent=fill.subsequent_indent, subsequent_indent=fill.subsequent_indent
                )
    return lines


def _rows(found: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Return the rows of the table: panels that are alike share theirs."""
    alike: dict[tuple[Any, ...], list[Explanation]] = {}
    for one in found:
        reasons = tuple((_short(c.name, one), _why(one, c).replace(one.panel, "")) for c in one.candidates)
        alike.setdefault((one.type, reasons), []).append(one)
    rows: list[dict[str, Any]] = []
    for (calib_type, _), group in alike.items():
        first = group[0]
        panels = first.panel if len(group) == 1 else f"{first.panel} and {len(group) - 1} more"
        row = {"panel": panels, "type": calib_type}
        if not first.candidates:
            rows.append({**row, "version": "-", "commit": "-", "why": "nothing is stored", "source": None})
        for c in first.candidates:
            more = {"version": _short(c.name, first), "commit": c.seq, "why": _why(first, c), "source": c.source}
            rows.append({**row, **more})
    return rows


def _short(name: str, explained: Explanation) -> str:
    """Return the name of a version without the panel that was asked for."""
    return name.removeprefix(f"{explained.panel}/")


def _why(explained: Explanation, candidate: Candidate) -> str:
    if candidate.reason:
        return candidate.reason.replace(f"{explained.panel}/", "")
    until = f" until {explained.end.stamp}" if explained.end else ""
    return f"closes the panel{until}: nothing is valid" if candidate.is_close else f"is valid{until}"
