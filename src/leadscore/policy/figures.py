"""What lines would have meant: figures of leads whose outcome is known, each with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import UsageError, explain, shown
from leadscore.evaluation.metrics import interval
from leadscore.models.matrix import Bools, Floats, is_finite
from leadscore.policy.backtest import Backtest

FIGURES: Final = (
    "volume_per_week",
    "wins_per_week",
    "wins_missed_per_week",
    "precision",
    "recall",
    "lift",
)
MONEY_FIGURES: Final = ("cost_per_week", "profit_per_week")
_Z: Final = 1.959963984540054
_TAIL: Final = 0.025
_NO_SHARE: Final = (math.nan, 1.0)
_SHARES: Final = ("precision", "recall")
_T: Final = (_Z, 12.706, 4.303, 3.182)  # of Student's t; without any degree of freedom only arrivals scatter


@dataclass(frozen=True, slots=True)
class Money:
    """What a team gains and pays, all in the same money.

    Parameters
    ----------
    value_of_win : float
        Above 0.
    cost_of_touch : float
        Of working one MQL.
    cost_of_missed_win : float
        What it costs, beyond the value that is not gained, that a lead converts without being worked.

    Raises
    ------
    UsageError
        The value is not above 0, or a cost is below 0.

    Examples
    --------
    >>> Money(value_of_win=1_000, cost_of_touch=50, cost_of_missed_win=250).line
    0.04
    """

    value_of_win: float
    cost_of_touch: float
    cost_of_missed_win: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("value_of_win", "above 0"), ("cost_of_touch", ""), ("cost_of_missed_win", "")):
            value = getattr(self, name)
            if not is_finite(value) or value < 0 or (least and value == 0):
                what = f"{name.replace('_', ' ')} {least or 'of 0 or more'}"
                raise UsageError(explain(f"a {what}", shown(value), "correct it"))

    @property
    def line(self) -> float:
        """The calibrated chance at which touching a lead begins to pay: cost / (value + missed); Elkan 2001.

        Above 1 it never pays.
        """
        return self.cost_of_touch / (self.value_of_win + self.cost_of_missed_win)

    def profit(self, volume: Floats, wins: Floats, all_wins: Floats) -> Floats:
        """Give the value of the wins, less the cost of touching every lead taken, and of the wins missed."""
        missed = all_wins - wins
        return self.value_of_win * wins - self.cost_of_touch * volume - self.cost_of_missed_win * missed


def brief(value: float, sign: str = "") -> str:
    """Write a number to three significant digits, with a sign before what is above 0 if asked ("+").

    Examples
    --------
    >>> brief(0.20471), brief(2251.0), brief(3.0, "+"), brief(-1e-12)
    ('0.205', '2,250', '+3', '0')
    """
    rounded = float(f"{value:.3g}") if abs(value) > 1e-9 else 0.0
    return f"{rounded:{sign if rounded else ''},.12g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one line, with its 95 % interval.

    Parameters
    ----------
    line : str
        "mql" or "sales_ready"; "points", as many leads as `mql` takes, those with the most points, and
        leads level at the end in equal shares; "in force" and "in force, sales_ready", the policy there
        is; or a difference of two on the same leads, as "mql - points".
    figure : str
        One of `FIGURES` or `MONEY_FIGURES`, or "load_per_week".
    value, low, high : float
        nan where it is not defined, as the precision of a line that takes no lead.
    segment : str, optional
        The level that it is about, "" for leads without one; None for all leads.
    """

    line: str
    figure: str
    value: float
    low: float
    high: float
    segment: str | None = None

    @property
    def text(self) -> str:
        """The value and its interval in few digits; empty where it is not defined.

        Examples
        --------
        >>> Figure("mql", "cost_per_week", 2251.0, 2038.0, 2449.0).text
        '2,250 [2,040, 2,450]'
        >>> Figure("mql", "precision", 0.205, 0.175, 0.236).text
        '20.5 % [17.5, 23.6]'
        """
        if math.isnan(self.value):
            return ""
        times, unit = (100, " %") if self.figure in _SHARES else (1, "")
        value, low, high = (brief(times * each) for each in (self.value, self.low, self.high))
        return f"{value}{unit} [{low}, {high}]"

    @property
    def apart(self) -> bool:
        """Whether a difference is told apart from none."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Give the figure as plain values for JSON; what is not defined is None."""
        values = asdict(self).items()
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values
        }


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Which leads a line takes: each lead's place in `share`, and what share of such a lead is taken."""

    place: NDArray[np.int8]
    share: Floats

    @property
    def volume(self) -> float:
        """How many leads that is."""
        return float(np.bincount(self.place, minlength=len(self.share)) @ self.share)


def all_of(taken: Bools) -> Taken:
    """Take each of these leads whole."""
    return Taken(taken.astype(np.int8), np.array([0.0, 1.0]))


