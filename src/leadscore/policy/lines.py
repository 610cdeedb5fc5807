"""The lines that can be drawn between leads: leads with the same chance are never separated."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadscore.models.matrix import Bools, Floats
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import Policy
from leadscore.policy.staging import deciding

NEVER, ALWAYS = -math.inf, math.inf  # in the place of a chance: what a rule decides whatever the line


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Every line that separates leads, highest first, with the leads and the wins at or above it.

    Parameters
    ----------
    at : array of shape (k,)
        Chances that leads have.
    volume, wins : array of shape (k,), int
        Leads that are always taken are among them.
    none : tuple of int
        Volume and wins above the highest line: those that are always taken.
    """

    at: Floats
    volume: NDArray[np.int64]
    wins: NDArray[np.int64]
    none: tuple[int, int]

    def __len__(self) -> int:
        return len(self.at)

    def reached(self, threshold: Floats | float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the leads and the wins at or above any thresholds."""
        place = np.searchsorted(-self.at, -np.asarray(threshold, dtype=np.float64), side="right")
        return np.append(self.none[0], self.volume)[place], np.append(self.none[1], self.wins)[place]

    def shortest(self, place: int) -> float:
        """Give the number with the fewest decimals that takes the same leads as a line."""
        high = float(self.at[place])
        low = float(self.at[place + 1]) if place + 1 < len(self.at) else NEVER
        for decimals in range(1, 17):
            short = float(round(math.floor(high * 10**decimals) / 10**decimals, decimals))
            if low < short <= high:
                return short
        return high


def separating(chance: Floats, y: Bools) -> Lines:
    """Give every line that separates leads.

    Parameters
    ----------
    chance : array of shape (n,)
        `ALWAYS` and `NEVER` stand for leads that every line takes, or none.
    y : array of shape (n,), bool

    Returns
    -------
    Lines

    Examples
    --------
    >>> lines = separating(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    >>> lines.at.tolist(), lines.volume.tolist(), lines.wins.tolist()
    ([0.9, 0.5, 0.1], [1, 3, 4], [1, 2, 2])
    """
    order = np.argsort(-chance, kind="stable")
    ordered = chance[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(ordered) > 0))
    wins = np.cumsum(y[order], dtype=np.int64)[last]
    line, volume = ordered[last], last + 1
    always = int(np.isposinf(line).sum())
    between = np.isfinite(line)
    none = (int(volume[0]), int(wins[0])) if always else (0, 0)
    return Lines(line[between], volume[between], wins[between], none)


def ruled(backtest: Backtest, policy: Policy | None, scores: Floats | None = None) -> Floats:
    """Give the chances of leads, with `NEVER` and `ALWAYS` where a rule of the policy decides.

    A backtest that was kept without columns knows of no rule. `scores` stand in for the chances where they
    are given.
    """
    values = backtest.probability if scores is None else scores
    if policy is None or backtest.M is None:
        return values
    rule = deciding(policy, backtest.M, backtest.columns)
    return np.where(rule < 0, values, np.where(rule < len(policy.suppress), NEVER, ALWAYS))
