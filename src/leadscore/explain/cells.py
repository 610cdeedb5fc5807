"""Columns cut into cells that people can read: the words of a category, or a few ranges of numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leadscore.explain.concepts import uncapital
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.explain.wording import SPOKEN, clean, days, label, noun_of
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.models.matrix import OTHER, Column, Floats

_BINS: Final = 5
_DISTINCT: Final = _BINS + 1  # numbers that stay what they are
_VAST: Final = 1e15  # numbers from here on are no counts, and are not written in full
_RARE: Final = 0.01  # of the rows: the highest of few distinct numbers are taken together while below this


@dataclass(frozen=True, slots=True)
class Coded:
    """A column as cells.

    Parameters
    ----------
    column : str
    measure : str
        What is read of the field or counted of the events, in words; empty for a field as it is.
    codes : array of shape (n,)
        The number of each row's cell.
    words : tuple of str
        Of the cells; the last is what is missing. Not escaped for HTML.
    plain : int
        The cells from here on are no values of their own.
    ordered : bool
        Whether the cells are ranges of numbers, the lowest first.
    own : array of shape (n,)
        The column's points.
    """

    column: str
    measure: str
    codes: NDArray[np.int16]
    words: tuple[str, ...]
    plain: int
    ordered: bool
    own: Floats


def cut(
    x: Floats,
    column: Column,
    feature: Feature | None,
    own: Floats,
    most: int,
    phrases: Phrases = USUAL,
) -> Coded:
    """Cut a column of a matrix into cells.

    Few distinct numbers stay what they are, others fall into five ranges with about as many rows each; a
    lowest number that is frequent, as 0 is of counts, is a cell of its own.

    Parameters
    ----------
    x : array of shape (n,)
        As `to_matrix` lays it out.
    column : Column
    feature : Feature, optional
        What the column is, for words.
    own : array of shape (n,)
        The column's points.
    most : int
        Words of a category that are cells of their own; the rarer ones are taken together.
    phrases : Phrases, optional
        The project's own.

    Returns
    -------
    Coded

    Examples
    --------
    >>> x = np.array([0.0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 9, np.nan])
    >>> cut(x, Column("visits"), None, x, 12).words
    ('0', '1', '2 to 3', '4 to 5', '6 or more', 'not given')
    """
    present = ~np.isnan(x)
    ordered = column.levels is None
    if ordered:
        codes, words = _ranges(x[present], feature)
        plain = len(words)
    else:
        codes, words, plain = _words(x[present].astype(np.int64), column.levels or (), feature, most)
    placed = np.full(len(x), len(words), np.int16)  # behind the others: missing
    placed[present] = codes
    return Coded(
        column.name, _measure(feature, phrases), placed, (*words, _absent(feature)), plain, ordered, own
    )


def _words(
    codes: NDArray[np.int64], levels: Sequence[str], feature: Feature | None, most: int
) -> tuple[NDArray[np.int64], tuple[str, ...], int]:
    """Keep the most frequent words of a category, and take the rest together."""
    counts = np.bincount(codes, minlength=len(levels))
    present = np.flatnonzero(counts)
    if len(present) > most:
        present = np.sort(present[np.argsort(-counts[present], kind="stable")][: most - 1])
    rest = np.count_nonzero(counts) - len(present)
    renumbered = np.full(len(levels), len(present), np.int64)
    renumbered[present] = np.arange(len(present))
    words = [_word(levels[level], feature) for level in present.tolist()]
    return renumbered[codes], (*words, *([f"{rest:,} rarer values"] if rest else [])), len(present)


def _word(level: str, feature: Feature | None) -> str:
    read = isinstance(feature, AttributeFeature) and feature.aggregate != "category"
    if level == OTHER:
        return "none of these" if read else "any other"
    return clean(SPOKEN.get(level, level.replace("_", " ")) if read else level)


def _ranges(x: Floats, feature: Feature | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Cut numbers into ranges with about as many rows each; few distinct ones stay what they are."""
    if isinstance(feature, AttributeFeature) and feature.aggregate == "filled_share":
        x = np.round(100 * x, 1)
    distinct, rows = np.unique(x, return_counts=True)
    rare = int((rows[::-1].cumsum() < _RARE * len(x)).sum())  # of the highest, all of them together
    if len(distinct) <= _DISTINCT and rare < 2:
        return np.searchsorted(distinct, x), tuple(_written(value, 6) for value in distinct.tolist())
    whole = bool((distinct == np.round(distinct)).all() and np.abs(distinct).max() < _VAST)
    cuts = distinct[: -rare - 1] if len(distinct) <= _DISTINCT else _quantiles(x, float(distinct[0]))
    places = 0 if whole else _places(cuts, distinct)
    cuts = np.unique(np.round(cuts, places))
    cuts = cuts[(cuts >= distinct[0]) & (cuts < distinct[-1])]
    ends = cuts.tolist()
    if not ends:
        return np.zeros(len(x), np.int64), ("any",)
    first = _written(ends[0], places) if ends[0] == distinct[0] else f"up to {_written(ends[0], places)}"
    return np.searchsorted(cuts, x), (first, *_between(ends, whole, places, float(distinct[-1])))


