"""Events that come twice, late, too early or too often, and what is said about them."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.tables import OTHER_TYPE, Contract, EventColumns, OutcomeColumns, read_tables
from leadscore.errors import ConfigError

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = 3600 * 10**6
START = round(EPOCH.timestamp()) * 10**6
NUMBERED = Contract(lead_id="id", events=EventColumns(event_id="no", recorded_at="seen", value="worth"))
COOKIES = Contract(
    lead_id="id", created_at="since", events=EventColumns(visitor_id="cookie"), visitor_id="cookie"
)


def at(hours):
    return (EPOCH + timedelta(hours=hours)).isoformat()


def told(tables):
    return [(f.table, f.what, f.count, f.rejected) for f in tables.findings]


def event(lead, hours, kind="visit", **more):
    return {"id": lead, "occurred_at": at(hours), "event_type": kind, **more}


# ------------------------------------------------------------------------------------- the same id
ROW = st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 2), st.integers(0, 6), st.integers(0, 6))


@given(st.lists(ROW, max_size=14), st.integers(0, 99))
def test_an_event_that_comes_twice_counts_once_from_when_it_was_first_known(rows, seed):
    events = [
        event(lead, hour, no=number, seen=at(hour + delay), worth=place)
        for place, (number, lead, hour, delay) in enumerate(rows)
    ]
    random.Random(seed).shuffle(events)
    found = read_tables(NUMBERED, [{"id": row} for row in range(3)], events, training=False).events
    expected = [row for row in rows if row[0] is None]
    for number, lead in {row[:2] for row in rows if row[0] is not None}:
        known = [(hour + delay, hour) for no, whose, hour, delay in rows if (no, whose) == (number, lead)]
        moment, hour = min(known, key=lambda k: (max(k[0] * HOUR, k[1] * HOUR + 1), k[1]))
        expected.append((number, lead, hour, moment - hour))
    assert sorted(zip(found.lead, found.at, found.known_at, strict=True)) == sorted(
        (lead, START + hour * HOUR, START + (hour + delay) * HOUR) for _, lead, hour, delay in expected
    )


@given(st.lists(ROW, max_size=14), st.integers(0, 8))
def test_a_repetition_known_later_changes_nothing_before(rows, now):
    """What counts as of a moment is the same with and without the rows that became known after it."""
    moment = START + now * HOUR

    def counting(rows):
        events = [event(lead, hour, no=no, seen=at(hour + delay)) for no, lead, hour, delay in rows]
        found = read_tables(NUMBERED, [{"id": row} for row in range(3)], events, training=False).events
        counts = (found.at < moment) & (found.known_at <= moment)
        return sorted(zip(found.lead[counts], found.at[counts], strict=True))

    assert counting(rows) == counting([row for row in rows if row[2] < now and row[2] + row[3] <= now])


def test_repetitions_are_told_of():
    events = [event(1, 3, no=7, seen=at(9)), event(1, 3, no="7", seen=at(4)), event(1, 5, no=" ")] * 2
    tables = read_tables(NUMBERED, [{"id": 1}], events, training=False)
    assert len(tables.events.at) == 3
    assert tables.events.known_at.min() == START + 4 * HOUR
    assert told(tables) == [("events", "'no' is that of an event known before", 3, True)]


# -------------------------------------------------------------------------------- late and too early
def test_late_events_are_told_of_in_training_alone():
    events = [event(1, hours, seen=at(hours + delay)) for hours, delay in ((1, 0), (2, 0), (3, 60), (4, 90))]
    contract = Contract(lead_id="id", events=EventColumns(recorded_at="seen"))
    assert not read_tables(contract, [{"id": 1}], events, training=False).findings
    (finding,) = read_tables(contract, [{"id": 1}], events, training=True).findings
    assert (finding.count, finding.rows, finding.rejected) == (2, (2, 3), False)
    assert "by 3.1 days in the middle case" in finding.what


@pytest.mark.parametrize("stray", [1, 2])
def test_a_few_events_dated_far_ahead_do_not_move_the_end_of_the_data(stray):
    log = pd.DataFrame({"id": 1, "occurred_at": [at(h) for h in range(2_000)], "event_type": "visit"})
    log.loc[[5, 77][:stray], "occurred_at"] = "2099-01-01T00:00:00Z"
    contract = Contract(lead_id="id", events=EventColumns())
    tables = read_tables(contract, [{"id": 1}], log, training=True)
    assert tables.end == START + 1_999 * HOUR
    what = "'occurred_at' is over 30 days after all the others, in the future of the data"
    assert told(tables) == [("events", what, stray, True)]
    assert len(read_tables(contract, [{"id": 1}], log, training=False).events.at) == 2_000


def test_leads_and_outcomes_dated_far_ahead_are_left_out_too():
    n = 1_500
    leads = pd.DataFrame({"id": range(n), "since": [at(hours) for hours in range(n)]})
    outcomes = pd.DataFrame({"id": range(n), "stage": "won", "at": [at(hours) for hours in range(n)]})
    leads.loc[3, "since"] = outcomes.loc[4, "at"] = "2099-01-01T00:00:00Z"
    contract = Contract(lead_id="id", created_at="since", outcomes=OutcomeColumns())
    tables = read_tables(contract, leads, None, outcomes, training=True)
    assert tables.end == START + (n - 1) * HOUR
    assert [(f.table, f.rows) for f in tables.findings[:2]] == [("leads", (3,)), ("outcomes", (4,))]


def test_a_pause_in_the_data_or_a_small_table_is_no_mistake():
    contract = Contract(lead_id="id", events=EventColumns())
    for hours in ([*range(1_500), *range(9_000, 9_100)], [1, 2, 3, 99_999]):
        log = pd.DataFrame({"id": 1, "occurred_at": [at(h) for h in hours], "event_type": "visit"})
        assert not read_tables(contract, [{"id": 1}], log, training=True).findings


# ----------------------------------------------------------------------- values, types, and machines
def test_negative_values_are_kept_and_told_of():
    events = [event(1, 1, worth=-5.0), event(1, 2, worth=3)]
    tables = read_tables(NUMBERED, [{"id": 1}], events, training=False)
    assert tables.events.value.tolist() == [-5.0, 3.0]
    assert told(tables) == [("events", "'worth' is below 0 and counts as it is", 1, False)]


def test_types_that_the_model_never_saw_are_one_other_in_scoring():
    contract = Contract(
        lead_id="id", events=EventColumns(), event_types=("call", "visit"), outcome_events={"deal": "won"}
    )
    events = [event(1, hours, kind) for hours, kind in enumerate(["visit", "fax", "deal", "telex", "call"])]
    tables = read_tables(contract, [{"id": 1}], events, training=False)
    words = [tables.events.types[code] for code in tables.events.type]
    assert words == ["visit", OTHER_TYPE, OTHER_TYPE, "call"]
    assert list(tables.events.types) == sorted({*words})
    what = "'event_type' is none that the model was trained with, and counts as other"
    assert told(tables) == [("events", what, 2, False)]
    assert len(tables.outcomes.at) == 1
    assert "fax" in read_tables(contract, [{"id": 1}], events, training=True).events.types


def test_a_machine_among_people_is_told_of():
    lead = np.repeat(np.arange(101), [12_000] + [9] * 100)
    log = pd.DataFrame({"id": lead, "occurred_at": pd.Timestamp(EPOCH), "event_type": "visit"})
    contract = Contract(lead_id="id", events=EventColumns())
    tables = read_tables(contract, pd.DataFrame({"id": range(101)}), log, training=False)
    what = "belongs to 1 lead with over 10,000 events, as machines have"
    assert told(tables) == [("events", what, 12_000, False)]
    busy = log[log["id"] == 0].assign(id=lambda rows: np.arange(len(rows)) // 6_000)
    assert not read_tables(contract, pd.DataFrame({"id": range(2)}), busy, training=False).findings


# --------------------------------------------------------------- the visitor that the leads table names
def test_the_leads_table_tells_who_a_visitor_was_from_when_the_lead_came_in():
    people = [{"id": 1, "since": at(5), "cookie": "x"}, {"id": 2, "since": at(3), "cookie": None}]
    log = [{"cookie": "x", "occurred_at": at(hours), "event_type": "visit"} for hours in (1, 9)]
    for training in (True, False):
        tables = read_tables(COOKIES, people, log, training=training)
        assert tables.events.lead.tolist() == [0, 0]
        assert tables.events.known_at.tolist() == [START + 5 * HOUR + 1, START + 9 * HOUR]
        assert not tables.leads.column_names


LINKS = st.lists(
    st.tuples(st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 9)), max_size=12
)


@given(st.lists(st.sampled_from(["x", "y", None]), min_size=4, max_size=4), LINKS, st.booleans())
def test_a_visitor_is_the_lead_that_was_known_first_whoever_tells(cookies, rows, textual):
    """The leads table says it as an event of just after the lead came in would."""
    people = [{"id": row, "since": at(row), "cookie": cookie} for row, cookie in enumerate(cookies)]
    log = [
        {"id": lead, "cookie": cookie, "occurred_at": at(h), "event_type": "visit"}
        for cookie, lead, h in rows
    ]
    if textual:
        log = [row | {"id": None if row["id"] is None else str(row["id"])} for row in log]
    found = read_tables(COOKIES, people, log, training=False).events
    links = [(START + row * HOUR + 1, row, cookie) for row, cookie in enumerate(cookies) if cookie]
    links += [(START + h * HOUR + 1, lead, cookie) for cookie, lead, h in rows if lead is not None]
    expected = []
    for cookie, lead, hours in rows:
        of_visitor = sorted(link for link in links if link[2] == cookie)
        occurred = START + hours * HOUR
        if lead is not None:
            expected.append((lead, occurred, occurred))
        elif of_visitor:
            expected.append((of_visitor[0][1], occurred, max(occurred, of_visitor[0][0])))
    assert list(zip(found.lead, found.at, found.known_at, strict=True)) == expected


def test_a_visitor_in_the_leads_table_needs_visitors_in_the_events():
    with pytest.raises(ConfigError, match=r"events\.visitor_id"):
        Contract(lead_id="id", visitor_id="cookie", events=EventColumns())
