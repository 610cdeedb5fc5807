"""`shap.Explanation`: its values are what the shap library itself finds, and add up to the score."""

import sys
from itertools import permutations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from leadscore.errors import DataError, MissingExtraError
from leadscore.explain.shap_values import shap_explanation
from leadscore.features.declare import AttributeFeature
from leadscore.models.boosted import BoostedScorer, HazardScorer
from leadscore.models.calibration import Scale
from leadscore.models.conditions import Condition
from leadscore.models.estimators import LogisticScorer, PointsClassifier
from leadscore.models.matrix import to_matrix
from leadscore.models.points import LIMIT, PointRule
from leadscore.models.segmented import SegmentedScorer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The set_(bad|over|under) function:PendingDeprecationWarning",  # shap's own use of matplotlib
)
SCALE = Scale(reference_score=40, reference_probability=0.2, points_to_double_odds=10)
RULES = (
    PointRule("Visits", 3, per="visits", cap=30),
    PointRule("Referred", 25, Condition("source", "is", "Referral")),
    PointRule("Never called", 15, Condition("calls", "missing")),
)
MODELS = {
    "points": PointsClassifier(RULES),
    "logistic": LogisticScorer(Cs=(1.0,)),
    "boosted": BoostedScorer(max_trees=40, learning_rate=0.2),
    "hazard": HazardScorer(horizon=30, max_trees=30, learning_rate=0.2),
    "sum": LogisticScorer(RULES, Cs=(1.0,)),
    "segmented": SegmentedScorer(LogisticScorer(RULES, Cs=(1.0,)), "source"),
}


def leads(n=600, seed=0):
    """Numbers and a category, with gaps, and an outcome that depends on all of them."""
    rng = np.random.default_rng(seed)
    words = np.array(["Ads", "Referral", "Trade Show"], dtype=object)[rng.integers(0, 3, n)]
    X = pd.DataFrame({"visits": rng.poisson(4, n), "calls": rng.exponential(2, n)}, dtype=float)
    pull = 0.3 * X["visits"] - 0.4 * X["calls"] + 1.5 * (words == "Referral") - 1.5
    X[rng.random((n, 2)) < 0.1] = np.nan
    words[rng.random(n) < 0.1] = None
    X["source"] = pd.Categorical(words, categories=["(other)", "Ads", "Referral", "Trade Show"])
    return X, (rng.random(n) < 1 / (1 + np.exp(-pull))).astype(int)


X, Y = leads()


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param].fit(X, Y)


def explained(model, X):
    return shap_explanation(model.served_, model.calibration_, SCALE, X)


def test_values_add_up_to_the_score_of_the_probability(model):
    found = explained(model, X)
    p = model.predict_proba(X)[:, 1]
    exact = 40 + 10 * np.log2(p / (1 - p) * 4)  # 40 is one in five, and 10 points double that
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), exact, atol=1e-9)
    assert np.ptp(exact) > 20


def test_values_of_trees_are_those_of_shap(shap, boosted):
    peer = shap.TreeExplainer(boosted.booster_)(to_matrix(X, boosted.served_.columns))
    points = boosted.calibration_.slope * 10 / np.log(2)
    found = explained(boosted, X)
    np.testing.assert_allclose(found.values, points * peer.values, atol=1e-9)
    shift = 40 + points * peer.base_values + 10 * np.log2(np.exp(boosted.calibration_.intercept) * 4)
    np.testing.assert_allclose(found.base_values, shift, atol=1e-9)
    assert np.abs(found.values).mean(axis=0).min() > 0.5


@pytest.mark.parametrize("name", ["points", "logistic"])
def test_values_of_sums_are_shapley_values_by_brute_force(name):
    model = MODELS[name].fit(X, Y)
    background = to_matrix(X, model.served_.columns)

    def worth(row, known):
        """The score to expect when only these columns of a lead are known."""
        M = background.copy()
        M[:, list(known)] = row[list(known)]
        return SCALE.raw(model.calibration_.log_odds(model.served_.margin(M))).mean()

    found = explained(model, X[:10])
    column_of = {column.name: j for j, column in enumerate(model.served_.columns)}
    drivers = {column_of[behind[0]]: j for j, behind in enumerate(model.served_.driver_columns) if behind}
    for i, row in enumerate(background[:10]):
        assert found.base_values[i] == pytest.approx(worth(row, ()), abs=1e-9)
        for column, driver in drivers.items():
            joined = [
                worth(row, before[: before.index(column) + 1]) - worth(row, before[: before.index(column)])
                for before in permutations(drivers)
            ]
            assert found.values[i, driver] == pytest.approx(np.mean(joined), abs=1e-9)


