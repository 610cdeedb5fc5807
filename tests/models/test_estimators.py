import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from leadscore.errors import DataError, UsageError
from leadscore.models.boosted import BoostedScorer
from leadscore.models.calibration import probability
from leadscore.models.conditions import Condition
from leadscore.models.estimators import (
    LogisticScorer,
    PointsClassifier,
    TargetError,
    assumed_sigmoid,
    inner_folds,
    strongest,
)
from leadscore.models.matrix import to_matrix
from leadscore.models.points import PointRule
from leadscore.models.saved import read_scorer

RULES = (
    PointRule("Visits", 4, per="visits", cap=40),
    PointRule("Referred", 40, Condition("source", "is", "Referral")),
)
CLASSIFIERS = [PointsClassifier(RULES), LogisticScorer(), LogisticScorer(RULES), BoostedScorer()]
IDS = ["points", "logistic", "shrunk", "boosted"]
of_each = pytest.mark.parametrize("classifier", CLASSIFIERS, ids=IDS)


@parametrize_with_checks([PointsClassifier(), LogisticScorer(), BoostedScorer()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def leads(seed, n=1200):
    """Leads with a known chance: log-odds linear in visits, source and whether a size is given."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "visits": rng.poisson(4, n).astype(float),
            "size": np.where(rng.random(n) < 0.3, np.nan, rng.lognormal(3, 1.5, n)),
            "source": pd.Categorical(
                rng.choice(["Ads", "Event", "Referral"], n), categories=["Ads", "Event", "Referral"]
            ),
        }
    )
    X.loc[rng.random(n) < 0.1, "source"] = None
    log_odds = -3 + 0.4 * X["visits"] + 2 * (X["source"] == "Referral") - X["size"].isna()
    return X, (rng.random(n) < probability(log_odds)).astype(int), probability(log_odds)


@pytest.fixture(scope="module", params=CLASSIFIERS, ids=IDS)
def fitted(request):
    X, y, _ = leads(0)
    return clone(request.param).fit(X, y)


def test_the_classifier_and_its_saved_form_agree_to_the_last_bit(fitted):
    X, _, _ = leads(1)
    served = read_scorer(fitted.served_.kind, fitted.served_.to_files())
    M = to_matrix(X[["source", "size", "visits"]], served.columns)
    by_hand = probability(fitted.calibration_.log_odds(served.margin(M)))
    assert fitted.predict_proba(X)[:, 1].tolist() == by_hand.tolist()


def test_one_lead_and_many_in_any_order_give_the_same_bits(fitted):
    X, _, _ = leads(2, n=80)
    together = fitted.predict_proba(X)
    order = np.random.default_rng(0).permutation(len(X))
    assert fitted.predict_proba(X.iloc[order]).tolist() == together[order].tolist()
    assert [fitted.predict_proba(X.iloc[[i]])[0].tolist() for i in range(len(X))] == together.tolist()
    served = fitted.served_
    M = to_matrix(X, served.columns)
    parts = served.contributions(M)[1]
    assert [served.contributions(M[i : i + 1])[1][0].tolist() for i in range(len(M))] == parts.tolist()


def test_contributions_lead_from_the_base_to_the_margin(fitted):
    X, _, _ = leads(3)
    served = fitted.served_
    M = to_matrix(X, served.columns)
    base, parts = served.contributions(M)
    np.testing.assert_allclose(base + parts.sum(axis=1), served.margin(M), rtol=0, atol=1e-9)
    assert parts.shape == (len(X), len(served.drivers)) == (len(X), len(served.driver_columns))
    assert {name for names in served.driver_columns for name in names} <= set(X)


def test_the_base_is_the_average_margin_of_training(fitted):
    X, _, _ = leads(0)
    M = to_matrix(X, fitted.served_.columns)
    assert fitted.served_.contributions(M)[0] == pytest.approx(fitted.served_.margin(M).mean(), abs=1e-9)


@of_each
def test_chances_are_near_the_truth_on_new_leads(classifier):
    X, y, _ = leads(4, n=4000)
    new, outcome, truth = leads(5, n=4000)
    p = clone(classifier).fit(X, y).predict_proba(new)[:, 1]
    best, loose = log_loss(outcome, truth), 0.03 if isinstance(classifier, PointsClassifier) else 0.01
    assert log_loss(outcome, p) < best + loose
    assert abs(p.mean() - truth.mean()) < 0.02


@of_each
def test_the_same_seed_gives_the_same_bytes(classifier):
    X, y, _ = leads(6)
    once, again = (clone(classifier).fit(X, y) for _ in range(2))
    assert once.served_.to_files() == again.served_.to_files()
    assert once.calibration_ == again.calibration_


def test_boosted_trees_do_not_depend_on_the_number_of_threads():
    X, y, _ = leads(6)
    one, two = (BoostedScorer(n_jobs=n, max_trees=4, folds=2).fit(X, y).served_.to_files() for n in (1, 2))
    assert one == two


def test_the_calibration_comes_from_margins_of_rows_held_out():
    """On labels of pure chance trees learn noise; only held-out margins show that it says nothing."""
    X, _, _ = leads(7, n=400)
    y = np.random.default_rng(0).integers(0, 2, len(X))
    scorer = BoostedScorer(max_trees=300, patience=300, learning_rate=0.3).fit(X, y)
    p = scorer.predict_proba(X)[:, 1]
    assert abs(p - 0.5).max() < 0.2


def test_leads_of_a_group_stay_on_one_side():
    """Ten copies of each lead: a validation that splits them believes that learning by heart pays."""
    X, y, _ = leads(8, n=120)
    copies = np.repeat(np.arange(len(X)), 10)
    X10, y10 = X.iloc[copies], y[copies]
    by_row = BoostedScorer(learning_rate=0.2, min_data_in_leaf=5).fit(X10, y10)
    by_lead = clone(by_row).fit(X10, y10, groups=copies)
    assert len(by_lead.served_.inner) < len(by_row.served_.inner) / 2
    assert LogisticScorer(Cs=(1e-3, 1e3)).fit(X10, y10, groups=copies).calibration_ != (
        LogisticScorer(Cs=(1e-3, 1e3)).fit(X10, y10).calibration_
    )


def test_logistic_margins_are_those_of_a_scikit_learn_pipeline():
    rng = np.random.default_rng(9)
    X = pd.DataFrame(
        {
            "a": rng.normal(size=500),
            "b": rng.uniform(size=500),
            "c": pd.Categorical(rng.choice(["u", "v", "w"], 500)),
        }
    )
    y = (X["a"] + (X["c"] == "u") + rng.logistic(size=500) > 0).to_numpy()
    Z = np.hstack(
        [
            StandardScaler().fit_transform(X[["a", "b"]]),
            OneHotEncoder(sparse_output=False).fit_transform(X[["c"]].astype(str)),
        ]
    )
    peer = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(Z, y)
    scorer = LogisticScorer(Cs=(0.1,)).fit(X, y)
    margin = scorer.served_.margin(to_matrix(X, scorer.served_.columns))
    np.testing.assert_allclose(margin, peer.decision_function(Z), atol=1e-6)


def test_a_penalty_without_end_leaves_the_calibrated_points():
    for n, wins in ((1200, None), (40, 5), (40, 1)):
        X, y, _ = leads(17, n=n)
        y = (
            y
            if wins is None
            else (np.argsort(np.argsort(-X["visits"] + np.arange(n) % 7)) < wins).astype(int)
        )
        new, _, _ = leads(18, n=300)
        points = PointsClassifier(RULES).fit(X, y).predict_proba(new)
        shrunk = LogisticScorer(RULES, Cs=(1e-12,)).fit(X, y).predict_proba(new)
        np.testing.assert_allclose(shrunk, points, atol=1e-5)


def test_shrunk_log_odds_are_the_minimum_of_their_penalised_loss():
    X, y, _ = leads(19, n=400)
    X = X[["visits"]].assign(other=np.random.default_rng(0).normal(size=len(X)))
    rules = (PointRule("Visits", 4, per="visits", cap=20),)
    margin = LogisticScorer(rules, Cs=(0.05,)).fit(X, y).served_.margin(X.to_numpy())
    total = np.minimum(4 * X["visits"], 20).to_numpy()
    A = StandardScaler().fit_transform(np.column_stack([total, X]))
    weight = np.array(
        [1 / 25, 20, 20]
    )  # a prior with a standard deviation of 5 on the points, C on the others

    def loss(at):
        eta = at[0] + A @ at[1:]
        return (np.logaddexp(0, eta) - y * eta).sum() + (weight * at[1:] ** 2).sum() / 2

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(margin, best[0] + A @ best[1:], atol=1e-4)


def test_the_order_of_the_points_is_never_turned_round():
    """Labels that say the opposite: the points keep their order, as nearly nothing."""
    X, y, _ = leads(20, n=300)
    shrunk = LogisticScorer(RULES, Cs=(1e-12,)).fit(X, 1 - y)
    points = PointsClassifier(RULES).fit(X, y)
    served = shrunk.served_
    assert 0 < served.weights[0] < 1e-3
    M = to_matrix(X, served.columns)
    assert roc_auc_score(points.served_.margin(M) > 30, served.margin(M)) == 1


def test_with_tens_of_labels_it_is_no_worse_than_the_better_of_points_and_logistic():
    new, outcome, _ = leads(21, n=4000)
    losses = {}
    for seed in range(12):
        X, y, _ = leads(100 + seed, n=40)
        for name, scorer in zip(IDS[:3], CLASSIFIERS[:3], strict=True):
            p = clone(scorer).fit(X, y).predict_proba(new)[:, 1]
            losses.setdefault(name, []).append(log_loss(outcome, p))
    mean = {name: np.mean(values) for name, values in losses.items()}
    assert mean["shrunk"] < min(mean["points"], mean["logistic"]) + 0.005


def test_with_thousands_of_labels_it_learns_what_the_points_leave_out():
    X, y, _ = leads(22, n=4000)
    new, outcome, truth = leads(23, n=4000)
    wrong = (PointRule("Visits", 1, per="visits", cap=3),)
    p = LogisticScorer(wrong).fit(X, y).predict_proba(new)[:, 1]
    assert log_loss(outcome, p) < log_loss(outcome, truth) + 0.01


def test_the_strongest_within_a_standard_error_is_chosen_by_hand():
    rng = np.random.default_rng(24)
    y = rng.integers(0, 2, 90).astype(float)
    margins = np.stack(
        [np.zeros(90), 0.2 * (y - 0.5) + 0.3 * rng.normal(size=90), 3 * (y - 0.5), 0.1 * (0.5 - y)]
    )
    folds = inner_folds(y, None, 3, 0)
    losses = [[log_loss(y[t], probability(m[t]), labels=[0, 1]) for _, t in folds] for m in margins]
    worse = np.array(losses) - losses[2]
    within = worse.mean(axis=1) <= worse.std(axis=1, ddof=1) / np.sqrt(3)
    assert strongest(margins, y, folds) == within.tolist().index(True)


def test_skewed_numbers_are_drawn_in():
    rng = np.random.default_rng(10)
    X = pd.DataFrame({"revenue": rng.lognormal(0, 3, 1000), "age": rng.normal(size=1000)})
    y = rng.random(1000) < probability(np.log(X["revenue"]))
    scorer = LogisticScorer().fit(X, y)
    assert [term.signed_log for term in scorer.served_.terms] == [True, False]
    assert roc_auc_score(y, scorer.predict_proba(X)[:, 1]) > 0.85


def test_the_strength_with_the_lowest_held_out_loss_is_chosen():
    rng = np.random.default_rng(11)
    noise = pd.DataFrame(rng.normal(size=(80, 30)), columns=[f"c{j}" for j in range(30)])
    y = rng.integers(0, 2, 80)
    weights = [term.coefficient for term in LogisticScorer(Cs=(1e-4, 1e2)).fit(noise, y).served_.terms]
    assert np.abs(weights).max() < 0.01  # nothing to learn: the strong penalty wins


@of_each
def test_columns_without_information_do_no_harm(classifier):
    X, y, _ = leads(12, n=300)
    X = X.assign(
        constant=1.0,
        empty=np.nan,
        none=pd.Categorical([None] * len(X), categories=["a"]),
        bare=pd.Categorical([None] * len(X), categories=[]),
    )
    p = clone(classifier).fit(X, y).predict_proba(X)[:, 1]
    assert np.isfinite(p).all()
    assert roc_auc_score(y, p) > 0.75


@of_each
def test_only_a_constant_column_gives_the_share_of_wins(classifier):
    X = pd.DataFrame({"visits": np.ones(90), "source": pd.Categorical(["Ads"] * 90)})
    y = np.repeat([0, 0, 1], 30)
    p = clone(classifier).fit(X, y).predict_proba(X)[:, 1]
    np.testing.assert_allclose(p, 1 / 3, atol=0.01)


@of_each
def test_categories_never_seen_and_missing_values_are_scored(classifier):
    X, y, _ = leads(13, n=300)
    new = pd.DataFrame({"visits": [np.nan, 3], "size": [np.nan, 1e9], "source": ["Radio", None]})
    assert np.isfinite(clone(classifier).fit(X, y).predict_proba(new)).all()


@of_each
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(300), "one class only"),
        (np.arange(300) % 3, "Only binary classification is supported"),
        (np.linspace(0, 1, 300), "Unknown label type"),
    ],
)
def test_outcomes_that_are_not_two_classes_are_refused(classifier, y, message):
    X, _, _ = leads(14, n=300)
    with pytest.raises(ValueError, match=message):
        clone(classifier).fit(X, y)


def test_refusals_are_errors_of_both_worlds():
    X, _, _ = leads(14, n=300)
    with pytest.raises(TargetError) as caught:
        LogisticScorer().fit(X, np.zeros(300))
    assert isinstance(caught.value, DataError) and isinstance(caught.value, ValueError)
    with pytest.raises(TargetError, match="rows and columns"):
        LogisticScorer().fit(X.iloc[:0], [])
    with pytest.raises(DataError, match="numbers in column 'note'"):
        LogisticScorer().fit(X.assign(note="x"), np.arange(300) % 2)


@of_each
def test_too_few_wins_to_validate_still_fit(classifier):
    X, _, _ = leads(15, n=40)
    p = clone(classifier).fit(X, np.arange(40) == 7).predict_proba(X)[:, 1]
    assert np.isfinite(p).all()
    assert p.mean() < 0.25


@pytest.mark.parametrize("rate", [0.001, 0.07, 0.9])
def test_without_labels_points_mean_what_a_team_expects(rate):
    totals = np.random.default_rng(25).uniform(0, 100, 400)
    assumed = assumed_sigmoid(totals, rate, points_to_double_odds=12)
    assert probability(assumed.log_odds(totals)).mean() == pytest.approx(rate, rel=1e-9)
    odds = np.exp(assumed.log_odds([30.0, 42.0]))
    assert odds[1] / odds[0] == pytest.approx(2)


@pytest.mark.parametrize(
    ("totals", "rate", "double"), [([], 0.1, 9), ([1], 0, 9), ([1], 1, 9), ([1], 0.1, 0)]
)
def test_an_expectation_that_cannot_be_is_refused(totals, rate, double):
    with pytest.raises(UsageError, match="an expected share of wins between 0 and 1"):
        assumed_sigmoid(totals, rate, double)


@pytest.mark.parametrize("folds", [2, 5])
def test_inner_folds_cut_all_rows_once_and_no_group_in_two(folds):
    rng = np.random.default_rng(16)
    groups = rng.integers(0, 60, 300)
    y = (groups % 4 == 0).astype(float)
    made = inner_folds(y, groups, folds, seed=1)
    assert len(made) == folds
    assert sorted(np.concatenate([test for _, test in made])) == list(range(300))
    for train, test in made:
        assert len(train) + len(test) == 300
        assert not set(groups[train]) & set(groups[test])
        assert abs(len(set(groups[test][y[test] == 1])) - 15 / folds) <= 1
