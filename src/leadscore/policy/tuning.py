"""Thresholds from evidence: what a line would have cost and brought on leads whose outcome is known.

All functions take one row a lead: mature leads, scored by a model that had not seen them. All choose
`mql` by the rule they are named after, and `sales_ready` as the line that the best `sales_share` of
those MQLs reach. Leads with the same probability are never separated, so a line takes all of them or
none. A line is given with as few decimals as still separate the same leads.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import UsageError, explain, shown
from leadscore.models.matrix import Bools, Floats
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import percent

FIGURES: Final = (
    "volume_per_week",
    "wins_per_week",
    "wins_missed_per_week",
    "precision",
    "recall",
    "lift",
    "profit_per_week",
)
_ENOUGH: Final = 30  # a precision on fewer leads than this is mostly luck


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one line, with its 95 % bootstrap interval.

    Parameters
    ----------
    line : {"mql", "sales_ready", "points", "mql - points"}
        `points` takes as many leads as `mql`, those with the most points, and leads that are level at
        the end in equal shares; `mql - points` is the difference on the same leads.
    figure : str
        One of `FIGURES`.
    value, low, high : float
    """

    line: str
    figure: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """Two thresholds, the rule that chose them, and what they would have meant.

    Parameters
    ----------
    mql, sales_ready : float
        Probabilities.
    rule : str
        How `mql` was chosen, in words.
    leads, wins : int
        Sizes of the backtest.
    weeks : int or None
        How many weeks it spans; None where there is no clock, and then a "week" in the figures is the
        whole backtest.
    busiest_week : int or None
        MQLs in the fullest of these weeks.
    figures : tuple of Figure
        The interval is over leads, with the thresholds held where they are.
    verdict : str
        How the line compares with the points at the same capacity; empty where no points were given.
    """

    mql: float
    sales_ready: float
    rule: str
    leads: int
    wins: int
    weeks: int | None
    busiest_week: int | None
    figures: tuple[Figure, ...]
    verdict: str = ""

    def figure(self, line: str, figure: str) -> Figure:
        """Look one figure up; a KeyError where the tuning does not have it."""
        for each in self.figures:
            if (each.line, each.figure) == (line, figure):
                return each
        raise KeyError((line, figure))

    def to_dict(self) -> dict[str, Any]:
        """Give the tuning as plain values for JSON."""
        return asdict(self) | {"figures": [asdict(each) for each in self.figures]}


class Options(TypedDict, total=False):
    """What every way of choosing a line passes on to `tuned`."""

    sales_share: float
    draws: int
    seed: int


class MoneyOptions(Options, total=False):
    """The same, for a profit among the figures."""

    value_of_win: float | None
    cost_of_touch: float | None


def by_capacity(backtest: Backtest, per_week: float, **options: Unpack[MoneyOptions]) -> Tuning:
    """Choose the lowest line that sends no more than so many leads a week, on average.

    Parameters
    ----------
    backtest : Backtest
        Where it has no weeks, the capacity is for leads as many as these.
    per_week : float
        Leads that the team can work in a week.
    **options
        `sales_share`, `value_of_win`, `cost_of_touch`, `draws`, `seed`: see `tuned`.

    Returns
    -------
    Tuning

    Raises
    ------
    UsageError
        The capacity is 0, more than all leads, or too small for the leads that are level at the top.

    Examples
    --------
    >>> leads = Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], week=[1, 1, 2, 2])
    >>> by_capacity(leads, per_week=1).mql     # the two leads at 0.5 cannot be separated
    0.9
    """
    weeks = backtest.weeks or 1
    n = len(backtest.y)
    if not 0 < per_week < n / weeks:
        expected = f"a capacity above 0 and below the {n / weeks:,.6g} leads there are{_a_week(backtest)}"
        raise UsageError(explain(expected, shown(per_week), "choose one in between"))
    line = _line_for(backtest, per_week * weeks, "capacity")
    return tuned(backtest, line, f"at most {per_week:,.6g} MQLs{_a_week(backtest)}", **options)


def by_share(backtest: Backtest, share: float, **options: Unpack[MoneyOptions]) -> Tuning:
    """Choose the lowest line that no more than this share of the leads reach; options as in `tuned`.

    Raises
    ------
    UsageError
        The share is not between 0 and 1, or too small for the leads that are level at the top.

    Examples
    --------
    >>> by_share(Backtest([0.9, 0.5, 0.3, 0.1], [1, 1, 0, 0]), 0.5).mql
    0.5
    """
    if not 0 < share < 1:
        raise UsageError(explain("a share between 0 and 1", shown(share), "write 0.2 for 20 %"))
    line = _line_for(backtest, share * len(backtest.y), "share")
    return tuned(backtest, line, f"at most {percent(share)} of the leads", **options)


