"""The truth behind a world: when each lead would have won, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from leadscore.data.contract import Floats, Ints
from leadscore.errors import UsageError, explain
from leadscore.simulate.clock import DAY, SECOND, Grid, office_share


@dataclass(frozen=True)
class Truth:
    """What nobody in the simulated company can know; rows are in the order of ``World.leads``.

    Attributes
    ----------
    lead_id : array of str
        The leads, in order.
    start : int
        First moment of the grid of days, UTC microseconds.
    created_at, won_at, closed_at : int64 arrays
        UTC microseconds; ``NEVER`` where it does not happen within the grid, which goes on for 91 days after
        the tables end. ``closed_at`` is the end of an open lead, however it ends.
    fit : float64 array
        What multiplies the hazard of a win for as long as the lead lives; 0 for those who never buy.
    intent : float32 array (leads, days)
        Interest on each day; it drives what the lead does.
    won_hazard, lost_hazard : float32 arrays (leads, days)
        Hazard of a win, and of a loss or disqualification, on each day for an open lead; spread evenly over
        8 to 18 h UTC.
    segment : array of str
        buyer, student, competitor or bot.
    original : int64 array
        Row of the record that a duplicate repeats, -1 for all others.
    leaks : tuple of str
        Columns of the leads table that are filled in because of the outcome.
    causes : mapping
        Multiplier of the hazard of a win for each planted value, such as ``"source=Referral"``.
    """

    lead_id: NDArray[np.object_]
    start: int
    created_at: Ints
    won_at: Ints
    closed_at: Ints
    fit: Floats
    intent: Grid
    won_hazard: Grid
    lost_hazard: Grid
    segment: NDArray[np.object_]
    original: Ints
    leaks: tuple[str, ...]
    causes: Mapping[str, float]

    @property
    def duplicates(self) -> tuple[tuple[str, str], ...]:
        """Pairs of lead ids of one person: the first record and its repetition."""
        again = np.flatnonzero(self.original >= 0)
        return tuple(zip(self.lead_id[self.original[again]], self.lead_id[again], strict=True))

    def probability(self, as_of: int | Ints, horizon: float = 30.0) -> Floats:
        """Tell each lead's chance of a win within ``horizon`` days after ``as_of``.

        It knows fit and the whole course of intent, later pulses too: calibrated, and beyond any model.

        Parameters
        ----------
        as_of : int or int64 array of shape (leads,)
            UTC microseconds.
        horizon : float
            Days.

        Returns
        -------
        float64 array of shape (leads,)
            NaN for leads that are not created, or closed, at ``as_of``.

        Examples
        --------
        >>> from leadscore.simulate import simulate
        >>> world = simulate(leads=50, seed=1)
        >>> chance = world.truth.probability(world.end, horizon=30)
        >>> bool((chance[~np.isnan(chance)] < 1).all())
        True
        """
        as_of = np.broadcast_to(np.asarray(as_of, dtype=np.int64), self.created_at.shape)
        until = as_of + round(horizon * DAY)
        last = self.start + self.won_hazard.shape[1] * DAY
        if len(until) and (horizon < 0 or until.max() > last):
            raise UsageError(
                explain(
                    f"a horizon that ends by {_iso(last)}",
                    f"one that ends at {_iso(int(until.max()))}",
                    "choose an earlier as_of or a shorter horizon, or simulate more weeks",
                )
            )
        open_then = (self.created_at <= as_of) & (as_of < self.closed_at)
        gone, won_before = self._at(np.where(open_then, as_of, self.start))
        _, won_after = self._at(np.where(open_then, until, self.start))
        return np.where(open_then, (won_after - won_before) * np.exp(gone), np.nan)

    @cached_property
    def _curves(self) -> tuple[Floats, Floats]:
        """Cumulative hazard of any end and cumulative incidence of wins, (leads, midnights)."""
        total = np.zeros((len(self.fit), self.won_hazard.shape[1] + 1))
        np.cumsum(self.won_hazard + self.lost_hazard, axis=1, dtype=np.float64, out=total[:, 1:])
        won = np.zeros_like(total)
        ended = -np.diff(np.exp(-total))
        np.cumsum(_share(self.won_hazard, self.lost_hazard) * ended, axis=1, out=won[:, 1:])
        return total, won

    def _at(self, moment: Ints) -> tuple[Floats, Floats]:
        """Both curves at one moment a lead."""
        total, won = self._curves
        day = np.minimum((moment - self.start) // DAY, self.won_hazard.shape[1] - 1)
        row, within = np.arange(len(day)), moment - self.start - day * DAY
        win, other = self.won_hazard[row, day], self.lost_hazard[row, day]
        gone = total[row, day] + (win.astype(np.float64) + other) * office_share(within)
        return gone, won[row, day] + _share(win, other) * (np.exp(-total[row, day]) - np.exp(-gone))


def _share(won: Grid, other: Grid) -> Floats:
    total = won.astype(np.float64) + other
    return np.divide(won, total, out=np.zeros_like(total), where=total > 0)


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / SECOND, UTC).isoformat()
