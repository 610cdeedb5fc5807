"""The boosted classifier: the only file that imports LightGBM."""

from typing import Any

import lightgbm
import numpy as np
from numpy.typing import ArrayLike

from leadscore.models.calibration import Sigmoid, fit_sigmoid
from leadscore.models.estimators import ServedClassifier, inner_folds
from leadscore.models.forest import Forest
from leadscore.models.matrix import Column, Floats
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
        trees, unseen = self._validate(data, M, parameters, folds)
        self.booster_ = lightgbm.train(parameters, data, num_boost_round=trees)
        forest = Forest.from_dump(self.booster_.dump_model(), columns)
        return forest, fit_sigmoid(forest.margin(M) if unseen is None else unseen, y)

    def _validate(
        self, data: lightgbm.Dataset, M: Floats, parameters: dict[str, Any], folds: list[Any]
    ) -> tuple[int, Floats | None]:
        """Choose the number of trees; give the margins that rows had while they were held out."""
        if not folds:
            return min(self.max_trees, 50), None
        run = lightgbm.cv(
            parameters,
            data,
            num_boost_round=self.max_trees,
            folds=folds,
            callbacks=[lightgbm.early_stopping(self.patience, verbose=False)],
            return_cvbooster=True,
        )
        trees = run["cvbooster"].best_iteration
        unseen = np.empty(len(M))
        for booster, (_, test) in zip(run["cvbooster"].boosters, folds, strict=True):
            unseen[test] = booster.predict(
                M[test], num_iteration=trees, raw_score=True, num_threads=self.n_jobs
            )
        return trees, unseen

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
