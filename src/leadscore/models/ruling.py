"""Turns weighted terms into the rules of a point table, whole points or not."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from leadscore.models.conditions import Condition
from leadscore.models.growing import Grown, Part, Units
from leadscore.models.matrix import OTHER, Column, Floats
from leadscore.models.points import PointRule

_COMMON: Final = 0.1  # what this share of rows have is common: it earns nothing, and others more or less


def rules_of(
    grown: Grown, parts: Sequence[Part], columns: Sequence[Column], scale: float, *, whole: bool
) -> tuple[PointRule, ...]:
    """Write a grown model as rules, in the order in which its columns came in.

    What is worth least among the values that are common earns nothing, so that few totals end below 0; rarer
    ones that are worth less lose points.

    Parameters
    ----------
    grown : Grown
    parts : sequence of Part
    columns : sequence of Column
        All the columns of X.
    scale : float
        Points in one unit of log-odds.
    whole : bool
        Round: to whole points, and points below one for each unit to tenths.

    Returns
    -------
    tuple of PointRule
        Labelled by column and condition.
    """
    rules: list[PointRule] = []
    for j in dict.fromkeys(term.part for term in grown.terms):
        part = parts[j]
        own = [(t, w) for t, w in zip(grown.terms, grown.weights.tolist(), strict=True) if t.part == j]
        column = columns[part.column]
        if isinstance(part, Units):
            (term, weight), *_ = own
            rules += _each(column.name, scale * weight, term.cap, whole=whole)
            continue
        worth = np.zeros(part.size)
        for term, weight in own:
            worth[list(term.bins)] += scale * weight
        rows = np.bincount(part.code, minlength=part.size).astype(np.float64)
        if part.edges is None:
            rules += _levels(column, worth, rows, whole)
        else:
            rules += _thresholds(column, part.edges, worth, rows, whole)
    return tuple(rules)


def total(rules: Sequence[PointRule], M: Floats, columns: Sequence[Column]) -> Floats:
    """Add up what rows earn, beyond the ends of the scale too."""
    points = np.zeros(len(M))
    for rule in rules:
        points = points + rule.earned(M, columns)
    return points


def _each(name: str, cap: float, units: float, *, whole: bool) -> list[PointRule]:
    """Give points for each unit; `cap` is what all units that count are worth."""
    each = cap / units
    if whole:
        cap, each = round(cap), round(each) if abs(each) >= 1 else round(each, 1)
    return [PointRule(f"{name} each", each, per=name, cap=abs(cap))] if each and cap else []


def _thresholds(column: Column, edges: Floats, worth: Floats, rows: Floats, whole: bool) -> list[PointRule]:
    """Write a number's worth as steps up and down from the stretch that earns nothing."""
    base = _base(worth[:-1], rows[:-1], rows.sum())
    points = _rounded(worth - worth[base], whole)
    rules = []
    for i, edge in enumerate(edges.tolist()):
        step = points[i + 1] - points[i]
        if step:
            op, sign = ("at_least", 1) if i >= base else ("below", -1)
            condition = Condition(column.name, op, edge)
            rules.append(PointRule(f"{column.name} {op.replace('_', ' ')} {edge:g}", sign * step, condition))
    return rules + _missing(column.name, points[-1], rows)


def _levels(column: Column, worth: Floats, rows: Floats, whole: bool) -> list[PointRule]:
    """Write levels of equal worth as one rule."""
    names = column.levels or ()
    seen = rows[:-1] > 0
    if seen.any():  # levels never seen are worth what an average one is
        near = np.abs(worth[:-1] - (worth[:-1] * rows[:-1]).sum() / rows[:-1].sum())
        worth[:-1][~seen] = worth[:-1][np.where(seen, near, np.inf).argmin()]
    points = _rounded(worth - worth[_base(worth, rows, rows.sum())], whole)
    rare = OTHER in names and rows[names.index(OTHER)] > 0  # words beside the levels, which have no names
    rules = []
    for value in sorted({*points[:-1].tolist()} - {0.0}, reverse=True):
        among = [name for name, own in zip(names, points[:-1].tolist(), strict=True) if own == value]
        rules.append(PointRule(*_among(column.name, among, names, value, rare=rare)))
    if points[-1] and rows[-1]:
        rules.append(PointRule(f"{column.name} missing", points[-1], Condition(column.name, "missing")))
    return rules


def _among(
    column: str, among: list[str], names: Sequence[str], value: float, *, rare: bool
) -> tuple[str, float, Condition]:
    """Name the levels, or all others where these are fewer or only so rare words are meant."""
    named = [name for name in among if name != OTHER]
    rest = [name for name in names if name not in among and name != OTHER]
    if (rare and OTHER in among) or (not rare and len(rest) < len(named)):
        if not rest:
            return f"{column} known", value, Condition(column, "present")
        return f"{column} other than {', '.join(rest)}", value, Condition(column, "not_in", tuple(rest))
    condition = (
        Condition(column, "is", named[0]) if len(named) == 1 else Condition(column, "in", tuple(named))
    )
    return f"{column} {condition.op} {', '.join(named)}", value, condition


def _missing(column: str, points: float, rows: Floats) -> list[PointRule]:
    """Give or take points where nothing is known; where that is common, give them to the others instead."""
    if not points or not rows[-1]:
        return []
    if points < 0 and rows[-1] >= _COMMON * rows.sum():
        return [PointRule(f"{column} known", -points, Condition(column, "present"))]
    return [PointRule(f"{column} missing", points, Condition(column, "missing"))]


def _base(worth: Floats, rows: Floats, of: float) -> int:
    """Choose what earns nothing: the least that a common value is worth, or else what is most frequent."""
    shares = {value: float(rows[worth == value].sum()) for value in dict.fromkeys(worth.tolist())}
    common = [value for value, count in shares.items() if count >= _COMMON * of]
    value = min(common) if common else max(shares, key=lambda own: shares[own])
    return int(np.flatnonzero((worth == value) & ((rows > 0) | (rows.sum() == 0)))[0])


def _rounded(points: Floats, whole: bool) -> Floats:
    return np.round(points) + 0.0 if whole else points
