"""Text constants: read as psana reads them, written so that every bit comes back, malformed ones refused by line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from jfstore.errors import BadValue, Failed
from jfstore.formats.text import format_text, parse_rows, parse_text, read_text
from tests.conftest import ROOT

REFERENCE = ROOT / "tests/data/reference"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text())
HEADER = b"# DTYPE       float32\n# NDIM        3\n# DIM:0       2\n# DIM:1       2\n# DIM:2       3\n\n"
ROWS = b"1 2 3\n4 5 6\n7 8 9\n10 11 12\n"
REAL = np.float32


def written(array: np.ndarray, fmt: str | None = None) -> bytes:
    return b"".join(format_text(array, [("TITLE", "a test")], fmt))


def as_psana_reads(raw: bytes) -> np.ndarray:
    """Return float32 rows as psana makes them: Python's float of each word, then float32."""
    lines = [line.split() for line in raw.decode().splitlines() if line.strip() and not line.startswith("#")]
    return np.array([[float(word) for word in line] for line in lines], np.float32)


# -- the reference


@pytest.mark.parametrize("name", EXPECTED["texts"])
def test_reference_files_are_read_as_psana_reads_them(name: str) -> None:
    array = read_text(REFERENCE / "text" / name).array
    loaded = EXPECTED["texts"][name]["loaded_by_load_txt"]
    assert list(array.shape) == loaded["shape"]
    assert array.dtype.str == loaded["dtype"]
    assert hashlib.sha256(array.tobytes()).hexdigest() == loaded["sha256"]


@pytest.mark.parametrize("path", sorted((REFERENCE / "gains-tree/merged").glob("*.txt")), ids=lambda path: path.stem)
def test_merged_reference_files_too(path: Path) -> None:
    loaded = EXPECTED["gains-tree"][path.stem]["txt_loaded"]
    assert hashlib.sha256(read_text(path).array.tobytes()).hexdigest() == loaded["sha256"]


def test_only_without_metadata_there_is_no_shape() -> None:
    assert [name for name in EXPECTED["texts"] if not read_text(REFERENCE / "text" / name).has_shape] == [
        "no-metad.txt"
    ]


@pytest.mark.parametrize(("name", "fmt"), [("pixel_gain-2panels-f4", "%.4f"), ("pixel_offset-2panels-f4", "%.1f")])
def test_with_a_format_the_rows_are_those_of_the_reference(name: str, fmt: str) -> None:
    original = (REFERENCE / "text" / f"{name}.txt").read_bytes()
    raw = b"".join(format_text(np.load(REFERENCE / "text" / f"{name}.npy"), (), fmt))
    ours, theirs = (text[text.index(b"# DTYPE") :] for text in (raw, original))
    assert ours == theirs


def test_the_header_is_that_of_the_reference() -> None:
    original = (REFERENCE / "text/pixel_gain-2panels-f4.txt").read_bytes()
    head = original[: original.index(b"\n\n", original.index(b"# DIM:3")) + 2]
    facts = [("TITLE", "golden"), ("CALIB_TYPE", "pixel_gain"), ("", ""), ("HOST", "golden-host")]
    facts += [("WORK_DIR", "/golden"), ("FILE_NAME", "pixel_gain-2panels-f4.txt"), ("DATE_TIME", "2020-09-13T12:26:40")]
    facts += [("UID", "golden-user"), ("SHAPE", "(3,2,16,32)"), ("DATATYPE", "float32")]
    ours = format_text(np.load(REFERENCE / "text/pixel_gain-2panels-f4.npy"), facts)[0]
    # The original pads the keys of a caller's own lines as the caller does.
    assert [line.split() for line in ours.splitlines()] == [line.split() for line in head.splitlines()]


# -- there and back


