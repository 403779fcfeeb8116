"""Calibration types: what each means, and what a wrong name gets."""

import pytest

from jfstore.core.calib_types import CALIB_TYPES, NOT_OF_PANELS, calib_type, high_g0_type, panel_shape_of
from jfstore.errors import BadValue

# Type, dtype, axes, unit: the table of docs/design.md.
TABLE = {
    "pixel_gain": ("<f4", 3, "ADU/keV"),
    "pixel_offset": ("<f4", 3, "ADU"),
    "pedestals": ("<f4", 3, "ADU"),
    "pixel_rms": ("<f4", 3, "ADU"),
    "pixel_status": ("<u8", 3, "bits"),
    "status_extra": ("<u8", 3, "bits"),
    "pixel_max": ("<u8", 3, "ADU"),
    "pixel_min": ("<u8", 3, "ADU"),
    "pixel_mask": ("|u1", 2, "1"),
    "pixel_gain_hg0": ("<f4", 3, "ADU/keV"),
    "pixel_offset_hg0": ("<f4", 3, "ADU"),
    "pedestals_hg0": ("<f4", 3, "ADU"),
    "pixel_rms_hg0": ("<f4", 3, "ADU"),
    "pixel_status_hg0": ("<u8", 3, "bits"),
}


def test_the_types_are_those_of_the_table() -> None:
    assert {one.name: (one.dtype, len(one.axes), one.units) for one in CALIB_TYPES.values()} == TABLE
    assert len({one.legacy for one in CALIB_TYPES.values()}) == len(TABLE)


def test_a_shape_follows_from_the_axes() -> None:
    shapes = {name: panel_shape_of(name, (3, 512, 1024)) for name in CALIB_TYPES}
    assert {name: len(shape) for name, shape in shapes.items()} == {name: axes for name, (_, axes, _) in TABLE.items()}
    assert shapes["pixel_mask"] == (512, 1024)


def test_types_of_the_high_first_gain_range_have_a_normal_one() -> None:
    for one in CALIB_TYPES.values():
        high = high_g0_type(one.name)
        assert high is None or CALIB_TYPES[high].normal == one.name
    assert high_g0_type("pixel_mask") is None
    assert high_g0_type("pixel_gain_hg0") is None


@pytest.mark.parametrize("name", NOT_OF_PANELS)
def test_types_that_are_not_of_panels_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(BadValue, match="not of a panel"):
        calib_type(name)


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
