"""How far leads were followed: the rows at risk by interval, and a calibration on what has come so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, explain
from leadscore.models.calibration import Sigmoid, fit_sigmoid, probability
from leadscore.models.hazard import WEEK
from leadscore.models.matrix import Floats

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FollowUp:
    """What came of each row, as far as it was followed.

    Parameters
    ----------
    until : array of shape (n,)
        Days until it was won; infinite where it was not, whether it is open or closed without a win.
    seen : array of shape (n,)
        Days until the end of the data.
    """

    until: Floats
    seen: Floats


@dataclass(frozen=True, slots=True, eq=False)
class AtRisk:
    """Row-intervals: pieces of the time of rows in which they could be won.

    Parameters
    ----------
    row, interval : int arrays of shape (m,)
        From 0 on.
    won : array of shape (m,)
        1 where the row was won in the interval, else 0.
    weight : array of shape (m,)
    offsets : array of shape (intervals,)
        Log-odds of each interval's average hazard.
    """

    row: Ints
    interval: Ints
    won: Floats
    weight: Floats
    offsets: Floats


def follow_up(days: ArrayLike, ended: ArrayLike, seen: ArrayLike, horizon: float) -> FollowUp:
    """Check what is known of the rows, and keep what the hazard of a win needs.

    Parameters
    ----------
    days : array of shape (n,)
        Until the win; without one, until the close; of an open row, until the end of the data.
    ended : array of shape (n,)
        0: still open, 1: won, 2: closed and not won.
    seen : array of shape (n,)
        Days until the end of the data.
    horizon : float
        Days.

    Returns
    -------
    FollowUp

    Raises
    ------
    DataError
        They contradict each other, or no row that was not won was seen for the whole horizon.

    Examples
    --------
    >>> follow_up([3.0, 5.0, 12.0], [1, 2, 0], [9.0, 40.0, 12.0], horizon=10).until.tolist()
    [3.0, inf, inf]
    """
    given = {"days": days, "ended": ended, "seen": seen}
    d, e, s = columns = [_numbers(name, values) for name, values in given.items()]
    if len({len(values) for values in columns}) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in zip(given, columns, strict=True))
        raise DataError(explain("days, ended and seen of one length", found, "give one of each a row"))
    for expected, holds in (
        ("days from 0 on", (d >= 0) & (d < np.inf)),
        ("ended as 0 (open), 1 (won) or 2 (closed)", np.isin(e, (0, 1, 2))),
        ("seen at least as long as days", (s >= d) & (s < np.inf)),
        ("seen as long as days for open rows", (e != 0) | (s == d)),
    ):
        if not holds.all():
            found = f"something else in row {int(np.argmin(holds))}"
            raise DataError(explain(expected, found, "correct the row or leave it out"))
    until = np.where(e == 1, d, np.inf)
    if not ((s >= horizon) & (until >= horizon)).any():
        found = f"none; the longest was seen for {s.max(initial=0.0):.3g} days"
        do = "shorten the horizon or give more history"
        raise DataError(explain(f"rows not won in all the horizon of {horizon:g} days", found, do))
    return FollowUp(until, s)


def whole(y: Floats, horizon: float) -> FollowUp:
    """Take every row as seen for exactly the horizon, with no more known than whether it was won."""
    return FollowUp(np.where(y == 1, 0.0, np.inf), np.full(len(y), horizon))


def require_same(followed: FollowUp, y: Floats, horizon: float) -> None:
    """Refuse outcomes that are not those which the follow-up tells.

    Raises
    ------
    DataError
        There is not one a row, or y was taken with another horizon.
    """
    if len(followed.until) != len(y):
        found = f"{len(followed.until)} for {len(y)} rows"
        raise DataError(explain("days, ended and seen for each row", found, "give one of each a row"))
    other = np.flatnonzero((followed.until < horizon) != (y == 1))
    if len(other):
        expected = f"y to be whether days and ended tell of a win within {horizon:g} days"
        found = f"something else in {len(other)} rows, the first is {other[0]}"
        raise DataError(explain(expected, found, "give the horizon that y was taken with"))


def edges_of(delays: Floats, horizon: float, intervals: int) -> tuple[float, ...]:
    """Cut the horizon so that intervals hold about equally many wins, at whole days, a week among them.

    Parameters
    ----------
    delays : array
        Days until a win, of those within the horizon.
    horizon : float
        Days.
    intervals : int
        How many are wished for; delays that are alike make for fewer, the week for one more.

    Returns
    -------
    tuple of float
        Where the intervals end; the last is the horizon.

    Examples
    --------
    >>> edges_of(np.array([0.4, 1.2, 2.5, 4.1, 9.6, 20.0]), horizon=30, intervals=3)
    (3.0, 6.0, 7.0, 30.0)
    """
    if intervals == 1:
        return (float(horizon),)
    inner = np.ceil(np.quantile(delays, np.arange(1, intervals) / intervals))
    return (*sorted({float(edge) for edge in (*inner, WEEK) if 0 < edge < horizon}), float(horizon))


def at_risk(followed: FollowUp, edges: Sequence[float], seed: int = 0) -> AtRisk:
    """Lay out the row-intervals: all in which a row is won, and of the others about two a row.

    A row is at risk from the beginning of an interval on when it was not won before and was seen so far. A
    close without a win does not end that (Fine and Gray 1999); since it is known how long each row would
    have been seen, nothing needs to be estimated for it.

    The columns of a row are the same in all its intervals, so that more than two tell hardly more. Those
    kept are every so many from a drawn one on, and weigh as much as those they stand for.

    Where the data end within an interval, a row not won yet has the weight that makes the interval's hazard
    h right. With f the share of the interval's wins that fall in the part that was seen, a row is won there
    with the chance h f; weights 1 for wins and ``f (1 - h) / (1 - h f)`` for others have the mean h.

    Parameters
    ----------
    followed : FollowUp
    edges : sequence of float
    seed : int
        Draws which row-intervals are kept.

    Returns
    -------
    AtRisk

    Examples
    --------
    >>> rows = at_risk(FollowUp(np.array([3.0, np.inf]), np.array([30.0, 30.0])), (7.0, 30.0))
    >>> rows.row.tolist(), rows.interval.tolist(), rows.won.tolist(), rows.weight.tolist()
    ([0, 1, 1], [0, 0, 1], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """
    step = max(1, len(edges) // _KEPT)
    phase = np.random.default_rng(seed).integers(step, size=len(followed.until))
    parts, offsets, begin = [], [], 0.0
    for j, end in enumerate(edges):
        seen_so_far = (followed.seen > begin) | (followed.until == begin)
        row = np.flatnonzero((followed.until >= begin) & seen_so_far)
        until, seen = followed.until[row], followed.seen[row]
        won, full = until < end, seen >= end
        hazard, delays = won[full].mean(), np.sort(until[full & won])
        even = np.clip((seen - begin) / (end - begin), 0.0, 1.0)
        share = (np.searchsorted(delays, seen) + _PRIOR * even) / (len(delays) + _PRIOR)
        weight = np.where(full | won, 1.0, share * (1 - hazard) / np.maximum(1 - hazard * share, _TINY))
        rate = np.clip(np.average(won, weights=weight), 0.5 / len(row), 1 - 0.5 / len(row))
        offsets.append(np.log(rate / (1 - rate)))
        kept = won | ((phase[row] + j) % step == 0)
        weight = np.where(won, 1.0, step * weight)
        parts.append((row[kept], np.full(int(kept.sum()), j), won[kept].astype(np.float64), weight[kept]))
        begin = end
    rows, intervals, wins, weights = ([part[k] for part in parts] for k in range(4))
    return AtRisk(
        np.concatenate(rows).astype(np.int64),
        np.concatenate(intervals).astype(np.int64),
        np.concatenate(wins).astype(np.float64),
        np.concatenate(weights).astype(np.float64),
        np.array(offsets),
    )


def fit_so_far(margin: Floats, y: Floats, share: Floats) -> Sigmoid:
    """Fit the sigmoid where some rows have not been seen for the whole horizon.

    A row's chance to be won so far is its calibrated chance within the horizon, times the share of that
    which lies in what was seen of the row. The likelihood of this is climbed by expectation and
    maximisation (Dempster, Laird and Rubin 1977): a row not won yet counts as won with the chance that it
    still will be. Only mature rows would do too, but they are the oldest.

    Parameters
    ----------
    margin : array of shape (n,)
        Log-odds of a win within the horizon, of rows that the scorer has not seen.
    y : array of shape (n,)
        1 where the row was won so far, within the horizon.
    share : array of shape (n,)
        The share of the horizon's chance in what was seen; 1 for a mature row.

    Returns
    -------
    Sigmoid

    Examples
    --------
    >>> margin, y = np.repeat([-1.0, 1.0], 100), np.tile(np.repeat([0.0, 1.0], [70, 30]), 2)
    >>> mature = fit_so_far(margin, y, np.ones(200))
    >>> half_seen = fit_so_far(margin, y, np.full(200, 0.5))
    >>> np.round([probability(g.log_odds([0.0]))[0] for g in (mature, half_seen)], 2).tolist()
    [0.3, 0.6]
    """
    rows, outcome = np.concatenate([margin, margin]), np.repeat([1.0, 0.0], len(y))
    sigmoid = Sigmoid(1.0, 0.0)
    for _ in range(_STEPS):
        chance = probability(sigmoid.log_odds(margin))
        still = chance * (1 - share) / np.maximum(1 - chance * share, _TINY)
        won = np.where(y == 1, 1.0, still)
        before, sigmoid = sigmoid, fit_sigmoid(rows, outcome, np.concatenate([won, 1 - won]))
        moved = abs(sigmoid.slope - before.slope) + abs(sigmoid.intercept - before.intercept)
        if moved < 1e-6 or share.min() == 1.0:
            break
    return sigmoid


_KEPT = 2  # row-intervals without a win that are kept of each row
_PRIOR = 5  # wins: so much an even spread over an interval counts beside the delays in it
_STEPS = 200
_TINY = 1e-12


def _numbers(name: str, values: ArrayLike) -> Floats:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty((0, 0))
    if numbers.ndim != 1:
        raise DataError(explain(f"one number of {name} a row", "something else", "give an array of numbers"))
    return numbers
