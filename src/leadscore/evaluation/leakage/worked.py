"""What happens to a field while its leads are worked: open against closed, young against old."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.evaluation.leakage.levels import Bools, Coded, Levels, called, power
from leadscore.evaluation.leakage.thresholds import THRESHOLDS
from leadscore.evaluation.metrics import Floats, Ints

_T: Final = THRESHOLDS
_STRATA: Final = 10  # parts of equal counts that ages are cut into
_YOUNGEST: Final = 0.2  # share of the leads that count as young
_LEAST_EXPECTED: Final = (
    4.0  # so many young leads with a level must be expected before their lack says a thing
)


@dataclass(frozen=True, slots=True, eq=False)
class Worked:
    """Every lead as the table has it now, those whose outcome is still to come too.

    Parameters
    ----------
    fields : DataFrame (m, fields)
        Fields without a history; others are judged by it.
    age : array of m numbers
        Days from a lead's creation to the end of the data, whether it is still open or not.
    closed : array of m truths
        Whether it was closed by then, won or not.
    """

    fields: pd.DataFrame
    age: NDArray[Any]
    closed: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Dated:
    """What the history of a field tells.

    Parameters
    ----------
    now : array of n values
        What it is now, for the rows that are audited as it was.
    changed_after : float
        Share of the closed leads whose value changed when they were closed, or later.
    undated : float
        Share of the leads with a value of which there is no history.
    """

    now: NDArray[Any]
    changed_after: float
    undated: float


@dataclass(frozen=True, slots=True)
class Filling:
    """How often a field is filled in: for open and closed leads of the same age, for young and old ones.

    Lows are the ends nearer to none of the 95 % intervals of the differences.
    """

    open: float = 0.0
    closed: float = 0.0
    state_low: float = 0.0
    young: float = 0.0
    old: float = 0.0
    rise_low: float = 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How a number goes with the age of open leads, and how it stands for closed ones of the same age.

    `with_age` is Spearman's rank correlation among open leads, `low` the end of its 95 % interval that is
    nearer to none (Fisher's z); `above` is how often an open lead's number is above a closed one's, and
    `apart` the lower end of the 95 % interval of how often it is on the side where it is more often.
    """

    with_age: float = 0.0
    low: float = 0.0
    above: float = 0.5
    apart: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Strata:
    """Leads by age and state: those of equal age stand in one stratum."""

    of: Ints
    closed: Bools
    weight: Floats  # of each stratum, by the pairs of open and closed leads in it


def filling(worked: Worked, field: Coded) -> Filling:
    """Compare how often a field is filled in among open and closed leads, and young and old ones."""
    strata, filled = _strata(worked), field.filled
    count, share = _shares(strata, filled)
    weight = strata.weight
    of_open, of_closed, low = 0.0, 0.0, 0.0
    if weight.sum():
        of_open, of_closed = (float((weight * part).sum() / weight.sum()) for part in share)
        low = _nearer_none(of_closed - of_open, _spread(filled, strata, count))
    young, old, rise = _by_age(worked.age[~strata.closed], filled[~strata.closed])
    return Filling(of_open, of_closed, low, young, old, rise)


def growth(worked: Worked, field: Coded) -> Growth:
    """See whether a number goes on growing as long as a lead is open."""
    if field.values is None:
        return Growth()
    strata, known = _strata(worked), np.isfinite(field.values)
    open_ = known & ~strata.closed
    if min(open_.sum(), (known & strata.closed).sum()) < _T["level_rows"]:
        return Growth()
    with_age = rank_correlation(field.values[open_], worked.age[open_])
    error = float(open_.sum() - 3) ** -0.5
    low = np.tanh(_nearer_none(float(np.arctanh(np.clip(with_age, -0.9999, 0.9999))), error))
    pairs, above = 0.0, 0.0
    for part in range(len(strata.weight)):
        here = known & (strata.of == part)
        y = ~strata.closed[here]
        weight = float(y.sum() * (~y).sum())
        if weight:
            rank = pd.Series(field.values[here]).rank().to_numpy()
            above += rank[y].sum() - y.sum() * (y.sum() + 1) / 2
            pairs += weight
    share = float(above / pairs) if pairs else 0.5
    apart = power(max(share, 1 - share), int(open_.sum()), int((known & strata.closed).sum())).low
    return Growth(with_age, float(low), share, apart)


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Spearman's rank correlation, 0 where one of the two does not vary."""
    rank, line = (pd.Series(values).rank().to_numpy() for values in (one, other))
    return float(np.corrcoef(rank, line)[0, 1]) if rank.std() and line.std() else 0.0


