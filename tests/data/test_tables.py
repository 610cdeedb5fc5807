import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.tables import (
    ROW_NUMBER,
    Contract,
    EventColumns,
    OutcomeColumns,
    read_tables,
)
from leadscore.errors import DataError, UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WIDE = Contract(lead_id="id")
DATED = Contract(lead_id="id", created_at="since", events=EventColumns())
HOUR = 3600 * 10**6


def at(hours):
    return (EPOCH + timedelta(hours=hours)).isoformat()


def found(tables):
    return [(f.table, f.what, f.rows, f.rejected) for f in tables.findings]


def leads(n):
    return [{"id": row, "since": at(row)} for row in range(n)]


# --- tables that are refused ---


def refused(contract, *given, training=False):
    with pytest.raises(DataError) as error:
        read_tables(contract, *given, training=training)
    text = str(error.value)
    assert text.startswith("expected ")
    assert "; found " in text
    assert "\n" not in text
    return text


def test_a_missing_column_is_refused_with_the_nearest_name():
    frame = pd.DataFrame({"lead_ID": [1], "created": [at(0)]})
    text = refused(Contract(lead_id="lead_id"), frame)
    assert text == (
        "expected a column 'lead_id' in the leads table; found lead_ID, created (did you mean 'lead_ID'?); "
        "add it, or correct lead_id in the config"
    )
    assert "'created'" in refused(Contract(lead_id="lead_ID", created_at="created_at"), frame)


def test_a_missing_column_of_events_or_outcomes_is_refused():
    events = pd.DataFrame({"id": [1], "occured_at": [at(0)], "event_type": ["a"]})
    assert "'occured_at'" in refused(DATED, leads(2), events)
    outcomes = pd.DataFrame({"id": [1], "stage": ["won"], "date": [at(0)]})
    assert "outcomes.at" in refused(
        Contract(lead_id="id", outcomes=OutcomeColumns()), leads(2), None, outcomes
    )
    events = pd.DataFrame({"id": [1], "occurred_at": [at(0)], "event_type": ["a"]})
    contract = Contract(lead_id="id", events=EventColumns(channel="via"))
    assert "events.channel" in refused(contract, leads(2), events)


def test_repeated_ids_are_refused_by_row_and_not_by_value():
    frame = pd.DataFrame({"id": ["secret", "b", "c", "b", "b"]})
    text = refused(WIDE, frame)
    assert text == (
        "expected one row a lead; found ids again in 2 rows of column 'id' (rows 1 and 3, for one); "
        "keep one of them, or set event_log for an event log"
    )


@pytest.mark.parametrize("training", [True, False])
def test_local_times_are_refused_without_a_zone(training):
    frame = pd.DataFrame({"id": [1, 2], "since": pd.to_datetime(["2024-05-01", "2024-05-02"])})
    contract = Contract(lead_id="id", created_at="since")
    assert "expected an offset in the times of column 'since'" in refused(contract, frame, training=training)
    assert "set timezone" in refused(contract, frame.astype(str), training=training)
    zoned = Contract(lead_id="id", created_at="since", timezone="Asia/Kolkata")
    first = datetime(2024, 4, 30, 18, 30, tzinfo=UTC)
    assert read_tables(zoned, frame, training=False).created_at[0] == (first - EPOCH) // timedelta(
        microseconds=1
    )


def test_a_table_without_a_lead_cannot_be_trained_on():
    empty = pd.DataFrame({"id": pd.Series([], dtype="int64")})
    for table in (empty, [], [{"id": None}], [{"id": None}, {"id": ""}]):
        assert "at least one lead" in refused(WIDE, table, training=True)


@pytest.mark.parametrize("table", [pd.DataFrame({"id": pd.Series([], dtype="int64"), "x": []}), []])
def test_an_empty_table_is_scored_as_no_leads(table):
    contract = Contract(
        lead_id="id", created_at="since", events=EventColumns(value="worth"), kinds={"x": "number"}
    )
    tables = read_tables(contract, table, [], training=False)
    assert len(tables.lead_id) == len(tables.position) == len(tables.created_at) == tables.leads.num_rows == 0
    assert tables.leads.column_names == ["x"]
    assert len(tables.events.at) == 0
    assert tables.end is None
    assert not tables.findings


