"""One fit: the rows that all models see, as far as they were known, and what a model says of others."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.errors import ModelError, explain, shown
from leadscore.evaluation.metrics import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What became of rows, and when: for models that learn from rows too young for a label.

    Parameters
    ----------
    days : array of shape (n,)
        Until the win; without one, until the close; of an open row, until the end of the data.
    ended : array of shape (n,)
        0: still open, 1: won, 2: closed and not won.
    seen : array of shape (n,)
        Days until the end of the data.
    horizon : float
        Days.
    """

    days: Floats
    ended: NDArray[np.int8]
    seen: Floats
    horizon: float

    def known(self, rows: Ints, since: Floats | None = None) -> tuple[dict[str, Any], Floats]:
        """Give what was known of rows, and who was won by then.

        Parameters
        ----------
        rows : array of row numbers
        since : array of days that had passed of each of them, optional
            None: as of the end of the data.

        Returns
        -------
        course : dict of days, ended, seen
        won : array
            Within the horizon, as far as it was seen.
        """
        seen = self.seen[rows] if since is None else np.minimum(since, self.seen[rows])
        shown_by_then = self.days[rows] <= seen
        days = np.minimum(self.days[rows], seen)
        ended = np.where(shown_by_then, self.ended[rows], 0).astype(np.int8)
        won = (ended == 1) & (days < self.horizon)
        return {"days": days, "ended": ended, "seen": seen}, won.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows that all models see.

    Parameters
    ----------
    X : DataFrame or array of shape (n, p)
    y : array of shape (n,)
        1 for a win, 0 for none.
    group : array of shape (n,)
        Rows of one group stay together; one a lead.
    course : Course, optional
    """

    X: pd.DataFrame | NDArray[Any]
    y: Floats
    group: NDArray[Any]
    course: Course | None = None

    def read(self, rows: Ints, without: tuple[str, ...] = ()) -> pd.DataFrame | NDArray[Any]:
        """Give some rows of X, without some of its columns."""
        if isinstance(self.X, pd.DataFrame):
            return self.X.iloc[rows].drop(columns=list(without))
        return self.X[rows]


def takes(model: Any, name: str) -> bool:
    """Whether a model's `fit` names an argument."""
    return name in inspect.signature(model.fit).parameters


def fitted(
    model: Any, rows: Rows, train: Ints, *, without: tuple[str, ...] = (), since: Floats | None = None
) -> Any:
    """Fit a model anew on some rows.

    Parameters
    ----------
    model : scikit-learn classifier
        Cloned, never changed. `groups` is given to a `fit` that names it, and so is the course.
    rows : Rows
    train : array of row numbers
    without : tuple of str
        Columns that it may not read.
    since : array, optional
        Days that had passed of each training row, for models that learn from the course.

    Returns
    -------
    The fitted clone.
    """
    from sklearn.base import clone

    fresh = clone(model)
    y, more = rows.y[train], {}
    if takes(fresh, "groups"):
        more["groups"] = rows.group[train]
    if takes(fresh, "days") and rows.course is not None:
        course, y = rows.course.known(train, since)
        more |= course
    return fresh.fit(rows.read(train, without), y.astype(np.int64), **more)


def chance(model: Any, X: pd.DataFrame | NDArray[Any], name: str) -> Floats:
    """Give the chance of a win that a fitted model sees in each row; `name` is for the error."""
    both = np.asarray(model.predict_proba(X), dtype=np.float64)
    won: Floats = both[:, list(model.classes_).index(1)]
    if not ((won >= 0) & (won <= 1)).all():
        found = f"others from {shown(name)!r}"
        raise ModelError(explain("probabilities between 0 and 1", found, "look at its predict_proba"))
    return won


def side_by_side(
    function: Callable[..., Floats], arguments: Iterable[tuple[Any, ...]], n_jobs: int
) -> Iterator[Floats]:
    """Call a function with each of many arguments, `n_jobs` at a time, and give what it returns in order."""
    from joblib import Parallel, delayed

    with warnings.catch_warnings():
        # a worker that has grown large is replaced by a fresh one: nothing is lost
        warnings.filterwarnings("ignore", "A worker stopped", UserWarning)
        calls = (delayed(function)(*each) for each in arguments)
        yield from Parallel(n_jobs=n_jobs, return_as="generator")(calls)
