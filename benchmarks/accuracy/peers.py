"""What others do, written anew from what they say in public: facts only, no code of theirs.

Each is a small scikit-learn classifier on the library's X: numbers, and pandas categoricals. The sentences
under "Assumed" are ours, where the public page leaves a thing open; each is meant in the peer's favour.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from leadscore.data.contract import Events
from leadscore.models.matrix import columns_of, to_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DAY = 86_400_000_000  # microseconds


class NaiveBayes(ClassifierMixin, BaseEstimator):
    """Naive Bayes on closed leads, as Odoo CRM describes its predictive lead scoring.

    The chance of a win is Bayes' rule over the chosen fields of a lead, each on its own: for every value of a
    field, the won and the lost leads that had it are counted, 0.1 is added to both counts so that none is
    zero, and the shares of won and of lost leads with the lead's own values are multiplied with the share of
    leads that were won.

    Stated at https://www.odoo.com/documentation/18.0/applications/sales/crm/track_leads/lead_scoring.html
    (the rule, and that fields are chosen), at
    https://www.odoo.com/forum/help-1/how-does-crm-lead-scoring-computation-work-186178 (won and lost counts
    for each value of a field) and beside the counts' declaration in odoo/odoo,
    addons/crm/models/crm_lead_scoring_frequency.py (the 0.1).

    Assumed: a field's counts add up to their own total, so that its shares are a distribution; an empty
    field and a value that was never seen say nothing; numbers, which Odoo's list of fields lacks, are cut at
    the quantiles of the training rows. Activities are not among its fields, so `fields` leaves them out.

    Parameters
    ----------
    fields : sequence of str, optional
        Columns to count; by default all.
    bins : int
        Parts of equal counts that numbers are cut into; 0 leaves numbers out.
    smoothing : float
        Added to every count.

    Examples
    --------
    >>> X = pd.DataFrame({"source": pd.Categorical(["ads", "ads", "fair", "fair"])})
    >>> NaiveBayes().fit(X, [0, 0, 0, 1]).predict_proba(X)[:, 1].round(3).tolist()
    [0.041, 0.041, 0.471, 0.471]
    """

    def __init__(
        self, *, fields: Sequence[str] | None = None, bins: int = 10, smoothing: float = 0.1
    ) -> None:
        self.fields = fields
        self.bins = bins
        self.smoothing = smoothing

    def fit(self, X: Any, y: ArrayLike) -> "NaiveBayes":
        """Count won and lost rows for each value of each field."""
        outcome = _two_classes(self, X, y)
        self.columns_ = tuple(
            column
            for column in columns_of(_framed(X))
            if (self.fields is None or column.name in self.fields)
            and (column.levels is not None or self.bins)
        )
        M = to_matrix(_framed(X), self.columns_)
        self.edges_ = [
            None if column.levels is not None else self._edges(values)
            for column, values in zip(self.columns_, M.T, strict=True)
        ]
        self.prior_ = np.log(np.bincount(outcome, minlength=2) / len(outcome))
        self.shares_ = []
        for j in range(len(self.columns_)):
            code, seen = self._codes(M[:, j], j)
            counts = np.zeros((2, int(code.max(initial=-1)) + 1))
            np.add.at(counts, (outcome[seen], code[seen]), 1)
            known = counts.sum(axis=0) > 0
            smooth = np.where(known, counts + self.smoothing, np.nan)
            # a value without a row is no value of the field: it says nothing either way
            self.shares_.append(np.nan_to_num(np.log(smooth / np.nansum(smooth, axis=1, keepdims=True))))
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Give the chances of class 0 and class 1."""
        check_is_fitted(self, "shares_")
        M = to_matrix(_framed(X), self.columns_)
        joint = np.tile(self.prior_, (len(M), 1))
        for j, shares in enumerate(self.shares_):
            code, seen = self._codes(M[:, j], j)
            seen &= code < shares.shape[1]
            joint[seen] += shares[:, code[seen]].T
        won = 1 / (1 + np.exp(np.clip(joint[:, 0] - joint[:, 1], -700, 700)))
        return np.column_stack([1 - won, won])

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the class that is more likely."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _edges(self, values: Floats) -> Floats:
        known = values[~np.isnan(values)]
        return np.unique(np.quantile(known, np.arange(1, self.bins) / self.bins)) if len(known) else known

    def _codes(self, values: Floats, j: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Give each row's value as a code, -1 where empty, and whether there is one."""
        edges, seen = self.edges_[j], ~np.isnan(values)
        code = np.full(len(values), -1, dtype=np.int64)
        code[seen] = values[seen] if edges is None else np.searchsorted(edges, values[seen], side="right")
        return code, seen


class LinearDecayPoints(ClassifierMixin, BaseEstimator):
    """Points an event that fall linearly to zero, as MadKudu documents its Likelihood to Buy score.

    An event is worth its importance (points) on its day and falls in a straight line to nothing at the end
    of its lifespan: 9 points with 90 days are 8.7 points three days later. The score is the sum over a
    lead's events. Importances are suggested from the lift: the conversion rate of those who did it over
    everybody's. Events with fewer than 10 who did it have no lift to go by and get 1 point.

    Stated at https://help.madkudu.com/docs/how-is-the-likelihood-to-buy-score-calculated (sum, importance,
    lifespan, the example), .../docs/likelihood-to-buy-event-weights (90 days at the longest, the 10 and the
    1 point), .../docs/likelihood-to-buy-insights (the lift) and
    .../docs/what-type-of-events-can-be-used-in-a-behavioral-model (what a lead did counts; what was done to
    it does not; 90 days as a rule; negative events lower the score).

    Assumed: every lifespan is 90 days; the importance is the logarithm of the lift in whole points, the
    greatest 10, below zero where those who did it convert less than others. MadKudu shows a segment in place
    of a probability; a logistic curve on the score gives one, as the library's own points have.

    X has one column an event type, as `decayed_events` makes them; tables without events have nothing that
    it could score.

    Parameters
    ----------
    most : int
        Points of the event with the greatest lift.
    fewest : int
        Rows that must have done it for the lift to count.

    Examples
    --------
    >>> X = [[0.9], [0.0], [0.0], [0.8]] * 5
    >>> LinearDecayPoints().fit(X, [1, 0, 0, 0] * 5).importance_.tolist()
    [10.0]
    """

    def __init__(self, *, most: int = 10, fewest: int = 10) -> None:
        self.most = most
        self.fewest = fewest

    def fit(self, X: Any, y: ArrayLike) -> "LinearDecayPoints":
        """Suggest each event's points from its lift, and fit the curve from score to probability."""
        outcome = _two_classes(self, X, y)
        self.columns_ = columns_of(_framed(X))
        M = np.nan_to_num(to_matrix(_framed(X), self.columns_))
        did = M > 0
        count = did.sum(axis=0)
        # half a conversion more on either side, so that a lift of nothing is not minus infinity
        rate = (did.T @ outcome + outcome.mean()) / (count + 1)
        lift = np.log(rate / outcome.mean())
        enough = count >= self.fewest
        greatest = np.abs(lift[enough]).max(initial=0.0)
        points = np.round(self.most * lift / greatest) if greatest > 0 else np.zeros(len(lift))
        self.importance_ = np.where(enough, points, 1.0)
        self.curve_ = LogisticRegression().fit(self._scaled(M), outcome)
        return self

    def score_of(self, X: Any) -> Floats:
        """Give the sum of the points that are left of each row's events."""
        check_is_fitted(self, "importance_")
        total: Floats = np.nan_to_num(to_matrix(_framed(X), self.columns_)) @ self.importance_
        return total

    def predict_proba(self, X: Any) -> Floats:
        """Give the chances of class 0 and class 1."""
        check_is_fitted(self, "importance_")
        both: Floats = self.curve_.predict_proba(
            self._scaled(np.nan_to_num(to_matrix(_framed(X), self.columns_)))
        )
        return both

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the class that is more likely."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _scaled(self, M: Floats) -> Floats:
        return (M @ self.importance_)[:, None] / self.most


def decayed_events(
    events: Events,
    lead: Ints,
    as_of: Ints,
    *,
    lifespan: float = 90.0,
    ignore: Sequence[str] = (),
) -> pd.DataFrame:
    """Add up what is left of every event of each type: 1 on its day, falling linearly to 0.

    Parameters
    ----------
    events : Events
    lead : array of n rows in the leads table
    as_of : array of n moments, UTC microseconds
        Only events before it, and known at it, count.
    lifespan : float
        Days after which an event is worth nothing.
    ignore : sequence of str
        Types that do not count.

    Returns
    -------
    DataFrame (n, types)
    """
    types = [name for name in events.types if name not in ignore]
    column = np.array([types.index(name) if name in types else -1 for name in events.types], dtype=np.int64)
    kept = np.flatnonzero(column[events.type] >= 0)
    kept = kept[np.argsort(events.lead[kept], kind="stable")]
    of, at, kind = events.lead[kept], events.at[kept], column[events.type[kept]]
    known = at if events.known_at is None else events.known_at[kept]
    # every row beside every event of its lead
    first, last = np.searchsorted(of, lead, "left"), np.searchsorted(of, lead, "right")
    row = np.repeat(np.arange(len(lead)), last - first)
    event = np.arange(len(row)) - np.repeat(np.cumsum(last - first) - last, last - first)
    moment = as_of[row]
    counts = (at[event] < moment) & (known[event] <= moment)
    row, event, moment = row[counts], event[counts], moment[counts]
    left = np.clip(1 - (moment - at[event]) / (lifespan * DAY), 0.0, None)
    sums = np.bincount(row * len(types) + kind[event], left, minlength=len(lead) * len(types))
    return pd.DataFrame(sums.reshape(len(lead), len(types)), columns=types)


def plain_lightgbm(seed: int = 0) -> Pipeline:
    """Make LightGBM as it comes, on columns with neutral names since it refuses some characters."""
    neutral = FunctionTransformer(_neutral)
    return make_pipeline(neutral, LGBMClassifier(n_jobs=1, verbosity=-1, random_state=seed))


def plain_logistic() -> Pipeline:
    """Make the usual logistic regression: medians for gaps, one-hot words, scaled numbers."""
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    return make_pipeline(FunctionTransformer(_neutral), columns, LogisticRegression(max_iter=2_000))


def _neutral(X: Any) -> pd.DataFrame:
    frame = pd.DataFrame(X)
    return frame.set_axis([f"f{j}" for j in range(frame.shape[1])], axis=1)


def _two_classes(model: Any, X: Any, y: ArrayLike) -> Ints:
    """Read the outcome as 0 and 1, and keep the two classes."""
    check_consistent_length(X, y)
    check_classification_targets(y)
    model.classes_, outcome = np.unique(column_or_1d(y), return_inverse=True)
    if len(model.classes_) != 2:
        raise ValueError(f"expected two classes; found {len(model.classes_)}; give rows of both")
    model.n_features_in_ = np.shape(X)[1]
    return outcome.astype(np.int64)


def _framed(X: Any) -> pd.DataFrame:
    """Name the columns of an array as the library does."""
    return X if isinstance(X, pd.DataFrame) else pd.DataFrame(X).rename(columns="x{}".format)
