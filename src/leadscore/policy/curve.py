"""What every line would have meant: the curves behind a choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import UsageError, explain, shown
from leadscore.models.matrix import Floats
from leadscore.policy.backtest import Backtest
from leadscore.policy.figures import Money, bounds, shares_of, values_of
from leadscore.policy.lines import Lines, ruled, separating
from leadscore.policy.policy import Policy

_MOST: Final = 500  # lines


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """One figure of every line, with its 95 % bootstrap interval; nan where it is not defined.

    Parameters
    ----------
    value, low, high : array of shape (k,)
    """

    value: Floats
    low: Floats
    high: Floats

    def to_dict(self) -> dict[str, list[float | None]]:
        """Give the band as plain values for JSON; what is not defined is None."""
        return {
            name: [None if np.isnan(each) else float(each) for each in getattr(self, name)]
            for name in ("value", "low", "high")
        }


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What lines from the highest to the lowest would have meant.

    Parameters
    ----------
    thresholds : array of shape (k,)
        Probabilities, highest first: at most 500 of the lines that separate leads, closest at the top.
    bands : mapping of str to Band
        By figure, as in `Figure`.
    points : mapping of str to Band, or None
        The same of as many leads, those with the most points.
    leads, wins : int
        Sizes of the backtest.
    weeks : int or None
        None where there is no clock, and then a "week" in the figures is the whole backtest.
    best : float or None
        The line with the largest profit, where there is money.
    between : tuple of float, or None
        Between which lines that lies in 95 % of the draws: these leads cannot tell them apart.
    """

    thresholds: Floats
    bands: Mapping[str, Band]
    points: Mapping[str, Band] | None
    leads: int
    wins: int
    weeks: int | None
    best: float | None = None
    between: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the curve as plain values for JSON."""
        points = None if self.points is None else {name: band.to_dict() for name, band in self.points.items()}
        return {
            "thresholds": self.thresholds.tolist(),
            "bands": {name: band.to_dict() for name, band in self.bands.items()},
            "points": points,
            "leads": self.leads,
            "wins": self.wins,
            "weeks": self.weeks,
            "best": self.best,
            "between": None if self.between is None else list(self.between),
        }


def curve(
    backtest: Backtest,
    *,
    money: Money | None = None,
    base: Policy | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Curve:
    """Say what every line would have meant, with the percentiles of a bootstrap over leads.

    As in `figures_of` a draw of leads is one draw of how many fall between two lines, won or not. Between
    lines that are not drawn, points are taken to be even.

    Parameters
    ----------
    backtest : Backtest
    money : Money, optional
        For a cost and a profit among the figures.
    base : Policy, optional
        The policy whose rules come first.
    draws : int
    seed : int

    Returns
    -------
    Curve

    Raises
    ------
    UsageError
        There is no draw, or the rules decide all leads.

    Examples
    --------
    >>> found = curve(Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]), money=Money(100, 30))
    >>> found.thresholds.tolist(), found.bands["profit_per_week"].value.tolist(), found.best
    ([0.9, 0.5, 0.1], [70.0, 110.0, 80.0], 0.5)
    """
    if draws < 1:
        raise UsageError(explain("at least one bootstrap draw", shown(draws), "use 1000"))
    lines = separating(ruled(backtest, base), backtest.y)
    if not len(lines):
        found = f"none among {len(backtest.y):,}: rules decide all of them"
        raise UsageError(explain("leads whose stage their chance decides", found, "look at the rules"))
    rng = np.random.default_rng(seed)
    drawn = _drawn(lines, backtest, draws, rng)
    own = _values(drawn.volume[:, 1:], drawn.wins[:, 1:], drawn, backtest, money)
    points = None
    if backtest.points is not None:
        other = _drawn(separating(ruled(backtest, base, backtest.points), backtest.y), backtest, draws, rng)
        volume = np.repeat(drawn.volume[:1, 1:], draws + 1, axis=0)
        wins = np.stack([np.interp(volume[0], v, w) for v, w in zip(other.volume, other.wins, strict=True)])
        points = _bands(_values(volume, wins, other, backtest, money), volume[0], backtest)
    thresholds = np.array([lines.shortest(place) for place in drawn.places.tolist()])
    best, between = (None, None) if money is None else _best(thresholds, own["profit_per_week"])
    return Curve(
        thresholds=thresholds,
        bands=_bands(own, drawn.volume[0, 1:], backtest),
        points=points,
        leads=len(backtest.y),
        wins=int(backtest.y.sum()),
        weeks=backtest.weeks,
        best=best,
        between=between,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Leads and wins at or above each line, in the data (the first row) and in every draw.

    The first column is of the leads that every line takes.
    """

    places: NDArray[np.int64]
    volume: Floats
    wins: Floats
    all_wins: Floats


def _drawn(lines: Lines, backtest: Backtest, draws: int, rng: np.random.Generator) -> _Drawn:
    last, n = len(lines) - 1, len(backtest.y)
    places = np.unique(np.rint(np.linspace(0, 1, _MOST) ** 2 * last).astype(np.int64))
    wins = np.array([0, lines.none[1], *lines.wins[places], backtest.y.sum()])
    lost = np.array([0, lines.none[0], *lines.volume[places], n]) - wins
    counts = np.concatenate([np.diff(wins), np.diff(lost)])
    both = np.vstack([counts, rng.multinomial(n, counts / n, size=draws)]).astype(np.float64)
    won, other = (np.cumsum(half, axis=1) for half in np.split(both, 2, axis=1))
    return _Drawn(places, (won + other)[:, :-1], won[:, :-1], won[:, -1:])


def _values(
    volume: Floats, wins: Floats, drawn: _Drawn, backtest: Backtest, money: Money | None
) -> dict[str, Floats]:
    leads = np.full((len(volume), 1), float(len(backtest.y)))
    return values_of(volume, wins, leads, drawn.all_wins, backtest.weeks or 1, money)


def _bands(values: Mapping[str, Floats], volume: Floats, backtest: Backtest) -> dict[str, Band]:
    shares = shares_of(volume, float(len(backtest.y)), float(backtest.y.sum()))
    return {
        name: Band(drawn[0], *bounds(drawn, *shares.get(name, (np.nan, 1.0))))
        for name, drawn in values.items()
    }


def _best(thresholds: Floats, profit: Floats) -> tuple[float, tuple[float, float]]:
    """Find the line with the largest profit, and where that is in 95 % of the draws."""
    drawn = thresholds[profit.argmax(axis=1)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(drawn[0]), (float(low), float(high))
