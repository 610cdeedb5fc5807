"""How sure a probability is: an interval for each lead, fitted beside the model and served by two curves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, ModelError, UsageError, explain
from leadscore.models.calibration import probability
from leadscore.models.matrix import Floats, is_finite

# Harrell (2015), table 2.3: where the knots of a restricted cubic spline lie, by how many there are.
_KNOTS: Final[Mapping[int, tuple[float, ...]]] = {
    2: (0.10, 0.90),
    3: (0.10, 0.50, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.50, 0.725, 0.95),
}
_LEADS: Final = ((250, 5), (100, 4), (40, 3))  # from so many leads of the scarcer outcome: so many knots
_RIDGE: Final = 0.1  # holds the curve to the model's own log-odds where outcomes say nothing
# The served model is a further fit, on more leads than the models whose predictions are known: the standard
# errors are widened by what that was found to add in simulated worlds (benchmarks/accuracy/intervals.py).
_REFIT: Final = 1.2
_GRID: Final = 201  # places at which the curves are kept
_FARTHEST: Final = 50.0  # log-odds beyond which a probability is 0 or 1 for every purpose


@dataclass(frozen=True, eq=False)
class Interval:
    """Between which bounds the true rate of wins lies among the leads that the model scores like this one.

    Of all leads with this score, this share wins: at a level of 0.9, nine in ten such intervals hold it,
    counted over leads. A lead's own chance departs from that of the others with its score by what the model
    and the data do not know, and one outcome a lead cannot tell by how much: no interval here is for that.

    Parameters
    ----------
    level : float
        Between 0 and 1.
    log_odds : array of shape (k,)
        Where the curves are kept, rising.
    low, high : arrays of shape (k,)
        The bounds there, as log-odds, rising. Between the places they are straight, and beyond them level.

    Raises
    ------
    ModelError
        The numbers are not two rising curves, one below the other.

    Examples
    --------
    >>> interval = Interval(0.9, np.array([-2.0, 2.0]), np.array([-3.0, 1.0]), np.array([-1.0, 3.0]))
    >>> low, high = interval.bounds([0.0, 9.0])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.269, 0.731], [0.731, 1.0])
    """

    level: float
    log_odds: Floats
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        curves = (self.log_odds, self.low, self.high)
        if not (
            0 < self.level < 1
            and len(self.log_odds) > 1
            and all(curve.shape == (len(self.log_odds),) for curve in curves)
            and all(np.isfinite(curve).all() for curve in curves)
            and (np.diff(self.log_odds) > 0).all()
            and (np.diff(self.low) >= 0).all()
            and (np.diff(self.high) >= 0).all()
            and (self.low <= self.high).all()
        ):
            raise _unreadable()

    def bounds(self, log_odds: ArrayLike) -> tuple[Floats, Floats]:
        """Give the lower and the upper bound of the probability of each lead.

        A bound that would leave out the model's own probability is moved to it.

        Parameters
        ----------
        log_odds : array of shape (n,)
            What the model says, calibrated.

        Returns
        -------
        low, high : arrays of shape (n,)
            Probabilities; low <= probability(log_odds) <= high.
        """
        x = np.ascontiguousarray(log_odds, dtype=np.float64)
        said = probability(x)
        within = np.clip(x, self.log_odds[0], self.log_odds[-1])
        place = np.minimum(np.searchsorted(self.log_odds, within, side="right") - 1, len(self.low) - 2)
        share = (within - self.log_odds[place]) / np.diff(self.log_odds)[place]
        low, high = (
            probability(curve[place] + share * np.diff(curve)[place]) for curve in (self.low, self.high)
        )
        return np.minimum(low, said), np.maximum(high, said)

    def to_dict(self) -> dict[str, Any]:
        """Give level and curves as plain values for JSON."""
        curves = {name: getattr(self, name).tolist() for name in _CURVES}
        return {"level": self.level, **curves}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Interval":
        """Read what `to_dict` gave; anything else is a ModelError."""
        match values:
            case {"level": level, "log_odds": list(at), "low": list(low), "high": list(high), **rest}:
                if not rest and all(map(is_finite, (level, *at, *low, *high))):
                    return cls(float(level), *(np.array(curve, np.float64) for curve in (at, low, high)))
        raise _unreadable()


_CURVES: Final = ("log_odds", "low", "high")


def fit_interval(log_odds: ArrayLike, y: ArrayLike, group: ArrayLike, *, level: float = 0.9) -> Interval:
    """Fit the interval on what a model said of leads that it had not seen.

    A restricted cubic spline of the log-odds, with the more knots the more wins there are (Harrell 2015), is
    fitted by logistic regression: a flexible calibration curve (Van Calster et al. 2016). The interval is the
    curve's by standard errors that allow for several rows a lead (Liang and Zeger 1986) and are never below
    those of rows that stand alone, times 1.2, because the served model is fitted once more. Both bounds are
    sorted, which makes them rise with the score and only ever brings them nearer to a rate that rises
    (Chernozhukov, Fernandez-Val and Galichon 2009).

    Parameters
    ----------
    log_odds : array of shape (n,)
        Out-of-fold predictions, calibrated as those that will be served.
    y : array of shape (n,)
        1 for a win, 0 for none.
    group : array of shape (n,)
        Rows of one group are of one lead.
    level : float
        Of the interval.

    Returns
    -------
    Interval

    Raises
    ------
    UsageError
        The lengths differ, the level is not between 0 and 1, or a prediction is not finite.
    DataError
        Wins and others in fewer than two leads each: nothing is known of either.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> said = rng.normal(-1, 1, 5_000)
    >>> won = rng.random(5_000) < probability(said)
    >>> low, high = fit_interval(said, won, np.arange(5_000)).bounds([0.0])
    >>> bool(low[0] < 0.5 < high[0]), bool(high[0] - low[0] < 0.1)
    (True, True)
    """
    x, won, lead = _checked(log_odds, y, group, level)
    scarcer = min(len(np.unique(lead[won == outcome])) for outcome in (0, 1))
    if scarcer < 2:
        found = f"{scarcer} of one kind"
        raise DataError(explain("wins and others in 2 leads each", found, "bring more known outcomes"))
    knots = _knots(x, won, next((knots for leads, knots in _LEADS if scarcer >= leads), 2))
    basis = _spline(x, knots)
    beta, hessian = _newton(x, won, basis)
    covariance = np.linalg.inv(hessian)
    score = basis * (won - probability(x + basis @ beta))[:, None]
    per_lead = np.stack([np.bincount(lead, part) for part in score.T], axis=1)
    leads = len(per_lead)
    robust = covariance @ (per_lead.T @ per_lead) @ covariance * (leads / (leads - 1))

    at = np.linspace(x.min(), max(x.max(), x.min() + 1e-6), _GRID)
    curves = _spline(at, knots)
    variance = np.maximum(*((curves @ matrix * curves).sum(axis=1) for matrix in (covariance, robust)))
    reach = NormalDist().inv_cdf((1 + level) / 2) * _REFIT * np.sqrt(variance)
    middle = at + curves @ beta
    return Interval(level, at, np.sort(middle - reach), np.sort(middle + reach))


def _checked(
    log_odds: ArrayLike, y: ArrayLike, group: ArrayLike, level: float
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    x, won, lead = np.asarray(log_odds, np.float64), np.asarray(y, np.float64), np.asarray(group)
    if not 0 < level < 1:
        raise UsageError(explain("a level between 0 and 1", f"{level:g}", "give a share, such as 0.9"))
    if not (x.ndim == 1 and x.shape == won.shape == lead.shape):
        found = f"{x.shape}, {won.shape} and {lead.shape}"
        raise UsageError(explain("as many predictions as outcomes and groups", found, "pass equal lengths"))
    if not (np.isfinite(x).all() and np.isin(won, (0, 1)).all()):
        found = "others"
        raise UsageError(explain("finite log-odds and outcomes of 0 or 1", found, "leave those rows out"))
    return np.clip(x, -_FARTHEST, _FARTHEST), won, np.unique(lead, return_inverse=True)[1]


def _knots(x: Floats, won: Floats, count: int) -> Floats:
    """Place knots where wins and others, each as a whole of equal weight, have their quantiles."""
    weight = np.where(won == 1, 0.5 / won.sum(), 0.5 / (1 - won).sum())
    order = np.argsort(x, kind="stable")
    mass = np.cumsum(weight[order])
    places = np.unique(x[order[np.searchsorted(mass, np.array(_KNOTS[count]) * mass[-1])]])
    return places if len(places) > 1 else np.array([places[0] - 0.5, places[0] + 0.5])


def _spline(x: Floats, knots: Floats) -> Floats:
    """Lay out a cubic spline that is straight beyond the outer knots: 1, a line, and bends."""
    u, t = ((values - knots[0]) / (knots[-1] - knots[0]) for values in (x, knots))
    cube = [np.maximum(u - knot, 0.0) ** 3 for knot in t]
    columns = [np.ones_like(u), u]
    for j in range(len(t) - 2):
        first, last = (t[-1] - t[j]) / (t[-1] - t[-2]), (t[-2] - t[j]) / (t[-1] - t[-2])
        columns.append(cube[j] - cube[-2] * first + cube[-1] * last)
    return np.stack(columns, axis=1)


def _newton(x: Floats, won: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """Fit how far the true log-odds depart from x; give the coefficients and the information on them."""
    beta: Floats = np.zeros(basis.shape[1])
    step, loss = beta, math.inf
    for _ in range(100):
        said = x + basis @ beta
        new = float((np.logaddexp(0.0, said) - won * said).sum() + _RIDGE / 2 * (beta @ beta))
        if new > loss:
            step = step / 2
            beta = beta - step
            continue
        p = probability(said)
        hessian = (basis * (p * (1 - p))[:, None]).T @ basis + _RIDGE * np.eye(len(beta))
        if loss - new <= 1e-12 * abs(new):
            break
        loss = new
        step = np.asarray(np.linalg.solve(hessian, basis.T @ (won - p) - _RIDGE * beta), np.float64)
        beta = beta + step
    return beta, hessian


def _unreadable() -> ModelError:
    expected = "a level and two rising curves of an interval"
    return ModelError(explain(expected, "something else", "restore the model's files"))
