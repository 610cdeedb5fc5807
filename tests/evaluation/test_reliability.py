"""Calibration against scikit-learn, scipy, brute force and simulated truth."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression

from leadscore.errors import DataError, UsageError
from leadscore.evaluation import figures
from leadscore.evaluation.metrics import METRICS, calibration_bins
from leadscore.evaluation.reliability import (
    Estimate,
    both_outcomes,
    lead_codes,
    reliability,
    top_promise,
    wilson,
)


def logistic(log_odds):
    return 1 / (1 + np.exp(-log_odds))


def world(rows=2000, level=-2.0, seed=0, rows_a_lead=1):
    """Leads whose true log-odds are returned; the rows of one lead have one outcome."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(level, 1.0, rows)
    y = (rng.random(rows) < logistic(log_odds)).astype(int)
    return np.repeat(y, rows_a_lead), np.repeat(log_odds, rows_a_lead)


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (0.7, 0.5), (-1.5, 2.0)])
def test_slope_and_level_are_those_of_scikit_learn(shift, stretch):
    y, truth = world()
    said = shift + stretch * truth
    found = reliability(y, logistic(said), draws=2)
    peer = LogisticRegression(C=np.inf, tol=1e-12).fit(said[:, None], y)
    assert found.slope.value == pytest.approx(float(peer.coef_[0, 0]), rel=1e-5)
    assert logistic(said + found.large.value).sum() == pytest.approx(y.sum())
    assert found.ratio.value == pytest.approx(y.mean() / logistic(said).mean())


def test_intervals_are_those_of_the_information_when_the_promises_hold():
    """The sandwich and the inverse information agree where the model is true (White 1982)."""
    y, truth = world(rows=40_000)
    p = logistic(truth)
    found = reliability(y, p, draws=2)
    x = np.column_stack([np.ones(len(y)), truth])
    errors = np.sqrt(np.diag(np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)))
    assert (found.slope.high - found.slope.low) / 2 / 1.96 == pytest.approx(errors[1], rel=0.03)
    alone = 1 / math.sqrt((p * (1 - p)).sum())
    assert (found.large.high - found.large.low) / 2 / 1.96 == pytest.approx(alone, rel=0.03)


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = np.zeros(3)
    for seed in range(200):
        y, truth = world(rows=500, seed=seed)
        found = reliability(y, logistic((truth + 0.5) * 1.5), draws=2)
        # the outcome's log-odds are truth = said / 1.5 - 0.5
        held += [
            found.slope.touches(1 / 1.5, 1 / 1.5),
            reliability(y, logistic(truth - 0.5), draws=2).large.touches(0.5, 0.5),
            reliability(y, logistic(truth), draws=2).ratio.touches(1, 1),
        ]
    assert (held >= 178).all()  # 190 expected; below 178 in one of 10,000
    assert (held <= 199).all()


def test_four_rows_of_a_lead_tell_no_more_than_one():
    y, truth = world(rows=800)
    again, repeated = world(rows=800, rows_a_lead=4)
    one = reliability(y, logistic(truth), group=np.arange(800), draws=20)
    four = reliability(again, logistic(repeated), group=np.repeat(np.arange(800), 4), draws=20)
    assert four.leads == one.leads == 800
    assert four.rows == 3200
    for name in ("ratio", "large", "slope", "ece"):
        ours, theirs = getattr(four, name), getattr(one, name)
        for end in ("value", "low", "high"):
            assert getattr(ours, end) == pytest.approx(getattr(theirs, end)), (name, end)
    np.testing.assert_allclose(four.table["low"], one.table["low"])
    assert four.chance == pytest.approx(one.chance)
    alone = reliability(again, logistic(repeated), draws=20)
    assert alone.slope.high - alone.slope.low < 0.6 * (four.slope.high - four.slope.low)


def test_the_table_is_that_of_the_ece():
    y, truth = world(rows=999)
    p = np.round(logistic(truth), 2)
    found = reliability(y, p, draws=2)
    bins = calibration_bins(y, p)
    np.testing.assert_allclose(found.table["promised"], bins.predicted)
    np.testing.assert_allclose(found.table["observed"], bins.won)
    gaps = (found.table["promised"] - found.table["observed"]).abs()
    assert (gaps * found.table["n"]).sum() / 999 == pytest.approx(METRICS["ece"](y, p))
    assert found.ece.value == METRICS["ece"](y, p)
    assert found.ece.low <= found.ece.value <= found.ece.high


