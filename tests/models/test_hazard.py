"""Hazards against closed forms, brute force and the estimator of Aalen and Johansen."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from leadscore.errors import DataError, ModelError, UsageError
from leadscore.explain.drivers import driver_points
from leadscore.models.boosted import BoostedScorer, HazardScorer
from leadscore.models.calibration import Scale, probability
from leadscore.models.estimators import TargetError
from leadscore.models.hazard import HazardForest, log_odds_of, share_of
from leadscore.models.matrix import to_matrix
from leadscore.models.saved import read_scorer

HORIZON = 30.0
QUICK = {"max_trees": 60, "folds": 3}


@parametrize_with_checks([HazardScorer()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# ------------------------------------------------------------------------------------------------- worlds
def course(rng, rate, seen, closing=0.0):
    """Draw when rows are won or closed at constant rates a day, and cut at the end of the data."""
    won_at = rng.exponential(1 / np.broadcast_to(rate, seen.shape))
    closed_at = rng.exponential(1 / closing, len(seen)) if closing else np.full(len(seen), np.inf)
    won = (won_at <= closed_at) & (won_at <= seen)
    closed = (closed_at < won_at) & (closed_at <= seen)
    ended = np.where(won, 1, np.where(closed, 2, 0))
    days = np.where(won, won_at, np.where(closed, closed_at, seen))
    return {"days": days, "ended": ended, "seen": seen}


def y_of(known):
    return ((known["ended"] == 1) & (known["days"] < HORIZON)).astype(int)


def leads(seed, n=3000, closing=0.01):
    """Leads whose rate of a win follows from columns; some of the rows are young."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "visits": rng.poisson(3, n).astype(float),
            "size": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(2, 1, n)),
            "source": pd.Categorical(
                rng.choice(["Ads", "Event", "Referral"], n), categories=["Ads", "Event", "Referral"]
            ),
        }
    )
    rate = 0.004 * np.exp(0.4 * X["visits"].to_numpy()) * np.where(X["source"] == "Referral", 2, 1)
    seen = np.where(rng.random(n) < 0.5, rng.uniform(HORIZON, 90, n), rng.uniform(0.5, HORIZON, n))
    return X, course(rng, rate, seen, closing), rate


@cache
def fitted():
    X, known, _ = leads(0)
    return HazardScorer(**QUICK).fit(X, y_of(known), **known)


def matrix(seed=1, n=80):
    return to_matrix(leads(seed, n)[0], fitted().served_.columns)


# ------------------------------------------------------------------------------------------- closed forms
@pytest.mark.parametrize("young", [0.0, 0.4, 0.8])
def test_a_constant_hazard_is_found_whatever_the_share_of_young_rows(young):
    rng = np.random.default_rng(2)
    n, rate = 8000, 0.02
    seen = np.where(rng.random(n) < young, rng.uniform(0, HORIZON, n), rng.uniform(HORIZON, 60, n))
    known = course(rng, rate, seen)
    scorer = HazardScorer(**QUICK).fit(rng.normal(size=(n, 2)), y_of(known), **known)
    new = rng.normal(size=(500, 2))
    expected = 1 - np.exp(-rate * HORIZON)
    assert scorer.predict_proba(new)[:, 1].mean() == pytest.approx(expected, abs=0.03)
    for days in (3.0, 7.0, 18.5):
        within = scorer.predict_within(new, days).mean()
        assert within == pytest.approx(1 - np.exp(-rate * days), abs=0.025)
    assert scorer.urgency(new).mean() == pytest.approx((1 - np.exp(-7 * rate)) / expected, abs=0.03)
    late = 1 / rate - HORIZON * np.exp(-rate * HORIZON) / expected
    assert scorer.expected_days(new).mean() == pytest.approx(late, abs=0.7)
    if young:
        assert y_of(known).mean() < expected - 0.06  # what "not yet = no" learns


