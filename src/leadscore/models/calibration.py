"""From a margin to a probability, and from a probability to a score."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from leadscore.errors import ModelError, UsageError, explain, shown
from leadscore.models.matrix import Floats, is_finite


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """A calibration affine in log-odds: log_odds = slope * margin + intercept.

    Parameters
    ----------
    slope : float
        Above 0, so that a higher margin is always a higher probability.
    intercept : float

    Examples
    --------
    >>> float(probability(Sigmoid(slope=0.5, intercept=-1.0).log_odds(np.array([2.0])))[0])
    0.5
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (self.slope > 0 and math.isfinite(self.slope) and math.isfinite(self.intercept)):
            found = f"slope {shown(self.slope)}, intercept {shown(self.intercept)}"
            raise ModelError(explain("a finite calibration with slope above 0", found, "fit it again"))

    def log_odds(self, margin: ArrayLike) -> Floats:
        """Give the calibrated log-odds of margins."""
        return self.slope * np.asarray(margin, dtype=np.float64) + self.intercept

    def to_dict(self) -> dict[str, float]:
        """Give slope and intercept as plain values for JSON."""
        return {"slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Sigmoid":
        """Read what `to_dict` gave; anything else is a ModelError."""
        return cls(**_numbers(values, ("slope", "intercept")))


@dataclass(frozen=True, slots=True)
class Scale:
    """Log-odds as a score from 0 to 100 whose meaning survives retraining.

    Parameters
    ----------
    reference_score : float
        The score of a lead whose probability is `reference_probability`.
    reference_probability : float
        Between 0 and 1.
    points_to_double_odds : float
        How many points double the odds.

    Examples
    --------
    >>> scale = Scale()
    >>> scale.score(np.log([0.1 / 0.9, 0.2 / 0.9])).round(9).tolist()
    [50.0, 58.0]
    """

    reference_score: float = 50.0
    reference_probability: float = 0.10
    points_to_double_odds: float = 8.0

    def __post_init__(self) -> None:
        if not (
            0 <= self.reference_score <= 100
            and 0 < self.reference_probability < 1
            and 0 < self.points_to_double_odds < math.inf
        ):
            expected = (
                "a reference score in 0 to 100, a probability between 0 and 1, points above 0 per doubling"
            )
            found = f"{shown(self.reference_score)}, {shown(self.reference_probability)}, "
            found += shown(self.points_to_double_odds)
            raise UsageError(explain(expected, found, "correct the scale"))

    @property
    def per_log_odds(self) -> float:
        """Points of score in one unit of log-odds."""
        return self.points_to_double_odds / math.log(2)

    def raw(self, log_odds: ArrayLike) -> Floats:
        """Give the score before it is clipped to 0 to 100."""
        centred = np.asarray(log_odds, dtype=np.float64) - self._reference_log_odds
        return self.reference_score + self.per_log_odds * centred

    def score(self, log_odds: ArrayLike) -> Floats:
        """Give the score, within 0 to 100."""
        return np.clip(self.raw(log_odds), 0.0, 100.0)

    def log_odds(self, score: ArrayLike) -> Floats:
        """Give the log-odds that `raw` turns into this score."""
        points = np.asarray(score, dtype=np.float64) - self.reference_score
        return points / self.per_log_odds + self._reference_log_odds

    @property
    def _reference_log_odds(self) -> float:
        return math.log(self.reference_probability / (1 - self.reference_probability))

    def to_dict(self) -> dict[str, float]:
        """Give the three numbers as plain values for JSON."""
        return {
            "reference_score": self.reference_score,
            "reference_probability": self.reference_probability,
            "points_to_double_odds": self.points_to_double_odds,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scale":
        """Read what `to_dict` gave; anything else is a ModelError."""
        names = ("reference_score", "reference_probability", "points_to_double_odds")
        try:
            return cls(**_numbers(values, names))
        except UsageError as error:
            raise ModelError(str(error)) from None


def probability(log_odds: ArrayLike) -> Floats:
    """Turn log-odds into a probability, without overflow at either end.

    Examples
    --------
    >>> probability([0.0, -1000.0, 1000.0]).tolist()
    [0.5, 0.0, 1.0]
    """
    x = np.ascontiguousarray(log_odds, dtype=np.float64)
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)


def fit_sigmoid(margin: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> Sigmoid:
    """Fit the sigmoid of Platt (1999) by the Newton method of Lin, Lin and Weng (2007).

    The two targets are drawn in a little from 0 and 1, as Platt does, so that perfectly separated
    margins still have a finite answer. Where the best slope is not above 0 (margins that say nothing)
    the sigmoid is made almost flat at the share of wins.

    Parameters
    ----------
    margin : array of shape (n,)
        Margins of rows the scorer has not seen.
    y : array of shape (n,)
        1 for a win, 0 for none.
    weight : array of shape (n,), optional

    Returns
    -------
    Sigmoid

    Examples
    --------
    >>> fitted = fit_sigmoid([-1.0, -1.0, 1.0, 1.0], [0, 1, 1, 1])
    >>> fitted.slope > 0
    True
    """
    m = np.asarray(margin, dtype=np.float64)
    won = np.asarray(y) == 1
    w = np.ones(len(m)) if weight is None else np.asarray(weight, dtype=np.float64)
    wins, losses = float(w[won].sum()), float(w[~won].sum())
    target = np.where(won, (wins + 1) / (wins + 2), 1 / (losses + 2))
    centre = float(np.average(m, weights=w))
    spread = float(np.sqrt(np.average((m - centre) ** 2, weights=w)))
    base = math.log((wins + 1) / (losses + 1))
    if spread <= 1e-12 * max(1.0, abs(centre)):
        return Sigmoid(1.0, base - centre)
    slope, intercept = _newton((m - centre) / spread, target, w, base)
    if slope < _FLAT:
        slope, intercept = _FLAT, base
    return Sigmoid(slope / spread, intercept - slope * centre / spread)


def log_odds_of(p: ArrayLike) -> Floats:
    """Give the log-odds of probabilities; one nearer than 1e-12 to 0 or 1 counts as that near.

    Examples
    --------
    >>> log_odds_of([0.5, 0.0]).round(2).tolist()
    [0.0, -27.63]
    """
    held = np.clip(np.asarray(p, dtype=np.float64), _SUREST, 1 - _SUREST)
    odds: Floats = np.log(held) - np.log1p(-held)
    return odds


_SUREST = 1e-12


def fit_level(log_odds: ArrayLike, y: ArrayLike) -> float:
    """Fit what must be added to log-odds so that they promise as many wins as there are.

    That is the intercept of the logistic recalibration with slope 1, calibration in the large (Cox 1958);
    the targets are drawn in as in `fit_sigmoid`, so that there is an answer without wins too.

    Parameters
    ----------
    log_odds : array of shape (n,)
    y : array of shape (n,)
        1 for a win, 0 for none.

    Returns
    -------
    float

    Examples
    --------
    >>> round(fit_level(np.zeros(1000), np.arange(1000) < 100), 1)
    -2.2
    """
    x = np.asarray(log_odds, dtype=np.float64)
    won = np.asarray(y) == 1
    wins, losses = float(won.sum()), float((~won).sum())
    asked = wins * (wins + 1) / (wins + 2) + losses / (losses + 2)
    low, high = -60.0, 60.0
    for _ in range(80):  # the promise grows with the level: halving finds it, whatever the log-odds
        middle = (low + high) / 2
        low, high = (middle, high) if probability(x + middle).sum() < asked else (low, middle)
    return (low + high) / 2


_FLAT = 1e-3  # log-odds in one standard deviation of the margin: as good as nothing, yet monotone


def _newton(x: Floats, target: Floats, w: Floats, start: float) -> tuple[float, float]:
    """Minimise the weighted cross-entropy over (slope, intercept), halving steps that do not descend."""
    beta = np.array([0.0, start])
    loss = _cross_entropy(beta, x, target, w)
    for _ in range(100):
        p = probability(beta[0] * x + beta[1])
        off, curve = w * (p - target), w * p * (1 - p)
        gradient = np.array([float((off * x).sum()), float(off.sum())])
        cross = float((curve * x).sum())
        hessian = np.array([[float((curve * x * x).sum()), cross], [cross, float(curve.sum())]])
        step = np.linalg.solve(hessian + 1e-12 * w.sum() * np.eye(2), gradient)
        size = 1.0
        while size > 1e-10 and (new := _cross_entropy(beta - size * step, x, target, w)) > loss:
            size /= 2
        beta, improved = beta - size * step, loss - new
        loss = new
        if improved <= 1e-14 * abs(loss):
            break
    return float(beta[0]), float(beta[1])


def _cross_entropy(beta: Floats, x: Floats, target: Floats, w: Floats) -> float:
    log_odds = beta[0] * x + beta[1]
    return float((w * (np.logaddexp(0.0, log_odds) - target * log_odds)).sum())


def _numbers(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float]:
    """Take exactly these names, all finite numbers."""
    if (
        not isinstance(values, Mapping)
        or set(values) != set(names)
        or not all(map(is_finite, values.values()))
    ):
        raise ModelError(
            explain(f"the numbers {', '.join(names)}", "something else", "restore the model's files")
        )
    return {name: float(values[name]) for name in names}
