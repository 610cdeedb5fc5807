"""Snapshots and labels against brute force, and against each other."""

import gzip
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import STAGES, Contract, EventColumns, Events, Outcomes, Tables
from leadscore.data.tables import read_tables
from leadscore.errors import DataError, UsageError
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.features.defaults import declare
from leadscore.features.kernel import aggregate
from leadscore.features.plan import DAY, plan_of
from leadscore.features.snapshot import snapshot, training_snapshot

LOANS = Path(__file__).parents[3] / "shared" / "data" / "loan_applications_events_2011.csv.gz"
START = 1_600_000_000_000_000
FEATURES = (
    EventFeature("count", "visit"),
    AttributeFeature("category", "source", levels=("ads", "fair")),
    EventFeature("recency", "visit"),
    AttributeFeature("lead_age", family="engagement"),
    AttributeFeature("number", "size"),
    EventFeature("decayed_count", "call", half_life=3),
)


def world(seed=0, leads=60, events=900, outcomes=80):
    rng = np.random.default_rng(seed)
    created = START + rng.integers(0, 60 * DAY, leads)
    lead = rng.integers(0, leads, events)
    at = created[lead] + rng.integers(-DAY, 30 * DAY, events)
    closing = rng.integers(0, leads, outcomes)
    table = pa.table(
        {
            "source": pa.array(rng.choice(["ads", "fair", "web", None], leads), pa.string()),
            "size": pa.array(rng.normal(size=leads)),
        }
    )
    return Tables(
        leads=table,
        lead_id=rng.permutation(leads) + 1000,
        position=np.arange(leads) * 2 + 1,
        created_at=created,
        order=None,
        target=None,
        events=Events(lead, at, rng.integers(0, 2, events).astype(np.int32), ("call", "visit")),
        outcomes=Outcomes(
            closing,
            rng.integers(0, len(STAGES), outcomes).astype(np.int32),
            created[closing] + rng.integers(0, 40 * DAY, outcomes),
        ),
        kinds={"source": "category", "size": "number"},
        findings=(),
    )


def wide(target=(1, 0, np.nan, 1), **other):
    size = len(target)
    table = pa.table({"size": pa.array(np.arange(size, dtype=float)), "source": pa.array(["ads"] * size)})
    empty = Tables(table, np.arange(size), np.arange(size), None, None, None, None, None, {}, ())
    return replace(empty, target=np.array(target, float), **other)


ATTRIBUTES = (AttributeFeature("number", "size"), AttributeFeature("category", "source", levels=("ads",)))

# ----------------------------------------------------------------------------------------------------- labels
OUTCOME = st.tuples(st.integers(0, 3), st.sampled_from(STAGES), st.integers(0, 14))


