import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from leadscore.errors import DataError, ModelError, UsageError
from leadscore.models import uncertainty
from leadscore.models.calibration import probability
from leadscore.models.uncertainty import Interval, _spline, fit_interval


def true_log_odds(said):
    """What a model that is too sure of itself, and more so at the top, should have said."""
    return 0.8 * said - 0.6 - 0.3 * np.maximum(said, 0)


def world(seed, leads, rows=1, truth=true_log_odds):
    """Leads of several rows each with one outcome; the rows of a lead are said much the same."""
    rng = np.random.default_rng(seed)
    said = np.repeat(rng.normal(-1, 1.2, leads), rows) + rng.normal(0, 0.1, leads * rows)
    won = np.repeat(rng.random(leads), rows) < expit(truth(said))
    return said, won.astype(int), np.repeat(np.arange(leads), rows)


def curves(interval, at):
    return np.interp(at, interval.log_odds, interval.low), np.interp(at, interval.log_odds, interval.high)


@pytest.fixture
def same_model(monkeypatch):
    """The curve is that of the very model whose predictions it was fitted on: nothing is widened."""
    monkeypatch.setattr(uncertainty, "_REFIT", 1.0)


@pytest.fixture
def no_ridge(monkeypatch):
    monkeypatch.setattr(uncertainty, "_RIDGE", 1e-9)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("leads", [200, 1500])
def test_nine_in_ten_intervals_hold_the_true_rate(leads, rows, same_model):
    at = norm(-1, 1.2).ppf(np.linspace(0.02, 0.98, 25))
    held = []
    for seed in range(150):
        low, high = curves(fit_interval(*world(seed, leads, rows)), at)
        held.append(np.mean((low <= true_log_odds(at)) & (true_log_odds(at) <= high)))
    assert 0.86 <= np.mean(held) <= 0.94  # the mean's standard error is about 0.012


def test_a_chance_that_differs_from_lead_to_lead_is_held_in_its_mean(same_model):
    """Chances drawn from a beta distribution around the calibrated one: nothing tells them apart."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(150):
        said = rng.normal(-1, 1.2, 800)
        mean = expit(true_log_odds(said))
        chance = rng.beta(2 * mean, 2 * (1 - mean))
        interval = fit_interval(said, rng.random(800) < chance, np.arange(800))
        low, high = curves(interval, said)
        held.append(np.mean((expit(low) <= mean) & (mean <= expit(high))))
    assert 0.86 <= np.mean(held) <= 0.94


def test_the_interval_is_that_of_a_logistic_regression_by_textbook(no_ridge, same_model):
    """With few wins the curve is a line: scikit-learn's, and the inverse of the information on it."""
    said, won, lead = world(3, 180, truth=lambda said: 1.3 * said - 1.2)
    assert 10 < won.sum() < 40
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(said[:, None], won)
    Z = np.stack([np.ones_like(said), said], axis=1)
    p = model.predict_proba(said[:, None])[:, 1]
    information = np.linalg.inv((Z * (p * (1 - p))[:, None]).T @ Z)
    scores = Z * (won - p)[:, None]
    robust = information @ (scores.T @ scores) @ information * len(won) / (len(won) - 1)
    interval = fit_interval(said, won, lead, level=0.8)
    grid = np.stack([np.ones(201), interval.log_odds], axis=1)
    variance = np.maximum(*(np.einsum("ij,jk,ik->i", grid, part, grid) for part in (information, robust)))
    reach = norm.ppf(0.9) * np.sqrt(variance)
    middle = model.decision_function(interval.log_odds[:, None])
    np.testing.assert_allclose(interval.low, np.sort(middle - reach), rtol=1e-4)
    np.testing.assert_allclose(interval.high, np.sort(middle + reach), rtol=1e-4)


def test_the_curve_is_a_natural_cubic_spline():
    knots, x = np.array([-3.0, -1.0, 0.5, 2.0, 4.0]), np.linspace(-8, 9, 400)
    peer = CubicSpline(knots, [1.0, -2.0, 0.5, 3.0, 0.0], bc_type="natural")
    slopes = peer(knots[[0, -1]], 1)
    wanted = np.where(
        x < knots[0],
        peer(knots[0]) + slopes[0] * (x - knots[0]),
        np.where(x > knots[-1], peer(knots[-1]) + slopes[1] * (x - knots[-1]), peer(x)),
    )
    basis = _spline(x, knots)
    weights = np.linalg.lstsq(basis, wanted, rcond=None)[0]
    np.testing.assert_allclose(basis @ weights, wanted, atol=1e-9)


def test_four_times_the_leads_halve_it_and_four_times_the_rows_do_not(no_ridge):
    said, won, lead = world(1, 4000)
    at = np.linspace(-3, 1, 9)
    once, rows, leads = (
        np.subtract(*curves(fit_interval(np.tile(said, n), np.tile(won, n), group), at)[::-1])
        for n, group in ((1, lead), (4, np.tile(lead, 4)), (4, np.arange(4 * len(said))))
    )
    np.testing.assert_allclose(rows / once, 1, atol=0.01)
    np.testing.assert_allclose(leads / once, 0.5, atol=0.01)


