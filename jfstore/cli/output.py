"""What commands print: data on standard output (a table, TSV when piped, or JSON), messages on standard error."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from jfstore.errors import JfstoreError

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
_CONTROLS = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r"},
    **{code: f"\\u{code:04x}" for code in _BIDIRECTIONAL},
}
"""Characters that could drive a terminal or reorder a line, and what is printed instead."""

Row = Mapping[str, object]


def note(text: str) -> None:
    """Print a message on standard error."""
    with suppress(OSError):  # there is nowhere left to say it
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
    """Print `rows`, of each the values of `columns`: a table on a terminal, else TSV with a header line."""
    if sys.stdout.isatty():
        if rows:
            _emit_table(rows, columns)
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


def _emit_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=shutil.get_terminal_size().columns)
    texts = [[printable(_cell(row.get(name))) for name in columns] for row in rows]
    names, texts = fit_table(columns, texts, console.width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    for cells in texts:
        table.add_row(*map(Text, cells))
    console.print(table)


def fit_table(columns: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """Return a table no wider than `width`: columns of least use are shortened first, then left out.

    Parameters
    ----------
    columns : sequence of str
        Names of the columns.
    texts : sequence of sequence of str
        The cells of each row.
    width : int
        Characters of a line; columns are two spaces apart.
    """
    widths = {name: max(len(name), *(len(row[i]) for row in texts)) for i, name in enumerate(columns)}

    def excess() -> int:
        return sum(widths.values()) + 2 * (len(widths) - 1) - width

    for name, least in _STEPS:
        if name in widths and excess() > 0:
            widths[name] = max(widths[name] - excess(), min(widths[name], max(least, len(name) if least else 0)))
            if not widths[name] or (not least and len(widths) > 1):
                del widths[name]
    for name in reversed(columns):
        if excess() > 0 and len(widths) > 1:
            widths.pop(name, None)
    rows = [[_shorten(row[i], widths[name], name) for i, name in enumerate(columns) if name in widths] for row in texts]
    return [name for name in columns if name in widths], rows


_MIDDLE = ("version", "versions", "panel", "detector", "file", "value")
"""Columns of Ids and paths, which are shortened in the middle."""

_STEPS = (
    *(("blake3", 12), ("hash", 9), ("host", 0), ("hash", 0), ("blake3", 0)),
    *(("message", 16), ("source", 16), ("detail", 24), ("what", 9), ("constants", 16), ("detector", 27)),
    *(("time", 10), ("types", 11), ("user", 0), ("op", 0), ("alias", 0), ("message", 9), ("file", 24)),
    *(("value", 30), ("versions", 27), ("commit", 0), ("message", 0), ("source", 0), ("detail", 0), ("time", 0)),
    *(("version", 27), ("detector", 16), ("panel", 16)),
)
"""What a table that is too wide loses, in this order: a column and its least width, 0 for the whole column."""


def _shorten(text: str, width: int, name: str) -> str:
    if len(text) <= width or name == "time":
        return text[:width]
    head = (width - 1) // 2 if name in _MIDDLE else width - 1
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :] if head < width - 1 else ''}"


def report_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print `rows` on standard error, aligned, for people."""
    texts = [[printable(_cell(row.get(name))) for name in columns] for row in rows]
    columns, texts = fit_table(columns, texts, shutil.get_terminal_size().columns if sys.stderr.isatty() else 1 << 20)
    widths = [max(len(line[i]) for line in [list(columns), *texts]) for i in range(len(columns))]
    for line in [list(columns), *texts]:
        note("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def error_value(error: JfstoreError) -> dict[str, Any]:
    """Return the JSON form of a failure."""
    value = {
        "code": error.exit_code,
        "kind": error.kind,
        "message": error.message,
        "nearest": list(error.nearest),
    }
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
