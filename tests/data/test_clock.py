"""Clock changes, leap days, offsets and ties, against the standard library's calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.tables import Contract, EventColumns, HistoryColumns, read_tables
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.snapshot import snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000
ZONES = ["Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]
FEATURES = (
    EventFeature("count", "visit", window=1),
    EventFeature("recency", "visit"),
    EventFeature("active_days", "visit"),
    AttributeFeature("lead_age", family="engagement"),
)


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


def local_contract(zone):
    return Contract(lead_id="id", created_at="since", events=EventColumns(), timezone=zone)


def row(contract, since, events, as_of):
    """One lead's features, and what was said about it."""
    log = [{"id": 1, "occurred_at": time, "event_type": "visit"} for time in events]
    tables = read_tables(contract, [{"id": 1, "since": since}], log, training=False)
    return snapshot(tables, FEATURES, micros(as_of)).matrix[0].tolist(), [f.what for f in tables.findings]


# ---------------------------------------------------------------------------------------------- clock changes
def change_between(zone, early, late):
    """Find the moment at which the zone's clocks change."""
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(microseconds=1):
        middle = early + (late - early) / 2
        early, late = (middle, late) if middle.astimezone(zone).utcoffset() == before else (early, middle)
    return late


@settings(max_examples=80, deadline=None)
@given(
    st.datetimes(datetime(2008, 1, 1), datetime(2036, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    st.sampled_from(ZONES),
    st.booleans(),
)
def test_local_times_are_those_of_the_zone_s_calendar(wall, name, near):
    zone = ZoneInfo(name)
    if near:  # go to where clocks may change: the small hours of a Sunday in March or October
        wall = wall.replace(month=3 if wall.month < 7 else 10, day=25 + wall.day % 7, hour=wall.hour % 4)
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall
    expected = (
        first.astimezone(UTC)
        if exists
        else change_between(zone, second.astimezone(UTC), first.astimezone(UTC))
    )
    contract = Contract(lead_id="id", created_at="since", timezone=name)
    for given_as in (wall.isoformat(), wall, np.datetime64(wall, "us")):
        frame = pd.DataFrame({"id": [1], "since": [given_as]})
        tables = read_tables(contract, frame, training=False)
        assert tables.created_at.tolist() == [micros(expected)]
        assert bool(tables.findings) == (first.utcoffset() != second.utcoffset())


@pytest.mark.parametrize(("sunday", "hours"), [("2024-03-31", 23), ("2024-10-27", 25), ("2024-06-30", 24)])
def test_a_day_is_24_hours_also_where_the_clocks_change(sunday, hours):
    noon = datetime.fromisoformat(f"{sunday}T12:00:00").replace(tzinfo=ZoneInfo("Europe/Amsterdam"))
    before = (noon - timedelta(days=1)).replace(tzinfo=None).isoformat()
    (count, recency, *_), said = row(local_contract("Europe/Amsterdam"), "2024-01-01", [before], noon)
    assert (count, recency, said) == (float(hours <= 24), hours / 24, [])


def test_the_hour_that_comes_twice_is_the_first_and_the_one_that_never_comes_is_the_change():
    contract = local_contract("Europe/Amsterdam")
    (*_, age), said = row(contract, "2024-10-27T02:30:00", [], datetime(2024, 10, 27, 2, 30, tzinfo=UTC))
    assert age == 2 / 24
    assert len(said) == 1
    (*_, age), said = row(contract, "2024-03-31T02:30:00", [], datetime(2024, 3, 31, 2, tzinfo=UTC))
    assert age == 1 / 24
    assert len(said) == 1
    twice = ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"]
    (count, recency, days, _), said = row(
        contract, "2024-01-01", twice, datetime(2024, 10, 27, 2, tzinfo=UTC)
    )
    assert (count, recency, days, said) == (2, 0.5 / 24, 1, [])


# -------------------------------------------------------------------------------------------------- leap days
UTCS = Contract(lead_id="id", created_at="since", events=EventColumns())


def test_leap_days_are_days_and_others_are_none():
    events = ["2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z", "2100-02-29T00:00:00Z", "2024-02-30T00:00:00Z"]
    found, said = row(UTCS, "2024-02-28T00:00:00Z", events, datetime(2024, 3, 1, tzinfo=UTC))
    assert found == [1.0, 0.5, 1.0, 2.0]
    assert said == ["'occurred_at' is no time in ISO 8601"]
    (*_, age), _ = row(UTCS, "2024-01-01T00:00:00Z", [], datetime(2025, 1, 1, tzinfo=UTC))
    assert age == 366
    (*_, age), _ = row(UTCS, "2023-03-01T00:00:00Z", [], datetime(2024, 3, 1, tzinfo=UTC))
    assert age == 366


@given(st.lists(st.datetimes(datetime(2023, 12, 1), datetime(2024, 4, 1)), min_size=1, max_size=8))
def test_active_days_are_dates_of_the_calendar_in_utc(moments):
    events = [moment.replace(tzinfo=UTC).isoformat() for moment in moments]
    (_, _, days, _), _ = row(UTCS, "2023-01-01T00:00:00Z", events, datetime(2024, 5, 1, tzinfo=UTC))
    assert days == len({moment.date() for moment in moments})


# ---------------------------------------------------------------------------------------------------- offsets
OFFSETS = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timedelta(minutes=15 * quarters))


def written(moment, offset, way):
    sign, (hours, rest) = "-" if offset < timedelta(0) else "+", divmod(abs(offset), timedelta(hours=1))
    wall = (moment + offset).replace(tzinfo=None).isoformat()
    return f"{wall}{sign}{hours:02}{':' if way else ''}{rest // timedelta(minutes=1):02}"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3_000_000), OFFSETS, st.booleans()), min_size=1, max_size=8),
    st.sampled_from(["records", "pandas", "polars"]),
)
def test_a_moment_is_the_same_with_any_offset_side_by_side(rows, holder):
    start = datetime(2024, 2, 1, tzinfo=UTC)
    moments = [start + timedelta(seconds=seconds) for seconds, *_ in rows]
    log = pd.DataFrame({"id": 1, "event_type": "visit", "occurred_at": [
        written(moment, offset, way) for moment, (_, offset, way) in zip(moments, rows, strict=True)
    ]})  # fmt: skip
    given_as = {"records": log.to_dict("records"), "pandas": log, "polars": pl.DataFrame(log.to_dict("list"))}
    leads = [{"id": 1, "since": "2024-01-01T00:00:00Z"}]
    tables = read_tables(UTCS, leads, given_as[holder], training=False)
    assert tables.events.at.tolist() == [micros(moment) for moment in moments]


