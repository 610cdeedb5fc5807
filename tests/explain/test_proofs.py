"""Explanations of every kind of model: exact sums, integers that add up, the same bits for one and for many.

Trees are proven against Shapley's definition and LightGBM itself, on hundreds of small models of all shapes.
"""

import math
from functools import cache

import lightgbm
import numpy as np
import pytest

from leadscore.explain.drivers import FAMILIES, driver_points, family_sums, grouped, shown_integers, whole
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.forest import Forest
from leadscore.models.hazard import HazardForest
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.lookup import FEW, ZERO
from leadscore.models.matrix import Column
from leadscore.models.points import PointRule, PointTable
from leadscore.models.saved import KINDS
from leadscore.models.segments import Segmented
from leadscore.models.sums import Sum

LEVELS = tuple(f"w{i}" for i in range(40))
COLUMNS = (
    Column("size"),
    Column("days"),
    Column("visits"),
    Column("region", LEVELS[:5]),
    Column("source", LEVELS),
)
WILD = (0.0, -0.0, ZERO, -ZERO, 2 * ZERO, 1e-40, -0.5, -3.0, 7.9, 1e9, -1e300, 1e300, np.nan)
CATEGORIES = (3, 4)


def rows(rng, n):
    """Skewed numbers, counts with zeros and categories, each missing at times; numbers at their wildest."""
    X = np.column_stack(
        [
            rng.lognormal(1.0, 1.0, n),
            np.round(rng.normal(size=n), 1),
            rng.poisson(0.7, n),
            rng.integers(0, 5, n),
            rng.integers(0, 40, n),
        ]
    ).astype(float)
    wild = rng.random((n, 3)) < 0.1
    X[:, :3][wild] = rng.choice(WILD, wild.sum())
    X[rng.random(X.shape) < 0.15] = np.nan
    return np.asfortranarray(X)


# ---------------------------------------------------------------------------- trees of any shape, by chance
def grown(rng, depth):
    """A tree as LightGBM dumps it: of any depth, with any question, and the same column again and again."""
    if depth == 0 or rng.random() < (0.15 if depth < 5 else 0.03):
        return {"leaf_value": float(rng.normal()), "leaf_count": int(rng.integers(1, 50))}
    column = int(rng.integers(5))
    if column in CATEGORIES:
        codes = rng.choice(5 if column == 3 else 40, rng.integers(1, 5), replace=False)
        asks = {"decision_type": "==", "threshold": "||".join(map(str, codes)), "missing_type": "NaN"}
    else:
        threshold = float(rng.choice([0.0, 0.5, 1.0, ZERO, rng.normal(), rng.lognormal()]))
        missing = str(rng.choice(["None", "Zero", "NaN"]))
        asks = {"decision_type": "<=", "threshold": threshold, "missing_type": missing}
    deeper = [depth - 1, min(depth - 1, rng.integers(4))]  # a tree may be deep without being large
    left, right = (grown(rng, own) for own in rng.permutation(deeper))
    return {
        "split_feature": column,
        "default_left": bool(rng.random() < 0.5) and column not in CATEGORIES,
        "internal_count": count(left) + count(right),
        "left_child": left,
        "right_child": right,
        **asks,
    }


def count(node):
    return node["internal_count"] if "split_feature" in node else node.get("leaf_count", 1)


def dumped(trees):
    return {
        "num_tree_per_iteration": 1,
        "average_output": False,
        "tree_info": [{"tree_structure": t} for t in trees],
    }


def forest_of(trees):
    return Forest.from_dump(dumped(trees), COLUMNS)