def test_the_ece_interval_is_that_of_the_metric_redrawn():
    y, truth = world(rows=60)
    p = np.round(logistic(truth), 1)
    found = reliability(y, p, group=np.arange(60), draws=50, seed=3)
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(50):
        rows = rng.integers(60, size=60)
        drawn.append(METRICS["ece"](y[rows], p[rows]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert found.ece.low == pytest.approx(min(low, found.ece.value))
    assert found.ece.high == pytest.approx(max(high, found.ece.value))


def test_the_ece_by_chance_is_the_mean_over_all_outcomes():
    """Six rows have 64 possible outcomes, each as likely as promised."""
    p = np.array([0.1, 0.2, 0.4, 0.5, 0.7, 0.9])
    expected = 0.0
    for outcome in itertools.product((0, 1), repeat=6):
        y = np.array(outcome)
        expected += np.prod(np.where(y == 1, p, 1 - p)) * METRICS["ece"](y, p)
    found = reliability([0, 0, 1, 0, 1, 1], p, draws=4000)
    assert found.chance == pytest.approx(expected, rel=0.03)


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_is_scipys(won, n):
    won = min(won, n)
    peer = stats.binomtest(won, n).proportion_ci(method="wilson")
    low, high = wilson(np.array([won / n]), np.array([float(n)]))
    assert low[0] == pytest.approx(peer.low, abs=1e-12)
    assert high[0] == pytest.approx(peer.high, abs=1e-12)


@pytest.mark.parametrize(("rows", "level"), [(40, -1.0), (100, -2.0), (1000, -4.5), (3000, -2.0)])
def test_true_probabilities_are_hardly_ever_refused(rows, level):
    refused = looked_at = 0
    for seed in range(120):
        y, truth = world(rows, level, seed)
        if 0 < y.sum() < rows:
            looked_at += 1
            refused += not reliability(y, logistic(truth), draws=40, seed=seed).holds
    assert looked_at >= 100
    assert refused <= 10  # under 5 %, at most 10 of 120 but for one time in 50


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda truth: 0.7 * logistic(truth), "times as many"),
        (lambda truth: logistic(truth + 1), "times as many"),
        (lambda truth: logistic(-2 + 1.6 * (truth + 2)), "too far apart"),
        (lambda truth: logistic(-2 + 0.5 * (truth + 2)), "too close together"),
        (lambda truth: logistic(truth)[np.random.default_rng(1).permutation(len(truth))], "too far apart"),
    ],
)
def test_probabilities_that_err_are_found_out(said, why):
    y, truth = world(4000)
    found = reliability(y, said(truth), draws=50)
    assert not found.holds
    assert found.sentence.startswith("does not hold: ")
    assert why in found.sentence


def test_an_ece_too_large_is_refused_though_level_and_slope_hold():
    """An S about the diagonal: a straight line sees nothing."""
    said = np.repeat([0.2, 0.4, 0.6, 0.8], 1000)
    y = np.concatenate([np.arange(1000) < won for won in (260, 300, 700, 740)]).astype(int)
    found = reliability(y, said, draws=100)
    assert found.ratio.touches(1, 1)
    assert found.slope.touches(0.8, 1.25)
    assert not found.holds
    assert (
        found.sentence
        == f"does not hold: ECE {found.ece.value:.3f} where chance alone gives {found.chance:.3f}"
    )


def test_few_data_are_called_few():
    y, truth = world(60, -2.0)
    found = reliability(y, logistic(truth), draws=50)
    assert found.holds
    assert found.sentence.startswith("nothing speaks against it, but the data are few: ")
    assert reliability(*both(3000), draws=50).sentence.startswith("holds: ")


def both(rows):
    y, truth = world(rows)
    return y, logistic(truth)


def test_what_has_no_slope_is_not_determined():
    y = np.repeat([0, 1], 50)
    constant = reliability(y, np.full(100, 0.5), draws=10)
    assert math.isnan(constant.slope.value)
    assert constant.holds
    assert "slope not determined" in constant.sentence
    apart = reliability(y, np.repeat([0.3, 0.7], 50), draws=10)
    assert math.isnan(apart.slope.value)
    written = json.loads(json.dumps(apart.to_dict(), allow_nan=False))
    assert written["slope"] == {"value": None, "low": None, "high": None}
    assert len(written["table"]) == 10


