"""Read and write constants as psana's text: a header of lines ``# KEY value``, then rows of the last dimension.

The layout is that of PSCalib's NDArrIO. ``DTYPE``, ``NDIM`` and ``DIM:n`` describe the rows; without them the
rows are a float32 array of two dimensions. Other keys and comments are for people.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from jfstore.errors import BadValue
from jfstore.fs.files import read_regular, user_errors

FORMAT = re.compile(r"%\.[0-9]{1,2}[efg]", re.ASCII)
"""Matches a format of values for `format_text`, such as ``%.4f``."""

_SIZE_LIMIT = 2 << 30
_COLUMNS_LIMIT = 1 << 16
_VALUES_A_PIECE = 1 << 16
_WINDOW = 384  # a number of 768 digits, whose ties orjson rounds up, fills one of these
_COMMA_TO_SPACE = bytes.maketrans(b",", b" ")
_NUMPY_NAMES = "float32 float64 int16 int32 int64 uint8 uint16 uint32 uint64".split()
_DTYPES = {
    **{name: name for name in _NUMPY_NAMES},
    # The C++ side of psana writes these.
    **{f"{name}_t": name for name in _NUMPY_NAMES if "int" in name},
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "unsigned": "uint32",
}


@dataclass(frozen=True, slots=True)
class TextHead:
    """What the lines before the rows say."""

    dtype: str  # float32 if they do not say it
    shape: tuple[int, ...]  # empty if they do not say it
    start: int  # the offset of the first row
    lines: int  # how many lines come before it


@dataclass(frozen=True, slots=True)
class TextArray:
    """The contents of a text file of constants."""

    exact: NDArray[Any]  # every value as the file has it: float64, or for a dtype of integers int64 or uint64
    dtype: str  # of the header, float32 if it has none: psana converts the values to it
    has_shape: bool  # whether the header has the shape; without it there are two dimensions, or one if there is one row

    @property
    def values(self) -> NDArray[np.float64]:
        """The values as float64, which rounds integers above 2**53."""
        return self.exact.astype(np.float64, copy=False)

    @property
    def array(self) -> NDArray[Any]:
        """The array that psana reads from the file."""
        return self.exact.astype(self.dtype)


def format_text(array: NDArray[Any], facts: Iterable[tuple[str, str]] = (), fmt: str | None = None) -> list[bytes]:
    """Return the text of an array, in pieces.

    Parameters
    ----------
    array : ndarray
        Integers or floats, of at least one dimension.
    facts : iterable of (str, str)
        Further keys of the header and their values, which come first; an empty key makes an empty line.
    fmt : str, optional
        Format of a value, such as ``%.4f``. Without it, values have the fewest digits that restore every bit.

    Raises
    ------
    BadValue
        If a value is not finite, a key describes the rows, or the array or the format is not supported.
    """
    if not array.ndim or not array.size or array.dtype.name not in _NUMPY_NAMES:
        raise BadValue(f"an array of shape {array.shape} and dtype {array.dtype} cannot be written as text")
    if not np.isfinite(array).all():
        raise BadValue("values that are not finite cannot be written as text")
    if fmt is not None and not FORMAT.fullmatch(fmt):
        raise BadValue(f"{fmt!r} is not a format of values, such as %.4f")
    rows = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1, array.shape[-1])
    return [_format_header(array.shape, array.dtype.name, facts), *_format_rows(rows, fmt)]


def _format_header(shape: tuple[int, ...], dtype: str, facts: Iterable[tuple[str, str]]) -> bytes:
    lines = []
    for key, value in facts:
        if re.fullmatch(r"DTYPE|NDIM|DIM:.*", key):
            raise BadValue(f"{key} cannot be a further key of a text header")
        # A line break in a file name must not start a line.
        clean = " ".join(str(value).split()).encode("ascii", "backslashreplace").decode()
        lines.append(f"# {key:<11} {clean}".rstrip() if key else "")
    lines += ["", f"# {'DTYPE':<11} {dtype}", f"# {'NDIM':<11} {len(shape)}"]
    lines += [f"# {f'DIM:{axis}':<11} {size}" for axis, size in enumerate(shape)]
    return "\n".join([*lines, "", ""]).encode()


def _format_rows(rows: NDArray[Any], fmt: str | None) -> Iterator[bytes]:
    step = max(1, _VALUES_A_PIECE // rows.shape[1])
    line = " ".join([fmt or ""] * rows.shape[1]) + "\n"
    for first in range(0, len(rows), step):
        block = rows[first : first + step]
        if fmt is None:
            # JSON has the fewest digits that restore each value, between brackets and commas.
            lines = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for row in block]
            yield b"\n".join([*lines, b""]).translate(_COMMA_TO_SPACE)
        else:
            yield "".join([line % tuple(row) for row in block.tolist()]).encode()


def read_text(path: Path) -> TextArray:
    """Read the array of a text file; BadValue, with the number of the line, if the file is missing or malformed."""
    with user_errors(path):
        raw = read_regular(path, _SIZE_LIMIT, follow=True)
    return parse_text(raw, str(path))


def parse_text(raw: bytes, where: str, as_dtype: str | None = None) -> TextArray:
    """Return the array in the bytes of the text file `where`; BadValue if they are malformed.

    `as_dtype` takes the place of the header's dtype.
    """
    head = parse_head(raw, where)
    shape, dtype = head.shape, as_dtype or head.dtype
    rows = parse_rows(raw, dtype, where, head.lines, head.start)
    if shape and math.prod(shape) != rows.size:
        lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
        raise BadValue(
            f"{where}, line {lines}: {rows.size} values until the end, "
            f"but its header promises {math.prod(shape)} ({'x'.join(map(str, shape))})"
        )
    return TextArray(rows.reshape(shape) if shape else rows[0] if len(rows) == 1 else rows, dtype, bool(shape))


def parse_head(raw: bytes, where: str) -> TextHead:
    """Return what the lines before the rows say; BadValue if they are malformed, or if no row follows in `raw`."""
    keys: dict[str, tuple[int, str]] = {}
    start, number = 0, 0
    while start < len(raw):
        end = raw.find(b"\n", start) % (len(raw) + 1)
        line = raw[start:end]
        if line.strip() and not line.startswith(b"#"):
            break
        start, number = end + 1, number + 1
        # psana accepts a key after exactly one space.
        if match := re.match(rb"# (DTYPE|NDIM|DIM:[^ ]*) +([^ \r]*) *\r?$", line):
            keys[match[1].decode("ascii", "replace")] = number, match[2].decode("ascii", "replace")
    if start >= len(raw):
        raise BadValue(f"{where}, line {number or 1}: the file ends before any value")
    return TextHead(*_parse_header(keys, where), start, number)


def parse_rows(
    raw: bytes, dtype: str, where: str, lines: int = 0, start: int = 0, narrow: bool = False
) -> NDArray[Any]:
    """Return rows of text.

    Parameters
    ----------
    raw : bytes
        Rows of values.
    dtype : str
        The dtype that the values have to fit.
    where : str
        What to call the file in an error.
    lines : int
        How many lines of the file come before the rows.
    start : int
        The offset of the first row in `raw`.
    narrow : bool
        Whether float64 may be rounded to float32 if that is the dtype, which takes less time than doing it later.

    Returns
    -------
    ndarray
        Of two dimensions: float64, or for a dtype of integers int64 or uint64; with `narrow` perhaps float32.

    Raises
    ------
    BadValue
        If the rows differ in length, or a value is not a finite number or does not fit the dtype.
    """
    columns = len(raw[start : raw.find(b"\n", start) % (len(raw) + 1)].split())
    if columns > _COLUMNS_LIMIT:
        raise BadValue(f"{where}, line {lines + 1}: {columns} values, more than the {_COLUMNS_LIMIT} of a row")
    kind = np.dtype(dtype).kind
    code = {"i": "q", "u": "Q"}.get(kind, "f" if narrow and dtype == "float32" else "d")
    rows = _read_quickly(raw, start, columns, code)
    if rows is None:
        words = _read_carefully(raw[start:], lines, where, dtype)
        if kind in "iu":
            _check_range(min(map(min, words)), max(map(max, words)), dtype, where)
        return np.array(words, "d" if code == "f" else code)
    if kind in "iu" and rows.dtype != dtype:
        _check_range(int(rows.min()), int(rows.max()), dtype, where)
    return rows


def _parse_header(keys: dict[str, tuple[int, str]], where: str) -> tuple[str, tuple[int, ...]]:
    """Return dtype and shape from the keys, each with its line; the shape is empty if the header has no NDIM."""
    line, name = keys.pop("DTYPE", (0, "float32"))
    if name not in _DTYPES:
        raise BadValue(f"{where}, line {line}: DTYPE {name!r} is not a type of numbers, such as float32")
    line, count = keys.pop("NDIM", (0, ""))
    if not line:
        return _DTYPES[name], ()
    if count != str(len(keys)) or not keys:
        raise BadValue(f"{where}, line {line}: NDIM is {count}, but the header has {len(keys)} sizes DIM:n")
    for at, size in keys.values():
        if not re.fullmatch(r"[1-9][0-9]{0,9}", size, re.ASCII):
            raise BadValue(f"{where}, line {at}: {size!r} is not the size of a dimension")
    return _DTYPES[name], tuple(int(size) for _, size in keys.values())


def _check_range(least: float, most: float, dtype: str, where: str) -> None:
    limits = np.iinfo(dtype)
    if not limits.min <= least <= most <= limits.max:
        raise BadValue(f"{where}: not all values are {dtype}: they are from {least} to {most}")


def _read_quickly(raw: bytes, start: int, columns: int, code: str) -> NDArray[Any] | None:
    """Return the rows from `start` on, read as JSON; None if they need `_read_carefully`.

    `code` is that of their dtype: ``d`` and ``f`` for floats, ``q`` and ``Q`` for integers. JSON refuses ``+1``,
    ``.5``, ``nan`` and comments. What it reads otherwise than psana is sought before and after: commas, ``true`` and
    ``false``, numbers of many digits, and the integer ``-0``.
    """
    count = raw.count(b"\n", start)
    # A value has a digit and a separator at least, so more values than this cannot follow.
    if 2 * count * columns > len(raw) - start or any(raw.find(byte, start) >= 0 for byte in b",tf"):
        return None
    for at in range(start, len(raw) - _WINDOW + 1, _WINDOW):
        if raw.find(b" ", at, at + _WINDOW) < 0 and raw.find(b"\n", at, at + _WINDOW) < 0:
            return None
    rows = np.empty((count, columns), code)
    row = struct.Struct(f"={columns}{code}")
    buffer = rows.reshape(-1).view("u1").data
    try:
        for offset in range(0, len(buffer), row.size):
            end = raw.index(b"\n", start)
            row.pack_into(buffer, offset, *orjson.loads(b"[%b]" % raw[start:end].replace(b" ", b",")))
            start = end + 1
    except (ValueError, OverflowError, struct.error):  # not JSON; not such numbers, or not as many as in the first row
        return None
    has_negative_zero = code in "df" and not rows.all() and (b"-0 " in raw or b"-0\n" in raw)
    return None if start < len(raw) or has_negative_zero else rows


def _read_carefully(body: bytes, number: int, where: str, dtype: str) -> list[list[float]]:
    """Return the rows of a body that follows line `number`; BadValue with the first line that is wrong."""
    are_integers = np.dtype(dtype).kind in "iu"
    rows: list[list[float]] = []
    for at, line in enumerate(body.split(b"\n"), number + 1):
        if line.startswith(b"#"):
            continue
        words = line.split()
        if words and rows and len(words) != len(rows[0]):
            raise BadValue(f"{where}, line {at}: {len(words)} values, the lines before have {len(rows[0])}")
        if words:
            row = [_parse_number(word, at, where) for word in words]
            if are_integers:
                row = [_to_integer(*pair, dtype, at, where) for pair in zip(words, row, strict=True)]
            rows.append(row)
    return rows


def _parse_number(word: bytes, at: int, where: str) -> float:
    # Python accepts numbers that psana does not: 1_000, or digits of other scripts.
    if re.fullmatch(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", word) and math.isfinite(float(word)):
        return float(word)
    shown = word[:20].decode("ascii", "backslashreplace")
    raise BadValue(f"{where}, line {at}: {shown!r} is not a finite number")


def _to_integer(word: bytes, number: float, dtype: str, at: int, where: str) -> int:
    """Return the integer in a word, exactly; it may be written as 5.0 or 5e3."""
    if re.fullmatch(rb"[+-]?[0-9]+", word):
        return int(word)
    if not number.is_integer():
        shown = word[:20].decode("ascii", "backslashreplace")
        raise BadValue(f"{where}: not all values are {dtype}: line {at} has {shown}")
    return int(number)
