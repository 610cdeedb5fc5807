import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from leadscore.errors import DataError
from leadscore.models.boosted import BoostedScorer
from leadscore.models.calibration import probability
from leadscore.models.estimators import LogisticScorer, PointsClassifier, inner_folds
from leadscore.models.matrix import to_matrix
from leadscore.models.points import PointRule
from leadscore.models.segmented import SegmentedScorer, pool
from leadscore.models.segments import Segmented

POINTS = PointsClassifier((PointRule("Visits", 4, per="visits", cap=60),))
REGIONS = ["North", "South", "West"]


@parametrize_with_checks([SegmentedScorer(LogisticScorer())])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def leads(seed, n=3000, shift=(0.0, 0.0, 0.0), stretch=(1.0, 1.0, 1.0), shares=(0.5, 0.4, 0.1)):
    """Leads whose log-odds are linear in visits, with a shift and a stretch of each region's own."""
    rng = np.random.default_rng(seed)
    region = rng.choice(3, n, p=shares)
    X = pd.DataFrame({"visits": rng.poisson(4, n).astype(float)})
    X["region"] = pd.Categorical.from_codes(region, REGIONS)
    own = -1 + 0.5 * (X["visits"].to_numpy() - 4)
    truth = probability(np.array(shift)[region] + np.array(stretch)[region] * own)
    return X, (rng.random(n) < truth).astype(int), truth


@pytest.fixture(scope="module", params=[POINTS, LogisticScorer(POINTS.rules)], ids=["points", "shrunk"])
def fitted(request):
    X, y, _ = leads(0, shift=(0.7, -0.7, 0.0), stretch=(1.3, 0.6, 1.0))
    return SegmentedScorer(request.param, "region").fit(X, y)


def test_the_saved_form_answers_as_the_classifier_to_the_last_bit(fitted):
    X, _, _ = leads(1, n=300)
    served = Segmented.from_files(fitted.served_.to_files())
    log_odds = fitted.calibration_.log_odds(served.margin(to_matrix(X, served.columns)))
    assert probability(log_odds).tolist() == fitted.predict_proba(X)[:, 1].tolist()


def test_one_lead_and_many_in_any_order_give_the_same_bits(fitted):
    X, _, _ = leads(2, n=80)
    together = fitted.predict_proba(X)
    order = np.random.default_rng(0).permutation(len(X))
    assert fitted.predict_proba(X.iloc[order]).tolist() == together[order].tolist()
    assert [fitted.predict_proba(X.iloc[[i]])[0].tolist() for i in range(len(X))] == together.tolist()


def test_contributions_lead_from_the_average_of_training_to_the_margin(fitted):
    X, _, _ = leads(0)
    M = to_matrix(X, fitted.served_.columns)
    base, phi = fitted.served_.contributions(M)
    np.testing.assert_allclose(base + phi.sum(axis=1), fitted.served_.margin(M), rtol=0, atol=1e-9)
    assert base == pytest.approx(fitted.served_.margin(M).mean(), abs=1e-9)


def test_segments_with_thousands_of_leads_reach_their_truth(fitted):
    new, _, truth = leads(3, shift=(0.7, -0.7, 0.0), stretch=(1.3, 0.6, 1.0))
    p = fitted.predict_proba(new)[:, 1]
    for region in ("North", "South"):
        own = (new["region"] == region).to_numpy()
        assert abs(p[own].mean() - truth[own].mean()) < 0.03
        assert abs(p[own] - truth[own]).mean() < 0.04


def test_a_segment_never_seen_or_missing_is_served_by_the_model_for_all(fitted):
    X, y, _ = leads(0, shift=(0.7, -0.7, 0.0), stretch=(1.3, 0.6, 1.0))
    alone = clone(fitted.scorer).fit(X, y)
    new = pd.DataFrame({"visits": [2.0, 7.0], "region": ["Atlantis", None]})
    assert fitted.predict_proba(new).tolist() == alone.predict_proba(new).tolist()


def test_a_level_without_a_row_in_training_is_served_by_the_model_for_all():
    X, y, _ = leads(4, shift=(1.0, -1.0, 0.0), shares=(0.5, 0.5, 0.0))
    scorer = SegmentedScorer(POINTS, "region").fit(X, y)
    assert scorer.served_.offsets[2] == 0 and scorer.served_.slopes[2] == 1
    assert min(np.abs(scorer.served_.offsets[:2])) > 0


def test_one_segment_that_is_everybody_is_the_model_for_all():
    X, y, _ = leads(5, n=600, shares=(0.0, 1.0, 0.0))
    alone = clone(POINTS).fit(X, y)
    assert SegmentedScorer(POINTS, "region").fit(X, y).predict_proba(X).tolist() == (
        alone.predict_proba(X).tolist()
    )