def by_precision(backtest: Backtest, floor: float, **options: Unpack[MoneyOptions]) -> Tuning:
    """Choose the lowest line at which at least this share of the MQLs converted; options as in `tuned`.

    Lines that fewer than 30 leads reach are not considered: their precision is mostly luck.

    Raises
    ------
    UsageError
        The floor is no share, or no line reaches it: the message names the best that one does.

    Examples
    --------
    >>> leads = Backtest(np.repeat([0.8, 0.2], 50), np.repeat([1, 0, 1, 0], [40, 10, 10, 40]))
    >>> by_precision(leads, 0.5).mql, by_precision(leads, 0.6).mql
    (0.2, 0.8)
    """
    if not 0 < floor <= 1:
        raise UsageError(explain("a precision above 0 and up to 1", shown(floor), "write 0.3 for 30 %"))
    lines, volume, wins = _curve(backtest.probability, backtest.y)
    precision = wins / volume
    judged = volume >= min(_ENOUGH, len(backtest.y))
    reached = np.flatnonzero(judged & (precision >= floor))
    if not len(reached):
        best = int(np.argmax(np.where(judged, precision, -1.0)))
        found = f"at best {percent(precision[best])}, at the line of {percent(lines[best])}"
        raise UsageError(explain(f"a precision of {percent(floor)}", found, "ask for no more than that"))
    return tuned(
        backtest, _line(lines, int(reached[-1])), f"at least {percent(floor)} of MQLs convert", **options
    )


def by_value(
    backtest: Backtest, value_of_win: float, cost_of_touch: float, **options: Unpack[Options]
) -> Tuning:
    """Choose the line with the largest profit: value of the wins, less the cost of touching every MQL.

    For calibrated probabilities that is where the chance equals cost / value (Elkan, 2001).

    Parameters
    ----------
    backtest : Backtest
    value_of_win, cost_of_touch : float
        In the same money.
    **options
        `sales_share`, `draws`, `seed`: see `tuned`.

    Returns
    -------
    Tuning

    Raises
    ------
    UsageError
        The value is not above 0, the cost is below 0, or no line pays.

    Examples
    --------
    >>> leads = Backtest([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    >>> by_value(leads, value_of_win=100, cost_of_touch=30).mql
    0.5
    """
    if not (0 < value_of_win < math.inf and 0 <= cost_of_touch < math.inf):
        found = f"value {shown(value_of_win)}, cost {shown(cost_of_touch)}"
        raise UsageError(explain("a value above 0 and a cost of 0 or more", found, "correct them"))
    lines, volume, wins = _curve(backtest.probability, backtest.y)
    profit = value_of_win * wins - cost_of_touch * volume
    best = int(np.argmax(profit))
    if profit[best] <= 0:
        found = f"at best {profit[best]:,.6g}, at the line of {percent(lines[best])}"
        raise UsageError(
            explain("a line that pays", found, "check the value of a win and the cost of a touch")
        )
    rule = f"the largest profit at {value_of_win:,.6g} a win and {cost_of_touch:,.6g} a touch"
    money: MoneyOptions = {**options, "value_of_win": value_of_win, "cost_of_touch": cost_of_touch}
    return tuned(backtest, _line(lines, best), rule, **money)


