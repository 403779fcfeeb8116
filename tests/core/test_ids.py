"""Panel Ids, detector Ids and names of versions: read, printed, normalised, refused."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jfstore.core.ids import (
    PanelId,
    detector_id,
    is_short_with_stamp,
    match_panels,
    parse_panel,
    parse_version,
    resolve_detector,
    resolve_panel,
    version_name,
)
from jfstore.errors import BadValue, NotFound

FB = "171113-154920171025-3d00fb"
B0, F7 = "170505-149520170815-3d00b0", "170505-149520170815-3d00f7"
OTHER_B0 = "171113-149520170815-3d00b0"
LARGEST = "-".join(["f" * 16] * 3)

uint64 = st.integers(0, 2**64 - 1)
panels = st.builds(PanelId, uint64, uint64, uint64)


def test_the_numbers_of_the_seed_print_as_their_id() -> None:
    assert str(PanelId(1511699, 23403815178277, 3997947)) == FB
    assert parse_panel(FB) == PanelId(1511699, 23403815178277, 3997947)


@settings(deadline=None, database=None)
@given(panels)
def test_every_panel_is_read_back_from_its_id(panel: PanelId) -> None:
    assert parse_panel(str(panel)) == panel
    assert str(panel) == f"{panel.module:x}-{panel.firmware:x}-{panel.serial:x}"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("171113-154920171025-3D00FB", FB),
        ("0x171113-0X154920171025-0x3d00fb", FB),
        ("00171113-154920171025-000000003d00fb", FB),
        ("0x0000000000000000171113-154920171025-3d00fb", FB),
        ("--3d00fb", "0-0-3d00fb"),
        ("171113--3d00fb", "171113-0-3d00fb"),
        ("171113-154920171025-", "171113-154920171025-0"),
        ("0-0-0", "0-0-0"),
        (LARGEST, LARGEST),
    ],
)
def test_other_spellings_are_normalised(text: str, normal: str) -> None:
    assert str(parse_panel(text)) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--",
        "3d00fb",
        "154920171025-3d00fb",
        f"{FB}-1",
        f"{FB}\n",
        f" {FB}",
        f"{FB}_{B0}",
        "171113-154920171025-3d00fg",
        "171113-154920171025-+3d00fb",
        "171113-154920171025-3d_00fb",
        "171113-154920171025-\uff13d00fb",
        "171113-154920171025-3d00fb/x",
        "0x0x171113-154920171025-3d00fb",
        "1" + "0" * 16 + "-0-0",
        "../171113-154920171025-3d00fb",
    ],
)
def test_anything_else_is_no_panel_id(text: str) -> None:
    with pytest.raises(BadValue, match="is not a panel Id"):
        parse_panel(text)


def test_a_panel_id_with_a_stamp_gets_the_hint_to_use_T() -> None:
    with pytest.raises(BadValue, match=f"pass {FB} -T 20180306000000"):
        parse_panel(f"{FB}-20180306000000")


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (0, 2**64, 0), (0, 0, -(2**63))])
def test_a_number_that_is_not_unsigned_64_bit_is_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(BadValue, match="64-bit"):
        PanelId(*numbers)


def test_a_panel_is_found_by_its_last_two_fields() -> None:
    assert str(resolve_panel("154920171025-3d00fb", [B0, FB, F7])) == FB
    assert str(resolve_panel("154920171025-0x003D00FB", [FB])) == FB


def test_a_short_id_that_fits_two_panels_is_refused_and_lists_both() -> None:
    with pytest.raises(BadValue) as caught:
        resolve_panel("149520170815-3d00b0", [OTHER_B0, FB, B0])
    assert B0 in caught.value.message
    assert OTHER_B0 in caught.value.message
    assert FB not in caught.value.message


def test_a_short_id_that_fits_no_panel_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        resolve_panel("154920171025-3d00ff", [FB, B0])
    assert FB in caught.value.nearest


def test_a_full_id_need_not_be_known() -> None:
    assert str(resolve_panel(FB, [])) == FB


def test_a_detector_keeps_the_order_of_its_panels() -> None:
    assert [str(panel) for panel in resolve_detector(f"{F7}_{B0}")] == [F7, B0]
    assert detector_id(resolve_detector(f"{F7}_{B0}")) == f"{F7}_{B0}"


def test_a_detector_may_be_written_short() -> None:
    panels = resolve_detector("149520170815-3d00b0_149520170815-3d00f7", [FB, F7, B0])
    assert detector_id(panels) == f"{B0}_{F7}"


def test_one_panel_is_a_detector() -> None:
    assert resolve_detector(FB) == (parse_panel(FB),)


@pytest.mark.parametrize("text", [f"{FB}_{FB}", f"{FB}_{B0}_{FB.upper()}", f"{FB}_154920171025-3d00fb"])
def test_a_panel_comes_once_in_a_detector(text: str) -> None:
    with pytest.raises(BadValue, match="twice"):
        resolve_detector(text, [FB, B0])


@pytest.mark.parametrize("text", ["", "_", f"{FB}_", f"_{FB}", f"{FB}__{B0}", f"{FB},{B0}"])
def test_a_detector_has_no_empty_parts(text: str) -> None:
    with pytest.raises(BadValue):
        resolve_detector(text)


@settings(deadline=None, database=None)
@given(st.lists(panels.filter(lambda panel: not is_short_with_stamp(str(panel))), min_size=1, max_size=32, unique=True))
@example([PanelId(0, 0, 0x20000000000000)])  # 14 digits, and no date
@example([PanelId(0x8000000020000, 0x230920, 0x50C24600500101)])
def test_every_detector_is_read_back_from_its_id(several: list[PanelId]) -> None:
    assert resolve_detector(detector_id(several)) == tuple(several)


@pytest.mark.parametrize("number", ["v1", "v0001", "v01"])
def test_a_version_is_read_with_or_without_zeros(number: str) -> None:
    assert parse_version(f"{FB}/20180306000000/{number}") == (parse_panel(FB), "20180306000000", 1)


@settings(deadline=None, database=None)
@given(
    panels.filter(lambda panel: not is_short_with_stamp(str(panel))),
    st.integers(0, 10**14 - 1),
    st.integers(1, 10**9 - 1),
)
def test_every_version_is_read_back_from_its_name(panel: PanelId, stamp: int, number: int) -> None:
    assert parse_version(version_name(str(panel), f"{stamp:014d}", number)) == (panel, f"{stamp:014d}", number)


def test_a_version_name_may_have_a_short_panel() -> None:
    assert parse_version("154920171025-3d00fb/20180306000000/v2", [FB, B0])[0] == parse_panel(FB)


@pytest.mark.parametrize(
    "text",
    [
        FB,
        f"{FB}/20180306000000",
        f"{FB}/2018030600000/v1",
        f"{FB}/20180306000000/1",
        f"{FB}/20180306000000/v0",
        f"{FB}/20180306000000/v0000",
        f"{FB}/20180306000000/v-1",
        f"{FB}/20180306000000/v1\n",
        f"{FB}/20180306000000/v\uff11",
        f"{FB}/20180306000000/v1/pixel_gain",
        f"{FB}@20180306000000/v1",
        "x/20180306000000/v1",
    ],
)
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(BadValue):
        parse_version(text)


@pytest.mark.parametrize("text", ["3d00fb", "3D00FB", "0x3d00fb", "003d00fb"])
def test_the_serial_number_of_one_known_panel_is_enough(text: str) -> None:
    assert str(resolve_panel(text, [B0, FB, F7])) == FB
    assert resolve_detector(f"3d00f7_{text}", [B0, FB, F7]) == (parse_panel(F7), parse_panel(FB))
    assert parse_version(f"{text}/20180306000000/v1", [B0, FB])[0] == parse_panel(FB)


def test_a_part_of_a_serial_number_or_one_of_several_panels_is_refused() -> None:
    for text in ("3d00f", "154920171025", "d00fb"):
        with pytest.raises(BadValue, match="is not a panel Id"):
            resolve_panel(text, [B0, FB, F7])
    with pytest.raises(BadValue, match=f"is the serialNumber of several panels, write one in full: {B0}, {OTHER_B0}"):
        resolve_panel("3d00b0", [OTHER_B0, FB, B0])


def test_what_follows_the_prefix_is_no_serial_number() -> None:
    with pytest.raises(BadValue, match="is not a panel Id"):
        resolve_detector("jungfrau_000003", ["1-2-3"])
    assert resolve_detector("000003", ["1-2-3"]) == (parse_panel("1-2-3"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3d00fb", [FB]),
        ("3D00F", [FB, F7]),
        ("3d00", [OTHER_B0, FB, B0, F7]),
        ("149520170815-3d00b0", [OTHER_B0, B0]),
        ("171113-15", [FB]),
        (FB.upper(), [FB]),
        (f"{F7}_{FB}", [F7, FB]),
        ("1-2-3", ["1-2-3"]),
    ],
)
def test_a_part_of_an_id_matches_every_panel_that_has_it(text: str, expected: list[str]) -> None:
    assert list(match_panels(text, [OTHER_B0, FB, B0, F7])) == expected


@pytest.mark.parametrize("text", ["", "-", "--", "zz", "4711", "4711-3d00fb", "3d00fb/20180306000000"])
def test_what_matches_no_panel_is_an_error(text: str) -> None:
    with pytest.raises((BadValue, NotFound)):
        match_panels(text, [OTHER_B0, FB, B0, F7])
