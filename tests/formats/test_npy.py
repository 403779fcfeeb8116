"""Reading ``.npy`` files that may be anything: plain arrays bit for bit, everything else refused."""

from __future__ import annotations

import io
import os
import pickle
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from jfstore.errors import BadValue, Failed
from jfstore.formats.npy import read_npy
from tests.makers.arrays import constants

SHAPE = (16, 32)
ARRAY = constants()["pixel_gain"][0]


def npy(array: NDArray[Any] = ARRAY, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=True)
    return stream.getvalue()


def with_header(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header if isinstance(header, bytes) else header.encode()
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def header(descr: str = "'<f4'", fortran: str = "False", shape: str = "(16, 32)", more: str = "") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, {more}}}\n"


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_plain_array_is_read_bit_for_bit(
    tmp_path: Path, dtype: str, order: Literal["C", "F"], version: tuple[int, int] | None
) -> None:
    array = np.array(ARRAY, dtype=dtype, order=order)
    found = read_npy(write(tmp_path, npy(array, version)), [SHAPE])
    assert found.dtype == array.dtype
    assert found.shape == SHAPE
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_three_axes_keep_their_order(tmp_path: Path, order: Literal["C", "F"]) -> None:
    array = np.array(constants()["pixel_offset"], order=order)
    found = read_npy(write(tmp_path, npy(array)), [(3, 1, 16, 32), (3, 16, 32)])
    assert np.array_equal(found, array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.0, 1e-45])
def test_values_are_left_to_the_check_of_arrays(tmp_path: Path, value: float) -> None:
    array = np.full(SHAPE, value, "<f4")
    assert read_npy(write(tmp_path, npy(array)), [SHAPE]).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(SHAPE, "<i4"),
        np.zeros(SHAPE, "u1"),
        np.zeros(SHAPE, "?"),
        np.zeros(SHAPE, "<f2"),
        np.zeros(SHAPE, np.longdouble),
        np.zeros(SHAPE, "<c8"),
        np.zeros(SHAPE, "S4"),
        np.zeros(SHAPE, "<U1"),
        np.zeros(SHAPE, "<M8[s]"),
        np.zeros(SHAPE, [("a", "<f4")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_another_dtype_is_refused(tmp_path: Path, array: NDArray[Any]) -> None:
    with pytest.raises(BadValue, match="dtype"):
        read_npy(write(tmp_path, npy(array)), [SHAPE])


@pytest.mark.parametrize("shape", [(), (0,), (512,), (32, 16), (16, 31), (1, 16, 32), (3, 16, 32)])
def test_another_shape_is_refused_and_the_right_ones_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadValue, match=r"expected \(16, 32\) or \(8, 8\)"):
        read_npy(write(tmp_path, npy(np.zeros(shape, "<f4"))), [SHAPE, (8, 8)])


class Exploding:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(Path(__file__).parent / "exploded"),))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(ARRAY),
        pickle.dumps(Exploding()),
        npy(np.array([Exploding()] * 2, dtype=object)),
        with_header(header("'|O'"), pickle.dumps(Exploding())),
        with_header(header("[('a', 'O'), ('b', '<f4')]"), pickle.dumps(Exploding())),
    ],
    ids=["pickled array", "pickle", "object array", "object header", "structured object header"],
)
def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a pickle was loaded"))
    with pytest.raises(BadValue):
        read_npy(write(tmp_path, content), [SHAPE, (2,)])
    assert not (Path(__file__).parent / "exploded").exists()


@pytest.mark.parametrize("size", range(0, len(npy()), 61))
def test_a_cut_file_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(BadValue, match=r"x\.npy: "):
        read_npy(write(tmp_path, npy()[:size]), [SHAPE])


@pytest.mark.parametrize("change", [-1, 1, 4, -4, 2048, 1 << 20])
def test_the_file_is_exactly_as_long_as_its_header_promises(tmp_path: Path, change: int) -> None:
    content = npy()[:change] if change < 0 else npy() + bytes(change)
    with pytest.raises(BadValue, match="its header promises"):
        read_npy(write(tmp_path, content), [SHAPE])


def test_two_arrays_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="promises"):
        read_npy(write(tmp_path, npy() + npy()), [SHAPE])


def test_a_sparse_giant_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, npy())
    os.truncate(path, 1 << 40)
    with pytest.raises(BadValue, match="promises"):
        read_npy(path, [SHAPE])


