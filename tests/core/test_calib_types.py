"""Calibration types: what each means, and what a wrong name gets."""

import pytest

from jfstore.core.calib_types import CALIB_TYPES, calib_type
from jfstore.errors import BadValue


def test_the_types_of_now() -> None:
    assert list(CALIB_TYPES) == ["pixel_gain", "pixel_offset"]


@pytest.mark.parametrize(
    ("name", "units", "default", "divides", "legacy"),
    [
        ("pixel_gain", "ADU/keV", (41.5, -1.39, -0.11), True, "gain"),
        ("pixel_offset", "ADU", (0.0, 0.0, 0.0), False, "offset"),
    ],
)
def test_each_type_says_what_its_values_are(
    name: str, units: str, default: tuple[float, float, float], divides: bool, legacy: str
) -> None:
    found = calib_type(name)
    assert (found.name, found.units, found.divides, found.legacy) == (name, units, divides, legacy)
    assert found.default == pytest.approx(default)
    assert found.dtype == "<f4"
    assert found.axes == ("gain", "row", "column")
    assert found.long_name


@pytest.mark.parametrize("name", ["pixel_gains", "Pixel_gain", "pixel_gain ", "pixel_gain\n", "", "common_mode"])
def test_any_other_name_is_refused_with_names_that_exist(name: str) -> None:
    with pytest.raises(BadValue) as caught:
        calib_type(name)
    assert repr(name) in caught.value.message
    assert set(caught.value.nearest) <= set(CALIB_TYPES)
    assert caught.value.nearest


def test_the_nearest_name_comes_first() -> None:
    with pytest.raises(BadValue) as caught:
        calib_type("pixel_ofset")
    assert caught.value.nearest[0] == "pixel_offset"


def test_a_stamp_given_as_type_gets_the_hint_to_use_T() -> None:
    with pytest.raises(BadValue, match="-T 20180306000000"):
        calib_type("20180306000000")


def test_a_type_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        calib_type("pixel_gain").units = "keV"  # type: ignore[misc]
