"""Grows a list of terms one by one: bins of a column that count for or against, or units up to a cap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.models.calibration import probability
from leadscore.models.matrix import Column, Floats

Ints: TypeAlias = NDArray[np.int64]

_CUTS: Final = 24  # thresholds of a number that are tried
_CAPS: Final = (0.5, 0.8, 0.95)  # quantiles of the units of those that have any, tried as caps; one at least
_FEWEST: Final = (10, 0.005)  # a term concerns so many rows, or this share of them, and so many it does not
_RIDGE: Final = 2.0  # a normal prior on each log-odds: 0, give or take 0.7
_SURE: Final = 10.0  # log-odds where all rows end alike
_TRIES: Final = 3  # terms that may come in for each that is wanted: some turn in company and go again
_LEAST: Final = 2.0  # chi-square of the score test, less what chance gives, below which no term is tried
_BEST_OF: Final = 3.0  # about the chi-square that chance gives the best of a number's thresholds
_SORTED: Final = 2 / math.pi  # and, for each degree of freedom, the best cut of levels sorted by outcome


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """One column cut into bins; the last bin is that of missing values.

    Parameters
    ----------
    column : int
        Its place among the columns of X.
    code : array of shape (n,)
        Each row's bin.
    size : int
        Bins, the missing one included.
    edges : array of shape (size - 2,), optional
        For numbers: where each bin but the first begins. None: a bin is a level.
    """

    column: int
    code: Ints
    size: int
    edges: Floats | None

    def take(self, rows: Ints) -> "Binned":
        """Give the same for some of the rows."""
        return replace(self, code=self.code[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """A column of numbers that count by the unit.

    Parameters
    ----------
    column : int
    value : array of shape (n,)
        At least 0; missing values are 0.
    caps : tuple of float
        How many units at most may count, to choose from.
    """

    column: int
    value: Floats
    caps: tuple[float, ...]

    def take(self, rows: Ints) -> "Units":
        """Give the same for some of the rows."""
        return replace(self, value=self.value[rows])


Part: TypeAlias = Binned | Units


@dataclass(frozen=True, slots=True)
class Term:
    """What one weight is for: some bins of a part, or its units up to a cap."""

    part: int
    bins: tuple[int, ...] = ()
    cap: float = math.nan

    def values(self, parts: Sequence[Part]) -> Floats:
        """Give each row's value: 1 within the bins, or a share of the cap."""
        part = parts[self.part]
        if isinstance(part, Units):
            return np.minimum(part.value, self.cap) / self.cap
        among = np.zeros(part.size)
        among[list(self.bins)] = 1.0
        return among[part.code]


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """Terms and their weights in log-odds."""

    terms: tuple[Term, ...]
    weights: Floats
    intercept: float

    def margin(self, parts: Sequence[Part]) -> Floats:
        """Add up the terms' weights for each row."""
        rows = len(parts[0].code if isinstance(parts[0], Binned) else parts[0].value) if parts else 0
        margin = np.full(rows, self.intercept)
        for term, weight in zip(self.terms, self.weights.tolist(), strict=True):
            margin += weight * term.values(parts)
        return margin


def binned(x: Floats, place: int, column: Column) -> Binned:
    """Cut a column into bins: its levels, or stretches of its numbers of about equal counts.

    Parameters
    ----------
    x : array of shape (n,)
        As `to_matrix` lays the column out.
    place : int
        Its place among the columns of X.
    column : Column

    Returns
    -------
    Binned

    Examples
    --------
    >>> cut = binned(np.array([1.0, 1.0, 2.0, 3.0, np.nan]), 0, Column("visits"))
    >>> cut.edges.tolist(), cut.code.tolist()
    ([2.0, 3.0], [0, 0, 1, 2, 3])
    """
    if column.levels is not None:
        size = len(column.levels) + 1
        return Binned(place, np.where(np.isnan(x), size - 1, x).astype(np.int64), size, None)
    edges = _edges(x[~np.isnan(x)])
    code = np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x, side="right"))
    return Binned(place, code.astype(np.int64), len(edges) + 2, edges)


def counted(x: Floats, place: int) -> Units:
    """Prepare a column of numbers that count by the unit, with the caps to choose from.

    Examples
    --------
    >>> counted(np.array([0.0, 1.0, 2.0, 2.0, np.nan]), 0).caps
    (2.0,)
    """
    value = np.where(x > 0, x, 0.0)
    some = value[value > 0]
    caps = {max(1.0, round(float(np.quantile(some, q)), 2)) for q in _CAPS} if len(some) else set()
    return Units(place, value, tuple(sorted(caps)))


