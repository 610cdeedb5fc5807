"""Whether probabilities can be believed: their level, their spread and their bins, each with an interval."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.evaluation.metrics import (
    BINS,
    METRICS,
    Floats,
    Ints,
    Ranking,
    binary_outcome,
    calibration_bins,
    interval,
    mass,
    ranking,
)

RATIO: Final = (0.9, 1.1)
SLOPE: Final = (0.8, 1.25)
EXCESS: Final = 0.03

_Z: Final = 1.959963984540054
_LEVEL: Final = 0.05 / 3  # three looks at the same promises share one time in twenty (Bonferroni)
_WIDER: Final = 2.3939797998185104 / _Z  # the normal quantile of that level
_SURE: Final = 1e-9  # a promise of 0 or 1 has no log-odds; it is read as this far from it
_STEPS: Final = 100
_CLOSE: Final = 1e-10
_FEW: Final = (0.75, 4 / 3)  # an interval of the ratio beyond both tells little


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; nan where the data do not determine it.

    Examples
    --------
    >>> print(Estimate(0.912, 0.8, 1.0249))
    0.91 [0.80, 1.02]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not determined"
        value, low, high = (round(end, 2) + 0.0 for end in (self.value, self.low, self.high))  # no -0.00
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    def touches(self, low: float, high: float) -> bool:
        """Say whether the interval reaches into [low, high]; what is not determined does."""
        return not (self.low > high or self.high < low)

    def wider(self, times: float) -> "Estimate":
        """Give the same value with both arms of its interval so many times as long."""
        low, high = (self.value + times * (end - self.value) for end in (self.low, self.high))
        return Estimate(self.value, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How promised probabilities compare with what was seen.

    Parameters
    ----------
    rows, leads, conversions : int
        Sizes; `conversions` counts rows.
    observed, promised : float
        Rate seen, and mean probability said.
    ratio : Estimate
        Seen over promised; 1 where the level holds.
    large : Estimate
        Calibration-in-the-large: the log-odds to be added to every promise; 0 where the level holds.
    slope : Estimate
        Of the outcome on the promised log-odds: below 1 the promises are too far apart, above 1 too close.
    ece : Estimate
        Expected calibration error, as the metric; its interval is widened to hold it, since noise only ever
        makes it larger.
    chance : float
        The ECE that promises which hold exactly would show here on average.
    table : DataFrame
        Bins of equal counts from the highest promise down: `n`, `promised`, `observed`, and `low` to `high`.
    holds : bool
        False when the evidence speaks against the probabilities.
    sentence : str
        Why.
    """

    rows: int
    leads: int
    conversions: int
    observed: float
    promised: float
    ratio: Estimate
    large: Estimate
    slope: Estimate
    ece: Estimate
    chance: float
    table: pd.DataFrame
    holds: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON; what is not determined is None."""
        estimates = {name: getattr(self, name) for name in ("ratio", "large", "slope", "ece")}
        return {
            "rows": self.rows,
            "leads": self.leads,
            "conversions": self.conversions,
            "observed": self.observed,
            "promised": self.promised,
            **{name: _plain(asdict(each)) for name, each in estimates.items()},
            "ece_by_chance": self.chance,
            "table": [_plain(row) for row in self.table.to_dict("records")],
            "holds": self.holds,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class TopPromise:
    """What the highest probabilities promise, beside what was seen of them.

    Parameters
    ----------
    share : float
        Of the rows.
    promised : float
        Mean probability.
    observed : Estimate
        Rate, with its Wilson interval.
    holds : bool
        Whether the promise lies within the interval.
    sentence : str
    """

    share: float
    promised: float
    observed: Estimate
    holds: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values for JSON."""
        return asdict(self)


class _Measured(TypedDict):
    """What the verdict is read from."""

    observed: float
    promised: float
    ratio: Estimate
    slope: Estimate
    ece: Estimate