def test_frames_with_zones_of_their_own_are_the_same_moments():
    at = pd.Series(pd.to_datetime(["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z"]))
    for zone in (*ZONES, "UTC", "Etc/GMT+12"):
        log = pd.DataFrame({"id": 1, "event_type": "visit", "occurred_at": at.dt.tz_convert(zone)})
        tables = read_tables(UTCS, [{"id": 1, "since": at[0].to_pydatetime()}], log, training=False)
        assert tables.events.at.tolist() == [int(t.timestamp()) * 10**6 for t in at]


# ------------------------------------------------------------------------------------------------------- ties
def test_what_happens_at_the_moment_is_not_seen_and_what_is_recorded_at_it_is():
    contract = Contract(
        lead_id="id",
        created_at="since",
        events=EventColumns(recorded_at="seen", visitor_id="cookie"),
        history=HistoryColumns(),
        kinds={"size": "number"},
    )
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    just_before, one_day = noon - timedelta(microseconds=1), noon - timedelta(days=1)

    def count(occurred, seen=None, size_at=noon, since=one_day):
        log = [{"id": 1, "occurred_at": occurred, "event_type": "visit", "seen": seen}]
        changes = [{"id": 1, "field": "size", "value": 5, "changed_at": size_at}]
        tables = read_tables(contract, [{"id": 1, "since": since}], log, history=changes, training=False)
        features = (
            EventFeature("count", "visit"),
            EventFeature("count", "visit", window=1),
            AttributeFeature("number", "size"),
        )
        return snapshot(tables, features, micros(noon)).matrix.tolist()

    (known,) = count(just_before, size_at=just_before)
    assert known == [1, 1, 5]
    np.testing.assert_equal(count(noon), [[0, 0, np.nan]])
    np.testing.assert_equal(count(just_before, seen=noon), [[1, 1, np.nan]])
    np.testing.assert_equal(count(just_before, seen=noon + timedelta(microseconds=1)), [[0, 0, np.nan]])
    np.testing.assert_equal(count(one_day), [[1, 1, np.nan]])
    np.testing.assert_equal(count(one_day - timedelta(microseconds=1)), [[1, 0, np.nan]])
    assert count(one_day, since=noon) == []
    assert len(count(one_day, since=just_before)) == 1
