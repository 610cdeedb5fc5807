"""What happens at a moment or later, or is recorded later, changes no feature as of that moment."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import Coded, Events
from leadscore.data.tables import read_tables
from leadscore.features.declare import EventFeature
from leadscore.features.defaults import declare
from leadscore.features.kernel import aggregate
from leadscore.features.plan import DAY, plan_of
from leadscore.features.snapshot import snapshot
from leadscore.simulate import simulate

TYPES, CONTENTS, CHANNELS = ("call", "open", "visit"), ("/docs", "/pricing"), ("ads", "mail")
SUBJECTS = ({"event": "visit"}, {"event": None}, {"event": None, "channel": "ads"})
PLAN = plan_of(
    (
        *(
            EventFeature(name, **subject)
            for subject in SUBJECTS
            for name in (
                "count",
                "sum",
                "mean",
                "recency",
                "first_seen",
                "active_days",
                "distinct_contents",
                "trend",
            )
        ),
        *(EventFeature(name, "visit", half_life=3) for name in ("decayed_count", "decayed_sum")),
        EventFeature("count", "visit", window=2, contents=CONTENTS, label="both"),
        EventFeature("ratio", "visit", per="open"),
        EventFeature("ratio", "call", per="visit", window=7, channel="mail"),
    )
)


# ----------------------------------------------------------------------------------------------- whole tables
@pytest.fixture(scope="module")
def world():
    return simulate(10_000, seed=4)


def microseconds(times):
    return times.astype("datetime64[us, UTC]").astype("int64").to_numpy()


def times(us):
    return pd.to_datetime(us, unit="us", utc=True)


def tampered(events, moment, seed):
    """Take away a third of what came later, turn a third into something else, and add events."""
    rng = np.random.default_rng(seed)
    occurred, recorded = microseconds(events["occurred_at"]), microseconds(events["recorded_at"])
    later = (occurred >= moment) | (recorded > moment)
    assert 20_000 < later.sum() < len(events) - 20_000
    assert ((occurred < moment) & later).any()
    past, fate = events[~later], rng.integers(0, 3, later.sum())
    same, changed = events[later][fate == 1], events[later][fate == 2].copy()
    for name in ("lead_id", "visitor_id", "event_type", "channel", "content", "campaign", "value"):
        changed[name] = events[name].sample(len(changed), random_state=rng.integers(99)).to_numpy()
    new = events.sample(30_000, random_state=seed)
    new["event_id"] = "new " + new["event_id"]
    new["lead_id"] = events["lead_id"].dropna().sample(len(new), random_state=seed).to_numpy()
    new["visitor_id"] = events["visitor_id"].dropna().sample(len(new), random_state=seed).to_numpy()
    after = moment + rng.integers(0, 90 * DAY, len(new)) * rng.integers(0, 2, len(new))  # many at the moment
    before = moment - rng.integers(0, 200 * DAY, len(new))
    late = rng.random(len(new)) < 0.4  # and some before it, recorded a microsecond after it or later
    new["occurred_at"] = times(np.where(late, before, after))
    new["recorded_at"] = times(np.where(late, np.maximum(after, moment + 1), after))
    return pd.concat([past, same, changed, new]).sample(frac=1, random_state=seed)


def test_ten_thousand_leads(world):
    """In the tables as they are given: late records, and visitors whose lead later events tell, included."""
    moment = world.end - 60 * DAY
    frame = world.events.to_pandas()
    outcomes = world.outcomes.to_pandas()
    told = outcomes[microseconds(outcomes["at"]) < moment]
    tables = read_tables(world.contract, world.leads, frame, outcomes, training=True)
    again = read_tables(world.contract, world.leads, tampered(frame, moment, 0), told, training=True)
    features = declare(tables)
    before, after = snapshot(tables, features, moment), snapshot(again, features, moment)
    assert len(before.X) > 7_000
    pd.testing.assert_frame_equal(after.X, before.X, check_exact=True)
    # a moment later, some of what was tampered with may be seen
    later = snapshot(again, features, moment + 1).X["page_view_count"]
    assert (later.to_numpy() != snapshot(tables, features, moment + 1).X["page_view_count"].to_numpy()).any()


# ----------------------------------------------------------------------------- each lead at its own moment
def log(lead, at, known_at, kind, channel, content, value):
    return Events(
        lead=np.array(lead, np.int64),
        at=np.array(at, np.int64),
        type=np.array(kind, np.int32),
        types=TYPES,
        known_at=np.maximum(np.array(at, np.int64), np.array(known_at, np.int64)),
        channel=Coded(np.array(channel, np.int32), CHANNELS),
        content=Coded(np.array(content, np.int32), CONTENTS),
        value=np.array(value, float),
    )


def random_log(rng, lead, at, known_at):
    size = len(lead)
    kind, channel, content = rng.integers(0, 3, size), rng.integers(-1, 2, size), rng.integers(-1, 2, size)
    return log(lead, at, known_at, kind, channel, content, rng.normal(size=size))


def both(one, other, order):
    def joined(name):
        return np.concatenate([getattr(one, name), getattr(other, name)])[order]

    def words(name):
        codes = [getattr(events, name).codes for events in (one, other)]
        return Coded(np.concatenate(codes)[order], getattr(one, name).words)

    plain = {name: joined(name) for name in ("lead", "at", "known_at", "type", "value")}
    return replace(one, channel=words("channel"), content=words("content"), **plain)


def test_ten_thousand_leads_at_their_own_moments():
    rng, leads, size = np.random.default_rng(5), 10_000, 200_000
    moments = 20_000 * DAY + rng.integers(0, 100 * DAY, leads)
    lead = rng.integers(0, leads, size)
    at = moments[lead] - rng.integers(1, 60 * DAY, size)
    past = random_log(rng, lead, at, np.minimum(moments[lead], at + rng.integers(0, 2 * DAY, size)))
    wanted = aggregate(PLAN, past, moments)
    assert len(np.unique(wanted, axis=0)) > 9_900
    for delay in (0, 1, 5 * DAY):
        lead = rng.integers(0, leads, size)
        ahead = random_log(rng, lead, moments[lead] + delay, moments[lead])
        late = random_log(
            rng, lead, moments[lead] - rng.integers(1, 9 * DAY, size), moments[lead] + delay + 1
        )
        for later in (ahead, late):
            mixed = both(past, later, rng.permutation(2 * size))
            assert aggregate(PLAN, mixed, moments).tobytes() == wanted.tobytes()


MOMENTS = 19_782 * DAY + np.array([0, 1, 7 * DAY])
WHAT = (st.integers(0, 2), st.integers(-1, 1), st.integers(-1, 1), st.floats(-9, 9))
NEAR = st.one_of(
    st.integers(0, 3), st.integers(0, 40 * DAY), st.builds(int.__mul__, st.integers(0, 9), st.just(DAY))
)
PAST = st.tuples(st.integers(0, 2), NEAR, NEAR, *WHAT)
LATER = st.tuples(st.integers(0, 2), NEAR, NEAR, st.booleans(), *WHAT)


@settings(max_examples=150, deadline=None)
@given(st.lists(PAST, max_size=12), st.lists(LATER, min_size=1, max_size=12), st.randoms())
def test_small_logs(past, later, random):
    rows = [
        (lead, MOMENTS[lead] - 1 - age, MOMENTS[lead] - min(spare, age + 1), *what)
        for lead, age, spare, *what in past
    ]
    ahead = [
        (lead, MOMENTS[lead] + (-a if late else a), MOMENTS[lead] + (b + 1 if late else 0), *what)
        for lead, a, b, late, *what in later
    ]
    mixed = [*rows, *ahead]
    random.shuffle(mixed)
    seen = [
        aggregate(PLAN, log(*(zip(*part, strict=True) if part else ((),) * 7)), MOMENTS)
        for part in (rows, mixed)
    ]
    assert seen[0].tobytes() == seen[1].tobytes()
