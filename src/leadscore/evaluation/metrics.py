"""How good probabilities are: nine numbers from one sorted pass, with paired bootstrap intervals."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, UsageError, explain

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = TypeVar("Key", bound=Hashable)

BINS: Final = 10
_TINY: Final = float(np.finfo(np.float64).eps)  # scikit-learn clips the log loss at the same place


class Metric(Protocol):
    """One number for outcomes `y` (0 or 1), probabilities `p` and, optionally, row weights."""

    def __call__(self, y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
        """Return the number; nan where it is not defined, as without both outcomes."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Rows from the highest probability to the lowest: sorted once for every metric and every draw."""

    rows: Ints
    y: Floats
    p: Floats
    log_losses: Floats
    squares: Floats
    ends: Ints  # the last place of each run of equal probabilities


@dataclass(frozen=True, slots=True, eq=False)
class Mass:
    """Weight cumulated down a ranking, known at the ends of ties; a tie in between counts by expectation."""

    all: Floats
    won: Floats
    expected: Floats
    log_loss: float
    squares: float

    @property
    def total(self) -> float:
        """Weight of all rows."""
        return float(self.all[-1])

    @property
    def total_won(self) -> float:
        """Weight of the won rows."""
        return float(self.won[-1])


def binary_outcome(y: ArrayLike) -> Floats:
    """Read outcomes, which must be 0 (not won) or 1 (won) in every row.

    Parameters
    ----------
    y : array of n outcomes
        Integers, floats or booleans.

    Returns
    -------
    array of n floats

    Raises
    ------
    DataError
        When a row is neither 0 nor 1, or there are no rows.

    Examples
    --------
    >>> binary_outcome([True, False])
    array([1., 0.])
    """
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    bad = np.flatnonzero(~np.isin(values, (0.0, 1.0)))
    if values.ndim != 1 or not len(values) or len(bad):
        found = f"something else in row {bad[0]}" if len(bad) else f"an array of shape {values.shape}"
        do = "map the outcome to 0 and 1 and leave out rows without one"
        raise DataError(explain("one outcome a row, 0 or 1", found, do))
    return values


