"""What came of leads, beside what a model that had not seen them said: the evidence for thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.models.matrix import Bools, Column, Floats

Levels: TypeAlias = NDArray[np.object_]
MOST_LEVELS = 50  # a category of more levels is no segment that a team works by


@dataclass(frozen=True, slots=True)
class Backtest:
    """Predictions beside what came of the leads, a row a lead; checked once, on the way in.

    Parameters
    ----------
    probability : array of shape (n,)
        Of mature leads, by a model that had not seen them; a saved model keeps them on its own scale.
    y : array of shape (n,)
        1 for a lead that converted, 0 for none.
    week : array of shape (n,), int, optional
        The week in which each was first looked at, counted from anywhere; None where there is no clock.
    points : array of shape (n,), optional
        What the hand-built points say, probabilities or totals; only their order matters.
    M : array of shape (n, p), optional
        What rules and segments read of the leads, as `to_matrix` lays it out.
    columns : sequence of Column
        What the columns of M are.

    Raises
    ------
    DataError
        There is no mature lead, none that converted, or the arrays do not fit together.

    Examples
    --------
    >>> source = Column("source", ("Ads", "Referral"))
    >>> leads = Backtest([0.9, 0.1], [1, 0], M=[[1.0], [np.nan]], columns=[source])
    >>> leads.levels("source")
    array(['Referral', ''], dtype=object)
    """

    probability: Floats
    y: Bools
    week: NDArray[np.int64] | None = None
    points: Floats | None = None
    M: Floats | None = None
    columns: Sequence[Column] = ()

    def __post_init__(self) -> None:
        probability = np.asarray(self.probability, dtype=np.float64)
        points = None if self.points is None else np.asarray(self.points, dtype=np.float64)
        outcome = np.asarray(self.y)
        week = None if self.week is None else np.asarray(self.week, dtype=np.int64)
        given = [a for a in (probability, outcome, points, week) if a is not None]
        if any(a.shape != (len(probability),) for a in given):
            found = ", ".join(str(a.shape) for a in given)
            raise DataError(explain("arrays of one length", f"shapes {found}", "give one value a lead"))
        if len(probability) == 0:
            raise DataError(
                explain("mature leads to tune on", "none", "wait until the horizon has passed for some")
            )
        if not np.isin(outcome, (0, 1)).all():
            raise DataError(explain("outcomes 0 and 1", "others", "leave leads without an outcome out"))
        if not (outcome == 1).any():
            found = f"none among {len(outcome):,} leads"
            raise DataError(
                explain("at least one conversion to tune on", found, "tune when some have converted")
            )
        if not ((probability >= 0) & (probability <= 1)).all():
            raise DataError(explain("probabilities from 0 to 1", "others", "give the model's probabilities"))
        if points is not None and not np.isfinite(points).all():
            raise DataError(
                explain("finite points", "missing or infinite ones", "give every lead its points")
            )
        columns = tuple(self.columns)
        M = None if self.M is None else np.asfortranarray(self.M, dtype=np.float64)
        if (np.empty((len(probability), 0)) if M is None else M).shape != (len(probability), len(columns)):
            found = "none" if M is None else f"shape {M.shape}"
            expected = f"a matrix of {len(probability):,} leads and {len(columns)} columns"
            raise DataError(explain(expected, found, "give M and its columns together"))
        for column, codes in zip(columns, np.empty((0, 0)) if M is None else M.T, strict=M is not None):
            if column.levels is not None and not _are_places(codes, len(column.levels)):
                expected = f"places in its levels in column {shown(column.name)!r}"
                raise DataError(explain(expected, "others", "lay M out with to_matrix"))
        for name, value in (
            ("probability", probability),
            ("y", outcome == 1),
            ("week", week),
            ("points", points),
            ("M", M),
            ("columns", columns),
        ):
            object.__setattr__(self, name, value)

    @property
    def weeks(self) -> int | None:
        """How many weeks the backtest spans, empty ones included."""
        return None if self.week is None else int(self.week.max() - self.week.min()) + 1

    @property
    def categories(self) -> tuple[str, ...]:
        """The columns that can be a segment: categories of at most 50 levels."""
        kept = (column for column in self.columns if column.levels is not None)
        return tuple(column.name for column in kept if len(column.levels or ()) <= MOST_LEVELS)

    def levels(self, name: str) -> Levels:
        """Give the segment of each lead: its level of a category, "" where that is missing; as `coded`."""
        place, words = self.coded(name)
        return np.array(words, dtype=object)[place]

    def coded(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Give each lead's place among the levels of a category, and these levels, the last "" for missing.

        Raises
        ------
        UsageError
            The backtest has no such category.
        """
        if self.M is None or name not in self.categories:
            found = f"{shown(name)!r}{nearest(name, self.categories)}"
            do = f"name one of {', '.join(map(shown, self.categories)) or 'none: there is no category'}"
            raise UsageError(explain("a category of the backtest as the segment", found, do))
        at = [column.name for column in self.columns].index(name)
        words = (*(self.columns[at].levels or ()), "")
        return np.nan_to_num(self.M[:, at], nan=len(words) - 1).astype(np.int64), words


def _are_places(codes: Floats, levels: int) -> bool:
    there = codes[~np.isnan(codes)]
    return bool(((there >= 0) & (there < levels) & (there == np.floor(there))).all())