DATA = ARRAY.tobytes()
BOMBS = {
    "empty file": b"",
    "magic only": b"\x93NUMPY",
    "another magic": b"\x94NUMPY" + npy()[6:],
    "header longer than the file": with_header(header())[:20],
    "header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100,
    "64 KiB of brackets": with_header("(" * 60000, DATA),
    "9000 brackets": with_header("(" * 9000, DATA),
    "2000 pairs of brackets": with_header("(" * 2000 + ")" * 2000, DATA),
    "9000 minus signs": with_header("-" * 9000 + "1", DATA),
    "a number of 9000 digits": with_header(header(shape="(" + "9" * 9000 + ",)"), DATA),
    "a product": with_header(header(shape="(9**9**9,)"), DATA),
    "a call": with_header(header(shape="__import__('os').getpid()"), DATA),
    "a list as header": with_header("[]", DATA),
    "keys missing": with_header("{'descr': '<f4'}", DATA),
    "a key more": with_header(header(more="'x': 1"), DATA),
    "a negative shape": with_header(header(shape="(-16, -32)"), DATA),
    "a shape that overflows": with_header(header(shape=f"({2**63}, 2)"), DATA),
    "a shape of 10000 axes": with_header(header(shape="(" + "1," * 3000 + ")"), DATA),
    "a shape of floats": with_header(header(shape="(16.0, 32)"), DATA),
    "fortran_order that is no bool": with_header(header(fortran="'no'"), DATA),
    "a dtype that is none": with_header(header("'hello'"), DATA),
    "a dtype of a comma string": with_header(header("'f4,f4'"), DATA),
    "a dtype with a shape": with_header(header("('<f4', (2,))"), DATA),
    "bytes that are no text": with_header(b"\xff\xfe\x00" * 20, DATA),
    "a NUL": with_header(header() + "\0", DATA),
    "unfinished text": with_header("{'descr': '''", DATA),
    "version 0": b"\x93NUMPY\x00\x00" + npy()[8:],
    "version 9": b"\x93NUMPY\x09\x00" + npy()[8:],
    "text": b"41.5 41.5\n" * 100,
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(4000),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_bad_header_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadValue, match=r"x\.npy: ") as caught:
        read_npy(write(tmp_path, content), [SHAPE])
    assert "\n" not in str(caught.value)
    # The message has no words from inside numpy.
    assert not re.search("magic|EOF|literal|malformed|dictionary", caught.value.message)


def test_version_3_is_refused_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"format 3\.0"):
        read_npy(write(tmp_path, npy(version=(3, 0))), [SHAPE])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_refused(tmp_path: Path, save: Callable[..., None]) -> None:
    stream = io.BytesIO()
    save(stream, ARRAY)
    with pytest.raises(BadValue, match=r"not an \.npy file"):
        read_npy(write(tmp_path, stream.getvalue()), [SHAPE])


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("make", [make_fifo, Path.mkdir, make_socket], ids=["FIFO", "directory", "socket"])
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], follow: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.npy"
    make(path)
    with pytest.raises((BadValue, Failed), match=r"x\.npy"):
        read_npy(path, [SHAPE], follow=follow)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/full"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(BadValue, match="not a regular file"):
        read_npy(Path(device), [SHAPE])


@pytest.mark.parametrize("target", ["fifo", "/dev/zero", "."])
def test_a_link_to_no_regular_file_is_refused(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "x.npy").symlink_to(target)
    with pytest.raises(BadValue, match="not a regular file"):
        read_npy(tmp_path / "x.npy", [SHAPE])


def test_a_link_to_a_file_is_followed_only_if_allowed(tmp_path: Path) -> None:
    write(tmp_path, npy())
    (tmp_path / "link").symlink_to("x.npy")
    assert np.array_equal(read_npy(tmp_path / "link", [SHAPE]), ARRAY)
    with pytest.raises(BadValue, match="symbolic link"):
        read_npy(tmp_path / "link", [SHAPE], follow=False)


@pytest.mark.parametrize("name", ["missing.npy", "dangling"])
def test_a_file_that_is_not_there_is_a_bad_value(tmp_path: Path, name: str) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(BadValue, match="no such file"):
        read_npy(tmp_path / name, [SHAPE])


def test_a_loop_of_links_is_an_error_of_jfstore(tmp_path: Path) -> None:
    (tmp_path / "x.npy").symlink_to("x.npy")
    with pytest.raises((BadValue, Failed), match=r"x\.npy"):
        read_npy(tmp_path / "x.npy", [SHAPE])


def test_a_file_that_may_not_be_read_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path, flags: int, *more: Any) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("jfstore.fs.files.os.open", forbid)
    with pytest.raises(Failed, match=r"x\.npy: Permission denied"):
        read_npy(tmp_path / "x.npy", [SHAPE])
