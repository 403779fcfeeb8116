"""What commands print: data on standard output (a table, TSV when piped, or JSON), messages on standard error."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from jfstore.errors import JfstoreError

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# C0, DEL and C1, ends of lines and paragraphs, and the marks that change the direction of text.
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in [*range(32), *range(127, 160), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
    if chr(code) not in "\t\n\r"
}
_ID = r"\b([0-9a-f]{1,16})-[0-9a-f]{3,16}-([0-9a-f]{1,16})\b"
_WHOLE, _NARROW, _VERSION = 20, 15, 33
"""A cell up to _WHOLE wide, such as a time, is not shortened, others down to _NARROW, names of versions to _VERSION."""

_LEAST_USED = ("hash", "blake3", "host", "alias", "config", "op", "commit", "time", "source", "kept", "user", "message")
"""Columns that a narrow terminal drops, the first one first."""

Row = Mapping[str, object]


def note(text: str) -> None:
    """Print a message on standard error."""
    with suppress(OSError):  # standard error takes no more
        print(printable(text), file=sys.stderr)


def printable(text: str) -> str:
    """Return `text` on one line, without characters that would drive a terminal."""
    return _encodable(text.translate({**_CONTROLS, ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}))


def count(number: int, word: str) -> str:
    """Return ``1 commit``, ``2 commits``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def _encodable(text: str) -> str:
    """Return `text` without what UTF-8 cannot say, such as the odd bytes of a file name."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return _encodable(",".join(map(str, value)))
    return _encodable(str(value))


def emit_json(value: object) -> None:
    """Print `value` as JSON."""
    import json  # slow to load

    print(json.dumps(value, indent=2, ensure_ascii=True))


def emit_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print the `columns` of `rows`: as a table on a terminal, else as TSV with a header line."""
    if sys.stdout.isatty():
        header, *lines = format_table(rows, columns, terminal_width(sys.stdout)) if rows else [""]
        if header:
            is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
            print("\n".join([header if is_plain else f"\x1b[1m{header}\x1b[m", *lines]))
        return
    print("\t".join(columns))
    for row in rows:
        print("\t".join(_cell(row.get(name)).translate(_ESCAPES).translate(_CONTROLS) for name in columns))


def emit(args: argparse.Namespace, value: object, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print `value` as JSON if that was asked for, else `rows`."""
    if args.json:
        emit_json(value)
    else:
        emit_rows(rows, columns)


def emit_fields(args: argparse.Namespace, value: object, fields: Sequence[tuple[str, object]]) -> None:
    """Print `value` as JSON if that was asked for, else the names and values of `fields`, wrapped on a terminal."""
    if args.json or not sys.stdout.isatty():
        emit(args, value, [{"field": name, "value": field} for name, field in fields], ["field", "value"])
        return
    limit = terminal_width(sys.stdout)
    indent = min(max(len(name) for name, _ in fields) + 2, limit // 2)
    width = max(limit - indent, 1)
    for name, field in fields:
        text = printable(_cell(field))
        print(f"{_shorten(name, indent - 1):{indent}}{text[:width]}".rstrip())
        for start in range(width, len(text), width):
            print(" " * indent + text[start : start + width])


def report_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print `rows` on standard error, aligned, for people."""
    for line in format_table(rows, columns, terminal_width(sys.stderr) if sys.stderr.isatty() else None):
        note(line)


def terminal_width(stream: TextIO) -> int:
    """Return the columns of a terminal, 80 if they are not known."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80


def format_table(rows: Sequence[Row], columns: Sequence[str], limit: int | None) -> list[str]:
    """Return the lines of a table, the header first, none wider than `limit`."""
    texts = {name: [printable(_cell(row.get(name))) for row in rows] for name in columns}
    widths = {name: max(map(_width, [name, *cells])) for name, cells in texts.items()}
    if limit is not None:
        least = {name: max(_least_width(cell) for cell in [name, *cells]) for name, cells in texts.items()}
        widths = _fit_widths(widths, least, limit)
    table = []
    for name, width in widths.items():
        cells = [_shorten(cell, width) for cell in (name, *texts[name])]
        used = max(map(_width, cells))
        table.append([cell + " " * (used - _width(cell)) for cell in cells])
    return ["  ".join(line).rstrip() for line in zip(*table, strict=True)]


def _least_width(cell: str) -> int:
    width = _width(cell)
    if width <= _WHOLE:
        return width
    return min(_width(_shorten_ids(cell)), _VERSION) if re.search(_ID, cell) else _NARROW


def _shorten_ids(text: str) -> str:
    """Return `text` without the firmware of panel Ids."""
    return re.sub(_ID, "\\1-\u2026-\\2", text)


def _fit_widths(widths: Mapping[str, int], least: dict[str, int], limit: int) -> dict[str, int]:
    """Return the widths of the columns that remain on a terminal: the least used are dropped, wide ones shortened."""
    droppable = [*_LEAST_USED, *reversed([name for name in widths if name not in _LEAST_USED][1:])]
    for name in droppable:
        if sum(least.values()) + 2 * (len(least) - 1) > limit and len(least) > 1:
            least.pop(name, None)
    free = limit - sum(least.values()) - 2 * (len(least) - 1)
    if free < 0:
        return dict.fromkeys(least, limit)
    for name, width in least.items():
        more = min(free, widths[name] - width)
        least[name] += more
        free -= more
    return least


def _width(text: str) -> int:
    """Return how many cells of a terminal `text` fills."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` cells: panel Ids lose the firmware, then sentences the end, names the middle."""
    if _width(text) > width:
        text = _shorten_ids(text)
    if _width(text) <= width:
        return text
    half = width - 1 if {" ", ","} & {*text} else width // 2
    head, tail = text[:half], text[len(text) - (width - half - 1) :]
    while _width(head) > half:
        head = head[:-1]
    while _width(tail) > width - half - 1:
        tail = tail[1:]
    return f"{head}\u2026{tail}"


def error_value(error: JfstoreError) -> dict[str, Any]:
    """Return the JSON form of a failure."""
    value = {
        "code": error.exit_code,
        "kind": error.kind,
        "message": error.message,
        "nearest": list(error.nearest),
    }
    if findings := getattr(error, "findings", ()):
        value["findings"] = [
            {"name": found.name, "panel": found.panel, "type": found.type, "text": found.text} for found in findings
        ]
    return {"error": value}


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Yields
    ------
    callable
        To be called with the number done and the total.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