def test_a_column_of_the_wrong_type_is_refused_by_the_outline_of_a_value():
    frame = pd.DataFrame({"id": range(30), "staff": ["Ann 12"] * 20 + ["3"] * 10})
    contract = Contract(lead_id="id", kinds={"staff": "number"})
    text = refused(contract, frame)
    assert "numbers in column 'staff' of the leads table; found text as 'aaa 99'" in text
    dates = pd.DataFrame({"id": range(30), "since": ["31/12/2024"] * 30})
    assert "found text as '99/99/9999'" in refused(Contract(lead_id="id", created_at="since"), dates)
    epochs = pd.DataFrame({"id": range(30), "since": range(30)})
    assert "found int64" in refused(Contract(lead_id="id", created_at="since"), epochs)


def test_values_that_are_no_single_values_are_refused_where_they_are_needed_and_else_left_out():
    frame = pa.table({"id": [1, 2], "tags": [["a"], []], "x": [1.0, 2.0]})
    tables = read_tables(WIDE, frame, training=True)
    assert tables.leads.column_names == ["x"]
    assert found(tables) == [("leads", "'tags' holds list<item: string> and is not read", (0, 1), False)]
    assert "single values in column 'tags'" in refused(Contract(lead_id="tags"), frame)
    assert "single values in column 'tags'" in refused(Contract(lead_id="id", kinds={"tags": "text"}), frame)


def test_a_field_that_the_model_uses_must_be_there():
    contract = Contract(lead_id="id", kinds={"staff": "number", "country": "category"})
    text = refused(contract, pd.DataFrame({"id": [1], "staf": [2], "country": ["NL"]}))
    assert "'staff'" in text
    assert "did you mean 'staf'?" in text
    assert "the model uses it" in text


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"ignore": ("countri",)}, "ignore"),
        ({"kinds": {"countri": "text"}}, "kinds"),
        ({"field_missing": {"countri": ("x",)}}, "field_missing"),
    ],
)
def test_a_misspelt_field_of_the_config_is_refused_in_training(change, key):
    text = refused(
        Contract(lead_id="id", **change), pd.DataFrame({"id": [1], "country": ["NL"]}), training=True
    )
    assert "did you mean 'country'?" in text
    assert f"correct {key} in the config" in text


def test_won_values_that_never_occur_are_refused():
    contract = Contract(lead_id="id", target="won", won_values=("yes",))
    assert "won_values in column 'won'" in refused(
        contract, pd.DataFrame({"id": [1], "won": [1]}), training=True
    )


def test_stages_that_are_not_mapped_are_refused_when_none_is():
    contract = Contract(lead_id="id", outcomes=OutcomeColumns())
    outcomes = pd.DataFrame({"id": [0, 1], "stage": ["Deal", "Gone"], "at": [at(1), at(2)]})
    assert "outcomes.stages" in refused(contract, leads(2), None, outcomes)


@pytest.mark.parametrize(
    ("contract", "given", "training"),
    [
        (WIDE, (leads(1), []), False),
        (WIDE, (leads(1), None, []), False),
        (DATED, (leads(1),), True),
        (Contract(lead_id="id", outcomes=OutcomeColumns()), (leads(1),), True),
    ],
)
def test_a_table_that_the_contract_does_not_describe_or_that_is_not_given_is_refused(
    contract, given, training
):
    with pytest.raises(UsageError, match=r"^expected .* table"):
        read_tables(contract, *given, training=training)


# --- rows that are left out or mended ---


def test_one_bad_lead_among_many_is_named_and_the_others_go_on_in_order():
    rows = leads(6)
    rows[1]["id"] = None
    rows[2]["since"] = None
    rows[4]["since"] = "2024-02-30T00:00:00Z"
    tables = read_tables(Contract(lead_id="id", created_at="since"), rows, training=False)
    assert tables.lead_id.tolist() == tables.position.tolist() == [0, 3, 5]
    assert tables.created_at.tolist() == [0, 3 * HOUR, 5 * HOUR]
    assert found(tables) == [
        ("leads", "no 'id'", (1,), True),
        ("leads", "'since' is no time in ISO 8601", (4,), True),
        ("leads", "no 'since'", (2,), True),
    ]
    assert str(tables.findings[0]) == "leads: no 'id': 1 row left out (1)"


