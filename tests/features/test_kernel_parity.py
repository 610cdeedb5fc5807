"""The same to the last bit: in a batch, in parts, merged, one lead at a time, at many moments, from files."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.data.contract import Coded, EventColumns, Events
from leadscore.errors import UsageError
from leadscore.features import kernel
from leadscore.features import prefixes as many
from leadscore.features.declare import EventFeature
from leadscore.features.kernel import State, aggregate
from leadscore.features.plan import DAY, plan_of
from leadscore.features.prefixes import prefixes
from leadscore.features.stream import aggregate_parquet

NOW = 20_000 * DAY + 5 * 3_600_000_000
TYPES = ("call", "open", "visit", "zap")
CONTENTS = ("/docs", "/pricing", "/team")
CHANNELS = ("ads", "mail")
LEADS = 12
FEATURES = (
    *(
        EventFeature(aggregate, event, window=window)
        for aggregate in ("count", "sum", "mean", "active_days", "distinct_contents")
        for event in ("call", "visit", None)
        for window in (None, 7, 30)
    ),
    *(
        EventFeature(aggregate, event, half_life=14)
        for aggregate in ("decayed_count", "decayed_sum")
        for event in ("open", "visit", None)
    ),
    *(EventFeature(aggregate, event) for aggregate in ("recency", "first_seen") for event in ("call", None)),
    EventFeature("count", "visit", content="/pricing", window=7),
    EventFeature("recency", "visit", content="/pricing"),
    EventFeature("count", None, channel="mail"),
    EventFeature("ratio", "call", per="open"),
    EventFeature("trend", "visit", window=7),
)
PLAN = plan_of(FEATURES)
SEEDS = st.integers(0, 2**32 - 1)


def random_log(rng, size=600, leads=LEADS):
    at = NOW - rng.integers(-DAY, 90 * DAY, size)
    at[: size // 10] = NOW - rng.choice([0, 1, 7 * DAY, 7 * DAY + 1, 30 * DAY], size // 10)
    value = rng.normal(0, 1, size) * 10.0 ** rng.integers(-7, 8, size)
    value[rng.random(size) < 0.4] = np.nan
    return Events(
        lead=rng.integers(0, leads, size),
        at=at,
        type=rng.integers(0, len(TYPES), size).astype(np.int32),
        types=TYPES,
        known_at=at + rng.integers(0, 2 * DAY, size) * rng.integers(0, 2, size),
        channel=Coded(rng.integers(-1, len(CHANNELS), size).astype(np.int32), CHANNELS),
        content=Coded(rng.integers(-1, len(CONTENTS), size).astype(np.int32), CONTENTS),
        value=value,
    )


def chosen(events, places, rng=None):
    """Give these events in this order; with `rng`, with words of their own, numbered in another way."""
    arrays = {name: getattr(events, name)[places] for name in ("lead", "at", "type", "known_at", "value")}
    words = {
        name: Coded(getattr(events, name).codes[places], getattr(events, name).words)
        for name in ("channel", "content")
    }
    part = replace(events, **arrays, **words)
    if rng is None:
        return part
    codes, types = renamed(part.type, part.types, rng)
    return replace(
        part,
        type=codes,
        types=types,
        channel=Coded(*renamed(*part.channel, rng)),
        content=Coded(*renamed(*part.content, rng)),
    )


def renamed(codes, words, rng):
    used = np.unique(codes[codes >= 0])
    order = rng.permutation(used)
    place = np.full(len(words) + 1, -1, np.int32)
    place[order] = np.arange(len(order))
    return place[codes], tuple(words[i] for i in order)


def random_parts(size, rng):
    cuts = np.sort(rng.integers(0, size + 1, rng.integers(1, 12)))
    return np.split(rng.permutation(size), cuts)


def moments(rng, leads=LEADS):
    """Give one moment for all, or one a lead."""
    return np.full(leads, NOW) if rng.random() < 0.5 else NOW - rng.integers(0, 20 * DAY, leads)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_in_parts_of_any_size(seed):
    rng = np.random.default_rng(seed)
    events, as_of = random_log(rng), moments(rng)
    state = State(PLAN, as_of)
    for part in random_parts(len(events.at), rng):
        state.lift(chosen(events, part, rng))
    assert state.finish().tobytes() == aggregate(PLAN, events, as_of).tobytes()


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_merged_from_any_partition(seed):
    rng = np.random.default_rng(seed)
    events, as_of = random_log(rng), moments(rng)
    states = [State(PLAN, as_of).lift(chosen(events, p, rng)) for p in random_parts(len(events.at), rng)]
    while len(states) > 1:
        one, other = (states.pop(rng.integers(len(states))) for _ in range(2))
        states.append(one.merge(other))
    assert states[0].finish().tobytes() == aggregate(PLAN, events, as_of).tobytes()


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_one_lead_at_a_time(seed):
    rng = np.random.default_rng(seed)
    events, as_of = random_log(rng), moments(rng)
    whole = aggregate(PLAN, events, as_of)
    for lead in range(LEADS):
        own = chosen(events, np.flatnonzero(events.lead == lead), rng)
        alone = aggregate(PLAN, replace(own, lead=np.zeros_like(own.lead)), as_of[[lead]])
        assert alone.tobytes() == whole[[lead]].tobytes()


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_at_many_moments(seed):
    rng = np.random.default_rng(seed)
    events = random_log(rng, size=80, leads=1)
    times = rng.permutation(np.concatenate([events.at, events.at + 1, NOW - rng.integers(0, 90 * DAY, 20)]))
    together = prefixes(PLAN, events, times)
    for row, moment in zip(together, times, strict=True):
        assert row.tobytes() == aggregate(PLAN, events, np.array([moment]))[0].tobytes()


def test_many_moments_in_small_steps(monkeypatch):
    rng = np.random.default_rng(5)
    events, times = random_log(rng, size=50, leads=1), NOW - rng.integers(0, 90 * DAY, 40)
    whole = prefixes(PLAN, events, times)
    monkeypatch.setattr(many, "_PAIRS", 120)
    assert prefixes(PLAN, events, times).tobytes() == whole.tobytes()
    assert prefixes(PLAN, chosen(events, []), times).shape == (40, len(FEATURES))


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.booleans())
def test_from_files(tmp_path_factory, seed, as_text):
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("log")
    events, as_of = random_log(rng), moments(rng)
    ids = rng.choice(2**40, LEADS, replace=False)
    ids = np.array([f"lead-{i}" for i in ids], object) if as_text else ids
    for i, part in enumerate(random_parts(len(events.at), rng)):
        pq.write_table(in_arrow(chosen(events, part), ids), folder / f"{i}.parquet", row_group_size=97)
    columns = EventColumns(recorded_at="recorded_at", channel="channel", content="content", value="value")
    found, report = aggregate_parquet(FEATURES, folder, ids, as_of, columns=columns)
    assert found.tobytes() == aggregate(PLAN, events, as_of).tobytes()
    assert report.events == len(events.at)


def in_arrow(events, ids):
    def words(codes, own):
        return pa.array(np.array([*own, None], object)[codes], pa.string())

    return pa.table(
        {
            "lead_id": pa.array(ids[events.lead]),
            "occurred_at": pa.array(events.at).cast(pa.timestamp("us", "UTC")),
            "recorded_at": pa.array(events.known_at).cast(pa.timestamp("us", "UTC")),
            "event_type": words(events.type, events.types),
            "channel": words(*events.channel),
            "content": words(*events.content),
            "value": pa.array(events.value, from_pandas=True),
        }
    )


def test_many_distinct_things_settle(monkeypatch):
    """What lies unsorted is sorted in now and then, and that changes nothing."""
    rng = np.random.default_rng(6)
    events, as_of = random_log(rng), np.full(LEADS, NOW)
    whole = aggregate(PLAN, events, as_of)
    monkeypatch.setattr(kernel, "_LOOSE", 10)
    monkeypatch.setattr(kernel, "_PART", 16)
    assert aggregate(PLAN, events, as_of).tobytes() == whole.tobytes()


def test_more_can_be_taken_in_after_finishing():
    rng = np.random.default_rng(7)
    events, as_of = random_log(rng), np.full(LEADS, NOW)
    halves = np.array_split(np.arange(len(events.at)), 2)
    state = State(PLAN, as_of).lift(chosen(events, halves[0]))
    assert state.finish().tobytes() == state.finish().tobytes()
    assert (
        state.lift(chosen(events, halves[1])).finish().tobytes() == aggregate(PLAN, events, as_of).tobytes()
    )


@pytest.mark.parametrize(
    "other", [State(PLAN, np.array([NOW + 1])), State(plan_of(FEATURES[:3]), np.array([NOW]))]
)
def test_states_of_other_moments_or_features_do_not_merge(other):
    with pytest.raises(UsageError, match="same plan and moments"):
        State(PLAN, np.array([NOW])).merge(other)
