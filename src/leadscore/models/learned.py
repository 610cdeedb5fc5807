"""Learns a table of integer points: few rules, each of which a person can read, type in and argue about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from leadscore.models.calibration import Sigmoid, fit_sigmoid
from leadscore.models.estimators import ServedClassifier, inner_folds
from leadscore.models.growing import Grown, Part, binned, counted, grow
from leadscore.models.half_life import HalfLife, estimate
from leadscore.models.matrix import Column, Floats
from leadscore.models.points import HIGHEST, PointRule, PointTable
from leadscore.models.ruling import rules_of, total
from leadscore.models.scorer import Scorer

_TOP: Final = 0.999  # the share of training rows whose unrounded total is at most 100
_CONTROLS: Final = 12  # terms beside the events while half-lives are estimated


class LearnedPoints(ServedClassifier):
    """A table of integer points on the scale from 0 to 100, learned from outcomes.

    Numbers get thresholds beyond which a lead earns or loses points, always in one direction; levels of a
    category go together by their chance; events earn points each, up to a cap, and fade with the half-life
    that the data make likeliest. Weights are those of a ridge logistic regression, put on the scale and
    rounded. How many rules there are is chosen by out-of-fold log loss.

    Parameters
    ----------
    columns : sequence of str, optional
        The columns that rules may read; None: all but those of `decays`.
    decays : mapping of str to mapping of float to str, optional
        For each event type the columns of its decayed counts by half-life in days (`inf`: the plain count).
        One is chosen for each, the longest where the data cannot tell; rules give points for each unit of
        it up to a cap.
    max_rules : int
    folds : int
        Parts of the validation that chooses how many rules there are.
    random_state : int
        Deals the groups to the parts.

    Attributes
    ----------
    half_lives_ : dict of str to HalfLife
    rules_ : tuple of PointRule
    exact_ : tuple of PointRule
        The same before rounding.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"visits": [0.0, 1.0, 5.0, 6.0] * 20})
    >>> LearnedPoints().fit(X, [0, 0, 1, 1] * 20).served_.rules
    (PointRule(label='visits at least 5', points=100.0, ...),)
    """

    half_lives_: dict[str, HalfLife]
    rules_: tuple[PointRule, ...]
    exact_: tuple[PointRule, ...]

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        decays: Mapping[str, Mapping[float, str]] | None = None,
        max_rules: int = 25,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.columns = columns
        self.decays = decays
        self.max_rules = max_rules
        self.folds = folds
        self.random_state = random_state

    def _learn(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> tuple[Scorer, Sigmoid]:
        # one thread: on shared cores BLAS threads wait for each other ten times as long as they work
        with threadpool_limits(1, user_api="blas"):
            parts = self._parts(M, columns, y, groups)
            out_of_fold = self._validated(parts, y, groups)
            path = grow(parts, y, self.max_rules)
        most = min(_fewest_best(out_of_fold, y) if len(out_of_fold) else len(path) - 1, len(path) - 1)
        table, self.exact_, scale, grown = _table(path[: most + 1], parts, columns, M, self.max_rules)
        self.rules_ = table.rules
        points = table.margin(M)
        if not grown.terms or not len(out_of_fold):
            return table, fit_sigmoid(points, y)
        # what held-out log-odds are worth, told of points: so many of them are one unit of log-odds
        honest = fit_sigmoid(out_of_fold[len(grown.terms)], y)
        offset = float((grown.margin(parts) - points / scale).mean())
        return table, Sigmoid(honest.slope / scale, honest.intercept + honest.slope * offset)

    def _parts(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> list[Part]:
        place = {column.name: j for j, column in enumerate(columns)}
        decays = self.decays or {}
        fading = {name for grid in decays.values() for name in grid.values()}
        names = [c.name for c in columns if c.name not in fading] if self.columns is None else self.columns
        parts: list[Part] = [binned(M[:, place[name]], place[name], columns[place[name]]) for name in names]
        self.half_lives_ = {}
        if decays:
            controls = grow(parts, y, _CONTROLS)[-1]
            beside = np.stack([np.zeros(len(y)), *(term.values(parts) for term in controls.terms)], axis=1)
            grids = {
                event: {days: np.nan_to_num(M[:, place[name]]) for days, name in grid.items()}
                for event, grid in decays.items()
            }
            self.half_lives_ = estimate(grids, beside[:, 1:], y, groups)
            for event, found in self.half_lives_.items():
                at = place[decays[event][found.days if found.tells else max(decays[event])]]
                parts.append(counted(M[:, at], at))
        return parts

    def _validated(self, parts: Sequence[Part], y: Floats, groups: ArrayLike | None) -> Floats:
        """Give each row's log-odds by models of 0, 1, 2, ... terms that have not seen it."""
        folds = inner_folds(y, groups, self.folds, self.random_state)
        margins = np.empty((self.max_rules + 1 if folds else 0, len(y)))
        for train, test in folds:
            path = grow([part.take(train) for part in parts], y[train], self.max_rules)
            there = [part.take(test) for part in parts]
            for k in range(self.max_rules + 1):
                margins[k, test] = path[min(k, len(path) - 1)].margin(there)
        return margins


def _fewest_best(margins: Floats, y: Floats) -> int:
    """Find the fewest terms that are not clearly worse than the best number of them."""
    losses = np.logaddexp(0.0, margins) - y * margins
    best = int(losses.mean(axis=1).argmin())
    for k in range(best):
        worse = losses[k] - losses[best]
        if worse.mean() <= _SLIGHT * losses[best].mean():
            return k
    return best


_SLIGHT: Final = 0.0003  # a log loss so much higher, as a share, is none


def _table(
    path: Sequence[Grown], parts: Sequence[Part], columns: tuple[Column, ...], M: Floats, most: int
) -> tuple[PointTable, tuple[PointRule, ...], float, Grown]:
    """Put the longest model that needs no more rules than allowed on the scale, rounded and unrounded.

    Also gives how many points a unit of log-odds is, and the model.
    """
    for grown in reversed(path):
        exact = rules_of(grown, parts, columns, 1.0, whole=False)
        top = float(np.quantile(total(exact, M, columns), _TOP)) if exact else 0.0
        scale = HIGHEST / top if top > 0 else 1.0
        rules = rules_of(grown, parts, columns, scale, whole=True)
        if len(rules) <= most:
            break
    unrounded = tuple(
        replace(rule, points=rule.points * scale, cap=rule.cap and rule.cap * scale) for rule in exact
    )
    return PointTable(columns, rules).with_means(M), unrounded, scale, grown
