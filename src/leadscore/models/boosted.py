"""The boosted classifiers: the only file that imports LightGBM."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import lightgbm
import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from leadscore.errors import UsageError, explain
from leadscore.models.calibration import Sigmoid, fit_sigmoid
from leadscore.models.estimators import Fold, ServedClassifier, Table, inner_folds
from leadscore.models.followup import (
    AtRisk,
    Ints,
    at_risk,
    edges_of,
    fit_so_far,
    follow_up,
    require_same,
    whole,
)
from leadscore.models.forest import Forest
from leadscore.models.hazard import WEEK, HazardForest, log_odds_of, share_of
from leadscore.models.matrix import Column, Floats, to_matrix
from leadscore.models.scorer import Scorer


class BoostedScorer(ServedClassifier):
    """Shallow boosted trees by LightGBM, served as a `Forest`.

    The number of trees is the one with the lowest out-of-fold log loss; the calibration is fitted on
    those out-of-fold margins, and the trees again on all rows. Equal data and parameters give equal
    trees, whatever `n_jobs` is.

    Parameters
    ----------
    max_depth, num_leaves : int
        Bounds of each tree. Shallow trees keep exact reasons cheap and lose next to nothing.
    learning_rate : float
    l2 : float
        Penalty on leaf values.
    min_data_in_leaf : int, optional
        Rows in a leaf; by default a fiftieth of the rows, within 2 and 40.
    feature_fraction : float
        Share of the columns each tree may ask for.
    max_trees : int
    patience : int
        Trees without a better out-of-fold log loss after which no more are tried.
    folds : int
        Parts of the validation that chooses the number of trees.
    random_state : int
    n_jobs : int
        Threads.

    Attributes
    ----------
    booster_ : lightgbm.Booster
        What `served_` was read from; its features are named f0, f1, and so on.

    Examples
    --------
    >>> X = np.repeat([[0.0], [1.0], [5.0], [6.0]], 10, axis=0)
    >>> scorer = BoostedScorer(max_trees=20).fit(X, X[:, 0] > 3)
    >>> scorer.predict([[0.5], [5.5]]).tolist()
    [False, True]
    """

    def __init__(
        self,
        *,
        max_depth: int = 4,
        num_leaves: int = 15,
        learning_rate: float = 0.05,
        l2: float = 5.0,
        min_data_in_leaf: int | None = None,
        feature_fraction: float = 0.5,
        max_trees: int = 600,
        patience: int = 30,
        folds: int = 5,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.max_depth = max_depth
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.l2 = l2
        self.min_data_in_leaf = min_data_in_leaf
        self.feature_fraction = feature_fraction
        self.max_trees = max_trees
        self.patience = patience
        self.folds = folds
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _learn(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> tuple[Scorer, Sigmoid]:
        parameters = self._parameters(len(y))
        data = lightgbm.Dataset(
            M,
            y,
            params=parameters,
            feature_name=[f"f{j}" for j in range(len(columns))],  # it refuses many characters
            categorical_feature=[j for j, column in enumerate(columns) if column.levels is not None],
            free_raw_data=False,
        )
        folds = inner_folds(y, groups, self.folds, self.random_state)
        trees, boosters = self._choose(data, parameters, folds)
        self.booster_ = lightgbm.train(parameters, data, num_boost_round=trees)
        forest = Forest.from_dump(self.booster_.dump_model(), columns)
        if not folds:
            return forest, fit_sigmoid(forest.margin(M), y)
        unseen = np.empty(len(y))
        for booster, (_, test) in zip(boosters, folds, strict=True):
            unseen[test] = self._raw(booster, M[test], trees)
        return forest, fit_sigmoid(unseen, y)

    def _choose(
        self, data: lightgbm.Dataset, parameters: dict[str, Any], folds: list[Fold]
    ) -> tuple[int, list[lightgbm.Booster]]:
        """Choose the number of trees by the folds; give the boosters that have not seen them."""
        if not folds:
            return min(self.max_trees, 50), []
        run = lightgbm.cv(
            parameters,
            data,
            num_boost_round=self.max_trees,
            folds=folds,
            callbacks=[lightgbm.early_stopping(self.patience, verbose=False)],
            return_cvbooster=True,
        )
        return run["cvbooster"].best_iteration, run["cvbooster"].boosters

    def _raw(self, booster: lightgbm.Booster, M: Floats, trees: int) -> Any:
        return booster.predict(M, num_iteration=trees, raw_score=True, num_threads=self.n_jobs)

    def _parameters(self, n: int) -> dict[str, Any]:
        fiftieth = int(np.clip(n // 50, 2, 40))
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "max_depth": self.max_depth,
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "lambda_l2": self.l2,
            "min_data_in_leaf": self.min_data_in_leaf or fiftieth,
            "min_data_per_group": fiftieth,
            "feature_fraction": self.feature_fraction,
            "feature_pre_filter": False,
            "seed": self.random_state,
            "num_threads": self.n_jobs,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


class HazardScorer(BoostedScorer):
    """Boosted hazards of a win, interval by interval, learned from mature and young leads alike.

    The days up to the horizon are cut into intervals at quantiles of the delays to a win. A row is at risk
    in each interval until it is won, as far as the data reach; trees learn the hazard of these row-intervals
    from the columns and the interval together. A row that closes without a win stays at risk, and is not
    won: that is the subdistribution hazard of Fine and Gray (1999), whose risk set is known exactly because
    it is known how long each row would have been seen. So the chance within the horizon is the cumulative
    incidence beside the competing close, and leads that are too young for the label bias nothing.

    The number of trees is the one with the lowest out-of-fold log loss of the row-intervals, folds keeping
    groups whole. The calibration has the largest likelihood of what has come, so far, of the rows held out:
    a young row counts with the share of its chance that lies within what was seen of it. Without `days`
    every row counts as seen for the whole horizon; there is one interval, and this is a `BoostedScorer`.

    Parameters
    ----------
    horizon : float
        Days within which a win is predicted.
    intervals : int
        How many intervals are wished for; a week is always an edge, and edges are whole days.
    max_depth, num_leaves, learning_rate, l2, min_data_in_leaf, feature_fraction : optional
        As for `BoostedScorer`; rows in a leaf are row-intervals.
    max_trees, patience, folds, random_state, n_jobs : int
        As for `BoostedScorer`.

    Examples
    --------
    >>> X = np.repeat([[0.0], [1.0], [5.0], [6.0]], 50, axis=0)
    >>> y = X[:, 0] > 3
    >>> days, ended, seen = np.where(y, 3.0, 20.0), y.astype(int), np.full(len(y), 20.0)
    >>> scorer = HazardScorer(horizon=10, max_trees=20).fit(X, y, days=days, ended=ended, seen=seen)
    >>> scorer.predict([[0.5], [5.5]]).tolist()
    [False, True]
    >>> bool(scorer.predict_within([[5.5]], 2)[0] < scorer.predict_within([[5.5]], 7)[0])
    True
    """

    def __init__(
        self,
        *,
        horizon: float = 30.0,
        intervals: int = 5,
        max_depth: int = 4,
        num_leaves: int = 15,
        learning_rate: float = 0.05,
        l2: float = 5.0,
        min_data_in_leaf: int | None = None,
        feature_fraction: float = 0.5,
        max_trees: int = 600,
        patience: int = 30,
        folds: int = 5,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        super().__init__(
            max_depth=max_depth,
            num_leaves=num_leaves,
            learning_rate=learning_rate,
            l2=l2,
            min_data_in_leaf=min_data_in_leaf,
            feature_fraction=feature_fraction,
            max_trees=max_trees,
            patience=patience,
            folds=folds,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.horizon = horizon
        self.intervals = intervals

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        days: ArrayLike | None = None,
        ended: ArrayLike | None = None,
        seen: ArrayLike | None = None,
    ) -> Self:
        """Fit the hazards and the calibration.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            Numbers and pandas categories; NaN is missing. Young rows too.
        y : array of shape (n,)
            Two classes; the later one in sort order is a win within the horizon, seen so far.
        groups : array of shape (n,), optional
            Rows of one group stay on one side of the validation; one a lead.
        days : array of shape (n,), optional
            Until the win; without one, until the close; of an open row, until the end of the data.
        ended : array of shape (n,), optional
            0: still open, 1: won, 2: closed and not won.
        seen : array of shape (n,), optional
            Days until the end of the data.

        Returns
        -------
        Self

        Raises
        ------
        TargetError
            y has one class only, or more than two.
        DataError
            A column holds neither numbers nor categories, or infinite numbers; days, ended, seen and y
            contradict each other; no row was seen for the whole horizon.
        UsageError
            The horizon is not above 0, or only some of days, ended and seen are given.
        """
        if not 0 < self.horizon < np.inf:
            raise UsageError(explain("a horizon above 0 days", f"{self.horizon}", "correct it"))
        followed = None
        if days is not None and ended is not None and seen is not None:
            followed = follow_up(days, ended, seen, self.horizon)
        elif any(given is not None for given in (days, ended, seen)):
            do = "give all of them, or none"
            raise UsageError(explain("days, ended and seen together", "only some of them", do))
        self._followed = followed
        try:
            return super().fit(X, y, groups)
        finally:
            del self._followed

    def predict_within(self, X: Table, days: ArrayLike) -> Floats:
        """Give the calibrated chance of a win within so many days, up to the horizon.

        The calibrated chance of the horizon is spread over time as the hazards spread it.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
        days : float or array of shape (n,)

        Returns
        -------
        array of shape (n,)
        """
        won: Floats = self.predict_proba(X)[:, 1]
        served, M = self._read(X)
        return won * served.share(M, days)

    def urgency(self, X: Table, days: float = WEEK) -> Floats:
        """Give the share of the horizon's chance that falls in the next days, shape (n,)."""
        served, M = self._read(X)
        return served.urgency(M, days)

    def expected_days(self, X: Table) -> Floats:
        """Give the expected days to the win of a lead that is won within the horizon, shape (n,)."""
        served, M = self._read(X)
        return served.expected_days(M)

    def _read(self, X: Table) -> tuple[HazardForest, Floats]:
        check_is_fitted(self)
        served = cast(HazardForest, self.served_)
        return served, to_matrix(X, served.columns)

    def _learn(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> tuple[Scorer, Sigmoid]:
        followed = self._followed or whole(y, self.horizon)
        require_same(followed, y, self.horizon)
        edges = edges_of(followed.until[y == 1], self.horizon, self.intervals if self._followed else 1)
        rows = at_risk(followed, edges, self.random_state)
        parameters = self._parameters(len(y))
        if len(edges) > 1:  # trees that may ask for the interval and nothing else tell no lead from another
            parameters["feature_fraction"] = max(self.feature_fraction, min(1.0, 3 / (len(columns) + 1)))
        data = lightgbm.Dataset(
            _beside(M[rows.row], rows.interval, edges),
            rows.won,
            weight=rows.weight,
            init_score=rows.offsets[rows.interval],
            params=parameters,
            feature_name=[f"f{j}" for j in range(len(columns) + (len(edges) > 1))],
            categorical_feature=[j for j, column in enumerate(columns) if column.levels is not None],
            free_raw_data=False,
        )
        folds = inner_folds(y, groups, self.folds, self.random_state)
        trees, boosters = self._choose(data, parameters, [_spread(fold, rows) for fold in folds])
        self.booster_ = lightgbm.train(parameters, data, num_boost_round=trees)
        forest = _resolved(self.booster_, M, columns, edges, rows.offsets)
        if not folds:
            return forest, Sigmoid(1.0, 0.0)
        unseen = np.repeat(rows.offsets[:, None], len(y), axis=1)
        for booster, (_, test) in zip(boosters, folds, strict=True):
            for j in range(len(edges)):
                unseen[j, test] += self._raw(booster, _beside(M[test], np.full(len(test), j), edges), trees)
        hazards = list(unseen)
        share = share_of(hazards, edges, np.minimum(followed.seen, self.horizon))
        return forest, fit_so_far(log_odds_of(hazards), y, share)


def _beside(M: Floats, interval: Ints, edges: Sequence[float]) -> Floats:
    """Put the interval's number, from 1 on, behind the columns where there is more than one."""
    return M if len(edges) == 1 else np.column_stack([M, interval + 1.0])


def _spread(fold: Fold, rows: AtRisk) -> Fold:
    """Turn a fold of rows into one of row-intervals."""
    held_out = np.zeros(len(fold[0]) + len(fold[1]), dtype=bool)
    held_out[fold[1]] = True
    return np.flatnonzero(~held_out[rows.row]), np.flatnonzero(held_out[rows.row])


# ---- from LightGBM's trees to those of each interval


def _resolved(
    booster: lightgbm.Booster,
    M: Floats,
    columns: tuple[Column, ...],
    edges: Sequence[float],
    offsets: Floats,
) -> HazardForest:
    """Answer the questions about the interval beforehand: trees without any are shared, others become J.

    Covers are counted anew, over the training rows: so the average of an interval's forest, from which its
    SHAP values start, is the average of the training rows, each counting once.
    """
    dump, place = booster.dump_model(), len(columns)
    trees = [tree["tree_structure"] for tree in dump["tree_info"]]
    asking = [_asks(tree, place) for tree in trees]
    own: list[list[Mapping[str, Any]]] = []
    shared: list[Mapping[str, Any]] = []
    for j in range(len(edges)):
        covers = _covers(booster, _beside(M, np.full(len(M), j), edges))
        own.append([])
        for tree, asks, cover in zip(trees, asking, covers, strict=True):
            if asks or j == 0:
                (own[j] if asks else shared).append(_at(tree, place, j + 1.0, cover)[0])
    shared_forest, *own_forests = (
        Forest.from_dump({**dump, "tree_info": [{"tree_structure": tree} for tree in kept]}, columns)
        for kept in (shared, *own)
    )
    return HazardForest(tuple(edges), tuple(offsets.tolist()), shared_forest, tuple(own_forests))


def _asks(node: Mapping[str, Any], place: int) -> bool:
    if "split_feature" not in node:
        return False
    children = (node["left_child"], node["right_child"])
    return node["split_feature"] == place or any(_asks(child, place) for child in children)


def _covers(booster: lightgbm.Booster, M: Floats) -> list[Ints]:
    """Count the rows in each leaf of each tree."""
    covers: list[Ints] = []
    for start in range(0, len(M), _AT_ONCE):
        leaves = booster.predict(M[start : start + _AT_ONCE], pred_leaf=True)
        leaves = np.asarray(leaves, dtype=np.int64).reshape(-1, booster.num_trees())
        most = leaves.max(axis=0, initial=0) + 1
        if not covers:
            covers = [np.zeros(0, dtype=np.int64)] * leaves.shape[1]
        for tree, size in enumerate(most):
            count = np.bincount(leaves[:, tree], minlength=max(size, len(covers[tree])))
            count[: len(covers[tree])] += covers[tree]
            covers[tree] = count
    return covers


_AT_ONCE = 1 << 15  # rows: their leaves in all trees fit into memory


def _at(node: Mapping[str, Any], place: int, value: float, cover: Ints) -> tuple[Mapping[str, Any], int]:
    """Resolve the questions about one column for a value of it; give the node and its cover."""
    if "split_feature" not in node:
        leaf = node.get("leaf_index", 0)
        count = max(1, int(cover[leaf])) if leaf < len(cover) else 1
        return {**node, "leaf_count": count}, count
    if node["split_feature"] == place:
        side = "left_child" if value <= node["threshold"] else "right_child"
        return _at(node[side], place, value, cover)
    left, some = _at(node["left_child"], place, value, cover)
    right, others = _at(node["right_child"], place, value, cover)
    return {**node, "left_child": left, "right_child": right, "internal_count": some + others}, some + others