def _edges(present: Floats) -> Floats:
    """Choose thresholds at quantiles, each as round a number as its neighbours allow."""
    values = np.unique(present)
    if len(values) < 2:
        return np.zeros(0)
    if len(values) <= _CUTS + 1:
        return values[1:]
    cuts = np.unique(np.quantile(present, np.arange(1, _CUTS + 1) / (_CUTS + 1), method="higher"))
    gaps = np.diff(cuts, prepend=values[0], append=values[-1])
    room = np.minimum(np.where(gaps[:-1] > 0, gaps[:-1], np.inf), np.where(gaps[1:] > 0, gaps[1:], np.inf))
    step = 10.0 ** np.floor(np.log10(np.where(np.isfinite(room), room, 1.0)))
    whole = np.array_equal(values, np.round(values))
    round_cuts = [float(f"{round(c / s) * s:.12g}") for c, s in zip(cuts, step, strict=True)]
    edges = np.unique(np.ceil(round_cuts) if whole else round_cuts)
    within: Floats = edges[(edges > values[0]) & (edges <= values[-1])]
    return within


def grow(parts: Sequence[Part], y: Floats, most: int) -> tuple[Grown, ...]:
    """Add, one at a time, the term that the score test finds to tell most; refit all after each.

    Numbers are split so that the chance only rises or only falls along them; levels go together by their
    chance. A number counts in the direction that it has alone: what turns in company is left out.

    Parameters
    ----------
    parts : sequence of Part
    y : array of shape (n,)
        1 for a win.
    most : int
        Terms.

    Returns
    -------
    tuple of Grown
        With no term, with one, and so on.

    References
    ----------
    Rao's score test; C. R. Rao, Proc. Cambridge Phil. Soc. 44 (1948). Forward selection of few small
    integer weights: B. Ustun and C. Rudin, "Learning optimized risk scores", JMLR 20 (2019).
    """
    share = float(y.mean())
    if not 0 < share < 1:
        return (Grown((), np.zeros(0), math.copysign(_SURE, share - 0.5)),)
    model = Grown((), np.zeros(0), math.log(share / (1 - share)))
    path, banned = [model], set[Term]()
    facts = [_Facts.of(part, y) for part in parts]
    Z = np.zeros((len(y), 0))
    for _ in range(_TRIES * most):
        if len(path) > most:
            break
        p = probability(Z @ model.weights + model.intercept)
        term = _best(parts, facts, y - p, p * (1 - p), banned)
        if term is None:
            break
        banned.add(term)  # it comes in now, or never
        Z = np.concatenate([Z, term.values(parts)[:, None]], axis=1)
        weights, intercept = ridge_logistic(Z, y, np.append(model.weights, 0.0), model.intercept)
        model = Grown((*model.terms, term), weights, intercept)
        while (turned := _turned(model, parts, facts)) is not None:
            Z = np.delete(Z, turned, axis=1)
            terms = (*model.terms[:turned], *model.terms[turned + 1 :])
            weights = np.delete(model.weights, turned)
            model = Grown(terms, *ridge_logistic(Z, y, weights, model.intercept))
        path[len(model.terms) :] = [model]
    return tuple(path)


def ridge_logistic(
    Z: Floats, y: Floats, weights: Floats, intercept: float, ridge: float = _RIDGE
) -> tuple[Floats, float]:
    """Fit a logistic regression with a normal prior on the weights, by Newton's method from a start.

    Examples
    --------
    >>> Z, y = np.array([[0.0], [1.0]] * 8), np.array([0.0, 1.0] * 8)
    >>> weights, intercept = ridge_logistic(Z, y, np.zeros(1), 0.0, ridge=1.0)
    >>> bool(weights[0] > 1), round(float(weights[0] / 2 + intercept), 4)
    (True, 0.0)
    """
    A = np.concatenate([Z, np.ones((len(y), 1))], axis=1)
    prior = np.append(np.full(Z.shape[1], ridge), 1e-6)
    beta = np.append(weights, intercept)
    loss = _penalised(A, y, beta, prior)
    for _ in range(50):
        p = probability(A @ beta)
        gradient = A.T @ (p - y) + prior * beta
        hessian = (A * (p * (1 - p))[:, None]).T @ A + np.diag(prior)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while (new := _penalised(A, y, beta - size * step, prior)) > loss and size > 1e-6:
            size /= 2
        improved, loss = loss - new, min(new, loss)
        if improved <= 1e-8 * max(1.0, abs(loss)):
            break
        beta = beta - size * step
    return beta[:-1], float(beta[-1])


