"""Points of score for each driver, on plain arrays: they add up exactly, and so do the integers shown."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.models.calibration import Scale, Sigmoid, probability
from leadscore.models.matrix import Floats
from leadscore.models.scorer import Scorer

Ints: TypeAlias = NDArray[np.int64]
Key = TypeVar("Key", bound=Hashable)

FAMILIES = ("fit", "engagement", "operations")


@dataclass(frozen=True, slots=True)
class DriverPoints:
    """Scores of n leads and what they are made of: base + points + clip == score, within 1e-9.

    Parameters
    ----------
    base : float
        The typical lead's score before it is clipped to 0 to 100; the same for every lead of a model.
    typical_probability : float
        The chance that `base` stands for.
    points : array of shape (n, d)
        Points of score that each driver adds to the base.
    clip : array of shape (n,)
        What the end of the scale takes away (below 0 at 100, above 0 at 0); 0 for most leads.
    score : array of shape (n,)
        Within 0 to 100.
    probability : array of shape (n,)
    log_odds : array of shape (n,)
        Of the probability.
    """

    base: float
    typical_probability: float
    points: Floats
    clip: Floats
    score: Floats
    probability: Floats
    log_odds: Floats


def driver_points(scorer: Scorer, calibration: Sigmoid, scale: Scale, M: Floats) -> DriverPoints:
    """Split scores into points of their drivers.

    A calibration affine in log-odds turns a contribution phi to the margin into
    ``per_log_odds * slope * phi`` points, so that exact contributions stay exact.

    Parameters
    ----------
    scorer : Scorer
    calibration : Sigmoid
    scale : Scale
    M : array of shape (n, p)
        As `to_matrix` lays it out for the scorer's columns.

    Returns
    -------
    DriverPoints
        Its `points` have one column for each of `scorer.drivers`.
    """
    margin, middle, phi = scorer.explained(M)
    log_odds = calibration.log_odds(margin)
    raw, score = scale.raw(log_odds), scale.score(log_odds)
    typical = calibration.log_odds(middle)
    return DriverPoints(
        base=float(scale.raw(typical)),
        typical_probability=float(probability([typical])[0]),
        points=scale.per_log_odds * calibration.slope * phi,
        clip=score - raw,
        score=score,
        probability=probability(log_odds),
        log_odds=log_odds,
    )


def grouped(points: Floats, keys: Sequence[Key]) -> tuple[tuple[Key, ...], Floats]:
    """Add up the columns that share a key, one after the other, so that one row equals the batch to the bit.

    Parameters
    ----------
    points : array of shape (n, d)
    keys : sequence of length d

    Returns
    -------
    keys : tuple
        Each key once, in order of first appearance.
    sums : array of shape (n, number of keys)

    Examples
    --------
    >>> grouped(np.array([[1.0, 2.0, 4.0]]), ["fit", "engagement", "fit"])
    (('fit', 'engagement'), array([[5., 2.]]))
    """
    names, place = _places(tuple(keys))
    n, groups = len(points), len(names)
    sums = np.zeros((n, groups))
    if n <= _FEW:  # bincount adds in the order of the columns too, and asks NumPy only once
        cells = place + groups * np.arange(n)[:, None]
        sums += np.bincount(cells.ravel(), points.ravel(), sums.size).reshape(sums.shape)
    else:
        for j, group in enumerate(place.tolist()):
            sums[:, group] += points[:, j]
    return names, sums


_FEW = 64  # rows


@lru_cache(maxsize=64)
def _places(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], NDArray[np.intp]]:
    """Give each key once, and the place of each of them among these."""
    place = {key: j for j, key in enumerate(dict.fromkeys(keys))}
    return tuple(place), np.array([place[key] for key in keys], np.intp)


def family_sums(points: Floats, families: Sequence[str]) -> dict[str, Floats]:
    """Add up points by family; a family without a driver is 0.

    Parameters
    ----------
    points : array of shape (n, d)
    families : sequence of length d
        fit, engagement or operations, for each driver.

    Returns
    -------
    dict of str to array of shape (n,)
        For each of fit, engagement and operations.

    Examples
    --------
    >>> family_sums(np.array([[1.0, 2.0, 4.0]]), ["fit", "engagement", "fit"])["fit"]
    array([5.])
    """
    present, sums = grouped(points, families)
    return {
        name: sums[:, present.index(name)] if name in present else np.zeros(len(points)) for name in FAMILIES
    }


def whole(value: float) -> int:
    """Round to the integer that people see, halves upwards; the dust of sums in floating point is no matter.

    Examples
    --------
    >>> whole(49.5), whole(49.49999999999), whole(-0.5)
    (50, 50, 0)
    """
    return math.floor(round(value, 6) + 0.5)


def shown_integers(parts: ArrayLike, total: ArrayLike) -> Ints:
    """Round the parts of each row to integers that add up to its total, by largest remainder.

    Every part is rounded down, and those with the largest remainders are then rounded up until the sum
    is right; of equal remainders the first. A larger part never shows a smaller integer.

    Parameters
    ----------
    parts : array of shape (n, d)
    total : array of shape (n,), integers
        Each less than 1 away from the sum of its row.

    Returns
    -------
    array of shape (n, d), int64
        Each less than 1 away from its part.

    Examples
    --------
    >>> shown_integers([[7.4, 3.4, -2.4]], [8])
    array([[ 7,  3, -2]])
    """
    exact = np.atleast_2d(np.asarray(parts, dtype=np.float64))
    down = np.floor(exact)
    missing = np.asarray(total, dtype=np.int64).reshape(-1) - down.sum(axis=1).astype(np.int64)
    order = np.argsort(down - exact, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(exact.shape[1])[None, :], axis=1)
    each, rest = np.divmod(missing, exact.shape[1])
    rounded: Ints = down.astype(np.int64) + each[:, None] + (rank < rest[:, None])
    return rounded
