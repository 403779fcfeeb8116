"""Constants of psana2's calibration database arrive with their bits, once, each at its panel, and nothing else does."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.errors import BadValue, Failed, JfstoreError, NotFound, Refused
from jfstore.formats import psana2_service
from jfstore.fs import web
from jfstore.repository import Added, Repository
from tests.makers.arrays import plausible_of
from tests.makers.psana2 import (
    EXPERIMENT,
    INSERTED,
    PANELS,
    SHORT,
    START,
    Database,
    detector_array,
    long_name,
    serve_database,
)
from tests.makers.repositories import new_repository, other_notes
from tests.makers.web import Handler, Served

SHAPE = (3, 16, 32)
STAMP = "20250615080640"
AT, LATER = f"@{START + 10}", f"@{START + 10_000}"
SOURCE = f"psana2:cdb_{SHORT}/{SHORT}"
GAP: list[int | None] = [1, 2, None, 3, None, None, None, None]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "R", shape=SHAPE)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def service(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serve_database(database) as served:
        monkeypatch.setenv("LCLS_CALIB_HTTP", served.base)
        yield served


def array_of(name: str, seeds: list[int | None] | None = None, dtype: str | None = None) -> np.ndarray:
    return detector_array(name, SHAPE, [1, 2, 3] if seeds is None else seeds, dtype)


def load(repository: Repository, name: str = f"psana2:{SHORT}", **options: Any) -> Added:
    return repository.import_psana2(name, "from psana2", **options)


def reasons(added: Added) -> list[str]:
    return [reason for _, reason in added.skipped]


def test_every_type_arrives_with_its_bits(repository: Repository, database: Database, service: Served) -> None:
    types = ["pedestals", "pixel_rms", "pixel_status", "status_extra", "pixel_max", "pixel_min", "pixel_mask"]
    types += ["pixel_gain", "pixel_offset"]
    for name in types:
        database.deploy(array_of(name), ctype=name)
    seen: list[tuple[int, int]] = []
    added = load(repository, progress=lambda done, total: seen.append((done, total)))
    assert (added.skipped, other_notes(added), len(added.versions)) == ((), (), 27)
    assert seen[0] == (0, 9)
    assert seen[-1] == (9, 9)
    for name in types:
        got = repository.get("_".join(PANELS), name, AT)
        assert got.tobytes() == array_of(name).tobytes(), name
    assert {version.stamp for version in added.versions} == {STAMP}
    assert [path for path in service.asked if "gridfs" not in path] == [
        "/ws/",
        f"/ws/cdb_{SHORT}",
        f"/ws/cdb_{SHORT}/{SHORT}?query_string=%7B%7D",
    ]


def test_where_a_version_came_from(repository: Repository, database: Database, service: Served) -> None:
    comment = "after the \x1b[31mrepair" + "é" * 800
    first, second = database.deploy(array_of("pedestals"), run=8, run_orig=7, comment=comment)
    added = load(repository, about={"report": "R7", "uid": "bert"})
    version = repository.version(f"{PANELS[1]}/{STAMP}/v1")
    assert version.about["experiment"] == EXPERIMENT
    assert version.about["run"] == "7"
    assert version.about["runs"] == "8-end"
    assert version.about["document"] == second["_id"]
    assert version.about["inserted"] == "2025-10-09T08:53:21Z"
    assert version.about["label"] == "V2026-03-10"
    assert (version.about["report"], version.about["uid"]) == ("R7", "bert")
    assert version.about["comment"].startswith("after the  [31mrepairé")
    assert version.source == f"{SOURCE}/{second['_id']}"
    origin = dict(version.origin or {})
    assert (origin["kind"], origin["document"], origin["id"]) == ("psana2", first["_id"], second["_id"])
    assert (origin["service"], origin["database"], origin["time_sec"]) == (service.base, f"cdb_{SHORT}", START)
    assert [one.origin for one in added.versions] == [version.origin] * 3
    # Readers of runs of another experiment are told.
    assert repository.find(PANELS[1], "pedestals", AT).types == ("pedestals",)


def test_a_second_import_commits_nothing_and_reads_no_arrays(
    repository: Repository, database: Database, service: Served
) -> None:
    for name in ("pedestals", "pixel_status"):
        database.deploy(array_of(name), ctype=name)
    load(repository)
    service.asked.clear()
    again = load(repository)
    assert (again.seq, again.versions, again.skipped) == (1, (), ())
    assert len(again.unchanged) == 2
    assert not [path for path in service.asked if "gridfs" in path]
    # The experiment's database describes the same constants by documents of its own.
    for name, options in ((f"psana2:{EXPERIMENT}/{SHORT}", {}), (SHORT, {"experiment": EXPERIMENT})):
        twin = load(repository, name, **options)
        assert (twin.seq, twin.versions, len(twin.unchanged)) == (1, (), 2)
    repository.withdraw([f"{panel}/{STAMP}/v1" for panel in PANELS], "wrong")
    assert load(repository).versions == ()


def test_only_new_documents_are_read(repository: Repository, database: Database, service: Served) -> None:
    database.deploy(array_of("pedestals"))
    load(repository)
    database.deploy(array_of("pedestals", [4, 5, 6]), time_sec=START + 100, run=8)
    service.asked.clear()
    added = load(repository)
    assert (added.seq, len(added.versions), len(added.unchanged)) == (2, 3, 1)
    assert len([path for path in service.asked if "gridfs" in path]) == 1
    assert (
        repository.get(PANELS[0], "pedestals", LATER)[:, 0].tobytes() == plausible_of("pedestals", SHAPE, 4).tobytes()
    )


def test_the_document_inserted_last_is_valid(repository: Repository, database: Database, service: Served) -> None:
    database.deploy(array_of("pedestals", [1, 2, 3]))
    database.deploy(array_of("pedestals", [4, 5, 6]))
    database.documents[f"cdb_{SHORT}"][SHORT].reverse()
    load(repository)
    assert repository.get("_".join(PANELS), "pedestals", AT).tobytes() == array_of("pedestals", [4, 5, 6]).tobytes()


def test_a_document_with_the_content_of_an_earlier_one(
    repository: Repository, database: Database, service: Served
) -> None:
    database.deploy(array_of("pedestals", [1, 2, 3]))
    database.deploy(array_of("pedestals", [4, 5, 6]))
    load(repository)
    database.deploy(array_of("pedestals", [1, 2, 3]))
    assert len(load(repository).versions) == 3
    assert repository.get("_".join(PANELS), "pedestals", AT).tobytes() == array_of("pedestals", [1, 2, 3]).tobytes()


def test_documents_that_were_imported_before_an_earlier_one_are_added_again(
    repository: Repository, database: Database, service: Served
) -> None:
    """Of two experiments that have a document for one start, the second one was inserted last, and imported first."""
    database.deploy(array_of("pedestals", [1, 2, 3]))
    database.deploy(array_of("pedestals", [4, 5, 6]), experiment="mfxx12345")
    load(repository, experiment="mfxx12345")
    added = load(repository)
    assert len(added.versions) == 6
    assert repository.get("_".join(PANELS), "pedestals", AT).tobytes() == array_of("pedestals", [4, 5, 6]).tobytes()
    assert load(repository).versions == ()


def test_absent_segments_make_no_versions(repository: Repository, database: Database, service: Served) -> None:
    for name in ("pedestals", "pixel_rms", "pixel_status"):
        database.deploy(array_of(name, GAP), ctype=name)
    clean = array_of("pixel_status", GAP)
    clean[:, 3] = 0
    database.deploy(clean, ctype="status_extra")
    added = load(repository)
    assert (added.skipped, len(added.versions)) == ((), 12)
    for place, panel in ((0, PANELS[0]), (1, PANELS[1]), (3, PANELS[2])):
        for name in ("pedestals", "pixel_rms", "pixel_status"):
            got = repository.get(panel, name, AT)[:, 0]
            assert got.tobytes() == array_of(name, GAP)[:, place].tobytes()
    assert not repository.get(PANELS[2], "status_extra", AT).any()


def test_panels_without_constants_are_skipped(repository: Repository, database: Database, service: Served) -> None:
    database.deploy(array_of("pedestals", [1, None, 3]))
    database.deploy(array_of("pedestals", [1, None, 3, None]), time_sec=START + 5)
    bad = array_of("pixel_rms")
    bad[1, 2, 3, 4] = np.nan
    database.deploy(bad, ctype="pixel_rms")
    database.deploy(np.zeros((3, 3, 16, 32), "<u8"), ctype="pixel_status")
    added = load(repository)
    found = {name.rpartition("/")[2].partition(" ")[2]: reason for name, reason in added.skipped}
    assert found == {
        f"pedestals of {PANELS[1]}": "it is zero everywhere, as psana2 fills what it does not have; "
        "earlier constants stay valid",
        "pedestals": "it names 3 panels, and 2 of the 4 places of its array have constants, so that it is not clear "
        "which place is which panel's",
        f"pixel_rms of {PANELS[2]}": "its array: 1 of 1536 values of pixel_rms is not finite in float32, "
        "the first at gain 1, row 3, column 4",
    }
    assert len(added.versions) == 2 + 2 + 3
    assert not repository.get(PANELS[0], "pixel_status", AT).any()


def test_other_dtypes_are_converted_and_said(repository: Repository, database: Database, service: Served) -> None:
    exact = array_of("pedestals", dtype="<f8") + 1e-9
    database.deploy(exact)
    database.deploy(array_of("pixel_status", dtype="<u2"), ctype="pixel_status")
    database.deploy(array_of("pixel_mask").astype(bool), ctype="pixel_mask")
    added = load(repository)
    assert added.skipped == ()
    assert other_notes(added) == ("1 document has values of float64, which were rounded to float32",)
    assert {(a.type, a.converted_from) for v in added.versions for a in v.arrays} == {
        ("pedestals", "<f8"),
        ("pixel_status", "<u2"),
        ("pixel_mask", "|b1"),
    }
    assert repository.get("_".join(PANELS), "pedestals", AT).tobytes() == exact.astype("<f4").tobytes()
    for name in ("pixel_status", "pixel_mask"):
        assert repository.get("_".join(PANELS), name, AT).tobytes() == array_of(name).tobytes()


def test_types_can_be_chosen(repository: Repository, database: Database, service: Served) -> None:
    for name in ("pedestals", "pixel_rms"):
        database.deploy(array_of(name), ctype=name)
    database.deploy(array_of("pedestals"), ctype="geometry")
    added = load(repository, types="pixel_rms")
    assert {name for version in added.versions for name in version.content} == {"pixel_rms"}
    assert added.skipped == ()
    assert service.asked[2].endswith("?query_string=%7B%22ctype%22%3A%22pixel_rms%22%7D")
    with pytest.raises(BadValue, match="psana2 has no type pedestals_hg0"):
        load(repository, types=["pedestals_hg0"])
    with pytest.raises(BadValue, match="not of a panel"):
        load(repository, types=["geometry"])


def test_what_is_skipped_and_why(repository: Repository, database: Database, service: Served) -> None:
    name, good = f"cdb_{SHORT}", array_of("pedestals")
    expected: list[tuple[dict[str, Any] | Any, str]] = [
        ({"ctype": "geometry"}, "it says where the panels of a detector are, and is not of a panel"),
        ({"ctype": "common_mode"}, "it is a parameter of a detector's common mode correction, and is not of a panel"),
        ({"ctype": "pixel_bkgd"}, "pixel_bkgd is not a calibration type that psana2 and jfstore have"),
        ({"detector": "jungfrau"}, "its detector is 'jungfrau', so that psana2 does not find it"),
        ({"time_sec": 1_000_000_000}, "time_sec is 1000000000, which stands for a time that is not known"),
        ({"longname": "epix10ka_1-2-3"}, "longname is 'epix10ka_1-2-3', which does not name the panels of a Jungfrau"),
        ({"longname": long_name(PANELS[:1] * 2)}, "has a panel twice"),
        ({"data_type": "any"}, "its data is a pickle, which is never read"),
        ({"data_shape": "(3, 3, 512, 1024)"}, "shape (3, 3, 512, 1024), expected (3, panels, 16, 32)"),
        ({"_id": "x/../../y"}, "_id is 'x/../../y', not an id of 24 hexadecimal digits"),
        ({"id_data": "..%2f..%2f"}, "id_data is '..%2f..%2f', not an id of 24 hexadecimal digits"),
        ({"time_sec": 1_762_075_800}, "comes twice in America/Los_Angeles"),
    ]
    for fields, _ in expected:
        database.insert(name, SHORT, good, **fields)
    database.documents[name][SHORT] += [None, 5, "x", [], {}]
    added = load(repository)
    assert added.versions == ()
    found = reasons(added)
    for _, reason in expected:
        assert [one for one in found if reason in one], reason
    assert all(one.startswith(f"{SOURCE}/") for one, _ in added.skipped)
    assert not [path for path in service.asked if "gridfs" in path]


def test_nothing_is_unpickled(repository: Repository, database: Database, service: Served, tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "unpickled",)

    raw = pickle.dumps(Touch())
    database.insert(f"cdb_{SHORT}", SHORT, raw, data_type="any")
    like = {"data_type": "ndarray", "data_dtype": "object", "data_shape": "(3, 3, 16, 32)"}
    database.insert(f"cdb_{SHORT}", SHORT, raw, **like)
    database.insert(f"cdb_{SHORT}", SHORT, raw, **{**like, "data_dtype": "float32"})
    pickled, objects, lie = reasons(load(repository))
    assert pickled == "its data is a pickle, which is never read"
    assert objects == "data_dtype is 'object', not a dtype of constants"
    assert lie.endswith(f"it has {len(raw)} bytes, expected 18432")
    assert not (tmp_path / "unpickled").exists()


def test_last_runs_are_noted(repository: Repository, database: Database, service: Served) -> None:
    _, document = database.deploy(array_of("pedestals"), run_end=12)
    added = load(repository)
    note = "1 document has a last run, after which the constants stay valid here; the first is "
    assert other_notes(added) == (f"{note}{document['_id']}, pedestals of runs 7-12",)
    assert added.versions[0].about["runs"] == "7-12"
    assert (added.versions[0].origin or {})["run_end"] == 12


def test_an_order_of_runs_that_is_not_that_of_times_is_noted(
    repository: Repository, database: Database, service: Served
) -> None:
    first, _ = database.deploy(array_of("pedestals"), run=5)
    second, _ = database.deploy(array_of("pedestals", [4, 5, 6]), run=9, time_sec=START - 100)
    assert other_notes(load(repository)) == ()
    (note,) = other_notes(load(repository, experiment=EXPERIMENT))
    assert note.startswith(f"pedestals: document {second['_id']} is of a later run than {first['_id']} (9, 5)")


def test_names_of_detectors(repository: Repository, database: Database, service: Served) -> None:
    database.name(long_name(), SHORT)
    database.name(long_name(PANELS[:2]), "jungfrau_000004")
    database.deploy(array_of("pedestals"))
    for name in (long_name(), f"psana2:{'_'.join(PANELS)}", f"psana2:{EXPERIMENT}/{long_name()}"):
        added = load(repository, name, dry_run=True)
        assert len(added.versions) == 3
    # psana2 would take any detector whose long name contains these panels.
    with pytest.raises(NotFound, match="has no short name, in cdb_detnames"):
        load(repository, PANELS[1])
    database.name(long_name(), "jungfrau_000009")
    with pytest.raises(NotFound, match="has several short names, jungfrau_000003, jungfrau_000009"):
        load(repository, long_name())
    with pytest.raises(NotFound, match="has no database called cdb_jungfrau_000002; nearest: cdb_jungfrau_000003"):
        load(repository, "jungfrau_000002")
    with pytest.raises(NotFound, match="has no detector in cdb_mfxl1033223 called jungfrau_000002"):
        load(repository, "jungfrau_000002", experiment=EXPERIMENT)
    with pytest.raises(BadValue, match="names the experiment mfxl1033223, and not mfxx12345"):
        load(repository, f"{EXPERIMENT}/{SHORT}", experiment="mfxx12345")
    for name in ("", "a b", "../x", "x" * 200, "psana2:", "a/b/c", "/x", "é", ".."):
        with pytest.raises(BadValue):
            load(repository, name)


def test_panels_of_documents_without_a_long_name(repository: Repository, database: Database, service: Served) -> None:
    database.deploy(array_of("pedestals"), longname="")
    added = load(repository)
    assert reasons(added) == [f"neither it nor the names of detectors say which panels {SHORT} has"]
    database.name(long_name(), SHORT)
    added = load(repository)
    assert [version.panel for version in added.versions] == list(PANELS)


def test_a_dry_run_stores_nothing(repository: Repository, database: Database, service: Served) -> None:
    database.deploy(array_of("pedestals"))
    added = load(repository, dry_run=True)
    assert (added.seq, len(added.versions), added.dry_run) == (0, 3, True)
    assert added.changes
    assert load(repository, dry_run=True).versions == added.versions


def test_the_guard_judges(repository: Repository, database: Database, service: Served) -> None:
    database.deploy(array_of("pixel_rms"), ctype="pedestals")
    with pytest.raises(Refused, match="the noise"):
        load(repository)
    assert repository.log.table().seq == 0
    assert len(load(repository, accept=["kind"]).versions) == 3


def test_too_many_documents_are_listed_by_type(
    repository: Repository, database: Database, service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pedestals", "pixel_rms"):
        database.deploy(array_of(name), ctype=name)
    size = len(json.dumps(database.documents[f"cdb_{SHORT}"][SHORT]))
    monkeypatch.setattr(psana2_service, "JSON_LIMIT", size - 1)
    added = load(repository)
    assert len(added.versions) == 6
    assert other_notes(added) == (
        f"cdb_{SHORT} has too many documents for one list: those of other types are not reported",
    )
    monkeypatch.setattr(psana2_service, "JSON_LIMIT", size // 2 - 100)
    with pytest.raises(Failed, match=r"more than the .* that it may have"):
        load(repository)


def test_a_url_that_is_not_protected(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.WebServer, "get", lambda *_, **__: b"x")
    with pytest.raises(Failed, match="other bytes in place of JSON"):
        load(repository, url="http://example.org/calib_ws/")
    for url in ("ftp://example.org/", "https://a:b@example.org/", "nowhere"):
        with pytest.raises(BadValue):
            load(repository, url=url)


# -- hostile services --------------------------------------------------------------------------------


def deployed(database: Database) -> None:
    for name in ("pedestals", "pixel_rms"):
        database.deploy(array_of(name), ctype=name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make = web.WebServer.__init__

    def init(self: web.WebServer, base: str, **options: Any) -> None:
        make(self, base, **options | {"silence": 0.2, "patience": 0.8, "pause": 0.01})

    monkeypatch.setattr(web.WebServer, "__init__", init)


HOSTILE: dict[str, tuple[Any, str]] = {
    "hangs": (lambda handler: handler.hang(), "does not answer in time"),
    "no end": (lambda handler: handler.send_slowly(b"HTTP/1.0 200 OK\r\n\r\n", b"[" * 99_999, 0), "more than the"),
    "503": (lambda handler: handler.give(b"<html>busy", 503), "503 Service Unavailable, 4 times"),
    "login": (
        lambda handler: handler.give(b"<html>", 302, Location="https://login.example.org/"),
        "redirects to another",
    ),
    "web page": (lambda handler: handler.give(b"<html><body>Welcome</body></html>"), "a web page in place of JSON"),
    "other bytes": (lambda handler: handler.give(b"\xff\xfe{}"), "other bytes in place of JSON"),
    "nothing": (lambda handler: handler.give(b""), "other bytes in place of JSON"),
    "deep JSON": (lambda handler: handler.give(b"[" * 500_000 + b"]" * 500_000), "other bytes in place of JSON"),
    "an object": (lambda handler: handler.give(b"{}"), "expected a list"),
    "null": (lambda handler: handler.give(b"null"), "expected a list"),
    "an error as JSON": (lambda handler: handler.give(b'{"success": false}'), "expected a list"),
    "huge length": (lambda handler: handler.give(b"[]", Content_Length="99999999999"), "more than the"),
    "500": (lambda handler: handler.give(b"oops", 500), "500 Internal Server Error, 4 times"),
    "403": (lambda handler: handler.give(b"no", 403), "wants a login"),
}


WRONG_LENGTH = {name for name, (_, text) in HOSTILE.items() if "JSON" in text or "list" in text or "more" in text}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("place", ["databases", "documents", "arrays"])
@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_services(how: str, place: str, repository: Repository, database: Database, service: Served) -> None:
    deployed(database)
    answer, text = HOSTILE[how]

    def spoil(handler: Handler) -> None:
        asked = "arrays" if "gridfs" in handler.path else "documents" if "query" in handler.path else "databases"
        (answer if asked == place else database.answer)(handler)

    service.answer = spoil
    if place == "arrays" and how in WRONG_LENGTH:
        added = load(repository)
        assert added.versions == ()
        assert all(re.search("bytes, expected 18432|more than the 18432", reason) for reason in reasons(added))
        assert len(added.skipped) == 2
    else:
        with pytest.raises(Failed, match=text):
            load(repository)
    assert jfstore.open(repository.storage.location).log.table().seq == 0


def test_wrong_lengths_of_arrays(repository: Repository, database: Database, service: Served) -> None:
    deployed(database)
    data = database.data[f"cdb_{SHORT}"]
    last = list(data)[-1]
    whole = data[last]
    for raw in (whole[:-4], whole + b"x", b"", whole * 2):
        data[last] = raw
        added = load(repository, dry_run=True)
        assert len(added.versions) == 3
        assert [reason.rpartition(": ")[2] for reason in reasons(added)] == [f"it has {len(raw)} bytes, expected 18432"]
    del data[last]
    added = load(repository)
    assert len(added.versions) == 3
    assert [one for one in reasons(added) if "the server has nothing there (404)" in one]
    data[last] = whole
    assert len(load(repository).versions) == 3


def test_a_document_that_lies_about_its_size_allocates_nothing(
    repository: Repository, database: Database, service: Served
) -> None:
    fields = {"data_shape": "(3, 64, 16, 32)", "data_size": str(3 * 64 * 512), "data_dtype": "float64"}
    database.insert(f"cdb_{SHORT}", SHORT, array_of("pedestals"), **fields)
    (reason,) = reasons(load(repository))
    assert reason.endswith("it has 18432 bytes, expected 786432")


def test_two_documents_with_one_id(repository: Repository, database: Database, service: Served) -> None:
    _, first = database.deploy(array_of("pedestals"))
    database.deploy(array_of("pedestals", [4, 5, 6]))
    database.documents[f"cdb_{SHORT}"][SHORT][1]["_id"] = first["_id"]
    added = load(repository)
    assert reasons(added) == ["another document has the same id"]
    assert repository.get("_".join(PANELS), "pedestals", AT).tobytes() == array_of("pedestals").tobytes()


@pytest.mark.parametrize("seed", range(60))
def test_mutated_documents(seed: int, repository: Repository, database: Database, service: Served) -> None:
    """Whatever is in a document: an error of jfstore, or a reason, or the constants."""
    random = np.random.default_rng(seed)
    deployed(database)
    values: list[Any] = [
        None,
        0,
        -1,
        1.5,
        10**40,
        True,
        "",
        "x" * 5000,
        "../..",
        [],
        {},
        [[[]]],
        {"$gt": ""},
        "\ud800",
        "\0",
        "end",
    ]
    for document in database.documents[f"cdb_{SHORT}"][SHORT]:
        for key in random.choice(list(document), 3, replace=False):
            document[str(key)] = values[int(random.integers(len(values)))]
    try:
        added = load(repository)
    except JfstoreError:
        return
    assert len(added.versions) + len(added.skipped) >= 2
    expected = {array_of(name)[:, place].tobytes() for name in ("pedestals", "pixel_rms") for place in range(3)}
    for version in added.versions:
        assert version.start in (START * 10**9, 10**9)
        (name,) = version.content
        assert repository.get(version.name, name).tobytes() in expected


def test_insertion_times_come_from_ids(database: Database) -> None:
    assert int(database.new_id()[:8], 16) == INSERTED