def aalen_johansen(days, ended, horizon):
    """The share won within the horizon, event by event: those still open, times the share of them won."""
    order = np.argsort(days, kind="stable")
    at_risk, open_still, won = len(days), 1.0, 0.0
    for time, end in zip(days[order], ended[order], strict=True):
        if time >= horizon:
            break
        won += open_still / at_risk if end == 1 else 0.0
        open_still *= 1 - 1 / at_risk if end else 1.0
        at_risk -= 1
    return won


def test_a_competing_close_lowers_the_chance_as_aalen_and_johansen_say():
    rng = np.random.default_rng(3)
    n = 12_000
    often_closed = rng.random(n) < 0.5
    seen = rng.uniform(0.5, 70, n)
    some, other = course(rng, 0.03, seen, closing=0.06), course(rng, 0.03, seen)
    known = {name: np.where(often_closed, some[name], other[name]) for name in some}
    scorer = HazardScorer(**QUICK).fit(often_closed[:, None].astype(float), y_of(known), **known)
    chance = scorer.predict_proba([[0.0], [1.0]])[:, 1]
    for group in (0, 1):
        own = often_closed == group
        estimate = aalen_johansen(known["days"][own], known["ended"][own], HORIZON)
        assert chance[group] == pytest.approx(estimate, abs=0.02)
    no_close, rates = 1 - np.exp(-0.03 * HORIZON), 0.03 + 0.06
    assert chance[0] == pytest.approx(no_close, abs=0.03)
    assert chance[1] == pytest.approx(0.03 / rates * (1 - np.exp(-rates * HORIZON)), abs=0.03)
    # wins of rows that may close come early: the others go on being won
    assert scorer.expected_days([[1.0]])[0] < scorer.expected_days([[0.0]])[0] - 2


def test_chances_of_new_leads_are_near_the_truth():
    X, known, _ = leads(4, n=6000)
    new, _, rate = leads(5, n=4000)
    p = HazardScorer().fit(X, y_of(known), **known).predict_proba(new)[:, 1]
    truth = rate / (rate + 0.01) * (1 - np.exp(-(rate + 0.01) * HORIZON))
    assert p.mean() == pytest.approx(truth.mean(), rel=0.05)
    assert np.corrcoef(p, truth)[0, 1] > 0.97
    taken_for_lost = BoostedScorer().fit(X, y_of(known)).predict_proba(new)[:, 1]
    assert taken_for_lost.mean() < 0.85 * truth.mean()


def test_without_days_it_is_the_boosted_scorer():
    X, known, _ = leads(6, n=800)
    y = y_of(known)
    same, scorer = (kind(max_trees=10).fit(X, y) for kind in (BoostedScorer, HazardScorer))
    M = to_matrix(X, scorer.served_.columns)
    np.testing.assert_allclose(scorer.served_.margin(M), same.served_.margin(M), atol=1e-6)
    np.testing.assert_allclose(scorer.predict_proba(X), same.predict_proba(X), atol=0.02)
    assert scorer.served_.edges == (HORIZON,)
    base, parts = scorer.served_.contributions(M)
    forest = scorer.served_.shared
    np.testing.assert_allclose(parts, forest.contributions(M)[1], atol=1e-9)
    assert base == pytest.approx(scorer.served_.margin(M).mean(), abs=1e-9)


def test_folds_keep_groups_whole():
    """Ten copies of each lead: a validation that splits them believes that learning by heart pays."""
    X, known, _ = leads(7, n=150)
    copies = np.repeat(np.arange(len(X)), 10)
    known = {name: values[copies] for name, values in known.items()}
    by_row = HazardScorer(learning_rate=0.2, min_data_in_leaf=5, max_trees=200)
    by_lead = clone(by_row).fit(X.iloc[copies], y_of(known), groups=copies, **known)
    by_row.fit(X.iloc[copies], y_of(known), **known)
    assert by_lead.booster_.num_trees() < by_row.booster_.num_trees() / 2