def trained(rng):
    """A small LightGBM model with parameters by chance; among them such that never split."""
    n = int(rng.choice([40, 150, 400]))
    X = rows(rng, n)
    known = np.nan_to_num(np.clip(X, -5, 5))
    y = known[:, 0] + known[:, 1] * known[:, 2] + (X[:, 4] % 3 == 0) + rng.normal(size=n) > 1.5
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "seed": int(rng.integers(1 << 30)),
        "min_data_in_leaf": int(rng.choice([1, 3, 20, 250])),
        "min_data_per_group": 3,
        "cat_smooth": 1,
        "num_leaves": int(rng.choice([2, 6, 15, 40])),
        "max_depth": int(rng.choice([1, 3, 4, -1])),
        "max_cat_to_onehot": int(rng.choice([1, 4])),
        "zero_as_missing": bool(rng.random() < 0.5),
        "use_missing": bool(rng.random() < 0.8),
    }
    data = lightgbm.Dataset(X, y, categorical_feature=list(CATEGORIES), params={"feature_pre_filter": False})
    return lightgbm.train(parameters, data, num_boost_round=int(rng.choice([1, 3])))


# ------------------------------------------------------------------------------------- Shapley's definition
def goes_left(node, X):
    """The rule of one node, as LightGBM documents it, for each row."""
    x = X[:, node["split_feature"]]
    if node["decision_type"] == "==":
        return np.isin(np.trunc(x), np.array(node["threshold"].split("||"), float))
    if node["missing_type"] != "NaN":
        x = np.where(np.isnan(x), 0.0, x)
    x = np.where(np.abs(x) <= ZERO, 0.0, x)
    absent = {"None": np.zeros(len(x), bool), "NaN": np.isnan(x), "Zero": x == 0}[node["missing_type"]]
    return np.where(absent, node["default_left"], x <= node["threshold"])


def expectation(node, X, known):
    """What a tree gives on average over its training rows, by coalition of known columns and by row."""
    if "split_feature" not in node:
        return np.full((len(known), len(X)), node["leaf_value"])
    left, right = (expectation(node[side], X, known) for side in ("left_child", "right_child"))
    share = count(node["left_child"]) / node["internal_count"]
    followed = np.where(goes_left(node, X), left, right)
    return np.where(known[:, [node["split_feature"]]], followed, share * left + (1 - share) * right)


def shapley(trees, X):
    """Shapley's sum over all coalitions of columns, and the worth of the empty and the full one."""
    players = X.shape[1]
    coalitions = range(1 << players)
    known = np.array([[coalition >> j & 1 for j in range(players)] for coalition in coalitions], bool)
    worth = sum((expectation(tree, X, known) for tree in trees), np.zeros((len(known), len(X))))
    phi = np.zeros(X.shape)
    for coalition in coalitions:
        size = coalition.bit_count()
        for j in range(players):
            if not coalition >> j & 1:
                weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
                phi[:, j] += weight * (worth[coalition | 1 << j] - worth[coalition])
    return worth[0], phi, worth[-1]


def nodes_of(tree):
    if "split_feature" in tree:
        yield tree
        yield from nodes_of(tree["left_child"])
        yield from nodes_of(tree["right_child"])


def again(tree, above=()):
    """Whether a column is asked twice on one path."""
    if "split_feature" not in tree:
        return False
    own = tree["split_feature"]
    below = (*above, own)
    return own in above or again(tree["left_child"], below) or again(tree["right_child"], below)


def shapes(trees, forest):
    """What is special about a model: names of the cases that it covers."""
    nodes = [node for tree in trees for node in nodes_of(tree)]
    asks = {node["decision_type"] for node in nodes}
    cases = {
        "categories": "==" in asks,
        "missing nothing": any(node["missing_type"] == "None" for node in nodes),
        "missing NaN": any(n["missing_type"] == "NaN" and n["decision_type"] == "<=" for n in nodes),
        "missing zero": any(node["missing_type"] == "Zero" for node in nodes),
        "to the left by default": any(node["default_left"] for node in nodes),
        "one leaf": any("split_feature" not in tree for tree in trees),
        "nothing but leaves": not nodes,
        "a column again on a path": any(map(again, trees)),
        "too deep for tables": bool(forest._lookup._long),
    }
    return {name for name, holds in cases.items() if holds}


