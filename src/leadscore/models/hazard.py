"""A discrete-time hazard as tables: the chance of a win within a horizon, and when, with NumPy alone."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from leadscore.errors import ModelError, UsageError, explain, shown
from leadscore.models.forest import Forest, joined
from leadscore.models.lookup import Lookup, in_order
from leadscore.models.matrix import Column, Floats, is_finite

WEEK = 7.0  # days: what is urgent is likely within so many


@dataclass(frozen=True, eq=False)
class HazardForest:
    """Boosted hazards of a win, interval by interval, and the chance within the horizon that they make up.

    In interval j a lead that is not won yet is won with the hazard h_j, whose log-odds are
    ``f_j = offset_j + shared(x) + own_j(x)``; within the horizon H it is won with the chance
    ``P = 1 - (1 - h_1) ... (1 - h_J)``. The hazards are those of the subdistribution (Fine and Gray 1999):
    a lead that closes without a win counts as one that is not won, so that P is the cumulative incidence
    and needs no model of the closing. Within an interval the hazard is constant in time.

    Parameters
    ----------
    edges : tuple of float
        Where the intervals end, in days from now; the last is the horizon.
    offsets : tuple of float
        Log-odds of each interval's hazard, before any trees.
    shared : Forest
        The trees that are the same in all intervals.
    own : tuple of Forest
        For each interval the trees that are its own, over the same columns.

    Raises
    ------
    ModelError
        The parts do not fit together.
    """

    kind: ClassVar[str] = "hazard"

    edges: tuple[float, ...]
    offsets: tuple[float, ...]
    shared: Forest
    own: tuple[Forest, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.edges), len(self.offsets), len(self.own)}
        if len(sizes) > 1 or not self.edges:
            raise _unfit("others")
        if not all(map(is_finite, (*self.edges, *self.offsets))):
            raise _unfit("edges or offsets that are no finite numbers")
        if not (np.diff(self.edges, prepend=0.0) > 0).all():
            raise _unfit("edges that do not rise")
        if any(forest.columns != self.columns for forest in self.own):
            raise _unfit("forests over several sets of columns")

    @property
    def horizon(self) -> float:
        """Days within which a win is predicted."""
        return self.edges[-1]

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of a matrix are."""
        return self.shared.columns

    @property
    def drivers(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.shared.drivers

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """Each column stands behind its own driver."""
        return self.shared.driver_columns

    @property
    def used(self) -> frozenset[str]:
        """The columns that any of the forests asks for."""
        return self.shared.used.union(*(forest.used for forest in self.own))

    def margin(self, M: Floats) -> Floats:
        """Give the log-odds of a win within the horizon.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        array of shape (n,)
        """
        return log_odds_of(self._hazards(M))

    def within(self, M: Floats, days: ArrayLike) -> Floats:
        """Give the chance of a win within so many days, as the hazards tell it.

        Parameters
        ----------
        M : array of shape (n, columns)
        days : float or array of shape (n,)
            From 0 to the horizon.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        UsageError
            The days lie outside the horizon.
        """
        hazards = self._hazards(M)
        return np.exp(_log_chance(_log_total(hazards))) * share_of(hazards, self.edges, days)

    def share(self, M: Floats, days: ArrayLike) -> Floats:
        """Give which part of the horizon's chance falls within so many days; as `within`.

        A calibration corrects the chance within the horizon. It leaves this share alone, so that the
        calibrated chance is spread over time as the hazards spread it: it never falls with the days and
        ends at the calibrated chance of the horizon.
        """
        return share_of(self._hazards(M), self.edges, days)

    def urgency(self, M: Floats, days: float = WEEK) -> Floats:
        """Give the share of the horizon's chance that falls in the next days; 1 where they outlast it."""
        return self.share(M, min(days, self.horizon))

    def expected_days(self, M: Floats) -> Floats:
        """Give the expected days to the win of a lead that is won within the horizon.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        array of shape (n,)
            Between 0 and the horizon; calibrating the chance does not change it.
        """
        hazards = self._hazards(M)
        rates, total, begin, before = _rates(hazards), np.zeros(len(M)), 0.0, np.zeros(len(M))
        for rate, end in zip(rates, self.edges, strict=True):
            until = share_of(hazards, self.edges, end)
            total += (until - before) * (begin + (end - begin) * _middle(rate))
            begin, before = end, until
        return total

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Split the log-odds of a win within the horizon exactly among the columns.

        Each interval's margin f_j is a sum of exact SHAP values over the columns, from the average c_j of
        the training leads on. The log-odds G of P depend on all of them, and are split along the straight
        path from c to f (integrated gradients; Sundararajan, Taly and Yan 2017)::

            G(f) - G(c) = sum_j w_j (f_j - c_j),    w_j = integral of dG/df_j over the path,

        so that a column is given ``sum_j w_j phi_j``: what it does to each hazard, weighted with how much
        that hazard matters to the chance (dG/df_j = h_j / P). The integrals are Gauss-Legendre sums; what
        they miss of G(f) - G(c), less than 1e-6 for chances met in practice, is spread over the columns in
        proportion to the size of their contributions, so that the sum is exact. The interval is no column
        and gets nothing: its trees are resolved before they are explained. With one interval these are the
        SHAP values of the forest.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        base : float
            The log-odds where every interval's margin is the average of the training leads.
        contributions : array of shape (n, columns)
            base plus a row's sum is its margin, within rounding.
        """
        _, base, split = self.explained(M)
        return base, split

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give what `margin` and `contributions` give, to the last bit; trees are asked once.

        Parameters
        ----------
        M : array of shape (n, columns)

        Returns
        -------
        margin : array of shape (n,)
        base : float
        contributions : array of shape (n, columns)
        """
        (shared, *own), phi = self._lookup.explained(M)
        goals, common, parts = self._goals(shared, own), phi[0], phi[1:]
        margin, (start, typical) = log_odds_of(goals), self._typical
        parts += common
        parts *= _path_weights(start, goals)[:, None]
        split = in_order(np.zeros(common.size), parts.reshape(len(parts), common.size)).reshape(common.shape)
        if split.size:
            size = np.abs(split)
            rest, whole = in_order(margin - typical, -split), in_order(np.zeros(len(M)), size.copy())
            split += size * np.divide(rest, whole, out=np.zeros(len(M)), where=whole > 0)
        return margin, typical, split.T

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form: hazard.json, shared.npz and an interval_*.npz for each interval."""
        grid = {"edges": list(self.edges), "offsets": list(self.offsets)}
        files = {"hazard.json": json.dumps(grid, indent=1, allow_nan=False).encode()}
        for name, forest in zip(_names(len(self.own)), (self.shared, *self.own), strict=True):
            files[name] = forest.to_files()["forest.npz"]
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "HazardForest":
        """Read what `to_files` gave, checking everything: nothing in the files is trusted.

        Raises
        ------
        ModelError
            A file is absent, or does not hold its part.
        """
        try:
            grid = json.loads(files["hazard.json"])
        except (KeyError, ValueError, RecursionError):
            raise ModelError(explain("a readable hazard.json", "none", _RESTORE)) from None
        match grid:
            case {"edges": list(edges), "offsets": list(offsets), **rest} if not rest:
                absent = next((name for name in _names(len(edges)) if name not in files), None)
                if absent:
                    raise _unfit(f"no {absent}")
                if not all(map(is_finite, (*edges, *offsets))):
                    raise _unfit("edges or offsets that are no finite numbers")
                parts = (Forest.from_files({"forest.npz": files[name]}) for name in _names(len(edges)))
                return cls(tuple(map(float, edges)), tuple(map(float, offsets)), next(parts), tuple(parts))
        raise ModelError(explain("edges and offsets in hazard.json", "something else", _RESTORE))

    @cached_property
    def _lookup(self) -> Lookup:
        """The trees of all forests, the shared ones first: they are asked together."""
        forests = (self.shared, *self.own)
        return Lookup(joined(forests), tuple(accumulate(len(forest.inner) for forest in forests)))

    @cached_property
    def _typical(self) -> tuple[Floats, float]:
        """The average margin of each interval, shape (intervals, 1), and the log-odds that they make up."""
        start = self._goals(np.array([self.shared.base]), [np.array([own.base]) for own in self.own])
        return start, float(log_odds_of(start)[0])

    def _hazards(self, M: Floats) -> Floats:
        """Give the log-odds of each interval's hazard, shape (intervals, n)."""
        shared, *own = self._lookup.margin(M)
        return self._goals(shared, own)

    def _goals(self, shared: Floats, own: Iterable[Floats]) -> Floats:
        return np.stack([offset + shared + more for offset, more in zip(self.offsets, own, strict=True)])

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what follows from the forests."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


# ---- from the log-odds of hazards to chances: each row for itself, interval by interval


def log_odds_of(hazards: Sequence[Floats] | Floats) -> Floats:
    """Turn the log-odds of hazards into the log-odds of a win in any of the intervals.

    Parameters
    ----------
    hazards : sequence of arrays of shape (n,)
        One an interval.

    Returns
    -------
    array of shape (n,)

    Examples
    --------
    >>> half = np.zeros(1)
    >>> np.exp(log_odds_of([half, half])).round(9).tolist()
    [3.0]
    """
    log_total = _log_total(hazards)
    total = np.exp(np.minimum(log_total, _CERTAIN))
    return np.where(log_total < _SMALL, log_total, total + _log_chance(log_total))


def share_of(hazards: Sequence[Floats] | Floats, edges: Sequence[float], days: ArrayLike) -> Floats:
    """Give the share of the chance of a win in any interval that falls within so many days.

    Parameters
    ----------
    hazards : sequence of arrays of shape (n,)
        Log-odds, one an interval.
    edges : sequence of float
        Where the intervals end, days.
    days : float or array of shape (n,)
        From 0 to the last edge.

    Returns
    -------
    array of shape (n,)
        From 0 to 1, rising with the days.

    Raises
    ------
    UsageError
        The days lie outside.

    Examples
    --------
    >>> rare = np.full(1, -20.0)
    >>> share_of([rare, rare], (10.0, 30.0), 20.0).round(6).tolist()
    [0.75]
    """
    rows = len(hazards[0])
    wanted = np.asarray(days, dtype=np.float64)
    if wanted.ndim and wanted.shape != (rows,):
        found = f"an array of shape {wanted.shape}"
        raise UsageError(explain(f"days for each of the {rows} rows", found, "give one number, or one a row"))
    outside = ~((wanted >= 0) & (wanted <= edges[-1]))
    if outside.any():
        found = f"{shown(float(wanted[outside].flat[0]))}"
        do = "ask for fewer days or train with a longer horizon"
        raise UsageError(explain(f"days from 0 to the horizon of {edges[-1]:g}", found, do))
    wanted = np.broadcast_to(wanted, (rows,))
    log_total, begin, passed = _log_total(hazards), 0.0, np.zeros(rows)
    for log_rate, end in zip(map(_log_softplus, hazards), edges, strict=True):
        passed += np.exp(log_rate - log_total) * np.clip((wanted - begin) / (end - begin), 0.0, 1.0)
        begin = end
    # of a chance too small to matter the shares are those of its rates
    total = np.clip(np.exp(np.minimum(log_total, _CERTAIN)), _FAINT, _CERTAIN)
    share = np.expm1(-total * np.minimum(passed, 1.0)) / np.expm1(-total)
    return np.where(wanted == edges[-1], 1.0, share)


_SMALL = -30.0  # of logarithms: what lies below is its own log(1 + x), to the last bit that matters
_FAINT, _CERTAIN = 1e-12, 700.0  # rates, or logarithms of rates: what lies beyond makes no difference
_RESTORE = "restore the model's files"
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_WAY = (1.0 + _NODES) / 2  # how far along the path each node is
_ROWS = 1 << 10  # rows whose paths are followed at a time: they stay in the cache


def _log_softplus(margin: Floats) -> Floats:
    """Give log(-log(1 - h)) of a hazard's log-odds: of the rate at which the interval is survived."""
    rate = np.logaddexp(0.0, np.maximum(margin, _SMALL))
    return np.where(margin < _SMALL, margin, np.log(rate))


def _rates(hazards: Floats) -> list[Floats]:
    return [np.exp(_log_softplus(margin)) for margin in hazards]


def _log_total(hazards: Sequence[Floats] | Floats) -> Floats:
    """Give the logarithm of the intervals' rates together, one after the other."""
    logs = _log_softplus(np.asarray(hazards))
    top = logs.max(axis=0)
    total = np.zeros(top.shape)
    for rate in np.exp(logs - top):
        total += rate
    log_total: Floats = top + np.log(total)
    return log_total


def _log_chance(log_total: Floats) -> Floats:
    """Give the logarithm of 1 - exp(-total)."""
    some = np.clip(log_total, _SMALL, _CERTAIN)
    return np.where(log_total < _SMALL, log_total, np.log(-np.expm1(-np.exp(some))))


def _path_weights(begin: Floats, end: Floats) -> Floats:
    """Average dG/df_j = h_j / P over the straight path from the beginning to each row's end."""
    weights = np.zeros(end.shape)
    for first in range(0, end.shape[1], _ROWS):
        rows = slice(first, first + _ROWS)
        # along three axes: intervals, then nodes, then rows
        at = begin[:, None, :] + _WAY[:, None] * (end[:, rows] - begin)[:, None, :]
        matters = np.exp(-np.logaddexp(0.0, -at) - _log_chance(_log_total(at)))
        for k, part in enumerate(_WEIGHTS):
            weights[:, rows] += part / 2 * matters[:, k]
    return weights


def _middle(rate: Floats) -> Floats:
    """Say where in an interval of constant hazard its wins lie on average: 0 its beginning, 1 its end."""
    some = np.clip(rate, 1e-3, _CERTAIN)
    return np.where(rate < 1e-3, 0.5 - rate / 12, 1 / some - 1 / np.expm1(some))


def _names(intervals: int) -> Iterator[str]:
    yield "shared.npz"
    yield from (f"interval_{j + 1}.npz" for j in range(intervals))


def _unfit(found: str) -> ModelError:
    expected = "rising edges, and an offset and a forest over the same columns for each interval"
    return ModelError(explain(expected, found, _RESTORE))