def test_too_few_wins_to_validate_still_fit():
    X, known, _ = leads(8, n=60)
    known["ended"] = np.where(np.arange(60) == 3, 1, 2)
    known["days"], known["seen"] = np.full(60, 5.0), np.full(60, 40.0)
    p = HazardScorer().fit(X, y_of(known), **known).predict_proba(X)[:, 1]
    assert np.isfinite(p).all()
    assert p.mean() < 0.1


# ---------------------------------------------------------------------------------------- the served form
def test_hazards_are_those_of_the_booster_with_the_interval_as_a_column():
    scorer, M = fitted(), matrix()
    served = scorer.served_
    assert len(served.edges) > 4 and any(len(own.inner) for own in served.own)
    survived = np.ones(len(M))
    for j in range(len(served.edges)):
        raw = scorer.booster_.predict(np.column_stack([M, np.full(len(M), j + 1.0)]), raw_score=True)
        survived *= 1 - probability(served.offsets[j] + raw)
        np.testing.assert_allclose(served.within(M, served.edges[j]), 1 - survived, atol=1e-12)
    np.testing.assert_allclose(probability(served.margin(M)), 1 - survived, atol=1e-12)


def test_contributions_lead_from_the_base_to_the_margin():
    served, M = fitted().served_, matrix(n=2000)
    base, parts = served.contributions(M)
    np.testing.assert_allclose(base + parts.sum(axis=1), served.margin(M), rtol=0, atol=1e-9)
    assert parts.shape == (len(M), len(served.drivers)) == (len(M), len(served.driver_columns))
    shown = driver_points(served, fitted().calibration_, Scale(), M)
    np.testing.assert_allclose(shown.base + shown.points.sum(axis=1) + shown.clip, shown.score, atol=1e-9)


def test_contributions_are_shap_values_of_intervals_weighted_along_the_path():
    """The integral of the gradient by brute force: central differences at 2,000 places on the way."""
    served, M = fitted().served_, matrix(n=12)
    goal = np.array(served._hazards(M))
    explained = [(served.shared.contributions(M), own.contributions(M)) for own in served.own]
    phi = np.array([common[1] + own[1] for common, own in explained])
    start = np.array(
        [o + common[0] + own[0] for o, (common, own) in zip(served.offsets, explained, strict=True)]
    )
    np.testing.assert_allclose(start[:, None] + phi.sum(axis=2), goal, atol=1e-9)
    weight, way = np.zeros(goal.shape), (np.arange(2000) + 0.5) / 2000
    for j in range(len(goal)):
        for at in way:
            point, step = start[:, None] + at * (goal - start[:, None]), np.zeros((len(goal), 1))
            step[j] = 1e-5
            weight[j] += (log_odds_of(list(point + step)) - log_odds_of(list(point - step))) / 2e-5 / len(way)
    base, parts = served.contributions(M)
    np.testing.assert_allclose(parts, (weight[:, :, None] * phi).sum(axis=0), atol=1e-6)
    assert base == pytest.approx(log_odds_of([start[j : j + 1] for j in range(len(start))])[0], abs=1e-12)


def test_each_interval_starts_from_its_average_over_the_training_rows():
    X, _, _ = leads(0)
    served = fitted().served_
    M = to_matrix(X, served.columns)
    for hazard, offset, own in zip(served._hazards(M), served.offsets, served.own, strict=True):
        start = offset + served.shared.contributions(M[:1])[0] + own.contributions(M[:1])[0]
        assert start == pytest.approx(hazard.mean(), abs=1e-9)


def test_a_column_that_no_tree_asks_for_contributes_nothing():
    X, known, _ = leads(9, n=1000)
    scorer = HazardScorer(**QUICK).fit(X.assign(constant=1.0), y_of(known), **known)
    M = to_matrix(X.assign(constant=7.0), scorer.served_.columns)
    assert (scorer.served_.contributions(M)[1][:, 3] == 0).all()


