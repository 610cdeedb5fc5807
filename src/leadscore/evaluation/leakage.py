"""First line against leakage: which fields know the outcome too well to have been known before it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.evaluation.metrics import METRICS, Floats, Ints, binary_outcome
from leadscore.evaluation.splits import Fold, forward_folds, grouped_folds

Verdict = Literal["block", "suspect", "ok"]

THRESHOLDS: Final[Mapping[str, float]] = {
    # powers are AUCs out of fold, taken at the lower end of their 95 % interval
    "block_power": 0.85,  # the best honest single fields of real lead tables reach 0.76
    "block_filled": 0.75,  # being filled in, whatever the value; interested leads filling a form reach 0.65
    "block_filled_odds": 50.0,  # odds of winning, filled in against missing, or the other way round
    "block_filled_and_value": 0.80,  # its values where filled in, when being filled in tells as well:
    "filled_tells": 0.60,  # ... from here on
    "block_sides": 0.05,  # share of the won, and of the lost, whose level all but settles the outcome
    "block_sure_won": 0.10,  # share of the won whose level is nearly always won
    "suspect_power": 0.75,
    "suspect_filled": 0.70,
    "suspect_filled_and_value": 0.65,
    "suspect_mostly_lost": 0.10,
    "suspect_named": 0.53,  # power from which a name such as "last activity" is worth a question
    "suspect_calendar": 0.60,  # power from which a field that follows the calendar is worth a question
    # what the words above mean
    "settled_odds": 10.0,  # a level settles the outcome when it multiplies or divides the odds by this
    "sure_won": 0.90,  # a level is nearly always won from this share on,
    "sure_odds": 50.0,  # ... when it also multiplies the odds by this
    "calendar_share": 0.50,  # share of the order's variance that the field explains
    "calendar_drop": 0.10,  # loss of power in later periods
    "fill_swing": 0.50,  # between fifths of the order
    "level_rows": 20,  # a level is looked at, and named, from so many leads on
}
"""Every threshold of the audit, in one place."""

NAMES: Final = frozenset(
    {
        "last",
        "latest",
        "final",
        "closed",
        "closing",
        "won",
        "lost",
        "outcome",
        "result",
        "status",
        "stage",
        "disposition",
        "quality",
        "grade",
        "rating",
        "score",
        "index",
        "tag",
        "tags",
        "reason",
        "revenue",
        "invoice",
        "contract",
        "deal",
        "updated",
        "modified",
        "duration",
    }
)
"""Words in a field's name that say it is kept up to date, or written down at the end."""

_LEVELS: Final = 50  # more distinct values than this make a number continuous, a text possibly free
_BINS: Final = 20
_SHRINK: Final = 20.0  # a level's rate is pulled towards the overall one as if by so many leads
_FOLDS: Final = 5
_NOTHING: Final = 0.52  # folds make a field without power fall a little below 0.5
_READABLE: Final = 0.95  # text of which so much reads as numbers is numbers
_FREE_TEXT: Final = 0.5  # text with more distinct values than this share of its leads is free


@dataclass(frozen=True, slots=True)
class FieldAudit:
    """What one field alone tells about the outcome, and whether that is too good to be true.

    Parameters
    ----------
    field : str
    verdict : "block", "suspect" or "ok"
    evidence : tuple of str
        Plain sentences with figures, those behind the verdict first.
    auc : float
        Power of its values and its gaps, out of fold.
    missing_auc : float
        Power of its being filled in alone, out of fold.
    filled_auc : float
        Power of its values among the leads where it is filled in, out of fold.
    """

    field: str
    verdict: Verdict
    evidence: tuple[str, ...]
    auc: float
    missing_auc: float
    filled_auc: float


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """A field as level codes; 0 is missing. Names are for levels that may be shown."""

    code: Ints
    names: tuple[str, ...] | None

    @property
    def size(self) -> int:
        return int(self.code.max()) + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """What every field is judged against."""

    y: Floats
    group: NDArray[Any]
    folds: tuple[Fold, ...]
    later: tuple[Fold, ...]
    place: Floats | None  # in the order, from 0 to 1


