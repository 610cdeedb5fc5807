"""Holds the team's hand-set points against the evidence, rule by rule."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from leadscore.errors import DataError, explain
from leadscore.models.calibration import probability
from leadscore.models.growing import ridge_logistic
from leadscore.models.matrix import Column, Floats, columns_of, to_matrix
from leadscore.models.points import PointRule
from leadscore.points.candidates import mature
from leadscore.train import Prepared

_WEAK: Final = 0.1  # a prior that only keeps what cannot be told apart from growing without end
_ALIKE: Final = 0.99  # correlation above which two rules are one to the data
_HOPELESS: Final = 100  # times the conversions there are
_NORMAL: Final = 1.96
_NEAR: Final = 0.25  # points within a quarter of the team's mean the same, and those within
_NEAR_FEW: Final = (1.0, 0.5)  # one point of a few, if that is no more than half of them


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One hand-set rule, and what the data say of it.

    Parameters
    ----------
    label : str
    points : float
        The team's.
    leads : int
        Leads that it gave or took points at some moment.
    rate_with, rate_without : float
        Share that converted among the rows that it hits, and among the others; nan where there are none.
    data_points, low, high : float
        The points that the data give beside all other rules, with a 95 % interval; nan where nobody is hit.
    verdict : str
        "supported", "too high", "too low", "contradicted" or "cannot tell yet".
    sentence : str
    """

    label: str
    points: float
    leads: int
    rate_with: float
    rate_without: float
    data_points: float
    low: float
    high: float
    verdict: str
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values for JSON; None in place of nan."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def review(prepared: Prepared) -> tuple[Reviewed, ...]:
    """Ask of each hand-set rule what its points would be if the data set them.

    Parameters
    ----------
    prepared : Prepared

    Returns
    -------
    tuple of Reviewed
        In the order of the config.

    Raises
    ------
    DataError
        There are no points.
    """
    known = mature(prepared)
    X = prepared.data.X.iloc[known]
    columns = columns_of(X)
    M, group = to_matrix(X, columns), prepared.data.group[known]
    return weigh(prepared.project.points, M, columns, prepared.y[known], group)


def weigh(
    rules: Sequence[PointRule], M: Floats, columns: Sequence[Column], y: ArrayLike, groups: ArrayLike
) -> tuple[Reviewed, ...]:
    """Fit all rules together, and put their weights on the scale of the team's points.

    A logistic regression is fitted on what each rule earned, all together, so that no rule is blamed or
    praised for another. Intervals allow for several rows of one lead. The scale is the one on which the
    totals spread as much as the team's own do.

    Parameters
    ----------
    rules : sequence of PointRule
    M : array of shape (n, p)
    columns : sequence of Column
        What the columns of M are.
    y : array of shape (n,)
        1 for a win.
    groups : array of shape (n,)
        One a lead.

    Returns
    -------
    tuple of Reviewed

    Raises
    ------
    DataError
        There are no points.

    References
    ----------
    Variances of clustered rows: K.-Y. Liang and S. Zeger, Biometrika 73 (1986).

    Examples
    --------
    >>> x = np.arange(4000.0) % 2
    >>> y = (np.arange(4000) % 10 < 2 + 4 * x).astype(float)
    >>> rule = PointRule("Visited", -10, per="visits")
    >>> weigh([rule], x[:, None], [Column("visits")], y, np.arange(4000))[0].verdict
    'contradicted'
    """
    if not rules:
        raise DataError(explain("points to review", "none in the config", "write some under points"))
    outcome = np.asarray(y, dtype=np.float64)
    code = np.unique(np.asarray(groups), return_inverse=True)[1]
    earned = np.stack([rule.earned(M, columns) for rule in rules], axis=1)
    team = np.array([rule.points for rule in rules])
    kin = _kin(earned)
    weights, spread = np.full(len(rules), np.nan), np.full(len(rules), np.nan)
    if kin:
        shared = np.stack([earned[:, members].sum(axis=1) for members in kin], axis=1)
        with threadpool_limits(1, user_api="blas"):
            fitted, errors = _together(shared, outcome, code)
        spread_of_data = float((shared * fitted).sum(axis=1).std())
        scale = float(shared.sum(axis=1).std()) / spread_of_data if spread_of_data > 0 else 1.0
        for members, weight, error in zip(kin, fitted * scale, errors * scale, strict=True):
            weights[members], spread[members] = weight * team[members], np.abs(error * team[members])
    won = len(np.unique(code[outcome == 1]))
    twins = {j: [rules[i].label for i in members if i != j] for members in kin for j in members}
    return tuple(
        _judged(
            rule, earned[:, j], outcome, code, (float(weights[j]), float(spread[j])), won, twins.get(j, [])
        )
        for j, rule in enumerate(rules)
    )


