"""Documents of psana2's database are checked field by field, and chosen as psana2 chooses."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from jfstore.errors import BadValue
from jfstore.formats.psana2 import (
    Document,
    explain_refusal,
    find_places,
    has_no_constants,
    name_document,
    parse_document,
    parse_long_name,
    parse_shape,
    read_layout,
)
from jfstore.formats.psana2_rules import choose_as_data_source, choose_for_run, choose_newest, find_disorder
from jfstore.formats.psana2_service import INSIDE, OUTSIDE, find_url
from tests.makers.psana2 import EXPERIMENT, INSERTED, PANELS, SHORT, START, Database, detector_array, long_name

SHAPE = (3, 4, 8)


def document(array: np.ndarray | bytes | None = None, **fields: Any) -> dict[str, Any]:
    raw = detector_array("pedestals", SHAPE, [1, 2, 3]) if array is None else array
    return Database().insert(f"cdb_{SHORT}", SHORT, raw, **fields)


def parsed(array: np.ndarray | bytes | None = None, **fields: Any) -> Document:
    return parse_document(document(array, **fields))


def test_a_document() -> None:
    found = parsed(comment="two\nlines \x1b[31m", run_end=12, run_orig=6, id_doc_exp="ab" * 12)
    assert found.id == f"{INSERTED:08x}5eed5eed00000002"
    assert (found.inserted, found.time) == (INSERTED, START)
    assert (found.run, found.run_end, found.run_orig) == (7, 12, 6)
    assert (found.type, found.detector, found.experiment) == ("pedestals", SHORT, EXPERIMENT)
    assert (found.comment, found.uid, found.version) == ("two lines  [31m", "anna", "V2026-03-10")
    assert (found.twin, found.key) == ("ab" * 12, "ab" * 12)
    layout = read_layout(found, SHAPE)
    assert (layout.dtype.str, layout.shape, layout.size) == ("<f4", (3, 3, 4, 8), 1152)
    bare = {"_id": found.id, "id_data": found.data, "run": 0, "time_sec": 12.75}
    assert parse_document(bare).time == 12
    assert (parse_document(bare).run_end, parse_document(bare).key) == (9999, found.id)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"_id": "../../../../etc/passwd!!"}, "_id is '../../../../etc/passwd!!', not an id"),
        ({"_id": "A" * 24}, "_id is 'AAAA"),
        ({"_id": None}, "_id is None"),
        ({"_id": {"$oid": "0" * 24}}, "_id is {"),
        ({"id_data": "0" * 23 + "/"}, "id_data is"),
        ({"id_data": "0" * 25}, "id_data is"),
        ({"id_data": 5}, "id_data is 5"),
        ({"run": -1}, "run is -1, not a number of a run"),
        ({"run": 10**30}, "run is 1000"),
        ({"run": True}, "run is True"),
        ({"run": 1.0}, r"run is 1\.0"),
        ({"run": "7; drop"}, "run is '7; drop'"),
        ({"run": None}, "run is None"),
        ({"run_end": "END"}, "run_end is 'END'"),
        ({"run_end": [1]}, r"run_end is \[1\]"),
        ({"run_orig": {}}, "run_orig is {}"),
        ({"time_sec": "1750000000"}, "time_sec is '1750000000', not a time"),
        ({"time_sec": 0}, "time_sec is 0"),
        ({"time_sec": -5}, "time_sec is -5"),
        ({"time_sec": 10**400}, "time_sec is 1000"),
        ({"time_sec": 5_000_000_000}, "time_sec is"),
        ({"time_sec": True}, "time_sec is True"),
    ],
)
def test_fields_that_are_not_believed(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(BadValue, match=text):
        parse_document(document(**fields))


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, [[]]])
def test_other_values_are_no_documents(value: Any) -> None:
    with pytest.raises(BadValue):
        parse_document(value)
    assert name_document(value) == "a document without an id"
    assert name_document({"_id": "ab" * 12, "ctype": "x" * 99}) == f"{'ab' * 12} {'x' * 40}"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"data_type": "any"}, "its data is a pickle, which is never read"),
        ({"data_type": "str"}, "its data is 'str', not an array"),
        ({"data_type": None}, "its data is '', not an array"),
        ({"data_dtype": "object"}, "data_dtype is 'object'"),
        ({"data_dtype": "O8"}, "data_dtype is 'O8'"),
        ({"data_dtype": "float16"}, "data_dtype is 'float16'"),
        ({"data_dtype": "[('a', 'f4')]"}, "data_dtype is"),
        ({"data_shape": "__import__('os').system('x')"}, "data_shape is .*, not a shape"),
        ({"data_shape": "(3, 3, 4, 8)\n"}, "ok"),
        ({"data_shape": "(3, 3, 4, 9**9)"}, "not a shape"),
        ({"data_shape": "(3, 3, 4, 8, 1, 1, 1)"}, "not a shape"),
        ({"data_shape": "(3, 99999999, 4, 8)"}, "not a shape"),
        ({"data_shape": "(3, -1, 4, 8)"}, "not a shape"),
        ({"data_shape": "()"}, "not a shape"),
        ({"data_shape": ""}, "not a shape"),
        ({"data_shape": "(3, 3, 4, 9)"}, r"expected \(3, panels, 4, 8\)"),
        ({"data_shape": "(4, 3, 4, 8)"}, "expected"),
        ({"data_shape": "(3, 4)"}, "expected"),
        ({"data_shape": "(3, 0, 4, 8)"}, "has 0 panels"),
        ({"data_shape": "(3, 65, 4, 8)"}, "has 65 panels"),
        ({"data_shape": "(3, 32, 4, 8)"}, "does not have 288 values"),
        ({"data_size": "287"}, "does not have 287 values"),
    ],
)
def test_layouts_that_are_not_believed(fields: dict[str, Any], text: str) -> None:
    if text == "ok":
        assert read_layout(parsed(**fields), SHAPE).shape == (3, 3, 4, 8)
        return
    with pytest.raises(BadValue, match=text):
        read_layout(parsed(**fields), SHAPE)


def test_layouts() -> None:
    assert parse_shape("(16,)") == (16,)
    assert parse_shape("( 3,1 , 512,1024 )") == (3, 1, 512, 1024)
    one = parsed(detector_array("pedestals", SHAPE, [1])[:, 0])
    assert read_layout(one, SHAPE).shape == (3, 1, 4, 8)
    mask = parsed(detector_array("pixel_mask", SHAPE, [1, 2]), ctype="pixel_mask")
    assert read_layout(mask, SHAPE[1:]).shape == (2, 4, 8)
    assert read_layout(parsed(np.zeros((4, 8), bool)), SHAPE[1:]).dtype == bool
    with pytest.raises(BadValue, match=r"expected \(panels, 4, 8\)"):
        read_layout(parsed(), SHAPE[1:])


def test_long_names() -> None:
    assert parse_long_name(long_name()) == PANELS
    assert parse_long_name("jungfrau_1-2-3") == ("1-2-3",)
    for text in ("", "jungfrau", "jungfrau_", "epix10ka_1-2-3", "jungfrau_000003", "jungfrau_1-2-3_1-2-3", "1-2-3"):
        with pytest.raises(BadValue):
            parse_long_name(text)


def test_types_that_are_not_stored() -> None:
    assert explain_refusal("pedestals") is None
    assert explain_refusal("geometry") == "it says where the panels of a detector are, and is not of a panel"
    assert "is not of a panel" in str(explain_refusal("common_mode"))
    for name in ("pixel_gain_hg0", "pixel_bkgd", "users_mask", ""):
        assert "not a calibration type that psana2 and jfstore have" in str(explain_refusal(name))


def places(name: str, seeds: list[int | None], count: int, usual: tuple[int, ...] | None = None) -> tuple[int, ...]:
    array = detector_array(name, SHAPE, seeds)
    array[..., [seed is not None for seed in seeds], 0, 0] = 1
    return find_places(array, parsed(array, ctype=name), count, usual)


def test_places_of_panels() -> None:
    assert places("pedestals", [1, 2], 2) == (0, 1)
    assert places("pedestals", [1, None], 2) == (0, 1)
    assert places("pedestals", [None, 1, None, 2, None, None, None, None], 2) == (1, 3)
    assert places("pixel_mask", [None, 1, None, 2], 2) == (1, 3)
    wrong: list[list[int | None]] = [[None, 1, None, None], [1, 2, 3, None], [None, None, None, None]]
    for seeds in wrong:
        with pytest.raises(BadValue, match=f"{4 - seeds.count(None)} of the 4 places of its array have constants"):
            places("pedestals", seeds, 2)
        with pytest.raises(BadValue, match="not clear"):
            places("pedestals", seeds, 2, (1, 3))
    with pytest.raises(BadValue, match="it names 3 panels, and its array has 2"):
        places("pedestals", [1, 2], 3)


def test_places_of_a_status() -> None:
    with pytest.raises(BadValue, match="not clear"):
        places("pixel_status", [None, 1, None, None], 2)
    # In the same run pedestals showed where the panels are, and a panel may have no bad pixel.
    assert places("pixel_status", [None, 1, None, None], 2, (1, 3)) == (1, 3)
    with pytest.raises(BadValue, match="not clear"):
        places("pixel_status", [1, None, None, None], 2, (1, 3))
    array = detector_array("pixel_status", SHAPE, [1, None, 2, None])
    array[:, ::2, 0, 0] = 1
    array[:, 1::2] = np.iinfo("u8").max  # as jfstore get --full fills it
    found = parsed(array, ctype="pixel_status")
    assert find_places(array, found, 2, None) == (0, 2)
    assert not has_no_constants(np.zeros(SHAPE, "u8"), found)
    assert has_no_constants(np.zeros(SHAPE, "f4"), parsed())


def make_documents(seed: int) -> list[Document]:
    source, database = random.Random(seed), Database()
    found = []
    for _ in range(source.randrange(1, 9)):
        database.now = INSERTED + source.randrange(5)
        fields = {"run": source.randrange(6), "ctype": source.choice(["pedestals", "pixel_rms"])}
        fields["run_end"] = source.choice(["end", source.randrange(8), 9999, 10000])
        fields["time_sec"] = START + source.randrange(3)
        fields["version"] = source.choice(["V1", "V2"])
        found.append(parse_document(database.insert("cdb_x", "x", b"", **fields)))
    return found


@pytest.mark.parametrize("seed", range(200))
def test_documents_are_chosen_as_psana2_does(seed: int) -> None:
    """The rules are written here as psana2 writes them: sort, and look from the last one on."""
    documents = make_documents(seed)
    pedestals = [one for one in documents if one.type == "pedestals"]
    for run in range(9):
        order = sorted(pedestals, key=lambda one: one.inserted)
        order.sort(key=lambda one: one.run_end, reverse=True)
        # Python keeps the order of equal ones when it sorts in reverse, so this is: end descending, inserted ascending.
        order.sort(key=lambda one: one.run)
        fitting = [one for one in order if one.run <= run <= one.run_end <= 9999]
        assert choose_for_run(pedestals, run) == (fitting[-1] if fitting else None)
        for time, version in ((None, None), (START + 1, None), (None, "V2")):
            left = [one for one in pedestals if one.run <= run]
            left = [one for one in left if time is None or one.time <= time]
            left = [one for one in left if version is None or one.version == version]
            last = max((one.inserted for one in left), default=0)
            expected = next((one for one in left if one.inserted == last), None)
            assert choose_newest(left, run, time, version) == expected
            assert choose_newest(pedestals, run, time, version) == expected


def test_a_data_source_looks_in_two_databases() -> None:
    database = Database()
    first = parse_document(database.insert("cdb_e", "x", b"", run=3, run_end=5, ctype="pedestals"))
    database.now += 1
    other = parse_document(database.insert("cdb_x", "x", b"", run=9, ctype="pedestals"))
    gain = parse_document(database.insert("cdb_x", "x", b"", run=900, run_end=901, ctype="pixel_gain"))
    chosen = choose_as_data_source([first], [other, gain], 4)
    assert chosen == {"pedestals": first, "pixel_gain": gain}
    # For a run that no range holds, the newest of the detector is taken, whatever its runs.
    assert choose_as_data_source([first], [other, gain], 6) == {"pedestals": other, "pixel_gain": gain}


def test_disorder() -> None:
    database = Database()
    runs = [(3, START), (5, START + 10), (7, START + 5)]
    found = [parse_document(database.insert("cdb_e", "x", b"", run=run, time_sec=time)) for run, time in runs]
    assert find_disorder(found[:2]) is None
    assert find_disorder(found) == (found[1], found[2])
    gain = parse_document(database.insert("cdb_e", "x", b"", run=9, time_sec=START - 5, ctype="pixel_gain"))
    assert find_disorder([*found[:2], gain]) is None


def test_the_url_of_the_service() -> None:
    assert find_url(None, {}) == (INSIDE, False)
    assert find_url(None, {"SIT_PSDM_OFFSITE": ""}) == (OUTSIDE, False)
    assert find_url(None, {"LCLS_CALIB_HTTP": "https://a/", "SIT_PSDM_OFFSITE": "1"}) == ("https://a/", True)
    assert find_url("https://b/", {"LCLS_CALIB_HTTP": "https://a/"}) == ("https://b/", True)