def test_every_bad_event_is_counted_once_with_its_reason():
    good = {"id": 0, "occurred_at": at(5), "event_type": "visit"}
    bad = [
        {**good, "occurred_at": "yesterday"},
        {**good, "occurred_at": None},
        {**good, "event_type": " "},
        {**good, "id": None},
        {**good, "id": 77},
        {**good, "id": "zero", "occurred_at": None},
    ]
    events = pd.DataFrame([good, *bad, good])
    tables = read_tables(DATED, leads(3), events, training=True)
    assert tables.events.lead.tolist() == [0, 0]
    assert tables.events.at.tolist() == [5 * HOUR] * 2
    assert found(tables) == [
        ("events", "'occurred_at' is no time in ISO 8601", (1,), True),
        ("events", "no 'occurred_at'", (2, 6), True),
        ("events", "no 'event_type'", (3,), True),
        ("events", "no 'id'", (4,), True),
        ("events", "'id' is not in the leads table", (5,), True),
    ]


def test_events_of_a_lead_that_was_left_out_are_told():
    rows = [{"id": 1, "since": None}, {"id": 2, "since": at(0)}]
    events = [{"id": i, "occurred_at": at(1), "event_type": "visit"} for i in (1, 2)]
    tables = read_tables(DATED, rows, events, training=False)
    assert tables.events.lead.tolist() == [0]
    assert tables.findings[-1].rows == (0,)


def test_numbers_that_are_none_or_infinite_are_missing_and_told():
    frame = pd.DataFrame(
        {"id": range(5), "staff": ["1", "lots", "-inf", "", "2e3"], "size": [np.inf, 1, 2, 3, np.nan]}
    )
    contract = Contract(lead_id="id", kinds={"staff": "number", "size": "number"})
    tables = read_tables(contract, frame, training=False)
    assert tables.leads.to_pydict() == {
        "staff": [1.0, None, None, None, 2000.0],
        "size": [None, 1, 2, 3, None],
    }
    assert found(tables) == [
        ("leads", "'staff' is no number and counts as missing", (1,), False),
        ("leads", "'staff' is infinite and counts as missing", (2,), False),
        ("leads", "'size' is infinite and counts as missing", (0,), False),
    ]


def test_an_infinite_or_unreadable_value_of_an_event_is_missing():
    contract = Contract(lead_id="id", events=EventColumns(value="worth"))
    events = [
        {"id": 0, "occurred_at": at(1), "event_type": "buy", "worth": w}
        for w in ("12.5", "inf", "much", None)
    ]
    tables = read_tables(contract, leads(1), events, training=False)
    assert np.array_equal(tables.events.value, [12.5, np.nan, np.nan, np.nan], equal_nan=True)
    assert [f.rejected for f in tables.findings] == [False, False]


def test_an_attribute_that_is_no_time_is_missing_and_told():
    contract = Contract(lead_id="id", kinds={"born": "time"})
    tables = read_tables(contract, [{"id": 1, "born": "x"}, {"id": 2, "born": at(1)}], training=False)
    assert tables.leads["born"].to_pylist() == [None, EPOCH + timedelta(hours=1)]
    what = "'born' is no time in ISO 8601, and counts as missing"
    assert found(tables) == [("leads", what, (0,), False)]


def test_times_in_a_clock_change_are_told():
    contract = Contract(lead_id="id", created_at="since", timezone="Europe/Amsterdam")
    rows = [{"id": 1, "since": "2024-10-27T02:30"}, {"id": 2, "since": "2024-10-27T03:30"}]
    assert found(read_tables(contract, rows, training=False)) == [
        ("leads", "'since' is in a clock change and is read as the earlier or next moment", (0,), False)
    ]


def test_a_few_local_times_among_others_are_rows_left_out():
    rows = leads(5)
    rows[3]["since"] = "2024-05-01T10:00"
    tables = read_tables(Contract(lead_id="id", created_at="since"), rows, training=False)
    assert tables.lead_id.tolist() == [0, 1, 2, 4]
    assert found(tables)[0] == ("leads", "'since' has no offset, and the config no timezone", (3,), True)


def test_all_missing_constant_and_extra_columns_are_fine():
    frame = pd.DataFrame({"id": [1, 2], "none": [None, None], "same": ["x", "x"], "nan": [np.nan, np.nan]})
    trained = read_tables(WIDE, frame, training=True)
    assert dict(trained.kinds) == {"none": "category", "same": "category", "nan": "category"}
    served = Contract(lead_id="id", kinds=trained.kinds)
    again = read_tables(served, frame.assign(extra=[object(), object()]), training=False)
    assert again.leads.equals(trained.leads)
    assert not trained.findings
    assert not again.findings