def brute_force(created, outcomes, ages, horizon, end):
    """Follow each lead by hand: (lead, age, y, mature, days, ended, seen) in whole days."""
    rows = []
    for age in ages:
        for lead, day in enumerate(created):
            own = [(stage, at) for who, stage, at in outcomes if who == lead]
            moment = day + age
            closed = any(at < moment for stage, at in own if stage in ("won", "lost", "disqualified"))
            if closed or moment > end:
                continue
            wins = [at for stage, at in own if stage == "won" and moment <= at < moment + horizon]
            ever = [at for stage, at in own if stage == "won"]
            gone = [at for stage, at in own if stage in ("lost", "disqualified")]
            until, ended = (min(ever), 1) if ever else (min(gone), 2) if gone else (end, 0)
            mature = moment + horizon <= end
            rows.append((lead, age, int(bool(wins)), mature, until - moment, ended, end - moment))
    return rows


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
    st.lists(OUTCOME, max_size=10),
    st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True),
    st.integers(1, 8),
)
def test_labels_equal_brute_force(created, outcomes, ages, horizon):
    end = max([*created, *(at for _, _, at in outcomes)])
    rows = brute_force(created, outcomes, ages, horizon, end)
    who, stage, at = zip(*outcomes, strict=True) if outcomes else ((),) * 3
    tables = wide(
        (np.nan,) * 4,
        created_at=START + np.array(created) * DAY,
        outcomes=Outcomes(
            np.array(who, np.int64),
            np.array([STAGES.index(name) for name in stage], np.int32),
            START + np.array(at, np.int64) * DAY,
        ),
    )
    if not rows:
        with pytest.raises(DataError, match="leads to learn from"):
            training_snapshot(tables, ATTRIBUTES, ages=ages, horizon=horizon)
        return
    found = training_snapshot(tables, ATTRIBUTES, ages=ages, horizon=horizon)
    followed = (found.days, found.ended, found.seen)
    got = zip(found.lead_id, found.age, found.y, found.mature, *followed, strict=True)
    assert [tuple(map(int, row)) for row in got] == [tuple(map(int, row)) for row in rows]
    np.testing.assert_array_equal(
        found.as_of, [START + (created[lead] + age) * DAY for lead, age, *_ in rows]
    )
    np.testing.assert_array_equal(found.known_at, found.as_of + horizon * DAY)
    np.testing.assert_array_equal(found.order, found.as_of)
    assert found.y.dtype == found.ended.dtype == np.int8
    assert found.horizon == horizon
    np.testing.assert_array_equal(found.y == 1, (found.ended == 1) & (found.days < horizon))
    np.testing.assert_array_equal(found.mature, found.seen >= horizon)


def test_what_came_of_rows_goes_with_them_and_is_none_without_times():
    found = training_snapshot(world(), FEATURES, ages=(1, 5), horizon=10)
    rows = np.array([7, 2, 30])
    some = found.take(rows)
    for name in ("days", "ended", "seen"):
        np.testing.assert_array_equal(getattr(some, name), getattr(found, name)[rows])
    timeless, scoring = training_snapshot(wide(), ATTRIBUTES), snapshot(world(), FEATURES, START + 50 * DAY)
    assert {getattr(part, name) for part in (timeless, scoring) for name in ("days", "ended", "seen")} == {
        None
    }


# ---------------------------------------------------------------------------------------------------------- X
def test_training_rows_equal_scoring_rows():
    """What a model learns from is what it will be shown: the same lead, the same moment, the same bits."""
    tables = world()
    training = training_snapshot(tables, FEATURES, ages=(1, 5, 20), horizon=10)
    assert len(training.X) > 80
    for age in (1, 5, 20):
        moment = tables.created_at + age * DAY
        scoring = snapshot(tables, FEATURES, moment)
        own = training.age == age
        rows = pd.Series(np.arange(len(scoring.X)), index=scoring.lead_id)[training.lead_id[own]].to_numpy()
        expected = scoring.X.iloc[rows].reset_index(drop=True)
        pd.testing.assert_frame_equal(training.X[own].reset_index(drop=True), expected, check_exact=True)


def test_columns_are_the_features():
    tables = world()
    found = snapshot(tables, FEATURES, START + 90 * DAY)
    assert list(found.X.columns) == [feature.name for feature in FEATURES]
    assert {str(dtype) for dtype in found.X.dtypes} == {"float64", "category"}
    assert list(found.X["source"].cat.categories) == ["ads", "fair", "(other)"]
    events = tuple(feature for feature in FEATURES if isinstance(feature, EventFeature))
    numbers = aggregate(plan_of(events), tables.events, np.full(60, START + 90 * DAY))
    assert found.X[[feature.name for feature in events]].to_numpy().tobytes() == numbers.tobytes()
    np.testing.assert_array_equal(found.lead_id, tables.lead_id)
    np.testing.assert_array_equal(found.position, tables.position)
    assert found.y is found.mature is found.age is None


def test_leads_to_come_are_not_there():
    tables = world()
    moment = int(np.sort(tables.created_at)[30])
    found = snapshot(tables, FEATURES, moment)
    there = tables.created_at < moment
    assert there.sum() == 30
    np.testing.assert_array_equal(found.lead_id, tables.lead_id[there])
    np.testing.assert_array_equal(found.position, tables.position[there])
    assert (found.X["lead_age"] > 0).all()


