"""Every aggregate of events once more, in SQL that reads as its definition, on logs of all kinds."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import Coded, Contract, EventColumns, Events
from leadscore.data.tables import read_tables
from leadscore.features.declare import EventFeature
from leadscore.features.defaults import declare
from leadscore.features.kernel import aggregate
from leadscore.features.plan import _AGGREGATES, DAY, plan_of
from leadscore.features.snapshot import snapshot, training_snapshot
from leadscore.simulate import simulate

HOUR = DAY // 24
CONNECTION = duckdb.connect(config={"threads": 1})

# ----------------------------------------------------------------------------------------- features, in SQL
# Each aggregate of the events that are `about` it and `recent`; ages are in microseconds.
IN_SQL = {
    "count": "count(*) filter (about and recent)",
    "decayed_count": "coalesce(sum(pow(0.5::double, age / half_life)) filter (about), 0)",
    "sum": "coalesce(sum(value) filter (about and recent), 0)",
    "decayed_sum": "coalesce(sum(value * pow(0.5::double, age / half_life)) filter (about), 0)",
    "mean": "avg(value) filter (about and recent)",
    "ratio": "count(*) filter (about and recent) / nullif(count(*) filter (divides and recent), 0)",
    "trend": "count(*) filter (about and recent) - count(*) filter (about and before) / 4.0::double",
    "recency": "min(age) filter (about) / 86400e6::double",
    "first_seen": "max(age) filter (about) / 86400e6::double",
    "active_days": "count(distinct day) filter (about and recent)",
    "distinct_contents": "count(distinct content) filter (about and recent)",
}
EMPTY = {"mean": np.nan, "ratio": np.nan, "recency": np.nan, "first_seen": np.nan}  # others: 0
ROUNDED = ("decayed_count", "sum", "decayed_sum", "mean")
QUERY = f"""
    with known as (
        select row, log.* exclude who, epoch_us(as_of) - epoch_us(occurred) as age,
            timezone('UTC', occurred)::date as day
        from moments join log on log.who = moments.who and occurred < as_of and known <= as_of
    ), seen as (
        select feature, row, known.* exclude row, half_life,
            (kinds is null or list_contains(kinds, kind))
                and (contents is null or list_contains(contents, content)) as about,
            kind = per as divides,
            span is null or age <= span as recent,
            age > span and age <= 5 * span as before
        from features join known on only_channel is null or channel = only_channel
    ), found as (
        select feature, row, {", ".join(f"({sql})::double as {name}" for name, sql in IN_SQL.items())}
        from seen where about or divides group by feature, row
    )
    select case aggregate {" ".join(f"when '{name}' then {name}" for name in IN_SQL)} end as value
    from features cross join moments left join found using (feature, row) order by row, feature