def answers(served, M):
    """All that a served form says, row by row."""
    parts = served.contributions(M)[1]
    more = (served.margin(M), served.within(M, 11.5), served.urgency(M), served.expected_days(M))
    return np.column_stack([parts, *more])


def test_one_lead_and_many_in_any_order_give_the_same_bits():
    served, M = fitted().served_, matrix()
    together = answers(served, M)
    order = np.random.default_rng(0).permutation(len(M))
    assert answers(served, M[order]).tolist() == together[order].tolist()
    assert [answers(served, M[i : i + 1])[0].tolist() for i in range(len(M))] == together.tolist()
    again = np.tile(M, (125, 1))
    assert answers(served, again)[-len(M) :].tolist() == together.tolist()


def test_the_saved_form_gives_the_same_bits():
    served, M = fitted().served_, matrix()
    back = read_scorer("hazard", served.to_files())
    assert answers(back, M).tolist() == answers(served, M).tolist()
    assert back.to_files() == served.to_files()
    assert back.kind == served.kind == "hazard"


def test_the_same_seed_gives_the_same_bytes():
    X, known, _ = leads(0)
    again = HazardScorer(**QUICK).fit(X, y_of(known), **known)
    assert again.served_.to_files() == fitted().served_.to_files()
    assert again.calibration_ == fitted().calibration_


def altered(name, **values):
    files = fitted().served_.to_files()
    return files | {name: json.dumps(json.loads(files[name]) | values).encode()}


def without(name):
    return {key: value for key, value in fitted().served_.to_files().items() if key != name}


@pytest.mark.parametrize(
    "files",
    [
        lambda: {},
        lambda: without("shared.npz"),
        lambda: without("interval_2.npz"),
        lambda: without("shared.npz") | {"shared.npz": b"PK"},
        lambda: altered("hazard.json", edges=[], offsets=[]),
        lambda: altered("hazard.json", edges=[7.0], offsets=[]),
        lambda: altered("hazard.json", edges=[7.0, 7.0], offsets=[0.0, 0.0]),
        lambda: altered("hazard.json", edges=[0.0, 7.0], offsets=[0.0, 0.0]),
        lambda: altered("hazard.json", edges=[7.0, "30"], offsets=[0.0, 0.0]),
        lambda: altered("hazard.json", edges=[7.0, 30.0], offsets=[0.0, float("nan")]),
        lambda: altered("hazard.json", edges=[7.0] * 10**6, offsets=[0.0] * 10**6),
        lambda: altered("hazard.json", more=1),
        lambda: altered("hazard.json", edges={}),
        lambda: without("hazard.json") | {"hazard.json": b"[" * 100_000},
        lambda: without("hazard.json") | {"hazard.json": b"\xff"},
    ],
)
def test_altered_files_are_refused(files):
    with pytest.raises(ModelError):
        HazardForest.from_files(files())


def test_forests_over_other_columns_are_refused():
    X, known, _ = leads(10, n=300)
    other = HazardScorer(max_trees=3).fit(X[["visits"]], y_of(known), **known).served_
    served = fitted().served_
    with pytest.raises(ModelError, match="several sets of columns"):
        HazardForest(served.edges, served.offsets, other.shared, served.own)


# ------------------------------------------------------------------------------------------------ chances
MARGIN = st.floats(-30, 8)


@settings(deadline=None)
@given(st.lists(MARGIN, min_size=1, max_size=7))
def test_log_odds_are_those_of_the_product(margins):
    survived = np.prod([1 - probability([margin])[0] for margin in margins])
    found = log_odds_of([np.array([margin]) for margin in margins])[0]
    if survived < 1 - 1e-6:
        assert found == pytest.approx(np.log((1 - survived) / survived), abs=1e-6)
    assert found >= max(margins) - 1e-9


