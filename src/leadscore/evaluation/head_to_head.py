"""The hand-built points against every model: same leads, same capacity, what each would have found."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from leadscore.errors import UsageError, explain, nearest, shown
from leadscore.evaluation.metrics import Floats, Ints, interval
from leadscore.evaluation.reliability import both_outcomes, lead_codes
from leadscore.evaluation.success import SuccessRule, finite_scores, success_rule

FIGURES: Final = ("taken", "found", "precision", "recall", "money")
POOLED: Final = "all"

_NUMBERS: Final = ("value", "low", "high", "difference", "difference_low", "difference_high")
_WORDS: Final = {"taken": "MQLs taken", "found": "conversions found"}
_SHARES: Final = ("precision", "recall")
_TOLD_APART: Final = 0.05  # level of the exact test
_ALIKE: Final = 1e-7  # tables whose probabilities differ by less are as likely as each other
_SLIGHT: Final = 0.02  # a share of the baseline's finds that hardly matters
_HOPELESS: Final = 100  # times the conversions there are: beyond that, two models are level
_Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False)
class HeadToHead:
    """What each model would have found with the team's capacity, beside the baseline.

    Parameters
    ----------
    rows : DataFrame
        One row a period ("all" pools them), model and figure of `FIGURES`: `value` with its 95 % interval
        `low` to `high`, and the `difference` to the baseline with its paired interval.
    verdicts : mapping of model to sentence
        Every model but the baseline: "better: ...", "not better: ..." or "cannot tell yet (...): ...".
    success : mapping of model to SuccessRule
    capacity : str
        In words.
    leads, conversions, periods : int
        Sizes.
    baseline : str
    """

    rows: pd.DataFrame
    verdicts: Mapping[str, str]
    success: Mapping[str, SuccessRule]
    capacity: str
    leads: int
    conversions: int
    periods: int
    baseline: str

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to tell a person: a verdict a model, then the success rule for each."""
        rules = {name: rule.sentence for name, rule in self.success.items()}
        told = (*self.verdicts.items(), *rules.items())
        return tuple(f"{shown(name)}: {text}" for name, text in told)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON; what is not defined is None."""
        records = self.rows.to_dict("records")
        return {
            "capacity": self.capacity,
            "leads": self.leads,
            "conversions": self.conversions,
            "periods": self.periods,
            "baseline": self.baseline,
            "verdicts": dict(self.verdicts),
            "success": {name: rule.to_dict() for name, rule in self.success.items()},
            "sentences": list(self.sentences),
            "rows": [
                {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in records
            ],
        }

    def table(self, period: str = POOLED) -> pd.DataFrame:
        """Lay one period out for reading: figures down, models across.

        Parameters
        ----------
        period : str
            "all", or the number of a period as text.

        Returns
        -------
        DataFrame of text, such as "61 [49, 74]"

        Raises
        ------
        UsageError
            There is no such period.
        """
        rows = self.rows[self.rows["period"] == period]
        if rows.empty:
            known = [str(name) for name in self.rows["period"].unique()]
            found = f"{shown(period)!r}{nearest(period, known)}"
            raise UsageError(explain("a period that was compared", found, f"use one of {', '.join(known)}"))
        cells: dict[str, dict[str, str]] = {}
        numbers = rows[list(_NUMBERS)].to_numpy(dtype=np.float64).tolist()
        for model, figure, six in zip(rows["model"], rows["figure"], numbers, strict=True):
            column = cells.setdefault(str(model), {})
            column[_WORDS.get(figure, figure)] = _spelled(figure, *six[:3])
            if figure == "found" and model != self.baseline:
                column[f"more than {_called(self.baseline)}"] = _gap(*six[3:])
        order = dict.fromkeys(words for column in cells.values() for words in column)
        return pd.DataFrame(cells).reindex(list(order)).fillna("")


@dataclass(frozen=True, slots=True, eq=False)
class _Round:
    """The leads of one period from a model's highest score down, each once, and where equal scores begin.

    The first so many runs of equal scores are nearly always enough for the capacity.
    """

    lead: Ints
    run: Ints
    starts: Ints
    enough: int


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """What all models see: rows with their lead and period, and what is true of the leads."""

    lead: Ints
    period: Ints
    labels: tuple[str, ...]
    capacity: Floats
    won: Floats
    value: Floats

    @property
    def leads(self) -> int:
        return len(self.won)


def head_to_head(
    y: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    *,
    baseline: str = "points",
    capacity: float | None = None,
    share: float | None = None,
    period: ArrayLike | None = None,
    group: ArrayLike | None = None,
    value: ArrayLike | None = None,
    cost: float | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> HeadToHead:
    """Let every model choose whom the team works, period by period, and count what each would have found.

    In each period a model takes the leads that it puts highest, up to the capacity, among those looked at
    in that period that it has not taken before; a lead is thus worked once at most, at its best row of the
    period. Leads level at the line are taken in equal shares, which is what drawing among them would give
    on average. A lead converted when any of its rows did.

    Intervals are percentiles of a bootstrap over leads, in which every draw plays the periods anew with the
    same capacity; the draws are the same for all models, so that differences are paired (Efron and
    Tibshirani 1993, chapters 8 and 13). A model is not better when the interval of the difference in
    conversions found ends below 2 % of what the baseline found. It is better when that interval lies above 0
    and Fisher's exact test, on the leads that only one of the two took, agrees at 5 %: with few conversions
    the percentiles alone claim too much. Otherwise the verdict names how many more conversions
    would make the half width of the interval equal the difference: with W conversions now, and a difference d
    of standard error s, (1.96 s / d)^2 W in all (Cochran 1977, section 4.6), or as many as the exact test
    needs if those are more.

    Parameters
    ----------
    y : array of n outcomes, 0 or 1
    probabilities : mapping of model to array (n,)
        Of rows that the models had not seen; only their order matters, so that totals of points will do.
    baseline : str
        The model that the others are compared with.
    capacity : float, optional
        Leads that the team can work in a period. Give this or `share`.
    share : float, optional
        Capacity of a period as a share of the leads first seen in it.
    period : array of n int, optional
        Week or origin of each row, in the order of time; one period when left out.
    group : array of n lead codes, optional
        Rows of one lead; every row is a lead of its own when left out.
    value : float or array of n floats, optional
        What a win brings, in money; of an array, the highest of a lead's rows that converted.
    cost : float, optional
        What it costs to work one lead, in the same money; 0 when left out. Needs `value`.
    draws : int
        Of the bootstrap.
    seed : int

    Returns
    -------
    HeadToHead

    Raises
    ------
    UsageError
        The capacity binds nowhere or is not above 0, money is negative, the baseline is not among the
        models, or lengths differ.
    DataError
        An outcome is not 0 or 1, nobody or everybody converted, or a score is missing.

    Examples
    --------
    >>> y = [0, 1] * 50
    >>> said = {"points": np.zeros(100), "model": np.array(y) * 0.5}
    >>> found = head_to_head(y, said, capacity=20, draws=200)
    >>> found.table().loc["conversions found"].tolist()
    ['10 [8.2, 11.8]', '20 [20, 20]']
    >>> found.verdicts["model"]
    'better: 20 conversions found against 10 by your points in 20 MQLs, +10 [+8.2, +11.8]'
    """
    outcome = both_outcomes(y)
    _check_models(probabilities, baseline, draws)
    scores = {
        name: finite_scores(f"score of {shown(name)!r}", p, len(outcome)) for name, p in probabilities.items()
    }
    field = _field(outcome, period, group, value, capacity, share)
    price = _price(value, cost)
    rounds = {name: _rounds(score, field) for name, score in scores.items()}

    rng = np.random.default_rng(seed)
    work = {name: np.empty((draws + 1, len(field.labels), 3)) for name in scores}
    there = np.empty((draws + 1, len(field.labels) + 1))
    chosen: dict[str, Floats] = {}
    won_at = [each.lead[field.won[each.lead] > 0] for each in rounds[baseline]]
    for draw in range(draws + 1):  # the first is the data itself
        times: Floats = np.ones(field.leads)
        if draw:
            times = np.bincount(rng.integers(field.leads, size=field.leads), minlength=field.leads).astype(
                float
            )
        there[draw] = [float(times @ field.won), *(float(times[leads].sum()) for leads in won_at)]
        for name in scores:
            work[name][draw], left = _work(rounds[name], times, field)
            if not draw:
                chosen[name] = times - left

    figures = {name: _figures(done, there, price) for name, done in work.items()}
    verdicts = {
        name: _verdict(
            figures[name], figures[baseline], _alone(chosen, name, baseline, field), field, baseline
        )
        for name in scores
        if name != baseline
    }
    best = {name: np.full(field.leads, -np.inf) for name in scores}
    for name, score in scores.items():
        np.maximum.at(best[name], field.lead, score)
    return HeadToHead(
        rows=_frame(figures, field, baseline),
        verdicts=verdicts,
        success={name: success_rule(field.won, top) for name, top in best.items()},
        capacity=_in_words(capacity, share, len(field.labels)),
        leads=field.leads,
        conversions=int(field.won.sum()),
        periods=len(field.labels),
        baseline=baseline,
    )


def _check_models(probabilities: Mapping[str, ArrayLike], baseline: str, draws: int) -> None:
    if baseline not in probabilities:
        found = (", ".join(map(shown, probabilities)) or "none") + nearest(baseline, list(probabilities))
        raise UsageError(explain(f"a baseline {shown(baseline)!r} among the models", found, "add it"))
    if draws < 2:
        raise UsageError(explain("at least two bootstrap draws", shown(draws), "use 1000"))


def _field(
    outcome: Floats,
    period: ArrayLike | None,
    group: ArrayLike | None,
    value: ArrayLike | None,
    capacity: float | None,
    share: float | None,
) -> _Field:
    """Give leads and periods numbers, what is true of each lead, and how many can be worked when."""
    rows = len(outcome)
    when = np.zeros(rows) if period is None else finite_scores("period", period, rows)
    moments, at = np.unique(when, return_inverse=True)
    lead = np.arange(rows) if group is None else lead_codes(group, rows)
    won = np.zeros(int(lead.max()) + 1)
    np.maximum.at(won, lead, outcome)
    worth = np.zeros(len(won))
    if value is not None:
        given = (
            np.full(rows, value, dtype=np.float64) if np.ndim(value) == 0 else np.asarray(value, np.float64)
        )
        read = finite_scores(
            "value of a win", np.where(outcome > 0, given, 0.0) if given.shape == (rows,) else given, rows
        )
        if read.min() < 0:
            raise UsageError(explain("values of a win of at least 0", f"{read.min():,.6g}", "correct them"))
        np.maximum.at(worth, lead, read)
    return _Field(
        lead=lead.astype(np.int64),
        period=at.astype(np.int64),
        labels=tuple(f"{moment:.15g}" for moment in moments),
        capacity=_capacity(capacity, share, lead, at),
        won=won,
        value=worth,
    )


def _capacity(capacity: float | None, share: float | None, lead: Ints, period: Ints) -> Floats:
    """Give how many leads can be worked in each period."""
    if (capacity is None) == (share is None):
        found = "both" if share is not None else "neither"
        raise UsageError(explain("a capacity or a share of the leads", found, "give one of them"))
    periods = int(period.max()) + 1
    if share is not None:
        if not 0 < share < 1:
            raise UsageError(explain("a share between 0 and 1", shown(share), "write 0.2 for 20 %"))
        first = np.full(int(lead.max()) + 1, periods)
        np.minimum.at(first, lead, period)
        return share * np.bincount(first, minlength=periods).astype(np.float64)
    fullest = int(np.bincount(np.unique(period * (lead.max() + 1) + lead) // (lead.max() + 1)).max())
    if capacity is None or not 0 < capacity < fullest:
        expected = f"a capacity above 0 and below the {fullest:,} leads of the fullest period"
        raise UsageError(explain(expected, shown(capacity), "choose one in between"))
    return np.full(periods, float(capacity))


def _price(value: ArrayLike | None, cost: float | None) -> float | None:
    """Give the cost of working a lead; None where there is no money at all."""
    if value is None and cost is None:
        return None
    if value is None or not 0 <= (cost or 0.0) < math.inf:
        found = f"value {'none' if value is None else 'given'}, cost {shown(cost)}"
        raise UsageError(explain("a value of a win and a cost of at least 0", found, "correct them"))
    return float(cost or 0.0)


def _rounds(score: Floats, field: _Field) -> list[_Round]:
    """Sort each period by score once; a lead with several rows in a period stands at its best."""
    order = np.lexsort((field.lead, -score, field.period))
    key = field.period[order] * field.leads + field.lead[order]
    order = order[np.sort(np.unique(key, return_index=True)[1])]
    cuts = np.flatnonzero(np.diff(field.period[order])) + 1
    rounds = []
    for rows, room in zip(np.split(order, cuts), field.capacity, strict=True):
        new = np.append(True, np.diff(score[rows]) != 0)
        starts = np.append(np.flatnonzero(new), len(rows)).astype(np.int64)
        enough = min(int(np.searchsorted(starts, 1.5 * room + 50)), len(starts) - 1)
        rounds.append(_Round(field.lead[rows], np.cumsum(new) - 1, starts, enough))
    return rounds


def _work(rounds: list[_Round], times: Floats, field: _Field) -> tuple[Floats, Floats]:
    """Take the best of every period; each lead counts so many times as `times` says.

    Returns what was taken, found and earned in each period, and how much of each lead is left.
    """
    left = times.copy()
    done = np.empty((len(rounds), 3))
    for place, (each, room) in enumerate(zip(rounds, field.capacity, strict=True)):
        for runs in (each.enough, len(each.starts) - 1):
            there = left[each.lead[: each.starts[runs]]]
            mass = np.add.reduceat(there, each.starts[:runs])
            reached = np.cumsum(mass)
            if reached[-1] >= room:
                break
        part = np.divide(
            np.clip(room - (reached - mass), 0, mass), mass, out=np.zeros(len(mass)), where=mass > 0
        )
        lead = each.lead[: len(there)]
        taken = there * part[each.run[: len(there)]]
        left[lead] -= taken
        won = taken * field.won[lead]
        done[place] = taken.sum(), won.sum(), (won * field.value[lead]).sum()
    return done, left


def _figures(done: Floats, there: Floats, price: float | None) -> dict[str, Floats]:
    """Give every figure as an array (draws, periods): the data come first, and so do all periods pooled."""
    pooled = np.concatenate([done.sum(axis=1, keepdims=True), done], axis=1)
    taken, found, earned = (pooled[:, :, place] for place in range(3))
    figures = {
        "taken": taken,
        "found": found,
        "precision": np.divide(found, taken, out=np.full_like(found, np.nan), where=taken > 0),
        "recall": np.divide(found, there, out=np.full_like(found, np.nan), where=there > 0),
    }
    return figures if price is None else figures | {"money": earned - price * taken}


def _frame(figures: Mapping[str, Mapping[str, Floats]], field: _Field, baseline: str) -> pd.DataFrame:
    labels = (POOLED, *field.labels) if len(field.labels) > 1 else (POOLED,)
    parts = []
    for model, own in figures.items():
        for figure, drawn in own.items():
            gap = drawn - figures[baseline][figure]
            columns = (drawn[0], *interval(drawn[1:]), gap[0], *interval(gap[1:]))
            numbers = {name: column[: len(labels)] for name, column in zip(_NUMBERS, columns, strict=True)}
            parts.append(pd.DataFrame({"period": labels, "model": model, "figure": figure, **numbers}))
    return pd.concat(parts, ignore_index=True)


def _alone(chosen: Mapping[str, Floats], model: str, baseline: str, field: _Field) -> Floats:
    """Count what only one of the two took: conversions and other leads, of the model and of the baseline.

    A lead taken in part, as one of several level at the line, counts so that the variance stays right.
    """
    gap = chosen[model] - chosen[baseline]
    whole = float(np.abs(gap).sum()) / max(float((gap**2).sum()), np.finfo(np.float64).tiny)
    counts = [[side @ field.won, side @ (1 - field.won)] for side in (gap.clip(min=0), (-gap).clip(min=0))]
    return whole * np.array(counts)


def _chance(alone: Floats) -> float:
    """Give the two-sided p-value of Fisher's exact test on a table of four counts, made whole."""
    (a, b), (c, d) = np.rint(alone).astype(np.int64)
    ways = np.append(0.0, np.cumsum(np.log(np.arange(1, a + b + c + d + 1))))  # logarithms of factorials
    won = np.arange(max(0, a - d), min(a + b, a + c) + 1)
    likely = -(ways[won] + ways[a + b - won] + ways[a + c - won] + ways[d - a + won])
    likely -= likely.max()
    odds = np.exp(likely)
    return float(odds[likely <= likely[won == a] + _ALIKE].sum() / odds.sum())