"""


def sql_values(features, log, moments):
    """Give what the features are: `log` has who, occurred, known, kind, channel, content, value."""
    kinds = [f.types if f.event is None else [f.event] for f in features]
    contents = [f.contents if f.content is None else [f.content] for f in features]
    spans = [None if f.window is None else round(f.window * DAY) for f in features]
    declared = pa.table(
        {
            "feature": np.arange(len(features)),
            "aggregate": [f.aggregate for f in features],
            "kinds": pa.array(kinds, pa.list_(pa.string())),
            "contents": pa.array(contents, pa.list_(pa.string())),
            "only_channel": pa.array([f.channel for f in features], pa.string()),
            "per": pa.array([f.per for f in features], pa.string()),
            "span": pa.array(spans, pa.int64()),
            "half_life": [float((f.half_life or 1) * DAY) for f in features],
        }
    )
    who, as_of = moments
    CONNECTION.register("log", log)
    CONNECTION.register("features", declared)
    CONNECTION.register("moments", pa.table({"row": np.arange(len(as_of)), "who": who, "as_of": as_of}))
    values = np.ma.filled(np.ma.asarray(CONNECTION.execute(QUERY).fetchnumpy()["value"], float), np.nan)
    values = values.reshape(len(as_of), len(features))
    return np.where(np.isnan(values), [EMPTY.get(f.aggregate, 0.0) for f in features], values)


def times(us):
    return pa.array(us, pa.int64()).cast(pa.timestamp("us", "UTC"))


def assert_equal(features, ours, sql, atol):
    assert ours.shape == sql.shape
    for j, feature in enumerate(features):
        if feature.aggregate in ROUNDED:
            np.testing.assert_allclose(ours[:, j], sql[:, j], rtol=1e-9, atol=atol, err_msg=feature.name)
        else:
            np.testing.assert_array_equal(ours[:, j], sql[:, j], err_msg=feature.name)


# ------------------------------------------------------------------------------------------- logs, generated
TYPES = ("call", "open", "visit", "zap")  # no feature names "zap"
CONTENTS = ("/docs", "/pricing", "a", "it's")
CHANNELS = ("ads", "mail")
WINDOWS = (None, 0.5, 1, 7, 30.25)
GROUP = {"contents": ("/pricing", "a", "never"), "label": "pricing pages"}
SUBJECTS = (
    {"event": "visit"},
    {"event": "call"},
    {"event": None},
    {"event": None, "types": ("call", "visit")},
    {"event": None, "types": ("open", "visit")},
    {"event": "visit", "content": "/pricing"},
    {"event": "visit", "content": "it's", "channel": "ads"},
    {"event": "visit", **GROUP},
    {"event": "call", "channel": "mail", **GROUP},
    {"event": "open", "channel": "ads"},
    {"event": None, "channel": "mail"},
    {"event": "never"},
    {"event": "visit", "channel": "never"},
)
FEATURES = (
    *(
        EventFeature(name, window=window, **subject)
        for name in ("count", "sum", "mean", "active_days", "distinct_contents")
        for subject, window in itertools.product(SUBJECTS, WINDOWS)
    ),
    *(
        EventFeature(name, half_life=half_life, **subject)
        for name in ("decayed_count", "decayed_sum")
        for subject, half_life in itertools.product(SUBJECTS, (0.25, 14))
    ),
    *(EventFeature(name, **subject) for name in ("recency", "first_seen") for subject in SUBJECTS),
    *(
        EventFeature("trend", window=window, **subject)
        for subject, window in itertools.product(SUBJECTS, (None, 1, 6.05))  # 5 x 6.05 is another's window
    ),
    *(
        EventFeature("ratio", per=per, window=window, **subject)
        for subject, window, per in itertools.product(SUBJECTS, WINDOWS, ("open", "visit"))
        if subject["event"]
    ),
)
EDGES = sorted({0, 35 * DAY, *(round(n * days * DAY) for days in (0.5, 1, 6.05, 30.25) for n in (1, 5))})
ANCHORS = [
    int(moment.timestamp()) * 1_000_000
    for moment in (
        datetime(2024, 2, 29, 5, tzinfo=UTC),  # a leap day
        datetime(2024, 3, 1, tzinfo=UTC),  # right after it, at midnight
        datetime(2024, 3, 31, 3, tzinfo=ZoneInfo("Europe/Amsterdam")),  # the clocks went forward just now
        datetime(2024, 10, 27, 2, fold=1, tzinfo=ZoneInfo("Europe/Amsterdam")),  # and back
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),  # earlier moments are negative
    )
]
EVENT = st.tuples(
    st.integers(0, 3),
    st.one_of(
        st.builds(int.__add__, st.sampled_from(EDGES), st.sampled_from((-1, 0, 1))),
        st.builds(int.__mul__, st.integers(-2, 40), st.just(DAY)),  # ties
        st.integers(-2 * DAY, 400 * DAY),
    ),
    st.one_of(st.just(0), st.sampled_from(EDGES), st.integers(0, 3 * DAY)),  # known that much later
    st.integers(0, len(TYPES) - 1),
    st.integers(-1, len(CHANNELS) - 1),
    st.integers(-1, len(CONTENTS) - 1),
    st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.sampled_from((0.0, 0.1, 1 / 3, -2.5))),
)


def moments_of(anchor):
    """Each row's moment differs, so that nothing works for one moment alone."""
    return anchor + np.array([0, 1, 3 * DAY // 7, -11 * DAY])


def log_of(rows, moments):
    lead, age, later, kind, channel, content, value = (
        np.array(part) for part in (zip(*rows, strict=True) if rows else ((),) * 7)
    )
    lead = lead.astype(np.int64)
    at = moments[lead] - age.astype(np.int64)
    return Events(
        lead=lead,
        at=at,
        type=kind.astype(np.int32),
        types=TYPES,
        known_at=at + later.astype(np.int64),
        channel=Coded(channel.astype(np.int32), CHANNELS),
        content=Coded(content.astype(np.int32), CONTENTS),
        value=value.astype(float),
    )


def as_table(events):
    def words(coded):
        return pa.array(np.array([*coded.words, None], object)[coded.codes], pa.string())

    return pa.table(
        {
            "who": events.lead,
            "occurred": times(events.at),
            "known": times(events.known_at),
            "kind": words(Coded(events.type, events.types)),
            "channel": words(events.channel),
            "content": words(events.content),
            "value": pa.array(events.value, from_pandas=True),
        }
    )


def compare(events, moments, atol, features=FEATURES):
    sql = sql_values(features, as_table(events), (np.arange(len(moments)), times(moments)))
    assert_equal(features, aggregate(plan_of(features), events, moments), sql, atol)


def test_every_aggregate_is_here():
    assert {feature.aggregate for feature in FEATURES} == set(IN_SQL) == set(_AGGREGATES)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, max_size=40), st.sampled_from(ANCHORS))
