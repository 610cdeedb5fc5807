"""Attributes as of a moment, against following every change by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.tables import Contract, HistoryColumns, read_tables
from leadscore.errors import ConfigError, DataError, UsageError
from leadscore.features.attributes import attribute
from leadscore.features.declare import AttributeFeature
from leadscore.features.plan import DAY
from leadscore.features.snapshot import snapshot, training_snapshot

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
START = round(EPOCH.timestamp()) * 10**6
HOUR = 3600 * 10**6
KINDS = {"size": "number", "source": "category", "title": "text", "trial": "time"}
CONTRACT = Contract(lead_id="id", created_at="since", history=HistoryColumns(), kinds=KINDS)
FEATURES = (
    AttributeFeature("number", "size"),
    AttributeFeature("category", "source", levels=("ads", "fair")),
    AttributeFeature("seniority", "title"),
    AttributeFeature("days_since", "trial"),
    AttributeFeature("filled_share", fields=("size", "source", "title", "trial")),
    AttributeFeature("lead_age", family="engagement"),
)
VALUES = {
    "size": ["1", "2.5", "30"],
    "source": ["ads", "fair", "web"],
    "title": ["CEO", "buyer", "VP Sales"],
    "trial": ["2023-12-30T00:00:00Z", "2024-01-01T05:00:00Z", "2024-01-01T12:00:00+02:00"],
}


def at(hours):
    return (EPOCH + timedelta(hours=hours)).isoformat()


def lead(number, **fields):
    return {"id": number, "since": at(-1), **fields}


def change(number, field, value, hours):
    return {"lead_id": number, "field": field, "value": value, "changed_at": at(hours)}


def read(leads, history, contract=CONTRACT, training=False):
    contract = replace(contract, history=HistoryColumns(lead_id="lead_id"))
    return read_tables(contract, leads, history=history, training=training)


def told(tables):
    return [(f.table, f.what, f.rows, f.rejected) for f in tables.findings]


CELLS = st.fixed_dictionaries({f: st.one_of(st.none(), st.sampled_from(v)) for f, v in VALUES.items()})
CHANGES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(list(VALUES)), st.integers(0, 3), st.integers(0, 9)),
    max_size=20,
    unique_by=lambda row: (row[0], row[1], row[3]),
)


@given(st.lists(CELLS, min_size=3, max_size=3), CHANGES, st.lists(st.integers(0, 10), min_size=3, max_size=3))
def test_attributes_are_those_of_a_table_as_it_stood_at_the_moment(now, changes, hours):
    """Follow the changes by hand, write down what the leads table said then, and read that."""
    history = [change(who, f, (VALUES[f] + [None])[value], h) for who, f, value, h in changes]
    tables = read([lead(row, **cells) for row, cells in enumerate(now)], history)
    as_of = START + np.array(hours) * HOUR
    then = []
    for row, cells in enumerate(now):
        said = dict(cells)
        for field in VALUES:
            own = sorted(
                (h, (VALUES[field] + [None])[v]) for who, f, v, h in changes if (who, f) == (row, field)
            )
            if own:
                before = [value for hour, value in own if hour < hours[row]]
                said[field] = before[-1] if before else None
        then.append(lead(row, **said))
    expected = snapshot(read(then, None), FEATURES, as_of)
    found = snapshot(tables, FEATURES, as_of)
    np.testing.assert_array_equal(found.matrix, expected.matrix)


@given(CHANGES, st.integers(0, 9))
def test_a_change_at_the_moment_or_later_changes_nothing_about_leads_with_a_history(changes, now):
    leads = [lead(row, size=7, source="web") for row in range(3)]
    born = [change(row, f, VALUES[f][0], -5) for row in range(3) for f in VALUES]
    history = [change(who, f, VALUES[f][v % 3], h) for who, f, v, h in changes]
    before = [c for c, (*_, hour) in zip(history, changes, strict=True) if hour < now]
    moment = START + now * HOUR
    np.testing.assert_array_equal(
        snapshot(read(leads, born + history), FEATURES, moment).matrix,
        snapshot(read(leads, born + before), FEATURES, moment).matrix,
    )


def test_many_snapshots_of_a_lead_each_see_their_own_value():
    contract = Contract(
        lead_id="id",
        created_at="since",
        kinds={"size": "number"},
        history=HistoryColumns(),
        target="won",
        won_values=("1",),
    )
    leads = pd.DataFrame({"id": [1, 2], "since": at(0), "size": [9.0, 8.0], "won": [1, 0]})
    history = pd.DataFrame(
        [(1, "size", day, at(24 * day)) for day in range(5)], columns=["id", "field", "value", "changed_at"]
    )
    tables = read_tables(contract, leads, history=history, training=True)
    rows = np.array([0] * 6 + [1])
    days = np.array([0, 1, 2, 3, 4, 50, 2])
    found = attribute(FEATURES[0], tables, rows, START + days * DAY)
    np.testing.assert_array_equal(found, [np.nan, 0, 1, 2, 3, 4, 8])
    np.testing.assert_array_equal(
        attribute(FEATURES[0], tables, rows, START + days * DAY + 1), [0, 1, 2, 3, 4, 4, 8]
    )
    assert attribute(FEATURES[0], tables, rows, None).tolist() == [9] * 6 + [8]
    np.testing.assert_array_equal(training_snapshot(tables, FEATURES[:1]).matrix[:, 0], [9, 8])


HISTORY = [
    change(1, "size", 5, 1),
    change(1, "size", "many", 2),
    change(2, "source", " fair ", 1),
    change(2, "source", "Select", 2),
    change(2, "trial", "2024-01-01T00:00:00Z", 3),
    change(3, "source", 1.0, 1),
]


@pytest.mark.parametrize("way", ["records", "pandas", "polars", "duckdb", "arrow", "csv", "parquet"])
def test_the_same_history_comes_out_of_every_source(way, tmp_path):
    texts = pd.DataFrame([row | {"value": str(row["value"]).removesuffix(".0")} for row in HISTORY])
    table = pa.Table.from_pandas(texts)
    texts.to_csv(tmp_path / "history.csv", index=False)
    texts.to_parquet(tmp_path / "history.parquet")
    given = {
        "records": HISTORY,
        "pandas": texts,
        "polars": pl.DataFrame(texts),
        "duckdb": duckdb.connect().from_arrow(table),
        "arrow": table,
        "csv": tmp_path / "history.csv",
        "parquet": tmp_path / "history.parquet",
    }[way]
    tables = read(
        [lead(row) for row in (1, 2, 3)],
        given,
        Contract(lead_id="id", created_at="since", kinds=KINDS, missing=("Select",)),
    )
    history = tables.history
    assert history["size"].value.to_pylist() == [5.0, None]
    assert history["source"].value.to_pylist() == ["fair", None, "1"]
    assert history["source"].lead.tolist() == [1, 1, 2]
    assert history["source"].at.tolist() == [START + h * HOUR for h in (1, 2, 1)]
    assert history["trial"].value.cast(pa.int64()).to_pylist() == [START]
    assert told(tables) == [("history", "'size' is no number and counts as missing", (1,), False)]


def test_rows_that_do_not_fit_are_left_out_and_told_of():
    history = [
        change(None, "size", 1, 1),
        change(7, "size", 1, 1),
        change(1, None, 1, 1),
        {**change(1, "size", 1, 1), "changed_at": "yesterday"},
        {**change(1, "size", 1, 1), "changed_at": None},
        change(1, "colour", "red", 1),
        change(1, "size", 2, 1),
        change(1, "since", "2024-01-01", 1),
        change(1, "size", float("inf"), 4),
    ]
    contract = Contract(lead_id="id", created_at="since", kinds={"size": "number"})
    tables = read([lead(1, size=3)], history, contract, training=True)
    assert tables.history["size"].value.to_pylist() == [2.0, None]
    assert told(tables) == [
        ("history", "no 'field'", (2,), True),
        ("history", "'field' is no attribute of the leads", (5,), True),
        ("history", "no 'lead_id'", (0,), True),
        ("history", "'changed_at' is no time in ISO 8601", (3,), True),
        ("history", "no 'changed_at'", (4,), True),
        ("history", "'lead_id' is not in the leads table", (1,), True),
        ("history", "'size' is infinite and counts as missing", (8,), False),
    ]
    assert "colour" not in str(told(read([lead(1, size=3)], history, contract)))


def test_two_values_at_one_moment_are_the_least_in_any_order():
    history = [change(1, "size", value, 3) for value in ("9", "10", None, "10")]
    for order in (history, history[::-1]):
        tables = read([lead(1)], order)
        assert tables.history["size"].value.to_pylist() == [9.0]
        (finding,) = tables.findings
        assert (finding.count, finding.rejected) == (3, True)
    assert not read([lead(1)], [change(1, "size", "9", 3), change(1, "size", 9.0, 3)]).findings


def test_a_field_of_the_wrong_kind_a_missing_column_and_a_table_too_many_are_refused():
    wrong = [change(1, "size", "Ann", hours) for hours in range(30)]
    with pytest.raises(DataError, match="numbers in column 'size' of the history table"):
        read([lead(1)], wrong)
    with pytest.raises(DataError, match=r"'changed_at' in the history table.*did you mean 'changed'"):
        read([lead(1)], pd.DataFrame({"lead_id": [1], "field": ["size"], "value": [1], "changed": [at(1)]}))
    with pytest.raises(UsageError, match="no history table"):
        read_tables(Contract(lead_id="id"), [{"id": 1}], history=[], training=False)
    with pytest.raises(UsageError, match="the history table that the config describes"):
        read_tables(CONTRACT, [lead(1)], training=True)
    assert read_tables(CONTRACT, [lead(1)], training=False).history is None


def test_the_contract_with_a_history_is_the_same_after_json():
    contract = Contract(lead_id="id", history=HistoryColumns(field="name", changed_at="when"))
    assert Contract.from_dict(contract.to_dict()) == contract
    with pytest.raises(ConfigError, match="did you mean 'changed_at'"):
        Contract.from_dict({"lead_id": "id", "history": {"changed_att": "x"}})
