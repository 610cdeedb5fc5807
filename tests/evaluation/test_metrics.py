"""Metrics against scikit-learn, brute force and closed forms; and what must hold whatever the numbers are."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from leadscore.errors import DataError, UsageError
from leadscore.evaluation.metrics import (
    METRICS,
    binary_outcome,
    bootstrap,
    calibration_bins,
    evaluate,
    interval,
    mass,
    ranking,
)

ORACLES = {
    "roc_auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
}
RANKING_ONLY = [name for name in METRICS if name not in ("log_loss", "brier", "ece")]
HUNDREDTHS = np.arange(101) / 100


@st.composite
def cases(draw, max_rows=60):
    """Outcomes of both kinds, probabilities with many ties, and whole weights of which some are 0."""
    rows = draw(st.integers(2, max_rows))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)))
    y[:2] = 0, 1
    p = HUNDREDTHS[draw(st.lists(st.integers(0, 100), min_size=rows, max_size=rows))]
    w = np.array(draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows)))
    w[:2] = np.maximum(w[:2], 1)
    return y, p, w


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_agrees_with_scikit_learn_on_weights(name, case):
    y, p, w = case
    assert METRICS[name](y, p, w) == pytest.approx(ORACLES[name](y, p, sample_weight=w), abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_a_weight_of_two_is_two_rows(name, case):
    y, p, w = case
    repeated = METRICS[name](np.repeat(y, w), np.repeat(p, w))
    assert METRICS[name](y, p, w) == pytest.approx(repeated, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(case, seed):
    y, p, w = case
    shuffled = np.random.default_rng(seed).permutation(len(y))
    np.testing.assert_allclose(
        evaluate(ranking(y, p), w), evaluate(ranking(y[shuffled], p[shuffled]), w[shuffled]), atol=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(case=cases(), power=st.sampled_from([0.5, 2, 3]))
def test_monotone_transforms_keep_what_ranks(case, power):
    y, p, w = case
    for name in RANKING_ONLY:
        assert METRICS[name](y, p, w) == pytest.approx(METRICS[name](y, p**power, w), abs=1e-12)


@pytest.mark.parametrize(("name", "cut"), [("precision_at_10", 1), ("precision_at_20", 2)])
def test_ties_at_the_cut_count_by_expectation(name, cut):
    y = np.array([0, 1, 1, 0, 1, 0, 0, 1, 0, 0])
    p = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 0.1, 0.0])
    tied = list(range(1, 6))
    every_order = [y[[0, *order]][:cut].mean() for order in itertools.permutations(tied)]
    assert METRICS[name](y, p) == pytest.approx(np.mean(every_order), abs=1e-12)
    lift = METRICS[name.replace("precision", "lift")](y, p)
    assert lift == pytest.approx(np.mean(every_order) / y.mean(), abs=1e-12)


def test_ece_is_the_mean_gap_of_ten_equal_bins():
    rng = np.random.default_rng(1)
    p = rng.permutation(np.linspace(0.01, 0.99, 200))
    y = (rng.random(200) < p**2).astype(int)
    order = np.argsort(p)
    gaps = [abs(y[bin_].mean() - p[bin_].mean()) for bin_ in np.array_split(order, 10)]
    assert METRICS["ece"](y, p) == pytest.approx(np.mean(gaps), abs=1e-12)
    bins = calibration_bins(y, p)
    assert np.average(np.abs(bins.won - bins.predicted), weights=bins.weight) == pytest.approx(np.mean(gaps))


def test_ece_shares_a_tie_between_bins():
    # one probability for all: every bin holds the same mixture, so the gap is the overall one
    y = np.r_[np.ones(30), np.zeros(70)]
    assert METRICS["ece"](y, np.full(100, 0.25)) == pytest.approx(0.05)


def test_closed_forms():
    y, perfect = np.r_[np.ones(20), np.zeros(80)], np.r_[np.full(20, 0.9), np.full(80, 0.1)]
    assert METRICS["roc_auc"](y, perfect) == 1
    assert METRICS["roc_auc"](y, 1 - perfect) == 0
    assert METRICS["average_precision"](y, perfect) == 1
    assert METRICS["log_loss"](y, perfect) == pytest.approx(-np.log(0.9))
    assert METRICS["brier"](y, perfect) == pytest.approx(0.01)
    assert METRICS["ece"](y, perfect) == pytest.approx(0.1)
    assert METRICS["lift_at_10"](y, perfect) == pytest.approx(5)
    assert METRICS["precision_at_20"](y, perfect) == pytest.approx(1)
    same = np.full(100, 0.2)
    assert METRICS["roc_auc"](y, same) == pytest.approx(0.5)
    assert METRICS["average_precision"](y, same) == pytest.approx(0.2)
    assert METRICS["lift_at_20"](y, same) == pytest.approx(1)


def test_certain_and_wrong_stays_finite():
    assert METRICS["log_loss"]([0, 1], [1.0, 1.0]) == pytest.approx(sk.log_loss([0, 1], [1.0, 1.0]))


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_outcome_only_leaves_ranking_undefined(outcome):
    values = dict(zip(METRICS, evaluate(ranking([outcome] * 4, [0.1, 0.2, 0.3, 0.4])), strict=True))
    assert np.isnan(values["roc_auc"])
    assert np.isnan(values["lift_at_10"]) == (outcome == 0)
    assert values["precision_at_10"] == outcome
    assert values["brier"] == pytest.approx(np.mean((np.array([0.1, 0.2, 0.3, 0.4]) - outcome) ** 2))


@pytest.mark.parametrize("y", [[0, 2], [0, np.nan], ["won", "lost"], [], [[0, 1]]])
def test_outcomes_that_are_not_0_or_1_are_refused(y):
    with pytest.raises(DataError, match="0 or 1"):
        binary_outcome(y)


@pytest.mark.parametrize("p", [[0.5, np.nan], [0.5, 1.5], [-0.1, 0.5]])
def test_what_is_not_a_probability_is_refused(p):
    with pytest.raises(DataError, match="between 0 and 1"):
        ranking([0, 1], p)


@pytest.mark.parametrize("w", [[1], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]])
def test_weights_that_cannot_be_meant_are_refused(w):
    with pytest.raises(UsageError):
        mass(ranking([0, 1], [0.2, 0.3]), w)


def _drawn(y, p, group, **options):
    return bootstrap({"model": (ranking(y, p), np.arange(len(y)))}, group, **options)["model"]


def _world(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.random(rows)
    return (rng.random(rows) < p).astype(int), p


def test_bootstrap_of_a_mean_agrees_with_its_standard_error():
    y, p = _world(2000)
    low, high = interval(_drawn(y, p, np.arange(2000), draws=1000))
    squares = (y - p) ** 2
    expected = squares.mean() + np.array([-1.96, 1.96]) * squares.std() / np.sqrt(2000)
    place = list(METRICS).index("brier")
    np.testing.assert_allclose([low[place], high[place]], expected, rtol=0.01)


def test_bootstrap_draws_whole_groups():
    """Copies of a row, drawn as one group, add no certainty: every draw equals that without the copies."""
    y, p = _world()
    group = np.arange(len(y))
    once = _drawn(y, p, group, draws=20, seed=3)
    thrice = _drawn(np.tile(y, 3), np.tile(p, 3), np.tile(group, 3), draws=20, seed=3)
    np.testing.assert_allclose(once, thrice, atol=1e-12)
    alone = _drawn(np.tile(y, 3), np.tile(p, 3), np.arange(3 * len(y)), draws=200, seed=3)
    auc = list(METRICS).index("roc_auc")
    assert alone[:, auc].std() < 0.75 * _drawn(y, p, group, draws=200, seed=3)[:, auc].std()


def test_bootstrap_is_paired_and_seeded():
    y, p = _world()
    rows = np.arange(len(y))
    both = bootstrap({"a": (ranking(y, p), rows), "b": (ranking(y, p**2), rows)}, rows, draws=30, seed=5)
    auc = list(METRICS).index("roc_auc")
    np.testing.assert_allclose(both["a"][:, auc], both["b"][:, auc], atol=1e-12)
    np.testing.assert_array_equal(both["a"], _drawn(y, p, rows, draws=30, seed=5))
    assert not np.array_equal(both["a"], _drawn(y, p, rows, draws=30, seed=6))


def test_bootstrap_of_a_part_takes_the_draws_of_the_whole():
    y, p = _world()
    part = np.flatnonzero(p > 0.5)
    drawn = bootstrap({"part": (ranking(y[part], p[part]), part)}, np.arange(len(y)), draws=1, seed=2)["part"]
    times = np.bincount(np.random.default_rng(2).integers(len(y), size=len(y)), minlength=len(y))
    repeated = np.repeat(part, times[part])
    assert drawn[0, 0] == pytest.approx(sk.roc_auc_score(y[repeated], p[repeated]))


def test_intervals_leave_out_undefined_draws():
    drawn = np.array([[np.nan, np.nan], [1.0, np.nan], [3.0, np.nan]])
    low, high = interval(drawn)
    assert (low[0], high[0]) == pytest.approx((1.05, 2.95))
    assert np.isnan([low[1], high[1]]).all()


def test_three_hundred_draws_of_three_models_are_fast():
    """A tenth of the draws on a table of the bank's size must take a tenth of 30 s at most."""
    rng = np.random.default_rng(0)
    rows = np.arange(41_188)
    y = (rng.random(len(rows)) < 0.11).astype(int)
    ranked = {name: (ranking(y, rng.random(len(rows))), rows) for name in ("points", "logistic", "boosted")}
    start = time.process_time()
    bootstrap(ranked, rows, draws=30)
    assert time.process_time() - start < 3