def test_generated_logs(rows, anchor):
    moments = moments_of(anchor)
    compare(log_of(rows, moments), moments, atol=1e-6 * (1 + len(rows)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(FEATURES), min_size=1, max_size=6, unique=True).map(tuple),
    st.lists(EVENT, max_size=25),
    st.sampled_from(ANCHORS),
)
def test_few_features_at_a_time(features, rows, anchor):
    """What is shared between features, and what need not be looked at, depends on which there are."""
    moments = moments_of(anchor)
    compare(log_of(rows, moments), moments, 1e-6 * (1 + len(rows)), features)


@pytest.mark.parametrize("anchor", ANCHORS)
def test_events_at_every_edge(anchor):
    """Each type a microsecond before, at and after each edge, known at once and known at the moment."""
    moments = moments_of(anchor)
    rows = [
        (lead, edge + step, max(0, edge + step) if late else 0, kind, kind % 3 - 1, kind % 5 - 1, 1.5)
        for lead, edge, step, late, kind in itertools.product(range(4), EDGES, (-1, 0, 1), (0, 1), range(4))
    ]
    compare(log_of(rows, moments), moments, atol=1e-3)


def test_many_events():
    rng, size, moments = np.random.default_rng(0), 20_000, moments_of(ANCHORS[0])
    value = rng.normal(0, 1, size) * 10.0 ** rng.integers(-7, 8, size)
    rows = zip(
        rng.integers(0, 4, size), rng.integers(-DAY, 200 * DAY, size), rng.integers(0, 2 * DAY, size),
        rng.integers(0, 4, size), rng.integers(-1, 2, size), rng.integers(-1, 4, size),
        np.where(rng.random(size) < 0.3, np.nan, value), strict=True,
    )  # fmt: skip
    compare(log_of(list(rows), moments), moments, atol=1e-2)


# ------------------------------------------------------------------------------ from the project's own tables
WORLD = """
    with identified as (
        select *, greatest(occurred_at, coalesce(recorded_at, occurred_at)) as told from events
    ), visitors as (
        select visitor_id, min(greatest(told, occurred_at + to_microseconds(1))) as told,
            min_by(lead_id, (greatest(told, occurred_at + to_microseconds(1)), lead_id)) as lead_id
        from identified where visitor_id is not null and lead_id is not null group by visitor_id
    )
    select coalesce(identified.lead_id, visitors.lead_id) as who, occurred_at as occurred,
        case when identified.lead_id is null then greatest(identified.told, visitors.told)
            else identified.told end as known,
        event_type as kind, channel, content, value
    from identified left join visitors using (visitor_id)
"""
BY_HAND = (
    EventFeature("ratio", "email_click", per="email_sent", window=30, channel="email"),
    EventFeature("ratio", "page_view", contents=("/pricing", "/features"), label="product", per="search"),
    EventFeature("trend", "page_view", window=3.5),
    EventFeature("first_seen", None, channel="website"),
    EventFeature("decayed_sum", "purchase", half_life=20),
    EventFeature("distinct_contents", "page_view", window=14, channel="website"),
)


@pytest.fixture(scope="module")
def world():
    return simulate(500, seed=2)


@pytest.mark.parametrize("ages", [(1, 7.5, 30), None])
def test_simulated_world(world, ages):
    """Raw tables to X: late records, visits before the lead was known, several moments a lead."""
    tables = read_tables(world.contract, world.leads, world.events, world.outcomes, training=True)
    features = [f for f in declare(tables, extra=BY_HAND) if isinstance(f, EventFeature)]
    if ages is None:
        found = snapshot(tables, features, world.end - 45 * DAY)
    else:
        found = training_snapshot(tables, features, ages=ages, horizon=30)
    CONNECTION.register("events", world.events)
    log = CONNECTION.sql(WORLD).to_arrow_table()
    sql = sql_values(features, log, (pa.array(found.lead_id.astype(str)), times(found.as_of)))
    assert_equal(features, found.X.to_numpy(), sql, atol=1e-4)
    assert len(found.X) > 400
    assert (np.nanmax(sql, axis=0) > 0).sum() > 140


