"""Estimates how fast events lose their worth: the profile likelihood over half-lives, with an interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from leadscore.models.growing import ridge_logistic
from leadscore.models.matrix import Floats

_DROP: Final = 1.92  # half of chi-square's 95 % quantile with one degree of freedom
_CAP: Final = 0.95  # quantile of the counts of those that have any, above which more do not count
_SWEEPS: Final = 2
_COARSE: Final = 4  # every so manieth half-life is tried first
_HARDLY: Final = 1.0  # log-likelihood that one of these must gain for the others to be worth a try


@dataclass(frozen=True, slots=True)
class HalfLife:
    """After how many days an event is worth half, and what the data say of it.

    Parameters
    ----------
    days : float
        The likeliest on the grid; `inf`: it does not fade.
    low, high : float
        95 % interval; the ends of the grid where it is open.
    gain : float
        Log-likelihood over a model without this event.
    tells : bool
        Whether the gain is more than chance gives; without it the half-life means nothing.
    """

    days: float
    low: float
    high: float
    gain: float
    tells: bool

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values for JSON; None where it does not fade."""
        named = {"days": self.days, "low": self.low, "high": self.high}
        finite = {name: value if math.isfinite(value) else None for name, value in named.items()}
        return {**finite, "gain": self.gain, "tells": self.tells}


def estimate(
    decayed: Mapping[str, Mapping[float, Floats]], beside: Floats, y: Floats, groups: ArrayLike | None = None
) -> dict[str, HalfLife]:
    """Estimate the half-life of each event type, all others and what stands beside them held in the model.

    For each half-life of the grid a logistic regression is fitted on the decayed counts (up to a cap), and
    its likelihood is compared with the best: the interval holds the half-lives whose log-likelihood is
    at most 1.92 lower. Rows of one group are not independent: the drop is widened by how much more their
    scores vary together than apart.

    Parameters
    ----------
    decayed : mapping of event type to mapping of days to array of shape (n,)
        Decayed counts on a grid of half-lives; `inf` for the plain count.
    beside : array of shape (n, q)
        What else tells the chance.
    y : array of shape (n,)
        1 for a win.
    groups : array of shape (n,), optional

    Returns
    -------
    dict of str to HalfLife

    References
    ----------
    Profile likelihood intervals: D. Venzon and S. Moolgavkar, Applied Statistics 37 (1988). Likelihoods of
    clustered rows: R. Chandler and S. Bate, Biometrika 94 (2007).

    Examples
    --------
    >>> from leadscore.models.calibration import probability
    >>> rng = np.random.default_rng(0)
    >>> age = rng.uniform(0, 60, (4000, 3))
    >>> counts = {days: (0.5 ** (age / days)).sum(axis=1) for days in (2.0, 4.0, 8.0, 16.0, 32.0)}
    >>> y = (rng.random(4000) < probability(3 * counts[8.0] - 3)).astype(float)
    >>> found = estimate({"visit": counts}, np.zeros((4000, 0)), y)["visit"]
    >>> found.days, found.low >= 4, found.high <= 16
    (8.0, True, True)
    """
    code = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    capped = {event: {days: _capped(x) for days, x in grid.items()} for event, grid in decayed.items()}
    chosen = {event: max(grid) for event, grid in capped.items()}
    found: dict[str, HalfLife] = {}
    for _ in range(_SWEEPS):
        before = dict(chosen)
        for event, grid in capped.items():
            others = [capped[other][chosen[other]] for other in capped if other != event]
            found[event] = _profile(grid, _beside(beside, others), y, code)
            chosen[event] = found[event].days if found[event].tells else max(grid)
        if chosen == before:
            break
    return found


def _capped(x: Floats) -> Floats:
    some = x[x > 0]
    cap = float(np.quantile(some, _CAP)) if len(some) else 1.0
    return np.minimum(x, cap) / cap


def _beside(beside: Floats, others: Sequence[Floats]) -> Floats:
    return np.concatenate([beside, *(x[:, None] for x in others)], axis=1)


def _profile(grid: Mapping[float, Floats], beside: Floats, y: Floats, code: Any) -> HalfLife:
    days = sorted(grid)
    weights, intercept = ridge_logistic(beside, y, np.zeros(beside.shape[1]), 0.0)
    without = _log_likelihood(beside, y, weights, intercept)
    Z = np.concatenate([beside, grid[days[0]][:, None]], axis=1)
    weights = np.append(weights, 0.0)
    fitted: dict[float, Floats] = {}
    for d in sorted(days, key=lambda own: (days.index(own) % _COARSE != 0, own)):
        if len(fitted) == -(-len(days) // _COARSE):
            most = max(fitted, key=lambda own: float(fitted[own].sum()))
            gain = float((fitted[most] - without).sum())
            if gain < _HARDLY:
                return HalfLife(most, days[0], days[-1], gain, tells=False)
        Z[:, -1] = grid[d]
        weights, intercept = ridge_logistic(Z, y, weights, intercept)
        fitted[d] = _log_likelihood(Z, y, weights, intercept)
    each = [fitted[d] for d in days]
    total = np.array([rows.sum() for rows in each])
    best = int(total.argmax())
    gain = float(total[best] - without.sum())
    drop = _DROP * _together(each[max(best - 1, 0)], each[min(best + 1, len(each) - 1)], code)
    low, high = _crossings(np.array(days), total, best, float(total[best]) - drop)
    return HalfLife(days[best], low, high, gain, gain > drop)


def _log_likelihood(Z: Floats, y: Floats, weights: Floats, intercept: float) -> Floats:
    margin = Z @ weights + intercept
    p: Floats = y * margin - np.logaddexp(0.0, margin)
    return p


def _together(left: Floats, right: Floats, code: Any) -> float:
    """Say how much more the rows' scores for the half-life vary by group than one by one; at least 1."""
    score = right - left
    score = score - score.mean()
    apart = float((score * score).sum())
    together = float((np.bincount(code, score) ** 2).sum())
    return max(1.0, together / apart) if apart > 0 else 1.0


def _crossings(days: Floats, total: Floats, best: int, floor: float) -> tuple[float, float]:
    """Find where the profile falls below the floor on either side, between points of the grid if need be."""

    def crossing(path: range) -> float:
        inside = best
        for k in path:
            if total[k] < floor:
                if not math.isfinite(days[max(k, inside)]):
                    return float(days[min(k, inside)])
                part = (total[inside] - floor) / (total[inside] - total[k])
                logs = np.log(days[[inside, k]])
                return float(np.exp(logs[0] + part * (logs[1] - logs[0])))
            inside = k
        return float(days[inside])

    return crossing(range(best - 1, -1, -1)), crossing(range(best + 1, len(days)))