def reliability(
    y: ArrayLike, p: ArrayLike, *, group: ArrayLike | None = None, draws: int = 300, seed: int = 0
) -> Reliability:
    """Measure the calibration of probabilities on rows that their model had not seen.

    Level and spread are the two coefficients of Cox (1958): the intercept of a logistic regression of the
    outcome on the promised log-odds with the slope held at 1, and the slope of one with both free. Their
    intervals, and that of the ratio, come from sandwich variances over groups (Liang and Zeger 1986).

    Promises hold unless the evidence speaks against them beyond what matters:

    - the interval of the ratio does not reach [0.9, 1.1], or
    - the interval of the slope does not reach [0.8, 1.25], or
    - the ECE is above what it would hardly ever be if every promise held (outcomes redrawn from the promises,
      Bröcker and Smith 2007), and above its mean there by more than 0.03.

    The three share a level of 5 % (Bonferroni), so that these intervals are a little wider than the 95 %
    intervals that are reported.
    Promises that are right are then refused less often than one time in twenty, however
    few the data are; with much data, errors below a tenth are let pass. Where even an error of a quarter in
    the level could not be seen, the sentence says that the data are few.

    Parameters
    ----------
    y : array of n outcomes, 0 or 1
    p : array of n probabilities
    group : array of n lead codes, optional
        Rows of one lead; every row stands alone when left out.
    draws : int
        Of the bootstrap over groups and of the redrawn outcomes, behind the ECE.
    seed : int

    Returns
    -------
    Reliability

    Raises
    ------
    DataError
        An outcome is not 0 or 1, all are the same, or a probability is missing or outside [0, 1].
    UsageError
        Lengths differ, or there are fewer than 2 draws.

    Examples
    --------
    >>> p = np.repeat([0.1, 0.3, 0.6], 100)
    >>> y = np.concatenate([np.arange(100) < 100 * each for each in (0.1, 0.3, 0.6)])
    >>> found = reliability(y, p)
    >>> found.holds, str(found.slope)
    (True, '1.00 [0.72, 1.28]')
    >>> reliability(y, p / 2).sentence.split(";")[0]
    'does not hold: 33.3 % were seen where 16.7 % were promised, 2.00 [1.73, 2.31] times as many'
    """
    outcome = both_outcomes(y)
    ranking(outcome, p)  # refuses what are no probabilities
    if draws < 2:
        raise UsageError(explain("at least two bootstrap draws", shown(draws), "use 300"))
    chance = np.asarray(p, dtype=np.float64)
    lead = np.zeros(len(outcome), np.int64) if group is None else lead_codes(group, len(outcome))
    order = np.lexsort((lead, outcome, chance))  # so that no sum depends on the order of the rows
    outcome, chance = outcome[order], chance[order]
    lead = np.arange(len(order)) if group is None else lead[order]
    ranked = ranking(outcome, chance)
    log_odds = np.log(np.clip(chance, _SURE, 1)) - np.log(np.clip(1 - chance, _SURE, 1))
    ece = METRICS["ece"](outcome, chance)
    low, high = interval(_ece_drawn(ranked, lead, draws, seed)[:, None])
    redrawn = _ece_by_chance(ranked, lead, draws, seed)
    leads = int(lead.max()) + 1
    measured: _Measured = {
        "observed": float(outcome.mean()),
        "promised": float(chance.mean()),
        "ratio": _ratio(outcome, chance, lead),
        "slope": _slope(outcome, log_odds, lead),
        "ece": Estimate(ece, min(float(low[0]), ece), max(float(high[0]), ece)),
    }
    holds, sentence = _judge(measured, redrawn)
    return Reliability(
        rows=len(outcome),
        leads=leads,
        conversions=int(outcome.sum()),
        **measured,
        large=_large(outcome, log_odds, lead),
        chance=float(redrawn.mean()),
        table=_table(outcome, chance, leads),
        holds=holds,
        sentence=sentence,
    )


def top_promise(
    y: ArrayLike, p: ArrayLike, share: float = 0.1, *, group: ArrayLike | None = None
) -> TopPromise:
    """Compare what the highest probabilities promise with what was seen of them.

    Rows level at the cut count in equal shares. The interval is Wilson's (1927), counting a lead with several
    rows as one observation.

    Parameters
    ----------
    y : array of n outcomes, 0 or 1
    p : array of n probabilities
    share : float
        Of the rows, above 0 and up to 1.
    group : array of n lead codes, optional

    Returns
    -------
    TopPromise

    Raises
    ------
    DataError
        An outcome is not 0 or 1, or a probability is missing or outside [0, 1].
    UsageError
        The share is not above 0 and up to 1, or lengths differ.

    Examples
    --------
    >>> top_promise([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [0.6] * 5 + [0.1] * 5, share=0.5).sentence
    'the top 50 % were promised 60.0 %, and 60.0 % [23.1, 88.2] were seen: the promise holds'
    """
    if not 0 < share <= 1:
        raise UsageError(explain("a share above 0 and up to 1", shown(share), "write 0.1 for 10 %"))
    ranked = ranking(y, p)
    rows = len(ranked.rows)
    leads = rows if group is None else int(lead_codes(group, rows).max()) + 1
    m = mass(ranked)
    size = share * rows
    won, promised = (
        float(np.interp(size, np.append(0, m.all), np.append(0, each))) / size for each in (m.won, m.expected)
    )
    low, high = wilson(np.array([won]), np.array([share * leads]))
    seen = Estimate(won, float(low[0]), float(high[0]))
    holds = seen.touches(promised, promised)
    verdict = "the promise holds" if holds else "the promise does not hold"
    said = f"the top {100 * share:.3g} % were promised {100 * promised:.1f} %, and {_percent(seen)} were seen"
    return TopPromise(share, promised, seen, holds, f"{said}: {verdict}")