@settings(max_examples=300, deadline=None)
@given(
    some.arrays(
        REAL,
        st.tuples(st.just(3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_every_float32_comes_back_bit_for_bit(array: np.ndarray) -> None:
    raw = written(array)
    found = parse_text(raw, "x")
    assert found.array.shape == array.shape
    assert found.array.tobytes() == array.tobytes()
    assert as_psana_reads(raw).tobytes() == array.tobytes()


def test_random_bits_come_back_through_numpy_and_psana() -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, (512, 1024), np.uint32).view(REAL)
    array = np.where(np.isfinite(bits), bits, REAL(0))
    raw = written(array)
    assert parse_text(raw, "x").array.tobytes() == array.tobytes()
    assert as_psana_reads(raw).tobytes() == array.tobytes()
    assert np.loadtxt(raw.decode().splitlines()).astype(REAL).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "float64", ">f4", ">u2"])
@pytest.mark.parametrize("shape", [(5,), (1, 1), (2, 3), (2, 3, 4), (3, 1, 4, 8)])
def test_other_types_and_shapes_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(2).uniform(0, 200, shape).astype(dtype)
    found = parse_text(written(array), "x").array
    assert (found.shape, found.dtype) == (shape, array.dtype.newbyteorder("="))
    assert np.array_equal(found, array)


@pytest.mark.parametrize("layout", ["as it is written", "with a blank at the end of each line", "with other words"])
@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_large_integers_are_exact(dtype: str, layout: str) -> None:
    limits = np.iinfo(dtype)
    array = np.array([[limits.min, limits.max, 2**53 + 1], [limits.max - 1, 5, 4000]], dtype)
    raw = written(array)
    if layout == "with a blank at the end of each line":
        raw = raw.replace(b"\n", b" \n")
    elif layout == "with other words":
        raw = raw.replace(b" 5 4000", b" 5.0 4e3")
    found = parse_text(raw, "x")
    assert found.array.dtype == dtype
    assert np.array_equal(found.array, array)
    assert found.values.dtype == np.float64
    assert np.array_equal(found.values, array.astype(np.float64))


def test_a_dtype_can_take_the_place_of_the_header() -> None:
    rows = b"18446744073709551615 9007199254740993\nX 1\n"
    found = parse_text(rows.replace(b"X", b"0"), "x", "uint64").array
    assert found.tolist() == [[2**64 - 1, 2**53 + 1], [0, 1]]
    assert parse_text(rows.replace(b"X", b"0"), "x").array.dtype == REAL
    for word in (b"-1", b"0.5", b"18446744073709551616", b"1e20", b"9" * 300):
        with pytest.raises(BadValue, match=r"^x: not all values are uint64: "):
            parse_text(rows.replace(b"X", word), "x", "uint64")
        with pytest.raises(BadValue, match=r"^x: not all values are uint64: "):
            parse_text(b"1 2\n" + word + b" 3\n", "x", "uint64")


@pytest.mark.parametrize(
    "word", ["0.1", "-0", "-0.0", "1e-60", "3.4028235677973366e38", "1e300", "16777217", "+1", "1.5e-45"]
)
def test_rows_can_be_rounded_while_they_are_parsed(word: str) -> None:
    rows = f"1 {word}\n{word} 2.0\n".encode()
    found = parse_rows(rows, "float32", "x", narrow=True)
    with np.errstate(over="ignore"):
        expected = parse_rows(rows, "float32", "x").astype(REAL)
        assert found.astype(REAL).tobytes() == expected.tobytes()
    assert found.dtype == (np.float64 if word in ("-0", "3.4028235677973366e38", "1e300", "+1") else REAL)


@pytest.mark.parametrize("bad", [1.0, np.zeros((0, 3)), [np.nan], [1, np.inf], ["x"], [1j], [None]])
def test_what_is_no_array_of_finite_numbers_is_not_written(bad: Any) -> None:
    with pytest.raises(BadValue):
        format_text(np.asarray(bad))


@pytest.mark.parametrize("fmt", ["", "%d", "%s", "%.4f%n", "%999.4f", "{}", "%.400f", "%(x)s", "%.4f\n"])
def test_what_is_no_format_of_values_is_refused(fmt: str) -> None:
    with pytest.raises(BadValue, match="format"):
        format_text(np.ones((2, 2)), (), fmt)


def test_a_line_break_in_a_fact_begins_no_line() -> None:
    raw = b"".join(format_text(np.ones((2, 2)), [("FILE_NAME", "a\n# NDIM 7\nb\r\tc\u00b5")]))
    assert b"# FILE_NAME   a # NDIM 7 b c\\xb5\n" in raw
    assert parse_text(raw, "x").array.shape == (2, 2)
    with pytest.raises(BadValue, match="DIM:0"):
        format_text(np.ones((2, 2)), [("DIM:0", "3")])


# -- malformed


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"x, line 1: the file ends before any value"),
        (b"\n\n# DTYPE float32\n", r"x, line 3: the file ends"),
        (HEADER + ROWS.replace(b"5", b"five"), r"x, line 8: 'five' is not a finite number"),
        (HEADER + ROWS.replace(b"5", b"nan"), r"x, line 8: 'nan'"),
        (HEADER + ROWS.replace(b"5", b"-inf"), r"x, line 8: '-inf'"),
        (HEADER + ROWS.replace(b"5", b"1e999"), r"x, line 8: '1e999'"),
        (HEADER + ROWS.replace(b"5", b"1_0"), r"x, line 8: '1_0'"),
        (HEADER + ROWS.replace(b"5", b"0x5"), r"x, line 8: '0x5'"),
        (HEADER + ROWS.replace(b"5", "\uff15".encode()), r"x, line 8: '.*' is not"),
        (HEADER + ROWS.replace(b"5", b"\0"), r"x, line 8: "),
        (HEADER + ROWS.replace(b"4 5 6", b"4 5"), r"x, line 8: 2 values, the lines before have 3"),
        (HEADER + ROWS[:-10], r"x, line 9: 9 values until the end, but its header promises 12 \(2x2x3\)"),
        (HEADER + ROWS[:-5], r"x, line 10: 2 values, the lines before have 3"),
        (HEADER + ROWS + b"1 2 3\n", r"x, line 11: 15 values until the end, but"),
        (HEADER + ROWS + ROWS, r"x, line 14: 24 values until the end, but its header promises 12"),
        (HEADER.replace(b"NDIM        3", b"NDIM        4") + ROWS, r"x, line 2: NDIM is 4, but the header .* 3 sizes"),
        (HEADER.replace(b"NDIM        3", b"NDIM        x") + ROWS, r"x, line 2: NDIM is x"),
        (HEADER.replace(b"DIM:1       2", b"DIM:1       -2") + ROWS, r"x, line 4: '-2' is not the size"),
        (HEADER.replace(b"float32", b"object") + ROWS, r"x, line 1: DTYPE 'object' is not a type of numbers"),
        (HEADER.replace(b"float32", b"uint8") + ROWS.replace(b"5", b"5.5"), r"x: not all values are uint8"),
        (HEADER.replace(b"float32", b"uint8") + ROWS.replace(b"5", b"256"), r"x: not all values are uint8"),
        (b" ".join([b"1"] * 70000), r"x, line 1: 70000 values, more than"),
    ],
)
def test_malformed_text_is_refused_with_the_line(raw: bytes, message: str) -> None:
    with pytest.raises(BadValue, match=rf"^{message}"):
        parse_text(raw, "x")


