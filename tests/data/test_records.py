"""The short way in for one lead against the long way: what it reads at all, it reads the same."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.records import ShortWay
from leadscore.data.tables import Contract, EventColumns, read_tables
from leadscore.errors import LeadScoreError
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.single import reading_of
from leadscore.features.snapshot import snapshot

KINDS = {"size": "number", "source": "category", "title": "text", "trial": "time"}
CONTRACT = Contract(
    lead_id="id",
    created_at="since",
    visitor_id="cookie",
    events=EventColumns(
        lead_id="lead",
        visitor_id="cookie",
        recorded_at="seen",
        channel="via",
        content="page",
        value="worth",
        event_id="no",
    ),
    missing=("Select",),
    field_missing={"size": ("999",), "worth": ("0",)},
    kinds=KINDS,
    event_types=("call", "visit", "1"),
)
FEATURES = (
    AttributeFeature("number", "size"),
    AttributeFeature("category", "source", levels=("Oslo", "1", "True", "(other)")),
    AttributeFeature("seniority", "title"),
    AttributeFeature("email_domain_kind", "title"),
    AttributeFeature("days_since", "trial"),
    AttributeFeature("filled_share", fields=tuple(KINDS)),
    AttributeFeature("lead_age", family="engagement"),
    EventFeature("count", "visit", window=30),
    EventFeature("count", None, types=("call", "visit", "1")),
    EventFeature("recency", "call"),
    EventFeature("sum", "visit"),
    EventFeature("count", "visit", content="/a"),
    EventFeature("distinct_contents", "visit"),
)
WAY, READING = ShortWay(CONTRACT), reading_of(FEATURES)
AS_OF = 1_717_200_000_000_000
START = datetime(2024, 5, 1, tzinfo=UTC)


def both(lead, events, as_of=AS_OF, contract=CONTRACT):
    """Go both ways; None for the short one where it gives up."""
    one = ShortWay(contract).read(lead, events)
    row = None if one is None else READING.row(one, as_of)
    try:
        tables = read_tables(contract, [lead], events, training=False)
    except LeadScoreError as error:
        tables = error
    return row, tables


def assert_alike(lead, events, as_of=AS_OF, contract=CONTRACT):
    row, tables = both(lead, events, as_of, contract)
    if row is None:
        return False
    assert not isinstance(tables, LeadScoreError), tables
    assert not tables.findings
    expected = snapshot(tables, FEATURES, as_of)
    assert row.lead_id.tolist() == expected.lead_id.tolist()
    assert row.lead_id.dtype == expected.lead_id.dtype
    assert row.position.tolist() == expected.position.tolist()
    assert row.as_of.tolist() == expected.as_of.tolist()
    np.testing.assert_array_equal(row.matrix, expected.matrix)
    return True


# ---------------------------------------------------------------------------------------- what is plain
OFFSETS = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=9, minutes=30))]
)
MOMENTS = st.builds(
    lambda minutes, us, zone: (START + timedelta(minutes=minutes, microseconds=us)).astimezone(zone),
    st.integers(0, 60_000),
    st.sampled_from([0, 1, 250_000]),
    OFFSETS,
)
STAMPS = st.one_of(
    MOMENTS.map(datetime.isoformat),
    MOMENTS.map(lambda moment: moment.astimezone(UTC).isoformat().replace("+00:00", "Z")),
    MOMENTS.map(lambda moment: moment.isoformat(" ")),
)
WORDS = st.sampled_from(
    [
        "Oslo",
        " Oslo ",
        "1",
        "1.0",
        "true",
        "TRUE",
        "Select",
        "",
        " ",
        "x",
        "(other)",
        "CEO",
        "a@gmail.com",
        " \u2003ö\u00a0",
    ]
)
NUMBERS = st.one_of(
    st.integers(-5, 1_000),
    st.sampled_from(
        [999, 999.0, "999", "12", " 12", "1e3", "-3.25", "Select", "", True, 2**62, float("nan")]
    ),
    st.floats(-1e6, 1e6),
)
MAYBE = lambda strategy: st.one_of(st.none(), strategy)  # noqa: E731
LEADS = st.fixed_dictionaries(
    {"id": st.just("L1"), "since": STAMPS},
    optional={
        "size": MAYBE(NUMBERS),
        "source": MAYBE(st.one_of(WORDS, st.integers(0, 3), st.booleans(), st.just(1.0))),
        "title": MAYBE(WORDS),
        "trial": MAYBE(STAMPS),
        "cookie": MAYBE(st.sampled_from(["a", "b"])),
        "other": st.just([1]),
    },
)
EVENT = st.fixed_dictionaries(
    {
        "lead": st.sampled_from(["L1", "L1", "L1", None]),
        "occurred_at": STAMPS,
        "event_type": st.sampled_from(["visit", "call", " call", "1", "1.0"]),
    },
    optional={
        "seen": MAYBE(STAMPS),
        "cookie": MAYBE(st.sampled_from(["a", "b"])),
        "via": MAYBE(WORDS),
        "page": MAYBE(st.sampled_from(["/a", "/b ", "Select"])),
        "worth": MAYBE(st.one_of(st.integers(0, 9), st.floats(0, 100))),
    },
)


@settings(max_examples=80, deadline=None)
@given(LEADS, st.lists(EVENT, max_size=8), st.booleans())
def test_both_ways_give_the_same_row(lead, events, numbered):
    if numbered:
        events = [event | {"no": place} for place, event in enumerate(events)]
    assert_alike(lead, events)


@settings(max_examples=40, deadline=None)
@given(LEADS, st.lists(EVENT.map(lambda event: event | {"lead": "L1"}), min_size=1, max_size=8))
def test_plain_records_go_the_short_way(lead, events):
    lead = {**lead, "size": 5, "source": "Oslo"}
    assert (
        assert_alike(lead, events) or WAY.read(lead, events) is not None
    )  # or it came in later than the moment


LOCAL = MOMENTS.map(lambda moment: moment.replace(tzinfo=None).isoformat())
DATED = st.one_of(
    LOCAL, LOCAL.map(lambda text: text[:10]), LOCAL.map(lambda text: text[:16].replace("T", " "))
)


@settings(max_examples=40, deadline=None)
@given(st.lists(DATED, min_size=3, max_size=6), st.sampled_from(["Europe/Amsterdam", "Asia/Kathmandu"]))
def test_local_times_go_the_short_way_where_the_contract_has_a_zone(times, zone):
    contract = replace(CONTRACT, timezone=zone)
    events = [VISIT | {"occurred_at": time} for time in times]
    lead = PLAIN | {"since": "2024-04-01", "trial": times[0]}
    assert assert_alike(lead, events, contract=contract)
    assert not assert_alike(lead, events)
    for hour in ("2024-10-27T02:30:00", "2024-03-31T02:30:00"):
        changed = [*events, VISIT | {"occurred_at": hour}]
        assert assert_alike(lead, changed, contract=contract) == (zone == "Asia/Kathmandu")


def test_datetimes_integers_and_missing_keys_go_the_short_way():
    lead = {"id": 7, "since": START, "trial": START + timedelta(hours=1), "source": 1}
    events = [
        {
            "lead": 7,
            "occurred_at": START + timedelta(days=day),
            "event_type": "visit",
            "page": day % 3,
            "no": day,
        }
        for day in range(9)
    ]
    assert assert_alike(lead, events)
    assert assert_alike(lead, [])
    assert assert_alike({**lead, "size": math.nan, "source": math.nan}, events)


# ------------------------------------------------------------------------------------ what goes the long way
PLAIN = {"id": "L1", "since": "2024-05-01T00:00:00Z"}
VISIT = {"lead": "L1", "occurred_at": "2024-05-02T00:00:00Z", "event_type": "visit"}


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": " "},
        {"id": 1.5},
        {"id": True},
        {"id": 2**70},
        {"since": None},
        {"since": "yesterday"},
        {"since": "2024-05-01"},
        {"since": "2024-05-01T00:00:00"},
        {"since": datetime(2024, 5, 1)},
        {"size": "many"},
        {"size": math.inf},
        {"size": [1]},
        {"source": {"a": 1}},
        {"source": START},
        {"trial": "soon"},
        {"trial": 5},
        {5: 1},
        {"title": 2.5},
        {"title": "\ud800"},
    ],
)
def test_a_lead_that_is_not_plain_goes_the_long_way(change):
    assert both(PLAIN | change, [VISIT])[0] is None
    assert WAY.read(PLAIN | change, [VISIT]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"lead": "L2"},
        {"lead": None},
        {"lead": ""},
        {"lead": 5},
        {"lead": None, "cookie": "stranger"},
        {"occurred_at": None},
        {"occurred_at": "2024-05-02"},
        {"event_type": None},
        {"event_type": " "},
        {"event_type": "fax"},
        {"seen": "late"},
        {"worth": -1},
        {"worth": "3"},
        {"worth": math.inf},
        {"worth": True},
        {"no": 1},
        {"no": "x"},
        {"via": ["a"]},
        {"page": 1.5},
        {5: 1},
    ],
)
def test_events_that_are_not_plain_go_the_long_way(change):
    assert WAY.read(PLAIN, [VISIT | {"no": 1}, VISIT | {"page": "/a"}]) is not None
    assert WAY.read(PLAIN, [VISIT | {"no": 1}, VISIT | change]) is None
    both(PLAIN, [VISIT | {"no": 1}, VISIT | change])  # and there is an answer, or a message, at its end


def test_tables_event_logs_and_dates_that_mean_missing_go_the_long_way():
    assert WAY.read(PLAIN, pa.table({"lead": ["L1"]})) is None
    assert WAY.read(PLAIN, "events.csv") is None
    assert WAY.read(PLAIN, [VISIT] * 2_001) is None
    assert WAY.read(json.dumps(PLAIN), None) is None
    log = Contract(lead_id="id", events=EventColumns(), event_log=True, kinds=KINDS)
    assert ShortWay(log).read(PLAIN, None) is None
    never = Contract(lead_id="id", created_at="since", kinds=KINDS, field_missing={"since": ("2024-05-01",)})
    assert ShortWay(never).read(PLAIN, None) is None
    assert ShortWay(Contract(lead_id="id")).read(PLAIN, None) is None
    assert ShortWay(Contract(lead_id="id", kinds=KINDS)).read(PLAIN, []) is None


def test_a_lead_that_comes_in_at_the_moment_has_no_row():
    one = WAY.read(PLAIN, [])
    assert READING.row(one, one.created_at) is None
    assert READING.row(one, one.created_at + 1) is not None


def test_text_that_no_file_can_hold_is_read_all_the_same():
    """JSON can write half of a character; Arrow cannot."""
    tables = read_tables(CONTRACT, [PLAIN | {"title": json.loads('"CEO \\ud800"')}], [], training=False)
    assert tables.leads["title"].to_pylist() == ["CEO ?"]


# --------------------------------------------------------------------- records and tables, amiss or not
JUNK = st.sampled_from(
    [
        "",
        " ",
        "Select",
        "999",
        "inf",
        "many",
        "2024-05-01",
        "2024-05-03T10:00:00Z",
        "L1",
        "L2",
        "visit",
        "fax",
        "-3",
    ]
)
CELL = MAYBE(JUNK)
LEAD_ROWS = st.lists(
    st.fixed_dictionaries(
        {"since": MAYBE(st.one_of(STAMPS, JUNK)), "cookie": CELL, **dict.fromkeys(KINDS, CELL)}
    ),
    min_size=1,
    max_size=4,
)
EVENT_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "lead": st.sampled_from(["L0", "L1", "L9", None, ""]),
            "occurred_at": MAYBE(st.one_of(STAMPS, STAMPS, JUNK)),
            "event_type": CELL,
        }
        | {
            "seen": MAYBE(st.one_of(STAMPS, JUNK)),
            **dict.fromkeys(("cookie", "via", "page", "worth", "no"), CELL),
        }
    ),
    max_size=8,
)


def arrow(rows, names):
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})


@settings(max_examples=40, deadline=None)
@given(LEAD_ROWS, EVENT_ROWS)
def test_records_are_read_as_the_same_table_is_with_the_same_findings(leads, events):
    leads = [{"id": f"L{row}", **lead} for row, lead in enumerate(leads)]
    leads.append(dict.fromkeys(leads[0]) | {"id": "L9", "since": "2024-05-01T00:00:00Z"})
    contract = replace(CONTRACT, timezone="Asia/Kathmandu")
    names = ("lead", "occurred_at", "event_type", "seen", "cookie", "via", "page", "worth", "no")
    held = (arrow(leads, leads[0]), arrow(events, names))
    for training in (False, True):
        one, other = (read_tables(contract, *given, training=training) for given in ((leads, events), held))
        assert one.findings == other.findings
        assert one.leads.equals(other.leads)
        assert one.lead_id.tolist() == other.lead_id.tolist()
        assert one.created_at.tolist() == other.created_at.tolist()
        for name in ("lead", "at", "known_at", "type", "types", "value", "content", "channel"):
            np.testing.assert_equal(getattr(one.events, name), getattr(other.events, name))
