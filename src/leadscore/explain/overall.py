"""What drives scores overall: each reason's points over many leads, and each value's rate beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, explain, nearest, shown
from leadscore.evaluation.metrics import binary_outcome
from leadscore.evaluation.reliability import Estimate, lead_codes, wilson
from leadscore.explain.cells import Coded, cut
from leadscore.explain.concepts import concept_label, concepts_of
from leadscore.explain.drivers import driver_points, grouped
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.explain.wording import clean
from leadscore.features.declare import Feature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.matrix import Column, Floats, columns_of, to_matrix
from leadscore.models.scorer import Scorer

MOST_VALUES: Final = 12
FEW: Final = 30  # leads: below this a rate says little, whatever its interval
SPREAD: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_AT_ONCE: Final = 50_000  # rows


@dataclass(frozen=True, slots=True)
class Cell:
    """The leads that have one value, or whose number lies in one range.

    Parameters
    ----------
    value : str
        Without control characters, but not escaped for HTML.
    rows, leads, converted : int
        A lead that was looked at several times has several rows; `converted` counts rows.
    rate : Estimate
        Converted rows among the rows, with its interval.
    lift : float
        Rate over the average; nan where nobody converted.
    side : int
        1 or -1 where the interval lies wholly above or below the average, else 0.
    points : float
        What the whole reason adds to a score, in the mean of these rows: what a card shows.
    own : float
        The part of it that comes from this column alone.
    plain : bool
        False for what is no value of its own: missing, or many values taken together.
    """

    value: str
    rows: int
    leads: int
    converted: int
    rate: Estimate
    lift: float
    side: int
    points: float
    own: float
    plain: bool

    @property
    def few(self) -> bool:
        """Whether there are too few leads for the rate to say much."""
        return self.leads < FEW


@dataclass(frozen=True, slots=True)
class Values:
    """One column behind a reason.

    Parameters
    ----------
    column : str
    measure : str
        What is read of the field or counted of the events, in words; empty for a field as it is, unless the
        reason has several fields.
    size : float
        Mean size of the column's own points.
    ordered : bool
        Whether the cells are ranges of numbers, the lowest first; else the highest rate comes first, and
        behind it what has few leads or is no value of its own.
    cells : tuple of Cell
        Every row is in one of them.
    """

    column: str
    measure: str
    size: float
    ordered: bool
    cells: tuple[Cell, ...]

    @property
    def ends(self) -> tuple[Cell, Cell] | None:
        """The lowest and the highest range that more than a few leads are in; None where there are no two."""
        ranges = [cell for cell in self.cells if cell.plain and not cell.few]
        return (ranges[0], ranges[-1]) if self.ordered and len(ranges) > 1 else None


@dataclass(frozen=True, slots=True)
class Reason:
    """One concept: what a card calls a reason.

    Parameters
    ----------
    label : str
        Without control characters, but not escaped for HTML.
    concept, family : str
    size : float
        Mean size of its points, which ranks reasons.
    mean : float
        Mean of its points: with those of all reasons and the base, the mean score before it is clipped.
    spread : tuple of float
        The points of 5, 25, 50, 75 and 95 % of the rows are at most so high.
    values : tuple of Values
        Its columns, the one with the largest points first.
    """

    label: str
    concept: str
    family: str
    size: float
    mean: float
    spread: tuple[float, ...]
    values: tuple[Values, ...]


@dataclass(frozen=True, slots=True)
class Overall:
    """What drives the scores of many leads, beside what came of them.

    Parameters
    ----------
    rows, leads, converted : int
        `converted` counts rows.
    average : Estimate
        Converted rows among the rows, with its interval.
    base : float
        The typical lead's score, to which reasons add.
    reasons : tuple of Reason
        The largest first.
    segments : mapping of str to Overall
        The same for each level of the segment, the one with most leads first.
    """

    rows: int
    leads: int
    converted: int
    average: Estimate
    base: float
    reasons: tuple[Reason, ...]
    segments: "Mapping[str, Overall]" = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """Lay all cells out: one row a segment, column and value; the segment of all leads is empty."""
        parts = {"": self, **self.segments}
        return pd.DataFrame(
            {
                "segment": segment,
                "reason": reason.label,
                "family": reason.family,
                "column": values.column,
                "value": cell.value,
                "rows": cell.rows,
                "leads": cell.leads,
                "converted": cell.converted,
                "rate": cell.rate.value,
                "low": cell.rate.low,
                "high": cell.rate.high,
                "lift": cell.lift,
                "points": cell.points,
                "own_points": cell.own,
            }
            for segment, part in parts.items()
            for reason in part.reasons
            for values in reason.values
            for cell in values.cells
        )


def overall(
    scorer: Scorer,
    calibration: Sigmoid,
    scale: Scale,
    X: pd.DataFrame,
    y: ArrayLike,
    *,
    features: Sequence[Feature] = (),
    group: ArrayLike | None = None,
    segment: str | None = None,
    most: int = MOST_VALUES,
    phrases: Phrases = USUAL,
) -> Overall:
    """Say what drives scores overall, and how often the leads with each value converted.

    Points are the model's, rates are what was seen: other things were not equal among the leads with a
    value, so that the two need not agree. Intervals are Wilson's (1927) for as many leads as the rows are
    worth when all rows of a lead share one outcome: (sum of m)^2 / sum of m^2, where m counts the rows of
    each lead (Kish 1965). One interval in twenty misses by chance alone.

    Parameters
    ----------
    scorer : Scorer
    calibration : Sigmoid
    scale : Scale
    X : DataFrame of shape (n, p)
        Rows whose outcome is known.
    y : array of n outcomes, 0 or 1
    features : sequence of Feature, optional
        Declarations of X's columns, which say what belongs to one reason and in which words; a column
        without one is a reason of its own.
    group : array of n lead codes, optional
        Rows of one lead; every row stands alone when left out.
    segment : str, optional
        A category of X, whose levels are looked at apart too, with the same ranges of numbers.
    most : int
        Words of a category that are shown apart; the rarer ones are taken together.
    phrases : Phrases, optional
        The project's own.

    Returns
    -------
    Overall

    Raises
    ------
    DataError
        X lacks a column, or holds another type than at training; an outcome is not 0 or 1.

    Examples
    --------
    >>> from leadscore.models.linear import LevelsTerm, LinearTable
    >>> region = Column("region", ("North", "South"))
    >>> scorer = LinearTable((region,), (LevelsTerm((-1.0, 1.0), missing=0.0, mean=0.0),), intercept=-2.0)
    >>> X = pd.DataFrame({"region": pd.Categorical(["North", "North", "South", "South"])})
    >>> found = overall(scorer, Sigmoid(1.0, 0.0), Scale(), X, [0, 0, 0, 1])
    >>> cells = found.reasons[0].values[0].cells
    >>> [(cell.value, cell.rate.value, cell.lift, round(cell.points)) for cell in cells]
    [('South', 0.5, 2.0, 12), ('North', 0.0, 0.0, -12)]
    """
    outcome = binary_outcome(y)
    lead = np.arange(len(outcome)) if group is None else lead_codes(group, len(outcome))
    M = to_matrix(X, scorer.columns)
    if len(M) != len(outcome) or not len(M):
        found = f"{len(outcome):,} outcomes of {len(M):,} rows"
        raise DataError(explain("one outcome a row, and at least one row", found, "pass equal lengths"))
    declared = {feature.name: feature for feature in features}
    told = _told(scorer, calibration, scale, M, declared, most, phrases)
    parts = {} if segment is None else _segments(X, segment, lead)
    return _of(
        told, outcome, lead, slice(None), {name: _of(told, outcome, lead, at) for name, at in parts.items()}
    )


# ------------------------------------------------------------------------------------- points and values
@dataclass(frozen=True, slots=True)
class _Concept:
    label: str
    concept: str
    family: str
    points: Floats
    columns: tuple[Coded, ...]


@dataclass(frozen=True, slots=True)
class _Told:
    base: float
    concepts: tuple[_Concept, ...]


def _told(
    scorer: Scorer,
    calibration: Sigmoid,
    scale: Scale,
    M: Floats,
    declared: Mapping[str, Feature],
    most: int,
    phrases: Phrases,
) -> _Told:
    """Add up the points of each concept and column for every row, and cut the columns into cells."""
    about = concepts_of(scorer, declared)
    behind = [columns[:1] for columns in scorer.driver_columns]
    sums, owns = [], []
    for start in range(0, len(M), _AT_ONCE):
        split = driver_points(scorer, calibration, scale, M[start : start + _AT_ONCE])
        keys, some = grouped(split.points, about)
        columns, own = grouped(split.points, behind)
        sums.append(some)
        owns.append(own)
    points, own = np.concatenate(sums), np.concatenate(owns)
    place = {column.name: j for j, column in enumerate(scorer.columns)}
    concepts = []
    for j, key in enumerate(keys):
        mine = [c for c in dict.fromkeys(c for c, k in zip(behind, about, strict=True) if k == key) if c]
        coded = tuple(
            cut(
                M[:, place[name]],
                scorer.columns[place[name]],
                declared.get(name),
                own[:, columns.index((name,))],
                most,
                phrases,
            )
            for (name,) in mine
        )
        words = concept_label(key[1], mine[0][0] if mine else None, declared, phrases)
        concepts.append(_Concept(words, key[1], key[0], points[:, j], coded))
    return _Told(split.base, tuple(concepts))


# ------------------------------------------------------------------------------------------------- rates
_Rows = NDArray[np.int64] | slice


def _of(
    told: _Told,
    outcome: Floats,
    lead: NDArray[np.int64],
    at: _Rows,
    segments: Mapping[str, Overall] | None = None,
) -> Overall:
    """Summarise some of the rows."""
    y = outcome[at]
    mine, leads = np.unique(lead[at], return_inverse=True)
    rows, many, converted, rates = _rates(np.zeros(len(y), np.int64), 1, y, leads, len(mine))
    reasons = [_reason(concept, y, leads, len(mine), at, rates[0].value) for concept in told.concepts]
    return Overall(
        int(rows[0]),
        int(many[0]),
        int(converted[0]),
        rates[0],
        told.base,
        tuple(sorted(reasons, key=lambda reason: -reason.size)),
        segments or {},
    )


def _reason(
    concept: _Concept, y: Floats, lead: NDArray[np.int64], leads: int, at: _Rows, average: float
) -> Reason:
    points = concept.points[at]
    values = [_values(coded, points, y, lead, leads, at, average) for coded in concept.columns]
    return Reason(
        label=concept.label,
        concept=concept.concept,
        family=concept.family,
        size=float(np.abs(points).mean()),
        mean=float(points.mean()),
        spread=tuple(np.quantile(points, SPREAD).tolist()),
        values=tuple(sorted(values, key=lambda each: -each.size)),
    )


def _values(
    coded: Coded,
    points: Floats,
    y: Floats,
    lead: NDArray[np.int64],
    leads: int,
    at: _Rows,
    average: float,
) -> Values:
    codes, own, n = coded.codes[at].astype(np.int64), coded.own[at], len(coded.words)
    rows, many, converted, rates = _rates(codes, n, y, lead, leads)
    mean, mine = (np.bincount(codes, of, n) / np.maximum(rows, 1) for of in (points, own))
    cells = [
        Cell(
            value=coded.words[c],
            rows=int(rows[c]),
            leads=int(many[c]),
            converted=int(converted[c]),
            rate=rates[c],
            lift=rates[c].value / average if average else math.nan,
            side=int(rates[c].low > average) - int(rates[c].high < average),
            points=float(mean[c]),
            own=float(mine[c]),
            plain=c < coded.plain,
        )
        for c in np.flatnonzero(rows).tolist()
    ]
    if not coded.ordered:
        cells.sort(key=lambda cell: (not cell.plain, cell.few, -cell.rate.value))
    return Values(coded.column, coded.measure, float(np.abs(own).mean()), coded.ordered, tuple(cells))


def _rates(
    codes: NDArray[np.int64], n: int, y: Floats, lead: NDArray[np.int64], leads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, list[Estimate]]:
    """Count the rows, leads and conversions of n cells, and give their rates."""
    each = np.bincount(codes * leads + lead, minlength=n * leads).reshape(n, leads)
    rows: NDArray[np.int64] = each.sum(axis=1)
    converted: Floats = np.bincount(codes, y, n).astype(np.float64)
    some = np.maximum(rows, 1)
    rate = converted / some
    low, high = wilson(rate, some**2 / np.maximum((each**2).sum(axis=1), 1))
    estimates = [Estimate(*three) for three in zip(rate.tolist(), low.tolist(), high.tolist(), strict=True)]
    many: NDArray[np.int64] = (each > 0).sum(axis=1)
    return rows, many, converted, estimates


def _segments(X: pd.DataFrame, name: str, lead: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Give the rows of each level of a category, the level with most leads first."""
    names = [str(column) for column in X.columns]
    levels = columns_of(X[[name]])[0].levels if name in names else None
    if levels is None:
        found = f"{shown(name)!r}{nearest(name, names)}"
        raise DataError(explain("a category of X as segment", found, "name one, or leave it out"))
    codes = to_matrix(X[[name]], (Column(name, levels),))[:, 0]
    codes = np.where(np.isnan(codes), len(levels), codes).astype(np.int64)
    words = (*(clean(level) for level in levels), "not given")
    rows = {c: np.flatnonzero(codes == c) for c in np.unique(codes).tolist()}
    order = sorted(rows, key=lambda c: -len(np.unique(lead[rows[c]])))
    return {words[c]: rows[c] for c in order}
