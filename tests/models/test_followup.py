"""Rows at risk and the calibration on what has come so far, against loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.errors import DataError
from leadscore.models.calibration import fit_sigmoid, probability
from leadscore.models.followup import FollowUp, at_risk, edges_of, fit_so_far, follow_up, whole

DAYS = st.floats(0, 60)
ROW = st.tuples(DAYS, st.integers(0, 2), st.floats(0, 40))


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30), st.integers(0, 3))
def test_row_intervals_equal_loops(rows, seed):
    """Intervals that were seen whole: who enters them, and who is won in them."""
    days = np.array([d for d, _, _ in rows])
    ended = np.array([e for _, e, _ in rows])
    seen = days + np.where(ended == 0, 0.0, [more for *_, more in rows])
    until = np.where(ended == 1, days, np.inf)
    edges = (7.0, 20.0, 30.0)
    until, seen = np.append(until, np.inf), np.append(seen, 30.0)  # one row at risk to the end
    laid = at_risk(FollowUp(until, seen), edges, seed)
    expected = [
        (i, j, float(until[i] < end))
        for j, (begin, end) in enumerate(zip((0.0, *edges), edges, strict=False))
        for i in range(len(until))
        if until[i] >= begin and seen[i] >= end
    ]
    whole_ones = seen[laid.row] >= np.array(edges)[laid.interval]
    got = list(zip(laid.row[whole_ones], laid.interval[whole_ones], laid.won[whole_ones], strict=True))
    assert got == expected
    assert (laid.weight[whole_ones] == 1).all()
    assert ((laid.weight >= 0) & (laid.weight <= 1)).all()
    assert laid.won.sum() == ((until < 30) & (until <= seen)).sum()  # no win seen is lost


def test_rows_kept_stand_for_those_that_are_not():
    rng = np.random.default_rng(0)
    until = np.where(rng.random(30_000) < 0.2, rng.uniform(0, 30, 30_000), np.inf)
    edges = tuple(np.arange(1, 9) * 30.0 / 8)
    laid = at_risk(FollowUp(until, np.full(len(until), 30.0)), edges)
    assert np.bincount(laid.row[laid.won == 0]).max() <= 2
    for j, end in enumerate(edges):
        begin = end - 30 / 8
        entered = (until >= begin).sum()
        assert laid.weight[laid.interval == j].sum() == pytest.approx(entered, rel=0.03)
        rate = ((until >= begin) & (until < end)).sum() / entered
        assert laid.offsets[j] == pytest.approx(np.log(rate / (1 - rate)), abs=1e-9)


def test_intervals_seen_in_part_leave_the_hazard_right():
    """Wins come early in the interval; a weight by the share of time alone would overstate the hazard."""
    rng = np.random.default_rng(1)
    n = 200_000
    won_at = np.where(rng.random(n) < 0.3, 30 * rng.random(n) ** 3, np.inf)
    seen = np.where(rng.random(n) < 0.5, 30.0, rng.uniform(0, 30, n))
    until = np.where(won_at <= seen, won_at, np.inf)
    offset = at_risk(FollowUp(until, seen), (30.0,)).offsets[0]
    assert probability([offset])[0] == pytest.approx(0.3, abs=0.005)
    assert np.mean(until < np.inf) < 0.27  # what counting the unseen as lost would say


@given(st.lists(st.floats(0, 29.9), min_size=1, max_size=50), st.integers(2, 9), st.floats(0.5, 90))
def test_edges_rise_to_the_horizon_past_a_week(delays, intervals, horizon):
    edges = edges_of(np.minimum(delays, horizon * 0.99), horizon, intervals)
    assert edges[-1] == horizon
    assert (np.diff(edges, prepend=0) > 0).all()
    assert (7.0 in edges) == (horizon >= 7)
    assert len(edges) <= intervals + 1
    assert all(edge == round(edge) for edge in edges[:-1])


def test_edges_are_where_wins_are():
    edges = edges_of(np.concatenate([np.linspace(0, 4, 90), np.linspace(5, 29, 10)]), 30, 5)
    assert edges == (1.0, 2.0, 3.0, 4.0, 7.0, 30.0)
    assert edges_of(np.array([1.0]), 30, 1) == (30.0,)


def test_the_calibration_of_what_has_come_so_far_finds_the_truth():
    rng = np.random.default_rng(2)
    n = 40_000
    margin = rng.normal(-1, 1.5, n)
    share = np.where(rng.random(n) < 0.4, 1.0, rng.random(n))
    won = rng.random(n) < probability(0.6 * margin + 0.4)
    y = (won & (rng.random(n) < share)).astype(float)
    found = fit_so_far(margin, y, share)
    assert found.slope == pytest.approx(0.6, abs=0.04)
    assert found.intercept == pytest.approx(0.4, abs=0.06)
    assert fit_sigmoid(margin, y).intercept < 0.1  # what taking the unseen for lost makes of it


def test_of_mature_rows_it_is_the_sigmoid_of_platt():
    rng = np.random.default_rng(3)
    margin = rng.normal(size=300)
    y = (rng.random(300) < probability(margin)).astype(float)
    found, expected = fit_so_far(margin, y, np.ones(300)), fit_sigmoid(margin, y)
    assert (found.slope, found.intercept) == pytest.approx((expected.slope, expected.intercept), abs=1e-6)


def test_a_close_without_a_win_is_no_win_however_long_it_is_followed():
    followed = follow_up([3, 5, 12, 30], [1, 2, 0, 0], [9, 40, 12, 30], horizon=10)
    assert followed.until.tolist() == [3, np.inf, np.inf, np.inf]
    assert followed.seen.tolist() == [9, 40, 12, 30]
    assert whole(np.array([1.0, 0.0]), 30).until.tolist() == [0, np.inf]


@pytest.mark.parametrize(
    ("days", "ended", "seen", "message"),
    [
        ([-1, 5], [0, 0], [-1, 5], "days from 0 on; found something else in row 0"),
        ([1, np.nan], [0, 0], [1, 5], "days from 0 on"),
        ([1, 5], [0, 3], [1, 5], r"ended as 0 \(open\), 1 \(won\) or 2 \(closed\)"),
        ([1, 5], [0, 1], [1, 4], "seen at least as long as days; found something else in row 1"),
        ([1, 5], [0, 0], [1, 9], "seen as long as days for open rows"),
        ([1, 5], [0, 1], [1, np.inf], "seen at least as long"),
        ([1, 5, 6], [0, 1], [1, 5], "one length; found 3 days, 2 ended, 2 seen"),
        ([[1, 5]], [0, 1], [1, 5], "one number of days a row"),
        (["a", "b"], [0, 1], [1, 5], "one number of days a row"),
        ([1, 5], [0, 0], [1, 5], "all the horizon of 10 days; found none; the longest was seen for 5 days"),
        ([], [], [], "all the horizon of 10 days"),
    ],
)
def test_follow_up_that_contradicts_itself_is_refused_in_one_line(days, ended, seen, message):
    with pytest.raises(DataError, match=message) as caught:
        follow_up(days, ended, seen, horizon=10)
    assert "\n" not in str(caught.value)
