"""What commands print: data on standard output (a table, TSV when piped, or JSON), messages on standard error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from jfstore.errors import JfstoreError

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_CONTROLS = {code: f"\\x{code:02x}" for code in [*range(32), 127] if chr(code) not in "\t\n\r"}

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

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(_cell(row.get(name)))) for name in columns))
    # A row that does not fit is better wrapped by the terminal than cut by us.
    width = Console(width=1 << 20).measure(table).maximum
    Console(highlight=False, width=max(width, Console().width)).print(table, crop=False, soft_wrap=True)


def report_rows(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print `rows` on standard error, aligned, for people."""
    texts = [[printable(_cell(row.get(name))) for name in columns] for row in rows]
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
