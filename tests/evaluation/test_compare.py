"""Comparisons against scikit-learn's own loop, and whether the words follow from the numbers."""

import json
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from leadscore.errors import DataError, ModelError, UsageError
from leadscore.evaluation.compare import compare, judge
from leadscore.evaluation.metrics import METRICS
from leadscore.evaluation.splits import Fold, forward_folds, grouped_folds


class Said(ClassifierMixin, BaseEstimator):
    """Says the probability that stands in a column: a model that needs no fitting."""

    def __init__(self, column="signal"):
        self.column = column

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        p = X[self.column].to_numpy()
        return np.stack([1 - p, p], axis=1)


class WantsGroups(Said):
    """Remembers the groups it was given, on the class: clones are thrown away."""

    seen: ClassVar[list[np.ndarray]] = []

    def fit(self, X, y, groups=None):
        WantsGroups.seen.append(groups)
        return super().fit(X, y)


def world(rows=600, seed=0, **columns):
    """Rows whose chance of winning is `truth`; `signal` repeats it, `noise` knows nothing."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 3, rows)
    X = pd.DataFrame({"truth": truth, "signal": truth, "noise": rng.beta(1, 3, rows), **columns})
    return X, (rng.random(rows) < truth).astype(int)


@pytest.fixture(scope="module")
def small():
    X, y = world()
    models = {
        "points": DecisionTreeClassifier(max_depth=2, random_state=0),
        "logistic": LogisticRegression(),
    }
    slices = {"low": (X["truth"] < 0.2).to_numpy()}
    return X, y, models, compare(X, y, models, grouped_folds(None, y), slices=slices, draws=100)


def test_predictions_are_those_of_scikit_learns_loop(small):
    X, y, models, found = small
    cv = [(fold.train, fold.test) for fold in grouped_folds(None, y)]
    assert found.predictions["row"].tolist() == list(range(len(y)))
    np.testing.assert_array_equal(found.predictions["y"], y)
    for name, model in models.items():
        oracle = cross_val_predict(model, X, y, cv=cv, method="predict_proba")[:, 1]
        np.testing.assert_array_equal(found.predictions[name], oracle)
    for fold in grouped_folds(None, y):
        assert (found.predictions["fold"][fold.test] == fold.name).all()
    assert not hasattr(models["logistic"], "coef_")


@pytest.mark.parametrize("part", ["all", "low"])
def test_rows_hold_scikit_learns_numbers_and_differences(small, part):
    X, _, models, found = small
    seen = found.predictions[(X["truth"] < 0.2) | (part == "all")]
    rows = found.rows[found.rows["slice"] == part].set_index(["model", "metric"])
    for name in models:
        row = rows.loc[(name, "roc_auc")]
        oracle = sk.roc_auc_score(seen["y"], seen[name])
        assert row["value"] == pytest.approx(oracle)
        assert row["difference"] == pytest.approx(oracle - sk.roc_auc_score(seen["y"], seen["points"]))
        assert row["low"] < oracle < row["high"]
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert (rows.loc["points"][["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert list(found.rows["model"].unique()) == list(models)
    assert set(found.rows["metric"]) == set(METRICS)


def test_differences_are_paired():
    """A model that says the same plus a hair is told apart far better than two separate intervals would."""
    X, y = world()
    X["near"] = np.clip(X["signal"] + 0.001, 0, 1)
    models = {"points": Said("signal"), "near": Said("near")}
    rows = compare(X, y, models, grouped_folds(None, y), draws=100).rows
    row = rows[(rows["model"] == "near") & (rows["metric"] == "brier")].iloc[0]
    closed = X["near"] - X["signal"]
    expected = (closed * (X["near"] + X["signal"] - 2 * y)).mean()
    assert row["difference"] == pytest.approx(expected)
    assert row["difference_high"] - row["difference_low"] < (row["high"] - row["low"]) / 20


def test_groups_go_to_a_fit_that_names_them():
    X, y = world(200)
    group = np.arange(200) // 2
    folds = grouped_folds(group, y, 2)
    WantsGroups.seen.clear()
    compare(X, y, {"points": WantsGroups(), "plain": Said()}, folds, group=group, draws=5)
    assert [seen.tolist() for seen in WantsGroups.seen] == [group[fold.train].tolist() for fold in folds]


def test_groups_widen_the_intervals():
    X, y = world(150)
    X, y = pd.concat([X] * 4, ignore_index=True), np.tile(y, 4)
    group = np.tile(np.arange(150), 4)
    models = {"points": Said()}
    width = {}
    for name, codes in {"grouped": group, "alone": None}.items():
        rows = compare(X, y, models, grouped_folds(group, y), group=codes, draws=200).rows
        auc = rows[rows["metric"] == "roc_auc"].iloc[0]
        width[name] = auc["high"] - auc["low"]
    assert width["grouped"] == pytest.approx(2 * width["alone"], rel=0.3)  # four copies: half the error


def test_a_clearly_better_model_is_said_to_be_and_chosen():
    X, y = world(1500)
    models = {"points": Said("noise"), "boosted": Said("signal")}
    found = compare(X, y, models, grouped_folds(None, y), draws=100)
    assert found.verdicts["boosted"].startswith("better than your points: log loss ")
    assert found.chosen == "boosted"
    assert "lowest log loss" in found.reason


def test_a_worse_model_is_said_to_be_and_not_chosen():
    X, y = world(1500)
    models = {"points": Said("signal"), "logistic": Said("noise")}
    found = compare(X, y, models, grouped_folds(None, y), draws=100)
    assert found.verdicts["logistic"].startswith("not better than your points: worse by log loss ")
    assert found.chosen == "points"


def test_nothing_that_matters_is_not_better():
    X, y = world(1500)
    X["near"] = X["signal"] * 0.999
    models = {"points": Said("signal"), "logistic": Said("near")}
    verdict = compare(X, y, models, grouped_folds(None, y), draws=100).verdicts["logistic"]
    assert verdict.startswith("not better than your points")


def test_few_leads_cannot_tell():
    X, y = world(60)
    X["blend"] = 0.7 * X["signal"] + 0.3 * X["noise"]
    models = {"points": Said("signal"), "logistic": Said("blend")}
    found = compare(X, y, models, grouped_folds(None, y), draws=100)
    assert found.verdicts["logistic"].startswith("cannot tell yet (it may be nothing: log loss ")


def test_better_ranking_with_worse_probabilities_cannot_tell():
    X, y = world(2000)
    X["sure"] = X["signal"] ** 8
    models = {"points": Said("noise"), "boosted": Said("sure")}
    X["noise"] = y.mean() + 0.01 * (X["noise"] - X["noise"].mean())
    found = compare(X, y, models, grouped_folds(None, y), draws=100)
    verdict = found.verdicts["boosted"]
    assert verdict.startswith("cannot tell yet (better by average precision")
    assert "but worse by log loss" in verdict
    assert found.chosen == "points"


def test_noise_is_hardly_ever_called_better():
    """Two models that say the truth with as much noise each: a false "better" in at most 1 of 20 worlds."""
    called = []
    for seed in range(40):
        rng = np.random.default_rng(100 + seed)
        X, y = world(300, seed=seed)
        odds = np.log(X["truth"] / (1 - X["truth"]))
        for name in ("one", "two"):
            X[name] = 1 / (1 + np.exp(-odds - rng.normal(0, 1, 300)))
        models = {"points": Said("one"), "logistic": Said("two")}
        called.append(compare(X, y, models, grouped_folds(None, y, 2), draws=100).verdicts["logistic"])
    assert sum(verdict.startswith("better") for verdict in called) <= 3


def test_the_simpler_of_equals_is_chosen():
    X, y = world(800)
    X["near"] = np.clip(X["signal"] + np.random.default_rng(0).normal(0, 0.01, 800), 0.001, 0.999)
    models = {"boosted": Said("signal"), "logistic": Said("near"), "points": Said("noise")}
    folds = grouped_folds(None, y)
    assert compare(X, y, models, folds, draws=100).chosen == "boosted"
    in_order = {name: models[name] for name in ("points", "logistic", "boosted")}
    found = compare(X, y, in_order, folds, draws=100)
    assert found.chosen == "logistic"
    assert found.reason.startswith("logistic is simpler than boosted")


def test_any_baseline_may_be_named():
    X, y = world(800)
    models = {"dummy": Said("noise"), "logistic": Said("signal")}
    found = compare(X, y, models, grouped_folds(None, y), baseline="dummy", draws=100)
    assert set(found.verdicts) == {"logistic"}
    assert found.verdicts["logistic"].startswith("better than dummy: ")


def test_forward_folds_test_the_later_half_only():
    X, y = world(400)
    folds = forward_folds(np.arange(400), None, 4, y=y)
    found = compare(X, y, {"points": LogisticRegression()}, folds, draws=10)
    assert found.predictions["row"].tolist() == list(range(200, 400))
    first = LogisticRegression().fit(X[:200], y[:200]).predict_proba(X[200:250])[:, 1]
    np.testing.assert_array_equal(found.predictions["points"][:50], first)


def test_arrays_and_several_jobs_say_the_same():
    X, y = world(200)
    models = {"points": DummyClassifier(), "logistic": LogisticRegression()}
    told = []
    one = compare(
        X.to_numpy(), y, models, grouped_folds(None, y), draws=10, progress=lambda *at: told.append(at)
    )
    with joblib.parallel_config(backend="threading"):
        two = compare(X.to_numpy(), y, models, grouped_folds(None, y), draws=10, n_jobs=2)
    pd.testing.assert_frame_equal(one.rows, two.rows)
    assert told[0] == (1, 10, "points, fold 1 of 5")
    assert told[-1] == (10, 10, "logistic, fold 5 of 5")


def test_to_dict_is_json_with_the_pinned_keys(small):
    _, _, _, found = small
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(written) == {"chosen", "rows"}
    assert written["chosen"] in ("points", "logistic")
    first = written["rows"][0]
    assert (first["metric"], first["slice"], first["model"]) == ("roc_auc", "all", "points")
    assert first["low"] < first["value"] < first["high"]


def test_a_slice_with_one_outcome_is_reported_as_not_defined():
    X, y = world(300)
    found = compare(X, y, {"points": Said()}, grouped_folds(None, y), slices={"lost": y == 0}, draws=20)
    rows = {row["metric"]: row for row in found.to_dict()["rows"] if row["slice"] == "lost"}
    assert rows["roc_auc"]["value"] is rows["roc_auc"]["low"] is None
    assert rows["brier"]["value"] > 0
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.table("lost").loc["roc_auc", "points"] == "not defined"


def test_the_table_reads_as_it_should(small):
    _, _, _, found = small
    table = found.table()
    assert list(table.index) == list(METRICS)
    assert list(table.columns) == ["points", "logistic"]
    row = found.rows.set_index(["slice", "metric", "model"]).loc[("all", "brier", "logistic")]
    assert table.loc["brier", "logistic"] == f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    with pytest.raises(UsageError, match=r"did you mean 'all'"):
        found.table("al")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"baseline": "point"}, UsageError, "did you mean 'points'"),
        ({"models": {"points": Said(), "row": Said()}}, UsageError, "rename it"),
        ({"folds": []}, UsageError, "no rows tested"),
        ({"folds": [Fold(np.arange(50), np.arange(50, 100), "a")] * 2}, UsageError, "rows tested twice"),
        ({"group": [1, 2]}, UsageError, "100 rows in groups"),
        ({"y": [0, 1]}, UsageError, "100 rows in outcomes"),
        ({"slices": {"few": np.ones(2, dtype=bool)}}, UsageError, "slice 'few'"),
        ({"slices": {"none": np.zeros(100, dtype=bool)}}, DataError, "none in 'none'"),
        ({"models": {"points": Said("broken")}}, ModelError, "'points in fold 1 of 5'"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, error, says):
    X, y = world(100, broken=np.full(100, 1.5))
    asked = {
        "X": X,
        "y": y,
        "models": {"points": Said()},
        "folds": grouped_folds(None, y),
        "draws": 5,
        **change,
    }
    with pytest.raises(error, match=says):
        compare(**asked)


def said_of(X, y, **columns):
    names = {"row": np.arange(len(y)), "fold": "a", "y": y}
    return pd.DataFrame({**names, **{name: X[column] for name, column in columns.items()}})


def test_judging_what_was_said_is_comparing_without_the_fits(small):
    X, y, _, found = small
    again = judge(
        found.predictions, group=np.arange(len(y)), slices={"low": (X["truth"] < 0.2).to_numpy()}, draws=100
    )
    pd.testing.assert_frame_equal(again.rows, found.rows, check_exact=True)
    assert (again.verdicts, again.chosen, again.reason) == (found.verdicts, found.chosen, found.reason)
    assert again.plans == {}
    assert again.picks.empty


def test_a_model_that_is_not_to_be_taken_is_judged_all_the_same():
    X, y = world(1500)
    X["weak"] = 0.5 * X["truth"] + 0.5 * y.mean()
    predictions = said_of(X, y, points="noise", weak="weak", adaptive="truth")
    found = judge(predictions, group=np.arange(1500), not_to_take=("adaptive",), draws=100)
    assert found.verdicts["adaptive"].startswith("better than your points: ")
    assert found.value("log_loss", "adaptive") < found.value("log_loss", "weak")
    assert found.chosen == "weak"
    assert "adaptive" not in found.reason
    alone = judge(
        predictions.drop(columns="weak"), group=np.arange(1500), not_to_take=("adaptive",), draws=50
    )
    assert alone.chosen == "points"
    assert judge(predictions, group=np.arange(1500), draws=100).chosen == "adaptive"


@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 7])
def test_of_those_proven_the_simplest_within_one_clustered_error_is_chosen(seed):
    """The error by its formula, not by the bootstrap; near one error the two may differ."""
    rng = np.random.default_rng(seed)
    X, y = world(1200, seed=seed)
    group = np.arange(1200) // 3
    odds = np.log(X["truth"] / (1 - X["truth"]))
    noise = {"plain": (0.3, 0.1)[seed % 2], "best": 0.0}
    for name, sd in noise.items():
        X[name] = 1 / (1 + np.exp(-odds - rng.normal(0, 1, 400)[group] * sd))
    found = judge(said_of(X, y, points="noise", plain="plain", best="best"), group=group, draws=300)
    loss = {name: -np.log(np.where(y == 1, X[name], 1 - X[name])) for name in noise}
    low = min(loss, key=lambda name: loss[name].mean())
    worse = loss["plain"] - loss[low]
    error = np.sqrt((np.bincount(group, worse - worse.mean()) ** 2).sum()) / 1200
    if abs(worse.mean() - error) > 0.15 * error:
        assert found.chosen == ("plain" if worse.mean() <= error else low)
    assert found.verdicts[found.chosen].startswith("better")
