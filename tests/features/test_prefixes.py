"""One lead at many moments, against the aggregation of every moment on its own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import Coded, Events
from leadscore.features.declare import EventFeature
from leadscore.features.kernel import aggregate
from leadscore.features.plan import DAY, plan_of
from leadscore.features.prefixes import prefixes

NOW = 20_000 * DAY
FEATURES = (
    *(EventFeature(name, "a", half_life=0.5) for name in ("decayed_count", "decayed_sum")),
    *(
        EventFeature(name, None, window=window)
        for name in ("count", "active_days", "sum")
        for window in (1, 9)
    ),
    EventFeature("distinct_contents", "b", window=3),
    EventFeature("distinct_contents", None),
    EventFeature("mean", "a", window=9),
    EventFeature("ratio", "a", per="b"),
    EventFeature("trend", "b", window=2),
    EventFeature("recency", "a"),
    EventFeature("first_seen", "b"),
)


def history(seed, size):
    """Make a history in which much happens at once, some late, and most long ago."""
    rng = np.random.default_rng(seed)
    at = (
        NOW - rng.choice([0, 1, DAY, DAY + 1, 40 * DAY, 41 * DAY], size) - rng.integers(0, 2, size) * DAY // 3
    )
    value = rng.normal(0, 1, size) * 10.0 ** rng.integers(-7, 14, size)
    value[rng.random(size) < 0.3] = np.nan
    value[rng.random(size) < 0.05] = np.inf
    return Events(
        lead=np.zeros(size, np.int64),
        at=at,
        type=rng.integers(0, 3, size).astype(np.int32),
        types=("a", "b", "zap"),
        known_at=at + rng.integers(0, 3 * DAY, size) * rng.integers(0, 2, size),
        content=Coded(rng.integers(-1, 3, size).astype(np.int32), ("x", "y", "z")),
        value=value,
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from(["known_at", "content", "value", None]))
def test_each_moment_to_the_last_bit(seed, size, without):
    events, plan = history(seed, size), plan_of(FEATURES)
    if without is not None:
        events = replace(events, **{without: None})
    rng = np.random.default_rng(seed)
    known = events.at if events.known_at is None else events.known_at
    moments = np.concatenate([events.at, events.at + 1, known, NOW + rng.integers(-60 * DAY, 9 * DAY, 9)])
    moments = rng.permutation(moments)
    found = prefixes(plan, events, moments)
    one_by_one = [aggregate(plan, events, moments[[place]])[0] for place in range(len(moments))]
    assert found.tobytes("C") == np.array(one_by_one).tobytes()


@pytest.mark.parametrize("half_life", [1e-7, 1e-3, 2.0, 1e4])
@pytest.mark.parametrize("largest", [1.0, 1e6, 1e12])
def test_decays_in_a_burst_and_long_after(half_life, largest, monkeypatch):
    """Microseconds, minutes and years apart, in several parts, of either sign."""
    monkeypatch.setattr("leadscore.features.prefixes._PAIRS", 2**12)
    rng = np.random.default_rng(0)
    gaps = rng.choice([1, 2, 1_000, 60_000_000, DAY, 400 * DAY], 200, p=[0.3, 0.1, 0.2, 0.2, 0.19, 0.01])
    events = Events(
        lead=np.zeros(200, np.int64),
        at=NOW + np.cumsum(gaps),
        type=rng.integers(0, 3, 200).astype(np.int32),
        types=("a", "b", "c"),
        value=rng.uniform(-largest, largest, 200),
    )
    names = ("decayed_count", "decayed_sum")
    plan = plan_of(tuple(EventFeature(name, type, half_life=half_life) for name in names for type in "abc"))
    moments = np.unique(np.concatenate([events.at, events.at + 1]))
    found = prefixes(plan, events, moments)
    one_by_one = [aggregate(plan, events, moments[[place]])[0] for place in range(len(moments))]
    assert found.tobytes("C") == np.array(one_by_one).tobytes()


@pytest.mark.parametrize("size", [0, 3])
def test_no_moments_and_no_features(size):
    events = history(0, size)
    assert prefixes(plan_of(FEATURES), events, np.empty(0, np.int64)).shape == (0, len(FEATURES))
    assert prefixes(plan_of(()), events, np.array([NOW])).shape == (1, 0)