@settings(deadline=None)
@given(st.lists(MARGIN, min_size=1, max_size=6), st.integers(0, 10**6))
def test_the_share_rises_from_nothing_to_all(margins, seed):
    edges = np.cumsum(np.random.default_rng(seed).uniform(0.5, 9, len(margins))).tolist()
    hazards = [np.array([margin]) for margin in margins]
    shares = [share_of(hazards, edges, days)[0] for days in np.linspace(0, edges[-1], 60)]
    assert shares[0] == 0 and shares[-1] == 1
    assert (np.diff(shares) >= -1e-15).all()
    survived = np.cumprod([1 - probability([margin])[0] for margin in margins])
    if survived[-1] < 1 - 1e-6:
        for end, left in zip(edges, survived, strict=True):
            assert share_of(hazards, edges, end)[0] == pytest.approx(
                (1 - left) / (1 - survived[-1]), abs=1e-6
            )


def test_expected_days_are_the_area_above_the_share():
    served, M = fitted().served_, matrix()
    days = (np.arange(600) + 0.5) * HORIZON / 600
    area = sum(1 - served.share(M, at) for at in days) * HORIZON / 600
    np.testing.assert_allclose(served.expected_days(M), area, atol=1e-4)


def test_certain_and_impossible_wins_overflow_nowhere():
    far = [np.array([-1e300, -800.0, -40.0, 0.0, 40.0, 800.0, 1e300])] * 8
    odds = log_odds_of(far)
    assert np.isfinite(odds).all() and (np.diff(odds) >= 0).all()
    edges = tuple(range(1, 9))
    share = share_of(far, edges, 4.0)
    assert ((share >= 0.5) & (share <= 1)).all()
    np.testing.assert_allclose(share[1:3], 0.5)


def test_urgency_and_calibrated_chances_hold_together():
    scorer, (X, _, _) = fitted(), leads(11, n=500)
    urgency, whole = scorer.urgency(X), scorer.predict_proba(X)[:, 1]
    assert ((urgency > 0) & (urgency < 1)).all()
    np.testing.assert_allclose(scorer.predict_within(X, 7), whole * urgency, rtol=1e-12)
    assert scorer.predict_within(X, HORIZON).tolist() == whole.tolist()
    assert (scorer.urgency(X, days=90) == 1).all()
    late = scorer.expected_days(X)
    assert ((late > 0) & (late < HORIZON)).all()
    days = np.linspace(0, HORIZON, len(X))
    by_row = scorer.predict_within(X, days)
    assert by_row[[3, 400]].tolist() == [scorer.predict_within(X[i : i + 1], days[i])[0] for i in (3, 400)]


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize("days", [-1, 31, np.nan, [1.0, 2.0]])
def test_days_outside_the_horizon_are_refused(days):
    X, _, _ = leads(12, n=5)
    with pytest.raises(UsageError) as caught:
        fitted().predict_within(X, days)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seen": None}, UsageError, "days, ended and seen together"),
        ({"days": np.full(300, -1.0)}, DataError, "days from 0 on"),
        ({"ended": np.full(300, 7)}, DataError, "ended as 0"),
        ({"y": np.arange(300) % 2}, DataError, "give the horizon that y was taken with"),
        ({"y": np.zeros(300)}, TargetError, "one class only"),
        ({"horizon": 365.0}, DataError, "shorten the horizon or give more history"),
        ({"horizon": 0.0}, UsageError, "a horizon above 0 days"),
        ({"horizon": float("nan")}, UsageError, "a horizon above 0 days"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_one_line(change, error, message):
    X, known, _ = leads(13, n=300)
    given = {"y": y_of(known), "horizon": HORIZON} | known | change
    with pytest.raises(error, match=message) as caught:
        HazardScorer(horizon=given.pop("horizon")).fit(X, **given)
    assert "\n" not in str(caught.value)


def test_follow_up_of_other_rows_is_refused():
    X, known, _ = leads(13, n=300)
    with pytest.raises(DataError, match="found 300 for 299 rows"):
        HazardScorer().fit(X[1:], y_of(known)[1:], **known)