def test_every_kind_of_served_form_is_here():
    kinds = {name: model.fit(X, Y).served_.kind for name, model in MODELS.items() if name != "boosted"}
    assert kinds == {
        "points": "points", "logistic": "linear", "hazard": "hazard", "sum": "sum", "segmented": "segmented",
    }  # fmt: skip


def test_data_are_the_columns_behind_the_drivers(model):
    found, served = explained(model, X), model.served_
    assert tuple(found.feature_names) == served.drivers
    for name, data, behind in zip(found.feature_names, found.data.T, served.driver_columns, strict=True):
        if not behind:
            assert name == LIMIT
            assert set(data) == {"(none)"}
        elif behind[0] == "source":
            given = X["source"].astype(object)
            assert data.tolist() == given.where(given.notna(), "(missing)").tolist()
        else:
            np.testing.assert_array_equal(data.astype(float), X[behind[0]].astype(float))


def test_drivers_of_a_concept_are_taken_together(model):
    """Declared are visits and source; calls and the limit of the points stay by themselves."""
    declared = [
        AttributeFeature("number", "visits"),
        AttributeFeature("category", "source", levels=("Ads", "Referral", "Trade Show")),
    ]
    apart, served = explained(model, X), model.served_
    found = shap_explanation(served, model.calibration_, SCALE, X, features=declared)
    behind = [columns[0] if columns else LIMIT for columns in served.driver_columns]
    assert found.feature_names == [name[:1].upper() + name[1:] for name in dict.fromkeys(behind)]
    for values, column in zip(found.values.T, dict.fromkeys(behind), strict=True):
        parts = [j for j, own in enumerate(behind) if own == column]
        np.testing.assert_allclose(values, apart.values[:, parts].sum(axis=1), atol=1e-12)
    margin = served.margin(to_matrix(X, served.columns))
    exact = SCALE.raw(model.calibration_.log_odds(margin))
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), exact, atol=1e-9)


def test_a_word_never_seen_is_shown_as_the_model_read_it(boosted):
    one = X[:1].assign(source="Podcast")
    assert explained(boosted, one).data[0, 2] == "(other)"


def test_numbers_alone_stay_numbers():
    M = X[["visits", "calls"]].to_numpy()
    found = explained(LogisticScorer(Cs=(1.0,)).fit(M, Y), M)
    assert found.data.dtype == np.float64
    np.testing.assert_array_equal(found.data, M)
    assert found.feature_names == ["x0", "x1"]


@pytest.mark.parametrize(
    ("plot", "part"),
    [
        ("beeswarm", lambda found: found),
        ("bar", lambda found: found),
        ("waterfall", lambda found: found[0]),
        ("scatter", lambda found: found[X["visits"].notna().to_numpy(), 0]),
        ("scatter", lambda found: found[:, -1]),
    ],
    ids=["beeswarm", "bar", "waterfall", "scatter of numbers", "scatter of words"],
)
def test_shap_can_plot_it(shap, model, plot, part):
    mpl.use("agg")
    from matplotlib import pyplot as plt

    try:
        getattr(shap.plots, plot)(part(explained(model, X)), show=False)
        assert any(axes.has_data() for axes in plt.gcf().axes)
    finally:
        plt.close("all")


def test_without_shap_the_extra_is_named(monkeypatch, boosted):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'leadscore\[explain\]'"):
        explained(boosted, X)


def test_a_column_that_is_not_there_is_named(boosted):
    with pytest.raises(DataError, match="a column 'calls'"):
        explained(boosted, X.drop(columns="calls"))


@pytest.fixture(scope="module")
def boosted():
    return MODELS["boosted"].fit(X, Y)


@pytest.fixture
def shap():
    import shap

    return shap
