"""Text constants, as psana reads them: a header of lines ``# KEY value``, then rows of the last dimension.

The layout is that of PSCalib's NDArrIO. ``DTYPE``, ``NDIM`` and ``DIM:n`` say what the rows are; without
them they are float32 in two dimensions as they stand. Other keys and comments are for people.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from jfstore.errors import BadValue
from jfstore.fs.files import given, read_regular

FORMAT = re.compile(r"%\.[0-9]{1,2}[efg]", re.ASCII)
"""A format for `text_pieces`, as ``%.4f``."""

_SIZE_LIMIT = 2 << 30
_COLUMNS_LIMIT = 1 << 16
_VALUES_A_PIECE = 1 << 16
_BLOCK = 4 << 20
_SPACES = bytes.maketrans(b",", b" ")
_NUMPY_NAMES = "float32 float64 int16 int32 int64 uint8 uint16 uint32 uint64".split()
_DTYPES = {
    **{name: name for name in _NUMPY_NAMES},
    # Files of the C++ side of psana.
    **{f"{name}_t": name for name in _NUMPY_NAMES if "int" in name},
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "unsigned": "uint32",
}


@dataclass(frozen=True, slots=True)
class TextArray:
    """What a text file of constants holds.

    Attributes
    ----------
    values : ndarray
        float64, every value as it is written; in the shape of the header if that has one.
    dtype : str
        The dtype that the header says, float32 if it says none: what psana makes of the values.
    has_shape : bool
        Whether the header says the shape; if not, `values` has two dimensions (one, for one row).
    """

    values: NDArray[np.float64]
    dtype: str
    has_shape: bool

    @property
    def array(self) -> NDArray[Any]:
        """The array as psana has it, in its own dtype."""
        return self.values.astype(self.dtype)


# -- writing


def text_header(shape: tuple[int, ...], dtype: str, facts: Iterable[tuple[str, str]]) -> bytes:
    """Return the header for an array of `shape` and `dtype`.

    Parameters
    ----------
    facts : iterable of (str, str)
        Further keys and what they say, on top, such as ``HOST``; an empty key is an empty line.

    Raises
    ------
    BadValue
        If a key is one of those that say what the rows are.
    """
    lines = []
    for key, value in facts:
        if re.fullmatch(r"DTYPE|NDIM|DIM:.*", key):
            raise BadValue(f"{key} cannot be a further key of a text header")
        # A line break in a name must not begin a line of its own.
        clean = " ".join(str(value).split()).encode("ascii", "backslashreplace").decode()
        lines.append(f"# {key:<11} {clean}".rstrip() if key else "")
    lines += ["", f"# {'DTYPE':<11} {dtype}", f"# {'NDIM':<11} {len(shape)}"]
    lines += [f"# {f'DIM:{axis}':<11} {size}" for axis, size in enumerate(shape)]
    return "\n".join([*lines, "", ""]).encode()


def text_pieces(array: NDArray[Any], facts: Iterable[tuple[str, str]] = (), fmt: str | None = None) -> list[bytes]:
    """Return the text of `array`, in pieces.

    Parameters
    ----------
    array : ndarray
        Integers or floats, of one dimension or more.
    facts : iterable of (str, str)
        As for `text_header`.
    fmt : str, optional
        Format of a value, such as ``%.4f``. Without one, each has the digits that bring it back bit for bit.

    Raises
    ------
    BadValue
        If a value is not finite, or the array or the format is none that can be written.
    """
    if not array.ndim or not array.size or array.dtype.name not in _NUMPY_NAMES:
        raise BadValue(f"an array of shape {array.shape} and dtype {array.dtype} cannot be written as text")
    if not np.isfinite(array).all():
        raise BadValue("values that are not finite cannot be written as text")
    if fmt is not None and not FORMAT.fullmatch(fmt):
        raise BadValue(f"{fmt!r} is not a format of values, such as %.4f")
    rows = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1, array.shape[-1])
    head = text_header(array.shape, array.dtype.name, facts)
    return [head, *(_shortest(rows) if fmt is None else _formatted(rows, fmt))]


def _blocks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, _VALUES_A_PIECE // rows.shape[1])
    for first in range(0, len(rows), step):
        yield rows[first : first + step]


def _shortest(rows: NDArray[Any]) -> Iterator[bytes]:
    for block in _blocks(rows):
        # JSON of a row is its values with the fewest digits that come back, between brackets and commas.
        lines = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for row in block]
        yield b"\n".join([*lines, b""]).translate(_SPACES)


def _formatted(rows: NDArray[Any], fmt: str) -> Iterator[bytes]:
    line = " ".join([fmt] * rows.shape[1]) + "\n"
    for block in _blocks(rows):
        yield "".join([line % tuple(row) for row in block.tolist()]).encode()


# -- reading


def read_text(path: Path) -> TextArray:
    """Return the array of a text file.

    Raises
    ------
    BadValue
        If the file is missing or malformed; the message names the line.
    Failed
        If it cannot be read.
    """
    with given(path):
        raw = read_regular(path, _SIZE_LIMIT, follow=True)
    return parse_text(raw, str(path))


def parse_text(raw: bytes, where: str) -> TextArray:
    """Return the array that the bytes of a text file hold; errors as of `read_text`, of the file `where`."""
    keys: dict[str, tuple[int, str]] = {}
    start, number = 0, 0
    while start < len(raw):
        end = raw.find(b"\n", start) % (len(raw) + 1)
        line = raw[start:end]
        if line.strip() and not line.startswith(b"#"):
            break
        start, number = end + 1, number + 1
        # psana takes a key after exactly one space.
        if match := re.match(rb"# (DTYPE|NDIM|DIM:[^ ]*) +([^ \r]*) *\r?$", line):
            keys[match[1].decode("ascii", "replace")] = number, match[2].decode("ascii", "replace")
    if start >= len(raw):
        raise BadValue(f"{where}, line {number or 1}: the file ends before any value")
    dtype, shape = _described(keys, where)
    columns = len(line.split())
    if columns > _COLUMNS_LIMIT:
        raise BadValue(f"{where}, line {number + 1}: {columns} values, more than the {_COLUMNS_LIMIT} of a row")
    rows = _read_quickly(raw, start, columns)
    if rows is None:
        rows = _read_carefully(raw[start:], number, where)
    if shape and math.prod(shape) != rows.size:
        lines = number + raw.count(b"\n", start) + (not raw.endswith(b"\n"))
        raise BadValue(
            f"{where}, line {lines}: {rows.size} values until the end, "
            f"but its header promises {math.prod(shape)} ({'x'.join(map(str, shape))})"
        )
    with np.errstate(invalid="ignore"):
        exact = np.dtype(dtype).kind not in "iu" or np.array_equal(rows.astype(dtype), rows)
    if not exact:
        raise BadValue(f"{where}: not all values are {dtype}, as its header says")
    return TextArray(rows.reshape(shape) if shape else rows[0] if len(rows) == 1 else rows, dtype, bool(shape))


def _described(keys: dict[str, tuple[int, str]], where: str) -> tuple[str, tuple[int, ...]]:
    """Return dtype and shape that the header says; no shape if it has no NDIM."""
    line, name = keys.pop("DTYPE", (0, "float32"))
    if name not in _DTYPES:
        raise BadValue(f"{where}, line {line}: DTYPE {name!r} is not a type of numbers, such as float32")
    line, count = keys.pop("NDIM", (0, ""))
    if not line:
        return _DTYPES[name], ()
    sizes = [(at, size) for at, size in keys.values()]
    if count != str(len(sizes)) or not sizes:
        raise BadValue(f"{where}, line {line}: NDIM is {count}, but {len(sizes)} lines DIM:n say a size")
    for at, size in sizes:
        if not re.fullmatch(r"[1-9][0-9]{0,9}", size, re.ASCII):
            raise BadValue(f"{where}, line {at}: {size!r} is not the size of a dimension")
    return _DTYPES[name], tuple(int(size) for _, size in sizes)


def _read_quickly(raw: bytes, start: int, columns: int) -> NDArray[np.float64] | None:
    """Return the rows from `start` on of a text that is as it should be, None of one that needs a closer look."""
    rows = np.empty((raw.count(b"\n", start), columns), np.float64)
    blocks = []
    done = 0
    while start < len(raw):
        end = raw.rfind(b"\n", start, start + _BLOCK) + 1
        if not end:
            return None
        count = raw.count(b"\n", start, end)
        blocks.append((raw, start, end, rows[done : done + count]))
        done, start = done + count, end
    # Not arrow's reader of CSV: its own threads now and then abort a process that ends.
    with ThreadPoolExecutor(min(len(blocks), os.cpu_count() or 1)) as pool:
        if not all(pool.map(lambda block: _fill(*block), blocks)):
            return None
    return rows if np.isfinite(rows).all() else None


def _fill(raw: bytes, start: int, end: int, rows: NDArray[np.float64]) -> bool:
    """Put the numbers of the lines from `start` to `end` into `rows`; False if a closer look is needed."""
    import pyarrow as arrow  # slow to load, and seldom needed

    block = raw[start:end]
    letters = np.frombuffer(block, np.uint8)
    gaps = np.flatnonzero(letters <= ord(" "))
    if len(gaps) != rows.size:
        return False
    kinds = letters[gaps].reshape(rows.shape)
    if (kinds[:, -1] != ord("\n")).any() or (kinds[:, :-1] != ord(" ")).any():
        return False
    # The words without the gaps, and where each ends.
    ends = np.zeros(len(gaps) + 1, np.int32)
    ends[1:] = gaps - np.arange(len(gaps))
    words = block.translate(None, b" \n")
    texts = arrow.StringArray.from_buffers(len(gaps), arrow.py_buffer(ends), arrow.py_buffer(words))
    try:
        rows[...] = texts.cast(arrow.float64()).to_numpy().reshape(rows.shape)
    except arrow.ArrowException:
        return False
    return True


def _read_carefully(body: bytes, number: int, where: str) -> NDArray[np.float64]:
    """Return the rows of a body that comes after line `number`, or say which line is wrong."""
    rows: list[list[float]] = []
    for at, line in enumerate(body.split(b"\n"), number + 1):
        if line.startswith(b"#"):
            continue
        words = line.split()
        if words and rows and len(words) != len(rows[0]):
            raise BadValue(f"{where}, line {at}: {len(words)} values, the lines before have {len(rows[0])}")
        if words:
            rows.append([_number(word, at, where) for word in words])
    return np.array(rows)


def _number(word: bytes, at: int, where: str) -> float:
    # Not all that Python takes for a number is one to psana: 1_000, or digits of other scripts.
    if re.fullmatch(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", word) and math.isfinite(float(word)):
        return float(word)
    shown = word[:20].decode("ascii", "backslashreplace")
    raise BadValue(f"{where}, line {at}: {shown!r} is not a finite number")
