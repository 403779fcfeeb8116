"""Tables that fit a terminal, and text that cannot drive one."""

from __future__ import annotations

import pytest

from jfstore.cli.output import fit_table, printable

COLUMNS = ["panel", "valid_from", "valid_to", "types", "test", "real", "user", "time", "message"]
ROW = [
    *("171113-154920171025-3d00fb", "20180306000000", "-", "pixel_gain,pixel_offset", "v2", "v1", "anna"),
    *("2026-11-27T08:00:00Z", "measured again with the new firmware"),
]


def width_of(names: list[str], rows: list[list[str]]) -> int:
    widths = [max(len(line[i]) for line in [names, *rows]) for i in range(len(names))]
    return sum(widths) + 2 * (len(widths) - 1)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 120, 160, 200])
def test_a_table_fits(width: int) -> None:
    names, rows = fit_table(COLUMNS, [ROW, ROW], width)
    assert len(names) == len(rows[0]) == len(rows[1])
    assert width_of(names, rows) <= max(width, len("panel"), 16)


def test_a_table_that_fits_is_whole() -> None:
    assert fit_table(COLUMNS, [ROW], width_of(COLUMNS, [ROW])) == (COLUMNS, [ROW])


def test_the_message_is_shortened_first_and_the_panel_last() -> None:
    at_160, at_80, at_50 = (fit_table(COLUMNS, [ROW], width) for width in (150, 80, 50))
    assert at_160[1][0][-1].endswith("…")
    assert at_160[1][0][:-1] == ROW[:-1]
    assert at_80[1][0][0] == ROW[0]
    assert at_50[1][0][0] == "171113-…-3d00fb"[:7] + at_50[1][0][0][7:]
    assert "message" not in at_50[0]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\x9b31mb", r"a\x9b31mb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2067b\u2069", r"a\u2067b\u2069"),
        ("a\tb\nc\r", r"a\tb\nc\r"),
        ("µm — “ok”", "µm — “ok”"),
    ],
)
def test_what_could_drive_a_terminal_is_printed_as_text(text: str, printed: str) -> None:
    assert printable(text) == printed