def _quantiles(x: Floats, lowest: float) -> Floats:
    frequent = float((x == lowest).mean()) >= 1 / _BINS
    rest = x[x > lowest] if frequent else x
    shares = np.linspace(0, 1, _BINS if frequent else _BINS + 1)[1:-1]
    cuts = np.quantile(rest, shares, method="inverted_cdf")
    return np.unique([lowest, *cuts] if frequent else cuts)


def _between(ends: list[float], whole: bool, places: int, highest: float) -> list[str]:
    """Name the ranges behind the first: whole numbers from one to another, others above one up to another."""
    if not whole:
        inner = pairwise(ends)
        named = [f"above {_written(low, places)} to {_written(high, places)}" for low, high in inner]
        return [*named, f"above {_written(ends[-1], places)}"]
    named = []
    for end, high in pairwise(ends):
        low = end + 1
        named.append(_written(low, 0) if low == high else f"{_written(low, 0)} to {_written(high, 0)}")
    last = ends[-1] + 1
    return [*named, _written(last, 0) if last == highest else f"{_written(last, 0)} or more"]


def _places(cuts: Floats, distinct: Floats) -> int:
    """Give the decimals that tell most cuts apart with two digits."""
    gaps = np.diff((cuts if len(cuts) > 1 else distinct[[0, -1]]) / 4)  # quarters do not overflow
    return min(12, max(-12, 1 - math.floor(math.log10(max(np.median(gaps), 1e-300)) + math.log10(4))))


def _written(value: float, places: int) -> str:
    if abs(value) >= _VAST:
        return f"{value:.4g}"
    text = f"{value:,.{max(0, places)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


# ---------------------------------------------------------------------------------------------- in words
_EVENTS: Final[Mapping[str, str]] = {
    "count": "how many{when}",
    "decayed_count": "how many, each counting half after {half}",
    "sum": "total value{when}",
    "decayed_sum": "total value, halved every {half}",
    "mean": "average value{when}",
    "ratio": "for each {per}{when}",
    "trend": "more or fewer{when} than before",
    "recency": "days since the last",
    "first_seen": "days since the first",
    "active_days": "on how many days{when}",
    "distinct_contents": "how many different contents{when}",
}
_ATTRIBUTES: Final[Mapping[str, str]] = {
    "seniority": "seniority",
    "department": "department",
    "email_domain_kind": "kind of address",
    "days_since": "days ago",
    "lead_age": "days",
    "filled_share": "%",
}
_ABSENT: Final[Mapping[str, str]] = {"recency": "never", "first_seen": "never"}


def _measure(feature: Feature | None, phrases: Phrases) -> str:
    if isinstance(feature, EventFeature):
        half = "" if feature.half_life is None else days(feature.half_life)
        when = " so far" if feature.window is None else f" in the last {days(feature.window)}"
        per = "" if feature.per is None else noun_of(EventFeature("count", feature.per), phrases).one
        return _EVENTS[feature.aggregate].format(when=when, half=half, per=per)
    if feature is None:
        return ""
    read = _ATTRIBUTES.get(feature.aggregate, "")
    return f"{uncapital(label(feature, phrases))}, {read}".removesuffix(", ") if feature.together else read


def _absent(feature: Feature | None) -> str:
    if isinstance(feature, EventFeature):
        return _ABSENT.get(feature.aggregate, "none")
    return "not given"
