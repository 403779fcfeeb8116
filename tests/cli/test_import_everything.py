"""Sources of all kinds in one repository: a second import adds nothing, and tables tell where versions come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.formats.text import format_text
from tests.makers.arrays import darks
from tests.makers.calibdirs import EXPERIMENT, SOURCES, START, P, Q, calibdir_of, id_of, write_runs
from tests.makers.panel_repository import FIRST, IDS, as_text
from tests.makers.psana2 import PANELS, SHORT, Database, detector_array, serve_database
from tests.makers.psi import gain_maps, write_gain_maps
from tests.makers.telling import rows_of, tell

SHAPE = (3, 16, 32)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Write a source of each kind; return the words of its import by the kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIT_PSDM_DATA", str(tmp_path / "data"))
    repository = jfstore.init("R", "test", panel_shape=SHAPE)
    write_runs(Path("data"), {number: (START + 86400 * number, [[P, Q]]) for number in (1, 2)})
    file = calibdir_of(Path("data")) / "Jungfrau::CalibV1" / SOURCES[0] / "pedestals" / "2-end.data"
    file.parent.mkdir(parents=True)
    pair = np.stack([darks(SHAPE, seed)["pedestals"] for seed in (1, 2)], axis=1)
    file.write_bytes(b"".join(format_text(pair)))
    for gain, part in enumerate(darks(SHAPE, 3)["pedestals"]):
        text = Path("constants/jungfrau") / IDS[0] / "pedestals" / f"{FIRST.stem(0)}-pedestals-g{gain}.data"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_bytes(as_text(part, "pedestals"))
    write_gain_maps(Path("gainMaps_M044_2017-09-21.bin"), gain_maps(4))
    repository.name_panel(IDS[1], "M044", "the label")
    return {
        "calibdir": [str(calibdir_of(Path("data")))],
        "panels": ["constants"],
        "psi": ["gainMaps_M044_2017-09-21.bin", "-T", "20170921000000"],
        "psana2": [f"psana2:{SHORT}"],
    }


def test_each_source_is_imported_once_and_named(sources: dict[str, list[str]], capsys: Capture) -> None:
    database = Database()
    database.deploy(detector_array("pedestals", SHAPE, range(len(PANELS))), ctype="pedestals")
    with serve_database(database) as served:
        sources["psana2"] += ["--url", served.base]
        for again in (False, True):
            before = jfstore.open("./R").history()[-1].seq
            for words in sources.values():
                code, out, err = tell(capsys, "import", *words, "-m", "x", "--repo", "./R")
                assert code == 0, err
                assert ("added\t" in out) is not again
            assert (jfstore.open("./R").history()[-1].seq == before) is again
    code, out, _ = tell(capsys, "list", "--repo", "./R", "--sources")
    rows = {(row["panel"], row["types"]): row for row in rows_of(out)}
    assert (code, len(rows)) == (0, 2 + 1 + 1 + len(PANELS))
    expected = {
        (id_of(P), "pedestals"): ("2-end.data", f"experiment={EXPERIMENT}"),
        (IDS[0], "pedestals"): (FIRST.stem(0), f"experiment={FIRST.experiment} run={FIRST.run}"),
        (IDS[1], "pixel_gain,pixel_gain_hg0"): ("gainMaps_M044_2017-09-21.bin", "module=M044"),
        (PANELS[0], "pedestals"): (SHORT, "experiment="),
    }
    for key, (source, about) in expected.items():
        assert source in rows[key]["source"]
        assert about in rows[key]["about"]
    for (panel, calib_type), (source, _) in expected.items():
        words = [panel, "-T", "20300101000000", "-t", calib_type.split(",")[0], "--repo", "./R"]
        code, out, _ = tell(capsys, "explain", *words)
        assert (code, source in rows_of(out)[0]["source"]) == (0, True)
        code, out, _ = tell(
            capsys,
            "show",
            f"{rows[panel, calib_type]['panel']}/{rows[panel, calib_type]['valid_from']}/v1",
            "--repo",
            "./R",
        )
        assert (code, source in out) == (0, True)