def tuned(
    backtest: Backtest,
    mql: float,
    rule: str = "the line given",
    *,
    sales_share: float = 0.25,
    value_of_win: float | None = None,
    cost_of_touch: float | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Tuning:
    """Say what a line would have meant; the other functions of this module choose it first.

    The bootstrap over leads needs no lead: a draw of n leads with replacement is one draw of how many
    fall into each of a few cells (above which lines, won or not), so a million leads cost as much as ten.

    Parameters
    ----------
    backtest : Backtest
    mql : float
        Probability.
    rule : str
        How it was chosen.
    sales_share : float
        The share of the MQLs that go to sales at once; leads level with the last of them are left out,
        unless they are the best there are.
    value_of_win, cost_of_touch : float, optional
        Give both for a profit among the figures.
    draws : int
        Of the bootstrap.
    seed : int

    Returns
    -------
    Tuning

    Raises
    ------
    UsageError
        An option cannot be meant, or no lead reaches the line.
    """
    if not 0 < sales_share <= 1:
        raise UsageError(explain("a share of the MQLs above 0 and up to 1", shown(sales_share), "write 0.25"))
    if draws < 1:
        raise UsageError(explain("at least one bootstrap draw", shown(draws), "use 1000"))
    p, points = backtest.probability, backtest.points
    above = p >= mql
    if not above.any():
        found = f"none; the highest is {percent(float(p.max()))}"
        raise UsageError(explain(f"leads that reach {percent(mql)}", found, "lower the line"))
    lines, volume, _ = _curve(p, backtest.y)
    most = max(float(volume[0]), sales_share * int(above.sum()))
    sales_ready = max(mql, _line(lines, int(np.searchsorted(volume, most, side="right")) - 1))
    taken = {"mql": above.astype(np.float64), "sales_ready": (p >= sales_ready).astype(np.float64)}
    if points is not None:
        taken["points"] = _best(points, int(above.sum()))
    money = None if value_of_win is None or cost_of_touch is None else (value_of_win, cost_of_touch)
    figures = _figures(taken, backtest, money, draws, seed)
    busiest = None
    if backtest.week is not None:
        busiest = int(np.bincount(backtest.week[above] - backtest.week.min()).max())
    return Tuning(
        mql=float(mql),
        sales_ready=float(sales_ready),
        rule=rule,
        leads=len(p),
        wins=int(backtest.y.sum()),
        weeks=backtest.weeks,
        busiest_week=busiest,
        figures=figures,
        verdict=_verdict(figures, backtest) if points is not None else "",
    )


def _curve(values: Floats, y: Bools) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Give every line that separates leads, highest first, with the leads and the wins at or above it."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    return ordered[last], last + 1, np.cumsum(y[order])[last]


def _line_for(backtest: Backtest, most: float, what: str) -> float:
    """Give the lowest line that no more than so many leads reach."""
    lines, volume, _ = _curve(backtest.probability, backtest.y)
    if volume[0] > most:
        found = f"{volume[0]:,} leads level at the top and room for {most:,.6g}"
        raise UsageError(explain(f"a {what} that the scores can fill", found, f"raise the {what}"))
    return _line(lines, int(np.searchsorted(volume, most, side="right")) - 1)


def _line(lines: Floats, chosen: int) -> float:
    """Give the number with the fewest decimals that separates the same leads as this line."""
    high = float(lines[chosen])
    low = float(lines[chosen + 1]) if chosen + 1 < len(lines) else -math.inf
    for decimals in range(1, 17):
        short = float(round(math.floor(high * 10**decimals) / 10**decimals, decimals))
        if low < short <= high:
            return short
    return high


def _best(points: Floats, volume: int) -> Floats:
    """Give the share of each lead that the best so many by points take: leads level at the end share it."""
    last = np.partition(points, len(points) - volume)[len(points) - volume]
    sure, level = points > last, points == last
    return np.where(sure, 1.0, level * (volume - sure.sum()) / level.sum())


def _figures(
    taken: Mapping[str, Floats], backtest: Backtest, money: tuple[float, float] | None, draws: int, seed: int
) -> tuple[Figure, ...]:
    """Give every figure of every line, each with the quantiles of its bootstrap draws."""
    cell = backtest.y.astype(np.int64)  # leads that are alike in all that counts share a cell
    won, shares = np.array([0.0, 1.0]), np.empty((2, 0))
    for share in taken.values():
        worth = np.unique(share)
        cell += len(won) * np.searchsorted(worth, share)
        shares = np.column_stack([np.tile(shares, (len(worth), 1)), np.repeat(worth, len(won))])
        won = np.tile(won, len(worth))
    counts = np.bincount(cell, minlength=len(won))
    drawn = np.random.default_rng(seed).multinomial(len(cell), counts / len(cell), size=draws)
    both = np.vstack([counts, drawn]).astype(np.float64)  # the first row is the backtest itself
    wins = both * won
    values = _values(both @ shares, wins @ shares, wins.sum(axis=1, keepdims=True), backtest, money)
    figures = []
    for place, line in enumerate(taken):
        figures += [_figure(line, name, value[:, place]) for name, value in values.items()]
    if "points" in taken:
        a, b = list(taken).index("mql"), list(taken).index("points")
        figures += [
            _figure("mql - points", name, value[:, a] - value[:, b]) for name, value in values.items()
        ]
    return tuple(figures)


def _values(
    volume: Floats, wins: Floats, all_wins: Floats, backtest: Backtest, money: tuple[float, float] | None
) -> dict[str, Floats]:
    weeks, precision = float(backtest.weeks or 1), wins / np.maximum(volume, 1)
    values = {
        "volume_per_week": volume / weeks,
        "wins_per_week": wins / weeks,
        "wins_missed_per_week": (all_wins - wins) / weeks,
        "precision": precision,
        "recall": wins / np.maximum(all_wins, 1),
        "lift": precision * len(backtest.y) / np.maximum(all_wins, 1),
    }
    if money is not None:
        values["profit_per_week"] = (money[0] * wins - money[1] * volume) / weeks
    return values


def _figure(line: str, name: str, draws: Floats) -> Figure:
    low, high = np.quantile(draws[1:], (0.025, 0.975))
    return Figure(line, name, float(draws[0]), float(low), float(high))


def _verdict(figures: tuple[Figure, ...], backtest: Backtest) -> str:
    """Say whether the model finds more wins than the points in the same number of leads."""
    named = {(each.line, each.figure): each for each in figures}
    gain = named["mql - points", "wins_per_week"]
    found = (
        f"{gain.value:+.3g} wins{_a_week(backtest)} against the points ({gain.low:+.3g} to {gain.high:+.3g})"
    )
    if gain.low > 0:
        return f"better than the points at the same capacity: {found}"
    return f"cannot tell these two apart: {found}" if gain.high >= 0 else f"worse than the points: {found}"


def _a_week(backtest: Backtest) -> str:
    return " a week" if backtest.weeks else ""