def _penalised(A: Floats, y: Floats, beta: Floats, prior: Floats) -> float:
    margin = A @ beta
    return float((np.logaddexp(0.0, margin) - y * margin).sum() + 0.5 * (prior * beta * beta).sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What of a part does not change while terms are added.

    Rows a bin; how many are enough; the sign of a number with the outcome; and the score statistic that the
    best of its terms has by chance (for sorted levels see W. Fisher, JASA 53 (1958)).
    """

    rows: Floats
    enough: float
    sign: float
    chance: float

    @classmethod
    def of(cls, part: Part, y: Floats) -> "_Facts":
        enough = max(float(_FEWEST[0]), _FEWEST[1] * len(y))
        if isinstance(part, Units):
            some = part.value > 0
            value = np.minimum(part.value, part.caps[-1]) if part.caps else part.value
            sign = float(np.sign(((value - value.mean()) * (y - y.mean())).sum()))
            return cls(np.array([float((~some).sum()), float(some.sum())]), enough, sign, 1.0)
        rows = np.bincount(part.code, minlength=part.size).astype(np.float64)
        if part.edges is None:
            return cls(rows, enough, 0.0, _SORTED * (np.count_nonzero(rows) - 1))
        place = np.where(part.code < part.size - 1, part.code, np.nan)
        along = np.nan_to_num(place - np.nanmean(place)) if rows[:-1].any() else np.zeros(len(y))
        return cls(rows, enough, float(np.sign((along * y).sum())), _BEST_OF)


def _rises(term: Term, part: Part) -> float:
    """Say of a term of a number whether a positive weight makes the chance rise (1) or fall (-1) along it."""
    if isinstance(part, Units):
        return 1.0
    if part.edges is None or term.bins == (part.size - 1,):
        return 0.0
    return 1.0 if part.size - 2 in term.bins else -1.0


def _turned(model: Grown, parts: Sequence[Part], facts: Sequence[_Facts]) -> int | None:
    """Find a number's term whose weight goes the other way than the number does alone."""
    for i, (term, weight) in enumerate(zip(model.terms, model.weights.tolist(), strict=True)):
        if _rises(term, parts[term.part]) * weight * facts[term.part].sign < 0:
            return i
    return None


def _best(
    parts: Sequence[Part],
    facts: Sequence[_Facts],
    off: Floats,
    curve: Floats,
    taken: set[Term],
) -> Term | None:
    """Find the term with the largest score statistic that is allowed."""
    best, most = None, _LEAST
    total = float(curve.sum())
    used = {term.part for term in taken}
    for j, (part, fact) in enumerate(zip(parts, facts, strict=True)):
        if isinstance(part, Units):  # one cap a column
            candidates = [] if j in used else _unit_candidates(j, part, fact, off, curve, total)
        else:
            candidates = _bin_candidates(j, part, fact, off, curve, total)
        for statistic, term in candidates:
            if statistic - fact.chance > most and term not in taken:
                best, most = term, statistic - fact.chance
    return best


def _unit_candidates(
    j: int, part: Units, fact: _Facts, off: Floats, curve: Floats, total: float
) -> list[tuple[float, Term]]:
    if fact.rows.min() < fact.enough:
        return []
    found = []
    for cap in part.caps:
        z = np.minimum(part.value, cap) / cap
        slope, middle = float((z * off).sum()), float((z * curve).sum())
        spread = float((z * z * curve).sum()) - middle * middle / total
        if slope * fact.sign > 0:
            found.append((slope * slope / (spread + _RIDGE), Term(j, cap=cap)))
    return found


def _bin_candidates(
    j: int, part: Binned, fact: _Facts, off: Floats, curve: Floats, total: float
) -> list[tuple[float, Term]]:
    """Score sets of bins: stretches from either end of a number, levels by what is left of them."""
    slope = np.bincount(part.code, off, minlength=part.size)
    weight = np.bincount(part.code, curve, minlength=part.size)
    if part.edges is None:
        seen = np.flatnonzero(fact.rows > 0)
        up = seen[np.argsort(slope[seen] / (weight[seen] + _RIDGE), kind="stable")]
        runs = [(up, 0.0), (up[::-1], 0.0)]
    else:
        along = np.arange(part.size - 1)
        runs = [(along[::-1], fact.sign), (along, -fact.sign), (np.array([part.size - 1]), 0.0)]
    found = []
    for order, sign in runs:
        g, w, rows = np.cumsum(slope[order]), np.cumsum(weight[order]), np.cumsum(fact.rows[order])
        statistic = g * g / (w - w * w / total + _RIDGE)
        allowed = (rows >= fact.enough) & (fact.rows.sum() - rows >= fact.enough) & (g * sign >= 0)
        statistic = np.where(allowed, statistic, -1.0)
        best = np.argsort(-statistic, kind="stable")[:3].tolist()  # the first may have been tried before
        found += [(float(statistic[k]), Term(j, tuple(sorted(order[: k + 1].tolist())))) for k in best]
    return found