@dataclass(frozen=True, slots=True)
class _Power:
    """An AUC and the lower end of its 95 % interval."""

    auc: float
    low: float


@dataclass(frozen=True, slots=True)
class _Levels:
    """Levels that settle the outcome one way: the share of the won, or the lost, in them; their names."""

    share: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Signals:
    """Everything the rules look at."""

    field: str
    distinct: int
    share_filled: float
    won_filled: float
    won_missing: float
    filled_odds: float
    power: _Power
    filled: _Power
    value: _Power
    mostly_won: _Levels
    sure_won: _Levels
    mostly_lost: _Levels
    forward_auc: float | None
    calendar: float
    fill_low: float
    fill_high: float


@dataclass(frozen=True, slots=True)
class _Rule:
    """A reason for a verdict: when it holds, and the sentences that say so."""

    verdict: Verdict
    holds: Callable[[_Signals], bool]
    says: tuple[Callable[[_Signals], str], ...]


def _says_power(s: _Signals) -> str:
    if s.power.auc < _NOTHING:
        return f"alone it tells nothing to speak of (AUC {s.power.auc:.3f})"
    times = f"{100 * s.power.auc:.0f} times in 100"
    return f"alone it puts a won lead above a lost one {times} (AUC {s.power.auc:.3f})"


def _says_filled(s: _Signals) -> str:
    return (
        f"filled in for {s.share_filled:.1%} of the leads: {s.won_filled:.1%} of those are won, "
        f"{s.won_missing:.1%} of the others, so that being filled in tells by itself (AUC {s.filled.auc:.3f})"
    )


def _says_filled_odds(s: _Signals) -> str:
    return f"whether it is filled in all but settles the outcome (odds of {s.filled_odds:,.0f} to 1)"


def _says_value(s: _Signals) -> str:
    return (
        f"where it is filled in, its values tell once more (AUC {s.value.auc:.3f}), "
        "as if filled in by someone who saw how the lead went"
    )


def _named(*levels: str) -> str:
    return f" ({'; '.join(levels)})" if levels else ""


def _says_sides(s: _Signals) -> str:
    return (
        f"some of its levels settle the outcome both ways, for {s.mostly_won.share:.1%} of the won and "
        f"{s.mostly_lost.share:.1%} of the lost leads{_named(*s.mostly_won.names, *s.mostly_lost.names)}"
    )


def _says_sure_won(s: _Signals) -> str:
    levels = f"levels that are nearly always won{_named(*s.sure_won.names)}"
    return f"{s.sure_won.share:.1%} of the won leads lie in {levels}"


def _says_mostly_lost(s: _Signals) -> str:
    levels = f"levels that are hardly ever won{_named(*s.mostly_lost.names)}"
    return f"{s.mostly_lost.share:.1%} of the lost leads lie in {levels}"


def _says_calendar(s: _Signals) -> str:
    return (
        f"it follows the calendar ({s.calendar:.0%} of the order's variance), and its power falls from "
        f"AUC {s.power.auc:.3f} to {s.forward_auc:.3f} in later periods"
    )


def _says_swing(s: _Signals) -> str:
    return (
        f"it is filled in for {s.fill_low:.0%} of the leads in one fifth of the order and for "
        f"{s.fill_high:.0%} in another: how it is filled in has changed"
    )


