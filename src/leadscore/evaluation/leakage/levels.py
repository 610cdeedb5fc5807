"""Any column as levels, and what levels tell about the outcome in rows that were not looked at."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore.errors import shown
from leadscore.evaluation.leakage.thresholds import PERSONAL, THRESHOLDS
from leadscore.evaluation.metrics import METRICS, Floats, Ints
from leadscore.evaluation.splits import Fold

Bools = NDArray[np.bool_]

_T: Final = THRESHOLDS
_LEVELS: Final = 50  # more distinct values than this make a number continuous, a text possibly free
_BINS: Final = 20
_SHRINK: Final = 20.0  # a level's rate is pulled towards the overall one as if by so many leads
_READABLE: Final = 0.95  # text of which so much reads as numbers is numbers
_FREE_TEXT: Final = 0.5  # text with more distinct values than this share of its leads is free
_TELLS_SOMEBODY: Final = re.compile(r"@|(?:\d[ ()/.+-]*){7}")  # an address, or digits enough for a telephone


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A field as level codes; 0 is missing.

    Names are those of words and of few numbers; values are those of numbers, of times, and of the numbers
    in near-unique words, such as those of "L-0017".
    """

    code: Ints
    names: tuple[str, ...] | None
    distinct: int
    values: Floats | None = None
    whole: bool = False  # its values are whole numbers

    @property
    def size(self) -> int:
        """Count the levels, missing among them."""
        return int(self.code.max()) + 1

    @property
    def filled(self) -> Bools:
        """Say which rows have a value."""
        return self.code > 0


@dataclass(frozen=True, slots=True)
class Power:
    """An AUC and the lower end of its 95 % interval."""

    auc: float
    low: float


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels that have something in common: the share of the leads in them, and what to call them."""

    share: float = 0.0
    named: str = ""
    codes: tuple[int, ...] = ()


def words(field: str) -> list[str]:
    """Split a field's name into lower-case words, at signs and at capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", field)]


def coded(column: "pd.Series[Any]") -> Coded:
    """Turn any column into levels; what is missing, or blank text, is level 0."""
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(column.dtype):
        moments = pd.to_datetime(column, utc=True).to_numpy(dtype="datetime64[us]")
        return _numbers(np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64)))
    if kinds.is_numeric_dtype(column.dtype) and not kinds.is_bool_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return _numbers(values, whole=bool((np.mod(values[np.isfinite(values)], 1) == 0).all()))
    text = column.astype(object).where(column.notna().to_numpy(), "").astype(str).str.strip()
    levels, code = np.unique(text.to_numpy(dtype=str), return_inverse=True)
    filled = int((text != "").sum())
    shift = 0 if levels[0] == "" else 1
    distinct = len(levels) - 1 + shift
    if len(levels) > _LEVELS:
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
        if np.isfinite(numbers).sum() >= _READABLE * filled:
            return _numbers(numbers, whole=bool((np.mod(numbers[np.isfinite(numbers)], 1) == 0).all()))
        if len(levels) > _FREE_TEXT * filled:
            lengths = text.str.len().to_numpy(dtype=np.float64)
            binned = _numbers(np.where(lengths > 0, lengths, np.nan))
            return Coded(binned.code, None, distinct, _numbers_within(text, distinct, filled))
    return Coded(code.astype(np.int64) + shift, ("",) * shift + tuple(levels.tolist()), distinct)


def _numbers(values: Floats, *, whole: bool = False) -> Coded:
    """Give few distinct numbers a level each, and many numbers levels of equal counts."""
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if len(distinct) <= _LEVELS:
        code = np.where(known, np.searchsorted(distinct, values) + 1, 0)
        names = ("", *(f"{value:g}" for value in distinct))
        return Coded(code, names, len(distinct), values, whole)
    cuts, times = np.unique(
        np.quantile(values[known], np.linspace(0, 1, _BINS + 1)[1:-1]), return_counts=True
    )
    # a number that fills whole bins, such as 0, is a level of its own
    edges = np.union1d(cuts, np.nextafter(cuts[times > 1], -np.inf))
    return Coded(np.where(known, np.searchsorted(edges, values) + 1, 0), None, len(distinct), values, whole)


def _numbers_within(text: "pd.Series[str]", distinct: int, filled: int) -> Floats | None:
    """Read the last number in words of which nearly every lead has one of its own."""
    if distinct < _T["nearly_unique"] * filled:
        return None
    digits = text.str.extract(r"(\d{1,15})\D*$", expand=False)
    if digits.notna().sum() < _READABLE * filled:
        return None
    return digits.to_numpy(dtype=np.float64, na_value=np.nan)


def tally(code: Ints, y: Floats, size: int) -> tuple[Floats, Floats]:
    """Count the won and the lost rows of every level."""
    won = np.bincount(code, weights=y, minlength=size).astype(np.float64)
    return won, np.bincount(code, minlength=size).astype(np.float64) - won


