"""The kernel against itself in every other order; against SQL it is held in tests/oracles."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from leadscore.data.contract import Coded, Events
from leadscore.features import kernel
from leadscore.features.declare import EventFeature
from leadscore.features.kernel import aggregate
from leadscore.features.plan import DAY, plan_of

NOW = 20_000 * DAY + 5 * 3_600_000_000  # five in the morning
LEADS = 4
TYPES = ("call", "open", "visit", "zap")  # no feature names "zap"
CONTENTS = ("/docs", "/pricing", "a")
CHANNELS = ("ads", "mail")
WINDOWS = (None, 0.5, 1, 7, 30.25)
SUBJECTS = (
    {"event": "visit"},
    {"event": "call"},
    {"event": "open"},
    {"event": None},
    {"event": None, "types": ("call", "visit")},
    {"event": None, "types": ("open", "visit")},
)
FEATURES = (
    *(
        EventFeature(aggregate, window=window, **subject)
        for aggregate in ("count", "sum", "mean", "active_days", "distinct_contents")
        for subject, window in itertools.product(SUBJECTS, WINDOWS)
    ),
    *(EventFeature("count", "visit", window=w, content=c) for w in WINDOWS for c in ("/pricing", "a")),
    *(EventFeature("distinct_contents", "visit", content=c) for c in ("/pricing", "never")),
    *(
        EventFeature(aggregate, half_life=half_life, **subject)
        for aggregate in ("decayed_count", "decayed_sum")
        for subject, half_life in itertools.product(SUBJECTS, (0.25, 14))
    ),
    *(EventFeature(a, **subject) for a in ("recency", "first_seen") for subject in SUBJECTS),
    EventFeature("recency", "visit", content="/pricing"),
    *(EventFeature("trend", window=w, **subject) for subject in SUBJECTS for w in (1, None)),
    *(EventFeature("ratio", "visit", per=per, window=w) for per in ("open", "never") for w in WINDOWS),
    *(EventFeature(a, "visit", channel="ads") for a in ("count", "recency", "distinct_contents", "trend")),
    EventFeature("active_days", "visit", contents=("/pricing", "a"), label="both", channel="mail"),
    EventFeature("ratio", "visit", content="a", per="call", channel="ads"),
    EventFeature("count", "never"),
    EventFeature("mean", "never"),
)
PLAN = plan_of(FEATURES)

# --------------------------------------------------------------------------------------------- logs of events
# each row's moment differs, so that nothing works for one moment alone
MOMENTS = np.array([NOW, NOW + 1, NOW + 3 * DAY // 7, NOW - 11 * DAY])


def log(rows):
    lead, age, later, kind, content, channel, value = zip(*rows, strict=True) if rows else ((),) * 7
    lead = np.array(lead, np.int64)
    at = MOMENTS[lead] - np.array(age, np.int64)
    return Events(
        lead=lead,
        at=at,
        type=np.array(kind, np.int32),
        types=TYPES,
        known_at=at + np.array(later, np.int64),
        content=Coded(np.array(content, np.int32), CONTENTS),
        channel=Coded(np.array(channel, np.int32), CHANNELS),
        value=np.array([np.nan if v is None else v for v in value], np.float64),
    )


def chosen(events, places):
    """Give the same log with only these events, in this order."""
    picked = {name: getattr(events, name) for name in ("lead", "at", "type", "known_at", "value")}
    picked = {name: None if array is None else array[places] for name, array in picked.items()}
    words = {name: getattr(events, name) for name in ("content", "channel")}
    words = {
        name: None if own is None else Coded(own.codes[places], own.words) for name, own in words.items()
    }
    return replace(events, **picked, **words)


def random_log(seed=0, size=4000, leads=40):
    rng = np.random.default_rng(seed)
    at = NOW - rng.integers(-DAY, 200 * DAY, size)
    value = np.where(
        rng.random(size) < 0.3, np.nan, rng.normal(0, 1, size) * 10.0 ** rng.integers(-7, 8, size)
    )
    return Events(
        lead=rng.integers(0, leads, size),
        at=at,
        type=rng.integers(0, len(TYPES), size).astype(np.int32),
        types=TYPES,
        known_at=at + rng.integers(0, 2 * DAY, size) * rng.integers(0, 2, size),
        content=Coded(rng.integers(-1, len(CONTENTS), size).astype(np.int32), CONTENTS),
        channel=Coded(rng.integers(-1, len(CHANNELS), size).astype(np.int32), CHANNELS),
        value=value,
    )


# ----------------------------------------------------------------------------------- the same to the last bit
def test_order_and_parts_change_nothing(monkeypatch):
    events, moments = random_log(), np.full(40, NOW)
    whole = aggregate(PLAN, events, moments)
    assert len(np.unique(whole, axis=0)) == 40
    shuffled = chosen(events, np.random.default_rng(1).permutation(len(events.at)))
    assert aggregate(PLAN, shuffled, moments).tobytes() == whole.tobytes()
    monkeypatch.setattr(kernel, "_PART", 37)
    monkeypatch.setattr(kernel, "_BLOCK", 7)
    assert aggregate(PLAN, events, moments).tobytes() == whole.tobytes()


def test_one_lead_equals_batch():
    events, moments = random_log(), NOW - np.arange(40) * DAY // 3
    whole = aggregate(PLAN, events, moments)
    for lead in range(40):
        own = chosen(events, np.flatnonzero(events.lead == lead))
        alone = aggregate(PLAN, replace(own, lead=np.zeros_like(own.lead)), moments[[lead]])
        assert alone.tobytes() == whole[[lead]].tobytes()


def test_rows_in_any_order_and_leads_without_one():
    events, moments = random_log(), NOW - np.arange(40) * DAY
    whole = aggregate(PLAN, events, moments)
    rows = np.random.default_rng(2).permutation(40)[:15]
    row_of = np.full(40, -1)
    row_of[rows] = np.arange(15)
    assert aggregate(PLAN, events, moments[rows], row_of).tobytes() == whole[rows].tobytes()


def test_feature_does_not_depend_on_its_company():
    events, moments = random_log(leads=LEADS), MOMENTS
    together = aggregate(PLAN, events, moments)
    for j, feature in enumerate(FEATURES):
        alone = aggregate(plan_of((feature,)), events, moments)
        np.testing.assert_array_equal(alone[:, 0], together[:, j], err_msg=feature.name)


def test_codes_of_words_do_not_matter():
    events = random_log()
    flipped = replace(
        events,
        type=(len(TYPES) - 1 - events.type).astype(np.int32),
        types=TYPES[::-1],
        content=Coded(
            np.where(events.content.codes < 0, -1, 3 - events.content.codes).astype(np.int32),
            ("unused", *CONTENTS[::-1]),
        ),
        channel=Coded(
            np.where(events.channel.codes < 0, -1, 1 - events.channel.codes).astype(np.int32), CHANNELS[::-1]
        ),
    )
    moments = np.full(40, NOW)
    assert aggregate(PLAN, flipped, moments).tobytes() == aggregate(PLAN, events, moments).tobytes()


# --------------------------------------------------------------------------------------------------- boundary
@pytest.mark.parametrize(
    ("age", "later", "counts"), [(0, 0, 0), (1, 0, 1), (1, 1, 1), (1, 2, 0), (DAY, DAY, 1)]
)
def test_boundary(age, later, counts):
    """Strictly before the moment; known at the moment at the latest."""
    found = aggregate(
        plan_of((EventFeature("count", "call"),)), log([(0, age, later, 0, -1, -1, None)]), MOMENTS
    )
    assert found[0, 0] == counts


# --------------------------------------------------------------------------------------------- unusual events
def test_nothing_known_of_events_but_type_and_time():
    bare = replace(random_log(), known_at=None, content=None, channel=None, value=None)
    features = (
        EventFeature("count", "visit"),
        EventFeature("count", "visit", content="/pricing"),
        EventFeature("distinct_contents", "visit"),
        EventFeature("sum", "visit"),
        EventFeature("count", "visit", channel="ads"),
        EventFeature("mean", "visit"),
    )
    found = aggregate(plan_of(features), bare, np.full(40, NOW))
    visits = np.bincount(bare.lead[(bare.type == TYPES.index("visit")) & (bare.at < NOW)], minlength=40)
    np.testing.assert_array_equal(found[:, 0], visits)
    assert not found[:, 1:5].any()
    assert np.isnan(found[:, 5]).all()


def test_no_rows_no_events_no_features():
    events = random_log()
    assert aggregate(PLAN, events, np.empty(0, np.int64), np.full(40, -1)).shape == (0, len(FEATURES))
    assert aggregate(plan_of(()), events, np.full(40, NOW)).shape == (40, 0)
    nothing = aggregate(PLAN, chosen(events, []), MOMENTS)
    missing = np.array([f.aggregate in ("mean", "ratio", "recency", "first_seen") for f in FEATURES])
    assert np.isnan(nothing[:, missing]).all()
    assert not nothing[:, ~missing].any()


def test_type_not_declared_counts_only_where_every_type_does():
    events = log([(0, DAY, 0, TYPES.index("zap"), -1, -1, None)])
    every, named = EventFeature("count", None), EventFeature("count", None, types=("call", "open"))
    assert aggregate(plan_of((every, named)), events, MOMENTS)[0].tolist() == [1, 0]


@pytest.mark.parametrize("sign", [1, -1])
def test_huge_values_are_limited(sign):
    events = log([(0, DAY, 0, 0, -1, -1, sign * 1e300), (0, DAY, 0, 0, -1, -1, 1.5)])
    found = aggregate(plan_of((EventFeature("sum", "call"),)), events, MOMENTS)
    assert found[0, 0] == sign * kernel.LARGEST_VALUE + 1.5


def test_weights_halve():
    ages = np.arange(8) * 14 * DAY + 14 * DAY
    rows = [(0, int(age), 0, 0, -1, -1, 2.0) for age in ages]
    features = (
        EventFeature("decayed_count", "call", half_life=14),
        EventFeature("decayed_sum", "call", half_life=14),
    )
    found = aggregate(plan_of(features), log(rows), MOMENTS)
    assert found[0].tolist() == [1 - 2**-8, 2 * (1 - 2**-8)]


def test_millions_of_events_of_one_lead_stay_exact():
    """A bot's sums leave the whole numbers that float64 can hold, and are still rounded only once."""
    size = 3_000_000
    events = Events(
        lead=np.zeros(size, np.int64),
        at=np.full(size, NOW - DAY),
        type=np.zeros(size, np.int32),
        types=("call",),
        value=np.full(size, 5000 + 2.0**-20),
    )
    features = (EventFeature("decayed_count", "call", half_life=14), EventFeature("sum", "call"))
    weights, total = aggregate(plan_of(features), events, np.array([NOW]))[0]
    assert weights == size * round(2 ** (-1 / 14) * 2**32) / 2**32
    assert total == size * (5000 * 2**20 + 1) / 2**20