def _words(field: str) -> list[str]:
    """Split a field's name into lower-case words, at signs and at capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", field)]


def _telling_words(s: _Signals) -> list[str]:
    return [word for word in _words(s.field) if word in NAMES]


def _says_named(s: _Signals) -> str:
    return (
        f"its name says {shown(_telling_words(s)[0])!r}, as of fields kept up to date after the start, "
        f"and it tells something (AUC {s.power.auc:.3f})"
    )


_T: Final = THRESHOLDS
_RULES: Final = (
    _Rule("block", lambda s: s.power.low >= _T["block_power"], (_says_power,)),
    _Rule("block", lambda s: s.filled.low >= _T["block_filled"], (_says_filled,)),
    _Rule(
        "block",
        lambda s: s.filled.low >= _T["filled_tells"] and s.filled_odds >= _T["block_filled_odds"],
        (_says_filled, _says_filled_odds),
    ),
    _Rule(
        "block",
        lambda s: s.filled.low >= _T["filled_tells"] and s.value.low >= _T["block_filled_and_value"],
        (_says_filled, _says_value),
    ),
    _Rule(
        "block", lambda s: min(s.mostly_won.share, s.mostly_lost.share) >= _T["block_sides"], (_says_sides,)
    ),
    _Rule("block", lambda s: s.sure_won.share >= _T["block_sure_won"], (_says_sure_won,)),
    _Rule("suspect", lambda s: s.power.low >= _T["suspect_power"], (_says_power,)),
    _Rule("suspect", lambda s: s.filled.low >= _T["suspect_filled"], (_says_filled,)),
    _Rule(
        "suspect",
        lambda s: s.filled.low >= _T["filled_tells"] and s.value.low >= _T["suspect_filled_and_value"],
        (_says_filled, _says_value),
    ),
    _Rule("suspect", lambda s: s.mostly_lost.share >= _T["suspect_mostly_lost"], (_says_mostly_lost,)),
    _Rule(
        "suspect",
        lambda s: (
            s.forward_auc is not None
            and s.calendar >= _T["calendar_share"]
            and s.power.low >= _T["suspect_calendar"]
            and s.power.auc - s.forward_auc >= _T["calendar_drop"]
        ),
        (_says_calendar,),
    ),
    _Rule("suspect", lambda s: s.fill_high - s.fill_low >= _T["fill_swing"], (_says_swing,)),
    _Rule(
        "suspect", lambda s: bool(_telling_words(s)) and s.power.low >= _T["suspect_named"], (_says_named,)
    ),
)


def audit(
    fields: pd.DataFrame,
    y: ArrayLike,
    *,
    group: ArrayLike | None = None,
    order: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[FieldAudit, ...]:
    """Judge every field by what its values alone, and its gaps alone, tell about the outcome.

    Each field is turned into levels: a text's values, a number's or a time's twentieths (its values where
    they are at most 50), a free text's length (more than 50 values, most of which occur once or twice), and
    missing as a level of its own. In grouped folds, a level's share of won leads among the training rows,
    pulled a little towards the overall share, is the score of the test rows; its AUC is the field's power.

    The thinking behind the rules, in the order of `THRESHOLDS`:

    - Known before the outcome, one field alone does not separate won from lost almost perfectly.
    - Honest fields come in two kinds. Some are always known (a source, the time spent on the site): their
      values may tell much, their gaps nothing. Some are asked for in a form: that a lead answered tells of
      its interest, what it answered tells little. A field whose gaps tell *and* whose values, where filled
      in, tell a lot again was filled in by someone who saw how the lead went.
    - Where a field is filled in hardly ever for the lost, or hardly ever for the won, filling it in is part
      of closing the lead.
    - A trait of a lead may single out a small group of sure buyers (a recommendation), or people who cannot
      buy (a student). A field whose levels settle the outcome on both sides, or that holds many of the won
      leads in levels which are nearly always won, is a record of the outcome. Missing is not a level here,
      nor are the parts of a number of more than 50 values: an honest strong number has extreme ends too.
    - What follows the calendar and fails in later periods tells when a lead was seen, not how good it is.
    - Names are a hint only: they lead to a question, never to a block.

    "Block" wants the field excluded or allowed with a reason; "suspect" wants an answer to when it is
    filled in. Levels are named in the evidence only when they cover at least 20 leads. A field that leaks
    little, or only together with others, is not found here.

    Parameters
    ----------
    fields : DataFrame (n, fields)
        Raw attributes as they stand in the table; ids and the outcome are left to the caller to leave out.
    y : array of n outcomes, 0 or 1
    group : array of n group codes, optional
        Rows of one group stay on one side of a fold.
    order : array of n numbers, optional
        Anything that grows with time; the rules on the calendar need it.
    seed : int
        Of the folds.

    Returns
    -------
    tuple of FieldAudit
        One a field, in the order of the columns.

    Raises
    ------
    DataError
        When there are too few outcomes of either kind to judge by.

    Examples
    --------
    >>> y = np.arange(400) % 2
    >>> fields = pd.DataFrame({"size": np.arange(400) % 7, "contract_signed": np.where(y, "yes", None)})
    >>> for found in audit(fields, y):
    ...     print(found.field, found.verdict)
    size ok
    contract_signed block
    """
    outcome = binary_outcome(y)
    if len(fields) != len(outcome):
        found = f"{len(fields)} rows and {len(outcome)} outcomes"
        raise UsageError(explain("one outcome a row of fields", found, "pass equal lengths"))
    when = None if order is None else np.asarray(order, dtype=np.float64)
    ground = _Ground(
        y=outcome,
        group=np.arange(len(outcome)) if group is None else np.asarray(group),
        folds=grouped_folds(group, outcome, _FOLDS, seed),
        later=() if when is None else _later_folds(when, group, outcome),
        place=None
        if when is None
        else np.argsort(np.argsort(when, kind="stable"), kind="stable") / len(when),
    )
    columns = ((str(name), _coded(fields.iloc[:, place])) for place, name in enumerate(fields.columns))
    return tuple(_judge(_signals(name, coded, ground)) for name, coded in columns)


def _later_folds(when: Floats, group: ArrayLike | None, y: Floats) -> tuple[Fold, ...]:
    try:
        return forward_folds(when, group, y=y)
    except DataError:
        return ()  # too short a history to look forward: judged without


def _coded(column: "pd.Series[Any]") -> _Coded:
    """Turn any column into levels; what is missing, or blank text, is level 0."""
    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(column.dtype):
        moments = pd.to_datetime(column, utc=True).to_numpy(dtype="datetime64[us]")
        return _coded_numbers(
            np.where(np.isnat(moments), np.nan, moments.astype(np.int64).astype(np.float64))
        )
    if kinds.is_numeric_dtype(column.dtype) and not kinds.is_bool_dtype(column.dtype):
        return _coded_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    text = column.astype(object).where(column.notna().to_numpy(), "").astype(str).str.strip()
    levels, code = np.unique(text.to_numpy(dtype=str), return_inverse=True)
    filled = int((text != "").sum())
    if len(levels) > _LEVELS:
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
        if np.isfinite(numbers).sum() >= _READABLE * filled:
            return _coded_numbers(numbers)
        if len(levels) > _FREE_TEXT * filled:
            lengths = text.str.len().to_numpy(dtype=np.float64)
            return _Coded(_coded_numbers(np.where(lengths > 0, lengths, np.nan)).code, None)
    shift = 0 if levels[0] == "" else 1
    return _Coded(code.astype(np.int64) + shift, ("",) * shift + tuple(levels.tolist()))


def _coded_numbers(values: Floats) -> _Coded:
    """Give few distinct numbers a level each, and many numbers levels of equal counts."""
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if len(distinct) <= _LEVELS:
        code = np.where(known, np.searchsorted(distinct, values) + 1, 0)
        return _Coded(code, ("", *(f"{value:g}" for value in distinct)))
    cuts, times = np.unique(
        np.quantile(values[known], np.linspace(0, 1, _BINS + 1)[1:-1]), return_counts=True
    )
    # a number that fills whole bins, such as 0, is a level of its own
    edges = np.union1d(cuts, np.nextafter(cuts[times > 1], -np.inf))
    return _Coded(np.where(known, np.searchsorted(edges, values) + 1, 0), None)


def _tally(code: Ints, y: Floats, size: int) -> tuple[Floats, Floats]:
    """Count the won and the lost rows of every level."""
    won = np.bincount(code, weights=y, minlength=size).astype(np.float64)
    return won, np.bincount(code, minlength=size).astype(np.float64) - won


def _odds(won: Floats, lost: Floats) -> Floats:
    """Return the odds of winning; half a lead on each side keeps them finite."""
    return (won + 0.5) / (lost + 0.5)


def _auc(coded: _Coded, y: Floats, folds: Sequence[Fold], *, filled_only: bool = False) -> float:
    """Score test rows by their level's training rate and average the folds' AUCs by their pairs."""
    pairs, ranked = 0.0, 0.0
    for fold in folds:
        won, lost = _tally(coded.code[fold.train], y[fold.train], coded.size)
        overall = won.sum() / (won.sum() + lost.sum())
        rate = (won + _SHRINK * overall) / (won + lost + _SHRINK)
        won, lost = _tally(coded.code[fold.test], y[fold.test], coded.size)
        if filled_only:
            won[0] = lost[0] = 0
        if won.sum() and lost.sum():
            outcomes = np.repeat((1, 0), coded.size)
            auc = METRICS["roc_auc"](outcomes, np.tile(rate, 2), np.append(won, lost))
            ranked += auc * won.sum() * lost.sum()
            pairs += won.sum() * lost.sum()
    return float(ranked / pairs) if pairs else 0.5


def _power(auc: float, won: int, lost: int) -> _Power:
    """Put the lower end of the 95 % interval beside an AUC (Hanley and McNeil 1982)."""
    if not won or not lost:
        return _Power(auc, 0.0)
    q1, q2, square = auc / (2 - auc), 2 * auc**2 / (1 + auc), auc**2
    variance = (auc * (1 - auc) + (won - 1) * (q1 - square) + (lost - 1) * (q2 - square)) / (won * lost)
    return _Power(auc, auc - 1.96 * max(variance, 0.0) ** 0.5)


def _leads(ground: _Ground, rows: NDArray[np.bool_]) -> tuple[int, int]:
    """Count the won and the lost groups among some rows: duplicates prove nothing."""
    won, lost = (len(np.unique(ground.group[rows & (ground.y == value)])) for value in (1, 0))
    return won, lost


def _mostly_won(won: Floats, lost: Floats, overall: float) -> NDArray[np.bool_]:
    return _odds(won, lost) >= overall * _T["settled_odds"]


def _sure_won(won: Floats, lost: Floats, overall: float) -> NDArray[np.bool_]:
    sure = _odds(won, lost) >= overall * _T["sure_odds"]
    return sure & (won >= _T["sure_won"] * (won + lost))


def _mostly_lost(won: Floats, lost: Floats, overall: float) -> NDArray[np.bool_]:
    return _odds(won, lost) <= overall / _T["settled_odds"]


def _levels(
    coded: _Coded, ground: _Ground, settles: Callable[[Floats, Floats, float], NDArray[np.bool_]]
) -> _Levels:
    """Find levels that settle the outcome in training rows, and see whether they do in the test rows."""
    if coded.names is None:
        return _Levels()
    overall = float(ground.y.sum() / (len(ground.y) - ground.y.sum()))
    inside, often = np.zeros(2), np.zeros(coded.size)
    for fold in ground.folds:
        won, lost = _tally(coded.code[fold.train], ground.y[fold.train], coded.size)
        picked = settles(won, lost, overall) & (won + lost >= _T["level_rows"])
        picked[0] = False
        won, lost = _tally(coded.code[fold.test], ground.y[fold.test], coded.size)
        inside += won[picked].sum(), lost[picked].sum()
        often += picked
    if not inside.any() or not settles(inside[:1], inside[1:], overall)[0]:
        return _Levels()
    won, lost = _tally(coded.code, ground.y, coded.size)
    largest = sorted(
        np.flatnonzero(often > len(ground.folds) / 2), key=lambda level: -won[level] - lost[level]
    )
    return _Levels(
        share=float(inside[1] / lost.sum() if settles is _mostly_lost else inside[0] / won.sum()),
        names=tuple(
            f"{shown(coded.names[k])!r}: {won[k] / (won[k] + lost[k]):.1%} won of {won[k] + lost[k]:.0f}"
            for k in largest[:2]
            if won[k] + lost[k] >= _T["level_rows"]
        ),
    )


def _calendar(code: Ints, size: int, place: Floats) -> float:
    """Return the share of the order's variance that lies between levels, adjusted for their number."""
    count = np.bincount(code, minlength=size)
    mean = np.bincount(code, weights=place, minlength=size) / np.maximum(count, 1)
    within = float(((place - mean[code]) ** 2).sum())
    spare = len(place) - int((count > 0).sum())
    return max(0.0, 1 - within / spare / float(place.var(ddof=1))) if spare > 0 else 0.0


