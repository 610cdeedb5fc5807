"""Whether the recent weeks of a backtest resemble those before, so that the past is a guide."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadscore.models.matrix import Floats
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import percent

_FEWEST: Final = 12  # weeks: among fewer no choice of a quarter of them is as rare as one in a hundred
_MOST_RECENT: Final = 13  # weeks: a quarter of a year
_LEVEL: Final = 0.01
_SHIFT, _LARGE_SHIFT = 0.1, 0.25  # of the population stability index: Siddiqi (2006)
_RATIO: Final = 1.25  # of two conversion rates; nearer ones lead to much the same thresholds


@dataclass(frozen=True, slots=True)
class Drift:
    """How the recent weeks of a backtest differ from those before.

    Parameters
    ----------
    earlier, recent : int
        Weeks with leads.
    psi : float
        Population stability index of the recent chances against the earlier ones, in ten bins that hold
        equally many leads. By a rule of thumb, 0.1 is some shift and 0.25 a large one.
    rate_earlier, rate_recent : float
        Shares of the leads that converted.
    scores_differ, rates_differ : bool
        Whether the difference matters (an index of 0.1, a rate a quarter larger or smaller) and no more
        than one in a hundred random choices of as many weeks differs as much from the others.
    """

    earlier: int
    recent: int
    psi: float
    rate_earlier: float
    rate_recent: float
    scores_differ: bool
    rates_differ: bool

    @property
    def sentences(self) -> tuple[str, ...]:
        """What differs; empty when nothing does."""
        lead = f"the past may be a poor guide: in the last {self.recent} weeks"
        found = []
        if self.scores_differ:
            how = "far from" if self.psi >= _LARGE_SHIFT else "unlike"
            found.append(
                f"{lead} the chances were {how} those of the {self.earlier} before"
                f" (population stability index {self.psi:.2f})"
            )
        if self.rates_differ:
            now, then = percent(self.rate_recent, 2), percent(self.rate_earlier, 2)
            found.append(f"{lead} {now} of the leads converted, in the {self.earlier} before {then}")
        return tuple(found)


def drift(backtest: Backtest, *, draws: int = 1999, seed: int = 0) -> Drift | None:
    """Compare the last quarter of the weeks, at most 13, with the weeks before.

    Weeks, not leads, are what is drawn: a campaign makes the leads of a week alike, and such ups and downs
    are no drift. A trend or a season is.

    Parameters
    ----------
    backtest : Backtest
    draws : int
        Random choices of weeks.
    seed : int

    Returns
    -------
    Drift or None
        None where there is no clock, or fewer than 12 weeks have leads.

    References
    ----------
    Siddiqi, N. (2006). Credit Risk Scorecards: the index and its rule of thumb. Yurdakul, B. and Naranjo, J.
    (2020). Statistical properties of the population stability index: why the rule needs a test beside it.

    Examples
    --------
    >>> week = np.repeat(np.arange(16), 100)
    >>> chance = np.where(week < 12, 0.1, 0.3) + np.tile(np.linspace(0, 0.1, 100), 16)
    >>> found = drift(Backtest(chance, np.tile(np.arange(100) < 15, 16), week))
    >>> found.scores_differ, found.rates_differ
    (True, False)
    """
    if backtest.week is None:
        return None
    weeks, place = np.unique(backtest.week, return_inverse=True)
    if len(weeks) < _FEWEST:
        return None
    recent = min(len(weeks) // 4, _MOST_RECENT)
    edges = np.quantile(backtest.probability, np.arange(1, 10) / 10)
    used, cell = np.unique(edges.searchsorted(backtest.probability, side="right"), return_inverse=True)
    bins = len(used)
    counts = np.bincount(place * bins + cell, minlength=len(weeks) * bins).reshape(len(weeks), bins)
    wins = np.bincount(place[backtest.y], minlength=len(weeks))
    chosen = np.zeros((draws + 1, len(weeks)), dtype=np.int64)
    chosen[0, -recent:] = 1  # the first row is what happened
    order = np.random.default_rng(seed).random((draws, len(weeks))).argsort(axis=1)[:, :recent]
    np.put_along_axis(chosen[1:], order, 1, axis=1)
    table = np.column_stack([counts, wins])
    now = chosen @ table
    then = table.sum(axis=0) - now
    psi = _psi(then[:, :-1], now[:, :-1])
    rates_now, rates_then = (each[:, -1] / each[:, :-1].sum(axis=1) for each in (now, then))
    ratio = np.maximum(rates_now, rates_then) >= _RATIO * np.minimum(rates_now, rates_then)
    return Drift(
        earlier=len(weeks) - recent,
        recent=recent,
        psi=float(psi[0]),
        rate_earlier=float(rates_then[0]),
        rate_recent=float(rates_now[0]),
        scores_differ=bool(psi[0] >= _SHIFT and _rare(psi)),
        rates_differ=bool(ratio[0] and _rare(np.abs(rates_now - rates_then))),
    )


def _psi(expected: NDArray[Any], actual: NDArray[Any]) -> Floats:
    """Sum (actual share - expected share) x log of their ratio; half a lead more a bin keeps it finite."""
    a, b = ((each + 0.5) / (each + 0.5).sum(axis=1, keepdims=True) for each in (expected, actual))
    return np.asarray(((b - a) * np.log(b / a)).sum(axis=1))


def _rare(values: Floats) -> bool:
    """Say whether the first value is among the largest; equal ones count against it."""
    return bool((values >= values[0] * (1 - 1e-9)).mean() <= _LEVEL)
