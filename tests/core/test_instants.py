"""Times: text to nanoseconds UTC and back; a time that is not clear is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jfstore.core.instants import (
    BEGINNING,
    BEGINNING_STAMP,
    Instant,
    check_zone,
    exact_stamp,
    find_zone,
    iso,
    parse_instant,
    parse_iso,
    parse_time,
    stamp_at,
)
from jfstore.errors import BadValue

LA = ZoneInfo("America/Los_Angeles")
ZONES = [LA, ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("Australia/Lord_Howe")]
S = 10**9
MARCH = 1520323200 * S
LAST = 9214646400 * S
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

seconds = st.integers(0, LAST // S - 1)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("20180306000000", MARCH),
        ("20180706000000", 1530860400 * S),
        ("00000000000000", -(2**63)),
        ("2018-03-06T08:00:00Z", MARCH),
        ("2018-03-06t08:00:00z", MARCH),
        ("2018-03-06 08:00Z", MARCH),
        ("2018-03-06T00:00:00-08:00", MARCH),
        ("2018-03-06T13:30:00+0530", MARCH),
        ("2018-03-06T08:00:00.000000001Z", MARCH + 1),
        ("2018-03-06T08:00:00.5Z", MARCH + S // 2),
        ("@1520323200", MARCH),
        ("@1520323200.5", MARCH + S // 2),
        ("@1520323200.000000001", MARCH + 1),
        ("@1520323200.999999999", MARCH + S - 1),
        ("@0", 0),
        ("@7", 7 * S),
    ],
)
def test_each_form_names_its_instant_exactly(text: str, ns: int) -> None:
    assert parse_time(text, LA) == ns


def test_a_stamp_is_read_in_the_zone_of_the_repository() -> None:
    assert parse_time("20180306000000", ZoneInfo("UTC")) == MARCH - 8 * 3600 * S


def test_now_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jfstore.core.instants.time.time_ns", lambda: 1520323200_123456789)
    assert parse_time("now", LA) == 1520323200_123456789


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "2018",
        "12345678",
        "201803060000",
        "2018030600000",
        "201803060000000",
        "152032320",
        "1520323200",
        "01520323200",
        "152032320012",
        "-1",
        "-1520323200",
        "1.5",
        "1e9",
        "inf",
        "nan",
        "@",
        "@-1",
        "@1520323200.",
        "@.5",
        "@1520323200.0000000001",
        "@1 ",
        "@@1",
        "@1e9",
        "20180306000000\n",
        "1520323200\n",
        "@1520323200\n",
        "2018-03-06T08:00:00Z\n",
        " 20180306000000",
        "\uff12\uff10\uff11\uff18\uff10\uff13\uff10\uff16\uff10\uff10\uff10\uff10\uff10\uff10",
        "\uff11\uff15\uff12\uff10\uff13\uff12\uff13\uff12\uff10\uff10",
        "@\uff11\uff15\uff12\uff10\uff13\uff12\uff13\uff12\uff10\uff10",
        "\u0968\u0966\u0967\u096e\u0966\u0969\u0966\u096c\u0966\u0966\u0966\u0966\u0966\u0966",
        "2018_03060000000",
        "2018-03-06",
        "2018-03-06T08:00:00",
        "2018-03-06T08:00:00.5",
        "2018-03-06T08:00:00 Z",
        "2018-03-06T08Z",
        "06/03/2018",
        "yesterday",
        "NOW",
        "now\n",
        "the beginning",
        "0000000000000",
    ],
)
def test_every_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse_time(text, LA)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2018030600000", "it has 13 digits, a stamp has 14"),
        ("20180306", "did you mean 20180306000000"),
        ("2018-03-06", "did you mean 20180306000000"),
        ("2018-03-06T08:00:00", "has no zone"),
        ("2018030612", "Unix seconds are written @2018030612; YYYYMMDDHH is 20180306120000"),
        ("152032320", "Unix seconds are written @152032320"),
        ("yesterday", "expected a stamp YYYYMMDDHHMMSS"),
    ],
)
def test_a_common_mistake_gets_a_hint(text: str, hint: str) -> None:
    with pytest.raises(BadValue, match=hint):
        parse_time(text, LA)


@pytest.mark.parametrize(
    "text",
    [
        "20180229000000",
        "20181301000000",
        "20180306240000",
        "20180306006000",
        "20180306000060",
        "20180300000000",
        "20180006000000",
        "2018-02-29T00:00:00Z",
        "2018-03-06T24:00:01Z",
        "2018-03-06T08:00:60Z",
        "2018-03-06T08:00:00+24:00",
        "2018-03-06T08:00:00-99:00",
        "2018-03-06T08:00:00-07:60",
        "2018-03-06T08:00:00+00:99",
    ],
)
def test_an_impossible_date_or_offset_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse_time(text, LA)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("19700101000000", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("22611231235959", LAST - S),
        ("2261-12-31T23:59:59.999999999Z", LAST - 1),
        ("@9214646399.999999999", LAST - 1),
    ],
)
def test_the_years_are_1970_to_2261(text: str, ns: int) -> None:
    assert parse_time(text, ZoneInfo("UTC")) == ns


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize(
    "text",
    [
        "19690101000000",
        "22620102000000",
        "00010101000000",
        "00000101000000",
        "00000000000001",
        "99991231235959",
        "1969-12-31T23:59:59.999999999Z",
        "2262-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "@9214646400",
        "@99999999999",
    ],
)
def test_a_time_outside_these_years_is_refused(text: str, zone: ZoneInfo) -> None:
    with pytest.raises(BadValue):
        parse_time(text, zone)


@pytest.mark.parametrize("stamp", ["20180311020000", "20180311023000", "20180311025959"])
def test_an_hour_that_daylight_saving_skips_is_refused(stamp: str) -> None:
    with pytest.raises(BadValue, match="does not exist"):
        parse_time(stamp, LA)


@pytest.mark.parametrize(("stamp", "ns"), [("20180311015959", 1520762399 * S), ("20180311030000", 1520762400 * S)])
def test_the_seconds_around_a_skipped_hour_are_clear(stamp: str, ns: int) -> None:
    assert parse_time(stamp, LA) == ns


@pytest.mark.parametrize(("stamp", "ns"), [("20181104010000", 1541318400 * S), ("20181104015959", 1541321999 * S)])
def test_an_hour_that_comes_twice_is_the_first_with_a_note(stamp: str, ns: int) -> None:
    instant = parse_instant(stamp, LA)
    assert (instant.ns, instant.stamp) == (ns, stamp)
    assert instant.note == f"stamp {stamp} comes twice in America/Los_Angeles; taken as the first, {iso(ns)}"


@pytest.mark.parametrize(("stamp", "ns"), [("20181104005959", 1541318399 * S), ("20181104020000", 1541325600 * S)])
def test_the_seconds_around_an_hour_that_comes_twice_need_no_note(stamp: str, ns: int) -> None:
    assert parse_instant(stamp, LA).ns == ns
    assert parse_instant(stamp, LA).note is None


def test_the_second_pass_of_an_hour_has_no_stamp() -> None:
    with pytest.raises(BadValue, match="no stamp names"):
        exact_stamp(1541322000 * S, LA)
    assert exact_stamp(1541318400 * S, LA) == "20181104010000"


@pytest.mark.parametrize("moment", [datetime(2018, 3, 6, 8, tzinfo=UTC), datetime(2018, 3, 6, tzinfo=LA)])
def test_an_aware_datetime_is_a_time(moment: datetime) -> None:
    assert parse_instant(moment, ZoneInfo("Asia/Tokyo")).ns == MARCH


def test_a_datetime_keeps_its_microseconds() -> None:
    assert parse_instant(datetime(2018, 3, 6, 8, microsecond=999_999, tzinfo=UTC), LA).ns == MARCH + 999_999_000


def test_a_datetime_keeps_the_fraction_of_its_offset() -> None:
    zone = timezone(timedelta(microseconds=250_000))
    assert parse_instant(datetime(2018, 3, 6, 8, tzinfo=zone), LA).ns == MARCH - S // 4


@pytest.mark.parametrize("fold", [0, 1])
def test_a_datetime_says_itself_which_of_two_hours_it_means(fold: int) -> None:
    moment = datetime(2018, 11, 4, 1, tzinfo=LA, fold=fold)
    assert parse_instant(moment, LA).ns == (1541318400 + 3600 * fold) * S


class NoOffset(tzinfo):
    def __repr__(self) -> str:
        return "NoOffset()"  # the id of a test, the same in every process

    def utcoffset(self, when: datetime | None) -> None:
        return None

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    "when",
    [
        datetime(2018, 3, 6),
        datetime(2018, 3, 6, tzinfo=NoOffset()),
        date(2018, 3, 6),
        1520323200,
        1520323200.0,
        True,
        None,
        b"20180306000000",
        Decimal(1520323200),
    ],
    ids=repr,
)
def test_a_naive_datetime_or_a_number_is_no_time(when: object) -> None:
    with pytest.raises(BadValue):
        parse_instant(when, LA)  # type: ignore[arg-type]


@pytest.mark.parametrize("year", [1, 1969, 2262, 9999])
def test_a_datetime_outside_the_years_is_refused(year: int) -> None:
    with pytest.raises(BadValue, match="1970 to 2261"):
        parse_instant(datetime(year, 6, 1, tzinfo=UTC), LA)


def test_text_goes_the_way_of_parse_time() -> None:
    assert parse_instant("20180306000000", LA).ns == MARCH


def test_the_beginning_prints_and_reads_as_its_stamp() -> None:
    assert (BEGINNING, BEGINNING_STAMP) == (-(2**63), "00000000000000")
    for zone in ZONES:
        assert stamp_at(BEGINNING, zone) == exact_stamp(BEGINNING, zone) == BEGINNING_STAMP
    assert iso(BEGINNING) == "the beginning"


def test_a_stamp_is_floored_to_the_second() -> None:
    assert stamp_at(MARCH + S - 1, LA) == "20180306000000"


def test_a_start_with_a_fraction_has_no_stamp() -> None:
    with pytest.raises(BadValue, match="whole seconds"):
        exact_stamp(MARCH + 1, LA)


@pytest.mark.parametrize("name", ["America/Los_Angeles", "UTC", "Europe/Zurich"])
def test_a_zone_has_its_name(name: str) -> None:
    assert find_zone(name).key == name


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "America", "America/", "a\0b"])
def test_no_other_zone_exists(name: str) -> None:
    with pytest.raises(BadValue, match="time zone"):
        find_zone(name)


@settings(deadline=None, database=None)
@given(seconds, st.sampled_from(ZONES))
def test_every_second_has_the_stamp_that_names_it_or_none(second: int, zone: ZoneInfo) -> None:
    assume(datetime.fromtimestamp(second, UTC).astimezone(zone).year <= 2261)
    stamp = stamp_at(second * S, zone)
    named = parse_time(stamp, zone)
    if named == second * S:
        assert exact_stamp(second * S, zone) == stamp
    else:
        assert named < second * S  # the second pass of an hour that comes twice
        with pytest.raises(BadValue):
            exact_stamp(second * S, zone)


@settings(deadline=None, database=None)
@given(st.datetimes(datetime(1970, 1, 2), datetime(2261, 12, 30)), st.sampled_from(ZONES))
def test_every_stamp_is_read_as_the_zone_says(wall: datetime, zone: ZoneInfo) -> None:
    wall = wall.replace(microsecond=0)
    passes = [wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    there = [moment for moment in passes if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall]
    stamp = wall.strftime("%Y%m%d%H%M%S")
    if not there:
        with pytest.raises(BadValue):
            parse_instant(stamp, zone)
        return
    instant = parse_instant(stamp, zone)
    assert instant.ns == parse_time(stamp, zone) == int(there[0].timestamp()) * S
    assert bool(instant.note) == (there[0].timestamp() != there[-1].timestamp())


@settings(deadline=None, database=None)
@given(st.integers(0, LAST - 1))
def test_every_nanosecond_is_read_back_from_its_iso_text(ns: int) -> None:
    assert parse_iso(iso(ns)) == ns
    assert parse_time(f"@{ns // S}.{ns % S:09d}", LA) == ns


@settings(deadline=None, database=None)
@given(st.datetimes(datetime(1970, 1, 3), datetime(2261, 12, 29), timezones=st.sampled_from([*ZONES, UTC])))
def test_every_aware_datetime_is_its_instant(moment: datetime) -> None:
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert parse_instant(moment, LA).ns == expected


def test_instants_compare_by_their_nanoseconds_and_print_as_stamps() -> None:
    assert Instant(1, "a") == Instant(1, "b") < Instant(2, "a")
    assert str(Instant(MARCH, "20180306000000")) == "20180306000000"
    assert parse_instant(Instant(MARCH, "in another zone"), LA).stamp == "20180306000000"


def test_the_nanoseconds_of_a_pandas_timestamp_count() -> None:
    pandas = pytest.importorskip("pandas")
    assert parse_instant(pandas.Timestamp("2018-03-06T08:00:00.123456789Z"), LA).ns == MARCH + 123456789


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "right/UTC", "posix/UTC", "nowhere", "../UTC"])
def test_a_zone_that_depends_on_the_machine_is_refused(name: str) -> None:
    with pytest.raises(BadValue, match="America/Los_Angeles"):
        check_zone(name)


@pytest.mark.parametrize("name", ["America/Los_Angeles", "UTC", "Europe/Berlin"])
def test_a_zone_of_the_database_is_taken(name: str) -> None:
    assert check_zone(name) == name