def _verdict(
    own: Mapping[str, Floats],
    base: Mapping[str, Floats],
    alone: Floats,
    field: _Field,
    baseline: str,
) -> str:
    """Say in a sentence whether a model finds more conversions than the baseline at the same capacity."""
    found, other, taken = own["found"][0, 0], base["found"][0, 0], own["taken"][0, 0]
    drawn = own["found"][1:, 0] - base["found"][1:, 0]
    low, high = (float(end[0]) for end in interval(drawn[:, None]))
    gap = float(found - other)
    figures = (
        f"{_number(found)} conversions found against {_number(other)} by {_called(baseline)} "
        f"in {_number(taken)} MQLs, {_gap(gap, low, high)}"
    )
    if "money" in own:
        money = own["money"][:, 0] - base["money"][:, 0]
        figures += (
            f", in money {_gap(float(money[0]), *(float(end[0]) for end in interval(money[1:, None])))}"
        )
    told = _chance(alone) <= _TOLD_APART
    if high < 0 and told:
        return f"not better: {figures}"
    if 0 <= high <= _SLIGHT * other:
        return f"not better by anything that matters: {figures}"
    if low > 0 and told:
        return f"better: {figures}"
    return f"cannot tell yet ({_needed(gap, float(drawn.std()), alone, field)}): {figures}"