def test_promises_of_0_and_1_are_read():
    y, p = both(500)
    p[:3], y[:3] = (0.0, 1.0, 0.0), (0, 1, 0)
    found = reliability(y, p, draws=10)
    assert math.isfinite(found.slope.value)
    nothing = reliability([0, 1, 0, 1], [0.0] * 4, draws=10)
    assert not nothing.holds
    json.dumps(nothing.to_dict(), allow_nan=False)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(40)), st.integers(0, 5), st.booleans())
def test_the_order_of_rows_changes_nothing(order, seed, grouped):
    y, truth = world(40, -0.5, seed)
    y[:2] = 0, 1
    p, lead = np.round(logistic(truth), 1), np.arange(40) // 2
    one, two = (
        reliability(y[rows], p[rows], group=lead[rows] if grouped else None, draws=20)
        for rows in (np.arange(40), np.array(order))
    )
    assert json.dumps(two.to_dict()) == json.dumps(one.to_dict())


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_the_top_promise_is_that_of_the_best_rows(share):
    y, p = both(1000)
    found = top_promise(y, p, share)
    best = np.argsort(-p)[: int(share * 1000)]
    assert found.promised == pytest.approx(p[best].mean())
    assert found.observed.value == pytest.approx(y[best].mean())
    peer = stats.binomtest(int(y[best].sum()), len(best)).proportion_ci(method="wilson")
    assert (found.observed.low, found.observed.high) == pytest.approx((peer.low, peer.high))
    assert found.holds == (peer.low <= p[best].mean() <= peer.high)


def test_ties_at_the_cut_count_by_expectation():
    found = top_promise([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.5], 0.5)
    assert found.observed.value == pytest.approx((1 + 1 / 3) / 2)
    assert found.promised == pytest.approx(0.7)


def test_a_rare_outcome_promised_too_high_is_found_out():
    rng = np.random.default_rng(0)
    truth = logistic(rng.normal(-5.5, 1.2, 20_000))
    y = (rng.random(20_000) < truth).astype(int)
    assert top_promise(y, truth).holds
    overconfident = top_promise(y, np.minimum(3 * truth, 1))
    assert not overconfident.holds
    assert overconfident.sentence.endswith("the promise does not hold")
    wide = top_promise(y, truth, group=np.arange(20_000) // 4)
    assert wide.observed.high - wide.observed.low > 1.5 * (
        top_promise(y, truth).observed.high - top_promise(y, truth).observed.low
    )
    json.dumps(wide.to_dict(), allow_nan=False)


def test_the_picture_draws_the_table():
    y, p = both(1000)
    found = reliability(y, p, draws=10)
    drawn = figures.promises(found)
    points = drawn.axes[0].get_lines()[0].get_xydata()
    np.testing.assert_allclose(points, found.table[["promised", "observed"]])
    bars = drawn.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([[a[1], b[1]] for a, b in bars], found.table[["low", "high"]])
    assert figures.svg(drawn) == figures.svg(figures.promises(found))


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"y": [0, 0, 0, 0]}, DataError, "0 of 4 that converted"),
        ({"y": [1, 1, 1, 1]}, DataError, "4 of 4 that converted"),
        ({"y": [0, 1, 2, 0]}, DataError, "0 or 1"),
        ({"p": [0.1, np.nan, 0.1, 0.1]}, DataError, "row 1"),
        ({"p": [0.1, 1.1, 0.1, 0.1]}, DataError, "between 0 and 1"),
        ({"p": [0.1]}, UsageError, "equal lengths"),
        ({"group": [1, 2]}, UsageError, "one lead for each of the 4 outcomes"),
        ({"group": ["a", None, "a", "b"]}, DataError, "1 rows without one"),
        ({"draws": 1}, UsageError, "two bootstrap draws"),
    ],
)
def test_bad_input_is_refused_in_one_line(asked, error, says):
    with pytest.raises(error, match=says) as told:
        reliability(**{"y": [0, 1, 0, 1], "p": [0.1, 0.2, 0.3, 0.4], **asked})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("share", [0, 1.1, -1, math.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match="above 0 and up to 1"):
        top_promise([0, 1], [0.1, 0.2], share)


def test_readers_read():
    assert both_outcomes([True, False]).tolist() == [1.0, 0.0]
    assert lead_codes(np.array([7, 3, 7]), 3).tolist() == [1, 0, 1]
    assert Estimate(1.0, 0.5, 2.0).wider(2) == Estimate(1.0, 0.0, 3.0)
    assert not Estimate(1.0, 0.5, 2.0).touches(2.1, 3.0)
