"""Whether the recent weeks of a backtest resemble those before, so that the past is a guide."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadscore.models.matrix import Bools, Floats
from leadscore.policy.backtest import Backtest
from leadscore.policy.figures import brief
from leadscore.policy.policy import percent

_FEWEST: Final = 12  # weeks: among fewer no choice of a quarter of them is as rare as one in a hundred
_MOST_RECENT: Final = 13  # weeks: a quarter of a year
_LEVEL: Final = 0.01
_SHIFT, _LARGE_SHIFT = 0.1, 0.25  # of the population stability index: Siddiqi (2006)
_RATIO: Final = 1.25  # of two conversion rates or loads; nearer ones lead to much the same thresholds


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
    sent_earlier, sent_recent : float
        Leads sent a week.
    scores_differ, rates_differ, sent_differ : bool
        Whether the difference matters (an index of 0.1, a rate or number a quarter larger) and no more
        than one in a hundred random choices of as many weeks differs as much from the others.
    """

    earlier: int
    recent: int
    psi: float
    rate_earlier: float
    rate_recent: float
    sent_earlier: float
    sent_recent: float
    scores_differ: bool
    rates_differ: bool
    sent_differ: bool

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
        if self.sent_differ:
            now, then = brief(self.sent_recent), brief(self.sent_earlier)
            found.append(f"{lead} {now} leads a week would be sent, in the {self.earlier} before {then}")
        return tuple(found)


def drift(backtest: Backtest, sent: Bools, *, draws: int = 1999, seed: int = 0) -> Drift | None:
    """Compare the last quarter of the weeks, at most 13, with the weeks before.

    Weeks, not leads, are what is drawn: a campaign makes the leads of a week alike, and such ups and downs
    are no drift. A trend or a season is.

    Parameters
    ----------
    backtest : Backtest
    sent : array of shape (n,), bool
        Leads that a policy sends.
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
    >>> found = drift(Backtest(chance, np.tile(np.arange(100) < 15, 16), week), chance > 0.15)
    >>> found.scores_differ, found.rates_differ, found.sent_differ
    (True, False, True)
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
    wins, taken = (np.bincount(place[rows], minlength=len(weeks)) for rows in (backtest.y, sent))
    chosen = np.zeros((draws + 1, len(weeks)), dtype=np.int64)
    chosen[0, -recent:] = 1  # the first row is what happened
    order = np.random.default_rng(seed).random((draws, len(weeks))).argsort(axis=1)[:, :recent]
    np.put_along_axis(chosen[1:], order, 1, axis=1)
    both = [chosen, 1 - chosen]
    now, then = (side @ counts for side in both)
    psi = _psi(then, now)
    rates = [(side @ wins) / leads.sum(axis=1) for side, leads in zip(both, (now, then), strict=True)]
    loads = [(side @ taken) / side.sum(axis=1) for side in both]
    return Drift(
        earlier=len(weeks) - recent,
        recent=recent,
        psi=float(psi[0]),
        rate_earlier=float(rates[1][0]),
        rate_recent=float(rates[0][0]),
        sent_earlier=float(loads[1][0]),
        sent_recent=float(loads[0][0]),
        scores_differ=bool(psi[0] >= _SHIFT and _rare(psi)),
        rates_differ=_differ(*rates),
        sent_differ=_differ(*loads),
    )


def _psi(expected: NDArray[Any], actual: NDArray[Any]) -> Floats:
    """Sum (actual share - expected share) x log of their ratio; half a lead more a bin keeps it finite."""
    a, b = ((each + 0.5) / (each + 0.5).sum(axis=1, keepdims=True) for each in (expected, actual))
    return np.asarray(((b - a) * np.log(b / a)).sum(axis=1))


def _differ(now: Floats, then: Floats) -> bool:
    low, high = sorted((float(now[0]), float(then[0])))
    return high >= _RATIO * low and _rare(np.abs(now - then))


def _rare(values: Floats) -> bool:
    """Say whether the first value is among the largest; equal ones count against it."""
    return bool((values >= values[0] * (1 - 1e-9)).mean() <= _LEVEL)
