"""The reference's DCS files: every answer of the original, by the library and by the command; what is different."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jfstore.dcs.model import check_type_name, find_range, find_version
from jfstore.dcs.read import open_dcs
from jfstore.errors import BadValue, NotFound
from tests.makers.dcs import EXPECTED, FILES, NAME, PY3, SMALL, array, make_dcs, run, seal, structure

Capture = pytest.CaptureFixture[str]

QUERIES = [
    (name, query)
    for name, expected in EXPECTED.items()
    for query in expected["queries"]
    if not (query["result"] and query["result"]["kind"] == "exception")
]
SAMPLE = random.Random(6).sample([q for q in QUERIES if q[1]["result"]], 14) + random.Random(7).sample(
    [q for q in QUERIES if not q[1]["result"]], 6
)


def on_purpose(name: str, query: dict[str, Any]) -> bool:
    """Whether it is an explicit version 2 of the file whose versions 2 lack their number."""
    return name == "py3" and query["version"] == 2


def answer(contents: Any, query: dict[str, Any]) -> str | None:
    try:
        held = find_range(contents, query["ctype"], float(query["tsec_repr"]))
        blob = find_version(contents, query["ctype"], held, query["version"]).blob
    except NotFound:
        return None
    assert blob
    return seal(blob.load())


@pytest.mark.parametrize("name", FILES)
def test_every_query_is_answered_as_the_original_does(name: str) -> None:
    queries = [query for file, query in QUERIES if file == name]
    assert len(queries) >= 245
    with open_dcs(FILES[name]) as contents:
        wrong = {
            json.dumps(query): answer(contents, query)
            for query in queries
            if not on_purpose(name, query)
            and answer(contents, query) != (query["result"] and query["result"]["sha256"])
        }
    assert wrong == {}


@pytest.mark.parametrize(("name", "query"), SAMPLE)
def test_a_query_by_the_command(
    name: str, query: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILES[name], ".")
    words = ["get", FILES[name].name, "-t", query["ctype"], "-T", query["tsec_repr"]]
    words += [] if query["version"] is None else ["-v", query["version"]]
    code, out, err = run(capsys, *words)
    written = Path(f"{FILES[name].stem}-{query['ctype']}.npy")
    assert out == ""
    if query["result"] is None and not on_purpose(name, query):
        assert (code, written.exists()) == (3, False)
        assert err.startswith("dcs: error: ")
        assert err.count("\n") == 1
    else:
        assert code == 0, err
        value = written.read_text() if query["ctype"] == "geometry" else np.load(written)
        assert on_purpose(name, query) or seal(value) == query["result"]["sha256"]


def test_the_exceptions_of_the_original_are_errors_of_ours() -> None:
    exceptions = [query for query in EXPECTED["small"]["queries"] if query["result"] and "type" in query["result"]]
    assert {str(query["ctype"]) for query in exceptions} == {"99", "pixel_gain"}
    with pytest.raises(BadValue, match="not a calibration type"):
        check_type_name("99")


# -- what is different on purpose


def test_a_version_without_its_number_is_got_by_number_and_never_by_default(capsys: Capture, tmp_path: Path) -> None:
    operations = [
        op["data"]["sha256"] for op in EXPECTED["py3"]["operations"] if op.get("tsec") == 1.5e9 and "data" in op
    ]
    out = str(tmp_path / "o.npy")
    words = ("get", PY3, "-t", "pixel_gain", "-T", "1500000000", "-f", out)
    code, _, err = run(capsys, *words)
    assert (code, seal(np.load(out))) == (0, operations[0])
    assert "pixel_gain/1500000000-end/v0002 is skipped: its own number is missing" in err
    code, _, err = run(capsys, *words, "-v", 2)
    assert (code, seal(np.load(out))) == (0, operations[1])
    assert "warning" in err
    assert "problem    its own number is missing" in run(capsys, "print", PY3)[1]


def test_versions_are_ordered_by_number(tmp_path: Path, capsys: Capture) -> None:
    file = make_dcs(tmp_path / NAME, {"pixel_gain": {(0.0, float("inf")): {9999: array(1), 10000: array(2)}}})
    code, _, _ = run(capsys, "get", file, "-t", "pixel_gain", "-T", 1, "-f", tmp_path / "o.npy")
    assert code == 0
    assert (np.load(tmp_path / "o.npy") == array(2)).all()


def test_no_number_as_a_time_is_warned_of(tmp_path: Path, capsys: Capture) -> None:
    words = ("get", SMALL, "-t", "pixel_gain", "-f", tmp_path / "o.npy")
    code, _, err = run(capsys, *words, "-T", "nan")
    assert (code, "-T nan is treated as later than every range" in err) == (0, True)
    nan = np.load(tmp_path / "o.npy")
    run(capsys, *words, "-T", "4102444800")
    assert (nan == np.load(tmp_path / "o.npy")).all()


# -- what is in the files


@pytest.mark.parametrize("name", FILES)
def test_everything_is_printed(name: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run(capsys, "print", FILES[name])
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for type_name, ranges in EXPECTED[name]["structure"].items():
        assert f"         ctype    {type_name}" in lines
        assert f"         ranges   {sorted(ranges)}" in lines
        for key, versions in ranges.items():
            assert f"             range     {key}" in lines
            assert f"             versions  {[int(version[1:]) for version in versions]}" in lines
    texts = [text for records in EXPECTED[name]["history"].values() for text in records.values()]
    assert len([line for line in lines if any(line.endswith(f" {text}") for text in texts)]) >= len(texts)
    assert "     predecessor jungfrau-170505-149520170815-3d00b0" in lines


def test_the_history_is_that_of_the_reference() -> None:
    for name, path in FILES.items():
        with open_dcs(path) as contents:
            found = {"/_history": dict(contents.notes.history)}
            for held in contents.types:
                found[f"/{held.name}/_history"] = dict(held.notes.history)
                for valid in held.ranges:
                    found[f"/{held.name}/{valid.key}/_history"] = dict(valid.notes.history)
        assert found == EXPECTED[name]["history"]


def test_a_file_is_only_read(capsys: Capture) -> None:
    before = {path: (path.read_bytes(), structure(path)) for path in FILES.values()}
    for path in FILES.values():
        run(capsys, "print", path)
    assert before == {path: (path.read_bytes(), structure(path)) for path in FILES.values()}