def test_a_higher_level_is_wider_everywhere():
    said, won, lead = world(2, 500)
    narrow, wide = (fit_interval(said, won, lead, level=level).bounds(said) for level in (0.5, 0.95))
    assert (wide[0] <= narrow[0]).all()
    assert (wide[1] >= narrow[1]).all()
    assert (wide[1] - wide[0] > narrow[1] - narrow[0]).mean() > 0.99


def test_a_model_that_is_far_off_is_held_with_the_truth():
    said, won, lead = world(4, 4000, truth=lambda said: said - 3)
    low, high = fit_interval(said, won, lead).bounds([0.0])
    assert low[0] < expit(-3) < 0.1
    assert high[0] == 0.5


@pytest.mark.parametrize("wins", [2, 40])
def test_separated_outcomes_are_finite_and_unsure(wins):
    said = np.sort(np.random.default_rng(0).normal(size=100)) * 30
    won = np.arange(100) >= 100 - wins
    low, high = fit_interval(said, won, np.arange(100)).bounds(said)
    assert np.isfinite([low, high]).all()
    assert (high - low)[~won][-1] > 0.05


def test_scores_that_are_all_the_same_give_the_share_of_wins(same_model):
    won = np.arange(400) % 4 == 0
    low, high = fit_interval(np.full(400, logit(0.25)), won, np.arange(400)).bounds([logit(0.25)])
    reach = norm.ppf(0.95) * np.sqrt(0.25 * 0.75 / 400)
    assert [low[0], high[0]] == pytest.approx([0.25 - reach, 0.25 + reach], abs=0.005)


INTERVALS = [fit_interval(*world(seed, leads, rows)) for seed, leads, rows in ((0, 60, 1), (1, 900, 2))]


@pytest.mark.parametrize("interval", INTERVALS)
@given(said=st.lists(st.floats(-700, 700), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_bounds_hold_the_probability_rise_with_it_and_are_the_same_bits_one_by_one(interval, said):
    low, high = interval.bounds(np.sort(said))
    p = probability(np.sort(said))
    assert (low >= 0).all() and (low <= p).all() and (p <= high).all() and (high <= 1).all()
    assert (np.diff(low) >= -1e-15).all() and (np.diff(high) >= -1e-15).all()
    alone = [interval.bounds([x]) for x in np.sort(said)]
    assert [(float(a[0]), float(b[0])) for a, b in alone] == list(
        zip(low.tolist(), high.tolist(), strict=True)
    )


def test_what_is_saved_is_what_was_fitted():
    fitted = INTERVALS[1]
    read = Interval.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert read.to_dict() == fitted.to_dict()
    at = np.linspace(-9, 9, 1000)
    np.testing.assert_array_equal(read.bounds(at), fitted.bounds(at))
    assert fit_interval(*world(1, 900, 2)).to_dict() == fitted.to_dict()


GOOD = {"level": 0.9, "log_odds": [0.0, 1.0], "low": [-1.0, 0.0], "high": [0.0, 2.0]}


@pytest.mark.parametrize(
    "broken",
    [
        {"level": 1.0},
        {"level": "0.9"},
        {"log_odds": [1.0, 0.0]},
        {"log_odds": [0.0, 1.0, 2.0]},
        {"low": [0.0, -1.0]},
        {"low": [-1.0, 3.0]},
        {"high": [0.0, float("nan")]},
        {"high": [0.0, None]},
        {"high": 2.0},
        {"more": 1},
        {"log_odds": [0.0], "low": [-1.0], "high": [0.0]},
    ],
)
def test_only_an_interval_is_read(broken):
    assert Interval.from_dict(GOOD).to_dict() == GOOD
    with pytest.raises(ModelError, match="restore the model's files"):
        Interval.from_dict({**GOOD, **broken})


def test_what_is_no_mapping_is_refused():
    with pytest.raises(ModelError):
        Interval.from_dict([])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"y": [0, 0, 0, 0]}, DataError, "wins and others in 2 leads each"),
        ({"y": [1, 0, 0, 0]}, DataError, "1 of one kind"),
        ({"y": [1, 1, 0, 0], "group": [0, 0, 1, 2]}, DataError, "1 of one kind"),
        ({"y": [0.5, 1, 0, 0]}, UsageError, "outcomes of 0 or 1"),
        ({"log_odds": [0, 1, np.nan, 1]}, UsageError, "finite log-odds"),
        ({"log_odds": [0, 1]}, UsageError, "as many predictions as outcomes"),
        ({"level": 1.5}, UsageError, "a level between 0 and 1; found 1.5"),
        ({"level": float("nan")}, UsageError, "a level between 0 and 1"),
    ],
)
def test_what_cannot_be_fitted_is_said(change, error, words):
    given = {"log_odds": [-1.0, 0.0, 1.0, 2.0], "y": [0, 1, 0, 1], "group": [0, 1, 2, 3], **change}
    with pytest.raises(error, match=words):
        fit_interval(**given)
