"""The three real tables of the team, against DuckDB and pandas; skipped where they are not at hand."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from leadscore.data.identity import duplicate_groups
from leadscore.data.tables import ROW_NUMBER, Contract, EventColumns, read_tables
from leadscore.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
STUDENTS = SHARED / "x_education_leads.csv"
BANK = SHARED / "bank-additional-full.csv"
LOANS = SHARED / "loan_applications_events_2011.csv.gz"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data is not kept with the project")

STUDENT = Contract(
    lead_id="Prospect ID",
    order_by="Lead Number",
    target="Converted",
    won_values=("1",),
    missing=("Select",),
)
CALL = Contract(
    lead_id=ROW_NUMBER,
    order_by=ROW_NUMBER,
    target="y",
    won_values=("yes",),
    delimiter=";",
    missing=("unknown",),
    field_missing={"pdays": ("999",)},
)
LOAN = Contract(
    lead_id="application_id",
    created_at="registered_at",
    event_log=True,
    events=EventColumns("event_time", "activity", channel="lifecycle", content="resource"),
    outcome_events={"A_ACTIVATED": "won", "A_DECLINED": "lost", "A_CANCELLED": "lost"},
)


def sql(query, path, **options):
    relation = duckdb.read_csv(str(path), all_varchar=True, **options)
    return duckdb.query_df(relation.df(), "t", query).df()


def test_leads_with_hidden_missing_values():
    tables = read_tables(STUDENT, STUDENTS, training=True)
    raw = pd.read_csv(STUDENTS, dtype=str, keep_default_na=False)
    assert len(tables.lead_id) == 9240
    assert tables.lead_id.tolist() == raw["Prospect ID"].tolist()
    assert round(100 * tables.target.mean(), 2) == 38.54
    assert tables.order.tolist() == raw["Lead Number"].astype(float).tolist()
    assert not tables.findings
    fields = raw.drop(columns=["Prospect ID", "Lead Number", "Converted"])
    assert tables.leads.column_names == fields.columns.tolist()
    for name in fields:
        missing = fields[name].str.strip().isin(["", "Select"])
        assert tables.leads[name].null_count == missing.sum()
        if tables.kinds[name] == "number":
            expected = fields[name].mask(missing).astype(float)
            assert np.array_equal(tables.leads[name].to_numpy(), expected, equal_nan=True)
        else:
            got = tables.leads[name].to_pandas()
            assert got[~missing].tolist() == fields[name].str.strip()[~missing].tolist()
    assert {name for name, kind in tables.kinds.items() if kind == "number"} == {
        "TotalVisits",
        "Total Time Spent on Website",
        "Page Views Per Visit",
        "Asymmetrique Activity Score",
        "Asymmetrique Profile Score",
    }


@pytest.mark.parametrize(("target", "expected"), [(None, 1281), ("Converted", 1296)])
def test_equal_rows_of_leads_are_one_group(target, expected):
    won_values = ("1",) if target else ()
    contract = Contract(lead_id="Prospect ID", ignore=("Lead Number",), target=target, won_values=won_values)
    tables = read_tables(contract, STUDENTS, training=True)
    groups = duplicate_groups(tables)
    ids = ["Prospect ID", "Lead Number", *([target] if target else [])]
    raw = pd.read_csv(STUDENTS, dtype=str).drop(columns=ids)
    assert len(groups) - len(np.unique(groups)) == raw.duplicated().sum() == expected


@pytest.mark.parametrize("engine", ["pandas", "polars"])
def test_other_readers_of_the_same_file_give_the_same_leads(engine):
    tables = read_tables(STUDENT, STUDENTS, training=True)
    typed = pd.read_csv(STUDENTS) if engine == "pandas" else pl.read_csv(STUDENTS)
    again = read_tables(STUDENT, typed, training=True)
    assert again.lead_id.tolist() == tables.lead_id.tolist()
    assert dict(again.kinds) == dict(tables.kinds)
    for name in tables.kinds:
        assert again.leads[name].to_pylist() == tables.leads[name].to_pylist()


def test_calls_in_order_of_time_without_an_id():
    tables = read_tables(CALL, BANK, training=True)
    raw = pd.read_csv(BANK, sep=";")
    assert len(tables.lead_id) == 41188
    assert tables.order.tolist() == tables.lead_id.tolist() == list(range(41188))
    shares = [round(100 * part.mean(), 1) for part in np.array_split(tables.target, 5)]
    assert shares == [3.1, 5.4, 5.9, 11.1, 30.8]
    assert tables.leads["pdays"].null_count == (raw["pdays"] == 999).sum()
    assert tables.leads["job"].null_count == (raw["job"] == "unknown").sum()
    for name in raw.select_dtypes("number").columns.drop("pdays"):
        assert np.array_equal(tables.leads[name].to_numpy(), raw[name])
    with pytest.raises(DataError, match=r"set delimiter to ';' in the config"):
        read_tables(Contract(lead_id=ROW_NUMBER), BANK, training=True)


def test_applications_are_read_from_their_event_log():
    tables = read_tables(LOAN, LOANS, training=True)
    leads = sql(
        """
        select cast(application_id as bigint) as id,
               epoch_us(min(cast(registered_at as timestamptz))) as created_at,
               arg_min(cast(amount_req as double), cast(event_time as timestamptz)) as amount,
               count(*) filter (activity not in ('A_ACTIVATED', 'A_DECLINED', 'A_CANCELLED')) as events,
               coalesce(sum(epoch_us(cast(event_time as timestamptz)) % 1000003)
                   filter (activity not in ('A_ACTIVATED', 'A_DECLINED', 'A_CANCELLED')), 0) as times,
               count(*) filter (activity = 'A_ACTIVATED') as won,
               count(*) filter (activity in ('A_DECLINED', 'A_CANCELLED')) as lost
        from t group by 1 order by 1
        """,
        LOANS,
    )
    order = np.argsort(tables.lead_id)
    n = len(order)
    assert n == 7455
    assert tables.lead_id[order].tolist() == leads["id"].tolist()
    assert tables.created_at[order].tolist() == leads["created_at"].tolist()
    assert tables.leads.column_names == ["amount_req"]
    assert tables.leads["amount_req"].to_numpy()[order].tolist() == leads["amount"].tolist()
    events, outcomes = tables.events, tables.outcomes
    assert np.bincount(events.lead, minlength=n)[order].tolist() == leads["events"].tolist()
    times = np.bincount(events.lead, weights=events.at % 1000003, minlength=n)
    assert times[order].tolist() == leads["times"].tolist()
    for stage in ("won", "lost"):
        of_stage = outcomes.lead[outcomes.stage == outcomes.stages.index(stage)]
        assert np.bincount(of_stage, minlength=n)[order].tolist() == leads[stage].tolist()
    assert len(np.unique(outcomes.lead[outcomes.stage == 0])) == 1130
    assert n - len(np.unique(outcomes.lead)) == 645
    assert not tables.findings
    last = sql("select max(epoch_us(cast(event_time as timestamptz))) as last from t", LOANS)["last"][0]
    assert tables.end == last


def test_the_log_reads_the_same_from_text_and_from_timestamps():
    text = read_tables(LOAN, LOANS, training=True)
    frame = pd.read_csv(LOANS)
    typed = pa.Table.from_pandas(frame)
    for name in ("registered_at", "event_time"):
        moments = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.tz_convert(None).to_numpy()
        place = typed.column_names.index(name)
        typed = typed.set_column(place, name, pa.array(moments).cast(pa.timestamp("us", "UTC")))
    again = read_tables(LOAN, typed, training=True)
    assert again.lead_id.tolist() == text.lead_id.tolist()
    assert again.created_at.tolist() == text.created_at.tolist()
    assert again.events.at.tolist() == text.events.at.tolist()
    assert again.events.content.words == text.events.content.words
    assert again.events.content.codes.tolist() == text.events.content.codes.tolist()
    assert again.leads.equals(text.leads)