def _needed(gap: float, error: float, alone: Floats, field: _Field) -> str:
    """Say how many conversions more would tell the two apart, were the difference as it looks now."""
    there = float(field.won.sum())
    times = max(1.0, (_Z * error / gap) ** 2) if gap else math.inf
    while times < _HOPELESS and _chance(times * alone) > _TOLD_APART:
        times *= 1.05
    if times >= _HOPELESS:
        return f"the two are about level: even {_HOPELESS} times the {there:,.0f} conversions may not do"
    more = max(1.0, there * (times - 1))
    digits = max(0, math.floor(math.log10(more)) - 1)
    needed = math.ceil(more / 10**digits) * 10**digits
    return f"needs about {needed:,} more conversion{'s' if needed > 1 else ''}"


def _called(baseline: str) -> str:
    return "your points" if baseline == "points" else shown(baseline)


def _in_words(capacity: float | None, share: float | None, periods: int) -> str:
    amount = f"{capacity:,.6g} leads" if capacity is not None else f"{100 * (share or 0):.3g} % of the leads"
    return f"{amount} in each of {periods} periods" if periods > 1 else amount


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}".removesuffix(".0")


def _gap(value: float, low: float, high: float) -> str:
    value, low, high = (each + 0.0 for each in (value, low, high))
    signed = [("+" if each > 0 else "") + _number(each) for each in (value, low, high)]
    return f"{signed[0]} [{signed[1]}, {signed[2]}]"


def _spelled(figure: str, value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "not defined"
    if figure in _SHARES:
        return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{_number(value)} [{_number(low)}, {_number(high)}]"