def test_segments_that_do_not_differ_are_all_but_left_alone():
    X, y, _ = leads(6)
    apart = SegmentedScorer(POINTS, "region").fit(X, y).predict_proba(X) - clone(POINTS).fit(
        X, y
    ).predict_proba(X)
    assert np.abs(apart).max() < 0.02


def test_a_segment_with_30_leads_moves_part_of_the_way():
    """Its own share of wins is far off; a calibration of its own would follow it all the way."""
    X, y, _ = leads(12, n=2000, shares=(0.6, 0.4, 0.0), shift=(0.6, -0.6, 0.0))
    few = pd.DataFrame({"visits": np.full(30, 4.0)})
    few["region"] = pd.Categorical(["West"] * 30, categories=REGIONS)
    won = (np.arange(30) < 21).astype(int)
    scorer = SegmentedScorer(POINTS, "region").fit(pd.concat([X, few], ignore_index=True), np.r_[y, won])
    p = scorer.predict_proba(few)[0, 1]
    everybody = clone(POINTS).fit(X, y).predict_proba(few)[0, 1]
    assert everybody + 0.1 < p < 0.68


def test_how_wide_the_priors_are_is_weighed_by_leads_not_rows():
    X, y, _ = leads(13, n=300, shift=(0.4, -0.4, 0.0))
    segment, x = X["region"].cat.codes.to_numpy().astype(np.int64), X["visits"].to_numpy() / 4 - 2
    weighed = [
        SegmentedScorer()._weighed(x, x, y * 1.0, segment, 3, inner_folds(y, None, 3, 0), leads)
        for leads in (300, 30)
    ]
    rows, tenth = (np.log([weight for weight, _ in each]) for each in weighed)
    np.testing.assert_allclose(rows - rows[0], 10 * (tenth - tenth[0]), atol=1e-9)


def test_boosted_trees_can_be_segmented():
    X, y, _ = leads(7, n=900, shift=(1.0, -1.0, 0.0))
    only = X[["visits"]].assign(region=X["region"])
    scorer = SegmentedScorer(BoostedScorer(max_trees=10), "region", folds=3).fit(only, y)
    assert np.isfinite(scorer.predict_proba(only)).all()


@pytest.mark.parametrize("wins", [1, 5])
def test_few_wins_are_no_hindrance(wins):
    X, _, _ = leads(8, n=60)
    y = np.arange(60) < wins
    p = SegmentedScorer(LogisticScorer(POINTS.rules), "region").fit(X, y).predict_proba(X)[:, 1]
    assert np.isfinite(p).all() and p.mean() < 0.3


def test_a_column_that_cannot_be_segments_is_refused_in_one_line():
    X, y, _ = leads(9, n=200)
    with pytest.raises(DataError, match=r"a column 'regoin' for the segments.*did you mean 'region'"):
        SegmentedScorer(POINTS, "regoin").fit(X, y)
    with pytest.raises(DataError, match="a category in 'visits' for the segments; found numbers"):
        SegmentedScorer(POINTS, "visits").fit(X, y)


@pytest.mark.parametrize(("offset_sd", "slope_sd"), [(0.5, 0.3), (2.0, 0.1), (0.2, 0.0), (0.0, 0.3)])
def test_moves_are_the_posterior_mode(offset_sd, slope_sd):
    rng = np.random.default_rng(10)
    segment = rng.choice(4, 900, p=[0.6, 0.33, 0.04, 0.03])  # 3 is no segment
    log_odds = rng.normal(-1, 1.2, 900)
    x = log_odds - log_odds.mean()
    y = (rng.random(900) < probability(log_odds + np.array([0.5, -0.5, 1.0, 0.0])[segment] + 0.3 * x)) * 1.0
    shift, stretch = pool(log_odds, x, y, segment, 3, offset_sd, slope_sd)

    def loss(moves, s):
        u, v = moves[0] if offset_sd else 0.0, moves[1] if slope_sd else 0.0
        own = segment == s
        eta = log_odds[own] + u + v * x[own]
        prior = sum((m / sd) ** 2 / 2 for m, sd in ((u, offset_sd), (v, slope_sd)) if sd)
        return (np.logaddexp(0, eta) - y[own] * eta).sum() + prior

    for s in range(3):
        best = minimize(
            loss, np.zeros(2), args=(s,), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        )
        np.testing.assert_allclose([shift[s], stretch[s]], best.x * [offset_sd > 0, slope_sd > 0], atol=1e-5)


def test_a_segment_that_runs_the_other_way_keeps_a_slope_above_0():
    rng = np.random.default_rng(11)
    log_odds = rng.normal(0, 1.5, 3000)
    y = (rng.random(3000) < probability(-2 * log_odds)) * 1.0
    shift, stretch = pool(log_odds, log_odds, y, np.zeros(3000, np.int64), 1, 1.0, 10.0)
    assert stretch[0] == -0.9
    eta = log_odds * 0.1 + shift[0]
    assert (probability(eta) - y).sum() + shift[0] == pytest.approx(0, abs=1e-6)  # the best shift for it