def unseen(worked: Worked, field: Coded, *, may_name: bool) -> Levels:
    """Find levels of closed leads that open leads of the same age hardly ever have."""
    if field.names is None:
        return Levels()
    strata = _strata(worked)
    open_, closed = ~strata.closed, strata.closed
    size, parts = field.size, len(strata.weight)
    table = np.zeros((2, parts, size))
    np.add.at(table, (strata.closed.astype(np.int64), strata.of, field.code), 1.0)
    totals = table.sum(axis=2)
    with_both = np.flatnonzero(totals.min(axis=0) > 0)
    share = table[1, with_both] / totals[1, with_both, None]
    expected = (share * totals[0, with_both, None]).sum(axis=0)
    seen = table[0, with_both].sum(axis=0)
    picked = (expected >= _T["level_rows"]) & (seen * _T["unseen"] <= expected)
    picked[0] = False
    codes = np.flatnonzero(picked)
    if not len(codes):
        return Levels()
    of_closed = np.bincount(field.code[closed], minlength=size)
    of_open = np.bincount(field.code[open_], minlength=size)
    largest = [int(k) for k in codes[np.argsort(-of_closed[codes], kind="stable")]]
    said = {k: f"{of_closed[k]} closed leads, {of_open[k]} open" for k in largest[:2]}
    share_closed = float(of_closed[codes].sum() / max(closed.sum(), 1))
    return Levels(share_closed, called(field, largest, said, may_name=may_name), tuple(largest))


def known_early(worked: Worked, field: Coded, codes: tuple[int, ...]) -> float | None:
    """Tell how often the youngest leads have some levels, against the others; None where few are expected.

    A level that is known at creation is as frequent there, or nearly; one that is written down at the end
    is missing from leads that have had no time to end.
    """
    if not codes:
        return None
    inside = np.isin(field.code, codes)
    youngest = np.asarray(worked.age) <= np.quantile(worked.age, _YOUNGEST)
    others = float(inside[~youngest].mean()) if not youngest.all() else 0.0
    if others * youngest.sum() < _LEAST_EXPECTED:
        return None
    return float(inside[youngest].mean()) / others


def _strata(worked: Worked) -> _Strata:
    age, closed = np.asarray(worked.age, dtype=np.float64), np.asarray(worked.closed, dtype=bool)
    edges = np.unique(np.quantile(age, np.linspace(0, 1, _STRATA + 1)[1:-1])) if len(age) else np.zeros(0)
    of = np.searchsorted(edges, age, side="right")
    of_closed = np.bincount(of[closed], minlength=len(edges) + 1)
    of_open = np.bincount(of[~closed], minlength=len(edges) + 1)
    return _Strata(of, closed, of_open * of_closed / np.maximum(of_open + of_closed, 1))


def _shares(strata: _Strata, filled: Bools) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Count the open and the closed leads of every stratum, and give the shares filled in."""
    parts = len(strata.weight)
    rows = (~strata.closed, strata.closed)
    count = tuple(np.bincount(strata.of[side], minlength=parts).astype(np.float64) for side in rows)
    inside = (np.bincount(strata.of[side], weights=filled[side], minlength=parts) for side in rows)
    share = tuple(part / np.maximum(whole, 1) for part, whole in zip(inside, count, strict=True))
    return (count[0], count[1]), (share[0], share[1])


def _spread(filled: Bools, strata: _Strata, count: tuple[Floats, Floats]) -> float:
    """Return the standard error of the difference, as weighted; nobody is taken for certain."""
    variance = np.zeros(len(strata.weight))
    for side, whole in zip((~strata.closed, strata.closed), count, strict=True):
        inside = np.bincount(strata.of[side], weights=filled[side], minlength=len(whole))
        share = (inside + 0.5) / (whole + 1)
        variance += share * (1 - share) / np.maximum(whole, 1)
    return float(((strata.weight**2 * variance).sum()) ** 0.5 / strata.weight.sum())


def _by_age(age: NDArray[Any], filled: Bools) -> tuple[float, float, float]:
    """Compare the youngest third with the oldest third of some leads."""
    third = len(age) // 3
    if third < _T["level_rows"]:
        return 0.0, 0.0, 0.0
    order = np.argsort(age, kind="stable")
    young, old = (float(filled[rows].mean()) for rows in (order[:third], order[-third:]))
    spread = sum(
        share * (1 - share)
        for share in ((young * third + 0.5) / (third + 1), (old * third + 0.5) / (third + 1))
    )
    return young, old, _nearer_none(old - young, (spread / third) ** 0.5)


def _nearer_none(difference: float, error: float) -> float:
    """Give the end of the 95 % interval that is nearer to 0, or 0 where the interval holds it."""
    return float(np.sign(difference) * max(abs(difference) - 1.96 * error, 0.0))