def best_of(points: Floats, volume: int) -> Taken:
    """Take the so many leads with the most points; leads level at the end in equal shares.

    Examples
    --------
    >>> best_of(np.array([30.0, 20.0, 20.0, 10.0]), 2).share
    array([0. , 0.5, 1. ])
    """
    last = np.partition(points, len(points) - volume)[len(points) - volume]
    sure, level = points > last, points == last
    share = (volume - sure.sum()) / level.sum()
    return Taken((level + 2 * sure).astype(np.int8), np.array([0.0, share, 1.0]))


def figures_of(
    backtest: Backtest,
    taken: Mapping[str, Taken],
    *,
    differences: Sequence[tuple[str, str]] = (),
    segment: str | None = None,
    money: Money | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Figure, ...]:
    """Say what lines would have meant, with the percentiles of a bootstrap over leads.

    The bootstrap needs no lead: a draw of n leads with replacement is one draw of how many fall into each
    of a few cells (taken by which lines, of which segment, won or not), so that a million leads cost as
    much as ten. It is the same for all lines, so that differences are paired (Efron and Tibshirani 1993,
    chapters 8 and 13). Where none or all of the leads that a share is of converted, every draw says the
    same; the interval then ends where Clopper and Pearson's does.

    Parameters
    ----------
    backtest : Backtest
    taken : mapping of str to Taken
        By the name of the line.
    differences : sequence of pairs of names
        Lines to compare.
    segment : str, optional
        A category whose levels have figures of their own as well.
    money : Money, optional
        For a cost and a profit among the figures.
    draws : int
    seed : int

    Returns
    -------
    tuple of Figure
        Of all leads first.

    Examples
    --------
    >>> leads = Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    >>> figures_of(leads, {"mql": all_of(leads.probability >= 0.5)})[3]
    Figure(line='mql', figure='precision', value=0.6666666666666666, low=0.0, high=1.0, segment=None)
    """
    if draws < 1:
        raise UsageError(explain("at least one bootstrap draw", shown(draws), "use 1000"))
    level, words = (
        (np.zeros(len(backtest.y), np.int64), ("",)) if segment is None else backtest.coded(segment)
    )
    shape = (len(words), 2, *(len(line.share) for line in taken.values()))
    cell = np.ravel_multi_index(
        (level, backtest.y.astype(np.int8), *(t.place for t in taken.values())), shape
    )
    counts = np.bincount(cell, minlength=math.prod(shape))
    full = np.flatnonzero(counts)
    drawn = np.random.default_rng(seed).multinomial(len(cell), counts[full] / len(cell), size=draws)
    both = np.vstack([counts[full], drawn]).astype(np.float64)  # the first row is the backtest itself
    of_level, won, *places = np.unravel_index(full, shape)
    shares = np.column_stack([line.share[place] for line, place in zip(taken.values(), places, strict=True)])
    parts: list[tuple[str | None, Bools]] = [(None, np.ones(len(full), dtype=np.bool_))]
    if segment is not None:
        parts += [(word, of_level == at) for at, word in enumerate(words) if (of_level == at).any()]
    found: list[_Drawn] = []
    for part, cells in parts:
        leads = both[:, cells]
        wins = leads * won[cells]
        counted = _Counted(
            leads @ shares[cells],
            wins @ shares[cells],
            leads.sum(axis=1, keepdims=True),
            wins.sum(axis=1, keepdims=True),
        )
        found += _drawn(counted, tuple(taken), differences, part, backtest.weeks or 1, money)
    return _summed_up(found)