def test_a_row_does_not_depend_on_the_others():
    tables = world()
    moments = tables.created_at + np.arange(60) * DAY // 2 + 1
    whole = snapshot(tables, FEATURES, moments)
    for lead in (0, 17, 59):
        own = tables.events.lead == lead
        alone = replace(
            tables,
            leads=tables.leads.slice(lead, 1),
            lead_id=tables.lead_id[[lead]],
            position=tables.position[[lead]],
            created_at=tables.created_at[[lead]],
            events=replace(
                tables.events,
                lead=np.zeros(own.sum(), np.int64),
                at=tables.events.at[own],
                type=tables.events.type[own],
            ),
        )
        found = snapshot(alone, FEATURES, moments[[lead]])
        expected = whole.X.iloc[[lead]].reset_index(drop=True)
        pd.testing.assert_frame_equal(found.X, expected, check_exact=True)


def test_no_events_is_a_lead_that_did_nothing():
    found = snapshot(replace(world(), events=None), FEATURES, START + 90 * DAY)
    assert not found.X["visit_count"].any()
    assert found.X["visit_recency"].isna().all()


def test_a_snapshot_of_nobody_has_the_columns():
    found = snapshot(world(), FEATURES, START - 90 * DAY)
    assert found.X.shape == (0, len(FEATURES))
    assert list(found.X["source"].cat.categories) == ["ads", "fair", "(other)"]


def test_some_of_the_rows():
    whole = training_snapshot(world(), FEATURES, ages=(1, 5), horizon=10)
    rows = np.array([40, 3, 17])
    some = whole.take(rows)
    pd.testing.assert_frame_equal(some.X, whole.X.iloc[rows].reset_index(drop=True))
    for name in ("lead_id", "position", "as_of", "y", "mature", "known_at", "group", "order", "age"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows])
    assert some.horizon == whole.horizon


def test_groups_follow_their_leads():
    tables = world()
    group = np.arange(60) // 4
    found = training_snapshot(tables, FEATURES, ages=(1, 5), horizon=10, group=group)
    by_id = dict(zip(tables.lead_id.tolist(), group.tolist(), strict=True))
    assert found.group.tolist() == [by_id[lead] for lead in found.lead_id.tolist()]
    alone = training_snapshot(tables, FEATURES, ages=(1, 5), horizon=10)
    assert pd.Series(alone.group).groupby(alone.lead_id).nunique().max() == 1
    assert len(np.unique(alone.group)) == len(np.unique(alone.lead_id))


# -------------------------------------------------------------------------------------------- without a clock
def test_wide_table_is_one_row_a_lead_with_a_known_target():
    tables = wide(order=np.array([4.0, 3.0, 2.0, 1.0]))
    found = training_snapshot(tables, ATTRIBUTES, group=np.array([7, 8, 9, 7]))
    assert found.lead_id.tolist() == [0, 1, 3]
    assert found.y.tolist() == [1, 0, 1]
    assert found.order.tolist() == [4, 3, 1]
    assert found.group.tolist() == [7, 8, 7]
    assert found.X["size"].tolist() == [0, 1, 3]
    assert found.as_of is found.mature is found.known_at is found.age is found.horizon is None


def test_wide_table_scores_without_a_moment():
    found = snapshot(wide(), ATTRIBUTES, None)
    assert found.lead_id.tolist() == [0, 1, 2, 3]
    assert found.as_of is found.order is found.y is None


def test_moment_of_creation_orders_a_wide_table():
    found = training_snapshot(wide(created_at=np.array([30, 20, 10, 40])), ATTRIBUTES)
    assert found.order.tolist() == [30, 20, 40]


# -------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize("feature", [FEATURES[0], FEATURES[3], AttributeFeature("days_since", "source")])
def test_time_needs_a_moment(feature):
    with pytest.raises(UsageError, match="as_of"):
        snapshot(world(), (feature,), None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ages": (1,)},
        {"horizon": 30},
        {"ages": (0, 1), "horizon": 30},
        {"ages": (1,), "horizon": 0},
        {"ages": (1,), "horizon": float("nan")},
    ],
)
def test_ages_and_horizon_are_needed(arguments):
    with pytest.raises(UsageError, match="ages and a horizon above 0"):
        training_snapshot(world(), FEATURES, **arguments)