def test_local_times_around_the_change_of_clocks():
    """Naive times of a zone: a day has 23 or 25 hours, windows are hours that pass."""
    zone, rng = ZoneInfo("Europe/Amsterdam"), np.random.default_rng(4)
    days = [datetime(2024, 2, 29), datetime(2024, 3, 31), datetime(2024, 10, 27), datetime(2024, 12, 31)]
    start = np.datetime64("2024-02-28T00:00:00", "us")
    local = np.concatenate(
        [
            np.array(day, "datetime64[us]")
            + rng.integers(-36 * HOUR, 36 * HOUR, 300).astype("timedelta64[us]")
            for day in days
        ]
    )
    wall = local.astype(object)
    # times that come twice or never are read by the contract's own rule, which is tested elsewhere
    once = [
        moment.replace(tzinfo=zone).utcoffset() == moment.replace(tzinfo=zone, fold=1).utcoffset()
        for moment in wall
    ]
    local = np.append(local[once], [np.datetime64("2024-03-31T03:00"), np.datetime64("2024-10-27T03:00")])
    events = pa.table(
        {
            "lead_id": rng.choice(["a", "b"], len(local)),
            "occurred_at": pa.array(local),
            "event_type": rng.choice(["visit", "call"], len(local)),
        }
    )
    contract = Contract(lead_id="lead_id", created_at="created_at", events=EventColumns(), timezone=zone.key)
    leads = pa.table({"lead_id": ["a", "b"], "created_at": pa.array([start, start])})
    tables = read_tables(contract, leads, events, training=False)
    features = [
        EventFeature("count", "visit"),
        *(EventFeature("count", "visit", window=hours / 24) for hours in (1, 23, 24, 25)),
        *(EventFeature(name, "visit") for name in ("active_days", "recency", "first_seen")),
        EventFeature("active_days", None, window=2),
        EventFeature("trend", "visit", window=1),
        EventFeature("ratio", "visit", per="call", window=1),
    ]
    CONNECTION.register("events", events)
    log = CONNECTION.sql(f"""
        select lead_id as who, timezone('{zone.key}', occurred_at) as occurred, occurred as known,
            event_type as kind, null::text as channel, null::text as content, null::double as value
        from events
    """).to_arrow_table()  # fmt: skip
    for day, hour in itertools.product(days, (1, 3, 4, 12)):
        moment = int(day.replace(hour=hour, tzinfo=zone).timestamp()) * 1_000_000
        found = snapshot(tables, features, moment)
        sql = sql_values(features, log, (pa.array(found.lead_id.astype(str)), times(found.as_of)))
        assert_equal(features, found.X.to_numpy(), sql, atol=0)


def test_a_tiny_log_by_hand():
    """The SQL itself against numbers worked out on paper."""
    now = ANCHORS[0]
    ages = {"click": [0, 1, DAY, 7 * DAY, 7 * DAY + 1, 35 * DAY, 35 * DAY + 1], "open": [DAY, 2 * DAY]}
    rows = [(0, now - age, kind) for kind, own in ages.items() for age in own]
    lead, at, kind = (np.array(part) for part in zip(*rows, strict=True))
    kinds = tuple(ages)
    events = Events(lead, at, np.array([kinds.index(k) for k in kind], np.int32), kinds)
    features = (
        EventFeature("trend", "click"),
        EventFeature("ratio", "click", per="open"),
        EventFeature("ratio", "open", per="click", window=1),
        EventFeature("ratio", "open", per="webinar"),
    )
    table = pa.table(
        {"who": lead, "occurred": times(at), "known": times(at), "kind": kind, "channel": kind}
        | {"content": kind, "value": np.zeros(len(lead))}
    )  # fmt: skip
    for values in (
        aggregate(plan_of(features), events, np.array([now])),
        sql_values(features, table, (np.array([0]), times([now]))),
    ):
        np.testing.assert_array_equal(values, [[3 - 2 / 4, 6 / 2, 1 / 2, np.nan]])
    assert replace(features[0], window=7.0) == features[0]