def test_records_may_leave_keys_out_and_unseen_categories_pass():
    contract = Contract(lead_id="id", kinds={"country": "category", "staff": "number"}, missing=("Select",))
    tables = read_tables(
        contract, [{"id": "a", "country": "Narnia"}, {"id": "b", "country": "Select"}], training=False
    )
    assert tables.leads.to_pydict() == {"country": ["Narnia", None], "staff": [None, None]}
    assert tables.lead_id.tolist() == ["a", "b"]


# --- what a wide table, outcomes and events become ---


def test_a_wide_table_has_target_and_order_only_in_training():
    contract = Contract(lead_id="id", order_by="nr", target="won", won_values=("1",), ignore=("note",))
    frame = pd.DataFrame(
        {"id": [5, 6, 7], "nr": [3, 1, 2], "won": [1, 0, np.nan], "note": "x", "staff": [1, 2, 3]}
    )
    tables = read_tables(contract, frame, training=True)
    assert np.array_equal(tables.target, [1, 0, np.nan], equal_nan=True)
    assert tables.order.tolist() == [3, 1, 2]
    assert tables.leads.column_names == ["staff"]
    assert found(tables) == [("leads", "no 'won', so that the outcome is not known", (2,), False)]
    served = read_tables(contract, frame[["id", "staff"]], training=False)
    assert served.target is None
    assert served.order is None
    assert served.leads.equals(tables.leads)


@pytest.mark.parametrize("values", [[True, False], ["yes", "no"], [1.0, 0.0], ["TRUE", "FALSE"]])
def test_won_values_mean_the_same_in_every_type(values):
    contract = Contract(lead_id="id", target="won", won_values=("1", "True", "yes"))
    assert read_tables(
        contract, pd.DataFrame({"id": [1, 2], "won": values}), training=True
    ).target.tolist() == [1, 0]


def test_the_row_number_stands_in_for_an_id_and_an_order(tmp_path):
    (tmp_path / "a.csv").write_text("x,won\n5,1\n6\n7,0\n")
    contract = Contract(lead_id=ROW_NUMBER, order_by=ROW_NUMBER, target="won", won_values=("1",))
    tables = read_tables(contract, tmp_path / "a.csv", training=True)
    assert tables.lead_id.tolist() == tables.position.tolist() == tables.order.tolist() == [0, 2]
    assert tables.leads.to_pydict() == {"x": [5.0, 7.0]}


def test_an_order_may_be_a_date_and_a_lead_without_one_is_left_out():
    contract = Contract(lead_id="id", order_by="day", timezone="UTC")
    frame = pd.DataFrame({"id": [1, 2, 3], "day": ["1970-01-02", None, "1970-01-01"]})
    tables = read_tables(contract, frame, training=True)
    assert tables.order.tolist() == [24 * HOUR, 0]
    assert found(tables) == [("leads", "no 'day'", (1,), True)]


def test_outcomes_are_mapped_and_the_rest_told():
    columns = OutcomeColumns(
        stage="state", at="when", lead_id="who", reason="why", revenue="euro", stages={"Deal": "won"}
    )
    contract = Contract(lead_id="id", outcomes=columns)
    rows = [
        {"who": 1, "state": "Deal", "when": at(3), "why": None, "euro": "12.5"},
        {"who": 0, "state": "lost", "when": at(4), "why": "price", "euro": None},
        {"who": 0, "state": "Talking", "when": at(2)},
        {"who": 9, "state": "Deal", "when": at(2)},
        {"who": 1, "state": None, "when": at(2)},
    ]
    outcomes = read_tables(contract, leads(2), None, rows, training=True)
    got = outcomes.outcomes
    assert got.lead.tolist() == [1, 0]
    assert [got.stages[code] for code in got.stage] == ["won", "lost"]
    assert got.at.tolist() == [3 * HOUR, 4 * HOUR]
    assert [got.reason.words[c] if c >= 0 else None for c in got.reason.codes] == [None, "price"]
    assert np.array_equal(got.revenue, [12.5, np.nan], equal_nan=True)
    assert [(f.what, f.rows) for f in outcomes.findings] == [
        ("no 'state'", (4,)),
        ("'state' is not in outcomes.stages", (2,)),
        ("'who' is not in the leads table", (3,)),
    ]


