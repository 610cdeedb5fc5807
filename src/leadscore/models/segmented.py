"""The classifier that pools segments partially: one model, which a segment moves as far as it has proof."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from leadscore.errors import DataError, explain, nearest, shown
from leadscore.models.calibration import Sigmoid, probability
from leadscore.models.estimators import Fold, LogisticScorer, ServedClassifier, inner_folds
from leadscore.models.matrix import Bools, Column, Floats
from leadscore.models.scorer import Scorer
from leadscore.models.segments import Segmented

Ints = NDArray[np.int64]


class SegmentedScorer(ServedClassifier):
    """One model for all leads, whose log-odds each segment shifts and stretches.

    The model is fitted on all rows. On its out-of-fold log-odds every level of a category then has an
    offset and a slope, drawn to 0 and 1 by normal priors (a logistic with random intercepts and slopes):
    thirty leads move little, thousands as far as they say. How wide the priors are is learned out of fold:
    the moves under each width are averaged, weighted by the likelihood of the rows held out (the pseudo
    Bayesian model averaging of Yao and others, 2018), which moved a small segment nearer to its truth than
    the best width alone. Leads without a segment, or of one never seen, are served by the model for all.

    Parameters
    ----------
    scorer : ServedClassifier, optional
        Any of the library's classifiers; a `LogisticScorer` when not given.
    column : str, optional
        The category whose levels are the segments; without one the model for all is served.
    offset_sds, slope_sds : sequence of float
        Standard deviations of the priors to weigh, in log-odds, and as a share of the slope.
    folds : int
        Parts of the validation that weighs them.
    random_state : int
        Deals the groups to the parts.

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> region = rng.choice(["North", "South"], 2000)
    >>> X = pd.DataFrame({"visits": rng.poisson(3, 2000), "region": pd.Categorical(region)})
    >>> y = rng.random(2000) < np.where(region == "North", 0.1 * X["visits"].clip(upper=9), 0.2)
    >>> scorer = SegmentedScorer(LogisticScorer(), "region").fit(X, y)
    >>> north, south = scorer.served_.slopes
    >>> bool(north > 1 > south)
    True
    """

    def __init__(
        self,
        scorer: ServedClassifier | None = None,
        column: str | None = None,
        *,
        offset_sds: Sequence[float] = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0),
        slope_sds: Sequence[float] = (0.0, 0.1, 0.3),
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.scorer = scorer
        self.column = column
        self.offset_sds = offset_sds
        self.slope_sds = slope_sds
        self.folds = folds
        self.random_state = random_state

    def _learn(
        self, M: Floats, columns: tuple[Column, ...], y: Floats, groups: ArrayLike | None
    ) -> tuple[Scorer, Sigmoid]:
        scorer = LogisticScorer() if self.scorer is None else self.scorer
        place = None if self.column is None else _place(self.column, columns)
        inner, calibration = clone(scorer)._learn(M, columns, y, groups)
        if self.column is None or place is None:
            return inner, calibration
        levels = len(columns[place].levels or ())
        segment = np.where(np.isnan(M[:, place]), levels, M[:, place]).astype(np.int64)
        folds = inner_folds(y, groups, self.folds, self.random_state)
        shift, stretch = np.zeros(levels), np.zeros(levels)
        centre = 0.0
        if folds and len(np.unique(segment)) > 1:
            unseen = np.empty(len(y))
            for train, test in folds:
                own = None if groups is None else np.asarray(groups)[train]
                served, sigmoid = clone(scorer)._learn(M[train], columns, y[train], own)
                unseen[test] = sigmoid.log_odds(served.margin(M[test]))
            centre = float(unseen.mean())
            leads = len(y) if groups is None else len(np.unique(np.asarray(groups)))
            for weight, sds in self._weighed(unseen, unseen - centre, y, segment, levels, folds, leads):
                own_shift, own_stretch = pool(unseen, unseen - centre, y, segment, levels, *sds)
                shift, stretch = shift + weight * own_shift, stretch + weight * own_stretch
        # log-odds + shift + stretch * (log-odds - centre), as a move of the margin beneath the calibration
        offsets = (shift + stretch * (calibration.intercept - centre)) / calibration.slope
        moved = Segmented(inner, self.column, tuple(offsets.tolist()), tuple((1.0 + stretch).tolist()))
        mean = float(moved.margin(M).mean()) - inner.contributions(M[:1])[0]
        return replace(moved, mean=mean), calibration

    def _weighed(
        self,
        log_odds: Floats,
        x: Floats,
        y: Floats,
        segment: Ints,
        levels: int,
        folds: list[Fold],
        leads: int,
    ) -> list[tuple[float, tuple[float, float]]]:
        """Give each pair of widths its weight; rows of one lead count as one."""
        widths = list(product(self.offset_sds, self.slope_sds))
        loss = np.zeros(len(widths))
        for i, sds in enumerate(widths):
            for train, test in folds:
                moves = pool(log_odds[train], x[train], y[train], segment[train], levels, *sds)
                eta = _moved(log_odds[test], x[test], segment[test], moves)
                loss[i] += float((np.logaddexp(0.0, eta) - y[test] * eta).sum())
        likelihood = np.exp((loss.min() - loss) * leads / len(y))
        return list(zip((likelihood / likelihood.sum()).tolist(), widths, strict=True))


def pool(
    log_odds: Floats, x: Floats, y: Floats, segment: Ints, levels: int, offset_sd: float, slope_sd: float
) -> tuple[Floats, Floats]:
    """Give the posterior mode of each segment's shift u and stretch v: logit p = log_odds + u + v * x.

    Parameters
    ----------
    log_odds : array of shape (n,)
        The model's own.
    x : array of shape (n,)
        What the stretch multiplies: the log-odds less their centre.
    y : array of shape (n,)
        1 for a win.
    segment : array of shape (n,)
        From 0 to `levels`; `levels` is no segment.
    levels : int
    offset_sd, slope_sd : float
        Standard deviations of the normal priors on u and v, whose means are 0. At 0 there is no such move.

    Returns
    -------
    shift, stretch : arrays of shape (levels,)
        A stretch is kept above -0.9, so that a higher margin is always a higher probability.

    Examples
    --------
    >>> even = np.zeros(400)
    >>> y, segment = np.repeat([1.0, 0.0, 1.0, 0.0], [150, 50, 3, 1]), np.repeat([0, 1], [200, 4])
    >>> y = np.r_[y, np.zeros(196)]
    >>> shift, _ = pool(even, even, y, np.r_[segment, np.full(196, 2)], 2, offset_sd=1.0, slope_sd=0.0)
    >>> shift.round(2).tolist()  # three in four won in both; log(3) is 1.1
    [1.07, 0.51]
    """
    moves = np.zeros((2, levels + 1))
    sds = np.array([offset_sd, slope_sd])
    moving = np.repeat((sds > 0)[:, None], levels + 1, axis=1)
    moving[:, levels] = False  # rows without a segment
    weight = np.divide(1.0, sds**2, out=np.zeros(2), where=sds > 0)[:, None]
    if not moving.any():
        return moves[0, :levels], moves[1, :levels]
    for _ in range(2):
        moves = _ascend(moves, moving, weight, log_odds, x, y, segment)
        bound = moves[1] < _LEAST
        if not bound.any():
            break
        moves[1, bound], moving[1, bound] = _LEAST, False
    return moves[0, :levels], moves[1, :levels]


_LEAST = -0.9  # of a stretch


def _ascend(
    moves: Floats, moving: Bools, weight: Floats, log_odds: Floats, x: Floats, y: Floats, segment: Ints
) -> Floats:
    """Go to the mode of all segments at once by Newton's method, halving steps that do not climb."""
    size = moves.shape[1]

    def total(values: Floats) -> Floats:
        sums: Floats = np.bincount(segment, values, size).astype(np.float64)
        return sums

    def loss(at: Floats) -> Floats:
        eta = _moved(log_odds, x, segment, at)
        losses: Floats = total(np.logaddexp(0.0, eta) - y * eta) + (weight * at**2).sum(axis=0) / 2
        return losses

    before = loss(moves)
    for _ in range(50):
        p = probability(_moved(log_odds, x, segment, moves))
        off, curve = p - y, p * (1 - p)
        g = np.where(moving, np.stack([total(off), total(off * x)]) + weight * moves, 0.0)
        h = np.where(moving, np.stack([total(curve), total(curve * x * x)]) + weight, 1.0)
        cross = np.where(moving.all(axis=0), total(curve * x), 0.0)
        step = np.stack([h[1] * g[0] - cross * g[1], h[0] * g[1] - cross * g[0]])
        step /= np.maximum(h[0] * h[1] - cross**2, 1e-300)
        for _ in range(40):
            after = loss(moves - step)
            steep = after > before
            if not steep.any():
                break
            step[:, steep] /= 2
        moves, improved, before = moves - step, before - after, after
        if improved.max() <= 1e-12:
            break
    return moves


def _moved(log_odds: Floats, x: Floats, segment: Ints, moves: tuple[Floats, Floats] | Floats) -> Floats:
    shift, stretch = (np.append(move, 0.0)[segment] for move in moves)
    moved: Floats = log_odds + shift + stretch * x
    return moved


def _place(name: str, columns: tuple[Column, ...]) -> int:
    """Find the column whose levels are the segments."""
    names = [column.name for column in columns]
    if name not in names:
        found = f"{len(names)} columns without it{nearest(name, names)}"
        raise DataError(
            explain(f"a column {shown(name)!r} for the segments", found, "name one of X's categories")
        )
    place = names.index(name)
    if columns[place].levels is None:
        do = "name a category, or cut the numbers into a few ranges"
        raise DataError(explain(f"a category in {shown(name)!r} for the segments", "numbers", do))
    return place
