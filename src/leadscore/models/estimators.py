"""The scikit-learn classifiers for point tables and logistic models, and what all classifiers share."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, TypeAlias, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.models.calibration import Sigmoid, fit_sigmoid, probability
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm, Term, signed_log
from leadscore.models.matrix import Column, Floats, columns_of, to_matrix
from leadscore.models.points import PointRule, PointTable
from leadscore.models.scorer import Scorer
from leadscore.models.sums import Sum

Table: TypeAlias = pd.DataFrame | NDArray[Any]
Fold: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


class TargetError(DataError, ValueError):
    """The outcome is not one of two classes; a ValueError too, as scikit-learn expects."""


class ServedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What the classifiers share: X becomes a matrix, and only the served form answers.

    Attributes
    ----------
    classes_ : array of shape (2,)
        The outcome's two values; the second is a win.
    n_features_in_ : int
    feature_names_in_ : array of str
        Only when fitted on a frame.
    served_ : Scorer
        The fitted model as numbers, as it is saved.
    calibration_ : Sigmoid
        From the margins of `served_` to log-odds.
    """

    served_: Scorer
    calibration_: Sigmoid

    @abstractmethod
    def _learn(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> tuple[Scorer, Sigmoid]:
        """Fit the served form and its calibration; y is 1 for a win, else 0."""

    def fit(self, X: Table, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Fit the scorer and its calibration.

        Parameters
        ----------
        X : DataFrame or array of shape (n, p)
            Numbers and pandas categories; NaN is missing.
        y : array of shape (n,)
            Two classes; the later one in sort order is a win.
        groups : array of shape (n,), optional
            Rows of one group stay on one side wherever the scorer validates itself; one a lead.

        Returns
        -------
        Self

        Raises
        ------
        TargetError
            y has one class only, or more than two.
        DataError
            A column holds neither numbers nor categories, or infinite numbers.
        """
        if _is_named(X):
            validate_data(self, X, y, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            columns: tuple[Column, ...] = columns_of(X)
            if not len(X) or not columns:
                raise TargetError(explain("rows and columns", f"shape {X.shape}", "give more data"))
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
            columns = columns_of(X)
        check_consistent_length(X, y, groups)
        self.classes_, codes = _two_classes(np.asarray(y))
        M = to_matrix(X, columns)
        self.served_, self.calibration_ = self._learn(M, columns, codes.astype(np.float64), groups)
        return self

    def decision_function(self, X: Table) -> Floats:
        """Give the calibrated log-odds of a win, shape (n,)."""
        check_is_fitted(self)
        if _is_named(X) and hasattr(self, "feature_names_in_"):
            validate_data(self, X, reset=False, skip_check_array=True)
        else:
            X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return self.calibration_.log_odds(self.served_.margin(to_matrix(X, self.served_.columns)))

    def predict_proba(self, X: Table) -> Floats:
        """Give the probability of each class, shape (n, 2)."""
        won = probability(self.decision_function(X))
        return np.stack([1.0 - won, won], axis=1)

    def predict(self, X: Table) -> NDArray[Any]:
        """Give the likelier class, shape (n,)."""
        won = self.decision_function(X) > 0
        classes: NDArray[Any] = self.classes_[won.astype(np.int64)]
        return classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags


class PointsClassifier(ServedClassifier):
    """A hand-built point table, with a one-dimensional logistic on top so that it can be compared.

    The points are the marketer's: nothing about them is fitted. Without rules it gives everybody the
    share of wins.

    Parameters
    ----------
    rules : sequence of PointRule

    Examples
    --------
    >>> X = pd.DataFrame({"visits": [0.0, 1.0, 4.0, 6.0]})
    >>> points = PointsClassifier((PointRule("Visits", 2, per="visits"),)).fit(X, [0, 1, 0, 1])
    >>> points.served_.margin(to_matrix(X, points.served_.columns)).tolist()
    [0.0, 2.0, 8.0, 12.0]
    """

    def __init__(self, rules: Sequence[PointRule] = ()) -> None:
        self.rules = rules

    def _learn(
        self,
        M: Floats,
        columns: tuple[Column, ...],
        y: Floats,
        groups: ArrayLike | None,  # noqa: ARG002
    ) -> tuple[Scorer, Sigmoid]:
        table = PointTable(columns, tuple(self.rules)).with_means(M)
        return table, fit_sigmoid(table.margin(M), y)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = not self.rules
        return tags


class LogisticScorer(ServedClassifier):
    """A ridge logistic regression on standardised numbers and one indicator a level.

    Skewed numbers are drawn in by a signed logarithm; missing values have indicators of their own. The
    strength of the penalty is the one with the lowest out-of-fold log loss (the strongest where too few
    wins allow no validation), and the calibration is fitted on those out-of-fold margins.

    With rules it is shrunk towards the points: the log-odds are affine in their total, and the penalty
    falls on what the columns say beyond them. Of the strengths, the strongest is taken whose log loss is
    within one standard error of the lowest, so that tens of labels give the calibrated point table, and
    more labels as much as they can carry.

    Parameters
    ----------
    rules : sequence of PointRule
        A hand-built point table to shrink towards; none, and everything shrinks towards the share of wins.
    Cs : sequence of float, optional
        Inverse strengths of the penalty to choose from; 0.01, 0.1 and 1 by default, and with rules 1e-3 and
        1e-6 too, which leaves the points alone.
    folds : int
        Parts of the validation that chooses.
    random_state : int
        Deals the groups to the parts.

    Examples
    --------
    >>> X = pd.DataFrame({"visits": [0.0, 1.0, 5.0, 6.0] * 5})
    >>> LogisticScorer().fit(X, [0, 0, 1, 1] * 5).predict(X[:4]).tolist()
    [0, 0, 1, 1]
    """

    def __init__(
        self,
        rules: Sequence[PointRule] = (),
        *,
        Cs: Sequence[float] | None = None,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.rules = rules
        self.Cs = Cs
        self.folds = folds
        self.random_state = random_state

    def _learn(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> tuple[Scorer, Sigmoid]:
        encoded = [_encode(x, column) for x, column in zip(M.T, columns, strict=True)]
        parts = np.concatenate([part for part, _ in encoded], axis=1)
        occurs = np.any(parts != 0, axis=0)  # levels and missing values that never occur have no weight
        occurs |= np.arange(len(occurs)) == 0  # the regression wants a column, even where all are constant
        Z = parts[:, occurs]
        points = PointTable(columns, tuple(self.rules)).with_means(M) if self.rules else None
        total = np.zeros((len(y), 0)) if points is None else points.margin(M)[:, None]
        centre, scale = total.mean(axis=0), np.where(np.ptp(total, axis=0) > 0, total.std(axis=0), 1.0)
        P = (total - centre) / scale
        path = _Path(np.hstack([P, Z]), y, free=P.shape[1])
        Cs = sorted((_CS if points is None else (*_NEAR_POINTS, *_CS)) if self.Cs is None else self.Cs)
        folds = inner_folds(y, groups, self.folds, self.random_state)
        said, unseen = np.full((2, len(Cs), len(y)), np.nan)
        # one thread: on shared cores BLAS threads wait for each other ten times as long as they work
        with threadpool_limits(1, user_api="blas"):
            for i, C in enumerate(Cs):
                for train, test in folds:
                    intercept, b, w = path.fit(train, C)
                    unseen[i, test] = Z[test] @ w
                    said[i, test] = intercept + P[test] @ b + unseen[i, test]
            best = self._choose(said, y, folds)
            intercept, b, w = path.fit(np.arange(len(y)), Cs[best], tol=1e-8)
        weights = np.zeros(parts.shape[1])
        weights[occurs] = w
        ends = np.cumsum([part.shape[1] for part, _ in encoded])[:-1]
        terms = [term(own) for (_, term), own in zip(encoded, np.split(weights, ends), strict=True)]
        if points is None:
            table = LinearTable(columns, tuple(terms), intercept)
            return table, fit_sigmoid(said[best] if folds else table.margin(M), y)
        table = LinearTable(columns, tuple(terms), 0.0)
        slope = float(b[0] / scale[0])
        served = Sum((points, table), (slope, 1.0), intercept - slope * float(centre[0]))
        # What the columns add is held out. The points' two numbers are not: drawn anew by each fold, they
        # would say more about the folds than about the points where wins are few.
        return served, fit_sigmoid(
            intercept + P[:, 0] * b[0] + unseen[best] if folds else served.margin(M), y
        )

    def _choose(self, margins: Floats, y: Floats, folds: list[Fold]) -> int:
        if not folds:
            return 0
        if self.rules:
            return strongest(margins, y, folds)
        return int(np.argmin((np.logaddexp(0.0, margins) - y * margins).mean(axis=1)))


class _Path:
    """Ridge logistic regressions on the same columns, from the strongest penalty on.

    Each fit begins where the last one ended, unless that was under a weaker penalty: from there Newton's
    steps overshoot where the fit is perfect. The first `free` columns are next to free of the penalty and
    keep weights above 0: a hand-built order is never turned round, and it breaks the ties that remain.
    """

    def __init__(self, A: Floats, y: Floats, free: int) -> None:
        self.A, self.y, self.free = A, y, free
        self.C = np.inf

    def fit(self, rows: NDArray[np.int64], C: float, tol: float = 1e-4) -> tuple[float, Floats, Floats]:
        """Give the intercept, the free columns' weights and the others'."""
        free = self.free
        A, stretch = self.A[rows], _FREE / np.sqrt(C)  # a weight's penalty is divided by the stretch squared
        A[:, :free] *= stretch
        if C < self.C:
            self.model = LogisticRegression(solver="newton-cholesky", warm_start=True)
        else:
            self.model.coef_[:, :free] *= np.sqrt(C / self.C)
        model, self.C = self.model, C
        model.set_params(C=C, tol=tol).fit(A, self.y[rows])
        wrong = np.flatnonzero(model.coef_[0, :free] * stretch < _LEAST)
        if len(wrong):
            A[:, wrong] = 0.0
            model.fit(A, self.y[rows])
            model.coef_[0, wrong] = _LEAST / stretch
        weights = model.coef_[0].copy()
        return float(model.intercept_[0]), weights[:free] * stretch, weights[free:]


_CS = (0.01, 0.1, 1.0)
_NEAR_POINTS = (1e-6, 1e-3)
_FREE = 5.0  # standard deviation, in log-odds, of the prior on what a standard deviation of points means
_LEAST = 1e-3  # log-odds in a standard deviation of points: as good as nothing, yet it keeps their order


def assumed_sigmoid(total: ArrayLike, rate: float, points_to_double_odds: float = 12.0) -> Sigmoid:
    """Give points a probability before there is any label: from the share of wins that a team expects.

    Parameters
    ----------
    total : array of shape (n,)
        Totals of the leads at hand.
    rate : float
        The share of them that is expected to win; between 0 and 1, and on average they are given it.
    points_to_double_odds : float
        How many points double the odds.

    Returns
    -------
    Sigmoid

    Raises
    ------
    UsageError
        The rate or the points are out of range, or there is no lead.

    Examples
    --------
    >>> assumed = assumed_sigmoid([0.0, 20.0, 40.0], rate=0.1, points_to_double_odds=10)
    >>> float(probability(assumed.log_odds([0.0, 20.0, 40.0])).mean().round(12))
    0.1
    """
    m = np.asarray(total, dtype=np.float64)
    if not (0 < rate < 1 and 0 < points_to_double_odds < np.inf and len(m)):
        expected = "leads, an expected share of wins between 0 and 1, and points above 0 that double the odds"
        found = f"{len(m):,} leads, {shown(rate)}, {shown(points_to_double_odds)}"
        raise UsageError(explain(expected, found, "correct them"))
    slope = float(np.log(2.0) / points_to_double_odds)
    centre = float(np.log(rate / (1.0 - rate)))
    low, high = centre - slope * float(m.max()), centre - slope * float(m.min())
    for _ in range(100):  # the average grows with the intercept
        middle = (low + high) / 2
        above = float(probability(slope * m + middle).mean()) > rate
        low, high = (low, middle) if above else (middle, high)
    return Sigmoid(slope, (low + high) / 2)


def inner_folds(y: Floats, groups: ArrayLike | None, folds: int, seed: int) -> list[Fold]:
    """Deal groups to folds, those with a win and those without evenly.

    Parameters
    ----------
    y : array of shape (n,)
        1 for a win.
    groups : array of shape (n,), optional
        None: each row is a group.
    folds : int
        Fewer are made when there are not as many groups of a kind.
    seed : int

    Returns
    -------
    list of (train, test)
        Row numbers; empty when fewer than two folds can be made.

    Examples
    --------
    >>> [test.tolist() for _, test in inner_folds(np.array([0, 0, 1, 1]), ["a", "b", "c", "c"], 2, seed=0)]
    []
    >>> [len(test) for _, test in inner_folds(np.array([0, 0, 1, 1]), None, 2, seed=0)]
    [2, 2]
    """
    group = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    won = np.bincount(group, y) > 0
    parts = int(min(folds, won.sum(), (~won).sum()))
    if parts < 2:
        return []
    dealt = np.random.default_rng(seed).permutation(len(won))
    dealt = dealt[np.argsort(won[dealt], kind="stable")]
    part = np.empty(len(won), dtype=np.int64)
    part[dealt] = np.arange(len(won)) % parts
    return [(np.flatnonzero(part[group] != i), np.flatnonzero(part[group] == i)) for i in range(parts)]


def strongest(margins: Floats, y: Floats, folds: Sequence[Fold]) -> int:
    """Choose the first of several shrinkages that is within one standard error of the lowest log loss.

    The error is of the paired difference over folds.

    Parameters
    ----------
    margins : array of shape (k, n)
        Held-out log-odds under each shrinkage, the strongest first.
    y : array of shape (n,)
        1 for a win.
    folds : sequence of (train, test)
        At least two.

    Returns
    -------
    int

    Examples
    --------
    >>> y, folds = np.array([0.0, 1.0, 0.0, 1.0]), [(np.array([2, 3]), np.array([0, 1]))]
    >>> folds.append(folds[0][::-1])
    >>> strongest(np.array([[0, 0, 0, 0], [-1, 1, -1, 1]]), y, folds)
    1
    >>> strongest(np.array([[0, 0, 0, 0], [-1, 1, 0.1, -0.1]]), y, folds)
    0
    """
    losses = np.logaddexp(0.0, margins) - y * margins
    best = losses[int(np.argmin(losses.mean(axis=1)))]
    worse = np.array([(losses[:, test] - best[test]).mean(axis=1) for _, test in folds])
    error = worse.std(axis=0, ddof=1) / np.sqrt(len(folds))
    return int(np.flatnonzero(worse.mean(axis=0) <= error)[0])


def _is_named(X: Table) -> TypeGuard[pd.DataFrame]:
    """Whether X is a frame whose columns have names; any other X goes by position."""
    return isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns)


def _two_classes(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind != "binary":
        raise TargetError(f"Only binary classification is supported. The type of the target is {kind}.")
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise TargetError(explain("an outcome of two classes", "one class only", "give wins and others"))
    return classes, codes


def _encode(x: Floats, column: Column) -> tuple[Floats, Callable[[Floats], Term]]:
    """Give the regression's columns for one column of X, and what turns their weights into its term."""
    return _encode_number(x) if column.levels is None else _encode_levels(x, len(column.levels))


def _encode_number(x: Floats) -> tuple[Floats, Callable[[Floats], Term]]:
    missing = np.isnan(x)
    present = x[~missing] if not missing.all() else np.zeros(1)
    logged = signed_log(present)
    use_log = abs(_skewness(present)) > max(1.0, abs(_skewness(logged)))
    values = logged if use_log else present
    centre, scale = float(values.mean()), float(values.std()) or 1.0
    low, high = float(present.min()), float(present.max())
    unit = NumberTerm(use_log, low, high, centre, scale, coefficient=1.0, missing=0.0, mean=0.0)
    parts = np.stack([unit.added(x), missing.astype(np.float64)], axis=1)

    def term(weights: Floats) -> NumberTerm:
        coefficient, absent = map(float, weights)
        return replace(unit, coefficient=coefficient, missing=absent, mean=float((parts @ weights).mean()))

    return parts, term


def _encode_levels(x: Floats, levels: int) -> tuple[Floats, Callable[[Floats], Term]]:
    codes = np.where(np.isnan(x), levels, x).astype(np.int64)
    parts = (codes[:, None] == np.arange(levels + 1)).astype(np.float64)

    def term(weights: Floats) -> LevelsTerm:
        return LevelsTerm(tuple(weights[:-1].tolist()), float(weights[-1]), float((parts @ weights).mean()))

    return parts, term


def _skewness(values: Floats) -> float:
    spread = float(values.std())
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0
