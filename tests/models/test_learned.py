import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from leadscore.models.calibration import probability
from leadscore.models.learned import LearnedPoints
from leadscore.models.matrix import OTHER, to_matrix
from leadscore.models.points import PointTable
from leadscore.models.ruling import total


@parametrize_with_checks([LearnedPoints()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def leads(seed, n=4000):
    rng = np.random.default_rng(seed)
    source = ["Ads", "Event", "Partner", "Referral", OTHER]
    X = pd.DataFrame(
        {
            "visits": rng.poisson(3, n).astype(float),
            "size": np.where(rng.random(n) < 0.3, np.nan, rng.lognormal(3, 1.5, n)),
            "source": pd.Categorical(rng.choice(source, n, p=[0.4, 0.3, 0.15, 0.1, 0.05]), categories=source),
            "noise": rng.normal(size=n),
            "left": (rng.random(n) < 0.04).astype(float),
        }
    )
    log_odds = (
        -2.5
        + 0.8 * (X["visits"] >= 3)
        + 0.7 * (X["visits"] >= 6)
        + 1.6 * X["source"].isin(["Partner", "Referral"])
        - 0.8 * X["size"].isna()
        - 2.5 * X["left"]
    ).to_numpy(dtype=float)
    return X, (rng.random(n) < probability(log_odds)).astype(int), probability(log_odds)


@pytest.fixture(scope="module")
def fitted():
    X, y, _ = leads(0)
    return LearnedPoints().fit(X, y)


def test_the_rules_are_the_planted_causes(fitted):
    rules = {rule.label: rule.points for rule in fitted.served_.rules}
    assert {"visits at least 3", "source in Partner, Referral", "size known"} <= set(rules)
    assert rules["source in Partner, Referral"] > rules["visits at least 3"] > 0
    assert rules["size known"] > 0  # what is missing from many costs nothing: those who have it earn
    (left,) = [points for label, points in rules.items() if label.startswith("left")]
    assert left < 0  # what is rare and bad takes points away
    assert not any(label.startswith("noise") and abs(points) > 5 for label, points in rules.items())


def test_points_are_whole_and_a_person_can_keep_them_in_mind(fitted):
    assert len(fitted.served_.rules) <= 25
    assert all(rule.points == round(rule.points) for rule in fitted.served_.rules)
    X, y, _ = leads(0)
    few = LearnedPoints(max_rules=3).fit(X, y).served_.rules
    assert 1 <= len(few) <= 3


def test_totals_fill_the_scale_and_few_are_cut(fitted):
    X, _, _ = leads(1)
    table = fitted.served_
    M = to_matrix(X, table.columns)
    totals = total(table.rules, M, table.columns)
    assert (totals < 0).mean() < 0.05
    assert (totals > 100).mean() < 0.05
    assert totals.max() > 90


def test_chances_are_near_the_truth_and_rounding_costs_little(fitted):
    X, y, truth = leads(2, n=6000)
    p = fitted.predict_proba(X)[:, 1]
    assert log_loss(y, p) < log_loss(y, truth) + 0.01
    assert abs(p.mean() - truth.mean()) < 0.02
    columns = fitted.served_.columns
    exact = total(fitted.exact_, to_matrix(X, columns), columns)
    assert roc_auc_score(y, exact) - roc_auc_score(y, p) < 0.003


def test_the_saved_table_gives_the_same_points(fitted):
    again = PointTable.from_files(fitted.served_.to_files())
    assert again == fitted.served_


def test_the_same_seed_gives_the_same_bytes():
    X, y, _ = leads(3, n=900)
    once, again = (LearnedPoints().fit(X, y) for _ in range(2))
    assert once.served_.to_files() == again.served_.to_files()
    assert once.calibration_ == again.calibration_


def test_the_order_of_columns_changes_no_points():
    X, y, _ = leads(3, n=1500)
    one, other = LearnedPoints().fit(X, y), LearnedPoints().fit(X[X.columns[::-1]], y)
    assert {(r.label, r.points) for r in one.served_.rules} == {
        (r.label, r.points) for r in other.served_.rules
    }


def test_words_never_seen_and_rare_ones_are_what_they_are_in_words(fitted):
    """ "(other)" is no word of anybody's: a rule for it is written as none of the others."""
    X, y, _ = leads(4)
    y = np.where((X["source"] == OTHER) & (np.arange(len(X)) % 4 > 0), 1, y)
    rules = LearnedPoints(columns=["source"]).fit(X, y).served_.rules
    (other,) = [rule for rule in rules if rule.when.op == "not_in"]
    assert OTHER not in other.when.value
    assert other.points == max(rule.points for rule in rules)
    new = X.iloc[:1].assign(source="Radio")
    assert np.isfinite(fitted.predict_proba(new)).all()


def test_events_fade_with_the_half_life_that_the_data_make_likeliest():
    rng = np.random.default_rng(5)
    n, days = 5000, (2.0, 8.0, 32.0)
    age = np.where(rng.random((n, 6)) < 0.5, rng.uniform(0, 60, (n, 6)), np.inf)
    X = pd.DataFrame({f"visit_{d:g}": (0.5 ** (age / d)).sum(axis=1) for d in days})
    y = rng.random(n) < probability(1.5 * X["visit_8"] - 2)
    model = LearnedPoints(decays={"visit": {d: f"visit_{d:g}" for d in days}}).fit(X, y)
    (rule,) = model.served_.rules
    assert (rule.per, rule.points > 0, rule.cap >= rule.points) == ("visit_8", True, True)
    assert model.half_lives_["visit"].days == 8


def test_nothing_to_learn_gives_everybody_the_same():
    X = pd.DataFrame({"visits": np.ones(90), "empty": np.nan})
    model = LearnedPoints().fit(X, np.repeat([0, 0, 1], 30))
    assert model.served_.rules == ()
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / 3, atol=0.01)


def test_a_single_win_is_no_reason_for_many_rules():
    X, _, _ = leads(6, n=60)
    p = clone(LearnedPoints()).fit(X, np.arange(60) == 7).predict_proba(X)[:, 1]
    assert np.isfinite(p).all()
    assert p.mean() < 0.2
