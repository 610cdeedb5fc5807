"""What a plan shares between features: events that are treated alike are counted in one cell."""

from dataclasses import replace

import numpy as np
import pytest

from leadscore.features.declare import EventFeature
from leadscore.features.plan import DAY, plan_of


def atom(plan, kind, content=None, channel=None):
    """Look an event up as the kernel does."""
    axes = zip((plan.types, plan.contents, plan.channels), (kind, content, channel), strict=True)
    return plan.atoms[tuple(places.get(word, -1) for places, word in axes)]


PLAN = plan_of(
    (
        EventFeature("count", "visit"),
        EventFeature("count", "visit", contents=("/plans", "/pricing"), label="prices"),
        EventFeature("count", "visit", channel="ads"),
        EventFeature("ratio", "visit", per="call"),
    )
)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (("visit", "/plans"), ("visit", "/pricing"), True),
        (("visit", "/plans"), ("visit", "/docs"), False),
        (("visit",), ("visit", "/docs", "mail"), True),
        (("visit", None, "ads"), ("visit", None, "mail"), False),
        (("call", "/plans", "ads"), ("call",), True),
        (("visit",), ("call",), False),
    ],
)
def test_events_are_told_apart_only_where_a_feature_does(one, other, alike):
    assert (atom(PLAN, *one) == atom(PLAN, *other)) == alike


def test_events_that_nothing_counts_have_no_atom():
    assert atom(PLAN, "open") == atom(PLAN, "open", "/plans", "ads") == -1
    assert (plan_of(()).atoms == -1).all()
    assert atom(plan_of((EventFeature("count", None),)), "open") == 0


def test_features_share_cells():
    """Count, window, trend and ratio read the same counts; what no two read costs nothing."""
    features = (
        EventFeature("count", "visit"),
        EventFeature("count", "visit", window=7),
        EventFeature("trend", "visit"),
        EventFeature("ratio", "visit", per="call"),
    )
    (term,) = plan_of(features).terms
    assert (term.width, term.buckets) == (2, 3)
    assert plan_of(features).edges.tolist() == [7 * DAY, 35 * DAY]


def test_columns_beside_the_features_are_what_they_are_compared_with():
    plan = plan_of(
        (EventFeature("mean", "buy"), EventFeature("trend", "visit"), EventFeature("ratio", "a", per="b"))
    )
    assert (plan.width, plan.columns) == (3, 6)
    np.testing.assert_array_equal(plan.divided, [[0, 2], [3, 5]])
    np.testing.assert_array_equal(plan.trends, [[1], [4]])


def test_the_same_features_are_worked_out_once():
    features = (EventFeature("count", "visit"), EventFeature("trend", "visit", window=3))
    assert plan_of(features) is plan_of(tuple(replace(feature) for feature in features))
