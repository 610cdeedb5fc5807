"""What belongs to one reason: columns of which one determines another tell the same thing twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.explain.phrases import USUAL, Phrases
from leadscore.explain.wording import Value, clean, label, sentence
from leadscore.features.declare import AttributeFeature, Feature
from leadscore.models.matrix import OTHER, Floats
from leadscore.models.scorer import Scorer

_LIMIT: Final = "limit"  # as a card has it: the family of what has no column
ENOUGH: Final = 20  # leads in a level; of fewer it is no wonder that they agree
DETERMINED: Final = 0.9  # share of a category's uncertainty that the other one takes away
_MOST: Final = 0.5  # share of the leads with a value that must be in levels of so many


def united(
    features: Sequence[Feature], scorer: Scorer, M: Floats, points: Floats, group: ArrayLike | None = None
) -> tuple[Feature, ...]:
    """Take categories of which one determines another together as one concept, such as campaign and source.

    A model is free to split what such columns say between them, so that neither part stands for the whole;
    their sum does. One determines another if it takes away nearly all uncertainty about it: Theil's
    uncertainty coefficient (1972), 1 - H(B | A) / H(B), over the leads that have both. Of several that it
    determines, a column joins the one that it tells most of: a city the region, not the continent, and two
    that have nothing to do with each other stay apart even where a third determines both.

    Parameters
    ----------
    features : sequence of Feature
        Declarations.
    scorer : Scorer
    M : array of shape (n, p)
        The training rows, as `to_matrix` lays them out for the scorer's columns. No outcome is looked at.
    points : array of shape (n, d)
        That each of the scorer's drivers adds. A column that moves no score stays alone: the name of a
        concept speaks of nothing that the model does not use.
    group : array of n lead codes, optional
        Rows of one lead count once, as the first of them is; every row stands alone when left out.

    Returns
    -------
    tuple of Feature
        The same declarations in the same order, with `together` where a concept has several fields.

    Examples
    --------
    >>> from leadscore.models.linear import LevelsTerm, LinearTable
    >>> from leadscore.models.matrix import Column
    >>> features = [AttributeFeature("category", name, levels=("a", "b", "c")) for name in ("source", "form")]
    >>> term = LevelsTerm((1.0, 0.0, -1.0, 0.0), missing=0.0, mean=0.0)
    >>> columns = tuple(Column(feature.name, feature.categories) for feature in features)
    >>> scorer = LinearTable(columns, (term, term), intercept=-2.0)
    >>> form = np.repeat([0.0, 1.0, 2.0], 30)
    >>> M = np.asfortranarray(np.column_stack([np.where(form == 2.0, 1.0, 0.0), form]))
    >>> [feature.concept for feature in united(features, scorer, M, scorer.contributions(M)[1])]
    ['source and form', 'source and form']
    """
    rows = np.arange(len(M)) if group is None else np.unique(np.asarray(group), return_index=True)[1]
    drivers = zip(scorer.driver_columns, points.T, strict=True)
    used = {name for behind, own in drivers if own.any() for name in behind}
    place = {c.name: j for j, c in enumerate(scorer.columns) if c.levels is not None and c.name in used}
    fields = [f for f in features if isinstance(f, AttributeFeature) and f.name in place]
    coded = {f.name: (_codes(M[rows, place[f.name]]), f.categories or ()) for f in fields}
    whole: dict[tuple[str, str], set[str]] = {}  # by family and field: the fields of its concept
    for feature in fields:
        others = [f for f in fields if f.family == feature.family and f.field != feature.field]
        told = [_told(*coded[feature.name], coded[other.name][0]) for other in others]
        if max(told, default=0.0) > 0:
            best = others[int(np.argmax(told))]
            joined = _of(whole, feature) | _of(whole, best)
            whole |= {(feature.family, field): joined for field in joined}
    return tuple(_with(feature, fields, whole) for feature in features)


def concepts_of(scorer: Scorer, declared: Mapping[str, Feature]) -> list[tuple[str, str]]:
    """Say which reason each driver belongs to: its family and concept.

    Parameters
    ----------
    scorer : Scorer
    declared : mapping of str to Feature
        By column name. A column that is not declared is a reason of its own, and so is a driver without a
        column, whose family is "limit".
    """
    features = [declared.get(columns[0]) if columns else None for columns in scorer.driver_columns]
    return [
        (feature.family, feature.concept) if feature else ("fit", columns[0]) if columns else (_LIMIT, name)
        for name, columns, feature in zip(scorer.drivers, scorer.driver_columns, features, strict=True)
    ]


def concept_label(
    concept: str, column: str | None, declared: Mapping[str, Feature], phrases: Phrases = USUAL
) -> str:
    """Name a reason by the declaration of its first column, and without one as the concept is called."""
    feature = declared.get(column or "")
    words = clean(concept) if feature is None else heading(feature, phrases)
    return words[:1].upper() + words[1:]


def heading(feature: Feature, phrases: Phrases = USUAL) -> str:
    """Name the reason that a feature belongs to: its label, or those of all fields told together.

    Examples
    --------
    >>> heading(AttributeFeature("category", "source", together=("source", "campaign_name")))
    'Source and campaign name'
    """
    if not isinstance(feature, AttributeFeature) or not feature.together:
        return label(feature, phrases)
    alone = (replace(feature, field=field, together=()) for field in feature.together)
    first, *more = (label(each, phrases) for each in alone)
    return " and ".join([first, *map(uncapital, more)])


def speakers(
    drivers: Iterable[int],
    sizes: Floats,
    driver_columns: Sequence[tuple[str, ...]],
    declared: Mapping[str, Feature],
) -> tuple[str, ...]:
    """Say which columns speak for a concept: of each of its fields the one with the most points.

    Parameters
    ----------
    drivers : iterable of int
        The concept's, among the scorer's.
    sizes : array of shape (d,)
        Of each driver's points. A field without any is silent, unless all are.
    driver_columns : sequence of tuple of str
        Of the scorer.
    declared : mapping of str to Feature
        By column name.

    Returns
    -------
    tuple of str
        The loudest first; empty where drivers have no column.
    """
    first: dict[tuple[str, ...], str] = {}
    for driver in sorted(drivers, key=lambda d: -sizes[d]):
        for column in driver_columns[driver][:1]:
            if sizes[driver] or not first:
                first.setdefault(declared[column].reads, column)
    return tuple(first.values())


def spoken(
    values: Mapping[str, Value],
    typical: Mapping[str, Value],
    declared: Mapping[str, Feature],
    phrases: Phrases = USUAL,
) -> str:
    """Say what a lead's values are in the columns that speak for a concept, in their order.

    Parameters
    ----------
    values, typical : mapping of str to float, str or None
        By column name: the lead's in the columns that speak, at least one, and a typical lead's.
    declared : mapping of str to Feature
        By column name.
    phrases : Phrases, optional
        The project's own.

    Examples
    --------
    >>> declared = {name: AttributeFeature("category", name) for name in ("campaign", "source")}
    >>> spoken({"campaign": "list-q1", "source": "Outbound List"}, {}, declared)
    'Campaign: list-q1 (source: Outbound List)'
    """
    first, *more = values
    text = sentence(declared[first], values[first], typical.get(first), phrases)
    besides = [uncapital(sentence(declared[name], values[name], None, phrases)) for name in more]
    return f"{text} ({'; '.join(besides)})" if besides else text


def uncapital(text: str) -> str:
    """Go on with a sentence: its first letter becomes small, unless it begins with a code or capitals.

    Examples
    --------
    >>> uncapital("Source: Ads"), uncapital("CRM owner: Kim")
    ('source: Ads', 'CRM owner: Kim')
    """
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _of(whole: dict[tuple[str, str], set[str]], feature: AttributeFeature) -> set[str]:
    field = feature.field or ""
    return whole.get((feature.family, field), {field})


def _with(
    feature: Feature, fields: Sequence[AttributeFeature], whole: dict[tuple[str, str], set[str]]
) -> Feature:
    if not isinstance(feature, AttributeFeature):
        return feature
    mine = _of(whole, feature)
    order = dict.fromkeys(f.field for f in fields if f.field in mine and f.family == feature.family)
    return replace(feature, together=tuple(field for field in order if field)) if len(mine) > 1 else feature


def _codes(x: Floats) -> NDArray[np.int64]:
    """Give levels as integers, and what is missing as -1."""
    return np.where(np.isnan(x), -1.0, x).astype(np.int64)


def _told(a: NDArray[np.int64], levels: Sequence[str], b: NDArray[np.int64]) -> float:
    """Give the bits that one category tells of another where it determines it, and else 0."""
    known = (a >= 0) & (b >= 0)
    own = known & (a != levels.index(OTHER)) if OTHER in levels else known
    width = int(b.max(initial=0)) + 1
    table = np.bincount(a[own] * width + b[own], minlength=len(levels) * width).reshape(-1, width)
    table = table[table.sum(axis=1) >= ENOUGH]
    if len(table) < 2 or table.sum() < _MOST * known.sum():
        return 0.0
    before = float(_bits(table.sum(axis=0)))
    after = float(_bits(table) @ table.sum(axis=1) / table.sum())
    return before - after if before > 0 and after <= (1 - DETERMINED) * before else 0.0


def _bits(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the entropy of each row of counts."""
    share = counts / counts.sum(axis=-1, keepdims=True)
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    entropy: NDArray[np.float64] = -(share * logs).sum(axis=-1)
    return entropy
