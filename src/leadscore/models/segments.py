"""Segments on top of one model: each level of a category moves the model's margin."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from leadscore.errors import ModelError, explain, shown
from leadscore.models.matrix import Column, Floats, is_finite
from leadscore.models.scorer import Scorer
from leadscore.models.sums import free_name, with_prefix, without_prefix

_RESTORE = "restore the model's files"


@dataclass(frozen=True)
class Segmented:
    """One model for all, whose margin each segment stretches and shifts: slope * margin + offset.

    A row without a segment, or of one that training has not seen, keeps the model's own margin.

    Parameters
    ----------
    inner : Scorer
        The model for all.
    column : str
        The category among its columns whose levels are the segments.
    offsets, slopes : tuple of float
        One a level; slopes are above 0. A level that training has not seen has 0 and 1.
    mean : float
        How far the segments moved the base in training, so that the base is the average margin.

    Raises
    ------
    ModelError
        The column is no category of the model's, or its levels and the numbers do not fit.

    Examples
    --------
    >>> from leadscore.models.linear import LevelsTerm, LinearTable
    >>> region = Column("region", ("North", "South"))
    >>> inner = LinearTable((region,), (LevelsTerm((0.5, 1.0), missing=0.0, mean=0.0),), intercept=-2.0)
    >>> segmented = Segmented(inner, "region", (0.0, 0.25), (1.0, 2.0))
    >>> segmented.margin(np.array([[0.0], [1.0], [np.nan]])).tolist()
    [-1.5, -1.75, -2.0]
    """

    kind: ClassVar[str] = "segmented"

    inner: Scorer
    column: str
    offsets: tuple[float, ...]
    slopes: tuple[float, ...]
    mean: float = 0.0

    def __post_init__(self) -> None:
        levels = [column.levels for column in self.columns if column.name == self.column]
        if not levels or levels[0] is None:
            expected = f"a category {shown(self.column)!r} among the model's columns"
            raise ModelError(explain(expected, "none", _RESTORE))
        if not len(levels[0]) == len(self.offsets) == len(self.slopes) or min(self.slopes, default=1.0) <= 0:
            expected = "an offset and a slope above 0 for each level"
            raise ModelError(explain(expected, "others", _RESTORE))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the model for all."""
        return self.inner.columns

    @property
    def drivers(self) -> tuple[str, ...]:
        """The drivers of the model for all, then the segment."""
        return (*self.inner.drivers, free_name(self.column, dict.fromkeys(self.inner.drivers)))

    @property
    def driver_columns(self) -> tuple[tuple[str, ...], ...]:
        """Behind the segment stands its column."""
        return (*self.inner.driver_columns, (self.column,))

    @property
    def used(self) -> frozenset[str]:
        """What the model for all depends on, and the segment."""
        return self.inner.used | {self.column}

    def margin(self, M: Floats) -> Floats:
        """Stretch and shift the margin of each row as its segment does."""
        offset, slope = self._moves(M)
        return slope * self.inner.margin(M) + offset

    def contributions(self, M: Floats) -> tuple[float, Floats]:
        """Stretch each driver by the segment's slope; what is left of the segment's move is its own."""
        _, base, parts = self.explained(M)
        return base, parts

    def explained(self, M: Floats) -> tuple[Floats, float, Floats]:
        """Give margins, the base and contributions at one go: the bits of `margin` and `contributions`."""
        offset, slope = self._moves(M)
        margin, base, phi = self.inner.explained(M)
        own = offset + (slope - 1.0) * base - self.mean
        parts = np.concatenate([slope[:, None] * phi, own[:, None]], axis=1)
        return slope * margin + offset, base + self.mean, parts

    def _moves(self, M: Floats) -> tuple[Floats, Floats]:
        """Give the offset and slope of each row."""
        place = [column.name for column in self.columns].index(self.column)
        codes = np.where(np.isnan(M[:, place]), len(self.offsets), M[:, place]).astype(np.int64)
        return np.array([*self.offsets, 0.0])[codes], np.array([*self.slopes, 1.0])[codes]

    def to_files(self) -> dict[str, bytes]:
        """Give the saved form: segments.json, and the files of the model for all behind a prefix."""
        values = {
            "kind": self.inner.kind,
            "column": self.column,
            "offsets": list(self.offsets),
            "slopes": list(self.slopes),
            "mean": self.mean,
        }
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
        return {"segments.json": text.encode(), **with_prefix(_PREFIX, self.inner.to_files())}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Segmented":
        """Read what `to_files` gave.

        Raises
        ------
        ModelError
            A file is absent, or they do not hold such a model.
        """
        from leadscore.models.saved import read_scorer  # which knows this form too

        try:
            values = json.loads(files["segments.json"])
        except (KeyError, ValueError, RecursionError):
            raise ModelError(explain("a readable segments.json", "none", _RESTORE)) from None
        match values:
            case {
                "kind": str(kind),
                "column": str(column),
                "offsets": list(offsets),
                "slopes": list(slopes),
                "mean": mean,
                **rest,
            } if not rest and all(map(is_finite, [*offsets, *slopes, mean])):
                inner = read_scorer(kind, without_prefix(_PREFIX, files))
                return cls(inner, column, tuple(map(float, offsets)), tuple(map(float, slopes)), float(mean))
        expected = "kind, column, offsets, slopes and mean in segments.json"
        raise ModelError(explain(expected, "something else", _RESTORE))


_PREFIX = "inner."
