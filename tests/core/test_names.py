"""Names of tags, panels and detectors: which there can be, which are free, and what they stand for."""

from __future__ import annotations

import pytest

from jfstore.core.ids import KnownPanels, detector_id, merge_panels, parse_version, resolve_detector, resolve_panel
from jfstore.core.names import check_is_free, check_name, kind_of_id
from jfstore.core.records import Naming, Statement, Tag
from jfstore.errors import BadValue, Refused
from tests.makers import PANELS

A, B, C = PANELS
KNOWN = KnownPanels(PANELS, {"M044": A, "a-x-y": B, "jungfrau_000003": f"{A}_{B}", "4M": f"{B}_{C}"})


@pytest.mark.parametrize("name", ["M044", "panel-7", "a.b+c", "x", "Jungfrau", "a-x-y", "x" * 100])
def test_names_that_all_can_have(name: str) -> None:
    for kind in ("tag", "panel", "detector"):
        assert check_name(name, kind) == name


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        *((kind, name, "it starts with a letter") for kind in ("tag", "panel") for name in ("a_b", "_", "a/b", "a b")),
        *(
            ("detector", name, "it starts with a letter")
            for name in ("", "1st", "a..b", "-x", "x" * 101, "a\n", 7, None)
        ),
        *((kind, "now", "it is a time") for kind in ("tag", "panel", "detector")),
        *((kind, name, "reads as a panel or") for kind in ("tag", "panel") for name in ("a-b-c", "f-1", "F00-")),
        ("detector", "jungfrau_a-b-c", "reads as a panel or"),
        ("detector", "a-1_b-2", "reads as a panel or"),
        *((kind, "M044-20180306000000", "a panel with a stamp") for kind in ("tag", "panel", "detector")),
        ("panel", "fab", "a part of a panel Id"),
        ("panel", "x.xtc", "the path of a run"),
        ("panel", "a=b", "it starts with a letter"),
    ],
)
def test_names_that_are_refused(kind: str, name: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        check_name(name, kind)


def test_a_tag_may_be_a_word_of_hexadecimal_digits() -> None:
    assert check_name("feb", "tag") == "feb"
    assert check_name("a=b", "tag") == "a=b"


STATEMENTS: list[Statement] = [Naming(A, "M044"), Tag("paper", 3), Naming(f"{A}_{B}", "pair_2")]


@pytest.mark.parametrize(
    "new",
    [
        Naming(B, "M044"),
        Naming(B, "paper"),
        Tag("M044", 3),
        Tag("paper", 4),
        Tag("pair_2", 4),
        Naming(A, "pair_2"),
        Naming(f"{A}_{B}", "M044_1-2-3"),
    ],
)
def test_names_that_are_taken(new: Tag | Naming) -> None:
    with pytest.raises(Refused):
        check_is_free(STATEMENTS, new)


@pytest.mark.parametrize("new", [*STATEMENTS, Naming(B, "M045"), Naming(A, "old"), Tag("paper-2", 3)])
def test_names_that_are_free(new: Tag | Naming) -> None:
    check_is_free(STATEMENTS, new)


def test_a_panel_is_not_named_so_that_a_detector_becomes_unclear() -> None:
    first: list[Statement] = [Naming(f"{A}_{B}", "north_south"), Naming(A, "north")]
    with pytest.raises(Refused, match="the panels north, south, too"):
        check_is_free(first, Naming(C, "south"))


@pytest.mark.parametrize(
    ("text", "panels"),
    [
        ("M044", [A]),
        ("a-x-y", [B]),
        ("M044_a-x-y", [A, B]),
        (f"{C}_M044", [C, A]),
        ("jungfrau_000003", [A, B]),
        ("jungfrau_M044", [A]),
        ("4M", [B, C]),
        (f"{A}_{B}", [A, B]),
    ],
)
def test_names_stand_for_ids(text: str, panels: list[str]) -> None:
    assert detector_id(resolve_detector(text, KNOWN)) == "_".join(panels)


def test_a_name_in_the_name_of_a_version() -> None:
    assert str(parse_version("M044/20180306000000/v0002", KNOWN)[0]) == A
    with pytest.raises(BadValue, match="4M is the name of a detector of 2 panels, not of a panel"):
        parse_version("4M/20180306000000/v2", KNOWN)


@pytest.mark.parametrize("text", ["4M", "jungfrau_000003"])
def test_the_name_of_a_detector_is_no_panel(text: str) -> None:
    with pytest.raises(BadValue, match="is the name of a detector"):
        resolve_panel(text, KNOWN)
    with pytest.raises(BadValue, match="4M is the name of a detector"):
        resolve_detector("M044_4M", KNOWN)


def test_an_unknown_name_has_neighbours() -> None:
    with pytest.raises(BadValue, match=r"'M045' is not a panel Id: .*nearest: M044"):
        resolve_detector("M045", KNOWN)
    with pytest.raises(BadValue, match=f"panel {A} comes twice"):
        resolve_detector("M044_M044", KNOWN)


def test_names_of_several_repositories() -> None:
    merged = merge_panels([KNOWN, KnownPanels([C], {"M044": C, "4M": f"{B}_{C}"})])
    assert [str(panel) for panel in resolve_detector("M044", merged)] == [A, C]
    assert merged.names["4M"] == f"{B}_{C}"
    assert [*merged] == sorted(PANELS)


def test_the_kind_of_an_id() -> None:
    assert [kind_of_id(text) for text in (A, f"{A}_{B}")] == ["panel", "detector"]