def rates(code: Ints, y: Floats, size: int, shrink: float = _SHRINK) -> Floats:
    """Give every level's share of won rows, pulled a little towards the overall one."""
    won, lost = tally(code, y, size)
    overall = won.sum() / (won.sum() + lost.sum())
    return np.asarray((won + shrink * overall) / (won + lost + shrink))


def odds(won: Floats, lost: Floats) -> Floats:
    """Return the odds of winning; half a lead on each side keeps them finite."""
    return (won + 0.5) / (lost + 0.5)


def auc(field: Coded, y: Floats, folds: Sequence[Fold], *, filled_only: bool = False) -> float:
    """Score test rows by their level's training rate and average the folds' AUCs by their pairs."""
    pairs, ranked = 0.0, 0.0
    for fold in folds:
        rate = rates(field.code[fold.train], y[fold.train], field.size)
        won, lost = tally(field.code[fold.test], y[fold.test], field.size)
        if filled_only:
            won[0] = lost[0] = 0
        if won.sum() and lost.sum():
            outcomes = np.repeat((1, 0), field.size)
            found = METRICS["roc_auc"](outcomes, np.tile(rate, 2), np.append(won, lost))
            ranked += found * won.sum() * lost.sum()
            pairs += won.sum() * lost.sum()
    return float(ranked / pairs) if pairs else 0.5


def power(auc: float, won: int, lost: int) -> Power:
    """Put the lower end of the 95 % interval beside an AUC (Hanley and McNeil 1982)."""
    if not won or not lost:
        return Power(auc, 0.0)
    q1, q2, square = auc / (2 - auc), 2 * auc**2 / (1 + auc), auc**2
    variance = (auc * (1 - auc) + (won - 1) * (q1 - square) + (lost - 1) * (q2 - square)) / (won * lost)
    return Power(auc, auc - 1.96 * max(variance, 0.0) ** 0.5)


Settles = Callable[[Floats, Floats, float], Bools]


def mostly_won(won: Floats, lost: Floats, overall: float) -> Bools:
    """Say which levels multiply the odds of winning several times."""
    return odds(won, lost) >= overall * _T["settled_odds"]


def sure_won(won: Floats, lost: Floats, overall: float) -> Bools:
    """Say which levels are nearly always won."""
    sure = odds(won, lost) >= overall * _T["sure_odds"]
    return sure & (won >= _T["sure_won"] * (won + lost))


def mostly_lost(won: Floats, lost: Floats, overall: float) -> Bools:
    """Say which levels divide the odds of winning several times."""
    return odds(won, lost) <= overall / _T["settled_odds"]


def settled(field: Coded, y: Floats, folds: Sequence[Fold], settles: Settles, *, may_name: bool) -> Levels:
    """Find levels that settle the outcome in training rows, and see whether they do in the test rows.

    The parts of a number are levels too: what they may prove is for the rules to say.
    """
    overall = float(y.sum() / (len(y) - y.sum()))
    inside, often = np.zeros(2), np.zeros(field.size)
    for fold in folds:
        won, lost = tally(field.code[fold.train], y[fold.train], field.size)
        picked = settles(won, lost, overall) & (won + lost >= _T["level_rows"])
        picked[0] = False
        won, lost = tally(field.code[fold.test], y[fold.test], field.size)
        inside += won[picked].sum(), lost[picked].sum()
        often += picked
    if not inside.any() or not settles(inside[:1], inside[1:], overall)[0]:
        return Levels()
    won, lost = tally(field.code, y, field.size)
    which = np.flatnonzero(often > len(folds) / 2)
    share = float(inside[1] / lost.sum() if settles is mostly_lost else inside[0] / won.sum())
    ordered = which[np.argsort(-(won + lost)[which], kind="stable")]
    large = [int(k) for k in ordered if won[k] + lost[k] >= _T["level_rows"]]
    said = {k: f"{won[k] / (won[k] + lost[k]):.1%} won of {won[k] + lost[k]:.0f}" for k in large[:2]}
    return Levels(share, called(field, large, said, may_name=may_name), tuple(which.tolist()))


def called(field: Coded, codes: Sequence[int], said: dict[int, str], *, may_name: bool) -> str:
    """Name some levels with what is said of them, or count them where a name might tell somebody."""
    if field.names is None:
        return f"{len(codes)} of the {field.size - 1} parts of its range" if codes else ""
    if may_name and not any(_TELLS_SOMEBODY.search(field.names[k]) for k in said):
        return "; ".join(f"{shown(field.names[k])!r}: {text}" for k, text in said.items())
    return f"{len(codes)} of its {field.distinct} levels" if codes else ""


def may_name(name: str, field: Coded, personal: Collection[str]) -> bool:
    """Say whether a field's levels may be named: few, and not of people as far as its name tells."""
    few = field.names is not None and field.distinct <= _T["named_levels"]
    return few and name not in personal and PERSONAL.isdisjoint(words(name))
