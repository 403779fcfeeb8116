"""Checks of constants before anything is stored: shape, dtype, every value."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from jfstore.core.arrays import check_array, describe_conversion
from jfstore.errors import BadValue
from tests.makers.arrays import constants

SHAPE = (3, 16, 32)
TYPES = ("pixel_gain", "pixel_offset")


@pytest.fixture(params=TYPES)
def made(request: pytest.FixtureRequest) -> tuple[str, np.ndarray]:
    return request.param, constants(SHAPE, seed=7)[request.param]


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def with_value(name: str, value: float, dtype: str = "<f4", place: tuple[int, int, int] = (2, 5, 9)) -> np.ndarray:
    array = constants(SHAPE, dtype=dtype)[name]
    array[place] = value
    return array


def test_float32_comes_out_bit_for_bit(made: tuple[str, np.ndarray]) -> None:
    name, array = made
    checked = check_array(array, name, SHAPE, "x.npy")
    assert same_bits(checked.array, array)
    assert checked.converted_from is None


def test_float64_is_rounded_and_that_is_recorded(made: tuple[str, np.ndarray]) -> None:
    name, array = made
    exact = array.astype("<f8") * (1 + 1e-9)
    checked = check_array(exact, name, SHAPE, "x.npy")
    assert same_bits(checked.array, exact.astype("<f4"))
    assert checked.converted_from == "<f8"


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_order_and_memory_order_are_normalised(
    made: tuple[str, np.ndarray], dtype: str, order: Literal["C", "F"]
) -> None:
    name, array = made
    checked = check_array(np.array(array, dtype=dtype, order=order), name, SHAPE, "x.npy")
    assert same_bits(checked.array, array)
    assert checked.array.flags.c_contiguous
    assert checked.array.dtype.str == "<f4"
    assert checked.converted_from == (None if dtype == ">f4" else "<f8")


def test_a_view_with_strides_comes_out_in_order(made: tuple[str, np.ndarray]) -> None:
    name, array = made
    checked = check_array(array[:, ::-1, ::2], name, (3, 16, 16), "x.npy")
    assert same_bits(checked.array, array[:, ::-1, ::2].copy())
    assert checked.array.flags.c_contiguous


@pytest.mark.parametrize(
    "shape", [(16, 32), (3, 32, 16), (1, 3, 16, 32), (3, 1, 16, 32), (2, 16, 32), (3, 16, 31), (0,), ()]
)
def test_another_shape_is_refused(made: tuple[str, np.ndarray], shape: tuple[int, ...]) -> None:
    with pytest.raises(BadValue, match=r"x\.npy: shape"):
        check_array(np.ones(shape, "<f4"), made[0], SHAPE, "x.npy")


@pytest.mark.parametrize("dtype", ["<i4", "<i8", "<u2", "?", "<f2", "<c8", "O", "S4", "<M8[s]", "V4", np.longdouble])
def test_another_dtype_is_refused(made: tuple[str, np.ndarray], dtype: DTypeLike) -> None:
    with pytest.raises(BadValue, match="dtype"):
        check_array(np.empty(SHAPE, dtype), made[0], SHAPE, "x.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("name", TYPES)
def test_one_value_that_is_not_finite_is_refused_and_located(name: str, dtype: str, value: float) -> None:
    with pytest.raises(BadValue, match=r"x\.npy: 1 of 1536 values.*gain 2, row 5, column 9"):
        check_array(with_value(name, value, dtype), name, SHAPE, "x.npy")


@pytest.mark.parametrize("place", [(0, 0, 0), (2, 15, 31)])
def test_the_first_and_the_last_pixel_are_checked(place: tuple[int, int, int]) -> None:
    with pytest.raises(BadValue, match="gain {}, row {}, column {}".format(*place)):
        check_array(with_value("pixel_offset", np.nan, place=place), "pixel_offset", SHAPE, "x.npy")


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("value", [1e39, -1e300])
def test_a_float64_too_large_for_float32_is_refused(name: str, value: float) -> None:
    with pytest.raises(BadValue, match="not finite in float32"):
        check_array(with_value(name, value, "<f8"), name, SHAPE, "x.npy")


@pytest.mark.parametrize(
    ("value", "dtype"), [(0.0, "<f4"), (-0.0, "<f4"), (0.0, "<f8"), (1e-60, "<f8"), (-1e-60, "<f8")]
)
def test_a_gain_of_zero_is_refused_also_one_that_rounds_to_it(value: float, dtype: str) -> None:
    with pytest.raises(BadValue, match="zero"):
        check_array(with_value("pixel_gain", value, dtype), "pixel_gain", SHAPE, "x.npy")


@pytest.mark.parametrize("value", [0.0, -0.0, -5.0, 1e-42, 3e38])
def test_an_offset_may_be_any_finite_number(value: float) -> None:
    array = with_value("pixel_offset", value)
    assert same_bits(check_array(array, "pixel_offset", SHAPE, "x.npy").array, array)


def test_negative_gains_are_right_by_nature() -> None:
    array = np.full(SHAPE, -0.11, "<f4")
    assert same_bits(check_array(array, "pixel_gain", SHAPE, "x.npy").array, array)


def test_every_bad_value_is_counted() -> None:
    with pytest.raises(BadValue, match="1536 of 1536 values of pixel_gain are zero"):
        check_array(np.zeros(SHAPE, "<f4"), "pixel_gain", SHAPE, "x.npy")


def test_the_array_that_was_given_is_not_changed(made: tuple[str, np.ndarray]) -> None:
    name, array = made
    given_one = array.astype(">f8")
    before = given_one.copy()
    check_array(given_one, name, SHAPE, "x.npy")
    assert same_bits(given_one, before)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(BadValue, match="not a calibration type"):
        check_array(np.ones(SHAPE, "<f4"), "pixel_gains", SHAPE, "x.npy")


@settings(deadline=None, database=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_every_finite_float32_is_kept_bit_for_bit(values: list[float]) -> None:
    array = np.array(values, "<f4").reshape(1, 2, 3)
    assert same_bits(check_array(array, "pixel_offset", array.shape, "x.npy").array, array)


# -- integers


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4", "<i8", "<u8", ">u8", "|u1", "?"])
def test_integers_are_widened_to_the_dtype_of_the_type(dtype: str) -> None:
    array = (np.arange(3 * 16 * 32).reshape(SHAPE) % 2).astype(dtype)
    checked = check_array(array, "pixel_status", SHAPE, "x.npy")
    assert same_bits(checked.array, array.astype("<u8"))
    came_as = np.dtype(dtype).newbyteorder("<").str
    assert checked.converted_from == (None if came_as == "<u8" else came_as)


def test_the_largest_integer_is_kept() -> None:
    array = np.full(SHAPE, 2**64 - 1, "<u8")
    assert same_bits(check_array(array, "status_extra", SHAPE, "x.npy").array, array)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", "S4", "O", "<c8"])
def test_what_is_not_an_integer_is_refused_for_a_type_of_integers(dtype: DTypeLike) -> None:
    with pytest.raises(BadValue, match=r"x\.npy: dtype .* is not an integer"):
        check_array(np.zeros(SHAPE, dtype), "pixel_status", SHAPE, "x.npy")


def test_a_negative_integer_is_refused_and_located() -> None:
    array = np.zeros(SHAPE, "<i8")
    array[1, 2, 3] = -1
    with pytest.raises(BadValue, match="1 of 1536 values of pixel_max is negative, the first at gain 1, row 2, column"):
        check_array(array, "pixel_max", SHAPE, "x.npy")


@pytest.mark.parametrize("dtype", ["|u1", "?", "<i8", "<u2"])
def test_a_mask_of_ones_and_zeros_may_come_as_any_integer(dtype: str) -> None:
    array = (np.arange(16 * 32).reshape(16, 32) % 2).astype(dtype)
    assert same_bits(check_array(array, "pixel_mask", (16, 32), "m.npy").array, array.astype("|u1"))


@pytest.mark.parametrize("value", [2, 255])
def test_a_mask_has_ones_and_zeros_only(value: int) -> None:
    array = np.ones((16, 32), "|u1")
    array[3, 4] = value
    with pytest.raises(BadValue, match="1 of 512 values of pixel_mask is larger than 1, the first at row 3, column 4"):
        check_array(array, "pixel_mask", (16, 32), "m.npy")


@pytest.mark.parametrize(
    ("dtype", "name", "says"),
    [
        ("<f8", "pedestals", "rounded from float64 to float32"),
        ("<u2", "pixel_status", "widened from uint16 to uint64"),
        ("<i8", "pixel_mask", "converted from int64 to uint8"),
        ("<f4", "pedestals", None),
    ],
)
def test_a_conversion_is_described(dtype: str, name: str, says: str | None) -> None:
    shape = (16, 32) if name == "pixel_mask" else SHAPE
    assert describe_conversion(check_array(np.ones(shape, dtype), name, shape, "x")) == says