def test_events_that_are_outcomes_are_no_longer_events_and_join_those_of_the_table():
    contract = Contract(
        lead_id="id",
        events=EventColumns(),
        outcomes=OutcomeColumns(revenue="euro"),
        outcome_events={"signed": "won"},
    )
    events = [
        {"id": 0, "occurred_at": at(1), "event_type": "visit"},
        {"id": 1, "occurred_at": at(2), "event_type": "signed"},
    ]
    outcomes = [{"id": 0, "stage": "lost", "at": at(9), "euro": 5.0}]
    tables = read_tables(contract, leads(2), events, outcomes, training=True)
    assert tables.events.types == ("visit",)
    assert tables.outcomes.lead.tolist() == [1, 0]
    assert [tables.outcomes.stages[code] for code in tables.outcomes.stage] == ["won", "lost"]
    assert np.array_equal(tables.outcomes.revenue, [np.nan, 5.0], equal_nan=True)
    assert tables.end == 9 * HOUR


def test_an_event_is_known_when_it_was_recorded_and_never_before_it_occurred():
    contract = Contract(lead_id="id", events=EventColumns(recorded_at="seen"))
    seen = [at(9), at(1), None, "late"]
    events = [{"id": 0, "occurred_at": at(5), "event_type": "call", "seen": s} for s in seen]
    tables = read_tables(contract, leads(1), events, training=False)
    assert tables.events.known_at.tolist() == [9 * HOUR, 5 * HOUR, 5 * HOUR]
    assert found(tables) == [("events", "'seen' is no time in ISO 8601", (3,), True)]


def test_visits_belong_to_the_lead_they_led_to_from_then_on():
    contract = Contract(lead_id="id", events=EventColumns(visitor_id="cookie", recorded_at="seen"))
    events = pd.DataFrame(
        [
            (None, "a", 1, None),  # before the form: known once it is filled in
            (1, "a", 5, 6),  # the form, recorded an hour later
            (0, "a", 7, None),  # a second person on the same device changes nothing
            (None, "a", 8, None),  # after the form
            (None, "b", 2, None),  # never identified
            (None, None, 2, None),  # nobody's
            (0, None, 3, None),
        ],
        columns=["id", "cookie", "occurred_at", "seen"],
    )
    for column in ("occurred_at", "seen"):
        events[column] = [None if pd.isna(hours) else at(hours) for hours in events[column]]
    tables = read_tables(contract, leads(2), events.assign(event_type="visit"), training=True)
    assert tables.events.lead.tolist() == [1, 1, 0, 1, 0]
    assert tables.events.at.tolist() == [hours * HOUR for hours in (1, 5, 7, 8, 3)]
    assert tables.events.known_at.tolist() == [hours * HOUR for hours in (6, 6, 7, 8, 3)]
    assert found(tables) == [
        ("events", "neither 'id' nor 'cookie'", (5,), True),
        ("events", "'cookie' never came with a 'id'", (4,), True),
        (
            "events",
            "'seen' is later, by 1.0 hours in the middle case, and the event counts then",
            (1,),
            False,
        ),
    ]


# --- event logs ---

LOG = Contract(
    lead_id="case",
    created_at="opened",
    event_log=True,
    events=EventColumns("when", "what", channel="via"),
    outcome_events={"signed": "won"},
)
ROWS = [
    # case, opened, when, what, via, amount
    ("b", 3, 4, "call", "phone", None),
    ("a", 2, 9, "visit", "web", 70),
    ("a", 1, 2, "visit", "web", 50),
    ("b", 3, 8, "signed", "web", 20),
    ("a", 1, 2, "mail", None, 40),
    (None, 1, 2, "mail", None, 1),
    ("c", 5, None, "mail", None, 1),
    ("b", 3, 6, "visit", "web", 30),
]


def log():
    rows = [
        (c, at(o), None if w is None else at(w), what, via, amount) for c, o, w, what, via, amount in ROWS
    ]
    return pd.DataFrame(rows, columns=["case", "opened", "when", "what", "via", "amount"])


