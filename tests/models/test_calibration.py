import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration

from leadscore.errors import ModelError, UsageError
from leadscore.models.calibration import Scale, Sigmoid, fit_level, fit_sigmoid, log_odds_of, probability

finite = st.floats(-700, 700)


def drawn(seed, n=400, slope=1.5):
    rng = np.random.default_rng(seed)
    margin = rng.normal(3, 2, n)
    return margin, (rng.random(n) < expit(slope * margin - 4)).astype(int)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_platts(seed, weighted):
    margin, y = drawn(seed)
    weight = np.random.default_rng(seed).uniform(0.1, 3, len(y)) if weighted else None
    a, b = _sigmoid_calibration(margin, y, weight)  # scikit-learn's: 1 / (1 + exp(a * margin + b))
    fitted = fit_sigmoid(margin, y, weight)
    np.testing.assert_allclose([fitted.slope, fitted.intercept], [-a, -b], rtol=2e-3, atol=2e-3)


def test_a_weight_of_two_is_a_row_twice_up_to_the_drawn_in_targets():
    margin, y = drawn(1)
    twice = fit_sigmoid(np.tile(margin, 2), np.tile(y, 2))
    weighted = fit_sigmoid(margin, y, np.full(len(y), 2.0))
    assert weighted.slope == pytest.approx(twice.slope, rel=1e-9)
    assert weighted.intercept == pytest.approx(twice.intercept, rel=1e-9)


def test_separated_margins_have_a_finite_answer_and_keep_the_totals():
    margin, y = np.r_[np.full(50, -1e6), np.full(50, 1e6)], np.repeat([0, 1], 50)
    p = probability(fit_sigmoid(margin, y).log_odds(margin))
    np.testing.assert_allclose(p, np.where(y, 51 / 52, 1 / 52), rtol=1e-6)


@pytest.mark.parametrize("margin", [np.full(60, 7.0), np.r_[np.ones(20), np.zeros(40)]])
def test_margins_that_say_nothing_or_the_opposite_give_the_share_of_wins(margin):
    y = np.r_[np.zeros(20), np.ones(40)]
    fitted = fit_sigmoid(margin, y)
    assert fitted.slope > 0
    np.testing.assert_allclose(probability(fitted.log_odds(margin)), 41 / 62, atol=1e-3)


@given(st.lists(finite, min_size=1, max_size=70))
def test_probability_is_the_logistic_function_and_the_same_bits_one_by_one(log_odds):
    together = probability(log_odds)
    np.testing.assert_allclose(together, expit(log_odds), rtol=1e-13)
    assert [float(probability([x])[0]) for x in log_odds] == together.tolist()
    assert probability(np.repeat(log_odds, 2)[::2]).tolist() == together.tolist()


@given(finite, st.floats(1, 99), st.floats(0.01, 0.99), st.floats(0.5, 50))
@settings(max_examples=50)
def test_a_score_means_the_same_odds_everywhere(log_odds, reference, share, double):
    scale = Scale(reference, share, double)
    score = float(scale.raw(log_odds))
    assert float(scale.raw(log_odds + math.log(2))) - score == pytest.approx(double, abs=1e-9)
    assert float(scale.log_odds(score)) == pytest.approx(log_odds, abs=1e-9)
    assert float(scale.raw(math.log(share / (1 - share)))) == pytest.approx(reference)
    assert float(scale.score(log_odds)) == min(max(score, 0.0), 100.0)


@pytest.mark.parametrize("value", [Sigmoid(0.5, -1.0), Scale(), Scale(60, 0.2, 10)])
def test_numbers_are_read_back(value):
    assert type(value).from_dict(value.to_dict()) == value


@pytest.mark.parametrize("slope", [0.0, -1.0, math.nan, math.inf])
def test_a_sigmoid_rises(slope):
    with pytest.raises(ModelError, match="slope above 0"):
        Sigmoid(slope, 0.0)


@pytest.mark.parametrize(
    "numbers", [(101, 0.1, 8), (50, 0.0, 8), (50, 1.0, 8), (50, 0.1, 0), (50, math.nan, 8)]
)
def test_a_scale_that_cannot_be_meant_is_refused(numbers):
    with pytest.raises(UsageError, match="correct the scale"):
        Scale(*numbers)


@pytest.mark.parametrize(
    "values", [{}, {"slope": 1}, {"slope": "1", "intercept": 0}, {"slope": True, "intercept": 0}, [1, 2]]
)
def test_altered_calibrations_are_refused(values):
    with pytest.raises(ModelError, match="restore"):
        Sigmoid.from_dict(values)


def test_an_altered_scale_is_refused():
    with pytest.raises(ModelError, match="correct the scale"):
        Scale.from_dict(Scale().to_dict() | {"reference_probability": 2})


def asked(wins, losses):
    """Wins that the level must promise: Platt's targets, drawn in from 1 and 0, added up."""
    return wins * (wins + 1) / (wins + 2) + losses / (losses + 2)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(-27, 27))
def test_the_level_of_equal_log_odds_has_a_closed_form(wins, losses, log_odds):
    n = wins + losses
    if not n:
        return
    share = asked(wins, losses) / n
    found = fit_level(np.full(n, log_odds), np.repeat([1, 0], [wins, losses]))
    assert found == pytest.approx(math.log(share / (1 - share)) - log_odds, abs=1e-9)


@pytest.mark.parametrize(("wins", "share"), [(0, 1 / 42), (40, 41 / 42)])
def test_without_wins_or_without_losses_there_is_a_level(wins, share):
    x = np.random.default_rng(0).normal(-3, 1, 40)
    level = fit_level(x, np.repeat([1, 0], [wins, 40 - wins]))
    assert probability(x + level).mean() == pytest.approx(share, rel=1e-9)


@given(st.lists(st.tuples(st.floats(-15, 15), st.booleans()), min_size=1, max_size=60), st.floats(-5, 5))
def test_the_level_makes_the_promise_what_came(rows, moved):
    x, y = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    level = fit_level(x, y)
    assert expit(x + level).sum() == pytest.approx(asked(y.sum(), (1 - y).sum()), rel=1e-9)
    assert fit_level(x + moved, y) == pytest.approx(level - moved, abs=1e-6)


def test_a_level_far_off_or_of_absurd_log_odds_is_finite():
    sure = log_odds_of(np.zeros(1000))
    assert fit_level(sure, np.ones(1000)) == pytest.approx(math.log(1001) - sure[0])
    for x in (np.full(10, 1e6), np.full(10, -1e6), np.r_[np.full(5, -1e300), np.full(5, 1e300)]):
        assert math.isfinite(fit_level(x, np.arange(10) % 2))


@given(st.floats(-27, 27))
def test_log_odds_are_the_inverse_of_a_probability(log_odds):
    # near 1 a probability has only so many digits of its distance to 1
    assert float(log_odds_of(expit(log_odds))) == pytest.approx(log_odds, rel=1e-9, abs=1e-3)


def test_log_odds_of_certainty_are_finite_and_symmetric():
    low, middle, high = log_odds_of([0.0, 0.5, 1.0])
    assert middle == 0
    assert low == pytest.approx(math.log(1e-12), abs=1e-9)
    assert high == pytest.approx(-low, abs=1e-3)
