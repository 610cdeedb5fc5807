"""What every served form promises: one go gives the same bits, and unused columns do not matter."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest

from leadscore.explain.drivers import driver_points
from leadscore.models.boosted import BoostedScorer, HazardScorer
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.estimators import LogisticScorer, PointsClassifier
from leadscore.models.matrix import to_matrix
from leadscore.models.points import PointRule
from leadscore.models.segmented import SegmentedScorer

KINDS = ("points", "linear", "forest", "hazard", "sum", "segmented")
RULES = (PointRule("a", 4, per="a", cap=20), PointRule("West", 12, Condition("region", "is", "West")))


def leads(n, seed):
    """Numbers with gaps, one of them always the same, and a category; `a` and `b` tell the outcome."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.lognormal(size=(n, 4)), columns=list("abcd")).round(2)
    X = X.mask(rng.random(X.shape) < 0.1).assign(always=1.0)
    X["region"] = pd.Categorical(rng.choice(["North", "West"], n), categories=["North", "West"])
    signal = np.nan_to_num(X["a"] - X["b"]) + (X["region"] == "West")
    return X, (rng.random(n) < 1 / (1 + np.exp(1.5 - signal))).astype(int)


@cache
def fitted(kind):
    X, y = leads(1500, seed=0)
    boosted = BoostedScorer(max_trees=20, folds=3)
    if kind == "hazard":
        days = np.where(y == 1, np.random.default_rng(1).uniform(0.1, 29.9, len(y)), 60.0)
        scorer = HazardScorer(max_trees=20, folds=3)
        return scorer.fit(X, y, days=days, ended=y, seen=np.full(len(y), 60.0)).served_
    makers = {
        "points": lambda: PointsClassifier(RULES),
        "linear": LogisticScorer,
        "forest": lambda: boosted,
        "sum": lambda: LogisticScorer(RULES),
        "segmented": lambda: SegmentedScorer(boosted, "region"),
    }
    return makers[kind]().fit(X, y).served_


def bits(scorer, M):
    margin, base, parts = scorer.explained(M)
    return margin.tolist(), base, parts.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 300])
def test_one_go_gives_the_bits_of_margin_and_contributions(kind, n):
    scorer = fitted(kind)
    assert scorer.kind == kind
    M = to_matrix(leads(n, seed=2)[0], scorer.columns)
    base, parts = scorer.contributions(M)
    assert bits(scorer, M) == (scorer.margin(M).tolist(), base, parts.tolist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 300])
def test_columns_that_are_not_used_may_hold_anything(kind, n):
    scorer, rng = fitted(kind), np.random.default_rng(3)
    M = to_matrix(leads(n, seed=2)[0], scorer.columns)
    expected = bits(scorer, M)
    for j, column in enumerate(scorer.columns):
        if column.name not in scorer.used:
            M[:, j] = rng.choice([np.nan, 0.0, 7.0], n)
    assert bits(scorer, M) == expected


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        ("points", {"a", "region"}),
        ("linear", {"a", "b", "c", "d", "always", "region"}),
        ("sum", {"a", "b", "c", "d", "always", "region"}),
    ],
)
def test_used_columns_are_those_that_rules_and_terms_read(kind, used):
    assert fitted(kind).used == used


@pytest.mark.parametrize("kind", ["forest", "hazard", "segmented"])
def test_a_column_that_moves_the_margin_of_some_row_is_used(kind):
    scorer, rng = fitted(kind), np.random.default_rng(4)
    M = to_matrix(leads(300, seed=2)[0], scorer.columns)
    assert "always" not in scorer.used
    for j, column in enumerate(scorer.columns):
        other = M.copy()
        other[:, j] = rng.permutation(M[:, j])
        assert (column.name in scorer.used) or scorer.margin(other).tolist() == scorer.margin(M).tolist()
    assert {"a", "b"} <= scorer.used


@pytest.mark.parametrize("kind", ["forest", "hazard"])
def test_rows_that_are_alike_in_some_columns_give_the_bits_they_give_alone(kind):
    """As the moments of one lead are: what is alike in all rows is asked once."""
    scorer, rng = fitted(kind), np.random.default_rng(5)
    M = np.repeat(to_matrix(leads(1, seed=6)[0], scorer.columns), 200, axis=0)
    for value in (np.nan, 0.0, M[0, 0]):
        M[:, 0] = value
        M[:, 1] = rng.lognormal(size=len(M))
        together = bits(scorer, M)
        alone = [bits(scorer, M[i : i + 1]) for i in range(len(M))]
        assert together[0] == [margin for (margin,), _, _ in alone]
        assert together[2] == [parts for _, _, (parts,) in alone]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_worked_out_is_no_part_of_a_pickle(kind):
    fresh = pickle.dumps(fitted(kind))
    scorer = pickle.loads(fresh)
    M = to_matrix(leads(3, seed=2)[0], scorer.columns)
    expected = bits(fitted(kind), M)
    assert bits(scorer, M) == expected
    assert bits(pickle.loads(pickle.dumps(scorer)), M) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_drivers_follow_the_scorer(kind):
    scorer = fitted(kind)
    M = to_matrix(leads(50, seed=2)[0], scorer.columns)
    found = driver_points(scorer, Sigmoid(1.0, 0.0), Scale(), M)
    np.testing.assert_allclose(found.base + found.points.sum(axis=1) + found.clip, found.score, atol=1e-9)