@pytest.mark.parametrize(
    "rows",
    [
        b"1 2 3 \n4 5 6 \n7 8 9 \n10 11 12",
        b"  1  2 3\n\n4 5 6\r\n7 8\t9\n# a comment\n10 11 12\n",
        b"1 2. 3.0\n4e0 +5 6\n7 8 9\n10 11 .12E2\n",
    ],
)
def test_what_is_only_laid_out_differently_is_read(rows: bytes) -> None:
    assert np.array_equal(parse_text(HEADER + rows, "x").array, np.arange(1, 13, dtype=REAL).reshape(2, 2, 3))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_are_read_or_refused(data: st.DataObject) -> None:
    raw, said = bytearray(HEADER + ROWS), []
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        values = parse_text(bytes(raw), "x").values
    except BadValue as error:
        said.append(str(error))
    else:
        assert np.isfinite(values).all()
    assert all(text.startswith("x") for text in said)


@pytest.mark.parametrize(
    "word",
    [
        "-0",
        "-0.0",
        "-0e0",
        "0",
        "18446744073709551616",
        "-9223372036854775809",
        "9007199254740993",
        "0.1000000000000000055511151231257827",
        "2.2250738585072011e-308",
        "5e-324",
        "1e-400",
        "17976931348623157e292",
        "1.7976931348623158079e308",
        "123456789012345678901234567890.5e-7",
    ],
)
def test_values_have_the_bits_that_numpy_and_python_read(word: str) -> None:
    found = parse_text(f"1 {word}\n{word} {word}\n".encode(), "x").values
    assert found.tobytes() == np.loadtxt([f"1 {word}", f"{word} {word}"]).tobytes()
    assert found[0, 1].tobytes() == np.float64(word).tobytes()


@pytest.mark.parametrize("length", [*range(740, 1200, 7), *range(765, 775)])
@pytest.mark.parametrize("last", ["0", "1"])
@pytest.mark.parametrize("values", [0, 1, 30, 100])
def test_numbers_with_too_many_digits_for_json_are_rounded_right(length: int, last: str, values: int) -> None:
    # Half-way between two floats, or above that in the last digit only.
    word = ("1.50000000000000011102230246251565404236316680908203125" + "0" * length)[: length - 1] + last
    row = " ".join(["1.5"] * values + [word])
    assert parse_text(f"{row}\n".encode() * 3, "x").values.ravel()[-1] == float(word)


@pytest.mark.parametrize(
    "rows",
    [
        "1,2 3\n4 5\n",
        "1 2\n3,4\n",
        "1 2\ntrue 4\n",
        "1 2\n[3 4]\n",
        "1 2\nnull 4\n",
        '1 2\n"3" 4\n',
        "1 2\n{} 4\n",
        "1 2\n3 4]\n",
        "1 2\n-Infinity 4\n",
    ],
)
def test_other_words_of_json_are_not_numbers(rows: str) -> None:
    with pytest.raises(BadValue, match=r"x, line [12]: "):
        parse_text(rows.encode(), "x")


def test_more_rows_than_the_file_has_room_for_take_no_memory() -> None:
    with pytest.raises(BadValue, match=r"x, line 1000001: "):
        parse_text(b"1 " * 60000 + b"\n" * 1_000_000 + b"x\n", "x")


def test_places_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="no such file"):
        read_text(tmp_path / "none")
    with pytest.raises(BadValue, match="not a regular file"):
        read_text(tmp_path)
    (tmp_path / "x").write_text("1")
    with pytest.raises(Failed, match="Not a directory"):
        read_text(tmp_path / "x" / "y")