def test_five_hundred_models_are_explained_as_shapley_defined_it():
    covered = dict[str, int]()
    for seed in range(500):
        rng = np.random.default_rng(seed)
        booster = trained(rng) if seed % 2 else None
        if booster is None:
            depth = int(rng.choice([0, 1, 2, 4, 8, 16]))
            trees = [grown(rng, depth) for _ in range(int(rng.integers(1, 4)))]
        else:
            trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
        X = rows(rng, 6)
        empty, expected, full = shapley(trees, X)
        forest = forest_of(trees)
        base, parts = forest.contributions(X)
        np.testing.assert_allclose(parts, expected, rtol=0, atol=1e-12, err_msg=f"model {seed}")
        np.testing.assert_allclose(base, empty, rtol=0, atol=1e-12, err_msg=f"model {seed}")
        np.testing.assert_allclose(forest.margin(X), full, rtol=0, atol=1e-12, err_msg=f"model {seed}")
        if booster is not None:
            peer = booster.predict(X, pred_contrib=True, num_threads=1)
            np.testing.assert_allclose(parts, peer[:, :-1], rtol=0, atol=1e-9, err_msg=f"model {seed}")
            assert base == pytest.approx(peer[0, -1], abs=1e-9)
            assert forest.margin(X).tolist() == booster.predict(X, raw_score=True, num_threads=1).tolist()
        for name in shapes(trees, forest):
            covered[name] = covered.get(name, 0) + 1
    assert len(covered) == 9, covered  # none of the special cases is absent
    assert min(covered.values()) >= 20, covered


# ------------------------------------------------------------------------------------ every kind of model
def forest(seed, trees, depth=4):
    rng = np.random.default_rng(seed)
    return forest_of([grown(rng, depth) for _ in range(trees)])


@cache
def models():
    """Kinds to a served model, a calibration that uses the whole scale, and rows."""
    points = PointTable(
        COLUMNS,
        (
            PointRule("Visits", 3, per="visits", cap=60),
            PointRule("From w1", 25.5, Condition("source", "is", "w1")),
            PointRule("Small", -17.3, Condition("size", "below", 2)),
            PointRule("Late", 30, Condition("days", "at_least", 0.3), family="operations"),
            PointRule("No region", 12, Condition("region", "missing")),
        ),
    ).with_means(rows(np.random.default_rng(1), 500))
    draw = np.random.default_rng(2).normal
    linear = LinearTable(
        COLUMNS,
        (
            NumberTerm(True, 0.0, 90.0, centre=1.2, scale=0.7, coefficient=1.1, missing=-0.3, mean=0.07),
            NumberTerm(False, -3.0, 3.0, centre=0.1, scale=0.9, coefficient=-0.8, missing=0.2, mean=-0.04),
            NumberTerm(False, 0.0, 6.0, centre=0.7, scale=0.8, coefficient=0.9, missing=0.0, mean=0.01),
            LevelsTerm(tuple(draw(size=5).tolist()), missing=0.4, mean=0.2),
            LevelsTerm(tuple(draw(size=40).tolist()), missing=-0.2, mean=0.1),
        ),
        intercept=-2.0,
    )
    trees, few = forest(3, 60), forest(4, 20)
    hazard = HazardForest(
        (7.0, 14.0, 30.0), (-3.0, -3.5, -2.5), forest(5, 20), tuple(forest(s, 6) for s in (6, 7, 8))
    )
    offsets, slopes = draw(size=5).tolist(), np.exp(0.3 * draw(size=5)).tolist()
    both = Sum((points, linear, few), (0.03, 0.8, 0.5), -1.0)
    return {
        "points": (points, Sigmoid(0.09, -4.0)),
        "linear": (linear, Sigmoid(0.9, -0.2)),
        "forest": (trees, Sigmoid(0.4, -1.1)),
        "hazard": (hazard, Sigmoid(0.5, -0.6)),
        "sum": (both, Sigmoid(0.8, -0.3)),
        "segmented": (Segmented(few, "region", tuple(offsets), tuple(slopes), mean=0.11), Sigmoid(0.7, -1.3)),
    }