def test_outcomes_need_a_clock():
    with pytest.raises(DataError, match="created_at"):
        training_snapshot(replace(world(), created_at=None), FEATURES, ages=(1,), horizon=30)


def test_events_need_outcomes_with_times():
    with pytest.raises(DataError, match="outcomes with their times"):
        training_snapshot(wide(), (*ATTRIBUTES, EventFeature("count", "visit")))


def test_something_must_have_come_of_the_leads():
    with pytest.raises(DataError, match="neither outcomes nor a target"):
        training_snapshot(replace(wide(), target=None), ATTRIBUTES)
    with pytest.raises(DataError, match="check the target"):
        training_snapshot(wide((np.nan,) * 4), ATTRIBUTES)


# ------------------------------------------------------------------------------------------------- real input
@pytest.mark.skipif(not LOANS.exists(), reason="the loan applications are not on this machine")
def test_loan_applications_open_at_fixed_ages():
    """Rows, labels and counts of events equal those that SQL finds in the file itself."""
    contract = Contract(
        lead_id="application_id",
        created_at="registered_at",
        event_log=True,
        events=EventColumns(occurred_at="event_time", event_type="activity", content="lifecycle"),
        outcome_events={"A_ACTIVATED": "won", "A_DECLINED": "lost", "A_CANCELLED": "lost"},
        ignore=("resource",),
    )
    tables = read_tables(contract, LOANS, training=True)
    features = declare(tables, extra=(EventFeature("count", "W_Nabellen offertes", content="COMPLETE"),))
    found = training_snapshot(tables, features, ages=(1, 3, 7, 14), horizon=30)
    with gzip.open(LOANS, "rt", encoding="utf-8") as file:
        log = pd.read_csv(file)
    for name in ("event_time", "registered_at"):
        log[name] = (
            pd.to_datetime(log[name], utc=True, format="ISO8601")
            .astype("datetime64[us, UTC]")
            .astype("int64")
        )
    connection = duckdb.connect(config={"threads": 1})
    connection.register("log", log)
    expected = connection.execute(f"""
        with leads as (
            select application_id as id, min(registered_at) as created,
                min(event_time) filter (activity in ('A_ACTIVATED', 'A_DECLINED', 'A_CANCELLED')) as closed,
                min(event_time) filter (activity = 'A_ACTIVATED') as won
            from log group by id
        ), moments as (
            select *, created + age * {DAY} as as_of from leads, (select unnest([1, 3, 7, 14]) as age)
            where closed is null or closed >= created + age * {DAY}
        )
        select age, id, coalesce(any_value(won) < any_value(as_of) + 30 * {DAY}, false)::int as y,
            any_value(as_of) + 30 * {DAY} <= (select max(event_time) from log) as mature,
            count(*) filter (activity = 'W_Nabellen offertes' and lifecycle = 'COMPLETE') as calls,
            count(*) filter (activity = 'O_SENT') as offers,
            (any_value(as_of) - max(event_time) filter (activity = 'O_SENT')) / {DAY}.0::double as since,
        from moments left join log on id = application_id and event_time < as_of
        where as_of <= (select max(event_time) from log) group by age, id order by age, id
    """).df()
    ours = pd.DataFrame(
        {
            "age": found.age.astype(int),
            "id": found.lead_id,
            "y": found.y,
            "mature": found.mature,
            "calls": found.X["W_Nabellen_offertes_COMPLETE_count"],
            "offers": found.X["O_SENT_count"],
            "since": found.X["O_SENT_recency"],
        }
    ).sort_values(["age", "id"], ignore_index=True)
    assert len(ours) > 10_000
    pd.testing.assert_frame_equal(ours, expected, check_dtype=False, rtol=1e-12)
