"""Tables that fit a terminal, and text that cannot drive one."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from jfstore.cli.output import format_table, printable

ROW = {
    "panel": "171113-154920171025-3d00fb",
    "valid_from": "20180306000000",
    "valid_to": "-",
    "types": ["pixel_gain", "pixel_offset"],
    "test": "v2",
    "real": "v1",
    "user": "anna",
    "time": "2026-11-27T08:00:00Z",
    "message": "measured again with the new firmware",
}
WIDE = {**ROW, "message": "新しいファームウェアで再測定"}


@pytest.mark.parametrize("width", [1, 2, 3, 20, 40, 60, 80, 100, 120, 160, 200])
@pytest.mark.parametrize("row", [ROW, WIDE])
def test_a_table_fits(width: int, row: dict[str, object]) -> None:
    lines = format_table([ROW, row], list(ROW), width)
    assert len(lines) == 3
    assert max(cell_len(line) for line in lines) <= width


def test_a_table_that_fits_is_whole() -> None:
    lines = format_table([ROW], list(ROW), None)
    assert lines == format_table([ROW], list(ROW), len(lines[1]))
    assert lines[1].split() == [
        *(ROW["panel"], ROW["valid_from"], "-", "pixel_gain,pixel_offset", "v2", "v1", "anna", ROW["time"]),
        *("measured", "again", "with", "the", "new", "firmware"),
    ]


def test_the_message_is_shortened_first_and_the_panel_last() -> None:
    at_150, at_100, at_80, at_50 = (format_table([ROW], list(ROW), width)[1] for width in (150, 100, 80, 50))
    assert at_150.endswith("\u2026")
    assert at_150.split()[:8] == format_table([ROW], list(ROW), None)[1].split()[:8]
    assert at_100.startswith("171113-\u2026-3d00fb  20180306000000  ")
    assert "measured" not in at_80
    assert at_50 == "171113-\u2026-3d00fb  20180306000000  -"


def test_ids_lose_their_firmware_and_paths_their_middle() -> None:
    version = f"{ROW['panel']}/20180306000000/v1"
    assert format_table([{"version": version, "commit": 1}], ["version", "commit"], 45)[1] == (
        "171113-\u2026-3d00fb/20180306000000/v1  1"
    )
    path = "/reg/d/psdm/XCS/xcsls3716/calib/Jungfrau::CalibV1/631-end.data"
    assert format_table([{"file": path}], ["file"], 21)[1] == "/reg/d/psd\u20261-end.data"


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