def _signals(name: str, coded: _Coded, ground: _Ground) -> _Signals:
    filled = coded.code > 0
    won_filled, won_missing = (
        float(ground.y[rows].mean()) if rows.any() else float("nan") for rows in (filled, ~filled)
    )
    won, lost = _leads(ground, np.ones(len(filled), dtype=bool))
    gaps = _Coded(filled.astype(np.int64), None)
    in_gaps, in_filled = _odds(*_tally(gaps.code, ground.y, 2))
    fill, calendar = [float(filled.mean())], 0.0
    if ground.place is not None:
        fifth = np.minimum((ground.place * 5).astype(np.int64), 4)
        count = np.bincount(fifth, minlength=5)
        if count.min() >= _T["level_rows"]:
            fill = (np.bincount(fifth, weights=filled, minlength=5) / count).tolist()
        calendar = _calendar(coded.code, coded.size, ground.place)
    return _Signals(
        field=name,
        distinct=len(np.unique(coded.code)),
        share_filled=float(filled.mean()),
        won_filled=won_filled,
        won_missing=won_missing,
        filled_odds=float(max(in_filled / in_gaps, in_gaps / in_filled)),
        power=_power(_auc(coded, ground.y, ground.folds), won, lost),
        filled=_power(_auc(gaps, ground.y, ground.folds), won, lost),
        value=_power(_auc(coded, ground.y, ground.folds, filled_only=True), *_leads(ground, filled)),
        mostly_won=_levels(coded, ground, _mostly_won),
        sure_won=_levels(coded, ground, _sure_won),
        mostly_lost=_levels(coded, ground, _mostly_lost),
        forward_auc=_auc(coded, ground.y, ground.later) if ground.later else None,
        calendar=calendar,
        fill_low=min(fill),
        fill_high=max(fill),
    )


def _judge(signals: _Signals) -> FieldAudit:
    """Apply the rules: the gravest verdict and its reasons hold, the power is always told."""
    fired = [rule for rule in _RULES if rule.holds(signals)]
    given = {rule.verdict for rule in fired}
    verdict: Verdict = "block" if "block" in given else "suspect" if given else "ok"
    told = _says_power(signals)
    if signals.distinct < 2:
        told = "it is always the same: it tells nothing" if signals.share_filled else "it is never filled in"
    return FieldAudit(
        field=signals.field,
        verdict=verdict,
        evidence=tuple(
            dict.fromkeys(
                [*(says(signals) for rule in fired if rule.verdict == verdict for says in rule.says), told]
            )
        ),
        auc=signals.power.auc,
        missing_auc=signals.filled.auc,
        filled_auc=signals.value.auc,
    )