def wilson(rate: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Give the 95 % interval of rates by Wilson (1927), which stays within [0, 1] and works at 0 and 1.

    Parameters
    ----------
    rate : array of m rates
    n : array of m counts behind them, above 0; need not be whole

    Returns
    -------
    low, high : arrays of m floats

    Examples
    --------
    >>> low, high = wilson(np.array([0.0]), np.array([10.0]))
    >>> high.round(3)
    array([0.278])
    """
    slack = _Z**2 / n
    middle = (rate + slack / 2) / (1 + slack)
    half = _Z * np.sqrt(rate * (1 - rate) / n + slack / (4 * n)) / (1 + slack)
    return np.clip(middle - half, 0.0, rate), np.clip(middle + half, rate, 1.0)


def both_outcomes(y: ArrayLike) -> Floats:
    """Read outcomes, of which both kinds must be there.

    Raises
    ------
    DataError
        An outcome is not 0 or 1, or all are the same.

    Examples
    --------
    >>> both_outcomes([0, 1])
    array([0., 1.])
    """
    outcome = binary_outcome(y)
    if outcome.min() == outcome.max():
        found = f"{int(outcome.sum()):,} of {len(outcome):,} that converted"
        raise DataError(explain("leads that converted and leads that did not", found, "wait for both"))
    return outcome


def lead_codes(group: ArrayLike, rows: int) -> Ints:
    """Give each row the number of its lead, counted from 0 in the order of their codes.

    Raises
    ------
    UsageError
        There is not one code a row.
    DataError
        A code is missing.

    Examples
    --------
    >>> lead_codes(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    given = np.asarray(group)
    if given.shape != (rows,):
        found = f"an array of shape {given.shape}"
        raise UsageError(explain(f"one lead for each of the {rows} outcomes", found, "pass equal lengths"))
    missing = int(pd.isna(given).sum())
    if missing:
        raise DataError(explain("a lead in every row", f"{missing} rows without one", "say whose they are"))
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


def _plain(values: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): value if math.isfinite(value) else None for key, value in values.items()}


def _percent(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _by_lead(score: Floats, lead: Ints) -> Floats:
    """Add the rows of each lead up, and give the sum of the squares with the correction for few leads."""
    sums = np.stack([np.bincount(lead, weights=column) for column in np.atleast_2d(score)])
    products: Floats = sums @ sums.T * (sums.shape[1] / max(sums.shape[1] - 1, 1))
    return products


def _ratio(y: Floats, p: Floats, lead: Ints) -> Estimate:
    """Give seen over promised; the interval is symmetric on the logarithm (delta method)."""
    ratio = float(y.sum() / max(p.sum(), _SURE))
    error = math.sqrt(float(_by_lead(y - ratio * p, lead)[0, 0])) / float(y.sum())
    return Estimate(ratio, ratio * math.exp(-_Z * error), ratio * math.exp(_Z * error))


def _large(y: Floats, log_odds: Floats, lead: Ints) -> Estimate:
    """Find by bisection the shift of the log-odds with which as many are promised as were seen."""
    wanted = float(y.sum())
    low, high = -40.0, 40.0
    for _ in range(60):
        shift = (low + high) / 2
        low, high = (shift, high) if float(_logistic(log_odds + shift).sum()) < wanted else (low, shift)
    q = _logistic(log_odds + shift)
    error = math.sqrt(float(_by_lead(y - q, lead)[0, 0])) / float((q * (1 - q)).sum())
    return Estimate(shift, shift - _Z * error, shift + _Z * error)


def _slope(y: Floats, log_odds: Floats, lead: Ints) -> Estimate:
    """Fit outcome on log-odds by Newton's method; not determined where one outcome lies wholly on a side."""
    lost, won = log_odds[y == 0], log_odds[y == 1]
    if lost.max() <= won.min() or won.max() <= lost.min():
        return Estimate(math.nan, math.nan, math.nan)
    spread = float(log_odds.std())
    x = np.stack([np.ones_like(y), (log_odds - log_odds.mean()) / spread])
    beta = np.array([math.log(y.mean() / (1 - y.mean())), 0.0])
    likelihood, step = -math.inf, np.zeros(2)
    for _ in range(_STEPS):
        eta = beta @ x
        now = float((y * eta - np.logaddexp(0.0, eta)).sum())
        if now < likelihood:  # a step too far: take half of it
            step /= 2
            beta = beta - step
            continue
        q = _logistic(eta)
        inverse = np.linalg.inv((x * (q * (1 - q))) @ x.T)
        likelihood, step = now, inverse @ (x @ (y - q))
        if np.abs(step).max() < _CLOSE:
            break
        beta = beta + step
    error = math.sqrt(float((inverse @ _by_lead(x * (y - q), lead) @ inverse)[1, 1]))
    return Estimate(*((float(beta[1]) + side * _Z * error) / spread for side in (0, -1, 1)))


def _logistic(log_odds: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * log_odds))


def _ece(all_rows: NDArray[Any], gap: NDArray[Any]) -> float:
    """Give the metric `ece` from what is cumulated down a ranking: rows, and won less expected."""
    places = np.linspace(0, all_rows[-1], BINS + 1)
    read = np.interp(places, np.append(0.0, all_rows), np.append(0.0, gap))
    return float(np.abs(np.diff(read)).sum() / all_rows[-1])


def _ece_drawn(ranked: Ranking, lead: Ints, draws: int, seed: int) -> Floats:
    """Draw whole leads with replacement, and give the ECE of each draw."""
    rng = np.random.default_rng(seed)
    leads = int(lead.max()) + 1
    down, gap = lead[ranked.rows], ranked.y - ranked.p
    drawn = np.empty(draws)
    for draw in range(draws):
        times = np.bincount(rng.integers(leads, size=leads), minlength=leads)[down]
        drawn[draw] = _ece(np.cumsum(times)[ranked.ends], np.cumsum(times * gap)[ranked.ends])
    return drawn


def _ece_by_chance(ranked: Ranking, lead: Ints, draws: int, seed: int) -> Floats:
    """Redraw the outcomes as promised, one number a lead for all its rows, and give the ECE of each draw."""
    rng = np.random.default_rng([seed, 1])
    leads = int(lead.max()) + 1
    down = lead[ranked.rows]
    drawn = np.empty(draws)
    for draw in range(draws):
        gap = np.cumsum((rng.random(leads)[down] < ranked.p) - ranked.p)[ranked.ends]
        drawn[draw] = _ece(ranked.ends + 1.0, gap)
    return drawn


def _judge(found: _Measured, redrawn: Floats) -> tuple[bool, str]:
    """Say whether the promises hold: they do unless the evidence speaks against them."""
    ratio, slope, ece = found["ratio"], found["slope"], found["ece"]
    level = (
        f"{100 * found['observed']:.1f} % were seen where {100 * found['promised']:.1f} % were promised, "
        f"{ratio} times as many"
    )
    spread = f"slope {slope}"
    gap = f"ECE {ece.value:.3f} where chance alone gives {redrawn.mean():.3f}"
    against = []
    if not ratio.wider(_WIDER).touches(*RATIO):
        against.append(level)
    if not slope.wider(_WIDER).touches(*SLOPE):
        against.append(f"promises too {'far apart' if slope.value < 1 else 'close together'}, {spread}")
    if ece.value > np.quantile(redrawn, 1 - _LEVEL / 2) and ece.value - redrawn.mean() > EXCESS:
        against.append(gap)
    if against:
        return False, f"does not hold: {'; '.join(against)}"
    few = ratio.low < _FEW[0] and ratio.high > _FEW[1]
    start = "nothing speaks against it, but the data are few" if few else "holds"
    return True, f"{start}: {level}, {spread}, {gap}"


def _table(y: Floats, p: Floats, leads: int) -> pd.DataFrame:
    """Lay out the bins behind the ECE; a lead with several rows is one observation in the intervals."""
    bins = calibration_bins(y, p)
    low, high = wilson(bins.won, bins.weight * (leads / len(y)))
    columns = {"n": bins.weight, "promised": bins.predicted, "observed": bins.won, "low": low, "high": high}
    return pd.DataFrame(columns)