@pytest.mark.parametrize("again", [False, True])
def test_leads_are_read_from_an_event_log(again):
    frame = log()
    tables = read_tables(LOG, frame, frame if again else None, training=True)
    assert tables.lead_id.tolist() == ["b", "a"]
    assert tables.position.tolist() == [0, 1]
    assert tables.created_at.tolist() == [3 * HOUR, 1 * HOUR]
    assert tables.leads.to_pydict() == {"amount": [30.0, 40.0]}  # at a tie the least, whatever the order
    assert sorted(zip(tables.events.lead, tables.events.at // HOUR, strict=True)) == [
        (0, 4),
        (0, 6),
        (1, 2),
        (1, 2),
        (1, 9),
    ]
    assert tables.outcomes.lead.tolist() == [0]
    assert tables.outcomes.at.tolist() == [8 * HOUR]
    what = "'amount' differs from the lead's earliest value, which is the one read"
    assert ("leads", what, (1, 2, 3), False) in found(tables)
    assert sorted(f.what for f in tables.findings if f.table == "events") == ["no 'case'", "no 'when'"]
    assert len(tables.findings) == 3


def test_the_order_of_a_log_does_not_matter():
    frame = log()
    first = read_tables(LOG, frame, training=True)
    place = {lead: row for row, lead in enumerate(first.lead_id)}
    for seed in range(5):
        rows = list(range(len(frame)))
        random.Random(seed).shuffle(rows)
        tables = read_tables(LOG, frame.iloc[rows], training=True)
        back = [place[lead] for lead in tables.lead_id]
        assert tables.leads["amount"].to_pylist() == [first.leads["amount"][row].as_py() for row in back]
        assert tables.created_at.tolist() == first.created_at[back].tolist()


def test_a_log_without_a_moment_of_creation_begins_with_the_first_event():
    contract = Contract(
        lead_id="case", event_log=True, events=EventColumns("when", "what"), ignore=("opened",)
    )
    tables = read_tables(contract, log(), training=True)
    assert tables.created_at.tolist() == [4 * HOUR, 2 * HOUR]
    assert set(tables.kinds) == {"amount", "via"}


def test_leads_may_stand_beside_a_log():
    people = [{"case": "a", "opened": at(1), "amount": 50}, {"case": "z", "opened": at(2), "amount": 5}]
    tables = read_tables(LOG, people, log(), training=False)
    assert tables.lead_id.tolist() == ["a", "z"]
    assert tables.leads.to_pydict() == {"amount": [50.0, 5.0]}
    assert sorted(tables.events.at // HOUR) == [2, 2, 9]
    alone = read_tables(LOG, people[:1], training=False)
    assert alone.events is None
    assert alone.lead_id.tolist() == ["a"]
    opened_first = Contract(lead_id="case", event_log=True, events=EventColumns("when", "what"))
    tables = read_tables(opened_first, [{"case": "a"}, {"case": "z"}], log(), training=False)
    assert tables.created_at.tolist() == [2 * HOUR]
    assert tables.findings[0].what == "no event says when the lead came in"


def test_a_table_that_is_no_log_is_refused_without_one():
    assert "pass the events beside the leads" in refused(
        LOG, pd.DataFrame({"case": ["a"], "opened": [at(0)]})
    )


def test_a_lead_of_a_log_that_never_says_when_it_was_opened_is_left_out():
    frame = log()
    frame.loc[frame["case"] == "b", "opened"] = None
    tables = read_tables(LOG, frame, training=True)
    assert tables.lead_id.tolist() == ["a"]
    assert ("leads", "no 'opened' in any row of the lead", (0,), True) in found(tables)
    assert tables.leads.to_pydict() == {"amount": [40.0]}


# --- one lead and many ---

values = st.fixed_dictionaries(
    {
        "since": st.sampled_from([at(0), at(5), "2024-10-27T02:30", "never", None]),
        "staff": st.sampled_from(["1", 2, 2.5, "lots", "inf", None, True]),
        "country": st.sampled_from(["NL", " NL", "", "Select", 1, 1.0, "1.0", None, False]),
        "born": st.sampled_from(["1990-01-01", "1990-01-01T10:00:00+05:30", "2024-02-30", "x", None]),
    }
)


@settings(max_examples=50)
@given(st.lists(values, min_size=1, max_size=8))
def test_each_lead_reads_as_if_it_were_alone(rows):
    kinds = {"staff": "number", "country": "category", "born": "time"}
    contract = Contract(
        lead_id="id", created_at="since", timezone="Europe/Amsterdam", missing=("Select",), kinds=kinds
    )
    people = [{"id": number, **row} for number, row in enumerate(rows)]
    together = read_tables(contract, people, training=False)
    alone = [read_tables(contract, [person], training=False) for person in people]
    assert together.lead_id.tolist() == [lead for tables in alone for lead in tables.lead_id]
    assert together.created_at.tolist() == [moment for tables in alone for moment in tables.created_at]
    assert together.leads.to_pylist() == [row for tables in alone for row in tables.leads.to_pylist()]