SCALE = Scale()
KINDS_OF = pytest.mark.parametrize("kind", ("points", "linear", "forest", "hazard", "sum", "segmented"))


def test_every_kind_of_model_is_proven():
    assert set(models()) == set(KINDS)
    assert all(scorer.kind == kind for kind, (scorer, _) in models().items())


def split_of(kind, M):
    scorer, calibration = models()[kind]
    return driver_points(scorer, calibration, SCALE, M)


@KINDS_OF
def test_base_and_drivers_are_the_score(kind):
    M = rows(np.random.default_rng(10), 5_000)
    scorer, calibration = models()[kind]
    split = split_of(kind, M)
    margins = scorer.margin(M).tolist()
    for i, margin in enumerate(margins):
        log_odds = calibration.slope * margin + calibration.intercept
        exact = 50 + 8 * (log_odds - math.log(1 / 9)) / math.log(2)  # 50 is one in nine, 8 points double that
        assert split.score[i] == pytest.approx(min(100.0, max(0.0, exact)), abs=1e-9)
        assert abs(math.fsum([split.base, split.clip[i], *split.points[i]]) - split.score[i]) < 1e-9
    assert np.ptp(split.score) > 40  # scores differ, and some are cut by the ends of the scale
    assert len(np.unique(split.score)) > 50


@KINDS_OF
def test_integers_shown_add_up_for_every_lead(kind):
    M = rows(np.random.default_rng(11), 5_000)
    split = split_of(kind, M)
    rng = np.random.default_rng(12)
    about = rng.integers(0, max(2, split.points.shape[1] - 2), split.points.shape[1]).tolist()
    _, sums = grouped(split.points, about)
    parts = np.column_stack([split.clip, sums])
    totals = [whole(score) - whole(split.base) for score in split.score.tolist()]
    shown = shown_integers(parts, totals)
    scores = [whole(split.base) + sum(row) for row in shown.tolist()]
    assert scores == [whole(score) for score in split.score.tolist()]
    assert np.abs(shown - parts).max() <= 1 + 1e-6


@KINDS_OF
def test_one_lead_and_ten_thousand_have_the_same_bits(kind):
    rng = np.random.default_rng(13)
    M = rows(rng, 10_000)
    batch = split_of(kind, M)
    families = rng.choice([*FAMILIES, "limit"], batch.points.shape[1]).tolist()
    sums = family_sums(batch.points, families)
    some = rng.permutation(len(M))
    sizes = [1] * 150 + [2, 7, FEW - 1, FEW, FEW + 1, 1_000]
    for chosen in np.split(some[: sum(sizes)], np.cumsum(sizes)[:-1]):
        part = split_of(kind, M[chosen])
        assert part.base == batch.base
        for name in ("points", "clip", "score", "probability", "log_odds"):
            assert getattr(part, name).tolist() == getattr(batch, name)[chosen].tolist(), name
        own = family_sums(part.points, families)
        assert all(own[name].tolist() == sums[name][chosen].tolist() for name in FAMILIES)


@pytest.mark.parametrize("n", [0, 1, FEW, FEW + 1, 3_000])
@pytest.mark.parametrize("kind", ["points", "linear", "forest", "hazard"])
def test_both_at_one_go_are_each_alone(kind, n):
    scorer, _ = models()[kind]
    M = rows(np.random.default_rng(14), n)
    margin, base, parts = scorer.explained(M)
    assert margin.tolist() == scorer.margin(M).tolist()
    assert (base, parts.tolist()) == (scorer.contributions(M)[0], scorer.contributions(M)[1].tolist())


@pytest.mark.parametrize("n", [1, FEW, FEW + 1, 3_000])
def test_a_linear_table_adds_its_terms_one_after_the_other(n):
    table, _ = models()["linear"]
    M = rows(np.random.default_rng(15), n)
    margin = np.full(n, table.intercept)
    for j, term in enumerate(table.terms):
        margin = margin + term.added(M[:, j].copy())
    assert table.margin(M).tolist() == margin.tolist()