def _kin(earned: Floats) -> list[list[int]]:
    """Put rules that no data can tell apart together: what they earn goes up and down on the same rows."""
    kin: list[list[int]] = []
    for j in np.flatnonzero(earned.std(axis=0) > 0).tolist():
        for members in kin:
            if np.corrcoef(earned[:, members[0]], earned[:, j])[0, 1] > _ALIKE:
                members.append(j)
                break
        else:
            kin.append([j])
    return kin


def _together(units: Floats, y: Floats, code: Any) -> tuple[Floats, Floats]:
    """Give each weight in log-odds a point, and its standard error by lead."""
    scale = units.std(axis=0)
    Z = units / scale
    weights, intercept = ridge_logistic(Z, y, np.zeros(Z.shape[1]), 0.0, _WEAK)
    A = np.concatenate([Z, np.ones((len(y), 1))], axis=1)
    p = probability(Z @ weights + intercept)
    bread = np.linalg.inv((A * (p * (1 - p))[:, None]).T @ A + _WEAK * np.eye(A.shape[1]))
    scores = np.stack([np.bincount(code, column) for column in (A * (y - p)[:, None]).T], axis=1)
    # where few rows all end alike they seem to vary less than their number allows
    variance = np.maximum(np.diag(bread @ (scores.T @ scores) @ bread), np.diag(bread))[:-1]
    return weights / scale, np.sqrt(variance) / scale


def _judged(
    rule: PointRule,
    earned: Floats,
    y: Floats,
    code: Any,
    found: tuple[float, float],
    won: int,
    twins: Sequence[str],
) -> Reviewed:
    hit = earned != 0
    weight, spread = found
    low, high = weight - _NORMAL * spread, weight + _NORMAL * spread
    verdict, why = _verdict(rule.points, weight, low, high, won)
    if twins:
        why += f"; as one with {' and '.join(repr(twin) for twin in twins)}: no data tell them apart"
    return Reviewed(
        label=rule.label,
        points=rule.points,
        leads=len(np.unique(code[hit])),
        rate_with=float(y[hit].mean()) if hit.any() else math.nan,
        rate_without=float(y[~hit].mean()) if not hit.all() else math.nan,
        data_points=weight,
        low=low,
        high=high,
        verdict=verdict,
        sentence=why,
    )


def _verdict(points: float, weight: float, low: float, high: float, won: int) -> tuple[str, str]:
    """Judge one rule's points by the interval of the points that the data give."""
    if math.isnan(weight):
        why = "it gives no points" if points == 0 else "it tells no two leads apart"
        return "cannot tell yet", f"cannot tell yet: {why}"
    says = f"the data give {weight:+.3g} [{low:+.3g}, {high:+.3g}]"
    sign = math.copysign(1.0, points)
    least, most = sorted((low * sign, high * sign))
    near = max(_NEAR * abs(points), min(_NEAR_FEW[0], _NEAR_FEW[1] * abs(points)))
    if most < 0:
        return "contradicted", f"contradicted (wrong sign): {says}"
    if most < abs(points) - near:
        return "too high", f"too {'high' if sign > 0 else 'harsh'}: {says}"
    if least > abs(points) + near:
        return "too low", f"too {'low' if sign > 0 else 'mild'}: {says}"
    if least > 0:
        return "supported", f"supported: {says}"
    # the interval shrinks with the root of the conversions: until it cannot hold both 0 and the team's points
    needed = won * (((most - least) / (abs(points) - near)) ** 2 - 1)
    more = "hardly any lead is hit"
    if needed <= _HOPELESS * won:
        more = f"needs about {_two_digits(needed):,} more conversions"
    return "cannot tell yet", f"cannot tell yet ({more}): {says}"


def _two_digits(count: float) -> int:
    count = max(1.0, count)
    step = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return int(math.ceil(count / step) * step)