def _same_length(name: str, values: ArrayLike, rows: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (rows,):
        found = f"an array of shape {array.shape}"
        raise UsageError(explain(f"one {name} for each of the {rows} outcomes", found, "pass equal lengths"))
    return array


def ranking(y: ArrayLike, p: ArrayLike) -> Ranking:
    """Sort rows by probability once, for any number of weightings.

    Parameters
    ----------
    y : array of n outcomes, 0 or 1
    p : array of n probabilities

    Returns
    -------
    Ranking

    Raises
    ------
    DataError
        When an outcome is not 0 or 1, or a probability is missing or outside [0, 1].

    Examples
    --------
    >>> ranking([0, 1, 1], [0.2, 0.9, 0.2]).ends
    array([0, 2])
    """
    outcome = binary_outcome(y)
    chance = _same_length("probability", p, len(outcome))
    bad = np.flatnonzero(~((chance >= 0) & (chance <= 1)))
    if len(bad):
        found = f"{len(bad)} rows without one, the first is row {bad[0]}"
        raise DataError(explain("probabilities between 0 and 1", found, "look at how the model predicts"))
    rows = np.argsort(-chance, kind="stable")
    y_down, p_down = outcome[rows], chance[rows]
    safe = np.clip(p_down, _TINY, 1 - _TINY)
    return Ranking(
        rows=rows.astype(np.int64),
        y=y_down,
        p=p_down,
        log_losses=-np.log(np.where(y_down == 1, safe, 1 - safe)),
        squares=(p_down - y_down) ** 2,
        ends=np.flatnonzero(np.append(p_down[1:] != p_down[:-1], True)).astype(np.int64),
    )


def mass(ranked: Ranking, weight: ArrayLike | None = None) -> Mass:
    """Cumulate row weights down a ranking.

    Parameters
    ----------
    ranked : Ranking
    weight : array of n weights, optional
        In the order of the rows given to `ranking`; one each when left out.

    Returns
    -------
    Mass

    Raises
    ------
    UsageError
        When the weights are negative or all zero.

    Examples
    --------
    >>> mass(ranking([0, 1, 1], [0.2, 0.9, 0.2])).won
    array([1., 2.])
    """
    given = np.ones(len(ranked.rows)) if weight is None else _same_length("weight", weight, len(ranked.rows))
    if not (given.min() >= 0 and 0 < given.max() < np.inf):
        found = f"weights from {given.min()} to {given.max()}"
        raise UsageError(explain("finite weights of at least 0, some above", found, "pass one weight a row"))
    w = given[ranked.rows]
    return Mass(
        all=np.cumsum(w)[ranked.ends],
        won=np.cumsum(w * ranked.y)[ranked.ends],
        expected=np.cumsum(w * ranked.p)[ranked.ends],
        log_loss=float((w * ranked.log_losses).sum()),
        squares=float((w * ranked.squares).sum()),
    )


def _within(m: Mass, values: Floats, places: Floats) -> Floats:
    """Read a cumulated quantity after so much mass; inside a tie every row counts by its expected share."""
    read: Floats = np.interp(places, np.append(0.0, m.all), np.append(0.0, values))
    return read


def _roc_auc(m: Mass) -> float:
    lost = m.all - m.won
    pairs = m.total_won * lost[-1]
    halves = np.append(m.won[0], m.won[1:] + m.won[:-1]) / 2
    return float((np.diff(lost, prepend=0.0) * halves).sum() / pairs) if pairs > 0 else np.nan


def _average_precision(m: Mass) -> float:
    if m.total_won <= 0:
        return np.nan
    precision = np.divide(m.won, m.all, out=np.zeros_like(m.won), where=m.all > 0)
    return float((np.diff(m.won, prepend=0.0) * precision).sum() / m.total_won)


def _ece(m: Mass) -> float:
    places = np.linspace(0, m.total, BINS + 1)
    gap = np.diff(_within(m, m.won, places)) - np.diff(_within(m, m.expected, places))
    return float(np.abs(gap).sum() / m.total)


def _precision_at(share: float) -> Callable[[Mass], float]:
    def precision(m: Mass) -> float:
        return float(_within(m, m.won, np.array([share * m.total]))[0] / (share * m.total))

    return precision


def _lift_at(share: float) -> Callable[[Mass], float]:
    precision = _precision_at(share)

    def lift(m: Mass) -> float:
        return precision(m) * m.total / m.total_won if m.total_won > 0 else np.nan

    return lift


_FROM_MASS: Final[Mapping[str, Callable[[Mass], float]]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": lambda m: m.log_loss / m.total,
    "brier": lambda m: m.squares / m.total,
    "ece": _ece,
    "lift_at_10": _lift_at(0.10),
    "lift_at_20": _lift_at(0.20),
    "precision_at_10": _precision_at(0.10),
    "precision_at_20": _precision_at(0.20),
}


def _metric(name: str) -> Metric:
    def measure(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
        return _FROM_MASS[name](mass(ranking(y, p), weight))

    return measure


METRICS: Final[Mapping[str, Metric]] = {name: _metric(name) for name in _FROM_MASS}
"""Name to function of (y, p, weight).

`roc_auc` counts ties half, `average_precision` is the step-wise sum over distinct probabilities, `log_loss`
is in nats: all as in scikit-learn. `ece` is the expected calibration error over 10 bins of equal weight
(Naeini, Cooper and Hauskrecht 2015). `precision_at_10` is the share won among the tenth of the weight with
the highest probabilities, and `lift_at_10` that share over the overall one. Where equal probabilities
straddle the edge of a bin or the cut of a precision, each tied row counts by its expected share under random
tie-breaking; so does a single row at a fractional cut, and a row of weight 2 counts exactly like two rows.
"""


def evaluate(ranked: Ranking, weight: ArrayLike | None = None) -> Floats:
    """Compute all metrics, in the order of `METRICS`, from a ranking that is already sorted.

    Parameters
    ----------
    ranked : Ranking
    weight : array of n weights, optional

    Returns
    -------
    array of 9 floats, nan where a metric is not defined

    Examples
    --------
    >>> values = evaluate(ranking([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3]))
    >>> round(float(dict(zip(METRICS, values))["roc_auc"]), 3)
    0.75
    """
    weighted = mass(ranked, weight)
    return np.array([measure(weighted) for measure in _FROM_MASS.values()])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What was predicted and what came of it, in bins of equal weight from the highest probability down."""

    predicted: Floats
    won: Floats
    weight: Floats


def calibration_bins(y: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> Calibration:
    """Average probabilities and outcomes in 10 bins of equal weight: the points of a reliability diagram.

    Parameters
    ----------
    y : array of n outcomes, 0 or 1
    p : array of n probabilities
    weight : array of n weights, optional

    Returns
    -------
    Calibration
        The mean gap between its two columns is the metric `ece`.

    Examples
    --------
    >>> calibration_bins([0, 1] * 5, [0.4, 0.6] * 5).won[:3]
    array([1., 1., 1.])
    """
    m = mass(ranking(y, p), weight)
    places = np.linspace(0, m.total, BINS + 1)
    share = np.diff(places)
    return Calibration(
        np.diff(_within(m, m.expected, places)) / share, np.diff(_within(m, m.won, places)) / share, share
    )


def bootstrap(
    ranked: Mapping[Key, tuple[Ranking, Ints]], group: ArrayLike, *, draws: int = 300, seed: int = 0
) -> dict[Key, Floats]:
    """Draw whole groups with replacement and compute every metric on every draw.

    The draws are the same for every ranking, so that differences between them are paired
    (Efron and Tibshirani 1993, chapter 8).

    Parameters
    ----------
    ranked : mapping of name to (Ranking, rows)
        `rows` are the places, in `group`, of the rows that the ranking was made from.
    group : array of n group codes
        Rows of one group are drawn together.
    draws : int
    seed : int

    Returns
    -------
    dict of name to array (draws, 9)
        Columns in the order of `METRICS`; nan where a draw leaves a metric undefined.

    Examples
    --------
    >>> y, rows = np.array([0, 1, 0, 1]), np.arange(4)
    >>> drawn = bootstrap({"a": (ranking(y, [0.1, 0.8, 0.4, 0.3]), rows)}, rows, draws=5)
    >>> drawn["a"].shape
    (5, 9)
    """
    code = np.unique(np.asarray(group), return_inverse=True)[1]
    groups = int(code.max()) + 1
    rng = np.random.default_rng(seed)
    out = {name: np.full((draws, len(METRICS)), np.nan) for name in ranked}
    for draw in range(draws):
        times = np.bincount(rng.integers(groups, size=groups), minlength=groups).astype(np.float64)[code]
        for name, (order, rows) in ranked.items():
            weight = times[rows]
            if weight.any():
                out[name][draw] = evaluate(order, weight)
    return out


def interval(drawn: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % percentile interval of each column, leaving out draws where it is not defined.

    Parameters
    ----------
    drawn : array (draws, m)

    Returns
    -------
    low, high : arrays of m floats, nan for a column without any defined draw

    Examples
    --------
    >>> low, high = interval(np.linspace(0, 1, 41)[:, None])
    >>> low.round(3), high.round(3)
    (array([0.025]), array([0.975]))
    """
    defined = ~np.isnan(drawn).all(axis=0)
    low, high = np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    if defined.any():
        low[defined], high[defined] = np.nanpercentile(drawn[:, defined], (2.5, 97.5), axis=0)
    return low, high
