"""What is measured of every field, before anything is said of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.evaluation.leakage.levels import (
    Bools,
    Coded,
    Levels,
    Power,
    auc,
    coded,
    may_name,
    mostly_lost,
    mostly_won,
    odds,
    power,
    settled,
    sure_won,
    tally,
)
from leadscore.evaluation.leakage.thresholds import THRESHOLDS
from leadscore.evaluation.leakage.worked import (
    Dated,
    Filling,
    Growth,
    Worked,
    filling,
    growth,
    known_early,
    rank_correlation,
    unseen,
)
from leadscore.evaluation.metrics import Floats, Ints
from leadscore.evaluation.splits import Fold

_T: Final = THRESHOLDS
NOTHING: Final = 0.52  # folds make a field without power fall a little below 0.5
_MAD: Final = 1.4826  # median absolute deviations to a standard deviation, of a normal distribution
_LEAST_SPREAD: Final = 0.05  # of powers: tables of fields without power have no spread to speak of


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What every field is judged against."""

    y: Floats
    group: Ints
    folds: tuple[Fold, ...]
    later: tuple[Fold, ...]
    order: Floats | None
    place: Floats | None  # in the order, from 0 to 1
    worked: Worked | None = None
    dated: Mapping[str, Dated] = field(default_factory=dict)
    personal: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Signals:
    """Everything the rules look at."""

    field: str
    distinct: int
    filled_rows: int
    share_filled: float
    won_filled: float
    won_missing: float
    filled_odds: float
    power: Power
    filled: Power
    value: Power
    mostly_won: Levels
    sure_won: Levels
    mostly_lost: Levels
    forward_auc: float | None
    calendar: float
    in_line: float
    binned: bool  # a number of many values: its levels are its parts
    whole: bool
    numeric: bool
    personal: bool
    fill_low: float
    fill_high: float
    filling: Filling
    growth: Growth
    unseen: Levels
    known_early: float | None
    changed_after: float
    undated: float
    now_auc: float | None
    usual_auc: float = 0.5
    stands_out: float = 0.0


def measured(name: str, column: "pd.Series[Any]", ground: Ground) -> tuple[Signals, Coded]:
    """Measure one field; how it stands out is known when all are measured."""
    this = coded(column)
    y, folds = ground.y, ground.folds
    naming = may_name(name, this, ground.personal)
    filled = this.filled
    won_filled, won_missing = (
        float(y[rows].mean()) if rows.any() else float("nan") for rows in (filled, ~filled)
    )
    won, lost = _leads(ground, np.ones(len(filled), dtype=bool))
    gaps = Coded(filled.astype(np.int64), None, 1)
    in_gaps, in_filled = odds(*tally(gaps.code, y, 2))
    fills, calendar, in_line = [float(filled.mean())], 0.0, 0.0
    if ground.order is not None and ground.place is not None:
        fills = _fills(filled, ground.place) or fills
        calendar = calendar_between(this.code, this.size, ground.place)
        in_line = _in_line(this, ground.order)
    sure, won_all_but, lost_all_but = (
        settled(this, y, folds, settles, may_name=naming) for settles in (sure_won, mostly_won, mostly_lost)
    )
    state, grows, absent, early = Filling(), Growth(), Levels(), None
    if ground.worked is not None and name in ground.worked.fields.columns:
        everyone = coded(ground.worked.fields[name])
        state = filling(ground.worked, everyone)
        grows = growth(ground.worked, everyone)
        absent = unseen(ground.worked, everyone, may_name=naming)
        early = known_early(ground.worked, everyone, _same(this, everyone, sure.codes))
    dated = ground.dated.get(name)
    return Signals(
        field=name,
        distinct=this.distinct + int(not filled.all()),
        filled_rows=int(filled.sum()),
        share_filled=float(filled.mean()),
        won_filled=won_filled,
        won_missing=won_missing,
        filled_odds=float(max(in_filled / in_gaps, in_gaps / in_filled)),
        power=power(auc(this, y, folds), won, lost),
        filled=power(auc(gaps, y, folds), won, lost),
        value=power(auc(this, y, folds, filled_only=True), *_leads(ground, filled)),
        mostly_won=won_all_but,
        sure_won=sure,
        mostly_lost=lost_all_but,
        forward_auc=auc(this, y, ground.later) if ground.later else None,
        calendar=calendar,
        in_line=in_line,
        binned=this.names is None,
        whole=this.whole,
        numeric=this.values is not None,
        personal=name in ground.personal,
        fill_low=min(fills),
        fill_high=max(fills),
        filling=state,
        growth=grows,
        unseen=absent,
        known_early=early,
        changed_after=0.0 if dated is None else dated.changed_after,
        undated=0.0 if dated is None else dated.undated,
        now_auc=None if dated is None else auc(coded(pd.Series(dated.now)), y, folds),
    ), this


def standing_out(signals: Sequence[Signals]) -> tuple[Signals, ...]:
    """Put every field's power beside those of the others, in robust standard deviations."""
    powers = {s.field: s.power.auc for s in signals if s.distinct > 1}
    if len(powers) < _T["least_fields"]:
        return tuple(signals)
    values = np.array(list(powers.values()))
    middle = float(np.median(values))
    spread = max(_MAD * float(np.median(np.abs(values - middle))), _LEAST_SPREAD)
    return tuple(
        replace(s, usual_auc=middle, stands_out=(s.power.auc - middle) / spread) if s.field in powers else s
        for s in signals
    )


def calendar_between(code: Ints, size: int, place: Floats) -> float:
    """Return the share of the order's variance that lies between levels, adjusted for their number."""
    count = np.bincount(code, minlength=size)
    mean = np.bincount(code, weights=place, minlength=size) / np.maximum(count, 1)
    within = float(((place - mean[code]) ** 2).sum())
    spare = len(place) - int((count > 0).sum())
    return max(0.0, 1 - within / spare / float(place.var(ddof=1))) if spare > 0 else 0.0


def placed(order: NDArray[Any]) -> Floats:
    """Give every row's place in the order, from 0 to 1; rows of equal order keep theirs in the table."""
    return np.argsort(np.argsort(order, kind="stable"), kind="stable") / len(order)


def _leads(ground: Ground, rows: Bools) -> tuple[int, int]:
    """Count the won and the lost groups among some rows: duplicates prove nothing."""
    won, lost = (
        int(np.count_nonzero(np.bincount(ground.group[rows & (ground.y == value)]))) for value in (1, 0)
    )
    return won, lost


def _fills(filled: Bools, place: Floats) -> list[float]:
    """Give the share filled in of each fifth of the order; none where the fifths are small."""
    fifth = np.minimum((place * 5).astype(np.int64), 4)
    count = np.bincount(fifth, minlength=5)
    if count.min() < _T["level_rows"]:
        return []
    return list((np.bincount(fifth, weights=filled, minlength=5) / count).tolist())


def _in_line(field: Coded, order: Floats) -> float:
    """Return how closely a field's numbers rise, or fall, with the order (Spearman's rank correlation)."""
    if field.values is None:
        return 0.0
    known = np.isfinite(field.values)
    if known.sum() < _T["level_rows"]:
        return 0.0
    return abs(rank_correlation(field.values[known], order[known]))


def _same(one: Coded, other: Coded, codes: tuple[int, ...]) -> tuple[int, ...]:
    """Find levels of one coding in another, by name."""
    if one.names is None or other.names is None:
        return ()
    where = {name: code for code, name in enumerate(other.names)}
    return tuple(where[one.names[code]] for code in codes if one.names[code] in where)