def load(backtest: Backtest, taken: Bools, weeks: int = 8) -> Figure:
    """Give the mean number of leads a week that the next weeks bring, with its 95 % prediction interval.

    The weeks to come are taken to scatter as those of the backtest did, and at least as much as independent
    arrivals would: mean +- t s sqrt(1 / weeks + 1 / past weeks), with s^2 the variance between past weeks or
    their Poisson variance if that is larger (Geisser 1993, section 1.2, for the normal case). Trends and
    seasons are not in it.

    Parameters
    ----------
    backtest : Backtest
        With weeks.
    taken : array of shape (n,), bool
        Leads that a line or policy takes.
    weeks : int
        How many weeks the mean is of.

    Returns
    -------
    Figure
        "load_per_week" of "mql".

    Raises
    ------
    UsageError
        The backtest has no weeks.

    Examples
    --------
    >>> leads = Backtest(np.full(12, 0.5), np.ones(12), week=np.repeat([1, 2, 3, 4], 3))
    >>> expected = load(leads, leads.probability > 0.1)
    >>> expected.value, round(expected.low, 2), round(expected.high, 2)
    (3.0, 0.0, 6.51)
    """
    if backtest.week is None or backtest.weeks is None:
        raise UsageError(explain("a backtest with weeks", "one without", "give the time of its leads"))
    counts = np.bincount((backtest.week - backtest.week.min())[taken], minlength=backtest.weeks)
    past, mean = len(counts), float(counts.mean())
    spread = max(float(counts.var(ddof=1)) if past > 1 else 0.0, mean + 1 / past)
    half = _t(past - 1) * math.sqrt(spread * (1 / weeks + 1 / past))
    return Figure("mql", "load_per_week", mean, max(0.0, mean - half), mean + half)


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """What lines take, and all that there are, in the data (the first row) and in every draw."""

    volume: Floats
    wins: Floats
    leads: Floats
    all_wins: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One figure in the data and in every draw; where it is a share, of how many, and in what unit."""

    line: str
    figure: str
    segment: str | None
    values: Floats
    trials: float = math.nan
    unit: float = 1.0


def _drawn(
    counted: _Counted,
    lines: Sequence[str],
    differences: Sequence[tuple[str, str]],
    segment: str | None,
    weeks: int,
    money: Money | None,
) -> list[_Drawn]:
    values = values_of(counted.volume, counted.wins, counted.leads, counted.all_wins, weeks, money)
    leads, wins = float(counted.leads[0, 0]), float(counted.all_wins[0, 0])
    shares = shares_of(counted.volume[0], leads, wins)
    found = []
    for place, line in enumerate(lines):
        for name, of_lines in values.items():
            trials, unit = shares.get(name, _NO_SHARE)
            of = float(np.broadcast_to(trials, len(lines))[place])
            found.append(_Drawn(line, name, segment, of_lines[:, place], of, unit))
    for one, other in differences:
        a, b = lines.index(one), lines.index(other)
        for name, of_lines in values.items():
            found.append(_Drawn(f"{one} - {other}", name, segment, of_lines[:, a] - of_lines[:, b]))
    return found


def _summed_up(drawn: Sequence[_Drawn]) -> tuple[Figure, ...]:
    table = np.column_stack([each.values for each in drawn])
    trials, unit = (np.array([getattr(each, name) for each in drawn]) for name in ("trials", "unit"))
    low, high = bounds(table, trials, unit)
    numbers = zip(table[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return tuple(
        Figure(each.line, each.figure, *three, segment=each.segment)
        for each, three in zip(drawn, numbers, strict=True)
    )


def bounds(table: Floats, trials: Floats | float, unit: Floats | float) -> tuple[Floats, Floats]:
    """Give the 95 % percentile interval of each column; the first row is the data, the others the draws.

    A share of none or all of so many trials, in its unit, ends where the interval of Clopper and Pearson
    does; `trials` is nan where it is no share. Draws where a figure is not defined are left out.
    """
    value, draws = table[0], table[1:]
    whole = ~np.isnan(draws).any(axis=0)
    low, high = np.empty(len(value)), np.empty(len(value))
    low[whole], high[whole] = np.percentile(draws[:, whole], (2.5, 97.5), axis=0)
    low[~whole], high[~whole] = interval(draws[:, ~whole])
    end, judged = _TAIL ** (1 / np.maximum(trials, 1.0)), np.asarray(trials) > 0
    low = np.where(judged & (value >= unit), np.minimum(low, unit * end), low)
    high = np.where(judged & (value == 0), np.maximum(high, unit * (1 - end)), high)
    return low, high


def shares_of(volume: Floats, leads: float, wins: float) -> dict[str, tuple[Floats | float, float]]:
    """Say of the figures that are shares, of how many leads, and in what unit."""
    return {"precision": (volume, 1.0), "recall": (wins, 1.0), "lift": (volume, leads / max(wins, 1.0))}


def values_of(
    volume: Floats, wins: Floats, leads: Floats, all_wins: Floats, weeks: int, money: Money | None
) -> dict[str, Floats]:
    """Give every figure of lines from what they take, by name; nan where one is not defined."""
    precision = _over(wins, volume)
    values = {
        "volume_per_week": volume / weeks,
        "wins_per_week": wins / weeks,
        "wins_missed_per_week": (all_wins - wins) / weeks,
        "precision": precision,
        "recall": _over(wins, all_wins),
        "lift": _over(precision, all_wins / leads.clip(min=1)),
    }
    if money is not None:
        profit = money.profit(volume, wins, all_wins) / weeks
        values["cost_per_week"] = money.value_of_win * values["wins_per_week"] - profit
        values["profit_per_week"] = profit
    return values


def _over(part: Floats, whole: Floats) -> Floats:
    whole = np.broadcast_to(whole, part.shape)
    shares: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares


def _t(freedom: int) -> float:
    """Give the 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5)."""
    if freedom < len(_T):
        return _T[freedom]
    z, v = _Z, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / v**power for power, term in enumerate(terms, start=1))
